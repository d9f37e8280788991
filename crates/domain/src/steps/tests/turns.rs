//! Whose turn it is where the cheapest is asked first.

use super::*;

/// Three providers, of which the second is the cheapest for what is wanted first.
#[test]
fn the_cheapest_for_what_is_still_wanted_has_its_turn() {
    let candidate = |phones: u64, titles: u64| {
        let description = json!({
            "request": {"url": "https://api.vendor.example/v1", "query": {"email": "{email}"}},
            "identify_by": [["email"]],
            "response": {"fields": {"phone": "/phone", "job_title": "/title"}},
            "price": {"currency": "USD", "per_request": 0.1},
        });
        let mut record = crate::money::order::Record { answers: 100, matches: 100, ..Default::default() };
        for (field, supplied) in [(Field::PHONE, phones), (Field::JOB_TITLE, titles)] {
            (record.asked[field.index()], record.supplied[field.index()]) = (100, supplied);
        }
        let config = crate::provider::Config::parse(&description).unwrap();
        crate::money::order::Candidate { config: Some(config.into()), record, together: 1 }
    };
    let source = |(name, candidate)| Source { name, min_confidence: None, candidate: Some(candidate) };
    // Both fields, then titles alone: phones are the third's.
    let all = [
        ("titles".to_owned(), candidate(0, 60)),
        ("both".to_owned(), candidate(90, 50)),
        ("few".to_owned(), candidate(40, 40)),
    ];
    let sources: Rc<[Source]> = all.into_iter().map(source).collect();
    let request = Request {
        fields: [Field::PHONE, Field::JOB_TITLE].into_iter().collect(),
        overwrite: false,
        mapped: FieldSet::ALL,
        mode: Mode::Cheapest,
        min_confidence: 0.0,
        position: Position::Any,
    };
    let mut steps = Steps::new(request, "7");
    steps.next(Event::Claimed);
    steps.next(Event::Found(Row::One(Box::new(Contact { id: "7".to_owned(), ..Contact::default() }))));
    steps.next(Event::Allowed(true));
    steps.next(Event::Providers(sources));
    steps.next(Event::Listed(false));
    steps.next(Event::Admitted);
    steps.next(Event::Reserved(true));
    assert_eq!(steps.ahead(), [1, 2, 0]);
    let mut asked = Vec::new();
    while let Step::LookUp(Whom::Found) = steps.step() {
        steps.next(Event::Listed(false));
        let Step::Recall(at) = steps.step() else { panic!("{:?}", steps.step()) };
        asked.push(at);
        let phone = [(Field::PHONE, "+1 555 0100".to_owned())].into_iter().collect();
        let verdict = match at {
            1 => Verdict::Match { values: phone, confidence: None },
            _ => Verdict::NoMatch,
        };
        steps.next(Event::Recalled(Some(ProviderOutcome::Answered(verdict))));
    }
    assert_eq!(asked, [1, 0, 2], "a title is cheapest of the first then");
    assert_eq!(steps.step(), Step::Write);
}

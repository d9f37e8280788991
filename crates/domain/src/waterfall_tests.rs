use super::*;
use crate::call_error::Code;
use crate::fields::Field;
use crate::provider::FaultKind;

fn answer(values: &[(Field, &str)], confidence: Option<f64>) -> ProviderOutcome {
    let mut map = FieldMap::default();
    for (field, value) in values {
        map.set(*field, (*value).to_owned());
    }
    ProviderOutcome::Answered(Verdict::Match { values: map, confidence })
}

fn failed() -> ProviderOutcome {
    ProviderOutcome::Answered(Verdict::Failed(Fault::new(FaultKind::Timeout, "no answer within 5 s")))
}

#[test]
fn first_match_stops_at_the_first_that_has_a_wanted_field() {
    let wanted = FieldSet::from_iter([Field::PHONE, Field::LOCATION]);
    let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, wanted);
    waterfall.absorb("a", answer(&[(Field::JOB_TITLE, "CEO")], Some(0.9)));
    assert!(!waterfall.finished(), "it knew the person, but nothing that was asked for");
    waterfall.absorb("b", answer(&[(Field::PHONE, "+1")], Some(0.4)));
    assert!(waterfall.finished());
    let gathered = waterfall.result().unwrap();
    assert_eq!((gathered.origin.source.as_ref(), gathered.origin.confidence), ("b", Some(0.4)));
}

#[test]
fn fill_goes_on_and_the_earlier_provider_wins_each_field() {
    let wanted = FieldSet::from_iter([Field::PHONE, Field::LOCATION, Field::JOB_TITLE]);
    let mut waterfall = Waterfall::new(Mode::Fill, 0.0, wanted);
    waterfall.absorb("a", answer(&[(Field::PHONE, "+1")], Some(0.9)));
    waterfall.absorb("down", failed());
    waterfall.absorb("b", answer(&[(Field::PHONE, "+2"), (Field::LOCATION, "Oslo")], None));
    assert!(!waterfall.finished());
    waterfall.absorb("c", answer(&[(Field::JOB_TITLE, "CEO")], None));
    assert!(waterfall.finished());
    let gathered = waterfall.result().unwrap();
    assert_eq!(gathered.values.get(Field::PHONE).unwrap(), "+1");
    assert_eq!(gathered.origins.get(Field::LOCATION).unwrap().source.as_ref(), "b");
    assert_eq!(gathered.origin.source.as_ref(), "a");
}

#[test]
fn a_provider_that_is_waited_for_keeps_the_next_from_its_turn() {
    let fault = |holds, seconds| Fault {
        holds,
        retry_after_s: seconds,
        ..Fault::new(FaultKind::RateLimited, "too many requests")
    };
    let limited = |holds, seconds| ProviderOutcome::Answered(Verdict::Failed(fault(holds, seconds)));
    let mut goes_on = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
    goes_on.absorb("a", limited(false, Some(7)));
    assert!(!goes_on.finished());
    assert_eq!(goes_on.result().unwrap_err().detail().get("reason"), None);
    let mut waits = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
    waits.absorb("a", limited(true, Some(7)));
    assert!(waits.finished());
    let failure = waits.result().unwrap_err();
    let detail = failure.detail();
    assert_eq!(
        (failure.code, &detail["reason"]),
        (Code::ProviderUnavailable, &serde_json::json!("rate_limited"))
    );
    assert_eq!((&detail["retry_after"], failure.retry_after_s()), (&serde_json::json!(7), Some(7)));
    assert!(failure.is_passed_over());
    // What there is by then is used.
    let mut filled = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
    filled.absorb("a", answer(&[(Field::PHONE, "+1")], None));
    filled.absorb("b", limited(true, None));
    assert!(filled.finished());
    assert_eq!(filled.result().unwrap().origin.source.as_ref(), "a");
}

#[test]
fn weak_answers_are_no_match_and_no_score_counts_as_zero() {
    for confidence in [Some(0.49), None] {
        let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.5, FieldSet::ALL);
        waterfall.absorb("a", answer(&[(Field::PHONE, "+1")], confidence));
        let failure = waterfall.result().unwrap_err();
        assert_eq!(failure.code, Code::NoMatch);
        assert_eq!(failure.detail()["reason"], "no_data");
        assert_eq!(failure.detail()["below_min_confidence"], serde_json::json!(["a"]));
    }
}

#[test]
fn a_providers_own_least_score_counts_before_the_calls() {
    for (setting, own, confidence, counts) in [
        (0.9, Some(0.5), Some(0.5), true),
        (0.9, Some(0.5), Some(0.4), false),
        (0.0, Some(0.5), None, false),
        (0.9, Some(0.0), None, true),
        (0.9, None, Some(0.5), false),
    ] {
        let mut waterfall = Waterfall::new(Mode::FirstMatch, setting, FieldSet::ALL);
        waterfall.absorb_above("a", answer(&[(Field::PHONE, "+1")], confidence), own);
        assert_eq!(waterfall.result().is_ok(), counts, "{setting} {own:?} {confidence:?}");
    }
}

#[test]
fn without_data_a_failure_is_told_and_each_provider_named() {
    let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
    waterfall.absorb("a", ProviderOutcome::Answered(Verdict::NoMatch));
    waterfall.absorb("b", failed());
    waterfall.absorb("c", ProviderOutcome::Skipped);
    let failure = waterfall.result().unwrap_err();
    assert_eq!(failure.code, Code::ProviderUnavailable);
    let detail = failure.detail();
    assert_eq!(detail["providers"][0]["reason"], "no_match");
    assert_eq!(detail["providers"][1]["provider"], "b");
    assert_eq!(detail["providers"][1]["reason"], "timeout");
}

#[test]
fn a_privacy_refusal_ends_it_whatever_was_gathered() {
    let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
    waterfall.absorb("a", answer(&[(Field::PHONE, "+1")], Some(0.9)));
    waterfall.absorb("b", ProviderOutcome::Answered(Verdict::Suppressed));
    assert!(waterfall.finished());
    let failure = waterfall.result().unwrap_err();
    assert_eq!(
        (failure.code, &failure.detail()["reason"]),
        (Code::NoMatch, &serde_json::json!("suppressed"))
    );
}

fn asked(answers: &[&[(Field, &str)]], post: Post, wanted: FieldSet) -> Waterfall {
    let mut waterfall = Waterfall::new(Mode::Fill, 0.0, wanted).beside(post);
    for (provider, values) in ["a", "b", "c"].into_iter().zip(answers) {
        waterfall.absorb(provider, answer(values, None));
    }
    waterfall
}

#[test]
fn a_position_is_of_one_company() {
    let b = |company| {
        [
            (Field::COMPANY_NAME, company),
            (Field::JOB_TITLE, "CTO"),
            (Field::SENIORITY, "c_suite"),
            (Field::PHONE, "+1"),
        ]
    };
    // What the first gave, what the others then give, and from whom each field is.
    for (first, company, expected) in [
        (vec![(Field::JOB_TITLE, "CEO"), (Field::COMPANY_NAME, "Acme Ltd")], "ACME", "a a b b"),
        (vec![(Field::JOB_TITLE, "CEO"), (Field::COMPANY_NAME, "Acme Ltd")], "Other", "a a b -"),
        // It names no company, so nobody can be known to mean the same.
        (vec![(Field::JOB_TITLE, "CEO")], "Acme", "a - b -"),
        (vec![(Field::SENIORITY, "vp")], "Acme", "- - b a"),
        (vec![(Field::COMPANY_NAME, "Acme")], "acme inc.", "b a b b"),
        (vec![(Field::COMPANY_NAME, "Acme")], "Other", "- a b -"),
        (vec![(Field::PHONE, "+2")], "Other", "b b a b"),
    ] {
        let gathered = asked(&[&first, &b(company)], Post::default(), FieldSet::ALL).result().unwrap();
        let from = |field| gathered.origins.get(field).map_or("-", |origin| origin.source.as_ref());
        assert_eq!(
            [Field::JOB_TITLE, Field::COMPANY_NAME, Field::PHONE, Field::SENIORITY].map(from).join(" "),
            expected,
            "{first:?} {company}"
        );
    }
}

#[test]
fn nobody_is_asked_for_what_cannot_be_known_to_belong_together() {
    let wanted = FieldSet::from_iter([Field::JOB_TITLE, Field::SENIORITY, Field::COMPANY_NAME]);
    let unnamed = asked(&[&[(Field::JOB_TITLE, "CEO")]], Post::default(), wanted);
    assert!(unnamed.finished() && unnamed.missing().is_empty());
    let named = asked(&[&[(Field::COMPANY_NAME, "Acme")]], Post::default(), wanted);
    assert_eq!(named.missing().names(), ["job_title", "seniority"]);
}

#[test]
fn a_company_that_is_not_used_tells_whose_the_title_is_all_the_same() {
    let fills = FieldSet::from_iter([Field::JOB_TITLE]);
    let mut waterfall = asked(&[&[(Field::COMPANY_NAME, "Acme")]], Post::default(), FieldSet::ALL);
    for (provider, company) in [("b", "Other"), ("c", "Acme AG")] {
        let ProviderOutcome::Answered(verdict) =
            answer(&[(Field::JOB_TITLE, provider), (Field::COMPANY_NAME, company)], None)
        else {
            unreachable!()
        };
        waterfall.absorb(provider, ProviderOutcome::Within(fills, verdict));
    }
    let gathered = waterfall.result().unwrap();
    assert_eq!(gathered.values.get(Field::JOB_TITLE).unwrap(), "c");
    assert_eq!(gathered.values.get(Field::COMPANY_NAME).unwrap(), "Acme");
}

#[test]
fn beside_a_company_that_stays_only_its_position_counts() {
    let mut contact = crate::contact::Contact::default();
    contact.values.set(Field::COMPANY_NAME, "Acme Ltd".into());
    let post = || Post::new(crate::position::Position::Together, &contact);
    let wanted = FieldSet::from_iter([Field::JOB_TITLE, Field::PHONE]);
    let other = [(Field::JOB_TITLE, "CEO"), (Field::COMPANY_NAME, "Other Inc")];
    let failure = asked(&[&other], post(), wanted).result().unwrap_err();
    assert_eq!(failure.detail()["reason"], "other_company");
    assert_eq!(failure.detail()["other_company"], serde_json::json!(["a"]));
    let same = [(Field::JOB_TITLE, "CTO"), (Field::COMPANY_NAME, "ACME")];
    let gathered = asked(&[&other, &same], post(), wanted).result().unwrap();
    assert_eq!(gathered.values.get(Field::JOB_TITLE).unwrap(), "CTO");
    // Its other fields are used.
    let gathered = asked(&[&[other[0], other[1], (Field::PHONE, "+1")]], post(), wanted).result().unwrap();
    assert_eq!(gathered.values.fields().names(), ["phone"]);
    // The company may be replaced.
    let gathered = asked(&[&other], post(), FieldSet::ALL).result().unwrap();
    assert_eq!(gathered.values.fields().names(), ["job_title", "company_name"]);
}

#[test]
fn an_answer_about_somebody_else_is_no_match() {
    let other = || ProviderOutcome::Answered(Verdict::OtherPerson(FieldSet::ALL));
    let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
    waterfall.absorb("a", ProviderOutcome::Answered(Verdict::NoMatch));
    waterfall.absorb("b", other());
    assert!(!waterfall.finished());
    let failure = waterfall.result().unwrap_err();
    assert_eq!(
        (failure.code, &failure.detail()["reason"]),
        (Code::NoMatch, &serde_json::json!("other_person"))
    );
    assert_eq!(failure.detail()["other_person"], serde_json::json!(["b"]));
    let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
    waterfall.absorb("a", other());
    waterfall.absorb("b", answer(&[(Field::PHONE, "+1")], None));
    assert_eq!(waterfall.result().unwrap().origin.source.as_ref(), "b");
    let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
    waterfall.absorb("a", other());
    waterfall.absorb("b", failed());
    assert_eq!(waterfall.result().unwrap_err().code, Code::ProviderUnavailable);
}

#[test]
fn what_the_table_refused_is_told_where_nobody_else_has_data() {
    let rejected = || ProviderOutcome::Rejected(FieldSet::from_iter([Field::PHONE]));
    let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
    waterfall.absorb("a", rejected());
    assert!(!waterfall.finished(), "another provider may have something else");
    waterfall.absorb("b", ProviderOutcome::Answered(Verdict::NoMatch));
    let failure = waterfall.result().unwrap_err();
    assert_eq!(failure.code, Code::NoMatch);
    assert_eq!(failure.detail()["reason"], "table_refuses");
    assert_eq!(failure.detail()["refused"], serde_json::json!(["phone"]));
    let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
    waterfall.absorb("a", rejected());
    waterfall.absorb("b", failed());
    assert_eq!(waterfall.result().unwrap_err().code, Code::ProviderUnavailable, "it may still come");
    // Those who know the contact, or somebody else, or not well enough, do not hide it.
    let weak = answer(&[(Field::PHONE, "+1")], Some(0.1));
    for other in
        [answer(&[], Some(0.9)), ProviderOutcome::Answered(Verdict::OtherPerson(FieldSet::ALL)), weak]
    {
        let mut waterfall = Waterfall::new(Mode::Fill, 0.5, FieldSet::ALL);
        waterfall.absorb("a", rejected());
        waterfall.absorb("b", other);
        assert_eq!(waterfall.result().unwrap_err().detail()["reason"], "table_refuses");
    }
}

#[test]
fn what_the_table_refused_before_is_offered_again_and_identifies_nobody() {
    const PROFILE: &str = "https://www.linkedin.com/in/jane-example";
    let contact = Contact::default();
    let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
    let found = [(Field::LINKEDIN_URL, PROFILE.to_owned()), (Field::PHONE, "+12025550123".to_owned())];
    waterfall.absorb(
        "a",
        ProviderOutcome::Again {
            answered: crate::answered::Answered::Before(1),
            fills: FieldSet::ALL,
            refused: FieldSet::from_iter([Field::LINKEDIN_URL, Field::LOCATION]),
            verdict: Verdict::Match { values: found.into_iter().collect(), confidence: None },
        },
    );
    let known = waterfall.with_found(&contact, false);
    assert_eq!((known.value(Field::LINKEDIN_URL), known.value(Field::PHONE)), (None, Some("+12025550123")));
    // It is that person all the same.
    assert_eq!(waterfall.with_all_found(&contact, false).value(Field::LINKEDIN_URL), Some(PROFILE));
    assert!(waterfall.has_found_profile(&contact, false));
    // What another supplies was not refused.
    waterfall.absorb("b", answer(&[(Field::LOCATION, "Oslo")], None));
    assert_eq!(waterfall.with_found(&contact, false).value(Field::LOCATION), Some("Oslo"));
    let gathered = waterfall.result().unwrap();
    assert_eq!(gathered.values.get(Field::LINKEDIN_URL).map(String::as_str), Some(PROFILE));
    assert_eq!(gathered.refused_before.names(), ["linkedin_url"]);
}

#[test]
fn nobody_asked_means_not_identifiable() {
    let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
    waterfall.absorb("a", ProviderOutcome::Skipped);
    assert_eq!(waterfall.result().unwrap_err().detail()["reason"], "not_identifiable");
}

fn unfinished(values: &[(Field, &str)], fault: Fault, stops: bool) -> ProviderOutcome {
    let values: FieldMap<String> = values.iter().map(|(field, text)| (*field, (*text).to_owned())).collect();
    let so_far = match values.is_empty() {
        true => Verdict::NoMatch,
        false => Verdict::Match { values, confidence: Some(0.9) },
    };
    ProviderOutcome::Unfinished {
        fills: FieldSet::ALL,
        so_far,
        to_come: FieldSet::ALL,
        fault: Box::new(fault),
        stops,
    }
}

fn pending(retry_after_s: u64) -> Fault {
    Fault { retry_after_s: Some(retry_after_s), owed: true, ..Fault::new(FaultKind::Pending, "not ready") }
}

#[test]
fn an_answer_that_comes_later_stops_the_waterfall_or_does_not() {
    for mode in [Mode::FirstMatch, Mode::Fill] {
        for stops in [true, false] {
            let mut waterfall = Waterfall::new(mode, 0.0, FieldSet::ALL);
            waterfall.absorb("slow", unfinished(&[], pending(7), stops));
            assert_eq!(waterfall.finished(), stops, "{mode:?}");
            assert_eq!(
                waterfall.pending(),
                Some(Pending { retry_after_s: Some(7), owed: true, given_up: false })
            );
        }
    }
}

#[test]
fn what_earlier_steps_supplied_is_used_while_the_rest_comes_later() {
    let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
    waterfall.absorb("slow", unfinished(&[(Field::JOB_TITLE, "Counsel")], pending(7), true));
    assert!(waterfall.pending().is_some());
    let gathered = waterfall.result().unwrap();
    assert_eq!(gathered.values.fields().names(), ["job_title"]);
    assert_eq!(gathered.origin.source.as_ref(), "slow");
}

#[test]
fn what_was_not_wanted_is_no_value_of_a_call_whose_answer_comes_later() {
    let wanted: FieldSet = [Field::PHONE].into_iter().collect();
    let title = [(Field::JOB_TITLE, "Counsel")];
    let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, wanted);
    waterfall.absorb("slow", unfinished(&title, pending(7), true));
    let failure = waterfall.result().unwrap_err();
    assert_eq!(failure.detail()["reason"].as_str(), Some("pending"));
    // Nor where it is given up: nothing says that it has none.
    let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, wanted);
    waterfall.absorb("slow", unfinished(&title, Fault { given_up: true, ..pending(0) }, true));
    let failure = waterfall.result().unwrap_err();
    assert_eq!(failure.detail()["providers"][0]["given_up"].as_bool(), Some(true));
}

/// What another one has that nobody wanted is no data (section 2).
#[test]
fn who_has_only_what_is_not_wanted_makes_no_call_succeed_in_which_another_failed() {
    let wanted: FieldSet = [Field::PHONE].into_iter().collect();
    let title = || answer(&[(Field::JOB_TITLE, "Counsel")], None);
    for mode in [Mode::FirstMatch, Mode::Fill] {
        for first in [true, false] {
            let mut waterfall = Waterfall::new(mode, 0.0, wanted);
            if first {
                waterfall.absorb("knows", title());
            }
            waterfall.absorb("fails", failed());
            if !first {
                waterfall.absorb("knows", title());
            }
            let failure = waterfall.result().unwrap_err();
            assert_eq!(failure.code, Code::ProviderUnavailable, "{mode:?} {first}");
        }
        let mut waterfall = Waterfall::new(mode, 0.0, wanted);
        waterfall.absorb("knows", title());
        waterfall.absorb("other", ProviderOutcome::Answered(Verdict::NoMatch));
        assert!(waterfall.result().unwrap().values.fields().is_empty(), "{mode:?}");
    }
}

#[test]
fn nothing_so_far_is_a_failure_that_says_when() {
    let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
    waterfall.absorb("slow", unfinished(&[], pending(7), false));
    waterfall.absorb("other", ProviderOutcome::Answered(Verdict::NoMatch));
    let failure = waterfall.result().unwrap_err();
    assert_eq!(failure.text().split(':').next(), Some("provider_unavailable"));
    let detail = failure.detail();
    assert_eq!((detail["reason"].as_str(), detail["retry_after"].as_u64()), (Some("pending"), Some(7)));
    assert_eq!(detail["retryable"].as_bool(), Some(true));
    assert_eq!(failure.retry_after_s(), Some(7));
}

#[test]
fn what_others_have_supplied_meanwhile_is_not_waited_for() {
    let fields = |names: &[&str]| -> FieldSet { names.iter().filter_map(|n| Field::parse(n)).collect() };
    let slow = |to_come: &[&str]| ProviderOutcome::Unfinished {
        fills: FieldSet::ALL,
        so_far: Verdict::NoMatch,
        to_come: fields(to_come),
        fault: Box::new(pending(7)),
        stops: false,
    };
    let fast = || {
        let values = [(Field::PHONE, "+15550100100".to_owned())].into_iter().collect();
        ProviderOutcome::Answered(Verdict::Match { values, confidence: None })
    };
    for (wanted, to_come, waits) in [
        (&["phone"][..], &["phone"][..], false),
        (&["phone", "job_title"], &["phone"], false),
        (&["phone", "job_title"], &["phone", "job_title"], true),
        (&["phone", "location"], &["phone", "job_title"], false),
    ] {
        let mut waterfall = Waterfall::new(Mode::Fill, 0.0, fields(wanted));
        waterfall.absorb("slow", slow(to_come));
        assert!(waterfall.pending().is_some() || wanted.contains(&"location"), "{wanted:?}");
        waterfall.absorb("fast", fast());
        assert_eq!(waterfall.pending().is_some(), waits, "{wanted:?} {to_come:?}");
        assert_eq!(waterfall.result().unwrap().values.fields().names(), ["phone"]);
    }
}

#[test]
fn of_several_answers_that_come_later_the_first_counts() {
    let given_up = Fault { given_up: true, ..pending(0) };
    for (faults, expected) in [
        ([pending(9), pending(4)], Pending { retry_after_s: Some(4), owed: true, given_up: false }),
        ([given_up.clone(), pending(4)], Pending { retry_after_s: Some(4), owed: true, given_up: false }),
        ([given_up.clone(), given_up], Pending { retry_after_s: Some(0), owed: true, given_up: true }),
    ] {
        let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
        faults.into_iter().for_each(|fault| waterfall.absorb("slow", unfinished(&[], fault, false)));
        assert_eq!(waterfall.pending(), Some(expected));
    }
}

#[test]
fn a_provider_s_own_least_confidence_counts_before_the_setting() {
    let answer = || {
        let values = [(Field::PHONE, "+15550100100".to_owned())].into_iter().collect();
        ProviderOutcome::Answered(Verdict::Match { values, confidence: Some(0.5) })
    };
    for (setting, own, used) in [(0.0, Some(0.6), false), (0.9, Some(0.4), true), (0.4, None, true)] {
        let mut waterfall = Waterfall::new(Mode::Fill, setting, FieldSet::ALL);
        waterfall.absorb_above("main", answer(), own);
        assert_eq!(waterfall.result().is_ok(), used, "{setting} {own:?}");
    }
}

#[test]
fn who_has_nothing_of_what_is_wanted_is_not_among_those_that_were_asked() {
    let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
    waterfall.absorb("a", ProviderOutcome::NotWanted);
    let fault = Fault::new(FaultKind::ServerError, "trouble");
    waterfall.absorb("b", ProviderOutcome::Answered(Verdict::Failed(fault)));
    let detail = waterfall.result().unwrap_err().detail();
    let named: Vec<&str> =
        detail["providers"].as_array().unwrap().iter().filter_map(|p| p["provider"].as_str()).collect();
    assert_eq!(named, ["b"]);
    // Where that is all of them, nobody has it; it is not that the contact is not known well enough.
    let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
    waterfall.absorb("a", ProviderOutcome::NotWanted);
    assert!(waterfall.is_new());
    let failure = waterfall.result().unwrap_err();
    assert_eq!(failure.detail()["reason"], "no_data");
    assert!(failure.message.contains("supplies the fields that are wanted"), "{}", failure.message);
    assert!(!failure.hint.contains("remembered"), "nothing was asked: {}", failure.hint);
}

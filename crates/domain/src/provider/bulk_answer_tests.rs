use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fields::{Field, FieldSet};
use crate::provider::bulk::tests::{config_with, description};
use crate::provider::{Inquiry, Method, Progress, Verdict, Whom};

const MOST: usize = 10_000;

fn request() -> HttpRequest {
    HttpRequest::new(
        Method::Post,
        "https://api.acme.example/all".into(),
        Vec::new(),
        None,
        Some("s3cret-of-the-vendor".into()),
    )
}

fn answer(status: u16, body: &str) -> Answer {
    let headers = vec![("Content-Type".into(), "application/json".into()), ("X-Cost".into(), "7".into())];
    Answer { status, headers, body: body.as_bytes().to_vec() }
}

/// What each of so many contacts came to, and the whole. `None`: it was not told.
fn read(config: &Config, contacts: usize, answer: &Answer) -> (Whole, Vec<Option<Progress>>) {
    let ids: Vec<String> = (0..contacts).map(|at| format!("id{at}")).collect();
    let mut came: Vec<Option<Progress>> = ids.iter().map(|_| None).collect();
    let whole = config.read_all_of((&request(), answer), &ids, (MOST, 0), &mut |at, part| {
        let mut inquiry = Inquiry::new(FieldSet::ALL);
        let progress = match part {
            Part::Answer(answer) => inquiry.take(config, (&request(), &answer), &Whom::default(), 0).0,
            Part::Failed { fault, denied } => inquiry.fail(config, fault, denied, 0),
        };
        assert!(came[at].replace(progress).is_none(), "told twice");
    });
    (whole, came)
}

fn words(came: &[Option<Progress>]) -> Vec<String> {
    let word = |progress: &Option<Progress>| match progress {
        None => "untold".to_owned(),
        Some(Progress::Over(Verdict::Match { values, .. })) => values.get(Field::JOB_TITLE).unwrap().clone(),
        Some(Progress::Over(Verdict::NoMatch)) => "no match".to_owned(),
        Some(Progress::Over(other)) => format!("{other:?}"),
        Some(Progress::Failed(fault) | Progress::Pending { fault, .. }) => fault.kind.name().to_owned(),
        Some(other) => format!("{other:?}"),
    };
    came.iter().map(word).collect()
}

fn told(config: &Config, contacts: usize, status: u16, body: &Value) -> Vec<String> {
    words(&read(config, contacts, &answer(status, &body.to_string())).1)
}

fn hit(title: &str) -> Value {
    json!({"status": 200, "data": {"title": title}})
}

#[test]
fn one_bad_element_fails_its_contact_alone() {
    let config = config_with(json!({}));
    let long = "x".repeat(MOST);
    for (bad, expected) in [
        (json!({"status": 404, "error": {}}), "no match"),
        (json!({"status": 500}), "server_error"),
        (json!({"status": "soon"}), "unrecognised"),
        (json!({"status": 42}), "unrecognised"),
        (json!({"status": 400, "error": "bad"}), "bad_status"),
        (json!({"status": 200, "else": 1}), "unrecognised"),
        (json!(null), "unrecognised"),
        (json!("text"), "unrecognised"),
        (json!([1]), "unrecognised"),
        (json!(true), "unrecognised"),
        (json!(7), "unrecognised"),
        (json!({"status": 200, "data": {"title": long}}), "too_large"),
        (json!({"status": 200, "data": {"title": true}}), "no match"),
        (json!({"data": {"title": "By the status of the whole"}}), "By the status of the whole"),
        (json!({"status": null, "data": {"title": "The same"}}), "The same"),
        (json!({"status": "200", "data": {"title": "As text"}}), "As text"),
    ] {
        let came = told(&config, 3, 200, &json!([hit("First"), bad, hit("Last")]));
        assert_eq!(came, ["First", expected, "Last"], "{bad}");
    }
}

#[test]
fn a_wrong_number_of_answers_says_nothing_about_anybody() {
    let config = config_with(json!({}));
    for body in [
        json!([hit("A")]),
        json!([hit("A"), hit("B"), hit("C")]),
        json!([]),
        json!({"data": []}),
        json!(null),
        json!({}),
    ] {
        assert_eq!(told(&config, 2, 200, &body), ["unrecognised"; 2], "{body}");
    }
    assert_eq!(
        told(&config, 1, 200, &json!([])),
        ["unrecognised"],
        "an empty list is no match of one contact alone"
    );
    let cut = answer(200, "[{\"status\": 200, \"data\": {\"title\": \"A\"}}, {\"sta");
    assert_eq!(words(&read(&config, 2, &cut).1), ["bad_json"; 2]);
}

#[test]
fn by_id_the_order_and_others_do_not_matter() {
    let config = config_with(json!({"match": {"send": "/id", "answer": "/meta/id"}, "answers": "/results"}));
    let with = |id: Value, title: &str| json!({"status": 200, "data": {"title": title}, "meta": {"id": id}});
    let body = json!({"results": [with(json!("id2"), "C"), with(json!("stranger"), "X"), with(json!("id0"), "A"), hit("no id")]});
    assert_eq!(told(&config, 3, 200, &body), ["A", "unrecognised", "C"]);
    let twice =
        json!({"results": [with(json!("id0"), "A"), with(json!("id1"), "B"), with(json!("id0"), "Z")]});
    assert_eq!(told(&config, 2, 200, &twice), ["unrecognised", "B"], "which of the two?");
    assert_eq!(told(&config, 2, 200, &json!({"results": []})), ["unrecognised"; 2]);
    let listed = config_with(json!({"match": {"send": "/id", "answer": "/ids/1"}}));
    assert_eq!(told(&listed, 1, 200, &json!([{"ids": [0, "id0"], "data": {"title": "A"}}])), ["A"]);
}

#[test]
fn whom_the_vendor_lists_apart_it_does_not_know() {
    let rule = json!({"send": "/id", "answer": "/id", "no_match": "/unknown"});
    let config = config_with(json!({"match": rule, "answers": "/found"}));
    let hit = |id: &str| json!({"id": id, "status": 200, "data": {"title": id}});
    let body = json!({"found": [hit("id3")], "unknown": ["id1", 0, "stranger", "id1", null]});
    assert_eq!(told(&config, 4, 200, &body), ["unrecognised", "no match", "unrecognised", "id3"]);
    assert_eq!(told(&config, 1, 200, &json!({"found": [], "unknown": ["id0"]})), ["no match"]);
    let both = json!({"found": [hit("id0"), hit("id1")], "unknown": ["id0"]});
    assert_eq!(told(&config, 2, 200, &both), ["unrecognised", "id1"], "which of the two?");
    for other in [json!(null), json!("id0"), json!({"id0": 1}), json!([["id0"]])] {
        let body = json!({"found": [], "unknown": other});
        assert_eq!(told(&config, 1, 200, &body), ["unrecognised"], "{body}");
    }
    assert_eq!(told(&config, 2, 500, &json!({"found": [], "unknown": ["id0"]})), ["server_error"; 2]);
}

#[test]
fn what_is_refused_as_a_whole_is_asked_again_in_halves() {
    let config = config_with(json!({}));
    for status in [400, 413, 422] {
        let (whole, came) = read(&config, 4, &answer(status, "{\"error\": \"no\"}"));
        assert_eq!((whole, words(&came)), (Whole::Halve, vec!["untold".to_owned(); 4]), "{status}");
        assert_eq!(told(&config, 1, status, &json!({"error": "no"})), ["bad_status"], "{status}");
    }
    for (status, expected) in [
        (401, "bad_credentials"),
        (402, "quota"),
        (403, "bad_credentials"),
        (429, "rate_limited"),
        (500, "server_error"),
        (404, "unrecognised"),
        (451, "unrecognised"),
        (204, "unrecognised"),
        (301, "redirect"),
        (202, "pending"),
    ] {
        assert_eq!(told(&config, 2, status, &json!({"error": "no"})), [expected; 2], "{status}");
    }
    let mut refused = description();
    refused["response"]["quota"] = json!({"body": [{"pointer": "/error", "contains": "credits"}]});
    refused["response"]["no_match"] = json!({"status": [400, 404]});
    let refused = Config::parse(&refused).unwrap();
    assert_eq!(told(&refused, 4, 422, &json!({"error": "no credits left"})), ["quota"; 4]);
    assert_eq!(told(&refused, 2, 200, &json!({"error": "no credits left"})), ["quota"; 2]);
    assert_eq!(
        told(&refused, 1, 400, &json!({})),
        ["unrecognised"],
        "that nobody is known is said of one person"
    );
}

#[test]
fn what_all_of_it_cost_counts_once() {
    let mut by_header = description();
    by_header["response"]["cost"] = json!({"header": "x-cost"});
    let body = json!([hit("A"), hit("B")]).to_string();
    let (whole, _) = read(&Config::parse(&by_header).unwrap(), 2, &answer(200, &body));
    assert_eq!(whole, Whole::Told(Some(Reported::Credits(7.0))));
    let mut by_place = description();
    by_place["response"]["cost"] = json!({"pointer": "/spent"});
    by_place["bulk"]["answers"] = json!("/all");
    let by_place = Config::parse(&by_place).unwrap();
    let body = json!({"spent": 2, "all": [hit("A")]}).to_string();
    assert_eq!(read(&by_place, 1, &answer(200, &body)).0, Whole::Told(Some(Reported::Credits(2.0))));
    let body = json!({"all": [{"status": 200, "spent": 1, "data": {}}]}).to_string();
    assert_eq!(read(&by_place, 1, &answer(200, &body)).0, Whole::Told(None), "each says so of itself");
}

#[test]
fn failures_of_all_repeat_no_secret() {
    let config = config_with(json!({}));
    let page = answer(400, "{\"error\": \"bad key s3cret-of-the-vendor\"}");
    let Some(Progress::Failed(fault)) = read(&config, 1, &page).1.remove(0) else { panic!() };
    assert!(!fault.message.contains("s3cret") && fault.message.contains("***"), "{}", fault.message);
}

proptest! {
    /// Whatever a vendor sends: each contact is told of once or the whole is halved, and a value comes from its own element.
    #[test]
    fn nobody_gets_what_is_about_another(
        contacts in 1_usize..8,
        status in prop::sample::select(vec![200_u16, 200, 200, 207, 400, 404, 413, 422, 429, 500]),
        elements in prop::collection::vec((0_usize..10, 0_u8..6), 0..9),
        by_id in any::<bool>(),
    ) {
        let config = match by_id {
            true => config_with(json!({"match": {"send": "/id", "answer": "/id"}})),
            false => config_with(json!({})),
        };
        let element = |at: usize, (id, form): &(usize, u8)| match form {
            0 => json!(null),
            1 => json!({"id": format!("id{id}"), "status": 404}),
            2 => json!({"id": id, "status": 200, "data": {"title": format!("title of {at} {id}")}}),
            _ => json!({"id": format!("id{id}"), "status": 200, "data": {"title": format!("title of {at} {id}")}}),
        };
        let body: Vec<Value> = elements.iter().enumerate().map(|(at, form)| element(at, form)).collect();
        let (whole, came) = read(&config, contacts, &answer(status, &json!(body).to_string()));
        if whole == Whole::Halve {
            prop_assert!(contacts > 1 && [400, 413, 422].contains(&status));
            prop_assert!(came.iter().all(Option::is_none));
            return Ok(());
        }
        for (at, progress) in came.iter().enumerate() {
            let Some(Progress::Over(Verdict::Match { values, .. })) = progress else {
                prop_assert!(progress.is_some());
                continue;
            };
            prop_assert!((200..300).contains(&status));
            let title = values.get(Field::JOB_TITLE).unwrap();
            match by_id {
                true => prop_assert!(title.ends_with(&format!(" {at}")), "{} for {}", title, at),
                false => {
                    let own = format!("title of {at} ");
                    prop_assert!(title.starts_with(&own) && elements.len() == contacts);
                }
            }
        }
    }
}

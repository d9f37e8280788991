use serde_json::{Value, json};

use super::*;
use crate::contact::Contact;
use crate::fields::{Field, FieldSet};
use crate::person::Person;
use crate::provider::{Method, Next, Seat, Verdict, merge_preset};

const NOW: i64 = 1_792_567_620_000_000;
const MOST: usize = 10_000;

fn description() -> Value {
    json!({
        "identify_by": [["email"]],
        "poll_every_s": 7,
        "steps": [
            {"request": {"method": "POST", "url": "https://api.acme.example/jobs", "headers": {"X-Key": "{secret}"}, "body": {"email": "{email}"}},
             "response": {}, "take": {"ticket": "/id"}},
            {"request": {"url": "https://api.acme.example/jobs/{ticket}", "headers": {"X-Key": "{secret}"}},
             "response": {"pending": {"body": [{"pointer": "/state", "in": ["running"]}]}, "ticket_unknown": {"status": [404]},
                          "fields": {"job_title": ["/people/0/title", "/title"], "phone": ["/people/0/phone", "/phone"]}}}
        ],
        "bulk": {
            "steps": [
                {"request": {"method": "POST", "url": "https://api.acme.example/bulk", "headers": {"X-Key": "{secret}"},
                             "body": {"people": {"each": {"email": "{email}"}}}},
                 "response": {"quota": {"body": [{"pointer": "/error", "in": ["credits"]}]}}, "take": {"batch": "/id"}},
                {"request": {"url": "https://api.acme.example/bulk/{batch}", "headers": {"X-Key": "{secret}"}},
                 "response": {"pending": {"body": [{"pointer": "/state", "in": ["running"]}]}, "ticket_unknown": {"status": [404]},
                              "cost": {"pointer": "/credits"}}}
            ],
            "most": 100, "answers": "/people", "status": "/status"
        }
    })
}

fn config_with(change: Value) -> Config {
    Config::parse(&merge_preset(&description(), &change).unwrap()).unwrap()
}

fn config() -> Config {
    config_with(json!({}))
}

fn request() -> HttpRequest {
    let secret = Some("s3cret-of-the-vendor".to_owned());
    HttpRequest::new(Method::Post, "https://api.acme.example/bulk".into(), Vec::new(), None, secret)
}

fn answer(status: u16, body: &Value) -> Answer {
    let headers = vec![("Content-Type".into(), "application/json".into())];
    Answer { status, headers, body: body.to_string().into_bytes() }
}

/// What the answer comes to for each; `None`: it is to be sent again in halves.
fn take(
    config: &Config,
    inquiries: &mut [Inquiry],
    (status, body): (u16, Value),
) -> Option<(Vec<String>, Option<f64>)> {
    let whom = Whom::default();
    let member = |(at, inquiry)| Member { inquiry, whom: &whom, id: format!("id{at}") };
    let mut members: Vec<Member<'_>> = inquiries.iter_mut().enumerate().map(member).collect();
    let (came, cost) =
        config.take_for_all((&request(), &answer(status, &body)), &mut members, (MOST, NOW))?;
    Some((came.iter().map(word).collect(), cost.and_then(Reported::credits)))
}

fn word(progress: &Progress) -> String {
    match progress {
        Progress::Over(Verdict::Match { values, .. }) => values.get(Field::JOB_TITLE).unwrap().clone(),
        Progress::Over(Verdict::NoMatch) => "no match".to_owned(),
        Progress::Failed(fault) => fault.kind.name().to_owned(),
        Progress::Pending { after_s, .. } => format!("pending {after_s}"),
        Progress::Next { after_s } => format!("next {after_s}"),
        Progress::TicketUnknown(_) => "unknown".to_owned(),
        other => format!("{other:?}"),
    }
}

fn handed_in(config: &Config, count: usize) -> Vec<Inquiry> {
    let mut inquiries = vec![Inquiry::new(FieldSet::ALL); count];
    let (came, _) = take(config, &mut inquiries, (202, json!({"id": "b1"}))).unwrap();
    assert_eq!(came, vec!["next 7"; count]);
    inquiries
}

fn people(count: usize) -> Value {
    json!((0..count).map(|at| json!({"title": format!("T{at}"), "status": 200})).collect::<Vec<_>>())
}

#[test]
fn all_are_handed_in_once_and_asked_for_once() {
    let config = config();
    let jane = Person::made_up(&Contact { email: Some("jane@acme.example".into()), ..Contact::default() });
    let new = Inquiry::new(FieldSet::ALL);
    assert!(config.has_tickets() && config.shares(&new, &jane) && config.hands_in_together(&new));
    let mut inquiries = handed_in(&config, 3);
    assert!(inquiries.iter().all(|inquiry| inquiry.is_poll(&config) && !config.hands_in_together(inquiry)));
    assert!(inquiries.iter().all(|inquiry| inquiry.group() == inquiries[0].group()));
    let seat = Seat { inquiry: &inquiries[2], person: &jane, id: "" };
    let Next::Send(request) = config.request_for_all(&[seat], Some("s"), None) else { panic!("it asks") };
    assert_eq!(request.url, "https://api.acme.example/bulk/b1");
    assert!(!config.shares(&inquiries[0], &jane), "it is not handed in again");
    let running = (200, json!({"state": "running", "people": []}));
    assert_eq!(take(&config, &mut inquiries, running).unwrap().0, ["pending 7"; 3]);
    let done = (200, json!({"state": "done", "people": people(3), "credits": 6}));
    assert_eq!(
        take(&config, &mut inquiries, done).unwrap(),
        (["T0", "T1", "T2"].map(String::from).into(), Some(6.0))
    );
}

#[test]
fn a_ticket_knows_its_place_in_any_later_request() {
    let config = config();
    let inquiries = handed_in(&config, 4);
    let kept: Vec<Value> = inquiries.iter().map(|inquiry| inquiry.ticket().unwrap()).collect();
    let resumed = |config: &Config, at: usize| Inquiry::resumed(config, &kept[at], FieldSet::ALL);
    let done = || (200, json!({"state": "done", "people": people(4), "credits": 8}));
    // Some of them, in another order: each pays its part.
    let mut some = [resumed(&config, 3).unwrap(), resumed(&config, 1).unwrap()];
    assert_eq!(take(&config, &mut some, done()).unwrap(), (["T3", "T1"].map(String::from).into(), Some(4.0)));
    // One alone.
    let mut one = resumed(&config, 2).unwrap();
    let (progress, cost) = one.take(&config, (&request(), &answer(200, &done().1)), &Whom::default(), NOW);
    assert_eq!((word(&progress), cost.and_then(Reported::credits)), ("T2".into(), Some(2.0)));
    assert_eq!(one.settled_by(&config, &progress), config.maps_of(FieldSet::ALL));
    // Another way to read the answers keeps it; another request does not.
    let steps = |place: &str, value: Value| {
        let mut steps = description()["bulk"]["steps"].clone();
        *steps.pointer_mut(place).unwrap() = value;
        config_with(json!({"bulk": {"steps": steps, "most": 5, "answers": "/all"}}))
    };
    assert_eq!(resumed(&steps("/1/response/cost/pointer", json!("/c")), 0), Some(inquiries[0].clone()));
    assert_eq!(resumed(&steps("/0/request/url", json!("https://api.acme.example/v3")), 0), None);
    assert_eq!(resumed(&config_with(json!({"bulk": null})), 0), None);
}

#[test]
fn what_the_whole_says_holds_for_all_and_an_element_for_one() {
    let config = config();
    let polled = |status, body: Value| take(&config, &mut handed_in(&config, 2), (status, body)).unwrap().0;
    assert_eq!(polled(404, json!({})), ["unknown"; 2]);
    assert_eq!(polled(410, json!({})), ["unknown"; 2]);
    assert_eq!(polled(500, json!({})), ["server_error"; 2]);
    assert_eq!(polled(400, json!({})), ["bad_status"; 2], "what was handed in is not asked for in halves");
    assert_eq!(polled(200, json!({"people": people(3)})), ["unrecognised"; 2]);
    assert_eq!(polled(200, json!({"people": "none"})), ["unrecognised"; 2]);
    let bad = |element: Value| polled(200, json!({"people": [{"title": "T0"}, element]}));
    assert_eq!(bad(json!({"status": 500})), ["T0", "server_error"]);
    assert_eq!(bad(json!("text")), ["T0", "unrecognised"]);
    assert_eq!(bad(json!({"state": "running"})), ["T0", "pending 7"], "one of them can be later");
    assert_eq!(
        bad(json!({"status": 404})),
        ["T0", "provider_error"],
        "an element says nothing of the ticket"
    );
    assert_eq!(bad(json!({"title": null, "phone": null})), ["T0", "no match"]);
    assert_eq!(bad(json!({"title": "x".repeat(MOST)})), ["T0", "too_large"]);
}

#[test]
fn a_submission_that_is_not_taken_is_halved_or_fails() {
    let config = config();
    let submit = |count, status, body: Value| {
        take(&config, &mut vec![Inquiry::new(FieldSet::ALL); count], (status, body)).map(|(came, _)| came)
    };
    assert_eq!(submit(2, 413, json!({})), None);
    assert_eq!(submit(1, 413, json!({})).unwrap(), ["bad_status"]);
    assert_eq!(submit(2, 400, json!({"error": "credits"})).unwrap(), ["quota"; 2]);
    assert_eq!(submit(2, 200, json!({"other": 1})).unwrap(), ["unrecognised"; 2]);
    assert_eq!(submit(2, 204, json!(null)).unwrap(), ["unrecognised"; 2]);
    assert_eq!(submit(2, 451, json!({"x": 1})).unwrap(), ["unrecognised"; 2]);
    assert_eq!(submit(2, 200, json!({"id": "s3cret-of-the-vendor"})).unwrap(), ["unrecognised"; 2]);
}

#[test]
fn by_id_the_id_is_kept_with_the_ticket() {
    let config = config_with(json!({"bulk": {"match": {"send": "/ref", "answer": "/ref"}}}));
    let kept: Vec<Value> = handed_in(&config, 3).iter().map(|inquiry| inquiry.ticket().unwrap()).collect();
    let mut some: Vec<Inquiry> =
        [2, 0].map(|at: usize| Inquiry::resumed(&config, &kept[at], FieldSet::ALL).unwrap()).into();
    let body = json!({"people": [{"ref": "id2", "title": "T2"}, {"ref": "else", "title": "T9"}]});
    assert_eq!(take(&config, &mut some, (200, body)).unwrap().0, ["T2", "unrecognised"]);
}

#[test]
fn the_last_step_can_read_its_elements_by_fields_of_its_own() {
    let mut steps = description()["bulk"]["steps"].clone();
    steps[1]["response"]["fields"] = json!({"job_title": "/t", "phone": "/p"});
    steps[1]["response"]["ticket_unknown"] = json!({"status": [404]});
    let config = config_with(json!({"bulk": {"steps": steps}}));
    let body = json!({"people": [{"t": "T0"}, {"t": null}]});
    assert_eq!(take(&config, &mut handed_in(&config, 2), (200, body)).unwrap().0, ["T0", "no match"]);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut whole = description();
        change(&mut whole);
        let error = Config::parse(&whole).unwrap_err();
        (error.place, error.message)
    };
    let step = |at: usize, path: &str, value: Value| {
        wrong(&|whole| *whole.pointer_mut(&format!("/bulk/steps/{at}{path}")).unwrap() = value.clone())
    };
    let named = |(place, message): (String, String), at: &str, word: &str| {
        assert!(place == at && message.contains(word), "{place}: {message}");
    };
    named(wrong(&|whole| whole["bulk"]["request"] = json!({})), "/bulk/request", "left out");
    named(
        wrong(&|whole| {
            whole["bulk"]["steps"].as_array_mut().unwrap().pop();
        }),
        "/bulk/steps",
        "2 to 8",
    );
    named(step(0, "/request/method", json!("GET")), "/bulk/steps/0/request/method", "POST");
    named(step(0, "/request/body/people", json!(1)), "/bulk/steps/0/request/body", "once");
    named(
        step(0, "/response", json!({"fields": {"phone": "/x"}})),
        "/bulk/steps/0/response/fields",
        "last step",
    );
    named(step(0, "/take", json!({"email": "/id"})), "/bulk/steps/0/take/email", "ours");
    let conditional = json!({"batch": {"pointer": "/id", "if": [{"pointer": "/id", "present": true}]}});
    named(step(0, "/take", conditional), "/bulk/steps/0/take/batch/if", "one contact");
    let idle = json!({"request": {"url": "https://api.acme.example/x"}, "response": {}});
    named(step(1, "", idle), "/bulk/steps/1/request", "names nothing");
    named(
        step(1, "/request/url", json!("https://api.acme.example/{batch}/{email}")),
        "/bulk/steps/1/request",
        "only the first step",
    );
    named(
        step(1, "/request/url", json!("https://api.acme.example/{ticket}")),
        "/bulk/steps/1/request/url",
        "placeholder",
    );
    named(step(1, "/response", json!({"fields": {"phone": "/x"}})), "/bulk/steps/1", "same \"fields\"");
}

#[test]
fn steps_over_a_request_replace_it_and_the_other_way_round() {
    let one = json!({"method": "POST", "url": "https://api.acme.example/b", "body": {"each": {"email": "{email}"}}});
    let merged = merge_preset(&description(), &json!({"bulk": {"request": one}})).unwrap();
    assert!(merged["bulk"].get("steps").is_none() && merged["bulk"]["request"]["method"] == "POST");
    let back = merge_preset(&merged, &json!({"bulk": {"steps": description()["bulk"]["steps"]}})).unwrap();
    assert_eq!(back, description());
    let hosts = json!({"bulk": {"steps": [description()["bulk"]["steps"][0], {"request": {"url": "https://else.example/{batch}"}, "response": {}}]}});
    assert!(config_with(hosts).origins().contains("https://else.example:443"));
}

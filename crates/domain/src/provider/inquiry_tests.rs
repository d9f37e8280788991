use serde_json::{Value, json};

use super::*;
use crate::contact::Contact;
use crate::fields::Field;
use crate::provider::ConfigError;

/// 2026-10-21 07:27:00 UTC.
const NOW: i64 = 1_792_567_620_000_000;
const SECRET: &str = "s3cret-of-the-vendor";

/// Submits, then polls: the shape of the contract.
pub(super) fn description() -> Value {
    json!({
        "login": {
            "request": {"method": "POST", "url": "https://id.acme.example/token", "body": {"id": "me", "secret": "{secret}"}},
            "take": {"token": "/access_token"},
            "valid_for": {"pointer": "/expires_in"}
        },
        "identify_by": [["linkedin_url"], ["full_name", "company_domain"]],
        "poll_every_s": 7,
        "poll_for_s": 60,
        "steps": [
            {
                "request": {
                    "method": "POST", "url": "https://api.acme.example/v2/enrich",
                    "headers": {"Authorization": "Bearer {token}"},
                    "body": {
                        "data": [{"name": "{full_name}", "domain": "{company_domain}", "profile": "{linkedin_url}"}],
                        "want": {"wanted": {"phone": "phones", "job_title": "profile"}}
                    }
                },
                "response": {"fields": {"job_title": "/preview/title"}},
                "take": {"ticket": "/enrichment_id"}
            },
            {
                "request": {"url": "https://api.acme.example/v2/enrich/{ticket}", "headers": {"Authorization": "Bearer {token}"}},
                "response": {
                    "pending": {"body": [{"pointer": "/status", "in": ["IN_PROGRESS"]}]},
                    "ticket_unknown": {"status": [404]},
                    "no_match": {"body": [{"pointer": "/status", "in": ["NOTHING"]}]},
                    "fields": {"phone": "/data/0/phone", "job_title": "/data/0/title"}
                }
            }
        ]
    })
}

fn config() -> Config {
    Config::parse(&description()).unwrap()
}

fn jane() -> Person {
    Person::made_up(&Contact {
        full_name: Some("Jane Example".into()),
        email: Some("jane@acme.example".into()),
        ..Contact::default()
    })
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer { status, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn token() -> LoginValues {
    let mut taken = Taken::NOTHING;
    taken.set("token", "tok/en+1234".into());
    LoginValues { taken, valid_for_s: None }
}

fn request(config: &Config, inquiry: &Inquiry) -> HttpRequest {
    match inquiry.next(config, &jane(), Some(SECRET), Some(&token())) {
        Next::Send(request) => *request,
        other => panic!("{other:?}"),
    }
}

/// The next request is answered so.
pub(super) fn answered(config: &Config, inquiry: &mut Inquiry, status: u16, body: Value) -> Progress {
    let request = request(config, inquiry);
    inquiry.take(config, (&request, &answer(status, &body)), &Whom::default(), NOW).0
}

pub(super) fn submitted(config: &Config, body: Value) -> Inquiry {
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    assert_eq!(answered(config, &mut inquiry, 202, body), Progress::Next { after_s: 7 });
    inquiry
}

fn values(verdict: &Verdict) -> Vec<(&'static str, &str)> {
    match verdict {
        Verdict::Match { values, .. } => values.iter().map(|(f, v)| (f.name(), v.as_str())).collect(),
        _ => Vec::new(),
    }
}

fn over(progress: Progress) -> Verdict {
    match progress {
        Progress::Over(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_question_is_handed_in_asked_for_twice_and_answered() {
    let config = config();
    let new = Inquiry::new(FieldSet::ALL);
    assert!(matches!(new.next(&config, &jane(), Some(SECRET), None), Next::LogIn(_)));
    assert_eq!(new.ticket(), None);
    let sent = request(&config, &new);
    assert_eq!(sent.headers[0], ("Authorization".to_owned(), "Bearer tok/en+1234".to_owned()));
    let body: Value = serde_json::from_slice(sent.body.as_deref().unwrap()).unwrap();
    assert_eq!(
        body,
        json!({"data": [{"name": "Jane Example", "domain": "acme.example"}], "want": ["phones", "profile"]})
    );
    assert!(!sent.masked().to_string().contains("tok/en"), "{sent:?}");

    let mut inquiry = submitted(&config, json!({"enrichment_id": "a/b c"}));
    assert_eq!((inquiry.step(), inquiry.is_poll(&config), inquiry.due_at()), (1, true, NOW + 7_000_000));
    assert_eq!(inquiry.given_up_at(&config), Some(NOW + 60_000_000));
    assert_eq!(request(&config, &inquiry).url, "https://api.acme.example/v2/enrich/a%2Fb%20c");
    for _ in 0..2 {
        let progress = answered(&config, &mut inquiry, 200, json!({"status": "in_progress"}));
        assert!(
            matches!(progress, Progress::Pending { after_s: 7, ref fault } if fault.kind == FaultKind::Pending)
        );
        assert_eq!((inquiry.step(), inquiry.so_far()), (1, Verdict::NoMatch));
    }
    let done = json!({"status": "DONE", "data": [{"phone": "+12025550123", "title": "Tester"}]});
    let verdict = over(answered(&config, &mut inquiry, 200, done));
    assert_eq!(values(&verdict), [("job_title", "Tester"), ("phone", "+12025550123")]);
}

#[test]
fn the_later_of_two_waits_counts() {
    let config = config();
    for (retry_after, expected) in [("3", 7), ("30", 30)] {
        let mut inquiry = submitted(&config, json!({"enrichment_id": 1}));
        let mut late = answer(200, &json!({"status": "IN_PROGRESS"}));
        late.headers.push(("Retry-After".into(), retry_after.into()));
        let request = request(&config, &inquiry);
        let (progress, _) = inquiry.take(&config, (&request, &late), &Whom::default(), NOW);
        assert!(matches!(progress, Progress::Pending { after_s, .. } if after_s == expected), "{progress:?}");
        assert_eq!(inquiry.due_at(), NOW + i64::try_from(expected).unwrap() * 1_000_000);
    }
}

#[test]
fn a_later_step_takes_nothing_back() {
    let config = config();
    let preview = json!({"enrichment_id": "x", "preview": {"title": "Chief Tester"}});
    let early = || submitted(&config, preview.clone());
    assert_eq!(values(&early().so_far()), [("job_title", "Chief Tester")]);
    for (status, body) in [
        (200, json!({"status": "NOTHING"})),
        (200, json!({"status": "DONE", "data": [{"phone": null, "title": "Other"}]})),
        (204, Value::Null),
    ] {
        let verdict = over(answered(&config, &mut early(), status, body.clone()));
        assert_eq!(values(&verdict), [("job_title", "Chief Tester")], "{body}");
    }
    for status in [500, 429, 404] {
        let mut inquiry = early();
        let progress = answered(&config, &mut inquiry, status, json!({"error": "x"}));
        assert_eq!(matches!(progress, Progress::TicketUnknown(_)), status == 404, "{progress:?}");
        assert_eq!(values(&inquiry.so_far()), [("job_title", "Chief Tester")]);
    }
    // A refusal is not about a field.
    assert_eq!(over(answered(&config, &mut early(), 451, json!({}))), Verdict::Suppressed);
}

#[test]
fn a_ticket_that_the_vendor_knows_no_longer_is_told_from_everything_else() {
    let config = config();
    let poll = |status: u16, body: &[u8]| {
        let mut inquiry = submitted(&config, json!({"enrichment_id": "x"}));
        let request = request(&config, &inquiry);
        let answer = Answer { status, headers: Vec::new(), body: body.to_vec() };
        inquiry.take(&config, (&request, &answer), &Whom::default(), NOW).0
    };
    for (status, body) in [(404, &b"{}"[..]), (404, b""), (410, b"{}"), (410, b"")] {
        let progress = poll(status, body);
        assert!(
            matches!(progress, Progress::TicketUnknown(ref fault) if fault.message.contains("anew")),
            "{progress:?}"
        );
    }
    for status in [404, 410] {
        let progress = poll(status, b"<html>");
        assert!(
            matches!(progress, Progress::Failed(ref fault) if fault.kind == FaultKind::Unrecognised),
            "a page loses no ticket: {progress:?}"
        );
    }
    let mut first = Inquiry::new(FieldSet::ALL);
    let progress = answered(&config, &mut first, 410, json!({}));
    assert!(
        matches!(progress, Progress::Failed(ref fault) if fault.kind == FaultKind::BadStatus),
        "{progress:?}"
    );
}

#[test]
fn an_answer_without_what_is_taken_is_not_recognised() {
    let config = config();
    for (status, body) in [
        (200, json!({"id": "x"})),
        (202, json!({"enrichment_id": null})),
        (202, json!({"enrichment_id": true})),
        (200, json!({"enrichment_id": "  "})),
        (200, json!({"enrichment_id": 1.5})),
        (200, json!({"enrichment_id": {}})),
        (200, json!({"enrichment_id": "x".repeat(8_193)})),
        (200, json!({"enrichment_id": "nul\u{0}"})),
    ] {
        let mut inquiry = Inquiry::new(FieldSet::ALL);
        match answered(&config, &mut inquiry, status, body.clone()) {
            Progress::Failed(fault) => {
                assert_eq!(fault.kind, FaultKind::Unrecognised, "{body}");
                assert!(fault.remedy.unwrap().contains("{ticket}"), "{body}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    // Nor is one of a later step, of which the response is described with all others.
    let mut polled = Inquiry::new(FieldSet::ALL);
    answered(&config, &mut polled, 200, json!({"enrichment_id": "x"}));
    let Progress::Failed(fault) = answered(&config, &mut polled, 200, json!({"odd": true})) else {
        panic!("{polled:?}")
    };
    assert!(fault.remedy.unwrap().contains("give all of \"steps\" anew"));
    // What it supplied was paid for, and all else is not known yet.
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    let progress = answered(&config, &mut inquiry, 200, json!({"preview": {"title": "Tester"}}));
    assert!(matches!(progress, Progress::Failed(ref fault) if fault.kind == FaultKind::Unrecognised));
    assert_eq!(values(&inquiry.so_far()), [("job_title", "Tester")]);
    assert_eq!(inquiry.settled_fields(&config), FieldSet::EMPTY);
    // Where nothing more is wanted of it, nothing is lacking.
    let mut inquiry = Inquiry::new([Field::JOB_TITLE].into_iter().collect());
    let found = over(answered(&config, &mut inquiry, 200, json!({"preview": {"title": "Tester"}})));
    assert_eq!(values(&found), [("job_title", "Tester")]);
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    assert_eq!(over(answered(&config, &mut inquiry, 200, json!([]))), Verdict::NoMatch);
}

#[test]
fn no_step_follows_that_has_nothing_to_add() {
    let config = config();
    let mut inquiry = Inquiry::new([Field::JOB_TITLE].into_iter().collect());
    let found = json!({"enrichment_id": "x", "preview": {"title": "Tester"}});
    assert_eq!(values(&over(answered(&config, &mut inquiry, 200, found))), [("job_title", "Tester")]);
    let mut lacking = Inquiry::new([Field::JOB_TITLE].into_iter().collect());
    assert_eq!(
        answered(&config, &mut lacking, 200, json!({"enrichment_id": "x"})),
        Progress::Next { after_s: 7 }
    );
}

#[test]
fn a_401_logs_in_once_between_two_other_answers() {
    let config = config();
    let mut inquiry = submitted(&config, json!({"enrichment_id": "x"}));
    let pending = json!({"status": "IN_PROGRESS"});
    for _ in 0..2 {
        assert_eq!(answered(&config, &mut inquiry, 401, json!({})), Progress::LogInAgain);
        assert!(matches!(answered(&config, &mut inquiry, 200, pending.clone()), Progress::Pending { .. }));
    }
    assert_eq!(answered(&config, &mut inquiry, 401, json!({})), Progress::LogInAgain);
    let progress = answered(&config, &mut inquiry, 401, json!({}));
    assert!(
        matches!(progress, Progress::Failed(ref fault) if fault.kind == FaultKind::BadCredentials),
        "{progress:?}"
    );
    assert!(matches!(answered(&config, &mut inquiry, 403, json!({})), Progress::Failed(_)));
    // Without a login there is none to be done again.
    let mut own = description();
    own.as_object_mut().unwrap().remove("login");
    for at in 0..2 {
        own["steps"][at]["request"]["headers"]["Authorization"] = json!("Bearer {secret}");
    }
    let own = Config::parse(&own).unwrap();
    assert!(matches!(answered(&own, &mut Inquiry::new(FieldSet::ALL), 401, json!({})), Progress::Failed(_)));
}

#[test]
fn a_ticket_comes_back_as_it_went() {
    let config = config();
    let inquiry = submitted(&config, json!({"enrichment_id": "ü \"x\"", "preview": {"title": "Tester"}}));
    let ticket = inquiry.ticket().unwrap();
    let stored: Value = serde_json::from_str(&ticket.to_string()).unwrap();
    // What the last answer supplied is booked by then.
    let booked = Inquiry { latest: Supplied::default(), ..inquiry };
    assert_eq!(Inquiry::resumed(&config, &stored, FieldSet::ALL), Some(booked));
    for wrong in [json!({}), json!(null), json!([1]), json!({"step": 1}), json!({"step": -1})] {
        assert_eq!(Inquiry::resumed(&config, &wrong, FieldSet::ALL), None, "{wrong}");
    }
    for (place, value) in [
        ("step", json!(2)),
        ("step", json!(0)),
        ("taken", json!({"other": "x"})),
        ("submitted_at", json!("now")),
    ] {
        let mut other = stored.clone();
        other[place] = value;
        assert_eq!(Inquiry::resumed(&config, &other, FieldSet::ALL), None, "{other}");
    }
}

#[test]
fn nothing_repeats_the_secret_or_a_token() {
    let config = config();
    let echo = |body: Value| {
        let mut inquiry = Inquiry::new(FieldSet::ALL);
        let progress = answered(&config, &mut inquiry, 200, body);
        assert_ne!(
            progress,
            Progress::Over(Verdict::NoMatch),
            "an id that is not kept says nothing of the person"
        );
        format!("{progress:?} {inquiry:?} {:?}", inquiry.ticket())
    };
    for text in [SECRET, "tok/en+1234", "TOK%2Fen%2b1234"] {
        for body in [
            json!({"enrichment_id": text}),
            json!({"enrichment_id": "x", "preview": {"title": text}}),
            json!({"what": text}),
        ] {
            let told = echo(body.clone()).to_lowercase();
            assert!(!["s3cret", "tok/en", "tok%2f"].iter().any(|part| told.contains(part)), "{body}: {told}");
        }
    }
}

#[test]
fn what_is_not_known_yet_is_not_called_nothing() {
    let config = config();
    let inquiry = submitted(&config, json!({"enrichment_id": "x"}));
    assert_eq!(inquiry.settled_fields(&config), FieldSet::EMPTY, "a later step has them all");
    let mut own = description();
    own["steps"][0]["response"]["fields"] = json!({"location": "/l"});
    let own = Config::parse(&own).unwrap();
    assert_eq!(submitted(&own, json!({"enrichment_id": "x"})).settled_fields(&own).names(), ["location"]);
}

#[test]
fn a_weak_answer_buys_no_further_one() {
    let mut own = description();
    own["min_confidence"] = json!(0.5);
    own["steps"][0]["response"]["confidence"] = json!("/score");
    let own = Config::parse(&own).unwrap();
    for (score, goes_on) in [(json!(0.4), false), (json!(0.5), true), (json!(null), true)] {
        let mut inquiry = Inquiry::new(FieldSet::ALL);
        let progress = answered(&own, &mut inquiry, 200, json!({"enrichment_id": "x", "score": score}));
        assert_eq!(progress == Progress::Next { after_s: 7 }, goes_on, "{score}: {progress:?}");
    }
}

#[test]
fn steps_that_poll_nothing_follow_at_once_and_the_first_score_stands() {
    let config = Config::parse(&json!({
        "identify_by": [["email"]],
        "steps": [
            {"request": {"url": "https://h/search", "query": {"email": "{email}"}},
             "response": {"confidence": "/score"}, "take": {"id": ["/none", "/ids/0"]}},
            {"request": {"url": "https://h/{id}"}, "response": {"fields": {"phone": "/phone"}, "confidence": "/score"}}
        ]
    }))
    .unwrap();
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    assert_eq!(
        answered(&config, &mut inquiry, 200, json!({"ids": [7], "score": 0.7})),
        Progress::Next { after_s: 0 }
    );
    assert_eq!(request(&config, &inquiry).url, "https://h/7");
    let verdict = over(answered(&config, &mut inquiry, 200, json!({"phone": "+12025550123", "score": 0.1})));
    assert!(matches!(verdict, Verdict::Match { confidence: Some(score), .. } if score == 0.7), "{verdict:?}");
}

#[test]
fn accepted_is_late_where_it_polls_and_an_answer_where_it_hands_in() {
    let config = Config::parse(&json!({
        "identify_by": [["email"]],
        "steps": [
            {"request": {"url": "https://h/start", "query": {"email": "{email}"}}, "response": {}, "take": {"id": "/id"}},
            {"request": {"url": "https://h/status/{id}"}, "response": {}, "take": {"report": "/report"}},
            {"request": {"url": "https://h/report/{report}"}, "response": {"fields": {"phone": "/phone"}}}
        ]
    }))
    .unwrap();
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    let progress = answered(&config, &mut inquiry, 202, json!({"status": "accepted"}));
    assert!(
        matches!(progress, Progress::Failed(ref fault) if fault.kind == FaultKind::Unrecognised),
        "{progress:?}"
    );
    assert_eq!(answered(&config, &mut inquiry, 202, json!({"id": 1})), Progress::Next { after_s: 0 });
    assert!(matches!(answered(&config, &mut inquiry, 202, json!({})), Progress::Pending { after_s: 10, .. }));
    assert_eq!(answered(&config, &mut inquiry, 202, json!({"report": 2})), Progress::Next { after_s: 0 });
    assert!(matches!(
        answered(&config, &mut inquiry, 202, json!({"phone": "+12025550123"})),
        Progress::Pending { .. }
    ));
    let done = over(answered(&config, &mut inquiry, 200, json!({"phone": "+12025550123"})));
    assert_eq!(values(&done), [("phone", "+12025550123")]);
}

#[test]
fn a_step_whose_request_lacks_a_value_ends_with_what_there_is() {
    let parse = |fields: Value| -> Result<Config, ConfigError> {
        Config::parse(&json!({
            "identify_by": [["email"]],
            "steps": [
                {"request": {"url": "https://h/a", "query": {"email": "{email}"}}, "response": {"fields": fields}},
                {"request": {"url": "https://h/b/{linkedin_handle}"}, "response": {"fields": {"phone": "/phone"}}}
            ]
        }))
    };
    let config = parse(json!({"job_title": "/t"})).unwrap();
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    answered(&config, &mut inquiry, 200, json!({"t": "Tester"}));
    match inquiry.next(&config, &jane(), None, None) {
        Next::Nothing(Some(found)) => assert_eq!(values(&found), [("job_title", "Tester")]),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        Inquiry::new(FieldSet::ALL).next(&config, &Person::default(), None, None),
        Next::Nothing(None)
    ));
}

/// A position is one thing, of whichever step.
#[test]
fn the_position_of_two_steps_is_of_one_company() {
    let mut json = description();
    json["steps"][0]["response"]["fields"] = json!({"company_name": "/company"});
    json["steps"][1]["response"]["fields"] =
        json!({"phone": "/phone", "job_title": "/title", "seniority": "/level", "company_name": "/company"});
    let config = Config::parse(&json).unwrap();
    for (second, expected) in [
        (
            "ACME Inc.",
            vec![
                ("job_title", "CEO"),
                ("company_name", "Acme"),
                ("phone", "+15550100"),
                ("seniority", "c_suite"),
            ],
        ),
        ("Other Inc", vec![("company_name", "Acme"), ("phone", "+15550100")]),
    ] {
        let mut inquiry = submitted(&config, json!({"enrichment_id": "t-1", "company": "Acme"}));
        let then = json!({"phone": "+15550100", "title": "CEO", "level": "cxo", "company": second});
        let verdict = over(answered(&config, &mut inquiry, 200, then));
        assert_eq!(values(&verdict), expected, "{second}");
    }
}

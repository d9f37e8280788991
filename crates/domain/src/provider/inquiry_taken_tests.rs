//! What a step takes of an answer: what of it can be kept, and what a 202 without it says.

use serde_json::{Map, Value, json};

use super::tests::{answered, description, submitted};
use super::*;
use crate::fields::Field;

/// The first step takes these names, and supplies three values.
fn own_description(names: &Map<String, Value>) -> Value {
    let mut own = description();
    own["steps"][0]["take"] = json!(names);
    own["steps"][1]["request"]["url"] = json!("https://api.acme.example/{t0}");
    own["steps"][0]["response"]["fields"] =
        json!({"location": "/l", "job_title": "/l", "company_name": "/l"});
    own
}

#[test]
fn a_ticket_is_bounded() {
    let names: Map<String, Value> = (0..8).map(|n| (format!("t{n}"), json!(format!("/t{n}")))).collect();
    let own = Config::parse(&own_description(&names)).unwrap();
    let body = |bytes: usize| {
        let mut body: Value = names
            .keys()
            .map(|name| (name.clone(), json!("\u{1}".repeat(bytes))))
            .collect::<Map<_, _>>()
            .into();
        body["l"] = json!("\u{10348}".repeat(1_000));
        body
    };
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    assert_eq!(answered(&own, &mut inquiry, 200, body(8_192)), Progress::Next { after_s: 7 });
    let size = inquiry.ticket().unwrap().to_string().len();
    assert!(size > 400_000 && size < MAX_TICKET_BYTES, "{size}");
    // Each value that is longer is missing, and all together can only be too long where several steps take.
    let mut both = own_description(&names);
    both["steps"][1]["take"] = json!({"last": "/t0"});
    let last = json!({"request": {"url": "https://api.acme.example/{last}"}, "response": {"fields": {"phone": "/phone"}}});
    both["steps"].as_array_mut().unwrap().push(last);
    let both = Config::parse(&both).unwrap();
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    assert_eq!(answered(&both, &mut inquiry, 200, body(8_192)), Progress::Next { after_s: 7 });
    let progress = answered(&both, &mut inquiry, 200, json!({"t0": "x"}));
    assert!(
        matches!(progress, Progress::Failed(ref fault) if fault.kind == FaultKind::TooLarge),
        "{progress:?}"
    );
}

/// Neither `no_match.absent`, nor an empty list, nor places without a value: what was only accepted is never nothing.
#[test]
fn what_was_accepted_is_never_nothing() {
    let mut own = description();
    own["steps"][0]["response"]["no_match"] = json!({"absent": "/enrichment_id"});
    own["steps"][1]["response"]["no_match"] = json!({"absent": "/data"});
    let mut conditional = own.clone();
    conditional["steps"][0]["take"] = json!({"ticket": {"pointer": "/enrichment_id", "if": [{"pointer": "/enrichment_id", "present": true}]}});
    for config in [&own, &conditional].map(|description| Config::parse(description).unwrap()) {
        for body in
            [json!({}), json!([]), json!({"enrichment_id": null}), json!({"preview": {"title": null}})]
        {
            let progress = answered(&config, &mut Inquiry::new(FieldSet::ALL), 202, body.clone());
            assert!(
                matches!(progress, Progress::Failed(ref fault) if fault.kind == FaultKind::Unrecognised),
                "{body}: {progress:?}"
            );
        }
        let nothing = answered(&config, &mut Inquiry::new(FieldSet::ALL), 200, json!({}));
        assert_eq!(nothing, Progress::Over(Verdict::NoMatch));
        let mut inquiry = submitted(&config, json!({"enrichment_id": 1}));
        for body in [json!({}), json!([]), json!({"data": []})] {
            let progress = answered(&config, &mut inquiry, 202, body);
            assert!(matches!(progress, Progress::Pending { .. }), "{progress:?}");
        }
    }
}

/// Such a value could be sent nowhere: what was handed in would be waited for in vain, under a reason that is not its own.
#[test]
fn a_ticket_that_no_path_can_hold_is_refused_at_once() {
    let mut own = description();
    for (url, breaks) in [
        ("https://api.acme.example/v2/{ticket}", true),
        ("https://api.acme.example/v2/{ticket}/result", true),
        ("https://api.acme.example/v2/{ticket}{ticket}", true),
        ("https://api.acme.example/v2/id-{ticket}", false),
        ("https://api.acme.example/v2?id={ticket}", false),
    ] {
        own["steps"][1]["request"]["url"] = json!(url);
        let config = Config::parse(&own).unwrap();
        for id in [".", "..", "...", "%2e", "a.b"] {
            let body = json!({"enrichment_id": id, "preview": {"title": "Tester"}});
            let progress = answered(&config, &mut Inquiry::new(FieldSet::ALL), 200, body);
            let dots = id == "." || id == ".." && !url.contains("}{");
            match progress {
                Progress::Failed(fault) if dots && breaks => assert_eq!(fault.kind, FaultKind::Unrecognised),
                other => assert!(
                    matches!(other, Progress::Next { .. }) && !(dots && breaks),
                    "{url} {id}: {other:?}"
                ),
            }
        }
    }
}

#[test]
fn what_no_header_can_carry_is_not_sent_changed() {
    let mut own = description();
    own["steps"][1]["request"] =
        json!({"url": "https://api.acme.example/job", "headers": {"X-Job": "{ticket}"}});
    let in_header = Config::parse(&own).unwrap();
    let elsewhere = Config::parse(&description()).unwrap();
    for id in ["a\nb", "a\tb", "\u{7f}1", "1\r\nX-Other: 2"] {
        let mut inquiry = Inquiry::new(FieldSet::ALL);
        let progress = answered(&in_header, &mut inquiry, 200, json!({"enrichment_id": id}));
        let Progress::Failed(fault) = progress else { panic!("{id:?}: {progress:?}") };
        assert_eq!(fault.kind, FaultKind::Unrecognised);
        assert!(fault.message.contains("{ticket}") && !fault.message.contains(id), "{}", fault.message);
        assert!(inquiry.ticket().is_none());
        // Elsewhere it is encoded, and sent as it is.
        let mut inquiry = Inquiry::new(FieldSet::ALL);
        let progress = answered(&elsewhere, &mut inquiry, 200, json!({"enrichment_id": id}));
        assert!(matches!(progress, Progress::Next { .. }), "{progress:?}");
    }
}

#[test]
fn the_requests_that_are_left_are_those_that_can_supply_something() {
    let own = own_description(&json!({"t0": "/t0"}).as_object().unwrap().clone());
    let config = Config::parse(&own).unwrap();
    let left = |wanted: FieldSet| Inquiry::new(wanted).requests_left(&config);
    assert_eq!(left(FieldSet::ALL), 2);
    assert_eq!(left([Field::LOCATION].into_iter().collect()), 1, "the first step has it");
    let mut inquiry = Inquiry::new(FieldSet::ALL);
    answered(&config, &mut inquiry, 200, json!({"t0": "x"}));
    assert_eq!(inquiry.requests_left(&config), 1, "what was handed in is not handed in again");
}

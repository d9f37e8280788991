use serde_json::json;

use super::*;

fn take(rule: &Value) -> Checked<Take> {
    Take::parse(&Node::root(rule), &Names::default())
}

fn taken(rule: Value, body: &[u8]) -> Option<String> {
    let answer = Answer { status: 200, headers: Vec::new(), body: body.to_vec() };
    let take = take(&json!({"it": rule})).unwrap();
    match take.of(&answer, &Document::of(&answer)) {
        FoundValues::All(taken) => taken.get("it").map(str::to_owned),
        FoundValues::NothingToTake | FoundValues::Lacks(_) | FoundValues::Unfit(_) => None,
    }
}

#[test]
fn values_are_taken_exactly_as_they_stand() {
    for (body, expected) in [
        (r#"{"id": " a b "}"#, Some(" a b ")),
        (r#"{"id": 7}"#, Some("7")),
        (r#"{"id": -7}"#, Some("-7")),
        (r#"{"id": 18446744073709551615}"#, Some("18446744073709551615")),
        (r#"{"id": 123456789012345678901234567890}"#, Some("123456789012345678901234567890")),
        (r#"{"id": -123456789012345678901}"#, Some("-123456789012345678901")),
        (r#"{"x": [1], "id": 12.0}"#, Some("12")),
        (r#"{"id": 1e3}"#, Some("1000")),
        (r#"{"id": 1.5}"#, None),
        (r#"{"id": 1e300}"#, None),
        (r#"{"id": ""}"#, None),
        (r#"{"id": null}"#, None),
        (r#"{"id": true}"#, None),
        (r#"{"id": ["x"]}"#, None),
        (r#"{}"#, None),
        ("[]", None),
        ("", None),
        ("<html>", None),
        // JSON but for what stands beside it, and of two the last.
        ("\u{feff}{\"n\": NaN, \"id\": 123456789012345678901}\0", Some("123456789012345678901")),
        (r#"{"id": 1, "id": 123456789012345678901}"#, Some("123456789012345678901")),
    ] {
        assert_eq!(taken(json!("/id"), body.as_bytes()).as_deref(), expected, "{body}");
    }
    let deep = br#"{"a": [{"b~/c": 99999999999999999999}]}"#;
    assert_eq!(taken(json!("/a/0/b~0~1c"), deep).as_deref(), Some("99999999999999999999"));
    assert_eq!(taken(json!(["/x", "/y"]), br#"{"x": null, "y": "z"}"#).as_deref(), Some("z"));
    assert_eq!(taken(json!(""), b"7").as_deref(), Some("7"));
}

#[test]
fn one_that_is_missing_is_named() {
    let answer = Answer { status: 200, headers: Vec::new(), body: br#"{"a": 1}"#.to_vec() };
    let take = take(&json!({"first": "/a", "second": "/b"})).unwrap();
    assert_eq!(take.of(&answer, &Document::of(&answer)), FoundValues::Lacks("second"));
}

#[test]
fn a_text_that_is_too_long_is_told_from_none() {
    let json = json!({"a": "x".repeat(MAX_VALUE_BYTES + 1), "b": {"c": 1}, "d": "7"});
    let body = json.to_string().into_bytes();
    let answer = Answer { status: 200, headers: Vec::new(), body };
    let take = take(&json!({"long": ["/x", "/a"], "none": "/b"})).unwrap();
    assert_eq!(take.of(&answer, &Document::of(&answer)), FoundValues::Lacks("long"));
    assert!(take.is_too_long("long", &json) && !take.is_too_long("none", &json));
}

#[test]
fn a_condition_says_whether_there_is_anything_to_go_on_with() {
    let rule = json!({"it": {"pointer": ["/job/id", "/job"], "if": [{"pointer": "/status", "in": ["busy"]}, {"pointer": "/job", "present": true}]}});
    let take = take(&rule).unwrap();
    let found = |body: &str| {
        let answer = Answer { status: 200, headers: Vec::new(), body: body.as_bytes().to_vec() };
        take.of(&answer, &Document::of(&answer))
    };
    assert!(
        matches!(found(r#"{"status": "busy", "job": 7}"#), FoundValues::All(taken) if taken.get("it") == Some("7"))
    );
    for body in [r#"{"status": "done", "job": 7}"#, r#"{"status": "busy", "job": {}}"#, "{}"] {
        assert_eq!(found(body), FoundValues::NothingToTake, "{body}");
    }
    assert_eq!(found(r#"{"status": "busy", "job": {"x": 1}}"#), FoundValues::Lacks("it"));
    assert_eq!(found("<html>"), FoundValues::Lacks("it"));
}

#[test]
fn mistakes_are_refused_with_their_place() {
    let many: serde_json::Map<String, Value> = (0..9).map(|n| (format!("t{n}"), json!("/x"))).collect();
    for (wrong, place, part) in [
        (json!({}), "", "at least one"),
        (json!([]), "", "an object"),
        (json!(many), "", "more than 8"),
        (json!({"email": "/id"}), "/email", "placeholder of ours"),
        (json!({"secret": "/id"}), "/secret", "placeholder of ours"),
        (json!({"a b": "/id"}), "/a b", "letters"),
        (json!({"": "/id"}), "/", "letters"),
        (json!({"1a": "/id"}), "/1a", "letters"),
        (json!({"é": "/id"}), "/é", "letters"),
        (json!({"a{b}": "/id"}), "/a{b}", "letters"),
        (json!({"a": "id"}), "/a", "begins with /"),
        (json!({"a": {"pointer": "id"}}), "/a/pointer", "begins with /"),
        (json!({"a": {"if": []}}), "/a/pointer", "missing"),
        (json!({"a": {"pointer": "/id", "where": {}}}), "/a/where", "allowed are pointer, if"),
        (json!({"a": {"pointer": "/id", "if": [{"pointer": "/x"}]}}), "/a/if/0", "one of in"),
        (json!({"a": []}), "/a", "empty list"),
    ] {
        let error = take(&wrong).unwrap_err();
        assert_eq!(error.place, place, "{wrong}: {}", error.message);
        assert!(error.message.contains(part), "{wrong}: {}", error.message);
    }
}

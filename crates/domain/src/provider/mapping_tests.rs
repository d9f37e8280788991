use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fields::Field;
use crate::people::value;

fn spec(value: Value) -> Spec {
    Spec::parse(&Node::root(&value)).expect("a sound spec")
}

fn refusal(value: Value) -> (String, String) {
    let error = Spec::parse(&Node::root(&value)).expect_err(&value.to_string());
    (error.place, error.message)
}

fn text(rule: Value, body: &Value) -> Option<String> {
    let take = |found: Text| value::value(Field::JOB_TITLE, &found.text, found.settled);
    spec(rule).find(body, Accepts::Strings, &take)
}

fn as_found(found: Text<'_>) -> Option<String> {
    Some(found.text.into_owned())
}

#[test]
fn pointers_follow_rfc_6901() {
    // The examples of the RFC's section 5, with texts for values.
    let body = json!({
        "foo": ["bar", "baz"], "": "0", "a/b": "1", "c%d": "2", "e^f": "3", "g|h": "4",
        "i\\j": "5", "k\"l": "6", " ": "7", "m~n": "8"
    });
    for (pointer, expected) in [
        ("/foo/0", Some("bar")),
        ("/foo/1", Some("baz")),
        ("/", Some("0")),
        ("/a~1b", Some("1")),
        ("/c%d", Some("2")),
        ("/e^f", Some("3")),
        ("/i\\j", Some("5")),
        ("/k\"l", Some("6")),
        ("/ ", Some("7")),
        ("/m~0n", Some("8")),
        ("/foo/2", None),
        ("/foo/-", None),
        ("/foo/01", None),
        ("/foo/+1", None),
        ("/foo/x", None),
        ("/foo/99999999999999999999999", None),
        ("/foo/0/0", None),
        ("", None),
        ("/nowhere", None),
    ] {
        let found = spec(json!(pointer)).find(&body, Accepts::Strings, &as_found);
        assert_eq!(found.as_deref(), expected, "{pointer}");
    }
    let list = json!([{"title": "CTO"}]);
    assert_eq!(text(json!("/0/title"), &list).as_deref(), Some("CTO"));
    assert_eq!(text(json!(""), &json!("all")).as_deref(), Some("all"));
}

#[test]
fn only_strings_are_text_and_numbers_only_for_phones() {
    for value in [json!(true), json!(false), json!(null), json!({"a": "b"}), json!(["x"])] {
        let body = json!({ "v": value });
        assert_eq!(spec(json!("/v")).find(&body, Accepts::Strings, &as_found), None);
        assert_eq!(spec(json!("/v")).find(&body, Accepts::StringsAndNumbers, &as_found), None);
    }
    for (number, expected) in [
        (json!(4_930_123_456_u64), Some("4930123456")),
        (json!(4_930_123_456.0_f64), Some("4930123456")),
        (json!(1e12), Some("1000000000000")),
        (json!(-1), None),
        (json!(0.5), None),
        (json!(1e300), None),
    ] {
        let body = json!({ "v": number });
        let phone = spec(json!("/v")).find(&body, Accepts::StringsAndNumbers, &as_found);
        assert_eq!(phone.as_deref(), expected, "{number}");
        assert_eq!(spec(json!("/v")).find(&body, Accepts::Strings, &as_found), None);
    }
}

#[test]
fn texts_are_cleaned_and_bounded() {
    let at = |value: &str| text(json!("/v"), &json!({ "v": value }));
    assert_eq!(at("  CTO\u{a0}"), Some("CTO".into()));
    assert_eq!(at("Acme\r\nCorp"), Some("Acme  Corp".into()));
    assert_eq!(at("a\u{0}b\u{7}c\u{9b}d"), Some("abcd".into()));
    assert_eq!(at("\u{0}"), None);
    assert_eq!(at(" \u{3000}\t"), None);
    assert_eq!(at(&"é".repeat(1_000)).map(|t| t.chars().count()), Some(1_000));
    assert_eq!(at(&"é".repeat(1_001)), None);
}

#[test]
fn lists_give_the_first_that_is_text() {
    let body = json!({"a": true, "b": " ", "c": "third", "d": "fourth"});
    assert_eq!(text(json!(["/a", "/x", "/b", "/c", "/d"]), &body).unwrap(), "third");
    assert_eq!(text(json!(["/a", {"join": ["/c", "/d"]}]), &body).unwrap(), "third, fourth");
    assert_eq!(text(json!({"pointer": ["/a", "/d"]}), &body).unwrap(), "fourth");
    assert_eq!(text(json!(["/a", "/b"]), &body), None);
}

#[test]
fn what_is_no_value_does_not_stand_in_the_way() {
    let value = |field, rule: Value, body: &Value| {
        let take = |found: Text| value::value(field, &found.text, found.settled);
        spec(rule).find(body, Accepts::StringsAndNumbers, &take)
    };
    let body = json!({"a": "N/A", "b": "+1 (555) XXX-XXXX", "c": "+12025550123", "d": "https://www.linkedin.com/company/acme",
        "e": "in/jane-example", "list": [{"n": "Request access"}, {"n": "**********"}, {"n": "+1 202 555 0199"}]});
    assert_eq!(value(Field::PHONE, json!(["/a", "/b", "/c"]), &body).as_deref(), Some("+12025550123"));
    assert_eq!(
        value(Field::LINKEDIN_URL, json!(["/a", "/d", "/e"]), &body).as_deref(),
        Some("https://www.linkedin.com/in/jane-example")
    );
    let listed = json!({"list": "/list", "pointer": "/n", "format": "e164"});
    assert_eq!(value(Field::PHONE, listed, &body).as_deref(), Some("+12025550199"));
    // Within one shape the map is asked first, so a word for nothing may still mean something.
    let mapped = json!({"pointer": ["/b", "/a"], "map": {"n/a": "+49 30 123456", "+1 (555) xxx-xxxx": ""}});
    assert_eq!(value(Field::PHONE, mapped, &body).as_deref(), Some("+49 30 123456"));
}

#[test]
fn joins_leave_out_what_says_nothing_and_what_repeats() {
    let joined = |a: &str, b: &str, c: &str| text(json!({"join": ["/0", "/1", "/2"]}), &json!([a, b, c]));
    assert_eq!(joined("N/A", "N/A", "Germany").as_deref(), Some("Germany"));
    assert_eq!(joined(",", ",", ","), None);
    assert_eq!(joined("Singapore", "singapore", "Singapore").as_deref(), Some("Singapore"));
    assert_eq!(joined("Berlin", "-", "Berlin").as_deref(), Some("Berlin"));
    assert_eq!(joined("New York", "Berlin", "New York").as_deref(), Some("New York, Berlin, New York"));
    assert_eq!(
        joined("Berlin, ", "Berlin", " ,Germany").as_deref(),
        Some("Berlin, Germany"),
        "their own separators"
    );
    assert_eq!(joined("Berlin,,", ", ", "D.C.").as_deref(), Some("Berlin, D.C."));
    let settled = json!({"join": [{"pointer": "/0", "map": {"x": "N/A"}}, "/1"]});
    assert_eq!(
        text(settled, &json!(["x", "Bern"])).as_deref(),
        Some("N/A, Bern"),
        "the description's own word"
    );
}

#[test]
fn joins_skip_what_is_missing() {
    let rule = json!({"join": ["/city", "/state", "/country"], "separator": " / "});
    let all = json!({"city": "Bern", "state": "BE", "country": "CH"});
    assert_eq!(text(rule.clone(), &all).unwrap(), "Bern / BE / CH");
    let some = json!({"city": "Bern", "state": true, "country": "CH"});
    assert_eq!(text(rule.clone(), &some).unwrap(), "Bern / CH");
    assert_eq!(text(rule, &json!({"city": "", "state": null})), None);
    let halves = ["x", "y"].map(|letter| letter.repeat(600));
    assert_eq!(text(json!({"join": ["/0", "/1"]}), &json!(halves)), None);
}

#[test]
fn the_first_element_that_meets_the_conditions_and_has_text_is_picked() {
    let body = json!({"jobs": [
        {"current": false, "title": "Clerk"},
        {"current": true, "title": true},
        {"current": true, "title": " CEO ", "kind": "Board"},
        {"current": true, "title": "CTO"},
        "no object"
    ], "names": ["", "Acme"], "one": {"title": "x"}});
    let pick = |rule: Value| text(rule, &body);
    let current = json!({"list": "/jobs", "where": {"/current": true}, "pointer": "/title"});
    assert_eq!(pick(current).as_deref(), Some("CEO"));
    let both =
        json!({"list": "/jobs", "where": {"/current": true, "/kind": ["x", null]}, "pointer": "/title"});
    assert_eq!(pick(both).as_deref(), Some("CTO"));
    let board = json!({"list": "/jobs", "where": {"/kind": "board"}, "pointer": ["/name", "/title"], "map": {"ceo": "Chief"}});
    assert_eq!(pick(board).as_deref(), Some("Chief"));
    assert_eq!(pick(json!({"list": "/names", "pointer": ""})).as_deref(), Some("Acme"));
    let fallback = json!([{"list": "/jobs", "where": {"/kind": "none"}, "pointer": "/title"}, "/names/1"]);
    assert_eq!(pick(fallback).as_deref(), Some("Acme"));
    for nothing in ["/one", "/nowhere", "/jobs/0"] {
        assert_eq!(pick(json!({"list": nothing, "pointer": "/title"})), None, "{nothing}");
    }
}

#[test]
fn prefixes_are_not_doubled() {
    let www = "https://www.";
    let handle = "https://www.linkedin.com/in/";
    for (prefix, value, expected) in [
        (www, "linkedin.com/in/jane", "https://www.linkedin.com/in/jane"),
        (www, "www.linkedin.com/in/jane", "https://www.linkedin.com/in/jane"),
        (www, "https://linkedin.com/in/jane", "https://linkedin.com/in/jane"),
        (www, "HTTP://linkedin.com/in/jane", "HTTP://linkedin.com/in/jane"),
        (handle, "jane", "https://www.linkedin.com/in/jane"),
        (handle, "in/jane", "https://www.linkedin.com/in/jane"),
        (handle, "/in/jane", "https://www.linkedin.com/in/jane"),
        (handle, "linkedin.com/in/jane", "https://www.linkedin.com/in/jane"),
        (handle, "www.linkedin.com/in/jane", "https://www.linkedin.com/in/jane"),
        (handle, "ingrid", "https://www.linkedin.com/in/ingrid"),
        (handle, "n/jane", "https://www.linkedin.com/in/n/jane"),
        (handle, "j%C3%B6rg", "https://www.linkedin.com/in/j%C3%B6rg"),
        ("+", "4930123", "+4930123"),
        ("+", "+4930123", "+4930123"),
        ("Dr. ", ". x", "Dr. . x"),
    ] {
        let rule = json!({"pointer": "/v", "prefix": prefix});
        let found = text(rule, &json!({ "v": value }));
        assert_eq!(found.as_deref(), Some(expected), "{prefix} + {value}");
    }
}

#[test]
fn maps_ignore_case_and_keep_the_unknown() {
    let rule = json!({"pointer": "/v", "map": {"CXO": "c_suite", "über": "head"}});
    for (value, expected) in [("cxo", "c_suite"), (" Cxo ", "c_suite"), ("ÜBER", "head"), ("Guru", "Guru")] {
        assert_eq!(text(rule.clone(), &json!({ "v": value })).unwrap(), expected);
    }
}

#[test]
fn mistakes_are_refused_with_their_place() {
    for (rule, place, part) in [
        (json!(7), "", "JSON Pointer"),
        (json!(null), "", "JSON Pointer"),
        (json!("data"), "", "begins with /"),
        (json!("/a~2b"), "", "~0"),
        (json!("/a~"), "", "~0"),
        (json!([]), "", "empty list"),
        (json!(["/a", 1]), "/1", "JSON Pointer"),
        (json!(["/a", ["/b"]]), "/1", "list inside a list"),
        (json!({}), "/pointer", "missing"),
        (json!({"pointer": 1}), "/pointer", "must be a text"),
        (json!({"pointer": []}), "/pointer", "empty list"),
        (json!({"pointer": ["/a", "b"]}), "/pointer/1", "begins with /"),
        (
            json!({"pointer": "/a", "sufix": "x"}),
            "/sufix",
            "allowed are pointer, decode, trim_prefix, trim_suffix, map, prefix, format",
        ),
        (json!({"pointer": "/a", "prefix": ""}), "/prefix", "visible text"),
        (json!({"pointer": "/a", "prefix": "a\nb"}), "/prefix", "control"),
        (json!({"pointer": "/a", "map": []}), "/map", "must be an object"),
        (json!({"pointer": "/a", "map": {"x": 1}}), "/map/x", "must be a text"),
        (json!({"pointer": "/a", "map": {"a/b~": " "}}), "/map/a~1b~0", "visible"),
        (json!({"pointer": "/a", "map": {"n/a": null}}), "/map/n~1a", "must not be null"),
        (json!({"pointer": "/a", "map": {"x": "1", "X": "2"}}), "/map/X", "twice"),
        (json!({"join": []}), "/join", "empty list"),
        (json!({"join": "/a"}), "/join", "must be a list"),
        (json!({"join": ["/a"], "separator": 1}), "/separator", "must be a text"),
        (json!({"join": ["/a"], "separator": "\u{0}"}), "/separator", "control"),
        (json!({"join": ["/a"], "pointer": "/b"}), "/pointer", "allowed are join, separator"),
        (json!({"list": "/a"}), "/pointer", "missing"),
        (json!({"list": "a", "pointer": "/b"}), "/list", "begins with /"),
        (json!({"list": ["/a"], "pointer": "/b"}), "/list", "must be a text"),
        (json!({"list": "/a", "pointer": "/b", "where": {}}), "/where", "must be an object"),
        (json!({"list": "/a", "pointer": "/b", "where": []}), "/where", "must be an object"),
        (json!({"list": "/a", "pointer": "/b", "where": {"type": "x"}}), "/where/type", "begins with /"),
        (
            json!({"list": "/a", "pointer": "/b", "where": {"/type": {}}}),
            "/where/~1type",
            "must be a text, a number",
        ),
        (
            json!({"list": "/a", "pointer": "/b", "where": {"/type": ["x", []]}}),
            "/where/~1type/1",
            "must be a text",
        ),
        (json!({"list": "/a", "pointer": "/b", "join": ["/c"]}), "/list", "allowed are join"),
    ] {
        let (found_place, message) = refusal(rule.clone());
        assert_eq!(found_place, place, "{rule}: {message}");
        assert!(message.contains(part), "{rule}: {message}");
    }
}

proptest! {
    #[test]
    fn pointers_find_any_key(key in any::<String>()) {
        let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        let body = Value::Object([(key, json!("here"))].into_iter().collect());
        prop_assert_eq!(text(json!(pointer), &body), Some("here".to_owned()));
    }

    #[test]
    fn no_text_that_comes_out_is_unfit_for_postgres(value in any::<String>(), prefix in "[a-z:/.]{1,9}") {
        let body = json!({ "v": value, "l": [value] });
        for rule in [
            json!("/v"),
            json!({"pointer": "/v", "prefix": prefix.clone()}),
            json!({"join": ["/v", "/v"]}),
            json!({"list": "/l", "pointer": "", "decode": "percent", "trim_prefix": prefix.clone()}),
        ] {
            if let Some(found) = text(rule, &body) {
                prop_assert!(!found.chars().any(char::is_control));
                prop_assert!(!found.trim().is_empty());
                prop_assert!(found.chars().count() <= 1_000);
            }
        }
    }
}

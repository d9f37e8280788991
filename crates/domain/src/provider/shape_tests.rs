use proptest::prelude::*;
use serde_json::json;

use super::*;

fn shape(value: Value) -> Checked<Shape> {
    Shape::parse(&Node::root(&value).object(&KEYS)?)
}

fn shaped(rule: Value, text: &str) -> Option<String> {
    shape(rule).expect("a sound shape").apply(Text::found(text.to_owned())).map(|t| t.text.into_owned())
}

#[test]
fn percent_escapes_are_decoded_where_the_description_says_so() {
    let decode = json!({"decode": "percent"});
    assert_eq!(shaped(decode.clone(), "in%2Fj%C3%BCrgen").unwrap(), "in/jürgen");
    assert_eq!(shaped(decode.clone(), "100% sure").unwrap(), "100% sure");
    assert_eq!(shaped(decode, "%FF%FE").unwrap(), "%FF%FE", "not UTF-8");
    assert_eq!(shaped(json!({}), "in%2Fjane").unwrap(), "in%2Fjane");
}

#[test]
fn an_encoded_slash_is_no_slash_where_a_url_is_made() {
    let rule = json!({"decode": "percent", "prefix": "https://www.linkedin.com/in/"});
    for (given, expected) in [
        ("jane%2Fdoe", "https://www.linkedin.com/in/jane%2Fdoe"),
        ("in/jane%2fdoe", "https://www.linkedin.com/in/jane%2Fdoe"),
        ("jane%3Fx", "https://www.linkedin.com/in/jane%3Fx"),
        ("in%2Fj%C3%BCrgen", "https://www.linkedin.com/in/jürgen"),
        ("j%C3%BCrgen", "https://www.linkedin.com/in/jürgen"),
        ("https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjane", "https://www.linkedin.com/in/jane"),
        ("linkedin.com%2Fin%2Fjane", "https://www.linkedin.com/in/jane"),
    ] {
        assert_eq!(shaped(rule.clone(), given).as_deref(), Some(expected), "{given}");
    }
}

#[test]
fn a_word_for_nothing_is_none_before_anything_is_put_around_it() {
    let rule = json!({"prefix": "https://www.linkedin.com/in/", "format": "e164", "trim_prefix": "tel:"});
    for given in ["null", "N/A", " - ", "unknown", "tel:n/a", "0", "[none]"] {
        assert_eq!(shaped(rule.clone(), given), None, "{given}");
    }
    // The description may mean such a word, or take one more for nothing.
    let map = json!({"map": {"na": "North America", "keep out": ""}});
    assert_eq!(shaped(map.clone(), "NA").as_deref(), Some("North America"));
    assert_eq!(shaped(map.clone(), "n/a"), None);
    assert_eq!(shaped(map, "Keep out"), None);
}

#[test]
fn prefixes_and_suffixes_are_taken_away_once() {
    let rule = json!({"trim_prefix": ["tel:", "phone "], "trim_suffix": " (work)"});
    for (given, expected) in [
        ("tel:+1555", "+1555"),
        ("TEL: +1555 (Work)", "+1555"),
        ("phone tel:1", "tel:1"),
        ("+1555", "+1555"),
        ("ü", "ü"),
    ] {
        assert_eq!(shaped(rule.clone(), given).as_deref(), Some(expected), "{given}");
    }
    assert_eq!(shaped(rule, "tel:"), None, "nothing is left");
}

#[test]
fn words_of_the_map_are_taken_as_they_stand() {
    let rule = shape(json!({"trim_suffix": " level", "map": {"cxo": "Chief"}})).unwrap();
    let apply = |text: &str| rule.apply(Text::found(text.to_owned())).unwrap();
    assert_eq!(apply("CXO level"), Text { text: "Chief".into(), settled: true });
    assert_eq!(apply("vp level"), Text::found("vp"));
}

#[test]
fn e164_is_written_as_such_or_left_alone() {
    for (given, expected) in [
        ("+1 (202) 555-0123", "+12025550123"),
        ("12025550123", "+12025550123"),
        ("0049 30 123456", "+4930123456"),
        ("+49 (0)30 123456", "+4930123456"),
        ("+44 (0)20 7946 0958", "+442079460958"),
        // What is not certainly a valid number stays as the vendor wrote it.
        ("+1 (555) 010-0100", "+1 (555) 010-0100"),
        ("12025550123.0", "12025550123.0"),
        ("(201) 555-0123", "(201) 555-0123"),
        ("030 123456", "030 123456"),
        ("+1 202 555 0123 ext. 7", "+1 202 555 0123 ext. 7"),
        ("+12", "+12"),
        ("+1234567890123456", "+1234567890123456"),
    ] {
        assert_eq!(shaped(json!({"format": "e164"}), given).as_deref(), Some(expected), "{given}");
    }
}

#[test]
fn mistakes_are_refused_with_their_place() {
    for (wrong, place, part) in [
        (json!({"decode": "base64"}), "/decode", "\"percent\""),
        (json!({"decode": true}), "/decode", "must be a text"),
        (json!({"format": "E.164"}), "/format", "\"e164\""),
        (json!({"trim_prefix": ""}), "/trim_prefix", "empty"),
        (json!({"trim_prefix": []}), "/trim_prefix", "empty list"),
        (json!({"trim_suffix": ["a", 1]}), "/trim_suffix/1", "must be a text"),
    ] {
        let error = shape(wrong.clone()).unwrap_err();
        assert_eq!(error.place, place, "{wrong}: {}", error.message);
        assert!(error.message.contains(part), "{wrong}: {}", error.message);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), part in "\\PC{1,4}", number in "[+0-9 ()-]{0,20}") {
        let rule = json!({"decode": "percent", "trim_prefix": part, "trim_suffix": part, "prefix": "https://x.example/", "format": "e164"});
        for given in [text, number] {
            shaped(rule.clone(), &given);
        }
    }
}

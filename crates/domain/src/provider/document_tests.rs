use serde_json::json;

use super::*;

fn answer(headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer { status: 200, headers, body: body.to_vec() }
}

#[test]
fn a_page_is_told_from_json_that_is_broken() {
    for (kind, body, expected) in [
        (Some("application/json"), "{\"a\": 1}", Document::Json(json!({"a": 1}))),
        (Some("text/html"), "{\"a\": 1}", Document::Json(json!({"a": 1}))),
        (None, "\u{feff}[]", Document::Json(json!([]))),
        (None, "\u{feff}[\"\\ud83d\", NaN]", Document::Json(json!(["\u{fffd}", null]))),
        (
            Some("application/json"),
            "{\"a\": 1e400, \"b\": \"x\ty\"}\0",
            Document::Json(json!({"a": null, "b": "x\ty"})),
        ),
        (Some("text/html"), "NaN and more", Document::Page),
        (Some("text/html; charset=utf-8"), "<html>", Document::Page),
        (Some("text/plain"), "RBAC: access denied", Document::Page),
        (None, " \r\n<!DOCTYPE html>", Document::Page),
        (Some("application/problem+json"), "<html>", Document::Broken),
        (Some("text/plain"), "{\"a\": ", Document::Broken),
        (None, "{\"a\": ", Document::Broken),
        (None, "nul", Document::Broken),
        (Some("text/html"), "", Document::Empty),
        (None, " \n\t", Document::Empty),
    ] {
        let headers: Vec<(&str, &str)> = kind.into_iter().map(|kind| ("Content-Type", kind)).collect();
        assert_eq!(Document::of(&answer(&headers, body.as_bytes())), expected, "{kind:?} {body}");
    }
    for (encoding, expected) in [
        ("br", Document::Encoded("br".into())),
        ("ZSTD", Document::Encoded("zstd".into())),
        ("identity", Document::Json(json!({}))),
        ("", Document::Json(json!({}))),
    ] {
        assert_eq!(Document::of(&answer(&[("content-encoding", encoding)], b"{}")), expected, "{encoding}");
    }
}

#[test]
fn latin_1_is_read_where_the_answer_says_that_it_is_that() {
    let body = b"{\"name\": \"Zo\xeb \x80\"}";
    for kind in [
        "application/json;charset=ISO-8859-1",
        "application/json; charset=\"iso-8859-1\"; x=y",
        "text/json; Charset=windows-1252",
    ] {
        let read = Document::of(&answer(&[("Content-Type", kind)], body));
        assert_eq!(read, Document::Json(json!({"name": "Zoë €"})), "{kind}");
    }
    for kind in ["application/json", "application/json; charset=utf-8", "application/json; charset=koi8-r"] {
        let read = Document::of(&answer(&[("Content-Type", kind)], body));
        assert_eq!(read, Document::Json(json!({"name": "Zo\u{fffd} \u{fffd}"})), "{kind}");
    }
    // In its own encoding first, and only then without what JSON cannot say.
    let read =
        Document::of(&answer(&[("Content-Type", "application/json;charset=latin1")], b"[\"Zo\xeb\", NaN]"));
    assert_eq!(read, Document::Json(json!(["Zoë", null])));
    // Servers that say Latin 1 and send UTF-8 all the same.
    let utf8 = "{\"name\": \"Zoë\"}".as_bytes();
    let read = Document::of(&answer(&[("Content-Type", "application/json; charset=latin1")], utf8));
    assert_eq!(read, Document::Json(json!({"name": "Zoë"})));
}

#[test]
fn what_is_shown_of_an_answer_is_short_printable_and_masked() {
    let mask = |text: &str| text.replace("k3y-k3y-k3y", "***");
    let of = |headers: &[(&str, &str)], body: &str| Seen::of(&answer(headers, body.as_bytes())).words(mask);
    assert_eq!(of(&[], ""), "");
    assert_eq!(
        of(&[("Content-Type", "text/html")], "<h1>\r\n  No\u{0}\u{202e}pe</h1>"),
        " (text/html): \"<h1> Nope</h1>\""
    );
    assert_eq!(
        of(&[("Location", "https://sso.example/k3y-k3y-k3y?next=jane%40acme.example")], ""),
        " (Location: https://sso.example/***)"
    );
    for (given, shown) in [
        ("https://jane:pw@sso.example/in", "https://sso.example/in"),
        ("//jane@sso.example", "//sso.example"),
        ("/in/@jane", "/in/@jane"),
    ] {
        assert_eq!(of(&[("Location", given)], ""), format!(" (Location: {shown})"));
    }
    // A secret that begins within what is shown, and ends after it.
    let long = of(&[], &format!("{}k3y-k3y-k3y tail", "x".repeat(95)));
    assert_eq!(long, format!(": \"{}*** t…\"", "x".repeat(95)));
    assert_eq!(of(&[("Content-Encoding", "br")], "\u{1b}\u{3}"), "", "what cannot be read is not shown");
}

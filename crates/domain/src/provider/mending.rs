//! Bodies that are JSON but for what some writers let through: half a surrogate pair (a text cut inside an emoji), bytes
//! that are no UTF-8, and the numbers of IEEE 754 that JSON has none for. Such an answer was paid for like every other.

use std::borrow::Cow;

/// The body as JSON would have it: U+FFFD for half a pair and for bytes that are no UTF-8, null for `NaN`, `Infinity` and
/// `-Infinity` outside texts. All else stays, so that what was no JSON otherwise is none now. Takes one walk over the body.
pub fn mended(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut rest: &str = &text;
    let mut out = String::with_capacity(text.len());
    let mut in_text = false;
    while let Some(at) = rest.find(if in_text { &['"', '\\'][..] } else { &['"', 'N', 'I', '-'][..] }) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (taken, put) = match (in_text, rest.as_bytes()[0]) {
            (true, b'\\') => escape(rest),
            (false, b'N' | b'I' | b'-') => number(rest),
            _ => {
                in_text = !in_text;
                (1, Cow::Borrowed("\""))
            }
        };
        out.push_str(&put);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

/// An escape at the beginning of `rest`: how long it is, and what stands for it. A pair of surrogates is one.
fn escape(rest: &str) -> (usize, Cow<'_, str>) {
    const LONGEST: usize = "\\uXXXX".len();
    let same = |length: usize| (length, Cow::Borrowed(&rest[..length]));
    match unit(rest) {
        None => same(rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end)),
        Some(0xd800..=0xdbff) if matches!(unit(&rest[LONGEST..]), Some(0xdc00..=0xdfff)) => same(2 * LONGEST),
        Some(0xd800..=0xdfff) => (LONGEST, Cow::Borrowed("\u{fffd}")),
        Some(_) => same(LONGEST),
    }
}

/// The code unit of a `\uXXXX` at the beginning.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

/// What no JSON number can say, as a whole word; else the one character.
fn number(rest: &str) -> (usize, Cow<'_, str>) {
    let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word));
    let ends = |word: &str| {
        !rest[word.len()..].starts_with(|next: char| next.is_alphanumeric() || "_$.+-".contains(next))
    };
    match word.filter(|word| ends(word)) {
        Some(word) => (word.len(), Cow::Borrowed("null")),
        None => (1, Cow::Borrowed(&rest[..1])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(body: &[u8]) -> Option<Value> {
        serde_json::from_str(&mended(body)).ok()
    }

    #[test]
    fn what_json_cannot_say_is_replaced_and_the_rest_is_kept() {
        for (body, expected) in [
            (&br#"{"a": "x \ud83d", "b": 1}"#[..], json!({"a": "x \u{fffd}", "b": 1})),
            (br#"["\ud83d\ud83d\ude00"]"#, json!(["\u{fffd}\u{1f600}"])),
            (br#"["\ude00\uD83D\uDE00\uDBFF"]"#, json!(["\u{fffd}\u{1f600}\u{fffd}"])),
            (br#"["\ud83dx\u00e9", "\ud83d\n"]"#, json!(["\u{fffd}xé", "\u{fffd}\n"])),
            // An escaped backslash before it: no escape at all.
            (br#"["\\ud83d", "\\\ud83d"]"#, json!(["\\ud83d", "\\\u{fffd}"])),
            (br#"{"\ud83d": 1}"#, json!({"\u{fffd}": 1})),
            (
                b"[\"Zo\xeb\", \"\xff\xfe\", \"\xed\xa0\xbd\"]",
                json!(["Zo\u{fffd}", "\u{fffd}\u{fffd}", "\u{fffd}\u{fffd}\u{fffd}"]),
            ),
            (b"[NaN,Infinity, -Infinity ,-1]", json!([null, null, null, -1])),
            (
                br#"{"score":NaN,"say":"NaN, \"Infinity\" and -Infinity"}"#,
                json!({"score": null, "say": "NaN, \"Infinity\" and -Infinity"}),
            ),
            (b"NaN", json!(null)),
        ] {
            assert_eq!(read(body), Some(expected), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn what_is_no_json_otherwise_stays_none() {
        for body in [
            &b"{\"a\": "[..],
            b"{\"a\": NaNa}",
            b"[NaN1]",
            b"[xNaN]",
            b"[1NaN]",
            b"[--Infinity]",
            b"[+Infinity]",
            b"[-NaN]",
            b"[nan]",
            b"[Infinity.5]",
            b"{NaN: 1}",
            b"[\"\\ud83d]",
            b"[\"\\x41\"]",
            b"[\"\\u12\"]",
            b"[\"\\",
            b"[\"\\ud83d\\",
            b"[1,]",
            b"{'a': 1}",
            b"[\xff]",
            b"<html>NaN",
            b"[\"a\nb\"]",
        ] {
            assert_eq!(read(body), None, "{}", String::from_utf8_lossy(body));
        }
    }

    proptest! {
        #[test]
        fn json_is_left_as_it_is(text in any::<String>(), number in any::<i64>(), ascii in any::<bool>()) {
            let body = json!({text.clone(): [text.clone(), number, null, true], "NaN": text}).to_string();
            let escaped = body.encode_utf16().map(|unit| match unit {
                0x20..=0x7e => char::from(unit as u8).to_string(),
                _ => format!("\\u{unit:04x}"),
            });
            let body = if ascii { escaped.collect() } else { body };
            prop_assert_eq!(mended(body.as_bytes()), body);
        }

        #[test]
        fn no_body_is_too_much(body in any::<Vec<u8>>(), text in "[\"\\\\udDNaInfity,\\[\\]{}:é-]{0,60}") {
            mended(&body);
            mended(text.as_bytes());
        }
    }
}

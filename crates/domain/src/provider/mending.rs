//! Bodies that are JSON but for what some writers let through: half a surrogate pair (a text cut inside an emoji, or inside
//! an escape), bytes that are no UTF-8, control characters and escapes that JSON does not know, numbers that it has no
//! word for or that fit nowhere, and what stands before and behind the document. Such an answer was paid for like every other.

use std::borrow::Cow;

/// The body as JSON would have it. In texts: U+FFFD for half a pair, for bytes that are no UTF-8 and for what is left of an
/// escape that was cut; control characters as if they had been escaped, `\'`, `\0` and `\xXX` as the character that they
/// mean, and U+FFFD for the backslash of any other escape. Outside of texts: null for NaN and Infinity in any spelling, for a
/// number that fits no double precision, and for one that JSON does not write so (`.5`, `+1`, `007`); blanks for what is
/// blank elsewhere, and nothing for byte order marks in front and for NULs behind. All else stays, so that what was no
/// JSON otherwise is none now. Takes one walk over the body.
pub fn mended(body: &[u8]) -> String {
    let text = in_utf8(body);
    let mut rest = text.trim_start_matches('\u{feff}').trim_end_matches(['\0', '\u{1a}']);
    let mut out = String::with_capacity(rest.len());
    let mut in_text = false;
    while let Some(at) = rest.find(|c| is_looked_at(c, in_text)) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let first = rest.chars().next().unwrap_or_default();
        let (taken, put) = match first {
            '"' => {
                in_text = !in_text;
                (1, Cow::Borrowed("\""))
            }
            '\\' => escape(rest),
            _ if in_text => (1, Cow::Owned(format!("\\u{:04x}", u32::from(first)))),
            _ if is_of_word(first) => word(rest),
            blank => (blank.len_utf8(), Cow::Borrowed(" ")),
        };
        out.push_str(&put);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

/// In texts: their end, escapes, and control characters. Outside: their beginning, words, and blanks that JSON has not.
fn is_looked_at(c: char, in_text: bool) -> bool {
    match in_text {
        true => c == '"' || c == '\\' || c < ' ',
        false => c == '"' || is_of_word(c) || matches!(c, '\u{b}' | '\u{c}' | '\u{a0}' | '\u{feff}'),
    }
}

/// UTF-16 where a byte order mark says so, else UTF-8 with U+FFFD for what is none.
fn in_utf8(body: &[u8]) -> Cow<'_, str> {
    let unit: fn([u8; 2]) -> u16 = match body {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return String::from_utf8_lossy(body),
    };
    let units = body.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
    // Two bytes of no UTF-8 in front of a document in UTF-8 look the same.
    if text.contains(['{', '[', '"']) { Cow::Owned(text) } else { String::from_utf8_lossy(body) }
}

/// An escape at the beginning of `rest`: how long it is, and what stands for it. A pair of surrogates is one.
fn escape(rest: &str) -> (usize, Cow<'_, str>) {
    const LONGEST: usize = "\\uXXXX".len();
    let same = |length: usize| (length, Cow::Borrowed(&rest[..length]));
    let Some(kind) = rest[1..].chars().next() else { return same(1) };
    match kind {
        '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => return same(2),
        '\'' => return (2, Cow::Borrowed("'")),
        '0' => return (2, Cow::Borrowed("\\u0000")),
        'x' => return hexadecimal(rest),
        'u' => {}
        _ => return (1, Cow::Borrowed("\u{fffd}")),
    }
    match unit(rest) {
        // Cut before its end.
        None => {
            let digits = rest[2..].bytes().take(4).take_while(u8::is_ascii_hexdigit).count();
            (2 + digits, Cow::Borrowed("\u{fffd}"))
        }
        Some(0xd800..=0xdbff) if matches!(unit(&rest[LONGEST..]), Some(0xdc00..=0xdfff)) => same(2 * LONGEST),
        Some(0xd800..=0xdfff) => (LONGEST, Cow::Borrowed("\u{fffd}")),
        Some(_) => same(LONGEST),
    }
}

/// `\xXX`
fn hexadecimal(rest: &str) -> (usize, Cow<'_, str>) {
    match rest.get(2..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit())) {
        Some(digits) => (4, Cow::Owned(format!("\\u00{digits}"))),
        None => (1, Cow::Borrowed("\u{fffd}")),
    }
}

/// The code unit of a `\uXXXX` at the beginning.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '$' | '#')
}

/// The word at the beginning, outside of texts: null where it is a number that JSON cannot say.
fn word(rest: &str) -> (usize, Cow<'_, str>) {
    let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
    let word = &rest[..length];
    let unsaid = is_no_number(word) || is_number(word) && !is_said(word);
    (length, if unsaid { Cow::Borrowed("null") } else { Cow::Borrowed(word) })
}

/// NaN and Infinity, as the languages write them.
fn is_no_number(word: &str) -> bool {
    const WORDS: [&str; 3] = ["nan", "infinity", "inf"];
    let bare = word.strip_prefix(['-', '+']).unwrap_or(word);
    WORDS.iter().any(|known| bare.eq_ignore_ascii_case(known))
        || bare.strip_prefix("1.#").is_some_and(|kind| ["INF", "IND", "QNAN", "SNAN"].contains(&kind))
}

/// Digits with at most one sign, point and exponent, whether JSON would have them so or not.
fn is_number(word: &str) -> bool {
    let bare = word.strip_prefix(['-', '+']).unwrap_or(word);
    let (mantissa, exponent) = bare.split_once(['e', 'E']).unwrap_or((bare, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && digits(fraction)
        && digits(exponent)
        && !exponent.is_empty()
        && whole.len() + fraction.len() > 0
}

/// Whether the number is JSON, and fits.
fn is_said(number: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(number).is_ok()
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
            (
                b"[nan,NAN,-nan,inf,-inf,INF,+Infinity,-NaN,1.#INF,-1.#IND]",
                json!([null, null, null, null, null, null, null, null, null, null]),
            ),
            // Numbers that do not fit, and some that do.
            (
                b"{\"a\":1e400,\"b\":-1E+999,\"c\":1e308,\"d\":1e-400,\"e\":12345678901234567890123}",
                json!({"a": null, "b": null, "c": 1e308, "d": 0.0, "e": 12345678901234567890123.0}),
            ),
            (b"[.5,5.,+1,007,-.5,-0,0.5e3]", json!([null, null, null, null, null, -0.0, 500.0])),
            // As if they had been escaped.
            (b"[\"a\nb\tc\rd\x00e\x1ff\"]", json!(["a\nb\tc\rd\u{0}e\u{1f}f"])),
            (b"[\"\\x41\\x00\\0\\'\\-\\xg\"]", json!(["A\u{0}\u{0}'\u{fffd}-\u{fffd}xg"])),
            // Cut inside an escape.
            (
                b"[\"a\\u12\", \"\\ud8\", \"\\u\", \"\\ud83d\\ud\"]",
                json!(["a\u{fffd}", "\u{fffd}", "\u{fffd}", "\u{fffd}\u{fffd}"]),
            ),
            // Around the document.
            (b"\xef\xbb\xbf\xef\xbb\xbf{\"a\":1}\x00\x00", json!({"a": 1})),
            (b"{\"a\":1}\r\n\x1a", json!({"a": 1})),
            (b"\x0c{\xc2\xa0\"a\":\x0b1}\xef\xbb\xbf", json!({"a": 1})),
            (b"\xff\xfe{\x00\"\x00\xe9\x00\"\x00:\x001\x00}\x00", json!({"é": 1})),
            (b"\xfe\xff\x00[\x001\x00]", json!([1])),
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
            b"[Infinity.5]",
            b"{NaN: 1}",
            b"[\"\\ud83d]",
            b"[\"\\",
            b"[\"\\ud83d\\",
            b"[1,]",
            b"{'a': 1}",
            b"[\xff]",
            b"<html>NaN",
            b"[+-1]",
            b"[1e]",
            b"[1-2]",
            b"[1.2.3]",
            b"[0x10]",
            b"[1_000]",
            b"[++Infinity]",
            b"[None]",
            b"[undefined]",
            b"{007: 1}",
            b"[1 2]",
            b"{\"a\":1}{\"b\":2}",
            b"{\"a\":1}\x00{",
            b"[\"a\"\x00]",
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
        fn whatever_a_text_holds_is_kept(text in any::<String>()) {
            // As a writer does it that escapes nothing but quotes and backslashes.
            let body = format!("[\"{}\", 1e400]", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(read(body.as_bytes()), Some(json!([text, null])));
        }

        #[test]
        fn no_body_is_too_much(body in any::<Vec<u8>>(), text in "[\"\\\\udDNaInfity,\\[\\]{}:é-]{0,60}") {
            mended(&body);
            mended(&[b"\xff\xfe", &body[..]].concat());
            mended(text.as_bytes());
        }
    }
}

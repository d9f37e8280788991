//! A secret in a text that a vendor sent back: as it is, as JSON, HTML, a URL or a mail would have it, or in base64 or hex.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;

const MASK: &str = "***";

/// A vendor may repeat a secret cut off. What is shorter could be a word of anybody's.
const SHORTEST_PART: usize = 8;

/// The text with every occurrence of the secret masked, whatever it was escaped for, in whatever case, also over line ends.
pub fn masked(text: &str, secret: &str) -> String {
    masked_from(text, secret, usize::MAX)
}

/// The same, also of what begins as the secret does, for 8 characters and more.
pub fn masked_in_parts(text: &str, secret: &str) -> String {
    masked_from(text, secret, SHORTEST_PART)
}

fn masked_from(text: &str, secret: &str, shortest: usize) -> String {
    let secret: Vec<char> = secret.chars().collect();
    if secret.is_empty() {
        return text.to_owned();
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match matched(rest, &secret, shortest) {
            Some(length) => {
                masked.push_str(MASK);
                rest = &rest[length..];
            }
            None => {
                masked.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    if secret.len() < SHORTEST_PART { masked } else { without_encoded(&masked, &secret) }
}

/// The text without the secret in base64 or hex, whatever stands beside it, also over line ends and with pairs set apart.
fn without_encoded(text: &str, secret: &[char]) -> String {
    let secret: String = secret.iter().collect();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let hex_digit = |c: char| c.is_ascii_hexdigit().then(|| c.to_ascii_lowercase());
    let base64_digit = |c: char| match c {
        '-' => Some('+'),
        '_' => Some('/'),
        c => (c.is_ascii_alphanumeric() || c == '+' || c == '/').then_some(c),
    };
    let mut spans = found(text, &hex, |c| matches!(c, ':' | '-' | ' ' | '\r' | '\n'), hex_digit);
    for at in 0..3 {
        spans.extend(found(text, &in_base64(&secret, at), |c| matches!(c, '\r' | '\n'), base64_digit));
    }
    let is_part = |c: char| base64_digit(c).is_some();
    let (mut left, mut end) = (String::with_capacity(text.len()), 0);
    spans.sort_unstable();
    for (from, to) in spans.into_iter().filter(|(_, to)| *to > 0) {
        // What stands beside it may tell the rest of its first and last byte.
        let from =
            from - text[..from].chars().rev().take_while(|c| is_part(*c)).map(char::len_utf8).sum::<usize>();
        let to = to
            + text[to..].chars().take_while(|c| is_part(*c) || *c == '=').map(char::len_utf8).sum::<usize>();
        if from >= end {
            left.push_str(&text[end..from]);
            left.push_str(MASK);
        }
        end = end.max(to);
    }
    left.push_str(&text[end..]);
    left
}

/// What the secret is in base64 after so many other bytes, but for digits that depend on what stands before and after it.
fn in_base64(secret: &str, before: usize) -> String {
    let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
    let digits = BASE64_STANDARD_NO_PAD.encode(&bytes);
    digits[(before * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
}

/// Where the text has these digits, from and up to which byte. `skips`: what may stand between them; `digit`: as which a character is
/// taken, if it is one.
fn found(
    text: &str,
    digits: &str,
    skips: impl Fn(char) -> bool,
    digit: impl Fn(char) -> Option<char>,
) -> Vec<(usize, usize)> {
    let digits: Vec<char> = digits.chars().collect();
    let read: Vec<(usize, Option<char>)> =
        text.char_indices().filter(|(_, c)| !skips(*c)).map(|(at, c)| (at, digit(c))).collect();
    let is_same = |window: &[(usize, Option<char>)]| {
        window.iter().zip(&digits).all(|((_, found), wanted)| *found == Some(*wanted))
    };
    let windows = read.windows(digits.len()).filter(|window| is_same(window));
    // A digit is one byte.
    windows.map(|window| (window[0].0, window[digits.len() - 1].0 + 1)).collect()
}

/// How many bytes of the text are the secret, or so many of its first characters at least, if it begins with that; the most,
/// where it can be read in several ways.
fn matched(text: &str, secret: &[char], shortest: usize) -> Option<usize> {
    let mut ends = vec![0];
    for (at, wanted) in secret.iter().enumerate() {
        let mut next = Vec::new();
        for end in &ends {
            let rest = if at > 0 { text[*end..].trim_start_matches(['\r', '\n']) } else { text };
            let begins = text.len() - rest.len();
            next.extend(ways(rest, *wanted).into_iter().flatten().map(|length| begins + length));
        }
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            return ends.last().copied().filter(|_| at >= shortest);
        }
        ends = next;
    }
    ends.last().copied()
}

/// How many bytes stand for this character, escaped and as it is.
fn ways(text: &str, wanted: char) -> [Option<usize>; 2] {
    let same = |found: char| found.eq_ignore_ascii_case(&wanted);
    let Some(first) = text.chars().next() else { return [None, None] };
    let escaped = match first {
        '\\' => escaped(&text[1..]).map(|(found, length)| (found, length + 1)),
        '%' => percent(text),
        '&' => entity(text),
        // A form has one for the other: written so, or taken for it and read.
        '+' => Some((' ', 1)),
        ' ' => Some(('+', 1)),
        _ => None,
    };
    [
        escaped.filter(|(found, _)| same(*found)).map(|(_, length)| length),
        same(first).then(|| first.len_utf8()),
    ]
}

/// What follows a backslash.
fn escaped(text: &str) -> Option<(char, usize)> {
    let first = text.chars().next()?;
    if first == 'u' {
        let code = u32::from_str_radix(text.get(1..5)?, 16).ok()?;
        return char::from_u32(code).map(|found| (found, 5));
    }
    Some((first, first.len_utf8()))
}

/// The bytes of one character, as %XX.
fn percent(text: &str) -> Option<(char, usize)> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while bytes.len() < 4 {
        let hex = rest.strip_prefix('%').and_then(|rest| rest.get(..2))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = &rest[3..];
        if let Ok(found) = std::str::from_utf8(&bytes) {
            return found.chars().next().map(|found| (found, text.len() - rest.len()));
        }
    }
    None
}

fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.char_indices().take(10).find(|(_, c)| *c == ';')?.0;
    let name = &text[1..end];
    let found = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((found, end + 1))
}

#[cfg(test)]
mod tests {
    use super::{masked, masked_in_parts};

    const SECRET: &str = "sk\"live/AbCdEf=+12 34ü&<";

    #[test]
    fn a_secret_is_masked_however_it_is_written() {
        for written in [
            SECRET,
            r#"sk\"live\/AbCdEf=+12 34ü&<"#,
            r#"sk\"live/AbCdEf=+12 34\u00fc\u0026\u003c"#,
            "sk%22live%2FAbCdEf%3D%2B12%2034%C3%BC%26%3C",
            "sk%22live/AbCdEf%3d%2b12+34%c3%bc%26%3c",
            "sk&quot;live/AbCdEf=+12 34ü&amp;&lt;",
            "sk&#34;live&#x2F;AbCdEf=+12 34&#252;&amp;&lt;",
            "SK\"LIVE/ABCDEF=+12 34ü&<",
            "sk\"live/AbC\r\ndEf=+12 34ü&<",
        ] {
            assert_eq!(
                masked(&format!("key {written} and {written}."), SECRET),
                "key *** and ***.",
                "{written}"
            );
        }
    }

    #[test]
    fn a_secret_that_is_cut_off_is_masked_too() {
        for (written, expected) in [
            ("key sk\"live/AbCd... is wrong", "key ***... is wrong"),
            ("key sk%22live%2FAbC", "key ***"),
            ("key SK\"LIVE/ and sk\"live", "key *** and sk\"live"),
            ("key sk\"live/AbCdEf= 12 34ü&<.", "key ***."),
            ("key sk\"live/AbCdEf=+12+34\\u00fc and", "key *** and"),
        ] {
            assert_eq!(masked_in_parts(written, SECRET), expected, "{written}");
        }
        assert_eq!(masked("key sk\"live/AbCd", SECRET), "key sk\"live/AbCd");
        assert_eq!(masked("key sk\"live/AbCdEf= 12+34ü&<", SECRET), "key ***", "read as a form");
        assert_eq!(masked_in_parts("short sec", "secret"), "short sec");
    }

    #[test]
    fn a_secret_is_masked_in_base64_and_hex() {
        const KEY: &str = "SECRETKEY1234567";
        for (written, expected) in [
            ("{\"error\": \"U0VDUkVUS0VZMTIzNDU2Nw==\"}", "{\"error\": \"***\"}"),
            ("base64 QmVhcmVyIFNFQ1JFVEtFWTEyMzQ1Njc=, you", "base64 ***, you"),
            ("a VG9rZW46U0VDUkVUS0VZMTIzNDU2NyE", "a ***"),
            ("hex 5345435245544b455931323334353637.", "hex ***."),
            (
                "hex 5345435245544B455931323334353637 and 1234567890abcdef1234567890abcdef12",
                "hex *** and 1234567890abcdef1234567890abcdef12",
            ),
            ("U0VDUkVUS0VZ is a part", "U0VDUkVUS0VZ is a part"),
            ("bad key 0x5345435245544b455931323334353637", "bad key ***"),
            ("key_5345435245544b455931323334353637_bad", "***"),
            ("/v1/keys/5345435245544b455931323334353637", "***"),
            ("53:45:43:52:45:54:4b:45:59:31:32:33:34:35:36:37!", "***!"),
            ("over lines: dXNlcjpTRUNS\nRVRLRVkxMjM0\nNTY3, so", "over lines: ***, so"),
        ] {
            assert_eq!(masked(written, KEY), expected, "{written}");
        }
        assert_eq!(masked("c2VjcmV0 short", "secret"), "c2VjcmV0 short", "too short to be told from a word");
    }

    #[test]
    fn what_is_not_the_secret_stays() {
        for text in ["", "sk", "100 % of \\ & ; %zz %e2%82 &#xZZ; \\u00", "ünlike sk\"live", "\\"] {
            assert_eq!(masked(text, SECRET), text);
        }
        assert_eq!(masked("anything", ""), "anything");
        // What looks like an escape may be the secret itself.
        for secret in [r"\\AAAA", "%2525", "&amp;amp;", "a+b+"] {
            assert_eq!(masked(&format!("x {secret}"), secret), "x ***", "{secret}");
        }
    }
}

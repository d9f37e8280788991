//! Texts without what stands for a sign: encodings, escapes, and what people write so that machines do not read it.

use std::borrow::Cow;
use std::fmt::Write;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

use crate::people::text::clean;

/// Each in one walk over the text; a link inside of a link is encoded twice. `percent`: also what is encoded in URLs.
pub fn plain(text: &str, percent: bool) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut text: String = clean(text).nfkc().collect();
    for _ in 0..2 {
        text = without_entities(&text);
        if percent && text.contains('%') {
            text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        }
    }
    text = without_escapes(&text);
    if !text.is_ascii() {
        text = clean(&text).nfkc().collect();
    }
    let mut text = with_signs(&text);
    let spoken = spoken(&text);
    text.push_str(&spoken);
    Cow::Owned(text)
}

fn is_plain(text: &str) -> bool {
    let dressed = |b: u8| !(b' '..=b'~').contains(&b) || b"%&([{<\\".contains(&b);
    !text.bytes().any(dressed) && !has_word_dot(text)
}

fn has_word_dot(text: &str) -> bool {
    text.as_bytes().windows(3).any(|three| three.eq_ignore_ascii_case(b"dot"))
}

/// Characters as HTML writes them.
fn without_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (length, sign) = entity(rest).unwrap_or((1, Some('&')));
        out.extend(sign);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// The entity at the beginning: its length, and what it stands for. A number needs no semicolon.
fn entity(text: &str) -> Option<(usize, Option<char>)> {
    const NAMED: [(&str, &str); 24] = [
        ("&commat;", "@"),
        ("&period;", "."),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&nbsp;", " "),
        ("&lowbar;", "_"),
        ("&hyphen;", "-"),
        ("&dash;", "-"),
        ("&plus;", "+"),
        ("&sol;", "/"),
        ("&colon;", ":"),
        ("&comma;", ","),
        ("&semi;", ";"),
        ("&equals;", "="),
        ("&lpar;", "("),
        ("&rpar;", ")"),
        ("&lsqb;", "["),
        ("&rsqb;", "]"),
        ("&shy;", ""),
        ("&zwnj;", ""),
        ("&NewLine;", " "),
    ];
    let Some(number) = text.strip_prefix("&#") else {
        if !text[1..].starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        let has = |name: &str| text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
        let (name, sign) = NAMED.iter().find(|(name, _)| has(name))?;
        return Some((name.len(), sign.chars().next()));
    };
    let (digits, radix) = number.strip_prefix(['x', 'X']).map_or((number, 10), |digits| (digits, 16));
    let length = digits.bytes().take_while(|b| char::from(*b).is_digit(radix)).take(8).count();
    let sign = char::from_u32(u32::from_str_radix(&digits[..length], radix).ok()?)?;
    let end = text.len() - digits.len() + length;
    Some((end + usize::from(text[end..].starts_with(';')), Some(sign)))
}

/// What is written with a backslash: `\u0040`, `\x40`, and signs (`jane\_doe`, as Markdown has it). A backslash before
/// another letter stays, as between the parts of a path.
fn without_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let code = |prefix: char, length: usize| {
            let digits = rest.strip_prefix(prefix)?.get(..length)?;
            char::from_u32(u32::from_str_radix(digits, 16).ok()?)
        };
        if let Some(sign) = code('u', 4) {
            out.push(sign);
            rest = &rest[5..];
        } else if let Some(sign) = code('x', 2) {
            out.push(sign);
            rest = &rest[3..];
        } else if let Some(sign) = rest.chars().next().filter(char::is_ascii_punctuation) {
            out.push(sign);
            rest = &rest[1..];
        } else {
            out.push('\\');
        }
    }
    out.push_str(rest);
    out
}

/// `[at]`, `(dot)` and the like as the signs that they stand for, a dot without the blanks around it.
fn with_signs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['(', '[', '{', '<']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match sign(rest) {
            // Blanks around an @ are read over where it is looked at.
            Some((length, '@')) => {
                out.push('@');
                rest = &rest[length..];
            }
            Some((length, sign)) => {
                out.truncate(out.trim_end().len());
                out.push(sign);
                rest = rest[length..].trim_start();
            }
            None => {
                out.push_str(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The word in brackets at the beginning that stands for a sign, and its length with these.
fn sign(text: &str) -> Option<(usize, char)> {
    const LONGEST: usize = 16;
    const WORDS: [(&str, char); 9] = [
        ("at", '@'),
        ("\u{e4}t", '@'),
        ("arroba", '@'),
        ("@", '@'),
        ("dot", '.'),
        ("punkt", '.'),
        ("point", '.'),
        ("punto", '.'),
        (".", '.'),
    ];
    let head = &text[..text.floor_char_boundary(LONGEST.min(text.len()))];
    let end = head.find([')', ']', '}', '>'])?;
    let word = head[1..end].trim().to_lowercase();
    let (_, sign) = WORDS.iter().find(|(known, _)| *known == word)?;
    Some((end + 1, *sign))
}

/// Addresses in words (`jane at acme dot example`, also with `_at_` or `-at-`), each after a blank. Only where there is a
/// dot in words, too: without one, `engineer at acme.example` is a sentence.
fn spoken(text: &str) -> String {
    let mut out = String::new();
    if !has_word_dot(text) {
        return out;
    }
    let lower = text.to_lowercase();
    let words: Vec<Cow<'_, str>> = lower.split_whitespace().map(with_blanks).collect();
    let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).map(bare).collect();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|known| *known == word);
    for at in 0..words.len() {
        let (mut local, mut next) = match words[at].split_once('@') {
            Some(_) => (words[at].to_owned(), at + 1),
            None if is(at, "at") && at > 0 && is(at + 2, "dot") => {
                (format!("{}@{}", whole_local(&words[..at]), words[at + 1]), at + 2)
            }
            None => continue,
        };
        let start = next;
        while is(next, "dot") && next + 1 < words.len() {
            let _ = write!(local, ".{}", words[next + 1]);
            next += 2;
        }
        if next > start {
            let _ = write!(out, " {local}");
        }
    }
    out
}

/// `jane_at_acme_dot_example`
fn with_blanks(word: &str) -> Cow<'_, str> {
    let between = |sign: char| [format!("{sign}at{sign}"), format!("{sign}dot{sign}")];
    for [at, dot] in ['_', '-'].map(between) {
        if word.contains(&at) && word.contains(&dot) {
            return Cow::Owned(word.replace(&at, " at ").replace(&dot, " dot "));
        }
    }
    Cow::Borrowed(word)
}

fn bare(word: &str) -> &str {
    let word =
        word.trim_matches(|c: char| matches!(c, ',' | ';' | ':' | '(' | ')' | '[' | ']' | '<' | '>' | '"'));
    word.trim_end_matches(['.', '!', '?'])
}

/// `jane dot doe`, at the end of these words.
fn whole_local(words: &[&str]) -> String {
    let mut parts = vec![words[words.len() - 1]];
    let mut end = words.len() - 1;
    while end >= 2 && words[end - 1] == "dot" {
        end -= 2;
        parts.push(words[end]);
    }
    parts.reverse();
    parts.join(".")
}

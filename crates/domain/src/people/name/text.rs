//! The text of a name before it is taken apart: white space, invisible marks, nicknames, headlines.

use unicode_normalization::{IsNormalized, UnicodeNormalization, char::is_combining_mark, is_nfc_quick};

use crate::people::text;

/// NFC, without control characters and invisible marks, white space collapsed.
pub fn tidy(text: &str) -> String {
    if is_tidy(text) {
        return text.to_owned();
    }
    let blank = |c: char| c.is_whitespace() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{2800}' | '\u{3164}');
    let visible = text.chars().map(|c| if blank(c) { ' ' } else { c });
    let text = composed(visible.filter(|c| !c.is_control() && !is_invisible(*c)).collect());
    let mut tidied = String::with_capacity(text.len());
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !tidied.is_empty() {
            tidied.push(' ');
        }
        tidied.push_str(word);
    }
    tidied
}

/// Letters of ASCII in words with one space between them: most are so.
fn is_tidy(text: &str) -> bool {
    let inner = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    inner && !text.starts_with(' ') && !text.ends_with(' ') && !text.contains("  ")
}

/// In NFC; copied only where it is not yet.
pub fn composed(text: String) -> String {
    match text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        true => text,
        false => text.nfc().collect(),
    }
}

/// What a name is without: beside what no text shows, what chooses between two shapes of one letter.
pub fn is_invisible(c: char) -> bool {
    text::is_invisible(c) || text::is_variation_selector(c)
}

/// Whether it is a combining mark of Unicode, such as an accent of a text in NFD.
pub fn is_mark(c: char) -> bool {
    !c.is_ascii() && is_combining_mark(c)
}

/// A template's field or a form's note, not a name: `[not provided]`, `{{first_name}}`, `<name>`, `*|NAME|*`, `%NAME%`.
pub fn is_placeholder(text: &str) -> bool {
    let framed = |open: char, close: char| {
        text.strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
            .is_some_and(|inner| !inner.contains([open, close]))
    };
    text.contains(['{', '}', '<', '>'])
        || text.contains("*|")
        || framed('[', ']')
        || framed('(', ')')
        || framed('%', '%')
        || framed('*', '*') && !text.contains(' ')
}

/// Signs of addresses, codes and lists, and letters of scripts that write the surname first without saying so.
pub fn is_foreign_to_names(text: &str) -> bool {
    text.contains(['_', '=', '&', '+', ';', '\\', '#', '$', '%', '^', '~', '?', '!', '\u{ff06}'])
        || text.contains("www.")
        || text.chars().any(is_east_asian)
}

fn is_east_asian(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{2fdf}' | '\u{3000}'..='\u{9fff}' | '\u{a000}'..='\u{a4cf}'
        | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}'
        | '\u{1b000}'..='\u{1b16f}' | '\u{20000}'..='\u{3ffff}')
}

const PAIRS: [(char, &[char]); 10] = [
    ('(', &[')']),
    ('[', &[']']),
    ('"', &['"', '\u{201d}']),
    ('\u{201c}', &['\u{201d}', '"']),
    ('\u{201e}', &['\u{201c}', '\u{201d}', '"']),
    ('«', &['»']),
    ('»', &['«']),
    ('\u{2018}', &['\u{2019}']),
    ('\u{201a}', &['\u{2018}', '\u{2019}']),
    ('\'', &['\'']),
];

/// Without what stands in quotes or brackets (nicknames, former names, pronouns); without the quotes, if all is
/// quoted. `None` where a quote or bracket is not closed.
pub fn without_asides(text: &str) -> Option<String> {
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some((at, open, closers)) = next_opener(rest, kept.is_empty()) {
        let inner = &rest[at + open.len_utf8()..];
        let apostrophe = matches!(open, '\'' | '\u{2018}');
        let Some((length, close)) = closer(inner, closers, apostrophe) else {
            if apostrophe {
                kept.push_str(&rest[..at + open.len_utf8()]);
                rest = inner;
                continue;
            }
            return None;
        };
        let after = &inner[length + close.len_utf8()..];
        let all_quoted = !matches!(open, '(' | '[') && kept.is_empty() && at == 0;
        if all_quoted && after.trim_matches([' ', ',', '.']).is_empty() {
            return without_asides(&inner[..length]);
        }
        kept.push_str(&rest[..at]);
        kept.push(' ');
        rest = after;
    }
    kept.push_str(rest);
    (!kept.contains([')', ']', '\u{201d}', '«', '»', '"'])).then_some(kept)
}

/// An apostrophe opens only before a word, and not before the Dutch particles `'t`, `'s` and `'n`.
fn next_opener(text: &str, at_start: bool) -> Option<(usize, char, &'static [char])> {
    let mut before = if at_start { ' ' } else { 'x' };
    for (at, c) in text.char_indices() {
        let pair = PAIRS.iter().find(|(open, _)| *open == c);
        if let Some((open, closers)) = pair {
            let mut following = text[at + c.len_utf8()..].chars();
            let (first, second) = (following.next(), following.next());
            let particle = matches!(first, Some('t' | 's' | 'n' | 'T' | 'S' | 'N')) && second == Some(' ');
            if !matches!(c, '\'' | '\u{2018}') || before == ' ' && !particle {
                return Some((at, *open, closers));
            }
        }
        before = c;
    }
    None
}

fn closer(inner: &str, closers: &[char], apostrophe: bool) -> Option<(usize, char)> {
    let ends_word = |at: usize, c: char| {
        let next = inner[at + c.len_utf8()..].chars().next();
        next.is_none_or(|next| matches!(next, ' ' | ',' | '.'))
    };
    inner.char_indices().find(|(at, c)| closers.contains(c) && (!apostrophe || ends_word(*at, *c)))
}

/// The text before a sign that sets off a headline, and what follows it, where that must be letters after the name.
/// After `|` or `•` anything may follow.
pub fn before_headline(text: &str) -> (&str, Option<&str>) {
    let (name, _) = text.split_once(['|', '•']).unwrap_or((text, ""));
    let divider = name.match_indices(['-', '–', '—', '/', '·', ':']).find(|(at, sign)| {
        let before = name[..*at].trim_end_matches('-');
        let after = name[at + sign.len()..].trim_start_matches('-');
        (before.is_empty() || before.ends_with(' ')) && (after.is_empty() || after.starts_with(' '))
    });
    match divider {
        Some((at, sign)) => (&name[..at], Some(&name[at + sign.len()..])),
        None => (name, None),
    }
}

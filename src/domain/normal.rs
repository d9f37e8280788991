//! Values as they are stored, whichever vendor they came from.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

use super::fields::Field;

/// What is longer is no value of that field but something else, so it counts as nothing rather than being cut into a
/// value that nobody supplied.
const fn max_chars(field: Field) -> usize {
    match field {
        Field::Phone => 64,
        Field::Seniority => 100,
        Field::JobTitle | Field::CompanyName | Field::LinkedinUrl | Field::Location => 1_000,
    }
}

/// A vendor's text as a value of this field; `None` where it is none. `settled`: a word that the provider's description
/// itself gives, and means.
pub fn value(field: Field, text: &str, settled: bool) -> Option<String> {
    let text = clean(text);
    let text = match field {
        Field::Seniority if !settled => seniority(&text).map_or(text, str::to_owned),
        Field::LinkedinUrl => linkedin_url(text),
        _ => text,
    };
    let short = text.chars().nth(max_chars(field)).is_none();
    (short && !text.is_empty()).then_some(text)
}

/// In Unicode's normal form C, without outer white space, control characters (NUL above all, which no Postgres text
/// can hold) and marks that are invisible or turn the direction of writing round.
pub fn clean(text: &str) -> String {
    let kept = text.chars().filter_map(|c| match c {
        '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => Some(' '),
        control if control.is_control() => None,
        invisible if is_invisible(invisible) => None,
        other => Some(other),
    });
    // Composed after the removal: what is taken out may have stood between a letter and its accent.
    let text = kept.nfc().collect::<String>();
    // Joiners belong into the words of some scripts; alone they are nothing.
    if text.chars().all(|c| matches!(c, '\u{200c}' | '\u{200d}' | '\u{2800}') || c.is_whitespace()) {
        return String::new();
    }
    text.trim().to_owned()
}

/// Marks without a shape of their own, fillers, and those that turn the direction of writing round.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The vocabulary, with other vendors' words for the same.
const SENIORITIES: [(&str, &[&str]); 11] = [
    ("owner", &["business owner", "co owner"]),
    ("founder", &["co founder", "cofounder", "founders"]),
    ("c_suite", &["cxo", "c level", "clevel", "csuite", "c suite executive", "executive", "chief"]),
    ("partner", &["partners"]),
    ("vp", &["vice president", "v p", "svp", "evp", "avp", "vp level"]),
    ("head", &["head of", "head of department"]),
    ("director", &["directors", "director level"]),
    ("manager", &["managers", "management", "mid management", "manager level"]),
    ("senior", &["sr", "senior level"]),
    ("entry", &["junior", "jr", "entry level"]),
    ("intern", &["internship", "trainee", "training", "unpaid"]),
];

fn seniority(text: &str) -> Option<&'static str> {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let said = words.join(" ");
    let means =
        |(word, others): &&(&str, &[&str])| said == word.replace('_', " ") || others.contains(&said.as_str());
    SENIORITIES.iter().find(means).map(|(word, _)| *word)
}

const PROFILES: &str = "https://www.linkedin.com/in/";

/// A profile as `https://www.linkedin.com/in/…`, from a URL of any form or from `in/…`. Whether other text is a handle
/// only the provider's description can know (`prefix`), so it stays as it is.
fn linkedin_url(text: String) -> String {
    match profile(&text) {
        Some(handle) => format!("{PROFILES}{handle}"),
        None => text,
    }
}

fn profile(text: &str) -> Option<String> {
    let text = decoded(text.trim());
    let path = rest_on_linkedin(&text).unwrap_or_else(|| text.trim_start_matches('/'));
    handle(strip(path, "in/")?)
}

/// The handle of a profile, in plain text: from a URL, from `in/…`, or bare.
pub fn linkedin_handle(text: &str) -> Option<Cow<'static, str>> {
    let bare = || handle(decoded(text.trim()).as_ref()).filter(|_| !text.contains(['/', '.']));
    profile(text).or_else(bare).map(Cow::Owned)
}

fn handle(path: &str) -> Option<String> {
    let handle = path.split(['?', '#']).next()?.trim_matches('/');
    // A segment that follows it is a language.
    let (handle, language) = handle.split_once('/').unwrap_or((handle, ""));
    let sound = |c: char| c.is_alphanumeric() || "-_".contains(c) || !c.is_ascii() && !c.is_whitespace();
    let ok = (2..=200).contains(&handle.chars().count())
        && handle.chars().all(sound)
        && handle.chars().any(char::is_alphanumeric)
        && language.len() <= 5
        && language.chars().all(sound)
        && !NOT_HANDLES.contains(&handle.to_lowercase().as_str());
    ok.then(|| clean(handle))
}

/// What vendors write where they know none.
const NOT_HANDLES: [&str; 7] = ["null", "none", "undefined", "unknown", "true", "false", "na"];

/// What follows the host, if that is LinkedIn's (also in a country's form, `de.linkedin.com`).
fn rest_on_linkedin(text: &str) -> Option<&str> {
    let text = strip(text, "https://").or_else(|| strip(text, "http://")).unwrap_or(text);
    let text = text.trim_start_matches('/');
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    let host = host.to_ascii_lowercase();
    (host == "linkedin.com" || host.ends_with(".linkedin.com")).then_some(path)
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn strip<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    if has_prefix(text, prefix) { text.get(prefix.len()..) } else { None }
}

#[cfg(test)]
#[path = "normal_tests.rs"]
mod tests;

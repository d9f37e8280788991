//! Names of people.

use super::list;
use super::stand_in;
use super::value::clean;

const STAND_INS: &str = include_str!("data/name_stand_ins.txt");

/// In Unicode's normal form C, white space collapsed, case folded; `None` for what is no name.
pub fn normal(text: &str) -> Option<String> {
    let text = clean(text);
    if !is_name(&text) {
        return None;
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    // To upper case first: that is how one letter with several lower cases becomes one.
    Some(clean(&words.join(" ").to_uppercase().to_lowercase()))
}

/// Whether it can be somebody's name: it has a letter, is no address and no stand-in.
pub fn is_name(text: &str) -> bool {
    let text = clean(text);
    if stand_in::is_stand_in(&text)
        || text.contains(['@', '='])
        || text.contains("://")
        || !text.chars().any(char::is_alphabetic)
    {
        return false;
    }
    let said = list::words(&text);
    let mut words = said.split(' ');
    let first = words.next().unwrap_or_default();
    let says_nothing = |word: &str| stand_in::is_stand_in(word) || list::contains(STAND_INS, word);
    let is_bracketed = text.starts_with(['[', '<', '{', '(']) && text.ends_with([']', '>', '}', ')']);
    !(is_bracketed
        || matches!(first, "deleted" | "anonymous" | "anonymized" | "anonymised")
        || says_nothing(&said)
        || says_nothing(first) && words.all(|word| word == first))
}

/// First and last name out of a full name; `None` where there are not both.
pub fn split(full: &str) -> Option<(String, String)> {
    let full = clean(full);
    let (first, last) = split_name(&full);
    Some((first?.to_owned(), last?.to_owned()))
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|trimmed| !trimmed.is_empty())
}

/// Titles before it and suffixes after it are left out, "Last, First" is turned round, and lower-case particles stay with
/// the last name ("Ludwig van Beethoven" → "van Beethoven").
fn split_name(full: &str) -> (Option<&str>, Option<&str>) {
    let full = without_titles(full);
    let Some((before, after)) = full.split_once(',') else {
        return split_words(without_suffix(full));
    };
    let (before, after) = (before.trim(), after.trim());
    if after.is_empty() || after.split([',', ' ']).all(|w| w.is_empty() || is_suffix(w)) {
        return split_words(without_suffix(before));
    }
    let first = after.split([',', ' ']).find(|word| !word.is_empty());
    (first, filled(Some(without_suffix(before))))
}

fn split_words(name: &str) -> (Option<&str>, Option<&str>) {
    let name = name.trim();
    let Some((first, rest)) = name.split_once(char::is_whitespace) else {
        return (filled(Some(name)), None);
    };
    let rest = rest.trim();
    // In a name that is written in lower case throughout, lower case says nothing about particles.
    let shows_case = first.chars().next().is_some_and(char::is_uppercase);
    let mut last_start = rest.rfind(char::is_whitespace).map_or(0, |at| at + width_at(rest, at));
    while shows_case && last_start > 0 {
        let head = rest[..last_start].trim_end();
        let word_start = head.rfind(char::is_whitespace).map_or(0, |at| at + width_at(head, at));
        if !head[word_start..].chars().next().is_some_and(char::is_lowercase) {
            break;
        }
        last_start = word_start;
    }
    (Some(first), Some(&rest[last_start..]))
}

fn width_at(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

const TITLES: [&str; 10] = ["mr", "mrs", "ms", "miss", "mx", "dr", "prof", "herr", "frau", "sir"];
const SUFFIXES: [&str; 14] =
    ["jr", "sr", "ii", "iii", "iv", "phd", "md", "mba", "esq", "cpa", "msc", "bsc", "dds", "pmp"];

fn is_one_of(word: &str, list: &[&str]) -> bool {
    let bare = word.replace('.', "");
    list.iter().any(|entry| bare.eq_ignore_ascii_case(entry))
}

fn is_suffix(word: &str) -> bool {
    is_one_of(word, &SUFFIXES)
}

fn without_titles(mut name: &str) -> &str {
    while let Some((word, rest)) = name.trim_start().split_once(char::is_whitespace) {
        if !is_one_of(word, &TITLES) {
            break;
        }
        name = rest;
    }
    name.trim()
}

fn without_suffix(mut name: &str) -> &str {
    while let Some((rest, word)) = name.trim_end().rsplit_once(char::is_whitespace) {
        if !is_suffix(word) {
            break;
        }
        name = rest;
    }
    name.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_in_any_case_and_spacing() {
        for text in ["Jörg  Groß", "JÖRG GROSS", " jo\u{308}rg gross ", "Jörg\tGROß"] {
            assert_eq!(normal(text).as_deref(), Some("jörg gross"), "{text}");
        }
    }

    #[test]
    fn what_nobody_is_called_is_no_name() {
        for text in [
            "",
            " ",
            "-",
            "? ?",
            "n/a",
            "N/A N/A",
            "unknown",
            "Unknown Unknown",
            "test",
            "Test Test",
            "first last",
            "First Name Last Name",
            "[not provided]",
            "(no name)",
            "deleted",
            "Deleted User",
            "deleted-4711",
            "jane@acme.example",
            "12345",
            "LinkedIn Member",
            "#N/A",
            "=A2",
            "null null",
            "undefined undefined",
            "Anonymous",
            "https://acme.example",
        ] {
            assert!(!is_name(text) && normal(text).is_none(), "{text:?}");
        }
        for text in [
            "Jane Doe",
            "Na Li",
            "Nil Patel",
            "田中 太郎",
            "O'Neil",
            "Ng",
            "J. Doe",
            "Testa Rossi",
            "Guest Smith",
        ] {
            assert!(is_name(text), "{text:?}");
        }
    }
}

//! What is written where nothing is known.

use std::borrow::Cow;

use super::list::{self, FirstWords, List};
use super::text::folded_width;

const TEXT: &str = include_str!("data/stand_ins.txt");
static STAND_INS: List = List::new(TEXT);
static FIRST_WORDS: FirstWords = FirstWords::new(TEXT);

/// Room for the longest entry, a few times over.
const LONGEST: usize = 64;

/// Whether the whole text only says that there is no value, whatever the field: `N/A`, `-`, `unknown`, `[not provided]`,
/// a spreadsheet's `#REF!`. Nothing visible is none, too.
pub fn is_stand_in(text: &str) -> bool {
    let text = text.trim();
    if text.chars().all(is_mark) || is_spreadsheet_error(text) {
        return true;
    }
    // Most texts are longer than any word of the list, or begin with none.
    if text.len() > LONGEST || text.is_ascii() && !FIRST_WORDS.may_begin(text) {
        return false;
    }
    let words = match text.is_ascii() {
        true => list::words(text),
        false => list::words(&folded_width(Cow::Borrowed(text))),
    };
    STAND_INS.contains(&words) || is_repeated(&words)
}

/// A spreadsheet's own word for an error, or a formula that it did not compute.
pub fn is_spreadsheet_error(text: &str) -> bool {
    if !text.starts_with(['#', '=']) {
        return false;
    }
    const ERRORS: [&str; 11] = [
        "#N/A", "#REF!", "#VALUE!", "#NAME?", "#NULL!", "#DIV/0!", "#NUM!", "#ERROR!", "#SPILL!", "#CALC!",
        "#FIELD!",
    ];
    ERRORS.iter().any(|error| text.eq_ignore_ascii_case(error)) || text.starts_with('=')
}

/// `null null`, `N/A N/A`: put together from parts of which each was a stand-in.
fn is_repeated(words: &str) -> bool {
    let first = words.split(' ').next().unwrap_or_default();
    if words.split(' ').filter(|word| *word == first).nth(1).is_none() {
        return false;
    }
    let words: Vec<&str> = words.split(' ').collect();
    let repeats =
        |n: &usize| words.len().is_multiple_of(*n) && words.chunks(*n).all(|part| part == &words[..*n]);
    (1..=words.len() / 2).filter(repeats).any(|n| STAND_INS.contains(&words[..n].join(" ")))
}

/// Signs that alone say nothing; others (an emoji) may be meant.
pub(super) fn is_mark(c: char) -> bool {
    c.is_ascii_punctuation()
        || c.is_whitespace()
        || c.is_control()
        || super::text::is_invisible(c)
        || matches!(c, '\u{a1}'..='\u{bf}' if !c.is_alphanumeric())
        || matches!(c, '\u{200c}' | '\u{200d}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}')
        || matches!(c, '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}')
        || matches!(
            c,
            '\u{2212}' | '\u{2022}' | '\u{25cf}' | '\u{2800}' | '\u{3001}' | '\u{3002}' | '\u{fffd}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_one() {
        for entry in STAND_INS.entries() {
            assert!(is_stand_in(entry) && is_stand_in(&format!("({})", entry.to_uppercase())), "{entry}");
        }
    }

    #[test]
    fn words_for_nothing_are_stand_ins_in_any_case_and_dress() {
        for text in [
            "n/a",
            "\u{ff2e}\u{ff0f}\u{ff21}",
            "\u{ff4e}\u{ff55}\u{ff4c}\u{ff4c}",
            "N/A",
            "N.A.",
            "n. a.",
            "na",
            "NA",
            "none",
            "None",
            "NULL",
            "(null)",
            "<null>",
            "[none]",
            "nil",
            "unknown",
            "UNKNOWN",
            " unknown ",
            "not available",
            "Not Available.",
            "not_applicable",
            "undefined",
            "undefined undefined",
            "null null",
            "TBD",
            "-",
            "--",
            "---",
            "–",
            "—",
            ".",
            "...",
            "…",
            "?",
            "??",
            "@",
            "#",
            "/",
            "0",
            "",
            " ",
            "\u{200b}",
            "\u{a0}",
            "#N/A",
            "#REF!",
            "#DIV/0!",
            "#NAME?",
            "=A1",
            "NaN",
            "[not provided]",
            "Request access",
            "k.A.",
            "unbekannt",
            "•••",
            "\"\"",
            "''",
            "*",
            "**********",
            "\u{fffd}",
        ] {
            assert!(is_stand_in(text), "{text:?}");
        }
        for text in [
            "CEO",
            "Nadia",
            "Na Li",
            "Null GmbH",
            "Nil Patel",
            "None of the Above Inc",
            "Unknown Worlds",
            "1",
            "10",
            "0815",
            "A",
            "é",
            "NA Sales Lead",
            "Head of TBD",
            "🚀",
            "Zero",
            "ナ",
            "C",
            "R&D",
        ] {
            assert!(!is_stand_in(text), "{text:?}");
        }
    }
}

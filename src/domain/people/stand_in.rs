//! What is written where nothing is known.

use super::list;

const STAND_INS: &str = include_str!("data/stand_ins.txt");

/// Room for the longest entry, a few times over.
const LONGEST: usize = 64;

/// Whether the whole text only says that there is no value, whatever the field: `N/A`, `-`, `unknown`, `[not provided]`,
/// a spreadsheet's `#REF!`. Nothing visible is none, too.
pub fn is_stand_in(text: &str) -> bool {
    let text = text.trim();
    if text.chars().all(is_mark) || is_spreadsheet_error(text) {
        return true;
    }
    // Most texts are longer than any word of the list.
    if text.len() > LONGEST {
        return false;
    }
    let words = list::words(text);
    list::contains(STAND_INS, &words) || is_repeated(&words)
}

/// A spreadsheet's own word for an error, or a formula that it did not compute.
pub fn is_spreadsheet_error(text: &str) -> bool {
    const ERRORS: [&str; 11] = [
        "#N/A", "#REF!", "#VALUE!", "#NAME?", "#NULL!", "#DIV/0!", "#NUM!", "#ERROR!", "#SPILL!", "#CALC!",
        "#FIELD!",
    ];
    ERRORS.iter().any(|error| text.eq_ignore_ascii_case(error)) || text.starts_with('=')
}

/// `null null`, `N/A N/A`: put together from parts of which each was a stand-in.
fn is_repeated(words: &str) -> bool {
    let first = words.split(' ').next().unwrap_or_default();
    if words.matches(first).count() < 2 {
        return false;
    }
    let words: Vec<&str> = words.split(' ').collect();
    let repeats =
        |n: &usize| words.len().is_multiple_of(*n) && words.chunks(*n).all(|part| part == &words[..*n]);
    (1..=words.len() / 2).filter(repeats).any(|n| list::contains(STAND_INS, &words[..n].join(" ")))
}

/// Signs that alone say nothing; others (an emoji) may be meant.
fn is_mark(c: char) -> bool {
    c.is_ascii_punctuation()
        || c.is_whitespace()
        || c.is_control()
        || super::value::is_invisible(c)
        || matches!(c, '\u{a1}'..='\u{bf}' if !c.is_alphanumeric())
        || matches!(c, '\u{200c}' | '\u{200d}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}')
        || matches!(
            c,
            '\u{2212}' | '\u{2022}' | '\u{25cf}' | '\u{2800}' | '\u{3001}' | '\u{3002}' | '\u{fffd}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_nothing_are_stand_ins_in_any_case_and_dress() {
        for text in [
            "n/a",
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

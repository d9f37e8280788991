use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

use super::text::is_invisible;
use super::words;
use super::{is_name, normal, split};
use crate::people::list::List;

const SHAPES: &str = include_str!("name/shapes.tsv");

/// Group, full name, first and last name.
type Shape = (&'static str, String, Option<(String, String)>);

fn shapes() -> Vec<Shape> {
    let rows = SHAPES.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let [group, _, full, first, last] = line.split('\t').collect::<Vec<_>>().try_into().expect(line);
        let expected = (!first.is_empty()).then(|| (first.to_owned(), last.to_owned()));
        (group, unescaped(full), expected)
    })
    .collect()
}

fn unescaped(text: &str) -> String {
    let mut pieces = text.split("\\u{");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_once('}').expect(text);
        plain.push(char::from_u32(u32::from_str_radix(code, 16).expect(text)).expect(text));
        plain.push_str(rest);
    }
    plain
}

#[test]
fn full_names_split_as_listed() {
    let shapes = shapes();
    assert!(shapes.len() >= 500);
    let wrong: Vec<String> = shapes
        .iter()
        .filter(|(_, full, expected)| split(full) != *expected)
        .map(|(group, full, expected)| {
            format!("{group}: {full:?}: {:?} instead of {expected:?}", split(full))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), shapes.len(), wrong.join("\n"));
}

/// A name in capitals or small letters goes out as it stands, and so do accents: the letters are the contact's.
#[test]
fn parts_are_in_the_letters_of_the_text() {
    let parts = |full| split(full).map(|(first, last)| format!("{first}|{last}"));
    assert_eq!(parts("JANE MCDONALD").as_deref(), Some("JANE|MCDONALD"));
    assert_eq!(parts("jane mcdonald").as_deref(), Some("jane|mcdonald"));
    assert_eq!(parts("MCDONALD Jane").as_deref(), Some("Jane|MCDONALD"));
    assert_eq!(parts("Zoe\u{308} O\u{2019}Brien").as_deref(), Some("Zo\u{eb}|O\u{2019}Brien"));
}

#[test]
fn no_title_no_letters_and_no_organisation_is_sent() {
    let names = [
        "Jane Smith",
        "SMITH Jane",
        "Smith, Jane",
        "jane smith",
        "JANE SMITH",
        "Juan de la Cruz",
        "Ba Smith",
    ];
    let mut wrong = Vec::new();
    let mut sound = |parts: Option<(String, String)>, around: &str| {
        let Some((first, last)) = parts else { return };
        for word in first.split(' ').chain(last.split(' ')) {
            let known = names.iter().any(|name| name.split([' ', ',']).any(|part| part == word));
            if !known {
                wrong.push(format!("{word:?} is sent out of {around:?}"));
            }
        }
    };
    let forms =
        |entry: &str| [entry.to_owned(), format!("{entry}."), entry.to_uppercase(), capitalised(entry)];
    let in_front =
        words::TITLES.entries().chain(words::TITLES_OR_NAMES.entries()).filter(|e| !e.ends_with('.'));
    // In German law a rank of the nobility is part of the surname, and stays there.
    let in_front = in_front.filter(|entry| !words::PARTICLES.contains(entry));
    for entry in in_front.filter(|entry| entry.chars().any(char::is_lowercase)) {
        for title in forms(entry) {
            for name in names {
                let around = format!("{title} {name}");
                sound(split(&around), &around);
            }
        }
    }
    for entry in words::LETTERS.entries() {
        for letters in forms(entry) {
            for name in names {
                let around = format!("{name}, {letters}");
                sound(split(&around), &around);
            }
            if entry.chars().any(char::is_lowercase) {
                let around = format!("Jane Smith {letters}");
                sound(split(&around), &around);
            }
        }
        if entry.chars().all(|c| !c.is_lowercase()) {
            sound(split(&format!("Jane Smith {entry}")), entry);
        }
    }
    for entry in words::NOT_PERSONS.entries() {
        for name in [format!("Sample {entry}"), format!("Sample Acme {entry}"), format!("Sample, {entry}")] {
            let plain = entry.chars().any(char::is_lowercase);
            let single_comma = name.contains(',') && !plain;
            if !single_comma {
                sound(split(&name), &name);
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

#[test]
fn names_that_differ_in_case_white_space_or_composition_only_are_the_same() {
    let same = |a: &str, b: &str| assert_eq!(normal(a), normal(b), "{a:?} and {b:?}");
    same(" Jane\u{a0} Doe\n", "JANE DOE");
    same("Zoe\u{308}", "ZO\u{cb}");
    same("Jo\u{200b}hn", "john");
    same("Wei\u{df}", "WEISS");
    same("\u{3a3}\u{3a9}\u{3a3}", "\u{3c3}\u{3c9}\u{3c2}");
    assert_eq!(normal(" Jane  DOE ").as_deref(), Some("jane doe"));
    for (a, b) in [
        ("Jane Doe", "Jane Do"),
        ("Zo\u{eb}", "Zoe"),
        ("Jane Doe", "Doe Jane"),
        ("I\u{15f}\u{131}k", "I\u{15f}ik"),
    ] {
        assert_ne!(normal(a), normal(b), "{a:?} and {b:?}");
    }
}

#[test]
fn stand_ins_and_addresses_are_no_names() {
    let none = [
        "",
        " ",
        "-",
        "--",
        ".",
        "0",
        "?",
        "? ?",
        "N/A",
        "n/a",
        "NA",
        "None",
        "null",
        "NIL",
        "unknown",
        "Not Available",
        "not applicable",
        "undefined",
        "TBD",
        "\u{200b}",
        "4711",
        "jane@acme.example",
        "Jane <jane@acme.example>",
        "https://acme.example",
        "Unknown Unknown",
        "test test",
        "First Last",
        "[not provided]",
        "deleted user",
        "Deactivated User",
        "Ms. First Last",
        "First Last, MBA",
        "DO NOT CONTACT",
        "see notes",
        "Mr. Unknown",
        "Dr. N/A",
        "deleted-4711",
        "Deleted",
        "(unknown)",
        "n/a n/a",
        "null null",
        "{{first_name}}",
        "*|NAME|*",
        "%NAME%",
        "<name>",
        "LinkedIn Member",
        "vorname nachname",
    ];
    for text in none {
        assert!(!is_name(text), "{text:?} counts as a name");
        assert_eq!(normal(text), None, "{text:?}");
        assert_eq!(split(text), None, "{text:?}");
    }
    let names = [
        "Jane",
        "Jane Doe",
        "Na Li",
        "\u{674e}",
        "O",
        "Jane Null",
        "Acme Ltd",
        "X \u{c6} A-12",
        "Deletedova",
    ];
    for text in names {
        assert!(is_name(text), "{text:?} counts as none");
        assert!(normal(text).is_some(), "{text:?}");
    }
}

#[test]
fn lists_are_sorted_folded_and_found() {
    let lists: [(&str, &List); 11] = [
        ("titles", &words::TITLES),
        ("after titles", &words::AFTER_TITLES),
        ("titles or names", &words::TITLES_OR_NAMES),
        ("letters", &words::LETTERS),
        ("generations", &words::GENERATIONS),
        ("particles", &words::PARTICLES),
        ("iberian", &words::IBERIAN),
        ("family first", &words::FAMILY_FIRST),
        ("not persons", &words::NOT_PERSONS),
        ("devotional", &words::DEVOTIONAL),
        ("stand-ins", &words::STAND_INS),
    ];
    for (name, list) in lists {
        let entries: Vec<&str> = list.entries().collect();
        assert!(entries.is_sorted_by(|a, b| a < b), "{name} is not sorted");
        for entry in entries {
            let in_capitals = entry.to_uppercase() == entry;
            assert!(!entry.trim_end_matches('.').contains('.'), "{entry:?} of {name} has a dot inside");
            assert!(
                !in_capitals || !entry.is_ascii() || entry.len() <= words::MAX_CAPITALS,
                "{entry:?} of {name} is too long"
            );
            assert!(in_capitals || super::fold(entry) == entry, "{entry:?} of {name} is not folded");
            assert!(list.contains(entry), "{entry:?} of {name} is not found");
            assert!(
                !list.contains(&format!("{entry}q"))
                    || list.entries().any(|other| other == format!("{entry}q"))
            );
        }
        assert!(!list.contains("") && !list.contains("#") && !list.contains("\u{10ffff}"), "{name}");
        let comment = list.comments().next().unwrap_or_default();
        assert!(comment.starts_with('#') && !list.contains(comment), "{name} names no source");
    }
}

/// Words that make the rules meet each other.
const PIECES: [&str; 44] = [
    "Jane",
    "Smith",
    "JANE",
    "SMITH",
    "jane",
    "van",
    "Van",
    "de",
    "la",
    "y",
    "e",
    "und",
    "zu",
    "Dr.",
    "med.",
    "PhD",
    "BA",
    "Ba",
    "M.D.",
    "Jr.",
    "III",
    "V",
    "J.",
    "J",
    "O'",
    "'t",
    "\"Bob\"",
    "(",
    ")",
    "\"",
    "'",
    ",",
    ", ",
    "-",
    "|",
    "/",
    "n\u{e9}e",
    "Garc\u{ed}a",
    "Abdul",
    "al-",
    "d'",
    "\u{301}",
    "\u{674e}",
    "Ltd",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_text_is_taken(text in "\\PC{0,40}") {
        check(&text);
    }

    #[test]
    fn any_order_of_words_is_taken(pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..9), gap in " ?") {
        check(&pieces.join(&gap));
        check(&pieces.join(" "));
    }
}

fn check(text: &str) {
    if let Some(normal_form) = normal(text) {
        assert!(is_name(text));
        assert_eq!(normal(&normal_form).as_deref(), Some(&*normal_form), "of {text:?}");
    }
    let Some((first, last)) = split(text) else { return };
    assert!(is_name(text), "{text:?}");
    let composed: String = text.nfc().filter(|c| !c.is_control() && !is_invisible(*c)).collect();
    for part in [&first, &last] {
        assert!(!part.is_empty() && part.trim() == part && !part.contains("  "), "{text:?}: {part:?}");
        assert!(unicode_normalization::is_nfc(part), "{text:?}: {part:?}");
        assert!(part.chars().any(char::is_alphabetic), "{text:?}: {part:?}");
        for word in part.split(' ') {
            assert!(composed.contains(word), "{text:?}: {word:?} of {part:?} is not in it");
        }
    }
}

/// As a random text once had it: the letters are all there, without what chooses their shape.
#[test]
fn a_text_with_a_selector_of_variants_is_taken() {
    check("𐭈,bI\u{e0113}Q d");
}

#[test]
fn long_texts_cost_little() {
    let long = "Jane ".repeat(1_000_000);
    assert_eq!(split(&long), None);
    assert!(is_name(&long));
    let nested = format!("{}Jane Smith", "(".repeat(300));
    assert_eq!(split(&nested), None);
}

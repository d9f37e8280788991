use proptest::prelude::*;

use super::*;

#[test]
fn seniorities_are_of_one_vocabulary_and_the_unknown_is_kept() {
    for (given, expected) in [
        ("CXO", "c_suite"),
        ("Vice President", "vp"),
        ("Senior Vice President", "vp"),
        (" Director ", "director"),
        ("Grand Vizier", "Grand Vizier"),
        ("Senior Partner", "Senior Partner"),
    ] {
        assert_eq!(value(Field::SENIORITY, given, false).as_deref(), Some(expected), "{given}");
    }
    assert_eq!(value(Field::SENIORITY, "CXO", true).as_deref(), Some("CXO"), "the description's own word");
    assert_eq!(value(Field::JOB_TITLE, "Vice President", false).as_deref(), Some("Vice President"));
}

#[test]
fn what_says_nothing_is_written_into_no_field() {
    for field in Field::all() {
        for text in [
            "",
            " ",
            "N/A",
            "n/a",
            "-",
            "--",
            ".",
            "0",
            "null",
            "Unknown",
            "not available",
            "TBD",
            "?",
            "#N/A",
            "\u{200b}",
            "[not provided]",
        ] {
            assert_eq!(value(field, text, false), None, "{field} {text:?}");
            assert!(is_empty(field, Some(text)), "{field} {text:?}");
        }
        assert!(is_empty(field, None));
    }
    assert_eq!(value(Field::SENIORITY, "None", true).as_deref(), Some("None"), "the description's own word");
    assert_eq!(value(Field::COMPANY_NAME, "Freelance", false).as_deref(), Some("Freelance"));
    for text in ["+1 (555) XXX-XXXX", "+61 415...", "**********", "Request access", "000-000-0000", "1234"] {
        assert_eq!(value(Field::PHONE, text, false), None, "{text}");
        assert!(is_empty(Field::PHONE, Some(text)), "{text}");
    }
    for text in [
        "https://www.linkedin.com/company/acme",
        "https://lnkd.in/x",
        "jane@acme.example",
        "Jane Doe",
        "javascript:alert(1)",
        "in/null",
    ] {
        assert_eq!(value(Field::LINKEDIN_URL, text, false), None, "{text}");
        assert!(is_empty(Field::LINKEDIN_URL, Some(text)), "{text}");
    }
    assert!(!is_empty(Field::LINKEDIN_URL, Some("jane-doe")), "a bare handle says who it is");
    for word in ["Jane", "yes", "12345", "n", "x", "1st", "CEO", "janedoe77"] {
        assert!(is_empty(Field::LINKEDIN_URL, Some(word)), "{word}");
    }
    assert_eq!(value(Field::LINKEDIN_URL, "jane-doe", false), None, "and may as well be anything");
}

#[test]
fn empty_is_null_or_nothing_visible_or_a_stand_in() {
    let is_empty = |text| is_empty(Field::LOCATION, text);
    for empty in [
        None,
        Some(""),
        Some(" "),
        Some("\t\r\n\u{b}"),
        Some("\u{a0}\u{2003}\u{3000}"),
        Some("\u{a0}.\u{a0}"),
        Some("\u{200b}"),
    ] {
        assert!(is_empty(empty), "{empty:?}");
    }
    for full in ["x", " x ", "10", "\u{a0}é\u{a0}"] {
        assert!(!is_empty(Some(full)), "{full:?}");
    }
}

#[test]
fn a_value_is_the_same_in_its_normal_form_or_byte_for_byte() {
    for (field, stored, offered) in [
        (Field::LINKEDIN_URL, "linkedin.com/in/x-y", "https://www.linkedin.com/in/x-y"),
        (
            Field::LINKEDIN_URL,
            "https://www.linkedin.com/in/j%C3%BCrgen/",
            "https://www.linkedin.com/in/jürgen",
        ),
        (Field::LINKEDIN_URL, "Jane-Doe", "https://www.linkedin.com/in/jane-doe"),
        (Field::LINKEDIN_URL, "https://lnkd.in/x", "https://lnkd.in/x"),
        (Field::PHONE, "+1 (202) 555-0123", "+12025550123"),
        (Field::PHONE, "12025550123", "+12025550123"),
        (Field::PHONE, "030 / 1234567", "030-1234567"),
        (Field::SENIORITY, "Vice President", "vp"),
        (Field::SENIORITY, "SVP", "Senior Vice President"),
        (Field::JOB_TITLE, " Pre\u{301}sident ", "Président"),
        (Field::JOB_TITLE, "VP", "VP"),
        (Field::LOCATION, "Berlin\u{200b}", "Berlin"),
    ] {
        assert!(
            same(field, stored, offered) && same(field, offered, stored),
            "{field} {stored:?} {offered:?}"
        );
    }
    for (field, stored, offered) in [
        (
            Field::LINKEDIN_URL,
            "https://www.linkedin.com/in/jane/doe",
            "https://www.linkedin.com/in/jane%2Fdoe",
        ),
        (Field::LINKEDIN_URL, "n/a", "https://lnkd.in/x"),
        (Field::PHONE, "+1 202 555 0123", "+1 202 555 0123 ext. 7"),
        (Field::PHONE, "123-456", "1234-56"),
        (Field::SENIORITY, "Grand Vizier", "vp"),
        (Field::JOB_TITLE, "CEO", "Ceo"),
        (Field::COMPANY_NAME, "Acme Ltd", "Acme"),
    ] {
        assert!(!same(field, stored, offered), "{field} {stored:?} {offered:?}");
    }
}

#[test]
fn texts_are_composed_and_hold_nothing_invisible() {
    let of = |text: &str| value(Field::JOB_TITLE, text, false);
    assert_eq!(of("Pre\u{301}sident").as_deref(), Some("Président"));
    assert_eq!(of("a\u{0}b\u{202e}c\u{feff}").as_deref(), Some("abc"));
    assert_eq!(of("e\u{200b}\u{301}").as_deref(), Some("é"), "composed after what stood between is gone");
    assert_eq!(of("CEO\u{2028}Acme").as_deref(), Some("CEO Acme"));
    assert_eq!(of("\u{200b} \u{a0}"), None);
    assert_eq!(of("👩\u{200d}💻").as_deref(), Some("👩\u{200d}💻"), "a joiner has a meaning");
}

#[test]
fn what_is_too_long_is_nothing() {
    for (field, most) in [(Field::PHONE, 64), (Field::SENIORITY, 100), (Field::LOCATION, 1_000)] {
        assert!(value(field, &"12".repeat(most / 2), false).is_some(), "{field}");
        assert_eq!(value(field, &format!("{}3", "12".repeat(most / 2)), false), None, "{field}");
    }
}

#[test]
fn phones_are_kept_as_they_are() {
    assert_eq!(
        value(Field::PHONE, "  (555) 010-0100 ext 7 ", false).as_deref(),
        Some("(555) 010-0100 ext 7")
    );
}

proptest! {
    #[test]
    fn any_text_gives_a_sound_value_that_stays_the_same(text in any::<String>(), settled: bool) {
        for field in Field::all() {
            let Some(once) = value(field, &text, settled) else { continue };
            prop_assert!(!once.chars().any(char::is_control) && !once.trim().is_empty());
            prop_assert_eq!(once.trim(), once.as_str());
            prop_assert!(same(field, &once, &once) && (settled || !is_empty(field, Some(&once))));
            let twice = value(field, &once, settled);
            prop_assert_eq!(twice.as_deref(), Some(once.as_str()));
        }
    }

    #[test]
    fn what_is_written_is_the_same_as_what_was_stored(text in "(in/|\\+1202555|Sr\\. |)[ a-zü0-9-]{0,12}") {
        for field in Field::all() {
            if let Some(written) = value(field, &text, false) {
                prop_assert!(same(field, &text, &written), "{} {:?} {:?}", field, text, written);
            }
        }
    }
}

#[test]
fn a_profile_within_other_text_is_not_empty() {
    for text in [
        "[Marc](https://linkedin.com/in/marc-doe-9)",
        "Profile: https://linkedin.com/in/marc-doe-9 (checked)",
        "https://linkedin.com/in/jane-doe-7, https://x.com/jane",
        "LinkedIn: linkedin.com/in/jane-doe-7",
    ] {
        assert!(!is_empty(Field::LINKEDIN_URL, Some(text)), "{text}");
    }
    for text in [
        "https://www.linkedin.com/company/acme",
        "see linkedin.com/in/",
        "Profile: linkedin.com/in/null",
        "LinkedIn",
    ] {
        assert!(is_empty(Field::LINKEDIN_URL, Some(text)), "{text}");
    }
}

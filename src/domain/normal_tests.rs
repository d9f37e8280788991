use proptest::prelude::*;

use super::*;

#[test]
fn seniorities_are_of_one_vocabulary_and_the_unknown_is_kept() {
    for (given, expected) in [
        ("CXO", "c_suite"),
        ("C-Level", "c_suite"),
        ("c_suite", "c_suite"),
        ("Vice President", "vp"),
        ("VP", "vp"),
        ("Executive", "c_suite"),
        ("Co-Founder", "founder"),
        ("Entry-level", "entry"),
        ("junior", "entry"),
        (" Director ", "director"),
        ("training", "intern"),
        ("Grand Vizier", "Grand Vizier"),
        ("Senior Partner", "Senior Partner"),
    ] {
        assert_eq!(value(Field::Seniority, given, false).as_deref(), Some(expected), "{given}");
    }
    assert_eq!(value(Field::Seniority, "CXO", true).as_deref(), Some("CXO"), "the description's own word");
    assert_eq!(value(Field::JobTitle, "Vice President", false).as_deref(), Some("Vice President"));
}

#[test]
fn linkedin_profiles_have_one_form() {
    for given in [
        "in/jane-doe",
        "/in/jane-doe/",
        "in%2Fjane-doe",
        "linkedin.com/in/jane-doe",
        "www.linkedin.com/in/jane-doe/",
        "http://linkedin.com/in/jane-doe?trk=public",
        "HTTPS://DE.LinkedIn.com/in/jane-doe/en",
        "https://www.linkedin.com/in/jane-doe#top",
        "https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjane-doe",
    ] {
        let found = value(Field::LinkedinUrl, given, false);
        assert_eq!(found.as_deref(), Some("https://www.linkedin.com/in/jane-doe"), "{given}");
    }
    for (given, expected) in [
        ("in/j%C3%BCrgen-m", Some("https://www.linkedin.com/in/jürgen-m")),
        ("in/ju\u{308}rgen", Some("https://www.linkedin.com/in/jürgen")),
        ("https://www.linkedin.com/pub/jane/1/2/3", Some("https://www.linkedin.com/pub/jane/1/2/3")),
        ("linkedin.com/company/acme", Some("linkedin.com/company/acme")),
        ("https://acme.example/in/jane", Some("https://acme.example/in/jane")),
        ("jane-doe", Some("jane-doe")),
        ("Jane Doe", Some("Jane Doe")),
        ("in/null", Some("in/null")),
        ("in/a b", Some("in/a b")),
        ("in/company/acme-corp", Some("in/company/acme-corp")),
        (" ", None),
    ] {
        assert_eq!(value(Field::LinkedinUrl, given, false).as_deref(), expected, "{given}");
    }
    for given in ["https://www.linkedin.com/in/jane-doe", "in/jane-doe", " jane-doe "] {
        assert_eq!(linkedin_handle(given).as_deref(), Some("jane-doe"), "{given}");
    }
    assert_eq!(linkedin_handle("j%C3%BCrgen").as_deref(), Some("jürgen"));
    for given in ["company/acme", "Jane Doe", "n/a", "jane.doe", "null", "j"] {
        assert_eq!(linkedin_handle(given), None, "{given}");
    }
    assert_eq!(linkedin_handle("https://www.linkedin.com/company/acme"), None);
    assert_eq!(linkedin_handle("https://acme.example/in/jane"), None);
}

#[test]
fn texts_are_composed_and_hold_nothing_invisible() {
    let of = |text: &str| value(Field::JobTitle, text, false);
    assert_eq!(of("Pre\u{301}sident").as_deref(), Some("Président"));
    assert_eq!(of("a\u{0}b\u{202e}c\u{feff}").as_deref(), Some("abc"));
    assert_eq!(of("e\u{200b}\u{301}").as_deref(), Some("é"), "composed after what stood between is gone");
    assert_eq!(of("CEO\u{2028}Acme").as_deref(), Some("CEO Acme"));
    assert_eq!(of("\u{200b} \u{a0}"), None);
    assert_eq!(of("👩\u{200d}💻").as_deref(), Some("👩\u{200d}💻"), "a joiner has a meaning");
}

#[test]
fn what_is_too_long_is_nothing() {
    for (field, most) in [(Field::Phone, 64), (Field::Seniority, 100), (Field::Location, 1_000)] {
        assert!(value(field, &"1".repeat(most), false).is_some(), "{field}");
        assert_eq!(value(field, &"1".repeat(most + 1), false), None, "{field}");
    }
}

#[test]
fn phones_are_kept_as_they_are() {
    assert_eq!(
        value(Field::Phone, "  (555) 010-0100 ext 7 ", false).as_deref(),
        Some("(555) 010-0100 ext 7")
    );
}

proptest! {
    #[test]
    fn any_text_gives_a_sound_value_that_stays_the_same(text in any::<String>(), settled: bool) {
        for field in Field::ALL {
            let Some(once) = value(field, &text, settled) else { continue };
            prop_assert!(!once.chars().any(char::is_control) && !once.trim().is_empty());
            prop_assert_eq!(once.trim(), once.as_str());
            let twice = value(field, &once, settled);
            prop_assert_eq!(twice.as_deref(), Some(once.as_str()));
        }
    }

    #[test]
    fn urls_of_any_form_give_a_sound_value(text in "(https?://)?([a-z]{2}\\.)?(linkedin\\.com|x\\.y)?/?(in/)?[%a-zA-Z0-9/?ü ]{0,12}") {
        if let Some(once) = value(Field::LinkedinUrl, &text, false) {
            prop_assert_eq!(value(Field::LinkedinUrl, &once, false), Some(once.clone()));
        }
    }
}

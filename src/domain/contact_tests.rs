use super::contact::Contact;
use super::fields::{Field, FieldSet};

fn named(full_name: &str) -> Contact {
    Contact { full_name: Some(full_name.to_owned()), ..Contact::default() }
}

fn with_email(email: &str) -> Contact {
    Contact { email: Some(email.to_owned()), ..Contact::default() }
}

#[test]
fn first_and_last_name_come_from_the_full_name() {
    let cases = [
        ("Jane Doe", Some("Jane"), Some("Doe")),
        ("  Jane\u{a0}Doe ", Some("Jane"), Some("Doe")),
        ("Mary Jane Watson", Some("Mary"), Some("Watson")),
        ("mary jane watson", Some("mary"), Some("watson")),
        ("Ludwig van Beethoven", Some("Ludwig"), Some("van Beethoven")),
        ("Ana María de la Cruz", Some("Ana"), Some("de la Cruz")),
        ("Doe, Jane", Some("Jane"), Some("Doe")),
        ("van der Berg, Jan Peter", Some("Jan"), Some("van der Berg")),
        ("Jane Doe, PhD", Some("Jane"), Some("Doe")),
        ("Jane Doe, Ph.D., MBA", Some("Jane"), Some("Doe")),
        ("Dr. Jane Doe", Some("Jane"), Some("Doe")),
        ("John Smith Jr.", Some("John"), Some("Smith")),
        ("Cher", Some("Cher"), None),
        ("李 小龍", Some("李"), Some("小龍")),
        (",", None, None),
        ("   ", None, None),
        ("", None, None),
    ];
    for (full, first, last) in cases {
        let contact = named(full);
        assert_eq!(contact.known_first_name(), first, "first of {full:?}");
        assert_eq!(contact.known_last_name(), last, "last of {full:?}");
    }
}

#[test]
fn mapped_names_win_over_the_full_name_unless_they_are_empty() {
    let mut contact = named("Jane Doe");
    contact.first_name = Some("Janet".into());
    contact.last_name = Some(" \t".into());
    assert_eq!(contact.known_first_name(), Some("Janet"));
    assert_eq!(contact.known_last_name(), Some("Doe"));
}

#[test]
fn a_full_name_is_put_together_only_from_both_parts() {
    let mut contact = Contact { first_name: Some("Jane ".into()), ..Contact::default() };
    assert_eq!(contact.known_full_name(), None);
    contact.last_name = Some("Doe".into());
    assert_eq!(contact.known_full_name().as_deref(), Some("Jane Doe"));
    contact.full_name = Some("J. Doe".into());
    assert_eq!(contact.known_full_name().as_deref(), Some("J. Doe"));
}

#[test]
fn company_domain_comes_from_company_addresses_only() {
    let cases = [
        ("jane@acme.example", Some("acme.example")),
        ("jane@ACME.Example", Some("acme.example")),
        ("jane@sub.acme.co.uk", Some("sub.acme.co.uk")),
        ("\"odd@local\"@acme.example", Some("acme.example")),
        ("jane@gmail.com", None),
        ("jane@GMail.com", None),
        ("jane@yahoo.co.uk", None),
        ("jane@hotmail.fr", None),
        ("jane@outlook.com", None),
        ("jane@localhost", None),
        ("@acme.example", None),
        ("jane@", None),
        ("jane@acme..example", None),
        ("jane@acme.example/../x", None),
        ("jane", None),
    ];
    for (email, domain) in cases {
        let contact = with_email(email);
        assert_eq!(contact.known_company_domain().as_deref(), domain, "{email}");
    }
    let mut mapped = with_email("jane@gmail.com");
    mapped.company_domain = Some("acme.example".into());
    assert_eq!(mapped.known_company_domain().as_deref(), Some("acme.example"));
}

#[test]
fn empty_fields_are_those_without_visible_text() {
    let mut contact = Contact::default();
    assert_eq!(contact.empty_fields(), FieldSet::ALL);
    contact.values.set(Field::Phone, "+12025550123".into());
    contact.values.set(Field::Location, " \u{3000}".into());
    assert!(!contact.empty_fields().contains(Field::Phone));
    assert!(contact.empty_fields().contains(Field::Location));
    assert_eq!(contact.value(Field::Location), Some(" \u{3000}"));
}

proptest::proptest! {
    #[test]
    fn no_name_or_address_makes_it_panic_or_gives_empty_text(text in "\\PC{0,40}") {
        let mut contact = named(&text);
        contact.email = Some(text);
        for known in [
            contact.known_first_name().map(str::to_owned),
            contact.known_last_name().map(str::to_owned),
            contact.known_full_name().map(|c| c.into_owned()),
            contact.known_company_domain().map(|c| c.into_owned()),
        ].into_iter().flatten() {
            proptest::prop_assert!(!known.trim().is_empty());
        }
    }
}

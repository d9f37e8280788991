use super::contact::Contact;
use super::fields::{Field, FieldSet};

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
fn empty_fields_are_those_without_visible_text() {
    let mut contact = Contact::default();
    assert_eq!(contact.empty_fields(), FieldSet::ALL);
    contact.values.set(Field::PHONE, "+12025550123".into());
    contact.values.set(Field::LOCATION, " \u{3000}".into());
    assert!(!contact.empty_fields().contains(Field::PHONE));
    assert!(contact.empty_fields().contains(Field::LOCATION));
    assert_eq!(contact.value(Field::LOCATION), Some(" \u{3000}"));
}

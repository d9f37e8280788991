//! What of an offer changes a contact.

use super::contact::Contact;
use super::fields::{FieldMap, FieldSet, is_empty};

/// The fields that a call may fill: those asked for that the table has, and only empty ones unless `overwrite`.
pub fn fillable(contact: &Contact, asked: FieldSet, mapped: FieldSet, overwrite: bool) -> FieldSet {
    let possible = asked.intersect(mapped);
    if overwrite { possible } else { possible.intersect(contact.empty_fields()) }
}

/// The values of `offered` that replace what the contact holds now: never an empty value, never the same one,
/// and a non-empty one only with `overwrite`.
pub fn changes(
    now: &Contact,
    offered: &FieldMap<String>,
    fields: FieldSet,
    overwrite: bool,
) -> FieldMap<String> {
    let mut changes = FieldMap::default();
    for (field, value) in offered.iter() {
        let present = now.value(field);
        let allowed = overwrite || is_empty(present);
        if fields.contains(field) && allowed && !is_empty(Some(value)) && present != Some(value) {
            changes.set(field, value.clone());
        }
    }
    changes
}

/// The fields among `written` whose stored value differs: a trigger of the table may have kept the old one.
pub fn updated(before: &Contact, after: &Contact, written: FieldSet) -> FieldSet {
    let mut updated = FieldSet::EMPTY;
    for field in written.iter() {
        if before.value(field) != after.value(field) {
            updated.insert(field);
        }
    }
    updated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fields::Field;

    fn contact(values: &[(Field, &str)]) -> Contact {
        let mut contact = Contact::default();
        for (field, value) in values {
            contact.values.set(*field, (*value).to_owned());
        }
        contact
    }

    #[test]
    fn only_empty_fields_are_filled_without_overwrite() {
        let now = contact(&[(Field::JobTitle, "CEO"), (Field::Phone, "  ")]);
        let offered =
            contact(&[(Field::JobTitle, "CTO"), (Field::Phone, "+1"), (Field::Location, "Oslo")]).values;
        let fields = fillable(&now, FieldSet::ALL, FieldSet::ALL, false);
        assert!(!fields.contains(Field::JobTitle) && fields.contains(Field::Phone));
        let filled = changes(&now, &offered, fields, false);
        assert_eq!(filled.fields().names(), ["phone", "location"]);
        let replaced = changes(&now, &offered, FieldSet::ALL, true);
        assert_eq!(replaced.fields().names(), ["job_title", "phone", "location"]);
    }

    #[test]
    fn overwrite_never_empties_and_never_rewrites_the_same() {
        let now = contact(&[(Field::JobTitle, "CEO"), (Field::Phone, "+1")]);
        let offered = contact(&[(Field::JobTitle, " "), (Field::Phone, "+1")]).values;
        assert!(changes(&now, &offered, FieldSet::ALL, true).is_empty());
    }

    #[test]
    fn fields_not_asked_for_or_not_in_the_table_are_left() {
        let mut asked = FieldSet::EMPTY;
        asked.insert(Field::Phone);
        asked.insert(Field::Seniority);
        let mut mapped = FieldSet::ALL;
        mapped = mapped.minus(FieldSet::from_iter([Field::Seniority]));
        assert_eq!(fillable(&Contact::default(), asked, mapped, false).names(), ["phone"]);
    }

    #[test]
    fn a_value_that_a_trigger_kept_is_not_updated() {
        let before = contact(&[(Field::JobTitle, "CEO")]);
        let after = contact(&[(Field::JobTitle, "CEO"), (Field::Phone, "+1")]);
        let written = FieldSet::from_iter([Field::JobTitle, Field::Phone]);
        assert_eq!(updated(&before, &after, written).names(), ["phone"]);
    }
}

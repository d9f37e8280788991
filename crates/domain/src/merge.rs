//! What of an offer changes a contact.

use super::contact::Contact;
use super::fields::{Field, FieldMap, FieldSet};
use super::people::value::{is_empty, same};

/// The fields that a call may fill: those asked for that the table has, and only empty ones unless `overwrite`.
pub fn fillable(contact: &Contact, asked: FieldSet, mapped: FieldSet, overwrite: bool) -> FieldSet {
    let possible = asked.intersect(mapped);
    if overwrite { possible } else { possible.intersect(contact.empty_fields()) }
}

/// The values of `offered` that replace what the contact holds now: never a value that is none, never the same one (in
/// its normal form, or byte for byte), and one that is a value only with `overwrite`.
pub fn changes(
    now: &Contact,
    offered: &FieldMap<String>,
    fields: FieldSet,
    overwrite: bool,
) -> FieldMap<String> {
    let change = |(field, _): &(Field, &String)| is_changed(now, offered, fields, overwrite, *field);
    offered.iter().filter(change).map(|(field, value)| (field, value.clone())).collect()
}

/// Whether [`changes`] has this field.
pub fn is_changed(
    now: &Contact,
    offered: &FieldMap<String>,
    fields: FieldSet,
    overwrite: bool,
    field: Field,
) -> bool {
    let Some(value) = offered.get(field).filter(|_| fields.contains(field)) else { return false };
    let present = now.value(field);
    let allowed = overwrite || is_empty(field, present);
    let unchanged = || present.is_some_and(|present| same(field, present, value));
    allowed && !is_empty(field, Some(value)) && !unchanged()
}

/// The fields among `written` that hold another value now, however it is spelled: a trigger of the table may have kept the
/// old one, or none.
pub fn updated(before: &Contact, after: &Contact, written: FieldSet) -> FieldSet {
    let is_other = |field: &Field| match (before.value(*field), after.value(*field)) {
        (Some(before), Some(after)) if same(*field, before, after) => false,
        (before, after) => !(is_empty(*field, before) && is_empty(*field, after)),
    };
    written.iter().filter(is_other).collect()
}

/// The fields among `written` whose stored text differs in any way.
pub fn rewritten(before: &Contact, after: &Contact, written: FieldSet) -> FieldSet {
    written.iter().filter(|field| before.value(*field) != after.value(*field)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(values: &[(Field, &str)]) -> Contact {
        let mut contact = Contact::default();
        for (field, value) in values {
            contact.values.set(*field, (*value).to_owned());
        }
        contact
    }

    #[test]
    fn only_empty_fields_are_filled_without_overwrite() {
        let now = contact(&[(Field::JOB_TITLE, "CEO"), (Field::PHONE, "  ")]);
        let offered =
            contact(&[(Field::JOB_TITLE, "CTO"), (Field::PHONE, "+12025550123"), (Field::LOCATION, "Oslo")])
                .values;
        let fields = fillable(&now, FieldSet::ALL, FieldSet::ALL, false);
        assert!(!fields.contains(Field::JOB_TITLE) && fields.contains(Field::PHONE));
        let filled = changes(&now, &offered, fields, false);
        assert_eq!(filled.fields().names(), ["phone", "location"]);
        let replaced = changes(&now, &offered, FieldSet::ALL, true);
        assert_eq!(replaced.fields().names(), ["job_title", "phone", "location"]);
    }

    #[test]
    fn overwrite_never_empties_and_never_rewrites_the_same() {
        let now = contact(&[(Field::JOB_TITLE, "CEO"), (Field::PHONE, "+12025550123")]);
        let offered = contact(&[(Field::JOB_TITLE, " "), (Field::PHONE, "+12025550123")]).values;
        assert!(changes(&now, &offered, FieldSet::ALL, true).is_empty());
    }

    #[test]
    fn a_stored_stand_in_is_filled_and_an_offered_one_replaces_nothing() {
        let now = contact(&[
            (Field::JOB_TITLE, "N/A"),
            (Field::PHONE, "+1 (555) XXX-XXXX"),
            (Field::LINKEDIN_URL, "https://www.linkedin.com/company/acme"),
            (Field::LOCATION, "Oslo"),
        ]);
        assert_eq!(
            fillable(&now, FieldSet::ALL, FieldSet::ALL, false).names(),
            ["job_title", "company_name", "linkedin_url", "phone", "seniority"]
        );
        let offered = contact(&[(Field::JOB_TITLE, "CTO"), (Field::LOCATION, "unknown")]).values;
        assert_eq!(changes(&now, &offered, FieldSet::ALL, true).fields().names(), ["job_title"]);
        // From one stand-in to another nothing was filled.
        let after = contact(&[(Field::JOB_TITLE, "-"), (Field::LOCATION, "Bergen")]);
        assert_eq!(updated(&now, &after, FieldSet::ALL).names(), ["location"]);
    }

    #[test]
    fn an_unchanged_value_is_no_change_whatever_its_spelling() {
        let stored = [
            (Field::JOB_TITLE, " Pre\u{301}sident "),
            (Field::LINKEDIN_URL, "linkedin.com/in/J%C3%BCrgen"),
            (Field::PHONE, "+1 (202) 555-0123"),
            (Field::SENIORITY, "Vice President"),
        ];
        let offered = contact(&[
            (Field::JOB_TITLE, "Président"),
            (Field::LINKEDIN_URL, "https://www.linkedin.com/in/jürgen/"),
            (Field::PHONE, "+12025550123"),
            (Field::SENIORITY, "vp"),
        ]);
        let now = contact(&stored);
        assert!(changes(&now, &offered.values, FieldSet::ALL, true).is_empty());
        assert!(changes(&now, &now.values, FieldSet::ALL, true).is_empty());
        assert!(updated(&now, &offered, FieldSet::ALL).names().is_empty());
        assert_eq!(rewritten(&now, &offered, FieldSet::ALL).names().len(), 4, "the text itself is another");
    }

    #[test]
    fn fields_not_asked_for_or_not_in_the_table_are_left() {
        let mut asked = FieldSet::EMPTY;
        asked.insert(Field::PHONE);
        asked.insert(Field::SENIORITY);
        let mut mapped = FieldSet::ALL;
        mapped = mapped.minus(FieldSet::from_iter([Field::SENIORITY]));
        assert_eq!(fillable(&Contact::default(), asked, mapped, false).names(), ["phone"]);
    }

    #[test]
    fn a_value_that_a_trigger_kept_is_not_updated() {
        let before = contact(&[(Field::JOB_TITLE, "CEO")]);
        let after = contact(&[(Field::JOB_TITLE, "CEO"), (Field::PHONE, "+12025550123")]);
        let written = FieldSet::from_iter([Field::JOB_TITLE, Field::PHONE]);
        assert_eq!(updated(&before, &after, written).names(), ["phone"]);
    }
}

//! What a call found out about values that stood there before it.

use crate::answered::Answered;
use crate::contact::Contact;
use crate::fields::{FieldMap, FieldSet};
use crate::people::value::{is_empty, same};
use crate::reply::Origin;

/// Values that were asked about and stay.
#[derive(Clone, Debug)]
pub struct Checks {
    pub fields: FieldSet,
    /// Of those that a provider has confirmed: when it did.
    pub confirmed: FieldMap<Answered>,
    /// When a provider was last asked.
    pub checked: Answered,
}

impl Checks {
    /// `asked`: the fields of the call. `offered`: what was supplied, and by whom. `None`: no value stays that was asked about.
    pub fn of(
        before: &Contact,
        asked: FieldSet,
        offered: Option<(&FieldMap<String>, &FieldMap<Origin>)>,
        checked: Answered,
    ) -> Option<Checks> {
        let fields = asked.minus(before.empty_fields());
        let mut confirmed = FieldMap::default();
        if let Some((values, origins)) = offered {
            for (field, value) in values.iter().filter(|(field, _)| fields.contains(*field)) {
                let stands = before.value(field).is_some_and(|stored| same(field, stored, value));
                if stands && !is_empty(field, Some(value)) {
                    let answered = origins.get(field).map_or(checked, |origin| origin.answered);
                    confirmed.set(field, answered);
                }
            }
        }
        (!fields.is_empty()).then_some(Checks { fields, confirmed, checked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Field;

    #[test]
    fn what_is_confirmed_and_what_is_only_asked_about() {
        let mut contact = Contact::default();
        contact.values.set(Field::PHONE, "+1 202 555 0123".to_owned());
        contact.values.set(Field::JOB_TITLE, "Editor".to_owned());
        let mut values = FieldMap::default();
        values.set(Field::PHONE, "+12025550123".to_owned());
        values.set(Field::LOCATION, "Oslo".to_owned());
        let mut origins = FieldMap::default();
        let answered = Answered::Before(7);
        origins.set(Field::PHONE, Origin { source: "main".into(), confidence: None, answered });
        let all = Checks::of(&contact, FieldSet::ALL, Some((&values, &origins)), Answered::Now).unwrap();
        assert_eq!(all.fields.names(), ["job_title", "phone"]);
        assert_eq!(all.confirmed.fields().names(), ["phone"]);
        assert_eq!((all.confirmed.get(Field::PHONE), all.checked.at(9)), (Some(&answered), 9));
        assert!(Checks::of(&Contact::default(), FieldSet::ALL, None, answered).is_none());
        assert_eq!(Answered::Before(3).and(answered).at(9), 7);
    }
}

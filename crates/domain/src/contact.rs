//! A contact as it was read, and what the placeholders of a request take from it.

use std::borrow::Cow;

use super::fields::{Field, FieldMap, FieldSet};
use super::people::value;

/// One row of a contact table, under the names of the extension. `None`: the value is NULL, or the table has
/// no column for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The key as text, whatever its type.
    pub id: String,
    pub full_name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub email: Option<String>,
    pub company_domain: Option<String>,
    pub values: FieldMap<String>,
}

impl Contact {
    /// What says who it is, exactly as stored, in the order of the table's `IDENTIFYING`.
    pub fn identifying(&self) -> [Option<&str>; 5] {
        [&self.full_name, &self.first_name, &self.last_name, &self.email, &self.company_domain]
            .map(Option::as_deref)
    }

    /// Fields that providers can be asked with, and that it has.
    pub fn identifying_fields(&self) -> FieldSet {
        let asked_with = [Field::COMPANY_NAME, Field::LINKEDIN_URL, Field::PHONE, Field::LOCATION];
        asked_with.into_iter().filter(|field| self.value(*field).is_some()).collect()
    }

    /// The stored value of a field, exactly as stored.
    /// `None`: it is NULL, or the table has no such column.
    pub fn value(&self, field: Field) -> Option<&str> {
        self.values.get(field).map(String::as_str)
    }

    /// The contact with these values in place of its own.
    pub fn with(&self, values: FieldMap<String>) -> Cow<'_, Contact> {
        if values.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut contact = self.clone();
        values.into_iter().for_each(|(field, value)| contact.values.set(field, value));
        Cow::Owned(contact)
    }

    /// The fields without a value: nothing is stored, or only white space or a stand-in such as "N/A".
    pub fn empty_fields(&self) -> FieldSet {
        Field::all().filter(|field| value::is_empty(*field, self.value(*field))).collect()
    }

    /// The stored full name, else the first and the last name together.
    /// `None`: neither is known; a first or a last name alone is not enough.
    pub fn known_full_name(&self) -> Option<Cow<'_, str>> {
        if let Some(stored) = filled(self.full_name.as_deref()) {
            return Some(Cow::Borrowed(stored));
        }
        let first = filled(self.first_name.as_deref())?;
        let last = filled(self.last_name.as_deref())?;
        Some(Cow::Owned(format!("{first} {last}")))
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|trimmed| !trimmed.is_empty())
}

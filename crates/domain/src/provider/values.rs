//! What the placeholders of a request stand for.

use super::placeholder::Placeholder;
use super::taken::Taken;
use crate::fields::FieldSet;
use crate::person::Person;

/// What the placeholders stand for in one request.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub person: &'a Person,
    pub secret: Option<&'a str>,
    /// What of the person is sent; `None`: all of it.
    pub only: Option<&'a [Placeholder]>,
    /// What the login took; `None`: it is not known yet, and taken to be there.
    pub login: Option<&'a Taken>,
    /// What earlier steps took.
    pub taken: &'a Taken,
    /// The fields that are wanted of the provider.
    pub wanted: FieldSet,
    /// Of a request about several contacts: what is sent of each.
    pub each: &'a [serde_json::Value],
}

impl<'a> Values<'a> {
    /// All of a person, and nothing that was taken.
    pub fn of(person: &'a Person, secret: Option<&'a str>) -> Values<'a> {
        static NOTHING: Taken = Taken::NOTHING;
        Values { person, secret, only: None, login: None, taken: &NOTHING, wanted: FieldSet::ALL, each: &[] }
    }

    /// The value as it is sent; `None`: there is none, it is one that many people share, or it is not to be sent.
    pub fn get(&self, placeholder: Placeholder) -> Option<&'a str> {
        match placeholder {
            Placeholder::Secret => self.secret,
            other if self.sends(other) => other.of(self.person).map(|given| given.sent.as_str()),
            _ => None,
        }
    }

    /// Whether this value of the person may go out.
    pub fn sends(&self, placeholder: Placeholder) -> bool {
        self.only.is_none_or(|only| only.contains(&placeholder))
    }

    /// What the login took under this name.
    pub fn of_login(&self, name: &str) -> Option<&'a str> {
        self.login.map_or(Some("x"), |login| login.get(name))
    }
}

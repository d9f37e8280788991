//! What can stand between braces, and what it stands for in one request.

use crate::fields::FieldSet;
use crate::person::{Given, Person};

use super::taken::Taken;

/// What a request can have a place for: a value of the contact, or the provider's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    Email,
    FullName,
    FirstName,
    LastName,
    CompanyName,
    CompanyDomain,
    LinkedinUrl,
    LinkedinHandle,
    Phone,
    Location,
    Secret,
}

impl Placeholder {
    /// Every placeholder, for finding one by its name.
    pub const ALL: [Placeholder; 11] = [
        Placeholder::Email,
        Placeholder::FullName,
        Placeholder::FirstName,
        Placeholder::LastName,
        Placeholder::CompanyName,
        Placeholder::CompanyDomain,
        Placeholder::LinkedinUrl,
        Placeholder::LinkedinHandle,
        Placeholder::Phone,
        Placeholder::Location,
        Placeholder::Secret,
    ];

    /// As it stands between the braces.
    pub const fn name(self) -> &'static str {
        match self {
            Placeholder::Email => "email",
            Placeholder::FullName => "full_name",
            Placeholder::FirstName => "first_name",
            Placeholder::LastName => "last_name",
            Placeholder::CompanyName => "company_name",
            Placeholder::CompanyDomain => "company_domain",
            Placeholder::LinkedinUrl => "linkedin_url",
            Placeholder::LinkedinHandle => "linkedin_handle",
            Placeholder::Phone => "phone",
            Placeholder::Location => "location",
            Placeholder::Secret => "secret",
        }
    }

    /// The placeholder of this name; `None`: there is none.
    pub fn parse(name: &str) -> Option<Placeholder> {
        Placeholder::ALL.into_iter().find(|p| p.name() == name)
    }

    /// What no answer fills in.
    pub const SETTLED: [Placeholder; 5] = [
        Placeholder::FullName,
        Placeholder::FirstName,
        Placeholder::LastName,
        Placeholder::Email,
        Placeholder::CompanyDomain,
    ];

    /// The name of the person, whole or in part.
    pub const NAMES: [Placeholder; 3] =
        [Placeholder::FullName, Placeholder::FirstName, Placeholder::LastName];

    /// Whether it stands for a column as it is, not for something that is made of one.
    pub const fn is_column(self) -> bool {
        matches!(
            self,
            Placeholder::Email
                | Placeholder::FullName
                | Placeholder::CompanyName
                | Placeholder::LinkedinUrl
                | Placeholder::Phone
                | Placeholder::Location
        )
    }

    /// What it stands for; none for the secret, which is nobody's, and for what many people share.
    pub fn of(self, person: &Person) -> Option<&Given> {
        if self.is_shared(person) {
            return None;
        }
        match self {
            Placeholder::Email => person.email.as_ref(),
            Placeholder::FullName => person.full_name.as_ref(),
            Placeholder::FirstName => person.first_name(),
            Placeholder::LastName => person.last_name(),
            Placeholder::CompanyDomain => person.company_domain.as_ref(),
            Placeholder::CompanyName => person.company_name.as_ref(),
            Placeholder::LinkedinUrl => person.linkedin_url.as_ref(),
            Placeholder::LinkedinHandle => person.linkedin_handle.as_ref(),
            Placeholder::Phone => person.phone.as_ref(),
            Placeholder::Location => person.location.as_ref(),
            Placeholder::Secret => None,
        }
    }

    const fn is_shared(self, person: &Person) -> bool {
        match self {
            Placeholder::Email => person.shared.email,
            Placeholder::CompanyDomain => person.shared.email && person.domain_of_address,
            Placeholder::LinkedinUrl | Placeholder::LinkedinHandle => person.shared.profile,
            _ => false,
        }
    }

    /// The names that may stand in a template, for messages.
    pub fn listed() -> String {
        let names: Vec<String> = Placeholder::ALL.iter().map(|p| format!("{{{}}}", p.name())).collect();
        names.join(", ")
    }
}

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
}

impl<'a> Values<'a> {
    /// All of a person, and nothing that was taken.
    pub fn of(person: &'a Person, secret: Option<&'a str>) -> Values<'a> {
        static NOTHING: Taken = Taken::NOTHING;
        Values { person, secret, only: None, login: None, taken: &NOTHING, wanted: FieldSet::ALL }
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

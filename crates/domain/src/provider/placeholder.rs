//! What can stand between braces of a request: values of the contact, and the secret.

use crate::person::{Given, Person};

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

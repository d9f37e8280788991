//! What of a person, and of an answer about it, is counted to find what many people have in common.

use std::borrow::Cow;

use uuid::Uuid;

use super::hash::hash;
use super::person::Person;
use super::provider::Verdict;
use super::shared::{Named, Sighting, Value, supplied};

/// The values that identify a person and that many could share, whether they do or not. A role mailbox is known to be many
/// people's: it identifies only together with a name, and the question holds that.
pub fn identifying(workspace: Uuid, person: &Person) -> impl Iterator<Item = Value> {
    let address = person.email.as_ref().filter(|_| !person.role_mailbox);
    let email = address.and_then(|given| Some(Value::email(workspace, given.normal.as_deref()?)));
    let handle = person.linkedin_handle.as_ref();
    let profile = handle.and_then(|given| Some(Value::profile(workspace, given.normal.as_deref()?)));
    email.into_iter().chain(profile)
}

/// The values that a person may be asked with and that are counted: those that identify, and its telephone number.
pub fn counted(workspace: Uuid, person: &Person) -> impl Iterator<Item = Value> {
    let number =
        person.phone.as_ref().and_then(|given| Some(Value::phone(workspace, given.normal.as_deref()?)));
    identifying(workspace, person).chain(number)
}

impl Named {
    /// `None` for a person without a name: it cannot be told from others.
    ///
    /// Titles, second names and the order make nobody somebody else where the split of the name is certain.
    pub fn of(workspace: Uuid, person: &Person) -> Option<Named> {
        let split = person.first_name().zip(person.last_name());
        let called = split.map(|(first, last)| [first.form(), " ", last.form()].concat());
        let called = called.map(Cow::Owned).or_else(|| person.called().map(Cow::Borrowed))?;
        let name = hash(&[b"name", workspace.as_bytes(), called.as_bytes()]);
        Some(Named { name, row: person.row.map(|row| row.hash).unwrap_or_default() })
    }
}

impl Sighting {
    /// With what the answer supplies.
    pub fn with_answer(mut self, workspace: Uuid, provider: Uuid, verdict: &Verdict) -> Sighting {
        if let Verdict::Match { values, .. } = verdict {
            self.values.extend(supplied(workspace, provider, values));
        }
        self
    }
}

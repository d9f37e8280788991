//! Steps 5 to 7 as far as they only look: shared by the batch and by what tells beforehand what a batch would do.

use uuid::Uuid;

use crate::pg::call::batch::FieldRequest;
use crate::pg::call::single;
use crate::pg::provider;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::store::suppressions;
use crate::pg::table::{Binding, Found};
use leadlex_domain::contact::Contact;
use leadlex_domain::failure::Failure;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::{merge, receipt};

/// Whose contacts, of which table, and what is asked of them.
#[derive(Clone, Copy)]
pub struct BatchScope<'a> {
    pub workspace: Uuid,
    pub binding: &'a Binding,
    pub request: FieldRequest,
}

/// What there is to do about a contact.
pub enum Eligibility {
    Missing,
    /// So many rows have this key.
    Several(usize),
    Full(Contact),
    Suppressed(Contact),
    Fillable(Contact, FieldSet),
}

impl Eligibility {
    /// Nothing can be said of the contact where no provider is set up.
    pub fn needs_providers(&self) -> bool {
        matches!(self, Eligibility::Suppressed(_) | Eligibility::Fillable(..))
    }
}

/// The positions of an input.
#[derive(Default)]
pub struct Keys {
    /// In the one spelling that everybody who means this key uses.
    pub known: Vec<(usize, String)>,
    pub bad: Vec<(usize, Failure)>,
}

impl BatchScope<'_> {
    /// The table holds another workspace's rows.
    pub fn is_elsewhere(&self) -> bool {
        !self.binding.may_have_rows_of(self.workspace)
    }

    /// Sorts the ids into keys in their one spelling and failures (LX400), each with its position in the
    /// input from 0.
    pub fn keys(&self, ids: Vec<Option<String>>) -> Keys {
        let mut keys = Keys { known: Vec::with_capacity(ids.len()), bad: Vec::new() };
        for (position, id) in ids.into_iter().enumerate() {
            let missing = || Failure::validation("the id is NULL", "Pass the contact to enrich.");
            let key = id.ok_or_else(missing).and_then(|id| {
                self.binding.canonical_key(&id).ok_or_else(|| single::no_key(self.binding, &id))
            });
            match key {
                Ok(key) => keys.known.push((position, key)),
                Err(failure) => keys.bad.push((position, failure)),
            }
        }
        self.binding.spell(self.workspace, keys.known.iter_mut().map(|(_, id)| id).collect());
        keys
    }

    /// Raises 42501 where the caller may not write what is to be filled.
    pub fn look(&self, found: Found) -> Eligibility {
        let contact = match found {
            Found::Nothing => return Eligibility::Missing,
            Found::Several(count) => return Eligibility::Several(count),
            Found::One(contact) => *contact,
        };
        let fields =
            merge::fillable(&contact, self.request.fields, self.binding.fields(), self.request.overwrite);
        if fields.is_empty() {
            return Eligibility::Full(contact);
        }
        self.binding.require_updatable(fields);
        let row = receipt::person(self.workspace, self.binding.name(), &contact.id);
        let listed = || provider::listed(self.workspace, &contact, row, &Crowd::default());
        if suppressions::any(Some(self.workspace), listed) {
            return Eligibility::Suppressed(contact);
        }
        Eligibility::Fillable(contact, fields)
    }
}

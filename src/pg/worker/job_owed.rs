//! Jobs that would be over while a disabled provider owes what was handed in for them.

use uuid::Uuid;

use crate::pg::call::batch::FieldRequest;
use crate::pg::provider::owed;
use crate::pg::table::Binding;
use leadlex_domain::batch::BatchResult;
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::job::{JobOutcome, Owed};
use leadlex_domain::receipt;

/// The contacts of a visit with which it is over.
pub struct Ends<'a> {
    workspace: Uuid,
    binding: &'a Binding,
    request: FieldRequest,
    /// Nothing was handed in for them before, or no disabled provider can owe anything: nothing is looked up.
    none: bool,
    /// By position: each with what was not filled.
    contacts: Vec<(usize, Contact, FieldSet)>,
}

impl<'a> Ends<'a> {
    /// `admitted`: they are the rest of a call or an earlier visit.
    pub fn of(workspace: Uuid, binding: &'a Binding, request: FieldRequest, admitted: bool) -> Ends<'a> {
        let none = !admitted || !owed::is_possible(workspace);
        Ends { workspace, binding, request, none, contacts: Vec::new() }
    }

    /// What became of the contact at this position.
    pub fn note(&mut self, position: usize, fate: &JobOutcome, line: &BatchResult) {
        let is_over = matches!(fate, JobOutcome::Done(_) | JobOutcome::NoMatch(_));
        // Nothing may be asked about them.
        let is_over = is_over && line.reason.as_deref() != Some("suppressed");
        let Some(contact) = line.contact.as_ref().filter(|_| is_over && !self.none) else { return };
        let missing = match self.request.overwrite {
            true => self.request.fields.minus(line.fields_updated),
            false => self.request.fields.intersect(contact.empty_fields()),
        };
        if !missing.is_empty() {
            self.contacts.push((position, contact.clone(), missing));
        }
    }

    /// Those of which a disabled provider owes something, by position.
    pub fn owed(self) -> Vec<(usize, Owed, Contact)> {
        if self.contacts.is_empty() {
            return Vec::new();
        }
        let row = |contact: &Contact| receipt::person(self.binding.name(), &contact.id);
        let sought: Vec<_> =
            self.contacts.iter().map(|(_, contact, missing)| (contact, row(contact), *missing)).collect();
        let owed = owed::by_disabled(self.workspace, &sought);
        let found = self.contacts.into_iter().zip(owed);
        found.filter_map(|((position, contact, _), owed)| Some((position, owed?, contact))).collect()
    }
}

//! The person that an erasure or an access request is about: a contact, in every workspace in which the caller may act.

use std::rc::Rc;

use uuid::Uuid;

use crate::pg::api::access;
use crate::pg::call::target::Target;
use crate::pg::call::{identity, target};
use crate::pg::installation;
use crate::pg::provider;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::shared::receipts;
use crate::pg::store::receipts as books;
use crate::pg::store::receipts::Person;
use crate::pg::store::{cache, config, history, job_history};
use crate::pg::sys::settings;
use crate::pg::table::Binding;
use leadlex_domain::call_error::Failure;
use leadlex_domain::contact::Contact;
use leadlex_domain::hash::Hash;
use leadlex_domain::identity::WRITE_ENRICH;
use leadlex_domain::shared::{Named, Value};
use leadlex_domain::{person, receipt};

/// The workspace in which the caller may erase; `None`: in all.
///
/// Err is LX401 (no identity) or LX403 (no write:enrich).
pub fn authority() -> Result<Option<Uuid>, Failure> {
    let no_choice = settings::api_key().is_none() && settings::workspace().is_none();
    if no_choice && access::administers() {
        return Ok(None);
    }
    let caller = identity::identify()?;
    match caller.may(WRITE_ENRICH) {
        true => Ok(Some(caller.workspace.id)),
        false => Err(Failure::lacks_permission(WRITE_ENRICH)),
    }
}

/// A contact as an argument names it.
pub struct Subject {
    pub binding: Rc<Binding>,
    /// The key as the row has it.
    pub id: String,
    /// The workspace that the caller is bound to; `None`: an administrator, who acts in all.
    pub only: Option<Uuid>,
    /// Every workspace in which the caller may act, with the contact where it is that workspace's and the caller sees it.
    seen: Vec<(Uuid, Option<Contact>)>,
}

impl Subject {
    /// Err is LX400 (no key of the table), LX401 or LX403. Raises 55000: the table is not bound.
    pub fn find(target: Target, id: &str) -> Result<Subject, Failure> {
        let only = authority()?;
        let binding = target::binding(target);
        let id = binding.canonical_key(id).ok_or_else(|| target::no_key(&binding, id))?;
        let candidates = only.map_or_else(config::all_workspaces, |only| vec![only]);
        let look = |workspace| (workspace, visible(&binding, workspace, &id));
        let mut seen: Vec<(Uuid, Option<Contact>)> = candidates.into_iter().map(look).collect();
        // Two texts can be the same key: then the row tells how it is called.
        let id =
            seen.iter().find_map(|(_, contact)| contact.as_ref()).map_or(id, |contact| contact.id.clone());
        if only.is_none() {
            // The history of workspaces that were dropped has stayed.
            let known = |workspace: &Uuid| seen.iter().any(|(other, _)| other == workspace);
            let mut dropped = history::workspaces_of((&binding.schema, &binding.table), &id);
            dropped.retain(|workspace| !known(workspace));
            seen.extend(dropped.into_iter().map(|workspace| (workspace, None)));
        }
        Ok(Subject { binding, id, only, seen })
    }

    /// In each workspace that has something to do with the contact. The others are not to hold it, nor to throw away what
    /// belongs to somebody else.
    pub fn persons(&self) -> Vec<Person<'_>> {
        let person = |workspace| Person {
            workspace,
            schema: &self.binding.schema,
            table: &self.binding.table,
            contact: &self.id,
            hash: receipt::person(workspace, self.binding.name(), &self.id),
        };
        self.seen
            .iter()
            .map(|(workspace, contact)| (person(*workspace), contact.is_some()))
            .filter(|(person, seen)| *seen || held(person) || queued(person))
            .map(|(person, _)| person)
            .collect()
    }

    /// The workspaces that have the contact, with it.
    pub fn rows(&self) -> impl Iterator<Item = (Uuid, &Contact)> {
        self.seen.iter().filter_map(|(workspace, contact)| Some((*workspace, contact.as_ref()?)))
    }

    /// Whom a row describes, with what the suppression list goes by.
    pub fn described(&self, workspace: Uuid, contact: &Contact) -> person::Person {
        let row = receipt::person(workspace, self.binding.name(), &self.id);
        provider::person_in_row(workspace, contact, row, &Crowd::default())
    }

    /// What providers could have been asked in a workspace about the contact as it is now.
    pub fn questions(&self, workspace: Uuid) -> Vec<Hash> {
        let Some(contact) = visible(&self.binding, workspace, &self.id) else { return Vec::new() };
        let row = receipt::person(workspace, self.binding.name(), &self.id);
        let person = provider::person(&contact);
        cache::providers()
            .iter()
            .filter(|p| provider::serves(p, workspace))
            .flat_map(|p| provider::kept_under(workspace, p, &person, &contact, row))
            .collect()
    }

    /// The name that the contact has now, and the values that providers are asked by, as hashes.
    pub fn name_and_values(&self, workspace: Uuid) -> (Option<Hash>, Vec<Value>) {
        let seen = visible(&self.binding, workspace, &self.id).map(|contact| provider::person(&contact));
        let name = seen.as_ref().and_then(|seen| Named::of(workspace, seen)).map(|named| named.name);
        let values =
            seen.iter().flat_map(|seen| leadlex_domain::sighting::counted(workspace, seen)).collect();
        (name, values)
    }
}

/// Something is in the books, or on its way there.
fn held(person: &Person) -> bool {
    let database = installation::receipt_key(person.hash).database;
    receipts::with(|arena| arena.waiting_for(database, person.hash)) || books::holds(person)
}

fn queued(person: &Person) -> bool {
    job_history::holds(person.workspace, person.schema, person.table, person.contact)
}

/// The contact, if it is this workspace's and the caller sees it.
fn visible(binding: &Binding, workspace: Uuid, id: &str) -> Option<Contact> {
    binding.may_have_rows_of(workspace).then(|| binding.read(workspace, id)).flatten()
}

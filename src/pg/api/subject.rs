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
use crate::pg::store::receipts as stored;
use crate::pg::store::receipts::Person;
use crate::pg::store::{cache, config, job_history};
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
    if settings::api_key().is_none() && access::administers() {
        // An administrator needs no grant: neither for all of them, nor for one.
        return settings::workspace().map(|wanted| named(&wanted)).transpose();
    }
    let caller = identity::identify()?;
    match caller.may(WRITE_ENRICH) {
        true => Ok(Some(caller.workspace.id)),
        false => Err(Failure::lacks_permission(WRITE_ENRICH)),
    }
}

/// Err is LX401: there is no such workspace.
fn named(wanted: &str) -> Result<Uuid, Failure> {
    config::workspace_named(wanted).ok_or_else(|| {
        Failure::invalid_key(
            format!("leadlex.workspace is \"{wanted}\", and there is no such workspace"),
            "Set leadlex.workspace to the name or id of a workspace, or RESET it: leadlex.workspace lists them.",
        )
    })
}

/// A contact as an argument names it.
pub struct Subject {
    pub binding: Rc<Binding>,
    /// The key as the row has it.
    pub id: String,
    /// The workspace that the caller is bound to; `None`: an administrator, who acts in all.
    pub only: Option<Uuid>,
    /// See [`receipt::person`].
    hash: Hash,
    /// The contact, in each workspace that has it, as far as the caller may act there and sees it.
    seen: Vec<(Uuid, Contact)>,
}

impl Subject {
    /// Err is LX400 (no key of the table), LX401 or LX403. Raises 55000: the table is not bound.
    pub fn find(target: Target, id: &str) -> Result<Subject, Failure> {
        let only = authority()?;
        let binding = target::binding(target);
        let id = binding.canonical_key(id).ok_or_else(|| target::no_key(&binding, id))?;
        let seen = match only {
            Some(only) => visible(&binding, only, &id).map(|contact| (only, contact)).into_iter().collect(),
            None => rows_of(&binding, &id),
        };
        // Two texts can be the same key: then the row tells how it is called.
        let id = seen.first().map_or(id, |(_, contact)| contact.id.clone());
        let hash = receipt::person(binding.name(), &id);
        Ok(Subject { binding, id, only, hash, seen })
    }

    /// In each workspace that has something to do with the contact, in order. The others are not to hold it, nor to throw away
    /// what belongs to somebody else.
    pub fn persons(&self) -> Vec<Person<'_>> {
        let person = |workspace| Person {
            workspace,
            schema: &self.binding.schema,
            table: &self.binding.table,
            contact: &self.id,
            hash: self.hash,
        };
        let mut workspaces: Vec<Uuid> = self.seen.iter().map(|(workspace, _)| *workspace).collect();
        match self.only {
            None => workspaces.extend(self.known_in()),
            Some(only) if workspaces.is_empty() => workspaces.extend(Some(only).filter(|only| {
                let person = person(*only);
                held(&person) || queued(&person)
            })),
            Some(_) => {}
        }
        workspaces.sort_unstable();
        workspaces.dedup();
        workspaces.into_iter().map(person).collect()
    }

    /// The workspaces in which something is in the tables, on its way there, or queued, whether they have the contact or not: also
    /// those that are gone. None of them is asked by itself, so that it takes as long beside many as beside few.
    fn known_in(&self) -> Vec<Uuid> {
        let table = (self.binding.schema.as_str(), self.binding.table.as_str());
        let database = installation::receipt_key(self.hash).database;
        // In this order: what is gone from there is in the tables by then.
        let mut known = receipts::with(|arena| arena.workspaces_waiting_for(database, self.hash));
        known.extend(stored::workspaces_of(table, &self.id, self.hash));
        known.extend(job_history::workspaces_of(table, &self.id));
        known
    }

    /// The workspaces that have the contact, with it.
    pub fn rows(&self) -> impl Iterator<Item = (Uuid, &Contact)> {
        self.seen.iter().map(|(workspace, contact)| (*workspace, contact))
    }

    /// Whom a row describes, with what the suppression list goes by.
    pub fn described(&self, workspace: Uuid, contact: &Contact) -> person::Person {
        provider::person_in_row(workspace, contact, self.hash, &Crowd::default())
    }

    /// What providers could have been asked in a workspace about the contact as it is now.
    pub fn questions(&self, workspace: Uuid) -> Vec<Hash> {
        let Some(contact) = visible(&self.binding, workspace, &self.id) else { return Vec::new() };
        let person = provider::person(&contact);
        cache::providers()
            .iter()
            .filter(|p| provider::serves(p, workspace))
            .flat_map(|p| provider::kept_under(workspace, p, &person, &contact, self.hash))
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

/// Something is in the tables, or on its way there.
fn held(person: &Person) -> bool {
    let database = installation::receipt_key(person.hash).database;
    receipts::with(|arena| arena.waiting_for(database, person.row())) || stored::holds(person)
}

fn queued(person: &Person) -> bool {
    job_history::holds(person.workspace, person.schema, person.table, person.contact)
}

/// The contact in each workspace that there is and that has it, as far as the caller sees it: a table whose key is unique in
/// a workspace alone has several rows of one key.
///
/// Raises 42P01, 42703, 42804 or 42809: the table has changed since it was bound.
pub fn rows_of(binding: &Binding, id: &str) -> Vec<(Uuid, Contact)> {
    let there =
        binding.workspaces_of(id).into_iter().filter(|workspace| cache::workspace(*workspace).is_some());
    there.filter_map(|workspace| Some((workspace, visible(binding, workspace, id)?))).collect()
}

/// The contact, if it is this workspace's and the caller sees it.
fn visible(binding: &Binding, workspace: Uuid, id: &str) -> Option<Contact> {
    binding.may_have_rows_of(workspace).then(|| binding.read(workspace, id)).flatten()
}

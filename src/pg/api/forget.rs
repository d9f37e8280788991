//! Erasing what is held on a person.

use crate::pg::api::access;
use crate::pg::installation;
use crate::pg::sys::clock;
use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use serde_json::json;

use crate::pg::call::target;
use crate::pg::call::target::Target;
use crate::pg::call::{identity, preconditions};
use crate::pg::provider;
use crate::pg::shared::claims;
use crate::pg::shared::receipts;
use crate::pg::store::cache;
use crate::pg::store::receipts as books;
use crate::pg::store::receipts::{Erased, Person};
use crate::pg::store::{config, job_history, shared_values};
use crate::pg::sys::{raise, settings};
use crate::pg::table::Binding;
use leadlex_domain::call_error::Failure;
use leadlex_domain::contact::Contact;
use leadlex_domain::hash::Hash;
use leadlex_domain::identity::WRITE_ENRICH;
use leadlex_domain::receipt;
use leadlex_domain::shared::{Named, Value};

/// leadlex.forget_contact(contact_id uuid): erases what is held on a contact of the table that was bound
/// first. Returns JSON with the number of erased entries of each kind. The contact's row stays.
///
/// Raises LX400: the id is NULL, or no key of the table.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 55000: no table is bound; the worker did not write waiting answers in time; not installed, another
/// version, not preloaded.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 53200: there is no room for another claim. 53400: leadlex.max_databases is too small.
#[pg_extern(sql = false)]
fn forget_contact(contact_id: Option<Uuid>) -> JsonB {
    let id = contact_id.map(|id| super::plain(id).to_string());
    raised(None, id, "contact_id")
}

/// leadlex.forget_row(relation regclass, id text): the same for any bound table. Raises the errors of
/// forget_contact; LX400 also where `relation` is NULL.
#[pg_extern(sql = false)]
fn forget_row(relation: Option<pg_sys::Oid>, id: Option<String>) -> JsonB {
    of_row(relation, id)
}

/// leadlex.forget_row(relation regclass, id bigint): as forget_row with the key as text, with the same
/// errors.
#[pg_extern(sql = false)]
fn forget_row_bigint(relation: Option<pg_sys::Oid>, id: Option<i64>) -> JsonB {
    of_row(relation, id.map(|id| id.to_string()))
}

/// leadlex.forget_row(relation regclass, id uuid): as forget_row with the key as text, with the same errors.
#[pg_extern(sql = false)]
fn forget_row_uuid(relation: Option<pg_sys::Oid>, id: Option<Uuid>) -> JsonB {
    of_row(relation, id.map(|id| super::plain(id).to_string()))
}

fn of_row(relation: Option<pg_sys::Oid>, id: Option<String>) -> JsonB {
    let (id, name) = if relation.is_some() { (id, "id") } else { (None, "relation") };
    raised(relation, id, name)
}

fn raised(target: Target, id: Option<String>, name: &str) -> JsonB {
    cache::refresh();
    let missing = || Failure::validation(format!("{name} must not be NULL"), "Pass the contact to forget.");
    let result = id.ok_or_else(missing).and_then(|id| forget(target, &id));
    JsonB(result.unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None))))
}

/// The workspace in which the caller may erase; `None`: in all.
///
/// Err is LX401 (no identity) or LX403 (no write:enrich).
pub fn authority() -> Result<Option<uuid::Uuid>, Failure> {
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

fn forget(target: Target, id: &str) -> Result<serde_json::Value, Failure> {
    preconditions::require_writable();
    let workspace = authority()?;
    let binding = target::binding(target);
    let id = binding.canonical_key(id).ok_or_else(|| target::no_key(&binding, id))?;
    let table = binding.name();
    let candidates = match workspace {
        Some(only) => vec![only],
        None => config::all_workspaces(),
    };
    let seen: Vec<(uuid::Uuid, Option<Contact>)> =
        candidates.into_iter().map(|workspace| (workspace, visible(&binding, workspace, &id))).collect();
    // Two texts can be the same key: then the row tells how it is called.
    let id = seen.iter().find_map(|(_, contact)| contact.as_ref()).map_or(id, |contact| contact.id.clone());
    let persons: Vec<Person> = seen
        .iter()
        .map(|(workspace, contact)| {
            let person = Person {
                workspace: *workspace,
                schema: &binding.schema,
                table: &binding.table,
                contact: &id,
                hash: receipt::person(*workspace, table, &id),
            };
            (person, contact.is_some())
        })
        // Who has nothing to do with the contact is not to hold it, nor to throw away what others have bought.
        .filter(|(person, seen)| *seen || held(person) || queued(person))
        .map(|(person, _)| person)
        .collect();
    let erased = if persons.is_empty() { Erased::default() } else { erase(&binding, &persons) };
    Ok(json!({
        "contact_id": id,
        "history": erased.history,
        "receipts": erased.receipts,
        "tickets": erased.tickets,
        "stored_results": erased.stored_results,
        "jobs": erased.jobs,
        "undone": erased.undone,
        "outcomes": erased.outcomes,
        "checked": erased.checked,
    }))
}

/// Something is in the books, or on its way there.
fn held(person: &Person) -> bool {
    let database = installation::receipt_key(person.hash).database;
    receipts::with(|arena| arena.waiting_for(database, person.hash)) || books::holds(person)
}

fn queued(person: &Person) -> bool {
    job_history::holds(person.workspace, person.schema, person.table, person.contact)
}

fn erase(binding: &Binding, persons: &[Person]) -> Erased {
    // First, as a worker takes them: the set, then the contact.
    let of_queue = |p: &Person| Erased {
        jobs: job_history::erase(p.workspace, p.schema, p.table, p.contact),
        ..Erased::default()
    };
    let jobs = persons.iter().map(of_queue).fold(Erased::default(), Erased::and);
    // No call about this contact is under way from here on, nor until this is committed.
    // Only within these workspaces: what is another's is not held, nor waited for.
    for person in persons {
        let claim = target::contact_claim(binding, person.workspace, person.contact);
        claims::claim(claim);
        claims::unlock(&claim);
    }
    let questions: Vec<Hash> =
        persons.iter().flat_map(|p| questions(p.workspace, binding, p.contact)).collect();
    wait_for_the_books(persons, &questions);
    persons.iter().for_each(|person| erase_names(binding, person));
    persons.iter().map(|person| books::erase(person, &questions)).fold(jobs, Erased::and)
}

/// What values came up with the person's name, as the contact is now and as it was then.
fn erase_names(binding: &Binding, person: &Person) {
    let seen = visible(binding, person.workspace, person.contact).map(|contact| provider::person(&contact));
    let name = seen.as_ref().and_then(|seen| Named::of(person.workspace, seen)).map(|named| named.name);
    let values: Vec<Value> =
        seen.iter().flat_map(|seen| leadlex_domain::sighting::identifying(person.workspace, seen)).collect();
    let most = settings::max_people_per_value().unwrap_or_default();
    shared_values::erase((person.workspace, person.hash), name, &values, most);
}

/// The contact, if it is this workspace's and the caller sees it.
fn visible(binding: &Binding, workspace: uuid::Uuid, id: &str) -> Option<Contact> {
    binding.may_have_rows_of(workspace).then(|| binding.read(workspace, id)).flatten()
}

/// What providers could have been asked about the contact as it is now.
fn questions(workspace: uuid::Uuid, binding: &Binding, id: &str) -> Vec<Hash> {
    let Some(contact) = visible(binding, workspace, id) else { return Vec::new() };
    let row = receipt::person(workspace, binding.name(), id);
    let person = provider::person(&contact);
    cache::providers()
        .iter()
        .filter(|p| provider::serves(p, workspace))
        .flat_map(|p| provider::kept_under(workspace, p, &person, &contact, row))
        .collect()
}

/// What is on its way into the books must be there, to be erased with the rest. What arrives later is thrown away.
fn wait_for_the_books(persons: &[Person], questions: &[Hash]) {
    let keys: Vec<receipts::Key> = questions.iter().map(|hash| installation::receipt_key(*hash)).collect();
    let database = installation::receipt_key(persons[0].hash).database;
    let on_their_way = || {
        receipts::with(|arena| {
            persons.iter().any(|p| arena.waiting_for(database, p.hash)) || arena.waiting_on(&keys)
        })
    };
    let (now, uptime) = (clock::now_us(), clock::uptime_s());
    receipts::with(|arena| persons.iter().for_each(|p| arena.erase(p.hash, now, uptime)));
    super::wait_for_the_books(on_their_way, "Nothing was erased.");
}

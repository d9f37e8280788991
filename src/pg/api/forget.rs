//! Erasing what is held on a person.

use crate::pg::installation;
use crate::pg::sys::clock;
use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use serde_json::{Value, json};

use crate::pg::api::subject::Subject;
use crate::pg::call::target::Target;
use crate::pg::call::{preconditions, target};
use crate::pg::shared::{claims, receipts};
use crate::pg::store::receipts as stored;
use crate::pg::store::receipts::{Erased, Person};
use crate::pg::store::suppressions::Listing;
use crate::pg::store::{cache, erasures, job_history, shared_values, suppressions};
use crate::pg::sys::spi::About;
use crate::pg::sys::{raise, role, settings};
use leadlex_domain::call_error::Failure;
use leadlex_domain::hash::Hash;
use leadlex_domain::suppression;

/// Why somebody is on the suppression list.
const REASON: &str = "erased on request";

/// leadlex.forget_contact(contact_id uuid, suppress boolean): erases what is held on a contact of the table that
/// was bound first. With `suppress` the person is put on the suppression list, too: of the caller's workspace, or of
/// all where an administrator erases in all. Returns JSON with the number of erased entries of each kind, and
/// `suppressed`: whether the person is on the list now (null: no row says who it is). The contact's row stays.
///
/// Raises LX400: the id is NULL, or no key of the table.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 55000: no table is bound; the worker did not write waiting answers in time; not installed, another
/// version, not preloaded.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 53200: there is no room for another claim. 53400: leadlex.max_databases is too small.
#[pg_extern(sql = false)]
fn forget_contact(contact_id: Option<Uuid>, suppress: Option<bool>) -> JsonB {
    let id = contact_id.map(|id| super::plain(id).to_string());
    raised(None, id, "contact_id", suppress)
}

/// leadlex.forget_row(relation regclass, id text, suppress boolean): the same for any bound table. Raises the errors
/// of forget_contact; LX400 also where `relation` is NULL.
#[pg_extern(sql = false)]
fn forget_row(relation: Option<pg_sys::Oid>, id: Option<String>, suppress: Option<bool>) -> JsonB {
    of_row(relation, id, suppress)
}

/// leadlex.forget_row(relation regclass, id bigint, suppress boolean): as forget_row with the key as text, with the
/// same errors.
#[pg_extern(sql = false)]
fn forget_row_bigint(relation: Option<pg_sys::Oid>, id: Option<i64>, suppress: Option<bool>) -> JsonB {
    of_row(relation, id.map(|id| id.to_string()), suppress)
}

/// leadlex.forget_row(relation regclass, id uuid, suppress boolean): as forget_row with the key as text, with the same
/// errors.
#[pg_extern(sql = false)]
fn forget_row_uuid(relation: Option<pg_sys::Oid>, id: Option<Uuid>, suppress: Option<bool>) -> JsonB {
    of_row(relation, id.map(|id| super::plain(id).to_string()), suppress)
}

fn of_row(relation: Option<pg_sys::Oid>, id: Option<String>, suppress: Option<bool>) -> JsonB {
    let (id, name) = if relation.is_some() { (id, "id") } else { (None, "relation") };
    raised(relation, id, name, suppress)
}

fn raised(target: Target, id: Option<String>, name: &str, suppress: Option<bool>) -> JsonB {
    cache::refresh();
    let missing = || Failure::validation(format!("{name} must not be NULL"), "Pass the contact to forget.");
    let result = id.ok_or_else(missing).and_then(|id| forget(target, &id, suppress.unwrap_or(false)));
    JsonB(result.unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None))))
}

fn forget(target: Target, id: &str, suppress: bool) -> Result<Value, Failure> {
    preconditions::require_writable();
    let subject = Subject::find(target, id)?;
    let suppressed = suppressed(&subject, suppress);
    let persons = subject.persons();
    let erased = if persons.is_empty() { Vec::new() } else { erase(&subject, &persons) };
    if erased.iter().any(|erased| erased.tickets > 0) {
        super::note_withdrawn_tickets();
    }
    let by = role::role_name(role::caller());
    for (person, erased) in persons.iter().zip(&erased).filter(|(_, erased)| erased.total() > 0) {
        erasures::note(person, &by, erased);
    }
    let mut result = json!({"contact_id": subject.id, "suppressed": suppressed});
    let all = erased.into_iter().fold(Erased::default(), Erased::and);
    if let Some(result) = result.as_object_mut() {
        result.extend(all.counts().into_iter().map(|(kind, count)| (kind.to_owned(), json!(count))));
    }
    Ok(result)
}

/// Whether the person is on the suppression list, where it is asked for from now on. `None`: no row says who it is.
fn suppressed(subject: &Subject, suppress: bool) -> Option<bool> {
    if subject.rows().next().is_none() {
        if suppress {
            raise::warning(
                "the contact was not put on the suppression list",
                "Its row or workspace is gone, or the caller does not see it: nothing says who it is.",
                "An administrator lists an address or a profile: SELECT leadlex.suppress('ADDRESS_OR_PROFILE').",
                &About::default(),
            );
        }
        return None;
    }
    if suppress {
        let source = role::role_name(role::caller());
        let listing = Listing { reason: REASON, source: &source, until: None };
        let listed_by =
            |(workspace, contact)| suppression::of_refusal(&subject.described(workspace, contact));
        let mut people: Vec<Hash> = subject.rows().flat_map(listed_by).collect();
        people.sort_unstable();
        people.dedup();
        suppressions::add(subject.only, &people, &listing);
        return Some(true);
    }
    // Whom it is, is asked only where there is a list.
    Some(subject.rows().any(|(workspace, contact)| {
        let people = || suppression::of_person(&subject.described(workspace, contact), contact);
        suppressions::any(Some(workspace), people)
    }))
}

/// Of each person what was erased.
fn erase(subject: &Subject, persons: &[Person]) -> Vec<Erased> {
    // First, as a worker takes them: the set, then the contact.
    let jobs: Vec<u64> =
        persons.iter().map(|p| job_history::erase(p.workspace, p.schema, p.table, p.contact)).collect();
    // No call about this contact is under way from here on, nor until this is committed.
    // Only within these workspaces: what is another's is not held, nor waited for.
    for person in persons {
        let claim = target::contact_claim(&subject.binding, person.workspace, person.contact);
        claims::claim(claim);
        claims::unlock(&claim);
    }
    let questions: Vec<Hash> = persons.iter().flat_map(|p| subject.questions(p.workspace)).collect();
    wait_for_the_books(persons, &questions);
    let names: Vec<u64> = persons.iter().map(|person| erase_names(subject, person)).collect();
    let with = |((person, jobs), value_names): ((&Person, u64), u64)| Erased {
        jobs,
        value_names,
        ..stored::erase(person, &questions)
    };
    persons.iter().zip(jobs).zip(names).map(with).collect()
}

/// What values came up with the person's name, as the contact is now and as it was then; how many.
fn erase_names(subject: &Subject, person: &Person) -> u64 {
    let (name, values) = subject.name_and_values(person.workspace);
    let most = settings::max_people_per_value().unwrap_or_default();
    shared_values::erase((person.workspace, person.hash), name, &values, most)
}

/// What is on its way into the tables must be there, to be erased with the rest. What arrives later is thrown away.
fn wait_for_the_books(persons: &[Person], questions: &[Hash]) {
    let keys: Vec<receipts::ReceiptKey> =
        questions.iter().map(|hash| installation::receipt_key(*hash)).collect();
    let database = installation::receipt_key(persons[0].hash).database;
    let on_their_way = || {
        receipts::with(|arena| {
            persons.iter().any(|p| arena.waiting_for(database, p.row())) || arena.waiting_on(&keys)
        })
    };
    let (now, uptime) = (clock::now_us(), clock::uptime_s());
    receipts::with(|arena| persons.iter().for_each(|p| arena.erase(p.row(), now, uptime)));
    super::wait_for_the_books(on_their_way, "Nothing was erased.");
}

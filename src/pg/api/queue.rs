//! leadlex.enqueue, enqueue_rows, retry_jobs; pausing.

use crate::pg::api::subject;
use crate::pg::sys::role;
use crate::pg::table;
use std::collections::HashSet;

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::call::batch::{FieldRequest, caps};
use crate::pg::call::enqueue::Rest;
use crate::pg::call::target;
use crate::pg::call::target::Target;
use crate::pg::call::{enqueue, preconditions};
use crate::pg::shared::transaction;
use crate::pg::store::cache;
use crate::pg::store::job_history;
use crate::pg::store::jobs::Progress;
use crate::pg::store::queue_pause;
use crate::pg::store::queue_pause::Pause;
use crate::pg::store::stop;
use crate::pg::sys::raise;
use crate::pg::table::Binding;
use leadlex_domain::ask;
use leadlex_domain::call_error::Failure;
use leadlex_domain::identity::WRITE_ENRICH;

/// leadlex.enqueue(contact_ids uuid[], fields text[], overwrite boolean, priority integer): queues contacts
/// of the table that was bound first; those of lower `priority` are begun first, NULL is 0. Returns how many were queued: not those that wait already, nor those that the caller
/// cannot see. A NOTICE tells when the queue is paused.
///
/// Raises LX400: an id is NULL or no key of the table, or `fields` has an unknown name.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 42501: the caller may not read the bound columns, or write none of the fields.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 55000: the table is not bound; the role may not log in (before PostgreSQL 17); not installed,
/// another version, not preloaded.
/// Raises 53400: it could exceed leadlex.max_contacts_per_statement or leadlex.max_cost_per_statement.
#[pg_extern(sql = false)]
fn enqueue(
    contact_ids: Option<Vec<Option<Uuid>>>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    priority: Option<i32>,
) -> i64 {
    let plain = |id: Option<Uuid>| id.map(|id| super::plain(id).to_string());
    let ids = contact_ids.map(|ids| ids.into_iter().map(plain).collect());
    raised(|| add(None, ids, "contact_ids", (fields, overwrite, priority)))
}

/// leadlex.enqueue_rows(relation regclass, ids text[], fields text[], overwrite boolean, priority integer):
/// the same for any bound table.
///
/// Raises the errors of leadlex.enqueue, and LX400 where `relation` is NULL.
#[pg_extern(sql = false)]
fn enqueue_rows(
    relation: Option<pg_sys::Oid>,
    ids: Option<Vec<Option<String>>>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    priority: Option<i32>,
) -> i64 {
    raised(|| {
        if relation.is_none() {
            return Err(Failure::validation("relation must not be NULL", "Pass the table of the contacts."));
        }
        add(relation, ids, "ids", (fields, overwrite, priority))
    })
}

fn raised<R>(work: impl FnOnce() -> Result<R, Failure>) -> R {
    cache::refresh();
    work().unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)))
}

fn add(
    target: Target,
    ids: Option<Vec<Option<String>>>,
    name: &str,
    (fields, overwrite, priority): (Option<Vec<Option<String>>>, Option<bool>, Option<i32>),
) -> Result<i64, Failure> {
    let fields = ask::fields_asked(fields)?;
    preconditions::require_writable();
    let caller = target::identify()?;
    if !caller.may(WRITE_ENRICH) {
        return Err(Failure::lacks_permission(WRITE_ENRICH));
    }
    let binding = target::binding(target);
    let ids = keys(&binding, caller.workspace.id, ids.unwrap_or_default(), name)?;
    if ids.is_empty() {
        return Ok(0);
    }
    // Looked at again when the jobs run, but then nobody sees it at once.
    binding.require_some_updatable(fields);
    let role = role::caller();
    require_login(role);
    let request = FieldRequest { fields, overwrite: overwrite.unwrap_or(false) };
    caps::require(caller.workspace.id, &binding, ids.iter().cloned().map(Some), request);
    let rest = Rest {
        workspace: caller.workspace.id,
        binding: &binding,
        fields,
        overwrite: request.overwrite,
        progress: Progress::default(),
        priority: priority.unwrap_or(0),
        failed: Vec::new(),
    };
    let count = enqueue::add_for_caller(&rest, ids);
    tell_of_pause();
    Ok(count as i64)
}

fn tell_of_pause() {
    match enqueue::paused() {
        None => {}
        Some(Pause::Clone) => pgrx::notice!(
            "this database is a copy, or was restored: nothing is begun before leadlex.resume_queue()"
        ),
        Some(Pause::Stopped) => {
            pgrx::notice!("leadlex.stop() is in force: nothing is begun before leadlex.resume()")
        }
        Some(Pause::ByHand) => {
            pgrx::notice!("the queue is paused: nothing is begun before leadlex.resume_queue()")
        }
        Some(Pause::ReadOnly) => {
            pgrx::notice!("default_transaction_read_only is on: nothing is begun before it is off")
        }
    }
}

/// Each key of a row that the caller sees, once, in its one spelling.
fn keys(
    binding: &Binding,
    workspace: uuid::Uuid,
    ids: Vec<Option<String>>,
    name: &str,
) -> Result<Vec<String>, Failure> {
    let mut keys = Vec::with_capacity(ids.len());
    for id in ids {
        let missing = || Failure::validation(format!("{name} contains a NULL"), "Leave it out.");
        let id = id.ok_or_else(missing)?;
        keys.push(binding.canonical_key(&id).ok_or_else(|| target::no_key(binding, &id))?);
    }
    binding.require_readable();
    // The table holds another workspace's rows.
    if !binding.may_have_rows_of(workspace) {
        return Ok(Vec::new());
    }
    let mut keys = seen(binding, workspace, &keys);
    let mut met = HashSet::with_capacity(keys.len());
    keys.retain(|key| met.insert(key.clone()));
    Ok(keys)
}

fn seen(binding: &Binding, workspace: uuid::Uuid, keys: &[String]) -> Vec<String> {
    const PORTION: usize = 1_000;
    let mut seen = Vec::with_capacity(keys.len());
    for portion in keys.chunks(PORTION) {
        pgrx::check_for_interrupts!();
        let ids: Vec<&str> = portion.iter().map(String::as_str).collect();
        seen.extend(binding.seen(workspace, &ids).into_iter().flatten());
    }
    seen
}

fn require_login(role: pg_sys::Oid) {
    if !role::can_have_workers(role) {
        let name = role::name_of(role);
        raise::not_ready(
            format!("the role {name} may not log in, so no background worker can run its jobs"),
            "Before PostgreSQL 17 it has to: ALTER ROLE … LOGIN (without a password, if only its jobs are to use it), or queue as another role.",
        )
    }
}

/// leadlex.retry_jobs(state text, relation regclass): lets jobs of the caller's workspace that are `dead` or
/// `queued` be tried at once; an administrator without a chosen workspace does so in all. `relation` NULL is
/// every table. Returns the number of contacts.
///
/// Raises LX400: `state` is another word, or NULL. 40001: a job has changed since the transaction's snapshot.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
#[pg_extern(sql = false)]
fn retry_jobs(state: Option<&str>, relation: Option<pg_sys::Oid>) -> i64 {
    raised(|| {
        let state = match state {
            Some(state @ ("dead" | "queued")) => state,
            _ => return Err(Failure::validation("state must be dead or queued", "See leadlex.job.")),
        };
        preconditions::require_writable();
        let workspace = subject::authority()?;
        let names = relation.map(table::names_of);
        let table = names.as_ref().map(|(schema, table)| (schema.as_str(), table.as_str()));
        let mut count = 0;
        for (role, contacts) in job_history::retry(state, workspace, table) {
            count += contacts;
            role.into_iter().for_each(enqueue::note);
        }
        transaction::mark_called();
        Ok(count)
    })
}

/// leadlex.queue_paused(): why no job of the caller is begun; NULL where the queue runs.
///
/// Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn queue_paused() -> Option<&'static str> {
    cache::refresh();
    enqueue::paused().map(Pause::name)
}

/// leadlex.pause_queue(): pauses the queue of this database, and notes the caller's role.
///
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
#[pg_extern(sql = false)]
fn pause_queue() {
    cache::refresh();
    preconditions::require_writable();
    transaction::mark_called();
    queue_pause::pause(&role::role_name(role::caller()));
    stop::note_change(false);
}

/// leadlex.resume_queue(): ends the pause, also that of a copied database. Raises the errors of pause_queue.
#[pg_extern(sql = false)]
fn resume_queue() {
    cache::refresh();
    preconditions::require_writable();
    queue_pause::resume();
    stop::note_change(false);
    transaction::mark_called();
    transaction::with(|t| t.resumed = true);
}

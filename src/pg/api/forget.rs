//! Erasing what is held on a person.

use std::time::{Duration, Instant};

use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use serde_json::{Value, json};

use crate::domain::failure::Failure;
use crate::domain::identity::WRITE_ENRICH;
use crate::domain::receipt::{self, Hash};
use crate::pg::desk::{self, Target};
use crate::pg::receipts;
use crate::pg::store::receipts::{self as books, Person};
use crate::pg::table::Binding;
use crate::pg::{accounts, cache, claims, guards, identity, provider, raise, settings, wait, worker};

/// How long answers that are not in the books yet may take to get there.
const PATIENCE: Duration = Duration::from_secs(5);

#[pg_extern(sql = false)]
fn forget_contact(contact_id: Option<Uuid>) -> JsonB {
    let id = contact_id.map(|id| super::plain(id).to_string());
    raised(None, id, "contact_id")
}

#[pg_extern(sql = false)]
fn forget_row(relation: Option<pg_sys::Oid>, id: Option<String>) -> JsonB {
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
fn authority() -> Result<Option<uuid::Uuid>, Failure> {
    let no_choice = settings::api_key().is_none() && settings::workspace().is_none();
    if no_choice && super::identity::administers() {
        return Ok(None);
    }
    let caller = identity::identify()?;
    match caller.may(WRITE_ENRICH) {
        true => Ok(Some(caller.workspace.id)),
        false => Err(Failure::lacks_permission(WRITE_ENRICH)),
    }
}

fn forget(target: Target, id: &str) -> Result<Value, Failure> {
    guards::require_writable();
    let workspace = authority()?;
    let binding = desk::binding(target);
    let id = binding.canonical_key(id).ok_or_else(|| desk::no_key(&binding, id))?;
    let table = binding.name();
    let id = match workspace.or(binding.workspace) {
        // Two texts can be the same key.
        Some(known) if binding.spelling_may_vary() => {
            binding.read(known, &id).map_or(id, |contact| contact.id)
        }
        _ => id,
    };
    let hash = receipt::person(&table, &id);
    // No call about this contact is under way from here on, nor until this is committed.
    let claim = desk::contact_claim(&binding, &id);
    claims::claim(claim);
    claims::unlock(&claim);
    let workspaces = match workspace {
        Some(only) => vec![only],
        None => {
            let mut held = books::held_in(&binding.schema, &binding.table, &id, hash);
            held.extend(binding.workspace);
            held
        }
    };
    let questions: Vec<Hash> =
        workspaces.iter().flat_map(|&workspace| questions(workspace, &binding, &id)).collect();
    wait_for_the_books(hash, &questions);
    let erased = books::erase(&Person {
        workspace,
        schema: &binding.schema,
        table: &binding.table,
        contact: &id,
        hash,
        questions: &questions,
    });
    Ok(json!({
        "contact_id": id,
        "history": erased.history,
        "receipts": erased.receipts,
        "stored_results": erased.stored_results,
    }))
}

/// What providers could have been asked about the contact as it is now.
fn questions(workspace: uuid::Uuid, binding: &Binding, id: &str) -> Vec<Hash> {
    let Some(contact) = binding.read(workspace, id) else { return Vec::new() };
    cache::providers()
        .iter()
        .filter(|p| provider::serves(p, workspace))
        .filter_map(|p| provider::questions(workspace, p, p.config.as_ref().ok()?, &contact))
        .flat_map(|questions| questions.hashes)
        .collect()
}

/// What is on its way into the books must be there, to be erased with the rest. What arrives later is thrown away.
fn wait_for_the_books(person: Hash, questions: &[Hash]) {
    let keys: Vec<receipts::Key> = questions.iter().map(|hash| provider::receipt_key(*hash)).collect();
    let database = provider::receipt_key(person).database;
    let until = Instant::now() + PATIENCE;
    let on_their_way =
        || receipts::with(|arena| arena.waiting_for(database, person) || arena.waiting_on(&keys));
    receipts::with(|arena| arena.erase(person, accounts::now_us()));
    while on_their_way() {
        if Instant::now() >= until {
            raise::not_ready(
                "the background worker did not write waiting receipts in time",
                "Nothing was erased. See leadlex.worker_status and the server log; max_worker_processes may be used up.",
            );
        }
        worker::wake();
        wait::nap(Duration::from_millis(20));
    }
}

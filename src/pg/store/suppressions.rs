//! Who must not be asked about.

use uuid::Uuid;

use super::pg;
use crate::domain::receipt::{Filed, Hash, Refusal};
use crate::pg::owner::as_owner;
use crate::pg::provider::receipt_key;
use crate::pg::spi::{Statement, View, arg};
use crate::pg::{cache, probe, receipts};

/// Stands for every workspace.
const EVERYWHERE: Uuid = Uuid::nil();

/// Whether one of these is on the list, in this workspace or in every one, as committed now.
pub fn any(workspace: Option<Uuid>, hashes: &[Hash]) -> bool {
    let people: Vec<pgrx::Uuid> = hashes.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect();
    let table = cache::installation().suppressions;
    if people.is_empty() {
        return false;
    }
    if waiting(workspace, hashes) {
        return true;
    }
    if probe::is_empty(table) {
        return false;
    }
    let of = |workspace| probe::any(table, pg(workspace), &people);
    of(EVERYWHERE) || workspace.is_some_and(of)
}

/// A provider has refused to tell about one of these, and the books do not say so yet.
pub fn waiting(workspace: Option<Uuid>, people: &[Hash]) -> bool {
    let found: Vec<Vec<u8>> =
        receipts::with(|arena| people.iter().filter_map(|hash| arena.find(&receipt_key(*hash))).collect());
    let here =
        |refusal: &Refusal| refusal.workspace.is_none_or(|other| workspace.is_none_or(|own| own == other));
    found.iter().filter_map(|bytes| Filed::from_bytes(bytes)).any(|filed| filed.refusal().is_some_and(here))
}

static ADD: Statement = Statement::new(
    "INSERT INTO leadlex.suppression AS s (workspace_id, person, reason, source)
     SELECT $1, p.person, $3, $4 FROM pg_catalog.unnest($2) AS p(person)
     ON CONFLICT (workspace_id, person) DO NOTHING",
);

/// How many were not on the list yet.
pub fn add(workspace: Option<Uuid>, people: &[Hash], reason: &str, source: &str) -> u64 {
    let people: Vec<pgrx::Uuid> = people.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect();
    let workspace = workspace.unwrap_or(EVERYWHERE);
    as_owner(|| ADD.run(&[arg(pg(workspace)), arg(people), arg(reason), arg(source)]))
}

/// What a provider refused. A workspace that is gone has nobody left to protect.
pub fn file(refusal: &Refusal) {
    add(
        refusal.workspace,
        &refusal.people,
        "the provider must not tell anything about this person",
        &refusal.source,
    );
}

static REMOVE: Statement = Statement::new(
    "DELETE FROM leadlex.suppression AS s
     WHERE s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.person OPERATOR(pg_catalog.=) ANY ($2)",
);

pub fn remove(workspace: Option<Uuid>, people: &[Hash]) -> u64 {
    let people: Vec<pgrx::Uuid> = people.iter().map(|hash| pgrx::Uuid::from_bytes(*hash)).collect();
    as_owner(|| REMOVE.run_in(View::Serialized, &[arg(pg(workspace.unwrap_or(EVERYWHERE))), arg(people)]))
}

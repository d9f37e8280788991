//! leadlex.refill.

use pgrx::prelude::*;

use crate::pg::api::batch::required_relation;
use crate::pg::call::target::Target;
use crate::pg::call::{preconditions, refilling, target};
use crate::pg::shared::layout;
use crate::pg::store::cache;
use crate::pg::sys::raise;
use leadlex_domain::call_error::Failure;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::identity::WRITE_ENRICH;

/// leadlex.refill(relation regclass, ids text[]): writes the latest value that an enrichment wrote into fields
/// that are empty now. `ids` NULL: all rows of the workspace that the caller sees. Returns the number of rows
/// that were changed.
///
/// Raises LX400: `relation` is NULL.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 42501: the caller may not read the bound columns, or not write those to be filled.
/// Raises 55000: the table is not bound; not installed, another version, not preloaded.
/// Errors of the update of the contacts pass through, but for what a constraint on these fields refuses.
#[pg_extern(sql = false)]
fn refill(relation: Option<pg_sys::Oid>, ids: Option<Vec<Option<String>>>) -> i64 {
    cache::refresh();
    layout::require();
    preconditions::require_writable();
    let target = required_relation(relation);
    let changed = refilled(target, ids)
        .unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)));
    changed as i64
}

fn refilled(target: Target, ids: Option<Vec<Option<String>>>) -> Result<u64, Failure> {
    let caller = target::identify()?;
    if !caller.may(WRITE_ENRICH) {
        return Err(Failure::lacks_permission(WRITE_ENRICH));
    }
    let binding = target::binding(target);
    preconditions::refuse_row_in_update(binding.relation());
    binding.require_readable();
    let workspace = caller.workspace.id;
    if !binding.may_have_rows_of(workspace) {
        return Ok(0);
    }
    let Some(ids) = ids else { return Ok(refilling::refill_all(workspace, &binding, FieldSet::ALL)) };
    // What cannot be a key is no row's.
    let mut keys: Vec<String> = ids.iter().flatten().filter_map(|id| binding.canonical_key(id)).collect();
    keys.sort_unstable();
    keys.dedup();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    Ok(refilling::refill(workspace, &binding, &keys, FieldSet::ALL))
}

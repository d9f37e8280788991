//! leadlex.due.

use std::collections::HashSet;

use pgrx::datum::Interval;
use pgrx::prelude::*;

use crate::pg::api::batch::{request, required_relation};
use crate::pg::call::target;
use crate::pg::call::target::Target;
use crate::pg::shared::layout;
use crate::pg::store::{cache, checks};
use crate::pg::sys::raise;
use crate::pg::table::FoundRow;
use leadlex_domain::call_error::Failure;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::identity::WRITE_ENRICH;

/// Rows that are read at once.
const PORTION: usize = 256;

/// leadlex.due(relation regclass, older_than interval, fields text[]): keys of the rows that hold a value which
/// an enrichment wrote, and which no provider was asked about within `older_than`. `fields` NULL: all. The
/// oldest come first.
///
/// Raises LX400: `relation` is NULL, or `fields` has an unknown name.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 22023: `older_than` is NULL.
/// Raises 42501: the caller may not read the bound columns.
/// Raises 55000: the table is not bound; not installed, another version, not preloaded.
#[pg_extern(sql = false)]
fn due(
    relation: Option<pg_sys::Oid>,
    older_than: Option<Interval>,
    fields: Option<Vec<Option<String>>>,
) -> SetOfIterator<'static, String> {
    cache::refresh();
    let target = required_relation(relation);
    let older_than = super::required(older_than, "older_than");
    let fields = request(fields, None).fields;
    let keys = keys(target, older_than, fields)
        .unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)));
    SetOfIterator::new(keys)
}

fn keys(target: Target, older_than: Interval, fields: FieldSet) -> Result<Vec<String>, Failure> {
    layout::require();
    let caller = target::identify()?;
    if !caller.may(WRITE_ENRICH) {
        return Err(Failure::lacks_permission(WRITE_ENRICH));
    }
    let binding = target::binding(target);
    binding.require_readable();
    let workspace = caller.workspace.id;
    let fields = fields.intersect(binding.fields());
    if !binding.may_have_rows_of(workspace) || fields.is_empty() {
        return Ok(Vec::new());
    }
    let stale = checks::stale(workspace, (&binding.schema, &binding.table), fields, older_than);
    let (mut keys, mut met) = (Vec::new(), HashSet::new());
    for portion in stale.chunks(PORTION) {
        pgrx::check_for_interrupts!();
        // A key that the table's type does not know any more is no row's.
        let known: Vec<_> =
            portion.iter().filter_map(|one| Some((binding.canonical_key(&one.0)?, one))).collect();
        let ids: Vec<&str> = known.iter().map(|(id, _)| id.as_str()).collect();
        for (found, (_, (_, field, value))) in binding.read_many(workspace, &ids).into_iter().zip(&known) {
            let FoundRow::One(contact) = found else { continue };
            // What somebody has changed since is not ours to look after.
            if contact.value(*field) == Some(value.as_str()) && met.insert(contact.id.clone()) {
                keys.push(contact.id);
            }
        }
    }
    Ok(keys)
}

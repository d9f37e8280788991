//! leadlex.written.

use pgrx::prelude::*;

use crate::pg::api::batch::required_relation;
use crate::pg::store::{cache, history};
use crate::pg::sys::name::Name;
use crate::pg::sys::{authorship, role};
use crate::pg::table::ancestors;

/// leadlex.written(relation regclass, id text): which fields of a row this transaction's enrichments have
/// written, also the one that is writing it now: for triggers, alone and in a set. One row for each field, of
/// the latest write. `relation` may also be a partition of a bound table, or a table that inherits from it.
///
/// Raises LX400: `relation` is NULL. 22023: `id` is NULL.
/// Raises 55000: not installed, another version.
// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn written(
    relation: Option<pg_sys::Oid>,
    id: Option<String>,
) -> TableIterator<
    'static,
    (name!(request_id, pgrx::Uuid), name!(field, String), name!(source, String), name!(requested_by, Name)),
> {
    cache::refresh();
    let target = required_relation(relation);
    let id = super::required(id, "id");
    let bindings = cache::bindings();
    let mut rows = Vec::new();
    let of = |relation: pg_sys::Oid| bindings.iter().find(|b| b.relation() == Some(relation));
    // A row trigger of a partitioned table is told of the partition that it fires on.
    let bound = target.and_then(|target| of(target).or_else(|| ancestors(target).into_iter().find_map(of)));
    if let Some(binding) = bound
        && let Some(key) = binding.canonical_key(&id)
    {
        let now = binding.relation().and_then(|relation| authorship::of_row(relation, &key));
        if let Some((author, caller)) = now {
            let caller = role::name_of(caller);
            let written = author.fields.iter().filter(|(field, _)| authorship::is_changing(*field));
            rows.extend(written.map(|(field, source)| {
                (
                    pgrx::Uuid::from_bytes(*author.request_id.as_bytes()),
                    field.name().to_owned(),
                    source.to_string(),
                    caller.clone(),
                )
            }));
        }
        for (request_id, field, source, caller) in
            history::of_this_transaction((&binding.schema, &binding.table), &key)
        {
            if !rows.iter().any(|(_, known, ..)| *known == field) {
                rows.push((pgrx::Uuid::from_bytes(*request_id.as_bytes()), field, source, caller));
            }
        }
    }
    TableIterator::new(
        rows.into_iter().map(|(request, field, source, caller)| (request, field, source, Name(caller))),
    )
}

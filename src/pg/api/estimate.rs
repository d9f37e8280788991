//! leadlex.estimate.

use pgrx::prelude::*;

use crate::pg::api::batch::{request, required_relation};
use crate::pg::call::batch;
use crate::pg::store::cache;
use crate::pg::sys::raise;

/// leadlex.estimate(relation regclass, ids text[], fields text[], overwrite boolean): what a batch would do
/// now, without asking a provider. One row for each outcome and reason, with the number of contacts. `ids`
/// NULL is no contact.
///
/// Raises LX400: `relation` is NULL, or `fields` has an unknown name.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 42501: the caller may not read the bound columns, or not write those to be filled.
/// Raises 55000: the table is not bound; no enabled provider; not installed, another version, not preloaded.
// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn estimate(
    relation: Option<pg_sys::Oid>,
    ids: Option<Vec<Option<String>>>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
) -> TableIterator<'static, (name!(outcome, &'static str), name!(reason, &'static str), name!(contacts, i64))>
{
    cache::refresh();
    let target = required_relation(relation);
    let request = request(fields, overwrite);
    let estimate = batch::estimate(target, ids.unwrap_or_default(), request)
        .unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)));
    let rows: Vec<_> =
        estimate.counts().map(|(fate, contacts)| (fate.outcome(), fate.reason(), contacts as i64)).collect();
    TableIterator::new(rows)
}

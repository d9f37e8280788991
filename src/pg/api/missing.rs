//! leadlex.missing.

use pgrx::prelude::*;

use crate::pg::api::batch::{request, required_relation};
use crate::pg::call::batch;
use crate::pg::store::cache;
use crate::pg::sys::raise;

/// leadlex.missing(relation regclass, fields text[], most bigint): keys of the rows with an empty field among
/// `fields` for which a provider could be asked now, or has answered already. `fields` NULL: all. `most` NULL:
/// all rows.
///
/// Raises LX400: `relation` is NULL, or `fields` has an unknown name.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 22023: `most` is negative.
/// Raises 42501: the caller may not read the bound columns, or not write those to be filled.
/// Raises 55000: the table is not bound; no enabled provider; not installed, another version, not preloaded.
#[pg_extern(sql = false)]
fn missing(
    relation: Option<pg_sys::Oid>,
    fields: Option<Vec<Option<String>>>,
    most: Option<i64>,
) -> SetOfIterator<'static, String> {
    cache::refresh();
    let target = required_relation(relation);
    let fields = request(fields, None).fields;
    let most = most.map(|most| {
        usize::try_from(most).unwrap_or_else(|_| {
            raise::invalid(
                "most must not be negative",
                "Leave it out, or pass the number of keys that you want.",
            )
        })
    });
    let keys = batch::missing(target, fields, most)
        .unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)));
    SetOfIterator::new(keys)
}

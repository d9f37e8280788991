//! enrich_contact, enrich_row, and their try_ forms.

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::call::single;
use crate::pg::call::target::Target;
use crate::pg::store::cache;
use crate::pg::sys::jsonb::Jsonb;
use crate::pg::sys::{raise, row};
use leadlex_domain::ask::Ask;
use leadlex_domain::call_error::Failure;
use leadlex_domain::reply::Told;

struct Arguments {
    target: Target,
    id: Option<String>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    key: Option<Uuid>,
    id_name: &'static str,
}

fn run(arguments: Arguments) -> Result<Told, Failure> {
    cache::refresh();
    let key = arguments.key.map(super::plain);
    let ask = Ask::new(arguments.id, arguments.fields, arguments.overwrite, key, arguments.id_name)
        .map_err(|failure| failure.seen_at(uuid::Uuid::now_v7(), None))?;
    single::enrich(arguments.target, &ask)
}

fn raised(arguments: Arguments) -> Jsonb {
    Jsonb::of(&run(arguments).unwrap_or_else(|failure| raise::failure(&failure)))
}

fn returned(arguments: Arguments) -> Jsonb {
    match run(arguments) {
        Ok(told) => Jsonb::of(&told),
        Err(failure) => Jsonb::of(&failure.as_result()),
    }
}

fn of_contact(
    id: Option<Uuid>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    key: Option<Uuid>,
) -> Arguments {
    let id = id.map(|id| row::written(super::plain(id)));
    Arguments { target: None, id, fields, overwrite, key, id_name: "contact_id" }
}

fn of_row(
    relation: Option<pg_sys::Oid>,
    id: Option<impl ToString>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    key: Option<Uuid>,
) -> Arguments {
    let id = id.map(|id| id.to_string());
    // A NULL relation is refused with the other arguments, by leaving no id to look for.
    let (id, id_name) = if relation.is_some() { (id, "id") } else { (None, "relation") };
    Arguments { target: relation, id, fields, overwrite, key, id_name }
}

/// enrich_contact(contact_id uuid, fields text[], overwrite boolean, idempotency_key uuid): enriches one
/// contact of the table that was bound first. Returns the result as JSON.
///
/// Raises LX400 (an argument), LX401 (no identity), LX402 (no credits), LX403 (no write:enrich), LX404 (no
/// such contact), LX409 (no match), LX422 (the key was used for another call), LX429 (rate limit), LX503 (no
/// provider answered).
/// Raises 55000: not installed, another version, not preloaded, no such binding, no enabled provider, or the
/// worker was late.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 27000: a statement on the contact's own table, or an outer call about the same contact, makes the
/// call.
/// Raises 42501: the caller may not read or write the bound columns.
/// Raises 40001: the contact changed meanwhile. 53200 or 53400: there is no room for another claim or
/// workspace.
/// Raises 21000: several rows have the key. 42P01, 42703, 42804, 42809: the table changed since it was bound.
/// Raises 53000: no file descriptor is left for a request. 55P03: lock_timeout, while another session asks.
/// Errors of the user's own triggers and constraints pass through.
#[pg_extern(sql = false)]
fn enrich_contact(
    contact_id: Option<Uuid>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    idempotency_key: Option<Uuid>,
) -> Jsonb {
    raised(of_contact(contact_id, fields, overwrite, idempotency_key))
}

/// try_enrich_contact(contact_id uuid, fields text[], overwrite boolean, idempotency_key uuid): as
/// enrich_contact, but what that raises as LX400 to LX503 is returned as JSON.
///
/// Raises all other errors of enrich_contact.
#[pg_extern(sql = false)]
fn try_enrich_contact(
    contact_id: Option<Uuid>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    idempotency_key: Option<Uuid>,
) -> Jsonb {
    returned(of_contact(contact_id, fields, overwrite, idempotency_key))
}

/// enrich_row(relation regclass, id text, fields text[], overwrite boolean, idempotency_key uuid): enriches
/// one contact of a bound table, given by its key as text. Returns the result as JSON.
///
/// Raises the errors of enrich_contact; 55000 also where `relation` is not bound.
#[pg_extern(sql = false)]
fn enrich_row(
    relation: Option<pg_sys::Oid>,
    id: Option<String>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    idempotency_key: Option<Uuid>,
) -> Jsonb {
    raised(of_row(relation, id, fields, overwrite, idempotency_key))
}

/// try_enrich_row(relation regclass, id text, …): as enrich_row, but what that raises as LX400 to LX503 is
/// returned as JSON.
///
/// Raises all other errors of enrich_row.
#[pg_extern(sql = false)]
fn try_enrich_row(
    relation: Option<pg_sys::Oid>,
    id: Option<String>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    idempotency_key: Option<Uuid>,
) -> Jsonb {
    returned(of_row(relation, id, fields, overwrite, idempotency_key))
}

/// enrich_row(relation regclass, id bigint, …): as enrich_row with the key as text, with the same errors.
#[pg_extern(sql = false)]
fn enrich_row_bigint(
    relation: Option<pg_sys::Oid>,
    id: Option<i64>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    idempotency_key: Option<Uuid>,
) -> Jsonb {
    raised(of_row(relation, id, fields, overwrite, idempotency_key))
}

/// try_enrich_row(relation regclass, id bigint, …): as try_enrich_row with the key as text, with the same
/// errors.
#[pg_extern(sql = false)]
fn try_enrich_row_bigint(
    relation: Option<pg_sys::Oid>,
    id: Option<i64>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    idempotency_key: Option<Uuid>,
) -> Jsonb {
    returned(of_row(relation, id, fields, overwrite, idempotency_key))
}

/// enrich_row(relation regclass, id uuid, …): as enrich_row with the key as text, with the same errors.
#[pg_extern(sql = false)]
fn enrich_row_uuid(
    relation: Option<pg_sys::Oid>,
    id: Option<Uuid>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    idempotency_key: Option<Uuid>,
) -> Jsonb {
    raised(of_row(relation, id.map(super::plain), fields, overwrite, idempotency_key))
}

/// try_enrich_row(relation regclass, id uuid, …): as try_enrich_row with the key as text, with the same
/// errors.
#[pg_extern(sql = false)]
fn try_enrich_row_uuid(
    relation: Option<pg_sys::Oid>,
    id: Option<Uuid>,
    fields: Option<Vec<Option<String>>>,
    overwrite: Option<bool>,
    idempotency_key: Option<Uuid>,
) -> Jsonb {
    returned(of_row(relation, id.map(super::plain), fields, overwrite, idempotency_key))
}

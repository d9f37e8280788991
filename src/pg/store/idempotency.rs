//! Results kept under idempotency keys, for 24 hours.

use serde_json::Value;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::store::ledger::{PORTION, now_arg};
use crate::pg::sys::heap_insert;
use crate::pg::sys::heap_insert::Rows;
use crate::pg::sys::index_probe;
use crate::pg::sys::jsonb::Jsonb;
use crate::pg::sys::relation::relation_named;
use crate::pg::sys::row::{pg, text};
use crate::pg::sys::spi::{Arg, Statement, View, arg};
use leadlex_domain::hash::Hash;
use leadlex_domain::reply::Reply;

// How long the result of an idempotency key is kept.
macro_rules! idempotency_lifetime {
    () => {
        "interval '24 hours'"
    };
}

static STORED_RESULT: Statement = Statement::new(concat!(
    "SELECT pg_catalog.encode(i.request_hash, 'hex'), i.result
     FROM leadlex.idempotency AS i
     WHERE i.workspace_id OPERATOR(pg_catalog.=) $1 AND i.key OPERATOR(pg_catalog.=) $2
       AND i.created_at OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) ",
    idempotency_lifetime!(),
    ")"
));

/// Whether there is a row of this key, expired or not: a new key, the usual one, costs no statement.
fn is_key_used(workspace: Uuid, key: Uuid) -> bool {
    relation_named("leadlex", "idempotency")
        .is_none_or(|table| index_probe::any(table, pg(workspace), &[pg(key)]))
}

/// Fingerprint (hex) and result of an unexpired key.
pub fn stored_result(workspace: Uuid, key: Uuid) -> Option<(String, Value)> {
    if !is_key_used(workspace, key) {
        return None;
    }
    let row = as_owner(|| STORED_RESULT.row(View::Latest, &[arg(pg(workspace)), arg(pg(key))]))?;
    Some((text(&row, 0), serde_json::from_str(&text(&row, 1)).unwrap_or_default()))
}

// The claim on the key makes this the only writer; what it may find is its own expired predecessor.
static FORGET_EXPIRED: Statement = Statement::new(concat!(
    "DELETE FROM leadlex.idempotency AS i
     WHERE i.workspace_id OPERATOR(pg_catalog.=) $1 AND i.key OPERATOR(pg_catalog.=) $2
       AND i.created_at OPERATOR(pg_catalog.<=) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) ",
    idempotency_lifetime!(),
    ")"
));
static STORE_RESULT: Statement = Statement::new(
    "INSERT INTO leadlex.idempotency (workspace_id, key, request_hash, result, person) VALUES ($1, $2, $3, $4, $5)",
);

pub fn store_result(workspace: Uuid, key: Uuid, fingerprint: &[u8], result: &Reply, person: Hash) {
    if is_key_used(workspace, key) {
        as_owner(|| FORGET_EXPIRED.run_in(View::Serialized, &[arg(pg(workspace)), arg(pg(key))]));
    }
    let (result, person) = (Jsonb::of(result), pgrx::Uuid::from_bytes(person));
    let args = [arg(pg(workspace)), arg(pg(key)), arg(fingerprint), arg(result), arg(person)];
    let now = now_arg();
    let names = ["workspace_id", "key", "request_hash", "result", "person"];
    let mut columns: Vec<(&str, Arg)> = names.into_iter().zip(args.iter().map(Arg::again)).collect();
    columns.push(("created_at", now));
    if !heap_insert::rows(&[Rows { table: c"idempotency", checks: 0, rows: &[columns] }]) {
        as_owner(|| STORE_RESULT.run(&args));
    }
}

// In portions, as above: a DROP TABLE never waits long for the worker. By the time at which the
// transaction began: the clock's own is of no use to an index.
static PURGE_KEYS: Statement = Statement::new(concat!(
    "DELETE FROM leadlex.idempotency AS i
     WHERE i.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT j.ctid FROM leadlex.idempotency AS j
         WHERE j.created_at OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) ",
    idempotency_lifetime!(),
    ")
         LIMIT $1))"
));

/// Removes some expired idempotency keys; how many.
pub fn purge_keys() -> u64 {
    as_owner(|| PURGE_KEYS.run(&[arg(PORTION as i64)]))
}

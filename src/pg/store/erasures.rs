//! Who erased what is held on somebody, without saying on whom.

use serde_json::{Map, json};
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::store::receipts::{Erased, Person};
use crate::pg::sys::row::pg;
use crate::pg::sys::spi::{Statement, arg, name_arg};

static NOTE: Statement = Statement::new(
    "INSERT INTO leadlex.erasure (id, by, workspace_id, relation, counts)
     VALUES ($1, $2, $3, pg_catalog.format('%I.%I', $4, $5), $6)",
);

/// Notes that this role has erased so much in the workspace of this person.
pub fn note(person: &Person, by: &str, erased: &Erased) {
    let counts: Map<String, serde_json::Value> =
        erased.counts().into_iter().map(|(kind, count)| (kind.to_owned(), json!(count))).collect();
    let args = [
        arg(pg(Uuid::now_v7())),
        name_arg(by),
        arg(pg(person.workspace)),
        arg(person.schema),
        arg(person.table),
        arg(pgrx::JsonB(counts.into())),
    ];
    as_owner(|| NOTE.run(&args));
}

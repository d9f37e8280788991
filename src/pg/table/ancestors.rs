//! The tables that a partition or an inheriting table belongs to.

use pgrx::pg_sys;

use crate::pg::sys::row::number;
use crate::pg::sys::spi::{Statement, View, arg};

static ANCESTORS: Statement = Statement::new(
    "WITH RECURSIVE up AS (
         SELECT i.inhparent AS id, 1 AS level FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid OPERATOR(pg_catalog.=) $1
         UNION ALL
         SELECT i.inhparent, u.level OPERATOR(pg_catalog.+) 1
         FROM up AS u JOIN pg_catalog.pg_inherits AS i ON i.inhrelid OPERATOR(pg_catalog.=) u.id)
     SELECT u.id::pg_catalog.int8 FROM up AS u ORDER BY u.level",
);

/// Of a table, the nearest first; none of one that belongs to none.
pub fn ancestors(relation: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    let rows = ANCESTORS.query(View::Latest, &[arg(relation)]);
    rows.iter().map(|row| pg_sys::Oid::from(number(row, 0) as u32)).collect()
}

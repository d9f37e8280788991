//! Whether tables of ours come from a publisher.

use crate::pg::sys::row::boolean;
use crate::pg::sys::spi::{Statement, View, arg};

static SUBSCRIBES: Statement = Statement::new(
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel AS r
                    WHERE r.srrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid)",
);

/// Whether a subscription of this database brings the rows of this table, named with its schema. What the publisher writes into it
/// is not to be written here, too: the rows would meet, and the subscription stop.
pub fn brings(table: &str) -> bool {
    SUBSCRIBES.row(View::Latest, &[arg(table)]).is_some_and(|row| boolean(&row, 0))
}

//! What is left with vendors, as their answers say it.

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::shared::provider_slots::Unrecorded;
use crate::pg::sys::row::{boolean, pg};
use crate::pg::sys::spi::{Statement, View, arg};

// Also where low_balance was changed since.
static WAS_LOW: Statement = Statement::seldom(
    "SELECT b.balance OPERATOR(pg_catalog.<) (p.config OPERATOR(pg_catalog.->>) 'low_balance')::pg_catalog.float8
     FROM leadlex.provider_balance AS b JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) b.provider_id
     WHERE b.provider_id OPERATOR(pg_catalog.=) $1",
);

/// Whether little was left when the vendor last said so.
pub fn was_low(provider: Uuid) -> bool {
    as_owner(|| WAS_LOW.row(View::Latest, &[arg(pg(provider))])).is_some_and(|row| boolean(&row, 0))
}

static RECORD: Statement = Statement::new(
    "INSERT INTO leadlex.provider_balance AS b (provider_id, balance, at)
     SELECT p.id, n.balance, pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.at OPERATOR(pg_catalog.*) interval '1 microsecond')
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS n(provider_id, balance, at)
     JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) n.provider_id
     ON CONFLICT (provider_id) DO UPDATE SET balance = EXCLUDED.balance, at = EXCLUDED.at
     WHERE b.at OPERATOR(pg_catalog.<) EXCLUDED.at",
);

/// Writes those of providers that still exist and have said something.
pub fn record(written: &[Unrecorded]) {
    let said: Vec<(pgrx::Uuid, f64, f64)> = written
        .iter()
        .filter_map(|entry| entry.balance.map(|(balance, at)| (pg(entry.provider), balance, at as f64)))
        .collect();
    if said.is_empty() {
        return;
    }
    let args = [
        arg(said.iter().map(|(id, ..)| *id).collect::<Vec<_>>()),
        arg(said.iter().map(|(_, balance, _)| *balance).collect::<Vec<_>>()),
        arg(said.iter().map(|(.., at)| *at).collect::<Vec<_>>()),
    ];
    as_owner(|| RECORD.run(&args));
}

//! Accounts of an extension that has been dropped: no call will use them, and no worker can write their tables.

use crate::pg::installation;
use crate::pg::installation::Installed;
use crate::pg::shared::layout;
use crate::pg::shared::layout::Phase;
use crate::pg::shared::lockouts;
use crate::pg::sys::row::number;
use crate::pg::sys::spi::{Statement, View, arg};

static THERE: Statement = Statement::new(
    "SELECT c.oid::pg_catalog.int8 FROM pg_catalog.pg_class AS c
     WHERE c.oid::pg_catalog.int8 OPERATOR(pg_catalog.=) ANY ($1)",
);

/// Forgets those of this database.
pub fn forget(database: u32) {
    let present = match installation::find() {
        Installed::This(installation) => installation.catalog,
        _ => 0,
    };
    // Looked for first: an account that no transaction is using belongs to one that has ended, so whatever that has
    // committed is seen by the look into the catalog.
    let unused: Vec<u32> = (0..layout::accounts_used())
        .filter_map(|index| {
            layout::with_account(index, |a| {
                let unused = a.phase == Phase::Ready && a.pins == 0 && a.key.database == database;
                (unused && a.key.catalog != present).then_some(a.key.catalog)
            })
        })
        .collect();
    if unused.is_empty() {
        return;
    }
    let catalogs: Vec<i64> = unused.iter().map(|&c| i64::from(c)).collect();
    let there = THERE.query(View::Latest, &[arg(catalogs)]);
    let there: Vec<u32> = there.iter().map(|row| number(row, 0) as u32).collect();
    let gone = |catalog: &u32| unused.contains(catalog) && !there.contains(catalog);
    lockouts::forget_accounts(|key| key.database == database && gone(&key.catalog));
}

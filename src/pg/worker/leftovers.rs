//! Accounts of an extension that has been dropped: no call will use them, and no worker can write their books.

use super::super::cache::{self, Found};
use super::super::shmem::{self, Phase};
use super::super::spi::{Statement, View, arg};
use super::super::store::number;
use super::bars;

static THERE: Statement = Statement::new(
    "SELECT c.oid::pg_catalog.int8 FROM pg_catalog.pg_class AS c
     WHERE c.oid::pg_catalog.int8 OPERATOR(pg_catalog.=) ANY ($1)",
);

/// Forgets those of this database.
pub fn forget(database: u32) {
    let present = match cache::find_installation() {
        Found::This(installation) => installation.catalog,
        _ => 0,
    };
    // Looked for first: an account that no transaction is using belongs to one that has ended, so whatever that has
    // committed is seen by the look into the catalog.
    let unused: Vec<u32> = (0..shmem::account_count())
        .filter_map(|index| {
            shmem::with_account(index, |a| {
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
    bars::forget_accounts(|key| key.database == database && gone(&key.catalog));
}

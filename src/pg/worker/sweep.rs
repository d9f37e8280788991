//! What is over its time: idempotency keys, receipts, jobs that are done. Removed in portions, each a transaction of its own,
//! and with calls that wait for the worker in between.

use crate::pg::provider::spending;
use crate::pg::shared::budgets;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use std::time::Duration;

use crate::pg::shared::layout;
use crate::pg::store::holds::GivenUp;
use crate::pg::store::{
    holds, idempotency, job_history, ledger, outcomes, receipts, shared_values, stop, suppressions, tickets,
    undone,
};
use crate::pg::sys::settings;
use crate::pg::worker::history_pruner;
use crate::pg::worker::session::{commit_and_begin, mark};

/// Longest time between two looks.
const EVERY: Duration = Duration::from_secs(600);

/// Which names a value came up with is remembered for leadlex.recheck_after, and a day at least: a nightly job brings them.
const SHORTEST_MEMORY_US: i64 = 86_400_000_000;

/// One portion of each kind, where it is time to look; whether there is more to be removed.
pub fn remove_expired(database: u32) -> bool {
    let now = clock::now();
    let every = settings::purge_interval(EVERY).as_secs() as i64;
    let is_due =
        layout::with_header(|h| workers::entry(h, database).is_some_and(|d| d.last_purge + every <= now));
    if !is_due {
        return false;
    }
    let keys = portion(idempotency::purge_keys);
    mark(database, |d| d.purged += keys);
    let mut more = keys >= ledger::PORTION;
    let terms = settings::receipt_terms();
    for what in [receipts::Expiry::Complete, receipts::Expiry::Personal, receipts::Expiry::All] {
        if is_called(database) {
            return true;
        }
        let count = portion(|| receipts::expire(what, terms));
        mark(database, |d| d.receipts_expired += count);
        more |= count >= ledger::PORTION;
    }
    if is_called(database) {
        return true;
    }
    more |= portion(|| job_history::purge(settings::job_retention())) >= job_history::PURGED_AT_ONCE;
    // Their time stands still while no request is sent.
    if stop::reason().is_none() {
        more |= portion(|| tickets::purge(terms)) >= ledger::PORTION;
        more |= give_up_holds() >= ledger::PORTION;
    }
    more |= portion(suppressions::purge) >= ledger::PORTION;
    more |= portion(|| outcomes::purge(settings::outcome_retention())) >= ledger::PORTION;
    more |= portion(|| undone::purge(terms.recheck_us)) >= ledger::PORTION;
    let age = terms.recheck_us.max(terms.ttl_us).max(SHORTEST_MEMORY_US);
    more |= portion(|| shared_values::purge(age)) >= ledger::PORTION;
    more |= history_pruner::prune(|| is_called(database));
    if !more {
        mark(database, |d| d.last_purge = now);
    }
    more
}

fn portion(remove: impl FnOnce() -> u64) -> u64 {
    let count = remove();
    commit_and_begin();
    count
}

/// What is held for questions that are given up counts as spent; how many.
fn give_up_holds() -> u64 {
    let over = holds::over(settings::hold_grace_s());
    // Nobody reads them while they change.
    let ready = |hold: &GivenUp| hold.sum().concerned().iter().all(spending::load);
    let given_up: Vec<GivenUp> = over.into_iter().filter(ready).collect();
    holds::give_up(&given_up);
    commit_and_begin();
    budgets::given_up(&given_up.iter().map(GivenUp::in_sum).collect::<Vec<_>>());
    given_up.len() as u64
}

/// A call waits for something that the next round begins with.
fn is_called(database: u32) -> bool {
    layout::with_header(|h| workers::entry(h, database).is_some_and(|d| d.urgent))
}

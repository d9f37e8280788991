//! What is over its time: idempotency keys, receipts, jobs that are done; and what was handed in and is given up. Removed in
//! portions, each a transaction of its own, and with calls that wait for the worker in between.

use crate::pg::provider::spending;
use crate::pg::shared::budgets;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use std::time::Duration;

use crate::pg::shared::layout;
use crate::pg::store::holds::GivenUp;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::{
    cache, holds, idempotency, job_history, ledger, outcomes, receipts, shared_values, stop, suppressions,
    tickets, undone,
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
        let polls = |provider: &LoadedProvider| Some(provider.config.as_ref().ok()?.poll_for_s());
        let longest_s = cache::providers().iter().filter_map(|provider| polls(provider)).max();
        let longest_us = i64::from(longest_s.unwrap_or_default()).saturating_mul(1_000_000);
        more |= portion(|| tickets::purge(terms, longest_us)) >= ledger::PORTION;
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

/// What is held is looked at so often, in seconds, where nothing tells of a change.
pub const HOLDS_EVERY_S: i64 = 300;

/// Where it is time, or tickets were withdrawn: takes away what they leave, and counts as spent what is held for questions that are given
/// up. Whether there is more to do.
pub fn see_to_withdrawals(database: u32) -> bool {
    let now = clock::now();
    let Some((seen, before, holds_at)) = layout::with_header(|h| {
        workers::entry(h, database).map(|d| (d.withdrawals, d.withdrawals_seen, d.holds_at))
    }) else {
        return false;
    };
    if seen == before && holds_at > now {
        return false;
    }
    let mut more = seen != before && portion(tickets::remove_ownerless) >= ledger::PORTION;
    // The time of what is held stands still while no request is sent.
    let is_stopped = stop::reason().is_some();
    if !is_stopped {
        more |= give_up_holds() >= ledger::PORTION;
    }
    let first_over = holds::first_over();
    commit_and_begin();
    let grace_s = (!is_stopped).then(|| i64::from(settings::hold_grace_s()));
    mark(database, |d| {
        d.holds_at = next_look(first_over, grace_s, now);
        if !more {
            d.withdrawals_seen = seen;
        }
    });
    more
}

/// When what is held is to be looked at next. `first_over`: as [`holds::first_over`] has it. `grace_s`: how long what is over is still
/// waited for; `None`: its time stands still.
fn next_look(first_over: Option<Option<i64>>, grace_s: Option<i64>, now: i64) -> i64 {
    let Some(over_at) = first_over else { return i64::MAX };
    // A second later it is over by more than that.
    let given_up = over_at.zip(grace_s).map_or(i64::MAX, |(over_at, grace_s)| over_at + grace_s + 1);
    given_up.clamp(now + 1, now + HOLDS_EVERY_S)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_looked_at_every_five_minutes_and_when_it_is_over() {
        let now = 1_000_000;
        for (first_over, grace_s, expected) in [
            (None, Some(120), i64::MAX),
            (Some(None), Some(120), now + HOLDS_EVERY_S),
            (Some(Some(now)), Some(120), now + 121),
            (Some(Some(now - 60)), Some(120), now + 61),
            // There were more than one portion has.
            (Some(Some(now - 600)), Some(120), now + 1),
            (Some(Some(now)), Some(1_200), now + HOLDS_EVERY_S),
            (Some(Some(now - 600)), None, now + HOLDS_EVERY_S),
        ] {
            assert_eq!(next_look(first_over, grace_s, now), expected, "{first_over:?} {grace_s:?}");
        }
    }
}

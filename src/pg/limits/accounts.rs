//! Accounts in shared memory: credits and rate use of a workspace, rate use of a provider.
//!
//! A balance is loaded once and then kept: `balance` is what is committed, `reserved` what transactions in flight
//! have taken of it. Reserving is an addition under a lock held for nanoseconds; no call reads or writes a balance row.
//!
//! Why a load is exact: it runs only while no transaction has anything in flight on that account. A transaction that
//! is about to write ledger rows pins the account first, and unpins in the callback that also adds its rows here. So there is no
//! moment at which a loader could see committed rows that a callback is still going to add.

use crate::pg::shared::turns;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use leadlex_domain::sqlstate;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::shared::layout;
use crate::pg::shared::layout::{AccountKey, AccountState, Phase};
use crate::pg::shared::transaction;
use crate::pg::shared::wait;
use crate::pg::store::ledger;
use crate::pg::sys::{raise, settings};

thread_local! {
    /// Where an account stood last time; checked at every use.
    static SEEN: RefCell<HashMap<AccountKey, usize>> = RefCell::new(HashMap::new());
}

/// The account, loaded, and pinned until this transaction ends.
///
/// Raises 53400: no other place became free in time, see leadlex.max_workspaces.
pub fn open(key: AccountKey) -> usize {
    let mut patience = None;
    loop {
        if let Some(index) = SEEN.with_borrow(|s| s.get(&key).copied())
            && pin_if_ready(index, key)
        {
            return index;
        }
        let Some((index, to_load)) = find_or_take(key) else {
            make_room(patience.get_or_insert_with(turns::Patience::new));
            continue;
        };
        SEEN.with_borrow_mut(|s| s.insert(key, index));
        if to_load {
            load(index, key);
            return index;
        }
        if pin_if_ready(index, key) {
            return index;
        }
        wait_until(index, Instant::now() + Duration::from_secs(1), || {
            layout::with_account(index, |a| a.key != key || a.phase == Phase::Ready)
        });
    }
}

fn pin_if_ready(index: usize, key: AccountKey) -> bool {
    let pinned = transaction::with(|t| {
        t.pins.reserve(1);
        t.pins.contains(&index)
    });
    let ready = layout::with_account(index, |a| {
        let ready = a.key == key && a.phase == Phase::Ready;
        if ready && !pinned {
            a.pins += 1;
            a.last_used = clock::now();
        }
        ready
    });
    if ready && !pinned {
        transaction::with(|t| t.pins.push(index));
    }
    ready
}

/// All places are taken. Those that are only waiting for their leases to be closed can be had soon.
fn make_room(patience: &mut turns::Patience) {
    if !patience.lasts() {
        layout::without_place().accounts.fetch_add(1, Ordering::Relaxed);
        raise::refuse(raise::PgError {
            sqlstate: sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
            message: "too many workspaces are active at once".into(),
            detail: Some(format!("leadlex.max_workspaces is {}.", layout::account_count())),
            hint: Some("Commit more often, or raise leadlex.max_workspaces and restart.".into()),
        })
    }
    let mut databases: Vec<u32> = (0..layout::accounts_used())
        .map(|index| layout::with_account(index, |a| (a.pins == 0).then_some(a.key.database)))
        .filter_map(|database| database.filter(|&oid| oid != 0))
        .collect();
    databases.sort_unstable();
    databases.dedup();
    workers::close_leases(&databases);
    wait::nap(Duration::from_millis(20));
}

/// Where the account stands, or a place taken for it which the caller has to load. `None`: all places are taken.
fn find_or_take(key: AccountKey) -> Option<(usize, bool)> {
    transaction::with(|t| t.pins.reserve(1));
    let index = layout::with_directory(|directory| {
        let hash = key.hash();
        let is_it = |index| layout::with_account(index, |a| a.key == key && a.phase != Phase::Free);
        if let Some(index) = directory.find(hash, is_it) {
            return Some((index, false));
        }
        let index = directory.take(hash, |index| layout::with_account(index, |a| a.tenant()))?;
        layout::with_account(index, |a| {
            *a = AccountState { key, phase: Phase::Loading, pins: 1, ..AccountState::FREE }
        });
        Some((index, true))
    })?;
    if let (index, true) = index {
        transaction::with(|t| {
            t.pins.push(index);
            t.loading = Some(index);
        });
    }
    Some(index)
}

fn load(index: usize, key: AccountKey) {
    let loaded = ledger::load_account(&key.id);
    let now = clock::now();
    layout::with_account(index, |a| {
        a.balance = loaded.balance;
        a.base = loaded.base.unwrap_or(-1);
        // What was told before the server or this place was lost is not told again.
        a.told_low = a.is_low(settings::credits_low());
        a.told_out = a.base > 0 && a.balance <= 0;
        if let Some(record) = &loaded.rate {
            a.meter = leadlex_domain::rate::Meter::restore(record, now);
            // The lease that was open when the account was left is used now, and the tables do not say so yet.
            a.recorded_lease = record.lease as u64;
        }
        a.phase = Phase::Ready;
    });
    transaction::with(|t| t.loading = None);
    broadcast(index);
}

/// The loader's (sub)transaction failed: the place is free again.
pub fn load_failed(index: usize) {
    transaction::with(|t| t.pins.retain(|&p| p != index));
    layout::with_account(index, |a| *a = AccountState::FREE);
    broadcast(index);
}

/// Waits, interruptibly, until `done` or the time is up. `done` is looked at again after every change.
pub(super) fn wait_until(index: usize, until: Instant, mut done: impl FnMut() -> bool) {
    let changed = layout::account_changed(index);
    // SAFETY: a condition variable in shared memory; an error inside cancels the sleep by itself (transaction abort).
    unsafe {
        pg_sys::ConditionVariablePrepareToSleep(changed);
        while !done() {
            // In slices, so that `done` can ask again should a wake-up be lost.
            let left = until.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
            if left.is_zero() {
                break;
            }
            pg_sys::ConditionVariableTimedSleep(
                changed,
                left.as_millis() as i64 + 1,
                wait::event(wait::Event::Ledger),
            );
        }
        pg_sys::ConditionVariableCancelSleep();
    }
}

/// Wakes all who wait for a change of this account.
pub fn broadcast(index: usize) {
    // SAFETY: a condition variable in shared memory; wakes without waiting.
    unsafe { pg_sys::ConditionVariableBroadcast(layout::account_changed(index)) };
}

//! Credits in escrow and rate use, per workspace, in shared memory.
//!
//! A balance is loaded once and then kept: `balance` is what is committed, `reserved` what transactions in flight
//! have taken of it. Reserving is an addition under a lock held for nanoseconds; no call reads or writes a balance row.
//!
//! Why a load is exact: it runs only while no transaction has anything in flight on that account. Whoever is about to
//! write ledger rows pins the account first, and unpins in the callback that also adds its rows here. So there is no
//! moment at which a loader could see committed rows that a callback is still going to add.

use crate::pg::shared::turns;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use leadlex_domain::sqlstate;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::shared::layout;
use crate::pg::shared::layout::{AccountKey, AccountState, Lock, Phase};
use crate::pg::shared::transaction;
use crate::pg::shared::transaction::{Grant, Hold, Settlement, Transaction, Undone};
use crate::pg::shared::wait;
use crate::pg::store::ledger;
use crate::pg::sys::raise;
use leadlex_domain::rate::{Admission, Limits, Status, Window};

thread_local! {
    /// Where an account stood last time; checked at every use.
    static SEEN: RefCell<HashMap<AccountKey, usize>> = RefCell::new(HashMap::new());
    static NEXT_RESERVATION: Cell<u64> = const { Cell::new(1) };
}

/// What the end of a transaction does with what is here.
pub const SETTLEMENT: Settlement = Settlement { ended: settle, undone };

fn undone(undone: &Undone) {
    undone.loading.into_iter().for_each(load_failed);
    undone.holds.iter().for_each(give_back);
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
        raise::refuse(raise::Refusal {
            sqlstate: sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
            message: "too many workspaces are active at once".into(),
            detail: Some(format!("leadlex.max_workspaces is {}.", layout::account_count())),
            hint: Some("Commit more often, or raise leadlex.max_workspaces and restart.".into()),
        })
    }
    let mut databases: Vec<u32> = (0..layout::account_count())
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
    let _directory = layout::lock(Lock::Directory);
    let mut free = None;
    let mut oldest: Option<(i64, usize)> = None;
    for index in 0..layout::account_count() {
        let state = layout::with_account(index, |a| (a.key == key, a.phase, a.can_go(), a.last_used));
        match state {
            (_, Phase::Free, ..) => free = free.or(Some(index)),
            (true, ..) => return Some((index, false)),
            (false, _, true, used) if oldest.is_none_or(|(least, _)| used < least) => {
                oldest = Some((used, index))
            }
            _ => {}
        }
    }
    let index = free.or(oldest.map(|(_, index)| index))?;
    layout::with_account(index, |a| {
        *a = AccountState { key, phase: Phase::Loading, pins: 1, ..AccountState::FREE }
    });
    transaction::with(|t| {
        t.pins.push(index);
        t.loading = Some(index);
    });
    Some((index, true))
}

fn load(index: usize, key: AccountKey) {
    let loaded = ledger::load_account(&key.id);
    let now = clock::now();
    layout::with_account(index, |a| {
        a.balance = loaded.balance;
        if let Some(record) = &loaded.rate {
            a.meter = leadlex_domain::rate::Meter::restore(record, now);
            // What was open when the books were left is used now, and the books do not say so yet.
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

/// Credits taken out of a balance, until they are spent or released. Dropping it does neither: the end of the
/// transaction settles what is left.
#[derive(Clone, Copy, Debug)]
pub struct Reservation(u64);

/// Reserves `amount` credits; `None` when they are not there.
///
/// Waits at most `patience` for credits that others hold. It does not wait where no other call holds any.
pub fn reserve(index: usize, amount: i64, patience: Duration) -> Option<Reservation> {
    let own = transaction::with(|t| own_unused(t, index)).min(amount);
    let shared = amount - own;
    let take = || {
        layout::with_account(index, |a| {
            let there = a.balance - a.reserved >= shared;
            if there {
                a.reserved += shared;
            }
            there
        })
    };
    transaction::with(|t| t.holds.reserve(2));
    let mut taken = shared == 0 || take();
    let others_hold =
        || layout::with_account(index, |a| a.reserved) > transaction::with(|t| own_shared(t, index));
    if !taken && !patience.is_zero() && others_hold() {
        wait_until(index, Instant::now() + patience, || {
            taken = take();
            taken || !others_hold()
        });
    }
    if !taken {
        return None;
    }
    let reservation = NEXT_RESERVATION.get();
    NEXT_RESERVATION.set(reservation + 1);
    let subtransaction = transaction::subtransaction();
    let hold = |amount, from_own_grant| Hold {
        reservation,
        account: index,
        amount,
        from_own_grant,
        spent: false,
        subtransaction,
    };
    let holds = [hold(own, true), hold(shared, false)];
    transaction::with(|t| t.holds.extend(holds.into_iter().filter(|h| h.amount > 0)));
    Some(Reservation(reservation))
}

/// Credits for a set of calls, reserved in bulk.
#[derive(Debug, Default)]
pub struct Pool {
    reservations: Vec<Reservation>,
    /// Reserved, and not meant for a call yet.
    free: i64,
    /// Taken by calls that are not over.
    in_use: i64,
}

impl Pool {
    /// One for a call. When there is none left, up to `hint` more are reserved.
    pub fn take(&mut self, index: usize, hint: i64, patience: Duration) -> bool {
        if self.free == 0 {
            self.fill(index, hint, patience);
        }
        let there = self.free > 0;
        self.free -= i64::from(there);
        self.in_use += i64::from(there);
        there
    }

    /// As many as can be had at once. Only when there is none at all it is worth waiting.
    fn fill(&mut self, index: usize, hint: i64, patience: Duration) {
        let own = transaction::with(|t| own_unused(t, index));
        let there = layout::with_account(index, |a| a.balance - a.reserved) + own;
        // Others may be quicker.
        for amount in [hint.min(there), 1].into_iter().filter(|amount| *amount > 0) {
            let patience = if amount == 1 { patience } else { Duration::ZERO };
            if let Some(reservation) = reserve(index, amount, patience) {
                self.reservations.push(reservation);
                self.free += amount;
                return;
            }
        }
    }

    /// Calls have some of it that may yet be given back.
    pub fn is_in_use(&self) -> bool {
        self.in_use > 0
    }

    /// Of so many calls for which one was taken, so many are over and charged.
    pub fn settle(&mut self, taken: i64, charged: i64) {
        self.free += taken - charged;
        self.in_use -= taken;
        self.spend(charged);
    }

    /// Ledger rows have been written for so many of them.
    fn spend(&mut self, amount: i64) {
        let mut left = amount;
        transaction::with(|t| {
            let mut spent = Vec::new();
            let ours =
                |hold: &&mut Hold| !hold.spent && self.reservations.iter().any(|r| r.0 == hold.reservation);
            for hold in t.holds.iter_mut().filter(ours) {
                let part = left.min(hold.amount);
                hold.amount -= part;
                left -= part;
                if part > 0 {
                    spent.push(Hold { amount: part, spent: true, ..*hold });
                }
            }
            t.holds.retain(|hold| hold.amount > 0);
            merge_spent(&mut t.holds, spent);
        });
    }

    /// What was not needed.
    pub fn release(&mut self) {
        self.free = 0;
        std::mem::take(&mut self.reservations).into_iter().for_each(release);
    }
}

/// A transaction of very many calls keeps one entry for all that it has spent.
fn merge_spent(holds: &mut Vec<Hold>, spent: Vec<Hold>) {
    for new in spent {
        let alike = |h: &&mut Hold| {
            h.spent
                && (h.account, h.from_own_grant, h.subtransaction)
                    == (new.account, new.from_own_grant, new.subtransaction)
        };
        match holds.iter_mut().find(alike) {
            Some(known) => known.amount += new.amount,
            None => holds.push(new),
        }
    }
}

/// The reservation was not needed.
pub fn release(reservation: Reservation) {
    let unspent: Vec<Hold> = transaction::with(|t| {
        t.holds.extract_if(.., |h| h.reservation == reservation.0 && !h.spent).collect()
    });
    unspent.iter().for_each(give_back);
}

/// A ledger row has been written for the reservation.
pub fn spend(reservation: Reservation) {
    let own = |h: &&mut Hold| h.reservation == reservation.0;
    transaction::with(|t| t.holds.iter_mut().filter(own).for_each(|h| h.spent = true));
}

/// Credits granted by this transaction, once the ledger row is written.
pub fn grant(index: usize, amount: i64) {
    let subtransaction = transaction::subtransaction();
    transaction::with(|t| t.grants.push(Grant { account: index, amount, subtransaction }));
}

/// The balance as this transaction sees it.
pub fn balance(index: usize) -> i64 {
    let committed = layout::with_account(index, |a| a.balance);
    transaction::with(|t| {
        let granted: i64 = t.grants.iter().filter(|g| g.account == index).map(|g| g.amount).sum();
        let spent: i64 = t.holds.iter().filter(|h| h.account == index && h.spent).map(|h| h.amount).sum();
        committed + granted - spent
    })
}

fn own_unused(t: &Transaction, index: usize) -> i64 {
    let granted: i64 = t.grants.iter().filter(|g| g.account == index).map(|g| g.amount).sum();
    let used: i64 = t.holds.iter().filter(|h| h.account == index && h.from_own_grant).map(|h| h.amount).sum();
    granted - used
}

fn own_shared(t: &Transaction, index: usize) -> i64 {
    t.holds.iter().filter(|h| h.account == index && !h.from_own_grant).map(|h| h.amount).sum()
}

/// Cannot fail: also runs when a subtransaction aborts.
pub fn give_back(hold: &Hold) {
    if !hold.from_own_grant {
        layout::with_account(hold.account, |a| a.reserved -= hold.amount);
        broadcast(hold.account);
    }
}

/// The transaction has ended. Cannot fail: runs in the commit and abort callbacks.
pub fn settle(ended: &Transaction, committed: bool) {
    if let Some(index) = ended.loading {
        layout::with_account(index, |a| *a = AccountState::FREE);
        broadcast(index);
    }
    for &index in ended.pins.iter().filter(|&&p| Some(p) != ended.loading) {
        let shared = own_shared(ended, index);
        let of_account = || ended.holds.iter().filter(move |h| h.account == index && h.spent);
        let spent: i64 = of_account().filter(|h| !h.from_own_grant).map(|h| h.amount).sum();
        let granted: i64 = ended.grants.iter().filter(|g| g.account == index).map(|g| g.amount).sum();
        let granted_spent: i64 = of_account().filter(|h| h.from_own_grant).map(|h| h.amount).sum();
        layout::with_account(index, |a| {
            a.reserved -= shared;
            if committed {
                a.balance += granted - granted_spent - spent;
            }
            a.pins -= 1;
        });
        broadcast(index);
    }
}

/// Uses one admission of a rate limit. The worker opens leases; a call that finds none waits for it.
///
/// Err: the window whose limit is used up, and the present time in epoch seconds.
///
/// Raises 55000: the worker opened no lease in time. 53400: leadlex.max_databases is too small.
pub fn admit(index: usize, limits: Limits) -> Result<(), (Window, i64)> {
    if limits.is_unlimited() {
        return Ok(());
    }
    let attempt = || {
        let now = clock::now();
        let (admission, ask) = layout::with_account(index, |a| {
            let admission = a.meter.admit(limits, now);
            let ask = a.meter.lease_is_low(limits) && a.lease_wanted == 0;
            if ask {
                a.lease_wanted = limits.lease();
            }
            (admission, ask)
        });
        if ask || admission == Admission::NeedsLease {
            workers::wake();
        }
        (admission, now)
    };
    let mut last = attempt();
    let mut patience = turns::Patience::new();
    while last.0 == Admission::NeedsLease && patience.lasts() {
        wait_until(index, Instant::now() + patience.slice(), || {
            last = attempt();
            last.0 != Admission::NeedsLease
        });
    }
    match last {
        (Admission::Admitted, _) => Ok(()),
        (Admission::Limited(window), now) => Err((window, now)),
        (Admission::NeedsLease, _) => {
            turns::give_up("the background worker did not record the rate limit's use in time", "")
        }
    }
}

/// What is left of the minute's and the day's requests; the default where there is no limit.
pub fn rate_status(index: usize, limits: Limits) -> Status {
    if limits.is_unlimited() {
        return Status::default();
    }
    let now = clock::now();
    layout::with_account(index, |a| a.meter.status(limits, now))
}

/// Waits, interruptibly, until `done` or the time is up. `done` is looked at again after every change.
fn wait_until(index: usize, until: Instant, mut done: impl FnMut() -> bool) {
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
                wait::event(wait::Event::Books),
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

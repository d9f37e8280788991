//! Credits in escrow: reserved before a provider is asked; then spent by a ledger row, released, or given back by the end of
//! the transaction.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::pg::limits::accounts::{broadcast, wait_until};
use crate::pg::shared::events::{self, About, Event};
use crate::pg::shared::layout::{self, AccountKey};
use crate::pg::shared::transaction;
use crate::pg::shared::transaction::{Grant, Hold, Transaction};
use leadlex_domain::event::Kind;

thread_local! {
    static NEXT_RESERVATION: Cell<u64> = const { Cell::new(1) };
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

    /// So many calls could take one now.
    pub fn left(&self, index: usize) -> i64 {
        let own = transaction::with(|t| own_unused(t, index));
        self.free + own + layout::with_account(index, |a| a.balance - a.reserved).max(0)
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

/// Adds to a balance that no other call is changing, or takes from it, once the ledger row is written. `false`: not so many can
/// be taken. What is left from then on is what there is to begin with.
pub fn change(index: usize, amount: i64) -> bool {
    if amount >= 0 {
        grant(index, amount);
        return true;
    }
    let Some(reservation) = reserve(index, -amount, Duration::ZERO) else { return false };
    spend(reservation);
    rebase(index);
    true
}

/// What there is when this commits is what there is to begin with.
pub fn rebase(index: usize) {
    grant(index, 0);
}

/// The ledger's sum, with what this transaction has written, where charges were made without a limit: nobody else has calls
/// under way.
pub fn reload(index: usize, sum: i64) {
    let own = balance(index) - layout::with_account(index, |a| a.balance);
    layout::with_account(index, |a| a.balance = sum - own);
}

/// Credits that this transaction holds, and has not spent.
pub fn own_reserved(index: usize) -> i64 {
    transaction::with(|t| t.holds.iter().filter(|h| h.account == index && !h.spent).map(|h| h.amount).sum())
}

/// No credit is left for a call. Tells administrators of the first.
pub fn tell_out(index: usize) {
    let told = layout::with_account(index, |a| {
        (!std::mem::replace(&mut a.told_out, true)).then_some((a.key, a.balance - a.reserved))
    });
    if let Some((key, left)) = told {
        post(Kind::CreditsOut, key, json!({"credits": left}));
    }
}

/// Cannot fail: also runs in commit callbacks.
pub fn post(kind: Kind, AccountKey { database, catalog, id }: AccountKey, detail: serde_json::Value) {
    let about = About { workspace: Uuid::from_bytes(id), ..About::default() };
    events::post(&Event { database, catalog, kind, about, part: 0, count: 1, detail });
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

pub(super) fn own_shared(t: &Transaction, index: usize) -> i64 {
    t.holds.iter().filter(|h| h.account == index && !h.from_own_grant).map(|h| h.amount).sum()
}

/// Cannot fail: also runs when a subtransaction aborts.
pub fn give_back(hold: &Hold) {
    if !hold.from_own_grant {
        layout::with_account(hold.account, |a| a.reserved -= hold.amount);
        broadcast(hold.account);
    }
}

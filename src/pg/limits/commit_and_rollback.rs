//! What the end of a transaction or subtransaction does with credits that were reserved, spent or granted in it.

use crate::pg::limits::accounts::{broadcast, load_failed};
use crate::pg::limits::credits;
use crate::pg::shared::budgets;
use crate::pg::shared::layout;
use crate::pg::shared::layout::{AccountKey, AccountState};
use crate::pg::shared::transaction::{Settlement, Transaction, Undone};
use crate::pg::shared::workers;
use crate::pg::sys::settings;
use leadlex_domain::event::Kind;
use serde_json::{Value, json};

/// What the end of a transaction does with what is here.
pub const SETTLEMENT: Settlement = Settlement { ended: settle, undone };

fn undone(undone: &Undone) {
    undone.loading.into_iter().for_each(load_failed);
    undone.holds.iter().for_each(credits::give_back);
}

/// What administrators are to be told of, once so many credits were spent.
fn low(a: &mut AccountState, spent: i64) -> Option<(Kind, AccountKey, Value)> {
    if spent <= 0 {
        return None;
    }
    if a.balance <= 0 {
        let first = !std::mem::replace(&mut a.told_out, true);
        return first.then(|| (Kind::CreditsOut, a.key, json!({"credits": a.balance})));
    }
    let first = a.is_low(settings::credits_low()) && !std::mem::replace(&mut a.told_low, true);
    first.then(|| (Kind::CreditsLow, a.key, json!({"credits": a.balance, "of": a.base})))
}

/// The transaction has ended. Cannot fail: runs in the commit and abort callbacks.
fn settle(ended: &Transaction, committed: bool) {
    if let Some(index) = ended.loading {
        layout::with_account(index, |a| *a = AccountState::FREE);
        broadcast(index);
    }
    if committed {
        ended.used.iter().for_each(|used| budgets::used(&used.key, &used.uses));
        // Nothing was asked then: no worker may be there.
        if ended.used.iter().any(|used| used.uses.takes_back()) {
            workers::call_if_away();
        }
    }
    for &index in ended.pins.iter().filter(|&&p| Some(p) != ended.loading) {
        let shared = credits::own_shared(ended, index);
        let of_account = || ended.holds.iter().filter(move |h| h.account == index && h.spent);
        let spent: i64 = of_account().filter(|h| !h.from_own_grant).map(|h| h.amount).sum();
        let granted: i64 = ended.grants.iter().filter(|g| g.account == index).map(|g| g.amount).sum();
        let granted_spent: i64 = of_account().filter(|h| h.from_own_grant).map(|h| h.amount).sum();
        let rebased = ended.grants.iter().any(|g| g.account == index);
        let all_spent = if committed { spent + granted_spent } else { 0 };
        let told = layout::with_account(index, |a| {
            a.reserved -= shared;
            if committed {
                a.balance += granted - granted_spent - spent;
            }
            if committed && rebased {
                (a.base, a.told_low, a.told_out) = (a.balance, false, false);
            }
            a.pins -= 1;
            low(a, all_spent)
        });
        broadcast(index);
        if let Some((kind, key, detail)) = told {
            credits::post(kind, key, detail);
        }
    }
}

//! What the end of a transaction or subtransaction does with credits that were reserved, spent or granted in it.

use crate::pg::limits::accounts::{broadcast, load_failed};
use crate::pg::limits::credits;
use crate::pg::shared::budgets;
use crate::pg::shared::layout;
use crate::pg::shared::layout::AccountState;
use crate::pg::shared::transaction::{Settlement, Transaction, Undone};

/// What the end of a transaction does with what is here.
pub const SETTLEMENT: Settlement = Settlement { ended: settle, undone };

fn undone(undone: &Undone) {
    undone.loading.into_iter().for_each(load_failed);
    undone.holds.iter().for_each(credits::give_back);
}

/// The transaction has ended. Cannot fail: runs in the commit and abort callbacks.
fn settle(ended: &Transaction, committed: bool) {
    if let Some(index) = ended.loading {
        layout::with_account(index, |a| *a = AccountState::FREE);
        broadcast(index);
    }
    if committed {
        ended.used.iter().for_each(|used| budgets::used(&used.key, used.fields.iter().sum()));
    }
    for &index in ended.pins.iter().filter(|&&p| Some(p) != ended.loading) {
        let shared = credits::own_shared(ended, index);
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

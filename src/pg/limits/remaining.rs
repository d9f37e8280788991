//! What is left of limits, looked at without using any. On a standby the tables are what the primary last recorded, and
//! nothing may be kept of them: they change underneath.

use crate::pg::installation;
use crate::pg::shared::layout;
use crate::pg::sys::clock;
use crate::pg::sys::database;
use uuid::Uuid;

use crate::pg::limits::{accounts, credits as escrow, rates};
use crate::pg::store::ledger;
use leadlex_domain::identity::Workspace;
use leadlex_domain::rate::{Limits, Meter, Status};

/// The balance; `None` without a credit limit.
///
/// Raises 55000: the library was not preloaded. 53400: there is no room for another account.
pub fn credits(workspace: &Workspace) -> Option<i64> {
    if !workspace.has_credit_limit {
        return None;
    }
    let key = installation::account_key(workspace.id);
    if database::in_recovery() {
        return Some(ledger::load_account(&key.id).balance);
    }
    layout::require();
    Some(escrow::balance(accounts::open(key)))
}

/// The windows of a workspace, or of a provider.
///
/// Raises 55000: the library was not preloaded. 53400: there is no room for another account.
pub fn rate(id: Uuid, limits: Limits) -> Status {
    if limits.is_unlimited() {
        return Status::default();
    }
    let key = installation::account_key(id);
    if database::in_recovery() {
        let now = clock::now();
        let restored = ledger::load_account(&key.id).rate.map(|record| Meter::restore(&record, now));
        return restored.unwrap_or(Meter::EMPTY).status(limits, now);
    }
    layout::require();
    rates::status(accounts::open(key), limits)
}

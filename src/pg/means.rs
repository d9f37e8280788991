//! What is left of limits, looked at without using any. On a standby the books are what the primary last recorded, and
//! nothing may be kept of them: they change underneath.

use uuid::Uuid;

use super::store::books;
use super::{accounts, desk, guards};
use leadlex_domain::identity::Workspace;
use leadlex_domain::rate::{Limits, Meter, Status};

/// The balance; `None` without a credit limit.
pub fn credits(workspace: &Workspace) -> Option<i64> {
    if !workspace.has_credit_limit {
        return None;
    }
    let key = desk::account_key(workspace.id);
    if guards::in_recovery() {
        return Some(books::load_account(&key.id).balance);
    }
    guards::require_shared_memory();
    Some(accounts::balance(accounts::open(key)))
}

/// The windows of a workspace, or of a provider.
pub fn rate(id: Uuid, limits: Limits) -> Status {
    if limits.is_unlimited() {
        return Status::default();
    }
    let key = desk::account_key(id);
    if guards::in_recovery() {
        let now = accounts::now();
        let restored = books::load_account(&key.id).rate.map(|record| Meter::restore(&record, now));
        return restored.unwrap_or(Meter::EMPTY).status(limits, now);
    }
    guards::require_shared_memory();
    accounts::rate_status(accounts::open(key), limits)
}

//! Balances.

use crate::pg::api::access;
use crate::pg::installation;
use leadlex_domain::sqlstate;
use std::time::Duration;

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::call::preconditions;
use crate::pg::limits::{accounts, credits, remaining};
use crate::pg::shared::{occupancy, transaction};
use crate::pg::store::cache;
use crate::pg::store::ledger;
use crate::pg::sys::raise;

/// Far below what could overflow, also when several grants commit at once.
pub const MAX_BALANCE: i64 = 1_000_000_000_000_000;

/// The first ledger row of a workspace that no other session can see yet: a session that loads its account later finds it.
///
/// `amount` is in credits.
///
/// Raises 22003: `amount` is above 10^15.
pub fn open_balance(workspace: uuid::Uuid, amount: i64) {
    if amount > MAX_BALANCE {
        too_much();
    }
    // The worker is told of ledger rows when this process commits them: a prepared one would not be.
    transaction::mark_called();
    ledger::add_to_ledger(workspace, uuid::Uuid::now_v7(), amount, Some("opening balance"));
}

/// Raises 22003.
pub fn too_much() -> ! {
    raise::refuse(raise::PgError {
        sqlstate: sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        message: format!("the balance cannot be higher than {MAX_BALANCE}"),
        detail: None,
        hint: Some(
            "For a workspace without a limit use leadlex.create_workspace(name, credits => NULL).".into(),
        ),
    })
}

/// Adds to a workspace's balance (or takes from it, never below 0); the new balance.
fn grant(workspace: uuid::Uuid, amount: i64, note: Option<&str>) -> i64 {
    transaction::mark_called();
    if occupancy::enter(installation::account_key(workspace)) {
        cache::refresh();
        require_limit(workspace);
    }
    // The account is loaded, and pinned, before the ledger row is written: so the load cannot contain it.
    let account = accounts::open(installation::account_key(workspace));
    if amount > 0 && credits::balance(account).checked_add(amount).is_none_or(|sum| sum > MAX_BALANCE) {
        too_much();
    }
    let correction = (amount < 0).then(|| {
        credits::reserve(account, -amount, Duration::ZERO).unwrap_or_else(|| {
            raise::invalid(
                format!("the balance is {}: it cannot be lowered by {}", credits::balance(account), -amount),
                "Credits reserved by calls in flight cannot be taken back.",
            )
        })
    });
    // A charge is what has no note, see leadlex.usage_daily.
    let note = note.or((amount < 0).then_some("correction"));
    ledger::add_to_ledger(workspace, uuid::Uuid::now_v7(), amount, note);
    match correction {
        Some(reservation) => credits::spend(reservation),
        None => credits::grant(account, amount),
    }
    credits::balance(account)
}

fn checked_grant(workspace: Option<Uuid>, amount: Option<i64>, note: Option<&str>) -> i64 {
    cache::refresh();
    preconditions::require_writable();
    let amount = super::required(amount, "amount");
    let workspace = super::workspace_or_only(
        workspace.map(super::plain),
        &format!("grant_credits('WORKSPACE_ID', {amount})"),
    );
    // i64::MIN has no positive counterpart; nobody has that many credits.
    if amount == 0 || amount == i64::MIN {
        raise::invalid("amount must be a number of credits other than 0", "Negative amounts correct.");
    }
    require_limit(workspace);
    grant(workspace, amount, note)
}

/// Raises 55000: it needs no credits.
fn require_limit(workspace: uuid::Uuid) {
    if !cache::workspace(workspace).is_some_and(|w| w.has_credit_limit) {
        raise::not_ready(
            "this workspace has no credit limit, so it needs no credits",
            "Leave the grant out: calls go on without. The workspace default, which the first leadlex.add_provider makes, is such a one; leadlex.limit_credits(workspace_id, credits) gives it a credit limit.",
        );
    }
}

/// leadlex.grant_credits(workspace_id uuid, amount bigint, note text): adds credits to a workspace, or takes
/// some for a negative amount. Returns the new balance. `workspace_id` NULL is the only workspace.
///
/// Raises 22023: `amount` is NULL, 0 or more than can be taken; the workspace is unknown or has to be given.
/// Raises 22003: the balance would be above 10^15.
/// Raises 55000: the workspace has no credit limit; not installed, another version, or not preloaded.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 53400: there is no room for another account in shared memory.
#[pg_extern(sql = false)]
fn grant_credits(workspace_id: Option<Uuid>, amount: Option<i64>, note: Option<&str>) -> i64 {
    checked_grant(workspace_id, amount, note)
}

/// leadlex.grant_credits(amount bigint): the same in the only workspace and without a note, with the same
/// errors.
#[pg_extern(sql = false)]
fn grant_credits_here(amount: Option<i64>) -> i64 {
    checked_grant(None, amount, None)
}

/// leadlex.credits(): the balance of the caller's workspace, in credits; NULL where it has no credit limit.
///
/// Raises LX401: the caller has no identity.
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
/// Raises 53400: there is no room for another account in shared memory.
#[pg_extern(sql = false)]
fn credits() -> Option<i64> {
    remaining::credits(&access::caller().workspace)
}

//! leadlex.limit_credits, leadlex.allot_credits.

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::api::credits::MAX_BALANCE;
use crate::pg::call::preconditions;
use crate::pg::installation;
use crate::pg::limits::{accounts, credits};
use crate::pg::shared::{occupancy, transaction};
use crate::pg::store::{allotments, cache, config, ledger};
use crate::pg::sys::{clock, raise};
use leadlex_domain::allotment::Period;

/// Raises 22023 below 0, 22003 above 10^15.
fn checked(credits: i64) -> i64 {
    if credits < 0 {
        raise::invalid("credits must not be negative", "0 lets no call of the workspace ask a provider.");
    }
    if credits > MAX_BALANCE {
        super::credits::too_much();
    }
    credits
}

/// leadlex.limit_credits(workspace_id uuid, credits bigint): the balance becomes so much, and calls need credits from now
/// on; NULL: they need none. Waits for calls under way in the workspace, and has it to itself until the commit.
///
/// Raises 22023: `workspace_id` is NULL or unknown, or `credits` is negative. 22003: it is above 10^15.
/// Raises 55000: this transaction has reserved more than that; not installed, another version, or not preloaded.
/// Raises 55P03, 57014 or 40P01: the wait has ended so. 25006 or 25000: the transaction is read-only, or parallel.
/// Raises 53400: there is no room for another account in shared memory. 40001: the workspace has changed since the
/// transaction's one snapshot.
#[pg_extern(sql = false)]
fn limit_credits(workspace_id: Option<Uuid>, credits: Option<i64>) {
    cache::refresh();
    preconditions::require_writable();
    let id = super::known_workspace(super::plain(super::required(workspace_id, "workspace_id")));
    let wanted = credits.map(checked);
    transaction::mark_called();
    occupancy::close(installation::account_key(id));
    // Who had it before may have changed or dropped it.
    cache::refresh();
    super::known_workspace(id);
    let is_limited = cache::workspace(id).is_some_and(|workspace| workspace.has_credit_limit);
    let Some(wanted) = wanted else {
        allotments::end(id);
        if is_limited {
            config::set_credit_limit(id, false);
        }
        return;
    };
    set_balance(id, wanted, is_limited);
    if !is_limited {
        config::set_credit_limit(id, true);
    }
}

/// Nobody else has calls under way there.
fn set_balance(id: uuid::Uuid, wanted: i64, is_limited: bool) {
    let key = installation::account_key(id);
    // Pinned before the ledger row is written: so no load can contain it.
    let account = accounts::open(key);
    if !is_limited {
        // What was charged without a limit stands in the ledger alone.
        credits::reload(account, ledger::load_account(&key.id).balance);
    }
    let reserved = credits::own_reserved(account);
    if reserved > wanted {
        raise::not_ready(
            format!("this transaction has reserved {reserved} credits, more than {wanted}"),
            "A call of it is under way: limit the credits in a transaction of its own.",
        );
    }
    let change = wanted - credits::balance(account);
    if change == 0 {
        return credits::rebase(account);
    }
    if !credits::change(account, change) {
        raise::not_ready(
            format!("more credits than {wanted} are reserved"),
            "Try again when the calls that hold them are over.",
        );
    }
    ledger::add_to_ledger(id, uuid::Uuid::now_v7(), change, Some("limit"));
}

/// leadlex.allot_credits(workspace_id uuid, credits bigint, period text): at the start of each UTC period from the next on the
/// balance becomes so much. `period` NULL ends that.
///
/// Raises 22023: an argument is NULL that must not be, the workspace or the period is unknown, or `credits` is negative.
/// Raises 22003: it is above 10^15. 55000: the workspace has no credit limit; not installed, another version, or not
/// preloaded. 25006 or 25000: the transaction is read-only, or parallel.
#[pg_extern(sql = false)]
fn allot_credits(workspace_id: Option<Uuid>, credits: Option<i64>, period: Option<&str>) {
    cache::refresh();
    preconditions::require_writable();
    let id = super::known_workspace(super::plain(super::required(workspace_id, "workspace_id")));
    let Some(name) = period else {
        allotments::end(id);
        return;
    };
    let Some(period) = Period::parse(name) else {
        raise::invalid("period must be day or month", "Both begin at midnight UTC; NULL ends the allotment.")
    };
    let credits = checked(super::required(credits, "credits"));
    if !cache::workspace(id).is_some_and(|workspace| workspace.has_credit_limit) {
        raise::not_ready(
            "this workspace has no credit limit, so it needs no credits",
            format!("Give it one first: SELECT leadlex.limit_credits('{id}', {credits})."),
        );
    }
    transaction::mark_called();
    allotments::set(id, credits, period, period.start(clock::now()));
    // The worker is to know when it is due.
    transaction::with(|t| t.wrote_ledger = true);
}

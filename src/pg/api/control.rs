//! leadlex.stop, leadlex.resume.

use pgrx::prelude::*;
use serde_json::json;

use crate::pg::call::preconditions;
use crate::pg::shared::transaction;
use crate::pg::store::events::{self, About};
use crate::pg::store::{cache, stop};
use crate::pg::sys::{raise, role};
use leadlex_domain::event::Kind;

/// Characters of a reason: it stands in the message of every call.
const LONGEST_REASON: usize = 200;

/// leadlex.stop(reason text): from the commit on no session of this database sends a request. Stopped again, it takes
/// the new reason.
///
/// Raises 22023: `reason` is NULL, blank, or longer than 200 characters.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
/// Raises 55P03 or 57014: another transaction has called leadlex.stop or leadlex.resume, and is open.
#[pg_extern(sql = false)]
fn stop_requests(reason: Option<&str>) {
    cache::refresh();
    preconditions::require_writable();
    let reason = super::required(reason, "reason").trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        raise::invalid(
            format!("reason must have from 1 to {LONGEST_REASON} characters"),
            "Callers are told the reason: leadlex.stop('the vendor bills us twice, see ticket 4711').",
        );
    }
    transaction::mark_called();
    let by = role::role_name(role::caller());
    stop::stop(reason, &by);
    events::post_on_commit(Kind::Stopped, About::default(), 1, json!({"reason": reason, "by": by}));
}

/// leadlex.resume(): ends that, from the commit on. Does nothing where requests are sent. Raises the errors of leadlex.stop
/// but 22023.
#[pg_extern(sql = false)]
fn resume_requests() {
    cache::refresh();
    preconditions::require_writable();
    transaction::mark_called();
    let Some(us) = stop::resume() else { return };
    // The queue goes on.
    transaction::with(|t| t.resumed = true);
    let detail = json!({"by": role::role_name(role::caller()), "stopped_for_s": us / 1_000_000});
    events::post_on_commit(Kind::Resumed, About::default(), 1, detail);
}

//! leadlex.drop_workspace.

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::api::privileges;
use crate::pg::api::providers::notice_owed;
use crate::pg::call::preconditions;
use crate::pg::installation;
use crate::pg::installation::as_owner;
use crate::pg::shared::{occupancy, transaction};
use crate::pg::store::{cache, dropping, tickets};
use crate::pg::sys::raise;
use crate::pg::sys::raise::PgError;
use leadlex_domain::sqlstate;

/// leadlex.drop_workspace(workspace_id uuid): takes a workspace away: its providers, keys, grants, budgets, rates and allotment,
/// and what is kept for its calls. Its ledger, its history and what it has spent stay, for the extension's owner to read.
/// Waits for calls under way in the workspace; calls that begin meanwhile wait for this transaction.
///
/// Raises 22023: `workspace_id` is NULL or unknown. 2BP01: tables are bound to it, or jobs wait.
/// Raises 55P03, 57014 or 40P01: the wait has ended so. 25006 or 25000: the transaction is read-only, or parallel.
/// Raises 53400: too many workspaces are limited or dropped at this moment. 40001: it has changed since the transaction's one
/// snapshot. 55000: the worker did not write waiting answers in time; not installed, another version, or not preloaded.
#[pg_extern(sql = false)]
fn drop_workspace(workspace_id: Option<Uuid>) {
    cache::refresh();
    preconditions::require_writable();
    let id = super::known_workspace(super::plain(super::required(workspace_id, "workspace_id")));
    // Before the wait, which a table that is bound would make in vain; and after it.
    refuse_in_use(id);
    transaction::mark_called();
    occupancy::close(installation::account_key(id));
    // Who had it before may have dropped it.
    cache::refresh();
    super::known_workspace(id);
    refuse_in_use(id);
    super::wait_for_all_that_came(|filed| filed.workspace == id, "Nothing was dropped.");
    let (roles, owed) = (dropping::roles(id), tickets::owed_to(id));
    dropping::drop(id);
    super::note_withdrawn_tickets();
    notice_owed(owed, "providers still owe the workspace");
    cache::refresh();
    for role in roles {
        if !cache::access_of(role).iter().any(|access| access.role == role.to_u32()) {
            as_owner(|| privileges::take_own(role));
        }
    }
}

/// Raises 2BP01: tables are bound to the workspace, or jobs wait.
fn refuse_in_use(id: uuid::Uuid) {
    let tables = dropping::bound_tables(id);
    if let Some(first) = tables.first() {
        in_use(
            "the workspace cannot be dropped: tables are bound to it",
            tables.join(", "),
            format!("Unbind them first: SELECT leadlex.unbind_contacts('{}').", first.replace('\'', "''")),
        );
    }
    let jobs = dropping::waiting_jobs(id);
    if jobs > 0 {
        in_use(
            "the workspace cannot be dropped: jobs wait in its queue",
            format!("{jobs} contacts are queued or running."),
            format!(
                "Let them end, see leadlex.job; or take them away: DELETE FROM leadlex.job_set WHERE workspace_id = '{id}' AND state = 'queued'."
            ),
        );
    }
}

fn in_use(message: &str, detail: String, hint: String) -> ! {
    raise::refuse(PgError {
        sqlstate: sqlstate::DEPENDENT_OBJECTS_STILL_EXIST,
        message: message.into(),
        detail: Some(detail),
        hint: Some(hint),
    })
}

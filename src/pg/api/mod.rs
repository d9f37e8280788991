//! The SQL functions. Their declarations, with comments and privileges, are in `sql/`.

/// Tells Postgres how a function is called: by its version-1 conventions.
macro_rules! version_one {
    ($($name:ident),+) => { $(
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> &'static pg_sys::Pg_finfo_record {
            const RECORD: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &RECORD
        }
    )+ };
}
use crate::pg::shared::layout;
use crate::pg::shared::receipts;
use crate::pg::shared::transaction;
use crate::pg::shared::turns;
use crate::pg::shared::workers;
use crate::pg::store::cache;
use crate::pg::sys;
use crate::pg::sys::relation;
use crate::pg::sys::role;
use crate::pg::table;
use leadlex_domain::receipt::Filed;
use leadlex_domain::sqlstate;
use version_one;

mod access;
mod batch;
mod calls;
mod check_provider;
mod contacts;
mod control;
mod credits;
mod drop_workspace;
mod due;
mod estimate;
mod export;
mod forget;
mod later;
mod limits;
mod memory;
mod missing;
mod money;
mod presets;
mod privileges;
mod providers;
mod queue;
mod recheck;
mod refill;
mod revert;
mod shared_values;
mod stats;
mod subject;
mod suppression;
pub mod triggers;
mod usage;
mod workspaces;
mod written;

use std::time::Duration;

use pgrx::pg_sys;
use uuid::Uuid;

pub use privileges::close_contact_table;

use crate::pg::shared::wait;
use crate::pg::store::config;
use crate::pg::sys::raise;

/// Has the background worker write answers that are on their way into the tables, or raises 55000 or 53400: `nothing` says
/// what has not been done then.
fn wait_for_the_books(on_their_way: impl Fn() -> bool, nothing: &str) {
    let mut patience = turns::Patience::new();
    while on_their_way() {
        if !patience.lasts() {
            refuse_if_put_off(nothing);
            turns::give_up("the background worker did not write waiting receipts in time", nothing);
        }
        workers::wake();
        wait::nap(Duration::from_millis(20));
    }
}

/// 55000 where a transaction that stays open, perhaps this one, holds what answers change.
fn refuse_if_put_off(nothing: &str) {
    let database = sys::database::this_database();
    let put_off = receipts::with(|arena| arena.put_off(database));
    if put_off == 0 {
        return;
    }
    raise::refuse(raise::PgError {
        sqlstate: sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        message: "receipts that wait could not be written in time".to_owned(),
        detail: Some(format!("An open transaction holds the rows that {put_off} of them change.")),
        hint: Some(format!(
            "{nothing} End that transaction: it has called leadlex.revert_..., forget_..., recheck or drop_workspace. If it is this one, call this in another one. See leadlex.check()."
        )),
    })
}

/// The same for all answers that have come in until now, about whomever; of those that are put off, for the `concerned` ones.
fn wait_for_all_that_came(concerned: impl Fn(&Filed) -> bool, nothing: &str) {
    let database = sys::database::this_database();
    let newest = receipts::with(|arena| arena.newest());
    let on_their_way = || {
        let (waits, put_off) =
            receipts::with(|arena| (arena.waits_up_to(database, newest), arena.answers_put_off(database)));
        waits || put_off.iter().filter_map(|answer| Filed::from_bytes(answer)).any(|filed| concerned(&filed))
    };
    wait_for_the_books(on_their_way, nothing);
}

/// Once this is committed the worker sees to what tickets leave that were taken away here: what was held for their answers.
fn note_withdrawn_tickets() {
    if layout::available() {
        transaction::with(|t| t.withdrew_tickets = true);
    }
}

/// 42501 where the caller may not write this table, whatever PUBLIC may.
pub fn require_access(relation: pg_sys::Oid) {
    if !access::may(relation, "UPDATE") {
        access::refuse(relation, "UPDATE");
    }
}

/// 42501 where the caller may not read this table, whatever PUBLIC may: policies keep rows from a query, not from its counts.
pub fn require_access_to_explain(relation: pg_sys::Oid) {
    // SAFETY: catalog look-ups.
    let bypasses = unsafe { pg_sys::has_bypassrls_privilege(role::caller()) };
    if bypasses || access::administers() || relation::owns_table(relation) || access::may(relation, "SELECT")
    {
        return;
    }
    raise::refuse(raise::PgError {
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        message: format!("permission denied for table {}", table::name_of(relation)),
        detail: Some("EXPLAIN ANALYZE tells of rows that this role may not see.".into()),
        hint: Some("Ask for leadlex.grant_access(role, workspace_id), or leave out ANALYZE.".into()),
    })
}

/// A workspace that an argument names. Raises 22023: there is none of this id.
fn known_workspace(id: Uuid) -> Uuid {
    match cache::workspace(id) {
        Some(workspace) => workspace.id,
        None => raise::invalid(
            format!("there is no workspace {id}"),
            "SELECT id, name FROM leadlex.workspace lists them; leadlex.create_workspace(name) makes one.",
        ),
    }
}

/// The workspace meant by an argument that may be left out while there is only one. `call` is the call that names one, such
/// as `grant_credits('WORKSPACE_ID', 100)`, for the HINT.
///
/// Raises 22023: there is no such workspace, there is none at all, or `given` is None and there are several.
fn workspace_or_only(given: Option<Uuid>, call: &str) -> Uuid {
    if let Some(id) = given {
        return known_workspace(id);
    }
    match config::some_workspaces().as_slice() {
        [only] => *only,
        [] => raise::invalid(
            "there is no workspace yet",
            "Make one with leadlex.create_workspace(name), or add a provider first: that makes the workspace default.",
        ),
        _ => raise::invalid(
            "workspace_id must be given: there are several workspaces",
            format!("SELECT id, name FROM leadlex.workspace lists them. Name one: SELECT leadlex.{call}."),
        ),
    }
}

/// 22023 for an argument that must not be NULL.
fn required<T>(value: Option<T>, name: &str) -> T {
    value.unwrap_or_else(|| {
        raise::invalid(format!("{name} must not be NULL"), format!("Pass a value for {name}."))
    })
}

/// A jsonb argument; 22023 for one that Postgres can hold and we cannot read (nested too deeply, a number too large).
fn json(value: Option<pgrx::AnyElement>, name: &str) -> Option<serde_json::Value> {
    let datum = value?.datum();
    // SAFETY: the functions are declared with jsonb in this place; the text is palloc'd.
    let text =
        unsafe { std::ffi::CStr::from_ptr(pg_sys::OidOutputFunctionCall(pg_sys::F_JSONB_OUT.into(), datum)) };
    let read = serde_json::from_slice(text.to_bytes());
    Some(read.unwrap_or_else(|error| {
        raise::invalid(format!("{name} cannot be read: {error}"), format!("Pass plainer JSON for {name}."))
    }))
}

/// The UUID in the type that the rest of the code uses.
fn plain(id: pgrx::Uuid) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

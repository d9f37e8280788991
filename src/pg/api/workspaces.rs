//! Workspaces and their rate limits; the worker's status.

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::domain::identity::Workspace;
use crate::domain::rate::{Limits, Window, plan_limits};
use crate::pg::store::{books, config};
use crate::pg::{accounts, cache, desk, guards, raise, receipts, worker};

/// Name of the workspace that the first provider brings with it.
const DEFAULT_WORKSPACE: &str = "default";

#[pg_extern(sql = false)]
fn create_workspace(name: Option<&str>, credits: Option<i64>, plan: Option<&str>) -> Uuid {
    cache::refresh();
    guards::require_writable();
    let name = super::required(name, "name");
    let plan = super::required(plan, "plan");
    if name.trim().is_empty() {
        raise::invalid("name must not be empty", "Give the workspace a name.");
    }
    let Some(limits) = plan_limits(plan) else {
        raise::invalid(format!("unknown plan \"{plan}\""), "Plans are starter, pro, org and unmetered.")
    };
    if credits.is_some_and(|c| c < 0) {
        raise::invalid("credits must not be negative", "Pass NULL for a workspace without a credit limit.");
    }
    let workspace = Workspace {
        id: uuid::Uuid::now_v7(),
        name: name.to_owned(),
        plan: plan.to_owned(),
        limits,
        has_credit_limit: credits.is_some(),
    };
    config::add_workspace(&workspace);
    if let Some(credits) = credits.filter(|&c| c > 0) {
        super::credits::open_balance(workspace.id, credits);
    }
    crate::pg::store::pg(workspace.id)
}

/// For the first provider in a database without workspaces: one without credit or rate limit, open to the
/// extension's owner.
pub fn ensure_default() {
    if !config::some_workspaces().is_empty() {
        return;
    }
    let workspace = Workspace {
        id: uuid::Uuid::now_v7(),
        name: DEFAULT_WORKSPACE.to_owned(),
        plan: "unmetered".to_owned(),
        limits: Limits::UNLIMITED,
        has_credit_limit: false,
    };
    config::add_workspace(&workspace);
    let permissions = [crate::domain::identity::WRITE_ENRICH.to_owned()];
    config::grant_access(workspace.id, cache::installation().owner.to_u32(), &permissions);
}

fn set_limits(workspace: Option<Uuid>, per_minute: Option<i32>, per_day: Option<i32>) {
    cache::refresh();
    let workspace = super::workspace_or_only(workspace.map(super::plain));
    if [per_minute, per_day].into_iter().flatten().any(|limit| limit < 0) {
        raise::invalid("a rate limit must not be negative", "Pass NULL for unlimited.");
    }
    config::set_limits(workspace, per_minute, per_day);
}

#[pg_extern(sql = false)]
fn set_rate_limit(workspace_id: Option<Uuid>, per_minute: Option<i32>, per_day: Option<i32>) {
    set_limits(workspace_id, per_minute, per_day);
}

#[pg_extern(sql = false)]
fn set_rate_limit_here(per_minute: Option<i32>, per_day: Option<i32>) {
    set_limits(None, per_minute, per_day);
}

type RateRow = (&'static str, Option<i64>, Option<i64>, Option<TimestampWithTimeZone>);

// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn rate_limit() -> TableIterator<
    'static,
    (
        name!(window, &'static str),
        name!(limit, Option<i64>),
        name!(remaining, Option<i64>),
        name!(reset, Option<TimestampWithTimeZone>),
    ),
> {
    let caller = super::identity::caller();
    let limits = caller.workspace.limits;
    let key = desk::account_key(caller.workspace.id);
    let status = if limits.is_unlimited() {
        Default::default()
    } else if guards::in_recovery() {
        // On a standby the books are what the primary last recorded; nothing may be kept of them here.
        let now = accounts::now();
        let restored =
            books::load_account(&key.id).rate.map(|r| crate::domain::rate::Meter::restore(&r, now));
        restored.unwrap_or(crate::domain::rate::Meter::EMPTY).status(limits, now)
    } else {
        guards::require_shared_memory();
        accounts::rate_status(accounts::open(key), limits)
    };
    let row = |name, window: Option<Window>| -> RateRow {
        (
            name,
            window.map(|w| i64::from(w.limit)),
            window.map(|w| i64::from(w.remaining)),
            window.map(|w| to_timestamp(w.reset as f64)),
        )
    };
    TableIterator::new([row("minute", status.minute), row("day", status.day)])
}

type StatusRow = (
    &'static str,
    Option<i32>,
    Option<String>,
    &'static str,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<TimestampWithTimeZone>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn worker_report() -> TableIterator<
    'static,
    (
        name!(process, &'static str),
        name!(pid, Option<i32>),
        name!(database, Option<String>),
        name!(state, &'static str),
        name!(runs, Option<i64>),
        name!(ledger_rows_settled, Option<i64>),
        name!(rate_records, Option<i64>),
        name!(keys_purged, Option<i64>),
        name!(last_run, Option<TimestampWithTimeZone>),
        name!(last_error, Option<String>),
        name!(receipts_written, Option<i64>),
        name!(receipts_waiting, Option<i64>),
        name!(receipts_dropped, Option<i64>),
        name!(receipts_expired, Option<i64>),
    ),
> {
    // Not for what it reads, but for what it returns: an older schema declares other columns.
    cache::refresh();
    guards::require_shared_memory();
    let (launcher, databases) = worker::status();
    let state = if launcher > 0 { "running" } else { "not running" };
    let pid = (launcher > 0).then_some(launcher);
    let mut rows: Vec<StatusRow> =
        vec![("launcher", pid, None, state, None, None, None, None, None, None, None, None, None, None)];
    for d in &databases {
        let state = match (d.worker_pid, d.wanted) {
            (1.., _) => "running",
            (_, true) => "waiting",
            _ => "idle",
        };
        let (waiting, dropped) =
            receipts::with(|arena| (arena.waiting(d.oid) as i64, arena.dropped(d.oid) as i64));
        let error = String::from_utf8_lossy(&d.error).trim_end_matches('\0').to_owned();
        rows.push((
            "worker",
            (d.worker_pid > 0).then_some(d.worker_pid),
            database_name(d.oid),
            state,
            Some(d.runs as i64),
            Some(d.settled as i64),
            Some(d.records as i64),
            Some(d.purged as i64),
            (d.last_run > 0).then(|| to_timestamp(d.last_run as f64)),
            (!error.is_empty()).then_some(error),
            Some(d.receipts as i64),
            Some(waiting),
            Some(dropped),
            Some(d.receipts_expired as i64),
        ));
    }
    TableIterator::new(rows)
}

/// What leadlex.worker_status was in schema 0.1.0, which this library says to update.
#[pg_extern(sql = false)]
fn worker_status_rows() {
    cache::refresh();
    raise::not_ready("leadlex.worker_status_rows() is no more", "Use leadlex.worker_status.");
}

fn database_name(oid: u32) -> Option<String> {
    // SAFETY: a palloc'd name, or null for a database that is gone.
    unsafe {
        let name = pg_sys::get_database_name(oid.into());
        (!name.is_null()).then(|| std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

//! Workspaces and their rate limits; the worker's status.

use crate::pg::api::access;
use crate::pg::api::credits;
use crate::pg::shared::job_queues;
use crate::pg::shared::layout;
use crate::pg::shared::workers;
use crate::pg::sys::role;
use crate::pg::sys::row;
use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::call::{identity, preconditions};
use crate::pg::installation;
use crate::pg::limits::remaining;
use crate::pg::shared::layout::{Database, Queue};
use crate::pg::shared::{receipts, single_flight};
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::sys::raise;
use leadlex_domain::call_error::short;
use leadlex_domain::identity::{Workspace, unfit_workspace_name};
use leadlex_domain::rate::{Limits, Window, plan_limits};

/// Name of the workspace that the first provider brings with it.
const DEFAULT_WORKSPACE: &str = "default";

/// leadlex.create_workspace(name text, credits bigint, plan text): makes a workspace and returns its id.
/// `credits` is the opening balance; NULL is no credit limit. The plan sets the rate limits.
///
/// Raises 22023: the name or plan is NULL or unfit, or `credits` is negative. 22003: `credits` is above
/// 10^15.
/// Raises 23505: there is a workspace of this name.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
#[pg_extern(sql = false)]
fn create_workspace(name: Option<&str>, credits: Option<i64>, plan: Option<&str>) -> Uuid {
    cache::refresh();
    preconditions::require_writable();
    let name = super::required(name, "name");
    let plan = super::required(plan, "plan");
    if let Some(why) = unfit_workspace_name(name) {
        raise::invalid(format!("name {why}"), "Give the workspace a name.");
    }
    let Some(limits) = plan_limits(plan) else {
        raise::invalid(
            format!("unknown plan \"{}\"", short(plan)),
            "Plans are starter, pro, org and unmetered.",
        )
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
        credits::open_balance(workspace.id, credits);
    }
    row::pg(workspace.id)
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
    // Several sessions can add their first provider at once: one makes the workspace, and all go on with it.
    if !config::workspace_was_added(&workspace) {
        return;
    }
    let permissions = [leadlex_domain::identity::WRITE_ENRICH.to_owned()];
    config::grant_access(workspace.id, installation::present().owner.to_u32(), &permissions);
}

/// The call with its arguments, and a workspace.
fn limits_call(per_minute: Option<i32>, per_day: Option<i32>) -> String {
    let [per_minute, per_day] =
        [per_minute, per_day].map(|limit| limit.map_or("NULL".to_owned(), |limit| limit.to_string()));
    format!("set_rate_limit('WORKSPACE_ID', {per_minute}, {per_day})")
}

fn set_limits(workspace: Option<Uuid>, per_minute: Option<i32>, per_day: Option<i32>) {
    cache::refresh();
    let workspace = super::workspace_or_only(workspace.map(super::plain), &limits_call(per_minute, per_day));
    if [per_minute, per_day].into_iter().flatten().any(|limit| limit < 0) {
        raise::invalid("a rate limit must not be negative", "Pass NULL for unlimited.");
    }
    config::set_limits(workspace, per_minute, per_day);
}

/// leadlex.set_rate_limit(workspace_id uuid, per_minute integer, per_day integer): sets the rate limits of a
/// workspace. NULL is unlimited; `workspace_id` NULL is the only workspace.
///
/// Raises 22023: a limit is negative, or the workspace is unknown.
/// Raises 40001: the workspace has changed since the transaction's one snapshot.
/// Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn set_rate_limit(workspace_id: Option<Uuid>, per_minute: Option<i32>, per_day: Option<i32>) {
    set_limits(workspace_id, per_minute, per_day);
}

/// leadlex.set_rate_limit(per_minute integer, per_day integer): the same for the only workspace, with the
/// same errors.
#[pg_extern(sql = false)]
fn set_rate_limit_here(per_minute: Option<i32>, per_day: Option<i32>) {
    set_limits(None, per_minute, per_day);
}

type RateRow = (&'static str, Option<i64>, Option<i64>, Option<TimestampWithTimeZone>);

/// leadlex.rate_limit(): two rows, `minute` and `day`, for the caller's workspace: the limit, what remains,
/// and when the window ends. All NULL where the window has no limit.
///
/// Raises LX401: the caller has no identity. 53400: there is no room for another account in shared memory.
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
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
    let workspace = access::caller().workspace;
    let status = remaining::rate(workspace.id, workspace.limits);
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
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// leadlex.worker_status: one row for the launcher, for each database's worker, and for each role's job
/// worker. Administrators and members of pg_monitor see all databases, others their own database and their
/// own roles' jobs, without errors. Empty for callers without a workspace. Counts are since the server
/// started; NULL where they do not apply.
///
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
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
        name!(role, Option<String>),
        name!(contacts, Option<i64>),
        name!(outcomes_dropped, Option<i64>),
        name!(questions_unshared, Option<i64>),
        name!(put_off, Option<i64>),
    ),
> {
    // Not for what it reads, but for what it returns: an older schema declares other columns.
    cache::refresh();
    layout::require();
    let watches = watches();
    if !watches && identity::readable().is_empty() {
        return TableIterator::new(Vec::new());
    }
    let (launcher, databases) = workers::status();
    let state = if launcher > 0 { "running" } else { "not running" };
    let pid = (launcher > 0).then_some(launcher);
    let unshared = Some(single_flight::full() as i64);
    let mut rows: Vec<StatusRow> = vec![(
        "launcher", pid, None, state, None, None, None, None, None, None, None, None, None, None, None, None,
        None, unshared, None,
    )];
    // SAFETY: a global of a backend.
    let here = unsafe { pg_sys::MyDatabaseId }.to_u32();
    let maintained = databases.iter().filter(|d| watches || d.oid == here);
    rows.extend(maintained.map(|d| maintenance_row(d, watches)));
    // SAFETY: a catalog look-up.
    let own = |role: u32| unsafe { pg_sys::has_privs_of_role(role::caller(), role.into()) };
    let queues = job_queues::status();
    let jobs = queues.iter().filter(|q| watches || q.database == here && own(q.role));
    rows.extend(jobs.map(|q| jobs_row(q, watches)));
    TableIterator::new(rows)
}

/// Whether the caller is told of other databases, and how their errors read.
pub fn watches() -> bool {
    let monitor = pg_sys::Oid::from(pg_sys::ROLE_PG_MONITOR);
    // SAFETY: a catalog look-up.
    access::administers() || unsafe { pg_sys::has_privs_of_role(role::caller(), monitor) }
}

/// What a worker that is not running does.
fn worker_state(pid: i32, waits: bool) -> &'static str {
    match (pid, waits) {
        (1.., _) => "running",
        (_, true) => "waiting",
        _ => "idle",
    }
}

fn error_text(error: &[u8]) -> Option<String> {
    let error = String::from_utf8_lossy(error).trim_end_matches('\0').to_owned();
    (!error.is_empty()).then_some(error)
}

fn maintenance_row(d: &Database, watches: bool) -> StatusRow {
    let (waiting, put_off) =
        receipts::with(|arena| (arena.waiting(d.oid) as i64, arena.put_off(d.oid) as i64));
    let (dropped, outcomes_dropped) =
        receipts::with(|arena| (arena.dropped(d.oid) as i64, arena.notes_dropped(d.oid) as i64));
    (
        "worker",
        (d.worker_pid > 0).then_some(d.worker_pid),
        database_name(d.oid),
        if d.clone { "clone" } else { worker_state(d.worker_pid, d.wanted) },
        Some(d.runs as i64),
        Some(d.settled as i64),
        Some(d.records as i64),
        Some(d.purged as i64),
        (d.last_run > 0).then(|| to_timestamp(d.last_run as f64)),
        error_text(&d.error).filter(|_| watches),
        Some(d.receipts as i64),
        Some(waiting),
        Some(dropped),
        Some(d.receipts_expired as i64),
        None,
        None,
        Some(outcomes_dropped),
        None,
        Some(put_off),
    )
}

fn jobs_row(q: &Queue, watches: bool) -> StatusRow {
    let waits = q.wanted || q.due_at < i64::MAX;
    let state = if q.paused || q.frozen { "paused" } else { worker_state(q.worker_pid, waits) };
    let role = role::name_of(q.role.into());
    (
        "job worker",
        (q.worker_pid > 0).then_some(q.worker_pid),
        database_name(q.database),
        state,
        Some(q.runs as i64),
        None,
        None,
        None,
        (q.last_run > 0).then(|| to_timestamp(q.last_run as f64 / 1e6)),
        error_text(&q.error).filter(|_| watches),
        None,
        None,
        None,
        None,
        Some(role),
        Some(q.contacts as i64),
        None,
        None,
        None,
    )
}

fn database_name(oid: u32) -> Option<String> {
    // SAFETY: a palloc'd name, or null for a database that is gone.
    unsafe {
        let name = pg_sys::get_database_name(oid.into());
        (!name.is_null()).then(|| std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

//! Statements: their plans, and the snapshot with which they run.

use std::borrow::Cow;
use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use pgrx::pg_sys;

use super::{Arg, Row, connected, lasting_snapshot, planning, rows};

/// With which snapshot a statement runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// As any statement of the caller: a new snapshot under READ COMMITTED, the transaction's otherwise.
    Caller,
    /// What is committed now, and what this transaction did: for private state that must be current whatever the
    /// isolation level. Read-only.
    Latest,
    /// The same, for a statement that writes, whatever the transaction's own snapshot says.
    Current,
    /// The same, for what an administrator changes: where one snapshot serves the whole transaction, a row that it does
    /// not show as it is now (changed since, or written anew by REPACK or ALTER TABLE) is 40001, not "no such row".
    Serialized,
}

/// One statement, planned at its first execution and kept. Not `Sync` in spirit: a backend has one thread that
/// may run it, and pgrx refuses any other.
pub struct Statement {
    sql: Cow<'static, str>,
    plan: AtomicPtr<pg_sys::_SPI_plan>,
    /// Planned anew for the values of each execution, see [`Statement::planned_each_time`].
    custom: bool,
    /// Not kept after the first execution, see [`Statement::seldom`].
    seldom: bool,
    /// How often it has been executed.
    executions: AtomicU32,
    /// Executions that have begun and not ended, or ended with an error.
    under_way: AtomicU32,
}

impl Statement {
    const fn of(sql: Cow<'static, str>) -> Statement {
        Statement {
            sql,
            plan: AtomicPtr::new(null_mut()),
            custom: false,
            seldom: false,
            executions: AtomicU32::new(0),
            under_way: AtomicU32::new(0),
        }
    }

    /// Keeps the text; the statement is planned when it first runs.
    pub const fn new(sql: &'static str) -> Statement {
        Statement::of(Cow::Borrowed(sql))
    }

    /// The same of what most sessions run once, to remember what it finds: the plan is kept from the second time on. Plans of
    /// all such statements would be most of what a session has in memory.
    pub const fn seldom(sql: &'static str) -> Statement {
        let mut statement = Statement::of(Cow::Borrowed(sql));
        statement.seldom = true;
        statement
    }

    /// A text that is composed.
    pub fn owned(sql: String) -> Statement {
        Statement::of(Cow::Owned(sql))
    }

    /// For a table of many partitions: only those that the values leave are planned, opened and locked. A plan that is kept
    /// locks all of them each time.
    pub fn planned_each_time(sql: String) -> Statement {
        let mut statement = Statement::of(Cow::Owned(sql));
        statement.custom = true;
        statement
    }

    /// Rows, every column as text.
    pub fn query(&self, view: View, args: &[Arg]) -> Vec<Row> {
        connected(|| {
            self.execute(view, args);
            rows()
        })
    }

    /// The first row.
    ///
    /// `None`: there is none.
    pub fn row(&self, view: View, args: &[Arg]) -> Option<Row> {
        self.query(view, args).into_iter().next()
    }

    /// Rows processed.
    pub fn run(&self, args: &[Arg]) -> u64 {
        self.run_in(View::Caller, args)
    }

    /// Rows processed by a statement with this view.
    pub fn run_in(&self, view: View, args: &[Arg]) -> u64 {
        connected(|| {
            self.execute(view, args);
            // SAFETY: SPI sets this global after every execution; read in the same connection.
            unsafe { pg_sys::SPI_processed }
        })
    }

    fn execute(&self, view: View, args: &[Arg]) {
        let plan = self.plan(args);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.execute_plan(plan, view, args);
        let is_last = self.under_way.fetch_sub(1, Ordering::Relaxed) == 1;
        let is_first = self.executions.fetch_add(1, Ordering::Relaxed) == 0;
        if self.seldom && is_first && is_last {
            self.free_plan();
        }
    }

    fn execute_plan(&self, plan: pg_sys::SPIPlanPtr, view: View, args: &[Arg]) {
        let (mut values, nulls) = bound(args);
        let (values, nulls) = (values.as_mut_ptr(), nulls.as_ptr());
        // SAFETY: the plan is kept and was prepared for exactly these argument types (they are fixed per statement);
        // values and nulls outlive the call. A pushed snapshot is popped below, or by (sub)transaction abort; those that
        // are handed in are copied by the callee, as for referential integrity.
        // While a parallel query runs (a row-level policy asks us), no snapshot may be taken: its own has to do.
        let status = unsafe {
            match view {
                View::Caller => pg_sys::SPI_execute_plan(plan, values, nulls, false, 0),
                View::Latest if pg_sys::IsInParallelMode() => {
                    pg_sys::SPI_execute_plan(plan, values, nulls, true, 0)
                }
                View::Latest => {
                    self.lock_relations(plan);
                    pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
                    let status = pg_sys::SPI_execute_plan(plan, values, nulls, true, 0);
                    pg_sys::PopActiveSnapshot();
                    status
                }
                View::Current | View::Serialized => {
                    self.lock_relations(plan);
                    let crosschecks = view == View::Serialized && lasting_snapshot();
                    let own = if crosschecks { pg_sys::GetTransactionSnapshot() } else { null_mut() };
                    let latest = pg_sys::GetLatestSnapshot();
                    pg_sys::SPI_execute_snapshot(plan, values, nulls, latest, own, false, true, 0)
                }
            }
        };
        assert!(status >= 0, "SPI returned {status} for {}", self.sql);
    }

    pub(super) fn plan(&self, args: &[Arg]) -> pg_sys::SPIPlanPtr {
        let kept = self.plan.load(Ordering::Relaxed);
        if !kept.is_null() {
            return kept;
        }
        let sql = CString::new(self.sql.as_ref()).unwrap_or_default();
        let mut kinds: Vec<pg_sys::Oid> = args.iter().map(|a| a.kind).collect();
        // SAFETY: called between SPI_connect and SPI_finish with a NUL-terminated text and as many types as counted.
        // SPI_keepplan moves the plan to CacheMemoryContext, where it stays until SPI_freeplan in Drop.
        let plan = unsafe {
            let options = match self.custom {
                true => pg_sys::CURSOR_OPT_CUSTOM_PLAN as i32,
                false => pg_sys::CURSOR_OPT_GENERIC_PLAN as i32 | planning::BY_INDEX,
            };
            let plan =
                pg_sys::SPI_prepare_cursor(sql.as_ptr(), kinds.len() as i32, kinds.as_mut_ptr(), options);
            let result = pg_sys::SPI_result;
            assert!(!plan.is_null(), "SPI_prepare returned {result} for {}", self.sql);
            pg_sys::SPI_keepplan(plan);
            plan
        };
        self.plan.store(plan, Ordering::Relaxed);
        plan
    }

    /// Those of a plan that is kept; which ones another has is not known before.
    fn lock_relations(&self, plan: pg_sys::SPIPlanPtr) {
        if !self.custom {
            lock_relations(plan);
        }
    }

    /// No execution of it is under way.
    fn free_plan(&self) {
        let plan = self.plan.swap(null_mut(), Ordering::Relaxed);
        if !plan.is_null() {
            // SAFETY: kept by `plan` above, and nobody else holds it.
            unsafe { pg_sys::SPI_freeplan(plan) };
        }
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        self.free_plan();
    }
}

/// Values and null flags as SPI wants them.
pub(super) fn bound(args: &[Arg]) -> (Vec<pg_sys::Datum>, Vec<std::ffi::c_char>) {
    let values = args.iter().map(|a| a.value.unwrap_or(pg_sys::Datum::from(0))).collect();
    let nulls = args.iter().map(|a| if a.value.is_some() { b' ' } else { b'n' } as _).collect();
    (values, nulls)
}

/// Locks all relations of the plan, until the end of the transaction, as executing it would.
///
/// To be done before the snapshot is taken. A table that is rewritten (REPACK, VACUUM FULL, ALTER TABLE) while its lock is
/// waited for has all rows from a later transaction: a snapshot that is older than the lock would show it empty.
fn lock_relations(plan: pg_sys::SPIPlanPtr) {
    // SAFETY: a kept plan; what is got is released at once, the locks stay.
    unsafe {
        let cached = pg_sys::SPI_plan_get_cached_plan(plan);
        if !cached.is_null() {
            pg_sys::ReleaseCachedPlan(cached, pg_sys::CurrentResourceOwner);
        }
    }
}

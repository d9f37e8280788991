//! Prepared statements kept for the life of the backend, with the snapshot chosen by the caller.
//!
//! pgrx's own SPI client runs read-only until the transaction has an xid, and cannot use the latest snapshot;
//! both matter here.

mod args;
mod cursor;

use leadlex_domain::sqlstate;
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::PgTryBuilder;
use pgrx::pg_sys;

pub use args::{Arg, arg, name_arg, optional_texts_arg, texts_arg, uuids_arg};

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

/// One row, each column as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// One statement, planned at its first execution and kept. Not `Sync` in spirit: a backend has one thread that
/// may run it, and pgrx refuses any other.
pub struct Statement {
    sql: Cow<'static, str>,
    plan: AtomicPtr<pg_sys::_SPI_plan>,
    /// Planned anew for the values of each execution, see [`Statement::planned_each_time`].
    custom: bool,
}

impl Statement {
    /// Keeps the text; the statement is planned when it first runs.
    pub const fn new(sql: &'static str) -> Statement {
        Statement { sql: Cow::Borrowed(sql), plan: AtomicPtr::new(null_mut()), custom: false }
    }

    pub fn owned(sql: String) -> Statement {
        Statement { sql: Cow::Owned(sql), plan: AtomicPtr::new(null_mut()), custom: false }
    }

    /// For a table of many partitions: only those that the values leave are planned, opened and locked. A plan that is kept
    /// locks all of them each time.
    pub fn planned_each_time(sql: String) -> Statement {
        Statement { sql: Cow::Owned(sql), plan: AtomicPtr::new(null_mut()), custom: true }
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

    fn plan(&self, args: &[Arg]) -> pg_sys::SPIPlanPtr {
        let kept = self.plan.load(Ordering::Relaxed);
        if !kept.is_null() {
            // SAFETY: a kept plan; tells whether something it depends on has changed.
            if !self.custom && !unsafe { pg_sys::SPI_plan_is_valid(kept) } {
                plan_by_index(kept);
            }
            return kept;
        }
        let sql = CString::new(self.sql.as_ref()).unwrap_or_default();
        let mut kinds: Vec<pg_sys::Oid> = args.iter().map(|a| a.kind).collect();
        // SAFETY: called between SPI_connect and SPI_finish with a NUL-terminated text and as many types as counted.
        // SPI_keepplan moves the plan to CacheMemoryContext, where it stays until SPI_freeplan in Drop.
        let plan = unsafe {
            let kind =
                if self.custom { pg_sys::CURSOR_OPT_CUSTOM_PLAN } else { pg_sys::CURSOR_OPT_GENERIC_PLAN };
            let options = kind as i32;
            let plan =
                pg_sys::SPI_prepare_cursor(sql.as_ptr(), kinds.len() as i32, kinds.as_mut_ptr(), options);
            let result = pg_sys::SPI_result;
            assert!(!plan.is_null(), "SPI_prepare returned {result} for {}", self.sql);
            pg_sys::SPI_keepplan(plan);
            plan
        };
        self.plan.store(plan, Ordering::Relaxed);
        if !self.custom {
            plan_by_index(plan);
        }
        plan
    }

    /// Those of a plan that is kept; which ones another has is not known before.
    fn lock_relations(&self, plan: pg_sys::SPIPlanPtr) {
        if !self.custom {
            lock_relations(plan);
        }
    }
}

/// Values and null flags as SPI wants them.
fn bound(args: &[Arg]) -> (Vec<pg_sys::Datum>, Vec<std::ffi::c_char>) {
    let values = args.iter().map(|a| a.value.unwrap_or(pg_sys::Datum::from(0))).collect();
    let nulls = args.iter().map(|a| if a.value.is_some() { b' ' } else { b'n' } as _).collect();
    (values, nulls)
}

/// Makes the generic plan now, preferring indexes. All our statements look up a few rows by key; on a table that is
/// small at the moment the planner would choose to read all of it, which stays chosen when the table has grown, and
/// under SERIALIZABLE makes every call conflict with every other.
///
/// Never compiled to machine code: where there is no index to prefer, the cost that the planner adds would have that
/// done at every execution, which takes half a second.
fn plan_by_index(plan: pg_sys::SPIPlanPtr) {
    with_settings(&[(c"enable_seqscan", c"off"), (c"jit", c"off")], || lock_relations(plan));
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

/// Runs `work` where no statement is under way: in a transaction that is about to commit.
pub fn with_snapshot<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: in a transaction; when `work` raises, its abort pops the snapshot.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    let result = work();
    // SAFETY: pushed above.
    unsafe { pg_sys::PopActiveSnapshot() };
    result
}

/// Whether one snapshot serves the whole transaction: REPEATABLE READ or SERIALIZABLE.
pub fn lasting_snapshot() -> bool {
    // SAFETY: reads a global. The macro IsolationUsesXactSnapshot().
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Runs `work`, which runs nothing of the caller's, under other settings than the caller's.
pub fn with_settings<R>(settings: &[(&CStr, &CStr)], work: impl FnOnce() -> R) -> R {
    // SAFETY: known settings with values that they take. They are the caller's again below, or, when `work` raises, at
    // the end of the (sub)transaction that this aborts.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        for (name, value) in settings {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
        let result = work();
        pg_sys::AtEOXact_GUC(true, level);
        result
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        let plan = self.plan.swap(null_mut(), Ordering::Relaxed);
        if !plan.is_null() {
            // SAFETY: kept by `plan` above, and nobody else holds it.
            unsafe { pg_sys::SPI_freeplan(plan) };
        }
    }
}

/// Statements that are composed when they run and used once (DDL on the user's behalf).
pub fn run_once(sql: String) {
    Statement::owned(sql).run(&[]);
}

fn connected<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: balanced by SPI_finish; when `work` raises, (sub)transaction abort closes the connection.
    unsafe { pg_sys::SPI_connect() };
    let result = work();
    // SAFETY: see above; the results were copied out.
    unsafe { pg_sys::SPI_finish() };
    result
}

fn rows() -> Vec<Row> {
    // SAFETY: after a successful execution SPI_tuptable is null or valid until SPI_finish, with numvals tuples of
    // tupdesc, whose columns are numbered from 1.
    unsafe {
        let table = pg_sys::SPI_tuptable;
        if table.is_null() {
            return Vec::new();
        }
        let (desc, count) = ((*table).tupdesc, (*table).numvals as usize);
        let are_text: Vec<bool> = (1..=(*desc).natts)
            .map(|column| pg_sys::SPI_gettypeid(desc, column) == pg_sys::TEXTOID)
            .collect();
        (0..count)
            .map(|row| {
                let tuple = *(*table).vals.add(row);
                (1..).zip(&are_text).map(|(column, is_text)| value(tuple, desc, column, *is_text)).collect()
            })
            .collect()
    }
}

unsafe fn value(
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    column: i32,
    is_text: bool,
) -> Option<String> {
    // SAFETY: see `rows`. A text is read as it is; for other types SPI_getvalue returns a palloc'd text or null.
    unsafe {
        if is_text {
            let mut is_null = false;
            let datum = pg_sys::SPI_getbinval(tuple, desc, column, &mut is_null);
            if is_null {
                return None;
            }
            let text = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
            return Some(String::from_utf8_lossy(pgrx::varlena_to_byte_slice(text)).into_owned());
        }
        let text = pg_sys::SPI_getvalue(tuple, desc, column);
        if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().into_owned()) }
    }
}

/// What an error of Postgres is about, and in which of its source files it was raised.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub datatype: Option<String>,
    pub constraint: Option<String>,
    pub file: Option<String>,
    /// What was being run, the innermost first.
    pub context: Option<String>,
}

impl About {
    /// # Safety
    /// Of an error whose texts are NUL-terminated, or null.
    unsafe fn of(error: &pg_sys::ErrorData) -> About {
        let text = |text: *const std::ffi::c_char| match text.is_null() {
            true => None,
            // SAFETY: as promised by the caller.
            false => Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()),
        };
        About {
            schema: text(error.schema_name),
            table: text(error.table_name),
            column: text(error.column_name),
            datatype: text(error.datatype_name),
            constraint: text(error.constraint_name),
            file: text(error.filename),
            context: text(error.context),
        }
    }
}

/// An error that was caught, and rolled back.
#[derive(Clone, Debug)]
pub struct Caught {
    pub sqlstate: String,
    pub message: String,
    pub about: Box<About>,
}

impl Caught {
    /// Whether it speaks of a row, not of the server, the session or the transaction: those are Postgres's to raise. Triggers
    /// written in C know little else than XX000. Where each statement has a snapshot of its own, a conflict (a row that was
    /// moved to another partition) concerns that row only.
    pub fn is_of_a_row(&self) -> bool {
        match self.sqlstate.as_str() {
            "XX000" => true,
            sqlstate::SERIALIZATION_FAILURE => !lasting_snapshot(),
            other => {
                let class = other.get(..2).unwrap_or_default();
                !["25", "40", "53", "57", "58", "F0", "XX"].contains(&class)
            }
        }
    }
}

/// Runs `work` in a subtransaction; an error whose SQLSTATE `expected` accepts rolls it back and gives `None`.
pub fn in_subtransaction<R>(
    work: impl FnOnce() -> R,
    expected: impl Fn(pgrx::PgSqlErrorCode) -> bool,
) -> Option<R> {
    caught_as(work, |code, _| expected(code), true).ok()
}

/// Runs `work` in a subtransaction; an error that `expected` accepts rolls it back.
pub fn caught<R>(work: impl FnOnce() -> R, expected: impl Fn(&Caught) -> bool) -> Result<R, Caught> {
    caught_as(work, |_, caught| expected(caught), true)
}

/// Runs `work` in a subtransaction that is rolled back in any case; an error that `expected` accepts is handed back.
pub fn tried<R>(work: impl FnOnce() -> R, expected: impl Fn(&Caught) -> bool) -> Result<R, Caught> {
    caught_as(work, |_, caught| expected(caught), false)
}

/// Runs `work`, which writes nothing, in a subtransaction that is rolled back: the locks that it took are gone afterwards.
pub fn without_locks<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: as below; the result is Rust's own.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let end = move || {
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::CurrentResourceOwner = owner;
        };
        let work = std::panic::AssertUnwindSafe(work);
        let result = PgTryBuilder::new(std::panic::AssertUnwindSafe(move || { work }.0()))
            .catch_others(move |error| {
                // A Rust panic goes on to the end of the transaction.
                if !matches!(error, pgrx::pg_sys::panic::CaughtError::RustPanic { .. }) {
                    end();
                }
                error.rethrow()
            })
            .execute();
        end();
        result
    }
}

/// The SQLSTATE of the error that is being handled.
///
/// # Safety
/// Only while an error that Postgres raised is on its stack.
pub unsafe fn raw_sqlstate(context: pg_sys::MemoryContext) -> i32 {
    // SAFETY: as promised by the caller.
    unsafe { raw_error(context, |error| error.sqlerrcode) }
}

/// # Safety
/// As above.
unsafe fn raw_error<R>(context: pg_sys::MemoryContext, read: impl FnOnce(&pg_sys::ErrorData) -> R) -> R {
    // SAFETY: as promised by the caller; the copy is made outside of ErrorContext, as it has to be, and freed.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(context);
        let copy = pg_sys::CopyErrorData();
        let result = read(&*copy);
        pg_sys::FreeErrorData(copy);
        pg_sys::MemoryContextSwitchTo(before);
        result
    }
}

fn caught_as<R>(
    work: impl FnOnce() -> R,
    expected: impl Fn(pgrx::PgSqlErrorCode, &Caught) -> bool,
    keep: bool,
) -> Result<R, Caught> {
    // SAFETY: the standard dance of PL/pgSQL's exception block: context and owner are restored on both ways out.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let work = std::panic::AssertUnwindSafe(work);
        let expected = std::panic::AssertUnwindSafe(expected);
        let result = PgTryBuilder::new(std::panic::AssertUnwindSafe(move || {
            let result = { work }.0();
            match keep {
                true => pg_sys::ReleaseCurrentSubTransaction(),
                false => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
            }
            Ok(result)
        }))
        .catch_others(move |error| {
            use pgrx::pg_sys::panic::CaughtError;
            // Also before it goes on: an exception block of the caller's ends one subtransaction, its own.
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
            pg_sys::CurrentResourceOwner = owner;
            let (code, caught) = match &error {
                CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
                    let code = report.sql_error_code();
                    // pgrx knows Postgres's own codes only; the error as Postgres has it is still on its stack.
                    let (raw, about) = match &error {
                        CaughtError::PostgresError(_) => {
                            raw_error(context, |error| (error.sqlerrcode, About::of(error)))
                        }
                        _ => (code as i32, About::default()),
                    };
                    let state = CStr::from_ptr(pg_sys::unpack_sql_state(raw));
                    let caught = Caught {
                        sqlstate: state.to_string_lossy().into_owned(),
                        message: report.message().to_owned(),
                        about: Box::new(about),
                    };
                    (code, caught)
                }
                CaughtError::RustPanic { .. } => error.rethrow(),
            };
            if expected(code, &caught) { Err(caught) } else { error.rethrow() }
        })
        .execute();
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

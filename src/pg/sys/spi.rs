//! Prepared statements, most of them kept for the life of the backend, with the snapshot chosen by the caller.
//!
//! pgrx's own SPI client runs read-only until the transaction has an xid, and cannot use the latest snapshot;
//! both matter here.

mod args;
mod cursor;
pub mod planning;
mod statement;

use leadlex_domain::sqlstate;
use std::ffi::CStr;

use pgrx::PgTryBuilder;
use pgrx::pg_sys;

pub use args::{Arg, arg, name_arg, optional_texts_arg, texts_arg, uuids_arg};
pub use statement::{Statement, View};

/// One row, each column as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

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

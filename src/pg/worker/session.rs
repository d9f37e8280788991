//! A worker as a session: its transactions, its settings, and what it tells of itself.

use std::ffi::CStr;
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_sys};

use crate::pg::shared::{layout, workers};
use crate::pg::store::cache;
use crate::pg::sys::spi;
use leadlex_domain::sqlstate;

/// Changes the entry of a database in shared memory, if it has one or a place is free for it.
pub fn mark(database: u32, change: impl FnOnce(&mut layout::Database)) {
    layout::with_header(|h| {
        if let Some(entry) = workers::entry(h, database) {
            change(entry);
        }
    });
}

/// Copies as many whole characters of `text` as fit, and fills the rest with NULs; at least one NUL stays.
pub fn put_text(to: &mut [u8], text: &str) {
    to.fill(0);
    let end =
        text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|&e| e < to.len()).last().unwrap_or(0);
    to[..end].copy_from_slice(&text.as_bytes()[..end]);
}

/// A cancel was meant for what this process did before.
pub fn forget_cancel() {
    // SAFETY: a flag of this process, which its signal handler sets.
    unsafe { pg_sys::QueryCancelPending = 0 };
}

/// Why a transaction of the worker's failed.
pub struct TransactionFailure {
    pub message: String,
    pub sqlstate: String,
    /// Because of what was to be written (SQLSTATE class 22 or 23): to try again is no use.
    pub by_data: bool,
}

impl TransactionFailure {
    /// Others hold a row or the table.
    pub fn is_held_up(&self) -> bool {
        let codes =
            [sqlstate::LOCK_NOT_AVAILABLE, sqlstate::SERIALIZATION_FAILURE, sqlstate::DEADLOCK_DETECTED];
        codes.contains(&self.sqlstate.as_str())
    }
}

/// Runs `work` in a transaction of its own. An error is rolled back and given as text.
pub fn attempt<R>(work: impl FnOnce() -> R) -> Result<R, TransactionFailure> {
    attempt_as(c"leadlex_enrich: recording rate use and receipts, settling the ledger", work)
}

/// The same; `doing` is what pg_stat_activity shows.
pub fn attempt_as<R>(doing: &CStr, work: impl FnOnce() -> R) -> Result<R, TransactionFailure> {
    forget_cancel();
    // SAFETY: the worker is in no transaction here; on an error the abort releases whatever was held.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, doing.as_ptr());
    }
    // SAFETY: set by the begin of the transaction, and as long as it lives.
    let context = unsafe { pg_sys::CurrentMemoryContext };
    let work = AssertUnwindSafe(work);
    PgTryBuilder::new(AssertUnwindSafe(move || {
        cache::forget_changed();
        let result = { work }.0();
        // SAFETY: ends what was begun above.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(result)
    }))
    .catch_others(move |error| {
        let report = match &error {
            CaughtError::PostgresError(r) | CaughtError::ErrorReport(r) => r,
            CaughtError::RustPanic { ereport, .. } => ereport,
        };
        // SAFETY: an error of Postgres's is on its stack until the abort below. unpack_sql_state returns a static,
        // NUL-terminated text.
        let state = unsafe {
            let code = match &error {
                CaughtError::PostgresError(_) => spi::raw_sqlstate(context),
                _ => report.sql_error_code() as i32,
            };
            CStr::from_ptr(pg_sys::unpack_sql_state(code))
        };
        let by_data = matches!(state.to_bytes(), [b'2', b'2' | b'3', ..]);
        let sqlstate = state.to_string_lossy().into_owned();
        let failure = TransactionFailure { message: report.message().to_owned(), sqlstate, by_data };
        // SAFETY: as after any error at the top of a process: nothing holds interrupts back there.
        unsafe {
            pg_sys::AbortCurrentTransaction();
            pg_sys::InterruptHoldoffCount = 0;
        }
        Err(failure)
    })
    .execute()
}

/// The records count only once they are durable: ends the transaction begun by `attempt`, and begins another for it
/// to end.
pub fn commit_and_begin() {
    // SAFETY: the snapshot pushed by `attempt` is popped for the commit, and another one pushed for its own commit.
    unsafe {
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
}

//! How long one run of queued jobs may take. In a background worker nothing arms statement_timeout by itself.
//!
//! The first timer cancels, as statement_timeout does in a session. A trigger can catch that and go on: the second timer,
//! some time after, ends the process.

use leadlex_domain::sqlstate;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::sys::settings;
use crate::pg::worker::session::TransactionFailure;

/// From the cancel to the end of a process that goes on.
const GRACE: Duration = Duration::from_secs(5);

/// Of `utils/timeout.h`, for which pgrx has no bindings.
mod timeouts {
    /// The same in all versions.
    pub const STATEMENT_TIMEOUT: i32 = 3;
    /// At or above USER_TIMEOUT in all versions: `RegisterTimeout` looks for a free place by itself.
    pub const ANY_USER_TIMEOUT: i32 = 20;
    /// What a timer calls, within a signal handler.
    pub type Handler = unsafe extern "C-unwind" fn();
    unsafe extern "C-unwind" {
        /// Registers a handler and returns the number of its timer.
        pub fn RegisterTimeout(id: i32, handler: Handler) -> i32;
        /// Arms a timer; `delay_ms` is in milliseconds.
        pub fn enable_timeout_after(id: i32, delay_ms: i32);
        /// Disarms a timer. `keep_indicator`: what it says of having fired stays.
        pub fn disable_timeout(id: i32, keep_indicator: bool);
    }
}

thread_local! {
    static END: Cell<Option<i32>> = const { Cell::new(None) };
}

static OVERRAN: AtomicBool = AtomicBool::new(false);

/// Whether this process was ended because its run went on after the cancel.
pub fn overran() -> bool {
    OVERRAN.load(Ordering::Relaxed)
}

/// Runs in a signal handler.
unsafe extern "C-unwind" fn end() {
    OVERRAN.store(true, Ordering::Relaxed);
    // SAFETY: a signal to this process; `die` takes it.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}

/// Once in a worker that has connected to its database: by then Postgres has registered its own timers.
pub fn register() {
    // SAFETY: the handler does what signal handlers may do.
    END.set(Some(unsafe { timeouts::RegisterTimeout(timeouts::ANY_USER_TIMEOUT, end) }));
}

/// The limit of one run.
#[derive(Clone, Copy)]
pub struct Limit {
    begun: Instant,
    pub length: Duration,
    name: &'static str,
}

impl Limit {
    /// leadlex.job_timeout, or statement_timeout where the role, database or server has a smaller one.
    pub fn begin() -> Limit {
        // SAFETY: a global of this process; not negative.
        let statement = Duration::from_millis(unsafe { pg_sys::StatementTimeout }.max(0) as u64);
        let job = settings::job_timeout();
        let own = !statement.is_zero() && statement < job;
        let (length, name) =
            if own { (statement, "statement_timeout") } else { (job, "leadlex.job_timeout") };
        let limit = Limit { begun: Instant::now(), length, name };
        let ms = |length: Duration| i32::try_from(length.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: both timers are registered; `end` takes them back.
        unsafe {
            timeouts::enable_timeout_after(timeouts::STATEMENT_TIMEOUT, ms(length));
            if let Some(id) = END.get() {
                timeouts::enable_timeout_after(id, ms(length + GRACE));
            }
        }
        limit
    }

    /// The run is over. A cancel that comes too late is forgotten with the next transaction.
    pub fn end(self) {
        // SAFETY: as above.
        unsafe {
            timeouts::disable_timeout(timeouts::STATEMENT_TIMEOUT, false);
            if let Some(id) = END.get() {
                timeouts::disable_timeout(id, false);
            }
        }
    }

    /// Says which limit it was, where the run has failed because of it.
    pub fn explain(self, failure: TransactionFailure) -> TransactionFailure {
        if failure.sqlstate != sqlstate::QUERY_CANCELED || self.begun.elapsed() < self.length {
            return failure;
        }
        let seconds = self.length.as_secs_f64();
        TransactionFailure { message: format!("not done within {} ({seconds} s)", self.name), ..failure }
    }
}

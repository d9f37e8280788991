//! How long one run of queued jobs may take: nothing else limits a statement of a background worker, so a slow trigger of
//! one role would keep the queues of all databases waiting.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::super::settings;
use super::round::Failed;

// Of utils/timeout.h, which pgrx has no bindings for. None of them raises an error.
unsafe extern "C-unwind" {
    fn enable_timeout_every(id: c_int, first_at: i64, delay_ms: c_int);
    fn disable_timeout(id: c_int, keep_indicator: bool);
    fn get_timeout_indicator(id: c_int, reset_indicator: bool) -> bool;
}

/// STATEMENT_TIMEOUT of the enum TimeoutId, in all versions from 15 to 19.
const STATEMENT_TIMEOUT: c_int = 3;
/// A trigger may catch the cancel and go on: it is cancelled again after so long.
const AGAIN_MS: c_int = 1_000;

/// The limit of one run that has begun.
pub struct RunLimit {
    limit: Duration,
    begun: Instant,
}

impl RunLimit {
    /// As the settings of this session, which are those of the job's role, say now.
    pub fn begin() -> RunLimit {
        // SAFETY: reads a setting.
        let own = Duration::from_millis(unsafe { pg_sys::StatementTimeout }.max(0) as u64);
        let limit = match settings::job_timeout() {
            ours if own.is_zero() => ours,
            ours => ours.min(own),
        };
        RunLimit { limit, begun: Instant::now() }
    }

    /// Runs `work`, which is cancelled (57014) when the time is over.
    pub fn keep<R>(&self, work: impl FnOnce() -> R) -> R {
        struct Disarm;
        impl Drop for Disarm {
            fn drop(&mut self) {
                // SAFETY: plain calls. A cancel that came too late for `work` is not meant for what follows.
                unsafe {
                    disable_timeout(STATEMENT_TIMEOUT, true);
                    if get_timeout_indicator(STATEMENT_TIMEOUT, true) {
                        pg_sys::QueryCancelPending = 0;
                    }
                }
            }
        }
        // SAFETY: InitPostgres has registered this timeout's handler, which cancels as pg_cancel_backend does.
        unsafe {
            let end = pg_sys::GetCurrentTimestamp() + self.limit.as_micros() as i64;
            enable_timeout_every(STATEMENT_TIMEOUT, end, AGAIN_MS);
        }
        let _disarm = Disarm;
        work()
    }

    /// What is told of a failure: that the time was over, where it was.
    pub fn explain(&self, failure: Failed) -> Failed {
        if failure.sqlstate != "57014" || self.begun.elapsed() < self.limit {
            return failure;
        }
        let name = match self.limit < settings::job_timeout() {
            true => "statement_timeout of its role",
            false => "leadlex.job_timeout",
        };
        let message = format!("it took longer than {name} allows ({} ms)", self.limit.as_millis());
        Failed { message, ..failure }
    }
}

//! The background workers: the maintenance worker, and those that run queued jobs (`jobs`).
//!
//! A launcher, connected to no database, starts one short-lived worker for each database in which work waits, a few
//! at a time. A worker that finds nothing more to do for half a second leaves, so that it is in nobody's way
//! (DROP DATABASE, CREATE DATABASE … TEMPLATE) and any number of databases can be served. Jobs are run by workers of
//! their own, one for each database and role, whose session is that role's.

mod allotment_writer;
mod event_writer;
mod history_pruner;
mod job_caps;
mod job_failure;
mod job_next;
mod job_owed;
mod job_role;
mod job_run;
mod job_worker;
mod launcher;
mod leases;
mod limit;
mod maintenance;
mod orphans;
mod receipt_writer;
mod refusal_writer;
mod session;
mod spend_writer;
mod sweep;
mod tally_writer;
mod waiting_jobs;

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

/// Registers the launcher with the postmaster.
pub fn register() {
    let mut worker = describe(c"leadlex_enrich launcher", c"leadlex_launcher_main");
    worker.bgw_flags = (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32;
    worker.bgw_restart_time = 5;
    // SAFETY: runs in the postmaster while it preloads.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) };
}

fn describe(name: &CStr, function: &CStr) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32,
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
        bgw_restart_time: pg_sys::BGW_NEVER_RESTART,
        ..Default::default()
    };
    put(&mut worker.bgw_name, name);
    put(&mut worker.bgw_type, name);
    put(&mut worker.bgw_library_name, c"leadlex_enrich");
    put(&mut worker.bgw_function_name, function);
    worker
}

fn put(to: &mut [c_char], text: &CStr) {
    for (to, from) in to.iter_mut().zip(text.to_bytes_with_nul()) {
        *to = *from as c_char;
    }
}

/// Postgres's signal handlers as they are: pgrx's wrappers around them are no C functions. Since 19 they are told the
/// sender, too.
mod handlers {
    #[cfg(feature = "pg19")]
    use pgrx::pg_sys::pg_signal_info;
    /// A signal handler, as Postgres declares it.
    #[cfg(feature = "pg19")]
    pub type Handler = unsafe extern "C-unwind" fn(i32, *const pg_signal_info);
    /// A signal handler, as Postgres declares it.
    #[cfg(not(feature = "pg19"))]
    pub type Handler = unsafe extern "C-unwind" fn(i32);
    unsafe extern "C-unwind" {
        /// Ends the process at the next check for interrupts, as an administrator's command does in a
        /// session.
        pub fn die(signal: i32, #[cfg(feature = "pg19")] info: *const pg_signal_info);
        /// Notes that the configuration is to be read again.
        pub fn SignalHandlerForConfigReload(
            signal: i32,
            #[cfg(feature = "pg19")] info: *const pg_signal_info,
        );
        /// Notes that the process is asked to end.
        pub fn SignalHandlerForShutdownRequest(
            signal: i32,
            #[cfg(feature = "pg19")] info: *const pg_signal_info,
        );
        // Since 18 `pqsignal` is a macro. What it returned before is of no interest.
        /// Sets the handler of a signal.
        #[cfg_attr(not(any(feature = "pg15", feature = "pg16", feature = "pg17")), link_name = "pqsignal_be")]
        pub fn pqsignal(signal: i32, handler: Handler);
    }
}

/// A setting of this process, whatever the configuration says.
fn set_own(name: &CStr, value: &CStr) {
    // SAFETY: both are NUL-terminated, and copied.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// What ends a session's transactions (ALTER DATABASE … SET, or the server's configuration) does not end a worker's: what
/// its transactions do is bounded otherwise. The other limits of sessions are armed by sessions only.
fn lift_limits() {
    if cfg!(not(any(feature = "pg15", feature = "pg16"))) {
        set_own(c"transaction_timeout", c"0");
    }
}

/// Reads the configuration again after SIGHUP.
fn reload_if_asked() {
    // SAFETY: globals of this process; the handler only sets the flag.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

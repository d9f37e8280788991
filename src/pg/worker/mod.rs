//! The background workers: one that keeps the books, and those that run queued jobs (`jobs`).
//!
//! A launcher, connected to no database, starts one short-lived worker for each database in which work waits, a few
//! at a time. A worker that finds nothing more to do for half a second leaves, so that it is in nobody's way
//! (DROP DATABASE, CREATE DATABASE … TEMPLATE) and any number of databases can be served. Jobs are run by workers of
//! their own, one for each database and role, whose session is that role's.

pub mod explain;
pub mod job_queues;
mod job_run;
mod job_worker;
mod launcher;
mod leases;
mod limit;
pub mod lockouts;
mod maintenance;
mod orphans;
mod receipt_writer;
mod sweep;
mod tally_writer;
mod turns;
pub mod utility_hook;

use crate::pg::sys::clock;
use std::cell::Cell;
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

use crate::pg::shared::layout;
use crate::pg::shared::layout::{Database, Header};
pub use turns::{Patience, give_up};

thread_local! {
    /// Where this database's entry stood at the last note.
    static NOTED_AT: Cell<Option<usize>> = const { Cell::new(None) };
}

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

fn this_database() -> u32 {
    // SAFETY: a global set when the process connected to its database.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// The entry of a database, made if there is none; `None` when there are too many with work waiting.
fn entry(header: &mut Header, oid: u32) -> Option<&mut Database> {
    turns::place(header, oid, false)
}

/// Work waits that somebody is waiting for: start a worker at once.
pub fn wake() {
    let latch = layout::with_header(|header| {
        if let Some(database) = turns::place(header, this_database(), true) {
            database.wanted = true;
            database.urgent = true;
            if database.worker_pid > 0 {
                return database.latch;
            }
        }
        header.launcher_latch
    });
    set_latch(latch);
}

/// There is something to be written down that nobody waits for. A worker that is there sees it by itself.
pub fn call_if_away() {
    let latch = layout::with_header(|header| {
        let Some(database) = entry(header, this_database()) else { return std::ptr::null_mut() };
        if database.worker_pid > 0 || database.wanted {
            return std::ptr::null_mut();
        }
        database.wanted = true;
        header.launcher_latch
    });
    set_latch(latch);
}

fn set_latch(latch: *mut pg_sys::Latch) {
    if !latch.is_null() {
        // SAFETY: a latch in shared memory. Its process may have gone; then somebody wakes for nothing.
        unsafe { pg_sys::SetLatch(latch) };
    }
}

/// Leases of accounts that nobody is using are to be closed, so that their places can be taken by others.
pub fn close_leases(databases: &[u32]) {
    let latches = layout::with_header(|header| {
        header.close_until = clock::now() + 1;
        let mut latches = vec![header.launcher_latch];
        for &oid in databases {
            if let Some(database) = turns::place(header, oid, true) {
                database.wanted = true;
                database.urgent = true;
                latches.push(database.latch);
            }
        }
        latches
    });
    latches.into_iter().for_each(set_latch);
}

/// Work that can wait for the next round. Cannot fail: runs in commit callbacks, after the commit is visible. So
/// whoever finds the note still there knows that it will be read after this commit.
pub fn note_work() {
    let oid = this_database();
    if NOTED_AT.get().is_some_and(|index| layout::has_work(index, oid)) {
        return;
    }
    let index = layout::with_header(|header| {
        entry(header, oid)?.has_work = true;
        header.databases.iter().position(|d| d.oid == oid)
    });
    NOTED_AT.set(index);
}

/// Postgres's signal handlers as they are: pgrx's wrappers around them are no C functions. Since 19 they are told the
/// sender, too.
mod handlers {
    #[cfg(feature = "pg19")]
    use pgrx::pg_sys::pg_signal_info;
    #[cfg(feature = "pg19")]
    pub type Handler = unsafe extern "C-unwind" fn(i32, *const pg_signal_info);
    #[cfg(not(feature = "pg19"))]
    pub type Handler = unsafe extern "C-unwind" fn(i32);
    unsafe extern "C-unwind" {
        pub fn die(signal: i32, #[cfg(feature = "pg19")] info: *const pg_signal_info);
        pub fn SignalHandlerForConfigReload(
            signal: i32,
            #[cfg(feature = "pg19")] info: *const pg_signal_info,
        );
        pub fn SignalHandlerForShutdownRequest(
            signal: i32,
            #[cfg(feature = "pg19")] info: *const pg_signal_info,
        );
        // Since 18 `pqsignal` is a macro. What it returned before is of no interest.
        #[cfg_attr(not(any(feature = "pg15", feature = "pg16", feature = "pg17")), link_name = "pqsignal_be")]
        pub fn pqsignal(signal: i32, handler: Handler);
    }
}

/// What leadlex.worker_status shows: the launcher's pid, and the databases known.
pub fn status() -> (i32, Vec<Database>) {
    layout::with_header(|h| (h.launcher_pid, h.databases.iter().filter(|d| d.oid != 0).copied().collect()))
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

//! Those of the server: sizes of shared memory, the workers, and the library's version.

use std::ffi::{CStr, CString};
use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// A constant. SQL scripts read it: an older schema can be updated only when the library that is loaded knows the new one.
static LIBRARY_VERSION: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(version()));
static MAX_WORKSPACES: GucSetting<i32> = GucSetting::<i32>::new(1_024);
static MAX_CONTACTS_IN_FLIGHT: GucSetting<i32> = GucSetting::<i32>::new(524_288);
static MAX_DATABASES: GucSetting<i32> = GucSetting::<i32>::new(1_024);
static MAX_PROVIDERS: GucSetting<i32> = GucSetting::<i32>::new(256);
static RECEIPT_BUFFER: GucSetting<i32> = GucSetting::<i32>::new(4_096);
static MAX_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
static WORKER_NAPTIME: GucSetting<i32> = GucSetting::<i32>::new(10);
static CREDITS_LOW: GucSetting<i32> = GucSetting::<i32>::new(10);

const fn version() -> &'static CStr {
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a version has no NUL"),
    }
}

/// leadlex.max_providers: places for providers in shared memory.
pub fn max_providers() -> usize {
    MAX_PROVIDERS.get() as usize
}

/// leadlex.receipt_buffer, in bytes.
pub fn receipt_buffer_bytes() -> usize {
    RECEIPT_BUFFER.get() as usize * 1_024
}

/// leadlex.max_workspaces: places for accounts in shared memory.
pub fn max_workspaces() -> usize {
    MAX_WORKSPACES.get() as usize
}

/// leadlex.max_contacts_in_flight: places for claims of open transactions.
pub fn max_contacts_in_flight() -> usize {
    MAX_CONTACTS_IN_FLIGHT.get() as usize
}

/// leadlex.max_workers: databases whose workers run at the same time.
pub fn max_workers() -> usize {
    MAX_WORKERS.get() as usize
}

/// leadlex.worker_naptime: the time between two rounds of the launcher.
pub fn worker_naptime() -> Duration {
    Duration::from_secs(WORKER_NAPTIME.get() as u64)
}

/// leadlex.credits_low, in percent of the balance after the last grant, limit or allotment; 0 = nobody is told.
pub fn credits_low() -> i32 {
    CREDITS_LOW.get()
}

/// Databases in which work can wait for the background worker at once.
pub fn max_databases() -> usize {
    MAX_DATABASES.get() as usize
}

/// Those that size shared memory can be set only while the server preloads.
pub fn define(preloading: bool) {
    GucRegistry::define_string_guc(
        c"leadlex.library_version",
        c"Version of the library that is loaded.",
        c"ALTER EXTENSION leadlex_enrich UPDATE needs the library of the new version.",
        &LIBRARY_VERSION,
        GucContext::Internal,
        GucFlags::DISALLOW_IN_FILE,
    );
    if preloading {
        define_sizes();
    }
    GucRegistry::define_int_guc(
        c"leadlex.max_workers",
        c"Databases whose ledger and receipts are written at the same time.",
        c"Each takes one of max_worker_processes while it runs.",
        &MAX_WORKERS,
        1,
        64,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"leadlex.credits_low",
        c"The event credits_low is told below so many percent of the balance after the last grant, limit or allotment.",
        c"0 = never.",
        &CREDITS_LOW,
        0,
        100,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"leadlex.worker_naptime",
        c"Time between rounds of settling the ledger.",
        c"",
        &WORKER_NAPTIME,
        1,
        3_600,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
}

/// Of shared memory.
fn define_sizes() {
    GucRegistry::define_int_guc(
        c"leadlex.max_workspaces",
        c"Workspaces and limited providers that can be active at once, in all databases together.",
        c"Takes about 0.75 kilobytes of shared memory each. When all are taken, calls of others wait 5 s, and are 53400 then.",
        &MAX_WORKSPACES,
        16,
        1_000_000,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"leadlex.max_contacts_in_flight",
        c"Contacts that open transactions can be enriching at once, in all databases together.",
        c"Takes about 60 bytes of shared memory each. When all are taken, each further contact is 53200 before a request.",
        &MAX_CONTACTS_IN_FLIGHT,
        1_024,
        100_000_000,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"leadlex.max_providers",
        c"Providers whose health and tallies are kept in shared memory, of all databases together.",
        c"Takes about 11 kilobytes each. The one not asked for longest makes room for another.",
        &MAX_PROVIDERS,
        16,
        100_000,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"leadlex.receipt_buffer",
        c"Shared memory for providers' answers that are not written to tables yet, of all databases together.",
        c"When it is full, an answer waits 150 ms for room; then it is used, but not kept, with a WARNING. Refusals to tell \
          anything about a person have 0.4 MB of their own beside it.",
        &RECEIPT_BUFFER,
        64,
        1_048_576,
        GucContext::Postmaster,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"leadlex.max_databases",
        c"Databases in which work can wait for the background worker at once.",
        c"Takes about one kilobyte of shared memory each. Those without work make room for others, and so do those in which \
          no call waits for those in which one does.",
        &MAX_DATABASES,
        4,
        10_000,
        GucContext::Postmaster,
        GucFlags::default(),
    );
}

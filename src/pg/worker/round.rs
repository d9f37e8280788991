//! One database's books: opens and closes leases of rate limits, folds the ledger into balances, forgets expired keys.

use std::ffi::CStr;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_guard, pg_sys};

use super::super::cache::Found;
use super::super::shmem::{self, AccountKey};
use super::super::store::{self, books};
use super::super::{accounts, cache, receipts, settings, wait};
use super::filing;
use crate::domain::rate::Record;

/// A worker that has had nothing to do for so long leaves.
const LINGER: Duration = Duration::from_millis(500);
/// Receipts are written this often at most; until then they are found in shared memory.
const FILE_EVERY: Duration = Duration::from_millis(20);
/// Seconds between looks for expired idempotency keys and receipts.
const PURGE_EVERY_S: i64 = 600;
/// Seconds until a worker that failed is tried again.
const RETRY_S: i64 = 2;

#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn leadlex_worker_main(arg: pg_sys::Datum) {
    let database = arg.value() as u32;
    // SAFETY: the usual beginning of a background worker. SIGTERM only asks: leases are closed before it ends. Nothing
    // that follows waits long, see `configure`.
    unsafe {
        super::handlers::pqsignal(libc::SIGHUP, super::handlers::SignalHandlerForConfigReload);
        super::handlers::pqsignal(libc::SIGTERM, super::handlers::SignalHandlerForShutdownRequest);
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(database));
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database.into(), pg_sys::InvalidOid, 0);
        configure();
        shmem::with_header(|h| {
            if let Some(entry) = super::entry(h, database) {
                entry.worker_pid = pg_sys::MyProcPid;
                entry.not_before = 0;
                entry.latch = pg_sys::MyLatch;
            }
        });
    }
    if !work_until_idle(database) {
        shmem::with_header(|h| {
            // No extension of ours here: nothing to remember of this database.
            let forgotten = |d: &&mut shmem::Database| d.oid == database && !d.wanted && !d.has_work;
            h.databases.iter_mut().filter(forgotten).for_each(|d| *d = shmem::Database::FREE);
        });
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, arg: pg_sys::Datum) {
    let database = arg.value() as u32;
    shmem::with_header(|h| {
        for entry in h.databases.iter_mut().filter(|d| d.oid == database) {
            entry.worker_pid = 0;
            entry.latch = std::ptr::null_mut();
        }
    });
    receipts::writer_goes(database, true);
}

/// Waits of this process are bounded: it never waits long for a lock or for a replica.
unsafe fn configure() {
    for (name, value) in [
        (c"search_path", c"pg_catalog"),
        (c"lock_timeout", c"500ms"),
        (c"synchronous_commit", c"local"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"row_security", c"on"),
        (c"session_replication_role", c"origin"),
    ] {
        // SAFETY: static names and values.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
    }
}

fn shutting_down() -> bool {
    // SAFETY: a flag that the signal handler sets.
    unsafe { pg_sys::ShutdownRequestPending != 0 }
}

/// `false`: there is nothing to do in this database, and will not be before somebody calls.
fn work_until_idle(database: u32) -> bool {
    receipts::writer_comes(database);
    let mut looked_again = false;
    loop {
        super::reload_if_asked();
        mark(database, |d| d.wanted = false);
        let closing = shutting_down();
        match attempt(|| round(database, closing)) {
            Ok(Round::NotInstalled) => {
                receipts::with(|arena| arena.forget_database(database));
                return false;
            }
            Ok(Round::OtherVersion(why)) if looked_again => {
                pgrx::log!("leadlex_enrich worker: {why}");
                receipts::with(|arena| arena.forget_database(database));
                return false;
            }
            Ok(Round::OtherVersion(_)) => {
                // From here on a note of work means that somebody has updated the schema.
                mark(database, |d| d.has_work = false);
                looked_again = true;
                continue;
            }
            Ok(Round::Done { more: true }) => continue,
            Ok(Round::Done { more: false }) => {}
            Err(failure) => return failed(database, &failure),
        }
        match receipts_until_called(database, closing) {
            Ok(_) if closing => return true,
            Ok(true) => continue,
            Ok(false) => {}
            Err(failure) => return failed(database, &failure),
        }
        // Leases are closed in order, so that a crash after this counts nothing as used.
        if let Err(failure) = attempt(|| record_rates(database)) {
            pgrx::warning!("leadlex_enrich worker: {}", failure.message);
        }
        if receipts::writer_goes(database, false) {
            return true;
        }
    }
}

/// It is tried again by another worker, after a while.
fn failed(database: u32, failure: &Failed) -> bool {
    mark(database, |d| {
        d.not_before = accounts::now() + RETRY_S;
        d.wanted = true;
        put_text(&mut d.error, &failure.message);
    });
    pgrx::warning!("leadlex_enrich worker: {}", failure.message);
    true
}

fn mark(database: u32, change: impl FnOnce(&mut shmem::Database)) {
    shmem::with_header(|h| {
        if let Some(entry) = super::entry(h, database) {
            change(entry);
        }
    });
}

fn put_text(to: &mut [u8], text: &str) {
    to.fill(0);
    let end =
        text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|&e| e < to.len()).last().unwrap_or(0);
    to[..end].copy_from_slice(&text.as_bytes()[..end]);
}

/// Writes receipts as they come, until somebody calls for other work (`true`) or nothing has happened for a while.
fn receipts_until_called(database: u32, closing: bool) -> Result<bool, Failed> {
    let mut until = Instant::now() + LINGER;
    loop {
        // The latch is reset before the look: a call that comes in between wakes the wait below. A latch that was
        // set for something already done must not end it early.
        // SAFETY: this process's own latch.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
        let written = filing::write(database)?;
        if written > 0 {
            mark(database, |d| d.receipts += written);
            until = Instant::now() + LINGER;
        }
        if closing
            || shutting_down()
            || shmem::with_header(|h| super::entry(h, database).is_some_and(|d| d.wanted))
        {
            return Ok(true);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let pause = left.min(FILE_EVERY).as_millis() as i64 + 1;
        let wake = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: reports and waits for this process's own latch. CHECK_FOR_INTERRUPTS also absorbs barriers.
        unsafe {
            pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
            pg_sys::WaitLatch(pg_sys::MyLatch, wake as i32, pause, wait::event(wait::Event::Idle));
        }
        pgrx::check_for_interrupts!();
    }
}

/// Why a transaction of the worker's failed.
pub struct Failed {
    pub message: String,
    /// Because of what was to be written (SQLSTATE class 22 or 23): to try again is no use.
    pub by_data: bool,
}

/// Runs `work` in a transaction of its own. An error is rolled back and given as text.
pub fn attempt<R>(work: impl FnOnce() -> R) -> Result<R, Failed> {
    // SAFETY: the worker is in no transaction here; on an error the abort releases whatever was held.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        pg_sys::pgstat_report_activity(
            pg_sys::BackendState::STATE_RUNNING,
            c"leadlex_enrich: recording rate use and receipts, settling the ledger".as_ptr(),
        );
    }
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
    .catch_others(|error| {
        let report = match &error {
            CaughtError::PostgresError(r) | CaughtError::ErrorReport(r) => r,
            CaughtError::RustPanic { ereport, .. } => ereport,
        };
        // SAFETY: unpack_sql_state returns a static, NUL-terminated text.
        let state = unsafe { CStr::from_ptr(pg_sys::unpack_sql_state(report.sql_error_code() as i32)) };
        let by_data = matches!(state.to_bytes(), [b'2', b'2' | b'3', ..]);
        let failure = Failed { message: report.message().to_owned(), by_data };
        // SAFETY: as after any error at the top of a process.
        unsafe { pg_sys::AbortCurrentTransaction() };
        Err(failure)
    })
    .execute()
}

enum Round {
    NotInstalled,
    /// The schema is not the one that this library knows: why nothing is done.
    OtherVersion(String),
    Done {
        /// There is more to do at once.
        more: bool,
    },
}

fn round(database: u32, closing: bool) -> Round {
    match cache::find_installation() {
        Found::This(_) => {}
        Found::Nothing => return Round::NotInstalled,
        Found::Version(version) => return Round::OtherVersion(left_alone(database, &version)),
    }
    // When room is wanted, every lease that nobody is using now goes; else those that have not been used for a while.
    let room_wanted = shmem::with_header(|h| h.close_until >= accounts::now());
    let recorded = record_in_transaction(match (closing, room_wanted) {
        (true, _) => Close::All,
        (false, true) => Close::Unused,
        (false, false) => Close::Idle,
    });
    let settled = if closing { 0 } else { books::settle_ledger() };
    let now = accounts::now();
    let purge_due = shmem::with_header(|h| {
        super::entry(h, database).is_some_and(|d| d.last_purge + PURGE_EVERY_S <= now)
    });
    let (mut purged, mut receipts_expired) = (0, 0);
    if purge_due && !closing {
        purged = books::purge_keys();
        receipts_expired = store::receipts::expire(settings::receipt_terms());
    }
    commit_and_begin();
    let records = recorded.len() as u64;
    apply(recorded);
    mark(database, |d| {
        d.runs += 1;
        d.settled += settled;
        d.records += records;
        d.purged += purged;
        d.receipts_expired += receipts_expired;
        d.last_run = now;
        d.error = [0; 160];
        if purge_due {
            d.last_purge = now;
        }
        // Rows may have come since: look once more at the next round.
        d.has_work |= settled > 0;
    });
    Round::Done { more: settled >= 10_000 }
}

fn left_alone(database: u32, version: &str) -> String {
    // SAFETY: a catalog look-up; a palloc'd name, or null when the database is gone.
    let name = unsafe { pg_sys::get_database_name(database.into()) };
    let name = if name.is_null() {
        database.to_string()
    } else {
        // SAFETY: not null, and NUL-terminated.
        unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned()
    };
    let (why, hint) = (cache::other_version(version), cache::how_to_agree(version));
    format!("database {name} is left alone: {why}. {hint}")
}

/// The worker leaves: closes the leases that nobody is using. Those in use stay open until the next round.
fn record_rates(database: u32) {
    let recorded = record_in_transaction(Close::Unused);
    commit_and_begin();
    apply(recorded);
    let (own, catalog) = (super::this_database(), cache::installation().catalog);
    let open = |a: &mut shmem::AccountState| {
        (a.key.database, a.key.catalog) == (own, catalog) && a.recorded_lease > 0
    };
    if (0..shmem::account_count()).any(|account| shmem::with_account(account, open)) {
        mark(database, |d| d.has_work = true);
    }
}

/// The records count only once they are durable: ends the transaction begun by `attempt`, and begins another for it
/// to end.
fn commit_and_begin() {
    // SAFETY: the snapshot pushed by `attempt` is popped for the commit, and another one pushed for its own commit.
    unsafe {
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
}

/// A record on its way into the books.
struct Recorded {
    account: usize,
    key: AccountKey,
    lease: u64,
    admitted: u64,
}

/// When an account's lease is closed, so that eviction, shutdown and a crash find exact books.
#[derive(Clone, Copy)]
enum Close {
    All,
    /// Those that no transaction is using now.
    Unused,
    /// Those that nobody has used for a while.
    Idle,
}

/// Seconds after which an account counts as idle.
const IDLE_S: i64 = 2;

fn record_in_transaction(close: Close) -> Vec<Recorded> {
    let catalog = cache::installation().catalog;
    let database = super::this_database();
    let now = accounts::now();
    let mut recorded = Vec::new();
    for account in 0..shmem::account_count() {
        let Some((row, entry)) = take_record(account, (database, catalog), close, now) else {
            continue;
        };
        books::record_rate(&entry.key.id, &row);
        recorded.push(entry);
    }
    recorded
}

fn take_record(account: usize, owner: (u32, u32), close: Close, now: i64) -> Option<(Record, Recorded)> {
    shmem::with_account(account, |a| {
        if (a.key.database, a.key.catalog) != owner || a.phase != shmem::Phase::Ready {
            return None;
        }
        let closing = match close {
            Close::All => true,
            Close::Unused => a.pins == 0,
            Close::Idle => a.pins == 0 && a.last_used + IDLE_S < now,
        };
        let open = a.recorded_admitted != a.meter.admitted() || a.recorded_lease > 0;
        let wanted = a.lease_wanted > 0 && !closing;
        if !(wanted || closing && open) {
            return None;
        }
        if closing {
            a.meter.close();
            a.lease_wanted = 0;
        }
        let lease = if wanted { a.lease_wanted.max(a.meter.lease_left()) } else { 0 };
        let (row, admitted) = a.meter.record(lease);
        Some((row, Recorded { account, key: a.key, lease, admitted }))
    })
}

/// The records are durable: calls may use the leases.
fn apply(recorded: Vec<Recorded>) {
    for entry in recorded {
        shmem::with_account(entry.account, |a| {
            if a.key == entry.key {
                a.recorded_admitted = entry.admitted;
                a.recorded_lease = entry.lease;
                if entry.lease > 0 {
                    a.meter.opened(entry.lease, entry.admitted);
                    a.lease_wanted = 0;
                }
            }
        });
        accounts::broadcast(entry.account);
    }
}

//! One database's books: opens and closes leases of rate limits, folds the ledger into balances, forgets expired keys.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_guard, pg_sys};

use super::super::shmem::{self, AccountKey};
use super::super::store::books;
use super::super::{accounts, cache, wait};
use super::bars;
use crate::domain::rate::Record;

/// A worker that has had nothing to do for so long leaves.
const LINGER: Duration = Duration::from_millis(500);
/// How long it stays when others wait for its place: long enough to be worth its start.
const TURN: Duration = Duration::from_millis(200);
/// Seconds between looks for expired idempotency keys.
const PURGE_EVERY_S: i64 = 600;
/// Seconds until a worker that failed is tried again.
const RETRY_S: i64 = 2;

thread_local! {
    /// Whether the extension was found in this worker's database.
    static INSTALLED: Cell<bool> = const { Cell::new(true) };
}

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
        // Callbacks run backwards: this one when the process counts as a session of the database no longer.
        pg_sys::on_shmem_exit(Some(on_exit), pg_sys::Datum::from(database));
        if !bars::enter(database) {
            return;
        }
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database.into(), pg_sys::InvalidOid, 0);
        configure();
    }
    mark(database, |d| d.not_before = 0);
    INSTALLED.set(work_until_idle(database));
}

#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, arg: pg_sys::Datum) {
    bars::leave(arg.value() as u32, INSTALLED.get());
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

/// Shutdown, or a statement that needs the database without sessions.
fn has_to_leave(database: u32) -> bool {
    // SAFETY: a flag that the signal handler sets.
    unsafe { pg_sys::ShutdownRequestPending != 0 || bars::is_barred(database) }
}

fn others_wait() -> bool {
    let now = accounts::now();
    shmem::with_header(|h| h.databases.iter().any(|d| d.is_waiting(now) && !h.is_barred(d.oid)))
}

/// `false`: the extension is not installed here.
fn work_until_idle(database: u32) -> bool {
    let begun = Instant::now();
    loop {
        super::reload_if_asked();
        mark(database, |d| (d.wanted, d.urgent) = (false, false));
        let closing = has_to_leave(database);
        let work = || {
            let done = round(database, closing);
            super::leftovers::forget(database);
            done
        };
        match attempt(work) {
            Ok(None) => return false,
            Ok(Some(_)) if closing => {
                mark(database, |d| d.has_work = true);
                return true;
            }
            Ok(Some(more)) => mark(database, |d| d.wanted |= more),
            // Cancelled because it has to leave. The books are still closed first, if that can be done in time.
            Err(_) if !closing && has_to_leave(database) => continue,
            Err(_) if closing && bars::is_barred(database) => {
                mark(database, |d| d.has_work = true);
                return true;
            }
            Err(_) if attempt(cache::find_installation).is_ok_and(|found| found.is_none()) => return false,
            Err(message) => {
                fail(database, &message);
                return true;
            }
        }
        if called(database, begun) {
            continue;
        }
        // Leases are closed in order, so that a crash after this counts nothing as used.
        if let Err(message) = attempt(|| record_rates(database)) {
            pgrx::warning!("leadlex_enrich worker: {message}");
        }
        return true;
    }
}

/// To be tried again. What fails again and again is in leadlex.worker_status, and in the log once.
fn fail(database: u32, message: &str) {
    let mut known = false;
    mark(database, |d| {
        d.not_before = accounts::now() + RETRY_S;
        d.wanted = true;
        let before = d.error;
        put_text(&mut d.error, message);
        known = d.error == before;
    });
    if !known {
        pgrx::warning!("leadlex_enrich worker: {message}");
    }
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

/// Waits until somebody calls for work or shuts down; `false` when the time is over first, or others wait for the
/// place of this worker, which began at `begun`.
fn called(database: u32, begun: Instant) -> bool {
    let idle_until = Instant::now() + LINGER;
    loop {
        // The latch is reset before the look: a call that comes in between wakes the wait below. A latch that was
        // set for something already done must not end it early.
        // SAFETY: this process's own latch.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
        if has_to_leave(database) {
            return true;
        }
        // Also one that always has more to do goes after its turn.
        let others = others_wait();
        let until = if others { begun + TURN } else { idle_until };
        let left = until.saturating_duration_since(Instant::now());
        let wanted = || shmem::with_header(|h| super::entry(h, database).is_some_and(|d| d.wanted));
        if !(others && left.is_zero()) && wanted() {
            return true;
        }
        if left.is_zero() {
            return false;
        }
        let wake = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: reports and waits for this process's own latch. CHECK_FOR_INTERRUPTS also absorbs barriers.
        unsafe {
            pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
            let event = wait::event(wait::Event::Idle);
            pg_sys::WaitLatch(pg_sys::MyLatch, wake as i32, left.as_millis() as i64 + 1, event);
        }
        forget_cancel();
        pgrx::check_for_interrupts!();
    }
}

/// A cancel was meant for what this process did before.
fn forget_cancel() {
    // SAFETY: a flag of this process, which its signal handler sets.
    unsafe { pg_sys::QueryCancelPending = 0 };
}

/// Runs `work` in a transaction of its own. An error is rolled back and given as text.
fn attempt<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    forget_cancel();
    // SAFETY: the worker is in no transaction here; on an error the abort releases whatever was held.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        pg_sys::pgstat_report_activity(
            pg_sys::BackendState::STATE_RUNNING,
            c"leadlex_enrich: recording rate use, settling the ledger".as_ptr(),
        );
    }
    let work = AssertUnwindSafe(work);
    PgTryBuilder::new(AssertUnwindSafe(move || {
        cache::refresh();
        let result = { work }.0();
        // SAFETY: ends what was begun above.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(result)
    }))
    .catch_others(|error| {
        let message = match &error {
            CaughtError::PostgresError(r) | CaughtError::ErrorReport(r) => r.message().to_owned(),
            CaughtError::RustPanic { ereport, .. } => ereport.message().to_owned(),
        };
        // SAFETY: as after any error at the top of a process.
        unsafe { pg_sys::AbortCurrentTransaction() };
        Err(message)
    })
    .execute()
}

/// `None`: not installed. `Some(true)`: there is more to do at once.
fn round(database: u32, closing: bool) -> Option<bool> {
    cache::find_installation()?;
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
    let purged = if purge_due && !closing { books::purge_keys() } else { 0 };
    commit_and_begin();
    let records = recorded.len() as u64;
    apply(recorded);
    mark(database, |d| {
        d.runs += 1;
        d.settled += settled;
        d.records += records;
        d.purged += purged;
        d.last_run = now;
        d.error = [0; 160];
        if purge_due && purged < books::PORTION {
            d.last_purge = now;
        }
        // Rows may have come since: look once more at the next round.
        d.has_work |= settled > 0;
    });
    Some(settled.max(purged) >= books::PORTION)
}

/// The worker leaves: closes the leases that nobody is using. Those in use stay open until the next round.
fn record_rates(database: u32) {
    if cache::find_installation().is_none() {
        return;
    }
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

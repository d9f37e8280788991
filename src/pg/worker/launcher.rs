//! Starts workers where work waits. Connected to no database, like the launchers of autovacuum and replication.

use crate::pg::shared::budgets;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::Once;
use std::time::{Duration, Instant};

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::pg::shared::fullness;
use crate::pg::shared::job_queues;
use crate::pg::shared::layout;
use crate::pg::shared::layout::Database;
use crate::pg::shared::lockouts;
use crate::pg::shared::turns;
use crate::pg::shared::{events, receipts, wait};
use crate::pg::sys::settings;
use crate::pg::worker::session::put_text;

/// A worker that has been asked for and does not appear within this many seconds is asked for again.
const START_PATIENCE_S: i64 = 10;
/// What has expired is looked for at least this often in databases where nothing else happens.
const HOUSEKEEPING: Duration = Duration::from_secs(3_600);
/// Between looks at how full the tables in shared memory are.
const LOOK_AT_MEMORY: Duration = Duration::from_secs(5);
/// `datconnlimit` of a database whose DROP did not finish.
const INVALID_DATABASE: i32 = -2;

/// Entry of the launcher, which starts the other workers. It has no database, and runs as long as the server.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn leadlex_launcher_main(_arg: pg_sys::Datum) {
    // SAFETY: the usual beginning of a background worker. SIGTERM goes to `die`: only that sets ProcDiePending, and
    // a launcher has nothing to finish.
    unsafe {
        super::handlers::pqsignal(libc::SIGHUP, super::handlers::SignalHandlerForConfigReload);
        super::handlers::pqsignal(libc::SIGTERM, super::handlers::die);
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0);
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
        layout::with_header(|h| {
            h.launcher_pid = pg_sys::MyProcPid;
            h.launcher_latch = pg_sys::MyLatch;
        });
        receipts::set_launcher(pg_sys::MyLatch);
    }
    super::lift_limits();
    // At start every database may have work left from before.
    // Templates are left alone: a connection there is in the way of CREATE DATABASE.
    let mut sweep = all_databases();
    let mut next_round = Instant::now() + settings::worker_naptime();
    let mut last_housekeeping = Instant::now();
    let (mut last_look, mut told_full) = (Instant::now(), Vec::new());
    loop {
        super::reload_if_asked();
        job_queues::tell_read_only();
        if Instant::now() >= next_round {
            next_round = Instant::now() + settings::worker_naptime();
            let housekeeping = last_housekeeping.elapsed() >= settings::purge_interval(HOUSEKEEPING);
            if housekeeping {
                last_housekeeping = Instant::now();
            }
            promote(housekeeping);
            // Where there was no place for a note, nobody knows of which database it was.
            if sweep.is_empty() && turns::take_untold() {
                say_once();
                sweep = all_databases();
            }
        }
        if last_look.elapsed() >= LOOK_AT_MEMORY {
            last_look = Instant::now();
            warn_of_full_tables(&mut told_full);
        }
        call_for_receipts();
        let waiting = start_workers(&mut sweep);
        turns::tell_sweeping(!sweep.is_empty());
        start_job_workers();
        let pause = if waiting { Duration::from_millis(200) } else { settings::worker_naptime() };
        let due = job_queues::until_next().unwrap_or(pause);
        next_round = next_round.min(Instant::now() + until_next_look());
        sleep(pause.min(due).min(next_round.saturating_duration_since(Instant::now())));
    }
}

fn all_databases() -> VecDeque<u32> {
    databases().into_iter().filter(|d| d.connectable && !d.template).map(|d| d.oid).collect()
}

fn say_once() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        pgrx::warning!(
            "leadlex_enrich launcher: work waits in more databases than leadlex.max_databases ({}): all are looked at in turn",
            settings::max_databases()
        );
    });
}

/// A line of the log for each table that is nearly full, once until it no longer is. `told`: those that have one.
fn warn_of_full_tables(told: &mut Vec<&'static str>) {
    for table in fullness::all() {
        let known = told.iter().position(|part| *part == table.part);
        match (table.is_nearly_full(), known) {
            (true, None) => {
                told.push(table.part);
                pgrx::warning!("leadlex_enrich launcher: {}. {}", table.message(), table.remedy());
            }
            (false, Some(at)) => drop(told.swap_remove(at)),
            _ => {}
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    layout::with_header(|h| {
        h.launcher_pid = 0;
        h.launcher_latch = std::ptr::null_mut();
    });
    receipts::set_launcher(std::ptr::null_mut());
}

fn sleep(pause: Duration) {
    let wake = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: waits for this process's own latch.
    unsafe {
        let event = wait::event(wait::Event::Idle);
        pg_sys::WaitLatch(pg_sys::MyLatch, wake as i32, pause.as_millis() as i64 + 1, event);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// What could wait until the next round waits no longer.
fn promote(housekeeping: bool) {
    layout::with_header(|h| {
        for database in h.databases.iter_mut().filter(|d| d.oid != 0) {
            // Rows that a restore has brought are told of by nothing else.
            database.sweep |= housekeeping;
            database.withdrawals += u64::from(housekeeping);
            if database.has_work || housekeeping || database.next_look() <= clock::now() {
                database.has_work = false;
                database.wanted = true;
            }
        }
    });
}

/// How long until credits are to be allotted, or what is held is to be looked at, in some database.
fn until_next_look() -> Duration {
    const LEAST: Duration = Duration::from_millis(200);
    let first =
        layout::with_header(|h| h.databases.iter().filter(|d| d.oid != 0).map(Database::next_look).min());
    let left = first.unwrap_or(i64::MAX).saturating_sub(clock::now());
    Duration::from_secs(u64::try_from(left).unwrap_or_default()).clamp(LEAST, settings::worker_naptime())
}

/// Receipts that nobody is writing need a worker, and events of which nobody tells.
fn call_for_receipts() {
    for oid in receipts::unattended().into_iter().chain(events::unattended(clock::now_us())) {
        layout::with_header(|h| {
            if let Some(database) = workers::entry(h, oid) {
                database.wanted |= database.worker_pid == 0;
            }
        });
    }
}

/// Whether some have to wait for their turn.
fn start_workers(sweep: &mut VecDeque<u32>) -> bool {
    while let Some(oid) = next(sweep) {
        match databases().into_iter().find(|d| d.oid == oid) {
            None => {
                lockouts::forget(oid);
                budgets::forget(oid, None);
            }
            Some(found) if !found.connectable => put_off(oid, |d| d.has_work = true),
            Some(_) => {
                let has_started = start(oid);
                let is_short = short_of_processes(has_started);
                if !has_started {
                    // max_worker_processes is used up, maybe by one of ours that has just left: soon again.
                    put_off(oid, |d| d.wanted = true);
                    if is_short {
                        tell_that_none_starts();
                    }
                    break;
                }
            }
        }
    }
    !sweep.is_empty()
        || layout::with_header(|h| h.databases.iter().any(|d| d.oid != 0 && d.wanted && d.worker_pid <= 0))
}

/// What leadlex.check() and leadlex.worker_status say of a database whose worker cannot start.
const NO_PROCESS: &str = "no worker can start: max_worker_processes is used up";
/// For so long others may be leaving.
const PASSING: Duration = Duration::from_secs(10);

/// Whether no worker has started for a while, this one neither.
fn short_of_processes(has_started: bool) -> bool {
    thread_local! {
        static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let since = if has_started { None } else { SINCE.get().or_else(|| Some(Instant::now())) };
    SINCE.set(since);
    since.is_some_and(|since| since.elapsed() >= PASSING)
}

/// Of all databases that wait: after the first that cannot have one no other is tried.
fn tell_that_none_starts() {
    layout::with_header(|header| {
        let waiting = header.databases.iter_mut().filter(|d| d.oid != 0 && d.wanted && d.worker_pid <= 0);
        waiting.for_each(|database| put_text(&mut database.error, NO_PROCESS));
    });
}

/// For the queues whose turn it is.
fn start_job_workers() {
    while let Some(key) = job_queues::next() {
        match databases().into_iter().find(|d| d.oid == key.database) {
            None => lockouts::forget(key.database),
            Some(found) if found.connectable && start_job_worker(key) => {}
            // max_worker_processes is used up, or nobody may connect now: later again.
            Some(_) => {
                job_queues::put_back(key);
                break;
            }
        }
    }
}

fn start_job_worker(key: job_queues::QueueKey) -> bool {
    register(c"leadlex_enrich job worker", c"leadlex_job_worker_main", key.to_datum())
}

/// The database that a worker is to be started in now; it is marked as asked for.
fn next(sweep: &mut VecDeque<u32>) -> Option<u32> {
    let now = clock::now();
    layout::with_header(|header| {
        // What a clock that was ahead has put off is put off from now.
        for database in header.databases.iter_mut() {
            database.not_before = database.not_before.min(now + START_PATIENCE_S);
            database.last_run = database.last_run.min(now);
        }
        for lost in header.databases.iter_mut().filter(|d| d.worker_pid == -1 && d.not_before <= now) {
            lost.worker_pid = 0;
        }
        let ready = |d: &&Database| d.is_waiting(now) && !header.is_locked_out(d.oid);
        let running = header.databases.iter().filter(|d| d.worker_pid != 0);
        if running.clone().count() >= settings::max_workers() {
            if !sweep.is_empty() || header.databases.iter().any(|d| ready(&d)) {
                // Those that have nothing to do make room.
                running.for_each(|d| workers::set_latch(d.latch));
            }
            return None;
        }
        // Of those whom a call waits for, the one not looked after for longest: a busy one keeps no other from its turn.
        let longest = header.databases.iter().filter(ready).min_by_key(|d| (!d.urgent, d.last_run));
        let waiting = longest.map(|d| d.oid);
        let oid = waiting.or_else(|| sweep.pop_front())?;
        let locked_out = header.is_locked_out(oid);
        let untold = header.untold;
        let Some(database) = workers::entry(header, oid) else {
            // It stays in the line of those that are to be looked at.
            header.untold = untold;
            sweep.push_back(oid);
            return None;
        };
        if database.worker_pid == 0 && !locked_out {
            database.worker_pid = -1;
            database.not_before = now + START_PATIENCE_S;
            return Some(oid);
        }
        database.wanted = true;
        None
    })
}

fn put_off(oid: u32, change: impl FnOnce(&mut Database)) {
    layout::with_header(|header| {
        if let Some(database) = workers::entry(header, oid) {
            *database = Database { worker_pid: 0, wanted: false, not_before: 0, ..*database };
            change(database);
        }
    });
}

fn start(database: u32) -> bool {
    register(c"leadlex_enrich worker", c"leadlex_worker_main", pg_sys::Datum::from(database))
}

fn register(name: &CStr, function: &CStr, argument: pg_sys::Datum) -> bool {
    let mut worker = super::describe(name, function);
    worker.bgw_main_arg = argument;
    // SAFETY: plain call with a complete description; being notified sets this process's latch.
    unsafe {
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        pg_sys::RegisterDynamicBackgroundWorker(&mut worker, std::ptr::null_mut())
    }
}

struct FoundDatabase {
    oid: u32,
    template: bool,
    /// Allows connections, and has not been left half dropped.
    connectable: bool,
}

/// The databases of this cluster, as committed now.
fn databases() -> Vec<FoundDatabase> {
    let mut found = Vec::new();
    // SAFETY: a scan of a shared catalog in a transaction of its own, as autovacuum's launcher does it; the tuple's
    // fixed part is read while the scan holds it.
    unsafe {
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row = pgrx::pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            found.push(FoundDatabase {
                oid: (*row).oid.to_u32(),
                template: (*row).datistemplate,
                connectable: (*row).datallowconn && (*row).datconnlimit != INVALID_DATABASE,
            });
        }
        if let Some(end) = (*(*(*scan).rs_rd).rd_tableam).scan_end {
            end(scan);
        }
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
    }
    found
}

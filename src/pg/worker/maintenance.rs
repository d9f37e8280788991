//! One database's tables: opens and closes leases of rate limits, folds the ledger into balances, forgets expired keys.

use crate::pg::installation;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::Close;
use crate::pg::shared::provider_slots;
use crate::pg::shared::single_flight;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use crate::pg::worker::orphans;
use crate::pg::worker::waiting_jobs;
use std::cell::Cell;
use std::time::{Duration, Instant};

use pgrx::{pg_guard, pg_sys};

use crate::pg::installation::Installed;
use crate::pg::shared::layout;
use crate::pg::shared::lockouts;
use crate::pg::shared::turns;
use crate::pg::shared::{events, receipts, wait};
use crate::pg::store::cache;
use crate::pg::store::queue_pause::Pause;
use crate::pg::store::{jobs_waiting, ledger, subscription, usage};
use crate::pg::worker::session::{
    TransactionFailure, attempt, commit_and_begin, forget_cancel, mark, put_text,
};
use crate::pg::worker::{
    allotment_writer, event_writer, leases, receipt_writer, refusal_writer, spend_writer, sweep, tally_writer,
};
use leadlex_domain::sqlstate;

/// A worker that has had nothing to do for so long leaves.
const LINGER: Duration = Duration::from_millis(500);
/// How long it stays when others wait for its place: long enough to be worth its start.
const TURN: Duration = Duration::from_millis(200);
/// Receipts are written this often at most; until then they are found in shared memory.
const FILE_EVERY: Duration = Duration::from_millis(20);
/// Seconds until a worker that failed is tried again.
const RETRY_S: i64 = 2;

thread_local! {
    /// Whether the extension was found in this worker's database.
    static INSTALLED: Cell<bool> = const { Cell::new(true) };
    /// Whether this worker was let in.
    static ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// Entry of a database's worker, which works there until nothing is left to do. `arg` is the oid of
/// the database.
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
        if !lockouts::enter(database) {
            return;
        }
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database.into(), pg_sys::InvalidOid, 0);
        configure();
        ENTERED.set(true);
    }
    mark(database, |d| d.not_before = 0);
    INSTALLED.set(work_until_idle(database));
}

#[pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, arg: pg_sys::Datum) {
    if ENTERED.get() {
        receipts::writer_goes(arg.value() as u32, true);
    }
    lockouts::leave(arg.value() as u32, INSTALLED.get());
}

/// Waits of this process are bounded: it never waits long for a lock or for a replica.
fn configure() {
    for (name, value) in [
        (c"search_path", c"pg_catalog"),
        (c"lock_timeout", c"500ms"),
        (c"synchronous_commit", c"local"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"row_security", c"on"),
        (c"session_replication_role", c"origin"),
    ] {
        super::set_own(name, value);
    }
    super::lift_limits();
}

/// Shutdown, or a statement that needs the database without sessions.
fn has_to_leave(database: u32) -> bool {
    // SAFETY: a flag that the signal handler sets.
    unsafe { pg_sys::ShutdownRequestPending != 0 || lockouts::is_locked_out(database) }
}

/// Until when this worker, which began at `begun`, may stay although it has nothing to do, or always more. `None`: as long as
/// it likes, as no other database waits. Where a call waits there, it goes at once.
fn end_of_turn(begun: Instant) -> Option<Instant> {
    match turns::others_wait(clock::now()) {
        (_, true) => Some(begun),
        (true, false) => Some(begun + TURN),
        (false, false) => None,
    }
}

/// Whether something failed because the extension has just been dropped: nobody needs to hear of it.
fn is_dropped() -> bool {
    attempt(installation::find).is_ok_and(|found| matches!(found, Installed::Nothing))
}

/// `false`: there is nothing to do in this database, and will not be before somebody calls.
fn work_until_idle(database: u32) -> bool {
    receipts::writer_comes(database);
    let begun = Instant::now();
    let mut looked_again = false;
    loop {
        super::reload_if_asked();
        mark(database, |d| (d.wanted, d.urgent) = (false, false));
        let closing = has_to_leave(database);
        write_ahead(database);
        let work = || {
            let done = round(database, closing);
            orphans::forget(database);
            done
        };
        match attempt(work) {
            Ok(Round::NotInstalled) => return forgotten(database),
            Ok(Round::OtherVersion(why)) if looked_again => {
                pgrx::log!("leadlex_enrich worker: {why}");
                return forgotten(database);
            }
            Ok(Round::OtherVersion(_)) => {
                // From here on a note of work means that somebody has updated the schema.
                mark(database, |d| d.has_work = false);
                looked_again = true;
                continue;
            }
            Ok(Round::Done { .. }) if closing => {
                close_books(database);
                return true;
            }
            Ok(Round::Done { more }) => {
                mark(database, |d| d.wanted |= more);
                if let Err(failure) = waiting_jobs::keep(database)
                    && !has_to_leave(database)
                {
                    fail(database, &failure);
                    return true;
                }
            }
            // Cancelled because it has to leave. The leases are still closed first, if that can be done in time.
            Err(_) if !closing && has_to_leave(database) => continue,
            Err(_) if closing && lockouts::is_locked_out(database) => {
                mark(database, |d| d.has_work = true);
                return true;
            }
            Err(_) if is_dropped() => return forgotten(database),
            Err(failure) => {
                fail(database, &failure);
                return true;
            }
        }
        match receipts_until_called(database, begun) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(_) if has_to_leave(database) => continue,
            Err(_) if is_dropped() => return forgotten(database),
            Err(failure) => {
                fail(database, &failure);
                return true;
            }
        }
        // Leases are closed in order, so that a crash after this counts nothing as used.
        if let Err(failure) = attempt(|| leases::leave(database)) {
            pgrx::warning!("leadlex_enrich worker: {}", failure.message);
        }
        if receipts::writer_goes(database, end_of_turn(begun).is_some()) {
            return true;
        }
    }
}

/// What others wait for. What fails here is tried again by the round, and told there.
fn write_ahead(database: u32) {
    if lockouts::is_locked_out(database) {
        return;
    }
    if let Ok(written) = refusal_writer::write(database) {
        mark(database, |d| d.receipts += written);
    }
    // Calls may wait for a lease.
    if !lockouts::is_locked_out(database) {
        let _ = spend_writer::write(database, Close::Idle);
    }
}

/// How long requests that end with their sessions are waited for. Where a session stays until a vendor has answered, as what it hands
/// in is to be kept, the worker does, too.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// Writes what is left before the worker leaves. What cannot be written now stays where it is, for the next worker.
fn close_books(database: u32) {
    if !lockouts::is_locked_out(database) {
        let _ = refusal_writer::write_last(database);
    }
    // Sessions end at the same time: what has become of their requests is booked, in place of all that is leased. Answers and
    // tickets first: what they hold keeps a lease open. So do those that hold up an answer.
    let until = Instant::now() + LAST_REQUESTS;
    loop {
        receipts::with(|arena| arena.end_pauses(database));
        let _ = receipt_writer::write(database);
        let _ = spend_writer::write(database, Close::Unused);
        // Which end in their own time.
        let (under_way, outlasts) = single_flight::under_way(database);
        let waits =
            under_way || budgets::is_open(database) || receipts::with(|arena| arena.waiting(database)) > 0;
        let in_time = outlasts || Instant::now() < until;
        if !(waits && in_time) || lockouts::is_locked_out(database) {
            break;
        }
        std::thread::sleep(LOOK);
    }
    let _ = event_writer::write(database);
    let _ = tally_writer::write(database);
    mark(database, |d| d.has_work = true);
}

/// Nothing of ours is here, or nothing that this library knows.
fn forgotten(database: u32) -> bool {
    receipts::with(|arena| arena.forget_database(database));
    events::forget(database);
    mark(database, |d| (d.due_at, d.holds_at) = (i64::MAX, i64::MAX));
    provider_slots::forget(database, None);
    budgets::forget(database, None);
    false
}

/// Two attempts that meet a locked table within so many seconds are one trouble.
const BRIEF_S: i64 = 30;

/// To be tried again. What fails again and again is in leadlex.worker_status, and in the log once; that a table is locked only when
/// it still is at the next attempt: who drops the extension waits for the calls that are under way, and has some of our tables by
/// then.
fn fail(database: u32, failure: &TransactionFailure) {
    let is_lock = failure.sqlstate == sqlstate::LOCK_NOT_AVAILABLE;
    let mut tells = false;
    mark(database, |d| {
        let now = clock::now();
        d.not_before = now + RETRY_S;
        d.wanted = true;
        let before = d.error;
        put_text(&mut d.error, &failure.message);
        d.told &= d.error == before;
        let is_new = is_lock && !(now - BRIEF_S..=now).contains(&d.locked_at);
        if is_lock {
            d.locked_at = now;
        }
        tells = !is_new && !d.told;
        d.told |= tells;
    });
    if tells {
        pgrx::warning!("leadlex_enrich worker: {}", failure.message);
    }
}

/// What nobody waits for, and another transaction has the table of: it is tried again for a while, beside everything else.
#[derive(Default)]
struct PutOff {
    since: Option<Instant>,
}

impl PutOff {
    const LONGEST: Duration = Duration::from_secs(10);

    fn unless_long(&mut self, done: Result<(), TransactionFailure>) -> Result<(), TransactionFailure> {
        match done {
            Err(failure) if failure.sqlstate == sqlstate::LOCK_NOT_AVAILABLE => {
                let since = *self.since.get_or_insert_with(Instant::now);
                if since.elapsed() < PutOff::LONGEST { Ok(()) } else { Err(failure) }
            }
            Ok(()) => {
                self.since = None;
                Ok(())
            }
            failed => failed,
        }
    }
}

/// Writes receipts as they come, until somebody calls for other work (`true`), nothing has happened for a while, or
/// others wait for the place of this worker, which began at `begun`.
fn receipts_until_called(database: u32, begun: Instant) -> Result<bool, TransactionFailure> {
    let mut idle_until = Instant::now() + LINGER;
    let mut schedule = tally_writer::Schedule::new();
    let mut spend = spend_writer::Schedule::new();
    let mut put_off = PutOff::default();
    loop {
        // The latch is reset before the look: a call that comes in between wakes the wait below. A latch that was
        // set for something already done must not end it early.
        // SAFETY: this process's own latch.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
        let written = receipt_writer::write(database)?;
        if written > 0 {
            mark(database, |d| d.receipts += written);
            idle_until = Instant::now() + LINGER;
        }
        put_off.unless_long(event_writer::write(database))?;
        put_off.unless_long(schedule.keep(database))?;
        put_off.unless_long(spend.keep(database))?;
        if has_to_leave(database) {
            return Ok(true);
        }
        // Also one that always has more to do goes after its turn.
        let turn = end_of_turn(begun);
        let wanted = || layout::with_header(|h| workers::entry(h, database).is_some_and(|d| d.wanted));
        let goes = written == 0 && turns::is_sweeping() && !wanted();
        let until = if goes { begun } else { turn.unwrap_or(idle_until) };
        let left = until.saturating_duration_since(Instant::now());
        if !(turn.is_some() && left.is_zero()) && wanted() {
            return Ok(true);
        }
        if left.is_zero() {
            put_off.unless_long(tally_writer::write(database))?;
            put_off.unless_long(spend_writer::write(database, Close::Unused))?;
            if put_off.since.is_some() {
                mark(database, |d| d.has_work = true);
            }
            // Requests are under way, and what they cost is to be written soon after.
            if budgets::is_open(database) {
                if turn.is_none() {
                    idle_until = Instant::now() + LINGER;
                    continue;
                }
                mark(database, |d| d.wanted = true);
            }
            return Ok(false);
        }
        let pause = left.min(FILE_EVERY).as_millis() as i64 + 1;
        let wake = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: reports and waits for this process's own latch. CHECK_FOR_INTERRUPTS also absorbs barriers.
        unsafe {
            pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
            pg_sys::WaitLatch(pg_sys::MyLatch, wake as i32, pause, wait::event(wait::Event::Idle));
        }
        forget_cancel();
        pgrx::check_for_interrupts!();
    }
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
    match installation::find() {
        Installed::This(_) => {}
        Installed::Nothing => return Round::NotInstalled,
        Installed::Version(version) => return Round::OtherVersion(left_alone(database, &version)),
    }
    // When room is wanted, every lease that nobody is using now goes; else those that have not been used for a while.
    let room_wanted = layout::with_header(|h| {
        // At most a second ahead, unless the clock was.
        (clock::now()..=clock::now() + 1).contains(&h.close_until)
    });
    let recorded = leases::record(match (closing, room_wanted) {
        (true, _) => leases::Close::All,
        (false, true) => leases::Close::Unused,
        (false, false) => leases::Close::Idle,
    });
    // In a clone nothing is written but what calls there have caused: what it was copied from may still send its rows.
    let clone = cache::paused() == Some(Pause::Clone);
    // Nor on a subscriber what its publisher writes.
    let keeps_books = !closing && !clone && !subscription::brings("leadlex.credit_pending");
    let sums_days = !closing && !clone && !subscription::brings("leadlex.usage_day");
    // Calls wait for these: they are durable before anything else is begun, which may take long, or fail.
    commit_and_begin();
    let records = recorded.len() as u64;
    leases::apply(recorded);
    mark(database, |d| (d.records, d.clone) = (d.records + records, clone));
    let settled = keeps_books.then(ledger::settle_ledger);
    let marked = if keeps_books { jobs_waiting::mark_some() } else { 0 };
    commit_and_begin();
    if let Some(settled) = settled {
        mark(database, |d| {
            d.settled += settled.rows;
            // Rows may have come since, or stand before these: look once more at the next round.
            d.has_work |= settled.rows > 0 || !settled.is_whole;
        });
    }
    let allotted = keeps_books && allotment_writer::make(database);
    let withdrawn = keeps_books && sweep::see_to_withdrawals(database);
    let expired = keeps_books && sweep::remove_expired(database);
    // A day of which history is being pruned would be summed anew after each portion.
    let unsummed = sums_days && !expired && usage::sum_days(commit_and_begin);
    mark(database, |d| {
        d.runs += 1;
        d.last_run = clock::now();
        d.error = [0; 160];
    });
    let more = settled.is_some_and(|settled| settled.more) || marked >= jobs_waiting::MARKED_AT_ONCE;
    Round::Done { more: more || expired || withdrawn || allotted || unsummed }
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
    let (why, hint) = (installation::other_version(version), installation::how_to_agree(version));
    format!("database {name} is left alone: {why}. {hint}")
}

//! A worker that runs the queued jobs of one role in one database, as that role: nobody's trigger finds more rights in
//! here than the role has. It takes up to 500 contacts at a time, those that were queued one by one together,
//! and leaves when nothing has come for half a second.

use crate::pg::installation::{self, Installed};
use std::cell::Cell;
use std::ffi::CStr;
use std::time::{Duration, Instant};

use pgrx::pg_guard;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::shared::job_queues;
use crate::pg::shared::job_queues::{Exit, QueueKey};
use crate::pg::shared::lockouts;
use crate::pg::shared::{layout, wait};
use crate::pg::store::cache;
use crate::pg::store::frozen;
use crate::pg::store::job_state::{self, JobState};
use crate::pg::store::jobs::{self, Ticket};
use crate::pg::store::jobs_due::{self, DueJobs, Position};
use crate::pg::sys::clock::now_us;
use crate::pg::sys::settings;
use crate::pg::worker::job_role::{self, StoredSettings};
use crate::pg::worker::session::{TransactionFailure, attempt_as, forget_cancel, put_text};
use crate::pg::worker::{job_failure, job_next, job_run, limit};

/// A worker that has had nothing to do for so long leaves.
const LINGER: Duration = Duration::from_millis(500);
/// How long it stays when others wait for its place.
const TURN: Duration = Duration::from_secs(1);
/// Until something that failed as a whole is tried again.
const REST_US: i64 = 2_000_000;

thread_local! {
    static ENTERED: Cell<bool> = const { Cell::new(false) };
    static CONNECTED: Cell<bool> = const { Cell::new(false) };
}

#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn leadlex_job_worker_main(arg: pg_sys::Datum) {
    let key = QueueKey::from_datum(arg);
    // SAFETY: the usual beginning of a background worker. SIGTERM goes to `die`, as in a session: it ends whatever is
    // under way at once, and the transaction with it. SIGINT cancels.
    unsafe {
        super::handlers::pqsignal(libc::SIGHUP, super::handlers::SignalHandlerForConfigReload);
        super::handlers::pqsignal(libc::SIGTERM, super::handlers::die);
        pg_sys::BackgroundWorkerUnblockSignals();
        // Callbacks run backwards: this one when the process counts as a session of the database no longer.
        pg_sys::on_shmem_exit(Some(on_exit), arg);
        if !job_queues::enter(key) {
            return;
        }
        ENTERED.set(true);
        job_role::assume(key.database.into(), key.role.into());
        CONNECTED.set(true);
        configure();
        limit::register();
    }
    job_queues::mark(key, |q| q.not_before = 0);
    work_until_idle(key);
}

#[pg_guard]
unsafe extern "C-unwind" fn on_exit(code: i32, arg: pg_sys::Datum) {
    if !ENTERED.get() {
        return;
    }
    let exit = match (CONNECTED.get(), code) {
        (false, _) => Exit::Refused,
        (true, 0) => Exit::Orderly,
        (true, _) if limit::overran() => Exit::Overran,
        (true, _) => Exit::Broken,
    };
    job_queues::leave(QueueKey::from_datum(arg), exit);
}

/// The session is as the role has it (ALTER ROLE … SET), but for what would keep jobs from being run.
fn configure() {
    let values = [
        // As another it would find none of its jobs.
        (c"role", c"none"),
        (c"application_name", c"leadlex_enrich jobs"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"session_replication_role", c"origin"),
        (c"row_security", c"on"),
        // A worker does not stand in line for long.
        (c"lock_timeout", c"10s"),
        (c"leadlex.batch_wait_for_rate_limit", c"off"),
        (c"leadlex.workspace", c""),
    ];
    for (name, value) in values {
        super::set_own(name, value);
    }
    super::lift_limits();
}

/// Whether this is still the session that it was: a trigger can have changed that, within its role's rights.
fn is_itself(role: u32) -> bool {
    // SAFETY: reads of globals.
    unsafe {
        pg_sys::GetSessionUserId().to_u32() == role
            && pg_sys::GetOuterUserId().to_u32() == role
            && pg_sys::GetUserId().to_u32() == role
    }
}

/// What a look at the queue finds.
enum Turn {
    /// No extension that this library knows, or no such role.
    Nothing,
    Paused,
    /// By default nothing may be written.
    Frozen,
    /// The session is not as the role has it any more: another one is to go on.
    Outdated,
    /// Sets, which this worker has begun.
    Sets(Vec<Ticket>),
    /// One that was begun too often without an end.
    GivenUp,
    /// When the next one is due (epoch microseconds), if one waits.
    Idle(Option<i64>),
}

/// A workspace of which nothing is taken before this time: it has no credits left, or its rate limit is used up.
type Closed = Vec<(Uuid, i64)>;

fn work_until_idle(key: QueueKey) {
    let begun = Instant::now();
    let (mut closed, mut position, mut lingered) = (Closed::new(), Position::default(), false);
    let mut stored = StoredSettings::default();
    loop {
        super::reload_if_asked();
        // A cancel was meant for what this process did before.
        forget_cancel();
        pgrx::check_for_interrupts!();
        if lockouts::is_locked_out(key.database) || !is_itself(key.role) {
            job_queues::mark(key, |q| q.wanted = true);
            return;
        }
        let resumed = job_queues::resumed();
        reopen(key, &mut closed, &mut position);
        match attempt_as(c"leadlex_enrich: looking for queued jobs", || {
            if stored.have_changed((key.database, key.role)) {
                Turn::Outdated
            } else {
                look(key, &closed, &mut position)
            }
        }) {
            Err(_) if lockouts::is_locked_out(key.database) => continue,
            Err(failure) => return fail(key, &failure),
            Ok(Turn::Nothing) => return,
            Ok(Turn::Paused) => return job_queues::pause(key, resumed),
            Ok(Turn::Frozen) => return job_queues::freeze(key),
            Ok(Turn::Outdated) => {
                job_queues::mark(key, |q| q.wanted = true);
                return;
            }
            Ok(Turn::GivenUp) => {}
            Ok(Turn::Sets(tickets)) => {
                lingered = false;
                if let Some(until) = job_run::run(key, &tickets) {
                    closed.push((tickets[0].workspace, until));
                }
                job_queues::mark(key, |q| {
                    q.runs += 1;
                    q.last_run = now_us();
                    q.error = [0; 160];
                });
                if begun.elapsed() >= TURN && job_queues::others_wait(key) {
                    job_queues::mark(key, |q| q.wanted = true);
                    return;
                }
            }
            Ok(Turn::Idle(next)) => {
                let opens = closed.iter().map(|(_, until)| *until).min();
                let due = next.into_iter().chain(opens).min().unwrap_or(i64::MAX);
                job_queues::mark(key, |q| (q.due_at, q.idle) = (q.due_at.min(due), true));
                if lingered && position.is_whole() {
                    return;
                }
                lingered = !more_comes(key);
                if lingered && position.is_whole() {
                    return;
                }
                if lingered {
                    // What was committed late may stand before what has been passed.
                    position.start_over();
                }
            }
        }
    }
}

/// Forgets of which workspaces nothing is taken, where that is over.
fn reopen(key: QueueKey, closed: &mut Closed, position: &mut Position) {
    let known = closed.len();
    closed.retain(|(_, until)| *until > now_us());
    let called = job_queues::mark(key, |q| {
        (q.due_at, q.idle) = (i64::MAX, false);
        std::mem::take(&mut q.wanted)
    });
    if called == Some(true) {
        // Maybe because it has credits now, or another limit.
        closed.clear();
    }
    if closed.len() < known {
        position.start_over();
    }
}

/// To be tried again; in leadlex.worker_status, and in the log once.
fn fail(key: QueueKey, failure: &TransactionFailure) {
    let known = job_queues::mark(key, |q| {
        let before = q.error;
        q.wanted = true;
        q.not_before = now_us() + REST_US;
        put_text(&mut q.error, &failure.message);
        q.error == before
    });
    if known != Some(true) {
        pgrx::warning!("leadlex_enrich job worker: {}", failure.message);
    }
}

/// The name of this session's role; `None` when it was dropped.
fn own_name(role: u32) -> Option<String> {
    // SAFETY: a palloc'd name, or null.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role.into(), true);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// Begins the next set, in a short transaction: whatever happens to this process, it is known to have been tried.
fn look(key: QueueKey, closed: &Closed, position: &mut Position) -> Turn {
    if !matches!(installation::find(), Installed::This(_)) {
        return Turn::Nothing;
    }
    let Some(role) = own_name(key.role) else { return Turn::Nothing };
    if cache::paused().is_some() {
        return Turn::Paused;
    }
    if frozen::is_frozen(key.role.into()) {
        return Turn::Frozen;
    }
    job_queues::mark(key, |q| q.frozen = false);
    let closed: Vec<Uuid> = closed.iter().map(|(workspace, _)| *workspace).collect();
    let due = match jobs_due::due(&role, &closed, position) {
        DueJobs::Due(due) => due,
        DueJobs::Nothing(next) => return Turn::Idle(next),
    };
    let policy = settings::job_policy();
    let interrupted = match due.interrupted && job_queues::take_overran(key) {
        true => {
            "it went on after leadlex.job_timeout (or the role's statement_timeout), and its server process was ended"
        }
        false => "the server process that ran it has ended",
    };
    if due.interrupted && due.ticket.contacts > 1 {
        job_failure::halve(due.ticket, interrupted);
        return Turn::GivenUp;
    }
    if due.interrupted && policy.gives_up(due.ticket.attempts) {
        let state = JobState {
            name: "dead",
            outcome: None,
            attempts: due.ticket.attempts,
            after: None,
            error: Some(interrupted.to_owned()),
            progress: jobs::Progress::default(),
            anew: false,
            failed: None,
        };
        job_state::change(&[due.ticket], &state);
        return Turn::GivenUp;
    }
    // What a worker did not survive is tried alone.
    let mut tickets = match due.interrupted {
        true => vec![due.ticket],
        false => jobs::with_companions(due.ticket, &role, (due.place.priority, due.place.at)),
    };
    tickets.iter_mut().for_each(|ticket| ticket.attempts += 1);
    let patience = policy.backoff(tickets[0].attempts, None, job_next::jitter());
    jobs::begin(&tickets, patience, due.interrupted.then_some(interrupted));
    Turn::Sets(tickets)
}

/// Waits for something to do, for a while.
fn more_comes(key: QueueKey) -> bool {
    let until = Instant::now() + LINGER;
    loop {
        // SAFETY: this process's own latch, reset before the look: what comes in between wakes the wait below.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
        let now = now_us();
        let is_due = |q: &mut layout::Queue| q.wanted || q.due_at <= now;
        if lockouts::is_locked_out(key.database) || job_queues::mark(key, is_due) == Some(true) {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || job_queues::others_wait(key) {
            return false;
        }
        let wake = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: reports and waits for this process's own latch.
        unsafe {
            pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null());
            let pause = left.min(Duration::from_millis(100)).as_millis() as i64 + 1;
            pg_sys::WaitLatch(pg_sys::MyLatch, wake as i32, pause, wait::event(wait::Event::Idle));
        }
        forget_cancel();
        pgrx::check_for_interrupts!();
    }
}

//! Whose turn it is in the queue.
//!
//! A look does not begin at the front of the queue each time. There stand rows of which this worker can take none: those of closed
//! workspaces, and what an old snapshot keeps from being removed. See [`Position`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::shared::wait;
use crate::pg::store::jobs::Ticket;
use crate::pg::store::queue_pause::home;
use crate::pg::sys::clock::now_us;
use crate::pg::sys::row::{boolean, number, optional, pg, uuid};
use crate::pg::sys::spi::{Arg, Statement, View, arg, name_arg};

/// The set whose turn it is.
pub struct Due {
    pub ticket: Ticket,
    /// A worker had begun it, and is gone.
    pub interrupted: bool,
    pub place: Place,
}

/// Where a set stands among those of its role.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub priority: i32,
    /// When it was due, in epoch microseconds.
    pub at: i64,
}

/// From where a worker looks: by priority, the time before which nothing could be taken.
///
/// What a transaction has queued earlier than that and commits late is found by the next look from the front. Such a look is
/// made again after so long that all of them together take a small part of the time, and before a worker leaves.
#[derive(Default)]
pub struct Position {
    passed: BTreeMap<i32, i64>,
    /// Of priorities up to `seen_to` that are not in `passed`, nothing was there that was queued before. Epoch microseconds.
    since: i64,
    seen_to: Option<i64>,
    front: Option<Front>,
    is_whole: bool,
}

/// The last look from the front.
struct Front {
    begun: Instant,
    took: Duration,
}

impl Position {
    /// Least time between two looks from the front, and what part of the time they may take.
    const EVERY: Duration = Duration::from_secs(1);
    const SHARE: u32 = 20;
    /// What is queued is mostly committed within this time.
    const LAG_US: i64 = 2_000_000;

    /// The next look begins at the front: of what stands there something may be taken by now.
    pub fn start_over(&mut self) {
        *self = Position::default();
    }

    /// Whether the last look began at the front.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Begins a look; `false`: not at the front.
    fn begin(&mut self) -> bool {
        let rests = |front: &Front| front.begun.elapsed() < Self::EVERY.max(front.took * Self::SHARE);
        self.is_whole = !self.front.as_ref().is_some_and(rests);
        if self.is_whole {
            self.start_over();
            self.is_whole = true;
        }
        self.is_whole
    }

    /// Before this time nothing of the priority can be taken.
    fn pass(&mut self, priority: i32, at: i64, now: i64) {
        self.passed.insert(priority, at.min(now - Self::LAG_US));
    }

    /// What was queued earlier need not be looked for, of priorities from this one on that are not known.
    fn since(&self, least: i64) -> i64 {
        if self.seen_to.is_some_and(|to| least <= to) { self.since } else { 0 }
    }

    fn saw_to(&mut self, priority: i64) {
        self.seen_to = self.seen_to.max(Some(priority));
    }

    fn from(&self, priority: i32) -> i64 {
        self.passed.get(&priority).copied().unwrap_or_default()
    }

    /// The first priority from this one on that is known.
    fn known(&self, least: i64) -> Option<i32> {
        let least = i32::try_from(least).ok()?;
        self.passed.range(least..).next().map(|(priority, _)| *priority)
    }
}

// Between two times of one priority, by the index, in its order. Not `now()`: that is when the look's transaction began, and what
// is queued between that and the look is not to come after what was queued before.
macro_rules! of_a_priority {
    () => {
        "j.role OPERATOR(pg_catalog.=) $1 AND j.priority OPERATOR(pg_catalog.=) $4
       AND j.next_attempt_at OPERATOR(pg_catalog.>=) (pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) ($6 OPERATOR(pg_catalog.*) interval '1 microsecond'))
       AND j.next_attempt_at OPERATOR(pg_catalog.<=) (pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) ($5 OPERATOR(pg_catalog.*) interval '1 microsecond'))
       AND j.workspace_id OPERATOR(pg_catalog.<>) ALL ($2) AND j.home OPERATOR(pg_catalog.=) $3
     ORDER BY j.next_attempt_at USING OPERATOR(pg_catalog.<)"
    };
}

static DUE: Statement = Statement::new(concat!(
    "SELECT j.workspace_id, j.id, j.attempts, j.contacts, j.state OPERATOR(pg_catalog.=) 'running',
            (EXTRACT(epoch FROM j.next_attempt_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8
     FROM leadlex.job_set AS j
     WHERE ",
    of_a_priority!(),
    " LIMIT 1 FOR UPDATE SKIP LOCKED"
));

// Each is one look into the index, however many wait: those of a priority that are not due yet need not be passed by.
static NEXT_PRIORITY: Statement = Statement::new(
    "SELECT j.priority FROM leadlex.job_set AS j
     WHERE j.role OPERATOR(pg_catalog.=) $1 AND j.priority OPERATOR(pg_catalog.>=) $2 AND j.priority OPERATOR(pg_catalog.<) $3
       AND j.next_attempt_at OPERATOR(pg_catalog.>=) (pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) ($4 OPERATOR(pg_catalog.*) interval '1 microsecond'))
     ORDER BY j.priority USING OPERATOR(pg_catalog.<) LIMIT 1",
);

// Of those that somebody holds the first few tell enough.
static HELD: Statement = Statement::new(concat!(
    "SELECT (EXTRACT(epoch FROM pg_catalog.min(h.next_attempt_at)) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
            pg_catalog.bool_or(h.state OPERATOR(pg_catalog.=) 'queued')
     FROM (SELECT j.next_attempt_at, j.state FROM leadlex.job_set AS j
           WHERE ",
    of_a_priority!(),
    " LIMIT 50) AS h"
));

/// A set that is being marked is free again at once: others do not go before it because of that. One that a transaction holds may
/// not be for long.
const PATIENCE: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);
/// When to look again at what somebody holds: a running one is held by its worker.
const QUEUED_AGAIN_US: i64 = 200_000;
const RUNNING_AGAIN_US: i64 = 5_000_000;

/// What a look finds.
pub enum DueJobs {
    Due(Due),
    /// Nothing that can be taken now; when to look again, in epoch microseconds, if something waits.
    Nothing(Option<i64>),
}

/// The set of this role that has waited longest among those of the lowest priority of which one is due, locked. None of `closed`
/// workspaces.
pub fn due(role: &str, closed: &[Uuid], position: &mut Position) -> DueJobs {
    let begun = Instant::now();
    let whole = position.begin();
    let look = Look { role, closed: closed.iter().map(|id| pg(*id)).collect(), now: now_us() };
    let found = look.through(position);
    if whole {
        position.since = look.now - Position::LAG_US;
        position.front = Some(Front { begun, took: begun.elapsed() });
    }
    match found {
        Ok(due) => DueJobs::Due(due),
        Err(held) => {
            let priorities = position.passed.keys().copied();
            DueJobs::Nothing(priorities.filter_map(|priority| look.next(priority)).chain(held).min())
        }
    }
}

/// One look at the queue of a role.
struct Look<'a> {
    role: &'a str,
    closed: Vec<pgrx::Uuid>,
    /// When it began, in epoch microseconds.
    now: i64,
}

/// What may be taken of one priority.
enum First {
    Due(Due),
    /// Somebody holds what is due from this time on; when to look again.
    Held(i64, i64),
    None,
}

impl Look<'_> {
    /// Err: when to look again at what somebody holds, if anything.
    fn through(&self, position: &mut Position) -> Result<Due, Option<i64>> {
        // Not `View::Latest`, which is read-only.
        let (mut least, mut held) = (i64::from(i32::MIN), None);
        loop {
            let known = position.known(least);
            let below = known.map_or(i64::from(i32::MAX) + 1, i64::from);
            let args = [name_arg(self.role), arg(least), arg(below), arg(position.since(least) as f64)];
            let unknown = as_owner(|| NEXT_PRIORITY.row(View::Latest, &args));
            let Some(priority) = unknown.map(|row| number(&row, 0) as i32).or(known) else {
                position.saw_to(i64::from(i32::MAX));
                return Err(held);
            };
            position.saw_to(i64::from(priority));
            match self.first(priority, position.from(priority)) {
                First::Due(due) => {
                    position.pass(priority, due.place.at, self.now);
                    return Ok(due);
                }
                First::Held(from, again) => {
                    position.pass(priority, from, self.now);
                    held = Some(held.map_or(again, |known: i64| known.min(again)));
                }
                First::None => position.pass(priority, self.now, self.now),
            }
            least = i64::from(priority) + 1;
        }
    }

    fn args(&self, priority: i32) -> Vec<Arg> {
        vec![name_arg(self.role), arg(self.closed.clone()), arg(home()), arg(priority), arg(self.now as f64)]
    }

    fn first(&self, priority: i32, from: i64) -> First {
        let mut args = self.args(priority);
        args.push(arg(from as f64));
        for attempt in 0.. {
            if let Some(row) = as_owner(|| DUE.row(View::Caller, &args)) {
                let ticket = Ticket {
                    workspace: uuid(&row, 0),
                    id: uuid(&row, 1),
                    attempts: number(&row, 2) as u32,
                    contacts: number(&row, 3) as u64,
                };
                let place = Place { priority, at: number(&row, 5) };
                return First::Due(Due { ticket, interrupted: boolean(&row, 4), place });
            }
            let held = as_owner(|| HELD.row(View::Latest, &args)).unwrap_or_default();
            let Some(at) = optional(&held, 0).and_then(|us| us.parse().ok()) else { break };
            match boolean(&held, 1) {
                true if attempt < PATIENCE => wait::nap(PAUSE),
                true => return First::Held(at, now_us() + QUEUED_AGAIN_US),
                false => return First::Held(at, now_us() + RUNNING_AGAIN_US),
            }
        }
        First::None
    }

    /// When the next one of a priority is due.
    fn next(&self, priority: i32) -> Option<i64> {
        let row = as_owner(|| NEXT_DUE.row(View::Latest, &self.args(priority)))?;
        optional(&row, 0).and_then(|us| us.parse().ok())
    }
}

// Of many that are not this worker's the last of a portion tells when to look again: too early, but soon enough.
static NEXT_DUE: Statement = Statement::new(
    "SELECT (EXTRACT(epoch FROM coalesce(
                 pg_catalog.min(w.next_attempt_at) FILTER (WHERE w.workspace_id OPERATOR(pg_catalog.<>) ALL ($2) AND w.home OPERATOR(pg_catalog.=) $3),
                 CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) 1000 THEN pg_catalog.max(w.next_attempt_at) END)) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8
     FROM (SELECT j.next_attempt_at, j.workspace_id, j.home FROM leadlex.job_set AS j
           WHERE j.role OPERATOR(pg_catalog.=) $1 AND j.priority OPERATOR(pg_catalog.=) $4
             AND j.next_attempt_at OPERATOR(pg_catalog.>) (pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) ($5 OPERATOR(pg_catalog.*) interval '1 microsecond'))
           ORDER BY j.next_attempt_at USING OPERATOR(pg_catalog.<) LIMIT 1000) AS w",
);

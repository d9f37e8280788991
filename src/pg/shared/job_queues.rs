//! Which jobs wait, of which role in which database, as far as workers have to be started for them. The rows themselves
//! are in the tables: what is lost here (in a crash, or for want of room) the maintenance worker tells again.

use crate::pg::shared::workers;
use std::collections::HashMap;

use pgrx::pg_sys;

use crate::pg::shared::layout;
use crate::pg::shared::layout::{Header, Queue};
use crate::pg::shared::workers::set_latch;
use crate::pg::sys::clock::now_us;
use crate::pg::sys::database::this_database;
use crate::pg::sys::settings;

/// Which queue: database and role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueKey {
    pub database: u32,
    pub role: u32,
}

impl QueueKey {
    /// For the argument of a background worker: database in the upper 32 bits, role in the lower.
    pub fn to_datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from((self.database as usize) << 32 | self.role as usize)
    }

    /// The key that [`QueueKey::to_datum`] has packed.
    pub fn from_datum(datum: pg_sys::Datum) -> QueueKey {
        QueueKey { database: (datum.value() >> 32) as u32, role: datum.value() as u32 }
    }

    /// Whether the entry is that of this key.
    pub fn is(self, queue: &Queue) -> bool {
        queue.database == self.database && queue.role == self.role
    }
}

/// Another may have its place.
pub fn is_idle(queue: &Queue) -> bool {
    let waits = queue.wanted || queue.due_at != i64::MAX || queue.refused;
    queue.worker_pid == 0 && (queue.paused || !waits)
}

/// Its entry, made if there is none; `None` when there are too many.
pub fn entry(header: &mut Header, key: QueueKey) -> Option<&mut Queue> {
    let known = header.queues.iter().position(|q| key.is(q));
    let free = || header.queues.iter().position(|q| q.database == 0);
    let index = known.or_else(free).or_else(|| header.queues.iter().position(is_idle))?;
    let found = &mut header.queues[index];
    if !key.is(found) {
        *found = Queue { database: key.database, role: key.role, ..Queue::FREE };
    }
    Some(found)
}

/// Changes the entry of a queue, which is made if there is none; `None`: there is no room for it.
pub fn mark<R>(key: QueueKey, change: impl FnOnce(&mut Queue) -> R) -> Option<R> {
    layout::with_header(|h| entry(h, key).map(change))
}

/// What a transaction has queued is committed. Cannot fail: runs in its callback, after the rows can be seen.
pub fn settle(roles: &[u32], resumed: bool) {
    if roles.is_empty() && !resumed {
        return;
    }
    let database = this_database();
    let mut latches = Vec::new();
    layout::with_header(|h| {
        for &role in roles {
            match entry(h, QueueKey { database, role }) {
                Some(queue) => {
                    queue.wanted = true;
                    latches.push(queue.latch);
                }
                None => look_again(h, database),
            }
        }
        if resumed {
            h.queues.iter_mut().filter(|q| q.database == database).for_each(|q| q.paused = false);
            look_again(h, database);
            h.resumed = h.resumed.wrapping_add(1);
        }
        if let (false, Some(known)) = (roles.is_empty(), workers::entry(h, database)) {
            // Of what still waits then, the maintenance worker makes it quick to find.
            known.has_work = true;
        }
        latches.push(h.launcher_latch);
    });
    latches.into_iter().for_each(set_latch);
}

/// The maintenance worker is to tell what waits in this database.
fn look_again(header: &mut Header, database: u32) {
    if let Some(known) = workers::entry(header, database) {
        known.sweep = true;
        known.wanted = true;
    }
}

// For the launcher.

/// Whether a worker is to be started for it, but for limits.
pub fn is_ready(queue: &Queue, now: i64) -> bool {
    queue.database != 0
        && queue.worker_pid == 0
        && !queue.paused
        && !queue.refused
        && (queue.wanted || queue.due_at <= now)
        && queue.not_before <= now
}

/// The roles of the workers that there are, asked-for ones included.
struct Busy(Vec<u32>);

impl Busy {
    fn of(header: &Header) -> Busy {
        Busy(header.queues.iter().filter(|q| q.worker_pid != 0).map(|q| q.role).collect())
    }

    fn count(&self, role: u32) -> usize {
        self.0.iter().filter(|other| **other == role).count()
    }

    /// Whether a worker of this role may be started: a role that works in many databases never has all of the workers.
    fn has_room(&self, role: u32) -> bool {
        let all = settings::max_job_workers();
        self.0.len() < all && self.count(role) < all.saturating_sub(1).max(1)
    }

    /// Had one worker of this role left.
    fn without(&self, role: u32) -> Busy {
        let mut rest = self.0.clone();
        if let Some(position) = rest.iter().position(|other| *other == role) {
            rest.swap_remove(position);
        }
        Busy(rest)
    }
}

/// A worker that has been asked for and does not appear within this time is asked for again.
const START_PATIENCE_US: i64 = 10_000_000;

/// The queue that a worker is to be started for now; it is marked as asked for.
pub fn next() -> Option<QueueKey> {
    let now = now_us();
    layout::with_header(|h| {
        // What a clock that was ahead has put off is put off from now.
        for queue in h.queues.iter_mut() {
            queue.not_before = queue.not_before.min(now + START_PATIENCE_US);
            queue.last_run = queue.last_run.min(now);
        }
        for lost in h.queues.iter_mut().filter(|q| q.worker_pid == -1 && q.not_before <= now) {
            *lost = Queue { worker_pid: 0, wanted: true, ..*lost };
        }
        let busy = Busy::of(h);
        let ready = |q: &&Queue| is_ready(q, now) && !h.is_locked_out(q.database);
        // Roles take turns, and each of them its databases.
        let mut turns: HashMap<u32, i64> = HashMap::new();
        for queue in h.queues.iter().filter(|q| q.database != 0) {
            let last = turns.entry(queue.role).or_insert(queue.turn_at);
            *last = queue.turn_at.max(*last);
        }
        let with_room = h.queues.iter().filter(ready).filter(|q| busy.has_room(q.role));
        let longest = with_room.min_by_key(|q| (busy.count(q.role), turns.get(&q.role), q.turn_at));
        let Some(key) = longest.map(|q| QueueKey { database: q.database, role: q.role }) else {
            if h.queues.iter().any(|q| ready(&q)) {
                // Those that have nothing to do make room.
                let idle = h.queues.iter().filter(|q| q.worker_pid != 0 && q.idle);
                idle.for_each(|q| set_latch(q.latch));
            }
            return None;
        };
        let queue = entry(h, key)?;
        queue.worker_pid = -1;
        queue.not_before = now + START_PATIENCE_US;
        queue.turn_at = now;
        Some(key)
    })
}

/// How long the launcher may sleep for all that queues want of it; `None`: as long as it likes.
pub fn until_next() -> Option<std::time::Duration> {
    let now = now_us();
    layout::with_header(|h| {
        let busy = Busy::of(h);
        let at = |q: &Queue| match q.worker_pid {
            // Should it never come.
            -1 => Some(q.not_before),
            // The process that makes room wakes the launcher.
            0 if q.database != 0 && !q.paused && !q.refused && busy.has_room(q.role) => {
                let due = if q.wanted { now } else { q.due_at };
                // So does the end of a lockout, most of the time.
                let least = if h.is_locked_out(q.database) { 1_000_000 } else { 100_000 };
                Some(due.max(q.not_before).max(now + least))
            }
            _ => None,
        };
        let first = h.queues.iter().filter_map(at).min()?;
        let left = first.saturating_sub(now).max(0) as u64;
        (first < i64::MAX).then(|| std::time::Duration::from_micros(left))
    })
}

/// The worker could not be started for now.
pub fn put_back(key: QueueKey) {
    mark(key, |q| *q = Queue { worker_pid: 0, wanted: true, not_before: 0, ..*q });
}

/// The database is gone.
pub fn forget(database: u32) {
    layout::with_header(|h| {
        h.queues.iter_mut().filter(|q| q.database == database).for_each(|q| *q = Queue::FREE);
    });
}

// For the workers of the queues.

/// A worker begins: `false` when it has to stay out.
pub fn enter(key: QueueKey) -> bool {
    layout::with_header(|h| {
        let locked_out = h.is_locked_out(key.database);
        let Some(queue) = entry(h, key) else { return false };
        if queue.worker_pid > 0 {
            return false;
        }
        if locked_out {
            *queue = Queue { worker_pid: 0, wanted: true, not_before: 0, ..*queue };
            return false;
        }
        // SAFETY: globals of this process.
        unsafe {
            queue.worker_pid = pg_sys::MyProcPid;
            queue.latch = pg_sys::MyLatch;
        }
        queue.idle = false;
        true
    })
}

/// How a worker ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// As it should.
    Orderly,
    /// It never became a session of its role.
    Refused,
    /// An error has ended it.
    Broken,
    /// So has the time limit of its run.
    Overran,
}

/// Until a worker that broke is tried again.
const REST_US: i64 = 2_000_000;

/// The worker has left the database.
pub fn leave(key: QueueKey, exit: Exit) {
    let latch = layout::with_header(|h| {
        // SAFETY: a global of this process.
        let own = |q: &&mut Queue| key.is(q) && q.worker_pid == unsafe { pg_sys::MyProcPid };
        let Some(queue) = h.queues.iter_mut().find(own) else { return std::ptr::null_mut() };
        queue.worker_pid = 0;
        queue.latch = std::ptr::null_mut();
        queue.idle = false;
        match exit {
            Exit::Orderly => {}
            Exit::Refused => {
                queue.refused = true;
                queue.not_before = now_us() + REST_US;
                look_again(h, key.database);
            }
            Exit::Broken | Exit::Overran => {
                queue.overran = exit == Exit::Overran;
                queue.wanted = true;
                queue.not_before = now_us() + REST_US;
            }
        }
        h.launcher_latch
    });
    set_latch(latch);
}

/// Whether the last worker was ended by the time limit of its run. Told once.
pub fn take_overran(key: QueueKey) -> bool {
    mark(key, |q| std::mem::take(&mut q.overran)) == Some(true)
}

/// Whether another queue waits for a worker, and has room for one only when this one leaves.
pub fn others_wait(key: QueueKey) -> bool {
    let now = now_us();
    layout::with_header(|h| {
        let (busy, rest) = (Busy::of(h), Busy::of(h).without(key.role));
        let waits = |q: &Queue| {
            !key.is(q)
                && is_ready(q, now)
                && !h.is_locked_out(q.database)
                && !busy.has_room(q.role)
                && rest.has_room(q.role)
        };
        h.queues.iter().any(waits)
    })
}

/// How often queues have been resumed.
pub fn resumed() -> u32 {
    layout::with_header(|h| h.resumed)
}

/// The tables said that nothing is to be begun. Should some queue have been resumed since, they may say so no longer.
pub fn pause(key: QueueKey, resumed: u32) {
    layout::with_header(|h| {
        let same = h.resumed == resumed;
        if let Some(queue) = entry(h, key) {
            queue.wanted = true;
            queue.paused = same;
        }
    });
}

/// Until it is looked again whether a role's transactions are read-only by default.
const FROZEN_US: i64 = 5_000_000;

/// Nothing is begun for now: that it is allowed again is told by nothing.
pub fn freeze(key: QueueKey) {
    mark(key, |q| {
        (q.frozen, q.wanted) = (true, true);
        q.not_before = now_us() + FROZEN_US;
    });
}

/// The launcher tells what the server's configuration says. Once it allows again, no queue waits longer.
pub fn tell_read_only() {
    // SAFETY: a global of this process.
    let read_only = unsafe { pg_sys::DefaultXactReadOnly };
    layout::with_header(|h| {
        if std::mem::replace(&mut h.read_only, read_only) && !read_only {
            h.queues.iter_mut().filter(|q| q.frozen).for_each(|q| q.not_before = 0);
        }
    });
}

/// The maintenance worker is to tell at its next round what waits in this database.
pub fn look_later(header: &mut Header, database: u32) {
    if let Some(known) = workers::entry(header, database) {
        known.sweep = true;
        known.has_work = true;
    }
}

/// What leadlex.worker_status shows.
pub fn status() -> Vec<Queue> {
    layout::with_header(|h| h.queues.iter().filter(|q| q.database != 0).copied().collect())
}

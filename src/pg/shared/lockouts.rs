//! Keeps workers out of a database for as long as a transaction needs it without sessions.
//!
//! A lockout stands until its transaction (or subtransaction) ends, however it ends: a backend that dies aborts first, and
//! after a crash shared memory is new.

use crate::pg::shared::job_queues;
use crate::pg::shared::turns;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::shared::layout;
use crate::pg::shared::layout::{AccountState, Database, Header, Lock, Lockout};
use crate::pg::shared::transaction;
use crate::pg::shared::transaction::{LockoutOutcome, OwnLockout, Settlement};
use crate::pg::shared::{control, events, receipts, wait};

/// How long a statement waits for a worker to leave.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a worker is doing is cancelled after so long; and once more, should it have begun something else.
const CANCEL_AFTER: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(600)];

/// For how long DROP EXTENSION keeps workers out: time to take its locks. Should it have to wait for a call in flight,
/// that call may need the worker to come to its end.
const BRIEFLY_S: i64 = 2;

/// Sends the worker of `database` away and lets no other in until the transaction ends.
pub fn clear(database: u32) {
    set(database, i64::MAX);
}

/// The same, for a short time only.
pub fn clear_briefly(database: u32) {
    set(database, clock::now() + BRIEFLY_S);
}

fn set(database: u32, until: i64) {
    let subtransaction = transaction::subtransaction();
    transaction::with(|t| t.lockouts.reserve(1));
    // SAFETY: a global of this process.
    let pid = unsafe { pg_sys::MyProcPid };
    let locked_out = layout::with_header(|h| {
        let free = h.lockouts.iter_mut().find(|b| b.pid == 0);
        free.map(|lockout| *lockout = Lockout { database, pid, until }).is_some()
    });
    // When all places are taken the statement waits for the worker as for any session: it leaves by itself.
    if locked_out {
        transaction::with(|t| {
            t.lockouts.push(OwnLockout { database, outcome: LockoutOutcome::Stays, subtransaction })
        });
        wait_until_gone(database);
    }
}

/// What the statement was for, once it has succeeded.
pub fn note(database: u32, outcome: LockoutOutcome) {
    transaction::with(|t| {
        t.lockouts.iter_mut().filter(|b| b.database == database).for_each(|b| b.outcome = outcome);
    });
}

/// A worker begins: `false` when it has to stay out. From here on, a process that locks the database out knows of it.
pub fn enter(database: u32) -> bool {
    layout::with_header(|h| {
        let locked_out = h.is_locked_out(database);
        let Some(entry) = workers::entry(h, database) else { return false };
        // The one that the launcher has given up waiting for may have come in the end.
        if entry.worker_pid > 0 {
            return false;
        }
        if locked_out {
            *entry = Database { worker_pid: 0, wanted: true, not_before: 0, ..*entry };
            return false;
        }
        // SAFETY: globals of this process.
        unsafe {
            entry.worker_pid = pg_sys::MyProcPid;
            entry.latch = pg_sys::MyLatch;
        }
        turns::count(h);
        true
    })
}

/// The worker has left the database. Of one without the extension there is nothing to remember.
pub fn leave(database: u32, installed: bool) {
    layout::with_header(|h| {
        // SAFETY: a global of this process.
        let own = |d: &&mut Database| d.oid == database && d.worker_pid == unsafe { pg_sys::MyProcPid };
        if let Some(entry) = h.databases.iter_mut().find(own) {
            entry.worker_pid = 0;
            entry.latch = std::ptr::null_mut();
            if !installed && !entry.wanted && !entry.has_work {
                *entry = Database::FREE;
            }
        }
    });
}

fn wait_until_gone(database: u32) {
    let started = Instant::now();
    let mut cancels = CANCEL_AFTER.into_iter().peekable();
    let mut first = true;
    loop {
        let cancel = cancels.next_if(|&due| started.elapsed() >= due).is_some();
        let running: Vec<(i32, *mut pg_sys::Latch, bool)> = layout::with_header(|h| {
            let workers = h.databases.iter().filter(|d| d.oid == database && d.worker_pid > 0);
            // What one does is no quick work: it is cancelled at once.
            let jobs = h.queues.iter().filter(|q| q.database == database && q.worker_pid > 0);
            let running: Vec<_> = workers
                .map(|d| (d.worker_pid, d.latch, cancel))
                .chain(jobs.map(|q| (q.worker_pid, q.latch, cancel || first)))
                .collect();
            for (pid, ..) in running.iter().filter(|(_, _, cancel)| *cancel) {
                // SAFETY: a worker takes its pid out of here, under this lock, before it ends: it is still that process.
                unsafe { libc::kill(*pid, libc::SIGINT) };
            }
            running
        });
        first = false;
        if running.is_empty() || started.elapsed() >= PATIENCE {
            return;
        }
        running.into_iter().for_each(|(_, latch, _)| workers::set_latch(latch));
        wait::nap(Duration::from_millis(10));
    }
}

impl Header {
    /// Whether workers have to stay out of a database.
    pub fn is_locked_out(&self, database: u32) -> bool {
        let now = clock::now();
        // A brief one that is not about to end is of a clock that was ahead.
        let stands = |until: i64| until == i64::MAX || (now + 1..=now + BRIEFLY_S).contains(&until);
        self.lockouts.iter().any(|b| b.pid != 0 && b.database == database && stands(b.until))
    }
}

/// Whether no worker may be in this database now.
pub fn is_locked_out(database: u32) -> bool {
    layout::with_header(|h| h.is_locked_out(database))
}

/// What the end of a transaction does with the databases that it kept workers out of.
pub const SETTLEMENT: Settlement = Settlement {
    ended: |ended, committed| settle(&ended.lockouts, committed),
    undone: |undone| settle(&undone.lockouts, false),
};

/// The (sub)transaction that set these lockouts has ended. Cannot fail: runs in its callbacks.
pub fn settle(lockouts: &[OwnLockout], committed: bool) {
    if lockouts.is_empty() {
        return;
    }
    for own in lockouts {
        match own.outcome {
            LockoutOutcome::Dropped if committed => forget(own.database),
            outcome => lift(own.database, if committed { outcome } else { LockoutOutcome::Stays }),
        }
    }
    workers::set_latch(layout::with_header(|h| h.launcher_latch));
}

fn lift(database: u32, outcome: LockoutOutcome) {
    layout::with_header(|h| {
        take_down(h, database);
        let known = h.databases.iter_mut().find(|d| d.oid == database);
        match (known, outcome) {
            (Some(entry), LockoutOutcome::Emptied) => {
                entry.wanted = true;
                // Another extension that may come is not paused.
                h.queues.iter_mut().filter(|q| q.database == database).for_each(|q| q.paused = false);
            }
            // What the worker left undone waits no longer than it must.
            (Some(entry), _) => entry.wanted |= entry.has_work,
            (None, _) => return,
        }
        // A copy has the ledger rows of its source, and nobody has told of them.
        if let LockoutOutcome::Copied(copy) = outcome
            && let Some(entry) = workers::entry(h, copy)
        {
            entry.has_work = true;
        }
    });
}

/// One lockout of this backend's.
fn take_down(header: &mut Header, database: u32) {
    // SAFETY: a global of this process.
    let pid = unsafe { pg_sys::MyProcPid };
    if let Some(lockout) = header.lockouts.iter_mut().find(|b| b.pid == pid && b.database == database) {
        *lockout = Lockout::FREE;
    }
}

/// The database is gone: so is everything that shared memory knows of it. Nobody can be connected to it.
pub fn forget(database: u32) {
    forget_accounts(|key| key.database == database);
    receipts::with(|arena| arena.forget_database(database));
    events::forget(database);
    control::forget(database);
    layout::with_header(|h| {
        take_down(h, database);
        h.databases.iter_mut().filter(|d| d.oid == database).for_each(|d| *d = Database::FREE);
    });
    job_queues::forget(database);
}

/// Frees the places of accounts that no transaction is using, whatever the tables know of them.
pub fn forget_accounts(gone: impl Fn(&layout::AccountKey) -> bool) {
    let _directory = layout::lock(Lock::Directory);
    for index in 0..layout::accounts_used() {
        layout::with_account(index, |a| {
            if a.phase == layout::Phase::Ready && a.pins == 0 && a.reserved == 0 && gone(&a.key) {
                *a = AccountState::FREE;
            }
        });
    }
}

//! What others tell the workers: that there is something to do in a database.

use std::cell::Cell;

use pgrx::pg_sys;

use crate::pg::shared::layout::{self, Database, Header};
use crate::pg::shared::turns;
use crate::pg::sys::clock;
use crate::pg::sys::database::this_database;

thread_local! {
    /// Where this database's entry stood at the last note.
    static NOTED_AT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The entry of a database, made if there is none; `None` when there are too many with work waiting.
pub fn entry(header: &mut Header, oid: u32) -> Option<&mut Database> {
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

/// Wakes the process of this latch; does nothing for a null pointer.
pub fn set_latch(latch: *mut pg_sys::Latch) {
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
/// a process that finds the note still there knows that it will be read after this commit.
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

/// Tickets were taken away: a worker is to see to what they leave, at once. Cannot fail, as above.
pub fn note_withdrawal() {
    let latch = layout::with_header(|header| {
        if let Some(database) = entry(header, this_database()) {
            database.withdrawals += 1;
            database.wanted = true;
            if database.worker_pid > 0 {
                return database.latch;
            }
        }
        header.launcher_latch
    });
    set_latch(latch);
}

/// Something is held for an answer to come: it is looked at by this epoch second.
pub fn note_hold(until: i64) {
    layout::with_header(|header| {
        if let Some(database) = entry(header, this_database()) {
            database.holds_at = database.holds_at.min(until);
        }
    });
}

/// What leadlex.worker_status shows: the launcher's pid, and the databases known.
pub fn status() -> (i32, Vec<Database>) {
    layout::with_header(|h| (h.launcher_pid, h.databases.iter().filter(|d| d.oid != 0).copied().collect()))
}

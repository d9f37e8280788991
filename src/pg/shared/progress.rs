//! How far a batch is, for its own session (NOTICE) and for all others (leadlex.progress).

use std::time::{Duration, Instant};

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::shared::layout;
use crate::pg::shared::layout::Running;
use crate::pg::sys::clock::now_us;

/// What others see is at most this old.
const SHOW_EVERY: Duration = Duration::from_millis(100);
const NOTICE_EVERY: Duration = Duration::from_secs(5);

/// One batch. Dropping it takes it off the list, also when an error ends it.
pub struct Progress {
    /// Its place in shared memory; `None` when all are taken.
    place: Option<usize>,
    running: Running,
    /// Answered, and not written yet.
    unwritten: u64,
    shown: Instant,
    told: Instant,
}

impl Progress {
    /// Lists a batch of `total` contacts, if there is a place for it.
    pub fn start(workspace: Uuid, relation: Option<pg_sys::Oid>, total: usize) -> Progress {
        // SAFETY: globals of a backend.
        let (pid, database) = unsafe { (pg_sys::MyProcPid, pg_sys::MyDatabaseId.to_u32()) };
        let running = Running {
            pid,
            database,
            workspace: *workspace.as_bytes(),
            relation: relation.map_or(0, |relation| relation.to_u32()),
            total: total as u64,
            done: 0,
            failed: 0,
            started_at: now_us(),
        };
        forget_the_gone();
        let place = layout::with_header(|h| {
            let place = h.running.iter().position(|r| r.pid == 0)?;
            h.running[place] = running;
            Some(place)
        });
        let now = Instant::now();
        Progress { place, running, unwritten: 0, shown: now, told: now }
    }

    /// All is known of another contact; it is written later, with others.
    pub fn answered(&mut self) {
        self.unwritten += 1;
        self.look();
    }

    /// What was answered is being written: each is counted now.
    pub fn writing(&mut self) {
        self.unwritten = 0;
    }

    /// So many positions of the input are finished.
    pub fn count(&mut self, positions: usize, failed: bool) {
        self.running.done += positions as u64;
        self.running.failed += if failed { positions as u64 } else { 0 };
        self.look();
    }

    fn look(&mut self) {
        if self.shown.elapsed() >= SHOW_EVERY {
            self.show();
        }
        if self.told.elapsed() >= NOTICE_EVERY {
            self.told = Instant::now();
            self.tell();
        }
    }

    fn now(&self) -> Running {
        Running { done: self.running.done + self.unwritten, ..self.running }
    }

    fn show(&mut self) {
        self.shown = Instant::now();
        if let Some(place) = self.place {
            let running = self.now();
            layout::with_header(|h| h.running[place] = running);
        }
    }

    fn tell(&self) {
        let running = self.now();
        let Running { done, total, failed, .. } = running;
        // Of a slow vendor few are done in a second.
        let rate = running.rate();
        let digits = if rate < 10.0 { 1 } else { 0 };
        let left = running.seconds_left().map_or_else(|| "?".to_owned(), |s| format!("{s:.0}"));
        pgrx::notice!(
            "{done} of {total} contacts done, {failed} failed, {rate:.digits$} per second, {left} s left"
        );
    }
}

impl Running {
    /// Contacts per second.
    pub fn rate(&self) -> f64 {
        let seconds = (now_us() - self.started_at).max(1) as f64 / 1e6;
        self.done as f64 / seconds
    }

    /// Seconds until the end at the present rate; `None`: no contact is done yet.
    pub fn seconds_left(&self) -> Option<f64> {
        let rate = self.rate();
        (rate > 0.0).then(|| self.total.saturating_sub(self.done) as f64 / rate)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            layout::with_header(|h| h.running[place] = Running::NONE);
        }
    }
}

/// A backend that was terminated leaves its batch behind.
fn forget_the_gone() {
    let seen = layout::with_header(|h| h.running);
    for (place, left) in seen.iter().enumerate() {
        // SAFETY: a look-up in the process array.
        if left.pid != 0 && unsafe { pg_sys::BackendPidGetProc(left.pid) }.is_null() {
            layout::with_header(|h| {
                let now = &mut h.running[place];
                if (now.pid, now.started_at) == (left.pid, left.started_at) {
                    *now = Running::NONE;
                }
            });
        }
    }
}

/// The batches that run in this database.
pub fn running() -> Vec<Running> {
    forget_the_gone();
    // SAFETY: a global of a backend.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    layout::with_header(|h| {
        h.running.iter().filter(|r| r.pid != 0 && r.database == database).copied().collect()
    })
}

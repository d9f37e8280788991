//! File descriptors of a session's requests. Postgres keeps files open up to the limit of the process, so whatever opens
//! descriptors beside it has to announce them before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The host's own count. Called only on the thread that sends.
#[derive(Clone, Copy)]
pub struct Announce {
    /// One more; `false` when there is no room for it.
    pub acquire: fn() -> bool,
    pub release: fn(),
}

/// The notifier, and what wakes the thread that requests share.
const KEPT: usize = 2;
/// What one request may open while it runs: its connection, and for a moment what the system's resolver or the reading of
/// root certificates holds.
const PER_REQUEST: usize = 3;
/// What a look-up holds that outlives its request.
const PER_STRAY: usize = 2;

/// How many of something there are.
pub type Count = Arc<AtomicUsize>;

/// One of them, while it lives.
#[derive(Debug)]
pub struct Counted(Count);

impl Counted {
    /// Counts one more, until this is dropped.
    pub fn new(count: &Count) -> Counted {
        count.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What holds descriptors, counted in whichever thread it lives.
#[derive(Clone, Default)]
pub struct InUse {
    /// Connections, idle ones included.
    pub connections: Count,
    /// Requests that have been sent and are not over.
    pub requests: Count,
    /// Look-ups for which nobody waits any more.
    pub strays: Count,
}

/// What is announced for all that.
pub struct Descriptors {
    announce: Announce,
    announced: usize,
    pub in_use: InUse,
}

impl Descriptors {
    /// With room for one request, which is kept. `None`: there is none.
    pub fn announce(announce: Announce) -> Option<Descriptors> {
        let mut descriptors = Descriptors { announce, announced: 0, in_use: InUse::default() };
        descriptors.settle(1).then_some(descriptors)
    }

    /// Announces what one more request needs; whether there is room for it.
    pub fn make_room(&mut self) -> bool {
        self.settle(self.requests() + 1)
    }

    /// Takes back what was announced for requests that are over.
    pub fn take_back(&mut self) {
        let _ = self.settle(self.requests().max(1));
    }

    /// Requests that have been sent and are not over.
    pub fn requests(&self) -> usize {
        self.in_use.requests.load(Ordering::Acquire)
    }

    /// A request that ends meanwhile needs less than it is counted with here, never more.
    fn settle(&mut self, requests: usize) -> bool {
        let count = |count: &Count| count.load(Ordering::Acquire);
        let strays = count(&self.in_use.strays);
        let needed = KEPT + count(&self.in_use.connections) + PER_STRAY * strays + PER_REQUEST * requests;
        while self.announced > needed {
            (self.announce.release)();
            self.announced -= 1;
        }
        while self.announced < needed {
            if !(self.announce.acquire)() {
                return false;
            }
            self.announced += 1;
        }
        true
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        for _ in 0..self.announced {
            (self.announce.release)();
        }
    }
}

#[cfg(test)]
#[path = "descriptors_tests.rs"]
mod tests;

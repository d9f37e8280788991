//! Carries requests to helper threads and answers back, so that the thread that asks can wait for other things too.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::client::{Client, ENDING};
use super::descriptors::{Announce, Counted, Descriptors};
use super::{Job, Keep};
use leadlex_domain::provider::{Answer, Fault, FaultKind};

/// Starts a thread in which all signals are blocked.
pub type SpawnFn = fn(name: &str, Box<dyn FnOnce() + Send + 'static>) -> io::Result<()>;

/// Requests under way at once; abandoned ones count until their time is over.
pub const MAX_HELPERS: usize = 64;
/// A thread without work for so long ends.
const MAX_IDLE: Duration = Duration::from_secs(60);

type Outcome = Result<Answer, Fault>;

/// One per backend: its connections and its helper threads.
pub struct Courier {
    shared: Arc<Shared>,
    spawn: SpawnFn,
    descriptors: Descriptors,
}

/// Why there is no courier.
#[derive(Debug)]
pub enum OpenError {
    /// No descriptors can be announced.
    NoRoom,
    Io(io::Error),
}

struct Shared {
    client: Client,
    /// Rings when a request is done.
    bell: Bell,
    crew: Mutex<Crew>,
    max_idle: Duration,
}

#[derive(Default)]
struct Crew {
    /// Those without work, the latest to become so at the end.
    idle: Vec<Arc<Helper>>,
    /// Every one whose thread runs.
    all: Vec<Weak<Helper>>,
}

/// A thread and its mailbox. It has at most one request, and that at most one ticket, at a time: it is idle again
/// only when the ticket is settled. Therefore no outcome can be taken for that of another request.
struct Helper {
    state: Mutex<State>,
    work: Condvar,
}

struct Errand {
    job: Job,
    keep: Option<Keep>,
    deadline: Instant,
    under_way: Counted,
}

enum State {
    Idle,
    Waiting(Box<Errand>),
    Running,
    /// Running, but nobody waits for the outcome any more.
    Abandoned,
    Done(Outcome),
    /// The thread has ended for want of work.
    Gone,
}

impl Courier {
    pub fn open(spawn: SpawnFn, announce: Announce) -> Result<Courier, OpenError> {
        Courier::with_max_idle(spawn, announce, MAX_IDLE)
    }

    fn with_max_idle(spawn: SpawnFn, announce: Announce, max_idle: Duration) -> Result<Courier, OpenError> {
        let descriptors = Descriptors::announce(announce).ok_or(OpenError::NoRoom)?;
        let bell = Bell::new().map_err(OpenError::Io)?;
        let client = Client::new(spawn, &descriptors.in_use);
        let shared = Arc::new(Shared { client, bell, crew: Mutex::default(), max_idle });
        Ok(Courier { shared, spawn, descriptors })
    }

    /// Readable when a request may be done. `silence` it before looking at the tickets.
    pub fn fd(&self) -> RawFd {
        self.shared.bell.pipe.0.as_raw_fd()
    }

    /// Who looks at the tickets after this misses none.
    pub fn silence(&self) {
        self.shared.bell.silence();
    }

    /// Whether descriptors for one more request are announced now. `false` only while requests are under way.
    pub fn has_room(&mut self) -> bool {
        if self.descriptors.make_room() {
            return true;
        }
        if self.descriptors.requests() > 0 {
            return false;
        }
        self.shared.client.drop_idle();
        self.descriptors.make_room()
    }

    /// Takes back what was announced for requests that are over.
    pub fn tidy(&mut self) {
        self.descriptors.take_back();
    }

    /// Starts the request; its time runs from here.
    pub fn send(&mut self, job: Job, keep: Option<Keep>) -> Result<Ticket, Fault> {
        if self.shared.client.is_closed() {
            return Err(Fault::new(FaultKind::Internal, ENDING));
        }
        let deadline = Instant::now() + job.timeout;
        let helper = match self.free_helper() {
            Ok(helper) => helper,
            Err(fault) => {
                keep.into_iter().for_each(|keep| keep(Err(&fault)));
                return Err(fault);
            }
        };
        let under_way = Counted::new(&self.descriptors.in_use.requests);
        *lock(&helper.state) = State::Waiting(Box::new(Errand { job, keep, deadline, under_way }));
        helper.work.notify_one();
        Ok(Ticket { shared: Arc::clone(&self.shared), helper, settled: false })
    }

    /// Closes all connections at once and lets the threads end. Waits for nothing.
    pub fn shutdown(&self) {
        self.shared.client.shutdown();
        let helpers = {
            let mut crew = lock(&self.shared.crew);
            crew.idle.clear();
            crew.all.clone()
        };
        for helper in helpers.iter().filter_map(Weak::upgrade) {
            // Under its lock, so that it is either before its look at the client or already waiting.
            let _state = lock(&helper.state);
            helper.work.notify_one();
        }
    }

    fn free_helper(&mut self) -> Result<Arc<Helper>, Fault> {
        if !self.has_room() {
            let message = "earlier requests of this session have all file descriptors that it may open";
            return Err(Fault::new(FaultKind::Busy, message));
        }
        let idle = lock(&self.shared.crew).idle.pop();
        idle.map_or_else(|| self.hire(), Ok)
    }

    fn hire(&mut self) -> Result<Arc<Helper>, Fault> {
        {
            let mut crew = lock(&self.shared.crew);
            crew.all.retain(|helper| helper.strong_count() > 0);
            if crew.all.len() >= MAX_HELPERS {
                let message = format!("{MAX_HELPERS} requests are under way in this session");
                return Err(Fault::new(FaultKind::Busy, message));
            }
        }
        let failed = |error: io::Error| {
            let message = format!("could not start a thread for the request: {error}");
            Fault::new(FaultKind::Internal, message)
        };
        let helper = Arc::new(Helper { state: Mutex::new(State::Idle), work: Condvar::new() });
        let (shared, its_own) = (Arc::clone(&self.shared), Arc::clone(&helper));
        (self.spawn)("leadlex http", Box::new(move || its_own.serve(&shared))).map_err(failed)?;
        lock(&self.shared.crew).all.push(Arc::downgrade(&helper));
        Ok(helper)
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Helper {
    fn serve(self: Arc<Helper>, shared: &Shared) {
        while let Some(errand) = self.next_errand(shared) {
            let Errand { job, keep, deadline, under_way } = *errand;
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let outcome = shared.client.fetch(&job, deadline);
                if let Some(keep) = keep {
                    keep(outcome.as_ref());
                }
                outcome
            }));
            let outcome =
                outcome.unwrap_or_else(|_| Err(Fault::new(FaultKind::Internal, "the HTTP client failed")));
            drop(job);
            // Before anybody can see the outcome, so that who has seen it finds room for the next request.
            drop(under_way);
            self.deliver(outcome, shared);
        }
    }

    /// None when it is time for the thread to end.
    fn next_errand(self: &Arc<Helper>, shared: &Shared) -> Option<Box<Errand>> {
        let mut state = lock(&self.state);
        loop {
            if shared.client.is_closed() {
                return None;
            }
            if matches!(*state, State::Waiting(..))
                && let State::Waiting(errand) = std::mem::replace(&mut *state, State::Running)
            {
                return Some(errand);
            }
            let (woken, wait) =
                self.work.wait_timeout(state, shared.max_idle).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if wait.timed_out() && matches!(*state, State::Idle) && shared.dismiss(self) {
                *state = State::Gone;
                return None;
            }
        }
    }

    fn deliver(self: &Arc<Helper>, outcome: Outcome, shared: &Shared) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Abandoned) {
            *state = State::Idle;
            shared.rest(self);
            return;
        }
        *state = State::Done(outcome);
        drop(state);
        shared.bell.ring();
    }
}

impl Shared {
    fn rest(&self, helper: &Arc<Helper>) {
        let mut crew = lock(&self.crew);
        // After a shutdown the list stays empty, since the threads end.
        if !self.client.is_closed() {
            crew.idle.push(Arc::clone(helper));
        }
    }

    /// Takes an idle helper off the list; false when it has just been given work.
    fn dismiss(&self, helper: &Arc<Helper>) -> bool {
        let mut crew = lock(&self.crew);
        let at = crew.idle.iter().position(|other| Arc::ptr_eq(other, helper));
        at.map(|position| crew.idle.remove(position)).is_some()
    }
}

/// One for all requests of a session, since each pipe takes two descriptors.
struct Bell {
    rung: AtomicBool,
    pipe: (PipeReader, PipeWriter),
}

impl Bell {
    fn new() -> io::Result<Bell> {
        Ok(Bell { rung: AtomicBool::new(false), pipe: io::pipe()? })
    }

    fn silence(&self) {
        // There is at most one byte, and it is there once `rung` says so, or will be in a moment.
        if self.rung.swap(false, Ordering::AcqRel) {
            let _ = (&self.pipe.0).read_exact(&mut [0]);
        }
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // The pipe is empty, or about to be emptied, so this cannot block for long.
            let _ = (&self.pipe.1).write_all(&[1]);
        }
    }
}

/// A request under way. To drop it is to lose interest: the request goes on until it ends or its time is over, so
/// that a provider's answer does not find the door shut. What comes of it goes to the job's `Keep` alone.
pub struct Ticket {
    shared: Arc<Shared>,
    helper: Arc<Helper>,
    settled: bool,
}

impl Ticket {
    pub fn try_take(&mut self) -> Option<Result<Answer, Fault>> {
        if self.settled {
            return None;
        }
        let outcome = {
            let mut state = lock(&self.helper.state);
            if !matches!(*state, State::Done(_)) {
                return None;
            }
            std::mem::replace(&mut *state, State::Idle)
        };
        self.settled = true;
        self.shared.rest(&self.helper);
        match outcome {
            State::Done(outcome) => Some(outcome),
            _ => None,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut state = lock(&self.helper.state);
        match *state {
            State::Running => {
                *state = State::Abandoned;
                return;
            }
            // Not yet begun: then it never will be.
            State::Done(_) | State::Waiting(..) => {}
            State::Idle | State::Abandoned | State::Gone => return,
        }
        *state = State::Idle;
        drop(state);
        self.shared.rest(&self.helper);
    }
}

/// Nothing that is done under these locks can leave half a change behind, so poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;

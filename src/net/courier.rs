//! Carries requests to helper threads and answers back, so that the thread that asks can wait for other things too.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::client::{Client, ENDING};
use super::{Job, Keep};
use crate::domain::provider::{Answer, Fault, FaultKind};

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
}

struct Shared {
    client: Client,
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
/// only when the ticket is settled. Therefore no wake-up can be taken for one of another request.
struct Helper {
    state: Mutex<State>,
    work: Condvar,
    /// Holds one byte exactly while the state is `Done`.
    bell: (PipeReader, PipeWriter),
}

struct Errand {
    job: Job,
    keep: Option<Keep>,
    bell: Option<Arc<Clapper>>,
    deadline: Instant,
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
    pub fn new(spawn: SpawnFn) -> Courier {
        Courier::with_max_idle(spawn, MAX_IDLE)
    }

    fn with_max_idle(spawn: SpawnFn, max_idle: Duration) -> Courier {
        Courier {
            shared: Arc::new(Shared { client: Client::new(spawn), crew: Mutex::default(), max_idle }),
            spawn,
        }
    }

    /// Starts the request; its time runs from here.
    /// `bell`, where there is one, rings when the outcome is there.
    pub fn send(&mut self, job: Job, keep: Option<Keep>, bell: Option<&Bell>) -> Result<Ticket, Fault> {
        if self.shared.client.is_closed() {
            return Err(Fault::new(FaultKind::Internal, ENDING));
        }
        let deadline = Instant::now() + job.timeout;
        let idle = lock(&self.shared.crew).idle.pop();
        let helper = match idle {
            Some(helper) => helper,
            None => match self.hire() {
                Ok(helper) => helper,
                Err(fault) => {
                    keep.into_iter().for_each(|keep| keep(Err(&fault)));
                    return Err(fault);
                }
            },
        };
        *lock(&helper.state) = State::Waiting(Box::new(Errand {
            job,
            keep,
            deadline,
            bell: bell.map(|bell| Arc::clone(&bell.0)),
        }));
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
        let helper = Arc::new(Helper {
            state: Mutex::new(State::Idle),
            work: Condvar::new(),
            bell: io::pipe().map_err(failed)?,
        });
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
            let Errand { job, keep, deadline, bell } = *errand;
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
            self.deliver(outcome, shared);
            if let Some(bell) = bell {
                bell.ring();
            }
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
        // The pipe is empty, so this cannot block. It fails only if the other end is closed, and we hold that too.
        let _ = (&self.bell.1).write_all(&[1]);
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

/// Tells of many requests at once that one of them is done.
#[derive(Clone)]
pub struct Bell(Arc<Clapper>);

struct Clapper {
    rung: AtomicBool,
    pipe: (PipeReader, PipeWriter),
}

impl Bell {
    pub fn new() -> io::Result<Bell> {
        Ok(Bell(Arc::new(Clapper { rung: AtomicBool::new(false), pipe: io::pipe()? })))
    }

    /// Readable when it has rung.
    pub fn fd(&self) -> RawFd {
        self.0.pipe.0.as_raw_fd()
    }

    /// Whoever looks at the requests after this misses none.
    pub fn silence(&self) {
        // There is at most one byte, and it is there once `rung` says so, or will be in a moment.
        if self.0.rung.swap(false, Ordering::AcqRel) {
            let _ = (&self.0.pipe.0).read_exact(&mut [0]);
        }
    }
}

impl Clapper {
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
    /// Readable when the outcome is there. Only to be polled, and only until `try_take` has given the outcome.
    pub fn fd(&self) -> RawFd {
        self.helper.bell.0.as_raw_fd()
    }

    pub fn try_take(&mut self) -> Option<Result<Answer, Fault>> {
        if self.settled {
            return None;
        }
        let outcome = {
            let mut state = lock(&self.helper.state);
            if !matches!(*state, State::Done(_)) {
                return None;
            }
            self.helper.silence();
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

impl Helper {
    fn silence(&self) {
        // In state Done there is exactly one byte, so this does not block either.
        let _ = (&self.bell.0).read_exact(&mut [0]);
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
            State::Done(_) => self.helper.silence(),
            // Not yet begun: then it never will be.
            State::Waiting(..) => {}
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

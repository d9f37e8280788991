//! Carries requests to worker threads and answers back, so that the thread that asks can wait for other things too.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::client::{Client, ENDING};
use super::descriptors::{Announce, Counted, Descriptors};
use super::thread::{MAX_REQUESTS, SpawnFn};
use super::{Job, Keep};
use leadlex_domain::provider::{Answer, Fault, FaultKind};

/// A thread without work for so long ends.
const MAX_IDLE: Duration = Duration::from_secs(60);

type Outcome = Result<Answer, Fault>;

/// One per backend: its connections and its worker threads.
pub struct RequestPool {
    shared: Arc<Shared>,
    spawn: SpawnFn,
    descriptors: Descriptors,
}

/// Why there is no pool.
#[derive(Debug)]
pub enum OpenError {
    /// No descriptors can be announced.
    NoRoom,
    Io(io::Error),
}

struct Shared {
    client: Client,
    /// Rings when a request is done.
    notifier: Notifier,
    threads: Mutex<ThreadPool>,
    max_idle: Duration,
}

#[derive(Default)]
struct ThreadPool {
    /// Those without work, the latest to become so at the end.
    idle: Vec<Arc<Worker>>,
    /// Every one whose thread runs.
    all: Vec<Weak<Worker>>,
}

/// A thread and its mailbox. It has at most one request, and that at most one ticket, at a time: it is idle again
/// only when the ticket is settled. Therefore no outcome can be taken for that of another request.
struct Worker {
    state: Mutex<State>,
    work: Condvar,
}

struct Task {
    job: Job,
    keep: Option<Keep>,
    deadline: Instant,
    under_way: Counted,
}

enum State {
    Idle,
    Waiting(Box<Task>),
    Running,
    /// Running, but nobody waits for the outcome any more.
    Abandoned,
    Done(Outcome),
    /// The thread has ended for want of work.
    Gone,
}

impl RequestPool {
    pub fn open(spawn: SpawnFn, announce: Announce) -> Result<RequestPool, OpenError> {
        RequestPool::with_max_idle(spawn, announce, MAX_IDLE)
    }

    fn with_max_idle(
        spawn: SpawnFn,
        announce: Announce,
        max_idle: Duration,
    ) -> Result<RequestPool, OpenError> {
        let descriptors = Descriptors::announce(announce).ok_or(OpenError::NoRoom)?;
        let notifier = Notifier::new().map_err(OpenError::Io)?;
        let client = Client::new(spawn, &descriptors.in_use);
        let shared = Arc::new(Shared { client, notifier, threads: Mutex::default(), max_idle });
        Ok(RequestPool { shared, spawn, descriptors })
    }

    /// Readable when a request may be done. `drain` it before looking at the tickets.
    pub fn fd(&self) -> RawFd {
        self.shared.notifier.pipe.0.as_raw_fd()
    }

    /// Who looks at the tickets after this misses none.
    pub fn drain(&self) {
        self.shared.notifier.drain();
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
    pub fn send(&mut self, job: Job, keep: Option<Keep>) -> Result<PendingRequest, Fault> {
        if self.shared.client.is_closed() {
            return Err(Fault::new(FaultKind::Internal, ENDING));
        }
        let deadline = Instant::now() + job.timeout;
        let worker = match self.free_worker() {
            Ok(worker) => worker,
            Err(fault) => {
                keep.into_iter().for_each(|keep| keep(Err(&fault)));
                return Err(fault);
            }
        };
        let under_way = Counted::new(&self.descriptors.in_use.requests);
        *lock(&worker.state) = State::Waiting(Box::new(Task { job, keep, deadline, under_way }));
        worker.work.notify_one();
        Ok(PendingRequest { shared: Arc::clone(&self.shared), worker, settled: false })
    }

    /// Closes all connections at once and lets the threads end. Waits for nothing.
    pub fn shutdown(&self) {
        self.shared.client.shutdown();
        let workers = {
            let mut threads = lock(&self.shared.threads);
            threads.idle.clear();
            threads.all.clone()
        };
        for worker in workers.iter().filter_map(Weak::upgrade) {
            // Under its lock, so that it is either before its look at the client or already waiting.
            let _state = lock(&worker.state);
            worker.work.notify_one();
        }
    }

    fn free_worker(&mut self) -> Result<Arc<Worker>, Fault> {
        if !self.has_room() {
            let message = "earlier requests of this session have all file descriptors that it may open";
            return Err(Fault::new(FaultKind::Busy, message));
        }
        let idle = lock(&self.shared.threads).idle.pop();
        idle.map_or_else(|| self.spawn_worker(), Ok)
    }

    fn spawn_worker(&mut self) -> Result<Arc<Worker>, Fault> {
        {
            let mut threads = lock(&self.shared.threads);
            threads.all.retain(|worker| worker.strong_count() > 0);
            if threads.all.len() >= MAX_REQUESTS {
                let message = format!("{MAX_REQUESTS} requests are under way in this session");
                return Err(Fault::new(FaultKind::Busy, message));
            }
        }
        let failed = |error: io::Error| {
            let message = format!("could not start a thread for the request: {error}");
            Fault::new(FaultKind::Internal, message)
        };
        let worker = Arc::new(Worker { state: Mutex::new(State::Idle), work: Condvar::new() });
        let (shared, its_own) = (Arc::clone(&self.shared), Arc::clone(&worker));
        (self.spawn)("leadlex http", Box::new(move || its_own.serve(&shared))).map_err(failed)?;
        lock(&self.shared.threads).all.push(Arc::downgrade(&worker));
        Ok(worker)
    }
}

impl Drop for RequestPool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Worker {
    fn serve(self: Arc<Worker>, shared: &Shared) {
        while let Some(task) = self.next_task(shared) {
            let Task { job, keep, deadline, under_way } = *task;
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
    fn next_task(self: &Arc<Worker>, shared: &Shared) -> Option<Box<Task>> {
        let mut state = lock(&self.state);
        loop {
            if shared.client.is_closed() {
                return None;
            }
            if matches!(*state, State::Waiting(..))
                && let State::Waiting(task) = std::mem::replace(&mut *state, State::Running)
            {
                return Some(task);
            }
            let (woken, wait) =
                self.work.wait_timeout(state, shared.max_idle).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if wait.timed_out() && matches!(*state, State::Idle) && shared.take_idle(self) {
                *state = State::Gone;
                return None;
            }
        }
    }

    fn deliver(self: &Arc<Worker>, outcome: Outcome, shared: &Shared) {
        let mut state = lock(&self.state);
        if matches!(*state, State::Abandoned) {
            *state = State::Idle;
            shared.make_idle(self);
            return;
        }
        *state = State::Done(outcome);
        drop(state);
        shared.notifier.notify();
    }
}

impl Shared {
    fn make_idle(&self, worker: &Arc<Worker>) {
        let mut threads = lock(&self.threads);
        // After a shutdown the list stays empty, since the threads end.
        if !self.client.is_closed() {
            threads.idle.push(Arc::clone(worker));
        }
    }

    /// Takes an idle worker off the list; false when it has just been given work.
    fn take_idle(&self, worker: &Arc<Worker>) -> bool {
        let mut threads = lock(&self.threads);
        let at = threads.idle.iter().position(|other| Arc::ptr_eq(other, worker));
        at.map(|position| threads.idle.remove(position)).is_some()
    }
}

/// One for all requests of a session, since each pipe takes two descriptors.
struct Notifier {
    notified: AtomicBool,
    pipe: (PipeReader, PipeWriter),
}

impl Notifier {
    fn new() -> io::Result<Notifier> {
        Ok(Notifier { notified: AtomicBool::new(false), pipe: io::pipe()? })
    }

    fn drain(&self) {
        // There is at most one byte, and it is there once `notified` says so, or will be in a moment.
        if self.notified.swap(false, Ordering::AcqRel) {
            let _ = (&self.pipe.0).read_exact(&mut [0]);
        }
    }

    fn notify(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            // The pipe is empty, or about to be emptied, so this cannot block for long.
            let _ = (&self.pipe.1).write_all(&[1]);
        }
    }
}

/// A request under way. To drop it is to lose interest: the request goes on until it ends or its time is over, so
/// that a provider's answer does not find the door shut. What comes of it goes to the job's `Keep` alone.
pub struct PendingRequest {
    shared: Arc<Shared>,
    worker: Arc<Worker>,
    settled: bool,
}

impl PendingRequest {
    pub fn try_take(&mut self) -> Option<Result<Answer, Fault>> {
        if self.settled {
            return None;
        }
        let outcome = {
            let mut state = lock(&self.worker.state);
            if !matches!(*state, State::Done(_)) {
                return None;
            }
            std::mem::replace(&mut *state, State::Idle)
        };
        self.settled = true;
        self.shared.make_idle(&self.worker);
        match outcome {
            State::Done(outcome) => Some(outcome),
            _ => None,
        }
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut state = lock(&self.worker.state);
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
        self.shared.make_idle(&self.worker);
    }
}

/// Nothing that is done under these locks can leave half a change behind, so poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "request_pool_tests.rs"]
mod tests;

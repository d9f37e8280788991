//! Carries requests to worker threads and answers back, so that the thread that asks can wait for other things too. One request at
//! a time can be on the asking thread itself, on a connection that is kept: that spares two changes of threads. All others for
//! which a connection is kept share one thread ([`many`]); what has to make a connection, or to wait for memory, has its own.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, ENDING, Step, ending};
use super::descriptors::{Announce, Count, Counted, Descriptors};
use super::exchange::{Exchange, Wants};
use super::notifier::Notifier;
use super::thread::{MAX_REQUESTS, SpawnFn};
use super::{Job, Keep, Rest};
use leadlex_domain::provider::{Answer, Fault, FaultKind};

mod many;
mod pending;

use many::Many;
pub use pending::PendingRequest;
use pending::Way;

/// A thread without work for so long ends: sets have work for theirs at once, and what is idle costs memory.
const MAX_IDLE: Duration = Duration::from_secs(2);

type RequestOutcome = Result<Answer, Fault>;

/// One per backend: its connections and its worker threads.
pub struct RequestPool {
    shared: Arc<Shared>,
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
    /// Requests that share a thread.
    many: Many,
    max_idle: Duration,
    spawn: SpawnFn,
    /// The request on the asking thread itself.
    here: Mutex<Option<Here>>,
    /// Requests under way that go on when the session ends.
    outlasting: Count,
}

/// A request that the asking thread goes on with itself.
struct Here {
    task: Task,
    exchange: Box<Exchange>,
    wants: Wants,
}

/// What such a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    pub fd: RawFd,
    /// The number of its connection: no other of this process ever has it, unlike the descriptor.
    pub connection: u64,
    pub wants: Wants,
    /// When the request has to be over.
    pub deadline: Instant,
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
    state: Mutex<WorkerState>,
    work: Condvar,
    /// A mailbox alone, for one request, which shares its thread.
    shares: bool,
}

struct Task {
    job: Job,
    keep: Option<Keep>,
    deadline: Instant,
    #[expect(dead_code, reason = "counts while it lives")]
    under_way: Counted,
    #[expect(dead_code, reason = "counts while it lives")]
    outlasts: Option<Counted>,
    /// What another thread has done of it.
    begun: Option<Box<Exchange>>,
    /// Nobody waits for its outcome.
    abandoned: bool,
}

enum WorkerState {
    Idle,
    Waiting(Box<Task>),
    Running,
    /// Running, but nobody waits for the outcome any more.
    Abandoned,
    Done(RequestOutcome),
    /// The thread has ended for want of work.
    Gone,
}

impl RequestPool {
    /// Makes a pool without threads. The error is `NoRoom` where no descriptor may be opened, `Io` where
    /// there is no pipe.
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
        let (threads, here) = (Mutex::default(), Mutex::default());
        let (outlasting, many) = (Count::default(), Many::default());
        let shared = Shared { client, notifier, threads, many, max_idle, spawn, here, outlasting };
        let shared = Arc::new(shared);
        Ok(RequestPool { shared, descriptors })
    }

    /// Readable when a request may be done. `drain` it before looking at the tickets.
    pub fn fd(&self) -> RawFd {
        self.shared.notifier.fd()
    }

    /// Who looks at the tickets after this misses none.
    pub fn drain(&self) {
        self.shared.notifier.drain();
    }

    /// Whether one more request can begin beside the thread that calls: fewer than 64 are under way there, and descriptors for it
    /// are announced now. `false` only while requests are under way.
    pub fn has_room(&mut self) -> bool {
        !self.is_full(0) && self.has_descriptors()
    }

    /// Whether it can [begin](RequestPool::begin): what is on the calling thread itself needs no place beside it.
    pub fn has_room_for(&mut self, job: &Job) -> bool {
        let needs_no_place = || lock(&self.shared.here).is_none() && self.shared.client.has_connection(job);
        (!self.is_full(0) || needs_no_place()) && self.has_descriptors()
    }

    /// Whether so many more than 63 are under way beside the thread that calls.
    fn is_full(&self, more: usize) -> bool {
        let here = usize::from(lock(&self.shared.here).is_some());
        self.descriptors.requests() >= MAX_REQUESTS + here + more
    }

    fn has_descriptors(&mut self) -> bool {
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

    /// Starts the request beside the thread that calls; its time runs from here.
    /// The fault is `internal` (after a shutdown, or where no thread can be started) or `busy` (64 requests
    /// are under way, or no descriptor is left).
    pub fn send(&mut self, job: Job, keep: Option<Keep>) -> Result<PendingRequest, Fault> {
        let task = self.task(job, keep)?;
        let worker = self.start(task)?;
        Ok(PendingRequest { shared: Arc::clone(&self.shared), way: Way::Thread(worker), settled: false })
    }

    /// Starts the request on the thread that calls, if a connection is kept for it, else as [`RequestPool::send`]. To try to take
    /// the outcome is to go on with it; `awaited` says when.
    /// The faults are those of [`RequestPool::send`].
    pub fn begin(&mut self, job: Job, keep: Option<Keep>) -> Result<PendingRequest, Fault> {
        let task = self.task(job, keep)?;
        let mut here = lock(&self.shared.here);
        let exchange = match *here {
            None => self.shared.client.begin(&task.job, task.deadline),
            Some(_) => None,
        };
        let way = match exchange {
            Some(exchange) => {
                *here = Some(Here { task, exchange, wants: Wants::Write });
                Way::Here
            }
            None => {
                drop(here);
                Way::Thread(self.start(task)?)
            }
        };
        Ok(PendingRequest { shared: Arc::clone(&self.shared), way, settled: false })
    }

    /// Where it does not have to wait in the middle it shares a thread with others.
    fn start(&self, task: Task) -> Result<Arc<Worker>, Fault> {
        // It is counted already.
        if self.is_full(1) {
            return Err(task.refused(too_many()));
        }
        match task.job.share.is_none() && self.shared.client.has_connection(&task.job) {
            true => self.shared.dispatch_with_others(task),
            false => self.shared.dispatch(task),
        }
    }

    fn task(&mut self, job: Job, keep: Option<Keep>) -> Result<Task, Fault> {
        let deadline = Instant::now() + job.timeout;
        let fault = if self.shared.client.is_closed() {
            return Err(Fault::new(FaultKind::Busy, ENDING));
        } else if self.has_descriptors() {
            let under_way = Counted::new(&self.descriptors.in_use.requests);
            let outlasts = job.outlasts.then(|| Counted::new(&self.shared.outlasting));
            return Ok(Task { job, keep, deadline, under_way, outlasts, begun: None, abandoned: false });
        } else {
            let message = "earlier requests of this session have all file descriptors that it may open";
            Fault::new(FaultKind::Busy, message)
        };
        if let Some(rest) = keep.and_then(|keep| keep(Err(&fault))) {
            rest();
        }
        Err(fault)
    }

    /// Waits until requests whose answer is needed though the session ends are over, each within its own time.
    pub fn finish(&self) {
        const PAUSE: Duration = Duration::from_millis(2);
        let outlasting = || self.shared.outlasting.load(Ordering::Acquire) > 0;
        if !outlasting() {
            return;
        }
        let here = lock(&self.shared.here).take();
        if let Some(Here { mut task, exchange, .. }) = here {
            if task.job.outlasts && exchange.is_sent() {
                (task.begun, task.abandoned) = (Some(exchange), true);
                // Where no thread can be started, that is what came of it.
                let _ = self.shared.dispatch(task);
            } else {
                let _ = task.end(Err(ending(exchange.is_sent())));
            }
        }
        while outlasting() {
            thread::sleep(PAUSE);
        }
    }

    /// Closes all connections at once and lets the threads end. Waits for nothing.
    pub fn shutdown(&self) {
        self.shared.client.shutdown();
        let here = lock(&self.shared.here).take();
        if let Some(Here { task, exchange, .. }) = here {
            let _ = task.end(Err(ending(exchange.is_sent())));
        }
        self.shared.many.wake();
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
}

impl Drop for RequestPool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Worker {
    fn new(state: WorkerState, shares: bool) -> Arc<Worker> {
        Arc::new(Worker { state: Mutex::new(state), work: Condvar::new(), shares })
    }

    fn take(&self) -> Option<RequestOutcome> {
        let mut state = lock(&self.state);
        match mem::replace(&mut *state, WorkerState::Idle) {
            WorkerState::Done(outcome) => Some(outcome),
            other => {
                *state = other;
                None
            }
        }
    }

    fn serve(self: Arc<Worker>, shared: &Shared) {
        while let Some(task) = self.next_task(shared) {
            self.fetch(*task, shared);
        }
    }

    /// Waits for what comes of it, and delivers that.
    fn fetch(self: &Arc<Worker>, mut task: Task, shared: &Shared) {
        let begun = task.begun.take();
        let outcome = catch_unwind(AssertUnwindSafe(|| match begun {
            Some(exchange) => shared.client.finish(&task.job, exchange),
            None => shared.client.fetch(&task.job, task.deadline),
        }));
        let outcome = outcome.unwrap_or_else(|_| Err(Fault::new(FaultKind::Internal, CLIENT_FAILED)));
        let outcome = task.end(outcome);
        self.deliver(outcome, shared);
    }

    /// None when it is time for the thread to end.
    fn next_task(self: &Arc<Worker>, shared: &Shared) -> Option<Box<Task>> {
        let mut state = lock(&self.state);
        loop {
            let is_closed = shared.client.is_closed();
            // What another thread has sent is ended in the proper way: it may have been billed.
            let is_due = |task: &Task| !is_closed || task.is_sent();
            if matches!(&*state, WorkerState::Waiting(task) if is_due(task))
                && let WorkerState::Waiting(task) = mem::replace(&mut *state, WorkerState::Running)
            {
                if task.abandoned {
                    *state = WorkerState::Abandoned;
                }
                return Some(task);
            }
            if is_closed {
                return None;
            }
            let (woken, wait) =
                self.work.wait_timeout(state, shared.max_idle).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if wait.timed_out() && matches!(*state, WorkerState::Idle) && shared.take_idle(self) {
                *state = WorkerState::Gone;
                return None;
            }
        }
    }

    fn deliver(self: &Arc<Worker>, outcome: RequestOutcome, shared: &Shared) {
        let mut state = lock(&self.state);
        if matches!(*state, WorkerState::Abandoned) {
            *state = WorkerState::Idle;
            shared.make_idle(self);
        } else {
            *state = WorkerState::Done(outcome);
        }
        drop(state);
        // Its place is free, too: others may wait for that alone.
        shared.notifier.notify();
    }
}

impl Task {
    /// Another thread may have sent some of it.
    fn is_sent(&self) -> bool {
        self.begun.as_ref().is_some_and(|exchange| exchange.is_sent())
    }

    /// There is no thread for it: that is what came of it.
    fn refused(self, fault: Fault) -> Fault {
        let fault = Fault { went_out: self.is_sent(), ..fault };
        let _ = self.end(Err(fault.clone()));
        fault
    }

    /// Tells what came of it, and waits until that is done.
    fn end(mut self, outcome: RequestOutcome) -> RequestOutcome {
        let rest = self.tell(&outcome);
        self.end_with(outcome, rest)
    }

    /// Tells what came of it; what is left to be done, or that telling failed.
    fn tell(&mut self, outcome: &RequestOutcome) -> thread::Result<Option<Rest>> {
        let keep = self.keep.take();
        catch_unwind(AssertUnwindSafe(|| keep.and_then(|keep| keep(outcome.as_ref()))))
    }

    /// The outcome, once the rest is done.
    fn end_with(self, outcome: RequestOutcome, rest: thread::Result<Option<Rest>>) -> RequestOutcome {
        let done =
            rest.and_then(|rest| catch_unwind(AssertUnwindSafe(|| rest.into_iter().for_each(|rest| rest()))));
        let outcome = match self.job.share {
            Some(_) => outcome.map(|answer| Answer { body: Vec::new(), ..answer }),
            None => outcome,
        };
        // Before anybody can see the outcome, so that who has seen it finds room for the next request.
        drop(self);
        done.map_or_else(|_| Err(Fault::new(FaultKind::Internal, CLIENT_FAILED)), |()| outcome)
    }
}

const CLIENT_FAILED: &str = "the HTTP client failed";

fn too_many() -> Fault {
    Fault::new(FaultKind::Busy, format!("{MAX_REQUESTS} requests are under way in this session"))
}

impl Shared {
    /// Gives it to a thread.
    fn dispatch(self: &Arc<Shared>, task: Task) -> Result<Arc<Worker>, Fault> {
        let idle = lock(&self.threads).idle.pop();
        match idle.map_or_else(|| self.spawn_worker(), Ok) {
            Ok(worker) => {
                *lock(&worker.state) = WorkerState::Waiting(Box::new(task));
                worker.work.notify_one();
                Ok(worker)
            }
            Err(fault) => Err(task.refused(fault)),
        }
    }

    fn spawn_worker(self: &Arc<Shared>) -> Result<Arc<Worker>, Fault> {
        {
            let mut threads = lock(&self.threads);
            threads.all.retain(|worker| worker.strong_count() > 0);
            if threads.all.len() >= MAX_REQUESTS {
                return Err(too_many());
            }
        }
        let worker = Worker::new(WorkerState::Idle, false);
        let its_own = Arc::clone(&worker);
        self.start_thread(move |shared| its_own.serve(shared))?;
        lock(&self.threads).all.push(Arc::downgrade(&worker));
        Ok(worker)
    }

    fn start_thread(
        self: &Arc<Shared>,
        work: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<(), Fault> {
        let shared = Arc::clone(self);
        (self.spawn)("leadlex http", Box::new(move || work(&shared))).map_err(|error| {
            let message = format!("could not start a thread for the request: {error}");
            Fault::new(FaultKind::Internal, message)
        })
    }

    fn make_idle(&self, worker: &Arc<Worker>) {
        if worker.shares {
            return;
        }
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

/// Nothing that is done under these locks can leave half a change behind, so poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "request_pool_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "here_tests.rs"]
mod here_tests;

#[cfg(test)]
#[path = "many_tests.rs"]
mod many_tests;

#[cfg(test)]
#[path = "large_tests.rs"]
mod large_tests;

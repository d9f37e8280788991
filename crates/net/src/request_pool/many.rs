//! Requests that share a thread, each on a connection that is kept: it waits for all of them at once.

use super::*;
use crate::client::{Client, stopped};
use crate::connect::left;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A wait ends a little later rather than earlier: what is not over yet would be waited for again at once.
const LATE: Duration = Duration::from_micros(100);

/// Requests for the thread, and the thread.
#[derive(Default)]
pub(super) struct Many {
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    arrived: Vec<Arc<Worker>>,
    /// Rings for the thread. Made for the first.
    bell: Option<Arc<Notifier>>,
    /// The thread runs.
    runs: bool,
    /// It waits, and does not look in here before it is rung for.
    waits: bool,
}

/// A request on its way.
struct Flight {
    mailbox: Arc<Worker>,
    task: Task,
    exchange: Box<Exchange>,
    wants: Wants,
}

impl Many {
    /// The thread looks round.
    pub(super) fn wake(&self) {
        let mut inbox = lock(&self.inbox);
        inbox.waits = false;
        inbox.bell.iter().for_each(|bell| bell.notify());
    }

    /// Whether the thread runs.
    #[cfg(test)]
    pub(super) fn runs(&self) -> bool {
        lock(&self.inbox).runs
    }

    /// What has arrived since; `None`: nothing, and the thread ends, as it `may_end`.
    fn next(&self, may_end: bool) -> Option<Vec<Arc<Worker>>> {
        let mut inbox = lock(&self.inbox);
        inbox.bell.iter().for_each(|bell| bell.drain());
        let arrived = mem::take(&mut inbox.arrived);
        inbox.waits = arrived.is_empty();
        inbox.runs = !(may_end && arrived.is_empty());
        inbox.runs.then_some(arrived)
    }
}

impl Shared {
    /// Gives it to the thread that many share; a thread of its own, where that one cannot be had.
    pub(super) fn dispatch_with_others(self: &Arc<Shared>, task: Task) -> Result<Arc<Worker>, Fault> {
        let mut inbox = lock(&self.many.inbox);
        if inbox.bell.is_none() {
            inbox.bell = Notifier::new().ok().map(Arc::new);
        }
        let Some(bell) = inbox.bell.clone() else {
            drop(inbox);
            return self.dispatch(task);
        };
        if !inbox.runs {
            let its_own = Arc::clone(&bell);
            if let Err(fault) = self.start_thread(move |shared| shared.serve_many(&its_own)) {
                drop(inbox);
                return Err(task.refused(fault));
            }
            inbox.runs = true;
        }
        let mailbox = Worker::new(WorkerState::Waiting(Box::new(task)), true);
        inbox.arrived.push(Arc::clone(&mailbox));
        if mem::take(&mut inbox.waits) {
            bell.notify();
        }
        Ok(mailbox)
    }

    /// Until nothing has come for a while, or the session ends.
    fn serve_many(self: &Arc<Shared>, bell: &Notifier) {
        let mut flights: Vec<Flight> = Vec::new();
        let mut idle_since = Instant::now();
        loop {
            let is_idle = flights.is_empty();
            let may_end = is_idle && (self.client.is_closed() || idle_since.elapsed() >= self.max_idle);
            let Some(arrived) = self.many.next(may_end) else { return };
            let none_came = arrived.is_empty();
            flights.extend(arrived.into_iter().filter_map(|mailbox| self.take_off(mailbox)));
            if !is_idle || !none_came {
                idle_since = Instant::now();
            }
            let longest = match flights.iter().map(|flight| left(flight.task.deadline)).min() {
                // Who sends does not ring while others may have come.
                _ if !none_came => Duration::ZERO,
                Some(nearest) => nearest + LATE,
                None => self.max_idle.saturating_sub(idle_since.elapsed()) + LATE,
            };
            let ready = wait_for(&flights, bell, longest);
            let mut ready = ready.into_iter();
            for flight in mem::take(&mut flights) {
                let is_due = ready.next().unwrap_or(true) || left(flight.task.deadline).is_zero();
                flights.extend(if is_due { self.go_on(flight) } else { Some(flight) });
            }
        }
    }

    /// Begins it, unless its asker has lost interest. `None`: it is over, or has a thread of its own.
    fn take_off(self: &Arc<Shared>, mailbox: Arc<Worker>) -> Option<Flight> {
        let task = {
            let mut state = lock(&mailbox.state);
            match mem::replace(&mut *state, WorkerState::Running) {
                WorkerState::Waiting(task) => *task,
                other => {
                    *state = other;
                    return None;
                }
            }
        };
        if self.client.is_closed() || !(task.job.may_send)() {
            let fault = if self.client.is_closed() { ending(false) } else { stopped() };
            return self.land(mailbox, task, Err(fault));
        }
        let begun = catch_unwind(AssertUnwindSafe(|| self.client.begin(&task.job, task.deadline)));
        match begun {
            Ok(Some(exchange)) => self.go_on(Flight { mailbox, task, exchange, wants: Wants::Write }),
            // It was taken meanwhile, or has been closed.
            Ok(None) => self.fetch_apart(mailbox, task),
            Err(_) => self.land(mailbox, task, Err(Fault::new(FaultKind::Internal, CLIENT_FAILED))),
        }
    }

    /// As far as it gets without waiting.
    fn go_on(self: &Arc<Shared>, flight: Flight) -> Option<Flight> {
        let Flight { mailbox, task, exchange, .. } = flight;
        let client: &Client = &self.client;
        let outcome = match catch_unwind(AssertUnwindSafe(|| client.advance(&task.job, exchange))) {
            Ok(Step::Waits(exchange, wants)) => return Some(Flight { mailbox, task, exchange, wants }),
            Ok(Step::Unsent) => return self.fetch_apart(mailbox, task),
            Ok(Step::Over(outcome)) => outcome,
            Err(_) => Err(Fault::new(FaultKind::Internal, CLIENT_FAILED)),
        };
        self.land(mailbox, task, outcome)
    }

    /// It is over. What is left to be done about it, and may wait, has a thread of its own.
    fn land(
        self: &Arc<Shared>,
        mailbox: Arc<Worker>,
        mut task: Task,
        outcome: RequestOutcome,
    ) -> Option<Flight> {
        fn wait(
            shared: &Arc<Shared>,
            (mailbox, task, outcome, rest): (Arc<Worker>, Task, RequestOutcome, Rest),
        ) {
            mailbox.deliver(task.end_with(outcome, Ok(Some(rest))), shared);
        }
        match task.tell(&outcome) {
            Ok(Some(rest)) => {
                if let Err((_, work)) = self.apart((mailbox, task, outcome, rest), wait) {
                    wait(self, work);
                }
            }
            told => mailbox.deliver(task.end_with(outcome, told), self),
        }
        None
    }

    /// It has to make a connection, for which it waits.
    fn fetch_apart(self: &Arc<Shared>, mailbox: Arc<Worker>, task: Task) -> Option<Flight> {
        let started = self.apart((mailbox, task), |shared, (mailbox, task)| mailbox.fetch(task, shared));
        if let Err((fault, (mailbox, task))) = started {
            return self.land(mailbox, task, Err(fault));
        }
        None
    }

    /// Does the work in a thread of its own; gives it back where none can be started.
    fn apart<T: Send + 'static>(
        self: &Arc<Shared>,
        work: T,
        run: fn(&Arc<Shared>, T),
    ) -> Result<(), (Fault, T)> {
        let slot = Arc::new(Mutex::new(Some(work)));
        let taken = Arc::clone(&slot);
        let started = self.start_thread(move |shared| {
            let work = lock(&taken).take();
            if let Some(work) = work {
                run(shared, work);
            }
        });
        started.or_else(|fault| lock(&slot).take().map_or(Ok(()), |work| Err((fault, work))))
    }
}

/// Whether each can go on; empty: it is not known.
fn wait_for(flights: &[Flight], bell: &Notifier, longest: Duration) -> Vec<bool> {
    let wanted = |flight: &Flight| match flight.wants {
        Wants::Read => PollFlags::IN,
        Wants::Write => PollFlags::OUT,
    };
    let mut polled: Vec<PollFd<'_>> = flights
        .iter()
        .map(|flight| PollFd::new(flight.exchange.connection(), wanted(flight)))
        .chain([PollFd::new(bell, PollFlags::IN)])
        .collect();
    let longest = Timespec::try_from(longest).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    match poll(&mut polled, Some(&longest)) {
        Ok(_) => polled[..flights.len()].iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(Errno::INTR) => vec![false; flights.len()],
        // Each finds out by itself, and ends in its time.
        Err(_) => {
            thread::sleep(Duration::from_millis(1));
            Vec::new()
        }
    }
}

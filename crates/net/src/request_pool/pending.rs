//! A request under way, as its asker has it.

use super::*;

/// A request under way. To drop it is to lose interest: the request goes on until it ends or its time is over, so
/// that a provider's answer does not find the door shut. What comes of it goes to the job's `Keep` alone.
pub struct PendingRequest {
    pub(super) shared: Arc<Shared>,
    pub(super) way: Way,
    pub(super) settled: bool,
}

pub(super) enum Way {
    Thread(Arc<Worker>),
    /// On the thread that asks: it is in [`Shared::here`], so that the end of the session finds it.
    Here,
    /// No thread could take it over.
    Refused(Fault),
}

impl PendingRequest {
    /// The outcome, if there is one now; it is given once. `None`: not yet, or taken before. Never waits.
    pub fn try_take(&mut self) -> Option<RequestOutcome> {
        if self.settled {
            return None;
        }
        let outcome = match &self.way {
            Way::Here => self.go_on()?,
            Way::Refused(fault) => Err(fault.clone()),
            Way::Thread(worker) => {
                let outcome = worker.take()?;
                self.shared.make_idle(worker);
                outcome
            }
        };
        self.settled = true;
        Some(outcome)
    }

    /// What it waits for. `None`: a thread has it, which notifies.
    pub fn awaited(&self) -> Option<Awaited> {
        if !matches!(self.way, Way::Here) {
            return None;
        }
        let here = lock(&self.shared.here);
        here.as_ref().map(|Here { task, exchange, wants }| Awaited {
            fd: exchange.connection().fd(),
            connection: exchange.connection().number,
            wants: *wants,
            deadline: task.deadline,
        })
    }

    /// A thread goes on with it.
    pub fn hand_over(&mut self) {
        if let Some(here) = self.take_here() {
            self.move_to_thread(here, false);
        }
    }

    fn take_here(&self) -> Option<Here> {
        if self.settled || !matches!(self.way, Way::Here) {
            return None;
        }
        lock(&self.shared.here).take()
    }

    fn move_to_thread(&mut self, Here { mut task, exchange, .. }: Here, abandoned: bool) {
        task.begun = Some(exchange);
        task.abandoned = abandoned;
        self.give(task);
    }

    /// Where there is no thread for it, that is what came of it.
    fn give(&mut self, task: Task) {
        match self.shared.dispatch(task) {
            Ok(worker) => self.way = Way::Thread(worker),
            Err(fault) => self.way = Way::Refused(fault),
        }
    }

    fn go_on(&mut self) -> Option<RequestOutcome> {
        let Some(Here { task, exchange, .. }) = self.take_here() else {
            return Some(Err(Fault::new(FaultKind::Busy, ENDING)));
        };
        let client = &self.shared.client;
        match catch_unwind(AssertUnwindSafe(|| client.advance(&task.job, exchange))) {
            Ok(Step::Waits(exchange, wants)) => {
                *lock(&self.shared.here) = Some(Here { task, exchange, wants });
                None
            }
            Ok(Step::Over(outcome)) => Some(task.end(outcome)),
            // The thread finds no connection, and makes one.
            Ok(Step::Unsent) => {
                self.give(task);
                None
            }
            Err(_) => Some(task.end(Err(Fault::new(FaultKind::Internal, CLIENT_FAILED)))),
        }
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if let Some(here) = self.take_here() {
            // What is not yet begun never will be.
            return if here.exchange.is_sent() {
                self.move_to_thread(here, true)
            };
        }
        let Way::Thread(worker) = &self.way else { return };
        let mut state = lock(&worker.state);
        match &mut *state {
            WorkerState::Running => {
                *state = WorkerState::Abandoned;
                return;
            }
            WorkerState::Waiting(task) if task.is_sent() => {
                task.abandoned = true;
                return;
            }
            // Not yet begun: then it never will be.
            WorkerState::Done(_) | WorkerState::Waiting(..) => {}
            WorkerState::Idle | WorkerState::Abandoned | WorkerState::Gone => return,
        }
        *state = WorkerState::Idle;
        drop(state);
        self.shared.make_idle(worker);
    }
}

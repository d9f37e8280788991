//! A set that is to end before its time: leadlex.stop(), and for jobs also leadlex.pause_queue().

use std::rc::Rc;

use uuid::Uuid;

use crate::pg::call::batch::Batch;
use crate::pg::call::batch::member::Member;
use crate::pg::provider;
use crate::pg::store::stop;
use leadlex_domain::batch::BatchResult;
use leadlex_domain::call_error::Failure;
use leadlex_domain::contact::Contact;
use leadlex_domain::provider::{Fault, FaultKind};
use leadlex_domain::steps::Event;

/// What contacts are told that nobody is asked about any more.
pub enum Rest {
    /// The time is over, or they stay in the queue.
    Left,
    /// Requests were stopped, for this reason.
    Stopped(Rc<str>),
}

impl Rest {
    /// The line of one of them.
    pub fn line(&self, request_id: Uuid, contact: Option<Contact>) -> BatchResult {
        match self {
            Rest::Left => BatchResult::left(request_id, contact),
            Rest::Stopped(reason) => {
                BatchResult::failed(request_id, &Failure::stopped_before(reason), contact)
            }
        }
    }

    /// Why a provider is not asked about one for which others were.
    pub fn fault(&self) -> Fault {
        match self {
            Rest::Left => Fault::new(FaultKind::Timeout, "the time was over before it was its turn"),
            Rest::Stopped(reason) => Fault::stopped(reason),
        }
    }
}

impl Batch<'_> {
    /// Whether it is a job whose contacts are to stay in the queue.
    pub fn leaves_jobs(&self) -> bool {
        self.visit.is_some() && stop::ends_jobs()
    }

    /// Ends what has not been begun, where that is to be. What is under way goes on to its end. A set that began later goes on:
    /// receipts answer it, and nobody else is asked.
    pub fn halt(&mut self) {
        if self.leaves_jobs() {
            return self.leave_the_rest(&Rest::Left);
        }
        let Some(reason) = stop::reason().filter(|_| self.sends) else { return };
        self.sends = false;
        self.leave_the_rest(&Rest::Stopped(reason));
        self.release_parked();
    }

    /// One that waits for the provider at this position. It goes on without that, if others were asked about it before; a job's
    /// contact stays in the queue, as nothing has failed.
    pub fn leave_at(&mut self, at: usize, mut member: Box<Member>, rest: &Rest) {
        if member.steps.is_new() {
            return self.leave_new(member, rest);
        }
        if self.visit.is_some() {
            return self.leave(member);
        }
        let provider = &self.providers.all[at].1;
        let (known, missing) = (member.steps.known(), member.steps.missing());
        let outcome = provider::passed_over(provider, &self.asking(&member, &known), missing, rest.fault());
        drop(known);
        member.steps.next(Event::NotAsked(outcome));
        self.advance(member);
    }

    /// One that no provider was asked about.
    pub fn leave_new(&mut self, member: Box<Member>, rest: &Rest) {
        self.stop_asking(&member);
        self.return_credit();
        let Member { claim, steps, .. } = *member;
        self.let_go(claim.key, claim.before);
        self.tell(claim.position, rest.line(claim.request_id, Some(steps.contact().clone())));
    }

    /// A job's contact stays in the queue although it was begun: what was answered by now is kept.
    pub fn leave(&mut self, member: Box<Member>) {
        self.stop_asking(&member);
        self.return_credit();
        let Member { claim, steps, .. } = *member;
        self.let_go(claim.key, claim.before);
        self.tell(claim.position, BatchResult::left(claim.request_id, Some(steps.contact().clone())));
    }
}

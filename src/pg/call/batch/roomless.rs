//! Contacts whose next provider could be asked now, if not as many requests were under way as there may be at once: an answer about
//! several contacts lets all of them go on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::pg::call::batch::Batch;
use crate::pg::call::batch::halting::Rest;
use crate::pg::call::batch::member::Member;
use crate::pg::sys::settings;
use leadlex_domain::steps::Event;

/// In the order in which they came, since when.
#[derive(Default)]
pub struct Roomless(VecDeque<(Instant, Box<Member>)>);

impl Roomless {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one waits for a provider before the one at this position.
    pub fn has_one_before(&self, at: usize) -> bool {
        self.0.iter().any(|(_, member)| member.steps.turn().is_some_and(|turn| turn < at))
    }
}

impl Batch<'_> {
    /// The contact, if it may be asked about at once. `left`: of its time; where none is left, it is told so.
    pub fn with_room(&mut self, mut member: Box<Member>, left: Duration) -> Option<Box<Member>> {
        if left.is_zero() || self.requests() < settings::max_parallel_requests() {
            return Some(member);
        }
        // Whoever is listed meanwhile is not asked about.
        member.steps.next(Event::Pending);
        self.roomless.0.push_back((Instant::now(), member));
        None
    }

    /// Asks about those for whom there is room by now.
    pub fn resume_roomless(&mut self, parallel: usize) {
        while self.requests() < parallel {
            let Some((since, mut member)) = self.roomless.0.pop_front() else { break };
            self.stand_still(&mut member, since);
            member.steps.next(Event::Over);
            self.advance(member);
        }
    }

    /// Since then its own time stood still.
    pub fn stand_still(&self, member: &mut Member, since: Instant) {
        let deadline = member.deadline.map(|deadline| deadline + since.elapsed());
        member.deadline = deadline.map(|deadline| self.until.map_or(deadline, |until| until.min(deadline)));
    }

    /// Time is over for those that wait. A contact that was asked about already has what came of it.
    pub fn leave_roomless(&mut self, rest: &Rest) {
        for (_, member) in std::mem::take(&mut self.roomless.0) {
            let at = member.steps.turn().expect("it waits for a provider");
            self.leave_at(at, member, rest);
        }
    }
}

//! Contacts of a batch about which somebody else is asking: they wait, and the others go on.

use std::time::{Duration, Instant};

use crate::pg::call::batch::member::Member;
use crate::pg::call::batch::{Batch, LOOK_ROUND};
use crate::pg::provider::Awaited;
use crate::pg::shared::single_flight;
use crate::pg::shared::single_flight::{Ear, Place};
use crate::pg::shared::wait;
use leadlex_domain::sqlstate;
use leadlex_domain::steps::{Event, Outcome, Raised};

/// A contact that waits for another session's request about the same question.
pub struct Parked {
    place: Place,
    since: Instant,
    member: Member,
}

impl Batch<'_> {
    /// It comes back when the other request is over.
    pub fn park(&mut self, mut member: Member, awaited: Awaited) {
        member.past.wait_for(awaited.question, awaited.before);
        self.ear.get_or_insert_with(|| Ear::open(None));
        self.parked.push(Parked { place: awaited.place, since: Instant::now(), member });
    }

    /// Goes on with those whose question is answered, or whose time is over; whether there was one.
    pub fn take_parked(&mut self) -> bool {
        if self.parked.is_empty() {
            return false;
        }
        let places: Vec<Place> = self.parked.iter().map(|parked| parked.place).collect();
        let (over, patience) = (single_flight::over(&places), single_flight::lock_timeout());
        let mut ready = Vec::new();
        for (parked, over) in std::mem::take(&mut self.parked).into_iter().zip(over) {
            let late = parked.member.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if over || late {
                ready.push(parked.member);
            } else if patience.is_some_and(|patience| parked.since.elapsed() >= patience) {
                self.give_up(parked.member);
            } else {
                self.parked.push(parked);
            }
        }
        if self.parked.is_empty() {
            self.ear = None;
        }
        let taken = !ready.is_empty();
        let found = ready.iter_mut().map(|member| (&mut member.past, member.steps.known().into_owned()));
        self.renew(found.collect());
        for mut member in ready {
            member.steps.next(Event::Over);
            self.advance(member);
        }
        taken
    }

    /// It has waited for somebody else as long as lock_timeout allows.
    fn give_up(&mut self, mut member: Member) {
        let sqlstate = sqlstate::LOCK_NOT_AVAILABLE.to_owned();
        let raised = Raised { sqlstate, message: single_flight::LOCK_TIMEOUT.to_owned() };
        member.steps.next(Event::End(Outcome::Raised(raised)));
        self.advance(member);
    }

    /// Nothing else is under way.
    pub fn wait_for_others(&mut self) {
        if self.take_parked() {
            return;
        }
        let now = Instant::now();
        let ends = self.parked.iter().filter_map(|parked| parked.member.deadline);
        let nearest = ends.min().map_or(LOOK_ROUND, |end| end.saturating_duration_since(now));
        let patience = single_flight::lock_timeout().unwrap_or(LOOK_ROUND).max(Duration::from_millis(1));
        let pause = self.ear.as_ref().map_or(LOOK_ROUND, Ear::pause);
        wait::doze(nearest.min(pause).min(patience), wait::Event::Question);
    }
}

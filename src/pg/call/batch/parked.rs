//! Contacts of a batch about which somebody else is asking, or whose answer comes later: they wait, and the others go on.

use std::time::{Duration, Instant};

use crate::pg::call::batch::member::Member;
use crate::pg::call::batch::{Batch, LOOK_ROUND, MAX_HELD_BACK, PORTION};
use crate::pg::provider::{self, Awaited, LaterAnswer};
use crate::pg::shared::single_flight;
use crate::pg::shared::single_flight::{Ear, Place};
use crate::pg::shared::wait;
use crate::pg::sys::{clock, settings};
use leadlex_domain::sqlstate;
use leadlex_domain::steps::{CallOutcome, Event, Raised, Step};

/// A contact that waits.
pub struct Parked {
    awaits: Awaits,
    member: Box<Member>,
}

enum Awaits {
    /// Another session's request about the same question, since then.
    Others(Place, Instant),
    /// Until what was handed in can be asked for.
    Answer(Box<LaterAnswer>),
}

impl Parked {
    fn place(&self) -> Option<Place> {
        match &self.awaits {
            Awaits::Others(place, _) => Some(*place),
            Awaits::Answer(_) => None,
        }
    }

    /// How long to wait before a look; `None`: it is told.
    fn left(&self) -> Option<Duration> {
        match &self.awaits {
            Awaits::Others(..) => None,
            Awaits::Answer(later) => Some(later.left()),
        }
    }
}

impl Batch<'_> {
    /// It comes back when the other request is over.
    pub fn park(&mut self, mut member: Box<Member>, awaited: Awaited) {
        member.past.wait_for(awaited.question, awaited.before);
        self.ear.get_or_insert_with(|| Ear::open(None));
        self.parked.push(Parked { awaits: Awaits::Others(awaited.place, Instant::now()), member });
    }

    /// Whether another contact may wait beside those that do.
    pub fn may_park(&self) -> bool {
        let others = self.parked.iter().filter(|parked| parked.place().is_some()).count();
        others < PORTION && self.parked.len() < MAX_HELD_BACK
    }

    /// It comes back when its answer can be asked for, where that is within its time; else it goes on with what there is.
    pub fn come_back(&mut self, mut member: Box<Member>, mut later: Box<LaterAnswer>) -> Option<Box<Member>> {
        if let Some((question, ticket)) = later.take_unkept() {
            member.past.remember(question, ticket);
        }
        let end = member.deadline.map(|end| end.saturating_duration_since(Instant::now()));
        // What only has to be written down is there in a moment.
        let waits = self.visit.is_none() || later.is_due();
        let after = match member.steps.step() {
            Step::Ask(_) => member.steps.ahead().len() - 1,
            _ => 0,
        };
        let waits = waits && !later.gives_way(after);
        if waits && later.comes_within(end.unwrap_or_default()) {
            self.parked.push(Parked { awaits: Awaits::Answer(later), member });
            return None;
        }
        member.steps.next(Event::Answered(later.into_outcome()));
        Some(member)
    }

    /// Goes on with those whose question is answered or can be asked, or whose time is over; whether there was one.
    pub fn take_parked(&mut self) -> bool {
        if self.parked.is_empty() {
            return false;
        }
        let places: Vec<Place> = self.parked.iter().filter_map(Parked::place).collect();
        let mut over = single_flight::over(&places).into_iter();
        let (mut ready, patience) = (Vec::new(), settings::lock_timeout());
        let now = clock::now_us();
        for parked in std::mem::take(&mut self.parked) {
            let late = parked.member.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let (event, waits) = match &parked.awaits {
                Awaits::Others(_, since) if !over.next().unwrap_or(true) && !late => {
                    (Event::Over, Some(*since))
                }
                Awaits::Answer(later) if !(later.is_due_at(now) && later.left().is_zero()) && !late => {
                    self.parked.push(parked);
                    continue;
                }
                Awaits::Others(..) => (Event::Over, None),
                Awaits::Answer(_) => (Event::Again, None),
            };
            match waits {
                None => {
                    let Parked { awaits, member } = parked;
                    let event = match awaits {
                        Awaits::Answer(later) => self.returned(&member, later),
                        Awaits::Others(..) => event,
                    };
                    ready.push((event, member));
                }
                Some(since) if patience.is_some_and(|patience| since.elapsed() >= patience) => {
                    self.give_up(parked.member);
                }
                Some(_) => self.parked.push(parked),
            }
        }
        if self.parked.iter().all(|parked| parked.place().is_none()) {
            self.ear = None;
        }
        let taken = !ready.is_empty();
        let found = ready.iter_mut().map(|(_, member)| {
            let (known, missing) = (member.steps.known().into_owned(), member.steps.missing());
            (&mut member.past, known, missing)
        });
        self.renew(found.collect());
        for (event, mut member) in ready {
            member.steps.next(event);
            self.advance(member);
        }
        taken
    }

    /// What it can be asked for now; of a provider that was dropped meanwhile what there is by now stands.
    fn returned(&self, member: &Member, later: Box<LaterAnswer>) -> Event {
        let provider = member.steps.turn().map(|at| &self.providers.all[at].1);
        match provider.and_then(|provider| provider::dropped(provider)) {
            Some(fault) => Event::Answered(later.ended_by(fault)),
            None => Event::Again,
        }
    }

    /// Whether one waits for a moment alone, until what was handed in is written down: others that were handed in with it wait for
    /// it before they are asked for.
    pub fn is_one_nearly_ready(&self) -> bool {
        let nearly = |parked: &Parked| matches!(&parked.awaits, Awaits::Answer(later) if later.is_due());
        self.parked.iter().any(nearly)
    }

    /// None of them is waited for any more.
    pub fn release_parked(&mut self) {
        self.ear = None;
        for Parked { awaits, mut member } in std::mem::take(&mut self.parked) {
            member.steps.next(match awaits {
                Awaits::Others(..) => Event::Over,
                Awaits::Answer(_) => Event::Again,
            });
            self.advance(member);
        }
    }

    /// How long until one of them is to be looked at.
    pub fn until_parked(&self) -> Duration {
        let ear = self.ear.as_ref().map_or(LOOK_ROUND, Ear::pause);
        self.parked.iter().filter_map(Parked::left).fold(ear, Duration::min)
    }

    /// It has waited for somebody else as long as lock_timeout allows.
    fn give_up(&mut self, mut member: Box<Member>) {
        let sqlstate = sqlstate::LOCK_NOT_AVAILABLE.to_owned();
        let raised = Raised { sqlstate, message: single_flight::LOCK_TIMEOUT.to_owned() };
        member.steps.next(Event::End(CallOutcome::Raised(raised)));
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
        let patience = settings::lock_timeout().unwrap_or(LOOK_ROUND).max(Duration::from_millis(1));
        let event = match self.ear {
            Some(_) => wait::Event::Question,
            None => wait::Event::Provider,
        };
        wait::doze(nearest.min(self.until_parked()).min(patience), event);
    }
}

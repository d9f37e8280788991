//! Contacts of a batch whose provider is asked as often as it may be: they wait for their turn, and others go on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::pg::call::batch::halting::Rest;
use crate::pg::call::batch::member::Member;
use crate::pg::call::batch::{Batch, LOOK_ROUND};
use crate::pg::provider;
use crate::pg::provider::{Limit, Queued};
use crate::pg::shared::wait;
use crate::pg::shared::wait::Event;
use crate::pg::sys::settings;
use leadlex_domain::provider::{Config, Fault, FaultKind};
use leadlex_domain::steps;
use leadlex_domain::waterfall::ProviderOutcome;

/// Whose time is bounded, as that of a job or trigger, waits no longer for one turn: it is tried again later.
const SHORT: Duration = Duration::from_secs(2);

/// Who waits, and for which providers.
#[derive(Default)]
pub struct Limited {
    gates: Vec<Gate>,
    held: VecDeque<Held>,
    /// Providers that are paused or at their minute's limit, by position, since they last took a contact.
    closed: Vec<(usize, Instant)>,
}

/// A provider that takes nobody just now.
struct Gate {
    /// The provider's position in the waterfall.
    at: usize,
    queued: Queued,
    limit: Limit,
    look_at: Instant,
    shut: bool,
}

/// A contact that waits for its provider.
struct Held {
    since: Instant,
    /// What it is told if it does not wait.
    fault: Fault,
    limit: Limit,
    member: Box<Member>,
}

impl Held {
    /// Whether it waits for the provider at this position.
    fn is_at(&self, at: usize) -> bool {
        self.member.steps.turn() == Some(at)
    }
}

impl Limited {
    /// Contacts that wait.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Until the next look.
    fn pause(&self) -> Duration {
        let nearest = self.gates.iter().map(|gate| gate.look_at).min();
        nearest.map_or(LOOK_ROUND, |at| at.saturating_duration_since(Instant::now()).min(LOOK_ROUND))
    }

    fn gate(&mut self, at: usize) -> Option<&mut Gate> {
        self.gates.iter_mut().find(|gate| gate.at == at)
    }

    fn closed_for(&self, at: usize) -> Duration {
        self.closed
            .iter()
            .find(|(closed, _)| *closed == at)
            .map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }
}

impl Batch<'_> {
    fn config_at(&self, at: usize) -> Option<&Config> {
        self.providers.all[at].1.config.as_deref().ok()
    }

    /// Whether it is of use to begin with another contact.
    pub fn takes_more(&mut self, parallel: usize) -> bool {
        let room = self.may_park() && self.limited.len() < parallel;
        room && self.admits() && self.has_room()
    }

    /// Whether another request can be under way: the session's descriptors may be in use for others.
    pub fn has_room(&self) -> bool {
        self.queue.is_empty() || wait::has_room()
    }

    /// Whether a contact waits for this provider.
    fn waits_for(&self, at: usize, limit: Limit) -> bool {
        let wait = limit.wait().unwrap_or_default();
        let patience = match settings::batch_waits() {
            true => settings::batch_wait_limit(),
            false => settings::total_timeout(),
        };
        let patience = if self.until.is_some() { patience.min(SHORT) } else { patience };
        // Where the vendor's limits are known, its 429 is a matter of moments.
        let configured = |config: &Config| config.waits_when_limited() || !config.throttle().is_unlimited();
        let asked_to = || settings::batch_waits() || self.config_at(at).is_some_and(configured);
        let in_all = match limit {
            // Each turn brings it forward.
            Limit::Turn(_) if self.until.is_none() => return true,
            Limit::Turn(_) => wait,
            Limit::Window(_) => self.limited.closed_for(at) + wait,
            Limit::Pause(_) if asked_to() => self.limited.closed_for(at) + wait,
            Limit::Pause(_) => return false,
        };
        in_all <= patience && self.until.is_none_or(|until| Instant::now() + wait < until)
    }

    /// The provider whose turn it is takes it later. The contact, where that is too late: it goes on without.
    pub fn hold(
        &mut self,
        at: usize,
        mut member: Box<Member>,
        limit: Limit,
        fault: Fault,
    ) -> Option<Box<Member>> {
        let now = Instant::now();
        if !self.waits_for(at, limit) {
            self.pass_over(at, &mut member, limit, fault);
            return Some(member);
        }
        member.steps.next(steps::Event::Pending);
        if !matches!(limit, Limit::Turn(_)) && self.limited.closed.iter().all(|(closed, _)| *closed != at) {
            self.limited.closed.push((at, now));
        }
        if self.limited.gate(at).is_none() {
            let queued = Queued::new(self.providers.all[at].1.id);
            self.limited.gates.push(Gate { at, queued, limit, look_at: now, shut: true });
        }
        self.limited.held.push_back(Held { since: now, fault, limit, member });
        if let Some(gate) = self.limited.gate(at) {
            (gate.limit, gate.shut) = (limit, true);
        }
        self.is_open(at);
        None
    }

    /// The provider whose turn it is was not asked, and is not waited for.
    pub fn pass_over(&self, at: usize, member: &mut Member, limit: Limit, fault: Fault) {
        let provider = &self.providers.all[at].1;
        provider::give_up(provider, limit, &fault);
        let (known, missing) = (member.steps.known(), member.steps.missing());
        let outcome = provider::passed_over(provider, &self.asking(member, &known), missing, fault);
        let outcome = self.outcome(member, at, outcome);
        drop(known);
        member.steps.next(steps::Event::NotAsked(outcome));
    }

    /// Whether the provider may take one now.
    fn is_open(&mut self, at: usize) -> bool {
        let providers = &self.providers.all;
        let Some(gate) = self.limited.gates.iter_mut().find(|gate| gate.at == at) else { return false };
        let Ok(config) = &providers[at].1.config else { return true };
        match gate.queued.look(config, gate.limit) {
            Ok(()) => gate.look_at = Instant::now(),
            Err(limit) => (gate.limit, gate.look_at) = (limit, Instant::now() + limit.until_look()),
        }
        gate.look_at <= Instant::now()
    }

    /// Asks about those whose turn it is.
    pub fn resume_limited(&mut self, parallel: usize) {
        let gates: Vec<usize> = self.limited.gates.iter().map(|gate| gate.at).collect();
        for at in gates {
            if self.requests() >= parallel || !wait::has_room() {
                self.step_out(at);
            } else if self.is_open(at) {
                self.resume_at(at, parallel);
            }
        }
        let Limited { gates, held, .. } = &mut self.limited;
        gates.retain(|gate| held.iter().any(|held| held.is_at(gate.at)));
    }

    /// It could not take its turn now, and keeps nobody from theirs.
    fn step_out(&mut self, at: usize) {
        let id = self.providers.all[at].1.id;
        if let Some(gate) = self.limited.gate(at) {
            (gate.queued, gate.look_at) = (Queued::new(id), Instant::now());
        }
    }

    /// How long another request still has to find out whether a provider is well.
    fn trial_left(&self) -> Option<Duration> {
        self.trial_until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    fn resume_at(&mut self, at: usize, parallel: usize) {
        let held = std::mem::take(&mut self.limited.held);
        let (mut ready, others): (VecDeque<Held>, VecDeque<Held>) =
            held.into_iter().partition(|held| held.is_at(at));
        self.limited.held = others;
        if let Some(gate) = self.limited.gate(at) {
            gate.shut = false;
        }
        while self.requests() < parallel
            && self.trial_left().is_none()
            && wait::has_room()
            && self.limited.gate(at).is_some_and(|gate| !gate.shut)
        {
            let Some(Held { since, mut member, .. }) = ready.pop_front() else { break };
            self.stand_still(&mut member, since);
            member.steps.next(steps::Event::Over);
            self.advance(member);
        }
        while let Some(held) = ready.pop_back() {
            self.limited.held.push_front(held);
        }
    }

    /// What was answered: whether the contact is asked about once more when the provider takes it.
    pub fn is_asked_again(&mut self, at: usize, outcome: &ProviderOutcome) -> bool {
        let limited = outcome.fault().is_some_and(|fault| fault.kind == FaultKind::RateLimited);
        if !limited {
            self.limited.closed.retain(|(closed, _)| *closed != at);
        }
        limited && self.waits_for(at, Limit::Pause(0))
    }

    /// Time is over for those that wait. A contact that was asked about already has what came of it.
    pub fn leave_limited(&mut self, rest: &Rest) {
        self.limited.gates.clear();
        for Held { mut member, fault, limit, .. } in std::mem::take(&mut self.limited.held) {
            let at = member.steps.turn().expect("it waits for a provider");
            if member.steps.is_new() {
                self.leave_new(member, rest);
                continue;
            }
            self.pass_over(at, &mut member, limit, fault);
            self.advance(member);
        }
    }

    /// Until the next look at a provider's limit.
    pub fn until_turn(&self) -> Duration {
        if let Some(left) = self.trial_left() {
            return left.min(LOOK_ROUND);
        }
        let idle = self.may_send() && wait::has_room();
        if idle { self.limited.pause() } else { LOOK_ROUND }
    }

    /// Nothing else is under way.
    pub fn wait_for_turn(&mut self) {
        if !self.take_parked() {
            wait::doze(self.until_turn().min(self.until_parked()), Event::Limit);
        }
    }
}

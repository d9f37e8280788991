//! What a call about one contact waits for before it asks a provider.

use std::time::Instant;

use super::SingleCall;
use crate::pg::provider;
use crate::pg::provider::{Awaited, LaterAnswer, Limit, Queued};
use leadlex_domain::provider::Fault;
use leadlex_domain::steps::{Event, Steps};

/// What is waited for.
pub enum Wait {
    /// Another session's request about the same question.
    Others(Awaited),
    /// The provider is asked as often as it may be. With the failure that this is if there is no time to wait.
    Turn(Limit, Fault),
    /// The provider was asked, and wants to be asked later.
    Pause(Limit, Fault),
    /// It has handed the question in: until it can be asked for the answer.
    Answer(Box<LaterAnswer>),
}

impl SingleCall<'_> {
    pub(super) fn wait_for(&mut self, what: Wait) -> Event {
        self.awaited = Some(what);
        Event::Pending
    }

    pub(super) fn wait(&mut self, steps: &Steps, at: usize) -> Event {
        match self.awaited.take().expect("a call that waits knows for what") {
            Wait::Others(awaited) => {
                let left = self.left();
                self.queued = None;
                if let Some(past) = &mut self.past {
                    past.wait_for(awaited.question, awaited.before);
                }
                provider::wait_for(&awaited, left);
                self.look_again(steps, at);
                Event::Over
            }
            Wait::Turn(limit, fault) => match self.wait_for_turn(at, limit) {
                true => Event::Over,
                false => {
                    provider::give_up(&self.providers[at].1, limit, &fault);
                    self.pass_over(steps, at, fault)
                }
            },
            Wait::Pause(limit, fault) => match self.wait_for_turn(at, limit) {
                true => Event::Over,
                false => self.pass_over(steps, at, fault),
            },
            Wait::Answer(later) => match later.wait(Instant::now() + self.left()) {
                true => match provider::dropped(&self.providers[at].1) {
                    Some(fault) => Event::NotAsked(later.ended_by(fault)),
                    None => {
                        self.look_again(steps, at);
                        Event::Over
                    }
                },
                false => Event::NotAsked(later.into_outcome()),
            },
        }
    }

    /// Waits until the answer can be asked for, where that is within the call's time; else what there is by now counts.
    pub(super) fn come_back(&mut self, steps: &Steps, mut later: Box<LaterAnswer>) -> Event {
        if let (Some((question, ticket)), Some(past)) = (later.take_unkept(), &mut self.past) {
            past.remember(question, ticket);
        }
        if later.gives_way(steps.ahead().len() - 1) || !later.comes_within(self.left()) {
            return Event::Answered(later.into_outcome());
        }
        self.wait_for(Wait::Answer(later))
    }

    /// The provider has to be logged in to anew.
    pub(super) fn ask_anew(&mut self, at: usize) -> Event {
        if let Some(past) = &mut self.past {
            past.note_denied(self.providers[at].1.id);
        }
        Event::Again
    }

    /// The provider is not waited for.
    pub(super) fn pass_over(&self, steps: &Steps, at: usize, fault: Fault) -> Event {
        let (provider, known) = (&self.providers[at].1, steps.known());
        Event::NotAsked(provider::passed_over(provider, &self.asking(&known), steps.missing(), fault))
    }

    /// Whether the provider can be asked, after so long a wait as there is time for.
    fn wait_for_turn(&mut self, at: usize, limit: Limit) -> bool {
        let deadline = Instant::now() + self.left();
        let provider = &self.providers[at].1;
        let Ok(config) = &provider.config else { return false };
        let queued = self.queued.get_or_insert_with(|| Queued::new(provider.id));
        queued.wait(config, limit, provider::latest(provider::time_for(config), deadline))
    }
}

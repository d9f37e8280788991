//! What comes back of a set's requests, and what of it no receipt tells: another row with the same question is not asked about
//! again by this set.

use std::collections::HashMap;
use std::time::Instant;

use uuid::Uuid;

use crate::pg::call::batch::member::{Flying, Member};
use crate::pg::call::batch::{Batch, FieldRequest};
use crate::pg::sys::settings;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::{Effect, Fault, FaultKind, Verdict};
use leadlex_domain::waterfall::ProviderOutcome;

/// More than so many outcomes are not remembered at once: then the set begins anew to remember.
const MOST_OUTCOMES: usize = 4_096;

/// Of questions that this set has asked, by provider, question, and what was known of the person.
#[derive(Default)]
pub struct Outcomes(HashMap<(Uuid, Hash, Hash), ProviderOutcome>);

impl Outcomes {
    /// What another row of the set was told. Where receipts are off, each row asks for itself.
    pub fn of(&self, provider: Uuid, member: &Member) -> Option<ProviderOutcome> {
        let (question, known) = question(provider, member)?;
        self.0.get(&(provider, question, known)).cloned()
    }

    fn note(&mut self, provider: Uuid, member: &Member, outcome: &ProviderOutcome) {
        let Some((question, known)) = question(provider, member) else { return };
        if self.0.len() >= MOST_OUTCOMES {
            self.0.clear();
        }
        self.0.insert((provider, question, known), outcome.clone());
    }
}

fn question(provider: Uuid, member: &Member) -> Option<(Hash, Hash)> {
    let questions = member.past.questions.get(&provider)?;
    Some((*questions.hashes.first()?, questions.known))
}

impl Batch<'_> {
    /// Whether there was one.
    pub fn take_answers(&mut self) -> bool {
        let (mut at, mut answered) = (0, Vec::new());
        while at < self.flying.len() {
            let Some(outcome) = self.flying[at].flight.try_take() else {
                at += 1;
                continue;
            };
            let Flying { mut member, .. } = self.flying.swap_remove(at);
            self.trial_until = None;
            if self.is_asked_again(&member, &outcome) {
                member.next_provider -= 1;
                answered.push(member);
                continue;
            }
            let (name, provider) = &self.providers[member.next_provider - 1];
            if !settings::receipt_terms().off() && is_last_word(&outcome, &member, self.request) {
                self.outcomes.note(provider.id, &member, &outcome);
            }
            member.waterfall.absorb(name, outcome);
            answered.push(member);
        }
        let taken = !answered.is_empty();
        self.look_ahead(&mut answered);
        answered.into_iter().for_each(|member| self.advance(member));
        taken
    }
}

/// Whether asking the same again would cost and bring nothing: it failed because of what was asked or of the provider, or with
/// `overwrite` there was nothing. (Without, a receipt says so.)
fn is_last_word(outcome: &ProviderOutcome, member: &Member, request: FieldRequest) -> bool {
    match outcome {
        ProviderOutcome::Answered(verdict) | ProviderOutcome::Within(_, verdict) => match verdict {
            Verdict::Failed(fault) => is_of_question(fault, member),
            Verdict::Match { values, .. } => {
                request.overwrite && values.fields().intersect(request.fields).is_empty()
            }
            Verdict::NoMatch | Verdict::OtherPerson => request.overwrite,
            // That is kept by itself.
            Verdict::Suppressed => false,
        },
        ProviderOutcome::SharedProfile => request.overwrite,
        _ => false,
    }
}

fn is_of_question(fault: &Fault, member: &Member) -> bool {
    let cut_short =
        fault.kind == FaultKind::Timeout && member.deadline.is_some_and(|end| Instant::now() >= end);
    match fault.kind.effect() {
        Effect::Unwell | Effect::ServerError | Effect::Answer => !cut_short,
        // Of those the provider's pause tells, or they are ours.
        Effect::RateLimited | Effect::Quota | Effect::Credentials | Effect::Nothing => false,
    }
}

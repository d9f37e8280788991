//! What comes back of a set's requests, and what of it no receipt tells: another row with the same question is not asked about
//! again by this set.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use uuid::Uuid;

use crate::pg::call::batch::Batch;
use crate::pg::call::batch::member::{Flying, Member};
use crate::pg::provider::Landed;
use crate::pg::sys::settings;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::{Effect, Fault, FaultKind, Verdict};
use leadlex_domain::steps::{Event, Request};
use leadlex_domain::waterfall::ProviderOutcome;

/// More than so many outcomes are not remembered at once: then the set begins anew to remember.
const MOST_OUTCOMES: usize = 4_096;

/// Of questions that this set has asked. The chunks of one leadlex.enrich_batch have it in common.
#[derive(Clone, Default)]
pub struct Outcomes(Rc<RefCell<HashMap<QuestionKey, ProviderOutcome>>>);

/// Provider, question, and what was known of the person.
type QuestionKey = (Uuid, Hash, Hash);

impl Outcomes {
    /// What another row of the set was told. Where receipts are off, each row asks for itself.
    pub fn of(&self, provider: Uuid, member: &Member) -> Option<ProviderOutcome> {
        let (question, known) = question(provider, member)?;
        self.0.borrow().get(&(provider, question, known)).cloned()
    }

    fn note(&self, provider: Uuid, member: &Member, outcome: &ProviderOutcome) {
        let Some((question, known)) = question(provider, member) else { return };
        let mut outcomes = self.0.borrow_mut();
        if outcomes.len() >= MOST_OUTCOMES {
            outcomes.clear();
        }
        outcomes.insert((provider, question, known), outcome.clone());
    }
}

fn question(provider: Uuid, member: &Member) -> Option<(Hash, Hash)> {
    let questions = member.past.questions.get(&provider)?;
    Some((*questions.hashes.first()?, questions.known))
}

impl Batch<'_> {
    /// Whether there was one.
    pub fn take_answers(&mut self) -> bool {
        let (mut at, mut taken, mut answered) = (0, false, Vec::new());
        while at < self.flying.len() {
            let Some(landed) = self.flying[at].flight.try_take() else {
                at += 1;
                continue;
            };
            let Flying { member, .. } = self.flying.swap_remove(at);
            (self.trial_until, taken) = (None, true);
            self.land(member, landed, &mut answered);
        }
        taken |= self.take_sittings(&mut answered);
        self.look_ahead(&mut answered);
        answered.into_iter().for_each(|member| self.advance(member));
        taken
    }

    /// A request about the contact is over. It goes to `answered`, unless it waits for more.
    pub fn land(&mut self, mut member: Box<Member>, landed: Landed, answered: &mut Vec<Box<Member>>) {
        let at = member.steps.turn().expect("the provider that was asked");
        let outcome = match landed {
            Landed::LogInAgain => {
                member.past.note_denied(self.providers.all[at].1.id);
                member.steps.next(Event::Again);
                return answered.push(member);
            }
            Landed::Done(outcome) => outcome,
            // Later, or with what there is by now.
            Landed::Later(later) => return answered.extend(self.come_back(member, later)),
        };
        if self.is_asked_again(at, &outcome) {
            return answered.push(member);
        }
        if !settings::receipt_terms().off() && is_last_word(&outcome, &member, &self.request) {
            self.outcomes.note(self.providers.all[at].1.id, &member, &outcome);
        }
        let outcome = self.outcome(&member, at, outcome);
        member.steps.next(Event::Answered(outcome));
        answered.push(member);
    }
}

/// Whether asking the same again would cost and bring nothing: it failed because of what was asked or of the provider, or with
/// `overwrite` there was nothing. (Without, a receipt says so.)
fn is_last_word(outcome: &ProviderOutcome, member: &Member, request: &Request) -> bool {
    match outcome {
        ProviderOutcome::Answered(verdict) | ProviderOutcome::Within(_, verdict) => match verdict {
            Verdict::Failed(fault) => is_of_question(fault, member),
            Verdict::Match { values, .. } => {
                request.overwrite && values.fields().intersect(request.fields).is_empty()
            }
            Verdict::NoMatch | Verdict::OtherPerson(_) => request.overwrite,
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

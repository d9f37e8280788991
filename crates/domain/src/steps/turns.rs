//! Whose turn it is, who has had it, and what ends the call besides.

use super::{CallOutcome, Raised, Steps};
use crate::call_error::Failure;
use crate::failed_provider::ProviderAttempt;
use crate::money::order::{Candidate, cheapest};
use crate::waterfall::{Mode, Pending};

impl Steps {
    /// What of the contact comes later, once all providers were asked; `None`: nothing.
    pub fn pending(&self) -> Option<Pending> {
        self.pending
    }

    /// Where something comes later: see [`crate::waterfall::Waterfall::failed`].
    pub fn failed(&self) -> &[ProviderAttempt] {
        &self.failed
    }

    /// Whether a provider has supplied something that is wanted.
    pub fn has_data(&self) -> bool {
        self.waterfall.missing() != self.fields
    }

    /// The providers that have said something of the contact, or failed at it.
    pub fn heard(&self) -> &[usize] {
        &self.heard
    }

    /// The row is about somebody else by now: of that one nothing was found out. At [`super::Step::Done`].
    pub fn overtaken(&mut self, raised: Raised) {
        (self.outcome, self.checks, self.pending) = (Some(CallOutcome::Raised(raised)), None, None);
    }

    /// The row is gone by now. At [`super::Step::Done`].
    pub fn vanished(&mut self) {
        let failure = Failure::not_found(&format!("contact {}", self.id));
        (self.contact, self.outcome) = (None, Some(CallOutcome::Failed(failure)));
        (self.checks, self.pending) = (None, None);
    }

    /// Those that may still be asked, in their order: the one whose turn it is first.
    pub fn ahead(&self) -> Vec<usize> {
        if self.request.mode != Mode::Cheapest {
            return (self.turn..self.providers.len()).collect();
        }
        let left: Vec<usize> = (0..self.providers.len()).filter(|at| !self.over.contains(at)).collect();
        let candidates: Option<Vec<&Candidate>> =
            left.iter().map(|at| self.providers[*at].candidate.as_ref()).collect();
        match candidates {
            Some(all) => cheapest(&all, self.missing()).into_iter().map(|at| left[at]).collect(),
            None => left,
        }
    }

    /// Whose turn it is next; `false`: all have had theirs.
    pub(super) fn find_turn(&mut self) -> bool {
        if self.request.mode != Mode::Cheapest {
            return self.turn < self.providers.len();
        }
        let next = self.ahead().first().copied();
        self.turn = next.unwrap_or(self.providers.len());
        next.is_some()
    }
}

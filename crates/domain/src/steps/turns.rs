//! Whose turn it is.

use super::Steps;
use crate::money::order::{Candidate, cheapest};
use crate::waterfall::Mode;

impl Steps {
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

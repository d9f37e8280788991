//! How long a set waits for credits that other calls have reserved.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::pg::sys::settings;

/// What is left of leadlex.credit_wait: all contacts of a set wait together as long as a single call does. The chunks of one
/// leadlex.enrich_batch have it in common.
#[derive(Clone)]
pub struct CreditWait(Rc<Cell<Duration>>);

impl Default for CreditWait {
    fn default() -> CreditWait {
        CreditWait(Rc::new(Cell::new(settings::credit_wait())))
    }
}

impl CreditWait {
    /// Whether `reserve`, which is told how long it may wait, has what it wants. `until`: the set's own end.
    pub fn spend(&self, until: Option<Instant>, reserve: impl FnOnce(Duration) -> bool) -> bool {
        let begun = Instant::now();
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(begun));
        let reserved = reserve(self.0.get().min(left));
        self.0.set(self.0.get().saturating_sub(begun.elapsed()));
        reserved
    }
}

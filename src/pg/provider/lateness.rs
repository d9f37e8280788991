//! How long a request waits for the worker to write down what it may cost.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::pg::shared::turns::{self, Patience};
use leadlex_domain::provider::{Fault, FaultKind};

/// Where the worker was waited for in vain, it is not waited for as long again at once: a set has many contacts.
const AWAY: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(50);

thread_local! {
    /// When this session last waited in vain.
    static IN_VAIN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A wait for the worker.
pub struct Waiting {
    patience: Patience,
    /// No longer than until then, as it was waited for in vain a moment ago.
    until: Option<Instant>,
}

impl Waiting {
    /// Waiting begins now.
    pub fn begin() -> Waiting {
        let now = Instant::now();
        let is_away = IN_VAIN.get().is_some_and(|at| now.duration_since(at) < AWAY);
        Waiting { patience: Patience::new(), until: is_away.then(|| now + SHORT) }
    }

    /// Whether to go on waiting.
    pub fn lasts(&mut self) -> bool {
        let now = Instant::now();
        if let Some(until) = self.until {
            return now < until;
        }
        let lasts = self.patience.lasts();
        if !lasts {
            IN_VAIN.set(Some(now));
        }
        lasts
    }
}

/// What becomes of the request then.
pub fn worker_is_late() -> Fault {
    let message = "not asked: the background worker did not record what was spent in time";
    let refusal = turns::refusal(message, "");
    let remedy = [refusal.detail, refusal.hint].into_iter().flatten().collect::<Vec<_>>().join(" ");
    Fault { remedy: Some(remedy), ..Fault::new(FaultKind::Busy, message) }
}

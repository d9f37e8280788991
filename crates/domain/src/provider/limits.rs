//! How long and how often a provider may be asked, and what a call does while it is asked too often.

use super::{Config, Fault, FaultKind};
use crate::throttle;

/// What a call does about a provider that is asked too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenLimited {
    /// It goes on to the next.
    Next,
    /// It waits for this one, or fails.
    Wait,
}

impl Config {
    /// The time limit of one request, in milliseconds; `None`: the description gives none.
    pub fn timeout_ms(&self) -> Option<u32> {
        self.timeout_ms
    }

    /// `None`: the description gives no limit.
    pub fn max_requests_per_minute(&self) -> Option<u32> {
        self.max_requests_per_minute
    }

    /// `None`: the description gives no limit.
    pub fn max_requests_per_day(&self) -> Option<u32> {
        self.max_requests_per_day
    }

    /// How fast it may be asked.
    pub fn throttle(&self) -> throttle::Limits {
        // Where many contacts share a request there are few of them: a set of a thousand is not to take a minute for the last.
        const FEW: u32 = 10;
        let few = self.bulk.is_some() && self.max_requests_per_minute.is_some();
        throttle::Limits {
            concurrent: self.max_concurrent,
            per_second: self.max_requests_per_second,
            per_minute: self.max_requests_per_minute,
            burst: if few { FEW } else { 0 },
        }
    }

    /// Whether a call waits for this provider while it is asked too often, and does not go on to the next.
    pub fn waits_when_limited(&self) -> bool {
        self.when_limited == WhenLimited::Wait
    }

    /// What becomes of a failure: where it is about too many requests, the next provider may be kept from its turn by it.
    #[must_use]
    pub fn held(&self, mut fault: Fault) -> Fault {
        if self.waits_when_limited()
            && matches!(fault.kind, FaultKind::RateLimited | FaultKind::ProviderLimit)
        {
            fault.kind = FaultKind::RateLimited;
            fault.holds = true;
        }
        fault
    }
}

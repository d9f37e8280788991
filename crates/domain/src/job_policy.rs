//! How patient the queue is: when a job is tried again, and when it is given up.

use std::time::Duration;

/// How patient the queue is.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Between the first attempt and the second; doubled each time.
    pub base: Duration,
    /// No wait is longer, unless a provider or limit has said so.
    pub longest: Duration,
    /// After so many failed attempts the queue gives up.
    pub max_attempts: u32,
}

impl Policy {
    /// Whether so many attempts were enough.
    pub fn gives_up(&self, attempts: u32) -> bool {
        attempts >= self.max_attempts
    }

    /// How long to wait for a rate limit, or for credits: with the default settings, a minute.
    pub fn wait(&self, retry_after: Option<Duration>) -> Duration {
        retry_after.unwrap_or_else(|| self.base.saturating_mul(6).min(self.longest))
    }

    /// How long to wait for a provider that can be asked again then, if that is known: all that wait for it come at about the
    /// same time, but not at once. They go together, so one throw of `jitter` (0 to 1) is for all.
    pub fn turn(&self, retry_after: Option<Duration>, jitter: f64) -> Duration {
        const SPREAD: Duration = Duration::from_millis(250);
        const WIDEST: Duration = Duration::from_secs(10);
        match retry_after {
            Some(least) => {
                least.saturating_add((least / 10 + SPREAD).min(WIDEST).mul_f64(jitter.clamp(0.0, 1.0)))
            }
            None => self.backoff(1, None, jitter),
        }
    }

    /// How long to wait after so many attempts: half of it certain, half by `jitter` (0 to 1), so that what failed together
    /// does not come back together. Never before `retry_after`.
    pub fn backoff(&self, attempts: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
        let jitter = jitter.clamp(0.0, 1.0);
        let doubled = self.base.saturating_mul(1_u32.checked_shl(attempts.max(1) - 1).unwrap_or(u32::MAX));
        let full = doubled.min(self.longest);
        let own = full / 2 + (full / 2).mul_f64(jitter);
        match retry_after {
            Some(least) if least > own => least.saturating_add((full / 10).mul_f64(jitter)),
            _ => own,
        }
    }
}

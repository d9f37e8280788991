//! Whether a provider is to be asked now: what it says of itself, and a circuit breaker for when it says nothing.
//!
//! [`Health`] is plain data, kept in shared memory for all backends together. It never reads a clock: times are epoch
//! microseconds.

use std::time::Duration;

use super::failed_questions::Failing;
use super::hash::Hash;
use super::pause::{self, Cause, Pause, Trouble};
use super::provider::{Effect, FaultKind};

/// When the breaker opens, and for how long at first.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Failures in a row, of more than one question where it is more than one; 0 = never.
    pub failures: u32,
    /// Doubled each time that a probe fails, but for one with the question that failed last.
    pub pause: Duration,
}

impl Pause {
    /// Whether its time is over at `now`, in epoch microseconds: then the next call tries whether the provider is well.
    pub const fn is_half_open(&self, now: i64) -> bool {
        self.until <= now
    }

    /// As leadlex.provider_stats has it.
    pub const fn state(&self, now: i64) -> &'static str {
        if self.is_half_open(now) { "half_open" } else { self.cause.name() }
    }
}

/// Whether a request to a provider may be sent now, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Ask,
    /// The pause is over, and one call tries whether it is well again.
    Probe,
    No(Pause),
    /// The pause is over, and another call is trying whether it is well again.
    Trial(Pause),
    /// The pause is over, but this question has failed: another is to be the probe. With it the question's rank: the lower,
    /// the longer ago it failed.
    After(Pause, usize),
}

impl Permit {
    /// Why no request may be sent now.
    /// `None`: it may be sent.
    pub fn pause(self) -> Option<Pause> {
        match self {
            Permit::Ask | Permit::Probe => None,
            Permit::No(pause) | Permit::Trial(pause) | Permit::After(pause, _) => Some(pause),
        }
    }
}

/// Which request it is about.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Of the description and the secret.
    pub identity: Hash,
    /// Of all that is asked.
    pub hash: Hash,
    /// Which of the provider's requests it is, counted from 0: that an earlier one goes well says nothing of a later one.
    pub step: u8,
}

/// How a request ended, as far as the provider's health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It answered, whatever it had to say.
    Answered,
    Failed {
        kind: FaultKind,
        /// Whole seconds that the answer asks to wait, if it says so.
        retry_after_s: Option<u64>,
    },
    /// It failed in a way that every question would meet, though the provider is there: its login gave a page.
    Useless,
    /// It says nothing about the provider: it was not given its time, or the request never got there.
    Unknown,
}

/// What is known of one provider's health. All times are epoch microseconds; 0 where there is none.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Health {
    /// Of the description and the secret: with another one everything is open again.
    identity: Hash,
    failures: u32,
    /// The latest of the provider's requests that has failed since.
    failed_step: u8,
    /// Pauses in a row, for the length of the next one.
    pauses: u32,
    pause: Option<Pause>,
    paused_at: i64,
    /// Until then a probe is under way, since then.
    probe_until: i64,
    probe_at: i64,
    /// Since the last answer.
    failing: Failing,
}

impl Health {
    /// A provider of which nothing is known: it may be asked.
    pub const NEW: Health = Health {
        identity: [0; 16],
        failures: 0,
        failed_step: 0,
        pauses: 0,
        pause: None,
        paused_at: 0,
        probe_until: 0,
        probe_at: 0,
        failing: Failing::NONE,
    };

    /// Whether a request may be sent. A probe is given to one call at a time, for `lease`. `others`: who asks has other
    /// questions to put after this one.
    pub fn permit(&mut self, question: Question, others: bool, now: i64, lease: Duration) -> Permit {
        self.meet(question.identity);
        self.follow(now);
        let Some(pause) = self.pause else { return Permit::Ask };
        if !pause.is_half_open(now) {
            return Permit::No(pause);
        }
        if now < self.probe_until {
            return Permit::Trial(Pause { until: self.probe_until, ..pause });
        }
        if let Some(rank) = self.failing.rank(question.hash) {
            if others {
                return Permit::After(pause, rank);
            }
            if let Err(until) = self.failing.turn(question.hash, now) {
                return Permit::After(Pause { until, ..pause }, rank);
            }
        }
        self.probe_until = now.saturating_add(lease.as_micros() as i64);
        self.probe_at = now;
        Permit::Probe
    }

    /// A clock that was ahead is right again: what it was late for counts from now.
    fn follow(&mut self, now: i64) {
        let ahead = self.paused_at.saturating_sub(now).max(0);
        if let (Some(pause), true) = (&mut self.pause, ahead > 0) {
            pause.until = pause.until.saturating_sub(ahead);
            self.paused_at = now;
        }
        let ahead = self.probe_at.saturating_sub(now).max(0);
        self.probe_until = self.probe_until.saturating_sub(ahead);
        self.probe_at -= ahead;
    }

    /// A request that was permitted is not sent after all.
    pub fn give_back(&mut self, permit: Permit) {
        if permit == Permit::Probe {
            self.probe_until = 0;
        }
    }

    /// A request that was sent at `sent_at` has ended.
    pub fn ended(&mut self, question: Question, sent_at: i64, now: i64, ending: Ending, policy: Policy) {
        let Question { identity, hash, step } = question;
        if identity != self.identity {
            return;
        }
        self.follow(now);
        if self.pause.is_some() && sent_at < self.paused_at {
            // What came of it was known, or expected, when it was paused; but not whom else it fails for.
            if trouble(ending).is_some() {
                self.failing.add(hash);
            }
            return;
        }
        let probe = self.pause.is_some();
        self.probe_until = 0;
        let is_there = match ending {
            Ending::Answered => true,
            Ending::Failed { kind, .. } => kind.effect() == Effect::Answer,
            Ending::Useless | Ending::Unknown => false,
        };
        if is_there {
            self.answered(step);
            return;
        }
        let Some(trouble) = trouble(ending) else { return };
        self.failed_step = self.failed_step.max(step);
        // What one question alone comes to says little of the provider: no pause becomes longer by it.
        let another = self.failing.add(hash);
        match trouble {
            Trouble::Told(cause, asked_s) => self.begin_pause(cause, asked_s, another, now, policy),
            Trouble::Unwell => {
                self.failures = self.failures.saturating_add(1);
                let too_many = policy.failures > 0 && self.failures >= policy.failures;
                let of_several = self.failing.are_several() || policy.failures == 1;
                if probe && another || !probe && too_many && of_several {
                    let cause = self.pause.map_or(Cause::Breaker, |pause| pause.cause);
                    self.begin_pause(cause, None, another, now, policy);
                }
            }
        }
    }

    /// This one of its requests was answered. Where a later one has failed, that one has to be answered: only what holds for the
    /// whole account is over at once.
    fn answered(&mut self, step: u8) {
        let of_account =
            |pause: Pause| matches!(pause.cause, Cause::Asked | Cause::Quota | Cause::Credentials);
        if step >= self.failed_step {
            *self = Health { identity: self.identity, ..Health::NEW };
        } else if self.pause.is_some_and(of_account) {
            self.pause = None;
        }
    }

    /// `asked_s`: what the provider asked for (Retry-After). `longer`: than the last one.
    fn begin_pause(&mut self, cause: Cause, asked_s: Option<u64>, longer: bool, now: i64, policy: Policy) {
        if longer || self.pauses == 0 {
            self.pauses = self.pauses.saturating_add(1);
        }
        let length = pause::length(cause, asked_s, self.pauses, policy.pause);
        self.pause = Some(Pause { cause, until: now.saturating_add(length.as_micros() as i64) });
        self.paused_at = now;
    }

    /// Whether it is about this description and secret: with another one everything is open again.
    pub fn is_about(&self, identity: Hash) -> bool {
        self.identity == identity
    }

    /// The pause as others see it; `None` when the provider is asked.
    pub fn pause(&self) -> Option<Pause> {
        self.pause
    }

    /// The pause of which administrators are told: not one that ends by itself and is part of the vendor's day.
    pub fn trouble(&self) -> Option<Pause> {
        self.pause.filter(|pause| matches!(pause.cause, Cause::Breaker | Cause::Quota | Cause::Credentials))
    }

    /// Failures since the last answer that count for the circuit breaker ([`Policy::failures`]).
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures
    }

    /// From here on it is this description and secret.
    pub fn meet(&mut self, identity: Hash) {
        if self.identity != identity {
            *self = Health { identity, ..Health::NEW };
        }
    }
}

fn trouble(ending: Ending) -> Option<Trouble> {
    match ending {
        Ending::Failed { kind, retry_after_s } => pause::trouble(kind, retry_after_s),
        Ending::Useless => Some(Trouble::Unwell),
        Ending::Answered | Ending::Unknown => None,
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;

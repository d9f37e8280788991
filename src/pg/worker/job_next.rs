//! What an attempt means for the row of a job: its state, and when it is tried again.

use std::time::Duration;

use uuid::Uuid;

use crate::pg::store::job_state::{Others, State};
use crate::pg::store::jobs;
use leadlex_domain::batch::Status;
use leadlex_domain::job::{JobOutcome, Policy};

/// A number from 0 to 1.
pub fn jitter() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// It is given up after so many attempts.
pub fn dead(attempts: u32, error: String) -> State {
    let progress = jobs::Progress::default();
    State {
        name: "dead",
        outcome: None,
        attempts,
        after: None,
        error: Some(error),
        progress,
        anew: false,
        others: Others::AsBefore,
    }
}

/// What a fate after so many attempts means.
pub fn state(policy: &Policy, attempts: u32, fate: &JobOutcome, jitter: f64) -> State {
    let progress = jobs::Progress::default();
    let queued = |attempts, after, error| State {
        name: "queued",
        outcome: None,
        attempts,
        after: Some(after),
        error,
        progress,
        anew: false,
        others: Others::AsBefore,
    };
    match fate {
        JobOutcome::Done(outcome) => State {
            name: "done",
            outcome: Some(outcome),
            attempts,
            after: None,
            error: None,
            progress,
            anew: false,
            others: Others::AsBefore,
        },
        JobOutcome::NoMatch(why) => {
            let (outcome, error) = (Some(Status::NoMatch.name()), Some(why.clone()));
            let others = Others::AsBefore;
            State { name: "done", outcome, attempts, after: None, error, progress, anew: false, others }
        }
        JobOutcome::Pending { after, charged, others_failed, error } => {
            let progress = jobs::Progress { admitted: true, charged: *charged };
            let others = match others_failed {
                false => Others::AsBefore,
                true if policy.gives_up(attempts) => Others::NotAnyMore,
                true => Others::After(policy.backoff(attempts, None, jitter)),
            };
            let attempts = if *others_failed { attempts } else { attempts - 1 };
            let pending = queued(attempts, policy.turn(*after, jitter), Some(error.clone()));
            State { progress, others, ..pending }
        }
        JobOutcome::Anew => State { anew: true, ..queued(attempts - 1, Duration::ZERO, None) },
        JobOutcome::Again { after, error } => queued(attempts - 1, *after, error.clone()),
        JobOutcome::Waits { retry_after, error } => {
            queued(attempts - 1, policy.wait(*retry_after), Some(error.clone()))
        }
        JobOutcome::PassedOver { retry_after, error } => {
            queued(attempts - 1, policy.turn(*retry_after, jitter), Some(error.clone()))
        }
        JobOutcome::Failed { error, .. } | JobOutcome::Dead { error } if policy.gives_up(attempts) => {
            dead(attempts, error.clone())
        }
        JobOutcome::Failed { retry_after, error } => {
            queued(attempts, policy.backoff(attempts, *retry_after, jitter), Some(error.clone()))
        }
        JobOutcome::Dead { error } => dead(attempts, error.clone()),
    }
}

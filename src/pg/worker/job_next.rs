//! What an attempt means for the row of a job: its state, and when it is tried again.

use std::time::Duration;

use uuid::Uuid;

use crate::pg::store::cache::Revisions;
use crate::pg::store::job_state::JobState;
use crate::pg::store::jobs;
use leadlex_domain::batch::Status;
use leadlex_domain::failed_provider::FailedProvider;
use leadlex_domain::job::{JobOutcome, Policy};

/// How often a job is looked at that waits for a budget that does not begin anew, or for a price.
const UNTIL_GRANTED: Duration = Duration::from_secs(3_600);

/// A number from 0 to 1.
pub fn jitter() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// It is given up after so many attempts.
pub fn dead(attempts: u32, error: String) -> JobState {
    let progress = jobs::Progress::default();
    JobState {
        name: "dead",
        outcome: None,
        attempts,
        after: None,
        error: Some(error),
        progress,
        anew: false,
        failed: None,
    }
}

/// What a fate after so many attempts means. `known`: providers that failed before beside an owed answer. `now`: the same for all, so
/// that those that share their fate stay together.
pub fn state(
    policy: &Policy,
    attempts: u32,
    (fate, known): (&JobOutcome, &[FailedProvider]),
    revisions: &Revisions,
    (now, jitter): (i64, f64),
) -> JobState {
    let progress = jobs::Progress::default();
    let queued = |attempts, after, error| JobState {
        name: "queued",
        outcome: None,
        attempts,
        after: Some(after),
        error,
        progress,
        anew: false,
        failed: None,
    };
    match fate {
        JobOutcome::Done(outcome) => JobState {
            name: "done",
            outcome: Some(outcome),
            attempts,
            after: None,
            error: None,
            progress,
            anew: false,
            failed: None,
        },
        JobOutcome::NoMatch(why) => {
            let (outcome, error) = (Some(Status::NoMatch.name()), Some(why.clone()));
            JobState {
                name: "done",
                outcome,
                attempts,
                after: None,
                error,
                progress,
                anew: false,
                failed: None,
            }
        }
        JobOutcome::Pending { after, charged, failed, error } => {
            let progress = jobs::Progress { admitted: true, charged: *charged };
            let failed = policy.failed(known, failed, |name| revisions.of(name), (now, jitter));
            let failed = (failed != *known).then_some(failed);
            let pending = queued(attempts - 1, policy.turn(*after, jitter), Some(error.clone()));
            let outcome = charged.then(|| Status::Enriched.name());
            JobState { progress, failed, outcome, ..pending }
        }
        JobOutcome::Anew => JobState { anew: true, ..queued(attempts - 1, Duration::ZERO, None) },
        JobOutcome::Again { after, error } => queued(attempts - 1, *after, error.clone()),
        JobOutcome::Waits { retry_after, error } => {
            queued(attempts - 1, policy.wait(*retry_after), Some(error.clone()))
        }
        JobOutcome::PassedOver { retry_after, error } => {
            queued(attempts - 1, policy.turn(*retry_after, jitter), Some(error.clone()))
        }
        JobOutcome::WaitsForMoney { error } => {
            queued(attempts - 1, policy.turn(Some(UNTIL_GRANTED), jitter), Some(error.clone()))
        }
        JobOutcome::Failed { error, .. } | JobOutcome::Dead { error } if policy.gives_up(attempts) => {
            dead(attempts, error.clone())
        }
        JobOutcome::Failed { retry_after, error, failed } => {
            let all = FailedProvider::after_attempt(known, failed, |name| revisions.of(name));
            let all = (all != *known).then_some(all);
            let after = policy.backoff(attempts, *retry_after, jitter);
            JobState { failed: all, ..queued(attempts, after, Some(error.clone())) }
        }
        JobOutcome::Dead { error } => dead(attempts, error.clone()),
    }
}

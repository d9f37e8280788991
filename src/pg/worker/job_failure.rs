//! Attempts at queued contacts of which the transaction failed, or the process did not survive: which of them is the cause is found
//! by halves.

use std::time::Duration;

use crate::pg::store::cache::Revisions;
use crate::pg::store::job_state::{self, JobState};
use crate::pg::store::jobs::{self, Set, Ticket};
use crate::pg::sys::clock::now_us;
use crate::pg::sys::settings;
use crate::pg::worker::job_next::{dead, jitter, state};
use crate::pg::worker::session::TransactionFailure;
use leadlex_domain::job::{self, JobOutcome};

/// The transaction of the attempt has failed as a whole.
pub fn record(tickets: &[Ticket], failure: &TransactionFailure, leaving: bool) {
    let sets = jobs::lock(tickets);
    for set in &sets {
        job_state::split(set, &after_failure(set, failure, leaving, sets.len() > 1));
    }
}

/// `in_company`: others were run with it. Any error can be that of one contact, whatever its SQLSTATE: a trigger of the table
/// raises what it likes. Which one is found by trying each set alone, and then a half of it at a time.
fn after_failure(
    set: &Set,
    failure: &TransactionFailure,
    leaving: bool,
    in_company: bool,
) -> Vec<(JobState, Vec<usize>)> {
    let attempts = set.ticket.attempts;
    let error = format!("{}: {}", failure.sqlstate, failure.message);
    let again = |after, error| JobState {
        name: "queued",
        outcome: None,
        attempts: attempts - 1,
        after: Some(after),
        error,
        progress: jobs::Progress::default(),
        anew: false,
        failed: None,
    };
    let policy = settings::job_policy();
    let count = set.contact_ids.len();
    let all: Vec<usize> = (0..count).collect();
    let alone = count == 1 && !in_company;
    let state = if leaving {
        again(Duration::ZERO, None)
    } else if job::is_forbidden(&failure.sqlstate) {
        dead(attempts, error)
    } else if job::is_transient(&failure.sqlstate) {
        // May be over next time, so that is waited for, and counts; but nobody dies in company.
        match policy.gives_up(attempts) && !alone {
            true => again(policy.backoff(attempts, None, jitter()), Some(error)),
            false => {
                let failed = JobOutcome::Failed { retry_after: None, error, failed: Vec::new() };
                state(&policy, attempts, (&failed, &[]), &Revisions::default(), (now_us(), jitter()))
            }
        }
    } else if alone {
        dead(attempts, error)
    } else {
        again(Duration::ZERO, Some(error))
    };
    if leaving || in_company || count == 1 || state.name == "dead" {
        return vec![(state, all)];
    }
    let (first, second) = all.split_at(count / 2);
    vec![(state.clone(), first.to_vec()), (state, second.to_vec())]
}

/// A set whose process did not survive it. One of its contacts can be the cause: in halves it is found, as above, and no
/// other is given up with it. What begins with an SQLSTATE is not run together with others.
pub fn halve(ticket: Ticket, why: &str) {
    let attempts = ticket.attempts.saturating_sub(1);
    let error = Some(format!("57P01: {why}"));
    let progress = jobs::Progress::default();
    let state = JobState {
        name: "queued",
        outcome: None,
        attempts,
        after: Some(Duration::ZERO),
        error,
        progress,
        anew: false,
        failed: None,
    };
    for set in jobs::lock(&[ticket]) {
        let all: Vec<usize> = (0..set.contact_ids.len()).collect();
        let (first, second) = all.split_at(all.len() / 2);
        job_state::split(&set, &[(state.clone(), first.to_vec()), (state.clone(), second.to_vec())]);
    }
}

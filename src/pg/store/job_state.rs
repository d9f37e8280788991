//! What becomes of the queue's sets, whole or in parts.

use std::time::Duration;

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::store::events;
use crate::pg::store::job_marks::marks_at_once;
use crate::pg::store::jobs::{self, Progress, Set, Ticket, ids, some_texts_arg};
use crate::pg::sys::row::pg;
use crate::pg::sys::spi::{Arg, Statement, View, arg, texts_arg};
use leadlex_domain::failed_provider::FailedProvider;

/// What becomes of some contacts of a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobState {
    pub name: &'static str,
    pub outcome: Option<&'static str>,
    pub attempts: u32,
    /// Until the next attempt; `None`: there is none.
    pub after: Option<Duration>,
    pub error: Option<String>,
    /// Beside what was done before.
    pub progress: Progress,
    /// What was done before does not count any more.
    pub anew: bool,
    /// While an answer is owed: the providers that failed beside it; `None`: as before.
    pub failed: Option<Vec<FailedProvider>>,
}

static CHANGE: Statement = Statement::new(
    "UPDATE leadlex.job_set AS j
     SET state = $3, outcome = coalesce($4, CASE WHEN NOT $10 THEN j.outcome END), attempts = $5,
         next_attempt_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) ($6 OPERATOR(pg_catalog.*) interval '1 second'),
         finished_at = CASE WHEN $6 IS NULL THEN pg_catalog.clock_timestamp() END, last_error = $7,
         admitted = j.admitted AND NOT $10 OR $8, charged = j.charged AND NOT $10 OR $9,
         paid_for = CASE WHEN NOT $10 THEN coalesce($11, j.paid_for) END,
         failed_providers = CASE WHEN NOT $10 THEN coalesce($12::pg_catalog.jsonb, j.failed_providers) END
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) ANY ($2)",
);
/// Copies a set with some of its contacts: each column of leadlex.job_set stands here.
static COPY_TO_PART: Statement = Statement::new(
    "INSERT INTO leadlex.job_set (workspace_id, id, first_job, places, contacts, contact_ids, schema_name, table_name, role,
         authority, key_hash, fields, overwrite, state, outcome, attempts, next_attempt_at, finished_at, last_error,
         created_at, started_at, home, marks, admitted, charged, paid_for, priority, settings, failed_providers)
     SELECT j.workspace_id, $16, j.first_job, $13, pg_catalog.cardinality($14), $14, j.schema_name,
            j.table_name, j.role, j.authority, j.key_hash, j.fields, j.overwrite, $3,
            coalesce($4, CASE WHEN NOT $10 THEN j.outcome END), $5,
            pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) ($6 OPERATOR(pg_catalog.*) interval '1 second'),
            CASE WHEN $6 IS NULL THEN pg_catalog.clock_timestamp() END, $7, j.created_at, j.started_at, j.home, $15,
            j.admitted AND NOT $10 OR $8, j.charged AND NOT $10 OR $9, CASE WHEN NOT $10 THEN $11 END, j.priority,
            j.settings, CASE WHEN NOT $10 THEN coalesce($12::pg_catalog.jsonb, j.failed_providers) END
     FROM leadlex.job_set AS j
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) $2",
);
static REMOVE: Statement = Statement::new(
    "DELETE FROM leadlex.job_set AS j
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) $2",
);

fn state_args(workspace: Uuid, ids: Arg, state: &JobState, paid_for: Option<&[String]>) -> Vec<Arg> {
    vec![
        arg(pg(workspace)),
        ids,
        arg(state.name),
        arg(state.outcome),
        arg(state.attempts as i32),
        arg(state.after.map(|after| after.as_secs_f64())),
        arg(state.error.as_deref()),
        arg(state.progress.admitted),
        arg(state.progress.charged),
        arg(state.anew),
        some_texts_arg(paid_for),
        jobs::failed_arg(state.failed.as_deref()),
    ]
}

/// All contacts of these sets.
pub fn change(tickets: &[Ticket], state: &JobState) {
    change_paid(tickets, state, None);
}

fn change_paid(tickets: &[Ticket], state: &JobState, paid_for: Option<&[String]>) {
    as_owner(|| CHANGE.run(&state_args(tickets[0].workspace, ids(tickets), state, paid_for)));
    if state.name == "dead" {
        events::jobs_dead(tickets[0].workspace, tickets.iter().map(|ticket| ticket.contacts).sum());
    }
}

/// The set is split: what becomes of the contacts at which positions.
pub fn split(set: &Set, parts: &[(JobState, Vec<usize>)]) {
    if let [(state, positions)] = parts
        && positions.len() == set.contact_ids.len()
    {
        let paid_for = set.paid(positions);
        return change_paid(&[set.ticket], state, paid_for.as_deref());
    }
    as_owner(|| {
        for (state, positions) in parts {
            let paid_for = set.paid(positions);
            let mut args =
                state_args(set.ticket.workspace, arg(pg(set.ticket.id)), state, paid_for.as_deref());
            args.push(arg(positions.iter().map(|at| set.places[*at]).collect::<Vec<i16>>()));
            let contacts: Vec<&String> = positions.iter().map(|at| &set.contact_ids[*at]).collect();
            args.extend([texts_arg(&contacts), arg(marks_at_once(&contacts)), arg(pg(Uuid::now_v7()))]);
            COPY_TO_PART.run(&args);
            if state.name == "dead" {
                events::jobs_dead(set.ticket.workspace, positions.len() as u64);
            }
        }
        remove(set.ticket.workspace, set.ticket.id);
    });
}

/// As the owner.
pub fn remove(workspace: Uuid, id: Uuid) {
    REMOVE.run_in(View::Current, &[arg(pg(workspace)), arg(pg(id))]);
}

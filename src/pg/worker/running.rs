//! One attempt at a set of queued contacts: the batch, and what became of each contact, in one transaction.

use std::ffi::CString;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use uuid::Uuid;

use super::super::accounts::now_us;
use super::super::batch::{self, Call, Wish};
use super::super::progress::Progress;
use super::super::raise::{Refusal, refuse};
use super::super::store::jobs::{self, Authority, Set, State, Ticket};
use super::super::{identity, owner, settings, table};
use super::queues::{self, Key};
use super::round::{Failed, attempt_as};
use super::{bars, jobs as worker};
use crate::domain::failure::Failure;
use crate::domain::fields::{Field, FieldSet};
use crate::domain::identity::Caller;
use crate::domain::job::{self, Fate, Policy};

/// Rows that have been written stay locked until the set is done: what has not been begun after so long is left for the
/// next attempt.
const LONGEST: Duration = Duration::from_secs(30);

/// A number from 0 to 1.
pub fn dice() -> f64 {
    f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// Runs the set that `ticket` is for. When nothing more of its workspace should be taken before some time (epoch
/// microseconds), that.
pub fn run(key: Key, ticket: &Ticket) -> Option<i64> {
    let text = format!("leadlex_enrich: enriching {} queued contacts", ticket.contacts);
    let text = CString::new(text).unwrap_or_default();
    match attempt_as(&text, || attempt_set(ticket)) {
        Ok(closed_until) => {
            queues::mark(key, |q| q.contacts += ticket.contacts);
            closed_until
        }
        Err(failure) => {
            let leaving = bars::is_barred(key.database);
            // Should this fail, too, the set counts as interrupted.
            let _ = attempt_as(c"leadlex_enrich: recording the failure of queued jobs", || {
                record(ticket, &failure, leaving);
            });
            None
        }
    }
}

fn attempt_set(ticket: &Ticket) -> Option<i64> {
    let set = jobs::lock(ticket)?;
    let caller = match authorized(&set) {
        Ok(caller) => caller,
        Err(failure) => {
            jobs::change(ticket, &dead(ticket.attempts, failure.text()));
            return None;
        }
    };
    let work = || identity::acting_for(&caller, || enrich(&set, caller.clone()));
    let fates = match set.authority {
        Authority::TableOwner => owner::as_table_owner(owner::caller(), work),
        _ => work(),
    };
    let policy = settings::job_policy();
    // One throw for all, so that those that share their fate stay together.
    let dice = dice();
    let states = fates.iter().map(|fate| state(&policy, ticket.attempts, fate, dice)).collect();
    jobs::split(&set, &grouped(states));
    let closed = fates.iter().filter_map(|fate| match fate {
        Fate::Waits { retry_after, .. } => Some(policy.wait(*retry_after)),
        _ => None,
    });
    closed.max().map(|wait| now_us() + wait.as_micros() as i64)
}

/// The identity that the set was queued under, as it is now.
fn authorized(set: &Set) -> Result<Caller, Failure> {
    let workspace = set.ticket.workspace;
    let caller = match &set.authority {
        Authority::Role => identity::granted_in(workspace)?,
        Authority::ApiKey(hash) => identity::by_hash(hash)?,
        Authority::TableOwner => {
            let owner = owner::caller();
            let relation = relation(set);
            // SAFETY: a catalog look-up of an existing relation.
            if unsafe { owner_of(relation) } != owner {
                return Err(Failure::invalid_key(
                    "the role of the job does not own the table any more",
                    "Queue the contacts again.",
                ));
            }
            if let Some((why, hint)) = table::foreign_trigger(relation, owner) {
                return Err(Failure::invalid_key(why, hint));
            }
            identity::of_owner(owner, workspace)?
        }
    };
    if caller.workspace.id != workspace {
        return Err(Failure::invalid_key("the API key is of another workspace", "Queue the contacts again."));
    }
    batch::permitted(caller)
}

unsafe fn owner_of(relation: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: opened and closed here; the relation is locked meanwhile.
    unsafe {
        let opened = pg_sys::relation_open(relation, pg_sys::AccessShareLock as i32);
        let owner = (*(*opened).rd_rel).relowner;
        pg_sys::relation_close(opened, pg_sys::NoLock as i32);
        owner
    }
}

fn relation(set: &Set) -> pg_sys::Oid {
    table::relation_named(&set.schema, &set.table).unwrap_or_else(|| {
        refuse(Refusal {
            sqlstate: "55000",
            message: format!(
                "the table {}.{} does not exist",
                table::quoted(&set.schema),
                table::quoted(&set.table)
            ),
            detail: None,
            hint: None,
        })
    })
}

/// What becomes of each contact of the set.
fn enrich(set: &Set, caller: Caller) -> Vec<Fate> {
    if set.authority == Authority::TableOwner {
        // Others have made this job: nothing that they could have put somewhere is to be found by the table's triggers.
        worker::set_local(c"search_path", "pg_catalog, pg_temp");
    }
    let relation = relation(set);
    let fields: FieldSet = set.fields.iter().filter_map(|name| Field::parse(name)).collect();
    let ids: Vec<Option<String>> = set.contact_ids.iter().cloned().map(Some).collect();
    let nothing = Fate::Again { after: Duration::ZERO, error: None };
    let mut fates = vec![nothing; ids.len()];
    let workspace = caller.workspace.id;
    let wish = Wish { fields, overwrite: set.overwrite };
    let call = Call { caller, target: Some(relation), wish, until: Some(Instant::now() + LONGEST) };
    let mut progress = Progress::start(workspace, Some(relation), ids.len());
    batch::run(call, ids, &mut progress, &mut |position, line| fates[position] = job::fate(line));
    fates
}

fn dead(attempts: u32, error: String) -> State {
    State { name: "dead", outcome: None, attempts, after: None, error: Some(error) }
}

/// What a fate after so many attempts means.
fn state(policy: &Policy, attempts: u32, fate: &Fate, dice: f64) -> State {
    let queued =
        |attempts, after, error| State { name: "queued", outcome: None, attempts, after: Some(after), error };
    match fate {
        Fate::Done(outcome) => {
            State { name: "done", outcome: Some(outcome), attempts, after: None, error: None }
        }
        Fate::Again { after, error } => queued(attempts - 1, *after, error.clone()),
        Fate::Waits { retry_after, error } => {
            queued(attempts - 1, policy.wait(*retry_after), Some(error.clone()))
        }
        Fate::Failed { error, .. } | Fate::Dead { error } if policy.gives_up(attempts) => {
            dead(attempts, error.clone())
        }
        Fate::Failed { retry_after, error } => {
            queued(attempts, policy.backoff(attempts, *retry_after, dice), Some(error.clone()))
        }
        Fate::Dead { error } => dead(attempts, error.clone()),
    }
}

/// Positions by what becomes of them.
fn grouped(states: Vec<State>) -> Vec<(State, Vec<usize>)> {
    let mut groups: Vec<(State, Vec<usize>)> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for (position, state) in states.into_iter().enumerate() {
        let group = *known.entry(state.clone()).or_insert_with(|| {
            groups.push((state, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(position);
    }
    groups
}

/// The transaction of the attempt has failed as a whole.
fn record(ticket: &Ticket, failure: &Failed, leaving: bool) {
    let Some(set) = jobs::lock(ticket) else { return };
    let policy = settings::job_policy();
    let attempts = ticket.attempts;
    let error = format!("{}: {}", failure.sqlstate, failure.message);
    let count = set.contact_ids.len();
    let again = |after, error| State {
        name: "queued",
        outcome: None,
        attempts: attempts - 1,
        after: Some(after),
        error,
    };
    let all: Vec<usize> = (0..count).collect();
    let parts = if leaving {
        vec![(again(Duration::ZERO, None), all)]
    } else if job::is_forbidden(&failure.sqlstate) {
        vec![(dead(attempts, error), all)]
    } else if job::may_be_of_one(&failure.sqlstate) && count > 1 {
        let (first, second) = all.split_at(count / 2);
        [first, second]
            .into_iter()
            .map(|half| (again(Duration::ZERO, Some(error.clone())), half.to_vec()))
            .collect()
    } else if job::may_be_of_one(&failure.sqlstate) {
        vec![(dead(attempts, error), all)]
    } else {
        vec![(state(&policy, attempts, &Fate::Failed { retry_after: None, error }, dice()), all)]
    };
    jobs::split(&set, &parts);
}

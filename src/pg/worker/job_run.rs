//! One attempt at queued contacts: the batch, and what became of each, in one transaction.

use crate::pg::provider;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::sys::relation;
use crate::pg::sys::role;
use crate::pg::worker::job_caps;
use crate::pg::worker::job_failure;
use crate::pg::worker::job_next::{dead, jitter, state};
use crate::pg::worker::job_owed::Ends;
use leadlex_domain::sqlstate;
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::call::batch;
use crate::pg::call::batch::{Call, CreditWait, FieldRequest, Outcomes, Visit};
use crate::pg::call::enqueue;
use crate::pg::call::identity;
use crate::pg::call::{refilling, target};
use crate::pg::shared::job_queues;
use crate::pg::shared::job_queues::QueueKey;
use crate::pg::shared::lockouts;
use crate::pg::shared::progress::Progress;
use crate::pg::store::cache::Revisions;
use crate::pg::store::job_state::{self, JobState};
use crate::pg::store::jobs::{self, Authority, Job, Set, Ticket};
use crate::pg::store::jobs_waiting;
use crate::pg::sys::clock::now_us;
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::settings;
use crate::pg::table::{self, Binding};
use crate::pg::worker::limit::Limit;
use crate::pg::worker::session::attempt_as;
use leadlex_domain::batch::Status;
use leadlex_domain::call_error::Failure;
use leadlex_domain::contact::Contact;
use leadlex_domain::failed_provider::FailedProvider;
use leadlex_domain::fields::{Field, FieldSet};
use leadlex_domain::identity::Caller;
use leadlex_domain::job;
use leadlex_domain::job::{JobOutcome, Policy};

/// Rows that have been written stay locked until the set is done: what has not been begun after so long is left for the
/// next attempt.
const LONGEST: Duration = Duration::from_secs(30);
/// Where no provider is enabled: enabling one wakes what waits sooner.
const UNTIL_ENABLED: Duration = Duration::from_secs(10);

/// Runs the sets that these tickets are for, together. When nothing more of their workspace should be taken before some
/// time (epoch microseconds), that.
pub fn run(key: QueueKey, tickets: &[Ticket]) -> Option<i64> {
    let contacts: u64 = tickets.iter().map(|ticket| ticket.contacts).sum();
    let text =
        CString::new(format!("leadlex_enrich: enriching {contacts} queued contacts")).unwrap_or_default();
    let limit = Limit::begin();
    let attempted = attempt_as(&text, || attempt_sets(tickets, limit));
    limit.end();
    match attempted.map_err(|failure| limit.explain(failure)) {
        Ok(closed_until) => {
            job_queues::mark(key, |q| q.contacts += contacts);
            closed_until
        }
        Err(failure) => {
            let leaving = lockouts::is_locked_out(key.database);
            // Should this fail, too, the set counts as interrupted.
            let _ = attempt_as(c"leadlex_enrich: recording the failure of queued jobs", || {
                job_failure::record(tickets, &failure, leaving);
            });
            None
        }
    }
}

fn attempt_sets(tickets: &[Ticket], limit: Limit) -> Option<i64> {
    let mut sets = jobs::lock(tickets);
    // Of another description or secret it is not known yet, and one that comes while they are asked is another, too.
    let revisions = Revisions::now();
    let as_now = |failed: FailedProvider| {
        let revision = revisions.of(&failed.name);
        failed.as_of(&revision)
    };
    for set in &mut sets {
        set.failed = std::mem::take(&mut set.failed).into_iter().filter_map(as_now).collect();
    }
    // What they share is the same in each.
    let first = sets.first()?;
    let attempts = first.ticket.attempts;
    let caller = match authorized(first) {
        Ok(caller) => caller,
        Err(failure) => {
            let ours: Vec<Ticket> = sets.iter().map(|set| set.ticket).collect();
            job_state::change(&ours, &dead(attempts, failure.text()));
            return None;
        }
    };
    let work = || identity::acting_for(&caller, || enrich_within_caps(&sets, caller.clone(), limit));
    let fates = match first.authority {
        Authority::TableOwner => role::as_table_owner(role::caller(), work),
        _ => work(),
    };
    let (fates, paid_for): (Vec<JobOutcome>, Vec<Option<String>>) = fates.into_iter().unzip();
    let fates = timed(with_visits_before(&sets, superseded(&sets, fates)));
    let policy = settings::job_policy();
    // One throw for all, so that those that share their fate stay together.
    let (now, jitter) = (now_us(), jitter());
    let known = sets.iter().flat_map(|set| set.contact_ids.iter().map(|_| &set.failed[..]));
    let states = fates
        .iter()
        .zip(known)
        .map(|of| state(&policy, attempts, of, &revisions, (now, jitter)))
        .collect::<Vec<_>>();
    fold(&sets, &states);
    settle(note_paid(sets, paid_for), states);
    closed(&policy, &fates).map(|wait| now_us() + wait.as_micros() as i64)
}

/// What was charged for another question does not begin anew where a later call has charged for this one, and its rest waits, or
/// runs: another worker may have begun that, and wait for the contact.
fn superseded(sets: &[Set], mut fates: Vec<JobOutcome>) -> Vec<JobOutcome> {
    if !fates.contains(&JobOutcome::Anew) {
        return fates;
    }
    let ids = || sets.iter().flat_map(|set| &set.contact_ids);
    let anew: Vec<String> =
        ids().zip(&fates).filter(|(_, fate)| **fate == JobOutcome::Anew).map(|(id, _)| id.clone()).collect();
    let role = role::name_of(role::caller());
    let progress = jobs::Progress { admitted: true, charged: true };
    let job = Job { progress, ..job(&sets[0], &role) };
    let (waiting, running) = (jobs_waiting::waiting(&job, &anew), jobs_waiting::charged_running(&job));
    let of_each = sets.iter().flat_map(|set| set.contact_ids.iter().map(|id| (set.ticket.id, id)));
    for ((own, id), fate) in of_each.zip(&mut fates) {
        let runs = || running.iter().any(|(later, contacts)| *later > own && contacts.contains(id));
        if *fate == JobOutcome::Anew && (waiting.contains(id) || runs()) {
            *fate = JobOutcome::Done(Status::Unchanged.name());
        }
    }
    fates
}

/// What a visit before has written counts at the end, whatever becomes of the rest.
fn with_visits_before(sets: &[Set], fates: Vec<JobOutcome>) -> Vec<JobOutcome> {
    let enriched = sets.iter().flat_map(|set| vec![set.enriched; set.contact_ids.len()]);
    enriched.zip(fates).map(|(before, fate)| if before { fate.after_enriched() } else { fate }).collect()
}

/// With those for whom a credit was charged by this visit.
fn note_paid(mut sets: Vec<Set>, paid_for: Vec<Option<String>>) -> Vec<Set> {
    let mut paid_for = paid_for.into_iter();
    for set in &mut sets {
        let of_set: Vec<Option<String>> = paid_for.by_ref().take(set.contact_ids.len()).collect();
        if of_set.iter().any(Option::is_some) {
            set.paid_for.resize(set.contact_ids.len(), String::new());
            let known = set.paid_for.iter_mut().zip(of_set);
            known.for_each(|(known, paid)| *known = paid.unwrap_or_else(|| std::mem::take(known)));
            set.newly_paid = true;
        }
    }
    sets
}

/// A provider that says that there are too many requests need not say until when; what it was not asked about for that knows.
fn timed(mut fates: Vec<JobOutcome>) -> Vec<JobOutcome> {
    let known = fates.iter().filter_map(|fate| match fate {
        JobOutcome::PassedOver { retry_after, .. } => *retry_after,
        _ => None,
    });
    let longest = known.max();
    for fate in &mut fates {
        if let JobOutcome::PassedOver { retry_after, .. } = fate {
            *retry_after = retry_after.or(longest);
        }
    }
    fates
}

/// Of a queue that nobody can be asked about, a set is looked at only so often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// For how long nothing more of the workspace should be taken.
fn closed(policy: &Policy, fates: &[JobOutcome]) -> Option<Duration> {
    let waits = fates.iter().filter_map(|fate| match fate {
        JobOutcome::Waits { retry_after, .. } => Some(policy.wait(*retry_after)),
        _ => None,
    });
    let passed_over = |fate: &JobOutcome| match fate {
        JobOutcome::PassedOver { retry_after, .. } => *retry_after,
        JobOutcome::WaitsForMoney { .. } => Some(LOOK_AGAIN),
        _ => None,
    };
    let none_asked = || fates.iter().map(passed_over).collect::<Option<Vec<Duration>>>()?.into_iter().min();
    // One that is alone may only have to let others go first.
    waits.max().or_else(|| none_asked().filter(|_| fates.len() > 1).map(|least| least.min(LOOK_AGAIN)))
}

/// Those that go back to the queue are there once.
fn fold(sets: &[Set], states: &[JobState]) {
    let contacts = sets.iter().flat_map(|set| &set.contact_ids).zip(states);
    let again: Vec<&String> =
        contacts.filter(|(_, state)| state.name == "queued" && !state.anew).map(|(id, _)| id).collect();
    let set = &sets[0];
    if again.is_empty() {
        return;
    }
    let role = role::name_of(role::caller());
    jobs_waiting::fold(&job(set, &role), &again);
}

/// What the contacts of a set share, as they are queued.
fn job<'a>(set: &'a Set, role: &'a str) -> Job<'a> {
    Job {
        workspace: set.ticket.workspace,
        role,
        authority: set.authority,
        schema: &set.schema,
        table: &set.table,
        fields: fields(set),
        overwrite: set.overwrite,
        progress: set.progress,
        paid_for: None,
        priority: set.priority,
        settings: set.settings.clone(),
        failed: Vec::new(),
    }
}

fn fields(set: &Set) -> FieldSet {
    set.fields.iter().filter_map(|name| Field::parse(name)).collect()
}

/// What becomes of the contacts of these sets, in their order. Most sets stay whole: those by one statement for each state.
fn settle(sets: Vec<Set>, states: Vec<JobState>) {
    let mut whole: HashMap<JobState, Vec<Ticket>> = HashMap::new();
    let mut states = states.into_iter();
    for set in &sets {
        let mut groups = grouped(states.by_ref().take(set.contact_ids.len()).collect());
        match groups.len() {
            1 if !set.newly_paid => whole.entry(groups.remove(0).0).or_default().push(set.ticket),
            _ => job_state::split(set, &groups),
        }
    }
    whole.iter().for_each(|(state, tickets)| job_state::change(tickets, state));
}

/// The identity that the set was queued under, as it is now.
fn authorized(set: &Set) -> Result<Caller, Failure> {
    let workspace = set.ticket.workspace;
    let caller = match &set.authority {
        Authority::Role => identity::granted_in(workspace)?,
        Authority::ApiKey(hash) => identity::by_hash(hash)?,
        Authority::TableOwner => {
            let owner = role::caller();
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
    relation::relation_named(&set.schema, &set.table).unwrap_or_else(|| {
        refuse(PgError {
            sqlstate: sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
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

/// As [`enrich`], of those sets that may be begun; the others are given up.
fn enrich_within_caps(sets: &[Set], caller: Caller, limit: Limit) -> Vec<(JobOutcome, Option<String>)> {
    settings::go_on_as(sets[0].settings.as_deref().unwrap_or_default());
    let request = FieldRequest { fields: fields(&sets[0]), overwrite: sets[0].overwrite };
    let binding = || target::binding(Some(relation(&sets[0])));
    let refusals = job_caps::refusals(sets, caller.workspace.id, binding, request);
    let refused = sets.iter().zip(&refusals).filter(|(_, refusal)| refusal.is_none());
    let begun: Vec<&Set> = refused.map(|(set, _)| set).collect();
    let fates = if begun.is_empty() { Vec::new() } else { enrich(&begun, caller, limit) };
    let mut fates = fates.into_iter();
    let of_set = |(set, refusal): (&Set, Option<String>)| -> Vec<(JobOutcome, Option<String>)> {
        let count = set.contact_ids.len();
        match refusal {
            Some(error) => vec![(JobOutcome::Dead { error }, None); count],
            None => fates.by_ref().take(count).collect(),
        }
    };
    sets.iter().zip(refusals).flat_map(of_set).collect()
}

/// What becomes of each contact of these sets, and where a credit was charged and more comes later, for whom.
fn enrich(sets: &[&Set], caller: Caller, limit: Limit) -> Vec<(JobOutcome, Option<String>)> {
    let set = sets[0];
    if set.authority == Authority::TableOwner {
        // Others have made this job: nothing that they could have put somewhere is to be found by the table's triggers.
        settings::set_local(c"search_path", "pg_catalog, pg_temp");
    }
    let relation = relation(set);
    if let Some(why) = provider::none_to_ask(caller.workspace.id) {
        let waits = JobOutcome::PassedOver { retry_after: Some(UNTIL_ENABLED), error: why.to_owned() };
        return vec![(waits, None); sets.iter().map(|set| set.contact_ids.len()).sum()];
    }
    let fields = fields(set);
    let ids: Vec<Option<String>> = sets.iter().flat_map(|set| &set.contact_ids).cloned().map(Some).collect();
    let nothing = JobOutcome::Again { after: Duration::ZERO, error: None };
    let mut fates = vec![(nothing, None); ids.len()];
    let workspace = caller.workspace.id;
    let request = FieldRequest { fields, overwrite: set.overwrite };
    // Time enough is left to write what was begun last: else nothing of a set would ever be done within a short limit.
    let until = Some(Instant::now() + LONGEST.min(limit.length / 2));
    let since = sets.iter().flat_map(|set| vec![set.queued_at; set.contact_ids.len()]).collect();
    let failed = sets.iter().flat_map(|set| vec![Rc::from(&set.failed[..]); set.contact_ids.len()]).collect();
    let paid_for = sets.iter().flat_map(|set| {
        let mut known = set.paid_for.clone();
        known.resize(set.contact_ids.len(), String::new());
        known
    });
    let visit = Visit {
        since,
        admitted: set.progress.admitted,
        charged: set.progress.charged,
        failed,
        paid_for: paid_for.collect(),
    };
    let call = Call {
        caller,
        target: Some(relation),
        request,
        until,
        waits: true,
        outcomes: Outcomes::default(),
        credit_wait: CreditWait::default(),
        crowd: Crowd::default(),
        visit: Some(visit),
    };
    let binding = target::binding(Some(relation));
    if settings::refills() && !request.overwrite {
        let keys: Vec<&str> = ids.iter().flatten().map(String::as_str).collect();
        refilling::refill(workspace, &binding, &keys, request.fields);
    }
    let mut progress = Progress::start(workspace, Some(relation), ids.len());
    let mut ends = Ends::of(workspace, &binding, request, set.progress.admitted);
    batch::run(call, ids.into_iter(), &mut progress, &mut |position, line| {
        let fate = job::fate(line);
        ends.note(position, &fate, line);
        let paid_for = paid_by(&fate, &binding, line.contact.as_ref(), line.position.clone());
        fates[position] = (fate, paid_for);
    });
    for (position, owed, contact) in ends.owed() {
        let fate = job::while_owed(fates[position].0.clone(), &owed);
        let paid_for = paid_by(&fate, &binding, Some(&contact), None);
        fates[position] = (fate, paid_for);
    }
    fates
}

/// Where a credit was charged and more comes later, for whom.
fn paid_by(
    fate: &JobOutcome,
    binding: &Binding,
    contact: Option<&Contact>,
    position: Option<String>,
) -> Option<String> {
    let contact = contact.filter(|_| matches!(fate, JobOutcome::Pending { charged: true, .. }))?;
    Some(enqueue::paid_for(binding, contact).at(position).to_text())
}

/// Positions by what becomes of them.
fn grouped(states: Vec<JobState>) -> Vec<(JobState, Vec<usize>)> {
    let mut groups: Vec<(JobState, Vec<usize>)> = Vec::new();
    let mut known = HashMap::new();
    for (position, state) in states.into_iter().enumerate() {
        let group = *known.entry(state.clone()).or_insert_with(|| {
            groups.push((state, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(position);
    }
    groups
}

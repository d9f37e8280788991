//! The queue, as sessions see it: what they add, and whether it is paused.

use crate::pg::provider;
use crate::pg::sys::clock::now_us;
use crate::pg::sys::{role, settings};
use pgrx::pg_sys;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

use crate::pg::call::{identity, preconditions};
use crate::pg::shared::transaction;
use crate::pg::store::cache::{self, Revisions};
use crate::pg::store::frozen;
use crate::pg::store::jobs;
use crate::pg::store::jobs::{Authority, Job, Progress};
use crate::pg::store::jobs_waiting;
use crate::pg::store::queue_pause::Pause;
use crate::pg::table::Binding;
use leadlex_domain::batch::BatchResult;
use leadlex_domain::contact::Contact;
use leadlex_domain::failed_provider::{FailedProvider, ProviderAttempt};
use leadlex_domain::fields::FieldSet;
use leadlex_domain::paid::PaidFor;
use leadlex_domain::receipt;

/// Why no job of the caller's is begun, if none is.
///
/// `None`: jobs are begun.
pub fn paused() -> Option<Pause> {
    cache::paused().or_else(|| frozen::is_frozen(role::caller()).then_some(Pause::ReadOnly))
}

/// Whether this database is a copy, or was restored: it spends nothing by itself until leadlex.resume_queue().
pub fn is_clone() -> bool {
    cache::paused() == Some(Pause::Clone)
}

/// Queues contacts for `role`, whose name `job` has; each key once, in its one spelling, and none that waits already: how
/// many. When this transaction commits, a worker is told. To be called only where the transaction can write.
///
/// Raises 25006 or 25000: the transaction cannot write. 55000: the library was not preloaded.
pub fn add(job: &Job, role: pg_sys::Oid, mut contact_ids: Vec<String>) -> usize {
    preconditions::require_writable();
    // The note for the workers lives in this process: a prepared transaction would lose it.
    transaction::mark_called();
    let waiting = jobs_waiting::waiting(job, &contact_ids);
    if !waiting.is_empty() {
        contact_ids.retain(|id| !waiting.contains(id));
    }
    if !contact_ids.is_empty() {
        if job.paid_for.is_some() {
            // What waits of them by itself would charge for the same once more.
            jobs_waiting::fold(job, &contact_ids.iter().collect::<Vec<_>>());
        }
        jobs::add(job, &contact_ids);
        note(role);
    }
    contact_ids.len()
}

/// What one call queues.
pub struct Rest<'a> {
    pub workspace: Uuid,
    pub binding: &'a Binding,
    pub fields: FieldSet,
    pub overwrite: bool,
    pub progress: Progress,
    /// The lower, the earlier begun.
    pub priority: i32,
    /// Providers that failed in the call that it goes on with.
    pub failed: Vec<FailedProvider>,
}

/// For the caller, who may enrich: on its key or grant, which is looked at again when the jobs run.
pub fn add_for_caller(rest: &Rest<'_>, contact_ids: Vec<String>) -> usize {
    add_as_caller(rest, contact_ids, None)
}

fn add_as_caller(rest: &Rest<'_>, contact_ids: Vec<String>, paid_for: Option<&Paid>) -> usize {
    let role = role::caller();
    let name = role::role_name(role);
    let authority = match settings::api_key() {
        Some(key) => Authority::ApiKey(identity::hash(&key)),
        None => Authority::Role,
    };
    let job = Job {
        workspace: rest.workspace,
        role: &name,
        authority,
        schema: &rest.binding.schema,
        table: &rest.binding.table,
        fields: rest.fields,
        overwrite: rest.overwrite,
        progress: rest.progress,
        paid_for,
        priority: rest.priority,
        settings: rest.progress.admitted.then(settings::of_a_call),
        failed: rest.failed.clone(),
    };
    add(&job, role, contact_ids)
}

/// By contact for whom it was charged, see [`PaidFor`].
pub type Paid = HashMap<String, String>;

/// A contact of which more comes later.
pub struct Unfinished {
    id: String,
    /// If a credit was charged for it: for whom.
    paid_for: Option<String>,
    /// Who failed beside it.
    failed: Vec<ProviderAttempt>,
}

/// What comes later of contacts that have the same in common, as a job that goes on.
pub struct Continuation {
    pub progress: Progress,
    pub ids: Vec<String>,
    pub paid_for: Option<Paid>,
    pub failed: Vec<FailedProvider>,
}

impl Unfinished {
    /// What this line leaves; `None`: nothing comes later.
    pub fn of(binding: &Binding, line: &BatchResult) -> Option<Unfinished> {
        let (contact, charged) = line.rest()?;
        Some(Unfinished::of_contact(binding, contact, charged.then(|| line.position.clone()), &line.failed))
    }

    /// The same of a contact as it is by now. `charged`: a credit was, with what is to be kept of the position, see
    /// [`leadlex_domain::position::Post::to_keep`].
    pub fn of_contact(
        binding: &Binding,
        contact: &Contact,
        charged: Option<Option<String>>,
        failed: &[ProviderAttempt],
    ) -> Unfinished {
        let paid = charged.map(|position| paid_for(binding, contact).at(position));
        let failed = failed.iter().filter(|one| !one.has_answered()).cloned().collect();
        Unfinished { id: contact.id.clone(), paid_for: paid.map(|paid| paid.to_text()), failed }
    }

    /// Those that were not charged, and those that were; of both, those at which the same providers failed. These are asked again when
    /// it is time.
    pub fn jobs(some: Vec<Unfinished>) -> Vec<Continuation> {
        let mut jobs: BTreeMap<_, Vec<Unfinished>> = BTreeMap::new();
        for left in some {
            jobs.entry((left.paid_for.is_some(), left.failed.clone())).or_default().push(left);
        }
        let (policy, revisions) = (settings::job_policy(), Revisions::now());
        let going = |((charged, failed), some): ((bool, Vec<ProviderAttempt>), Vec<Unfinished>)| {
            let ids = some.iter().map(|left| left.id.clone()).collect();
            let paid: Paid = some.into_iter().filter_map(|left| Some((left.id, left.paid_for?))).collect();
            let progress = Progress { admitted: true, charged };
            let failed = policy.failed(&[], &failed, |name| revisions.of(name), (now_us(), 1.0));
            Continuation { progress, ids, paid_for: charged.then_some(paid), failed }
        };
        jobs.into_iter().map(going).collect()
    }
}

/// For whom a credit is charged with this contact.
pub fn paid_for(binding: &Binding, contact: &Contact) -> PaidFor {
    PaidFor::of(&receipt::person(binding.name(), &contact.id), &provider::person(contact))
}

/// Queues what comes later of contacts that a call has admitted, where the caller wants that; whether it did.
pub fn add_pending(rest: &Rest<'_>, contacts: Vec<Unfinished>) -> bool {
    if contacts.is_empty() || !settings::queues_pending() {
        return false;
    }
    let role = role::caller();
    if !role::can_have_workers(role) {
        pgrx::warning!(
            "what comes later is not queued: the role {} may not log in, as background workers for its jobs have to before PostgreSQL 17",
            role::name_of(role)
        );
        return false;
    }
    for Continuation { progress, ids, paid_for, failed } in Unfinished::jobs(contacts) {
        add_as_caller(&Rest { progress, failed, ..*rest }, ids, paid_for.as_ref());
    }
    true
}

/// For the trigger of a table: on its owner's authority, which is looked at when the jobs run.
pub fn add_for_owner(
    role: pg_sys::Oid,
    binding: &Binding,
    workspace: Uuid,
    fields: FieldSet,
    contact_ids: Vec<String>,
    (progress, paid_for, failed): (Progress, Option<&Paid>, Vec<FailedProvider>),
) {
    let name = role::name_of(role);
    let job = Job {
        workspace,
        role: &name,
        authority: Authority::TableOwner,
        schema: &binding.schema,
        table: &binding.table,
        fields,
        overwrite: false,
        progress,
        paid_for,
        priority: 0,
        settings: progress.admitted.then(settings::of_a_call),
        failed,
    };
    add(&job, role, contact_ids);
}

/// Jobs of this role wait, once this transaction is committed.
pub fn note(role: pg_sys::Oid) {
    let role = role.to_u32();
    transaction::with(|t| {
        if !t.queued.contains(&role) {
            t.queued.push(role);
        }
    });
}

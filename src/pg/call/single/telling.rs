//! What a call about one contact tells, and what it leaves for later.

use crate::pg::call::enqueue::{self, Rest, Unfinished};
use crate::pg::call::outcome;
use crate::pg::call::single::{SingleCall, open_account, rate_status};
use crate::pg::call::writing;
use crate::pg::limits::credits;
use crate::pg::store::jobs;
use crate::pg::sys::clock;
use leadlex_domain::ask::Ask;
use leadlex_domain::batch::{BatchResult, Status};
use leadlex_domain::call_error::{Code, Failure};
use leadlex_domain::fields::{FieldMap, FieldSet};
use leadlex_domain::reply::{self, Reply, Told};
use leadlex_domain::steps::{CallOutcome, Steps};

impl SingleCall<'_> {
    pub fn reply(&mut self, steps: Steps, ask: &Ask) -> Result<Told, Failure> {
        let rate_limit = rate_status(self.caller, self.account).tightest();
        let pending = steps.pending().is_some_and(|pending| !pending.given_up);
        let queued = pending && self.queue_rest(&steps, ask);
        let (came, contact) = steps.into_outcome();
        let (fields_updated, origin, field_origins) = match came {
            CallOutcome::Enriched { updated, origin, origins } => (updated, Some(origin), *origins),
            CallOutcome::Unchanged(origin) => (FieldSet::EMPTY, origin, FieldMap::default()),
            CallOutcome::Failed(_) if queued => (FieldSet::EMPTY, None, FieldMap::default()),
            CallOutcome::Failed(failure) => {
                return Err(match &contact {
                    Some(contact) => outcome::explained(failure, contact),
                    None => failure,
                });
            }
            CallOutcome::Replayed(stored) => {
                self.drop_claims();
                return Ok(Told::Again(reply::replay(stored, self.request_id, self.credits(), rate_limit)));
            }
            CallOutcome::Several(..) | CallOutcome::UpdateDenied | CallOutcome::Raised(_) => {
                unreachable!("raised where a call about one contact comes to it")
            }
        };
        if origin.is_none() && ask.key.is_none() {
            self.drop_claims();
        }
        let reply = Reply {
            contact: contact.expect("a contact that was read"),
            fields_updated,
            origin,
            field_origins,
            credits_remaining: self.credits(),
            request_id: self.request_id,
            rate_limit,
            pending,
            cost: self.noted.costs(),
            asked: std::mem::take(&mut self.asked),
        };
        Ok(Told::New(Box::new(reply)))
    }

    /// What came to nothing is looked at once more: raises 40001 if the row is about somebody else by now, of whom that is not so.
    /// A row that is gone is not found.
    pub(super) fn look_at_row_again(&self, steps: &mut Steps) {
        const AT_ONCE_US: i64 = 10_000;
        let took = clock::now_us() - self.began_at;
        if took < AT_ONCE_US
            || steps.heard().is_empty()
            || !matches!(steps.outcome(), Some(CallOutcome::Failed(_)))
        {
            return;
        }
        let Some(now) = self.binding.read(self.workspace(), &self.id) else { return steps.vanished() };
        let asked = writing::AskedProviders {
            workspace: self.workspace(),
            providers: &self.providers,
            crowd: &self.crowd,
        };
        if !asked.is_still(steps.heard(), steps.contact(), &now) {
            writing::IdentityChanged.refuse(&self.id);
        }
    }

    /// Why the contact was not enriched, for leadlex.last_outcome.
    pub fn note_outcome(&self, result: &Result<Told, Failure>) {
        let line = match result {
            Ok(Told::New(reply)) if reply.pending && reply.fields_updated.is_empty() => {
                let line = BatchResult::done(self.request_id, reply.contact.clone(), FieldSet::EMPTY, None);
                BatchResult { status: Status::Pending, ..line }
            }
            Ok(Told::New(_)) => return outcome::note(self.workspace(), vec![outcome::Told::well(self.row)]),
            // What became of it was noted when the result was new.
            Ok(Told::Again(_)) => return,
            Err(failure) => match failure.code {
                // No contact, or another call than it seems.
                Code::NotFound | Code::ValidationError | Code::IdempotencyMismatch => return,
                _ => {
                    let line = BatchResult::failed(self.request_id, failure, None);
                    let comes = failure.reason() == Some("pending");
                    if comes { BatchResult { status: Status::Pending, ..line } } else { line }
                }
            },
        };
        outcome::note(self.workspace(), vec![outcome::Told::of(&self.binding, self.row, &self.id, &line)]);
    }

    /// Queues what comes later, where the caller wants that.
    fn queue_rest(&self, steps: &Steps, ask: &Ask) -> bool {
        let charged = matches!(steps.outcome(), Some(CallOutcome::Enriched { .. }));
        let charged = charged.then(|| steps.position_to_keep(&self.row));
        let rest = Rest {
            workspace: self.workspace(),
            binding: &self.binding,
            fields: ask.fields,
            overwrite: self.overwrite,
            progress: jobs::Progress::default(),
            priority: 0,
            failed: Vec::new(),
        };
        let left = Unfinished::of_contact(&self.binding, steps.latest(), charged, steps.failed());
        enqueue::add_pending(&rest, vec![left])
    }

    /// Credits left in the workspace; `None`: it has no limit.
    fn credits(&mut self) -> Option<i64> {
        let limited = self.caller.workspace.has_credit_limit;
        limited.then(|| credits::balance(open_account(self.caller, self.account)))
    }
}

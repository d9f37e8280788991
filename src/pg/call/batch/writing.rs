//! Step 11 for a set: contacts, ledger and history, each by one statement for many. Where something of a set is refused,
//! halves of it are tried, so that it is found; what a constraint refuses is left out, and the rest of those contacts is
//! written together again.

use std::rc::Rc;

use crate::pg::call::batch::member::Member;
use crate::pg::call::batch::{Batch, PORTION};
use crate::pg::call::history;
use crate::pg::call::ownership;
use crate::pg::call::writing;
use crate::pg::call::writing::Saved;
use crate::pg::provider;
use crate::pg::provider::Rejected;
use crate::pg::provider::uses;
use crate::pg::store::ledger;
use crate::pg::sys::authorship::Writing;
use crate::pg::sys::raise;
use crate::pg::sys::spi;
use crate::pg::sys::spi::Caught;
use crate::pg::table;
use crate::pg::table::{Change, Fitted, FoundRow, Rejection, StatusWrite};
use leadlex_domain::call_error::short;
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::merge;
use leadlex_domain::position::Post;
use leadlex_domain::row_status::RowStatus;
use leadlex_domain::steps::{CallOutcome, Event, Raised, Step, Steps};

/// What has become of an offer; `Ok(None)`: the contact is gone.
type WriteOutcome = Result<Option<Saved>, Caught>;

/// What is written of an offer, and what its table has refused by now.
struct Plan<'o> {
    change: Change<'o>,
    post: &'o Post,
    rejections: Vec<Rejection>,
    /// What the row says of it; nothing where its table has refused that.
    status: StatusWrite,
    /// See [`leadlex_domain::steps::Written::apart`].
    apart: bool,
    /// `None`: it has not been written.
    row: Option<Contact>,
    failed: Option<Caught>,
}

/// What the table refused in this call, with how many contacts: once told is enough.
pub struct Told {
    rejection: Rejection,
    first: String,
    contacts: u64,
}

impl Batch<'_> {
    /// Writes what is finished, at most a portion, and tells of it.
    pub fn write(&mut self) {
        let count = self.finished.len().min(PORTION);
        let mut members: Vec<Box<Member>> = self.finished.drain(..count).collect();
        if members.is_empty() {
            return;
        }
        self.progress.writing();
        let written = self.write_all(&members);
        self.note_rejections(&members, &written);
        for (member, written) in members.iter_mut().zip(written) {
            member.steps.next(match written {
                Ok(saved) => Event::Written(saved.map(|saved| saved.written.into())),
                Err(Caught { sqlstate, message, .. }) => {
                    Event::End(CallOutcome::Raised(Raised { sqlstate: sqlstate.to_string(), message }))
                }
            });
        }
        let charged = self.charge(&members);
        if self.purse().is_some() {
            self.pool.settle(members.len() as i64, charged);
            self.short_of_credits = false;
        }
        for mut member in members {
            match member.steps.step() {
                Step::Charge => member.steps.next(Event::Charged),
                _ => member.steps.next(Event::Released),
            };
            self.conclude(member.claim, member.steps);
        }
    }

    /// What the table refused: is told at the end, and remembered now.
    fn note_rejections(&mut self, members: &[Box<Member>], written: &[WriteOutcome]) {
        let mut refused = Vec::new();
        for (member, outcome) in members.iter().zip(written) {
            let Ok(Some(saved)) = outcome else { continue };
            for rejection in &saved.rejections {
                self.count_rejection(rejection, &member.steps.contact().id);
            }
            refused.push(Rejected {
                workspace: self.workspace(),
                past: &member.past,
                origins: &member.steps.gathered().origins,
                fields: saved.not_taken,
            });
        }
        provider::note_rejections(&self.providers.all, &refused);
    }

    fn count_rejection(&mut self, rejection: &Rejection, id: &str) {
        let same = |told: &&mut Told| {
            let known = &told.rejection;
            known.fields == rejection.fields && known.caught.message == rejection.caught.message
        };
        match self.left_out.iter_mut().find(same) {
            Some(told) => told.contacts += 1,
            None => {
                self.left_out.push(Told { rejection: rejection.clone(), first: id.to_owned(), contacts: 1 })
            }
        }
    }

    /// One WARNING for each thing that the table refused, and one for each statement of the client: it can be of many sets.
    pub fn warn(&self) {
        for Told { rejection, first, contacts } in &self.left_out {
            let what = format!("{} {:?} {}", self.binding.name(), rejection.fields, rejection.caught.message);
            if !raise::is_first_of_statement(what) {
                continue;
            }
            let whose = match contacts {
                1 => format!("contact {}", short(first)),
                many => format!("{many} contacts ({} is the first)", short(first)),
            };
            self.binding.warn_rejected(&whose, rejection);
        }
    }

    fn write_all(&self, members: &[Box<Member>]) -> Vec<WriteOutcome> {
        let _authors = self.authors(members);
        let status = self.binding.status_write(RowStatus::Enriched);
        let mut plans: Vec<Plan> = members.iter().map(|member| self.plan(&member.steps, status)).collect();
        // What changes nothing is not written.
        let mut open: Vec<usize> =
            (0..plans.len()).filter(|at| !plans[*at].change.changes.is_empty()).collect();
        let mut missed = self.moved(&plans);
        // Each round leaves out at least one field of each that is in it, or what its row says.
        while !open.is_empty() {
            let mut again = Vec::new();
            let (silent, rest): (Vec<usize>, Vec<usize>) =
                open.iter().partition(|at| plans[**at].status.is_nothing());
            for some in [silent, rest].into_iter().filter(|some| !some.is_empty()) {
                self.write_together(&mut plans, &some, &mut again, &mut missed);
            }
            again.retain(|at| !plans[*at].change.changes.is_empty());
            open = again;
        }
        let mut outcomes: Vec<Option<WriteOutcome>> = (0..plans.len()).map(|_| None).collect();
        for at in missed {
            // Changed meanwhile, or declined by a trigger.
            outcomes[at] = Some(spi::caught(|| self.write_one(&members[at].steps), Caught::is_of_a_row));
        }
        let settle = |(mut plan, outcome): (Plan, Option<WriteOutcome>)| match (outcome, plan.failed.take()) {
            (Some(outcome), _) => outcome,
            (None, Some(caught)) => Err(caught),
            (None, None) => Ok(Some(plan.saved())),
        };
        plans.into_iter().zip(outcomes).map(settle).collect()
    }

    /// Of those that nothing would be written of, the ones whose row has changed since it was read.
    fn moved(&self, plans: &[Plan<'_>]) -> Vec<usize> {
        let still: Vec<usize> = (0..plans.len()).filter(|at| plans[*at].change.changes.is_empty()).collect();
        if still.is_empty() {
            return Vec::new();
        }
        let ids: Vec<&str> = still.iter().map(|at| plans[*at].change.before.id.as_str()).collect();
        let found = self.binding.read_many(self.workspace(), &ids);
        let has_moved = |(at, found): &(usize, FoundRow)| match found {
            FoundRow::Nothing => true,
            FoundRow::One(now) => **now != *plans[*at].change.before,
            FoundRow::Several(_) => false,
        };
        still.into_iter().zip(found).filter(has_moved).map(|(at, _)| at).collect()
    }

    /// For triggers of the table, if it has some: who writes each row.
    fn authors(&self, members: &[Box<Member>]) -> Option<Writing> {
        let author = |member: &Member| {
            let author = history::author(member.claim.request_id, member.steps.gathered());
            (member.steps.contact().id.clone(), Rc::new(author))
        };
        let authors = || members.iter().map(|member| author(member)).collect();
        self.binding.has_triggers().then(|| Writing::many(self.binding.relation(), authors()))
    }

    /// By one statement, or else in halves. `some`: at least one, and alike in their status. `again`: those of which something
    /// was left out now; `missed`: those of which nothing was written, without an error.
    fn write_together(
        &self,
        plans: &mut [Plan<'_>],
        some: &[usize],
        again: &mut Vec<usize>,
        missed: &mut Vec<usize>,
    ) {
        pgrx::check_for_interrupts!();
        let set: Vec<&Change> = some.iter().map(|at| &plans[*at].change).collect();
        let status = plans[some[0]].status;
        let write = || self.binding.write_many(self.workspace(), &set, status);
        let written = self.binding.caught_ahead_of_many(write, &set, status);
        match (written, some) {
            (Ok(rows), _) => {
                for (at, row) in some.iter().zip(rows) {
                    match row {
                        Some(row) => {
                            let plan = &mut plans[*at];
                            let (before, changes) = (plan.change.before, &plan.change.changes);
                            let binding = &self.binding;
                            let (row, apart) =
                                binding.without_apart(self.workspace(), (before, row), changes, plan.post);
                            (plan.row, plan.apart) = (Some(row), plan.apart || apart);
                        }
                        None => missed.push(*at),
                    }
                }
            }
            (Err(caught), _) if self.leaves_out_status(&caught, status, some.len()) => {
                some.iter().for_each(|at| plans[*at].status = StatusWrite::default());
                again.extend(some);
            }
            (Err(caught), [at]) => {
                let plan = &mut plans[*at];
                let fields = self.binding.concerned(&caught, &plan.change.changes);
                if fields.is_empty() {
                    plan.failed = Some(caught);
                    return;
                }
                plan.leave_out(Rejection { fields, caught });
                again.push(*at);
            }
            (Err(_), _) => {
                let (first, second) = some.split_at(some.len() / 2);
                self.write_together(plans, first, again, missed);
                self.write_together(plans, second, again, missed);
            }
        }
    }

    fn plan<'m>(&self, steps: &'m Steps, status: StatusWrite) -> Plan<'m> {
        let (before, values, post) = (steps.contact(), &steps.gathered().values, &steps.gathered().post);
        let wanted = merge::changes(before, values, steps.fields(), self.request.overwrite);
        let Fitted { changes, rejections } = self.binding.fit(before, wanted);
        let (changes, apart) = post.fitting(before, changes);
        let beside = post.goes_with(changes.fields()).intersect(self.binding.fields());
        let identifying: FieldSet = before.identifying_fields().iter().collect();
        let others = values.fields().union(identifying).union(beside);
        Plan {
            change: Change { before, changes, cleared: FieldSet::EMPTY, others },
            post,
            rejections,
            status,
            apart,
            row: None,
            failed: None,
        }
    }

    /// Raises 40001 where it is somebody else now; the lock on his row goes with that.
    fn write_one(&self, steps: &Steps) -> Option<Saved> {
        let gathered = steps.gathered();
        let overwrite = self.request.overwrite;
        let wanted = |now: &Contact| {
            let typed = ownership::typed_meanwhile(overwrite, steps.contact(), now);
            merge::changes(now, &gathered.values, steps.fields().minus(typed), overwrite)
        };
        let (before, others) = (steps.contact().clone(), (&*self.providers.all, &self.crowd));
        writing::write_changes(&self.binding, self.workspace(), others, before, gathered, wanted)
            .unwrap_or_else(|somebody_else| somebody_else.refuse(&steps.contact().id))
    }

    /// A credit for each contact that was changed; how many.
    fn charge(&mut self, members: &[Box<Member>]) -> i64 {
        let how = (&self.caller, &*self.binding, self.request.overwrite);
        let changed = || members.iter().filter(|member| member.steps.step() == Step::Charge);
        if self.request.overwrite {
            let all: Vec<_> = changed().map(|member| member.steps.enrichment()).collect();
            history::note_replaced(self.workspace(), &self.binding, &all);
        }
        let entries: Vec<ledger::Entry> = changed()
            .map(|member| {
                let enrichment = member.steps.enrichment();
                uses::note_used(self.workspace(), enrichment.updated, enrichment.origins);
                history::entry(member.claim.request_id, enrichment, how)
            })
            .collect();
        let paid = self.visit.as_ref().is_some_and(|visit| visit.charged);
        match paid {
            _ if entries.is_empty() => {}
            true => ledger::note_many(&entries),
            false => ledger::charge_many(&entries),
        }
        entries.len() as i64
    }
}

impl Plan<'_> {
    /// With a company goes what belongs to it.
    fn leave_out(&mut self, rejection: Rejection) {
        rejection.fields.iter().for_each(|field| self.change.changes.unset(field));
        self.rejections.push(rejection);
        let changes = std::mem::take(&mut self.change.changes);
        let (changes, apart) = self.post.fitting(self.change.before, changes);
        self.change.changes = changes;
        self.apart |= apart;
    }

    fn saved(self) -> Saved {
        let (before, changes) = (self.change.before, self.change.changes.fields());
        let declined =
            self.row.as_ref().map_or(FieldSet::EMPTY, |row| table::declined(before, changes, Some(row)));
        Saved::with(before.clone(), self.row, self.rejections, (declined, self.apart))
    }
}

//! Taking back what enrichments wrote: as the caller, only what still stands there, and so that it is not bought again.

use std::collections::HashMap;

use uuid::Uuid;

use crate::pg::call::history as call_history;
use crate::pg::call::preconditions;
use crate::pg::provider;
use crate::pg::provider::uses;
use crate::pg::store::history::{self, Whose, Written};
use crate::pg::store::{cache, checks, undone as stored};
use crate::pg::sys::spi::Caught;
use crate::pg::sys::{clock, settings, spi};
use crate::pg::table::{Binding, Change, FoundRow, StatusWrite, plain_name, quoted};
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldMap, FieldSet};
use leadlex_domain::hash::Hash;
use leadlex_domain::merge;
use leadlex_domain::receipt;
use leadlex_domain::row_status::RowStatus;
use leadlex_domain::taking_back::{FieldWrite, Restored, restored};
use leadlex_domain::undone::{self, Undone};

/// Contacts that are read, and written, by one statement.
const PORTION: usize = 256;
/// A row that somebody else changes again and again is left as it is.
const ROUNDS: usize = 3;

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevertStatus {
    Reverted,
    /// It holds something else than what stood there after the write.
    ChangedSince,
    /// The caller sees no such row. Where one may be hidden from it, nothing counts as taken back.
    Gone,
    /// The caller may not write it, or the table did not let it through.
    NotAllowed,
}

impl RevertStatus {
    pub const fn name(self) -> &'static str {
        match self {
            RevertStatus::Reverted => "reverted",
            RevertStatus::ChangedSince => "changed_since",
            RevertStatus::Gone => "gone",
            RevertStatus::NotAllowed => "not_allowed",
        }
    }
}

/// A field of a contact that was to be taken back.
pub struct Taken {
    /// The table, qualified and quoted.
    pub relation: String,
    pub contact: String,
    pub field: Field,
    /// What the enrichment wrote.
    pub value: Option<String>,
    /// What stands there in its place, where it was taken back.
    pub restored: Option<String>,
    pub status: RevertStatus,
}

/// How it is done.
pub struct Undoing<'a> {
    /// Which fields of which writes are meant.
    pub asked: &'a dyn Fn(&Written, Field) -> bool,
    /// Only says what would be.
    pub dry_run: bool,
    /// Of one enrichment: what the caller may not do is raised by Postgres.
    pub strict: bool,
    /// Has answers to these questions that are on their way written into the tables.
    pub wait: &'a dyn Fn(&[Hash]),
}

impl Undoing<'_> {
    /// Takes that back of these contacts, which are in the order of workspace and table.
    ///
    /// Raises 42501 where `strict`. 40001: a row or its history has changed since the transaction's one snapshot.
    /// Errors of the update of the contacts pass through.
    pub fn run(&self, contacts: &[Whose]) -> Vec<Taken> {
        let same_table =
            |a: &Whose, b: &Whose| (a.workspace, &a.schema, &a.table) == (b.workspace, &b.schema, &b.table);
        let mut all = Vec::new();
        for of_table in contacts.chunk_by(same_table) {
            for portion in of_table.chunks(PORTION) {
                pgrx::check_for_interrupts!();
                all.extend(self.portion(portion));
            }
        }
        all
    }

    fn portion(&self, whose: &[Whose]) -> Vec<Taken> {
        let Whose { workspace, schema, table, .. } = &whose[0];
        let ids: Vec<&str> = whose.iter().map(|whose| whose.contact.as_str()).collect();
        let writes = history::of_contacts(*workspace, (schema, table), &ids);
        let binding = cache::bindings().iter().find(|b| b.schema == *schema && b.table == *table).cloned();
        let binding =
            binding.filter(|b| (self.strict || b.relation().is_some()) && b.may_have_rows_of(*workspace));
        let mut cases: Vec<Case> =
            ids.iter().filter_map(|id| Some(Case::new(id, writes.get(*id)?))).collect();
        match &binding {
            Some(binding) => self.settle(*workspace, binding, &mut cases),
            // Of a table that is not there for now (it is swapped), or is another workspace's, nothing is known.
            None => cases.iter_mut().for_each(|case| {
                case.unseen = true;
                case.all(self, RevertStatus::Gone);
            }),
        }
        if !self.dry_run {
            self.remember(*workspace, binding.as_deref(), (schema, table), &cases);
        }
        let relation = plain_name(schema, table);
        cases.into_iter().flat_map(|case| case.told(&relation)).collect()
    }

    /// Finds out what becomes of each field, and writes it.
    fn settle(&self, workspace: Uuid, binding: &Binding, cases: &mut [Case]) {
        if !self.strict && !binding.is_readable() {
            return cases.iter_mut().for_each(|case| case.all(self, RevertStatus::NotAllowed));
        }
        let updatable = if self.strict { FieldSet::ALL } else { binding.updatable() };
        let mut open: Vec<usize> = (0..cases.len()).collect();
        self.look(workspace, binding, cases, &open);
        for round in 0..ROUNDS {
            open.iter().for_each(|at| cases[*at].plan(self, updatable));
            open.retain(|at| cases[*at].is_planned());
            if self.dry_run {
                return refuse_as_policies_do(workspace, binding, cases, &open);
            }
            if open.is_empty() {
                return;
            }
            open = write(workspace, binding, cases, &open, !self.strict && binding.hides_rows());
            let before: Vec<Option<Contact>> = open.iter().map(|at| cases[*at].now.clone()).collect();
            self.look(workspace, binding, cases, &open);
            let last = round + 1 == ROUNDS;
            let mut again = Vec::new();
            for (at, before) in open.into_iter().zip(before) {
                match cases[at].now == before {
                    // A trigger or rule has declined.
                    true => cases[at].refuse(RevertStatus::NotAllowed),
                    false if last => cases[at].refuse(RevertStatus::ChangedSince),
                    false => again.push(at),
                }
            }
            open = again;
        }
    }

    /// Reads the rows as they are now.
    fn look(&self, workspace: Uuid, binding: &Binding, cases: &mut [Case], some: &[usize]) {
        // A key that the table's type does not know any more is no row's.
        let known: Vec<(usize, String)> =
            some.iter().filter_map(|at| Some((*at, binding.canonical_key(cases[*at].id)?))).collect();
        let may_hide = binding.may_hide_rows();
        for at in some {
            (cases[*at].now, cases[*at].unseen) = (None, may_hide);
        }
        let ids: Vec<&str> = known.iter().map(|(_, id)| id.as_str()).collect();
        let found = binding.read_many(workspace, &ids);
        let update_denied = binding.update_denied(workspace, &ids);
        for (((at, id), found), update_denied) in known.iter().zip(found).zip(update_denied) {
            let case = &mut cases[*at];
            case.update_denied = update_denied && matches!(found, FoundRow::One(_));
            case.now = match found {
                FoundRow::One(contact) => Some(*contact),
                FoundRow::Nothing => None,
                // Raises what a call about it does.
                FoundRow::Several(_) if self.strict => binding.read(workspace, id),
                FoundRow::Several(_) => {
                    case.update_denied = true;
                    None
                }
            };
        }
    }

    /// In the history and for the calls to come; of what the caller may not write, or may not see, nothing.
    fn remember(&self, workspace: Uuid, binding: Option<&Binding>, table: (&str, &str), cases: &[Case]) {
        let providers = cache::providers();
        let terms = settings::receipt_terms();
        let name = binding.map_or_else(
            || format!("{}.{}", quoted(table.0), quoted(table.1)),
            |binding| binding.name().to_owned(),
        );
        let (mut marks, mut values) = (Vec::new(), Vec::new());
        let mut questions: HashMap<Hash, FieldSet> = HashMap::new();
        for case in cases {
            let row = receipt::person(&name, case.id);
            let mut taken: HashMap<Uuid, FieldSet> = HashMap::new();
            let mut replaced = FieldSet::EMPTY;
            for (at, written) in case.writes.iter().enumerate() {
                let fields = case.settled(self, written);
                for field in fields.iter().filter(|field| case.is_reverted(*field)) {
                    let was_there = !replaced.contains(field);
                    uses::note_reverted(workspace, written.source(field), field, was_there);
                }
                replaced = replaced.union(written.fields.minus(written.reverted));
                if fields.is_empty() {
                    continue;
                }
                marks.push((written.request_id, fields));
                for field in fields.iter() {
                    let provider = providers.iter().find(|p| p.name == written.source(field));
                    let (Some(provider), Some(value)) = (provider, written.offered(field)) else { continue };
                    taken.entry(provider.id).or_default().insert(field);
                    let value = undone::value(workspace, provider.id, field, value);
                    // As it stands now, where that is who it was then.
                    let same = case.now.as_ref().filter(|now| {
                        written.identity.is_some()
                            && call_history::is_about(workspace, now, &case.writes[..=at])
                    });
                    let identity = same.map(|now| undone::identity(workspace, now)).or(written.identity);
                    values.push((
                        row,
                        Undone { provider: provider.id, field, value, identity, at: clock::now_us() },
                    ));
                }
            }
            let Some(contact) = &case.now else { continue };
            let person = provider::person(contact);
            for provider in providers.iter() {
                let Some(fields) = taken.get(&provider.id) else { continue };
                for question in provider::kept_under(workspace, provider, &person, contact, row) {
                    let entry = questions.entry(question).or_default();
                    *entry = entry.union(*fields);
                }
            }
        }
        history::mark_reverted(workspace, &marks);
        // What was found out about what stood there says nothing of what stands there now.
        for field in FieldSet::ALL.iter() {
            let of_field = |case: &&Case| case.is_reverted(field);
            let ids: Vec<&str> = cases.iter().filter(of_field).map(|case| case.id).collect();
            if !ids.is_empty() {
                checks::forget(workspace, table, &ids, Some([field].into_iter().collect()));
            }
        }
        if terms.recheck_us > 0 {
            stored::remember(workspace, &values);
            (self.wait)(&questions.keys().copied().collect::<Vec<_>>());
            stored::take_from_receipts(workspace, &questions.into_iter().collect::<Vec<_>>());
        }
    }
}

/// Writes what is planned; those that were not written. With `policies`, what these refuse is not written.
fn write(
    workspace: Uuid,
    binding: &Binding,
    cases: &mut [Case],
    some: &[usize],
    policies: bool,
) -> Vec<usize> {
    let changes: Vec<Change> = some.iter().map(|at| cases[*at].change()).collect();
    let all: Vec<&Change> = changes.iter().collect();
    let written = match policies {
        true => write_what_policies_let(workspace, binding, &all),
        false => binding.write_many_at_least(workspace, &all, binding.status_write(RowStatus::Reverted)),
    };
    drop(changes);
    let mut missed = Vec::new();
    for (at, after) in some.iter().zip(written) {
        match after {
            Some(after) => cases[*at].done(after),
            None => missed.push(*at),
        }
    }
    missed
}

/// By one statement, or else in halves. `None`: it was not written.
fn write_what_policies_let(
    workspace: Uuid,
    binding: &Binding,
    changes: &[&Change<'_>],
) -> Vec<Option<Contact>> {
    let status = binding.status_write(RowStatus::Reverted);
    // What one row is to say of it, and may not, is left out there alone.
    let alone = changes.len() == 1;
    let write_all = || match alone {
        true => binding.write_many_at_least(workspace, changes, status),
        false => binding.write_many(workspace, changes, status),
    };
    let is_of_some = |caught: &Caught| {
        binding.is_refused_by_policy(caught)
            || !alone && !status.is_nothing() && binding.is_about_status(caught)
    };
    match spi::caught(write_all, is_of_some) {
        Ok(written) => written,
        Err(_) if changes.len() == 1 => vec![None],
        Err(_) => {
            let (first, second) = changes.split_at(changes.len() / 2);
            let mut written = write_what_policies_let(workspace, binding, first);
            written.extend(write_what_policies_let(workspace, binding, second));
            written
        }
    }
}

/// Only policies know what they refuse. So the rows are written and rolled back, where that runs no trigger.
fn refuse_as_policies_do(workspace: Uuid, binding: &Binding, cases: &mut [Case], some: &[usize]) {
    let can_try = binding.hides_rows() && !binding.has_triggers() && !preconditions::read_only();
    if !can_try || some.is_empty() {
        return;
    }
    let changes: Vec<Change> = some.iter().map(|at| cases[*at].change()).collect();
    let refused = refused_by_policies(workspace, binding, &changes.iter().collect::<Vec<_>>());
    drop(changes);
    for (at, _) in some.iter().zip(refused).filter(|(_, refused)| *refused) {
        cases[*at].refuse(RevertStatus::NotAllowed);
    }
}

fn refused_by_policies(workspace: Uuid, binding: &Binding, changes: &[&Change<'_>]) -> Vec<bool> {
    let status = binding.status_write(RowStatus::Reverted);
    let write_all = || drop(binding.write_many(workspace, changes, status));
    match spi::tried(write_all, Caught::is_of_a_row) {
        Ok(()) => vec![false; changes.len()],
        // Where it is what the row is to say of it, the fields are written without.
        Err(caught) if changes.len() == 1 => {
            let write_fields = || drop(binding.write_many(workspace, changes, StatusWrite::default()));
            let refused = binding.is_refused_by_policy(&caught);
            let also = |caught: Caught| binding.is_refused_by_policy(&caught);
            vec![refused && spi::tried(write_fields, Caught::is_of_a_row).is_err_and(also)]
        }
        Err(_) => {
            let (first, second) = changes.split_at(changes.len() / 2);
            let mut refused = refused_by_policies(workspace, binding, first);
            refused.extend(refused_by_policies(workspace, binding, second));
            refused
        }
    }
}

/// A contact of which something is to be taken back.
struct Case<'a> {
    id: &'a str,
    /// All of it, the latest first.
    writes: &'a [Written],
    /// As it stands; `None`: there is none.
    now: Option<Contact>,
    /// The caller may not write it.
    update_denied: bool,
    /// Where there is none: it may be there, and the caller does not see it.
    unseen: bool,
    /// What its fields are to hold.
    plan: FieldMap<Option<String>>,
    outcomes: FieldMap<(RevertStatus, Option<String>)>,
    /// The latest value of each field that is meant.
    values: FieldMap<Option<String>>,
}

impl<'a> Case<'a> {
    fn new(id: &'a str, writes: &'a [Written]) -> Case<'a> {
        Case {
            id,
            writes,
            now: None,
            update_denied: false,
            unseen: false,
            plan: FieldMap::default(),
            outcomes: FieldMap::default(),
            values: FieldMap::default(),
        }
    }

    /// The fields that are meant, and were not taken back before.
    fn asked(&self, undoing: &Undoing<'_>, written: &Written) -> FieldSet {
        let open = written.fields.minus(written.reverted);
        open.iter().filter(|field| (undoing.asked)(written, *field)).collect()
    }

    fn meant(&mut self, undoing: &Undoing<'_>) -> FieldSet {
        let mut all = FieldSet::EMPTY;
        for written in self.writes {
            for field in self.asked(undoing, written).minus(all).iter() {
                self.values.set(field, written.after(field).map(str::to_owned));
                all.insert(field);
            }
        }
        all
    }

    fn all(&mut self, undoing: &Undoing<'_>, status: RevertStatus) {
        for field in self.meant(undoing).iter() {
            self.outcomes.set(field, (status, None));
        }
    }

    fn plan(&mut self, undoing: &Undoing<'_>, updatable: FieldSet) {
        self.plan = FieldMap::default();
        for field in self.meant(undoing).iter() {
            let writes: Vec<FieldWrite> =
                self.writes.iter().filter_map(|written| self.of_field(undoing, written, field)).collect();
            let Some(now) = &self.now else {
                let status = if self.update_denied { RevertStatus::NotAllowed } else { RevertStatus::Gone };
                self.outcomes.set(field, (status, None));
                continue;
            };
            let outcome = match restored(now.value(field), writes.iter()) {
                Restored::ChangedSince => (RevertStatus::ChangedSince, None),
                Restored::Value(_) if self.update_denied || !updatable.contains(field) => {
                    (RevertStatus::NotAllowed, None)
                }
                Restored::Value(value) => {
                    self.plan.set(field, value.clone());
                    (RevertStatus::Reverted, value)
                }
            };
            self.outcomes.set(field, outcome);
        }
    }

    fn of_field(&self, undoing: &Undoing<'_>, written: &Written, field: Field) -> Option<FieldWrite> {
        written.fields.contains(field).then(|| FieldWrite {
            asked: (undoing.asked)(written, field),
            at: written.at,
            reverted_at: written.reverted_at.get(field).copied(),
            old: written.before(field).map(str::to_owned),
            new: written.after(field).map(str::to_owned),
        })
    }

    fn is_planned(&self) -> bool {
        !self.plan.is_empty()
    }

    fn change(&self) -> Change<'_> {
        let values = self.plan.iter().filter_map(|(field, value)| Some((field, value.clone()?)));
        let changes: FieldMap<String> = values.collect();
        let cleared = self.plan.fields().minus(changes.fields());
        let before = self.now.as_ref().expect("planned for a row that is there");
        Change { before, changes, cleared, others: FieldSet::EMPTY }
    }

    /// What a trigger of the table did not let through is not reverted.
    fn done(&mut self, after: Contact) {
        let before = self.now.replace(after);
        let (Some(before), Some(after)) = (before, &self.now) else { return };
        let rewritten = merge::rewritten(&before, after, self.plan.fields());
        for field in self.plan.fields().iter() {
            // What leads back to what stands there needs no change.
            let stands = self.plan.get(field).is_some_and(|value| value.as_deref() == before.value(field));
            let outcome = match stands || rewritten.contains(field) {
                true => (RevertStatus::Reverted, after.value(field).map(str::to_owned)),
                false => (RevertStatus::NotAllowed, None),
            };
            self.outcomes.set(field, outcome);
        }
    }

    /// Nothing that was planned came about.
    fn refuse(&mut self, status: RevertStatus) {
        for field in self.plan.fields().iter() {
            self.outcomes.set(field, (status, None));
        }
    }

    /// The fields of this write that are over and done with.
    fn settled(&self, undoing: &Undoing<'_>, written: &Written) -> FieldSet {
        let over = |field: &Field| match self.outcomes.get(*field) {
            None | Some((RevertStatus::NotAllowed, _)) => false,
            Some((RevertStatus::Gone, _)) => !self.unseen,
            Some(_) => true,
        };
        let nothing_reverted =
            !self.outcomes.iter().any(|(_, (status, _))| *status == RevertStatus::Reverted);
        // One enrichment of which nothing could be taken back is as it was.
        if undoing.strict && nothing_reverted {
            return FieldSet::EMPTY;
        }
        self.asked(undoing, written).iter().filter(over).collect()
    }

    fn is_reverted(&self, field: Field) -> bool {
        self.outcomes.get(field).is_some_and(|(status, _)| *status == RevertStatus::Reverted)
    }

    fn told(self, relation: &str) -> Vec<Taken> {
        let Case { id, outcomes, values, .. } = self;
        let tell = |(field, (status, restored)): (Field, &(RevertStatus, Option<String>))| Taken {
            relation: relation.to_owned(),
            contact: id.to_owned(),
            field,
            value: values.get(field).cloned().flatten(),
            restored: restored.clone(),
            status: *status,
        };
        outcomes.iter().map(tell).collect()
    }
}

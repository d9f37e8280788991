//! Writing what is known from the history into fields that are empty now: a reload has wiped them.

use uuid::Uuid;

use crate::pg::call::history as call_history;
use crate::pg::store::history;
use crate::pg::store::history::Written;
use crate::pg::sys::settings;
use crate::pg::table::{Binding, Change, FoundRow};
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldMap, FieldSet};
use leadlex_domain::people::company;
use leadlex_domain::people::value::is_empty;
use leadlex_domain::position::{Position, Post};
use leadlex_domain::row_status::RowStatus;

/// Contacts that are read, and written, by one statement.
const PORTION: usize = 256;

/// Refills the rows with these keys, as the caller: how many were changed. What a constraint of the table refuses is left out.
pub fn refill(workspace: Uuid, binding: &Binding, ids: &[&str], fields: FieldSet) -> u64 {
    let mut changed = 0;
    for portion in ids.chunks(PORTION) {
        pgrx::check_for_interrupts!();
        let found = binding.read_many(workspace, portion);
        let contacts = found.into_iter().filter_map(|found| match found {
            FoundRow::One(contact) => Some(*contact),
            _ => None,
        });
        changed += refill_contacts(workspace, binding, &contacts.collect::<Vec<_>>(), fields);
    }
    changed
}

/// The same of all rows of the workspace that the caller sees.
pub fn refill_all(workspace: Uuid, binding: &Binding, fields: FieldSet) -> u64 {
    let mut changed = 0;
    binding.each(workspace, |contacts| {
        for portion in contacts.chunks(PORTION) {
            changed += refill_contacts(workspace, binding, portion, fields);
        }
        true
    });
    changed
}

fn refill_contacts(workspace: Uuid, binding: &Binding, contacts: &[Contact], fields: FieldSet) -> u64 {
    let fields = fields.intersect(binding.fields());
    let wanted = |contact: &&Contact| !contact.empty_fields().intersect(fields).is_empty();
    let open: Vec<&Contact> = contacts.iter().filter(wanted).collect();
    if open.is_empty() {
        return 0;
    }
    let ids: Vec<&str> = open.iter().map(|contact| contact.id.as_str()).collect();
    let writes = history::of_contacts(workspace, (&binding.schema, &binding.table), &ids);
    let change = |contact: &&'_ Contact| {
        let known = known(workspace, contact, writes.get(&contact.id)?, fields);
        (!known.is_empty()).then(|| (contact.id.clone(), known))
    };
    let known: Vec<(String, FieldMap<String>)> = open.iter().filter_map(change).collect();
    let changes: Vec<Change> = known
        .into_iter()
        .filter_map(|(id, changes)| {
            let before = open.iter().find(|contact| contact.id == id)?;
            Some(Change { before, changes, cleared: FieldSet::EMPTY, others: FieldSet::EMPTY })
        })
        .collect();
    write(workspace, binding, &changes.iter().collect::<Vec<_>>())
}

/// The latest value of each field that is empty now; none of a contact that was somebody else then. `writes`: the latest first.
fn known(workspace: Uuid, contact: &Contact, writes: &[Written], fields: FieldSet) -> FieldMap<String> {
    let mut known = FieldMap::default();
    for field in contact.empty_fields().intersect(fields).iter() {
        let stands = |w: &&Written| w.fields.contains(field) && !w.reverted.contains(field);
        let Some(at) = writes.iter().position(|write| stands(&write)) else { continue };
        let latest = &writes[at];
        let is_same = call_history::is_about(workspace, contact, &writes[..=at]);
        if let Some(value) = latest.after(field).filter(|value| is_same && !is_empty(field, Some(value))) {
            known.set(field, value.to_owned());
        }
    }
    if settings::position() == Position::Together {
        leave_other_positions(contact, writes, &mut known);
    }
    known
}

/// Without title and seniority of another company than the contact has afterwards: what was written last of the company, with them
/// or before them, says whose they are.
fn leave_other_positions(contact: &Contact, writes: &[Written], known: &mut FieldMap<String>) {
    let stored = contact.value(Field::COMPANY_NAME).filter(|name| !is_empty(Field::COMPANY_NAME, Some(name)));
    let Some(company) = stored.or(known.get(Field::COMPANY_NAME).map(String::as_str)).map(str::to_owned)
    else {
        return;
    };
    for field in [Field::JOB_TITLE, Field::SENIORITY] {
        let stands = |w: &Written| w.fields.contains(field) && !w.reverted.contains(field);
        let Some(at) = writes.iter().position(stands) else { continue };
        let mut companies = writes[at..].iter().filter(|w| w.fields.contains(Field::COMPANY_NAME));
        let its = companies.next().and_then(|w| w.after(Field::COMPANY_NAME));
        if !its.is_some_and(|its| company::same(its, &company)) {
            known.unset(field);
        }
    }
}

/// By one statement, or else in halves: how many.
fn write(workspace: Uuid, binding: &Binding, changes: &[&Change<'_>]) -> u64 {
    if changes.is_empty() {
        return 0;
    }
    let status = binding.status_write(RowStatus::Enriched);
    let write_all = || binding.write_many_at_least(workspace, changes, status);
    let written = binding.caught_ahead_of_many(write_all, changes, status);
    match (written, changes) {
        (Ok(rows), _) => rows.iter().flatten().count() as u64,
        (Err(_), [one]) => {
            // What the table does not take is left out; all else is raised.
            let saved = binding.save(
                workspace,
                one.before,
                one.changes.iter().map(|(field, value)| (field, value.clone())).collect(),
                &Post::default(),
                FieldSet::EMPTY,
            );
            u64::from(saved.row.is_some())
        }
        (Err(_), many) => {
            let (first, second) = many.split_at(many.len() / 2);
            write(workspace, binding, first) + write(workspace, binding, second)
        }
    }
}

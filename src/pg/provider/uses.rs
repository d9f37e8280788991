//! Who supplied what was written, replaced and taken back: it counts when the transaction commits.

use uuid::Uuid;

use crate::pg::provider::budget_events::sum_key;
use crate::pg::shared::budgets::EntryKey;
use crate::pg::shared::transaction::{self, UsedFields};
use crate::pg::store::cache;
use crate::pg::store::history::Written;
use crate::pg::sys::{clock, role};
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldMap, FieldSet};
use leadlex_domain::money::quality::Uses;
use leadlex_domain::money::windows::day_of;
use leadlex_domain::reply::Origin;

/// Notes which provider supplied what was written now.
pub fn note_used(workspace: Uuid, updated: FieldSet, origins: &FieldMap<Origin>) {
    for field in updated.iter() {
        if let Some(origin) = origins.get(field) {
            note(workspace, &origin.source, |uses| uses.used[field.index()] += 1);
        }
    }
}

/// Notes whose values were replaced by that. `writes`: what enrichments had written into the contact, the latest first.
pub fn note_replaced(workspace: Uuid, before: &Contact, updated: FieldSet, writes: &[Written]) {
    for field in updated.minus(before.empty_fields()).iter() {
        let latest = writes.iter().find(|w| w.fields.contains(field) && !w.reverted.contains(field));
        if let Some(replaced) = latest.filter(|written| written.after(field) == before.value(field)) {
            note(workspace, replaced.source(field), |uses| uses.lost[field.index()] += 1);
        }
    }
}

/// Notes that what this provider supplied was taken back. `was_there`: nothing had replaced it.
pub fn note_reverted(workspace: Uuid, provider: &str, field: Field, was_there: bool) {
    note(workspace, provider, |uses| {
        uses.reverted[field.index()] += 1;
        uses.lost[field.index()] += u32::from(was_there);
    });
}

fn note(workspace: Uuid, provider: &str, change: impl FnOnce(&mut Uses)) {
    let (day, role) = (day_of(clock::now()), role::caller().to_u32());
    let subtransaction = transaction::subtransaction();
    let providers = cache::providers();
    let known = providers.iter().find(|known| known.name == provider);
    let price = known.and_then(|provider| provider.config.as_ref().ok()?.price());
    let of = sum_key(price.map(|price| price.currency), workspace, provider);
    let key = EntryKey { of, day, role };
    transaction::with(|t| {
        let alike = |used: &UsedFields| used.key == key && used.subtransaction == subtransaction;
        let at = t.used.iter().position(alike).unwrap_or_else(|| {
            t.used.push(UsedFields { key, uses: Uses::NONE, subtransaction });
            t.used.len() - 1
        });
        change(&mut t.used[at].uses);
    });
}

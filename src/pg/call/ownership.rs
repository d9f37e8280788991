//! leadlex.overwrite_scope: which values of a contact an enrichment wrote, and nobody has changed since.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::pg::store::history;
use crate::pg::store::history::Written;
use crate::pg::sys::settings;
use crate::pg::table::{Binding, FoundRow};
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldSet};

/// Of each of these contacts the fields that are not to be replaced: none where that is not asked for.
pub fn kept(workspace: Uuid, binding: &Binding, overwrite: bool, found: &[FoundRow]) -> Vec<FieldSet> {
    let mut kept = vec![FieldSet::EMPTY; found.len()];
    if !overwrite || !settings::overwrites_own_only() {
        return kept;
    }
    let with_values = |found: &FoundRow| match found {
        FoundRow::One(contact) if contact.empty_fields() != FieldSet::ALL => Some(contact.id.clone()),
        _ => None,
    };
    let ids: Vec<String> = found.iter().filter_map(with_values).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let writes = match ids.is_empty() {
        true => BTreeMap::new(),
        false => history::of_contacts(workspace, (&binding.schema, &binding.table), &ids),
    };
    for (found, kept) in found.iter().zip(&mut kept) {
        if let FoundRow::One(contact) = found {
            let writes = writes.get(&contact.id).map_or(&[] as &[Written], Vec::as_slice);
            *kept = typed(contact, writes);
        }
    }
    kept
}

/// The fields with a value that is not what the latest enrichment left there. `writes`: the latest first.
fn typed(contact: &Contact, writes: &[Written]) -> FieldSet {
    let is_own = |field: Field| {
        let latest = writes.iter().find(|w| w.fields.contains(field) && !w.reverted.contains(field));
        latest.is_some_and(|written| written.after(field) == contact.value(field))
    };
    FieldSet::ALL.minus(contact.empty_fields()).iter().filter(|field| !is_own(*field)).collect()
}

/// The fields that somebody has given another value meanwhile: where only own values are replaced, these are not.
pub fn typed_meanwhile(overwrite: bool, before: &Contact, now: &Contact) -> FieldSet {
    if !overwrite || before == now || !settings::overwrites_own_only() {
        return FieldSet::EMPTY;
    }
    let other = |field: &Field| before.value(*field) != now.value(*field);
    FieldSet::ALL.minus(now.empty_fields()).iter().filter(other).collect()
}

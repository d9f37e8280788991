//! A contact that was changed, as the ledger and the history have it.

use uuid::Uuid;

use crate::pg::provider::uses;
use crate::pg::store::history::{self, Written};
use crate::pg::store::ledger::Entry;
use crate::pg::sys::authorship::Author;
use crate::pg::sys::role;
use crate::pg::table::Binding;
use leadlex_domain::answered::Answered;
use leadlex_domain::contact::Contact;
use leadlex_domain::identity::Caller;
use leadlex_domain::reply::{FieldSources, FieldValues};
use leadlex_domain::steps::Enrichment;
use leadlex_domain::undone;
use leadlex_domain::waterfall::Gathered;

/// The row for ledger and history: the charge and what it changed.
pub fn entry<'a>(
    request_id: Uuid,
    enrichment: Enrichment<'a>,
    (caller, binding, overwrite): (&'a Caller, &'a Binding, bool),
) -> Entry<'a> {
    let Enrichment { updated, origin, origins, offered, before, after } = enrichment;
    let otherwise = offered
        .iter()
        .filter(|(field, value)| updated.contains(*field) && after.value(*field) != Some(value.as_str()));
    let earlier = origins.iter().filter_map(|(field, origin)| match origin.answered {
        Answered::Before(at) if updated.contains(field) => Some((field.name(), at)),
        _ => None,
    });
    Entry {
        workspace: caller.workspace.id,
        request_id,
        requested_by: role_name(),
        key_prefix: caller.key_prefix.as_deref(),
        schema: &binding.schema,
        table: &binding.table,
        contact_id: &after.id,
        overwrite,
        source: &origin.source,
        confidence: origin.confidence,
        fields: updated,
        field_sources: FieldSources { updated, origins },
        old_values: FieldValues { fields: updated, contact: before },
        new_values: FieldValues { fields: updated, contact: after },
        answered: earlier.collect(),
        identity: undone::identity(caller.workspace.id, before),
        offered: otherwise.map(|(field, value)| (field.name(), value.as_str())).collect(),
    }
}

/// Who writes the values of an offer.
pub fn author(request_id: Uuid, gathered: &Gathered) -> Author {
    let fields = gathered.origins.iter().map(|(field, origin)| (field, origin.source.clone()));
    Author { request_id, source: gathered.origin.source.clone(), fields: fields.collect() }
}

/// Who calls. A role that was dropped while its call waited for a provider is only a number by now.
fn role_name() -> String {
    role::name_of(role::caller())
}

/// Of calls that replace values: whose these were. To be said before the calls are in the history.
pub fn note_replaced(workspace: Uuid, binding: &Binding, all: &[Enrichment<'_>]) {
    let replaces = |one: &&Enrichment<'_>| !one.updated.minus(one.before.empty_fields()).is_empty();
    let ids: Vec<&str> = all.iter().filter(replaces).map(|one| one.before.id.as_str()).collect();
    if ids.is_empty() {
        return;
    }
    let writes = history::latest_of_contacts(workspace, (&binding.schema, &binding.table), &ids);
    for one in all.iter().filter(replaces) {
        let writes = writes.get(&one.before.id).map_or(&[] as &[Written], Vec::as_slice);
        uses::note_replaced(workspace, one.before, one.updated, writes);
    }
}

/// Whether the contact is still who it was at the last of these writes, of which the latest is first. What enrichments have put
/// there, that one included, makes it nobody else.
pub fn is_about(workspace: Uuid, contact: &Contact, writes: &[Written]) -> bool {
    let Some(then) = writes.last().and_then(|written| written.identity) else { return true };
    let without = |contact, write: &Written| {
        undone::before_write(workspace, contact, |f| write.before(f), |f| write.after(f), write.fields)
    };
    undone::may_be(workspace, contact, then)
        || undone::may_be(workspace, &writes.iter().fold(contact.clone(), without), then)
}

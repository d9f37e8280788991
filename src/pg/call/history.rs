//! A contact that was changed, as the ledger and the history have it.

use uuid::Uuid;

use crate::pg::store::ledger::Entry;
use crate::pg::sys::role;
use crate::pg::table::Binding;
use leadlex_domain::identity::Caller;
use leadlex_domain::reply::{FieldSources, FieldValues};
use leadlex_domain::steps::Enrichment;

/// The row for ledger and history: the charge and what it changed.
pub fn entry<'a>(
    request_id: Uuid,
    enrichment: Enrichment<'a>,
    (caller, binding, overwrite): (&'a Caller, &'a Binding, bool),
) -> Entry<'a> {
    let Enrichment { updated, origin, origins, before, after } = enrichment;
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
    }
}

/// Who calls. A role that was dropped while its call waited for a provider is only a number by now.
fn role_name() -> String {
    role::name_of(role::caller())
}

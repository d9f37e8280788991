//! A contact that was changed, as the ledger and the history have it.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::pg::store::ledger::Entry;
use crate::pg::sys::role;
use crate::pg::table::Binding;
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::Field;
use leadlex_domain::identity::Caller;
use leadlex_domain::reply;
use leadlex_domain::steps::Enrichment;

/// The row for ledger and history: the charge and what it changed.
pub fn entry<'a>(
    request_id: Uuid,
    enrichment: Enrichment<'a>,
    (caller, binding, overwrite): (&'a Caller, &'a Binding, bool),
) -> Entry<'a> {
    let Enrichment { updated, origin, origins, before, after } = enrichment;
    let values = |contact: &Contact| {
        let of =
            |field: Field| (field.name().to_owned(), contact.value(field).map_or(Value::Null, Value::from));
        Value::Object(updated.iter().map(of).collect::<Map<_, _>>())
    };
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
        fields: updated.names().into_iter().map(str::to_owned).collect(),
        field_sources: reply::field_sources(updated, origins),
        old_values: values(before),
        new_values: values(after),
    }
}

/// Who calls. A role that was dropped while its call waited for a provider is only a number by now.
fn role_name() -> String {
    role::name_of(role::caller())
}

//! Taking an enrichment back.

use crate::pg::api::forget;
use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use serde_json::{Value, json};

use crate::pg::call::preconditions;
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::store::ledger;
use crate::pg::store::ledger::Past;
use crate::pg::sys::raise;
use leadlex_domain::call_error::Failure;
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldMap, FieldSet};
use leadlex_domain::merge;

/// leadlex.revert_enrichment(request_id uuid): writes the old values of one enrichment back, where the
/// contact still has the new ones. Returns JSON with `fields_reverted` and `fields_kept`. What was reverted
/// before is left alone, with a NOTICE.
///
/// Raises LX400: `request_id` is NULL.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises LX404: there is no such enrichment in a workspace of the caller, or its contact is gone.
/// Raises 55000: the table is not bound any more; not installed, another version, not preloaded.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 40001: its row in the history has changed since the transaction's one snapshot.
/// Errors of the update of the contact pass through.
#[pg_extern(sql = false)]
fn revert_enrichment(request_id: Option<Uuid>) -> JsonB {
    cache::refresh();
    let this = uuid::Uuid::now_v7();
    let request = request_id.map(super::plain);
    let result = match request {
        Some(request) => revert(request),
        None => Err(Failure::validation("request_id must not be NULL", "See leadlex.enrichment.")),
    };
    JsonB(result.unwrap_or_else(|failure| raise::failure(&failure.seen_at(this, None))))
}

fn revert(request: uuid::Uuid) -> Result<Value, Failure> {
    preconditions::require_writable();
    let workspaces = match forget::authority()? {
        Some(only) => vec![only],
        None => config::all_workspaces(),
    };
    let not_found = |what: &str| Failure::not_found(what);
    let past = ledger::past_enrichment(&workspaces, request)
        .ok_or_else(|| not_found(&format!("enrichment {request}")))?;
    let workspace = past.workspace;
    let bindings = cache::bindings();
    let binding = bindings.iter().find(|b| b.schema == past.schema && b.table == past.table);
    let Some(binding) = binding else {
        raise::not_ready(
            format!("the table {}.{} is not bound any more", past.schema, past.table),
            "Bind it again with leadlex.bind_contacts.",
        )
    };
    let gone = || not_found(&format!("contact {}", past.contact_id));
    // The table may have been given to another workspace.
    if !binding.may_have_rows_of(workspace) {
        return Err(gone());
    }
    let contact = binding.read_locked(workspace, &past.contact_id).ok_or_else(gone)?;
    let changes = if past.reverted { FieldMap::default() } else { still_as_written(&past, &contact) };
    // What a trigger of the table did not let through is not reverted.
    let texts = changes.iter().map(|(field, text)| (field, text.as_deref())).collect();
    let after =
        if changes.is_empty() { None } else { binding.write(workspace, &contact, &texts, FieldSet::EMPTY) };
    let reverted =
        after.map_or(FieldSet::EMPTY, |after| merge::rewritten(&contact, &after, changes.fields()));
    if past.reverted {
        pgrx::notice!("enrichment {request} was reverted before");
    } else if !reverted.is_empty() {
        ledger::mark_reverted(workspace, request);
    }
    let kept: Vec<&str> =
        written(&past).into_iter().filter(|f| !reverted.contains(*f)).map(Field::name).collect();
    Ok(json!({
        "request_id": request,
        "contact_id": past.contact_id,
        "fields_reverted": reverted.names(),
        "fields_kept": kept,
    }))
}

fn written(past: &Past) -> Vec<Field> {
    Field::all().filter(|f| past.new_values.get(f.name()).is_some()).collect()
}

/// The old values of the fields that nobody has changed since.
fn still_as_written(past: &Past, now: &Contact) -> FieldMap<Option<String>> {
    let text =
        |values: &Value, field: Field| values.get(field.name()).and_then(Value::as_str).map(str::to_owned);
    written(past)
        .into_iter()
        .filter(|&field| text(&past.new_values, field).as_deref() == now.value(field))
        .map(|field| (field, text(&past.old_values, field)))
        .collect()
}

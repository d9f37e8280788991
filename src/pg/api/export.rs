//! Telling what is held on a person.

use std::collections::BTreeMap;

use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use serde_json::{Value, json};

use crate::pg::api::subject::Subject;
use crate::pg::call::target::Target;
use crate::pg::installation;
use crate::pg::shared::{layout, receipts};
use crate::pg::store::export::Traces;
use crate::pg::store::receipts::Person;
use crate::pg::store::{cache, export, suppressions};
use crate::pg::sys::raise;
use crate::pg::table::plain_name;
use leadlex_domain::call_error::Failure;
use leadlex_domain::hash::Hash;
use leadlex_domain::suppression;

/// leadlex.export_contact(contact_id uuid): all that is held on a contact of the table that was bound first, as JSON: a list
/// of rows of each kind, by the names that forget_contact has in its result, and besides `suppression` and `shared_values`.
/// Changes nothing; works in read-only transactions.
///
/// Raises LX400: the id is NULL, or no key of the table.
/// Raises LX401 or LX403: the caller has no identity, or no write:enrich.
/// Raises 55000: no table is bound; the worker did not write waiting answers in time; not installed, another version, not
/// preloaded. 53400: leadlex.max_databases is too small.
#[pg_extern(sql = false)]
fn export_contact(contact_id: Option<Uuid>) -> JsonB {
    let id = contact_id.map(|id| super::plain(id).to_string());
    raised(None, id, "contact_id")
}

/// leadlex.export_row(relation regclass, id text): the same for any bound table. Raises the errors of export_contact; LX400
/// also where `relation` is NULL.
#[pg_extern(sql = false)]
fn export_row(relation: Option<pg_sys::Oid>, id: Option<String>) -> JsonB {
    of_row(relation, id)
}

/// leadlex.export_row(relation regclass, id bigint): as export_row with the key as text, with the same errors.
#[pg_extern(sql = false)]
fn export_row_bigint(relation: Option<pg_sys::Oid>, id: Option<i64>) -> JsonB {
    of_row(relation, id.map(|id| id.to_string()))
}

/// leadlex.export_row(relation regclass, id uuid): as export_row with the key as text, with the same errors.
#[pg_extern(sql = false)]
fn export_row_uuid(relation: Option<pg_sys::Oid>, id: Option<Uuid>) -> JsonB {
    of_row(relation, id.map(|id| super::plain(id).to_string()))
}

fn of_row(relation: Option<pg_sys::Oid>, id: Option<String>) -> JsonB {
    let (id, name) = if relation.is_some() { (id, "id") } else { (None, "relation") };
    raised(relation, id, name)
}

fn raised(target: Target, id: Option<String>, name: &str) -> JsonB {
    cache::refresh();
    layout::require();
    let missing = || Failure::validation(format!("{name} must not be NULL"), "Pass the contact to tell of.");
    let result = id.ok_or_else(missing).and_then(|id| all_held(target, &id));
    JsonB(result.unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None))))
}

fn all_held(target: Target, id: &str) -> Result<Value, Failure> {
    let subject = Subject::find(target, id)?;
    let mut all: BTreeMap<&str, Vec<Value>> = export::kinds().map(|kind| (kind, Vec::new())).collect();
    for person in subject.persons() {
        let here = subject.rows().filter(|(workspace, _)| *workspace == person.workspace);
        let listed_by =
            |(workspace, contact)| suppression::of_person(&subject.described(workspace, contact), contact);
        let people: Vec<Hash> = here.flat_map(listed_by).collect();
        let (name, values) = subject.name_and_values(person.workspace);
        let values = values.iter().map(|value| value.hash).collect();
        let traces = Traces { questions: subject.questions(person.workspace), name, values, people };
        wait_for_the_books(&person, &traces);
        for (kind, rows) in export::held(&person, &traces) {
            let kept = all.entry(kind).or_default();
            // The list for every workspace is met in each.
            kept.extend(rows.into_iter().filter(|row| !kept.contains(row)).collect::<Vec<_>>());
        }
    }
    let mut result = json!({"contact_id": subject.id, "relation": plain_name(&subject.binding.schema, &subject.binding.table)});
    if let Some(result) = result.as_object_mut() {
        result.extend(all.into_iter().map(|(kind, rows)| (kind.to_owned(), Value::Array(rows))));
    }
    Ok(result)
}

/// What is on its way into the tables belongs to what is held.
fn wait_for_the_books(person: &Person, traces: &Traces) {
    let keys: Vec<receipts::ReceiptKey> =
        traces.questions.iter().map(|hash| installation::receipt_key(*hash)).collect();
    let database = installation::receipt_key(person.hash).database;
    let on_their_way = || {
        let answers =
            receipts::with(|arena| arena.waiting_for(database, person.row()) || arena.waiting_on(&keys));
        answers || suppressions::waiting(Some(person.workspace), &traces.people)
    };
    super::wait_for_the_books(on_their_way, "Nothing was told.");
}

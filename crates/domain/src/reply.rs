//! What a successful call returns.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::contact::Contact;
use super::fields::{Field, FieldMap, FieldSet};
use super::rate::Window;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub source: String,
    /// The provider's score, from 0 to 1; `None`: it gave none.
    pub confidence: Option<f64>,
}

/// The result of one call.
#[derive(Clone, Debug)]
pub struct Reply {
    pub contact: Contact,
    pub fields_updated: FieldSet,
    /// First provider that supplied a field; `None` when nobody was asked.
    pub origin: Option<Origin>,
    pub field_origins: FieldMap<Origin>,
    /// Credits left in the workspace; `None`: it has no limit.
    pub credits_remaining: Option<i64>,
    pub request_id: Uuid,
    pub rate_limit: Option<Window>,
    /// More comes later.
    pub pending: bool,
}

impl Reply {
    /// The object that a call returns. `replayed` is false: this is the first time. `pending` is there where it is true.
    pub fn to_json(&self) -> Value {
        let mut told = object([
            ("contact", contact_json(&self.contact)),
            ("fields_updated", self.fields_updated.iter().map(|field| Value::from(field.name())).collect()),
            ("source", text(self.origin.as_ref().map(|origin| &origin.source))),
            ("confidence", self.origin.as_ref().and_then(|origin| origin.confidence).into()),
            ("credits_remaining", self.credits_remaining.into()),
            ("request_id", self.request_id.to_string().into()),
            ("replayed", false.into()),
            ("field_sources", field_sources(self.fields_updated, &self.field_origins)),
            ("rate_limit", self.rate_limit.as_ref().map_or(Value::Null, rate_limit)),
        ]);
        if self.pending {
            told["pending"] = true.into();
        }
        told
    }
}

/// Per updated field: who supplied it, and with which score.
pub fn field_sources(updated: FieldSet, origins: &FieldMap<Origin>) -> Value {
    let mut sources = Map::with_capacity(Field::all().len());
    for field in updated.iter() {
        let Some(origin) = origins.get(field) else { continue };
        let source = [("source", text(Some(&origin.source))), ("confidence", origin.confidence.into())];
        sources.insert(field.name().to_owned(), object(source));
    }
    Value::Object(sources)
}

/// A stored result, told as a replay: whose request, balance and rate these are now is new.
pub fn replay(mut stored: Value, request_id: Uuid, credits: Option<i64>, rate: Option<Window>) -> Value {
    if let Some(object) = stored.as_object_mut() {
        object.insert("replayed".into(), json!(true));
        object.insert("request_id".into(), json!(request_id));
        object.insert("credits_remaining".into(), json!(credits));
        object.insert("rate_limit".into(), json!(rate.as_ref().map(rate_limit)));
    }
    stored
}

/// A window as the result shows it; `reset` is in epoch seconds.
pub fn rate_limit(window: &Window) -> Value {
    json!({"limit": window.limit, "remaining": window.remaining, "reset": window.reset})
}

/// The contact as the result shows it: id, full name, e-mail address and every field. Missing values are
/// null.
pub fn contact_json(contact: &Contact) -> Value {
    let mut members = Map::with_capacity(3 + Field::all().len());
    members.insert("id".to_owned(), text(Some(&contact.id)));
    members.insert("full_name".to_owned(), text(contact.full_name.as_ref()));
    members.insert("email".to_owned(), text(contact.email.as_ref()));
    for field in Field::all() {
        members.insert(field.name().to_owned(), text(contact.values.get(field)));
    }
    Value::Object(members)
}

/// Made in one piece: `json!` copies each member that is JSON already.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut object = Map::with_capacity(N);
    for (key, value) in members {
        object.insert(key.to_owned(), value);
    }
    Value::Object(object)
}

fn text(text: Option<&String>) -> Value {
    text.map_or(Value::Null, |text| Value::String(text.clone()))
}

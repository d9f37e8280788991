//! What a successful call returns.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeStruct, Serializer};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answered::Answered;
use super::contact::Contact;
use super::fields::{Field, FieldMap, FieldSet};
use super::money::{Amount, Currency};
use super::rate::Window;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    #[serde(serialize_with = "as_text")]
    pub source: Rc<str>,
    /// The provider's score, from 0 to 1; `None`: it gave none.
    pub confidence: Option<f64>,
    /// When it was answered.
    #[serde(skip)]
    pub answered: Answered,
}

fn as_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
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
    /// What it caused to be sent has cost.
    pub cost: Costs,
    /// Providers that were sent a request.
    pub asked: Vec<String>,
}

/// Amounts by currency; of what has no price there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs(pub BTreeMap<Currency, Amount>);

/// `{"USD": 0.28}`, with whole amounts as whole numbers.
impl Serialize for Costs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for (currency, amount) in &self.0 {
            match amount.whole() {
                Some(whole) => object.serialize_entry(currency.name(), &whole)?,
                None => object.serialize_entry(currency.name(), &amount.to_f64())?,
            }
        }
        object.end()
    }
}

/// What a call returns.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Told {
    /// To be kept under the idempotency key.
    New(Box<Reply>),
    /// It was kept by an earlier call.
    Again(Value),
}

/// The object that a call returns. `replayed` is false: this is the first time. `pending` is there where it is true.
impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let origin = self.origin.as_ref();
        let mut object = serializer.serialize_struct("Reply", 10 + usize::from(self.pending))?;
        object.serialize_field("contact", &ContactObject(&self.contact))?;
        object.serialize_field("fields_updated", &self.fields_updated)?;
        object.serialize_field("source", &origin.map(|origin| &*origin.source))?;
        object.serialize_field("confidence", &origin.and_then(|origin| origin.confidence))?;
        object.serialize_field("credits_remaining", &self.credits_remaining)?;
        object.serialize_field("request_id", &self.request_id)?;
        object.serialize_field("replayed", &false)?;
        let sources = FieldSources { updated: self.fields_updated, origins: &self.field_origins };
        object.serialize_field("field_sources", &sources)?;
        object.serialize_field("rate_limit", &self.rate_limit)?;
        object.serialize_field("cost", &self.cost)?;
        object.serialize_field("asked", &self.asked)?;
        if self.pending {
            object.serialize_field("pending", &true)?;
        }
        object.end()
    }
}

/// An object: per updated field who supplied it, and with which score.
#[derive(Clone, Copy)]
pub struct FieldSources<'a> {
    pub updated: FieldSet,
    pub origins: &'a FieldMap<Origin>,
}

impl Serialize for FieldSources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("FieldSources", self.updated.len())?;
        for field in self.updated.iter() {
            if let Some(origin) = self.origins.get(field) {
                object.serialize_field(field.name(), origin)?;
            }
        }
        object.end()
    }
}

/// An object: these fields of a contact as it stands; what has no value is null.
#[derive(Clone, Copy)]
pub struct FieldValues<'a> {
    pub fields: FieldSet,
    pub contact: &'a Contact,
}

impl Serialize for FieldValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("FieldValues", self.fields.len())?;
        for field in self.fields.iter() {
            object.serialize_field(field.name(), &self.contact.value(field))?;
        }
        object.end()
    }
}

/// A stored result, told as a replay: whose request, balance and rate these are now is new, and nobody was asked.
pub fn replay(mut stored: Value, request_id: Uuid, credits: Option<i64>, rate: Option<Window>) -> Value {
    if let Some(object) = stored.as_object_mut() {
        object.insert("replayed".into(), json!(true));
        object.insert("request_id".into(), json!(request_id));
        object.insert("credits_remaining".into(), json!(credits));
        object.insert("rate_limit".into(), json!(rate));
        object.insert("cost".into(), json!({}));
        object.insert("asked".into(), json!([]));
    }
    stored
}

/// The contact as the result shows it: id, full name, e-mail address and every field. Missing values are null.
#[derive(Clone, Copy)]
pub struct ContactObject<'a>(pub &'a Contact);

impl Serialize for ContactObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ContactObject(contact) = self;
        let mut object = serializer.serialize_struct("Contact", 3 + Field::all().len())?;
        object.serialize_field("id", &contact.id)?;
        object.serialize_field("full_name", &contact.full_name)?;
        object.serialize_field("email", &contact.email)?;
        for field in Field::all() {
            object.serialize_field(field.name(), &contact.value(field))?;
        }
        object.end()
    }
}

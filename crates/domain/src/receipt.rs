//! What providers answered before. It was paid for, so the same question is not asked twice: an answer is good for a
//! while (`leadlex.receipt_ttl`), and that there was nothing is remembered longer (`leadlex.recheck_after`).

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::fields::{Field, FieldMap, FieldSet};
use super::hash::{Hash, hash};
use super::last_outcome::LastOutcome;
use super::money::hold::Hold;
use super::provider::Verdict;
use super::shared::{Kind, Sighting, Value as SharedValue};
use super::ticket::Ticket;

/// How long answers count, in microseconds; 0 = not at all.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long an answer with data is good: `leadlex.receipt_ttl`.
    pub ttl_us: i64,
    /// How long it is remembered that there was nothing: `leadlex.recheck_after`.
    pub recheck_us: i64,
}

impl Terms {
    /// Whether no answer is remembered at all.
    pub fn off(self) -> bool {
        self.ttl_us == 0 && self.recheck_us == 0
    }
}

/// Of what a provider's description says about the question and how to read the answer; not of time and number limits.
pub fn fingerprint(description: &Value) -> Hash {
    let mut parts: Vec<String> =
        ["request", "identify_by", "response"].map(|key| description[key].to_string()).into();
    // A description without these has the hash that it had before there were any.
    for key in ["steps", "send"] {
        parts.extend(description.get(key).filter(|part| !part.is_null()).map(|part| format!("{key}:{part}")));
    }
    hash(&parts.iter().map(String::as_bytes).collect::<Vec<_>>())
}

/// Of what a provider's description says about the question alone: with another way to read the answers, another price,
/// login or limit, what was handed in is still the same. For [`super::question::Parties`] of the question under which a
/// ticket is kept.
pub fn ticket_fingerprint(description: &Value) -> Hash {
    let mut parts = vec!["ticket".to_owned()];
    for key in ["request", "identify_by", "send"] {
        parts.push(description[key].to_string());
    }
    for step in description["steps"].as_array().into_iter().flatten() {
        parts.extend([step["request"].to_string(), step["take"].to_string()]);
    }
    hash(&parts.iter().map(String::as_bytes).collect::<Vec<_>>())
}

/// Of what a provider's description says about its login: with another one, or another secret, what a login gave is no
/// longer good.
pub fn login_fingerprint(description: &Value) -> Hash {
    hash(&[b"login", description["login"].to_string().as_bytes()])
}

/// What is remembered of one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// When the answer arrived, epoch microseconds.
    pub answered_at: i64,
    pub known: Hash,
    pub matched: bool,
    /// The fields that the provider can supply and did not.
    pub lacking: FieldSet,
    /// What it did supply, with its score; only while the receipt is good.
    pub answer: Option<(FieldMap<String>, Option<f64>)>,
}

impl Receipt {
    /// `None` for a failure or refusal: that is no answer. `maps`: the fields that the provider can supply.
    pub fn new(verdict: &Verdict, maps: FieldSet, known: Hash, answered_at: i64) -> Option<Receipt> {
        let (matched, lacking, answer) = match verdict {
            Verdict::Failed(_) | Verdict::Suppressed => return None,
            Verdict::NoMatch | Verdict::OtherPerson(_) => (false, maps, None),
            Verdict::Match { values, confidence } => {
                (true, maps.minus(values.fields()), Some((values.clone(), *confidence)))
            }
        };
        Some(Receipt { answered_at, known, matched, lacking, answer })
    }

    /// That the contact's table refused the values of these fields.
    pub fn of_rejection(fields: FieldSet, known: Hash, at: i64) -> Receipt {
        Receipt { answered_at: at, known, matched: true, lacking: fields, answer: None }
    }

    /// Of a rejection: the fields for which the provider need not be asked.
    pub fn rejected(&self, terms: Terms, now: i64) -> FieldSet {
        let counts = (now - self.answered_at).max(0) < terms.recheck_us;
        if counts { self.lacking } else { FieldSet::EMPTY }
    }

    /// As if the provider had had nothing for these fields.
    pub fn without(&self, fields: FieldSet) -> Receipt {
        let mut receipt = self.clone();
        receipt.lacking = self.lacking.union(fields);
        if let Some((values, _)) = &mut receipt.answer {
            fields.iter().for_each(|field| values.unset(field));
        }
        if receipt.answer.as_ref().is_some_and(|(values, _)| values.is_empty()) {
            receipt.answer = None;
        }
        receipt
    }

    /// What of it may be kept under these terms; `None`: nothing.
    pub fn kept_under(mut self, terms: Terms) -> Option<Receipt> {
        if terms.ttl_us == 0 {
            self.answer = None;
        }
        let nothing_to_remember = self.answer.is_none() && self.lacking.is_empty();
        (!terms.off() && !nothing_to_remember).then_some(self)
    }

    /// Whether it says something of each of these fields. Of a provider whose steps are asked one by one it may not.
    pub fn speaks_of(&self, wanted: FieldSet) -> bool {
        let supplied = self.answer.as_ref().map(|(values, _)| values.fields());
        supplied.is_none_or(|supplied| wanted.minus(supplied).minus(self.lacking).is_empty())
    }

    /// The answer to the same question put again, if it need not be asked. `wanted`: the fields that this provider is
    /// wanted for. `overwrite` asks anew where there was nothing.
    pub fn recall(
        &self,
        terms: Terms,
        now: i64,
        known: Hash,
        wanted: FieldSet,
        overwrite: bool,
    ) -> Option<Verdict> {
        let age = (now - self.answered_at).max(0);
        if let Some((values, confidence)) = self.answer.as_ref().filter(|_| age < terms.ttl_us) {
            let useful = !values.fields().intersect(wanted).is_empty();
            return (useful || !overwrite)
                .then(|| Verdict::Match { values: values.clone(), confidence: *confidence });
        }
        if overwrite || age >= terms.recheck_us.max(if self.matched { 0 } else { terms.ttl_us }) {
            return None;
        }
        if self.matched {
            let nothing = Verdict::Match { values: FieldMap::default(), confidence: None };
            return wanted.minus(self.lacking).is_empty().then_some(nothing);
        }
        (self.known == known).then_some(Verdict::NoMatch)
    }

    /// The answer as the tables keep it.
    /// `None`: the receipt keeps no answer.
    pub fn answer_json(&self) -> Option<Value> {
        let (values, confidence) = self.answer.as_ref()?;
        let values: Map<String, Value> =
            values.iter().map(|(field, value)| (field.name().to_owned(), json!(value))).collect();
        Some(json!({"values": values, "confidence": confidence}))
    }

    /// Reads what [`Receipt::answer_json`] wrote: the values, and the score. Unknown fields are left out; a
    /// score that is missing is `None`.
    pub fn read_answer(json: &Value) -> (FieldMap<String>, Option<f64>) {
        let value = |field: Field| Some((field, json["values"][field.name()].as_str()?.to_owned()));
        (Field::all().filter_map(value).collect(), json["confidence"].as_f64())
    }
}

/// An answer, and whose it is: what goes into the tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Filed {
    pub workspace: Uuid,
    pub provider: Uuid,
    /// [`person`] of the contact that was asked about, so that what is held on somebody can be found.
    pub person: Hash,
    pub content: Content,
    /// What came up under the name of that contact.
    pub sighting: Option<Sighting>,
}

/// What one entry of the tables says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Receipt(Receipt),
    /// What `lacking` names, the contact's table refused: see [`rejection`].
    Rejection(Receipt),
    Refusal(ProviderRefusal),
    /// Nothing to be kept of an answer.
    Nothing,
    /// The answer comes later.
    Ticket(Ticket),
    /// Whatever was kept before this, in epoch microseconds, is forgotten: there is nothing left to ask for.
    /// With what was held for it, where that is settled.
    NoTicket(i64, Option<Hold>),
    /// What became of a contact.
    Outcome(LastOutcome),
}

/// A provider's refusal to tell anything about somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRefusal {
    /// See [`super::suppression`].
    pub people: Vec<Hash>,
    /// In which workspace; `None`: in every one, as the provider is for every one.
    pub workspace: Option<Uuid>,
    /// The provider's name.
    pub source: String,
}

impl ProviderRefusal {
    /// Of where it counts and who refused: while they wait to be written, only a refusal of the same reach about the same
    /// person says the same.
    pub fn reach(&self, provider: Uuid) -> Hash {
        let workspace = self.workspace.unwrap_or_default();
        hash(&[b"reach", workspace.as_bytes(), provider.as_bytes()])
    }
}

/// A contact by its table and key. It is the same in every workspace, so that one look finds all that hold something on it:
/// whose an entry is, says the workspace beside it. Both are compared ([`super::contact_row::ContactRow`]): several workspaces can have a row of
/// this key, and a row can have been another workspace's.
pub fn person(table: &str, contact: &str) -> Hash {
    hash(&[b"row", table.as_bytes(), contact.as_bytes()])
}

/// Under what it is remembered that the table of a [`person`] refused values that were answered to a question.
pub fn rejection(question: Hash, person: Hash) -> Hash {
    hash(&[b"rejection", &question, &person])
}

impl Filed {
    /// The entry as JSON text, for the queue in shared memory; [`Filed::from_bytes`] reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let content = match &self.content {
            Content::Receipt(receipt) => written::Content::Receipt(
                receipt.answered_at,
                Uuid::from_bytes(receipt.known),
                receipt.matched,
                written::Names(receipt.lacking),
                receipt.answer.as_ref().map(|(values, confidence)| written::Answer {
                    values: written::Values(values),
                    confidence: *confidence,
                }),
            ),
            Content::Rejection(receipt) => written::Content::Rejection(
                receipt.answered_at,
                Uuid::from_bytes(receipt.known),
                written::Names(receipt.lacking),
                "rejection",
            ),
            Content::Refusal(refusal) => written::Content::Refusal(
                refusal.people.iter().map(|hash| Uuid::from_bytes(*hash)).collect(),
                refusal.workspace,
                &refusal.source,
            ),
            Content::Nothing => written::Content::Nothing([]),
            Content::Ticket(ticket) => written::Content::Ticket(ticket.to_parts()),
            Content::NoTicket(at, None) => written::Content::NoTicket([*at]),
            Content::NoTicket(at, Some(hold)) => written::Content::Settled(*at, hold.to_json()),
            Content::Outcome(outcome) => written::Content::Outcome(outcome.to_json()),
        };
        let sighting = self.sighting.as_ref().map(|sighting| {
            let value = |value: &SharedValue| (value.kind.name(), Uuid::from_bytes(value.hash));
            (Uuid::from_bytes(sighting.name), sighting.values.iter().map(value).collect::<Vec<_>>())
        });
        let whole = (self.workspace, self.provider, Uuid::from_bytes(self.person), content, sighting);
        serde_json::to_vec(&whole).expect("texts and numbers are JSON")
    }

    /// Reads what [`Filed::to_bytes`] wrote; `None`: the bytes have another form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Filed> {
        let parts: Vec<Value> = serde_json::from_slice(bytes).ok()?;
        let [workspace, provider, person, content, sighting] = parts.as_slice() else {
            return None;
        };
        let person = id(person)?.into_bytes();
        Some(Filed {
            workspace: id(workspace)?,
            provider: id(provider)?,
            person,
            content: match content.as_array() {
                Some(parts) => Content::read(parts, person)?,
                None => Content::Outcome(LastOutcome::read(content)?),
            },
            sighting: read_sighting(sighting),
        })
    }

    /// The receipt of an answer or of a rejection; `None` for a refusal and for nothing.
    pub fn receipt(&self) -> Option<&Receipt> {
        match &self.content {
            Content::Receipt(receipt) | Content::Rejection(receipt) => Some(receipt),
            Content::Refusal(_)
            | Content::Nothing
            | Content::Ticket(_)
            | Content::NoTicket(..)
            | Content::Outcome(_) => None,
        }
    }

    /// Whether the contact's table refused values that were answered.
    pub fn is_rejection(&self) -> bool {
        matches!(self.content, Content::Rejection(_))
    }

    /// The provider's refusal; `None` for any other content.
    pub fn refusal(&self) -> Option<&ProviderRefusal> {
        match &self.content {
            Content::Refusal(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl Content {
    fn read(parts: &[Value], person: Hash) -> Option<Content> {
        match parts {
            [] => Some(Content::Nothing),
            [at] => Some(Content::NoTicket(at.as_i64()?, None)),
            [at, hold] => Some(Content::NoTicket(at.as_i64()?, Hold::from_json(hold))),
            [_, _, _, _, _, _, ..] => Ticket::from_parts(parts, person).map(Content::Ticket),
            [at, known, matched, lacking, answer] => Some(Content::Receipt(Receipt {
                answered_at: at.as_i64()?,
                known: id(known)?.into_bytes(),
                matched: matched.as_bool()?,
                lacking: named(lacking)?,
                answer: (!answer.is_null()).then(|| Receipt::read_answer(answer)),
            })),
            [at, known, lacking, _] => {
                let (at, known) = (at.as_i64()?, id(known)?.into_bytes());
                Some(Content::Rejection(Receipt::of_rejection(named(lacking)?, known, at)))
            }
            [people, workspace, source] => Some(Content::Refusal(ProviderRefusal {
                people: people
                    .as_array()?
                    .iter()
                    .map(|hash| Some(id(hash)?.into_bytes()))
                    .collect::<Option<_>>()?,
                workspace: id(workspace),
                source: source.as_str()?.to_owned(),
            })),
        }
    }
}

/// The form of entries, written without building a tree of JSON first: it is written at every call.
mod written {
    use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
    use uuid::Uuid;

    use crate::fields::{FieldMap, FieldSet};

    #[derive(serde::Serialize)]
    #[serde(untagged)]
    pub enum Content<'a> {
        Receipt(i64, Uuid, bool, Names, Option<Answer<'a>>),
        Rejection(i64, Uuid, Names, &'a str),
        Refusal(Vec<Uuid>, Option<Uuid>, &'a str),
        Nothing([u8; 0]),
        Ticket(serde_json::Value),
        NoTicket([i64; 1]),
        Settled(i64, serde_json::Value),
        Outcome(serde_json::Value),
    }

    /// As [`Receipt::answer_json`](super::Receipt::answer_json) has it.
    #[derive(serde::Serialize)]
    pub struct Answer<'a> {
        pub values: Values<'a>,
        pub confidence: Option<f64>,
    }

    pub struct Values<'a>(pub &'a FieldMap<String>);

    impl Serialize for Values<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            for (field, value) in self.0.iter() {
                map.serialize_entry(field.name(), value)?;
            }
            map.end()
        }
    }

    pub struct Names(pub FieldSet);

    impl Serialize for Names {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut list = serializer.serialize_seq(None)?;
            for field in self.0.iter() {
                list.serialize_element(field.name())?;
            }
            list.end()
        }
    }
}

fn named(fields: &Value) -> Option<FieldSet> {
    Some(fields.as_array()?.iter().filter_map(|name| Field::parse(name.as_str()?)).collect())
}

fn read_sighting(json: &Value) -> Option<Sighting> {
    let value = |pair: &Value| {
        Some(SharedValue { kind: Kind::parse(pair[0].as_str()?)?, hash: id(&pair[1])?.into_bytes() })
    };
    let values = json[1].as_array()?.iter().filter_map(value).collect();
    Some(Sighting { name: id(&json[0])?.into_bytes(), values })
}

fn id(value: &Value) -> Option<Uuid> {
    value.as_str()?.parse().ok()
}

/// Names of this module's keys: a UUID made up once.
const REQUEST_KEYS: Uuid = Uuid::from_u128(0x6b0f_6c2e_9d3a_4f0b_8a57_1d0f_3c54_77e1);

/// What makes a request the same one when it is sent again: it goes to providers that know idempotency keys.
/// `epoch` is when the question was last answered (0: never), so that to ask anew on purpose is another request.
pub fn request_key(workspace: Uuid, contact: &str, fields: FieldSet, request: &Value, epoch: i64) -> Uuid {
    let parts = [
        workspace.to_string(),
        contact.to_owned(),
        fields.names().join(","),
        request.to_string(),
        epoch.to_string(),
    ];
    Uuid::new_v5(&REQUEST_KEYS, parts.map(|part| format!("{}:{part}", part.len())).join("\n").as_bytes())
}

/// The same of a request about several contacts, of the [`request_key`] of each.
pub fn request_key_of_all(keys: &[Uuid]) -> Uuid {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| *key.as_bytes()).collect();
    Uuid::new_v5(&REQUEST_KEYS, &bytes)
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;

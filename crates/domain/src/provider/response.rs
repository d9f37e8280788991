//! How answers to one request are read.

use serde_json::Value;

use super::Reported;
use super::confidence::Confidence;
use super::document::Document;
use super::exchange::Answer;
use super::failure_kind::{Fault, FaultKind, Seen};
use super::mapping::{Accepts, Spec};
use super::node::{Checked, Node};
use super::placeholder::Placeholder;
use super::reading::{self, Balance, Cost, RetryAfter};
use super::same_person::{SamePerson, Whom};
use super::signals::{self, Signal, Signals};
use super::taken::{FoundValues, Names, Take, Taken};
use super::words;
use crate::fields::{Field, FieldMap, FieldSet, Kind};
use crate::people::value;

/// By this status what stands in front of a vendor says that it has not asked it.
const UNAVAILABLE: u16 = 503;

/// The `response` of a step, checked and ready for use.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub signals: Signals,
    /// None in a step that only takes.
    pub fields: FieldMap<Spec>,
    pub same_person: SamePerson,
    pub confidence: Confidence,
    retry_after: RetryAfter,
    cost: Option<Cost>,
    pub balance: Option<Balance>,
}

/// Which step a response belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// It has no step after it: so it must have fields.
    pub last: bool,
    /// Its request names what an earlier step took: so the vendor can know that no longer.
    pub has_ticket: bool,
}

/// What one answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// It is of the kind that the description describes.
    Answered {
        /// Empty, where the step has no fields or the answer nothing for them.
        values: FieldMap<String>,
        /// The score, from 0 to 1; `None`: the answer has none that can be read.
        confidence: Option<f64>,
        rest: Rest,
    },
    NoMatch,
    /// With the fields that it has of somebody else.
    OtherPerson(FieldSet),
    Suppressed,
    /// The vendor knows the id no longer that an earlier step took.
    TicketUnknown(Fault),
    Failed(Fault),
}

/// What of an answer is for the steps after it.
#[derive(Clone, Debug, PartialEq)]
pub enum Rest {
    Taken(Taken),
    /// A condition of `take` does not hold: there is no step after it.
    Nothing,
    /// It lacks a place of `take`: `unrecognised`.
    Lacks(Fault),
}

impl Response {
    /// Reads what a description says. `names`: what is taken anywhere, which means nothing here.
    pub fn parse(node: &Node<'_>, role: Role, names: &Names) -> Checked<Response> {
        refuse_placeholders(node, names)?;
        let mut allowed = vec!["fields", "same_person", "confidence", "retry_after", "cost", "balance"];
        allowed.extend(signals::keys());
        let object = node.object(&allowed)?;
        if let Some(place) = object.optional(signals::TICKET_UNKNOWN).filter(|_| !role.has_ticket) {
            return Err(place.error(
                "is for a step whose request names what an earlier one took; this one has no ticket that could be unknown",
            ));
        }
        let signals = Signals::parse(&object)?;
        let fields = match object.optional("fields") {
            Some(specs) => parse_fields(&specs)?,
            None if role.last => {
                return Err(object.required("fields").err().unwrap_or_else(|| node.error("has no fields")));
            }
            None => FieldMap::default(),
        };
        let confidence =
            object.optional("confidence").map_or(Ok(Confidence::Unknown), |rule| Confidence::parse(&rule))?;
        let retry_after =
            object.optional("retry_after").map_or(Ok(RetryAfter::NONE), |list| RetryAfter::parse(&list))?;
        let cost = object.optional("cost").map(|rule| Cost::parse(&rule)).transpose()?;
        let balance = object.optional("balance").map(|rule| Balance::parse(&rule)).transpose()?;
        let same_person = object.optional("same_person").map(|rule| SamePerson::parse(&rule)).transpose()?;
        let same_person = same_person.unwrap_or_default();
        Ok(Response { signals, fields, same_person, confidence, retry_after, cost, balance })
    }

    /// What an answer says about `whom`, and what it cost, in the provider's own unit, where it says so. It came at `now`,
    /// in seconds since 1970. `take`: what the step takes of it.
    pub fn read(
        &self,
        answer: &Answer,
        now: i64,
        whom: &Whom,
        (take, role): (&Take, Role),
    ) -> (Reading, Option<Reported>) {
        let body = Document::of(answer);
        let cost = self.cost.as_ref().and_then(|cost| cost.of(answer, body.json()));
        let fault = |kind| self.fault(kind, answer, &body, now);
        let reading = match self.signal(answer, &body, (take, role)) {
            Some(Signal::NoMatch) => Reading::NoMatch,
            Some(Signal::Suppressed) => Reading::Suppressed,
            Some(Signal::TicketUnknown) => Reading::TicketUnknown(Fault {
                message: words::ticket_unknown(answer.status),
                ..fault(FaultKind::ProviderError)
            }),
            Some(Signal::Fault(kind)) => Reading::Failed(fault(kind)),
            None if (200..=299).contains(&answer.status) => {
                match self.read_success(answer, &body, now, whom, take) {
                    // Accepted is not answered: that nothing is there yet says nothing about the person.
                    Reading::NoMatch if self.signals.is_accepted(answer.status) => {
                        Reading::Failed(fault(FaultKind::Unrecognised))
                    }
                    reading => reading,
                }
            }
            None => Reading::Failed(fault(kind_of(answer.status, &body))),
        };
        (reading, cost)
    }

    /// What the description's rules say, else what the status says by itself.
    fn signal(&self, answer: &Answer, body: &Document, (take, role): (&Take, Role)) -> Option<Signal> {
        if let Some(signal) = self.signals.by_rule(answer.status, body) {
            return Some(signal);
        }
        let said = self.signals.by_itself(answer.status, body, role.has_ticket)?;
        // 202 is "accepted" where the step takes something: what hands in must have it, what polls can lack it for a while.
        let taken = || matches!(take.of(answer, body), FoundValues::All(_) | FoundValues::Unfit(_));
        let accepted = !take.is_empty() && (!role.has_ticket || taken());
        (said != Signal::Fault(FaultKind::Pending) || !accepted).then_some(said)
    }

    fn read_success(&self, answer: &Answer, body: &Document, now: i64, whom: &Whom, take: &Take) -> Reading {
        let readable = matches!(body, Document::Json(_) | Document::Empty);
        if readable && self.signals.is_absent(body.json()) {
            return Reading::NoMatch;
        }
        let failed = |kind| Reading::Failed(self.fault(kind, answer, body, now));
        let json = match body {
            Document::Json(json) => json,
            Document::Broken => return failed(FaultKind::BadJson),
            Document::Encoded(_) => return failed(FaultKind::BadEncoding),
            Document::Empty | Document::Page => return failed(FaultKind::Unrecognised),
        };
        if json.as_array().is_some_and(Vec::is_empty) {
            return Reading::NoMatch;
        }
        let values = self.values(json);
        let rest = match take.of(answer, body) {
            FoundValues::All(taken) => Rest::Taken(taken),
            FoundValues::NothingToTake => Rest::Nothing,
            FoundValues::Unfit(name) => {
                Rest::Lacks(Fault::new(FaultKind::Unrecognised, words::unfit_for_a_header(name)))
            }
            FoundValues::Lacks(name) => {
                let mut fault = self.fault(FaultKind::Unrecognised, answer, body, now);
                fault.remedy = Some(words::remedy_of_take(name, take.is_too_long(name, json)));
                Rest::Lacks(fault)
            }
        };
        match rest {
            Rest::Lacks(fault) if values.is_empty() => return Reading::Failed(fault),
            // With nothing to go on with it has to have what is mapped.
            Rest::Taken(_) | Rest::Nothing
                if values.is_empty() && (take.is_empty() || rest == Rest::Nothing) =>
            {
                let in_sight = self.fields.iter().any(|(_, spec)| spec.is_in_sight(json));
                return if in_sight { Reading::NoMatch } else { failed(FaultKind::Unrecognised) };
            }
            Rest::Taken(_) | Rest::Nothing | Rest::Lacks(_) => {}
        }
        if self.same_person.is_other(whom, json) {
            return Reading::OtherPerson(values.fields());
        }
        Reading::Answered { values, confidence: self.confidence.of(json), rest }
    }

    /// Whether its answers say what they cost, in the provider's own unit.
    pub fn reports_cost(&self) -> bool {
        self.cost.is_some()
    }

    /// Of an answer about several contacts: what it cost, where it says so for all of them. `body`: what is beside the list.
    pub fn cost_of_all(&self, answer: &Answer, body: Option<&Value>) -> Option<Reported> {
        self.cost.as_ref()?.of(answer, body)
    }

    /// What such an answer says of all of them at once, where it is no answer about each: that it is not ready, that what was
    /// handed in is not known, or a failure. `None`: it says nothing of that kind by a rule.
    pub fn said_of_all(&self, answer: &Answer, now: i64, (take, role): (&Take, Role)) -> Option<Reading> {
        let body = Document::of(answer);
        let fault = |kind| self.fault(kind, answer, &body, now);
        match self.signal(answer, &body, (take, role))? {
            Signal::Fault(kind) => Some(Reading::Failed(fault(kind))),
            Signal::TicketUnknown => Some(Reading::TicketUnknown(Fault {
                message: words::ticket_unknown(answer.status),
                ..fault(FaultKind::ProviderError)
            })),
            Signal::NoMatch | Signal::Suppressed => None,
        }
    }

    /// Of such an answer that has no list in it: why it is of no use to anybody. What it would say about one person it cannot
    /// say about several. `took`: what a step takes of an answer about one.
    pub fn fault_of_all(&self, answer: &Answer, now: i64, (take, role): (&Take, Role)) -> Fault {
        let body = Document::of(answer);
        let kind = match self.signal(answer, &body, (take, role)) {
            Some(Signal::Fault(kind)) => kind,
            Some(_) => FaultKind::Unrecognised,
            None if (200..=299).contains(&answer.status) => match body {
                Document::Broken => FaultKind::BadJson,
                Document::Encoded(_) => FaultKind::BadEncoding,
                _ => FaultKind::Unrecognised,
            },
            None => kind_of(answer.status, &body),
        };
        self.fault(kind, answer, &body, now)
    }

    fn values(&self, json: &Value) -> FieldMap<String> {
        self.fields.iter().filter_map(|(field, spec)| Some((field, value_of(field, spec, json)?))).collect()
    }

    fn fault(&self, kind: FaultKind, answer: &Answer, body: &Document, now: i64) -> Fault {
        let mut fault = Fault::new(kind, words::message(kind, answer.status, body));
        // Headers about a window stand on every answer: only a refusal because of it makes them a reason to wait.
        let by_rule = matches!(kind, FaultKind::RateLimited | FaultKind::Quota | FaultKind::Pending);
        let asked = by_rule.then(|| self.retry_after.of(answer, body.json(), now)).flatten();
        fault.retry_after_s = asked.or_else(|| reading::retry_after_header(answer, now));
        // Not the vendor's own word: it may have answered, and bill that.
        fault.went_out =
            kind == FaultKind::ServerError && body.json().is_none() && answer.status != UNAVAILABLE;
        if words::is_puzzling(kind, body) {
            fault.seen = Some(Box::new(Seen::of(answer)));
        }
        if kind == FaultKind::Unrecognised || kind == FaultKind::BadStatus && *body == Document::Page {
            fault.remedy = Some(words::remedy(answer.status, body));
        }
        fault
    }

    /// For somebody who tries the description out: why a successful answer has no data, and which fields it has nothing for.
    pub fn explain(&self, answer: &Answer) -> Explanation {
        let body = Document::of(answer);
        let success = (200..=299).contains(&answer.status);
        let rule = self.signals.of(answer.status, &body) == Some(Signal::NoMatch);
        let why = match body.json() {
            _ if answer.status == 204 => "its status (204) says so",
            _ if rule => "the answer fits a rule of response/no_match in the configuration",
            None if !success => "its status says so",
            json if self.signals.is_absent(json) => "there is nothing at response/no_match/absent",
            _ => "none of response/fields found a value in the answer",
        };
        let empty = |(field, spec): &(Field, &Spec)| {
            body.json().is_none_or(|json| value_of(*field, spec, json).is_none())
        };
        Explanation {
            why: why.to_owned(),
            without_value: self.fields.iter().filter(empty).map(|(field, _)| field).collect(),
            not_compared: body.json().map(|json| self.same_person.without_value(json)).unwrap_or_default(),
        }
    }

    /// A number of this answer that is no score, since it is above 1 and nothing says on which scale it is.
    pub fn score_without_scale(&self, answer: &Answer) -> Option<f64> {
        self.confidence.without_scale(Document::of(answer).json()?)
    }
}

/// See [`super::Config::explain`].
pub struct Explanation {
    /// Why it counts as no match, if it does.
    pub why: String,
    pub without_value: FieldSet,
    /// What `same_person` has a place for where the answer has nothing.
    pub not_compared: Vec<&'static str>,
}

fn value_of(field: Field, spec: &Spec, json: &Value) -> Option<String> {
    let accepts = match field.kind() {
        Kind::Phone => Accepts::StringsAndNumbers,
        Kind::Text | Kind::Profile | Kind::Seniority => Accepts::Strings,
    };
    spec.find(json, accepts, &|found| value::value(field, &found.text, found.settled))
}

/// What a status means where the description does not say otherwise.
pub fn kind_of(status: u16, body: &Document) -> FaultKind {
    match status {
        301..=303 | 307 | 308 => FaultKind::Redirect,
        // "Unavailable for legal reasons", in words that are not the vendor's.
        451 => FaultKind::Unrecognised,
        // A wall in front of the vendor says so, too, and knows nothing of the secret.
        403 if *body == Document::Page => FaultKind::Unrecognised,
        401 | 403 => FaultKind::BadCredentials,
        402 => FaultKind::Quota,
        429 => FaultKind::RateLimited,
        500..=599 => FaultKind::ServerError,
        _ => FaultKind::BadStatus,
    }
}

fn parse_fields(specs: &Node<'_>) -> Checked<FieldMap<Spec>> {
    let mut fields = FieldMap::default();
    for (name, spec) in specs.members()? {
        let field = Field::parse(name).ok_or_else(|| unknown_field(&spec))?;
        let parsed = Spec::parse(&spec)?;
        if parsed.is_e164() && field.kind() != Kind::Phone {
            return Err(spec.error("has the format of a phone number, which only phone can have"));
        }
        fields.set(field, parsed);
    }
    if fields.is_empty() {
        return Err(specs.error("must map at least one field"));
    }
    Ok(fields)
}

/// A name at this place is that of no field.
pub fn unknown_field(place: &Node<'_>) -> super::ConfigError {
    place.error(format!("is not one of the fields {}", FieldSet::ALL.names().join(", ")))
}

/// Whoever writes one means the contact's value, and would get the text as it stands: it is nowhere in an answer.
fn refuse_placeholders(node: &Node<'_>, names: &Names) -> Checked<()> {
    let refuse = |node: &Node<'_>, text: &str| {
        let ours = Placeholder::ALL.iter().map(|placeholder| placeholder.name());
        let Some(name) = ours.chain(names.all()).find(|name| text.contains(&format!("{{{name}}}"))) else {
            return Ok(());
        };
        Err(node.error(format!(
            "has the placeholder {{{name}}}, which means nothing in a response; \"same_person\" compares an answer with the contact"
        )))
    };
    match node.value {
        Value::String(text) => refuse(node, text),
        Value::Array(_) => node.items()?.iter().try_for_each(|item| refuse_placeholders(item, names)),
        Value::Object(_) => node.all_members()?.into_iter().try_for_each(|(name, member)| {
            refuse(&member, name)?;
            refuse_placeholders(&member, names)
        }),
        _ => Ok(()),
    }
}

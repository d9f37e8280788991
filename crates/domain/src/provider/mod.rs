//! Providers: their descriptions, the requests that follow from one, and what an answer says.

pub mod about;
mod advice;
mod condition;
mod confidence;
mod config;
mod document;
mod exchange;
mod failure_kind;
mod identifying;
mod mapping;
mod mending;
mod merge;
mod node;
mod pointer;
pub mod presets;
mod reading;
mod same_person;
mod secret_masking;
mod shape;
mod signals;
mod template;
mod url;
mod words;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

pub use exchange::{Answer, HttpRequest, Method};
use failure_kind::Seen;
pub use failure_kind::{Effect, Fault, FaultKind};
pub use identifying::Known;
pub use merge::merge_preset;
pub use node::ConfigError;
pub use same_person::Whom;

use self::confidence::Confidence;
use self::document::Document;
use self::mapping::{Accepts, Spec};
use self::reading::{Cost, RetryAfter};
use self::same_person::SamePerson;
use self::signals::{Signal, Signals};
use self::template::{Encoding, Placeholder, Template, Values};
use self::url::UrlTemplate;
use super::fields::{Field, FieldMap, FieldSet, Kind};
use super::people::value;
use super::person::Person;
use super::throttle;

/// A provider's description, checked and ready for use. It never holds the secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    method: Method,
    url: UrlTemplate,
    query: Vec<(String, Template)>,
    headers: Vec<(String, Template)>,
    body: Option<Body>,
    identify_by: Vec<Vec<Placeholder>>,
    /// What its request has a place for.
    sends: Vec<Placeholder>,
    response: Response,
    fills: FieldSet,
    timeout_ms: Option<u32>,
    max_requests_per_minute: Option<u32>,
    max_requests_per_day: Option<u32>,
    max_requests_per_second: Option<u32>,
    max_concurrent: Option<u32>,
    when_limited: WhenLimited,
    idempotency_header: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Json(BodyNode),
    /// `a={x}&b={y}`: a pair whose placeholder is empty is left out.
    Form(Vec<Template>),
    /// Any other text: it is one piece, so an empty placeholder gives empty text.
    Text {
        text: Template,
        encoding: Encoding,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum BodyNode {
    Literal(Value),
    Text(Template),
    List(Vec<BodyNode>),
    Object(Vec<(String, BodyNode)>),
}

/// What a call does about a provider that is asked too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhenLimited {
    /// It goes on to the next.
    Next,
    /// It waits for this one, or fails.
    Wait,
}

/// How answers are read.
#[derive(Clone, Debug, PartialEq)]
struct Response {
    signals: Signals,
    fields: FieldMap<Spec>,
    same_person: SamePerson,
    confidence: Confidence,
    retry_after: RetryAfter,
    cost: Option<Cost>,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// At least one mapped field has text.
    Match {
        values: FieldMap<String>,
        /// The score, from 0 to 1; `None`: the answer has none that can be read.
        confidence: Option<f64>,
    },
    NoMatch,
    /// It is about somebody else: no match, and no match is what is remembered.
    OtherPerson,
    /// The provider must not tell anything about this person: nobody is to be asked again.
    Suppressed,
    Failed(Fault),
}

impl Config {
    /// Checks a description as users write it and makes it ready for use. The error names the first mistake.
    pub fn parse(description: &Value) -> Result<Config, ConfigError> {
        config::parse(description)
    }

    /// The header in which this provider takes a key that marks repetitions of one request.
    /// `None`: it takes none.
    pub fn idempotency_header(&self) -> Option<&str> {
        self.idempotency_header.as_deref()
    }

    /// None when the contact has no complete identifying set (or the path of the URL cannot be filled).
    pub fn request(&self, person: &Person, secret: Option<&str>) -> Option<HttpRequest> {
        let secret = template::clean_secret(secret);
        let values = Values { person, secret: secret.as_deref() };
        if !self.has_identifying_set(&values) || !self.tells_whom(&values) {
            return None;
        }
        let url = self.render_url(&values)?;
        let headers = self
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.render(&values, Encoding::Header)?)))
            .collect();
        let body = self.body.as_ref().map(|body| body.render(&values));
        Some(HttpRequest::new(self.method, url, headers, body, secret))
    }

    /// The verdict alone, without a person to compare the answer with. `now` is in epoch seconds.
    #[cfg(test)]
    pub fn read(&self, answer: &Answer, now: i64) -> Verdict {
        self.read_all(answer, now, &Whom::default()).0
    }

    /// What the answer says about `whom`, by this provider's own rules, and what it cost, in the provider's own unit, where
    /// it says so. It came at `now`, in seconds since 1970.
    /// A failure's kind is that of the description's rules, else that of the status and body: `redirect`,
    /// `bad_credentials`, `quota`, `rate_limited`, `server_error`, `bad_status`, `pending`, `bad_json`,
    /// `bad_encoding`, `provider_error`, `unrecognised`.
    pub fn read_all(&self, answer: &Answer, now: i64, whom: &Whom) -> (Verdict, Option<f64>) {
        let rules = &self.response;
        let body = Document::of(answer);
        let cost = rules.cost.as_ref().and_then(|cost| cost.of(answer, body.json()));
        let verdict = match rules.signals.of(answer.status, &body) {
            Some(Signal::NoMatch) => Verdict::NoMatch,
            Some(Signal::Suppressed) => Verdict::Suppressed,
            Some(Signal::Fault(kind)) => Verdict::Failed(self.fault(kind, answer, &body, now)),
            None if (200..=299).contains(&answer.status) => self.read_success(answer, &body, now, whom),
            None => Verdict::Failed(self.fault(kind_of(answer.status, &body), answer, &body, now)),
        };
        (verdict, cost)
    }

    /// For somebody who tries the description out: why a successful answer has no data, and which fields it has nothing for.
    pub fn explain(&self, answer: &Answer) -> Explanation {
        let rules = &self.response;
        let body = Document::of(answer);
        let success = (200..=299).contains(&answer.status);
        let rule = rules.signals.of(answer.status, &body) == Some(Signal::NoMatch);
        let why = match body.json() {
            _ if answer.status == 204 => "its status (204) says so",
            _ if rule => "the answer fits a rule of response/no_match in the configuration",
            None if !success => "its status says so",
            json if rules.signals.is_absent(json) => "there is nothing at response/no_match/absent",
            _ => "none of response/fields found a value in the answer",
        };
        let empty = |(field, spec): &(Field, &Spec)| {
            body.json().is_none_or(|json| value_of(*field, spec, json).is_none())
        };
        Explanation {
            why,
            without_value: rules.fields.iter().filter(empty).map(|(field, _)| field).collect(),
        }
    }

    /// A number of this answer that is no score, since it is above 1 and nothing says on which scale it is.
    /// `None`: there is no such number.
    pub fn score_without_scale(&self, answer: &Answer) -> Option<f64> {
        self.response.confidence.without_scale(Document::of(answer).json()?)
    }

    /// Whether scores are read as they stand: then they must be from 0 to 1.
    pub fn has_no_scale(&self) -> bool {
        self.response.confidence.has_no_scale()
    }

    /// The time limit of one request, in milliseconds; `None`: the description gives none.
    pub fn timeout_ms(&self) -> Option<u32> {
        self.timeout_ms
    }

    /// `None`: the description gives no limit.
    pub fn max_requests_per_minute(&self) -> Option<u32> {
        self.max_requests_per_minute
    }

    /// `None`: the description gives no limit.
    pub fn max_requests_per_day(&self) -> Option<u32> {
        self.max_requests_per_day
    }

    /// How fast it may be asked.
    pub fn throttle(&self) -> throttle::Limits {
        throttle::Limits {
            concurrent: self.max_concurrent,
            per_second: self.max_requests_per_second,
            per_minute: self.max_requests_per_minute,
        }
    }

    /// Whether a call waits for this provider while it is asked too often, and does not go on to the next.
    pub fn waits_when_limited(&self) -> bool {
        self.when_limited == WhenLimited::Wait
    }

    /// What becomes of a failure: where it is about too many requests, the next provider may be kept from its turn by it.
    #[must_use]
    pub fn held(&self, mut fault: Fault) -> Fault {
        if self.waits_when_limited()
            && matches!(fault.kind, FaultKind::RateLimited | FaultKind::ProviderLimit)
        {
            fault.kind = FaultKind::RateLimited;
            fault.holds = true;
        }
        fault
    }

    /// The fields that this provider is asked for.
    pub fn fills(&self) -> FieldSet {
        self.fills
    }

    /// The fields that its answers can supply: all that are read and kept.
    pub fn maps(&self) -> FieldSet {
        self.response.fields.fields()
    }

    /// Where its requests go: scheme, host and port of every URL in it.
    pub fn origins(&self) -> BTreeSet<String> {
        [&self.url].into_iter().map(UrlTemplate::origin).collect()
    }

    /// Whether the request has a place for a secret.
    pub fn needs_secret(&self) -> bool {
        self.sends.contains(&Placeholder::Secret)
    }

    fn render_url(&self, values: &Values<'_>) -> Option<String> {
        let mut url = self.url.render_path(values)?;
        let mut pairs = self.url.render_query(values);
        pairs.extend(self.query.iter().filter_map(|(name, value)| {
            // The literal part of a query value is encoded too, unlike that of the URL itself.
            let text = value.render(values, Encoding::Plain)?;
            Some(format!("{name}={}", template::percent_encoded(&text)))
        }));
        for (position, pair) in pairs.iter().enumerate() {
            url.push(if position == 0 { '?' } else { '&' });
            url.push_str(pair);
        }
        Some(url)
    }

    fn read_success(&self, answer: &Answer, body: &Document, now: i64, whom: &Whom) -> Verdict {
        let rules = &self.response;
        let readable = matches!(body, Document::Json(_) | Document::Empty);
        if readable && rules.signals.is_absent(body.json()) {
            return Verdict::NoMatch;
        }
        let failed = |kind| Verdict::Failed(self.fault(kind, answer, body, now));
        let json = match body {
            Document::Json(json) => json,
            Document::Broken => return failed(FaultKind::BadJson),
            Document::Encoded(_) => return failed(FaultKind::BadEncoding),
            Document::Empty | Document::Page => return failed(FaultKind::Unrecognised),
        };
        let mut values = FieldMap::default();
        for (field, spec) in rules.fields.iter() {
            if let Some(value) = value_of(field, spec, json) {
                values.set(field, value);
            }
        }
        let nothing = json.as_array().is_some_and(Vec::is_empty);
        if !nothing && values.is_empty() && !rules.fields.iter().any(|(_, spec)| spec.is_in_sight(json)) {
            return failed(FaultKind::Unrecognised);
        }
        if values.is_empty() {
            return Verdict::NoMatch;
        }
        if rules.same_person.is_other(whom, json) {
            return Verdict::OtherPerson;
        }
        Verdict::Match { values, confidence: rules.confidence.of(json) }
    }

    fn fault(&self, kind: FaultKind, answer: &Answer, body: &Document, now: i64) -> Fault {
        let mut fault = Fault::new(kind, words::message(kind, answer.status, body));
        // Headers about a window stand on every answer: only a refusal because of it makes them a reason to wait.
        let by_rule = matches!(kind, FaultKind::RateLimited | FaultKind::Quota | FaultKind::Pending);
        let asked = by_rule.then(|| self.response.retry_after.of(answer, body.json(), now)).flatten();
        fault.retry_after_s = asked.or_else(|| reading::retry_after_header(answer, now));
        if words::is_puzzling(kind, body) {
            fault.seen = Some(Box::new(Seen::of(answer)));
        }
        if kind == FaultKind::Unrecognised {
            fault.remedy = Some(words::remedy(answer.status, body));
        }
        fault
    }
}

/// See [`Config::explain`].
pub struct Explanation {
    /// Why it counts as no match, if it does.
    pub why: &'static str,
    pub without_value: FieldSet,
}

fn value_of(field: Field, spec: &Spec, json: &Value) -> Option<String> {
    let accepts = match field.kind() {
        Kind::Phone => Accepts::StringsAndNumbers,
        Kind::Text | Kind::Profile | Kind::Seniority => Accepts::Strings,
    };
    spec.find(json, accepts, &|found| value::value(field, &found.text, found.settled))
}

/// What a status means where the description does not say otherwise.
fn kind_of(status: u16, body: &Document) -> FaultKind {
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

impl Body {
    fn render(&self, values: &Values<'_>) -> Vec<u8> {
        match self {
            Body::Json(node) => {
                let empty = || match node {
                    BodyNode::List(_) => Value::Array(Vec::new()),
                    _ => Value::Object(Map::new()),
                };
                node.render(values).unwrap_or_else(empty).to_string().into_bytes()
            }
            Body::Form(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().filter_map(|pair| pair.render(values, Encoding::Percent)).collect();
                pairs.join("&").into_bytes()
            }
            Body::Text { text, encoding } => text.render_all(values, *encoding).into_bytes(),
        }
    }

    fn is_told(&self, values: &Values<'_>) -> bool {
        match self {
            Body::Json(node) => node.is_told(values),
            Body::Form(pairs) => pairs.iter().any(|pair| pair.is_told(values)),
            Body::Text { text, .. } => text.is_told_in_part(values),
        }
    }

    fn templates<'t>(&'t self, found: &mut Vec<&'t Template>) {
        match self {
            Body::Json(node) => node.templates(found),
            Body::Form(pairs) => found.extend(pairs),
            Body::Text { text, .. } => found.push(text),
        }
    }
}

impl BodyNode {
    /// None for a text whose placeholder is empty, and for a list or object of which that leaves nothing: such a member
    /// or element is left out.
    fn render(&self, values: &Values<'_>) -> Option<Value> {
        Some(match self {
            BodyNode::Literal(value) => value.clone(),
            BodyNode::Text(template) => Value::String(template.render(values, Encoding::Plain)?),
            BodyNode::List(items) => {
                let kept = items.iter().filter(|item| !item.is_hollow(values));
                let rendered: Vec<Value> = kept.filter_map(|item| item.render(values)).collect();
                if rendered.is_empty() && !items.is_empty() {
                    return None;
                }
                Value::Array(rendered)
            }
            BodyNode::Object(members) => {
                let rendered: Map<String, Value> = members
                    .iter()
                    .filter_map(|(name, member)| Some((name.clone(), member.render(values)?)))
                    .collect();
                if rendered.is_empty() && !members.is_empty() {
                    return None;
                }
                Value::Object(rendered)
            }
        })
    }

    /// An element that should tell something of the contact, and of which only constants are left.
    fn is_hollow(&self, values: &Values<'_>) -> bool {
        matches!(self, BodyNode::Object(_)) && self.tells() && !self.is_told(values)
    }

    fn tells(&self) -> bool {
        match self {
            BodyNode::Literal(_) => false,
            BodyNode::Text(template) => template.tells(),
            BodyNode::List(items) => items.iter().any(BodyNode::tells),
            BodyNode::Object(members) => members.iter().any(|(_, member)| member.tells()),
        }
    }

    fn is_told(&self, values: &Values<'_>) -> bool {
        match self {
            BodyNode::Literal(_) => false,
            BodyNode::Text(template) => template.is_told(values),
            BodyNode::List(items) => items.iter().any(|item| item.is_told(values)),
            BodyNode::Object(members) => members.iter().any(|(_, member)| member.is_told(values)),
        }
    }

    fn templates<'t>(&'t self, found: &mut Vec<&'t Template>) {
        match self {
            BodyNode::Literal(_) => {}
            BodyNode::Text(template) => found.push(template),
            BodyNode::List(items) => items.iter().for_each(|item| item.templates(found)),
            BodyNode::Object(members) => members.iter().for_each(|(_, member)| member.templates(found)),
        }
    }
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;

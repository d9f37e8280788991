//! Providers: their descriptions, the requests that follow from one, and what an answer says.

mod config;
mod exchange;
mod mapping;
mod node;
pub mod presets;
mod template;
mod url;

use std::time::SystemTime;

use serde_json::{Map, Value};

pub use exchange::{Answer, Fault, FaultKind, HttpRequest, Method};
pub use node::ConfigError;

use self::mapping::{Accepts, Confidence, Pointer, Spec};
use self::template::{Encoding, Placeholder, Template, Values};
use self::url::UrlTemplate;
use super::contact::Contact;
use super::fields::{Field, FieldMap, FieldSet};

/// A provider's description, checked and ready for use. It never holds the secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    method: Method,
    url: UrlTemplate,
    query: Vec<(String, Template)>,
    headers: Vec<(String, Template)>,
    body: Option<Body>,
    identify_by: Vec<Vec<Placeholder>>,
    no_match: NoMatch,
    fields: FieldMap<Spec>,
    confidence: Confidence,
    timeout_ms: Option<u32>,
    max_requests_per_minute: Option<u32>,
    max_requests_per_day: Option<u32>,
    idempotency_header: Option<String>,
}

/// Names and values of placeholders that are known.
pub type Known = Vec<(&'static str, String)>;

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

/// How a provider says that it knows nothing about somebody.
#[derive(Clone, Debug, Default, PartialEq)]
struct NoMatch {
    status: Vec<u16>,
    absent: Option<Pointer>,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// At least one mapped field has text.
    Match {
        values: FieldMap<String>,
        confidence: Option<f64>,
    },
    NoMatch,
    Failed(Fault),
}

impl Config {
    pub fn parse(description: &Value) -> Result<Config, ConfigError> {
        config::parse(description)
    }

    /// Whether enough is known about the contact to ask this provider.
    pub fn identifies(&self, contact: &Contact) -> bool {
        // Whether there is a secret is no property of the contact.
        let values = Values { contact, secret: Some("secret") };
        self.has_identifying_set(&values) && self.url.render_path(&values).is_some()
    }

    /// The values of each identifying set that is complete, in their order; and of all identifying placeholders.
    pub fn identities(&self, contact: &Contact) -> (Vec<Known>, Known) {
        let values = Values { contact, secret: None };
        let known = |p: &Placeholder| Some((p.name(), values.get(*p)?.into_owned()));
        let complete = |set: &Vec<Placeholder>| set.iter().map(known).collect::<Option<Known>>();
        let mut all: Known = self.identify_by.iter().flatten().filter_map(known).collect();
        all.sort_unstable();
        all.dedup();
        (self.identify_by.iter().filter_map(complete).collect(), all)
    }

    /// The header in which this provider takes a key that marks repetitions of one request.
    pub fn idempotency_header(&self) -> Option<&str> {
        self.idempotency_header.as_deref()
    }

    /// None when the contact has no complete identifying set (or the path of the URL cannot be filled).
    pub fn request(&self, contact: &Contact, secret: Option<&str>) -> Option<HttpRequest> {
        let secret = template::clean_secret(secret);
        let values = Values { contact, secret: secret.as_deref() };
        if !self.has_identifying_set(&values) {
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

    /// What the answer says, by this provider's own rules. It came at `now`, in seconds since 1970.
    pub fn read(&self, answer: &Answer, now: i64) -> Verdict {
        if self.no_match.status.contains(&answer.status) {
            return Verdict::NoMatch;
        }
        match answer.status {
            200..=299 => self.read_body(&answer.body),
            status => Verdict::Failed(status_fault(status, answer, now)),
        }
    }

    pub fn timeout_ms(&self) -> Option<u32> {
        self.timeout_ms
    }

    pub fn max_requests_per_minute(&self) -> Option<u32> {
        self.max_requests_per_minute
    }

    pub fn max_requests_per_day(&self) -> Option<u32> {
        self.max_requests_per_day
    }

    /// The fields that this provider can supply.
    pub fn fills(&self) -> FieldSet {
        self.fields.fields()
    }

    /// Whether the request has a place for a secret.
    pub fn needs_secret(&self) -> bool {
        let in_pairs =
            |pairs: &[(String, Template)]| pairs.iter().any(|(_, value)| value.uses(Placeholder::Secret));
        self.url.uses(Placeholder::Secret)
            || in_pairs(&self.query)
            || in_pairs(&self.headers)
            || self.body.as_ref().is_some_and(|body| body.uses(Placeholder::Secret))
    }

    fn has_identifying_set(&self, values: &Values<'_>) -> bool {
        let known = |placeholder: &Placeholder| values.get(*placeholder).is_some();
        self.identify_by.iter().any(|set| set.iter().all(known))
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

    fn read_body(&self, body: &[u8]) -> Verdict {
        // RFC 8259 lets a reader ignore a byte order mark, and some servers send one.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let absent = self.no_match.absent.as_ref();
        if body.iter().all(u8::is_ascii_whitespace) {
            return match absent {
                Some(_) => Verdict::NoMatch,
                None => Verdict::Failed(Fault::new(
                    FaultKind::BadJson,
                    "the provider answered with an empty body",
                )),
            };
        }
        let Ok(json) = serde_json::from_slice::<Value>(body) else {
            return Verdict::Failed(Fault::new(
                FaultKind::BadJson,
                "the provider's answer is not valid JSON",
            ));
        };
        if absent.is_some_and(|pointer| is_nothing(pointer.find(&json))) {
            return Verdict::NoMatch;
        }
        let mut values = FieldMap::default();
        for (field, spec) in self.fields.iter() {
            let accepts = match field {
                Field::Phone => Accepts::StringsAndNumbers,
                _ => Accepts::Strings,
            };
            if let Some(text) = spec.text(&json, accepts) {
                values.set(field, text);
            }
        }
        if values.is_empty() {
            return Verdict::NoMatch;
        }
        Verdict::Match { values, confidence: self.confidence.of(&json) }
    }
}

fn is_nothing(found: Option<&Value>) -> bool {
    match found {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => false,
    }
}

fn status_fault(status: u16, answer: &Answer, now: i64) -> Fault {
    let (kind, meaning) = match status {
        300..=399 => (FaultKind::Redirect, "a redirect, which is not followed"),
        401 | 403 => (FaultKind::BadCredentials, "it does not accept the secret"),
        402 => (FaultKind::Quota, "the account with it has nothing left"),
        429 => (FaultKind::RateLimited, "too many requests"),
        500..=599 => (FaultKind::ServerError, "an error on its side"),
        _ => (FaultKind::BadStatus, "not a status that was expected"),
    };
    let mut fault = Fault::new(kind, format!("the provider answered with status {status}: {meaning}"));
    fault.retry_after_s = answer.header("retry-after").and_then(|text| retry_after_s(text.trim(), now));
    fault
}

/// Seconds, or a date in any of HTTP's three forms; one that has passed means at once. What could not be meant is not
/// passed on.
fn retry_after_s(text: &str, now: i64) -> Option<u64> {
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            date.as_secs().saturating_sub(u64::try_from(now).ok()?)
        }
    };
    u32::try_from(seconds).ok().map(u64::from)
}

impl Body {
    fn render(&self, values: &Values<'_>) -> Vec<u8> {
        match self {
            Body::Json(node) => node.render(values).unwrap_or(Value::Null).to_string().into_bytes(),
            Body::Form(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().filter_map(|pair| pair.render(values, Encoding::Percent)).collect();
                pairs.join("&").into_bytes()
            }
            Body::Text { text, encoding } => text.render_all(values, *encoding).into_bytes(),
        }
    }

    fn uses(&self, placeholder: Placeholder) -> bool {
        match self {
            Body::Json(node) => node.uses(placeholder),
            Body::Form(pairs) => pairs.iter().any(|pair| pair.uses(placeholder)),
            Body::Text { text, .. } => text.uses(placeholder),
        }
    }
}

impl BodyNode {
    /// None for a text whose placeholder is empty: its member or element is left out.
    fn render(&self, values: &Values<'_>) -> Option<Value> {
        Some(match self {
            BodyNode::Literal(value) => value.clone(),
            BodyNode::Text(template) => Value::String(template.render(values, Encoding::Plain)?),
            BodyNode::List(items) => items.iter().filter_map(|item| item.render(values)).collect(),
            BodyNode::Object(members) => Value::Object(
                members
                    .iter()
                    .filter_map(|(name, member)| Some((name.clone(), member.render(values)?)))
                    .collect(),
            ),
        })
    }

    fn uses(&self, placeholder: Placeholder) -> bool {
        match self {
            BodyNode::Literal(_) => false,
            BodyNode::Text(template) => template.uses(placeholder),
            BodyNode::List(items) => items.iter().any(|item| item.uses(placeholder)),
            BodyNode::Object(members) => members.iter().any(|(_, m)| m.uses(placeholder)),
        }
    }
}

/// A user's `config` over a preset: objects are merged, null takes away, anything else replaces (RFC 7386).
///
/// A field or confidence rule of another form (`join` over `pointer`, say) replaces the preset's as a whole, since
/// no rule has two forms.
pub fn merge_preset(preset: &Value, config: &Value) -> Value {
    merge(preset, config, false)
}

fn merge(under: &Value, over: &Value, in_response: bool) -> Value {
    const FORMS: [&str; 3] = ["pointer", "join", "value"];
    let Value::Object(over_members) = over else {
        return over.clone();
    };
    let form = |value: &Value| FORMS.iter().position(|key| value.get(key).is_some());
    let other_form =
        in_response && form(over).is_some() && form(under).is_some() && form(over) != form(under);
    let mut merged = match under {
        Value::Object(members) if !other_form => members.clone(),
        _ => Map::new(),
    };
    for (key, member) in over_members {
        if member.is_null() {
            merged.remove(key);
            continue;
        }
        let below = merged.get(key).unwrap_or(&Value::Null);
        let value = merge(below, member, in_response || key == "response");
        merged.insert(key.clone(), value);
    }
    Value::Object(merged)
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;

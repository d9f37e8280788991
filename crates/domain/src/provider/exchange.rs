//! What goes to a provider and what comes back, as plain data.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::failure_kind::Seen;
use super::secret_masking;
use super::{Fault, Verdict};
use crate::fields::FieldMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

impl Method {
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
        }
    }
}

/// A request ready to be sent. It carries the secret, so its `Debug` shows only [`HttpRequest::masked`].
#[derive(Clone)]
pub struct HttpRequest {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    /// What is shown as `***`: the secret, and what the login took.
    hidden: Vec<String>,
}

impl HttpRequest {
    pub fn new(
        method: Method,
        url: String,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
        secret: Option<String>,
    ) -> HttpRequest {
        let hidden = secret.into_iter().filter(|text| !text.is_empty()).collect();
        HttpRequest { method, url, headers, body, hidden }
    }

    /// The request with these texts masked as well, wherever it is shown.
    #[must_use]
    pub fn hiding<'t>(mut self, texts: impl Iterator<Item = &'t str>) -> HttpRequest {
        self.hidden.extend(texts.filter(|text| !text.is_empty()).map(str::to_owned));
        self
    }

    /// The password that is sent encoded, by HTTP's Basic authentication (RFC 7617): a vendor may repeat it as it is.
    pub fn basic_password(&self) -> Option<String> {
        const SHORTEST: usize = 4;
        let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("authorization");
        let (_, value) = self.headers.iter().find(named)?;
        let (scheme, pair) = value.split_once(' ')?;
        let pair =
            BASE64_STANDARD.decode(pair.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let (_, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
        // What is shorter could be a word of anybody's.
        (password.chars().count() >= SHORTEST).then(|| password.to_owned())
    }

    /// The request for people to look at: `***` stands wherever the secret went, in whatever encoding.
    pub fn masked(&self) -> Value {
        let headers: serde_json::Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Value::String(self.mask_text(value))))
            .collect();
        let body = match self.body.as_deref() {
            None => Value::Null,
            Some(bytes) => match serde_json::from_slice::<Value>(bytes) {
                Ok(json) => self.mask(json),
                Err(_) => Value::String(self.mask_text(&String::from_utf8_lossy(bytes))),
            },
        };
        json!({
            "method": self.method.name(),
            "url": self.mask_text(&self.url),
            "headers": headers,
            "body": body,
        })
    }

    /// The same without its body, to know what is secret in it again in an answer.
    #[must_use]
    pub fn without_body(&self) -> HttpRequest {
        let HttpRequest { method, url, headers, hidden, .. } = self;
        let (url, headers, hidden) = (url.clone(), headers.clone(), hidden.clone());
        HttpRequest { method: *method, url, headers, body: None, hidden }
    }

    /// Bytes of the request line and the header, without what frames the message.
    pub fn head_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.url.len() + headers.sum::<usize>()
    }

    /// Whether a text has the secret in it. What is shorter could be a word of anybody's.
    pub fn echoes(&self, text: &str) -> bool {
        const SHORTEST: usize = 8;
        let mut long = self.hidden.iter().filter(|hidden| hidden.len() >= SHORTEST);
        long.any(|hidden| secret_masking::masked(text, hidden) != text)
    }

    /// An answer without the values that hand the secret back: they are nobody's data. What is shown of an answer that
    /// was not understood is masked.
    pub fn without_echo(&self, verdict: Verdict) -> Verdict {
        let (values, confidence) = match verdict {
            Verdict::Match { values, confidence } => (values, confidence),
            Verdict::Failed(fault) => return Verdict::Failed(self.without_echo_in(fault)),
            other => return other,
        };
        let values = self.without_echoes(values);
        if values.is_empty() { Verdict::NoMatch } else { Verdict::Match { values, confidence } }
    }

    /// How the answer to this request begins, for a person who looks at it: at most 100 printable characters, masked.
    pub fn beginning_of(&self, answer: &Answer) -> String {
        Seen::of(answer).beginning(|text| self.mask_answer(text))
    }

    /// The same of a failure: its message shows what of the answer a person wants to see.
    pub fn without_echo_in(&self, mut fault: Fault) -> Fault {
        if let Some(seen) = fault.seen.take() {
            fault.message.push_str(&seen.words(|text| self.mask_answer(text)));
        }
        fault.message = self.mask_answer(&fault.message);
        fault.remedy = fault.remedy.map(|remedy| self.mask_answer(&remedy));
        fault
    }

    /// The values that do not hand the secret back.
    pub fn without_echoes(&self, mut values: FieldMap<String>) -> FieldMap<String> {
        for field in values.fields().iter() {
            if values.get(field).is_some_and(|value| self.echoes(value)) {
                values.unset(field);
            }
        }
        values
    }

    fn mask_text(&self, text: &str) -> String {
        self.hidden.iter().fold(text.to_owned(), |text, hidden| secret_masking::masked(&text, hidden))
    }

    /// Of what a vendor wrote: it may repeat a secret cut off.
    fn mask_answer(&self, text: &str) -> String {
        let parts = |text: String, hidden: &String| secret_masking::masked_in_parts(&text, hidden);
        self.hidden.iter().fold(text.to_owned(), parts)
    }

    pub fn mask(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.mask_text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.mask(item)).collect(),
            Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(name, member)| (self.mask_text(&name), self.mask(member)))
                    .collect(),
            ),
            // A secret of digits alone could stand in a text body as a JSON number.
            Value::Number(number) => {
                let text = number.to_string();
                let masked = self.mask_text(&text);
                if masked == text { Value::Number(number) } else { Value::String(masked) }
            }
            other => other,
        }
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpRequest {}", self.masked())
    }
}

/// A complete answer, as received and decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;

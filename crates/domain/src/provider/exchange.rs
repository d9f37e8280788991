//! What goes to a provider and what comes back, as plain data.

use std::fmt;

use serde_json::{Value, json};

use super::Verdict;
use super::masking;
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
    secret: Option<String>,
}

impl HttpRequest {
    pub fn new(
        method: Method,
        url: String,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
        secret: Option<String>,
    ) -> HttpRequest {
        HttpRequest { method, url, headers, body, secret: secret.filter(|text| !text.is_empty()) }
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

    /// Bytes of the request line and the header, without what frames the message.
    pub fn head_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.url.len() + headers.sum::<usize>()
    }

    /// Whether a text has the secret in it. What is shorter could be a word of anybody's.
    fn echoes(&self, text: &str) -> bool {
        const SHORTEST: usize = 8;
        self.secret.as_deref().is_some_and(|secret| secret.len() >= SHORTEST) && self.mask_text(text) != text
    }

    /// An answer without the values that hand the secret back: they are nobody's data. What is shown of an answer that
    /// was not understood is masked.
    pub fn without_echo(&self, verdict: Verdict) -> Verdict {
        let (values, confidence) = match verdict {
            Verdict::Match { values, confidence } => (values, confidence),
            Verdict::Failed(mut fault) => {
                if let Some(seen) = fault.seen.take() {
                    fault.message.push_str(&seen.words(|text| self.mask_text(text)));
                }
                fault.remedy = fault.remedy.map(|remedy| self.mask_text(&remedy));
                return Verdict::Failed(fault);
            }
            other => return other,
        };
        let kept = values.iter().filter(|(_, value)| !self.echoes(value));
        let values: FieldMap<String> = kept.map(|(field, value)| (field, value.clone())).collect();
        if values.is_empty() { Verdict::NoMatch } else { Verdict::Match { values, confidence } }
    }

    fn mask_text(&self, text: &str) -> String {
        match self.secret.as_deref() {
            Some(secret) => masking::masked(text, secret),
            None => text.to_owned(),
        }
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

/// Why a provider did not give a usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No complete answer within the time allowed.
    Timeout,
    /// Nobody listens at that address.
    Refused,
    /// No way to that address.
    Unreachable,
    /// The connection ended before the answer was complete.
    Reset,
    /// The host name could not be resolved.
    Dns,
    /// No trustworthy TLS connection.
    Tls,
    /// The address guard said no.
    AddressRefused,
    /// A redirect, which is never followed.
    Redirect,
    /// More than the caps on header or body allow.
    TooLarge,
    /// What came back was not HTTP that we understand.
    BadHttp,
    /// A success whose body should be JSON, and is none.
    BadJson,
    /// An answer in an encoding that is not undone.
    BadEncoding,
    /// An answer that is not of the kind that the description describes: a page, or JSON with nothing mapped in it.
    Unrecognised,
    /// 401 or 403, unless the description says otherwise.
    BadCredentials,
    /// 429, or what the description says.
    RateLimited,
    /// 402: the account with the provider has nothing left.
    Quota,
    /// 5xx.
    ServerError,
    /// Any other status that is not a success.
    BadStatus,
    /// The answer is not ready: the provider wants to be asked again later.
    Pending,
    /// An answer that says that something went wrong.
    ProviderError,
    /// It failed too often in a row, and is not asked for a while: see [`crate::health`].
    BreakerOpen,
    /// Our own limit on requests to this provider.
    ProviderLimit,
    /// Too many requests are under way in this session.
    Busy,
    /// A mistake of ours.
    Internal,
}

/// What a failure says of the provider itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is in trouble, whatever was asked.
    Unwell,
    /// The same, and it may have said for how long.
    ServerError,
    /// It wants to be asked less often.
    RateLimited,
    /// Its account has nothing left.
    Quota,
    /// It does not know the secret.
    Credentials,
    /// It is there, and has trouble with this request only.
    Answer,
    /// Nothing: it was not asked, or the trouble is ours.
    Nothing,
}

impl FaultKind {
    /// What it says of the provider itself.
    pub const fn effect(self) -> Effect {
        match self {
            FaultKind::Timeout
            | FaultKind::Refused
            | FaultKind::Unreachable
            | FaultKind::Reset
            | FaultKind::Dns
            | FaultKind::Tls
            | FaultKind::BadHttp
            | FaultKind::BadJson
            | FaultKind::BadEncoding => Effect::Unwell,
            FaultKind::ServerError => Effect::ServerError,
            FaultKind::RateLimited => Effect::RateLimited,
            FaultKind::Quota => Effect::Quota,
            FaultKind::BadCredentials => Effect::Credentials,
            FaultKind::BadStatus
            | FaultKind::Redirect
            | FaultKind::TooLarge
            | FaultKind::Pending
            | FaultKind::ProviderError
            | FaultKind::Unrecognised => Effect::Answer,
            FaultKind::AddressRefused
            | FaultKind::BreakerOpen
            | FaultKind::ProviderLimit
            | FaultKind::Busy
            | FaultKind::Internal => Effect::Nothing,
        }
    }

    /// The stable name that users see.
    pub const ALL: [FaultKind; 24] = [
        FaultKind::Timeout,
        FaultKind::Refused,
        FaultKind::Unreachable,
        FaultKind::Reset,
        FaultKind::Dns,
        FaultKind::Tls,
        FaultKind::AddressRefused,
        FaultKind::Redirect,
        FaultKind::TooLarge,
        FaultKind::BadHttp,
        FaultKind::BadJson,
        FaultKind::BadEncoding,
        FaultKind::Unrecognised,
        FaultKind::BadCredentials,
        FaultKind::RateLimited,
        FaultKind::Quota,
        FaultKind::ServerError,
        FaultKind::BadStatus,
        FaultKind::Pending,
        FaultKind::ProviderError,
        FaultKind::BreakerOpen,
        FaultKind::ProviderLimit,
        FaultKind::Busy,
        FaultKind::Internal,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            FaultKind::Timeout => "timeout",
            FaultKind::Refused => "refused",
            FaultKind::Unreachable => "unreachable",
            FaultKind::Reset => "reset",
            FaultKind::Dns => "dns",
            FaultKind::Tls => "tls",
            FaultKind::AddressRefused => "address_refused",
            FaultKind::Redirect => "redirect",
            FaultKind::TooLarge => "too_large",
            FaultKind::BadHttp => "bad_http",
            FaultKind::BadJson => "bad_json",
            FaultKind::BadEncoding => "bad_encoding",
            FaultKind::Unrecognised => "unrecognised",
            FaultKind::BadCredentials => "bad_credentials",
            FaultKind::RateLimited => "rate_limited",
            FaultKind::Quota => "quota",
            FaultKind::ServerError => "server_error",
            FaultKind::BadStatus => "bad_status",
            FaultKind::Pending => "pending",
            FaultKind::ProviderError => "provider_error",
            FaultKind::BreakerOpen => "breaker_open",
            FaultKind::ProviderLimit => "provider_limit",
            FaultKind::Busy => "busy",
            FaultKind::Internal => "internal",
        }
    }
}

/// A provider's failure, in words that hold no secret, and of an answer what [`HttpRequest::without_echo`] puts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
    /// What `Retry-After` asked for, in whole seconds.
    pub retry_after_s: Option<u64>,
    /// It was not asked, because of what it said or did before.
    pub paused: bool,
    /// Nor was it, because its request wants a secret that it has not.
    pub without_secret: bool,
    /// What the answer was like, as it came: not to be shown before it is masked.
    pub seen: Option<Box<Seen>>,
    /// What would make such an answer understood.
    pub remedy: Option<String>,
    /// The request went out on a used connection, which ended without an answer: whether it arrived is not known.
    pub unanswered: bool,
}

impl Fault {
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault {
            kind,
            message: message.into(),
            retry_after_s: None,
            paused: false,
            without_secret: false,
            seen: None,
            remedy: None,
            unanswered: false,
        }
    }

    /// Its request names {secret}, and there is none: it is not asked, and nobody's address leaves for nothing.
    pub fn without_secret(provider: &str) -> Fault {
        /// How soon a job looks whether it has been given one.
        const LOOK_AGAIN_S: u64 = 10;
        let name = provider.replace('\'', "''");
        let message = format!(
            "it was not asked, as it has no secret (none was given, or a restore lost it): run SELECT leadlex.alter_provider('{name}', secret => 'YOUR_KEY')"
        );
        Fault {
            retry_after_s: Some(LOOK_AGAIN_S),
            without_secret: true,
            ..Fault::new(FaultKind::BadCredentials, message)
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// What of an answer a person wants to see who wonders why it was not understood. It may hold the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub content_type: Option<String>,
    pub location: Option<String>,
    pub text: String,
}

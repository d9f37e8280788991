//! The request that gets a token before any other, and what it takes. Its values are everybody's who uses the provider.

use super::document::Document;
use super::exchange::{Answer, HttpRequest};
use super::failure_kind::{Fault, FaultKind, Seen};
use super::node::{Checked, Node};
use super::parse_request::parse_request;
use super::pointer::Pointer;
use super::request::RequestTemplate;
use super::taken::{FoundValues, Names, Take, Taken};
use super::values::Values;
use super::{reading, response, template, words};
use crate::person::Person;

/// So much sooner than the vendor says a token is taken to be over.
const MARGIN_S: u64 = 30;
/// A year.
const MOST_VALID_S: u32 = 31_536_000;

/// The `login` of a description, checked and ready for use. It never holds the secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    request: RequestTemplate,
    take: Take,
    valid_for: Option<ValidFor>,
}

#[derive(Clone, Debug, PartialEq)]
enum ValidFor {
    At(Pointer),
    Seconds(u32),
}

/// What a login gave.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LoginValues {
    /// Never to be shown, logged or written to a table.
    pub taken: Taken,
    /// From the answer on, 30 s less than the vendor says, or half of up to 30 s, and 1 s at least; `None`: until a step is answered with 401.
    pub valid_for_s: Option<u64>,
}

impl LoginValues {
    /// The values for shared memory, without how long they hold; [`LoginValues::from_bytes`] reads them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in self.taken.iter().flat_map(|(name, value)| [name, value]) {
            // Within u32 by the bounds of names and values.
            bytes.extend((text.len() as u32).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    /// `None`: it is not what [`LoginValues::to_bytes`] wrote.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<LoginValues> {
        let mut text = || -> Option<Option<&str>> {
            let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
                return bytes.is_empty().then_some(None);
            };
            let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            bytes = rest;
            Some(Some(std::str::from_utf8(text).ok()?))
        };
        let mut taken = Taken::NOTHING;
        while let Some(name) = text()? {
            taken.set(name, text()??.to_owned());
        }
        Some(LoginValues { taken, valid_for_s: None })
    }
}

/// How a login failed, for shared memory: those who wait for it are told the same. [`failure_from_bytes`] reads it.
pub fn failure_to_bytes(fault: &Fault) -> Vec<u8> {
    serde_json::to_vec(&(fault.kind.name(), fault.retry_after_s, &fault.message)).unwrap_or_default()
}

/// `None`: it is not what [`failure_to_bytes`] wrote.
pub fn failure_from_bytes(bytes: &[u8]) -> Option<Fault> {
    let (name, retry_after_s, message): (String, Option<u64>, String) = serde_json::from_slice(bytes).ok()?;
    let kind = FaultKind::named(&name)?;
    Some(Fault { retry_after_s, ..Fault::new(kind, message) })
}

/// Names alone.
impl std::fmt::Debug for LoginValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.taken.iter().map(|(name, _)| name).collect();
        write!(f, "LoginValues {names:?} for {:?} s", self.valid_for_s)
    }
}

impl Login {
    /// Reads what it takes: to be known before its requests and those of the steps.
    pub fn parse_take(node: &Node<'_>) -> Checked<Take> {
        Take::parse(&node.object(&KEYS)?.required("take")?, &Names::default())
    }

    /// Reads the rest.
    pub fn parse(node: &Node<'_>, take: Take) -> Checked<Login> {
        let object = node.object(&KEYS)?;
        let place = object.required("request")?;
        let request = parse_request(&place, &Names::of_a_login())?;
        let of_person = |template: &&template::Template| template.tells();
        if request.templates().iter().any(of_person) || !request.wanted().is_empty() {
            return Err(place.error(
                "must not name anything of a contact: a login is about no contact, and its values are for every request; it knows {secret} alone",
            ));
        }
        let valid_for = object.optional("valid_for").map(|rule| parse_valid_for(&rule)).transpose()?;
        Ok(Login { request, take, valid_for })
    }

    /// What headers of requests have a place for.
    pub fn in_headers<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        self.take.in_headers(names);
    }

    /// What it takes.
    pub fn take(&self) -> &Take {
        &self.take
    }

    /// `None`: its address cannot be filled, as there is no secret.
    pub fn request(&self, secret: Option<&str>) -> Option<HttpRequest> {
        let secret = template::clean_secret(secret);
        self.request.render(&Values::of(&Person::default(), secret.as_deref()))
    }

    /// What the answer to that request gives. It came at `now`, in seconds since 1970.
    ///
    /// The fault is `bad_credentials`, but for a server that is in trouble (`server_error`), limits requests
    /// (`rate_limited`) or sends elsewhere (`redirect`), and for what is not its word (`unrecognised`): that says nothing
    /// about the secret.
    pub fn read(&self, request: &HttpRequest, answer: &Answer, now: i64) -> Result<LoginValues, Fault> {
        let body = Document::of(answer);
        let success = (200..=299).contains(&answer.status);
        let taken = match self.take.of(answer, &body) {
            FoundValues::All(taken) if success => taken,
            FoundValues::Unfit(name) if success => {
                let message = format!("login: {}", words::unfit_for_a_header(name));
                return Err(Fault::new(FaultKind::Unrecognised, message));
            }
            found => {
                let mut fault = fault(answer, &body, now);
                if let (FoundValues::Lacks(name), true, FaultKind::BadCredentials) =
                    (found, success, fault.kind)
                {
                    fault.message = format!(
                        "login: the provider answered with status {}, and without the value that login.take calls {name}",
                        answer.status
                    );
                    fault.remedy =
                        Some("Compare login.take in the provider's configuration with the vendor's page about its login.".to_owned());
                }
                return Err(request.without_echo_in(fault));
            }
        };
        let valid_for_s = match &self.valid_for {
            None => None,
            Some(ValidFor::Seconds(seconds)) => Some(u64::from(*seconds)),
            Some(ValidFor::At(place)) => body.json().and_then(|json| reading::seconds_at(place, json)),
        };
        let valid_for_s = valid_for_s.map(used_for);
        Ok(LoginValues { taken, valid_for_s })
    }

    /// The request that it sends.
    pub fn template(&self) -> &RequestTemplate {
        &self.request
    }
}

const KEYS: [&str; 3] = ["request", "take", "valid_for"];

/// How long a token is used that holds for so many seconds. One that is over at once would be a login for every request.
fn used_for(seconds: u64) -> u64 {
    match seconds {
        0..=MARGIN_S => (seconds / 2).max(1),
        _ => seconds - MARGIN_S,
    }
}

fn parse_valid_for(node: &Node<'_>) -> Checked<ValidFor> {
    let object = node.object(&["pointer", "seconds"])?;
    match (object.optional("pointer"), object.optional("seconds")) {
        (Some(pointer), None) => Pointer::parse(&pointer).map(ValidFor::At),
        // What is over at once would be a login for every request.
        (None, Some(seconds)) => seconds.integer(MARGIN_S as u32 + 1, MOST_VALID_S).map(ValidFor::Seconds),
        _ => Err(node.error("must have either pointer or seconds")),
    }
}

/// Nothing of the answer's text, nor of where it sends: a token may stand anywhere in an answer that was not understood, and
/// what is not known to be one cannot be masked.
fn fault(answer: &Answer, body: &Document, now: i64) -> Fault {
    let kind = match response::kind_of(answer.status, body) {
        other @ (FaultKind::ServerError | FaultKind::RateLimited | FaultKind::Redirect) => other,
        _ if *body == Document::Page => FaultKind::Unrecognised,
        _ => FaultKind::BadCredentials,
    };
    let mut fault = Fault::new(kind, format!("login: {}", words::message(kind, answer.status, body)));
    if kind == FaultKind::BadCredentials && matches!(answer.status, 404 | 405 | 410) {
        fault.message = format!(
            "login: the provider answered with status {}, so login.request may have the wrong address or method",
            answer.status
        );
        fault.remedy = Some(
            "Compare login.request in the provider's configuration with the vendor's page about its login."
                .to_owned(),
        );
    }
    fault.retry_after_s = reading::retry_after_header(answer, now);
    if (200..=299).contains(&answer.status) || words::is_puzzling(kind, body) {
        fault.seen = Some(Box::new(Seen::kind_and_size(answer)));
    }
    fault
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;

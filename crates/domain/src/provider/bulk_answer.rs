//! An answer about several contacts: which part of it is about whom.

use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Config;
use super::Reported;
use super::bulk::Bulk;
use super::document::Document;
use super::exchange::{Answer, HttpRequest};
use super::failure_kind::{Fault, FaultKind};
use super::matching::Matching;
use super::pointer::Pointer;
use super::response::Role;
use super::submission;

/// What an answer says about one of the contacts.
#[derive(Debug, PartialEq)]
pub enum Part {
    /// As if it had been asked about alone; for [`super::Inquiry::take`].
    Answer(Answer),
    /// Nothing can be said about it; for [`super::Inquiry::fail`]. `denied`: the whole has status 401.
    Failed { fault: Fault, denied: bool },
}

/// What the whole of it came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Whole {
    /// The request is to be sent again in halves: the vendor does not take it as it is.
    Halve,
    /// Each contact had its part. With what all of it cost, in the provider's own unit, where it says so; what the parts say of
    /// that does not count then.
    Told(Option<Reported>),
}

/// Statuses that can mean that the vendor takes fewer contacts, or not one of them.
const DIVISIBLE: [u16; 3] = [400, 413, 422];

impl Config {
    /// Reads the answer to `request`, which was about the contacts with these ids, in their order; `take` is given the part of
    /// each, by its number. A part is at most `most_bytes` long. It came at `now`, in seconds since 1970.
    ///
    /// Failures are those of [`super::Inquiry::take`], `unrecognised` where there is no list, one of another length, or no part
    /// for a contact, and `too_large` for a part. They are masked.
    pub fn read_all_of(
        &self,
        (request, answer): (&HttpRequest, &Answer),
        ids: &[String],
        (most_bytes, now): (usize, i64),
        take: &mut dyn FnMut(usize, Part),
    ) -> Whole {
        let Some(bulk) = self.bulk() else { return Whole::Told(None) };
        let text = within(answer.status).then(|| text_of(answer)).flatten();
        let list = text.as_deref().and_then(|text| list_at(text, &bulk.answers));
        let Some(list) = list else {
            return self.read_failure((request, answer), ids, (most_bytes, now), take);
        };
        let beside = text.as_deref().and_then(|text| beside(text, &bulk.answers, most_bytes));
        let seat = |(at, id): (usize, &String)| submission::Place::at_once(at, ids.len(), id);
        let seats: Vec<submission::Place> = ids.iter().enumerate().map(seat).collect();
        let said = Said { answer, list, unknown: bulk.unknown(text.as_deref()) };
        bulk.tell(&said, &seats, most_bytes, take);
        Whole::Told(self.steps[0].response.cost_of_all(answer, beside.as_ref()))
    }

    /// Of an answer about contacts that were handed in before, as many as are asked about now: `take` is given the part of each,
    /// by its number among `seats`. With what is beside the list; `None`: there is no list.
    pub(super) fn read_elements(
        &self,
        answer: &Answer,
        seats: &[submission::Place],
        most_bytes: usize,
        take: &mut dyn FnMut(usize, Part),
    ) -> Option<Option<Value>> {
        let bulk = self.bulk()?;
        let text = within(answer.status).then(|| text_of(answer)).flatten()?;
        let list = list_at(&text, &bulk.answers)?;
        let said = Said { answer, list, unknown: bulk.unknown(Some(&text)) };
        bulk.tell(&said, seats, most_bytes, take);
        Some(beside(&text, &bulk.answers, most_bytes))
    }

    fn read_failure(
        &self,
        (request, answer): (&HttpRequest, &Answer),
        ids: &[String],
        (most_bytes, now): (usize, i64),
        take: &mut dyn FnMut(usize, Part),
    ) -> Whole {
        let step = &self.steps[0];
        let role = Role { last: step.last, has_ticket: step.has_ticket };
        // What an error says is short.
        let body = if answer.body.len() > most_bytes { Vec::new() } else { answer.body.clone() };
        let whole = Answer { status: answer.status, headers: answer.headers.clone(), body };
        let fault = step.response.fault_of_all(&whole, now, (&step.take, role));
        if ids.len() > 1 && is_divisible(answer.status, &fault) {
            return Whole::Halve;
        }
        let fault = request.without_echo_in(fault);
        for at in 0..ids.len() {
            take(at, Part::Failed { fault: fault.clone(), denied: answer.status == 401 });
        }
        Whole::Told(step.response.cost_of_all(answer, Document::of(&whole).json()))
    }
}

/// Whether the vendor may take fewer contacts.
pub(super) fn is_divisible(status: u16, fault: &Fault) -> bool {
    let account = [FaultKind::Quota, FaultKind::RateLimited, FaultKind::BadCredentials];
    DIVISIBLE.contains(&status) && !account.contains(&fault.kind)
}

fn unrecognised(message: String) -> Fault {
    let remedy = Some(
        "Compare \"bulk\" in its configuration with the vendor's documentation: \"answers\", \"match\" and \"status\". SELECT leadlex.alter_provider(name, config => '{\"bulk\": null}') asks about one contact at a time.".to_owned(),
    );
    Fault { remedy, ..Fault::new(FaultKind::Unrecognised, message) }
}

/// Where the answer about a contact stands.
#[derive(Clone, Copy)]
enum Place {
    At(usize),
    Missing,
    Twice,
    /// Among those whom the vendor does not know.
    Unknown,
}

/// An answer about several.
struct Said<'a> {
    answer: &'a Answer,
    list: Vec<&'a RawValue>,
    /// The ids of those whom the vendor does not know.
    unknown: Vec<String>,
}

impl Bulk {
    /// Whom the vendor says, apart from its answers, that it does not know.
    fn unknown(&self, text: Option<&str>) -> Vec<String> {
        let Matching::Id { no_match: Some(place), .. } = &self.matching else { return Vec::new() };
        let list = text.and_then(|text| list_at(text, place)).unwrap_or_default();
        list.into_iter().filter_map(text_or_number).collect()
    }

    fn tell(
        &self,
        said: &Said<'_>,
        seats: &[submission::Place],
        most_bytes: usize,
        take: &mut dyn FnMut(usize, Part),
    ) {
        let places = match self.places(said, seats) {
            Ok(places) => places,
            Err(message) => {
                let failed = || Part::Failed { fault: unrecognised(message.clone()), denied: false };
                return (0..seats.len()).for_each(|at| take(at, failed()));
            }
        };
        for (at, place) in places.into_iter().enumerate() {
            let part = match place {
                Place::At(element) => {
                    self.part(said.answer, said.list[element], most_bytes).map_err(unrecognised)
                }
                Place::Unknown => Ok(Some(no_content(said.answer))),
                Place::Missing => Err(unrecognised("its answer says nothing about this contact".to_owned())),
                Place::Twice => Err(unrecognised("its answer has the id of this contact twice".to_owned())),
            };
            let too_large = |part| match part {
                Err(fault) => Part::Failed { fault, denied: false },
                Ok(None) => Part::Failed { fault: too_large(most_bytes), denied: false },
                Ok(Some(answer)) => Part::Answer(answer),
            };
            take(at, too_large(part));
        }
    }

    fn places(&self, said: &Said<'_>, seats: &[submission::Place]) -> Result<Vec<Place>, String> {
        let list = &said.list;
        let Matching::Id { answer, .. } = &self.matching else {
            let contacts = seats.first().map_or(0, |seat| seat.of);
            if list.len() != contacts {
                let answers = list.len();
                return Err(format!("its answer has {answers} elements for {contacts} contacts"));
            }
            return Ok(seats.iter().map(|seat| Place::At(seat.at)).collect());
        };
        let numbers: HashMap<&str, usize> = seats.iter().map(|seat| seat.id.as_str()).zip(0..).collect();
        let mut places = vec![Place::Missing; seats.len()];
        for (at, element) in list.iter().enumerate() {
            let id = raw_at(element, answer).and_then(text_or_number);
            // One that was not sent is nobody's.
            if let Some(number) = id.and_then(|id| numbers.get(id.as_str()).copied()) {
                places[number] = match places[number] {
                    Place::Missing => Place::At(at),
                    Place::At(_) | Place::Twice | Place::Unknown => Place::Twice,
                };
            }
        }
        for number in said.unknown.iter().filter_map(|id| numbers.get(id.as_str()).copied()) {
            places[number] = match places[number] {
                Place::Missing | Place::Unknown => Place::Unknown,
                Place::At(_) | Place::Twice => Place::Twice,
            };
        }
        Ok(places)
    }

    /// The answer as if it were about this contact alone; `None`: it is too long. Err: it has a status that is none.
    fn part(&self, whole: &Answer, element: &RawValue, most_bytes: usize) -> Result<Option<Answer>, String> {
        if element.get().len() > most_bytes {
            return Ok(None);
        }
        // What could hold something about a person, or says that there is nothing.
        if !element.get().starts_with(['{', '[', 'n']) {
            return Err("its answer about this contact is no object and no list".to_owned());
        }
        let given =
            self.status.as_ref().and_then(|place| raw_at(element, place)).filter(|raw| raw.get() != "null");
        let status = match given {
            None => whole.status,
            Some(raw) => {
                let number = text_or_number(raw).and_then(|text| text.trim().parse::<u16>().ok());
                let status = number.filter(|status| (100..=599).contains(status));
                status
                    .ok_or("its answer about this contact has a status that is none of HTTP's".to_owned())?
            }
        };
        let mut headers = headers_of(whole);
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        Ok(Some(Answer { status, headers, body: element.get().as_bytes().to_vec() }))
    }
}

/// That there is nothing about a contact, as if it had been asked about alone.
fn no_content(whole: &Answer) -> Answer {
    Answer { status: 204, headers: headers_of(whole), body: Vec::new() }
}

/// The headers of the whole, without those that describe its body.
fn headers_of(whole: &Answer) -> Vec<(String, String)> {
    let of_body = ["content-type", "content-encoding", "content-length", "transfer-encoding"];
    let mut headers = whole.headers.clone();
    headers.retain(|(name, _)| !of_body.iter().any(|our| name.eq_ignore_ascii_case(our)));
    headers
}

fn too_large(most_bytes: usize) -> Fault {
    let message = format!(
        "its answer about this contact is larger than {most_bytes} bytes (leadlex.max_response_size)"
    );
    Fault::new(FaultKind::TooLarge, message)
}

fn within(status: u16) -> bool {
    (200..=299).contains(&status)
}

/// The body as JSON, without a copy where it is plain.
fn text_of(answer: &Answer) -> Option<std::borrow::Cow<'_, str>> {
    let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
    if let Ok(text) = std::str::from_utf8(body)
        && serde_json::from_str::<&RawValue>(text).is_ok()
    {
        return Some(text.into());
    }
    Document::text_of(answer).map(Into::into)
}

/// `None`: there is no list.
fn list_at<'t>(text: &'t str, place: &Pointer) -> Option<Vec<&'t RawValue>> {
    let root: &RawValue = serde_json::from_str(text).ok()?;
    serde_json::from_str(raw_at(root, place)?.get()).ok()
}

/// The value at this place, as it is written.
fn raw_at<'t>(root: &'t RawValue, place: &Pointer) -> Option<&'t RawValue> {
    let mut here = root;
    for token in place.tokens() {
        here = match here.get().as_bytes().first()? {
            b'{' => {
                let members: HashMap<String, &RawValue> = serde_json::from_str(here.get()).ok()?;
                members.get(token).copied()?
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(here.get()).ok()?;
                items.get(token.parse::<usize>().ok()?).copied()?
            }
            _ => return None,
        };
    }
    Some(here)
}

fn text_or_number(raw: &RawValue) -> Option<String> {
    match serde_json::from_str(raw.get()).ok()? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The members of the root that lead to no contact, where they are not too long.
fn beside(text: &str, answers: &Pointer, most_bytes: usize) -> Option<Value> {
    let list = answers.tokens().next()?;
    let members: HashMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let short = |(name, raw): &(String, &RawValue)| name != list && raw.get().len() <= most_bytes;
    let read = |(name, raw): (String, &RawValue)| Some((name, serde_json::from_str(raw.get()).ok()?));
    Some(Value::Object(members.into_iter().filter(short).filter_map(read).collect::<Map<_, _>>()))
}

#[cfg(test)]
#[path = "bulk_answer_tests.rs"]
mod tests;

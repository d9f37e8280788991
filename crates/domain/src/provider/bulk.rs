//! One request about several contacts: how it is described, and how it is made.

use serde_json::{Map, Value};

use super::Config;
use super::inquiry::{Inquiry, Next};
use super::login::{Login, LoginValues};
use super::matching::Matching;
use super::node::{Checked, Node};
use super::parse_request::{EACH, is_each, parse_request};
use super::placeholder::Placeholder;
use super::pointer::Pointer;
use super::request::{BodyNode, RequestTemplate};
use super::step::Step;
use super::submission::{Group, Submission, parse_submission};
use super::taken::Names;
use super::template::{self, Template};
use super::values::Values;
use super::wanted::Wanted;
use crate::fields::FieldSet;
use crate::person::Person;

/// No vendor takes more at once, but for uploads of files.
const MOST_CONTACTS: u32 = 1_000;
const MAX_TIMEOUT_MS: u32 = 60_000;
const KEYS: [&str; 7] = ["request", "steps", "most", "answers", "match", "status", "timeout_ms"];

/// The `bulk` of a description, checked and ready for use. It stands in place of the request of the first step, or with steps of
/// its own of all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Bulk {
    /// The one that is about all contacts.
    request: RequestTemplate,
    /// It is handed in, and answered later.
    pub(super) submission: Option<Submission>,
    most: usize,
    pub(super) answers: Pointer,
    pub(super) matching: Matching,
    /// Of an element; `None`: the status of the whole counts.
    pub(super) status: Option<Pointer>,
    timeout_ms: Option<u32>,
    /// Its request names what the login takes.
    logs_in: bool,
    /// What depends on the wanted fields and is said once, for all contacts together.
    shared: Vec<Wanted>,
}

/// One of the contacts of a request. `id`: by which its answer is found, if that is done so.
#[derive(Clone, Copy)]
pub struct Seat<'a> {
    pub inquiry: &'a Inquiry,
    pub person: &'a Person,
    pub id: &'a str,
}

impl Bulk {
    /// Reads it. `steps`: those about one contact, in whose place it stands. The error names the first mistake and its place.
    pub fn parse(node: &Node<'_>, login: Option<&Login>, steps: &[Step]) -> Checked<Bulk> {
        let object = node.object(&KEYS)?;
        let names = Names::for_several(login.map(Login::take));
        let given = match (object.optional("steps"), object.optional("request")) {
            (Some(_), Some(request)) => {
                return Err(request.error("must be left out where \"bulk\" has \"steps\": each has its own"));
            }
            (given, _) => given,
        };
        let place = match &given {
            None => object.required("request")?,
            Some(list) => first_request(list)?,
        };
        let request = parse_post(&place, &names)?;
        let each = each_of(&place)?;
        if !request.each().is_some_and(BodyNode::tells) {
            return Err(each.error("must be an object that names something of a contact, such as {email}"));
        }
        let logs_in = request.templates().into_iter().any(|text| text.of_login().next().is_some());
        let answers = match object.optional("answers") {
            Some(place) => Pointer::parse(&place)?,
            None => Pointer::from_text("").map_err(|message| node.error(message))?,
        };
        let matching = object
            .optional("match")
            .map_or(Ok(Matching::Position), |rule| Matching::parse(&rule, &each, &answers))?;
        let submission = given.map(|list| parse_submission(&list, (names, &matching), steps)).transpose()?;
        let any_logs_in = submission.as_ref().is_some_and(Submission::logs_in);
        if (logs_in || any_logs_in) && !steps[0].logs_in {
            return Err(place.error("names what the login takes, and the request about one contact does not"));
        }
        let mut shared = Vec::new();
        request.wanted_of_all(&mut shared);
        Ok(Bulk {
            most: object.required("most")?.integer(1, MOST_CONTACTS)? as usize,
            answers,
            matching,
            status: object.optional("status").map(|place| Pointer::parse(&place)).transpose()?,
            timeout_ms: object
                .optional("timeout_ms")
                .map(|node| node.integer(1, MAX_TIMEOUT_MS))
                .transpose()?,
            logs_in,
            shared,
            request,
            submission,
        })
    }

    /// All requests, with places for values.
    pub fn templates(&self) -> impl Iterator<Item = &RequestTemplate> {
        let later = self.submission.iter().flat_map(Submission::later);
        std::iter::once(&self.request).chain(later.map(|step| &step.request))
    }

    /// The most contacts of one request.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The time limit of a request, in milliseconds; `None`: the description gives none.
    pub fn timeout_ms(&self) -> Option<u32> {
        self.timeout_ms
    }

    /// With which others a contact can share a request that lacks these fields.
    pub fn group(&self, wanted: FieldSet) -> Group {
        let words = |some: &Wanted| some.words(wanted).into_iter().map(str::to_owned).collect();
        Group::of_words(self.shared.iter().map(words).collect())
    }

    /// What of a contact is sent, if that is enough to find it by.
    fn element(&self, config: &Config, seat: Seat<'_>, values: Values<'_>) -> Option<Value> {
        let Seat { inquiry, person, id } = seat;
        let known = Values { wanted: inquiry.wanted(), each: &[], ..values };
        let known = Values { person, ..known };
        let used = config.complete_sets(&known).next()?;
        let each = self.request.each()?;
        if !used.placeholders().iter().all(|placeholder| has_place(each, *placeholder)) {
            return None;
        }
        let only = config.used_set(&known)?;
        let values = Values { only, ..known };
        let mut element = each.is_told(&values).then(|| each.render(&values)).flatten()?;
        if let Matching::Id { send, .. } = &self.matching {
            put(&mut element, send, id);
        }
        Some(element)
    }
}

impl Config {
    /// How it is asked about several contacts at once; `None`: it is asked about one at a time.
    pub fn bulk(&self) -> Option<&Bulk> {
        self.bulk.as_ref()
    }

    /// Whether a question can be put together with others: it is new, and the request about several has a place for what
    /// identifies this person.
    pub fn shares(&self, inquiry: &Inquiry, person: &Person) -> bool {
        let values = Values::of(person, None);
        let seat = Seat { inquiry, person, id: "" };
        inquiry.is_new() && self.bulk.as_ref().is_some_and(|bulk| bulk.element(self, seat, values).is_some())
    }

    /// The request about these contacts, of one [`Group`], of which each [shares](Config::shares), or that asks for what was
    /// handed in about them. `login`: what the
    /// provider's login gave, if it has one and that is known.
    pub fn request_for_all(
        &self,
        seats: &[Seat<'_>],
        secret: Option<&str>,
        login: Option<&LoginValues>,
    ) -> Next {
        let (Some(bulk), Some(first)) = (&self.bulk, seats.first()) else { return Next::Nothing(None) };
        if !first.inquiry.is_new() {
            return first.inquiry.next(self, first.person, secret, login);
        }
        let secret = template::clean_secret(secret);
        let stranger = Person::default();
        let values = Values {
            secret: secret.as_deref(),
            login: login.map(|login| &login.taken),
            wanted: first.inquiry.wanted(),
            ..Values::of(&stranger, None)
        };
        let elements: Option<Vec<Value>> =
            seats.iter().map(|seat| bulk.element(self, *seat, values)).collect();
        let Some(elements) = elements else { return Next::Nothing(None) };
        match bulk.request.render(&Values { each: &elements, ..values }) {
            None => Next::Nothing(None),
            Some(request) if login.is_none() && bulk.logs_in => Next::LogIn(Box::new(request)),
            Some(request) => Next::Send(Box::new(request)),
        }
    }
}

fn put(element: &mut Value, place: &[String], id: &str) {
    let [name, rest @ ..] = place else {
        *element = Value::from(id);
        return;
    };
    if !element.is_object() {
        *element = Value::Object(Map::new());
    }
    if let Some(members) = element.as_object_mut() {
        put(members.entry(name).or_insert(Value::Null), rest, id);
    }
}

/// Whether it has a place for a value, or for what stands for the same.
fn has_place(each: &BodyNode, placeholder: Placeholder) -> bool {
    const PROFILE: [Placeholder; 2] = [Placeholder::LinkedinUrl, Placeholder::LinkedinHandle];
    let same = [&Placeholder::NAMES[..], &PROFILE[..]].into_iter().find(|same| same.contains(&placeholder));
    let wanted = same.unwrap_or(std::slice::from_ref(&placeholder));
    let mut found = false;
    each.walk(&mut |node| {
        if let BodyNode::Text(text) = node {
            found |= wanted.iter().any(|placeholder| text.uses(*placeholder));
        }
    });
    found
}

/// That of the first step.
fn first_request<'a>(list: &Node<'a>) -> Checked<Node<'a>> {
    let Some(first) = list.items()?.into_iter().next() else {
        return Err(list.error("must have at least two steps: one that hands in, and one that asks"));
    };
    first.object(&["request", "response", "take"])?.required("request")
}

fn parse_post(place: &Node<'_>, names: &Names) -> Checked<RequestTemplate> {
    let object = place.object(&["method", "url", "headers", "query", "body"])?;
    match object.optional("method") {
        Some(method) if method.value == "POST" => {}
        Some(method) => {
            return Err(method.error("must be POST: what is sent of each contact stands in a body"));
        }
        None => return Err(object.required("method").err().unwrap_or_else(|| place.error("has no method"))),
    }
    let body = object.required("body")?;
    if !body.value.is_object() && !body.value.is_array() {
        return Err(body.error("must be an object or a list, with {\"each\": {…}} where the contacts stand"));
    }
    for key in ["url", "headers", "query", "body"] {
        object.optional(key).map_or(Ok(()), |part| names_nobody(&part, names))?;
    }
    parse_request(place, names)
}

/// Outside of `each` nothing of a contact can stand: it would be that of which one?
fn names_nobody(node: &Node<'_>, names: &Names) -> Checked<()> {
    match node.value {
        Value::String(text) => {
            let tells = Template::parse_with(text, names).is_ok_and(|text| text.tells());
            if tells {
                return Err(node.error(
                    "names something of a contact, which can stand only in \"each\": the request is about several",
                ));
            }
            Ok(())
        }
        Value::Array(_) => node.items()?.iter().try_for_each(|item| names_nobody(item, names)),
        Value::Object(_) if is_each(node.value) => Ok(()),
        Value::Object(members) if is_crowded_each(members) => {
            match node.all_members()?.into_iter().find(|(name, _)| *name != EACH) {
                Some((_, beside)) => Err(beside.error(
                    "stands beside \"each\", which stands alone in its object: {\"each\": {…}} becomes a list, with an element for each contact. What is sent of each contact goes into \"each\", and what is sent once goes outside of the object",
                )),
                None => Ok(()),
            }
        }
        Value::Object(_) => {
            node.all_members()?.into_iter().try_for_each(|(_, member)| names_nobody(&member, names))
        }
        _ => Ok(()),
    }
}

/// Whether it is meant to stand for the contacts, and has something besides.
fn is_crowded_each(members: &Map<String, Value>) -> bool {
    members.len() > 1 && members.get(EACH).is_some_and(Value::is_object)
}

/// What stands for each contact, which is there once.
fn each_of<'a>(request: &Node<'a>) -> Checked<Node<'a>> {
    let mut found = Vec::new();
    let body = request.object(&["method", "url", "headers", "query", "body"])?.required("body")?;
    find_each(&body, &mut found)?;
    match found.as_slice() {
        [each] if each.value.is_object() => Ok(each.clone()),
        [each] => Err(each.error("must be an object that names something of a contact, such as {email}")),
        [] => Err(body.error("must have {\"each\": {…}} once, where the contacts stand")),
        [_, second, ..] => {
            Err(second.error("is there a second time; one place is for all contacts of a request"))
        }
    }
}

fn find_each<'a>(node: &Node<'a>, found: &mut Vec<Node<'a>>) -> Checked<()> {
    match node.value {
        Value::Array(_) => node.items()?.iter().try_for_each(|item| find_each(item, found)),
        Value::Object(members) => {
            if is_each(node.value) {
                found.push(node.child(EACH, &members[EACH]));
            }
            node.all_members()?.into_iter().try_for_each(|(_, member)| find_each(&member, found))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "bulk_tests.rs"]
pub mod tests;

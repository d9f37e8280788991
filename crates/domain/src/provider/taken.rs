//! What a login or a step takes of an answer, for the requests after it.

use serde_json::Value;
use serde_json::value::RawValue;

use super::condition::Condition;
use super::document::Document;
use super::exchange::Answer;
use super::node::{Checked, Node};
use super::placeholder::Placeholder;
use super::pointer::Pointer;

/// Of one value, in bytes: no vendor's id or token is longer.
pub const MAX_VALUE_BYTES: usize = 8 * 1_024;
/// Of one step or login.
pub const MOST_NAMES: usize = 8;
/// Of a name, in characters.
const LONGEST_NAME: usize = 63;

/// Names and values that were taken, in the order in which they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Taken(Vec<(String, String)>);

impl Taken {
    /// Nothing was taken.
    pub const NOTHING: Taken = Taken(Vec::new());

    /// The value of this name; `None`: none was taken.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Puts a value under a name, in place of one that it had.
    pub fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values together, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(_, value)| value.len()).sum()
    }
}

/// What can stand in the braces of a request besides our own names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    of_login: Vec<String>,
    taken: Vec<String>,
    /// With the place that takes each.
    later: Vec<(String, String)>,
    /// The secret is all that a request can name.
    secret_alone: bool,
    /// The request is about several contacts.
    several: bool,
}

impl Names {
    /// For the request of a login.
    pub fn of_a_login() -> Names {
        Names { secret_alone: true, ..Names::default() }
    }

    /// What the login takes: for the requests of all steps.
    pub fn with_login(take: &Take) -> Names {
        Names { of_login: take.names().map(str::to_owned).collect(), ..Names::default() }
    }

    /// The same for a request about several contacts, which is the first.
    pub fn for_several(login: Option<&Take>) -> Names {
        let names = login.map_or_else(Names::default, Names::with_login);
        Names { several: true, ..names }
    }

    /// The same for a request after that one: it is about no contact.
    #[must_use]
    pub fn for_one(self) -> Names {
        Names { several: false, ..self }
    }

    /// Whether the request is about several contacts.
    pub fn of_several(&self) -> bool {
        self.several
    }

    /// What a step will take: `place` is where that is said.
    pub fn expect(&mut self, take: &Take, place: &str) {
        self.later.extend(take.names().map(|name| (name.to_owned(), place.to_owned())));
    }

    /// The requests after that step know it.
    pub fn add(&mut self, take: &Take) {
        self.later.retain(|(name, _)| !take.names().any(|taken| taken == name));
        self.taken.extend(take.names().map(str::to_owned));
    }

    /// Whether the login takes it.
    pub fn of_login(&self, name: &str) -> bool {
        self.of_login.iter().any(|known| known == name)
    }

    /// Whether an earlier step takes it.
    pub fn taken(&self, name: &str) -> bool {
        self.taken.iter().any(|known| known == name)
    }

    /// The place that takes it, after this request.
    pub fn later(&self, name: &str) -> Option<&str> {
        self.later.iter().find(|(known, _)| known == name).map(|(_, place)| place.as_str())
    }

    /// Every name that is taken, now or later.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let later = self.later.iter().map(|(name, _)| name);
        self.of_login.iter().chain(&self.taken).chain(later).map(String::as_str)
    }

    /// The names that may stand in a request, for messages.
    pub fn listed(&self) -> String {
        let told = |placeholder: &&Placeholder| !self.secret_alone || **placeholder == Placeholder::Secret;
        let ours = Placeholder::ALL.iter().filter(told).map(|placeholder| placeholder.name());
        let taken = self.of_login.iter().chain(&self.taken).map(String::as_str);
        ours.chain(taken).map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
    }

    /// How a request comes to name what an answer has, for messages after [`Names::listed`].
    pub fn advice(&self) -> &'static str {
        match self.secret_alone {
            true => "",
            false => {
                "; what is in the answer of an earlier step, or of the login, gets a name by its \"take\""
            }
        }
    }
}

/// `{"ticket": "/id"}`: names, and the places of an answer of which the first that has a value counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Take(Vec<Place>);

#[derive(Clone, Debug, PartialEq)]
struct Place {
    name: String,
    pointers: Vec<Pointer>,
    /// Where one of these does not hold, there is nothing to go on with.
    conditions: Vec<Condition>,
    /// A header has a place for it, which no control character can be sent in.
    in_header: bool,
}

/// What an answer has of all that is to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundValues<'t> {
    All(Taken),
    /// A condition does not hold: the answer is complete, and no request comes after it.
    NothingToTake,
    /// It lacks the value of this name.
    Lacks(&'t str),
    /// The value of this name is not to be sent where it is wanted.
    Unfit(&'t str),
}

impl Take {
    /// Reads it: a place, a list of places, or `{"pointer": …, "if": [conditions]}`. The error names a place that is no
    /// pointer, or a name that cannot be one or that `others` has.
    pub fn parse(node: &Node<'_>, others: &Names) -> Checked<Take> {
        let mut places = Vec::new();
        for (name, place) in node.members()? {
            check_name(&place, name)?;
            if others.all().any(|known| known == name) {
                return Err(place.error(format!("takes {{{name}}} a second time; give it another name")));
            }
            places.push(Place::parse(name, &place)?);
        }
        match places.len() {
            0 => Err(node.error("must name at least one place, such as {\"ticket\": \"/id\"}")),
            1..=MOST_NAMES => Ok(Take(places)),
            _ => Err(node.error(format!("must not have more than {MOST_NAMES} names"))),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names under which it takes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|place| place.name.as_str())
    }

    /// What headers have a place for.
    pub fn in_headers<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        let names: Vec<&str> = names.collect();
        self.0.iter_mut().for_each(|place| place.in_header |= names.contains(&place.name.as_str()));
    }

    /// Whether the answer has a text for this name, and none that is short enough to be taken.
    pub fn is_too_long(&self, name: &str, json: &Value) -> bool {
        let text = |pointer: &Pointer| pointer.find(json)?.as_str().map(str::len);
        let places = self.0.iter().filter(|place| place.name == name);
        places.flat_map(|place| &place.pointers).filter_map(text).any(|bytes| bytes > MAX_VALUE_BYTES)
    }

    /// All of it, exactly as the answer has it.
    pub fn of(&self, answer: &Answer, body: &Document) -> FoundValues<'_> {
        let holds =
            |place: &Place| body.json().is_none_or(|json| place.conditions.iter().all(|c| c.holds(json)));
        if !self.0.iter().all(holds) {
            return FoundValues::NothingToTake;
        }
        let mut taken = Taken::NOTHING;
        for Place { name, pointers, in_header, .. } in &self.0 {
            let value = |json| pointers.iter().find_map(|pointer| value_at(answer, json, pointer));
            let Some(value) = body.json().and_then(value) else { return FoundValues::Lacks(name) };
            if *in_header && value.chars().any(char::is_control) {
                return FoundValues::Unfit(name);
            }
            taken.set(name, value);
        }
        FoundValues::All(taken)
    }
}

impl Place {
    fn parse(name: &str, node: &Node<'_>) -> Checked<Place> {
        let name = name.to_owned();
        if !node.value.is_object() {
            return Ok(Place {
                name,
                pointers: Pointer::parse_some(node)?,
                conditions: Vec::new(),
                in_header: false,
            });
        }
        let object = node.object(&["pointer", "if"])?;
        let pointers = Pointer::parse_some(&object.required("pointer")?)?;
        let conditions = match object.optional("if") {
            None => Vec::new(),
            Some(list) => {
                list.items()?.iter().map(|item| Condition::parse(item, &[])).collect::<Checked<_>>()?
            }
        };
        Ok(Place { name, pointers, conditions, in_header: false })
    }
}

fn check_name(place: &Node<'_>, name: &str) -> Checked<()> {
    if Placeholder::parse(name).is_some() {
        return Err(
            place.error(format!("takes {{{name}}}, which is a placeholder of ours; give it another name"))
        );
    }
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let sound = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !first || !sound || name.len() > LONGEST_NAME {
        return Err(place.error(format!(
            "must have a name of 1 to {LONGEST_NAME} letters (a to z), digits and _, of which the first is a letter"
        )));
    }
    Ok(())
}

/// A text that is not blank and that Postgres can hold, or a whole number.
fn value_at(answer: &Answer, json: &Value, place: &Pointer) -> Option<String> {
    let value = match place.find(json)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        Value::Number(number) => whole(number.as_f64()?, &digits_at(answer, place)?),
        _ => None,
    }?;
    let sound = !value.trim().is_empty() && !value.contains('\0') && value.len() <= MAX_VALUE_BYTES;
    sound.then_some(value)
}

/// The digits of a number, of which reading made a fraction or a rounded one.
fn whole(float: f64, digits: &str) -> Option<String> {
    let plain = digits.strip_prefix('-').unwrap_or(digits);
    if !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_digit()) {
        return Some(digits.to_owned());
    }
    // Up to 2^53, where every whole number has its own float.
    let exact = float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
    exact.then(|| (float as i64).to_string())
}

/// A number as the body writes it.
fn digits_at(answer: &Answer, place: &Pointer) -> Option<String> {
    let text = Document::text_of(answer)?;
    let mut here: &RawValue = serde_json::from_str(&text).ok()?;
    for token in place.tokens() {
        here = match here.get().as_bytes().first()? {
            b'{' => {
                let members: std::collections::HashMap<String, &RawValue> =
                    serde_json::from_str(here.get()).ok()?;
                members.get(token).copied()?
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(here.get()).ok()?;
                items.get(token.parse::<usize>().ok()?).copied()?
            }
            _ => return None,
        };
    }
    Some(here.get().to_owned())
}

#[cfg(test)]
#[path = "taken_tests.rs"]
mod tests;

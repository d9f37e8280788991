//! From a provider's JSON to our text.

use std::borrow::Cow;

use serde_json::Value;

use super::condition::Condition;
use super::node::{Checked, Node};
use super::pointer::Pointer;
use super::shape::{self, Shape, Text};
use crate::people::{stand_in, text::clean};

/// Where a field's text comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    At(Pointer),
    First(Vec<Spec>),
    /// The first element of a list that meets all conditions and gives text.
    Pick {
        list: Pointer,
        conditions: Vec<Condition>,
        value: Box<Spec>,
    },
    Shaped {
        source: Box<Spec>,
        shape: Shape,
    },
    Join {
        parts: Vec<Spec>,
        separator: String,
    },
}

/// Which JSON values can be text: numbers only where the field is one (a phone).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    Strings,
    StringsAndNumbers,
}

impl Spec {
    /// Reads what a description says about a field: a JSON Pointer, a list of which the first with a value
    /// counts, or an object with `pointer`, `list` or `join`.
    pub fn parse(node: &Node<'_>) -> Checked<Spec> {
        match node.value {
            Value::String(_) => Pointer::parse(node).map(Spec::At),
            Value::Array(_) => Ok(Spec::First(parse_list(node)?)),
            Value::Object(members) if members.contains_key("join") => parse_join(node),
            Value::Object(members) if members.contains_key("list") => parse_pick(node),
            Value::Object(_) => parse_shaped(node),
            _ => Err(node.error(
                "must be a JSON Pointer, a list of them, {\"pointer\": …}, {\"list\": …} or {\"join\": […]}",
            )),
        }
    }

    /// The first of the texts that the answer has for this of which `take` makes something: a vendor's word for nothing, or a
    /// number that it masks, does not stand in the way of what follows in a list.
    pub fn find<T>(&self, body: &Value, accepts: Accepts, take: &dyn Fn(Text<'_>) -> Option<T>) -> Option<T> {
        match self {
            Spec::At(pointer) => text_of(pointer.find(body)?, accepts).map(Text::found).and_then(take),
            Spec::First(specs) => specs.iter().find_map(|spec| spec.find(body, accepts, take)),
            Spec::Pick { list, conditions, value } => {
                let meets = |element: &&Value| conditions.iter().all(|condition| condition.holds(element));
                let elements = list.find(body)?.as_array()?;
                elements.iter().filter(meets).find_map(|element| value.find(element, accepts, take))
            }
            Spec::Shaped { source, shape } => {
                source.find(body, accepts, &|text| shape.apply(text).and_then(take))
            }
            Spec::Join { parts, separator } => join(parts, separator, body, accepts).and_then(take),
        }
    }

    /// All texts that are there, also the elements of a list of texts.
    pub fn texts(&self, body: &Value) -> Vec<String> {
        match self {
            Spec::At(pointer) => match pointer.find(body) {
                Some(Value::Array(items)) => items
                    .iter()
                    .filter_map(|item| text_of(item, Accepts::Strings))
                    .map(Cow::into_owned)
                    .collect(),
                found => {
                    let text = found.and_then(|value| text_of(value, Accepts::Strings));
                    text.map(Cow::into_owned).into_iter().collect()
                }
            },
            Spec::First(specs) => specs.iter().flat_map(|spec| spec.texts(body)).collect(),
            Spec::Pick { list, conditions, value } => {
                let meets = |element: &&Value| conditions.iter().all(|condition| condition.holds(element));
                let elements = list.find(body).and_then(Value::as_array);
                elements
                    .into_iter()
                    .flatten()
                    .filter(meets)
                    .flat_map(|element| value.texts(element))
                    .collect()
            }
            Spec::Shaped { source, shape } => {
                let shaped = |text: String| Some(shape.apply(Text::found(text))?.text.into_owned());
                source.texts(body).into_iter().filter_map(shaped).collect()
            }
            Spec::Join { parts, separator } => {
                let joined = join(parts, separator, body, Accepts::Strings);
                joined.map(|found| found.text.into_owned()).into_iter().collect()
            }
        }
    }

    /// Whether the answer has the place, or something on the way to it: then it is an answer of the kind described.
    pub fn is_in_sight(&self, body: &Value) -> bool {
        match self {
            Spec::At(pointer) => pointer.is_in_sight(body),
            Spec::First(parts) | Spec::Join { parts, .. } => parts.iter().any(|part| part.is_in_sight(body)),
            // The elements of a list at the root are on the way.
            Spec::Pick { list, .. } if list.is_root() => {
                body.as_array().is_some_and(|items| !items.is_empty())
            }
            Spec::Pick { list, .. } => list.is_in_sight(body),
            Spec::Shaped { source, .. } => source.is_in_sight(body),
        }
    }

    /// Whether it promises telephone numbers in one format: nothing for the other fields.
    pub fn is_e164(&self) -> bool {
        match self {
            Spec::At(_) => false,
            Spec::First(parts) | Spec::Join { parts, .. } => parts.iter().any(Spec::is_e164),
            Spec::Pick { value, .. } => value.is_e164(),
            Spec::Shaped { source, shape } => shape.is_e164() || source.is_e164(),
        }
    }
}

/// What the parts say, without those that say nothing and those that say what the one before them did.
fn join(parts: &[Spec], separator: &str, body: &Value, accepts: Accepts) -> Option<Text<'static>> {
    let says_something = |found: Text<'_>| {
        let text = if found.settled { &found.text } else { without_ends(&found.text, separator.trim()) };
        (found.settled || !stand_in::is_stand_in(text)).then(|| text.to_owned())
    };
    let mut texts: Vec<String> = Vec::new();
    for text in parts.iter().filter_map(|part| part.find(body, accepts, &says_something)) {
        if texts.last().is_none_or(|before| before.to_lowercase() != text.to_lowercase()) {
            texts.push(text);
        }
    }
    (!texts.is_empty()).then(|| Text::found(texts.join(separator)))
}

/// Without the separators that a vendor leaves where a part is missing.
fn without_ends<'t>(text: &'t str, separator: &str) -> &'t str {
    let mut rest = text.trim();
    while let Some(shorter) = rest.strip_prefix(separator).or_else(|| rest.strip_suffix(separator)) {
        if separator.is_empty() {
            break;
        }
        rest = shorter.trim();
    }
    rest
}

fn parse_list(node: &Node<'_>) -> Checked<Vec<Spec>> {
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.error("must not be an empty list"));
    }
    items
        .iter()
        .map(|item| match item.value {
            Value::Array(_) => Err(item.error("must not be a list inside a list")),
            _ => Spec::parse(item),
        })
        .collect()
}

fn parse_join(node: &Node<'_>) -> Checked<Spec> {
    let object = node.object(&["join", "separator"])?;
    let parts = parse_list(&object.required("join")?)?;
    let separator = match object.optional("separator") {
        Some(separator) => separator.text()?.to_owned(),
        None => ", ".to_owned(),
    };
    if separator.chars().any(char::is_control) {
        let place = object.required("separator")?;
        return Err(place.error("must not have control characters"));
    }
    Ok(Spec::Join { parts, separator })
}

fn parse_pick(node: &Node<'_>) -> Checked<Spec> {
    let mut allowed = vec!["list", "where", "pointer"];
    allowed.extend(shape::KEYS);
    let object = node.object(&allowed)?;
    let list = Pointer::parse(&object.required("list")?)?;
    let conditions = match object.optional("where") {
        None => Vec::new(),
        Some(members) => {
            let equal =
                |(place, value): (&String, &Value)| Condition::equal(place, &members.child(place, value));
            let object = members.value.as_object().filter(|object| !object.is_empty());
            let object = object.ok_or_else(|| {
                members.error("must be an object of places in the element and what they equal, such as {\"/type\": \"mobile\"}")
            })?;
            object.iter().map(equal).collect::<Checked<Vec<_>>>()?
        }
    };
    let value = Box::new(parse_source(&object.required("pointer")?)?);
    Ok(with_shape(Spec::Pick { list, conditions, value }, Shape::parse(&object)?))
}

fn parse_shaped(node: &Node<'_>) -> Checked<Spec> {
    let mut allowed = vec!["pointer"];
    allowed.extend(shape::KEYS);
    let object = node.object(&allowed)?;
    let source = parse_source(&object.required("pointer")?)?;
    Ok(with_shape(source, Shape::parse(&object)?))
}

fn parse_source(pointer: &Node<'_>) -> Checked<Spec> {
    match pointer.value {
        Value::Array(_) => Ok(Spec::First(parse_list(pointer)?)),
        _ => Pointer::parse(pointer).map(Spec::At),
    }
}

fn with_shape(source: Spec, shape: Shape) -> Spec {
    if shape.is_plain() { source } else { Spec::Shaped { source: Box::new(source), shape } }
}

fn text_of(value: &Value, accepts: Accepts) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(clean(text)).filter(|text| !is_nothing(text)),
        Value::Number(number) if accepts == Accepts::StringsAndNumbers => {
            whole_number(number).map(Cow::Owned)
        }
        _ => None,
    }
}

/// Also where of a text nothing is left but the marks of what could not be read.
fn is_nothing(text: &str) -> bool {
    text.chars().all(|c| c == '\u{fffd}' || c.is_whitespace())
}

/// A number as digits; a vendor that keeps phone numbers as numbers may print 4930123456.0.
fn whole_number(number: &serde_json::Number) -> Option<String> {
    if let Some(whole) = number.as_u64() {
        return Some(whole.to_string());
    }
    let float = number.as_f64()?;
    // Up to 2^53, where every whole number has its own float.
    let exact = float.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&float);
    // Through an integer, because -0.0 is in that range, too.
    exact.then(|| (float as u64).to_string())
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;

//! JSON Pointers.

use serde_json::Value;

use super::node::{Checked, Node};

/// RFC 6901, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Reads the text of a node; an error where it is no text or no JSON Pointer.
    pub fn parse(node: &Node<'_>) -> Checked<Pointer> {
        Pointer::from_text(node.text()?).map_err(|message| node.error(message))
    }

    /// One, or a list of them.
    pub fn parse_some(node: &Node<'_>) -> Checked<Vec<Pointer>> {
        match node.value {
            Value::Array(items) if items.is_empty() => Err(node.error("must not be an empty list")),
            Value::Array(_) => node.items()?.iter().map(Pointer::parse).collect(),
            _ => Ok(vec![Pointer::parse(node)?]),
        }
    }

    /// Reads a JSON Pointer; empty text is the whole document. The error says what is wrong with the text.
    pub fn from_text(text: &str) -> Result<Pointer, &'static str> {
        if text.is_empty() {
            return Ok(Pointer(Vec::new()));
        }
        let rest = text
            .strip_prefix('/')
            .ok_or("must be a JSON Pointer, which begins with / (such as /data/phone)")?;
        let token = |token| unescape(token).ok_or("has a ~ that is not part of ~0 (for ~) or ~1 (for /)");
        rest.split('/').map(token).collect::<Result<Vec<String>, _>>().map(Pointer)
    }

    /// The value at this place; `None`: there is no such place. Null counts as a value.
    pub fn find<'v>(&self, body: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(body, |value, token| step(value, token))
    }

    /// The names and numbers that lead there, from the root on.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether it is the whole document.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the place is there, or an object or list on the way to it other than the root.
    pub fn is_in_sight(&self, body: &Value) -> bool {
        let first = self.0.first().and_then(|token| step(body, token));
        first.is_some_and(|value| value.is_object() || value.is_array()) || self.find(body).is_some()
    }
}

fn step<'v>(value: &'v Value, token: &str) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.get(token),
        Value::Array(items) => items.get(array_index(token)?),
        _ => None,
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

fn array_index(token: &str) -> Option<usize> {
    let digits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit());
    let canonical = token == "0" || !token.starts_with('0');
    (digits && canonical).then(|| token.parse().ok())?
}

//! A JSON value together with its place, so that every complaint can name where it is.

use std::fmt;

use serde_json::{Map, Value};

/// A mistake in a provider's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// JSON Pointer to the mistake; empty for the description as a whole.
    pub place: String,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "the description {}", self.message),
            place => write!(f, "{place} {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

/// A value, or the mistake in the description that keeps it from being read.
pub type Checked<T> = Result<T, ConfigError>;

/// A value of a description, and its place in it.
#[derive(Clone)]
pub struct Node<'a> {
    pub value: &'a Value,
    place: String,
}

impl<'a> Node<'a> {
    /// The description as a whole.
    pub fn root(value: &'a Value) -> Node<'a> {
        Node { value, place: String::new() }
    }

    /// A mistake at this place. The message follows the place, so it begins with a verb ("must be …").
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError { place: self.place.clone(), message: message.into() }
    }

    fn wrong_type(&self, wanted: &str) -> ConfigError {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.error(format!("must be {wanted}, not {found}"))
    }

    /// A member of this object or element of this list; `key` is escaped as RFC 6901 wants it.
    pub fn child(&self, key: &str, value: &'a Value) -> Node<'a> {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        Node { value, place: format!("{}/{escaped}", self.place) }
    }

    /// The text; an error where it is no text.
    pub fn text(&self) -> Checked<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong_type("a text"))
    }

    /// The elements of a list; an error where it is no list.
    pub fn items(&self) -> Checked<Vec<Node<'a>>> {
        let items = self.value.as_array().ok_or_else(|| self.wrong_type("a list"))?;
        Ok(items.iter().enumerate().map(|(index, item)| self.child(&index.to_string(), item)).collect())
    }

    /// True or false; an error where it is neither.
    pub fn boolean(&self) -> Checked<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    /// Any number; an error where it is none.
    pub fn number(&self) -> Checked<f64> {
        self.value.as_f64().ok_or_else(|| self.wrong_type("a number"))
    }

    /// A whole number within bounds; `5000.0`, as jsonb may print it, is one.
    pub fn integer(&self, least: u32, most: u32) -> Checked<u32> {
        let number = self.number()?;
        let whole = number.fract() == 0.0;
        if whole && number >= f64::from(least) && number <= f64::from(most) {
            // Within u32 by the line above.
            return Ok(number as u32);
        }
        Err(self.error(format!("must be a whole number from {least} to {most}")))
    }

    /// The members of an object with free names; those that are null count as not there.
    pub fn members(&self) -> Checked<Vec<(&'a str, Node<'a>)>> {
        Ok(self
            .as_map()?
            .iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(key, member)| (key.as_str(), self.child(key, member)))
            .collect())
    }

    /// All members of an object with free names, null or not.
    pub fn all_members(&self) -> Checked<Vec<(&'a str, Node<'a>)>> {
        Ok(self.as_map()?.iter().map(|(key, member)| (key.as_str(), self.child(key, member))).collect())
    }

    /// An object whose members must be among `allowed`.
    pub fn object(&self, allowed: &[&str]) -> Checked<Object<'a>> {
        let map = self.as_map()?;
        for (key, member) in map {
            if !allowed.contains(&key.as_str()) {
                let allowed = allowed.join(", ");
                let message = format!("is not known here; allowed are {allowed}");
                return Err(self.child(key, member).error(message));
            }
        }
        Ok(Object { node: self.clone(), map })
    }

    fn as_map(&self) -> Checked<&'a Map<String, Value>> {
        self.value.as_object().ok_or_else(|| self.wrong_type("an object"))
    }
}

/// An object whose keys have been checked.
pub struct Object<'a> {
    node: Node<'a>,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// A member that may be left out; null is the same as leaving it out.
    /// `None`: it is left out.
    pub fn optional(&self, key: &str) -> Option<Node<'a>> {
        let value = self.map.get(key)?;
        (!value.is_null()).then(|| self.node.child(key, value))
    }

    /// A member that must be there; an error at its place where it is missing or null.
    pub fn required(&self, key: &str) -> Checked<Node<'a>> {
        self.optional(key).ok_or_else(|| self.node.child(key, &Value::Null).error("is missing"))
    }
}

/// `place` is where the name is given.
pub fn header_name(place: &Node<'_>, name: &str) -> Checked<()> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(place.error("is not a valid header name"));
    }
    Ok(())
}

//! What is done to a text on its way from an answer into a contact.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::people::{phone, stand_in};

use super::node::{Checked, Node, Object};

/// In this order: decoded, trimmed, replaced, put behind a prefix, written as the format wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    percent_decode: bool,
    trim_prefix: Vec<String>,
    trim_suffix: Vec<String>,
    /// Lower-case key → replacement; empty where the word stands for no value.
    map: Vec<(String, String)>,
    prefix: Option<String>,
    e164: bool,
}

/// The keys that describe a shape.
pub const KEYS: [&str; 6] = ["decode", "trim_prefix", "trim_suffix", "map", "prefix", "format"];

/// A text that an answer gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'t> {
    pub text: Cow<'t, str>,
    /// It is the description's own word (from a `map`), so it is taken as it stands.
    pub settled: bool,
}

impl<'t> Text<'t> {
    /// A text as the answer has it.
    pub fn found(text: impl Into<Cow<'t, str>>) -> Text<'t> {
        Text { text: text.into(), settled: false }
    }
}

impl Shape {
    /// Reads those of [`KEYS`] that the object has.
    pub fn parse(object: &Object<'_>) -> Checked<Shape> {
        let trims = |key| object.optional(key).map_or(Ok(Vec::new()), |node| parse_trims(&node));
        let word = |key: &str, known: &str| match object.optional(key) {
            None => Ok(false),
            Some(node) if node.text()? == known => Ok(true),
            Some(node) => Err(node.error(format!("must be \"{known}\""))),
        };
        Ok(Shape {
            percent_decode: word("decode", "percent")?,
            trim_prefix: trims("trim_prefix")?,
            trim_suffix: trims("trim_suffix")?,
            map: object.optional("map").map_or(Ok(Vec::new()), |words| parse_map(&words))?,
            prefix: object.optional("prefix").map(|prefix| parse_replacement(&prefix)).transpose()?,
            e164: word("format", "e164")?,
        })
    }

    /// Whether it changes nothing but white space at the ends.
    pub fn is_plain(&self) -> bool {
        *self == Shape::default()
    }

    /// Whether it writes telephone numbers in the form of E.164 (`+` and digits).
    pub fn is_e164(&self) -> bool {
        self.e164
    }

    /// Whether what it gives is a URL, in which an encoded slash is no slash.
    fn makes_urls(&self) -> bool {
        self.prefix.as_ref().is_some_and(|prefix| prefix.contains("://"))
    }

    /// The text in this shape; `None`: it is empty, a stand-in such as "N/A", or a word that the
    /// description's `map` makes no value. A number that E.164 cannot write stays as it is.
    pub fn apply(&self, given: Text<'_>) -> Option<Text<'static>> {
        let mut text = given.text;
        if self.percent_decode {
            text = Cow::Owned(if self.makes_urls() { decoded_path(&text) } else { decoded(&text) });
        }
        let mut rest = text.trim();
        rest = trimmed(
            rest,
            &self.trim_prefix,
            |text, part| text.get(part.len()..),
            |text, part| text.get(..part.len()),
        );
        rest = trimmed(
            rest,
            &self.trim_suffix,
            |text, part| text.get(..text.len().checked_sub(part.len())?),
            |text, part| text.get(text.len().checked_sub(part.len())?..),
        );
        if rest.is_empty() {
            return None;
        }
        let word = self.word_for(rest);
        if word == Some("") {
            return None;
        }
        let settled = given.settled || word.is_some();
        // Before anything is put around it: a prefix would make a value of a word for nothing.
        if !settled && stand_in::is_stand_in(rest) {
            return None;
        }
        let mut text = word.map_or_else(|| rest.to_owned(), str::to_owned);
        if let Some(prefix) = &self.prefix {
            text = prefixed(&text, prefix);
        }
        if self.e164 {
            text = phone::e164(&text).unwrap_or(text);
        }
        Some(Text { text: Cow::Owned(text), settled })
    }

    /// What the description's `map` has for it.
    fn word_for(&self, text: &str) -> Option<&str> {
        if self.map.is_empty() {
            return None;
        }
        let key = map_key(text);
        self.map.iter().find(|(from, _)| *from == key).map(|(_, to)| to.as_str())
    }
}

/// What is not UTF-8 behind its escapes stays as it is.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Cow::into_owned)
}

/// Decoded but for what parts a URL: `in/jane%2Fdoe` never becomes `in/jane/doe`, who is somebody else. A text that was
/// encoded as a whole (`in%2Fjane`, `https%3A%2F%2F…`) has its slashes back.
fn decoded_path(text: &str) -> String {
    let whole = decoded(text);
    let is_path =
        ["in/", "https:", "http:", "//"].iter().any(|start| starts_with_ignoring_case(&whole, start))
            || whole.split('/').next().is_some_and(|host| whole.contains('/') && host.contains('.'));
    if !text.contains('/') && is_path {
        return whole;
    }
    let part = |segment| {
        decoded(segment).replace('%', "%25").replace('/', "%2F").replace('?', "%3F").replace('#', "%23")
    };
    text.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Takes the first of `parts` away that is there; upper and lower case are the same.
fn trimmed<'t>(
    text: &'t str,
    parts: &[String],
    without: impl Fn(&'t str, &str) -> Option<&'t str>,
    there: impl Fn(&'t str, &str) -> Option<&'t str>,
) -> &'t str {
    let part =
        parts.iter().find(|part| there(text, part).is_some_and(|found| found.eq_ignore_ascii_case(part)));
    part.and_then(|part| without(text, part)).unwrap_or(text).trim()
}

fn parse_trims(node: &Node<'_>) -> Checked<Vec<String>> {
    let one = |node: &Node<'_>| match node.text()? {
        "" => Err(node.error("must not be empty")),
        text => Ok(text.to_owned()),
    };
    match node.value {
        Value::Array(items) if items.is_empty() => Err(node.error("must not be an empty list")),
        Value::Array(_) => node.items()?.iter().map(one).collect(),
        _ => Ok(vec![one(node)?]),
    }
}

/// Why a `map` has no null: merged over another configuration, it would take the entry away and say nothing.
pub const NO_NULL: &str = "must not be null; write \"\" for a word that stands for no value";

fn parse_map(words: &Node<'_>) -> Checked<Vec<(String, String)>> {
    let mut map: Vec<(String, String)> = Vec::new();
    for (from, to) in words.all_members()? {
        if to.value.is_null() {
            return Err(to.error(NO_NULL));
        }
        let key = map_key(from);
        if map.iter().any(|(known, _)| *known == key) {
            return Err(to.error("is there twice; upper and lower case are the same here"));
        }
        let word = if to.value == "" { String::new() } else { parse_replacement(&to)? };
        map.push((key, word));
    }
    Ok(map)
}

/// Text of ours that ends up in a contact.
fn parse_replacement(node: &Node<'_>) -> Checked<String> {
    let text = node.text()?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(node.error("must be visible text without control characters"));
    }
    Ok(text.to_owned())
}

fn map_key(word: &str) -> String {
    word.trim().to_lowercase()
}

/// Puts the prefix before the text, without doubling what of it is already there: handles come bare, as `in/jane`,
/// as `linkedin.com/in/jane` and as complete URLs, from one and the same vendor.
fn prefixed(text: &str, prefix: &str) -> String {
    if starts_with_ignoring_case(text, prefix)
        || ["https://", "http://"].iter().any(|scheme| starts_with_ignoring_case(text, scheme))
    {
        return text.to_owned();
    }
    if !prefix.contains("://") {
        return format!("{prefix}{text}");
    }
    let overlap = prefix
        .char_indices()
        .map(|(at, _)| at)
        .filter(|at| starts_a_part(prefix, *at))
        .find(|at| starts_with_ignoring_case(text, &prefix[*at..]))
        .map_or(0, |at| prefix.len() - at);
    format!("{prefix}{}", &text[overlap..])
}

/// Whether a part of a URL (a label of the host, a segment of the path, or its slash) begins there.
fn starts_a_part(prefix: &str, at: usize) -> bool {
    prefix[at..].starts_with('/') || prefix[..at].ends_with(['/', '.'])
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;

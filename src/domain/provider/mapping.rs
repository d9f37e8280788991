//! From a provider's JSON to our text.

use serde_json::Value;

use super::node::{Checked, Node};

/// No field is longer. A longer text is no job title or phone number but something else, so it counts as nothing
/// rather than being cut into a value that nobody supplied.
const MAX_TEXT_CHARS: usize = 1_000;

/// RFC 6901, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    pub fn parse(node: &Node<'_>) -> Checked<Pointer> {
        let text = node.text()?;
        if text.is_empty() {
            return Ok(Pointer(Vec::new()));
        }
        let Some(rest) = text.strip_prefix('/') else {
            let message = "must be a JSON Pointer, which begins with / (such as /data/phone)";
            return Err(node.error(message));
        };
        rest.split('/')
            .map(|token| {
                unescape(token)
                    .ok_or_else(|| node.error("has a ~ that is not part of ~0 (for ~) or ~1 (for /)"))
            })
            .collect::<Checked<Vec<String>>>()
            .map(Pointer)
    }

    pub fn find<'v>(&self, body: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(body, |value, token| match value {
            Value::Object(members) => members.get(token),
            Value::Array(items) => items.get(array_index(token)?),
            _ => None,
        })
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

/// Where a field's text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    At(Pointer),
    First(Vec<Spec>),
    Shaped {
        source: Box<Spec>,
        prefix: Option<String>,
        /// Lower-case key → replacement.
        map: Vec<(String, String)>,
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
    pub fn parse(node: &Node<'_>) -> Checked<Spec> {
        match node.value {
            Value::String(_) => Pointer::parse(node).map(Spec::At),
            Value::Array(_) => Ok(Spec::First(parse_list(node)?)),
            Value::Object(members) if members.contains_key("join") => parse_join(node),
            Value::Object(_) => parse_shaped(node),
            _ => {
                Err(node.error("must be a JSON Pointer, a list of them, {\"pointer\": …} or {\"join\": […]}"))
            }
        }
    }

    pub fn text(&self, body: &Value, accepts: Accepts) -> Option<String> {
        match self {
            Spec::At(pointer) => text_of(pointer.find(body)?, accepts),
            Spec::First(specs) => specs.iter().find_map(|spec| spec.text(body, accepts)),
            Spec::Shaped { source, prefix, map } => {
                let text = source.text(body, accepts)?;
                let text = replaced(text, map);
                sound(match prefix {
                    Some(prefix) => prefixed(&text, prefix),
                    None => text,
                })
            }
            Spec::Join { parts, separator } => {
                let texts: Vec<String> = parts.iter().filter_map(|part| part.text(body, accepts)).collect();
                if texts.is_empty() { None } else { sound(texts.join(separator)) }
            }
        }
    }
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

fn parse_shaped(node: &Node<'_>) -> Checked<Spec> {
    let object = node.object(&["pointer", "prefix", "map"])?;
    let pointer = object.required("pointer")?;
    let source = match pointer.value {
        Value::Array(_) => Spec::First(parse_list(&pointer)?),
        _ => Spec::At(Pointer::parse(&pointer)?),
    };
    let prefix = match object.optional("prefix") {
        Some(prefix) => Some(parse_replacement(&prefix)?),
        None => None,
    };
    let mut map: Vec<(String, String)> = Vec::new();
    if let Some(words) = object.optional("map") {
        for (from, to) in words.members()? {
            let key = map_key(from);
            if map.iter().any(|(known, _)| *known == key) {
                return Err(to.error("is there twice; upper and lower case are the same here"));
            }
            map.push((key, parse_replacement(&to)?));
        }
    }
    Ok(Spec::Shaped { source: Box::new(source), prefix, map })
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

fn replaced(text: String, map: &[(String, String)]) -> String {
    if map.is_empty() {
        return text;
    }
    let key = map_key(&text);
    match map.iter().find(|(from, _)| *from == key) {
        Some((_, to)) => to.clone(),
        None => text,
    }
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

fn text_of(value: &Value, accepts: Accepts) -> Option<String> {
    match value {
        Value::String(text) => sound(cleaned(text)),
        Value::Number(number) if accepts == Accepts::StringsAndNumbers => whole_number(number),
        _ => None,
    }
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

/// Without control characters (NUL above all, which no Postgres text can hold) and outer white space.
fn cleaned(text: &str) -> String {
    let kept: String = text
        .chars()
        .filter_map(|c| match c {
            '\t' | '\n' | '\r' => Some(' '),
            control if control.is_control() => None,
            other => Some(other),
        })
        .collect();
    kept.trim().to_owned()
}

fn sound(text: String) -> Option<String> {
    let short = text.chars().nth(MAX_TEXT_CHARS).is_none();
    let visible = !text.trim().is_empty();
    (short && visible).then_some(text)
}

/// How sure the provider is.
#[derive(Clone, Debug, PartialEq)]
pub enum Confidence {
    Unknown,
    Constant(f64),
    At { pointers: Vec<Pointer>, divide_by: f64 },
}

impl Confidence {
    pub fn parse(node: &Node<'_>) -> Checked<Confidence> {
        let object = node.object(&["pointer", "divide_by", "value"])?;
        if let Some(value) = object.optional("value") {
            if object.optional("pointer").is_some() || object.optional("divide_by").is_some() {
                return Err(node.error("must have either value or pointer, not both"));
            }
            let number = value.number()?;
            if !(0.0..=1.0).contains(&number) {
                return Err(value.error("must be a number from 0 to 1"));
            }
            return Ok(Confidence::Constant(number));
        }
        let pointer = object.required("pointer")?;
        let pointers = match pointer.value {
            Value::Array(items) if items.is_empty() => {
                return Err(pointer.error("must not be an empty list"));
            }
            Value::Array(_) => pointer.items()?.iter().map(Pointer::parse).collect::<Checked<Vec<_>>>()?,
            _ => vec![Pointer::parse(&pointer)?],
        };
        let divide_by = match object.optional("divide_by") {
            None => 1.0,
            Some(divisor) => {
                let number = divisor.number()?;
                if !(number.is_finite() && number > 0.0) {
                    return Err(divisor.error("must be a number above 0"));
                }
                number
            }
        };
        Ok(Confidence::At { pointers, divide_by })
    }

    /// Always within 0.0–1.0.
    pub fn of(&self, body: &Value) -> Option<f64> {
        let (pointers, divide_by) = match self {
            Confidence::Unknown => return None,
            Confidence::Constant(value) => return Some(*value),
            Confidence::At { pointers, divide_by } => (pointers, divide_by),
        };
        let score = pointers.iter().find_map(|pointer| match pointer.find(body)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse::<f64>().ok(),
            _ => None,
        })?;
        let share = score / divide_by;
        // NaN and infinities say nothing; a tiny divisor can make one.
        share.is_finite().then(|| share.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;

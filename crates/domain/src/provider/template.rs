//! Text with `{placeholders}`.

use std::fmt::Write;

use super::placeholder::Placeholder;
use super::taken::{Names, Taken};
use super::values::Values;

/// A piece of a template: text as it stands, or a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Value(Placeholder),
    /// What the login took under this name: a token, which is nobody's.
    OfLogin(String),
    /// What an earlier step took under this name.
    Taken(String),
}

impl Part {
    /// What stands for it; `None`: nothing does.
    fn value<'v>(&'v self, values: &Values<'v>) -> Option<&'v str> {
        match self {
            Part::Text(text) => Some(text),
            Part::Value(placeholder) => values.get(*placeholder),
            Part::OfLogin(name) => values.of_login(name),
            Part::Taken(name) => values.taken.get(name),
        }
    }

    /// Whether it says whom the request is about.
    fn tells(&self) -> bool {
        match self {
            Part::Text(_) | Part::OfLogin(_) => false,
            Part::Value(placeholder) => *placeholder != Placeholder::Secret,
            Part::Taken(_) => true,
        }
    }
}

/// How a value is written into its surroundings, so that it can never be more than a value there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    /// For a URL's path and query, and for form bodies.
    Percent,
    /// Inside a JSON string.
    Json,
    /// Without control characters, so that a value cannot begin another header.
    Header,
}

/// A text of the description with its placeholders, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// As [`Template::parse_with`], where nothing is taken.
    #[cfg(test)]
    pub fn parse(source: &str) -> Result<Template, String> {
        Template::parse_with(source, &Names::default())
    }

    /// `{name}` is a placeholder, `{{` and `}}` are literal braces. `names`: what the login and earlier steps take.
    /// The error says what is wrong: a brace without its other, or an unknown placeholder.
    pub fn parse_with(source: &str, names: &Names) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err("has a } without its {; write }} for a literal brace".to_owned());
            }
            let Some((name, after)) = rest.split_once('}') else {
                return Err("has a { without its }; write {{ for a literal brace".to_owned());
            };
            let part = part_of(name, names)?;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(part);
            rest = after;
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Template(parts))
    }

    /// A template without placeholders; braces in the text are literal.
    pub fn literal(text: impl Into<String>) -> Template {
        Template(vec![Part::Text(text.into())])
    }

    /// Its pieces in their order. Two texts never follow each other.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// What is written out, without the placeholders.
    pub fn literals(&self) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => Some(text.clone()),
            Part::Value(_) | Part::OfLogin(_) | Part::Taken(_) => None,
        };
        self.0.iter().filter_map(text).collect()
    }

    /// Whether it has this placeholder.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.0.contains(&Part::Value(placeholder))
    }

    /// Whether it has a place for what an earlier step took.
    pub fn uses_taken(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Taken(_)))
    }

    /// With these values where something taken stands; other placeholders stay, without their names.
    pub fn with_taken(&self, taken: &Taken) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Taken(name) => taken.get(name).unwrap_or_default().to_owned(),
            Part::Value(_) | Part::OfLogin(_) => "{}".to_owned(),
        };
        self.0.iter().map(text).collect()
    }

    /// The names of what the login took that it has a place for.
    pub fn of_login(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::OfLogin(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The names of what the login and earlier steps took that it has a place for.
    pub fn names_taken(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::OfLogin(name) | Part::Taken(name) => Some(name.as_str()),
            Part::Text(_) | Part::Value(_) => None,
        })
    }

    /// Whether it has a place for something that says whom it is about: known of the contact, or taken by a step.
    pub fn tells(&self) -> bool {
        self.0.iter().any(Part::tells)
    }

    /// Whether something of that kind goes out with it.
    pub fn is_told(&self, values: &Values<'_>) -> bool {
        self.tells() && self.is_filled(values)
    }

    /// Whether there is something for each of its placeholders.
    pub fn is_filled(&self, values: &Values<'_>) -> bool {
        self.0.iter().all(|part| part.value(values).is_some())
    }

    /// The same where an empty placeholder gives empty text.
    pub fn is_told_in_part(&self, values: &Values<'_>) -> bool {
        self.0.iter().any(|part| part.tells() && part.value(values).is_some())
    }

    /// None when one of its placeholders is empty: the parameter is then left out.
    pub fn render(&self, values: &Values<'_>, encoding: Encoding) -> Option<String> {
        let mut out = String::new();
        self.render_onto(&mut out, values, encoding).then_some(out)
    }

    /// The same at the end of a text. `false`: a placeholder is empty, and the text may have a part of it.
    pub fn render_onto(&self, out: &mut String, values: &Values<'_>, encoding: Encoding) -> bool {
        self.0.iter().all(|part| {
            let value = part.value(values);
            value.inspect(|value| part.push(out, value, encoding)).is_some()
        })
    }

    /// As [`Template::render`], but an empty placeholder gives empty text.
    pub fn render_all(&self, values: &Values<'_>, encoding: Encoding) -> String {
        let mut out = String::new();
        for part in &self.0 {
            part.push(&mut out, part.value(values).unwrap_or_default(), encoding);
        }
        out
    }
}

impl Part {
    fn push(&self, out: &mut String, value: &str, encoding: Encoding) {
        match self {
            Part::Text(text) => out.push_str(text),
            Part::Value(_) | Part::OfLogin(_) | Part::Taken(_) => push_encoded(out, value, encoding),
        }
    }
}

fn part_of(name: &str, names: &Names) -> Result<Part, String> {
    if let Some(placeholder) = Placeholder::parse(name) {
        return Ok(Part::Value(placeholder));
    }
    if names.of_login(name) {
        return Ok(Part::OfLogin(name.to_owned()));
    }
    if names.taken(name) {
        return Ok(Part::Taken(name.to_owned()));
    }
    Err(match names.later(name) {
        Some(place) => {
            format!("has the placeholder {{{name}}}, which only {place} takes, so after this request")
        }
        None => {
            format!("has the unknown placeholder {{{name}}}; known are {}{}", names.listed(), names.advice())
        }
    })
}

fn push_encoded(out: &mut String, value: &str, encoding: Encoding) {
    match encoding {
        Encoding::Plain => out.push_str(value),
        Encoding::Percent => push_percent_encoded(out, value),
        Encoding::Json => out.push_str(&json_escaped(value)),
        Encoding::Header => out.extend(value.chars().filter(|c| !c.is_control())),
    }
}

/// The text in UTF-8, with every byte but RFC 3986's "unreserved" characters as `%XX`.
pub fn push_percent_encoded(out: &mut String, value: &str) {
    for byte in value.bytes() {
        // RFC 3986 "unreserved": everything else could mean something to somebody on the way.
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
}

/// As [`push_percent_encoded`].
pub fn percent_encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    push_percent_encoded(&mut out, value);
    out
}

/// The inside of a JSON string, without its quotes.
pub fn json_escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A secret as it is used: a file's final newline is no part of it, and no header could carry a control character.
/// `None`: nothing is left.
pub fn clean_secret(secret: Option<&str>) -> Option<String> {
    let clean: String = secret?.trim().chars().filter(|c| !c.is_control()).collect();
    (!clean.is_empty()).then_some(clean)
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;

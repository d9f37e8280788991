//! Text with `{placeholders}`.

use std::fmt::Write;

use crate::person::{Given, Person};

/// What a request can have a place for: a value of the contact, or the provider's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    Email,
    FullName,
    FirstName,
    LastName,
    CompanyName,
    CompanyDomain,
    LinkedinUrl,
    LinkedinHandle,
    Phone,
    Location,
    Secret,
}

impl Placeholder {
    /// Every placeholder, for finding one by its name.
    pub const ALL: [Placeholder; 11] = [
        Placeholder::Email,
        Placeholder::FullName,
        Placeholder::FirstName,
        Placeholder::LastName,
        Placeholder::CompanyName,
        Placeholder::CompanyDomain,
        Placeholder::LinkedinUrl,
        Placeholder::LinkedinHandle,
        Placeholder::Phone,
        Placeholder::Location,
        Placeholder::Secret,
    ];

    /// As it stands between the braces.
    pub const fn name(self) -> &'static str {
        match self {
            Placeholder::Email => "email",
            Placeholder::FullName => "full_name",
            Placeholder::FirstName => "first_name",
            Placeholder::LastName => "last_name",
            Placeholder::CompanyName => "company_name",
            Placeholder::CompanyDomain => "company_domain",
            Placeholder::LinkedinUrl => "linkedin_url",
            Placeholder::LinkedinHandle => "linkedin_handle",
            Placeholder::Phone => "phone",
            Placeholder::Location => "location",
            Placeholder::Secret => "secret",
        }
    }

    /// The placeholder of this name; `None`: there is none.
    pub fn parse(name: &str) -> Option<Placeholder> {
        Placeholder::ALL.into_iter().find(|p| p.name() == name)
    }

    /// What no answer fills in.
    pub const SETTLED: [Placeholder; 5] = [
        Placeholder::FullName,
        Placeholder::FirstName,
        Placeholder::LastName,
        Placeholder::Email,
        Placeholder::CompanyDomain,
    ];

    /// The name of the person, whole or in part.
    pub const NAMES: [Placeholder; 3] =
        [Placeholder::FullName, Placeholder::FirstName, Placeholder::LastName];

    /// Whether it stands for a column as it is, not for something that is made of one.
    pub const fn is_column(self) -> bool {
        matches!(
            self,
            Placeholder::Email
                | Placeholder::FullName
                | Placeholder::CompanyName
                | Placeholder::LinkedinUrl
                | Placeholder::Phone
                | Placeholder::Location
        )
    }

    /// What it stands for; none for the secret, which is nobody's, and for what many people share.
    pub fn of(self, person: &Person) -> Option<&Given> {
        if self.is_shared(person) {
            return None;
        }
        match self {
            Placeholder::Email => person.email.as_ref(),
            Placeholder::FullName => person.full_name.as_ref(),
            Placeholder::FirstName => person.first_name(),
            Placeholder::LastName => person.last_name(),
            Placeholder::CompanyDomain => person.company_domain.as_ref(),
            Placeholder::CompanyName => person.company_name.as_ref(),
            Placeholder::LinkedinUrl => person.linkedin_url.as_ref(),
            Placeholder::LinkedinHandle => person.linkedin_handle.as_ref(),
            Placeholder::Phone => person.phone.as_ref(),
            Placeholder::Location => person.location.as_ref(),
            Placeholder::Secret => None,
        }
    }

    const fn is_shared(self, person: &Person) -> bool {
        match self {
            Placeholder::Email => person.shared.email,
            Placeholder::CompanyDomain => person.shared.email && person.domain_of_address,
            Placeholder::LinkedinUrl | Placeholder::LinkedinHandle => person.shared.profile,
            _ => false,
        }
    }

    /// The names that may stand in a template, for messages.
    pub fn listed() -> String {
        let names: Vec<String> = Placeholder::ALL.iter().map(|p| format!("{{{}}}", p.name())).collect();
        names.join(", ")
    }
}

/// What the placeholders stand for in one request.
pub struct Values<'a> {
    pub person: &'a Person,
    pub secret: Option<&'a str>,
}

impl<'a> Values<'a> {
    /// The value as it is sent; `None`: there is none, or it is one that many people share.
    pub fn get(&self, placeholder: Placeholder) -> Option<&'a str> {
        match placeholder {
            Placeholder::Secret => self.secret,
            other => other.of(self.person).map(|given| given.sent.as_str()),
        }
    }
}

/// A piece of a template: text as it stands, or a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Value(Placeholder),
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
    /// `{name}` is a placeholder, `{{` and `}}` are literal braces.
    /// The error says what is wrong: a brace without its other, or an unknown placeholder.
    pub fn parse(source: &str) -> Result<Template, String> {
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
            let Some(placeholder) = Placeholder::parse(name) else {
                return Err(format!(
                    "has the unknown placeholder {{{name}}}; known are {}",
                    Placeholder::listed()
                ));
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Value(placeholder));
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
        let texts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Value(_) => "",
        });
        texts.collect()
    }

    /// Whether it has this placeholder.
    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.0.contains(&Part::Value(placeholder))
    }

    /// Whether it has a place for something known of the contact.
    pub fn tells(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Value(p) if *p != Placeholder::Secret))
    }

    /// Whether something known of the contact goes out with it.
    pub fn is_told(&self, values: &Values<'_>) -> bool {
        let known = |part: &Part| match part {
            Part::Text(_) => true,
            Part::Value(placeholder) => values.get(*placeholder).is_some(),
        };
        self.tells() && self.0.iter().all(known)
    }

    /// The same where an empty placeholder gives empty text.
    pub fn is_told_in_part(&self, values: &Values<'_>) -> bool {
        let known = |p: Placeholder| p != Placeholder::Secret && values.get(p).is_some();
        self.0.iter().any(|part| matches!(part, Part::Value(p) if known(*p)))
    }

    /// None when one of its placeholders is empty: the parameter is then left out.
    pub fn render(&self, values: &Values<'_>, encoding: Encoding) -> Option<String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(placeholder) => {
                    push_encoded(&mut out, values.get(*placeholder)?, encoding);
                }
            }
        }
        Some(out)
    }

    /// As [`Template::render`], but an empty placeholder gives empty text.
    pub fn render_all(&self, values: &Values<'_>, encoding: Encoding) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(placeholder) => {
                    if let Some(value) = values.get(*placeholder) {
                        push_encoded(&mut out, value, encoding);
                    }
                }
            }
        }
        out
    }
}

fn push_encoded(out: &mut String, value: &str, encoding: Encoding) {
    match encoding {
        Encoding::Plain => out.push_str(value),
        Encoding::Percent => push_percent_encoded(out, value),
        Encoding::Json => out.push_str(&json_escaped(value)),
        Encoding::Header => out.extend(value.chars().filter(|c| !c.is_control())),
    }
}

fn push_percent_encoded(out: &mut String, value: &str) {
    for byte in value.bytes() {
        // RFC 3986 "unreserved": everything else could mean something to somebody on the way.
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
}

/// The text in UTF-8, with every byte but RFC 3986's "unreserved" characters as `%XX`.
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

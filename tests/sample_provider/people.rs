//! The people this vendor knows, and how it recognises them.

use serde_json::{Value, json};

use crate::http::Request;

/// Records of `{"known_by": {"emails", "phones", "profiles"}, "likelihood", "data"}`. `known_by` is what the
/// vendor recognises a person by; `data` is what it tells, which may be less: withheld values are `true`.
pub struct People(Vec<Value>);

/// Telephone numbers by e-mail address.
pub struct Phones(Value);

impl Phones {
    pub fn parse(text: &str) -> Result<Phones, String> {
        let phones: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if phones.is_object() { Ok(Phones(phones)) } else { Err("not an object".to_owned()) }
    }

    pub fn of(&self, email: &str) -> Option<&str> {
        self.0[folded(email)].as_str()
    }
}

/// What a request says about a person.
pub struct Question<'a> {
    email: Option<&'a str>,
    phone: Option<&'a str>,
    profile: Option<&'a str>,
    name: Option<&'a str>,
    company: Option<&'a str>,
    location: Option<&'a str>,
    titlecase: bool,
}

impl<'a> From<&'a Request> for Question<'a> {
    fn from(request: &'a Request) -> Question<'a> {
        let given = |name| request.param(name).filter(|value| !value.trim().is_empty());
        Question {
            email: given("email"),
            phone: given("phone"),
            profile: given("profile"),
            name: given("name"),
            company: given("company"),
            location: given("location"),
            titlecase: given("titlecase") == Some("true"),
        }
    }
}

impl Question<'_> {
    pub fn identifies(&self) -> bool {
        let alone = self.email.or(self.phone).or(self.profile).is_some();
        alone || (self.name.is_some() && self.company.or(self.location).is_some())
    }
}

impl People {
    pub fn parse(text: &str) -> Result<People, String> {
        let people: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match people.iter().position(|person| !person["data"].is_object()) {
            Some(index) => Err(format!("record {} has no \"data\"", index + 1)),
            None => Ok(People(people)),
        }
    }

    /// The whole answer. The surest way of recognising someone is tried first; a name is the least sure one.
    pub fn find(&self, question: &Question) -> Option<Value> {
        let known = |key: &str, wanted: Option<&str>, same: fn(&str) -> String| {
            let wanted = same(wanted?);
            self.0.iter().find(|person| {
                let values = person["known_by"][key].as_array();
                values.is_some_and(|v| v.iter().filter_map(Value::as_str).any(|value| same(value) == wanted))
            })
        };
        let surely = known("emails", question.email, folded)
            .or_else(|| known("profiles", question.profile, profile))
            .or_else(|| known("phones", question.phone, digits));
        let (person, doubt) = match surely {
            Some(person) => (person, 0),
            None => (self.by_name(question)?, 2),
        };
        let likelihood = (person["likelihood"].as_i64().unwrap_or(1) - doubt).max(1);
        let data = if question.titlecase { titlecased(&person["data"]) } else { person["data"].clone() };
        Some(json!({"status": 200, "likelihood": likelihood, "data": data}))
    }

    fn by_name(&self, question: &Question) -> Option<&Value> {
        let name = folded(question.name?);
        let same = |value: &Value, wanted: Option<&str>| match (value.as_str(), wanted) {
            (Some(value), Some(wanted)) => folded(value) == folded(wanted),
            _ => false,
        };
        self.0.iter().find(|person| {
            let data = &person["data"];
            data["full_name"].as_str().is_some_and(|full_name| folded(full_name) == name)
                && (same(&data["job_company_name"], question.company)
                    || same(&data["location_name"], question.location))
        })
    }
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Without scheme, "www." and a slash at the end.
fn profile(text: &str) -> String {
    let text = folded(text);
    let text = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    text.strip_prefix("www.").unwrap_or(text).trim_end_matches('/').to_owned()
}

/// The vendor keeps its texts in lower case and capitalises some on request.
fn titlecased(data: &Value) -> Value {
    const KEYS: [&str; 6] =
        ["full_name", "first_name", "last_name", "job_title", "job_company_name", "location_name"];
    let mut data = data.clone();
    for key in KEYS {
        if let Some(text) = data[key].as_str() {
            data[key] = Value::String(capitalised(text));
        }
    }
    data
}

fn capitalised(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside_word = false;
    for letter in text.chars() {
        if inside_word {
            out.push(letter);
        } else {
            out.extend(letter.to_uppercase());
        }
        inside_word = letter.is_alphanumeric() || letter == '\'';
    }
    out
}

//! Whether an answer is about the person that was asked about: what it says of them is compared with the contact.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::mapping::Spec;
use super::node::{Checked, Node};
use super::placeholder::Placeholder;
use super::values::Values;
use crate::people::{Rules, email, linkedin, name};

/// What names a person. A company is left out: people change it, and that is what is asked about.
const KEYS: [Placeholder; 5] = [
    Placeholder::Email,
    Placeholder::FullName,
    Placeholder::FirstName,
    Placeholder::LastName,
    Placeholder::LinkedinUrl,
];

/// Places of an answer that name the person it is about, by what they are compared with. Of several such sets one that
/// agrees is enough.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamePerson(Vec<Vec<(Placeholder, Spec)>>);

/// What a contact has of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom(Vec<(Placeholder, String)>);

impl SamePerson {
    /// `{"email": "/email", "full_name": "/name"}`, or a list of such objects.
    pub fn parse(node: &Node<'_>) -> Checked<SamePerson> {
        let Value::Array(items) = node.value else { return Ok(SamePerson(vec![parse_set(node)?])) };
        if items.is_empty() {
            return Err(node.error("must not be an empty list"));
        }
        node.items()?.iter().map(parse_set).collect::<Checked<Vec<_>>>().map(SamePerson)
    }

    /// Whether answers are compared by this value, in any of the sets.
    pub fn compares(&self, key: Placeholder) -> bool {
        self.0.iter().flatten().any(|(known, _)| *known == key)
    }

    /// What is known of it; a profile only where the contact is asked about by it, as vendors know one by several names.
    pub fn whom(&self, values: &Values<'_>, by_profile: bool) -> Whom {
        let mut whom = Vec::new();
        for (key, _) in self.0.iter().flatten() {
            let counts = match key {
                Placeholder::LinkedinUrl => by_profile,
                Placeholder::FirstName => is_certain(values, Placeholder::LastName),
                Placeholder::LastName => is_certain(values, Placeholder::FirstName),
                _ => true,
            };
            let known = values.get(*key).filter(|_| counts && whom.iter().all(|(other, _)| other != key));
            whom.extend(known.map(|value| (*key, value.to_owned())));
        }
        // A name that does not split for certain is compared as a whole, with the parts of the answer put together.
        let known = |key| whom.iter().any(|(known, _)| *known == key);
        if self.parts_of_name().is_some()
            && !NAMES.into_iter().any(known)
            && let Some(full) = values.get(Placeholder::FullName)
        {
            whom.push((Placeholder::FullName, full.to_owned()));
        }
        Whom(whom)
    }

    /// Whether the answer names somebody else. Where either side lacks a value nothing is compared.
    pub fn is_other(&self, whom: &Whom, body: &Value) -> bool {
        let agrees = |set: &Vec<(Placeholder, Spec)>| {
            let known = set.iter().filter_map(|(key, spec)| Some((*key, spec, whom.get(*key)?)));
            let compared: Vec<bool> =
                known.filter_map(|(key, spec, value)| agree(key, value, &spec.texts(body))).collect();
            (!compared.is_empty()).then(|| compared.into_iter().all(|same| same))
        };
        let compared: Vec<bool> =
            self.0.iter().filter_map(agrees).chain(self.whole_name(whom, body)).collect();
        !compared.is_empty() && compared.into_iter().all(|same| !same)
    }

    /// What the answer has nothing for: it is not compared by that.
    pub fn without_value(&self, body: &Value) -> Vec<&'static str> {
        let empty = self.0.iter().flatten().filter(|(_, spec)| spec.texts(body).is_empty());
        empty.map(|(key, _)| key.name()).collect()
    }

    /// Where an answer has both parts of a name, if nothing says where the whole one is.
    fn parts_of_name(&self) -> Option<[&Spec; 2]> {
        let spec = |wanted| self.0.iter().flatten().find(|(key, _)| *key == wanted).map(|(_, spec)| spec);
        match spec(Placeholder::FullName) {
            Some(_) => None,
            None => Some([spec(Placeholder::FirstName)?, spec(Placeholder::LastName)?]),
        }
    }

    /// Whether the parts of the answer's name, put together, name the same as the contact's whole name; `None` where
    /// nothing can be compared.
    fn whole_name(&self, whom: &Whom, body: &Value) -> Option<bool> {
        let full = whom.get(Placeholder::FullName)?;
        let [first, last] = self.parts_of_name()?.map(|spec| spec.texts(body));
        let together = first.iter().zip(&last).map(|(first, last)| format!("{first} {last}"));
        agree(Placeholder::FullName, full, &together.collect::<Vec<_>>())
    }
}

impl Whom {
    /// What is not known yet of it.
    pub fn add(&mut self, other: Whom) {
        self.0.extend(
            other
                .0
                .into_iter()
                .filter(|(key, _)| self.0.iter().all(|(known, _)| known != key))
                .collect::<Vec<_>>(),
        );
    }

    fn get(&self, key: Placeholder) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    /// Whether an answer that was compared with the one is about the other, too, by what both have.
    pub fn is(&self, other: &Whom) -> bool {
        let same = |key, value: &str, given: &str| {
            given == value || agree(key, value, &[given.to_owned()]) == Some(true)
        };
        self.0.iter().all(|(key, value)| other.get(*key).is_none_or(|given| same(*key, value, given)))
    }
}

const NAMES: [Placeholder; 3] = [Placeholder::FullName, Placeholder::FirstName, Placeholder::LastName];

/// Whether one part of a name is known for that: a full name of one word may be a nickname.
fn is_certain(values: &Values<'_>, other_part: Placeholder) -> bool {
    values.get(other_part).is_some() || values.get(Placeholder::FullName).is_none()
}

fn parse_set(node: &Node<'_>) -> Checked<Vec<(Placeholder, Spec)>> {
    let set: Vec<(Placeholder, Spec)> = node
        .members()?
        .into_iter()
        .map(|(name, spec)| {
            let key = Placeholder::parse(name).filter(|key| KEYS.contains(key));
            let names = || KEYS.map(Placeholder::name).join(", ");
            let key = key.ok_or_else(|| spec.error(format!("is not one of {}", names())))?;
            Ok((key, Spec::parse(&spec)?))
        })
        .collect::<Checked<_>>()?;
    if set.is_empty() {
        return Err(node.error("must name at least one place, such as {\"email\": \"/email\"}"));
    }
    Ok(set)
}

/// Whether one of the texts names the same as the contact's value; `None` where nothing can be compared.
fn agree(key: Placeholder, value: &str, texts: &[String]) -> Option<bool> {
    let one = |text: &String| match key {
        Placeholder::Email => Some(address(text)? == address(value)?),
        Placeholder::LinkedinUrl => Some(linkedin::handle(text)? == linkedin::handle(value)?),
        _ => same_name(value, text),
    };
    let short = texts.iter().filter(|text| text.chars().nth(MOST_CHARS).is_none());
    short.filter_map(one).reduce(|some, other| some || other)
}

/// In normal form. A masked one (`j***@acme.example`) tells nothing.
fn address(text: &str) -> Option<String> {
    let rules = Rules { reserved_domains: true };
    email::first(text, rules).map(|address| address.normal).filter(|normal| !normal.contains('*'))
}

/// What has more words is no name.
const MOST_WORDS: usize = 32;
/// What is longer is not looked at.
const MOST_CHARS: usize = 1_000;

/// Whether all words of the one are in the other, in any order: a second name, a title or an initial makes nobody
/// somebody else, nor do accents. An initial can be short for any word: so it says nothing alone, nor beside a word of its
/// own side that the other lacks (Ann Roe, Ann R. Smith). `None` where nothing is said, or in another script.
fn same_name(one: &str, other: &str) -> Option<bool> {
    let (one, other) = (untitled(words(&name::normal(one)?)), untitled(words(&name::normal(other)?)));
    let is_name = |words: &[String]| (1..=MOST_WORDS).contains(&words.len());
    if !is_name(&one) || !is_name(&other) {
        return None;
    }
    let (one, other) = in_one_script(one, other)?;
    // `O'Brien` and `O Brien`, and names of scripts that need no blank, in either order.
    let turned = |words: &[String]| words.iter().rev().cloned().collect::<String>();
    if one.concat() == other.concat() || turned(&one) == other.concat() || one.concat() == turned(&other) {
        return Some(true);
    }
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let mut left: Vec<Option<&str>> = long.iter().map(|word| Some(word.as_str())).collect();
    let mut take = |fits: &dyn Fn(&str) -> bool| {
        left.iter_mut().find(|word| word.is_some_and(fits)).map(Option::take).is_some()
    };
    // Whole words first, so that no initial takes one away.
    let rest: Vec<&String> = short.iter().filter(|word| !take(&|other| other == word.as_str())).collect();
    let initial = |word: &str, other: &str| {
        word.chars().next() == other.chars().next() && [word, other].into_iter().any(is_initial)
    };
    if !rest.iter().all(|word| take(&|other| initial(word, other))) {
        return Some(false);
    }
    let abbreviated = rest.iter().any(|word| !is_initial(word));
    let lacked = left.into_iter().flatten().any(|word| !is_initial(word) && !name::is_title_or_letters(word));
    match (abbreviated && lacked, rest.len() < short.len()) {
        (true, _) => Some(false),
        (false, any_whole) => any_whole.then_some(true),
    }
}

/// Both in the letters that both have; `None` where they have none in common. A name in two scripts says the same twice.
fn in_one_script(one: Vec<String>, other: Vec<String>) -> Option<(Vec<String>, Vec<String>)> {
    let is_latin = |word: &String| word.contains(|c: char| c.is_ascii_alphabetic());
    let rest =
        |words: Vec<String>| -> Vec<String> { words.into_iter().filter(|word| !is_latin(word)).collect() };
    if one.iter().any(is_latin) == other.iter().any(is_latin) {
        return Some((one, other));
    }
    // One of them has no Latin letters: of the other those words count that have none, either.
    let (one, other) = (rest(one), rest(other));
    let both = !one.is_empty() && !other.is_empty();
    both.then_some((one, other))
}

/// Of a script that has capitals: in others a letter can be a whole name.
fn is_initial(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(char::is_lowercase) && letters.next().is_none()
}

/// Without titles in front and letters behind, as long as a name of two words is left: a surname can be a title (Lord).
fn untitled(mut words: Vec<String>) -> Vec<String> {
    while words.len() > 2 && name::is_only_title(&words[0]) {
        words.remove(0);
    }
    while words.len() > 2 && words.last().is_some_and(|word| name::are_only_letters_after(word)) {
        words.pop();
    }
    words
}

/// The words of a name in normal form, without what people and vendors leave out or write in their own way.
fn words(name: &str) -> Vec<String> {
    let plain: String = name
        .nfkd()
        .filter(|c| !is_combining_mark(*c) && !matches!(c, '\'' | '’' | 'ʼ'))
        .flat_map(letter)
        .collect();
    // Müller, Mueller and Muller.
    let folded = [("ae", "a"), ("oe", "o"), ("ue", "u"), ("aa", "a"), ("ss", "s")]
        .iter()
        .fold(plain, |name, (two, one)| name.replace(two, one));
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// What has no accent to take off.
fn letter(c: char) -> impl Iterator<Item = char> {
    let two = match c {
        'ß' => ['s', 's'],
        'æ' => ['a', 'e'],
        'œ' => ['o', 'e'],
        'þ' => ['t', 'h'],
        'ø' => ['o', '\0'],
        'ł' => ['l', '\0'],
        'đ' | 'ð' => ['d', '\0'],
        'ı' => ['i', '\0'],
        other => [other, '\0'],
    };
    two.into_iter().filter(|c| *c != '\0')
}

#[cfg(test)]
#[path = "same_person_tests.rs"]
mod tests;

//! A contact as it was read, and what the placeholders of a request take from it.

use std::borrow::Cow;

use super::fields::{Field, FieldMap, FieldSet};
use super::people::value;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The key as text, whatever its type.
    pub id: String,
    pub full_name: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub email: Option<String>,
    pub company_domain: Option<String>,
    pub values: FieldMap<String>,
}

impl Contact {
    /// What says who it is, exactly as stored, in the order of the table's `IDENTIFYING`.
    pub fn identifying(&self) -> [Option<&str>; 5] {
        [&self.full_name, &self.first_name, &self.last_name, &self.email, &self.company_domain]
            .map(Option::as_deref)
    }

    /// Fields that providers can be asked with, and that it has.
    pub fn identifying_fields(&self) -> FieldSet {
        let asked_with = [Field::CompanyName, Field::LinkedinUrl, Field::Phone, Field::Location];
        asked_with.into_iter().filter(|field| self.value(*field).is_some()).collect()
    }

    /// The stored value of a field, exactly as stored.
    pub fn value(&self, field: Field) -> Option<&str> {
        self.values.get(field).map(String::as_str)
    }

    /// The contact with these values in place of its own.
    pub fn with(&self, values: &FieldMap<String>) -> Cow<'_, Contact> {
        if values.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut contact = self.clone();
        values.iter().for_each(|(field, value)| contact.values.set(field, value.clone()));
        Cow::Owned(contact)
    }

    pub fn empty_fields(&self) -> FieldSet {
        Field::ALL.into_iter().filter(|field| value::is_empty(*field, self.value(*field))).collect()
    }

    pub fn known_email(&self) -> Option<&str> {
        filled(self.email.as_deref())
    }

    /// The stored full name, else the first and the last name together.
    pub fn known_full_name(&self) -> Option<Cow<'_, str>> {
        if let Some(stored) = filled(self.full_name.as_deref()) {
            return Some(Cow::Borrowed(stored));
        }
        let first = filled(self.first_name.as_deref())?;
        let last = filled(self.last_name.as_deref())?;
        Some(Cow::Owned(format!("{first} {last}")))
    }

    pub fn known_first_name(&self) -> Option<&str> {
        filled(self.first_name.as_deref()).or_else(|| self.split_full_name()?.0)
    }

    pub fn known_last_name(&self) -> Option<&str> {
        filled(self.last_name.as_deref()).or_else(|| self.split_full_name()?.1)
    }

    /// The stored domain, else that of the e-mail address if it is a company's.
    pub fn known_company_domain(&self) -> Option<Cow<'_, str>> {
        match filled(self.company_domain.as_deref()) {
            Some(stored) => Some(Cow::Borrowed(stored)),
            None => company_domain_of(self.known_email()?).map(Cow::Owned),
        }
    }

    fn split_full_name(&self) -> Option<(Option<&str>, Option<&str>)> {
        filled(self.full_name.as_deref()).map(split_name)
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|trimmed| !trimmed.is_empty())
}

/// First and last name from a full name.
///
/// Titles before it and suffixes after it are left out, "Last, First" is turned round, and lower-case particles
/// stay with the last name ("Ludwig van Beethoven" → "van Beethoven").
fn split_name(full: &str) -> (Option<&str>, Option<&str>) {
    let full = without_titles(full);
    let Some((before, after)) = full.split_once(',') else {
        return split_words(without_suffix(full));
    };
    let (before, after) = (before.trim(), after.trim());
    if after.is_empty() || after.split([',', ' ']).all(|w| w.is_empty() || is_suffix(w)) {
        return split_words(without_suffix(before));
    }
    let first = after.split([',', ' ']).find(|word| !word.is_empty());
    (first, filled(Some(without_suffix(before))))
}

fn split_words(name: &str) -> (Option<&str>, Option<&str>) {
    let name = name.trim();
    let Some((first, rest)) = name.split_once(char::is_whitespace) else {
        return (filled(Some(name)), None);
    };
    let rest = rest.trim();
    // In a name that is written in lower case throughout, lower case says nothing about particles.
    let shows_case = first.chars().next().is_some_and(char::is_uppercase);
    let mut last_start = rest.rfind(char::is_whitespace).map_or(0, |at| at + width_at(rest, at));
    while shows_case && last_start > 0 {
        let head = rest[..last_start].trim_end();
        let word_start = head.rfind(char::is_whitespace).map_or(0, |at| at + width_at(head, at));
        if !head[word_start..].chars().next().is_some_and(char::is_lowercase) {
            break;
        }
        last_start = word_start;
    }
    (Some(first), Some(&rest[last_start..]))
}

fn width_at(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

const TITLES: [&str; 10] = ["mr", "mrs", "ms", "miss", "mx", "dr", "prof", "herr", "frau", "sir"];
const SUFFIXES: [&str; 14] =
    ["jr", "sr", "ii", "iii", "iv", "phd", "md", "mba", "esq", "cpa", "msc", "bsc", "dds", "pmp"];

fn is_one_of(word: &str, list: &[&str]) -> bool {
    let bare = word.replace('.', "");
    list.iter().any(|entry| bare.eq_ignore_ascii_case(entry))
}

fn is_suffix(word: &str) -> bool {
    is_one_of(word, &SUFFIXES)
}

fn without_titles(mut name: &str) -> &str {
    while let Some((word, rest)) = name.trim_start().split_once(char::is_whitespace) {
        if !is_one_of(word, &TITLES) {
            break;
        }
        name = rest;
    }
    name.trim()
}

fn without_suffix(mut name: &str) -> &str {
    while let Some((rest, word)) = name.trim_end().rsplit_once(char::is_whitespace) {
        if !is_suffix(word) {
            break;
        }
        name = rest;
    }
    name.trim()
}

/// The domain of a company's e-mail address; none for the mailbox services that anyone can use.
fn company_domain_of(email: &str) -> Option<String> {
    let (local, domain) = email.rsplit_once('@')?;
    let domain = domain.trim_end_matches('.').to_lowercase();
    let labels_are_sound = domain
        .split('.')
        .all(|label| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-'));
    let sound = !local.is_empty() && domain.contains('.') && labels_are_sound;
    (sound && !is_open_to_anyone(&domain)).then_some(domain)
}

fn is_open_to_anyone(domain: &str) -> bool {
    OPEN_TO_ANYONE.contains(&domain)
        || ["yahoo.", "hotmail.", "gmx.", "ymail.", "rocketmail."]
            .iter()
            .any(|family| domain.starts_with(family))
}

/// Mailbox services whose domain says nothing about an employer.
const OPEN_TO_ANYONE: [&str; 71] = [
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "outlook.de",
    "outlook.fr",
    "outlook.es",
    "outlook.it",
    "outlook.co.uk",
    "outlook.com.br",
    "live.com",
    "live.co.uk",
    "live.fr",
    "live.de",
    "live.nl",
    "live.it",
    "live.com.au",
    "msn.com",
    "passport.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "aol.com",
    "aim.com",
    "verizon.net",
    "comcast.net",
    "att.net",
    "sbcglobal.net",
    "bellsouth.net",
    "cox.net",
    "charter.net",
    "earthlink.net",
    "proton.me",
    "protonmail.com",
    "protonmail.ch",
    "pm.me",
    "tutanota.com",
    "tutanota.de",
    "tuta.io",
    "fastmail.com",
    "fastmail.fm",
    "hey.com",
    "zoho.com",
    "zohomail.com",
    "mail.com",
    "email.com",
    "web.de",
    "t-online.de",
    "freenet.de",
    "posteo.de",
    "mailbox.org",
    "arcor.de",
    "orange.fr",
    "wanadoo.fr",
    "free.fr",
    "laposte.net",
    "sfr.fr",
    "libero.it",
    "virgilio.it",
    "btinternet.com",
    "sky.com",
    "mail.ru",
    "yandex.ru",
    "yandex.com",
    "rambler.ru",
    "bk.ru",
    "qq.com",
    "163.com",
    "126.com",
    "naver.com",
    "rediffmail.com",
    "uol.com.br",
];

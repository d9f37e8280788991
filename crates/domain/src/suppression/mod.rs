//! Who must not be asked about, by hashes of what identifies them. Nobody can be read off the list.
//!
//! Listed are e-mail addresses and LinkedIn profiles that are a person's own, and domains of addresses. A person
//! with neither is listed by all that is known of them together, so that no other person is met who shares a part of it. A
//! person who is known by a telephone number alone is listed by the row.

mod entry;
pub mod former;

use std::collections::BTreeSet;

use super::contact::Contact;
use super::contact_row::ContactRow;
use super::fields::Field;
use super::hash::{Hash, hash};
use super::people::company;
use super::people::email::Address;
use super::people::mentions::{self, Mentions};
use super::person::Person;

pub use entry::{Caution, Entry};

fn by_address(address: &Address) -> Hash {
    of("email", &[&address.person()])
}

fn by_profile(handle: &str) -> Hash {
    of("linkedin", &[handle])
}

fn by_domain(domain: &str) -> Hash {
    of("domain of addresses", &[domain])
}

/// Under which entries an address at this domain may be listed. Gmail's two domains are one.
fn under(domain: &str) -> impl Iterator<Item = Hash> {
    let other = match domain {
        "gmail.com" => Some("googlemail.com"),
        "googlemail.com" => Some("gmail.com"),
        _ => None,
    };
    [Some(domain), other].into_iter().flatten().map(by_domain)
}

/// By everything that somebody may be listed under: they are suppressed when one of these is.
pub fn of_person(person: &Person, contact: &Contact) -> Vec<Hash> {
    let mut all = known_by(person);
    let mut mentioned = Vec::new();
    for found in texts(contact).map(Mentioned::of) {
        all.extend(found.people);
        mentioned.extend(found.domains);
    }
    all.extend(domains(person, contact, &mentioned).iter().flat_map(|domain| under(domain)));
    all.extend(former::of_contact(contact));
    all.sort_unstable();
    all.dedup();
    all
}

/// The same without whole domains, and without whom a column only mentions beside an address or profile of its own: what
/// is listed about nobody else.
pub fn of_person_alone(person: &Person, contact: &Contact) -> Vec<Hash> {
    let mut all = known_by(person);
    let columns = [
        (contact.email.as_deref(), person.addresses.is_empty()),
        (contact.value(Field::LINKEDIN_URL), person.linkedin_handle.is_none()),
    ];
    for text in columns.into_iter().filter_map(|(text, alone)| text.filter(|_| alone)) {
        all.extend(Mentioned::of(text).people);
    }
    all.extend(former::of_contact(contact));
    all.sort_unstable();
    all.dedup();
    all
}

/// Whole domains that it is listed by.
pub fn domains_of_person(person: &Person, contact: &Contact) -> Vec<Hash> {
    let mentioned: Vec<String> = texts(contact).flat_map(|text| Mentioned::of(text).domains).collect();
    domains(person, contact, &mentioned).iter().flat_map(|domain| under(domain)).collect()
}

/// So many of a contact's addresses a refusal lists, the one that it was asked by first: each takes a place in shared memory.
/// A contact with more is listed by its row as well.
const MOST_OF_A_REFUSAL: usize = 100;

/// What a provider's refusal is kept under. Never nothing for a contact of a table, whatever it was asked by.
pub fn of_refusal(person: &Person) -> Vec<Hash> {
    let mut own = own(person);
    if own.len() > MOST_OF_A_REFUSAL {
        own.truncate(MOST_OF_A_REFUSAL);
        own.extend(person.row.map(by_row));
    }
    if !own.is_empty() {
        return own;
    }
    let sent = Sent::of(person);
    match sent.whole() {
        Some(whole) => vec![whole],
        None => person.row.map(by_row).into_iter().collect(),
    }
}

fn known_by(person: &Person) -> Vec<Hash> {
    // Every address counts here, be it a role mailbox or not: it was put on the list by name.
    let addresses = person.addresses.iter().map(|(address, _)| by_address(address));
    let profile = person.linkedin_handle.iter().map(|handle| by_profile(handle.form()));
    let mut all: Vec<Hash> = addresses.chain(profile).collect();
    all.extend(Sent::of(person).parts(!own(person).is_empty()));
    all.extend(person.row.map(by_row));
    all
}

/// The columns for address and profile.
fn texts(contact: &Contact) -> impl Iterator<Item = &str> {
    [contact.email.as_deref(), contact.value(Field::LINKEDIN_URL)].into_iter().flatten()
}

/// All that a column like that mentions, also where it is no value to ask with.
struct Mentioned {
    people: Vec<Hash>,
    domains: Vec<String>,
}

impl Mentioned {
    fn of(text: &str) -> Mentioned {
        let found = Mentions::of(text);
        let handles = mentions::profiles(text);
        let profiles = handles.iter().map(|handle| by_profile(handle));
        let people = found.addresses.iter().map(by_address).chain(profiles).collect();
        Mentioned { people, domains: found.domains }
    }
}

/// What can be no other person's.
fn own(person: &Person) -> Vec<Hash> {
    let first = person.email.as_ref().filter(|_| person.shared.email);
    let shared = |address: &Address| first.is_some_and(|email| email.form() == address.normal);
    let addresses = person.addresses.iter().filter(|(address, role)| !role && !shared(address));
    let profile = person.linkedin_handle.iter().filter(|_| !person.shared.profile);
    let profile = profile.map(|handle| by_profile(handle.form()));
    profile.chain(addresses.map(|(address, _)| by_address(address))).collect()
}

/// With its workspace: in another one a row of the same key is another person's, also where the list is for all.
fn by_row(row: ContactRow) -> Hash {
    hash(&[b"suppression", b"row", &row.key()])
}

/// Of each address, of those mentioned, and of the company: the domain and those above it, down to two labels.
fn domains(person: &Person, contact: &Contact, mentioned: &[String]) -> BTreeSet<String> {
    let of_addresses = person.addresses.iter().map(|(address, _)| address.domain());
    let company = person.company_domain.as_ref().map(|given| given.sent.as_str());
    // A note in the company's column names it, too.
    let note = contact.company_domain.as_deref().unwrap_or_default();
    let is_of_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let in_note = note.split(|c| !is_of_host(c)).filter(|word| word.contains('.') && word.len() < 1_000);
    let in_note: Vec<String> = in_note.filter_map(company::domain).collect();
    let all = of_addresses.chain(company).chain(mentioned.iter().chain(&in_note).map(String::as_str));
    let mut found = BTreeSet::new();
    for domain in all {
        let mut rest = domain;
        while rest.contains('.') && !found.contains(rest) {
            found.insert(rest.to_owned());
            rest = rest.split_once('.').map_or("", |(_, above)| above);
        }
    }
    found
}

/// All that is sent of somebody who has neither address nor profile.
struct Sent {
    name: Option<String>,
    /// With whether it tells, beside a name, one person from others of that name.
    others: Vec<(&'static str, String, bool)>,
}

impl Sent {
    fn of(person: &Person) -> Sent {
        let form = |name, given: &Option<super::person::Given>, tells| {
            given.as_ref().map(|given| (name, given.form().to_owned(), tells))
        };
        // The domain of a role mailbox stands for it: that of another address may have come later.
        let mailbox = || person.email.as_ref().filter(|_| person.role_mailbox);
        let domain = form("company_domain", &person.company_domain, true)
            .or_else(|| form("email", &mailbox().cloned(), true));
        let others = [
            domain,
            form("company_name", &person.company_name, true),
            form("phone", &person.phone, true),
            form("location", &person.location, false),
        ];
        Sent { name: person.called().map(str::to_owned), others: others.into_iter().flatten().collect() }
    }

    /// `None` where that is nothing, or a telephone number alone.
    fn whole(&self) -> Option<Hash> {
        let only_phone = self.others.iter().all(|(name, ..)| *name == "phone");
        (self.name.is_some() || !only_phone).then(|| self.hash(|_| true))
    }

    /// Also as it was before a part of it came: with a name, each choice of the others. `has_own`: there is an address or
    /// profile, too, which may have come since, but more certainly tells namesakes apart.
    fn parts(&self, has_own: bool) -> Vec<Hash> {
        let mut all: Vec<Hash> = self.whole().filter(|_| !has_own).into_iter().collect();
        if self.name.is_none() {
            return all;
        }
        for some in 1..1_u32 << self.others.len() {
            let chosen = |at: usize| some & (1 << at) != 0;
            let tells = |at: &usize| chosen(*at) && self.others[*at].2;
            if !has_own || (0..self.others.len()).any(|at| tells(&at)) {
                all.push(self.hash(chosen));
            }
        }
        all
    }

    fn hash(&self, chosen: impl Fn(usize) -> bool) -> Hash {
        let mut parts = vec![self.name.as_deref().unwrap_or_default()];
        let some = self.others.iter().enumerate().filter(|(at, _)| chosen(*at));
        parts.extend(some.flat_map(|(_, (name, value, _))| [*name, value.as_str()]));
        of("sent", &parts)
    }
}

fn of(kind: &str, parts: &[&str]) -> Hash {
    let parts: Vec<&[u8]> = ["suppression", kind].iter().chain(parts).map(|part| part.as_bytes()).collect();
    hash(&parts)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

//! Values that many people have in common: a person who is known by one of them could be any of them. `noemail@noemail.com` is
//! asked about under a hundred names, and a vendor's sandbox key answers with one person's profile for everybody.
//!
//! Everything is told by hashes that hold the workspace, so that nobody is read off the lists.

use std::collections::HashMap;

use uuid::Uuid;

use super::fields::{Field, FieldMap};
use super::hash::{Hash, hash, hash_each};
use super::people::email::addresses;
use super::people::{Rules, linkedin, phone};

/// What a value is, and how it came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An e-mail address that providers were asked with.
    Email,
    /// A LinkedIn profile that they were asked with.
    Profile,
    /// A LinkedIn profile that one of them supplied.
    SuppliedProfile,
    /// A telephone number that one of them supplied: a switchboard is many people's, and right.
    SuppliedPhone,
    /// A telephone number that they were asked with.
    Phone,
}

impl Kind {
    /// Every kind, for finding one by its name.
    pub const ALL: [Kind; 5] =
        [Kind::Email, Kind::Profile, Kind::SuppliedProfile, Kind::SuppliedPhone, Kind::Phone];

    /// As leadlex.shared_value has it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Email => "email",
            Kind::Profile => "profile",
            Kind::SuppliedProfile => "supplied profile",
            Kind::SuppliedPhone => "supplied phone",
            Kind::Phone => "phone",
        }
    }

    /// The kind of this name, as leadlex.shared_value has it; `None`: there is no such kind.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a provider supplied the value, not the contact table.
    pub const fn is_supplied(self) -> bool {
        matches!(self, Kind::SuppliedProfile | Kind::SuppliedPhone)
    }

    /// Whether it is a telephone number: a switchboard is many people's, so it is listed, and nothing else comes of it.
    pub const fn is_phone(self) -> bool {
        matches!(self, Kind::SuppliedPhone | Kind::Phone)
    }
}

/// A value in its normal form, of one workspace and, where it was supplied, of one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    pub kind: Kind,
    pub hash: Hash,
}

impl Value {
    /// The value of an e-mail address in its normal form ([`super::people::email`]).
    pub fn email(workspace: Uuid, normal: &str) -> Value {
        Value::new(Kind::Email, workspace, None, normal)
    }

    /// The value of a LinkedIn profile that providers were asked with. `handle`: its normal form.
    pub fn profile(workspace: Uuid, handle: &str) -> Value {
        Value::new(Kind::Profile, workspace, None, handle)
    }

    /// The value of a LinkedIn profile that this provider supplied. `handle`: its normal form.
    pub fn supplied_profile(workspace: Uuid, provider: Uuid, handle: &str) -> Value {
        Value::new(Kind::SuppliedProfile, workspace, Some(provider), handle)
    }

    /// The value of a telephone number that providers were asked with, in its normal form ([`super::people::phone`]).
    pub fn phone(workspace: Uuid, normal: &str) -> Value {
        Value::new(Kind::Phone, workspace, None, normal)
    }

    /// The value of a telephone number that this provider supplied, in its normal form.
    pub fn supplied_phone(workspace: Uuid, provider: Uuid, normal: &str) -> Value {
        Value::new(Kind::SuppliedPhone, workspace, Some(provider), normal)
    }

    fn new(kind: Kind, workspace: Uuid, provider: Option<Uuid>, normal: &str) -> Value {
        let provider = provider.unwrap_or_default();
        let parts: [&[u8]; 5] = [
            b"shared value",
            kind.name().as_bytes(),
            workspace.as_bytes(),
            provider.as_bytes(),
            normal.as_bytes(),
        ];
        Value { kind, hash: hash(&parts) }
    }
}

/// A value that somebody writes down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    Email(String),
    Profile(String),
    Phone(String),
}

impl Written {
    /// One e-mail address, profile or telephone number in any spelling, `None` for anything else.
    pub fn parse(text: &str) -> Option<Written> {
        if let Some(handle) = linkedin::handle_from_url(text) {
            return Some(Written::Profile(handle));
        }
        let mut found = addresses(text, Rules { reserved_domains: true });
        found.dedup_by(|one, other| one.normal == other.normal);
        match (found.pop(), found.is_empty()) {
            (Some(address), true) => Some(Written::Email(address.normal)),
            (Some(_), false) => None,
            (None, _) => phone::normal(text).filter(|_| phone::is_number(text)).map(Written::Phone),
        }
    }

    /// What it is in a workspace: asked with, or supplied by one of these providers.
    pub fn values(&self, workspace: Uuid, providers: &[Uuid]) -> Vec<(Value, Option<Uuid>)> {
        match self {
            Written::Email(normal) => vec![(Value::email(workspace, normal), None)],
            Written::Profile(handle) => {
                let supplied = |id: &Uuid| (Value::supplied_profile(workspace, *id, handle), Some(*id));
                let asked = (Value::profile(workspace, handle), None);
                std::iter::once(asked).chain(providers.iter().map(supplied)).collect()
            }
            Written::Phone(number) => {
                let supplied = |id: &Uuid| (Value::supplied_phone(workspace, *id, number), Some(*id));
                let asked = (Value::phone(workspace, number), None);
                std::iter::once(asked).chain(providers.iter().map(supplied)).collect()
            }
        }
    }
}

/// What of a person identifies it no longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    pub email: bool,
    pub profile: bool,
}

impl Shared {
    /// Whether at least one of the two is shared.
    pub const fn any(self) -> bool {
        self.email || self.profile
    }

    /// The names of these columns.
    pub const fn columns(self) -> &'static [&'static str] {
        match (self.email, self.profile) {
            (false, false) => &[],
            (true, false) => &["email"],
            (false, true) => &["linkedin_url"],
            (true, true) => &["email", "linkedin_url"],
        }
    }

    /// Marks the column of this kind as shared. Others change nothing.
    pub fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Email => self.email = true,
            Kind::Profile => self.profile = true,
            Kind::SuppliedProfile | Kind::SuppliedPhone | Kind::Phone => {}
        }
    }

    /// Whether the column of this kind is shared; never for other kinds.
    pub const fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Email => self.email,
            Kind::Profile => self.profile,
            Kind::SuppliedProfile | Kind::SuppliedPhone | Kind::Phone => false,
        }
    }
}

/// The profile among the values of an answer.
/// `None`: the answer has none.
pub fn answered_profile(workspace: Uuid, provider: Uuid, values: &FieldMap<String>) -> Option<Value> {
    let handle = linkedin::handle(values.get(Field::LINKEDIN_URL)?)?;
    Some(Value::supplied_profile(workspace, provider, &handle))
}

/// Of an answer, what many people may be given.
pub fn supplied(workspace: Uuid, provider: Uuid, values: &FieldMap<String>) -> impl Iterator<Item = Value> {
    let number = values.get(Field::PHONE).and_then(|text| phone::normal(text));
    let number = number.map(|number| Value::supplied_phone(workspace, provider, &number));
    answered_profile(workspace, provider, values).into_iter().chain(number)
}

/// A name in normal form, and the row in which it was met, see [`super::receipt::person`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: Hash,
    pub row: Hash,
}

/// One name, with values that came up with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub name: Hash,
    pub values: Vec<Value>,
}

impl Sighting {
    /// The same for the same name and values.
    pub fn key(&self) -> Hash {
        let first: [&[u8]; 2] = [b"sighting", &self.name];
        hash_each(first.into_iter().chain(self.values.iter().map(|value| &value.hash[..])))
    }
}

/// So many values of one set are counted: as many as a table of 65,536 places takes, in 3.2 megabytes. Others are found by the worker.
const MOST_VALUES: usize = 57_344;

/// The names that each value came up with in one set: what too many of them share need not be asked about even once.
#[derive(Debug, Default)]
pub struct Crowd {
    /// By value, where in `first` its first name is. Most values have no other: 56 bytes for each.
    values: HashMap<Hash, u32>,
    first: Vec<Named>,
    /// The other names of those that have more. Never more than are allowed.
    others: HashMap<Hash, Vec<Named>>,
    found: Vec<(Value, Vec<Named>)>,
    /// What is known of values of too many names: whether an administrator allowed them.
    allowed: HashMap<Hash, bool>,
    of_one: bool,
}

impl Crowd {
    /// Of one person, with whom nobody else is met.
    pub fn of_one() -> Crowd {
        Crowd { of_one: true, ..Crowd::default() }
    }

    /// So many contacts are expected: room that grows step by step leaves holes behind in the memory.
    pub fn expect(&mut self, contacts: usize) {
        let more = contacts.min(MOST_VALUES.saturating_sub(self.values.len()));
        self.values.reserve(more);
        self.first.reserve(more);
    }

    /// Whether it was made by [`Crowd::of_one`].
    pub const fn is_of_one(&self) -> bool {
        self.of_one
    }

    /// `most` names may share a value.
    pub fn meet(&mut self, value: Value, named: Named, most: usize) {
        match self.values.get(&value.hash) {
            None if self.values.len() >= MOST_VALUES => return,
            None => {
                self.values.insert(value.hash, self.first.len() as u32);
                self.first.push(named);
            }
            Some(_) if self.names(value).count() > most => return,
            Some(_) if self.names(value).any(|known| known.name == named.name) => return,
            Some(_) => self.others.entry(value.hash).or_default().push(named),
        }
        if self.names(value).count() > most {
            let names = self.names(value).copied().collect();
            self.found.push((value, names));
        }
    }

    /// The names that were met with a value.
    fn names(&self, value: Value) -> impl Iterator<Item = &Named> {
        let first = self.values.get(&value.hash).map(|at| &self.first[*at as usize]);
        first.into_iter().chain(self.others.get(&value.hash).into_iter().flatten())
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether more than `most` different names were met with this value, and it is not known to be allowed.
    pub fn is_crowded(&self, value: Value, most: usize) -> bool {
        self.has_many(value, most) && self.allowed.get(&value.hash) != Some(&true)
    }

    /// Whether it is of more than `most` names, and not known yet whether it is allowed.
    pub fn is_to_be_judged(&self, value: Value, most: usize) -> bool {
        self.has_many(value, most) && !self.allowed.contains_key(&value.hash)
    }

    /// Notes whether an administrator allowed it.
    pub fn judge(&mut self, value: Value, allowed: bool) {
        self.allowed.insert(value.hash, allowed);
    }

    fn has_many(&self, value: Value, most: usize) -> bool {
        self.names(value).count() > most
    }

    /// What has turned out to be shared since this was asked last, with its names.
    pub fn take_found(&mut self) -> Vec<(Value, Vec<Named>)> {
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;

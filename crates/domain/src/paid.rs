//! Whom a credit was charged for, where the rest of a call comes later: the rest costs nothing as long as the contact is
//! that person. Kept as hashes of the values that may have been sent, each in its normal form, so that a change which a
//! provider is not asked with makes it no other question. With them stands the company of the position that the call has written a
//! part of: the rest belongs to the same one.

use std::borrow::Cow;

use super::hash::{self, Hash};
use super::person::Person;
use super::provider::{Config, Placeholder};

/// The values of one contact when its credit was charged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaidFor(Vec<(String, String)>);

/// The name of the position's company, see [`super::position::Post::to_keep`].
const POSITION: &str = "position";

/// The name of what a contact is called, where a request has a place for a part of that name and the split is not certain.
const CALLED: &str = "name";

fn short(row: &Hash, name: &str, form: &str) -> String {
    hash::short(&[b"paid", row, name.as_bytes(), form.as_bytes()])
}

impl PaidFor {
    /// `row`: the hash of the contact's row, so that equal values of two contacts are not seen to be equal.
    pub fn of(row: &Hash, person: &Person) -> PaidFor {
        let given =
            Placeholder::ALL.into_iter().filter_map(|p| Some((p.name(), p.of(person)?.form().to_owned())));
        let called = person.called().map(|name| (CALLED, name.to_owned()));
        let hashed = |(name, form): (&str, String)| (name.to_owned(), short(row, name, &form));
        PaidFor(given.chain(called).map(hashed).collect())
    }

    /// With the company of the position, see [`super::position::Post::to_keep`].
    #[must_use]
    pub fn at(mut self, position: Option<String>) -> PaidFor {
        self.0.extend(position.map(|kept| (POSITION.to_owned(), kept)));
        self
    }

    /// The company of the position, for [`super::position::Post::going_on`].
    pub fn position(&self) -> Option<&str> {
        self.get(POSITION)
    }

    /// Whether a rest that waits for this is also the rest of a call that `later` was charged for.
    pub fn includes(&self, later: &PaidFor) -> bool {
        let person =
            |paid: &PaidFor| paid.0.iter().filter(|(name, _)| name != POSITION).cloned().collect::<Vec<_>>();
        person(self) == person(later) && later.position().is_none_or(|at| self.position() == Some(at))
    }

    /// As the queue keeps it.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|(name, hash)| format!("{name}={hash}")).collect::<Vec<_>>().join(",")
    }

    /// Reads what [`PaidFor::to_text`] wrote. Of another text it knows nothing.
    pub fn parse(text: &str) -> PaidFor {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        PaidFor(pairs.map(|(name, hash)| (name.to_owned(), hash.to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, hash)| hash.as_str())
    }

    /// Whether this provider is asked about `now` what it was asked about then. What answers fill in (a profile, say) and was
    /// empty then makes it no other question. One that cannot be asked supplies nothing, so nothing is to be paid for it.
    pub fn covers(&self, config: &Config, row: &Hash, now: &Person) -> bool {
        let identity = config.identity(now);
        let Some(used) = identity.sets.first() else { return true };
        let beside = identity.beside.as_ref().map_or(&identity.settled, |beside| &beside[0]);
        let settled = |name: &str| name == CALLED || Placeholder::SETTLED.iter().any(|p| p.name() == name);
        let same = |(name, form): &(&'static str, Cow<'_, str>)| match self.get(name) {
            Some(hash) => hash == short(row, name, form),
            None => !settled(name),
        };
        let asked = |p: &Placeholder| config.asks_by(*p) && self.get(p.name()).is_some();
        let gone = Placeholder::ALL.iter().filter(|p| asked(p)).any(|p| p.of(now).is_none());
        !gone && used.iter().chain(beside).all(same)
    }
}

#[cfg(test)]
#[path = "paid_tests.rs"]
mod tests;

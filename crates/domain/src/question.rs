//! What a provider is asked about a person. Two contacts with the same question are one person to it. The question is who
//! asks whom, all that is sent and that no answer fills in (name, address, domain), and the identifying set that is used,
//! each in its normal form. What an answer filled in makes it no other question.

use std::borrow::Cow;

use uuid::Uuid;

use super::contact::Contact;
use super::fields::{Field, FieldSet};
use super::hash::{Hash, hash, hash_each};
use super::people::value;
use super::person::Person;
use super::provider::{Config, Known};
use super::receipt::Receipt;
use super::ticket::Ticket;

/// Who asks whom: what tells a question of one workspace and provider from those of others.
#[derive(Clone, Copy)]
pub struct Parties<'a> {
    pub workspace: Uuid,
    pub provider: Uuid,
    /// [`super::receipt::fingerprint`] of the provider's description.
    pub description: &'a Hash,
    /// Whether answers may be kept in the former form.
    pub former: bool,
}

/// What a contact's identifying values come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Questions {
    /// One for each identifying set that is complete; the first is the one that is asked.
    pub hashes: Vec<Hash>,
    /// All identifying values together: who knows more can ask again where there was nothing.
    pub known: Hash,
    /// For each of [`Questions::hashes`]: the same with more fields asked for, the fewest first. What was answered to them
    /// answers it.
    wider: Vec<Vec<Hash>>,
    stem: Hash,
    all: Known<'static>,
    /// See [`super::receipt::person`]; `None` for a contact that is in no table.
    row: Option<Hash>,
    former: Option<former::Questions>,
}

impl Questions {
    /// `None` when the contact cannot be identified. Where the requests depend on the fields that are wanted
    /// ([`Config::asked`]): for all of them.
    pub fn of(
        parties: Parties<'_>,
        config: &Config,
        person: &Person,
        contact: &Contact,
    ) -> Option<Questions> {
        Questions::about(parties, config, person, contact, FieldSet::ALL)
    }

    /// The same for the fields that this provider is wanted for: those that it is asked for belong to the question, where its
    /// requests depend on them.
    pub fn about(
        parties: Parties<'_>,
        config: &Config,
        person: &Person,
        contact: &Contact,
        wanted: FieldSet,
    ) -> Option<Questions> {
        let identity = config.identity(person);
        if identity.sets.is_empty() {
            return None;
        }
        // No hash of the former form begins so.
        let stem = hash(&[
            b"question",
            parties.workspace.as_bytes(),
            parties.provider.as_bytes(),
            parties.description,
        ]);
        let asked = config.asked(wanted);
        let more = asked.map(|asked| config.asked_beyond(asked)).unwrap_or_default();
        let of_set = |(beside, set): (&Known<'_>, &Known<'_>), asked: Option<FieldSet>| {
            let fields = asked.map(|asked| ("wanted", Cow::Owned(asked.names().join(","))));
            hash_of(&stem, "set", beside.iter().chain(set).chain(&fields))
        };
        let beside = |at: usize| identity.beside.as_ref().map_or(&identity.settled, |beside| &beside[at]);
        let sets = || identity.sets.iter().enumerate().map(|(at, set)| (beside(at), set));
        let hashes = sets().map(|set| of_set(set, asked)).collect();
        let wider = sets().map(|set| more.iter().map(|asked| of_set(set, Some(*asked))).collect()).collect();
        let known = hash_of(&stem, "known", identity.all.iter());
        let former =
            if parties.former { former::Questions::of(parties, config, person, contact) } else { None };
        let owned = |(name, value): (&'static str, Cow<'_, str>)| (name, Cow::Owned(value.into_owned()));
        let all = identity.all.into_iter().map(owned).collect();
        Some(Questions { hashes, known, wider, stem, all, row: person.row.map(|row| row.hash), former })
    }

    /// Under which answers to it may be found.
    pub fn everywhere(&self) -> impl Iterator<Item = Hash> + '_ {
        let former = self.former.iter().flat_map(|former| &former.hashes);
        self.hashes.iter().chain(self.wider.iter().flatten()).chain(former).copied()
    }

    /// What of these receipts was answered to the question that is put now, or to one that was put when less was known of
    /// this contact; and what was known then.
    pub fn answered<'r>(
        &'r self,
        contact: &'r Contact,
        find: impl Fn(&Hash) -> Option<&'r Receipt> + Copy + 'r,
    ) -> impl Iterator<Item = (&'r Receipt, Hash)> {
        let present = self.found(contact, find).map(|(_, receipt)| (receipt, self.known));
        let former = self.former.iter().flat_map(move |former| former.answered(contact, find));
        present.chain(former)
    }

    /// What is remembered of the question that is put now, or of one that was put when less was known of this contact; and
    /// under which hash.
    pub fn found<'r, R: Remembered + 'r>(
        &'r self,
        contact: &'r Contact,
        find: impl Fn(&Hash) -> Option<&'r R> + Copy + 'r,
    ) -> impl Iterator<Item = (Hash, &'r R)> {
        let with_more = |(at, hash): (usize, &'r Hash)| {
            let wider = self.wider[at].iter().map(move |more| (at, more));
            std::iter::once((at, hash)).chain(wider)
        };
        self.hashes.iter().enumerate().flat_map(with_more).filter_map(move |(at, hash)| {
            let remembered = find(hash)?;
            let known = |known: &Known<'_>| hash_of(&self.stem, "known", known.iter());
            let same = at == 0 || is_about(remembered, (contact, self.row), known, &self.all);
            same.then_some((*hash, remembered))
        })
    }
}

fn hash_of<'a>(
    stem: &[u8],
    kind: &str,
    values: impl Iterator<Item = &'a (&'static str, Cow<'a, str>)>,
) -> Hash {
    let values = values.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    hash_each([stem, kind.as_bytes()].into_iter().chain(values))
}

/// What is kept of a question.
pub trait Remembered {
    /// [`Questions::known`] when it was put.
    fn known(&self) -> &Hash;

    /// Whether this field of the contact, who is in this row, may have come of it.
    fn may_have_filled(&self, contact: &Contact, row: Option<Hash>, field: Field) -> bool;
}

impl Remembered for Receipt {
    fn known(&self) -> &Hash {
        &self.known
    }

    /// Where the answer is not kept any more, that is not known.
    fn may_have_filled(&self, contact: &Contact, _: Option<Hash>, field: Field) -> bool {
        let values = self.answer.as_ref().map(|(values, _)| values);
        values.is_none_or(|values| is_stored(contact, field, values.get(field).map(String::as_str)))
    }
}

impl Remembered for Ticket {
    fn known(&self) -> &Hash {
        &self.known
    }

    /// What it will fill in is not known, and others may have filled in the rest since: that counts for the contact that was
    /// asked about. Of another contact who has more, only what earlier steps supplied makes it the same person.
    fn may_have_filled(&self, contact: &Contact, row: Option<Hash>, field: Field) -> bool {
        row == Some(self.person) || is_stored(contact, field, self.supplied(field))
    }
}

/// Whether it was put about this contact, of which less was known then: what it lacked is what answers fill in, and
/// while the answer is kept, what this one did. Others can have the same weaker identifiers.
fn is_about(
    remembered: &impl Remembered,
    (contact, row): (&Contact, Option<Hash>),
    known: impl Fn(&Known<'_>) -> Hash,
    all: &Known<'_>,
) -> bool {
    let filled: Vec<Field> = contact
        .identifying_fields()
        .iter()
        .filter(|field| remembered.may_have_filled(contact, row, *field))
        .collect();
    (0..1_u32 << filled.len()).any(|some| {
        let without = |name: &str| {
            filled
                .iter()
                .enumerate()
                .any(|(at, field)| some & (1 << at) != 0 && field.placeholders().contains(&name))
        };
        let before: Known<'_> = all.iter().filter(|(name, _)| !without(name)).cloned().collect();
        known(&before) == *remembered.known()
    })
}

fn is_stored(contact: &Contact, field: Field, supplied: Option<&str>) -> bool {
    let both = supplied.zip(contact.value(field));
    both.is_some_and(|(supplied, stored)| value::same(field, stored, supplied))
}

/// Questions as receipts had them when a question was one identifying set alone, with its values as they were stored. Such a
/// receipt is somebody else's as well, so it counts only where what else was known then (which it has a hash of) holds
/// every name and address that is sent, and is the same now: then it can be nobody else's. That can be told of providers
/// that are identified by columns as they stand, and by every name and address that they are sent; others are asked anew.
mod former {
    use super::*;

    /// The questions of a contact in the former form, as [`super::Questions`] has them in the present one.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Questions {
        pub hashes: Vec<Hash>,
        stem: [Vec<u8>; 3],
        all: Known<'static>,
    }

    impl Questions {
        /// `None` where the former form cannot tell the contact from others, see
        /// [`Config::former_identities`].
        pub fn of(
            parties: Parties<'_>,
            config: &Config,
            person: &Person,
            contact: &Contact,
        ) -> Option<Questions> {
            let own = |name: &&'static str| !person.shared.columns().contains(name);
            let value = |name| Some(name).filter(own).and_then(|name| stored(contact, name));
            let (sets, all) = config.former_identities(&value)?;
            let stem = [parties.workspace.as_bytes(), parties.provider.as_bytes(), &parties.description[..]];
            let stem = stem.map(<[u8]>::to_vec);
            let hashes = sets.iter().map(|set| hash_of(&stem, set)).collect();
            Some(Questions { hashes, stem, all })
        }

        /// All that was known of a contact of which the same is known.
        pub fn known(&self) -> Hash {
            hash_of(&self.stem, &self.all)
        }

        /// Receipts of these questions that can be about no other contact, each with [`Questions::known`].
        pub fn answered<'r>(
            &'r self,
            contact: &'r Contact,
            find: impl Fn(&Hash) -> Option<&'r Receipt> + Copy + 'r,
        ) -> impl Iterator<Item = (&'r Receipt, Hash)> {
            self.hashes.iter().filter_map(move |hash| {
                let receipt = find(hash)?;
                let known = |known: &Known<'_>| hash_of(&self.stem, known);
                let same = is_about(receipt, (contact, None), known, &self.all);
                same.then(|| (receipt, self.known()))
            })
        }
    }

    fn hash_of(stem: &[Vec<u8>; 3], values: &Known<'_>) -> Hash {
        let mut parts: Vec<&[u8]> = stem.iter().map(Vec::as_slice).collect();
        for (name, value) in values {
            parts.push(name.as_bytes());
            parts.push(value.as_bytes());
        }
        hash(&parts)
    }

    fn stored(contact: &Contact, name: &str) -> Option<String> {
        let value = match name {
            "email" => contact.email.clone(),
            "full_name" => contact.known_full_name().map(|name| name.into_owned()),
            other => contact.value(Field::parse(other)?).map(str::to_owned),
        };
        let value = value?.trim().to_owned();
        (!value.is_empty() && value.chars().nth(1_000).is_none()).then_some(value)
    }
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;

//! Whom a provider can be asked about, and with what.

use std::borrow::Cow;

use super::Config;
use super::bulk::Bulk;
use super::placeholder::Placeholder;
use super::same_person::Whom;
use super::values::Values;
use crate::fields::FieldSet;
use crate::hash::{Hash, hash, hash_each};
use crate::person::Person;
use crate::shared::Kind;

/// Names and values of placeholders that are known.
pub type Known<'p> = Vec<(&'static str, Cow<'p, str>)>;

/// One of `identify_by`.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentifyingSet {
    placeholders: Vec<Placeholder>,
    /// What of a person is sent where this set is used; `None`: all that the request has a place for.
    sent: Option<Vec<Placeholder>>,
}

impl IdentifyingSet {
    /// `alone`: where it is used, nothing else is sent (`"send": "used_set"`). Parts of a name stand for the whole and the
    /// other way round, and so do a profile's URL and its handle.
    pub fn new(placeholders: Vec<Placeholder>, alone: bool) -> IdentifyingSet {
        const PROFILE: [Placeholder; 2] = [Placeholder::LinkedinUrl, Placeholder::LinkedinHandle];
        let mut sent = placeholders.clone();
        for same in [&Placeholder::NAMES[..], &PROFILE[..]] {
            if placeholders.iter().any(|p| same.contains(p)) {
                sent.extend(same.iter().filter(|p| !placeholders.contains(p)));
            }
        }
        IdentifyingSet { placeholders, sent: alone.then_some(sent) }
    }

    /// What identifies somebody.
    pub fn placeholders(&self) -> &[Placeholder] {
        &self.placeholders
    }

    fn sends(&self, placeholder: Placeholder) -> bool {
        self.sent.as_ref().is_none_or(|sent| sent.contains(&placeholder))
    }
}

/// What identifies somebody to a provider, in normal form.
pub struct Identity<'p> {
    /// What is sent, or compared with answers, and no answer fills in.
    pub settled: Known<'p>,
    /// Each identifying set that is complete, in their order: the first is the one that is used.
    pub sets: Vec<Known<'p>>,
    /// For each of them what of `settled` is sent, or compared, where it is used; `None`: all of it.
    pub beside: Option<Vec<Known<'p>>>,
    /// All that identifies, and what is settled.
    pub all: Known<'p>,
}

impl Config {
    /// Whether enough is known about somebody to ask this provider.
    pub fn identifies(&self, person: &Person) -> bool {
        // Whether there is a secret is no property of the person.
        let values = Values::of(person, Some("secret"));
        let first = &self.steps[0].request;
        self.used_set(&values).is_some_and(|only| {
            let values = Values { only, ..values };
            first.tells_whom(&values) && first.has_path(&values)
        })
    }

    /// Whether it could be asked about somebody of whom these fields come to be known, too: an upper bound.
    pub fn could_identify(&self, person: &Person, supplied: FieldSet) -> bool {
        let may_come =
            |p: &Placeholder| supplied.iter().any(|field| field.placeholders().contains(&p.name()));
        self.identifies(person)
            || self
                .sets
                .iter()
                .any(|set| set.placeholders.iter().all(|p| may_come(p) || p.of(person).is_some()))
    }

    /// What of a person is sent to this provider and identifies it there. `sets` is empty where no
    /// identifying set is complete.
    pub fn identity<'p>(&self, person: &'p Person) -> Identity<'p> {
        let values = Values::of(person, None);
        let known = |p: &Placeholder| Some((p.name(), Cow::Borrowed(p.of(person)?.form())));
        let withheld = self.withheld_name(person).map(|name| ("name", Cow::Borrowed(name)));
        let settled_with = |sends: &dyn Fn(Placeholder) -> bool| -> Known<'p> {
            let told = self.settled().filter(|p| sends(*p) || self.compares(*p));
            told.filter_map(|p| known(&p)).chain(withheld.clone()).collect()
        };
        let complete: Vec<&IdentifyingSet> = self.complete_sets(&values).collect();
        let sets = complete.iter().map(|set| set.placeholders.iter().filter_map(known).collect()).collect();
        let alone = complete.iter().any(|set| set.sent.is_some());
        let beside = alone.then(|| complete.iter().map(|set| settled_with(&|p| set.sends(p))).collect());
        let settled = settled_with(&|_| true);
        let identifying = |p: &&Placeholder| p.of(person).is_some_and(|given| given.normal.is_some());
        let mut all: Known<'p> = self.identifying().filter(identifying).filter_map(known).collect();
        all.extend(settled.iter().cloned());
        all.sort_unstable();
        all.dedup();
        Identity { settled, sets, beside, all }
    }

    /// Whether what this provider says about `before` is said about `now` as well: it is asked the same.
    pub fn means_the_same(&self, before: &Person, now: &Person) -> bool {
        let values = Values::of(before, None);
        let Some(asked_with) = self.complete_sets(&values).next() else { return true };
        // What was not known then was not sent: that it is known now contradicts nothing.
        let same = |p: Placeholder| {
            let is = |before: &str| p.of(now).is_some_and(|now| now.form() == before);
            p.of(before).is_none_or(|before| is(before.form()))
        };
        let compared = self.whom(before).is(&self.whom(now));
        let named = self.withheld_name(before).is_none_or(|name| now.called() == Some(name));
        let sent = self.sent().filter(|p| asked_with.sends(*p));
        let mut told = sent.chain(asked_with.placeholders.iter().copied());
        compared && named && told.all(same)
    }

    /// What the person is called, where the request has a place for a part of the name and the split is not certain: nothing
    /// of it is sent, and still it says who is meant.
    fn withheld_name<'p>(&self, person: &'p Person) -> Option<&'p str> {
        let parts = [Placeholder::FirstName, Placeholder::LastName];
        let withheld =
            |p: &Placeholder| (self.sends.contains(p) || self.compares(*p)) && p.of(person).is_none();
        parts.iter().any(withheld).then(|| person.called()).flatten()
    }

    /// What of a person its answers are compared with, in any step.
    pub fn whom(&self, person: &Person) -> Whom {
        let values = Values::of(person, None);
        let profile = [Placeholder::LinkedinUrl, Placeholder::LinkedinHandle];
        let asked_with = self.complete_sets(&values).next();
        let by_profile = asked_with.is_some_and(|set| set.placeholders.iter().any(|p| profile.contains(p)));
        let mut whom = Whom::default();
        for step in &self.steps {
            whom.add(step.response.same_person.whom(&values, by_profile));
        }
        whom
    }

    /// The values of each complete identifying set, and of all of them, as they are stored (`stored` by its name); `None`
    /// where a set has something that is made of a column, or where a name or address is sent that no set has.
    pub fn former_identities(
        &self,
        stored: &dyn Fn(&'static str) -> Option<String>,
    ) -> Option<(Vec<Known<'static>>, Known<'static>)> {
        // Receipts of that form are older than what sends or asks in another way.
        if self.sets.iter().any(|set| set.sent.is_some()) || self.asked(FieldSet::ALL).is_some() {
            return None;
        }
        let identifying = || self.identifying();
        if !identifying().all(|p| p.is_column()) || !self.settled().all(|p| identifying().any(|i| *i == p)) {
            return None;
        }
        let known = |p: &Placeholder| Some((p.name(), Cow::Owned(stored(p.name())?)));
        let complete =
            |set: &IdentifyingSet| set.placeholders.iter().map(known).collect::<Option<Known<'static>>>();
        let mut all: Known<'static> = identifying().filter_map(known).collect();
        all.sort_unstable();
        all.dedup();
        Some((self.sets.iter().filter_map(complete).collect(), all))
    }

    /// Whether this provider is asked with such a value, where there is one.
    pub fn asks_with(&self, kind: Kind) -> bool {
        let used = |p: Placeholder| self.sends.contains(&p) || self.identifying().any(|other| *other == p);
        match kind {
            Kind::Email => used(Placeholder::Email),
            Kind::Profile => used(Placeholder::LinkedinUrl) || used(Placeholder::LinkedinHandle),
            Kind::Phone => used(Placeholder::Phone),
            Kind::SuppliedProfile | Kind::SuppliedPhone => false,
        }
    }

    /// Whether the question holds the person's whole name, so that no other name has the same.
    pub fn asks_by_name(&self, person: &Person) -> bool {
        let values = Values::of(person, None);
        let used = self.complete_sets(&values).next();
        let goes = |p: Placeholder| used.is_none_or(|set| set.sends(p));
        let told = |p: Placeholder| self.sends.contains(&p) && goes(p) && p.of(person).is_some();
        told(Placeholder::FullName) || told(Placeholder::FirstName) && told(Placeholder::LastName)
    }

    /// A hash of whom it is asked about, by what is sent: the name, where that is sent, else what identifies. So two contacts are
    /// one person to it, or are not, whatever else is known of them.
    pub fn whom_asked(&self, person: &Person) -> Hash {
        if let Some(name) = person.called().filter(|_| self.asks_by_name(person)) {
            return hash(&[b"whom", b"name", name.as_bytes()]);
        }
        let identity = self.identity(person);
        let used = identity.sets.first().into_iter().flatten();
        let parts = used.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        hash_each([&b"whom"[..], b"set"].into_iter().chain(parts))
    }

    /// Whether it is asked by this value, where it is known: as part of an identifying set, or beside one.
    pub fn asks_by(&self, placeholder: Placeholder) -> bool {
        self.identifying().any(|p| *p == placeholder) || self.settled().any(|p| p == placeholder)
    }

    fn identifying(&self) -> impl Iterator<Item = &Placeholder> {
        self.sets.iter().flat_map(|set| &set.placeholders)
    }

    /// Whether an answer of any step is compared by this value.
    fn compares(&self, placeholder: Placeholder) -> bool {
        self.steps.iter().any(|step| step.response.same_person.compares(placeholder))
    }

    fn sent(&self) -> impl Iterator<Item = Placeholder> + '_ {
        Placeholder::SETTLED.into_iter().filter(|p| self.sends.contains(p))
    }

    /// An answer that was compared with one person says nothing about another.
    fn settled(&self) -> impl Iterator<Item = Placeholder> + '_ {
        let told = |p: &Placeholder| self.sends.contains(p) || self.compares(*p);
        Placeholder::SETTLED.into_iter().filter(told)
    }

    pub(super) fn complete_sets<'s>(
        &'s self,
        values: &'s Values<'_>,
    ) -> impl Iterator<Item = &'s IdentifyingSet> {
        self.sets.iter().filter(|set| self.is_complete(set, values))
    }

    fn is_complete(&self, set: &IdentifyingSet, values: &Values<'_>) -> bool {
        set.placeholders.iter().all(|p| self.is_identified_by(*p, set, values))
    }

    /// A role mailbox is everybody's who works there, but it helps to find one of them by name.
    fn is_identified_by(&self, placeholder: Placeholder, set: &IdentifyingSet, values: &Values<'_>) -> bool {
        let known = placeholder.of(values.person).is_some_and(|given| given.normal.is_some());
        let role = placeholder == Placeholder::Email && values.person.role_mailbox;
        let named = || {
            let values = Values { only: set.sent.as_deref(), ..*values };
            self.steps[0].request.tells_a_name(&values)
        };
        known && (!role || named())
    }

    /// What of the person is sent, by the first identifying set that is complete: `Some(None)` is all of it. `None`: no set
    /// is complete.
    pub(super) fn used_set(&self, values: &Values<'_>) -> Option<Option<&[Placeholder]>> {
        self.sets.iter().find(|set| self.is_complete(set, values)).map(|set| set.sent.as_deref())
    }

    /// Whether a request has a place for this value: in its URL, query, headers or body.
    pub(super) fn uses(&self, placeholder: Placeholder) -> bool {
        let login = self.login.iter().map(|login| login.template());
        let bulk = self.bulk.iter().flat_map(Bulk::templates);
        let requests = login.chain(self.steps.iter().map(|step| &step.request)).chain(bulk);
        requests.flat_map(|request| request.templates()).any(|template| template.uses(placeholder))
    }
}

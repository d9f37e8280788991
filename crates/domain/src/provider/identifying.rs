//! Whom a provider can be asked about, and with what.

use super::same_person::Whom;
use super::template::{Placeholder, Template, Values};
use super::{Body, Config};
use crate::person::Person;
use crate::shared::Kind;

/// Names and values of placeholders that are known.
pub type Known = Vec<(&'static str, String)>;

/// What identifies somebody to a provider, in normal form.
pub struct Identity {
    /// What is sent, or compared with answers, and no answer fills in.
    pub settled: Known,
    /// Each identifying set that is complete, in their order: the first is the one that is used.
    pub sets: Vec<Known>,
    /// All that identifies, and what is settled.
    pub all: Known,
}

impl Config {
    /// Whether enough is known about somebody to ask this provider.
    pub fn identifies(&self, person: &Person) -> bool {
        // Whether there is a secret is no property of the person.
        let values = Values { person, secret: Some("secret") };
        self.has_identifying_set(&values)
            && self.tells_whom(&values)
            && self.url.render_path(&values).is_some()
    }

    /// What of a person is sent to this provider and identifies it there. `sets` is empty where no
    /// identifying set is complete.
    pub fn identity(&self, person: &Person) -> Identity {
        let values = Values { person, secret: None };
        let known = |p: &Placeholder| Some((p.name(), p.of(person)?.form().to_owned()));
        let mut settled: Known = self.settled().filter_map(|p| known(&p)).collect();
        settled.extend(self.withheld_name(person).map(|name| ("name", name)));
        let sets = self.complete_sets(&values).map(|set| set.iter().filter_map(known).collect()).collect();
        let identifying = |p: &&Placeholder| p.of(person).is_some_and(|given| given.normal.is_some());
        let mut all: Known =
            self.identify_by.iter().flatten().filter(identifying).filter_map(known).collect();
        all.extend(settled.iter().cloned());
        all.sort_unstable();
        all.dedup();
        Identity { settled, sets, all }
    }

    /// Whether what this provider says about `before` is said about `now` as well: it is asked the same.
    pub fn means_the_same(&self, before: &Person, now: &Person) -> bool {
        let values = Values { person: before, secret: None };
        let Some(asked_with) = self.complete_sets(&values).next() else { return true };
        let form = |person, p: Placeholder| p.of(person).map(|given| given.form().to_owned());
        // What was not known then was not sent: that it is known now contradicts nothing.
        let same = |p: Placeholder| form(before, p).is_none_or(|before| Some(before) == form(now, p));
        let compared = self.whom(before).is(&self.whom(now));
        let named = self.withheld_name(before).is_none_or(|name| now.called() == Some(name));
        compared && named && self.sent().all(same) && asked_with.iter().all(|p| same(*p))
    }

    /// What the person is called, where the request has a place for a part of the name and the split is not certain: nothing
    /// of it is sent, and still it says who is meant.
    fn withheld_name(&self, person: &Person) -> Option<String> {
        let parts = [Placeholder::FirstName, Placeholder::LastName];
        let withheld = |p: &Placeholder| {
            (self.sends.contains(p) || self.response.same_person.compares(*p)) && p.of(person).is_none()
        };
        parts.iter().any(withheld).then(|| person.called()).flatten()
    }

    /// What of a person its answers are compared with.
    pub fn whom(&self, person: &Person) -> Whom {
        let values = Values { person, secret: None };
        let profile = [Placeholder::LinkedinUrl, Placeholder::LinkedinHandle];
        let asked_with = self.complete_sets(&values).next();
        let by_profile = asked_with.is_some_and(|set| set.iter().any(|p| profile.contains(p)));
        self.response.same_person.whom(&values, by_profile)
    }

    /// The values of each complete identifying set, and of all of them, as they are stored (`stored` by its name); `None`
    /// where a set has something that is made of a column, or where a name or address is sent that no set has.
    pub fn former_identities(
        &self,
        stored: &dyn Fn(&'static str) -> Option<String>,
    ) -> Option<(Vec<Known>, Known)> {
        let identifying = || self.identify_by.iter().flatten();
        if !identifying().all(|p| p.is_column()) || !self.settled().all(|p| identifying().any(|i| *i == p)) {
            return None;
        }
        let known = |p: &Placeholder| Some((p.name(), stored(p.name())?));
        let complete = |set: &Vec<Placeholder>| set.iter().map(known).collect::<Option<Known>>();
        let mut all: Known = identifying().filter_map(known).collect();
        all.sort_unstable();
        all.dedup();
        Some((self.identify_by.iter().filter_map(complete).collect(), all))
    }

    /// Whether this provider is asked with such a value, where there is one.
    pub fn asks_with(&self, kind: Kind) -> bool {
        let used = |p: Placeholder| {
            self.sends.contains(&p) || self.identify_by.iter().flatten().any(|other| *other == p)
        };
        match kind {
            Kind::Email => used(Placeholder::Email),
            Kind::Profile => used(Placeholder::LinkedinUrl) || used(Placeholder::LinkedinHandle),
            Kind::SuppliedProfile | Kind::SuppliedPhone => false,
        }
    }

    /// Whether the question holds the person's whole name, so that no other name has the same.
    pub fn asks_by_name(&self, person: &Person) -> bool {
        let told = |p: Placeholder| self.sends.contains(&p) && p.of(person).is_some();
        told(Placeholder::FullName) || told(Placeholder::FirstName) && told(Placeholder::LastName)
    }

    fn sent(&self) -> impl Iterator<Item = Placeholder> + '_ {
        Placeholder::SETTLED.into_iter().filter(|p| self.sends.contains(p))
    }

    /// An answer that was compared with one person says nothing about another.
    fn settled(&self) -> impl Iterator<Item = Placeholder> + '_ {
        let told = |p: &Placeholder| self.sends.contains(p) || self.response.same_person.compares(*p);
        Placeholder::SETTLED.into_iter().filter(told)
    }

    fn complete_sets<'s>(&'s self, values: &'s Values<'_>) -> impl Iterator<Item = &'s Vec<Placeholder>> {
        self.identify_by.iter().filter(|set| set.iter().all(|p| self.is_identified_by(*p, values)))
    }

    /// A role mailbox is everybody's who works there, but it helps to find one of them by name.
    fn is_identified_by(&self, placeholder: Placeholder, values: &Values<'_>) -> bool {
        let known = placeholder.of(values.person).is_some_and(|given| given.normal.is_some());
        let role = placeholder == Placeholder::Email && values.person.role_mailbox;
        known && (!role || self.tells_a_name(values))
    }

    /// Whether the values complete at least one identifying set.
    pub(super) fn has_identifying_set(&self, values: &Values<'_>) -> bool {
        self.complete_sets(values).next().is_some()
    }

    /// Whether the request would hold anything known of the contact: else it asks about nobody.
    pub(super) fn tells_whom(&self, values: &Values<'_>) -> bool {
        let in_pairs = |pairs: &[(String, Template)]| pairs.iter().any(|(_, value)| value.is_told(values));
        self.url.is_told(values)
            || in_pairs(&self.query)
            || in_pairs(&self.headers)
            || self.body.as_ref().is_some_and(|body| body.is_told(values))
    }

    /// Whether the request would hold a name.
    fn tells_a_name(&self, values: &Values<'_>) -> bool {
        let known =
            |template: &Template, name: Placeholder| template.uses(name) && values.get(name).is_some();
        if let Some(Body::Text { text, .. }) = &self.body
            && Placeholder::NAMES.into_iter().any(|name| known(text, name))
        {
            return true;
        }
        let named = |template: &Template| Placeholder::NAMES.into_iter().any(|name| known(template, name));
        self.templates().into_iter().any(|template| named(template) && template.is_told(values))
    }

    /// Whether the request has a place for this value: in its URL, query, headers or body.
    pub(super) fn uses(&self, placeholder: Placeholder) -> bool {
        self.templates().into_iter().any(|template| template.uses(placeholder))
    }

    /// All that is written into a request.
    fn templates(&self) -> Vec<&Template> {
        let pairs = self.query.iter().chain(&self.headers).map(|(_, template)| template);
        let mut found: Vec<&Template> = self.url.templates().chain(pairs).collect();
        if let Some(body) = &self.body {
            body.templates(&mut found);
        }
        found
    }
}

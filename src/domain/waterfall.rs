//! Asking providers one after another: what was gathered, from whom, and when to stop.

use std::borrow::Cow;

use super::contact::Contact;
use super::failure::{Failure, NoMatchReason};
use super::fields::{Field, FieldMap, FieldSet};
use super::merge;
use super::position::{self, Post};
use super::provider::{Fault, Verdict};
use super::reply::Origin;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Stop at the first provider with data.
    FirstMatch,
    /// Go on until every wanted field is filled.
    Fill,
}

/// What one provider did.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was not asked: the contact has none of the identifying sets it needs.
    Skipped,
    Answered(Verdict),
    /// The same, but only these fields are used of what it supplies.
    Within(FieldSet, Verdict),
}

/// Collects answers. `wanted` are the fields that the call may fill.
#[derive(Debug)]
pub struct Waterfall {
    mode: Mode,
    min_confidence: f64,
    wanted: FieldSet,
    values: FieldMap<String>,
    origins: FieldMap<Origin>,
    first: Option<Origin>,
    matched: Option<Origin>,
    /// Providers that were asked, in order; `None` is "no match".
    asked: Vec<(String, Option<Fault>)>,
    /// Providers whose answers were thrown away for their confidence.
    too_weak: Vec<String>,
    /// Providers whose answers are about somebody else, or of which only a position at another company was wanted.
    set_aside: Vec<(String, NoMatchReason)>,
    post: Post,
    suppressed: bool,
}

/// What the providers together came to.
#[derive(Debug)]
pub struct Gathered {
    pub values: FieldMap<String>,
    pub origins: FieldMap<Origin>,
    /// First provider that supplied a wanted field, else the first that knew the contact.
    pub origin: Origin,
    /// Whose company it is that title and seniority are of.
    pub post: Post,
}

impl Gathered {
    /// All of it was a position at another company than the one that the contact has by now.
    pub fn of_other_company(&self) -> Failure {
        let mut sources: Vec<(String, NoMatchReason)> = Vec::new();
        for (_, origin) in self.origins.iter() {
            if sources.iter().all(|(known, _)| *known != origin.source) {
                sources.push((origin.source.clone(), NoMatchReason::OtherCompany));
            }
        }
        Failure::set_aside(&sources)
    }
}

impl Waterfall {
    pub fn new(mode: Mode, min_confidence: f64, wanted: FieldSet) -> Waterfall {
        Waterfall {
            mode,
            min_confidence,
            wanted,
            values: FieldMap::default(),
            origins: FieldMap::default(),
            first: None,
            matched: None,
            asked: Vec::new(),
            too_weak: Vec::new(),
            set_aside: Vec::new(),
            post: Post::default(),
            suppressed: false,
        }
    }

    /// What is gathered is to go with this.
    #[must_use]
    pub fn beside(mut self, post: Post) -> Waterfall {
        self.post = post;
        self
    }

    pub fn finished(&self) -> bool {
        if self.suppressed {
            return true;
        }
        match self.mode {
            Mode::FirstMatch => self.first.is_some(),
            Mode::Fill => self.missing().is_empty(),
        }
    }

    /// Whether nobody has been asked yet.
    pub fn is_new(&self) -> bool {
        self.asked.is_empty()
    }

    /// Wanted fields that nobody has supplied yet, and that others can.
    pub fn missing(&self) -> FieldSet {
        self.wanted.minus(self.values.fields()).minus(self.post.closed())
    }

    /// The contact with what has been supplied and would be written: so the next provider is asked about it. What is stored
    /// and stays identifies, whatever was supplied.
    pub fn with_found<'c>(&self, contact: &'c Contact, overwrite: bool) -> Cow<'c, Contact> {
        contact.with(&merge::changes(contact, &self.values, self.wanted, overwrite))
    }

    /// The same, where its profile is another one than the stored: that person may be on the suppression list.
    pub fn with_found_profile(&self, contact: &Contact, overwrite: bool) -> Option<Contact> {
        self.values.get(Field::LinkedinUrl)?;
        let known = self.with_found(contact, overwrite);
        let found = known.value(Field::LinkedinUrl) != contact.value(Field::LinkedinUrl);
        found.then(|| known.into_owned())
    }

    /// The person is on the list: nothing of what was supplied is used.
    pub fn suppress(&mut self) {
        self.suppressed = true;
    }

    pub fn absorb(&mut self, provider: &str, outcome: Outcome) {
        let (fills, verdict) = match outcome {
            Outcome::Skipped => return,
            Outcome::Answered(verdict) => (FieldSet::ALL, verdict),
            Outcome::Within(fills, verdict) => (fills, verdict),
        };
        let fault = match verdict {
            Verdict::Failed(fault) => Some(fault),
            Verdict::NoMatch => None,
            Verdict::OtherPerson => {
                self.set_aside.push((provider.to_owned(), NoMatchReason::OtherPerson));
                None
            }
            Verdict::Suppressed => {
                self.suppressed = true;
                None
            }
            Verdict::Match { values, confidence } => {
                if confidence.unwrap_or(0.0) >= self.min_confidence {
                    self.take(provider, &values, fills, confidence);
                } else {
                    self.too_weak.push(provider.to_owned());
                }
                None
            }
        };
        self.asked.push((provider.to_owned(), fault));
    }

    fn take(&mut self, provider: &str, values: &FieldMap<String>, fills: FieldSet, confidence: Option<f64>) {
        let origin = Origin { source: provider.to_owned(), confidence };
        let wanted = values.fields().intersect(fills).intersect(self.missing());
        let named = values.get(Field::CompanyName).map(String::as_str);
        let fits = self.post.takes(named, wanted.contains(Field::CompanyName));
        let taken = if fits { wanted } else { wanted.minus(position::parts()) };
        if taken.is_empty() && !wanted.is_empty() {
            return self.set_aside.push((provider.to_owned(), NoMatchReason::OtherCompany));
        }
        if !taken.intersect(position::parts()).is_empty() {
            self.post.hold(named);
        }
        self.matched.get_or_insert_with(|| origin.clone());
        for (field, value) in values.iter().filter(|(field, _)| taken.contains(*field)) {
            self.values.set(field, value.clone());
            self.origins.set(field, origin.clone());
            self.first.get_or_insert_with(|| origin.clone());
        }
    }

    pub fn result(self) -> Result<Gathered, Failure> {
        if self.suppressed {
            // Also what others have told already is not to be used.
            return Err(Failure::no_match(NoMatchReason::Suppressed));
        }
        // Who only knew the contact says less than why a position is not used.
        let unused = self.set_aside.iter().any(|(_, reason)| *reason == NoMatchReason::OtherCompany);
        let known = self.matched.filter(|_| !unused);
        if let Some(origin) = self.first.or(known) {
            return Ok(Gathered { values: self.values, origins: self.origins, origin, post: self.post });
        }
        if self.asked.iter().any(|(_, fault)| fault.is_some()) {
            return Err(Failure::provider_unavailable(&self.asked));
        }
        if !self.set_aside.is_empty() {
            return Err(Failure::set_aside(&self.set_aside));
        }
        if !self.too_weak.is_empty() {
            return Err(Failure::too_weak(&self.too_weak));
        }
        let reason =
            if self.asked.is_empty() { NoMatchReason::NotIdentifiable } else { NoMatchReason::NoData };
        Err(Failure::no_match(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::Code;
    use crate::domain::fields::Field;
    use crate::domain::provider::FaultKind;

    fn answer(values: &[(Field, &str)], confidence: Option<f64>) -> Outcome {
        let mut map = FieldMap::default();
        for (field, value) in values {
            map.set(*field, (*value).to_owned());
        }
        Outcome::Answered(Verdict::Match { values: map, confidence })
    }

    fn failed() -> Outcome {
        Outcome::Answered(Verdict::Failed(Fault::new(FaultKind::Timeout, "no answer within 5 s")))
    }

    #[test]
    fn first_match_stops_at_the_first_that_has_a_wanted_field() {
        let wanted = FieldSet::from_iter([Field::Phone, Field::Location]);
        let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, wanted);
        waterfall.absorb("a", answer(&[(Field::JobTitle, "CEO")], Some(0.9)));
        assert!(!waterfall.finished(), "it knew the person, but nothing that was asked for");
        waterfall.absorb("b", answer(&[(Field::Phone, "+1")], Some(0.4)));
        assert!(waterfall.finished());
        let gathered = waterfall.result().unwrap();
        assert_eq!((gathered.origin.source.as_str(), gathered.origin.confidence), ("b", Some(0.4)));
    }

    #[test]
    fn fill_goes_on_and_the_earlier_provider_wins_each_field() {
        let wanted = FieldSet::from_iter([Field::Phone, Field::Location, Field::JobTitle]);
        let mut waterfall = Waterfall::new(Mode::Fill, 0.0, wanted);
        waterfall.absorb("a", answer(&[(Field::Phone, "+1")], Some(0.9)));
        waterfall.absorb("down", failed());
        waterfall.absorb("b", answer(&[(Field::Phone, "+2"), (Field::Location, "Oslo")], None));
        assert!(!waterfall.finished());
        waterfall.absorb("c", answer(&[(Field::JobTitle, "CEO")], None));
        assert!(waterfall.finished());
        let gathered = waterfall.result().unwrap();
        assert_eq!(gathered.values.get(Field::Phone).unwrap(), "+1");
        assert_eq!(gathered.origins.get(Field::Location).unwrap().source, "b");
        assert_eq!(gathered.origin.source, "a");
    }

    #[test]
    fn weak_answers_are_no_match_and_no_score_counts_as_zero() {
        for confidence in [Some(0.49), None] {
            let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.5, FieldSet::ALL);
            waterfall.absorb("a", answer(&[(Field::Phone, "+1")], confidence));
            let failure = waterfall.result().unwrap_err();
            assert_eq!(failure.code, Code::NoMatch);
            assert_eq!(failure.detail()["reason"], "no_data");
            assert_eq!(failure.detail()["below_min_confidence"], serde_json::json!(["a"]));
        }
    }

    #[test]
    fn without_data_a_failure_is_told_and_each_provider_named() {
        let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
        waterfall.absorb("a", Outcome::Answered(Verdict::NoMatch));
        waterfall.absorb("b", failed());
        waterfall.absorb("c", Outcome::Skipped);
        let failure = waterfall.result().unwrap_err();
        assert_eq!(failure.code, Code::ProviderUnavailable);
        let detail = failure.detail();
        assert_eq!(detail["providers"][0]["reason"], "no_match");
        assert_eq!(detail["providers"][1]["provider"], "b");
        assert_eq!(detail["providers"][1]["reason"], "timeout");
    }

    #[test]
    fn a_privacy_refusal_ends_it_whatever_was_gathered() {
        let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
        waterfall.absorb("a", answer(&[(Field::Phone, "+1")], Some(0.9)));
        waterfall.absorb("b", Outcome::Answered(Verdict::Suppressed));
        assert!(waterfall.finished());
        let failure = waterfall.result().unwrap_err();
        assert_eq!(
            (failure.code, &failure.detail()["reason"]),
            (Code::NoMatch, &serde_json::json!("suppressed"))
        );
    }

    fn asked(answers: &[&[(Field, &str)]], post: Post, wanted: FieldSet) -> Waterfall {
        let mut waterfall = Waterfall::new(Mode::Fill, 0.0, wanted).beside(post);
        for (provider, values) in ["a", "b", "c"].into_iter().zip(answers) {
            waterfall.absorb(provider, answer(values, None));
        }
        waterfall
    }

    #[test]
    fn a_position_is_of_one_company() {
        use Field::{CompanyName, JobTitle, Phone, Seniority};
        let b = |company| [(CompanyName, company), (JobTitle, "CTO"), (Seniority, "c_suite"), (Phone, "+1")];
        // What the first gave, what the others then give, and from whom each field is.
        for (first, company, expected) in [
            (vec![(JobTitle, "CEO"), (CompanyName, "Acme Ltd")], "ACME", "a a b b"),
            (vec![(JobTitle, "CEO"), (CompanyName, "Acme Ltd")], "Other", "a a b -"),
            // It names no company, so nobody can be known to mean the same.
            (vec![(JobTitle, "CEO")], "Acme", "a - b -"),
            (vec![(Seniority, "vp")], "Acme", "- - b a"),
            (vec![(CompanyName, "Acme")], "acme inc.", "b a b b"),
            (vec![(CompanyName, "Acme")], "Other", "- a b -"),
            (vec![(Phone, "+2")], "Other", "b b a b"),
        ] {
            let gathered = asked(&[&first, &b(company)], Post::default(), FieldSet::ALL).result().unwrap();
            let from = |field| gathered.origins.get(field).map_or("-", |origin| origin.source.as_str());
            assert_eq!(
                [JobTitle, CompanyName, Phone, Seniority].map(from).join(" "),
                expected,
                "{first:?} {company}"
            );
        }
    }

    #[test]
    fn nobody_is_asked_for_what_cannot_be_known_to_belong_together() {
        let wanted = FieldSet::from_iter([Field::JobTitle, Field::Seniority, Field::CompanyName]);
        let unnamed = asked(&[&[(Field::JobTitle, "CEO")]], Post::default(), wanted);
        assert!(unnamed.finished() && unnamed.missing().is_empty());
        let named = asked(&[&[(Field::CompanyName, "Acme")]], Post::default(), wanted);
        assert_eq!(named.missing().names(), ["job_title", "seniority"]);
    }

    #[test]
    fn a_company_that_is_not_used_tells_whose_the_title_is_all_the_same() {
        let fills = FieldSet::from_iter([Field::JobTitle]);
        let mut waterfall = asked(&[&[(Field::CompanyName, "Acme")]], Post::default(), FieldSet::ALL);
        for (provider, company) in [("b", "Other"), ("c", "Acme AG")] {
            let Outcome::Answered(verdict) =
                answer(&[(Field::JobTitle, provider), (Field::CompanyName, company)], None)
            else {
                unreachable!()
            };
            waterfall.absorb(provider, Outcome::Within(fills, verdict));
        }
        let gathered = waterfall.result().unwrap();
        assert_eq!(gathered.values.get(Field::JobTitle).unwrap(), "c");
        assert_eq!(gathered.values.get(Field::CompanyName).unwrap(), "Acme");
    }

    #[test]
    fn beside_a_company_that_stays_only_its_position_counts() {
        let mut contact = crate::domain::contact::Contact::default();
        contact.values.set(Field::CompanyName, "Acme Ltd".into());
        let post = || Post::new(crate::domain::position::Position::Together, &contact);
        let wanted = FieldSet::from_iter([Field::JobTitle, Field::Phone]);
        let other = [(Field::JobTitle, "CEO"), (Field::CompanyName, "Other Inc")];
        let failure = asked(&[&other], post(), wanted).result().unwrap_err();
        assert_eq!(failure.detail()["reason"], "other_company");
        assert_eq!(failure.detail()["other_company"], serde_json::json!(["a"]));
        let same = [(Field::JobTitle, "CTO"), (Field::CompanyName, "ACME")];
        let gathered = asked(&[&other, &same], post(), wanted).result().unwrap();
        assert_eq!(gathered.values.get(Field::JobTitle).unwrap(), "CTO");
        // Its other fields are used.
        let gathered =
            asked(&[&[other[0], other[1], (Field::Phone, "+1")]], post(), wanted).result().unwrap();
        assert_eq!(gathered.values.fields().names(), ["phone"]);
        // The company may be replaced.
        let gathered = asked(&[&other], post(), FieldSet::ALL).result().unwrap();
        assert_eq!(gathered.values.fields().names(), ["job_title", "company_name"]);
    }

    #[test]
    fn an_answer_about_somebody_else_is_no_match() {
        let other = || Outcome::Answered(Verdict::OtherPerson);
        let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
        waterfall.absorb("a", Outcome::Answered(Verdict::NoMatch));
        waterfall.absorb("b", other());
        assert!(!waterfall.finished());
        let failure = waterfall.result().unwrap_err();
        assert_eq!(
            (failure.code, &failure.detail()["reason"]),
            (Code::NoMatch, &serde_json::json!("other_person"))
        );
        assert_eq!(failure.detail()["other_person"], serde_json::json!(["b"]));
        let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
        waterfall.absorb("a", other());
        waterfall.absorb("b", answer(&[(Field::Phone, "+1")], None));
        assert_eq!(waterfall.result().unwrap().origin.source, "b");
        let mut waterfall = Waterfall::new(Mode::FirstMatch, 0.0, FieldSet::ALL);
        waterfall.absorb("a", other());
        waterfall.absorb("b", failed());
        assert_eq!(waterfall.result().unwrap_err().code, Code::ProviderUnavailable);
    }

    #[test]
    fn nobody_asked_means_not_identifiable() {
        let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
        waterfall.absorb("a", Outcome::Skipped);
        assert_eq!(waterfall.result().unwrap_err().detail()["reason"], "not_identifiable");
    }
}

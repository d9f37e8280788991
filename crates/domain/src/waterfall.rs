//! Asking providers one after another: what was gathered, from whom, and when to stop.

use std::borrow::Cow;
use std::rc::Rc;

use super::answered::Answered;
use super::call_error::{Failure, NoMatchReason};
use super::contact::Contact;
use super::failed_provider::ProviderAttempt;
use super::fields::{Field, FieldMap, FieldSet};
use super::merge;
use super::position::Post;
use super::provider::{Effect, Fault, FaultKind, Verdict};
use super::reply::Origin;

/// When a call stops asking further providers: the setting `leadlex.waterfall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Stop at the first provider with data.
    FirstMatch,
    /// Go on until every wanted field is filled.
    Fill,
    /// The same, the cheapest for what is still wanted first: see [`super::money::order::cheapest`].
    Cheapest,
}

/// What one provider did.
#[derive(Clone, Debug)]
pub enum ProviderOutcome {
    /// It was not asked: the contact has none of the identifying sets it needs.
    Skipped,
    /// It was not asked: it has a place for none of the fields that are still wanted.
    NotWanted,
    /// It was not asked: of the fields that it is wanted for, it has nothing but values of these, which the contact's
    /// table refused.
    Rejected(FieldSet),
    /// What it has for these fields was taken back before, and is not used again; the rest of what it did.
    Refused {
        fields: FieldSet,
        rest: Box<ProviderOutcome>,
    },
    /// Nor was it, since what would identify the contact is many people's: these columns.
    OnlyShared(&'static [&'static str]),
    Answered(Verdict),
    /// It answered with a profile that it has for many: all of that is about somebody else.
    SharedProfile,
    /// The same, but only these fields are used of what it supplies.
    Within(FieldSet, Verdict),
    /// The same, remembered: what it has for the fields of `refused`, the contact's table did not take when it was offered
    /// before.
    Again {
        fills: FieldSet,
        refused: FieldSet,
        verdict: Verdict,
        answered: Answered,
    },
    /// Not all of it is there: what it has supplied so far, and why there is no more. Only these fields are used.
    Unfinished {
        fills: FieldSet,
        /// A match, or no match where that is nothing.
        so_far: Verdict,
        /// Fields that the rest can have, if it comes.
        to_come: FieldSet,
        /// `pending`: the rest comes later. Else why it does not come.
        fault: Box<Fault>,
        /// No other provider is asked before that one has answered.
        stops: bool,
    },
}

impl ProviderOutcome {
    /// Why there is no more; `None`: it has not failed.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            ProviderOutcome::Answered(Verdict::Failed(fault))
            | ProviderOutcome::Within(_, Verdict::Failed(fault))
            | ProviderOutcome::Again { verdict: Verdict::Failed(fault), .. } => Some(fault),
            ProviderOutcome::Unfinished { fault, .. } => Some(fault),
            ProviderOutcome::Refused { rest, .. } => rest.fault(),
            _ => None,
        }
    }

    /// Whether it says something of the contact, or that the provider failed at it: not where it was not asked.
    pub fn is_of_contact(&self) -> bool {
        let is_asked = |fault: &Fault| !fault.paused && fault.kind.effect() != Effect::Nothing;
        match self {
            ProviderOutcome::Skipped | ProviderOutcome::NotWanted | ProviderOutcome::OnlyShared(_) => false,
            outcome => {
                let is_pending = |fault: &Fault| fault.kind == FaultKind::Pending && !fault.paused;
                outcome.fault().is_none_or(|fault| is_pending(fault) || is_asked(fault))
            }
        }
    }

    /// What was awaited will not come: what there is of it by now stands.
    #[must_use]
    pub fn ended_by(self, fault: Fault) -> ProviderOutcome {
        match self {
            ProviderOutcome::Unfinished { so_far: Verdict::NoMatch, .. } => {
                ProviderOutcome::Answered(Verdict::Failed(fault))
            }
            ProviderOutcome::Unfinished { fills, so_far, to_come, .. } => {
                ProviderOutcome::Unfinished { fills, so_far, to_come, fault: Box::new(fault), stops: false }
            }
            ProviderOutcome::Refused { fields, rest } => {
                ProviderOutcome::Refused { fields, rest: Box::new(rest.ended_by(fault)) }
            }
            other => other,
        }
    }
}

/// An answer that comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// To ask sooner is no use; `None`: not known.
    pub retry_after_s: Option<u64>,
    /// To ask again hands in nothing: it is no new question.
    pub owed: bool,
    /// It is not asked for any more.
    pub given_up: bool,
}

impl Pending {
    /// Of one provider; `None`: it failed, and owes nothing.
    fn of(fault: &Fault) -> Option<Pending> {
        let Fault { retry_after_s, owed, given_up, answers_later, .. } = *fault;
        (fault.kind == FaultKind::Pending || owed || answers_later).then_some(Pending {
            retry_after_s,
            owed,
            given_up,
        })
    }

    /// Of two: the first that can be asked.
    fn and(self, other: Pending) -> Pending {
        match (self.given_up, other.given_up) {
            (true, false) => other,
            (false, true) => self,
            _ => Pending {
                retry_after_s: self.retry_after_s.zip(other.retry_after_s).map(|(a, b)| a.min(b)),
                owed: self.owed || other.owed,
                ..self
            },
        }
    }
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
    /// Answers that come later, and the fields that each can have.
    awaited: Vec<(FieldSet, Pending)>,
    /// Providers whose answers were thrown away for their confidence.
    too_weak: Vec<String>,
    /// Fields whose values the contact's table refused before.
    rejected: FieldSet,
    /// Those of them that stand among `values` all the same.
    refused_before: FieldSet,
    /// When providers answered; `None`: none has.
    answered: Option<Answered>,
    /// Fields whose values were taken back before, where a provider had nothing else.
    undone: FieldSet,
    /// Providers whose answers are about somebody else, or of which only a position at another company was wanted.
    set_aside: Vec<(String, NoMatchReason)>,
    post: Post,
    suppressed: bool,
    /// A provider is to be waited for: no other is asked.
    held: bool,
    /// A provider's answer is awaited before any other is asked.
    stopped: bool,
    /// A provider was not asked, as it has nothing of what is wanted.
    not_wanted: bool,
    /// Columns whose values are many people's, where these kept a provider from being asked.
    shared: &'static [&'static str],
    /// Providers that had a profile which they have for many.
    strangers: Vec<String>,
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
    /// Fields whose values the contact's table has refused before: they identified nobody, and are tried again.
    pub refused_before: FieldSet,
}

impl Gathered {
    /// All of it was a position at another company than the one that the contact has by now.
    /// `no_match`, LX409, with the reason `other_company` and the providers that had it.
    pub fn of_other_company(&self) -> Failure {
        let mut sources: Vec<(String, NoMatchReason)> = Vec::new();
        for (_, origin) in self.origins.iter() {
            if sources.iter().all(|(known, _)| **known != *origin.source) {
                sources.push((origin.source.to_string(), NoMatchReason::OtherCompany));
            }
        }
        Failure::set_aside(&sources)
    }
}

impl Waterfall {
    /// A waterfall that has asked no provider yet. `min_confidence` is from 0 to 1: an answer with a lower
    /// score, or without one where it is above 0, counts as no match. `wanted`: the fields that the call may
    /// fill.
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
            awaited: Vec::new(),
            too_weak: Vec::new(),
            rejected: FieldSet::EMPTY,
            refused_before: FieldSet::EMPTY,
            answered: None,
            undone: FieldSet::EMPTY,
            set_aside: Vec::new(),
            post: Post::default(),
            suppressed: false,
            held: false,
            stopped: false,
            not_wanted: false,
            shared: &[],
            strangers: Vec::new(),
        }
    }

    /// What is gathered is to go with this.
    #[must_use]
    pub fn beside(mut self, post: Post) -> Waterfall {
        self.post = post;
        self
    }

    /// Whether no further provider need be asked: the person is suppressed, a provider or its answer has to be waited for, or
    /// the mode has what it wants.
    pub fn finished(&self) -> bool {
        if self.suppressed || self.held || self.stopped {
            return true;
        }
        match self.mode {
            Mode::FirstMatch => self.first.is_some(),
            Mode::Fill | Mode::Cheapest => self.missing().is_empty(),
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
    /// and stays identifies, whatever was supplied; what the table has refused before identifies nobody.
    pub fn with_found<'c>(&self, contact: &'c Contact, overwrite: bool) -> Cow<'c, Contact> {
        let taken = self.wanted.minus(self.refused_before);
        contact.with(merge::changes(contact, &self.values, taken, overwrite))
    }

    /// Whom that is about: the contact with all that has been supplied. That person may be on the suppression list.
    pub fn with_all_found<'c>(&self, contact: &'c Contact, overwrite: bool) -> Cow<'c, Contact> {
        contact.with(merge::changes(contact, &self.values, self.wanted, overwrite))
    }

    /// Whether the profile of [`Waterfall::with_all_found`] is another one than the stored.
    pub fn has_found_profile(&self, contact: &Contact, overwrite: bool) -> bool {
        merge::is_changed(contact, &self.values, self.wanted, overwrite, Field::LINKEDIN_URL)
    }

    /// The person is on the list: nothing of what was supplied is used.
    pub fn suppress(&mut self) {
        self.suppressed = true;
    }

    /// When providers answered last; `None`: none has.
    pub fn answered(&self) -> Option<Answered> {
        self.answered
    }

    /// What comes later of the fields that are still missing, whoever has supplied the others; `None`: nothing, or nobody may be told.
    pub fn pending(&self) -> Option<Pending> {
        let missing = self.missing();
        let awaited = self.awaited.iter().filter(|(fields, _)| !fields.intersect(missing).is_empty());
        awaited.map(|(_, pending)| *pending).reduce(Pending::and).filter(|_| !self.suppressed)
    }

    /// Providers that have answered, and those that have failed or answer later and owe nothing: to ask these again is another attempt.
    pub fn failed(&self) -> Vec<ProviderAttempt> {
        let asked = self.asked.iter().filter(|(_, fault)| fault.as_ref().is_none_or(Fault::is_attempt));
        let told = |(name, fault): &(String, Option<Fault>)| ProviderAttempt {
            name: name.clone(),
            failure: fault.as_ref().map(|fault| fault.kind),
            retry_after_s: fault.as_ref().and_then(|fault| fault.retry_after_s),
        };
        asked.map(told).collect()
    }

    /// Takes in what this provider did. The providers come in the order in which they were asked.
    pub fn absorb(&mut self, provider: &str, outcome: ProviderOutcome) {
        self.absorb_above(provider, outcome, None);
    }

    /// The same of a provider whose description has a `min_confidence` of its own, which counts before the waterfall's
    /// ([`super::provider::Config::min_confidence`]).
    pub fn absorb_above(&mut self, provider: &str, outcome: ProviderOutcome, least: Option<f64>) {
        let (mut unfinished, mut answered, mut later) = (None, None, None);
        let (fills, refused, verdict) = match outcome {
            ProviderOutcome::Skipped => return,
            ProviderOutcome::NotWanted => {
                self.not_wanted = true;
                return;
            }
            ProviderOutcome::Refused { fields, rest } => {
                let (others, wanted) = (self.values.fields(), fields.intersect(self.missing()));
                let (first, post) = (self.first.clone(), self.post.clone());
                self.absorb_above(provider, *rest, least);
                let own = self.values.fields().minus(others);
                if own.minus(self.refused_before).is_empty() {
                    // Nor does what the table has refused end the search for what was taken back: others may have both.
                    (self.first, self.post) = (first, post);
                    for field in own.iter() {
                        self.values.unset(field);
                        self.origins.unset(field);
                    }
                    self.refused_before = self.refused_before.minus(own);
                    self.undone = self.undone.union(wanted);
                }
                return;
            }
            ProviderOutcome::OnlyShared(columns) => {
                self.shared = columns;
                return;
            }
            ProviderOutcome::SharedProfile => {
                self.strangers.push(provider.to_owned());
                answered = Some(Answered::Now);
                (FieldSet::EMPTY, FieldSet::EMPTY, Verdict::NoMatch)
            }
            ProviderOutcome::Rejected(fields) => {
                self.rejected = self.rejected.union(fields);
                (FieldSet::EMPTY, FieldSet::EMPTY, Verdict::NoMatch)
            }
            ProviderOutcome::Answered(verdict) => (FieldSet::ALL, FieldSet::EMPTY, verdict),
            ProviderOutcome::Within(fills, verdict) => {
                answered = Some(Answered::Now);
                (fills, FieldSet::EMPTY, verdict)
            }
            ProviderOutcome::Again { fills, refused, verdict, answered: at } => {
                answered = Some(at);
                (fills, refused, verdict)
            }
            ProviderOutcome::Unfinished { fills, so_far, to_come, fault, stops } => {
                self.stopped |= stops;
                self.held |= fault.holds;
                later = Some(to_come);
                unfinished = Some(*fault);
                (fills, FieldSet::EMPTY, so_far)
            }
        };
        if !matches!(verdict, Verdict::Failed(_)) {
            let both = self.answered.zip(answered).map(|(a, b)| a.and(b));
            self.answered = both.or(self.answered).or(answered);
        }
        let fault = self.absorb_verdict(provider, verdict, (fills, refused), (answered, least));
        let fault = unfinished.or(fault);
        if let Some(pending) = fault.as_ref().and_then(Pending::of) {
            self.awaited.push((later.unwrap_or(fills), pending));
        }
        self.asked.push((provider.to_owned(), fault));
    }

    /// Takes in what an answer came to; the fault of one that failed. `fills`: fields that it may fill; `refused`: what of it the
    /// table refused before.
    fn absorb_verdict(
        &mut self,
        provider: &str,
        verdict: Verdict,
        (fills, refused): (FieldSet, FieldSet),
        (answered, least): (Option<Answered>, Option<f64>),
    ) -> Option<Fault> {
        match verdict {
            Verdict::Failed(fault) => {
                self.held |= fault.holds;
                return Some(fault);
            }
            Verdict::NoMatch => {}
            Verdict::OtherPerson(_) => self.set_aside.push((provider.to_owned(), NoMatchReason::OtherPerson)),
            Verdict::Suppressed => self.suppressed = true,
            Verdict::Match { values, confidence } => {
                if confidence.unwrap_or(0.0) >= least.unwrap_or(self.min_confidence) {
                    let others = self.values.fields();
                    let answered = answered.unwrap_or(Answered::Now);
                    let origin = Origin { source: Rc::from(provider), confidence, answered };
                    self.take(origin, values, fills);
                    let own = self.values.fields().minus(others);
                    self.refused_before = self.refused_before.union(own.intersect(refused));
                } else {
                    self.too_weak.push(provider.to_owned());
                }
            }
        }
        None
    }

    fn take(&mut self, origin: Origin, values: FieldMap<String>, fills: FieldSet) {
        let wanted = values.fields().intersect(fills).intersect(self.missing());
        let named = values.get(Field::COMPANY_NAME).map(String::as_str);
        let fits = self.post.takes(named, wanted.contains(Field::COMPANY_NAME));
        let taken = if fits { wanted } else { wanted.minus(FieldSet::of_position()) };
        if taken.is_empty() && !wanted.is_empty() {
            return self.set_aside.push((origin.source.to_string(), NoMatchReason::OtherCompany));
        }
        if !taken.intersect(FieldSet::of_position()).is_empty() {
            self.post.hold(named);
        }
        self.matched.get_or_insert_with(|| origin.clone());
        for (field, value) in values.into_iter().filter(|(field, _)| taken.contains(*field)) {
            self.values.set(field, value);
            self.origins.set(field, origin.clone());
            self.first.get_or_insert_with(|| origin.clone());
        }
    }

    /// What was gathered, or why there is nothing. Without data the failure is `provider_unavailable` (LX503)
    /// where a provider failed, else `no_match` (LX409) with its reason. For a suppressed person it is
    /// `no_match`, whatever was supplied.
    pub fn result(self) -> Result<Gathered, Failure> {
        if self.suppressed {
            // Also what others have told already is not to be used.
            return Err(Failure::no_match(NoMatchReason::Suppressed));
        }
        // Who only knew the contact says less than why what others have is not used.
        let unused = self.set_aside.iter().any(|(_, reason)| *reason == NoMatchReason::OtherCompany);
        // Nor does it make a call succeed of which what is wanted comes later, or where who could have it failed.
        let awaited = self.pending().is_some_and(|pending| !pending.given_up);
        let failed = self.asked.iter().any(|(_, fault)| fault.is_some());
        let refused = self.rejected.union(self.undone);
        let known = self.matched.filter(|_| !unused && !awaited && !failed && refused.is_empty());
        if let Some(origin) = self.first.or(known) {
            let Waterfall { values, origins, post, refused_before, .. } = self;
            return Ok(Gathered { values, origins, origin, post, refused_before });
        }
        if failed {
            return Err(Failure::provider_unavailable(&self.asked));
        }
        // As the call said with which it was refused.
        if !self.rejected.is_empty() {
            return Err(Failure::table_refuses(self.rejected));
        }
        if !self.undone.is_empty() {
            return Err(Failure::refused(self.undone));
        }
        if !self.set_aside.is_empty() {
            return Err(Failure::set_aside(&self.set_aside));
        }
        if !self.too_weak.is_empty() {
            return Err(Failure::too_weak(&self.too_weak));
        }
        if !self.strangers.is_empty() {
            return Err(Failure::about_somebody_else(&self.strangers));
        }
        if self.asked.is_empty() && !self.shared.is_empty() {
            return Err(Failure::only_shared(self.shared));
        }
        Err(match (self.asked.is_empty(), self.not_wanted) {
            (true, false) => Failure::no_match(NoMatchReason::NotIdentifiable),
            (true, true) => Failure::not_supplied(),
            (false, _) => Failure::no_match(NoMatchReason::NoData),
        })
    }
}

#[cfg(test)]
#[path = "waterfall_tests.rs"]
mod tests;

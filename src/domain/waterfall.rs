//! Asking providers one after another: what was gathered, from whom, and when to stop.

use super::failure::{Failure, NoMatchReason};
use super::fields::{FieldMap, FieldSet};
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
    /// The same, since what would identify it is many people's: these columns.
    OnlyShared(&'static [&'static str]),
    Answered(Verdict),
    /// It answered with a profile that it has for many: all of that is about somebody else.
    SharedProfile,
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
    suppressed: bool,
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
            suppressed: false,
            shared: &[],
            strangers: Vec::new(),
        }
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

    /// Wanted fields that nobody has supplied yet.
    pub fn missing(&self) -> FieldSet {
        self.wanted.minus(self.values.fields())
    }

    pub fn absorb(&mut self, provider: &str, outcome: Outcome) {
        let verdict = match outcome {
            Outcome::Skipped => return,
            Outcome::OnlyShared(columns) => {
                self.shared = columns;
                return;
            }
            Outcome::SharedProfile => {
                self.strangers.push(provider.to_owned());
                Verdict::NoMatch
            }
            Outcome::Answered(verdict) => verdict,
        };
        let fault = match verdict {
            Verdict::Failed(fault) => Some(fault),
            Verdict::NoMatch => None,
            Verdict::Suppressed => {
                self.suppressed = true;
                None
            }
            Verdict::Match { values, confidence } => {
                if confidence.unwrap_or(0.0) >= self.min_confidence {
                    self.take(provider, values, confidence);
                } else {
                    self.too_weak.push(provider.to_owned());
                }
                None
            }
        };
        self.asked.push((provider.to_owned(), fault));
    }

    fn take(&mut self, provider: &str, values: FieldMap<String>, confidence: Option<f64>) {
        let origin = Origin { source: provider.to_owned(), confidence };
        self.matched.get_or_insert_with(|| origin.clone());
        for (field, value) in values.iter() {
            if self.wanted.contains(field) && self.values.get(field).is_none() {
                self.values.set(field, value.clone());
                self.origins.set(field, origin.clone());
                self.first.get_or_insert_with(|| origin.clone());
            }
        }
    }

    pub fn result(self) -> Result<Gathered, Failure> {
        if self.suppressed {
            // Also what others have told already is not to be used.
            return Err(Failure::no_match(NoMatchReason::Suppressed));
        }
        if let Some(origin) = self.first.or(self.matched) {
            return Ok(Gathered { values: self.values, origins: self.origins, origin });
        }
        if self.asked.iter().any(|(_, fault)| fault.is_some()) {
            return Err(Failure::provider_unavailable(&self.asked));
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

    #[test]
    fn nobody_asked_means_not_identifiable() {
        let mut waterfall = Waterfall::new(Mode::Fill, 0.0, FieldSet::ALL);
        waterfall.absorb("a", Outcome::Skipped);
        assert_eq!(waterfall.result().unwrap_err().detail()["reason"], "not_identifiable");
    }
}

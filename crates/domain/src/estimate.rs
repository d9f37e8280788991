//! What a batch would do, told beforehand: how many contacts would be asked about, and why not the others.

use std::collections::BTreeMap;

use super::call_error::{Code, Failure, NoMatchReason};
use super::contact::Contact;
use super::fields::FieldSet;
use super::merge;
use super::steps::CallOutcome;
use super::waterfall::Gathered;

/// What would become of a contact. In the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EstimateOutcome {
    /// At least one provider is asked.
    Asked,
    /// From receipts.
    Answered,
    /// From receipts, with what the contact has already.
    AnsweredTheSame,
    /// By what is asked about another contact, which is the same question.
    AnsweredWithAnother,
    Skipped(Why),
}

/// Why a contact would not be asked about. The order is the one in which the estimate lists the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No field that is asked for can be filled: each has a value, or no column in the table.
    NothingToFill,
    /// It is remembered that the providers have no data.
    NoData,
    /// The remembered answers are below leadlex.min_confidence.
    TooWeak,
    OtherCompany,
    NotIdentifiable,
    SharedValue,
    Suppressed,
    TableRefuses,
    /// What providers have was taken back.
    Refused,
    /// Row-level security does not let the caller update the row.
    Barred,
    /// There is no such row in the workspace, or the caller cannot see it.
    NotFound,
    /// Several rows have the key.
    KeyNotUnique,
    /// The key is NULL, or no value of the key column's type.
    BadKey,
    /// The same key stands earlier in the input.
    Duplicate,
    /// Providers that would be asked are paused, at their limit or without a secret.
    Unavailable,
    /// The workspace's rate limit ends before this contact.
    RateLimit,
    /// The workspace's credits are used up before this contact.
    CreditsRunOut,
}

impl EstimateOutcome {
    /// The stable word for the outcome: `asked`, `answered` or `skipped`.
    pub const fn outcome(self) -> &'static str {
        match self {
            EstimateOutcome::Asked => "asked",
            EstimateOutcome::Answered
            | EstimateOutcome::AnsweredTheSame
            | EstimateOutcome::AnsweredWithAnother => "answered",
            EstimateOutcome::Skipped(_) => "skipped",
        }
    }

    /// Whether a call about it could fill in something now.
    pub const fn may_bring_something(self) -> bool {
        self.may_be_charged()
    }

    /// The stable words for the reason within that outcome.
    pub const fn reason(self) -> &'static str {
        match self {
            EstimateOutcome::Asked => "no receipt",
            EstimateOutcome::Answered => "receipt",
            EstimateOutcome::AnsweredTheSame => "nothing new",
            EstimateOutcome::AnsweredWithAnother => "same question",
            EstimateOutcome::Skipped(why) => why.reason(),
        }
    }

    /// What a contact comes to that no provider is asked about, and for which nothing would be written.
    pub fn of(outcome: &CallOutcome) -> EstimateOutcome {
        EstimateOutcome::Skipped(match outcome {
            CallOutcome::Unchanged(_) | CallOutcome::Replayed(_) => Why::NothingToFill,
            CallOutcome::Several(..) => Why::KeyNotUnique,
            CallOutcome::UpdateDenied => Why::Barred,
            CallOutcome::Failed(failure) => return EstimateOutcome::of_failure(failure),
            CallOutcome::Enriched { .. } => return EstimateOutcome::Answered,
            CallOutcome::Raised(_) => Why::Unavailable,
        })
    }

    /// What a contact comes to for which this would be written.
    pub fn of_offer(
        contact: &Contact,
        gathered: &Gathered,
        fields: FieldSet,
        overwrite: bool,
    ) -> EstimateOutcome {
        if gathered.values.is_empty() {
            return EstimateOutcome::Skipped(Why::NoData);
        }
        let changes = merge::changes(contact, &gathered.values, fields, overwrite);
        let (changes, apart) = gathered.post.fitting(contact, changes);
        if changes.is_empty() {
            return match apart {
                true => EstimateOutcome::Skipped(Why::OtherCompany),
                false => EstimateOutcome::AnsweredTheSame,
            };
        }
        // It is offered again, in case that the table has changed.
        match changes.fields().minus(gathered.refused_before).is_empty() {
            true => EstimateOutcome::Skipped(Why::TableRefuses),
            false => EstimateOutcome::Answered,
        }
    }

    fn of_failure(failure: &Failure) -> EstimateOutcome {
        EstimateOutcome::Skipped(match (failure.code, failure.no_match_reason()) {
            _ if failure.has_shared_values() => Why::SharedValue,
            (Code::NotFound, _) => Why::NotFound,
            (Code::RateLimited, _) => Why::RateLimit,
            (Code::InsufficientCredits, _) => Why::CreditsRunOut,
            (_, Some((NoMatchReason::SharedValue, _))) => Why::SharedValue,
            (_, Some((NoMatchReason::Suppressed, _))) => Why::Suppressed,
            (_, Some((NoMatchReason::TableRefuses, _))) => Why::TableRefuses,
            (_, Some((NoMatchReason::Refused, _))) => Why::Refused,
            (_, Some((NoMatchReason::NotIdentifiable, _))) => Why::NotIdentifiable,
            (_, Some((NoMatchReason::NoData, true))) => Why::TooWeak,
            (_, Some((NoMatchReason::OtherCompany, _))) => Why::OtherCompany,
            // It is remembered as no match.
            (_, Some((NoMatchReason::NoData | NoMatchReason::OtherPerson, _))) => Why::NoData,
            (_, None) => Why::Unavailable,
        })
    }

    const fn may_be_charged(self) -> bool {
        matches!(
            self,
            EstimateOutcome::Asked | EstimateOutcome::Answered | EstimateOutcome::AnsweredWithAnother
        )
    }
}

impl Why {
    const fn reason(self) -> &'static str {
        match self {
            Why::NothingToFill => "nothing to fill",
            Why::NoData => "no data",
            Why::TooWeak => "below min_confidence",
            Why::OtherCompany => "other company",
            Why::NotIdentifiable => "not identifiable",
            Why::SharedValue => "shared value",
            Why::Suppressed => "suppressed",
            Why::TableRefuses => "refused by the table",
            Why::Refused => "taken back",
            Why::Barred => "row-level security",
            Why::NotFound => "not found",
            Why::KeyNotUnique => "key not unique",
            Why::BadKey => "bad key",
            Why::Duplicate => "duplicate",
            Why::Unavailable => "provider unavailable",
            Why::RateLimit => "rate limit",
            Why::CreditsRunOut => "credits run out",
        }
    }
}

/// What the workspace has left for this batch; `None`: there is no such limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Means {
    /// Admissions that the rate limit still allows.
    pub rate: Option<u64>,
    /// Credits that the workspace has left.
    pub credits: Option<u64>,
}

/// Counts contacts, in the order in which the batch would take them.
#[derive(Debug, Default)]
pub struct Estimate {
    left: Means,
    counts: BTreeMap<EstimateOutcome, u64>,
}

impl Estimate {
    /// An estimate that has counted no contact yet.
    pub fn new(means: Means) -> Estimate {
        Estimate { left: means, counts: BTreeMap::new() }
    }

    /// Contacts that use no rate and no credit: nothing need be asked to know what becomes of them.
    pub fn skip(&mut self, why: Why) {
        self.count(EstimateOutcome::Skipped(why));
    }

    /// Uses one admission of the rate limit; `false`: none is left.
    pub fn admit(&mut self) -> bool {
        match &mut self.left.rate {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    /// Whether a credit can be reserved.
    pub fn has_credit(&self) -> bool {
        self.left.credits != Some(0)
    }

    /// Counts a contact. It uses a credit if it may change.
    pub fn count(&mut self, outcome: EstimateOutcome) {
        if outcome.may_be_charged() {
            self.left.credits = self.left.credits.map(|left| left.saturating_sub(1));
        }
        *self.counts.entry(outcome).or_default() += 1;
    }

    /// Contacts by outcome, in the order of [`EstimateOutcome`]. Outcomes without a contact are left out.
    pub fn counts(&self) -> impl Iterator<Item = (EstimateOutcome, u64)> + '_ {
        self.counts.iter().map(|(outcome_of, count)| (*outcome_of, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(means: Means, outcomes: &[EstimateOutcome]) -> BTreeMap<EstimateOutcome, u64> {
        let mut estimate = Estimate::new(means);
        for outcome in outcomes {
            let (admitted, credited) = (estimate.admit(), estimate.has_credit());
            estimate.count(match (admitted, credited) {
                (false, _) => EstimateOutcome::Skipped(Why::RateLimit),
                (true, false) => EstimateOutcome::Skipped(Why::CreditsRunOut),
                (true, true) => *outcome,
            });
        }
        estimate.counts().collect()
    }

    #[test]
    fn credits_go_to_what_may_change_a_contact_and_then_run_out() {
        let outcomes = [
            EstimateOutcome::Asked,
            EstimateOutcome::Skipped(Why::NoData),
            EstimateOutcome::AnsweredTheSame,
            EstimateOutcome::Answered,
            EstimateOutcome::Asked,
        ];
        let counts = counted(Means { rate: None, credits: Some(2) }, &outcomes);
        assert_eq!(counts[&EstimateOutcome::Asked], 1);
        assert_eq!(counts[&EstimateOutcome::Answered], 1);
        assert_eq!(counts[&EstimateOutcome::Skipped(Why::CreditsRunOut)], 1);
    }

    #[test]
    fn the_rate_limit_counts_whoever_gets_there_and_comes_before_the_credits() {
        let outcomes =
            [EstimateOutcome::Skipped(Why::NotIdentifiable), EstimateOutcome::Asked, EstimateOutcome::Asked];
        let counts = counted(Means { rate: Some(2), credits: Some(0) }, &outcomes);
        assert_eq!(counts[&EstimateOutcome::Skipped(Why::CreditsRunOut)], 2);
        assert_eq!(counts[&EstimateOutcome::Skipped(Why::RateLimit)], 1);
    }

    #[test]
    fn a_failure_is_told_by_its_reason() {
        let no_match = |reason| EstimateOutcome::of_failure(&Failure::no_match(reason));
        assert_eq!(no_match(NoMatchReason::NoData), EstimateOutcome::Skipped(Why::NoData));
        assert_eq!(no_match(NoMatchReason::Suppressed), EstimateOutcome::Skipped(Why::Suppressed));
        assert_eq!(no_match(NoMatchReason::TableRefuses), EstimateOutcome::Skipped(Why::TableRefuses));
        assert_eq!(no_match(NoMatchReason::NotIdentifiable), EstimateOutcome::Skipped(Why::NotIdentifiable));
        assert_eq!(no_match(NoMatchReason::OtherCompany), EstimateOutcome::Skipped(Why::OtherCompany));
        assert_eq!(
            EstimateOutcome::of_failure(&Failure::too_weak(&["a".into()])),
            EstimateOutcome::Skipped(Why::TooWeak)
        );
        assert_eq!(
            EstimateOutcome::of_failure(&Failure::provider_unavailable(&[])),
            EstimateOutcome::Skipped(Why::Unavailable)
        );
    }

    proptest! {
        #[test]
        fn every_contact_is_counted_once_and_no_more_than_the_means_allow(
            which in proptest::collection::vec(0..4_usize, 0..50), rate in proptest::option::of(0..60_u64),
            credits in proptest::option::of(0..60_u64)
        ) {
            let all = [EstimateOutcome::Asked, EstimateOutcome::Answered, EstimateOutcome::AnsweredWithAnother, EstimateOutcome::Skipped(Why::NoData)];
            let outcomes: Vec<EstimateOutcome> = which.iter().map(|at| all[*at]).collect();
            let counts = counted(Means { rate, credits }, &outcomes);
            prop_assert_eq!(counts.values().sum::<u64>(), outcomes.len() as u64);
            let charged: u64 = counts.iter().filter(|(f, _)| f.may_be_charged()).map(|(_, n)| n).sum();
            prop_assert!(charged <= credits.unwrap_or(u64::MAX).min(rate.unwrap_or(u64::MAX)));
        }
    }
}

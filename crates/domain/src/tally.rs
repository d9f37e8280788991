//! What has come of a provider's requests, in numbers.

use super::provider::{FaultKind, Verdict};

/// Beside the failures, which are counted by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Requests sent.
    Calls,
    Matches,
    NoMatches,
    /// Of the no matches, those with data of another person: the vendor bills it.
    OtherPersons,
    /// It must not tell anything about somebody.
    Refusals,
    /// Times that it was passed over because it is paused.
    Skipped,
    /// Answers that say what they have cost, and not so that it can be read.
    CostsUnread,
    Failed(FaultKind),
}

const PLAIN: [Count; 7] = [
    Count::Calls,
    Count::Matches,
    Count::NoMatches,
    Count::OtherPersons,
    Count::Refusals,
    Count::Skipped,
    Count::CostsUnread,
];
const COUNTS: usize = PLAIN.len() + FaultKind::ALL.len();

impl Count {
    /// Every count, in the order in which the tables list them.
    pub fn all() -> impl Iterator<Item = Count> {
        PLAIN.into_iter().chain(FaultKind::ALL.into_iter().map(Count::Failed))
    }

    /// What an answer counts as. An answer about another person counts as no match.
    pub fn of(verdict: &Verdict) -> Count {
        match verdict {
            Verdict::Match { .. } => Count::Matches,
            Verdict::NoMatch | Verdict::OtherPerson(_) => Count::NoMatches,
            Verdict::Suppressed => Count::Refusals,
            Verdict::Failed(fault) => Count::Failed(fault.kind),
        }
    }

    /// As it is called in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Count::Calls => "calls",
            Count::Matches => "matches",
            Count::NoMatches => "no_matches",
            Count::OtherPersons => "other_persons",
            Count::Refusals => "refusals",
            Count::Skipped => "skipped",
            Count::CostsUnread => "costs_unread",
            Count::Failed(kind) => kind.name(),
        }
    }

    fn index(self) -> usize {
        match self {
            Count::Failed(kind) => {
                PLAIN.len() + FaultKind::ALL.iter().position(|known| *known == kind).unwrap_or_default()
            }
            plain => PLAIN.iter().position(|known| *known == plain).unwrap_or_default(),
        }
    }
}

/// What the cost is called in the tables.
pub const COST: &str = "cost";

/// Plain data, for shared memory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Tally {
    counts: [u64; COUNTS],
    /// In the provider's own unit; `None` where it has never said.
    pub cost: Option<f64>,
}

impl Tally {
    /// A tally in which nothing was counted and no cost is known.
    pub const NONE: Tally = Tally { counts: [0; COUNTS], cost: None };

    /// Counts one more.
    pub fn add(&mut self, count: Count) {
        self.counts[count.index()] += 1;
    }

    /// How often it was counted.
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count.index()]
    }

    /// Adds what an answer has cost, in the provider's own unit; `None` changes nothing.
    pub fn add_cost(&mut self, cost: Option<f64>) {
        if let Some(cost) = cost {
            *self.cost.get_or_insert(0.0) += cost;
        }
    }

    /// The sum of both. The cost is `None` only where both are.
    #[must_use]
    pub fn plus(&self, other: &Tally) -> Tally {
        let mut sum = *self;
        sum.counts.iter_mut().zip(other.counts).for_each(|(to, from)| *to += from);
        sum.add_cost(other.cost);
        sum
    }

    /// Names and numbers: counts that are not zero, and the cost if it is known.
    pub fn entries(&self) -> Vec<(&'static str, f64)> {
        let counts = Count::all().map(|count| (count.name(), self.get(count) as f64));
        let counts = counts.filter(|(_, number)| *number != 0.0);
        counts.chain(self.cost.map(|cost| (COST, cost))).collect()
    }

    /// Names that this version does not know are passed over.
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = (&'a str, f64)>) -> Tally {
        let mut tally = Tally::NONE;
        for (name, number) in entries {
            if name == COST {
                tally.cost = Some(number);
            } else if let Some(count) = Count::all().find(|count| count.name() == name) {
                tally.counts[count.index()] = number.max(0.0) as u64;
            }
        }
        tally
    }

    /// Failures by kind, those that happened.
    pub fn failures(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        FaultKind::ALL.into_iter().map(|kind| (kind, self.get(Count::Failed(kind)))).filter(|(_, n)| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_a_place_and_a_name_of_its_own() {
        let mut tally = Tally::NONE;
        for (times, count) in Count::all().enumerate() {
            (0..=times).for_each(|_| tally.add(count));
        }
        for (times, count) in Count::all().enumerate() {
            assert_eq!(tally.get(count), times as u64 + 1, "{count:?}");
        }
        tally.cost = Some(0.25);
        let entries = tally.entries();
        assert_eq!(entries.len(), COUNTS + 1);
        assert_eq!(Tally::from_entries(entries.iter().map(|(name, n)| (*name, *n))), tally);
        assert_eq!(tally.plus(&tally).get(Count::Calls), 2);
        assert_eq!(Tally::NONE.entries(), []);
        assert_eq!(Tally::from_entries([("unheard_of", 7.0)]), Tally::NONE);
    }
}

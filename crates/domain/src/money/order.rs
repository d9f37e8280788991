//! Expected costs, and the order of `leadlex.waterfall = 'cheapest'`.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::fields::{Field, FieldSet};
use crate::provider::price::Price;
use crate::provider::{Config, Reach};

/// With fewer answers a provider's hit rate says nothing yet: it comes first, so that it is tried.
pub const ANSWERS_THAT_TELL: u64 = 50;

/// What a provider's answers came to since it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Record {
    /// Answers: matches and no matches.
    pub answers: u64,
    pub matches: u64,
    /// Of the no matches, how many had data of another person: the vendor bills it.
    pub others: u64,
    /// By field, in the order of [`Field::all`]: how many answers it was wanted of, and how many supplied it.
    pub asked: [u64; Field::COUNT],
    pub supplied: [u64; Field::COUNT],
}

impl Record {
    /// How many of the answers that it was wanted of supplied this field, from 0 to 1; `None`: it was wanted of none.
    pub fn rate_of(&self, field: Field) -> Option<f64> {
        (self.asked[field.index()] > 0).then(|| self.rate(field))
    }

    fn rate(&self, field: Field) -> f64 {
        match self.asked[field.index()] {
            0 => 0.0,
            asked => (self.supplied[field.index()] as f64 / asked as f64).min(1.0),
        }
    }

    fn of_answers(&self, count: u64) -> f64 {
        match self.answers {
            0 => 0.0,
            answers => (count as f64 / answers as f64).min(1.0),
        }
    }

    /// Of its answers, how many are billed like a match.
    fn billed_rate(&self) -> f64 {
        self.of_answers(self.matches + self.others)
    }

    /// The sum of its hit rates for these fields.
    pub fn hits(&self, fields: FieldSet) -> f64 {
        fields.iter().map(|field| self.rate(field)).sum()
    }

    /// What a question of it is expected to cost, in its currency. `together`: so many contacts share its first request.
    pub fn expected_cost(&self, price: &Price, reach: &Reach, together: u64) -> f64 {
        // What answers about others have is not counted by field, nor what was never wanted: taken to be all that it can have.
        let others = self.of_answers(self.others);
        let matches = self.of_answers(self.matches);
        let rate = |field| (self.rate_of(field).unwrap_or(matches) + others).min(1.0);
        let fields: f64 = reach.fields.iter().map(|field| rate(field) * price.of_field(field).to_f64()).sum();
        let share = 1.0 / together.max(1) as f64;
        let requests = share + reach.expected_later(matches, (together > 1).then_some(share));
        price.per_request().to_f64() * requests + self.billed_rate() * price.of_any_match().to_f64() + fields
    }
}

/// What is known of a provider that could be asked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// `None`: it is not as a description has to be.
    pub config: Option<Arc<Config>>,
    pub record: Record,
    /// So many contacts of the call can share a request of it.
    pub together: u64,
}

/// Where it stands: lower comes first, equals by their priority.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// To be tried.
    Unknown,
    /// By its expected cost for each wanted field.
    Costs(f64),
    Unpriced,
}

impl Candidate {
    fn place(&self, wanted: FieldSet) -> Place {
        let config = self.config.as_ref();
        let Some((config, price)) = config.and_then(|config| Some((config, config.price()?))) else {
            return Place::Unpriced;
        };
        if self.record.answers < ANSWERS_THAT_TELL {
            return Place::Unknown;
        }
        let reach = config.reach(wanted);
        let hits = self.record.hits(wanted.intersect(reach.fields));
        // Of one that never has what is wanted a field costs more than of any other.
        Place::Costs(match hits > 0.0 {
            true => self.record.expected_cost(price, &reach, self.together) / hits,
            false => f64::INFINITY,
        })
    }
}

/// The order in which to ask, as positions in `candidates`, which are in the order of their priority. `wanted`: the fields
/// still wanted. Amounts of different currencies are compared as they stand.
pub fn cheapest(candidates: &[&Candidate], wanted: FieldSet) -> Vec<usize> {
    let places: Vec<Place> = candidates.iter().map(|candidate| candidate.place(wanted)).collect();
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    // Stable: equals stay as they were.
    order.sort_by(|one, other| compare(places[*one], places[*other]));
    order
}

fn compare(one: Place, other: Place) -> Ordering {
    let rank = |place| match place {
        Place::Unknown => (0, 0.0),
        Place::Costs(cost) => (1, cost),
        Place::Unpriced => (2, 0.0),
    };
    let ((one, cost), (other, other_cost)) = (rank(one), rank(other));
    one.cmp(&other).then(cost.total_cmp(&other_cost))
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;

//! What a batch would cost, told beforehand: for each provider the least, the most, and what is expected by its own hit rate.

use std::rc::Rc;

use uuid::Uuid;

use crate::pg::provider::health;
use crate::pg::store::config::LoadedProvider;
use crate::pg::store::tallies;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::money::{Amount, Currency};
use leadlex_domain::person::Person;
use leadlex_domain::provider::Config;
use leadlex_domain::tally::{Count, Tally};
use leadlex_domain::waterfall::Mode;

/// Of a provider without an answer so far.
const UNKNOWN_HIT_RATE: f64 = 0.5;

/// One row of leadlex.estimate_cost.
pub struct ProviderCosts {
    pub provider: Rc<LoadedProvider>,
    /// Polls left out.
    pub requests_least: u64,
    pub requests_most: u64,
    pub requests_expected: f64,
    /// `None`: it has no price.
    pub currency: Option<Currency>,
    pub cost_least: Amount,
    pub cost_most: Amount,
    pub cost_expected: f64,
    hit_rate: f64,
    credits_per_answer: Option<f64>,
}

/// For which workspace, and what for each provider in the order of the waterfall.
pub struct CostEstimate {
    pub workspace: Uuid,
    pub providers: Vec<ProviderCosts>,
}

impl CostEstimate {
    /// Nothing so far.
    pub fn new(workspace: Uuid, providers: &[(String, Rc<LoadedProvider>)]) -> CostEstimate {
        let providers = providers.iter().map(|(_, provider)| ProviderCosts::new(provider)).collect();
        CostEstimate { workspace, providers }
    }

    /// A contact is asked about: certainly at provider `at`, and at those after it by what comes of that.
    pub fn asked(&mut self, at: usize, person: &Person, missing: FieldSet, mode: Mode) {
        // How likely it is that this provider is asked.
        let mut reached = 1.0;
        for (index, costs) in self.providers.iter_mut().enumerate().skip(at) {
            let provider = Rc::clone(&costs.provider);
            let Ok(config) = &provider.config else { continue };
            let wanted = config.fills().intersect(missing);
            if wanted.is_empty() || index > at && !config.identifies(person) {
                continue;
            }
            costs.add(config, wanted, (index == at, reached));
            let ends = mode == Mode::FirstMatch || missing.minus(wanted).is_empty();
            if ends {
                reached *= 1.0 - costs.hit_rate;
            }
        }
    }
}

impl ProviderCosts {
    fn new(provider: &Rc<LoadedProvider>) -> ProviderCosts {
        let tally = tally_of(provider);
        let matches = tally.get(Count::Matches);
        let answers = matches + tally.get(Count::NoMatches);
        let hit_rate = if answers == 0 { UNKNOWN_HIT_RATE } else { matches as f64 / answers as f64 };
        let price = provider.config.as_ref().ok().and_then(|config| config.price());
        ProviderCosts {
            provider: Rc::clone(provider),
            requests_least: 0,
            requests_most: 0,
            requests_expected: 0.0,
            currency: price.map(|price| price.currency),
            cost_least: Amount::ZERO,
            cost_most: Amount::ZERO,
            cost_expected: 0.0,
            hit_rate,
            credits_per_answer: tally.cost.filter(|_| answers > 0).map(|cost| cost / answers as f64),
        }
    }

    /// One more question; `certain`: it is asked whatever others answer, and `reached`: how likely that is.
    fn add(&mut self, config: &Config, wanted: FieldSet, (certain, reached): (bool, f64)) {
        let steps = config.steps_of_a_question() as u64;
        let later = (steps - 1) as f64 * self.hit_rate;
        self.requests_least += u64::from(certain);
        self.requests_most += steps;
        self.requests_expected += reached * (1.0 + later);
        let Some(price) = config.price() else { return };
        let fields = config.maps_of(wanted);
        if certain {
            self.cost_least = self.cost_least.plus(price.per_request());
        }
        let most = price.per_request().times(steps).plus(price.most_of_answer(fields));
        self.cost_most = self.cost_most.plus(most);
        let answer = price.expected_of_answer(self.hit_rate, self.credits_per_answer, fields);
        self.cost_expected += reached * (price.per_request().to_f64() * (1.0 + later) + answer);
    }
}

/// Since the provider was added.
fn tally_of(provider: &LoadedProvider) -> Tally {
    match health::find(provider.id).and_then(|slot| slot.state()) {
        Some(state) if state.loaded => state.base.plus(&state.since),
        Some(state) => tallies::load(provider.id).plus(&state.since),
        None => tallies::load(provider.id),
    }
}

//! What a batch would cost, told beforehand: for each provider the least, the most, and what is expected by its own hit rate.

use std::collections::HashMap;
use std::rc::Rc;

use uuid::Uuid;

use crate::pg::provider::health;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::{quality, tallies};
use leadlex_domain::fields::{Field, FieldSet};
use leadlex_domain::money::order::Record;
use leadlex_domain::money::{Amount, Currency};
use leadlex_domain::person::Person;
use leadlex_domain::provider::{Config, Group, Inquiry, LaterRequests};
use leadlex_domain::tally::{Count, Tally};
use leadlex_domain::waterfall::Mode;

/// Of a provider without an answer so far.
const UNKNOWN_HIT_RATE: f64 = 0.5;

/// One row of leadlex.estimate_cost.
pub struct ProviderCosts {
    pub provider: Rc<LoadedProvider>,
    /// `None`: it has no price.
    pub currency: Option<Currency>,
    hit_rate: f64,
    /// The same by field, where it is known.
    record: Record,
    /// Of its answers, how many are billed like a match.
    billed_rate: f64,
    credits_per_answer: Option<f64>,
    alone: Questions,
    /// Those that share requests, by what they share them with.
    together: HashMap<Group, Questions>,
    /// What answers can cost at most, and are expected to, without what the requests cost.
    answers_most: Amount,
    answers_expected: f64,
}

/// Requests over HTTP, polls left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    pub least: u64,
    pub most: u64,
    pub expected: f64,
}

/// What they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub least: Amount,
    /// Whatever comes of them, polls and logins included.
    pub most: Amount,
    pub expected: f64,
}

/// How many questions are put for certain, at most, and by the hit rates.
#[derive(Clone, Copy, Default)]
struct Questions {
    certain: u64,
    possible: u64,
    expected: f64,
    /// Their requests after the first, polls left out: where each takes all its steps, and by the hit rates.
    later: u64,
    expected_later: f64,
    /// Those that are asked for after they were handed in, and the polls that are expected of that.
    polled: u64,
    expected_polls: f64,
}

/// For which workspace, and what for each provider, in the order of their priority.
pub struct CostEstimate {
    pub workspace: Uuid,
    pub providers: Vec<ProviderCosts>,
    /// Their positions in the order of the waterfall.
    order: Vec<usize>,
}

impl CostEstimate {
    /// Nothing so far. `order`: the positions of the providers in the order of the waterfall.
    pub fn new(
        workspace: Uuid,
        providers: &[(String, Rc<LoadedProvider>)],
        order: Vec<usize>,
    ) -> CostEstimate {
        let names: Vec<&str> = providers.iter().map(|(name, _)| name.as_str()).collect();
        let records = quality::records(&names);
        let costs = |(_, provider): &(String, Rc<LoadedProvider>)| {
            ProviderCosts::new(provider, records.get(&provider.id).copied().unwrap_or_default())
        };
        let providers = providers.iter().map(costs).collect();
        CostEstimate { workspace, providers, order }
    }

    /// In the order of the waterfall.
    pub fn in_order(&self) -> impl Iterator<Item = &ProviderCosts> {
        self.order.iter().map(|at| &self.providers[*at])
    }

    /// A contact is asked about: certainly at the first of these providers, and at the others by what comes of that.
    pub fn asked(&mut self, ahead: &[usize], person: &Person, missing: FieldSet, mode: Mode) {
        // How likely it is that each field is still to be supplied when this provider's turn comes; with first_match, all or none.
        let mut open = [1.0; Field::COUNT];
        // What those before it may have supplied by then identifies for it.
        let mut supplied = FieldSet::EMPTY;
        for (place, index) in ahead.iter().enumerate() {
            let is_first = place == 0;
            let costs = &mut self.providers[*index];
            let provider = Rc::clone(&costs.provider);
            let Ok(config) = &provider.config else { continue };
            let wanted = config.fills().intersect(missing);
            if wanted.is_empty() || !is_first && !config.could_identify(person, supplied) {
                continue;
            }
            let is_identified = is_first || config.identifies(person);
            // Who has the one field has the other, as a rule.
            let reached = wanted.iter().map(|field| open[field.index()]).fold(0.0, f64::max);
            let reached_here = if is_identified { reached } else { 0.0 };
            costs.add(config, (person, wanted), (is_first, reached_here));
            if mode != Mode::FirstMatch {
                supplied = supplied.union(wanted);
            }
            if is_identified {
                let (supplies, by_field) = match mode {
                    Mode::FirstMatch => (missing, false),
                    _ => (wanted, true),
                };
                let closed = if by_field { closed_by(config, wanted) } else { FieldSet::EMPTY };
                let rates = closed.intersect(wanted).iter().map(|field| costs.rate_of(field, by_field));
                let closing = rates.fold(0.0, f64::max);
                closed.iter().for_each(|field| open[field.index()] *= 1.0 - closing);
                let others = supplies.minus(closed);
                others.iter().for_each(|field| open[field.index()] *= 1.0 - costs.rate_of(field, by_field));
            }
        }
    }
}

/// The parts of a position that no other provider supplies, or is asked for, once this one has supplied one of those that are
/// `wanted`: it names no company that others could name, too.
fn closed_by(config: &Config, wanted: FieldSet) -> FieldSet {
    let supplies_part = !wanted.intersect(FieldSet::of_position()).is_empty();
    match supplies_part && !config.maps().contains(Field::COMPANY_NAME) {
        true => FieldSet::of_position(),
        false => FieldSet::EMPTY,
    }
}

impl ProviderCosts {
    fn new(provider: &Rc<LoadedProvider>, record: Record) -> ProviderCosts {
        let tally = tally_of(provider);
        let matches = tally.get(Count::Matches);
        let answers = matches + tally.get(Count::NoMatches);
        let hit_rate = if answers == 0 { UNKNOWN_HIT_RATE } else { matches as f64 / answers as f64 };
        // An answer about another person is billed, too.
        let billed = matches + tally.get(Count::OtherPersons);
        let billed_rate = if answers == 0 { UNKNOWN_HIT_RATE } else { billed as f64 / answers as f64 };
        let price = provider.config.as_ref().ok().and_then(|config| config.price());
        ProviderCosts {
            provider: Rc::clone(provider),
            currency: price.map(|price| price.currency),
            hit_rate,
            record,
            billed_rate,
            credits_per_answer: tally.cost.filter(|_| answers > 0).map(|cost| cost / answers as f64),
            alone: Questions::default(),
            together: HashMap::new(),
            answers_most: Amount::ZERO,
            answers_expected: 0.0,
        }
    }

    /// How likely its answer has this field; or, where that is not known or not asked for, has anything.
    fn rate_of(&self, field: Field, by_field: bool) -> f64 {
        self.record.rate_of(field).filter(|_| by_field).unwrap_or(self.hit_rate)
    }

    /// In how many of its answers the vendor bills this field: what those about others have is not counted by field.
    fn billed_rate_of(&self, field: Field) -> f64 {
        let of_others = (self.billed_rate - self.hit_rate).max(0.0);
        self.record.rate_of(field).map_or(self.billed_rate, |rate| (rate + of_others).min(1.0))
    }

    /// One more question; `certain`: it is asked whatever others answer, and `reached`: how likely that is.
    fn add(
        &mut self,
        config: &Config,
        (person, wanted): (&Person, FieldSet),
        (certain, reached): (bool, f64),
    ) {
        let group = config.bulk().filter(|_| config.shares(&Inquiry::new(wanted), person));
        let reach = config.reach(wanted);
        let questions = match group {
            Some(bulk) => self.together.entry(bulk.group(wanted)).or_default(),
            None => &mut self.alone,
        };
        questions.certain += u64::from(certain);
        questions.possible += 1;
        questions.expected += reached;
        let LaterRequests { steps, polls } = reach.alone;
        questions.later += steps;
        questions.expected_later += reached * steps as f64 * self.hit_rate;
        questions.polled += u64::from(polls > 0);
        questions.expected_polls += reached * polls as f64;
        let Some(price) = config.price() else { return };
        let fields = reach.fields;
        let most = price.most_of_answer(fields).times(config.sendings());
        self.answers_most = self.answers_most.plus(most);
        let billed = (self.billed_rate, |field| self.billed_rate_of(field));
        self.answers_expected += reached * price.expected_of_answer(billed, self.credits_per_answer, fields);
    }

    /// A request about several contacts is one, and stands for the first step of each; of what is handed in together, for all.
    pub fn requests(&self) -> Requests {
        let (alone, together) = (self.alone, self.submission());
        let mut requests = Requests {
            least: alone.certain,
            most: alone.possible + alone.later,
            expected: alone.expected + alone.expected_later,
        };
        for questions in self.together.values() {
            let [least, most, expected] = self.shared(questions);
            requests.least += least as u64;
            requests.most += most as u64;
            requests.expected += expected;
            match together {
                Some(LaterRequests { steps, .. }) => {
                    requests.most += most as u64 * steps;
                    requests.expected += expected * steps as f64;
                }
                None => {
                    requests.most += questions.later;
                    requests.expected += questions.expected_later;
                }
            }
        }
        requests
    }

    /// How many requests these share for certain, at most, and by the hit rates.
    fn shared(&self, questions: &Questions) -> [f64; 3] {
        let most = self.provider.config.as_ref().map_or(1, |config| config.most_together()) as f64;
        [questions.certain as f64, questions.possible as f64, questions.expected]
            .map(|count| (count / most).ceil())
    }

    /// What follows the first request of those that are handed in together.
    fn submission(&self) -> Option<LaterRequests> {
        self.provider.config.as_ref().ok().and_then(|config| config.reach(FieldSet::EMPTY).together)
    }

    /// One of each step that asks for what was handed in: how often it is asked for is not known.
    fn expected_polls(&self) -> f64 {
        let of_shared = |questions: &Questions| match self.submission() {
            Some(LaterRequests { polls, .. }) => self.shared(questions)[2] * polls as f64,
            None => questions.expected_polls,
        };
        self.alone.expected_polls + self.together.values().map(of_shared).sum::<f64>()
    }

    /// Without a price it is nothing.
    pub fn cost(&self) -> Cost {
        let Some((config, price)) =
            self.provider.config.as_ref().ok().and_then(|config| Some((config, config.price()?)))
        else {
            return Cost::default();
        };
        let requests = self.requests();
        let expected = requests.expected + self.expected_polls();
        Cost {
            least: price.per_request().times(requests.least),
            most: price.per_request().times(self.most_requests(config)).plus(self.answers_most),
            expected: price.per_request().to_f64() * expected + self.answers_expected,
        }
    }

    /// With polls, logins and repetitions. What is refused together is asked again in halves, down to one contact: about so many
    /// in one request these are one less than twice as many requests, and fewer where no request is full.
    fn most_requests(&self, config: &Config) -> u64 {
        let most = config.bulk().map_or(1, |bulk| bulk.most() as u64);
        let halves = |contacts: u64| 2 * contacts - contacts.div_ceil(most);
        let (mut firsts, mut later, mut polled) = (self.alone.possible, self.alone.later, self.alone.polled);
        // What is refused together is asked one by one in the end, and then it takes the steps of one that is alone.
        let LaterRequests { steps, polls } = self.submission().unwrap_or_default();
        for questions in self.together.values() {
            firsts += halves(questions.possible);
            later += questions.later.max(questions.possible * steps);
            polled += if polls > 0 { questions.possible } else { questions.polled };
        }
        config.most_requests(firsts, later, polled)
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

//! leadlex.estimate: what a batch would do if it began now. Takes the batch's own steps as far as they only look, and then
//! counts instead of asking.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use crate::pg::call::batch::costs::CostEstimate;
use crate::pg::call::batch::lookup::{self, BatchScope, Providers};
use crate::pg::call::batch::{FieldRequest, PORTION};
use crate::pg::call::ownership;
use crate::pg::call::preconditions;
use crate::pg::call::target::{self, Target};
use crate::pg::limits::remaining;
use crate::pg::provider;
use crate::pg::provider::health;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::provider::{Asking, Past, Ready, Sought};
use crate::pg::shared::layout;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::stop;
use crate::pg::sys::clock;
use crate::pg::sys::settings;
use leadlex_domain::call_error::Failure;
use leadlex_domain::contact::Contact;
use leadlex_domain::estimate::{Estimate, EstimateOutcome, Means, Why};
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::health::Permit;
use leadlex_domain::identity::{WRITE_ENRICH, Workspace};
use leadlex_domain::person::Person;
use leadlex_domain::provider::{Config, Fault, FaultKind, Inquiry, Next, Verdict};
use leadlex_domain::rate::{Limits, Status};
use leadlex_domain::steps::{Event, Step, Steps};
use leadlex_domain::waterfall::{Mode, ProviderOutcome};

/// Steps 3 and 4; then each contact, in portions.
///
/// Err is LX401 or LX403. Raises 55000: not preloaded, or not bound. 42501: the caller may not read the bound
/// columns.
pub fn estimate(target: Target, ids: Vec<Option<String>>, asked: FieldRequest) -> Result<Estimate, Failure> {
    Ok(counted(target, ids, asked, false)?.0)
}

/// The same, as what it would cost.
///
/// Raises what `estimate` does.
pub fn estimate_cost(
    target: Target,
    ids: Vec<Option<String>>,
    asked: FieldRequest,
) -> Result<CostEstimate, Failure> {
    Ok(counted(target, ids, asked, true)?.1.expect("asked for"))
}

fn counted(
    target: Target,
    ids: Vec<Option<String>>,
    asked: FieldRequest,
    with_costs: bool,
) -> Result<(Estimate, Option<CostEstimate>), Failure> {
    layout::require();
    let caller = target::identify()?;
    if !caller.may(WRITE_ENRICH) {
        return Err(Failure::lacks_permission(WRITE_ENRICH));
    }
    let binding = target::binding(target);
    binding.require_readable();
    let (workspace, request) = (caller.workspace.id, lookup::request(&binding, asked));
    let mut outlook = Outlook::new(BatchScope { workspace, binding: &binding, request });
    if with_costs {
        // Where a contact is to be asked about and there is none, the count raises that.
        let providers = provider::enabled_for(workspace);
        let wanted = request.fields.intersect(request.mapped);
        let order = provider::order(&providers, request.mode, (wanted, ids.len()));
        outlook.costs = Some(CostEstimate::new(workspace, &providers, order));
    }
    let estimate = outlook.count(means_of(&caller.workspace), ids);
    Ok((estimate, outlook.costs))
}

/// How many contacts a batch that begins now could ask about, and for how much, whatever pauses, limits and credits keep it from
/// that just now. `providers`: see [`provider::enabled_for`].
///
/// Raises what `estimate` does.
pub(super) fn most(
    scope: BatchScope<'_>,
    providers: &[(String, Rc<LoadedProvider>)],
    ids: Vec<Option<String>>,
) -> (u64, CostEstimate) {
    let mut outlook = Outlook::new(scope);
    outlook.costs = Some(CostEstimate::new(scope.workspace, providers, (0..providers.len()).collect()));
    outlook.counts_requests = false;
    outlook.meets_pauses = false;
    let estimate = outlook.count(Means::default(), ids);
    let asked = estimate.counts().find(|(outcome, _)| *outcome == EstimateOutcome::Asked);
    (asked.map_or(0, |(_, contacts)| contacts), outlook.costs.expect("as made above"))
}

/// Keys of contacts with an empty field among those asked for, of which something could come now: a provider may be asked,
/// or has answered already. `most`: no more of them.
///
/// Err and errors are those of [`estimate`].
pub fn missing(target: Target, fields: FieldSet, most: Option<usize>) -> Result<Vec<String>, Failure> {
    layout::require();
    let caller = target::identify()?;
    if !caller.may(WRITE_ENRICH) {
        return Err(Failure::lacks_permission(WRITE_ENRICH));
    }
    let binding = target::binding(target);
    binding.require_readable();
    let workspace = caller.workspace.id;
    let request = lookup::request(&binding, FieldRequest { fields, overwrite: false });
    let mut outlook = Outlook::new(BatchScope { workspace, binding: &binding, request });
    outlook.counts_requests = false;
    let mut keys = Vec::new();
    let most = most.unwrap_or(usize::MAX);
    if most == 0 || outlook.scope.is_elsewhere() {
        return Ok(keys);
    }
    let wanted = request.fields.intersect(request.mapped);
    // No limits and no credits count here: they say how many, not who.
    let mut unlimited = Estimate::default();
    binding.each(workspace, |contacts| {
        let with_empty = |contact: &Contact| !contact.empty_fields().intersect(wanted).is_empty();
        let open: Vec<String> = contacts.into_iter().filter(with_empty).map(|contact| contact.id).collect();
        for portion in open.chunks(PORTION) {
            if keys.len() >= most {
                break;
            }
            let ids: Vec<&str> = portion.iter().map(String::as_str).collect();
            outlook.tell(&ids, &mut unlimited, &mut |id, outcome| {
                if outcome.may_bring_something() && keys.len() < most {
                    keys.push(id.to_owned());
                }
            });
        }
        keys.len() < most
    });
    Ok(keys)
}

struct Outlook<'a> {
    scope: BatchScope<'a>,
    providers: Providers,
    openings: HashMap<Uuid, Opening>,
    /// Questions that would have been asked by now.
    asked: HashSet<Hash>,
    /// What would be asked about those after that; see [`Outlook::likeness`].
    people: HashSet<Hash>,
    crowd: Crowd,
    /// Whether requests count against the providers' own limits.
    counts_requests: bool,
    /// Whether a provider that is paused now is not asked.
    meets_pauses: bool,
    /// What it would cost, where that is asked for.
    costs: Option<CostEstimate>,
}
/// Whether a provider could be asked.
enum Opening {
    Closed(Fault),
    /// So many contacts can be asked about within its own limits.
    Open(Option<u64>),
}

impl<'a> Outlook<'a> {
    fn new(scope: BatchScope<'a>) -> Outlook<'a> {
        Outlook {
            scope,
            providers: Providers::default(),
            openings: HashMap::new(),
            asked: HashSet::new(),
            people: HashSet::new(),
            crowd: Crowd::default(),
            counts_requests: true,
            meets_pauses: true,
            costs: None,
        }
    }

    fn count(&mut self, means: Means, ids: Vec<Option<String>>) -> Estimate {
        let mut estimate = Estimate::new(means);
        self.providers = Providers::of(ids.len());
        let keys = self.scope.keys(ids);
        keys.bad.iter().for_each(|_| estimate.skip(Why::BadKey));
        let mut met: HashSet<&str> = HashSet::with_capacity(keys.known.len());
        let mut once: Vec<&str> = Vec::with_capacity(keys.known.len());
        for (_, id) in &keys.known {
            match met.insert(id) {
                true => once.push(id),
                false => estimate.skip(Why::Duplicate),
            }
        }
        drop(met);
        if self.scope.is_elsewhere() {
            once.iter().for_each(|_| estimate.skip(Why::NotFound));
            return estimate;
        }
        for portion in once.chunks(PORTION) {
            pgrx::check_for_interrupts!();
            self.tell(portion, &mut estimate, &mut |_, _| {});
        }
        estimate
    }

    /// Counts what becomes of each, and tells it.
    fn tell(&mut self, ids: &[&str], estimate: &mut Estimate, told: &mut dyn FnMut(&str, EstimateOutcome)) {
        let mut tell = |estimate: &mut Estimate, id: &str, outcome| {
            estimate.count(outcome);
            told(id, outcome);
        };
        let mut open: Vec<Steps> = Vec::with_capacity(ids.len());
        let BatchScope { workspace, binding, request } = self.scope;
        // Where nothing can be written, whether it may be cannot be found out.
        let denied = match preconditions::read_only() {
            false => binding.update_denied(workspace, ids),
            true => vec![false; ids.len()],
        };
        let found = binding.read_many(workspace, ids);
        let kept = ownership::kept(workspace, binding, request.overwrite, &found);
        for ((id, (found, kept)), denied) in ids.iter().zip(found.into_iter().zip(kept)).zip(denied) {
            let mut steps = Steps::new(request, id);
            steps.next(Event::Claimed);
            steps.keep(kept);
            self.scope.qualify(&mut steps, found, denied, &mut self.providers);
            match steps.outcome() {
                Some(outcome) => tell(estimate, id, EstimateOutcome::of(outcome)),
                None => open.push(steps),
            }
        }
        let row = |steps: &Steps| self.scope.row(steps.contact());
        let whom: Vec<Sought<'_>> =
            open.iter().map(|steps| (steps.contact(), row(steps), steps.missing())).collect();
        let pasts = provider::pasts(workspace, &self.providers.all, &whom, &self.crowd);
        for (mut steps, mut past) in open.into_iter().zip(pasts) {
            let outcome = self.outcome_of(&mut steps, &mut past, estimate);
            let id = steps.contact().id.clone();
            tell(estimate, &id, outcome);
        }
    }

    /// From the rate limit up to the first request that would be sent.
    fn outcome_of(&mut self, steps: &mut Steps, past: &mut Past, estimate: &mut Estimate) -> EstimateOutcome {
        let row = self.scope.row(steps.contact());
        loop {
            let event = match steps.step() {
                Step::UseRate if !estimate.admit() => return EstimateOutcome::Skipped(Why::RateLimit),
                Step::UseRate => Event::Admitted,
                Step::Reserve if !estimate.has_credit() => {
                    return EstimateOutcome::Skipped(Why::CreditsRunOut);
                }
                Step::Reserve => Event::Reserved(true),
                Step::LookUp(_) => {
                    let whom = steps.whom();
                    // As it is stored it was looked up before.
                    let found = matches!(whom, Cow::Owned(_));
                    Event::Listed(found && self.scope.is_suppressed(|| whom, row, &self.crowd))
                }
                Step::Recall(at) => self.recall(steps, at, past),
                Step::Ask(at) => match self.ask(steps, at, past) {
                    ControlFlow::Break(outcome) => return outcome,
                    ControlFlow::Continue(event) => event,
                },
                Step::Release => Event::Released,
                Step::Write => {
                    let (contact, gathered) = (steps.contact(), steps.gathered());
                    let overwrite = self.scope.request.overwrite;
                    return EstimateOutcome::of_offer(contact, gathered, steps.fields(), overwrite);
                }
                step => match steps.outcome() {
                    Some(outcome) => return EstimateOutcome::of(outcome),
                    None => unreachable!("an estimate never comes to {step:?}"),
                },
            };
            steps.next(event);
        }
    }

    fn recall(&self, steps: &Steps, at: usize, past: &mut Past) -> Event {
        let workspace = self.scope.workspace;
        let (named, known, missing) = (&self.providers.all[at], steps.known(), steps.missing());
        // What receipts supply makes it another question.
        let is_other = matches!(known, Cow::Owned(_)) || named.1.asks_for_fields;
        if is_other && !past.is_of(workspace, &named.1, (&known, missing)) {
            past.look_again(workspace, named, (&known, missing));
        }
        let table = format!("{}\n{}", self.scope.binding.name(), known.id);
        Event::Recalled(provider::foreseen(&named.1, &self.asking(&known, &table, past), missing))
    }

    fn asking<'p>(&self, known: &'p Contact, table: &'p str, past: &'p Past) -> Asking<'p> {
        Asking {
            workspace: self.scope.workspace,
            contact: known,
            table,
            person: self.scope.row(known),
            overwrite: self.scope.request.overwrite,
            since: clock::now_us(),
            past,
        }
    }

    /// What comes of it if a request would be sent, or has been about another contact; else what does in its place.
    fn ask(&mut self, steps: &Steps, at: usize, past: &Past) -> ControlFlow<EstimateOutcome, Event> {
        let provider = Rc::clone(&self.providers.all[at].1);
        let (known, missing) = (steps.known(), steps.missing());
        let receipts = !settings::receipt_terms().off();
        if receipts && past.asked_of(provider.id).is_some_and(|question| self.asked.contains(&question)) {
            return ControlFlow::Break(match self.is_asked_about_alike(steps, &known, past) {
                true => EstimateOutcome::AnsweredWithAnother,
                // Of those after this one.
                false => EstimateOutcome::Asked,
            });
        }
        let Ok(config) = &provider.config else {
            return ControlFlow::Continue(Event::Answered(ProviderOutcome::Skipped));
        };
        let table = format!("{}\n{}", self.scope.binding.name(), known.id);
        let inquiry = provider::inquiry_of(&provider, config, &self.asking(&known, &table, past), missing);
        match self.send(&provider, config, (&inquiry, &past.person)) {
            Ok(true) => {
                self.asked.extend(past.asked_of(provider.id));
                self.people.insert(self.likeness(at, &known, past, missing));
                if let Some(costs) = &mut self.costs {
                    costs.asked(&steps.ahead(), &past.person, missing, self.scope.request.mode);
                }
                ControlFlow::Break(EstimateOutcome::Asked)
            }
            Ok(false) => ControlFlow::Continue(Event::Answered(ProviderOutcome::Skipped)),
            Err(fault) => {
                // No other is asked in its place, where its description says so.
                let fault = config.held(fault);
                ControlFlow::Continue(Event::NotAsked(ProviderOutcome::Answered(Verdict::Failed(fault))))
            }
        }
    }

    /// Whether what is asked about another contact answers all of the questions about this one, from that of provider `at`
    /// on. What an answer fills in can make others of those that follow.
    fn is_asked_about_alike(&self, steps: &Steps, contact: &Contact, past: &Past) -> bool {
        let (ahead, missing) = (steps.ahead(), steps.missing());
        let useless = |at: &usize| {
            self.providers.all[*at]
                .1
                .config
                .as_ref()
                .map_or(true, |config| config.fills().intersect(missing).is_empty())
        };
        self.people.contains(&self.likeness(ahead[0], contact, past, missing))
            || ahead[1..].iter().all(useless)
    }

    /// Two contacts with the same hash are asked about alike from provider `at` on. It is of the questions, or where answers can
    /// change those, of all that identifies.
    fn likeness(&self, at: usize, contact: &Contact, past: &Past, missing: FieldSet) -> Hash {
        let missing = missing.names().join(",");
        let whom = match self.scope.request.mode {
            Mode::FirstMatch => {
                let questions =
                    self.providers.all[at..].iter().map(|(_, provider)| past.asked_of(provider.id));
                format!("{:?}", questions.collect::<Vec<_>>())
            }
            Mode::Fill | Mode::Cheapest => {
                let fields = contact.identifying_fields();
                let values: Vec<Option<&str>> = fields.iter().map(|field| contact.value(field)).collect();
                format!("{:?}", (at, contact.identifying(), fields.names(), values))
            }
        };
        leadlex_domain::hash::hash(&[missing.as_bytes(), whom.as_bytes()])
    }

    /// Whether a request would be sent now; it is counted against the provider's own limits, with those that follow it.
    /// `Ok(false)`: the contact lacks what the request needs.
    fn send(
        &mut self,
        provider: &Rc<LoadedProvider>,
        config: &Config,
        (inquiry, person): (&Inquiry, &Person),
    ) -> Result<bool, Fault> {
        // Whether there is a secret is looked at below.
        if matches!(inquiry.next(config, person, Some("secret"), None), Next::Nothing(_)) {
            return Ok(false);
        }
        let (workspace, meets_pauses) = (self.scope.workspace, self.meets_pauses);
        // What it would cost is told whatever is left of budgets.
        let of_all = self.costs.is_none();
        let opening = self.openings.entry(provider.id).or_insert_with(|| {
            let refusal = || provider::budget_refusal(provider, config, (workspace, of_all), inquiry);
            match opening_of(provider, config, (inquiry, person), meets_pauses) {
                Opening::Open(left) if meets_pauses => refusal().map_or(Opening::Open(left), Opening::Closed),
                opening => opening,
            }
        });
        match opening {
            Opening::Closed(fault) => Err(fault.clone()),
            Opening::Open(_) if !self.counts_requests => Ok(true),
            Opening::Open(Some(0)) => Err(Fault::new(FaultKind::ProviderLimit, "its own limit is used up")),
            Opening::Open(left) => {
                *left = left.map(|left| left.saturating_sub(inquiry.requests_left(config)));
                Ok(true)
            }
        }
    }
}

/// A pause is looked at, in a copy, and not met: the provider is not given its probe by that.
fn opening_of(
    provider: &LoadedProvider,
    config: &Config,
    asked: (&Inquiry, &Person),
    meets_pauses: bool,
) -> Opening {
    let question = match provider::prepare(provider, config, asked, None) {
        Ok(Ready::Send(prepared)) => Some(prepared.question),
        Ok(Ready::LogIn(question)) => Some(question),
        Ok(Ready::Nothing(_)) => None,
        Err(fault) => return Opening::Closed(fault),
    };
    if !meets_pauses {
        return Opening::Open(None);
    }
    if let Some(fault) = stop::fault() {
        return Opening::Closed(fault);
    }
    let state = health::find(provider.id).and_then(|slot| slot.state());
    if let (Some(question), Some(mut state)) = (question, state)
        && let Permit::No(pause) = state.health.permit(question, true, clock::now_us(), Duration::ZERO)
    {
        return Opening::Closed(Fault::new(pause.cause.kind(), pause.cause.words()));
    }
    // A batch that waits for the next minute is limited by the day alone.
    let per_minute = config.max_requests_per_minute().filter(|_| !settings::batch_waits());
    let limits = Limits { per_minute, per_day: config.max_requests_per_day() };
    // Of a request about several each takes a part.
    let contacts =
        config.bulk().filter(|_| config.shares(asked.0, asked.1)).map_or(1, |bulk| bulk.most() as u64);
    let left = tightest(remaining::rate(provider.id, limits));
    Opening::Open(left.map(|requests| requests.saturating_mul(contacts)))
}

fn tightest(status: Status) -> Option<u64> {
    status.tightest().map(|window| u64::from(window.remaining))
}

/// A batch that waits for the next minute is limited by the day alone.
fn means_of(workspace: &Workspace) -> Means {
    let mut status = remaining::rate(workspace.id, workspace.limits);
    if settings::batch_waits() {
        status.minute = None;
    }
    let credits = remaining::credits(workspace);
    Means { rate: tightest(status), credits: credits.map(|left| left.max(0) as u64) }
}

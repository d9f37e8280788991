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
use crate::pg::call::preconditions;
use crate::pg::call::target::{self, Target};
use crate::pg::limits::remaining;
use crate::pg::provider;
use crate::pg::provider::health;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::provider::{Asking, Past, Ready, Sought};
use crate::pg::shared::layout;
use crate::pg::store::config::LoadedProvider;
use crate::pg::sys::clock;
use crate::pg::sys::settings;
use leadlex_domain::call_error::Failure;
use leadlex_domain::contact::Contact;
use leadlex_domain::estimate::{Estimate, EstimateOutcome, Means, Why};
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::health::Permit;
use leadlex_domain::identity::{Caller, WRITE_ENRICH, Workspace};
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
/// Raises what `estimate` does, and 55000: there is no enabled provider.
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
        outlook.costs = Some(CostEstimate::new(workspace, &provider::for_workspace(workspace)));
    }
    let estimate = outlook.count(&caller, ids);
    Ok((estimate, outlook.costs))
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
    /// What it would cost, where that is asked for.
    costs: Option<CostEstimate>,
}
/// Whether a provider could be asked.
enum Opening {
    Closed(Fault),
    /// So many requests are left of its own limits.
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
            costs: None,
        }
    }

    fn count(&mut self, caller: &Caller, ids: Vec<Option<String>>) -> Estimate {
        let mut estimate = Estimate::new(means_of(&caller.workspace));
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
            self.portion(portion, &mut estimate);
        }
        estimate
    }

    fn portion(&mut self, ids: &[&str], estimate: &mut Estimate) {
        let mut open: Vec<Steps> = Vec::with_capacity(ids.len());
        let BatchScope { workspace, binding, request } = self.scope;
        // Where nothing can be written, whether it may be cannot be found out.
        let denied = match preconditions::read_only() {
            false => binding.barred(workspace, ids),
            true => vec![false; ids.len()],
        };
        let found = binding.read_many(workspace, ids);
        for ((id, found), denied) in ids.iter().zip(found).zip(denied) {
            let mut steps = Steps::new(request, id);
            steps.next(Event::Claimed);
            self.scope.qualify(&mut steps, found, denied, &mut self.providers);
            match steps.outcome() {
                Some(outcome) => estimate.count(EstimateOutcome::of(outcome)),
                None => open.push(steps),
            }
        }
        let row = |steps: &Steps| self.scope.row(steps.contact());
        let whom: Vec<Sought<'_>> =
            open.iter().map(|steps| (steps.contact(), row(steps), steps.missing())).collect();
        let pasts = provider::pasts(workspace, &self.providers.all, &whom, &self.crowd);
        for (mut steps, mut past) in open.into_iter().zip(pasts) {
            let outcome = self.outcome_of(&mut steps, &mut past, estimate);
            estimate.count(outcome);
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
                    Event::Listed(found && self.scope.is_suppressed(&whom, row, &self.crowd))
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
        let BatchScope { workspace, binding, request } = self.scope;
        let (named, known, missing) = (&self.providers.all[at], steps.known(), steps.missing());
        // What receipts supply makes it another question.
        let is_other = matches!(known, Cow::Owned(_)) || named.1.asks_for_fields;
        if is_other && !past.is_of(workspace, &named.1, (&known, missing)) {
            past.look_again(workspace, named, (&known, missing));
        }
        let asking = Asking {
            workspace,
            contact: &known,
            table: &format!("{}\n{}", binding.name(), known.id),
            person: self.scope.row(&known),
            overwrite: request.overwrite,
            since: clock::now_us(),
            past,
        };
        Event::Recalled(provider::foreseen(&named.1, &asking, missing))
    }

    /// What comes of it if a request would be sent, or has been about another contact; else what does in its place.
    fn ask(&mut self, steps: &Steps, at: usize, past: &Past) -> ControlFlow<EstimateOutcome, Event> {
        let provider = Rc::clone(&self.providers.all[at].1);
        let (known, missing) = (steps.known(), steps.missing());
        let receipts = !settings::receipt_terms().off();
        if receipts && past.asked_of(provider.id).is_some_and(|question| self.asked.contains(&question)) {
            return ControlFlow::Break(match self.is_asked_about_alike(at, &known, past, missing) {
                true => EstimateOutcome::AnsweredWithAnother,
                // Of those after this one.
                false => EstimateOutcome::Asked,
            });
        }
        match self.send(&provider, &past.person, missing) {
            Ok(true) => {
                self.asked.extend(past.asked_of(provider.id));
                self.people.insert(self.likeness(at, &known, past, missing));
                if let Some(costs) = &mut self.costs {
                    costs.asked(at, &past.person, missing, self.scope.request.mode);
                }
                ControlFlow::Break(EstimateOutcome::Asked)
            }
            Ok(false) => ControlFlow::Continue(Event::Answered(ProviderOutcome::Skipped)),
            Err(fault) => {
                ControlFlow::Continue(Event::NotAsked(ProviderOutcome::Answered(Verdict::Failed(fault))))
            }
        }
    }

    /// Whether what is asked about another contact answers all of the questions about this one, from that of provider `at`
    /// on. What an answer fills in can make others of those that follow.
    fn is_asked_about_alike(&self, at: usize, contact: &Contact, past: &Past, missing: FieldSet) -> bool {
        let useless = |(_, provider): &(String, Rc<LoadedProvider>)| {
            provider.config.as_ref().map_or(true, |config| config.fills().intersect(missing).is_empty())
        };
        self.people.contains(&self.likeness(at, contact, past, missing))
            || self.providers.all[at + 1..].iter().all(useless)
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
            Mode::Fill => {
                let fields = contact.identifying_fields();
                let values: Vec<Option<&str>> = fields.iter().map(|field| contact.value(field)).collect();
                format!("{:?}", (at, contact.identifying(), fields.names(), values))
            }
        };
        leadlex_domain::hash::hash(&[missing.as_bytes(), whom.as_bytes()])
    }

    /// Whether a request would be sent now; it is counted against the provider's own limits. `Ok(false)`: the contact
    /// lacks what the request needs.
    fn send(
        &mut self,
        provider: &Rc<LoadedProvider>,
        person: &Person,
        missing: FieldSet,
    ) -> Result<bool, Fault> {
        let Ok(config) = &provider.config else { return Ok(false) };
        let inquiry = Inquiry::new(config.fills().intersect(missing));
        // Whether there is a secret is looked at below.
        if matches!(inquiry.next(config, person, Some("secret"), None), Next::Nothing(_)) {
            return Ok(false);
        }
        let opening = self
            .openings
            .entry(provider.id)
            .or_insert_with(|| opening_of(provider, config, (&inquiry, person)));
        match opening {
            Opening::Closed(fault) => Err(fault.clone()),
            Opening::Open(Some(0)) => Err(Fault::new(FaultKind::ProviderLimit, "its own limit is used up")),
            Opening::Open(left) => {
                *left = left.map(|left| left - 1);
                Ok(true)
            }
        }
    }
}

/// A pause is looked at, in a copy, and not met: the provider is not given its probe by that.
fn opening_of(provider: &LoadedProvider, config: &Config, asked: (&Inquiry, &Person)) -> Opening {
    let question = match provider::prepare(provider, config, asked, None) {
        Ok(Ready::Send(prepared)) => Some(prepared.question),
        Ok(Ready::LogIn(question)) => Some(question),
        Ok(Ready::Nothing(_)) => None,
        Err(fault) => return Opening::Closed(fault),
    };
    let state = health::find(provider.id).and_then(|slot| slot.state());
    if let (Some(question), Some(mut state)) = (question, state)
        && let Permit::No(pause) = state.health.permit(question, true, clock::now_us(), Duration::ZERO)
    {
        return Opening::Closed(Fault::new(pause.cause.kind(), pause.cause.words()));
    }
    // A batch that waits for the next minute is limited by the day alone.
    let per_minute = config.max_requests_per_minute().filter(|_| !settings::batch_waits());
    let limits = Limits { per_minute, per_day: config.max_requests_per_day() };
    Opening::Open(tightest(remaining::rate(provider.id, limits)))
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

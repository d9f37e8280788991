//! leadlex.estimate: what a batch would do if it began now. Takes the batch's own steps as far as they only look, and then
//! counts instead of asking.

use crate::pg::shared::layout;
use crate::pg::sys::clock;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use crate::pg::call::batch::lookup::{BatchScope, Eligibility};
use crate::pg::call::batch::{FieldRequest, PORTION};
use crate::pg::call::preconditions;
use crate::pg::call::single;
use crate::pg::call::single::Target;
use crate::pg::limits::remaining;
use crate::pg::provider;
use crate::pg::provider::health;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::provider::{Asking, Past};
use crate::pg::store::config::LoadedProvider;
use crate::pg::store::suppressions;
use crate::pg::sys::settings;
use crate::pg::table::Binding;
use leadlex_domain::contact::Contact;
use leadlex_domain::estimate::{Estimate, EstimateOutcome, Means, Why};
use leadlex_domain::failure::Failure;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::health::Permit;
use leadlex_domain::identity::{Caller, WRITE_ENRICH, Workspace};
use leadlex_domain::merge;
use leadlex_domain::person::Person;
use leadlex_domain::position::Post;
use leadlex_domain::provider::{Config, Fault, FaultKind, Verdict};
use leadlex_domain::rate::{Limits, Status};
use leadlex_domain::receipt;
use leadlex_domain::waterfall::{Mode, ProviderOutcome, Waterfall};

/// Steps 3 and 4; then each contact, in portions.
///
/// Err is LX401 or LX403. Raises 55000: not preloaded, or not bound. 42501: the caller may not read the bound
/// columns.
pub fn estimate(
    target: Target,
    ids: Vec<Option<String>>,
    request: FieldRequest,
) -> Result<Estimate, Failure> {
    layout::require();
    let caller = single::identify()?;
    if !caller.may(WRITE_ENRICH) {
        return Err(Failure::lacks_permission(WRITE_ENRICH));
    }
    let binding = single::binding(target);
    binding.require_readable();
    let mut outlook = Outlook {
        scope: BatchScope { workspace: caller.workspace.id, binding: &binding, request },
        providers: Vec::new(),
        waterfall: settings::waterfall(),
        openings: HashMap::new(),
        asked: HashSet::new(),
        people: HashSet::new(),
        crowd: Crowd::default(),
    };
    Ok(outlook.count(&caller, ids))
}

struct Outlook<'a> {
    scope: BatchScope<'a>,
    /// Looked up when the first contact needs one.
    providers: Vec<(String, Rc<LoadedProvider>)>,
    waterfall: (Mode, f64),
    openings: HashMap<Uuid, Opening>,
    /// Questions that would have been asked by now.
    asked: HashSet<Hash>,
    /// What would be asked about those after that; see [`Outlook::likeness`].
    people: HashSet<Hash>,
    crowd: Crowd,
}

/// Whether a provider could be asked.
enum Opening {
    Closed(Fault),
    /// So many requests are left of its own limits.
    Open(Option<u64>),
}

impl Outlook<'_> {
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
        let mut fillable: Vec<(Contact, FieldSet)> = Vec::with_capacity(ids.len());
        let BatchScope { workspace, binding, .. } = self.scope;
        // Where nothing can be written, whether it may be cannot be found out.
        let barred = match preconditions::read_only() {
            false => binding.barred(workspace, ids),
            true => vec![false; ids.len()],
        };
        for (found, barred) in binding.read_many(workspace, ids).into_iter().zip(barred) {
            let seen = self.scope.look(found);
            if seen.needs_providers() && !barred && self.providers.is_empty() {
                self.providers = provider::for_workspace(workspace);
            }
            match seen {
                Eligibility::Fillable(..) if barred => estimate.skip(Why::Barred),
                Eligibility::Missing => estimate.skip(Why::NotFound),
                Eligibility::Several(_) => estimate.skip(Why::KeyNotUnique),
                Eligibility::Full(_) => estimate.skip(Why::NothingToFill),
                Eligibility::Suppressed(_) => estimate.skip(Why::Suppressed),
                Eligibility::Fillable(contact, fields) => fillable.push((contact, fields)),
            }
        }
        let contacts: Vec<(&Contact, Hash)> =
            fillable.iter().map(|(contact, _)| (contact, name_of(binding, workspace, contact).1)).collect();
        let pasts = provider::pasts(workspace, &self.providers, &contacts, &self.crowd);
        for ((contact, fields), past) in fillable.iter().zip(&pasts) {
            estimate.take(|| self.outcome_of(contact, *fields, past));
        }
    }

    /// Step 10, up to the first request that would be sent.
    fn outcome_of(&mut self, contact: &Contact, fields: FieldSet, past: &Past) -> EstimateOutcome {
        let BatchScope { workspace, binding, request } = self.scope;
        let (mode, min_confidence) = self.waterfall;
        let (table, person) = name_of(binding, workspace, contact);
        let overwrite = request.overwrite;
        let receipts = !settings::receipt_terms().off();
        let post = Post::new(settings::position(), contact);
        let mut waterfall = Waterfall::new(mode, min_confidence, fields).beside(post);
        let mut past = Cow::Borrowed(past);
        for (at, (name, provider)) in self.providers.clone().iter().enumerate() {
            if waterfall.finished() {
                break;
            }
            let known = waterfall.with_found(contact, overwrite);
            let found = matches!(known, Cow::Owned(_));
            let whom = waterfall.with_all_found(contact, overwrite);
            if matches!(whom, Cow::Owned(_)) && self.is_suppressed(&whom, person) {
                return EstimateOutcome::Skipped(Why::Suppressed);
            }
            // What receipts supply makes it another question.
            if found && !past.is_of(workspace, provider, &known) {
                past.to_mut().look_again(workspace, &(name.clone(), Rc::clone(provider)), &known);
            }
            let asking = Asking { workspace, contact: &known, table: &table, person, overwrite, past: &past };
            let outcome = match provider::foreseen(provider, &asking, waterfall.missing()) {
                Some(outcome) => outcome,
                None if receipts && past.asked_of(provider.id).is_some_and(|q| self.asked.contains(&q)) => {
                    let missing = waterfall.missing();
                    return match self.is_asked_about_alike(at, &known, &past, missing) {
                        true => EstimateOutcome::AnsweredWithAnother,
                        // Of those after this one.
                        false => EstimateOutcome::Asked,
                    };
                }
                None => match self.send(provider, &past.person) {
                    Ok(true) => {
                        self.asked.extend(past.asked_of(provider.id));
                        self.people.insert(self.likeness(at, &known, &past, waterfall.missing()));
                        return EstimateOutcome::Asked;
                    }
                    Ok(false) => ProviderOutcome::Skipped,
                    Err(fault) => ProviderOutcome::Answered(Verdict::Failed(fault)),
                },
            };
            waterfall.absorb(name, outcome);
        }
        if waterfall
            .with_found_profile(contact, overwrite)
            .is_some_and(|known| self.is_suppressed(&known, person))
        {
            return EstimateOutcome::Skipped(Why::Suppressed);
        }
        match waterfall.result() {
            Ok(gathered) if gathered.values.is_empty() => EstimateOutcome::Skipped(Why::NoData),
            Ok(gathered) => {
                let changes = merge::changes(contact, &gathered.values, fields, overwrite);
                match gathered.post.fitting(contact, changes) {
                    // It is offered again, in case that the table has changed.
                    (changes, _)
                        if !changes.is_empty()
                            && changes.fields().minus(gathered.refused_before).is_empty() =>
                    {
                        EstimateOutcome::Skipped(Why::TableRefuses)
                    }
                    (changes, true) if changes.is_empty() => EstimateOutcome::Skipped(Why::OtherCompany),
                    (changes, false) if changes.is_empty() => EstimateOutcome::AnsweredTheSame,
                    _ => EstimateOutcome::Answered,
                }
            }
            Err(failure) => EstimateOutcome::of_failure(&failure),
        }
    }

    /// Whether what is asked about another contact answers all of the questions about this one, from that of provider `at`
    /// on. What an answer fills in can make others of those that follow.
    fn is_asked_about_alike(&self, at: usize, contact: &Contact, past: &Past, missing: FieldSet) -> bool {
        let useless = |(_, provider): &(String, Rc<LoadedProvider>)| {
            provider.config.as_ref().map_or(true, |config| config.fills().intersect(missing).is_empty())
        };
        self.people.contains(&self.likeness(at, contact, past, missing))
            || self.providers[at + 1..].iter().all(useless)
    }

    /// Whoever has it in common with another is asked about alike from provider `at` on: the questions, or where answers can
    /// change those, all that identifies.
    fn likeness(&self, at: usize, contact: &Contact, past: &Past, missing: FieldSet) -> Hash {
        let missing = missing.names().join(",");
        let whom = match self.waterfall.0 {
            Mode::FirstMatch => {
                let questions = self.providers[at..].iter().map(|(_, provider)| past.asked_of(provider.id));
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

    fn is_suppressed(&self, contact: &Contact, row: Hash) -> bool {
        let listed = || provider::listed(self.scope.workspace, contact, row, &self.crowd);
        suppressions::any(Some(self.scope.workspace), listed)
    }

    /// Whether a request would be sent now; it is counted against the provider's own limits. `Ok(false)`: the contact
    /// lacks what the request needs.
    fn send(&mut self, provider: &Rc<LoadedProvider>, person: &Person) -> Result<bool, Fault> {
        let Ok(config) = &provider.config else { return Ok(false) };
        // Whether there is a secret is looked at below.
        if config.request(person, Some("secret")).is_none() {
            return Ok(false);
        }
        let opening =
            self.openings.entry(provider.id).or_insert_with(|| opening_of(provider, config, person));
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

/// As the request key and the receipt have them.
fn name_of(binding: &Binding, workspace: Uuid, contact: &Contact) -> (String, Hash) {
    let name = binding.name();
    (format!("{name}\n{}", contact.id), receipt::person(workspace, name, &contact.id))
}

/// A pause is looked at, in a copy, and not met: the provider is not given its probe by that.
fn opening_of(provider: &LoadedProvider, config: &Config, person: &Person) -> Opening {
    let question = match provider::prepare(provider, config, person) {
        Ok(prepared) => prepared.map(|prepared| prepared.question),
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

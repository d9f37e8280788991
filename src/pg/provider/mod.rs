//! Asking one provider: what is known already, whether it may be asked, the request, the answer.

mod affordable;
mod again;
mod ask;
mod asker;
pub mod budget_events;
mod bulk;
mod bulk_answer;
mod flight;
pub mod health;
mod kept_free;
mod lateness;
pub mod login;
pub mod owed;
mod past;
pub mod receipt_sink;
mod rejections;
mod sending;
pub mod shared_values;
pub mod spending;
mod throttle;
mod turn;
mod under_way;
pub mod uses;

use crate::pg::sys::clock;
use std::collections::HashMap;
use std::rc::Rc;

use uuid::Uuid;

use crate::pg::provider::shared_values::About;
use crate::pg::store::cache;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::sys::raise;
use crate::pg::sys::settings;
use leadlex_domain::answered::Answered;
use leadlex_domain::contact::Contact;
use leadlex_domain::contact_row::ContactRow;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::money::order::{Candidate, Record, cheapest};
use leadlex_domain::provider::{Config, Fault, FaultKind, Inquiry, Verdict, WhenPending};
use leadlex_domain::question::Questions;
use leadlex_domain::receipt::Receipt;
use leadlex_domain::steps::Source;
use leadlex_domain::undone;
use leadlex_domain::undone::Undone;
use leadlex_domain::waterfall::{Mode, ProviderOutcome};

pub use affordable::refusal as budget_refusal;
pub use ask::{ask, passed_over, prepare_logged_in};
pub use asker::{Asker, Limit, NotYet, Refused};
pub use bulk::{BulkOutcome, Guest, Sitting, ask_together, prepare_for_all, shared_by};
pub use flight::{Flight, Landed};
pub use kept_free::PollReserve;
pub use past::{Past, Sought, kept_under, listed, pasts, person, person_in_row};
pub use rejections::{Rejected, note_rejections};
pub use sending::{
    Prepared, Ready, admit_in_time, can_be_sent, dropped, prepare, present_identity, send, time_for,
};
pub use throttle::{Queued, give_up, latest};
pub use turn::{Awaited, asked_to_wait, wait_for};
pub use under_way::LaterAnswer;

pub const ALL_DISABLED: &str = "every data provider is disabled";
pub const NONE_CONFIGURED: &str = "no data provider is configured";

/// As [`for_workspace`]; empty where there is none.
pub fn enabled_for(workspace: Uuid) -> Vec<(String, Rc<LoadedProvider>)> {
    let all = cache::providers();
    let enabled = all.iter().filter(|p| p.enabled && serves(p, workspace));
    enabled.map(|p| (p.name.clone(), p.clone())).collect()
}

/// Enabled providers of a workspace, those for every workspace included, in the order of their priority.
///
/// Raises 55000: there is none, or each of them is disabled.
pub fn for_workspace(workspace: Uuid) -> Vec<(String, Rc<LoadedProvider>)> {
    let enabled = enabled_for(workspace);
    if enabled.is_empty() {
        match cache::providers().iter().find(|p| serves(p, workspace)) {
            Some(disabled) => raise::not_ready(
                ALL_DISABLED,
                format!("Run SELECT leadlex.enable_provider('{}', true).", disabled.name.replace('\'', "''")),
            ),
            None => none_configured(),
        }
    }
    enabled
}

/// Why jobs of a workspace wait for providers; `None`: there are enabled ones.
pub fn none_to_ask(workspace: Uuid) -> Option<&'static str> {
    let all = cache::providers();
    let own = || all.iter().filter(|p| serves(p, workspace));
    match own().next() {
        None => Some(NONE_CONFIGURED),
        Some(_) => own().all(|p| !p.enabled).then_some(ALL_DISABLED),
    }
}

/// 55000: the first step of setting up.
pub fn none_configured() -> ! {
    raise::not_ready(
        NONE_CONFIGURED,
        "Run SELECT leadlex.add_provider('people_data_labs', preset => 'people_data_labs', secret => 'YOUR_KEY'). The view leadlex.presets lists the other presets.",
    )
}

/// The same, as the order of the steps depends on them. `contacts`: so many are asked about by the call.
pub fn sources(providers: &[(String, Rc<LoadedProvider>)], mode: Mode, contacts: usize) -> Rc<[Source]> {
    let rates = (mode == Mode::Cheapest).then(cache::hit_rates);
    let source = |(name, provider): &(String, Rc<LoadedProvider>)| Source {
        name: name.clone(),
        min_confidence: provider.config.as_ref().ok().and_then(|config| config.min_confidence()),
        candidate: rates.as_ref().map(|rates| candidate(provider, rates, contacts)),
    };
    providers.iter().map(source).collect()
}

fn candidate(provider: &LoadedProvider, rates: &HashMap<Uuid, Record>, contacts: usize) -> Candidate {
    let config = provider.config.as_ref().ok();
    Candidate {
        config: config.cloned(),
        record: rates.get(&provider.id).copied().unwrap_or_default(),
        together: config.map_or(1, |config| config.most_together()).min(contacts as u64),
    }
}

/// The positions of these providers in the order in which they are asked for these fields of so many contacts.
pub fn order(
    providers: &[(String, Rc<LoadedProvider>)],
    mode: Mode,
    (wanted, contacts): (FieldSet, usize),
) -> Vec<usize> {
    let sources = sources(providers, mode, contacts);
    let candidates: Vec<&Candidate> = sources.iter().filter_map(|source| source.candidate.as_ref()).collect();
    match mode {
        Mode::Cheapest => cheapest(&candidates, wanted),
        Mode::FirstMatch | Mode::Fill => (0..providers.len()).collect(),
    }
}

/// Whether a provider is this workspace's, or everybody's.
pub fn serves(provider: &LoadedProvider, workspace: Uuid) -> bool {
    provider.workspace.is_none_or(|w| w == workspace)
}

/// Who asks, about whom, and what was answered before.
pub struct Asking<'a> {
    pub workspace: Uuid,
    pub contact: &'a Contact,
    /// The contact's table and key, as the request key and the receipt have them.
    pub table: &'a str,
    /// See [`leadlex_domain::receipt::person`].
    pub person: Hash,
    pub overwrite: bool,
    /// Since when it is waited for an answer, in epoch microseconds: when the call began, or was queued.
    pub since: i64,
    pub past: &'a Past,
}

impl Asking<'_> {
    /// The contact's row in the workspace that asks.
    fn row(&self) -> ContactRow {
        ContactRow { workspace: self.workspace, hash: self.person }
    }

    fn about(&self, provider: &LoadedProvider) -> About {
        let mut about = About::new(self.workspace, provider.id, &self.past.person, &self.past.crowd);
        if !self.overwrite {
            about.undone = self.past.undone_of(provider.id).cloned().collect();
            about.spared = self.spared(provider);
        }
        about
    }

    /// Fields that the provider is not asked for, since what it had was taken back.
    fn spared(&self, provider: &LoadedProvider) -> FieldSet {
        if self.overwrite {
            return FieldSet::EMPTY;
        }
        let about = |undone: &&Undone| undone.is_about(self.workspace, self.contact);
        undone::fields(self.past.undone_of(provider.id).filter(about))
    }
}

/// A provider that was asked: it has answered already, or its answer is awaited.
pub enum Asked {
    Done(ProviderOutcome),
    Waiting(Box<Flight>),
    /// It was asked before, and answers later: to be asked again then, after [`Past::look_again`].
    Later(Box<LaterAnswer>),
    /// A set has something to wait for; for others it is this failure.
    NotYet(NotYet, Fault),
    /// The provider is asked as often as it may be. For a call that does not wait for it, it is this failure.
    Limited(Limit, Fault),
    /// Somebody is asking the same: to be recalled when that is over, after [`Past::look_again`].
    UnderWay(Awaited),
    /// The same has been answered since `past` was read: to be recalled after [`Past::look_again`].
    Answered,
}

/// What can be said before anything is sent.
enum Before<'a> {
    ProviderOutcome(ProviderOutcome),
    /// It was answered before.
    Recalled(&'a Config, FieldSet, (Verdict, Answered)),
    /// Only the provider can tell.
    Ask,
}

/// The outcome that needs no request; `None`: only a request can tell. `missing`: the fields still to be filled.
pub fn recall(
    provider: &Rc<LoadedProvider>,
    asking: &Asking<'_>,
    missing: FieldSet,
) -> Option<ProviderOutcome> {
    match before(provider, asking, missing) {
        Before::ProviderOutcome(outcome) => Some(outcome),
        Before::Recalled(config, refused, verdict) => {
            let about = asking.about(provider);
            about.note_again(config, &asking.past.person, &verdict.0);
            Some(used_again(config, refused, &about, verdict))
        }
        Before::Ask => None,
    }
}

/// The same, where nothing comes of it: for the estimate.
pub fn foreseen(
    provider: &Rc<LoadedProvider>,
    asking: &Asking<'_>,
    missing: FieldSet,
) -> Option<ProviderOutcome> {
    match before(provider, asking, missing) {
        Before::ProviderOutcome(outcome) => Some(outcome),
        Before::Recalled(config, refused, verdict) => {
            Some(used_again(config, refused, &asking.about(provider), verdict))
        }
        Before::Ask => None,
    }
}

/// How far the question has come by what was handed in before. `missing`: the fields still to be filled.
pub fn inquiry_of(
    provider: &LoadedProvider,
    config: &Config,
    asking: &Asking<'_>,
    missing: FieldSet,
) -> Inquiry {
    let wanted = config.fills().intersect(missing);
    let known = under_way::under_way(provider, config, asking, wanted);
    known.map_or_else(|| Inquiry::new(wanted), |known| known.inquiry)
}

fn before<'a>(provider: &'a LoadedProvider, asking: &Asking<'a>, missing: FieldSet) -> Before<'a> {
    let answered = |verdict| Before::ProviderOutcome(ProviderOutcome::Answered(verdict));
    if asking.past.refused {
        return answered(Verdict::Suppressed);
    }
    let config = match &provider.config {
        Ok(config) => config,
        Err(error) => {
            let message = format!("its configuration is invalid at {}", error.place);
            return answered(Verdict::Failed(Fault::new(FaultKind::Internal, message)));
        }
    };
    if !config.identifies(&asking.past.person) {
        let shared = asking.past.person.shared.columns();
        return Before::ProviderOutcome(match shared.is_empty() {
            true => ProviderOutcome::Skipped,
            false => ProviderOutcome::OnlyShared(shared),
        });
    }
    let spared = asking.spared(provider).intersect(config.fills()).intersect(missing);
    let wanted = config.fills().intersect(missing).minus(spared);
    if wanted.is_empty() {
        // It would be paid for nothing that is wanted.
        return Before::ProviderOutcome(match spared.is_empty() {
            true => ProviderOutcome::NotWanted,
            false => no_match(spared),
        });
    }
    let Some(questions) = asking.past.questions.get(&provider.id) else {
        return Before::ProviderOutcome(ProviderOutcome::Skipped);
    };
    if let Some((verdict, answered_at)) = recalled(asking, (provider.id, config), questions, wanted) {
        let (terms, now) = (settings::receipt_terms(), clock::now_us());
        let refused = asking.past.rejected_since(answered_at, questions, terms, now);
        return Before::Recalled(config, refused, (verdict, Answered::Before(answered_at)));
    }
    if let Some(verdict) = supplied(provider, config, asking, wanted) {
        return Before::Recalled(config, FieldSet::EMPTY, (verdict, Answered::Now));
    }
    let rejected = rejected(asking, questions).intersect(wanted);
    let left = wanted.minus(rejected);
    let nothing = left.is_empty() || recalled(asking, (provider.id, config), questions, left).is_some();
    match !rejected.is_empty() && nothing {
        true if spared.is_empty() => Before::ProviderOutcome(ProviderOutcome::Rejected(rejected)),
        true => Before::ProviderOutcome(no_match(spared)),
        false => match under_way::given_up(provider, config, asking) {
            Some(fault) => answered(Verdict::Failed(fault)),
            None => Before::Ask,
        },
    }
}

/// Nothing, since what there was for `spared` was taken back.
fn no_match(spared: FieldSet) -> ProviderOutcome {
    let rest = ProviderOutcome::Answered(Verdict::NoMatch);
    match spared.is_empty() {
        true => rest,
        false => ProviderOutcome::Refused { fields: spared, rest: Box::new(rest) },
    }
}

/// What earlier steps of a question under way have supplied, where that is all that is wanted.
fn supplied(
    provider: &LoadedProvider,
    config: &Config,
    asking: &Asking<'_>,
    wanted: FieldSet,
) -> Option<Verdict> {
    let inquiry = under_way::under_way(provider, config, asking, wanted)?.inquiry;
    wanted.minus(inquiry.supplied()).is_empty().then(|| inquiry.so_far())
}

/// Fields of which the contact's table refused what this provider has: it would be paid again for nothing.
fn rejected(asking: &Asking<'_>, questions: &Questions) -> FieldSet {
    match asking.overwrite {
        true => FieldSet::EMPTY,
        false => asking.past.rejected(questions, settings::receipt_terms(), clock::now_us()),
    }
}

/// What was answered to the same question before, and when.
fn recalled(
    asking: &Asking<'_>,
    (provider, config): (Uuid, &Config),
    questions: &Questions,
    wanted: FieldSet,
) -> Option<(Verdict, i64)> {
    let (terms, now) = (settings::receipt_terms(), clock::now_us());
    // An answer that came since the call began, or was queued, or while it was waited for, is one to this very call: a job is not to
    // buy it again at each of its visits.
    let is_own = |r: &Receipt| {
        r.answered_at >= asking.since || asking.past.waited_for(questions.hashes[0], r.answered_at)
    };
    let anew = |r: &Receipt| asking.overwrite && !is_own(r);
    // Where nothing more was wanted, not all steps were sent.
    let is_whole = |r: &Receipt| !config.has_steps() || r.speaks_of(wanted);
    known(asking, questions).filter(|(r, _)| is_whole(r)).find_map(|(r, known)| {
        // What was taken back since it was answered is nothing, to who asks anew, too.
        let undone = undone::fields(
            asking.past.undone.iter().filter(|u| u.provider == provider && u.at >= r.answered_at),
        );
        let verdict = match undone.is_empty() {
            true => r.recall(terms, now, known, wanted, anew(r)),
            false => r.without(undone).recall(terms, now, known, wanted, anew(r)),
        };
        Some((verdict?, r.answered_at))
    })
}

/// See [`Questions::answered`].
fn known<'a>(asking: &'a Asking<'_>, questions: &'a Questions) -> impl Iterator<Item = (&'a Receipt, Hash)> {
    questions.answered(asking.contact, |hash| asking.past.receipts.get(hash))
}

/// What an answer comes to: nothing of one about somebody else.
fn used(config: &Config, about: &About, verdict: Verdict) -> ProviderOutcome {
    match about.is_somebody_else(&verdict) {
        true => ProviderOutcome::SharedProfile,
        false => {
            let (verdict, refused) = about.without_undone(verdict);
            without(refused.intersect(config.fills()), ProviderOutcome::Within(config.fills(), verdict))
        }
    }
}

/// `refused`: what of it is not used, since it was taken back before.
fn without(refused: FieldSet, rest: ProviderOutcome) -> ProviderOutcome {
    match refused.is_empty() {
        true => rest,
        false => ProviderOutcome::Refused { fields: refused, rest: Box::new(rest) },
    }
}

/// The same, where there may be more to come.
fn unfinished(config: &Config, about: &About, inquiry: &Inquiry, fault: Fault) -> ProviderOutcome {
    let so_far = inquiry.so_far();
    let so_far = if about.is_somebody_else(&so_far) { Verdict::NoMatch } else { so_far };
    // What is given up is waited for no more: the next provider is asked, as after a failure.
    let stops = fault.is_awaited() && config.when_pending() == WhenPending::Wait;
    let (so_far, refused) = about.without_undone(so_far);
    let fills = config.fills();
    without(
        refused.intersect(fills),
        ProviderOutcome::Unfinished {
            fills,
            so_far,
            to_come: inquiry.to_come(config),
            fault: Box::new(fault),
            stops,
        },
    )
}

/// Of a provider that has said that it answers later, and is not asked now.
pub fn awaited(config: &Config, fault: Fault) -> ProviderOutcome {
    let stops = fault.is_awaited() && config.when_pending() == WhenPending::Wait;
    let (fills, to_come) = (config.fills(), config.fills());
    ProviderOutcome::Unfinished { fills, so_far: Verdict::NoMatch, to_come, fault: Box::new(fault), stops }
}

/// The same of one that was given before; `refused`: the fields of which the contact's table did not take it then.
fn used_again(
    config: &Config,
    refused: FieldSet,
    about: &About,
    (verdict, answered): (Verdict, Answered),
) -> ProviderOutcome {
    match used(config, about, verdict) {
        ProviderOutcome::Within(fills, verdict) => {
            ProviderOutcome::Again { fills, refused, verdict, answered }
        }
        ProviderOutcome::Refused { fields, rest } => match *rest {
            ProviderOutcome::Within(fills, verdict) => {
                let rest = Box::new(ProviderOutcome::Again { fills, refused, verdict, answered });
                ProviderOutcome::Refused { fields, rest }
            }
            other => ProviderOutcome::Refused { fields, rest: Box::new(other) },
        },
        other => other,
    }
}

/// A failure of this provider, as calls are told of it. One whose request names no {secret} is asked without one, whatever it
/// wants.
pub fn told_of(provider: &LoadedProvider, config: &Config, fault: Fault) -> Fault {
    let mut fault = config.held(fault);
    if fault.kind == FaultKind::BadCredentials && provider.secret.is_none() {
        fault.message.push_str("; it was asked without a secret: its request has no {secret} in it");
    }
    fault
}

fn failed(kind: FaultKind, message: impl Into<String>) -> Asked {
    Asked::Done(ProviderOutcome::Answered(Verdict::Failed(Fault::new(kind, message))))
}

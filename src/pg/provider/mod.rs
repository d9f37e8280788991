//! Asking one provider: what is known already, whether it may be asked, the request, the answer.

mod again;
mod asker;
pub mod health;
mod past;
pub mod receipt_sink;
mod rejections;
mod sending;
pub mod shared_values;
mod throttle;
mod turn;

use crate::pg::installation;
use crate::pg::shared::receipts;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::pg::provider::shared_values::About;
use crate::pg::shared::wait;
use crate::pg::shared::wait::Sent;
use crate::pg::store::cache;
use crate::pg::store::config::LoadedProvider;
use crate::pg::store::suppressions;
use crate::pg::sys::raise;
use crate::pg::sys::settings;
use crate::pg::sys::spi;
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::{Answer, Config, Fault, FaultKind, HttpRequest, Verdict, Whom};
use leadlex_domain::question::Questions;
use leadlex_domain::receipt;
use leadlex_domain::receipt::{Receipt, Refusal};
use leadlex_domain::suppression;
use leadlex_domain::waterfall::ProviderOutcome;
use receipt_sink::ReceiptSink;

use again::Again;
pub use asker::{Asker, Limit, NotYet};
use asker::{Later, Refused};
pub use past::{Past, listed, pasts, person, person_in_row, questions};
pub use rejections::{Rejected, note_rejections};
use sending::admit;
pub use sending::{admit_in_time, can_be_sent, prepare, present_identity, send, time_for};
pub use throttle::{Queued, give_up, latest};
pub use turn::{Awaited, asked_to_wait, wait_for};

/// Enabled providers of a workspace, those for every workspace included, in the order of their priority.
///
/// Raises 55000: there is none, or each of them is disabled.
pub fn for_workspace(workspace: Uuid) -> Vec<(String, Rc<LoadedProvider>)> {
    let all = cache::providers();
    let here = |p: &&Rc<LoadedProvider>| serves(p, workspace);
    let enabled: Vec<_> =
        all.iter().filter(here).filter(|p| p.enabled).map(|p| (p.name.clone(), p.clone())).collect();
    if enabled.is_empty() {
        match all.iter().find(here) {
            Some(disabled) => raise::not_ready(
                "every data provider is disabled",
                format!("Run SELECT leadlex.enable_provider('{}', true).", disabled.name.replace('\'', "''")),
            ),
            None => none_configured(),
        }
    }
    enabled
}

/// 55000: the first step of setting up.
pub fn none_configured() -> ! {
    raise::not_ready(
        "no data provider is configured",
        "Run SELECT leadlex.add_provider('people_data_labs', preset => 'people_data_labs', secret => 'YOUR_KEY').",
    )
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
    pub person: Hash,
    pub overwrite: bool,
    pub past: &'a Past,
}

impl Asking<'_> {
    fn about(&self, provider: &LoadedProvider) -> About {
        About::new(self.workspace, provider.id, &self.past.person, &self.past.crowd)
    }
}

/// A provider that was asked: it has answered already, or its answer is awaited.
pub enum Asked {
    Done(ProviderOutcome),
    Waiting(Box<Flight>),
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
    Recalled(&'a Config, FieldSet, Verdict),
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
            about.note_again(config, &asking.past.person, &verdict);
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
    let wanted = config.fills().intersect(missing);
    if wanted.is_empty() {
        // It would be paid for nothing that is wanted.
        return answered(Verdict::NoMatch);
    }
    let Some(questions) = asking.past.questions.get(&provider.id) else {
        return Before::ProviderOutcome(ProviderOutcome::Skipped);
    };
    if let Some((verdict, answered_at)) = recalled(asking, questions, wanted) {
        let (terms, now) = (settings::receipt_terms(), clock::now_us());
        let refused = asking.past.rejected_since(answered_at, questions, terms, now);
        return Before::Recalled(config, refused, verdict);
    }
    let rejected = rejected(asking, questions).intersect(wanted);
    let left = wanted.minus(rejected);
    let nothing = left.is_empty() || recalled(asking, questions, left).is_some();
    match !rejected.is_empty() && nothing {
        true => Before::ProviderOutcome(ProviderOutcome::Rejected(rejected)),
        false => Before::Ask,
    }
}

/// Fields of which the contact's table refused what this provider has: it would be paid again for nothing.
fn rejected(asking: &Asking<'_>, questions: &Questions) -> FieldSet {
    match asking.overwrite {
        true => FieldSet::EMPTY,
        false => asking.past.rejected(questions, settings::receipt_terms(), clock::now_us()),
    }
}

/// What was answered to the same question before, and when.
fn recalled(asking: &Asking<'_>, questions: &Questions, wanted: FieldSet) -> Option<(Verdict, i64)> {
    let (terms, now) = (settings::receipt_terms(), clock::now_us());
    // An answer that came while it was waited for is one to this very call.
    let anew = |r: &Receipt| asking.overwrite && !asking.past.waited_for(questions.hashes[0], r.answered_at);
    known(asking, questions).find_map(|(r, known)| {
        let verdict = r.recall(terms, now, known, wanted, anew(r))?;
        Some((verdict, r.answered_at))
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
        false => ProviderOutcome::Within(config.fills(), verdict),
    }
}

/// The same of one that was given before; `refused`: the fields of which the contact's table did not take it then.
fn used_again(config: &Config, refused: FieldSet, about: &About, verdict: Verdict) -> ProviderOutcome {
    match used(config, about, verdict) {
        ProviderOutcome::Within(fills, verdict) => ProviderOutcome::Again { fills, refused, verdict },
        other => other,
    }
}

/// Puts the question to the provider, after [`recall`] had no answer; `wait::for_answers` ends when the answer is there.
/// `missing` are the fields still to be filled; `left` is what remains of the call's total time.
///
/// Raises 53000: no file descriptor is left for a request.
pub fn ask(
    provider: &Rc<LoadedProvider>,
    asking: &Asking<'_>,
    missing: FieldSet,
    left: Duration,
    asker: Asker,
) -> Asked {
    let (Ok(config), Some(questions)) = (&provider.config, asking.past.questions.get(&provider.id)) else {
        return Asked::Done(ProviderOutcome::Skipped);
    };
    if left.is_zero() {
        return failed(FaultKind::Timeout, "the call's total time was used up before it was its turn");
    }
    if let Err(fault) = announce(asking.person) {
        return Asked::Done(ProviderOutcome::Answered(Verdict::Failed(fault)));
    }
    let mut prepared = match prepare(provider, config, &asking.past.person) {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return Asked::Done(ProviderOutcome::Skipped),
        Err(fault) => return Asked::Done(ProviderOutcome::Answered(Verdict::Failed(fault))),
    };
    let claim = match turn::claim(config, questions, asking.past, left) {
        Ok(claim) => claim.map(Arc::new),
        Err(others) => return turn::of_others(config, others, questions.hashes[0]),
    };
    if let Some(header) = config.idempotency_header() {
        let key = request_key(asking, questions, missing, &prepared.request);
        prepared.request.headers.push((header.to_owned(), key.to_string()));
    }
    let in_flight = match admit(provider, config, prepared.question, left, asker) {
        Ok(in_flight) => in_flight,
        Err(Refused { later: Some(Later::NotYet(why)), fault }) => return Asked::NotYet(why, fault),
        Err(Refused { later: Some(Later::Limited(limit)), fault }) => return Asked::Limited(limit, fault),
        Err(Refused { later: None, fault }) => {
            return Asked::Done(ProviderOutcome::Answered(Verdict::Failed(fault)));
        }
    };
    let about = asking.about(provider);
    let receipt_sink = ReceiptSink {
        key: installation::receipt_key(questions.hashes[0]),
        person: asking.person,
        known: questions.known,
        terms: settings::receipt_terms(),
        config: Arc::clone(config),
        whom: config.whom(&asking.past.person),
        request: prepared.request.clone(),
        workspace: asking.workspace,
        provider: provider.id,
        refusal: refusal(provider, asking),
        sighting: about.sighting(config, &asking.past.person),
        in_flight,
        until: sending::longest_wait(config, left),
        claim,
        repeats: config.idempotency_header().is_some(),
    };
    let (again, whom) = (Again::of(config, &receipt_sink, left), receipt_sink.whom.clone());
    let (keep, kept) = receipt_sink.start();
    match send(config, prepared.request, left, keep, asker.on()) {
        Ok(sent) => Asked::Waiting(Box::new(Flight {
            provider: Rc::clone(provider),
            config: Arc::clone(config),
            whom,
            about,
            kept,
            sent,
            again,
        })),
        Err(fault) => Asked::Done(ProviderOutcome::Answered(Verdict::Failed(fault))),
    }
}

/// Notes that somebody is about to be asked about. `Err` where there might be no room to keep that the provider refuses.
fn announce(person: Hash) -> Result<(), Fault> {
    let uptime = clock::uptime_s();
    let has_room = receipts::with(|arena| {
        arena.note_request(person, uptime);
        arena.has_room_for_refusals()
    });
    let message = "not sent: so many refusals wait to be written that there might be no room to keep one more (leadlex.worker_status)";
    if has_room { Ok(()) } else { Err(Fault::new(FaultKind::Busy, message)) }
}

/// By which a provider that knows repetitions tells this request from others.
fn request_key(asking: &Asking<'_>, questions: &Questions, missing: FieldSet, request: &HttpRequest) -> Uuid {
    let answered = known(asking, questions).map(|(receipt, _)| receipt.answered_at).max();
    let off = settings::receipt_terms().off();
    let epoch = answered.unwrap_or(if off { clock::now_us() / MICROSECONDS_A_DAY } else { 0 });
    receipt::request_key(asking.workspace, asking.table, missing, &request.masked(), epoch)
}

/// What is kept should the provider refuse to tell anything about this person.
fn refusal(provider: &LoadedProvider, asking: &Asking<'_>) -> Refusal {
    Refusal {
        people: suppression::of_refusal(&asking.past.person),
        workspace: provider.workspace,
        source: provider.name.clone(),
    }
}

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// A request whose answer is awaited.
pub struct Flight {
    provider: Rc<LoadedProvider>,
    config: Arc<Config>,
    whom: Whom,
    about: About,
    kept: receipt_sink::Kept,
    sent: Sent,
    again: Option<Again>,
}

impl Flight {
    /// Waits for the answer, at most for the time that the request has; interrupts are served. If the first
    /// request stays unanswered, it is sent once more where that is harmless.
    pub fn wait(mut self) -> ProviderOutcome {
        let again = self.again.take();
        let (mut kept, mut answer) = (self.kept, self.sent.wait());
        if let Some((new_kept, sent)) = once_more(again, &self.provider, &self.config, &answer) {
            (kept, answer) = (new_kept, sent.wait());
        }
        landed(&self.provider, (&self.config, &self.whom, &self.about), &kept, answer)
    }

    /// What has come of it, if it is over.
    pub fn try_take(&mut self) -> Option<ProviderOutcome> {
        let answer = self.sent.try_take()?;
        if let Some((kept, sent)) = once_more(self.again.take(), &self.provider, &self.config, &answer) {
            (self.kept, self.sent) = (kept, sent);
            return None;
        }
        Some(landed(&self.provider, (&self.config, &self.whom, &self.about), &self.kept, answer))
    }

    /// How long the request may still take; zero when its time is over.
    pub fn left(&self) -> Duration {
        self.sent.left()
    }
}

/// The request on its way once more, if nothing is known of the first and a repetition does no harm.
fn once_more(
    again: Option<Again>,
    provider: &LoadedProvider,
    config: &Config,
    answer: &Result<Answer, Fault>,
) -> Option<(receipt_sink::Kept, Sent)> {
    again.filter(|_| answer.as_ref().is_err_and(|fault| fault.unanswered))?.send(provider, config)
}

fn landed(
    provider: &LoadedProvider,
    (config, whom, about): (&Config, &Whom, &About),
    kept: &receipt_sink::Kept,
    answer: Result<Answer, Fault>,
) -> ProviderOutcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(fault) => {
            // A failure leaves no receipt that would call the worker.
            workers::call_if_away();
            return ProviderOutcome::Answered(Verdict::Failed(fault));
        }
    };
    let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(unwritten) = &kept.unwritten {
        unwritten.wait(wait::nap);
    }
    match (kept.dropped, &kept.unkept) {
        (Some(why), Some(refusal)) => write_refusal(provider, refusal, why),
        (Some(why), None) => pgrx::ereport!(
            pgrx::PgLogLevel::WARNING,
            pgrx::PgSqlErrorCode::ERRCODE_WARNING,
            format!("the answer of provider {} could not be kept: {why}", provider.name),
            "It is used now, but if this transaction does not commit, asking again costs again."
        ),
        (None, _) => {}
    }
    let verdict = kept.verdict.unwrap_or_else(|| config.read_all(&answer, clock::now(), whom).0);
    if matches!(verdict, Verdict::Failed(_)) {
        // It leaves no receipt either, and has to be counted.
        workers::call_if_away();
    }
    used(config, about, told(provider, verdict))
}

/// Puts on the list, with this transaction, whom a provider refuses to tell anything about: there was no room for that
/// outside of it.
fn write_refusal(provider: &LoadedProvider, refusal: &Refusal, why: &str) {
    suppressions::file(refusal);
    raise::warning(
        &format!("the refusal of provider {} is kept with this transaction only: {why}", provider.name),
        "If it does not commit, this person may be asked about again.",
        "Put the person on the list with leadlex.suppress(value). See leadlex.worker_status for why the worker does not write.",
        &spi::About::default(),
    );
}

/// A provider whose request names no {secret} is asked without one, whatever it wants.
pub fn told(provider: &LoadedProvider, mut verdict: Verdict) -> Verdict {
    if let (Verdict::Failed(fault), Ok(config)) = (&mut verdict, &provider.config) {
        *fault = config.held(fault.clone());
    }
    if let Verdict::Failed(fault) = &mut verdict
        && fault.kind == FaultKind::BadCredentials
        && provider.secret.is_none()
    {
        fault.message.push_str("; it was asked without a secret: its request has no {secret} in it");
    }
    verdict
}

fn failed(kind: FaultKind, message: impl Into<String>) -> Asked {
    Asked::Done(ProviderOutcome::Answered(Verdict::Failed(Fault::new(kind, message))))
}

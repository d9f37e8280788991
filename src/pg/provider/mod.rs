//! Asking one provider: what is known already, whether it may be asked, the request, the answer.

mod again;
mod past;
mod sending;

use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::raise;
use super::receipts::{self, Keeper};
use super::shared_values::{About, Crowd};
use super::store::config::LoadedProvider;
use super::wait::Sent;
use super::{accounts, cache, settings, worker};
use crate::domain::contact::Contact;
use crate::domain::fields::FieldSet;
use crate::domain::provider::{Answer, Config, Fault, FaultKind, Verdict};
use crate::domain::question::Questions;
use crate::domain::receipt::{self, Hash, Receipt, Refusal};
use crate::domain::suppression;
use crate::domain::waterfall::Outcome;

use again::Again;
pub use past::{Past, pasts, person, questions, receipt_key};
pub use sending::{Asker, NotYet, Refused, admit, can_be_sent, prepare, present_identity, send};

/// Enabled providers of a workspace, those for every workspace included, in the order of their priority.
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
    /// What the contacts of one set have in common.
    pub crowd: &'a Crowd,
}

impl Asking<'_> {
    fn about(&self, provider: &LoadedProvider) -> About {
        About::new(self.workspace, provider.id, &self.past.person, self.crowd)
    }
}

/// A provider that was asked: it has answered already, or its answer is awaited.
pub enum Asked {
    Done(Outcome),
    Waiting(Box<Flight>),
    /// A set has something to wait for; for others it is this failure.
    NotYet(NotYet, Fault),
}

/// Asks, and waits for the answer. `missing` are the fields still to be filled; `left` is what remains of the call's
/// total time.
pub fn ask(provider: &Rc<LoadedProvider>, asking: &Asking<'_>, missing: FieldSet, left: Duration) -> Outcome {
    match begin(provider, asking, missing, left, Asker::Single) {
        Asked::Done(outcome) => outcome,
        Asked::Waiting(flight) => flight.wait(),
        Asked::NotYet(_, fault) => Outcome::Answered(Verdict::Failed(fault)),
    }
}

/// What can be said before anything is sent.
enum Before<'a> {
    Outcome(Outcome),
    /// It was answered before.
    Recalled(&'a Config, Verdict),
    /// Only the provider can tell.
    Ask(&'a Arc<Config>, &'a Questions),
}

/// The outcome that needs no request; `None` where one would be sent, if the provider can be asked now.
pub fn foreseen(provider: &Rc<LoadedProvider>, asking: &Asking<'_>, missing: FieldSet) -> Option<Outcome> {
    match before(provider, asking, missing) {
        Before::Outcome(outcome) => Some(outcome),
        Before::Recalled(config, verdict) => Some(used(config, &asking.about(provider), verdict)),
        Before::Ask(..) => None,
    }
}

/// Asks; `wait::for_answers` ends when the answer is there.
pub fn begin(
    provider: &Rc<LoadedProvider>,
    asking: &Asking<'_>,
    missing: FieldSet,
    left: Duration,
    asker: Asker,
) -> Asked {
    match before(provider, asking, missing) {
        Before::Outcome(outcome) => Asked::Done(outcome),
        Before::Recalled(config, verdict) => {
            let about = asking.about(provider);
            about.note_again(config, &asking.past.person, &verdict);
            Asked::Done(used(config, &about, verdict))
        }
        Before::Ask(config, questions) => put(provider, (config, questions), asking, missing, left, asker),
    }
}

fn before<'a>(provider: &'a LoadedProvider, asking: &Asking<'a>, missing: FieldSet) -> Before<'a> {
    let answered = |verdict| Before::Outcome(Outcome::Answered(verdict));
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
        return Before::Outcome(match shared.is_empty() {
            true => Outcome::Skipped,
            false => Outcome::OnlyShared(shared),
        });
    }
    let wanted = config.fills().intersect(missing);
    if wanted.is_empty() {
        // It would be paid for nothing that is wanted.
        return answered(Verdict::NoMatch);
    }
    let Some(questions) = asking.past.questions.get(&provider.id) else {
        return Before::Outcome(Outcome::Skipped);
    };
    match recalled(asking, questions, wanted) {
        Some(verdict) => Before::Recalled(config, verdict),
        None => Before::Ask(config, questions),
    }
}

/// What was answered to the same question before.
fn recalled(asking: &Asking<'_>, questions: &Questions, wanted: FieldSet) -> Option<Verdict> {
    let (terms, now) = (settings::receipt_terms(), accounts::now_us());
    known(asking, questions)
        .find_map(|(receipt, known)| receipt.recall(terms, now, known, wanted, asking.overwrite))
}

/// See [`Questions::answered`].
fn known<'a>(asking: &'a Asking<'_>, questions: &'a Questions) -> impl Iterator<Item = (&'a Receipt, Hash)> {
    questions.answered(asking.contact, |hash| asking.past.receipts.get(hash))
}

/// What an answer comes to: nothing of one about somebody else.
fn used(config: &Config, about: &About, verdict: Verdict) -> Outcome {
    match about.is_somebody_else(&verdict) {
        true => Outcome::SharedProfile,
        false => Outcome::Answered(only(config.fills(), verdict)),
    }
}

/// Everything that is read is kept, but only this is used.
fn only(fills: FieldSet, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Match { values, confidence } => {
            let used = values.iter().filter(|(field, _)| fills.contains(*field));
            Verdict::Match { values: used.map(|(field, value)| (field, value.clone())).collect(), confidence }
        }
        other => other,
    }
}

/// Puts the question to the provider.
fn put(
    provider: &Rc<LoadedProvider>,
    (config, questions): (&Arc<Config>, &Questions),
    asking: &Asking<'_>,
    missing: FieldSet,
    left: Duration,
    asker: Asker,
) -> Asked {
    if left.is_zero() {
        return failed(FaultKind::Timeout, "the call's total time was used up before it was its turn");
    }
    let mut prepared = match prepare(provider, config, &asking.past.person) {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return Asked::Done(Outcome::Skipped),
        Err(fault) => return Asked::Done(Outcome::Answered(Verdict::Failed(fault))),
    };
    if let Some(header) = config.idempotency_header() {
        let answered = known(asking, questions).map(|(receipt, _)| receipt.answered_at).max();
        let off = settings::receipt_terms().off();
        let epoch = answered.unwrap_or(if off { accounts::now_us() / MICROSECONDS_A_DAY } else { 0 });
        let request = prepared.request.masked();
        let key = receipt::request_key(asking.workspace, asking.table, missing, &request, epoch);
        prepared.request.headers.push((header.to_owned(), key.to_string()));
    }
    let errand = match admit(provider, config, prepared.question, left, asker) {
        Ok(errand) => errand,
        Err(Refused { not_yet: Some(why), fault }) => return Asked::NotYet(why, fault),
        Err(Refused { not_yet: None, fault }) => {
            return Asked::Done(Outcome::Answered(Verdict::Failed(fault)));
        }
    };
    let about = asking.about(provider);
    let keeper = Keeper {
        key: receipt_key(questions.hashes[0]),
        person: asking.person,
        known: questions.known,
        terms: settings::receipt_terms(),
        config: Arc::clone(config),
        request: prepared.request.clone(),
        workspace: asking.workspace,
        provider: provider.id,
        refusal: Refusal {
            people: suppression::of_refusal(&asking.past.person),
            workspace: provider.workspace,
            source: provider.name.clone(),
        },
        sighting: about.sighting(config, &asking.past.person),
        errand,
    };
    let again = Again::of(config, &keeper, left);
    let (keep, kept) = keeper.start();
    match send(config, prepared.request, left, keep) {
        Ok(sent) => Asked::Waiting(Box::new(Flight {
            provider: Rc::clone(provider),
            config: Arc::clone(config),
            about,
            kept,
            sent,
            again,
        })),
        Err(fault) => Asked::Done(Outcome::Answered(Verdict::Failed(fault))),
    }
}

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// A request whose answer is awaited.
pub struct Flight {
    provider: Rc<LoadedProvider>,
    config: Arc<Config>,
    about: About,
    kept: receipts::Kept,
    sent: Sent,
    again: Option<Again>,
}

impl Flight {
    pub fn wait(mut self) -> Outcome {
        let again = self.again.take();
        let (mut kept, mut answer) = (self.kept, self.sent.wait());
        if let Some((new_kept, sent)) = once_more(again, &self.provider, &self.config, &answer) {
            (kept, answer) = (new_kept, sent.wait());
        }
        landed(&self.provider, &self.config, &self.about, &kept, answer)
    }

    /// What has come of it, if it is over.
    pub fn try_take(&mut self) -> Option<Outcome> {
        let answer = self.sent.try_take()?;
        if let Some((kept, sent)) = once_more(self.again.take(), &self.provider, &self.config, &answer) {
            (self.kept, self.sent) = (kept, sent);
            return None;
        }
        Some(landed(&self.provider, &self.config, &self.about, &self.kept, answer))
    }

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
) -> Option<(receipts::Kept, Sent)> {
    again.filter(|_| answer.as_ref().is_err_and(|fault| fault.unanswered))?.send(provider, config)
}

fn landed(
    provider: &LoadedProvider,
    config: &Config,
    about: &About,
    kept: &receipts::Kept,
    answer: Result<Answer, Fault>,
) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(fault) => {
            // A failure leaves no receipt that would call the worker.
            worker::call_if_away();
            return Outcome::Answered(Verdict::Failed(fault));
        }
    };
    let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(why) = kept.dropped {
        pgrx::ereport!(
            pgrx::PgLogLevel::WARNING,
            pgrx::PgSqlErrorCode::ERRCODE_WARNING,
            format!("the answer of provider {} could not be kept: {why}", provider.name),
            "It is used now, but if this transaction does not commit, asking again costs again."
        );
    }
    let verdict = kept.verdict.unwrap_or_else(|| config.read(&answer, accounts::now()));
    if matches!(verdict, Verdict::Failed(_)) {
        // It leaves no receipt either, and has to be counted.
        worker::call_if_away();
    }
    used(config, about, told(provider, verdict))
}

/// A provider whose request names no {secret} is asked without one, whatever it wants.
pub fn told(provider: &LoadedProvider, mut verdict: Verdict) -> Verdict {
    if let Verdict::Failed(fault) = &mut verdict
        && fault.kind == FaultKind::BadCredentials
        && provider.secret.is_none()
    {
        fault.message.push_str("; it was asked without a secret: its request has no {secret} in it");
    }
    verdict
}

fn failed(kind: FaultKind, message: impl Into<String>) -> Asked {
    Asked::Done(Outcome::Answered(Verdict::Failed(Fault::new(kind, message))))
}

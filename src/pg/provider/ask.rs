//! Puts a question to a provider.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::pg::installation;
use crate::pg::provider::again::Again;
use crate::pg::provider::flight::{self, Flight};
use crate::pg::provider::login::log_in;
use crate::pg::provider::receipt_sink::ReceiptSink;
use crate::pg::provider::sending::{Prepared, Ready, longest_wait};
use crate::pg::provider::under_way::{place, under_way};
use crate::pg::provider::{Asked, Asker, Asking, Refused, admit, failed, known, prepare, send, turn, used};
use crate::pg::shared::receipts;
use crate::pg::store::config::LoadedProvider;
use crate::pg::sys::clock;
use crate::pg::sys::settings;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::{Config, Fault, FaultKind, HttpRequest, Inquiry, Verdict};
use leadlex_domain::question::Questions;
use leadlex_domain::receipt;
use leadlex_domain::receipt::Refusal;
use leadlex_domain::suppression;
use leadlex_domain::waterfall::ProviderOutcome;

/// Puts the question to the provider, after [`super::recall`] had no answer, or goes on with what is under way;
/// `wait::for_answers` ends when the answer is there. `missing` are the fields still to be filled; `left` is what remains of
/// the call's total time.
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
    let (wanted, about) = (config.fills().intersect(missing), asking.about(provider));
    let under_way = under_way(provider, config, asking, wanted);
    if let Some(later) = under_way.as_ref().and_then(|under_way| under_way.later(config, &about, left)) {
        return Asked::Later(Box::new(later));
    }
    if left.is_zero() {
        return failed(FaultKind::Timeout, "the call's total time was used up before it was its turn");
    }
    let failed = |fault: Fault| {
        Asked::Done(match &under_way {
            Some(under_way) => {
                under_way.note_pause(provider, config, asking, &fault);
                under_way.so_far(config, &about, fault)
            }
            None => ProviderOutcome::Answered(Verdict::Failed(fault)),
        })
    };
    if let Err(fault) = announce(asking.person) {
        return failed(fault);
    }
    let until = Instant::now() + left;
    let mut inquiry = under_way.as_ref().map_or_else(|| Inquiry::new(wanted), |known| known.inquiry.clone());
    if asking.past.was_denied(provider.id) {
        inquiry = inquiry.denied();
    }
    let mut ready = prepare(provider, config, (&inquiry, &asking.past.person), None);
    let mut login = None;
    if let Ok(Ready::LogIn) = ready {
        let held = match log_in(provider, config, left, asker) {
            Ok(held) => held,
            Err(Refused { not_yet: Some(why), fault }) => return Asked::NotYet(why, fault),
            Err(Refused { not_yet: None, fault }) => return failed(fault),
        };
        login = Some(held.place());
        ready = prepare(provider, config, (&inquiry, &asking.past.person), Some(&held.values));
    }
    let left = until.saturating_duration_since(Instant::now());
    let mut prepared = match ready {
        Ok(Ready::Send(prepared)) => *prepared,
        Ok(Ready::Nothing(None)) => return Asked::Done(ProviderOutcome::Skipped),
        Ok(Ready::Nothing(Some(so_far))) => return Asked::Done(used(config, &about, so_far)),
        Ok(Ready::LogIn) => return failed(Fault::new(FaultKind::Internal, "the login gave nothing")),
        Err(fault) => return failed(fault),
    };
    let claim = match turn::claim(config, questions, asking.past, left) {
        Ok(claim) => claim.map(Arc::new),
        Err(others) => return turn::of_others(others, questions.hashes[0]),
    };
    let repeats = add_request_key(config, (asking, questions, missing), &inquiry, &mut prepared);
    let in_flight = match admit(provider, config, prepared.question, left, asker) {
        Ok(in_flight) => in_flight,
        Err(Refused { not_yet: Some(why), fault }) => return Asked::NotYet(why, fault),
        Err(Refused { not_yet: None, fault }) => return failed(fault),
    };
    let sink = ReceiptSink {
        key: installation::receipt_key(questions.hashes[0]),
        person: asking.person,
        known: questions.known,
        terms: settings::receipt_terms(),
        config: Arc::clone(config),
        whom: config.whom(&asking.past.person),
        request: prepared.request.clone(),
        inquiry: inquiry.clone(),
        ticket: place(provider, asking, under_way.as_ref()),
        login,
        workspace: asking.workspace,
        provider: provider.id,
        refusal: refusal(provider, asking),
        sighting: about.sighting(config, &asking.past.person),
        in_flight,
        until: longest_wait(config, left),
        claim,
        repeats,
    };
    let asked = flight::Asked {
        provider: Rc::clone(provider),
        config: Arc::clone(config),
        about,
        inquiry,
        ticket: sink.ticket.as_ref().map(|place| place.question),
        in_full: sink.in_flight.in_full,
    };
    fly(asked, sink, prepared, left, asker)
}

fn fly(asked: flight::Asked, sink: ReceiptSink, prepared: Prepared, left: Duration, asker: Asker) -> Asked {
    let again = Again::of(&sink, left);
    let (keep, kept) = sink.start();
    match send(&asked.config, prepared.request, left, keep, asker.on()) {
        Ok(sent) => Asked::Waiting(Box::new(Flight { asked, kept, sent, again })),
        Err(fault) => Asked::Done(ProviderOutcome::Answered(Verdict::Failed(fault))),
    }
}

/// Marks the request, where the provider knows repetitions by that; whether it does. To ask whether something is ready is no
/// repetition of having asked before.
fn add_request_key(
    config: &Config,
    (asking, questions, missing): (&Asking<'_>, &Questions, FieldSet),
    inquiry: &Inquiry,
    prepared: &mut Prepared,
) -> bool {
    let Some(header) = config.idempotency_header().filter(|_| !inquiry.is_poll(config)) else { return false };
    let key = request_key(asking, questions, missing, &prepared.request);
    prepared.request.headers.push((header.to_owned(), key.to_string()));
    true
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

/// Of a day.
const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

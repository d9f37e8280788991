//! Puts a question to a provider.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pg::installation;
use crate::pg::provider::again::Again;
use crate::pg::provider::asker::Postponed;
use crate::pg::provider::flight::{self, Flight};
use crate::pg::provider::health::InFlightRequest;
use crate::pg::provider::login::{self, log_in};
use crate::pg::provider::receipt_sink::{ReceiptSink, TicketPlace};
use crate::pg::provider::sending::{
    Prepared, Ready, RequestTime, admit_for, longest_wait, send_for_all, time_for, time_left,
};
use crate::pg::provider::shared_values::About;
use crate::pg::provider::spending::{Purpose, Spender, counts_on};
use crate::pg::provider::under_way::{self, UnderWay, place, under_way};
use crate::pg::provider::{Asked, Asker, Asking, Refused, failed, known, prepare, send, told_of, turn, used};
use crate::pg::shared::receipts;
use crate::pg::shared::single_flight::QuestionClaim;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::stop;
use crate::pg::sys::clock;
use crate::pg::sys::settings;
use leadlex_domain::contact_row::ContactRow;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::money::Amount;
use leadlex_domain::person::Person;
use leadlex_domain::provider::{Config, Fault, FaultKind, HttpRequest, Inquiry, Verdict};
use leadlex_domain::question::Questions;
use leadlex_domain::receipt;
use leadlex_domain::receipt::ProviderRefusal;
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
    if let Some(fault) = stop::fault() {
        return Asked::Done(passed_over(provider, asking, missing, fault));
    }
    let wanted = config.fills().intersect(missing).minus(asking.spared(provider));
    let under_way = under_way(provider, config, asking, wanted);
    let put = Put { provider, config, asking, questions, missing, under_way, asker };
    let about = asking.about(provider);
    if let Some(under_way) = &put.under_way
        && let Some(fault) = under_way.ticket.fault()
    {
        return Asked::Done(under_way.so_far(config, &about, told_of(provider, config, fault)));
    }
    if let Some(later) = put.under_way.as_ref().and_then(|under_way| under_way.later(config, &about, left)) {
        return Asked::Later(Box::new(later));
    }
    if left.is_zero() {
        return failed(FaultKind::Timeout, "the call's total time was used up before it was its turn");
    }
    match announce(asking.row()) {
        Ok(()) => put.send(Inquiry::new(wanted), about, left),
        Err(fault) => put.failed(&about, fault),
    }
}

/// What it comes to that the provider is not waited for any more, before it is asked: what earlier steps have supplied stands.
pub fn passed_over(
    provider: &LoadedProvider,
    asking: &Asking<'_>,
    missing: FieldSet,
    fault: Fault,
) -> ProviderOutcome {
    let so_far = provider.config.as_ref().ok().and_then(|config| {
        let under_way = under_way(provider, config, asking, config.fills().intersect(missing))?;
        Some(under_way.so_far(config, &asking.about(provider), fault.clone()))
    });
    so_far.unwrap_or(ProviderOutcome::Answered(Verdict::Failed(fault)))
}

/// A question that is put now, or goes on.
struct Put<'a> {
    provider: &'a Rc<LoadedProvider>,
    config: &'a Arc<Config>,
    asking: &'a Asking<'a>,
    questions: &'a Questions,
    missing: FieldSet,
    under_way: Option<UnderWay<'a>>,
    asker: Asker,
}

impl Put<'_> {
    /// `new`: the question, where it has not been put yet.
    fn send(&self, new: Inquiry, about: About, left: Duration) -> Asked {
        let Put { provider, config, asking, questions, asker, .. } = *self;
        let until = Instant::now() + left;
        let mut inquiry = self.under_way.as_ref().map_or(new, |known| known.inquiry.clone());
        if asking.past.was_denied(provider.id) {
            inquiry = inquiry.denied();
        }
        let wanted = config.fills().intersect(self.missing);
        let fields = Some(config.maps_of(wanted));
        let spender = Spender {
            workspace: asking.workspace,
            // What an answer under way can cost is kept free already.
            fields: fields.filter(|_| self.under_way.is_none()),
            wanted,
            supplied: inquiry.supplied(),
            contacts: 1,
            held: Amount::ZERO,
            purpose: Purpose::of(config, &inquiry, None),
            logs_in: false,
            is_kept: false,
        };
        let asked = (&inquiry, &asking.past.person, spender);
        let (mut prepared, login) = match prepare_logged_in(provider, config, asked, left, asker) {
            Ok((Ready::Send(prepared), login)) => (prepared, login),
            Ok((Ready::Nothing(None), _)) => return Asked::Done(ProviderOutcome::Skipped),
            Ok((Ready::Nothing(Some(so_far)), _)) => return Asked::Done(used(config, &about, so_far)),
            Ok((Ready::LogIn(_), _)) => {
                return self.failed(&about, Fault::new(FaultKind::Internal, "the login gave nothing"));
            }
            Err(refused) => return self.refused(&about, refused),
        };
        let left = until.saturating_duration_since(Instant::now());
        let time = time_left(config, inquiry.hands_in(config), left);
        let claim = match turn::claim(config, questions, asking.past, time) {
            Ok(claim) => claim.map(Arc::new),
            Err(others) => {
                let asked = turn::of_others(config, others, questions.hashes[0]);
                return under_way::still_asked(asked, self.under_way.as_ref(), config, &about);
            }
        };
        let repeats = self.add_request_key(&inquiry, Arc::make_mut(&mut prepared.request));
        let held = self.under_way.as_ref().and_then(|known| known.held(provider, claim.is_some()));
        let held_for_it = held.as_ref().map(|hold| counts_on(config, hold)).unwrap_or_default();
        let spender = Spender { fields, held: held_for_it, ..spender };
        let times = RequestTime { whole: time_for(config), left: time, call: left };
        let in_flight = match admit_for(provider, config, (prepared.question, spender), times, asker) {
            Ok(in_flight) => in_flight,
            Err(refused) => return self.refused(&about, refused),
        };
        let ticket = place(provider, asking, self.under_way.as_ref(), held);
        let start = Start { ticket, inquiry, login, claim, in_flight, repeats };
        let sink = start.sink(provider, config, (asking, questions, &about), (&prepared.request, left));
        let asked = flight::SentQuestion {
            provider: Rc::clone(provider),
            config: Arc::clone(config),
            about,
            inquiry: sink.inquiry.clone(),
            ticket: sink.ticket.as_ref().map(|place| place.question),
            ends: self.under_way.as_ref().map(|known| known.ticket.ends(config)),
            in_full: sink.in_flight.in_full,
        };
        let again = Again::of(&sink, spender, left);
        fly((asked, again), sink, prepared, left, asker)
    }

    fn refused(&self, about: &About, refused: Refused) -> Asked {
        let Refused { fault, later } = refused;
        match later {
            Some(Postponed::NotYet(why)) => Asked::NotYet(why, fault),
            later => {
                self.note_pause(&fault);
                let owed = self
                    .under_way
                    .as_ref()
                    .and_then(|known| known.after_pause(self.config, about, (&fault, later), self.asker));
                match (owed, later) {
                    (Some(owed), _) => Asked::Later(Box::new(owed)),
                    (None, Some(Postponed::Limited(limit))) => Asked::Limited(limit, fault),
                    _ => self.failed(about, fault),
                }
            }
        }
    }

    /// Marks the request, where the provider knows repetitions by that; whether it does. To ask whether something is ready is no
    /// repetition of having asked before.
    fn add_request_key(&self, inquiry: &Inquiry, request: &mut HttpRequest) -> bool {
        let header = self.config.idempotency_header().filter(|_| !inquiry.is_poll(self.config));
        let Some(header) = header else { return false };
        let Put { asking, missing, .. } = *self;
        let key =
            receipt::request_key(asking.workspace, asking.table, missing, &request.masked(), self.epoch());
        request.headers.push((header.to_owned(), key.to_string()));
        true
    }

    /// With another one a request is no repetition, though it is the same: when the question was answered or given up last, or
    /// when what goes on was handed in.
    fn epoch(&self) -> i64 {
        match &self.under_way {
            Some(under_way) => under_way.ticket.submitted_at,
            None => epoch(self.provider, self.asking, self.questions),
        }
    }

    fn note_pause(&self, fault: &Fault) {
        if let Some(under_way) = &self.under_way {
            under_way.note_pause(self.provider, self.config, self.asking, fault);
        }
    }

    /// Nothing was sent: what there is by now, and why there is no more.
    fn failed(&self, about: &About, fault: Fault) -> Asked {
        Asked::Done(match &self.under_way {
            Some(under_way) => under_way.so_far(self.config, about, fault),
            None => ProviderOutcome::Answered(Verdict::Failed(fault)),
        })
    }
}

/// All that is decided before a request is sent.
struct Start {
    inquiry: Inquiry,
    ticket: Option<TicketPlace>,
    login: Option<login::Place>,
    claim: Option<Arc<QuestionClaim>>,
    in_flight: InFlightRequest,
    repeats: bool,
}

impl Start {
    fn sink(
        self,
        provider: &LoadedProvider,
        config: &Arc<Config>,
        (asking, questions, about): (&Asking<'_>, &Questions, &About),
        (request, left): (&Arc<HttpRequest>, Duration),
    ) -> ReceiptSink {
        let Start { inquiry, ticket, login, claim, in_flight, repeats } = self;
        ReceiptSink {
            key: installation::receipt_key(questions.hashes[0]),
            person: asking.person,
            known: questions.known,
            terms: settings::receipt_terms(),
            config: Arc::clone(config),
            whom: config.whom(&asking.past.person),
            request: Arc::clone(request),
            inquiry,
            ticket,
            login,
            workspace: asking.workspace,
            provider: provider.id,
            refusal: refusal(provider, asking),
            sighting: about.sighting(config, &asking.past.person),
            in_flight,
            until: longest_wait(config, left),
            claim,
            repeats,
            keeps_by: None,
        }
    }
}

/// The next request of a question, with what the provider's login gives where it names that; and which login it was. `next`: what
/// that request is sent for.
pub fn prepare_logged_in(
    provider: &LoadedProvider,
    config: &Arc<Config>,
    (inquiry, person, next): (&Inquiry, &Person, Spender),
    left: Duration,
    asker: Asker,
) -> Result<(Ready, Option<login::Place>), Refused> {
    let asked = (inquiry, person);
    let refused = |fault| Refused { fault, later: None };
    let ready = prepare(provider, config, asked, None).map_err(refused)?;
    let question = match ready {
        Ready::LogIn(question) => question,
        Ready::Send(prepared) => {
            return Ok((Ready::Send(login::hidden_in(provider, config, prepared)), None));
        }
        Ready::Nothing(so_far) => return Ok((Ready::Nothing(so_far), None)),
    };
    let held = log_in(provider, config, (question, next), (left, asker))?;
    let ready = prepare(provider, config, asked, Some(&held.values)).map_err(refused)?;
    Ok((ready, Some(held.place())))
}

fn fly(
    (asked, again): (flight::SentQuestion, Option<Again>),
    sink: ReceiptSink,
    prepared: Prepared,
    left: Duration,
    asker: Asker,
) -> Asked {
    let request = (prepared.request, sink.inquiry.hands_in(&sink.config));
    let (keep, kept) = sink.start();
    let sent = match asked.inquiry.place() {
        // The answer is about all that were handed in together.
        Some(place) => {
            let time = time_for(&asked.config).min(time_left(&asked.config, request.1, left));
            send_for_all(request, (place.of, time), left, keep)
        }
        None => send(&asked.config, request, left, keep, asker.on()),
    };
    match sent {
        Ok(sent) => Asked::Waiting(Box::new(Flight { asked, kept, sent, again })),
        Err(fault) => Asked::Done(ProviderOutcome::Answered(Verdict::Failed(fault))),
    }
}

/// See [`Put::epoch`], of a question that is new or begins anew.
pub fn epoch(provider: &LoadedProvider, asking: &Asking<'_>, questions: &Questions) -> i64 {
    let answered = known(asking, questions).map(|(receipt, _)| receipt.answered_at).max();
    let given_up = asking.past.ticket(provider.id, asking.contact).map(|(_, ticket)| ticket.kept_at);
    let off = settings::receipt_terms().off();
    answered.max(given_up).unwrap_or(if off { clock::now_us() / MICROSECONDS_A_DAY } else { 0 })
}

/// Notes that somebody is about to be asked about. `Err` where there might be no room to keep that the provider refuses.
pub fn announce(row: ContactRow) -> Result<(), Fault> {
    let uptime = clock::uptime_s();
    let has_room = receipts::with(|arena| {
        arena.note_request(row, uptime);
        arena.has_room_for_refusals()
    });
    let message = "not sent: so many refusals wait to be written that there might be no room to keep one more (leadlex.worker_status)";
    if has_room { Ok(()) } else { Err(Fault::new(FaultKind::Busy, message)) }
}

/// What is kept should the provider refuse to tell anything about this person.
pub fn refusal(provider: &LoadedProvider, asking: &Asking<'_>) -> ProviderRefusal {
    ProviderRefusal {
        people: suppression::of_refusal(&asking.past.person),
        workspace: provider.workspace,
        source: provider.name.clone(),
    }
}

/// Of a day.
const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

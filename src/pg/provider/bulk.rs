//! Puts the questions about several contacts to a provider in one request.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::pg::installation;
use crate::pg::provider::ask::{announce, epoch, refusal};
use crate::pg::provider::asker::Postponed;
use crate::pg::provider::bulk_answer::{Telling, id_of};
use crate::pg::provider::flight::{self, Landed};
use crate::pg::provider::health::InFlightRequest;
use crate::pg::provider::login::{self, HeldLogin, log_in};
use crate::pg::provider::receipt_sink::{Kept, ReceiptSink};
use crate::pg::provider::sending::{
    Prepared, Ready, RequestTime, admit_for, prepare_with, send_for_all, time_for_all, until_kept, until_told,
};
use crate::pg::provider::shared_values::About;
use crate::pg::provider::spending::{Purpose, Spender, counts_on};
use crate::pg::provider::under_way::{self, UnderWay, place, under_way};
use crate::pg::provider::{Asked, Asker, Asking, Refused, turn};
use crate::pg::shared::single_flight::QuestionClaim;
use crate::pg::shared::wait::Sent;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::sys::settings;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::{Hash, hash_each};
use leadlex_domain::money::Amount;
use leadlex_domain::money::hold::Hold;
use leadlex_domain::provider::{
    Answer, Config, Fault, FaultKind, Group, HttpRequest, Inquiry, LoginValues, Seat, Verdict,
};
use leadlex_domain::receipt;
use leadlex_domain::waterfall::ProviderOutcome;
use uuid::Uuid;

/// One of the contacts, and the fields that it lacks.
pub struct Guest<'a> {
    pub asking: Asking<'a>,
    pub missing: FieldSet,
}
/// With which others a contact can be asked about, by one request; `None`: it is asked about alone. `missing`: the fields still
/// to be filled.
pub fn shared_by(
    provider: &LoadedProvider,
    asking: &Asking<'_>,
    missing: FieldSet,
) -> Option<(Group, usize)> {
    let config = provider.config.as_ref().ok()?;
    let bulk = config.bulk()?;
    asking.past.questions.get(&provider.id)?;
    let wanted = config.fills().intersect(missing);
    if let Some(under_way) = under_way(provider, config, asking, wanted) {
        let group = under_way.inquiry.group()?;
        // What is not ready waits alone, and what is not asked for is told so.
        let is_ready = !under_way.ticket.is_anothers
            && under_way.later(config, &asking.about(provider), NO_WAIT).is_none();
        let most = under_way.inquiry.place().map(|place| place.of)?;
        return is_ready.then_some((group, most));
    }
    let inquiry = Inquiry::new(wanted);
    let shares = config.shares(&inquiry, &asking.past.person);
    shares.then(|| (bulk.group(inquiry.wanted()), bulk.most()))
}

/// Of a look whether something is ready: any time will do.
const NO_WAIT: Duration = Duration::from_millis(1);

/// The request about these contacts, made with what the provider's login gave, where that is known.
pub fn prepare_for_all(
    provider: &LoadedProvider,
    config: &Config,
    seats: &[Seat<'_>],
) -> Result<Ready, Fault> {
    let held = config.login().and_then(|_| login::held(provider));
    prepare_with(provider, config, 0, |secret| config.request_for_all(seats, secret, held.as_ref()))
}

/// A request about several contacts whose answer is awaited.
pub struct Sitting {
    seats: Vec<(flight::SentQuestion, Kept)>,
    halve: Arc<AtomicBool>,
    sent: Sent,
    /// It may be sent once more where nothing is known of it.
    repeats: bool,
}

/// What has come of one.
pub enum BulkOutcome {
    /// For each contact, in their order.
    Landed(Vec<Landed>),
    /// To be sent again in halves.
    Halve,
    /// To be sent again as it is, once.
    Repeat,
}

impl Sitting {
    /// What has come of it, if it is over.
    pub fn try_take(&mut self) -> Option<BulkOutcome> {
        let answer = self.sent.try_take()?.map(drop);
        if self.halve.load(Ordering::Acquire) {
            return Some(BulkOutcome::Halve);
        }
        if self.repeats && answer.as_ref().is_err_and(|fault| fault.unanswered) {
            return Some(BulkOutcome::Repeat);
        }
        let landed = self.seats.iter().map(|(asked, kept)| asked.landed(kept, answer.clone()));
        Some(BulkOutcome::Landed(landed.collect()))
    }

    /// How long the request may still take; zero when its time is over.
    pub fn left(&self) -> Duration {
        self.sent.left()
    }
}

/// A request that is made.
struct Made {
    prepared: Prepared,
    login: Option<login::Place>,
    claims: Vec<Option<Arc<QuestionClaim>>>,
}

/// Puts their questions to the provider, after none of them could be recalled; all are of one group. What becomes of those that
/// are not asked about now, by their number; those with `None` are in the request. `repeats`: it may be sent once more.
///
/// Raises 53000: no file descriptor is left for a request.
pub fn ask_together(
    provider: &Rc<LoadedProvider>,
    guests: &[Guest<'_>],
    (left, others, repeats): (Duration, bool, bool),
) -> (Vec<Option<Asked>>, Option<Sitting>) {
    let mut fates: Vec<Option<Asked>> = guests.iter().map(|_| None).collect();
    let (Ok(config), true) = (&provider.config, !guests.is_empty()) else {
        fates.fill_with(|| Some(Asked::Done(ProviderOutcome::Skipped)));
        return (fates, None);
    };
    for (fate, guest) in fates.iter_mut().zip(guests) {
        if let Err(fault) = announce(guest.asking.row()) {
            *fate = Some(Asked::Done(ProviderOutcome::Answered(Verdict::Failed(fault))));
        }
    }
    let table =
        Table { provider, config, guests, left, asker: Asker::Set { others, halves: guests.len() > 1 } };
    let sitting = match table.sit(&mut fates, repeats) {
        Ok(sitting) => sitting,
        Err(refused) => {
            fates
                .iter_mut()
                .zip(guests)
                .filter(|(fate, _)| fate.is_none())
                .for_each(|(fate, guest)| *fate = Some(table.refused(guest, &refused)));
            None
        }
    };
    (fates, sitting)
}

struct Table<'a> {
    provider: &'a Rc<LoadedProvider>,
    config: &'a Arc<Config>,
    guests: &'a [Guest<'a>],
    left: Duration,
    asker: Asker,
}

impl Table<'_> {
    /// `None`: nobody is left to be asked about.
    fn sit(&self, fates: &mut [Option<Asked>], repeats: bool) -> Result<Option<Sitting>, Refused> {
        let until = Instant::now() + self.left;
        let Some(Made { prepared, login, claims }) = self.make(fates)? else { return Ok(None) };
        let Table { provider, config, asker, .. } = *self;
        let present: Vec<&Guest<'_>> = self.present(fates);
        let left = until.saturating_duration_since(Instant::now());
        let (time, reach, hands_in) = self.time(&present, left);
        let held: Vec<Option<Hold>> = present
            .iter()
            .zip(&claims)
            .map(|(guest, claim)| self.under_way(guest)?.held(provider, claim.is_some()))
            .collect();
        let held_in_all = held.iter().flatten().map(|hold| counts_on(config, hold)).sum();
        let spender = self.spender(&present, held_in_all);
        let times = RequestTime { whole: time, left: reach, call: left };
        let in_flight = admit_for(provider, config, (prepared.question, spender), times, asker)?;
        let time = time.min(reach);
        let Prepared { mut request, .. } = prepared;
        // To ask whether something is ready is no repetition of having asked before.
        let asks = present.first().is_some_and(|guest| self.under_way(guest).is_some());
        let marked = !asks && self.add_request_key(&present, Arc::make_mut(&mut request));
        let shown = Arc::new(request.without_body());
        let mut sinks: Vec<ReceiptSink> = present
            .iter()
            .zip(claims)
            .zip(held)
            .map(|((guest, claim), held)| {
                self.sink(guest, (&shown, login, claim, held), &in_flight, time.min(left))
            })
            .collect();
        one_id_for_all(&mut sinks);
        let asked = present.iter().zip(&sinks).map(|(guest, sink)| flight::SentQuestion {
            provider: Rc::clone(provider),
            config: Arc::clone(config),
            about: guest.asking.about(provider),
            inquiry: sink.inquiry.clone(),
            ticket: sink.ticket.as_ref().map(|place| place.question),
            ends: sink.ticket.as_ref().and_then(|place| Some(place.before.as_ref()?.ends(config))),
            in_full: sink.in_flight.in_full,
        });
        let asked: Vec<flight::SentQuestion> = asked.collect();
        let kept: Vec<Kept> = sinks.iter().map(|_| Kept::default()).collect();
        let halve = Arc::new(AtomicBool::new(false));
        let contacts = self.contacts(&present);
        let telling = Telling {
            sinks,
            kept: kept.clone(),
            in_flight,
            halve: Arc::clone(&halve),
            repeats: marked && repeats,
            most_bytes: settings::max_response_bytes(),
        };
        let keep = Box::new(move |answer: Result<&Answer, &Fault>| {
            telling.tell(answer);
            None
        });
        let sent = send_for_all((request, hands_in), (contacts, time), left, keep)
            .map_err(|fault| Refused { fault, later: None })?;
        let seats = asked.into_iter().zip(kept).collect();
        Ok(Some(Sitting { seats, halve, sent, repeats: marked && repeats }))
    }

    /// What the next request is sent for, where nothing is kept free for it yet: what answers under way can cost is.
    fn next(&self, fates: &[Option<Asked>]) -> Spender {
        let present = self.present(fates);
        let (next, first) = (self.spender(&present, Amount::ZERO), present.first());
        Spender { fields: next.fields.filter(|_| first.is_none_or(|g| self.under_way(g).is_none())), ..next }
    }

    /// All of them are of one workspace: that of the call.
    fn spender(&self, present: &[&Guest<'_>], held: Amount) -> Spender {
        let config = self.config;
        let wanted = || present.iter().map(|guest| config.fills().intersect(guest.missing));
        let fields = wanted().map(|wanted| config.maps_of(wanted));
        let purpose = |guest: &&Guest<'_>| Purpose::of(config, &self.inquiry(guest), Some(present.len()));
        let workspace = present.first().map(|guest| guest.asking.workspace).unwrap_or_default();
        Spender {
            fields: Some(fields.fold(FieldSet::EMPTY, FieldSet::union)),
            wanted: wanted().fold(FieldSet::EMPTY, FieldSet::union),
            contacts: present.len() as u32,
            held,
            purpose: present.first().map_or(Purpose::Ask, purpose),
            ..Spender::of_login(workspace)
        }
    }

    /// The request about those whose question is nobody else's just now.
    fn make(&self, fates: &mut [Option<Asked>]) -> Result<Option<Made>, Refused> {
        let Table { provider, config, guests, asker, .. } = *self;
        let refused = |fault| Refused { fault, later: None };
        let until = Instant::now() + self.left;
        if self.present(fates).is_empty() {
            return Ok(None);
        }
        let mut held: Option<HeldLogin> = None;
        let mut ready = self.prepare(fates, None).map_err(refused)?;
        if let Ready::LogIn(question) = ready {
            // To log in takes as long as any other request.
            held = Some(log_in(provider, config, (question, self.next(fates)), (self.left, asker))?);
            ready = self.prepare(fates, held.as_ref().map(|held| &held.values)).map_err(refused)?;
        }
        let (time, reach, _) =
            self.time(&self.present(fates), until.saturating_duration_since(Instant::now()));
        let (mut claims, mut all) = (Vec::with_capacity(guests.len()), true);
        for (fate, guest) in fates.iter_mut().zip(guests).filter(|(fate, _)| fate.is_none()) {
            let past = guest.asking.past;
            let Some(questions) = past.questions.get(&provider.id) else {
                *fate = Some(Asked::Done(ProviderOutcome::Skipped));
                continue;
            };
            match turn::claim_for(config, questions, past, until_kept(time.min(reach))) {
                Ok(claim) => claims.push(claim.map(Arc::new)),
                Err(others) => {
                    all = false;
                    let asked = turn::of_others(config, others, questions.hashes[0]);
                    let under_way = self.under_way(guest);
                    let about = guest.asking.about(provider);
                    *fate = Some(under_way::still_asked(asked, under_way.as_ref(), config, &about));
                }
            }
        }
        if claims.is_empty() {
            return Ok(None);
        }
        if !all {
            ready = self.prepare(fates, held.as_ref().map(|held| &held.values)).map_err(refused)?;
        }
        match ready {
            Ready::Send(prepared) => {
                let prepared = match &held {
                    Some(_) => prepared,
                    None => login::hidden_in(provider, config, prepared),
                };
                Ok(Some(Made { prepared, login: held.map(|held| held.place()), claims }))
            }
            _ => Err(refused(Fault::new(
                FaultKind::Internal,
                "the request about several contacts could not be made",
            ))),
        }
    }

    fn present(&self, fates: &[Option<Asked>]) -> Vec<&Guest<'_>> {
        let present = self.guests.iter().zip(fates).filter(|(_, fate)| fate.is_none());
        present.map(|(guest, _)| guest).collect()
    }

    fn prepare(&self, fates: &[Option<Asked>], login: Option<&LoginValues>) -> Result<Ready, Fault> {
        let Table { provider, config, .. } = *self;
        let present = self.present(fates);
        let inquiries: Vec<Inquiry> = present.iter().map(|guest| self.inquiry(guest)).collect();
        let ids: Vec<String> = present.iter().map(|guest| self.id(guest)).collect();
        let seats: Vec<Seat<'_>> = present
            .iter()
            .zip(&inquiries)
            .zip(&ids)
            .map(|((guest, inquiry), id)| Seat { inquiry, person: &guest.asking.past.person, id })
            .collect();
        let step = inquiries.first().map_or(0, Inquiry::step);
        prepare_with(provider, config, step, |secret| config.request_for_all(&seats, secret, login))
    }

    fn under_way<'g>(&self, guest: &'g Guest<'_>) -> Option<UnderWay<'g>> {
        under_way(self.provider, self.config, &guest.asking, self.config.fills().intersect(guest.missing))
    }

    /// How many contacts the answer is about: of what was handed in together, also of those who are not asked for now.
    fn contacts(&self, present: &[&Guest<'_>]) -> usize {
        let place =
            present.first().and_then(|guest| self.under_way(guest)?.inquiry.place().map(|place| place.of));
        place.unwrap_or(present.len())
    }

    /// The request's time, how much of it is left where so much of the call's is, and whether it hands them in, see `time_left`.
    fn time(&self, present: &[&Guest<'_>], left: Duration) -> (Duration, Duration, bool) {
        let time = time_for_all(self.config, self.contacts(present));
        let hands_in =
            present.first().is_some_and(|guest| self.config.hands_in_together(&self.inquiry(guest)));
        (time, if hands_in { left.max(time) } else { left }, hands_in)
    }

    fn inquiry(&self, guest: &Guest<'_>) -> Inquiry {
        let new = || Inquiry::new(self.config.fills().intersect(guest.missing));
        let inquiry = self.under_way(guest).map_or_else(new, |under_way| under_way.inquiry);
        match guest.asking.past.was_denied(self.provider.id) {
            true => inquiry.denied(),
            false => inquiry,
        }
    }

    /// By which the answer is found to be this contact's.
    fn id(&self, guest: &Guest<'_>) -> String {
        id_of(guest.asking.past.asked_of(self.provider.id).unwrap_or_default())
    }

    /// Marks the request by the keys of its contacts, where the provider knows repetitions by that; whether it does.
    fn add_request_key(&self, present: &[&Guest<'_>], request: &mut HttpRequest) -> bool {
        let Some(header) = self.config.idempotency_header() else { return false };
        let masked = request.masked();
        let key = |guest: &&Guest<'_>| {
            let Asking { workspace, table, past, .. } = guest.asking;
            let questions = past.questions.get(&self.provider.id)?;
            let epoch = epoch(self.provider, &guest.asking, questions);
            Some(receipt::request_key(workspace, table, guest.missing, &masked, epoch))
        };
        let keys: Vec<Uuid> = present.iter().filter_map(key).collect();
        request.headers.push((header.to_owned(), receipt::request_key_of_all(&keys).to_string()));
        true
    }

    fn sink(
        &self,
        guest: &Guest<'_>,
        (request, login, claim, held): Shared<'_>,
        in_flight: &InFlightRequest,
        time: Duration,
    ) -> ReceiptSink {
        let (provider, config, asking) = (self.provider, self.config, &guest.asking);
        let person = &asking.past.person;
        let questions = &asking.past.questions[&provider.id];
        let about: About = asking.about(provider);
        ReceiptSink {
            key: installation::receipt_key(questions.hashes[0]),
            person: asking.person,
            known: questions.known,
            terms: settings::receipt_terms(),
            config: Arc::clone(config),
            whom: config.whom(person),
            request: Arc::clone(request),
            inquiry: self.inquiry(guest),
            ticket: place(provider, asking, self.under_way(guest).as_ref(), held),
            login,
            workspace: asking.workspace,
            provider: provider.id,
            refusal: refusal(provider, asking),
            sighting: about.sighting(config, person),
            in_flight: in_flight.clone(),
            until: until_told(time),
            claim,
            repeats: false,
            keeps_by: None,
        }
    }

    /// Nothing was sent: what that means for one of them.
    fn refused(&self, guest: &Guest<'_>, Refused { fault, later }: &Refused) -> Asked {
        let (fault, under_way) = (fault.clone(), self.under_way(guest));
        if let (Some(under_way), Some(Postponed::Limited(_)) | None) = (&under_way, later) {
            under_way.note_pause(self.provider, self.config, &guest.asking, &fault);
        }
        let about = guest.asking.about(self.provider);
        let owed = under_way
            .as_ref()
            .and_then(|under_way| under_way.after_pause(self.config, &about, (&fault, *later), self.asker));
        match (owed, *later) {
            (_, Some(Postponed::NotYet(why))) => Asked::NotYet(why, fault),
            (Some(owed), _) => Asked::Later(Box::new(owed)),
            (None, Some(Postponed::Limited(limit))) => Asked::Limited(limit, fault),
            (None, None) => Asked::Done(match under_way {
                Some(under_way) => under_way.so_far(self.config, &about, fault),
                None => ProviderOutcome::Answered(Verdict::Failed(fault)),
            }),
        }
    }
}

/// The vendor gives one id for all who are handed in together.
fn one_id_for_all(sinks: &mut [ReceiptSink]) {
    let whom: Vec<Hash> = sinks.iter().filter_map(|sink| Some(sink.ticket.as_ref()?.whom)).collect();
    let all = hash_each(whom.iter().map(|whom| &whom[..]));
    sinks.iter_mut().filter_map(|sink| sink.ticket.as_mut()).for_each(|place| place.whom = all);
}

/// Of one contact of a request: the request, the login that it was made with, whose turn it is, and what is held for the answer.
type Shared<'a> = (&'a Arc<HttpRequest>, Option<login::Place>, Option<Arc<QuestionClaim>>, Option<Hold>);

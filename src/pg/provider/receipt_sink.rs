//! What a helper thread does with what came of a request: reads it, keeps it, and tells the provider's health.

use crate::pg::sys::clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::pg::provider::health::InFlightRequest;
use crate::pg::provider::login;
use crate::pg::provider::spending::Spending;
use crate::pg::shared::receipts::{self, Arrival, NotKept, ReceiptKey};
use crate::pg::shared::single_flight::{End, QuestionClaim};
use crate::pg::shared::wait;
use crate::pg::sys::clock::now_us;
use leadlex_domain::contact_row::ContactRow;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::money::Amount;
use leadlex_domain::money::hold::{Hold, HoldChange};
use leadlex_domain::provider::{
    Config, Effect, Fault, FaultKind, HttpRequest, Inquiry, Progress, Verdict, Whom,
};
use leadlex_domain::receipt::{Content, Filed, ProviderRefusal, Receipt, Terms};
use leadlex_domain::shared::Sighting;
use leadlex_domain::ticket::{Ticket, still_owed};
use leadlex_net::{Keep, Rest};

/// How long an answer waits for room. Shorter than what the backend grants the thread beyond the timeout.
pub const PATIENCE: Duration = Duration::from_millis(150);
/// How long a refusal waits to be written before the call is told. It is rare, and must outlive a crash after that.
const PATIENCE_OF_REFUSAL: Duration = Duration::from_secs(1);
/// How long the question is kept for a request that is sent once more.
const REPETITION: Duration = Duration::from_secs(1);

/// Everything needed to keep what comes of one request.
#[derive(Clone)]
pub struct ReceiptSink {
    pub key: ReceiptKey,
    pub person: Hash,
    pub known: Hash,
    pub terms: Terms,
    pub config: Arc<Config>,
    /// Whom it was asked about.
    pub whom: Whom,
    /// What was asked, to know the secret again in an answer.
    pub request: Arc<HttpRequest>,
    /// How far the question has come.
    pub inquiry: Inquiry,
    /// Where what is handed in is kept; `None`: the provider takes one request.
    pub ticket: Option<TicketPlace>,
    /// By which login it was asked.
    pub login: Option<login::Place>,
    pub workspace: Uuid,
    pub provider: Uuid,
    /// What is kept should the provider refuse to tell anything about this person.
    pub refusal: ProviderRefusal,
    /// Under which name it was asked with what: to be counted with the answer.
    pub sighting: Option<Sighting>,
    pub in_flight: InFlightRequest,
    /// The backend does not wait longer for the thread.
    pub until: Instant,
    /// Others wait for the answer; `None`: nobody does.
    pub claim: Option<Arc<QuestionClaim>>,
    /// The request is sent once more where nothing is known of it.
    pub repeats: bool,
    /// Until when what comes of it may wait for room; `None`: for as long as an answer may that comes alone.
    pub keeps_by: Option<Instant>,
}

/// Where a ticket is kept, and what is kept there by now.
#[derive(Clone)]
pub struct TicketPlace {
    pub question: Hash,
    /// [`leadlex_domain::question::Questions::known`] of what is handed in.
    pub known: Hash,
    /// See [`leadlex_domain::ticket::VendorId`].
    pub whom: Hash,
    pub before: Option<Ticket>,
    /// Of what is kept there, what budgets keep free for the answer, where this request can count on it.
    pub held: Option<Hold>,
}

/// What becomes of the question with one answer.
#[derive(Default)]
pub struct Decided {
    /// What is under way from now on.
    ticket: Option<Ticket>,
    /// What was handed in is answered or given up, and this is free again.
    released: Option<Hold>,
    pub change: HoldChange,
}

/// What came of it, for the backend to see.
#[derive(Default)]
pub struct KeptOutcome {
    pub progress: Option<Progress>,
    /// How far the question has come by that.
    pub inquiry: Option<Inquiry>,
    /// What is under way from now on.
    pub ticket: Option<Ticket>,
    /// Why the answer could not be kept.
    pub dropped: Option<&'static str>,
    /// The refusal that could not be kept.
    pub unkept: Option<ProviderRefusal>,
    /// The refusal that the worker is to write, where the backend itself took it in.
    pub unwritten: Option<Unwritten>,
}

/// A refusal on its way to the list. It is rare, and must outlive a crash once the call is told: so that waits for the worker.
pub struct Unwritten {
    keys: Vec<ReceiptKey>,
    reach: Hash,
    until: Instant,
}

impl Unwritten {
    /// At most until the backend stops waiting for the request, and not where an open transaction holds the row.
    pub fn wait(&self, pause: impl Fn(Duration)) {
        while Instant::now() < self.until && receipts::are_to_write(&self.keys, self.reach) {
            pause(receipts::PAUSE);
        }
    }
}

/// Where a helper thread leaves what became of an answer.
pub type Kept = Arc<Mutex<KeptOutcome>>;

impl ReceiptSink {
    /// For the thread, and where to find what came of it.
    pub fn start(self) -> (Keep, Kept) {
        let shared = Kept::default();
        let outcome = Arc::clone(&shared);
        let keep = move |answer: Result<&_, &_>| {
            let mut inquiry = self.inquiry.clone();
            let (mut progress, cost) = match answer {
                Ok(answer) => {
                    inquiry.take(&self.config, (&self.request, answer), &self.whom, clock::now_us())
                }
                Err(fault) => (Progress::Failed(Clone::clone(fault)), None),
            };
            self.in_flight.note_balance(answer.ok().and_then(|answer| self.config.balance(answer)));
            let may_wait = progress == Progress::Over(Verdict::Suppressed) || receipts::was_full();
            let rest = move || {
                let decided = self.decide(&inquiry, &mut progress);
                self.in_flight.note_holds(decided.change);
                self.in_flight.ended(&progress, inquiry.latest(), cost);
                self.settle((inquiry, decided), progress, &outcome, wait::is_own_thread());
            };
            if may_wait {
                return Some(Box::new(rest) as Rest);
            }
            rest();
            None
        };
        (Box::new(keep), shared)
    }

    /// What the answer comes to for what was handed in, and for what may still be billed for it. A pending answer that is the
    /// last one is marked so.
    pub fn decide(&self, inquiry: &Inquiry, came: &mut Progress) -> Decided {
        if let (Progress::Next { .. } | Progress::Pending { .. }, Some(place)) = (&*came, &self.ticket)
            && let Some(mut ticket) = Ticket::new(
                &self.config,
                inquiry,
                (self.person, place.known, place.whom),
                place.before.as_ref(),
                now_us(),
            )
        {
            match came {
                Progress::Pending { fault, .. } if ticket.kept_at >= ticket.ends_at => fault.given_up = true,
                _ => {
                    // From now on the vendor works on it, and bills it without being asked.
                    let spending = self.in_flight.spending.as_ref();
                    let is_new = ticket.hold.is_none() && inquiry.is_poll(&self.config);
                    let new = spending
                        .filter(|_| is_new)
                        .and_then(|spending| spending.new_hold(inquiry.supplied()));
                    let change = HoldChange {
                        new: new.as_ref().map(|hold| hold.amount).unwrap_or_default(),
                        new_polls: new.as_ref().map(|hold| hold.polls).unwrap_or_default(),
                        ..HoldChange::default()
                    };
                    ticket.hold = new.or(ticket.hold);
                    return Decided { ticket: Some(ticket), released: None, change };
                }
            }
        }
        // A poll that fails when the time is over was the last one, but for the session's own trouble.
        let before = self.ticket.as_ref().and_then(|place| place.before.as_ref());
        if let (Progress::Failed(fault), Some(before)) = (&mut *came, before) {
            let is_own = matches!(fault.kind, FaultKind::Busy | FaultKind::Internal | FaultKind::Stopped);
            fault.given_up = !is_own && before.ends(&self.config) <= now_us();
        }
        if let (Progress::Failed(fault), Some(_)) = (&*came, before)
            && let Some(ticket) = self.asked_in_vain(inquiry, fault)
        {
            return Decided { ticket: Some(ticket), released: None, change: HoldChange::default() };
        }
        let (is_over, is_lost) = match came {
            Progress::Over(_) => (true, false),
            Progress::TicketUnknown(_) => (true, true),
            Progress::Pending { fault, .. } => (fault.given_up, fault.given_up),
            Progress::Failed(fault) => (fault.given_up, fault.given_up),
            Progress::Next { .. } | Progress::LogInAgain => (false, false),
        };
        let released = self.ticket.as_ref().and_then(|place| place.held.clone()).filter(|_| is_over);
        // What is lost in another currency stays held until the worker gives it up.
        let released = released.filter(|hold| !is_lost || self.is_in_currency_of(hold));
        let ours = released.as_ref().filter(|hold| self.is_in_currency_of(hold));
        let over = ours.map(|hold| hold.amount).unwrap_or_default();
        let over_polls = ours.map(|hold| hold.polls).unwrap_or_default();
        let lost = if is_lost { over } else { Amount::ZERO };
        Decided {
            ticket: None,
            released,
            change: HoldChange { over, over_polls, lost, ..HoldChange::default() },
        }
    }

    /// What is kept of a question whose answer is still owed: nobody asks for it before it may be.
    fn asked_in_vain(&self, inquiry: &Inquiry, fault: &Fault) -> Option<Ticket> {
        // The others pause the provider. Once that is over, or its account in order again, it is asked for at once.
        if !matches!(fault.kind.effect(), Effect::Unwell | Effect::ServerError | Effect::Answer) {
            return None;
        }
        if fault.kind == FaultKind::Timeout && !self.in_flight.in_full {
            // The session's own time was over, not the provider's.
            return None;
        }
        let fault = still_owed(&self.config, inquiry, fault.clone(), true);
        let (place, seconds) = (self.ticket.as_ref()?, fault.retry_after_s.filter(|_| fault.owed)?);
        let (mut later, now) = (inquiry.clone(), now_us());
        later.put_off(now, seconds);
        let who = (self.person, place.known, place.whom);
        Ticket::new(&self.config, &later, who, place.before.as_ref(), now)
    }

    /// Keeps what came, and tells who waits for it. `waits`: the backend itself waits until a refusal is written.
    pub fn settle(
        self,
        (inquiry, decided): (Inquiry, Decided),
        progress: Progress,
        outcome: &Kept,
        waits: bool,
    ) {
        if let (Progress::LogInAgain, Some(login)) = (&progress, self.login) {
            login.forget();
        }
        let (ticket, dropped) = self.keep(&inquiry, &progress, decided);
        if let Some(claim) = &self.claim {
            self.tell(claim, &progress, ticket.is_some(), dropped.is_some());
        }
        let refused = progress == Progress::Over(Verdict::Suppressed);
        let unwritten = refused.then(|| self.unwritten()).and_then(|unwritten| {
            if waits {
                return Some(unwritten);
            }
            unwritten.wait(std::thread::sleep);
            None
        });
        let unkept = dropped.filter(|_| refused).map(|_| self.refusal);
        *outcome.lock().unwrap_or_else(PoisonError::into_inner) = KeptOutcome {
            progress: Some(progress),
            inquiry: Some(inquiry),
            ticket,
            dropped,
            unkept,
            unwritten,
        };
    }

    /// Those who wait for the answer: it is kept by now, or the ticket is.
    fn tell(&self, claim: &QuestionClaim, came: &Progress, under_way: bool, dropped: bool) {
        claim.end(match came {
            Progress::Failed(fault) if fault.unanswered && self.repeats => return claim.extend(REPETITION),
            // The next to come knows when to ask.
            Progress::Pending { .. } if under_way && !dropped => End::Kept,
            Progress::Pending { fault, .. } | Progress::Failed(fault) => match fault.kind {
                // The session's own trouble.
                FaultKind::Busy | FaultKind::Internal | FaultKind::Stopped => End::Abandoned,
                // It was not given all the time that a provider is to have.
                FaultKind::Timeout if !self.in_flight.in_full => End::Abandoned,
                kind => End::Failed(kind),
            },
            Progress::LogInAgain => End::Abandoned,
            _ if dropped => End::Unkept,
            _ => End::Kept,
        });
    }

    /// Keeps what came: what is under way from now on, and why it could not be kept.
    fn keep(
        &self,
        inquiry: &Inquiry,
        came: &Progress,
        decided: Decided,
    ) -> (Option<Ticket>, Option<&'static str>) {
        let Decided { ticket, released, change } = decided;
        if let (Some(mut ticket), Some(place)) = (ticket, &self.ticket) {
            let dropped = self.put(place.question, Content::Ticket(ticket.clone()), None);
            if dropped.is_some() && change.new.plus(change.new_polls) > Amount::ZERO {
                self.with_spending(ticket.hold.take(), |spending, hold| spending.lose(hold));
            }
            return (Some(ticket), dropped);
        }
        let settled = inquiry.settled_by(&self.config, came);
        let dropped = match came {
            Progress::Over(Verdict::Suppressed) => self.keep_refusal(),
            Progress::Over(verdict) => self.keep_verdict(verdict, settled),
            // What it was paid for by then.
            Progress::TicketUnknown(_) => self.keep_so_far(inquiry, settled),
            Progress::Pending { fault, .. } | Progress::Failed(fault) if fault.given_up => {
                self.keep_so_far(inquiry, settled)
            }
            Progress::Next { .. } | Progress::Pending { .. } | Progress::LogInAgain | Progress::Failed(_) => {
                return (None, None);
            }
        };
        // Last: who looks before this finds the ticket, and who looks after it the answer.
        if let Some((place, before)) =
            self.ticket.as_ref().and_then(|place| Some((place, place.before.as_ref()?)))
        {
            let answered = matches!(came, Progress::Over(_));
            let marks = self.config.idempotency_header().is_some() && !answered;
            let in_vain = matches!(came, Progress::Pending { .. } | Progress::Failed(_));
            let left = match marks || before.vendor_id.is_some() {
                true => Content::Ticket(before.clone().given_up(now_us(), released.clone(), in_vain)),
                false => Content::NoTicket(now_us(), released.clone()),
            };
            let is_ours = released.as_ref().is_some_and(|hold| self.is_in_currency_of(hold));
            match self.put(place.question, left, None) {
                Some(_) if is_ours => {
                    self.with_spending(released, |spending, hold| spending.hold_again(hold))
                }
                None if !is_ours => self.with_spending(released, |spending, hold| spending.release(hold)),
                _ => {}
            }
        }
        (None, dropped)
    }

    fn is_in_currency_of(&self, hold: &Hold) -> bool {
        self.in_flight.spending.as_ref().is_some_and(|spending| spending.is_in_currency_of(hold))
    }

    fn with_spending(&self, hold: Option<Hold>, work: impl Fn(&Spending, &Hold)) {
        if let (Some(hold), Some(spending)) = (&hold, &self.in_flight.spending) {
            work(spending, hold);
        }
    }

    fn keep_so_far(&self, inquiry: &Inquiry, settled: FieldSet) -> Option<&'static str> {
        match inquiry.so_far() {
            Verdict::NoMatch => None,
            so_far => self.keep_verdict(&so_far, settled),
        }
    }

    fn keep_verdict(&self, verdict: &Verdict, settled: FieldSet) -> Option<&'static str> {
        let receipt = Receipt::new(verdict, settled, self.known, now_us())?;
        let sighting =
            self.sighting.clone().map(|asked| asked.with_answer(self.workspace, self.provider, verdict));
        if let Some(receipt) = receipt.kept_under(self.terms) {
            return self.put(self.key.question, Content::Receipt(receipt), sighting);
        }
        // There is nothing to lose but a number.
        let sighting = sighting.filter(|sighting| !sighting.values.is_empty())?;
        self.put(sighting.key(), Content::Nothing, Some(sighting));
        None
    }

    /// Under each thing that the person is known by, so that the next call about them finds it, whatever it asks:
    /// one row of the list each. And first under the question, where it is only a mark: it is gone when those are written.
    fn keep_refusal(&self) -> Option<&'static str> {
        let refused = |people: &[Hash]| {
            Content::Refusal(ProviderRefusal { people: people.to_vec(), ..self.refusal.clone() })
        };
        let mut dropped = self.put(self.key.question, refused(&[]), None);
        for person in &self.refusal.people {
            dropped = self.put(*person, refused(&[*person]), None).or(dropped);
        }
        dropped
    }

    fn unwritten(&self) -> Unwritten {
        let key = |person: &Hash| ReceiptKey { question: *person, ..self.key };
        Unwritten {
            keys: self.refusal.people.iter().map(key).collect(),
            reach: self.refusal.reach(self.provider),
            until: self.until.min(Instant::now() + PATIENCE_OF_REFUSAL),
        }
    }

    fn put(&self, question: Hash, content: Content, sighting: Option<Sighting>) -> Option<&'static str> {
        let (workspace, provider, person) = (self.workspace, self.provider, self.person);
        let reach = match &content {
            Content::Refusal(refusal) => Some(refusal.reach(provider)),
            _ => None,
        };
        let filed = Filed { workspace, provider, person, content, sighting };
        let payload = filed.to_bytes();
        let key = ReceiptKey { question, ..self.key };
        let until = self.keeps_by.unwrap_or_else(|| Instant::now() + PATIENCE);
        let row = ContactRow { workspace, hash: person };
        let arrival = Arrival { key, row, sent_at: self.in_flight.sent_at, payload: &payload, reach };
        while let Err(refusal) = receipts::put(&arrival) {
            if refusal == NotKept::TooLong || Instant::now() >= until {
                receipts::count_drop(self.key.database);
                return Some(receipts::why(refusal));
            }
            std::thread::sleep(receipts::PAUSE);
        }
        None
    }
}

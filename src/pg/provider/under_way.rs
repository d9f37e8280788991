//! Questions that were handed in and are not answered yet: when to ask again, and what there is until then.

use std::time::{Duration, Instant};

use crate::pg::installation;
use crate::pg::provider::asker::{self, Asker, Limit};
use crate::pg::provider::receipt_sink::TicketPlace;
use crate::pg::provider::shared_values::About;
use crate::pg::provider::spending;
use crate::pg::provider::{Asked, Asking, unfinished};
use crate::pg::shared::receipts;
use crate::pg::shared::receipts::ReceiptKey;
use crate::pg::shared::wait;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::sys::clock;
use crate::pg::sys::settings;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::money::hold::Hold;
use leadlex_domain::provider::{Config, Fault, FaultKind, Inquiry, WhenPending};
use leadlex_domain::receipt::{Content, Filed};
use leadlex_domain::ticket::{Ticket, still_owed};
use leadlex_domain::waterfall::ProviderOutcome;

/// How long a ticket may take to be written down before it is asked for all the same: the worker has its trouble then
/// (leadlex.worker_status).
const PATIENCE: Duration = Duration::from_secs(1);
/// How long what a session itself has to keep may wait for room.
const ROOM: Duration = Duration::from_millis(150);

/// A question that goes on where its ticket says.
pub struct UnderWay<'a> {
    pub question: Hash,
    pub ticket: &'a Ticket,
    pub inquiry: Inquiry,
}

/// What is under way with this provider about the contact. What is over its time is nothing, but for who has waited for it:
/// that is asked for once more.
pub fn under_way<'a>(
    provider: &LoadedProvider,
    config: &Config,
    asking: &Asking<'a>,
    wanted: FieldSet,
) -> Option<UnderWay<'a>> {
    let (question, ticket) = asking.past.ticket(provider.id, asking.contact)?;
    let ends = ticket.ends(config);
    if ends <= clock::now_us() && ends <= asking.since {
        return None;
    }
    Some(UnderWay { question, ticket, inquiry: ticket.inquiry(config, wanted)? })
}

/// What was handed in was asked for as long as `poll_for_s` says, and that ended since it is waited for: it is handed in anew by who
/// asks anew, not by the next attempt of a job.
pub fn given_up(provider: &LoadedProvider, config: &Config, asking: &Asking<'_>) -> Option<Fault> {
    let (_, ticket) = asking.past.ticket(provider.id, asking.contact)?;
    (ticket.was_in_vain() && ticket.kept_at > asking.since).then(|| in_vain(config, ""))
}

/// `more`: what kept it from being asked for last.
fn in_vain(config: &Config, more: &str) -> Fault {
    let message = format!("its answer was not there within {} s (poll_for_s){more}", config.poll_for_s());
    Fault { given_up: true, ..Fault::new(FaultKind::Pending, message) }
}

impl UnderWay<'_> {
    /// `None`: it can be asked for now.
    pub fn later(&self, config: &Config, about: &About, left: Duration) -> Option<LaterAnswer> {
        let later = LaterAnswer::of(config, about, (self.question, self.ticket), &self.inquiry, None);
        let is_ready = later.left().is_zero() && !left.is_zero();
        (!is_ready).then_some(later)
    }

    /// What is kept free for its answer. `claimed`: nobody else asks for it now.
    pub fn held(&self, provider: &LoadedProvider, claimed: bool) -> Option<Hold> {
        spending::held_for(provider, self.ticket, claimed)
    }

    /// What it came to so far, where no request could be sent.
    pub fn so_far(&self, config: &Config, about: &About, fault: Fault) -> ProviderOutcome {
        let fault = match self.is_over(config, &fault) {
            true => in_vain(config, &format!(": {fault}")),
            false => still_owed(config, &self.inquiry, fault, false),
        };
        unfinished(config, about, &self.inquiry, fault)
    }

    /// Whether its time is over, and nothing that does not count kept the last request from being sent: a login that fails, or money.
    fn is_over(&self, config: &Config, fault: &Fault) -> bool {
        let is_own = matches!(fault.kind, FaultKind::Busy | FaultKind::Internal | FaultKind::Stopped);
        let counts = !is_own && !fault.paused && !fault.settles && fault.kind != FaultKind::ProviderLimit;
        counts && self.inquiry.is_poll(config) && self.ticket.ends(config) <= clock::now_us()
    }

    /// When it can be asked for, which the vendor has not allowed for now: what was handed in is waited for through its pause, where
    /// nothing says that any question is (`later`: what the asker waits for then). `None`: it is not.
    pub fn after_pause(
        &self,
        config: &Config,
        about: &About,
        (fault, later): (&Fault, Option<asker::Postponed>),
        asker: Asker,
    ) -> Option<LaterAnswer> {
        let of_any =
            || settings::batch_waits() || config.waits_when_limited() || !config.throttle().is_unlimited();
        let is_held = match later {
            Some(asker::Postponed::Limited(Limit::Pause(_))) => asker == Asker::Single || of_any(),
            later => later.is_some(),
        };
        if is_held || !fault.paused || fault.kind != FaultKind::RateLimited {
            return None;
        }
        let fault = still_owed(config, &self.inquiry, fault.clone(), false);
        fault.owed.then(|| LaterAnswer::after(config, about, &self.inquiry, (fault, i64::MAX)))
    }

    /// Nothing can be sent for so long: that does not count toward the time for which it is asked for.
    pub fn note_pause(&self, provider: &LoadedProvider, config: &Config, asking: &Asking<'_>, fault: &Fault) {
        let Some(seconds) = fault.retry_after_s.filter(|_| fault.paused) else { return };
        let now = clock::now_us();
        let until = now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(SECOND_US));
        let Some(ticket) = self.ticket.paused(config, until, now) else { return };
        let filed = Filed {
            workspace: asking.workspace,
            provider: provider.id,
            person: asking.person,
            content: Content::Ticket(ticket),
            sighting: None,
        };
        let key = installation::receipt_key(self.question);
        receipts::keep(key, asking.row(), now, &filed.to_bytes(), Instant::now() + ROOM);
    }
}

const SECOND_US: i64 = 1_000_000;

/// What becomes of a question that others have asked for in vain meanwhile.
pub fn still_asked(asked: Asked, under_way: Option<&UnderWay<'_>>, config: &Config, about: &About) -> Asked {
    match (asked, under_way) {
        (Asked::Done(outcome), Some(under_way)) => Asked::Done(match outcome.fault().cloned() {
            Some(fault) => under_way.so_far(config, about, fault),
            None => outcome,
        }),
        (asked, _) => asked,
    }
}

/// Where the ticket of a question is kept. `held`: what is kept free for its answer.
pub fn place(
    provider: &LoadedProvider,
    asking: &Asking<'_>,
    under_way: Option<&UnderWay<'_>>,
    held: Option<Hold>,
) -> Option<TicketPlace> {
    let questions = asking.past.to_hand_in(provider.id)?;
    let whom = provider.config.as_ref().ok()?.whom_asked(&asking.past.person);
    Some(match under_way {
        Some(UnderWay { question, ticket, .. }) => TicketPlace {
            question: *question,
            known: ticket.known,
            whom,
            before: Some((*ticket).clone()),
            held,
        },
        None => TicketPlace {
            question: questions.hashes[0],
            known: questions.known,
            whom,
            before: None,
            held: None,
        },
    })
}

/// An answer that comes later.
pub struct LaterAnswer {
    /// When it can be asked for, in epoch microseconds.
    due_at: i64,
    /// It is not asked for before this is written down, or that is late.
    unwritten: Option<(ReceiptKey, Instant)>,
    /// What there is until then.
    outcome: ProviderOutcome,
    /// What there was no room to keep: the call itself knows of it.
    unkept: Option<(Hash, Ticket)>,
    /// Other providers are asked before it is ready.
    gives_way: bool,
}

impl LaterAnswer {
    /// `dropped`: it is not kept.
    pub fn of(
        config: &Config,
        about: &About,
        (question, ticket): (Hash, &Ticket),
        inquiry: &Inquiry,
        dropped: Option<&str>,
    ) -> LaterAnswer {
        // It is asked for once more when its time is over.
        let due_at = inquiry.due_at().min(ticket.ends(config));
        let key = installation::receipt_key(question);
        let is_new = !ticket.renews && dropped.is_none();
        let waits = is_new && receipts::with(|arena| arena.waiting_on(&[key]));
        let seconds = (due_at - clock::now_us()).max(0).unsigned_abs().div_ceil(SECOND_US.unsigned_abs());
        let words = "handed in: its answer comes later";
        let fault =
            Fault { retry_after_s: Some(seconds), owed: true, ..Fault::new(FaultKind::Pending, words) };
        LaterAnswer {
            due_at,
            unwritten: waits.then(|| (key, Instant::now() + PATIENCE)),
            outcome: unfinished(config, about, inquiry, fault),
            unkept: dropped.map(|_| (question, ticket.clone())),
            gives_way: config.when_pending() == WhenPending::Next,
        }
    }

    /// Of one that was asked for too often: it is asked for again when `fault` says, or once more when its time is over at `ends`, in
    /// epoch microseconds.
    pub fn after(
        config: &Config,
        about: &About,
        inquiry: &Inquiry,
        (fault, ends): (Fault, i64),
    ) -> LaterAnswer {
        let seconds = i64::try_from(fault.retry_after_s.unwrap_or(1).max(1)).unwrap_or(i64::MAX);
        let now = clock::now_us();
        let due_at = now.saturating_add(seconds.saturating_mul(SECOND_US));
        LaterAnswer {
            due_at: if ends > now { due_at.min(ends) } else { due_at },
            unwritten: None,
            outcome: unfinished(config, about, inquiry, fault),
            unkept: None,
            gives_way: config.when_pending() == WhenPending::Next,
        }
    }

    /// What there is until then.
    pub fn into_outcome(self) -> ProviderOutcome {
        self.outcome
    }

    /// What there is, and that there will be no more.
    pub fn ended_by(self, fault: Fault) -> ProviderOutcome {
        self.outcome.ended_by(fault)
    }

    /// What there was no room to keep, and under which hash.
    pub fn take_unkept(&mut self) -> Option<(Hash, Ticket)> {
        self.unkept.take()
    }

    /// Whether the waterfall goes on to the providers after this one, of which there are so many.
    pub fn gives_way(&self, after: usize) -> bool {
        self.gives_way && after > 0 && !self.is_due()
    }

    /// Whether it can be asked for before so much time has passed.
    pub fn comes_within(&self, left: Duration) -> bool {
        !left.is_zero() && self.until_due() < left
    }

    fn until_due(&self) -> Duration {
        Duration::from_micros((self.due_at - clock::now_us()).max(0).unsigned_abs())
    }

    /// Whether it could be asked for now, were it written down.
    pub fn is_due(&self) -> bool {
        self.until_due().is_zero()
    }

    /// Of several that are due at the same time, as those are that were handed in together, all are or none.
    pub fn is_due_at(&self, now: i64) -> bool {
        self.due_at <= now
    }

    /// How long to wait before a look whether it can be asked for; zero: it can.
    pub fn left(&self) -> Duration {
        let until_due = self.until_due();
        match &self.unwritten {
            Some((key, until)) if until_due.is_zero() && Instant::now() < *until => {
                match receipts::with(|arena| arena.waiting_on(&[*key])) {
                    true => receipts::PAUSE,
                    false => Duration::ZERO,
                }
            }
            _ => until_due,
        }
    }

    /// Until it can be asked for; interrupts are served. `false`: not until then.
    pub fn wait(&self, until: Instant) -> bool {
        loop {
            let left = self.left();
            if left.is_zero() {
                return true;
            }
            let time = until.saturating_duration_since(Instant::now());
            if time.is_zero() {
                return false;
            }
            wait::doze(left.min(time), wait::Event::Provider);
        }
    }
}

//! Requests whose answer is awaited.

use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::pg::provider::again::Again;
use crate::pg::provider::receipt_sink::{Kept, KeptOutcome};
use crate::pg::provider::shared_values::About;
use crate::pg::provider::under_way::LaterAnswer;
use crate::pg::provider::{told_of, unfinished, used};
use crate::pg::shared::wait;
use crate::pg::shared::wait::Sent;
use crate::pg::shared::workers;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::stop;
use crate::pg::store::suppressions;
use crate::pg::sys::raise;
use crate::pg::sys::spi;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::{Answer, Config, Fault, FaultKind, Inquiry, Progress, Verdict};
use leadlex_domain::receipt::ProviderRefusal;
use leadlex_domain::ticket::still_owed;
use leadlex_domain::waterfall::ProviderOutcome;

/// A request whose answer is awaited.
pub struct Flight {
    pub(super) asked: SentQuestion,
    pub(super) kept: Kept,
    pub(super) sent: Sent,
    pub(super) again: Option<Again>,
}

/// Who was asked what.
pub(super) struct SentQuestion {
    pub provider: Rc<LoadedProvider>,
    pub config: Arc<Config>,
    pub about: About,
    /// How far the question had come before.
    pub inquiry: Inquiry,
    /// The hash under which its ticket is kept.
    pub ticket: Option<Hash>,
    /// When what was handed in before is given up, in epoch microseconds; `None`: nothing was.
    pub ends: Option<i64>,
    /// The request had all the time that the provider is to have.
    pub in_full: bool,
}

/// What has come of a request.
pub enum Landed {
    Done(ProviderOutcome),
    /// There is more to ask for, now or later.
    Later(Box<LaterAnswer>),
    /// To be asked again at once: it is to be logged in to anew.
    LogInAgain,
}

impl Flight {
    /// Waits for the answer, at most for the time that the request has; interrupts are served. If the first
    /// request stays unanswered, it is sent once more where that is harmless.
    pub fn wait(mut self) -> Landed {
        let again = self.again.take();
        let (mut kept, mut answer) = (self.kept, self.sent.wait());
        if let Some((new_kept, sent)) = self.asked.once_more(again, &answer) {
            (kept, answer) = (new_kept, sent.wait());
        }
        self.asked.landed(&kept, answer.map(drop))
    }

    /// What has come of it, if it is over.
    pub fn try_take(&mut self) -> Option<Landed> {
        let answer = self.sent.try_take()?;
        if let Some((kept, sent)) = self.asked.once_more(self.again.take(), &answer) {
            (self.kept, self.sent) = (kept, sent);
            return None;
        }
        Some(self.asked.landed(&self.kept, answer.map(drop)))
    }

    /// How long the request may still take; zero when its time is over.
    pub fn left(&self) -> Duration {
        self.sent.left()
    }
}

impl SentQuestion {
    /// The request on its way once more, if nothing is known of the first and a repetition does no harm.
    fn once_more(&self, again: Option<Again>, answer: &Result<Answer, Fault>) -> Option<(Kept, Sent)> {
        let unanswered = answer.as_ref().is_err_and(|fault| fault.unanswered);
        again.filter(|_| unanswered)?.send(&self.provider, &self.config)
    }

    pub fn landed(&self, kept: &Kept, answer: Result<(), Fault>) -> Landed {
        if let Err(mut fault) = answer {
            if fault.kind == FaultKind::Stopped
                && let Some(reason) = stop::reason()
            {
                fault = Fault::stopped(&reason);
            }
            // A failure leaves no receipt that would call the worker.
            workers::call_if_away();
            return self.failed_poll(&self.inquiry, fault);
        }
        let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
        self.tell_of(&kept);
        let KeptOutcome { progress: Some(progress), inquiry: Some(inquiry), ticket, dropped, .. } = kept
        else {
            let fault = Fault::new(FaultKind::Internal, "the answer was not read");
            return Landed::Done(self.failed(&self.inquiry, fault));
        };
        if let Progress::Failed(fault) = progress {
            workers::call_if_away();
            return self.failed_poll(&inquiry, fault);
        }
        if let (Some(ticket), Some(question)) = (&ticket, self.ticket) {
            let later = LaterAnswer::of(&self.config, &self.about, (question, ticket), &inquiry, dropped);
            return Landed::Later(Box::new(later));
        }
        if progress == Progress::LogInAgain {
            return Landed::LogInAgain;
        }
        Landed::Done(match progress {
            Progress::Over(verdict) => used(&self.config, &self.about, verdict),
            Progress::Pending { fault, .. } | Progress::TicketUnknown(fault) | Progress::Failed(fault) => {
                // It leaves no receipt either, and has to be counted.
                workers::call_if_away();
                self.failed(&inquiry, fault)
            }
            Progress::LogInAgain | Progress::Next { .. } => {
                let fault = Fault::new(FaultKind::BadCredentials, "what the login gave is no longer good");
                self.failed(&inquiry, fault)
            }
        })
    }

    /// What was handed in stays owed where it is asked for in vain, and is asked for again where that was too often.
    fn failed_poll(&self, inquiry: &Inquiry, fault: Fault) -> Landed {
        let Some(ends) = self.ends else { return Landed::Done(self.failed(inquiry, fault)) };
        let fault = still_owed(&self.config, inquiry, self.when_again(inquiry, fault), true);
        if fault.kind != FaultKind::RateLimited || !fault.owed {
            return Landed::Done(self.failed(inquiry, fault));
        }
        let fault = told_of(&self.provider, &self.config, fault);
        if fault.holds {
            // That is waited for as of any other question.
            return Landed::Done(unfinished(&self.config, &self.about, inquiry, fault));
        }
        Landed::Later(Box::new(LaterAnswer::after(&self.config, &self.about, inquiry, (fault, ends))))
    }

    /// With what earlier steps supplied.
    fn failed(&self, inquiry: &Inquiry, fault: Fault) -> ProviderOutcome {
        let fault = told_of(&self.provider, &self.config, self.when_again(inquiry, fault));
        match (inquiry.so_far(), fault.kind) {
            (Verdict::NoMatch, kind) if kind != FaultKind::Pending && !fault.owed => {
                ProviderOutcome::Answered(Verdict::Failed(fault))
            }
            _ => unfinished(&self.config, &self.about, inquiry, fault),
        }
    }

    /// A call whose time is over while it asks whether something is ready has found out nothing. And when to come again.
    fn when_again(&self, inquiry: &Inquiry, fault: Fault) -> Fault {
        let seconds = u64::from(self.config.poll_every_s());
        if fault.kind == FaultKind::Pending && !self.config.has_steps() && inquiry.is_new() {
            // How soon it is worth to ask again, where nothing is kept of having asked.
            return Fault { retry_after_s: Some(seconds.max(fault.retry_after_s.unwrap_or(0))), ..fault };
        }
        if fault.kind != FaultKind::Timeout || self.in_full || !inquiry.is_poll(&self.config) {
            return fault;
        }
        let words = "handed in: whether it is ready was not told before the call's time was over";
        Fault { retry_after_s: Some(seconds), owed: true, ..Fault::new(FaultKind::Pending, words) }
    }

    /// What could not be kept.
    fn tell_of(&self, kept: &KeptOutcome) {
        if let Some(unwritten) = &kept.unwritten {
            unwritten.wait(wait::nap);
        }
        match (kept.dropped, &kept.unkept) {
            (Some(why), Some(refusal)) => write_refusal(&self.provider, refusal, why),
            (Some(why), None) => tell_of_unkept(&self.provider, why),
            (None, _) => {}
        }
    }
}

/// Once a statement: of a set it can be thousands. `receipts_dropped` counts each.
fn tell_of_unkept(provider: &LoadedProvider, why: &str) {
    let message = format!("answers of provider {} could not be kept: {why}", provider.name);
    if !raise::is_first_of_statement(message.clone()) {
        return;
    }
    raise::warning(
        &message,
        "They are used now, but if this transaction does not commit, asking again costs again. leadlex.worker_status counts them as receipts_dropped.",
        "The worker wrote answers more slowly than they came: raise leadlex.receipt_buffer, or call for fewer contacts at a time. See leadlex.worker_status for whether it writes.",
        &spi::About::default(),
    );
}

/// Puts on the list, with this transaction, whom a provider refuses to tell anything about: there was no room for that
/// outside of it.
fn write_refusal(provider: &LoadedProvider, refusal: &ProviderRefusal, why: &str) {
    suppressions::file(refusal);
    raise::warning(
        &format!("the refusal of provider {} is kept with this transaction only: {why}", provider.name),
        "If it does not commit, this person may be asked about again.",
        "Put the person on the list with leadlex.suppress(value). See leadlex.worker_status for why the worker does not write.",
        &spi::About::default(),
    );
}

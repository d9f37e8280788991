//! One question under way is asked once: whose turn it is, and the wait for others.

use crate::pg::installation;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::pg::provider::asker::{Asker, Limit};
use crate::pg::provider::sending::{longest, time_for};
use crate::pg::provider::throttle;
use crate::pg::provider::throttle::Queued;
use crate::pg::provider::{Asked, Asking, Past, begin};
use crate::pg::shared::single_flight;
use crate::pg::shared::single_flight::{Before, Claim, Place, Turn};
use crate::pg::shared::wait;
use crate::pg::store::config::LoadedProvider;
use crate::pg::sys::settings;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::{Config, Fault, Verdict};
use leadlex_domain::question::Questions;
use leadlex_domain::waterfall::ProviderOutcome;

/// Somebody else's request about the same question.
#[derive(Clone, Copy)]
pub struct Awaited {
    pub place: Place,
    pub question: Hash,
    pub before: Before,
}

/// `Ok`: the question may be put now; with `None` nobody waits for the answer.
///
/// Where answers are not kept (`leadlex.receipt_ttl` = 0) there is nothing to take over: each asks for itself.
///
/// Raises 53000: no file descriptor is left for a request.
pub fn claim(
    config: &Config,
    questions: &Questions,
    past: &Past,
    left: Duration,
) -> Result<Option<Claim>, Turn> {
    if settings::receipt_terms().ttl_us == 0 {
        return Ok(None);
    }
    // What ends the claim with the session is set up there.
    wait::ready();
    let question = questions.hashes[0];
    let longest = longest(config, left);
    match single_flight::begin(
        installation::receipt_key(question),
        longest,
        past.read_at,
        past.before(question),
    ) {
        Ok(claim) => Ok(Some(claim)),
        Err(Turn::Alone) => Ok(None),
        Err(others) => Err(others),
    }
}

/// What it means that the question may not be put now.
pub fn of_others(config: &Config, turn: Turn, question: Hash) -> Asked {
    match turn {
        Turn::Theirs(place, before) => Asked::UnderWay(Awaited { place, question, before }),
        Turn::Failed(kind) => {
            let message = "others asked the same while this call waited for the answer, and failed so";
            let fault = config.held(Fault::new(kind, message));
            Asked::Done(ProviderOutcome::Answered(Verdict::Failed(fault)))
        }
        Turn::Answered | Turn::Alone | Turn::Mine(_) => Asked::Answered,
    }
}

/// Why a single call has no outcome yet.
pub enum Busy {
    /// Somebody else asks the same.
    Others(Awaited),
    /// The same has been answered since the receipts were read.
    Answered,
    /// The provider is asked as often as it may be. With it the failure that this is for who does not wait.
    Limited(Limit, Fault),
    /// It was asked, and wants to be asked later.
    AskedToWait(Limit, Fault),
}

/// What a single call is told, once its own request is over.
pub fn settled(provider: &LoadedProvider, asked: Asked) -> Result<ProviderOutcome, Busy> {
    let outcome = match asked {
        Asked::Done(outcome) => outcome,
        Asked::Waiting(flight) => flight.wait(),
        Asked::Limited(limit, fault) => return Err(Busy::Limited(limit, fault)),
        Asked::NotYet(_, fault) => return Ok(failed_with(fault)),
        Asked::UnderWay(awaited) => return Err(Busy::Others(awaited)),
        Asked::Answered => return Err(Busy::Answered),
    };
    if let ProviderOutcome::Answered(Verdict::Failed(fault))
    | ProviderOutcome::Within(_, Verdict::Failed(fault)) = &outcome
        && fault.holds
        && !fault.paused
        && let Some(pause) = throttle::paused_until(provider)
    {
        let retry_after_s = fault.retry_after_s.or(pause.wait().map(|wait| wait.as_secs() + 1));
        return Err(Busy::AskedToWait(pause, Fault { retry_after_s, ..fault.clone() }));
    }
    Ok(outcome)
}

/// Whether the call may try again, after so long a wait as there is time for.
fn waited(queued: &mut Queued, provider: &LoadedProvider, limit: Limit, deadline: Instant) -> bool {
    let Ok(config) = &provider.config else { return false };
    queued.wait(config, limit, throttle::latest(time_for(config), deadline))
}

fn failed_with(fault: Fault) -> ProviderOutcome {
    ProviderOutcome::Answered(Verdict::Failed(fault))
}

/// Waits for others as long as they ask the same, then takes what they were told; or for the call's turn; then asks.
pub fn ask_after(
    mut busy: Busy,
    provider: &Rc<LoadedProvider>,
    asking: &Asking<'_>,
    missing: FieldSet,
    left: Duration,
) -> ProviderOutcome {
    let deadline = Instant::now() + left;
    let still = || deadline.saturating_duration_since(Instant::now());
    let mut past = asking.past.clone();
    let mut queued = Queued::new(provider.id);
    let named = (provider.name.clone(), Rc::clone(provider));
    loop {
        match busy {
            Busy::Limited(limit, fault) => {
                if !waited(&mut queued, provider, limit, deadline) {
                    throttle::give_up(provider, limit, &fault);
                    return failed_with(fault);
                }
            }
            Busy::AskedToWait(limit, fault) => {
                if !waited(&mut queued, provider, limit, deadline) {
                    return failed_with(fault);
                }
            }
            Busy::Others(awaited) => {
                queued = Queued::new(provider.id);
                past.wait_for(awaited.question, awaited.before);
                single_flight::wait_for(awaited.place, still());
                past.look_again(asking.workspace, &named, asking.contact);
            }
            Busy::Answered => past.look_again(asking.workspace, &named, asking.contact),
        }
        let asking = Asking { past: &past, ..*asking };
        match settled(provider, begin(provider, &asking, missing, still(), Asker::Single)) {
            Ok(outcome) => return outcome,
            Err(still_busy) => busy = still_busy,
        }
    }
}

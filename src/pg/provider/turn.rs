//! One question under way is asked once: whose turn it is, and the wait for others.

use crate::pg::installation;
use std::time::Duration;

use crate::pg::provider::asker::Limit;
use crate::pg::provider::sending::longest;
use crate::pg::provider::throttle;
use crate::pg::provider::{Asked, Past};
use crate::pg::shared::single_flight;
use crate::pg::shared::single_flight::{Before, Place, QuestionClaim, Turn};
use crate::pg::shared::wait;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::sys::settings;
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
/// Where answers are not kept (`leadlex.receipt_ttl` = 0) there is nothing to take over: each asks for itself, but what is
/// handed in is handed in once.
///
/// Raises 53000: no file descriptor is left for a request.
pub fn claim(
    config: &Config,
    questions: &Questions,
    past: &Past,
    left: Duration,
) -> Result<Option<QuestionClaim>, Turn> {
    claim_for(config, questions, past, longest(config, left))
}

/// The same for a request that is over, and kept, after so long.
pub fn claim_for(
    config: &Config,
    questions: &Questions,
    past: &Past,
    longest: Duration,
) -> Result<Option<QuestionClaim>, Turn> {
    if settings::receipt_terms().ttl_us == 0 && !config.has_tickets() {
        return Ok(None);
    }
    // What ends the claim with the session is set up there.
    wait::ready();
    let question = questions.hashes[0];
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
            Asked::Done(ProviderOutcome::Within(config.fills(), Verdict::Failed(fault)))
        }
        Turn::Answered | Turn::Alone | Turn::Mine(_) => Asked::Answered,
    }
}

/// Waits until the other request is over, or this time is. Raises 55P03 after lock_timeout.
pub fn wait_for(awaited: &Awaited, left: Duration) {
    single_flight::wait_for(awaited.place, left);
}

/// Of a call whose request was answered: what it waits for before it asks again, and the failure that this is for a call that
/// does not wait. `None`: that answer counts.
pub fn asked_to_wait(provider: &LoadedProvider, outcome: &ProviderOutcome) -> Option<(Limit, Fault)> {
    let fault = outcome.fault()?;
    if !fault.holds || fault.paused {
        return None;
    }
    let pause = throttle::paused_until(provider)?;
    let retry_after_s = fault.retry_after_s.or(pause.wait().map(|wait| wait.as_secs() + 1));
    Some((pause, Fault { retry_after_s, ..fault.clone() }))
}

//! One question under way is asked once: whose turn it is, and the wait for others.

use crate::pg::installation;
use std::time::Duration;

use crate::pg::provider::sending::longest;
use crate::pg::provider::{Asked, Past, failed};
use crate::pg::shared::single_flight;
use crate::pg::shared::single_flight::{Before, Claim, Place, Turn};
use crate::pg::shared::wait;
use crate::pg::sys::settings;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::Config;
use leadlex_domain::question::Questions;

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
) -> Result<Option<Claim>, Turn> {
    if settings::receipt_terms().ttl_us == 0 && !config.has_steps() {
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
pub fn of_others(turn: Turn, question: Hash) -> Asked {
    match turn {
        Turn::Theirs(place, before) => Asked::UnderWay(Awaited { place, question, before }),
        Turn::Failed(kind) => {
            failed(kind, "others asked the same while this call waited for the answer, and failed so")
        }
        Turn::Answered | Turn::Alone | Turn::Mine(_) => Asked::Answered,
    }
}

/// Waits until the other request is over, or this time is. Raises 55P03 after lock_timeout.
pub fn wait_for(awaited: &Awaited, left: Duration) {
    single_flight::wait_for(awaited.place, left);
}

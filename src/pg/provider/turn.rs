//! One question under way is asked once: whose turn it is, and the wait for others.

use crate::pg::installation;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::pg::provider::sending::longest;
use crate::pg::provider::{Asked, Asker, Asking, Past, begin, failed};
use crate::pg::shared::single_flight;
use crate::pg::shared::single_flight::{Before, Claim, Place, Turn};
use crate::pg::shared::wait;
use crate::pg::store::config::LoadedProvider;
use crate::pg::sys::settings;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::{Config, Verdict};
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
pub fn of_others(turn: Turn, question: Hash) -> Asked {
    match turn {
        Turn::Theirs(place, before) => Asked::UnderWay(Awaited { place, question, before }),
        Turn::Failed(kind) => {
            failed(kind, "others asked the same while this call waited for the answer, and failed so")
        }
        Turn::Answered | Turn::Alone | Turn::Mine(_) => Asked::Answered,
    }
}

/// What a single call is told, once its own request is over. `Err`: it is somebody else's that counts.
pub fn settled(asked: Asked) -> Result<ProviderOutcome, Option<Awaited>> {
    match asked {
        Asked::Done(outcome) => Ok(outcome),
        Asked::Waiting(flight) => Ok(flight.wait()),
        Asked::NotYet(_, fault) => Ok(ProviderOutcome::Answered(Verdict::Failed(fault))),
        Asked::UnderWay(awaited) => Err(Some(awaited)),
        Asked::Answered => Err(None),
    }
}

/// Waits for others as long as they ask the same, then takes what they were told, or asks.
pub fn ask_after(
    mut busy: Option<Awaited>,
    provider: &Rc<LoadedProvider>,
    asking: &Asking<'_>,
    missing: FieldSet,
    left: Duration,
) -> ProviderOutcome {
    let deadline = Instant::now() + left;
    let still = || deadline.saturating_duration_since(Instant::now());
    let mut past = asking.past.clone();
    let named = (provider.name.clone(), Rc::clone(provider));
    loop {
        if let Some(awaited) = busy {
            past.wait_for(awaited.question, awaited.before);
            single_flight::wait_for(awaited.place, still());
        }
        past.look_again(asking.workspace, &named, asking.contact);
        let asking = Asking { past: &past, ..*asking };
        match settled(begin(provider, &asking, missing, still(), Asker::Single)) {
            Ok(outcome) => return outcome,
            Err(others) => busy = others,
        }
    }
}

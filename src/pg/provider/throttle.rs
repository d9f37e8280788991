//! Providers that are asked as often as they may be: what there is to wait for, and the wait itself.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::pg::provider::asker::{Asker, Limit, NotYet, Postponed, Refused};
use crate::pg::provider::health;
use crate::pg::shared::throttle::{Full, Turn};
use crate::pg::shared::wait;
use crate::pg::shared::wait::Event;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::sys::clock::now_us;
use leadlex_domain::health::Permit;
use leadlex_domain::pause::{Cause, Pause};
use leadlex_domain::provider::{Config, Fault, FaultKind};
use leadlex_domain::rate::Window;
use leadlex_domain::throttle::Limits;

/// Between looks whether a provider that is being tried is well again.
const TRIAL_LOOK_US: i64 = 100_000;
/// So much of a call's time is left for the request itself, or half of the provider's.
const RESERVE: Duration = Duration::from_secs(1);

/// What is worth waiting for in a pause. A set waits for what a vendor has asked for; a single call only where the provider's
/// configuration says so.
pub fn of_pause(permit: Permit, config: &Config, asker: Asker) -> Option<Postponed> {
    let asked = |pause: Pause| matches!(pause.cause, Cause::Asked | Cause::Unavailable);
    let limited = |pause: Pause, until| asked(pause).then_some(Postponed::Limited(Limit::Pause(until)));
    match (permit, asker) {
        (Permit::Trial(_), Asker::Set { .. }) => Some(Postponed::NotYet(NotYet::Trial)),
        (Permit::After(_, rank), Asker::Set { others: true, .. }) => {
            Some(Postponed::NotYet(NotYet::After(rank)))
        }
        (Permit::No(pause) | Permit::After(pause, _), Asker::Set { .. }) => limited(pause, pause.until),
        (Permit::No(pause) | Permit::After(pause, _), Asker::Single) if waits_for(pause, config) => {
            limited(pause, pause.until)
        }
        (Permit::Trial(pause), Asker::Single) if waits_for(pause, config) => {
            limited(pause, pause.until.min(now_us() + TRIAL_LOOK_US))
        }
        _ => None,
    }
}

fn waits_for(pause: Pause, config: &Config) -> bool {
    config.waits_when_limited() && pause.cause == Cause::Asked
}

/// It is not the request's turn.
pub fn not_its_turn(limits: Limits, full: Full) -> Refused {
    let limit = Limit::Turn(full.opens_at);
    let seconds = limit.wait().unwrap_or_default().as_micros().div_ceil(1_000_000).max(1) as u64;
    let fault = Fault { retry_after_s: Some(seconds), ..reached(limits) };
    Refused { fault, later: Some(Postponed::Limited(limit)) }
}

/// Whether its turn is so late that only a minute's limit can be the reason.
pub fn is_long(refused: &Refused) -> bool {
    const SECONDS: Duration = Duration::from_secs(2);
    let Some(Postponed::Limited(limit)) = refused.later else { return false };
    limit.wait().is_some_and(|wait| wait > SECONDS)
}

fn reached(limits: Limits) -> Fault {
    let at_once = limits.concurrent.map(|most| format!("{most} at once (max_concurrent)"));
    let a_second = limits.per_second.map(|most| format!("{most} a second (max_requests_per_second)"));
    let kind = match (&at_once, &a_second) {
        (None, None) => FaultKind::ProviderLimit,
        _ => FaultKind::RateLimited,
    };
    let a_minute = limits.per_minute.map(|most| {
        format!("its limit of {most} requests a minute (max_requests_per_minute), which is let out evenly")
    });
    let others = at_once.into_iter().chain(a_second).map(|limit| format!("its limit of {limit}"));
    let all: Vec<String> = others.chain(a_minute).collect();
    Fault::new(kind, format!("not asked: {} left no room in time", all.join(", ")))
}

/// The minute's or the day's limit is used up; `now` is in epoch seconds. A day is not worth waiting for.
pub fn used_up(window: Window, now: i64) -> Refused {
    /// A minute's window, with the second in which it closed.
    const MINUTE_S: i64 = 61;
    let seconds = (window.reset - now).max(1);
    let message =
        format!("its limit of {} requests (max_requests_per_minute or _per_day) is used up", window.limit);
    let fault =
        Fault { retry_after_s: Some(seconds as u64), ..Fault::new(FaultKind::ProviderLimit, message) };
    let until = Limit::Window(window.reset * 1_000_000);
    Refused { fault, later: (seconds <= MINUTE_S).then_some(Postponed::Limited(until)) }
}

/// Nobody waits for it any more: it is passed over.
pub fn give_up(provider: &LoadedProvider, limit: Limit, fault: &Fault) {
    let slot = health::open(provider.id);
    match limit {
        Limit::Pause(_) => slot.skipped(),
        Limit::Turn(_) | Limit::Window(_) => slot.not_sent(Permit::Ask, fault),
    }
}

/// When the vendor wants to be left alone, if it has said that there are too many requests.
pub fn paused_until(provider: &LoadedProvider) -> Option<Limit> {
    let pause = health::find(provider.id)?.with(|state| state.health.pause())??;
    (pause.cause == Cause::Asked).then_some(Limit::Pause(pause.until))
}

/// When a call with so much time for the provider, and so much in all, waits no longer: what is left is for the request.
pub fn latest(time: Duration, deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline - (time.min(RESERVE) / 2).min(left)
}

/// A place in the line before a provider, kept over several looks.
pub struct Queued {
    provider: Uuid,
    turn: Option<Turn>,
}

impl Queued {
    /// Not in the line yet.
    pub fn new(provider: Uuid) -> Queued {
        Queued { provider, turn: None }
    }

    /// Whether it is the line before this provider.
    pub fn is_for(&self, provider: Uuid) -> bool {
        self.provider == provider
    }

    /// Whether the request may be tried again; else what there is to wait for by now.
    pub fn look(&mut self, config: &Config, limit: Limit) -> Result<(), Limit> {
        match limit {
            Limit::Turn(_) => {
                let slot = health::open(self.provider);
                let turn = self.turn.get_or_insert_with(|| Turn::wait_for(slot));
                turn.look(config.throttle()).map_err(|full| Limit::Turn(full.opens_at))
            }
            Limit::Window(until) | Limit::Pause(until) if until > now_us() => Err(limit),
            Limit::Window(_) | Limit::Pause(_) => Ok(()),
        }
    }

    /// Waits until the request may be tried again. `false`: that is not before `latest`. Interrupts are served, and nothing is
    /// held meanwhile.
    pub fn wait(&mut self, config: &Config, mut limit: Limit, latest: Instant) -> bool {
        loop {
            match self.look(config, limit) {
                Ok(()) => return true,
                Err(still) => limit = still,
            }
            let left = latest.saturating_duration_since(Instant::now());
            if left.is_zero() || limit.wait().is_some_and(|wait| wait > left) {
                return false;
            }
            wait::doze(limit.until_look().min(left), Event::Limit);
        }
    }
}

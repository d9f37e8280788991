//! Why a provider is paused, and for how long: from a failure and its Retry-After to a pause.

use std::time::Duration;

use super::provider::{Effect, FaultKind};

/// Why a provider is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// Too many failures in a row.
    Breaker,
    /// It said that there were too many requests.
    Asked,
    /// The account with it has nothing left.
    Quota,
    /// It does not accept the secret.
    Credentials,
    /// It had an error on its side, and said when to ask again.
    Unavailable,
}

impl Cause {
    /// The stable name that leadlex.provider_stats shows as the state.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Breaker => "breaker",
            Cause::Asked => "rate_limited",
            Cause::Quota => "quota",
            Cause::Credentials => "bad_credentials",
            Cause::Unavailable => "server_error",
        }
    }

    /// The cause as a clause for messages, with "it" for the provider.
    pub const fn words(self) -> &'static str {
        match self {
            Cause::Breaker => "it failed several times in a row, so its circuit breaker is open",
            Cause::Asked => "it said that there were too many requests",
            Cause::Quota => "the account with it has nothing left",
            Cause::Credentials => "it does not accept the secret",
            Cause::Unavailable => "it had an error on its side, and asked not to be asked for a while",
        }
    }

    /// The failure that a paused provider stands for.
    pub const fn kind(self) -> FaultKind {
        match self {
            Cause::Breaker => FaultKind::BreakerOpen,
            Cause::Asked => FaultKind::RateLimited,
            Cause::Quota => FaultKind::Quota,
            Cause::Credentials => FaultKind::BadCredentials,
            Cause::Unavailable => FaultKind::ServerError,
        }
    }

    /// The first pause where the provider does not say how long, and the longest.
    const fn lengths_s(self) -> (u64, u64) {
        match self {
            Cause::Breaker => (5, 300),
            Cause::Asked | Cause::Unavailable => (1, 60),
            Cause::Quota => (5, 3_600),
            Cause::Credentials => (5, 1_800),
        }
    }
}

/// No vendor's word keeps it from being asked for longer, in seconds.
pub const LONGEST_ASKED_S: u64 = 86_400;

/// A time in which a provider is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub cause: Cause,
    /// When it is over, epoch microseconds.
    pub until: i64,
}

/// What a failure says of the provider.
pub enum Trouble {
    /// It told what is wrong, and after how many seconds it can be asked again.
    Told(Cause, Option<u64>),
    Unwell,
}

/// What a failure of this kind comes to, with the Retry-After of its answer, in whole seconds. `None`: nothing.
pub fn trouble(kind: FaultKind, retry_after_s: Option<u64>) -> Option<Trouble> {
    let asked = retry_after_s.filter(|s| *s > 0);
    match (kind.effect(), asked) {
        (Effect::RateLimited, _) => Some(Trouble::Told(Cause::Asked, asked)),
        (Effect::Quota, _) => Some(Trouble::Told(Cause::Quota, asked)),
        (Effect::Credentials, _) => Some(Trouble::Told(Cause::Credentials, asked)),
        (Effect::ServerError, Some(_)) => Some(Trouble::Told(Cause::Unavailable, asked)),
        (Effect::ServerError | Effect::Unwell, _) => Some(Trouble::Unwell),
        (Effect::Answer | Effect::Nothing, _) => None,
    }
}

/// Of the pause with this number, counted from 1: those of one trouble become longer. `asked_s`: what the provider asked for
/// (Retry-After). `breaker`: the first pause of the circuit breaker.
pub fn length(cause: Cause, asked_s: Option<u64>, number: u32, breaker: Duration) -> Duration {
    let (first, longest) = cause.lengths_s();
    let (first, longest) = match cause {
        Cause::Breaker => (breaker, breaker.max(Duration::from_secs(longest))),
        _ => (Duration::from_secs(first), Duration::from_secs(longest)),
    };
    let asked = asked_s.map(|seconds| Duration::from_secs(seconds.min(LONGEST_ASKED_S)));
    let usual = first.saturating_mul(1 << number.saturating_sub(1).min(20)).min(longest);
    match cause {
        Cause::Breaker | Cause::Unavailable => asked.unwrap_or(usual),
        // What the answer says may be nothing at all, or is about the minute's window, at whose end the account is as
        // empty.
        Cause::Asked | Cause::Quota | Cause::Credentials => asked.map_or(usual, |asked| asked.max(usual)),
    }
}

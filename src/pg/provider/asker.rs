//! Who asks, and why a request is not sent now.

use std::time::Duration;

use crate::pg::shared::wait::On;
use crate::pg::sys::clock::now_us;
use leadlex_domain::provider::Fault;

/// Longest wait without a look: who looks less often loses its place in the line.
const LOOK_ROUND: Duration = Duration::from_millis(500);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A call about one contact, which is told at once.
    Single,
    /// A set, which can wait for a moment. `others`: it has other questions to put after this one. `halves`: what a budget does not
    /// allow for all whom the request is about is asked again in halves.
    Set { others: bool, halves: bool },
    /// Somebody who wants to know: a pause is no reason not to.
    ByHand,
}

impl Asker {
    /// A set has several requests under way.
    pub fn on(self) -> On {
        match self {
            Asker::Set { .. } => On::Thread,
            Asker::Single | Asker::ByHand => On::Backend,
        }
    }
}

/// Why the request is not to be sent now.
pub struct Refused {
    pub fault: Fault,
    /// Who is told so need not take it for a failure.
    pub later: Option<Postponed>,
}

/// When it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Postponed {
    /// Only a set can wait for that.
    NotYet(NotYet),
    /// The provider is asked as often as it may be.
    Limited(Limit),
}

/// What a set waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotYet {
    /// Another request, which is finding out whether the provider is well again.
    Trial,
    /// It failed before, so others are to try first; those of a lower rank go before it.
    After(usize),
    /// Requests under way keep free what a budget has left, and may come to cost less.
    Money,
}

/// Why a request has to wait. Times are epoch microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// For its turn: `max_concurrent`, `max_requests_per_second`, or a minute's limit that is let out evenly. `None`: until
    /// requests are over.
    Turn(Option<i64>),
    /// The minute's limit is used up until then.
    Window(i64),
    /// The vendor wants to be left alone until then.
    Pause(i64),
}

impl Limit {
    /// How long from now, if that is known.
    pub fn wait(self) -> Option<Duration> {
        let until = match self {
            Limit::Turn(until) => until?,
            Limit::Window(until) | Limit::Pause(until) => until,
        };
        Some(Duration::from_micros((until - now_us()).max(0) as u64))
    }

    /// How long to wait until the next look.
    pub fn until_look(self) -> Duration {
        self.wait().map_or(LOOK_ROUND, |wait| wait.min(LOOK_ROUND))
    }
}

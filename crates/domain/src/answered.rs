//! When what is known was answered.

/// When providers answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// In this call.
    Now,
    /// Before it, in epoch microseconds: there was a receipt.
    Before(i64),
}

impl Answered {
    /// The later one.
    pub fn and(self, other: Answered) -> Answered {
        match (self, other) {
            (Answered::Before(a), Answered::Before(b)) => Answered::Before(a.max(b)),
            _ => Answered::Now,
        }
    }

    /// Epoch microseconds.
    pub fn at(self, now: i64) -> i64 {
        match self {
            Answered::Now => now,
            Answered::Before(at) => at,
        }
    }
}

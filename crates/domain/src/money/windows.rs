//! What was spent in the day, in the month and in all, and what budgets leave of that. Days and months are UTC's; times are epoch
//! seconds. Plain data without pointers, so that it can live in shared memory.
//!
//! Money that can still be spent is *reserved*: a request counts with the most that it can cost from before it is sent until its
//! answer is booked.

use super::Amount;

const DAY_S: i64 = 86_400;

/// How long a budget lasts before it begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    Day,
    Month,
    Total,
}

impl Period {
    pub const ALL: [Period; 3] = [Period::Day, Period::Month, Period::Total];

    pub const fn name(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Month => "month",
            Period::Total => "total",
        }
    }

    /// `None`: there is no such period.
    pub fn parse(name: &str) -> Option<Period> {
        Period::ALL.into_iter().find(|period| period.name() == name)
    }

    /// The epoch second at which the present one began; 0: there is one alone.
    pub fn starts_at(self, now: i64) -> i64 {
        match self {
            Period::Day => day_of(now) * DAY_S,
            Period::Month => first_day(month_of(now)) * DAY_S,
            Period::Total => 0,
        }
    }

    /// The epoch second at which the next one begins; `None`: never.
    pub fn resets_at(self, now: i64) -> Option<i64> {
        match self {
            Period::Day => Some((day_of(now) + 1) * DAY_S),
            Period::Month => Some(first_day(month_of(now) + 1) * DAY_S),
            Period::Total => None,
        }
    }
}

/// What a budget that has not enough left is waiting for. What is reserved may come to cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Requests on their way keep it free: for seconds.
    UntilRequestsEnd,
    /// Questions that were handed in keep it free, perhaps for long.
    UntilAnswersCome,
    /// It is spent.
    UntilReset,
}

/// The day, in days since 1970-01-01 UTC.
pub const fn day_of(now: i64) -> i64 {
    now.div_euclid(DAY_S)
}

/// The month, in months since January 1970.
pub fn month_of(now: i64) -> i64 {
    month_of_day(day_of(now))
}

/// The same of a day.
pub fn month_of_day(day: i64) -> i64 {
    // Days from the era's first of March, as is usual: leap days are then the last of a year.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    (era * 400 + year - 1_970) * 12 + march_month + 2
}

/// The first day of a month, both counted as above.
pub fn first_day(month: i64) -> i64 {
    let from_march = month - 2;
    let (year, march_month) = (1_970 + from_march.div_euclid(12), from_march.rem_euclid(12));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day = of_era * 365 + of_era / 4 - of_era / 100 + (153 * march_month + 2) / 5;
    era * 146_097 + day - 719_468
}

/// What was spent by the UTC day on which each request was sent, and what is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Windows {
    day: i64,
    of_day: Amount,
    month: i64,
    of_month: Amount,
    total: Amount,
    /// Of requests on their way.
    reserved: Amount,
    /// Of questions that were handed in, and are not answered yet.
    held: Amount,
    /// What asking for these can cost: only such requests may use it.
    polls_held: Amount,
    /// The same of requests on their way that hand in questions.
    polls_reserved: Amount,
}

impl Windows {
    pub const NONE: Windows = Windows {
        day: 0,
        of_day: Amount::ZERO,
        month: 0,
        of_month: Amount::ZERO,
        total: Amount::ZERO,
        reserved: Amount::ZERO,
        held: Amount::ZERO,
        polls_held: Amount::ZERO,
        polls_reserved: Amount::ZERO,
    };

    /// The same with what is held for questions that were handed in before, and for asking for them.
    #[must_use]
    pub fn holding(self, held: Amount, polls_held: Amount) -> Windows {
        Windows { held, polls_held, ..self }
    }

    /// Nothing reserved; `of_day` and `of_month` are those of `now`.
    pub fn new(now: i64, of_day: Amount, of_month: Amount, total: Amount) -> Windows {
        Windows { day: day_of(now), month: month_of(now), of_day, of_month, total, ..Windows::default() }
    }

    /// What was spent, unknown costs included, in the period that `now` is in.
    pub fn used(&self, period: Period, now: i64) -> Amount {
        let mut seen = *self;
        seen.advance(now);
        match period {
            Period::Day => seen.of_day,
            Period::Month => seen.of_month,
            Period::Total => seen.total,
        }
    }

    /// What a request that is sent now could still cost, besides all that is spent and reserved. `fetches`: it asks for what was
    /// handed in, so that what is left for polls is for it.
    pub fn left(&self, (period, budget): (Period, Amount), fetches: bool, now: i64) -> Amount {
        let left = budget.minus(self.used(period, now)).minus(self.reserved).minus(self.held);
        if fetches { left } else { left.minus(self.kept_for_polls()) }
    }

    /// Whether questions are handed in, or about to be, that are not answered yet.
    pub fn owes_answers(&self) -> bool {
        [self.held, self.polls_held, self.polls_reserved].iter().any(|amount| *amount > Amount::ZERO)
    }

    /// How soon there may be so much left, where there is not now. `polls`: what polls of its own need beside the questions that are
    /// out. Once these are answered, it needs no room for them.
    pub fn lacks(
        &self,
        (most, polls): (Amount, Amount),
        (period, budget): (Period, Amount),
        fetches: bool,
        now: i64,
    ) -> Lack {
        let unspent = budget.minus(self.used(period, now));
        let kept = if fetches { Amount::ZERO } else { self.polls_held };
        match unspent.minus(self.held).minus(kept) >= most.plus(polls) {
            true => Lack::UntilRequestsEnd,
            false if unspent >= most => Lack::UntilAnswersCome,
            false => Lack::UntilReset,
        }
    }

    /// What requests on their way and questions under way can cost at most.
    pub fn open(&self) -> Amount {
        self.reserved.plus(self.held)
    }

    /// What only such requests may use that ask for what was handed in, or is about to be.
    pub fn kept_for_polls(&self) -> Amount {
        self.polls_held.plus(self.polls_reserved)
    }

    /// Of questions that were handed in alone.
    pub fn held(&self) -> Amount {
        self.held
    }

    /// Of requests on their way alone.
    pub fn reserved(&self) -> Amount {
        self.reserved
    }

    /// Before a request is sent.
    pub fn reserve(&mut self, most: Amount) {
        self.reserved = self.reserved.plus(most);
    }

    /// The request is over: what was reserved for it is free.
    pub fn release(&mut self, most: Amount) {
        self.reserved = self.reserved.minus(most);
    }

    /// A question is under way from now on. `polls`: what asking for it can cost.
    pub fn hold(&mut self, amount: Amount, polls: Amount) {
        (self.held, self.polls_held) = (self.held.plus(amount), self.polls_held.plus(polls));
    }

    /// It is no longer.
    pub fn let_go(&mut self, amount: Amount, polls: Amount) {
        (self.held, self.polls_held) = (self.held.minus(amount), self.polls_held.minus(polls));
    }

    /// Before a request is sent that hands in questions: what asking for them can cost.
    pub fn reserve_polls(&mut self, amount: Amount) {
        self.polls_reserved = self.polls_reserved.plus(amount);
    }

    /// The request is over.
    pub fn release_polls(&mut self, amount: Amount) {
        self.polls_reserved = self.polls_reserved.minus(amount);
    }

    /// Counts what a request cost that was sent on this day.
    pub fn book(&mut self, sent_on: i64, cost: Amount, now: i64) {
        self.advance(now);
        // A clock that was set back meanwhile: what was sent on a day that has not come yet counts today.
        let sent_on = sent_on.min(self.day);
        self.total = self.total.plus(cost);
        if sent_on == self.day {
            self.of_day = self.of_day.plus(cost);
        }
        if month_of_day(sent_on) == self.month {
            self.of_month = self.of_month.plus(cost);
        }
    }

    /// Where the clock has been set back, what was spent on a day that has not come yet was spent today.
    fn advance(&mut self, now: i64) {
        let (day, month) = (day_of(now), month_of(now));
        if day > self.day {
            self.of_day = Amount::ZERO;
        }
        if month > self.month {
            self.of_month = Amount::ZERO;
        }
        (self.day, self.month) = (day, month);
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;

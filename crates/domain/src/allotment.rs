//! Credits that a workspace is given anew at the begin of each day or month, UTC. Times are epoch seconds.

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Day,
    Month,
}

const DAY_S: i64 = 86_400;

impl Period {
    /// `None`: the word is none of the two.
    pub fn parse(name: &str) -> Option<Period> {
        match name {
            "day" => Some(Period::Day),
            "month" => Some(Period::Month),
            _ => None,
        }
    }

    /// The stable name that users write and see.
    pub const fn name(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Month => "month",
        }
    }

    /// When the period began that holds this time.
    pub fn start(self, at: i64) -> i64 {
        let day = at.div_euclid(DAY_S);
        match self {
            Period::Day => day * DAY_S,
            Period::Month => (day - day_of_month(day) + 1) * DAY_S,
        }
    }

    /// When the next one begins.
    pub fn next(self, at: i64) -> i64 {
        match self {
            Period::Day => self.start(at) + DAY_S,
            // No month has more than 31 days, nor less than 28.
            Period::Month => self.start(self.start(at) + 31 * DAY_S),
        }
    }
}

/// From 1, of a day counted from 1970-01-01. A year is taken to begin in March, so that the leap day is its last; 400 years
/// have 146,097 days.
fn day_of_month(day: i64) -> i64 {
    let day = day + 719_468;
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    of_year - (153 * month + 2) / 5 + 1
}

/// By how much a balance changes so that it becomes `credits`. What calls under way have reserved stays theirs.
pub fn change(credits: i64, balance: i64, reserved: i64) -> i64 {
    (credits - balance).max(reserved.max(0) - balance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-28 00:00 UTC.
    const FEBRUARY_28: i64 = 1_709_078_400;

    #[test]
    fn a_day_begins_at_midnight() {
        for at in [FEBRUARY_28, FEBRUARY_28 + 1, FEBRUARY_28 + DAY_S - 1] {
            assert_eq!((Period::Day.start(at), Period::Day.next(at)), (FEBRUARY_28, FEBRUARY_28 + DAY_S));
        }
        assert_eq!(Period::Day.start(-1), -DAY_S);
    }

    #[test]
    fn a_month_begins_on_its_first() {
        let february = FEBRUARY_28 - 27 * DAY_S;
        let march = FEBRUARY_28 + 2 * DAY_S;
        for at in [february, FEBRUARY_28, march - 1] {
            assert_eq!((Period::Month.start(at), Period::Month.next(at)), (february, march));
        }
        assert_eq!(Period::Month.start(march), march);
        // 2023-02 has 28 days, 2100-02 too; years end on 12-31.
        assert_eq!(Period::Month.next(1_677_628_799), 1_677_628_800);
        assert_eq!(Period::Month.next(4_107_542_399), 4_107_542_400);
        assert_eq!(Period::Month.next(1_704_067_199), 1_704_067_200);
    }

    /// Each second belongs to one period, and each begins where the last has ended.
    #[test]
    fn periods_follow_one_another() {
        for period in [Period::Day, Period::Month] {
            let mut at = period.start(0);
            while at < 500 * 366 * DAY_S {
                let next = period.next(at);
                assert_eq!(period.start(next), next);
                assert_eq!(period.start(next - 1), at);
                let days = (next - at) / DAY_S;
                assert!(period == Period::Day && days == 1 || (28..=31).contains(&days), "{at} {days}");
                at = next;
            }
        }
    }

    #[test]
    fn what_is_reserved_is_not_taken_away() {
        assert_eq!(change(100, 30, 0), 70);
        assert_eq!(change(100, 130, 20), -30);
        assert_eq!(change(100, 130, 120), -10);
        assert_eq!(change(0, 0, 0), 0);
    }
}

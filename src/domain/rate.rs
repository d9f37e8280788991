//! Rate limits: a sliding minute in one-second counters, and the UTC day.
//!
//! A [`Meter`] is plain data without pointers, so that it can live in shared memory. It never reads a clock.
//! Uses are admitted against a *lease*: how many more may happen before the books have to be written again.
//! What was leased and not recorded before a crash counts as used afterwards.

/// Counters kept: the current second and the 60 before it, so that no interval of 60 seconds, wherever it
/// begins inside a second, can hold more than the limit.
pub const SECONDS: usize = 61;
const DAY: i64 = 86_400;

/// Uses admitted per window; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub per_minute: Option<u32>,
    pub per_day: Option<u32>,
}

impl Limits {
    pub const UNLIMITED: Limits = Limits { per_minute: None, per_day: None };

    pub fn is_unlimited(self) -> bool {
        self == Limits::UNLIMITED
    }

    /// How many uses one record of the books allows ahead: a tenth of the tightest limit, so that a crash
    /// costs at most that much, and a busy workspace still waits for the books only now and then.
    pub fn lease(self) -> u64 {
        let tightest = [self.per_minute, self.per_day].into_iter().flatten().min().unwrap_or(0);
        u64::from(tightest).div_ceil(10).clamp(1, 1_000)
    }
}

/// A plan's limits, by the plan's name.
pub fn plan_limits(plan: &str) -> Option<Limits> {
    let limits = |minute, day| Limits { per_minute: Some(minute), per_day: Some(day) };
    match plan {
        "starter" => Some(limits(10, 100)),
        "pro" => Some(limits(50, 1_000)),
        "org" => Some(limits(200, 10_000)),
        "unmetered" => Some(Limits::UNLIMITED),
        _ => None,
    }
}

/// One window as shown to a caller. `reset` is the epoch second at which more becomes available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub limit: u32,
    pub remaining: u32,
    pub reset: i64,
}

/// Both windows; `None` where unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub minute: Option<Window>,
    pub day: Option<Window>,
}

impl Status {
    /// The window with the least left; the one that opens later when both are as tight.
    pub fn tightest(&self) -> Option<Window> {
        let windows = [self.minute, self.day].into_iter().flatten();
        windows.min_by_key(|w| (w.remaining, -w.reset))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Admitted,
    /// Over a limit: the window that stays closed longest.
    Limited(Window),
    /// Within the limits, but the books have to be written first.
    NeedsLease,
}

/// What is written to the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub newest: i64,
    pub seconds: Vec<i32>,
    pub day: i64,
    pub day_used: i64,
    pub lease: i64,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Meter {
    seconds: [u32; SECONDS],
    newest: i64,
    day: i64,
    day_used: u64,
    lease_left: u64,
    admitted: u64,
}

impl Meter {
    pub const EMPTY: Meter =
        Meter { seconds: [0; SECONDS], newest: 0, day: 0, day_used: 0, lease_left: 0, admitted: 0 };

    /// A meter as the books have it. An open lease means that they were not closed in order: all of it
    /// may have been used, as late as now.
    pub fn restore(record: &Record, now: i64) -> Meter {
        let mut meter = Meter { newest: record.newest, ..Meter::EMPTY };
        for (age, uses) in record.seconds.iter().rev().take(SECONDS).enumerate() {
            meter.seconds[slot(record.newest - age as i64)] = (*uses).max(0) as u32;
        }
        meter.day = record.day;
        meter.day_used = record.day_used.max(0) as u64;
        let unknown = record.lease.max(0) as u64;
        meter.advance(now);
        meter.count(unknown);
        meter
    }

    /// Counts one use if the limits and the lease allow it.
    pub fn admit(&mut self, limits: Limits, now: i64) -> Admission {
        self.advance(now);
        let closed = |w: &Window| w.remaining == 0;
        let status = self.status(limits, now);
        let blocking = [status.minute, status.day].into_iter().flatten().filter(closed);
        if let Some(window) = blocking.max_by_key(|w| w.reset) {
            return Admission::Limited(window);
        }
        if !limits.is_unlimited() {
            if self.lease_left == 0 {
                return Admission::NeedsLease;
            }
            self.lease_left -= 1;
        }
        self.admitted += 1;
        self.count(1);
        Admission::Admitted
    }

    /// The windows as they are, using nothing.
    pub fn status(&self, limits: Limits, now: i64) -> Status {
        let mut seen = *self;
        seen.advance(now);
        Status {
            minute: limits.per_minute.map(|l| seen.minute(l)),
            day: limits.per_day.map(|l| seen.today(l)),
        }
    }

    /// Whether a new lease should be asked for: half of it is gone.
    pub fn lease_is_low(&self, limits: Limits) -> bool {
        !limits.is_unlimited() && self.lease_left <= limits.lease() / 2
    }

    /// The books' entry that opens a lease of `lease` more uses; the second value goes to [`Meter::opened`].
    pub fn record(&self, lease: u64) -> (Record, u64) {
        let seconds =
            (0..SECONDS as i64).rev().map(|age| self.seconds[slot(self.newest - age)] as i32).collect();
        let record = Record {
            newest: self.newest,
            seconds,
            day: self.day,
            day_used: self.day_used as i64,
            lease: lease as i64,
        };
        (record, self.admitted)
    }

    /// The record is durable: uses admitted since it was taken are part of its lease.
    pub fn opened(&mut self, lease: u64, admitted_then: u64) {
        self.lease_left = lease.saturating_sub(self.admitted - admitted_then);
    }

    /// No use is admitted any more until the next lease: taken before the books are closed.
    pub fn close(&mut self) {
        self.lease_left = 0;
    }

    pub fn lease_left(&self) -> u64 {
        self.lease_left
    }

    /// Uses admitted since this meter was restored: tells whether the books are behind.
    pub fn admitted(&self) -> u64 {
        self.admitted
    }

    fn count(&mut self, uses: u64) {
        let now = slot(self.newest);
        self.seconds[now] = self.seconds[now].saturating_add(uses.min(u64::from(u32::MAX)) as u32);
        self.day_used = self.day_used.saturating_add(uses);
    }

    /// Rolls the windows to `now`. A clock set back stays at the newest second seen, which only delays.
    fn advance(&mut self, now: i64) {
        if now > self.newest {
            let fresh = (now - self.newest).min(SECONDS as i64);
            for second in (now - fresh + 1)..=now {
                self.seconds[slot(second)] = 0;
            }
            self.newest = now;
        }
        let today = self.newest.div_euclid(DAY);
        if today > self.day {
            self.day = today;
            self.day_used = 0;
        }
    }

    fn minute(&self, limit: u32) -> Window {
        let used: u64 = self.seconds.iter().map(|&n| u64::from(n)).sum();
        let oldest = (0..SECONDS as i64).rev().find(|age| self.seconds[slot(self.newest - age)] > 0);
        // When over the limit (it was lowered), the oldest second alone may not open the window again.
        let mut excess = (used + 1).saturating_sub(u64::from(limit)).max(1);
        let mut reset = self.newest;
        for age in (0..=oldest.unwrap_or(-1)).rev() {
            let second = self.newest - age;
            reset = second + SECONDS as i64;
            excess = excess.saturating_sub(u64::from(self.seconds[slot(second)]));
            if excess == 0 {
                break;
            }
        }
        let remaining = u64::from(limit).saturating_sub(used) as u32;
        Window { limit, remaining, reset }
    }

    fn today(&self, limit: u32) -> Window {
        let remaining = u64::from(limit).saturating_sub(self.day_used) as u32;
        Window { limit, remaining, reset: (self.day + 1) * DAY }
    }
}

fn slot(second: i64) -> usize {
    second.rem_euclid(SECONDS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    const NOON: i64 = 20_000 * DAY + 43_200;

    fn ready(lease: u64) -> Meter {
        let mut meter = Meter::EMPTY;
        meter.opened(lease, 0);
        meter
    }

    #[test]
    fn no_sixty_seconds_admit_more_than_the_limit() {
        let limits = Limits { per_minute: Some(5), per_day: None };
        let mut meter = ready(1_000);
        let mut admitted = Vec::new();
        for second in 0..400 {
            for _ in 0..(second % 3) {
                if meter.admit(limits, NOON + second) == Admission::Admitted {
                    admitted.push(second);
                }
            }
        }
        for &start in &admitted {
            // A use late in second `start` and one early in `start + 60` are less than 60 s apart.
            let within = admitted.iter().filter(|&&s| (start..=start + 60).contains(&s)).count();
            assert!(within <= 5, "{within} uses in the minute from {start}");
        }
        assert!(admitted.len() >= 30);
    }

    #[test]
    fn the_window_says_when_it_opens() {
        let limits = Limits { per_minute: Some(2), per_day: None };
        let mut meter = ready(10);
        meter.admit(limits, NOON);
        meter.admit(limits, NOON + 10);
        let Admission::Limited(window) = meter.admit(limits, NOON + 20) else { panic!("admitted a third") };
        assert_eq!(window, Window { limit: 2, remaining: 0, reset: NOON + 61 });
        assert!(matches!(meter.admit(limits, NOON + 60), Admission::Limited(_)));
        assert_eq!(meter.admit(limits, NOON + 61), Admission::Admitted);
    }

    #[test]
    fn a_lowered_limit_waits_until_enough_has_aged() {
        let mut meter = ready(10);
        for second in 0..4 {
            meter.admit(Limits { per_minute: Some(4), per_day: None }, NOON + second);
        }
        let lowered = Limits { per_minute: Some(2), per_day: None };
        let Admission::Limited(window) = meter.admit(lowered, NOON + 5) else { panic!("admitted") };
        assert_eq!(window.reset, NOON + 2 + 61);
        let zero = Limits { per_minute: Some(0), per_day: None };
        assert!(matches!(Meter::EMPTY.clone().admit(zero, NOON), Admission::Limited(_)));
    }

    #[test]
    fn days_turn_at_midnight_utc() {
        let limits = Limits { per_minute: None, per_day: Some(1) };
        let mut meter = ready(10);
        let last = 20_001 * DAY - 1;
        assert_eq!(meter.admit(limits, last), Admission::Admitted);
        let Admission::Limited(window) = meter.admit(limits, last) else { panic!("admitted") };
        assert_eq!(window.reset, 20_001 * DAY);
        assert_eq!(meter.admit(limits, last + 1), Admission::Admitted);
    }

    #[test]
    fn an_open_lease_counts_as_used_after_a_crash_and_a_closed_one_does_not() {
        let limits = Limits { per_minute: Some(10), per_day: Some(100) };
        let mut meter = ready(4);
        for _ in 0..3 {
            meter.admit(limits, NOON);
        }
        let (open, _) = meter.record(4);
        let crashed = Meter::restore(&open, NOON + 2).status(limits, NOON + 2);
        assert_eq!((crashed.minute.unwrap().remaining, crashed.day.unwrap().remaining), (3, 93));
        let (closed, _) = meter.record(0);
        let clean = Meter::restore(&closed, NOON + 2).status(limits, NOON + 2);
        assert_eq!((clean.minute.unwrap().remaining, clean.day.unwrap().remaining), (7, 97));
        let later = Meter::restore(&closed, NOON + 61).status(limits, NOON + 61);
        assert_eq!((later.minute.unwrap().remaining, later.day.unwrap().remaining), (10, 97));
    }

    #[test]
    fn uses_never_outrun_what_is_on_record() {
        let limits = Limits { per_minute: Some(100), per_day: None };
        let mut meter = ready(3);
        meter.admit(limits, NOON);
        let (record, then) = meter.record(3);
        meter.admit(limits, NOON);
        meter.admit(limits, NOON);
        assert_eq!(meter.admit(limits, NOON), Admission::NeedsLease);
        meter.opened(3, then);
        assert_eq!(meter.admit(limits, NOON), Admission::Admitted);
        assert_eq!(meter.admit(limits, NOON), Admission::NeedsLease);
        let used = 100 - Meter::restore(&record, NOON).status(limits, NOON).minute.unwrap().remaining;
        assert_eq!(used, 4, "one recorded and three leased: what was admitted in all");
    }

    #[test]
    fn a_clock_set_back_never_admits_more() {
        let limits = Limits { per_minute: Some(1), per_day: Some(5) };
        let mut meter = ready(10);
        assert_eq!(meter.admit(limits, NOON), Admission::Admitted);
        assert!(matches!(meter.admit(limits, NOON - 3_600), Admission::Limited(_)));
        assert!(matches!(meter.admit(limits, NOON + 30), Admission::Limited(_)));
    }

    #[test]
    fn the_tightest_window_is_the_one_with_least_left() {
        let limits = Limits { per_minute: Some(10), per_day: Some(100) };
        let mut meter = ready(200);
        assert_eq!(meter.status(limits, NOON).tightest().unwrap().limit, 10);
        for minute in 0..10 {
            for _ in 0..10 {
                meter.admit(limits, NOON + minute * 61);
            }
        }
        assert_eq!(meter.status(limits, NOON + 700).tightest().unwrap().limit, 100);
        assert_eq!(Status::default().tightest(), None);
    }
}

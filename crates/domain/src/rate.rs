//! Rate limits: a sliding minute in one-second counters, and the UTC day.
//!
//! A [`Meter`] is plain data without pointers, so that it can live in shared memory. It never reads a clock.
//! Uses are admitted against a *lease*: how many more may happen before the tables have to be written again.
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
    /// No limit, neither per minute nor per day.
    pub const UNLIMITED: Limits = Limits { per_minute: None, per_day: None };

    /// Whether neither window has a limit.
    pub fn is_unlimited(self) -> bool {
        self == Limits::UNLIMITED
    }

    /// How many uses one record of the tables allows ahead: a tenth of the tightest limit, so that a crash
    /// costs at most that much, and a busy workspace still waits for the worker only now and then.
    /// From 1 to 1,000 uses.
    pub fn lease(self) -> u64 {
        let tightest = [self.per_minute, self.per_day].into_iter().flatten().min().unwrap_or(0);
        u64::from(tightest).div_ceil(10).clamp(1, 1_000)
    }
}

/// A plan's limits, by the plan's name.
/// `None`: there is no such plan.
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

/// One window as shown to a caller, also in the result of a call. `reset` is the epoch second at which more becomes
/// available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Window {
    /// Uses that the window allows.
    pub limit: u32,
    /// Uses that are left in it.
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
    /// `None`: neither window has a limit.
    pub fn tightest(&self) -> Option<Window> {
        let windows = [self.minute, self.day].into_iter().flatten();
        windows.min_by_key(|w| (w.remaining, -w.reset))
    }
}

/// Whether one use may happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Admitted,
    /// Over a limit: the window that stays closed longest.
    Limited(Window),
    /// Within the limits, but the tables have to be written first.
    NeedsLease,
}

/// What is written to the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The latest second that is counted, epoch seconds.
    pub newest: i64,
    /// Uses in each of the last [`SECONDS`] seconds, the newest last.
    pub seconds: Vec<i32>,
    /// The UTC day that is counted, in days since 1970-01-01.
    pub day: i64,
    /// Uses on that day.
    pub day_used: i64,
    /// Uses that may have happened after this was written.
    pub lease: i64,
}

/// The uses of one workspace or provider, and what is left of its lease. Times are epoch seconds.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Meter {
    uses: Uses,
    /// As they were when the clock was set back, in case it is set forth again within a minute: then this is what counts.
    before: Uses,
    /// What the clock said when it was set back; `None` as long as `before` means nothing.
    set_back_to: Option<i64>,
    lease_left: u64,
    admitted: u64,
}

/// Uses by the times that the clock told.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Uses {
    seconds: [u32; SECONDS],
    newest: i64,
    day: i64,
    day_used: u64,
    /// The day before that in which something was used, if it is known.
    day_before: i64,
    day_before_used: u64,
}

impl Meter {
    /// A meter that has counted nothing and has no lease.
    pub const EMPTY: Meter =
        Meter { uses: Uses::NONE, before: Uses::NONE, set_back_to: None, lease_left: 0, admitted: 0 };

    /// A meter as the tables have it. An open lease means that they were not closed in order: all of it
    /// may have been used, as late as now.
    pub fn restore(record: &Record, now: i64) -> Meter {
        let mut uses = Uses { newest: record.newest, ..Uses::NONE };
        for (age, count) in record.seconds.iter().rev().take(SECONDS).enumerate() {
            uses.seconds[slot(record.newest.wrapping_sub(age as i64))] = (*count).max(0) as u32;
        }
        uses.day = record.day;
        uses.day_used = record.day_used.max(0) as u64;
        let unknown = record.lease.max(0) as u64;
        let mut meter = Meter { uses, ..Meter::EMPTY };
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
            minute: limits.per_minute.map(|l| seen.uses.minute(l)),
            day: limits.per_day.map(|l| seen.uses.today(l)),
        }
    }

    /// Whether a new lease should be asked for: half of it is gone.
    pub fn lease_is_low(&self, limits: Limits) -> bool {
        !limits.is_unlimited() && self.lease_left <= limits.lease() / 2
    }

    /// The record that opens a lease of `lease` more uses; the second value goes to [`Meter::opened`].
    pub fn record(&self, lease: u64) -> (Record, u64) {
        let uses = &self.uses;
        let seconds =
            (0..SECONDS as i64).rev().map(|age| uses.seconds[slot(uses.newest - age)] as i32).collect();
        let record = Record {
            newest: uses.newest,
            seconds,
            day: uses.day,
            day_used: uses.day_used as i64,
            lease: lease as i64,
        };
        (record, self.admitted)
    }

    /// The record is durable: uses admitted since it was taken are part of its lease.
    pub fn opened(&mut self, lease: u64, admitted_then: u64) {
        self.lease_left = lease.saturating_sub(self.admitted - admitted_then);
    }

    /// No use is admitted any more until the next lease: taken before the lease is closed.
    pub fn close(&mut self) {
        self.lease_left = 0;
    }

    /// Uses that the open lease still allows; 0 when there is none.
    pub fn lease_left(&self) -> u64 {
        self.lease_left
    }

    /// Uses admitted since this meter was restored: tells whether the tables are behind.
    pub fn admitted(&self) -> u64 {
        self.admitted
    }

    fn count(&mut self, uses: u64) {
        self.uses.count(uses);
        if self.set_back_to.is_some() {
            self.before.count(uses);
        }
    }

    /// Rolls the windows to `now`.
    ///
    /// Where the clock has been set back, what was used counts as used just before `now`: it delays for a window, and not
    /// until the clock is again where it was. If it jumps back to there, nothing has been forgotten.
    fn advance(&mut self, now: i64) {
        if let Some(set_back_to) = self.set_back_to {
            if now >= self.before.newest {
                self.uses = self.before;
                self.set_back_to = None;
            } else if now >= set_back_to.saturating_add(SECONDS as i64) {
                self.set_back_to = None;
            }
        }
        if now < self.uses.newest {
            if self.set_back_to.is_none() {
                self.before = self.uses;
            }
            self.set_back_to = Some(now);
            self.uses.shift(now);
        }
        self.uses.advance(now);
    }
}

impl Uses {
    const NONE: Uses =
        Uses { seconds: [0; SECONDS], newest: 0, day: 0, day_used: 0, day_before: 0, day_before_used: 0 };

    fn count(&mut self, uses: u64) {
        let now = slot(self.newest);
        self.seconds[now] = self.seconds[now].saturating_add(uses.min(u64::from(u32::MAX)) as u32);
        self.day_used = self.day_used.saturating_add(uses);
    }

    /// To a time that is not before the newest.
    fn advance(&mut self, now: i64) {
        if now > self.newest {
            let fresh = now.saturating_sub(self.newest).min(SECONDS as i64);
            for second in (now - fresh + 1)..=now {
                self.seconds[slot(second)] = 0;
            }
            self.newest = now;
        }
        let today = self.newest.div_euclid(DAY);
        if today > self.day {
            (self.day_before, self.day_before_used) = (self.day, self.day_used);
            self.day = today;
            self.day_used = 0;
        }
    }

    /// To a time before the newest: every use keeps its age, and what was used on a day that has not come yet was used
    /// today.
    fn shift(&mut self, now: i64) {
        let old = self.seconds;
        for age in 0..SECONDS as i64 {
            self.seconds[slot(now - age)] = old[slot(self.newest.wrapping_sub(age))];
        }
        self.newest = now;
        let today = now.div_euclid(DAY);
        if today < self.day {
            if self.day_before == today {
                self.day_used = self.day_used.saturating_add(self.day_before_used);
            }
            self.day = today;
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
#[path = "rate_tests.rs"]
mod tests;

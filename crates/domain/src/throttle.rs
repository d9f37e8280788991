//! How fast a vendor may be asked: requests under way at once, requests a second, and a minute's limit that is let out evenly.
//!
//! [`Throttle`] is plain data, kept in shared memory for all backends together. It never reads a clock: times are epoch
//! microseconds.

const SECOND_US: i64 = 1_000_000;
/// Of a minute's limit so many requests may be sent at once, or a second's share where that is more.
const BURST: u32 = 5;
/// A request has reached the vendor by its answer, or so long after it was sent: what is counted is what the vendor sees.
const TRAVEL_US: i64 = 250_000;
/// A vendor can count a request as under way for a moment after its answer has come.
const REST_US: i64 = 10_000;
/// Requests, or groups of requests, whose times are remembered.
const SLOTS: usize = 32;
/// Stands for a time that is not known yet: the request is about to be sent.
const UNSENT: i64 = i64::MAX;

/// What a description allows; `None`: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at once.
    pub concurrent: Option<u32>,
    /// Requests within any second.
    pub per_second: Option<u32>,
    /// Requests within a minute, to be let out evenly.
    pub per_minute: Option<u32>,
    /// Of a minute's requests so many may be sent at once where that is at most a tenth of them; 0: no more than usual.
    pub burst: u32,
}

impl Limits {
    /// Whether a request never has to wait for its turn.
    pub fn is_unlimited(self) -> bool {
        self == Limits::default()
    }

    fn second(self) -> Option<Rule> {
        self.per_second.map(|most| Rule { most: most.max(1), period_us: SECOND_US })
    }

    fn minute(self) -> Option<Rule> {
        let limit = self.per_minute?.max(1);
        let burst = BURST.max(self.burst.min(limit / 10)).min(limit);
        let most = limit.div_ceil(60).max(burst);
        Some(Rule { most, period_us: 60 * SECOND_US * i64::from(most) / i64::from(limit) })
    }
}

/// At most so many requests within any period of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    most: u32,
    period_us: i64,
}

impl Rule {
    /// Requests that share a slot.
    fn group(self) -> u32 {
        self.most.div_ceil(SLOTS as u32)
    }

    /// Slots that may be in use at once.
    fn slots(self) -> usize {
        (self.most / self.group()) as usize
    }
}

/// A request, or a group of them that were sent one after another.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Slot {
    /// The numbers of the requests.
    first: u64,
    last: u64,
    count: u32,
    /// Of these, requests that are about to be sent, and requests that are not over.
    unsent: u32,
    under_way: u32,
    period_us: i64,
    /// From then on those that were sent count no longer.
    over_at: i64,
}

impl Slot {
    const FREE: Slot =
        Slot { first: 0, last: 0, count: 0, unsent: 0, under_way: 0, period_us: 0, over_at: 0 };

    fn opens_at(&self) -> i64 {
        if self.unsent > 0 { UNSENT } else { self.over_at }
    }

    fn add(&mut self, number: u64, rule: Rule) {
        if self.count == 0 {
            self.first = number;
        }
        self.last = number;
        self.count += 1;
        self.unsent += 1;
        self.under_way += 1;
        self.period_us = rule.period_us;
    }
}

/// The last requests, as one rule has them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Pace([Slot; SLOTS]);

impl Pace {
    const NEW: Pace = Pace([Slot::FREE; SLOTS]);

    /// A clock that was ahead, and a limit that was lower, delay by one period at most.
    fn tend(&mut self, rule: Rule, now: i64) {
        let latest = now.saturating_add(rule.period_us + TRAVEL_US);
        self.0.iter_mut().for_each(|slot| slot.over_at = slot.over_at.min(latest));
    }

    fn busy(&self, now: i64) -> impl Iterator<Item = &Slot> {
        self.0.iter().filter(move |slot| slot.opens_at() > now)
    }

    /// Requests that may be sent now.
    fn room(&self, rule: Rule, now: i64) -> u32 {
        let (busy, group) = (self.busy(now).count(), rule.group());
        if busy > rule.slots() {
            return 0;
        }
        let begun: u32 = self.busy(now).map(|slot| group.saturating_sub(slot.count)).sum();
        (rule.slots() - busy) as u32 * group + begun
    }

    /// From when on there is room for one more than `ahead`.
    fn opens_at(&self, rule: Rule, ahead: u32, now: i64) -> i64 {
        let mut times: Vec<i64> = self.busy(now).map(Slot::opens_at).collect();
        times.sort_unstable();
        let wanted = (ahead / rule.group()) as usize + 1;
        let to_open = (times.len() + wanted).saturating_sub(rule.slots());
        match to_open.min(times.len()) {
            0 => now,
            count => times[count - 1],
        }
    }

    fn take(&mut self, rule: Rule, number: u64, now: i64) {
        let begun = self.0.iter().position(|slot| slot.opens_at() > now && slot.count < rule.group());
        if begun.is_none()
            && let Some(free) = self.0.iter_mut().find(|slot| slot.opens_at() <= now)
        {
            *free = Slot::FREE;
            free.add(number, rule);
        }
        if let Some(begun) = begun {
            self.0[begun].add(number, rule);
        }
    }

    fn own(&mut self, number: u64) -> Option<&mut Slot> {
        self.0.iter_mut().find(|slot| slot.count > 0 && (slot.first..=slot.last).contains(&number))
    }

    fn sent(&mut self, number: u64, now: i64) {
        if let Some(slot) = self.own(number) {
            slot.unsent = slot.unsent.saturating_sub(1);
            slot.over_at = slot.over_at.max(now + slot.period_us + TRAVEL_US);
        }
    }

    fn end(&mut self, number: u64, sent: bool, now: i64) {
        let Some(slot) = self.own(number) else { return };
        slot.under_way = slot.under_way.saturating_sub(1);
        if !sent {
            slot.unsent = slot.unsent.saturating_sub(1);
            slot.count -= 1;
        }
        if slot.count == 0 {
            *slot = Slot::FREE;
        } else if slot.under_way == 0 {
            slot.over_at = slot.over_at.min(now + slot.period_us);
        }
    }
}

/// The requests to one vendor, as far as its limits go.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Throttle {
    under_way: u32,
    /// The number of the last request.
    number: u64,
    /// When the last requests ended.
    ended: [i64; SLOTS],
    next_ended: u32,
    second: Pace,
    minute: Pace,
}

impl Throttle {
    /// No request has been sent yet.
    pub const NEW: Throttle = Throttle {
        under_way: 0,
        number: 0,
        ended: [0; SLOTS],
        next_ended: 0,
        second: Pace::NEW,
        minute: Pace::NEW,
    };

    /// How many requests may be sent now.
    pub fn room(&mut self, limits: Limits, now: i64) -> u32 {
        let mut room = u32::MAX;
        if let Some(most) = limits.concurrent {
            let resting = self.resting(now).count() as u32;
            room = most.saturating_sub(self.under_way.saturating_add(resting));
        }
        for (rule, pace) in self.paces(limits) {
            pace.tend(rule, now);
            room = room.min(pace.room(rule, now));
        }
        room
    }

    /// From when on there may be room for one more than `ahead`.
    /// `None`: that depends on when a request ends.
    pub fn opens_at(&mut self, limits: Limits, ahead: u32, now: i64) -> Option<i64> {
        let paced = self.paces(limits).map(|(rule, pace)| pace.opens_at(rule, ahead, now)).max();
        let mut opens_at = paced.unwrap_or(now);
        if let Some(most) = limits.concurrent {
            if self.under_way.saturating_add(ahead) >= most {
                return None;
            }
            let mut resting: Vec<i64> = self.resting(now).map(|ended| ended + REST_US).collect();
            resting.sort_unstable();
            let to_open =
                (resting.len() + (self.under_way + ahead + 1) as usize).saturating_sub(most as usize);
            if let Some(last) = to_open.checked_sub(1).and_then(|at| resting.get(at)) {
                opens_at = opens_at.max(*last);
            }
        }
        (opens_at != UNSENT).then_some(opens_at)
    }

    /// A request is to be sent: its number. There is room for it, as [`Throttle::room`] says.
    pub fn take(&mut self, limits: Limits, now: i64) -> u64 {
        self.under_way = self.under_way.saturating_add(1);
        self.number += 1;
        let number = self.number;
        for (rule, pace) in self.paces(limits) {
            pace.take(rule, number, now);
        }
        number
    }

    /// It is sent now.
    pub fn sent(&mut self, number: u64, now: i64) {
        self.second.sent(number, now);
        self.minute.sent(number, now);
    }

    /// It is over, or is not sent after all (`sent` is false): then it counts for nothing.
    pub fn end(&mut self, number: u64, sent: bool, now: i64) {
        self.under_way = self.under_way.saturating_sub(1);
        if sent {
            self.ended[self.next_ended as usize % SLOTS] = now;
            self.next_ended = self.next_ended.wrapping_add(1);
        }
        self.second.end(number, sent, now);
        self.minute.end(number, sent, now);
    }

    /// Requests under way.
    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    fn resting(&self, now: i64) -> impl Iterator<Item = i64> + '_ {
        self.ended.iter().copied().filter(move |ended| *ended <= now && now < *ended + REST_US)
    }

    fn paces(&mut self, limits: Limits) -> impl Iterator<Item = (Rule, &mut Pace)> {
        let all = [(limits.second(), &mut self.second), (limits.minute(), &mut self.minute)];
        all.into_iter().filter_map(|(rule, pace)| Some((rule?, pace)))
    }
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;

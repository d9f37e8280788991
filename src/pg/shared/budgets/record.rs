//! What of the tables in shared memory is to be written down, and what follows from its being durable.

use super::table::{Counts, Entry, EntryKey, Phase, Sum, SumKey, Table};
use leadlex_domain::money::Amount;
use leadlex_domain::money::windows::day_of;

/// After so long without a request a lease is closed.
const IDLE_S: i64 = 2;

/// What is to be written into the tables, in one transaction.
#[derive(Default)]
pub struct Record {
    pub entries: Vec<(EntryKey, Counts)>,
    /// Leases as they are from then on; zero: none.
    pub leases: Vec<(SumKey, Amount)>,
    /// The most credits that an answer of a provider has reported.
    pub reported: Vec<(SumKey, Amount)>,
    /// The day of the leases.
    pub day: i64,
    /// Sums with what is recorded of them.
    sums: Vec<(SumKey, Amount)>,
}

impl Record {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.leases.is_empty() && self.reported.is_empty()
    }
}

/// Which leases are closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Those without a request for a while.
    Idle,
    /// Those without a request under way.
    Unused,
}

impl Table<'_> {
    /// What the tables do not know of this database; to be given to [`Table::recorded`] after the commit.
    pub fn record(&mut self, (database, catalog): (u32, u32), close: Close, now: i64) -> Record {
        let ours = |key: &SumKey| (key.database, key.catalog) == (database, catalog);
        let mut record = Record { day: day_of(now), ..Record::default() };
        for entry in &self.entries[..self.head.entries as usize] {
            if ours(&entry.key.of) && entry.counts != Counts::NONE {
                record.entries.push((entry.key, entry.counts));
            }
        }
        for sum in &mut self.sums[..self.head.sums as usize] {
            if sum.phase != Phase::Ready || !ours(&sum.key) {
                continue;
            }
            if sum.unrecorded > Amount::ZERO {
                record.sums.push((sum.key, sum.unrecorded));
            }
            if !sum.reported_recorded {
                record.reported.push((sum.key, sum.reported));
            }
            if let Some(lease) = sum.next_lease(close, now) {
                record.leases.push((sum.key, lease));
            }
        }
        record
    }

    /// The record is durable.
    pub fn recorded(&mut self, record: &Record) {
        for (key, counts) in &record.entries {
            let filled = self.head.entries as usize;
            let Some(entry) = self.entries[..filled].iter_mut().find(|entry| entry.key == *key) else {
                continue;
            };
            entry.counts.subtract(counts);
            if entry.in_flight == 0 && entry.counts == Counts::NONE {
                *entry = Entry::FREE;
            }
        }
        for (key, recorded) in &record.sums {
            self.change(key, |sum| sum.unrecorded = sum.unrecorded.minus(*recorded));
        }
        for (key, reported) in &record.reported {
            self.change(key, |sum| sum.reported_recorded = sum.reported == *reported);
        }
        for (key, lease) in &record.leases {
            self.change(key, |sum| {
                (sum.lease, sum.lease_day, sum.recorded_lease) = (*lease, record.day, *lease);
                sum.lease_wanted = Amount::ZERO;
            });
        }
    }

    fn change(&mut self, key: &SumKey, change: impl FnOnce(&mut Sum)) {
        if let Some(index) = self.find(key) {
            change(&mut self.sums[index]);
        }
    }

    /// Whether requests of this database are under way, or leases open.
    pub fn is_open(&self, database: u32) -> bool {
        let entries = &self.entries[..self.head.entries as usize];
        let sums = &self.sums[..self.head.sums as usize];
        entries.iter().any(|entry| entry.key.of.database == database && entry.in_flight > 0)
            || sums.iter().any(|sum| sum.key.database == database && sum.recorded_lease > Amount::ZERO)
    }

    /// What belongs to no extension of this database any more: all but what belongs to this one.
    pub fn forget(&mut self, database: u32, keep: Option<u32>) {
        let gone = |key: &SumKey| key.database == database && keep != Some(key.catalog);
        for sum in self.sums.iter_mut().filter(|sum| gone(&sum.key) && sum.in_flight == 0) {
            *sum = Sum::FREE;
        }
        for entry in self.entries.iter_mut().filter(|entry| gone(&entry.key.of) && entry.in_flight == 0) {
            *entry = Entry::FREE;
        }
    }
}

impl Sum {
    /// The lease that is to be written, where it changes. With it what is unrecorded now is recorded. Until that is durable
    /// the old one is used: what it still allows stays allowed.
    fn next_lease(&mut self, close: Close, now: i64) -> Option<Amount> {
        let is_idle = match close {
            Close::Idle => !(self.at..=self.at + IDLE_S).contains(&now),
            Close::Unused => true,
        };
        let reserved = self.windows.reserved().plus(self.unrecorded_holds);
        if is_idle && self.in_flight == 0 && self.unrecorded_holds == Amount::ZERO {
            // From now on nobody uses it.
            (self.lease, self.lease_day, self.lease_wanted) = (Amount::ZERO, 0, Amount::ZERO);
            return (self.recorded_lease > Amount::ZERO).then_some(Amount::ZERO);
        }
        let left = self.lease.minus(self.outstanding());
        let is_wanted = self.lease_wanted > Amount::ZERO;
        let changes = is_wanted || self.unrecorded > Amount::ZERO && self.recorded_lease > Amount::ZERO;
        changes.then(|| reserved.plus(self.lease_wanted.max(left)))
    }
}

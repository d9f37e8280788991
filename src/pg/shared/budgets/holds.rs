//! What is held for questions that were handed in, once their requests are over.

use super::table::{EntryKey, Phase, Sum, SumKey, Table};
use leadlex_domain::money::Amount;

impl Table<'_> {
    /// What a question holds that was handed in is never in the tables, as there is no room to keep it: it counts as spent.
    pub fn lose(&mut self, key: &EntryKey, (amount, polls): (Amount, Amount), now: i64) {
        self.head.changes += 1;
        self.each_of(&key.of, |sum| {
            sum.windows.let_go(amount, polls);
            sum.windows.book(key.day, amount, now);
            sum.unrecorded = sum.unrecorded.plus(amount);
        });
        self.hold_recorded(&key.of, amount);
        if let Some(index) = self.entry(key) {
            let counts = &mut self.entries[index].counts;
            counts.unknown = counts.unknown.plus(amount);
        }
    }

    /// What was released stays in the tables: it is held until it is taken out of them.
    pub fn hold_again(&mut self, of: &SumKey, amount: Amount, polls: Amount) {
        self.each_of(of, |sum| sum.windows.hold(amount, polls));
    }

    /// It is answered, by a request that costs money of another currency.
    pub fn let_go(&mut self, of: &SumKey, amount: Amount, polls: Amount) {
        self.each_of(of, |sum| sum.windows.let_go(amount, polls));
    }

    /// So much of what is held is in the tables by now, and their lease is smaller by as much.
    pub fn hold_written(&mut self, of: &SumKey, amount: Amount) {
        self.hold_recorded(of, amount);
        if let Some(index) = self.find(of) {
            let sum = &mut self.sums[index];
            sum.lease = sum.lease.minus(amount);
            sum.recorded_lease = sum.recorded_lease.minus(amount);
        }
    }

    /// So much of what is held need not be written any more.
    pub fn hold_recorded(&mut self, of: &SumKey, amount: Amount) {
        if let Some(index) = self.find(of) {
            let sum = &mut self.sums[index];
            sum.unrecorded_holds = sum.unrecorded_holds.minus(amount);
        }
    }

    /// What was held is spent by the tables: on this day. It is not asked for any more.
    pub fn given_up(&mut self, of: &SumKey, (day, amount, polls): (i64, Amount, Amount), now: i64) {
        self.each_of(of, |sum| {
            sum.windows.let_go(amount, polls);
            sum.windows.book(day, amount, now);
        });
    }

    fn each_of(&mut self, of: &SumKey, change: impl Fn(&mut Sum)) {
        for key in of.concerned() {
            if let Some(index) = self.find(&key).filter(|index| self.sums[*index].phase == Phase::Ready) {
                change(&mut self.sums[index]);
            }
        }
    }
}

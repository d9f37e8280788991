//! What was spent and is not written down yet, and how much budgets have left: tables of bounded size.
//!
//! They live in shared memory, but nothing here knows that, so it can be tested by itself. A request that is priced touches four
//! sums: of its workspace and provider, of either alone, and of all. What one of them has reserved or not recorded keeps it in
//! its place. The finest of the four has the *lease*: so much may be spent before it has to be written down again. What
//! was leased and not recorded before a crash counts as spent afterwards.

use leadlex_domain::money::hold::HoldChange;
use leadlex_domain::money::quality::{FieldCounts, Uses};
use leadlex_domain::money::windows::{Period, Windows, day_of};
use leadlex_domain::money::{Amount, Currency};
use leadlex_domain::provider::price::Bill;

/// Sums at once, in all databases together.
pub const SUMS: usize = 4_096;
/// Days, roles, workspaces and providers of requests that are under way or not recorded.
pub const ENTRIES: usize = 4_096;
/// Bytes of a provider's name.
pub const NAME: usize = 64;
/// How long one session may take to load a sum before another does.
const LOADING_S: i64 = 10;

/// Everything that a sum is about. A name of zeros is every provider, a workspace of ones every workspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct SumKey {
    pub database: u32,
    pub catalog: u32,
    pub currency: Currency,
    pub workspace: [u8; 16],
    pub provider: [u8; NAME],
}

/// Every workspace together, `check_provider` too.
pub const EVERY_WORKSPACE: [u8; 16] = [0xff; 16];
/// Every provider together.
pub const EVERY_PROVIDER: [u8; NAME] = [0; NAME];

impl SumKey {
    /// What a request counts in: the finest first.
    pub fn concerned(self) -> [SumKey; 4] {
        let all = SumKey { workspace: EVERY_WORKSPACE, ..self };
        let every = SumKey { provider: EVERY_PROVIDER, ..self };
        [self, all, every, SumKey { provider: EVERY_PROVIDER, ..all }]
    }

    pub fn name(&self) -> &str {
        name_of(&self.provider)
    }
}

/// A provider's name as it stands here, without the zeros.
pub fn name_of(bytes: &[u8; NAME]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME);
    std::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

/// The same the other way round; a longer one is cut off.
pub fn name_bytes(name: &str) -> [u8; NAME] {
    let mut bytes = [0; NAME];
    let length = name.len().min(NAME - 1);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Phase {
    Free,
    Loading,
    Ready,
}

/// One sum.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Sum {
    pub(super) key: SumKey,
    pub(super) phase: Phase,
    /// Since when it is loaded, or when it was used last: epoch seconds.
    pub(super) at: i64,
    pub(super) windows: Windows,
    /// Booked, and not in the tables.
    pub(super) unrecorded: Amount,
    pub(super) in_flight: u32,
    pub(super) lease: Amount,
    /// The day on which it was opened: it is good on that day alone.
    pub(super) lease_day: i64,
    pub(super) lease_wanted: Amount,
    /// As the tables have it.
    pub(super) recorded_lease: Amount,
    /// Of what is held the part that is not in the tables: the lease covers it.
    pub(super) unrecorded_holds: Amount,
    /// The most credits that one answer has reported for each of its contacts, and whether the tables know.
    pub(super) reported: Amount,
    pub(super) reported_recorded: bool,
}

impl Sum {
    pub const FREE: Sum = Sum {
        key: SumKey {
            database: 0,
            catalog: 0,
            currency: Currency::NONE,
            workspace: EVERY_WORKSPACE,
            provider: EVERY_PROVIDER,
        },
        phase: Phase::Free,
        at: 0,
        windows: Windows::NONE,
        unrecorded: Amount::ZERO,
        in_flight: 0,
        lease: Amount::ZERO,
        lease_day: 0,
        lease_wanted: Amount::ZERO,
        recorded_lease: Amount::ZERO,
        unrecorded_holds: Amount::ZERO,
        reported: Amount::ZERO,
        reported_recorded: true,
    };

    /// Nothing would be lost with it.
    fn can_go(&self) -> bool {
        self.phase == Phase::Ready
            && self.in_flight == 0
            && self.unrecorded == Amount::ZERO
            && self.recorded_lease == Amount::ZERO
            && self.unrecorded_holds == Amount::ZERO
            && self.windows.open() == Amount::ZERO
            && self.reported_recorded
    }

    /// What a crash would leave unknown: reserved, or not in the tables yet.
    pub(super) fn outstanding(&self) -> Amount {
        self.windows.reserved().plus(self.unrecorded).plus(self.unrecorded_holds)
    }

    fn is_leased(&self, most: Amount, now: i64) -> bool {
        let outstanding = self.outstanding();
        self.lease_day == day_of(now) && outstanding.plus(most) <= self.lease
    }
}

/// Whose requests of which day are counted together. `day`: days since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct EntryKey {
    pub of: SumKey,
    pub day: i64,
    pub role: u32,
}

/// What they came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Counts {
    pub requests: u64,
    pub matches: u64,
    pub fields_supplied: u64,
    pub fields_used: u64,
    pub credits: Amount,
    pub cost: Amount,
    pub unknown: Amount,
    pub fields: FieldCounts,
}

impl Counts {
    pub const NONE: Counts = Counts {
        requests: 0,
        matches: 0,
        fields_supplied: 0,
        fields_used: 0,
        credits: Amount::ZERO,
        cost: Amount::ZERO,
        unknown: Amount::ZERO,
        fields: FieldCounts::NONE,
    };

    /// Whether something was sent or written: else there is no spend to be told of.
    pub fn is_spend(&self) -> bool {
        Counts { fields: FieldCounts::NONE, ..*self } != Counts::NONE
    }

    fn add(&mut self, bill: &Bill) {
        self.requests += u64::from(bill.requests);
        self.matches += u64::from(bill.matches);
        self.fields_supplied += u64::from(bill.fields_supplied);
        self.credits = self.credits.plus(bill.credits);
        self.cost = self.cost.plus(bill.cost);
        self.unknown = self.unknown.plus(bill.unknown);
    }

    pub(super) fn subtract(&mut self, other: &Counts) {
        self.requests -= other.requests;
        self.matches -= other.matches;
        self.fields_supplied -= other.fields_supplied;
        self.fields_used -= other.fields_used;
        self.credits = self.credits.minus(other.credits);
        self.cost = self.cost.minus(other.cost);
        self.unknown = self.unknown.minus(other.unknown);
        self.fields.subtract(&other.fields);
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entry {
    /// Database 0: free.
    pub(super) key: EntryKey,
    pub(super) in_flight: u32,
    pub(super) counts: Counts,
}

impl Entry {
    pub const FREE: Entry =
        Entry { key: EntryKey { of: Sum::FREE.key, day: 0, role: 0 }, in_flight: 0, counts: Counts::NONE };

    fn is_free(&self) -> bool {
        self.key.of.database == 0
    }
}

/// How far the tables are filled, and what tells that they have changed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Head {
    /// No entry stands at or after this place, and no sum.
    pub entries: u32,
    pub sums: u32,
    /// Grows with each change.
    pub changes: u64,
    /// The last database in which a session had to wait for what a crash has left.
    pub left_wanted: u32,
}

impl Head {
    pub const NEW: Head = Head { entries: 0, sums: 0, changes: 0, left_wanted: 0 };
}

/// The whole, for as long as its lock is held.
pub struct Table<'a> {
    pub head: &'a mut Head,
    pub sums: &'a mut [Sum],
    pub entries: &'a mut [Entry],
}

/// A budget that a request falls under: of which of its four sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub sum: usize,
    pub period: Period,
    pub amount: Amount,
}

/// What a request needs before it is sent.
pub struct Wish<'a> {
    pub entry: EntryKey,
    /// The most that it can cost; `None`: it has no price.
    pub most: Option<Amount>,
    pub limits: &'a [Limit],
    /// It asks for what was handed in, or logs in.
    pub fetches: bool,
    /// It hands in questions: what asking for them can cost is to be there, too.
    pub polls: Amount,
    /// How much to lease at once.
    pub lease: Amount,
    /// The most credits that an answer is expected to report, where it is priced by them and a budget concerns it.
    pub most_credits: Option<Amount>,
    pub now: i64,
}

/// What is kept free for one request. To be given back by [`Table::settle`], once.
#[derive(Clone, Copy, Debug)]
pub struct Reservation {
    entry: usize,
    sums: Option<[usize; 4]>,
    most: Amount,
    polls: Amount,
    day: i64,
}

/// Why a request cannot be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// This sum is not known yet: see [`Table::load`].
    NotLoaded(SumKey),
    /// The budget at this place has not enough left.
    Budget(usize),
    /// An answer has reported so many credits, more than was said.
    Reported(Amount),
    /// What was spent has to be written down first.
    NeedsLease,
    /// There is no place: what was spent has to be written down first.
    NoRoom,
}

/// Who loads a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// The caller does, and tells [`Table::loaded`].
    Mine,
    Ready,
    /// Another session does.
    Theirs,
    NoRoom,
}

impl Table<'_> {
    pub(super) fn find(&self, key: &SumKey) -> Option<usize> {
        self.sums[..self.head.sums as usize]
            .iter()
            .position(|sum| sum.phase != Phase::Free && sum.key == *key)
    }

    /// Whether a sum is there, or who brings it.
    pub fn load(&mut self, key: &SumKey, now: i64) -> Load {
        if let Some(index) = self.find(key) {
            let sum = &mut self.sums[index];
            let is_late = !(sum.at..=sum.at + LOADING_S).contains(&now);
            return match sum.phase {
                Phase::Ready => Load::Ready,
                _ if is_late => {
                    sum.at = now;
                    Load::Mine
                }
                _ => Load::Theirs,
            };
        }
        let free = self.sums.iter().position(|sum| sum.phase == Phase::Free);
        let oldest = || {
            let idle = self.sums.iter().enumerate().filter(|(_, sum)| sum.can_go());
            idle.min_by_key(|(_, sum)| sum.at).map(|(index, _)| index)
        };
        let Some(index) = free.or_else(oldest) else { return Load::NoRoom };
        self.sums[index] = Sum { key: *key, phase: Phase::Loading, at: now, ..Sum::FREE };
        self.head.sums = self.head.sums.max(index as u32 + 1);
        Load::Mine
    }

    /// Sums that have to stay, and entries, each with all places.
    pub fn in_use(&self) -> [(usize, usize); 2] {
        let sums = &self.sums[..self.head.sums as usize];
        let stay = sums.iter().filter(|sum| sum.phase != Phase::Free && !sum.can_go()).count();
        let entries = &self.entries[..self.head.entries as usize];
        let used = entries.iter().filter(|entry| !entry.is_free()).count();
        [(stay, self.sums.len()), (used, self.entries.len())]
    }

    /// What the tables have of it, read after [`Table::load`] said that it is the caller's to bring.
    pub fn loaded(&mut self, key: &SumKey, windows: Windows, reported: Amount) {
        let Some(index) = self.find(key) else { return };
        let sum = &mut self.sums[index];
        if sum.phase == Phase::Loading {
            (sum.phase, sum.windows, sum.reported) = (Phase::Ready, windows, reported);
        }
    }

    /// The caller could not bring it.
    pub fn not_loaded(&mut self, key: &SumKey) {
        if let Some(index) = self.find(key)
            && self.sums[index].phase == Phase::Loading
        {
            self.sums[index] = Sum::FREE;
        }
    }

    /// A sum as it is; `None`: the tables have all of it.
    pub fn windows(&self, key: &SumKey) -> Option<Windows> {
        let sum = &self.sums[self.find(key)?];
        (sum.phase == Phase::Ready).then_some(sum.windows)
    }

    /// Keeps free what a request can cost at most: in all budgets, or in none.
    pub fn reserve(&mut self, wish: &Wish<'_>) -> Result<Reservation, Denied> {
        self.head.changes += 1;
        let day = wish.entry.day;
        let Some(most) = wish.most else {
            let entry = self.pin(&wish.entry)?;
            return Ok(Reservation { entry, sums: None, most: Amount::ZERO, polls: Amount::ZERO, day });
        };
        let mut sums = [0; 4];
        for (at, key) in wish.entry.of.concerned().iter().enumerate() {
            let index = self.find(key).filter(|index| self.sums[*index].phase == Phase::Ready);
            sums[at] = index.ok_or(Denied::NotLoaded(*key))?;
        }
        let reported = self.sums[sums[1]].reported;
        if wish.most_credits.is_some_and(|most| reported > most) {
            return Err(Denied::Reported(reported));
        }
        let is_over = |limit: &Limit| {
            let windows = &self.sums[sums[limit.sum]].windows;
            // What is left may be too little for all polls of one question: then there is one at a time.
            let polls = if windows.owes_answers() { wish.polls } else { Amount::ZERO };
            windows.left((limit.period, limit.amount), wish.fetches, wish.now) < most.plus(polls)
        };
        if let Some(over) = wish.limits.iter().position(is_over) {
            return Err(Denied::Budget(over));
        }
        let finest = &mut self.sums[sums[0]];
        finest.at = wish.now;
        let is_leased = most == Amount::ZERO || finest.is_leased(most, wish.now);
        if !is_leased || !finest.is_leased(Amount(wish.lease.0 / 2).max(most), wish.now) {
            finest.lease_wanted = finest.lease_wanted.max(wish.lease.max(most));
        }
        if !is_leased {
            return Err(Denied::NeedsLease);
        }
        let entry = self.pin(&wish.entry)?;
        for index in sums {
            let sum = &mut self.sums[index];
            (sum.at, sum.in_flight) = (wish.now, sum.in_flight + 1);
            sum.windows.reserve(most);
            sum.windows.reserve_polls(wish.polls);
        }
        Ok(Reservation { entry, sums: Some(sums), most, polls: wish.polls, day })
    }

    /// The entry of this key, with one request more under way.
    fn pin(&mut self, key: &EntryKey) -> Result<usize, Denied> {
        let index = self.entry(key).ok_or(Denied::NoRoom)?;
        self.entries[index].in_flight += 1;
        Ok(index)
    }

    pub(super) fn entry(&mut self, key: &EntryKey) -> Option<usize> {
        let filled = self.head.entries as usize;
        let known = self.entries[..filled].iter().position(|entry| entry.key == *key);
        known.or_else(|| {
            let free = self.entries.iter().position(Entry::is_free)?;
            self.entries[free] = Entry { key: *key, ..Entry::FREE };
            self.head.entries = self.head.entries.max(free as u32 + 1);
            Some(free)
        })
    }

    /// The request is over, and is to be booked like this. An empty bill: it was not sent. `holds`: what becomes of questions
    /// that were handed in.
    pub fn settle(
        &mut self,
        reservation: &Reservation,
        (bill, fields): (&Bill, &FieldCounts),
        holds: HoldChange,
        now: i64,
    ) {
        self.head.changes += 1;
        let entry = &mut self.entries[reservation.entry];
        entry.in_flight = entry.in_flight.saturating_sub(1);
        entry.counts.add(bill);
        entry.counts.fields.add(fields);
        if entry.in_flight == 0 && entry.counts == Counts::NONE {
            *entry = Entry::FREE;
        }
        let Some(sums) = reservation.sums else { return };
        let booked = bill.cost.plus(bill.unknown);
        for index in sums {
            let sum = &mut self.sums[index];
            sum.in_flight = sum.in_flight.saturating_sub(1);
            sum.windows.release(reservation.most);
            sum.windows.release_polls(reservation.polls);
            sum.windows.book(reservation.day, booked, now);
            sum.unrecorded = sum.unrecorded.plus(booked);
            sum.windows.hold(holds.new, holds.new_polls);
            sum.windows.let_go(holds.over, holds.over_polls);
        }
        let finest = &mut self.sums[sums[0]];
        finest.unrecorded_holds = finest.unrecorded_holds.plus(holds.new);
        let of_provider = &mut self.sums[sums[1]];
        if bill.credits_of_one > of_provider.reported {
            (of_provider.reported, of_provider.reported_recorded) = (bill.credits_of_one, false);
        }
    }

    /// What became of fields that a provider supplied. Where there is no place, that is not counted.
    pub fn used(&mut self, key: &EntryKey, uses: &Uses) {
        if let Some(index) = self.entry(key) {
            self.head.changes += 1;
            let counts = &mut self.entries[index].counts;
            counts.fields_used += uses.written();
            counts.fields.uses.add(uses);
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

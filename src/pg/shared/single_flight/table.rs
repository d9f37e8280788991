//! Which questions are under way, and how the last of them ended: a table of bounded size.
//!
//! It lives in shared memory, but nothing here knows that: it works on plain slices, so it can be tested by itself. A key
//! has [`WAYS`] places at which it may stand, so that every step takes the same short time. Times are epoch microseconds.

use crate::pg::shared::receipts::ReceiptKey;
use leadlex_domain::provider::FaultKind;

/// Places for one key.
pub const WAYS: usize = 8;
/// Sets of places. A thousand requests under way at once find a place with near certainty.
pub const SETS: usize = 1_024;
/// Sessions that can be woken when a question ends; others look again after a while.
pub const LISTENERS: usize = 1_024;
/// No request is under way longer: settings have this maximum. What claims to be has met another clock.
const LONGEST_REQUEST_US: i64 = 70_000_000;
/// So many requests have to fail before the failure counts for those who waited for all of them.
const FAILURES_SHARED: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum QuestionState {
    Free,
    Asked,
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: ReceiptKey,
    state: QuestionState,
    /// Somebody wants to be told of the end.
    awaited: bool,
    pid: i32,
    /// Tells one request from the next.
    number: u64,
    /// The request is over by then, whatever its session says.
    until: i64,
    /// [`Head::sequence`] at the last answer that was kept; 0: none.
    answered: u64,
    /// Requests that failed, and answers that could not be kept, since the entry was made.
    failures: u32,
    unkept: u32,
    fault: Option<FaultKind>,
    /// Its session ends, and stays until this is over.
    outlasts: bool,
}

/// A few questions that share a place by their hash.
#[derive(Clone, Copy)]
pub struct Set {
    entries: [Entry; WAYS],
    /// The latest answer whose entry had to make room.
    forgotten: u64,
}

/// A session that waits.
#[derive(Clone, Copy)]
pub struct Listener<L> {
    pub pid: i32,
    /// For which place; `None`: for any.
    pub place: Option<u32>,
    pub latch: L,
}

/// The counts of the table.
#[derive(Clone, Copy)]
pub struct Head {
    pub next_number: u64,
    /// Counts answers that were kept.
    pub sequence: u64,
    /// How often there was no place.
    pub full: u64,
    pub listening: u32,
}

/// The whole, for as long as its lock is held.
pub struct Table<'a, L> {
    pub head: &'a mut Head,
    pub sets: &'a mut [Set],
    pub listeners: &'a mut [Option<Listener<L>>],
}

/// One request about a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub index: u32,
    number: u64,
}

/// What had come of a question when somebody began to wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    failures: u32,
    unkept: u32,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The caller asks, and says how it ended.
    Mine(Place),
    /// Somebody is asking.
    Theirs(Place, Before),
    /// An answer has been kept that the caller has not read.
    Answered,
    /// Requests that the caller waited for have failed.
    Failed(FaultKind),
    /// The caller asks, and nobody waits for it: there is no place, or answers cannot be kept.
    Alone,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Kept,
    Unkept,
    Failed(FaultKind),
    /// It says nothing about the provider: the next one asks.
    Abandoned,
}

/// Who wants to ask.
#[derive(Clone, Copy)]
pub struct Wish {
    pub pid: i32,
    pub now: i64,
    /// When the request would be over at the latest.
    pub until: i64,
    /// [`Head::sequence`] before the caller read what is known; `u64::MAX`: answers that it has not read do not matter.
    pub read_at: u64,
    /// Of the first time that it found somebody else asking.
    pub before: Option<Before>,
}

impl Entry {
    const FREE: Entry = Entry {
        key: ReceiptKey { database: 0, catalog: 0, question: [0; 16] },
        state: QuestionState::Free,
        awaited: false,
        pid: 0,
        number: 0,
        until: 0,
        answered: 0,
        failures: 0,
        unkept: 0,
        fault: None,
        outlasts: false,
    };

    fn is_asked(&self, now: i64) -> bool {
        self.state == QuestionState::Asked && self.until > now && self.until <= now + LONGEST_REQUEST_US
    }

    fn before(&self) -> Before {
        Before { failures: self.failures, unkept: self.unkept }
    }

    /// What the caller need not ask for; `None`: it is not answered.
    fn verdict(&self, wish: &Wish) -> Option<Turn> {
        if self.answered > wish.read_at {
            return Some(Turn::Answered);
        }
        let before = wish.before?;
        if self.unkept != before.unkept {
            return Some(Turn::Alone);
        }
        let failed = self.failures.wrapping_sub(before.failures) >= FAILURES_SHARED;
        self.fault.filter(|_| failed).map(Turn::Failed)
    }
}

impl Set {
    pub const EMPTY: Set = Set { entries: [Entry::FREE; WAYS], forgotten: 0 };
}

impl Head {
    /// As at the start of the server; numbers of requests begin with 1.
    pub const NEW: Head = Head { next_number: 1, sequence: 0, full: 0, listening: 0 };
}

impl<L: Copy> Table<'_, L> {
    /// Requests under way that are noted, and all places.
    pub fn in_use(&self, now: i64) -> (usize, usize) {
        let asked = |set: &Set| set.entries.iter().filter(|entry| entry.is_asked(now)).count();
        (self.sets.iter().map(asked).sum(), self.sets.len() * WAYS)
    }

    /// Whether requests of this database are under way, and whether any whose session ends.
    pub fn under_way(&self, database: u32, now: i64) -> (bool, bool) {
        let entries = self.sets.iter().flat_map(|set| &set.entries);
        let own = entries.filter(|entry| entry.key.database == database && entry.is_asked(now));
        own.fold((false, false), |(_, outlasts), entry| (true, outlasts || entry.outlasts))
    }

    /// The session ends: what it asks may go on without it.
    pub fn outlast(&mut self, pid: i32) {
        let entries = self.sets.iter_mut().flat_map(|set| &mut set.entries);
        entries
            .filter(|entry| entry.state == QuestionState::Asked && entry.pid == pid)
            .for_each(|entry| entry.outlasts = true);
    }

    /// Empties the table. Numbers go on, so that a place of before is not taken for a new one.
    pub fn reset(&mut self) {
        // What was handed out before must not be taken for something new.
        *self.head = Head { listening: 0, ..*self.head };
        self.sets.fill(Set::EMPTY);
        self.listeners.fill(None);
    }

    /// Whose turn it is to ask this question.
    pub fn begin(&mut self, key: ReceiptKey, wish: &Wish) -> Turn {
        let set = self.set_of(&key);
        let entries = &self.sets[set].entries;
        let same = entries.iter().position(|entry| entry.state != QuestionState::Free && entry.key == key);
        if let Some(way) = same {
            let entry = &mut self.sets[set].entries[way];
            if let Some(turn) = entry.verdict(wish) {
                return turn;
            }
            if entry.is_asked(wish.now) {
                entry.awaited = true;
                let place = Place { index: (set * WAYS + way) as u32, number: entry.number };
                return Turn::Theirs(place, entry.before());
            }
        } else if self.sets[set].forgotten > wish.read_at {
            return Turn::Answered;
        }
        let Some(way) = same.or_else(|| self.make_room(set, wish.now)) else {
            self.head.full += 1;
            return Turn::Alone;
        };
        let number = self.head.next_number;
        self.head.next_number += 1;
        let entry = &mut self.sets[set].entries[way];
        let past = if same.is_some() { *entry } else { Entry::FREE };
        *entry = Entry {
            key,
            state: QuestionState::Asked,
            awaited: false,
            pid: wish.pid,
            number,
            until: wish.until,
            outlasts: false,
            ..past
        };
        Turn::Mine(Place { index: (set * WAYS + way) as u32, number })
    }

    /// A place in which nobody is asking.
    fn make_room(&mut self, set: usize, now: i64) -> Option<usize> {
        let Set { entries, forgotten } = &mut self.sets[set];
        // A free one, else the one whose answer is the oldest.
        let unused = entries.iter().enumerate().filter(|(_, entry)| !entry.is_asked(now));
        let rank = |entry: &Entry| (entry.state != QuestionState::Free, entry.answered, entry.number);
        let (way, entry) = unused.min_by_key(|(_, entry)| rank(entry))?;
        *forgotten = (*forgotten).max(entry.answered);
        Some(way)
    }

    /// The request will be over by `until`.
    pub fn extend(&mut self, place: Place, until: i64) {
        if let Some(entry) = self.own(place) {
            entry.until = until;
        }
    }

    /// `true`: somebody wants to be told of it.
    pub fn end(&mut self, place: Place, end: End) -> bool {
        let sequence = self.head.sequence + 1;
        let Some(entry) = self.own(place) else { return false };
        entry.state = QuestionState::Ended;
        match end {
            End::Kept => entry.answered = sequence,
            End::Unkept => entry.unkept = entry.unkept.wrapping_add(1),
            End::Failed(kind) => {
                entry.failures = entry.failures.wrapping_add(1);
                entry.fault = Some(kind);
            }
            End::Abandoned => {}
        }
        let awaited = std::mem::take(&mut entry.awaited);
        if end == End::Kept {
            self.head.sequence = sequence;
        }
        awaited
    }

    fn own(&mut self, place: Place) -> Option<&mut Entry> {
        let (set, way) = (place.index as usize / WAYS, place.index as usize % WAYS);
        let entry = &mut self.sets[set].entries[way];
        (entry.state == QuestionState::Asked && entry.number == place.number).then_some(entry)
    }

    /// Whether this request has ended, or has had its time at `now`.
    pub fn is_over(&mut self, place: Place, now: i64) -> bool {
        self.own(place).is_none_or(|entry| !entry.is_asked(now))
    }

    /// The requests of a session that ends; `true`: somebody wants to be told.
    pub fn end_all_of(&mut self, pid: i32) -> bool {
        let entries = self.sets.iter_mut().flat_map(|set| &mut set.entries);
        let own = entries.filter(|entry| entry.state == QuestionState::Asked && entry.pid == pid);
        own.fold(false, |told, entry| {
            entry.state = QuestionState::Ended;
            told | std::mem::take(&mut entry.awaited)
        })
    }

    /// Where to give it back; `None`: there is no room.
    pub fn listen(&mut self, listener: Listener<L>) -> Option<usize> {
        let at = self.listeners.iter().position(Option::is_none)?;
        self.listeners[at] = Some(listener);
        self.head.listening += 1;
        Some(at)
    }

    /// Takes away the listener at this place, if there is one.
    pub fn stop_listening(&mut self, at: usize) {
        if self.listeners[at].take().is_some() {
            self.head.listening -= 1;
        }
    }

    /// Takes away all listeners of a session.
    pub fn stop_listening_of(&mut self, pid: i32) {
        for at in 0..self.listeners.len() {
            if self.listeners[at].is_some_and(|listener| listener.pid == pid) {
                self.stop_listening(at);
            }
        }
    }

    /// Those who wait for this place (`None`: for whichever).
    pub fn waiting_for(&self, place: Option<u32>) -> impl Iterator<Item = L> + '_ {
        let most = if self.head.listening == 0 { 0 } else { self.listeners.len() };
        let wants = move |l: &&Listener<L>| l.place.is_none() || place.is_none() || l.place == place;
        self.listeners[..most].iter().flatten().filter(wants).map(|listener| listener.latch)
    }

    fn set_of(&self, key: &ReceiptKey) -> usize {
        // Already a hash: any part of it will do.
        let [.., a, b, c, d] = key.question;
        (u32::from_ne_bytes([a, b, c, d]) ^ key.database) as usize % self.sets.len()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

//! Receipts on their way into the tables: a table of bounded size, with blocks for what varies in length.
//!
//! It lives in shared memory, but nothing here knows that: it works on plain slices, so it can be tested by itself.

use crate::pg::shared::receipts::erasures;
use leadlex_domain::contact_row::ContactRow;
use leadlex_domain::hash::Hash;
use uuid::Uuid;

/// Which question: database, the extension's incarnation in it, and the question's hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct ReceiptKey {
    pub database: u32,
    pub catalog: u32,
    pub question: Hash,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum EntryState {
    Free,
    /// Waits for the worker.
    Kept,
    /// The worker is writing it.
    Writing,
}

const NONE: u32 = u32::MAX;
const BLOCK_BYTES: usize = 248;
/// Databases whose drops are counted apart; those of others go together.
const COUNTED: usize = 64;

/// An answer or a refusal that waits for the worker; its payload stands in a chain of blocks.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entry {
    key: ReceiptKey,
    /// Whom it is about.
    row: ContactRow,
    state: EntryState,
    /// It is a provider's refusal to tell anything about somebody.
    refuses: bool,
    /// Where a refusal counts, and whose it is.
    reach: Hash,
    bytes: u32,
    first_block: u32,
    /// The next in the same bucket, or in the free list.
    next: u32,
    /// Tells one use of this place from the next, and which came first.
    number: u64,
    /// The worker leaves it alone until then, in epoch microseconds.
    not_before: i64,
}

impl Entry {
    /// `None` for an answer.
    fn reach(&self) -> Option<Hash> {
        self.refuses.then_some(self.reach)
    }
}

/// A piece of a payload, and the number of the next piece.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Block {
    next: u32,
    bytes: [u8; BLOCK_BYTES],
}

/// The counts of the arena, and where its free entries and blocks begin.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Head {
    used: u32,
    /// How many of these are refusals.
    refusals: u32,
    free_entry: u32,
    free_block: u32,
    free_blocks: u32,
    next_number: u64,
    dropped: [(u32, u64); COUNTED],
    /// Of what sessions note for the worker.
    notes_dropped: [(u32, u64); COUNTED],
}

/// Bytes of shared memory for one entry with its share of buckets and blocks.
pub const UNIT_BYTES: usize = size_of::<Entry>() + size_of::<Block>() + size_of::<u32>();

/// The whole, for as long as its lock is held.
pub struct Arena<'a> {
    pub head: &'a mut Head,
    pub buckets: &'a mut [u32],
    pub entries: &'a mut [Entry],
    pub blocks: &'a mut [Block],
    /// When people were last asked about.
    pub asked: &'a mut [u32],
    /// Who was erased lately.
    pub erasures: &'a mut [erasures::Set],
    /// So many entries and blocks are for refusals alone.
    pub reserved: usize,
}

/// An entry that the worker has taken to write it down.
pub struct Taken {
    index: u32,
    number: u64,
    pub key: ReceiptKey,
    pub payload: Vec<u8>,
}

/// Why an answer was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// There is no room until the worker has written some.
    Full,
    TooLong,
}

impl Arena<'_> {
    /// Empties the arena: what waited is lost, and what was counted.
    pub fn reset(&mut self) {
        *self.head = Head {
            used: 0,
            refusals: 0,
            free_entry: 0,
            free_block: 0,
            free_blocks: self.blocks.len() as u32,
            next_number: 1,
            dropped: [(0, 0); COUNTED],
            notes_dropped: [(0, 0); COUNTED],
        };
        self.buckets.fill(NONE);
        self.asked.fill(0);
        self.erasures.fill(erasures::Set::EMPTY);
        let following = |index: usize, count: usize| if index + 1 < count { index as u32 + 1 } else { NONE };
        let (entries, blocks) = (self.entries.len(), self.blocks.len());
        for (index, entry) in self.entries.iter_mut().enumerate() {
            *entry = Entry {
                key: ReceiptKey { database: 0, catalog: 0, question: [0; 16] },
                row: ContactRow { workspace: Uuid::nil(), hash: [0; 16] },
                state: EntryState::Free,
                refuses: false,
                reach: [0; 16],
                bytes: 0,
                first_block: NONE,
                next: following(index, entries),
                number: 0,
                not_before: 0,
            };
        }
        for (index, block) in self.blocks.iter_mut().enumerate() {
            *block = Block { next: following(index, blocks), bytes: [0; BLOCK_BYTES] };
        }
    }

    /// Keeps an answer to a request that was sent at `sent_at`. It replaces an older one to the same question.
    pub fn put(
        &mut self,
        key: ReceiptKey,
        row: ContactRow,
        sent_at: i64,
        payload: &[u8],
    ) -> Result<(), NotKept> {
        if erasures::has(self.erasures, row.key(), sent_at) {
            return Ok(());
        }
        self.add(key, row, None, payload)
    }

    /// Keeps a refusal to tell anything about this person, beside answers and beside refusals of another reach. It is
    /// hashes alone, and is kept for a person who is forgotten, too: nobody is to ask about them again.
    pub fn put_refusal(
        &mut self,
        key: ReceiptKey,
        row: ContactRow,
        reach: Hash,
        payload: &[u8],
    ) -> Result<(), NotKept> {
        self.add(key, row, Some(reach), payload)
    }

    fn add(
        &mut self,
        key: ReceiptKey,
        row: ContactRow,
        reach: Option<Hash>,
        payload: &[u8],
    ) -> Result<(), NotKept> {
        // One answer must not take the room of all others.
        if payload.len() > (self.blocks.len() - self.reserved) / 4 * BLOCK_BYTES {
            return Err(NotKept::TooLong);
        }
        let older = self.position(&key, |entry| entry.state == EntryState::Kept && entry.reach() == reach);
        let blocks = |bytes: u32| (bytes as usize).div_ceil(BLOCK_BYTES) as u32;
        let freed = older.map_or(0, |index| blocks(self.entries[index as usize].bytes));
        let reserved = if reach.is_some() { 0 } else { self.reserved };
        let free_entries = self.free_entries() + usize::from(older.is_some());
        let free_blocks = (self.head.free_blocks + freed) as usize;
        if free_entries <= reserved || free_blocks < reserved + blocks(payload.len() as u32) as usize {
            return Err(NotKept::Full);
        }
        if let Some(older) = older {
            self.release(older);
        }
        let index = self.head.free_entry;
        self.head.free_entry = self.entries[index as usize].next;
        let first_block = self.fill(payload);
        let bucket = self.bucket(&key);
        let number = self.head.next_number;
        self.head.next_number += 1;
        self.entries[index as usize] = Entry {
            key,
            row,
            state: EntryState::Kept,
            refuses: reach.is_some(),
            reach: reach.unwrap_or_default(),
            bytes: payload.len() as u32,
            first_block,
            next: self.buckets[bucket],
            number,
            not_before: 0,
        };
        self.buckets[bucket] = index;
        self.head.used += 1;
        self.head.refusals += u32::from(reach.is_some());
        Ok(())
    }

    fn free_entries(&self) -> usize {
        self.entries.len() - self.head.used as usize
    }

    /// Of what answers may take: how much is in use, and how much there is, in units.
    pub fn use_of_units(&self) -> (usize, usize) {
        let free = self.free_entries().min(self.head.free_blocks as usize);
        let all = self.entries.len().saturating_sub(self.reserved);
        (all.saturating_sub(free.saturating_sub(self.reserved)), all)
    }

    /// Whether half of the room for answers is free.
    pub fn is_roomy(&self) -> bool {
        let free = |free: usize, all: usize| free > self.reserved + (all - self.reserved) / 2;
        free(self.head.free_blocks as usize, self.blocks.len())
            && free(self.free_entries(), self.entries.len())
    }

    /// Whether half of what is reserved for refusals is free: enough for those of requests that are under way.
    pub fn has_room_for_refusals(&self) -> bool {
        self.free_entries().min(self.head.free_blocks as usize) >= self.reserved / 2
    }

    /// The newest answer to this question that is not in the tables yet.
    pub fn find(&self, key: &ReceiptKey) -> Option<Vec<u8>> {
        self.position(key, |entry| !entry.refuses).map(|index| self.payload(index))
    }

    /// All refusals under this key that are not in the tables yet, of whatever reach.
    pub fn refusals(&self, key: &ReceiptKey) -> Vec<Vec<u8>> {
        if self.has_no_refusal() {
            return Vec::new();
        }
        self.chain(key).filter(|(_, entry)| entry.refuses).map(|(index, _)| self.payload(index)).collect()
    }

    /// Hands answers of a database to its worker, at most so many of those that are not put off.
    pub fn take(&mut self, database: u32, most: usize) -> Vec<Taken> {
        let mut waiting = self.kept_of(database, |entry| !entry.refuses && entry.not_before == 0);
        waiting.truncate(most);
        self.hand_out(waiting)
    }

    /// The same of answers that were put off and whose pause is over, those first that have waited longest since.
    pub fn take_put_off(&mut self, database: u32, most: usize, now: i64) -> Vec<Taken> {
        let is_due = |entry: &Entry| !entry.refuses && (1..=now).contains(&entry.not_before);
        let mut waiting = self.kept_of(database, is_due);
        waiting.sort_unstable_by_key(|index| self.entries[*index as usize].not_before);
        waiting.truncate(most);
        self.hand_out(waiting)
    }

    /// The same of refusals that are not put off, or whose pause is over, in the order in which they came.
    pub fn take_refusals(&mut self, database: u32, most: usize, now: i64) -> Vec<Taken> {
        if self.has_no_refusal() {
            return Vec::new();
        }
        let mut waiting = self.kept_of(database, |entry| entry.refuses && entry.not_before <= now);
        waiting.sort_unstable_by_key(|index| self.entries[*index as usize].number);
        waiting.truncate(most);
        self.hand_out(waiting)
    }

    fn kept_of(&self, database: u32, accept: impl Fn(&Entry) -> bool) -> Vec<u32> {
        let mut found = self.in_use();
        found.retain(|index| {
            let entry = &self.entries[*index as usize];
            entry.key.database == database && entry.state == EntryState::Kept && accept(entry)
        });
        found
    }

    fn hand_out(&mut self, indexes: Vec<u32>) -> Vec<Taken> {
        let take = |index: u32| {
            self.entries[index as usize].state = EntryState::Writing;
            let Entry { key, number, .. } = self.entries[index as usize];
            Taken { index, number, key, payload: self.payload(index) }
        };
        indexes.into_iter().map(take).collect()
    }

    /// They are in the tables, or given up.
    pub fn done(&mut self, taken: &[Taken]) {
        for entry in taken {
            let now = &self.entries[entry.index as usize];
            if now.state == EntryState::Writing && now.number == entry.number {
                self.release(entry.index);
            }
        }
    }

    /// They could not be written: later.
    pub fn put_back(&mut self, taken: &[Taken]) {
        for entry in taken {
            let now = &self.entries[entry.index as usize];
            if now.state != EntryState::Writing || now.number != entry.number {
                continue;
            }
            // Of two answers to one question the newer one stays.
            let reach = now.reach();
            match self.position(&entry.key, |other| other.state == EntryState::Kept && other.reach() == reach)
            {
                Some(other) if self.entries[other as usize].number > entry.number => {
                    self.release(entry.index);
                    continue;
                }
                Some(other) => self.release(other),
                None => {}
            }
            self.entries[entry.index as usize].state = EntryState::Kept;
        }
    }

    /// The same, and the worker is to leave them alone until then.
    pub fn put_back_until(&mut self, taken: &[Taken], until: i64) {
        for entry in taken {
            let now = &mut self.entries[entry.index as usize];
            if now.state == EntryState::Writing && now.number == entry.number {
                now.not_before = until;
            }
        }
        self.put_back(taken);
    }

    /// What the worker was to leave alone, it may try at once.
    pub fn end_pauses(&mut self, database: u32) {
        for index in self.in_use() {
            let entry = &mut self.entries[index as usize];
            if entry.key.database == database {
                entry.not_before = 0;
            }
        }
    }

    /// The worker that was writing is gone without a word.
    pub fn put_all_back(&mut self, database: u32) {
        let orphans: Vec<Taken> = self
            .in_use()
            .into_iter()
            .map(|index| (index, self.entries[index as usize]))
            .filter(|(_, e)| e.key.database == database && e.state == EntryState::Writing)
            .map(|(index, e)| Taken { index, number: e.number, key: e.key, payload: Vec::new() })
            .collect();
        self.put_back(&orphans);
    }

    /// Drops all that waits for this database.
    pub fn forget_database(&mut self, database: u32) {
        for index in self.in_use() {
            if self.entries[index as usize].key.database == database {
                self.release(index);
            }
        }
    }

    /// A request about this row is about to be sent: `now_s` seconds after the machine was started.
    pub fn note_request(&mut self, row: ContactRow, now_s: u32) {
        erasures::note_request(self.asked, row.key(), now_s);
    }

    /// Answers about this row to requests sent before are thrown away when they come. `now` is in epoch microseconds,
    /// `now_s` in seconds since the machine was started.
    pub fn erase(&mut self, row: ContactRow, now: i64, now_s: u32) {
        if erasures::may_be_asked(self.asked, row.key(), now_s) {
            erasures::add(self.erasures, row.key(), now);
        }
    }

    /// Counts an answer that was lost. Apart from the first 64 databases all are counted in one place.
    pub fn count_drop(&mut self, database: u32) {
        count(&mut self.head.dropped, database);
    }

    /// The same of a note.
    pub fn count_note_drop(&mut self, database: u32) {
        count(&mut self.head.notes_dropped, database);
    }

    /// How many answers of this database were lost since the arena was emptied.
    pub fn dropped(&self, database: u32) -> u64 {
        counted(&self.head.dropped, database)
    }

    /// The same of notes.
    pub fn notes_dropped(&self, database: u32) -> u64 {
        counted(&self.head.notes_dropped, database)
    }
}

fn count(counts: &mut [(u32, u64); COUNTED], database: u32) {
    let slot = counts.iter().position(|(oid, n)| *oid == database || *n == 0);
    let counted = &mut counts[slot.unwrap_or(COUNTED - 1)];
    *counted = (database, counted.1 + 1);
}

fn counted(counts: &[(u32, u64); COUNTED], database: u32) -> u64 {
    counts.iter().filter(|(oid, _)| *oid == database).map(|(_, n)| n).sum()
}

#[path = "arena_places.rs"]
mod places;
#[path = "arena_waiting.rs"]
mod waiting;

#[cfg(test)]
#[path = "arena_tests.rs"]
mod tests;

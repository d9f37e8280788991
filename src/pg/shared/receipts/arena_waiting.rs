//! What waits for the worker, as others ask about it.

use super::{Arena, Entry, ReceiptKey};
use leadlex_domain::contact_row::ContactRow;
use leadlex_domain::hash::Hash;
use uuid::Uuid;

impl Arena<'_> {
    /// How many wait to be written, or are being written.
    pub fn waiting(&self, database: u32) -> usize {
        let of = |index: &u32| self.entries[*index as usize].key.database == database;
        self.in_use().iter().filter(|index| of(index)).count()
    }

    /// How many of these the worker has put off, as an open transaction holds what they change.
    pub fn put_off(&self, database: u32) -> usize {
        let is_put_off = |entry: &Entry| entry.key.database == database && entry.not_before > 0;
        self.in_use().iter().filter(|&&index| is_put_off(&self.entries[index as usize])).count()
    }

    /// Whether no refusal waits, in any database.
    pub fn has_no_refusal(&self) -> bool {
        self.head.refusals == 0
    }

    /// Whether the worker is still to write one of these refusals, and nobody has been seen to hold it up.
    pub fn is_to_write(&self, keys: &[ReceiptKey], reach: Hash) -> bool {
        let such = |entry: &Entry| entry.reach() == Some(reach) && entry.not_before == 0;
        !self.has_no_refusal() && keys.iter().any(|key| self.position(key, such).is_some())
    }

    /// Whether one waits, or is being written, in this database.
    pub fn has_refusal_of(&self, database: u32) -> bool {
        let of = |entry: &Entry| entry.refuses && entry.key.database == database;
        !self.has_no_refusal() && self.in_use().iter().any(|&index| of(&self.entries[index as usize]))
    }

    /// The latest that has come in, of all databases.
    pub fn newest(&self) -> u64 {
        self.head.next_number - 1
    }

    /// Whether any answer that had come in by then is not in the tables, of those that are not put off.
    pub fn waits_up_to(&self, database: u32, number: u64) -> bool {
        self.answers_of(database).any(|entry| entry.number <= number && entry.not_before == 0)
    }

    /// The answers that are put off.
    pub fn answers_put_off(&self, database: u32) -> Vec<Vec<u8>> {
        let is_one = |entry: &Entry| !entry.refuses && entry.key.database == database && entry.not_before > 0;
        let found = self.in_use().into_iter().filter(|&index| is_one(&self.entries[index as usize]));
        found.map(|index| self.payload(index)).collect()
    }

    /// Whether an answer about this row is not in the tables yet.
    pub fn waiting_for(&self, database: u32, row: ContactRow) -> bool {
        self.answers_of(database).any(|entry| entry.row == row)
    }

    /// The workspaces with an answer about a row of this hash that is not in the tables yet; some more than once.
    pub fn workspaces_waiting_for(&self, database: u32, hash: Hash) -> Vec<Uuid> {
        let waiting = self.answers_of(database).filter(|entry| entry.row.hash == hash);
        waiting.map(|entry| entry.row.workspace).collect()
    }

    fn answers_of(&self, database: u32) -> impl Iterator<Item = &Entry> {
        let entries = self.in_use().into_iter().map(|index| &self.entries[index as usize]);
        entries.filter(move |entry| !entry.refuses && entry.key.database == database)
    }

    /// Whether any of these questions has an answer that is not in the tables yet.
    pub fn waiting_on(&self, keys: &[ReceiptKey]) -> bool {
        keys.iter().any(|key| self.position(key, |entry| !entry.refuses).is_some())
    }

    /// The databases for which something waits, each once, in order.
    pub fn databases(&self) -> Vec<u32> {
        let mut found: Vec<u32> =
            self.in_use().iter().map(|&index| self.entries[index as usize].key.database).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

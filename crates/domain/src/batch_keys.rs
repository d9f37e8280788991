//! The keys of a set's contacts, kept in little memory: a set can have a million.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Keys in the order of the input and each once, with the positions where they stand first. All in one text: some 65 bytes a
/// contact with a uuid, a third of them only until [`BatchKeys::complete`].
#[derive(Debug, Default)]
pub struct BatchKeys {
    text: String,
    entries: Vec<Entry>,
    /// How many of the entries were taken.
    taken: usize,
    index: Index,
}

/// A key ends in the text where the next begins.
#[derive(Clone, Copy, Debug)]
struct Entry {
    position: u32,
    end: u32,
}

/// Entries by the hash of their key.
#[derive(Debug, Default)]
struct Index {
    hasher: RandomState,
    by_hash: HashMap<u64, usize>,
    /// Those whose hash another key has.
    others: HashMap<String, usize>,
}

impl BatchKeys {
    /// None, with room for so many.
    pub fn with_capacity(count: usize) -> BatchKeys {
        let by_hash = HashMap::with_capacity(count);
        BatchKeys {
            entries: Vec::with_capacity(count),
            index: Index { by_hash, ..Index::default() },
            ..BatchKeys::default()
        }
    }

    /// Adds the key that stands at this position of the input. `Some`: it was added before, for that position.
    pub fn add(&mut self, key: &str, position: usize) -> Option<usize> {
        self.add_hashed(self.index.hasher.hash_one(key), key, position)
    }

    fn add_hashed(&mut self, hash: u64, key: &str, position: usize) -> Option<usize> {
        let next = self.entries.len();
        let known = match self.index.by_hash.get(&hash).copied() {
            None => {
                self.index.by_hash.insert(hash, next);
                None
            }
            Some(known) if self.key(known) == key => Some(known),
            Some(_) => match self.index.others.get(key).copied() {
                None => {
                    self.index.others.insert(key.to_owned(), next);
                    None
                }
                known => known,
            },
        };
        if known.is_none() {
            self.text.push_str(key);
            self.entries.push(Entry { position: short(position), end: short(self.text.len()) });
        }
        known.map(|known| self.entries[known].position as usize)
    }

    /// No more are added: what was needed for that alone goes.
    pub fn complete(&mut self) {
        self.index = Index::default();
        self.text.shrink_to_fit();
    }

    /// The next keys in the order of the input, at most so many, with their positions.
    pub fn take(&mut self, most: usize) -> Vec<(usize, String)> {
        let end = self.entries.len().min(self.taken + most);
        let some = (self.taken..end)
            .map(|at| (self.entries[at].position as usize, self.key(at).to_owned()))
            .collect();
        self.taken = end;
        some
    }

    /// How many were not taken yet.
    pub fn left(&self) -> usize {
        self.entries.len() - self.taken
    }

    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    fn key(&self, at: usize) -> &str {
        let begin = at.checked_sub(1).map_or(0, |before| self.entries[before].end as usize);
        &self.text[begin..self.entries[at].end as usize]
    }
}

/// No array of Postgres holds more than a gigabyte.
fn short(number: usize) -> u32 {
    u32::try_from(number).expect("keys of one array")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_kept_once_with_its_first_position() {
        let mut keys = BatchKeys::with_capacity(3);
        let added = ["b", "a", "b", "", "a"].iter().zip([2, 3, 5, 7, 11]);
        let before: Vec<_> = added.map(|(key, position)| keys.add(key, position)).collect();
        assert_eq!(before, [None, None, Some(2), None, Some(3)]);
        keys.complete();
        let owned = |all: &[(usize, &str)]| -> Vec<(usize, String)> {
            all.iter().map(|(position, key)| (*position, (*key).to_owned())).collect()
        };
        assert_eq!((keys.take(2), keys.left()), (owned(&[(2, "b"), (3, "a")]), 1));
        assert_eq!((keys.take(2), keys.is_empty()), (owned(&[(7, "")]), true));
        assert_eq!(keys.take(1), []);
    }

    proptest! {
        #[test]
        fn keys_of_one_hash_are_told_apart(input in proptest::collection::vec(0..12_u8, 0..60)) {
            let (mut keys, mut first) = (BatchKeys::default(), HashMap::new());
            // Hashes of which each is that of several keys, but one key has always the same.
            for (position, key) in input.iter().enumerate() {
                let text = "k".repeat(usize::from(*key));
                let before = keys.add_hashed(u64::from(key % 3), &text, position);
                prop_assert_eq!(before, first.get(&text).copied());
                first.entry(text).or_insert(position);
            }
            let taken: HashMap<String, usize> =
                keys.take(100).into_iter().map(|(position, key)| (key, position)).collect();
            prop_assert_eq!(taken, first);
        }
    }
}

//! The keys of a set's contacts, kept in little memory: a set can have a million.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Keys in the order of the input and each once, with the positions where they stand first. All in one text: some 65 bytes a
/// contact with a uuid, a third of them only until [`BatchKeys::complete`]. What was taken goes, a quarter at a time.
#[derive(Debug, Default)]
pub struct BatchKeys {
    text: String,
    entries: Vec<Entry>,
    /// How many of the entries were taken.
    taken: usize,
    /// Where the first of the entries begins, counted from the beginning of all that was added, as their ends are; the text begins there.
    gone: u32,
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

    /// The next keys in the order of the input, at most so many, with their positions. No more are added after that.
    pub fn take(&mut self, most: usize) -> Vec<(usize, String)> {
        let end = self.entries.len().min(self.taken + most);
        let some = (self.taken..end)
            .map(|at| (self.entries[at].position as usize, self.key(at).to_owned()))
            .collect();
        self.taken = end;
        if self.taken * 4 >= self.entries.len() {
            self.forget_taken();
        }
        some
    }

    /// Each time at least a quarter of what there is: less is copied in all than three times what was added.
    fn forget_taken(&mut self) {
        let Some(last) = self.taken.checked_sub(1).map(|at| self.entries[at]) else { return };
        self.text.drain(..(last.end - self.gone) as usize);
        self.text.shrink_to_fit();
        self.entries.drain(..self.taken);
        self.entries.shrink_to_fit();
        (self.gone, self.taken) = (last.end, 0);
    }

    /// How many were not taken yet.
    pub fn left(&self) -> usize {
        self.entries.len() - self.taken
    }

    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    fn key(&self, at: usize) -> &str {
        let begin = at.checked_sub(1).map_or(self.gone, |before| self.entries[before].end);
        &self.text[(begin - self.gone) as usize..(self.entries[at].end - self.gone) as usize]
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

    #[test]
    fn what_was_taken_takes_no_memory() {
        let mut keys = BatchKeys::with_capacity(1_000);
        (0..1_000).for_each(|n| assert_eq!(keys.add(&format!("{n:036}"), n), None));
        keys.complete();
        for left in (0..1_000).rev().step_by(100).skip(1) {
            keys.take(100);
            assert!(keys.text.capacity() <= (left + 1) * 36 * 4 / 3 + 36, "{left}: {}", keys.text.capacity());
            assert!(keys.entries.capacity() <= (left + 1) * 4 / 3 + 1);
        }
    }

    proptest! {
        #[test]
        fn portions_of_any_size_are_all_of_it(
            input in proptest::collection::vec("[a-c]{0,3}", 0..60), most in 1..20_usize,
        ) {
            let mut keys = BatchKeys::with_capacity(input.len());
            let mut first: Vec<(usize, String)> = Vec::new();
            for (position, key) in input.into_iter().enumerate() {
                if keys.add(&key, position).is_none() {
                    first.push((position, key));
                }
            }
            keys.complete();
            let mut taken = Vec::new();
            while !keys.is_empty() {
                prop_assert_eq!(keys.left(), first.len() - taken.len());
                taken.extend(keys.take(most));
            }
            prop_assert_eq!(taken, first);
        }

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

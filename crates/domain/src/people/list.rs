//! Lists that are kept as data: files with one entry a line, sorted by their bytes, comments first. Looked up where they
//! stand in the library's read-only data: nothing is built or copied in a backend.

use std::cmp::Ordering;

/// `WORDS`: how many words of 64 bits tell apart what is in no list. With eight bits or more for an entry, most of that ends
/// there, without a look into the text.
pub struct List<const WORDS: usize = 64> {
    text: &'static str,
    /// Where the entries that begin with a byte start, for each byte, and the end.
    starts: [u32; 257],
    /// A bit for the hash of each entry.
    hashes: [u64; WORDS],
}

/// FNV-1a of some bytes of a text.
const fn hash_of(bytes: &[u8], from: usize, to: usize) -> u32 {
    let (mut hash, mut at) = (0x811c_9dc5_u32, from);
    while at < to {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash ^ hash >> 15
}

/// The hash of a word, for looking it up in several lists.
pub fn hash(word: &str) -> u32 {
    hash_of(word.as_bytes(), 0, word.len())
}

const fn has_bit(bits: &[u64], hash: u32) -> bool {
    let bit = hash as usize % (bits.len() * 64);
    bits[bit / 64] & (1 << (bit % 64)) != 0
}

impl<const WORDS: usize> List<WORDS> {
    /// Reads a list while the program is compiled. The text must end with a line feed and be sorted by bytes.
    pub const fn new(text: &'static str) -> List<WORDS> {
        let bytes = text.as_bytes();
        assert!(bytes.len() < u32::MAX as usize && bytes[bytes.len() - 1] == b'\n');
        let mut starts = [0; 257];
        let mut hashes = [0; WORDS];
        let (mut at, mut next) = (0, 0);
        while at < bytes.len() {
            while next <= bytes[at] as usize {
                starts[next] = at as u32;
                next += 1;
            }
            let start = at;
            while bytes[at] != b'\n' {
                at += 1;
            }
            let bit = hash_of(bytes, start, at) as usize % (WORDS * 64);
            hashes[bit / 64] |= 1 << (bit % 64);
            at += 1;
        }
        while next < starts.len() {
            starts[next] = at as u32;
            next += 1;
        }
        List { text, starts, hashes }
    }

    /// Whether one of the lines is the entry.
    pub fn contains(&self, entry: &str) -> bool {
        self.contains_hashed(entry, hash(entry))
    }

    /// The same, with the entry's [`hash`].
    pub fn contains_hashed(&self, entry: &str, hash: u32) -> bool {
        if !has_bit(&self.hashes, hash) {
            return false;
        }
        let (entry, bytes) = (entry.as_bytes(), self.text.as_bytes());
        // Comments are no entries.
        let Some(initial) = entry.first().filter(|initial| **initial != b'#') else { return false };
        let [mut from, mut to] = [0, 1].map(|next| self.starts[usize::from(*initial) + next] as usize);
        while from < to {
            let middle = from + (to - from) / 2;
            let start =
                bytes[from..middle].iter().rposition(|b| *b == b'\n').map_or(from, |at| from + at + 1);
            let end = bytes[middle..to].iter().position(|b| *b == b'\n').map_or(to, |at| middle + at);
            match bytes[start..end].cmp(entry) {
                Ordering::Equal => return true,
                Ordering::Less => from = (end + 1).min(to),
                Ordering::Greater => to = start,
            }
        }
        false
    }

    /// The lines that are no comments.
    #[cfg(test)]
    pub fn entries(&self) -> impl Iterator<Item = &'static str> {
        self.text.lines().filter(|line| !line.starts_with('#'))
    }

    /// The comments at the beginning, with their `#`.
    #[cfg(test)]
    pub fn comments(&self) -> impl Iterator<Item = &'static str> {
        self.text.lines().take_while(|line| line.starts_with('#'))
    }
}

/// The first words of a list's entries: what begins with none of them is not in it. Others may seem to be.
pub struct FirstWords([u64; 64]);

impl FirstWords {
    /// Reads the first words of a list while the program is compiled. Each line must end with a line feed.
    pub const fn new(text: &'static str) -> FirstWords {
        let bytes = text.as_bytes();
        let mut bits = [0; 64];
        let mut at = 0;
        while at < bytes.len() {
            let start = at;
            while bytes[at] != b'\n' && bytes[at] != b' ' {
                at += 1;
            }
            let bit = hash_of(bytes, start, at) as usize % (64 * 64);
            bits[bit / 64] |= 1 << (bit % 64);
            while bytes[at] != b'\n' {
                at += 1;
            }
            at += 1;
        }
        FirstWords(bits)
    }

    /// Whether an entry may begin with the first word of this text, which has letters of ASCII only.
    pub fn may_begin(&self, text: &str) -> bool {
        let words = text.bytes().skip_while(|b| !b.is_ascii_alphanumeric());
        let mut word = [0; 32];
        let mut length = 0;
        for byte in words.take_while(u8::is_ascii_alphanumeric) {
            if length == word.len() {
                return false;
            }
            word[length] = byte.to_ascii_lowercase();
            length += 1;
        }
        has_bit(&self.0, hash_of(&word, 0, length))
    }
}

/// The words of a text in lower case, one space between them: what lists of words are searched by.
pub fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        let start = words.len();
        if word.is_ascii() {
            words.push_str(word);
            words[start..].make_ascii_lowercase();
        } else {
            words.push_str(&word.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 6] = [
        include_str!("data/stand_ins.txt"),
        include_str!("data/name_stand_ins.txt"),
        include_str!("data/company_stand_ins.txt"),
        include_str!("data/legal_forms.txt"),
        include_str!("data/mail_providers.txt"),
        include_str!("data/throw_away.txt"),
    ];

    #[test]
    fn every_list_names_its_sources_is_sorted_and_each_of_its_entries_is_found() {
        for text in TEXTS {
            let list: List<16_384> = List::new(text);
            let start: String = list.comments().collect();
            assert!(start.starts_with("# ") && start.contains("Sources: "), "{start}");
            let entries: Vec<&str> = list.entries().collect();
            assert!(entries.is_sorted_by(|a, b| a < b), "{start}");
            assert!(entries.iter().all(|entry| list.contains(entry) && !entry.trim().is_empty()));
            assert!(entries.iter().all(|entry| !list.contains(&format!("{entry}\u{1}"))));
        }
    }

    #[test]
    fn what_is_no_line_is_not_found() {
        let list: List = List::new("# one\n# two\nb\nbb\nc\n");
        for there in ["b", "bb", "c"] {
            assert!(list.contains(there), "{there}");
        }
        for not_there in ["", "a", "ba", "bbb", "d", "# one", "b\nbb", "\n"] {
            assert!(!list.contains(not_there), "{not_there:?}");
        }
        let none: List = List::new("# b\n");
        assert!(!none.contains("b") && !none.contains("# b"));
    }

    #[test]
    fn what_begins_with_no_first_word_is_told() {
        let first = FirstWords::new("not available\nn a\nnull\n");
        for text in ["N/A", "(null)", "Not Available", "not", "NULL and void"] {
            assert!(first.may_begin(text), "{text}");
        }
        for text in ["", "Head of Sales", "nothing", "x not", &"n".repeat(40)] {
            assert!(!first.may_begin(text), "{text}");
        }
    }
}

//! Where entries and their payloads are: buckets with chains of entries, entries with chains of blocks.

use super::{Arena, BLOCK_BYTES, Block, Entry, EntryState, NONE, ReceiptKey};

impl Arena<'_> {
    /// The numbers of the entries in use, in order.
    pub(super) fn in_use(&self) -> Vec<u32> {
        let mut left = self.head.used;
        let mut found = Vec::with_capacity(left as usize);
        for (index, entry) in self.entries.iter().enumerate() {
            if left == 0 {
                break;
            }
            if entry.state != EntryState::Free {
                found.push(index as u32);
                left -= 1;
            }
        }
        found
    }

    /// The bucket of a key.
    pub(super) fn bucket(&self, key: &ReceiptKey) -> usize {
        // Already a hash: any part of it will do.
        let [a, b, c, d, ..] = key.question;
        (u32::from_ne_bytes([a, b, c, d]) ^ key.database) as usize % self.buckets.len()
    }

    /// What is kept under this key, the latest first.
    pub(super) fn chain(&self, key: &ReceiptKey) -> impl Iterator<Item = (u32, &Entry)> {
        let place = |index: u32| (index != NONE).then(|| (index, &self.entries[index as usize]));
        let all =
            std::iter::successors(place(self.buckets[self.bucket(key)]), move |(_, entry)| place(entry.next));
        let key = *key;
        all.filter(move |(_, entry)| entry.key == key)
    }

    /// The latest entry of this key that `accept` takes; `None`: there is none.
    pub(super) fn position(&self, key: &ReceiptKey, accept: impl Fn(&Entry) -> bool) -> Option<u32> {
        self.chain(key).find(|(_, entry)| accept(entry)).map(|(index, _)| index)
    }

    /// The chain of blocks that holds `payload`; that there are enough was checked.
    pub(super) fn fill(&mut self, payload: &[u8]) -> u32 {
        let mut first = NONE;
        // From the end, so that each block knows its next one.
        for chunk in payload.chunks(BLOCK_BYTES).rev() {
            let index = self.head.free_block;
            let block = &mut self.blocks[index as usize];
            self.head.free_block = block.next;
            self.head.free_blocks -= 1;
            block.bytes[..chunk.len()].copy_from_slice(chunk);
            block.next = first;
            first = index;
        }
        first
    }

    /// A copy of the payload of an entry.
    pub(super) fn payload(&self, index: u32) -> Vec<u8> {
        let entry = &self.entries[index as usize];
        let mut payload = Vec::with_capacity(entry.bytes as usize);
        let mut block = entry.first_block;
        while block != NONE {
            let left = entry.bytes as usize - payload.len();
            payload.extend_from_slice(&self.blocks[block as usize].bytes[..left.min(BLOCK_BYTES)]);
            block = self.blocks[block as usize].next;
        }
        payload
    }

    /// Frees an entry and its blocks, which are overwritten with zeros.
    pub(super) fn release(&mut self, index: u32) {
        let Entry { key, first_block, next, .. } = self.entries[index as usize];
        let bucket = self.bucket(&key);
        if self.buckets[bucket] == index {
            self.buckets[bucket] = next;
        } else {
            let mut before = self.buckets[bucket];
            while before != NONE && self.entries[before as usize].next != index {
                before = self.entries[before as usize].next;
            }
            if before != NONE {
                self.entries[before as usize].next = next;
            }
        }
        let mut block = first_block;
        while block != NONE {
            let next = self.blocks[block as usize].next;
            // Personal data does not stay behind.
            self.blocks[block as usize] = Block { next: self.head.free_block, bytes: [0; BLOCK_BYTES] };
            self.head.free_block = block;
            self.head.free_blocks += 1;
            block = next;
        }
        let entry = &mut self.entries[index as usize];
        self.head.refusals -= u32::from(entry.refuses);
        entry.state = EntryState::Free;
        entry.next = self.head.free_entry;
        self.head.free_entry = index;
        self.head.used -= 1;
    }
}

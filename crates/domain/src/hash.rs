//! Hashes by which people, questions and values are known.

use sha2::{Digest, Sha256};

/// Sixteen bytes of a SHA-256. Of values it holds the ids of workspace and provider as well, so that nobody who lacks those
/// can tell from it whom it is about.
pub type Hash = [u8; 16];

/// A hash of parts that cannot run into each other.
pub fn hash(parts: &[&[u8]]) -> Hash {
    hash_each(parts.iter().copied())
}

/// The same of parts that come one by one.
pub fn hash_each<'p>(parts: impl Iterator<Item = &'p [u8]>) -> Hash {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// Half of [`hash`], as text: enough to tell values of one contact apart.
pub fn short(parts: &[&[u8]]) -> String {
    hash(parts)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

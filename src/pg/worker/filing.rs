//! Receipts from shared memory into the books.

use super::super::cache::Found;
use super::super::receipts::{self, Taken};
use super::super::{cache, store};
use super::round::{Failed, attempt};
use crate::domain::receipt::{Filed, Hash};

/// Receipts written by one statement.
const BATCH: usize = 1_000;

/// Writes what waits; how many. What fails stays where it is.
pub fn write(database: u32) -> Result<u64, Failed> {
    let mut written = 0;
    loop {
        let taken = receipts::with(|arena| arena.take(database, BATCH));
        if taken.is_empty() {
            return Ok(written);
        }
        match write_batch(&taken) {
            Ok(count) => {
                receipts::with(|arena| arena.done(&taken));
                written += count;
            }
            Err(failure) if failure.by_data => written += one_by_one(taken)?,
            Err(failure) => {
                receipts::with(|arena| arena.put_back(&taken));
                return Err(failure);
            }
        }
    }
}

/// What belongs to an extension that was dropped, or that is not committed, is nobody's.
fn write_batch(taken: &[Taken]) -> Result<u64, Failed> {
    attempt(|| {
        let Found::This(installation) = cache::find_installation() else { return 0 };
        let ours = |entry: &&Taken| entry.key.catalog == installation.catalog;
        let read = |entry: &Taken| Some((entry.key.question, Filed::from_bytes(&entry.payload)?));
        let filed: Vec<(Hash, Filed)> = taken.iter().filter(ours).filter_map(read).collect();
        store::receipts::file(&filed);
        filed.iter().filter_map(|(_, filed)| filed.refusal()).for_each(store::suppressions::file);
        filed.len() as u64
    })
}

/// One of them cannot be stored: the others are not to suffer.
fn one_by_one(taken: Vec<Taken>) -> Result<u64, Failed> {
    let mut written = 0;
    let mut rest = taken.into_iter();
    while let Some(entry) = rest.next() {
        let entry = [entry];
        match write_batch(&entry) {
            Ok(count) => written += count,
            Err(failure) if failure.by_data => {
                receipts::with(|arena| arena.count_drop(entry[0].key.database));
                pgrx::warning!("leadlex_enrich worker: a receipt cannot be stored: {}", failure.message);
            }
            Err(failure) => {
                let unwritten: Vec<Taken> = entry.into_iter().chain(rest).collect();
                receipts::with(|arena| arena.put_back(&unwritten));
                return Err(failure);
            }
        }
        receipts::with(|arena| arena.done(&entry));
    }
    Ok(written)
}

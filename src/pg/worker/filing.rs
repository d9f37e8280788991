//! Receipts from shared memory into the books.

use pgrx::pg_sys;

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
        let refuses =
            |entry: &Taken| Filed::from_bytes(&entry.payload).is_some_and(|f| f.refusal().is_some());
        let (refusals, answers): (Vec<Taken>, Vec<Taken>) = taken.into_iter().partition(refuses);
        match write_batch(&answers) {
            Ok(count) => {
                receipts::with(|arena| arena.done(&answers));
                written += count;
            }
            Err(failure) if failure.by_data => written += one_by_one(answers)?,
            Err(failure) => {
                receipts::with(|arena| [answers, refusals].iter().for_each(|some| arena.put_back(some)));
                return Err(failure);
            }
        }
        if !write_refusals(refusals)? {
            return Ok(written);
        }
    }
}

/// `false`: later. Somebody may be putting the same person on the list in a transaction that stays open: nothing else is
/// to wait for that, and until then refusals count where they are.
fn write_refusals(refusals: Vec<Taken>) -> Result<bool, Failed> {
    if refusals.is_empty() {
        return Ok(true);
    }
    match attempt(|| {
        wait_briefly_for_locks();
        file(&refusals)
    }) {
        Ok(_) => receipts::with(|arena| arena.done(&refusals)),
        Err(failure) if failure.by_data => {
            one_by_one(refusals)?;
        }
        Err(_) => {
            receipts::with(|arena| arena.put_back(&refusals));
            return Ok(false);
        }
    }
    Ok(true)
}

fn wait_briefly_for_locks() {
    // SAFETY: a setting for the rest of the transaction, given as texts that outlive the call.
    unsafe {
        pg_sys::set_config_option(
            c"lock_timeout".as_ptr(),
            c"50ms".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// What belongs to an extension that was dropped, or that is not committed, is nobody's.
fn write_batch(taken: &[Taken]) -> Result<u64, Failed> {
    attempt(|| file(taken))
}

fn file(taken: &[Taken]) -> u64 {
    let Found::This(installation) = cache::find_installation() else { return 0 };
    let ours = |entry: &&Taken| entry.key.catalog == installation.catalog;
    let read = |entry: &Taken| Some((entry.key.question, Filed::from_bytes(&entry.payload)?));
    let filed: Vec<(Hash, Filed)> = taken.iter().filter(ours).filter_map(read).collect();
    store::receipts::file(&filed);
    filed.iter().filter_map(|(_, filed)| filed.refusal()).for_each(store::suppressions::file);
    filed.len() as u64
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

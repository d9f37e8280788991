//! Providers' refusals from shared memory onto the list. They come before anything else that a worker does: a person
//! about whom a provider refused to tell must not be asked about again, also after a crash.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use crate::pg::installation;
use crate::pg::installation::Installed;
use crate::pg::shared::receipts;
use crate::pg::shared::receipts::Taken;
use crate::pg::store::suppressions;
use crate::pg::sys::clock;
use crate::pg::sys::settings;
use crate::pg::worker::session::{TransactionFailure, attempt};
use leadlex_domain::receipt::Filed;

/// Refusals written by one transaction.
const BATCH: usize = 1_000;
/// How long a batch waits for what others hold.
const PATIENCE: &str = "50ms";
/// And one refusal, when the batch has failed.
const PATIENCE_OF_ONE: &str = "5ms";
/// One by one they are written for so long at a time: meanwhile the worker does nothing else.
const ONE_BY_ONE: Duration = Duration::from_millis(200);
/// After so many microseconds a refusal that somebody holds up is tried again.
const PAUSE_US: i64 = 500_000;
/// So long the last worker of a server that shuts down tries: sessions that held something are ending, too.
const LAST_TRIES: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// Writes the refusals that wait, and whose pause is over; how many. Somebody may be putting one of these people on the
/// list, or taking them off it, in a transaction that stays open: such a refusal waits alone, and counts where it is.
pub fn write(database: u32) -> Result<u64, TransactionFailure> {
    let taken = receipts::with(|arena| arena.take_refusals(database, BATCH, clock::now_us()));
    if taken.is_empty() {
        return Ok(0);
    }
    match file_within(PATIENCE, &taken) {
        Ok(count) => {
            receipts::with(|arena| arena.done(&taken));
            Ok(count)
        }
        Err(failure) if failure.by_data || failure.is_held_up() => one_by_one(taken),
        Err(failure) => {
            receipts::with(|arena| arena.put_back(&taken));
            Err(failure)
        }
    }
}

/// The same before the worker leaves a server that shuts down, which forgets what is not written: what is held up is tried
/// until those who hold it have gone, or for half a second.
pub fn write_last(database: u32) -> Result<u64, TransactionFailure> {
    let until = Instant::now() + LAST_TRIES;
    let mut written = 0;
    loop {
        receipts::with(|arena| arena.end_pauses(database));
        written += write(database)?;
        if !receipts::with(|arena| arena.has_refusal_of(database)) || Instant::now() >= until {
            return Ok(written);
        }
        std::thread::sleep(LAST_PAUSE);
    }
}

fn file_within(patience: &str, taken: &[Taken]) -> Result<u64, TransactionFailure> {
    attempt(|| {
        settings::set_local(LOCK_TIMEOUT, patience);
        file(taken)
    })
}

const LOCK_TIMEOUT: &CStr = c"lock_timeout";

/// What belongs to an extension that was dropped, or that is not committed, is nobody's.
fn file(taken: &[Taken]) -> u64 {
    let Installed::This(installation) = installation::find() else { return 0 };
    let ours = |entry: &&Taken| entry.key.catalog == installation.catalog;
    let refusals = taken.iter().filter(ours).filter_map(|entry| Filed::from_bytes(&entry.payload));
    let mut count = 0;
    for filed in refusals {
        if let Some(refusal) = filed.refusal().filter(|refusal| !refusal.people.is_empty()) {
            suppressions::file(refusal);
            count += 1;
        }
    }
    count
}

/// The others are not to wait for one that is held up, nor for one that cannot be stored.
fn one_by_one(taken: Vec<Taken>) -> Result<u64, TransactionFailure> {
    let until = Instant::now() + ONE_BY_ONE;
    let (mut written, mut done) = (0, false);
    let mut rest = taken.into_iter();
    while Instant::now() < until
        && let Some(entry) = rest.next()
    {
        let entry = [entry];
        match file_within(PATIENCE_OF_ONE, &entry) {
            Ok(count) => written += count,
            Err(failure) if failure.by_data => {
                receipts::with(|arena| arena.count_drop(entry[0].key.database));
                pgrx::warning!("leadlex_enrich worker: a refusal cannot be stored: {}", failure.message);
            }
            Err(failure) if failure.is_held_up() => {
                receipts::with(|arena| arena.put_back_until(&entry, clock::now_us() + PAUSE_US));
                continue;
            }
            Err(failure) => {
                let unwritten: Vec<Taken> = entry.into_iter().chain(rest).collect();
                receipts::with(|arena| arena.put_back(&unwritten));
                return Err(failure);
            }
        }
        done = true;
        receipts::with(|arena| arena.done(&entry));
    }
    // Where all that were tried are held up, the whole list is likely to be: the others come a little later.
    let pause = if done { 0 } else { PAUSE_US / 2 };
    let untried: Vec<Taken> = rest.collect();
    receipts::with(|arena| arena.put_back_until(&untried, clock::now_us() + pause));
    Ok(written)
}

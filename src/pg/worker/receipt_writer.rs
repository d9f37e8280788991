//! Receipts from shared memory into the tables.

use crate::pg::installation;
use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::pg::installation::Installed;
use crate::pg::provider::shared_values;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{Close, Record};
use crate::pg::shared::receipts;
use crate::pg::shared::receipts::Taken;
use crate::pg::shared::workers;
use crate::pg::store;
use crate::pg::store::events::{self, About};
use crate::pg::store::shared_values::Crowded;
use crate::pg::sys::clock;
use crate::pg::sys::settings;
use crate::pg::worker::refusal_writer;
use crate::pg::worker::session::{TransactionFailure, attempt};
use crate::pg::worker::spend_writer;
use crate::pg::worker::sweep::HOLDS_EVERY_S;
use leadlex_domain::event;
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt::Filed;

/// Receipts written by one statement.
const BATCH: usize = 1_000;
/// How long a batch waits for what others hold.
const PATIENCE: &str = "50ms";
/// And a part of it, when the batch has failed.
const PATIENCE_OF_PART: &str = "2ms";
/// It is written in parts for so long at a time: meanwhile the worker does nothing else.
const IN_PARTS: Duration = Duration::from_millis(200);
/// After so many microseconds an answer that somebody holds up is tried again, with others of them alone.
const PAUSE_US: i64 = 500_000;

/// Writes what waits, refusals first; how many. Answers that come while it writes are for the next time: calls that follow each
/// other would else have a transaction each, with a commit that theirs wait for. Somebody may have changed what is written of a
/// question, in a transaction that stays open: an answer to it waits alone, and counts where it is. What fails otherwise stays
/// where it is.
pub fn write(database: u32) -> Result<u64, TransactionFailure> {
    let mut written = 0;
    loop {
        written += refusal_writer::write(database)?;
        let taken = receipts::with(|arena| arena.take(database, BATCH));
        let is_full = taken.len() == BATCH;
        if !taken.is_empty() {
            written += write_taken(taken)?;
        }
        if !is_full {
            break;
        }
    }
    let put_off = receipts::with(|arena| arena.take_put_off(database, BATCH, clock::now_us()));
    if put_off.is_empty() {
        return Ok(written);
    }
    let done = write_free(put_off)?;
    list(&done.crowded)?;
    Ok(written + done.count)
}

fn write_taken(taken: Vec<Taken>) -> Result<u64, TransactionFailure> {
    let done = match write_batch(PATIENCE, &taken) {
        Ok(done) => {
            receipts::with(|arena| arena.done(&taken));
            done.settle();
            done
        }
        Err(failure) if failure.by_data => in_parts(taken)?,
        Err(failure) if failure.is_held_up() => write_free(taken)?,
        Err(failure) => {
            receipts::with(|arena| arena.put_back(&taken));
            return Err(failure);
        }
    };
    list(&done.crowded)?;
    Ok(done.count)
}

/// Writes those that no open transaction holds up, and puts off the others. Where a table is locked, nothing is written.
fn write_free(taken: Vec<Taken>) -> Result<Done, TransactionFailure> {
    let held = match attempt(|| held_among(&taken)) {
        Ok(held) => held,
        Err(failure) => {
            receipts::with(|arena| arena.put_back(&taken));
            return Err(failure);
        }
    };
    let (held, free): (Vec<_>, Vec<_>) = taken.into_iter().enumerate().partition(|(at, _)| held.contains(at));
    let [held, free] = [held, free].map(|some| some.into_iter().map(|(_, taken)| taken).collect::<Vec<_>>());
    put_off(&held, PAUSE_US);
    if free.is_empty() { Ok(Done::default()) } else { in_parts(free) }
}

/// Places of those that an open transaction holds up.
fn held_among(taken: &[Taken]) -> HashSet<usize> {
    settings::set_local(c"lock_timeout", PATIENCE);
    let Installed::This(_) = installation::find() else { return HashSet::new() };
    store::receipts::require_free();
    let read =
        |(at, entry): (usize, &Taken)| Some((at, (entry.key.question, Filed::from_bytes(&entry.payload)?)));
    let (places, filed): (Vec<usize>, Vec<_>) = taken.iter().enumerate().filter_map(read).unzip();
    store::held_rows::held(&filed).into_iter().map(|at| places[at]).collect()
}

/// Values that have turned out to be many people's, by themselves: an administrator may be deciding about one of them in a
/// transaction that stays open. Then they are found again when they come up next.
fn list(crowded: &[Crowded]) -> Result<(), TransactionFailure> {
    if crowded.is_empty() {
        return Ok(());
    }
    let listed = attempt(|| {
        settings::set_local(c"lock_timeout", "50ms");
        // Of a telephone number leadlex.check() tells.
        for new in store::shared_values::list(crowded).into_iter().filter(|new| !new.kind.is_phone()) {
            shared_values::warn_of(new.kind, new.workspace, new.hash, new.provider);
            let about = About { workspace: new.workspace, provider: new.provider.unwrap_or_default() };
            let detail = json!({"kind": new.kind.name(), "hash": new.hash});
            events::post_on_commit(event::Kind::SharedValue, about, 1, detail);
        }
    });
    match listed {
        Err(failure) if !failure.is_held_up() => Err(failure),
        _ => Ok(()),
    }
}

/// What became of a batch.
#[derive(Default)]
struct Done {
    count: u64,
    crowded: Vec<Crowded>,
    holds: store::holds::Recorded,
    spent: Option<Record>,
}

impl Done {
    /// It is durable.
    fn settle(&self) {
        self.spent.iter().for_each(spend_writer::is_durable);
        budgets::holds_recorded(&self.holds.written, &self.holds.never);
        if !self.holds.written.is_empty() {
            workers::note_hold(clock::now() + HOLDS_EVERY_S);
        }
    }
}

/// What belongs to an extension that was dropped, or that is not committed, is nobody's.
fn write_batch(patience: &str, taken: &[Taken]) -> Result<Done, TransactionFailure> {
    attempt(|| {
        settings::set_local(c"lock_timeout", patience);
        file(taken)
    })
}

fn file(taken: &[Taken]) -> Done {
    let Installed::This(installation) = installation::find() else { return Done::default() };
    let ours = |entry: &&Taken| entry.key.catalog == installation.catalog;
    let read = |entry: &Taken| Some((entry.key.question, Filed::from_bytes(&entry.payload)?));
    let filed: Vec<(Hash, Filed)> = taken.iter().filter(ours).filter_map(read).collect();
    store::receipts::file(&filed);
    store::tickets::file(&filed);
    store::outcomes::file(&filed);
    let holds = store::holds::file(filed.iter().map(|(_, filed)| filed));
    // What an answer cost and what was held for it change in the tables together: a crash loses neither.
    let database = crate::pg::sys::database::this_database();
    let spent = holds.any_gone.then(|| spend_writer::write_with(database, Close::Idle));
    store::spend::shrink_leases(&holds.written);
    let most = settings::max_people_per_value();
    let crowded = most.map(|most| store::shared_values::count(&filed, most)).unwrap_or_default();
    let kept = filed.iter().filter(|(_, filed)| filed.receipt().is_some());
    Done { count: kept.count() as u64, crowded, holds, spent }
}

/// Some of them cannot be stored, or are held up: the others are not to suffer.
fn in_parts(taken: Vec<Taken>) -> Result<Done, TransactionFailure> {
    let until = Instant::now() + IN_PARTS;
    let mut written = Done::default();
    let mut parts = vec![taken];
    while let Some(mut part) = parts.pop() {
        if Instant::now() >= until {
            put_off(&part, PAUSE_US / 2);
            continue;
        }
        match write_batch(PATIENCE_OF_PART, &part) {
            Ok(done) => {
                done.settle();
                written.count += done.count;
                written.crowded.extend(done.crowded);
            }
            Err(failure) if !failure.by_data && !failure.is_held_up() => {
                parts.push(part);
                receipts::with(|arena| parts.iter().for_each(|part| arena.put_back(part)));
                return Err(failure);
            }
            Err(_) if part.len() > 1 => {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
                continue;
            }
            Err(failure) if failure.by_data => {
                receipts::with(|arena| arena.count_drop(part[0].key.database));
                pgrx::warning!("leadlex_enrich worker: a receipt cannot be stored: {}", failure.message);
            }
            Err(_) => {
                put_off(&part, PAUSE_US);
                continue;
            }
        }
        receipts::with(|arena| arena.done(&part));
    }
    Ok(written)
}

/// They are tried again after so many microseconds.
fn put_off(part: &[Taken], pause_us: i64) {
    receipts::with(|arena| arena.put_back_until(part, clock::now_us() + pause_us));
}

//! Receipts from shared memory into the books.

use crate::pg::installation;
use leadlex_domain::sqlstate;
use serde_json::json;

use crate::pg::installation::Found;
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
use crate::pg::worker::session::{Failed, attempt};
use crate::pg::worker::spend_writer;
use crate::pg::worker::sweep::HOLDS_EVERY_S;
use leadlex_domain::event;
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt::Filed;

/// Somebody else holds the row.
const LOCK_NOT_AVAILABLE: &str = sqlstate::LOCK_NOT_AVAILABLE;
/// Receipts written by one statement.
const BATCH: usize = 1_000;

/// Writes what waits, refusals first; how many. What fails stays where it is.
pub fn write(database: u32) -> Result<u64, Failed> {
    let mut written = 0;
    loop {
        written += refusal_writer::write(database)?;
        let taken = receipts::with(|arena| arena.take(database, BATCH));
        if taken.is_empty() {
            return Ok(written);
        }
        let done = match write_batch(&taken) {
            Ok(done) => {
                receipts::with(|arena| arena.done(&taken));
                done.settle();
                done
            }
            Err(failure) if failure.by_data => one_by_one(taken)?,
            Err(failure) => {
                receipts::with(|arena| arena.put_back(&taken));
                return Err(failure);
            }
        };
        written += done.count;
        list(&done.crowded)?;
    }
}

/// Values that have turned out to be many people's, by themselves: an administrator may be deciding about one of them in a
/// transaction that stays open. Then they are found again when they come up next.
fn list(crowded: &[Crowded]) -> Result<(), Failed> {
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
        Err(failure) if failure.sqlstate != LOCK_NOT_AVAILABLE => Err(failure),
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
fn write_batch(taken: &[Taken]) -> Result<Done, Failed> {
    attempt(|| file(taken))
}

fn file(taken: &[Taken]) -> Done {
    let Found::This(installation) = installation::find() else { return Done::default() };
    let ours = |entry: &&Taken| entry.key.catalog == installation.catalog;
    let read = |entry: &Taken| Some((entry.key.question, Filed::from_bytes(&entry.payload)?));
    let filed: Vec<(Hash, Filed)> = taken.iter().filter(ours).filter_map(read).collect();
    store::receipts::file(&filed);
    store::tickets::file(&filed);
    store::outcomes::file(&filed);
    let holds = store::holds::file(filed.iter().map(|(_, filed)| filed));
    // What an answer cost and what was held for it change in the books together: a crash loses neither.
    let database = crate::pg::sys::database::this_database();
    let spent = holds.any_gone.then(|| spend_writer::write_with(database, Close::Idle));
    store::spend::shrink_leases(&holds.written);
    let most = settings::max_people_per_value();
    let crowded = most.map(|most| store::shared_values::count(&filed, most)).unwrap_or_default();
    let kept = filed.iter().filter(|(_, filed)| filed.receipt().is_some());
    Done { count: kept.count() as u64, crowded, holds, spent }
}

/// One of them cannot be stored: the others are not to suffer.
fn one_by_one(taken: Vec<Taken>) -> Result<Done, Failed> {
    let mut written = Done::default();
    let mut rest = taken.into_iter();
    while let Some(entry) = rest.next() {
        let entry = [entry];
        match write_batch(&entry) {
            Ok(done) => {
                done.settle();
                written.count += done.count;
                written.crowded.extend(done.crowded);
            }
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

//! Spend from shared memory into the tables, and leases out of them.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::pg::installation;
use crate::pg::installation::Installed;
use crate::pg::provider::budget_events;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{Close, Record};
use crate::pg::store::cache;
use crate::pg::store::quality;
use crate::pg::store::queue_pause::Pause;
use crate::pg::store::spend;
use crate::pg::store::unknown_spend;
use crate::pg::sys::{clock, database};
use crate::pg::worker::session::{TransactionFailure, attempt_as};

/// It is written this often at most, unless a call waits.
const EVERY: Duration = Duration::from_millis(200);
/// Between looks whether leases have not been used for a while.
const LEASES_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    /// Whether what a crash has left is booked: once in the life of a worker.
    static LEFT_IS_BOOKED: Cell<bool> = const { Cell::new(false) };
    /// Whether the transaction does that which is not durable yet.
    static BOOKING: Cell<bool> = const { Cell::new(false) };
}

/// When it was looked at last, and what was there.
pub struct Schedule {
    last: Option<Instant>,
    seen: u64,
    open: bool,
}

impl Schedule {
    /// It is due at once.
    pub fn new() -> Schedule {
        Schedule { last: None, seen: 0, open: true }
    }

    /// Writes it if it is time.
    pub fn keep(&mut self, database: u32) -> Result<(), TransactionFailure> {
        let every = if budgets::changes() == self.seen { LEASES_EVERY } else { EVERY };
        let is_new = self.last.is_none() || budgets::changes() != self.seen;
        if !(is_new || self.open) || self.last.is_some_and(|last| last.elapsed() < every) {
            return Ok(());
        }
        (self.last, self.seen) = (Some(Instant::now()), budgets::changes());
        write(database, Close::Idle)?;
        self.open = budgets::is_open(database);
        Ok(())
    }
}

/// What is not in the tables. What a crash has left unknown is booked first, but in a clone only where a call has caused
/// something to be written.
pub fn write(database: u32, close: Close) -> Result<(), TransactionFailure> {
    let written = attempt_as(c"leadlex_enrich: recording spend", || {
        let record = write_with(database, close);
        budget_events::look(clock::now());
        budget_events::look_at_reports(&record.reported);
        record
    })?;
    is_durable(&written);
    Ok(())
}

/// The same as part of a transaction, after whose commit [`is_durable`] is to be told.
pub fn write_with(database: u32, close: Close) -> Record {
    let Installed::This(installation) = installation::find() else { return Record::default() };
    budgets::forget(database, Some(installation.catalog));
    let record = budgets::record((database, installation.catalog), close);
    let may_write = !record.is_empty() || cache::paused() != Some(Pause::Clone);
    // A restore brings it while the worker is there.
    let is_due = budgets::is_left_wanted(database) || !LEFT_IS_BOOKED.get() && may_write;
    if is_due {
        unknown_spend::book();
    }
    BOOKING.set(is_due);
    spend::record(&record);
    quality::record(&record.entries);
    record
}

/// The record is durable.
pub fn is_durable(record: &Record) {
    if BOOKING.take() {
        LEFT_IS_BOOKED.set(true);
        budgets::left_is_booked(database::this_database());
    }
    budgets::recorded(record);
}

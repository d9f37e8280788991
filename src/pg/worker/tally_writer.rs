//! Providers' tallies from shared memory into the tables.

use crate::pg::installation;
use crate::pg::shared::provider_slots;
use std::time::{Duration, Instant};

use crate::pg::installation::Installed;
use crate::pg::store;
use crate::pg::worker::session::{TransactionFailure, attempt};

/// They are written this often at most.
const EVERY: Duration = Duration::from_secs(1);

/// When they were last looked at.
pub struct Schedule(Option<Instant>);

impl Schedule {
    /// They are due at once.
    pub fn new() -> Schedule {
        Schedule(None)
    }

    /// Writes them if it is time.
    pub fn keep(&mut self, database: u32) -> Result<(), TransactionFailure> {
        if self.0.is_some_and(|last| last.elapsed() < EVERY) {
            return Ok(());
        }
        self.0 = Some(Instant::now());
        write(database)
    }
}

/// What is not in the tables.
pub fn write(database: u32) -> Result<(), TransactionFailure> {
    if !provider_slots::is_ahead(database) {
        return Ok(());
    }
    let written = attempt(|| {
        let Installed::This(installation) = installation::find() else { return Vec::new() };
        provider_slots::forget(database, Some(installation.catalog));
        let tallies = provider_slots::unrecorded(database, installation.catalog);
        store::tallies::record(&tallies);
        store::vendor_balances::record(&tallies);
        tallies
    })?;
    provider_slots::recorded(&written);
    Ok(())
}

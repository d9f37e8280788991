//! Rate use into the tables, and leases of it out of them.

use crate::pg::installation;
use crate::pg::installation::Installed;
use crate::pg::limits::accounts;
use crate::pg::shared::layout;
use crate::pg::shared::layout::AccountKey;
use crate::pg::store::ledger;
use crate::pg::sys::clock;
use crate::pg::sys::database;
use crate::pg::worker::session::{commit_and_begin, mark};
use leadlex_domain::rate::Record;

/// The worker leaves: closes the leases that nobody is using. Those in use stay open until the next round.
pub fn leave(database: u32) {
    if !matches!(installation::find(), Installed::This(_)) {
        return;
    }
    let recorded = record(Close::Unused);
    commit_and_begin();
    apply(recorded);
    let (own, catalog) = (database::this_database(), installation::present().catalog);
    let open = |a: &mut layout::AccountState| {
        (a.key.database, a.key.catalog) == (own, catalog) && a.recorded_lease > 0
    };
    if (0..layout::accounts_used()).any(|account| layout::with_account(account, open)) {
        mark(database, |d| d.has_work = true);
    }
}

/// A record on its way into the tables.
pub struct Recorded {
    account: usize,
    key: AccountKey,
    lease: u64,
    admitted: u64,
}

/// When an account's lease is closed, so that eviction, shutdown and a crash find exact figures.
#[derive(Clone, Copy)]
pub enum Close {
    All,
    /// Those that no transaction is using now.
    Unused,
    /// Those that nobody has used for a while.
    Idle,
}

/// Seconds after which an account counts as idle.
const IDLE_S: i64 = 2;

/// Writes the rate use of this database's accounts where that is due, and closes leases as `close` says. What
/// is returned has to be given to [`apply`] after the commit.
pub fn record(close: Close) -> Vec<Recorded> {
    let catalog = installation::present().catalog;
    let database = database::this_database();
    let now = clock::now();
    let mut recorded = Vec::new();
    for account in 0..layout::accounts_used() {
        let Some((row, entry)) = take_record(account, (database, catalog), close, now) else {
            continue;
        };
        ledger::record_rate(&entry.key.id, &row);
        recorded.push(entry);
    }
    recorded
}

fn take_record(account: usize, owner: (u32, u32), close: Close, now: i64) -> Option<(Record, Recorded)> {
    layout::with_account(account, |a| {
        if (a.key.database, a.key.catalog) != owner || a.phase != layout::Phase::Ready {
            return None;
        }
        let closing = match close {
            Close::All => true,
            Close::Unused => a.pins == 0,
            Close::Idle => a.pins == 0 && (a.last_used + IDLE_S < now || a.last_used > now + IDLE_S),
        };
        let open = a.recorded_admitted != a.meter.admitted() || a.recorded_lease > 0;
        let wanted = a.lease_wanted > 0 && !closing;
        if !(wanted || closing && open) {
            return None;
        }
        if closing {
            a.meter.close();
            a.lease_wanted = 0;
        }
        let lease = if wanted { a.lease_wanted.max(a.meter.lease_left()) } else { 0 };
        let (row, admitted) = a.meter.record(lease);
        Some((row, Recorded { account, key: a.key, lease, admitted }))
    })
}

/// The records are durable: calls may use the leases.
pub fn apply(recorded: Vec<Recorded>) {
    for entry in recorded {
        layout::with_account(entry.account, |a| {
            if a.key == entry.key {
                a.recorded_admitted = entry.admitted;
                a.recorded_lease = entry.lease;
                if entry.lease > 0 {
                    a.meter.opened(entry.lease, entry.admitted);
                    a.lease_wanted = 0;
                }
            }
        });
        accounts::broadcast(entry.account);
    }
}

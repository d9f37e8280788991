//! Allotments of credits: each once in its period, also where the server was down when it began.

use crate::pg::installation;
use crate::pg::limits::{accounts, credits};
use crate::pg::shared::{layout, occupancy};
use crate::pg::store::{allotments, ledger};
use crate::pg::sys::clock;
use crate::pg::worker::session::{commit_and_begin, mark};
use leadlex_domain::allotment;

/// Makes a portion of those that are due; whether there may be more. The ledger row and what says that it is made are of one
/// transaction.
pub fn make(database: u32) -> bool {
    let now = clock::now();
    let due = allotments::due(now);
    for (workspace, amount, period) in &due {
        let key = installation::account_key(*workspace);
        occupancy::enter(key);
        let account = accounts::open(key);
        let (balance, reserved) = layout::with_account(account, |a| (a.balance, a.reserved));
        let change = allotment::change(*amount, balance, reserved);
        if change == 0 || credits::change(account, change) {
            if change != 0 {
                ledger::add_to_ledger(*workspace, uuid::Uuid::now_v7(), change, Some("allotment"));
            }
            allotments::made(*workspace, period.start(now));
        }
    }
    let next = allotments::next(now);
    commit_and_begin();
    mark(database, |d| d.due_at = next.unwrap_or(i64::MAX));
    due.len() >= allotments::PORTION
}

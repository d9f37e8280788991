//! Removes history that leadlex.history_retention does not keep: in portions, each a transaction of its own, whole UTC days only.

use std::cell::Cell;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::pg::store::pruning;
use crate::pg::sys::clock;
use crate::pg::sys::settings;
use crate::pg::worker::session::commit_and_begin;

/// Longest time before the worker looks for other work.
const SLICE: Duration = Duration::from_millis(200);

/// What a portion is to take: its rows are locked for so long. A machine that is busy takes fewer rows at once. The last row that a
/// contact has of a day costs a look at all that were removed before it, and many contacts may come to their last at once.
const PORTION: Duration = Duration::from_millis(100);
const ROWS: std::ops::RangeInclusive<u64> = 20..=250;

thread_local! {
    /// Workspace and request up to which this worker has looked.
    static REACHED: Cell<Option<(Uuid, Uuid)>> = const { Cell::new(None) };
    /// Rows of the next portion.
    static NEXT: Cell<u64> = const { Cell::new(100) };
}

/// Some portions, at least one; whether there is more to look at. `is_called`: a call waits for other work of this worker.
pub fn prune(is_called: impl Fn() -> bool) -> bool {
    let Some(days) = settings::history_retention() else {
        REACHED.set(None);
        return false;
    };
    let before = first_kept(days, clock::now());
    let until = Instant::now() + SLICE;
    let begin = |workspace| (workspace, Uuid::nil());
    let mut at = REACHED.take().or_else(|| pruning::workspace_after(Uuid::nil()).map(begin));
    while let Some((workspace, request)) = at {
        let (most, begun) = (NEXT.get(), Instant::now());
        let (pruned, last) = pruning::prune((workspace, request), before, most);
        commit_and_begin();
        if pruned >= most {
            NEXT.set(rows_for_next(most, begun.elapsed()));
        }
        at = match last.filter(|_| pruned >= most) {
            Some(last) => Some((workspace, last)),
            None => pruning::workspace_after(workspace).map(begin),
        };
        if at.is_some() && (is_called() || Instant::now() >= until) {
            REACHED.set(at);
            return true;
        }
    }
    false
}

/// As many as fit into [`PORTION`] at the pace of the last one; at most twice as many.
fn rows_for_next(rows: u64, took: Duration) -> u64 {
    let fit = rows as f64 * PORTION.as_secs_f64() / took.as_secs_f64().max(0.000_001);
    (fit as u64).min(2 * rows).clamp(*ROWS.start(), *ROWS.end())
}

const DAY_S: i64 = 86_400;

/// Begin of the first day that is kept, in epoch seconds: days are kept whole, and today always is.
fn first_kept(days: u32, now: i64) -> i64 {
    (now - i64::from(days) * DAY_S).div_euclid(DAY_S) * DAY_S
}

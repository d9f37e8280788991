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

thread_local! {
    /// Workspace and request up to which this worker has looked.
    static REACHED: Cell<Option<(Uuid, Uuid)>> = const { Cell::new(None) };
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
        let (pruned, last) = pruning::prune(workspace, request, before);
        commit_and_begin();
        at = match last.filter(|_| pruned >= pruning::PRUNED_AT_ONCE) {
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

const DAY_S: i64 = 86_400;

/// Begin of the first day that is kept, in epoch seconds: days are kept whole, and today always is.
fn first_kept(days: u32, now: i64) -> i64 {
    (now - i64::from(days) * DAY_S).div_euclid(DAY_S) * DAY_S
}

//! leadlex.stop(): whether requests may be sent, and why not.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::pg::installation::{self, as_owner};
use crate::pg::shared::control::{self, Word};
use crate::pg::shared::layout;
use crate::pg::shared::transaction::{self, OwnControl};
use crate::pg::sys::database::in_recovery;
use crate::pg::sys::relation::relation_named;
use crate::pg::sys::row::{boolean, number, optional};
use crate::pg::sys::spi::{Statement, View, arg, name_arg};
use leadlex_domain::provider::Fault;

/// What administrators have said.
#[derive(Clone, Default)]
struct Said {
    stopped: Option<Rc<str>>,
    paused: bool,
}

thread_local! {
    /// What the tables said when this word stood in shared memory.
    static LAST: RefCell<Option<(Word, Said)>> = const { RefCell::new(None) };
}

static READ: Statement = Statement::new(
    "SELECT (SELECT s.reason FROM leadlex.stopped AS s LIMIT 1), EXISTS (SELECT FROM leadlex.queue_pause AS p)",
);

fn read() -> Said {
    let row = as_owner(|| READ.row(View::Latest, &[])).unwrap_or_default();
    Said { stopped: optional(&row, 0).map(Rc::from), paused: boolean(&row, 1) }
}

/// Reads no table as long as nothing has changed.
fn said() -> Said {
    // What this transaction has said counts in it, and for others when it commits. What is replayed on a standby is told by
    // nothing.
    if !layout::available() || in_recovery() || transaction::with(|t| !t.controls.is_empty()) {
        return read();
    }
    let catalog = installation::present().catalog;
    let word = control::look(catalog);
    if word.is_known() && !word.is_stopped() {
        return Said { stopped: None, paused: word.is_paused() };
    }
    let known =
        LAST.with_borrow(|last| last.as_ref().filter(|(at, _)| *at == word).map(|(_, said)| said.clone()));
    if let Some(said) = known.filter(|_| word.is_known()) {
        return said;
    }
    let said = read();
    let learnt = match word.is_known() {
        true => Some(word),
        false => control::learn(catalog, word, said.stopped.is_some(), said.paused),
    };
    LAST.set(learnt.map(|word| (word, said.clone())));
    said
}

/// Why no request is sent; `None`: requests are sent. For the main thread of a session in its transaction.
///
/// Raises 55000: the extension is not installed, or has another version.
pub fn reason() -> Option<Rc<str>> {
    said().stopped
}

/// The same as the failure of a provider that is not asked.
pub fn fault() -> Option<Fault> {
    reason().map(|reason| Fault::stopped(&reason))
}

/// Whether a job that runs is to leave the rest of its contacts in the queue.
pub fn ends_jobs() -> bool {
    let said = said();
    said.stopped.is_some() || said.paused
}

/// The tables are changed by this transaction. `stopped`: from its commit on no request may be sent.
pub fn note_change(stopped: bool) {
    let subtransaction = transaction::subtransaction();
    transaction::with(|t| t.controls.push(OwnControl { stopped, subtransaction }));
}

/// One at a time stops or resumes, until it has committed, so that shared memory learns of it in that order.
fn lock() {
    if let Some(table) = relation_named("leadlex", "stopped") {
        // SAFETY: an existing table; held to the end of the transaction.
        unsafe { pg_sys::LockRelationOid(table, pg_sys::ShareRowExclusiveLock as i32) };
    }
}

static CHANGE: Statement = Statement::new("UPDATE leadlex.stopped AS s SET reason = $1, stopped_by = $2");
static STOP: Statement = Statement::new("INSERT INTO leadlex.stopped (reason, stopped_by) VALUES ($1, $2)");

/// No request is sent once this commits. Where that is so already, the reason is replaced.
///
/// Raises 55P03 or 57014: another transaction stops or resumes, and does not end.
pub fn stop(reason: &str, role: &str) {
    lock();
    let args = || [arg(reason), name_arg(role)];
    as_owner(|| {
        if CHANGE.run_in(View::Current, &args()) == 0 {
            STOP.run(&args());
        }
    });
    note_change(true);
}

static RESUME: Statement = Statement::new(
    "DELETE FROM leadlex.stopped AS s
     RETURNING (EXTRACT(epoch FROM s.since) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
               (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8",
);
// The time for which answers that come later are asked for stood still, but for what was counted off before.
static POSTPONE: Statement = Statement::new(
    "UPDATE leadlex.ticket AS t
     SET expires_at = t.expires_at OPERATOR(pg_catalog.+) (d.us OPERATOR(pg_catalog.*) interval '1 microsecond'),
         ticket = t.ticket OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(
             'uncounted_us', coalesce((t.ticket OPERATOR(pg_catalog.->>) 'uncounted_us')::pg_catalog.int8, 0) OPERATOR(pg_catalog.+) d.us,
             'paused_until', $2)
     FROM (SELECT w.workspace_id, w.question,
                  $2 OPERATOR(pg_catalog.-) greatest($1, (w.ticket OPERATOR(pg_catalog.->>) 'paused_until')::pg_catalog.int8,
                      (EXTRACT(epoch FROM w.submitted_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8) AS us
           FROM leadlex.ticket AS w
           WHERE (EXTRACT(epoch FROM w.expires_at) OPERATOR(pg_catalog.*) 1000000) OPERATOR(pg_catalog.>) $1) AS d
     WHERE t.workspace_id OPERATOR(pg_catalog.=) d.workspace_id AND t.question OPERATOR(pg_catalog.=) d.question
       AND d.us OPERATOR(pg_catalog.>) 0",
);

/// Requests are sent again once this commits. For how long none was, in microseconds; `None`: some were.
///
/// Raises 55P03 or 57014: another transaction stops or resumes, and does not end.
pub fn resume() -> Option<i64> {
    lock();
    let rows = as_owner(|| RESUME.query(View::Current, &[]));
    let since = rows.iter().map(|row| number(row, 0)).min()?;
    let now = rows.iter().map(|row| number(row, 1)).max()?;
    as_owner(|| POSTPONE.run_in(View::Current, &[arg(since), arg(now)]));
    note_change(false);
    Some((now - since).max(0))
}

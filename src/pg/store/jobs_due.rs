//! Whose turn it is in the queue.

use std::time::Duration;

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::shared::wait;
use crate::pg::store::jobs::Ticket;
use crate::pg::store::queue_pause::home;
use crate::pg::sys::row::{boolean, number, optional, pg, uuid};
use crate::pg::sys::spi::{Statement, View, arg, name_arg};

/// The set whose turn it is.
pub struct Due {
    pub ticket: Ticket,
    /// A worker had begun it, and is gone.
    pub interrupted: bool,
}

static DUE: Statement = Statement::new(
    "SELECT j.workspace_id, j.id, j.attempts, j.contacts, j.state OPERATOR(pg_catalog.=) 'running'
     FROM leadlex.job_set AS j
     WHERE j.role OPERATOR(pg_catalog.=) $1 AND j.next_attempt_at OPERATOR(pg_catalog.<=) pg_catalog.now()
       AND j.workspace_id OPERATOR(pg_catalog.<>) ALL ($2) AND j.home OPERATOR(pg_catalog.=) $3
       AND j.priority OPERATOR(pg_catalog.=) $4
     ORDER BY j.next_attempt_at USING OPERATOR(pg_catalog.<) LIMIT 1 FOR UPDATE SKIP LOCKED",
);

// Each is one look into the index, however many wait: those of a priority that are not due yet need not be passed by.
static NEXT_PRIORITY: Statement = Statement::new(
    "SELECT j.priority FROM leadlex.job_set AS j
     WHERE j.role OPERATOR(pg_catalog.=) $1 AND j.priority OPERATOR(pg_catalog.>=) $2 AND j.next_attempt_at IS NOT NULL
     ORDER BY j.priority USING OPERATOR(pg_catalog.<) LIMIT 1",
);

static IS_HELD: Statement = Statement::new(
    "SELECT FROM leadlex.job_set AS j
     WHERE j.role OPERATOR(pg_catalog.=) $1 AND j.next_attempt_at OPERATOR(pg_catalog.<=) pg_catalog.now()
       AND j.workspace_id OPERATOR(pg_catalog.<>) ALL ($2) AND j.home OPERATOR(pg_catalog.=) $3
       AND j.priority OPERATOR(pg_catalog.=) $4 AND j.state OPERATOR(pg_catalog.=) 'queued' LIMIT 1",
);

/// A set that is being marked is free again at once: others do not go before it because of that. One that a transaction holds may
/// not be for long.
const PATIENCE: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// The set of this role that has waited longest among those of the lowest priority of which one is due, locked. None of `closed`
/// workspaces.
pub fn due(role: &str, closed: &[Uuid]) -> Option<Due> {
    let closed: Vec<pgrx::Uuid> = closed.iter().map(|id| pg(*id)).collect();
    // Not `View::Latest`, which is read-only.
    let mut least = i64::from(i32::MIN);
    let row = loop {
        let next = as_owner(|| NEXT_PRIORITY.row(View::Latest, &[name_arg(role), arg(least)]))?;
        let priority = number(&next, 0);
        let args = [name_arg(role), arg(closed.clone()), arg(home()), arg(priority as i32)];
        let mut row = as_owner(|| DUE.row(View::Caller, &args));
        for _ in 0..PATIENCE {
            if row.is_some() || as_owner(|| IS_HELD.row(View::Latest, &args)).is_none() {
                break;
            }
            wait::nap(PAUSE);
            row = as_owner(|| DUE.row(View::Caller, &args));
        }
        if let Some(row) = row {
            break row;
        }
        least = priority + 1;
    };
    let ticket = Ticket {
        workspace: uuid(&row, 0),
        id: uuid(&row, 1),
        attempts: number(&row, 2) as u32,
        contacts: number(&row, 3) as u64,
    };
    Some(Due { ticket, interrupted: boolean(&row, 4) })
}

// None can be taken now: those whose time has come are held by somebody (a running one by its worker), and nobody need
// look again at once.
static NEXT_DUE: Statement = Statement::new(
    "SELECT (EXTRACT(epoch FROM pg_catalog.min(CASE WHEN j.state OPERATOR(pg_catalog.=) 'running'
                 THEN greatest(j.next_attempt_at, pg_catalog.now() OPERATOR(pg_catalog.+) interval '5 seconds')
                 ELSE greatest(j.next_attempt_at, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) interval '0.2 seconds') END)) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8
     FROM leadlex.job_set AS j
     WHERE j.role OPERATOR(pg_catalog.=) $1 AND j.next_attempt_at IS NOT NULL
       AND j.workspace_id OPERATOR(pg_catalog.<>) ALL ($2) AND j.home OPERATOR(pg_catalog.=) $3",
);

/// When the next one is due, in epoch microseconds.
pub fn next_due(role: &str, closed: &[Uuid]) -> Option<i64> {
    let closed: Vec<pgrx::Uuid> = closed.iter().map(|id| pg(*id)).collect();
    let row = as_owner(|| NEXT_DUE.row(View::Latest, &[name_arg(role), arg(closed), arg(home())]))?;
    optional(&row, 0).and_then(|us| us.parse().ok())
}

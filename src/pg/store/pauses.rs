//! Whether the queue and the triggers of this database work, or are paused.

use pgrx::pg_sys;

use super::boolean;
use crate::pg::owner::as_owner;
use crate::pg::spi::{Arg, Statement, View, arg, name_arg};

/// Why nothing is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The database is a copy, or was restored.
    Clone,
    /// leadlex.pause_queue() was called.
    ByHand,
}

impl Pause {
    pub fn name(self) -> &'static str {
        match self {
            Pause::Clone => "clone",
            Pause::ByHand => "pause_queue",
        }
    }
}

static PAUSED: Statement = Statement::new(
    "SELECT pg_catalog.bool_and(h.system_identifier OPERATOR(pg_catalog.=) $1 AND h.database_oid::pg_catalog.int8 OPERATOR(pg_catalog.=) $2)
                IS TRUE,
            EXISTS (SELECT FROM leadlex.queue_pause AS p)
     FROM leadlex.home AS h",
);
static PAUSE: Statement = Statement::new(
    "INSERT INTO leadlex.queue_pause (paused_by) SELECT $1 WHERE NOT EXISTS (SELECT FROM leadlex.queue_pause AS p)",
);
static RESUME: Statement = Statement::new("DELETE FROM leadlex.queue_pause AS p");
static LEAVE_HOME: Statement = Statement::new("DELETE FROM leadlex.home AS h");
static COME_HOME: Statement = Statement::new(
    "INSERT INTO leadlex.home (system_identifier, database_oid) VALUES ($1, $2::pg_catalog.oid)",
);

static ADOPT: Statement =
    Statement::new("UPDATE leadlex.job_set AS j SET home = $1 WHERE j.home OPERATOR(pg_catalog.<>) $1");

fn identity() -> [Arg; 2] {
    // SAFETY: reads of shared memory and of a global, in a backend that is connected to its database.
    unsafe { [arg(pg_sys::GetSystemIdentifier() as i64), arg(i64::from(pg_sys::MyDatabaseId.to_u32()))] }
}

/// The same in one text, for rows of the queue.
pub fn home() -> String {
    // SAFETY: as above.
    unsafe { format!("{}/{}", pg_sys::GetSystemIdentifier(), pg_sys::MyDatabaseId.to_u32()) }
}

/// A database that does not say which it is counts as a clone: it spends nothing.
pub fn paused() -> Option<Pause> {
    let row = as_owner(|| PAUSED.row(View::Latest, &identity()))?;
    match (boolean(&row, 0), boolean(&row, 1)) {
        (false, _) => Some(Pause::Clone),
        (true, true) => Some(Pause::ByHand),
        (true, false) => None,
    }
}

pub fn pause(role: &str) {
    as_owner(|| PAUSE.run(&[name_arg(role)]));
}

pub fn resume() {
    as_owner(|| {
        RESUME.run(&[]);
        LEAVE_HOME.run(&[]);
        COME_HOME.run(&identity());
        ADOPT.run(&[arg(home())]);
    });
}

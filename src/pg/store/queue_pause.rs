//! Whether the queue and the triggers of this database work, or are paused.

use crate::pg::installation;
use pgrx::pg_sys;

use crate::pg::installation::as_owner;
use crate::pg::sys::row::boolean;
use crate::pg::sys::spi::{Arg, Statement, View, arg, name_arg};

/// Why nothing is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The database is a copy, or was restored.
    Clone,
    /// leadlex.stop() was called.
    Stopped,
    /// leadlex.pause_queue() was called.
    ByHand,
    /// default_transaction_read_only is on, see `frozen`.
    ReadOnly,
}

impl Pause {
    /// As leadlex.queue_paused() returns it.
    pub fn name(self) -> &'static str {
        match self {
            Pause::Clone => "clone",
            Pause::Stopped => "stopped",
            Pause::ByHand => "pause_queue",
            Pause::ReadOnly => "read_only",
        }
    }
}

static PAUSED: Statement = Statement::seldom(
    "SELECT pg_catalog.bool_and(h.system_identifier OPERATOR(pg_catalog.=) $1 AND h.database_oid::pg_catalog.int8 OPERATOR(pg_catalog.=) $2
                                 AND h.extension_oid::pg_catalog.int8 OPERATOR(pg_catalog.=) $3)
                IS TRUE,
            EXISTS (SELECT FROM leadlex.queue_pause AS p), EXISTS (SELECT FROM leadlex.stopped AS s)
     FROM leadlex.home AS h",
);
static PAUSE: Statement = Statement::new(
    "INSERT INTO leadlex.queue_pause (paused_by) SELECT $1 WHERE NOT EXISTS (SELECT FROM leadlex.queue_pause AS p)",
);
static RESUME: Statement = Statement::new("DELETE FROM leadlex.queue_pause AS p");
// Of a database that is home already nothing is changed: its subscribers would hear of it.
static LEAVE_HOME: Statement = Statement::new(
    "DELETE FROM leadlex.home AS h
     WHERE h.system_identifier OPERATOR(pg_catalog.<>) $1 OR h.database_oid::pg_catalog.int8 OPERATOR(pg_catalog.<>) $2
        OR h.extension_oid::pg_catalog.int8 OPERATOR(pg_catalog.<>) $3",
);
static COME_HOME: Statement = Statement::new(
    "INSERT INTO leadlex.home (system_identifier, database_oid, extension_oid)
     SELECT $1, $2::pg_catalog.oid, $3::pg_catalog.oid
     WHERE NOT EXISTS (SELECT FROM leadlex.home AS h
                       WHERE h.system_identifier OPERATOR(pg_catalog.=) $1 AND h.database_oid::pg_catalog.int8 OPERATOR(pg_catalog.=) $2
                         AND h.extension_oid::pg_catalog.int8 OPERATOR(pg_catalog.=) $3)",
);

static ADOPT: Statement =
    Statement::new("UPDATE leadlex.job_set AS j SET home = $1 WHERE j.home OPERATOR(pg_catalog.<>) $1");

/// System identifier, oid of the database, oid of the extension.
fn numbers() -> (u64, u32, u32) {
    let extension = installation::present().extension;
    // SAFETY: reads of shared memory and of a global, in a backend that is connected to its database.
    unsafe { (pg_sys::GetSystemIdentifier(), pg_sys::MyDatabaseId.to_u32(), extension) }
}

fn identity() -> [Arg; 3] {
    let (system, database, extension) = numbers();
    [arg(system as i64), arg(i64::from(database)), arg(i64::from(extension))]
}

/// The same in one text, for rows of the queue.
pub fn home() -> String {
    let (system, database, extension) = numbers();
    format!("{system}/{database}/{extension}")
}

/// A database that does not say which it is counts as a clone: it spends nothing.
///
/// `None`: the queue is not paused. The read-only pause is looked at elsewhere, see `frozen`.
pub fn paused() -> Option<Pause> {
    let row = as_owner(|| PAUSED.row(View::Latest, &identity()))?;
    match (boolean(&row, 0), boolean(&row, 2), boolean(&row, 1)) {
        (false, ..) => Some(Pause::Clone),
        (true, true, _) => Some(Pause::Stopped),
        (true, false, true) => Some(Pause::ByHand),
        (true, false, false) => None,
    }
}

/// Pauses the queue in the name of `role`. Does nothing where it is paused already.
pub fn pause(role: &str) {
    as_owner(|| PAUSE.run(&[name_arg(role)]));
}

/// Ends the pause and makes this database the home of the queue and of the jobs in it.
pub fn resume() {
    as_owner(|| {
        RESUME.run(&[]);
        LEAVE_HOME.run(&identity());
        COME_HOME.run(&identity());
        ADOPT.run(&[arg(home())]);
    });
}

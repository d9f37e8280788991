//! Whether the queue and the triggers of this database work, or are paused.

use pgrx::pg_sys;

use super::boolean;
use crate::pg::cache;
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
    "SELECT pg_catalog.bool_and(h.system_identifier OPERATOR(pg_catalog.=) $1 AND h.database_oid::pg_catalog.int8 OPERATOR(pg_catalog.=) $2
                                AND h.extension_oid::pg_catalog.int8 OPERATOR(pg_catalog.=) $3) IS TRUE,
            EXISTS (SELECT FROM leadlex.queue_pause AS p)
     FROM leadlex.home AS h",
);
static PAUSE: Statement = Statement::new(
    "INSERT INTO leadlex.queue_pause (paused_by) SELECT $1 WHERE NOT EXISTS (SELECT FROM leadlex.queue_pause AS p)
     ON CONFLICT (paused_by) DO NOTHING",
);
static RESUME: Statement = Statement::new("DELETE FROM leadlex.queue_pause AS p");
static LEAVE_HOME: Statement = Statement::new("DELETE FROM leadlex.home AS h");
static COME_HOME: Statement = Statement::new(
    "INSERT INTO leadlex.home (system_identifier, database_oid, extension_oid)
     VALUES ($1, $2::pg_catalog.oid, $3::pg_catalog.oid)",
);

static ADOPT: Statement =
    Statement::new("UPDATE leadlex.job_set AS j SET home = $1 WHERE j.home OPERATOR(pg_catalog.<>) $1");

/// Of the cluster, of the database and of the extension in it.
fn identity() -> [i64; 3] {
    let extension = cache::installation().extension.to_u32();
    // SAFETY: reads of shared memory and of a global, in a backend that is connected to its database.
    let (system, database) = unsafe { (pg_sys::GetSystemIdentifier(), pg_sys::MyDatabaseId.to_u32()) };
    [system as i64, i64::from(database), i64::from(extension)]
}

fn identity_args() -> [Arg; 3] {
    identity().map(arg)
}

/// The same in one text, for rows of the queue.
pub fn home() -> String {
    let [system, database, extension] = identity();
    format!("{}/{database}/{extension}", system as u64)
}

/// A database that does not say which it is counts as a clone: it spends nothing.
pub fn paused() -> Option<Pause> {
    let row = as_owner(|| PAUSED.row(View::Latest, &identity_args()))?;
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
        RESUME.run_in(View::Serialized, &[]);
        LEAVE_HOME.run_in(View::Serialized, &[]);
        COME_HOME.run(&identity_args());
        ADOPT.run_in(View::Serialized, &[arg(home())]);
    });
}

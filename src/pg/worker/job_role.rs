//! A job runs as the role that queued it: its worker connects as that role, for as long as it lives.

use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::sys::row::text;
use crate::pg::sys::spi::{Statement, View, arg};

#[cfg(any(feature = "pg15", feature = "pg16"))]
const CONNECTION_FLAGS: u32 = 0;
/// A role without LOGIN can own tables and be granted a workspace all the same.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
const CONNECTION_FLAGS: u32 = pg_sys::BGWORKER_BYPASS_ROLELOGINCHECK;

/// Connects this background worker to the database as the job's role. Raises what a login raises: 28000 for a role without
/// LOGIN before 17, 3D000 for a database that is gone.
///
/// # Safety
/// Once in the life of a background worker, before anything else of the database is used.
pub unsafe fn assume(database: pg_sys::Oid, role: pg_sys::Oid) {
    // SAFETY: as promised by the caller.
    unsafe { pg_sys::BackgroundWorkerInitializeConnectionByOid(database, role, CONNECTION_FLAGS) };
}

static STORED: Statement = Statement::new(
    "SELECT pg_catalog.to_json(s)::pg_catalog.text FROM pg_catalog.pg_db_role_setting AS s
     WHERE s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, $1::pg_catalog.oid])
       AND s.setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, $2::pg_catalog.oid])",
);

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What ALTER ROLE and ALTER DATABASE … SET have stored for the sessions of this worker's role.
#[derive(Default)]
pub struct StoredSettings {
    /// When it was looked at, and what was there first.
    seen: Option<(Instant, Vec<String>)>,
}

impl StoredSettings {
    /// Whether that has changed since the worker began: it takes effect in a session that begins after it. In a transaction.
    pub fn have_changed(&mut self, (database, role): (u32, u32)) -> bool {
        if self.seen.as_ref().is_some_and(|(at, _)| at.elapsed() < EVERY) {
            return false;
        }
        let rows = STORED.query(View::Latest, &[arg(i64::from(database)), arg(i64::from(role))]);
        let mut now: Vec<String> = rows.iter().map(|row| text(row, 0)).collect();
        now.sort_unstable();
        let first = match self.seen.take() {
            Some((_, first)) => first,
            None => now.clone(),
        };
        let have_changed = first != now;
        self.seen = Some((Instant::now(), first));
        have_changed
    }
}

//! A job runs as the role that queued it: its worker connects as that role, for as long as it lives.

use pgrx::pg_sys;

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

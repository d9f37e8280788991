//! The database that this backend is connected to.

use pgrx::pg_sys;

/// Its oid.
pub fn this_database() -> u32 {
    // SAFETY: a global set when the process connected to its database.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// Whether it is on a standby.
pub fn in_recovery() -> bool {
    // SAFETY: reads shared state.
    unsafe { pg_sys::RecoveryInProgress() }
}

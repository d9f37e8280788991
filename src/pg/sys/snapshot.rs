//! What a look at the data depends on.

use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys;

/// How many transactions that wrote have ended in this server, in whatever way: as long as it is the same, so is all that is
/// committed. Source: `xactCompletionCount`, by which Postgres itself tells whether a snapshot is still the latest.
pub fn transactions_over() -> u64 {
    // SAFETY: shared memory that lives as long as the process, a number of 64 bits that Postgres aligns. Others write it
    // meanwhile: hence the atomic read.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let count = &raw mut (*pg_sys::ShmemVariableCache).xactCompletionCount;
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        let count = &raw mut (*pg_sys::TransamVariables).xactCompletionCount;
        AtomicU64::from_ptr(count).load(Ordering::Acquire)
    }
}

/// As long as this is the same within a transaction, so is all that its next statement sees: what is committed, and what it
/// has written itself.
pub fn committed_and_own() -> (u64, u32) {
    // SAFETY: reads the number of the present command.
    (transactions_over(), unsafe { pg_sys::GetCurrentCommandId(false) })
}

/// Whether this transaction has written nothing so far: then all that its next statement sees is committed.
pub fn has_written_nothing() -> bool {
    // SAFETY: reads the number of the present command.
    unsafe { pg_sys::GetCurrentCommandId(false) == pg_sys::FirstCommandId }
}

//! For tests only (feature `session_state`): what an error must not leave behind in a session.

use std::ffi::CStr;

use pgrx::prelude::*;
use pgrx::{JsonB, pg_sys};
use serde_json::json;

use crate::pg::shared::layout;

/// Hold-off counts, user, security context, memory context, lightweight locks of ours, and levels of nesting. No script
/// declares it: `CREATE FUNCTION … RETURNS jsonb LANGUAGE c AS 'leadlex_enrich', 'session_state_wrapper'`.
#[pg_extern(sql = false)]
fn session_state() -> JsonB {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads of this process's globals; a context's name is a NUL-terminated text.
    let (interrupts, cancels, critical, memory, nesting) = unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let memory = CStr::from_ptr((*pg_sys::CurrentMemoryContext).name).to_string_lossy().into_owned();
        (
            pg_sys::InterruptHoldoffCount,
            pg_sys::QueryCancelHoldoffCount,
            pg_sys::CritSectionCount,
            memory,
            pg_sys::GetCurrentTransactionNestLevel(),
        )
    };
    JsonB(json!({
        "interrupts_held_off": interrupts,
        "cancels_held_off": cancels,
        "critical_sections": critical,
        "lightweight_locks": layout::locks_held(),
        "user": user.to_u32(),
        "security_context": context,
        "memory_context": memory,
        "transaction_nesting": nesting,
    }))
}

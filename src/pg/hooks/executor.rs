//! The end of statements that fire triggers: rows that our row triggers have kept are queued then.

use pgrx::pg_sys;

use crate::pg::api::triggers::kept;

static mut PREVIOUS: pg_sys::ExecutorFinish_hook_type = None;

/// Installs the hook, while the server preloads; the one before is kept and called.
pub fn register() {
    // SAFETY: runs once in the postmaster while it preloads; the previous hook is kept and called.
    unsafe {
        PREVIOUS = pg_sys::ExecutorFinish_hook;
        pg_sys::ExecutorFinish_hook = Some(hook);
    }
}

unsafe extern "C-unwind" {
    // As it is, without pgrx's wrapper: an error of a trigger passes through the frame of `hook`.
    fn standard_ExecutorFinish(query: *mut pg_sys::QueryDesc);
}

/// Fires the triggers of a statement. An error passes through this frame as it is; there is nothing in it to be dropped.
unsafe extern "C-unwind" fn hook(query: *mut pg_sys::QueryDesc) {
    let before = kept::enter();
    // SAFETY: the argument is handed on as Postgres gave it.
    unsafe {
        match PREVIOUS {
            Some(previous) => previous(query),
            None => standard_ExecutorFinish(query),
        }
    }
    kept::leave(before);
}

//! Private tables are reached as the extension's owner, whoever calls.

use pgrx::pg_sys;

use super::cache;

/// Runs `work` with the owner's rights. When it raises, transaction or subtransaction abort restores the caller.
pub fn as_owner<R>(work: impl FnOnce() -> R) -> R {
    as_role(cache::installation().owner, work)
}

pub fn as_role<R>(role: pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    let mut caller = pg_sys::InvalidOid;
    let mut context = 0;
    // SAFETY: plain reads and writes of the backend's user and context; `work` cannot leave without restoring them,
    // except by an error, after which Postgres itself restores both.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut caller, &mut context);
        pg_sys::SetUserIdAndSecContext(role, context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
    }
    let result = work();
    // SAFETY: as above.
    unsafe { pg_sys::SetUserIdAndSecContext(caller, context) };
    result
}

/// The role whose rights apply now.
pub fn caller() -> pg_sys::Oid {
    // SAFETY: reads a global.
    unsafe { pg_sys::GetUserId() }
}

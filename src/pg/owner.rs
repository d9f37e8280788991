//! Private tables are reached as the extension's owner, whoever calls.

use pgrx::pg_sys;

use super::cache;

/// Runs `work` with the owner's rights. When it raises, transaction or subtransaction abort restores the caller.
pub fn as_owner<R>(work: impl FnOnce() -> R) -> R {
    as_role(cache::installation().owner, work)
}

pub fn as_role<R>(role: pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    with(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE, work)
}

/// As foreign-key triggers write: with the rights of the table's owner, whom row-level security does not keep out.
pub fn as_table_owner<R>(role: pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    with(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS, work)
}

fn with<R>(role: pg_sys::Oid, flags: u32, work: impl FnOnce() -> R) -> R {
    let mut caller = pg_sys::InvalidOid;
    let mut context = 0;
    // SAFETY: plain reads and writes of the backend's user and context; `work` cannot leave without restoring them,
    // except by an error, after which Postgres itself restores both.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut caller, &mut context);
        pg_sys::SetUserIdAndSecContext(role, context | flags as i32);
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

/// The name of a role; its number, when it has been dropped.
pub fn name_of(role: pg_sys::Oid) -> String {
    // SAFETY: a palloc'd name, or null for a role that is gone.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        match name.is_null() {
            true => role.to_u32().to_string(),
            false => std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned(),
        }
    }
}

/// The same as SQL has it: quoted where it has to be.
pub fn quoted_name_of(role: pg_sys::Oid) -> String {
    let name = std::ffi::CString::new(name_of(role)).unwrap_or_default();
    // SAFETY: a NUL-terminated name; the result is the same, or palloc'd.
    unsafe { std::ffi::CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())) }
        .to_string_lossy()
        .into_owned()
}

/// Whether a background worker can be a session of the role: before PostgreSQL 17 it has to be one that may log in.
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub fn can_have_workers(role: pg_sys::Oid) -> bool {
    // SAFETY: a row of the system cache is read while it is held.
    unsafe {
        let row =
            pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::AUTHOID as i32, pg_sys::Datum::from(role));
        if row.is_null() {
            // Dropped meanwhile: its jobs say so.
            return true;
        }
        let may_log_in = (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_authid>()).rolcanlogin;
        pg_sys::ReleaseSysCache(row);
        may_log_in
    }
}

/// See [`super::worker`]: from PostgreSQL 17 on they connect as a role that may not log in, too.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
pub fn can_have_workers(_role: pg_sys::Oid) -> bool {
    true
}

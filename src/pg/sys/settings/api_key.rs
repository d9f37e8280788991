//! leadlex.api_key: who may set it where, when it counts, and what is shown of it.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_void};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_guard;
use pgrx::pg_sys;

use super::{text, transaction_number};

static API_KEY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static REQUIRE_LOCAL_IDENTITY: GucSetting<bool> = GucSetting::<bool>::new(false);

thread_local! {
    /// Local transaction id in which the present API key was set; 0 = outside any.
    static KEY_SET_IN: Cell<u32> = const { Cell::new(0) };
}

/// The API key in force, if any: with `leadlex.require_local_identity` only one set in this very transaction.
pub fn api_key() -> Option<String> {
    let key = text(&API_KEY)?;
    let local = KEY_SET_IN.get() == transaction_number() && KEY_SET_IN.get() != 0;
    (local || !REQUIRE_LOCAL_IDENTITY.get()).then_some(key)
}

/// Whether a key is set but does not count, for a helpful message.
pub fn api_key_is_ignored() -> bool {
    text(&API_KEY).is_some() && api_key().is_none()
}

pub fn define() {
    let secret = GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE;
    // SAFETY: the hooks are #[pg_guard]ed and follow the contract of string hooks.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"leadlex.api_key",
            c"API key of the calling workspace; never shown.",
            c"Set it in the transaction: SELECT set_config('leadlex.api_key', $1, true). Cannot be stored.",
            &API_KEY,
            GucContext::Userset,
            secret,
            Some(check_api_key),
            Some(assign_api_key),
            Some(show_api_key),
        );
    }
    GucRegistry::define_bool_guc(
        c"leadlex.require_local_identity",
        c"leadlex.api_key counts only in the transaction that set it.",
        c"For servers behind a transaction-mode pooler, where a session setting outlives its client.",
        &REQUIRE_LOCAL_IDENTITY,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// Refuses to be stored, where others could read it, and notes which transaction set it. The note travels in
/// `extra`, so that it comes back with the value when a savepoint or transaction restores it.
#[pg_guard]
unsafe extern "C-unwind" fn check_api_key(
    new: *mut *mut c_char,
    extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    use pg_sys::GucSource::*;
    // SAFETY: Postgres passes valid pointers; a null value is the boot value. `extra` must be an allocation that
    // guc.c can free: malloc before 16, guc_malloc since.
    unsafe {
        let stored = [PGC_S_FILE, PGC_S_GLOBAL, PGC_S_DATABASE, PGC_S_USER, PGC_S_DATABASE_USER, PGC_S_TEST];
        if !(*new).is_null() && *(*new) != 0 && stored.contains(&source) {
            pg_sys::GUC_check_errcode(
                pg_sys::errcodes::PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE as i32,
            );
            pg_sys::GUC_check_errmsg_string = pg_sys::pstrdup(c"leadlex.api_key cannot be stored".as_ptr());
            pg_sys::GUC_check_errdetail_string =
                pg_sys::pstrdup(c"Stored settings can be read by other roles and in files.".as_ptr());
            pg_sys::GUC_check_errhint_string = pg_sys::pstrdup(
                c"Set it in the transaction with set_config('leadlex.api_key', $1, true), or use leadlex.grant_access.".as_ptr(),
            );
            return false;
        }
        #[cfg(feature = "pg15")]
        let note = libc::malloc(std::mem::size_of::<u32>()).cast::<u32>();
        #[cfg(not(feature = "pg15"))]
        let note = pg_sys::guc_malloc(pgrx::PgLogLevel::LOG as i32, std::mem::size_of::<u32>()).cast::<u32>();
        if note.is_null() {
            return false;
        }
        note.write(transaction_number());
        *extra = note.cast();
        true
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn assign_api_key(_new: *const c_char, extra: *mut c_void) {
    // SAFETY: `extra` is what the check hook left with this value, or null for the boot value.
    KEY_SET_IN.set(if extra.is_null() { 0 } else { unsafe { extra.cast::<u32>().read() } });
}

#[pg_guard]
unsafe extern "C-unwind" fn show_api_key() -> *const c_char {
    // Never more than whether one is set.
    match text(&API_KEY) {
        Some(_) => c"********".as_ptr(),
        None => c"".as_ptr(),
    }
}

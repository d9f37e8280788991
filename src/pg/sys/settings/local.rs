//! Settings by their names, as SQL sees them.

use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys;

/// A setting for this transaction only.
pub fn set_local(name: &CStr, value: &str) {
    let value = CString::new(value).unwrap_or_default();
    // SAFETY: NUL-terminated texts; undone at the end of the transaction.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// The present value, as `SHOW` has it, but without a unit.
pub fn shown(name: &CStr) -> String {
    // SAFETY: a NUL-terminated name of a setting that is defined; the text is copied before anything changes it.
    unsafe { text(pg_sys::GetConfigOption(name.as_ptr(), false, false)) }
}

/// The value that RESET would bring back: that of server, database, role and client.
pub fn reset_value(name: &CStr) -> String {
    // SAFETY: as in `shown`.
    unsafe { text(pg_sys::GetConfigOptionResetString(name.as_ptr())) }
}

/// SAFETY: null, or a NUL-terminated text.
unsafe fn text(value: *const c_char) -> String {
    match value.is_null() {
        true => String::new(),
        // SAFETY: as the caller says.
        false => unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned(),
    }
}

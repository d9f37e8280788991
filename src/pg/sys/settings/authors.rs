//! Settings that triggers read while a single call writes a row. Nobody can set them: they are only shown.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::{pg_guard, pg_sys};

use crate::pg::sys::{authorship, role};

static REQUEST_ID: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static SOURCE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static REQUESTED_BY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// The text stays where it is until the next is shown.
fn shown(text: Option<String>) -> *const c_char {
    thread_local! {
        static SHOWN: RefCell<CString> = RefCell::default();
    }
    SHOWN.with_borrow_mut(|shown| {
        *shown = CString::new(text.unwrap_or_default()).unwrap_or_default();
        shown.as_ptr()
    })
}

#[pg_guard]
unsafe extern "C-unwind" fn show_request_id() -> *const c_char {
    shown(authorship::single().map(|(request_id, ..)| request_id.to_string()))
}

#[pg_guard]
unsafe extern "C-unwind" fn show_source() -> *const c_char {
    shown(authorship::single().map(|(_, source, _)| source))
}

#[pg_guard]
unsafe extern "C-unwind" fn show_requested_by() -> *const c_char {
    shown(authorship::single().map(|(.., caller)| role::name_of(caller)))
}

pub fn define() {
    let all = [
        (
            c"leadlex.request_id",
            c"Shown to triggers while a single call writes a row: the call's request_id.",
            &REQUEST_ID,
            show_request_id as unsafe extern "C-unwind" fn() -> *const c_char,
        ),
        (
            c"leadlex.source",
            c"Shown to triggers while a single call writes a row: the first provider.",
            &SOURCE,
            show_source,
        ),
        (
            c"leadlex.requested_by",
            c"Shown to triggers while a single call writes a row: the role that called.",
            &REQUESTED_BY,
            show_requested_by,
        ),
    ];
    for (name, short, setting, show) in all {
        let hook: pg_sys::GucShowHook = Some(show);
        // SAFETY: the hook returns a text that stays until the next one, as Postgres wants it.
        unsafe {
            GucRegistry::define_string_guc_with_hooks(
                name,
                short,
                c"Empty at any other time.",
                setting,
                GucContext::Internal,
                GucFlags::DISALLOW_IN_FILE | GucFlags::NO_RESET_ALL,
                None,
                None,
                hook,
            );
        }
    }
}

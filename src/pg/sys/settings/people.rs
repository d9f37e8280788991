//! The settings about people.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_void};
use std::rc::Rc;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::{pg_guard, pg_sys};

use leadlex_domain::people::Rules;
use leadlex_domain::people::email::{ROLE_MAILBOXES, RoleMailboxes};

const DEFAULT_BYTES: [u8; ROLE_MAILBOXES.len() + 1] = with_nul();
const DEFAULT: &CStr = match CStr::from_bytes_with_nul(&DEFAULT_BYTES) {
    Ok(text) => text,
    Err(_) => panic!("the list of role mailboxes has no NUL"),
};

const fn with_nul() -> [u8; ROLE_MAILBOXES.len() + 1] {
    let mut bytes = [0; ROLE_MAILBOXES.len() + 1];
    let mut at = 0;
    while at < ROLE_MAILBOXES.len() {
        bytes[at] = ROLE_MAILBOXES.as_bytes()[at];
        at += 1;
    }
    bytes
}

/// How many names of a workspace may share an e-mail address or a profile.
static MAX_PEOPLE: GucSetting<i32> = GucSetting::<i32>::new(3);

static SETTING: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(DEFAULT));

thread_local! {
    /// The list as it was read last; `None` when the setting has changed since.
    static READ: RefCell<Option<Rc<RoleMailboxes>>> = const { RefCell::new(None) };
    static CHANGED: Cell<bool> = const { Cell::new(true) };
}

/// How many different names may share an e-mail address or a profile; `None`: any number.
pub fn max_people_per_value() -> Option<usize> {
    usize::try_from(MAX_PEOPLE.get()).ok().filter(|most| *most > 0)
}

/// What counts as somebody's address.
pub fn rules() -> Rules {
    Rules { reserved_domains: super::allow_private_addresses() }
}

/// Mailboxes that are nobody's own.
pub fn role_mailboxes() -> Rc<RoleMailboxes> {
    if CHANGED.replace(false) {
        READ.set(None);
    }
    READ.with_borrow_mut(|read| {
        let parse = || {
            let text = SETTING.get().map(|text| text.to_string_lossy().into_owned());
            Rc::new(RoleMailboxes::parse(&text.unwrap_or_default()))
        };
        Rc::clone(read.get_or_insert_with(parse))
    })
}

pub fn define() {
    GucRegistry::define_int_guc(
        c"leadlex.max_people_per_value",
        c"How many different names of a workspace may share an e-mail address or LinkedIn profile; -1 or 0 = any number.",
        c"An e-mail address or profile that more names share does not identify a contact, and a profile that a provider supplied for more names is not written.",
        &MAX_PEOPLE,
        -1,
        1_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    // SAFETY: the hooks are #[pg_guard]ed and follow the contract of string hooks.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"leadlex.role_mailboxes",
            c"Local parts of e-mail addresses that belong to no single person, such as info and sales.",
            c"Such an address identifies only together with a name, and is not put on the suppression list by a refusal.",
            &SETTING,
            // A refusal lists people for others, too.
            GucContext::Suset,
            GucFlags::default(),
            Some(check),
            Some(assign),
            None,
        );
    }
}

/// A list of local parts, separated by commas.
fn is_list(text: &str) -> bool {
    let sound = |part: &str| {
        let plain = |c: char| c.is_alphanumeric() || "!#$&'*/=?^_`{|}~.-".contains(c);
        !part.is_empty() && part.chars().all(plain)
    };
    text.trim().is_empty()
        || text.split(',').map(str::trim).all(|part| sound(part.strip_suffix('@').unwrap_or(part)))
}

#[pg_guard]
unsafe extern "C-unwind" fn check(
    new: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: Postgres passes valid pointers; a null value is the boot value.
    unsafe {
        if (*new).is_null() || CStr::from_ptr(*new).to_str().is_ok_and(is_list) {
            return true;
        }
        pg_sys::GUC_check_errdetail_string = pg_sys::pstrdup(
            c"It is a list of local parts, separated by commas, such as info, sales.".as_ptr(),
        );
        pg_sys::GUC_check_errhint_string =
            pg_sys::pstrdup(c"Leave out the domain; empty, every address is a person's own.".as_ptr());
        false
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn assign(_new: *const c_char, _extra: *mut c_void) {
    CHANGED.set(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_local_parts_with_commas_between_them() {
        for list in ["", " ", "info", "info@, sales", "no-reply,büro", ROLE_MAILBOXES] {
            assert!(is_list(list), "{list:?}");
        }
        for other in ["info@acme.example", "info sales", "info,,sales", "info,", "<info>", "info;sales"] {
            assert!(!is_list(other), "{other:?}");
        }
    }
}

//! What one statement may ask and cost at most. All roles can lower these for their session; only a superuser raises them.

use std::ffi::{CStr, CString, c_void};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_guard;
use pgrx::pg_sys;

use leadlex_domain::money::Amount;

/// The names of these settings. What ALTER ROLE and ALTER DATABASE store of them is a superuser's.
pub const NAMES: [&CStr; 2] = [CONTACTS, COST];
const CONTACTS: &CStr = c"leadlex.max_contacts_per_statement";
const COST: &CStr = c"leadlex.max_cost_per_statement";

static MAX_CONTACTS: GucSetting<i32> = GucSetting::<i32>::new(-1);
static MAX_COST: GucSetting<f64> = GucSetting::<f64>::new(-1.0);

/// leadlex.max_contacts_per_statement; `None`: any number.
pub fn max_contacts_per_statement() -> Option<u64> {
    u64::try_from(MAX_CONTACTS.get()).ok()
}

/// leadlex.max_cost_per_statement, in each currency; `None`: any amount.
pub fn max_cost_per_statement() -> Option<Amount> {
    let most = MAX_COST.get();
    (most >= 0.0).then(|| Amount::of_reported(most))
}

pub fn define() {
    let long = c"-1 = any. A role may lower it for its session; only a superuser raises it, or stores it for a role or database.";
    // SAFETY: the hooks follow the contract of check hooks.
    unsafe {
        GucRegistry::define_int_guc_with_hooks(
            CONTACTS,
            c"Contacts that one statement, CALL or job may ask providers about; more is refused before a request is sent.",
            long,
            &MAX_CONTACTS,
            -1,
            i32::MAX,
            GucContext::Userset,
            GucFlags::default(),
            Some(check_contacts),
            None,
            None,
        );
        GucRegistry::define_float_guc_with_hooks(
            COST,
            c"What one statement, CALL or job may cost in each currency; what can cost more is refused before a request is sent.",
            long,
            &MAX_COST,
            -1.0,
            1e9,
            GucContext::Userset,
            GucFlags::default(),
            Some(check_cost),
            None,
            None,
        );
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn check_contacts(
    new: *mut i32,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: Postgres passes a valid pointer.
    let new = f64::from(unsafe { *new });
    may_be_set(CONTACTS, (f64::from(MAX_CONTACTS.get()), new), source)
}

#[pg_guard]
unsafe extern "C-unwind" fn check_cost(
    new: *mut f64,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: as above.
    let new = unsafe { *new };
    may_be_set(COST, (MAX_COST.get(), new), source)
}

/// Whether a value may follow the present one. Below 0 is no limit.
fn may_be_set(name: &CStr, (now, new): (f64, f64), source: pg_sys::GucSource::Type) -> bool {
    use pg_sys::GucSource::{PGC_S_CLIENT, PGC_S_SESSION};
    let is_lower = new >= 0.0 && (now < 0.0 || new <= now);
    let refused = match source {
        // What is stored for a role or database is read after this, and does not count beside it: it could be lower still.
        PGC_S_CLIENT => true,
        PGC_S_SESSION => !is_lower && new != now,
        _ => false,
    };
    // SAFETY: globals of a process; a session's value is only set in a transaction, where roles can be looked up. A parallel
    // worker takes over what its leader has.
    let is_allowed = unsafe {
        !refused
            || pg_sys::InitializingParallelWorker
            || !pg_sys::IsUnderPostmaster
            || !pg_sys::IsTransactionState()
            || pg_sys::superuser()
    };
    if !is_allowed {
        let name = name.to_string_lossy();
        tell(
            &match source {
                PGC_S_CLIENT => format!("{name} cannot be set by who connects"),
                _ => format!("permission denied to raise {name}"),
            },
            "A role may lower it with SET; only a superuser raises it, for a session with SET, for a role with ALTER ROLE … SET.",
        );
    }
    is_allowed
}

/// Why a check hook refuses: 42501.
fn tell(message: &str, hint: &str) {
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let (message, hint) = (text(message), text(hint));
    // SAFETY: globals that guc.c reads after a check hook; the copies live in the current memory context.
    unsafe {
        pg_sys::GUC_check_errcode(pg_sys::errcodes::PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE as i32);
        pg_sys::GUC_check_errmsg_string = pg_sys::pstrdup(message.as_ptr());
        pg_sys::GUC_check_errhint_string = pg_sys::pstrdup(hint.as_ptr());
    }
}

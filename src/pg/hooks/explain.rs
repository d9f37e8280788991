//! EXPLAIN ANALYZE tells how many rows row-level security kept from a query, and with a condition on an index for which
//! values there are any. Who has no access to a table of ours is refused there, as Postgres would without the privileges
//! of PUBLIC.

use crate::pg::installation;
use std::cell::Cell;

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::pg::api;
use crate::pg::store::cache;
use crate::pg::sys::settings;

/// The transaction, and the subtransaction in it, in which an EXPLAIN ANALYZE is run. An error ends at least the latter.
#[derive(Clone, Copy)]
pub struct Explaining {
    transaction: u32,
    subtransaction: u32,
}

thread_local! {
    static NOW: Cell<Option<Explaining>> = const { Cell::new(None) };
}

static mut PREVIOUS: pg_sys::ExecutorCheckPerms_hook_type = None;

/// Installs the hook that checks permissions, while the server preloads; the one before is kept and called.
pub fn register() {
    // SAFETY: runs once in the postmaster while it preloads; the previous hook is kept and called.
    unsafe {
        PREVIOUS = pg_sys::ExecutorCheckPerms_hook;
        pg_sys::ExecutorCheckPerms_hook = Some(hook);
    }
}

/// A statement begins that is an EXPLAIN ANALYZE; what is given back is for [`end`].
pub fn begin() -> Option<Explaining> {
    // SAFETY: reads the state of this backend's transaction.
    let subtransaction = unsafe { pg_sys::GetCurrentSubTransactionId() };
    NOW.replace(Some(Explaining { transaction: settings::transaction_number(), subtransaction }))
}

/// It has succeeded.
pub fn end(before: Option<Explaining>) {
    NOW.set(before);
}

impl Explaining {
    fn goes_on(self) -> bool {
        self.transaction == settings::transaction_number()
            // SAFETY: reads the state of this backend's transaction.
            && unsafe { pg_sys::SubTransactionIsActive(self.subtransaction) }
    }
}

/// Of every plan that is about to run. An error of another hook passes through this frame as it is.
#[cfg(feature = "pg15")]
unsafe extern "C-unwind" fn hook(tables: *mut pg_sys::List, raises: bool) -> bool {
    // SAFETY: all arguments are handed on as Postgres gave them.
    unsafe {
        if let Some(previous) = PREVIOUS
            && !previous(tables, raises)
        {
            return false;
        }
        if NOW.get().is_some() {
            look(tables);
        }
        true
    }
}

/// The same.
#[cfg(not(feature = "pg15"))]
unsafe extern "C-unwind" fn hook(
    tables: *mut pg_sys::List,
    permissions: *mut pg_sys::List,
    raises: bool,
) -> bool {
    // SAFETY: all arguments are handed on as Postgres gave them.
    unsafe {
        if let Some(previous) = PREVIOUS
            && !previous(tables, permissions, raises)
        {
            return false;
        }
        if NOW.get().is_some() {
            look(tables);
        }
        true
    }
}

/// Raises 42501 where a table of ours is among them that the current role may not read.
#[pg_guard]
unsafe extern "C-unwind" fn look(tables: *mut pg_sys::List) {
    // What is looked up here is nobody's plan.
    let Some(explaining) = NOW.take().filter(|explaining| explaining.goes_on()) else { return };
    // SAFETY: a range table of Postgres's, and look-ups in catalogs for the relations that it names.
    let ours: Vec<pg_sys::Oid> = unsafe {
        let schema = pg_sys::get_namespace_oid(c"leadlex".as_ptr(), true);
        pgrx::PgList::<pg_sys::RangeTblEntry>::from_pg(tables)
            .iter_ptr()
            .filter(|&entry| {
                (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                    && (*entry).relkind as u8 != pg_sys::RELKIND_VIEW
                    && schema != pg_sys::InvalidOid
                    && pg_sys::get_rel_namespace((*entry).relid) == schema
            })
            .map(|entry| (*entry).relid)
            .collect()
    };
    if !ours.is_empty() && matches!(installation::find(), installation::Installed::This(_)) {
        cache::forget_changed();
        ours.into_iter().for_each(api::require_access_to_explain);
    }
    NOW.set(Some(explaining));
}

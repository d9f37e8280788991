//! Relations, as Postgres's own catalogs know them.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// `None` where there is none.
pub fn relation_named(schema: &str, table: &str) -> Option<pg_sys::Oid> {
    relation_of(&CString::new(schema).ok()?, &CString::new(table).ok()?)
}

/// The same by names that end with a NUL.
pub fn relation_of(schema: &CStr, table: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: catalog look-ups by NUL-terminated names.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if namespace == pg_sys::InvalidOid {
            return None;
        }
        let relation = pg_sys::get_relname_relid(table.as_ptr(), namespace);
        (relation != pg_sys::InvalidOid).then_some(relation)
    }
}

/// Whether the current role has the rights of the table's owner; always so for superusers.
pub fn owns_table(relation: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relation, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, pg_sys::GetUserId());
    }
}

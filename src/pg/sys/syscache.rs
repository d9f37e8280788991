//! Rows of Postgres's catalogs by their key, out of the cache that each backend has of them: without a statement, whose
//! planning takes a hundred times as long.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

/// What `look` finds in the row of this oid; `None`: there is none.
///
/// # Safety
/// `T` is the fixed part of the rows of this cache, whose only key is an oid.
pub unsafe fn row<T, R>(
    cache: pg_sys::SysCacheIdentifier::Type,
    oid: pg_sys::Oid,
    look: impl FnOnce(&T) -> R,
) -> Option<R> {
    // SAFETY: as the caller promises; the row is released by `found_in`.
    unsafe { found_in(pg_sys::SearchSysCache1(cache as i32, pg_sys::Datum::from(oid)), look) }
}

/// The same of a column, by its number.
pub fn column<R>(
    relation: pg_sys::Oid,
    number: i16,
    look: impl FnOnce(&pg_sys::FormData_pg_attribute) -> R,
) -> Option<R> {
    let cache = pg_sys::SysCacheIdentifier::ATTNUM as i32;
    let key = [pg_sys::Datum::from(relation), pg_sys::Datum::from(number)];
    // SAFETY: the keys and the rows of this cache.
    unsafe { found_in(pg_sys::SearchSysCache2(cache, key[0], key[1]), look) }
}

/// Looks at the row and releases it. Where `look` raises, the end of the (sub)transaction does.
unsafe fn found_in<T, R>(row: pg_sys::HeapTuple, look: impl FnOnce(&T) -> R) -> Option<R> {
    if row.is_null() {
        return None;
    }
    // SAFETY: a row of the cache, held until it is released; its fixed part is a `T`, as the callers promise.
    unsafe {
        let found = look(&*pg_sys::GETSTRUCT(row).cast::<T>());
        pg_sys::ReleaseSysCache(row);
        Some(found)
    }
}

/// A name as catalogs have it.
pub fn name(name: &pg_sys::NameData) -> String {
    // SAFETY: Postgres ends names with a NUL.
    unsafe { CStr::from_ptr(name.data.as_ptr()) }.to_string_lossy().into_owned()
}

/// Qualified, each part quoted only where it has to be, as format's `%I.%I` does; an empty schema for one that is gone.
pub fn qualified(schema: pg_sys::Oid, name: &pg_sys::NameData) -> String {
    // SAFETY: catalog look-ups and texts that end with a NUL; palloc'd texts, or null.
    unsafe {
        let schema = pg_sys::get_namespace_name(schema);
        let schema: *const c_char = if schema.is_null() { c"".as_ptr() } else { schema };
        let text = pg_sys::quote_qualified_identifier(schema, name.data.as_ptr());
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

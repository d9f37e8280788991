//! An extension, as pg_extension has it: no cache of Postgres has that catalog's rows.

use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::pg_sys;

/// As it is installed in this database.
pub struct Extension {
    pub oid: pg_sys::Oid,
    pub owner: pg_sys::Oid,
    pub version: String,
}

/// As committed now, or as this transaction has made it. `None`: it is not installed.
pub fn extension_named(name: &CStr) -> Option<Extension> {
    // SAFETY: a scan of a catalog by its index, as get_extension_oid does it; what is read of the row is copied before the
    // scan ends. An error closes all that is open here.
    unsafe {
        let catalog = pg_sys::table_open(pg_sys::ExtensionRelationId, pg_sys::AccessShareLock as i32);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_extension_extname as i16,
            pg_sys::BTEqualStrategyNumber as u16,
            pg_sys::F_NAMEEQ.into(),
            pg_sys::Datum::from(name.as_ptr()),
        );
        let index = pg_sys::ExtensionNameIndexId.into();
        let scan = pg_sys::systable_beginscan(catalog, index, true, null_mut(), 1, &mut key);
        let row = pg_sys::systable_getnext(scan);
        let found = (!row.is_null()).then(|| {
            let fixed = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_extension>();
            let (column, mut is_null) = (pg_sys::Anum_pg_extension_extversion as i32, true);
            let version = pg_sys::heap_getattr(row, column, (*catalog).rd_att, &mut is_null);
            let version = CStr::from_ptr(pg_sys::text_to_cstring(version.cast_mut_ptr()));
            Extension {
                oid: fixed.oid,
                owner: fixed.extowner,
                version: version.to_string_lossy().into_owned(),
            }
        });
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, pg_sys::AccessShareLock as i32);
        found
    }
}

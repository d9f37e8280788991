//! Values of type name, in results.

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::{IntoDatum, pg_sys};

use crate::pg::sys::spi::name_arg;

/// A value of type name, cut where that is cut.
pub struct Name(pub String);

impl IntoDatum for Name {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        name_arg(&self.0).value
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::NAMEOID
    }
}

// SAFETY: a name datum, for functions that SQL declares as returning name.
unsafe impl BoxRet for Name {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: a datum of the declared type.
        unsafe { fcinfo.return_optional_datum(self.into_datum()) }
    }
}

pgrx::impl_sql_translatable!(Name, "name");

//! What can be serialized as jsonb, without the detours over a tree of values and over text that pgrx's `JsonB` takes.

use std::ffi::CString;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::{IntoDatum, JsonB, pg_sys};
use serde::Serialize;
use serde_json::Number;

mod tree;

/// A value to be passed, or returned, as jsonb. It is in the memory context in which it was made.
#[derive(Clone, Copy)]
pub struct Jsonb(Option<pg_sys::Datum>);

impl Jsonb {
    /// What jsonb cannot hold, as a text that is too long or has a NUL character, is left to Postgres, with its own error.
    pub fn of(value: &impl Serialize) -> Jsonb {
        Jsonb(tree::datum(value).or_else(|_| as_text(value)).ok().flatten())
    }
}

/// The way over text.
fn as_text(value: &impl Serialize) -> serde_json::Result<Option<pg_sys::Datum>> {
    Ok(JsonB(serde_json::to_value(value)?).into_datum())
}

impl IntoDatum for Jsonb {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        self.0
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

// SAFETY: a jsonb datum, for functions that SQL declares as returning jsonb.
unsafe impl BoxRet for Jsonb {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: a datum of the declared type.
        unsafe { fcinfo.return_optional_datum(self.into_datum()) }
    }
}

pgrx::impl_sql_translatable!(Jsonb, "jsonb");

/// A palloc'd numeric of what is no 64-bit integer.
fn numeric_of(number: &Number) -> pg_sys::Numeric {
    let text = CString::new(number.to_string()).unwrap_or_default();
    // SAFETY: a NUL-terminated number for numeric_in, with the type and modifier that jsonb's own input passes.
    let value = unsafe {
        let unused = Some(pg_sys::Datum::from(pg_sys::InvalidOid));
        let arguments = [Some(pg_sys::Datum::from(text.as_ptr())), unused, Some(pg_sys::Datum::from(-1i32))];
        pgrx::direct_function_call_as_datum(pg_sys::numeric_in, &arguments)
    };
    value.map_or(std::ptr::null_mut(), |datum| datum.cast_mut_ptr())
}

/// For tests only (feature `session_state`): a JSON text as jsonb by [`Jsonb::of`]. No script declares it:
/// `CREATE FUNCTION … (text) RETURNS jsonb LANGUAGE c STRICT AS 'leadlex_enrich', 'serialized_wrapper'`.
#[cfg(feature = "session_state")]
#[pgrx::pg_extern(sql = false)]
fn serialized(json: &str) -> Jsonb {
    Jsonb::of(&serde_json::from_str::<serde_json::Value>(json).expect("a test's own JSON"))
}

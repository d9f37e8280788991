//! JSON values as jsonb, without the detour over text that pgrx's `JsonB` takes: written out, to be read again.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::CString;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::pg_sys::jbvType as Kind;
use pgrx::{IntoDatum, JsonB, pg_sys};
use serde_json::Value;

/// A value to be passed, or returned, as jsonb.
pub struct Jsonb<'a>(pub Cow<'a, Value>);

/// What is longer is left to Postgres, with its own error for what is too long.
const MAX_STRING_BYTES: usize = 1024 * 1024;

impl IntoDatum for Jsonb<'_> {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let value = self.0;
        let nested = matches!(*value, Value::Object(_) | Value::Array(_));
        if !nested || !is_plain(&value) {
            return JsonB(value.into_owned()).into_datum();
        }
        let mut parts = Parts::default();
        let mut whole = parts.value(&value);
        // SAFETY: a complete tree, whose parts live until after the call; Postgres copies all of it.
        Some(unsafe { pg_sys::JsonbValueToJsonb(&mut whole) }.into())
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

// SAFETY: a jsonb datum, for functions that SQL declares as returning jsonb.
unsafe impl BoxRet for Jsonb<'static> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: a datum of the declared type.
        unsafe { fcinfo.return_optional_datum(self.into_datum()) }
    }
}

pgrx::impl_sql_translatable!(Jsonb<'_>, "jsonb");

/// Whether jsonb can hold this: it has no NUL character.
fn is_plain(value: &Value) -> bool {
    let text_is_plain = |text: &str| text.len() <= MAX_STRING_BYTES && !text.as_bytes().contains(&0);
    match value {
        Value::String(text) => text_is_plain(text),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(members) => members.iter().all(|(key, member)| text_is_plain(key) && is_plain(member)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Owns what the nodes of a tree point to.
#[derive(Default)]
struct Parts {
    objects: Vec<Vec<pg_sys::JsonbPair>>,
    arrays: Vec<Vec<pg_sys::JsonbValue>>,
    /// The last number with a fraction: a score mostly stands several times.
    last: Option<(f64, pg_sys::Numeric)>,
}

type Union = pg_sys::JsonbValue__bindgen_ty_1;

impl Parts {
    fn value(&mut self, value: &Value) -> pg_sys::JsonbValue {
        let (type_, val) = match value {
            Value::Null => (Kind::jbvNull, Union { boolean: false }),
            Value::Bool(boolean) => (Kind::jbvBool, Union { boolean: *boolean }),
            Value::Number(number) => (Kind::jbvNumeric, Union { numeric: self.numeric(number) }),
            Value::String(text) => return string(text),
            Value::Array(items) => {
                let mut elems: Vec<_> = items.iter().map(|item| self.value(item)).collect();
                let array = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_2 {
                    nElems: elems.len() as i32,
                    elems: elems.as_mut_ptr(),
                    rawScalar: false,
                };
                self.arrays.push(elems);
                (Kind::jbvArray, Union { array })
            }
            Value::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_unstable_by(|a, b| order(a.0, b.0));
                let pair = |(key, member): (&String, &Value)| pg_sys::JsonbPair {
                    key: string(key),
                    value: self.value(member),
                    order: 0,
                };
                let mut pairs: Vec<_> = sorted.into_iter().map(pair).collect();
                let object = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_3 {
                    nPairs: pairs.len() as i32,
                    pairs: pairs.as_mut_ptr(),
                };
                self.objects.push(pairs);
                (Kind::jbvObject, Union { object })
            }
        };
        pg_sys::JsonbValue { type_, val }
    }

    fn numeric(&mut self, number: &serde_json::Number) -> pg_sys::Numeric {
        if let Some(whole) = number.as_i64() {
            // SAFETY: a palloc'd numeric of any integer.
            return unsafe { pg_sys::int64_to_numeric(whole) };
        }
        let fraction = number.as_f64().filter(|_| number.is_f64());
        let known = self.last.filter(|(last, _)| fraction.is_some_and(|now| now.to_bits() == last.to_bits()));
        if let Some((_, numeric)) = known {
            return numeric;
        }
        let numeric = from_text(number);
        self.last = fraction.map(|fraction| (fraction, numeric));
        numeric
    }
}

/// How jsonb keeps its keys: the shorter first.
fn order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

fn string(text: &str) -> pg_sys::JsonbValue {
    let string = pg_sys::JsonbValue__bindgen_ty_1__bindgen_ty_1 {
        len: text.len() as i32,
        val: text.as_ptr().cast_mut().cast(),
    };
    pg_sys::JsonbValue { type_: Kind::jbvString, val: Union { string } }
}

fn from_text(number: &serde_json::Number) -> pg_sys::Numeric {
    let text = CString::new(number.to_string()).unwrap_or_default();
    // SAFETY: a NUL-terminated number for numeric_in, with the type and modifier that jsonb's own input passes.
    let value = unsafe {
        let unused = Some(pg_sys::Datum::from(pg_sys::InvalidOid));
        let arguments = [Some(pg_sys::Datum::from(text.as_ptr())), unused, Some(pg_sys::Datum::from(-1i32))];
        pgrx::direct_function_call_as_datum(pg_sys::numeric_in, &arguments)
    };
    value.map_or(std::ptr::null_mut(), |datum| datum.cast_mut_ptr())
}

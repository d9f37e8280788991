//! Values for the placeholders of a statement.

use std::ffi::{CStr, CString};

use pgrx::IntoDatum;
use pgrx::pg_sys;

/// A value for a placeholder.
pub struct Arg {
    pub kind: pg_sys::Oid,
    pub value: Option<pg_sys::Datum>,
}

impl Arg {
    /// The same value for another execution or row: it lives as long as the memory context of the first.
    pub fn again(&self) -> Arg {
        Arg { kind: self.kind, value: self.value }
    }
}

/// An argument of the value's own type; `None` is NULL.
pub fn arg<T: IntoDatum>(value: T) -> Arg {
    Arg { kind: T::type_oid(), value: value.into_datum() }
}

/// text[], made by one call: `arg` of a vector takes some for each element.
pub fn texts_arg(texts: &[impl AsRef<str>]) -> Arg {
    texts_of(texts.len(), texts.iter().map(|text| Some(text.as_ref())))
}

/// The same of texts that may be NULL.
pub fn optional_texts_arg(texts: &[Option<&str>]) -> Arg {
    texts_of(texts.len(), texts.iter().copied())
}

fn texts_of<'t>(count: usize, texts: impl Iterator<Item = Option<&'t str>> + Clone) -> Arg {
    // In units of their alignment.
    let units = |text: &str| (pg_sys::VARHDRSZ + text.len()).div_ceil(size_of::<i32>());
    let mut values = vec![0_i32; texts.clone().flatten().map(units).sum()];
    let mut rest = values.as_mut_slice();
    let mut nulls = Vec::with_capacity(count);
    let mut elements = Vec::with_capacity(count);
    for text in texts {
        nulls.push(text.is_none());
        let Some(text) = text else {
            elements.push(pg_sys::Datum::from(0));
            continue;
        };
        let (value, after) = rest.split_at_mut(units(text));
        rest = after;
        let start = value.as_mut_ptr();
        // SAFETY: the value is as large as header and text are, and aligned as a text has to be.
        unsafe {
            pgrx::set_varsize_4b(start.cast(), (pg_sys::VARHDRSZ + text.len()) as i32);
            start.cast::<u8>().add(pg_sys::VARHDRSZ).copy_from_nonoverlapping(text.as_ptr(), text.len());
        }
        elements.push(pg_sys::Datum::from(start));
    }
    let (mut length, mut from) = (elements.len() as i32, 1);
    let (dimensions, align) = (i32::from(length > 0), pg_sys::TYPALIGN_INT as std::ffi::c_char);
    let (elements, nulls) = (elements.as_mut_ptr(), nulls.as_mut_ptr());
    let (length, from) = (&raw mut length, &raw mut from);
    // SAFETY: as many texts as counted, complete, and copied by the callee.
    let array = unsafe {
        let kind = pg_sys::TEXTOID;
        pg_sys::construct_md_array(elements, nulls, dimensions, length, from, kind, -1, false, align)
    };
    Arg { kind: pg_sys::TEXTARRAYOID, value: Some(pg_sys::Datum::from(array)) }
}

/// uuid[], made by one call.
pub fn uuids_arg(ids: &[pgrx::Uuid]) -> Arg {
    let mut elements: Vec<_> = ids.iter().map(|id| pg_sys::Datum::from(id.as_bytes().as_ptr())).collect();
    let (elements, count) = (elements.as_mut_ptr(), ids.len() as i32);
    let align = pg_sys::TYPALIGN_CHAR as std::ffi::c_char;
    // SAFETY: as many uuids as counted, of 16 bytes each, and copied by the callee.
    let array = unsafe { pg_sys::construct_array(elements, count, pg_sys::UUIDOID, 16, false, align) };
    Arg { kind: pg_sys::UUIDARRAYOID, value: Some(pg_sys::Datum::from(array)) }
}

/// As type name: cut where that is cut.
pub fn name_arg(text: &str) -> Arg {
    let (mut short, long);
    let text = match text.len() < pg_sys::NAMEDATALEN as usize {
        true => {
            short = [0; pg_sys::NAMEDATALEN as usize];
            short[..text.len()].copy_from_slice(text.as_bytes());
            CStr::from_bytes_until_nul(&short).unwrap_or_default()
        }
        false => {
            long = CString::new(text).unwrap_or_default();
            long.as_c_str()
        }
    };
    // SAFETY: a NUL-terminated text for namein, which returns a palloc'd name.
    let value = unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::namein, &[Some(pg_sys::Datum::from(text.as_ptr()))])
    };
    Arg { kind: pg_sys::NAMEOID, value }
}

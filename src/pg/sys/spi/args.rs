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

/// text[], in one piece of memory: `arg` of a vector takes some for each element.
pub fn texts_arg(texts: &[impl AsRef<str>]) -> Arg {
    let texts = texts.iter().map(AsRef::as_ref);
    let array = packed(pg_sys::TEXTOID, texts.len(), texts.clone().map(units).sum(), |mut rest| {
        for text in texts {
            let (place, after) = rest.split_at_mut(units(text));
            put_text(place, text);
            rest = after;
        }
    });
    Arg { kind: pg_sys::TEXTARRAYOID, value: Some(array) }
}

/// The same of texts that may be NULL.
pub fn optional_texts_arg(texts: &[Option<&str>]) -> Arg {
    let mut values = vec![0; texts.iter().flatten().map(|text| units(text)).sum()];
    let mut rest = values.as_mut_slice();
    let mut nulls: Vec<bool> = texts.iter().map(Option::is_none).collect();
    let mut place_of = |text: &str| {
        let (place, after) = std::mem::take(&mut rest).split_at_mut(units(text));
        put_text(place, text);
        rest = after;
        pg_sys::Datum::from(place.as_mut_ptr())
    };
    let elements = texts.iter().map(|text| text.map_or_else(|| pg_sys::Datum::from(0), &mut place_of));
    let mut elements: Vec<pg_sys::Datum> = elements.collect();
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

/// uuid[], in one piece of memory.
pub fn uuids_arg(ids: &[pgrx::Uuid]) -> Arg {
    const UNITS: usize = size_of::<pgrx::Uuid>() / size_of::<i32>();
    let array = packed(pg_sys::UUIDOID, ids.len(), ids.len() * UNITS, |place| {
        for (place, id) in place.chunks_exact_mut(UNITS).zip(ids) {
            for (unit, bytes) in place.iter_mut().zip(id.as_bytes().chunks_exact(size_of::<i32>())) {
                *unit = i32::from_ne_bytes(bytes.try_into().expect("four bytes"));
            }
        }
    });
    Arg { kind: pg_sys::UUIDARRAYOID, value: Some(array) }
}

/// What a text takes, in units of its alignment.
fn units(text: &str) -> usize {
    (pg_sys::VARHDRSZ + text.len()).div_ceil(size_of::<i32>())
}

/// A text with its header. `place`: [`units`] of it, zero: what the text does not fill stays so.
fn put_text(place: &mut [i32], text: &str) {
    let start = place.as_mut_ptr();
    // SAFETY: the place is as large as header and text are, and aligned as a text has to be.
    unsafe {
        pgrx::set_varsize_4b(start.cast(), (pg_sys::VARHDRSZ + text.len()) as i32);
        start.cast::<u8>().add(pg_sys::VARHDRSZ).copy_from_nonoverlapping(text.as_ptr(), text.len());
    }
}

/// An array of one dimension without NULLs, or of none where it is empty. `fill` writes its elements, which take so many units.
fn packed(element: pg_sys::Oid, count: usize, units: usize, fill: impl FnOnce(&mut [i32])) -> pg_sys::Datum {
    /// Length, dimensions, no bitmap of NULLs, type of the elements; then, of each dimension, its length and where it begins. As much is
    /// what Postgres aligns to.
    const HEAD: usize = 6;
    // SAFETY: memory of that size, zero where the elements will be.
    unsafe {
        if count == 0 {
            return pg_sys::Datum::from(pg_sys::construct_empty_array(element));
        }
        let size = (HEAD + units) * size_of::<i32>();
        let array = pg_sys::palloc(size).cast::<i32>();
        pgrx::set_varsize_4b(array.cast(), size as i32);
        let head = [1, 0, element.to_u32() as i32, count as i32, 1];
        array.add(1).copy_from_nonoverlapping(head.as_ptr(), head.len());
        let place = array.add(HEAD);
        place.write_bytes(0, units);
        fill(std::slice::from_raw_parts_mut(place, units));
        pg_sys::Datum::from(array)
    }
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

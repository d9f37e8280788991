//! Whether rows are there, looked up in an index as Postgres looks up its own catalogs: without the executor, whose
//! setting up takes several times as long. For what is nearly always absent.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::spi::{Arg, arg};

/// Postgres counts microseconds from 2000.
const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// Whether `relation` has a row, committed by now, whose primary key is `first` and one of `seconds` (both uuid).
pub fn any(relation: pg_sys::Oid, first: pgrx::Uuid, seconds: &[pgrx::Uuid]) -> bool {
    find(relation, first, seconds, |_, _| true)
}

/// The same of rows that have not ended at `now_us`, in microseconds since 1970. `until`: the column, of type timestamptz,
/// that says when a row ends; NULL there is never.
pub fn any_until(
    relation: pg_sys::Oid,
    first: pgrx::Uuid,
    seconds: &[pgrx::Uuid],
    until: &CStr,
    now_us: i64,
) -> bool {
    // SAFETY: a catalog look-up; the name outlives it.
    let column = unsafe { pg_sys::get_attnum(relation, until.as_ptr()) };
    find(relation, first, seconds, |row, shape| {
        let mut is_null = true;
        // SAFETY: a row of this relation and its shape, both alive for as long as the scan stands on it.
        let end = unsafe { pg_sys::heap_getattr(row, column.into(), shape, &mut is_null) };
        is_null || end.value() as i64 > now_us - EPOCH_2000_US
    })
}

/// Two columns of a row: `number`, of type integer, and `unless`, a boolean.
#[derive(Clone, Copy)]
pub struct Above {
    pub number: &'static CStr,
    pub unless: &'static CStr,
}

/// Of each of `seconds`: whether there is such a row, with a number above `most`, and not `unless`.
pub fn each_above(
    relation: pg_sys::Oid,
    first: pgrx::Uuid,
    seconds: &[pgrx::Uuid],
    columns: Above,
    most: usize,
) -> Vec<bool> {
    // SAFETY: catalog look-ups; the names outlive them.
    let [number, unless] =
        [columns.number, columns.unless].map(|name| unsafe { pg_sys::get_attnum(relation, name.as_ptr()) });
    let counts = |row, shape| {
        let value = |column: i16| {
            let mut is_null = true;
            // SAFETY: a row of this relation and its shape, both alive for as long as the scan stands on it.
            let value = unsafe { pg_sys::heap_getattr(row, column.into(), shape, &mut is_null) };
            (!is_null).then_some(value.value())
        };
        value(number).is_some_and(|number| number as i32 as usize > most) && value(unless) == Some(0)
    };
    let mut found = Vec::with_capacity(seconds.len());
    look(relation, first, seconds, counts, |is_there| {
        found.push(is_there);
        false
    });
    found
}

fn find(
    relation: pg_sys::Oid,
    first: pgrx::Uuid,
    seconds: &[pgrx::Uuid],
    counts: impl Fn(pg_sys::HeapTuple, pg_sys::TupleDesc) -> bool,
) -> bool {
    let mut found = false;
    look(relation, first, seconds, counts, |is_there| {
        found = is_there;
        found
    });
    found
}

/// Tells of each of `seconds` whether its row is there, until `told` says that it is enough.
fn look(
    relation: pg_sys::Oid,
    first: pgrx::Uuid,
    seconds: &[pgrx::Uuid],
    counts: impl Fn(pg_sys::HeapTuple, pg_sys::TupleDesc) -> bool,
    mut told: impl FnMut(bool) -> bool,
) {
    // SAFETY: an existing relation with a primary key of two uuid columns, which are its first two; an error closes
    // all that is open here. The snapshot is registered for as long as scans use it.
    unsafe {
        let relation = pg_sys::table_open(relation, pg_sys::AccessShareLock as i32);
        #[cfg(not(any(feature = "pg18", feature = "pg19")))]
        let index = pg_sys::RelationGetPrimaryKeyIndex(relation);
        #[cfg(any(feature = "pg18", feature = "pg19"))]
        let index = pg_sys::RelationGetPrimaryKeyIndex(relation, false);
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
        for second in seconds {
            let mut keys = [equal(1, arg(first)), equal(2, arg(*second))];
            let indexed = index != pg_sys::InvalidOid;
            let scan = pg_sys::systable_beginscan(relation, index, indexed, snapshot, 2, keys.as_mut_ptr());
            let row = pg_sys::systable_getnext(scan);
            let found = !row.is_null() && counts(row, (*relation).rd_att);
            pg_sys::systable_endscan(scan);
            if told(found) {
                break;
            }
        }
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
}

/// Whether a table has never had a row, as far as its size tells.
pub fn is_empty(relation: pg_sys::Oid) -> bool {
    // SAFETY: an existing table; an error closes it.
    unsafe {
        let relation = pg_sys::table_open(relation, pg_sys::AccessShareLock as i32);
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(relation, pg_sys::ForkNumber::MAIN_FORKNUM);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        blocks == 0
    }
}

fn equal(column: i16, value: Arg) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: fills the key; the function is built in.
    unsafe {
        pg_sys::ScanKeyInit(
            &mut key,
            column,
            pg_sys::BTEqualStrategyNumber as u16,
            pg_sys::F_UUID_EQ.into(),
            value.value.unwrap_or(pg_sys::Datum::from(0)),
        );
    }
    key
}

//! Whether rows are there, looked up in an index as Postgres looks up its own catalogs: without the executor, whose
//! setting up takes several times as long. For what is nearly always absent.

use std::cell::RefCell;
use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::sys::snapshot;
use crate::pg::sys::spi::{Arg, arg, uuids_arg};

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
    find(relation, first, seconds, |row, shape| {
        let (column, mut is_null) = (column_named(relation, until), true);
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
    let mut found = vec![false; seconds.len()];
    look(relation, first, seconds, |row, shape| {
        let value = |column: i16| {
            let mut is_null = true;
            // SAFETY: a row of this relation and its shape, both alive for as long as the scan stands on it.
            let value = unsafe { pg_sys::heap_getattr(row, column.into(), shape, &mut is_null) };
            (!is_null).then_some(value.value())
        };
        let named = |name| value(column_named(relation, name));
        let counts = named(columns.number).is_some_and(|number| number as i32 as usize > most)
            && named(columns.unless) == Some(0);
        // SAFETY: as above; the second column is a uuid, so 16 bytes, and never NULL, being of the primary key.
        let second = value(2).filter(|_| counts).map(|at| unsafe { *(at as *const [u8; 16]) });
        if let Some(second) = second {
            let asked = seconds.iter().zip(&mut found);
            asked.filter(|(asked, _)| *asked.as_bytes() == second).for_each(|(_, found)| *found = true);
        }
        false
    });
    found
}

/// Looked up where a row is found: mostly there is none.
fn column_named(relation: pg_sys::Oid, name: &CStr) -> i16 {
    // SAFETY: a catalog look-up; the name outlives it.
    unsafe { pg_sys::get_attnum(relation, name.as_ptr()) }
}

fn find(
    relation: pg_sys::Oid,
    first: pgrx::Uuid,
    seconds: &[pgrx::Uuid],
    counts: impl Fn(pg_sys::HeapTuple, pg_sys::TupleDesc) -> bool,
) -> bool {
    let mut found = false;
    look(relation, first, seconds, |row, shape| {
        found = counts(row, shape);
        found
    });
    found
}

/// Hands over each row that is there, until `enough` says so.
fn look(
    relation: pg_sys::Oid,
    first: pgrx::Uuid,
    seconds: &[pgrx::Uuid],
    mut enough: impl FnMut(pg_sys::HeapTuple, pg_sys::TupleDesc) -> bool,
) {
    // SAFETY: an existing relation with a primary key of two uuid columns, which are its first two; an error closes
    // all that is open here. The snapshot is registered for as long as scans use it.
    unsafe {
        let relation = pg_sys::table_open(relation, pg_sys::AccessShareLock as i32);
        #[cfg(not(any(feature = "pg18", feature = "pg19")))]
        let index = pg_sys::RelationGetPrimaryKeyIndex(relation);
        #[cfg(any(feature = "pg18", feature = "pg19"))]
        let index = pg_sys::RelationGetPrimaryKeyIndex(relation, false);
        let indexed = index != pg_sys::InvalidOid && !pg_sys::IgnoreSystemIndexes;
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
        // An index is asked for all of them in one scan; without one, a scan of the table knows single values only.
        let seconds: Vec<pg_sys::ScanKeyData> = match indexed && seconds.len() > 1 {
            true => vec![any_of(2, uuids_arg(seconds))],
            false => seconds.iter().map(|second| equal(2, arg(*second))).collect(),
        };
        'scans: for second in seconds {
            let mut keys = [equal(1, arg(first)), second];
            let scan = pg_sys::systable_beginscan(relation, index, indexed, snapshot, 2, keys.as_mut_ptr());
            loop {
                let row = pg_sys::systable_getnext(scan);
                if row.is_null() {
                    break;
                }
                if enough(row, (*relation).rd_att) {
                    pg_sys::systable_endscan(scan);
                    break 'scans;
                }
            }
            pg_sys::systable_endscan(scan);
        }
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
}

/// Whether a table has never had a row, as far as its size tells. One that has had some counts as not empty from then on.
pub fn is_empty(relation: pg_sys::Oid) -> bool {
    thread_local! {
        static NOT_EMPTY: RefCell<Vec<pg_sys::Oid>> = const { RefCell::new(Vec::new()) };
        /// The tables that were empty when they were looked at last, and when that was.
        static EMPTY: RefCell<((u64, u32), Vec<pg_sys::Oid>)> = const { RefCell::new(((0, 0), Vec::new())) };
    }
    let now = snapshot::committed_and_own();
    if EMPTY.with_borrow(|(seen_at, tables)| *seen_at == now && tables.contains(&relation)) {
        return true;
    }
    if NOT_EMPTY.with_borrow(|known| known.contains(&relation)) {
        return false;
    }
    // One that is gone, as in a race, is for a statement to find.
    let Some(blocks) = blocks_of(relation) else { return false };
    match blocks {
        0 => EMPTY.with_borrow_mut(|(seen_at, tables)| {
            if *seen_at != now {
                *seen_at = now;
                tables.clear();
            }
            tables.push(relation);
        }),
        _ => NOT_EMPTY.with_borrow_mut(|known| known.push(relation)),
    }
    blocks == 0
}

/// Whether a B-tree has had an entry, as far as its size tells: beside its first page. Once it has had some, that is
/// remembered.
pub fn has_entries(index: pg_sys::Oid) -> bool {
    thread_local! {
        static WITH_ENTRIES: RefCell<Vec<pg_sys::Oid>> = const { RefCell::new(Vec::new()) };
    }
    if WITH_ENTRIES.with_borrow(|known| known.contains(&index)) {
        return true;
    }
    // REINDEX CONCURRENTLY may have put another in its place just now.
    let Some(blocks) = blocks_of(index) else { return true };
    let has_entries = blocks > 1;
    if has_entries {
        WITH_ENTRIES.with_borrow_mut(|known| known.push(index));
    }
    has_entries
}

/// How long a table or index is, in pages; `None`: there is none.
fn blocks_of(relation: pg_sys::Oid) -> Option<u32> {
    // SAFETY: opened, if it is there, and closed again; an error closes it.
    unsafe {
        let relation = pg_sys::try_relation_open(relation, pg_sys::AccessShareLock as i32);
        if relation.is_null() {
            return None;
        }
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(relation, pg_sys::ForkNumber::MAIN_FORKNUM);
        pg_sys::relation_close(relation, pg_sys::AccessShareLock as i32);
        Some(blocks)
    }
}

/// Equal to one of an array's elements; indexes alone understand it.
fn any_of(column: i16, values: Arg) -> pg_sys::ScanKeyData {
    let mut key = equal(column, values);
    key.sk_flags |= pg_sys::SK_SEARCHARRAY as i32;
    key
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

//! Rows put into private tables without the executor, whose setting up takes longer than the insertion itself.
//!
//! Only what Postgres does for its own catalogs, so only where there is nothing more to do: see [`Open::ready`].

use std::ffi::CStr;

use pgrx::{PgTupleDesc, pg_sys};

use crate::pg::sys::relation::relation_of;
use crate::pg::sys::spi::Arg;

/// Rows for a table of schema leadlex.
pub struct Rows<'a> {
    pub table: &'static CStr,
    /// Check constraints of ours on that table; they hold for every row that is given here.
    pub checks: u16,
    /// Each has the values of all columns by name.
    pub rows: &'a [Vec<(&'static str, Arg)>],
}

/// Inserts all rows, or none and says `false`: then they have to take the usual way.
pub fn rows(tables: &[Rows]) -> bool {
    let open: Vec<Open> = tables.iter().filter_map(|of| Open::new(of.table)).collect();
    let ready = open.len() == tables.len() && open.iter().zip(tables).all(|(open, of)| open.ready(of.checks));
    let tuples: Option<Vec<Vec<_>>> = ready
        .then(|| {
            let tuples = |(open, of): (&Open, &Rows)| of.rows.iter().map(|row| open.tuple(row)).collect();
            open.iter().zip(tables).map(tuples).collect()
        })
        .flatten();
    for (open, tuples) in open.iter().zip(tuples.iter().flatten()) {
        for tuple in tuples {
            // SAFETY: a tuple formed for this relation, which is locked for writing, with its indexes open.
            unsafe { pg_sys::CatalogTupleInsertWithInfo(open.relation, *tuple, open.indexes) };
        }
    }
    open.into_iter().for_each(Open::close);
    if tuples.is_some() {
        // SAFETY: what follows in this transaction sees the rows, as after any statement.
        unsafe { pg_sys::CommandCounterIncrement() };
    }
    tuples.is_some()
}

struct Open {
    relation: pg_sys::Relation,
    indexes: pg_sys::CatalogIndexState,
}

impl Open {
    fn new(table: &CStr) -> Option<Open> {
        let oid = relation_of(c"leadlex", table)?;
        // SAFETY: an existing relation; an error closes it with the resource owner.
        unsafe {
            let relation = pg_sys::table_open(oid, pg_sys::RowExclusiveLock as i32);
            Some(Open { relation, indexes: pg_sys::CatalogOpenIndexes(relation) })
        }
    }

    /// The lock stays until the end of the transaction.
    fn close(self) {
        // SAFETY: opened in `new`.
        unsafe {
            pg_sys::CatalogCloseIndexes(self.indexes);
            pg_sys::table_close(self.relation, pg_sys::NoLock as i32);
        }
    }

    /// An ordinary heap with ordinary indexes, on which nobody has put anything that an insertion has to obey.
    fn ready(&self, checks: u16) -> bool {
        // SAFETY: an open relation and its open indexes.
        unsafe {
            let (relation, indexes) = (&*self.relation, &*self.indexes);
            let (class, constraints) = (&*relation.rd_rel, (*relation.rd_att).constr);
            let unconstrained = constraints.is_null()
                || ((*constraints).num_check == checks && !has_generated(&*constraints));
            let index_is_ordinary = |at: usize| {
                let index = &**indexes.ri_IndexRelationInfo.add(at);
                let described = &*(**indexes.ri_IndexRelationDescs.add(at)).rd_index;
                index.ii_Expressions.is_null()
                    && index.ii_Predicate.is_null()
                    && index.ii_ExclusionOps.is_null()
                    && described.indimmediate
            };
            class.relkind as u8 == pg_sys::RELKIND_RELATION
                && class.relam == pg_sys::HEAP_TABLE_AM_OID
                && !(class.relhastriggers && fires_at_insert(relation.trigdesc)
                    || class.relhasrules
                    || class.relispartition
                    || class.relforcerowsecurity)
                && unconstrained
                && (0..indexes.ri_NumIndices as usize).all(index_is_ordinary)
        }
    }

    /// `None` where the table has other columns than those given.
    fn tuple(&self, columns: &[(&'static str, Arg)]) -> Option<pg_sys::HeapTuple> {
        // SAFETY: the open relation's descriptor, valid while it is open; each value has the type of its column.
        unsafe {
            let descriptor = PgTupleDesc::from_pg_unchecked((*self.relation).rd_att);
            let mut values = Vec::with_capacity(descriptor.len());
            let mut nulls = Vec::with_capacity(descriptor.len());
            let mut used = 0;
            // Mostly they are given in the order of the table: the search begins behind the last that was found.
            let (count, mut next) = (columns.len(), 0);
            for attribute in descriptor.iter() {
                let name = CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes();
                let mut places = (0..count).map(|at| (next + at) % count);
                let given = places.find(|at| columns[*at].0.as_bytes() == name);
                next = given.map_or(next, |at| at + 1);
                let value = match given.map(|at| &columns[at].1) {
                    _ if attribute.attisdropped => None,
                    Some(given) if given.kind == attribute.atttypid => given.value,
                    _ => return None,
                };
                used += usize::from(!attribute.attisdropped);
                if value.is_none() && attribute.attnotnull {
                    return None;
                }
                values.push(value.unwrap_or(pg_sys::Datum::from(0)));
                nulls.push(value.is_none());
            }
            let complete = used == columns.len();
            complete.then(|| {
                pg_sys::heap_form_tuple((*self.relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr())
            })
        }
    }
}

/// This notes the days of rows without a charge that is pending: sql/26_usage.sql. What is inserted here has one.
const OF_DAYS_WITHOUT_CHARGE: &CStr = c"usage_inserted";

/// Whether an insertion fires a trigger that has something to do with the rows inserted here.
///
/// # Safety
/// The description of an open relation's triggers, or null.
unsafe fn fires_at_insert(triggers: *const pg_sys::TriggerDesc) -> bool {
    // SAFETY: as promised by the caller; there are `numtriggers` of them, each with a name.
    unsafe {
        let is_replica = pg_sys::SessionReplicationRole == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as i32;
        !triggers.is_null()
            && (0..(*triggers).numtriggers as usize).any(|at| {
                let trigger = &*(*triggers).triggers.add(at);
                let inserts = trigger.tgtype & pg_sys::TRIGGER_TYPE_INSERT as i16 != 0;
                let idle = match trigger.tgenabled as u8 {
                    pg_sys::TRIGGER_DISABLED => true,
                    pg_sys::TRIGGER_FIRES_ON_REPLICA => !is_replica,
                    _ => false,
                };
                inserts && !idle && CStr::from_ptr(trigger.tgname) != OF_DAYS_WITHOUT_CHARGE
            })
    }
}

/// Whether a column of the table is computed from others, when a row is written or, since 18, when it is read.
fn has_generated(constraints: &pg_sys::TupleConstr) -> bool {
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
    return constraints.has_generated_stored;
    #[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17")))]
    return constraints.has_generated_stored || constraints.has_generated_virtual;
}

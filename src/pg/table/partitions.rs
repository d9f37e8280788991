//! Rows of a table with many partitions. Its key need not be what the rows are spread by: then all partitions have to be looked
//! into for it, once. The partition key of the row that was found is remembered, and leads every other statement to its
//! partition alone: only that one is planned, opened and locked. The table itself is what statements name, so that its
//! privileges, policies and triggers apply; a row that has moved is looked for again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::sys::row::{boolean, number, text};
use crate::pg::sys::spi::{self, Arg, Row, Statement, View, arg};
use crate::pg::table::catalog::{self, Column, equality};
use crate::pg::table::{Binding, Plans, WriteKey, key, quoted};

/// Up to so many partitions all of them are opened each time, by a plan that is kept: that takes less time than a new plan.
const FEW: i64 = 16;
/// Rows that a session remembers of a table; then it forgets them all.
const MOST_REMEMBERED: usize = 10_000;

/// A table that has many partitions.
pub struct Partitions {
    /// By which rows are spread, at all levels, but for the key itself: name, type and its modifier.
    columns: Vec<(String, pg_sys::Oid, i32)>,
    /// Values of these columns, as text.
    locate: Statement,
    /// " AND column = $n …", and the first n.
    equalities: Vec<String>,
    places: RefCell<HashMap<(Uuid, String), Place>>,
}

/// Partition key of a row.
type Place = Rc<[String]>;

static KEYS: Statement = Statement::new(
    "WITH RECURSIVE part(id) AS (
         SELECT $1::pg_catalog.oid
         UNION ALL SELECT i.inhrelid FROM part AS p JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) p.id),
     spread(id, number) AS (
         SELECT q.partrelid, k.number FROM part AS p
         JOIN pg_catalog.pg_partitioned_table AS q ON q.partrelid OPERATOR(pg_catalog.=) p.id,
         LATERAL pg_catalog.unnest(q.partattrs::pg_catalog.int2[]) AS k(number))
     SELECT DISTINCT (SELECT pg_catalog.count(*) FROM part), a.attname IS NULL, coalesce(a.attname, '')
     FROM spread AS s LEFT JOIN pg_catalog.pg_attribute AS a
          ON a.attrelid OPERATOR(pg_catalog.=) s.id AND a.attnum OPERATOR(pg_catalog.=) s.number AND s.number OPERATOR(pg_catalog.>) 0",
);

impl Partitions {
    /// `None`: they are few, or spread by expressions or columns that cannot be compared. `from`: the row's condition.
    pub fn of(relation: pg_sys::Oid, present: &[Column], id: &Column, from: &str) -> Option<Partitions> {
        if catalog::kind(relation) != 'p' {
            return None;
        }
        let rows = KEYS.query(View::Latest, &[arg(i64::from(relation.to_u32()))]);
        if rows.iter().any(|row| boolean(row, 1)) || rows.first().is_none_or(|row| number(row, 0) <= FEW) {
            return None;
        }
        let names: Vec<String> =
            rows.iter().map(|row| text(row, 2)).filter(|name| *name != id.name).collect();
        let columns: Vec<&Column> =
            names.iter().map(|name| present.iter().find(|c| c.name == *name)).collect::<Option<_>>()?;
        let equal =
            |column: &&Column| Some(format!("t.{} {}", quoted(&column.name), equality(column.type_oid)?));
        let equalities = columns.iter().map(equal).collect::<Option<_>>()?;
        let values: Vec<String> = columns.iter().map(|column| as_text(column)).collect();
        Some(Partitions {
            columns: columns.iter().map(|c| (c.name.clone(), c.type_oid, c.modifier)).collect(),
            locate: Statement::owned(format!("SELECT {} {from}", values.join(", "))),
            equalities,
            places: Default::default(),
        })
    }

    /// To be added to a condition whose placeholders end before `next`.
    pub fn condition(&self, next: usize) -> String {
        let all = self.equalities.iter().enumerate();
        all.map(|(at, equality)| format!(" AND {equality} ${}", next + at)).collect()
    }

    /// The placeholders of [`Partitions::condition`].
    pub fn args(&self, place: &[String]) -> Vec<Arg> {
        let value = |((_, kind, modifier), text): (&(String, pg_sys::Oid, i32), &String)| Arg {
            kind: *kind,
            value: CString::new(text.as_str())
                .ok()
                .map(|text| catalog::value_in_plain_style(*kind, *modifier, &text)),
        };
        self.columns.iter().zip(place).map(value).collect()
    }

    fn remembered(&self, workspace: Uuid, id: &str) -> Option<Place> {
        match self.columns.is_empty() {
            // The key says it all.
            true => Some(Rc::from([])),
            false => self.places.borrow().get(&(workspace, id.to_owned())).cloned(),
        }
    }

    /// Looks into all partitions. Err: the number of rows, where it is not one.
    fn locate(&self, workspace: Uuid, id: &str) -> Result<Option<Place>, usize> {
        let rows = spi::without_locks(|| self.locate.query(View::Caller, &key(workspace, id)));
        let [row] = rows.as_slice() else { return Err(rows.len()) };
        // Settings of the session may change how a value is written.
        let written = |((_, kind, _), text): (&(String, pg_sys::Oid, i32), &Option<String>)| {
            Some(catalog::through_type(*kind, &CString::new(text.as_deref()?).ok()?, true))
        };
        // NULL is equal to nothing.
        let Some(place) = self.columns.iter().zip(row).map(written).collect::<Option<Place>>() else {
            return Ok(None);
        };
        let mut places = self.places.borrow_mut();
        if places.len() >= MOST_REMEMBERED {
            places.clear();
        }
        places.insert((workspace, id.to_owned()), place.clone());
        Ok(Some(place))
    }
}

/// In SQL; what other sessions, and this one, read as the same value. Zones by name ("IST") are not that: JSON has none.
fn as_text(column: &Column) -> String {
    let name = quoted(&column.name);
    match column.base_type {
        pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => {
            format!("pg_catalog.to_json(t.{name}) OPERATOR(pg_catalog.#>>) '{{}}'::pg_catalog.text[]")
        }
        _ => format!("t.{name}::pg_catalog.text"),
    }
}

/// The statements about one row, when it is known in which partition it is.
pub(super) struct Partitioned {
    pub partitions: Partitions,
    pub read: Statement,
    pub read_locked: Statement,
    pub fresh: Statement,
    /// See `rls`.
    pub locks: Statement,
    pub writes: RefCell<HashMap<WriteKey, Rc<Statement>>>,
}

/// See `rls`, of one row with this condition.
fn question(table: &str, condition: &str) -> String {
    format!(
        "SELECT FROM {table} AS t WHERE CASE WHEN {condition} THEN leadlex.row_may_be_updated(1) END AND {condition} FOR KEY SHARE OF t"
    )
}

/// One of these.
pub(super) type Near = fn(&Partitioned) -> &Statement;

impl Binding {
    /// `None`: see [`Partitions::of`]. `list`: what is read of the row with this condition.
    pub(super) fn partitioned(
        &self,
        (relation, present, id): (pg_sys::Oid, &[Column], &Column),
        list: &str,
        condition: &str,
    ) -> Option<Partitioned> {
        let from = format!("FROM {} AS t WHERE {condition}", self.name());
        let partitions = Partitions::of(relation, present, id, &from)?;
        let there = partitions.condition(3);
        let each = Statement::planned_each_time;
        Some(Partitioned {
            read: each(format!("SELECT {list} {from}{there}")),
            read_locked: each(format!("SELECT {list} {from}{there} FOR NO KEY UPDATE OF t")),
            fresh: each(format!("SELECT t.tableoid, t.ctid {from}{there}")),
            locks: each(question(self.name(), &format!("{condition}{there}"))),
            writes: RefCell::default(),
            partitions,
        })
    }

    /// Rows of this key, by one of the statements about a row.
    pub(super) fn of_row(
        &self,
        plans: &Plans,
        view: View,
        (workspace, id): (Uuid, &str),
        (near, far): (Near, &Statement),
    ) -> Vec<Row> {
        let far = || far.query(view, &key(workspace, id));
        let Some(at) = &plans.partitioned else { return far() };
        let near = |partitions: &Partitions, place: &[String]| {
            let args: Vec<Arg> = key(workspace, id).into_iter().chain(partitions.args(place)).collect();
            near(at).query(view, &args)
        };
        self.in_partition(&at.partitions, (workspace, id), near, far)
    }

    /// What `near` gives, which looks into the row's partition; where that is not known, or the row is not there any more, all
    /// are looked into. `far` does without.
    ///
    /// Raises 21000: several rows have the key.
    pub(super) fn in_partition(
        &self,
        partitions: &Partitions,
        (workspace, id): (Uuid, &str),
        near: impl Fn(&Partitions, &[String]) -> Vec<Row>,
        far: impl FnOnce() -> Vec<Row>,
    ) -> Vec<Row> {
        // Without the right to read what rows are spread by, there is no condition on it.
        if !self.may_read_columns(partitions.columns.iter().map(|(name, ..)| name.as_str())) {
            return far();
        }
        if let Some(place) = partitions.remembered(workspace, id) {
            let rows = near(partitions, &place);
            if !rows.is_empty() || partitions.columns.is_empty() {
                return rows;
            }
        }
        match partitions.locate(workspace, id) {
            Err(0) => Vec::new(),
            Err(rows) => self.not_unique(rows, id),
            Ok(None) => far(),
            Ok(Some(place)) => {
                Some(near(partitions, &place)).filter(|rows| !rows.is_empty()).unwrap_or_else(far)
            }
        }
    }
}

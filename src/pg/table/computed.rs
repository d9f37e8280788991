//! Virtual generated columns (from PostgreSQL 18 on): no tuple holds their values, so what looks at tuples cannot see them.

use std::rc::Rc;

use crate::pg::sys::row::{optional, text};
use crate::pg::sys::spi::{Statement, View, arg};
use crate::pg::table::Binding;

/// What a server can have of them.
const VIRTUAL: bool = !cfg!(any(feature = "pg15", feature = "pg16", feature = "pg17"));

/// The table's columns that are bound and virtual.
#[derive(Default)]
pub struct Computed {
    columns: Vec<(String, Option<String>)>,
}

// A row for each column that it is computed from; one without for a constant.
static COMPUTED: Statement = Statement::new(
    "SELECT a.attname, s.attname
     FROM pg_catalog.pg_attribute AS a
     JOIN pg_catalog.pg_attrdef AS e ON e.adrelid OPERATOR(pg_catalog.=) a.attrelid AND e.adnum OPERATOR(pg_catalog.=) a.attnum
     LEFT JOIN pg_catalog.pg_depend AS d
            ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) e.oid
           AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
           AND d.refobjid OPERATOR(pg_catalog.=) a.attrelid AND d.refobjsubid OPERATOR(pg_catalog.<>) a.attnum
     LEFT JOIN pg_catalog.pg_attribute AS s
            ON s.attrelid OPERATOR(pg_catalog.=) d.refobjid AND s.attnum OPERATOR(pg_catalog.=) d.refobjsubid
     WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND a.attgenerated OPERATOR(pg_catalog.=) 'v'
       AND NOT a.attisdropped",
);

impl Computed {
    /// Columns of which those bound under these names are computed.
    pub fn sources<'a>(&'a self, binding: &'a Binding, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let bound =
            |column: &str| names.iter().any(|ours| binding.columns.get(*ours).is_some_and(|c| c == column));
        self.columns
            .iter()
            .filter(move |(column, _)| bound(column))
            .filter_map(|(_, source)| source.as_deref())
    }

    fn contains(&self, column: &str) -> bool {
        self.columns.iter().any(|(computed, _)| computed == column)
    }
}

impl Binding {
    /// Looked up at the first use, and again after the table has changed. Raises 42804 where a key is among them, which
    /// has become so after the table was bound.
    pub fn computed(&self) -> Rc<Computed> {
        let known = self.computed.get_or_init(|| Rc::new(self.find_computed()));
        if ["id", "workspace_id"]
            .iter()
            .any(|ours| self.columns.get(*ours).is_some_and(|c| known.contains(c)))
        {
            self.plans();
        }
        known.clone()
    }

    fn find_computed(&self) -> Computed {
        let (true, Some(relation)) = (VIRTUAL, self.relation) else { return Computed::default() };
        let rows = COMPUTED.query(View::Latest, &[arg(i64::from(relation.to_u32()))]);
        Computed { columns: rows.iter().map(|row| (text(row, 0), optional(row, 1))).collect() }
    }
}

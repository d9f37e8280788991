//! Which tables and columns cannot be bound, and why.

use pgrx::pg_sys;

use crate::pg::sys::row::text;
use crate::pg::sys::spi::{Statement, View, arg};
use crate::pg::table::catalog::Column;

static LOOKED_UP: Statement = Statement::new(
    "SELECT pg_catalog.format('%I.%I', n.nspname, o.relname) FROM pg_catalog.pg_constraint AS c
     JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) c.conrelid
     JOIN pg_catalog.pg_class AS o ON o.oid OPERATOR(pg_catalog.=) c.confrelid
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) o.relnamespace
     WHERE c.conrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND c.contype OPERATOR(pg_catalog.=) 'f'
       AND a.attname OPERATOR(pg_catalog.=) $2::pg_catalog.name AND a.attnum OPERATOR(pg_catalog.=) ANY (c.conkey)
     ORDER BY c.conname USING OPERATOR(pg_catalog.<) LIMIT 1",
);

impl Column {
    /// Why a column of this table cannot be a field; `None` where it can. A foreign key is refused whatever its type: its
    /// values are those of another table.
    pub fn unfit_for_field_of(&self, table: pg_sys::Oid) -> Option<String> {
        let arguments = [arg(i64::from(table.to_u32())), arg(self.name.as_str())];
        match LOOKED_UP.row(View::Latest, &arguments) {
            Some(row) => Some(format!("it refers to {}, so it holds only what stands there", text(&row, 0))),
            None => self.unfit_for_field(),
        }
    }

    /// Why no field can be kept in it; `None` where one can.
    pub fn unfit_for_field(&self) -> Option<String> {
        let type_name = &self.written;
        if self.generated {
            return Some("it is generated, so it cannot be written".into());
        }
        if self.base_type == pg_sys::NAMEOID {
            return Some(format!("its type {type_name} cuts what is longer than 63 bytes"));
        }
        match self.category {
            'S' => None,
            'E' => Some(format!("its type {type_name} is an enum, which holds only the words on its list")),
            _ => Some(format!("its type {type_name} cannot hold any text")),
        }
    }

    /// Why it cannot tell which row one is, or whose; `None` where it can.
    pub fn unfit_for_key(&self) -> Option<&'static str> {
        self.computed.then_some(
            "it is a virtual generated column, whose value is not in the row that a trigger is given",
        )
    }

    pub fn can_be_workspace(&self) -> bool {
        self.base_type == pg_sys::UUIDOID || self.category == 'S'
    }
}

/// Why rows of it cannot be enriched, if it is no table; `None` for an ordinary or partitioned one.
pub fn unfit_kind(relkind: char) -> Option<&'static str> {
    match relkind {
        'r' | 'p' => None,
        'v' => Some("a view: bind the table behind it"),
        'm' => Some("a materialized view: it cannot be updated"),
        'f' => Some("a foreign table: it does not take part in this transaction"),
        _ => Some("not a table"),
    }
}

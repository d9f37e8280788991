//! Which tables and columns cannot be bound, and why.

use pgrx::pg_sys;

use crate::pg::table::catalog::Column;

impl Column {
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

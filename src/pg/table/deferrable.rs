//! What deferrable constraints would say at the commit: found out when a value is written. At the commit it would be too late
//! to leave the value out, and the error would cost the whole transaction.

use crate::pg::sys::raise;
use crate::pg::sys::spi;
use crate::pg::sys::spi::{Caught, Statement, View, arg};
use crate::pg::table::many::Change;
use crate::pg::table::{Binding, StatusWrite, quoted};

/// Deferrable constraints that an UPDATE of the table can break, its own and those of tables that refer to it. Those of a
/// partition are named by their parent, where it has them.
static NAMES: Statement = Statement::new(
    "WITH RECURSIVE part AS (
         SELECT $1 AS relation
         UNION SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) part.relation)
     SELECT DISTINCT n.nspname, k.conname
     FROM part
     JOIN pg_catalog.pg_trigger AS t ON t.tgrelid OPERATOR(pg_catalog.=) part.relation
     JOIN pg_catalog.pg_constraint AS k ON k.oid OPERATOR(pg_catalog.=) t.tgconstraint
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) k.connamespace
     WHERE t.tgisinternal AND t.tgdeferrable AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
       AND (t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 16) OPERATOR(pg_catalog.<>) 0
       AND k.conparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid",
);

/// Has what is deferred looked at now; `None`: the table has no deferrable constraint.
pub type LookAhead = Option<Statement>;

impl Binding {
    /// Writes in a subtransaction, as [`spi::caught`], and has deferrable constraints looked at while a value can still be left
    /// out. `expected`: errors of the write that are handed back. `is_ours`: whether an error is about what was written.
    ///
    /// What the transaction has broken by itself before stays deferred.
    pub fn caught_ahead<R>(
        &self,
        write: impl Fn() -> R,
        expected: impl Fn(&Caught) -> bool,
        is_ours: impl Fn(&Caught) -> bool,
    ) -> Result<R, Caught> {
        let plans = self.plans();
        let Some(look_ahead) = plans.look_ahead.get_or_init(|| self.make_look_ahead()) else {
            return spi::caught(write, expected);
        };
        let broken = || spi::tried(|| look_ahead.run(&[]), Caught::is_of_a_row).err();
        let write_and_look = || {
            let written = write();
            match broken() {
                Some(caught) if is_ours(&caught) => raise::again(&caught),
                _ => written,
            }
        };
        let outcome = spi::caught(write_and_look, &expected);
        let Err(caught) = &outcome else { return outcome };
        if caught.about.constraint.is_none() {
            return outcome;
        }
        match broken() {
            Some(before) if before.about.constraint == caught.about.constraint => {
                spi::caught(write, expected)
            }
            _ => outcome,
        }
    }

    /// The same for a set of rows. Any error that speaks of a row is handed back.
    pub fn caught_ahead_of_many<R>(
        &self,
        write: impl Fn() -> R,
        changes: &[&Change<'_>],
        status: StatusWrite,
    ) -> Result<R, Caught> {
        let may_refuse = |change: &&Change| self.plans().may_refuse(self, &change.changes, status);
        if !changes.iter().any(may_refuse) {
            return spi::caught(write, Caught::is_of_a_row);
        }
        let is_ours = |caught: &Caught| {
            let concerns = |change: &&Change| !self.concerned(caught, &change.changes).is_empty();
            changes.iter().any(concerns) || !status.is_nothing() && self.is_about_status(caught)
        };
        self.caught_ahead(write, Caught::is_of_a_row, is_ours)
    }

    fn make_look_ahead(&self) -> LookAhead {
        let names = NAMES.query(View::Latest, &[arg(self.relation?)]);
        let qualified: Vec<String> = names
            .into_iter()
            .map(|name| name.into_iter().flatten().map(|part| quoted(&part)).collect::<Vec<_>>().join("."))
            .collect();
        let sql = || Statement::owned(format!("SET CONSTRAINTS {} IMMEDIATE", qualified.join(", ")));
        (!qualified.is_empty()).then(sql)
    }
}

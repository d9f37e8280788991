//! The columns in which a row says what came of its last enrichment, and when something was written. They are written, never
//! read: who may not write them, or a table that refuses what they are to hold, costs them and nothing else.

use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::sys::raise;
use crate::pg::sys::row;
use crate::pg::sys::spi::{About, Caught, Statement, arg, texts_arg};
use crate::pg::table::catalog::Column;
use crate::pg::table::own_writes::Writing;
use crate::pg::table::{Binding, is_text, many, quoted};
use leadlex_domain::row_status::RowStatus;

/// timestamptz: when an enrichment last wrote something.
const AT: &str = "enriched_at";
/// text: what came of the last one.
const STATUS: &str = "enrichment_status";
/// Names of ours for them.
pub const NAMES: [&str; 2] = [AT, STATUS];

/// What a write of fields says in the row besides. The default says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatusWrite {
    status: Option<RowStatus>,
    at: bool,
}

impl StatusWrite {
    pub fn is_nothing(self) -> bool {
        self == StatusWrite::default()
    }
}

/// What is known of the columns.
pub struct StatusPlans {
    /// Those that are bound.
    pub columns: Vec<Column>,
    /// A constraint is about one of them: looked up by the first write.
    pub guarded: OnceCell<bool>,
    /// Writes the status alone, where it is another one.
    alone: Option<Statement>,
}

impl Column {
    /// Why it cannot be this one of [`NAMES`]; `None` where it can.
    pub fn unfit_for_status(&self, ours: &str) -> Option<String> {
        if ours == STATUS {
            let short = self.is_shorter_than(leadlex_domain::row_status::LONGEST);
            let why = || format!("its type {} is too short for some of the words", self.written);
            return self.unfit_for_field().or_else(|| short.then(why));
        }
        match self.base_type {
            _ if self.generated => Some("it is generated, so it cannot be written".into()),
            pg_sys::TIMESTAMPTZOID => None,
            _ => Some(format!("its type {} is not timestamptz", self.written)),
        }
    }
}

impl Binding {
    /// The columns of [`NAMES`]. Raises 42703 or 42804 where one has changed since it was bound.
    pub(super) fn fit_status<'a>(
        &self,
        find: &impl Fn(&str) -> Option<&'a Column>,
        present: &[Column],
    ) -> [Option<&'a Column>; 2] {
        NAMES.map(|ours| {
            let column = find(ours)?;
            if let Some(why) = column.unfit_for_status(ours) {
                self.column_unfit(ours, &column.name, &why, present);
            }
            Some(column)
        })
    }

    pub(super) fn status_plans(
        &self,
        columns: [Option<&Column>; 2],
        key_type: &str,
        condition_of_many: &str,
    ) -> StatusPlans {
        let alone = columns[1].map(|column| {
            let column = quoted(&column.name);
            // A row that somebody holds is passed over: no call waits to say that nothing was written.
            Statement::owned(format!(
                "UPDATE {table} AS t SET {column} = n.status
                 FROM (SELECT n.key, n.status FROM {} JOIN {table} AS t ON {condition_of_many}
                       WHERE t.{column} IS NULL OR NOT ({}) FOR NO KEY UPDATE OF t SKIP LOCKED) AS n
                 WHERE {condition_of_many}",
                many::set_of_keys(key_type, &["status".to_owned()]),
                is_text(&column, "n.status"),
                table = self.name(),
            ))
        });
        let columns = columns.into_iter().flatten().cloned().collect();
        StatusPlans { columns, guarded: OnceCell::new(), alone }
    }

    /// What a write of fields is to say besides: what is bound, and the caller may write. A WARNING tells once a session of
    /// what it may not.
    pub fn status_write(&self, status: RowStatus) -> StatusWrite {
        if !self.has_status {
            return StatusWrite::default();
        }
        let may = |ours: &'static str| self.columns.contains_key(ours) && self.may_write_status(ours);
        StatusWrite { status: may(STATUS).then_some(status), at: status == RowStatus::Enriched && may(AT) }
    }

    /// Whether rows of which nothing is written say why, and the caller may read and write that.
    pub fn tells_status(&self) -> bool {
        self.columns.contains_key(STATUS)
            && self.may_write_status(STATUS)
            && self.without(pg_sys::ACL_SELECT, [STATUS].into_iter()).is_empty()
    }

    fn may_write_status(&self, ours: &'static str) -> bool {
        let may = self.without(pg_sys::ACL_UPDATE, [ours].into_iter()).is_empty();
        if !may {
            self.warn_of_status(ours);
        }
        may
    }

    /// Assignments of an UPDATE of the table as t.
    pub(super) fn status_sets(&self, write: StatusWrite) -> impl Iterator<Item = String> {
        let set = |ours: &str, value: String| format!("{} = {value}", quoted(&self.columns[ours]));
        let status = write.status.map(|status| set(STATUS, format!("'{}'::pg_catalog.text", status.name())));
        let at = write.at.then(|| set(AT, "pg_catalog.clock_timestamp()".to_owned()));
        status.into_iter().chain(at)
    }

    /// Writes the status alone, of each row its key and its word, where the row holds another one and no other transaction holds
    /// the row.
    ///
    /// Errors of the update of the contacts pass through.
    pub fn write_statuses(&self, workspace: Uuid, rows: &[(&str, &str)]) {
        let plans = self.plans();
        let Some(alone) = &plans.status.alone else { return };
        let keys: Vec<&str> = rows.iter().map(|(key, _)| *key).collect();
        let words: Vec<&str> = rows.iter().map(|(_, word)| *word).collect();
        let _by_us = Writing::to(self.relation());
        alone.run(&[texts_arg(&keys), arg(row::pg(workspace)), texts_arg(&words)]);
    }

    /// Once a session and column, where somebody reads it.
    fn warn_of_status(&self, ours: &'static str) {
        thread_local! {
            static TOLD: RefCell<HashSet<(String, &'static str)>> = RefCell::default();
        }
        // SAFETY: a global, null but in background workers.
        let is_read = unsafe { pg_sys::MyBgworkerEntry.is_null() };
        if !is_read || !TOLD.with_borrow_mut(|told| told.insert((self.name().to_owned(), ours))) {
            return;
        }
        let column = &self.columns[ours];
        raise::warning(
            &format!(
                "{ours} of {} is not written: permission denied to update {}",
                self.name(),
                quoted(column)
            ),
            "Fields are written all the same.",
            &format!("Grant UPDATE ({}) on it to the calling role.", quoted(column)),
            &self.about_column(Some(column)),
        );
    }

    /// That the table does not take what a row was to say: once for each statement of the client and error.
    pub fn warn_status_refused(&self, caught: &Caught) {
        if !raise::is_first_of_statement(format!("{} {}", self.name(), caught.message)) {
            return;
        }
        raise::warning(
            &format!("{STATUS} of {} was left out: {}", self.name(), caught.message),
            &format!("{}: the table does not take it. Fields are written all the same.", caught.sqlstate),
            "Change the column or its constraint, or bind the table without it.",
            &About { constraint: caught.about.constraint.clone(), ..self.about_column(None) },
        );
    }

    fn about_column(&self, column: Option<&String>) -> About {
        About {
            schema: Some(self.schema.clone()),
            table: Some(self.table.clone()),
            column: column.cloned(),
            ..About::default()
        }
    }

    /// Whether one of these columns of the table is among them.
    pub(super) fn is_status_column(&self, column: &str) -> bool {
        NAMES.iter().any(|ours| self.columns.get(*ours).is_some_and(|theirs| theirs == column))
    }
}

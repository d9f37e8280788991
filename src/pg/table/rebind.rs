//! What is said when a bound table is no longer what it was when it was bound, with the statement that mends it.

use leadlex_domain::sqlstate;
use std::cell::RefCell;
use std::collections::HashSet;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};
use serde_json::{Map, Value};

use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::table::catalog::Column;
use crate::pg::table::{Binding, literal, names};

impl Binding {
    /// Once a session, where somebody reads it.
    pub fn warn_of_lost_triggers(&self) {
        thread_local! {
            static TOLD: RefCell<HashSet<String>> = RefCell::default();
        }
        // SAFETY: a global, null but in background workers.
        let is_read = unsafe { pg_sys::MyBgworkerEntry.is_null() };
        if !self.lost_triggers
            || !is_read
            || !TOLD.with_borrow_mut(|told| told.insert(self.name().to_owned()))
        {
            return;
        }
        let message = format!("{} was replaced by a table without its trigger", self.name());
        ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "binding")
            .set_detail("New rows are not enriched by themselves any more. leadlex.binding shows the triggers of each bound table.")
            .set_hint(format!(
                "Create the trigger again, by what replaces the table. If it is to have none: {}.",
                self.bind_again()
            ))
            .report(PgLogLevel::WARNING);
    }

    /// Raises 42P01: there is no table of the bound name.
    pub fn gone(&self) -> ! {
        refuse(PgError {
            sqlstate: sqlstate::UNDEFINED_TABLE,
            message: format!("the bound table {} does not exist", self.name()),
            detail: None,
            hint: Some(format!(
                "Create it again, or forget it: DELETE FROM leadlex.binding WHERE (schema_name, table_name) = ({}, {}).",
                literal(&self.schema),
                literal(&self.table)
            )),
        })
    }

    /// Raises 42809: what has the bound name cannot be enriched. `what` says why.
    pub fn no_table(&self, what: &str) -> ! {
        refuse(PgError {
            sqlstate: sqlstate::WRONG_OBJECT_TYPE,
            message: format!("{} is {what}", self.name()),
            detail: Some("It has taken the name of the table that was bound. No provider was asked.".into()),
            hint: Some("Ordinary and partitioned tables can be bound: leadlex.bind_contacts. leadlex.unbind_contacts forgets this one.".into()),
        })
    }

    /// Raises 42703: the column `theirs`, bound as `ours`, does not exist.
    pub fn column_gone(&self, ours: &str, theirs: &str, present: &[Column]) -> ! {
        refuse(PgError {
            sqlstate: sqlstate::UNDEFINED_COLUMN,
            message: format!("column \"{theirs}\" of {}, bound as {ours}, does not exist", self.name()),
            detail: Some(
                "It was dropped or renamed after leadlex.bind_contacts, or the table was replaced by one without it. No provider was asked."
                    .into(),
            ),
            hint: Some(self.hint(ours, present)),
        })
    }

    /// Raises 42804: the column `theirs` cannot be `ours` any more. `why` says why.
    pub fn column_unfit(&self, ours: &str, theirs: &str, why: &str, present: &[Column]) -> ! {
        refuse(PgError {
            sqlstate: sqlstate::DATATYPE_MISMATCH,
            message: format!(
                "column \"{theirs}\" of {}, bound as {ours}, cannot be {ours} any more: {why}",
                self.name()
            ),
            detail: Some("It was changed after leadlex.bind_contacts. No provider was asked.".into()),
            hint: Some(self.hint(ours, present)),
        })
    }

    /// Raises 42809: a rule takes the place of updates.
    pub fn rule_instead(&self, rule: &str) -> ! {
        refuse(PgError {
            sqlstate: sqlstate::WRONG_OBJECT_TYPE,
            message: format!("rule \"{rule}\" of {} takes the place of its updates", self.name()),
            detail: Some("It was made after leadlex.bind_contacts. No provider was asked.".into()),
            hint: Some("Drop the rule (a trigger can do the same), or unbind the table with leadlex.unbind_contacts.".into()),
        })
    }

    /// The statement that binds it as it is bound.
    fn bind_again(&self) -> String {
        let columns = names().filter_map(|ours| match self.columns.get(ours) {
            Some(theirs) if theirs == ours => None,
            Some(theirs) => Some((ours.to_owned(), Value::from(theirs.as_str()))),
            // Else it would be found by its name.
            None => Some((ours.to_owned(), Value::Null)),
        });
        self.statement(columns.collect())
    }

    fn statement(&self, columns: Map<String, Value>) -> String {
        let workspace = self.workspace.map_or(String::new(), |id| format!(", '{id}'"));
        format!(
            "SELECT leadlex.bind_contacts({}, {}{workspace})",
            literal(self.name()),
            literal(&Value::Object(columns).to_string())
        )
    }

    /// The binding as it is, but for `wrong`.
    fn hint(&self, wrong: &str, present: &[Column]) -> String {
        let mut columns = Map::new();
        for ours in names().filter(|ours| *ours != wrong) {
            match self.columns.get(ours) {
                Some(theirs) if theirs == ours => {}
                Some(theirs) => drop(columns.insert(ours.to_owned(), theirs.as_str().into())),
                // It would be found by its name.
                None if present.iter().any(|c| c.name == ours) => {
                    drop(columns.insert(ours.to_owned(), Value::Null))
                }
                None => {}
            }
        }
        let needed = wrong == "id" || wrong == "workspace_id";
        let place = if needed { Value::from("NEW_NAME") } else { Value::Null };
        columns.insert(wrong.to_owned(), place);
        let statement = self.statement(columns);
        match needed {
            true => format!("Bind it again: {statement}."),
            false => format!("Bind it again, with the column's new name or without it: {statement}."),
        }
    }
}

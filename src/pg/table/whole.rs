//! Rows of a contact table, whoever's they are.

use uuid::Uuid;

use crate::pg::sys::row::{self, optional};
use crate::pg::sys::spi::{self, Statement, View, arg};
use crate::pg::table::{Binding, columns, contact, is_workspace, quoted};
use leadlex_domain::contact::Contact;

/// Rows that are read at once.
const PORTION: usize = 1_000;

impl Binding {
    /// The workspaces of which the caller may see a row with this key: those that stand in such rows, whether there is a
    /// workspace of this id or not. Of a table that is one workspace's, that one.
    ///
    /// Raises 42P01, 42703, 42804 or 42809: the table has changed since it was bound.
    pub fn workspaces_of(&self, id: &str) -> Vec<Uuid> {
        let plans = self.plans();
        let Some(column) = self.columns.get("workspace_id") else {
            return self.workspace.into_iter().collect();
        };
        let whose = format!("t.{}::pg_catalog.text", quoted(column));
        let statement = Statement::owned(format!(
            "SELECT DISTINCT {whose} FROM {} AS t WHERE {}",
            self.name(),
            plans.is_key
        ));
        let look = || statement.query(View::Caller, &[arg(id)]);
        // All partitions may have to be looked into.
        let rows = if plans.partitioned.is_some() { spi::without_locks(look) } else { look() };
        // A text that is no id is no workspace's.
        rows.iter().filter_map(|row| optional(row, 0)?.parse().ok()).collect()
    }

    /// Hands over the workspace's contacts that the caller sees, in portions, until `take` says that it has enough (`false`).
    ///
    /// Raises 42P01, 42703, 42804 or 42809: the table has changed since it was bound.
    pub fn each(&self, workspace: Uuid, mut take: impl FnMut(Vec<Contact>) -> bool) {
        let plans = self.plans();
        let Some(relation) = self.relation else { self.gone() };
        let present = columns(relation);
        let of_workspace = self.columns.get("workspace_id");
        let column = of_workspace.and_then(|theirs| present.iter().find(|column| column.name == *theirs));
        let whose = column.map_or(String::new(), is_workspace);
        let statement =
            Statement::owned(format!("SELECT {} FROM {} AS t WHERE true{whose}", plans.list, self.name()));
        // The first place is the key's in other statements.
        let args = [arg(None::<&str>), arg(row::pg(workspace))];
        statement.in_portions(&args, PORTION, |rows| {
            take(rows.into_iter().map(|row| plans.key.respell(contact(row))).collect())
        });
    }
}

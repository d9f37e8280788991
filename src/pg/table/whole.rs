//! All rows of a contact table.

use uuid::Uuid;

use crate::pg::sys::row;
use crate::pg::sys::spi::{Statement, arg};
use crate::pg::table::{Binding, columns, contact, is_workspace};
use leadlex_domain::contact::Contact;

/// Rows that are read at once.
const PORTION: usize = 1_000;

impl Binding {
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

//! Many rows of a contact table at once: one statement for a set, as `read` and `write` are for one row.

use crate::pg::sys::authorship;
use crate::pg::sys::row;
use std::rc::Rc;

use uuid::Uuid;

use crate::pg::sys::row::number;
use crate::pg::sys::spi;
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg, optional_texts_arg, texts_arg};
use crate::pg::table::own_writes::Writing;
use crate::pg::table::{Binding, IDENTIFYING, StatusWrite, contact, is_still, quoted};
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldMap, FieldSet};

/// What a key stands for.
#[derive(Clone, Debug)]
pub enum FoundRow {
    Nothing,
    One(Box<Contact>),
    /// The column bound as id is not unique.
    Several(usize),
}

/// A row to be written if it still holds what `before` says.
pub struct Change<'a> {
    pub before: &'a Contact,
    pub changes: FieldMap<String>,
    /// Fields that are to be NULL.
    pub cleared: FieldSet,
    /// Offered, and equal to what the row has: must still be so.
    pub others: FieldSet,
}

/// Which changes one statement can make: as for a single row.
type Shape = (FieldSet, bool, FieldSet, StatusWrite);

impl Binding {
    /// The rows of these keys, in their order.
    pub fn read_many(&self, workspace: Uuid, ids: &[&str]) -> Vec<FoundRow> {
        let args = [texts_arg(ids), arg(row::pg(workspace))];
        let mut found = vec![FoundRow::Nothing; ids.len()];
        let plans = self.plans();
        for row in plans.read_many.query(View::Caller, &args) {
            let (position, row) = numbered(row);
            let place = &mut found[position];
            *place = match place {
                FoundRow::Nothing => FoundRow::One(Box::new(plans.key.respell(contact(row)))),
                FoundRow::One(_) => FoundRow::Several(2),
                FoundRow::Several(count) => FoundRow::Several(*count + 1),
            };
        }
        found
    }

    /// The keys of the rows that the caller sees, as everybody writes them, each in its place.
    pub fn seen(&self, workspace: Uuid, ids: &[&str]) -> Vec<Option<String>> {
        let args = [texts_arg(ids), arg(row::pg(workspace))];
        let mut seen = vec![None; ids.len()];
        for row in self.plans().seen.query(View::Caller, &args) {
            let (position, row) = numbered(row);
            seen[position] = match self.spelling_may_vary() {
                true => row.into_iter().next().flatten().map(|id| self.respell(id)),
                false => Some(ids[position].to_owned()),
            };
        }
        seen
    }

    /// Two texts can be the same key: those that are there are called as the table has them.
    pub fn spell(&self, workspace: Uuid, mut ids: Vec<&mut String>) {
        const PORTION: usize = 256;
        if !self.spelling_may_vary() {
            return;
        }
        for portion in ids.chunks_mut(PORTION) {
            pgrx::check_for_interrupts!();
            let keys: Vec<&str> = portion.iter().map(|id| id.as_str()).collect();
            let found = self.read_many(workspace, &keys);
            for (id, found) in portion.iter_mut().zip(found) {
                if let FoundRow::One(contact) = found {
                    **id = contact.id;
                }
            }
        }
    }

    /// The rows as they are afterwards, in the order of `changes`; `None` where nothing was written: the row has changed
    /// meanwhile, or a trigger declined. One statement for each combination of fields.
    pub fn write_many(
        &self,
        workspace: Uuid,
        changes: &[&Change<'_>],
        status: StatusWrite,
    ) -> Vec<Option<Contact>> {
        let mut written = vec![None; changes.len()];
        let mut shapes: Vec<(Shape, Vec<usize>)> = Vec::new();
        for (position, change) in changes.iter().enumerate() {
            let shape = shape_of(change, status);
            match shapes.iter_mut().find(|(known, _)| *known == shape) {
                Some((_, positions)) => positions.push(position),
                None => shapes.push((shape, vec![position])),
            }
        }
        for (shape, positions) in shapes {
            let rows = self.write_alike(workspace, shape, positions.iter().map(|at| changes[*at]));
            for (at, row) in rows {
                if written[positions[at]].replace(row).is_some() {
                    self.not_unique(2, &changes[positions[at]].before.id);
                }
            }
        }
        written
    }

    /// The same; where the table refuses what the rows are to say of it, without that.
    pub fn write_many_at_least(
        &self,
        workspace: Uuid,
        changes: &[&Change<'_>],
        status: StatusWrite,
    ) -> Vec<Option<Contact>> {
        if !self.may_refuse_status(status) {
            return self.write_many(workspace, changes, status);
        }
        let write = || self.write_many(workspace, changes, status);
        spi::caught(write, |caught| self.is_about_status(caught)).unwrap_or_else(|caught| {
            let rows = self.write_many(workspace, changes, StatusWrite::default());
            self.warn_status_refused(&caught);
            rows
        })
    }

    fn write_alike<'c>(
        &self,
        workspace: Uuid,
        shape: Shape,
        changes: impl Iterator<Item = &'c Change<'c>> + Clone,
    ) -> Vec<(usize, Contact)> {
        let (fields, were_null, others, _) = shape;
        let column = |of: &dyn Fn(&'c Change<'c>) -> Option<&'c str>| -> Arg {
            optional_texts_arg(&changes.clone().map(of).collect::<Vec<_>>())
        };
        let mut args = vec![column(&|c| Some(&c.before.id)), arg(row::pg(workspace))];
        for field in fields.iter() {
            args.push(column(&|c| c.changes.get(field).map(String::as_str)));
            if !were_null {
                args.push(column(&|c| c.before.value(field)));
            }
        }
        args.extend(others.iter().map(|field| column(&|c| c.before.value(field))));
        let bound = |at: &usize| self.columns.contains_key(IDENTIFYING[*at]);
        let who = (0..IDENTIFYING.len()).filter(bound);
        args.extend(who.map(|at| column(&|c| c.before.identifying()[at])));
        let _by_us = (Writing::to(self.relation()), authorship::changing(fields));
        let rows = self.write_many_statement(shape).query(View::Caller, &args);
        let key = &self.plans().key;
        rows.into_iter().map(numbered).map(|(position, row)| (position, key.respell(contact(row)))).collect()
    }

    fn write_many_statement(&self, shape: Shape) -> Rc<Statement> {
        let plans = self.plans();
        if let Some(known) = plans.writes_many.borrow().get(&shape_key(shape)) {
            return known.clone();
        }
        let (fields, were_null, others, status) = shape;
        let (mut sets, mut unchanged, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |name: String| names.push(name);
        let mut must_be = |column: &str, old: &str| unchanged.push(is_still(column, &format!("n.{old}")));
        let mut nulls = String::new();
        for field in fields.iter() {
            let column = quoted(&self.columns[field.name()]);
            let (new, old) = (format!("new_{}", field.name()), format!("old_{}", field.name()));
            sets.push(format!("{column} = n.{new}"));
            add(new);
            if were_null {
                nulls.push_str(&format!(" AND t.{column} IS NULL"));
            } else {
                must_be(&column, &old);
                add(old);
            }
        }
        for field in others.iter() {
            let same = format!("same_{}", field.name());
            must_be(&quoted(&self.columns[field.name()]), &same);
            add(same);
        }
        for name in IDENTIFYING {
            let Some(column) = self.columns.get(name) else { continue };
            let was = format!("was_{name}");
            must_be(&quoted(column), &was);
            add(was);
        }
        sets.extend(self.status_sets(status));
        let sql = format!(
            "UPDATE {} AS t SET {} FROM {} WHERE {}{nulls}{} RETURNING n.position, {}",
            self.name(),
            sets.join(", "),
            set_of_keys(&plans.key_type_name, &names),
            plans.condition_of_many,
            unchanged.concat(),
            plans.list
        );
        let statement = Rc::new(Statement::owned(sql));
        plans.writes_many.borrow_mut().insert(shape_key(shape), statement.clone());
        statement
    }
}

/// The keys of $1 as rows n(key, …, position), with texts of $3, $4, … beside them. The cast stays apart from the
/// comparison: it is not leakproof, and would keep a table with row-level security from being searched by its index.
pub fn set_of_keys(key_type: &str, others: &[String]) -> String {
    let arrays: String = (0..others.len()).map(|at| format!(", pg_catalog.unnest(${})", at + 3)).collect();
    let names: String = others.iter().map(|name| format!(", {name}")).collect();
    format!(
        "(SELECT CAST(u.key AS {key_type}) AS key{names}, u.position
          FROM ROWS FROM (pg_catalog.unnest($1){arrays}) WITH ORDINALITY AS u(key{names}, position) OFFSET 0) AS n"
    )
}

fn shape_of(change: &Change<'_>, status: StatusWrite) -> Shape {
    let fields = change.changes.fields().union(change.cleared);
    let were_null = fields.iter().all(|field: Field| change.before.value(field).is_none());
    (fields, were_null, change.others.minus(fields), status)
}

fn shape_key((fields, were_null, others, status): Shape) -> super::WriteKey {
    (fields, were_null, others, [false; 5], status)
}

/// The position that comes first, counted from 0, and the rest of the row.
fn numbered(mut row: Row) -> (usize, Row) {
    let position = (number(&row, 0) - 1).max(0) as usize;
    row.remove(0);
    (position, row)
}

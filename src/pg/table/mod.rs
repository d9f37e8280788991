//! A bound contact table: which columns it has, and the statements that read and write it. They run with the caller's own
//! rights, so row-level security, column privileges, triggers and constraints apply.

mod ancestors;
mod catalog;
mod column_fit;
mod computed;
mod constraints;
mod deferrable;
mod keys;
mod many;
pub mod own_writes;
mod partitions;
mod privileges;
mod rebind;
mod rls;
mod saving;
mod status_columns;
mod trust;
mod value_fit;
mod whole;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use pgrx::pg_sys;
use uuid::Uuid;

pub use ancestors::ancestors;
pub use catalog::{
    Column, columns, equality, exists, is_part, name_of, names_of, plain_name_of, rule_instead_of_update,
    unfit_relation,
};
pub use column_fit::unfit_kind;
pub use keys::MAX_KEY;
pub use many::{Change, FoundRow};
pub use rls::{barred_message, note};
pub use saving::{Saved, declined, rejected};
pub use status_columns::{NAMES as STATUS_COLUMNS, StatusWrite};
pub use trust::{deferrable_trigger, foreign_trigger, has_temporary_schema};
pub use value_fit::{Fitted, Rejection};

use crate::pg::sys::authorship;
use crate::pg::sys::raise::{self, PgError, refuse};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg};
use crate::pg::sys::{relation, row};
use crate::pg::table::own_writes::Writing;
use keys::ContactKey;
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldMap, FieldSet};
use leadlex_domain::sqlstate;
use partitions::{Near, Partitioned, Partitions};

/// Names of ours that say who a contact is, in the order in which rows are read.
pub const IDENTIFYING: [&str; 5] = ["full_name", "first_name", "last_name", "email", "company_domain"];

/// All names of ours that a column can be bound to.
pub fn names() -> impl Iterator<Item = &'static str> {
    let read = ["id", "workspace_id"].into_iter().chain(IDENTIFYING).chain(Field::all().map(Field::name));
    read.chain(status_columns::NAMES)
}

/// A bound table, with the statements that read and write its contacts.
pub struct Binding {
    pub schema: String,
    pub table: String,
    /// Our names to the table's.
    pub columns: BTreeMap<String, String>,
    /// Whose rows they are, where the table has no workspace column.
    pub workspace: Option<Uuid>,
    /// A table with triggers of ours was replaced by one without.
    pub lost_triggers: bool,
    /// All that its row says.
    pub version: String,
    relation: Option<pg_sys::Oid>,
    name: String,
    fields: FieldSet,
    /// Some column says what came of a row's last enrichment.
    has_status: bool,
    computed: OnceCell<Rc<computed::Computed>>,
    /// Built at the first use, and again after the table has changed.
    plans: RefCell<Option<std::rc::Rc<Plans>>>,
}

/// How the table's key and workspace columns are compared, and the statements made from that.
struct Plans {
    read: Statement,
    read_locked: Statement,
    fresh: Statement,
    read_many: Statement,
    seen: Statement,
    /// See `rls`.
    locks: Statement,
    key: ContactKey,
    key_type_name: String,
    fields: Vec<(Field, Column)>,
    /// No column of theirs has a length, a check or an equality of its own.
    takes_anything: bool,
    /// Fields that a constraint is about: looked up by the first write.
    guarded: OnceCell<FieldSet>,
    /// Looked up by the first write that a constraint can refuse.
    look_ahead: OnceCell<deferrable::LookAhead>,
    status: status_columns::StatusPlans,
    condition: String,
    /// The same without the workspace.
    is_key: String,
    /// The same for a set n of keys.
    condition_of_many: String,
    /// What is read of a row.
    list: String,
    writes: RefCell<HashMap<WriteKey, std::rc::Rc<Statement>>>,
    /// Of a table with many partitions.
    partitioned: Option<Partitioned>,
    writes_many: RefCell<HashMap<WriteKey, std::rc::Rc<Statement>>>,
}

/// The fields that are written, whether all of them were NULL, the fields that are only compared, which of the
/// identifying columns have a value, and what the row says of it.
type WriteKey = (FieldSet, bool, FieldSet, [bool; 5], StatusWrite);

/// As a string literal in SQL, for hints: single quotes are doubled.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// As an identifier in SQL, always in double quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As format('%I.%I') has it in SQL: as the views have a table's name.
pub fn plain_name(schema: &str, table: &str) -> String {
    format!("{}.{}", catalog::plain(schema), catalog::plain(table))
}

impl Binding {
    /// Looks the table up by name. Its columns are looked at when they are first needed.
    pub fn new(
        schema: String,
        table: String,
        columns: BTreeMap<String, String>,
        workspace: Option<Uuid>,
    ) -> Binding {
        let relation = relation::relation_named(&schema, &table);
        let name = format!("{}.{}", quoted(&schema), quoted(&table));
        let fields = Field::all().filter(|field| columns.contains_key(field.name())).collect();
        let has_status = status_columns::NAMES.iter().any(|name| columns.contains_key(*name));
        Binding {
            fields,
            has_status,
            name,
            schema,
            table,
            columns,
            workspace,
            lost_triggers: false,
            version: String::new(),
            relation,
            computed: OnceCell::new(),
            plans: RefCell::new(None),
        }
    }

    /// `None`: there was no table of this name when the binding was read.
    pub fn relation(&self) -> Option<pg_sys::Oid> {
        self.relation
    }

    /// Qualified and quoted: what people see, and what the fingerprint of a request holds.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `false`: the table holds another workspace's rows.
    pub fn may_have_rows_of(&self, workspace: Uuid) -> bool {
        self.columns.contains_key("workspace_id") || self.workspace == Some(workspace)
    }

    /// The fields that are bound to a column.
    pub fn fields(&self) -> FieldSet {
        self.fields
    }

    fn plans(&self) -> std::rc::Rc<Plans> {
        if let Some(plans) = &*self.plans.borrow() {
            return plans.clone();
        }
        let plans = std::rc::Rc::new(self.make_plans());
        *self.plans.borrow_mut() = Some(plans.clone());
        plans
    }

    fn make_plans(&self) -> Plans {
        let Some(relation) = self.relation else { self.gone() };
        if let Some(what) = unfit_kind(catalog::kind(relation)) {
            self.no_table(what);
        }
        let present = columns(relation);
        let find = |ours: &str| {
            let theirs = self.columns.get(ours)?;
            let column = present.iter().find(|c| &c.name == theirs);
            Some(column.unwrap_or_else(|| self.column_gone(ours, theirs, &present)))
        };
        let unfit = |ours: &str, column: &Column, why: &str| -> ! {
            self.column_unfit(ours, &column.name, why, &present)
        };
        let Some(id) = find("id") else { self.column_gone("id", "id", &present) };
        let Some(equals) = equality(id.type_oid) else {
            unfit("id", id, &format!("its type {} has no equality", id.written))
        };
        for (ours, column) in [("id", Some(id)), ("workspace_id", find("workspace_id"))] {
            if let Some((column, why)) = column.and_then(|column| Some((column, column.unfit_for_key()?))) {
                unfit(ours, column, why);
            }
        }
        let fields = self.fit_fields(&find, &present);
        let status = self.fit_status(&find, &present);
        if let Some(rule) = rule_instead_of_update(relation) {
            self.rule_instead(&rule);
        }
        let whose = find("workspace_id").map_or(String::new(), is_workspace);
        // A domain may have another collation than the column that is of it.
        let collated = id.collation_name.as_ref().map_or(String::new(), |name| format!(" COLLATE {name}"));
        let is = |key: &str| format!("t.{} {equals} {key}{collated}", quoted(&id.name));
        let (is_key, is_key_of_many) = (is(&format!("CAST($1 AS {})", id.type_name)), is("n.key"));
        let (condition, condition_of_many) = (format!("{is_key}{whose}"), format!("{is_key_of_many}{whose}"));
        let list = self.select_list(&find);
        // The workspace is passed always, also where no column is compared with it.
        let from = format!("FROM {} AS t WHERE {condition}", self.name());
        let of_many = format!(
            "FROM {} JOIN {} AS t ON {condition_of_many}",
            many::set_of_keys(&id.type_name, &[]),
            self.name()
        );
        let id_text = format!("t.{}::pg_catalog.text", quoted(&id.name));
        let partitioned = self.partitioned((relation, &present, id), &list, &condition);
        Plans {
            partitioned,
            read: Statement::owned(format!("SELECT {list} {from}")),
            read_locked: Statement::owned(format!("SELECT {list} {from} FOR NO KEY UPDATE OF t")),
            fresh: Statement::owned(format!("SELECT t.tableoid, t.ctid {from}")),
            read_many: Statement::owned(format!("SELECT n.position, {list} {of_many}")),
            seen: Statement::owned(format!("SELECT n.position, {id_text} {of_many}")),
            locks: rls::statement(self.name(), &id.type_name, &condition_of_many),
            key: ContactKey::of(id),
            key_type_name: id.type_name.clone(),
            takes_anything: fields.iter().all(|(_, column)| value_fit::takes_anything(column)),
            guarded: OnceCell::new(),
            look_ahead: OnceCell::new(),
            status: self.status_plans(status, &id.type_name, &condition_of_many),
            fields,
            condition,
            is_key,
            condition_of_many,
            list,
            writes: RefCell::default(),
            writes_many: RefCell::default(),
        }
    }

    /// The columns of fields that are bound. Raises 42804: one is of a type that no value of ours fits.
    fn fit_fields<'a>(
        &self,
        find: &impl Fn(&str) -> Option<&'a Column>,
        present: &[Column],
    ) -> Vec<(Field, Column)> {
        let bound: Vec<(Field, Column)> =
            Field::all().filter_map(|field| Some((field, find(field.name())?.clone()))).collect();
        for (field, column) in &bound {
            if let Some(why) = column.unfit_for_field() {
                self.column_unfit(field.name(), &column.name, &why, present);
            }
        }
        bound
    }

    fn select_list<'a>(&self, find: &impl Fn(&str) -> Option<&'a Column>) -> String {
        let names = ["id"].into_iter().chain(IDENTIFYING).chain(Field::all().map(Field::name));
        let column = |name: &str| match find(name) {
            Some(column) => format!("t.{}::pg_catalog.text", quoted(&column.name)),
            None => "NULL::pg_catalog.text".to_owned(),
        };
        names.map(column).collect::<Vec<_>>().join(", ")
    }

    /// The contact with this key, if it is the workspace's; `None`: the caller sees none.
    ///
    /// Raises 21000: several rows have the key.
    /// Raises 42P01, 42703, 42804 or 42809: the table has changed since it was bound.
    pub fn read(&self, workspace: Uuid, id: &str) -> Option<Contact> {
        let plans = self.plans();
        let near: Near = |at| &at.read;
        self.only(self.of_row(&plans, View::Caller, (workspace, id), (near, &plans.read)), id)
    }

    /// Whether the row that this transaction's snapshot shows is still the present one; only asked where a snapshot
    /// lasts longer than a statement.
    pub fn is_current(&self, workspace: Uuid, id: &str) -> bool {
        let plans = self.plans();
        let readable = self.relation.is_some_and(|relation| {
            // SAFETY: a catalog look-up.
            unsafe {
                pg_sys::pg_class_aclcheck(relation, pg_sys::GetUserId(), pg_sys::ACL_SELECT as _)
                    == pg_sys::AclResult::ACLCHECK_OK
            }
        });
        // System columns need the privilege on the table; with column privileges only, the values have to do.
        let (near, far): (Near, _) = match readable {
            true => (|at| &at.fresh, &plans.fresh),
            false => (|at| &at.read, &plans.read),
        };
        let rows = |view| self.of_row(&plans, view, (workspace, id), (near, far));
        rows(View::Caller) == rows(View::Latest)
    }

    /// Locks the row as an update would.
    ///
    /// `None` and errors are those of [`Binding::read`].
    pub fn read_locked(&self, workspace: Uuid, id: &str) -> Option<Contact> {
        let plans = self.plans();
        let near: Near = |at| &at.read_locked;
        self.only(self.of_row(&plans, View::Caller, (workspace, id), (near, &plans.read_locked)), id)
    }

    fn only(&self, rows: Vec<Row>, id: &str) -> Option<Contact> {
        if rows.len() > 1 {
            self.not_unique(rows.len(), id);
        }
        rows.into_iter().next().map(|row| self.plans().key.respell(contact(row)))
    }

    fn not_unique(&self, rows: usize, id: &str) -> ! {
        refuse(PgError {
            sqlstate: sqlstate::CARDINALITY_VIOLATION,
            message: format!("{rows} rows of {} have the key {id}", self.name()),
            detail: None,
            hint: Some("The column bound as id must be unique.".into()),
        })
    }

    /// Writes `changes`, and `status`, if the row still holds what `before` says of those fields, of `others`, and of who it
    /// is. The row as it is afterwards; `None` when nothing was written.
    pub fn write(
        &self,
        workspace: Uuid,
        before: &Contact,
        changes: &FieldMap<Option<&str>>,
        others: FieldSet,
        status: StatusWrite,
    ) -> Option<Contact> {
        let others = others.minus(changes.fields());
        let were_null = changes.iter().all(|(field, _)| before.value(field).is_none());
        let known = before.identifying().map(|value| value.is_some());
        let which = (changes.fields(), were_null, others, known, status);
        let mut args = Vec::with_capacity(20);
        args.extend(key(workspace, &before.id));
        for (field, value) in changes.iter() {
            args.push(arg(*value));
            if !were_null {
                args.push(arg(before.value(field)));
            }
        }
        args.extend(others.iter().map(|field| arg(before.value(field))));
        let identifying = IDENTIFYING.into_iter().zip(before.identifying());
        let bound = identifying.filter(|(name, _)| self.columns.contains_key(*name));
        args.extend(bound.filter_map(|(_, value)| value).map(|value| arg(Some(value))));
        let _by_us = (Writing::to(self.relation), authorship::changing(changes.fields()));
        let plans = self.plans();
        let far = |args: &[Arg]| self.write_statement(&plans, which, before, None).query(View::Caller, args);
        let rows = match &plans.partitioned {
            None => far(&args),
            Some(at) => {
                let near = |partitions: &Partitions, place: &[String]| {
                    let statement = self.write_statement(&plans, which, before, Some(at));
                    let there = partitions.args(place);
                    let args: Vec<Arg> = args.iter().map(Arg::again).chain(there).collect();
                    statement.query(View::Caller, &args)
                };
                self.in_partition(&at.partitions, (workspace, &before.id), near, || far(&args))
            }
        };
        self.only(rows, &before.id)
    }

    /// `were_null`: for a contact with none of the fields, which most are. To say so takes the executor far less time
    /// to set up than to compare each with a value that may be NULL.
    fn write_statement(
        &self,
        plans: &Plans,
        which: WriteKey,
        before: &Contact,
        at: Option<&Partitioned>,
    ) -> std::rc::Rc<Statement> {
        let (fields, were_null, others, _, status) = which;
        let writes = at.map_or(&plans.writes, |at| &at.writes);
        if let Some(known) = writes.borrow().get(&which) {
            return known.clone();
        }
        let mut sets = Vec::new();
        let mut unchanged = Vec::new();
        let is_still = |column: &str, old: usize| is_still(column, &format!("${old}"));
        for (position, field) in fields.iter().enumerate() {
            let column = quoted(&self.columns[field.name()]);
            let (new, old) = if were_null { (3 + position, 0) } else { (3 + 2 * position, 4 + 2 * position) };
            sets.push(format!("{column} = ${new}"));
            match were_null {
                true => unchanged.push(format!(" AND t.{column} IS NULL")),
                false => unchanged.push(is_still(&column, old)),
            }
        }
        let first_other = 3 + sets.len() * if were_null { 1 } else { 2 };
        for (position, field) in others.iter().enumerate() {
            unchanged.push(is_still(&quoted(&self.columns[field.name()]), first_other + position));
        }
        let mut next = first_other + others.iter().count();
        for (column, value) in self.identifying(before) {
            unchanged.push(match value {
                None => format!(" AND t.{column} IS NULL"),
                Some(_) => format!(" AND {}", is_text(&column, &format!("${next}"))),
            });
            next += usize::from(value.is_some());
        }
        sets.extend(self.status_sets(status));
        unchanged.extend(at.map(|at| at.partitions.condition(next)));
        let sql = format!(
            "UPDATE {} AS t SET {} WHERE {}{} RETURNING {}",
            self.name(),
            sets.join(", "),
            plans.condition,
            unchanged.concat(),
            plans.list
        );
        let statement =
            at.map_or_else(|| Statement::owned(sql.clone()), |_| Statement::planned_each_time(sql.clone()));
        let statement = std::rc::Rc::new(statement);
        writes.borrow_mut().insert(which, statement.clone());
        statement
    }

    /// The columns that say who the contact is, quoted, each with its value.
    fn identifying<'a>(&'a self, contact: &'a Contact) -> impl Iterator<Item = (String, Option<&'a str>)> {
        let bound = |(name, value)| Some((quoted(self.columns.get(name)?), value));
        IDENTIFYING.into_iter().zip(contact.identifying()).filter_map(bound)
    }
}

fn key(workspace: Uuid, id: &str) -> [Arg; 2] {
    [arg(id), arg(row::pg(workspace))]
}

/// A row is the workspace's.
fn is_workspace(column: &Column) -> String {
    let name = quoted(&column.name);
    match column.base_type {
        pg_sys::UUIDOID => format!(" AND t.{name} OPERATOR(pg_catalog.=) $2"),
        _ => format!(" AND t.{name}::pg_catalog.text OPERATOR(pg_catalog.=) $2::pg_catalog.text"),
    }
}

/// Text for text, also where the column takes others for the same (citext, a collation of its own).
fn is_text(column: &str, text: &str) -> String {
    format!("t.{column}::pg_catalog.text COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) {text}")
}

fn is_still(column: &str, old: &str) -> String {
    format!(" AND ({} OR (t.{column} IS NULL AND {old} IS NULL))", is_text(column, old))
}

fn contact(row: Row) -> Contact {
    let mut values = row.into_iter();
    let mut next = || values.next().flatten();
    let mut contact = Contact {
        id: next().unwrap_or_default(),
        full_name: next(),
        first_name: next(),
        last_name: next(),
        email: next(),
        company_domain: next(),
        values: FieldMap::default(),
    };
    for field in Field::all() {
        if let Some(value) = next() {
            contact.values.set(field, value);
        }
    }
    contact
}

/// 55000: no table is bound.
pub fn none_bound() -> ! {
    raise::not_ready(
        "no contact table is bound",
        "Run SELECT leadlex.bind_contacts('your_table'), or SELECT leadlex.create_contact_table().",
    )
}

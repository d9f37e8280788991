//! A bound contact table: which columns it has, and the statements that read and write it.
//!
//! They run with the caller's own rights, so row-level security, column privileges, triggers and constraints apply.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;

use pgrx::pg_sys;
use uuid::Uuid;

use super::raise::{self, Refusal, refuse};
use super::spi::{self, Arg, Row, Statement, View, arg};
use super::store::{number, optional, text};
use crate::domain::contact::Contact;
use crate::domain::fields::{Field, FieldMap, FieldSet};

/// Names of ours that say who a contact is, in the order in which rows are read.
pub const IDENTIFYING: [&str; 5] = ["full_name", "first_name", "last_name", "email", "company_domain"];

pub struct Binding {
    pub schema: String,
    pub table: String,
    /// Our names to the table's.
    pub columns: BTreeMap<String, String>,
    /// Whose rows they are, where the table has no workspace column.
    pub workspace: Option<Uuid>,
    relation: Option<pg_sys::Oid>,
    /// Built at the first use, and again after the table has changed.
    plans: RefCell<Option<std::rc::Rc<Plans>>>,
}

/// How the table's key and workspace columns are compared, and the statements made from that.
struct Plans {
    read: Statement,
    read_locked: Statement,
    fresh: Statement,
    key_kind: KeyKind,
    key_type: pg_sys::Oid,
    condition: String,
    writes: RefCell<HashMap<WriteKey, std::rc::Rc<Statement>>>,
}

/// The fields that are written, whether all of them were NULL, and the fields that are only compared.
type WriteKey = (Vec<&'static str>, bool, Vec<&'static str>);

/// What is known of a key's type: for the common ones, that one key has one text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Uuid,
    /// Its greatest value.
    Integer(i64),
    Text,
    Other,
}

/// A column as the catalogs have it.
pub struct Column {
    pub name: String,
    pub type_oid: pg_sys::Oid,
    /// Schema-qualified and quoted.
    pub type_name: String,
    pub base_type: pg_sys::Oid,
    pub category: char,
    pub generated: bool,
    /// Two texts are the same value only if they are the same text.
    pub deterministic: bool,
}

static COLUMNS: Statement = Statement::new(
    "SELECT a.attname, a.atttypid::pg_catalog.int8,
            pg_catalog.format('%I.%I', n.nspname, t.typname), t.typcategory, a.attgenerated OPERATOR(pg_catalog.<>) ''
                OR a.attidentity OPERATOR(pg_catalog.=) 'a',
            coalesce((SELECT c.collisdeterministic FROM pg_catalog.pg_collation AS c
                      WHERE c.oid OPERATOR(pg_catalog.=) a.attcollation), true)
     FROM pg_catalog.pg_attribute AS a
     JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
     WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
     ORDER BY a.attnum USING OPERATOR(pg_catalog.<)",
);

pub fn columns(relation: pg_sys::Oid) -> Vec<Column> {
    let read = |row: &Row| {
        let type_oid = pg_sys::Oid::from(number(row, 1) as u32);
        Column {
            name: text(row, 0),
            type_oid,
            type_name: text(row, 2),
            // SAFETY: a catalog look-up of an existing type.
            base_type: unsafe { pg_sys::getBaseType(type_oid) },
            category: text(row, 3).chars().next().unwrap_or(' '),
            generated: super::store::boolean(row, 4),
            deterministic: super::store::boolean(row, 5),
        }
    };
    COLUMNS.query(View::Latest, &[arg(i64::from(relation.to_u32()))]).iter().map(read).collect()
}

static OPERATOR: Statement = Statement::new(
    "SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) FROM pg_catalog.pg_operator AS o
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
     WHERE o.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid",
);

/// The type's own equality (citext's ignores case), by its default operator class; `None` where it has none.
pub fn equality(type_oid: pg_sys::Oid) -> Option<String> {
    // SAFETY: the type exists; the entry lives as long as the backend.
    let operator = unsafe {
        let flags = pg_sys::TYPECACHE_EQ_OPR as i32;
        (*pg_sys::lookup_type_cache(type_oid, flags)).eq_opr
    };
    if operator == pg_sys::InvalidOid {
        return None;
    }
    OPERATOR.row(View::Latest, &[arg(i64::from(operator.to_u32()))]).map(|row| text(&row, 0))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Binding {
    pub fn new(
        schema: String,
        table: String,
        columns: BTreeMap<String, String>,
        workspace: Option<Uuid>,
    ) -> Binding {
        let relation = relation_named(&schema, &table);
        Binding { schema, table, columns, workspace, relation, plans: RefCell::new(None) }
    }

    pub fn relation(&self) -> Option<pg_sys::Oid> {
        self.relation
    }

    /// Qualified and quoted: what people see, and what the fingerprint of a request holds.
    pub fn name(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }

    pub fn fields(&self) -> FieldSet {
        Field::ALL.into_iter().filter(|f| self.columns.contains_key(f.name())).collect()
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
        let present = columns(relation);
        let find = |ours: &str| {
            let theirs = self.columns.get(ours)?;
            let column = present.iter().find(|c| &c.name == theirs);
            Some(column.unwrap_or_else(|| self.column_gone(ours, theirs)))
        };
        let Some(id) = find("id") else { self.column_gone("id", "id") };
        let Some(equals) = equality(id.type_oid) else { self.column_gone("id", &id.name) };
        let mut condition = format!("t.{} {equals} CAST($1 AS {})", quoted(&id.name), id.type_name);
        if let Some(workspace) = find("workspace_id") {
            condition.push_str(&match workspace.base_type {
                pg_sys::UUIDOID => format!(" AND t.{} OPERATOR(pg_catalog.=) $2", quoted(&workspace.name)),
                _ => format!(
                    " AND t.{}::pg_catalog.text OPERATOR(pg_catalog.=) $2::pg_catalog.text",
                    quoted(&workspace.name)
                ),
            });
        }
        let list = self.select_list(&find);
        // The workspace is passed always, also where no column is compared with it.
        let from = format!("FROM {} AS t WHERE {condition}", self.name());
        Plans {
            read: Statement::owned(format!("SELECT {list} {from}")),
            read_locked: Statement::owned(format!("SELECT {list} {from} FOR NO KEY UPDATE OF t")),
            fresh: Statement::owned(format!("SELECT t.tableoid, t.ctid {from}")),
            key_kind: if id.deterministic { key_kind(id.type_oid) } else { KeyKind::Other },
            key_type: id.type_oid,
            condition,
            writes: RefCell::default(),
        }
    }

    fn select_list<'a>(&self, find: &impl Fn(&str) -> Option<&'a Column>) -> String {
        let names = ["id"].into_iter().chain(IDENTIFYING).chain(Field::ALL.iter().map(|f| f.name()));
        let column = |name: &str| match find(name) {
            Some(column) => format!("t.{}::pg_catalog.text", quoted(&column.name)),
            None => "NULL::pg_catalog.text".to_owned(),
        };
        names.map(column).collect::<Vec<_>>().join(", ")
    }

    fn gone(&self) -> ! {
        refuse(Refusal {
            sqlstate: "42P01",
            message: format!("the bound table {} does not exist", self.name()),
            detail: None,
            hint: Some(format!(
                "Create it again, or forget it: DELETE FROM leadlex.binding WHERE (schema_name, table_name) = ({}, {}).",
                literal(&self.schema),
                literal(&self.table)
            )),
        })
    }

    fn column_gone(&self, ours: &str, theirs: &str) -> ! {
        refuse(Refusal {
            sqlstate: "42703",
            message: format!("column \"{theirs}\" of {}, bound as {ours}, does not exist", self.name()),
            detail: Some("It was dropped or renamed after leadlex.bind_contacts.".into()),
            hint: Some("Bind the table again with leadlex.bind_contacts.".into()),
        })
    }

    /// `id` in the one spelling that everybody who means this key uses; `None` when it cannot be a key of this table.
    /// Types with an equality of their own (citext) keep the spelling given, see [`Binding::spelling_may_vary`].
    pub fn canonical_key(&self, id: &str) -> Option<String> {
        let plans = self.plans();
        let plain = match plans.key_kind {
            KeyKind::Text => Some(id.to_owned()),
            // The common spellings, without asking the type.
            KeyKind::Uuid if !id.contains(':') => id.parse::<Uuid>().ok().map(|id| id.to_string()),
            KeyKind::Integer(greatest) if !id.starts_with('+') => {
                id.parse::<i64>().ok().filter(|n| (-greatest..=greatest).contains(n)).map(|n| n.to_string())
            }
            _ => None,
        };
        plain.or_else(|| spi::in_subtransaction(|| through_type(plans.key_type, id), is_data_error).flatten())
    }

    /// Two texts can be the same key: only the stored row tells.
    pub fn spelling_may_vary(&self) -> bool {
        self.plans().key_kind == KeyKind::Other
    }

    pub fn read(&self, workspace: Uuid, id: &str) -> Option<Contact> {
        self.only(self.plans().read.query(View::Caller, &key(workspace, id)), id)
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
        let statement = if readable { &plans.fresh } else { &plans.read };
        statement.query(View::Caller, &key(workspace, id))
            == statement.query(View::Latest, &key(workspace, id))
    }

    /// Locks the row as an update would.
    pub fn read_locked(&self, workspace: Uuid, id: &str) -> Option<Contact> {
        self.only(self.plans().read_locked.query(View::Caller, &key(workspace, id)), id)
    }

    fn only(&self, rows: Vec<Row>, id: &str) -> Option<Contact> {
        if rows.len() > 1 {
            refuse(Refusal {
                sqlstate: "21000",
                message: format!("{} rows of {} have the key {id}", rows.len(), self.name()),
                detail: None,
                hint: Some("The column bound as id must be unique.".into()),
            });
        }
        rows.first().map(contact)
    }

    /// Writes `changes` if the row still holds what `before` says of those fields and of `others`. The row as it is
    /// afterwards; `None` when nothing was written.
    pub fn write(
        &self,
        workspace: Uuid,
        before: &Contact,
        changes: &FieldMap<Option<String>>,
        others: FieldSet,
    ) -> Option<Contact> {
        let others = others.minus(changes.fields());
        let were_null = changes.iter().all(|(field, _)| before.value(field).is_none());
        let statement = self.write_statement(changes.fields(), were_null, others);
        let mut args = key(workspace, &before.id);
        for (field, value) in changes.iter() {
            args.push(arg(value.as_deref()));
            if !were_null {
                args.push(arg(before.value(field)));
            }
        }
        args.extend(others.iter().map(|field| arg(before.value(field))));
        self.only(statement.query(View::Caller, &args), &before.id)
    }

    /// `were_null`: for a contact with none of the fields, which most are. To say so takes the executor far less time
    /// to set up than to compare each with a value that may be NULL.
    fn write_statement(&self, fields: FieldSet, were_null: bool, others: FieldSet) -> std::rc::Rc<Statement> {
        let plans = self.plans();
        let which = (fields.names(), were_null, others.names());
        if let Some(known) = plans.writes.borrow().get(&which) {
            return known.clone();
        }
        let mut sets = Vec::new();
        let mut unchanged = Vec::new();
        let is_still = |column: &str, old: usize| {
            format!(
                " AND (t.{column}::pg_catalog.text OPERATOR(pg_catalog.=) ${old} OR (t.{column} IS NULL AND ${old} IS NULL))"
            )
        };
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
        let present = columns(self.relation.unwrap_or(pg_sys::InvalidOid));
        let find = |ours: &str| present.iter().find(|c| Some(&c.name) == self.columns.get(ours));
        let sql = format!(
            "UPDATE {} AS t SET {} WHERE {}{} RETURNING {}",
            self.name(),
            sets.join(", "),
            plans.condition,
            unchanged.concat(),
            self.select_list(&find)
        );
        let statement = std::rc::Rc::new(Statement::owned(sql));
        plans.writes.borrow_mut().insert(which, statement.clone());
        statement
    }

    /// Raises 42501 before anything is asked, where the caller may not write one of these fields.
    pub fn require_updatable(&self, fields: FieldSet) {
        let Some(relation) = self.relation else { self.gone() };
        let may = |number: i16| {
            // SAFETY: catalog look-ups for an existing relation and column.
            unsafe {
                let (user, update) = (pg_sys::GetUserId(), pg_sys::ACL_UPDATE as _);
                pg_sys::pg_class_aclcheck(relation, user, update) == pg_sys::AclResult::ACLCHECK_OK
                    || pg_sys::pg_attribute_aclcheck(relation, number, user, update)
                        == pg_sys::AclResult::ACLCHECK_OK
            }
        };
        let number_of = |field: &Field| {
            let name = CString::new(self.columns[field.name()].as_str()).unwrap_or_default();
            // SAFETY: as above.
            unsafe { pg_sys::get_attnum(relation, name.as_ptr()) }
        };
        let refused: Vec<&str> = fields.iter().filter(|f| !may(number_of(f))).map(Field::name).collect();
        if !refused.is_empty() {
            refuse(Refusal {
                sqlstate: "42501",
                message: format!("permission denied to update {} of {}", refused.join(", "), self.name()),
                detail: Some("No provider was asked.".into()),
                hint: Some(
                    "Grant UPDATE on these columns to the calling role, or leave them out of fields.".into(),
                ),
            });
        }
    }
}

fn key(workspace: Uuid, id: &str) -> Vec<Arg> {
    vec![arg(id), arg(super::store::pg(workspace))]
}

fn contact(row: &Row) -> Contact {
    let mut contact = Contact {
        id: text(row, 0),
        full_name: optional(row, 1),
        first_name: optional(row, 2),
        last_name: optional(row, 3),
        email: optional(row, 4),
        company_domain: optional(row, 5),
        values: FieldMap::default(),
    };
    for field in Field::ALL {
        if let Some(value) = optional(row, 6 + field.index()) {
            contact.values.set(field, value);
        }
    }
    contact
}

fn key_kind(type_oid: pg_sys::Oid) -> KeyKind {
    match type_oid {
        pg_sys::UUIDOID => KeyKind::Uuid,
        pg_sys::INT2OID => KeyKind::Integer(i64::from(i16::MAX)),
        pg_sys::INT4OID => KeyKind::Integer(i64::from(i32::MAX)),
        pg_sys::INT8OID => KeyKind::Integer(i64::MAX),
        pg_sys::TEXTOID | pg_sys::VARCHAROID => KeyKind::Text,
        _ => KeyKind::Other,
    }
}

/// `id` read and written by its type.
fn through_type(kind: pg_sys::Oid, id: &str) -> Option<String> {
    let id = CString::new(id).ok()?;
    // SAFETY: a NUL-terminated text for the input function of an existing type, whose value goes to its output function.
    unsafe {
        let (mut function, mut parameter, mut varlena) = (pg_sys::InvalidOid, pg_sys::InvalidOid, false);
        pg_sys::getTypeInputInfo(kind, &mut function, &mut parameter);
        let value = pg_sys::OidInputFunctionCall(function, id.as_ptr().cast_mut(), parameter, -1);
        pg_sys::getTypeOutputInfo(kind, &mut function, &mut varlena);
        let text = pg_sys::OidOutputFunctionCall(function, value);
        Some(std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

/// SQLSTATE class 22, or a domain's constraint: the text is no value of the type.
fn is_data_error(code: pgrx::PgSqlErrorCode) -> bool {
    // SAFETY: unpack_sql_state returns a static, NUL-terminated text.
    let state = unsafe { std::ffi::CStr::from_ptr(pg_sys::unpack_sql_state(code as i32)) };
    state.to_bytes().starts_with(b"22") || state.to_bytes() == b"23514"
}

pub fn relation_named(schema: &str, table: &str) -> Option<pg_sys::Oid> {
    let (schema, table) = (CString::new(schema).ok()?, CString::new(table).ok()?);
    // SAFETY: catalog look-ups by NUL-terminated names.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if namespace == pg_sys::InvalidOid {
            return None;
        }
        let relation = pg_sys::get_relname_relid(table.as_ptr(), namespace);
        (relation != pg_sys::InvalidOid).then_some(relation)
    }
}

/// 55000: no table is bound.
pub fn none_bound() -> ! {
    raise::not_ready(
        "no contact table is bound",
        "Run SELECT leadlex.bind_contacts('your_table'), or SELECT leadlex.create_contact_table().",
    )
}

//! What the catalogs say of a table that is, or is to be, bound.

use crate::pg::sys::spi;
use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::sys::row::{boolean, text};
use crate::pg::sys::spi::{Statement, View, arg};
use crate::pg::sys::syscache;
use crate::pg::table::quoted;
use crate::pg::table::unfit_kind;

/// A column as the catalogs have it.
#[derive(Clone)]
pub struct Column {
    pub name: String,
    pub type_oid: pg_sys::Oid,
    /// Schema-qualified and quoted.
    pub type_name: String,
    /// As people write it, with its length.
    pub written: String,
    /// Of `varchar(n)` and its like; -1 for none.
    pub modifier: i32,
    pub base_type: pg_sys::Oid,
    pub category: char,
    pub generated: bool,
    /// Generated, and not stored.
    pub computed: bool,
    pub collation: pg_sys::Oid,
    /// Schema-qualified and quoted, where it is not the database's.
    pub collation_name: Option<String>,
    /// Two texts are the same value only if they are the same text.
    pub deterministic: bool,
    pub not_null: bool,
}

/// Its columns in their order; none for a relation that is gone.
pub fn columns(relation: pg_sys::Oid) -> Vec<Column> {
    let count = class(relation, |class| class.relnatts).unwrap_or(0);
    (1..=count).filter_map(|number| syscache::column(relation, number, column)?).collect()
}

fn class<R>(relation: pg_sys::Oid, look: impl FnOnce(&pg_sys::FormData_pg_class) -> R) -> Option<R> {
    // SAFETY: the rows of this cache.
    unsafe { syscache::row(pg_sys::SysCacheIdentifier::RELOID, relation, look) }
}

/// `None`: it has been dropped.
fn column(row: &pg_sys::FormData_pg_attribute) -> Option<Column> {
    if row.attisdropped {
        return None;
    }
    let (generated, type_oid, collation) = (row.attgenerated as u8, row.atttypid, row.attcollation);
    // SAFETY: the rows of this cache.
    let (type_name, category) = unsafe {
        syscache::row(pg_sys::SysCacheIdentifier::TYPEOID, type_oid, |row: &pg_sys::FormData_pg_type| {
            (syscache::qualified(row.typnamespace, &row.typname), char::from(row.typcategory as u8))
        })
    }?;
    let is_own = ![pg_sys::InvalidOid, pg_sys::DEFAULT_COLLATION_OID].contains(&collation);
    Some(Column {
        name: syscache::name(&row.attname),
        type_oid,
        type_name,
        written: written(type_oid, row.atttypmod),
        modifier: row.atttypmod,
        // SAFETY: a catalog look-up of an existing type.
        base_type: unsafe { pg_sys::getBaseType(type_oid) },
        category,
        generated: generated != 0 || row.attidentity as u8 == b'a',
        computed: generated == b'v',
        collation,
        collation_name: if is_own { collation_name(collation) } else { None },
        // SAFETY: a catalog look-up of an existing collation.
        deterministic: !is_own || unsafe { pg_sys::get_collation_isdeterministic(collation) },
        not_null: row.attnotnull,
    })
}

/// A type as people write it, with its length.
fn written(type_oid: pg_sys::Oid, modifier: i32) -> String {
    let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_ALLOW_INVALID;
    // SAFETY: a catalog look-up; the text is palloc'd.
    unsafe { CStr::from_ptr(pg_sys::format_type_extended(type_oid, modifier, flags as _)) }
        .to_string_lossy()
        .into_owned()
}

fn collation_name(collation: pg_sys::Oid) -> Option<String> {
    let cache = pg_sys::SysCacheIdentifier::COLLOID;
    let name = |row: &pg_sys::FormData_pg_collation| syscache::qualified(row.collnamespace, &row.collname);
    // SAFETY: the rows of this cache.
    unsafe { syscache::row(cache, collation, name) }
}

pub fn kind(relation: pg_sys::Oid) -> char {
    // SAFETY: a catalog look-up.
    char::from(unsafe { pg_sys::get_rel_relkind(relation) } as u8)
}

static STANDING: Statement = Statement::new(
    "SELECT c.relkind, c.relpersistence OPERATOR(pg_catalog.=) 't',
            EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype OPERATOR(pg_catalog.=) 'e')
            OR n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY['pg_catalog', 'information_schema', 'pg_toast']::pg_catalog.name[])
     FROM pg_catalog.pg_class AS c
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid",
);

/// Why no relation of its kind can be bound, as "a view: …" behind "it is"; `None` for a table of the user's.
pub fn unfit_relation(relation: pg_sys::Oid) -> Option<&'static str> {
    let Some(row) = STANDING.row(View::Latest, &[arg(i64::from(relation.to_u32()))]) else {
        return Some("not there any more");
    };
    let unfit = unfit_kind(text(&row, 0).chars().next().unwrap_or(' '));
    match (boolean(&row, 1), boolean(&row, 2)) {
        _ if unfit.is_some() => unfit,
        (true, _) => Some("a temporary table: other sessions could not see it"),
        (false, true) => Some("part of an extension or of Postgres itself"),
        (false, false) => None,
    }
}

static RULE: Statement = Statement::new(
    "SELECT r.rulename FROM pg_catalog.pg_rewrite AS r
     WHERE r.ev_class OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND r.ev_type OPERATOR(pg_catalog.=) '2' AND r.is_instead
     LIMIT 1",
);

/// A rule by which an UPDATE of the table does something else: it could not tell what has become of the row.
pub fn rule_instead_of_update(relation: pg_sys::Oid) -> Option<String> {
    // Most tables have never had a rule.
    if !class(relation, |class| class.relhasrules).unwrap_or(false) {
        return None;
    }
    RULE.row(View::Latest, &[arg(i64::from(relation.to_u32()))]).map(|row| text(&row, 0))
}

fn equality_operator(type_oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: the type exists; the entry lives as long as the backend.
    let operator = unsafe {
        let flags = pg_sys::TYPECACHE_EQ_OPR as i32;
        (*pg_sys::lookup_type_cache(type_oid, flags)).eq_opr
    };
    (operator != pg_sys::InvalidOid).then_some(operator)
}

/// The type's own equality (citext's ignores case), by its default operator class; `None` where it has none.
pub fn equality(type_oid: pg_sys::Oid) -> Option<String> {
    let cache = pg_sys::SysCacheIdentifier::OPEROID;
    let name = |row: &pg_sys::FormData_pg_operator| {
        // SAFETY: a catalog look-up; a palloc'd name, or null.
        let schema = unsafe { pg_sys::get_namespace_name(row.oprnamespace) };
        (!schema.is_null()).then(|| {
            // SAFETY: not null.
            let schema = unsafe { CStr::from_ptr(schema) }.to_string_lossy();
            format!("OPERATOR({}.{})", plain(&schema), syscache::name(&row.oprname))
        })
    };
    // SAFETY: the rows of this cache.
    unsafe { syscache::row(cache, equality_operator(type_oid)?, name) }.flatten()
}

/// The function of that equality.
pub fn equality_function(type_oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a catalog look-up of an existing operator.
    equality_operator(type_oid).map(|operator| unsafe { pg_sys::get_opcode(operator) })
}

/// `text` as a value of a type, by the type's input function, which raises where it is none.
pub fn value_of(type_oid: pg_sys::Oid, modifier: i32, text: &CStr) -> pg_sys::Datum {
    // SAFETY: a NUL-terminated text for the input function of an existing type.
    unsafe {
        let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        pg_sys::getTypeInputInfo(type_oid, &mut function, &mut parameter);
        pg_sys::OidInputFunctionCall(function, text.as_ptr().cast_mut(), parameter, modifier)
    }
}

/// The same of a text that [`through_type`] wrote in the style of every session.
pub fn value_in_plain_style(type_oid: pg_sys::Oid, modifier: i32, text: &CStr) -> pg_sys::Datum {
    spi::with_settings(&PLAIN_STYLE, || value_of(type_oid, modifier, text))
}

/// `id` read and written by its type.
pub fn through_type(type_oid: pg_sys::Oid, id: &CStr, styled: bool) -> String {
    let value = value_of(type_oid, -1, id);
    let write = || {
        // SAFETY: the value was made by the input function of the same type; the text is palloc'd.
        unsafe {
            let (mut function, mut varlena) = (pg_sys::InvalidOid, false);
            pg_sys::getTypeOutputInfo(type_oid, &mut function, &mut varlena);
            let text = pg_sys::OidOutputFunctionCall(function, value);
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    };
    if styled { spi::with_settings(&PLAIN_STYLE, write) } else { write() }
}

/// Under which every session writes the same text for the same value.
const PLAIN_STYLE: [(&CStr, &CStr); 5] = [
    (c"datestyle", c"ISO, YMD"),
    (c"intervalstyle", c"postgres"),
    (c"timezone", c"UTC"),
    (c"extra_float_digits", c"1"),
    (c"bytea_output", c"hex"),
];

/// Whether there is such a relation.
pub fn exists(relation: pg_sys::Oid) -> bool {
    !names_of(relation).1.is_empty()
}

/// Qualified and quoted; empty names for a relation that is gone.
pub fn name_of(relation: pg_sys::Oid) -> String {
    let (schema, table) = names_of(relation);
    format!("{}.{}", quoted(&schema), quoted(&table))
}

/// Whether it is a partition or a child of this table, at whatever depth.
///
/// # Safety
/// In a transaction; `relation` exists.
pub unsafe fn is_part(relation: pg_sys::Oid, table: pg_sys::Oid) -> bool {
    // SAFETY: catalog look-ups; typeInheritsFrom wants types that there are.
    unsafe {
        let (own, whole) = (pg_sys::get_rel_type_id(relation), pg_sys::get_rel_type_id(table));
        let known = own != pg_sys::InvalidOid && whole != pg_sys::InvalidOid;
        known && pg_sys::has_superclass(relation) && pg_sys::typeInheritsFrom(own, whole)
    }
}

/// Quoted only where it has to be, as format's %I does.
pub fn plain_name_of(relation: pg_sys::Oid) -> String {
    let (schema, table) = names_of(relation);
    format!("{}.{}", plain(&schema), plain(&table))
}

/// A name, quoted only where it has to be.
pub fn plain(name: &str) -> String {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: a palloc'd copy, or the text given.
    unsafe { CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())) }.to_string_lossy().into_owned()
}

/// Its schema and its name.
pub fn names_of(relation: pg_sys::Oid) -> (String, String) {
    // SAFETY: palloc'd names, or null.
    unsafe {
        let text = |name: *mut std::ffi::c_char| match name.is_null() {
            true => String::new(),
            false => CStr::from_ptr(name).to_string_lossy().into_owned(),
        };
        let schema = text(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation)));
        let table = text(pg_sys::get_rel_name(relation));
        (schema, table)
    }
}

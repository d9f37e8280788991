//! What a table's constraints and indexes say of the fields: for which of them it can refuse a value, and for which it
//! has. Read from what Postgres keeps of a relation anyway: no statement is run for it.

use crate::pg::sys::relation;
use leadlex_domain::sqlstate;
use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

use crate::pg::sys::spi::{About, Caught};
use crate::pg::table::catalog;
use crate::pg::table::catalog::Column;
use crate::pg::table::{Binding, Plans, StatusWrite};
use leadlex_domain::fields::{Field, FieldMap, FieldSet};

/// Where Postgres itself raises what a constraint refuses. The same SQLSTATE out of another file is what a user's function
/// raises, whatever constraint it names.
const RAISED_IN: [&str; 8] = [
    "execMain.c",
    "execIndexing.c",
    "execPartition.c",
    "execExprInterp.c",
    "domains.c",
    "nbtinsert.c",
    "nbtutils.c",
    "ri_triggers.c",
];

const NOT_NULL: &str = sqlstate::NOT_NULL_VIOLATION;
const FOREIGN_KEY: &str = sqlstate::FOREIGN_KEY_VIOLATION;
const UNIQUE: &str = sqlstate::UNIQUE_VIOLATION;
const CHECK: &str = sqlstate::CHECK_VIOLATION;
const EXCLUSION: &str = sqlstate::EXCLUSION_VIOLATION;
/// What an index cannot hold, too.
const TOO_LARGE: &str = sqlstate::PROGRAM_LIMIT_EXCEEDED;

/// Values that are shorter than this all together fit into every index.
const SHORT_BYTES: usize = 1_000;

/// Columns of a constraint, by their numbers.
struct Columns {
    keys: Vec<i32>,
    /// Of the condition of a partial index: what is left out for it only where no key was written.
    condition: Vec<i32>,
}

struct ForeignKey {
    oid: pg_sys::Oid,
    referenced: pg_sys::Oid,
    keys: Vec<i32>,
    referenced_keys: Vec<i32>,
}

/// A relation that is open for as long as this lives, and locked until the transaction ends.
struct Open(pg_sys::Relation);

impl Open {
    fn of(relation: pg_sys::Oid) -> Open {
        // SAFETY: raises where it is gone.
        Open(unsafe { pg_sys::relation_open(relation, pg_sys::AccessShareLock as i32) })
    }

    fn id(&self) -> pg_sys::Oid {
        // SAFETY: open.
        unsafe { (*self.0).rd_id }
    }

    /// Partitions and children can have constraints of their own.
    fn has_company(&self) -> bool {
        // SAFETY: open.
        let row = unsafe { &*(*self.0).rd_rel };
        row.relhassubclass || row.relispartition || row.relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
    }

    /// Whether a trigger can take away what was to be written.
    fn has_trigger_before_update(&self) -> bool {
        // SAFETY: open; it has triggers, or null.
        unsafe { (*self.0).trigdesc.as_ref() }.is_some_and(|triggers| triggers.trig_update_before_row)
    }

    fn constraints(&self) -> Option<&pg_sys::TupleConstr> {
        // SAFETY: open and locked, so its descriptor stays; null where it has none.
        unsafe { (*(*self.0).rd_att).constr.as_ref() }
    }

    fn checks(&self) -> Vec<(String, Columns)> {
        let Some(constraints) = self.constraints() else { return Vec::new() };
        // SAFETY: as many checks as counted, with name and expression.
        let read = |at| unsafe {
            let check = &*constraints.check.add(at);
            let keys = columns_of(pg_sys::stringToNode(check.ccbin).cast());
            (text(check.ccname), Columns { keys, condition: Vec::new() })
        };
        (0..usize::from(constraints.num_check)).map(read).collect()
    }

    /// Columns that a generated one is computed from.
    fn sources(&self, column: i32) -> Vec<i32> {
        let Some(constraints) = self.constraints() else { return Vec::new() };
        // SAFETY: an existing column; as many defaults as counted.
        unsafe {
            if pg_sys::get_attgenerated(self.id(), column as i16) == 0 {
                return Vec::new();
            }
            let defaults = (0..usize::from(constraints.num_defval)).map(|at| &*constraints.defval.add(at));
            defaults
                .filter(|default| i32::from(default.adnum) == column)
                .flat_map(|default| columns_of(pg_sys::stringToNode(default.adbin).cast()))
                .collect()
        }
    }

    /// With them, whether a row can be refused whatever its size.
    fn indexes(&self) -> Vec<(String, bool, Columns)> {
        // SAFETY: a list of its own of the indexes of an open relation.
        let oids = unsafe { pgrx::PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(self.0)) };
        oids.iter_oid().map(|oid| index(&Open::of(oid))).collect()
    }

    fn foreign_keys(&self) -> Vec<ForeignKey> {
        // SAFETY: the list belongs to the cache: copied before anything else is looked up.
        unsafe {
            let list =
                pgrx::PgList::<pg_sys::ForeignKeyCacheInfo>::from_pg(pg_sys::RelationGetFKeyList(self.0));
            let numbers =
                |keys: &[i16], count: i32| keys.iter().take(count as usize).copied().map(i32::from).collect();
            let read = |key: *mut pg_sys::ForeignKeyCacheInfo| ForeignKey {
                oid: (*key).conoid,
                referenced: (*key).confrelid,
                keys: numbers(&(*key).conkey, (*key).nkeys),
                referenced_keys: numbers(&(*key).confkey, (*key).nkeys),
            };
            list.iter_ptr().map(read).collect()
        }
    }

    /// Columns that a constraint is about, but for NOT NULL.
    fn constrained(&self) -> Vec<i32> {
        let mut columns: Vec<i32> = self.checks().into_iter().flat_map(|(_, columns)| columns.keys).collect();
        for (_, _, index) in self.indexes().into_iter().filter(|(_, refuses, _)| *refuses) {
            columns.extend(index.keys.into_iter().chain(index.condition));
        }
        columns.extend(self.foreign_keys().into_iter().flat_map(|key| key.keys));
        columns
    }

    /// What the constraint or index of this name is about, which raised this SQLSTATE.
    fn columns_of(&self, name: &str, state: &str) -> Option<Columns> {
        match state {
            CHECK => self.checks().into_iter().find(|(known, _)| known == name).map(|(_, columns)| columns),
            FOREIGN_KEY => {
                named(self.foreign_keys(), name).map(|key| Columns { keys: key.keys, condition: Vec::new() })
            }
            _ => self.indexes().into_iter().find(|(known, ..)| known == name).map(|(_, _, columns)| columns),
        }
    }

    /// The names of these columns, and of those that they are computed from; `None` for the whole row.
    fn names(&self, columns: &[i32]) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for column in columns.iter().flat_map(|column| {
            let sources = if *column > 0 { self.sources(*column) } else { Vec::new() };
            std::iter::once(*column).chain(sources)
        }) {
            if column == 0 {
                return None;
            }
            // SAFETY: a catalog look-up; null where there is no such column.
            let name = unsafe { pg_sys::get_attname(self.id(), column as i16, true) };
            if column > 0 && !name.is_null() {
                // SAFETY: a palloc'd name.
                names.push(unsafe { text(name) });
            }
        }
        Some(names)
    }

    /// The table that it is a partition of, and so on, with itself.
    fn with_ancestors(&self) -> Vec<pg_sys::Oid> {
        // SAFETY: catalog look-ups of an existing relation.
        let ancestors = unsafe {
            match (*(*self.0).rd_rel).relispartition {
                true => pg_sys::get_partition_ancestors(self.id()),
                false => std::ptr::null_mut(),
            }
        };
        // SAFETY: a list of its own, or none.
        let ancestors = unsafe { pgrx::PgList::<pg_sys::Oid>::from_pg(ancestors) };
        std::iter::once(self.id()).chain(ancestors.iter_oid()).collect()
    }

    /// Whether the rows are spread over partitions by this column.
    fn is_partitioned_by(&self, column: i32) -> bool {
        // SAFETY: an open relation, and an existing column of it.
        unsafe {
            let member = pg_sys::bms_make_singleton(column - pg_sys::FirstLowInvalidHeapAttributeNumber);
            (*(*self.0).rd_rel).relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
                && pg_sys::has_partition_attrs(self.0, member, std::ptr::null_mut())
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // While an error unwinds nothing may raise another: the abort closes it.
        if !std::thread::panicking() {
            // SAFETY: opened by `of`, not used after.
            unsafe { pg_sys::relation_close(self.0, pg_sys::NoLock as i32) };
        }
    }
}

fn index(index: &Open) -> (String, bool, Columns) {
    // SAFETY: an open index has a row in pg_index with as many columns as counted; what the callees return is a copy.
    unsafe {
        let row = &*(*index.0).rd_index;
        let plain = row.indkey.values.as_slice(usize::from(row.indnkeyatts as u16));
        let mut keys: Vec<i32> = plain.iter().map(|key| i32::from(*key)).filter(|key| *key != 0).collect();
        keys.extend(columns_of(pg_sys::RelationGetIndexExpressions(index.0).cast()));
        let condition = columns_of(pg_sys::RelationGetIndexPredicate(index.0).cast());
        let refuses = row.indisunique || row.indisexclusion;
        (text((*(*index.0).rd_rel).relname.data.as_ptr()), refuses, Columns { keys, condition })
    }
}

/// The columns of the only table of an expression; 0 is the whole row.
///
/// # Safety
/// An expression over one table, or null.
unsafe fn columns_of(expression: *mut pg_sys::Node) -> Vec<i32> {
    // SAFETY: as promised by the caller; an empty set is null.
    unsafe {
        let mut set: *mut pg_sys::Bitmapset = std::ptr::null_mut();
        pg_sys::pull_varattnos(expression, 1, &mut set);
        let (mut columns, mut member) = (Vec::new(), -1);
        loop {
            member = pg_sys::bms_next_member(set, member);
            if member < 0 {
                return columns;
            }
            columns.push(member + pg_sys::FirstLowInvalidHeapAttributeNumber);
        }
    }
}

/// # Safety
/// NUL-terminated.
unsafe fn text(name: *const c_char) -> String {
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

impl Plans {
    /// Whether the table could refuse one of these values. What a type refuses is found out before, see `fit`.
    pub fn may_refuse(&self, binding: &Binding, changes: &FieldMap<String>, status: StatusWrite) -> bool {
        if binding.may_refuse_status(status) {
            return true;
        }
        let guarded = *self.guarded.get_or_init(|| binding.guarded(&self.fields));
        let bytes: usize = changes.iter().map(|(_, value)| value.len()).sum();
        bytes > SHORT_BYTES || !guarded.intersect(changes.fields()).is_empty()
    }
}

impl Binding {
    /// The fields that a constraint is about, as far as an enrichment can run into it.
    fn guarded(&self, fields: &[(Field, Column)]) -> FieldSet {
        let Some(relation) = self.relation else { return FieldSet::EMPTY };
        let table = Open::of(relation);
        if table.has_company() {
            return self.fields();
        }
        // An enrichment writes no NULL.
        let filled = |(_, column): &&(Field, Column)| column.not_null && table.has_trigger_before_update();
        let filled = fields.iter().filter(filled).map(|(field, _)| *field).collect();
        self.fields_of(&table, &table.constrained()).union(filled)
    }

    /// Whether the table could refuse what a row is to say of its enrichment.
    pub fn may_refuse_status(&self, status: StatusWrite) -> bool {
        if status.is_nothing() {
            return false;
        }
        let plans = self.plans();
        let known = || *plans.status.guarded.get_or_init(|| self.guards_status(&plans.status.columns));
        known() || self.hides_rows()
    }

    /// Whether an enrichment can run into a constraint about what a row says of it in these columns.
    fn guards_status(&self, columns: &[Column]) -> bool {
        let Some(relation) = self.relation else { return false };
        let table = Open::of(relation);
        let filled = |column: &Column| column.not_null && table.has_trigger_before_update();
        let of_domain = |column: &Column| column.type_oid != column.base_type;
        table.has_company()
            || columns.iter().any(|column| of_domain(column) || filled(column))
            || self.is_status_among(&table, &table.constrained())
    }

    /// Whether an error of a write can be about what the row was to say of it, alone or together with fields. What a policy
    /// lets through can depend on any column.
    pub fn is_about_status(&self, caught: &Caught) -> bool {
        let (about, state) = (&caught.about, caught.sqlstate.as_str());
        match (state, about.file.as_deref()) {
            (sqlstate::INSUFFICIENT_PRIVILEGE, file) => return file == Some("execMain.c"),
            (sqlstate::STRING_DATA_RIGHT_TRUNCATION, file) => return file == Some("varchar.c"),
            (_, file) if !is_by_postgres(file, state) => return false,
            _ => {}
        }
        let (Some(schema), Some(table)) = (&about.schema, &about.table) else {
            return self.plans().status.columns.iter().any(|column| is_of_domain(column, about));
        };
        let Some(relation) = relation::relation_named(schema, table) else { return false };
        // SAFETY: in a transaction; the relation exists.
        let part = |ours| relation == ours || unsafe { catalog::is_part(relation, ours) };
        if !self.relation.is_some_and(part) {
            return false;
        }
        let table = Open::of(relation);
        match (&about.column, &about.constraint) {
            (Some(column), _) => self.is_status_column(column),
            (None, Some(name)) => table.columns_of(name, state).is_some_and(|Columns { keys, condition }| {
                [keys, condition].iter().any(|columns| self.is_status_among(&table, columns))
            }),
            (None, None) => {
                let plans = self.plans();
                let divides = |table: &Open| {
                    let mut columns = plans.status.columns.iter();
                    columns.any(|column| table.is_partitioned_by(number(table.id(), &column.name)))
                };
                table.with_ancestors().into_iter().any(|table| divides(&Open::of(table)))
            }
        }
    }

    fn is_status_among(&self, table: &Open, columns: &[i32]) -> bool {
        table.names(columns).is_none_or(|names| names.iter().any(|name| self.is_status_column(name)))
    }

    /// The fields among `changes` that an error of their write is about; none where it is not about what was written.
    pub fn concerned(&self, caught: &Caught, changes: &FieldMap<String>) -> FieldSet {
        let fields = self.of_error(caught, changes.fields());
        if caught.sqlstate != TOO_LARGE {
            return fields;
        }
        let length = |field: &Field| changes.get(*field).map_or(0, String::len);
        fields.iter().max_by_key(length).into_iter().collect()
    }

    fn of_error(&self, caught: &Caught, written: FieldSet) -> FieldSet {
        let (about, state) = (&caught.about, caught.sqlstate.as_str());
        let by_postgres = is_by_postgres(about.file.as_deref(), state);
        let Some(ours) = self.relation.filter(|_| by_postgres) else { return FieldSet::EMPTY };
        let (Some(schema), Some(table)) = (&about.schema, &about.table) else {
            return self.of_domain(about).intersect(written);
        };
        let Some(relation) = relation::relation_named(schema, table) else { return FieldSet::EMPTY };
        // SAFETY: in a transaction; the relation exists.
        let is_ours = |relation| relation == ours || unsafe { catalog::is_part(relation, ours) };
        let table = Open::of(relation);
        match (is_ours(relation), &about.column, &about.constraint) {
            (false, _, Some(constraint)) if state == FOREIGN_KEY => {
                let key = named(table.foreign_keys(), constraint).filter(|key| is_ours(key.referenced));
                let fields = key.map(|key| self.fields_of(&Open::of(key.referenced), &key.referenced_keys));
                fields.unwrap_or(FieldSet::EMPTY).intersect(written)
            }
            (false, ..) => FieldSet::EMPTY,
            (true, Some(column), _) => self.fields_of(&table, &[number(relation, column)]).intersect(written),
            (true, None, Some(constraint)) => self.of_constraint(&table, constraint, state, written),
            (true, None, None) => self.of_partitioning(&table, written),
        }
    }

    fn of_constraint(&self, table: &Open, name: &str, state: &str, written: FieldSet) -> FieldSet {
        let Some(Columns { keys, condition }) = table.columns_of(name, state) else { return FieldSet::EMPTY };
        let keys = self.fields_of(table, &keys).intersect(written);
        if keys.is_empty() { self.fields_of(table, &condition).intersect(written) } else { keys }
    }

    /// No partition takes the row, or not this one.
    fn of_partitioning(&self, table: &Open, written: FieldSet) -> FieldSet {
        let tables: Vec<Open> = table.with_ancestors().into_iter().map(Open::of).collect();
        let decides = |field: &Field| {
            let column = &self.columns[field.name()];
            tables.iter().any(|table| table.is_partitioned_by(number(table.id(), column)))
        };
        written.iter().filter(decides).collect()
    }

    /// Fields whose columns are of the domain that an error names.
    fn of_domain(&self, about: &About) -> FieldSet {
        let plans = self.plans();
        let of_it = plans.fields.iter().filter(|(_, column)| is_of_domain(column, about));
        of_it.map(|(field, _)| *field).collect()
    }

    /// The fields whose columns these are, or are computed from.
    fn fields_of(&self, table: &Open, columns: &[i32]) -> FieldSet {
        let Some(names) = table.names(columns) else { return self.fields() };
        let is_among =
            |field: &Field| self.columns.get(field.name()).is_some_and(|theirs| names.contains(theirs));
        Field::all().filter(is_among).collect()
    }
}

/// Whether Postgres itself has raised this SQLSTATE for what a constraint refuses.
fn is_by_postgres(file: Option<&str>, state: &str) -> bool {
    let known = [NOT_NULL, FOREIGN_KEY, UNIQUE, CHECK, EXCLUSION, TOO_LARGE].contains(&state);
    known && file.is_some_and(|file| RAISED_IN.contains(&file))
}

/// Whether the column is of the domain that an error names.
fn is_of_domain(column: &Column, about: &About) -> bool {
    let (Some(schema), Some(datatype)) = (&about.schema, &about.datatype) else { return false };
    column.type_name == format!("{}.{}", catalog::plain(schema), catalog::plain(datatype))
}

/// The foreign key with this name.
fn named(keys: Vec<ForeignKey>, name: &str) -> Option<ForeignKey> {
    keys.into_iter().find(|key| {
        // SAFETY: a catalog look-up; palloc'd, or null.
        let known = unsafe { pg_sys::get_constraint_name(key.oid) };
        // SAFETY: as above.
        !known.is_null() && unsafe { text(known) } == name
    })
}

/// Of a column, 0 where there is none of that name.
fn number(relation: pg_sys::Oid, column: &str) -> i32 {
    let name = std::ffi::CString::new(column).unwrap_or_default();
    // SAFETY: a catalog look-up by a NUL-terminated name.
    i32::from(unsafe { pg_sys::get_attnum(relation, name.as_ptr()) })
}

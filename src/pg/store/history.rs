//! The history, to take something of it back.

use std::collections::BTreeMap;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;
use serde_json::Value;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::sys::row::{boolean, number, optional, pg, text, texts, uuid};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg, name_arg, texts_arg};
use leadlex_domain::fields::{Field, FieldMap, FieldSet};
use leadlex_domain::hash::Hash;

/// A contact with something in the history: by table and key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whose {
    pub workspace: Uuid,
    pub schema: String,
    pub table: String,
    pub contact: String,
}

/// One enrichment.
#[derive(Clone, Debug)]
pub struct Written {
    pub whose: Whose,
    pub request_id: Uuid,
    /// Epoch microseconds.
    pub at: i64,
    pub fields: FieldSet,
    /// Taken back before.
    pub reverted: FieldSet,
    /// When each of these was, in epoch microseconds.
    pub reverted_at: FieldMap<i64>,
    /// See [`leadlex_domain::undone::identity`].
    pub identity: Option<Hash>,
    source: String,
    sources: Value,
    old: Value,
    new: Value,
    offered: Value,
}

impl Written {
    /// The provider that supplied the field.
    pub fn source(&self, field: Field) -> &str {
        self.sources[field.name()]["source"].as_str().unwrap_or(&self.source)
    }

    /// What stood in the field before.
    pub fn before(&self, field: Field) -> Option<&str> {
        self.old[field.name()].as_str()
    }

    /// What stood in the field afterwards.
    pub fn after(&self, field: Field) -> Option<&str> {
        self.new[field.name()].as_str()
    }

    /// What the provider answered.
    pub fn offered(&self, field: Field) -> Option<&str> {
        self.offered[field.name()].as_str().or_else(|| self.after(field))
    }
}

/// The columns of [`Written`], of e.
macro_rules! columns {
    () => {
        "e.workspace_id, e.schema_name, e.table_name, e.contact_id, e.request_id,
            (EXTRACT(epoch FROM e.created_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
            pg_catalog.to_json(e.fields_updated), e.reverted_at IS NOT NULL, pg_catalog.to_json(e.reverted_fields), e.identity,
            e.source, e.field_sources, e.old_values, e.new_values, e.offered,
            (EXTRACT(epoch FROM e.reverted_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8, pg_catalog.to_json(e.reverted_times)"
    };
}

fn written(row: &Row) -> Written {
    let named = |at| texts(row, at).iter().filter_map(|name| Field::parse(name)).collect::<FieldSet>();
    let json = |at| optional(row, at).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let fields = named(6);
    let reverted = match (boolean(row, 7), optional(row, 8)) {
        (false, _) => FieldSet::EMPTY,
        (true, None) => fields,
        (true, Some(_)) => named(8),
    };
    Written {
        whose: Whose {
            workspace: uuid(row, 0),
            schema: text(row, 1),
            table: text(row, 2),
            contact: text(row, 3),
        },
        request_id: uuid(row, 4),
        at: number(row, 5),
        fields,
        reverted,
        reverted_at: times(reverted, &texts(row, 8), &json(16), number(row, 15)),
        identity: optional(row, 9).map(|_| uuid(row, 9).into_bytes()),
        source: text(row, 10),
        sources: json(11),
        old: json(12),
        new: json(13),
        offered: json(14),
    }
}

static ONE: Statement = Statement::new(concat!(
    "SELECT ",
    columns!(),
    "
     FROM leadlex.enrichment AS e
     WHERE e.workspace_id OPERATOR(pg_catalog.=) ANY ($1) AND e.request_id OPERATOR(pg_catalog.=) $2"
));

/// The enrichment of this request in one of these workspaces.
pub fn one(workspaces: &[Uuid], request_id: Uuid) -> Option<Written> {
    as_owner(|| ONE.row(View::Latest, &[workspaces_arg(workspaces), arg(pg(request_id))]))
        .map(|row| written(&row))
}

fn workspaces_arg(workspaces: &[Uuid]) -> Arg {
    arg(workspaces.iter().map(|id| pg(*id)).collect::<Vec<_>>())
}

// The index of contacts would be read from end to end.
static OF_PROVIDER: Statement = Statement::new(
    "SELECT e.workspace_id, e.schema_name, e.table_name, e.contact_id
     FROM leadlex.enrichment AS e
     WHERE e.workspace_id OPERATOR(pg_catalog.=) ANY ($1)
       AND e.created_at OPERATOR(pg_catalog.>=) $2 AND ($3 IS NULL OR e.created_at OPERATOR(pg_catalog.<) $3)
       AND ($6 IS NULL OR e.schema_name OPERATOR(pg_catalog.=) $6 AND e.table_name OPERATOR(pg_catalog.=) $7)
       AND EXISTS (
           SELECT FROM pg_catalog.unnest(e.fields_updated) AS f(field)
           WHERE f.field OPERATOR(pg_catalog.=) ANY ($5)
             AND coalesce(e.field_sources OPERATOR(pg_catalog.->) f.field OPERATOR(pg_catalog.->>) 'source', e.source) OPERATOR(pg_catalog.=) $4
             AND (e.reverted_at IS NULL OR NOT f.field OPERATOR(pg_catalog.=) ANY (coalesce(e.reverted_fields, e.fields_updated))))
     GROUP BY 1, 2, 3, 4",
);

/// Which writes are meant.
pub struct Wanted<'a> {
    pub workspaces: &'a [Uuid],
    pub provider: &'a str,
    pub since: TimestampWithTimeZone,
    /// Exclusive.
    pub until: Option<TimestampWithTimeZone>,
    pub fields: FieldSet,
    /// Schema and name of the only table.
    pub table: Option<(&'a str, &'a str)>,
}

/// Contacts of which a provider wrote one of the fields, where that was not taken back yet; in the order of workspace, table and
/// key.
pub fn of_provider(wanted: &Wanted<'_>) -> Vec<Whose> {
    let name = |name: Option<&str>| match name {
        Some(name) => name_arg(name),
        None => Arg { kind: pg_sys::NAMEOID, value: None },
    };
    let args = [
        workspaces_arg(wanted.workspaces),
        arg(wanted.since),
        arg(wanted.until),
        arg(wanted.provider),
        texts_arg(&wanted.fields.names()),
        name(wanted.table.map(|(schema, _)| schema)),
        name(wanted.table.map(|(_, table)| table)),
    ];
    let read = |row: &Row| Whose {
        workspace: uuid(row, 0),
        schema: text(row, 1),
        table: text(row, 2),
        contact: text(row, 3),
    };
    let mut found: Vec<Whose> =
        as_owner(|| OF_PROVIDER.query(View::Latest, &args)).iter().map(read).collect();
    found.sort();
    found
}

static KNOWS: Statement = Statement::new(
    "SELECT EXISTS (
         SELECT FROM leadlex.enrichment AS e, pg_catalog.unnest(e.fields_updated) AS f(field)
         WHERE e.workspace_id OPERATOR(pg_catalog.=) ANY ($1)
           AND coalesce(e.field_sources OPERATOR(pg_catalog.->) f.field OPERATOR(pg_catalog.->>) 'source', e.source) OPERATOR(pg_catalog.=) $2)",
);

/// Whether a provider of this name has ever supplied something there.
pub fn knows(workspaces: &[Uuid], provider: &str) -> bool {
    as_owner(|| KNOWS.row(View::Latest, &[workspaces_arg(workspaces), arg(provider)]))
        .is_some_and(|row| boolean(&row, 0))
}

// One look into the index for each contact.
macro_rules! of_contacts {
    ($which:literal) => {
        Statement::new(concat!(
            "SELECT ",
            columns!(),
            "
     FROM pg_catalog.unnest($4) AS c(contact_id),
          LATERAL (SELECT h.* FROM leadlex.enrichment AS h
                   WHERE h.contact_id OPERATOR(pg_catalog.=) c.contact_id AND h.workspace_id OPERATOR(pg_catalog.=) $1
                     AND h.schema_name OPERATOR(pg_catalog.=) $2 AND h.table_name OPERATOR(pg_catalog.=) $3 ",
            $which,
            ") AS e"
        ))
    };
}

static OF_CONTACTS: Statement = of_contacts!("OFFSET 0");
// A few rows of each: calls look, whatever stands in the history.
static LATEST_OF_CONTACTS: Statement = of_contacts!("ORDER BY h.created_at DESC LIMIT 16");

/// What was written into these contacts of one table last, by contact, the latest first: 16 enrichments of each at most.
pub fn latest_of_contacts(
    workspace: Uuid,
    table: (&str, &str),
    contacts: &[&str],
) -> BTreeMap<String, Vec<Written>> {
    by_contact(&LATEST_OF_CONTACTS, workspace, table, contacts)
}

/// All that was written into these contacts of one table, by contact, the latest first.
pub fn of_contacts(
    workspace: Uuid,
    table: (&str, &str),
    contacts: &[&str],
) -> BTreeMap<String, Vec<Written>> {
    by_contact(&OF_CONTACTS, workspace, table, contacts)
}

fn by_contact(
    statement: &'static Statement,
    workspace: Uuid,
    (schema, table): (&str, &str),
    contacts: &[&str],
) -> BTreeMap<String, Vec<Written>> {
    let args = [arg(pg(workspace)), name_arg(schema), name_arg(table), texts_arg(contacts)];
    let mut all: BTreeMap<String, Vec<Written>> = BTreeMap::new();
    for row in as_owner(|| statement.query(View::Latest, &args)) {
        let written = written(&row);
        all.entry(written.whose.contact.clone()).or_default().push(written);
    }
    for writes in all.values_mut() {
        writes.sort_by_key(|written| std::cmp::Reverse((written.at, written.request_id)));
    }
    all
}

/// When each of the reverted fields was: in the order of their names, or all at once.
fn times(reverted: FieldSet, names: &[String], each: &Value, at_once: i64) -> FieldMap<i64> {
    let mut times = FieldMap::default();
    for field in reverted.iter() {
        let place = names.iter().position(|name| name == field.name());
        times.set(field, place.and_then(|place| each[place].as_i64()).unwrap_or(at_once));
    }
    times
}

static MARK_REVERTED: Statement = Statement::new(
    "UPDATE leadlex.enrichment AS e
     SET reverted_at = pg_catalog.clock_timestamp(),
         reverted_fields = pg_catalog.array_cat(
             CASE WHEN e.reverted_at IS NULL THEN ARRAY[]::pg_catalog.text[] ELSE coalesce(e.reverted_fields, e.fields_updated) END,
             pg_catalog.string_to_array(n.fields, ',')),
         reverted_times = pg_catalog.array_cat(
             CASE WHEN e.reverted_at IS NULL THEN ARRAY[]::pg_catalog.int8[]
                  ELSE coalesce(e.reverted_times,
                                pg_catalog.array_fill((EXTRACT(epoch FROM e.reverted_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
                                                      ARRAY[pg_catalog.cardinality(coalesce(e.reverted_fields, e.fields_updated))])) END,
             pg_catalog.array_fill((EXTRACT(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
                                   ARRAY[pg_catalog.cardinality(pg_catalog.string_to_array(n.fields, ','))]))
     FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS n(request_id, fields)
     WHERE e.workspace_id OPERATOR(pg_catalog.=) $1 AND e.request_id OPERATOR(pg_catalog.=) n.request_id",
);

/// Notes that these fields of the enrichments were taken back.
///
/// Raises 40001: a row has changed since the transaction's one snapshot.
pub fn mark_reverted(workspace: Uuid, all: &[(Uuid, FieldSet)]) {
    if all.is_empty() {
        return;
    }
    let requests: Vec<pgrx::Uuid> = all.iter().map(|(request, _)| pg(*request)).collect();
    let fields: Vec<String> = all.iter().map(|(_, fields)| fields.names().join(",")).collect();
    as_owner(|| {
        MARK_REVERTED.run_in(View::Serialized, &[arg(pg(workspace)), arg(requests), texts_arg(&fields)])
    });
}

static OF_CONTACT: Statement = Statement::new(
    // To take a part of one back writes its row, too: by whom that one was made, its charge tells, which stays in its place until that is
    // committed.
    "SELECT CASE WHEN e.reverted_at IS NULL THEN e.xmin::pg_catalog.text
                 ELSE (SELECT q.xmin::pg_catalog.text FROM leadlex.credit_pending AS q
                       WHERE q.workspace_id OPERATOR(pg_catalog.=) e.workspace_id AND q.id OPERATOR(pg_catalog.=) e.request_id) END,
            e.request_id, f.field,
            coalesce(e.field_sources OPERATOR(pg_catalog.->) f.field OPERATOR(pg_catalog.->>) 'source', e.source), e.requested_by
     FROM leadlex.enrichment AS e, LATERAL pg_catalog.unnest(e.fields_updated) AS f(field)
     WHERE e.contact_id OPERATOR(pg_catalog.=) $3 AND e.schema_name OPERATOR(pg_catalog.=) $1 AND e.table_name OPERATOR(pg_catalog.=) $2
       AND (e.reverted_at IS NULL OR NOT f.field OPERATOR(pg_catalog.=) ANY (coalesce(e.reverted_fields, e.fields_updated)))
     ORDER BY e.created_at DESC, e.request_id DESC",
);

/// What this transaction's enrichments have written into a contact, the latest first: request, field, provider, and who called.
pub fn of_this_transaction(
    (schema, table): (&str, &str),
    contact: &str,
) -> Vec<(Uuid, String, String, String)> {
    let ours = |row: &&Row| {
        let inserted_by: u32 = text(row, 0).parse().unwrap_or_default();
        // SAFETY: looks at the transaction's own state.
        unsafe { pg_sys::TransactionIdIsCurrentTransactionId(inserted_by.into()) }
    };
    let args = [name_arg(schema), name_arg(table), arg(contact)];
    let rows = as_owner(|| OF_CONTACT.query(View::Latest, &args));
    rows.iter().filter(ours).map(|row| (uuid(row, 1), text(row, 2), text(row, 3), text(row, 4))).collect()
}

//! Binding contact tables.

use crate::pg::api::privileges;
use crate::pg::installation;
use leadlex_domain::sqlstate;
use std::collections::BTreeMap;

use pgrx::prelude::*;
use pgrx::{AnyElement, Uuid};
use serde_json::{Value, json};

use crate::pg::call::preconditions;
use crate::pg::installation::as_owner;
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::sys::raise;
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::row::{number, text};
use crate::pg::sys::spi;
use crate::pg::sys::spi::{Statement, View, arg};
use crate::pg::table;
use crate::pg::table::{Column, STATUS_COLUMNS, names, quoted};
use leadlex_domain::call_error::short;
use leadlex_domain::fields::Field;

/// The table to be bound, as the catalogs have it.
struct Relation {
    oid: pg_sys::Oid,
    schema: String,
    name: String,
}

static RELATION: Statement = Statement::new(
    "SELECT n.nspname, c.relname
     FROM pg_catalog.pg_class AS c
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid",
);

fn describe(relation: Option<pg_sys::Oid>) -> Relation {
    let oid = super::required(relation, "relation");
    let Some(row) = RELATION.row(View::Latest, &[arg(i64::from(oid.to_u32()))]) else {
        refuse(PgError {
            sqlstate: sqlstate::UNDEFINED_TABLE,
            message: format!("there is no table with oid {}", oid.to_u32()),
            detail: None,
            hint: None,
        })
    };
    Relation { oid, schema: text(&row, 0), name: text(&row, 1) }
}

impl Relation {
    fn qualified(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    fn refuse_unless_table(&self) {
        let Some(why) = table::unfit_relation(self.oid) else { return self.refuse_rule() };
        refuse(PgError {
            sqlstate: sqlstate::WRONG_OBJECT_TYPE,
            message: format!("cannot bind {}: it is {why}", self.qualified()),
            detail: None,
            hint: Some("Ordinary and partitioned tables can be bound.".into()),
        })
    }

    fn refuse_rule(&self) {
        let Some(rule) = table::rule_instead_of_update(self.oid) else { return };
        refuse(PgError {
            sqlstate: sqlstate::WRONG_OBJECT_TYPE,
            message: format!(
                "cannot bind {}: its rule {} takes the place of updates",
                self.qualified(),
                quoted(&rule)
            ),
            detail: Some("What becomes of an update could not be told.".into()),
            hint: Some("Use a trigger instead of the rule.".into()),
        })
    }
}

/// Our names to the table's: what is given, and for the rest columns of the same name.
fn mapping(relation: &Relation, given: Option<&Value>, columns: &[Column]) -> BTreeMap<String, String> {
    let mut mapped = BTreeMap::new();
    let empty = serde_json::Map::new();
    let given = match given {
        None => &empty,
        Some(Value::Object(members)) => members,
        Some(_) => {
            raise::invalid("columns must be a JSON object", "For example '{\"full_name\": \"name\"}'.")
        }
    };
    for (ours, theirs) in given {
        if !names().any(|known| known == ours) {
            raise::invalid(
                format!("columns: unknown name \"{}\"", short(ours)),
                format!("Known are {}.", names().collect::<Vec<_>>().join(", ")),
            );
        }
        match theirs {
            // Explicitly none, even where a column has this name.
            Value::Null => continue,
            Value::String(theirs) if columns.iter().any(|c| &c.name == theirs) => {
                mapped.insert(ours.clone(), theirs.clone());
            }
            Value::String(theirs) => refuse(PgError {
                sqlstate: sqlstate::UNDEFINED_COLUMN,
                message: format!(
                    "{} has no column \"{}\" (given for {ours})",
                    relation.qualified(),
                    short(theirs)
                ),
                detail: None,
                hint: Some("Column names are written as in the table, without quotes.".into()),
            }),
            _ => raise::invalid(
                format!("columns: {ours} must name a column"),
                "Pass the name as a string, or null.",
            ),
        }
    }
    for ours in names().filter(|ours| !given.contains_key(*ours)) {
        if let Some(column) = columns.iter().find(|c| c.name == ours) {
            // A column that merely has the name, but cannot be what we mean, is left alone.
            let fits = match ours {
                "workspace_id" => column.can_be_workspace(),
                _ if STATUS_COLUMNS.contains(&ours) => column.unfit_for_status(ours).is_none(),
                _ => true,
            };
            if fits {
                mapped.insert(ours.to_owned(), column.name.clone());
            }
        }
    }
    mapped
}

/// What to do about a column that cannot be `ours`.
fn instead(ours: &str, column: &Column, why: &str) -> String {
    let looked_up = column.category == 'E' || why.starts_with("it refers to");
    let leave_out = format!("leave {ours} out with '{{\"{ours}\": null}}'");
    match ours {
        "id" | "workspace_id" if column.computed => {
            format!("Make it STORED (GENERATED ALWAYS AS (…) STORED), or name another column for {ours}.")
        }
        "id" => "Name another column: columns => '{\"id\": \"contact_no\"}'.".to_owned(),
        "workspace_id" => format!("Name another column, or {leave_out}."),
        "enriched_at" => format!("Name a timestamptz column that is not generated, or {leave_out}."),
        _ if column.generated => format!("Name a column that it is computed from, or {leave_out}."),
        _ if looked_up => {
            format!("Name a text column, from which a trigger of yours can set this one, or {leave_out}.")
        }
        _ => format!("Name a text column, or {leave_out}."),
    }
}

fn check_columns(relation: &Relation, mapped: &BTreeMap<String, String>, columns: &[Column]) {
    let find = |ours: &str| columns.iter().find(|c| Some(&c.name) == mapped.get(ours));
    let wrong = |ours: &str, column: &Column, why: &str| -> ! {
        refuse(PgError {
            sqlstate: sqlstate::DATATYPE_MISMATCH,
            message: format!(
                "column {} of {} cannot be {ours}: {why}",
                quoted(&column.name),
                relation.qualified()
            ),
            detail: None,
            hint: Some(instead(ours, column, why)),
        })
    };
    let Some(id) = find("id") else {
        refuse(PgError {
            sqlstate: sqlstate::UNDEFINED_COLUMN,
            message: format!("{} has no column for id", relation.qualified()),
            detail: None,
            hint: Some("Name its key: columns => '{\"id\": \"contact_no\"}'.".into()),
        })
    };
    if table::equality(id.type_oid).is_none() {
        wrong("id", id, &format!("its type {} has no equality", id.written));
    }
    for (ours, column) in [("id", Some(id)), ("workspace_id", find("workspace_id"))] {
        if let Some((column, why)) = column.and_then(|column| Some((column, column.unfit_for_key()?))) {
            wrong(ours, column, why);
        }
    }
    if let Some(column) = find("workspace_id").filter(|c| !c.can_be_workspace()) {
        wrong("workspace_id", column, "it must be uuid or text");
    }
    for field in Field::all() {
        let Some(column) = find(field.name()) else { continue };
        if let Some(why) = column.unfit_for_field_of(relation.oid) {
            wrong(field.name(), column, &why);
        }
    }
    for ours in STATUS_COLUMNS {
        let Some(column) = find(ours) else { continue };
        if let Some(why) = column.unfit_for_status(ours) {
            wrong(ours, column, &why);
        }
    }
    if !Field::all().any(|f| mapped.contains_key(f.name())) {
        refuse(PgError {
            sqlstate: sqlstate::UNDEFINED_COLUMN,
            message: format!("{} has no column for any of the six fields", relation.qualified()),
            detail: None,
            hint: Some("Name them: columns => '{\"job_title\": \"title\", \"phone\": \"tel\"}'.".into()),
        });
    }
    refuse_twice(mapped);
}

/// What is written needs a column of its own; what a row says of its enrichment also beside what is only read.
fn refuse_twice(mapped: &BTreeMap<String, String>) {
    let fields: Vec<&String> = Field::all().filter_map(|f| mapped.get(f.name())).collect();
    let is_status = |ours: &str| STATUS_COLUMNS.contains(&ours);
    let twice = |ours: &&str| {
        let theirs = mapped.get(*ours)?;
        mapped.iter().any(|(other, column)| other != ours && column == theirs).then_some(theirs)
    };
    let of_fields = fields.iter().enumerate().find_map(|(i, c)| fields[..i].contains(c).then_some(*c));
    let of_status = names().filter(|ours| is_status(ours)).find_map(|ours| twice(&ours));
    if let Some(twice) = of_fields.or(of_status) {
        let (what, hint) = match of_fields {
            Some(_) => ("fields", "Each field needs a column of its own."),
            None => ("names", "enriched_at and enrichment_status need columns of their own."),
        };
        raise::invalid(format!("columns: \"{twice}\" is named for two {what}"), hint);
    }
}

static UNIQUE: Statement = Statement::new(
    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_index AS i
     JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
     WHERE i.indrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND i.indisunique AND i.indisvalid
       AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts OPERATOR(pg_catalog.=) 1
       AND i.indkey[0] OPERATOR(pg_catalog.=) a.attnum AND a.attname OPERATOR(pg_catalog.=) $2::pg_catalog.name",
);

fn warn_unless_unique(relation: &Relation, id: &str) {
    let arguments = [arg(i64::from(relation.oid.to_u32())), arg(id)];
    if UNIQUE.row(View::Latest, &arguments).is_none_or(|row| number(&row, 0) == 0) {
        pgrx::warning!(
            "{} has no unique index on {} alone: calls will be slow on a large table, and fail where it is not unique",
            relation.qualified(),
            quoted(id)
        );
    }
}

/// One row must not be two contacts.
fn refuse_part_of_bound(relation: &Relation) {
    let related = |other: pg_sys::Oid| {
        // SAFETY: both exist: one was found by the caller, the other by its binding.
        unsafe {
            preconditions::is_part_of(relation.oid, other) || preconditions::is_part_of(other, relation.oid)
        }
    };
    let bound = cache::bindings();
    let other = bound.iter().find(|b| b.relation().is_some_and(|oid| oid != relation.oid && related(oid)));
    if let Some(other) = other {
        refuse(PgError {
            sqlstate: sqlstate::WRONG_OBJECT_TYPE,
            message: format!(
                "cannot bind {}: it shares rows with {}, which is bound",
                relation.qualified(),
                other.name()
            ),
            detail: Some("One of them is a partition of the other, or inherits from it.".into()),
            hint: Some("Unbind the other one first with leadlex.unbind_contacts.".into()),
        });
    }
}

/// leadlex.bind_contacts(relation regclass, columns jsonb, workspace_id uuid): binds a table of contacts, or
/// changes its binding. `columns` maps our names to the table's; columns of the same name are found without
/// it. Without a workspace column all rows belong to `workspace_id`, or with NULL to the only workspace. A
/// NOTICE tells what was bound, a WARNING that the key has no unique index.
///
/// Raises 22023: `relation` is NULL, `columns` is wrong, or the workspace is unknown, missing or given twice.
/// Raises 42P01: there is no such table. 42703: a column is missing. 42804: a column has an unfit type.
/// Raises 42809: it is no table that can be bound, or shares rows with one that is bound.
/// Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn bind_contacts(relation: Option<pg_sys::Oid>, columns: Option<AnyElement>, workspace_id: Option<Uuid>) {
    cache::refresh();
    let relation = describe(relation);
    relation.refuse_unless_table();
    let columns = super::json(columns, "columns");
    let present = table::columns(relation.oid);
    let mut mapped = mapping(&relation, columns.as_ref(), &present);
    check_columns(&relation, &mapped, &present);
    let explicit = columns.as_ref().and_then(|c| c.get("workspace_id")).is_some_and(Value::is_string);
    let workspace = match (workspace_id, mapped.contains_key("workspace_id")) {
        (Some(_), true) if explicit => raise::invalid(
            "workspace_id is given both as an argument and as a column",
            "The argument is for a table whose rows all belong to one workspace.",
        ),
        (Some(id), _) => {
            mapped.remove("workspace_id");
            Some(super::known_workspace(super::plain(id)))
        }
        (None, true) => None,
        (None, false) => Some(super::workspace_or_only(None, &bind_call(&relation, columns.as_ref()))),
    };
    refuse_part_of_bound(&relation);
    warn_unless_unique(&relation, &mapped["id"]);
    config::bind(&relation.schema, &relation.name, &json!(mapped), workspace);
    let shown: Vec<String> = names()
        .filter_map(|ours| mapped.get(ours).map(|theirs| format!("{ours} = {}", quoted(theirs))))
        .collect();
    pgrx::notice!("bound {}: {}", relation.qualified(), shown.join(", "));
}

/// The call with its arguments, and a workspace.
fn bind_call(relation: &Relation, columns: Option<&Value>) -> String {
    let table = table::literal(&relation.qualified());
    let columns = columns.map_or(String::new(), |given| format!(", {}", table::literal(&given.to_string())));
    format!("bind_contacts({table}{columns}, workspace_id => 'WORKSPACE_ID')")
}

/// leadlex.unbind_contacts(relation regclass): removes the binding of a table.
///
/// Raises 22023: `relation` is NULL, or not bound. 42P01: there is no such table.
/// Raises 40001: the binding has changed since the transaction's one snapshot.
/// Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn unbind_contacts(relation: Option<pg_sys::Oid>) {
    cache::refresh();
    let relation = describe(relation);
    if !config::unbind(&relation.schema, &relation.name) {
        raise::invalid(format!("{} is not bound", relation.qualified()), "See leadlex.binding.");
    }
}

// A table of the user's, made on their behalf: it is no member of the extension.
const CONTACT_TABLE: [&str; 18] = [
    "CREATE TABLE leadlex.contact (
         id            pg_catalog.uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
         workspace_id  pg_catalog.uuid NOT NULL DEFAULT (leadlex.whoami() OPERATOR(pg_catalog.->>) 'workspace_id')::pg_catalog.uuid,
         full_name     pg_catalog.text,
         email         pg_catalog.text,
         job_title     pg_catalog.text,
         company_name  pg_catalog.text,
         linkedin_url  pg_catalog.text,
         phone         pg_catalog.text,
         location      pg_catalog.text,
         seniority     pg_catalog.text,
         created_at    pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
         updated_at    pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now())",
    "COMMENT ON TABLE leadlex.contact IS 'Contacts, made by leadlex.create_contact_table(). Yours: add columns, indexes and triggers as you like.'",
    "COMMENT ON COLUMN leadlex.contact.id IS 'the key, for enrich_contact'",
    "COMMENT ON COLUMN leadlex.contact.workspace_id IS 'whose contact; by default that of the caller'",
    "COMMENT ON COLUMN leadlex.contact.full_name IS 'identifies the contact, with company_name'",
    "COMMENT ON COLUMN leadlex.contact.email IS 'identifies the contact'",
    "COMMENT ON COLUMN leadlex.contact.job_title IS 'enriched'",
    "COMMENT ON COLUMN leadlex.contact.company_name IS 'enriched'",
    "COMMENT ON COLUMN leadlex.contact.linkedin_url IS 'enriched; identifies the contact, too'",
    "COMMENT ON COLUMN leadlex.contact.phone IS 'enriched'",
    "COMMENT ON COLUMN leadlex.contact.location IS 'enriched'",
    "COMMENT ON COLUMN leadlex.contact.seniority IS 'enriched: owner, founder, c_suite, partner, vp, head, director, manager, senior, entry, intern, or the word of the vendor'",
    "COMMENT ON COLUMN leadlex.contact.created_at IS 'when the row was made'",
    "COMMENT ON COLUMN leadlex.contact.updated_at IS 'when it last changed'",
    "CREATE INDEX contact_workspace_id ON leadlex.contact (workspace_id)",
    "CREATE TRIGGER set_updated_at BEFORE UPDATE ON leadlex.contact FOR EACH ROW EXECUTE FUNCTION leadlex.set_updated_at()",
    "ALTER TABLE leadlex.contact ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own_workspace ON leadlex.contact
         USING (workspace_id OPERATOR(pg_catalog.=) ANY ((SELECT leadlex.my_workspaces())::pg_catalog.uuid[]))",
];

/// leadlex.create_contact_table(): makes the table leadlex.contact for the extension's owner, and binds it.
///
/// Raises 42P07: it is there already. 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn create_contact_table() {
    cache::refresh();
    as_owner(|| CONTACT_TABLE.iter().for_each(|sql| spi::run_once((*sql).to_owned())));
    let mut columns: BTreeMap<&str, &str> =
        ["id", "workspace_id", "full_name", "email"].into_iter().map(|name| (name, name)).collect();
    columns.extend(Field::all().map(|field| (field.name(), field.name())));
    config::bind("leadlex", "contact", &json!(columns), None);
    as_owner(|| privileges::open_contact_table(None));
}

/// Part of a statement of ours, see `table::rls`: notes which row it is asked about, and lets none through.
#[pg_extern(sql = false)]
fn row_may_be_updated(place: Option<i64>) -> bool {
    installation::present();
    place.into_iter().for_each(table::note);
    false
}

/// Keeps leadlex.contact.updated_at.
#[pg_trigger(sql = false)]
fn set_updated_at<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, Box<dyn std::error::Error>> {
    let mut row = trigger.new().ok_or("set_updated_at is a trigger for each updated row")?.into_owned();
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    row.set_by_name("updated_at", TimestampWithTimeZone::try_from(now)?)?;
    Ok(Some(row))
}

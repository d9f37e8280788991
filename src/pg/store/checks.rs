//! When values were last confirmed, and asked about.

use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::sys::clock;
use crate::pg::sys::row::{pg, text};
use crate::pg::sys::spi::{Row, Statement, View, arg, name_arg, texts_arg};
use leadlex_domain::checks::Checks;
use leadlex_domain::fields::{Field, FieldSet};

// What no enrichment wrote is nobody's to verify.
static NOTE: Statement = Statement::new(
    "INSERT INTO leadlex.checked AS k (workspace_id, contact_id, schema_name, table_name, field, verified_at, checked_at)
     SELECT DISTINCT ON (n.contact_id, n.field) $1, n.contact_id, $2, $3, n.field,
            pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.verified OPERATOR(pg_catalog.*) interval '1 microsecond'),
            pg_catalog.timestamptz 'epoch' OPERATOR(pg_catalog.+) (n.checked OPERATOR(pg_catalog.*) interval '1 microsecond')
     FROM ROWS FROM (pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7))
         AS n(contact_id, field, verified, checked)
     WHERE EXISTS (SELECT FROM leadlex.enrichment AS e
                   WHERE e.contact_id OPERATOR(pg_catalog.=) n.contact_id AND e.workspace_id OPERATOR(pg_catalog.=) $1
                     AND e.schema_name OPERATOR(pg_catalog.=) $2 AND e.table_name OPERATOR(pg_catalog.=) $3
                     AND n.field OPERATOR(pg_catalog.=) ANY (e.fields_updated))
     ORDER BY n.contact_id, n.field
     ON CONFLICT (workspace_id, contact_id, schema_name, table_name, field) DO UPDATE
     SET verified_at = greatest(k.verified_at, EXCLUDED.verified_at), checked_at = greatest(k.checked_at, EXCLUDED.checked_at)",
);

/// Notes what calls about these contacts of one table found out.
pub fn note(workspace: Uuid, (schema, table): (&str, &str), all: &[(String, Checks)]) {
    let now = clock::now_us();
    let (mut ids, mut fields, mut verified, mut checked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (id, checks) in all {
        for field in checks.fields.iter() {
            let confirmed = checks.confirmed.get(field).map(|answered| answered.at(now));
            ids.push(id.as_str());
            fields.push(field.name());
            verified.push(confirmed.map(|at| at as f64));
            checked.push(checks.checked.at(now).max(confirmed.unwrap_or(i64::MIN)) as f64);
        }
    }
    if ids.is_empty() {
        return;
    }
    let args = [
        arg(pg(workspace)),
        name_arg(schema),
        name_arg(table),
        texts_arg(&ids),
        texts_arg(&fields),
        arg(verified),
        arg(checked),
    ];
    as_owner(|| NOTE.run_in(View::Current, &args));
}

static FORGET: Statement = Statement::new(
    "DELETE FROM leadlex.checked AS k
     USING pg_catalog.unnest($4) AS c(contact_id)
     WHERE k.workspace_id OPERATOR(pg_catalog.=) $1 AND k.contact_id OPERATOR(pg_catalog.=) c.contact_id
       AND k.schema_name OPERATOR(pg_catalog.=) $2 AND k.table_name OPERATOR(pg_catalog.=) $3
       AND ($5 IS NULL OR k.field OPERATOR(pg_catalog.=) ANY ($5))",
);

/// Forgets that of these contacts, as far as it is about these fields (`None`: all); how many values.
pub fn forget(
    workspace: Uuid,
    (schema, table): (&str, &str),
    contacts: &[&str],
    fields: Option<FieldSet>,
) -> u64 {
    let fields =
        fields.map(|fields| fields.names().iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let args = [arg(pg(workspace)), name_arg(schema), name_arg(table), texts_arg(contacts), arg(fields)];
    as_owner(|| FORGET.run_in(View::Current, &args))
}

static STALE: Statement = Statement::new(
    "SELECT e.contact_id, e.field, e.value FROM leadlex.enriched AS e
     WHERE e.workspace_id OPERATOR(pg_catalog.=) $1 AND e.schema_name OPERATOR(pg_catalog.=) $2
       AND e.table_name OPERATOR(pg_catalog.=) $3 AND e.field OPERATOR(pg_catalog.=) ANY ($4)
       AND e.checked_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) $5)
     ORDER BY e.checked_at, e.contact_id",
);

/// Values that an enrichment wrote and that were not asked about for so long: contact, field, value. The oldest first.
pub fn stale(
    workspace: Uuid,
    (schema, table): (&str, &str),
    fields: FieldSet,
    older_than: pgrx::datum::Interval,
) -> Vec<(String, Field, String)> {
    let args =
        [arg(pg(workspace)), name_arg(schema), name_arg(table), texts_arg(&fields.names()), arg(older_than)];
    let read = |row: &Row| Some((text(row, 0), Field::parse(&text(row, 1))?, text(row, 2)));
    as_owner(|| STALE.query(View::Latest, &args)).iter().filter_map(read).collect()
}

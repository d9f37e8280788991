//! What is held on a person, row by row, as it stands in our tables.

use serde_json::Value;

use crate::pg::installation::as_owner;
use crate::pg::store::receipts::Person;
use crate::pg::sys::row::{pg, text};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg};
use leadlex_domain::hash::Hash;

/// Where to look, beside the person's table, key and hash, in one workspace.
pub struct Traces {
    /// Under which receipts and tickets may be kept.
    pub questions: Vec<Hash>,
    /// The name of the contact as it is now.
    pub name: Option<Hash>,
    /// The values that providers are asked by.
    pub values: Vec<Hash>,
    /// What the person may be on the suppression list by.
    pub people: Vec<Hash>,
}

// $1 workspace, $2 schema, $3 table, $4 key, $5 person, $6 questions, $7 name, $8 values, $9 people: each statement has all.
macro_rules! rows {
    ($select:literal) => {
        Statement::new(concat!(
            "WITH given AS (
                 SELECT $1 AS workspace_id, $2::pg_catalog.name AS schema_name, $3::pg_catalog.name AS table_name, $4 AS contact_id,
                        $5 AS person, $6 AS questions, $7 AS name, $8 AS values, $9 AS people)
             ",
            $select
        ))
    };
}

static HISTORY: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(e) FROM given AS g, leadlex.enrichment AS e
     WHERE e.workspace_id OPERATOR(pg_catalog.=) $1 AND e.schema_name OPERATOR(pg_catalog.=) g.schema_name
       AND e.table_name OPERATOR(pg_catalog.=) g.table_name AND e.contact_id OPERATOR(pg_catalog.=) $4
     ORDER BY e.created_at, e.request_id"
);
static CHECKED: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(k) FROM given AS g, leadlex.checked AS k
     WHERE k.workspace_id OPERATOR(pg_catalog.=) $1 AND k.contact_id OPERATOR(pg_catalog.=) $4
       AND k.schema_name OPERATOR(pg_catalog.=) g.schema_name AND k.table_name OPERATOR(pg_catalog.=) g.table_name
     ORDER BY k.field"
);
static RECEIPTS: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('provider', p.name)
     FROM leadlex.receipt AS r LEFT JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) r.provider_id
     WHERE r.workspace_id OPERATOR(pg_catalog.=) $1
       AND (r.person OPERATOR(pg_catalog.=) $5 OR r.contact OPERATOR(pg_catalog.=) $5 OR r.question OPERATOR(pg_catalog.=) ANY ($6))
     ORDER BY r.answered_at, r.question"
);
static TICKETS: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(t) OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('provider', p.name)
     FROM leadlex.ticket AS t LEFT JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) t.provider_id
     WHERE t.workspace_id OPERATOR(pg_catalog.=) $1
       AND (t.person OPERATOR(pg_catalog.=) $5 OR t.question OPERATOR(pg_catalog.=) ANY ($6))
     ORDER BY t.submitted_at, t.question"
);
static STORED_RESULTS: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(i) FROM leadlex.idempotency AS i
     WHERE i.workspace_id OPERATOR(pg_catalog.=) $1
       AND (i.person OPERATOR(pg_catalog.=) $5
            OR i.person IS NULL AND (i.result OPERATOR(pg_catalog.#>>) '{contact,id}') OPERATOR(pg_catalog.=) $4)
     ORDER BY i.created_at, i.key"
);
// Of a set that one contact alone. The hash of the caller's key tells nothing about it.
static JOBS: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(j) FROM (
         SELECT q.workspace_id, q.id, q.schema_name, q.table_name, c.contact_id, q.role, q.authority, q.fields, q.overwrite, q.state,
                q.outcome, q.attempts, q.next_attempt_at, q.last_error, q.created_at, q.started_at, q.finished_at, q.admitted, q.charged,
                q.paid_for[c.n::pg_catalog.int4] AS paid_for, q.priority, q.settings
         FROM given AS g, leadlex.job_set AS q, pg_catalog.unnest(q.contact_ids) WITH ORDINALITY AS c(contact_id, n)
         WHERE q.workspace_id OPERATOR(pg_catalog.=) $1 AND q.schema_name OPERATOR(pg_catalog.=) g.schema_name
           AND q.table_name OPERATOR(pg_catalog.=) g.table_name AND $4 OPERATOR(pg_catalog.=) ANY (q.contact_ids)
           AND c.contact_id OPERATOR(pg_catalog.=) $4
         ORDER BY q.created_at, q.id) AS j"
);
static UNDONE: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(u) OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('provider', p.name)
     FROM leadlex.undone AS u LEFT JOIN leadlex.provider_config AS p ON p.id OPERATOR(pg_catalog.=) u.provider_id
     WHERE u.workspace_id OPERATOR(pg_catalog.=) $1 AND u.contact OPERATOR(pg_catalog.=) $5
     ORDER BY u.undone_at, u.field"
);
static OUTCOMES: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(o) FROM leadlex.outcome AS o
     WHERE o.workspace_id OPERATOR(pg_catalog.=) $1 AND o.contact OPERATOR(pg_catalog.=) $5"
);
static VALUE_NAMES: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(n) FROM leadlex.value_name AS n
     WHERE n.workspace_id OPERATOR(pg_catalog.=) $1
       AND (n.person OPERATOR(pg_catalog.=) $5
            OR n.value OPERATOR(pg_catalog.=) ANY ($8) AND n.name OPERATOR(pg_catalog.=) $7)
     ORDER BY n.seen_at, n.value"
);
static SHARED_VALUES: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(s) FROM leadlex.shared_value AS s
     WHERE s.workspace_id OPERATOR(pg_catalog.=) $1
       AND (s.value OPERATOR(pg_catalog.=) ANY ($8)
            OR s.value OPERATOR(pg_catalog.=) ANY (ARRAY(
                SELECT n.value FROM leadlex.value_name AS n
                WHERE n.workspace_id OPERATOR(pg_catalog.=) $1 AND n.person OPERATOR(pg_catalog.=) $5)))
     ORDER BY s.found_at, s.value"
);
// Also on the list of every workspace. Who put whom on the list is told of one's own; of the list for all, that it is so.
static SUPPRESSION: Statement = rows!(
    "SELECT pg_catalog.to_jsonb(s) FROM leadlex.suppression AS s
     WHERE s.workspace_id OPERATOR(pg_catalog.=) ANY (ARRAY[$1, '00000000-0000-0000-0000-000000000000']::pg_catalog.uuid[])
       AND s.person OPERATOR(pg_catalog.=) ANY ($9)
       AND (s.until IS NULL OR s.until OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())
     ORDER BY s.created_at, s.person"
);

/// What stays when the person is forgotten: the list says who is not to be asked about, and values are other people's, too.
const STAYS: [(&str, &Statement); 2] = [("shared_values", &SHARED_VALUES), ("suppression", &SUPPRESSION)];
/// Each by its name in the result of forgetting.
const ERASED: [(&str, &Statement); 9] = [
    ("history", &HISTORY),
    ("receipts", &RECEIPTS),
    ("tickets", &TICKETS),
    ("stored_results", &STORED_RESULTS),
    ("jobs", &JOBS),
    ("undone", &UNDONE),
    ("outcomes", &OUTCOMES),
    ("checked", &CHECKED),
    ("value_names", &VALUE_NAMES),
];

/// All that is held on a person in one workspace, as committed now and as this transaction has left it: rows of each kind.
pub fn held(person: &Person, traces: &Traces) -> Vec<(&'static str, Vec<Value>)> {
    ERASED
        .into_iter()
        .chain(STAYS)
        .map(|(kind, statement)| {
            let rows = as_owner(|| statement.query(View::Latest, &args(person, traces)));
            (kind, rows.iter().map(json).collect())
        })
        .collect()
}

fn json(row: &Row) -> Value {
    serde_json::from_str(&text(row, 0)).unwrap_or_default()
}

fn args(person: &Person, traces: &Traces) -> [Arg; 9] {
    let uuid = |hash: &Hash| pgrx::Uuid::from_bytes(*hash);
    let uuids = |hashes: &[Hash]| arg(hashes.iter().map(uuid).collect::<Vec<_>>());
    [
        arg(pg(person.workspace)),
        arg(person.schema),
        arg(person.table),
        arg(person.contact),
        arg(uuid(&person.hash)),
        uuids(&traces.questions),
        arg(traces.name.as_ref().map(uuid)),
        uuids(&traces.values),
        uuids(&traces.people),
    ]
}

/// The names of all kinds, in the order of [`held`].
pub fn kinds() -> impl Iterator<Item = &'static str> {
    ERASED.into_iter().chain(STAYS).map(|(kind, _)| kind)
}

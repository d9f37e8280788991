//! What becomes of the queue's rows later: people try them again or forget them, and those that were done are removed.

use std::time::Duration;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::store::job_marks;
use crate::pg::sys::row::{number, optional, pg, uuid};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg, name_arg};

/// What a job knows of providers that failed beside an owed answer, so that each for which this holds is asked at the next visit.
macro_rules! asked_at_once {
    ($which:literal) => {
        concat!(
            r#"(SELECT pg_catalog.jsonb_agg(CASE WHEN "#,
            $which,
            r#" THEN f.value OPERATOR(pg_catalog.||) '{"times": 0, "not_before": 0}'::pg_catalog.jsonb ELSE f.value END)
            FROM pg_catalog.jsonb_array_elements(j.failed_providers) AS f)"#
        )
    };
}

static RETRY: Statement = Statement::new(concat!(
    "WITH again AS (
         UPDATE leadlex.job_set AS j
         SET state = 'queued', attempts = 0, next_attempt_at = pg_catalog.clock_timestamp(), finished_at = NULL,
             -- What was given up before is asked anew.
             created_at = CASE WHEN j.state OPERATOR(pg_catalog.=) 'dead' THEN pg_catalog.clock_timestamp() ELSE j.created_at END,
             failed_providers = ",
    asked_at_once!("true"),
    "
         WHERE j.state OPERATOR(pg_catalog.=) $1 AND ($2 IS NULL OR j.workspace_id OPERATOR(pg_catalog.=) $2)
           AND ($3 IS NULL OR j.schema_name OPERATOR(pg_catalog.=) $3 AND j.table_name OPERATOR(pg_catalog.=) $4)
         RETURNING j.role, j.contacts)
     SELECT r.oid::pg_catalog.int8, pg_catalog.sum(a.contacts)::pg_catalog.int8
     FROM again AS a LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname OPERATOR(pg_catalog.=) a.role
     GROUP BY r.oid",
));

/// Jobs in this state are tried again at once: how many, and of which roles (`None`: of one that is gone).
///
/// Raises 40001: a job has changed since the transaction's one snapshot.
pub fn retry(
    state: &str,
    workspace: Option<Uuid>,
    table: Option<(&str, &str)>,
) -> Vec<(Option<pg_sys::Oid>, i64)> {
    let name = |name: Option<&str>| match name {
        Some(name) => name_arg(name),
        None => Arg { kind: pg_sys::NAMEOID, value: None },
    };
    let args = [
        arg(state),
        arg(workspace.map(pg)),
        name(table.map(|(schema, _)| schema)),
        name(table.map(|(_, table)| table)),
    ];
    let role = |row: &Row| optional(row, 0).and_then(|oid| oid.parse::<u32>().ok()).map(pg_sys::Oid::from);
    as_owner(|| RETRY.query(View::Serialized, &args)).iter().map(|row| (role(row), number(row, 1))).collect()
}

static WAKE: Statement = Statement::new(concat!(
    "WITH again AS (
         UPDATE leadlex.job_set AS j
         SET next_attempt_at = pg_catalog.clock_timestamp(), failed_providers = ",
    asked_at_once!("(f.value OPERATOR(pg_catalog.->>) 'name') OPERATOR(pg_catalog.=) $2"),
    "
         WHERE j.state OPERATOR(pg_catalog.=) 'queued' AND j.next_attempt_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
           AND (EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(j.failed_providers) AS f
                        WHERE (f.value OPERATOR(pg_catalog.->>) 'name') OPERATOR(pg_catalog.=) $2)
                OR EXISTS (SELECT FROM pg_catalog.unnest($1) AS w(words)
                           WHERE pg_catalog.strpos(j.last_error, w.words) OPERATOR(pg_catalog.>) 0))
         RETURNING j.role)
     SELECT DISTINCT r.oid::pg_catalog.int8
     FROM again AS a JOIN pg_catalog.pg_roles AS r ON r.rolname OPERATOR(pg_catalog.=) a.role",
));

/// Jobs that wait for one of these reasons, as they were told, are tried again at once: of which roles. `changed`: a provider that
/// failed beside an owed answer, and is asked again.
///
/// Raises 40001: a job has changed since the transaction's one snapshot.
pub fn wake(reasons: &[&str], changed: Option<&str>) -> Vec<pg_sys::Oid> {
    let reasons: Vec<String> = reasons.iter().map(|reason| (*reason).to_owned()).collect();
    let role = |row: &Row| pg_sys::Oid::from(number(row, 0) as u32);
    as_owner(|| WAKE.query(View::Serialized, &[arg(reasons), arg(changed)])).iter().map(role).collect()
}

// The test of a boolean keeps other indexes from being chosen.
macro_rules! of_the_contact {
    ($column:literal, $which:literal, $of:literal) => {
        concat!(
            "SELECT ",
            $column,
            " FROM leadlex.job_set AS j
     WHERE ",
            $which,
            " AND (j.schema_name OPERATOR(pg_catalog.=) $1 AND j.table_name OPERATOR(pg_catalog.=) $2
                   AND $3 OPERATOR(pg_catalog.=) ANY (j.contact_ids)",
            $of,
            ") IS TRUE"
        )
    };
}

// Each part by an index of its own: what waits by marks, as far as it has them; of what runs there is little.
macro_rules! naming_the_contact {
    ($column:literal, $of:literal) => {
        concat!(
            of_the_contact!(
                $column,
                "j.state OPERATOR(pg_catalog.=) 'queued' AND j.marks IS NOT NULL AND j.marks OPERATOR(pg_catalog.&&) $4",
                $of
            ),
            " UNION ALL ",
            of_the_contact!($column, "j.state OPERATOR(pg_catalog.=) 'queued' AND j.marks IS NULL", $of),
            " UNION ALL ",
            of_the_contact!($column, "j.state OPERATOR(pg_catalog.=) 'running'", $of),
            " UNION ALL ",
            of_the_contact!(
                $column,
                "j.state OPERATOR(pg_catalog.=) ANY (ARRAY['done', 'dead']) AND j.contact_ids OPERATOR(pg_catalog.@>) $5",
                $of
            )
        )
    };
}

static FIND: Statement =
    Statement::new(naming_the_contact!("j.id", " AND j.workspace_id OPERATOR(pg_catalog.=) $6"));
static WORKSPACES_OF: Statement = Statement::new(concat!(
    "SELECT DISTINCT f.workspace_id FROM (",
    naming_the_contact!("j.workspace_id", ""),
    ") AS f"
));
static ERASE: Statement = Statement::new(
    "UPDATE leadlex.job_set AS j
     SET contacts = n.contacts, contact_ids = n.contact_ids, places = n.places, marks = NULL,
         paid_for = CASE WHEN j.paid_for IS NOT NULL THEN n.paid_for END
     FROM (SELECT q.id, pg_catalog.count(*)::pg_catalog.int4 AS contacts, pg_catalog.array_agg(c.contact_id) AS contact_ids,
                  pg_catalog.array_agg(coalesce(q.places[c.n::pg_catalog.int4], (c.n OPERATOR(pg_catalog.-) 1)::pg_catalog.int2)) AS places,
                  pg_catalog.array_agg(q.paid_for[c.n::pg_catalog.int4]) AS paid_for
           FROM leadlex.job_set AS q, pg_catalog.unnest(q.contact_ids) WITH ORDINALITY AS c(contact_id, n)
           WHERE q.workspace_id OPERATOR(pg_catalog.=) $1 AND q.id OPERATOR(pg_catalog.=) ANY ($2)
             AND $3 OPERATOR(pg_catalog.=) ANY (q.contact_ids) AND c.contact_id OPERATOR(pg_catalog.<>) $3
           GROUP BY q.id) AS n
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) n.id
       AND $3 OPERATOR(pg_catalog.=) ANY (j.contact_ids)",
);
static ERASE_LAST: Statement = Statement::new(
    "DELETE FROM leadlex.job_set AS j
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) ANY ($2)
       AND j.contact_ids OPERATOR(pg_catalog.=) ARRAY[$3]",
);

/// Whether some row names the contact.
pub fn holds(workspace: Uuid, schema: &str, table: &str, contact: &str) -> bool {
    !find(workspace, schema, table, contact).is_empty()
}

/// The rows that name it.
fn find(workspace: Uuid, schema: &str, table: &str, contact: &str) -> Vec<pgrx::Uuid> {
    let [schema, table, id, marks, ids] = named((schema, table), contact);
    let args = [schema, table, id, marks, ids, arg(pg(workspace))];
    as_owner(|| FIND.query(View::Latest, &args)).iter().map(|row| pg(uuid(row, 0))).collect()
}

/// The workspaces of which some row names the contact.
pub fn workspaces_of(table: (&str, &str), contact: &str) -> Vec<Uuid> {
    let rows = as_owner(|| WORKSPACES_OF.query(View::Latest, &named(table, contact)));
    rows.iter().map(|row| uuid(row, 0)).collect()
}

fn named((schema, table): (&str, &str), contact: &str) -> [Arg; 5] {
    let marks = arg(job_marks::marks(&[contact]));
    [name_arg(schema), name_arg(table), arg(contact), marks, arg(vec![contact])]
}

/// Takes the contact out of every row; how many. A set that is running is waited for. What has been split meanwhile is
/// found by the next look.
pub fn erase(workspace: Uuid, schema: &str, table: &str, contact: &str) -> u64 {
    let mut erased = 0;
    loop {
        let ids = find(workspace, schema, table, contact);
        if ids.is_empty() {
            return erased;
        }
        let args = || [arg(pg(workspace)), arg(ids.clone()), arg(contact)];
        erased +=
            as_owner(|| ERASE.run_in(View::Current, &args()) + ERASE_LAST.run_in(View::Current, &args()));
        pgrx::check_for_interrupts!();
    }
}

// In small portions: a row can be large.
static PURGE: Statement = Statement::new(
    "DELETE FROM leadlex.job_set AS j
     WHERE j.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT q.ctid FROM leadlex.job_set AS q
         WHERE q.state OPERATOR(pg_catalog.=) 'done'
           AND q.finished_at OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 second'))
         LIMIT $2 FOR UPDATE SKIP LOCKED))",
);

/// Rows removed by one transaction.
pub const PURGED_AT_ONCE: u64 = 500;

/// Removes some of those that were done so long ago; how many rows.
pub fn purge(retention: Duration) -> u64 {
    as_owner(|| PURGE.run(&[arg(retention.as_secs_f64()), arg(PURGED_AT_ONCE as i64)]))
}

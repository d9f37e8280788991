//! What becomes of the queue's rows later: people try them again or forget them, and those that were done are removed.

use std::time::Duration;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::sys::row::{boolean, number, optional, pg};
use crate::pg::sys::spi::{Arg, Row, Statement, View, arg, name_arg};

static RETRY: Statement = Statement::new(
    "WITH again AS (
         UPDATE leadlex.job_set AS j
         SET state = 'queued', attempts = 0, next_attempt_at = pg_catalog.clock_timestamp(), finished_at = NULL
         WHERE j.state OPERATOR(pg_catalog.=) $1 AND ($2 IS NULL OR j.workspace_id OPERATOR(pg_catalog.=) $2)
           AND ($3 IS NULL OR j.schema_name OPERATOR(pg_catalog.=) $3 AND j.table_name OPERATOR(pg_catalog.=) $4)
         RETURNING j.role, j.contacts)
     SELECT r.oid::pg_catalog.int8, pg_catalog.sum(a.contacts)::pg_catalog.int8
     FROM again AS a LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname OPERATOR(pg_catalog.=) a.role
     GROUP BY r.oid",
);

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

static WAKE: Statement = Statement::new(
    "WITH again AS (
         UPDATE leadlex.job_set AS j
         SET next_attempt_at = pg_catalog.clock_timestamp()
         WHERE j.state OPERATOR(pg_catalog.=) 'queued' AND j.next_attempt_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
           AND EXISTS (SELECT FROM pg_catalog.unnest($1) AS w(words)
                       WHERE pg_catalog.strpos(j.last_error, w.words) OPERATOR(pg_catalog.>) 0)
         RETURNING j.role)
     SELECT DISTINCT r.oid::pg_catalog.int8
     FROM again AS a JOIN pg_catalog.pg_roles AS r ON r.rolname OPERATOR(pg_catalog.=) a.role",
);

/// Jobs that wait for one of these reasons, as they were told, are tried again at once: of which roles.
///
/// Raises 40001: a job has changed since the transaction's one snapshot.
pub fn wake(reasons: &[&str]) -> Vec<pg_sys::Oid> {
    let reasons: Vec<String> = reasons.iter().map(|reason| (*reason).to_owned()).collect();
    let role = |row: &Row| pg_sys::Oid::from(number(row, 0) as u32);
    as_owner(|| WAKE.query(View::Serialized, &[arg(reasons)])).iter().map(role).collect()
}

static HOLDS: Statement = Statement::new(
    "SELECT EXISTS (SELECT FROM leadlex.job_set AS j
                    WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.schema_name OPERATOR(pg_catalog.=) $2
                      AND j.table_name OPERATOR(pg_catalog.=) $3 AND $4 OPERATOR(pg_catalog.=) ANY (j.contact_ids))",
);
static ERASE: Statement = Statement::new(
    "UPDATE leadlex.job_set AS j
     SET contacts = n.contacts, contact_ids = n.contact_ids, places = n.places, marks = NULL,
         paid_for = CASE WHEN j.paid_for IS NOT NULL THEN n.paid_for END
     FROM (SELECT q.id, pg_catalog.count(*)::pg_catalog.int4 AS contacts, pg_catalog.array_agg(c.contact_id) AS contact_ids,
                  pg_catalog.array_agg(coalesce(q.places[c.n::pg_catalog.int4], (c.n OPERATOR(pg_catalog.-) 1)::pg_catalog.int2)) AS places,
                  pg_catalog.array_agg(q.paid_for[c.n::pg_catalog.int4]) AS paid_for
           FROM leadlex.job_set AS q, pg_catalog.unnest(q.contact_ids) WITH ORDINALITY AS c(contact_id, n)
           WHERE q.workspace_id OPERATOR(pg_catalog.=) $1 AND q.schema_name OPERATOR(pg_catalog.=) $2
             AND q.table_name OPERATOR(pg_catalog.=) $3 AND $4 OPERATOR(pg_catalog.=) ANY (q.contact_ids)
             AND c.contact_id OPERATOR(pg_catalog.<>) $4
           GROUP BY q.id) AS n
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.id OPERATOR(pg_catalog.=) n.id
       AND $4 OPERATOR(pg_catalog.=) ANY (j.contact_ids)",
);
static ERASE_LAST: Statement = Statement::new(
    "DELETE FROM leadlex.job_set AS j
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.schema_name OPERATOR(pg_catalog.=) $2
       AND j.table_name OPERATOR(pg_catalog.=) $3 AND j.contact_ids OPERATOR(pg_catalog.=) ARRAY[$4]",
);

/// Whether some row names the contact.
pub fn holds(workspace: Uuid, schema: &str, table: &str, contact: &str) -> bool {
    let args = [arg(pg(workspace)), name_arg(schema), name_arg(table), arg(contact)];
    as_owner(|| HOLDS.row(View::Latest, &args)).is_some_and(|row| boolean(&row, 0))
}

/// Takes the contact out of every row; how many. A set that is running is waited for. What has been split meanwhile is
/// found by the next look.
pub fn erase(workspace: Uuid, schema: &str, table: &str, contact: &str) -> u64 {
    let args = || [arg(pg(workspace)), name_arg(schema), name_arg(table), arg(contact)];
    let mut erased = 0;
    while holds(workspace, schema, table, contact) {
        erased +=
            as_owner(|| ERASE.run_in(View::Current, &args()) + ERASE_LAST.run_in(View::Current, &args()));
        pgrx::check_for_interrupts!();
    }
    erased
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

//! What goes with a workspace, and what keeps it from going.

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::store::spend;
use crate::pg::sys::row::{number, optional, pg, text};
use crate::pg::sys::spi::{Statement, View, arg};

static BOUND: Statement = Statement::new(
    "SELECT pg_catalog.format('%I.%I', b.schema_name, b.table_name) FROM leadlex.bound_table AS b
     WHERE b.workspace_id OPERATOR(pg_catalog.=) $1
     ORDER BY b.bound_at, b.schema_name, b.table_name",
);

/// The tables that are bound for it alone.
pub fn bound_tables(workspace: Uuid) -> Vec<String> {
    as_owner(|| BOUND.query(View::Latest, &[arg(pg(workspace))])).iter().map(|row| text(row, 0)).collect()
}

static WAITING: Statement = Statement::new(
    "SELECT coalesce(pg_catalog.sum(j.contacts), 0)::pg_catalog.int8 FROM leadlex.job_set AS j
     WHERE j.workspace_id OPERATOR(pg_catalog.=) $1 AND j.finished_at IS NULL",
);

/// How many of its jobs wait or run.
pub fn waiting_jobs(workspace: Uuid) -> i64 {
    as_owner(|| WAITING.row(View::Latest, &[arg(pg(workspace))])).map_or(0, |row| number(&row, 0))
}

static PROVIDERS: Statement = Statement::new(
    "SELECT p.name FROM leadlex.provider_config AS p WHERE p.workspace_id OPERATOR(pg_catalog.=) $1",
);
static ROLES: Statement = Statement::new(
    "SELECT r.oid::pg_catalog.int8 FROM leadlex.access AS a
     JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.role::pg_catalog.oid
     WHERE a.workspace_id OPERATOR(pg_catalog.=) $1",
);

/// Roles that are granted it.
pub fn roles(workspace: Uuid) -> Vec<pg_sys::Oid> {
    let rows = as_owner(|| ROLES.query(View::Latest, &[arg(pg(workspace))]));
    let oid = |row: &_| optional(row, 0).and_then(|oid| oid.parse::<u32>().ok()).map(pg_sys::Oid::from);
    rows.iter().filter_map(oid).collect()
}

// Keys, access, providers, tickets and shared values go by the trigger workspace_gone.
static DROP: Statement =
    Statement::new("DELETE FROM leadlex.workspace AS w WHERE w.id OPERATOR(pg_catalog.=) $1");

/// Deletes the rows of a table that are a workspace's.
macro_rules! of_workspace {
    ($table:literal) => {
        Statement::new(concat!(
            "DELETE FROM leadlex.",
            $table,
            " AS t WHERE t.workspace_id OPERATOR(pg_catalog.=) $1"
        ))
    };
}

// Not the ledger with its balance, the history, when it was checked, what was spent, and who erased what.
static REST: [Statement; 9] = [
    of_workspace!("allotment"),
    of_workspace!("budget_limit"),
    of_workspace!("idempotency"),
    of_workspace!("receipt"),
    of_workspace!("suppression"),
    of_workspace!("undone"),
    of_workspace!("outcome"),
    of_workspace!("value_name"),
    of_workspace!("job_set"),
];
static RATES: Statement =
    Statement::new("DELETE FROM leadlex.rate_use AS r WHERE r.id OPERATOR(pg_catalog.=) $1");

/// Takes a workspace away, with all that is no record of what was done; as of now, whatever the transaction's snapshot.
///
/// Raises 40001: it has changed since the transaction's one snapshot. 23503: a table was bound meanwhile.
pub fn drop(workspace: Uuid) {
    let providers: Vec<String> = as_owner(|| PROVIDERS.query(View::Latest, &[arg(pg(workspace))]))
        .iter()
        .map(|row| text(row, 0))
        .collect();
    providers.iter().for_each(|name| spend::drop_budgets(name));
    as_owner(|| {
        DROP.run_in(View::Serialized, &[arg(pg(workspace))]);
        for statement in REST.iter().chain([&RATES]) {
            statement.run_in(View::Current, &[arg(pg(workspace))]);
        }
    });
}

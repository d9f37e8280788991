//! What administrators set up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;
use serde_json::Value;
use uuid::Uuid;

use crate::pg::installation::as_owner;
use crate::pg::sys::row::{boolean, number, optional, pg, text, texts, uuid};
use crate::pg::sys::spi::{Row, Statement, View, arg};
use crate::pg::sys::{raise, role};
use crate::pg::table::Binding;
use leadlex_domain::identity::Workspace;
use leadlex_domain::rate::Limits;
use leadlex_domain::sqlstate;

// Workspaces.

static WORKSPACE: Statement = Statement::seldom(
    "SELECT w.id, w.name, w.plan, w.per_minute, w.per_day, w.has_credit_limit FROM leadlex.workspace AS w
     WHERE w.id OPERATOR(pg_catalog.=) $1",
);
// At most two: enough to tell "the only one" from "several".
static SOME_WORKSPACES: Statement = Statement::new("SELECT w.id FROM leadlex.workspace AS w LIMIT 2");
static ALL_WORKSPACES: Statement = Statement::new("SELECT w.id FROM leadlex.workspace AS w");
static ADD_WORKSPACE: Statement = Statement::new(
    "WITH added AS (
         INSERT INTO leadlex.workspace (id, name, plan, per_minute, per_day, has_credit_limit)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING RETURNING id
     )
     INSERT INTO leadlex.credit_balance (workspace_id) SELECT id FROM added",
);
static SET_LIMITS: Statement = Statement::new(
    "UPDATE leadlex.workspace AS w SET per_minute = $2, per_day = $3 WHERE w.id OPERATOR(pg_catalog.=) $1",
);

/// The workspace as committed or as this transaction left it; `None`: there is none.
pub fn workspace(id: Uuid) -> Option<Workspace> {
    let row = as_owner(|| WORKSPACE.row(View::Latest, &[arg(pg(id))]))?;
    let limit = |column| optional(&row, column).and_then(|n| n.parse().ok());
    Some(Workspace {
        id: uuid(&row, 0),
        name: text(&row, 1),
        plan: text(&row, 2),
        limits: Limits { per_minute: limit(3), per_day: limit(4) },
        has_credit_limit: boolean(&row, 5),
    })
}

static WORKSPACE_NAMED: Statement =
    Statement::new("SELECT w.id FROM leadlex.workspace AS w WHERE w.name OPERATOR(pg_catalog.=) $1");

/// The workspace of this name or id; `None`: there is none.
pub fn workspace_named(wanted: &str) -> Option<Uuid> {
    let by_name = || as_owner(|| WORKSPACE_NAMED.row(View::Latest, &[arg(wanted)])).map(|row| uuid(&row, 0));
    by_name().or_else(|| workspace(wanted.parse().ok()?).map(|found| found.id))
}

/// The ids of at most two workspaces: enough to tell none, one and several apart.
pub fn some_workspaces() -> Vec<Uuid> {
    as_owner(|| SOME_WORKSPACES.query(View::Latest, &[])).iter().map(|row| uuid(row, 0)).collect()
}

/// The ids of all workspaces, in no order.
pub fn all_workspaces() -> Vec<Uuid> {
    as_owner(|| ALL_WORKSPACES.query(View::Latest, &[])).iter().map(|row| uuid(row, 0)).collect()
}

/// Whether it was added: `false` where there is one of this name, also one that another session has just committed.
///
/// Raises 40001: the transaction's one snapshot does not show the workspace of this name.
pub fn workspace_was_added(workspace: &Workspace) -> bool {
    let limit = |l: Option<u32>| arg(l.map(|n| n as i32));
    let added = as_owner(|| {
        ADD_WORKSPACE.run(&[
            arg(pg(workspace.id)),
            arg(workspace.name.as_str()),
            arg(workspace.plan.as_str()),
            limit(workspace.limits.per_minute),
            limit(workspace.limits.per_day),
            arg(workspace.has_credit_limit),
        ])
    });
    added > 0
}

/// Raises 23505 where there is one of this name. Raises 40001 as [`workspace_was_added`].
pub fn add_workspace(workspace: &Workspace) {
    if !workspace_was_added(workspace) {
        raise::refuse(raise::PgError {
            sqlstate: sqlstate::UNIQUE_VIOLATION,
            message: format!("there is a workspace \"{}\" already", workspace.name),
            detail: None,
            hint: Some("Choose another name; leadlex.workspace has the id of the one that is there.".into()),
        });
    }
}

/// Sets requests per minute and per day; `None` is no limit. Does nothing for a workspace that is gone.
///
/// Raises 40001: it has changed since the transaction's one snapshot.
pub fn set_limits(id: Uuid, per_minute: Option<i32>, per_day: Option<i32>) {
    as_owner(|| SET_LIMITS.run_in(View::Serialized, &[arg(pg(id)), arg(per_minute), arg(per_day)]));
}

static SET_CREDIT_LIMIT: Statement = Statement::new(
    "UPDATE leadlex.workspace AS w SET has_credit_limit = $2 WHERE w.id OPERATOR(pg_catalog.=) $1",
);

/// Whether calls in this workspace need credits.
///
/// Raises 40001: it has changed since the transaction's one snapshot.
pub fn set_credit_limit(id: Uuid, has: bool) {
    as_owner(|| SET_CREDIT_LIMIT.run_in(View::Serialized, &[arg(pg(id)), arg(has)]));
}

// Keys and roles.

/// An API key as stored: of the key itself only the beginning is kept.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub prefix: String,
    pub workspace: Uuid,
    pub permissions: Vec<String>,
    /// Epoch microseconds.
    pub expires_at: Option<i64>,
    pub revoked: bool,
}

static API_KEY: Statement = Statement::seldom(
    "SELECT k.key_prefix, k.workspace_id, pg_catalog.to_json(k.permissions),
            CASE WHEN k.expires_at OPERATOR(pg_catalog.=) 'infinity' THEN NULL
                 WHEN k.expires_at OPERATOR(pg_catalog.=) '-infinity' THEN 0
                 ELSE (EXTRACT(epoch FROM k.expires_at) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 END,
            k.revoked_at IS NOT NULL
     FROM leadlex.api_key AS k WHERE k.key_hash OPERATOR(pg_catalog.=) $1",
);
static ADD_API_KEY: Statement = Statement::new(
    "INSERT INTO leadlex.api_key (key_hash, key_prefix, workspace_id, permissions, name, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6)",
);
static REVOKE_API_KEY: Statement = Statement::new(
    "UPDATE leadlex.api_key AS k SET revoked_at = pg_catalog.clock_timestamp()
     WHERE k.revoked_at IS NULL AND pg_catalog.starts_with(k.key_prefix, $1)",
);
static COUNT_API_KEYS: Statement = Statement::new(
    "SELECT pg_catalog.count(*) FROM leadlex.api_key AS k
     WHERE k.revoked_at IS NULL AND pg_catalog.starts_with(k.key_prefix, $1)",
);

/// The key with this SHA-256, also a revoked or expired one; `None`: there is none.
pub fn api_key(hash: &[u8; 32]) -> Option<ApiKey> {
    let row = as_owner(|| API_KEY.row(View::Latest, &[arg(hash.as_slice())]))?;
    Some(ApiKey {
        prefix: text(&row, 0),
        workspace: uuid(&row, 1),
        permissions: texts(&row, 2),
        expires_at: optional(&row, 3).and_then(|n| n.parse().ok()),
        revoked: boolean(&row, 4),
    })
}

/// Stores a key by its SHA-256 and its first characters. `expires_at` None: it never expires.
pub fn add_api_key(
    hash: &[u8; 32],
    prefix: &str,
    workspace: Uuid,
    permissions: &[String],
    name: Option<&str>,
    expires_at: Option<pgrx::datum::TimestampWithTimeZone>,
) {
    as_owner(|| {
        ADD_API_KEY.run(&[
            arg(hash.as_slice()),
            arg(prefix),
            arg(pg(workspace)),
            arg(permissions.to_vec()),
            arg(name),
            arg(expires_at),
        ])
    });
}

/// How many keys that are not revoked begin with `prefix`.
pub fn count_api_keys(prefix: &str) -> i64 {
    as_owner(|| COUNT_API_KEYS.row(View::Latest, &[arg(prefix)])).map_or(0, |row| number(&row, 0))
}

/// Revokes all keys that begin with `prefix`.
///
/// Raises 40001: one has changed since the transaction's one snapshot.
pub fn revoke_api_keys(prefix: &str) {
    as_owner(|| REVOKE_API_KEY.run_in(View::Serialized, &[arg(prefix)]));
}

/// A workspace that was granted to a role, with what the role may do there.
#[derive(Clone, Debug)]
pub struct Access {
    pub role: u32,
    pub workspace: Uuid,
    pub permissions: Vec<String>,
}

static ACCESS: Statement = Statement::seldom(
    "SELECT a.role::pg_catalog.oid::pg_catalog.int8, a.workspace_id, pg_catalog.to_json(a.permissions)
     FROM leadlex.access AS a
     WHERE a.role::pg_catalog.oid OPERATOR(pg_catalog.=) ANY ($1)",
);
static GRANT_ACCESS: Statement = Statement::new(
    "INSERT INTO leadlex.access AS a (workspace_id, role, permissions) VALUES ($1, $2::pg_catalog.oid::pg_catalog.regrole, $3)
     ON CONFLICT (workspace_id, role) DO UPDATE SET permissions = EXCLUDED.permissions",
);
static REVOKE_ACCESS: Statement = Statement::new(
    "DELETE FROM leadlex.access AS a
     WHERE a.workspace_id OPERATOR(pg_catalog.=) $1 AND a.role::pg_catalog.oid OPERATOR(pg_catalog.=) $2::pg_catalog.oid",
);

/// Of this role and all that it is a member of in whatever way. A role that is gone leaves its oid: that means nothing.
pub fn access_of(role: pg_sys::Oid) -> Vec<Access> {
    let roles = role::above(role);
    let read = |row: &Row| Access {
        role: number(row, 0) as u32,
        workspace: uuid(row, 1),
        permissions: texts(row, 2),
    };
    as_owner(|| ACCESS.query(View::Latest, &[arg(roles)])).iter().map(read).collect()
}

/// Grants a workspace to a role; a grant that is there gets the new permissions.
pub fn grant_access(workspace: Uuid, role: u32, permissions: &[String]) {
    as_owner(|| GRANT_ACCESS.run(&[arg(pg(workspace)), arg(i64::from(role)), arg(permissions.to_vec())]));
}

/// `false`: the role had no grant.
///
/// Raises 40001: the grant has changed since the transaction's one snapshot.
pub fn revoke_access(workspace: Uuid, role: u32) -> bool {
    as_owner(|| REVOKE_ACCESS.run_in(View::Serialized, &[arg(pg(workspace)), arg(i64::from(role))])) > 0
}

// Bound tables.

static BINDINGS: Statement = Statement::seldom(
    "SELECT b.schema_name, b.table_name, b.columns, b.workspace_id, b.triggers_on::pg_catalog.int8,
            pg_catalog.to_json(b)::pg_catalog.text
     FROM leadlex.bound_table AS b
     ORDER BY b.bound_at USING OPERATOR(pg_catalog.<), b.schema_name USING OPERATOR(pg_catalog.<),
              b.table_name USING OPERATOR(pg_catalog.<)",
);
static BINDING: Statement = Statement::new(
    "SELECT b.schema_name, b.table_name, b.columns, b.workspace_id, b.triggers_on::pg_catalog.int8,
            pg_catalog.to_json(b)::pg_catalog.text
     FROM leadlex.bound_table AS b
     WHERE b.schema_name OPERATOR(pg_catalog.=) $1::pg_catalog.name AND b.table_name OPERATOR(pg_catalog.=) $2::pg_catalog.name",
);
static BIND: Statement = Statement::new(
    "INSERT INTO leadlex.bound_table AS b (schema_name, table_name, columns, workspace_id)
     VALUES ($1::pg_catalog.name, $2::pg_catalog.name, $3, $4)
     ON CONFLICT (schema_name, table_name) 
     DO UPDATE SET columns = EXCLUDED.columns, workspace_id = EXCLUDED.workspace_id, triggers_on = NULL",
);
static UNBIND: Statement = Statement::new(
    "DELETE FROM leadlex.bound_table AS b
     WHERE b.schema_name OPERATOR(pg_catalog.=) $1::pg_catalog.name AND b.table_name OPERATOR(pg_catalog.=) $2::pg_catalog.name",
);

// Enabled triggers of ours, on whatever table.
const OURS: &str = "pg_catalog.pg_trigger AS t
     JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
     JOIN pg_catalog.pg_namespace AS f ON f.oid OPERATOR(pg_catalog.=) p.pronamespace
     WHERE t.tgenabled OPERATOR(pg_catalog.<>) 'D' AND f.nspname OPERATOR(pg_catalog.=) 'leadlex'
       AND p.proname OPERATOR(pg_catalog.=) ANY (ARRAY['enrich_on_insert', 'enqueue_on_insert']::pg_catalog.name[])
       AND t.tgrelid OPERATOR(pg_catalog.=)";

thread_local! {
    static HAS_TRIGGER: Statement =
        Statement::owned(format!("SELECT EXISTS (SELECT FROM {OURS} $1::pg_catalog.oid)"));
    // What of `triggers_on` is out of date. That a table has lost its triggers is remembered as long as it is another
    // table than the one that had them: of one's own table one drops them on purpose.
    static OUT_OF_DATE: Statement = Statement::owned(format!(
        "SELECT n.schema_name, n.table_name, CASE WHEN n.has_some THEN n.relation::pg_catalog.int8 END
         FROM (SELECT b.schema_name, b.table_name, b.triggers_on, c.oid AS relation,
                      EXISTS (SELECT FROM {OURS} c.oid) AS has_some
               FROM leadlex.bound_table AS b
               JOIN pg_catalog.pg_namespace AS s ON s.nspname OPERATOR(pg_catalog.=) b.schema_name
               JOIN pg_catalog.pg_class AS c
                 ON c.relnamespace OPERATOR(pg_catalog.=) s.oid AND c.relname OPERATOR(pg_catalog.=) b.table_name) AS n
         WHERE CASE WHEN n.has_some THEN n.triggers_on IS NULL OR n.triggers_on OPERATOR(pg_catalog.<>) n.relation
                    ELSE n.triggers_on OPERATOR(pg_catalog.=) n.relation END"
    ));
}
static REMEMBER: Statement = Statement::new(
    "UPDATE leadlex.bound_table AS b SET triggers_on = $3::pg_catalog.oid
     WHERE b.schema_name OPERATOR(pg_catalog.=) $1::pg_catalog.name AND b.table_name OPERATOR(pg_catalog.=) $2::pg_catalog.name",
);

/// Notes which bound tables have triggers of ours now.
///
/// Raises 40001: a binding has changed since the transaction's one snapshot.
pub fn remember_triggers() {
    as_owner(|| {
        for row in OUT_OF_DATE.with(|statement| statement.query(View::Latest, &[])) {
            let now = optional(&row, 2).and_then(|oid| oid.parse::<i64>().ok());
            REMEMBER.run_in(View::Serialized, &[arg(text(&row, 0)), arg(text(&row, 1)), arg(now)]);
        }
    });
}

/// The table that has the name now is another one than that which had triggers of ours, and has none.
fn lost_triggers(binding: &Binding, triggers_on: i64) -> bool {
    binding.relation().map(|relation| i64::from(relation.to_u32())).is_some_and(|relation| {
        triggers_on != 0
            && relation != triggers_on
            && HAS_TRIGGER
                .with(|statement| statement.row(View::Latest, &[arg(relation)]))
                .is_none_or(|row| !boolean(&row, 0))
    })
}

/// All bound tables, the oldest binding first; their tables may be gone. `known`: by what their rows say, those that need not be
/// looked up again.
pub fn bindings(known: &HashMap<&str, &Rc<Binding>>) -> Vec<Rc<Binding>> {
    let rows = as_owner(|| BINDINGS.query(View::Latest, &[]));
    let load = |row: &Row| match known.get(&*text(row, 5)) {
        Some(binding) => Rc::clone(binding),
        None => Rc::new(binding_of(row)),
    };
    rows.iter().map(load).collect()
}

/// The binding of this name; its table may be gone. `None`: there is none.
pub fn binding(schema: &str, table: &str) -> Option<Binding> {
    as_owner(|| BINDING.row(View::Latest, &[arg(schema), arg(table)])).as_ref().map(binding_of)
}

fn binding_of(row: &Row) -> Binding {
    let columns = serde_json::from_str(&text(row, 2)).unwrap_or_default();
    let workspace = optional(row, 3).and_then(|id| id.parse().ok());
    let mut binding = Binding::new(text(row, 0), text(row, 1), columns, workspace);
    binding.lost_triggers = lost_triggers(&binding, number(row, 4));
    binding.version = text(row, 5);
    binding
}

/// Stores a binding, or changes the one that is there. `columns` maps our names to the table's; `workspace`
/// None: a column says whose a row is.
pub fn bind(schema: &str, table: &str, columns: &Value, workspace: Option<Uuid>) {
    let columns = pgrx::JsonB(columns.clone());
    as_owner(|| BIND.run(&[arg(schema), arg(table), arg(columns), arg(workspace.map(pg))]));
    remember_triggers();
}

/// `false`: the table was not bound.
///
/// Raises 40001: the binding has changed since the transaction's one snapshot.
pub fn unbind(schema: &str, table: &str) -> bool {
    as_owner(|| UNBIND.run_in(View::Serialized, &[arg(schema), arg(table)])) > 0
}

// Providers.

static ADD_PROVIDER: Statement = Statement::new(
    "INSERT INTO leadlex.provider_config (name, id, workspace_id, preset, config, priority) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING",
);
static LOCK_PROVIDER: Statement = Statement::new(
    "SELECT FROM leadlex.provider_config AS p WHERE p.name OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE",
);
static ALTER_PROVIDER: Statement = Statement::new(
    "UPDATE leadlex.provider_config AS p
     SET config = coalesce($2, p.config), priority = coalesce($3, p.priority), enabled = coalesce($4, p.enabled),
         updated_at = pg_catalog.clock_timestamp()
     WHERE p.name OPERATOR(pg_catalog.=) $1",
);
// The secret is no parameter: those are shown by pgaudit, auto_explain and the like.
static SET_SECRET: Statement = Statement::new(
    "INSERT INTO leadlex.provider_secret AS s (name, secret) VALUES ($1, leadlex.secret_given())
     ON CONFLICT (name) DO UPDATE SET secret = EXCLUDED.secret",
);

thread_local! {
    /// What SET_SECRET stores, while it runs.
    static SECRET_KEPT_FROM_LOGS: RefCell<Option<String>> = const { RefCell::new(None) };
}
// Its secret goes with it also where no foreign key takes it away (session_replication_role = replica).
static DROP_PROVIDER: Statement = Statement::new(
    "WITH secret AS (DELETE FROM leadlex.provider_secret AS s WHERE s.name OPERATOR(pg_catalog.=) $1)
     DELETE FROM leadlex.provider_config AS p WHERE p.name OPERATOR(pg_catalog.=) $1",
);

/// Stores a provider. `workspace` None: for every workspace. A lower `priority` is asked first. `false` where there is one of this
/// name, also one that another session has just committed.
///
/// Raises 40001: the transaction's one snapshot does not show it.
pub fn add_provider(
    name: &str,
    id: Uuid,
    workspace: Option<Uuid>,
    preset: Option<&str>,
    config: &Value,
    priority: i32,
) -> bool {
    let config = pgrx::JsonB(config.clone());
    let added = as_owner(|| {
        ADD_PROVIDER.run(&[
            arg(name),
            arg(pg(id)),
            arg(workspace.map(pg)),
            arg(preset),
            arg(config),
            arg(priority),
        ])
    });
    added > 0
}

/// Until the end of the transaction nobody else changes it; `false` when there is no such provider.
pub fn lock_provider(name: &str) -> bool {
    as_owner(|| LOCK_PROVIDER.run_in(View::Current, &[arg(name)])) > 0
}

/// Changes what is given; `false` when there is no such provider.
///
/// Raises 40001: it has changed since the transaction's one snapshot.
pub fn alter_provider(
    name: &str,
    config: Option<&Value>,
    priority: Option<i32>,
    enabled: Option<bool>,
) -> bool {
    let config = config.map(|c| pgrx::JsonB(c.clone()));
    as_owner(|| {
        ALTER_PROVIDER.run_in(View::Serialized, &[arg(name), arg(config), arg(priority), arg(enabled)])
    }) > 0
}

/// Stores or replaces a provider's secret. It is no parameter of the statement, so that no log shows it.
pub fn set_secret(name: &str, secret: &str) {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            SECRET_KEPT_FROM_LOGS.set(None);
        }
    }
    SECRET_KEPT_FROM_LOGS.set(Some(secret.to_owned()));
    let _reset = Reset;
    as_owner(|| SET_SECRET.run(&[arg(name)]));
}

/// The secret that is being stored; `None` at any other time.
pub fn secret_given() -> Option<String> {
    SECRET_KEPT_FROM_LOGS.with_borrow(Clone::clone)
}

/// `false`: there is no such provider.
///
/// Raises 40001: it has changed since the transaction's one snapshot.
pub fn drop_provider(name: &str) -> bool {
    as_owner(|| DROP_PROVIDER.run_in(View::Serialized, &[arg(name)])) > 0
}

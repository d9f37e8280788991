//! Keys, access of roles, and who one is.

use crate::pg::api::privileges;
use crate::pg::sys::role;
use crate::pg::sys::row;
use leadlex_domain::sqlstate;
use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use serde_json::json;

use crate::pg::call::identity;
use crate::pg::installation;
use crate::pg::installation::as_owner;
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::sys::raise;
use crate::pg::sys::raise::PgError;
use crate::pg::sys::row::boolean;
use crate::pg::sys::spi::{Statement, View, arg};
use crate::pg::table;
use leadlex_domain::identity::{Caller, WRITE_ENRICH};

/// Characters of a key that are kept to tell keys apart.
const PREFIX: usize = 16;

/// The caller, or LX401.
///
/// Raises LX401: there is no identity. 55000: the extension is not installed, or has another version.
pub fn caller() -> Caller {
    cache::refresh();
    identity::identify()
        .unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)))
}

/// leadlex.whoami(): who the caller is, as JSON: workspace, plan, permissions, and whether by key or by role.
/// Raises LX401: there is no identity. 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn whoami() -> JsonB {
    let caller = caller();
    JsonB(json!({
        "workspace_id": caller.workspace.id,
        "workspace": caller.workspace.name,
        "plan": caller.workspace.plan,
        "via": if caller.key_prefix.is_some() { "api_key" } else { "role" },
        "key_prefix": caller.key_prefix,
        "permissions": caller.permissions,
    }))
}

/// leadlex.my_workspaces(): the workspaces whose rows the caller may read; empty for a bad key or without a
/// grant. Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn my_workspaces() -> Vec<Uuid> {
    cache::refresh();
    identity::readable().into_iter().map(row::pg).collect()
}

/// leadlex.is_administrator(): whether the caller has the rights of the extension's owner. Raises 55000: the
/// extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn is_administrator() -> bool {
    cache::refresh();
    administers()
}

/// Whether the caller has the rights of the extension's owner.
pub fn administers() -> bool {
    // SAFETY: a catalog look-up; true for superusers.
    unsafe { pg_sys::has_privs_of_role(role::caller(), installation::present().owner) }
}

fn permissions(given: Option<Vec<Option<String>>>) -> Vec<String> {
    let all = super::required(given, "permissions");
    let all: Vec<String> = all
        .into_iter()
        .map(|p| super::required(p.filter(|p| !p.trim().is_empty()), "a permission"))
        .collect();
    for unknown in all.iter().filter(|permission| *permission != WRITE_ENRICH) {
        pgrx::notice!("the permission \"{unknown}\" gives nothing here: the only one is {WRITE_ENRICH}");
    }
    all
}

/// leadlex.create_api_key(workspace_id uuid, permissions text[], expires_at timestamptz, name text): makes a
/// key and returns it. Only its hash and its first 16 characters are kept. `workspace_id` NULL is the only
/// workspace, `expires_at` NULL is never. A NOTICE tells of permissions that mean nothing.
///
/// Raises 22023: the permissions are NULL, one is empty, or the workspace is unknown.
/// Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn create_api_key(
    workspace_id: Option<Uuid>,
    permissions: Option<Vec<Option<String>>>,
    expires_at: Option<TimestampWithTimeZone>,
    name: Option<&str>,
) -> String {
    cache::refresh();
    let workspace =
        super::workspace_or_only(workspace_id.map(super::plain), "create_api_key('WORKSPACE_ID')");
    let permissions = self::permissions(permissions);
    // Twice 122 random bits from the operating system.
    let random = || uuid::Uuid::new_v4().simple().to_string();
    let key = format!("wbk_{}{}", random(), random());
    config::add_api_key(&identity::hash(&key), &key[..PREFIX], workspace, &permissions, name, expires_at);
    key
}

/// leadlex.revoke_api_key(key_prefix text): revokes the one valid key that begins like this. Only the first
/// 16 characters count, and at least 8 must be given.
///
/// Raises 22023: the prefix is NULL, too short, or not that of exactly one valid key.
/// Raises 40001: the key has changed since the transaction's one snapshot.
/// Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn revoke_api_key(key_prefix: Option<&str>) {
    cache::refresh();
    let prefix: String = super::required(key_prefix, "key_prefix").chars().take(PREFIX).collect();
    if prefix.chars().count() < 8 {
        raise::invalid("key_prefix is too short", "Give at least the first 8 characters of the key.");
    }
    match config::count_api_keys(&prefix) {
        0 => raise::invalid("no valid API key begins like this", "See key_prefix in leadlex.api_key."),
        1 => config::revoke_api_keys(&prefix),
        several => raise::invalid(
            format!("{several} API keys begin like this"),
            format!("Give more of the key: {PREFIX} characters are kept."),
        ),
    }
}

fn role_oid(role: Option<&std::ffi::CStr>) -> pg_sys::Oid {
    let role = super::required(role, "role");
    // SAFETY: raises 42704 for an unknown name.
    unsafe { pg_sys::get_role_oid(role.as_ptr(), false) }
}

static EXPLICIT: Statement = Statement::new(
    "SELECT EXISTS (
         SELECT FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a
         WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND a.privilege_type OPERATOR(pg_catalog.=) $2
           AND a.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
           AND pg_catalog.pg_has_role($3::pg_catalog.oid, a.grantee, 'USAGE'))
         OR pg_catalog.pg_has_role($3::pg_catalog.oid, CASE WHEN $2 OPERATOR(pg_catalog.=) 'SELECT' THEN 'pg_read_all_data'
             ELSE 'pg_write_all_data' END::pg_catalog.name, 'USAGE')",
);

/// For policies: what privileges would say, if each role had its own. PUBLIC's are no answer.
///
/// `privilege` is SELECT, INSERT, UPDATE or DELETE; false where an argument is NULL.
///
/// Raises 42501: the caller may read and not write. 55000: the extension is not installed, or has another
/// version.
#[pg_extern(sql = false)]
fn has_access(relation: Option<pg_sys::Oid>, privilege: Option<&str>) -> bool {
    cache::refresh();
    let (Some(relation), Some(privilege)) = (relation, privilege) else { return false };
    may(relation, privilege)
}

/// Whether the caller may do this there; 42501 for those who may read and not write.
pub fn may(relation: pg_sys::Oid, privilege: &str) -> bool {
    let reading = privilege == "SELECT";
    if identity::has_grant(!reading) {
        return true;
    }
    let arguments =
        [arg(i64::from(relation.to_u32())), arg(privilege), arg(i64::from(role::caller().to_u32()))];
    let explicit = EXPLICIT.row(View::Latest, &arguments).is_some_and(|row| boolean(&row, 0));
    // A condition is looked at row by row: an error would tell who may not read that there is one. A new row tells nothing.
    if !explicit && !reading && (privilege == "INSERT" || identity::has_grant(false)) {
        refuse(relation, privilege);
    }
    explicit
}

/// As Postgres refuses.
///
/// Raises 42501.
pub fn refuse(relation: pg_sys::Oid, privilege: &str) -> ! {
    // SAFETY: a palloc'd name, or null for a table that is gone.
    let name = unsafe { pg_sys::get_rel_name(relation) };
    // SAFETY: as above.
    let name = if name.is_null() { "" } else { &unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy() };
    raise::refuse(PgError {
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        message: format!("permission denied for table {name}"),
        detail: Some(format!("{privilege} takes a workspace that is granted with write:enrich.")),
        hint: Some("Ask for leadlex.grant_access(role, workspace_id).".into()),
    })
}

/// A call about a role that names a workspace.
fn call_for(function: &str, role: Option<&std::ffi::CStr>) -> String {
    let role = role.unwrap_or_default().to_string_lossy();
    format!("{function}({}, 'WORKSPACE_ID')", table::literal(&role))
}

/// leadlex.grant_access(role name, workspace_id uuid, permissions text[]): grants a workspace to a role, or
/// changes its permissions there. `workspace_id` NULL is the only workspace.
///
/// Raises 22023: an argument is NULL, a permission is empty, or the workspace is unknown. 42704: no such
/// role.
/// Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn grant_access(
    role: Option<&std::ffi::CStr>,
    workspace_id: Option<Uuid>,
    permissions: Option<Vec<Option<String>>>,
) {
    cache::refresh();
    let oid = role_oid(role);
    let workspace = super::workspace_or_only(workspace_id.map(super::plain), &call_for("grant_access", role));
    config::grant_access(workspace, oid.to_u32(), &self::permissions(permissions));
    cache::refresh();
    as_owner(|| privileges::open_contact_table(Some(oid)));
}

/// leadlex.revoke_access(role name, workspace_id uuid): takes a workspace from a role.
///
/// Raises 22023: the role is NULL or has no access to it, or the workspace is unknown. 42704: no such role.
/// Raises 40001: the grant has changed since the transaction's one snapshot.
/// Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn revoke_access(role: Option<&std::ffi::CStr>, workspace_id: Option<Uuid>) {
    cache::refresh();
    let oid = role_oid(role);
    let workspace =
        super::workspace_or_only(workspace_id.map(super::plain), &call_for("revoke_access", role));
    if !config::revoke_access(workspace, oid.to_u32()) {
        raise::invalid("this role has no access to this workspace", "See leadlex.access.");
    }
    cache::refresh();
    if !cache::access_of(oid).iter().any(|a| a.role == oid.to_u32()) {
        as_owner(|| privileges::take_own(oid));
    }
}

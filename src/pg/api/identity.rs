//! Keys, access of roles, and who one is.

use pgrx::prelude::*;
use pgrx::{JsonB, Uuid};
use serde_json::json;

use crate::domain::identity::{Caller, WRITE_ENRICH};
use crate::pg::owner::{self, as_owner};
use crate::pg::spi::{self, Statement, View};
use crate::pg::store::config;
use crate::pg::{cache, identity, raise, table};

/// Characters of a key that are kept to tell keys apart.
const PREFIX: usize = 16;

/// The caller, or LX401.
pub fn caller() -> Caller {
    cache::refresh();
    identity::identify()
        .unwrap_or_else(|failure| raise::failure(&failure.seen_at(uuid::Uuid::now_v7(), None)))
}

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

#[pg_extern(sql = false)]
fn my_workspaces() -> Vec<Uuid> {
    cache::refresh();
    identity::readable().into_iter().map(crate::pg::store::pg).collect()
}

#[pg_extern(sql = false)]
fn is_administrator() -> bool {
    cache::refresh();
    administers()
}

/// Whether the caller has the rights of the extension's owner.
pub fn administers() -> bool {
    // SAFETY: a catalog look-up; true for superusers.
    unsafe { pg_sys::has_privs_of_role(owner::caller(), cache::installation().owner) }
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

#[pg_extern(sql = false)]
fn create_api_key(
    workspace_id: Option<Uuid>,
    permissions: Option<Vec<Option<String>>>,
    expires_at: Option<TimestampWithTimeZone>,
    name: Option<&str>,
) -> String {
    cache::refresh();
    let workspace = super::workspace_or_only(workspace_id.map(super::plain));
    let permissions = self::permissions(permissions);
    // Twice 122 random bits from the operating system.
    let random = || uuid::Uuid::new_v4().simple().to_string();
    let key = format!("wbk_{}{}", random(), random());
    config::add_api_key(&identity::hash(&key), &key[..PREFIX], workspace, &permissions, name, expires_at);
    key
}

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

/// What a granted role may read of ours, and do with leadlex.contact.
const READABLE: &str = "leadlex.workspace, leadlex.credit_pending, leadlex.credit_settled, leadlex.credit_ledger, \
                        leadlex.enrichment, leadlex.provider";
const CONTACT: &str = "leadlex.contact";
const CONTACT_PRIVILEGES: &str = "SELECT, INSERT, UPDATE, DELETE";

static CONTACT_TABLE: Statement =
    Statement::new("SELECT pg_catalog.to_regclass('leadlex.contact') IS NOT NULL");

fn contact_table_exists() -> bool {
    CONTACT_TABLE.row(View::Latest, &[]).is_some_and(|row| crate::pg::store::boolean(&row, 0))
}

/// As the extension's owner: to write contacts is for those who may have them enriched.
pub fn give_contact_privileges(role: pg_sys::Oid) {
    let all = if writes(role) { CONTACT_PRIVILEGES } else { "SELECT" };
    spi::run_once(format!("GRANT {all} ON {CONTACT} TO {}", table::quoted(&role_name(role))));
}

/// In some workspace.
fn writes(role: pg_sys::Oid) -> bool {
    let may = |permissions: &[String]| permissions.iter().any(|permission| permission == WRITE_ENRICH);
    cache::access().iter().any(|access| access.role == role.to_u32() && may(&access.permissions))
}

#[pg_extern(sql = false)]
fn grant_access(
    role: Option<&std::ffi::CStr>,
    workspace_id: Option<Uuid>,
    permissions: Option<Vec<Option<String>>>,
) {
    cache::refresh();
    let oid = role_oid(role);
    let workspace = super::workspace_or_only(workspace_id.map(super::plain));
    let wrote = writes(oid);
    config::grant_access(workspace, oid.to_u32(), &self::permissions(permissions));
    cache::refresh();
    let name = table::quoted(&role_name(oid));
    as_owner(|| {
        spi::run_once(format!("GRANT SELECT ON {READABLE} TO {name}"));
        if contact_table_exists() {
            if wrote && !writes(oid) {
                spi::run_once(format!("REVOKE {CONTACT_PRIVILEGES} ON {CONTACT} FROM {name}"));
            }
            give_contact_privileges(oid);
        }
    });
}

#[pg_extern(sql = false)]
fn revoke_access(role: Option<&std::ffi::CStr>, workspace_id: Option<Uuid>) {
    cache::refresh();
    let oid = role_oid(role);
    let workspace = super::workspace_or_only(workspace_id.map(super::plain));
    if !config::revoke_access(workspace, oid.to_u32()) {
        raise::invalid("this role has no access to this workspace", "See leadlex.access.");
    }
    cache::refresh();
    if cache::access().iter().any(|a| a.role == oid.to_u32()) {
        return;
    }
    let name = role_name(oid);
    as_owner(|| {
        spi::run_once(format!("REVOKE SELECT ON {READABLE} FROM {}", table::quoted(&name)));
        if contact_table_exists() {
            let name = table::quoted(&name);
            spi::run_once(format!("REVOKE {CONTACT_PRIVILEGES} ON {CONTACT} FROM {name}"));
        }
    });
}

pub fn role_name(role: pg_sys::Oid) -> String {
    // SAFETY: a palloc'd name; raises for an unknown role.
    unsafe { std::ffi::CStr::from_ptr(pg_sys::GetUserNameFromId(role, false)) }.to_string_lossy().into_owned()
}

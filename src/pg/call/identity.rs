//! Who is calling: the API key where one is set, else the workspaces granted to the role.

use crate::pg::sys::clock;
use crate::pg::sys::role;
use crate::pg::table;
use std::cell::RefCell;
use std::collections::BTreeMap;

use pgrx::pg_sys;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::pg::store::{cache, config};
use crate::pg::sys::role::Memberships;
use crate::pg::sys::settings;
use leadlex_domain::call_error::{Code, Failure};
use leadlex_domain::identity::{Caller, WRITE_ENRICH, Workspace};

/// SHA-256 of an API key: what the tables keep instead of the key.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

thread_local! {
    /// Whom a worker runs a job for, instead of what the session's settings say.
    static ACTING: RefCell<Option<Caller>> = const { RefCell::new(None) };
}

/// Runs `work` for a caller whose identity has been checked: also what it calls in turn is called by that one.
pub fn acting_for<R>(caller: &Caller, work: impl FnOnce() -> R) -> R {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            ACTING.set(None);
        }
    }
    ACTING.set(Some(caller.clone()));
    let _reset = Reset;
    work()
}

/// The caller of this session: the one that a worker acts for, else that of leadlex.api_key, else that of the
/// role's grants.
///
/// Err is LX401: a bad key, no granted workspace, or several and none chosen.
pub fn identify() -> Result<Caller, Failure> {
    if let Some(caller) = ACTING.with_borrow(Option::clone) {
        return Ok(caller);
    }
    match settings::api_key() {
        Some(key) => by_hash(&hash(&key)),
        None => by_role(),
    }
}

/// The role as granted this workspace.
///
/// Err is LX401: the workspace is gone, or not granted to the role any more.
pub fn granted_in(workspace: Uuid) -> Result<Caller, Failure> {
    let no_longer = || {
        Failure::invalid_key(
            "the workspace is not granted to the role of the job",
            "Ask for leadlex.grant_access(role, workspace_id).",
        )
    };
    let permissions = granted(role::caller()).remove(&workspace).ok_or_else(no_longer)?;
    let workspace = cache::workspace(workspace).ok_or_else(no_longer)?;
    Ok(Caller { workspace, permissions, key_prefix: None })
}

/// The caller that an API key with this SHA-256 stands for.
///
/// Err is LX401: the key is unknown, revoked or expired.
pub fn by_hash(hash: &[u8; 32]) -> Result<Caller, Failure> {
    let refuse = |why: &str| {
        Err(Failure::invalid_key(
            format!("the API key is {why}"),
            "Set leadlex.api_key to a valid key; leadlex.create_api_key makes one.",
        ))
    };
    let Some(found) = cache::api_key(hash) else { return refuse("unknown") };
    if found.revoked {
        return refuse("revoked");
    }
    if found.expires_at.is_some_and(|at| at <= clock::now_us()) {
        return refuse("expired");
    }
    let Some(workspace) = cache::workspace(found.workspace) else { return refuse("unknown") };
    Ok(Caller { workspace, permissions: found.permissions, key_prefix: Some(found.prefix) })
}

/// Workspaces that the role, or a role that it may act as, was granted, each with its permissions together.
/// Being superuser is no membership.
fn granted(role: pg_sys::Oid) -> BTreeMap<Uuid, Vec<String>> {
    let mut granted: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    let memberships = Memberships::of(role);
    for access in cache::access_of(role).iter() {
        if memberships.act_as(access.role.into()) {
            granted.entry(access.workspace).or_default().extend(access.permissions.iter().cloned());
        }
    }
    granted
}

/// Whether the caller was granted some workspace, to enrich in it or to read it.
pub fn has_grant(to_enrich: bool) -> bool {
    let enrich = |permissions: &Vec<String>| permissions.iter().any(|permission| permission == WRITE_ENRICH);
    granted(role::caller()).values().any(|permissions| !to_enrich || enrich(permissions))
}

fn by_role() -> Result<Caller, Failure> {
    let mut candidates: Vec<(Workspace, Vec<String>)> = granted(role::caller())
        .into_iter()
        .filter_map(|(id, permissions)| Some((cache::workspace(id)?, permissions)))
        .collect();
    if candidates.is_empty() {
        return Err(nobody());
    }
    if let Some(wanted) = settings::workspace() {
        candidates.retain(|(w, _)| w.name == wanted || wanted.parse() == Ok(w.id));
        if candidates.is_empty() {
            return Err(Failure::invalid_key(
                format!("leadlex.workspace is \"{wanted}\", which is not granted to this role"),
                "Set leadlex.workspace to the name or id of a granted workspace, or RESET it.",
            ));
        }
    }
    if candidates.len() > 1 {
        let names: Vec<&str> = candidates.iter().map(|(w, _)| w.name.as_str()).collect();
        return Err(Failure::invalid_key(
            format!("several workspaces are granted to this role ({})", names.join(", ")),
            "Set leadlex.workspace to the one to act for.",
        ));
    }
    let (workspace, mut permissions) = candidates.swap_remove(0);
    permissions.sort();
    permissions.dedup();
    Ok(Caller { workspace, permissions, key_prefix: None })
}

/// For rows of a workspace on the authority of their table's owner: a superuser, or granted that workspace.
///
/// Err is LX401: there is no such workspace, or the owner was not granted it.
pub fn of_owner(owner: pg_sys::Oid, workspace: Uuid) -> Result<Caller, Failure> {
    let refused = |message: String| {
        Err(Failure::invalid_key(
            message,
            "Grant the workspace to the table's owner: SELECT leadlex.grant_access(role, workspace_id).",
        ))
    };
    let Some(found) = cache::workspace(workspace) else {
        return refused(format!("there is no workspace {workspace}"));
    };
    // SAFETY: a catalog look-up.
    let permissions = match unsafe { pg_sys::superuser_arg(owner) } {
        true => Some(vec![WRITE_ENRICH.to_owned()]),
        false => granted(owner).remove(&workspace),
    };
    match permissions {
        Some(permissions) => Ok(Caller { workspace: found, permissions, key_prefix: None }),
        None => refused(format!(
            "the workspace {0} is not granted to the table's owner: SELECT leadlex.grant_access({1}, '{2}'), then leadlex.retry_jobs()",
            found.name,
            table::literal(&role::name_of(owner)),
            found.id
        )),
    }
}

fn nobody() -> Failure {
    if settings::api_key_is_ignored() {
        return Failure::invalid_key(
            "leadlex.api_key was not set in this transaction, and leadlex.require_local_identity is on",
            "Set it in each transaction: SELECT set_config('leadlex.api_key', $1, true).",
        );
    }
    let role = table::literal(&role::role_name(role::caller()));
    let hint = match is_only_workspace() {
        true => format!(
            "The extension's owner runs SELECT leadlex.grant_access({role}); or set leadlex.api_key in the transaction."
        ),
        false => format!(
            "The extension's owner runs SELECT leadlex.grant_access({role}, (SELECT id FROM leadlex.workspace WHERE name = 'WORKSPACE')); or set leadlex.api_key in the transaction."
        ),
    };
    Failure::invalid_key("no API key is set and no workspace is granted to this role", hint)
}

/// Whether there is one workspace, which need not be named then.
fn is_only_workspace() -> bool {
    config::some_workspaces().len() == 1
}

/// With the statement that gives the workspace more, where it lacks credits.
pub fn with_remedy(mut failure: Failure, caller: &Caller) -> Failure {
    if failure.code == Code::InsufficientCredits {
        failure.hint = match is_only_workspace() {
            true => {
                "No provider was asked. The extension's owner grants more: SELECT leadlex.grant_credits(1000)."
                    .to_owned()
            }
            false => format!(
                "No provider was asked. The extension's owner grants more: SELECT leadlex.grant_credits((SELECT id FROM leadlex.workspace WHERE name = {}), 1000).",
                table::literal(&caller.workspace.name)
            ),
        };
    }
    failure
}

/// The workspaces whose rows the caller may read: none, rather than an error, for a bad key.
pub fn readable() -> Vec<Uuid> {
    if let Some(workspace) = ACTING.with_borrow(|acting| acting.as_ref().map(|c| c.workspace.id)) {
        return vec![workspace];
    }
    match settings::api_key() {
        Some(key) => by_hash(&hash(&key)).map(|caller| caller.workspace.id).into_iter().collect(),
        None => granted(role::caller()).into_keys().collect(),
    }
}

//! Who is calling: the API key where one is set, else the workspaces granted to the role.

use std::collections::BTreeMap;

use pgrx::pg_sys;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{accounts, cache, owner, settings};
use crate::domain::failure::Failure;
use crate::domain::identity::{Caller, Workspace};

pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

pub fn identify() -> Result<Caller, Failure> {
    match settings::api_key() {
        Some(key) => by_key(&key),
        None => by_role(),
    }
}

fn by_key(key: &str) -> Result<Caller, Failure> {
    let refuse = |why: &str| {
        Err(Failure::invalid_key(
            format!("the API key is {why}"),
            "Set leadlex.api_key to a valid key; leadlex.create_api_key makes one.",
        ))
    };
    let Some(found) = cache::api_key(&hash(key)) else { return refuse("unknown") };
    if found.revoked {
        return refuse("revoked");
    }
    if found.expires_at.is_some_and(|at| at <= accounts::now_us()) {
        return refuse("expired");
    }
    let Some(workspace) = cache::workspace(found.workspace) else { return refuse("unknown") };
    Ok(Caller { workspace, permissions: found.permissions, key_prefix: Some(found.prefix) })
}

/// Workspaces that the role, or a role it is a member of, was granted, each with its permissions together.
/// Being superuser is no membership.
fn granted() -> BTreeMap<Uuid, Vec<String>> {
    let caller = owner::caller();
    let mut granted: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for access in cache::access().iter() {
        // SAFETY: a catalog look-up.
        if unsafe { pg_sys::is_member_of_role_nosuper(caller, access.role.into()) } {
            granted.entry(access.workspace).or_default().extend(access.permissions.iter().cloned());
        }
    }
    granted
}

fn by_role() -> Result<Caller, Failure> {
    let mut candidates: Vec<(Workspace, Vec<String>)> = granted()
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

fn nobody() -> Failure {
    if settings::api_key_is_ignored() {
        return Failure::invalid_key(
            "leadlex.api_key was not set in this transaction, and leadlex.require_local_identity is on",
            "Set it in each transaction: SELECT set_config('leadlex.api_key', $1, true).",
        );
    }
    Failure::invalid_key(
        "no API key is set and no workspace is granted to this role",
        "Ask for leadlex.grant_access(role, workspace_id), or set leadlex.api_key in the transaction.",
    )
}

/// The workspaces whose rows the caller may read: none, rather than an error, for a bad key.
pub fn readable() -> Vec<Uuid> {
    match settings::api_key() {
        Some(key) => by_key(&key).map(|caller| caller.workspace.id).into_iter().collect(),
        None => granted().into_keys().collect(),
    }
}

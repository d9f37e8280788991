//! Who is calling.

use uuid::Uuid;

use super::rate::Limits;

/// The permission that a call needs.
pub const WRITE_ENRICH: &str = "write:enrich";

#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    pub id: Uuid,
    pub name: String,
    pub plan: String,
    pub limits: Limits,
    pub has_credit_limit: bool,
}

/// The identity of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pub workspace: Workspace,
    pub permissions: Vec<String>,
    /// The prefix of the API key; `None` when a granted role calls.
    pub key_prefix: Option<String>,
}

impl Caller {
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.iter().any(|p| p == permission)
    }
}

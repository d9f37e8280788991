//! Who is calling.

use uuid::Uuid;

use super::people::text::is_invisible;
use super::rate::Limits;

/// The permission that a call needs.
pub const WRITE_ENRICH: &str = "write:enrich";

/// A tenant: it has credits, rate limits and API keys of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    pub id: Uuid,
    pub name: String,
    pub plan: String,
    pub limits: Limits,
    pub has_credit_limit: bool,
}

/// Why a workspace cannot be called so: people are to know it by its name.
/// The rule that the name breaks, as a clause; `None`: the name is good.
pub fn unfit_workspace_name(name: &str) -> Option<&'static str> {
    const MOST: usize = 200;
    let joiner = |c: char| matches!(c, '\u{200c}' | '\u{200d}' | '\u{2800}');
    let unseen = |c: char| c.is_control() || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}');
    if name.chars().all(|c| c.is_whitespace() || joiner(c)) {
        return Some("must not be empty");
    }
    if name.chars().nth(MOST).is_some() {
        return Some("must not have more than 200 characters");
    }
    name.chars().any(unseen).then_some("must not have control characters or invisible marks in it")
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
    /// Whether the key or role has this permission, such as [`WRITE_ENRICH`].
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.iter().any(|p| p == permission)
    }
}

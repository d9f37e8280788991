//! Values that many people share, and count all the same.

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::call::preconditions;
use crate::pg::provider;
use crate::pg::store::cache;
use crate::pg::store::shared_values;
use crate::pg::sys::raise;
use leadlex_domain::shared::Written;

/// leadlex.allow_shared_value(value text, workspace_id uuid, allowed boolean): lets an e-mail address, a
/// LinkedIn profile or a telephone number that many people share count all the same, or takes that back. Returns whether
/// this changed anything. `workspace_id` NULL is the only workspace.
///
/// Raises 22023: `value` or `allowed` is NULL, `value` is none of these, or the workspace
/// is unknown.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
/// Raises 40001: the value has changed since the transaction's one snapshot.
#[pg_extern(sql = false)]
fn allow_shared_value(value: Option<&str>, workspace_id: Option<Uuid>, allowed: Option<bool>) -> bool {
    cache::refresh();
    preconditions::require_writable();
    let written = Written::parse(super::required(value, "value")).unwrap_or_else(|| {
        raise::invalid(
            "value is no e-mail address, LinkedIn profile or telephone number, or more than one",
            "Pass one e-mail address, one LinkedIn profile (its URL), or one telephone number of at least seven digits.",
        )
    });
    let workspace = super::workspace_or_only(
        workspace_id.map(super::plain),
        // The value may be a person's, and a HINT goes into the log.
        "allow_shared_value('VALUE', 'WORKSPACE_ID')",
    );
    let providers = cache::providers();
    let ids: Vec<uuid::Uuid> =
        providers.iter().filter(|known| provider::serves(known, workspace)).map(|known| known.id).collect();
    let values = written.values(workspace, &ids);
    let changed = match super::required(allowed, "allowed") {
        true => shared_values::allow(workspace, &values),
        false => shared_values::disallow(workspace, &values),
    };
    changed > 0
}

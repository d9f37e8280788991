//! Forgetting that a provider had nothing: after a bad night, so that its contacts are asked about again.

use crate::pg::shared::layout;
use pgrx::prelude::*;

use crate::pg::call::preconditions;
use crate::pg::store;
use crate::pg::store::cache;
use crate::pg::sys::raise;

/// leadlex.recheck(provider text, since timestamptz): forgets the answers "nothing found" that a provider
/// gave from `since` on. Returns how many were forgotten.
///
/// Raises 22023: an argument is NULL, or there is no such provider.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 55000: the worker did not write waiting answers in time; not installed, another version, not
/// preloaded.
/// Raises 53400: leadlex.max_databases is too small.
#[pg_extern(sql = false)]
fn recheck(provider: Option<&str>, since: Option<TimestampWithTimeZone>) -> i64 {
    cache::refresh();
    layout::require();
    preconditions::require_writable();
    let name = super::required(provider, "provider");
    let since = super::required(since, "since");
    let all = cache::providers();
    let Some(found) = all.iter().find(|p| p.name == name) else {
        raise::invalid(format!("there is no provider \"{name}\""), "See leadlex.provider.")
    };
    // What has come in until now must be in the tables, to be forgotten there.
    super::wait_for_all_that_came(|filed| filed.provider == found.id, "Nothing was forgotten.");
    store::receipts::forget_nothings(found.id, since) as i64
}

//! leadlex.memory_report: how full the tables in shared memory are.

use pgrx::prelude::*;

use crate::pg::api::workspaces;
use crate::pg::shared::{events, layout, occupancy, provider_slots, receipts};
use crate::pg::store::cache;
use crate::pg::sys::settings;

/// leadlex.memory_report(): one row for each table in shared memory that can become full: the setting that bounds it (NULL:
/// none does), places in use, all places, and what found none since the server started (NULL: not counted). Rows only for
/// administrators and pg_monitor.
///
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
// TableIterator wants its columns spelled out in the signature.
#[allow(clippy::type_complexity)]
#[pg_extern(sql = false)]
fn memory_report() -> TableIterator<
    'static,
    (
        name!(part, &'static str),
        name!(setting, Option<&'static str>),
        name!(used, i64),
        name!(places, i64),
        name!(lost, Option<i64>),
    ),
> {
    cache::refresh();
    layout::require();
    if !workspaces::watches() {
        return TableIterator::new(Vec::new());
    }
    let accounts = 0..layout::account_count();
    let pinned = accounts.filter(|index| layout::with_account(*index, |a| a.pins > 0)).count();
    let providers = 0..provider_slots::count();
    let unwritten = providers
        .filter(|index| provider_slots::with(*index, |s| !s.is_free() && s.changes != s.recorded))
        .count();
    let (answers, room) = receipts::with(|arena| arena.use_of_units());
    let databases = layout::with_header(|h| h.databases.iter().filter(|d| !d.is_idle()).count());
    // SAFETY: the table is not changed while its lock is held.
    let claims = layout::with_claims(|table| unsafe { pg_sys::hash_get_num_entries(table) });
    let rows = [
        ("workspaces in transactions", Some("leadlex.max_workspaces"), pinned, layout::account_count(), None),
        (
            "contacts in transactions",
            Some("leadlex.max_contacts_in_flight"),
            claims.max(0) as usize,
            settings::max_contacts_in_flight(),
            None,
        ),
        (
            "providers not written down",
            Some("leadlex.max_providers"),
            unwritten,
            provider_slots::count(),
            None,
        ),
        ("answers not written down", Some("leadlex.receipt_buffer"), answers, room, None),
        ("databases with work", Some("leadlex.max_databases"), databases, settings::max_databases(), None),
        ("events not told", None, events::waiting(), events::PLACES, Some(events::lost())),
        ("workspaces being limited", None, occupancy::closed(), occupancy::CLOSURES, None),
    ];
    let row = |(part, setting, used, places, lost): (_, _, usize, usize, Option<u64>)| {
        (part, setting, used as i64, places as i64, lost.map(|lost| lost as i64))
    };
    TableIterator::new(rows.into_iter().map(row))
}

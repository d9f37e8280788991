//! leadlex.memory_report: how full the tables in shared memory are.

use pgrx::prelude::*;

use crate::pg::api::workspaces;
use crate::pg::shared::fullness::{self, Fullness};
use crate::pg::shared::layout;
use crate::pg::store::cache;

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
    let row = |Fullness { part, setting, used, places, lost }: Fullness| {
        (part, setting, used as i64, places as i64, lost.map(|lost| lost as i64))
    };
    TableIterator::new(fullness::all().into_iter().map(row).collect::<Vec<_>>())
}

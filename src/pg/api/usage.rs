//! What leadlex.usage_daily needs.

use pgrx::prelude::*;

use crate::pg::installation::{self, Installed};
use crate::pg::shared::{layout, transaction};

/// The trigger on leadlex.usage_change: once the transaction commits, the worker looks for days to sum. In a schema of another
/// version the worker has nothing to do.
#[pg_trigger(sql = false)]
fn usage_waits<'a>(
    _trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, std::convert::Infallible> {
    if layout::available() && matches!(installation::find(), Installed::This(_)) {
        transaction::with(|t| t.wrote_ledger = true);
    }
    Ok(None)
}

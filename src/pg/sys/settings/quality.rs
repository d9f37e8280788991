//! Those of data quality.

use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static REFILLS: GucSetting<bool> = GucSetting::<bool>::new(false);
static OUTCOME_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(30 * 86_400);

/// In days; -1: for ever.
static HISTORY_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(-1);

/// So many days the history is kept; `None`: for ever.
pub fn history_retention() -> Option<u32> {
    u32::try_from(HISTORY_RETENTION.get()).ok()
}

/// How long it is kept why a contact was not enriched.
pub fn outcome_retention() -> Duration {
    Duration::from_secs(OUTCOME_RETENTION.get() as u64)
}

/// Whether triggers and queue write what the history knows before they ask.
pub fn refills() -> bool {
    REFILLS.get()
}

pub fn define() {
    GucRegistry::define_bool_guc(
        c"leadlex.refill_from_history",
        c"Lets triggers and queue write what the history knows into empty fields before they ask.",
        c"As leadlex.refill does: without a request and without a charge.",
        &REFILLS,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"leadlex.outcome_retention",
        c"How long leadlex.last_outcome keeps why a contact was not enriched.",
        c"A success removes it sooner.",
        &OUTCOME_RETENTION,
        0,
        10 * 365 * 86_400,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"leadlex.history_retention",
        c"Days for which the history of enrichments is kept; -1 = for ever.",
        c"What is removed cannot be reverted or refilled, and counts as typed by a person. The ledger is kept.",
        &HISTORY_RETENTION,
        -1,
        36_500,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

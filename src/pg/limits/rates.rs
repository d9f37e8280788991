//! Rate limits: one admission a call, out of leases that the worker opens.

use std::time::Instant;

use crate::pg::limits::accounts::wait_until;
use crate::pg::shared::layout;
use crate::pg::shared::turns;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use leadlex_domain::rate::{Admission, Limits, Status, Window};

/// Uses one admission of a rate limit. The worker opens leases; a call that finds none waits for it.
///
/// Err: the window whose limit is used up, and the present time in epoch seconds.
///
/// Raises 55000: the worker opened no lease in time. 53400: leadlex.max_databases is too small.
pub fn admit(index: usize, limits: Limits) -> Result<(), (Window, i64)> {
    if limits.is_unlimited() {
        return Ok(());
    }
    let attempt = || {
        let now = clock::now();
        let (admission, ask) = layout::with_account(index, |a| {
            let admission = a.meter.admit(limits, now);
            let ask = a.meter.lease_is_low(limits) && a.lease_wanted == 0;
            if ask {
                a.lease_wanted = limits.lease();
            }
            (admission, ask)
        });
        if ask || admission == Admission::NeedsLease {
            workers::wake();
        }
        (admission, now)
    };
    let mut last = attempt();
    let mut patience = turns::Patience::new();
    while last.0 == Admission::NeedsLease && patience.lasts() {
        wait_until(index, Instant::now() + patience.slice(), || {
            last = attempt();
            last.0 != Admission::NeedsLease
        });
    }
    match last {
        (Admission::Admitted, _) => Ok(()),
        (Admission::Limited(window), now) => Err((window, now)),
        (Admission::NeedsLease, _) => {
            turns::give_up("the background worker did not record the rate limit's use in time", "")
        }
    }
}

/// What is left of the minute's and the day's requests; the default where there is no limit.
pub fn status(index: usize, limits: Limits) -> Status {
    if limits.is_unlimited() {
        return Status::default();
    }
    let now = clock::now();
    layout::with_account(index, |a| a.meter.status(limits, now))
}

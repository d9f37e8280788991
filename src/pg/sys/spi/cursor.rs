//! A result that is too large to be held at once.

use super::statement::bound;
use super::{Arg, Row, Statement, connected, rows};
use pgrx::pg_sys;

impl Statement {
    /// Hands over the rows in portions of at most `size`, until there is none left, or `take` says `false`. Other statements
    /// may run meanwhile.
    pub fn in_portions(&self, args: &[Arg], size: usize, mut take: impl FnMut(Vec<Row>) -> bool) {
        let portal = connected(|| {
            let plan = self.plan(args);
            let (mut values, nulls) = bound(args);
            // SAFETY: as in `execute`; the portal copies the values, and lives until it is closed below, or until the
            // (sub)transaction that an error aborts.
            unsafe {
                pg_sys::SPI_cursor_open(std::ptr::null(), plan, values.as_mut_ptr(), nulls.as_ptr(), false)
            }
        });
        loop {
            pgrx::check_for_interrupts!();
            let portion = connected(|| {
                // SAFETY: the portal of above, which is open.
                unsafe { pg_sys::SPI_cursor_fetch(portal, true, size as _) };
                rows()
            });
            if portion.is_empty() || !take(portion) {
                break;
            }
        }
        // SAFETY: as above.
        connected(|| unsafe { pg_sys::SPI_cursor_close(portal) });
    }
}

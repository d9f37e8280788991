//! A host with few descriptors, in place of the server's own count of them.

use std::cell::Cell;

use crate::descriptors::Announce;

thread_local! {
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// From now on, this thread can have that many descriptors.
pub fn limited(left: usize) -> Announce {
    LEFT.set(left);
    Announce {
        acquire: || {
            let left = LEFT.get();
            LEFT.set(left.saturating_sub(1));
            left > 0
        },
        release: || LEFT.set(LEFT.get() + 1),
    }
}

/// How many of them are not taken.
pub fn left() -> usize {
    LEFT.get()
}

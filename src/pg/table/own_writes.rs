//! Which table an enrichment of this backend is writing now: its triggers tell that from what others write.

use std::cell::Cell;

use pgrx::pg_sys;

thread_local! {
    /// The table that an enrichment of this backend is writing now.
    static WRITING: Cell<u32> = const { Cell::new(0) };
}

/// Its oid; 0 where none is written.
pub fn relation() -> u32 {
    WRITING.get()
}

/// While it lives, what is written to the table is written by us.
pub struct Writing(u32);

impl Writing {
    /// Writing to this table begins. `None` is no table. The value before comes back when this is dropped.
    pub fn to(relation: Option<pg_sys::Oid>) -> Writing {
        Writing(WRITING.replace(relation.map_or(0, |relation| relation.to_u32())))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.set(self.0);
    }
}

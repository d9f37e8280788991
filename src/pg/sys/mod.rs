//! Postgres itself. Nothing here names a table of ours.

pub mod clock;
pub mod heap_insert;
pub mod index_probe;
pub mod jsonb;
pub mod raise;
pub mod robust_mutex;
pub mod role;
pub mod settings;
pub mod spi;

//! Postgres itself. Nothing here names a table of ours.

pub mod authorship;
pub mod clock;
pub mod database;
pub mod extension;
pub mod heap_insert;
pub mod index_probe;
pub mod jsonb;
pub mod memory;
pub mod name;
pub mod raise;
pub mod relation;
pub mod robust_mutex;
pub mod role;
pub mod row;
pub mod settings;
pub mod shared_block;
pub mod snapshot;
pub mod spi;
pub mod syscache;

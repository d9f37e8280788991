//! Postgres: the only place that names pgrx, and the only one with `unsafe`.
//!
//! `api` holds the SQL functions; `desk` is the world of a call; `store` has all SQL on our own tables, `table` that on
//! the user's; `shmem`, `accounts`, `claims` and `xact` are what transactions share and how their end settles it;
//! `worker` keeps the books, and `ddl` keeps it out of the way of statements about whole databases.

mod accounts;
mod api;
mod append;
mod batch;
mod cache;
mod claims;
mod ddl;
mod desk;
mod explain;
mod guards;
mod health;
mod identity;
mod json;
mod means;
mod membership;
mod owner;
mod probe;
mod progress;
mod provider;
mod queue;
mod raise;
mod receipts;
mod robust;
#[cfg(feature = "session_state")]
mod session_state;
mod settings;
mod shared_values;
mod shmem;
mod spi;
mod store;
mod table;
mod trigger;
mod under_way;
mod wait;
mod worker;
mod writing;
mod xact;

use pgrx::pg_sys;

/// Settings, then shared memory, then the worker. Without preloading only the settings: a call then says what to do.
pub fn init() {
    // SAFETY: globals that the postmaster sets before it loads libraries.
    let (preloading, upgrading) =
        unsafe { (pg_sys::process_shared_preload_libraries_in_progress, pg_sys::IsBinaryUpgrade) };
    settings::define(preloading);
    if preloading {
        shmem::register();
        ddl::register();
        explain::register();
        if !upgrading {
            worker::register();
        }
    }
}

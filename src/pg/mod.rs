//! Postgres: the only place that names pgrx, and the only one with `unsafe`.
//!
//! `api` holds the SQL functions; `call` is the world of a call; `store` has all SQL on our own tables, `table` that on
//! the user's; `shmem`, `accounts`, `claims` and `xact` are what transactions share and how their end settles it;
//! `worker` keeps the books, and `ddl` keeps it out of the way of statements about whole databases.

mod api;
mod call;
mod hooks;
mod installation;
mod limits;
mod provider;
mod shared;
mod store;
mod sys;
mod table;
mod worker;

use pgrx::pg_sys;

/// Settings, then shared memory, then the worker. Without preloading only the settings: a call then says what to do.
pub fn init() {
    // SAFETY: globals that the postmaster sets before it loads libraries.
    let (preloading, upgrading) =
        unsafe { (pg_sys::process_shared_preload_libraries_in_progress, pg_sys::IsBinaryUpgrade) };
    sys::settings::define(preloading);
    use shared::layout::Part;
    use shared::{claims, lockouts, provider_slots, receipts, single_flight};
    shared::transaction::settle_with(vec![
        limits::accounts::SETTLEMENT,
        claims::SETTLEMENT,
        lockouts::SETTLEMENT,
    ]);
    shared::wait::on_exit(single_flight::leave);
    if preloading {
        shared::layout::register(vec![
            Part { size: receipts::size, start: receipts::start },
            Part { size: provider_slots::size, start: provider_slots::start },
            Part { size: single_flight::size, start: single_flight::start },
        ]);
        hooks::utility::register();
        hooks::explain::register();
        if !upgrading {
            worker::register();
        }
    }
}

#[cfg(test)]
mod layers_tests;

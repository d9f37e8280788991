//! Postgres: the only place that names pgrx, and the only one with `unsafe`.
//!
//! Each room uses only those below it: `hooks`, `api`, `worker`, `call`, `provider`, `limits`, `store`, `installation`,
//! `table` and `shared`, `sys`. `layers_tests` reads the source and fails on an import that runs up, or a circle.

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
    use shared::{
        budgets, claims, control, events, lockouts, logins, occupancy, provider_slots, receipts,
        single_flight, throttle,
    };
    shared::transaction::settle_with(vec![
        limits::commit_and_rollback::SETTLEMENT,
        claims::SETTLEMENT,
        lockouts::SETTLEMENT,
        control::SETTLEMENT,
        occupancy::SETTLEMENT,
    ]);
    shared::wait::on_exit(single_flight::outlast, || {
        single_flight::leave();
        throttle::leave();
        logins::leave();
        budgets::leave();
    });
    if preloading {
        shared::layout::register(vec![
            Part { size: receipts::size, start: receipts::start },
            Part { size: provider_slots::size, start: provider_slots::start },
            Part { size: single_flight::size, start: single_flight::start },
            Part { size: throttle::size, start: throttle::start },
            Part { size: logins::size, start: logins::start },
            Part { size: events::size, start: events::start },
            Part { size: control::size, start: control::start },
            Part { size: budgets::size, start: budgets::start },
            Part { size: occupancy::size, start: occupancy::start },
        ]);
        hooks::utility::register();
        hooks::explain::register();
        hooks::executor::register();
        sys::spi::planning::register();
        if !upgrading {
            worker::register();
        }
    }
}

#[cfg(test)]
mod layers_tests;

//! Forgetting that a provider had nothing: after a bad night, so that its contacts are asked about again.

use std::time::{Duration, Instant};

use pgrx::prelude::*;

use crate::pg::{cache, guards, provider, raise, receipts, store, wait, worker};

/// How long it is waited for the worker to write what has come in.
const PATIENCE: Duration = Duration::from_secs(5);

#[pg_extern(sql = false)]
fn recheck(provider: Option<&str>, since: Option<TimestampWithTimeZone>) -> i64 {
    cache::refresh();
    guards::require_shared_memory();
    guards::require_writable();
    let name = super::required(provider, "provider");
    let since = super::required(since, "since");
    let all = cache::providers();
    let Some(found) = all.iter().find(|p| p.name == name) else {
        raise::invalid(format!("there is no provider \"{name}\""), "See leadlex.provider.")
    };
    wait_for_the_books();
    store::receipts::forget_nothings(found.id, since) as i64
}

/// What has come in until now must be in the books, to be forgotten there.
fn wait_for_the_books() {
    let database = provider::receipt_key([0; 16]).database;
    let until = Instant::now() + PATIENCE;
    let newest = receipts::with(|arena| arena.newest());
    while receipts::with(|arena| arena.waits_up_to(database, newest)) {
        if Instant::now() >= until {
            raise::not_ready(
                "the background worker did not write waiting receipts in time",
                "Nothing was forgotten. See leadlex.worker_status and the server log; max_worker_processes may be used up.",
            );
        }
        worker::wake();
        wait::nap(Duration::from_millis(20));
    }
}

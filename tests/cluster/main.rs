//! Tests that need clusters of their own: concurrency, crashes, shutdown, standby, dump. Each module is named
//! after what it looks at, each test after what must hold.

#[path = "../support/mod.rs"]
mod support;
mod world;

mod adversary;
mod cancel;
mod contact;
mod crash;
mod credits;
mod endurance;
mod errors;
mod fault_table;
mod foreign_errors;
mod harness;
mod idempotency;
mod limits;
mod nested;
mod provider_faults;
mod rates;
mod refusals;
mod storm;
mod tls;

//! Tests that need clusters of their own: concurrency, crashes, shutdown, standby, dump. Each module is named
//! after what it looks at, each test after what must hold.

#[path = "../support/mod.rs"]
mod support;
mod world;

mod adversary;
mod after_errors;
mod alike;
mod answers;
mod batch;
mod cancel;
mod catalogs;
mod contact;
mod crash;
mod credits;
mod ddl;
mod descriptors;
mod dump;
mod endurance;
mod errors;
mod estimate;
mod fault_table;
mod foreign_errors;
mod gateways;
mod harness;
mod health;
mod hostile;
mod idempotency;
mod inserting;
mod keys;
mod limits;
mod lost_triggers;
mod major;
mod many_roles;
mod membership;
mod nested;
mod pgbouncer;
mod presets;
mod provider_faults;
mod queue;
mod rates;
mod receipts;
mod refusals;
mod rewrites;
mod secret_places;
mod secrets_in_logs;
mod sql_text;
mod standby;
mod storm;
mod suppression;
mod tls;
mod trial;
mod triggers;
mod upgrade;
mod views;
mod wording;

//! Tests that need clusters of their own: concurrency, crashes, shutdown, standby, dump. Each module is named
//! after what it looks at, each test after what must hold.

#[path = "../support/mod.rs"]
mod support;

mod harness;

//! What the integration tests stand on: clusters of their own, and a provider that obeys.
#![allow(dead_code, unused_imports)] // every test binary uses a part of it

pub mod cluster;
pub mod dice;
pub mod failure;
pub mod http;
mod kept;
pub mod notices;
pub mod prepared;
pub mod provider;
pub mod quick;
mod server;
pub mod tls;

pub use cluster::{Cluster, Stop, Surroundings};
pub use failure::{Failure, fails};
pub use http::{Request, Response};
pub use notices::{Notice, Notices};
pub use provider::{After, Behaviour, Provider, person};
pub use server::{Server, check, older_server, server};

use std::time::{Duration, Instant};

/// Waits for a condition that another process brings about.
pub fn eventually(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + timeout;
    while !condition() {
        assert!(Instant::now() < until, "not within {timeout:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

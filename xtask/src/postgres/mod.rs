//! The one way to start a Postgres cluster of our own: for the demo, the suites, the bench and each test.

pub mod cluster;
pub mod server;
pub mod template;

pub use cluster::{Cluster, Running};
pub use server::{RunAs, Server};

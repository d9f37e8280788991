//! Requests to providers: the only place that names the HTTP client. Nothing here knows of Postgres.

#![forbid(unsafe_code)]

mod address_guard;
mod client;
mod connect;
mod connection;
mod descriptors;
mod encoding;
mod exchange;
mod interim;
mod notifier;
mod request_pool;
mod socket;
mod thread;
mod tls;

pub use descriptors::Announce;
pub use exchange::Wants;
pub use request_pool::{Awaited, OpenError, PendingRequest, RequestPool};
pub use thread::MAX_REQUESTS;

use std::sync::Arc;
use std::time::Duration;

use leadlex_domain::provider::{Answer, Fault, HttpRequest};

/// Called with what came of a request in the thread that sent it, also when nobody waits for it any more.
pub type Keep = Box<dyn FnOnce(Result<&Answer, &Fault>) + Send>;

/// One request and the limits on it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Shared with who reads the answer.
    pub request: Arc<HttpRequest>,
    /// For everything together: resolving, connecting, TLS, sending and reading to the end.
    pub timeout: Duration,
    /// Counted after decompression.
    pub max_body_bytes: usize,
    /// Without the address guard: private, loopback and other special addresses may be connected to.
    pub allow_private: bool,
    /// Once it is sent, it is gone on with when the session ends: the vendor takes it, and its answer alone says under which
    /// number.
    pub outlasts: bool,
}

#[cfg(test)]
mod tests;

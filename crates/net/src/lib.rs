//! Requests to providers: the only place that names the HTTP client. Nothing here knows of Postgres.

#![forbid(unsafe_code)]

mod address_guard;
mod budget;
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

pub use budget::{Budget, Share};
pub use descriptors::Announce;
pub use exchange::Wants;
pub use request_pool::{Awaited, OpenError, PendingRequest, RequestPool};
pub use thread::MAX_REQUESTS;

use std::sync::Arc;
use std::time::Duration;

use leadlex_domain::provider::{Answer, Fault, HttpRequest};

/// Called with what came of a request in the thread that sent it, also when nobody waits for it any more. Where the job has no `share`
/// it does not wait: what may take long it gives back, to be done where nothing else waits for it. The asker sees the outcome after
/// that.
pub type Keep = Box<dyn FnOnce(Result<&Answer, &Fault>) -> Option<Rest> + Send>;

/// What is left to be done about an outcome, and may wait.
pub type Rest = Box<dyn FnOnce() + Send>;

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
    /// Asked in the moment before it goes out, in whatever thread: a connection can take long. `false`: it does not go out.
    pub may_send: fn() -> bool,
    /// Its part of the memory for large answers. Such a request needs a thread, as it may wait for its part; once `Keep` was called
    /// its answer is thrown away. `None`: it is small.
    pub share: Option<Arc<Share>>,
}

#[cfg(test)]
mod tests;

//! Threads for requests, and how many there are.

use std::io;

/// Starts a thread in which all signals are blocked.
pub type SpawnFn = fn(name: &str, Box<dyn FnOnce() + Send + 'static>) -> io::Result<()>;

/// Requests under way at once; abandoned ones count until their time is over.
pub const MAX_REQUESTS: usize = 64;

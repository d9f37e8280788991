//! Connections, and those that are kept open between requests.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::transport::Transport;

use super::descriptors::Counted;
use super::socket::{Inner, Socket};
use super::thread::MAX_REQUESTS;

/// Shorter than the idle time after which firewalls and servers commonly forget a connection.
const MAX_IDLE_AGE: Duration = Duration::from_secs(15);

/// Where a connection leads to. One made without the address guard must never serve a request that is under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    https: bool,
    pub host: String,
    /// The port, also where it is the scheme's own (80 or 443).
    pub port: u16,
    pub allow_private: bool,
}

impl Origin {
    /// Where a request for this URI goes.
    pub fn of(uri: &Uri, allow_private: bool) -> Origin {
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        Origin { https, host: uri.host().unwrap_or_default().to_owned(), port, allow_private }
    }

    /// Whether it is under TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }
}

/// An open connection, with TLS where its origin says so.
#[derive(Debug)]
pub struct Connection {
    pub transport: Box<dyn Transport>,
    pub socket: Socket,
    pub origin: Origin,
    /// It has served a request before.
    pub used: bool,
    /// Tells it from all others of the process, which may have had the same descriptor.
    pub number: u64,
    idle_since: Instant,
    /// Until after its socket is closed.
    #[expect(dead_code, reason = "counts while it lives")]
    counted: Counted,
}

impl Connection {
    /// One that has served no request yet.
    pub fn new(
        transport: Box<dyn Transport>,
        socket: Socket,
        origin: Origin,
        counted: Counted,
    ) -> Connection {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Connection { transport, socket, origin, used: false, number, idle_since: Instant::now(), counted }
    }

    /// The descriptor of its socket, for waiting.
    pub fn fd(&self) -> RawFd {
        self.socket.fd()
    }

    /// Whether nothing has come since the last answer, not even its end. Takes in what TLS says of itself.
    fn is_quiet(&mut self) -> bool {
        self.transport.buffers().input().is_empty()
            && self.socket.set_waits(false).is_ok()
            && matches!(
                self.transport.await_input(super::connect::time_left(Instant::now())),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock
            )
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Of one session.
#[derive(Default)]
pub struct Kept {
    idle: Mutex<Vec<Connection>>,
    /// All that were ever opened and may be alive.
    opened: Mutex<Vec<Weak<Inner>>>,
}

impl Kept {
    /// The latest that may serve.
    /// `None`: no connection to there is kept, or each has been closed or has input that was not asked for.
    pub fn take(&self, origin: &Origin) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut idle = lock(&self.idle);
                idle.retain(|connection| connection.idle_since.elapsed() < MAX_IDLE_AGE);
                let at = idle.iter().rposition(|connection| connection.origin == *origin)?;
                idle.remove(at)
            };
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Whether one to there is kept, which may be closed.
    pub fn has(&self, origin: &Origin) -> bool {
        lock(&self.idle).iter().any(|connection| connection.origin == *origin)
    }

    /// Keeps a connection for further requests. One with input that nobody asked for is closed, and the
    /// oldest where there are [`MAX_REQUESTS`] already.
    pub fn put(&self, mut connection: Connection) {
        if !connection.transport.buffers().input().is_empty() {
            return;
        }
        connection.used = true;
        connection.idle_since = Instant::now();
        let mut idle = lock(&self.idle);
        if idle.len() >= MAX_REQUESTS {
            idle.remove(0);
        }
        idle.push(connection);
    }

    /// Remembers a socket, so that [`Kept::shut_down`] ends it.
    pub fn opened(&self, socket: &Socket) {
        let mut opened = lock(&self.opened);
        opened.retain(|socket| socket.strong_count() > 0);
        opened.push(std::sync::Arc::downgrade(socket.shared()));
    }

    /// Closes the connections that no request uses.
    pub fn close_idle(&self) {
        lock(&self.idle).clear();
    }

    /// Ends every connection, in use or not.
    pub fn shut_down(&self) {
        self.close_idle();
        for socket in lock(&self.opened).iter().filter_map(Weak::upgrade) {
            socket.shut_down();
        }
    }
}

/// Nothing that is done under these locks can leave half a change behind, so poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

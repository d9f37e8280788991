//! New connections: resolves, drops the addresses that are not permitted, and connects to one of those that remain. There is no
//! second look-up that could give another answer. Waits; for a thread of its own.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, Transport, time,
};
use ureq::{Agent, Error, Timeout};

use super::address_guard::Lookup;
use super::connection::{Connection, Origin};
use super::descriptors::{Counted, InUse};
use super::socket::{Socket, SocketTransport};
use super::thread::SpawnFn;

/// Of an answer; less than the buffer: a header that fills it to the brim would be taken for a closed connection.
pub const MAX_HEADER_BYTES: usize = 32 * 1024;
/// What is read at once. Holds the largest header of an answer, and what comes with its end.
pub const INPUT_BYTES: usize = MAX_HEADER_BYTES + 8 * 1024;
/// What is handed to the transport at once: a request's header is handed over in parts, whatever its size.
pub const OUTPUT_BYTES: usize = 16 * 1024;
/// More than one record of TLS.
const TLS_BUFFER_BYTES: usize = 20 * 1024;
/// Of a host's addresses, so many are tried.
const MOST_ADDRESSES: usize = 16;
/// An address gets at least so long to answer.
const SHORTEST_CONNECT: Duration = Duration::from_millis(10);

/// What new connections of one session are made with.
pub struct Connections {
    lookups: Arc<AtomicUsize>,
    spawn: SpawnFn,
    in_use: InUse,
    config: Config,
    /// Keeps the system's root certificates once it has read them.
    tls: RustlsConnector,
}

impl Connections {
    /// Neither the environment's proxy is used nor is a certificate read yet; certificates are those that the
    /// system trusts.
    pub fn new(spawn: SpawnFn, in_use: &InUse) -> Connections {
        let tls = TlsConfig::builder().provider(TlsProvider::Rustls).root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .proxy(None)
            .input_buffer_size(INPUT_BYTES)
            .output_buffer_size(OUTPUT_BYTES);
        Connections {
            lookups: Arc::default(),
            spawn,
            in_use: in_use.clone(),
            config: config.build(),
            tls: RustlsConnector::default(),
        }
    }

    /// With TLS where the URI says so. `opened` gets the socket as soon as there is one.
    /// Errors of the look-up are faults within `Error::Other`.
    pub fn open(
        &self,
        uri: &Uri,
        origin: Origin,
        deadline: Instant,
        opened: impl FnOnce(&Socket) -> Result<(), Error>,
    ) -> Result<Connection, Error> {
        let counted = Counted::new(&self.in_use.connections);
        let socket = Socket::new(connect(&self.resolve(&origin, deadline)?, deadline)?)?;
        opened(&socket)?;
        let transport: Box<dyn Transport> = if origin.is_https() {
            let plain =
                SocketTransport::new(socket.clone(), LazyBuffers::new(TLS_BUFFER_BYTES, TLS_BUFFER_BYTES));
            let details = self.details(uri, deadline);
            let secure = self.tls.connect(&details, Some(plain))?.ok_or(Error::ConnectionFailed)?;
            if !secure.is_tls() {
                return Err(Error::TlsRequired);
            }
            secure.boxed()
        } else {
            SocketTransport::new(socket.clone(), LazyBuffers::new(INPUT_BYTES, OUTPUT_BYTES)).boxed()
        };
        Ok(Connection::new(transport, socket, origin, counted))
    }

    fn resolve(&self, origin: &Origin, deadline: Instant) -> Result<Vec<SocketAddr>, Error> {
        let lookup = Lookup {
            allow_private: origin.allow_private,
            spawn: self.spawn,
            running: Arc::clone(&self.lookups),
            strays: Arc::clone(&self.in_use.strays),
        };
        let mut found = lookup
            .addresses(&origin.host, origin.port, left(deadline))
            .map_err(|fault| Error::Other(Box::new(fault)))?;
        found.truncate(MOST_ADDRESSES);
        Ok(found)
    }

    fn details<'a>(&'a self, uri: &'a Uri, deadline: Instant) -> ConnectionDetails<'a> {
        ConnectionDetails {
            uri,
            addrs: Resolved.empty(),
            resolver: &Resolved,
            config: &self.config,
            // The same TLS settings for all: saying so lets the connector keep them.
            request_level: false,
            now: time::Instant::now(),
            timeout: time_left(deadline),
            current_time: Arc::new(time::Instant::now),
            run_connector: Arc::new(|_| Err(Error::ConnectionFailed)),
            register_shutdown: Arc::new(|_| Ok(())),
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

/// The time until then; zero when it is over.
pub fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// As ureq's transports take it.
pub fn time_left(deadline: Instant) -> NextTimeout {
    NextTimeout { after: left(deadline).into(), reason: Timeout::Global, ..NextTimeout::default() }
}

/// To the first that answers. The first gets half of the time, the next half of what is left, so that one that is silent does not
/// use up all of it.
fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Error> {
    let mut last = Error::Io(ErrorKind::ConnectionRefused.into());
    for (at, address) in addresses.iter().enumerate() {
        let left = left(deadline);
        if left.is_zero() {
            return Err(Error::Timeout(Timeout::Global));
        }
        let is_last = at + 1 == addresses.len();
        let share = if is_last { left } else { left / 2 };
        match TcpStream::connect_timeout(address, share.max(SHORTEST_CONNECT)) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::TimedOut => last = Error::Timeout(Timeout::Global),
            Err(error) if is_of_address(&error) => last = Error::Io(error),
            Err(error) => return Err(Error::Io(error)),
        }
    }
    Err(last)
}

/// Another address may do where this one does not.
fn is_of_address(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
    )
}

/// ureq's connectors are given connections, never names.
#[derive(Debug)]
struct Resolved;

impl Resolver for Resolved {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

//! One request from start to end, on the thread that calls.

use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::{self, HeaderName, HeaderValue, Uri};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ChainedConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector,
    Transport,
};
use ureq::{Agent, Error};

use super::address_guard::Lookup;
use super::descriptors::{Count, Counted, InUse};
use super::encoding::CUT_SHORT;
use super::thread::{MAX_REQUESTS, SpawnFn};
use super::{Job, encoding, interim, tls};
use leadlex_domain::provider::{Answer, Fault, FaultKind, Method};

/// Shorter than the idle time after which firewalls and servers commonly forget a connection.
const MAX_IDLE_AGE: Duration = Duration::from_secs(15);
const BUFFER_BYTES: usize = 64 * 1024;
/// Less than the buffer: a header that fills it to the brim would be taken for a closed connection.
const MAX_HEADER_BYTES: usize = BUFFER_BYTES / 2;
const FIRST_BODY_BYTES: usize = 8 * 1024;

/// Two pools of connections: one made without the address guard must never serve a request that is under it.
pub struct Client {
    spawn: SpawnFn,
    in_use: InUse,
    lookups: Arc<AtomicUsize>,
    guarded: Mutex<Agent>,
    open: Mutex<Agent>,
    closed: AtomicBool,
}

impl Client {
    pub fn new(spawn: SpawnFn, in_use: &InUse) -> Client {
        let lookups = Arc::new(AtomicUsize::new(0));
        let agent = |allow_private| Mutex::new(new_agent(spawn, in_use, &lookups, allow_private));
        let (guarded, open) = (agent(false), agent(true));
        Client { spawn, in_use: in_use.clone(), lookups, guarded, open, closed: AtomicBool::new(false) }
    }

    fn agent(&self, allow_private: bool) -> Agent {
        let agent = if allow_private { &self.open } else { &self.guarded };
        agent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes the connections that no request uses. Only while no request is under way: its connection would escape a shutdown.
    pub fn drop_idle(&self) {
        for (agent, allow_private) in [(&self.guarded, false), (&self.open, true)] {
            let new = new_agent(self.spawn, &self.in_use, &self.lookups, allow_private);
            *agent.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes every connection at once; requests under way fail.
    pub fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
        self.agent(false).shutdown();
        self.agent(true).shutdown();
    }

    pub fn fetch(&self, job: &Job, deadline: Instant) -> Result<Answer, Fault> {
        let agent = self.agent(job.allow_private);
        let attempt = |max_idle_age| {
            Trace::reset();
            Attempt { agent: &agent, job, deadline, max_idle_age }.run()
        };
        // Idle connections are probed before they are used again, but a server may close one in the moment after. As
        // long as not one byte of the request went out, a new connection takes its place. What did go out may have been
        // taken, and will be billed: gateways end a connection so when their own one to the vendor dies.
        let outcome = match attempt(MAX_IDLE_AGE) {
            Err(error) if Trace::is_stale(&error) && !Trace::is_sent() => attempt(Duration::ZERO),
            outcome => outcome,
        };
        match outcome {
            Ok(answer) if !(self.is_closed() && ends_with_connection(&answer)) => {
                encoding::unpacked(answer, job.max_body_bytes)
            }
            Err(error) if !self.is_closed() && Trace::is_stale(&error) => Err(unanswered()),
            Err(error) if !self.is_closed() => Err(fault_of(error, job)),
            // That we hung up says nothing about the provider.
            _ => Err(Fault::new(FaultKind::Internal, ENDING)),
        }
    }
}

/// Nothing but the end of the connection says where its body ends.
fn ends_with_connection(answer: &Answer) -> bool {
    let says_so =
        |name: &str| ["content-length", "transfer-encoding"].iter().any(|n| name.eq_ignore_ascii_case(n));
    !answer.headers.iter().any(|(name, _)| says_so(name))
}

fn new_agent(spawn: SpawnFn, in_use: &InUse, lookups: &Arc<AtomicUsize>, allow_private: bool) -> Agent {
    let (running, strays) = (Arc::clone(lookups), Arc::clone(&in_use.strays));
    let lookup = Lookup { allow_private, spawn, running, strays };
    let connections = Arc::clone(&in_use.connections);
    Agent::with_parts(agent_config(), Guarded::new(lookup, connections), Deferred)
}

fn agent_config() -> ureq::config::Config {
    let tls =
        TlsConfig::builder().provider(TlsProvider::Rustls).root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .accept_encoding("gzip")
        .user_agent(concat!("leadlex_enrich/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(MAX_HEADER_BYTES)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_idle_age(MAX_IDLE_AGE)
        .max_idle_connections(MAX_REQUESTS)
        .max_idle_connections_per_host(MAX_REQUESTS)
        .build()
}

struct Attempt<'a> {
    agent: &'a Agent,
    job: &'a Job,
    deadline: Instant,
    max_idle_age: Duration,
}

impl Attempt<'_> {
    fn run(&self) -> Result<Answer, Error> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(Error::Timeout(ureq::Timeout::Global));
        }
        let request = &self.job.request;
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
        };
        let mut builder = http::Request::builder().method(method).uri(request.url.as_str());
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(http::Error::from);
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(http::Error::from);
            builder = builder.header(name.map_err(Error::Http)?, value.map_err(Error::Http)?);
        }
        let response = match (request.method, request.body.as_deref()) {
            (Method::Get, _) => self.send(builder.body(()))?,
            (Method::Post, body) => self.send(builder.body(body.unwrap_or_default()))?,
        };
        self.read(response)
    }

    fn send<B: ureq::AsSendBody>(
        &self,
        request: http::Result<http::Request<B>>,
    ) -> Result<http::Response<ureq::Body>, Error> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        let request = self
            .agent
            .configure_request(request.map_err(Error::Http)?)
            .timeout_global(Some(remaining))
            .max_idle_age(self.max_idle_age)
            .build();
        self.agent.run(request)
    }

    fn read(&self, response: http::Response<ureq::Body>) -> Result<Answer, Error> {
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        if status == 408 && Trace::is_reused() {
            // Not an answer to this request: so servers end a connection that was idle for too long.
            return Err(Error::Other(Box::new(unanswered())));
        }
        let headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect();
        if status == 205 {
            // It has no body, also where its header does not say so.
            return Ok(Answer { status, headers, body: Vec::new() });
        }
        let most = match encoding::is_packed(&headers) {
            true => encoding::packed_limit(self.job.max_body_bytes),
            false => self.job.max_body_bytes,
        };
        let max = most as u64;
        let announced = body.content_length();
        if announced.is_some_and(|length| length > max) {
            return Err(Error::BodyExceedsLimit(max));
        }
        let mut bytes = Vec::with_capacity(FIRST_BODY_BYTES.min(most));
        // One byte more than allowed tells a full body from one that is too large.
        body.into_reader().take(max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() > most {
            return Err(Error::BodyExceedsLimit(max));
        }
        Ok(Answer { status, headers, body: bytes })
    }
}

thread_local! {
    static TRACE: Trace =
        const { Trace { connected: Cell::new(false), sent: Cell::new(false), answered: Cell::new(false) } };
}

/// What happened to the attempt under way on this thread. ureq tells nobody whether a connection was a used one.
struct Trace {
    connected: Cell<bool>,
    sent: Cell<bool>,
    answered: Cell<bool>,
}

impl Trace {
    fn reset() {
        TRACE.with(|trace| {
            trace.connected.set(false);
            trace.sent.set(false);
            trace.answered.set(false);
        });
    }

    fn connected() {
        TRACE.with(|trace| trace.connected.set(true));
    }

    fn sent() {
        TRACE.with(|trace| trace.sent.set(true));
    }

    /// Whether any of the request may have left this machine.
    fn is_sent() -> bool {
        TRACE.with(|trace| trace.sent.get())
    }

    fn is_reused() -> bool {
        TRACE.with(|trace| !trace.connected.get())
    }

    fn answered() {
        TRACE.with(|trace| trace.answered.set(true));
    }

    /// Whether the attempt failed because a connection from the pool was closed by the other side.
    fn is_stale(error: &Error) -> bool {
        let untouched = TRACE.with(|trace| !trace.connected.get() && !trace.answered.get());
        untouched && matches!(error, Error::Io(error) if is_disconnect(error.kind()))
    }
}

fn is_disconnect(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

/// Leaves resolving to the connector: ureq resolves before every request, also when it then takes a connection
/// from the pool.
#[derive(Debug)]
struct Deferred;

impl Resolver for Deferred {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

type TcpThenTls = ChainedConnector<(), ChainedConnector<(), (), TcpConnector>, RustlsConnector>;

/// Resolves, drops the addresses that are not permitted, and connects to one of those that remain: there is no
/// second look-up that could give another answer.
struct Guarded {
    lookup: Lookup,
    connections: Count,
    connector: TcpThenTls,
}

impl Guarded {
    fn new(lookup: Lookup, connections: Count) -> Guarded {
        let connector = ().chain(TcpConnector::default()).chain(RustlsConnector::default());
        Guarded { lookup, connections, connector }
    }

    fn resolve(&self, uri: &Uri, limit: Duration) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);
        let found =
            self.lookup.addresses(host, port, limit).map_err(|fault| Error::Other(Box::new(fault)))?;
        let mut addresses = Deferred.empty();
        // Its capacity, which push() must not exceed.
        for address in found.into_iter().take(16) {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

impl Connector<()> for Guarded {
    type Out = Watched<<TcpThenTls as Connector<()>>::Out>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<()>) -> Result<Option<Self::Out>, Error> {
        Trace::connected();
        let started = Instant::now();
        let limit = *details.timeout.after;
        let addrs = self.resolve(details.uri, limit)?;
        let mut timeout = details.timeout;
        timeout.after = limit.saturating_sub(started.elapsed()).into();
        let details = ConnectionDetails {
            uri: details.uri,
            addrs,
            resolver: details.resolver,
            config: details.config,
            // Every request has settings of its own here (its time limit), but the same TLS settings. Saying so lets
            // the connector keep them, instead of loading the system's roots anew for each connection.
            request_level: false,
            now: (details.current_time)(),
            timeout,
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::clone(&details.register_shutdown),
        };
        let counted = Counted::new(&self.connections);
        let connected = self.connector.connect(&details, chained)?;
        Ok(connected.map(|inner| Watched { inner, in_answer: false, counted }))
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}

/// Notes when the first byte of a request goes out and of an answer comes in, and takes interim answers away.
#[derive(Debug)]
struct Watched<T> {
    inner: T,
    /// What comes in belongs to the answer itself.
    in_answer: bool,
    /// Until after its socket is closed.
    #[expect(dead_code, reason = "counts while it lives")]
    counted: Counted,
}

/// What a socket takes at once: where less than this could not be written, nothing was.
const AT_ONCE_BYTES: usize = 4 * 1_024;

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.in_answer = false;
        let written = self.inner.transmit_output(amount, timeout);
        if amount > AT_ONCE_BYTES || (written.is_ok() && amount > 0) {
            Trace::sent();
        }
        written
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let more = self.inner.await_input(timeout)?;
        if more {
            Trace::answered();
        }
        if !self.in_answer {
            self.in_answer = interim::skip(self.inner.buffers());
        }
        Ok(more)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

fn unanswered() -> Fault {
    Fault { unanswered: true, ..Fault::new(FaultKind::Reset, UNANSWERED) }
}

fn fault_of(error: Error, job: &Job) -> Fault {
    let fault = |kind, message: &str| Fault::new(kind, message);
    match error {
        Error::Other(inner) => match inner.downcast::<Fault>() {
            Ok(known) => *known,
            Err(_) => fault(FaultKind::Internal, "the request failed"),
        },
        Error::Timeout(_) => {
            let limit = job.timeout.as_millis();
            let message = format!("no complete answer within {limit} ms");
            Fault::new(FaultKind::Timeout, message)
        }
        Error::Io(inner) => fault_of_io(&inner),
        Error::HostNotFound => fault(FaultKind::Dns, "could not resolve the host name"),
        Error::Tls(_) | Error::Pem(_) | Error::TlsRequired => {
            fault(FaultKind::Tls, "could not make a TLS connection")
        }
        Error::Rustls(inner) => tls::fault_of(&inner),
        Error::BodyExceedsLimit(limit) => {
            let message = format!("the answer is larger than {limit} bytes");
            Fault::new(FaultKind::TooLarge, message)
        }
        Error::LargeResponseHeader(..) => {
            let message = format!("the header of the answer is larger than {MAX_HEADER_BYTES} bytes");
            Fault::new(FaultKind::TooLarge, message)
        }
        Error::Protocol(_) | Error::BodyStalled => fault(FaultKind::BadHttp, "the answer is not valid HTTP"),
        Error::Http(_) | Error::BadUri(_) => fault(FaultKind::Internal, "the request could not be formed"),
        _ => fault(FaultKind::Internal, "the request failed"),
    }
}

pub const ENDING: &str = "the session is ending";
const UNANSWERED: &str =
    "the connection, which had been used before, ended without an answer; the request may have arrived";

fn fault_of_io(error: &io::Error) -> Fault {
    let (kind, message) = match error.kind() {
        ErrorKind::ConnectionRefused => (FaultKind::Refused, "the connection was refused"),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            (FaultKind::Timeout, "no complete answer within the time allowed")
        }
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable => (FaultKind::Unreachable, "the address cannot be reached"),
        kind if is_disconnect(kind) => (FaultKind::Reset, CUT_SHORT),
        // What the TLS library says comes wrapped like this.
        ErrorKind::InvalidData if error.get_ref().is_some() => return tls::fault_of_io(error),
        ErrorKind::NotConnected => (FaultKind::Internal, ENDING),
        _ => (FaultKind::Internal, "the request failed"),
    };
    Fault::new(kind, message)
}

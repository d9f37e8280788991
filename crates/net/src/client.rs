//! Requests from start to end: on a connection that is kept where there is one, else on a new one.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ureq::http::Uri;
use ureq::{Error, Timeout};

use super::connect::{Connections, MAX_HEADER_BYTES, left};
use super::connection::{Connection, Kept, Origin};
use super::descriptors::InUse;
use super::encoding::CUT_SHORT;
use super::exchange::{Exchange, ExchangeFailure, Progress, Wants, is_disconnect_kind};
use super::thread::SpawnFn;
use super::{Job, encoding, tls};
use leadlex_domain::provider::{Answer, Fault, FaultKind};

/// One per session.
pub struct Client {
    connections: Connections,
    kept: Kept,
    closed: AtomicBool,
}

/// How far a request has come that does not wait.
pub enum Step {
    Waits(Box<Exchange>, Wants),
    Over(Result<Answer, Fault>),
    /// Its connection was closed before a byte of it went out: it needs a new one.
    Unsent,
}

impl Client {
    /// A client without connections. `spawn` starts threads for look-ups, `in_use` counts what holds
    /// descriptors.
    pub fn new(spawn: SpawnFn, in_use: &InUse) -> Client {
        let connections = Connections::new(spawn, in_use);
        Client { connections, kept: Kept::default(), closed: AtomicBool::new(false) }
    }

    /// Closes the connections that no request uses.
    pub fn drop_idle(&self) {
        self.kept.close_idle();
    }

    /// Whether [`Client::shutdown`] was called: no request succeeds any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes every connection at once; requests under way fail.
    pub fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
        self.kept.shut_down();
    }

    /// Waits for the answer.
    /// The fault is one of making the connection (`dns`, `address_refused`, `refused`, `unreachable`, `tls`,
    /// `busy`), one of the exchange (`timeout`, `reset`, `too_large`, `bad_http`), or `internal`.
    pub fn fetch(&self, job: &Job, deadline: Instant) -> Result<Answer, Fault> {
        if !(job.may_send)() {
            return Err(stopped());
        }
        match self.begin(job, deadline) {
            Some(exchange) => self.finish(job, exchange),
            None => self.fetch_anew(job, deadline),
        }
    }

    /// The rest of a request that another thread has begun; waits for it.
    /// The faults are those of [`Client::fetch`].
    pub fn finish(&self, job: &Job, exchange: Box<Exchange>) -> Result<Answer, Fault> {
        let (deadline, sent) = (exchange.deadline(), exchange.is_sent());
        let step = match waiting(exchange) {
            Ok(exchange) => self.advance(job, exchange),
            Err(error) => return Err(self.fault(ExchangeFailure { error, stale: false, sent }, job)),
        };
        match step {
            Step::Unsent => self.fetch_anew(job, deadline),
            step => step.outcome(),
        }
    }

    fn fetch_anew(&self, job: &Job, deadline: Instant) -> Result<Answer, Fault> {
        let exchange = self.open(job, deadline).and_then(|connection| {
            if !(job.may_send)() {
                return Err(Error::Other(Box::new(stopped())));
            }
            Exchange::new(job, connection, deadline)
        });
        match exchange.and_then(waiting) {
            Ok(exchange) => self.advance(job, exchange).outcome(),
            Err(error) => Err(self.fault(ExchangeFailure::unsent(error), job)),
        }
    }

    fn open(&self, job: &Job, deadline: Instant) -> Result<Connection, Error> {
        if left(deadline).is_zero() {
            return Err(Error::Timeout(Timeout::Global));
        }
        let uri = job.request.url.parse::<Uri>().map_err(|error| Error::Http(error.into()))?;
        let origin = Origin::of(&uri, job.allow_private);
        self.connections.open(&uri, origin, deadline, |socket| {
            self.kept.opened(socket);
            // A shutdown either finds it among those, or is seen here.
            if self.is_closed() { Err(Error::ConnectionFailed) } else { Ok(()) }
        })
    }

    /// Whether a connection is kept that may serve it.
    pub fn has_connection(&self, job: &Job) -> bool {
        let uri = job.request.url.parse::<Uri>();
        uri.is_ok_and(|uri| self.kept.has(&Origin::of(&uri, job.allow_private)))
    }

    /// On a connection that is kept, if there is one. It does not wait.
    pub fn begin(&self, job: &Job, deadline: Instant) -> Option<Box<Exchange>> {
        let uri = job.request.url.parse::<Uri>().ok()?;
        let connection = self.kept.take(&Origin::of(&uri, job.allow_private))?;
        // What cannot be formed is told where it is tried on a new connection.
        Exchange::new(job, connection, deadline).ok()
    }

    /// Goes on with it as far as it gets.
    pub fn advance(&self, job: &Job, exchange: Box<Exchange>) -> Step {
        let deadline = exchange.deadline();
        match exchange.advance(&self.kept) {
            Progress::Waits(exchange, wants) => Step::Waits(exchange, wants),
            Progress::Answered(answer) if self.is_closed() && ends_with_connection(&answer) => {
                Step::Over(Err(ending(true)))
            }
            Progress::Answered(answer) => {
                Step::Over(encoding::unpacked(answer, job.max_body_bytes, |bytes| room(job, deadline, bytes)))
            }
            // Idle connections are probed before they are used again, but a server may close one in the moment after. As
            // long as not one byte of the request went out, a new connection takes its place. What did go out may have been
            // taken, and will be billed: gateways end a connection so when their own one to the vendor dies.
            Progress::Failed(failed) if failed.stale && !failed.sent && !self.is_closed() => Step::Unsent,
            Progress::Failed(failed) => Step::Over(Err(self.fault(failed, job))),
        }
    }

    fn fault(&self, failed: ExchangeFailure, job: &Job) -> Fault {
        let went_out = failed.sent;
        let fault = match failed {
            // That we hung up says nothing about the provider.
            _ if self.is_closed() => ending(went_out),
            failed if failed.stale => unanswered(),
            failed => fault_of(failed.error, job),
        };
        Fault { went_out, ..fault }
    }
}

impl Step {
    /// Of one that was to wait.
    fn outcome(self) -> Result<Answer, Fault> {
        match self {
            Step::Over(outcome) => outcome,
            Step::Waits(..) | Step::Unsent => Err(Fault::new(FaultKind::Internal, "the request failed")),
        }
    }
}

/// Memory for a large answer.
fn room(job: &Job, deadline: Instant, bytes: usize) -> Result<(), Fault> {
    let held = job.share.as_ref().map_or(Ok(()), |share| share.hold(bytes.min(share.most()), deadline));
    held.map_err(|_| fault_of(Error::Timeout(Timeout::Global), job))
}

/// For a thread of its own.
fn waiting(exchange: Box<Exchange>) -> Result<Box<Exchange>, Error> {
    exchange.set_waits(true)?;
    Ok(exchange)
}

/// Nothing but the end of the connection says where its body ends.
fn ends_with_connection(answer: &Answer) -> bool {
    let says_so =
        |name: &str| ["content-length", "transfer-encoding"].iter().any(|n| name.eq_ignore_ascii_case(n));
    !answer.headers.iter().any(|(name, _)| says_so(name))
}

/// Of a request that may not be sent any more.
pub fn stopped() -> Fault {
    Fault::stopped("all requests were stopped before this one went out")
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

/// Of a request that is under way at [`Client::shutdown`]. `went_out`: the vendor may have billed it.
pub fn ending(went_out: bool) -> Fault {
    Fault { went_out, ..Fault::new(FaultKind::Busy, ENDING) }
}

/// The message of the fault `busy` after [`Client::shutdown`].
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
        kind if is_disconnect_kind(kind) => (FaultKind::Reset, CUT_SHORT),
        // What the TLS library says comes wrapped like this.
        ErrorKind::InvalidData if error.get_ref().is_some() => return tls::fault_of_io(error),
        ErrorKind::NotConnected => (FaultKind::Busy, ENDING),
        _ => (FaultKind::Internal, "the request failed"),
    };
    Fault::new(kind, message)
}

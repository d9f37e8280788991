//! A provider that does what a test tells it to, and counts what it was asked.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{self, Handler, Next, Request, Response};

/// How one request is answered.
pub enum Behaviour {
    Answer(Response),
    /// The same, but later.
    After(Duration, Box<Behaviour>),
    /// The connection stays open without a byte until the client gives up or the provider is dropped.
    Never,
    /// The connection is closed in the proper way, without an answer.
    Close,
    /// A TCP reset instead of an answer.
    Reset,
    /// Announces the whole body, sends half of it, and then does the next thing with the connection.
    HalfBody(Response, After),
    /// The whole answer, one byte at a time.
    SlowBytes(Response, Duration),
    /// As many bytes of JSON-looking body as asked for.
    Huge(usize),
    /// A small gzip body that unpacks to so many bytes.
    GzipBomb(usize),
    /// An answer, after which the provider closes the connection without having said so: the next request
    /// of a client that keeps connections alive meets a stale one.
    AnswerThenClose(Response),
    /// Exactly these bytes, then close.
    Raw(Vec<u8>),
    /// Anything else.
    Custom(Action),
}

/// What happens after half a body.
#[derive(Clone, Copy, Debug)]
pub enum After {
    Close,
    Silence,
    Reset,
}

impl Behaviour {
    pub fn json(status: u16, body: Value) -> Behaviour {
        Behaviour::Answer(Response::json(status, &body))
    }

    pub fn redirect(status: u16, location: &str) -> Behaviour {
        Behaviour::Answer(Response::json(status, &json!({})).with_header("Location", location))
    }

    pub fn after(self, delay: Duration) -> Behaviour {
        Behaviour::After(delay, Box::new(self))
    }
}

/// Writes to the socket whatever it likes.
pub type Action = Box<dyn FnOnce(&mut TcpStream) -> io::Result<Next> + Send>;

type Rule = Arc<dyn Fn(&Request) -> Behaviour + Send + Sync>;

/// A running provider. Dropping it closes every connection.
pub struct Provider {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    in_flight: AtomicUsize,
    peak_in_flight: AtomicUsize,
    connections: AtomicUsize,
    rules: Mutex<HashMap<String, Rule>>,
    fallback: Mutex<Option<Rule>>,
    requests: Mutex<Vec<Request>>,
    streams: Mutex<HashMap<SocketAddr, TcpStream>>,
    /// How many [`Held`] there are.
    held: Mutex<usize>,
    released: Condvar,
}

/// No request is answered while this lives: what has to happen meanwhile happens, however busy the machine is.
pub struct Held<'a>(&'a State);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *lock(&self.0.held) -= 1;
        self.0.released.notify_all();
    }
}

impl Provider {
    /// Answers every request with [`person`] until told otherwise.
    pub fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(State::default());
        let handler = Arc::clone(&state);
        std::thread::spawn(move || http::serve(&listener, &handler));
        Provider { address, state }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests to `path` are answered so from now on.
    pub fn on(&self, path: &str, rule: impl Fn(&Request) -> Behaviour + Send + Sync + 'static) {
        lock(&self.state.rules).insert(path.to_owned(), Arc::new(rule));
    }

    /// Requests to all paths without a rule of their own are answered so from now on.
    pub fn always(&self, rule: impl Fn(&Request) -> Behaviour + Send + Sync + 'static) {
        *lock(&self.state.fallback) = Some(Arc::new(rule));
    }

    /// Every request that arrived, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.requests).clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.state.requests).len()
    }

    pub fn count_of(&self, path: &str) -> usize {
        lock(&self.state.requests).iter().filter(|request| request.path == path).count()
    }

    /// Connections accepted, with or without a request.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub fn in_flight(&self) -> usize {
        self.state.in_flight.load(Ordering::SeqCst)
    }

    pub fn peak_in_flight(&self) -> usize {
        self.state.peak_in_flight.load(Ordering::SeqCst)
    }

    /// Forgets requests and peaks; rules and connections stay.
    pub fn forget(&self) {
        lock(&self.state.requests).clear();
        self.state.peak_in_flight.store(0, Ordering::SeqCst);
    }

    /// Waits until so many requests have arrived since the start or [`Provider::forget`].
    pub fn wait_for(&self, count: usize, timeout: Duration) {
        let until = Instant::now() + timeout;
        while self.count() < count {
            assert!(
                Instant::now() < until,
                "{} of {count} requests arrived within {timeout:?}",
                self.count()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Requests arrive and are counted, and are answered when what this returns is dropped.
    pub fn hold(&self) -> Held<'_> {
        *lock(&self.state.held) += 1;
        Held(&self.state)
    }

    /// Closes what is open from the server's side, as an idle timeout would; goes on accepting.
    pub fn close_connections(&self) {
        for (_, stream) in lock(&self.state.streams).drain() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// A complete provider description that maps the answers of [`person`], asking under `path`.
    pub fn config(&self, path: &str) -> Value {
        json!({
            "request": {
                "method": "GET",
                "url": self.url(path),
                "headers": {"X-Api-Key": "{secret}"},
                "query": {"email": "{email}", "name": "{full_name}", "company": "{company_name}"}
            },
            "identify_by": [["email"], ["full_name", "company_name"]],
            "response": {
                "no_match": {"status": [404], "absent": "/data"},
                "fields": {
                    "job_title": "/data/job_title",
                    "company_name": "/data/company_name",
                    "linkedin_url": "/data/linkedin_url",
                    "phone": "/data/phone",
                    "location": "/data/location",
                    "seniority": "/data/seniority"
                },
                "confidence": {"pointer": "/likelihood", "divide_by": 10}
            }
        })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.close_connections();
        // The accepting thread notices at its next connection, which is this one.
        let _ = TcpStream::connect(self.address);
    }
}

/// A match with all six fields, likelihood 9.
pub fn person() -> Value {
    json!({
        "likelihood": 9,
        "data": {
            "job_title": "General Counsel",
            "company_name": "Acme Corp",
            "linkedin_url": "https://www.linkedin.com/in/jane-example",
            "phone": "+15550100100",
            "location": "New York, NY, US",
            "seniority": "c_suite"
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A rule that panicked has failed its test already; the others go on.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl State {
    fn wait_while_held(&self) {
        let mut held = lock(&self.held);
        while *held > 0 && !self.is_stopped() {
            let (again, _) = self
                .released
                .wait_timeout(held, Duration::from_millis(100))
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            held = again;
        }
    }

    fn behaviour(&self, request: &Request) -> Behaviour {
        let rule = lock(&self.rules).get(&request.path).cloned().or_else(|| lock(&self.fallback).clone());
        match rule {
            Some(rule) => rule(request),
            None => Behaviour::json(200, person()),
        }
    }
}

/// Counts a request as in flight for as long as this lives, panics included.
struct InFlight<'a>(&'a State);

impl<'a> InFlight<'a> {
    fn new(state: &'a State) -> InFlight<'a> {
        let now = state.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        state.peak_in_flight.fetch_max(now, Ordering::SeqCst);
        InFlight(state)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for State {
    fn connected(&self, stream: &TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        if let (Ok(peer), Ok(stream)) = (stream.peer_addr(), stream.try_clone()) {
            lock(&self.streams).insert(peer, stream);
        }
    }

    /// A socket is only closed when its last copy is: ours goes with the conversation.
    fn disconnected(&self, peer: SocketAddr) {
        lock(&self.streams).remove(&peer);
    }

    fn handle(&self, request: Request, stream: &mut TcpStream) -> io::Result<Next> {
        let _counted = InFlight::new(self);
        lock(&self.requests).push(request.clone());
        let behaviour = self.behaviour(&request);
        self.wait_while_held();
        act(behaviour, stream)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

fn act(behaviour: Behaviour, stream: &mut TcpStream) -> io::Result<Next> {
    match behaviour {
        Behaviour::Answer(response) => http::answer(stream, &response),
        Behaviour::After(delay, then) => {
            std::thread::sleep(delay);
            act(*then, stream)
        }
        Behaviour::Never => silence(stream),
        Behaviour::Close => close(stream, After::Close),
        Behaviour::Reset => close(stream, After::Reset),
        Behaviour::HalfBody(response, after) => {
            stream.write_all(&response.head(response.body.len()))?;
            stream.write_all(&response.body[..response.body.len() / 2])?;
            close(stream, after)
        }
        Behaviour::SlowBytes(response, pause) => slowly(stream, &response.to_bytes(), pause),
        Behaviour::Huge(bytes) => huge(stream, bytes),
        Behaviour::GzipBomb(bytes) => gzip_bomb(stream, bytes),
        Behaviour::AnswerThenClose(response) => {
            http::answer(stream, &response)?;
            close(stream, After::Close)
        }
        Behaviour::Raw(bytes) => {
            stream.write_all(&bytes)?;
            close(stream, After::Close)
        }
        Behaviour::Custom(action) => action(stream),
    }
}

/// Ends when the client closes its side, or the provider closes ours.
fn silence(stream: &mut TcpStream) -> io::Result<Next> {
    let mut unwanted = [0; 1024];
    while stream.read(&mut unwanted)? > 0 {}
    Ok(Next::Close)
}

fn close(stream: &mut TcpStream, how: After) -> io::Result<Next> {
    match how {
        After::Silence => return silence(stream),
        After::Close => stream.shutdown(Shutdown::Both)?,
        // With a linger of zero, closing (the last copy of) the socket is a reset.
        After::Reset => socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?,
    }
    Ok(Next::Close)
}

fn slowly(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> io::Result<Next> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        std::thread::sleep(pause);
    }
    Ok(Next::KeepAlive)
}

fn huge(stream: &mut TcpStream, bytes: usize) -> io::Result<Next> {
    let head = Response::json(200, &Value::Null).head(bytes + 2);
    stream.write_all(&head)?;
    stream.write_all(b"\"")?;
    let chunk = [b'x'; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len());
        stream.write_all(&chunk[..now])?;
        left -= now;
    }
    stream.write_all(b"\"")?;
    Ok(Next::KeepAlive)
}

fn gzip_bomb(stream: &mut TcpStream, bytes: usize) -> io::Result<Next> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    io::copy(&mut io::repeat(b' ').take(bytes as u64), &mut encoder)?;
    let response = Response { status: 200, headers: Vec::new(), body: encoder.finish()? }
        .with_header("Content-Type", "application/json")
        .with_header("Content-Encoding", "gzip");
    http::answer(stream, &response)
}

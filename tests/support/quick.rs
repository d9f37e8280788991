//! A provider for hundreds of thousands of requests: no log of them, no rules to look up, as few steps as possible.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What somebody gets whose e-mail address begins with `person` and this number, modulo [`KINDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A match whose phone number has never been seen before.
    Match,
    NoMatch,
    ServerError,
    Moved,
    BadJson,
    TooLarge,
    HalfBody,
    Reset,
    Silence,
}

const ALL: [Kind; 9] = [
    Kind::Match,
    Kind::NoMatch,
    Kind::ServerError,
    Kind::Moved,
    Kind::BadJson,
    Kind::TooLarge,
    Kind::HalfBody,
    Kind::Reset,
    Kind::Silence,
];
/// Then the connection is closed.
const SILENCE: Duration = Duration::from_secs(2);
pub const KINDS: i32 = ALL.len() as i32;

impl Kind {
    /// The n-th person of this kind, counted from 0.
    pub fn person(self, n: i32) -> i32 {
        n * KINDS + self as i32
    }
}

/// Dropping it ends it; connections end with their clients.
pub struct QuickProvider {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    requests: AtomicU64,
}

impl QuickProvider {
    pub fn start() -> QuickProvider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&shared);
                // A connection that breaks is what is wanted, or the client's affair.
                std::thread::spawn(move || converse(stream, &shared.requests));
            }
        });
        QuickProvider { port, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for QuickProvider {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // The accepting thread notices at its next connection, which is this one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn converse(mut stream: TcpStream, requests: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4_096];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if !buffer[..filled].ends_with(b"\r\n\r\n") {
            continue;
        }
        let number = requests.fetch_add(1, Ordering::SeqCst);
        match kind_of(&buffer[..filled]) {
            Kind::Match => {
                let body = format!("{{\"likelihood\": 9, \"data\": {{\"phone\": \"+1{number:010}\"}}}}");
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
            }
            Kind::NoMatch => stream.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}")?,
            Kind::ServerError => stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}")?,
            Kind::Moved => {
                stream.write_all(b"HTTP/1.1 302 No\r\nLocation: /else\r\nContent-Length: 2\r\n\r\n{}")?;
            }
            Kind::BadJson => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"data\":")?,
            Kind::TooLarge => {
                return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n{");
            }
            Kind::HalfBody => return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"da"),
            // With a linger of zero, closing is a reset.
            Kind::Reset => return socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
            Kind::Silence => {
                std::thread::sleep(SILENCE);
                return Ok(());
            }
        }
        filled = 0;
    }
}

fn kind_of(request: &[u8]) -> Kind {
    const MARK: &[u8] = b"email=person";
    let start = request.windows(MARK.len()).position(|window| window == MARK).map(|at| at + MARK.len());
    let digits = request[start.unwrap_or_default()..].iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    ALL[number % ALL.len()]
}

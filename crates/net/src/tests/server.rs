//! A provider on 127.0.0.1 that does exactly what a test tells it to.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::Job;
use leadlex_domain::provider::{HttpRequest, Method};

/// A provider that listens until the test ends.
pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

/// One connection as its handler sees it.
pub struct Visit {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// The handler owns the connection; it is closed when the handler returns.
    pub fn start(handler: impl Fn(Visit) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count, log, handler) = (Arc::clone(&connections), Arc::clone(&requests), Arc::new(handler));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let visit = Visit {
                    reader: BufReader::new(stream.try_clone().unwrap()),
                    stream,
                    requests: Arc::clone(&log),
                };
                let handler = Arc::clone(&handler);
                thread::spawn(move || handler(visit));
            }
        });
        Server { address, connections, requests }
    }

    /// Answers every request, over keep-alive connections, with what the function makes of it.
    pub fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
        Server::start(move |mut visit| {
            while let Some(request) = visit.request() {
                visit.send(answer(&request));
            }
        })
    }

    /// The URL of this path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Connections that were accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Head and body of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Visit {
    /// Head and body of the next request; None when the client has closed.
    pub fn request(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            match self.reader.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return None,
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            text.push_str(&line);
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).ok()?;
        text.push_str(&String::from_utf8_lossy(&body));
        self.requests.lock().unwrap().push(text.clone());
        Some(text)
    }

    /// False when the client is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Until the client closes.
    pub fn hang(&mut self) {
        let _ = self.reader.read_to_end(&mut Vec::new());
    }
}

/// An answer with status 200 and this body.
pub fn ok(body: &str) -> Vec<u8> {
    with_length(body.len(), body)
}

/// The same, with a `Content-Length` (in bytes) that may be wrong.
pub fn with_length(length: usize, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A GET without body, see [`request`].
pub fn get(url: String) -> Job {
    request(Method::Get, url, None)
}

/// A job with a time limit of 5 s, at most 1 MiB of body, and without the address guard.
pub fn request(method: Method, url: String, body: Option<&str>) -> Job {
    let body = body.map(|text| text.as_bytes().to_vec());
    let headers = vec![("X-Test".to_owned(), "1".to_owned())];
    Job {
        request: Arc::new(HttpRequest::new(method, url, headers, body, None)),
        timeout: Duration::from_secs(5),
        max_body_bytes: 1024 * 1024,
        allow_private: true,
        outlasts: false,
        may_send: || true,
        share: None,
    }
}

/// Starts a thread of this name; signals are not blocked in it.
pub fn spawn(name: &str, work: Box<dyn FnOnce() + Send + 'static>) -> std::io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

//! A small HTTP/1.1 server over std, with keep-alive and a thread per connection: what the test provider and
//! the sample provider have in common. It gives the raw socket to its user, who may then misbehave at will.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

const MAX_HEAD_BYTES: u64 = 64 * 1024;
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A request as it arrived: names and values percent-decoded, header names in lower case.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The client's address, which tells connections apart.
    pub peer: SocketAddr,
}

impl Request {
    pub fn param(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, &name.to_ascii_lowercase())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or(serde_json::Value::Null)
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// A well-formed answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(status: u16, body: &serde_json::Value) -> Response {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Response { status, headers, body: body.to_string().into_bytes() }
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Response {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Head and body in one piece, so that they leave in one segment where they fit.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(self.body.len());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The head alone, announcing `content_length`, true or not.
    pub fn head(&self, content_length: usize) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {content_length}\r\n\r\n"));
        head.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    KeepAlive,
    Close,
}

/// What a server does with its requests.
pub trait Handler: Send + Sync + 'static {
    fn connected(&self, _stream: &TcpStream) {}
    fn disconnected(&self, _peer: SocketAddr) {}
    fn handle(&self, request: Request, stream: &mut TcpStream) -> io::Result<Next>;
    fn is_stopped(&self) -> bool {
        false
    }
}

/// Accepts connections until the handler says that it is stopped (which takes one more connection to notice).
pub fn serve<H: Handler>(listener: &TcpListener, handler: &Arc<H>) {
    for stream in listener.incoming() {
        if handler.is_stopped() {
            return;
        }
        let Ok(stream) = stream else { continue };
        let handler = Arc::clone(handler);
        std::thread::spawn(move || converse(stream, handler.as_ref()));
    }
}

/// A broken connection is the client's affair (or the handler's wish): the thread ends, nothing is said.
fn converse<H: Handler>(mut stream: TcpStream, handler: &H) {
    let _ = stream.set_nodelay(true);
    let (Ok(peer), Ok(read_half)) = (stream.peer_addr(), stream.try_clone()) else { return };
    handler.connected(&stream);
    let mut reader = BufReader::new(read_half);
    while let Ok(Some(request)) = read_request(&mut reader, peer) {
        let asked_to_close = request.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        match handler.handle(request, &mut stream) {
            Ok(Next::KeepAlive) if !asked_to_close => {}
            _ => break,
        }
    }
    handler.disconnected(peer);
}

/// `None` when the client closed the connection between two requests.
fn read_request(reader: &mut BufReader<TcpStream>, peer: SocketAddr) -> io::Result<Option<Request>> {
    let mut head = reader.by_ref().take(MAX_HEAD_BYTES);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(malformed("request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (method, path, query) = (method.to_owned(), percent_decode(path, false), parse_query(query));

    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(malformed("head"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header"))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length =
        find(&headers, "content-length").map_or(Ok(0), str::parse).map_err(|_| malformed("length"))?;
    if length > MAX_BODY_BYTES {
        return Err(malformed("body too large"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, query, headers, body, peer }))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name, true), percent_decode(value, true))
        })
        .collect()
}

fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escaped = bytes.get(i + 1..i + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[i], escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) if plus_is_space => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes an answer and keeps the connection.
pub fn answer(stream: &mut TcpStream, response: &Response) -> io::Result<Next> {
    stream.write_all(&response.to_bytes())?;
    Ok(Next::KeepAlive)
}

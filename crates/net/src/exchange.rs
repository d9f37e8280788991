//! One request and its answer on a connection: HTTP is ureq's (`ureq-proto`), without I/O of its own. It goes on as far as it can
//! and says what it waits for, so that it can be driven by a thread that waits, or by one that has other things to wait for,
//! and can change from one to the other at any point between.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{self, HeaderName, HeaderValue, header};
use ureq::{Error, Timeout};
use ureq_proto::client::state::{Prepare, RecvBody, RecvResponse};
use ureq_proto::client::{Await100Result, Call, RecvBodyResult, RecvResponseResult, SendRequestResult};

use super::budget::{NoMore, Share};
use super::connect::{INPUT_BYTES, MAX_HEADER_BYTES, OUTPUT_BYTES, left, time_left};
use super::connection::{Connection, Kept};
use super::socket::Flushed;
use super::{Job, encoding, interim};
use leadlex_domain::provider::{Answer, HttpRequest, Method};

/// What is added to the header of a request, at most.
const OWN_HEAD_BYTES: usize = 512;
const FIRST_BODY_BYTES: usize = 8 * 1024;
/// How long it goes on without a pause, to the end of a step, of at most a buffer: who drives an exchange without a thread has
/// other things to look at, however fast the other side sends.
const LONGEST_TURN: Duration = Duration::from_millis(2);
const USER_AGENT: &str = concat!("leadlex_enrich/", env!("CARGO_PKG_VERSION"));

/// What an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Read,
    Write,
}

/// How far an exchange has come.
#[derive(Debug)]
pub enum Progress {
    Waits(Box<Exchange>, Wants),
    Answered(Answer),
    Failed(ExchangeFailure),
}

/// Why there is no answer, and what is known of the request.
#[derive(Debug)]
pub struct ExchangeFailure {
    pub error: Error,
    /// The connection had served before, and ended without a byte of an answer.
    pub stale: bool,
    /// Some of the request may have left this machine.
    pub sent: bool,
}

impl ExchangeFailure {
    /// Before there was a connection.
    pub fn unsent(error: Error) -> ExchangeFailure {
        ExchangeFailure { error, stale: false, sent: false }
    }
}

/// A request on its way: the connection that it has to itself, and how far it has come.
#[derive(Debug)]
pub struct Exchange {
    connection: Connection,
    stage: Stage,
    deadline: Instant,
    most_bytes: usize,
    share: Option<Arc<Share>>,
    sent: bool,
    answered: bool,
    /// What comes in belongs to the answer itself.
    in_answer: bool,
    /// Bytes of interim answers before it.
    interim_bytes: usize,
}

#[derive(Debug)]
enum Stage {
    /// The request stands ready in the connection.
    Sending(Call<RecvResponse>),
    Head(Call<RecvResponse>),
    Body(Box<Reading>),
    /// While it is being changed, and after an error.
    Over,
}

#[derive(Debug)]
struct Reading {
    call: Call<RecvBody>,
    answer: Answer,
    most: usize,
    /// Bytes that are no part of the body: sizes of chunks, trailers.
    framing_bytes: usize,
    /// Nothing more comes from the other side.
    ended: bool,
}

/// What one step came to.
enum Next {
    /// It can go on.
    On,
    Wait(Wants),
    /// With whether the connection can be used again.
    Done(Answer, bool),
}

impl Exchange {
    /// Forms the request; nothing is sent yet.
    pub fn new(job: &Job, connection: Connection, deadline: Instant) -> Result<Box<Exchange>, Error> {
        let mut exchange = Box::new(Exchange {
            connection,
            stage: Stage::Over,
            deadline,
            most_bytes: job.max_body_bytes,
            share: job.share.clone(),
            sent: false,
            answered: false,
            in_answer: false,
            interim_bytes: 0,
        });
        exchange.stage = Stage::Sending(exchange.write(&job.request)?);
        Ok(exchange)
    }

    /// The connection that serves the request.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// When the request has to be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Some of the request may have left this machine.
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// Whether waiting happens inside of [`Exchange::advance`], for a thread of its own.
    pub fn set_waits(&self, waits: bool) -> Result<(), Error> {
        Ok(self.connection.socket.set_waits(waits)?)
    }

    /// Goes on until the answer is there, or as far as it gets without waiting. A connection that can serve again goes to those
    /// that are kept.
    pub fn advance(mut self: Box<Self>, kept: &Kept) -> Progress {
        let begun = Instant::now();
        loop {
            if begun.elapsed() > LONGEST_TURN && !self.connection.socket.waits() {
                // The socket takes more, so that this wait is over at once.
                return Progress::Waits(self, Wants::Write);
            }
            match self.step() {
                Ok(Next::On) => {}
                Ok(Next::Wait(wants)) => return Progress::Waits(self, wants),
                Ok(Next::Done(answer, reusable)) => {
                    if reusable {
                        kept.put(self.connection);
                    }
                    return Progress::Answered(answer);
                }
                Err(error) => {
                    let stale = self.connection.used && !self.answered && is_disconnect(&error);
                    return Progress::Failed(ExchangeFailure { error, stale, sent: self.sent });
                }
            }
        }
    }

    fn write(&mut self, request: &HttpRequest) -> Result<Call<RecvResponse>, Error> {
        let mut call = prepared(request)?.proceed();
        let timeout = time_left(self.deadline);
        let mut head = vec![0; request.head_bytes() + OWN_HEAD_BYTES];
        while !call.can_proceed() {
            let amount = call.write(&mut head)?;
            for part in head[..amount].chunks(OUTPUT_BYTES) {
                self.connection.transport.buffers().output()[..part.len()].copy_from_slice(part);
                self.connection.transport.transmit_output(part.len(), timeout)?;
            }
        }
        let mut body = match call.proceed()? {
            Some(SendRequestResult::SendBody(body)) => body,
            Some(SendRequestResult::RecvResponse(call)) => return Ok(call),
            // A configured `Expect` header is sent, and the permission is not waited for.
            Some(SendRequestResult::Await100(call)) => match call.proceed()? {
                Await100Result::SendBody(body) => body,
                Await100Result::RecvResponse(call) => return Ok(call),
            },
            None => return Err(Error::ConnectionFailed),
        };
        let mut rest = request.body.as_deref().unwrap_or_default();
        loop {
            let (used, amount) = body.write(rest, self.connection.transport.buffers().output())?;
            self.connection.transport.transmit_output(amount, timeout)?;
            rest = &rest[used..];
            if body.can_proceed() {
                return body.proceed().ok_or(Error::ConnectionFailed);
            }
            if used == 0 {
                return Err(Error::ConnectionFailed);
            }
        }
    }

    fn step(&mut self) -> Result<Next, Error> {
        if left(self.deadline).is_zero() {
            return Err(Error::Timeout(Timeout::Global));
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Sending(call) => {
                let flushed = self.connection.socket.flush(left(self.deadline), &mut self.sent)?;
                if flushed == Flushed::Part {
                    self.stage = Stage::Sending(call);
                    return Ok(Next::Wait(Wants::Write));
                }
                self.stage = Stage::Head(call);
                // No answer is there already.
                Ok(if self.connection.socket.waits() { Next::On } else { Next::Wait(Wants::Read) })
            }
            Stage::Head(call) => self.read_head(call),
            Stage::Body(reading) => self.read_body(reading),
            Stage::Over => Err(Error::ConnectionFailed),
        }
    }

    /// Whether more has come; `None` where that would have to be waited for.
    fn more(&mut self) -> Result<Option<bool>, Error> {
        let timeout = time_left(self.deadline);
        match self.connection.transport.await_input(timeout) {
            Ok(more) => {
                self.answered |= more;
                if !self.in_answer {
                    let (in_answer, bytes) = interim::skip(self.connection.transport.buffers());
                    (self.in_answer, self.interim_bytes) = (in_answer, self.interim_bytes + bytes);
                    if self.interim_bytes > MAX_HEADER_BYTES {
                        return Err(Error::LargeResponseHeader(self.interim_bytes, MAX_HEADER_BYTES));
                    }
                }
                Ok(Some(more))
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_head(&mut self, mut call: Call<RecvResponse>) -> Result<Next, Error> {
        let Some(more) = self.more()? else {
            self.stage = Stage::Head(call);
            return Ok(Next::Wait(Wants::Read));
        };
        let buffers = self.connection.transport.buffers();
        let (used, response) = call.try_response(buffers.input(), false)?;
        let size = if response.is_some() { used } else { buffers.input().len() };
        if size > MAX_HEADER_BYTES {
            return Err(Error::LargeResponseHeader(size, MAX_HEADER_BYTES));
        }
        buffers.input_consume(used);
        let Some(response) = response else {
            self.stage = Stage::Head(call);
            return if more { Ok(Next::On) } else { Err(ended()) };
        };
        let answer = head_of(&response);
        if answer.status == 408 && self.connection.used {
            // Not an answer to this request: so servers end a connection that was idle for too long.
            self.answered = false;
            return Err(ended());
        }
        match call.proceed() {
            // It has no body, also where its header does not say so.
            _ if answer.status == 205 => Ok(Next::Done(answer, false)),
            Some(RecvResponseResult::RecvBody(call)) => self.begin_body(call, answer),
            Some(RecvResponseResult::Cleanup(call)) => Ok(Next::Done(answer, !call.must_close_connection())),
            Some(RecvResponseResult::Redirect(call)) => Ok(Next::Done(answer, !call.must_close_connection())),
            None => Err(Error::BodyStalled),
        }
    }

    fn begin_body(&mut self, call: Call<RecvBody>, mut answer: Answer) -> Result<Next, Error> {
        let most = match encoding::is_packed(&answer.headers) {
            true => encoding::packed_limit(self.most_bytes),
            false => self.most_bytes,
        };
        if let ureq_proto::BodyMode::LengthDelimited(length) = call.body_mode()
            && length > most as u64
        {
            return Err(Error::BodyExceedsLimit(most as u64));
        }
        let first = match (&self.share, call.body_mode()) {
            (Some(share), ureq_proto::BodyMode::LengthDelimited(length)) => {
                let length = (length as usize).min(share.most());
                if !encoding::is_packed(&answer.headers) {
                    share.at_most(length);
                }
                hold(share, length, self.deadline)?;
                length
            }
            (None, ureq_proto::BodyMode::LengthDelimited(length)) => usize::try_from(length)
                .map_or(FIRST_BODY_BYTES, |length| length.min(FIRST_BODY_BYTES))
                .min(most),
            _ => FIRST_BODY_BYTES.min(most),
        };
        answer.body.reserve_exact(first);
        self.stage = Stage::Body(Box::new(Reading { call, answer, most, framing_bytes: 0, ended: false }));
        Ok(Next::On)
    }

    fn read_body(&mut self, mut reading: Box<Reading>) -> Result<Next, Error> {
        let buffers = self.connection.transport.buffers();
        if let Some(share) = &self.share {
            reading.make_room(buffers.input().len(), share, self.deadline)?;
        }
        let used = reading.take(buffers.input())?;
        buffers.input_consume(used);
        if reading.is_whole() || (used == 0 && reading.ended) {
            return reading.finish();
        }
        if used == 0 {
            if buffers.input().len() >= INPUT_BYTES {
                return Err(Error::BodyStalled);
            }
            match self.more() {
                Ok(Some(true)) => {}
                Ok(Some(false)) => reading.ended = true,
                Ok(None) => {
                    self.stage = Stage::Body(reading);
                    return Ok(Next::Wait(Wants::Read));
                }
                // What came before may be all there is.
                Err(error) if is_disconnect(&error) => reading.ended = true,
                Err(error) => return Err(error),
            }
        }
        self.stage = Stage::Body(reading);
        Ok(Next::On)
    }
}

/// Waits for so much of the memory for large answers.
fn hold(share: &Share, bytes: usize, deadline: Instant) -> Result<(), Error> {
    share.hold(bytes, deadline).map_err(|no_more| match no_more {
        NoMore::TooLarge(most) => Error::BodyExceedsLimit(most as u64),
        NoMore::TooLate => Error::Timeout(Timeout::Global),
    })
}

impl Reading {
    /// For what has come: before it is taken, so that no more is held than was given.
    fn make_room(&mut self, bytes: usize, share: &Share, deadline: Instant) -> Result<(), Error> {
        let body = &mut self.answer.body;
        let needed = body.len() + bytes;
        if needed > body.capacity() {
            let next = needed.max(body.capacity() * 2).min(needed.max(share.most()));
            // The last of a chunked body comes with what frames it, which takes no room.
            hold(share, next.min(share.most()), deadline)?;
            body.reserve_exact(next - body.len());
        }
        Ok(())
    }

    /// Takes from what has come; how much of it.
    fn take(&mut self, input: &[u8]) -> Result<usize, Error> {
        if input.is_empty() {
            return Ok(0);
        }
        let body = &mut self.answer.body;
        let at = body.len();
        body.resize(at + input.len(), 0);
        let (used, got) = self.call.read(input, &mut body[at..])?;
        body.truncate(at + got);
        self.framing_bytes += used.saturating_sub(got);
        if body.len() > self.most || self.framing_bytes > self.most.max(MAX_HEADER_BYTES) {
            return Err(Error::BodyExceedsLimit(self.most as u64));
        }
        Ok(used)
    }

    fn is_whole(&self) -> bool {
        self.call.can_proceed() && !matches!(self.call.body_mode(), ureq_proto::BodyMode::CloseDelimited)
    }

    fn finish(self: Box<Self>) -> Result<Next, Error> {
        let Reading { call, answer, .. } = *self;
        if !call.can_proceed() {
            // Servers are known to end the connection in the last line of a chunked body.
            return if call.is_ended_chunked() { Ok(Next::Done(answer, false)) } else { Err(ended()) };
        }
        let must_close = match call.proceed() {
            Some(RecvBodyResult::Cleanup(call)) => call.must_close_connection(),
            Some(RecvBodyResult::Redirect(call)) => call.must_close_connection(),
            None => true,
        };
        Ok(Next::Done(answer, !must_close))
    }
}

fn prepared(request: &HttpRequest) -> Result<Call<Prepare>, Error> {
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
    let mut call = Call::new(builder.body(()).map_err(Error::Http)?)?;
    for (name, value) in
        [(header::ACCEPT_ENCODING, "gzip"), (header::USER_AGENT, USER_AGENT), (header::ACCEPT, "*/*")]
    {
        if !call.headers().contains_key(&name) {
            call.header(name, value)?;
        }
    }
    if request.method == Method::Post {
        let length = request.body.as_ref().map_or(0, Vec::len);
        call.header(header::CONTENT_LENGTH, HeaderValue::from(length))?;
    }
    Ok(call)
}

fn head_of(response: &http::Response<()>) -> Answer {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = response.headers().iter().map(header).collect();
    Answer { status: response.status().as_u16(), headers, body: Vec::new() }
}

fn ended() -> Error {
    Error::Io(ErrorKind::UnexpectedEof.into())
}

fn is_disconnect(error: &Error) -> bool {
    matches!(error, Error::Io(error) if is_disconnect_kind(error.kind()))
}

/// Whether such an error means that the other side has ended the connection.
pub fn is_disconnect_kind(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

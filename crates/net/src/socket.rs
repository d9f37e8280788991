//! A connection's socket, as a transport for ureq's TLS. It either waits for the other side, on a thread of its own, or never
//! waits, so that a backend can wait for it together with other things.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

/// Read from, written to, and shut down through this; each connection has two: its transport's, and its own.
#[derive(Clone, Debug)]
pub struct Socket(Arc<Inner>);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.stream.as_fd()
    }
}

/// The socket itself, which its transport, its connection and [`super::connection::Kept`] know.
#[derive(Debug)]
pub struct Inner {
    stream: TcpStream,
    waits: AtomicBool,
    /// What the transport was given to send, and the system has not taken.
    unsent: Mutex<Vec<u8>>,
}

impl Inner {
    /// Ends all reading and writing, in whichever thread.
    pub fn shut_down(&self) {
        // An error means that it is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// How far sending has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    All,
    /// The system takes no more now.
    Part,
}

impl Socket {
    /// One that waits.
    pub fn new(stream: TcpStream) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        Ok(Socket(Arc::new(Inner { stream, waits: AtomicBool::new(true), unsent: Mutex::default() })))
    }

    /// The descriptor, for waiting.
    pub fn fd(&self) -> RawFd {
        self.0.stream.as_raw_fd()
    }

    /// What another thread can end the connection by.
    pub fn shared(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Sets whether reading and writing wait for the other side (`true`), or fail with `WouldBlock`.
    pub fn set_waits(&self, waits: bool) -> io::Result<()> {
        if self.waits() != waits {
            self.0.stream.set_nonblocking(!waits)?;
            self.0.waits.store(waits, Ordering::Relaxed);
        }
        Ok(())
    }

    /// As [`Socket::set_waits`] was told; a new socket waits.
    pub fn waits(&self) -> bool {
        self.0.waits.load(Ordering::Relaxed)
    }

    fn unsent(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what is to be sent; `sent` becomes true as soon as the system has taken a byte of it.
    pub fn flush(&self, longest: Duration, sent: &mut bool) -> Result<Flushed, Error> {
        let mut unsent = self.unsent();
        let mut done = 0;
        if self.waits() && !unsent.is_empty() {
            self.0.stream.set_write_timeout(Some(longest.max(SHORTEST)))?;
        }
        let outcome = loop {
            if done == unsent.len() {
                break Ok(Flushed::All);
            }
            match (&self.0.stream).write(&unsent[done..]) {
                Ok(0) => break Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(amount) => {
                    done += amount;
                    *sent = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.waits() => {
                    break Ok(Flushed::Part);
                }
                Err(error) => break Err(in_time(error)),
            }
        };
        unsent.drain(..done);
        outcome
    }

    fn read(&self, into: &mut [u8], longest: Duration) -> Result<usize, Error> {
        if self.waits() {
            self.0.stream.set_read_timeout(Some(longest.max(SHORTEST)))?;
        }
        loop {
            match (&self.0.stream).read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if self.waits() => return Err(in_time(error)),
                outcome => return Ok(outcome?),
            }
        }
    }
}

/// The system takes no time of zero.
const SHORTEST: Duration = Duration::from_millis(1);

/// A wait that ended without anything is a time-out.
fn in_time(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(ureq::Timeout::Global),
        _ => Error::Io(error),
    }
}

/// The lowest transport.
#[derive(Debug)]
pub struct SocketTransport {
    socket: Socket,
    buffers: LazyBuffers,
}

impl SocketTransport {
    /// A transport without TLS over this socket.
    pub fn new(socket: Socket, buffers: LazyBuffers) -> SocketTransport {
        SocketTransport { socket, buffers }
    }
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    /// Never waits: what is sent is flushed by the connection, or before the next wait for input.
    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let output = &self.buffers.output()[..amount];
        self.socket.unsent().extend_from_slice(output);
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let longest = *timeout.after;
        if self.socket.waits() {
            self.socket.flush(longest, &mut false)?;
        }
        let amount = self.socket.read(self.buffers.input_append_buf(), longest)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // The connection looks itself, above TLS.
        true
    }
}

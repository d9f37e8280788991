//! How a thread tells the one that asks that an outcome is there.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// One for all requests of a session, since each pipe takes two descriptors.
pub struct Notifier {
    notified: AtomicBool,
    pub(super) pipe: (PipeReader, PipeWriter),
}

impl Notifier {
    /// An error where the system gives no pipe.
    pub fn new() -> io::Result<Notifier> {
        Ok(Notifier { notified: AtomicBool::new(false), pipe: io::pipe()? })
    }

    /// Readable when there is something to look at.
    pub fn fd(&self) -> RawFd {
        self.pipe.0.as_raw_fd()
    }

    /// Takes the notice away; without one, nothing happens. To be called before looking at outcomes.
    pub fn drain(&self) {
        // There is at most one byte, and it is there once `notified` says so, or will be in a moment.
        if self.notified.swap(false, Ordering::AcqRel) {
            let _ = (&self.pipe.0).read_exact(&mut [0]);
        }
    }

    /// Makes the descriptor readable; a notice that has not been taken away is enough.
    pub fn notify(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            // The pipe is empty, or about to be emptied, so this cannot block for long.
            let _ = (&self.pipe.1).write_all(&[1]);
        }
    }
}

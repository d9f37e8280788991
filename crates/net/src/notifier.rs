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
    pub fn new() -> io::Result<Notifier> {
        Ok(Notifier { notified: AtomicBool::new(false), pipe: io::pipe()? })
    }

    /// Readable when there is something to look at.
    pub fn fd(&self) -> RawFd {
        self.pipe.0.as_raw_fd()
    }

    pub fn drain(&self) {
        // There is at most one byte, and it is there once `notified` says so, or will be in a moment.
        if self.notified.swap(false, Ordering::AcqRel) {
            let _ = (&self.pipe.0).read_exact(&mut [0]);
        }
    }

    pub fn notify(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            // The pipe is empty, or about to be emptied, so this cannot block for long.
            let _ = (&self.pipe.1).write_all(&[1]);
        }
    }
}

//! How a thread tells another that something is there: an outcome, or a request.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// One for all requests of a session: it takes a descriptor.
pub struct Notifier {
    notified: AtomicBool,
    event: OwnedFd,
}

impl Notifier {
    /// An error where the system gives no descriptor.
    pub fn new() -> io::Result<Notifier> {
        // Each reading takes one notice away. Of two that come at once the second would be lost otherwise, and waited for.
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE)?;
        Ok(Notifier { notified: AtomicBool::new(false), event })
    }

    /// Readable when there is something to look at.
    pub fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Takes the notice away; without one, nothing happens. To be called before looking at outcomes.
    pub fn drain(&self) {
        // The notice is there once `notified` says so, or will be in a moment.
        if self.notified.swap(false, Ordering::AcqRel) {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
    }

    /// Makes the descriptor readable; a notice that has not been taken away is enough.
    pub fn notify(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// Those who notify come between each other, and between the two steps of who drains.
    #[test]
    fn no_notice_is_lost_and_none_is_waited_for_in_vain() {
        let (done, end) = mpsc::channel();
        thread::spawn(move || {
            let notifier = Arc::new(Notifier::new().unwrap());
            let until = Instant::now() + Duration::from_secs(2);
            let notifies = |_| {
                let notifier = Arc::clone(&notifier);
                thread::spawn(move || {
                    while Instant::now() < until {
                        notifier.notify();
                    }
                })
            };
            let threads: Vec<_> = (0..4).map(notifies).collect();
            while Instant::now() < until {
                notifier.drain();
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            notifier.drain();
            notifier.notify();
            notifier.drain();
            done.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(20)).expect("draining ends");
    }
}

//! Waiting for a provider: the request runs on a helper thread with all signals blocked, and the backend waits for
//! its latch and the answer together. So cancel, timeouts, termination and barriers work as in any wait of Postgres.

use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::domain::provider::{Answer, Fault, FaultKind};
use crate::net::{Bell, Courier, Job, Keep, Ticket};

/// The thread enforces the timeout; this much later the backend stops waiting for the thread itself.
const GRACE: Duration = Duration::from_millis(250);

thread_local! {
    /// One per backend, kept: connections to providers stay open between calls.
    static COURIER: RefCell<Option<Courier>> = const { RefCell::new(None) };
}

#[derive(Clone, Copy)]
pub enum Event {
    /// A provider's answer.
    Provider,
    /// Credits, or the background worker's books.
    Books,
    /// The background worker has nothing to do.
    Idle,
}

/// What pg_stat_activity shows as wait_event. Before 17 extensions cannot name theirs.
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub fn event(_event: Event) -> u32 {
    pg_sys::PG_WAIT_EXTENSION
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
pub fn event(event: Event) -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static KNOWN: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
    let name = match event {
        Event::Provider => c"LeadlexProvider",
        Event::Books => c"LeadlexBooks",
        Event::Idle => c"LeadlexWorkerIdle",
    };
    let known = &KNOWN[event as usize];
    if known.load(Ordering::Relaxed) == 0 {
        // SAFETY: a static name; the same name gives the same number in every backend.
        known.store(unsafe { pg_sys::WaitEventExtensionNew(name.as_ptr()) }, Ordering::Relaxed);
    }
    known.load(Ordering::Relaxed)
}

/// A request on its way.
pub struct Sent {
    ticket: Ticket,
    until: Instant,
}

/// Sends the request. When nobody waits for its outcome any more, the request goes on in its thread until it ends by
/// itself, and `keep` gets what comes of it: the provider will bill it anyway. `bell` rings when it is done.
pub fn send(job: Job, keep: Keep, bell: Option<&Bell>) -> Result<Sent, Fault> {
    let until = Instant::now() + job.timeout + GRACE;
    let ticket = COURIER
        .with_borrow_mut(|courier| courier.get_or_insert_with(open_courier).send(job, Some(keep), bell))?;
    Ok(Sent { ticket, until })
}

impl Sent {
    /// The outcome, if it is there, or the time is over.
    pub fn try_take(&mut self) -> Option<Result<Answer, Fault>> {
        let late = || Err(Fault::new(FaultKind::Timeout, "the provider did not answer in time"));
        self.ticket.try_take().or_else(|| self.left().is_zero().then(late))
    }

    pub fn wait(mut self) -> Result<Answer, Fault> {
        loop {
            if let Some(outcome) = self.try_take() {
                return outcome;
            }
            wait_for(self.ticket.fd(), self.left());
        }
    }

    /// How long it is still waited for.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// Waits until one of several requests is done, at most so long.
pub fn for_bell(bell: &Bell, longest: Duration) {
    wait_for(bell.fd(), longest);
    bell.silence();
}

fn wait_for(fd: i32, left: Duration) {
    let wake =
        pg_sys::WL_LATCH_SET | pg_sys::WL_SOCKET_READABLE | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: MyLatch is valid in every backend; fd stays open while the ticket lives.
    unsafe {
        let milliseconds = left.as_millis() as i64 + 1;
        let woken =
            pg_sys::WaitLatchOrSocket(pg_sys::MyLatch, wake as i32, fd, milliseconds, event(Event::Provider));
        if woken & pg_sys::WL_LATCH_SET as i32 != 0 {
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
    }
    pgrx::check_for_interrupts!();
}

/// A short, interruptible sleep.
pub fn nap(pause: Duration) {
    let wake = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: waits for this process's own latch.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, wake as i32, pause.as_millis() as i64, event(Event::Books));
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

fn open_courier() -> Courier {
    // SAFETY: registered once per backend, when the first courier is made.
    unsafe { pg_sys::on_proc_exit(Some(close_courier), pg_sys::Datum::from(0)) };
    Courier::new(spawn)
}

/// Sockets are closed at once when the backend exits, so that no thread is in the middle of something.
#[pg_guard]
unsafe extern "C-unwind" fn close_courier(_code: i32, _arg: pg_sys::Datum) {
    COURIER.with_borrow(|courier| {
        if let Some(courier) = courier {
            courier.shutdown();
        }
    });
    super::robust::close_gate();
}

/// A thread in which no signal is ever delivered: Postgres's handlers must run in the main thread.
fn spawn(name: &str, work: Box<dyn FnOnce() + Send + 'static>) -> io::Result<()> {
    // SAFETY: sigset_t is plain data filled by sigfillset; the mask is restored before returning. A new thread
    // inherits the mask of the one that makes it, so there is no moment at which it has another.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        started.map(drop)
    }
}

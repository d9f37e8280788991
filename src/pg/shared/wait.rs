//! Waiting for a provider. On a connection that is kept, a single call's request runs on the backend's own thread: it waits for
//! its latch and the socket together, and serves interrupts only between steps of the request. Other requests run on helper
//! threads with all signals blocked (one for all whose connection is kept), and the backend waits for its latch and their notifier. So cancel, timeouts, termination
//! and barriers work as in any wait of Postgres. A request that loses its caller goes on in a helper thread.

use crate::pg::shared::workers;
use crate::pg::sys::robust_mutex;
use leadlex_domain::sqlstate;
use std::cell::RefCell;
use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pgrx::{PgTryBuilder, pg_guard, pg_sys};

use crate::pg::sys::raise;
use crate::pg::sys::raise::PgError;
use leadlex_domain::provider::{Answer, Fault, FaultKind};
use leadlex_net::{Announce, Awaited, Job, Keep, OpenError, PendingRequest, RequestPool, Wants};

/// The thread enforces the timeout; this much later the backend stops waiting for the thread itself.
pub const GRACE: Duration = Duration::from_millis(250);

/// Between looks whether requests that have all descriptors are over.
const ROOM_PAUSE: Duration = Duration::from_millis(20);

thread_local! {
    /// One per backend, kept: connections to providers stay open between calls.
    static REQUESTS: RefCell<Option<Requests>> = const { RefCell::new(None) };
}

struct Requests {
    pool: RequestPool,
    /// For the latch and the pool's notifier. Kept, as each takes a descriptor.
    waits: *mut pg_sys::WaitEventSet,
    /// For the latch and a connection's socket: those of the connections that were used last.
    sockets: Vec<SocketWaits>,
}

/// Connections that can be waited for without a new set: a waterfall of so many providers makes none.
const MAX_SOCKETS: usize = 4;

struct SocketWaits {
    connection: u64,
    set: *mut pg_sys::WaitEventSet,
    wants: Wants,
}

/// What a session or worker waits for, as pg_stat_activity shows it.
#[derive(Clone, Copy)]
pub enum Event {
    /// A provider's answer.
    Provider,
    /// Credits, or what the background worker writes down.
    Ledger,
    /// Another session's request about the same question.
    Question,
    /// A provider that is asked as often as it may be.
    Limit,
    /// The background worker has nothing to do.
    Idle,
}

/// What pg_stat_activity shows as wait_event. Before 17 extensions cannot name theirs.
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub fn event(_event: Event) -> u32 {
    pg_sys::PG_WAIT_EXTENSION
}

/// The number that stands for it in pg_stat_activity. The name is registered at the first use.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
pub fn event(event: Event) -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static KNOWN: [AtomicU32; 5] = [const { AtomicU32::new(0) }; 5];
    let name = match event {
        Event::Provider => c"LeadlexProvider",
        Event::Ledger => c"LeadlexLedger",
        Event::Question => c"LeadlexQuestion",
        Event::Limit => c"LeadlexLimit",
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
    ticket: PendingRequest,
    until: Instant,
    /// It has more time than it is waited for.
    goes_on: bool,
}

/// Opens what requests need once in a session, or raises 53000. To be called before anything is decided about a request.
pub fn ready() {
    if REQUESTS.with_borrow(Option::is_some) {
        return;
    }
    let pool = RequestPool::open(spawn, ANNOUNCE).unwrap_or_else(|error| match error {
        OpenError::NoRoom => no_descriptors(None),
        OpenError::Io(error) => no_descriptors(Some(&error)),
    });
    // The set announces its own, but its error would say nothing to a user.
    if !(ANNOUNCE.acquire)() {
        no_descriptors(None);
    }
    (ANNOUNCE.release)();
    let waits = wait_set(pool.fd(), pg_sys::WL_SOCKET_READABLE);
    // SAFETY: registered once per backend, as this point is passed once.
    unsafe { pg_sys::on_proc_exit(Some(close_pool), pg_sys::Datum::from(0)) };
    REQUESTS.set(Some(Requests { pool, waits, sockets: Vec::new() }));
}

const ANNOUNCE: Announce = Announce {
    // SAFETY: called on the backend's main thread only; it may close files that Postgres opens again at need.
    acquire: || unsafe { pg_sys::AcquireExternalFD() },
    // SAFETY: on the main thread, and once for each that was acquired.
    release: || unsafe { pg_sys::ReleaseExternalFD() },
};

fn no_descriptors(error: Option<&io::Error>) -> ! {
    let detail = "Postgres gives a third of the files that a session may have open to connections; connections of dblink and foreign tables are among these.";
    raise::refuse(PgError {
        sqlstate: sqlstate::INSUFFICIENT_RESOURCES,
        message: "no file descriptor is left for a request to a data provider".into(),
        detail: Some(error.map_or(detail.to_owned(), |error| format!("The system says: {error}."))),
        hint: Some(
            "No request was sent. Raise max_files_per_process, and the operating system's limit for the service (ulimit -n, LimitNOFILE of systemd), or close other connections of this session.".into(),
        ),
    })
}

fn wait_set(fd: i32, socket_events: u32) -> *mut pg_sys::WaitEventSet {
    const EVENTS: i32 = 3;
    // SAFETY: without an owner the set lives as long as the backend.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    let set = unsafe { pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, EVENTS) };
    // SAFETY: as above.
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    let set = unsafe { pg_sys::CreateWaitEventSet(ptr::null_mut(), EVENTS) };
    let fill = move || {
        let add = |event, fd, latch| {
            // SAFETY: `set` has room for all; MyLatch and the notifier live as long as the backend.
            unsafe { pg_sys::AddWaitEventToSet(set, event, fd, latch, ptr::null_mut()) };
        };
        // SAFETY: a global of the backend.
        add(pg_sys::WL_LATCH_SET, -1, unsafe { pg_sys::MyLatch });
        add(pg_sys::WL_EXIT_ON_PM_DEATH, -1, ptr::null_mut());
        add(socket_events, fd, ptr::null_mut());
    };
    PgTryBuilder::new(fill)
        .catch_others(move |error| {
            // SAFETY: nobody else knows of it.
            unsafe { pg_sys::FreeWaitEventSet(set) };
            error.rethrow()
        })
        .execute();
    set
}

fn with_pool<T>(what: impl FnOnce(&mut RequestPool) -> T) -> T {
    REQUESTS.with_borrow_mut(|requests| what(&mut requests.as_mut().expect("ready() was called before").pool))
}

/// Whether there are a place and descriptors for one more request. `false` only while requests are under way.
pub fn has_room() -> bool {
    has_place(RequestPool::has_room)
}

fn has_place(is_there: impl Fn(&mut RequestPool) -> bool) -> bool {
    let room = || {
        REQUESTS
            .with_borrow_mut(|requests| requests.as_mut().is_none_or(|requests| is_there(&mut requests.pool)))
    };
    if room() {
        return true;
    }
    forget_sockets(0);
    room()
}

/// Where a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A helper thread: others can be under way beside it.
    Thread,
    /// The backend's own thread, where a connection is kept: for who waits for this request alone.
    Backend,
}

/// Sends the request, and waits no longer than `patience` for it. When nobody waits for its outcome any more, the request goes on
/// in a thread until it ends by itself, and `keep` gets what comes of it: the provider will bill it anyway.
pub fn send(mut job: Job, patience: Duration, keep: Keep, on: On) -> Result<Sent, Fault> {
    ready();
    let begun = Instant::now();
    let until = begun + job.timeout.min(patience);
    let has_room = |job: &Job| match on {
        On::Thread => has_room(),
        On::Backend => has_place(|pool| pool.has_room_for(job)),
    };
    while !has_room(&job) && Instant::now() < until {
        for_answers(ROOM_PAUSE);
    }
    let goes_on = patience < job.timeout;
    // The thread ends a request whose own time is over, and is given a moment for it.
    let until = if goes_on { until } else { until + GRACE };
    job.timeout = job.timeout.saturating_sub(begun.elapsed());
    let ticket = with_pool(|pool| match on {
        On::Thread => pool.send(job, Some(keep)),
        On::Backend => pool.begin(job, Some(keep)),
    })?;
    Ok(Sent { ticket, until, goes_on })
}

impl Sent {
    /// The outcome, if it is there, or the time is over.
    pub fn try_take(&mut self) -> Option<Result<Answer, Fault>> {
        let words = match self.goes_on {
            true => {
                "the call's time was over before the provider answered; the request goes on, and its answer is kept"
            }
            false => "the provider did not answer in time",
        };
        let late = || Err(Fault::new(FaultKind::Timeout, words));
        let outcome = self.ticket.try_take().or_else(|| self.left().is_zero().then(late))?;
        with_pool(RequestPool::tidy);
        Some(outcome)
    }

    /// Waits for the outcome, at most until the request's time is over; interrupts are served.
    ///
    /// Err: the request failed, or was not answered in time.
    pub fn wait(mut self) -> Result<Answer, Fault> {
        loop {
            if let Some(outcome) = self.try_take() {
                return outcome;
            }
            match self.ticket.awaited() {
                Some(awaited) => self.for_socket(awaited),
                None => for_answers(self.left()),
            }
        }
    }

    fn for_socket(&mut self, awaited: Awaited) {
        match socket_waits(awaited) {
            Some(waits) => {
                let longest = awaited.deadline.min(self.until).saturating_duration_since(Instant::now());
                wait_long(waits, longest);
                pgrx::check_for_interrupts!();
            }
            None => self.ticket.hand_over(),
        }
    }

    /// How long it is still waited for.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// Waits until one of the session's requests may be done, at most so long. A wait inside this one may have seen the notifier's byte
/// already: look for outcomes first.
pub fn for_answers(longest: Duration) {
    let waits = REQUESTS.with_borrow(|requests| requests.as_ref().map(|requests| requests.waits));
    wait_long(waits.expect("ready() was called before"), longest);
    with_pool(|pool| pool.drain());
    pgrx::check_for_interrupts!();
}

/// The set for what is awaited. `None`: there is no descriptor for one.
fn socket_waits(awaited: Awaited) -> Option<*mut pg_sys::WaitEventSet> {
    let events = match awaited.wants {
        Wants::Read => pg_sys::WL_SOCKET_READABLE,
        Wants::Write => pg_sys::WL_SOCKET_WRITEABLE,
    };
    let known = REQUESTS.with_borrow_mut(|requests| {
        let sockets = &mut requests.as_mut()?.sockets;
        let at = sockets.iter().position(|known| known.connection == awaited.connection)?;
        let mut known = sockets.remove(at);
        let before = std::mem::replace(&mut known.wants, awaited.wants);
        let set = known.set;
        sockets.push(known);
        Some((set, before))
    });
    if let Some((set, before)) = known {
        if before != awaited.wants {
            // SAFETY: the socket is the third event of each of these sets, and open, as a request waits for it.
            unsafe { pg_sys::ModifyWaitEvent(set, 2, events, ptr::null_mut()) };
        }
        return Some(set);
    }
    forget_sockets(MAX_SOCKETS - 1);
    // The set announces its own, but its error would end a call whose request is under way.
    if !(ANNOUNCE.acquire)() {
        return None;
    }
    (ANNOUNCE.release)();
    let set = wait_set(awaited.fd, events);
    let waits = SocketWaits { connection: awaited.connection, set, wants: awaited.wants };
    REQUESTS.with_borrow_mut(|requests| requests.as_mut().expect("ready() was called").sockets.push(waits));
    Some(set)
}

/// Gives back all sets of sockets but so many, the latest.
fn forget_sockets(but: usize) {
    let old: Vec<SocketWaits> = REQUESTS.with_borrow_mut(|requests| {
        let Some(Requests { sockets, .. }) = requests else { return Vec::new() };
        let old = sockets.len().saturating_sub(but);
        sockets.drain(..old).collect()
    });
    for waits in old {
        // SAFETY: it was taken off the list, so that nobody uses it again. A socket that is closed has left it already.
        unsafe { pg_sys::FreeWaitEventSet(waits.set) };
    }
}

/// A request that takes so long is counted in the tables while it is under way: a crash is not to take more than what was sent in
/// the last second or two.
const LONG: Duration = Duration::from_millis(500);

fn wait_long(waits: *mut pg_sys::WaitEventSet, longest: Duration) {
    if wait_once(waits, longest.min(LONG)) || longest < LONG {
        return;
    }
    workers::call_if_away();
    if longest > LONG {
        wait_once(waits, longest - LONG);
    }
}

/// Whether something happened.
fn wait_once(waits: *mut pg_sys::WaitEventSet, longest: Duration) -> bool {
    let milliseconds = longest.as_millis() as i64 + 1;
    let mut woken = pg_sys::WaitEvent::default();
    // SAFETY: the set lives as long as the backend, and is given room for one event.
    let count =
        unsafe { pg_sys::WaitEventSetWait(waits, milliseconds, &mut woken, 1, event(Event::Provider)) };
    if count > 0 && woken.events & pg_sys::WL_LATCH_SET != 0 {
        // SAFETY: this process's own latch.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }
    count > 0
}

/// A short, interruptible sleep.
pub fn nap(pause: Duration) {
    doze(pause, Event::Ledger);
}

/// A sleep until the session's latch is set, or so long.
pub fn doze(pause: Duration, event_of: Event) {
    let wake = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: waits for this process's own latch.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, wake as i32, pause.as_millis() as i64 + 1, event(event_of));
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// Whether this is the backend's own thread, in which waits serve interrupts.
pub fn is_own_thread() -> bool {
    // SAFETY: plain system calls.
    unsafe { libc::gettid() == libc::getpid() }
}

static ON_EXIT: OnceLock<[fn(); 2]> = OnceLock::new();

/// What else is done before this backend waits for requests that outlast it, and once no thread of it works any more.
pub fn on_exit(outlast: fn(), leave: fn()) {
    let _ = ON_EXIT.set([outlast, leave]);
}

/// Sockets are closed when the backend exits, so that no thread is in the middle of something: at once, but for requests that
/// outlast the session. By now it holds no lock and no snapshot.
#[pg_guard]
unsafe extern "C-unwind" fn close_pool(_code: i32, _arg: pg_sys::Datum) {
    REQUESTS.with_borrow(|requests| {
        if let Some(requests) = requests {
            if let Some([outlast, _]) = ON_EXIT.get() {
                outlast();
            }
            requests.pool.finish();
            requests.pool.shutdown();
        }
    });
    robust_mutex::close_gate();
    if let Some([_, leave]) = ON_EXIT.get() {
        leave();
    }
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

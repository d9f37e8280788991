//! "One question under way is asked once": which requests are on their way, in all sessions. A session that wants to
//! ask the same waits until the answer is kept, and takes it from the receipt.
//!
//! A question is held by its request, not by a session or transaction: the helper thread that has the answer ends it, also
//! when its call was cancelled or waits for something else. A request waits for nobody and ends within its time, so there
//! is no deadlock. Helper threads may not touch Postgres's locks: this has a lock of its own, see [`crate::pg::sys::robust_mutex`].

mod table;

use leadlex_domain::sqlstate;
use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::shared::receipts::ReceiptKey;
use crate::pg::shared::wait;
use crate::pg::shared::wait::Event;
use crate::pg::sys::clock::now_us;
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::robust_mutex;
use crate::pg::sys::robust_mutex::RobustMutex;
use crate::pg::sys::settings;
use crate::pg::sys::shared_block;
use table::{Head, LISTENERS, Listener, SETS, Set, Table};

pub use table::{Before, End, Place, Turn};

const NAME: &CStr = c"leadlex_enrich questions";
/// Between looks of a session that found no place as a listener.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest wait without a look.
const LOOK_ROUND: Duration = Duration::from_millis(500);

type Latch = *mut pg_sys::Latch;

#[repr(C)]
struct Shared {
    mutex: RobustMutex,
    /// A copy of [`Head::sequence`], to be read without the lock.
    sequence: AtomicU64,
    contents: UnsafeCell<Contents>,
}

#[repr(C)]
struct Contents {
    head: Head,
    sets: [Set; SETS],
    listeners: [Option<Listener<Latch>>; LISTENERS],
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

unsafe extern "C-unwind" {
    // Postgres's own, without pgrx's wrapper, which refuses other threads than the main one.
    fn SetLatch(latch: Latch);
}

/// Shared memory to ask for.
pub fn size() -> usize {
    size_of::<Shared>()
}

/// Creates or finds the block.
///
/// # Safety
/// Only in the shared memory start-up hook, with AddinShmemInitLock held.
pub unsafe fn start() {
    // SAFETY: as promised by the caller; the block has the size that was asked for, and nobody else knows it yet when
    // it is new. Its contents are filled under the lock, before anybody looks.
    unsafe {
        let Some(shared) = shared_block::create(NAME, size(), &SHARED) else { return };
        RobustMutex::init(&raw mut (*shared).mutex);
        (&raw mut (*shared).sequence).write(AtomicU64::new(0));
        let contents = (*shared).contents.get();
        (&raw mut (*contents).head).write(Head::NEW);
        let sets = (&raw mut (*contents).sets).cast::<Set>();
        (0..SETS).for_each(|at| sets.add(at).write(Set::EMPTY));
        let listeners = (&raw mut (*contents).listeners).cast::<Option<Listener<Latch>>>();
        (0..LISTENERS).for_each(|at| listeners.add(at).write(None));
    }
}

/// Under the lock. Safe in any thread: it touches nothing but this block.
fn locked<R>(work: impl FnOnce(&mut Table<'_, Latch>) -> R) -> R {
    let shared = SHARED.load(Ordering::Relaxed);
    // SAFETY: set by `start`; the mutex makes this the only reference to the contents. `work` neither fails nor returns
    // references.
    unsafe {
        (*shared).mutex.hold(|owner_died| {
            let Contents { head, sets, listeners } = &mut *(*shared).contents.get();
            let mut table = Table { head, sets, listeners };
            if owner_died {
                table.reset();
            }
            let result = work(&mut table);
            (*shared).sequence.store(table.head.sequence, Ordering::Release);
            result
        })
    }
}

/// Requests under way that are noted, and all places.
pub fn in_use() -> (usize, usize) {
    locked(|table| table.in_use(now_us()))
}

/// Grows with each answer that is kept: to be noted before receipts are read.
pub fn sequence() -> u64 {
    // SAFETY: set by `start`; an atomic in shared memory.
    unsafe { (*SHARED.load(Ordering::Relaxed)).sequence.load(Ordering::Acquire) }
}

/// How often a question was not shared since there was no room for it.
pub fn full() -> u64 {
    locked(|table| table.head.full)
}

/// Whose turn it is; see [`Turn`].
pub fn begin(
    key: ReceiptKey,
    longest: Duration,
    read_at: u64,
    before: Option<Before>,
) -> Result<QuestionClaim, Turn> {
    let now = now_us();
    let wish = table::Wish { pid: own_pid(), now, until: now + micros(longest), read_at, before };
    match locked(|table| table.begin(key, &wish)) {
        Turn::Mine(place) => Ok(QuestionClaim { place, by: own_pid() }),
        other => Err(other),
    }
}

fn micros(time: Duration) -> i64 {
    time.as_micros() as i64
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

/// The question is the holder's to ask. Dropped without a word, it is given up.
pub struct QuestionClaim {
    place: Place,
    by: i32,
}

impl QuestionClaim {
    /// From any thread of the session: how the request ended. Only the first word counts.
    pub fn end(&self, end: End) {
        let place = self.place;
        self.change(move |table| {
            if table.end(place, end) {
                wake(table, Some(place.index));
            }
        });
    }

    /// From any thread: it is over in so long at the latest.
    pub fn extend(&self, longest: Duration) {
        let (place, until) = (self.place, now_us() + micros(longest));
        self.change(move |table| table.extend(place, until));
    }

    /// Whether nobody has taken it for given up.
    pub fn holds(&self) -> bool {
        !locked(|table| table.is_over(self.place, now_us()))
    }

    fn change(&self, work: impl FnOnce(&mut Table<'_, Latch>)) {
        // SAFETY: a plain system call.
        if unsafe { libc::gettid() } == self.by {
            // The session's own thread: it does not end in the middle of this, and the gate may be shut for it already.
            locked(work);
        } else {
            robust_mutex::from_thread(|| locked(work));
        }
    }
}

impl Drop for QuestionClaim {
    fn drop(&mut self) {
        self.end(End::Abandoned);
    }
}

fn wake(table: &mut Table<'_, Latch>, place: Option<u32>) {
    for latch in table.waiting_for(place) {
        // SAFETY: the latch of a process slot, which is in shared memory for ever. SetLatch changes nothing but the latch,
        // and sends a signal to its owner, which is another process: it can be called in any thread.
        unsafe { SetLatch(latch) };
    }
}

/// Whether requests of this database are under way, and whether any whose session ends: it stays until they are over.
pub fn under_way(database: u32) -> (bool, bool) {
    locked(|table| table.under_way(database, now_us()))
}

/// This process ends, and waits for requests that outlast it.
pub fn outlast() {
    let pid = own_pid();
    locked(|table| table.outlast(pid));
}

/// This process ends: what it asks is given up, and it waits for nothing. No thread of it is in here any more.
pub fn leave() {
    let pid = own_pid();
    locked(|table| {
        table.stop_listening_of(pid);
        if table.end_all_of(pid) {
            wake(table, None);
        }
    });
}

/// As long as it lives, the session's latch is set when a request ends that it waits for.
pub struct Ear(Option<usize>);

impl Ear {
    /// `None`: of any place.
    pub fn open(place: Option<Place>) -> Ear {
        // SAFETY: a global of the backend, which points into shared memory.
        let latch = unsafe { pg_sys::MyLatch };
        let listener = Listener { pid: own_pid(), place: place.map(|place| place.index), latch };
        Ear(locked(|table| table.listen(listener)))
    }

    /// How long to wait without a look.
    pub fn pause(&self) -> Duration {
        if self.0.is_some() { LOOK_ROUND } else { PAUSE }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if let Some(at) = self.0 {
            locked(|table| table.stop_listening(at));
        }
    }
}

/// Which of these requests are over.
pub fn over(places: &[Place]) -> Vec<bool> {
    let now = now_us();
    locked(|table| places.iter().map(|place| table.is_over(*place, now)).collect())
}

/// Waits until the request is over, or so long. Raises 55P03 after lock_timeout.
pub fn wait_for(place: Place, longest: Duration) {
    let ear = Ear::open(Some(place));
    let (start, patience) = (Instant::now(), settings::lock_timeout());
    while !over(&[place])[0] {
        let waited = start.elapsed();
        if patience.is_some_and(|patience| waited >= patience) {
            refuse(PgError {
                sqlstate: sqlstate::LOCK_NOT_AVAILABLE,
                message: LOCK_TIMEOUT.into(),
                detail: Some("Another session is asking a data provider the same question.".into()),
                hint: None,
            });
        }
        let until = patience.map_or(longest, |patience| patience.min(longest));
        let Some(left) = until.checked_sub(waited).filter(|left| !left.is_zero()) else { return };
        wait::doze(left.min(ear.pause()), Event::Question);
    }
}

/// What Postgres says.
pub const LOCK_TIMEOUT: &str = "canceling statement due to lock timeout";

//! Providers' answers on their way into the tables. The thread that received one puts it here at that moment, whatever
//! becomes of the call that asked; the worker writes it down. Until then it is found here.
//!
//! Helper threads may not touch Postgres's locks, so this has a lock of its own, see [`crate::pg::sys::robust_mutex`].

mod arena;
mod erasures;

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::Duration;

use pgrx::pg_sys;

pub use arena::{Arena, NotKept, ReceiptKey, Taken};

use crate::pg::sys::robust_mutex;
use crate::pg::sys::robust_mutex::RobustMutex;
use crate::pg::sys::settings;
use crate::pg::sys::shared_block;
use arena::{Block, Entry, Head, UNIT_BYTES};
use leadlex_domain::contact_row::ContactRow;

/// Between two looks for room.
pub const PAUSE: Duration = Duration::from_millis(5);
const NAME: &CStr = c"leadlex_enrich receipts";
/// Entries and blocks that answers leave to refusals, in 0.4 MB: some 500 people.
const RESERVED_UNITS: usize = 1_024;
/// At most so many workers can run, see leadlex.max_workers.
const MAX_WRITERS: usize = 64;

#[repr(C)]
struct Shared {
    mutex: RobustMutex,
    units: usize,
    contents: UnsafeCell<Contents>,
    head: UnsafeCell<Head>,
}

#[repr(C)]
struct Contents {
    launcher: *mut pg_sys::Latch,
    /// Databases whose worker has promised to look here once more before it leaves.
    writers: [u32; MAX_WRITERS],
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

static WAS_FULL: AtomicBool = AtomicBool::new(false);

unsafe extern "C-unwind" {
    // Postgres's own, without pgrx's wrapper, which refuses other threads than the main one.
    fn SetLatch(latch: *mut pg_sys::Latch);
}

fn units() -> usize {
    settings::receipt_buffer_bytes() / UNIT_BYTES + RESERVED_UNITS
}

/// Where buckets, entries, blocks, and the two tables of erasures begin, and where all ends.
fn offsets(units: usize) -> [usize; 6] {
    let buckets = size_of::<Shared>().next_multiple_of(8);
    let entries = (buckets + units * size_of::<u32>()).next_multiple_of(8);
    let blocks = (entries + units * size_of::<Entry>()).next_multiple_of(8);
    let asked = (blocks + units * size_of::<Block>()).next_multiple_of(8);
    let sets = (asked + erasures::ASKED * size_of::<u32>()).next_multiple_of(8);
    [buckets, entries, blocks, asked, sets, sets + erasures::SETS * size_of::<erasures::Set>()]
}

/// Shared memory to ask for.
pub fn size() -> usize {
    let [.., end] = offsets(units());
    end
}

/// Creates or finds the block.
///
/// # Safety
/// Only in the shared memory start-up hook, with AddinShmemInitLock held.
pub unsafe fn start() {
    // SAFETY: as promised by the caller; the block has the size that was asked for, and nobody else knows it yet when
    // it is new.
    unsafe {
        let Some(shared) = shared_block::create(NAME, size(), &SHARED) else { return };
        RobustMutex::init(&raw mut (*shared).mutex);
        (&raw mut (*shared).units).write(units());
        (*shared)
            .contents
            .get()
            .write(Contents { launcher: std::ptr::null_mut(), writers: [0; MAX_WRITERS] });
    }
    locked(|_, arena| arena.reset());
}

/// Under the lock. Safe in any thread: it touches nothing but this block.
fn locked<R>(work: impl FnOnce(&mut Contents, &mut Arena<'_>) -> R) -> R {
    let shared = SHARED.load(Ordering::Relaxed);
    // SAFETY: set by `start`; the mutex makes these the only references to what lies behind. `work` neither fails nor
    // returns references. The slices have the places and lengths that `start` laid out.
    unsafe {
        (*shared).mutex.hold(|owner_died| {
            let at = offsets((*shared).units);
            let base = shared.cast::<u8>();
            let mut arena = Arena {
                head: &mut *(*shared).head.get(),
                buckets: std::slice::from_raw_parts_mut(base.add(at[0]).cast(), (*shared).units),
                entries: std::slice::from_raw_parts_mut(base.add(at[1]).cast(), (*shared).units),
                blocks: std::slice::from_raw_parts_mut(base.add(at[2]).cast(), (*shared).units),
                asked: std::slice::from_raw_parts_mut(base.add(at[3]).cast(), erasures::ASKED),
                erasures: std::slice::from_raw_parts_mut(base.add(at[4]).cast(), erasures::SETS),
                reserved: RESERVED_UNITS,
            };
            if owner_died {
                arena.reset();
            }
            work(&mut *(*shared).contents.get(), &mut arena)
        })
    }
}

/// Works on the arena under its lock. For a backend's main thread.
pub fn with<R>(work: impl FnOnce(&mut Arena<'_>) -> R) -> R {
    locked(|_, arena| work(arena))
}

/// What comes in: an answer, or a refusal to tell anything about this person.
pub struct Arrival<'a> {
    pub key: ReceiptKey,
    pub row: ContactRow,
    pub sent_at: i64,
    pub payload: &'a [u8],
    /// Where a refusal counts, and whose it is; `None` for an answer.
    pub reach: Option<[u8; 16]>,
}

/// From any thread. Wakes the launcher when no worker is at it.
pub fn put(arrival: &Arrival<'_>) -> Result<(), NotKept> {
    let Arrival { key, row, sent_at, payload, reach } = *arrival;
    let result = robust_mutex::from_thread(|| {
        locked(|contents, arena| {
            let result = match reach {
                Some(reach) => arena.put_refusal(key, row, reach, payload),
                None => arena.put(key, row, sent_at, payload),
            };
            if !contents.launcher.is_null() && !contents.writers.contains(&key.database) {
                // SAFETY: the launcher takes its latch away under this lock before it ends. SetLatch changes nothing but
                // the latch, and sends a signal to its owner, which is another process: it can be called in any thread.
                unsafe { SetLatch(contents.launcher) };
            }
            result
        })
    });
    WAS_FULL.store(result == Err(NotKept::Full), Ordering::Relaxed);
    result
}

/// Whether the latest that this process had to put here found no room: the next may have to wait for it.
pub fn was_full() -> bool {
    WAS_FULL.load(Ordering::Relaxed)
}

/// Keeps what the session itself has to say, and waits until then for room. Why it could not be kept.
pub fn keep(
    key: ReceiptKey,
    row: ContactRow,
    sent_at: i64,
    payload: &[u8],
    until: std::time::Instant,
) -> Option<&'static str> {
    let arrival = Arrival { key, row, sent_at, payload, reach: None };
    while let Err(refusal) = put(&arrival) {
        if refusal == NotKept::TooLong || std::time::Instant::now() >= until {
            with(|arena| arena.count_drop(key.database));
            return Some(why(refusal));
        }
        std::thread::sleep(PAUSE);
    }
    None
}

/// The refusal in words, for messages.
pub fn why(refusal: NotKept) -> &'static str {
    match refusal {
        NotKept::TooLong => "it is too long for leadlex.receipt_buffer",
        NotKept::Full => "leadlex.receipt_buffer is full",
    }
}

/// From the backend: something for the worker to count. It takes no room that answers need, and is lost where there is none.
pub fn note(key: ReceiptKey, row: ContactRow, sent_at: i64, payload: &[u8]) {
    locked(|contents, arena| {
        if !arena.is_roomy() || arena.put(key, row, sent_at, payload).is_err() {
            return arena.count_note_drop(key.database);
        }
        if !contents.launcher.is_null() && !contents.writers.contains(&key.database) {
            // SAFETY: as in `put`.
            unsafe { SetLatch(contents.launcher) };
        }
    });
}

/// From any thread: the launcher is to look round, unless a worker is at this database's.
pub fn call_writer(database: u32) {
    locked(|contents, _| {
        if !contents.launcher.is_null() && !contents.writers.contains(&database) {
            // SAFETY: as in `put`.
            unsafe { SetLatch(contents.launcher) };
        }
    });
}

/// From any thread: whether the worker is still to write these refusals, and has not found that somebody holds one up.
pub fn are_to_write(keys: &[ReceiptKey], reach: [u8; 16]) -> bool {
    robust_mutex::from_thread(|| locked(|_, arena| arena.is_to_write(keys, reach)))
}

/// From a helper thread: an answer could not be kept.
pub fn count_drop(database: u32) {
    robust_mutex::from_thread(|| locked(|_, arena| arena.count_drop(database)));
}

/// The launcher comes, or (null) goes.
pub fn set_launcher(latch: *mut pg_sys::Latch) {
    locked(|contents, _| contents.launcher = latch);
}

/// A worker begins to write this database's receipts. What a predecessor left half done is to be done again.
pub fn writer_comes(database: u32) {
    locked(|contents, arena| {
        arena.put_all_back(database);
        if let Some(place) = contents.writers.iter_mut().find(|oid| **oid == 0 || **oid == database) {
            *place = database;
        }
    });
}

/// `false`: something has come in the meantime, so it has to stay. `at_once`: it leaves all the same.
pub fn writer_goes(database: u32, at_once: bool) -> bool {
    locked(|contents, arena| {
        if !at_once && arena.waiting(database) > 0 {
            return false;
        }
        contents.writers.iter_mut().filter(|oid| **oid == database).for_each(|oid| *oid = 0);
        true
    })
}

/// Databases in which receipts wait and nobody is writing them.
pub fn unattended() -> Vec<u32> {
    locked(|contents, arena| {
        let mut databases = arena.databases();
        databases.retain(|oid| !contents.writers.contains(oid));
        databases
    })
}

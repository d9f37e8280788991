//! What logins gave, for all sessions: in memory alone, never shown, logged or written to a table. One session logs in, and
//! the others wait for it.
//!
//! Helper threads may not touch Postgres's locks, so this has a lock of its own, see [`crate::pg::sys::robust_mutex`].

mod table;

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use crate::pg::sys::clock::now_us;
use crate::pg::sys::robust_mutex;
use crate::pg::sys::robust_mutex::RobustMutex;
use crate::pg::sys::settings;
use crate::pg::sys::shared_block;
use table::{Slot, Table};

pub use table::{LoginKey, MAX_BYTES, Turn};

const NAME: &CStr = c"leadlex_enrich logins";
/// Few providers want a login: a place for each of so many.
const PROVIDERS_A_PLACE: usize = 4;

#[repr(C)]
struct Shared {
    mutex: RobustMutex,
    count: usize,
    next: UnsafeCell<u64>,
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

fn places() -> usize {
    settings::max_providers().div_ceil(PROVIDERS_A_PLACE)
}

fn slots_offset() -> usize {
    size_of::<Shared>().next_multiple_of(align_of::<Slot>())
}

/// Shared memory to ask for.
pub fn size() -> usize {
    slots_offset() + places() * size_of::<Slot>()
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
        (&raw mut (*shared).count).write(places());
        (*shared).next.get().write(1);
        let slots = shared.cast::<u8>().add(slots_offset()).cast::<Slot>();
        (0..places()).for_each(|at| slots.add(at).write(Slot::FREE));
    }
}

/// Under the lock. Safe in any thread: it touches nothing but this block.
fn locked<R>(work: impl FnOnce(&mut Table<'_>) -> R) -> R {
    let shared = SHARED.load(Ordering::Relaxed);
    // SAFETY: set by `start`, which laid out so many slots; the mutex makes these the only references to what lies behind.
    // `work` neither fails nor returns references.
    unsafe {
        (*shared).mutex.hold(|owner_died| {
            let slots = shared.cast::<u8>().add(slots_offset()).cast::<Slot>();
            let slots = std::slice::from_raw_parts_mut(slots, (*shared).count);
            let mut table = Table { next: &mut *(*shared).next.get(), slots };
            if owner_died {
                table.reset();
            }
            work(&mut table)
        })
    }
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

/// The values, or whose turn it is to log in. Who is to has this long for it; `longest` is for its answer to be kept, too.
/// `waited`: the number of the login that this session waits for; 0: of none.
pub fn turn(key: LoginKey, waited: u64, longest: Duration) -> Turn {
    let now = now_us();
    locked(|table| table.turn(key, (own_pid(), waited), now, now + longest.as_micros() as i64))
}

/// What this login gave last, over its time or not; `None`: that is not known.
pub fn given(key: LoginKey) -> Option<Vec<u8>> {
    locked(|table| table.given(key))
}

/// From any thread: what came of a login; `valid_for`: `None`: until it is forgotten. `values` None: nothing.
pub fn finish(key: LoginKey, number: u64, values: Option<&[u8]>, valid_for: Option<Duration>) {
    let valid_us = valid_for.map(|time| time.as_micros().min(i64::MAX as u128 / 2) as i64);
    let until = valid_us.map_or(i64::MAX, |valid| now_us().saturating_add(valid));
    robust_mutex::from_thread(|| locked(|table| table.finish(key, number, values, until)));
}

/// From any thread: how a login failed, for those who wait for it.
pub fn fail(key: LoginKey, number: u64, words: &[u8]) {
    robust_mutex::from_thread(|| locked(|table| table.fail(key, number, words)));
}

/// From any thread: the values that this login gave are no longer good.
pub fn forget(key: LoginKey, number: u64) {
    robust_mutex::from_thread(|| locked(|table| table.forget(key, number)));
}

/// Places of logins used since this time (epoch microseconds), and all places.
pub fn in_use(since: i64) -> (usize, usize) {
    locked(|table| (table.used_since(since), table.slots.len()))
}

/// This process ends: it logs in nowhere any more. No thread of it is in here.
pub fn leave() {
    let pid = own_pid();
    locked(|table| table.leave(pid));
}

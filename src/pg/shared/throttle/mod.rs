//! How fast vendors are asked, over all sessions and workers of a database: the requests under way, and who waits for a turn.
//!
//! A request has its place from before it is sent until it is over, also when its call was cancelled: the vendor has it all the
//! same. Helper threads end it, so this has a lock of its own, see [`crate::pg::sys::robust_mutex`]. What a process
//! still has when it ends is given back then. Who waits holds nothing.

mod line;

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use pgrx::pg_sys;

use crate::pg::shared::layout::AccountKey;
use crate::pg::shared::provider_slots::ProviderSlot;
use crate::pg::sys::clock::now_us;
use crate::pg::sys::robust_mutex;
use crate::pg::sys::robust_mutex::RobustMutex;
use crate::pg::sys::settings;
use crate::pg::sys::shared_block;
use leadlex_domain::throttle::{Limits, Throttle};
use line::Line;

const NAME: &CStr = c"leadlex_enrich throttles";

type Latch = *mut pg_sys::Latch;

unsafe extern "C-unwind" {
    // Postgres's own, without pgrx's wrapper, which refuses other threads than the main one.
    fn SetLatch(latch: Latch);
}

#[repr(C)]
struct Shared {
    mutex: RobustMutex,
    head: UnsafeCell<Head>,
}

#[repr(C)]
struct Head {
    line: Line<Latch>,
    next_generation: u64,
    count: usize,
}

/// A provider's place; it has the number of its [`ProviderSlot`].
#[derive(Clone, Copy)]
#[repr(C)]
struct Vendor {
    key: AccountKey,
    /// Tells one tenant of this place from the next.
    generation: u64,
    throttle: Throttle,
}

/// All of it, for as long as the lock is held.
struct Contents<'a> {
    line: &'a mut Line<Latch>,
    next_generation: &'a mut u64,
    vendors: &'a mut [Vendor],
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

const NOBODY: Vendor = Vendor {
    key: AccountKey { database: 0, catalog: 0, id: [0; 16] },
    generation: 0,
    throttle: Throttle::NEW,
};

fn vendors_offset() -> usize {
    size_of::<Shared>().next_multiple_of(align_of::<Vendor>())
}

/// Shared memory to ask for.
pub fn size() -> usize {
    vendors_offset() + settings::max_providers() * size_of::<Vendor>()
}

/// Creates or finds the block.
///
/// # Safety
/// Only in the shared memory start-up hook, with AddinShmemInitLock held.
pub unsafe fn start() {
    // SAFETY: as promised by the caller; the block has the size that was asked for, and nobody else knows it yet when
    // it is new. Its contents are filled before anybody looks.
    unsafe {
        let Some(shared) = shared_block::create(NAME, size(), &SHARED) else { return };
        RobustMutex::init(&raw mut (*shared).mutex);
        let count = settings::max_providers();
        (*shared).head.get().write(Head { line: Line::EMPTY, next_generation: 1, count });
        (0..count).for_each(|at| vendors(shared).add(at).write(NOBODY));
    }
}

unsafe fn vendors(shared: *mut Shared) -> *mut Vendor {
    // SAFETY: inside the block, as the callers see to.
    unsafe { shared.cast::<u8>().add(vendors_offset()).cast::<Vendor>() }
}

/// Under the lock. Safe in any thread: it touches nothing but this block. `work` must not fail.
fn locked<R>(work: impl FnOnce(&mut Contents<'_>) -> R) -> R {
    let shared = SHARED.load(Ordering::Relaxed);
    // SAFETY: set by `start`; the mutex makes these the only references to the contents. `work` neither fails nor returns
    // references.
    unsafe {
        (*shared).mutex.hold(|owner_died| {
            let head = &mut *(*shared).head.get();
            let vendors = std::slice::from_raw_parts_mut(vendors(shared), head.count);
            let mut contents =
                Contents { line: &mut head.line, next_generation: &mut head.next_generation, vendors };
            if owner_died {
                *contents.line = Line::EMPTY;
                contents.vendors.fill(NOBODY);
            }
            work(&mut contents)
        })
    }
}

impl Contents<'_> {
    /// The provider's place, which may have been another's before.
    fn vendor(&mut self, slot: ProviderSlot) -> &mut Vendor {
        let vendor = &mut self.vendors[slot.index];
        if vendor.key != slot.key {
            *vendor = Vendor { key: slot.key, generation: *self.next_generation, ..NOBODY };
            *self.next_generation += 1;
        }
        vendor
    }

    /// The one whose turn it may be. Who goes wakes the next.
    fn wake(&self, place: usize, now: i64) {
        for latch in self.line.first(place, now) {
            // SAFETY: the latch of a process slot, which is in shared memory for ever. SetLatch changes nothing but the
            // latch, and sends a signal to its owner, which is another process: it can be called in any thread.
            unsafe { SetLatch(latch) };
        }
    }

    /// Whether it is this session's turn.
    fn look(&mut self, slot: ProviderSlot, limits: Limits, now: i64) -> Result<(), Full> {
        let ahead = self.line.ahead(own_pid(), slot.index, now) as u32;
        let throttle = &mut self.vendor(slot).throttle;
        match throttle.room(limits, now) > ahead {
            true => Ok(()),
            false => Err(Full { opens_at: throttle.opens_at(limits, ahead, now) }),
        }
    }

    fn end(&mut self, held: Held, now: i64) {
        let Some(vendor) = self.vendors.get_mut(held.index) else { return };
        if vendor.generation == held.generation {
            vendor.throttle.end(held.number, held.sent, now);
            self.wake(held.index, now);
        }
    }
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

/// It is not the session's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// When it may be, epoch microseconds; `None`: when requests are over, of which the session is told.
    pub opens_at: Option<i64>,
}

/// A request that has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    index: usize,
    generation: u64,
    number: u64,
    sent: bool,
}

/// What requests of this process have: given back when it ends.
static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

fn held() -> std::sync::MutexGuard<'static, Vec<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request's place. Dropped, it is given back.
#[derive(Debug)]
pub struct Place {
    held: Held,
    sent: AtomicBool,
    by: i32,
}

/// A place for one request, if it is this session's turn.
pub fn take(slot: ProviderSlot, limits: Limits) -> Result<Place, Full> {
    let (now, mut all) = (now_us(), held());
    let held = locked(|contents| {
        contents.look(slot, limits, now)?;
        contents.line.leave(own_pid(), slot.index);
        let vendor = contents.vendor(slot);
        let number = vendor.throttle.take(limits, now);
        let held = Held { index: slot.index, generation: vendor.generation, number, sent: false };
        contents.wake(slot.index, now);
        Ok(held)
    })?;
    all.push(held);
    Ok(Place { held, sent: AtomicBool::new(false), by: own_pid() })
}

impl Place {
    /// The request is sent now. In the session's own thread.
    pub fn sent(&self) {
        let now = now_us();
        locked(|contents| {
            let vendor = &mut contents.vendors[self.held.index];
            if vendor.generation == self.held.generation {
                vendor.throttle.sent(self.held.number, now);
            }
        });
        self.sent.store(true, Ordering::Relaxed);
        let mut all = held();
        all.iter_mut().filter(|held| **held == self.held).for_each(|held| held.sent = true);
    }

    /// From any thread of the session: the request is over. Only the first word counts.
    pub fn end(&self) {
        let sent = self.sent.load(Ordering::Relaxed);
        let own = Held { sent, ..self.held };
        let end = move || {
            let mut all = held();
            if let Some(at) = all.iter().position(|held| *held == own) {
                all.swap_remove(at);
                locked(|contents| contents.end(own, now_us()));
            }
        };
        // SAFETY: a plain system call.
        if unsafe { libc::gettid() } == self.by {
            // The session's own thread: it does not end in the middle of this, and the gate may be shut for it already.
            end();
        } else {
            robust_mutex::from_thread(end);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.end();
    }
}

/// As long as it lives, the session stands in line for a provider and its latch is set when it may be its turn.
pub struct Turn(ProviderSlot);

impl Turn {
    /// The session goes to the end of the line.
    pub fn wait_for(slot: ProviderSlot) -> Turn {
        Turn(slot)
    }

    /// Whether it is the session's turn now. Who does not look for two seconds is passed by.
    pub fn look(&self, limits: Limits) -> Result<(), Full> {
        // SAFETY: a global of the backend, which points into shared memory.
        let (latch, now) = (unsafe { pg_sys::MyLatch }, now_us());
        locked(|contents| {
            contents.line.stand(own_pid(), self.0.index, latch, now);
            contents.look(self.0, limits, now)
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = now_us();
        locked(|contents| {
            if contents.line.leave(own_pid(), self.0.index) {
                contents.wake(self.0.index, now);
            }
        });
    }
}

/// This process ends: it waits for nothing, and has no request under way. No thread of it is in here any more.
pub fn leave() {
    let (now, all) = (now_us(), std::mem::take(&mut *held()));
    locked(|contents| {
        contents.line.leave_all(own_pid());
        all.into_iter().for_each(|held| contents.end(held, now));
    });
}

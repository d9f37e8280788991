//! The places in shared memory, each under a lock of its own.

use crate::pg::sys::clock;
use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use uuid::Uuid;

use crate::pg::shared::layout::AccountKey;
use crate::pg::sys::robust_mutex::RobustMutex;
use crate::pg::sys::settings;
use crate::pg::sys::shared_block;
use leadlex_domain::health::Health;
use leadlex_domain::latency::Latencies;
use leadlex_domain::provider::Fault;
use leadlex_domain::tally::{Count, Tally};

const NAME: &CStr = c"leadlex_enrich providers";
const ERROR_BYTES: usize = 480;

#[repr(C)]
struct Header {
    count: usize,
    /// How often a provider lost its place that was asked lately.
    displaced: AtomicU64,
}

#[repr(C)]
struct Slot {
    mutex: RobustMutex,
    state: UnsafeCell<SlotState>,
}

/// A provider's place, as long as it is that provider's.
#[derive(Clone, Copy, Debug)]
pub struct ProviderSlot {
    pub index: usize,
    pub key: AccountKey,
    pub generation: u64,
}

/// What shared memory knows of a provider.
///
/// `last_used` is in epoch seconds; `base` and `since` together are the whole tally.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct SlotState {
    pub key: AccountKey,
    /// Tells one tenant of this place from the next.
    pub generation: u64,
    /// `base` is what the tables had when the server started, or this place was taken.
    pub loaded: bool,
    pub last_used: i64,
    pub health: Health,
    pub base: Tally,
    pub since: Tally,
    pub latencies: Latencies,
    /// Counts changes of `since`; `recorded` of them are in the tables.
    pub changes: u64,
    pub recorded: u64,
    /// What is left with the vendor, when it said so (epoch microseconds; 0: it has not), and whether that is little.
    pub balance: f64,
    pub balance_at: i64,
    pub balance_is_low: bool,
    /// Epoch microseconds.
    pub last_error_at: i64,
    pub error: [u8; ERROR_BYTES],
}

impl SlotState {
    /// A place that no provider has.
    pub const FREE: SlotState = SlotState {
        key: AccountKey { database: 0, catalog: 0, id: [0; 16] },
        generation: 0,
        loaded: false,
        last_used: 0,
        health: Health::NEW,
        base: Tally::NONE,
        since: Tally::NONE,
        latencies: Latencies::NONE,
        changes: 0,
        recorded: 0,
        balance: 0.0,
        balance_at: 0,
        balance_is_low: false,
        last_error_at: 0,
        error: [0; ERROR_BYTES],
    };

    pub fn is_free(&self) -> bool {
        self.key.database == 0
    }

    /// The place as that of `key`; `None`: it is another's.
    pub fn slot_of(&self, index: usize, key: AccountKey) -> Option<ProviderSlot> {
        (self.key == key).then_some(ProviderSlot { index, key, generation: self.generation })
    }

    /// Adds one to a count of the tally.
    pub fn count(&mut self, count: Count) {
        self.since.add(count);
        self.changes += 1;
    }

    /// Keeps kind and message, cut to 480 bytes at a whole character, and the time.
    pub fn note_error(&mut self, fault: &Fault) {
        let text = format!("{}: {}", fault.kind.name(), fault.message);
        let end = (0..=text.len().min(ERROR_BYTES)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.error = [0; ERROR_BYTES];
        self.error[..end].copy_from_slice(&text.as_bytes()[..end]);
        self.last_error_at = clock::now_us();
    }

    /// `None`: there was no error since this place was taken.
    pub fn last_error(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.error);
        let text = text.trim_end_matches('\0');
        (!text.is_empty()).then(|| text.to_owned())
    }
}

static HEADER: AtomicPtr<Header> = AtomicPtr::new(std::ptr::null_mut());

fn slots_offset() -> usize {
    size_of::<Header>().next_multiple_of(align_of::<Slot>())
}

/// Shared memory to ask for.
pub fn size() -> usize {
    slots_offset() + settings::max_providers() * size_of::<Slot>()
}

/// Creates or finds the block.
///
/// # Safety
/// Only in the shared memory start-up hook, with AddinShmemInitLock held.
pub unsafe fn start() {
    // SAFETY: as promised by the caller; the block has the size that was asked for, and nobody else knows it yet when
    // it is new.
    unsafe {
        let Some(header) = shared_block::create(NAME, size(), &HEADER) else { return };
        let count = settings::max_providers();
        header.write(Header { count, displaced: AtomicU64::new(0) });
        for index in 0..count {
            let slot = slot(header, index);
            RobustMutex::init(&raw mut (*slot).mutex);
            (*slot).state.get().write(SlotState::FREE);
        }
    }
}

unsafe fn slot(header: *mut Header, index: usize) -> *mut Slot {
    // SAFETY: inside the block, as the callers see to.
    unsafe { header.cast::<u8>().add(slots_offset()).cast::<Slot>().add(index) }
}

/// Places for providers, as leadlex.max_providers had it at the start of the server.
pub fn count() -> usize {
    // SAFETY: set once by `start`, never changed.
    unsafe { (*HEADER.load(Ordering::Relaxed)).count }
}

/// A provider that was not asked for so many seconds loses its place without harm.
pub const LATELY_S: i64 = 3_600;

/// Places of providers of which this holds.
pub fn count_of(holds: impl Fn(&SlotState) -> bool) -> usize {
    (0..count()).filter(|index| with(*index, |state| !state.is_free() && holds(state))).count()
}

/// How often a provider lost its place that was asked lately, since the server started.
pub fn displaced() -> u64 {
    // SAFETY: set by `start`; an atomic in shared memory.
    unsafe { (*HEADER.load(Ordering::Relaxed)).displaced.load(Ordering::Relaxed) }
}

/// Notes that the provider with this state loses its place.
pub fn note_displaced(state: &SlotState) {
    if !state.is_free() && state.last_used > clock::now() - LATELY_S {
        // SAFETY: as above.
        unsafe { (*HEADER.load(Ordering::Relaxed)).displaced.fetch_add(1, Ordering::Relaxed) };
    }
}

/// One place, under its lock. Safe in any thread: it touches nothing but this place. `work` must not fail.
pub fn with<R>(index: usize, work: impl FnOnce(&mut SlotState) -> R) -> R {
    assert!(index < count());
    // SAFETY: inside the block by the line above; the lock makes this the only reference to the state.
    unsafe {
        let slot = slot(HEADER.load(Ordering::Relaxed), index);
        (*slot).mutex.hold(|owner_died| {
            let state = &mut *(*slot).state.get();
            if owner_died {
                *state = SlotState { generation: state.generation + 1, ..SlotState::FREE };
            }
            work(state)
        })
    }
}

impl ProviderSlot {
    /// `None` where the place has become another's.
    pub fn with<R>(self, work: impl FnOnce(&mut SlotState) -> R) -> Option<R> {
        with(self.index, |state| {
            let same = state.key == self.key && state.generation == self.generation;
            same.then(|| work(state))
        })
    }

    /// Notes that the provider was used now; `false`: the place has become another's.
    pub fn touch(self) -> bool {
        self.with(|state| state.last_used = clock::now()).is_some()
    }

    /// A copy of what stands here.
    pub fn state(self) -> Option<SlotState> {
        self.with(|state| *state)
    }
}

/// What the worker has to write down.
pub struct Unrecorded {
    slot: ProviderSlot,
    changes: u64,
    pub provider: Uuid,
    pub tally: Tally,
    /// What is left with the vendor, and when it said so, in epoch microseconds.
    pub balance: Option<(f64, i64)>,
}

/// Tallies of a database's providers that the tables do not know.
pub fn unrecorded(database: u32, catalog: u32) -> Vec<Unrecorded> {
    let of = |index| {
        with(index, |state| {
            let ours = (state.key.database, state.key.catalog) == (database, catalog);
            (ours && state.loaded && state.changes != state.recorded).then(|| Unrecorded {
                slot: ProviderSlot { index, key: state.key, generation: state.generation },
                changes: state.changes,
                provider: Uuid::from_bytes(state.key.id),
                tally: state.base.plus(&state.since),
                balance: (state.balance_at > 0).then_some((state.balance, state.balance_at)),
            })
        })
    };
    (0..count()).filter_map(of).collect()
}

/// Whether there are such.
pub fn is_ahead(database: u32) -> bool {
    let ahead = |s: &mut SlotState| s.key.database == database && s.loaded && s.changes != s.recorded;
    (0..count()).any(|index| with(index, ahead))
}

/// What belongs to no extension of this database any more: all but what belongs to this one.
pub fn forget(database: u32, keep: Option<u32>) {
    let gone = |s: &SlotState| s.key.database == database && keep != Some(s.key.catalog);
    for index in 0..count() {
        with(index, |s| {
            if gone(s) {
                *s = SlotState { generation: s.generation + 1, ..SlotState::FREE };
            }
        });
    }
}

/// They are in the tables, durably.
pub fn recorded(written: &[Unrecorded]) {
    for entry in written {
        entry.slot.with(|state| state.recorded = entry.changes);
    }
}

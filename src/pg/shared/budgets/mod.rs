//! Spend and budgets of all sessions. Helper threads write here, since an answer may come after its call was cancelled: so it has
//! a lock of its own, held for as long as it takes to change a few numbers.

mod holds;
mod record;
mod table;

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use leadlex_domain::money::Amount;
use leadlex_domain::money::hold::HoldChange;
use leadlex_domain::money::quality::{FieldCounts, Uses};
use leadlex_domain::money::windows::Windows;
use leadlex_domain::provider::price::Bill;

use crate::pg::sys::clock;
use crate::pg::sys::robust_mutex;
use crate::pg::sys::robust_mutex::RobustMutex;
use crate::pg::sys::shared_block;
use table::{ENTRIES, Entry, Head, Reservation, SUMS, Sum, Table};

pub use record::{Close, Record};
pub use table::{Counts, Denied, EVERY_WORKSPACE, EntryKey, Limit, Load, SumKey, Wish, name_bytes};

const NAME: &CStr = c"leadlex_enrich money";

#[repr(C)]
struct Shared {
    mutex: RobustMutex,
    /// A copy of [`Head::changes`], to be read without the lock.
    changes: AtomicU64,
    /// Tells one life of shared memory from the next: what an earlier one leased is not known any more.
    life: u64,
    contents: UnsafeCell<Contents>,
}

#[repr(C)]
struct Contents {
    head: Head,
    sums: [Sum; SUMS],
    entries: [Entry; ENTRIES],
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

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
    // it is new. Its contents are filled before anybody looks.
    unsafe {
        let Some(shared) = shared_block::create(NAME, size(), &SHARED) else { return };
        RobustMutex::init(&raw mut (*shared).mutex);
        (&raw mut (*shared).changes).write(AtomicU64::new(0));
        let random = uuid::Uuid::new_v4().as_u64_pair().0;
        (&raw mut (*shared).life).write(random);
        let contents = (*shared).contents.get();
        (&raw mut (*contents).head).write(Head::NEW);
        let sums = (&raw mut (*contents).sums).cast::<Sum>();
        (0..SUMS).for_each(|at| sums.add(at).write(Sum::FREE));
        let entries = (&raw mut (*contents).entries).cast::<Entry>();
        (0..ENTRIES).for_each(|at| entries.add(at).write(Entry::FREE));
    }
}

/// Under the lock. Safe in any thread: it touches nothing but this block.
fn locked<R>(work: impl FnOnce(&mut Table<'_>) -> R) -> R {
    let shared = SHARED.load(Ordering::Relaxed);
    // SAFETY: set by `start`; the mutex makes this the only reference to the contents. `work` neither fails nor returns
    // references. A process that dies inside takes the server's shared memory with it.
    unsafe {
        (*shared).mutex.hold(|_| {
            let Contents { head, sums, entries } = &mut *(*shared).contents.get();
            let mut table = Table { head, sums, entries };
            let result = work(&mut table);
            (*shared).changes.store(table.head.changes, Ordering::Release);
            result
        })
    }
}

/// Grows with each change: where it has not, there is nothing new to be recorded.
pub fn changes() -> u64 {
    // SAFETY: set by `start`; an atomic in shared memory.
    unsafe { (*SHARED.load(Ordering::Relaxed)).changes.load(Ordering::Acquire) }
}

/// Of this shared memory and this extension, by the oids of its database and of itself, as the tables have it with each lease: in
/// a copy or a restored dump on the same server it is another.
pub fn life((database, catalog): (u32, u32)) -> i64 {
    // SAFETY: set by `start`, never changed.
    let life = unsafe { (*SHARED.load(Ordering::Relaxed)).life };
    (life ^ (u64::from(database) << 32 | u64::from(catalog))).cast_signed()
}

/// A session waits for what a crash has left in this database.
pub fn want_left_booked(database: u32) {
    locked(|table| {
        table.head.left_wanted = database;
        table.head.changes += 1;
    });
}

/// It is booked.
pub fn left_is_booked(database: u32) {
    locked(|table| {
        if table.head.left_wanted == database {
            table.head.left_wanted = 0;
        }
    });
}

/// Whether one does.
pub fn is_left_wanted(database: u32) -> bool {
    locked(|table| table.head.left_wanted == database)
}

/// Who loads a sum; see [`Load`].
pub fn load(key: &SumKey) -> Load {
    locked(|table| table.load(key, clock::now()))
}

/// It is loaded.
pub fn loaded(key: &SumKey, windows: Windows, reported: Amount) {
    locked(|table| table.loaded(key, windows, reported));
}

/// It could not be loaded.
pub fn not_loaded(key: &SumKey) {
    locked(|table| table.not_loaded(key));
}

/// A sum as it is; `None`: the tables have all of it.
pub fn windows(key: &SumKey) -> Option<Windows> {
    locked(|table| table.windows(key))
}

/// Keeps free what a request can cost at most. Given back by [`HeldAmount::settle`], or when this process ends: then it is not known
/// what it has cost.
pub fn reserve(wish: &Wish<'_>, unknown: Bill) -> Result<HeldAmount, Denied> {
    let reservation = locked(|table| table.reserve(wish))?;
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.next += 1;
    let number = open.next;
    open.requests.push(Open { number, reservation, unknown });
    Ok(HeldAmount(number))
}

/// What is kept free for a request of this process.
#[derive(Debug)]
pub struct HeldAmount(u64);

/// Requests of this process that are under way.
static OPEN: Mutex<OpenRequests> = Mutex::new(OpenRequests { next: 0, requests: Vec::new() });

struct OpenRequests {
    next: u64,
    requests: Vec<Open>,
}

struct Open {
    number: u64,
    reservation: Reservation,
    /// What it comes to if nothing is ever heard of it.
    unknown: Bill,
}

impl HeldAmount {
    /// From any thread: the request is over. Only the first word counts, and whether this is it is returned.
    pub fn settle(&self, bill: &Bill, fields: &FieldCounts, holds: HoldChange) -> bool {
        robust_mutex::from_thread(|| {
            let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(at) = open.requests.iter().position(|open| open.number == self.0) else { return false };
            let Open { reservation, .. } = open.requests.swap_remove(at);
            drop(open);
            locked(|table| table.settle(&reservation, (bill, fields), holds, clock::now()));
            true
        })
    }
}

/// This process ends, and none of its threads works any more: what its requests have cost will not be known.
pub fn leave() {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    for Open { reservation, unknown, .. } in open.requests.drain(..) {
        let nothing = FieldCounts::NONE;
        let holds = HoldChange::default();
        locked(|table| table.settle(&reservation, (&unknown, &nothing), holds, clock::now()));
    }
}

/// From any thread: there was no room to keep a question that was handed in, so what it holds counts as spent.
pub fn lose(key: &EntryKey, amount: Amount, polls: Amount) {
    robust_mutex::from_thread(|| locked(|table| table.lose(key, (amount, polls), clock::now())));
}

/// From any thread: there was no room to keep that what a question holds is released.
pub fn hold_again(of: &SumKey, amount: Amount, polls: Amount) {
    robust_mutex::from_thread(|| locked(|table| table.hold_again(of, amount, polls)));
}

/// From any thread: what a question holds is released, by a request that costs money of another currency.
pub fn let_go(of: &SumKey, amount: Amount, polls: Amount) {
    robust_mutex::from_thread(|| locked(|table| table.let_go(of, amount, polls)));
}

/// What is held and is in the tables by now, and what will never be. The leases in the tables are smaller by what is.
pub fn holds_recorded(written: &[(SumKey, Amount)], never: &[(SumKey, Amount)]) {
    locked(|table| {
        written.iter().for_each(|(of, amount)| table.hold_written(of, *amount));
        never.iter().for_each(|(of, amount)| table.hold_recorded(of, *amount));
    });
}

/// What was held and is spent by the tables, with its day; and what was kept for asking for it.
pub fn given_up(holds: &[(SumKey, i64, Amount, Amount)]) {
    let now = clock::now();
    locked(|table| {
        for (of, day, amount, polls) in holds {
            table.given_up(of, (*day, *amount, *polls), now);
        }
    });
}

/// What became of fields that a provider supplied. Cannot fail.
pub fn used(key: &EntryKey, uses: &Uses) {
    locked(|table| table.used(key, uses));
}

/// What the tables do not know of this database.
pub fn record(of: (u32, u32), close: Close) -> Record {
    locked(|table| table.record(of, close, clock::now()))
}

/// Sums that have to stay, and entries, each with all places.
pub fn in_use() -> [(usize, usize); 2] {
    locked(|table| table.in_use())
}

/// It is durable.
pub fn recorded(record: &Record) {
    locked(|table| table.recorded(record));
}

/// Whether requests of this database are under way, or leases open.
pub fn is_open(database: u32) -> bool {
    locked(|table| table.is_open(database))
}

/// What belongs to no extension of this database any more: all but what belongs to this one.
pub fn forget(database: u32, keep: Option<u32>) {
    locked(|table| table.forget(database, keep));
}

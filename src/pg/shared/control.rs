//! Whether requests may be sent in a database, for all its sessions and their helper threads: what the tables say of
//! leadlex.stop() and leadlex.pause_queue(), as plain words that are read without a lock.
//!
//! A word is known from when a session has read the tables until a change of them commits. Who reads them learns first which
//! word stands here, and changes that one only: what was read before a change never hides it. After a crash nothing is known.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use crate::pg::shared::layout::{self, Lock};
use crate::pg::shared::transaction::{OwnControl, Settlement, Transaction};
use crate::pg::sys::database::this_database;
use crate::pg::sys::settings;
use crate::pg::sys::shared_block;

const NAME: &CStr = c"leadlex_enrich control";

const KNOWN: u64 = 1;
const STOPPED: u64 = 2;
const PAUSED: u64 = 4;
/// What counts changes begins above.
const STEP: u64 = 8;

/// Of one database.
#[repr(C)]
struct Place {
    /// Database, and the extension's incarnation there; 0: free.
    owner: AtomicU64,
    word: AtomicU64,
}

/// What is known of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(u64);

impl Word {
    /// `false`: the tables are to be read, see [`learn`].
    pub fn is_known(self) -> bool {
        self.0 & KNOWN != 0
    }

    /// leadlex.stop() is in force.
    pub fn is_stopped(self) -> bool {
        self.0 & STOPPED != 0
    }

    /// leadlex.pause_queue() is.
    pub fn is_paused(self) -> bool {
        self.0 & PAUSED != 0
    }
}

static PLACES: AtomicPtr<Place> = AtomicPtr::new(std::ptr::null_mut());
/// This process's database and its place, for its helper threads.
static OWNER: AtomicU64 = AtomicU64::new(0);
static INDEX: AtomicUsize = AtomicUsize::new(0);

/// Places, as leadlex.max_databases had it at the start of the server: a helper thread may read no setting.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Shared memory to ask for.
pub fn size() -> usize {
    settings::max_databases() * size_of::<Place>()
}

/// Creates or finds the block.
///
/// # Safety
/// Only in the shared memory start-up hook, with AddinShmemInitLock held.
pub unsafe fn start() {
    // SAFETY: as promised by the caller; the block has the size that was asked for, and nobody else knows it yet when it is
    // new.
    unsafe {
        let count = settings::max_databases();
        COUNT.store(count, Ordering::Relaxed);
        let Some(first) = shared_block::create(NAME, size(), &PLACES) else { return };
        (0..count)
            .for_each(|at| first.add(at).write(Place { owner: AtomicU64::new(0), word: AtomicU64::new(0) }));
    }
}

fn places() -> &'static [Place] {
    let first = PLACES.load(Ordering::Relaxed);
    if first.is_null() {
        return &[];
    }
    // SAFETY: laid out by `start`, so many of them; shared memory stays as long as the process. Its contents are changed by
    // atomic operations alone.
    unsafe { std::slice::from_raw_parts(first, COUNT.load(Ordering::Relaxed)) }
}

fn owner(database: u32, catalog: u32) -> u64 {
    u64::from(database) << 32 | u64::from(catalog)
}

/// The word of a place, as long as it is this owner's.
fn read(at: usize, owner: u64) -> Option<u64> {
    let place = places().get(at)?;
    let word = place.word.load(Ordering::SeqCst);
    let same = place.owner.load(Ordering::SeqCst) == owner && place.word.load(Ordering::SeqCst) == word;
    same.then_some(word)
}

/// What is known of this database, in which the extension has this incarnation. `catalog`: as in an account's key.
pub fn look(catalog: u32) -> Word {
    let owner = owner(this_database(), catalog);
    if OWNER.load(Ordering::Relaxed) == owner
        && let Some(word) = read(INDEX.load(Ordering::Relaxed), owner)
    {
        return Word(word);
    }
    let at = find_or_take(owner);
    INDEX.store(at, Ordering::Relaxed);
    OWNER.store(owner, Ordering::Relaxed);
    Word(read(at, owner).unwrap_or_default())
}

fn find_or_take(owner: u64) -> usize {
    let _held = layout::lock(Lock::Databases);
    let is = |wanted: u64| places().iter().position(|place| place.owner.load(Ordering::SeqCst) == wanted);
    if let Some(at) = is(owner) {
        return at;
    }
    // Another database's reads its tables again.
    let at = is(0).unwrap_or(owner as usize % places().len());
    let place = &places()[at];
    forget_word(place);
    place.owner.store(owner, Ordering::SeqCst);
    at
}

fn forget_word(place: &Place) {
    let word = place.word.load(Ordering::SeqCst);
    place.word.store((word / STEP + 1) * STEP, Ordering::SeqCst);
}

/// The tables say so, read after this word was looked at. The word that stands for it; `None`: there has been a change since.
pub fn learn(catalog: u32, seen: Word, stopped: bool, paused: bool) -> Option<Word> {
    let owner = owner(this_database(), catalog);
    let _held = layout::lock(Lock::Databases);
    let place = places().iter().find(|place| place.owner.load(Ordering::SeqCst) == owner)?;
    let bits = KNOWN | if stopped { STOPPED } else { 0 } | if paused { PAUSED } else { 0 };
    let word = (seen.0 / STEP * STEP) | bits;
    let changed = place.word.compare_exchange(seen.0, word, Ordering::SeqCst, Ordering::SeqCst);
    changed.is_ok().then_some(Word(word))
}

/// From any thread of a process that has called [`look`]: whether a request may be sent. What is not known yet counts as before.
pub fn may_send() -> bool {
    let word = read(INDEX.load(Ordering::Relaxed), OWNER.load(Ordering::Relaxed));
    word.is_none_or(|word| word & STOPPED == 0)
}

/// What the end of a transaction does with what it has changed in the tables.
pub const SETTLEMENT: Settlement = Settlement { ended: settle, undone: |_| {} };

/// Cannot fail: runs in the commit and abort callbacks.
fn settle(ended: &Transaction, committed: bool) {
    if committed && !places().is_empty() {
        ended.controls.iter().for_each(change);
    }
}

fn change(own: &OwnControl) {
    let _held = layout::lock(Lock::Databases);
    for place in places_of(this_database()) {
        let word = place.word.load(Ordering::SeqCst);
        // Helper threads go by it at once; sessions read the tables.
        let stopped = if own.stopped { STOPPED } else { word & STOPPED };
        place.word.store(((word / STEP + 1) * STEP) | stopped, Ordering::SeqCst);
    }
}

/// Whatever the extension's incarnation.
fn places_of(database: u32) -> impl Iterator<Item = &'static Place> {
    places().iter().filter(move |place| place.owner.load(Ordering::SeqCst) >> 32 == u64::from(database))
}

/// The database is gone.
pub fn forget(database: u32) {
    let _held = layout::lock(Lock::Databases);
    for place in places_of(database) {
        forget_word(place);
        place.owner.store(0, Ordering::SeqCst);
    }
}

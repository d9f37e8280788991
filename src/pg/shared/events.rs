//! Events on their way to the worker, which writes them down and tells of them. Any thread may post one: nothing on the path
//! of a call waits for more than the lock of this block.
//!
//! What is the same (kind, workspace, provider, part) stands here once. After a crash what was not told is lost; the state that it
//! told of is in leadlex.check().

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use uuid::Uuid;

use crate::pg::shared::receipts;
use crate::pg::sys::robust_mutex::RobustMutex;
use crate::pg::sys::shared_block;
use leadlex_domain::event::Kind;

const NAME: &CStr = c"leadlex_enrich events";
/// Different events that can wait at once, in all databases together.
pub const PLACES: usize = 256;
/// Of the detail, as JSON.
const DETAIL_BYTES: usize = 1_000;

/// An event that the worker has not told of yet.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Waiting {
    /// 0: the place is free.
    pub database: u32,
    /// The extension's incarnation, as in an account's key.
    pub catalog: u32,
    pub kind: Kind,
    /// Nil: about none.
    pub workspace: Uuid,
    pub provider: Uuid,
    /// See [`Event::part`].
    part: u64,
    /// How often, or how many, since it was told last.
    pub count: u64,
    /// Tells it from what comes later.
    number: u64,
    /// Epoch microseconds: not told before, as one of its kind was told a short while ago.
    pub not_before: i64,
    length: u16,
    detail: [u8; DETAIL_BYTES],
}

impl Waiting {
    const FREE: Waiting = Waiting {
        database: 0,
        catalog: 0,
        kind: Kind::Stopped,
        workspace: Uuid::nil(),
        provider: Uuid::nil(),
        part: 0,
        count: 0,
        number: 0,
        not_before: 0,
        length: 0,
        detail: [0; DETAIL_BYTES],
    };

    /// A JSON object.
    pub fn detail(&self) -> serde_json::Value {
        serde_json::from_slice(&self.detail[..usize::from(self.length)]).unwrap_or_default()
    }

    /// Whether it has ended what the other tells of.
    pub fn ends(&self, other: &Waiting) -> bool {
        let about = About { workspace: other.workspace, provider: other.provider };
        self.number > other.number
            && other.kind.opposite().is_some_and(|kind| self.is(other.database, other.catalog, kind, about))
    }

    /// Whether both are told at once: one event for each kind and workspace or provider.
    pub fn goes_with(&self, other: &Waiting) -> bool {
        let about = About { workspace: other.workspace, provider: other.provider };
        self.is(other.database, other.catalog, other.kind, about)
    }

    fn is(&self, database: u32, catalog: u32, kind: Kind, about: About) -> bool {
        (self.database, self.catalog, self.kind) == (database, catalog, kind)
            && (self.workspace, self.provider) == (about.workspace, about.provider)
    }
}

/// Whom it is about; nil for none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct About {
    pub workspace: Uuid,
    pub provider: Uuid,
}

/// What has happened, and where.
pub struct Event {
    /// Oid of the database, and the extension's incarnation there.
    pub database: u32,
    pub catalog: u32,
    pub kind: Kind,
    pub about: About,
    /// Tells apart what has happened of one kind about one workspace or provider, as to several budgets; 0: there is one such thing.
    pub part: u64,
    /// Added to what waits of the same.
    pub count: u64,
    /// An object; what is longer than 1,000 bytes as text is left out.
    pub detail: serde_json::Value,
}

#[repr(C)]
struct Contents {
    places: [Waiting; PLACES],
    number: u64,
    /// Events for which there was no place, since the server started.
    lost: u64,
}

#[repr(C)]
struct Shared {
    mutex: RobustMutex,
    contents: UnsafeCell<Contents>,
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
    // SAFETY: as promised by the caller; the block has the size that was asked for, and nobody else knows it yet when it is
    // new.
    unsafe {
        let Some(shared) = shared_block::create(NAME, size(), &SHARED) else { return };
        RobustMutex::init(&raw mut (*shared).mutex);
        let contents = (*shared).contents.get();
        (0..PLACES).for_each(|place| (&raw mut (*contents).places[place]).write(Waiting::FREE));
        (&raw mut (*contents).number).write(0);
        (&raw mut (*contents).lost).write(0);
    }
}

/// Under the lock. Safe in any thread: it touches nothing but this block.
fn locked<R>(work: impl FnOnce(&mut Contents) -> R) -> R {
    let shared = SHARED.load(Ordering::Relaxed);
    // SAFETY: set by `start`; the mutex makes this the only reference to what lies behind. `work` neither fails nor returns
    // references.
    unsafe {
        (*shared).mutex.hold(|owner_died| {
            let contents = &mut *(*shared).contents.get();
            if owner_died {
                contents.places.fill(Waiting::FREE);
            }
            work(contents)
        })
    }
}

/// Something has happened. Cannot fail: also runs in commit callbacks. Wakes the launcher when no worker is at it. For a backend's
/// main thread; helper threads call it within `robust_mutex::from_thread`.
pub fn post(event: &Event) {
    if SHARED.load(Ordering::Relaxed).is_null() {
        return;
    }
    let text = event.detail.to_string();
    let text = if text.len() > DETAIL_BYTES { "{}" } else { &text };
    locked(|contents| put(contents, event, text.as_bytes()));
    receipts::call_writer(event.database);
}

fn put(contents: &mut Contents, event: &Event, detail: &[u8]) {
    let Event { database, catalog, kind, about, part, count, .. } = *event;
    if let Some(opposite) = kind.opposite() {
        let untold = contents.places.iter_mut().filter(|w| w.is(database, catalog, opposite, about));
        untold.filter(|w| w.not_before > 0).for_each(|w| *w = Waiting::FREE);
    }
    contents.number += 1;
    let known = contents.places.iter().position(|w| w.is(database, catalog, kind, about) && w.part == part);
    let free = || contents.places.iter().position(|w| w.database == 0);
    let Some(at) = known.or_else(free) else {
        contents.lost += 1;
        return;
    };
    let place = &mut contents.places[at];
    let (before, not_before) = (place.count, place.not_before);
    *place = Waiting {
        database,
        catalog,
        kind,
        workspace: about.workspace,
        provider: about.provider,
        part,
        count: before + count,
        number: contents.number,
        not_before,
        length: detail.len() as u16,
        detail: [0; DETAIL_BYTES],
    };
    place.detail[..detail.len()].copy_from_slice(detail);
}

/// Databases of which events are to be told at `now` (epoch microseconds).
pub fn unattended(now: i64) -> Vec<u32> {
    let mut databases: Vec<u32> = locked(|contents| {
        let due = contents.places.iter().filter(|w| w.database != 0 && w.not_before <= now);
        due.map(|w| w.database).collect()
    });
    databases.sort_unstable();
    databases.dedup();
    databases
}

/// What the worker of a database is to tell at `now` (epoch microseconds), in the order in which it happened.
pub fn due(database: u32, now: i64) -> Vec<Waiting> {
    let mut due: Vec<Waiting> = locked(|contents| {
        let due = contents.places.iter().filter(|w| w.database == database && w.not_before <= now);
        due.copied().collect()
    });
    due.sort_unstable_by_key(|w| w.number);
    due
}

/// It has been told, durably.
pub fn told(waiting: &Waiting) {
    with_same(waiting, |place| match place.number == waiting.number {
        true => *place = Waiting::FREE,
        // The same has happened again meanwhile.
        false => place.count = place.count.saturating_sub(waiting.count),
    });
}

/// It is not told before `not_before`, in epoch microseconds.
pub fn put_off(waiting: &Waiting, not_before: i64) {
    with_same(waiting, |place| place.not_before = not_before);
}

fn with_same(waiting: &Waiting, change: impl FnOnce(&mut Waiting)) {
    let about = About { workspace: waiting.workspace, provider: waiting.provider };
    let same = |w: &&mut Waiting| {
        w.is(waiting.database, waiting.catalog, waiting.kind, about) && w.part == waiting.part
    };
    locked(|contents| {
        if let Some(place) = contents.places.iter_mut().find(same) {
            change(place);
        }
    });
}

/// The database, or the extension in it, is gone.
pub fn forget(database: u32) {
    locked(|contents| {
        let gone = contents.places.iter_mut().filter(|w| w.database == database);
        gone.for_each(|w| *w = Waiting::FREE);
    });
}

/// Events that wait, in all databases together.
pub fn waiting() -> usize {
    locked(|contents| contents.places.iter().filter(|w| w.database != 0).count())
}

/// Events for which there was no place, since the server started.
pub fn lost() -> u64 {
    locked(|contents| contents.lost)
}

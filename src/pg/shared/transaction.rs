//! What this backend's transaction holds in shared memory, and how its end settles that.
//!
//! Every entry remembers its subtransaction. A subtransaction that ends well passes its entries to the parent;
//! one that aborts gives them back. The callbacks of commit and abort only touch memory: they cannot fail.

use crate::pg::shared::budgets::EntryKey;
use crate::pg::shared::events::{self, Event};
use crate::pg::shared::job_queues;
use crate::pg::shared::workers;
use leadlex_domain::money::quality::Uses;
use leadlex_domain::sqlstate;
use std::cell::{Cell, RefCell};
use std::sync::OnceLock;

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::pg::shared::layout::ClaimKey;
use crate::pg::sys::memory;
use crate::pg::sys::raise::{PgError, refuse};

/// Credits taken out of a balance by this transaction.
///
/// `account` is its place in shared memory.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// Which reservation: a trigger's call inside another has its own.
    pub reservation: u64,
    pub account: usize,
    pub amount: i64,
    /// Taken from credits that this very transaction granted, which nobody else can see yet.
    pub from_own_grant: bool,
    /// A ledger row says that they are gone; commit makes it final. Otherwise they are only reserved.
    pub spent: bool,
    pub subtransaction: u32,
}

/// Credits that this transaction adds to an account; they count when it commits.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub account: usize,
    pub amount: i64,
    pub subtransaction: u32,
}

/// A claim with the subtransaction that made it.
#[derive(Clone, Copy, Debug)]
pub struct OwnClaim {
    pub key: ClaimKey,
    pub subtransaction: u32,
}

/// What became of fields that a provider supplied.
#[derive(Clone, Copy, Debug)]
pub struct UsedFields {
    pub key: EntryKey,
    pub uses: Uses,
    pub subtransaction: u32,
}

/// What the present transaction of this backend holds and has noted.
#[derive(Default)]
pub struct Transaction {
    pub holds: Vec<Hold>,
    pub grants: Vec<Grant>,
    pub claims: Vec<OwnClaim>,
    /// Accounts that must stay where they are until this transaction has settled.
    pub pins: Vec<usize>,
    /// An account this backend is loading.
    pub loading: Option<usize>,
    /// Contacts and keys whose call is under way in this backend: a trigger may try to begin another.
    pub under_way: Vec<OwnClaim>,
    /// Ledger rows were written: once they are committed, the worker has something to settle.
    pub wrote_ledger: bool,
    /// The schema has been brought to another version: the worker has to look at it again.
    pub updated_schema: bool,
    /// Tickets were taken away whose answers nobody will ask for: the worker sees to what they leave.
    pub withdrew_tickets: bool,
    /// It has set a budget: what it finds out about budgets is so once it is committed.
    pub set_budget: bool,
    /// A call was made: it cannot be prepared for two-phase commit.
    pub called: bool,
    /// Roles whose jobs wait, once this is committed.
    pub queued: Vec<u32>,
    /// leadlex.resume_queue() was called.
    pub resumed: bool,
    /// Databases that this transaction keeps workers out of.
    pub lockouts: Vec<OwnLockout>,
    /// Counted when it commits.
    pub used: Vec<UsedFields>,
    /// What is to be told of once this is committed.
    pub events: Vec<OwnEvent>,
    /// In which workspace it has calls, see [`crate::pg::shared::occupancy`]; 0: in none.
    pub seat: u64,
    /// Workspaces that it has to itself.
    pub closures: Vec<OwnClosure>,
    /// Changes of whether requests are sent and jobs are begun.
    pub controls: Vec<OwnControl>,
}

/// A workspace that this transaction has to itself; `at`: its place in shared memory.
pub struct OwnClosure {
    pub at: usize,
    pub subtransaction: u32,
}

/// A change of the tables that say whether requests are sent and jobs are begun.
pub struct OwnControl {
    /// From the commit on no request may be sent; `false`: the tables tell.
    pub stopped: bool,
    pub subtransaction: u32,
}

/// An event that is true once this transaction commits.
pub struct OwnEvent {
    pub event: Event,
    pub subtransaction: u32,
}

/// What becomes of a locked_out database when the transaction commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockoutOutcome {
    Stays,
    /// It is gone.
    Dropped,
    /// It has been copied to this new one.
    Copied(u32),
    /// The extension was dropped in it.
    Emptied,
}

/// A lockout that this transaction made, and what follows from its commit.
#[derive(Clone, Copy, Debug)]
pub struct OwnLockout {
    pub database: u32,
    pub outcome: LockoutOutcome,
    pub subtransaction: u32,
}

/// What the end of a transaction does with some of its entries. Nothing of it can fail: commit and abort are past that.
pub struct Settlement {
    /// The transaction has ended with all its entries; whether it was committed.
    pub ended: fn(&Transaction, bool),
    /// A subtransaction has ended without them.
    pub undone: fn(&Undone),
}

/// What a subtransaction that failed had.
pub struct Undone {
    pub holds: Vec<Hold>,
    pub claims: Vec<OwnClaim>,
    pub lockouts: Vec<OwnLockout>,
    /// An account that it was reading into shared memory.
    pub loading: Option<usize>,
    /// Workspaces that it had to itself.
    pub closures: Vec<OwnClosure>,
}

static SETTLEMENTS: OnceLock<Vec<Settlement>> = OnceLock::new();

/// Once, before shared memory is used. They are done in this order.
pub fn settle_with(settlements: Vec<Settlement>) {
    let _ = SETTLEMENTS.set(settlements);
}

fn settlements() -> impl Iterator<Item = &'static Settlement> {
    SETTLEMENTS.get().into_iter().flatten()
}

thread_local! {
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
    static CURRENT: RefCell<Transaction> = RefCell::new(Transaction::default());
    static CALLS: RefCell<Calls> = RefCell::new(Calls::default());
    /// The transaction that ends leaves memory free that is not needed again soon.
    static LEAVES_FREE: Cell<bool> = const { Cell::new(false) };
    /// Some contact was enriched in this session.
    static HAS_ENRICHED: Cell<bool> = const { Cell::new(false) };
}

/// After so many contacts a session has megabytes that it does not need for calls.
const MANY: usize = 5_000;

/// This transaction's entries.
pub fn with<R>(work: impl FnOnce(&mut Transaction) -> R) -> R {
    if !REGISTERED.replace(true) {
        // SAFETY: registered once per backend; the callbacks live as long as the library.
        unsafe {
            pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_subtransaction), std::ptr::null_mut());
            pg_sys::RegisterResourceReleaseCallback(Some(on_release), std::ptr::null_mut());
        }
    }
    CURRENT.with_borrow_mut(work)
}

/// The number of the current subtransaction, the first (the transaction itself) being 1.
pub fn subtransaction() -> u32 {
    // SAFETY: reads the state of the current transaction.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// From here on this transaction cannot be prepared.
///
/// PREPARE TRANSACTION raises 0A000 then.
pub fn mark_called() {
    with(|t| t.called = true);
}

#[pg_guard]
unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _arg: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    match event {
        XACT_EVENT_PRE_PREPARE if CURRENT.with_borrow(|t| t.called) => refuse(PgError {
            sqlstate: sqlstate::FEATURE_NOT_SUPPORTED,
            message: "cannot PREPARE a transaction that has called leadlex_enrich".into(),
            detail: Some("Its reserved credits and claims live in this server process.".into()),
            hint: Some("Use COMMIT.".into()),
        }),
        XACT_EVENT_COMMIT => settle(true),
        // Left are the pins of one who only looked: the transaction is no longer this process's.
        XACT_EVENT_ABORT | XACT_EVENT_PREPARE => settle(false),
        _ => {}
    }
}

fn settle(committed: bool) {
    // Taken out first: nothing in here may be settled twice.
    let ended = CURRENT.with_borrow_mut(std::mem::take);
    LEAVES_FREE.set(leaves_free(ended.claims.len()));
    if committed {
        let noted = ended.wrote_ledger || ended.updated_schema;
        ended.events.iter().for_each(|own| events::post(&own.event));
        CALLS.set(Calls {
            noted,
            withdrew: ended.withdrew_tickets,
            resumed: ended.resumed,
            queued: ended.queued.clone(),
        });
    }
    settlements().for_each(|settlement| (settlement.ended)(&ended, committed));
}

/// The first contact of a session has statements of ours planned, which takes more memory than their plans.
fn leaves_free(contacts: usize) -> bool {
    contacts >= MANY || (contacts > 0 && !HAS_ENRICHED.replace(true))
}

/// What workers are told of a transaction that has committed.
#[derive(Default)]
struct Calls {
    /// Something has to be settled or looked at again.
    noted: bool,
    /// Tickets were taken away.
    withdrew: bool,
    resumed: bool,
    queued: Vec<u32>,
}

/// Workers are called when others have been told what this transaction has changed in the catalogs and the configuration.
/// The commit callbacks come before that: a worker that runs would look at once, find what it remembers, and rest.
#[pg_guard]
unsafe extern "C-unwind" fn on_release(
    phase: pg_sys::ResourceReleasePhase::Type,
    _is_commit: bool,
    is_top_level: bool,
    _arg: *mut std::ffi::c_void,
) {
    if phase != pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level {
        return;
    }
    if LEAVES_FREE.take() {
        memory::trim();
    }
    let Calls { noted, withdrew, resumed, queued } = CALLS.take();
    if noted {
        workers::note_work();
    }
    if withdrew {
        workers::note_withdrawal();
    }
    job_queues::settle(&queued, resumed);
}

#[pg_guard]
unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    own: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::*;
    match event {
        SUBXACT_EVENT_COMMIT_SUB => CURRENT.with_borrow_mut(|t| {
            let hand_up = |sub: &mut u32| {
                if *sub == own {
                    *sub = parent;
                }
            };
            t.holds.iter_mut().for_each(|h| hand_up(&mut h.subtransaction));
            t.grants.iter_mut().for_each(|g| hand_up(&mut g.subtransaction));
            t.claims.iter_mut().for_each(|c| hand_up(&mut c.subtransaction));
            t.under_way.iter_mut().for_each(|c| hand_up(&mut c.subtransaction));
            t.lockouts.iter_mut().for_each(|b| hand_up(&mut b.subtransaction));
            t.events.iter_mut().for_each(|e| hand_up(&mut e.subtransaction));
            t.controls.iter_mut().for_each(|c| hand_up(&mut c.subtransaction));
            t.closures.iter_mut().for_each(|c| hand_up(&mut c.subtransaction));
            t.used.iter_mut().for_each(|u| hand_up(&mut u.subtransaction));
        }),
        SUBXACT_EVENT_ABORT_SUB => {
            let undone = CURRENT.with_borrow_mut(|t| {
                t.grants.retain(|g| g.subtransaction != own);
                t.used.retain(|u| u.subtransaction != own);
                t.under_way.retain(|c| c.subtransaction != own);
                t.events.retain(|e| e.subtransaction != own);
                t.controls.retain(|c| c.subtransaction != own);
                Undone {
                    holds: t.holds.extract_if(.., |h| h.subtransaction == own).collect(),
                    claims: t.claims.extract_if(.., |c| c.subtransaction == own).collect(),
                    lockouts: t.lockouts.extract_if(.., |b| b.subtransaction == own).collect(),
                    loading: t.loading.take(),
                    closures: t.closures.extract_if(.., |c| c.subtransaction == own).collect(),
                }
            });
            settlements().for_each(|settlement| (settlement.undone)(&undone));
        }
        _ => {}
    }
}

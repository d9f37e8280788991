//! Which transactions have calls under way in which workspace, and which has a workspace to itself: leadlex.limit_credits
//! waits for the former, and calls that come meanwhile wait for the latter. Both wait by Postgres's own locks on
//! transactions, so that deadlocks are found, and lock_timeout is obeyed.
//!
//! A call says where it is before it looks whether it may be there; who closes a workspace says so before it looks who is in it.
//! So one of the two sees the other. A call that sees it steps back, and until it has decided it is only tentatively there.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use pgrx::pg_sys;

use crate::pg::shared::layout::{self, AccountKey, Lock};
use crate::pg::shared::transaction::{self, OwnClosure, Settlement, Transaction, Undone};
use crate::pg::shared::wait;
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::settings;
use crate::pg::sys::shared_block;
use leadlex_domain::hash::hash;
use leadlex_domain::sqlstate;

const NAME: &CStr = c"leadlex_enrich occupancy";
/// Workspaces that can be closed at once.
pub const CLOSURES: usize = 64;
/// The call has not looked yet whether the workspace is closed.
const TENTATIVE: u64 = 1;
/// The transaction has calls in several workspaces.
const MANY: u64 = u64::MAX - TENTATIVE;

/// Of one server process.
#[repr(C)]
struct Seat {
    /// In which workspace its transaction has calls; 0: in none.
    key: AtomicU64,
    /// The local number of that transaction.
    lxid: AtomicU32,
}

/// A workspace that a transaction has to itself.
#[repr(C)]
struct Closure {
    /// 0: free.
    key: AtomicU64,
    xid: AtomicU32,
}

#[repr(C)]
struct Head {
    closures: [Closure; CLOSURES],
    /// How many are in use.
    closed: AtomicUsize,
}

static HEAD: AtomicPtr<Head> = AtomicPtr::new(std::ptr::null_mut());
static SEATS: AtomicUsize = AtomicUsize::new(0);

fn seats_offset() -> usize {
    size_of::<Head>().next_multiple_of(align_of::<Seat>())
}

fn processes() -> usize {
    // SAFETY: set by the postmaster before shared memory is asked for.
    usize::try_from(unsafe { pg_sys::MaxBackends }).unwrap_or_default() + 1
}

/// Shared memory to ask for.
pub fn size() -> usize {
    seats_offset() + processes() * size_of::<Seat>()
}

/// Creates or finds the block.
///
/// # Safety
/// Only in the shared memory start-up hook, with AddinShmemInitLock held.
pub unsafe fn start() {
    // SAFETY: as promised by the caller; the block has the size that was asked for, nobody else knows it yet when it is new,
    // and all of it may be zero.
    unsafe {
        SEATS.store(processes(), Ordering::Relaxed);
        if let Some(head) = shared_block::create(NAME, size(), &HEAD) {
            std::ptr::write_bytes(head.cast::<u8>(), 0, size());
        }
    }
}

fn head() -> &'static Head {
    // SAFETY: set by `start`, and there as long as the process; only atomics are in it. Callers have seen that the library was
    // preloaded.
    unsafe { &*HEAD.load(Ordering::Relaxed) }
}

fn seats() -> &'static [Seat] {
    // SAFETY: as above; so many follow the head.
    unsafe {
        let first = HEAD.load(Ordering::Relaxed).cast::<u8>().add(seats_offset()).cast::<Seat>();
        std::slice::from_raw_parts(first, SEATS.load(Ordering::Relaxed))
    }
}

/// How many workspaces are closed now.
pub fn closed() -> usize {
    head().closed.load(Ordering::SeqCst)
}

/// The place of this process among the seats.
fn own_place() -> usize {
    // SAFETY: a global of a process that has joined shared memory: from 1 up to 16, from 0 since.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        return pg_sys::MyBackendId as usize;
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        return pg_sys::MyProcNumber as usize;
    }
}

/// Two workspaces that come to the same wait for each other without need.
fn key_of(account: AccountKey) -> u64 {
    let digest = hash(&[&account.database.to_be_bytes(), &account.catalog.to_be_bytes(), &account.id]);
    let mut short = [0; 8];
    short.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(short) & !TENTATIVE | 2
}

/// A call of this transaction begins in the workspace: `true` where it has waited for who had it to itself, so that what is
/// known of it is to be read again. It counts as under way until the transaction ends.
///
/// Raises 55P03, 57014 or 40P01 like any wait for a lock.
pub fn enter(account: AccountKey) -> bool {
    let key = key_of(account);
    let held = transaction::with(|t| t.seat);
    if held == key || held == MANY {
        return false;
    }
    let Some(seat) = seats().get(own_place()) else { return false };
    let new = if held == 0 { key } else { MANY };
    let mut waited = false;
    loop {
        seat.lxid.store(settings::transaction_number(), Ordering::SeqCst);
        seat.key.store(new | TENTATIVE, Ordering::SeqCst);
        let holder = closed_by(key);
        // SAFETY: a look at this process's own transaction.
        let other =
            holder.filter(|xid| unsafe { !pg_sys::TransactionIdIsCurrentTransactionId((*xid).into()) });
        let Some(xid) = other else {
            transaction::with(|t| t.seat = new);
            seat.key.store(new, Ordering::SeqCst);
            return waited;
        };
        seat.key.store(held, Ordering::SeqCst);
        wait_for(xid);
        waited = true;
    }
}

fn closed_by(key: u64) -> Option<u32> {
    let head = head();
    if head.closed.load(Ordering::SeqCst) == 0 {
        return None;
    }
    let closure = head.closures.iter().find(|closure| closure.key.load(Ordering::SeqCst) == key)?;
    Some(closure.xid.load(Ordering::SeqCst)).filter(|xid| *xid != 0)
}

fn wait_for(xid: u32) {
    let (relation, tuple, why) = (std::ptr::null_mut(), std::ptr::null_mut(), pg_sys::XLTW_Oper::XLTW_None);
    // SAFETY: waits for a transaction, as for one that has updated a row; interrupts are served.
    unsafe { pg_sys::XactLockTableWait(xid.into(), relation, tuple, why) };
    pgrx::check_for_interrupts!();
}

/// The workspace is this transaction's alone until it ends: waits for all that have calls under way there.
///
/// Raises 55P03, 57014 or 40P01 like any wait for a lock. 53400: too many workspaces are closed at once.
pub fn close(account: AccountKey) {
    let key = key_of(account);
    // SAFETY: assigns a number to this transaction, if it has none, for others to wait for.
    let own = unsafe { pg_sys::GetTopTransactionId() };
    while let Some(xid) = take(key, u32::from(own)) {
        wait_for(xid);
    }
    let others = seats().iter().enumerate().filter(|(place, _)| *place != own_place());
    for (place, seat) in others {
        wait_until_left(place, seat, key);
    }
}

/// Whose it is already, if it is another's.
fn take(key: u64, own: u32) -> Option<u32> {
    let subtransaction = transaction::subtransaction();
    transaction::with(|t| t.closures.reserve(1));
    let taken = {
        let _held = layout::lock(Lock::Databases);
        let head = head();
        if let Some(xid) = closed_by(key) {
            return (xid != own).then_some(xid);
        }
        let free = head.closures.iter().position(|closure| closure.key.load(Ordering::SeqCst) == 0);
        free.inspect(|at| {
            head.closures[*at].xid.store(own, Ordering::SeqCst);
            head.closures[*at].key.store(key, Ordering::SeqCst);
            head.closed.fetch_add(1, Ordering::SeqCst);
        })
    };
    let Some(at) = taken else {
        refuse(PgError {
            sqlstate: sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
            message: format!("{CLOSURES} workspaces are being limited or dropped at this moment"),
            detail: None,
            hint: Some("Try again when those transactions have ended.".into()),
        })
    };
    transaction::with(|t| t.closures.push(OwnClosure { at, subtransaction }));
    None
}

fn wait_until_left(place: usize, seat: &Seat, key: u64) {
    loop {
        let there = seat.key.load(Ordering::SeqCst);
        if there & !TENTATIVE != key && there & !TENTATIVE != MANY {
            return;
        }
        if there & TENTATIVE == 0 {
            break;
        }
        // It decides in a moment.
        wait::nap(Duration::from_millis(1));
    }
    let transaction = pg_sys::VirtualTransactionId {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        backendId: place as i32,
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        procNumber: place as i32,
        localTransactionId: seat.lxid.load(Ordering::SeqCst),
    };
    // SAFETY: waits for a transaction that may have ended by now; interrupts are served.
    unsafe { pg_sys::VirtualXactLock(transaction, true) };
    pgrx::check_for_interrupts!();
}

/// What the end of a (sub)transaction does with what is here.
pub const SETTLEMENT: Settlement = Settlement { ended: settle, undone };

fn undone(undone: &Undone) {
    undone.closures.iter().for_each(open);
}

/// Cannot fail: runs in the commit and abort callbacks, before the transaction's locks are released.
fn settle(ended: &Transaction, _committed: bool) {
    ended.closures.iter().for_each(open);
    if ended.seat != 0
        && let Some(seat) = seats().get(own_place())
    {
        seat.key.store(0, Ordering::SeqCst);
    }
}

fn open(own: &OwnClosure) {
    let closure = &head().closures[own.at];
    closure.key.store(0, Ordering::SeqCst);
    closure.xid.store(0, Ordering::SeqCst);
    head().closed.fetch_sub(1, Ordering::SeqCst);
}

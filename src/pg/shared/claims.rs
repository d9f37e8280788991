//! "One contact, one question": who is enriching which contact, or using which idempotency key, right now.
//!
//! While a call runs it holds a lock of Postgres's on what it claims (an advisory one, in a field of its own). What it
//! has written under a claim stays claimed by its transaction, and another call that wants it waits for that transaction's xid.
//! Both waits show in pg_locks, are seen by the deadlock detector, and obey lock_timeout. Only calls that are running
//! take a lock of the fixed pool, so one transaction can have very many contacts behind it.

use leadlex_domain::sqlstate;
use pgrx::pg_sys;
use std::sync::atomic::Ordering;

use crate::pg::shared::layout;
use crate::pg::shared::layout::{ClaimKey, ContactClaim};
use crate::pg::shared::transaction::OwnClaim;
use crate::pg::shared::transaction::{self, Settlement};
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::settings;
use crate::pg::sys::spi::{self, Caught};

/// Claims `key` for the current (sub)transaction, waiting for another holder, and keeps its lock for the running call.
/// `false`: this transaction has it already.
///
/// Raises 53200: leadlex.max_contacts_in_flight claims are held. Errors of waiting pass through: 40P01,
/// 55P03, 57014.
pub fn claim(key: ClaimKey) -> bool {
    let claimed = try_claim(key, true).unwrap_or_else(|TooMany| {
        refuse(PgError {
            sqlstate: sqlstate::OUT_OF_MEMORY,
            message: TooMany::MESSAGE.into(),
            detail: Some(format!(
                "leadlex.max_contacts_in_flight is {}.",
                settings::max_contacts_in_flight()
            )),
            hint: Some("Commit more often, or raise leadlex.max_contacts_in_flight and restart.".into()),
        })
    });
    claimed == Claimed::Now
}

/// What came of trying to claim a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    Now,
    /// This transaction had it already.
    Before,
    /// Somebody else has it, and is not waited for.
    ByOthers,
}

/// There is no room for another claim.
#[derive(Debug)]
pub struct TooMany;

impl TooMany {
    /// Of the error 53200 that tells of it.
    pub const MESSAGE: &str = "too many contacts are being enriched by open transactions";

    /// The same where no DETAIL goes with it.
    pub fn with_setting() -> String {
        let most = settings::max_contacts_in_flight();
        format!("{} (leadlex.max_contacts_in_flight is {most})", TooMany::MESSAGE)
    }
}

/// As [`claim`], for one among many. `waits`: for another holder.
pub fn try_claim(key: ClaimKey, waits: bool) -> Result<Claimed, TooMany> {
    // SAFETY: inside a transaction that may write (checked before); assigns an xid where there is none.
    let own = unsafe { pg_sys::GetCurrentTransactionId() };
    let subtransaction = transaction::subtransaction();
    // Noted first, so that memory for the note cannot be what fails once the claim is made.
    transaction::with(|t| t.claims.reserve(1));
    loop {
        if !lock(&key, waits) {
            return Ok(Claimed::ByOthers);
        }
        let holder = match enter(&key, own.into_inner()) {
            Ok(None) => {
                transaction::with(|t| t.claims.push(OwnClaim { key, subtransaction }));
                return Ok(Claimed::Now);
            }
            Ok(Some(holder)) => pg_sys::TransactionId::from(holder),
            Err(full) => {
                unlock(&key);
                layout::without_place().claims.fetch_add(1, Ordering::Relaxed);
                return Err(full);
            }
        };
        // SAFETY: plain look-ups; the wait handles interrupts, deadlocks and lock_timeout itself.
        unsafe {
            if pg_sys::TransactionIdIsCurrentTransactionId(holder) {
                return Ok(Claimed::Before);
            }
            // Its call is over, its transaction is not.
            unlock(&key);
            if !waits && pg_sys::TransactionIdIsInProgress(holder) {
                return Ok(Claimed::ByOthers);
            }
            pg_sys::XactLockTableWait(
                holder,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                pg_sys::XLTW_Oper::XLTW_None,
            );
        }
        // A holder that has ended is not waited for: were its claim to stay, nothing else here would look.
        pgrx::check_for_interrupts!();
    }
}

/// As [`try_claim`]. Where lock_timeout is over it is `ByOthers`, so that one contact ends no set.
pub fn claim_one_of_many(key: ClaimKey, waits: bool) -> Result<Claimed, TooMany> {
    if !waits || settings::lock_timeout().is_none() {
        return try_claim(key, waits);
    }
    loop {
        let claimed = try_claim(key, false)?;
        let is_over = |caught: &Caught| caught.sqlstate == sqlstate::LOCK_NOT_AVAILABLE;
        // An error in the midst of waiting leaves what only the end of a subtransaction clears.
        if claimed != Claimed::ByOthers || spi::tried(|| wait_for(&key), is_over).is_err() {
            return Ok(claimed);
        }
    }
}

/// Until no call holds `key`, nor a transaction that has written under it.
fn wait_for(key: &ClaimKey) {
    lock(key, true);
    let holder = layout::with_claims(|table| holder(table, key));
    unlock(key);
    if let Some(holder) = holder {
        // SAFETY: plain look-ups; the wait handles interrupts, deadlocks and lock_timeout itself.
        unsafe {
            pg_sys::XactLockTableWait(
                pg_sys::TransactionId::from(holder),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                pg_sys::XLTW_Oper::XLTW_None,
            );
        }
    }
    pgrx::check_for_interrupts!();
}

/// The xid of the transaction that has claimed `key`; under the table's lock.
fn holder(table: *mut pg_sys::HTAB, key: &ClaimKey) -> Option<u32> {
    let key = (key as *const ClaimKey).cast();
    let mut found = false;
    // SAFETY: under the table's lock; the key is a blob of the declared size.
    unsafe {
        let entry =
            pg_sys::hash_search(table, key, pg_sys::HASHACTION::HASH_FIND, &mut found).cast::<ContactClaim>();
        found.then(|| (*entry).xid)
    }
}

/// What tells our locks from those of pg_advisory_lock, which uses 1 and 2.
const OWN_FIELD: u16 = 0x4C58;

fn tag(key: &ClaimKey) -> pg_sys::LOCKTAG {
    let [a, b, c, d, e, f, g, h, ..] = key.hash;
    pg_sys::LOCKTAG {
        locktag_field1: key.database,
        locktag_field2: u32::from_ne_bytes([a, b, c, d]),
        locktag_field3: u32::from_ne_bytes([e, f, g, h]),
        locktag_field4: OWN_FIELD,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

fn lock(key: &ClaimKey, waits: bool) -> bool {
    // SAFETY: a complete tag; a transaction-level lock, released by `unlock` or by (sub)transaction abort.
    let got = unsafe { pg_sys::LockAcquire(&tag(key), pg_sys::ExclusiveLock as i32, false, !waits) };
    got != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// The call that claimed `key` is over.
pub fn unlock(key: &ClaimKey) {
    // SAFETY: acquired by `lock` in this call.
    unsafe { pg_sys::LockRelease(&tag(key), pg_sys::ExclusiveLock as i32, false) };
}

/// The present holder's xid, or `None` when `key` is now ours.
fn enter(claimed: &ClaimKey, xid: u32) -> Result<Option<u32>, TooMany> {
    layout::with_claims(|table| {
        let key = (claimed as *const ClaimKey).cast();
        let mut found = false;
        if let Some(holder) = holder(table, claimed) {
            return Ok(Some(holder));
        }
        // SAFETY: under the table's lock; the key is a blob of the declared size. ENTER_NULL gives null when out of
        // memory. The count is checked first: by itself the table would grow into memory that other parts need.
        unsafe {
            if pg_sys::hash_get_num_entries(table) as usize >= settings::max_contacts_in_flight() {
                return Err(TooMany);
            }
            let entry = pg_sys::hash_search(table, key, pg_sys::HASHACTION::HASH_ENTER_NULL, &mut found);
            if entry.is_null() {
                return Err(TooMany);
            }
            (*entry.cast::<ContactClaim>()).xid = xid;
            Ok(None)
        }
    })
}

/// Gives up claims that this call made, when nothing was asked or written under them.
pub fn give_up(keys: &[ClaimKey]) {
    if keys.is_empty() {
        return;
    }
    // Those of a running call are the last.
    transaction::with(|t| {
        let mut left = keys.len();
        let mut at = t.claims.len();
        while at > 0 && left > 0 {
            at -= 1;
            if keys.contains(&t.claims[at].key) {
                t.claims.swap_remove(at);
                left -= 1;
            }
        }
    });
    keys.iter().for_each(release);
}

/// What the end of a transaction does with its claims: it lets them go.
pub const SETTLEMENT: Settlement = Settlement {
    ended: |ended, _| ended.claims.iter().for_each(|claim| release(&claim.key)),
    undone: |undone| undone.claims.iter().for_each(|claim| release(&claim.key)),
};

/// Cannot fail: runs in commit and abort callbacks.
pub fn release(key: &ClaimKey) {
    layout::with_claims(|table| {
        let mut found = false;
        // SAFETY: under the table's lock; removing an absent key is harmless.
        unsafe {
            pg_sys::hash_search(
                table,
                (key as *const ClaimKey).cast(),
                pg_sys::HASHACTION::HASH_REMOVE,
                &mut found,
            );
        }
    });
}

//! Shared memory: how it is laid out and reached. What it holds is in `records`, what is done with it in `accounts`,
//! `claims` and `worker`.
//!
//! Layout: [`Header`], then the databases, the queues, the directory of accounts and the accounts. The claims are a dynahash of their own. After a crash Postgres makes all
//! of it anew, empty.

use crate::pg::sys::raise;
use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pgrx::pg_guard;
use pgrx::pg_sys;

use crate::pg::shared::directory::{Directory, Place, Uses};
use crate::pg::sys::settings;

mod records;
pub use records::*;

const NAME: &CStr = c"leadlex_enrich";
const CLAIMS: &CStr = c"leadlex_enrich claims";

/// Index into the named tranche of locks.
#[derive(Clone, Copy)]
pub enum Lock {
    /// Which account stands where. Taken before an account's own lock.
    Directory = 0,
    Databases = 1,
    Claims = 2,
}
const LOCKS: i32 = 3;

/// The number of `AddinShmemInitLock`, whose name is a macro in C. It is the same in 15 to 19: storage/lwlocknames.h.
const ADDIN_SHMEM_INIT_LOCK: usize = 21;

static HEADER: AtomicPtr<Header> = AtomicPtr::new(std::ptr::null_mut());
static CLAIM_TABLE: AtomicPtr<pg_sys::HTAB> = AtomicPtr::new(std::ptr::null_mut());

/// 55000 where the library was not preloaded.
///
/// Raises 55000.
pub fn require() {
    if !available() {
        raise::not_ready(
            "leadlex_enrich must be loaded when the server starts",
            "Add leadlex_enrich to shared_preload_libraries in postgresql.conf (shared_preload_libraries = 'leadlex_enrich') and restart.",
        );
    }
}

/// Whether the library was preloaded, and shared memory is there.
pub fn available() -> bool {
    !HEADER.load(Ordering::Relaxed).is_null()
}

/// A block of shared memory that another file lays out.
pub struct Part {
    /// Bytes to ask for.
    pub size: fn() -> usize,
    /// Creates or finds it. Only in the start-up hook, with AddinShmemInitLock held.
    pub start: unsafe fn(),
}

static PARTS: OnceLock<Vec<Part>> = OnceLock::new();

/// Once, while the server preloads: asks for shared memory, and lays it out at the start.
pub fn register(parts: Vec<Part>) {
    let _ = PARTS.set(parts);
    // SAFETY: runs once in the postmaster while it preloads; the previous hooks are kept and called.
    unsafe {
        PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Where each of these begins, and where the last ends.
struct Offsets {
    databases: usize,
    queues: usize,
    uses: usize,
    chains: usize,
    places: usize,
    accounts: usize,
    end: usize,
}

fn offsets() -> Offsets {
    /// Where `count` records of this kind begin, the first free byte being `from`; and the first behind them.
    fn lay<T>(from: usize, count: usize) -> (usize, usize) {
        let begin = from.next_multiple_of(align_of::<T>());
        (begin, begin + count * size_of::<T>())
    }
    let count = settings::max_workspaces();
    let (databases, end) = lay::<Database>(size_of::<Header>(), settings::max_databases());
    let (queues, end) = lay::<Queue>(end, max_queues());
    let (uses, end) = lay::<Uses>(end, 1);
    let (chains, end) = lay::<u32>(end, count);
    let (places, end) = lay::<Place>(end, count);
    let (accounts, end) = lay::<Account>(end, count);
    Offsets { databases, queues, uses, chains, places, accounts, end }
}

fn max_queues() -> usize {
    settings::max_databases() * QUEUES_A_DATABASE
}

fn main_size() -> usize {
    offsets().end
}

#[pg_guard]
unsafe extern "C-unwind" fn request() {
    // SAFETY: called by the postmaster at the one moment at which these requests are allowed.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| previous());
        }
        pg_sys::RequestAddinShmemSpace(main_size());
        let claims =
            pg_sys::hash_estimate_size(settings::max_contacts_in_flight() as _, size_of::<ContactClaim>());
        pg_sys::RequestAddinShmemSpace(claims);
        PARTS.get().into_iter().flatten().for_each(|part| pg_sys::RequestAddinShmemSpace((part.size)()));
        pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), LOCKS);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn startup() {
    // SAFETY: called once per incarnation of shared memory (again after a crash), with AddinShmemInitLock to hold
    // while creating or attaching; the block is as large as was requested.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            pg_sys::submodules::ffi::pg_guard_ffi_boundary(|| previous());
        }
        let init_lock = &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock;
        pg_sys::LWLockAcquire(init_lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let mut found = false;
        let header = pg_sys::ShmemInitStruct(NAME.as_ptr(), main_size(), &mut found).cast::<Header>();
        if !found {
            initialise(header);
        }
        let mut info = pg_sys::HASHCTL {
            keysize: size_of::<ClaimKey>(),
            entrysize: size_of::<ContactClaim>(),
            ..Default::default()
        };
        let size = settings::max_contacts_in_flight() as _;
        let flags = (pg_sys::HASH_ELEM | pg_sys::HASH_BLOBS) as i32;
        #[cfg(feature = "pg19")]
        let claims = pg_sys::ShmemInitHash(CLAIMS.as_ptr(), size, &mut info, flags);
        #[cfg(not(feature = "pg19"))]
        let claims = pg_sys::ShmemInitHash(CLAIMS.as_ptr(), size, size, &mut info, flags);
        PARTS.get().into_iter().flatten().for_each(|part| (part.start)());
        pg_sys::LWLockRelease(init_lock);
        HEADER.store(header, Ordering::Relaxed);
        CLAIM_TABLE.store(claims, Ordering::Relaxed);
    }
}

unsafe fn initialise(header: *mut Header) {
    // SAFETY: `header` is a fresh block of main_size() bytes that nobody else knows of yet.
    unsafe {
        let tranche = pg_sys::GetNamedLWLockTranche(NAME.as_ptr());
        let tranche_id = i32::from((*tranche).lock.tranche);
        let count = settings::max_workspaces();
        let Offsets { databases, queues, uses, chains, places, accounts, .. } = offsets();
        header.write(Header {
            databases: fill(header, databases, settings::max_databases(), Database::FREE),
            queues: fill(header, queues, max_queues(), Queue::FREE),
            lockouts: [Lockout::FREE; MAX_BARS],
            running: [Running::NONE; MAX_RUNNING],
            launcher_pid: 0,
            launcher_latch: std::ptr::null_mut(),
            close_until: 0,
            turns: 0,
            resumed: 0,
            untold: false,
            sweeping: false,
            read_only: false,
            account_count: count,
            accounts_used: AtomicUsize::new(0),
            without_place: WithoutPlace::default(),
        });
        fill(header, uses, 1, Uses::NONE);
        fill(header, chains, count, 0u32);
        fill(header, places, count, Place::FREE);
        let accounts = header.cast::<u8>().add(accounts).cast::<Account>();
        for index in 0..count {
            let account = accounts.add(index);
            pg_sys::LWLockInitialize(&raw mut (*account).lock, tranche_id);
            pg_sys::ConditionVariableInit(&raw mut (*account).changed);
            (&raw mut (*account).state).write(AccountState::FREE);
        }
    }
}

/// Writes `count` records from `offset` on.
///
/// # Safety
/// The block at `header` has that many there, and nobody else knows of it yet.
unsafe fn fill<T: Copy>(header: *mut Header, offset: usize, count: usize, record: T) -> Places<T> {
    // SAFETY: as promised by the caller.
    unsafe {
        let first = header.cast::<u8>().add(offset).cast::<T>();
        (0..count).for_each(|index| first.add(index).write(record));
        Places { first, count }
    }
}

/// Holds a lightweight lock until dropped, also when an error unwinds through it, or when it was taken while one does.
pub struct HeldLock(*mut pg_sys::LWLock);

impl Drop for HeldLock {
    fn drop(&mut self) {
        // SAFETY: acquired by `hold` in this backend, and released by nothing else: transaction abort, which releases all
        // lightweight locks, comes after unwinding. An error has set the count of hold-offs to zero, but the lock that
        // was counted is still held: counted again, so that its release can take it away. `LWLockReleaseAll` does the same.
        unsafe {
            if pg_sys::InterruptHoldoffCount == 0 {
                pg_sys::InterruptHoldoffCount = 1;
            }
            pg_sys::LWLockRelease(self.0);
        }
    }
}

fn hold(lock: *mut pg_sys::LWLock) -> HeldLock {
    // SAFETY: a lock in shared memory, initialised by `startup`.
    unsafe { pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE) };
    HeldLock(lock)
}

/// Waits for one of our lightweight locks, and holds it until the result is dropped.
pub fn lock(which: Lock) -> HeldLock {
    // SAFETY: the tranche was requested with LOCKS locks.
    hold(unsafe { &raw mut (*pg_sys::GetNamedLWLockTranche(NAME.as_ptr()).add(which as usize)).lock })
}

/// The header, under the lock of the databases.
pub fn with_header<R>(work: impl FnOnce(&mut Header) -> R) -> R {
    let _held = lock(Lock::Databases);
    // SAFETY: set by `startup`; the lock makes this the only reference to it.
    work(unsafe { &mut *HEADER.load(Ordering::Relaxed) })
}

/// Whether a note of waiting work stands in this entry, looked at without a lock.
pub fn has_work(index: usize, oid: u32) -> bool {
    // SAFETY: where they begin never changes, and `index` is of one of them; both are plain values that others change in
    // one piece.
    unsafe {
        let entry = (*HEADER.load(Ordering::Relaxed)).databases.first.add(index);
        (&raw const (*entry).oid).read_volatile() == oid && (&raw const (*entry).has_work).read_volatile()
    }
}

/// How many of our lightweight locks this process holds.
#[cfg(feature = "session_state")]
pub fn locks_held() -> usize {
    // SAFETY: the tranche was requested with LOCKS locks; each account has an initialised one.
    unsafe {
        let tranche = pg_sys::GetNamedLWLockTranche(NAME.as_ptr());
        let named = (0..LOCKS as usize).map(|which| &raw mut (*tranche.add(which)).lock);
        let accounts = (0..account_count()).map(|index| &raw mut (*account(index)).lock);
        named.chain(accounts).filter(|&lock| pg_sys::LWLockHeldByMe(lock)).count()
    }
}

/// The directory of accounts, under its lock.
pub fn with_directory<R>(work: impl FnOnce(&mut Directory) -> R) -> R {
    let _held = lock(Lock::Directory);
    let (header, offsets, count) = (HEADER.load(Ordering::Relaxed), offsets(), account_count());
    // SAFETY: `startup` has laid these out there, as many as there are accounts; the lock makes these the only references.
    unsafe {
        let at = |offset: usize| header.cast::<u8>().add(offset);
        let uses = &mut *at(offsets.uses).cast::<Uses>();
        let result = work(&mut Directory {
            uses,
            chains: std::slice::from_raw_parts_mut(at(offsets.chains).cast(), count),
            places: std::slice::from_raw_parts_mut(at(offsets.places).cast(), count),
        });
        (*header).accounts_used.store(uses.used, Ordering::Release);
        result
    }
}

/// The accounts that have been used since the server started are those before this place.
pub fn accounts_used() -> usize {
    // SAFETY: where it stands never changes; it is read and written in one piece.
    unsafe { (*HEADER.load(Ordering::Relaxed)).accounts_used.load(Ordering::Acquire) }
}

/// What found no place since the server started; it only counts up.
pub fn without_place() -> &'static WithoutPlace {
    // SAFETY: the header is there as long as the process, and these are atomics that nothing else gives out.
    unsafe { &(*HEADER.load(Ordering::Relaxed)).without_place }
}

/// Places for accounts, as leadlex.max_workspaces had it at the start of the server.
pub fn account_count() -> usize {
    // SAFETY: set once by `initialise`, never changed.
    unsafe { (*HEADER.load(Ordering::Relaxed)).account_count }
}

fn account(index: usize) -> *mut Account {
    assert!(index < account_count());
    // SAFETY: inside the block that `main_size` measured.
    unsafe {
        HEADER.load(Ordering::Relaxed).cast::<u8>().add(offsets().accounts).cast::<Account>().add(index)
    }
}

/// One account, under its own lock.
pub fn with_account<R>(index: usize, work: impl FnOnce(&mut AccountState) -> R) -> R {
    let account = account(index);
    // SAFETY: the lock makes this the only reference to the state.
    unsafe {
        let _held = hold(&raw mut (*account).lock);
        work(&mut (*account).state)
    }
}

/// What is woken when this account changes.
pub fn account_changed(index: usize) -> *mut pg_sys::ConditionVariable {
    // SAFETY: address arithmetic inside the block.
    unsafe { &raw mut (*account(index)).changed }
}

/// The claims, under their lock.
pub fn with_claims<R>(work: impl FnOnce(*mut pg_sys::HTAB) -> R) -> R {
    let _held = lock(Lock::Claims);
    work(CLAIM_TABLE.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// pgrx has the array of locks, but no name for this one.
    #[test]
    fn the_number_of_the_lock_is_that_of_this_major() {
        let config = std::env::var_os("PG_CONFIG").unwrap_or("pg_config".into());
        let output =
            Command::new(config).arg("--includedir-server").output().expect("PG_CONFIG is a program");
        let headers = String::from_utf8(output.stdout).expect("a path");
        let names = std::fs::read_to_string(format!("{}/storage/lwlocknames.h", headers.trim()))
            .expect("the server's headers are there");
        let line = names
            .lines()
            .find(|line| line.starts_with("#define AddinShmemInitLock "))
            .expect("it has a name");
        let expected = format!("MainLWLockArray[{}]", super::ADDIN_SHMEM_INIT_LOCK);
        assert!(line.contains(&expected), "{line}");
    }
}

//! The records that stand in shared memory: accounts, databases, queues, lockouts, batches and claims. Every process maps
//! them, so they are plain data of one size. `shmem` allocates them and gives access under their locks.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize};

use pgrx::pg_sys;

use crate::pg::shared::directory::Tenant;
use leadlex_domain::rate::Meter;

/// Statements that can keep workers out of a database at once.
pub const MAX_BARS: usize = 128;
/// Batches whose progress is shown at once, in all databases together.
pub const MAX_RUNNING: usize = 128;
/// Databases and roles whose jobs can wait at once, for each of leadlex.max_databases. Of what finds no place the
/// maintenance worker tells again.
pub const QUEUES_A_DATABASE: usize = 2;

/// Which account: database, the extension's incarnation in it (oid of leadlex.workspace, so that DROP and CREATE
/// EXTENSION start anew), and the workspace or provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(C)]
pub struct AccountKey {
    pub database: u32,
    pub catalog: u32,
    pub id: [u8; 16],
}

impl AccountKey {
    /// The end of an id is random.
    pub fn hash(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.id;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
            ^ (u64::from(self.database) << 32 | u64::from(self.catalog))
    }
}

/// How far an account in shared memory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    Free,
    /// Some backend is reading it from the tables.
    Loading,
    Ready,
}

/// One workspace (or limited provider): credits in escrow, and rate use.
#[repr(C)]
pub struct Account {
    pub lock: pg_sys::LWLock,
    /// Woken when credits or leases become available, and when a load ends.
    pub changed: pg_sys::ConditionVariable,
    pub state: AccountState,
}

/// Credits and rate use of one account. Amounts are credits.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct AccountState {
    pub key: AccountKey,
    pub phase: Phase,
    /// Transactions that have credits here in flight, or load it: it must stay.
    pub pins: u32,
    /// Committed credits, those reserved included.
    pub balance: i64,
    /// Of these, reserved or spent by transactions in flight.
    pub reserved: i64,
    pub meter: Meter,
    /// A record of the meter is wanted, opening a lease of this many uses; 0 = not wanted.
    pub lease_wanted: u64,
    /// `meter.admitted()` at the last record, and the lease that it left open.
    pub recorded_admitted: u64,
    pub recorded_lease: u64,
    /// Epoch second, for eviction.
    pub last_used: i64,
    /// The balance after the last grant, limit or allotment; -1: not known.
    pub base: i64,
    /// Since then administrators were told that few credits are left, or none.
    pub told_low: bool,
    pub told_out: bool,
}

impl AccountState {
    /// A place that no account has.
    pub const FREE: AccountState = AccountState {
        key: AccountKey { database: 0, catalog: 0, id: [0; 16] },
        phase: Phase::Free,
        pins: 0,
        balance: 0,
        reserved: 0,
        meter: Meter::EMPTY,
        lease_wanted: 0,
        recorded_admitted: 0,
        recorded_lease: 0,
        last_used: 0,
        base: -1,
        told_low: false,
        told_out: false,
    };

    /// Whether less is left than so many percent of what there was to begin with.
    pub fn is_low(&self, percent: i32) -> bool {
        self.base > 0 && i128::from(self.balance) * 100 < i128::from(self.base) * i128::from(percent)
    }

    /// Whether another may have its place.
    pub fn tenant(&self) -> Tenant {
        match self.phase {
            Phase::Free => Tenant::None,
            _ if self.can_go() => Tenant::MayGo(self.last_used),
            _ => Tenant::Stays,
        }
    }

    /// Nothing would be lost with it: no credits in flight, and the tables know its rate use.
    fn can_go(&self) -> bool {
        self.phase == Phase::Ready
            && self.pins == 0
            && self.reserved == 0
            && self.recorded_admitted == self.meter.admitted()
            && self.recorded_lease == 0
    }
}

/// The worker's side of one database.
///
/// Times are epoch seconds, counts are since the server started, and `error` is text that NULs fill up.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Database {
    pub oid: u32,
    /// Somebody waits for work to be done: start a worker.
    pub wanted: bool,
    /// And that somebody is a call: it comes before what was noted earlier.
    pub urgent: bool,
    /// Work that can wait for the next round.
    pub has_work: bool,
    /// 0: none runs; -1: one has been asked for.
    pub worker_pid: i32,
    pub latch: *mut pg_sys::Latch,
    /// When the launcher may start the next one (epoch seconds): after a failure, not at once.
    pub not_before: i64,
    pub runs: u64,
    pub settled: u64,
    pub records: u64,
    pub purged: u64,
    pub receipts: u64,
    pub receipts_expired: u64,
    pub last_run: i64,
    pub last_purge: i64,
    /// Epoch second: when credits are to be allotted next.
    pub due_at: i64,
    /// When what is held for answers to come is to be looked at next; `i64::MAX`: nothing is held.
    pub holds_at: i64,
    /// How often tickets were taken away by something else than an answer, and of how many the worker has seen to what they leave.
    pub withdrawals: u64,
    pub withdrawals_seen: u64,
    /// What waits in the queue is to be looked for.
    pub sweep: bool,
    /// It was a clone at the last look: only what calls cause is written.
    pub clone: bool,
    /// Of the last round, if it failed; whether the log has it.
    pub error: [u8; 160],
    pub told: bool,
    /// When a round failed last because a table was locked (epoch seconds).
    pub locked_at: i64,
}

impl Database {
    /// A place that no database has; `sweep` and a withdrawal are noted for the one that comes.
    pub const FREE: Database = Database {
        oid: 0,
        wanted: false,
        urgent: false,
        has_work: false,
        worker_pid: 0,
        latch: std::ptr::null_mut(),
        not_before: 0,
        runs: 0,
        settled: 0,
        records: 0,
        purged: 0,
        receipts: 0,
        receipts_expired: 0,
        last_run: 0,
        last_purge: 0,
        due_at: i64::MAX,
        holds_at: i64::MAX,
        withdrawals: 1,
        withdrawals_seen: 0,
        sweep: true,
        clone: false,
        error: [0; 160],
        told: false,
        locked_at: 0,
    };

    /// Nothing would be lost with it.
    pub fn is_idle(&self) -> bool {
        self.oid == 0
            || self.worker_pid == 0 && !self.wanted && !self.has_work && self.next_look() == i64::MAX
    }

    /// Epoch second: when it needs a worker next without anybody asking for one; `i64::MAX`: never.
    pub fn next_look(&self) -> i64 {
        // Nothing of what was handed in is given up in a clone.
        if self.clone { self.due_at } else { self.due_at.min(self.holds_at) }
    }

    /// For a worker to be started.
    pub fn is_waiting(&self, now: i64) -> bool {
        self.oid != 0 && self.wanted && self.worker_pid == 0 && self.not_before <= now
    }
}

/// The jobs of one role in one database. Times are epoch microseconds.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Queue {
    /// 0: free.
    pub database: u32,
    pub role: u32,
    /// Somebody has queued something: start a worker.
    pub wanted: bool,
    /// Nothing is begun until leadlex.resume_queue().
    pub paused: bool,
    /// A worker could not connect, and the jobs do not say so yet.
    pub refused: bool,
    /// When the next attempt is due.
    pub due_at: i64,
    /// 0: none runs; -1: one has been asked for.
    pub worker_pid: i32,
    pub latch: *mut pg_sys::Latch,
    /// It waits for more to do.
    pub idle: bool,
    /// Nothing is begun, since the role's transactions are read-only by default.
    pub frozen: bool,
    /// The last worker had to be ended, as its run did not heed a cancel.
    pub overran: bool,
    /// When a worker's turn began last.
    pub turn_at: i64,
    /// When the launcher may start the next worker.
    pub not_before: i64,
    pub runs: u64,
    pub contacts: u64,
    pub last_run: i64,
    pub error: [u8; 160],
}

impl Queue {
    /// A place that no queue has.
    pub const FREE: Queue = Queue {
        database: 0,
        role: 0,
        wanted: false,
        paused: false,
        refused: false,
        due_at: i64::MAX,
        worker_pid: 0,
        latch: std::ptr::null_mut(),
        idle: false,
        frozen: false,
        overran: false,
        turn_at: 0,
        not_before: 0,
        runs: 0,
        contacts: 0,
        last_run: 0,
        error: [0; 160],
    };
}

/// No worker may be in this database while that backend's transaction lasts, and the epoch second `until` has not come.
/// `pid` 0: free.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Lockout {
    pub database: u32,
    pub pid: i32,
    pub until: i64,
}

impl Lockout {
    /// A place that no lockout has.
    pub const FREE: Lockout = Lockout { database: 0, pid: 0, until: 0 };
}

/// A batch under way. `pid` 0: none.
///
/// `total`, `done` and `failed` are contacts; `relation` 0: none.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Running {
    pub pid: i32,
    pub database: u32,
    pub workspace: [u8; 16],
    pub relation: u32,
    pub total: u64,
    pub done: u64,
    pub failed: u64,
    /// Epoch microseconds.
    pub started_at: i64,
}

impl Running {
    /// A place that no batch has.
    pub const NONE: Running = Running {
        pid: 0,
        database: 0,
        workspace: [0; 16],
        relation: 0,
        total: 0,
        done: 0,
        failed: 0,
        started_at: 0,
    };
}

/// Records of one kind in shared memory, as many as a setting says. It stands in [`Header`], and is reached with it.
#[repr(C)]
pub struct Places<T> {
    pub(super) first: *mut T,
    pub(super) count: usize,
}

impl<T> Deref for Places<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `shmem` has laid out so many there, and written each. A caller that has the header has its lock, and they are
        // reached through it alone.
        unsafe { std::slice::from_raw_parts(self.first, self.count) }
    }
}

impl<T> DerefMut for Places<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.first, self.count) }
    }
}

/// What stands at the beginning of our shared memory, under the lock of the databases.
#[repr(C)]
pub struct Header {
    pub databases: Places<Database>,
    pub queues: Places<Queue>,
    pub lockouts: [Lockout; MAX_BARS],
    pub running: [Running; MAX_RUNNING],
    pub launcher_pid: i32,
    pub launcher_latch: *mut pg_sys::Latch,
    /// Until this epoch second workers close the leases of all accounts that no transaction is using.
    pub close_until: i64,
    /// How often a worker has begun in some database: while this changes, those who wait for one come nearer.
    pub turns: u64,
    /// How often leadlex.resume_queue() was called, in whatever database.
    pub resumed: u32,
    /// Work has been noted for which there was no place: all databases are to be looked at.
    pub untold: bool,
    /// Databases are looked at one after another, which no place is noted for: workers that have nothing to do make room.
    pub sweeping: bool,
    /// default_transaction_read_only, as the server's configuration has it.
    pub read_only: bool,
    pub(super) account_count: usize,
    /// Places of accounts that have been used since the server started; the lock of the directory is for changes.
    pub(super) accounts_used: AtomicUsize,
    pub(super) without_place: WithoutPlace,
}

/// What found no place since the server started.
#[derive(Default)]
pub struct WithoutPlace {
    /// Contacts and idempotency keys, see leadlex.max_contacts_in_flight.
    pub claims: AtomicU64,
    /// Workspaces, see leadlex.max_workspaces.
    pub accounts: AtomicU64,
}

/// A claimed thing: a contact, or an idempotency key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct ClaimKey {
    pub database: u32,
    pub catalog: u32,
    pub hash: [u8; 16],
}

/// `xid` is the (sub)transaction that holds it: others wait for that to end.
#[repr(C)]
pub struct ContactClaim {
    pub key: ClaimKey,
    pub xid: u32,
}

//! What is done to the sessions of a storm, and to their server, from outside.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

use super::plan::{Fault, Side};
use super::session::Effect;
use super::{Storm, lock};
use crate::support::{Stop, eventually};

const SOON: Duration = Duration::from_secs(60);

/// So many transactions may begin between the one at which a fault is due and the fault.
const SLACK: usize = 40;

/// Opens for good when the last fault has fallen, or the thread that deals them has panicked.
struct Fence<'a>(&'a Storm);

impl Drop for Fence<'_> {
    fn drop(&mut self) {
        self.0.fence.store(usize::MAX, Ordering::SeqCst);
    }
}

impl Storm {
    /// Each fault in its turn, when so many transactions have begun.
    pub fn strike(&self, faults: &[(usize, Fault)]) {
        let _fence = Fence(self);
        for (at, fault) in faults {
            let begun = self.begun.load(Ordering::SeqCst);
            self.fence.store(begun.max(*at) + SLACK, Ordering::SeqCst);
            while self.begun.load(Ordering::SeqCst) < *at {
                if self.over.load(Ordering::SeqCst) {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
            self.strike_once(*fault);
        }
    }

    /// One more transaction; first the faults that are due must have fallen.
    pub fn begin(&self) {
        while self.begun.load(Ordering::SeqCst) >= self.fence.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn strike_once(&self, fault: Fault) {
        match fault {
            Fault::Cancel(session) => self.signal("pg_cancel_backend", session),
            Fault::Terminate(session) => self.signal("pg_terminate_backend", session),
            Fault::RaiseLimit => self.raise_limit(),
            Fault::StopWorker => self.world.run(
                "SELECT pg_terminate_backend(pid) FROM leadlex.worker_status WHERE process = 'worker' AND pid IS NOT NULL",
            ),
            Fault::LockReceipts => self.lock_receipts(),
            Fault::KillBackend(session) => self.crash(|| self.backend(session)),
            Fault::KillWorker => {
                self.bait();
                self.crash(|| self.process("worker"));
            }
            Fault::KillLauncher => self.crash(|| self.process("launcher")),
            Fault::Immediate => {
                let from = Instant::now();
                self.world.cluster.restart(Stop::Immediate);
                lock(&self.crashes).push((from, Instant::now()));
            }
        }
    }

    /// Until a worker has failed for it.
    fn lock_receipts(&self) {
        let mark = self.world.cluster.log_mark();
        let mut owner = self.world.owner();
        let mut transaction = owner.transaction().expect("the server is up");
        transaction.batch_execute("LOCK TABLE leadlex.receipt IN EXCLUSIVE MODE").expect("the owner may");
        // Sessions that wait for this fault bring no receipts, and calls without credits or over the limit neither.
        self.bait();
        self.raise_limit();
        self.fence.fetch_add(10 * SLACK, Ordering::SeqCst);
        eventually("the worker gives up", SOON, || {
            worker_met_lock(&self.world.cluster.log_since(mark)) || self.over.load(Ordering::SeqCst)
        });
    }

    fn raise_limit(&self) {
        let last = lock(&self.limits).last().expect("a first one").1;
        self.set_limit(Some(last + 80));
    }

    fn signal(&self, function: &str, session: usize) {
        let pid = self.pids[session].load(Ordering::SeqCst);
        if pid != 0 {
            // It may be gone by now; then the server says so in a WARNING.
            self.world.run(&format!("SELECT {function}({pid})"));
        }
    }

    /// A worker comes when there is a ledger to settle.
    fn bait(&self) {
        let note = format!("bait {}", lock(&self.bait).len());
        let workspace = self.workspace(Side::Short);
        self.world.run(&format!("SELECT leadlex.grant_credits('{workspace}'::uuid, 2, '{note}')"));
        lock(&self.bait).push(Effect::Grant { side: Side::Short, note, amount: 2 });
    }

    /// The session's backend; where it has none now, the next one's. Only what the server still knows: another program
    /// could have the number by now. Sessions do not leave of their own accord in a storm with crashes.
    fn backend(&self, session: usize) -> Option<i32> {
        let pids: Vec<i32> = self.pids.iter().map(|pid| pid.load(Ordering::SeqCst)).collect();
        let sql = "SELECT pid FROM pg_stat_activity WHERE usename IN ('caller', 'rival')";
        let alive: Vec<i32> = self.connect()?.query(sql, &[]).ok()?.iter().map(|row| row.get(0)).collect();
        (0..pids.len()).map(|n| pids[(session + n) % pids.len()]).find(|pid| alive.contains(pid))
    }

    fn process(&self, process: &str) -> Option<i32> {
        let mut owner = self.connect()?;
        let sql = "SELECT pid FROM leadlex.worker_status WHERE process = $1 AND pid IS NOT NULL AND database IS NOT DISTINCT FROM $2";
        let database = (process == "worker").then_some("app");
        owner.query_opt(sql, &[&process, &database]).ok()?.map(|row| row.get(0))
    }

    /// Kills a process as soon as there is one, and waits until the server has recovered from it.
    fn crash(&self, victim: impl Fn() -> Option<i32>) {
        let mut witness = self.world.owner();
        let mut from = Instant::now();
        eventually("a process is killed", SOON, || {
            from = Instant::now();
            victim().is_some_and(|pid| self.world.cluster.try_kill9(pid))
        });
        eventually("the crash reaches all sessions", SOON, || witness.simple_query("SELECT 1").is_err());
        self.world.cluster.wait_until_ready();
        lock(&self.crashes).push((from, Instant::now()));
    }

    /// As the superuser, if the server is up.
    pub fn connect(&self) -> Option<Client> {
        self.world.cluster.config("app").connect(NoTls).ok()
    }
}

/// Whether a worker says that a table is locked, in the words of whichever of its writers met that.
pub fn worker_met_lock(log: &str) -> bool {
    ["canceling statement due to lock timeout", "could not obtain lock on relation"]
        .iter()
        .any(|why| log.contains(&format!("WARNING:  leadlex_enrich worker: {why}")))
}

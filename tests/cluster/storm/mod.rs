//! Everything at once, at random: calls, rollbacks, savepoints, exception blocks, keys, cancels, terminations, grants,
//! misbehaving providers, limits; and the same again with crashes. Whatever happened, the ledger adds up at every instant
//! and at the end, to exactly what the server acknowledged.
//!
//! The seed decides what every session does in which order, what is done to the sessions and when (counted in
//! transactions begun), and what the providers answer. How the sessions' threads interleave stays the machine's.
//! To run one again: LEADLEX_STORM_SEED=n cargo test --features … --test cluster -- storm

mod checks;
mod faults;
mod paid;
mod plan;
mod session;
mod vendor;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use uuid::Uuid;

use crate::world::{Beginning, World, number};
use plan::{CONTACTS, Fault, Side};
use session::{Effect, Record, Session};
use vendor::{SECOND, Vendor};

const SESSIONS: usize = 24;
/// Credits that the workspaces begin with.
const CREDITS: [i64; 2] = [15, 1_500];

pub struct Storm {
    world: World,
    vendor: Arc<Vendor>,
    metered: Uuid,
    crashing: bool,
    /// Transactions begun.
    begun: AtomicUsize,
    /// Of each session's backend, 0 between two.
    pids: Vec<AtomicI32>,
    /// No transaction begins after so many until the next fault has fallen.
    fence: AtomicUsize,
    /// Grants that were made so that there is work for the worker.
    bait: Mutex<Vec<Effect>>,
    over: AtomicBool,
    problems: Mutex<Vec<String>>,
    /// The metered workspace's limit per minute: until when it was this, and what.
    limits: Mutex<Vec<(Instant, i64)>>,
    /// Looks at the receipts, from when to when, that found none waiting.
    settled: Mutex<Vec<(Instant, Instant)>>,
    /// From when to when the server was down.
    crashes: Mutex<Vec<(Instant, Instant)>>,
}

/// Says how to run it again, if the test fails in whatever way.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the storm that failed can be repeated with LEADLEX_STORM_SEED={}", self.0);
        }
    }
}

impl Seed {
    fn choose() -> Seed {
        let given = std::env::var("LEADLEX_STORM_SEED").ok();
        let seed = given.map_or_else(
            || u64::from(Uuid::new_v4().as_fields().0),
            |text| text.parse().expect("LEADLEX_STORM_SEED is a number"),
        );
        println!("LEADLEX_STORM_SEED={seed}");
        Seed(seed)
    }
}

#[test]
fn the_ledger_adds_up_whatever_happens() {
    let seed = Seed::choose();
    let each = 90;
    let faults = plan::faults(
        seed.0,
        SESSIONS * each,
        &[
            (110, Fault::Cancel),
            (40, Fault::Terminate),
            (8, |_| Fault::RaiseLimit),
            (3, |_| Fault::StopWorker),
            // One in the last transactions may meet no worker.
            (4, |_| Fault::LockReceipts),
        ],
    );
    let storm = Storm::new(seed.0, false);
    let record = storm.run(&seed, each, &faults);
    assert!(record.transactions >= 2_000, "{} transactions", record.transactions);
    for needed in [
        "commit",
        "rollback",
        "enriched",
        "unchanged",
        "replayed",
        "undone",
        "LX402",
        "LX409",
        "LX422",
        "LX429",
    ]
    .into_iter()
    .chain(["LX503", "57014", "57P01", "40001"])
    {
        assert!(record.outcomes.contains_key(needed), "{needed} did not happen: {:?}", record.outcomes);
    }
    let log = storm.world.cluster.log();
    assert!(faults::worker_met_lock(&log), "the worker never failed (seed {})", seed.0);
    for bad in ["terminated by signal", "PANIC", "panicked", "TRAP"] {
        assert!(!log.contains(bad), "{bad} in the log (seed {})", seed.0);
    }
}

#[test]
fn the_ledger_adds_up_whatever_crashes() {
    let seed = Seed::choose();
    let each = 45;
    let kinds: [plan::Kind; 5] = [
        (6, Fault::KillBackend),
        (1, |_| Fault::KillWorker),
        (1, |_| Fault::KillLauncher),
        (2, |_| Fault::Immediate),
        (30, Fault::Cancel),
    ];
    let faults = plan::faults(seed.0, SESSIONS * each, &kinds);
    let storm = Storm::new(seed.0, true);
    let record = storm.run(&seed, each, &faults);
    assert_eq!(storm.crashes().len(), 10);
    assert!(record.outcomes.contains_key("enriched"), "{:?}", record.outcomes);
    let log = storm.world.cluster.log();
    for bad in ["PANIC", "panicked", "TRAP"] {
        assert!(!log.contains(bad), "{bad} in the log (seed {})", seed.0);
    }
    for line in log.lines().filter(|line| line.contains("terminated by signal")) {
        assert!(line.contains("terminated by signal 9"), "{line} (seed {})", seed.0);
    }
}

impl Storm {
    fn new(seed: u64, crashing: bool) -> Storm {
        let world = World::with(&Beginning {
            credits: Some(CREDITS[0]),
            contacts: CONTACTS as i32,
            conf: &[
                "leadlex.credit_wait = '20ms'",
                "deadlock_timeout = '50ms'",
                // A request that is never answered takes so long; one that is answered late on a busy machine must not.
                "leadlex.provider_timeout = '4s'",
            ],
            ..Beginning::default()
        });
        let vendor = Vendor::start(seed, &world.provider);
        let metered = set_up(&world);
        let storm = Storm {
            world,
            vendor,
            metered,
            crashing,
            begun: AtomicUsize::new(0),
            pids: (0..SESSIONS).map(|_| AtomicI32::new(0)).collect(),
            fence: AtomicUsize::new(0),
            bait: Mutex::default(),
            over: AtomicBool::new(false),
            problems: Mutex::default(),
            limits: Mutex::default(),
            settled: Mutex::default(),
            crashes: Mutex::default(),
        };
        // A crash uses up a tenth of the limit.
        storm.set_limit(Some(if crashing { 250 } else { 100 }));
        storm
    }

    /// Lets it rage, and looks at what it left.
    fn run(&self, seed: &Seed, each: usize, faults: &[(usize, Fault)]) -> Record {
        let started = Instant::now();
        let mut all = Record::default();
        thread::scope(|scope| {
            let sessions: Vec<_> = (0..SESSIONS)
                .map(|index| {
                    let plan = plan::of_session(seed.0, index, each);
                    scope.spawn(move || Session::run(self, index, &plan))
                })
                .collect();
            let others = [scope.spawn(|| self.strike(faults)), scope.spawn(|| self.watch())];
            for session in sessions {
                match session.join() {
                    Ok(record) => all.absorb(record),
                    Err(_) => self.problem("a session panicked".to_owned()),
                }
            }
            self.over.store(true, Ordering::SeqCst);
            for other in others {
                if other.join().is_err() {
                    self.problem("a helper of the storm panicked".to_owned());
                }
            }
            // Not before: the last fault can come when all sessions are done.
            all.committed.append(&mut lock(&self.bait));
        });
        println!("{} transactions in {:?}: {:?}", all.transactions, started.elapsed(), all.outcomes);
        println!("{} requests, {} times settled", self.vendor.record().len(), lock(&self.settled).len());
        if self.problems().is_empty() {
            checks::check(self, &all);
        }
        let problems = self.problems();
        assert!(
            problems.is_empty(),
            "LEADLEX_STORM_SEED={}: {} problems:\n{}",
            seed.0,
            problems.len(),
            problems.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
        );
        all
    }

    fn workspace(&self, side: Side) -> Uuid {
        [self.world.workspace, self.metered][side as usize]
    }

    /// From now on, per minute.
    fn set_limit(&self, limit: Option<i64>) {
        let mut owner = self.world.owner();
        let literal = limit.map_or("NULL".to_owned(), |limit| limit.to_string());
        let sql = format!("SELECT leadlex.set_rate_limit('{}', {literal}, NULL)", self.metered);
        let mut limits = lock(&self.limits);
        let now = Instant::now();
        if let Some(last) = limits.last_mut() {
            last.0 = now;
        }
        owner.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        limits.extend(limit.map(|limit| (now, limit)));
    }

    fn problem(&self, problem: String) {
        lock(&self.problems).push(problem);
    }

    fn problems(&self) -> Vec<String> {
        lock(&self.problems).clone()
    }

    /// More of the same would tell nothing.
    fn given_up(&self) -> bool {
        lock(&self.problems).len() > 20
    }

    fn crashes(&self) -> Vec<(Instant, Instant)> {
        lock(&self.crashes).clone()
    }
}

impl Record {
    fn absorb(&mut self, other: Record) {
        self.committed.extend(other.committed);
        self.unknown.extend(other.unknown);
        self.calls.extend(other.calls);
        self.interrupted.extend(other.interrupted);
        self.lost.extend(other.lost);
        self.replayed.extend(other.replayed);
        self.transactions += other.transactions;
        self.clients.extend(other.clients);
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The second provider, the second workspace, and what the sessions need; the second workspace's id.
fn set_up(world: &World) -> Uuid {
    let mut owner = world.owner();
    owner
        .execute(
            "SELECT leadlex.add_provider('second', config => $1, secret => 'x', priority => 200)",
            &[&world.provider.config(SECOND)],
        )
        .unwrap();
    let metered: Uuid = owner
        .query_one("SELECT leadlex.create_workspace('metered', $1, 'unmetered')", &[&CREDITS[1]])
        .unwrap()
        .get(0);
    owner
        .batch_execute(&format!(
            "CREATE ROLE rival LOGIN;
             CREATE TABLE theirs (LIKE crm INCLUDING ALL);
             INSERT INTO theirs SELECT * FROM crm;
             UPDATE theirs SET email = replace(email, 'acme', 'rival');
             CREATE TABLE edit (tag text PRIMARY KEY, relation text, contact_id text, at timestamptz, written jsonb);
             GRANT SELECT, UPDATE ON theirs TO rival;
             GRANT INSERT ON edit TO caller, rival;
             SELECT leadlex.grant_access('rival', '{metered}');
             SELECT leadlex.bind_contacts('theirs', workspace_id => '{metered}');
             GRANT EXECUTE ON FUNCTION leadlex.grant_credits(uuid, bigint, text) TO caller, rival;
             CREATE FUNCTION attempt(call text, fail boolean) RETURNS jsonb LANGUAGE plpgsql AS $$
             DECLARE
                 result jsonb;
             BEGIN
                 EXECUTE call INTO result;
                 IF fail THEN
                     RAISE SQLSTATE 'ZZ001';
                 END IF;
                 RETURN result;
             EXCEPTION
                 WHEN SQLSTATE 'ZZ001' THEN
                     RETURN jsonb_build_object('undone', result);
                 WHEN SQLSTATE 'LX402' OR SQLSTATE 'LX409' OR SQLSTATE 'LX422' OR SQLSTATE 'LX429' OR SQLSTATE 'LX503' THEN
                     RETURN jsonb_build_object('error', jsonb_build_object('code', SQLSTATE));
             END $$;"
        ))
        .unwrap();
    assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.binding"), 2);
    metered
}

/// As the history has it.
fn contact_id(n: i32) -> String {
    crate::world::contact(n).to_string()
}

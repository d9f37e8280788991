//! make bench: calls per second of `enrich_contact` beside a hand-written function that takes the same steps, and beside the
//! limits of this machine. Durable commits (fsync, synchronous_commit) everywhere.

mod bounds;
mod calls;
mod compare;
mod load;
mod many;
mod neighbours;
mod nginx;
mod paused;
mod report;
mod results;
mod session;
mod size;

use std::fs;
use std::path::PathBuf;

use crate::error::{Context, Result};
use crate::extension;
use crate::postgres::Cluster;
use crate::project::Project;
use crate::terminal::say;

use results::Results;
use session::Session;

/// For the clusters of all measurements.
const SETTINGS: [&str; 3] = ["shared_buffers = 512MB", "max_wal_size = 8GB", "checkpoint_timeout = 30min"];

/// Clients, and milliseconds of provider latency.
type Cell = (u32, u32);
const CELLS: [Cell; 4] = [(1, 0), (32, 0), (1, 50), (32, 50)];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Amounts {
    /// Of each measurement.
    seconds: u32,
    /// What sessions of Python need to start when there are many.
    warm_up_seconds: u32,
    contacts: u32,
    /// Of the hand-written function.
    rivals_contacts: u32,
    memory_calls: u64,
    many_contacts: u32,
    many_rounds: u32,
    loop_contacts: u32,
    large_contacts: u32,
    large_ledger: u32,
    compare: compare::Amounts,
}

const WHOLE: Amounts = Amounts {
    seconds: 8,
    warm_up_seconds: 20,
    contacts: 400_000,
    rivals_contacts: 120_000,
    memory_calls: 100_000,
    many_contacts: 100_000,
    many_rounds: 3,
    loop_contacts: 1_000,
    large_contacts: 2_000_000,
    large_ledger: 1_000_000,
    compare: compare::Amounts { rounds: 5, calls: 5_000, set: 10_000, sessions: 11 },
};

const QUICK: Amounts = Amounts {
    seconds: 4,
    warm_up_seconds: 20,
    contacts: 120_000,
    rivals_contacts: 120_000,
    memory_calls: 10_000,
    many_contacts: 20_000,
    many_rounds: 2,
    loop_contacts: 100,
    large_contacts: 200_000,
    large_ledger: 100_000,
    compare: compare::Amounts { rounds: 3, calls: 1_000, set: 2_000, sessions: 5 },
};

/// A variable of the environment; `None` also where it is empty.
fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the scripts stand.
fn folder(project: &Project) -> PathBuf {
    project.root.join("tests/bench")
}

/// `QUICK=1`: shorter, less exact. `ONLY=many`: sets and the queue alone. `BASE=<commit>`: that commit beside this tree, alone.
///
/// # Errors
/// Where something does not start, or did other work than is counted.
pub fn bench(project: &Project) -> Result<()> {
    let amounts = if given("QUICK").is_some() { QUICK } else { WHOLE };
    let _lock = project.only_one("bench")?;
    project.end_leftovers();
    extension::build(project, true)?;
    if let Some(base) = given("BASE") {
        return compare::compare(project, &base, amounts.compare);
    }
    warn_when_busy();
    say("starting a private cluster and nginx as the provider");
    let running = Cluster::create(&project.server(true)?, "bench", &SETTINGS)?.run()?;
    let session = Session::start(project, running, amounts)?;
    let mut results = Results::default();
    session.run("postgres", &["CREATE ROLE bench LOGIN"])?;
    say("many contacts at once");
    many::measure(&session, &mut results)?;
    if given("ONLY").as_deref() == Some("many") {
        report::report_many(&amounts, &results);
        return Ok(());
    }
    let rivals = prepare(project, &session)?;
    measure_cells(&session, &rivals, &mut results)?;
    say("a provider in front that is down, its circuit breaker open");
    paused::measure(&session, &mut results)?;
    say(&format!("memory of one backend over {} calls", amounts.memory_calls));
    bounds::measure_memory(&session, &mut results)?;
    say("a workspace beside others that are refused");
    neighbours::measure(&session, &mut results)?;
    say("a call in a large database beside a small one");
    size::measure(&session, &mut results)?;
    report::report(project.major, &amounts, &rivals, &results);
    Ok(())
}

/// The names of the hand-written functions' schemas.
fn prepare(project: &Project, session: &Session) -> Result<Vec<&'static str>> {
    session.run("postgres", &["CREATE DATABASE bench OWNER bench"])?;
    let contacts = session.amounts.contacts.to_string();
    session.script("bench", "setup.sql", &[("contacts", &contacts), ("url", &session.nginx.url(0))])?;
    let mut rivals = vec!["urllib3"];
    let extensions = PathBuf::from(project.pg_config("--sharedir")?).join("extension");
    if extensions.join("http.control").exists() {
        rivals.push("pgsql_http");
    }
    let contacts = session.amounts.rivals_contacts.to_string();
    for rival in &rivals {
        for script in [&format!("{rival}.sql"), "handwritten.sql"] {
            session.script("bench", script, &[("rival", rival), ("contacts", &contacts)])?;
        }
    }
    Ok(rivals)
}

fn measure_cells(session: &Session, rivals: &[&str], results: &mut Results) -> Result<()> {
    for cell @ (clients, latency) in CELLS {
        let plural = if clients == 1 { "" } else { "s" };
        say(&format!("{clients} client{plural}, provider answers after {latency} ms"));
        session.set_provider("bench", latency)?;
        calls::measure_ours(session, cell, results)?;
        for rival in rivals {
            for function in ["enrich_lock_first", "enrich_lock_last"] {
                calls::measure_rival(session, rival, function, cell, results)?;
            }
        }
        if latency == 0 {
            bounds::measure_commit(session, clients, results)?;
        }
        bounds::measure_round_trip(session, cell, results)?;
    }
    Ok(())
}

fn warn_when_busy() {
    let load = fs::read_to_string("/proc/loadavg").context("the load").unwrap_or_default();
    let load = load.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    if load > 1.0 {
        say(&format!("this machine is busy (load {load}): the figures will be too low"));
    }
}

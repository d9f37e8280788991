//! make bench: calls per second of `enrich_contact` beside a hand-written function that takes the same steps, beside the
//! limits of this machine and beside another commit. Durable commits (fsync, synchronous_commit) everywhere.

mod base;
mod calls;
mod compare;
mod load;
mod machine;
mod many;
mod memory;
mod neighbours;
mod nginx;
mod parts;
mod paused;
mod plot;
mod report;
mod results;
mod scale;
mod session;
mod size;
mod table;
mod targets;
mod tls;
mod together;

use std::path::PathBuf;

use crate::error::Result;
use crate::extension;
use crate::project::Project;
use crate::terminal::say;

use base::Base;
use calls::Sides;
use machine::Machine;
use parts::{Part, Parts};
use report::{Files, Report};
use results::Results;
use session::Session;

/// For the clusters of all measurements.
const SETTINGS: [&str; 3] = ["shared_buffers = 512MB", "max_wal_size = 8GB", "checkpoint_timeout = 30min"];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Amounts {
    /// Of each measurement.
    seconds: u32,
    /// Single calls are measured in turn so often.
    rounds: u32,
    /// What sessions of Python need to start when there are many.
    warm_up_seconds: u32,
    contacts: u32,
    /// Of the commit to compare with.
    base_contacts: u32,
    /// Of the hand-written function.
    rivals_contacts: u32,
    memory_calls: u64,
    many_contacts: u32,
    many_rounds: u32,
    loop_contacts: u32,
    large_contacts: u32,
    large_ledger: u32,
    compare: compare::Amounts,
    scale: scale::Sizes,
}

const WHOLE: Amounts = Amounts {
    seconds: 8,
    rounds: 3,
    warm_up_seconds: 20,
    contacts: 1_000_000,
    base_contacts: 600_000,
    rivals_contacts: 600_000,
    memory_calls: 100_000,
    many_contacts: 100_000,
    many_rounds: 3,
    loop_contacts: 1_000,
    large_contacts: 2_000_000,
    large_ledger: 1_000_000,
    compare: compare::Amounts { rounds: 5, calls: 5_000, set: 10_000, sessions: 11 },
    scale: scale::Sizes {
        history: 5_000_000,
        roles: 2_000,
        jobs: 500_000,
        contacts: 500_000,
        databases: 150,
        workspaces: 20_000,
    },
};

const QUICK: Amounts = Amounts {
    seconds: 4,
    rounds: 1,
    warm_up_seconds: 20,
    contacts: 200_000,
    base_contacts: 120_000,
    rivals_contacts: 200_000,
    memory_calls: 10_000,
    many_contacts: 20_000,
    many_rounds: 2,
    loop_contacts: 100,
    large_contacts: 200_000,
    large_ledger: 100_000,
    compare: compare::Amounts { rounds: 3, calls: 1_000, set: 2_000, sessions: 5 },
    scale: scale::Sizes {
        history: 200_000,
        roles: 500,
        jobs: 50_000,
        contacts: 20_000,
        databases: 12,
        workspaces: 2_000,
    },
};

/// A variable of the environment; `None` also where it is empty.
fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the scripts stand.
fn folder(project: &Project) -> PathBuf {
    project.root.join("tests/bench")
}

/// `QUICK=1`: shorter, less exact. `ONLY="calls memory"`: some parts alone, see [`Part`]. `BASE=<commit>`: beside that commit.
/// `SCALE=1`: in place of all that, small beside a hundred times as much, see [`scale`].
/// The tables go to the terminal and to target/bench.
///
/// # Errors
/// Where something does not start, or did other work than is counted.
pub fn bench(project: &Project) -> Result<()> {
    let amounts = if given("QUICK").is_some() { QUICK } else { WHOLE };
    if given("SCALE").is_some() {
        return scale::scale(project, amounts);
    }
    let (commit, load) = (given("BASE"), machine::load());
    let parts = Parts::parse(&given("ONLY").unwrap_or_default(), commit.is_some())?;
    let _lock = project.only_one("bench")?;
    project.end_leftovers();
    // First, as a commit that is not there is known at once.
    let base = commit.map(|commit| Base::build(project, &commit)).transpose()?;
    extension::build(project, true)?;
    if load > 1.0 {
        say(&format!("this machine was busy (load {load}): the figures will be too low"));
    }
    let files = Files::begin(project)?;
    if parts.needs_cluster() {
        measure(project, amounts, &parts, base.as_ref(), load, &files)?;
    }
    if let Some(base) = base.as_ref().filter(|_| parts.has(Part::Compare)) {
        files.add(&[compare::compare(project, base, amounts.compare)?])?;
    }
    Ok(())
}

/// All parts but the comparison of processor time, and the report.
fn measure(
    project: &Project,
    amounts: Amounts,
    parts: &Parts,
    base: Option<&Base>,
    load: f64,
    files: &Files,
) -> Result<()> {
    say("starting a private cluster and nginx as the provider");
    let session = Session::start(project, &project.server(true)?, amounts)?;
    let machine = Machine::look(project, &session, base, load)?;
    let (mut results, mut rivals, mut peers) = (Results::default(), vec![], String::new());
    if parts.needs_contacts() {
        session.prepare(amounts.contacts)?;
    }
    if parts.has(Part::Calls) {
        rivals = calls::prepare_rivals(project, &session)?;
        peers = machine::peers(&session, &rivals)?;
    }
    measure_beside_base(&session, &rivals, parts, base, &mut results)?;
    if parts.has(Part::Memory) {
        memory::measure_growth(&session, &mut results)?;
    }
    if parts.has(Part::Paused) {
        say("a provider in front that is down, its circuit breaker open");
        paused::measure(&session, &mut results)?;
    }
    if parts.has(Part::Neighbours) {
        say("a workspace beside others that are refused");
        neighbours::measure(&session, &mut results)?;
    }
    if parts.has(Part::Size) {
        say("a call in a large database beside a small one");
        size::measure(&session, &mut results)?;
    }
    if parts.has(Part::Many) {
        say("many contacts at once");
        many::measure(&session, &mut results)?;
    }
    session.remove()?;
    let base = base.map(|base| base.commit.as_str());
    let (machine, amounts, rivals, results) = (&machine, &amounts, &rivals, &results);
    let report = Report { machine, amounts, parts, rivals, peers, base, results };
    files.add(&report.tables())?;
    report.notes();
    report.plot().map_or(Ok(()), |svg| files.draw(&svg))
}

/// What is measured of the base, too, whose server ends before anything else is measured.
fn measure_beside_base(
    session: &Session,
    rivals: &[&'static str],
    parts: &Parts,
    base: Option<&Base>,
    results: &mut Results,
) -> Result<()> {
    let (calls, memory, many) = (parts.has(Part::Calls), parts.has(Part::Memory), parts.has(Part::Many));
    let base = base.filter(|_| calls || memory || many);
    let base = base.map(|base| session.beside(&base.server, "bench-base")).transpose()?;
    if let Some(base) = base.as_ref().filter(|_| calls || memory) {
        base.prepare(session.amounts.base_contacts)?;
    }
    if calls {
        calls::measure(&Sides { here: session, base: base.as_ref(), rivals }, results)?;
    }
    if memory {
        say("a backend that has called and waits, beside one that has not");
        memory::measure_waiting(session, "ours", results)?;
        if let Some(base) = &base {
            memory::measure_waiting(base, "base", results)?;
        }
    }
    if let Some(base) = base.as_ref().filter(|_| many) {
        say("many contacts at once, by the commit to compare with");
        many::measure_base(base, results)?;
    }
    base.map_or(Ok(()), Session::remove)
}

//! What a call costs in a large database beside a small one.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::error::{Context, Result};
use crate::terminal::note;

use super::load::{Load, Span};
use super::results::Results;
use super::session::{OF_TURN, Session, psql};

const SMALL_CONTACTS: u32 = 1_000;
const ROUNDS: u32 = 9;
const CALLS: u64 = 900;

/// As `size:large` and `size:large-snapshot`, milliseconds a call, and `size:small:…` measured beside each.
pub fn measure(session: &Session, results: &mut Results) -> Result<()> {
    prepare(session, "small", SMALL_CONTACTS, 0)?;
    prepare(session, "large", session.amounts.large_contacts, session.amounts.large_ledger)?;
    session.run("postgres", &["CHECKPOINT"])?;
    rounds(session, "large", results)?;
    let mut holder = hold_snapshot(session)?;
    let measured = beside_snapshot(session, results);
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'old snapshot'";
    session.run("postgres", &[end])?;
    let _ = holder.wait();
    measured
}

fn prepare(session: &Session, database: &str, contacts: u32, ledger_rows: u32) -> Result<()> {
    session.run("postgres", &[&format!("CREATE DATABASE {database} OWNER bench")])?;
    let (contacts, ledger_rows) = (contacts.to_string(), ledger_rows.to_string());
    let variables =
        [("contacts", contacts.as_str()), ("ledger_rows", &ledger_rows), ("url", &session.nginx.url(0))];
    session.script(database, "size.sql", &variables)
}

fn beside_snapshot(session: &Session, results: &mut Results) -> Result<()> {
    // What the worker settles from here on stays behind as dead rows.
    let script = session.pgbench_script("large", OF_TURN)?;
    Load { database: "large", ..Load::of(&script, 8, Span::Calls(1_500)) }.run(session)?;
    rounds(session, "large-snapshot", results)
}

/// In turn, so that what else runs on the machine meets both; the least of each, as it only ever adds.
fn rounds(session: &Session, name: &str, results: &mut Results) -> Result<()> {
    for _ in 0..ROUNDS {
        results.least(format!("size:small:{name}"), pass(session, "small")?);
        results.least(format!("size:{name}"), pass(session, "large")?);
    }
    let [large, small] = [format!("size:{name}"), format!("size:small:{name}")].map(|name| results.get(name));
    note(&format!("{name:<34} {large:8.3} ms a call, small {small:.3} ms"));
    Ok(())
}

/// Milliseconds a call, of one client. The small table's contacts are emptied between the passes, and given other addresses:
/// else receipts would answer, and no provider be asked.
fn pass(session: &Session, database: &str) -> Result<f64> {
    if database == "small" {
        let empty = "UPDATE contact SET job_title = NULL, company_name = NULL, linkedin_url = NULL, phone = NULL, location = NULL,
                     seniority = NULL, email = gen_random_uuid() || '@acme.example'";
        session.run("small", &[empty, "ALTER SEQUENCE turn RESTART", "VACUUM contact"])?;
    }
    let script = session.pgbench_script(database, OF_TURN)?;
    let count = "SELECT count(*) FROM leadlex.enrichment";
    let before = session.number(database, count)?;
    let (done, rate) = Load { database, ..Load::of(&script, 1, Span::Calls(CALLS)) }.measure(session)?;
    if session.number(database, count)? - before != done || rate == 0.0 {
        return Err(format!("{database}: a call did not enrich"));
    }
    Ok(1_000.0 / rate)
}

/// A session that reads under one snapshot for the rest of the measurement.
fn hold_snapshot(session: &Session) -> Result<Child> {
    let mut psql = psql(session.cluster(), "large");
    psql.env("PGAPPNAME", "old snapshot").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    psql.args([
        "-c",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "-c",
        "SELECT count(*) FROM leadlex.credit_pending",
    ]);
    let child = psql.args(["-c", "SELECT pg_sleep(3600)"]).spawn().context("psql")?;
    let held = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'old snapshot' AND query LIKE '%pg_sleep%'
                        AND backend_xmin IS NOT NULL)";
    session.until("postgres", held, Duration::from_millis(100))?;
    Ok(child)
}

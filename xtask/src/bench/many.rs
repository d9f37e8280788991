//! Many contacts at once, and the queue.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Context, Result};
use crate::process::text_of;
use crate::terminal::note;

use super::memory::private_memory_kb;
use super::results::{Results, per};
use super::session::{Session, psql};
use super::together;

const INSERT_ROUNDS: u32 = 9;
/// Contacts that are asked about in parallel, each taking 50 ms, 64 at once.
const PARALLEL: u32 = 1_000;
pub const DB: &str = "many";

/// Enriches the first so many contacts, and says how many.
pub fn of_contact(count: u32) -> String {
    format!(
        "SELECT count(*) FILTER (WHERE status = 'enriched')
         FROM enrich_contacts(ARRAY(SELECT id FROM contact WHERE n <= {count} ORDER BY n))"
    )
}

/// The same of the table with bigint keys and row-level security.
fn of_lead(count: u32) -> String {
    format!(
        "SELECT count(*) FILTER (WHERE status = 'enriched')
         FROM enrich_rows('lead', ARRAY(SELECT id::text FROM lead WHERE n <= {count} ORDER BY n))"
    )
}

fn prepare(session: &Session) -> Result<()> {
    session.run("postgres", &["CREATE DATABASE many"])?;
    let contacts = session.amounts.many_contacts.to_string();
    session.script(DB, "many.sql", &[("contacts", &contacts), ("url", &session.nginx.url(0))])?;
    session.run(DB, &["ALTER SYSTEM SET leadlex.max_parallel_requests = 64", "SELECT pg_reload_conf()"])
}

/// What ours is compared with: `many:base` in seconds, `many:base:memory` in MB.
pub fn measure_base(base: &Session, results: &mut Results) -> Result<()> {
    prepare(base)?;
    measure_set(base, "many:base", results)
}

/// Figures `many:…`: seconds unless [`report`](super::report) says otherwise.
pub fn measure(session: &Session, results: &mut Results) -> Result<()> {
    prepare(session)?;
    measure_queue(session, results)?;
    measure_parallel(session, results)?;
    measure_bulk(session, results)?;
    together::measure(session, results)
}

pub fn as_bench(session: &Session) -> Command {
    let mut psql = psql(session.cluster(), DB);
    psql.env("PGUSER", "bench");
    psql
}

/// New contacts: empty again, with addresses that no receipt knows.
pub fn renew(session: &Session, table: &str) -> Result<()> {
    let empty = format!(
        "UPDATE {table} SET job_title = NULL, company_name = NULL, linkedin_url = NULL, phone = NULL, location = NULL, seniority = NULL,
                email = gen_random_uuid() || '@acme.example'"
    );
    session.run(DB, &[&empty, &format!("VACUUM (FREEZE, ANALYZE) {table}"), "CHECKPOINT"])
}

/// What psql answers to a statement of the role bench in a session of its own, and the seconds that it took by psql's clock.
fn timed(session: &Session, sql: &str) -> Result<(String, f64)> {
    let text = text_of(as_bench(session).args(["-c", r"\timing on", "-c", sql]), "psql")?;
    let (answer, time) = text.rsplit_once("Time: ").unwrap_or(("", &text));
    let time = time.split(' ').next().unwrap_or_default();
    Ok((answer.trim().to_owned(), time.parse::<f64>().context(&text)? / 1_000.0))
}

/// Seconds that a statement takes that must enrich so many.
pub fn enriching(session: &Session, count: u32, sql: &str) -> Result<f64> {
    let (answer, seconds) = timed(session, sql)?;
    if answer == count.to_string() {
        Ok(seconds)
    } else {
        Err(format!("{sql}: {answer} enriched, not {count}"))
    }
}

fn best_of_rounds(
    session: &Session,
    name: &str,
    table: &str,
    count: u32,
    sql: &str,
    results: &mut Results,
) -> Result<()> {
    for _ in 0..session.amounts.many_rounds {
        renew(session, table)?;
        results.least(name, enriching(session, count, sql)?);
    }
    Ok(())
}

pub fn show(what: &str, text: &str) {
    note(&format!("{what:<50} {text}"));
}

fn measure_parallel(session: &Session, results: &mut Results) -> Result<()> {
    session.set_provider(DB, 50)?;
    best_of_rounds(session, "many:parallel", "contact", PARALLEL, &of_contact(PARALLEL), results)?;
    show("1,000 contacts, 50 ms, 64 in parallel", &format!("{:8.2} s", results.get("many:parallel")));
    renew(session, "contact")?;
    let count = session.amounts.loop_contacts;
    let one_by_one = format!("SELECT count(enrich_contact(id)) FROM contact WHERE n <= {count}");
    let seconds = enriching(session, count, &one_by_one)? * f64::from(PARALLEL) / f64::from(count);
    results.set("many:loop", seconds);
    show("  the same, one call after another", &format!("{seconds:8.2} s"));
    renew(session, "contact")?;
    let started = Instant::now();
    net_style(session)?;
    results.set("many:net", started.elapsed().as_secs_f64());
    show("  the same, by hand, queued as pg_net does", &format!("{:8.2} s", results.get("many:net")));
    Ok(())
}

/// Rows are queued and committed, a worker takes 200 at a time, asks 64 at once and writes the answers; SQL fills them in.
fn net_style(session: &Session) -> Result<()> {
    let queue = format!(
        "INSERT INTO net_queue (contact, email) SELECT id, email FROM contact WHERE n <= {PARALLEL} ORDER BY n"
    );
    session.run(DB, &[&queue])?;
    while session.number(DB, "SELECT count(*) FROM net_queue")? > 0 {
        net_batch(session)?;
    }
    session.run(
        DB,
        &[
            "UPDATE contact SET job_title = coalesce(nullif(job_title, ''), body #>> '{data,job_title}'),
                company_name = coalesce(nullif(company_name, ''), body #>> '{data,job_company_name}'),
                linkedin_url = coalesce(nullif(linkedin_url, ''), body #>> '{data,linkedin_url}'),
                phone = coalesce(nullif(phone, ''), body #>> '{data,mobile_phone}'),
                location = coalesce(nullif(location, ''), body #>> '{data,location_name}'),
                seniority = coalesce(nullif(seniority, ''), body #>> '{data,job_title_levels,0}')
             FROM net_response WHERE contact = id",
            "TRUNCATE net_response",
        ],
    )?;
    match session.number(DB, "SELECT count(phone) FROM contact")? {
        count if count == u64::from(PARALLEL) => Ok(()),
        _ => Err("the hand-made queue filled in something else".to_owned()),
    }
}

fn net_batch(session: &Session) -> Result<()> {
    let mut taking = psql(session.cluster(), DB);
    taking.args(["-c", "COPY (SELECT contact, email FROM net_queue ORDER BY id LIMIT 200) TO STDOUT"]);
    let mut taking = taking.stdout(Stdio::piped()).spawn().context("psql")?;
    let mut python = Command::new("/usr/bin/python3");
    python.arg(session.folder.join("net_style.py")).arg(session.nginx.url(50)).arg("64");
    python.stdin(taking.stdout.take().ok_or("psql has no output")?);
    let mut asking = python.stdout(Stdio::piped()).spawn().context("python3")?;
    let mut writing = psql(session.cluster(), DB);
    writing.args(["-c", "COPY net_response FROM STDIN"]);
    writing
        .args(["-c", "DELETE FROM net_queue WHERE id IN (SELECT id FROM net_queue ORDER BY id LIMIT 200)"]);
    writing.stdin(asking.stdout.take().ok_or("python3 has no output")?);
    let written = writing.status().context("psql")?.success();
    let taken = taking.wait().context("psql")?.success();
    let asked = asking.wait().context("python3")?.success();
    if written && taken && asked { Ok(()) } else { Err("the hand-made queue failed".to_owned()) }
}

/// A set of all contacts, each asked about in a request of its own: `NAME` in seconds, `NAME:memory` in MB.
fn measure_set(session: &Session, name: &str, results: &mut Results) -> Result<()> {
    let count = session.amounts.many_contacts;
    session.set_provider(DB, 0)?;
    best_of_rounds(session, name, "contact", count, &of_contact(count), results)?;
    let memory = format!("{name}:memory");
    results.set(&memory, peak(session, count)?);
    let (rate, memory) = (per(f64::from(count), results.get(name)), results.get(&memory));
    show(&format!("{count} contacts, 0 ms"), &format!("{rate:8.0} rows/s, peak {memory:.0} MB"));
    Ok(())
}

fn measure_bulk(session: &Session, results: &mut Results) -> Result<()> {
    measure_set(session, "many:bulk", results)?;
    let count = session.amounts.many_contacts;
    best_of_rounds(session, "many:rls", "lead", count, &of_lead(count), results)?;
    let rate = per(f64::from(count), results.get("many:rls"));
    show("  bigint key and row-level security", &format!("{rate:8.0} rows/s"));
    Ok(())
}

/// Peak private memory of a backend that enriches so many new contacts, in MB: read again and again while it works.
pub fn peak(session: &Session, count: u32) -> Result<f64> {
    renew(session, "contact")?;
    let mut set = as_bench(session);
    set.env("PGAPPNAME", "set").args(["-c", &of_contact(count)]).stdout(Stdio::null());
    let mut set = set.spawn().context("psql")?;
    let mut peak: f64 = 0.0;
    let status = loop {
        if let Some(status) = set.try_wait().context("psql")? {
            break status;
        }
        let pid = session.ask(DB, "SELECT pid FROM pg_stat_activity WHERE application_name = 'set'")?;
        peak = peak.max(private_memory_kb(&pid).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(100));
    };
    if status.success() { Ok(peak / 1024.0) } else { Err("the set failed".to_owned()) }
}

/// The same INSERT without the trigger and with it, in turn: many times, being short. And how fast the queue drains, the
/// provider answering at once: `many:drain`, rows per second.
fn measure_queue(session: &Session, results: &mut Results) -> Result<()> {
    let count = session.amounts.many_contacts;
    session.set_provider(DB, 0)?;
    for round in 0..INSERT_ROUNDS {
        for with_trigger in [false, true] {
            arrive(session, with_trigger, &round.to_string(), results)?;
        }
    }
    if session.number(DB, "SELECT count(*) FROM leadlex.job")? != u64::from(count) {
        return Err("the trigger queued something else".to_owned());
    }
    let [without, with] = ["many:insert:without", "many:insert:with"].map(|name| results.get(name));
    show(&format!("INSERT of {count} rows"), &format!("{without:8.2} s, with the trigger {with:.2} s"));
    // As often as the set that it is compared with.
    for round in 0..session.amounts.many_rounds {
        if round > 0 {
            arrive(session, true, &format!("again-{round}"), results)?;
        }
        results.least("many:drain:seconds", drained(session)?);
    }
    let rate = per(f64::from(count), results.get("many:drain:seconds"));
    results.set("many:drain", rate);
    show("  and the queue drains", &format!("{rate:8.0} rows/s"));
    Ok(())
}

/// `mark`: part of the addresses.
fn arrive(session: &Session, with_trigger: bool, mark: &str, results: &mut Results) -> Result<()> {
    let prepare = [
        "SELECT leadlex.pause_queue()",
        "DELETE FROM leadlex.job_set",
        "DROP TRIGGER IF EXISTS enrich ON arriving",
        "TRUNCATE arriving",
        "VACUUM (ANALYZE) leadlex.job_set",
        "CHECKPOINT",
    ];
    session.run(DB, &prepare)?;
    if with_trigger {
        let trigger = "CREATE TRIGGER enrich AFTER INSERT ON arriving REFERENCING NEW TABLE AS new_rows
                       FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enqueue_on_insert()";
        session.run(DB, &[trigger])?;
    }
    let count = session.amounts.many_contacts;
    let insert = format!(
        "INSERT INTO arriving (id, n, full_name, email)
         SELECT g, g, 'P ' || g, 'q' || g || '-{mark}@acme.example' FROM generate_series(1, {count}) AS g"
    );
    let (_, seconds) = timed(session, &insert)?;
    results.least(format!("many:insert:{}", if with_trigger { "with" } else { "without" }), seconds);
    Ok(())
}

/// Seconds until all that is queued is done.
fn drained(session: &Session) -> Result<f64> {
    session.run(DB, &["SELECT leadlex.resume_queue()"])?;
    let started = Instant::now();
    let done = "NOT EXISTS (SELECT FROM leadlex.job_set WHERE state <> 'done')";
    session.until(DB, done, Duration::from_millis(200))?;
    let seconds = started.elapsed().as_secs_f64();
    match session.number(DB, "SELECT count(phone) FROM arriving")? {
        count if count == u64::from(session.amounts.many_contacts) => Ok(seconds),
        count => Err(format!("the queue left contacts out: {count} are filled in")),
    }
}

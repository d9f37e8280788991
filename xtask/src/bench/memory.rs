//! The private memory of backends, and their threads.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Context, Result};
use crate::process::kill_tree;
use crate::terminal::{note, say};

use super::load::{Load, Span};
use super::results::{Results, median};
use super::session::{OF_TURN, Session, psql};

/// The same statement without the call.
const NO_CALL: &str = "SELECT id FROM turns WHERE n = (SELECT nextval($$turn$$))";
/// What each session runs before it waits.
const STATEMENTS: u32 = 20;
/// Sessions of each kind.
const SESSIONS: u32 = 5;
/// How long a session has waited when it is looked at.
const WAITING: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// A number of /proc/PID/status, such as of `Threads:`. `None`: there is no such process.
fn status(pid: &str, field: &str) -> Option<f64> {
    number_of(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, field)
}

fn number_of(text: &str, field: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Private memory of a process in kB, without the shared buffers that it has touched.
/// `None`: there is no such process.
pub fn private_memory_kb(pid: &str) -> Option<f64> {
    status(pid, "RssAnon:")
}

/// A backend that has called and waits, against one that has run the same statement without a call, for each scheme of the
/// provider's URL. As `waiting:WHO:SCHEME:memory` in MB and `waiting:WHO:SCHEME:threads`, the difference of medians, and as
/// `waiting:WHO:SCHEME:called` and `…:not` the MB of each.
pub fn measure_waiting(session: &Session, who: &str, results: &mut Results) -> Result<()> {
    for (scheme, url) in [("http", session.nginx.url(0)), ("https", session.nginx.secure_url())] {
        session.set_url("bench", &url)?;
        let (mut memory, mut threads) = ([vec![], vec![]], [vec![], vec![]]);
        for _ in 0..SESSIONS {
            for (kind, sql) in [NO_CALL, OF_TURN].into_iter().enumerate() {
                let (kb, number) = waiting(session, sql)?;
                memory[kind].push(kb / 1024.0);
                threads[kind].push(number);
            }
        }
        let [not, called] = memory.map(|samples| median(&samples));
        let [few, many] = threads.map(|samples| median(&samples));
        results.set(format!("waiting:{who}:{scheme}:not"), not);
        results.set(format!("waiting:{who}:{scheme}:called"), called);
        results.set(format!("waiting:{who}:{scheme}:memory"), called - not);
        results.set(format!("waiting:{who}:{scheme}:threads"), many - few);
        let threads = many - few;
        note(&format!("{who}, {scheme}: {called:.2} MB, without a call {not:.2} MB; {threads} more threads"));
    }
    session.set_provider("bench", 0)
}

/// kB of private memory, and the number of threads, of a backend that has run this statement some times and waits.
fn waiting(session: &Session, sql: &str) -> Result<(f64, f64)> {
    let records = "SELECT count(*) FROM leadlex.enrichment";
    let before = session.number("bench", records)?;
    let mut psql = psql(session.cluster(), "bench");
    psql.env("PGUSER", "bench").env("PGAPPNAME", "works").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = psql.spawn().context("psql")?;
    let seen = look_at(session, &mut child, sql);
    drop(child.stdin.take());
    if seen.is_err() {
        kill_tree(&mut child);
    }
    let ended = child.wait().context("psql")?.success();
    let seen = seen?;
    let called = session.number("bench", records)? - before;
    let wanted = if sql == OF_TURN { u64::from(STATEMENTS) } else { 0 };
    if ended && called == wanted { Ok(seen) } else { Err(format!("{called} of {wanted} calls enriched")) }
}

fn look_at(session: &Session, child: &mut Child, sql: &str) -> Result<(f64, f64)> {
    let script = format!("{sql};\n").repeat(STATEMENTS as usize) + "SET application_name = 'waits';\n";
    let input = child.stdin.as_mut().ok_or("psql reads nothing")?;
    input.write_all(script.as_bytes()).context("psql")?;
    let waits = "SELECT pid FROM pg_stat_activity WHERE application_name = 'waits' AND state = 'idle'";
    let until = Instant::now() + PATIENCE;
    let pid = loop {
        let pid = session.ask("bench", waits)?;
        if !pid.is_empty() {
            break pid;
        }
        if child.try_wait().context("psql")?.is_some() || Instant::now() > until {
            return Err(format!("a session does not come to its end: {sql}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    std::thread::sleep(WAITING);
    let seen = private_memory_kb(&pid).zip(status(&pid, "Threads:"));
    seen.ok_or_else(|| format!("the status of process {pid} could not be read"))
}

/// Private memory of the backend, from the 2,000th call to the last, in MB: `memory` is the growth, `memory_total` the end.
pub fn measure_growth(session: &Session, results: &mut Results) -> Result<()> {
    say(&format!("memory of one backend over {} calls", session.amounts.memory_calls));
    session.set_provider("bench", 0)?;
    let script = session.pgbench_script("ours", OF_TURN)?;
    let start = session.number("bench", "SELECT last_value FROM turn")?;
    let load = Load::of(&script, 1, Span::Calls(session.amounts.memory_calls));
    let mut pgbench = load.command(session);
    let mut child =
        pgbench.arg("bench").stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("pgbench")?;
    let sql = format!(
        "SELECT last_value - {start}, (SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench' ORDER BY backend_start DESC LIMIT 1) FROM turn"
    );
    let (mut first, mut last) = (None, None);
    let status = loop {
        if let Some(status) = child.try_wait().context("pgbench")? {
            break status;
        }
        let answer = session.ask("bench", &sql)?;
        let (calls, pid) = answer.split_once('|').unwrap_or((&answer, ""));
        if calls.parse().is_ok_and(|calls: u64| calls >= 2_000)
            && let Some(now) = private_memory_kb(pid)
        {
            first = first.or(Some(now));
            last = Some(now);
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    let (Some(first), Some(last), true) = (first, last, status.success()) else {
        return Err("the backend's memory could not be read".to_owned());
    };
    results.set("memory", (last - first) / 1024.0);
    results.set("memory_total", last / 1024.0);
    note(&format!("{:.1} MB, grown by {:.2} MB", last / 1024.0, (last - first) / 1024.0));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_process() {
        let text = "Name:\tpostgres\nRssAnon:\t    1536 kB\nThreads:\t2\n";
        assert_eq!(
            ["RssAnon:", "Threads:", "VmSwap:"].map(|field| number_of(text, field)),
            [Some(1536.0), Some(2.0), None]
        );
        let own = std::process::id().to_string();
        assert!(private_memory_kb(&own).is_some_and(|kb| kb > 0.0));
        assert_eq!((status(&own, "Nothing:"), status("", "Threads:")), (None, None));
    }
}

//! The limits of the machine, and the memory of a backend.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::{Context, Result};
use crate::process::text_of;
use crate::terminal::note;

use super::Cell;
use super::load::{Load, Span};
use super::results::Results;
use super::session::{OF_TURN, Session};

/// The least that a call can cost in the database: one row, durably committed. As `commit:CLIENTS:0` and `…:50`.
pub fn measure_commit(session: &Session, clients: u32, results: &mut Results) -> Result<()> {
    let script = session.pgbench_script("commit", "INSERT INTO bare VALUES (1)")?;
    let span = Span::Seconds(session.amounts.seconds / 2);
    let (_, rate) = Load::of(&script, clients, span).measure(session)?;
    results.set(format!("commit:{clients}:0"), rate);
    results.set(format!("commit:{clients}:50"), rate);
    note(&format!("{:<34} {rate:8.0} /s", "bare commit"));
    Ok(())
}

/// And the least on the wire: a request and its answer on connections that stay open. As `trip:CLIENTS:LATENCY`.
pub fn measure_round_trip(session: &Session, (clients, latency): Cell, results: &mut Results) -> Result<()> {
    let mut python = Command::new("/usr/bin/python3");
    python.arg(session.folder.join("round_trip.py")).arg(session.nginx.url(latency));
    python.arg(clients.to_string()).arg((session.amounts.seconds / 2).to_string());
    let rate: f64 = text_of(&mut python, "round_trip.py")?.parse().context("round_trip.py")?;
    results.set(format!("trip:{clients}:{latency}"), rate);
    note(&format!("{:<34} {rate:8.0} /s", "bare keep-alive round trip"));
    Ok(())
}

/// Private memory of a process in kB, without the shared buffers that it has touched.
/// `None`: there is no such process.
pub fn private_memory_kb(pid: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Private memory of the backend, from the 2,000th call to the last, in MB: `memory` is the growth, `memory_total` the end.
pub fn measure_memory(session: &Session, results: &mut Results) -> Result<()> {
    session.set_provider("bench", 0)?;
    let script = session.pgbench_script("ours", OF_TURN)?;
    let start = session.number("bench", "SELECT last_value FROM turn")?;
    let load = Load::of(&script, 1, Span::Calls(session.amounts.memory_calls));
    let mut pgbench = load.command(session);
    let mut child =
        pgbench.arg("bench").stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("pgbench")?;
    let sql = format!(
        "SELECT last_value - {start}, (SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench') FROM turn"
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
    Ok(())
}

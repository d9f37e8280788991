//! pgbench.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::{Context, Result};
use crate::postgres::template::{entries, file_name};
use crate::process::check;

use super::session::Session;

/// How long pgbench runs.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    Seconds(u32),
    /// Of each client.
    Calls(u64),
}

/// A script that so many clients run again and again.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    pub script: &'a Path,
    /// Sessions that run the script at the same time.
    pub clients: u32,
    pub span: Span,
    pub role: &'a str,
    pub database: &'a str,
    pub search_path: Option<&'a str>,
}

impl<'a> Load<'a> {
    /// By the role bench in the database bench.
    pub fn of(script: &'a Path, clients: u32, span: Span) -> Load<'a> {
        Load { script, clients, span, role: "bench", database: "bench", search_path: None }
    }

    /// pgbench with all options but the database, which comes last.
    pub fn command(&self, session: &Session) -> Command {
        let mut pgbench = session.cluster().client("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-c", &self.clients.to_string()]);
        pgbench.args(["-j", if self.clients < 2 { "1" } else { "2" }]);
        match self.span {
            Span::Seconds(seconds) => pgbench.args(["-T", &seconds.to_string()]),
            Span::Calls(calls) => pgbench.args(["-t", &calls.to_string()]),
        };
        pgbench.arg("-f").arg(self.script).env("PGUSER", self.role);
        if let Some(path) = self.search_path {
            pgbench.env("PGOPTIONS", format!("-c search_path={path}"));
        }
        pgbench
    }

    /// Runs it, whatever comes of it.
    pub fn run(&self, session: &Session) -> Result<()> {
        check(self.command(session).arg(self.database), "pgbench").map(drop)
    }

    /// Runs it, and returns the number of transactions and how many there were in a second.
    pub fn measure(&self, session: &Session) -> Result<(u64, f64)> {
        let prefix = format!("pgbench-log-{}", self.role);
        let logs = || -> Result<Vec<_>> {
            let all = entries(&session.cluster().dir)?;
            Ok(all.into_iter().filter(|path| file_name(path).starts_with(&format!("{prefix}."))).collect())
        };
        for log in logs()? {
            fs::remove_file(&log).context(log.display())?;
        }
        let mut pgbench = self.command(session);
        let mut option = std::ffi::OsString::from("--log-prefix=");
        option.push(session.cluster().dir.join(&prefix));
        check(pgbench.arg("-l").arg(option).arg(self.database), "pgbench")?;
        let mut text = String::new();
        for log in logs()? {
            text.push_str(&fs::read_to_string(&log).context(log.display())?);
        }
        rate(&text, self.clients).context("the log of pgbench")
    }
}

/// The number of transactions in pgbench's log, and how many there were in a second. The clock starts when every client has
/// finished its first one: what a new session has to load (a Python interpreter takes a second) is nobody's throughput.
fn rate(log: &str, clients: u32) -> Result<(u64, f64)> {
    let mut first = HashMap::new();
    let mut times = Vec::new();
    for line in log.lines() {
        // Client, transaction, duration, script, epoch seconds, microseconds.
        let fields: Vec<&str> = line.split(' ').collect();
        let [client, _, _, _, seconds, microseconds, ..] = fields.as_slice() else {
            return Err(format!("not understood: {line}"));
        };
        let time: f64 =
            seconds.parse::<f64>().context(line)? + microseconds.parse::<f64>().context(line)? / 1e6;
        let of_client = first.entry(client.to_string()).or_insert(time);
        *of_client = of_client.min(time);
        times.push(time);
    }
    let start = first.values().copied().fold(0.0, f64::max);
    let end = times.iter().copied().fold(0.0, f64::max);
    let counted = times.iter().filter(|time| **time > start).count();
    let warm = first.len() == clients as usize && end > start;
    let rate = if warm { counted as f64 / (end - start) } else { 0.0 };
    Ok((times.len() as u64, rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_starts_when_all_clients_are_warm() {
        let log = "0 1 5 0 100 0\n0 2 5 0 101 0\n1 1 5 0 101 500000\n0 3 5 0 102 0\n1 2 5 0 102 500000\n0 4 5 0 103 500000\n";
        assert_eq!(rate(log, 2).unwrap(), (6, 1.5));
        assert_eq!(rate(log, 3).unwrap(), (6, 0.0));
        assert!(rate("pgbench: error", 1).is_err());
    }
}

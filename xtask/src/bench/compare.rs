//! BASE=<commit> beside this tree, in turn, in one run: processor time of a call and of a contact in a set, time and memory
//! of a session's first call.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use crate::error::{Context, Result};
use crate::postgres::{Cluster, Running, Server};
use crate::process::text_of;
use crate::project::Project;
use crate::terminal::say;

use super::base::Base;
use super::nginx::Nginx;
use super::results::{median, per};
use super::session::{CERTIFICATES, OF_TURN, psql, run};
use super::table::Table;
use super::tls::Certificates;
use super::{SETTINGS, folder};

/// How much is measured on each side. The results are medians over the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Amounts {
    /// The two sides are measured in turn so often.
    pub rounds: usize,
    /// Single calls in each round.
    pub calls: usize,
    /// Contacts of a set.
    pub set: usize,
    /// Sessions in each round, for the time and memory of a session's first call.
    pub sessions: usize,
}

/// Ticks of 10 ms that the session's process has used, of all its threads: fields 14 and 15 of its stat, whose second field may
/// have blanks. An expression of SQL.
const TICKS: &str = "(SELECT f[12]::int + f[13]::int
    FROM (SELECT string_to_array(regexp_replace(pg_read_file('/proc/self/stat'), '^.*[)] ', ''), ' ')) AS s (f))";

/// One of the two that are compared.
struct Side {
    name: &'static str,
    running: Running,
    samples: BTreeMap<&'static str, Vec<f64>>,
}

/// Measures that commit and this tree in turn. An error where a server does not start.
pub fn compare(project: &Project, base: &Base, amounts: Amounts) -> Result<Table> {
    say(&format!("processor time of {} and of this tree", base.commit));
    let start = |name: &'static str, server: &Server| -> Result<Side> {
        let running = Cluster::create(server, &format!("compare-{name}"), &SETTINGS)?.run()?;
        Ok(Side { name, running, samples: BTreeMap::new() })
    };
    let mut sides = [start("base", &base.server)?, start("here", &project.server(true)?)?];
    let cluster = &sides[0].running.cluster;
    let certificates = Certificates::make(cluster, &folder(project).join(CERTIFICATES))?;
    let nginx = Nginx::start(project, cluster, &certificates)?;
    for side in &sides {
        side.prepare(project, &nginx.url(0), amounts)?;
    }
    for round in 1..=amounts.rounds {
        say(&format!("round {round} of {}", amounts.rounds));
        for side in &mut sides {
            side.measure(amounts)?;
            // The worker's part is not measured, and must not disturb the other side.
            std::thread::sleep(Duration::from_secs(3));
        }
    }
    let table = table(&base.commit, amounts, |what| [0, 1].map(|side: usize| sides[side].median(what)));
    drop(nginx);
    for side in sides {
        side.running.remove()?;
    }
    Ok(table)
}

impl Side {
    fn prepare(&self, project: &Project, url: &str, amounts: Amounts) -> Result<()> {
        let cluster = &self.running.cluster;
        let role = [
            "CREATE ROLE bench LOGIN",
            "GRANT pg_read_server_files TO bench",
            "CREATE DATABASE bench OWNER bench",
        ];
        run(cluster, "postgres", &role)?;
        let contacts = amounts.rounds * (amounts.calls + amounts.set + amounts.sessions + 2);
        let mut setup = psql(cluster, "bench");
        setup.arg("-v").arg(format!("contacts={contacts}")).arg("-v").arg(format!("url={url}"));
        text_of(setup.arg("-f").arg(folder(project).join("setup.sql")), "setup.sql")?;
        run(cluster, "bench", &["CHECKPOINT", "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO bench"])
    }

    /// Figures that a script of the role bench writes, in a session of its own.
    fn figures(&self, what: &str, script: &str) -> Result<Vec<f64>> {
        let mut psql = psql(&self.running.cluster, "bench");
        psql.env("PGUSER", "bench").args(["-F", " "]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = psql.spawn().context("psql")?;
        child.stdin.take().ok_or("psql reads nothing")?.write_all(script.as_bytes()).context("psql")?;
        let output = child.wait_with_output().context("psql")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let figures: std::result::Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
        match figures {
            Ok(figures) if output.status.success() && !figures.is_empty() => Ok(figures),
            _ => Err(format!("{what} of {}: no figure: {text}", self.name)),
        }
    }

    fn measure(&mut self, amounts: Amounts) -> Result<()> {
        let call = self.figures("a call", &calls_script(amounts.calls))?;
        let set = self.figures("a set", &set_script(amounts.set))?;
        self.keep("call", call[0]);
        self.keep("set", set[0]);
        for _ in 0..amounts.sessions {
            let first = self.figures("a first call", &first_script())?;
            let [time, memory] = first.as_slice() else {
                return Err("a first call has two figures".to_owned());
            };
            self.keep("first", *time);
            self.keep("memory", *memory);
        }
        Ok(())
    }

    fn keep(&mut self, what: &'static str, figure: f64) {
        self.samples.entry(what).or_default().push(figure);
    }

    fn median(&self, what: &str) -> f64 {
        median(self.samples.get(what).map_or(&[], Vec::as_slice))
    }
}

/// Microseconds of processor time of the session for each call, in a transaction of its own.
fn calls_script(calls: usize) -> String {
    format!(
        r"PREPARE call AS {OF_TURN};
\o /dev/null
EXECUTE call;
SELECT {TICKS} AS before \gset
SELECT 'EXECUTE call' FROM generate_series(1, {calls}) \gexec
\o
SELECT ({TICKS} - :before) * 10000.0 / {calls};
"
    )
}

/// Microseconds of the session for each contact of a set.
fn set_script(set: usize) -> String {
    format!(
        r"SELECT {TICKS} AS before, nextval('turn') AS first \gset
SELECT setval('turn', :first + {set}) \g /dev/null
SELECT count(*) FILTER (WHERE status = 'enriched') = {set} AS whole
    FROM enrich_contacts(ARRAY(SELECT id FROM turns WHERE n > :first AND n <= :first + {set})) \gset
\if :whole
SELECT ({TICKS} - :before) * 10000.0 / {set};
\endif
"
    )
}

/// Milliseconds of a session's first call, and the kB of private memory that it then has.
fn first_script() -> String {
    format!(
        r"SELECT clock_timestamp() AS before \gset
{OF_TURN} \g /dev/null
SELECT extract(epoch FROM clock_timestamp() - :'before') * 1000, substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s+(\d+)');
"
    )
}

/// Medians of both sides, and whether this tree's are near enough to the base's.
fn table(commit: &str, amounts: Amounts, medians: impl Fn(&str) -> [f64; 2]) -> Table {
    let title = format!("Processor time and memory of a session, medians of {} rounds", amounts.rounds);
    let mut table = Table::new(&title, &["", commit, "this tree", "difference", "must", "ratio", "verdict"]);
    for (title, what, unit, most) in [
        ("a call, processor time".to_owned(), "call", "µs", 10.0),
        (format!("a contact of a set of {}, processor time", amounts.set), "set", "µs", 10.0),
        ("a session's first call, time".to_owned(), "first", "ms", 1.0),
        ("private memory after it".to_owned(), "memory", "kB", 512.0),
    ] {
        let [base, here] = medians(what);
        let verdict = if here - base <= most { "ok" } else { "MISS" };
        table.rows.push(vec![
            title,
            format!("{base:.2} {unit}"),
            format!("{here:.2} {unit}"),
            format!("{:+.2} {unit}", here - base),
            format!("≤ {most:+} {unit}"),
            format!("{:.2}×", per(here, base)),
            verdict.to_owned(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_a_verdict() {
        let amounts = Amounts { rounds: 3, calls: 1, set: 2, sessions: 1 };
        let medians = |what: &str| match what {
            "call" => [400.0, 410.0],
            "set" => [100.0, 110.5],
            "first" => [9.0, 3.0],
            _ => [4_000.0, 4_513.0],
        };
        let table = table("4fc6c40", amounts, medians);
        let verdicts: Vec<_> = table.rows.iter().map(|row| row[6].as_str()).collect();
        assert_eq!(verdicts, ["ok", "MISS", "ok", "MISS"]);
        assert_eq!(table.rows[0][1..6].join("|"), "400.00 µs|410.00 µs|+10.00 µs|≤ +10 µs|1.02×");
    }
}

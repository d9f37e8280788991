//! Single calls in turn: ours, those of the commit to compare with, those of a function written by hand; and the least that
//! the machine needs for one, a commit and a round trip.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::error::{Context, Result};
use crate::process::text_of;
use crate::project::Project;
use crate::terminal::{note, say};

use super::load::{Load, Span};
use super::results::{Results, median};
use super::session::{OF_TURN, OF_TURN_WITH_KEY, Session};

/// Clients, and milliseconds of provider latency.
pub type Cell = (u32, u32);
/// All that are measured.
pub const CELLS: [Cell; 4] = [(1, 0), (32, 0), (1, 50), (32, 50)];
/// The one in which calls with an idempotency key are measured, too.
pub const WITH_KEY: Cell = (1, 0);
/// The functions of handwritten.sql: when they lock the balance, and their names.
pub const FUNCTIONS: [(&str, &str); 2] =
    [("lock first", "enrich_lock_first"), ("lock last", "enrich_lock_last")];
/// What the background worker does after our calls must not disturb what is measured next.
const SETTLING: Duration = Duration::from_secs(2);

/// What is measured in turn.
pub struct Sides<'a> {
    pub here: &'a Session,
    /// The commit to compare with.
    pub base: Option<&'a Session>,
    /// Schemas of functions written by hand, in the cluster of `here`. Each is the name of an HTTP client.
    pub rivals: &'a [&'static str],
}

/// A figure's name: `WHO:CLIENTS:LATENCY`. Who that is: `ours`, `base` or `SCHEMA.FUNCTION`, with `+key` at its end where each
/// call has an idempotency key; `commit` or `trip`.
pub fn figure(who: &str, (clients, latency): Cell) -> String {
    format!("{who}:{clients}:{latency}")
}

/// Its name where each call has an idempotency key.
pub fn keyed(who: &str) -> String {
    format!("{who}+key")
}

/// The fastest function written by hand, and its calls a second. `None`: none was measured.
pub fn best_by_hand(rivals: &[&str], results: &Results, cell: Cell, with_key: bool) -> Option<(String, f64)> {
    let all = rivals.iter().flat_map(|rival| FUNCTIONS.map(|(words, function)| (rival, words, function)));
    let measured = all.filter_map(|(rival, words, function)| {
        let who = format!("{rival}.{function}");
        let who = if with_key { keyed(&who) } else { who };
        Some((format!("{rival}, {words}"), results.find(figure(&who, cell))?))
    });
    measured.max_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// Makes the tables and functions written by hand, for each HTTP client that is installed. Returns the names of their schemas.
pub fn prepare_rivals(project: &Project, session: &Session) -> Result<Vec<&'static str>> {
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

/// One of those that are measured in turn.
struct Contestant<'a> {
    who: String,
    work: Work<'a>,
}

enum Work<'a> {
    Calls(Calls<'a>),
    /// One row, durably committed.
    Commit,
    /// A request and its answer, on connections that stay open.
    RoundTrip,
}

/// What is called, and where.
struct Calls<'a> {
    session: &'a Session,
    sql: String,
    search_path: Option<String>,
    /// The table in which every call that enriched a contact leaves a row.
    records: String,
    /// Seconds that sessions need to start.
    patience: u32,
    settling: Duration,
}

/// Measures each side in each cell, some in several rounds, whose medians are kept as [`figure`] names them.
pub fn measure(sides: &Sides, results: &mut Results) -> Result<()> {
    for cell in CELLS {
        measure_cell(sides, cell, results)?;
    }
    Ok(())
}

fn measure_cell(sides: &Sides, cell @ (clients, latency): Cell, results: &mut Results) -> Result<()> {
    let plural = if clients == 1 { "" } else { "s" };
    say(&format!("{clients} client{plural}, provider answers after {latency} ms"));
    for side in [Some(sides.here), sides.base].into_iter().flatten() {
        side.set_provider("bench", latency)?;
    }
    // Nothing is asked of one client whose provider takes 50 ms.
    let rounds = if cell == (1, 50) { 1 } else { sides.here.amounts.rounds };
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 0..rounds {
        let mut contestants = sides.contestants(cell, round == 0);
        // There and back: what changes on the machine as time goes by meets all alike.
        if round % 2 == 1 {
            contestants.reverse();
        }
        for Contestant { who, work } in contestants {
            let rate = match &work {
                Work::Calls(calls) => calls.measure(&who, clients)?,
                Work::Commit => commits(sides.here, clients)?,
                Work::RoundTrip => round_trips(sides.here, cell)?,
            };
            note(&format!("{who:<34} {rate:8.0} /s"));
            samples.entry(who).or_default().push(rate);
        }
    }
    for (who, rates) in samples {
        results.set(figure(&who, cell), median(&rates));
    }
    Ok(())
}

impl<'a> Sides<'a> {
    /// Those that are measured in this cell. At 50 ms, those written by hand once: no target is about them.
    fn contestants(&self, cell: Cell, first_round: bool) -> Vec<Contestant<'a>> {
        let keys: &[bool] = if cell == WITH_KEY { &[false, true] } else { &[false] };
        let mut all = Vec::new();
        let mut add = |who: &str, with_key: bool, calls: Calls<'a>| {
            let who = if with_key { keyed(who) } else { who.to_owned() };
            all.push(Contestant { who, work: Work::Calls(calls) });
        };
        for with_key in keys {
            add("ours", *with_key, Calls::of_extension(self.here, *with_key));
            if let Some(base) = self.base {
                add("base", *with_key, Calls::of_extension(base, *with_key));
            }
        }
        let by_hand = if cell.1 == 0 || first_round { self.rivals } else { &[] };
        for rival in by_hand {
            for (_, function) in FUNCTIONS {
                for with_key in keys {
                    let calls = Calls::by_hand(self.here, rival, function, cell, *with_key);
                    add(&format!("{rival}.{function}"), *with_key, calls);
                }
            }
        }
        if cell.1 == 0 {
            all.push(Contestant { who: "commit".to_owned(), work: Work::Commit });
        }
        all.push(Contestant { who: "trip".to_owned(), work: Work::RoundTrip });
        all
    }
}

impl<'a> Calls<'a> {
    fn of_extension(session: &'a Session, with_key: bool) -> Calls<'a> {
        Calls {
            session,
            sql: (if with_key { OF_TURN_WITH_KEY } else { OF_TURN }).to_owned(),
            search_path: None,
            records: "leadlex.enrichment".to_owned(),
            patience: 1,
            settling: SETTLING,
        }
    }

    fn by_hand(session: &'a Session, schema: &str, function: &str, cell: Cell, with_key: bool) -> Calls<'a> {
        let url = session.nginx.url(cell.1);
        let key = if with_key { ", gen_random_uuid()" } else { "" };
        Calls {
            session,
            sql: format!("SELECT {function}(id, '{url}'{key}) FROM turns WHERE n = (SELECT nextval('turn'))"),
            search_path: Some(format!("{schema},public")),
            records: format!("{schema}.ledger"),
            // Sessions of Python take about a second of processor time each to start.
            patience: if schema == "urllib3" && cell.0 > 1 { session.amounts.warm_up_seconds } else { 1 },
            settling: Duration::ZERO,
        }
    }

    /// Calls a second. Every call must have enriched a contact that was empty before: the records that each leaves are counted.
    fn measure(&self, who: &str, clients: u32) -> Result<f64> {
        let session = self.session;
        let script = session.pgbench_script(who, &self.sql)?;
        session.run("bench", &["CHECKPOINT"])?;
        let count = format!("SELECT count(*) FROM {}", self.records);
        let before = session.number("bench", &count)?;
        let span = Span::Seconds(session.amounts.seconds + self.patience);
        let load = Load { search_path: self.search_path.as_deref(), ..Load::of(&script, clients, span) };
        let (done, rate) = load.measure(session)?;
        let left = session.number("bench", &count)? - before;
        if left != done {
            return Err(format!("{who}: {done} calls left {left} records: were the contacts used up?"));
        }
        std::thread::sleep(self.settling);
        Ok(rate)
    }
}

/// The least that a call can cost in the database.
fn commits(session: &Session, clients: u32) -> Result<f64> {
    let script = session.pgbench_script("commit", "INSERT INTO bare VALUES (1)")?;
    let span = Span::Seconds(session.amounts.seconds / 2);
    Ok(Load::of(&script, clients, span).measure(session)?.1)
}

/// And the least on the wire.
fn round_trips(session: &Session, (clients, latency): Cell) -> Result<f64> {
    let mut python = Command::new("/usr/bin/python3");
    python.arg(session.folder.join("round_trip.py")).arg(session.nginx.url(latency));
    python.arg(clients.to_string()).arg((session.amounts.seconds / 2).to_string());
    text_of(&mut python, "round_trip.py")?.parse().context("round_trip.py")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_by_hand_is_of_the_same_cell_and_kind() {
        let mut results = Results::default();
        for (who, rate) in [
            ("urllib3.enrich_lock_first", 5.0),
            ("urllib3.enrich_lock_last", 7.0),
            ("pgsql_http.enrich_lock_first", 6.0),
            ("pgsql_http.enrich_lock_first+key", 3.0),
            ("absent.enrich_lock_first", 9.0),
            ("ours", 10.0),
        ] {
            results.set(figure(who, (1, 0)), rate);
        }
        let best = |cell, with_key| best_by_hand(&["urllib3", "pgsql_http"], &results, cell, with_key);
        assert_eq!(best((1, 0), false), Some(("urllib3, lock last".to_owned(), 7.0)));
        assert_eq!(best((1, 0), true), Some(("pgsql_http, lock first".to_owned(), 3.0)));
        assert_eq!(best((32, 0), false), None);
    }
}

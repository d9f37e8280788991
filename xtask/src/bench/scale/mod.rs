//! `SCALE=1`: what must not cost more as a customer grows. Each operation is measured small and at a hundred times as much, in
//! one run, as a ratio.
//!
//! To add a row: write a function `fn(&Session) -> Result<Pair>` in a file of this folder, and name it in [`ROWS`] with the
//! operation and its [`Limit`]. The function makes what it needs in databases of its own (`Session::run`, or a script of
//! tests/bench by `Session::script`), checks that the work was done, measures small and large in turn (see [`least_ms`]), and
//! removes its databases. `session.amounts.scale` says how much is large.

mod changes;
mod forget;
mod grants;
mod queue;
mod sets;
mod views;

use std::time::Instant;

use crate::error::Result;
use crate::project::Project;
use crate::terminal::{note, say};

use super::report::Files;
use super::session::Session;
use super::table::Table;
use super::{Amounts, given};

/// How much is large. Small is a hundredth.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Rows of history, each with its row in the ledger.
    pub history: u32,
    /// Roles with access.
    pub roles: u32,
    /// Jobs that wait.
    pub jobs: u32,
    /// Contacts of a set.
    pub contacts: u32,
    pub databases: u32,
    pub workspaces: u32,
}

/// Small and large of one operation, in the unit of the row.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub small: f64,
    pub large: f64,
}

/// What is good enough.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// Large is at most so many times small.
    Times(f64),
    /// Large is at most so much, whatever small is.
    Most(f64),
}

impl Limit {
    fn is_met(self, pair: Pair) -> bool {
        match self {
            Limit::Times(times) => pair.large <= times * pair.small,
            Limit::Most(most) => pair.large <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Limit::Times(times) => format!("≤ {times}×"),
            Limit::Most(most) => format!("≤ {most}"),
        }
    }
}

/// An operation that is measured.
struct Row {
    /// With its unit; what is large stands in the table's head or here.
    operation: &'static str,
    limit: Limit,
    measure: fn(&Session) -> Result<Pair>,
    /// It reads the databases of [`views::prepare`].
    reads_history: bool,
}

const fn row(operation: &'static str, limit: Limit, measure: fn(&Session) -> Result<Pair>) -> Row {
    Row { operation, limit, measure, reads_history: false }
}

const fn view(operation: &'static str, limit: Limit, measure: fn(&Session) -> Result<Pair>) -> Row {
    Row { operation, limit, measure, reads_history: true }
}

const SECOND: Limit = Limit::Most(1_000.0);

const ROWS: [Row; 21] = [
    view("leadlex.enriched of one contact, ms", SECOND, views::enriched_contact),
    view("leadlex.enriched of one workspace of many, ms", SECOND, views::enriched_workspace),
    view("leadlex.enriched, the last 100, ms", SECOND, views::enriched_last),
    view("leadlex.enrichment, last hour, ms", SECOND, views::history_hour),
    view("leadlex.enrichment, the last 100, ms", SECOND, views::history_last),
    view("leadlex.credit_ledger, the last 100, ms", SECOND, views::ledger_last),
    view("leadlex.credit_ledger of one request, ms", SECOND, views::ledger_request),
    view("leadlex.usage_daily, all days, ms", SECOND, views::usage_all),
    view("leadlex.usage_daily, today, ms", SECOND, views::usage_today),
    row("leadlex.grant_access, ms", Limit::Times(2.0), grants::grant_access),
    row("leadlex.forget_row, ms", Limit::Times(2.0), forget::forget_row),
    row(
        "leadlex.forget_contact by an administrator, of many workspaces, ms",
        Limit::Times(2.0),
        forget::of_all,
    ),
    row("queue one by one, 5,000 jobs of all that wait, ms", Limit::Times(1.11), queue::one_by_one),
    row("queue behind jobs that cannot be taken, 5,000 jobs, ms", Limit::Times(2.0), queue::behind_stuck),
    row(
        "queue beside an old snapshot, first and last 5,000 jobs, ms",
        Limit::Times(1.43),
        queue::beside_snapshot,
    ),
    row(
        "settling beside an old snapshot, first and last tenth, ms",
        Limit::Times(1.43),
        queue::settle_beside_snapshot,
    ),
    row("COPY without and with a row trigger, ms", Limit::Times(3.0), queue::copy_with_row_trigger),
    row("call about a contact of many partitions, once known, ms", Limit::Times(2.0), sets::partitioned),
    row("next call after a change of configuration, ms", Limit::Times(2.0), changes::after_a_change),
    row(
        "first rate-limited call after a crash, of many databases, ms",
        Limit::Times(2.0),
        changes::after_a_crash,
    ),
    row("memory that a backend keeps after a set, MB", Limit::Most(20.0), sets::kept_by_a_set),
];

/// A database with a workspace, a provider and so many contacts, all empty.
fn with_contacts(session: &Session, database: &str, contacts: u32) -> Result<()> {
    session.run("postgres", &[&format!("CREATE DATABASE {database} OWNER bench")])?;
    let (contacts, url) = (contacts.to_string(), session.nginx.url(0));
    session.script(database, "size.sql", &[("contacts", &contacts), ("ledger_rows", "0"), ("url", &url)])
}

/// How often a statement is run.
const RUNS: u32 = 5;

/// The least of several runs of a statement by this role: milliseconds by the server's clock, without the start of a session.
pub fn least_ms(session: &Session, database: &str, role: &str, sql: &str) -> Result<f64> {
    let quoted = sql.replace('\'', "''");
    let timed = format!(
        "SET ROLE {role};
         CREATE FUNCTION pg_temp.ms() RETURNS float8 LANGUAGE plpgsql AS $$
         DECLARE begun timestamptz := clock_timestamp();
         BEGIN EXECUTE '{quoted}'; RETURN extract(epoch FROM clock_timestamp() - begun) * 1000; END $$;
         SELECT min(ms) FROM (SELECT pg_temp.ms() AS ms FROM generate_series(1, {RUNS})) AS t;"
    );
    let answer = session.ask(database, &timed)?;
    answer.trim().parse().map_err(|_| format!("{sql}: {answer:?}"))
}

/// Measures all rows, or those that `ONLY` is a part of. An error where one exceeds its limit, or could not be measured; the others are measured all the same.
pub fn scale(project: &Project, amounts: Amounts) -> Result<()> {
    let _lock = project.only_one("bench")?;
    project.end_leftovers();
    crate::extension::build(project, true)?;
    let files = Files::begin(project)?;
    let session = Session::start(project, &project.server(true)?, amounts)?;
    let only = given("ONLY").unwrap_or_default();
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.operation.contains(only.as_str())).collect();
    if rows.iter().any(|row| row.reads_history) {
        views::prepare(&session)?;
    }
    let mut table = Table::new(
        "Small beside a hundred times as much",
        &["operation", "small", "large", "ratio", "must", "met"],
    );
    table.ends_in_words = true;
    let mut failed = 0;
    for row in rows {
        say(row.operation);
        let begun = Instant::now();
        let (cells, met) = match (row.measure)(&session) {
            Ok(pair) => {
                let numbers = [pair.small, pair.large, pair.large / pair.small].map(|n| format!("{n:.2}"));
                (numbers, row.limit.is_met(pair))
            }
            Err(error) => {
                note(&error);
                (["", "", ""].map(str::to_owned), false)
            }
        };
        note(&format!("{} in {} s", cells.join(" "), begun.elapsed().as_secs()));
        failed += usize::from(!met);
        let mut line = vec![row.operation.to_owned()];
        line.extend(cells);
        line.extend([row.limit.text(), if met { "yes" } else { "no" }.to_owned()]);
        table.rows.push(line);
    }
    session.remove()?;
    files.add(&[table])?;
    if failed > 0 { Err(format!("{failed} operations cost too much")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_of_the_ratio_or_of_the_large_one() {
        let pair = Pair { small: 2.0, large: 5.0 };
        for (limit, met) in [
            (Limit::Times(2.0), false),
            (Limit::Times(2.5), true),
            (Limit::Most(4.0), false),
            (Limit::Most(5.0), true),
        ] {
            assert_eq!(limit.is_met(pair), met, "{limit:?}");
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.operation).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }
}

//! The tables at the end, on the terminal and in target/bench.

use std::fs;
use std::path::PathBuf;

use crate::error::{Context, Result};
use crate::project::Project;
use crate::terminal::{note, put};

use super::Amounts;
use super::calls::{CELLS, Cell, FUNCTIONS, WITH_KEY, figure, keyed};
use super::machine::Machine;
use super::parts::{Part, Parts};
use super::plot::plot;
use super::results::Results;
use super::table::{Table, whole, whole_or_dash};
use super::targets::{limit, of_sets, targets};

/// What a report is made of.
pub struct Report<'a> {
    pub machine: &'a Machine,
    pub amounts: &'a Amounts,
    /// A table of what was not measured is left out, but for that of targets.
    pub parts: &'a Parts,
    /// Schemas of functions written by hand.
    pub rivals: &'a [&'static str],
    /// The same with versions.
    pub peers: String,
    /// The commit to compare with, as it was given.
    pub base: Option<&'a str>,
    pub results: &'a Results,
}

impl Report<'_> {
    /// The run, and what was measured in it.
    pub fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.facts()];
        if self.parts.has(Part::Calls) {
            tables.push(self.calls());
        }
        tables.push(targets(self.amounts, self.rivals, self.base, self.results));
        if self.parts.has(Part::Many) {
            tables.push(of_sets(self.amounts, self.base, self.results));
        }
        tables
    }

    /// `None`: calls were not measured.
    pub fn plot(&self) -> Option<String> {
        plot(self.rivals, self.base, &self.machine.line(&self.commits()), self.results)
    }

    /// How many commits the disk takes.
    fn commits(&self) -> String {
        let rates = [1, 32].map(|clients| self.results.find(figure("commit", (clients, 0))));
        match rates {
            [Some(one), Some(many)] => {
                format!("{} and {} durable commits/s by 1 and 32 clients", whole(one), whole(many))
            }
            _ => "commits were not measured".to_owned(),
        }
    }

    fn facts(&self) -> Table {
        let mut table = Table::new("The run", &["", ""]);
        table.ends_in_words = true;
        let facts = self.machine.facts(&self.peers, &self.commits());
        let known = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
        table.rows = known.map(|(name, fact)| vec![name.to_owned(), fact]).collect();
        table
    }

    /// Calls a second of each in each cell, and as a multiple of the best and of the machine's bounds.
    fn calls(&self) -> Table {
        let columns: Vec<(Cell, bool)> = CELLS
            .into_iter()
            .flat_map(|cell| [(cell, false), (cell, true)])
            .filter(|(cell, with_key)| !with_key || *cell == WITH_KEY)
            .collect();
        let mut table = Table::new("Calls a second", &["clients, provider's latency"]);
        table.head.extend(columns.iter().map(|((clients, latency), with_key)| {
            format!("{clients}, {latency} ms{}", if *with_key { ", key" } else { "" })
        }));
        let mut line = |title: &str, rate: &dyn Fn(Cell, bool) -> Option<f64>| {
            let mut row = vec![title.to_owned()];
            row.extend(columns.iter().map(|(cell, with_key)| whole_or_dash(rate(*cell, *with_key))));
            table.rows.push(row);
        };
        let of = |who: &str, cell, with_key: bool| {
            let who = if with_key { keyed(who) } else { who.to_owned() };
            self.results.find(figure(&who, cell))
        };
        line("enrich_contact", &|cell, with_key| of("ours", cell, with_key));
        if let Some(base) = self.base {
            line(&format!("{base}, enrich_contact"), &|cell, with_key| of("base", cell, with_key));
        }
        for rival in self.rivals {
            for (words, function) in FUNCTIONS {
                let who = format!("{rival}.{function}");
                line(&format!("by hand, {rival}, {words}"), &|cell, with_key| of(&who, cell, with_key));
            }
        }
        line("bare commit of one row", &|cell, _| of("commit", (cell.0, 0), false));
        line("bare keep-alive round trip", &|cell, _| of("trip", cell, false));
        line("limit: a round trip and a commit", &|cell, _| limit(self.results, cell));
        table
    }

    /// What else is of interest, on the terminal.
    pub fn notes(&self) {
        let results = self.results;
        let bounds = ["trip:32:50", "commit:1:0"].map(|name| results.find(name).filter(|rate| *rate > 0.0));
        if let [Some(trip), Some(commit)] = bounds {
            let both = 32.0 / (32.0 / trip + 1.0 / commit);
            note(&format!(
                "(32 clients, 50 ms: {} round trips a second; with a commit's time after each, {})",
                whole(trip),
                whole(both)
            ));
        }
        for scheme in ["http", "https"] {
            let of = |what: &str| results.find(format!("waiting:base:{scheme}:{what}"));
            if let (Some(memory), Some(threads)) = (of("memory"), of("threads")) {
                note(&format!(
                    "(the base's backend that called and waits, {scheme}: {memory:.2} MB and {threads} threads more)"
                ));
            }
        }
        if let Some(memory) = results.find("memory_total") {
            note(&format!("(the private memory of the backend that called most is {memory:.1} MB)"));
        }
    }
}

/// The files in which a run leaves its tables and its plot.
pub struct Files {
    tables: PathBuf,
    plot: PathBuf,
}

impl Files {
    /// Empties target/bench of an earlier run's. An error where that is not possible.
    pub fn begin(project: &Project) -> Result<Files> {
        let folder = project.target.join("bench");
        fs::create_dir_all(&folder).context(folder.display())?;
        let files = Files { tables: folder.join("tables.md"), plot: folder.join("calls.svg") };
        for path in [&files.tables, &files.plot] {
            if path.exists() {
                fs::remove_file(path).context(path.display())?;
            }
        }
        Ok(files)
    }

    /// Writes tables on the terminal and at the end of `tables.md`.
    pub fn add(&self, tables: &[Table]) -> Result<()> {
        put(&tables.iter().map(Table::text).collect::<String>());
        let mut text = fs::read_to_string(&self.tables).unwrap_or_default();
        for table in tables {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&table.markdown());
        }
        fs::write(&self.tables, text).context(self.tables.display())?;
        note(&format!("({})", self.tables.display()));
        Ok(())
    }

    /// Writes `calls.svg`.
    pub fn draw(&self, svg: &str) -> Result<()> {
        fs::write(&self.plot, svg).context(self.plot.display())?;
        note(&format!("({})", self.plot.display()));
        Ok(())
    }
}

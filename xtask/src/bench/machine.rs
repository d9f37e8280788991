//! What was measured on what, and when.

use std::fs;
use std::process::Command;

use crate::error::Result;
use crate::process::text_of;
use crate::project::Project;

use super::base::Base;
use super::session::Session;

/// Facts about a run that stand beside its figures.
pub struct Machine {
    /// Of the run's beginning, as YYYY-MM-DD.
    pub date: String,
    pub cores: usize,
    /// Such as `17.12 (Debian …)`.
    pub postgres: String,
    /// This tree's commit, and whether it was changed.
    tree: String,
    base: Option<String>,
    processor: String,
    /// Processes that were running or waiting to run over the last minute before the run.
    load: f64,
    /// How commits reach the disk.
    durable: String,
}

/// The load of the last minute.
pub fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    text_of(Command::new(program).args(arguments), program).ok()
}

impl Machine {
    /// As things stand. `load`: before anything was built.
    pub fn look(project: &Project, session: &Session, base: Option<&Base>, load: f64) -> Result<Machine> {
        let root = project.root.to_string_lossy();
        let git = |arguments: &[&str]| output_of("git", &[&["-C", &root], arguments].concat());
        let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
        let changed =
            git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let ask = |setting: &str| session.ask("postgres", &format!("SHOW {setting}"));
        Ok(Machine {
            date: output_of("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            postgres: ask("server_version")?,
            tree: format!("{commit}{}", if changed { ", changed" } else { "" }),
            base: base.map(|base| base.commit.clone()),
            processor: model.map_or("unknown", |(_, model)| model).to_owned(),
            load,
            durable: format!(
                "fsync {}, synchronous_commit {}, {}",
                ask("fsync")?,
                ask("synchronous_commit")?,
                ask("wal_sync_method")?
            ),
        })
    }

    /// One line: date, version, cores, disk. `commits`: as for [`Machine::facts`].
    pub fn line(&self, commits: &str) -> String {
        let version = self.postgres.split(' ').next().unwrap_or_default();
        format!("Measured {}: PostgreSQL {version}, {} cores, {commits}.", self.date, self.cores)
    }

    /// All of them by name. `peers`: what stands beside us, with versions. `commits`: how many
    /// the disk takes, in words.
    pub fn facts(&self, peers: &str, commits: &str) -> Vec<(&'static str, String)> {
        let busy = if self.load > 1.0 { ": busy, the figures are too low" } else { "" };
        let base = self.base.as_ref().map(|commit| ("compared with", commit.clone()));
        let mut facts = vec![
            ("date", self.date.clone()),
            ("PostgreSQL", self.postgres.clone()),
            ("this tree", self.tree.clone()),
        ];
        facts.extend(base);
        facts.extend([
            ("cores", format!("{} of {}", self.cores, self.processor)),
            ("load before", format!("{:.1}{busy}", self.load)),
            ("disk", format!("{commits} ({})", self.durable)),
            ("beside us", peers.to_owned()),
        ]);
        facts
    }
}

/// What the functions by hand are made of, with versions.
pub fn peers(session: &Session, rivals: &[&str]) -> Result<String> {
    let mut all = Vec::new();
    for rival in rivals {
        let extension = |name: &str| {
            session.ask("bench", &format!("SELECT extversion FROM pg_extension WHERE extname = '{name}'"))
        };
        all.push(match *rival {
            "pgsql_http" => format!("pgsql-http {}, keep-alive on", extension("http")?),
            _ => {
                let urllib3 =
                    output_of("/usr/bin/python3", &["-c", "import urllib3; print(urllib3.__version__)"]);
                format!(
                    "plpython3u {} with urllib3 {}",
                    extension("plpython3u")?,
                    urllib3.unwrap_or_default()
                )
            }
        });
    }
    if !rivals.contains(&"pgsql_http") {
        all.push("pgsql-http is not packaged here".to_owned());
    }
    Ok(all.join("; "))
}

//! A cluster and its provider, and SQL in it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::error::{Context, Result};
use crate::postgres::{Cluster, Running};
use crate::process::text_of;
use crate::project::Project;

use super::nginx::Nginx;
use super::{Amounts, folder};

/// The call that is measured: of the next contact in turn.
pub const OF_TURN: &str = "SELECT enrich_contact(id) FROM turns WHERE n = (SELECT nextval($$turn$$))";

/// A server that is measured, and what it asks. Both end when this is dropped.
pub struct Session {
    // In this order: a call may be under way.
    running: Running,
    pub nginx: Nginx,
    pub amounts: Amounts,
    pub folder: PathBuf,
}

impl Session {
    /// Starts nginx as the provider of a server that runs. An error where nginx does not start.
    pub fn start(project: &Project, running: Running, amounts: Amounts) -> Result<Session> {
        let nginx = Nginx::start(project, &running.cluster)?;
        Ok(Session { running, nginx, amounts, folder: folder(project) })
    }

    /// The cluster that is measured.
    pub fn cluster(&self) -> &Cluster {
        &self.running.cluster
    }

    /// Writes pgbench's script of this name.
    pub fn pgbench_script(&self, name: &str, sql: &str) -> Result<PathBuf> {
        let path = self.cluster().dir.join(format!("{name}.pgbench"));
        std::fs::write(&path, format!("{sql}\n")).context(path.display())?;
        Ok(path)
    }

    /// Statements, each in a transaction of its own.
    pub fn run(&self, database: &str, statements: &[&str]) -> Result<()> {
        run(self.cluster(), database, statements)
    }

    /// The answer of a statement, unaligned.
    pub fn ask(&self, database: &str, sql: &str) -> Result<String> {
        text_of(psql(self.cluster(), database).args(["-c", sql]), "psql")
    }

    /// The answer of a statement that gives one whole number; an error for any other answer.
    pub fn number(&self, database: &str, sql: &str) -> Result<u64> {
        let answer = self.ask(database, sql)?;
        answer.parse().context(format!("{sql}: {answer:?}"))
    }

    /// A script of tests/bench, with variables.
    pub fn script(&self, database: &str, name: &str, variables: &[(&str, &str)]) -> Result<()> {
        let mut psql = psql(self.cluster(), database);
        for (name, value) in variables {
            psql.arg("-v").arg(format!("{name}={value}"));
        }
        text_of(psql.arg("-f").arg(self.folder.join(name)), name).map(drop)
    }

    /// From now on the provider of that database answers after so many milliseconds.
    pub fn set_provider(&self, database: &str, latency_ms: u32) -> Result<()> {
        let url = self.nginx.url(latency_ms);
        let sql = format!(
            "SELECT leadlex.alter_provider('fake', config => '{{\"request\": {{\"url\": \"{url}\"}}}}')"
        );
        self.run(database, &[&sql])
    }

    /// Waits for a condition of SQL.
    /// Asks again after `every`, without an end.
    pub fn until(&self, database: &str, condition: &str, every: Duration) -> Result<()> {
        while self.ask(database, &format!("SELECT {condition}"))? != "t" {
            std::thread::sleep(every);
        }
        Ok(())
    }
}

/// psql that stops at an error and writes bare values.
pub fn psql(cluster: &Cluster, database: &str) -> Command {
    let mut psql = cluster.client("psql");
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]);
    psql
}

/// Runs statements by psql, each in a transaction of its own. An error at the first that fails.
pub fn run(cluster: &Cluster, database: &str, statements: &[&str]) -> Result<()> {
    let mut psql = psql(cluster, database);
    for statement in statements {
        psql.args(["-c", statement]);
    }
    text_of(&mut psql, "psql").map(drop)
}

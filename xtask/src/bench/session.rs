//! A cluster and its provider, and SQL in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use crate::error::{Context, Result};
use crate::postgres::{Cluster, Running, Server};
use crate::process::text_of;
use crate::project::Project;

use super::nginx::Nginx;
use super::tls::{Certificates, ROOTS_VARIABLE};
use super::{Amounts, SETTINGS, folder};

/// What openssl reads, in the folder of the scripts.
pub const CERTIFICATES: &str = "certificates.cnf";

/// The call that is measured: of the next contact in turn.
pub const OF_TURN: &str = "SELECT enrich_contact(id) FROM turns WHERE n = (SELECT nextval($$turn$$))";

/// The same with a key of its own for each call.
pub const OF_TURN_WITH_KEY: &str = "SELECT enrich_contact(id, idempotency_key => gen_random_uuid()) FROM turns WHERE n = (SELECT nextval($$turn$$))";

/// A server that is measured, and what it asks. Both end when this is dropped.
pub struct Session {
    // In this order: a call may be under way.
    running: Running,
    pub nginx: Rc<Nginx>,
    pub amounts: Amounts,
    pub folder: PathBuf,
    /// What the server takes for the system's roots.
    roots: PathBuf,
}

impl Session {
    /// Starts a cluster, and nginx as its provider. An error where one of them does not start.
    pub fn start(project: &Project, server: &Server, amounts: Amounts) -> Result<Session> {
        let folder = folder(project);
        let cluster = Cluster::create(server, "bench", &SETTINGS)?;
        let certificates = Certificates::make(&cluster, &folder.join(CERTIFICATES))?;
        let nginx = Rc::new(Nginx::start(project, &cluster, &certificates)?);
        let running = run_trusting(cluster, &certificates.roots)?;
        Ok(Session { running, nginx, amounts, folder, roots: certificates.roots })
    }

    /// Starts another cluster with the same provider. An error where it does not start.
    pub fn beside(&self, server: &Server, name: &str) -> Result<Session> {
        let running = run_trusting(Cluster::create(server, name, &SETTINGS)?, &self.roots)?;
        let (nginx, folder, roots) = (Rc::clone(&self.nginx), self.folder.clone(), self.roots.clone());
        Ok(Session { running, nginx, amounts: self.amounts, folder, roots })
    }

    /// Stops the server, and removes its cluster.
    pub fn remove(self) -> Result<()> {
        self.running.remove()
    }

    /// Makes the database bench with so many contacts, all empty.
    pub fn prepare(&self, contacts: u32) -> Result<()> {
        self.run("postgres", &["CREATE DATABASE bench OWNER bench"])?;
        let (contacts, url) = (contacts.to_string(), self.nginx.url(0));
        self.script("bench", "setup.sql", &[("contacts", &contacts), ("url", &url)])
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
        self.set_url(database, &self.nginx.url(latency_ms))
    }

    /// From now on the provider of that database stands there.
    pub fn set_url(&self, database: &str, url: &str) -> Result<()> {
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

/// A server that takes these for the system's roots, with the role bench.
fn run_trusting(cluster: Cluster, roots: &Path) -> Result<Running> {
    let mut postgres = cluster.server.command("postgres");
    postgres.env(ROOTS_VARIABLE, roots);
    let running = cluster.run_by(postgres)?;
    run(&running.cluster, "postgres", &["CREATE ROLE bench LOGIN"])?;
    Ok(running)
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

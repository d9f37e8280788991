//! make demo: a private cluster and a sample provider under target/, and stories that psql tells.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Context, Result};
use crate::extension;
use crate::postgres::{Cluster, cluster};
use crate::project::{Project, root, target};
use crate::provider::{self, Provider};
use crate::terminal::{Progress, bold, columns, note, plain, put, say};

/// Scripts of tests/demo, told in one session and a database of their own.
pub struct Story {
    pub database: &'static str,
    pub scripts: &'static [&'static str],
}

/// The stories, in the order in which they are told.
pub const STORIES: [Story; 3] = [
    Story { database: "crm", scripts: &["short.sql"] },
    Story { database: "sales", scripts: &["money.sql"] },
    Story { database: "saas", scripts: &["teams.sql", "errors.sql"] },
];

/// Between what the vendor of the second story is asked and its answer: so that there is something to watch.
const SLOW_MS: &str = "250";

/// Where the sample provider takes questions.
pub struct Vendors {
    /// The base of its URLs.
    pub quick: String,
    /// The same vendors, each answer later.
    pub slow: String,
}

impl Story {
    /// psql with all that tells the story: connect it, and wait for its end. psql reads scripts and CSV as the user who runs
    /// this, so that the server needs no access to the clone; and from standard input, so that messages come without file
    /// names. `columns`: how wide a table may be.
    ///
    /// # Errors
    /// Where the database cannot be made, or the scripts cannot be read.
    pub fn psql(&self, cluster: &Cluster, vendors: &Vendors, columns: usize) -> Result<(Command, String)> {
        let folder = root().join("tests/demo");
        let mut create = cluster.client("psql");
        create.args(["-X", "-q", "-d", "postgres", "-c", &format!("CREATE DATABASE {}", self.database)]);
        crate::process::check(&mut create, "psql")?;
        let mut text = String::new();
        for script in ["begin.sql"].iter().chain(self.scripts) {
            let path = folder.join(script);
            text.push_str(&fs::read_to_string(&path).context(path.display())?);
        }
        let mut psql = cluster.client("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.database]).current_dir(&folder);
        for (name, value) in [
            ("provider_url", format!("{}/v5/person/enrich", vendors.quick)),
            ("slow_provider_url", format!("{}/v5/person/enrich", vendors.slow)),
            ("slow_phone_url", format!("{}/v1/phone", vendors.slow)),
            ("columns", columns.to_string()),
        ] {
            psql.arg("-v").arg(format!("{name}={value}"));
        }
        // For a second session, which a script begins.
        psql.env("PSQL", cluster.server.bin.join("psql")).env("PGDATABASE", self.database);
        Ok((psql, text))
    }

    fn tell(&self, cluster: &Cluster, vendors: &Vendors) -> Result<()> {
        let (mut psql, text) = self.psql(cluster, vendors, columns())?;
        let mut child = psql.stdin(Stdio::piped()).spawn().context("psql")?;
        child.stdin.take().ok_or("psql reads nothing")?.write_all(text.as_bytes()).context("psql")?;
        if child.wait().context("psql")?.success() { Ok(()) } else { Err("the demo ended early".to_owned()) }
    }
}

/// What an earlier demo left is thrown away.
///
/// # Errors
/// Where something does not build or start, or a story ends early.
pub fn demo(project: &Project) -> Result<()> {
    let _lock = project.only_one("demo")?;
    extension::build(project, false)?;
    provider::build(project)?;
    let progress = Progress::begin("starting a private cluster and the sample provider");
    stop_at(&project.run_dir().join("demo"))?;
    let none: [&str; 0] = [];
    let cluster = Cluster::create(&project.server(false)?, "demo", &none)?;
    cluster.leave_running("127.0.0.1")?;
    let mut quick = Provider::start(project, &cluster.dir, "provider", &[])?;
    let mut slow = Provider::start(project, &cluster.dir, "slow_provider", &["--delay-ms", SLOW_MS])?;
    quick.leave_running();
    slow.leave_running();
    progress.end();
    let user = cluster.server.run_as.as_ref().map(|user| format!(", as the user {}", user.name));
    note(&format!(
        "server:   port {}{}; log: {}",
        cluster.port,
        user.unwrap_or_default(),
        cluster.log_path().display()
    ));
    note(&format!("provider: {}; it knows the people of tests/sample_provider/", quick.base()));
    let vendors = Vendors { quick: quick.base(), slow: slow.base() };
    for story in &STORIES {
        story.tell(&cluster, &vendors)?;
    }
    put(&farewell(&cluster));
    Ok(())
}

fn farewell(cluster: &Cluster) -> String {
    let psql = cluster.server.bin.join("psql");
    let [psql, socket] = [&psql, &cluster.socket_dir].map(|path| shell_quoted(path));
    let lines = STORIES
        .map(|story| format!("    {psql} -h {socket} -p {} -U postgres {}\n", cluster.port, story.database));
    let (bold, plain) = (bold(), plain());
    format!(
        "\n{bold}The cluster is still running.{plain} Look around, and type the statements of docs/demo.md:\n\n{}\n\
         make demo-stop ends it; make demo begins anew, with nothing of this one left.\n",
        lines.concat()
    )
}

/// As a shell takes it.
fn shell_quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Ends what [`demo`] left running, and removes it.
///
/// # Errors
/// Where it does not stop.
pub fn demo_stop() -> Result<()> {
    let dir = target().join("run/demo");
    let dir = fs::canonicalize(&dir).unwrap_or(dir);
    say(if stop_at(&dir)? { "the demo is stopped" } else { "no demo is running" });
    Ok(())
}

/// `false`: none was running.
fn stop_at(dir: &Path) -> Result<bool> {
    let mut running = cluster::stop(dir)?;
    for name in ["provider", "slow_provider"] {
        running |= provider::stop(&dir.join(format!("{name}.pid")));
    }
    cluster::remove(dir)?;
    Ok(running)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_typed() {
        assert_eq!(
            shell_quoted(Path::new("/usr/lib/postgresql/15/bin/psql")),
            "/usr/lib/postgresql/15/bin/psql"
        );
        assert_eq!(shell_quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}

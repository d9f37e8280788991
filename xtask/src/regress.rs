//! Postgres's own regression programs: pg_regress for scripts, pg_isolation_regress for schedules of several sessions.
//!
//! To accept what pg_regress got: copy target/run/regress/regress/NAME/results/NAME.out to tests/pg_regress/expected/.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::error::{Context, Result};
use crate::postgres::template::{entries, file_name};
use crate::postgres::{Cluster, Running};
use crate::project::Project;
use crate::provider::{self, Provider};
use crate::suites::{Choice, Counts};
use crate::terminal::put;

/// One server for both suites. Scripts find their providers in settings of the server: `test.provider_url`, and one that
/// takes a second in `test.slow_provider_url`.
pub struct Regress {
    running: Running,
    /// They end when this is dropped.
    _providers: [Provider; 2],
}

impl Regress {
    /// # Errors
    /// Where the server or a provider does not start.
    pub fn start(project: &Project) -> Result<Regress> {
        provider::build(project)?;
        // The provider of these scripts has one person for all, as a sandbox has.
        let conf = ["fsync = off", "leadlex.max_people_per_value = -1"];
        let cluster = Cluster::create(&project.server(false)?, "regress", &conf)?;
        let quick = Provider::start(project, &cluster.dir, "provider", &[])?;
        let slow = Provider::start(project, &cluster.dir, "slow_provider", &["--delay-ms", "1000"])?;
        cluster.append_conf(&[
            format!("test.provider_url = '{}'", quick.url()),
            format!("test.slow_provider_url = '{}'", slow.url()),
        ])?;
        Ok(Regress { running: cluster.run()?, _providers: [quick, slow] })
    }
}

/// The two suites of scripts: SQL by `pg_regress`, and specs of several sessions by
/// `pg_isolation_regress`.
#[derive(Clone, Copy)]
pub enum Scripts {
    Regress,
    Isolation,
}

/// Scripts that are there, and the program that runs them.
pub struct Prepared {
    suite: &'static str,
    program: PathBuf,
    folder: PathBuf,
    names: Vec<String>,
    out: PathBuf,
}

impl Scripts {
    /// # Errors
    /// Where the program is missing.
    pub fn prepare(self, project: &Project, choice: &Choice) -> Result<Prepared> {
        let (suite, folder, scripts, ending, program) = match self {
            Scripts::Regress => ("regress", "pg_regress", "sql", "sql", "regress/pg_regress"),
            Scripts::Isolation => {
                ("isolation", "isolation", "specs", "spec", "isolation/pg_isolation_regress")
            }
        };
        let makefile = project.pg_config("--pgxs")?;
        let program = Path::new(&makefile).parent().unwrap_or(Path::new("/")).join("../test").join(program);
        if !program.exists() {
            let major = project.major;
            return Err(format!("{} is missing (package postgresql-server-dev-{major})", program.display()));
        }
        let folder = project.root.join("tests").join(folder);
        let mut files = entries(&folder.join(scripts))?;
        // What scripts include stands beside them.
        files.retain(|path| path.extension().is_some_and(|given| given == ending));
        let mut names: Vec<String> = files.iter().map(|path| file_name(&path.with_extension(""))).collect();
        names.retain(|name| choice.takes(name));
        names.sort();
        Ok(Prepared { suite, program, folder, names, out: project.run_dir().join("regress").join(suite) })
    }
}

impl Prepared {
    /// Every script gets a fresh database of its own, so that none depends on another, nor on their order. All of a
    /// suite run at once: most of their time they wait.
    ///
    /// # Errors
    /// Where a directory cannot be made, or the program cannot be executed.
    pub fn run(&self, regress: &Regress) -> Result<Counts> {
        let cluster = &regress.running.cluster;
        let panicked = |_| Err("the thread of a script panicked".to_owned());
        let results: Vec<Result<bool>> = thread::scope(|scope| {
            let running: Vec<_> =
                self.names.iter().map(|name| scope.spawn(move || self.run_one(cluster, name))).collect();
            running.into_iter().map(|script| script.join().unwrap_or_else(panicked)).collect()
        });
        let mut counts = Counts::default();
        for (name, passed) in self.names.iter().zip(results) {
            self.tell(name, passed?, &mut counts);
        }
        Ok(counts)
    }

    fn tell(&self, name: &str, passed: bool, counts: &mut Counts) {
        let suite = self.suite;
        if passed {
            put(&format!("ok      {suite}/{name}\n"));
            counts.passed += 1;
        } else {
            put(&format!("FAILED  {suite}/{name}\n{}", self.difference(name)));
            counts.failed += 1;
        }
    }

    fn run_one(&self, cluster: &Cluster, name: &str) -> Result<bool> {
        let out = self.out.join(name);
        if out.exists() {
            fs::remove_dir_all(&out).context(out.display())?;
        }
        fs::create_dir_all(&out).context(out.display())?;
        let log = File::create(out.join("run.log")).context(out.display())?;
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let mut program = Command::new(&self.program);
        cluster.address(&mut program);
        program.current_dir(&out).arg(option("inputdir", &self.folder)).arg(option("outputdir", &out));
        program.arg(option("bindir", &cluster.server.bin)).arg(option("host", &cluster.socket_dir));
        program.arg(format!("--port={}", cluster.port)).args(["--user=postgres", "--max-connections=1"]);
        program.arg(format!("--dbname={}_{}", self.suite, name.replace('-', "_"))).arg(name);
        // A session that waits longer than this waits for ever: better red soon.
        program.env("PGISOLATIONTIMEOUT", "60").stdin(Stdio::null());
        program.stdout(log.try_clone().context(out.display())?).stderr(log);
        Ok(program.status().context(self.program.display())?.success())
    }

    /// What was not as expected, or the end of what the program said.
    fn difference(&self, name: &str) -> String {
        let read = |file: &str| fs::read(self.out.join(name).join(file));
        if let Ok(difference) = read("regression.diffs") {
            return String::from_utf8_lossy(&difference).into_owned();
        }
        let log = read("run.log").unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n") + "\n"
    }
}

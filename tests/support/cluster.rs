//! A Postgres cluster of one's own: a copy of a template, a private socket, the extension preloaded.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};
use xtask::postgres::cluster::{START_TIMEOUT, STOP_TIMEOUT};
use xtask::process::{children_of, is_running, kill, wait_within};

use super::eventually;
use super::kept::Kept;
use super::prepared;
use super::server::{Server, check, server};

/// How to shut down, as in pg_ctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Smart,
    Fast,
    Immediate,
    /// kill -9 of the postmaster.
    Kill,
}

/// A running (or, in between, stopped) cluster. Dropping it stops it, and removes it unless the test failed.
pub struct Cluster {
    server: &'static Server,
    cluster: xtask::postgres::Cluster,
    process: Mutex<Option<Child>>,
    surroundings: Mutex<Surroundings>,
    kept: Kept,
}

/// What the server's processes find around them, other than on a plain machine.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// More environment variables.
    pub env: Vec<(String, OsString)>,
    /// A file that stands in place of /etc/hosts.
    pub hosts: Option<PathBuf>,
    /// `ulimit -n`.
    pub files: Option<u32>,
}

/// What tests have beside what every cluster of ours has.
pub const SETTINGS: [&str; 4] = [
    // Most tests' vendor has one person for whoever is asked about, as a sandbox has.
    "leadlex.max_people_per_value = -1",
    // Crashes here are of processes, not of the machine.
    "fsync = off",
    // Half a million places are set up at each start, in a tenth of a test's time.
    "leadlex.max_contacts_in_flight = 16384",
    // To compile the tests' own queries takes longer than to run them.
    "jit = off",
];

impl Cluster {
    /// With the extension preloaded, and no settings but those that tests need.
    pub fn start() -> Cluster {
        Cluster::start_with(&[])
    }

    /// The same, with more lines for postgresql.conf; a later line wins over an earlier one.
    pub fn start_with(conf: &[&str]) -> Cluster {
        let cluster = Cluster::create(conf);
        cluster.start_again();
        cluster
    }

    /// Made, but not started.
    pub fn create(conf: &[&str]) -> Cluster {
        Cluster::create_of(server(), conf)
    }

    /// Made with this installation of Postgres, but not started.
    pub fn create_of(server: &'static Server, conf: &[&str]) -> Cluster {
        let cluster = xtask::postgres::Cluster::create(server, &new_name(), &SETTINGS);
        let cluster = Cluster::of(server, cluster);
        cluster.append_conf(conf);
        cluster
    }

    /// Made with a database that has the extension, a table and a role (see [`prepared`]), but not started.
    pub fn create_prepared(conf: &[&str]) -> Cluster {
        let cluster = Cluster::of(server(), prepared::copy(&new_name()));
        cluster.append_conf(conf);
        cluster
    }

    /// A hot standby of this cluster, streaming, started. This one must run.
    pub fn standby(&self, conf: &[&str]) -> Cluster {
        let standby = Cluster::of(self.server, xtask::postgres::Cluster::empty(self.server, &new_name()));
        let mut backup = self.server.command("pg_basebackup");
        backup.arg("-D").arg(standby.data()).args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        backup.arg("-d").arg(self.conninfo("postgres"));
        check(&mut backup, "pg_basebackup");
        standby.append_conf(&standby.cluster.place());
        standby.append_conf(conf);
        standby.start_again();
        standby
    }

    fn of(server: &'static Server, cluster: Result<xtask::postgres::Cluster, String>) -> Cluster {
        let cluster = cluster.unwrap_or_else(|error| panic!("{error}"));
        Cluster {
            server,
            cluster,
            process: Mutex::new(None),
            surroundings: Mutex::default(),
            kept: Kept::default(),
        }
    }

    pub fn data(&self) -> PathBuf {
        self.cluster.data()
    }

    pub fn dir(&self) -> &Path {
        &self.cluster.dir
    }

    pub fn port(&self) -> u16 {
        self.cluster.port
    }

    pub fn socket_dir(&self) -> &Path {
        &self.cluster.socket_dir
    }

    /// As the demo and the other commands know it.
    pub fn files(&self) -> &xtask::postgres::Cluster {
        &self.cluster
    }

    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// For programs that take a connection string.
    pub fn conninfo(&self, database: &str) -> String {
        format!("host={} port={} user=postgres dbname={database}", self.socket_dir().display(), self.port())
    }

    // --- settings ------------------------------------------------------------------------------------

    pub fn append_conf<S: AsRef<str>>(&self, lines: &[S]) {
        self.cluster.append_conf(lines).expect("target/ can be written");
    }

    /// Appends and reloads, and returns when new sessions see it.
    pub fn set(&self, name: &str, value: &str) {
        self.append_conf(&[format!("{name} = '{}'", value.replace('\'', "''"))]);
        self.signal("HUP");
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let mut client = self.connect("postgres");
            let row = client.query_one("SELECT $1 = ANY (ARRAY[current_setting($2), (SELECT reset_val FROM pg_settings WHERE name = $2)])", &[&value, &name]);
            if row.is_ok_and(|row| row.get(0)) {
                return;
            }
            assert!(Instant::now() < until, "{name} is not {value} after a reload");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    // --- start and stop ------------------------------------------------------------------------------

    pub fn start_again(&self) {
        if let Err(reason) = self.try_start() {
            panic!("{reason}");
        }
    }

    /// For clusters that are expected not to start; says what the log says.
    pub fn try_start(&self) -> Result<(), String> {
        let mut process = self.process.lock().expect("no start or stop panicked");
        assert!(process.is_none(), "the cluster runs already");
        self.append_conf(&self.cluster.place());
        *process = Some(self.cluster.start(self.postgres())?);
        Ok(())
    }

    /// From its next start on.
    pub fn surround(&self, surroundings: Surroundings) {
        *self.surroundings.lock().expect("no start panicked") = surroundings;
    }

    /// Whether [`Surroundings::hosts`] is possible on this system.
    pub fn can_be_surrounded_with_hosts() -> bool {
        server().can_replace_hosts()
    }

    fn postgres(&self) -> Command {
        let surroundings = self.surroundings.lock().expect("no start panicked");
        let mut command = match (&surroundings.hosts, surroundings.files) {
            (None, None) => self.server.command("postgres"),
            (None, Some(files)) => self.server.command_with_files(files, "postgres"),
            (Some(hosts), _) => self.server.command_with_hosts(hosts, "postgres"),
        };
        command.envs(surroundings.env.iter().cloned());
        command
    }

    /// Returns how long it took.
    pub fn stop(&self, how: Stop) -> Duration {
        self.kept.end();
        let started = Instant::now();
        let mut child =
            self.process.lock().expect("no start or stop panicked").take().expect("the cluster runs");
        // Only a killed postmaster leaves processes behind, and while one of them is there the server does not start
        // again ("pre-existing shared memory block is still in use"). Halted first, it can make no further ones.
        let mut left_behind = Vec::new();
        if matches!(how, Stop::Kill) {
            self.signal_pid(child.id(), "STOP");
            left_behind = children_of(child.id());
        }
        self.signal_pid(child.id(), signal_name(how));
        if wait_within(&mut child, STOP_TIMEOUT).expect("our own child").is_none() {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server did not stop within {STOP_TIMEOUT:?}");
        }
        super::eventually("the processes of a killed server end", STOP_TIMEOUT, || {
            !left_behind.iter().any(|pid| is_running(*pid))
        });
        started.elapsed()
    }

    pub fn restart(&self, how: Stop) {
        self.stop(how);
        self.start_again();
    }

    pub fn is_running(&self) -> bool {
        let mut process = self.process.lock().expect("no start or stop panicked");
        process.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// A signal to the postmaster: "HUP", "TERM" …
    pub fn signal(&self, signal: &str) {
        let pid =
            self.process.lock().expect("no start or stop panicked").as_ref().expect("the cluster runs").id();
        self.signal_pid(pid, signal);
    }

    /// kill -9 of a backend (or any other server process): a crash, after which the server recovers by itself.
    /// Comes back when the server knows of it: who connects sooner loses the connection again.
    pub fn kill9(&self, pid: i32) {
        let before = self.crashes();
        self.signal_process(pid, "KILL");
        let until = Instant::now() + Duration::from_secs(5);
        while self.crashes() == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn crashes(&self) -> usize {
        self.log().matches("terminating any other active server processes").count()
    }

    /// The same for a process that may just be leaving; `false`: it was gone.
    pub fn try_kill9(&self, pid: i32) -> bool {
        self.try_signal(pid, "KILL")
    }

    /// A signal to a process that may just be leaving; `false`: it was gone.
    pub fn try_signal(&self, pid: i32, signal: &str) -> bool {
        let pid = u32::try_from(pid).expect("a pid is positive");
        kill(signal, pid).output().is_ok_and(|output| output.status.success())
    }

    /// Any signal to any process of the server.
    pub fn signal_process(&self, pid: i32, signal: &str) {
        self.signal_pid(u32::try_from(pid).expect("a pid is positive"), signal);
    }

    fn signal_pid(&self, pid: u32, signal: &str) {
        check(&mut kill(signal, pid), "kill");
    }

    /// After [`Cluster::kill9`]: when connections are accepted again.
    pub fn wait_until_ready(&self) {
        super::eventually("the server accepts connections", START_TIMEOUT, || {
            self.config("postgres")
                .connect(NoTls)
                .is_ok_and(|mut client| client.simple_query("SELECT 1").is_ok())
        });
    }

    // --- connections ---------------------------------------------------------------------------------

    /// As the superuser.
    pub fn connect(&self, database: &str) -> Client {
        self.connect_as(database, "postgres")
    }

    pub fn connect_as(&self, database: &str, user: &str) -> Client {
        // From there databases are copied and dropped, which takes that they have no session.
        if database == "postgres" {
            self.kept.end();
        }
        let mut config = self.config(database);
        config.user(user);
        config
            .connect(NoTls)
            .unwrap_or_else(|error| panic!("cannot connect to {database} as {user}: {error:?}"))
    }

    /// What `act` gives in a session of the superuser that may have been used before, and does the statement `sql` or those
    /// like it.
    pub fn beside<T>(&self, sql: &str, act: impl FnOnce(&mut Client) -> T) -> T {
        self.kept.with(|| self.connect(prepared::DATABASE), sql, act)
    }

    /// To be changed before connecting.
    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host_path(self.socket_dir()).port(self.port()).user("postgres").dbname(database);
        config.application_name("tests");
        config
    }

    /// A database with the extension, and a connection to it as the superuser.
    pub fn database(&self, name: &str) -> Client {
        self.connect("postgres").batch_execute(&format!("CREATE DATABASE {name}")).expect("a new name");
        let mut client = self.connect(name);
        client.batch_execute("CREATE EXTENSION leadlex_enrich").expect("the extension can be created");
        client
    }

    /// A program of this installation (psql, pg_dump …) with its environment set up to connect here as the superuser.
    pub fn command(&self, program: &str, database: &str) -> Command {
        let mut command = self.server.command(program);
        command.env("PGHOST", self.socket_dir()).env("PGPORT", self.port().to_string());
        command.env("PGUSER", "postgres").env("PGDATABASE", database);
        command
    }

    /// The output of psql for some SQL; the exit status is the caller's to judge.
    pub fn psql(&self, database: &str, sql: &str) -> Output {
        let mut command = self.command("psql", database);
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).stdin(Stdio::null());
        command.output().expect("psql can be executed")
    }

    // --- the log -------------------------------------------------------------------------------------

    pub fn log_path(&self) -> PathBuf {
        self.cluster.log_path()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// What was logged since the log had this length.
    pub fn log_since(&self, mark: usize) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(log.get(mark..).unwrap_or_default()).into_owned()
    }

    /// What was logged since then, once this is in it: a worker commits first, and then logs what it did.
    pub fn logged_since(&self, mark: usize, text: &str) -> String {
        let mut log = String::new();
        eventually(&format!("\"{text}\" is logged"), Duration::from_secs(10), || {
            log = self.log_since(mark);
            log.contains(text)
        });
        log
    }

    pub fn log_mark(&self) -> usize {
        fs::read(self.log_path()).map_or(0, |log| log.len())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(mut child) = process.take() {
            // No panics here: a panic while a failed test unwinds would abort, and leave the server behind.
            let _ = kill("QUIT", child.id()).output();
            let until = Instant::now() + Duration::from_secs(10);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.socket_dir() != self.dir() {
            let _ = fs::remove_dir_all(self.socket_dir());
        }
        if std::thread::panicking() {
            eprintln!(
                "the cluster of the failed test is kept: {}; the end of its log:\n{}",
                self.dir().display(),
                self.cluster.log_tail()
            );
        } else {
            let _ = xtask::postgres::cluster::remove(self.dir());
        }
    }
}

/// After the process, so that the next run knows which clusters are left behind.
fn new_name() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn signal_name(how: Stop) -> &'static str {
    match how {
        Stop::Smart => "TERM",
        Stop::Fast => "INT",
        Stop::Immediate => "QUIT",
        Stop::Kill => "KILL",
    }
}

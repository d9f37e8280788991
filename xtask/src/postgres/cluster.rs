//! A cluster of our own: its directory, its settings, its server.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::server::Server;
use super::template::{Template, file_name, fnv};
use crate::error::{Context, Result};
use crate::process::{is_running, kill, wait_within};

/// How long a server may take to accept connections.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to end.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(60);
// The path of a Unix socket, with "/.s.PGSQL.12345" at its end, has at most 107 bytes.
const MAX_SOCKET_DIR_BYTES: usize = 90;

/// What every cluster of ours has.
const SETTINGS: [&str; 6] = [
    "shared_preload_libraries = 'leadlex_enrich'",
    "leadlex.allow_private_addresses = on",
    "max_connections = 150",
    "timezone = 'UTC'",
    "log_timezone = 'UTC'",
    "log_line_prefix = '%m [%p] %q%u@%d '",
];

/// A directory with `data`, `log` and, where its path is short enough, the socket.
#[derive(Debug)]
pub struct Cluster {
    pub server: Server,
    pub dir: PathBuf,
    pub socket_dir: PathBuf,
    /// The port that is part of the socket's name; nothing listens on TCP.
    pub port: u16,
}

impl Cluster {
    /// Made anew in the server's run directory, with these further lines for postgresql.conf; a later line wins.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create<S: AsRef<str>>(server: &Server, name: &str, conf: &[S]) -> Result<Cluster> {
        let cluster = Cluster::empty(server, name)?;
        server.copy_template(&cluster.data())?;
        cluster.settle(conf)
    }

    /// The same as a copy of this template.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn copy_of<S: AsRef<str>>(
        server: &Server,
        template: &Template,
        name: &str,
        conf: &[S],
    ) -> Result<Cluster> {
        let cluster = Cluster::empty(server, name)?;
        server.copy_of(template, &cluster.data())?;
        cluster.settle(conf)
    }

    fn settle<S: AsRef<str>>(self, conf: &[S]) -> Result<Cluster> {
        self.append_conf(&SETTINGS)?;
        self.append_conf(conf)?;
        Ok(self)
    }

    /// Without a data directory. What stood there before is stopped and removed.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn empty(server: &Server, name: &str) -> Result<Cluster> {
        let dir = server.run_dir.join(name);
        remove(&dir)?;
        server.make_dir(&dir)?;
        let socket_dir = socket_dir_of(&dir);
        if socket_dir != dir {
            server.make_dir(&socket_dir)?;
        }
        Ok(Cluster { server: server.clone(), dir, socket_dir, port: free_port()? })
    }

    /// The data directory (PGDATA).
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The file of the server's log.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The settings that say where this cluster listens: by socket only, as a TCP port could be taken by another process
    /// between looking and listening.
    pub fn place(&self) -> [String; 3] {
        [
            format!("port = {}", self.port),
            format!("unix_socket_directories = {}", conf_path(&self.socket_dir)),
            "listen_addresses = ''".to_owned(),
        ]
    }

    /// # Errors
    /// Where postgresql.conf cannot be written.
    pub fn append_conf<S: AsRef<str>>(&self, lines: &[S]) -> Result<()> {
        let path = self.data().join("postgresql.conf");
        let mut file = File::options().append(true).open(&path).context(path.display())?;
        let text: String = lines.iter().map(|line| format!("{}\n", line.as_ref())).collect();
        file.write_all(text.as_bytes()).context(path.display())
    }

    /// Starts the server by `postgres` (a [`Server::command`] of that program, perhaps in other surroundings), and returns
    /// when it takes connections.
    ///
    /// # Errors
    /// Where it ends or is not ready in time, with the end of its log.
    pub fn start(&self, mut postgres: Command) -> Result<Child> {
        let path = self.log_path();
        let log = File::options().create(true).append(true).open(&path).context(path.display())?;
        let err = log.try_clone().context(path.display())?;
        let mut child =
            postgres.arg("-D").arg(self.data()).stdout(log).stderr(err).spawn().context("postgres")?;
        let until = Instant::now() + START_TIMEOUT;
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("postgres ended with {status}; its log:\n{}", self.log_tail()));
            }
            if is_ready(&self.data(), child.id()) {
                return Ok(child);
            }
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not ready within {START_TIMEOUT:?}; the log:\n{}", self.log_tail()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Started, and stopped when what is returned is dropped.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn run(self) -> Result<Running> {
        let postgres = self.server.command("postgres");
        self.run_by(postgres)
    }

    /// The same by this command, as in [`Cluster::start`].
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn run_by(self, postgres: Command) -> Result<Running> {
        self.append_conf(&self.place())?;
        let child = self.start(postgres)?;
        Ok(Running { cluster: self, child })
    }

    /// Started, and left running when this process ends, or is interrupted from the terminal. It listens on this TCP
    /// address, too.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn leave_running(&self, address: &str) -> Result<()> {
        self.append_conf(&self.place())?;
        self.append_conf(&[format!("listen_addresses = '{address}'")])?;
        let mut postgres = self.server.command("postgres");
        postgres.process_group(0);
        self.start(postgres).map(drop)
    }

    /// A client program of the installation, as the user who runs this, which connects here as the superuser.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.server.bin.join(program));
        self.address(&mut command);
        command
    }

    /// Tells a program in its environment to connect here as the superuser. Other settings of libpq, and of the language, go.
    pub fn address(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let bytes = name.as_encoded_bytes();
            if bytes.starts_with(b"PG") || bytes.starts_with(b"LC_") || bytes == b"LANG" {
                command.env_remove(name);
            }
        }
        command
            .env("PGHOST", &self.socket_dir)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres");
    }
}

/// A cluster whose server is stopped when this is dropped.
#[derive(Debug)]
pub struct Running {
    pub cluster: Cluster,
    child: Child,
}

impl Running {
    /// Stops the server and removes the cluster's directory.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove(self) -> Result<()> {
        let dir = self.cluster.dir.clone();
        drop(self);
        remove(&dir)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill("INT", self.child.id()).output();
        if !matches!(wait_within(&mut self.child, STOP_TIMEOUT), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if self.cluster.socket_dir != self.cluster.dir {
            let _ = fs::remove_dir_all(&self.cluster.socket_dir);
        }
    }
}

/// The directory of a cluster's socket. In a deep clone it stands in /tmp.
fn socket_dir_of(dir: &Path) -> PathBuf {
    if dir.as_os_str().len() <= MAX_SOCKET_DIR_BYTES {
        return dir.to_owned();
    }
    Path::new("/tmp").join(format!("leadlex-{:08x}-{}", fnv(&dir.to_string_lossy()) >> 32, file_name(dir)))
}

/// A directory in a list of postgresql.conf: in double quotes within single ones, each doubled where it occurs.
fn conf_path(path: &Path) -> String {
    format!("'\"{}\"'", path.to_string_lossy().replace('"', "\"\"").replace('\'', "''"))
}

/// Whether the server that has this process number takes connections: the lock file says so, as for pg_ctl.
fn is_ready(data: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|status| status.trim_end() == "ready")
}

/// Stops the server of a cluster, also one that another process started, and removes all that belongs to it.
///
/// # Errors
/// Where it does not stop, or cannot be removed.
pub fn remove(dir: &Path) -> Result<()> {
    stop(dir)?;
    for dir in [socket_dir_of(dir), dir.to_owned()] {
        if dir.exists() {
            fs::remove_dir_all(&dir).context(dir.display())?;
        }
    }
    Ok(())
}

/// Stops the server of the cluster in this directory. `false`: none was running.
///
/// # Errors
/// Where it does not stop.
pub fn stop(dir: &Path) -> Result<bool> {
    let data = dir.join("data");
    let Some(pid) = server_at(&data) else { return Ok(false) };
    for (signal, seconds) in [("INT", 30), ("QUIT", 15), ("KILL", 15)] {
        let _ = kill(signal, pid).output();
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            if !is_running(pid) {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Err(format!("the server in {} does not stop (process {pid})", dir.display()))
}

/// The server whose data directory this is: a process of the number in the lock file may by now be another's.
fn server_at(data: &Path) -> Option<u32> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid: u32 = text.lines().next()?.trim().parse().ok()?;
    let place = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    (is_running(pid) && fs::canonicalize(data).ok()? == place).then_some(pid)
}

/// Another process could take it before it is used; the kernel hands ports out in a wide circle, so that is rare.
///
/// # Errors
/// Where there is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a free port on loopback")?;
    Ok(listener.local_addr().context("the address of a listener")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_postgresql_conf() {
        assert_eq!(conf_path(Path::new("/a b/c'd\"e,f")), "'\"/a b/c''d\"\"e,f\"'");
    }

    #[test]
    fn the_socket_of_a_deep_clone_is_elsewhere_and_its_own() {
        let short = Path::new("/a/target/run/demo");
        assert_eq!(socket_dir_of(short), short);
        let [one, two] =
            ["a", "b"].map(|clone| socket_dir_of(&Path::new("/").join(clone.repeat(90)).join("demo")));
        assert!(one.starts_with("/tmp") && one.as_os_str().len() < MAX_SOCKET_DIR_BYTES && one != two);
    }

    #[test]
    fn a_server_is_ready_when_its_own_lock_file_says_so() {
        let dir = std::env::temp_dir().join(format!("xtask-ready-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let lock = |pid: u32, status: &str| format!("{pid}\n/data\n1\n5432\n/tmp\n\n  1 2\n{status}\n");
        for (text, ready) in [
            (lock(7, "ready   "), true),
            (lock(7, "starting"), false),
            (lock(8, "ready   "), false),
            ("7\n/data\n".to_owned(), false),
        ] {
            fs::write(dir.join("postmaster.pid"), &text).unwrap();
            assert_eq!(is_ready(&dir, 7), ready, "{text}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}

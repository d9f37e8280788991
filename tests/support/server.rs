//! The Postgres installation under test, the user it runs as, and a template data directory to copy.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Postgres refuses to run as root: then it runs as another user. `None`: as oneself.
#[derive(Clone, Copy, Debug)]
pub struct RunAs {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug)]
pub struct Server {
    pub major: u32,
    pub bin: PathBuf,
    pub run_dir: PathBuf,
    pub run_as: Option<RunAs>,
    template: OnceLock<PathBuf>,
}

const MAJOR: u32 = if cfg!(feature = "pg15") {
    15
} else if cfg!(feature = "pg16") {
    16
} else if cfg!(feature = "pg17") {
    17
} else if cfg!(feature = "pg18") {
    18
} else {
    19
};

/// Where tests/lib/build.sh has put things.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let tree =
            std::env::var_os("LEADLEX_PG_TREE").map_or(target.join(format!("pg-{MAJOR}")), PathBuf::from);
        let bin = fs::canonicalize(tree.join("bin"))
            .unwrap_or_else(|error| panic!("{}: {error}; run `make build` first", tree.display()));
        Server::at(MAJOR, bin)
    })
}

/// The newest older major version that has been built here, too, for pg_upgrade.
pub fn older_server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let find = || {
        (15..MAJOR).rev().find_map(|major| {
            let bin = fs::canonicalize(target.join(format!("pg-{major}/bin"))).ok()?;
            bin.join("postgres").exists().then(|| Server::at(major, bin))
        })
    };
    SERVER.get_or_init(find).as_ref()
}

fn run_as() -> Option<RunAs> {
    let id = |args: &[&str]| -> u32 {
        let output = Command::new("id").args(args).output().expect("id(1) is there");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.trim().parse().unwrap_or_else(|_| panic!("id {args:?}: no such user"))
    };
    if id(&["-u"]) != 0 {
        return None;
    }
    let user = std::env::var("LEADLEX_RUN_AS").unwrap_or_else(|_| "postgres".to_owned());
    Some(RunAs { uid: id(&["-u", &user]), gid: id(&["-g", &user]) })
}

impl Server {
    fn at(major: u32, bin: PathBuf) -> Server {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let run_dir = std::env::var_os("LEADLEX_RUN_DIR").map_or(target.join("run"), PathBuf::from);
        fs::create_dir_all(&run_dir).expect("target/ can be written");
        let run_dir = fs::canonicalize(run_dir).expect("it has just been made");
        Server { major, bin, run_dir, run_as: run_as(), template: OnceLock::new() }
    }

    /// The same with programs in another place.
    pub fn elsewhere(&self, bin: PathBuf) -> Server {
        Server::at(self.major, bin)
    }

    /// A program of the installation, as the unprivileged user and in a clean environment: `RUST_BACKTRACE`
    /// would put backtraces into DETAIL, and the locale's language would get into messages.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        command.current_dir(&self.run_dir).stdin(Stdio::null());
        if let Some(RunAs { uid, gid }) = self.run_as {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// The same with this limit on open files, hard and soft.
    pub fn command_with_files(&self, files: u32, program: &str) -> Command {
        let command = self.command(program);
        let program = command.get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &files.to_string()]).arg(program);
        shell.current_dir(&self.run_dir).stdin(Stdio::null());
        if let Some(RunAs { uid, gid }) = self.run_as {
            shell.uid(uid).gid(gid);
        }
        shell
    }

    /// The same in a mount namespace of its own, in which this file is /etc/hosts.
    pub fn command_with_hosts(&self, hosts: &Path, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C").env("TZ", "UTC");
        command.current_dir(&self.run_dir).stdin(Stdio::null()).arg("--mount");
        if self.run_as.is_none() {
            // Whoever is not root may do so in a user namespace, where the system allows those.
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command.args(["sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(hosts);
        if let Some(RunAs { uid, gid }) = self.run_as {
            command.arg("setpriv").arg(format!("--reuid={uid}")).arg(format!("--regid={gid}"));
            command.arg("--clear-groups");
        }
        command.arg(self.bin.join(program));
        command
    }

    /// Whether [`Server::command_with_hosts`] is possible: containers commonly forbid it.
    pub fn can_replace_hosts(&self) -> bool {
        let mut command = self.command_with_hosts(Path::new("/dev/null"), "postgres");
        command.arg("--version").output().is_ok_and(|output| output.status.success())
    }

    /// A directory that belongs to the unprivileged user.
    pub fn make_dir(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("our own directory");
        if let Some(RunAs { uid, gid }) = self.run_as {
            chown(dir, Some(uid), Some(gid)).expect("root may");
        }
    }

    /// A fresh data directory at `to`, copied from one that initdb made for the whole run.
    pub fn copy_template(&self, to: &Path) {
        let template = self.template.get_or_init(|| self.make_template());
        check(Command::new("cp").arg("-a").arg("--reflink=auto").arg(template).arg(to), "cp");
    }

    /// Kept from run to run. Made aside and renamed, as several processes and threads may be at it.
    fn make_template(&self) -> PathBuf {
        let made = fs::metadata(self.bin.join("initdb")).and_then(|m| m.modified()).expect("initdb is there");
        let age = made.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let template = self.run_dir.join(format!("template-{}-{age}", self.major));
        let data = template.join("data");
        if data.exists() {
            return data;
        }
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let aside = self.run_dir.join(format!("template-{}-{}-{number}.new", self.major, std::process::id()));
        self.make_dir(&aside);
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(aside.join("data"));
        initdb.args(["-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"]);
        check(&mut initdb, "initdb");
        if fs::rename(&aside, &template).is_err() {
            // Another process or thread was first.
            fs::remove_dir_all(&aside).expect("our own directory");
        }
        data
    }
}

/// Runs to the end, and panics with what was said when that was no success.
pub fn check(command: &mut Command, what: &str) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

//! An installation of Postgres, and the user that its programs run as.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, Result};
use crate::process::text_of;

/// Postgres refuses to run as root: then it runs as this user.
#[derive(Clone, Debug)]
pub struct RunAs {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl RunAs {
    /// `None`: as oneself. Root chooses LEADLEX_RUN_AS, else `postgres`, else `nobody`.
    ///
    /// # Errors
    /// Where root has no such user.
    pub fn find() -> Result<Option<RunAs>> {
        if id(&["-u"])? != 0 {
            return Ok(None);
        }
        let given = std::env::var("LEADLEX_RUN_AS").ok();
        let names = given.map_or(vec!["postgres".to_owned(), "nobody".to_owned()], |name| vec![name]);
        let user = names.into_iter().find_map(|name| {
            let (uid, gid) = (id(&["-u", &name]).ok()?, id(&["-g", &name]).ok()?);
            Some(RunAs { name, uid, gid })
        });
        user.map(Some).ok_or_else(|| {
            "Postgres cannot run as root, and there is no user 'postgres': run this as another user"
                .to_owned()
        })
    }
}

fn id(arguments: &[&str]) -> Result<u32> {
    text_of(Command::new("id").args(arguments), "id")?.parse().context("id")
}

/// Programs of a Postgres that has our extension, and where their clusters go.
#[derive(Clone, Debug)]
pub struct Server {
    pub major: u32,
    /// The directory of `postgres`, `psql` and so on.
    pub bin: PathBuf,
    /// The directory in which clusters are made.
    pub run_dir: PathBuf,
    pub run_as: Option<RunAs>,
}

impl Server {
    /// Makes `run_dir`.
    ///
    /// # Errors
    /// Where that cannot be made, and as [`RunAs::find`].
    pub fn at(major: u32, bin: PathBuf, run_dir: &Path) -> Result<Server> {
        fs::create_dir_all(run_dir).context(run_dir.display())?;
        let run_dir = fs::canonicalize(run_dir).context(run_dir.display())?;
        Ok(Server { major, bin, run_dir, run_as: RunAs::find()? })
    }

    /// The same with programs in another place.
    pub fn elsewhere(&self, bin: PathBuf) -> Server {
        Server { bin, ..self.clone() }
    }

    /// A program of the installation, as the unprivileged user and in a clean environment: `RUST_BACKTRACE`
    /// would put backtraces into DETAIL, and the locale's language would get into messages.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        command.current_dir(&self.run_dir).stdin(Stdio::null());
        self.as_user(&mut command);
        command
    }

    /// Makes a command run as the unprivileged user.
    pub fn as_user(&self, command: &mut Command) {
        if let Some(RunAs { uid, gid, .. }) = self.run_as {
            command.uid(uid).gid(gid);
        }
    }

    /// The same with this limit on open files, hard and soft.
    pub fn command_with_files(&self, files: u32, program: &str) -> Command {
        let command = self.command(program);
        let program = command.get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &files.to_string()]).arg(program);
        shell.current_dir(&self.run_dir).stdin(Stdio::null());
        self.as_user(&mut shell);
        shell
    }

    /// The same in a mount namespace of its own, in which this file is /etc/hosts.
    pub fn command_with_hosts(&self, hosts: &Path, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("LC_ALL", "C").env("TZ", "UTC");
        command.current_dir(&self.run_dir).stdin(Stdio::null()).arg("--mount");
        if self.run_as.is_none() {
            // An ordinary user may do so in a user namespace, where the system allows those.
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command.args(["sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(hosts);
        if let Some(RunAs { uid, gid, .. }) = &self.run_as {
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
    ///
    /// # Errors
    /// Where it cannot be made or given away.
    pub fn make_dir(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).context(dir.display())?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).context(dir.display())?;
        match self.run_as {
            Some(RunAs { uid, gid, .. }) => chown(dir, Some(uid), Some(gid)).context(dir.display()),
            None => Ok(()),
        }
    }
}

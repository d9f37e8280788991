//! The clone: its places, the Postgres that was chosen, and who runs what.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::error::{Context, Result};
use crate::postgres::server::{RunAs, Server};
use crate::postgres::template::fnv;
use crate::process::{end_marked, text_of};
use crate::terminal::{note, say};

/// Every process that a run starts bears this in its environment, with the command and the clone's path, so that a later run
/// finds what a killed one left behind.
const MARK: &str = "LEADLEX_RUN_OF";
const ROOT_VARIABLE: &str = "LEADLEX_ROOT";

/// The clone that tests/lib/xtask stands in. Without it, the one in which this was compiled: cargo does not compile anew what it
/// finds in a target/ that was moved or copied.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ stands in the clone");
        std::env::var_os(ROOT_VARIABLE).map_or(compiled.to_owned(), PathBuf::from)
    });
    &ROOT
}

/// target/ of the clone: what builds and runs write.
pub fn target() -> PathBuf {
    root().join("target")
}

/// The clone, the Postgres that `make` chose, and the command that is run.
#[derive(Debug)]
pub struct Project {
    /// The command that is run, such as `test`.
    command: String,
    pub root: PathBuf,
    pub target: PathBuf,
    /// Where clusters and the private copies of Postgres go: target/, unless the user whom Postgres runs as cannot reach that
    /// (a clone in /root).
    base: PathBuf,
    pub run_as: Option<RunAs>,
    /// Of the Postgres that was chosen.
    pub pg_config: PathBuf,
    pub major: u32,
    pub cargo_pgrx: PathBuf,
}

impl Project {
    /// As tests/lib/xtask has prepared it.
    ///
    /// # Errors
    /// Where it has not, or a directory cannot be made.
    pub fn open(command: &str) -> Result<Project> {
        let from = |name: &str| std::env::var_os(name).ok_or_else(|| format!("{name} is not set: use make"));
        let target = target();
        fs::create_dir_all(target.join("log")).context(target.display())?;
        let run_as = RunAs::find()?;
        let base = base(&target, run_as.as_ref())?;
        let major = from("MAJOR")?.to_string_lossy().parse().context("MAJOR")?;
        let (pg_config, cargo_pgrx) = (from("PG_CONFIG")?.into(), from("CARGO_PGRX")?.into());
        let command = command.to_owned();
        Ok(Project { command, root: root().to_owned(), target, base, run_as, pg_config, major, cargo_pgrx })
    }

    /// The directory in which clusters are made.
    pub fn run_dir(&self) -> PathBuf {
        self.base.join("run")
    }

    /// The directory in which clusters of tests are made: in memory where there is room. Each test has a cluster of its own, and
    /// on disk a third of the processor time of most tests goes into copying the template.
    pub fn test_dir(&self) -> PathBuf {
        if has_room(Path::new(MEMORY)) { self.memory_dir() } else { self.run_dir() }
    }

    /// Where clusters of tests are, if there is or was room in memory.
    pub fn memory_dir(&self) -> PathBuf {
        let clone = fnv(&self.run_dir().display().to_string());
        Path::new(MEMORY).join(format!("leadlex_enrich-{clone:016x}"))
    }

    /// The directory for logs of commands.
    pub fn log_dir(&self) -> PathBuf {
        self.target.join("log")
    }

    /// The private copy of Postgres, with a build of this profile in it.
    pub fn tree(&self, release: bool) -> PathBuf {
        self.base.join(tree_name(self.major, release))
    }

    /// The Postgres in that copy.
    ///
    /// # Errors
    /// Where it has not been made.
    pub fn server(&self, release: bool) -> Result<Server> {
        let bin = self.tree(release).join("bin");
        let bin = fs::canonicalize(&bin).context(bin.display())?;
        Server::at(self.major, bin, &self.run_dir())
    }

    /// A line of `pg_config`, such as that of `--bindir`.
    ///
    /// # Errors
    /// Where it does not say.
    pub fn pg_config(&self, option: &str) -> Result<String> {
        text_of(Command::new(&self.pg_config).arg(option), "pg_config")
    }

    /// Cargo at the clone's root.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&self.root).args(arguments);
        self.mark(&mut cargo);
        cargo
    }

    /// The feature that stands for the chosen Postgres.
    pub fn features(&self) -> [String; 3] {
        ["--no-default-features".to_owned(), "--features".to_owned(), format!("pg{}", self.major)]
    }

    /// Makes a command recognisable as part of this run, and tells tests where clusters go and as whom.
    pub fn mark(&self, command: &mut Command) {
        let (name, value) = self.mark_of_run();
        command.env(name, value).env("LEADLEX_RUN_DIR", self.test_dir());
        command.env(ROOT_VARIABLE, &self.root).env("LEADLEX_PG_TREE", self.tree(false));
        if let Some(user) = &self.run_as {
            command.env("LEADLEX_RUN_AS", &user.name);
        }
    }

    fn mark_of_run(&self) -> (&'static str, String) {
        (MARK, format!("{} {}", self.command, self.root.display()))
    }

    /// Ends the processes that earlier runs of this command left, which [`Project::mark`] has marked. To be called under the
    /// lock of [`Project::only_one`]: a run that has the lock no more is dead.
    pub fn end_leftovers(&self) {
        let (name, value) = self.mark_of_run();
        end_marked(&format!("{name}={value}"));
    }

    /// Two runs of the same thing would stop each other's servers. The lock goes with the process, however that ends; a
    /// second one waits.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn only_one(&self, what: &str) -> Result<File> {
        fs::create_dir_all(self.run_dir()).context(self.run_dir().display())?;
        let path = self.run_dir().join(format!("{}.lock", what.replace(' ', "-")));
        let file = File::options().create(true).append(true).open(&path).context(path.display())?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            say(&format!("another {what} is running in this clone: waiting for its end"));
            file.lock().context(path.display())?;
        }
        Ok(file)
    }
}

/// The directory's name of a private copy of Postgres, such as `pg-18-release`.
pub fn tree_name(major: u32, release: bool) -> String {
    format!("pg-{major}{}", if release { "-release" } else { "" })
}

/// target/, or a directory of the clone's own in /var/tmp, with a link to it in target/.
fn base(target: &Path, run_as: Option<&RunAs>) -> Result<PathBuf> {
    let Some(user) = run_as else { return Ok(target.to_owned()) };
    let reached = Command::new("test").arg("-x").arg(target).uid(user.uid).gid(user.gid).status();
    if reached.context("test")?.success() {
        return Ok(target.to_owned());
    }
    let base = Path::new("/var/tmp").join(format!("leadlex_enrich-{:016x}", fnv(&target.to_string_lossy())));
    let _ = fs::DirBuilder::new().mode(0o755).create(&base);
    let found = fs::symlink_metadata(&base).context(base.display())?;
    if !found.is_dir() || found.uid() != 0 {
        return Err(format!("{} is not a directory of root's: remove it", base.display()));
    }
    fs::create_dir_all(base.join("run")).context(base.display())?;
    if fs::read_link(target.join("run")).ok() != Some(base.join("run")) {
        note(&format!(
            "user {} cannot reach {}: clusters go to {}",
            user.name,
            target.display(),
            base.display()
        ));
        show(&base.join("run"), &target.join("run"))?;
    }
    Ok(base)
}

/// A link in target/ to what stands elsewhere. A directory there is from a time when that user could reach it, and goes.
///
/// # Errors
/// Where the link cannot be made.
pub fn show(to: &Path, at: &Path) -> Result<()> {
    if fs::symlink_metadata(at).is_ok_and(|found| found.is_dir()) {
        fs::remove_dir_all(at).context(at.display())?;
    }
    link(to, at)
}

/// A symbolic link in place of whatever stands there.
///
/// # Errors
/// Where a directory stands there, or the link cannot be made.
pub fn link(to: &Path, at: &Path) -> Result<()> {
    let aside = at.with_extension(format!("link-{}", std::process::id()));
    let _ = fs::remove_file(&aside);
    symlink(to, &aside).context(aside.display())?;
    fs::rename(&aside, at).context(at.display())
}

/// A file system in memory.
const MEMORY: &str = "/dev/shm";
/// Free memory, and room in the file system, for the clusters of a few tests at a time and of some that failed, in kB.
const ROOM_KB: u64 = 4 * 1024 * 1024;

/// Whether this is a file system in memory with room for clusters.
fn has_room(memory: &Path) -> bool {
    let number = |text: &str| text.split_whitespace().find_map(|word| word.parse::<u64>().ok());
    let available = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| text.lines().find_map(|line| number(line.strip_prefix("MemAvailable:")?)));
    let mut df = Command::new("df");
    df.args(["-k", "--output=fstype,avail"]).arg(memory);
    let free = text_of(&mut df, "df").ok().and_then(|text| {
        let line = text.lines().last()?.trim().to_owned();
        number(line.strip_prefix("tmpfs")?)
    });
    [available, free].iter().all(|kb| kb.is_some_and(|kb| kb > ROOM_KB))
}

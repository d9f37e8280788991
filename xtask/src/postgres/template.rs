//! A data directory that initdb has made, on disk, from which each cluster is copied. Several processes may be at it.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cluster::{self, Cluster};
use super::server::Server;
use crate::error::{Context, Result};
use crate::process::check;

const INITDB: [&str; 8] = ["-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"];

/// A data directory to copy from: what makes it, and when it is to be made anew.
pub struct Template<'a> {
    /// The beginning of its directory's name.
    pub name: &'a str,
    /// What it depends on beside the programs and whom its files belong to.
    pub key: String,
    /// Makes the data directory of this cluster, which has none yet, and leaves no server running.
    pub make: &'a dyn Fn(&Cluster) -> Result<()>,
}

impl Server {
    /// A fresh data directory at `to`.
    ///
    /// # Errors
    /// What initdb or cp say.
    pub fn copy_template(&self, to: &Path) -> Result<()> {
        let make = |cluster: &Cluster| self.initdb(&cluster.data(), &[]);
        self.copy_of(&Template { name: "template", key: INITDB.join(" "), make: &make }, to)
    }

    /// What initdb makes, with these further options.
    ///
    /// # Errors
    /// What initdb says.
    pub fn initdb(&self, data: &Path, options: &[&str]) -> Result<()> {
        check(self.command("initdb").arg("-D").arg(data).args(INITDB).args(options), "initdb").map(drop)
    }

    /// A copy of this template at `to`. It is made where there is none.
    ///
    /// # Errors
    /// What its maker or cp say.
    pub fn copy_of(&self, template: &Template, to: &Path) -> Result<()> {
        let prefix = format!("{}-{}", template.name, self.major);
        let dir = self.run_dir.join(format!("{prefix}-{:016x}", fnv(&self.key_of(template)?)));
        let lock = self.run_dir.join(format!("{prefix}.lock"));
        let lock = File::options().create(true).append(true).open(&lock).context(lock.display())?;
        lock.lock_shared().context("the template's lock")?;
        if !dir.join("data").exists() {
            // A shared lock cannot grow: another process may come first.
            lock.unlock().context("the template's lock")?;
            lock.lock().context("the template's lock")?;
            if !dir.join("data").exists() {
                self.make(template, &prefix, &dir)?;
            }
        }
        check(Command::new("cp").arg("-a").arg("--reflink=auto").arg(dir.join("data")).arg(to), "cp")
            .map(drop)
    }

    /// What a template depends on: the programs, whom the files belong to, and its own.
    fn key_of(&self, template: &Template) -> Result<String> {
        let user = self.run_as.as_ref().map(|user| (user.uid, user.gid));
        let programs = ["initdb", "postgres"].map(|program| self.bin.join(program));
        Ok(format!("{} {user:?}{}", template.key, stamps(&programs)?))
    }

    /// Made aside and renamed, so that a killed process leaves no half of one. Older ones of this major go: while the
    /// lock is held, no process copies them.
    fn make(&self, template: &Template, prefix: &str, dir: &Path) -> Result<()> {
        let prefix = format!("{prefix}-");
        for old in entries(&self.run_dir)?.into_iter().filter(|path| file_name(path).starts_with(&prefix)) {
            // A killed process may have left the server of one that was being made.
            cluster::remove(&old)?;
        }
        let aside = Cluster::empty(self, &format!("{}.new", file_name(dir)))?;
        (template.make)(&aside)?;
        if aside.socket_dir != aside.dir {
            fs::remove_dir_all(&aside.socket_dir).context(aside.socket_dir.display())?;
        }
        fs::rename(&aside.dir, dir).context(dir.display())
    }
}

/// Sizes and ages of files, for the key of what is made from them.
///
/// # Errors
/// Where one is not there.
pub fn stamps(files: &[PathBuf]) -> Result<String> {
    let mut stamps = String::new();
    for path in files {
        let found = fs::metadata(path).context(path.display())?;
        write!(stamps, " {} {} {} {}", file_name(path), found.len(), found.mtime(), found.mtime_nsec())
            .context("a text")?;
    }
    Ok(stamps)
}

/// What a directory holds.
pub fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).context(dir.display())?;
    entries.map(|entry| entry.map(|entry| entry.path()).context(dir.display())).collect()
}

/// The last part of a path; empty where it has none. What is no UTF-8 is replaced.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// FNV-1a: the same in every build, for names of files.
pub fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

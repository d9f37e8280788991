//! A data directory that initdb has made, on disk, from which each cluster is copied. Several processes may be at it.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::Server;
use crate::error::{Context, Result};
use crate::process::check;

const INITDB: [&str; 8] = ["-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"];

impl Server {
    /// A fresh data directory at `to`.
    ///
    /// # Errors
    /// What initdb or cp say.
    pub fn copy_template(&self, to: &Path) -> Result<()> {
        let template =
            self.run_dir.join(format!("template-{}-{:016x}", self.major, fnv(&self.template_key()?)));
        let lock = self.run_dir.join(format!("template-{}.lock", self.major));
        let lock = File::options().create(true).append(true).open(&lock).context(lock.display())?;
        lock.lock_shared().context("the template's lock")?;
        if !template.join("data").exists() {
            // A shared lock cannot grow: another process may come first.
            lock.unlock().context("the template's lock")?;
            lock.lock().context("the template's lock")?;
            if !template.join("data").exists() {
                self.make_template(&template)?;
            }
        }
        check(Command::new("cp").arg("-a").arg("--reflink=auto").arg(template.join("data")).arg(to), "cp")
            .map(drop)
    }

    /// What a template depends on: the programs, how they are called, and whom the files belong to.
    fn template_key(&self) -> Result<String> {
        let mut key =
            format!("{} {:?}", INITDB.join(" "), self.run_as.as_ref().map(|user| (user.uid, user.gid)));
        for program in ["initdb", "postgres"] {
            let path = self.bin.join(program);
            let found = fs::metadata(&path).context(path.display())?;
            write!(key, " {program} {} {} {}", found.len(), found.mtime(), found.mtime_nsec())
                .context("a text")?;
        }
        Ok(key)
    }

    /// Made aside and renamed, so that a killed process leaves no half of one. Older ones of this major go: while the
    /// lock is held, no process copies them.
    fn make_template(&self, template: &Path) -> Result<()> {
        let name = format!("template-{}-", self.major);
        for old in entries(&self.run_dir)?.into_iter().filter(|path| file_name(path).starts_with(&name)) {
            fs::remove_dir_all(&old).context(old.display())?;
        }
        let aside = template.with_extension("new");
        self.make_dir(&aside)?;
        check(self.command("initdb").arg("-D").arg(aside.join("data")).args(INITDB), "initdb")?;
        fs::rename(&aside, template).context(template.display())
    }
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

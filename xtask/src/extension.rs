//! Builds the extension, and puts it into a private copy of the Postgres installation or into the real one.
//!
//! Postgres finds share/ and lib/ relative to its own binary, when that stands in a tree of the same shape. So the copy holds
//! the binaries, at the path they have in the system, and links to all the rest. The system's directories are never written
//! but by [`install`].

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Result};
use crate::postgres::template::{entries, file_name};
use crate::process::check;
use crate::project::{Project, link, show, tree_name};
use crate::terminal::{put, say};
use crate::watch::watched;

const OURS: &str = "leadlex_enrich";

/// A development or a release build in [`Project::tree`].
///
/// # Errors
/// Where it does not build.
pub fn build(project: &Project, release: bool) -> Result<()> {
    let _lock = project.only_one("build")?;
    let out = package(project, release)?;
    let tree = project.tree(release);
    let [bin, share, lib] = ["--bindir", "--sharedir", "--pkglibdir"].map(|option| project.pg_config(option));
    let places = Places { tree: tree.clone(), bin: bin?, share: share?, lib: lib? };
    places.make(&project.pg_config("--version")?)?;
    places.install(&out)?;
    let shown = project.target.join(tree_name(project.major, release));
    if shown != tree { show(&tree, &shown) } else { Ok(()) }
}

/// Returns a directory with the files, each at the path that it has in the system.
fn package(project: &Project, release: bool) -> Result<PathBuf> {
    let profile = if release { "release" } else { "dev" };
    let out = project.target.join("package").join(tree_name(project.major, release));
    if out.exists() {
        fs::remove_dir_all(&out).context(out.display())?;
    }
    let mut pgrx = Command::new(&project.cargo_pgrx);
    pgrx.current_dir(&project.root).args(["pgrx", "package"]);
    if !release {
        // With what tests look at; no release has it.
        pgrx.args(["--debug", "--features", "session_state"]);
    }
    pgrx.arg("--pg-config").arg(&project.pg_config).arg("--out-dir").arg(&out).args(project.features());
    project.mark(&mut pgrx);
    let title = format!("building the extension for PostgreSQL {} ({profile})", project.major);
    watched(&title, pgrx, &project.log_dir().join(format!("build-{profile}.log")))?;
    Ok(out)
}

struct Places {
    tree: PathBuf,
    bin: String,
    share: String,
    lib: String,
}

impl Places {
    /// Where a path of the system stands in the tree.
    fn inside(&self, path: &str) -> PathBuf {
        self.tree.join(path.trim_start_matches('/'))
    }

    fn make(&self, version: &str) -> Result<()> {
        let changed = |path: &str| fs::metadata(path).map_or(0, |found| found.mtime());
        let watched =
            [format!("{}/postgres", self.bin), format!("{}/extension", self.share), self.lib.clone()];
        let stamp = format!("{version} {:?}\n", watched.map(|path| (changed(&path), path)));
        let made_from = self.tree.join(".made-from");
        if fs::read_to_string(&made_from).is_ok_and(|found| found == stamp) {
            return Ok(());
        }
        let bin = self.inside(&self.bin);
        fs::create_dir_all(&bin).context(bin.display())?;
        let mut cp = Command::new("cp");
        // Their age is part of what a template of clusters depends on.
        cp.args(["-L", "--preserve=timestamps", "--remove-destination"])
            .args(entries(Path::new(&self.bin))?)
            .arg(&bin);
        check(&mut cp, "cp")?;
        self.link_all(&self.share, Some("extension"))?;
        self.link_all(&format!("{}/extension", self.share), None)?;
        self.link_all(&self.lib, None)?;
        link(Path::new(&format!(".{}", self.bin)), &self.tree.join("bin"))?;
        fs::write(&made_from, stamp).context(made_from.display())
    }

    /// Links to everything in a directory but what is ours (a `make install` may have put one there).
    fn link_all(&self, from: &str, without: Option<&str>) -> Result<()> {
        let to = self.inside(from);
        fs::create_dir_all(&to).context(to.display())?;
        for entry in entries(Path::new(from))? {
            let name = file_name(&entry);
            if !name.starts_with(OURS) && without != Some(&name) {
                link(&entry, &to.join(name))?;
            }
        }
        Ok(())
    }

    /// By rename, and only what changed: a server that runs from this tree keeps the library it has mapped.
    fn install(&self, out: &Path) -> Result<()> {
        let extension = self.inside(&format!("{}/extension", self.share));
        for file in entries(&extension)? {
            let packaged = out.join(file.strip_prefix(&self.tree).context(file.display())?);
            if file_name(&file).starts_with(OURS) && !packaged.exists() {
                fs::remove_file(&file).context(file.display())?;
            }
        }
        for file in files_below(out)? {
            let to = self.tree.join(file.strip_prefix(out).context(file.display())?);
            if same(&file, &to) {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(&self.tree)).context(to.display())?;
            let new = PathBuf::from(format!("{}.new", to.display()));
            fs::copy(&file, &new).context(new.display())?;
            make_readable(&new)?;
            fs::rename(&new, &to).context(to.display())?;
        }
        Ok(())
    }
}

fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).is_ok_and(|one| fs::read(other).is_ok_and(|other| one == other))
}

fn make_readable(path: &Path) -> Result<()> {
    let mode = fs::metadata(path).context(path.display())?.permissions().mode();
    fs::set_permissions(path, Permissions::from_mode(mode | 0o444)).context(path.display())
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        let (more, found): (Vec<_>, Vec<_>) = entries(&dir)?.into_iter().partition(|path| path.is_dir());
        dirs.extend(more);
        files.extend(found);
    }
    Ok(files)
}

/// A release build, installed into the Postgres that PG_CONFIG belongs to.
///
/// # Errors
/// Where it does not build, or the Postgres cannot be written to.
pub fn install(project: &Project) -> Result<()> {
    let (share, lib) = (project.pg_config("--sharedir")?, project.pg_config("--pkglibdir")?);
    let share = Path::new(&share).join("extension");
    for dir in [&share, Path::new(&lib)] {
        if !Command::new("test").arg("-w").arg(dir).status().context("test")?.success() {
            let config = project.pg_config.display();
            let dir = dir.display();
            return Err(format!(
                "cannot write {dir}: run as a user who can, such as root: make install PG_CONFIG={config}"
            ));
        }
    }
    let mut pgrx = Command::new(&project.cargo_pgrx);
    pgrx.current_dir(&project.root).args(["pgrx", "install", "--release", "--pg-config"]);
    pgrx.arg(&project.pg_config).args(project.features());
    project.mark(&mut pgrx);
    let title = format!("building and installing a release build into PostgreSQL {} ({lib})", project.major);
    watched(&title, pgrx, &project.log_dir().join("install.log"))?;
    for file in entries(&share)?.iter().filter(|file| file_name(file).starts_with(OURS)) {
        make_readable(file)?;
    }
    make_readable(&Path::new(&lib).join(format!("{OURS}.so")))?;
    put("\nInstalled. Two steps are left:
  1. in postgresql.conf:  shared_preload_libraries = 'leadlex_enrich'    (keep others, separated by commas), and restart
  2. in the database:     CREATE EXTENSION leadlex_enrich;\n");
    Ok(())
}

/// Removes target/ and, where clusters had to live elsewhere, that place.
///
/// # Errors
/// Where something cannot be removed.
pub fn clean(target: &Path) -> Result<()> {
    if let Ok(run) = fs::read_link(target.join("run"))
        && let Some(base) = run.parent()
    {
        fs::remove_dir_all(base).context(base.display())?;
    }
    say("removing target/");
    fs::remove_dir_all(target).context(target.display())
}

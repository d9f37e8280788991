//! The script that updates a released version to this one, see docs/internals/releasing.md. No Postgres is needed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Context, Result};
use crate::project::{root, target};
use crate::terminal::say;
use crate::update_script::{SqlFile, read_files, update_script};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const USAGE: &str = "usage: make update-script FROM=<released version> DELTA=<file that changes its tables>";

/// Writes sql/leadlex_enrich--FROM--….sql. The old files are those of the tag vFROM.
///
/// # Errors
/// Where there is no such tag or file, or the script cannot be made.
pub fn write_update_script(arguments: &[String]) -> Result<()> {
    let [from, delta] = arguments else { return Err(USAGE.to_owned()) };
    if from.is_empty() || !Path::new(delta).is_file() {
        return Err(USAGE.to_owned());
    }
    let released = target().join(format!("released-{from}-{}", std::process::id()));
    fs::create_dir_all(&released).context(released.display())?;
    let script = script(from, &released, delta);
    fs::remove_dir_all(&released).context(released.display())?;
    let name = format!("sql/leadlex_enrich--{from}--{VERSION}.sql");
    let path = root().join(&name);
    fs::write(&path, script?).context(path.display())?;
    say(&format!("made {name}"));
    Ok(())
}

fn script(from: &str, released: &Path, delta: &str) -> Result<String> {
    let mut archive = Command::new("git");
    archive
        .arg("-C")
        .arg(root())
        .args(["archive", &format!("v{from}"), "sql"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut archive = archive.spawn().context("git")?;
    let output = archive.stdout.take().ok_or("git has no output")?;
    let unpacked =
        Command::new("tar").args(["-x", "-C"]).arg(released).stdin(output).status().context("tar")?;
    if !archive.wait().context("git")?.success() || !unpacked.success() {
        return Err(format!("no tag v{from} in this clone"));
    }
    let new = read_files(&root().join("sql"))?;
    let text = fs::read_to_string(delta).context(delta)?;
    let delta = SqlFile { name: delta.to_owned(), text };
    update_script(from, VERSION, &read_files(&released.join("sql"))?, &new, &delta)
}

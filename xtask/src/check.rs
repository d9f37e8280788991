//! rustfmt and clippy; warnings are errors.

use crate::error::Result;
use crate::process::check;
use crate::project::Project;
use crate::terminal::put;
use crate::watch::watched;

/// # Errors
/// Where a file is not formatted; the difference has been shown.
pub fn format(project: &Project) -> Result<()> {
    component(project, "fmt")?;
    let output = project
        .cargo(&["fmt", "--all", "--check"])
        .output()
        .map_err(|error| format!("cargo fmt: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    put(&String::from_utf8_lossy(&output.stdout));
    put(&String::from_utf8_lossy(&output.stderr));
    Err("the format is another: run 'cargo fmt --all'".to_owned())
}

/// # Errors
/// Where clippy finds something; it has been shown.
pub fn clippy(project: &Project) -> Result<()> {
    component(project, "clippy")?;
    let mut cargo = project.cargo(&["clippy", "--workspace", "--all-targets"]);
    cargo.args(project.features()).args(["--features", "session_state", "--", "-D", "warnings"]);
    watched("checking with clippy", cargo, &project.log_dir().join("clippy.log")).map(drop)
}

fn component(project: &Project, name: &str) -> Result<()> {
    check(&mut project.cargo(&[name, "--version"]), name).map(drop).map_err(|_| {
        format!("cargo {name} is missing in this toolchain: run 'rustup component add rustfmt clippy'")
    })
}

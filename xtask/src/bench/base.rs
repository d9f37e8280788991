//! make bench BASE=<commit>: builds that commit.

use std::fs;
use std::process::Command;

use crate::error::{Context, Result};
use crate::postgres::Server;
use crate::process::{check, text_of};
use crate::project::{Project, link, tree_name};
use crate::watch::watched;

/// The commit to compare with.
pub struct Base {
    /// As it was given, such as a branch or the beginning of a number.
    pub commit: String,
    /// A Postgres with a release build of it.
    pub server: Server,
}

impl Base {
    /// Builds it in a clone under target/base/. An error where there is no such commit, or it does not build.
    pub fn build(project: &Project, commit: &str) -> Result<Base> {
        Ok(Base { commit: commit.to_owned(), server: build(project, commit)? })
    }
}

fn build(project: &Project, commit: &str) -> Result<Server> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(&project.root).args(arguments);
        git
    };
    let verified = text_of(&mut git(&["rev-parse", "--verify", &format!("{commit}^{{commit}}")]), "git");
    let id = verified
        .map_err(|error| format!("BASE={commit}: no such commit in this clone: {}", error.trim_end()))?;
    let clone = project.target.join("base").join(&id);
    if !clone.join(".git").exists() {
        let _ = fs::remove_dir_all(&clone);
        check(
            git(&["clone", "-q", "--shared", "--no-checkout"]).arg(&project.root).arg(&clone),
            "git clone",
        )?;
        check(
            Command::new("git").arg("-C").arg(&clone).args(["checkout", "-q", "--detach", &id]),
            "git checkout",
        )?;
    }
    fs::create_dir_all(clone.join("target")).context(clone.display())?;
    let tools = project.target.join("tools");
    if tools.exists() && !clone.join("target/tools").exists() {
        link(&tools, &clone.join("target/tools"))?;
    }
    // Earlier commits have a script for it.
    let lib = clone.join("tests/lib");
    let earlier = lib.join("build.sh").exists();
    let mut build = Command::new(lib.join(if earlier { "build.sh" } else { "xtask" }));
    build.args((!earlier).then_some("build"));
    build.arg("release").current_dir(&clone).env("PG_CONFIG", &project.pg_config);
    for ours in ["LEADLEX_PREPARED", "LEADLEX_ROOT", "CARGO_TARGET_DIR", "PGRX_HOME", "CARGO_PGRX", "MAJOR"] {
        build.env_remove(ours);
    }
    let title = format!("building {}, to compare with", &id[..7]);
    watched(&title, build, &project.log_dir().join("build-base.log"))?;
    let tree = clone.join("target").join(tree_name(project.major, true)).join("bin");
    Server::at(project.major, fs::canonicalize(&tree).context(tree.display())?, &project.run_dir())
}

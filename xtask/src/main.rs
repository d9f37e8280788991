//! cargo xtask COMMAND: what the Makefile calls.
#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use xtask::error::Result;
use xtask::project::{Project, root, target};
use xtask::suites::Choice;
use xtask::terminal::put;
use xtask::{bench, check, demo, extension, release, suites};

const USAGE: &str = "usage: cargo xtask COMMAND

  test [SUITE…] [-- WORD…]    suites: format clippy unit regress isolation cluster; of each the tests whose name contains a word
  check                       rustfmt and clippy
  build [release]             into a private copy of Postgres under target/
  install                     a release build into the Postgres of PG_CONFIG
  demo, demo-stop
  bench                       QUICK=1, BASE=<commit>, ONLY=\"PART…\" in the environment; the parts are calls, memory, paused,
                              neighbours, size, many, compare
  update-script FROM DELTA    see docs/internals/releasing.md
  clean                       remove target/
";

/// `true`: success.
fn run(command: &str, arguments: &[String]) -> Result<bool> {
    match command {
        "test" => {
            let choice = Choice::parse(arguments)?;
            return Ok(suites::test(&Project::open(command)?, choice));
        }
        "update-script" => release::write_update_script(arguments)?,
        "clean" => extension::clean(&target())?,
        "check" => {
            let project = Project::open(command)?;
            check::format(&project)?;
            check::clippy(&project)?;
        }
        "build" => match arguments {
            [] => extension::build(&Project::open(command)?, false)?,
            [release] if release == "release" => extension::build(&Project::open(command)?, true)?,
            _ => return Err(USAGE.to_owned()),
        },
        "bench" => bench::bench(&Project::open(command)?)?,
        "demo" => demo::demo(&Project::open(command)?)?,
        "demo-stop" => demo::demo_stop()?,
        "help" => put(USAGE),
        "install" => extension::install(&Project::open(command)?)?,
        _ => return Err(USAGE.to_owned()),
    }
    Ok(true)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Packages, Rust and Postgres are found by bash, before there is a cargo.
    if std::env::var_os("LEADLEX_PREPARED").is_none() {
        // Cargo's alias says where.
        let given = std::env::var_os("CARGO_MANIFEST_DIR").map(|dir| Path::new(&dir).join(".."));
        let root = given.unwrap_or_else(|| root().to_owned());
        let error = Command::new(root.join("tests/lib/xtask")).args(&arguments).exec();
        eprintln!("error: tests/lib/xtask: {error}");
        return ExitCode::FAILURE;
    }
    let (command, arguments) = arguments.split_first().map_or(("help", &[][..]), |(name, rest)| (name, rest));
    match run(command, arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The Postgres installation under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

pub use xtask::postgres::Server;

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

/// Where `make build` has put things.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let tree =
            std::env::var_os("LEADLEX_PG_TREE").map_or(target().join(format!("pg-{MAJOR}")), PathBuf::from);
        let bin = fs::canonicalize(tree.join("bin"))
            .unwrap_or_else(|error| panic!("{}: {error}; run `make build` first", tree.display()));
        at(MAJOR, bin)
    })
}

/// The newest older major version that has been built here, too, for pg_upgrade.
pub fn older_server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let find = || {
        (15..MAJOR).rev().find_map(|major| {
            let bin = fs::canonicalize(target().join(format!("pg-{major}/bin"))).ok()?;
            bin.join("postgres").exists().then(|| at(major, bin))
        })
    };
    SERVER.get_or_init(find).as_ref()
}

fn target() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target"))
}

fn at(major: u32, bin: PathBuf) -> Server {
    let run_dir = std::env::var_os("LEADLEX_RUN_DIR").map_or(target().join("run"), PathBuf::from);
    Server::at(major, bin, &run_dir).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs to the end, and panics with what was said when that was no success.
pub fn check(command: &mut Command, what: &str) -> Output {
    xtask::process::check(command, what).unwrap_or_else(|error| panic!("{error}"))
}

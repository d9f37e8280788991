//! Writes the script that updates the schema of a released version to the current one to standard output.
//!
//! ```text
//! update_script VERSION FOLDER DELTA
//! ```
//! VERSION: the one that was released. FOLDER: its `sql/`. DELTA: what changes its tables. No Postgres is needed.

#[path = "mod.rs"]
mod update_script;

use std::path::Path;
use std::process::ExitCode;

use update_script::{SqlFile, read_files};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn run(arguments: &[String]) -> Result<String, String> {
    let [from, folder, delta] = arguments else {
        return Err("usage: update_script VERSION FOLDER DELTA".to_owned());
    };
    let text = std::fs::read_to_string(delta).map_err(|error| format!("{delta}: {error}"))?;
    let new = read_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql"))?;
    let delta = SqlFile { name: delta.clone(), text };
    update_script::update_script(from, VERSION, &read_files(Path::new(folder))?, &new, &delta)
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(script) => {
            print!("{script}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

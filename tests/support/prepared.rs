//! What most tests begin with, made once: a data directory with a database that has the extension, a table and a role.
//!
//! A database that is copied knows that it is a clone. A copy of the whole directory is not one: the system identifier, the
//! database and the extension are those that the extension has written down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use postgres::Client;
use xtask::error::{Context, Result};
use xtask::postgres::Cluster;
use xtask::postgres::template::{Template, entries, file_name, stamps};
use xtask::process::{check, text_of};

use super::cluster::SETTINGS;
use super::server::server;

/// The database that has the extension.
pub const DATABASE: &str = "app";

/// Each cluster is a copy, and little is written to most: segments of the log have 1 MB in place of 16 MB. template0 is as
/// large as any database.
const INITDB: [&str; 1] = ["--wal-segsize=1"];
const IN_POSTGRES: [&str; 3] =
    ["ALTER DATABASE template0 IS_TEMPLATE false", "DROP DATABASE template0", "CREATE DATABASE app"];
const IN_DATABASE: [&str; 4] = [
    "CREATE EXTENSION leadlex_enrich",
    "CREATE ROLE caller LOGIN",
    "CREATE TABLE crm (id uuid PRIMARY KEY, full_name text, email text, job_title text, company_name text,
                       linkedin_url text, phone text, location text, seniority text, note text)",
    "GRANT SELECT, UPDATE ON crm TO caller",
];
/// initdb writes limits that go by the segments' size: these are Postgres' own.
const OF_INITDB: [&str; 2] = ["max_wal_size = '1GB'", "min_wal_size = '16MB'"];
/// Nothing but these statements is at work while it is made, and segments of the log that are over are removed at its end.
const MAKING: [&str; 4] = ["fsync = off", "autovacuum = off", "min_wal_size = '2MB'", "wal_recycle = off"];
/// Maps of free space and of visibility, a fifth of all files: the server makes those anew that are not there.
const MAPS: [&str; 2] = ["_fsm", "_vm"];

/// A cluster that is a copy of it, not started.
///
/// # Errors
/// Where it cannot be made.
pub fn copy(name: &str) -> Result<Cluster> {
    let template = Template { name: "prepared", key: key()?, make: &make };
    Cluster::copy_of(server(), &template, name, &SETTINGS)
}

/// The same in a running cluster that is no copy of it.
pub fn fill(cluster: &super::Cluster) -> Client {
    cluster.connect("postgres").batch_execute(&format!("CREATE DATABASE {DATABASE}")).expect("a new name");
    let mut client = cluster.connect(DATABASE);
    for statement in IN_DATABASE {
        client.batch_execute(statement).expect("an empty database");
    }
    client
}

/// What is written here, and the files of the extension; no test changes these.
fn key() -> Result<String> {
    static KEY: OnceLock<Result<String>> = OnceLock::new();
    let find = || {
        let places = text_of(server().command("pg_config").args(["--sharedir", "--pkglibdir"]), "pg_config")?;
        let (share, libraries) = places.split_once('\n').ok_or("pg_config does not say where files are")?;
        let mut files: Vec<PathBuf> = entries(&Path::new(share).join("extension"))?;
        files.retain(|file| file_name(file).starts_with("leadlex_enrich"));
        files.sort();
        files.push(Path::new(libraries).join("leadlex_enrich.so"));
        let written = format!("{INITDB:?} {OF_INITDB:?} {MAKING:?} {MAPS:?} {IN_POSTGRES:?} {IN_DATABASE:?}");
        Ok(format!("{written}{}", stamps(&files)?))
    };
    KEY.get_or_init(find).clone()
}

fn make(cluster: &Cluster) -> Result<()> {
    server().initdb(&cluster.data(), &INITDB)?;
    cluster.append_conf(&OF_INITDB)?;
    let path = cluster.data().join("postgresql.conf");
    let conf = fs::read(&path).context(path.display())?;
    cluster.append_conf(&["shared_preload_libraries = 'leadlex_enrich'"])?;
    cluster.append_conf(&MAKING)?;
    cluster.append_conf(&cluster.place())?;
    let mut postgres = cluster.start(server().command("postgres"))?;
    let made = psql(cluster, "postgres", &IN_POSTGRES).and_then(|()| psql(cluster, DATABASE, &IN_DATABASE));
    let stopped = xtask::postgres::cluster::stop(&cluster.dir);
    postgres.wait().context("postgres")?;
    made?;
    stopped?;
    remove_maps(&cluster.data())?;
    fs::write(&path, conf).context(path.display())
}

fn remove_maps(data: &Path) -> Result<()> {
    let mut dirs = entries(&data.join("base"))?;
    dirs.push(data.join("global"));
    for dir in dirs {
        let mut files = entries(&dir)?;
        files.retain(|file| MAPS.iter().any(|map| file_name(file).ends_with(map)));
        for file in files {
            fs::remove_file(&file).context(file.display())?;
        }
    }
    Ok(())
}

fn psql(cluster: &Cluster, database: &str, statements: &[&str]) -> Result<()> {
    let mut psql: Command = cluster.client("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]);
    for statement in statements {
        psql.args(["-c", statement]);
    }
    check(&mut psql, "psql").map(drop)
}

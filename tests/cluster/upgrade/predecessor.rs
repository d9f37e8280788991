//! Version 0.2.9, which never was: the current files with changes on purpose, in a copy of the installation of its own, and
//! the script that updates it, made as releases make theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use postgres::Client;

use super::VERSION;
use crate::support::{Cluster, Server, check, server};
use xtask::update_script::{SqlFile, read_files, update_script};

pub const OLD: &str = "0.2.9";

/// An installation of Postgres that has version 0.2.9, too; gone at the end.
pub struct Predecessor {
    dir: PathBuf,
    pub server: &'static Server,
}

impl Predecessor {
    pub fn new() -> Predecessor {
        let predecessor = Predecessor::of(OLD, &old_files());
        predecessor.add(&format!("leadlex_enrich--{OLD}--{VERSION}.sql"), &script());
        predecessor
    }

    /// Of this version, which these files make.
    pub fn of(version: &str, files: &[SqlFile]) -> Predecessor {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let tree =
            server().bin.ancestors().find(|dir| dir.join("usr").is_dir()).expect("`make build` made it");
        // On the file system of the installation: clusters may be on another.
        let dir = tree.with_file_name("run").join(format!("predecessor-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        // Links: what is not written again is the same file.
        check(Command::new("cp").args(["-a", "--link"]).arg(tree).arg(&dir), "cp");
        let bin = dir.join(server().bin.strip_prefix(tree).expect("it is in the tree"));
        let predecessor = Predecessor { dir, server: Box::leak(Box::new(server().elsewhere(bin))) };
        let install: String = files.iter().map(|file| file.text.as_str()).collect::<Vec<_>>().join("\n");
        predecessor.add(&format!("leadlex_enrich--{version}.sql"), &install);
        predecessor
    }

    /// Another file in its extension directory.
    pub fn add(&self, name: &str, text: &str) {
        let shared = check(self.server.command("pg_config").arg("--sharedir"), "pg_config").stdout;
        let path = Path::new(std::str::from_utf8(&shared).unwrap().trim()).join("extension").join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    pub fn cluster(&self, conf: &[&str]) -> Cluster {
        let cluster = Cluster::create_of(self.server, conf);
        cluster.start_again();
        cluster
    }
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A database with the schema of version 0.2.9.
pub fn old_database(cluster: &Cluster, name: &str) -> Client {
    database_of(cluster, name, OLD)
}

pub fn database_of(cluster: &Cluster, name: &str, version: &str) -> Client {
    cluster.connect("postgres").batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
    let mut client = cluster.connect(name);
    client.batch_execute(&format!("CREATE EXTENSION leadlex_enrich VERSION '{version}'")).unwrap();
    client
}

pub fn current_files() -> Vec<SqlFile> {
    read_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql")).unwrap()
}

pub fn script() -> String {
    update_script(OLD, VERSION, &old_files(), &current_files(), &delta()).unwrap()
}

/// From the line that begins so to the end of the statement, and the line's end.
fn statement<'a>(text: &'a str, begin: &str) -> &'a str {
    let start = text.find(begin).unwrap_or_else(|| panic!("no {begin}"));
    let length = text[start..].find(";\n").expect("it ends") + 2;
    &text[start..start + length]
}

const CHECK: &str = " CHECK (per_day OPERATOR(pg_catalog.>=) 0)";
const INDEX: &str = "CREATE INDEX enrichment_contact ";
const PERSON_INDEX: &str = "CREATE INDEX idempotency_person ";
const TABLE: &str = "CREATE TABLE leadlex.shared_value ";
const ITS_INDEX: &str = "CREATE INDEX shared_value_looked_for ";
const DUMPED: &str = "SELECT pg_catalog.pg_extension_config_dump('leadlex.shared_value'";

/// Of tables, beside 10_tables.sql.
fn is_of_more_tables(file: &SqlFile) -> bool {
    file.name.starts_with('1') && file.name != "10_tables.sql"
}

/// The tables of a file become the last that are dumped.
fn dumped_last(text: &str) -> String {
    let again = |line: &str| {
        let table = line.strip_prefix("SELECT pg_catalog.pg_extension_config_dump('")?.split('\'').next()?;
        Some(format!(
            "ALTER EXTENSION leadlex_enrich DROP TABLE {table};\nALTER EXTENSION leadlex_enrich ADD TABLE {table};\n{line}\n"
        ))
    };
    text.lines().filter_map(again).collect()
}

/// What a maintainer writes by hand: one table, column, constraint and index each.
pub fn delta() -> SqlFile {
    let files = current_files();
    let tables = &files.iter().find(|file| file.name == "10_tables.sql").unwrap().text;
    let text = format!(
        "ALTER TABLE leadlex.idempotency ADD COLUMN person uuid;
         ALTER TABLE leadlex.workspace ADD{CHECK};
         {}{}{}{}{}",
        statement(tables, PERSON_INDEX),
        statement(tables, INDEX),
        statement(tables, TABLE),
        statement(tables, ITS_INDEX),
        statement(tables, DUMPED)
    );
    // Tables of later files come after it, also in the order in which they are dumped.
    let text = files
        .iter()
        .filter(|file| is_of_more_tables(file))
        .fold(text, |text, file| text + &dumped_last(&file.text));
    SqlFile { name: "delta.sql".to_owned(), text }
}

/// The current files, changed.
struct Files(Vec<SqlFile>);

impl Files {
    fn file(&mut self, name: &str) -> &mut String {
        let file = self.0.iter_mut().find(|file| file.name.ends_with(name));
        &mut file.unwrap_or_else(|| panic!("no {name}")).text
    }

    fn replace(&mut self, name: &str, now: &str, then: &str) {
        let text = self.file(name);
        assert!(text.contains(now), "{name} has no {now}");
        *text = text.replace(now, then);
    }

    fn remove(&mut self, name: &str, begin: &str) {
        let text = self.file(name);
        let gone = statement(text, begin).to_owned();
        *text = text.replacen(&gone, "", 1);
    }
}

pub fn old_files() -> Vec<SqlFile> {
    let mut files = Files(current_files());
    files.replace("00_library.sql", &format!("'{VERSION}'"), &format!("'{OLD}'"));
    old_tables(&mut files);
    old_functions(&mut files);
    old_views(&mut files);
    files.0
}

fn old_tables(files: &mut Files) {
    let tables = "10_tables.sql";
    files.replace(
        tables,
        "    person       uuid,\n    PRIMARY KEY (workspace_id, key)",
        "    PRIMARY KEY (workspace_id, key)",
    );
    files.remove(tables, "COMMENT ON COLUMN leadlex.idempotency.person");
    files.remove(tables, PERSON_INDEX);
    files.replace(tables, CHECK, "");
    files.remove(tables, INDEX);
    files.remove(tables, TABLE);
    files.remove(tables, ITS_INDEX);
    files.remove(tables, DUMPED);
    while files.file(tables).contains("\nCOMMENT ON COLUMN leadlex.shared_value.") {
        files.remove(tables, "COMMENT ON COLUMN leadlex.shared_value.");
    }
    files.remove(tables, "COMMENT ON TABLE leadlex.shared_value");
}

fn old_functions(files: &mut Files) {
    let functions = "21_functions.sql";
    // Another body and other attributes, without the table that comes.
    files.replace(
        functions,
        "    DELETE FROM leadlex.shared_value AS v WHERE v.provider_id OPERATOR(pg_catalog.=) OLD.id;\n",
        "",
    );
    files.replace(
        functions,
        "    DELETE FROM leadlex.shared_value AS v WHERE v.workspace_id OPERATOR(pg_catalog.=) OLD.id;\n",
        "",
    );
    files.replace(
        functions,
        "CREATE FUNCTION leadlex.provider_gone() RETURNS trigger\nLANGUAGE plpgsql SET search_path = pg_catalog, pg_temp",
        "CREATE FUNCTION leadlex.provider_gone() RETURNS trigger\nLANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '1MB'",
    );
    // Other arguments. What is written in C must not look for one that is not there.
    files.replace(functions, "leadlex.pause_queue() RETURNS", "leadlex.pause_queue(why text) RETURNS");
    files.replace(functions, "FUNCTION leadlex.pause_queue() ", "FUNCTION leadlex.pause_queue(text) ");
    // Another result, of a function that a view reads.
    files.replace(functions, ", questions_unshared bigint, put_off bigint)", ", questions_unshared bigint)");
    // Another name of an argument; a default more.
    files.replace(functions, "leadlex.drop_provider(name text)", "leadlex.drop_provider(provider text)");
    files.replace(
        functions,
        "leadlex.recheck(\n    provider text,\n    since timestamptz\n)",
        "leadlex.recheck(\n    provider text,\n    since timestamptz DEFAULT NULL\n)",
    );
    files.replace(
        functions,
        "    name text,\n    enabled boolean\n)",
        "    name text,\n    enabled boolean DEFAULT true\n)",
    );
    // Other privileges, and a comment less.
    files.replace(
        functions,
        "REVOKE ALL ON FUNCTION leadlex.resume_queue() FROM PUBLIC;",
        "GRANT EXECUTE ON FUNCTION leadlex.resume_queue() TO PUBLIC;",
    );
    files.remove(functions, "COMMENT ON FUNCTION leadlex.whoami()");
    // New since.
    files.remove(functions, "CREATE FUNCTION leadlex.allow_shared_value(");
    files.remove(functions, "COMMENT ON FUNCTION leadlex.allow_shared_value(");
    files.remove(functions, "REVOKE ALL ON FUNCTION leadlex.allow_shared_value(");
    files.remove(
        functions,
        "CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON leadlex.queue_pause",
    );
    files.remove(functions, "CREATE TRIGGER rows_added AFTER INSERT OR UPDATE ON leadlex.shared_value");
    let replicas = "27_replicas.sql";
    files.remove(replicas, "ALTER TABLE leadlex.queue_pause ENABLE ALWAYS");
    files.remove(replicas, "ALTER TABLE leadlex.shared_value ENABLE ALWAYS");
    files.remove(replicas, "CREATE TRIGGER replicated AFTER INSERT OR UPDATE OR DELETE ON leadlex.access");
    files.remove(replicas, "ALTER TABLE leadlex.access ENABLE ALWAYS");
    // Gone since.
    files.file(functions).push_str(
        "CREATE FUNCTION leadlex.of_old(name text) RETURNS text LANGUAGE c AS 'MODULE_PATHNAME', 'secret_given_wrapper';
         CREATE VIEW leadlex.old_view AS SELECT leadlex.of_old('a') AS of_old;
         CREATE TRIGGER of_old AFTER INSERT ON leadlex.home FOR EACH STATEMENT EXECUTE FUNCTION leadlex.config_changed();
         CREATE POLICY of_old ON leadlex.enrichment FOR SELECT USING (leadlex.of_old('a') IS NULL);
         GRANT SELECT ON leadlex.old_view TO PUBLIC;\n",
    );
}

fn old_views(files: &mut Files) {
    let views = "30_views.sql";
    files.replace(views, ", w.questions_unshared, w.put_off\n", ", w.questions_unshared\n");
    files.remove(views, "COMMENT ON COLUMN leadlex.worker_status.put_off");
    files.replace(
        views,
        "CREATE VIEW leadlex.credit_ledger WITH (security_invoker = true)",
        "CREATE VIEW leadlex.credit_ledger WITH (security_barrier = true)",
    );
    files.replace(
        views,
        "s.created_at FROM leadlex.credit_settled AS s",
        "s.created_at FROM leadlex.credit_settled AS s WHERE s.amount OPERATOR(pg_catalog.<>) 0",
    );
    files.replace(
        views,
        "leadlex.usage_daily, leadlex.shared_value TO PUBLIC",
        "leadlex.usage_daily TO PUBLIC",
    );
    files.replace(views, ", leadlex.shared_value, leadlex.progress", ", leadlex.progress");
    files.remove(views, "ALTER TABLE leadlex.shared_value ENABLE");
    files.remove(views, "CREATE POLICY own_workspace ON leadlex.shared_value");
    files.remove(views, "CREATE POLICY granted ON leadlex.shared_value");
    files.remove(views, "CREATE POLICY granted ON leadlex.enrichment");
    // A view that is new.
    files.remove(views, "CREATE VIEW leadlex.enriched ");
    files.replace(views, "leadlex.worker_status, leadlex.enriched, ", "leadlex.worker_status, ");
    files.replace(views, "leadlex.provider, leadlex.enriched, ", "leadlex.provider, ");
    while files.file(views).contains("\nCOMMENT ON COLUMN leadlex.enriched.") {
        files.remove(views, "COMMENT ON COLUMN leadlex.enriched.");
    }
    files.remove(views, "COMMENT ON VIEW leadlex.enriched");
}

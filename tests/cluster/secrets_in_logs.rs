//! A provider's secret is in no log that is not one of the user's own statement.

use std::path::Path;

use crate::support::{Cluster, Stop, server};

/// What the vendor gave.
const SECRET: &str = "logged-nowhere-0815";
/// And after that.
const NEXT: &str = "logged-nowhere-4711";

/// With all that Postgres and its usual extensions log of the statements inside functions. Debian has no pgaudit for a major
/// version that is very new.
fn start() -> (Cluster, bool) {
    let output = server().command("pg_config").arg("--pkglibdir").output().expect("pg_config is there");
    let libdir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let audits = Path::new(&libdir).join("pgaudit.so").exists();
    let libraries =
        if audits { "leadlex_enrich, pgaudit, auto_explain" } else { "leadlex_enrich, auto_explain" };
    let cluster = Cluster::start_with(&[
        &format!("shared_preload_libraries = '{libraries}'"),
        "pgaudit.log_parameter = on",
        "pgaudit.log_client = off",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_nested_statements = on",
        "auto_explain.log_analyze = on",
    ]);
    cluster.database("app");
    (cluster, audits)
}

fn logged(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(SECRET) || line.contains(NEXT)).collect()
}

/// The statement that stores it is seen, but not the secret.
fn none_in(log: &str, audited: bool) {
    assert_eq!(logged(log), Vec::<&str>::new());
    assert!(log.contains("INSERT INTO leadlex.provider_secret"), "nested statements are logged: {log}");
    assert_eq!(audited, log.contains("AUDIT: "), "{log}");
}

fn stored(cluster: &Cluster) -> String {
    let sql = "SELECT secret FROM leadlex.provider_secret WHERE name = 'main'";
    cluster.connect("app").query_one(sql, &[]).unwrap().get(0)
}

#[test]
fn a_secret_given_as_a_bind_parameter_is_audited_nowhere() {
    let (cluster, audits) = start();
    cluster.append_conf(&["pgaudit.log = 'write'"]);
    if cluster.server().major >= 16 {
        // From then on it shows the parameters of the user's own statement.
        cluster.append_conf(&["auto_explain.log_parameter_max_length = 0"]);
    }
    cluster.restart(Stop::Fast);
    let mark = cluster.log_mark();
    let mut owner = cluster.connect("app");
    owner
        .execute("SELECT leadlex.add_provider('main', 'people_data_labs', secret => $1)", &[&SECRET])
        .unwrap();
    assert_eq!(stored(&cluster), SECRET);
    owner.execute("SELECT leadlex.alter_provider('main', secret => $1)", &[&NEXT]).unwrap();
    assert_eq!(stored(&cluster), NEXT);
    none_in(&cluster.log_since(mark), audits);
}

/// Where the user's statement has it from a function, it may be logged as it likes.
#[test]
fn no_statement_of_ours_shows_a_secret_whatever_is_logged() {
    let (cluster, audits) = start();
    cluster
        .connect("app")
        .batch_execute(&format!(
            "CREATE FUNCTION first_key() RETURNS text VOLATILE LANGUAGE plpgsql AS $$ BEGIN RETURN '{SECRET}'; END $$;
             CREATE FUNCTION next_key() RETURNS text VOLATILE LANGUAGE plpgsql AS $$ BEGIN RETURN '{NEXT}'; END $$"
        ))
        .unwrap();
    // What a plugin may look at: every statement, every parameter.
    cluster.append_conf(&["pgaudit.log = 'all'", "log_statement = 'all'", "log_duration = on"]);
    cluster.append_conf(&["auto_explain.log_verbose = on", "log_parameter_max_length_on_error = -1"]);
    if cluster.server().major >= 16 {
        cluster.append_conf(&["auto_explain.log_parameter_max_length = -1"]);
    }
    cluster.restart(Stop::Fast);
    let mark = cluster.log_mark();
    let mut owner = cluster.connect("app");
    owner
        .batch_execute(
            "SELECT leadlex.add_provider('main', 'people_data_labs', secret => first_key());
             SELECT leadlex.alter_provider('main', secret => next_key());
             SELECT leadlex.enable_provider('main', true)",
        )
        .unwrap();
    none_in(&cluster.log_since(mark), audits);
    assert_eq!(stored(&cluster), NEXT);
    // One that fails is undone, and another session knows what there is at once.
    let failed = owner.batch_execute(
        "BEGIN; SELECT leadlex.alter_provider('main', secret => first_key()); SELECT 1 / 0; COMMIT",
    );
    assert!(failed.is_err());
    owner.batch_execute("ROLLBACK").unwrap();
    assert_eq!(stored(&cluster), NEXT);
    let left: Option<String> = owner.query_one("SELECT leadlex.secret_given()", &[]).unwrap().get(0);
    assert_eq!(left, None, "it is held only while it is stored");
    owner.batch_execute("SELECT leadlex.drop_provider('main')").unwrap();
    let secrets: i64 = owner.query_one("SELECT count(*) FROM leadlex.provider_secret", &[]).unwrap().get(0);
    assert_eq!(secrets, 0);
}

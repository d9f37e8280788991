//! From one version to the next: the same objects as a fresh install, the data kept, and never a library and a schema
//! that do not know each other.

mod grants;
mod predecessor;
mod rows;

use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use postgres::Client;

use crate::catalogs;
use crate::support::{Cluster, Failure, Provider, check, eventually};
use crate::world::{credits, enrich, number};
pub use predecessor::script as made_script;
use predecessor::{OLD, Predecessor, current_files, database_of, old_database};
use rows::{check_kept, fill, rows};
use xtask::update_script::{SqlFile, update_script};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn version(client: &mut Client) -> String {
    let sql = "SELECT extversion FROM pg_extension WHERE extname = 'leadlex_enrich'";
    client.query_one(sql, &[]).unwrap().get(0)
}

#[test]
fn the_install_script_asks_for_the_library_of_its_own_version() {
    let line = format!("schema_version CONSTANT text := '{VERSION}';");
    let first = &current_files()[0];
    assert!(first.text.contains(&line), "{} has no {line}", first.name);
}

#[test]
fn an_updated_schema_equals_a_fresh_one_and_keeps_its_data() {
    let provider = Provider::start();
    let predecessor = Predecessor::new();
    let cluster = predecessor.cluster(&["leadlex.worker_naptime = 1"]);
    let mut fresh = cluster.database("fresh");
    let mut updated = old_database(&cluster, "updated");
    fill(&mut updated, &provider);
    let before = rows(&mut updated);
    assert_ne!(catalogs::snapshot(&mut updated), catalogs::snapshot(&mut fresh));

    // A session that has met the old schema does not keep that in mind.
    let mut caller = cluster.connect_as("updated", "caller");
    let mut watching = cluster.connect("updated");
    let ledger = watching.prepare("SELECT count(*) FROM leadlex.credit_ledger").unwrap();
    assert_eq!(watching.query_one(&ledger, &[]).unwrap().get::<_, i64>(0), 5);
    let refused = Failure::of(&enrich(&mut caller, 1).unwrap_err());
    assert_eq!(refused.sqlstate, "55000", "{refused:?}");
    updated.batch_execute("BEGIN; ALTER EXTENSION leadlex_enrich UPDATE").unwrap();
    assert_eq!(version(&mut updated), VERSION);
    check_kept(&before, rows(&mut updated));
    updated.batch_execute("COMMIT").unwrap();
    catalogs::assert_equal(&catalogs::snapshot(&mut updated), &catalogs::snapshot(&mut fresh));

    assert_eq!(watching.query_one(&ledger, &[]).unwrap().get::<_, i64>(0), 5);
    let shown = "SELECT count(questions_unshared) FROM leadlex.worker_status";
    assert!(number(&mut watching, shown) > 0, "the view has gained its column");

    // Nobody has called yet, and nobody needs to.
    eventually("the worker settles what the old version left", Duration::from_secs(20), || {
        number(&mut updated, "SELECT count(*) FROM leadlex.credit_pending") == 0
    });
    assert_eq!(number(&mut updated, "SELECT settled FROM leadlex.credit_balance"), 6);
    updated.batch_execute("SELECT leadlex.resume()").unwrap();
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["credits_remaining"], &result["fields_updated"][0]), (&5.into(), &"phone".into()));
    assert_eq!(credits(&mut caller), Some(5));
    let asked = provider.requests().pop().expect("it has been asked");
    assert_eq!(asked.param("email"), Some("person1@acme.example"));
}

/// What a tag of this clone has in `sql/`.
fn released_files(version: &str) -> Vec<SqlFile> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
        String::from_utf8(check(&mut git, "git (the clone needs the tags of releases)").stdout).unwrap()
    };
    let tag = format!("v{version}");
    let names = git(&["ls-tree", "--name-only", &tag, "sql/"]);
    let is_part = |name: &&str| name.ends_with(".sql") && name["sql/".len()..].starts_with(char::is_numeric);
    names
        .lines()
        .filter(is_part)
        .map(|name| SqlFile { name: name.to_owned(), text: git(&["show", &format!("{tag}:{name}")]) })
        .collect()
}

/// Over other versions' scripts, where its own leads to an older one. There is none before the first release.
#[test]
fn every_update_script_of_the_tree_leads_from_its_tag_to_a_fresh_schema() {
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sql")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let Some((old, _)) = name.strip_prefix("leadlex_enrich--").and_then(|v| v.split_once("--")) else {
            continue;
        };
        let predecessor = Predecessor::of(old, &released_files(old));
        let cluster = predecessor.cluster(&[]);
        let mut updated = database_of(&cluster, "updated", old);
        updated.batch_execute("ALTER EXTENSION leadlex_enrich UPDATE").unwrap();
        let fresh = catalogs::snapshot(&mut cluster.database("fresh"));
        catalogs::assert_equal(&catalogs::snapshot(&mut updated), &fresh);
    }
}

/// A dump says CREATE EXTENSION without a version: rows of the old schema meet the new one.
#[test]
fn a_dump_of_an_older_schema_can_be_restored() {
    let provider = Provider::start();
    let predecessor = Predecessor::new();
    let cluster = predecessor.cluster(&["leadlex.worker_naptime = 3600"]);
    let mut old = old_database(&cluster, "old_one");
    fill(&mut old, &provider);
    let mut before = rows(&mut old);
    let summed = ["usage_change", "usage_day", "usage_mark"];
    for table in
        ["provider_secret", "event", "provider_balance", "stopped", "provider_rate"].iter().chain(&summed)
    {
        before.remove(*table).expect("it has one, which is not dumped");
    }
    let home = before.remove("home").unwrap();
    let dump = check(&mut cluster.command("pg_dump", "old_one"), "pg_dump").stdout;
    let file = cluster.dir().join("dump");
    fs::write(&file, dump).unwrap();
    cluster.connect("postgres").batch_execute("CREATE DATABASE restored").unwrap();
    let mut psql = cluster.command("psql", "restored");
    check(psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file), "psql");
    let mut restored = cluster.connect("restored");
    assert_eq!(version(&mut restored), VERSION);
    let mut after = rows(&mut restored);
    assert!(after.remove("home").unwrap().contains(&home[0]), "it knows what it was copied from");
    check_kept(&before, after);
    assert_eq!(credits(&mut cluster.connect_as("restored", "caller")), Some(6));
}

/// Dumps of earlier commits say COPY of what is a view now.
#[test]
fn a_dump_in_which_binding_was_a_table_can_be_restored() {
    let cluster = Cluster::start();
    let mut client = cluster.database("app");
    let copy = "COPY leadlex.binding (schema_name, table_name, columns, workspace_id, bound_at) FROM stdin";
    let mut rows = client.copy_in(copy).unwrap();
    rows.write_all(b"public\tcrm\t{\"id\": \"id\"}\t\\N\t2026-01-01 00:00:00+00\n").unwrap();
    rows.finish().unwrap();
    let bound =
        "SELECT count(*) FROM leadlex.bound_table WHERE table_name = 'crm' AND bound_at = '2026-01-01 UTC'";
    assert_eq!(number(&mut client, bound), 1);
}

/// Every function of ours but triggers, called with NULLs: name and what it said.
fn call_everything(client: &mut Client) -> Vec<(String, Result<(), Failure>)> {
    let calls = "SELECT p.oid::regprocedure::text,
                        format('%s %s(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT * FROM' END, p.oid::regproc,
                               (SELECT string_agg(format('NULL::%s', t::regtype), ', ') FROM unnest(p.proargtypes) AS t))
                 FROM pg_depend AS d JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
                 WHERE d.deptype = 'e' AND p.prorettype <> 'trigger'::regtype
                   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'leadlex_enrich')";
    let calls = client.query(calls, &[]).unwrap();
    assert!(calls.len() > 20);
    let mut said = Vec::new();
    for call in calls {
        let sql: String = call.get(1);
        said.push((call.get(0), client.batch_execute(&sql).map_err(|error| Failure::of(&error))));
    }
    said
}

#[test]
fn the_library_refuses_an_older_schema_and_its_worker_leaves_it_alone() {
    let predecessor = Predecessor::new();
    let cluster = predecessor.cluster(&["leadlex.worker_naptime = 1"]);
    let mut old = old_database(&cluster, "old_one");
    let provider = Provider::start();
    fill(&mut old, &provider);
    for (name, said) in call_everything(&mut old) {
        let refused = said.expect_err(&name);
        assert_eq!(
            (refused.sqlstate.as_str(), refused.message.as_str(), refused.hint.as_deref()),
            (
                "55000",
                format!(
                    "the database has version {OLD} of leadlex_enrich, the server's library is {VERSION}"
                )
                .as_str(),
                Some("Run ALTER EXTENSION leadlex_enrich UPDATE.")
            ),
            "{name}"
        );
    }
    // The worker looks into every database at start, and elsewhere it works meanwhile.
    cluster.database("another");
    cluster.restart(crate::support::Stop::Fast);
    let line = format!(
        "database old_one is left alone: the database has version {OLD} of leadlex_enrich, the server's library is {VERSION}. Run ALTER EXTENSION leadlex_enrich UPDATE."
    );
    eventually("the worker says so", Duration::from_secs(20), || cluster.log().contains(&line));
    let mut other = cluster.connect("another");
    other.batch_execute("SELECT leadlex.create_workspace('w', credits => 1)").unwrap();
    for _ in 0..2 {
        other.batch_execute("SELECT leadlex.grant_credits(1)").unwrap();
        eventually("the worker works elsewhere", Duration::from_secs(20), || {
            number(&mut other, "SELECT count(*) FROM leadlex.credit_pending") == 0
        });
    }
    assert_eq!(cluster.log().matches(&line).count(), 1, "once per start of the server");
    let mut old = cluster.connect("old_one");
    assert_eq!(number(&mut old, "SELECT count(*) FROM leadlex.credit_pending"), 3);
}

#[test]
fn the_library_refuses_a_newer_schema() {
    let cluster = Cluster::start();
    let mut client = cluster.database("app");
    client
        .batch_execute("UPDATE pg_extension SET extversion = '0.10.0' WHERE extname = 'leadlex_enrich'")
        .unwrap();
    // A session that has not been told otherwise.
    let mut client = cluster.connect("app");
    for (name, said) in call_everything(&mut client) {
        let refused = said.expect_err(&name);
        assert_eq!(refused.sqlstate, "55000", "{name}: {refused:?}");
        assert_eq!(
            refused.hint.as_deref(),
            Some("Install the library of leadlex_enrich 0.10.0 and restart the server."),
            "{name}"
        );
    }
}

#[test]
fn an_update_is_refused_while_the_library_is_older() {
    let files = current_files();
    let delta =
        SqlFile { name: "delta.sql".to_owned(), text: "CREATE TABLE leadlex.of_the_future ();".to_owned() };
    let next = update_script(VERSION, "9.10.0", &files, &files, &delta).unwrap();
    let predecessor = Predecessor::new();
    predecessor.add(&format!("leadlex_enrich--{VERSION}--9.10.0.sql"), &next);
    let cluster = predecessor.cluster(&[]);
    let mut client = cluster.database("app");
    let before = catalogs::snapshot(&mut client);
    let refused =
        Failure::of(&client.batch_execute("ALTER EXTENSION leadlex_enrich UPDATE TO '9.10.0'").unwrap_err());
    assert_eq!(refused.sqlstate, "55000", "{refused:?}");
    let detail = refused.detail.unwrap();
    assert!(detail.contains("9.10.0") && detail.contains(VERSION), "{detail}");
    assert_eq!(
        refused.hint.as_deref(),
        Some(
            "Install the new library and restart the server, then run ALTER EXTENSION leadlex_enrich UPDATE."
        )
    );
    assert_eq!(catalogs::snapshot(&mut client), before);
    assert_eq!(version(&mut client), VERSION);
    // Versions are numbers, not text: 9.9 is older than 9.10.
    client.batch_execute("SELECT leadlex.create_workspace('still works')").unwrap();
}

#[test]
fn an_update_is_refused_where_no_library_is_loaded() {
    let predecessor = Predecessor::new();
    let cluster = predecessor.cluster(&["shared_preload_libraries = ''"]);
    cluster.connect("postgres").batch_execute("CREATE DATABASE app").unwrap();
    cluster
        .connect("app")
        .batch_execute(&format!("CREATE EXTENSION leadlex_enrich VERSION '{OLD}'"))
        .unwrap();
    let mut client = cluster.connect("app");
    let refused = Failure::of(&client.batch_execute("ALTER EXTENSION leadlex_enrich UPDATE").unwrap_err());
    assert_eq!(refused.sqlstate, "55000", "{refused:?}");
    assert_eq!(version(&mut client), OLD);
    // Loaded for this session only: the schema can be updated, and nothing of the missing shared memory is touched.
    client.batch_execute("LOAD 'leadlex_enrich'; ALTER EXTENSION leadlex_enrich UPDATE").unwrap();
    assert_eq!(version(&mut client), VERSION);
}

#[test]
fn the_library_says_its_version() {
    let cluster = Cluster::start();
    let mut client = cluster.connect("postgres");
    let shown: String = client.query_one("SHOW leadlex.library_version", &[]).unwrap().get(0);
    assert_eq!(shown, VERSION);
    let refused = client.batch_execute("SET leadlex.library_version = '9.9.9'").unwrap_err();
    assert_eq!(Failure::of(&refused).sqlstate, "55P02");
}

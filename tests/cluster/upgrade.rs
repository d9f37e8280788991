//! From one version to the next: the same objects as a fresh install, the data kept, and never a library and a schema
//! that do not know each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use postgres::Client;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::catalogs;
use crate::support::{Cluster, Failure, Provider, check, eventually, server};
use crate::world::{PATH, credits, enrich, number};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const OLD: &str = "0.1.0";

/// What was released is never edited: it is what databases out there were made with.
const RELEASED: [(&str, &str); 1] =
    [("leadlex_enrich--0.1.0.sql", "266143b4cb67f2f5c0089f319b2696cc26ea43ed605c43d211302d9325684c1c")];

/// One of the project's own SQL files.
fn script(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sql").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn version(client: &mut Client) -> String {
    let sql = "SELECT extversion FROM pg_extension WHERE extname = 'leadlex_enrich'";
    client.query_one(sql, &[]).unwrap().get(0)
}

/// A database with the schema of an older version.
fn old_database(cluster: &Cluster, name: &str) -> Client {
    cluster.connect("postgres").batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
    let mut client = cluster.connect(name);
    client.batch_execute(&format!("CREATE EXTENSION leadlex_enrich VERSION '{OLD}'")).unwrap();
    client
}

/// Rows in every table of 0.1.0, put there as its own functions would have done: those of today refuse.
fn fill(client: &mut Client, provider: &Provider) {
    client
        .batch_execute(
            "CREATE ROLE caller LOGIN;
             CREATE TABLE crm (id uuid PRIMARY KEY, full_name text, email text, phone text, note text);
             GRANT SELECT, UPDATE ON crm TO caller;
             INSERT INTO crm SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Person ' || n,
                                    'person' || n || '@acme.example' FROM generate_series(1, 5) AS n;
             INSERT INTO leadlex.workspace VALUES
                 ('10000000-0000-4000-8000-000000000000', 'acme', 'org', 200, 10000, true),
                 ('20000000-0000-4000-8000-000000000000', 'globex', 'unmetered', NULL, NULL, false);
             INSERT INTO leadlex.credit_balance VALUES ('10000000-0000-4000-8000-000000000000', 9);
             INSERT INTO leadlex.credit_settled SELECT '10000000-0000-4000-8000-000000000000', gen_random_uuid(),
                 amount, gen_random_uuid(), 'old', now() FROM unnest(ARRAY[10, -1]) AS amount;
             INSERT INTO leadlex.credit_pending SELECT '10000000-0000-4000-8000-000000000000', gen_random_uuid(),
                 -1, gen_random_uuid(), NULL, now() FROM generate_series(1, 3);
             INSERT INTO leadlex.api_key VALUES ('\\x01', 'wbk_0000000000000', '10000000-0000-4000-8000-000000000000', '{write:enrich}', 'app');
             INSERT INTO leadlex.access VALUES ('10000000-0000-4000-8000-000000000000', 'caller', '{write:enrich}');
             INSERT INTO leadlex.binding VALUES ('public', 'crm',
                 '{\"id\": \"id\", \"full_name\": \"full_name\", \"email\": \"email\", \"phone\": \"phone\"}', '10000000-0000-4000-8000-000000000000');
             INSERT INTO leadlex.idempotency VALUES ('10000000-0000-4000-8000-000000000000', gen_random_uuid(), '\\x02', '{}', now());
             INSERT INTO leadlex.rate_use VALUES ('10000000-0000-4000-8000-000000000000', extract(epoch FROM now()), '{1,2}', 1, 3, 0, now());
             INSERT INTO leadlex.enrichment VALUES ('10000000-0000-4000-8000-000000000000', gen_random_uuid(), now(), 'caller', NULL,
                 'public', 'crm', '1', false, 'main', 0.9, '{phone}', '{}', '{\"phone\": null}', '{\"phone\": \"1\"}', NULL);",
        )
        .unwrap();
    client
        .execute(
            "INSERT INTO leadlex.provider_config VALUES ('main', gen_random_uuid(), NULL, NULL, $1, 100)",
            &[&provider.config(PATH)],
        )
        .unwrap();
    client.batch_execute("INSERT INTO leadlex.provider_secret VALUES ('main', 'kept')").unwrap();
}

/// Every row of every table of ours, each as an object.
fn rows(client: &mut Client) -> BTreeMap<String, Vec<Value>> {
    let tables =
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'leadlex'::regnamespace AND relkind = 'r'";
    let tables: Vec<String> = client.query(tables, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let mut all = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT to_jsonb(t) FROM leadlex.{table} AS t ORDER BY t::text");
        let rows = client.query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        all.insert(table, rows);
    }
    all
}

/// New tables and new columns may have come.
fn check_kept(before: &BTreeMap<String, Vec<Value>>, mut after: BTreeMap<String, Vec<Value>>) {
    for (table, old) in before {
        // What was a table is a view on this one.
        let now = if table == "binding" { "bound_table" } else { table };
        let mut new = after.remove(now).unwrap_or_else(|| panic!("{table} is gone"));
        let Some(Value::Object(first)) = old.first() else { panic!("no row in {table} to be kept") };
        for row in &mut new {
            row.as_object_mut().unwrap().retain(|column, _| first.contains_key(column));
        }
        assert_eq!(&new, old, "{table}");
    }
}

#[test]
fn released_scripts_are_not_edited() {
    for (name, sum) in RELEASED {
        let found: String =
            Sha256::digest(script(name).as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, sum, "{name}");
    }
}

#[test]
fn every_script_asks_for_the_library_of_its_own_version() {
    let last = format!("leadlex_enrich--{OLD}--{VERSION}.sql");
    for name in ["00_library.sql", &last] {
        let line = format!("schema_version CONSTANT text := '{VERSION}';");
        assert!(script(name).contains(&line), "{name} has no {line}");
    }
}

#[test]
fn an_updated_schema_equals_a_fresh_one_and_keeps_its_data() {
    let provider = Provider::start();
    let cluster = Cluster::start_with(&["leadlex.worker_naptime = 1"]);
    let mut fresh = cluster.database("fresh");
    let mut updated = old_database(&cluster, "updated");
    fill(&mut updated, &provider);
    let before = rows(&mut updated);
    assert_ne!(catalogs::snapshot(&mut updated), catalogs::snapshot(&mut fresh));

    // A session that has met the old schema does not keep that in mind.
    let mut caller = cluster.connect_as("updated", "caller");
    let refused = Failure::of(&enrich(&mut caller, 1).unwrap_err());
    assert_eq!(refused.sqlstate, "55000", "{refused:?}");
    updated.batch_execute("BEGIN; ALTER EXTENSION leadlex_enrich UPDATE").unwrap();
    assert_eq!(version(&mut updated), VERSION);
    check_kept(&before, rows(&mut updated));
    updated.batch_execute("COMMIT").unwrap();
    catalogs::assert_equal(&catalogs::snapshot(&mut updated), &catalogs::snapshot(&mut fresh));

    // Nobody has called yet, and nobody needs to.
    eventually("the worker settles what the old version left", Duration::from_secs(20), || {
        number(&mut updated, "SELECT count(*) FROM leadlex.credit_pending") == 0
    });
    assert_eq!(number(&mut updated, "SELECT settled FROM leadlex.credit_balance"), 6);
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["credits_remaining"], &result["fields_updated"][0]), (&5.into(), &"phone".into()));
    assert_eq!(credits(&mut caller), Some(5));
    let asked = provider.requests().pop().expect("it has been asked");
    assert_eq!(asked.param("email"), Some("person1@acme.example"));
}

/// A dump says CREATE EXTENSION without a version: rows of the old schema meet the new one.
#[test]
fn an_update_keeps_what_was_granted_on_a_view_and_built_on_it() {
    let cluster = Cluster::start();
    let mut client = old_database(&cluster, "app");
    client
        .batch_execute(
            "CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE other; GRANT SELECT ON leadlex.worker_status TO other;
             CREATE VIEW mine AS SELECT pid, state FROM leadlex.worker_status;
             ALTER EXTENSION leadlex_enrich UPDATE",
        )
        .unwrap();
    number(
        &mut cluster.connect_as("app", "monitor"),
        "SELECT count(receipts_written) FROM leadlex.worker_status",
    );
    assert!(number(&mut client, "SELECT count(*) FROM mine") > 0);
    let granted = "SELECT has_table_privilege('other', 'leadlex.worker_status', 'SELECT')::int::int8";
    assert_eq!(number(&mut client, granted), 1);
}

#[test]
fn a_dump_of_an_older_schema_can_be_restored() {
    let provider = Provider::start();
    let cluster = Cluster::start_with(&["leadlex.worker_naptime = 3600"]);
    let mut old = old_database(&cluster, "old_one");
    fill(&mut old, &provider);
    let mut before = rows(&mut old);
    before.remove("provider_secret").expect("it has one, which is not dumped");
    let dump = check(&mut cluster.command("pg_dump", "old_one"), "pg_dump").stdout;
    let file = cluster.dir().join("dump");
    fs::write(&file, dump).unwrap();
    cluster.connect("postgres").batch_execute("CREATE DATABASE restored").unwrap();
    let mut psql = cluster.command("psql", "restored");
    check(psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file), "psql");
    let mut restored = cluster.connect("restored");
    assert_eq!(version(&mut restored), VERSION);
    check_kept(&before, rows(&mut restored));
    assert_eq!(credits(&mut cluster.connect_as("restored", "caller")), Some(6));
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
    let cluster = Cluster::start_with(&["leadlex.worker_naptime = 1"]);
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

/// A file in the installation's extension directory, gone at the end.
struct Extra(PathBuf);

impl Extra {
    fn new(name: &str, text: &str) -> Extra {
        let mut config = server().command("pg_config");
        let shared = check(config.arg("--sharedir"), "pg_config");
        let path =
            PathBuf::from(String::from_utf8(shared.stdout).unwrap().trim()).join("extension").join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Extra(path)
    }
}

impl Drop for Extra {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn an_update_is_refused_while_the_library_is_older() {
    // The script that leads here, as it would read in a version of the future.
    let next = script(&format!("leadlex_enrich--{OLD}--{VERSION}.sql")).replace(VERSION, "9.10.0");
    let next = format!("{next}\nCREATE TABLE leadlex.of_the_future ();");
    let _update = Extra::new(&format!("leadlex_enrich--{VERSION}--9.10.0.sql"), &next);
    let cluster = Cluster::start();
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
    let cluster = Cluster::start_with(&["shared_preload_libraries = ''"]);
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

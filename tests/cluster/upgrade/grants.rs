//! What users granted, revoked and built on our objects, across an update.

use postgres::Client;

use super::predecessor::{OLD, Predecessor, old_database};
use super::{VERSION, version};
use crate::catalogs;
use crate::support::{Cluster, Failure, check};
use crate::world::number;

const ROLES: &str = "CREATE ROLE other LOGIN; CREATE ROLE ops; CREATE ROLE \"Odd Role\"; CREATE ROLE monitor LOGIN IN ROLE pg_monitor";

/// What users do to objects that are replaced, dropped and made anew, and left as they are. `pause`: the arguments of the
/// function that has others since.
fn grant(client: &mut Client, pause: &str) {
    client
        .batch_execute(&format!(
            "GRANT EXECUTE ON FUNCTION leadlex.pause_queue({pause}) TO ops WITH GRANT OPTION;
             SET ROLE ops; GRANT EXECUTE ON FUNCTION leadlex.pause_queue({pause}) TO \"Odd Role\"; RESET ROLE;
             GRANT EXECUTE ON FUNCTION leadlex.grant_credits(bigint) TO ops;
             GRANT SELECT ON leadlex.worker_status TO other;
             GRANT INSERT, SELECT ON leadlex.suppression TO \"Odd Role\" WITH GRANT OPTION;
             GRANT SELECT (key_prefix, name) ON leadlex.api_key TO other, PUBLIC;
             GRANT UPDATE (enabled) ON leadlex.provider TO ops;
             GRANT CREATE ON SCHEMA leadlex TO other;
             GRANT SELECT ON leadlex.rate_use TO PUBLIC;
             REVOKE EXECUTE ON FUNCTION enrich_contact(uuid, text[], boolean, uuid) FROM PUBLIC;
             REVOKE EXECUTE ON FUNCTION leadlex.worker_report() FROM pg_monitor;
             REVOKE SELECT ON leadlex.job FROM PUBLIC;
             REVOKE DELETE, TRUNCATE ON leadlex.enrichment FROM CURRENT_USER"
        ))
        .unwrap();
}

/// The statements of a dump that are about privileges.
fn privileges_of_dump(cluster: &Cluster, database: &str) -> Vec<String> {
    let dump = check(&mut cluster.command("pg_dump", database), "pg_dump").stdout;
    let mut lines: Vec<String> = String::from_utf8(dump)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("GRANT ") || line.starts_with("REVOKE "))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[test]
fn an_update_keeps_what_users_granted_and_revoked() {
    let predecessor = Predecessor::new();
    let cluster = predecessor.cluster(&[]);
    cluster.connect("postgres").batch_execute(ROLES).unwrap();
    let mut fresh = cluster.database("fresh");
    let mut updated = old_database(&cluster, "updated");
    let untouched = catalogs::snapshot(&mut fresh);
    grant(&mut fresh, "");
    grant(&mut updated, "text");
    updated.batch_execute("ALTER EXTENSION leadlex_enrich UPDATE").unwrap();
    assert_ne!(catalogs::snapshot(&mut fresh), untouched);
    // Initial privileges, too, which say what of it is the users'.
    catalogs::assert_equal(&catalogs::snapshot(&mut updated), &catalogs::snapshot(&mut fresh));
    let dumped = privileges_of_dump(&cluster, "updated");
    assert_eq!(dumped, privileges_of_dump(&cluster, "fresh"));
    assert!(dumped.iter().any(|line| line.contains("leadlex.pause_queue() TO \"Odd Role\"")), "{dumped:#?}");
    // Nothing of it holds a role that has lost all its rights.
    updated.batch_execute("DROP OWNED BY \"Odd Role\", ops").unwrap();
    fresh.batch_execute("DROP OWNED BY \"Odd Role\", ops; DROP ROLE \"Odd Role\", ops").unwrap();
}

#[test]
fn an_update_keeps_what_was_built_on_a_view() {
    let predecessor = Predecessor::new();
    let cluster = predecessor.cluster(&[]);
    cluster.connect("postgres").batch_execute(ROLES).unwrap();
    let mut client = old_database(&cluster, "app");
    client
        .batch_execute(
            "CREATE VIEW mine AS SELECT pid, state FROM leadlex.worker_status;
             CREATE VIEW spent AS SELECT * FROM leadlex.credit_ledger;
             SELECT leadlex.create_contact_table()",
        )
        .unwrap_err();
    client
        .batch_execute(
            "CREATE VIEW mine AS SELECT pid, state FROM leadlex.worker_status;
             CREATE VIEW spent AS SELECT * FROM leadlex.credit_ledger;
             CREATE TABLE leadlex.contact (id uuid PRIMARY KEY); GRANT SELECT ON leadlex.contact TO PUBLIC;
             ALTER EXTENSION leadlex_enrich UPDATE",
        )
        .unwrap();
    assert!(number(&mut client, "SELECT count(*) FROM mine") > 0);
    assert_eq!(number(&mut client, "SELECT count(*) FROM spent"), 0);
    number(
        &mut cluster.connect_as("app", "monitor"),
        "SELECT count(questions_unshared) FROM leadlex.worker_status",
    );
    // It stands in our schema, and is not ours.
    assert_eq!(number(&mut cluster.connect_as("app", "other"), "SELECT count(*) FROM leadlex.contact"), 0);
}

/// It fails for the sake of what a user built on a function that is no more, when half of it is done.
#[test]
fn an_update_that_fails_leaves_everything_as_it_was() {
    let predecessor = Predecessor::new();
    let cluster = predecessor.cluster(&[]);
    cluster.connect("postgres").batch_execute(ROLES).unwrap();
    let mut client = old_database(&cluster, "app");
    grant(&mut client, "text");
    client.batch_execute("CREATE VIEW mine AS SELECT leadlex.of_old('a')").unwrap();
    let before = catalogs::snapshot(&mut client);
    let refused = Failure::of(&client.batch_execute("ALTER EXTENSION leadlex_enrich UPDATE").unwrap_err());
    assert_eq!(refused.sqlstate, "2BP01", "{refused:?}");
    assert!(refused.detail.as_ref().unwrap().contains("view mine depends on function"), "{refused:?}");
    assert_eq!((version(&mut client).as_str(), catalogs::snapshot(&mut client)), (OLD, before));
    client.batch_execute("DROP VIEW mine; ALTER EXTENSION leadlex_enrich UPDATE").unwrap();
    assert_eq!(version(&mut client), VERSION);
}

#[test]
fn all_belongs_to_the_owner_of_the_extension_whoever_updates_it() {
    let predecessor = Predecessor::new();
    let cluster = predecessor.cluster(&[]);
    for sql in ["CREATE ROLE dba LOGIN SUPERUSER", "CREATE DATABASE fresh", "CREATE DATABASE app"] {
        cluster.connect("postgres").batch_execute(sql).unwrap();
    }
    let mut fresh = cluster.connect_as("fresh", "dba");
    fresh.batch_execute("CREATE EXTENSION leadlex_enrich").unwrap();
    let create = format!("CREATE EXTENSION leadlex_enrich VERSION '{OLD}'");
    cluster.connect_as("app", "dba").batch_execute(&create).unwrap();
    let mut updated = cluster.connect("app");
    updated.batch_execute("ALTER EXTENSION leadlex_enrich UPDATE").unwrap();
    catalogs::assert_equal(&catalogs::snapshot(&mut updated), &catalogs::snapshot(&mut fresh));
}

/// The list of tables in 30_views.sql is written by hand: default privileges of the database could open one that it lacks.
#[test]
fn default_privileges_open_no_table_of_ours() {
    let cluster = Cluster::start();
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
             CREATE EXTENSION leadlex_enrich",
        )
        .unwrap();
    let mut plain = cluster.database("plain");
    let open = "SELECT string_agg(c.oid::regclass::text || ' ' || a.privilege_type, ', ' ORDER BY 1)
                FROM pg_depend AS d JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid, aclexplode(c.relacl) AS a
                WHERE d.deptype = 'e' AND c.relkind IN ('r', 'v') AND a.grantee = 0
                  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'leadlex_enrich')";
    let public = |client: &mut Client| client.query_one(open, &[]).unwrap().get::<_, Option<String>>(0);
    assert_eq!(public(&mut client), public(&mut plain));
}

//! A database that is not its own home: its worker writes only what calls there cause. And what logical replication, from
//! which such a database can come, asks of our tables.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use super::*;
use crate::support::{Cluster, check};
use crate::world::{credits, enrich, enrich_with_key};
use uuid::Uuid;

const TABLES: &str = "SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relkind = 'r'";

/// Every row of ours with the transaction that wrote it.
fn rows(client: &mut Client) -> BTreeMap<String, Option<String>> {
    let tables: Vec<String> = client.query(TABLES, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let all = |table: String| {
        let sql =
            format!("SELECT string_agg(t.xmin || ' ' || t::text, E'\\n' ORDER BY t::text) FROM {table} AS t");
        let rows = client.query_one(&sql, &[]).unwrap().get(0);
        (table, rows)
    };
    tables.into_iter().map(all).collect()
}

/// Waits until the worker has come by so often since the server started.
fn wait_for_rounds(client: &mut Client, database: &str, count: i64) {
    let sql = format!(
        "SELECT coalesce(max(runs), 0) FROM leadlex.worker_status WHERE process = 'worker' AND database = '{database}'"
    );
    eventually("the worker has come by", SOON, || number(client, &sql) >= count);
}

fn state(client: &mut Client, database: &str) -> String {
    let sql = "SELECT state FROM leadlex.worker_status WHERE process = 'worker' AND database = $1";
    client.query_one(sql, &[&database]).unwrap().get(0)
}

/// Some of everything that the worker would move or remove; none of it does the original's worker, which is kept away.
fn leave_work(world: &World) {
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    enrich_with_key(&mut caller, 2, Uuid::from_u128(0x4711)).unwrap();
    enqueue(&mut caller, 3..=3);
    wait_for(world, "done", 1);
    world.settle();
    enrich(&mut caller, 4).unwrap();
}

const EXPIRES: [&str; 3] =
    ["leadlex.receipt_ttl = 1", "leadlex.recheck_after = 1", "leadlex.job_retention = 1"];

#[test]
fn in_a_copy_the_worker_writes_nothing() {
    let world = world(&Beginning { plan: "org", ..Beginning::default() });
    leave_work(&world);
    world.cluster.connect("postgres").batch_execute("CREATE DATABASE copy TEMPLATE app").unwrap();
    let mut copy = world.cluster.connect("copy");
    copy.batch_execute(
        "INSERT INTO leadlex.credit_pending SELECT workspace_id, gen_random_uuid(), -1, gen_random_uuid() FROM leadlex.credit_balance;
         UPDATE leadlex.idempotency SET created_at = created_at - interval '2 days';
         UPDATE leadlex.receipt SET answered_at = answered_at - interval '2 days'",
    )
    .unwrap();
    let before = rows(&mut copy);
    // Everything is over its time, for whoever may purge.
    world.cluster.append_conf(&EXPIRES);
    world.cluster.restart(crate::support::Stop::Fast);
    let mut copy = world.cluster.connect("copy");
    wait_for_rounds(&mut copy, "copy", 1);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(rows(&mut copy), before);
    assert_eq!(
        (state(&mut copy, "copy"), state(&mut copy, "app").as_str() == "clone"),
        ("clone".into(), false)
    );

    copy.batch_execute("SELECT leadlex.resume_queue()").unwrap();
    eventually("now it is settled and purged", SOON, || {
        let left = "SELECT (SELECT count(*) FROM leadlex.credit_pending) + (SELECT count(*) FROM leadlex.idempotency)
                         + (SELECT count(*) FROM leadlex.receipt) + (SELECT count(*) FROM leadlex.job_set)";
        number(&mut copy, left) == 0
    });
    eventually("the worker says so", SOON, || state(&mut copy, "copy") != "clone");
}

#[test]
fn in_a_copy_calls_by_hand_are_exact_and_what_they_cause_is_written() {
    let world = world(&Beginning { plan: "org", ..Beginning::default() });
    leave_work(&world);
    world.cluster.connect("postgres").batch_execute("CREATE DATABASE copy TEMPLATE app").unwrap();
    let mut caller = world.cluster.connect_as("copy", "caller");
    let used = "SELECT \"limit\" - remaining FROM leadlex.rate_limit() WHERE \"window\" = 'day'";
    let (balance, day) = (credits(&mut caller).unwrap(), number(&mut caller, used));
    assert_eq!(balance, 6);
    let mut copy = world.cluster.connect("copy");
    let count = |table: &str| format!("SELECT count(*) FROM leadlex.{table}");
    let pending = number(&mut copy, &count("credit_pending"));
    let receipts = number(&mut copy, &count("receipt"));
    enrich(&mut caller, 5).unwrap();
    enrich(&mut caller, 6).unwrap();
    assert_eq!((credits(&mut caller), number(&mut caller, used)), (Some(balance - 2), day + 2));
    eventually("their receipts are written", SOON, || number(&mut copy, &count("receipt")) == receipts + 2);
    wait_for_rounds(&mut copy, "copy", 1);
    assert_eq!(number(&mut copy, &count("credit_pending")), pending + 2);
    // Also after a restart, from the tables alone.
    world.cluster.restart(crate::support::Stop::Fast);
    let mut caller = world.cluster.connect_as("copy", "caller");
    assert_eq!((credits(&mut caller), number(&mut caller, used)), (Some(balance - 2), day + 2));
    for n in 7..=10 {
        enrich(&mut caller, n).unwrap();
    }
    let mut copy = world.cluster.connect("copy");
    copy.execute("UPDATE crm SET phone = NULL WHERE id = $1", &[&contact(1)]).unwrap();
    caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
    let refused = enrich(&mut caller, 1);
    assert_eq!(crate::world::sqlstate(&refused), "LX402", "not one credit more than there is");
}

#[test]
fn every_table_has_a_primary_key() {
    let cluster = Cluster::start();
    let mut client = cluster.database("app");
    let sql = format!(
        "{TABLES} AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)"
    );
    let without: Vec<String> = client.query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(without.is_empty(), "{without:?}");
}

/// Without a key, tables of such a publication can neither be updated nor deleted from.
#[test]
fn everything_works_under_a_publication_for_all_tables() {
    let conf = &["wal_level = logical", "leadlex.job_retention = 1", "leadlex.receipt_ttl = 3"];
    let world = world(&Beginning { plan: "org", conf, ..Beginning::default() });
    world.run("CREATE PUBLICATION everything FOR ALL TABLES; SELECT leadlex.create_contact_table()");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let request: Uuid =
        world.owner().query_one("SELECT request_id FROM leadlex.enrichment", &[]).unwrap().get(0);
    caller.query("SELECT leadlex.revert_enrichment($1)", &[&request]).unwrap();
    enrich_with_key(&mut caller, 2, Uuid::from_u128(0x4711)).unwrap();
    pause(&world);
    enqueue(&mut caller, 3..=4);
    resume(&world);
    eventually("the jobs were done, and purged", SOON, || {
        filled(&world) == 3 && world.number("SELECT count(*) FROM leadlex.job") == 0
    });
    world.settle();
    caller.query("SELECT leadlex.forget_contact($1)", &[&contact(2)]).unwrap();
    world.run(
        "SELECT leadlex.suppress('x@acme.example', 'why'); SELECT leadlex.unsuppress('x@acme.example');
         SELECT leadlex.alter_provider('main', secret => 'another'); SELECT leadlex.enable_provider('main', false);
         SELECT leadlex.set_rate_limit(id, 7, 70) FROM leadlex.workspace;
         SELECT leadlex.revoke_api_key(left(leadlex.create_api_key(id), 17)) FROM leadlex.workspace",
    );
    eventually("the receipts have expired", SOON, || {
        world.number("SELECT count(*) FROM leadlex.receipt WHERE person IS NOT NULL") == 0
    });
    // As another database, which then comes home.
    world.run("UPDATE leadlex.home SET database_oid = 1; SELECT leadlex.resume_queue()");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.queue WHERE NOT paused"), 1);
    world.run(
        "SELECT leadlex.drop_provider('main'); SELECT leadlex.unbind_contacts('crm');
         SELECT leadlex.revoke_access('caller', id) FROM leadlex.workspace; DELETE FROM leadlex.workspace",
    );
    // Whatever else is done by hand.
    let mut owner = world.owner();
    let tables: Vec<String> = owner.query(TABLES, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    for table in tables {
        owner
            .batch_execute(&format!("DELETE FROM {table}"))
            .unwrap_or_else(|error| panic!("{table}: {error:?}"));
    }
}

/// A slot for the subscriber, and the snapshot from which it begins: what the worker writes between the slot and the dump would
/// else be in both.
struct Slot {
    session: Child,
    snapshot: String,
}

impl Slot {
    fn create(world: &World) -> Slot {
        let mut psql = world.cluster.command("psql", "app");
        psql.args(["-X", "-A", "-t", "dbname=app replication=database"]);
        let mut session = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = session.stdin.as_mut().unwrap();
        input.write_all(b"CREATE_REPLICATION_SLOT copy LOGICAL pgoutput EXPORT_SNAPSHOT;\n").unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        BufReader::new(session.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        // Name, position, snapshot, plugin.
        let snapshot = line.split('|').nth(2).unwrap_or_else(|| panic!("{line}")).to_owned();
        Slot { session, snapshot }
    }
}

impl Drop for Slot {
    /// The snapshot goes with the session.
    fn drop(&mut self) {
        drop(self.session.stdin.take());
        let _ = self.session.wait();
    }
}

/// As pg_createsubscriber makes it: all data there, the rest comes by replication. Rows of its own would stop that.
#[test]
fn a_subscriber_that_began_as_a_copy_gets_all_that_the_publisher_does() {
    let world =
        world(&Beginning { credits: Some(20), conf: &["wal_level = logical"], ..Beginning::default() });
    world.run("CREATE PUBLICATION everything FOR ALL TABLES");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    world.settle();
    pause(&world);
    let slot = Slot::create(&world);
    let subscriber = Cluster::start_with(&["wal_level = logical", "leadlex.worker_naptime = 1"]);
    let mut admin = subscriber.connect("postgres");
    admin.batch_execute("CREATE ROLE caller LOGIN").unwrap();
    admin.batch_execute("CREATE DATABASE app").unwrap();
    let file = world.cluster.dir().join("dump");
    let dump = check(
        world.cluster.command("pg_dump", "app").args([
            "--format=custom",
            "--no-publications",
            "--snapshot",
            &slot.snapshot,
        ]),
        "pg_dump",
    );
    drop(slot);
    fs::write(&file, dump.stdout).unwrap();
    check(
        subscriber.command("pg_restore", "app").args(["--exit-on-error", "-d", "app"]).arg(&file),
        "pg_restore",
    );
    let mut copy = subscriber.connect("app");
    copy.batch_execute(&format!(
        "CREATE SUBSCRIPTION copy CONNECTION '{}' PUBLICATION everything
         WITH (copy_data = false, create_slot = false, slot_name = 'copy')",
        world.cluster.conninfo("app")
    ))
    .unwrap();
    // The publisher's worker is kept from settling until the subscriber has the charges.
    let mut holder = world.owner();
    let mut holding = holder.transaction().unwrap();
    holding.batch_execute("LOCK leadlex.credit_settled IN SHARE MODE").unwrap();
    for n in 2..=5 {
        enrich(&mut caller, n).unwrap();
    }
    let pending = "SELECT count(*) FROM leadlex.credit_pending";
    eventually("the charges have arrived", SOON, || {
        number(&mut copy, "SELECT count(*) FROM leadlex.enrichment") == 5
    });
    // At its start the launcher has every database looked into.
    subscriber.restart(crate::support::Stop::Fast);
    let mut copy = subscriber.connect("app");
    wait_for_rounds(&mut copy, "app", 1);
    assert_eq!(number(&mut copy, pending), 4, "they are the publisher's to settle");
    holding.commit().unwrap();
    resume(&world);
    world.settle();
    eventually("what the publisher has settled arrives", SOON, || {
        number(&mut copy, pending) == 0
            && number(&mut copy, "SELECT count(*) FROM leadlex.credit_settled") == 6
    });
    world.run("CREATE TABLE later (id int PRIMARY KEY)");
    copy.batch_execute("CREATE TABLE later (id int PRIMARY KEY)").unwrap();
    copy.batch_execute("ALTER SUBSCRIPTION copy REFRESH PUBLICATION").unwrap();
    world.run("INSERT INTO later VALUES (1)");
    eventually("the user's own rows arrive", SOON, || number(&mut copy, "SELECT count(*) FROM later") == 1);
    let balance = "SELECT settled FROM leadlex.credit_balance";
    assert_eq!((number(&mut copy, balance), world.number(balance)), (15, 15));
    assert!(!subscriber.log().contains("duplicate key"), "{}", subscriber.log());
    let paused: Option<String> =
        copy.query_one("SELECT paused_because FROM leadlex.queue", &[]).unwrap().get(0);
    assert_eq!(paused.as_deref(), Some("clone"));
    copy.batch_execute("DROP SUBSCRIPTION copy").unwrap();
}

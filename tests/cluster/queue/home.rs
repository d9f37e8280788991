//! Where the queue and the worker do nothing by themselves: in a copy, after a restore into the same database, and where
//! nothing is to be written.

use super::*;
use crate::support::check;
use crate::world::{SECRET, credits, enrich, enrich_with_key};

fn paused_because(client: &mut Client) -> Option<String> {
    client.query_one("SELECT paused_because FROM leadlex.queue", &[]).unwrap().get(0)
}

fn state_of_worker(client: &mut Client, process: &str, database: &str) -> Option<String> {
    let sql = "SELECT state FROM leadlex.worker_status WHERE process = $1 AND database = $2";
    client.query_opt(sql, &[&process, &database]).unwrap().map(|row| row.get(0))
}

/// What was queued when a dump was made has been done since: it is not paid for again by itself, nor lost.
#[test]
fn a_restore_into_the_same_database_pauses_the_queue() {
    let world = world(&Beginning::default());
    enqueue_unseen(&world, 1..=2);
    let file = world.cluster.dir().join("app.dump");
    check(world.cluster.command("pg_dump", "app").args(["-Fc", "-f"]).arg(&file), "pg_dump");
    enqueue(&mut world.caller(), 3..=3);
    resume(&world);
    wait_for(&world, "done", 3);
    world.settle();
    let mut restore = world.cluster.command("pg_restore", "app");
    check(restore.args(["--clean", "--if-exists", "-d", "app"]).arg(&file), "pg_restore");
    let mut owner = world.owner();
    assert_eq!(paused_because(&mut owner).as_deref(), Some("clone"));
    wait_for(&world, "queued", 2);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.provider.count(), 3);
    // Overdue as they are they run at once when they may.
    owner.execute("SELECT leadlex.alter_provider('main', secret => $1)", &[&SECRET]).unwrap();
    owner.batch_execute("UPDATE crm SET phone = NULL").unwrap();
    owner.batch_execute("SELECT leadlex.resume_queue()").unwrap();
    wait_for(&world, "done", 2);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.home"), 1);
}

#[test]
fn in_a_copy_the_worker_settles_and_removes_nothing() {
    let world = world(&Beginning::default());
    let key = uuid::Uuid::new_v4();
    enrich_with_key(&mut world.caller(), 1, key).unwrap();
    world.settle();
    world.run("UPDATE leadlex.idempotency SET created_at = created_at - interval '2 days'");
    world.cluster.connect("postgres").batch_execute("CREATE DATABASE copy TEMPLATE app").unwrap();
    let mut copy = world.cluster.connect("copy");
    let mut caller = world.cluster.connect_as("copy", "caller");
    let before = credits(&mut caller).unwrap();
    for n in 2..=4 {
        enrich(&mut caller, n).unwrap();
    }
    // The worker writes what these calls have caused.
    eventually("their receipts are written", SOON, || {
        number(&mut copy, "SELECT count(*) FROM leadlex.receipt") == 4
    });
    eventually("it says that it does no more", SOON, || {
        state_of_worker(&mut copy, "worker", "copy").as_deref() == Some("paused")
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(number(&mut copy, "SELECT count(*) FROM leadlex.credit_pending"), 3);
    assert_eq!(number(&mut copy, "SELECT count(*) FROM leadlex.idempotency"), 1);
    assert_eq!(credits(&mut caller), Some(before - 3));
    world.cluster.restart(crate::support::Stop::Fast);
    let mut copy = world.cluster.connect("copy");
    let mut caller = world.cluster.connect_as("copy", "caller");
    assert_eq!(credits(&mut caller), Some(before - 3), "also when it is loaded anew");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(number(&mut copy, "SELECT count(*) FROM leadlex.credit_pending"), 3);
    copy.batch_execute("SELECT leadlex.resume_queue()").unwrap();
    eventually("all is settled", SOON, || {
        number(&mut copy, "SELECT count(*) FROM leadlex.credit_pending") == 0
    });
    eventually("what has expired is removed", SOON, || {
        number(&mut copy, "SELECT count(*) FROM leadlex.idempotency") == 0
    });
    assert_eq!(credits(&mut caller), Some(before - 3));
}

#[test]
fn where_nothing_is_to_be_written_the_queue_waits() {
    let world = world(&Beginning::default());
    for frozen in ["DATABASE app", "ROLE caller"] {
        // A session that is there keeps the settings that it began with.
        eventually("no worker of the queue is there", SOON, || {
            world.number(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'leadlex_enrich job worker'",
            ) == 0
        });
        world.run(&format!("ALTER {frozen} SET default_transaction_read_only = on"));
        let asked = world.provider.count();
        let mut caller = world.caller();
        caller.batch_execute("SET default_transaction_read_only = off").unwrap();
        enqueue(&mut caller, 1..=2);
        let mut owner = world.owner();
        eventually("it is shown", SOON, || {
            state_of_worker(&mut owner, "job worker", "app").as_deref() == Some("read-only")
        });
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(world.provider.count(), asked, "{frozen}");
        assert_eq!(
            number(&mut owner, "SELECT max(attempts)::int8 FROM leadlex.job WHERE state = 'queued'"),
            0
        );
        let because = paused_because(&mut owner);
        assert_eq!(because.as_deref(), (frozen == "DATABASE app").then_some("read_only"), "{frozen}");
        owner.batch_execute("SET default_transaction_read_only = off").unwrap();
        owner.batch_execute(&format!("ALTER {frozen} RESET default_transaction_read_only")).unwrap();
        eventually("they are done", SOON, || {
            number(&mut world.owner(), "SELECT count(*) FROM leadlex.job WHERE state <> 'done'") == 0
        });
        world.run("UPDATE crm SET phone = NULL");
    }
    assert_eq!(paused_because(&mut world.owner()), None);
}

/// Each table has a primary key, and all of them work under a publication for all tables.
#[test]
fn all_works_under_a_publication_for_all_tables() {
    let world = world(&Beginning { conf: &["wal_level = logical"], ..Beginning::default() });
    let without = "SELECT count(*) FROM pg_class AS c WHERE relnamespace = 'leadlex'::regnamespace AND relkind IN ('r', 'p')
         AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)";
    assert_eq!(world.number(without), 0);
    world.run("CREATE PUBLICATION everything FOR ALL TABLES; SELECT leadlex.create_contact_table()");
    assert_eq!(world.number(without), 0);
    let mut caller = world.caller();
    let request: uuid::Uuid = enrich_with_key(&mut caller, 1, uuid::Uuid::new_v4()).unwrap()["request_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    caller.execute("SELECT leadlex.revert_enrichment($1)", &[&request]).unwrap();
    enqueue(&mut caller, 2..=3);
    wait_for(&world, "done", 2);
    world.settle();
    caller.execute("SELECT leadlex.forget_contact($1)", &[&contact(2)]).unwrap();
    world.run(&format!(
        "SELECT leadlex.pause_queue(); SELECT leadlex.resume_queue();
         SELECT leadlex.suppress('jane@acme.example'); SELECT leadlex.unsuppress('jane@acme.example');
         SELECT leadlex.set_rate_limit('{0}', 5, 5); SELECT leadlex.grant_credits('{0}', 5);
         SELECT leadlex.revoke_api_key((SELECT left(leadlex.create_api_key('{0}'), 12)));
         SELECT leadlex.alter_provider('main', priority => 5); SELECT leadlex.enable_provider('main', false);
         SELECT leadlex.drop_provider('main'); SELECT leadlex.revoke_access('caller', '{0}');
         SELECT leadlex.unbind_contacts('crm'), leadlex.unbind_contacts('leadlex.contact');",
        world.workspace
    ));
    let log = world.cluster.log();
    assert!(!log.contains("replica identity"), "{log}");
}

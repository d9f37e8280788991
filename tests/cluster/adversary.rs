//! What an adversary once broke: each of these crashed the server, was asked twice, or was refused for nothing.

use std::thread;
use std::time::Duration;

use crate::support::{Behaviour, fails, person, server};
use crate::world::{Beginning, FORCE_PARALLEL, PATH, World, contact, enrich, number};

/// Slow enough for another session to come in between.
fn slow(world: &World) {
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(800)));
}

#[test]
fn a_role_dropped_while_its_call_waits_takes_nobody_with_it() {
    let world = World::new();
    slow(&world);
    world.run("CREATE ROLE passing LOGIN; GRANT SELECT, UPDATE ON crm TO PUBLIC;");
    let key: String =
        world.owner().query_one("SELECT leadlex.create_api_key($1)", &[&world.workspace]).unwrap().get(0);
    let mut passing = world.cluster.connect_as("app", "passing");
    let bystander = world.caller();
    passing.execute("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut passing, 1));
        world.provider.wait_for(1, Duration::from_secs(10));
        world.run("DROP ROLE passing");
        // Whether the call ends well or with an error is Postgres's to say; the server goes on.
        let _ = call.join().unwrap();
    });
    let mut bystander = bystander;
    assert_eq!(number(&mut bystander, "SELECT 1::bigint"), 1);
    assert!(!world.cluster.log().contains("terminated by signal"));
    world.check_credits_add_up();
}

#[test]
fn a_parallel_plan_can_ask_who_is_reading() {
    let world = World::new();
    enrich(&mut world.caller(), 1).unwrap();
    let mut reader = world.caller();
    reader
        .batch_execute(&format!(
            "SET {FORCE_PARALLEL} = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
             SET min_parallel_table_scan_size = 0;"
        ))
        .unwrap();
    assert_eq!(number(&mut reader, "SELECT count(*) FROM leadlex.enrichment"), 1);
    assert_eq!(number(&mut reader, "SELECT sum(amount)::bigint FROM leadlex.credit_ledger"), 9);
    assert_eq!(number(&mut reader, "SELECT count(*) FROM leadlex.provider"), 1);
}

#[test]
fn json_that_only_postgres_can_hold_is_a_plain_error() {
    let world = World::new();
    for sql in [
        "SELECT leadlex.bind_contacts('crm', (repeat('[', 200) || repeat(']', 200))::jsonb)",
        "SELECT leadlex.add_provider('x', config => '{\"timeout_ms\": 1e400}')",
        "SELECT leadlex.check_provider('main', '{\"email\": 1e400}')",
    ] {
        assert_eq!(fails(world.owner().query(sql, &[])).sqlstate, "22023", "{sql}");
    }
}

#[test]
fn two_spellings_of_one_key_are_one_question() {
    let world = World::new();
    world.run(
        "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE by_name (id text COLLATE folded PRIMARY KEY, email text, phone text);
         INSERT INTO by_name VALUES ('abc', 'person1@acme.example'); GRANT SELECT, UPDATE ON by_name TO caller;",
    );
    world
        .owner()
        .execute("SELECT leadlex.bind_contacts('by_name', workspace_id => $1)", &[&world.workspace])
        .unwrap();
    slow(&world);
    thread::scope(|scope| {
        for spelling in ["abc", "ABC"] {
            let mut session = world.caller();
            scope.spawn(move || {
                session.query_one("SELECT enrich_row('by_name', $1)", &[&spelling]).unwrap();
            });
        }
    });
    assert_eq!(world.provider.count_of(PATH), 1);
}

#[test]
fn a_partition_cannot_be_bound_beside_its_table() {
    let world = World::new();
    world.run(
        "CREATE TABLE whole (id int PRIMARY KEY, email text, phone text) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (100);",
    );
    let bind = |table: &str| {
        let sql = format!("SELECT leadlex.bind_contacts('{table}', workspace_id => '{}')", world.workspace);
        world.owner().query(&sql, &[])
    };
    bind("whole").unwrap();
    assert_eq!(fails(bind("part")).sqlstate, "42809");
}

#[test]
fn a_trigger_cannot_use_the_key_of_the_call_that_fired_it() {
    let world = World::new();
    world.run(&format!(
        "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.id = '{}' THEN PERFORM enrich_contact('{}', idempotency_key => '{}'); END IF; RETURN NULL; END $$;
         CREATE TRIGGER again AFTER UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION again();",
        contact(1),
        contact(2),
        contact(9)
    ));
    let mut caller = world.caller();
    let sql = "SELECT enrich_contact($1, idempotency_key => $2)";
    let failure = fails(caller.query(sql, &[&contact(1), &contact(9)]));
    assert_eq!(failure.sqlstate, "27000");
    assert_eq!((world.provider.count(), world.ledger().charges), (1, 0));
}

#[test]
fn a_database_that_cannot_hold_every_answer_is_refused() {
    // A prepared one has no template0.
    let world = World::with(&Beginning { by_initdb: Some(server()), ..Beginning::default() });
    world.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let mut client = world.cluster.connect("latin");
    assert_eq!(fails(client.batch_execute("CREATE EXTENSION leadlex_enrich")).sqlstate, "0A000");
}

/// The worker leaves after half a second without work, and a call that uses up a lease on its way leaves its latch set.
/// Neither may let it close the lease that the next call is waiting for.
#[test]
fn calls_that_come_when_the_worker_is_leaving_are_admitted() {
    const CONTACTS: i64 = 120;
    let world = World::with(&Beginning { contacts: CONTACTS as i32, ..Beginning::default() });
    world.provider.always(|_| Behaviour::json(404, serde_json::json!({})));
    world.owner().execute("SELECT leadlex.set_rate_limit($1, 1200, NULL)", &[&world.workspace]).unwrap();
    for round in 1..=9 {
        let all = "SELECT count(*) FROM (SELECT try_enrich_contact(id) AS r FROM crm OFFSET 0) AS x
                   WHERE r->'error'->>'code' = 'no_match'";
        assert_eq!(number(&mut world.caller(), all), CONTACTS, "round {round}");
        thread::sleep(Duration::from_millis([500, 520, 550, 300][round % 4]));
    }
    let used = "SELECT \"limit\" - remaining FROM leadlex.rate_limit() WHERE \"window\" = 'minute'";
    assert_eq!(number(&mut world.caller(), used), 9 * CONTACTS);
}

//! A contact of a table with many partitions costs what one of an ordinary table costs, once it is known where it is.

use std::time::Duration;

use postgres::Client;
use serde_json::json;

use crate::support::{Behaviour, person};
use crate::world::{Beginning, PATH, World, contact, enrich, number, sqlstate};

/// The contacts in this many partitions, by `region`, or by a hash of the key.
const PARTITIONS: i32 = 60;

/// As crm, which it replaces.
fn spread(world: &World, by: &str) {
    let (key, partition) = match by {
        "LIST (region)" => ("id, region", "IN (%s)"),
        _ => ("id", "WITH (MODULUS 60, REMAINDER %s)"),
    };
    world.run(&format!(
        "ALTER TABLE crm RENAME TO unspread;
         CREATE TABLE crm (LIKE unspread, region int NOT NULL, PRIMARY KEY ({key})) PARTITION BY {by};
         DO $$ BEGIN FOR n IN 0..{PARTITIONS} - 1 LOOP
             EXECUTE format('CREATE TABLE part_%s PARTITION OF crm FOR VALUES {partition}', n, n);
         END LOOP; END $$;
         INSERT INTO crm SELECT *, row_number() OVER (ORDER BY id) FROM unspread;
         GRANT SELECT, UPDATE ON crm TO caller; ANALYZE crm"
    ));
}

/// Partitions, with their indexes, that an open transaction has locked.
fn locked(client: &mut Client) -> i64 {
    number(
        client,
        "SELECT count(DISTINCT l.relation) FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
         WHERE l.pid = pg_backend_pid() AND c.relispartition AND c.relname LIKE 'part_%'",
    )
}

fn world() -> World {
    World::with(&Beginning { credits: Some(100), ..Beginning::default() })
}

#[test]
fn an_open_call_has_locked_the_partition_of_its_contact_and_no_other() {
    for by in ["LIST (region)", "HASH (id)"] {
        for policies in [false, true] {
            let world = world();
            spread(&world, by);
            if policies {
                world.run(
                    "ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
                     CREATE POLICY sees ON crm FOR SELECT USING (true);
                     CREATE POLICY changes ON crm FOR UPDATE USING (email <> 'person4@acme.example')",
                );
            }
            let mut caller = world.caller();
            for n in [1, 2, 3] {
                caller.batch_execute("BEGIN").unwrap();
                let told = enrich(&mut caller, n).unwrap();
                assert_eq!(told["fields_updated"].as_array().unwrap().len(), 6, "{by} {n}: {told}");
                // The table, and its only index.
                assert!(locked(&mut caller) <= 2, "{by}, policies {policies}: {} locks", locked(&mut caller));
                caller.batch_execute("COMMIT").unwrap();
            }
            // Nothing to fill.
            caller.batch_execute("BEGIN").unwrap();
            enrich(&mut caller, 1).unwrap();
            assert!(locked(&mut caller) <= 2, "{by}, nothing to fill: {} locks", locked(&mut caller));
            caller.batch_execute("COMMIT").unwrap();
            if policies {
                assert_eq!(sqlstate(&enrich(&mut caller, 4)), "42501");
            }
        }
    }
}

#[test]
fn a_row_that_has_moved_to_another_partition_is_found_there() {
    let world = world();
    spread(&world, "LIST (region)");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    // Between two calls.
    world.run(&format!("UPDATE crm SET region = 50, phone = NULL WHERE id = '{}'", contact(1)));
    let told = enrich(&mut caller, 1).unwrap();
    assert_eq!(told["fields_updated"], json!(["phone"]));
    // While the provider is asked.
    world.provider.forget();
    let slow = Duration::from_millis(2_000);
    world.provider.on(PATH, move |_| Behaviour::json(200, person()).after(slow));
    let call = std::thread::scope(|threads| {
        let caller = &mut caller;
        let call = threads.spawn(move || enrich(caller, 2));
        world.provider.wait_for(1, Duration::from_secs(20));
        world.run(&format!("UPDATE crm SET region = 51, location = 'typed' WHERE id = '{}'", contact(2)));
        call.join().unwrap()
    });
    let told = call.unwrap();
    assert_eq!(told["contact"]["location"], "typed", "{told}");
    assert!(told["fields_updated"].as_array().unwrap().contains(&json!("phone")), "{told}");
    assert_eq!(
        world.number(&format!(
            "SELECT region::int8 FROM crm WHERE id = '{}' AND phone IS NOT NULL",
            contact(2)
        )),
        51
    );
    world.check_credits_add_up();
}

#[test]
fn a_partition_that_is_detached_takes_its_contacts_with_it() {
    let world = world();
    spread(&world, "LIST (region)");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    world.run("ALTER TABLE crm DETACH PARTITION part_1");
    assert_eq!(sqlstate(&enrich(&mut caller, 1)), "LX404");
    world.run("UPDATE part_1 SET phone = NULL; ALTER TABLE crm ATTACH PARTITION part_1 FOR VALUES IN (1)");
    assert_eq!(enrich(&mut caller, 1).unwrap()["fields_updated"], json!(["phone"]));
    // Two rows with its key are refused when it is looked for, as in any table.
    world.run(&format!(
        "INSERT INTO crm (id, region) VALUES ('{}', 40), ('{}', 41)",
        contact(77),
        contact(77)
    ));
    assert_eq!(sqlstate(&enrich(&mut caller, 77)), "21000");
}

#[test]
fn who_may_not_read_what_rows_are_spread_by_enriches_all_the_same() {
    let world = world();
    spread(&world, "LIST (region)");
    world.run(
        "REVOKE ALL ON crm FROM caller;
         GRANT SELECT (id, full_name, email, job_title, company_name, linkedin_url, phone, location, seniority) ON crm TO caller;
         GRANT UPDATE (job_title, company_name, linkedin_url, phone, location, seniority) ON crm TO caller",
    );
    let mut caller = world.caller();
    let told = enrich(&mut caller, 1).unwrap();
    assert_eq!(told["fields_updated"].as_array().unwrap().len(), 6);
    // Values of time are compared whatever the session's style.
    world.run(
        "CREATE TABLE days (id int, day timestamptz, full_name text, email text, phone text) PARTITION BY RANGE (day);
         DO $$ BEGIN FOR n IN 1..30 LOOP
             EXECUTE format('CREATE TABLE day_%s PARTITION OF days FOR VALUES FROM (%L) TO (%L)', n,
                 timestamptz '2026-01-01 00:00+00' + n * interval '1 day', timestamptz '2026-01-01 00:00+00' + (n + 1) * interval '1 day');
         END LOOP; END $$;
         INSERT INTO days SELECT n, timestamptz '2026-01-02 05:06:07.891234+00' + n * interval '1 day', 'Person ' || n, 'p' || n || '@acme.example' FROM generate_series(1, 20) AS n;
         GRANT SELECT, UPDATE ON days TO caller;
         SELECT leadlex.bind_contacts('days', workspace_id => (SELECT id FROM leadlex.workspace))",
    );
    for style in ["SQL, DMY", "German", "ISO, MDY"] {
        caller.batch_execute(&format!("SET datestyle = '{style}'; SET timezone = 'Asia/Kolkata'")).unwrap();
        for n in [3, 4] {
            world.run("UPDATE days SET phone = NULL");
            world.provider.on(PATH, |_| Behaviour::json(200, json!({"data": {"phone": "+12025550198"}})));
            caller.batch_execute("BEGIN").unwrap();
            let told: serde_json::Value = caller
                .query_one("SELECT enrich_row('days', $1::text, '{phone}')", &[&n.to_string()])
                .unwrap()
                .get(0);
            assert_eq!(told["fields_updated"], json!(["phone"]), "{style}");
            let held = "SELECT count(DISTINCT l.relation) FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
                        WHERE l.pid = pg_backend_pid() AND c.relname LIKE 'day\\_%'";
            assert_eq!(number(&mut caller, held), 1, "{style}");
            caller.batch_execute("COMMIT").unwrap();
        }
    }
}

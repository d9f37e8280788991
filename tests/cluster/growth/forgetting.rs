//! An administrator who forgets in every workspace does not ask each of them.

use serde_json::Value;

use super::pages;
use crate::world::{Beginning, World, contact, enrich};

/// So many more workspaces, a hundred times those before.
const MANY: i64 = 1_000;

fn with_workspaces() -> World {
    let world = World::new();
    world.run(
        "CREATE TABLE shared (id int PRIMARY KEY, workspace_id text, email text, phone text);
         GRANT SELECT, UPDATE ON shared TO caller;
         INSERT INTO shared SELECT n, (SELECT id FROM leadlex.workspace), 'p' || n || '@acme.example' FROM generate_series(101, 2100) AS n;
         SELECT leadlex.bind_contacts('shared')",
    );
    add_workspaces(&world, 10);
    world
}

fn add_workspaces(world: &World, count: i64) {
    world.run(&format!(
        "SELECT count(leadlex.create_workspace('w{count}-' || n)) FROM generate_series(1, {count}) AS n"
    ));
    world.run("VACUUM ANALYZE");
}

#[test]
fn what_an_administrator_forgets_reads_no_more_beside_many_workspaces() {
    let world = with_workspaces();
    let one = contact(1);
    // Of a table that is one workspace's, of one with a column for it, and of nothing there.
    let calls = [
        format!("SELECT leadlex.forget_contact('{one}')"),
        format!("SELECT leadlex.export_contact('{one}')"),
        format!("SELECT leadlex.unsuppress_contact('{one}')"),
        "SELECT leadlex.forget_row('shared', 101)".to_owned(),
        "SELECT leadlex.export_row('shared', 101)".to_owned(),
        "SELECT leadlex.forget_row('shared', 7)".to_owned(),
        "SELECT leadlex.unsuppress_row('shared', 101)".to_owned(),
    ];
    let read = || calls.iter().map(|sql| pages(&mut world.owner(), sql)).collect::<Vec<_>>();
    let few = read();
    add_workspaces(&world, MANY);
    let many = read();
    for ((sql, few), many) in calls.iter().zip(&few).zip(&many) {
        assert!(*many <= few + few / 2 + 10, "{few} pages beside 11 workspaces, {many} beside {MANY}: {sql}");
    }
    // And it still finds what there is.
    enrich(&mut world.caller(), 1).unwrap();
    let erased: Value = world.owner().query_one(&calls[0], &[]).unwrap().get(0);
    assert_eq!((&erased["history"], &erased["receipts"]), (&1.into(), &1.into()), "{erased}");
}

/// Where a contact's hash stands beside the workspace, in order.
const TABLES: [&str; 5] = ["outcome", "receipt", "ticket", "undone", "value_name"];

/// Of a table whose key is unique in each workspace alone: what a workspace forgets is found among its own.
#[test]
fn what_a_workspace_forgets_reads_no_more_beside_many_that_have_the_key() {
    let conf = ["leadlex.max_people_per_value = 3", "autovacuum = off"];
    let world = World::with(&Beginning { conf: &conf, ..Beginning::default() });
    let workspace = world.workspace;
    world.run(&format!(
        "CREATE TABLE own_key (workspace_id uuid, id int, full_name text, email text, phone text, PRIMARY KEY (workspace_id, id));
         CREATE INDEX ON own_key (id);
         GRANT SELECT, UPDATE ON own_key TO caller;
         INSERT INTO own_key VALUES ('{workspace}', 1, 'Ann Roe', 'ann@acme.example');
         SELECT leadlex.bind_contacts('own_key')"
    ));
    let mut caller = world.caller();
    caller.query_one("SELECT enrich_row('own_key', 1)", &[]).unwrap();
    crate::support::eventually("it is in the tables", super::SOON, || {
        world.number("SELECT count(*) FROM leadlex.receipt WHERE person IS NOT NULL") == 1
            && world.number("SELECT count(*) FROM leadlex.value_name") > 0
    });
    // 200 workspaces have 200 keys each.
    world.run(&format!(
        "CREATE TEMPORARY TABLE more AS
         WITH spaces AS MATERIALIZED (SELECT gen_random_uuid() AS workspace FROM generate_series(1, 199) UNION ALL SELECT '{workspace}'),
         keys AS MATERIALIZED (SELECT gen_random_uuid() AS person FROM generate_series(1, 199) UNION ALL SELECT person FROM leadlex.receipt)
         SELECT workspace, person FROM spaces, keys
         EXCEPT SELECT workspace_id, person FROM leadlex.receipt;
         INSERT INTO leadlex.receipt (workspace_id, question, answered_at, provider_id, known, matched, lacking, answer, person, contact)
         SELECT m.workspace, gen_random_uuid(), r.answered_at, r.provider_id, r.known, r.matched, r.lacking, r.answer, m.person, m.person
         FROM leadlex.receipt AS r, more AS m;
         INSERT INTO leadlex.value_name (workspace_id, value, name, person)
         SELECT workspace, gen_random_uuid(), gen_random_uuid(), person FROM more;
         INSERT INTO leadlex.ticket (workspace_id, question, provider_id, kept_at, submitted_at, expires_at, known, ticket, person)
         SELECT workspace, gen_random_uuid(), gen_random_uuid(), now(), now(), now() + interval '1 day', gen_random_uuid(), '{{}}', person
         FROM more;
         INSERT INTO leadlex.undone (workspace_id, contact, provider_id, field, value)
         SELECT workspace, person, gen_random_uuid(), 'phone', gen_random_uuid() FROM more;
         INSERT INTO leadlex.outcome (workspace_id, contact, schema_name, table_name, contact_id, at, status)
         SELECT workspace, person, 'public', 'own_key', '1', now(), 'no_match' FROM more;
         ANALYZE"
    ));
    let read = |world: &World| {
        // What a session has counted is told when it ends.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let sql = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables
                   WHERE relname = ANY ($1) ORDER BY relname";
        let rows = world.owner().query(sql, &[&TABLES.to_vec()]).unwrap();
        rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>()
    };
    let before = read(&world);
    let forget = "SELECT leadlex.forget_row('own_key', 1)";
    let erased: Value = world.caller().query_one(forget, &[]).unwrap().get(0);
    assert_eq!((&erased["history"], &erased["receipts"]), (&1.into(), &1.into()), "{erased}");
    let after = read(&world);
    let rows: Vec<i64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    assert!(rows.iter().all(|rows| *rows < 100), "{rows:?} rows read of {TABLES:?}");
    let left =
        "SELECT count(*) FROM leadlex.receipt WHERE workspace_id <> (SELECT id FROM leadlex.workspace)";
    assert_eq!(world.number(left), 199 * 200, "the others' stay");
}

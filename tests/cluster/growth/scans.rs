//! No table of ours is read from end to end again and again while it grows.

use uuid::Uuid;

use super::SOON;
use super::sizes::plays_matches;
use crate::support::eventually;
use crate::world::{Beginning, World, contact};

const MANY: i32 = 1_000;

/// Rows of our tables that were read in whole scans: of those the most.
fn scanned(world: &World) -> (String, i64) {
    let sql = "SELECT relname::text, seq_tup_read FROM pg_stat_all_tables WHERE schemaname = 'leadlex'
               ORDER BY seq_tup_read DESC LIMIT 1";
    let row = world.owner().query_one(sql, &[]).unwrap();
    (row.get(0), row.get(1))
}

fn reads_each_row_a_few_times(world: &World, what: &str) {
    eventually("charges are settled", SOON, || {
        world.number("SELECT count(*) FROM (SELECT FROM leadlex.credit_pending LIMIT 1) AS one") == 0
    });
    // Sessions that ended have told what they read; the worker does so within a second.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let (table, rows) = scanned(world);
    assert!(rows <= i64::from(MANY) * 20, "{what}: {rows} rows of leadlex.{table} were read, one by one");
    world.run("SELECT pg_stat_reset()");
}

fn world() -> World {
    let conf = &["autovacuum = off"];
    let world =
        World::with(&Beginning { contacts: 2 * MANY, credits: Some(10_000), conf, ..Beginning::default() });
    plays_matches(&world);
    // Empty and without a page, as autovacuum leaves them between sets: a plan that is made now is kept by its session.
    world.run("VACUUM ANALYZE");
    world
}

#[test]
fn a_set_and_the_queue_find_rows_by_index() {
    let world = world();
    let ids: Vec<Uuid> = (1..=MANY).map(contact).collect();
    let enriched = "SELECT count(*) FILTER (WHERE status = 'enriched') FROM enrich_contacts($1)";
    let count: i64 = world.caller().query_one(enriched, &[&ids]).unwrap().get(0);
    assert_eq!(count, i64::from(MANY));
    reads_each_row_a_few_times(&world, "a set");

    let ids: Vec<Uuid> = (MANY + 1..=2 * MANY).map(contact).collect();
    world.caller().execute("SELECT leadlex.enqueue($1)", &[&ids]).unwrap();
    eventually("the queue is done", SOON, || {
        world.number("SELECT count(phone) FROM crm") == 2 * i64::from(MANY)
    });
    reads_each_row_a_few_times(&world, "the queue");

    for n in 1..=100 {
        let again = "SELECT enrich_contact($1, overwrite => true, idempotency_key => gen_random_uuid())";
        world.caller().execute(again, &[&contact(n)]).unwrap();
    }
    reads_each_row_a_few_times(&world, "calls");
}

#[test]
fn triggers_that_look_into_tables_of_ours_are_planned_by_index() {
    let world = World::with(&Beginning { contacts: 1, ..Beginning::default() });
    let triggers = "SELECT p.proname::text, 'enable_seqscan=off' = ANY (p.proconfig) FROM pg_proc AS p
         WHERE p.pronamespace = 'leadlex'::regnamespace AND p.prorettype = 'trigger'::regtype AND p.prosrc ~ 'FROM leadlex[.]'
         ORDER BY 1";
    let all: Vec<(String, Option<bool>)> =
        world.owner().query(triggers, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(all.len() >= 4, "{all:?}");
    let (_, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, by_index)| *by_index == Some(true));
    assert_eq!(others, []);
}

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

/// The worker has written and settled all, and told what it read, as sessions that ended have.
fn wait_for_worker(world: &World) {
    eventually("charges are settled and receipts written", SOON, || {
        world.number("SELECT count(*) FROM (SELECT FROM leadlex.credit_pending LIMIT 1) AS one") == 0
            && world.number("SELECT sum(receipts_waiting)::int8 FROM leadlex.worker_status") == 0
    });
    // It does so within a second.
    std::thread::sleep(std::time::Duration::from_secs(2));
}

fn reads_each_row_a_few_times(world: &World, what: &str) {
    wait_for_worker(world);
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

/// Rows that were read in whole scans, and entries of indexes: of those tables that the condition names.
fn rows_read(world: &World, of: &str) -> i64 {
    wait_for_worker(world);
    world.number(&format!(
        "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_all_tables WHERE {of})::int8
              + (SELECT sum(idx_tup_read) FROM pg_stat_all_indexes WHERE {of})::int8"
    ))
}

/// The user's table has one row, and the history is as empty; autovacuum has told the planner so.
fn of_one_row() -> World {
    let conf = &["autovacuum = off"];
    let world = World::with(&Beginning { contacts: 1, credits: Some(10_000), conf, ..Beginning::default() });
    plays_matches(&world);
    world
}

/// Rows 2 to [`MANY`] of the user's table.
fn load(world: &World) -> Vec<Uuid> {
    world.run(&format!(
        "INSERT INTO crm (id, full_name, email)
         SELECT uuid_in(textout('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))), 'Person ' || n, 'person' || n || '@acme.example'
         FROM generate_series(2, {MANY}) AS n"
    ));
    (2..=MANY).map(contact).collect()
}

const ENRICHED: &str = "SELECT count(*) FILTER (WHERE status = 'enriched') FROM enrich_contacts($1)";

#[test]
fn a_session_whose_plans_were_made_on_one_row_reads_what_it_asks_about() {
    let world = of_one_row();
    world.run("VACUUM ANALYZE");
    let mut caller = world.caller();
    let first: i64 = caller.query_one(ENRICHED, &[&vec![contact(1)]]).unwrap().get(0);
    let ids = load(&world);
    world.run("SELECT pg_stat_reset()");
    let others: i64 = caller.query_one(ENRICHED, &[&ids]).unwrap().get(0);
    assert_eq!((first, others), (1, i64::from(MANY) - 1));
    drop(caller);
    let read = rows_read(&world, "relname = 'crm'");
    assert!(read <= i64::from(MANY) * 6, "{read} rows and entries of indexes were read");
}

#[test]
fn a_session_that_has_taken_back_one_row_finds_those_of_others_by_index() {
    let world = of_one_row();
    let enrich = |ids: &[Uuid]| {
        let count: i64 = world.caller().query_one(ENRICHED, &[&ids]).unwrap().get(0);
        assert_eq!(count, ids.len() as i64);
        // The worker has written it down.
        let written =
            format!("SELECT count(*) FROM leadlex.enrichment WHERE contact_id = '{}'", ids[ids.len() - 1]);
        eventually("it is in the history", SOON, || world.number(&written) == 1);
    };
    let mut owner = world.owner();
    let mut take_back = |ids: &[Uuid]| {
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        for sql in [
            "SELECT count(leadlex.revert_enrichment(request_id)) FROM leadlex.enrichment
             WHERE contact_id = ANY ($1) AND reverted_at IS NULL",
            "SELECT count(leadlex.forget_row('crm', id)) FROM unnest($1::text[]) AS id",
        ] {
            let count: i64 = owner.query_one(sql, &[&ids]).unwrap().get(0);
            assert_eq!(count, ids.len() as i64);
        }
    };
    enrich(&[contact(1)]);
    world.run("VACUUM ANALYZE");
    take_back(&[contact(1)]);
    enrich(&load(&world));
    wait_for_worker(&world);
    world.run("SELECT pg_stat_reset()");
    let some: Vec<Uuid> = (2..=201).map(contact).collect();
    take_back(&some);
    let read = rows_read(&world, "schemaname = 'leadlex'");
    assert!(read <= 200 * 50, "{read} rows and entries of indexes were read");
}

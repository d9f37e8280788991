//! Where a call cannot end well, it is refused before anything costs money: nobody is asked, nothing is written.

use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

use crate::support::{Behaviour, Cluster, eventually, fails};
use crate::world::{
    Beginning, FORCE_PARALLEL, Ledger, PATH, World, contact, credits, enrich, number, try_enrich,
};

fn starter(conf: &[&str]) -> World {
    World::with(&Beginning { plan: "starter", conf, ..Beginning::default() })
}

/// Every way to ask, for the n-th contact.
fn calls(n: i32) -> [String; 4] {
    let id = contact(n);
    [
        format!("enrich_contact('{id}')"),
        format!("try_enrich_contact('{id}')"),
        format!("enrich_row('crm', '{id}', NULL, true)"),
        format!("try_enrich_contact('{id}', idempotency_key => gen_random_uuid())"),
    ]
}

/// Each call fails so, leaves the tables alone, and asks nobody.
fn all_refused(world: &World, client: &mut Client, before: &Ledger, sqlstate: &str, says: &str) {
    for call in calls(1) {
        let failure = fails(client.query_one(&format!("SELECT {call}"), &[]));
        assert_eq!(failure.sqlstate, sqlstate, "{call}: {failure:?}");
        assert!(failure.message.contains(says), "{call}: {failure:?}");
        assert!(failure.hint.is_some(), "{call}: {failure:?}");
        // A transaction that was begun outside goes on for the next call.
        let _ = client.batch_execute("ROLLBACK TO SAVEPOINT s");
    }
    assert_eq!(world.provider.connections(), 0, "somebody was asked");
    assert_eq!(world.ledger(), *before);
}

#[test]
fn a_read_only_transaction_asks_nobody() {
    let world = starter(&[]);
    let before = world.ledger();
    let begins = [
        ("", "BEGIN READ ONLY"),
        ("", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"),
        ("", "BEGIN; SET TRANSACTION READ ONLY"),
        ("SET default_transaction_read_only = on", "BEGIN"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "BEGIN"),
    ];
    for (set, begin) in begins {
        let mut caller = world.caller();
        caller.batch_execute(set).unwrap();
        caller.batch_execute(&format!("{begin}; SAVEPOINT s")).unwrap();
        all_refused(&world, &mut caller, &before, "25006", "read-only");
    }
    // Without a BEGIN, by the session's, the role's, the database's and the server's default.
    let mut caller = world.caller();
    caller.batch_execute("SET default_transaction_read_only = on").unwrap();
    all_refused(&world, &mut caller, &before, "25006", "read-only");
    for whom in ["ROLE caller", "DATABASE app"] {
        world.run(&format!("ALTER {whom} SET default_transaction_read_only = on"));
        all_refused(&world, &mut world.caller(), &before, "25006", "read-only");
        // From the next session on, so that this one can take it back.
        world.cluster.connect("postgres").batch_execute(&format!("ALTER {whom} RESET ALL")).unwrap();
    }
    world.cluster.set("default_transaction_read_only", "on");
    all_refused(&world, &mut world.caller(), &before, "25006", "read-only");
    world.cluster.set("default_transaction_read_only", "off");
    enrich(&mut world.caller(), 1).unwrap();
}

fn standby_that_has_all(world: &World) -> Cluster {
    let standby = world.cluster.standby(&[]);
    eventually("the standby catches up", Duration::from_secs(20), || {
        standby
            .config("app")
            .connect(NoTls)
            .is_ok_and(|mut c| c.query("SELECT FROM leadlex.provider", &[]).is_ok_and(|rows| rows.len() == 1))
    });
    standby
}

#[test]
fn a_standby_asks_nobody_and_shows_the_ledger() {
    let world = starter(&[]);
    let before = world.ledger();
    let standby = standby_that_has_all(&world);
    let mut reader = standby.connect_as("app", "caller");
    all_refused(&world, &mut reader, &before, "25006", "standby");
    reader.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    all_refused(&world, &mut reader, &before, "25006", "standby");
    reader.batch_execute("ROLLBACK").unwrap();
    assert_eq!(credits(&mut reader), Some(10));
}

const PREPARE: &str = "PREPARE TRANSACTION 'mine'";

fn world_for_prepare() -> World {
    World::with(&Beginning { conf: &["max_prepared_transactions = 5"], ..Beginning::default() })
}

/// PREPARE fails, all is as before, the session goes on, and no other session has to wait for what it held.
fn cannot_prepare(world: &World, session: &mut Client, before: &Ledger) {
    let failure = fails(session.batch_execute(PREPARE));
    assert_eq!(failure.sqlstate, "0A000", "{failure:?}");
    assert_eq!(world.ledger(), *before, "it was rolled back");
    assert_eq!(world.number("SELECT count(*) FROM pg_prepared_xacts"), 0);
    assert_eq!(world.number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0);
    assert_eq!(number(session, "SELECT 7::int8"), 7, "the session is usable, in no transaction");
    let mut other = world.caller();
    other.batch_execute("BEGIN; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '5s'").unwrap();
    let started = Instant::now();
    let result = enrich(&mut other, 1).unwrap_or_else(|error| panic!("the contact is not free: {error:?}"));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(result["credits_remaining"], before.credits.unwrap() - 1, "the credit is back");
    other.batch_execute("ROLLBACK").unwrap();
}

#[test]
fn a_transaction_with_a_call_cannot_be_prepared() {
    let world = world_for_prepare();
    let before = world.ledger();
    let mut session = world.caller();
    let id = contact(1);
    let enriched = format!("SELECT enrich_contact('{id}')");
    let with_key = format!("SELECT enrich_contact('{id}', idempotency_key => gen_random_uuid())");
    let in_block = format!(
        "DO $$ BEGIN PERFORM enrich_contact('{id}'); RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END $$"
    );
    for statements in [
        enriched.clone(),
        with_key,
        // What came of the call does not matter.
        format!("SAVEPOINT s; {enriched}; ROLLBACK TO s"),
        format!("SAVEPOINT s; {enriched}; RELEASE s"),
        in_block,
        "SELECT try_enrich_contact(NULL); SELECT try_enrich_contact(gen_random_uuid())".to_owned(),
    ] {
        session.batch_execute(&format!("BEGIN; UPDATE crm SET note = 'x'; {statements}")).unwrap();
        cannot_prepare(&world, &mut session, &before);
    }
    world.provider.on(PATH, |_| Behaviour::Reset);
    session.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0; BEGIN").unwrap();
    assert_eq!(try_enrich(&mut session, 1)["error"]["code"], "provider_unavailable");
    world.provider.on(PATH, |_| Behaviour::json(200, crate::support::person()));
    cannot_prepare(&world, &mut session, &before);
    // The session that was refused is not marked for ever.
    enrich(&mut session, 1).unwrap();
    session.batch_execute("BEGIN; UPDATE crm SET note = 'y'").unwrap();
    session.batch_execute(PREPARE).unwrap();
    session.batch_execute("ROLLBACK PREPARED 'mine'").unwrap();
    enrich(&mut session, 2).unwrap();
    world.check_credits_add_up();
    world.check_all_credits_can_be_spent();
}

/// A call that failed has ended the transaction: PREPARE is Postgres's own way to roll it back.
#[test]
fn after_a_failed_call_prepare_rolls_back() {
    let world = world_for_prepare();
    let mut session = world.caller();
    let before = world.ledger();
    world.provider.on(PATH, |_| Behaviour::Reset);
    session.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0; BEGIN").unwrap();
    assert_eq!(fails(enrich(&mut session, 1)).sqlstate, "LX503");
    session.batch_execute(PREPARE).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM pg_prepared_xacts"), 0);
    assert_eq!(world.ledger(), before);
    world.check_all_credits_can_be_spent();
}

/// Credits that were granted would count in this server process only, and for ever, whatever became of the grant.
#[test]
fn a_grant_of_credits_cannot_be_prepared_and_looking_can() {
    let world = world_for_prepare();
    let before = world.ledger();
    let mut owner = world.owner();
    for statement in [
        format!("SELECT leadlex.grant_credits('{}', 5)", world.workspace),
        format!("SELECT leadlex.grant_credits('{}', -5)", world.workspace),
        "SELECT leadlex.create_workspace('second', 5)".to_owned(),
    ] {
        owner.batch_execute(&format!("BEGIN; {statement}")).unwrap();
        assert_eq!(fails(owner.batch_execute(PREPARE)).sqlstate, "0A000", "{statement}");
        assert_eq!(world.ledger(), before, "{statement}");
    }
    let mut caller = world.caller();
    caller.batch_execute("BEGIN; UPDATE crm SET note = 'x' WHERE full_name = 'Person 9'").unwrap();
    assert_eq!(credits(&mut caller), Some(10));
    caller.batch_execute(PREPARE).unwrap();
    caller.batch_execute("COMMIT PREPARED 'mine'").unwrap();
    enrich(&mut caller, 1).unwrap();
    world.check_credits_add_up();
    world.check_all_credits_can_be_spent();
}

/// A function around a call that somebody has wrongly declared PARALLEL SAFE, run where Postgres then would run it.
#[test]
fn a_parallel_worker_asks_nobody() {
    let world = starter(&[]);
    world.run(
        "CREATE FUNCTION wrapped(id uuid) RETURNS jsonb LANGUAGE sql PARALLEL SAFE AS 'SELECT enrich_contact(id)';
         CREATE FUNCTION wrapped_plpgsql(id uuid) RETURNS jsonb LANGUAGE plpgsql PARALLEL SAFE AS
             'BEGIN RETURN enrich_contact(id); END';
         CREATE FUNCTION wrapped_try(id uuid) RETURNS jsonb LANGUAGE plpgsql PARALLEL SAFE AS
             'BEGIN RETURN try_enrich_contact(id); END';
         CREATE FUNCTION wrapped_dynamic(id uuid) RETURNS jsonb LANGUAGE plpgsql PARALLEL SAFE AS
             'DECLARE r jsonb; BEGIN EXECUTE ''SELECT enrich_contact($1)'' INTO r USING id; RETURN r; END';",
    );
    let before = world.ledger();
    let mut caller = world.caller();
    caller.batch_execute(&format!("SET {FORCE_PARALLEL} = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")).unwrap();
    for function in ["wrapped", "wrapped_plpgsql", "wrapped_try", "wrapped_dynamic"] {
        let sql = format!("SELECT {function}(id) FROM crm WHERE full_name = 'Person 1'");
        let rows = caller.query(&format!("EXPLAIN {sql}"), &[]).unwrap();
        let plan: String = rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
        assert!(plan.contains("Gather"), "{function}:\n{plan}");
        let failure = fails(caller.query(&sql, &[]));
        assert_eq!(failure.sqlstate, "25000", "{function}: {failure:?}");
        assert!(failure.message.contains("parallel"), "{function}: {failure:?}");
        assert!(failure.hint.as_ref().unwrap().contains("PARALLEL UNSAFE"), "{function}: {failure:?}");
    }
    assert_eq!(world.provider.connections(), 0);
    assert_eq!(world.ledger(), before);
    // The same session, in no parallel plan.
    caller
        .batch_execute(&format!("SET {FORCE_PARALLEL} = off; SET max_parallel_workers_per_gather = 0"))
        .unwrap();
    assert_eq!(
        caller.query("SELECT wrapped(id) FROM crm WHERE full_name = 'Person 2'", &[]).unwrap().len(),
        1
    );
    world.check_credits_add_up();
}

/// There are no foreign keys, so that a parallel restore can bring the tables in any order.
#[test]
fn a_workspace_goes_with_what_is_its_own_and_not_while_tables_are_bound_for_it() {
    let world = World::new();
    world.end_pauses();
    world.run(
        "SELECT leadlex.create_api_key(id) FROM leadlex.workspace;
         SELECT leadlex.add_provider('own', 'people_data_labs', secret => 'x', workspace_id => id) FROM leadlex.workspace",
    );
    enrich(&mut world.caller(), 1).unwrap();
    eventually("the worker has recorded it", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.provider_tally") > 0
    });
    let refused = fails(world.owner().batch_execute("DELETE FROM leadlex.workspace"));
    assert_eq!(refused.sqlstate, "23503");
    assert!(refused.message.ends_with("acme"), "{refused:?}");
    world.run("SELECT leadlex.unbind_contacts('crm'); DELETE FROM leadlex.workspace");
    for (table, left) in
        [("api_key", 0), ("access", 0), ("provider_config", 1), ("provider_secret", 1), ("binding", 0)]
    {
        assert_eq!(world.number(&format!("SELECT count(*) FROM leadlex.{table}")), left, "{table}");
    }
    world.run("SELECT leadlex.drop_provider('main')");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.provider_tally"), 0);
}

//! Calls inside calls and at odd moments: a user's trigger that enriches another contact, cursors, commit-time triggers.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Behaviour, Stop, fails, person};
use crate::world::{Beginning, PATH, World, contact, credits, enrich, number, pid, sqlstate, try_enrich};

/// A table whose trigger, when a contact has been filled, also enriches the contact after it.
fn with_trigger(credits: i64, inner: &str) -> World {
    let world = World::with(&Beginning { credits: Some(credits), ..Beginning::default() });
    world.run(&format!(
        "CREATE FUNCTION colleague() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.id = '{one}' THEN {inner} END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER colleague AFTER UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION colleague();",
        one = contact(1),
    ));
    world
}

/// Shared memory, ledger and (after a restart, from the ledger) shared memory again tell the same.
fn check_balance(world: &World, expected: i64, charges: i64) {
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.ledger_sum, ledger.charges), (Some(expected), expected, charges));
    world.run("DROP TRIGGER IF EXISTS colleague ON crm; DROP TRIGGER IF EXISTS decline ON crm; ALTER TABLE crm DISABLE ROW LEVEL SECURITY");
    world.check_all_credits_can_be_spent();
    world.cluster.restart(Stop::Fast);
    assert_eq!(world.ledger().credits, Some(0), "after a restart");
}

#[test]
fn a_call_from_a_trigger_of_the_contact_table_is_charged_like_any_other() {
    let world = with_trigger(5, &format!("PERFORM enrich_contact('{}');", contact(2)));
    let result = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(result["credits_remaining"], 3);
    assert!(world.phone(2).is_some());
    check_balance(&world, 3, 2);
}

#[test]
fn an_inner_call_that_fails_does_not_give_back_the_outer_calls_credit() {
    let world = with_trigger(1, &format!("PERFORM try_enrich_contact('{}');", contact(2)));
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person2@acme.example") => Behaviour::json(404, json!({})),
        _ => Behaviour::json(200, person()),
    });
    let mut caller = world.caller();
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 0);
    assert_eq!(sqlstate(&enrich(&mut caller, 3)), "LX402");
    check_balance(&world, 0, 1);
}

#[test]
fn an_inner_call_that_finds_no_match_with_credits_left_changes_no_balance() {
    let world = with_trigger(3, &format!("PERFORM try_enrich_contact('{}');", contact(2)));
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person2@acme.example") => Behaviour::json(404, json!({})),
        _ => Behaviour::json(200, person()),
    });
    let mut caller = world.caller();
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 2);
    check_balance(&world, 2, 1);
}

#[test]
fn an_inner_call_in_an_exception_block_gives_back_only_its_own() {
    let world = with_trigger(
        3,
        &format!(
            "BEGIN PERFORM enrich_contact('{}'); RAISE EXCEPTION 'no';
             EXCEPTION WHEN raise_exception THEN NULL; END;",
            contact(2)
        ),
    );
    let mut caller = world.caller();
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 2);
    assert_eq!(world.phone(2), None);
    check_balance(&world, 2, 1);
}

#[test]
fn an_outer_call_that_is_undone_by_its_trigger_after_an_inner_one_costs_nothing() {
    let world = with_trigger(3, &format!("PERFORM enrich_contact('{}'); RAISE EXCEPTION 'no';", contact(2)));
    let mut caller = world.caller();
    assert_eq!(fails(enrich(&mut caller, 1)).sqlstate, "P0001");
    check_balance(&world, 3, 0);
}

#[test]
fn a_trigger_that_enriches_the_very_contact_does_not_go_round_for_ever() {
    let world = with_trigger(5, &format!("PERFORM try_enrich_contact('{}', overwrite => true);", contact(1)));
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '5s'").unwrap();
    let result = enrich(&mut caller, 1);
    let charges = world.ledger().charges;
    assert!(result.is_ok() || charges == 0, "{result:?}");
    check_balance(&world, 5 - charges, charges);
}

#[test]
fn a_deferred_trigger_enriches_at_commit() {
    let world = World::with(&Beginning { credits: Some(1), ..Beginning::default() });
    world.run(
        "CREATE TABLE signup (id uuid); GRANT ALL ON signup TO caller;
         CREATE FUNCTION signed_up() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM enrich_contact(NEW.id); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER signed_up AFTER INSERT ON signup DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION signed_up();",
    );
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    transaction.execute("INSERT INTO signup VALUES ($1)", &[&contact(1)]).unwrap();
    assert_eq!(world.provider.count(), 0);
    transaction.commit().unwrap();
    assert!(world.phone(1).is_some());
    // The second one has no credit: its commit fails, with the error of the contract.
    let mut transaction = caller.transaction().unwrap();
    transaction.execute("INSERT INTO signup VALUES ($1)", &[&contact(2)]).unwrap();
    let failure = fails(transaction.commit());
    assert_eq!(failure.sqlstate, "LX402", "{failure:?}");
    check_balance(&world, 0, 1);
}

#[test]
fn a_cursor_pays_for_what_was_fetched_and_kept() {
    let world = World::new();
    let mut caller = world.caller();
    caller
        .batch_execute(
            "BEGIN; DECLARE c CURSOR FOR SELECT enrich_contact(id) FROM crm ORDER BY id; FETCH 2 FROM c",
        )
        .unwrap();
    assert_eq!(credits(&mut caller), Some(8));
    caller.batch_execute("SAVEPOINT s; FETCH 3 FROM c").unwrap();
    assert_eq!(credits(&mut caller), Some(5));
    caller.batch_execute("ROLLBACK TO s").unwrap();
    assert_eq!(credits(&mut caller), Some(8));
    caller.batch_execute("FETCH 1 FROM c; CLOSE c; COMMIT").unwrap();
    let charges = world.ledger().charges;
    assert!((2..=3).contains(&charges), "{charges}");
    check_balance(&world, 10 - charges, charges);
}

#[test]
fn the_same_contact_twice_in_one_statement_or_transaction_is_asked_about_once() {
    let world = World::new();
    let mut caller = world.caller();
    let sql = "SELECT enrich_contact(id) FROM (VALUES ($1::uuid), ($1::uuid)) AS v (id)";
    let results: Vec<Value> =
        caller.query(sql, &[&contact(1)]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(results[0]["fields_updated"].as_array().unwrap().len(), 6);
    assert_eq!(results[1]["fields_updated"], json!([]));
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 2).unwrap();
    assert_eq!(enrich(&mut transaction, 2).unwrap()["fields_updated"], json!([]));
    transaction.commit().unwrap();
    assert_eq!(world.provider.count(), 2);
    check_balance(&world, 8, 2);
}

#[test]
fn a_call_from_a_stable_or_sql_function_works_all_the_same() {
    let world = World::new();
    world.run(
        "CREATE FUNCTION stable_one(id uuid) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN enrich_contact(id); END $$;
         CREATE FUNCTION sql_one(id uuid) RETURNS jsonb LANGUAGE sql VOLATILE AS $$ SELECT enrich_contact(id) $$;",
    );
    let mut caller = world.caller();
    for (n, function) in [(1, "stable_one"), (2, "sql_one"), (1, "stable_one")] {
        let sql = format!("SELECT {function}($1)");
        let result: Value = caller.query_one(&sql, &[&contact(n)]).unwrap().get(0);
        assert!(result["contact"]["phone"].is_string(), "{function}: {result}");
    }
    check_balance(&world, 8, 2);
}

#[test]
fn a_trigger_of_the_table_that_declines_the_write_costs_nothing() {
    let world = World::new();
    world.run(
        "CREATE FUNCTION decline() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER decline BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION decline();",
    );
    let result = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(result["fields_updated"], json!([]));
    assert_eq!(result["contact"]["phone"], Value::Null, "as stored");
    check_balance(&world, 10, 0);
}

#[test]
fn a_row_that_policies_let_one_read_but_not_change_costs_nothing() {
    let world = World::new();
    world.run(
        "ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
         CREATE POLICY see ON crm FOR SELECT TO caller USING (true);
         CREATE POLICY change ON crm FOR UPDATE TO caller USING (full_name <> 'Person 1') WITH CHECK (full_name <> 'Person 2');",
    );
    let mut caller = world.caller();
    for n in [1, 2] {
        assert_eq!(fails(enrich(&mut caller, n)).sqlstate, "42501", "contact {n}");
    }
    enrich(&mut caller, 3).unwrap();
    check_balance(&world, 9, 1);
}

#[test]
fn a_waiting_call_goes_on_when_the_holders_savepoint_is_rolled_back() {
    let world = World::new();
    let mut first = world.caller();
    first.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    enrich(&mut first, 1).unwrap();
    let mut second = world.caller();
    second.batch_execute("SET statement_timeout = '5s'").unwrap();
    let backend = pid(&mut second);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| enrich(&mut second, 1));
        world.wait_until_blocked(backend);
        first.batch_execute("ROLLBACK TO s").unwrap();
        waiting.join().unwrap().unwrap();
    });
    first.batch_execute("COMMIT").unwrap();
    check_balance(&world, 9, 1);
}

/// The first call fails while others already wait for it; its transaction stays open.
#[test]
fn a_waiting_call_goes_on_when_the_holders_call_has_failed() {
    let world = World::new();
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})).after(Duration::from_millis(500)));
    let mut first = world.caller();
    first.batch_execute("BEGIN").unwrap();
    let mut second = world.caller();
    second.batch_execute("SET statement_timeout = '5s'").unwrap();
    let backend = pid(&mut second);
    thread::scope(|scope| {
        let failing = scope.spawn(|| try_enrich(&mut first, 1));
        world.provider.wait_for(1, Duration::from_secs(5));
        let waiting = scope.spawn(|| enrich(&mut second, 1));
        world.wait_until_blocked(backend);
        world.provider.on(PATH, |_| Behaviour::json(200, person()));
        assert_eq!(failing.join().unwrap()["error"]["status"], 503);
        waiting.join().unwrap().expect("it need not wait for the other transaction's end");
    });
    first.batch_execute("COMMIT").unwrap();
    check_balance(&world, 9, 1);
}

/// Different spellings of one key are one contact.
#[test]
fn a_contact_is_the_same_however_its_key_is_written() {
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE numbered (id bigint PRIMARY KEY, email text, phone text);
         INSERT INTO numbered VALUES (7, 'seven@acme.example'); GRANT SELECT, UPDATE ON numbered TO caller;
         SELECT leadlex.bind_contacts('numbered', workspace_id => '{}');",
        world.workspace
    ));
    let cases = [
        ("numbered", "7".to_owned(), "007".to_owned()),
        (
            "crm",
            "0000000a-0000-4000-8000-00000000000b".to_owned(),
            "0000000A-0000-4000-8000-00000000000B".to_owned(),
        ),
    ];
    world
        .run("INSERT INTO crm (id, email) VALUES ('0000000a-0000-4000-8000-00000000000b', 'x@acme.example')");
    for (table, one, other) in cases {
        let mut first = world.caller();
        first.batch_execute("BEGIN").unwrap();
        let sql = format!("SELECT enrich_row('{table}', $1)");
        first.query_one(&sql, &[&one]).unwrap();
        let mut second = world.caller();
        let backend = pid(&mut second);
        let asked = world.provider.count();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| second.query_one(&sql, &[&other]).unwrap().get::<_, Value>(0));
            world.wait_until_blocked(backend);
            first.batch_execute("COMMIT").unwrap();
            assert_eq!(waiting.join().unwrap()["fields_updated"], json!([]), "{table}");
        });
        assert_eq!(world.provider.count(), asked, "{table}");
    }
    assert_eq!(number(&mut world.owner(), "SELECT count(*) FROM leadlex.enrichment"), 2);
}

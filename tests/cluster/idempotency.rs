//! Idempotency keys: the same request twice is one request.

use std::thread;
use std::time::Duration;

use postgres::{Client, IsolationLevel};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Behaviour, fails, person};
use crate::world::{Beginning, PATH, World, contact, enrich_with_key, pid, sqlstate};

/// What a replay must repeat word for word.
fn kept(result: &Value) -> Value {
    let keys = ["contact", "fields_updated", "source", "confidence", "field_sources"];
    keys.iter().map(|key| result[key].clone()).collect()
}

fn phone_is(world: &World, phone: &'static str) {
    world.provider.on(PATH, move |_| Behaviour::json(200, crate::world::only_phone(phone)));
}

#[test]
fn a_replay_is_the_stored_result_and_costs_nothing() {
    let world = World::new();
    let mut caller = world.caller();
    let key = Uuid::new_v4();
    let first = enrich_with_key(&mut caller, 1, key).unwrap();
    assert_eq!(first["replayed"], false);
    // The contact has changed since, and the provider would say something else.
    world.run("UPDATE crm SET phone = NULL");
    phone_is(&world, "+12025550199");
    let before = world.ledger();
    for client in [&mut caller, &mut world.caller()] {
        let replay = enrich_with_key(client, 1, key).unwrap();
        assert_eq!(replay["replayed"], true);
        assert_eq!(kept(&replay), kept(&first));
        assert_ne!(replay["request_id"], first["request_id"], "new for every call");
        assert_eq!(replay["credits_remaining"], 9);
    }
    // Defaults written out are the same arguments.
    let all = "SELECT enrich_contact($1, ARRAY['seniority', 'location', 'phone', 'linkedin_url', 'company_name', 'job_title'], NULL, $2)";
    let replay: Value = caller.query_one(all, &[&contact(1), &key]).unwrap().get(0);
    assert_eq!(replay["replayed"], true);
    assert_eq!(world.ledger(), before);
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn without_a_key_every_call_is_one_of_its_own() {
    let world = World::with(&Beginning { conf: &["leadlex.receipt_ttl = 0"], ..Beginning::default() });
    let mut caller = world.caller();
    let sql = "SELECT enrich_contact($1, NULL, true, NULL)";
    for _ in 0..2 {
        let result: Value = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
        assert_eq!(result["replayed"], false);
    }
    assert_eq!(world.provider.count(), 2);
    assert_eq!(world.ledger().stored_results, 0);
}

#[test]
fn errors_are_not_stored() {
    let world = World::new();
    let mut caller = world.caller();
    let key = Uuid::new_v4();
    world.provider.on(PATH, |_| Behaviour::json(500, Value::Null));
    assert_eq!(sqlstate(&enrich_with_key(&mut caller, 1, key)), "LX503");
    let tried: Value = caller
        .query_one("SELECT try_enrich_contact($1, NULL, false, $2)", &[&contact(1), &key])
        .unwrap()
        .get(0);
    assert_eq!(tried["error"]["code"], "provider_unavailable");
    assert_eq!(world.ledger().stored_results, 0);
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    let result = enrich_with_key(&mut caller, 1, key).unwrap();
    assert_eq!((&result["replayed"], &result["credits_remaining"]), (&false.into(), &9.into()));
}

#[test]
fn a_key_expires_after_a_day() {
    let world = World::new();
    let mut caller = world.caller();
    let key = Uuid::new_v4();
    enrich_with_key(&mut caller, 1, key).unwrap();
    world.run(
        "UPDATE leadlex.idempotency SET created_at = clock_timestamp() - interval '23 hours 59 minutes'",
    );
    assert_eq!(enrich_with_key(&mut caller, 1, key).unwrap()["replayed"], true);
    world.run("UPDATE leadlex.idempotency SET created_at = clock_timestamp() - interval '24 hours 1 second'");
    // Free again, for other arguments too.
    let result = enrich_with_key(&mut caller, 2, key).unwrap();
    assert_eq!(result["replayed"], false);
    assert_eq!(enrich_with_key(&mut caller, 2, key).unwrap()["replayed"], true);
    assert_eq!(sqlstate(&enrich_with_key(&mut caller, 1, key)), "LX422");
    assert_eq!(world.ledger().charges, 2);
    world.check_credits_add_up();
}

#[test]
fn a_key_belongs_to_its_workspace() {
    let world = World::new();
    let other: Uuid = world
        .owner()
        .query_one("SELECT leadlex.create_workspace('other', 5, 'unmetered')", &[])
        .unwrap()
        .get(0);
    world.run(&format!(
        "CREATE ROLE neighbour LOGIN; SELECT leadlex.grant_access('neighbour', '{other}');
         CREATE TABLE theirs (LIKE crm INCLUDING ALL); INSERT INTO theirs SELECT * FROM crm;
         GRANT SELECT, UPDATE ON theirs TO neighbour; SELECT leadlex.bind_contacts('theirs', workspace_id => '{other}');"
    ));
    let key = Uuid::new_v4();
    enrich_with_key(&mut world.caller(), 1, key).unwrap();
    let mut neighbour = world.cluster.connect_as("app", "neighbour");
    let sql = "SELECT enrich_row('theirs', $1, idempotency_key => $2)";
    let result: Value = neighbour.query_one(sql, &[&contact(1).to_string(), &key]).unwrap().get(0);
    assert_eq!((&result["replayed"], &result["credits_remaining"]), (&false.into(), &4.into()));
}

#[test]
fn a_key_goes_with_its_transaction_and_savepoint() {
    let world = World::new();
    let mut caller = world.caller();
    let key = Uuid::new_v4();
    let mut transaction = caller.transaction().unwrap();
    let mut inner = transaction.transaction().unwrap();
    enrich_with_key(&mut inner, 1, key).unwrap();
    inner.rollback().unwrap();
    assert_eq!(enrich_with_key(&mut transaction, 1, key).unwrap()["replayed"], false);
    assert_eq!(
        enrich_with_key(&mut transaction, 1, key).unwrap()["replayed"],
        true,
        "in its own transaction"
    );
    transaction.rollback().unwrap();
    assert_eq!(enrich_with_key(&mut caller, 1, key).unwrap()["replayed"], false);
    assert_eq!(world.ledger().charges, 1);
    world.check_credits_add_up();
}

/// The first call has been made and its transaction is open; a second one with the same key comes.
fn duplicate_while_open(world: &World, end: &str, n: i32) -> (Value, Value) {
    let key = Uuid::new_v4();
    let mut first = world.caller();
    first.batch_execute("BEGIN").unwrap();
    let stored = enrich_with_key(&mut first, n, key).unwrap();
    let mut second = world.caller();
    let backend = pid(&mut second);
    thread::scope(|scope| {
        let duplicate = scope.spawn(|| enrich_with_key(&mut second, n, key));
        world.wait_until_blocked(backend);
        first.batch_execute(end).unwrap();
        (stored, duplicate.join().unwrap().unwrap())
    })
}

#[test]
fn a_duplicate_waits_and_replays_what_was_committed() {
    let world = World::new();
    let (first, second) = duplicate_while_open(&world, "COMMIT", 1);
    assert_eq!(second["replayed"], true);
    assert_eq!(kept(&second), kept(&first));
    assert_eq!(world.provider.count(), 1);
    assert_eq!(world.ledger().credits, Some(9));
    world.check_credits_add_up();
}

#[test]
fn a_duplicate_does_the_work_when_the_first_was_rolled_back() {
    let world = World::new();
    let (_, second) = duplicate_while_open(&world, "ROLLBACK", 1);
    assert_eq!((&second["replayed"], &second["credits_remaining"]), (&false.into(), &9.into()));
    assert_eq!(world.provider.count(), 1, "from the receipt of the first");
    assert_eq!(world.ledger().charges, 1);
    world.check_credits_add_up();
}

#[test]
fn a_duplicate_with_other_arguments_waits_too_and_then_is_refused() {
    let world = World::new();
    let key = Uuid::new_v4();
    let mut first = world.caller();
    first.batch_execute("BEGIN").unwrap();
    enrich_with_key(&mut first, 1, key).unwrap();
    let mut second = world.caller();
    second.batch_execute("SET lock_timeout = '200ms'").unwrap();
    assert_eq!(sqlstate(&enrich_with_key(&mut second, 2, key)), "55P03");
    first.batch_execute("COMMIT").unwrap();
    assert_eq!(fails(enrich_with_key(&mut second, 2, key)).sqlstate, "LX422");
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn twenty_duplicates_at_once_are_one_request() {
    let world = World::new();
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(200)));
    let key = Uuid::new_v4();
    let mut clients: Vec<Client> = (0..20).map(|_| world.caller()).collect();
    let results: Vec<Value> = thread::scope(|scope| {
        let calls: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(move || enrich_with_key(client, 1, key).unwrap()))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|r| r["replayed"] == false).count(), 1);
    assert!(results.iter().all(|r| kept(r) == kept(&results[0])));
    assert_eq!(world.provider.count(), 1);
    assert_eq!(world.ledger().charges, 1);
    world.check_credits_add_up();
}

#[test]
fn under_stricter_isolation_a_duplicate_replays_at_the_latest_when_retried() {
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let world = World::with(&Beginning::default());
        let key = Uuid::new_v4();
        let mut second = world.caller();
        let mut transaction = second.build_transaction().isolation_level(level).start().unwrap();
        // Its snapshot is older than the first call.
        transaction.query("SELECT FROM crm", &[]).unwrap();
        enrich_with_key(&mut world.caller(), 1, key).unwrap();
        let result = enrich_with_key(&mut transaction, 1, key).and_then(|v| transaction.commit().map(|()| v));
        match result {
            Ok(replay) => assert_eq!(replay["replayed"], true),
            Err(error) => {
                assert_eq!(crate::support::Failure::of(&error).sqlstate, "40001");
                let mut retry = second.build_transaction().isolation_level(level).start().unwrap();
                assert_eq!(enrich_with_key(&mut retry, 1, key).unwrap()["replayed"], true);
                retry.commit().unwrap();
            }
        }
        assert_eq!((world.provider.count(), world.ledger().charges), (1, 1));
    }
}

#[test]
fn nothing_to_fill_is_stored_as_well() {
    let world = World::new();
    let mut caller = world.caller();
    enrich_with_key(&mut caller, 1, Uuid::new_v4()).unwrap();
    let key = Uuid::new_v4();
    assert_eq!(enrich_with_key(&mut caller, 1, key).unwrap()["fields_updated"], serde_json::json!([]));
    world.run("UPDATE crm SET phone = NULL");
    let replay = enrich_with_key(&mut caller, 1, key).unwrap();
    assert_eq!((&replay["replayed"], &replay["fields_updated"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn a_duplicate_does_the_work_when_the_first_call_failed() {
    let world = World::new();
    world.provider.on(PATH, |_| Behaviour::json(500, Value::Null).after(Duration::from_millis(400)));
    let key = Uuid::new_v4();
    let (mut first, mut second) = (world.caller(), world.caller());
    let backend = pid(&mut second);
    let result = thread::scope(|scope| {
        let failing = scope.spawn(|| enrich_with_key(&mut first, 1, key));
        world.provider.wait_for(1, Duration::from_secs(5));
        let duplicate = scope.spawn(|| enrich_with_key(&mut second, 1, key));
        world.wait_until_blocked(backend);
        world.provider.on(PATH, |_| Behaviour::json(200, person()));
        assert_eq!(sqlstate(&failing.join().unwrap()), "LX503");
        duplicate.join().unwrap().unwrap()
    });
    assert_eq!((&result["replayed"], &result["credits_remaining"]), (&false.into(), &9.into()));
    world.check_credits_add_up();
}

#[test]
fn the_worker_forgets_expired_keys_only() {
    let world = World::new();
    let mut caller = world.caller();
    for n in 1..=4 {
        enrich_with_key(&mut caller, n, Uuid::new_v4()).unwrap();
    }
    // It has looked for them once, and will not again before the restart.
    let runs = "SELECT coalesce(sum(runs), 0)::int8 FROM leadlex.worker_status WHERE database = 'app'";
    crate::support::eventually("the worker has run", Duration::from_secs(15), || world.number(runs) > 0);
    world.run(&format!(
        "UPDATE leadlex.idempotency SET created_at = clock_timestamp() - interval '25 hours'
         WHERE result->'contact'->>'id' <= '{}'",
        contact(2)
    ));
    // It looks for them in its first round after a start.
    world.cluster.restart(crate::support::Stop::Fast);
    crate::support::eventually("expired keys are removed", Duration::from_secs(15), || {
        world.number("SELECT count(*) FROM leadlex.idempotency") == 2
    });
    let purged = "SELECT coalesce(sum(keys_purged), 0)::int8 FROM leadlex.worker_status";
    crate::support::eventually("worker_status tells", Duration::from_secs(5), || world.number(purged) == 2);
}

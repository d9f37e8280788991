//! Credits: exactly as many calls succeed as there are credits, whatever happens to their transactions.

use std::sync::Barrier;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, IsolationLevel};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Behaviour, Failure, fails, person};
use crate::world::{Beginning, PATH, World, contact, credits, enrich, number, pid, sqlstate, try_enrich};

fn with_credits(credits: i64) -> World {
    World::with(&Beginning { credits: Some(credits), ..Beginning::default() })
}

/// 64 connections work off 100 contacts with 40 credits: how many calls succeeded, and with which errors others ended.
fn many_for_few_credits(world: &World, level: IsolationLevel) -> (i64, Vec<String>) {
    const CONNECTIONS: usize = 64;
    const CONTACTS: i32 = 100;
    let next = AtomicI32::new(1);
    let barrier = Barrier::new(CONNECTIONS);
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| world.caller()).collect();
    let results: Vec<(i64, Vec<String>)> = thread::scope(|scope| {
        let workers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let (next, barrier) = (&next, &barrier);
                scope.spawn(move || {
                    let (mut succeeded, mut errors) = (0, Vec::new());
                    barrier.wait();
                    loop {
                        let n = next.fetch_add(1, Ordering::SeqCst);
                        if n > CONTACTS {
                            return (succeeded, errors);
                        }
                        match enrich_retrying(&mut client, n, level) {
                            Ok(_) => succeeded += 1,
                            Err(sqlstate) => errors.push(sqlstate),
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let succeeded = results.iter().map(|(n, _)| n).sum();
    (succeeded, results.into_iter().flat_map(|(_, errors)| errors).collect())
}

/// A transaction of its own, again after a serialization failure; the SQLSTATE of any other error.
fn enrich_retrying(client: &mut Client, n: i32, level: IsolationLevel) -> Result<Value, String> {
    for _ in 0..1_000 {
        let mut transaction = client.build_transaction().isolation_level(level).start().unwrap();
        let result = enrich(&mut transaction, n).and_then(|value| transaction.commit().map(|()| value));
        match result.map_err(|error| Failure::of(&error).sqlstate) {
            Err(sqlstate) if sqlstate == "40001" => continue,
            other => return other,
        }
    }
    panic!("40001 a thousand times");
}

fn exactly_forty_succeed(level: IsolationLevel) {
    let world = World::with(&Beginning { credits: Some(40), contacts: 100, ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(5)));
    let (succeeded, errors) = many_for_few_credits(&world, level);
    assert_eq!(succeeded, 40);
    assert_eq!(errors.len(), 60);
    assert!(errors.iter().all(|e| e == "LX402"), "{errors:?}");
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges, ledger.ledger_sum), (Some(0), 40, 0));
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 40);
    world.check_credits_add_up();
    assert_eq!(world.number("SELECT count(*) FROM leadlex.credit_settled WHERE amount = -1"), 40);
    assert_eq!(world.number("SELECT sum(settled)::int8 FROM leadlex.credit_balance"), 0);
}

#[test]
fn sixty_four_connections_spend_forty_credits_exactly_forty_times() {
    exactly_forty_succeed(IsolationLevel::ReadCommitted);
}

#[test]
fn sixty_four_connections_spend_forty_credits_under_repeatable_read() {
    exactly_forty_succeed(IsolationLevel::RepeatableRead);
}

#[test]
fn sixty_four_connections_spend_forty_credits_under_serializable() {
    exactly_forty_succeed(IsolationLevel::Serializable);
}

#[test]
fn rolled_back_work_costs_nothing() {
    let world = with_credits(5);
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    assert_eq!(enrich(&mut transaction, 1).unwrap()["credits_remaining"], 4);
    assert_eq!(credits(&mut transaction), Some(4));
    assert_eq!(credits(&mut world.caller()), Some(5), "not committed: others see the old balance");
    transaction.rollback().unwrap();
    assert_eq!(world.ledger().credits, Some(5));

    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 1).unwrap();
    let mut inner = transaction.transaction().unwrap();
    assert_eq!(enrich(&mut inner, 2).unwrap()["credits_remaining"], 3);
    inner.rollback().unwrap();
    assert_eq!(credits(&mut transaction), Some(4), "the savepoint gave it back");
    let mut released = transaction.transaction().unwrap();
    assert_eq!(enrich(&mut released, 3).unwrap()["credits_remaining"], 3);
    released.commit().unwrap();
    transaction.commit().unwrap();
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(3), 2));
    assert_eq!((world.phone(1).is_some(), world.phone(2), world.phone(3).is_some()), (true, None, true));
    world.check_all_credits_can_be_spent();
}

#[test]
fn a_released_savepoint_is_rolled_back_with_its_parents() {
    let world = with_credits(5);
    let mut caller = world.caller();
    for statement in ["BEGIN", "SAVEPOINT a", "SAVEPOINT b"] {
        caller.batch_execute(statement).unwrap();
    }
    enrich(&mut caller, 1).unwrap();
    caller.batch_execute("RELEASE b").unwrap();
    enrich(&mut caller, 2).unwrap();
    assert_eq!(credits(&mut caller), Some(3));
    caller.batch_execute("ROLLBACK TO a").unwrap();
    assert_eq!(credits(&mut caller), Some(5));
    enrich(&mut caller, 3).unwrap();
    caller.batch_execute("RELEASE a").unwrap();
    caller.batch_execute("COMMIT").unwrap();
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(4), 1));
    world.check_all_credits_can_be_spent();
}

#[test]
fn a_plpgsql_exception_block_gives_the_credit_back() {
    let world = with_credits(2);
    world.run(
        "CREATE FUNCTION attempt(id uuid) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM enrich_contact(id);
             RAISE EXCEPTION 'changed my mind' USING ERRCODE = 'ZZ001';
         EXCEPTION WHEN SQLSTATE 'ZZ001' THEN RETURN 'undone';
                   WHEN SQLSTATE 'LX402' THEN RETURN 'no credit';
         END $$",
    );
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    for _ in 0..5 {
        let said: String = transaction.query_one("SELECT attempt($1)", &[&contact(1)]).unwrap().get(0);
        assert_eq!(said, "undone");
    }
    enrich(&mut transaction, 2).unwrap();
    enrich(&mut transaction, 3).unwrap();
    let said: String = transaction.query_one("SELECT attempt($1)", &[&contact(1)]).unwrap().get(0);
    assert_eq!(said, "no credit");
    transaction.commit().unwrap();
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(0), 2));
    assert_eq!(world.phone(1), None);
    world.check_credits_add_up();
}

#[test]
fn an_error_later_in_the_transaction_gives_the_credit_back() {
    let world = with_credits(2);
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 1).unwrap();
    fails(transaction.batch_execute("SELECT 1/0"));
    drop(transaction);
    // A session that disappears in the middle of its transaction.
    let mut lost = world.caller();
    lost.batch_execute("BEGIN").unwrap();
    enrich(&mut lost, 1).unwrap();
    let backend = pid(&mut lost);
    drop(lost);
    world.wait_until_gone(backend);
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(2), 0));
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    world.check_all_credits_can_be_spent();
}

#[test]
fn what_is_granted_in_a_transaction_can_be_spent_in_it_and_is_rolled_back_with_it() {
    let world = with_credits(0);
    world.run(&format!("SELECT leadlex.grant_access('postgres', '{}')", world.workspace));
    let grant = |client: &mut postgres::Transaction, amount: i64| -> i64 {
        client
            .query_one("SELECT leadlex.grant_credits($1::uuid, $2::int8)", &[&world.workspace, &amount])
            .unwrap()
            .get(0)
    };
    let mut owner = world.owner();
    let mut transaction = owner.transaction().unwrap();
    assert_eq!(grant(&mut transaction, 2), 2);
    assert_eq!(enrich(&mut transaction, 1).unwrap()["credits_remaining"], 1);
    // Nobody else can spend what is not committed.
    assert_eq!(sqlstate(&enrich(&mut world.caller(), 5)), "LX402");
    let mut inner = transaction.transaction().unwrap();
    assert_eq!(grant(&mut inner, 3), 4);
    inner.rollback().unwrap();
    assert_eq!(enrich(&mut transaction, 2).unwrap()["credits_remaining"], 0);
    assert_eq!(try_enrich(&mut transaction, 3)["error"]["code"], "insufficient_credits");
    transaction.rollback().unwrap();
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges, ledger.ledger_sum), (Some(0), 0, 0));

    let mut transaction = owner.transaction().unwrap();
    grant(&mut transaction, 2);
    enrich(&mut transaction, 1).unwrap();
    transaction.commit().unwrap();
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(1), 1));
    assert_eq!(enrich(&mut world.caller(), 2).unwrap()["credits_remaining"], 0);
    world.check_all_credits_can_be_spent();
}

/// Drivers often send parameters without a type.
#[test]
fn administration_functions_take_parameters_without_a_type() {
    let world = with_credits(1);
    let mut owner = world.owner();
    let balance = owner.query_one("SELECT leadlex.grant_credits($1, $2)", &[&world.workspace, &3_i64]);
    assert_eq!(balance.unwrap().get::<_, i64>(0), 4);
    let sql = "SELECT leadlex.set_rate_limit($1, $2, $3)";
    owner.query_one(sql, &[&world.workspace, &Some(7), &None::<i32>]).unwrap();
    owner
        .query_one("SELECT leadlex.create_api_key($1, $2)", &[&world.workspace, &vec!["write:enrich"]])
        .unwrap();
}

#[test]
fn a_negative_grant_never_takes_more_than_there_is() {
    let world = with_credits(3);
    let sql = "SELECT leadlex.grant_credits($1::uuid, $2::int8)";
    let take = |client: &mut Client, amount: i64| {
        client.query_one(sql, &[&world.workspace, &amount]).map(|row| row.get::<_, i64>(0))
    };
    let mut owner = world.owner();
    match take(&mut owner, -5) {
        Ok(balance) => assert_eq!(balance, 0),
        Err(error) => assert_eq!(Failure::of(&error).sqlstate, "22023", "{error:?}"),
    }
    let balance = world.ledger().credits.unwrap();
    assert!((0..=3).contains(&balance));
    take(&mut owner, 3 - balance).map_or_else(|e| assert_eq!(balance, 3, "{e:?}"), drop);

    // A credit that a call in flight has reserved cannot be taken away under it.
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 1).unwrap();
    owner.batch_execute("SET leadlex.credit_wait = '100ms'").unwrap();
    let _ = take(&mut owner, -3);
    transaction.commit().unwrap();
    assert_eq!(world.ledger().charges, 1);
    world.check_all_credits_can_be_spent();
}

/// Nobody calls anything afterwards that would remind the worker.
#[test]
fn a_workspaces_first_credits_are_settled_without_a_call() {
    let world = with_credits(7);
    world.settle();
    assert_eq!(world.number("SELECT settled FROM leadlex.credit_balance"), 7);
    world.run(&format!("SELECT leadlex.grant_credits('{}'::uuid, 2)", world.workspace));
    world.settle();
    assert_eq!(world.number("SELECT settled FROM leadlex.credit_balance"), 9);
}

#[test]
fn a_rolled_back_workspace_leaves_nothing() {
    let world = with_credits(1);
    let mut owner = world.owner();
    let mut transaction = owner.transaction().unwrap();
    let workspace: Uuid = transaction
        .query_one("SELECT leadlex.create_workspace('brief', 7, 'unmetered')", &[])
        .unwrap()
        .get(0);
    transaction.execute("SELECT leadlex.grant_access('postgres', $1)", &[&workspace]).unwrap();
    assert_eq!(credits(&mut transaction), Some(7), "usable in its own transaction");
    transaction
        .batch_execute(&format!(
            "CREATE TABLE brief (LIKE crm INCLUDING ALL);
             INSERT INTO brief (id, email) VALUES ('{}', 'brief@acme.example');
             SELECT leadlex.bind_contacts('brief', workspace_id => '{workspace}');",
            contact(50)
        ))
        .unwrap();
    let sql = "SELECT enrich_row('brief', $1)";
    let result: Value = transaction.query_one(sql, &[&contact(50).to_string()]).unwrap().get(0);
    assert_eq!(result["credits_remaining"], 6);
    transaction.rollback().unwrap();
    for table in ["workspace", "credit_ledger", "binding"] {
        assert_eq!(number(&mut owner, &format!("SELECT count(*) FROM leadlex.{table}")), 1, "{table}");
    }
    world.check_credits_add_up();
    // The same name again, with other credits.
    owner.query_one("SELECT leadlex.create_workspace('brief', 2, 'unmetered')", &[]).unwrap();
    assert_eq!(world.number("SELECT sum(amount)::int8 FROM leadlex.credit_ledger"), 3);
}

#[test]
fn calls_in_one_workspace_do_not_wait_for_each_others_provider() {
    let world = World::with(&Beginning { credits: Some(100), contacts: 16, ..Beginning::default() });
    let mut clients: Vec<Client> = (0..16).map(|_| world.caller()).collect();
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(700)));
    let started = Instant::now();
    thread::scope(|scope| {
        for (n, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || enrich(client, i32::try_from(n).unwrap() + 1).unwrap());
        }
    });
    assert_eq!(world.provider.peak_in_flight(), 16, "all were asked at once");
    // One after the other they would take 11 s.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    world.check_credits_add_up();
}

#[test]
fn a_reserved_last_credit_is_waited_for_until_it_is_spent_or_given_back() {
    let world = with_credits(1);
    world.cluster.set("leadlex.credit_wait", "500ms");
    let mut holder = world.caller();
    let mut transaction = holder.transaction().unwrap();
    enrich(&mut transaction, 1).unwrap();

    let started = Instant::now();
    let failure = fails(enrich(&mut world.caller(), 2));
    assert_eq!(failure.sqlstate, "LX402", "{failure:?}");
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(480) && waited < Duration::from_secs(3), "{waited:?}");
    assert_eq!(world.provider.count(), 1, "no provider asked without a credit");

    world.cluster.set("leadlex.credit_wait", "20s");
    let mut waiter = world.caller();
    let started = Instant::now();
    let (result, released) = thread::scope(|scope| {
        let waiting = scope.spawn(|| enrich(&mut waiter, 2));
        thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished());
        transaction.rollback().unwrap();
        let released = Instant::now();
        (waiting.join().unwrap(), released)
    });
    assert_eq!(result.unwrap()["credits_remaining"], 0);
    assert!(released.elapsed() < Duration::from_secs(3), "woken, not timed out: {:?}", started.elapsed());

    // Spent: those who wait need wait no longer.
    world.run(&format!("SELECT leadlex.grant_credits('{}', 1)", world.workspace));
    let mut transaction = holder.transaction().unwrap();
    enrich(&mut transaction, 3).unwrap();
    let started = Instant::now();
    let result = thread::scope(|scope| {
        let waiting = scope.spawn(|| enrich(&mut waiter, 4));
        thread::sleep(Duration::from_millis(200));
        transaction.commit().unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(sqlstate(&result), "LX402");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    world.check_credits_add_up();
}

#[test]
fn a_grant_wakes_those_who_wait_for_a_credit() {
    let world = with_credits(1);
    world.cluster.set("leadlex.credit_wait", "20s");
    let mut holder = world.caller();
    let mut transaction = holder.transaction().unwrap();
    enrich(&mut transaction, 1).unwrap();
    let mut waiter = world.caller();
    let result = thread::scope(|scope| {
        let waiting = scope.spawn(|| enrich(&mut waiter, 2));
        thread::sleep(Duration::from_millis(200));
        world.run(&format!("SELECT leadlex.grant_credits('{}', 5)", world.workspace));
        waiting.join().unwrap()
    });
    assert_eq!(result.unwrap()["credits_remaining"], 5, "of six, one is spent; the holder has not committed");
    transaction.commit().unwrap();
    assert_eq!(world.ledger().credits, Some(4));
    world.check_all_credits_can_be_spent();
}

#[test]
fn nobody_waits_for_a_reservation_of_ones_own() {
    let world = with_credits(1);
    world.cluster.set("leadlex.credit_wait", "20s");
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 1).unwrap();
    let started = Instant::now();
    assert_eq!(try_enrich(&mut transaction, 2)["error"]["code"], "insufficient_credits");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    transaction.rollback().unwrap();
}

#[test]
fn a_call_that_changes_nothing_costs_nothing() {
    let world = with_credits(2);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let asked = world.provider.count();
    let nothing_to_fill = enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count(), asked, "nobody was asked");
    assert_eq!(nothing_to_fill["source"], Value::Null);
    let sql = "SELECT enrich_contact($1, NULL, true)";
    let same: Value = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!(world.provider.count(), asked, "the answer is known");
    assert_eq!((&same["fields_updated"], &same["credits_remaining"]), (&serde_json::json!([]), &1.into()));
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(1), 1));
    world.check_all_credits_can_be_spent();
}

#[test]
fn one_statement_over_many_contacts_charges_each_once() {
    let world = with_credits(5);
    let mut caller = world.caller();
    let sql = "SELECT try_enrich_contact(id) FROM (SELECT id FROM crm ORDER BY id) AS c";
    let results: Vec<Value> = caller.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let enriched = results.iter().filter(|r| r["error"].is_null()).count();
    let refused = results.iter().filter(|r| r["error"]["code"] == "insufficient_credits").count();
    assert_eq!((enriched, refused), (5, 5));
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(0), 5));
    world.check_credits_add_up();
}

#[test]
fn the_ledger_names_the_request_of_the_result_and_the_history() {
    let world = with_credits(5);
    let mut caller = world.caller();
    let result = enrich(&mut caller, 1).unwrap();
    let request: Uuid = result["request_id"].as_str().unwrap().parse().unwrap();
    for when in ["pending", "settled"] {
        let ledger: (i64, i64) = {
            let sql = "SELECT count(*), coalesce(sum(amount), 0)::int8 FROM leadlex.credit_ledger WHERE request_id = $1";
            let row = world.owner().query_one(sql, &[&request]).unwrap();
            (row.get(0), row.get(1))
        };
        assert_eq!(ledger, (1, -1), "{when}");
        world.settle();
    }
    let sql = "SELECT contact_id FROM leadlex.enrichment WHERE request_id = $1";
    let contact_id: String = world.owner().query_one(sql, &[&request]).unwrap().get(0);
    assert_eq!(contact_id, contact(1).to_string());
    assert_eq!(
        caller.query("SELECT FROM leadlex.credit_ledger", &[]).unwrap().len(),
        2,
        "a granted role may look"
    );
}

/// The worker folds rows while calls append more: no row may be lost or counted twice.
#[test]
fn settling_while_calls_are_made_loses_nothing() {
    let world = World::with(&Beginning { credits: Some(400), contacts: 240, ..Beginning::default() });
    let mut clients: Vec<Client> = (0..4).map(|_| world.caller()).collect();
    thread::scope(|scope| {
        for (k, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || {
                for n in 0..60 {
                    let mut transaction = client.transaction().unwrap();
                    enrich(&mut transaction, i32::try_from(k * 60 + n).unwrap() + 1).unwrap();
                    if n % 3 == 0 {
                        transaction.rollback().unwrap()
                    } else {
                        transaction.commit().unwrap()
                    }
                    thread::sleep(Duration::from_millis(25));
                }
            });
        }
    });
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(400 - 160), 160));
    world.check_credits_add_up();
}

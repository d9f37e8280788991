//! Rate limits: how many calls are admitted, and what counts as one.

use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, Stop, eventually, fails, person};
use crate::world::{Beginning, PATH, World, contact, enrich, enrich_with_key, number, sqlstate, try_enrich};

fn limited(per_minute: Option<i32>, per_day: Option<i32>) -> World {
    let world = World::with(&Beginning { credits: None, contacts: 50, ..Beginning::default() });
    limit(&mut world.owner(), world.workspace, per_minute, per_day);
    world
}

fn limit(client: &mut impl postgres::GenericClient, workspace: Uuid, minute: Option<i32>, day: Option<i32>) {
    let sql = "SELECT leadlex.set_rate_limit($1::uuid, $2::int, $3::int)";
    client.execute(sql, &[&workspace, &minute, &day]).unwrap();
}

/// `(window, limit, remaining)`, as leadlex.rate_limit() shows it.
fn shown(client: &mut Client) -> Vec<(String, Option<i64>, Option<i64>)> {
    let sql = "SELECT \"window\", \"limit\", remaining FROM leadlex.rate_limit()";
    client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn remaining(client: &mut Client) -> Vec<Option<i64>> {
    shown(client).into_iter().map(|(.., remaining)| remaining).collect()
}

/// As though all use so far had been so many seconds ago: the tables are changed while nobody has them in memory.
fn age(world: &World, seconds: i64) {
    world.run(&format!(
        "UPDATE leadlex.rate_use SET newest = newest - {seconds}, day = (newest - {seconds}) / 86400, lease = 0"
    ));
    world.cluster.restart(Stop::Immediate);
}

#[test]
fn plans_have_the_limits_of_the_contract() {
    for (plan, minute, day) in [
        ("starter", Some(10), Some(100)),
        ("pro", Some(50), Some(1_000)),
        ("org", Some(200), Some(10_000)),
        ("unmetered", None, None),
    ] {
        let world = World::with(&Beginning { plan, ..Beginning::default() });
        let mut caller = world.caller();
        assert_eq!(
            shown(&mut caller),
            [("minute".to_owned(), minute, minute), ("day".to_owned(), day, day)],
            "{plan}"
        );
        let result = enrich(&mut caller, 1).unwrap();
        match minute {
            Some(limit) => {
                assert_eq!(result["rate_limit"]["limit"], limit, "{plan}");
                assert_eq!(result["rate_limit"]["remaining"], limit - 1, "{plan}");
                assert!(result["rate_limit"]["reset"].is_i64() || result["rate_limit"]["reset"].is_u64());
            }
            None => assert_eq!(result["rate_limit"], Value::Null),
        }
    }
}

#[test]
fn the_minute_closes_and_opens_again() {
    let world = limited(Some(3), None);
    let mut caller = world.caller();
    for n in 1..=3 {
        assert_eq!(enrich(&mut caller, n).unwrap()["rate_limit"]["remaining"], 3 - n);
    }
    let failure = fails(enrich(&mut caller, 4));
    assert_eq!(failure.sqlstate, "LX429");
    let retry_after = failure.json()["retry_after"].as_i64().unwrap();
    assert!((50..=61).contains(&retry_after), "{retry_after}");
    drop(caller);
    eventually("the worker closes the leases", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.rate_use WHERE lease = 0 AND day_used = 3") == 1
    });
    age(&world, 40);
    let failure = fails(enrich(&mut world.caller(), 4));
    assert!(failure.json()["retry_after"].as_i64().unwrap() <= 21, "{failure:?}");
    age(&world, 25);
    let mut caller = world.caller();
    assert_eq!(remaining(&mut caller), [Some(3), None]);
    for n in 4..=6 {
        enrich(&mut caller, n).unwrap();
    }
    assert_eq!(sqlstate(&enrich(&mut caller, 7)), "LX429");
    assert_eq!(world.provider.count(), 6);
}

#[test]
fn the_day_turns_at_midnight_utc() {
    let world = limited(None, Some(2));
    let mut caller = world.caller();
    // The caller's clock does not matter.
    caller.batch_execute("SET timezone = 'Pacific/Kiritimati'").unwrap();
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    let failure = fails(enrich(&mut caller, 3));
    assert_eq!(failure.sqlstate, "LX429");
    let midnight =
        world.number("SELECT extract(epoch FROM date_trunc('day', now(), 'UTC') + interval '1 day')::int8");
    assert_eq!(failure.json()["reset"], midnight);
    let sql = "SELECT extract(epoch FROM reset)::int8 FROM leadlex.rate_limit() WHERE \"window\" = 'day'";
    assert_eq!(number(&mut caller, sql), midnight);
    drop(caller);
    eventually("the worker closes the leases", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.rate_use WHERE lease = 0 AND day_used = 2") == 1
    });
    age(&world, 86_400);
    assert_eq!(remaining(&mut world.caller()), [None, Some(2)]);
    enrich(&mut world.caller(), 3).unwrap();
}

#[test]
fn a_changed_limit_holds_for_the_next_call_of_every_session() {
    let world = limited(Some(5), None);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    let mut owner = world.owner();
    limit(&mut owner, world.workspace, Some(2), None);
    assert_eq!(sqlstate(&enrich(&mut caller, 3)), "LX429");
    limit(&mut owner, world.workspace, Some(3), None);
    assert_eq!(enrich(&mut caller, 3).unwrap()["rate_limit"]["remaining"], 0);
    assert_eq!(sqlstate(&enrich(&mut caller, 4)), "LX429");
    // Not before it is committed, and not if it never is.
    let mut transaction = owner.transaction().unwrap();
    limit(&mut transaction, world.workspace, None, None);
    assert_eq!(sqlstate(&enrich(&mut caller, 4)), "LX429");
    transaction.rollback().unwrap();
    assert_eq!(sqlstate(&enrich(&mut caller, 4)), "LX429");
    limit(&mut owner, world.workspace, None, None);
    let result = enrich(&mut caller, 4).unwrap();
    assert_eq!(result["rate_limit"], Value::Null, "{result}");
    limit(&mut owner, world.workspace, Some(0), None);
    assert_eq!(sqlstate(&enrich(&mut caller, 5)), "LX429");
}

#[test]
fn what_was_used_while_unlimited_is_not_invented_later() {
    let world = limited(None, None);
    let mut caller = world.caller();
    for n in 1..=4 {
        enrich(&mut caller, n).unwrap();
    }
    limit(&mut world.owner(), world.workspace, Some(10), None);
    let left = remaining(&mut caller)[0].unwrap();
    assert!((6..=10).contains(&left), "{left}");
}

#[test]
fn a_refused_call_uses_nothing_and_delays_nothing() {
    let world = limited(Some(2), Some(50));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    let reset = fails(enrich(&mut caller, 3)).json()["reset"].clone();
    for _ in 0..10 {
        let failure = fails(enrich(&mut caller, 3));
        assert_eq!((failure.sqlstate.as_str(), &failure.json()["reset"]), ("LX429", &reset));
        assert_eq!(try_enrich(&mut caller, 3)["error"]["code"], "rate_limited");
    }
    assert_eq!(remaining(&mut caller), [Some(0), Some(48)]);
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn looking_uses_nothing() {
    let world = limited(Some(2), Some(2));
    let mut caller = world.caller();
    for _ in 0..20 {
        assert_eq!(remaining(&mut caller), [Some(2), Some(2)]);
    }
    enrich(&mut caller, 1).unwrap();
    for _ in 0..20 {
        assert_eq!(remaining(&mut caller), [Some(1), Some(1)]);
    }
}

#[test]
fn what_a_rolled_back_call_used_stays_used() {
    let world = limited(Some(10), Some(10));
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 1).unwrap();
    let mut inner = transaction.transaction().unwrap();
    enrich(&mut inner, 2).unwrap();
    inner.rollback().unwrap();
    transaction.rollback().unwrap();
    assert_eq!(remaining(&mut caller), [Some(8), Some(8)]);
    // Long enough to get to the provider on a busy machine.
    caller.batch_execute("SET statement_timeout = '1s'").unwrap();
    world.provider.on(PATH, |_| Behaviour::Never);
    assert_eq!(sqlstate(&enrich(&mut caller, 3)), "57014");
    caller.batch_execute("RESET statement_timeout").unwrap();
    assert_eq!(remaining(&mut caller), [Some(7), Some(7)]);
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    assert_eq!(sqlstate(&enrich(&mut caller, 3)), "LX409");
    assert_eq!(remaining(&mut caller), [Some(6), Some(6)], "a call without a match was a call");
}

#[test]
fn a_replay_and_a_full_contact_use_nothing() {
    let world = limited(Some(1), Some(1));
    let mut caller = world.caller();
    let key = Uuid::new_v4();
    enrich_with_key(&mut caller, 1, key).unwrap();
    for _ in 0..5 {
        let replay = enrich_with_key(&mut caller, 1, key).unwrap();
        assert_eq!((&replay["replayed"], &replay["rate_limit"]["remaining"]), (&json!(true), &json!(0)));
        let full = enrich(&mut caller, 1).unwrap();
        assert_eq!((&full["fields_updated"], &full["rate_limit"]["remaining"]), (&json!([]), &json!(0)));
    }
    for (n, call) in
        [(1, "enrich_contact(NULL)"), (2, "enrich_contact('00000000-0000-4000-8000-000000000999')")]
    {
        fails(caller.query_one(&format!("SELECT {call}"), &[]));
        assert_eq!(remaining(&mut caller), [Some(0), Some(0)], "{n}");
    }
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn thirty_two_connections_never_get_more_than_the_limit() {
    const CONNECTIONS: i32 = 32;
    let world = limited(Some(20), None);
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(3)));
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| world.caller()).collect();
    let next = AtomicI32::new(1);
    let results: Vec<String> = thread::scope(|scope| {
        let calls: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let next = &next;
                scope.spawn(move || {
                    let mut results = Vec::new();
                    loop {
                        let n = next.fetch_add(1, Ordering::SeqCst);
                        if n > 50 {
                            return results;
                        }
                        results.push(sqlstate(&enrich(&mut client, n)));
                    }
                })
            })
            .collect();
        calls.into_iter().flat_map(|call| call.join().unwrap()).collect()
    });
    let count = |state: &str| results.iter().filter(|r| *r == state).count();
    assert_eq!((count("00000"), count("LX429"), results.len()), (20, 30, 50), "{results:?}");
    assert_eq!(world.provider.count(), 20);
    assert_eq!(remaining(&mut world.caller()), [Some(0), None]);
}

#[test]
fn workspaces_have_limits_of_their_own() {
    let world = limited(Some(1), None);
    let other: Uuid = world
        .owner()
        .query_one("SELECT leadlex.create_workspace('other', NULL, 'starter')", &[])
        .unwrap()
        .get(0);
    world.run(&format!(
        "CREATE ROLE neighbour LOGIN; SELECT leadlex.grant_access('neighbour', '{other}');
         CREATE TABLE theirs (LIKE crm INCLUDING ALL); INSERT INTO theirs SELECT * FROM crm;
         GRANT SELECT, UPDATE ON theirs TO neighbour; SELECT leadlex.bind_contacts('theirs', workspace_id => '{other}');"
    ));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    assert_eq!(sqlstate(&enrich(&mut caller, 2)), "LX429");
    let mut neighbour = world.cluster.connect_as("app", "neighbour");
    let sql = "SELECT enrich_row('theirs', $1)";
    let result: Value = neighbour.query_one(sql, &[&contact(1).to_string()]).unwrap().get(0);
    assert_eq!(result["rate_limit"]["remaining"], 9);
}

/// The worker keeps the tables. Where it cannot, no use may go unrecorded, and no call may hang.
#[test]
fn a_call_whose_use_cannot_be_recorded_is_not_admitted() {
    let world = limited(Some(30), None);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let sql = "SELECT pid::int8 FROM leadlex.worker_status WHERE process = 'launcher'";
    let launcher = world.number(sql).to_string();
    let signal = |signal: &str| {
        let status = std::process::Command::new("kill").args([signal, &launcher]).status().unwrap();
        assert!(status.success());
    };
    // First, so that it starts no other worker once this one has left.
    signal("-STOP");
    eventually("the worker closes the leases and leaves", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.rate_use WHERE lease = 0 AND day_used = 1") == 1
            && world
                .number("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'leadlex_enrich worker'")
                == 0
    });
    let started = Instant::now();
    let result = enrich(&mut caller, 2);
    let waited = started.elapsed();
    caller.batch_execute("SET statement_timeout = '300ms'").unwrap();
    let cancelled = enrich(&mut caller, 2);
    caller.batch_execute("RESET statement_timeout").unwrap();
    signal("-CONT");
    assert_eq!(sqlstate(&result), "55000", "{result:?}");
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    assert_eq!(sqlstate(&cancelled), "57014", "the wait can be cancelled");
    assert_eq!(world.provider.count(), 1);
    enrich(&mut caller, 2).unwrap();
}

#[test]
fn workers_that_are_terminated_again_and_again_break_no_call() {
    let world = World::with(&Beginning { credits: None, plan: "org", contacts: 150, ..Beginning::default() });
    let done = std::sync::atomic::AtomicBool::new(false);
    let next = AtomicI32::new(1);
    let clients: Vec<Client> = (0..4).map(|_| world.caller()).collect();
    let calls: i64 = thread::scope(|scope| {
        scope.spawn(|| {
            let mut owner = world.owner();
            while !done.load(Ordering::SeqCst) {
                owner
                    .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'leadlex_enrich worker'", &[])
                    .unwrap();
                thread::sleep(Duration::from_millis(30));
            }
        });
        let sessions: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let next = &next;
                scope.spawn(move || {
                    let mut calls = 0;
                    loop {
                        let n = next.fetch_add(1, Ordering::SeqCst);
                        if n > 150 {
                            return calls;
                        }
                        enrich(&mut client, n).unwrap();
                        calls += 1;
                        thread::sleep(Duration::from_millis(10));
                    }
                })
            })
            .collect();
        // The terminating thread ends first, whatever became of the sessions: else a failure would hang.
        let ended: Vec<_> = sessions.into_iter().map(|session| session.join()).collect();
        done.store(true, Ordering::SeqCst);
        ended.into_iter().map(|calls| calls.unwrap()).sum()
    });
    assert_eq!(calls, 150);
    assert_eq!(world.ledger().rate_used[1], 150);
    world.cluster.restart(Stop::Fast);
    assert_eq!(world.ledger().rate_used[1], 150, "and all of it is in the tables");
}

/// With no background worker to be had, calls with a limit say so; all others go on.
#[test]
fn without_a_free_worker_process_a_limited_call_says_so_and_others_go_on() {
    // Room for the launcher (and Postgres's own for logical replication), for no worker.
    let world = World::with(&Beginning {
        credits: Some(5),
        conf: &["max_worker_processes = 2"],
        ..Beginning::default()
    });
    let mut caller = world.caller();
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 4);
    limit(&mut world.owner(), world.workspace, Some(10), None);
    let failure = fails(enrich(&mut caller, 2));
    assert_eq!(failure.sqlstate, "55000", "{failure:?}");
    assert!(failure.hint.as_ref().unwrap().contains("max_worker_processes"), "{failure:?}");
    assert_eq!(world.provider.count(), 1);
    limit(&mut world.owner(), world.workspace, None, None);
    assert_eq!(enrich(&mut caller, 2).unwrap()["credits_remaining"], 3);
}

//! A ticket outlives the transaction that got it.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::vendor::{POLL, Ready, SUBMIT, phone, world};
use super::{tickets, wait_for_tickets};
use crate::support::{Behaviour, Stop, eventually};
use crate::world::{World, credits, enrich, pid, sqlstate, try_enrich};

/// Of the first contact.
fn answer() -> String {
    phone("person1@acme.example")
}

#[test]
fn a_call_hands_in_asks_until_it_is_ready_and_writes() {
    let (world, slow) = world(Ready::AfterPolls(2), json!({}));
    let mut caller = world.caller();
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!(result["contact"]["phone"], answer());
    assert_eq!((&result["credits_remaining"], &result["pending"]), (&json!(9), &json!(null)));
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (1, 3), "pending twice, then done");
    wait_for_tickets(&world, 0);
    // The answer is kept like any other.
    world.run("UPDATE crm SET phone = NULL");
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], answer());
    assert_eq!(world.provider.count(), 4);
    let stats = world
        .owner()
        .query_one("SELECT calls, matches, no_matches, failures FROM leadlex.provider_stats", &[])
        .unwrap();
    let counts: Vec<i64> = (0..4).map(|at| stats.get(at)).collect();
    assert_eq!(counts, [4, 1, 0, 2], "each request is counted");
    world.check_credits_add_up();
}

/// What goes wrong between handing in and the answer.
fn interrupted(what: impl Fn(&World)) {
    let (world, slow) = world(Ready::AfterPolls(0), json!({"poll_every_s": 3}));
    what(&world);
    assert_eq!(slow.submissions(), 1);
    let result = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(result["contact"]["phone"], answer());
    assert_eq!(slow.submissions(), 1, "it was handed in before");
    assert_eq!(world.provider.count_of(POLL), 1);
    wait_for_tickets(&world, 0);
    world.check_credits_add_up();
    assert_eq!(credits(&mut world.caller()), Some(9));
}

#[test]
fn a_rollback_loses_no_ticket() {
    interrupted(|world| {
        // It is not ready within the call's time.
        world.cluster.set("leadlex.total_timeout", "2s");
        let mut caller = world.caller();
        let mut transaction = caller.transaction().unwrap();
        assert_eq!(try_enrich(&mut transaction, 1)["error"]["reason"], "pending");
        transaction.rollback().unwrap();
        world.cluster.set("leadlex.total_timeout", "15s");
    });
}

#[test]
fn a_cancel_loses_no_ticket() {
    interrupted(|world| {
        let mut caller = world.caller();
        let backend = pid(&mut caller);
        let result = thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut caller, 1));
            wait_for_tickets(world, 1);
            world.cancel(backend);
            call.join().unwrap()
        });
        assert_eq!(sqlstate(&result), "57014");
    });
}

#[test]
fn a_cancel_before_the_answer_loses_none_either() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    let late = slow.clone();
    world.provider.on(SUBMIT, move |request| {
        Behaviour::json(202, late.submit(request.param("email"))).after(Duration::from_millis(900))
    });
    let mut caller = world.caller();
    world.abandon(&mut caller, 1);
    wait_for_tickets(&world, 1);
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], answer());
    assert_eq!(slow.submissions(), 1);
}

#[test]
fn a_session_that_is_terminated_loses_no_ticket() {
    interrupted(|world| {
        let mut caller = world.caller();
        let backend = pid(&mut caller);
        thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut caller, 1));
            wait_for_tickets(world, 1);
            world.run(&format!("SELECT pg_terminate_backend({backend})"));
            let error = call.join().unwrap().unwrap_err();
            assert!(error.is_closed() || sqlstate::<()>(&Err(error)) == "57P01");
        });
    });
}

#[test]
fn a_session_that_ends_while_it_hands_in_loses_no_ticket() {
    // With a connection that is kept, and without; terminated, and closed by its client after a cancel.
    for (before, terminated) in [(1, true), (0, true), (1, false), (0, false)] {
        let (world, slow) = world(Ready::AfterPolls(0), json!({}));
        let mut caller = world.caller();
        if before > 0 {
            enrich(&mut caller, 2).unwrap();
        }
        let late = slow.clone();
        world.provider.on(SUBMIT, move |request| {
            Behaviour::json(202, late.submit(request.param("email"))).after(Duration::from_millis(700))
        });
        let backend = pid(&mut caller);
        let requests = world.provider.count();
        thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut caller, 1));
            eventually("it is handed in", Duration::from_secs(5), || world.provider.count() > requests);
            match terminated {
                true => world.run(&format!("SELECT pg_terminate_backend({backend})")),
                false => world.cancel(backend),
            }
            call.join().unwrap().unwrap_err();
        });
        drop(caller);
        wait_for_tickets(&world, 1);
        assert_eq!(enrich(&mut world.caller(), 1).unwrap()["contact"]["phone"], answer());
        assert_eq!(slow.submissions(), before + 1, "{before} {terminated}");
    }
}

/// It stays for as long as the session does, which waits for the vendor's answer.
#[test]
fn the_worker_writes_a_ticket_that_is_handed_in_while_the_server_shuts_down() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({"timeout_ms": 10_000}));
    world.cluster.set("leadlex.total_timeout", "20s");
    let late = slow.clone();
    world.provider.on(SUBMIT, move |request| {
        Behaviour::json(202, late.submit(request.param("email"))).after(Duration::from_millis(4_000))
    });
    let mut caller = world.caller();
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1));
        world.provider.wait_for(1, Duration::from_secs(10));
        world.cluster.restart(Stop::Fast);
        call.join().unwrap().unwrap_err();
    });
    assert_eq!(super::tickets(&world), 1);
    assert_eq!(enrich(&mut world.caller(), 1).unwrap()["contact"]["phone"], answer());
    assert_eq!(slow.submissions(), 1);
}

#[test]
fn a_crash_loses_no_ticket_that_is_written_down() {
    for how in [Stop::Kill, Stop::Immediate, Stop::Fast] {
        interrupted(|world| {
            let mut caller = world.caller();
            thread::scope(|scope| {
                let call = scope.spawn(|| enrich(&mut caller, 1));
                wait_for_tickets(world, 1);
                world.cluster.restart(how);
                call.join().unwrap().unwrap_err();
            });
        });
    }
}

#[test]
fn a_backend_that_is_killed_loses_no_ticket_that_is_written_down() {
    interrupted(|world| {
        let mut caller = world.caller();
        let backend = pid(&mut caller);
        thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut caller, 1));
            wait_for_tickets(world, 1);
            world.cluster.kill9(backend);
            call.join().unwrap().unwrap_err();
        });
        world.cluster.wait_until_ready();
    });
}

#[test]
fn it_is_not_asked_for_before_it_is_written_down() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    // The second step merely follows: it is due at once.
    let mut config = super::vendor::config(&world.provider, json!({}));
    config["steps"][1]["response"]["pending"] = json!({"status": []});
    for polling in ["poll_every_s", "poll_for_s"] {
        config.as_object_mut().unwrap().remove(polling);
    }
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    let mut owner = world.owner();
    let mut holder = owner.transaction().unwrap();
    holder.batch_execute("LOCK leadlex.ticket IN SHARE MODE").unwrap();
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut world.caller(), 1));
        world.provider.wait_for(1, Duration::from_secs(10));
        thread::sleep(Duration::from_millis(500));
        assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (1, 0));
        holder.rollback().unwrap();
        assert_eq!(call.join().unwrap().unwrap()["contact"]["phone"], answer());
    });
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (1, 1));
}

#[test]
fn two_sessions_with_one_question_hand_it_in_once() {
    let (world, slow) = world(Ready::AfterPolls(1), json!({}));
    world.run("UPDATE crm SET email = 'person1@acme.example'");
    let results: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (1..=4)
            .map(|n| {
                let world = &world;
                scope.spawn(move || enrich(&mut world.caller(), n).unwrap())
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(results.iter().all(|result| result["contact"]["phone"] == answer()), "{results:?}");
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (1, 2));
    world.check_credits_add_up();
}

#[test]
fn another_response_price_or_limit_keeps_it_and_another_request_does_not() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({"poll_every_s": 30}));
    let pending = try_enrich(&mut world.caller(), 1);
    assert_eq!(pending["error"]["reason"], "pending", "{pending}");
    wait_for_tickets(&world, 1);
    let alter = |more: serde_json::Value| {
        let config = super::vendor::config(&world.provider, more);
        world
            .owner()
            .execute("SELECT leadlex.alter_provider('main', config => $1, secret => 'other')", &[&config])
            .unwrap();
    };
    alter(json!({"poll_every_s": 30, "poll_for_s": 900, "max_requests_per_minute": 100}));
    assert_eq!(try_enrich(&mut world.caller(), 1)["error"]["reason"], "pending");
    assert_eq!((slow.submissions(), world.provider.count()), (1, 1), "not asked before it is due");
    let mut other = super::vendor::config(&world.provider, json!({"poll_every_s": 30}));
    other["steps"][0]["request"]["query"]["v"] = json!("2");
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&other]).unwrap();
    try_enrich(&mut world.caller(), 1);
    assert_eq!(slow.submissions(), 2);
    wait_for_tickets(&world, 2);
}

#[test]
fn a_provider_of_one_request_has_no_ticket() {
    let world = World::new();
    enrich(&mut world.caller(), 1).unwrap();
    world.provider.on(crate::world::PATH, |_| Behaviour::json(202, json!({})));
    let failed = try_enrich(&mut world.caller(), 2);
    assert_eq!(failed["error"]["reason"], "pending");
    assert_eq!((tickets(&world), world.provider.count()), (0, 2), "it is asked again by a later call only");
    try_enrich(&mut world.caller(), 2);
    assert_eq!(world.provider.count(), 3);
    assert_eq!(world.phone(2), None);
}

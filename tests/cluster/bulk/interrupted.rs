//! ROLLBACK, cancel, a cut body and kill -9 around an answer about several contacts.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{ALL, answers, check_whose, counts, enrich_all, outcomes, requests, world_of};
use crate::support::provider::After;
use crate::support::{Behaviour, eventually};
use crate::world::{contact, credits, pid, sqlstate};

#[test]
fn a_rolled_back_set_pays_nothing_twice() {
    let world = world_of(20, Some(100), 10);
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    assert_eq!(outcomes(&enrich_all(&mut transaction, 1..=20)), counts([("enriched", 20)]));
    transaction.rollback().unwrap();
    assert_eq!((check_whose(&world), credits(&mut caller)), (0, Some(100)));
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=20)), counts([("enriched", 20)]));
    assert_eq!((requests(&world), check_whose(&world)), (vec![10, 10], 20));
    world.check_credits_add_up();
}

#[test]
fn an_answer_that_comes_after_a_cancel_is_kept_for_each_contact() {
    let world = world_of(10, Some(100), 10);
    let late = Duration::from_millis(700);
    world.provider.on(ALL, move |request| Behaviour::json(200, json!(answers(request))).after(late));
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    let ids: Vec<_> = (1..=10).map(contact).collect();
    let result = thread::scope(|scope| {
        let call = scope.spawn(|| caller.query("SELECT * FROM enrich_contacts($1, '{phone}')", &[&ids]));
        world.provider.wait_for(1, Duration::from_secs(10));
        world.cancel(backend);
        call.join().unwrap()
    });
    assert_eq!(sqlstate(&result), "57014");
    assert_eq!(credits(&mut world.caller()), Some(100));
    eventually("all answers are in the tables", Duration::from_secs(20), || {
        world.number("SELECT count(*) FROM leadlex.receipt") == 10
    });
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=10)), counts([("enriched", 10)]));
    assert_eq!((requests(&world), check_whose(&world)), (vec![10], 10));
    world.check_credits_add_up();
}

#[test]
fn a_set_that_was_answered_elsewhere_meanwhile_waits_and_asks_nothing_twice() {
    let world = world_of(10, Some(100), 10);
    let late = Duration::from_millis(800);
    world.provider.on(ALL, move |request| Behaviour::json(200, json!(answers(request))).after(late));
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let ids: Vec<_> = (1..=10).map(contact).collect();
            caller.query("SELECT * FROM enrich_contacts($1, '{phone}')", &[&ids])
        });
        world.provider.wait_for(1, Duration::from_secs(10));
        world.cancel(backend);
        assert_eq!(sqlstate(&first.join().unwrap()), "57014");
        // The request is still under way.
        assert_eq!(outcomes(&enrich_all(&mut world.caller(), 1..=10)), counts([("enriched", 10)]));
    });
    assert_eq!((requests(&world), check_whose(&world)), (vec![10], 10));
}

#[test]
fn a_cut_body_says_nothing_about_anybody() {
    let world = world_of(6, Some(100), 6);
    world.provider.on(ALL, |request| {
        Behaviour::HalfBody(crate::support::http::Response::json(200, &json!(answers(request))), After::Close)
    });
    let before = world.ledger();
    assert_eq!(outcomes(&enrich_all(&mut world.caller(), 1..=6)), counts([("provider_unavailable", 6)]));
    assert_eq!(world.ledger(), before);
    assert_eq!(requests(&world), [6], "it was sent, and may be billed");
    world.provider.on(ALL, |request| Behaviour::json(200, json!(answers(request))));
    world.end_pauses();
    assert_eq!(outcomes(&enrich_all(&mut world.caller(), 1..=6)), counts([("enriched", 6)]));
}

#[test]
fn kill_9_between_answer_and_commit_loses_nothing_that_was_written_down() {
    let world = world_of(10, Some(100), 10);
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    caller.batch_execute("BEGIN").unwrap();
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=10)), counts([("enriched", 10)]));
    eventually("all answers are in the tables", Duration::from_secs(20), || {
        world.number("SELECT count(*) FROM leadlex.receipt") == 10
    });
    world.cluster.kill9(backend);
    drop(caller);
    eventually("the server has started again", Duration::from_secs(60), || {
        let session = world.cluster.config("app").connect(postgres::NoTls);
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
        session
            .and_then(|mut session| session.query_one(sql, &[&backend]))
            .is_ok_and(|row| row.get::<_, i64>(0) == 0)
    });
    let mut caller = world.caller();
    assert_eq!((check_whose(&world), credits(&mut caller)), (0, Some(100)));
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=10)), counts([("enriched", 10)]));
    assert_eq!((requests(&world), check_whose(&world), credits(&mut caller)), (vec![10], 10, Some(90)));
    world.check_credits_add_up();
}

#[test]
fn with_a_key_for_repetitions_one_that_stayed_unanswered_is_sent_once_more() {
    let world = world_of(8, Some(100), 4);
    super::alter(&world, &json!({"idempotency_header": "Idempotency-Key"}));
    let mut caller = world.caller();
    enrich_all(&mut caller, 1..=4);
    // The connection that is kept by now ends without a byte.
    let first = std::sync::atomic::AtomicBool::new(true);
    world.provider.on(ALL, move |request| match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
        true => Behaviour::Close,
        false => Behaviour::json(200, json!(answers(request))),
    });
    assert_eq!(outcomes(&enrich_all(&mut caller, 5..=8)), counts([("enriched", 4)]));
    let keys: Vec<String> =
        world.provider.requests().iter().map(|r| r.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[1] == keys[2] && keys[0] != keys[1], "{keys:?}");
    assert_eq!(check_whose(&world), 8);
}

//! The limits of a vendor and the answers that it owes: polls are requests like others, and a limit takes nothing that came
//! before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::vendor::{POLL, Ready, SUBMIT, Slow, phone, with_title, world};
use super::wait_for_tickets;
use crate::support::{Behaviour, Response};
use crate::world::{World, contact, enrich, try_enrich};

fn limited(seconds: &str) -> Behaviour {
    Behaviour::Answer(Response::json(429, &json!({})).with_header("Retry-After", seconds))
}

/// The first poll is one too many.
fn refuse_the_first_poll(world: &World, slow: &Slow) -> Arc<AtomicUsize> {
    let polls = Arc::new(AtomicUsize::new(0));
    let (count, answering) = (Arc::clone(&polls), slow.clone());
    world.provider.on(POLL, move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => limited("1"),
        _ => answering.poll(request.param("id").unwrap_or_default()),
    });
    polls
}

#[test]
fn polls_of_a_set_count_toward_what_the_vendor_takes_at_once() {
    let (world, slow) = world(Ready::AfterPolls(1), json!({"max_concurrent": 2}));
    let answering = slow.clone();
    world.provider.on(SUBMIT, move |request| {
        Behaviour::json(202, answering.submit(request.param("email"))).after(Duration::from_millis(100))
    });
    let ids: Vec<Uuid> = (1..=8).map(contact).collect();
    let rows = world.caller().query("SELECT status FROM enrich_contacts($1)", &[&ids]).unwrap();
    assert!(rows.iter().all(|row| row.get::<_, String>(0) == "enriched"), "{rows:?}");
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (8, 16));
    assert_eq!(world.provider.peak_in_flight(), 2);
}

#[test]
fn a_poll_that_comes_too_often_is_sent_again_and_nothing_is_handed_in_twice() {
    for set in [false, true] {
        let (world, slow) = world(Ready::AfterPolls(0), json!({}));
        // What is handed in has something already.
        world.run("SELECT leadlex.drop_provider('main')");
        world.add_provider("main", &with_title(&world.provider, json!({"when_limited": "wait"})));
        let polls = refuse_the_first_poll(&world, &slow);
        let mut caller = world.caller();
        if set {
            let row =
                caller.query_one("SELECT status FROM enrich_contacts($1)", &[&vec![contact(1)]]).unwrap();
            assert_eq!(row.get::<_, String>(0), "enriched");
        } else {
            enrich(&mut caller, 1).unwrap();
        }
        assert_eq!(world.phone(1), Some(phone("person1@acme.example")));
        assert_eq!((slow.submissions(), polls.load(Ordering::SeqCst)), (1, 2), "set: {set}");
    }
}

/// Contacts 1 and 2 are handed in and rolled back, and then the vendor wants to be left alone for long.
fn handed_in_and_paused(more: Value) -> (World, Slow) {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &with_title(&world.provider, more));
    world.provider.on(POLL, |_| limited("600"));
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '500ms'").unwrap();
    for n in [1, 2] {
        enrich(&mut caller, n).unwrap_err();
    }
    wait_for_tickets(&world, 2);
    assert_eq!(world.provider.count_of(POLL), 0);
    (world, slow)
}

#[test]
fn what_came_first_is_written_where_the_rest_is_at_a_limit() {
    for when_limited in ["next", "wait"] {
        let (world, slow) = handed_in_and_paused(json!({"when_limited": when_limited}));
        // Its poll is the one that is answered so; the next is not sent.
        let told = try_enrich(&mut world.caller(), 1);
        assert_eq!(told["fields_updated"], json!(["job_title"]), "{when_limited}: {told}");
        let told = try_enrich(&mut world.caller(), 2);
        assert_eq!(told["fields_updated"], json!(["job_title"]), "{when_limited}: {told}");
        assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (2, 1), "{when_limited}");
        world.run("UPDATE crm SET job_title = NULL");
        let row = world
            .caller()
            .query_one("SELECT status, fields_updated FROM enrich_contacts($1)", &[&vec![contact(2)]])
            .unwrap();
        let (status, fields): (String, Vec<String>) = (row.get(0), row.get(1));
        assert_eq!((status.as_str(), fields), ("enriched", vec!["job_title".to_owned()]), "{when_limited}");
    }
}

#[test]
fn a_pause_that_a_set_or_call_could_wait_for_does_not_count_either() {
    for when_limited in ["next", "wait"] {
        let (world, _) = handed_in_and_paused(json!({"when_limited": when_limited}));
        try_enrich(&mut world.caller(), 1);
        let ends = "SELECT extract(epoch FROM max(expires_at) - max(submitted_at))::int8 FROM leadlex.ticket";
        assert_eq!(world.number(ends), 60);
        world.caller().query("SELECT FROM enrich_contacts($1)", &[&vec![contact(2)]]).unwrap();
        crate::support::eventually("the pause is counted off", super::SOON, || world.number(ends) > 600);
    }
}

#[test]
fn a_submission_that_outlasts_its_session_keeps_its_place() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({"max_concurrent": 1}));
    let late = slow.clone();
    world.provider.on(SUBMIT, move |request| {
        Behaviour::json(202, late.submit(request.param("email"))).after(Duration::from_millis(2_500))
    });
    for (n, on_kept_connection) in [(1, false), (3, true)] {
        let mut caller = world.caller();
        if on_kept_connection {
            enrich(&mut caller, 5).unwrap();
        }
        let (backend, before) = (crate::world::pid(&mut caller), world.provider.count());
        std::thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut caller, n));
            world.provider.wait_for(before + 1, super::SOON);
            world.run(&format!("SELECT pg_terminate_backend({backend})"));
            assert!(call.join().unwrap().is_err());
        });
        enrich(&mut world.caller(), n + 1).unwrap();
    }
    assert_eq!(slow.most_of_one(), 1);
    assert_eq!(world.provider.peak_in_flight(), 1, "the vendor has it until it has answered");
}

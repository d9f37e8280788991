//! When a ticket is forgotten.

use std::time::Duration;

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, phone, with_title, world};
use super::{SOON, tickets, wait_for_tickets};
use crate::support::{Behaviour, Response, eventually};
use crate::world::{World, contact, enrich, number, try_enrich};

/// A ticket of contact 1, that is written down.
fn pending(world: &World) {
    let told = try_enrich(&mut world.caller(), 1);
    assert_eq!(told["error"]["reason"], "pending", "{told}");
    wait_for_tickets(world, 1);
}

#[test]
fn one_that_the_vendor_does_not_know_is_forgotten_and_the_next_call_hands_in_anew() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '500ms'").unwrap();
    enrich(&mut caller, 1).unwrap_err();
    wait_for_tickets(&world, 1);
    slow.lose_all();
    caller.batch_execute("SET statement_timeout = 0").unwrap();
    let told = try_enrich(&mut caller, 1);
    assert_eq!(told["error"]["code"], "provider_unavailable", "{told}");
    wait_for_tickets(&world, 0);
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], phone("person1@acme.example"));
    assert_eq!(slow.submissions(), 2);
}

#[test]
fn one_whose_time_is_over_is_forgotten_and_the_next_call_hands_in_anew() {
    let (world, slow) = world(Ready::AfterPolls(99), json!({"poll_for_s": 2}));
    let mut caller = world.caller();
    let told = try_enrich(&mut caller, 1);
    assert_eq!((&told["error"]["reason"], &told["error"]["retryable"]), (&json!("pending"), &json!(true)));
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (1, 2), "at 1 s and at 2 s: {told}");
    wait_for_tickets(&world, 0);
    try_enrich(&mut caller, 1);
    assert_eq!(slow.submissions(), 2);
}

#[test]
fn one_that_nobody_asks_for_is_not_used_when_its_time_is_over() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({"poll_every_s": 20}));
    pending(&world);
    world.run("UPDATE leadlex.ticket SET submitted_at = submitted_at - interval '1 hour', expires_at = expires_at - interval '1 hour'");
    let told = try_enrich(&mut world.caller(), 1);
    assert_eq!(told["error"]["reason"], "pending");
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (2, 0), "{told}");
}

#[test]
fn the_worker_removes_what_is_over() {
    let world = {
        let (world, _) = super::vendor::world_with(
            Ready::AfterPolls(0),
            json!({"poll_every_s": 20}),
            &crate::world::Beginning { conf: &["leadlex.receipt_ttl = '1s'"], ..Default::default() },
        );
        world
    };
    pending(&world);
    world.run("UPDATE leadlex.ticket SET expires_at = now() - interval '59 minutes'");
    std::thread::sleep(Duration::from_secs(3));
    let all = "SELECT count(*) FROM leadlex.ticket";
    assert_eq!(world.number(all), 1, "who waited for it may still look");
    world.run("UPDATE leadlex.ticket SET expires_at = now() - interval '61 minutes'");
    eventually("it is removed", SOON, || world.number(all) == 0);
}

#[test]
fn every_way_of_forgetting_forgets_tickets() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({"poll_every_s": 20}));
    let mut owner = world.owner();
    for (round, forget) in [
        format!("SELECT leadlex.forget_contact('{}')", contact(1)),
        format!("SELECT leadlex.forget_row('crm', '{}')", contact(1)),
    ]
    .into_iter()
    .enumerate()
    {
        pending(&world);
        let told: Value = owner.query_one(&forget, &[]).unwrap().get(0);
        assert_eq!((tickets(&world), &told["tickets"]), (0, &json!(1)), "{forget}");
        assert_eq!(slow.submissions(), round + 1);
    }
    pending(&world);
    world.run("SELECT leadlex.drop_provider('main')");
    assert_eq!(tickets(&world), 0);
    world.add_provider("main", &super::vendor::config(&world.provider, json!({"poll_every_s": 20})));
    pending(&world);
    world.run("SELECT leadlex.unbind_contacts('crm')");
    world.owner().execute("DELETE FROM leadlex.workspace", &[]).unwrap();
    assert_eq!(tickets(&world), 0);
}

#[test]
fn it_is_the_owner_s_alone_and_is_dumped() {
    let (world, _) = world(Ready::AfterPolls(0), json!({"poll_every_s": 20}));
    pending(&world);
    let error = world.caller().query("SELECT FROM leadlex.ticket", &[]).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    let dumped = "SELECT count(*) FROM pg_extension AS e, unnest(e.extconfig) AS t WHERE t = 'leadlex.ticket'::regclass";
    assert_eq!(world.number(dumped), 1);
}

#[test]
fn what_was_supplied_by_then_is_kept_where_the_rest_never_comes() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &with_title(&world.provider, json!({})));
    slow.lose_all();
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '500ms'").unwrap();
    enrich(&mut caller, 1).unwrap_err();
    wait_for_tickets(&world, 1);
    slow.lose_all();
    caller.batch_execute("SET statement_timeout = 0").unwrap();
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!(result["contact"]["job_title"], "General Counsel", "{result}");
    assert_eq!(result["pending"], json!(null));
    wait_for_tickets(&world, 0);
    // For that field it need not be asked again; for the phone it is.
    world.run("UPDATE crm SET job_title = NULL");
    let sql = format!("SELECT count(*) FROM enrich_contact('{}', ARRAY['job_title'])", contact(1));
    assert_eq!((number(&mut caller, &sql), slow.submissions()), (1, 1));
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], phone("person1@acme.example"));
    assert_eq!(slow.submissions(), 2);
}

#[test]
fn a_pause_of_the_provider_does_not_count() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    world
        .provider
        .on(POLL, |_| Behaviour::Answer(Response::json(429, &json!({})).with_header("Retry-After", "100")));
    let mut caller = world.caller();
    let limited = try_enrich(&mut caller, 1);
    assert_eq!(limited["error"]["providers"][0]["reason"], "rate_limited", "{limited}");
    let time = "SELECT EXTRACT(epoch FROM expires_at - submitted_at)::int8 FROM leadlex.ticket";
    wait_for_tickets(&world, 1);
    assert_eq!(world.number(time), 60);
    // From the first look on: how long it is paused is known then.
    assert_eq!(try_enrich(&mut caller, 1)["error"]["providers"][0]["paused"], true);
    eventually("its time is longer", SOON, || (155..=160).contains(&world.number(time)));
    try_enrich(&mut caller, 1);
    std::thread::sleep(Duration::from_millis(500));
    assert!((155..=160).contains(&world.number(time)), "once");
    world.end_pauses();
    slow.play(&world.provider);
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], phone("person1@acme.example"));
    assert_eq!(slow.submissions(), 1);
}

#[test]
fn whoever_drops_a_provider_is_told_how_many_answers_go_with_it() {
    let (world, _) = world(Ready::AfterPolls(0), json!({"poll_every_s": 20}));
    (1..=3).for_each(|n| drop(try_enrich(&mut world.caller(), n)));
    super::wait_for_tickets(&world, 3);
    world.run(
        "UPDATE leadlex.ticket SET expires_at = now() WHERE ctid = (SELECT min(ctid) FROM leadlex.ticket)",
    );
    let (mut owner, notices) = world.listening("postgres");
    let mut transaction = owner.transaction().unwrap();
    transaction.batch_execute("SELECT leadlex.drop_provider('main')").unwrap();
    let told = notices.take();
    assert!(
        told.iter().any(|told| told.message == "provider main still owes answers, which go with it: 2"),
        "{told:?}"
    );
    transaction.rollback().unwrap();
    assert_eq!(super::tickets(&world), 2);
    world.run("UPDATE leadlex.ticket SET expires_at = now()");
    owner.batch_execute("SELECT leadlex.drop_provider('main')").unwrap();
    assert!(notices.take().is_empty(), "nothing is owed");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.ticket"), 0);
}

#[test]
fn whoever_drops_a_provider_at_once_after_the_call_is_told_too() {
    let (world, _) = world(Ready::AfterPolls(0), json!({"poll_every_s": 20}));
    let (mut owner, notices) = world.listening("postgres");
    let mut caller = world.caller();
    for n in 1..=3 {
        owner.batch_execute("BEGIN").unwrap();
        assert_eq!(try_enrich(&mut caller, n)["error"]["reason"], "pending");
        owner.batch_execute("SELECT leadlex.drop_provider('main')").unwrap();
        let expected = format!("provider main still owes answers, which go with it: {n}");
        let told = notices.take();
        assert!(told.iter().any(|told| told.message == expected), "{told:?}");
        owner.batch_execute("ROLLBACK").unwrap();
    }
    owner.batch_execute("SELECT leadlex.drop_provider('main')").unwrap();
    assert_eq!(world.number("SELECT count(*) FROM leadlex.ticket"), 0);
}

#[test]
fn a_ticket_that_comes_in_while_its_provider_is_dropped_goes_soon_after() {
    let (world, _) = world(Ready::AfterPolls(0), json!({"poll_every_s": 20}));
    let mut owner = world.owner();
    let mut dropping = owner.transaction().unwrap();
    dropping.batch_execute("SELECT leadlex.drop_provider('main')").unwrap();
    assert_eq!(try_enrich(&mut world.caller(), 1)["error"]["reason"], "pending");
    super::wait_for_tickets(&world, 1);
    dropping.commit().unwrap();
    let rows = || world.number("SELECT count(*) FROM leadlex.ticket");
    eventually("the worker has taken it away", SOON, || rows() == 0);
}

//! What a call tells of an answer that comes later.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, config, phone, with_title, world};
use super::wait_for_tickets;
use crate::support::{Behaviour, Response, person};
use crate::world::{World, contact, credits, enrich, try_enrich};

#[test]
fn a_call_that_has_nothing_is_told_when_to_come_again() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({"poll_every_s": 20}));
    let started = Instant::now();
    let error = try_enrich(&mut world.caller(), 1)["error"].clone();
    assert!(started.elapsed() < Duration::from_secs(5), "it is not waited for what comes after its time");
    assert_eq!((&error["code"], &error["reason"]), (&json!("provider_unavailable"), &json!("pending")));
    assert_eq!((&error["retryable"], &error["sqlstate"]), (&json!(true), &json!("LX503")));
    assert!((18..=20).contains(&error["retry_after"].as_u64().unwrap()), "{error}");
    assert_eq!((slow.submissions(), credits(&mut world.caller())), (1, Some(10)));
}

#[test]
fn a_later_retry_after_counts_instead() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    world.provider.on(POLL, |_| {
        let body = json!({"status": "running"});
        Behaviour::Answer(Response::json(200, &body).with_header("Retry-After", "40"))
    });
    let error = try_enrich(&mut world.caller(), 1)["error"].clone();
    assert!((38..=40).contains(&error["retry_after"].as_u64().unwrap()), "{error}");
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (1, 1));
}

#[test]
fn a_call_that_has_something_writes_it_and_says_that_more_comes() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &with_title(&world.provider, json!({"poll_every_s": 20})));
    let mut caller = world.caller();
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["fields_updated"], &result["pending"]), (&json!(["job_title"]), &json!(true)));
    assert_eq!(credits(&mut caller), Some(9));
    wait_for_tickets(&world, 1);
    // For what it has supplied nothing is asked.
    world.run("UPDATE crm SET job_title = NULL");
    let sql = format!("SELECT enrich_contact('{}', ARRAY['job_title'])", contact(1));
    let again: Value = caller.query_one(&sql, &[]).unwrap().get(0);
    assert_eq!(
        (&again["contact"]["job_title"], &again["pending"]),
        (&json!("General Counsel"), &json!(null))
    );
    assert_eq!((slow.submissions(), world.provider.count()), (1, 1));
}

/// The slow vendor first, and one that answers at once.
fn with_a_fast_one(when_pending: &str, poll_every_s: u32) -> (World, super::vendor::Slow) {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    let slow_config =
        config(&world.provider, json!({"poll_every_s": poll_every_s, "when_pending": when_pending}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("slow", &slow_config);
    world.provider.on("/fast", |_| {
        // It lacks what the slow one has.
        let mut person = person();
        person["data"]["phone"] = json!(null);
        Behaviour::json(200, person)
    });
    world.add_provider("z_fast", &world.provider.config("/fast"));
    (world, slow)
}

#[test]
fn the_waterfall_stops_there_or_goes_on() {
    let (world, slow) = with_a_fast_one("wait", 20);
    assert_eq!(try_enrich(&mut world.caller(), 1)["error"]["reason"], "pending");
    assert_eq!((slow.submissions(), world.provider.count_of("/fast")), (1, 0));

    // At once, also where the next poll is within the call's time.
    for poll_every_s in [20, 1] {
        let (world, slow) = with_a_fast_one("next", poll_every_s);
        let result = enrich(&mut world.caller(), 1).unwrap();
        assert_eq!((&result["source"], &result["pending"]), (&json!("z_fast"), &json!(true)));
        assert_eq!(
            (slow.submissions(), world.provider.count_of(POLL), world.provider.count_of("/fast")),
            (1, 0, 1)
        );
        wait_for_tickets(&world, 1);
        let sql = "SELECT s.source FROM enrich_contacts(ARRAY[$1]::uuid[]) AS s";
        let source: String = world.caller().query_one(sql, &[&contact(2)]).unwrap().get(0);
        assert_eq!((source.as_str(), slow.submissions(), world.provider.count_of(POLL)), ("z_fast", 2, 0));
    }
}

#[test]
fn sets_wait_too_and_tell_what_is_not_there_yet() {
    let (world, slow) = world(Ready::After(Duration::from_millis(2_500)), json!({}));
    let ids: Vec<uuid::Uuid> = (1..=10).map(contact).collect();
    let started = Instant::now();
    let rows = world.caller().query("SELECT status, contact FROM enrich_contacts($1)", &[&ids]).unwrap();
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(row.get::<_, String>(0), "enriched");
        let own = phone(&format!("person{}@acme.example", n + 1));
        assert_eq!(row.get::<_, Value>(1)["phone"], own);
    }
    assert!(started.elapsed() < Duration::from_secs(12), "all at once: {:?}", started.elapsed());
    assert_eq!((slow.submissions(), slow.most_of_one()), (10, 1));
    world.check_credits_add_up();

    let (world, slow) = super::vendor::world(Ready::AfterPolls(0), json!({"poll_every_s": 20}));
    let rows = world
        .caller()
        .query("SELECT status, error_code, fields_updated FROM enrich_contacts($1)", &[&ids])
        .unwrap();
    for row in &rows {
        assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("pending", "provider_unavailable"));
        assert!(row.get::<_, Vec<String>>(2).is_empty());
    }
    assert_eq!((rows.len(), slow.submissions()), (10, 10));
}

#[test]
fn a_call_whose_time_is_over_while_it_asks_is_told_that_it_is_pending() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    world.provider.on(POLL, |_| Behaviour::Never);
    world.cluster.set("leadlex.total_timeout", "1500ms");
    let error = try_enrich(&mut world.caller(), 1)["error"].clone();
    assert_eq!((&error["reason"], &error["retry_after"]), (&json!("pending"), &json!(1)), "{error}");
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (1, 1));
}

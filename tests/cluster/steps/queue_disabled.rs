//! A provider that is disabled while it owes an answer: what was handed in is billed, so the job that waits for it is not over
//! because another provider has nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, Slow, phone, world};
use crate::support::{Behaviour, eventually};
use crate::world::{World, contact, credits};

const LONG: Duration = Duration::from_secs(40);
const FAST: &str = "/fast";

/// Calls with this description of the slow vendor and another one that has `title` at most, and disables the slow one
/// before the rest of the call is begun. What the call said.
fn disabled_under(more: Value, title: Option<&str>) -> (World, Slow, Option<bool>) {
    let (world, slow) = world(Ready::After(Duration::from_secs(2)), more);
    let data = json!({"data": {"job_title": title, "phone": null}});
    world.provider.on(FAST, move |_| Behaviour::json(200, data.clone()));
    let mut config = world.provider.config(FAST);
    config["response"]["fields"] = json!({"job_title": "/data/job_title", "phone": "/data/phone"});
    world.add_provider("fast", &config);
    world.run("ALTER ROLE caller SET leadlex.waterfall = 'fill'");
    world.cluster.set("leadlex.total_timeout", "700ms");
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'; BEGIN").unwrap();
    let call = "SELECT (try_enrich_contact($1, '{job_title,phone}') ->> 'pending')::boolean";
    let pending: Option<bool> = caller.query_one(call, &[&contact(1)]).unwrap().get(0);
    world.run("SELECT leadlex.enable_provider('main', false)");
    caller.batch_execute("COMMIT").unwrap();
    (world, slow, pending)
}

fn wait_for_error(world: &World, words: &str) {
    let like = format!("SELECT count(*) FROM leadlex.job WHERE last_error LIKE '%{words}%'");
    eventually(words, LONG, || world.number(&like) == 1);
}

/// Enabled again, it is asked for what it owes: once, and at no further cost.
fn fetched_once_enabled(title: Option<&str>, charged: i64) {
    let (world, slow, pending) = disabled_under(json!({"when_pending": "next"}), title);
    assert_eq!(pending, Some(true));
    wait_for_error(&world, "main still owes an answer and is disabled");
    let waits = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND attempts = 0";
    assert_eq!(world.number(waits), 1);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.provider.count_of(POLL), 0, "it is not asked while it is disabled");
    assert_eq!(credits(&mut world.caller()), Some(10 - charged));
    world.run("SELECT leadlex.enable_provider('main', true)");
    let done = "SELECT count(*) FROM leadlex.job WHERE state = 'done' AND outcome = 'enriched'";
    eventually("the answer has come", LONG, || world.number(done) == 1);
    assert_eq!(world.phone(1), Some(phone("person1@acme.example")));
    assert_eq!((slow.most_of_one(), credits(&mut world.caller())), (1, Some(9)));
}

#[test]
fn an_answer_that_a_disabled_provider_owes_is_fetched_once_it_is_enabled() {
    fetched_once_enabled(None, 0);
}

#[test]
fn so_is_the_rest_of_a_call_that_was_charged() {
    fetched_once_enabled(Some("Counsel"), 1);
}

#[test]
fn what_a_disabled_provider_owed_too_long_is_given_up_in_sight() {
    let more = json!({"when_pending": "next", "poll_for_s": 3});
    let (world, slow, pending) = disabled_under(more, None);
    assert_eq!(pending, Some(true));
    wait_for_error(&world, "main still owes an answer and is disabled");
    std::thread::sleep(Duration::from_secs(3));
    world.run("SELECT leadlex.retry_jobs('queued')");
    eventually("it is given up", LONG, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'dead' AND last_error LIKE '%(pending)'")
            == 1
    });
    assert_eq!(slow.submissions(), 1);
}

#[test]
fn a_provider_that_is_dropped_owes_nothing() {
    let (world, _, pending) = disabled_under(json!({"when_pending": "next"}), None);
    assert_eq!(pending, Some(true));
    wait_for_error(&world, "main still owes an answer and is disabled");
    world.run("SELECT leadlex.drop_provider('main')");
    let done = "SELECT count(*) FROM leadlex.job WHERE state = 'done' AND outcome = 'no_match'";
    eventually("the job is over", LONG, || world.number(done) == 1);
}

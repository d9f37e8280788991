//! Contacts that are not asked about, because the provider is paused or at a limit, use up no attempt.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::support::Response;

fn later(code: u16) -> Behaviour {
    Behaviour::Answer(Response::json(code, &json!({})).with_header("Retry-After", "1"))
}

fn known(email: &str) -> Behaviour {
    Behaviour::json(200, only_phone(&format!("+1202555 {email}")))
}

fn many(contacts: i32, conf: &[&str]) -> World {
    world(&Beginning { contacts, credits: None, conf, ..Beginning::default() })
}

/// For what takes longer than [`SOON`].
fn wait_long(world: &World, state: &str, count: i64) {
    let sql = format!("SELECT count(*) FROM leadlex.job WHERE state = '{state}'");
    let mut owner = world.owner();
    let begun = Instant::now();
    while number(&mut owner, &sql) != count {
        if begun.elapsed() > 5 * SOON {
            return wait_in(&mut owner, state, count);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_queue_with_a_contact_that_always_fails_ends_with_all_others() {
    let world = many(200, &["leadlex.job_max_attempts = 3"]);
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person1@acme.example") => later(503),
        email => known(email.unwrap_or("nobody")),
    });
    enqueue(&mut world.caller(), 1..=200);
    wait_long(&world, "done", 199);
    wait_long(&world, "dead", 1);
    let dead = "SELECT attempts::int8 FROM leadlex.job WHERE state = 'dead'";
    assert_eq!((world.number(dead), asked_about(&world, 1)), (3, 3), "it is given up for what it did itself");
    assert!(last_error(&world, "dead").contains("503"), "{}", last_error(&world, "dead"));
    assert_eq!(filled(&world), 199);
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job WHERE state = 'done'"), 1);
}

#[test]
fn a_vendor_that_takes_so_many_at_a_time_ends_with_all() {
    let world = many(300, &["leadlex.job_max_attempts = 2"]);
    let taken = Mutex::new(VecDeque::new());
    world.provider.on(PATH, move |request| {
        let mut taken = taken.lock().unwrap();
        while taken.front().is_some_and(|at: &Instant| at.elapsed() > Duration::from_secs(2)) {
            taken.pop_front();
        }
        if taken.len() >= 20 {
            return Behaviour::json(429, json!({}));
        }
        taken.push_back(Instant::now());
        known(request.param("email").unwrap_or("nobody"))
    });
    enqueue(&mut world.caller(), 1..=300);
    wait_long(&world, "done", 300);
    assert_eq!(filled(&world), 300);
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job"), 1, "429 is no attempt");
}

#[test]
fn a_limit_of_our_own_uses_up_no_attempt() {
    let world = many(100, &["leadlex.job_max_attempts = 1"]);
    let limited = |most: Option<i32>| {
        let config = json!({"max_requests_per_minute": most});
        world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    };
    limited(Some(20));
    enqueue(&mut world.caller(), 1..=100);
    // Twenty a minute are let out evenly: five at once, and the next five a quarter of a minute later.
    wait_for(&world, "done", 5);
    wait_for(&world, "queued", 95);
    let waiting = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND attempts = 0
                   AND last_error LIKE '%its limit of 20 requests%' AND next_attempt_at BETWEEN now() + '5 s' AND now() + '20 s'";
    assert_eq!(world.number(waiting), 95, "{}", last_error(&world, "queued"));
    let rows = "SELECT count(*) FROM leadlex.job_set WHERE state = 'queued'";
    assert!(world.number(rows) <= 2, "{} rows for those that wait for the same", world.number(rows));
    let runs = "SELECT sum(runs)::int8 FROM leadlex.worker_status WHERE process = 'job worker'";
    let before = world.number(runs);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.number(runs), before, "nothing is tried before that time");
    limited(None);
    assert_eq!(world.number("SELECT leadlex.retry_jobs('queued')"), 95);
    wait_for(&world, "done", 100);
    assert_eq!((filled(&world), world.provider.count()), (100, 100));
}

#[test]
fn what_a_paused_provider_keeps_waiting_is_tried_when_the_pause_is_over() {
    let world = many(60, &["leadlex.job_max_attempts = 1"]);
    world
        .provider
        .on(PATH, |_| Behaviour::Answer(Response::json(429, &json!({})).with_header("Retry-After", "3")));
    enqueue(&mut world.caller(), 1..=60);
    world.provider.wait_for(1, SOON);
    wait_for(&world, "running", 0);
    let asked = world.provider.count();
    let waiting =
        "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND attempts = 0 AND last_error <> ''";
    assert_eq!(world.number(waiting), 60, "{}", last_error(&world, "queued"));
    world.provider.on(PATH, |request| known(request.param("email").unwrap_or("nobody")));
    wait_for(&world, "done", 60);
    assert_eq!(world.provider.count(), asked + 60);
}

#[test]
fn what_waits_for_a_paused_provider_goes_on_once_it_is_described_anew() {
    // One at a time: on a busy machine all could have been asked about before the first answer.
    let world = many(20, &["leadlex.job_retry_base = '1s'", "leadlex.max_parallel_requests = 1"]);
    world
        .provider
        .on(PATH, |_| Behaviour::Answer(Response::json(401, &json!({})).with_header("Retry-After", "3600")));
    enqueue(&mut world.caller(), 1..=20);
    let waiting = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND attempts = 0
                   AND last_error LIKE '%it does not accept the secret%' AND next_attempt_at > now() + '30 min'";
    eventually("those that were not asked about wait for an hour", SOON, || world.number(waiting) >= 1);
    world.provider.on(PATH, |request| known(request.param("email").unwrap_or("nobody")));
    world.run("SELECT leadlex.alter_provider('main', secret => 'another')");
    wait_long(&world, "done", 20);
    assert_eq!(filled(&world), 20);
}

#[test]
fn what_no_provider_is_enabled_for_waits_and_uses_no_attempt() {
    let world = many(20, &["leadlex.job_max_attempts = 1"]);
    world.provider.on(PATH, |request| known(request.param("email").unwrap_or("nobody")));
    let config = world.provider.config(PATH);
    for (take, why, give) in [
        (
            "SELECT leadlex.enable_provider('main', false)",
            "every data provider is disabled",
            "SELECT leadlex.enable_provider('main', true)".to_owned(),
        ),
        (
            "SELECT leadlex.drop_provider('main')",
            "no data provider is configured",
            format!("SELECT leadlex.add_provider('main', config => '{config}', secret => 's')"),
        ),
    ] {
        world.run("DELETE FROM leadlex.job_set; UPDATE crm SET phone = NULL");
        world.run(take);
        enqueue(&mut world.caller(), 1..=20);
        let waiting = format!(
            "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND attempts = 0 AND last_error = '{why}'"
        );
        eventually("all wait", SOON, || world.number(&waiting) == 20);
        let rows = "SELECT count(*) FROM leadlex.job_set";
        assert_eq!(world.number(rows), 1, "what waits for the same stays together");
        world.run(&give);
        wait_long(&world, "done", 20);
        assert_eq!(filled(&world), 20, "{why}");
    }
}

//! A provider that fails beside one that owes an answer is asked again as often as if nothing were owed.

use std::time::Duration;

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, Slow, phone, world};
use crate::support::{Behaviour, Response, eventually};
use crate::world::{PATH, World, contact};

const LONG: Duration = Duration::from_secs(40);
const OTHER: &str = "/other";

/// The slow vendor is not waited for; the other one, after it, is wrong about each request.
fn failing(ready: Ready, settings: &[(&str, &str)]) -> (World, Slow) {
    let (world, slow) = world(ready, json!({"when_pending": "next"}));
    world.provider.on(OTHER, |_| Behaviour::json(422, json!({"error": "no"})));
    world.add_provider("other", &world.provider.config(OTHER));
    world.run("SELECT leadlex.alter_provider('other', priority => 500)");
    for (name, value) in settings {
        world.cluster.set(name, value);
    }
    (world, slow)
}

fn enqueue(world: &World) {
    world.caller().execute("SELECT leadlex.enqueue(ARRAY[$1]::uuid[], '{phone}')", &[&contact(1)]).unwrap();
}

fn job(world: &World) -> (String, i32, Option<String>) {
    let row = world.owner().query_one("SELECT state, attempts, last_error FROM leadlex.job", &[]).unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn wait_for(world: &World, state: &str) {
    eventually(&format!("the job is {state}"), LONG, || job(world).0 == state);
}

#[test]
fn it_is_not_asked_with_each_poll() {
    let (world, slow) = failing(Ready::AfterPolls(4), &[("leadlex.job_retry_base", "1h")]);
    enqueue(&world);
    wait_for(&world, "done");
    assert_eq!((world.provider.count_of(POLL), world.provider.count_of(OTHER)), (5, 1));
    assert_eq!(world.phone(1), Some(phone("person1@acme.example")));
    assert_eq!((slow.submissions(), job(&world).1), (1, 1), "the attempt is the one that has got it");
}

#[test]
fn it_is_given_up_before_the_answer_is() {
    let more = [("leadlex.job_retry_base", "10ms"), ("leadlex.job_max_attempts", "3")];
    let (world, slow) = failing(Ready::AfterPolls(6), &more);
    enqueue(&world);
    wait_for(&world, "done");
    assert_eq!((world.provider.count_of(POLL), world.provider.count_of(OTHER)), (7, 3));
    assert_eq!((slow.submissions(), world.phone(1).is_some()), (1, true));
}

#[test]
fn what_it_failed_at_so_often_is_dead_once_nothing_is_owed() {
    let more = [("leadlex.job_retry_base", "10ms"), ("leadlex.job_max_attempts", "2")];
    let (world, _slow) = failing(Ready::AfterPolls(3), &more);
    world.provider.on(POLL, {
        let polls = std::sync::atomic::AtomicUsize::new(0);
        move |_| match polls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0..3 => Behaviour::json(200, json!({"status": "running"})),
            _ => Behaviour::json(200, json!({"status": "done", "data": {"phone": Value::Null}})),
        }
    });
    enqueue(&world);
    wait_for(&world, "dead");
    let (_, _, error) = job(&world);
    let error = error.unwrap_or_default();
    assert!(error.contains("other") && error.contains("job_max_attempts"), "{error}");
    assert_eq!(world.provider.count_of(OTHER), 2);
}

/// What was owed is not there: it gets its turn, and not before.
#[test]
fn it_has_its_turn_after_the_answer_that_had_nothing() {
    let (world, _slow) = failing(Ready::AfterPolls(0), &[("leadlex.job_retry_base", "8s")]);
    world
        .provider
        .on(POLL, |_| Behaviour::json(200, json!({"status": "done", "data": {"phone": Value::Null}})));
    enqueue(&world);
    eventually("the answer had nothing", LONG, || world.provider.count_of(POLL) == 1);
    eventually("the other is waited for", LONG, || {
        let (state, _, error) = job(&world);
        state == "queued" && error.is_some_and(|error| error.contains("asked again in its turn"))
    });
    assert_eq!(world.provider.count_of(OTHER), 1);
    let found = json!({"likelihood": 9, "data": {"phone": "+12025550123"}});
    world.provider.on(OTHER, move |_| Behaviour::json(200, found.clone()));
    wait_for(&world, "done");
    assert_eq!((world.provider.count_of(OTHER), world.phone(1).as_deref()), (2, Some("+12025550123")));
}

/// However often it has failed: that is no attempt at what is owed.
#[test]
fn an_interruption_does_not_end_the_job_while_an_answer_is_owed() {
    let more = [("leadlex.job_retry_base", "10ms"), ("leadlex.job_max_attempts", "2")];
    let (world, slow) = failing(Ready::AfterPolls(0), &more);
    let polls = std::sync::atomic::AtomicUsize::new(0);
    let vendor = slow.clone();
    world.provider.on(POLL, move |request| match polls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0..3 => Behaviour::json(200, json!({"status": "running"})),
        3 => Behaviour::Never,
        _ => vendor.poll(request.param("id").unwrap_or_default()),
    });
    enqueue(&world);
    eventually("a poll is under way", LONG, || world.provider.count_of(POLL) == 4);
    assert_eq!(world.provider.count_of(OTHER), 2);
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'leadlex_enrich job worker'";
    world.run(cancel);
    wait_for(&world, "done");
    assert_eq!((slow.submissions(), world.phone(1).is_some()), (1, true));
    assert_eq!(world.provider.count_of(OTHER), 2);
}

/// Only who has failed waits: a provider that had nothing to identify the contact by is asked once it has.
#[test]
fn others_are_asked_meanwhile_and_with_a_new_secret_it_is_too() {
    let (world, _slow) = failing(Ready::AfterPolls(1_000), &[("leadlex.job_retry_base", "1h")]);
    world.provider.on("/third", |_| Behaviour::json(422, json!({"error": "no"})));
    let mut third = world.provider.config("/third");
    third["identify_by"] = json!([["full_name", "company_name"]]);
    third["request"]["query"] = json!({"name": "{full_name}", "company": "{company_name}"});
    world.add_provider("third", &third);
    world.run("SELECT leadlex.alter_provider('third', priority => 900)");
    world.run("UPDATE crm SET company_name = NULL");
    enqueue(&world);
    eventually("it has failed", LONG, || world.provider.count_of(OTHER) == 1);
    world.run("UPDATE crm SET company_name = 'Acme'");
    eventually("the third is asked", LONG, || world.provider.count_of("/third") == 1);
    assert_eq!(world.provider.count_of(OTHER), 1);
    world.run("SELECT leadlex.alter_provider('other', secret => 'another')");
    eventually("it is asked again", LONG, || world.provider.count_of(OTHER) == 2);
}

/// Also one that comes while the job runs.
#[test]
fn a_new_secret_counts_from_the_next_visit() {
    let (world, slow) = failing(Ready::AfterPolls(1_000), &[("leadlex.job_retry_base", "1h")]);
    let vendor = slow.clone();
    world.provider.on(POLL, move |request| {
        vendor.poll(request.param("id").unwrap_or_default()).after(Duration::from_secs(2))
    });
    enqueue(&world);
    eventually("a poll is under way", LONG, || world.provider.count_of(POLL) == 1);
    let asked = world.provider.count_of(OTHER);
    world.run("SELECT leadlex.alter_provider('other', secret => 'another')");
    eventually("it is asked again", LONG, || world.provider.count_of(OTHER) > asked);
}

/// Nor does what fails with the old one hold up the new one.
#[test]
fn a_new_secret_counts_that_comes_while_the_old_one_fails() {
    let (world, _slow) = failing(Ready::AfterPolls(1_000), &[("leadlex.job_retry_base", "1h")]);
    world.provider.on(OTHER, |_| Behaviour::json(422, json!({"error": "no"})).after(Duration::from_secs(2)));
    enqueue(&world);
    eventually("it is asked", LONG, || world.provider.count_of(OTHER) == 1);
    world.run("SELECT leadlex.alter_provider('other', secret => 'another')");
    eventually("it is asked again", LONG, || world.provider.count_of(OTHER) == 2);
}

#[test]
fn contacts_that_share_their_fate_share_a_row() {
    let (world, slow) = failing(Ready::AfterPolls(1), &[("leadlex.job_retry_base", "1h")]);
    let ids: Vec<uuid::Uuid> = (1..=10).map(contact).collect();
    world.caller().execute("SELECT leadlex.enqueue($1, '{phone}')", &[&ids]).unwrap();
    eventually("all have failed there", LONG, || world.provider.count_of(OTHER) == 10);
    eventually("all wait", LONG, || {
        world.number("SELECT count(*) FROM leadlex.job_set WHERE failed_providers IS NOT NULL") > 0
    });
    assert!(world.number("SELECT count(*) FROM leadlex.job_set") <= 2);
    eventually("all are there", LONG, || {
        world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL") == 10
    });
    assert_eq!((slow.submissions(), world.provider.count_of(OTHER)), (10, 10));
}

#[test]
fn retry_after_counts_where_it_is_later() {
    let (world, slow) = failing(Ready::AfterPolls(3), &[("leadlex.job_retry_base", "10ms")]);
    world
        .provider
        .on(OTHER, |_| Behaviour::Answer(Response::json(202, &json!({})).with_header("Retry-After", "60")));
    let mut caller = world.caller();
    world.cluster.set("leadlex.total_timeout", "500ms");
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    caller.execute("SELECT try_enrich_contact($1, '{phone}')", &[&contact(1)]).unwrap();
    wait_for(&world, "done");
    assert_eq!((world.provider.count_of(OTHER), slow.submissions()), (1, 1));
    assert!(world.phone(1).is_some());
}

/// It owes nothing, so to ask again is to ask anew: not before the vendor wants that.
#[test]
fn the_rest_of_a_call_comes_when_the_vendor_says() {
    let world = World::new();
    world
        .provider
        .on(PATH, |_| Behaviour::Answer(Response::json(202, &json!({})).with_header("Retry-After", "30")));
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    caller.execute("SELECT try_enrich_contact($1, '{phone}')", &[&contact(1)]).unwrap();
    let waits = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND attempts = 0 AND next_attempt_at > now() + interval '20 s'";
    eventually("the job waits", LONG, || world.number(waits) == 1);
    assert_eq!(world.provider.count(), 1);
}

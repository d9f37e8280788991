//! Jobs of which a visit has written something, while more comes later: what the next visits ask, and what the job ends as.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, config, world};
use crate::support::{Behaviour, eventually};
use crate::world::{PATH, World, contact, credits, only_phone};

const LONG: Duration = Duration::from_secs(20);
const OTHER: &str = "/other";
const PHONE: &str = "+12025550123";

fn title() -> Value {
    json!({"likelihood": 9, "data": {"job_title": "Counsel", "phone": null}})
}

/// The first vendor has no steps, and answers 202 so often before it has the number; the second one has a title.
fn answering_later(times: usize) -> World {
    let world = World::new();
    world.cluster.set("leadlex.job_retry_base", "10ms");
    world.run(r#"SELECT leadlex.alter_provider('main', '{"when_pending": "next", "poll_every_s": 1}')"#);
    let asked = AtomicUsize::new(0);
    world.provider.on(PATH, move |_| match asked.fetch_add(1, Ordering::SeqCst) < times {
        true => Behaviour::json(202, json!({})),
        false => Behaviour::json(200, only_phone(PHONE)),
    });
    add_other(&world);
    world
}

fn add_other(world: &World) {
    world.provider.on(OTHER, |_| Behaviour::json(200, title()));
    world.add_provider("other", &world.provider.config(OTHER));
    world.run("SELECT leadlex.alter_provider('other', priority => 500)");
}

/// State, outcome and error of the only job.
fn job(world: &World) -> (String, Option<String>, Option<String>) {
    let row = world.owner().query_one("SELECT state, outcome, last_error FROM leadlex.job", &[]).unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// What an earlier visit said is taken back within two seconds.
fn is_no_trouble(world: &World) {
    let told = "SELECT count(*) FROM leadlex.last_outcome";
    eventually("nothing is told of the contact", LONG, || world.number(told) == 0);
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(world.number(told), 0);
}

fn wait_until_done(world: &World) {
    eventually("the job is done", LONG, || job(world).0 == "done");
}

fn enqueue(world: &World) {
    let sql = "SELECT leadlex.enqueue(ARRAY[$1]::uuid[], '{phone,job_title}')";
    world.caller().execute(sql, &[&contact(1)]).unwrap();
}

fn is_complete(world: &World) {
    wait_until_done(world);
    assert_eq!(job(world), ("done".into(), Some("enriched".into()), None));
    let filled = "SELECT count(*) FROM crm WHERE job_title = 'Counsel' AND phone IS NOT NULL";
    assert_eq!((world.number(filled), credits(&mut world.caller())), (1, Some(9)));
    is_no_trouble(world);
}

/// With `first_match` the title ends the waterfall, and who said that it answers later is asked all the same.
#[test]
fn who_answers_later_without_steps_is_asked_for_the_rest_of_a_call() {
    let world = answering_later(2);
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    let sql = "SELECT enrich_contact($1, '{phone,job_title}')";
    let result: Value = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!((&result["pending"], &result["fields_updated"]), (&json!(true), &json!(["job_title"])));
    is_complete(&world);
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of(OTHER)), (3, 1));
}

#[test]
fn who_answers_later_without_steps_is_asked_for_the_rest_of_a_job() {
    let world = answering_later(1);
    enqueue(&world);
    is_complete(&world);
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of(OTHER)), (2, 1));
}

/// To describe another provider, or this one anew, lets it be asked at once: it does not make it forget.
#[test]
fn who_answers_later_is_not_forgotten_where_a_provider_is_changed() {
    for change in [
        "alter_provider('other', priority => 600)",
        "alter_provider('main', secret => 'another')",
        "enable_provider('main', true)",
    ] {
        let world = answering_later(1);
        world.cluster.set("leadlex.job_retry_base", "1h");
        enqueue(&world);
        let waits = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND outcome = 'enriched'";
        eventually("the title is there", LONG, || world.number(waits) == 1);
        world.run(&format!("SELECT leadlex.{change}"));
        world.run("SELECT leadlex.retry_jobs('queued')");
        is_complete(&world);
        assert_eq!((world.provider.count_of(PATH), world.provider.count_of(OTHER)), (2, 1), "{change}");
    }
}

/// The answer that comes later has nothing: the job has written something all the same.
#[test]
fn a_job_that_has_written_something_ends_enriched() {
    let (world, slow) = world(Ready::AfterPolls(9), json!({}));
    let mut config = config(&world.provider, json!({"when_pending": "next"}));
    config["steps"][1]["response"]["no_match"] = json!({"body": [{"pointer": "/status", "in": ["none"]}]});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    let polls = AtomicUsize::new(0);
    world.provider.on(POLL, move |_| match polls.fetch_add(1, Ordering::SeqCst) {
        0 => Behaviour::json(200, json!({"status": "running"})),
        _ => Behaviour::json(200, json!({"status": "none"})),
    });
    add_other(&world);
    enqueue(&world);
    wait_until_done(&world);
    assert_eq!(job(&world), ("done".into(), Some("enriched".into()), None));
    is_no_trouble(&world);
    assert_eq!(slow.submissions(), 1);
    assert_eq!(credits(&mut world.caller()), Some(9));
}

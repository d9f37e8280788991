//! The queue asks for what comes later, and never waits for it.

use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use super::vendor::{POLL, Ready, Slow, phone, with_title, world, world_with};
use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, PATH, World, contact, credits, enrich, number, try_enrich};

const LONG: Duration = Duration::from_secs(40);

fn enqueue(client: &mut Client, some: impl Iterator<Item = i32>) -> i64 {
    let ids: Vec<uuid::Uuid> = some.map(contact).collect();
    client.query_one("SELECT leadlex.enqueue($1)", &[&ids]).unwrap().get(0)
}

fn jobs(world: &World, state: &str) -> i64 {
    world.number(&format!("SELECT count(*) FROM leadlex.job WHERE state = '{state}'"))
}

fn wait_for_jobs(world: &World, state: &str, count: i64) {
    let what = format!("{count} jobs are {state}");
    eventually(&what, LONG, || jobs(world, state) == count);
}

#[test]
fn jobs_come_back_until_the_answer_is_there() {
    let (world, slow) = world(Ready::After(Duration::from_millis(2_500)), json!({}));
    assert_eq!(enqueue(&mut world.caller(), 1..=8), 8);
    wait_for_jobs(&world, "done", 8);
    assert_eq!((slow.submissions(), slow.most_of_one()), (8, 1));
    for n in 1..=8 {
        assert_eq!(world.phone(n), Some(phone(&format!("person{n}@acme.example"))));
    }
    assert_eq!(
        world.number("SELECT max(attempts)::int8 FROM leadlex.job"),
        1,
        "what is pending is no attempt"
    );
    assert_eq!(credits(&mut world.caller()), Some(2));
    world.check_credits_add_up();
}

#[test]
fn many_are_done_in_little_time_as_workers_never_wait() {
    let beginning = Beginning { credits: None, contacts: 1_000, ..Beginning::default() };
    let more = json!({"poll_every_s": 10});
    let (world, slow) = world_with(Ready::After(Duration::from_secs(30)), more, &beginning);
    let started = Instant::now();
    enqueue(&mut world.caller(), 1..=1_000);
    eventually("1,000 jobs are done", Duration::from_secs(120), || jobs(&world, "done") == 1_000);
    assert!(started.elapsed() < Duration::from_secs(90), "{:?}", started.elapsed());
    assert_eq!((slow.submissions(), slow.most_of_one()), (1_000, 1));
}

#[test]
fn a_provider_that_owes_nothing_is_asked_again_by_attempts() {
    let world = World::new();
    world.provider.on(PATH, |_| Behaviour::json(202, json!({})));
    world.run("SELECT leadlex.alter_provider('main', '{\"poll_every_s\": 1}', secret => 's')");
    world.cluster.set("leadlex.job_max_attempts", "2");
    enqueue(&mut world.caller(), 1..=1);
    wait_for_jobs(&world, "dead", 1);
    assert_eq!(world.provider.count(), 2, "each time it may cost");
}

#[test]
fn a_job_is_dead_when_its_answer_was_asked_for_long_enough() {
    let (world, slow) = world(Ready::AfterPolls(1_000), json!({"poll_for_s": 3}));
    enqueue(&mut world.caller(), 1..=1);
    wait_for_jobs(&world, "dead", 1);
    let row = world.owner().query_one("SELECT last_error, attempts FROM leadlex.job", &[]).unwrap();
    let (error, attempts): (String, i32) = (row.get(0), row.get(1));
    assert!(error.ends_with("(pending)") && error.matches("(pending)").count() == 1, "{error}");
    assert_eq!((slow.submissions(), attempts), (1, 1));
    eventually("the ticket is gone", LONG, || super::tickets(&world) == 0);
    assert_eq!(credits(&mut world.caller()), Some(10));
}

/// A second provider of the same kind, which is asked after the first.
fn add_other(world: &World, other: &Slow) {
    let playing = other.clone();
    world
        .provider
        .on("/other/jobs", move |request| Behaviour::json(202, playing.submit(request.param("email"))));
    let playing = other.clone();
    world.provider.on("/other/job", move |request| playing.poll(request.param("id").unwrap_or_default()));
    let mut config = super::vendor::config(&world.provider, json!({}));
    config["steps"][0]["request"]["url"] = json!(world.provider.url("/other/jobs"));
    config["steps"][1]["request"]["url"] = json!(world.provider.url("/other/job"));
    world.add_provider("other", &config);
}

/// The answer of the second provider is awaited when that of the first was asked for long enough, and the first goes before it.
#[test]
fn a_job_hands_nothing_in_anew_while_another_provider_is_awaited() {
    let more = json!({"poll_for_s": 2, "when_pending": "next"});
    let (world, slow) = world(Ready::AfterPolls(1_000), more);
    let other = Slow::new(Ready::After(Duration::from_secs(9)));
    add_other(&world, &other);
    enqueue(&mut world.caller(), 1..=2);
    wait_for_jobs(&world, "done", 2);
    assert_eq!((slow.most_of_one(), other.most_of_one()), (1, 1));
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job"), 1);
    assert_eq!(credits(&mut world.caller()), Some(8));
}

/// No poll says whether it is ready: they end with the time all the same.
#[test]
fn polls_that_fail_end_with_the_time_too() {
    let more = json!({"poll_for_s": 2, "when_pending": "next"});
    let (world, slow) = world(Ready::AfterPolls(1_000), more);
    world.provider.on(POLL, |_| Behaviour::json(200, json!({"what": "is this"})));
    let other = Slow::new(Ready::After(Duration::from_secs(9)));
    add_other(&world, &other);
    enqueue(&mut world.caller(), 1..=1);
    wait_for_jobs(&world, "done", 1);
    let polls = world.provider.count_of(POLL);
    assert!((slow.submissions(), other.submissions()) == (1, 1) && polls <= 4, "{polls} polls");
}

/// It waits for the first alone: when that is over the second is asked, in the queue as in a call.
#[test]
fn the_next_provider_is_asked_when_an_answer_was_asked_for_long_enough() {
    let (world, slow) = world(Ready::AfterPolls(1_000), json!({"poll_for_s": 2}));
    world.add_provider("other", &world.provider.config(PATH));
    enqueue(&mut world.caller(), 1..=1);
    wait_for_jobs(&world, "done", 1);
    world.cluster.set("leadlex.total_timeout", "10s");
    assert_eq!(enrich(&mut world.caller(), 2).unwrap()["source"], "other");
    assert_eq!((slow.submissions(), world.provider.count_of(PATH)), (2, 2));
}

/// The call itself has waited that long; its rest is queued afterwards.
#[test]
fn the_rest_of_a_call_hands_nothing_in_anew_that_was_over_in_the_call() {
    let more = json!({"poll_for_s": 2, "when_pending": "next"});
    let (world, slow) = world(Ready::AfterPolls(1_000), more);
    let other = Slow::new(Ready::After(Duration::from_secs(9)));
    add_other(&world, &other);
    world.cluster.set("leadlex.total_timeout", "5s");
    let result = try_enrich(&mut queueing(&world), 1);
    assert_eq!(result["pending"], true, "{result}");
    wait_for_jobs(&world, "done", 1);
    assert_eq!((slow.most_of_one(), other.most_of_one()), (1, 1));
    assert_eq!(world.phone(1), Some(phone("person1@acme.example")));
}

/// The second provider fails: that is what is tried again. Once the job is given up, to try it anew is to hand both in anew.
#[test]
fn a_job_goes_on_for_another_provider_when_one_is_given_up() {
    let more = json!({"poll_for_s": 2, "when_pending": "next"});
    let (world, slow) = world(Ready::AfterPolls(1_000), more);
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})));
    world.add_provider("other", &world.provider.config(PATH));
    world.cluster.set("leadlex.job_retry_base", "1s");
    world.cluster.set("leadlex.job_max_attempts", "6");
    enqueue(&mut world.caller(), 1..=1);
    wait_for_jobs(&world, "dead", 1);
    assert_eq!(slow.submissions(), 1);
    let row = world.owner().query_one("SELECT last_error, attempts FROM leadlex.job", &[]).unwrap();
    let (error, attempts): (String, i32) = (row.get(0), row.get(1));
    assert!(attempts == 6 && error.contains("500"), "{attempts} {error}");
    world.run("SELECT leadlex.retry_jobs()");
    eventually("it is handed in anew", LONG, || slow.submissions() == 2);
}

#[test]
fn polls_of_a_job_use_one_admission() {
    let beginning = Beginning { plan: "starter", ..Beginning::default() };
    let (world, _) = world_with(Ready::AfterPolls(2), json!({}), &beginning);
    enqueue(&mut world.caller(), 1..=1);
    wait_for_jobs(&world, "done", 1);
    assert_eq!(world.provider.count_of(POLL), 3);
    assert_eq!(world.ledger().rate_used, [1, 1]);
}

/// The vendor gives a title at once, and the phone later.
fn world_of_two(more: Value) -> (World, Slow) {
    let (world, slow) = world(Ready::After(Duration::from_secs(3)), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.cluster.set("leadlex.total_timeout", "1500ms");
    world.add_provider("main", &with_title(&world.provider, more));
    (world, slow)
}

fn queueing(world: &World) -> Client {
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    caller
}

#[test]
fn the_rest_of_a_call_is_queued_and_costs_no_second_credit() {
    let (world, slow) = world_of_two(json!({"poll_every_s": 2}));
    let mut caller = queueing(&world);
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["fields_updated"], &result["pending"]), (&json!(["job_title"]), &json!(true)));
    assert_eq!(result["credits_remaining"], 9);
    wait_for_jobs(&world, "done", 1);
    assert_eq!(world.phone(1), Some(phone("person1@acme.example")));
    assert_eq!((slow.submissions(), credits(&mut caller)), (1, Some(9)));
    // What the job has written stands in the history, with no charge.
    assert_eq!(world.number("SELECT count(*) FROM leadlex.enrichment"), 2);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1"), 1);
    let used =
        "SELECT format('%s %s %s', contacts_enriched, fields_filled, credits_spent) FROM leadlex.usage_daily";
    let used: String = world.owner().query_one(used, &[]).unwrap().get(0);
    assert_eq!(used, "1 2 1", "contacts, fields, credits");
    // Another call about the same contact is another call.
    world.run("UPDATE crm SET phone = NULL");
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 8);
}

#[test]
fn a_call_that_has_nothing_is_no_error_where_the_rest_is_queued() {
    let (world, slow) = world(Ready::After(Duration::from_secs(3)), json!({"poll_every_s": 2}));
    world.cluster.set("leadlex.total_timeout", "1500ms");
    let mut caller = queueing(&world);
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["fields_updated"], &result["pending"]), (&json!([]), &json!(true)));
    assert_eq!((&result["source"], &result["credits_remaining"]), (&json!(null), &json!(10)));
    wait_for_jobs(&world, "done", 1);
    assert_eq!(world.phone(1), Some(phone("person1@acme.example")));
    assert_eq!((slow.submissions(), credits(&mut caller)), (1, Some(9)));
    world.check_credits_add_up();
}

#[test]
fn what_is_rolled_back_queues_nothing() {
    let (world, _) = world_of_two(json!({"poll_every_s": 2}));
    let mut caller = queueing(&world);
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 1).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 0);
    // And who does not ask for it gets nothing queued.
    assert_eq!(enrich(&mut world.caller(), 1).unwrap()["pending"], true);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 0);
}

#[test]
fn the_rest_of_a_set_is_queued_too() {
    let (world, slow) = world_of_two(json!({"poll_every_s": 2}));
    let mut caller = queueing(&world);
    let ids: Vec<uuid::Uuid> = (1..=6).map(contact).collect();
    let sql = "SELECT count(*) FILTER (WHERE status = 'enriched') FROM enrich_contacts($1)";
    let enriched: i64 = caller.query_one(sql, &[&ids]).unwrap().get(0);
    assert_eq!((enriched, credits(&mut caller)), (6, Some(4)));
    wait_for_jobs(&world, "done", 6);
    assert_eq!((slow.submissions(), slow.most_of_one(), credits(&mut caller)), (6, 1, Some(4)));
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 6);
}

#[test]
fn a_trigger_queues_the_rest_without_a_warning() {
    let (world, slow) = world_of_two(json!({"poll_every_s": 2}));
    world.run(
        "SELECT leadlex.grant_access('postgres', id) FROM leadlex.workspace;
         CREATE TRIGGER fill AFTER INSERT ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enrich_on_insert();
         INSERT INTO crm (id, full_name, email) VALUES ('00000000-0000-4000-8000-000000000077', 'Person 77', 'person77@acme.example')",
    );
    wait_for_jobs(&world, "done", 1);
    assert_eq!(world.phone(77), Some(phone("person77@acme.example")));
    assert_eq!((slow.submissions(), credits(&mut world.caller())), (1, Some(9)));
}

#[test]
fn an_answer_that_was_waited_for_too_long_is_handed_in_anew_by_a_new_job_only() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({"poll_every_s": 20}));
    try_enrich(&mut world.caller(), 1);
    super::wait_for_tickets(&world, 1);
    world.run("UPDATE leadlex.ticket SET submitted_at = now() - interval '1 hour', expires_at = now() - interval '50 minutes'");
    enqueue(&mut world.caller(), 1..=1);
    eventually("the job has handed it in", LONG, || slow.submissions() == 2);
    assert_eq!(number(&mut world.owner(), "SELECT count(*) FROM leadlex.job WHERE state = 'dead'"), 0);
}

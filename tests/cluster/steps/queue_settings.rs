//! What is left of a call goes on as the call began: by the settings of its session, not by those of the job's role.

use std::time::Duration;

use postgres::Client;
use serde_json::json;

use super::vendor::{POLL, Ready, config, phone, with_title, world};
use crate::support::{Behaviour, eventually};
use crate::world::{World, contact, credits, enrich, number};

const LONG: Duration = Duration::from_secs(40);

fn wait_for_no_job(world: &World) {
    eventually("no job waits", LONG, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state IN ('queued', 'running')") == 0
    });
}

/// Two vendors that answer later, each with something else.
fn with_two_slow_ones() -> (World, Client) {
    let (world, _) =
        world(Ready::After(Duration::from_secs(3)), json!({"poll_every_s": 2, "when_pending": "next"}));
    world.cluster.set("leadlex.total_timeout", "1500ms");
    let asked = std::sync::Mutex::new(None);
    world.provider.on("/place", move |_| {
        let since = *asked.lock().unwrap().get_or_insert_with(std::time::Instant::now);
        match since.elapsed() < Duration::from_secs(3) {
            true => Behaviour::json(200, json!({"status": "running"})),
            false => Behaviour::json(200, json!({"status": "done", "data": {"location": "Lisbon"}})),
        }
    });
    let mut other = config(&world.provider, json!({"poll_every_s": 2, "when_pending": "next"}));
    other["steps"][1]["request"]["url"] = json!(world.provider.url("/place"));
    other["steps"][1]["response"]["fields"] = json!({"location": "/data/location"});
    world.add_provider("z_other", &other);
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'; SET leadlex.waterfall = 'fill'").unwrap();
    (world, caller)
}

fn all_is_fetched(world: &World, caller: &mut Client) {
    let sql = "SELECT count(*) FROM leadlex.job
               WHERE 'leadlex.waterfall=fill' = ANY (settings) AND state = 'queued' AND last_error LIKE '%(pending)'";
    eventually("it waits, and its owner sees how it asks", LONG, || number(caller, sql) == 1);
    wait_for_no_job(world);
    let row =
        world.owner().query_one("SELECT phone, location FROM crm WHERE id = $1", &[&contact(1)]).unwrap();
    let found: (Option<String>, Option<String>) = (row.get(0), row.get(1));
    assert_eq!(found, (Some(phone("person1@acme.example")), Some("Lisbon".to_owned())));
    assert!(world.provider.count_of(POLL) >= 1);
    assert_eq!(credits(caller), Some(9), "one credit for all of it");
}

#[test]
fn what_is_left_of_a_call_asks_all_whom_the_call_asked() {
    let (world, mut caller) = with_two_slow_ones();
    assert_eq!(enrich(&mut caller, 1).unwrap()["pending"], true);
    all_is_fetched(&world, &mut caller);
}

#[test]
fn what_is_left_of_a_set_asks_all_whom_the_set_asked() {
    let (world, mut caller) = with_two_slow_ones();
    let sql = "SELECT status FROM enrich_contacts(ARRAY[$1]::uuid[])";
    assert_eq!(caller.query_one(sql, &[&contact(1)]).unwrap().get::<_, String>(0), "pending");
    all_is_fetched(&world, &mut caller);
}

#[test]
fn what_is_left_of_a_call_replaces_no_more_than_the_call_would() {
    let (world, _) = world(Ready::AfterPolls(1_000), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.cluster.set("leadlex.total_timeout", "1500ms");
    let mut config = with_title(&world.provider, json!({"poll_every_s": 2}));
    config["steps"][1]["response"]["fields"] = json!({"phone": "/data/phone", "location": "/data/location"});
    world.add_provider("main", &config);
    world.run("UPDATE crm SET phone = '+442079460000'");
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'; SET leadlex.overwrite_scope = 'own'").unwrap();
    let sql = "SELECT enrich_contact($1, ARRAY['job_title', 'phone', 'location'], true)::text";
    let result: String = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert!(result.contains("\"pending\": true") && result.contains("General Counsel"), "{result}");
    let all = json!({"status": "done", "data": {"phone": "+15550100001", "location": "Lisbon"}});
    world.provider.on(POLL, move |_| Behaviour::json(200, all.clone()));
    wait_for_no_job(&world);
    let row =
        world.owner().query_one("SELECT phone, location FROM crm WHERE id = $1", &[&contact(1)]).unwrap();
    let found: (Option<String>, Option<String>) = (row.get(0), row.get(1));
    let typed_stands = (Some("+442079460000".to_owned()), Some("Lisbon".to_owned()));
    assert_eq!(found, typed_stands, "what a person typed stands");
    assert_eq!(credits(&mut caller), Some(9));
}

/// A call has written the title, its rest waits, and another call asks otherwise.
#[test]
fn a_call_that_asks_otherwise_costs_no_second_credit_for_what_is_left() {
    let (world, _) = world(Ready::After(Duration::from_secs(3)), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.cluster.set("leadlex.total_timeout", "1500ms");
    world.add_provider("main", &with_title(&world.provider, json!({"poll_every_s": 2})));
    world.run("SELECT leadlex.pause_queue()");
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    assert_eq!(enrich(&mut caller, 1).unwrap()["pending"], true);
    caller.batch_execute("SET leadlex.waterfall = 'fill'").unwrap();
    assert_eq!(enrich(&mut caller, 1).unwrap()["pending"], true);
    assert_eq!(number(&mut caller, "SELECT count(*) FROM leadlex.job"), 1);
    world.run("SELECT leadlex.resume_queue()");
    wait_for_no_job(&world);
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 1);
    assert_eq!(credits(&mut caller), Some(9));
}

/// What is left of a call that takes strong answers alone is no reason not to queue what takes weak ones, too.
#[test]
fn a_contact_whose_rest_asks_for_less_is_queued_all_the_same() {
    let (world, _) = world(Ready::After(Duration::from_secs(3)), json!({"poll_every_s": 2}));
    world.cluster.set("leadlex.total_timeout", "1500ms");
    world.run("SELECT leadlex.pause_queue()");
    let mut caller = world.caller();
    // The answer has no score, which is none.
    caller
        .batch_execute("SET leadlex.when_pending = 'queue'; SET leadlex.min_confidence = 0.123456789")
        .unwrap();
    assert_eq!(enrich(&mut caller, 1).unwrap()["pending"], true);
    let exact =
        "SELECT count(*) FROM leadlex.job WHERE 'leadlex.min_confidence=0.123456789' = ANY (settings)";
    assert_eq!(number(&mut caller, exact), 1);
    let queued = "SELECT leadlex.enqueue(ARRAY[$1]::uuid[])";
    for expected in [1, 0] {
        assert_eq!(caller.query_one(queued, &[&contact(1)]).unwrap().get::<_, i64>(0), expected);
    }
    caller.batch_execute("RESET leadlex.min_confidence").unwrap();
    assert_eq!(enrich(&mut caller, 1).unwrap()["pending"], true);
    assert_eq!(number(&mut caller, "SELECT count(*) FROM leadlex.job"), 2, "that waits already");
    world.run("SELECT leadlex.resume_queue()");
    wait_for_no_job(&world);
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 1);
    assert_eq!(credits(&mut caller), Some(9));
}

/// What was handed in within the call's caps is fetched, whatever the caps of the role are.
#[test]
fn what_was_handed_in_is_fetched_whatever_the_role_may_begin() {
    let (world, slow) = world(Ready::After(Duration::from_secs(3)), json!({"poll_every_s": 2}));
    world.cluster.set("leadlex.total_timeout", "1500ms");
    let mut caller = world.caller();
    world.run("ALTER ROLE caller SET leadlex.max_contacts_per_statement = 2");
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    let sql = "SELECT FROM enrich_contacts(ARRAY(SELECT id FROM crm LIMIT 5))";
    assert_eq!(caller.query(sql, &[]).unwrap().len(), 5);
    wait_for_no_job(&world);
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 5);
    assert_eq!(slow.submissions(), 5);
}

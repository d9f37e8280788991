//! A position is one thing, also where parts of it come at different times: the rest of a call belongs to the company of what the
//! call has written. And what others have supplied meanwhile is no rest.

use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use super::vendor::{POLL, Ready, config, world};
use crate::support::{Behaviour, eventually};
use crate::world::{World, contact, credits, enrich, number};

const LONG: Duration = Duration::from_secs(40);
/// Between the call and the answer that comes later.
const READY_AFTER: Duration = Duration::from_millis(2_500);

/// A slow vendor comes first and gives way to a fast one, which has this.
fn with_a_fast_one(fields: Value, slow: Value, fast: Value) -> (World, Client) {
    let (world, _) = world(Ready::After(READY_AFTER), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.cluster.set("leadlex.total_timeout", "1500ms");
    world.cluster.set("leadlex.waterfall", "fill");
    let started = Instant::now();
    world.provider.on(POLL, move |_| match started.elapsed() < READY_AFTER {
        true => Behaviour::json(200, json!({"status": "running"})),
        false => Behaviour::json(200, json!({"status": "done", "data": slow})),
    });
    let mut later = config(&world.provider, json!({"when_pending": "next", "poll_every_s": 2}));
    later["steps"][1]["response"]["fields"] = fields;
    world.add_provider("a_slow", &later);
    world.provider.on("/fast", move |_| Behaviour::json(200, json!({"data": fast})));
    world.add_provider("z_fast", &world.provider.config("/fast"));
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    (world, caller)
}

fn of_a_position() -> Value {
    json!({"job_title": "/data/title", "seniority": "/data/level", "company_name": "/data/company", "phone": "/data/phone"})
}

fn wait_for_no_job(world: &World) {
    eventually("no job waits", LONG, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state IN ('queued', 'running')") == 0
    });
}

fn position(world: &World, n: i32) -> [Option<String>; 3] {
    let sql = "SELECT job_title, company_name, seniority FROM crm WHERE id = $1";
    let row = world.owner().query_one(sql, &[&contact(n)]).unwrap();
    [row.get(0), row.get(1), row.get(2)]
}

fn texts<const N: usize>(texts: [Option<&str>; N]) -> [Option<String>; N] {
    texts.map(|text| text.map(str::to_owned))
}

/// The same contact by a call, by a set, and by a job that writes twice.
fn each_way(then: impl Fn(&World, &mut Client), slow: &Value, fast: &Value, expected: [Option<&str>; 3]) {
    let (world, mut caller) = with_a_fast_one(of_a_position(), slow.clone(), fast.clone());
    then(&world, &mut caller);
    eventually("the fast one's is written", LONG, || {
        world.number("SELECT count(*) FROM leadlex.enrichment") >= 1
    });
    wait_for_no_job(&world);
    assert_eq!(position(&world, 1), texts(expected));
    assert_eq!(
        world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"),
        1,
        "what is no position comes"
    );
    assert_eq!(credits(&mut caller), Some(9));
}

fn alone(_: &World, caller: &mut Client) {
    assert_eq!(enrich(caller, 1).unwrap()["pending"], true);
}

fn in_a_set(_: &World, caller: &mut Client) {
    let sql = "SELECT status FROM enrich_contacts(ARRAY[$1]::uuid[])";
    assert_eq!(caller.query_one(sql, &[&contact(1)]).unwrap().get::<_, String>(0), "enriched");
}

fn queued(_: &World, caller: &mut Client) {
    caller.execute("SELECT leadlex.enqueue(ARRAY[$1]::uuid[])", &[&contact(1)]).unwrap();
}

#[test]
fn the_rest_of_a_call_is_of_the_same_company() {
    let fast = json!({"company_name": "Acme Corp"});
    let other = json!({"title": "CEO", "level": "c_suite", "company": "Other Inc", "phone": "+15550100199"});
    let mut same = other.clone();
    same["company"] = json!("ACME Corp.");
    for way in [alone, in_a_set, queued] {
        each_way(way, &other, &fast, [None, Some("Acme Corp"), None]);
    }
    each_way(alone, &same, &fast, [Some("CEO"), Some("Acme Corp"), Some("c_suite")]);
}

#[test]
fn beside_a_title_whose_company_is_not_known_nothing_of_a_position_comes_later() {
    let fast = json!({"job_title": "General Counsel"});
    let other = json!({"title": "CEO", "level": "c_suite", "company": "Other Inc", "phone": "+15550100199"});
    for way in [alone, in_a_set, queued] {
        each_way(way, &other, &fast, [Some("General Counsel"), None, None]);
    }
}

#[test]
fn the_position_of_a_rest_is_known_to_the_next_rest() {
    // Written by the call, by the first visit of the job and by the second, each from another provider.
    let fast = json!({"company_name": "Acme Corp"});
    let slow = json!({"title": "CEO", "company": "Acme Corporation", "phone": "+15550100199"});
    let (world, mut caller) = with_a_fast_one(of_a_position(), slow, fast);
    let started = Instant::now();
    world.provider.on("/last", move |_| match started.elapsed() < 3 * READY_AFTER {
        true => Behaviour::json(200, json!({"status": "running"})),
        false => {
            Behaviour::json(200, json!({"status": "done", "data": {"level": "vp", "company": "Other Inc"}}))
        }
    });
    let mut last = config(&world.provider, json!({"when_pending": "next", "poll_every_s": 4}));
    last["steps"][1]["request"]["url"] = json!(world.provider.url("/last"));
    last["steps"][1]["response"]["fields"] =
        json!({"seniority": "/data/level", "company_name": "/data/company"});
    world.add_provider("b_last", &last);
    assert_eq!(enrich(&mut caller, 1).unwrap()["fields_updated"], json!(["company_name"]));
    wait_for_no_job(&world);
    assert_eq!(position(&world, 1), texts([Some("CEO"), Some("Acme Corp"), None]));
    assert!(world.provider.count_of("/last") > 0);
}

#[test]
fn what_others_have_supplied_is_no_rest() {
    let phone = json!({"phone": "/data/phone"});
    let (world, mut caller) =
        with_a_fast_one(phone, json!({"phone": "+15550100199"}), crate::support::person()["data"].clone());
    world.run("ALTER TABLE crm ADD enriched_at timestamptz, ADD enrichment_status text; GRANT SELECT, UPDATE ON crm TO caller");
    world.run("SELECT leadlex.unbind_contacts('crm'); SELECT leadlex.bind_contacts('crm', workspace_id => id) FROM leadlex.workspace");
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["source"], &result["pending"]), (&json!("z_fast"), &json!(null)));
    let sql = "SELECT status FROM enrich_contacts(ARRAY[$1]::uuid[])";
    assert_eq!(caller.query_one(sql, &[&contact(2)]).unwrap().get::<_, String>(0), "enriched");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 0, "nothing is left to do");
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE enrichment_status = 'enriched'"), 2);
    // A job is over with the visit in which everything is filled.
    caller.execute("SELECT leadlex.enqueue(ARRAY[$1]::uuid[])", &[&contact(3)]).unwrap();
    eventually("the job is done", LONG, || {
        number(&mut world.owner(), "SELECT count(*) FROM leadlex.job WHERE state = 'done' AND attempts = 1")
            == 1
    });
    assert_eq!(world.provider.count_of(POLL), 0);
    // The ticket stays: whoever wants the field from that vendor within its time hands nothing in anew.
    super::wait_for_tickets(&world, 3);
    std::thread::sleep(READY_AFTER);
    world.run("UPDATE crm SET phone = NULL");
    world.run("SELECT leadlex.enable_provider('z_fast', false)");
    let again = enrich(&mut caller, 1).unwrap();
    assert_eq!((&again["contact"]["phone"], &again["asked"]), (&json!("+15550100199"), &json!(["a_slow"])));
    assert_eq!(world.provider.count_of(super::vendor::SUBMIT), 3);
}

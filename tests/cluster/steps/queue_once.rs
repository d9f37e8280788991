//! A job that comes back asks no vendor again that has answered it; and it is not done while a vendor that could answer failed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postgres::Client;
use serde_json::json;

use super::vendor::{Ready, phone, world};
use crate::support::{Behaviour, Response, eventually};
use crate::world::{PATH, PHONE, World, contact, only_phone, try_enrich};

const LONG: Duration = Duration::from_secs(40);
/// Where a vendor is asked that knows titles alone.
const TITLES: &str = "/titles";

/// It is asked first, and has no telephone number of anybody, though it could.
fn add_titles(world: &World) {
    let mut config = world.provider.config(TITLES);
    config["response"]["fields"] = json!({"job_title": "/data/job_title", "phone": "/data/phone"});
    world.add_provider("titles", &config);
    world.run("SELECT leadlex.alter_provider('titles', priority => 1)");
    world.provider.on(TITLES, |_| {
        Behaviour::json(200, json!({"likelihood": 9, "data": {"job_title": "Counsel", "phone": null}}))
    });
}

fn enqueue(client: &mut Client, n: i32, fields: &str, overwrite: bool) {
    let sql = format!("SELECT leadlex.enqueue(ARRAY[$1::uuid], '{fields}', {overwrite})");
    client.execute(&sql, &[&contact(n)]).unwrap();
}

fn wait_until_done(world: &World, count: i64) {
    let done = "SELECT count(*) FROM leadlex.job WHERE state = 'done'";
    eventually("the jobs are done", LONG, || world.number(done) == count);
}

#[test]
fn a_job_that_overwrites_buys_once_while_another_answer_comes_later() {
    let (world, slow) = world(Ready::AfterPolls(3), json!({}));
    add_titles(&world);
    let mut caller = world.caller();
    world.run("ALTER ROLE caller SET leadlex.waterfall = 'fill'");
    enqueue(&mut caller, 1, "{job_title,phone}", true);
    wait_until_done(&world, 1);
    assert_eq!((world.provider.count_of(TITLES), slow.most_of_one()), (1, 1));
    assert_eq!(world.phone(1), Some(phone("person1@acme.example")));
    // The same of what a call leaves.
    world.cluster.set("leadlex.total_timeout", "1s");
    caller.batch_execute("SET leadlex.waterfall = 'fill'; SET leadlex.when_pending = 'queue'").unwrap();
    let call = "SELECT enrich_contact($1, '{job_title,phone}', true) ->> 'pending'";
    let pending: Option<String> = caller.query_one(call, &[&contact(2)]).unwrap().get(0);
    assert_eq!(pending.as_deref(), Some("true"));
    wait_until_done(&world, 2);
    assert_eq!((world.provider.count_of(TITLES), slow.most_of_one()), (2, 1));
    // Who overwrites later asks anew, as ever.
    enqueue(&mut caller, 1, "{phone}", true);
    wait_until_done(&world, 3);
    assert_eq!(world.provider.count_of(TITLES), 3);
}

/// A title is no data for who wants a number.
#[test]
fn what_was_not_wanted_ends_no_job_while_another_vendor_failed() {
    let world = World::new();
    add_titles(&world);
    world.cluster.set("leadlex.total_timeout", "500ms");
    let asked = AtomicUsize::new(0);
    world.provider.on(PATH, move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Behaviour::Answer(Response::json(429, &json!({})).with_header("Retry-After", "1")),
        _ => Behaviour::json(200, only_phone(PHONE)),
    });
    let mut caller = world.caller();
    let call = "SELECT try_enrich_contact($1, '{phone}') -> 'error' ->> 'code'";
    let code: Option<String> = caller.query_one(call, &[&contact(1)]).unwrap().get(0);
    assert_eq!(code.as_deref(), Some("provider_unavailable"));
    let set = "SELECT error_code FROM enrich_contacts(ARRAY[$1::uuid], '{phone}')";
    let code: Option<String> = caller.query_one(set, &[&contact(1)]).unwrap().get(0);
    assert_eq!(code.as_deref(), Some("provider_unavailable"));
    enqueue(&mut caller, 2, "{phone}", false);
    wait_until_done(&world, 1);
    assert_eq!(world.phone(2).as_deref(), Some(PHONE));
    assert_eq!(try_enrich(&mut caller, 1)["fields_updated"], json!(["job_title"]));
}

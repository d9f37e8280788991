//! A call whose time is over while it hands a question in loses no ticket.

use std::time::Duration;

use serde_json::json;

use super::vendor::{Ready, SUBMIT, Slow, phone, world};
use super::{SOON, wait_for_tickets};
use crate::bulk::steps;
use crate::support::{Behaviour, eventually};
use crate::world::{World, contact, credits, enrich, try_enrich};

/// The vendor takes longer to take it in than the call has time.
fn slow_to_take_in(world: &World, slow: &Slow) {
    let late = slow.clone();
    world.provider.on(SUBMIT, move |request| {
        Behaviour::json(202, late.submit(request.param("email"))).after(Duration::from_millis(1_600))
    });
    world.cluster.set("leadlex.total_timeout", "700ms");
}

fn goes_on(world: &World, slow: &Slow, submissions: usize) {
    world.cluster.set("leadlex.total_timeout", "15s");
    let result = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(result["contact"]["phone"], phone("person1@acme.example"));
    assert_eq!(slow.submissions(), submissions, "it was handed in before");
    assert_eq!(credits(&mut world.caller()), Some(10 - i64::try_from(submissions).unwrap()));
    world.check_credits_add_up();
}

#[test]
fn a_single_call_s_end_does_not_cut_off_what_it_hands_in() {
    // Without a connection that is kept, and with one.
    for before in [0, 1] {
        let (world, slow) = world(Ready::AfterPolls(0), json!({}));
        let mut caller = world.caller();
        if before > 0 {
            enrich(&mut caller, 2).unwrap();
        }
        slow_to_take_in(&world, &slow);
        let result = try_enrich(&mut caller, 1);
        let told = &result["error"]["providers"][0];
        let words = "the call's time was over before the provider answered; the request goes on, and its answer is kept";
        assert_eq!((&told["reason"], &told["message"]), (&json!("timeout"), &json!(words)), "{result}");
        wait_for_tickets(&world, 1);
        goes_on(&world, &slow, before + 1);
    }
}

/// The next call for the same question waits for what the first has sent.
#[test]
fn who_asks_again_meanwhile_waits_for_it() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    slow_to_take_in(&world, &slow);
    let mut caller = world.caller();
    for _ in 0..3 {
        assert_eq!(try_enrich(&mut caller, 1)["error"]["status"], 503);
    }
    goes_on(&world, &slow, 1);
}

#[test]
fn nor_does_a_set_s_or_a_job_s() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    slow_to_take_in(&world, &slow);
    let mut caller = world.caller();
    let sql = "SELECT status FROM enrich_contacts(ARRAY[$1::uuid], ARRAY['phone'])";
    let status: String = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!(status, "failed");
    wait_for_tickets(&world, 1);
    goes_on(&world, &slow, 1);

    world.cluster.set("leadlex.total_timeout", "700ms");
    // An attempt that was cut off is a failed one: the next comes after this.
    world.cluster.set("leadlex.job_retry_base", "500ms");
    world.caller().query_one("SELECT leadlex.enqueue(ARRAY[$1::uuid])", &[&contact(2)]).unwrap();
    eventually("the job is done", SOON, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done' AND outcome = 'enriched'") == 1
    });
    assert_eq!(slow.submissions(), 2, "each was handed in once");
}

/// A job is left after half of `leadlex.job_timeout`, so that what it has begun can be written.
#[test]
fn nor_does_a_job_s_what_is_handed_in_together() {
    let (world, vendor) = steps::world_of(4, 100, false);
    steps::ready(&vendor);
    world.cluster.set("leadlex.job_timeout", "1s");
    world.cluster.set("leadlex.job_retry_base", "500ms");
    let own = vendor.clone();
    world
        .provider
        .on(steps::SUBMIT, move |request| steps::take_in(&own, request).after(Duration::from_millis(1_100)));
    world.caller().query_one("SELECT leadlex.enqueue(array_agg(id)) FROM crm", &[]).unwrap();
    eventually("the jobs are done", SOON, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done' AND outcome = 'enriched'") == 4
    });
    assert_eq!(steps::handed_in(&vendor), [4], "all of them at once, and once");
}

/// What is known of a question goes with its provider: to hand it in again would be paid for, and its answer lost, too.
#[test]
fn nothing_is_handed_in_anew_to_a_provider_that_is_dropped_meanwhile() {
    for contacts in [1, 6] {
        let (world, slow) = world(Ready::AfterPolls(0), json!({}));
        let late = slow.clone();
        world.provider.on(SUBMIT, move |request| {
            Behaviour::json(202, late.submit(request.param("email"))).after(Duration::from_millis(500))
        });
        world.cluster.set("leadlex.total_timeout", "5s");
        let mut caller = world.caller();
        let ids: Vec<uuid::Uuid> = (1..=contacts).map(contact).collect();
        let count = usize::try_from(contacts).unwrap();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| match contacts {
                1 => try_enrich(&mut caller, 1)["error"]["status"] == 503,
                _ => {
                    let sql = "SELECT bool_and(status = 'failed') FROM enrich_contacts($1, ARRAY['phone'])";
                    caller.query_one(sql, &[&ids]).unwrap().get(0)
                }
            });
            world.provider.wait_for(count, SOON);
            world.run("SELECT leadlex.drop_provider('main')");
            assert!(call.join().unwrap(), "{contacts}");
        });
        assert_eq!(slow.submissions(), count);
    }
}

/// Nor by who logs in first; and what an earlier step has supplied stands.
#[test]
fn what_there_is_when_a_provider_is_dropped_stands() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    let mut config = super::vendor::config(&world.provider, json!({}));
    config["login"] = json!({
        "request": {"method": "POST", "url": world.provider.url("/token"), "body": {"secret": "{secret}"}},
        "take": {"token": "/token"}
    });
    config["steps"][0]["request"]["headers"] = json!({"Authorization": "Bearer {token}"});
    config["steps"][0]["response"]["fields"] = json!({"job_title": "/title"});
    world.add_provider("main", &config);
    world
        .provider
        .on("/token", |_| Behaviour::json(200, json!({"token": "t1"})).after(Duration::from_millis(700)));
    let mut caller = world.caller();
    let asked = |caller: &mut postgres::Client, n: i32, before: usize, path: &str| {
        std::thread::scope(|scope| {
            let call = scope.spawn(|| try_enrich(caller, n));
            eventually("it is under way", SOON, || world.provider.count_of(path) > before);
            world.run("SELECT leadlex.drop_provider('main')");
            call.join().unwrap()
        })
    };
    let told = asked(&mut caller, 1, 0, "/token");
    assert_eq!((&told["error"]["status"], slow.submissions()), (&json!(503), 0), "{told}");
    let late = slow.clone();
    world.provider.on("/token", |_| Behaviour::json(200, json!({"token": "t2"})));
    world.provider.on(SUBMIT, move |request| {
        Behaviour::json(202, late.submit(request.param("email"))).after(Duration::from_millis(700))
    });
    world.add_provider("main", &config);
    let before = world.provider.count_of(SUBMIT);
    let told = asked(&mut caller, 2, before, SUBMIT);
    assert_eq!((&told["contact"]["job_title"], slow.submissions()), (&json!("General Counsel"), 1), "{told}");
}

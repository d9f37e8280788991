//! Two contacts with one name and company, of whom one has a profile: what is handed in about one is not the other's.

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, SUBMIT, config, world};
use super::wait_for_tickets;
use crate::support::Behaviour;
use crate::world::{World, contact, credits, enrich, try_enrich};

const OTHERS: &str = "https://www.linkedin.com/in/jane-b";

/// Contacts 1 and 2 are both Jane Roe of Acme, and contact 2 has a profile. A profile identifies before name and company do.
fn namesakes() -> World {
    let (world, _) = world(Ready::AfterPolls(0), json!({}));
    world.run("UPDATE crm SET email = NULL, full_name = 'Jane Roe', company_name = 'Acme Ltd'");
    world.run(&format!(
        "UPDATE crm SET linkedin_url = 'https://www.linkedin.com/in/jane-a' WHERE id = '{}'",
        contact(2)
    ));
    let more = json!({"identify_by": [["linkedin_url"], ["full_name", "company_name"]]});
    let mut slow = config(&world.provider, more);
    slow["steps"][0]["request"]["query"] =
        json!({"profile": "{linkedin_url}", "name": "{full_name}", "company": "{company_name}"});
    slow["steps"][1]["response"]["fields"] = json!({"phone": "/data/phone", "linkedin_url": "/data/profile"});
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &slow);
    world.provider.on(SUBMIT, |request| {
        let id = request.param("profile").map_or("by-name", |_| "by-profile");
        Behaviour::json(202, json!({"id": id}))
    });
    world.cluster.set("leadlex.total_timeout", "1s");
    world
}

fn ready(world: &World) {
    world.provider.on(POLL, |request| match request.param("id") {
        Some("by-name") => done(json!({"phone": "+15550100111", "profile": OTHERS})),
        _ => done(json!({"phone": "+15550100222"})),
    });
    world.cluster.set("leadlex.total_timeout", "15s");
}

fn done(data: Value) -> Behaviour {
    Behaviour::json(200, json!({"status": "done", "data": data}))
}

fn pending(world: &World) {
    world.provider.on(POLL, |_| Behaviour::json(200, json!({"status": "running"})));
    assert_eq!(try_enrich(&mut world.caller(), 1)["error"]["reason"], "pending");
    wait_for_tickets(world, 1);
}

#[test]
fn each_gets_the_answer_about_itself() {
    let world = namesakes();
    pending(&world);
    ready(&world);
    let mut caller = world.caller();
    let second = enrich(&mut caller, 2).unwrap();
    assert_eq!(second["contact"]["phone"], "+15550100222", "{second}");
    assert_eq!(world.provider.count_of(SUBMIT), 2);
    let first = enrich(&mut caller, 1).unwrap();
    assert_eq!(
        (&first["contact"]["phone"], &first["contact"]["linkedin_url"]),
        (&json!("+15550100111"), &json!(OTHERS))
    );
    assert_eq!(world.provider.count_of(SUBMIT), 2, "what was handed in is not handed in again");
    assert_eq!(credits(&mut caller), Some(8));
    wait_for_tickets(&world, 0);
}

#[test]
fn a_refusal_and_a_nothing_are_of_the_one_who_was_asked_about() {
    for (status, code) in [(451, "suppressed"), (404, "no_data")] {
        let world = namesakes();
        pending(&world);
        ready(&world);
        world.provider.on(POLL, move |request| match (request.param("id"), status) {
            (Some("by-name"), 451) => Behaviour::json(451, json!({})),
            (Some("by-name"), _) => done(json!({})),
            _ => done(json!({"phone": "+15550100222"})),
        });
        let mut caller = world.caller();
        assert_eq!(enrich(&mut caller, 2).unwrap()["contact"]["phone"], "+15550100222", "{status}");
        let first = try_enrich(&mut caller, 1);
        assert_eq!(first["error"]["reason"], code, "{first}");
        assert_eq!(world.provider.count_of(SUBMIT), 2);
    }
}

/// What another provider filled in meanwhile makes it no other question.
#[test]
fn the_same_contact_keeps_its_ticket_when_more_is_known_of_it() {
    let world = namesakes();
    pending(&world);
    ready(&world);
    world.run(&format!("UPDATE crm SET linkedin_url = '{OTHERS}' WHERE id = '{}'", contact(1)));
    let first = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(first["contact"]["phone"], "+15550100111");
    assert_eq!(world.provider.count_of(SUBMIT), 1);
    wait_for_tickets(&world, 0);
}

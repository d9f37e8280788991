//! The presets of vendors that take several people at once and answer later, played over real HTTP by their documented shapes.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{counts, outcomes};
use crate::presets::plays::moved;
use crate::support::{Behaviour, Request};
use crate::world::{Beginning, SECRET, World, contact};

/// The preset, asking the world's server under the vendor's paths.
fn world_of(preset: &str) -> World {
    let world = World::with(&Beginning { contacts: 12, credits: Some(100), ..Beginning::default() });
    let mut owner = world.owner();
    world.run(
        "ALTER TABLE crm ADD COLUMN company_domain text;
         UPDATE crm SET company_domain = 'acme.example', full_name = 'Jane Example' || translate(split_part(full_name, ' ', 2), '0123456789', 'bcdefghijk');
         SELECT leadlex.bind_contacts('crm')",
    );
    owner.execute("SELECT leadlex.drop_provider('main')", &[]).unwrap();
    owner
        .execute("SELECT leadlex.add_provider('it', preset => $1, secret => $2)", &[&preset, &SECRET])
        .unwrap();
    let config = "SELECT config FROM leadlex.provider WHERE name = 'it'";
    let mut config: Value = owner.query_one(config, &[]).unwrap().get(0);
    moved(&mut config, &world.provider);
    config["poll_every_s"] = json!(1);
    owner.execute("SELECT leadlex.drop_provider('it')", &[]).unwrap();
    owner
        .execute("SELECT leadlex.add_provider('vendor', config => $1, secret => $2)", &[&config, &SECRET])
        .unwrap();
    world
}

/// The vendor is not ready at the first time. Of the twelve the third is not known, and the fourth comes as no object.
fn play(world: &World, (submit, poll): (&str, &str), list: &'static str, accepted: Value, shape: Shape) {
    let people: Arc<Mutex<Vec<Value>>> = Arc::default();
    let own = Arc::clone(&people);
    world.provider.on(submit, move |request: &Request| {
        *own.lock().unwrap() = request.json()[list].as_array().unwrap().clone();
        Behaviour::json(200, accepted.clone())
    });
    let (pending, done, none, person) = shape;
    let asked = std::sync::atomic::AtomicUsize::new(0);
    world.provider.on(poll, move |_| {
        if asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            return Behaviour::json(200, pending.clone());
        }
        let one = |(at, one): (usize, &Value)| match at {
            2 => none(one),
            3 => json!("bad"),
            _ => person(one),
        };
        let all: Vec<Value> = people.lock().unwrap().iter().enumerate().map(one).collect();
        let mut answer = done.clone();
        answer[list] = json!(all);
        Behaviour::json(200, answer)
    });
}

type Shape = (Value, Value, fn(&Value) -> Value, fn(&Value) -> Value);

fn check(world: &World, (submit, poll): (&str, &str)) {
    let ids: Vec<_> = (1..=12).map(contact).collect();
    let rows = world.caller().query("SELECT * FROM enrich_contacts($1)", &[&ids]).unwrap();
    assert_eq!(outcomes(&rows), counts([("enriched", 10), ("no_match", 1), ("provider_unavailable", 1)]));
    assert_eq!((world.provider.count_of(submit), world.provider.count_of(poll)), (1, 2));
    let titles =
        world.owner().query("SELECT full_name, job_title FROM crm WHERE job_title IS NOT NULL", &[]).unwrap();
    assert_eq!(titles.len(), 10);
    for row in titles {
        let (name, title): (String, String) = (row.get(0), row.get(1));
        assert_eq!(title, format!("Title of {}", name.split(' ').next_back().unwrap()));
    }
    world.check_credits_add_up();
}

#[test]
fn fullenrich_takes_a_hundred() {
    let world = world_of("fullenrich");
    let paths = ("/api/v2/contact/enrich/bulk", "/api/v2/contact/enrich/bulk/e1");
    let shape: Shape = (
        json!({"id": "e1", "status": "IN_PROGRESS", "data": []}),
        json!({"id": "e1", "status": "FINISHED", "cost": {"credits": 10}}),
        |one| json!({"custom": one["custom"], "input": {}, "contact_info": {}, "profile": {}}),
        |one| {
            json!({
                "custom": one["custom"], "input": {"first_name": one["first_name"]},
                "contact_info": {"phones": []},
                "profile": {"first_name": one["first_name"], "last_name": one["last_name"],
                            "employment": {"current": {"title": format!("Title of {}", one["last_name"].as_str().unwrap()), "company": {"name": "Acme"}}}}
            })
        },
    );
    play(&world, paths, "data", json!({"enrichment_id": "e1"}), shape);
    check(&world, paths);
}

#[test]
fn surfe_takes_a_hundred() {
    let world = world_of("surfe");
    let paths = ("/v2/people/enrich", "/v2/people/enrich/s1");
    let shape: Shape = (
        json!({"enrichmentID": "s1", "status": "IN_PROGRESS", "percentCompleted": 10, "people": []}),
        json!({"enrichmentID": "s1", "status": "COMPLETED"}),
        |one| json!({"externalID": one["externalID"], "firstName": "", "jobTitle": "", "mobilePhones": []}),
        |one| {
            json!({
                "externalID": one["externalID"], "firstName": one["firstName"], "lastName": one["lastName"],
                "jobTitle": format!("Title of {}", one["lastName"].as_str().unwrap()),
                "mobilePhones": [{"mobilePhone": "+1 202-555-0123", "confidenceScore": 0.9}]
            })
        },
    );
    play(&world, paths, "people", json!({"enrichmentID": "s1"}), shape);
    world.run("SELECT leadlex.alter_provider('vendor', config => '{\"fills\": [\"job_title\", \"phone\"]}')");
    check(&world, paths);
}

#[test]
fn dropcontact_takes_a_hundred() {
    let world = world_of("dropcontact");
    let paths = ("/v1/enrich/all", "/v1/enrich/all/q1");
    let shape: Shape = (
        json!({"success": false, "error": false, "reason": "Request not ready yet, try again in 30 seconds"}),
        json!({"success": true, "error": false, "credits_left": 14}),
        |_| json!({"first_name": "", "job": "", "company": "", "phone": null}),
        |one| {
            json!({
                "first_name": one["first_name"], "last_name": one["last_name"], "full_name": one["full_name"],
                "job": format!("Title of {}", one["last_name"].as_str().unwrap()), "company": "Acme", "phone": null
            })
        },
    );
    play(&world, paths, "data", json!({"request_id": "q1", "error": false, "success": true}), shape);
    check(&world, paths);
}

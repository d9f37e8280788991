//! The presets of vendors that document a request about several people, played over real HTTP.

use serde_json::{Value, json};

use super::{counts, outcomes};
use crate::support::{Behaviour, Request};
use crate::world::{SECRET, World, contact};

/// The preset, asking the world's server under the vendor's paths.
fn world_of(preset: &str, paths: &[(&str, &str)]) -> World {
    let world =
        World::with(&crate::world::Beginning { contacts: 25, credits: Some(100), ..Default::default() });
    let mut owner = world.owner();
    owner.execute("SELECT leadlex.drop_provider('main')", &[]).unwrap();
    owner
        .execute(
            "SELECT leadlex.add_provider('as_it_comes', preset => $1, secret => $2)",
            &[&preset, &SECRET],
        )
        .unwrap();
    let mut config: Value = owner
        .query_one("SELECT config FROM leadlex.provider WHERE name = 'as_it_comes'", &[])
        .unwrap()
        .get(0);
    for (place, path) in paths {
        let url = config.pointer_mut(place).unwrap();
        assert!(url.as_str().unwrap().ends_with(*path), "{url}");
        *url = json!(world.provider.url(path));
    }
    owner.execute("SELECT leadlex.drop_provider('as_it_comes')", &[]).unwrap();
    owner
        .execute("SELECT leadlex.add_provider('vendor', config => $1, secret => $2)", &[&config, &SECRET])
        .unwrap();
    world
}

fn enrich(world: &World, numbers: std::ops::RangeInclusive<i32>) -> Vec<postgres::Row> {
    let ids: Vec<_> = numbers.map(contact).collect();
    world.caller().query("SELECT * FROM enrich_contacts($1)", &[&ids]).unwrap()
}

fn title(world: &World, n: i32) -> Option<String> {
    world.owner().query_one("SELECT job_title FROM crm WHERE id = $1", &[&contact(n)]).unwrap().get(0)
}

#[test]
fn people_data_labs_is_asked_about_a_hundred_at_once() {
    let world = world_of(
        "people_data_labs",
        &[("/request/url", "/v5/person/enrich"), ("/bulk/request/url", "/v5/person/bulk")],
    );
    world.provider.on("/v5/person/bulk", |request: &Request| {
        let body = request.json();
        let one = |one: &Value| {
            let params = &one["params"];
            let (email, name) = (params["email"].as_str().unwrap(), params["name"].as_str().unwrap());
            assert_eq!((params["min_likelihood"].as_i64(), params["titlecase"].as_bool()), (Some(2), Some(true)));
            match email {
                "person3@acme.example" => json!({"status": 404, "error": {"type": "not_found", "message": "x"}}),
                "person4@acme.example" => json!({"status": 400, "error": {"type": "invalid_request_error", "message": "x"}}),
                // Somebody else.
                "person5@acme.example" => json!({"status": 200, "likelihood": 9, "data": {"first_name": "other", "last_name": "other", "full_name": "Other Other", "work_email": "other@else.example", "job_title": "Wrong"}}),
                _ => json!({"status": 200, "likelihood": 8, "data": {"full_name": name, "work_email": email, "job_title": format!("Title of {email}"), "job_company_name": "Acme", "mobile_phone": true}}),
            }
        };
        let all: Vec<Value> = body["requests"].as_array().unwrap().iter().map(one).collect();
        let answer = crate::support::Response::json(200, &json!(all)).with_header("x-call-credits-spent", "22");
        Behaviour::Answer(answer)
    });
    let rows = enrich(&world, 1..=25);
    assert_eq!(outcomes(&rows), counts([("enriched", 22), ("no_match", 2), ("provider_unavailable", 1)]));
    assert_eq!((world.provider.count(), world.provider.count_of("/v5/person/bulk")), (1, 1));
    assert_eq!(rows[0].get::<_, f64>("confidence"), 0.8);
    assert_eq!(title(&world, 7).as_deref(), Some("Title of person7@acme.example"));
    assert_eq!((title(&world, 3), title(&world, 5)), (None, None));
    let cost = || -> Option<f64> {
        world.owner().query_one("SELECT cost FROM leadlex.provider_stats", &[]).unwrap().get(0)
    };
    crate::support::eventually(
        "the vendor's credits are counted once",
        std::time::Duration::from_secs(10),
        || cost() == Some(22.0),
    );
    // A single call goes the other way.
    world.provider.on("/v5/person/enrich", |_| {
        Behaviour::json(404, json!({"status": 404, "error": {"type": "not_found", "message": "x"}}))
    });
    world.end_pauses();
    assert_eq!(crate::world::sqlstate(&crate::world::enrich(&mut world.caller(), 4)), "LX409");
    assert_eq!(world.provider.count_of("/v5/person/enrich"), 1);
}

#[test]
fn apollo_is_asked_about_ten_at_once() {
    let world = world_of(
        "apollo",
        &[
            ("/steps/0/request/url", "/api/v1/people/match"),
            ("/bulk/request/url", "/api/v1/people/bulk_match"),
        ],
    );
    world.provider.on("/api/v1/people/bulk_match", |request: &Request| {
        let body = request.json();
        let details = body["details"].as_array().unwrap();
        assert!(details.len() <= 10);
        let one = |one: &Value| match one["email"].as_str().unwrap() {
            "person3@acme.example" => Value::Null,
            email => json!({
                "id": "x1", "name": one["name"], "first_name": one["first_name"], "last_name": one["last_name"],
                "title": format!("Title of {email}"), "city": "Springfield", "country": "United States",
                "organization": {"name": "Acme"}
            }),
        };
        let matches: Vec<Value> = details.iter().map(one).collect();
        Behaviour::json(200, json!({"status": "success", "credits_consumed": matches.len(), "matches": matches}))
    });
    let rows = enrich(&world, 1..=25);
    assert_eq!(outcomes(&rows), counts([("enriched", 24), ("no_match", 1)]));
    assert_eq!((world.provider.count(), world.provider.count_of("/api/v1/people/bulk_match")), (3, 3));
    assert_eq!(title(&world, 25).as_deref(), Some("Title of person25@acme.example"));
    let row = world
        .owner()
        .query_one("SELECT company_name, location FROM crm WHERE id = $1", &[&contact(1)])
        .unwrap();
    assert_eq!(
        (row.get::<_, String>(0), row.get::<_, String>(1)),
        ("Acme".into(), "Springfield, United States".into())
    );
    // The account is empty: the words are those of the answer about one.
    world.run("UPDATE crm SET job_title = NULL, email = 'new' || email");
    world.provider.on("/api/v1/people/bulk_match", |_| {
        Behaviour::json(422, json!({"error": "You have insufficient credits!"}))
    });
    let before = world.provider.count();
    enrich(&world, 1..=5);
    assert_eq!(world.provider.count(), before + 1);
    let state: String =
        world.owner().query_one("SELECT state FROM leadlex.provider_stats", &[]).unwrap().get(0);
    assert_eq!(state, "quota");
}

#[test]
fn lusha_is_searched_for_a_hundred_at_once() {
    let world = world_of(
        "lusha",
        &[
            ("/steps/0/request/url", "/v3/contacts/search"),
            ("/steps/1/request/url", "/v3/contacts/enrich"),
            ("/bulk/request/url", "/v3/contacts/search"),
        ],
    );
    world.provider.on("/v3/contacts/search", |request: &Request| {
        let body = request.json();
        let one = |one: &Value| {
            let known = &one["clientReferenceId"];
            match one["email"].as_str().unwrap() {
                "person3@acme.example" => json!({"clientReferenceId": known, "error": {"code": "NOT_FOUND", "message": "x"}}),
                "person4@acme.example" => json!({"clientReferenceId": known, "error": {"code": "SEARCH_FAILED", "message": "x"}}),
                "person5@acme.example" => json!({"clientReferenceId": known, "error": {"code": "COMPLIANCE_RESTRICTED", "message": "x"}}),
                email => json!({"clientReferenceId": known, "id": format!("id of {email}"), "firstName": one["firstName"], "lastName": one["lastName"],
                    "jobTitle": {"title": format!("Title of {email}"), "seniority": "Director"}, "company": {"name": "Acme"},
                    "location": {"city": "Springfield", "country": "United States"}}),
            }
        };
        let mut results: Vec<Value> = body["contacts"].as_array().unwrap().iter().map(one).collect();
        results.reverse();
        Behaviour::json(200, json!({"requestId": "r", "results": results, "billing": {"creditsCharged": 22}}))
    });
    world.provider.on("/v3/contacts/enrich", |request: &Request| {
        let body = request.json();
        assert_eq!(body["reveal"], json!(["phones"]));
        let id = &body["ids"][0];
        let phones = json!([{"number": "+12025550123", "type": "mobile", "doNotCall": id == "id of person6@acme.example"}]);
        Behaviour::json(200, json!({"requestId": "r", "results": [{"id": id, "phones": phones}], "billing": {"creditsCharged": 5}}))
    });
    let rows = enrich(&world, 1..=25);
    assert_eq!(outcomes(&rows), counts([("enriched", 22), ("no_match", 2), ("provider_unavailable", 1)]));
    assert_eq!(
        (world.provider.count_of("/v3/contacts/search"), world.provider.count_of("/v3/contacts/enrich")),
        (1, 22)
    );
    assert_eq!(title(&world, 7).as_deref(), Some("Title of person7@acme.example"));
    assert_eq!((title(&world, 3), title(&world, 5)), (None, None));
    let sql = "SELECT phone, location, seniority FROM crm WHERE id = $1";
    let row = |n| world.owner().query_one(sql, &[&contact(n)]).unwrap();
    assert_eq!(row(7).get::<_, String>(0), "+12025550123");
    assert_eq!(row(6).get::<_, Option<String>>(0), None, "it is not to be called");
    let suppressed = "SELECT count(DISTINCT source) FROM leadlex.suppression";
    assert_eq!(
        world.owner().query_one(suppressed, &[]).unwrap().get::<_, i64>(0),
        1,
        "of whom it may not tell"
    );
    assert_eq!(row(7).get::<_, String>(1), "Springfield, United States");
    // The account is empty.
    world.run("UPDATE crm SET job_title = NULL, email = 'new' || email");
    world.provider.on("/v3/contacts/search", |_| {
        Behaviour::json(402, json!({"statusCode": 402, "message": "insufficient credits"}))
    });
    enrich(&world, 7..=12);
    assert_eq!(world.provider.count_of("/v3/contacts/search"), 2);
    let state: String =
        world.owner().query_one("SELECT state FROM leadlex.provider_stats", &[]).unwrap().get(0);
    assert_eq!(state, "quota");
}

#[test]
fn prospeo_is_asked_about_fifty_at_once() {
    let world = world_of(
        "prospeo",
        &[("/request/url", "/enrich-person"), ("/bulk/request/url", "/bulk-enrich-person")],
    );
    world.provider.on("/bulk-enrich-person", |request: &Request| {
        let body = request.json();
        assert_eq!(body["enrich_mobile"], false);
        let (mut matched, mut unknown) = (Vec::new(), Vec::new());
        for one in body["data"].as_array().unwrap() {
            match one["email"].as_str().unwrap() {
                "person3@acme.example" => unknown.push(one["identifier"].clone()),
                // Of this one it says nothing at all.
                "person4@acme.example" => {}
                email => matched.push(json!({
                    "identifier": one["identifier"],
                    "person": {"full_name": one["full_name"], "current_job_title": format!("Title of {email}"),
                               "mobile": {"status": "VERIFIED", "revealed": false, "mobile": "+1 202-***-****"}},
                    "company": {"name": "Acme"}
                })),
            }
        }
        matched.reverse();
        Behaviour::json(
            200,
            json!({"error": false, "total_cost": matched.len(), "matched": matched, "not_matched": unknown, "invalid_datapoints": []}),
        )
    });
    let rows = enrich(&world, 1..=25);
    assert_eq!(outcomes(&rows), counts([("enriched", 23), ("no_match", 1), ("provider_unavailable", 1)]));
    assert_eq!((world.provider.count(), world.provider.count_of("/bulk-enrich-person")), (1, 1));
    assert_eq!(title(&world, 7).as_deref(), Some("Title of person7@acme.example"));
    assert_eq!((title(&world, 3), title(&world, 4)), (None, None));
    // Whom it does not know it is not asked about again.
    world.end_pauses();
    enrich(&world, 3..=3);
    assert_eq!(world.provider.count(), 1);
    // The account is empty.
    world.run("UPDATE crm SET job_title = NULL, email = 'new' || email");
    world.provider.on("/bulk-enrich-person", |_| {
        Behaviour::json(400, json!({"error": true, "error_code": "INSUFFICIENT_CREDITS"}))
    });
    enrich(&world, 1..=5);
    assert_eq!(world.provider.count(), 2);
    let state: String =
        world.owner().query_one("SELECT state FROM leadlex.provider_stats", &[]).unwrap().get(0);
    assert_eq!(state, "quota");
}

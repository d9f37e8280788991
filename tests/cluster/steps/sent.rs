//! What is sent and asked for, and what is told of it beforehand.

use postgres::Client;
use serde_json::{Value, json};

use super::vendor::{POLL, Ready, SUBMIT, phone, with_title, world};
use super::{SOON, wait_for_tickets};
use crate::support::{Behaviour, eventually, person};
use crate::world::{PATH, SECRET, World, contact, enrich, try_enrich};

fn enrich_fields(caller: &mut Client, n: i32, fields: &[&str]) -> Value {
    let row = caller.query_one("SELECT try_enrich_contact($1, $2)", &[&contact(n), &fields]);
    row.unwrap().get(0)
}

/// A provider of one request whose body says what is wanted.
fn world_that_asks_for_fields() -> World {
    let world = World::new();
    let mut config = world.provider.config(PATH);
    config["request"] = json!({
        "method": "POST", "url": world.provider.url(PATH), "headers": {"X-Api-Key": "{secret}"},
        "body": {"email": "{email}", "want": {"wanted": {"phone": "phones", "job_title": "profile"}}}
    });
    config["identify_by"] = json!([["email"]]);
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    world
}

fn wanted(world: &World) -> Vec<Value> {
    world.provider.requests().iter().map(|request| request.json()["want"].clone()).collect()
}

#[test]
fn the_fields_still_wanted_are_asked_for_and_others_are_not_remembered_as_nothing() {
    let world = world_that_asks_for_fields();
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let mut caller = world.caller();
    let nothing = enrich_fields(&mut caller, 1, &["phone"]);
    assert_eq!(nothing["error"]["reason"], "no_data", "{nothing}");
    assert_eq!(wanted(&world), [json!(["phones"])]);
    world.provider.on(PATH, |_| Behaviour::json(200, json!({"data": {"job_title": "Counsel"}})));
    let found = enrich_fields(&mut caller, 1, &["job_title"]);
    assert_eq!(found["contact"]["job_title"], "Counsel", "{found}");
    assert_eq!(wanted(&world), [json!(["phones"]), json!(["profile"])]);
    // Of the phone it is known.
    assert_eq!(enrich_fields(&mut caller, 1, &["phone"])["error"]["reason"], "no_data");
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn sets_and_forgetting_know_questions_by_their_fields() {
    let world = world_that_asks_for_fields();
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let ids: Vec<uuid::Uuid> = (1..=3).map(contact).collect();
    let ask = |fields: &[&str]| {
        world.caller().query("SELECT FROM enrich_contacts($1, $2)", &[&ids, &fields]).unwrap().len()
    };
    assert_eq!((ask(&["phone"]), ask(&["phone"]), world.provider.count()), (3, 3, 3));
    assert_eq!((ask(&["job_title", "phone"]), world.provider.count()), (3, 6));
    assert_eq!(wanted(&world)[5], json!(["phones", "profile"]));
    eventually("the receipts are written", SOON, || {
        world.number("SELECT count(*) FROM leadlex.receipt") == 6
    });
    world.run(&format!("SELECT leadlex.forget_contact('{}')", contact(1)));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.receipt"), 4, "both of its questions");
}

#[test]
fn only_the_set_that_identifies_is_sent() {
    let world = World::new();
    let mut config = world.provider.config(PATH);
    config["request"]["query"] =
        json!({"email": "{email}", "name": "{full_name}", "company": "{company_name}"});
    config["send"] = json!("used_set");
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    enrich(&mut world.caller(), 1).unwrap();
    let request = world.provider.requests().remove(0);
    assert_eq!((request.param("email"), request.param("name")), (Some("person1@acme.example"), None));
    assert_eq!(request.header("x-api-key"), Some(SECRET));
}

#[test]
fn a_provider_s_own_least_confidence_counts_before_the_setting() {
    let world = World::new();
    let alter = |least: f64| {
        let config = json!({"min_confidence": least});
        world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    };
    // The answer has 0.9.
    alter(0.95);
    let weak = try_enrich(&mut world.caller(), 1);
    assert_eq!(weak["error"]["below_min_confidence"], json!(["main"]), "{weak}");
    alter(0.5);
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.min_confidence = 1").unwrap();
    assert_eq!(enrich(&mut caller, 2).unwrap()["confidence"], 0.9);
    let ids = vec![contact(3)];
    let row = caller.query_one("SELECT status FROM enrich_contacts($1)", &[&ids]).unwrap();
    assert_eq!(row.get::<_, String>(0), "enriched");
}

#[test]
fn an_estimate_knows_what_earlier_steps_supplied() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &with_title(&world.provider, json!({"poll_every_s": 20})));
    enrich(&mut world.caller(), 1).unwrap();
    wait_for_tickets(&world, 1);
    world.run("UPDATE crm SET job_title = NULL");
    let estimate = |field: &str| -> String {
        let sql =
            format!("SELECT outcome FROM leadlex.estimate('crm', ARRAY['{}'], ARRAY['{field}'])", contact(1));
        world.caller().query_one(&sql, &[]).unwrap().get(0)
    };
    assert_eq!((estimate("job_title").as_str(), estimate("phone").as_str()), ("answered", "asked"));
    assert_eq!((slow.submissions(), world.provider.count()), (1, 1));
}

#[test]
fn check_provider_shows_each_step_and_keeps_nothing() {
    let (world, slow) = world(Ready::AfterPolls(1), json!({}));
    let check = || -> Value {
        let sql = "SELECT leadlex.check_provider('main', '{\"email\": \"jane7@acme.example\"}')";
        world.owner().query_one(sql, &[]).unwrap().get(0)
    };
    let told = check();
    let steps = told["steps"].as_array().unwrap();
    let outcomes: Vec<&str> = steps.iter().map(|step| step["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["next", "pending", "match"], "{told}");
    assert_eq!((&steps[1]["reason"], &told["outcome"]), (&json!("pending"), &json!("match")));
    assert_eq!(told["fields"]["phone"], phone("jane7@acme.example"));
    assert_eq!((world.provider.count_of(SUBMIT), world.provider.count_of(POLL)), (1, 2));
    assert!(!told.to_string().contains(SECRET));
    assert_eq!((super::tickets(&world), slow.submissions()), (0, 1));
    // Of one request there is no list.
    let other = World::new();
    other.provider.on(PATH, |_| Behaviour::json(200, person()));
    let sql = "SELECT leadlex.check_provider('main', '{\"email\": \"jane7@acme.example\"}')";
    let told: Value = other.owner().query_one(sql, &[]).unwrap().get(0);
    assert_eq!((&told["outcome"], &told["steps"]), (&json!("match"), &json!(null)));
}

#[test]
fn check_provider_shows_what_each_step_costs_and_their_sum() {
    let world = World::new();
    let step = |path: &str| json!({"request": {"url": world.provider.url(path), "headers": {"X-Api-Key": "{secret}"}}, "response": {"cost": {"pointer": "/credits"}}});
    let mut steps = [step("/search?email={email}"), step("/reveal?id={id}")];
    steps[0]["take"] = json!({"id": "/id"});
    steps[1]["response"]["fields"] = json!({"phone": "/phone"});
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &json!({"identify_by": [["email"]], "steps": steps}));
    world.provider.on("/search", |_| Behaviour::json(200, json!({"id": "7", "credits": 1})));
    let check = |credits: Value| -> Value {
        world.provider.on("/reveal", move |_| {
            Behaviour::json(200, json!({"phone": "+12025550123", "credits": credits}))
        });
        let sql = "SELECT leadlex.check_provider('main', '{\"email\": \"jane7@acme.example\"}')";
        world.owner().query_one(sql, &[]).unwrap().get(0)
    };
    let told = check(json!(5));
    assert_eq!((&told["outcome"], &told["cost"]), (&json!("match"), &json!(6.0)), "{told}");
    assert_eq!((&told["steps"][0]["cost"], &told["steps"][1]["cost"]), (&json!(1.0), &json!(5.0)));
    assert_eq!(check(json!("much"))["cost"], json!("unreadable"));
}

#[test]
fn repetitions_are_marked_where_something_is_handed_in_and_nowhere_else() {
    let (world, _) = world(Ready::AfterPolls(1), json!({"idempotency_header": "Idempotency-Key"}));
    enrich(&mut world.caller(), 1).unwrap();
    let marked: Vec<bool> =
        world.provider.requests().iter().map(|request| request.header("idempotency-key").is_some()).collect();
    assert_eq!(marked, [true, false, false]);
}

/// The keys of all that was handed in.
fn keys(world: &World) -> Vec<String> {
    let handed_in = world.provider.requests().into_iter().filter(|request| request.path == SUBMIT);
    handed_in.map(|request| request.header("idempotency-key").unwrap().to_owned()).collect()
}

#[test]
fn what_is_handed_in_anew_has_another_key_and_what_may_not_have_arrived_the_same() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({"idempotency_header": "Idempotency-Key"}));
    let hand_in = || {
        let mut caller = world.caller();
        caller.batch_execute("SET statement_timeout = '500ms'").unwrap();
        enrich(&mut caller, 1).unwrap_err();
    };
    let forgotten = |count: i64| {
        let sql = "SELECT count(*) FROM leadlex.ticket WHERE ticket ->> 'inquiry' IS NULL AND ticket <> '{}'";
        eventually("the worker has written that it is forgotten", SOON, || world.number(sql) == count);
    };
    world.provider.on(SUBMIT, |_| Behaviour::json(500, json!({})));
    try_enrich(&mut world.caller(), 1);
    slow.play(&world.provider);
    hand_in();
    // The vendor does not know it: at once, and once that is written down.
    for written in [false, true] {
        wait_for_tickets(&world, 1);
        slow.lose_all();
        assert_eq!(try_enrich(&mut world.caller(), 1)["error"]["reason"], json!(null));
        if written {
            forgotten(1);
        }
        hand_in();
        forgotten(0);
    }
    // Its time is over.
    world.run("UPDATE leadlex.ticket SET submitted_at = submitted_at - interval '1 hour', expires_at = expires_at - interval '1 hour'");
    hand_in();
    let keys = keys(&world);
    assert_eq!((keys.len(), &keys[0]), (5, &keys[1]), "nothing is known of the first: {keys:?}");
    let different: std::collections::HashSet<&String> = keys.iter().collect();
    assert_eq!(different.len(), 4, "{keys:?}");
}

#[test]
fn check_provider_says_which_step_had_nothing_and_why() {
    let (world, _) = world(Ready::AfterPolls(0), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    let mut config = super::vendor::with_title(&world.provider, json!({}));
    config["steps"][1]["response"]["no_match"] =
        json!({"body": [{"pointer": "/status", "in": ["not_found"]}]});
    world.add_provider("main", &config);
    world.provider.on(POLL, |_| Behaviour::json(200, json!({"status": "not_found"})));
    let sql = "SELECT leadlex.check_provider('main', '{\"email\": \"jane7@acme.example\"}')";
    let told: Value = world.owner().query_one(sql, &[]).unwrap().get(0);
    let steps = told["steps"].as_array().unwrap();
    assert_eq!((&steps[0]["outcome"], &steps[1]["outcome"]), (&json!("next"), &json!("match")), "{told}");
    let message = steps[1]["message"].as_str().unwrap_or_default();
    assert!(message.contains("steps/1/response/no_match"), "{told}");
    assert_eq!(told["fields"], json!({"job_title": "General Counsel"}));
    // Without anything before it, it is no match.
    world.run("SELECT leadlex.drop_provider('main')");
    config["steps"][0]["response"]["fields"] = json!({"job_title": "/other"});
    world.add_provider("main", &config);
    let told: Value = world.owner().query_one(sql, &[]).unwrap().get(0);
    assert_eq!(told["outcome"], "no_match");
    assert!(told["message"].as_str().unwrap_or_default().contains("steps/1/response/no_match"), "{told}");
}

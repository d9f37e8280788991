//! A vendor that gives one id for several people: nobody gets the data of another.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, SUBMIT, config, phone, world};
use super::wait_for_tickets;
use crate::support::{Behaviour, eventually};
use crate::world::{World, contact, enrich, try_enrich};

/// Name and address are sent. Every question gets the id that `id` makes of them, and the answer is about whoever asked first.
fn world_with(id: impl Fn(&str, &str) -> String + Send + Sync + 'static, more: Value) -> World {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.provider.on(SUBMIT, move |request| {
        let (name, email) =
            (request.param("name").unwrap_or_default(), request.param("email").unwrap_or_default());
        slow.submit(Some(email));
        Behaviour::json(202, json!({"id": id(name, email)}))
    });
    world.provider.on(POLL, |_| {
        Behaviour::json(200, json!({"status": "done", "data": {"phone": phone("person1@acme.example")}}))
    });
    let mut config = config(&world.provider, more);
    config["steps"][0]["request"]["query"]["name"] = json!("{full_name}");
    world.add_provider("main", &config);
    world
}

fn refused(error: &Value) -> bool {
    let told = &error["providers"][0];
    (&error["code"], &error["sqlstate"], &told["reason"])
        == (&json!("provider_unavailable"), &json!("LX503"), &json!("unrecognised"))
        && told["message"].as_str().is_some_and(|message| message.contains("another person"))
}

#[test]
fn a_second_person_with_the_same_id_is_not_asked_for() {
    let world = world_with(|_, _| "job-1".to_owned(), json!({}));
    let mut caller = world.caller();
    let first = enrich(&mut caller, 1).unwrap();
    assert_eq!(first["contact"]["phone"], phone("person1@acme.example"));
    wait_for_tickets(&world, 0);
    // Also after the first is answered, and however often it is asked.
    for _ in 0..2 {
        let error = try_enrich(&mut caller, 2)["error"].clone();
        assert!(refused(&error), "{error}");
    }
    assert_eq!(
        (world.provider.count_of(SUBMIT), world.provider.count_of(POLL), world.phone(2)),
        (2, 1, None)
    );
    let told = world.cluster.log();
    assert!(told.contains("a vendor gave one id for several people"), "an administrator can see it");
    assert!(!told.contains("person2@"), "without the person");
}

/// The first question is handed in twice and gets another id the second time: the first one is still not anybody else's.
#[test]
fn an_id_is_not_forgotten_when_its_question_is_handed_in_anew() {
    for way in ["answered", "unknown", "given up"] {
        let nth = AtomicUsize::new(0);
        let id = move |_: &str, _: &str| match nth.fetch_add(1, Ordering::SeqCst) {
            1 => "job-2".to_owned(),
            _ => "job-1".to_owned(),
        };
        let world = world_with(id, json!({"poll_for_s": 2}));
        let mut caller = world.caller();
        match way {
            "answered" => {
                enrich(&mut caller, 1).unwrap();
                wait_for_tickets(&world, 0);
                let again = "SET leadlex.receipt_ttl = 0; SELECT enrich_contact(id, overwrite => true) FROM crm WHERE id = '$1'; RESET leadlex.receipt_ttl";
                caller.batch_execute(&again.replace("$1", &contact(1).to_string())).unwrap();
            }
            "unknown" => {
                world.provider.on(POLL, |_| Behaviour::json(404, json!({})));
                try_enrich(&mut caller, 1);
                wait_for_tickets(&world, 0);
                world.end_pauses();
                try_enrich(&mut caller, 1);
            }
            _ => {
                world.provider.on(POLL, |_| Behaviour::json(200, json!({"status": "running"})));
                try_enrich(&mut caller, 1);
                wait_for_tickets(&world, 0);
                try_enrich(&mut caller, 1);
            }
        }
        assert_eq!(world.provider.count_of(SUBMIT), 2, "{way}");
        wait_for_tickets(&world, 0);
        world.end_pauses();
        let polls = world.provider.count_of(POLL);
        let error = try_enrich(&mut caller, 2)["error"].clone();
        assert!(refused(&error), "{way}: {error}");
        assert_eq!((world.provider.count_of(POLL), world.phone(2)), (polls, None), "{way}");
    }
}

/// Two configurations may be of two accounts, which count for themselves, or of two vendors with the same path.
#[test]
fn each_configuration_has_ids_of_its_own() {
    let (world, slow) = world(Ready::AfterPolls(0), json!({}));
    enrich(&mut world.caller(), 1).unwrap();
    wait_for_tickets(&world, 0);
    world.provider.on("/other/poll", |_| {
        Behaviour::json(200, json!({"status": "done", "data": {"phone": phone("person2@acme.example")}}))
    });
    let first = world.provider.requests().iter().find(|request| request.path == POLL).cloned();
    let id = first.and_then(|request| request.param("id").map(str::to_owned)).expect("an id");
    world.provider.on("/other/submit", move |_| Behaviour::json(202, json!({ "id": id })));
    let mut config = config(&world.provider, json!({}));
    config["steps"][0]["request"]["url"] = json!(world.provider.url("/other/submit"));
    config["steps"][1]["request"]["url"] = json!(world.provider.url("/other/poll"));
    world.add_provider("again", &config);
    world.run("SELECT leadlex.enable_provider('main', false)");
    let told = enrich(&mut world.caller(), 2).unwrap();
    assert_eq!((&told["source"], &told["fields_updated"]), (&json!("again"), &json!(["phone"])), "{told}");
    assert_eq!(slow.submissions(), 1);
}

#[test]
fn of_a_set_one_has_the_answer_and_of_jobs_too() {
    let world = world_with(|_, _| "job-1".to_owned(), json!({}));
    let ids: Vec<uuid::Uuid> = (1..=6).map(contact).collect();
    let sql = "SELECT count(*) FILTER (WHERE status = 'enriched'), count(*) FILTER (WHERE status = 'failed' AND error_message ~ 'another person')
               FROM enrich_contacts($1)";
    let row = world.caller().query_one(sql, &[&ids]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 5));
    assert_eq!((world.provider.count_of(SUBMIT), world.provider.count_of(POLL)), (6, 1));
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 1);
    let ids: Vec<uuid::Uuid> = (7..=8).map(contact).collect();
    world.caller().execute("SELECT leadlex.enqueue($1)", &[&ids]).unwrap();
    eventually("the jobs have failed", super::SOON, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE last_error ~ 'another person'") == 2
    });
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 1);
}

/// A bulk takes the id under another name than a single request.
#[test]
fn an_id_that_was_given_for_several_is_no_single_persons() {
    let world = world_with(|_, _| "job-1".to_owned(), json!({}));
    let of = |n: u32| json!({"phone": phone(&format!("person{n}@acme.example"))});
    world.provider.on(POLL, move |_| {
        let people = [json!({"data": of(1)}), json!({"data": of(2)})];
        Behaviour::json(200, json!({"status": "done", "data": of(1), "people": people}))
    });
    let bulk = json!({"most": 10, "answers": "/people", "match": "position", "steps": [
        {"request": {"method": "POST", "url": world.provider.url(SUBMIT), "body": {"people": {"each": {"email": "{email}"}}}},
         "response": {"pending": {"status": []}}, "take": {"batch": "/id"}},
        {"request": {"url": world.provider.url(POLL), "query": {"id": "{batch}"}}, "response": {"pending": {"status": [202]}}}
    ]});
    world.run(&format!("SELECT leadlex.alter_provider('main', '{}')", json!({"bulk": bulk})));
    let mut caller = world.caller();
    let ids: Vec<uuid::Uuid> = (1..=2).map(contact).collect();
    let sql = "SELECT count(*) FROM enrich_contacts($1) WHERE status = 'enriched'";
    assert_eq!(caller.query_one(sql, &[&ids]).unwrap().get::<_, i64>(0), 2);
    let error = try_enrich(&mut caller, 9)["error"].clone();
    assert!(refused(&error), "{error}");
    assert_eq!((world.provider.count_of(SUBMIT), world.phone(9)), (2, None));
}

#[test]
fn the_same_person_may_have_the_same_id_again() {
    let world = world_with(|name, _| name.replace(' ', "-"), json!({}));
    let mut caller = world.caller();
    // The same question, when its answer is forgotten.
    enrich(&mut caller, 1).unwrap();
    eventually("the answer is written", super::SOON, || {
        world.number("SELECT count(*) FROM leadlex.receipt") == 1
    });
    wait_for_tickets(&world, 0);
    world.run("UPDATE crm SET phone = NULL; DELETE FROM leadlex.receipt");
    enrich(&mut caller, 1).unwrap();
    // Another address of the same person, in another row.
    world.run("UPDATE crm SET full_name = 'PERSON  1' WHERE email = 'person2@acme.example'");
    assert_eq!(enrich(&mut caller, 2).unwrap()["contact"]["phone"], phone("person1@acme.example"));
    assert_eq!((world.provider.count_of(SUBMIT), world.provider.count_of(POLL)), (3, 3));
    wait_for_tickets(&world, 0);
    // What is forgotten of a person is no mark either.
    world.run("SELECT leadlex.forget_contact(id) FROM crm");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.ticket"), 0);
}

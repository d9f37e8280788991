//! What is refused when a provider is added, what cannot be sent, and who is said to have been asked.

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, config, world};
use crate::support::Behaviour;
use crate::world::{Beginning, PATH, World, enrich, try_enrich};

#[test]
fn a_request_that_names_nothing_of_the_contact_is_refused_with_its_place() {
    let world = World::new();
    let mut own = config(&world.provider, json!({}));
    own["steps"][0]["request"]["query"] = json!({"all": "yes"});
    let sql = "SELECT leadlex.add_provider('silent', config => $1, secret => 's')";
    let error = world.owner().query_one(sql, &[&own]).unwrap_err();
    let error = error.as_db_error().unwrap();
    let detail: Value = serde_json::from_str(error.detail().unwrap()).unwrap();
    assert_eq!((error.code().code(), &detail["place"]), ("22023", &json!("/steps/0/request")));
}

#[test]
fn a_taken_value_that_no_header_can_carry_is_not_sent() {
    let (world, _) = world(Ready::AfterPolls(0), json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    let mut own = config(&world.provider, json!({}));
    own["steps"][1]["request"] = json!({"url": world.provider.url(POLL), "headers": {"X-Job": "{ticket}"}});
    world.add_provider("main", &own);
    world.provider.on(super::vendor::SUBMIT, |_| Behaviour::json(202, json!({"id": "a\nb"})));
    let told = try_enrich(&mut world.caller(), 1);
    assert_eq!(told["error"]["providers"][0]["reason"], "unrecognised", "{told}");
    assert_eq!((world.provider.count_of(POLL), super::tickets(&world)), (0, 0));
}

#[test]
fn who_has_nothing_of_what_is_wanted_is_not_said_to_have_answered() {
    let world = World::new();
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})));
    let mut other = world.provider.config("/other");
    other["response"]["fields"] = json!({"seniority": "/s"});
    world.add_provider("other", &other);
    let sql = "SELECT try_enrich_contact($1, '{phone}')";
    let told: Value = world.caller().query_one(sql, &[&crate::world::contact(1)]).unwrap().get(0);
    let providers = told["error"]["providers"].as_array().unwrap();
    assert_eq!(providers.iter().map(|p| &p["provider"]).collect::<Vec<_>>(), ["main"], "{told}");
    assert_eq!(world.provider.count_of("/other"), 0);
}

#[test]
fn a_token_of_a_few_seconds_is_used_more_than_once() {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &super::login::config(&world.provider));
    world
        .provider
        .on(super::login::TOKEN, |_| Behaviour::json(200, json!({"access_token": "t", "expires_in": 30})));
    world.provider.on(PATH, |_| Behaviour::json(200, crate::support::person()));
    let mut caller = world.caller();
    for n in 1..=4 {
        enrich(&mut caller, n).unwrap();
    }
    assert_eq!(world.provider.count_of(super::login::TOKEN), 1);
}

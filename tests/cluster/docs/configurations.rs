//! The configurations that the docs show work, each against a vendor that answers as the page says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::markdown::{Part, parts};
use super::page;
use crate::presets::plays::moved;
use crate::support::{Behaviour, Provider};
use crate::world::{World, contact};

/// The blocks of JSON of a page that are whole configurations.
fn configurations(path: &str) -> Vec<Value> {
    let blocks = parts(&page(path).text).into_iter().filter_map(|(line, part)| match part {
        Part::Fence { language, text } if language == "json" => Some(
            serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{path}:{line}: {error}")),
        ),
        _ => None,
    });
    blocks.filter(|block| block.get("identify_by").is_some()).collect()
}

/// What stands behind the addresses of the page about several requests. How often it was asked whether it is ready is counted.
fn play(provider: &Provider) -> Arc<AtomicUsize> {
    let polls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&polls);
    provider.on("/v2/enrich", |_| Behaviour::json(202, json!({"enrichment_id": "e1"})));
    provider.on("/v2/enrich/e1", move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Behaviour::json(200, json!({"status": "IN_PROGRESS"})),
        _ => Behaviour::json(200, json!({"status": "DONE", "people": [{"phone": "+12025550123"}]})),
    });
    provider.on("/search", |_| Behaviour::json(200, json!({"results": [{"id": "p 1", "title": "Counsel"}]})));
    provider.on("/person/p 1", |_| Behaviour::json(200, json!({"phone": "+12025550123"})));
    provider.on("/oauth/token", |request| match request.json()["grant_type"] == "client_credentials" {
        true => Behaviour::json(200, json!({"access_token": "t", "expires_in": 3600})),
        false => Behaviour::json(400, json!({})),
    });
    provider.on("/person", |request| {
        let known =
            request.header("authorization") == Some("Bearer t") || request.json()["reveal"].is_array();
        match known {
            true => Behaviour::json(200, json!({"phones": ["+12025550123"], "title": "Counsel"})),
            false => Behaviour::json(401, json!({})),
        }
    });
    polls
}

#[test]
fn each_mechanism_of_several_requests_works_as_it_is_shown() {
    let shown = configurations("docs/providers/several-requests.md");
    let expected = [
        json!(["phone"]),
        json!(["job_title", "phone"]),
        json!(["job_title"]),
        json!(["job_title", "phone"]),
    ];
    assert_eq!(shown.len(), expected.len());
    for (mut configuration, expected) in shown.into_iter().zip(expected) {
        let world = World::new();
        let polls = play(&world.provider);
        moved(&mut configuration, &world.provider);
        let later = configuration.get("poll_every_s").is_some();
        if later {
            configuration["poll_every_s"] = json!(1);
        }
        let profile = "UPDATE crm SET linkedin_url = 'https://www.linkedin.com/in/person-one-example' WHERE full_name = 'Person 1'";
        world.run(&format!("SELECT leadlex.drop_provider('main'); {profile}"));
        world.add_provider("shown", &configuration);
        let fields = vec!["job_title", "phone"];
        let sql = "SELECT try_enrich_contact($1, $2)";
        let reply: Value = world.caller().query_one(sql, &[&contact(1), &fields]).unwrap().get(0);
        assert_eq!(reply["fields_updated"], expected, "{configuration:#}: {reply}");
        assert_eq!(polls.load(Ordering::SeqCst), if later { 2 } else { 0 }, "{reply}");
    }
}

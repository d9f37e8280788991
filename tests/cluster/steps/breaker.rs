//! A provider of which one request goes well and a later one never does.

use serde_json::json;

use super::vendor::{POLL, Ready, world_with};
use super::wait_for_tickets;
use crate::support::Behaviour;
use crate::world::{Beginning, World, try_enrich};

fn text(world: &World, sql: &str) -> String {
    world.owner().query_one(sql, &[]).unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

#[test]
fn a_submission_that_goes_well_hides_no_poll_that_fails() {
    let beginning = Beginning { credits: None, ..Beginning::default() };
    let (world, slow) = world_with(Ready::AfterPolls(0), json!({}), &beginning);
    world.provider.on(POLL, |_| Behaviour::json(500, json!({"error": "trouble"})));
    let mut caller = world.caller();
    for n in 1..=10 {
        try_enrich(&mut caller, n);
    }
    let state = text(&world, "SELECT state FROM leadlex.provider_stats");
    assert!(["breaker", "half_open"].contains(&state.as_str()), "{state}");
    assert_eq!(slow.submissions(), 5, "as many as failures that open it");
    assert_eq!(text(&world, "SELECT failures_in_a_row::text FROM leadlex.provider_stats"), "5");
    // Once the poll is answered, all is well.
    slow.play(&world.provider);
    wait_for_tickets(&world, 5);
    world.run("SELECT leadlex.alter_provider('main', '{\"timeout_ms\": 4000}', secret => 's')");
    assert!(try_enrich(&mut caller, 1)["error"].is_null());
    assert_eq!(text(&world, "SELECT state FROM leadlex.provider_stats"), "ok");
}

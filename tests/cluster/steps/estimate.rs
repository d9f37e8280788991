//! leadlex.estimate of providers that take several requests, and of those that are waited for.

use serde_json::json;

use super::vendor::{Ready, world};
use super::wait_for_tickets;
use crate::world::{World, try_enrich};

/// Contacts that would be asked about, and those that no provider can be asked about.
fn estimate(world: &World) -> (i64, i64) {
    let sql = "SELECT coalesce(sum(contacts) FILTER (WHERE outcome = 'asked'), 0)::int8,
                      coalesce(sum(contacts) FILTER (WHERE reason = 'provider unavailable'), 0)::int8
               FROM leadlex.estimate('crm', (SELECT array_agg(id::text ORDER BY id) FROM crm), '{phone}')";
    let row = world.caller().query_one(sql, &[]).unwrap();
    (row.get(0), row.get(1))
}

#[test]
fn each_request_counts_toward_the_providers_own_limit() {
    let (world, _) = world(Ready::AfterPolls(0), json!({"max_requests_per_day": 6}));
    let all = world.number("SELECT count(*) FROM crm");
    assert_eq!(estimate(&world), (3, all - 3), "a submission and a poll each");
    // Of what is handed in only the poll is left.
    world.cluster.set("leadlex.total_timeout", "500ms");
    assert_eq!(try_enrich(&mut world.caller(), 1)["error"]["reason"], "pending");
    wait_for_tickets(&world, 1);
    assert_eq!(estimate(&world), (3, all - 3), "5 are left: 1 and 2 and 2");
}

#[test]
fn a_provider_that_is_waited_for_keeps_the_next_from_its_turn() {
    let (world, _) = world(Ready::AfterPolls(0), json!({"max_requests_per_day": 6}));
    let all = world.number("SELECT count(*) FROM crm");
    world.add_provider("second", &world.provider.config("/second"));
    assert_eq!(estimate(&world), (all, 0));
    world.run("SELECT leadlex.alter_provider('main', '{\"when_limited\": \"wait\"}', secret => 's')");
    assert_eq!(estimate(&world), (3, all - 3));
}

//! `leadlex.estimate_cost`: before, and what it came to afterwards.

use std::time::Duration;

use serde_json::json;

use super::{a_match, configure, text, world};
use crate::support::{Behaviour, eventually};
use crate::world::{PATH, World, only_phone};

const ESTIMATE: &str = "SELECT string_agg(format('%s %s-%s ~%s: %s-%s ~%s %s (%s)', provider, requests_least, requests_most, requests_expected,
        coalesce(cost_least::text, '-'), coalesce(cost_most::text, '-'), coalesce(cost_expected::text, '-'), coalesce(currency, '-'),
        coalesce(budget_remaining::text, '-')), ', ')
    FROM leadlex.estimate_cost('crm', (SELECT array_agg(id::text ORDER BY id) FROM crm WHERE id::text <= '00000000-0000-4000-8000-000000000100' OR note IS NULL AND id::text > '00000000-0000-4000-8000-000000000100' AND $all), '{phone}')";

fn estimate(world: &World, all: bool) -> String {
    text(&mut world.caller(), &ESTIMATE.replace("$all", &all.to_string()))
}

/// The second knows everybody, the first nobody whose address has a 5 in it.
fn two_providers(world: &World) {
    world.add_provider("second", &world.provider.config("/second"));
    configure(world, "second", json!({"price": {"currency": "USD", "per_request": 0.05, "per_match": 0.10}}));
    world.provider.on(PATH, |request| match request.param("email") {
        Some(email) if !email.contains('5') => Behaviour::json(200, only_phone(&format!("+1202555 {email}"))),
        _ => Behaviour::json(404, json!({})),
    });
    world.provider.on("/second", |request| {
        Behaviour::json(200, only_phone(&format!("+1202555 {}", request.param("email").unwrap_or("nobody"))))
    });
}

#[test]
fn what_is_told_before_agrees_with_what_is_spent() {
    let world = world(500, a_match(0.28));
    world.run("GRANT INSERT ON crm TO caller");
    two_providers(&world);
    world.run("SELECT leadlex.set_budget('second', 'day', 50)");
    // No answer yet: one half each.
    assert_eq!(
        estimate(&world, false),
        "main 100-100 ~100: 0-28 ~14 USD (-), second 0-100 ~50: 0-15 ~5 USD (50)"
    );
    assert_eq!(world.provider.count(), 0);
    let mut caller = world.caller();
    caller
        .batch_execute("SELECT count(*) FROM enrich_contacts((SELECT array_agg(id) FROM crm WHERE id::text <= '00000000-0000-4000-8000-000000000100'), '{phone}')")
        .unwrap();
    // 19 of a hundred have a 5.
    let spent = "SELECT string_agg(format('%s %s %s', provider, requests, cost), ', ' ORDER BY provider) FROM leadlex.spend";
    let mut owner = world.owner();
    eventually("it is written", Duration::from_secs(3), || {
        text(&mut owner, spent) == "main 100 22.68, second 19 2.85"
    });
    // They are filled, and of the others 81 of a hundred will be known to the first.
    let told = estimate(&world, true);
    assert_eq!(told, "main 400-400 ~400: 0-112 ~90.72 USD (-), second 0-400 ~76: 0-60 ~11.4 USD (47.15)");
    caller
        .batch_execute("SELECT count(*) FROM enrich_contacts((SELECT array_agg(id) FROM crm), '{phone}')")
        .unwrap();
    eventually("it is written", Duration::from_secs(3), || {
        text(
            &mut owner,
            "SELECT (sum(requests) FILTER (WHERE provider = 'main') = 500)::text FROM leadlex.spend",
        ) == "true"
    });
    let within = "SELECT bool_and(CASE provider WHEN 'main' THEN cost - 22.68 BETWEEN 90.72 * 0.9 AND 90.72 * 1.1
                                  ELSE cost - 2.85 BETWEEN 11.4 * 0.6 AND 11.4 * 1.4 END)::text FROM leadlex.spend";
    assert_eq!(text(&mut owner, within), "true", "{}", text(&mut owner, spent));
}

#[test]
fn what_is_not_asked_costs_nothing() {
    let world = world(3, json!(null));
    assert_eq!(estimate(&world, false), "main 3-3 ~3: --- ~- - (-)");
    world.run("UPDATE crm SET full_name = NULL, email = NULL WHERE id::text LIKE '%1'");
    assert_eq!(estimate(&world, false), "main 2-2 ~2: --- ~- - (-)");
    let mut caller = world.caller();
    let none = "SELECT count(*)::text FROM leadlex.estimate_cost('crm', NULL) WHERE requests_most = 0";
    assert_eq!(text(&mut caller, none), "1");
    world.run("CREATE ROLE stranger LOGIN");
    let mut stranger = world.cluster.connect_as("app", "stranger");
    assert!(stranger.batch_execute("SELECT FROM leadlex.estimate_cost('crm', NULL)").is_err());
}

//! What a vendor does not take as it is, is asked again in halves, down to one contact.

use serde_json::json;

use super::{ALL, alter, answers_but, asked, check_whose, counts, enrich_all, outcomes, requests, world_of};
use crate::support::Behaviour;
use crate::world::credits;

#[test]
fn what_is_too_much_is_asked_again_in_halves() {
    let world = world_of(25, Some(100), 25);
    world.provider.on(ALL, |request| match asked(request).len() {
        0..=4 => Behaviour::json(200, answers_but(request, |_| None)),
        _ => Behaviour::json(413, json!({"error": "too large"})),
    });
    let mut caller = world.caller();
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=25)), counts([("enriched", 25)]));
    assert_eq!((check_whose(&world), credits(&mut caller)), (25, Some(75)));
    let sizes = requests(&world);
    assert_eq!(sizes[0], 25);
    assert_eq!(sizes.iter().filter(|size| **size <= 4).sum::<usize>(), 25, "{sizes:?}");
    assert!(sizes.len() <= 15, "{sizes:?}");
    world.check_credits_add_up();
}

#[test]
fn one_contact_that_is_refused_is_found_and_the_others_are_answered() {
    for status in [400, 422] {
        let world = world_of(16, Some(100), 16);
        world.provider.on(ALL, move |request| match asked(request).contains(&11) {
            true => Behaviour::json(status, json!({"error": "an address is wrong"})),
            false => Behaviour::json(200, answers_but(request, |_| None)),
        });
        let mut caller = world.caller();
        let rows = enrich_all(&mut caller, 1..=16);
        assert_eq!(outcomes(&rows), counts([("enriched", 15), ("provider_unavailable", 1)]));
        assert_eq!(rows[10].get::<_, Option<String>>("error_code").as_deref(), Some("provider_unavailable"));
        assert_eq!(requests(&world), [16, 8, 8, 4, 4, 2, 2, 1, 1]);
        assert_eq!((check_whose(&world), credits(&mut caller)), (15, Some(85)));
    }
}

#[test]
fn an_account_that_has_nothing_left_is_not_asked_again_in_halves() {
    let world = world_of(8, Some(100), 8);
    alter(
        &world,
        &json!({"response": {"quota": {"body": [{"pointer": "/error", "contains": "insufficient credits"}]}}}),
    );
    world.provider.on(ALL, |_| Behaviour::json(422, json!({"error": "You have insufficient credits!"})));
    let rows = enrich_all(&mut world.caller(), 1..=8);
    assert_eq!(outcomes(&rows), counts([("provider_unavailable", 8)]));
    assert_eq!(requests(&world), [8]);
    let state: String =
        world.owner().query_one("SELECT state FROM leadlex.provider_stats", &[]).unwrap().get(0);
    assert_eq!(state, "quota");
}

/// What a budget does not allow for all is asked about for as many as it allows.
#[test]
fn a_budget_that_is_too_small_for_all_is_used_for_some() {
    let world = world_of(10, Some(100), 10);
    alter(&world, &json!({"price": {"currency": "USD", "per_match": 0.10}}));
    world.run("SELECT leadlex.set_budget('main', 'day', 0.50)");
    let rows = enrich_all(&mut world.caller(), 1..=10);
    assert_eq!(outcomes(&rows), counts([("enriched", 5), ("provider_unavailable", 5)]));
    assert_eq!((requests(&world), check_whose(&world)), (vec![5], 5));
    let used = "SELECT (used * 100)::int8 FROM leadlex.budget";
    assert_eq!(world.number(used), 50);
}

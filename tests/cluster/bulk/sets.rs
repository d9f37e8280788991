//! Sets, chunks, triggers and the queue ask about several contacts at once; each contact is answered, charged and remembered
//! as if it had been asked about alone.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    ALL, alter, answers_but, asked, check_whose, counts, enrich_all, hit, outcomes, phone_of, requests,
    world_of,
};
use crate::support::{Behaviour, eventually};
use crate::world::{PATH, PHONE, contact, credits, enrich, only_phone};

#[test]
fn a_set_sends_one_request_for_so_many() {
    let world = world_of(25, Some(100), 10);
    let mut caller = world.caller();
    let rows = enrich_all(&mut caller, 1..=25);
    assert_eq!(outcomes(&rows), counts([("enriched", 25)]));
    assert_eq!((requests(&world), world.provider.count_of(PATH)), (vec![10, 10, 5], 0));
    assert_eq!((check_whose(&world), credits(&mut caller)), (25, Some(75)));
    assert_eq!(rows[0].get::<_, f64>("confidence"), 0.9);
    world.check_credits_add_up();
    let request = &world.provider.requests()[0];
    assert_eq!(request.header("x-api-key"), Some(crate::world::SECRET));
    // One request each in the vendor's figures, and a match for each contact.
    eventually("the figures are written", Duration::from_secs(10), || {
        let row = world.owner().query_one("SELECT calls, matches FROM leadlex.provider_stats", &[]).unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1)) == (3, 25)
    });
    // Each has a receipt of its own: a single call is answered from it.
    world.run("UPDATE crm SET phone = NULL WHERE id = '00000000-0000-4000-8000-000000000007'");
    let again = enrich(&mut caller, 7).unwrap();
    assert_eq!((again["contact"]["phone"].as_str(), world.provider.count()), (Some(&*phone_of(7)), 3));
}

#[test]
fn a_single_call_asks_about_one() {
    let world = world_of(2, Some(10), 10);
    let result = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(result["contact"]["phone"], PHONE);
    assert_eq!((world.provider.count_of(PATH), requests(&world)), (1, vec![]));
    alter(&world, &json!({"bulk": null}));
    assert_eq!(outcomes(&enrich_all(&mut world.caller(), [2])), counts([("enriched", 1)]));
    assert_eq!((world.provider.count_of(PATH), requests(&world)), (2, vec![]));
}

#[test]
fn one_bad_element_fails_its_contact_alone() {
    let world = world_of(8, Some(100), 100);
    world.provider.on(ALL, |request| {
        let other = |number| match number {
            1 => Some(json!({"status": 500})),
            2 => Some(json!("a text")),
            3 => Some(json!({"status": 200, "likelihood": 9, "data": {"phone": "x".repeat(1_100_000)}})),
            4 => Some(json!({"status": 404})),
            5 => Some(json!(null)),
            _ => None,
        };
        Behaviour::json(200, answers_but(request, other))
    });
    let mut caller = world.caller();
    let rows = enrich_all(&mut caller, 1..=8);
    assert_eq!(outcomes(&rows), counts([("enriched", 3), ("no_match", 2), ("provider_unavailable", 3)]));
    let reason = |n: usize| rows[n - 1].get::<_, String>("error_message");
    assert!(reason(1).contains("server_error") || reason(1).contains("500"), "{}", reason(1));
    assert!(reason(3).contains("larger"), "{}", reason(3));
    assert_eq!((check_whose(&world), credits(&mut caller)), (3, Some(97)));
    // Who failed is asked about again, who was answered is not, nor who is known to be unknown.
    world.provider.on(ALL, |request| Behaviour::json(200, answers_but(request, |_| None)));
    world.end_pauses();
    let rows = enrich_all(&mut caller, 1..=8);
    assert_eq!(outcomes(&rows), counts([("enriched", 3), ("no_match", 2), ("unchanged", 3)]));
    assert_eq!(requests(&world), [8, 3]);
    world.check_credits_add_up();
}

#[test]
fn a_wrong_number_of_answers_writes_nothing() {
    let world = world_of(4, Some(100), 100);
    world.provider.on(ALL, |request| {
        let all: Vec<Value> = asked(request).into_iter().skip(1).map(hit).collect();
        Behaviour::json(200, json!(all))
    });
    let before = world.ledger();
    let mut caller = world.caller();
    let rows = enrich_all(&mut caller, 1..=4);
    assert_eq!(outcomes(&rows), counts([("provider_unavailable", 4)]));
    let message: String = rows[0].get("error_message");
    assert!(message.contains("3 elements for 4 contacts"), "{message}");
    assert_eq!(world.ledger(), before);
    assert_eq!(requests(&world), [4]);
    // Nothing is remembered of it.
    world.provider.on(ALL, |request| Behaviour::json(200, answers_but(request, |_| None)));
    world.end_pauses();
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=4)), counts([("enriched", 4)]));
    assert_eq!(check_whose(&world), 4);
}

#[test]
fn by_id_the_order_does_not_matter_and_a_strangers_answer_is_left_out() {
    let world = world_of(6, Some(100), 100);
    alter(
        &world,
        &json!({"bulk": {"match": {"send": "/metadata/id", "answer": "/metadata/id"}, "answers": "/results"}}),
    );
    world.provider.on(ALL, |request| {
        let body = request.json();
        let mut all: Vec<Value> = body["requests"]
            .as_array()
            .unwrap()
            .iter()
            .zip(asked(request))
            .map(|(one, number)| {
                let mut answer = hit(number);
                answer["metadata"] = one["metadata"].clone();
                answer
            })
            .collect();
        all.reverse();
        all[0]["metadata"]["id"] = json!("0123456789abcdef0123456789abcdef");
        Behaviour::json(200, json!({"results": all}))
    });
    let mut caller = world.caller();
    let rows = enrich_all(&mut caller, 1..=6);
    assert_eq!(outcomes(&rows), counts([("enriched", 5), ("provider_unavailable", 1)]));
    assert_eq!((check_whose(&world), credits(&mut caller)), (5, Some(95)));
    let body = world.provider.requests()[0].json();
    let ids: std::collections::HashSet<&str> = body["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["metadata"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 6, "each has its own");
}

#[test]
fn those_who_want_other_fields_go_into_another_request_where_that_is_said_once_for_all() {
    let world = world_of(6, Some(100), 100);
    let want = json!({"wanted": {"phone": "phones", "job_title": "titles"}});
    alter(&world, &json!({"bulk": {"request": {"body": {"want": want}}}}));
    world.run("UPDATE crm SET job_title = 'Tester' WHERE id <= '00000000-0000-4000-8000-000000000003'");
    let ids: Vec<_> = (1..=6).map(contact).collect();
    let rows =
        world.caller().query("SELECT * FROM enrich_contacts($1, '{phone,job_title}')", &[&ids]).unwrap();
    assert_eq!(outcomes(&rows), counts([("enriched", 6)]));
    let mut asked: Vec<(Vec<usize>, Value)> = world
        .provider
        .requests()
        .iter()
        .map(|request| (asked(request), request.json()["want"].clone()))
        .collect();
    asked.sort_by_key(|(numbers, _)| numbers[0]);
    assert_eq!(asked, [(vec![1, 2, 3], json!(["phones"])), (vec![4, 5, 6], json!(["phones", "titles"]))]);
}

#[test]
fn chunks_triggers_and_the_queue_ask_about_several_at_once() {
    let world = world_of(30, Some(1_000), 10);
    let first: Vec<String> = (1..=20).map(|n| contact(n).to_string()).collect();
    world.caller().execute("CALL leadlex.enrich_batch('crm', $1, '{phone}', 20)", &[&first]).unwrap();
    assert_eq!(requests(&world), [10, 10]);
    let ids: Vec<_> = (21..=30).map(contact).collect();
    let queued: i64 =
        world.caller().query_one("SELECT leadlex.enqueue($1, '{phone}')", &[&ids]).unwrap().get(0);
    assert_eq!(queued, 10);
    eventually("the queue has asked", Duration::from_secs(20), || check_whose(&world) == 30);
    assert_eq!(requests(&world), [10, 10, 10]);
    world.run(
        "CREATE TRIGGER enrich AFTER INSERT ON crm REFERENCING NEW TABLE AS fresh
         FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enrich_on_insert('phone')",
    );
    world.run("INSERT INTO crm (id, full_name, email) SELECT gen_random_uuid(), 'Person ' || n, 'person' || n || '@acme.example' FROM generate_series(31, 50) AS n");
    assert_eq!((check_whose(&world), requests(&world)), (50, vec![10; 5]));
    world.check_credits_add_up();
}

#[test]
fn each_request_counts_once_toward_the_vendors_limits() {
    let world = world_of(50, Some(100), 10);
    alter(&world, &json!({"max_requests_per_day": 3}));
    let rows = enrich_all(&mut world.caller(), 1..=50);
    assert_eq!(outcomes(&rows), counts([("enriched", 30), ("provider_unavailable", 20)]));
    assert_eq!(requests(&world), [10, 10, 10]);
    world.check_credits_add_up();
}

#[test]
fn who_was_not_found_goes_on_to_the_next_provider_and_is_gathered_there() {
    let world = world_of(20, Some(100), 10);
    let mut second = world.provider.config("/second");
    second["bulk"] = super::bulk(&world, 20);
    second["bulk"]["request"]["url"] = json!(world.provider.url("/second/people"));
    world
        .owner()
        .execute(
            "SELECT leadlex.add_provider('second', config => $1, secret => 's', priority => 200)",
            &[&second],
        )
        .unwrap();
    world.provider.on(ALL, |request| {
        Behaviour::json(200, answers_but(request, |number| (number % 2 == 0).then(|| json!({"status": 404}))))
    });
    world.provider.on("/second/people", |request| Behaviour::json(200, answers_but(request, |_| None)));
    let rows = enrich_all(&mut world.caller(), 1..=20);
    assert_eq!(outcomes(&rows), counts([("enriched", 20)]));
    assert_eq!((requests(&world), world.provider.count_of("/second/people")), (vec![10, 10], 1));
    assert_eq!(check_whose(&world), 20);
}

#[test]
fn credits_that_run_out_and_one_person_twice() {
    let world = world_of(12, Some(5), 100);
    // The same person as the first.
    world.run("UPDATE crm SET full_name = 'Person 1', email = 'person1@acme.example' WHERE id = '00000000-0000-4000-8000-000000000002'");
    let mut caller = world.caller();
    let rows = enrich_all(&mut caller, 1..=12);
    assert_eq!(outcomes(&rows), counts([("enriched", 5), ("insufficient_credits", 7)]));
    assert_eq!(credits(&mut caller), Some(0));
    let all: Vec<usize> = world.provider.requests().iter().flat_map(asked).collect();
    assert_eq!(all.iter().filter(|number| **number == 1).count(), 1, "one question is asked once: {all:?}");
    world.check_credits_add_up();
}

#[test]
fn a_refusal_lists_its_person_alone() {
    let world = world_of(5, Some(100), 100);
    alter(&world, &json!({"response": {"suppressed": {"status": [451]}}}));
    world.provider.on(ALL, |request| {
        Behaviour::json(
            200,
            answers_but(request, |number| (number == 3).then(|| json!({"status": 451, "error": "refused"}))),
        )
    });
    let mut caller = world.caller();
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=5)), counts([("enriched", 4), ("no_match", 1)]));
    assert_eq!(world.number("SELECT count(DISTINCT source) FROM leadlex.suppression"), 1);
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone(PHONE)));
    assert_eq!(crate::world::sqlstate(&enrich(&mut caller, 3)), "LX409");
    assert_eq!(world.provider.count_of(PATH), 0);
    // The whole with such a status says nothing about anybody.
    let world = world_of(2, Some(100), 100);
    world.provider.on(ALL, |_| Behaviour::json(451, json!({"error": "not in your country"})));
    assert_eq!(outcomes(&enrich_all(&mut world.caller(), 1..=2)), counts([("provider_unavailable", 2)]));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.suppression"), 0);
}

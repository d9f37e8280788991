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

/// As in a set: who has all needs no provider.
#[test]
fn what_is_filled_costs_nothing_whatever_becomes_of_the_providers() {
    let world = world(2, a_match(0.28));
    world.run("SELECT leadlex.enable_provider('main', false); UPDATE crm SET phone = '+12025550100'");
    let mut caller = world.caller();
    let rows = "SELECT count(*)::text FROM leadlex.estimate_cost('crm', (SELECT array_agg(id::text) FROM crm), '{phone}')";
    assert_eq!(text(&mut caller, rows), "0");
    world.run("UPDATE crm SET phone = NULL");
    let refused = crate::support::fails(caller.query(rows, &[]));
    assert_eq!(
        (refused.sqlstate.as_str(), refused.message.as_str()),
        ("55000", "every data provider is disabled")
    );
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

/// What cannot be asked now is not foreseen to be; what it would cost is told all the same where a budget alone stands in the way.
#[test]
fn what_may_not_be_sent_or_paid_is_not_foreseen() {
    let world = world(3, a_match(0.28));
    let foreseen = || {
        text(
            &mut world.caller(),
            "SELECT coalesce(string_agg(format('%s %s %s', outcome, reason, contacts), ', '), '')
             FROM leadlex.estimate('crm', (SELECT array_agg(id::text) FROM crm), '{phone}') WHERE contacts > 0",
        )
    };
    assert_eq!(foreseen(), "asked no receipt 3");
    for (closes, opens, cost) in [
        ("SELECT leadlex.stop('for a while')", "SELECT leadlex.resume()", "0"),
        (
            "SELECT leadlex.set_budget('main', 'day', 0.27)",
            "SELECT leadlex.set_budget('main', 'day', 0.28)",
            "0.84",
        ),
        (
            "SELECT leadlex.set_budget(NULL, 'total', 100, currency => 'EUR')",
            "SELECT leadlex.set_budget(NULL, 'total', NULL, currency => 'EUR')",
            "0",
        ),
    ] {
        world.run(closes);
        assert_eq!(foreseen(), "skipped provider unavailable 3", "{closes}");
        let most = "SELECT cost_most::text FROM leadlex.estimate_cost('crm', (SELECT array_agg(id::text) FROM crm), '{phone}')";
        assert_eq!(text(&mut world.caller(), most), cost, "{closes}");
        world.run(opens);
        assert_eq!(foreseen(), "asked no receipt 3", "{opens}");
    }
}

/// Its requests, and the most that they can cost.
fn most(world: &World) -> String {
    let sql = "SELECT format('%s-%s ~%s: %s', requests_least, requests_most, requests_expected, cost_most)
               FROM leadlex.estimate_cost('crm', (SELECT array_agg(id::text) FROM crm), '{phone}')";
    text(&mut world.caller(), sql)
}

#[test]
fn a_request_about_several_contacts_is_one() {
    let world = world(25, json!({"currency": "USD", "per_request": 0.10}));
    assert_eq!(most(&world), "25-25 ~25: 2.5");
    let bulk = json!({
        "request": {"method": "POST", "url": world.provider.url("/bulk"), "body": {"requests": {"each": {"email": "{email}"}}}},
        "most": 10, "answers": "",
    });
    configure(&world, "main", json!({"bulk": bulk}));
    // Were each refused, it would be asked again in halves, down to one contact: 19 requests for 10 contacts, and 9 for 5.
    assert_eq!(most(&world), "3-3 ~3: 4.7");
    world.provider.on("/bulk", |_| Behaviour::json(413, json!({})));
    // The cap admits what cannot exceed it.
    let set = |cap: &str| {
        let sql = "SELECT FROM enrich_contacts((SELECT array_agg(id) FROM crm), '{phone}')";
        world.caller().batch_execute(&format!("SET leadlex.max_cost_per_statement = {cap}; {sql}"))
    };
    assert_eq!(crate::support::fails(set("4.69")).sqlstate, "53400");
    assert_eq!(world.provider.count(), 0);
    set("4.7").unwrap();
    let spent = "SELECT coalesce(sum(cost), 0)::text FROM leadlex.spend";
    let mut owner = world.owner();
    let sent = world.provider.count();
    eventually("it is written", Duration::from_secs(3), || {
        text(&mut owner, spent).parse::<f64>().unwrap() == (sent as f64) / 10.0
    });
    assert_eq!(sent, 47);
}

#[test]
fn the_most_that_it_costs_has_polls_and_logins() {
    let world = world(2, json!({"currency": "USD", "per_request": 0.10, "per_match": 1}));
    let config = json!({
        "identify_by": [["email"]], "poll_every_s": 1, "poll_for_s": 3,
        "price": {"currency": "USD", "per_request": 0.10, "per_match": 1},
        "steps": [
            {"request": {"method": "POST", "url": world.provider.url("/submit"), "query": {"email": "{email}"}},
             "response": {"pending": {"status": []}}, "take": {"ticket": "/id"}},
            {"request": {"url": world.provider.url("/poll"), "query": {"id": "{ticket}"}},
             "response": {"pending": {"body": [{"pointer": "/status", "in": ["running"]}]}, "fields": {"phone": "/phone"}}},
        ],
    });
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    // A submission each, and polls after 1, 2 and 3 seconds, of which the last may be late by two.
    assert_eq!(most(&world), "2-2 ~2: 3.2");
    // Expected are two submissions, two polls, and one answer that has the person.
    let expected = "SELECT cost_expected::text FROM leadlex.estimate_cost('crm', (SELECT array_agg(id::text) FROM crm), '{phone}')";
    assert_eq!(text(&mut world.caller(), expected), "1.4");
    world.provider.on("/submit", |request| {
        Behaviour::json(200, json!({"id": request.param("email").unwrap_or_default()}))
    });
    world.provider.on("/poll", |_| Behaviour::json(200, json!({"status": "running"})));
    world
        .caller()
        .batch_execute("SELECT FROM enrich_contacts((SELECT array_agg(id) FROM crm), '{phone}')")
        .unwrap();
    assert!(world.provider.count() >= 6, "{}", world.provider.count());
    let within = "SELECT (sum(cost) >= 0.6 AND sum(cost) <= 3.2)::text FROM leadlex.spend";
    let mut owner = world.owner();
    eventually("all of it is within", Duration::from_secs(3), || text(&mut owner, within) == "true");
}

#[test]
fn what_an_earlier_provider_supplies_may_identify_for_a_dearer_one() {
    let world = world(4, a_match(0.28));
    world.add_provider("second", &world.provider.config("/second"));
    configure(
        &world,
        "second",
        json!({"identify_by": [["linkedin_url"]], "request": {"query": {"email": null, "profile": "{linkedin_url}"}},
               "price": {"currency": "USD", "per_match": 2}}),
    );
    let cost = "SELECT string_agg(provider || ' ' || cost_most, ', ') FROM leadlex.estimate_cost('crm', (SELECT array_agg(id::text) FROM crm), '{phone,linkedin_url}')";
    let mut caller = world.caller();
    assert_eq!(text(&mut caller, cost), "main 1.12, second 0");
    caller.batch_execute("SET leadlex.waterfall = 'fill'").unwrap();
    assert_eq!(text(&mut caller, cost), "main 1.12, second 8");
}

/// A question goes no further than the last step that can supply what it wants.
#[test]
fn a_step_that_nothing_is_wanted_of_costs_nothing() {
    let world = world(2, a_match(0.28));
    let config = json!({
        "identify_by": [["email"]],
        "price": {"currency": "USD", "per_request": 0.10, "per_field": {"job_title": 1, "phone": 5}},
        "steps": [
            {"request": {"url": world.provider.url("/person"), "query": {"email": "{email}"}},
             "response": {"fields": {"job_title": "/title"}}, "take": {"person": "/id"}},
            {"request": {"url": world.provider.url("/phone"), "query": {"id": "{person}"}},
             "response": {"fields": {"phone": "/phone"}}},
        ],
    });
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    let told = |fields: &str| {
        let sql = format!(
            "SELECT format('%s-%s ~%s: %s ~%s', requests_least, requests_most, requests_expected, cost_most, cost_expected)
             FROM leadlex.estimate_cost('crm', (SELECT array_agg(id::text) FROM crm), '{{{fields}}}')"
        );
        text(&mut world.caller(), &sql)
    };
    assert_eq!(told("job_title"), "2-2 ~2: 2.2 ~1.2");
    assert_eq!(told("job_title,phone"), "2-4 ~3: 12.4 ~6.3");
}

/// One vendor for titles and another one for numbers: each contact is asked about at both.
#[test]
fn what_a_provider_never_has_is_expected_to_be_asked_of_the_next_one() {
    let world = world(60, a_match(0.28));
    world.add_provider("second", &world.provider.config("/second"));
    world.provider.on(PATH, |_| {
        Behaviour::json(200, json!({"likelihood": 9, "data": {"job_title": "Counsel", "phone": null}}))
    });
    world.provider.on("/second", |_| Behaviour::json(200, only_phone("+12025550123")));
    let mut caller = world.caller();
    let some =
        |which: &str| format!("(SELECT array_agg(id) FROM crm WHERE right(id::text, 12)::int {which} 30)");
    caller
        .batch_execute(&format!(
            "SET leadlex.waterfall = 'fill'; SELECT count(*) FROM enrich_contacts({}, '{{job_title,phone}}')",
            some("<=")
        ))
        .unwrap();
    let expected = format!(
        "SELECT string_agg(format('%s %s', e.provider, round(e.requests_expected)), ', ')
         FROM leadlex.estimate_cost('crm', {}::text[], '{{job_title,phone}}') AS e",
        some(">")
    );
    let mut told = String::new();
    let known = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        told = text(&mut caller, &expected);
        told == "main 30, second 30"
    });
    assert!(known, "{told}");
    caller.batch_execute("SET leadlex.waterfall = 'first_match'").unwrap();
    assert_eq!(text(&mut caller, &expected), "main 30, second 0");
    // Nor is it expected to bill what it never has.
    let price =
        json!({"price": {"currency": "USD", "per_match": null, "per_field": {"job_title": 0.5, "phone": 2}}});
    configure(&world, "main", price);
    let cost = expected.replace("round(e.requests_expected)", "round(e.cost_expected::numeric, 2)");
    assert!(text(&mut caller, &cost).starts_with("main 15.00,"), "{}", text(&mut caller, &cost));
}

/// A seniority without a company leaves nothing of the position to others, so they are not expected to be asked for it.
#[test]
fn who_is_closed_out_of_a_position_is_not_expected_to_be_asked() {
    let world = world(60, a_match(0.01));
    configure(&world, "main", json!({"response": {"fields": {"company_name": null, "job_title": null}}}));
    world.add_provider("second", &world.provider.config("/second"));
    configure(&world, "second", json!({"price": a_match(0.5)}));
    world
        .provider
        .on(PATH, |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"seniority": "senior"}})));
    world
        .provider
        .on("/second", |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"job_title": "Counsel"}})));
    let some =
        |which: &str| format!("(SELECT array_agg(id) FROM crm WHERE right(id::text, 12)::int {which} 50)");
    let mut caller = world.caller();
    caller
        .batch_execute(&format!(
            "SET leadlex.waterfall = 'fill'; SELECT count(*) FROM enrich_contacts({}, '{{job_title,seniority}}')",
            some("<=")
        ))
        .unwrap();
    assert_eq!(world.provider.count_of("/second"), 0, "nor are they");
    let expected = format!(
        "SELECT string_agg(format('%s %s', e.provider, round(e.requests_expected)), ', ')
         FROM leadlex.estimate_cost('crm', {}::text[], '{{job_title,seniority}}') AS e",
        some(">")
    );
    eventually("the rates are known", Duration::from_secs(10), || {
        text(&mut caller, &expected) == "main 10, second 0"
    });
}

//! Budgets: never exceeded, at any concurrency.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{a_match, configure, spend_adds_up, spend_is, text, world};
use crate::support::{Behaviour, eventually, fails};
use crate::world::{PATH, contact, enrich, number, only_phone};

/// Of a set nothing is lost because the worker cannot write: what could not be paid for is not asked, and says so.
#[test]
fn a_worker_that_is_late_fails_contacts_and_no_set() {
    let world = world(8, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'day', 10)");
    let mut owner = world.owner();
    let mut held = owner.transaction().unwrap();
    held.batch_execute("LOCK TABLE leadlex.spend_lease IN SHARE MODE").unwrap();
    let mut caller = world.caller();
    let sql = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm), '{phone}')
               WHERE status = 'failed' AND error_message ~ 'the background worker did not record what was spent in time'";
    assert_eq!(caller.query_one(sql, &[]).unwrap().get::<_, i64>(0), 8);
    held.rollback().unwrap();
    assert_eq!(world.provider.count(), 0);
    let again = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm), '{phone}') WHERE status = 'enriched'";
    eventually("it goes on", Duration::from_secs(10), || {
        caller.query_one(again, &[]).unwrap().get::<_, i64>(0) > 0
    });
}

#[test]
fn a_provider_without_money_left_is_passed_over() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'day', 0.60)");
    let mut caller = world.caller();
    for n in [1, 2] {
        enrich(&mut caller, n).unwrap();
    }
    let failure = fails(enrich(&mut caller, 3));
    let detail = failure.json();
    assert_eq!((failure.sqlstate.as_str(), &detail["reason"]), ("LX503", &json!("budget")), "{failure:?}");
    assert_eq!(detail["retryable"], true);
    let wait = detail["retry_after"].as_i64().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
    assert_eq!(world.provider.count(), 2);
    // Of all time: never again by itself.
    world.run(
        "SELECT leadlex.set_budget('main', 'day', NULL); SELECT leadlex.set_budget('main', 'total', 0.60)",
    );
    let detail = fails(enrich(&mut caller, 3)).json();
    assert_eq!((&detail["reason"], &detail["retryable"]), (&json!("budget"), &json!(false)), "{detail}");
    assert!(detail["retry_after"].is_null() && detail["providers"][0]["retry_after"].is_null(), "{detail}");
    let budget = "SELECT format('%s %s %s %s %s', period, amount, used, remaining, resets_at IS NULL) FROM leadlex.budget";
    assert_eq!(text(&mut world.owner(), budget), "total 0.6 0.56 0.04 t");
    // It is enough for one more: for the cent.
    world.run("SELECT leadlex.set_budget('main', 'total', 0.84)");
    enrich(&mut caller, 3).unwrap();
    assert_eq!(text(&mut world.owner(), budget), "total 0.84 0.84 0 t");
    world.run("SELECT leadlex.drop_provider('main')");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.budget"), 0);
    spend_is(&world, Duration::from_secs(2), "main 3/3/3/3 0.84");
}

#[test]
fn a_budget_counts_those_that_it_is_about() {
    let world = world(10, a_match(0.28));
    let workspace = world.workspace;
    let mut caller = world.caller();
    for (of, limits) in [
        ("NULL, 'day', 0.1", true),
        ("NULL, 'month', 0.1", true),
        (&format!("'main', 'total', 0.1, '{workspace}'"), true),
        (&format!("NULL, 'total', 0.1, '{workspace}', 'USD'"), true),
        ("'main', 'day', 5", false),
    ] {
        world.run(&format!("SELECT leadlex.set_budget({of})"));
        let asked = world.provider.count();
        let told = enrich(&mut caller, asked as i32 + 1);
        assert_eq!(told.is_ok(), !limits, "{of}: {told:?}");
        assert_eq!(world.provider.count(), asked + usize::from(!limits));
        world.run("DELETE FROM leadlex.budget_limit");
    }
    // What is tried out counts among all workspaces together.
    world.run("SELECT leadlex.set_budget('main', 'day', 0.60)");
    let tried = "SELECT leadlex.check_provider('main', '{\"email\": \"somebody@acme.example\"}') ->> 'reason' IS NULL";
    assert_eq!(text(&mut world.owner(), &format!("SELECT ({tried})::text")), "true");
    assert_eq!(text(&mut world.owner(), &format!("SELECT ({tried})::text")), "false");
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn what_has_no_price_in_its_currency_is_not_asked() {
    let world = world(10, a_match(0.28));
    let mut owner = world.owner();
    let failure = |owner: &mut postgres::Client, sql: &str| fails(owner.batch_execute(sql)).sqlstate;
    assert_eq!(failure(&mut owner, "SELECT leadlex.set_budget('nobody', 'day', 1)"), "22023");
    assert_eq!(failure(&mut owner, "SELECT leadlex.set_budget('main', 'week', 1)"), "22023");
    assert_eq!(failure(&mut owner, "SELECT leadlex.set_budget('main', 'day', -1)"), "22023");
    assert_eq!(failure(&mut owner, "SELECT leadlex.set_budget('main', 'day', 0.0000001)"), "22023");
    assert_eq!(
        failure(&mut owner, "SELECT leadlex.set_budget('main', 'day', 1, currency => 'dollar')"),
        "22023"
    );
    configure(&world, "main", json!({"price": null}));
    assert_eq!(failure(&mut owner, "SELECT leadlex.set_budget('main', 'day', 1)"), "22023");
    let mark = world.cluster.log_mark();
    world.run("SELECT leadlex.set_budget('main', 'day', 1, currency => 'USD')");
    assert!(world.cluster.log_since(mark).contains("has no price in USD"));
    let detail = fails(enrich(&mut world.caller(), 1)).json();
    assert_eq!((&detail["reason"], &detail["retryable"]), (&json!("no_price"), &json!(false)), "{detail}");
    configure(&world, "main", json!({"price": {"currency": "EUR", "per_match": 1}}));
    assert_eq!(fails(enrich(&mut world.caller(), 1)).json()["reason"], "no_price");
    let mark = world.cluster.log_mark();
    world.run("SELECT leadlex.set_budget(NULL, 'day', 1)");
    world.add_provider("second", &world.provider.config("/second"));
    assert!(world.cluster.log_since(mark).contains("provider \"second\" has no price in EUR"));
    world
        .owner()
        .execute(
            "SELECT leadlex.alter_provider('second', config => $1)",
            &[&json!({"price": {"currency": "USD", "per_match": 1}})],
        )
        .unwrap();
    assert_eq!(failure(&mut owner, "SELECT leadlex.set_budget(NULL, 'month', 1)"), "22023");
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn sixty_four_sessions_never_exceed_a_budget() {
    let world = world(640, a_match(0.28));
    world.run("SELECT leadlex.set_budget(NULL, 'day', 20.00)");
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or("nobody").to_owned();
        Behaviour::json(200, only_phone(&format!("+1202555 {email}"))).after(Duration::from_millis(3))
    });
    thread::scope(|scope| {
        for session in 0..64 {
            let mut caller = world.caller();
            scope.spawn(move || {
                for n in 0..10 {
                    let _ = enrich(&mut caller, session * 10 + n + 1);
                }
            });
        }
    });
    // 71 × 0.28 = 19.88.
    assert_eq!(world.provider.count(), 71);
    spend_is(&world, Duration::from_secs(2), "main 71/71/71/71 19.88");
    spend_adds_up(&world);
}

#[test]
fn the_rest_waits_in_the_queue_and_uses_no_attempt() {
    let world = world(500, a_match(0.28));
    world.add_provider("second", &world.provider.config("/second"));
    configure(
        &world,
        "second",
        json!({"price": {"currency": "USD", "per_request": 0.05, "per_match": 0.10}}),
    );
    world.run("SELECT leadlex.set_budget(NULL, 'day', 20.00)");
    // Of every third the first knows nothing.
    let knows = |email: &str| !email.ends_with("3@acme.example");
    world.provider.on(PATH, move |request| match request.param("email") {
        Some(email) if knows(email) => Behaviour::json(200, only_phone(&format!("+1202555 {email}"))),
        _ => Behaviour::json(404, json!({})),
    });
    world.provider.on("/second", |request| {
        Behaviour::json(200, only_phone(&format!("+1202555 {}", request.param("email").unwrap_or("nobody"))))
    });
    world.caller().batch_execute("SELECT leadlex.enqueue(array_agg(id)) FROM crm").unwrap();
    let mut owner = world.owner();
    eventually("the budget is used up", Duration::from_secs(30), || {
        let sql = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND last_error LIKE '%budget%'";
        number(&mut owner, sql) + number(&mut owner, "SELECT count(*) FROM leadlex.job WHERE state = 'done'")
            == 500
    });
    let spent = "SELECT (sum(cost) <= 20.00 AND sum(cost) > 19.50)::text FROM leadlex.spend";
    eventually("spend is written", Duration::from_secs(2), || text(&mut owner, spent) == "true");
    assert_eq!(number(&mut owner, "SELECT max(attempts)::int8 FROM leadlex.job WHERE state = 'queued'"), 0);
    let until_midnight = "SELECT coalesce((min(next_attempt_at) >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '1 day')::text, 'running')
                          FROM leadlex.job WHERE state = 'queued'";
    // One that met what others held is tried again after half a minute.
    eventually("the rest waits for the next day", Duration::from_secs(90), || {
        text(&mut owner, until_midnight) == "true"
    });
    spend_adds_up(&world);
}

/// What requests under way keep free may come to cost nothing.
#[test]
fn what_others_keep_free_for_a_moment_is_not_waited_for_until_midnight() {
    let world = world(31, a_match(0.28));
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})).after(Duration::from_millis(100)));
    let outcome = "SELECT count(*) FROM leadlex.job WHERE outcome = 'no_match'";
    for period in ["day", "total"] {
        world.run(&format!("SELECT leadlex.set_budget('main', '{period}', 1.00)"));
        let before = world.provider.count();
        let details = thread::scope(|scope| {
            let _held = world.provider.hold();
            for n in 1..=3 {
                let mut caller = world.caller();
                scope.spawn(move || {
                    let sql = format!("SELECT try_enrich_contact('{}', overwrite => true)", contact(n));
                    caller.batch_execute(&sql).unwrap();
                });
            }
            eventually("three are asked about", Duration::from_secs(5), || {
                world.provider.count() == before + 3
            });
            let row = "SELECT status || ' ' || error_message FROM enrich_contacts(ARRAY['$id'::uuid], overwrite => true)";
            let alone = format!("SELECT enrich_contact('{}', overwrite => true)", contact(4));
            let alone = fails(world.caller().execute(&alone, &[])).json();
            (alone, text(&mut world.caller(), &row.replace("$id", &contact(5).to_string())))
        });
        let (alone, in_a_set) = details;
        assert_eq!((&alone["reason"], &alone["retryable"]), (&json!("budget"), &json!(true)), "{alone}");
        assert!(alone["retry_after"].as_i64().is_some_and(|wait| wait <= 2), "{alone}");
        assert!(in_a_set.starts_with("failed") && in_a_set.contains("under way"), "{in_a_set}");
        let all = "SELECT leadlex.enqueue((SELECT array_agg(id) FROM crm), overwrite => true)";
        world.caller().batch_execute(all).unwrap();
        eventually("all are asked about", Duration::from_secs(60), || world.number(outcome) == 31);
        world.run(&format!(
            "SELECT leadlex.set_budget('main', '{period}', NULL); DELETE FROM leadlex.job_set"
        ));
    }
    assert_eq!(world.number("SELECT count(*) FROM leadlex.event WHERE event = 'budget_out'"), 0);
}

/// 1.00 is enough for three contacts at a time.
#[test]
fn a_set_waits_for_what_its_own_requests_keep_free() {
    for most in [1, 2] {
        let world = world(31, a_match(0.28));
        if most > 1 {
            let body = json!({"requests": {"each": {"email": "{email}"}}});
            let request = json!({"method": "POST", "url": world.provider.url("/bulk"), "body": body});
            let bulk = json!({"request": request, "most": most, "answers": "", "match": "position"});
            configure(&world, "main", json!({ "bulk": bulk }));
        }
        let late = Duration::from_millis(30);
        let nothing = json!({"data": {}});
        world.provider.on(PATH, move |_| Behaviour::json(404, json!({})).after(late));
        world.provider.on("/bulk", move |request| {
            let asked = request.json()["requests"].as_array().map_or(0, Vec::len);
            Behaviour::json(200, json!(vec![nothing.clone(); asked])).after(late)
        });
        world.run("SELECT leadlex.set_budget('main', 'day', 1.00)");
        let sql = "SELECT string_agg(DISTINCT concat_ws(' ', status, reason), '; ')
                   FROM enrich_contacts((SELECT array_agg(id) FROM crm))";
        assert_eq!(text(&mut world.caller(), sql), "no_match no_data", "{most} in a request");
        assert_eq!(world.number("SELECT count(*) FROM leadlex.event WHERE event = 'budget_out'"), 0);
    }
}

#[test]
fn a_report_of_credits_that_cannot_be_read_counts_as_the_most() {
    let world = world(10, a_match(0.28));
    let with_credits = json!({
        "response": {"cost": {"pointer": "/credits"}},
        "price": {"currency": "USD", "per_match": null, "per_credit": 0.01, "most_credits": 8},
    });
    configure(&world, "main", with_credits);
    let said = [json!("8,0"), json!(1e12), json!(-3), json!("NaN"), json!({"phone": 8})];
    let said_by = said.clone();
    world.provider.on(PATH, move |request| {
        let email = request.param("email").unwrap_or("nobody").to_owned();
        let number: usize =
            email.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or_default();
        let mut body = only_phone(&format!("+1202555 {email}"));
        body["credits"] = said_by[(number - 1) % said_by.len()].clone();
        Behaviour::json(200, body)
    });
    world.run("SELECT leadlex.set_budget('main', 'day', 0.40)");
    let mut caller = world.caller();
    for n in 1..=said.len() as i32 {
        enrich(&mut caller, n).unwrap();
    }
    spend_is(&world, Duration::from_secs(2), "main 5/5/5/5 0, main -/-/-/- 0.4");
    assert_eq!(fails(enrich(&mut caller, 6)).json()["reason"], "budget");
    let unread = "SELECT costs_unread FROM leadlex.provider_stats";
    assert_eq!(number(&mut world.owner(), unread), 5);
    // It survives a restart, as every count does.
    world.cluster.restart(crate::support::Stop::Fast);
    assert_eq!(number(&mut world.owner(), unread), 5);
}

#[test]
fn a_vendor_that_reports_more_than_it_said_is_booked_and_passed_over() {
    let world = world(10, a_match(0.28));
    let with_credits = json!({
        "response": {"cost": {"pointer": "/credits"}},
        "price": {"currency": "USD", "per_match": null, "per_credit": 0.01, "most_credits": 8},
    });
    configure(&world, "main", with_credits);
    world.provider.on(PATH, |request| {
        let n = request.param("email").unwrap_or("nobody").to_owned();
        let mut body = only_phone(&format!("+1202555 {n}"));
        body["credits"] = json!(if n.starts_with("person2@") { 30 } else { 8 });
        Behaviour::json(200, body)
    });
    world.run("SELECT leadlex.set_budget('main', 'day', 10)");
    let mut caller = world.caller();
    assert_eq!(enrich(&mut caller, 1).unwrap()["cost"], json!({"USD": 0.08}));
    assert_eq!(enrich(&mut caller, 2).unwrap()["cost"], json!({"USD": 0.3}));
    let detail = fails(enrich(&mut caller, 3)).json();
    assert_eq!(detail["reason"], "budget", "{detail}");
    assert!(detail["providers"][0]["message"].as_str().unwrap().contains("30 credits"), "{detail}");
    spend_is(&world, Duration::from_secs(2), "main 2/2/2/2 0.38");
    let told = "SELECT count(*) FROM leadlex.check()
                WHERE subject = 'provider main' AND problem LIKE '%reported 30 credits%' AND remedy LIKE '%most_credits\": 30%'";
    let mut owner = world.owner();
    eventually("check() tells of it", Duration::from_secs(5), || number(&mut owner, told) == 1);
    // Also after a restart, until the price says so.
    world.cluster.restart(crate::support::Stop::Fast);
    let mut caller = world.caller();
    assert_eq!(fails(enrich(&mut caller, 3)).json()["reason"], "budget");
    configure(&world, "main", json!({"price": {"most_credits": 30}}));
    enrich(&mut caller, 3).unwrap();
    assert_eq!(number(&mut world.owner(), told), 0);
}

/// Ten for ten contacts are one for each.
#[test]
fn a_report_about_several_contacts_is_measured_by_each() {
    let world = world(14, json!(null));
    let price = json!({"currency": "USD", "per_credit": 1, "most_credits": 1});
    let body = json!({"requests": {"each": {"email": "{email}"}}});
    let request = json!({"method": "POST", "url": world.provider.url("/bulk"), "body": body});
    let bulk = json!({"request": request, "most": 10, "answers": "/people", "match": "position"});
    let response = json!({"cost": {"pointer": "/credits"}});
    configure(&world, "main", json!({"price": price, "bulk": bulk, "response": response}));
    world.provider.on("/bulk", |request| {
        let asked = request.json()["requests"].as_array().cloned().unwrap_or_default();
        let people: Vec<_> = asked
            .iter()
            .map(|one| only_phone(&format!("+1202555 {}", one["email"].as_str().unwrap_or_default())))
            .collect();
        Behaviour::json(200, json!({"credits": people.len(), "people": people}))
    });
    world.provider.on(PATH, |request| {
        let mut answer = only_phone(&format!("+1202555 {}", request.param("email").unwrap_or_default()));
        answer["credits"] = json!(1);
        Behaviour::json(200, answer)
    });
    world.run("SELECT leadlex.set_budget('main', 'day', 100)");
    let mut caller = world.caller();
    caller
        .batch_execute("SELECT FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id LIMIT 10))")
        .unwrap();
    enrich(&mut caller, 11).unwrap();
    spend_is(&world, Duration::from_secs(2), "main 2/11/11/11 11");
    // Two for one contact are not what was said.
    world.provider.on(PATH, |request| {
        let mut answer = only_phone(&format!("+1202555 {}", request.param("email").unwrap_or_default()));
        answer["credits"] = json!(2);
        Behaviour::json(200, answer)
    });
    enrich(&mut caller, 12).unwrap();
    let failure = fails(enrich(&mut caller, 13)).json();
    assert_eq!(failure["reason"], "budget", "{failure}");
}

/// The currency by mistake: the budget that is meant is not the one that is taken away.
#[test]
fn a_budget_in_another_currency_is_told_apart() {
    let (world, told) = (
        world(1, a_match(0.28)),
        "leadlex.set_budget(NULL, 'month', NULL, workspace_id => NULL, currency => 'EUR')",
    );
    let (mut owner, notices) = world.listening("postgres");
    owner.batch_execute("SELECT leadlex.set_budget(NULL, 'month', 300, currency => 'EUR')").unwrap();
    let hint = notices.all().pop().and_then(|notice| notice.hint).unwrap_or_default();
    assert!(hint.contains(told) && hint.contains("Its price is in USD"), "{hint}");
    owner.batch_execute("SELECT leadlex.set_budget(NULL, 'month', 300, currency => 'USD')").unwrap();
    let failure = fails(owner.batch_execute("SELECT leadlex.set_budget(NULL, 'month', NULL)"));
    assert_eq!(failure.message, "currency must be given: there are such budgets in EUR and USD");
    owner.batch_execute(&format!("SELECT {told}")).unwrap();
    assert_eq!(text(&mut owner, "SELECT currency FROM leadlex.budget"), "USD");
}

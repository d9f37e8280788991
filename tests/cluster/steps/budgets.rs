//! What a vendor may still bill for what was handed in is kept free in budgets.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, SUBMIT, Slow, config, phone, world_with};
use super::{SOON, tickets, wait_for_tickets};
use crate::support::{Behaviour, Stop, eventually, fails};
use crate::world::{Beginning, World, enrich, pid, try_enrich};

/// A vendor whose answers are ready after so many polls. Calls do not wait for them.
fn world(contacts: i32, ready: Ready, budget: &str) -> (World, Slow) {
    let beginning = Beginning { contacts, credits: None, ..Beginning::default() };
    let price = json!({"price": {"currency": "USD", "per_match": 0.28}});
    let (world, slow) = world_with(ready, price, &beginning);
    world.cluster.set("leadlex.total_timeout", "700ms");
    world.run(&format!("SELECT leadlex.set_budget(NULL, 'total', {budget})"));
    (world, slow)
}

fn text(world: &World, sql: &str) -> String {
    world.owner().query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

fn budget(world: &World) -> String {
    text(world, "SELECT format('%s %s', used, remaining) FROM leadlex.budget")
}

/// As the tables have it.
fn held(world: &World) -> String {
    text(world, "SELECT coalesce(sum(amount), 0)::text FROM leadlex.spend_hold")
}

fn spent(world: &World) -> String {
    text(
        world,
        "SELECT format('%s %s', coalesce(sum(cost) FILTER (WHERE requests IS NOT NULL), 0),
                coalesce(sum(cost) FILTER (WHERE requests IS NULL), 0)) FROM leadlex.spend",
    )
}

fn spent_is(world: &World, expected: &str) {
    eventually(&format!("spend is {expected}"), SOON, || spent(world) == expected);
}

fn reason(detail: &Value) -> &str {
    detail["error"]["reason"].as_str().unwrap_or_default()
}

/// No ticket is kept of what it hands in: nobody will ask for that answer.
#[test]
fn what_a_check_hands_in_counts_as_spent_unless_it_is_answered() {
    const CHECK: &str =
        "SELECT leadlex.check_provider('main', '{\"email\": \"person1@acme.example\"}') ->> 'outcome'";
    let (world, slow) = world(3, Ready::AfterPolls(0), "1.00");
    let mut owner = world.owner();
    let mut check = || owner.query_one(CHECK, &[]).map(|row| row.get::<_, String>(0));
    assert_eq!(check().unwrap(), "next");
    spent_is(&world, "0 0.28");
    world.cluster.set("leadlex.total_timeout", "15s");
    assert_eq!(check().unwrap(), "match");
    spent_is(&world, "0.28 0.28");
    assert_eq!(budget(&world), "0.56 0.44");
    // A submission that is refused costs nothing.
    world.provider.on(SUBMIT, |_| Behaviour::json(500, json!({"error": "try again"})));
    assert_eq!(check().unwrap(), "failed");
    assert_eq!(budget(&world), "0.56 0.44");
    slow.play(&world.provider);
    let mut hasty = world.owner();
    hasty.batch_execute("SET statement_timeout = '300ms'").unwrap();
    assert_eq!(fails(hasty.query_one(CHECK, &[])).sqlstate, "57014");
    spent_is(&world, "0.28 0.56");
    assert_eq!(budget(&world), "0.84 0.16");
    let refused = text(&world, &CHECK.replace("outcome", "reason"));
    assert_eq!((refused.as_str(), slow.submissions()), ("budget", 3));
}

/// What is kept free for its own polls does not refuse it.
#[test]
fn a_check_is_asked_where_there_is_room_for_one_poll() {
    let (world, slow) = world(3, Ready::AfterPolls(0), "0.32");
    world.cluster.set("leadlex.total_timeout", "15s");
    let price = r#"{"price": {"currency": "USD", "per_match": 0.28, "per_request": 0.01}}"#;
    world.run(&format!("SELECT leadlex.alter_provider('main', '{price}')"));
    let check =
        "SELECT leadlex.check_provider('main', '{\"email\": \"person1@acme.example\"}') ->> 'outcome'";
    assert_eq!(text(&world, check), "match");
    spent_is(&world, "0.3 0");
    assert_eq!((budget(&world).as_str(), slow.submissions()), ("0.3 0.02", 1));
}

/// Its answer comes all the same, and is booked then.
#[test]
fn a_check_that_is_cancelled_during_a_poll_is_booked_once() {
    let (world, slow) = world(3, Ready::AfterPolls(0), "1.00");
    world.cluster.set("leadlex.total_timeout", "15s");
    let vendor = slow.clone();
    world.provider.on(POLL, move |request| {
        vendor.poll(request.param("id").unwrap_or_default()).after(Duration::from_millis(1_500))
    });
    let mut hasty = world.owner();
    hasty.batch_execute("SET statement_timeout = '1800ms'").unwrap();
    let check = "SELECT leadlex.check_provider('main', '{\"email\": \"person1@acme.example\"}')";
    assert_eq!(fails(hasty.query_one(check, &[])).sqlstate, "57014");
    spent_is(&world, "0.28 0");
    assert_eq!(budget(&world), "0.28 0.72");
}

#[test]
fn what_is_handed_in_is_kept_free_until_it_is_answered() {
    let (world, slow) = world(10, Ready::AfterPolls(0), "1.00");
    let mut caller = world.caller();
    for n in 1..=3 {
        assert_eq!(reason(&try_enrich(&mut caller, n)), "pending");
    }
    assert_eq!(budget(&world), "0.84 0.16");
    // The fourth could be billed, too. It may be otherwise soon, so that it is worth asking again.
    let error = fails(enrich(&mut caller, 4)).json();
    assert_eq!((error["reason"].as_str(), &error["retryable"]), (Some("budget"), &json!(true)), "{error}");
    assert!((1..=30).contains(&error["retry_after"].as_i64().unwrap()), "{error}");
    assert_eq!(slow.submissions(), 3);
    wait_for_tickets(&world, 3);
    assert_eq!(held(&world), "0.84");
    // The answers are paid from what is held: nothing else is left.
    world.cluster.set("leadlex.total_timeout", "15s");
    let mut caller = world.caller();
    for n in 1..=3 {
        let result = enrich(&mut caller, n).unwrap();
        assert_eq!(result["contact"]["phone"], phone(&format!("person{n}@acme.example")));
        assert_eq!(result["cost"], json!({"USD": 0.28}));
    }
    assert_eq!(budget(&world), "0.84 0.16");
    spent_is(&world, "0.84 0");
    wait_for_tickets(&world, 0);
    assert_eq!(held(&world), "0");
    let error = fails(enrich(&mut caller, 4)).json();
    assert_eq!(error["retryable"], false, "nothing is held any more: {error}");
    assert_eq!(slow.submissions(), 3);
}

#[test]
fn an_answer_without_data_frees_what_was_held() {
    let (world, slow) = world(10, Ready::AfterPolls(0), "0.28");
    world.provider.on(POLL, |_| Behaviour::json(200, json!({"status": "done", "data": {"phone": null}})));
    let mut caller = world.caller();
    assert_eq!(reason(&try_enrich(&mut caller, 1)), "pending");
    assert_eq!(reason(&try_enrich(&mut caller, 2)), "budget");
    world.cluster.set("leadlex.total_timeout", "15s");
    assert_eq!(fails(enrich(&mut world.caller(), 1)).sqlstate, "LX409");
    assert_eq!(budget(&world), "0 0.28");
    wait_for_tickets(&world, 0);
    assert_eq!(held(&world), "0");
    assert_eq!(fails(enrich(&mut world.caller(), 2)).sqlstate, "LX409");
    assert_eq!(slow.submissions(), 2);
    spent_is(&world, "0 0");
}

/// Each poll costs something: what is handed in leaves room for asking for it.
#[test]
fn questions_that_are_handed_in_leave_something_for_polls() {
    let beginning = Beginning { contacts: 20, credits: None, ..Beginning::default() };
    let price = json!({"currency": "USD", "per_request": 0.01, "per_match": 0.4});
    let (world, slow) =
        world_with(Ready::AfterPolls(1), json!({"price": price, "poll_for_s": 20}), &beginning);
    world.run("SELECT leadlex.set_budget(NULL, 'total', 4.19)");
    // Each takes a request, two polls and a match.
    let done = "SELECT count(*) FROM crm WHERE phone IS NOT NULL";
    let set = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm))";
    eventually("all that can be paid are answered", Duration::from_secs(60), || {
        world.caller().batch_execute(set).unwrap();
        world.number(done) == 9
    });
    spent_is(&world, "3.87 0");
    assert_eq!(slow.submissions(), 9);
}

/// What is left for polls of one provider is not used up because another's question is answered.
#[test]
fn polls_have_room_of_their_own_beside_other_providers() {
    let beginning = Beginning { contacts: 10, credits: None, ..Beginning::default() };
    let price = json!({"currency": "USD", "per_request": 0.01, "per_match": 0.001});
    let (world, slow) =
        world_with(Ready::AfterPolls(1), json!({"price": price, "poll_for_s": 8}), &beginning);
    world.add_provider(
        "dear",
        &config(&world.provider, json!({"price": {"currency": "USD", "per_match": 1}})),
    );
    world
        .run("SELECT leadlex.enable_provider('dear', false); SELECT leadlex.set_budget(NULL, 'total', 1.20)");
    world.cluster.set("leadlex.total_timeout", "700ms");
    // It is handed in, and needs room for ten polls.
    assert_eq!(reason(&try_enrich(&mut world.caller(), 1)), "pending");
    world.run("SELECT leadlex.enable_provider('main', false); SELECT leadlex.enable_provider('dear', true)");
    assert_eq!(reason(&try_enrich(&mut world.caller(), 2)), "pending");
    world.cluster.set("leadlex.total_timeout", "15s");
    enrich(&mut world.caller(), 2).unwrap();
    // 1.01 are spent and 0.101 are kept: nothing of it is for others.
    world.run("SELECT leadlex.set_budget(NULL, 'total', 1.115); SELECT leadlex.drop_provider('dear'); SELECT leadlex.enable_provider('main', true)");
    let out = "SELECT count(*) FROM leadlex.event WHERE event = 'budget_out'";
    let before = world.number(out);
    let error = try_enrich(&mut world.caller(), 3);
    assert_eq!((reason(&error), &error["error"]["retryable"]), ("budget", &json!(true)), "{error}");
    // Who looks sees why so much is left and nothing is asked.
    let kept = "SELECT format('%s %s', remaining, kept_for_polls) FROM leadlex.budget";
    assert_eq!(text(&world, kept), "0.104 0.1");
    let told = "SELECT count(*) FROM leadlex.check() WHERE problem LIKE '%and 0.1 are kept for polls of answers that are owed%'";
    assert_eq!(world.number(told), 1);
    let remaining = "SELECT budget_remaining::text FROM leadlex.estimate_cost('crm', (SELECT array_agg(id::text) FROM crm))";
    let remaining: String = world.caller().query_one(remaining, &[]).unwrap().get(0);
    assert_eq!(remaining, "0.004");
    // Longer than the worker takes to tell of it.
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(world.number(out), before, "the rest is kept for what is under way");
    let told = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(told["fields_updated"], json!(["phone"]), "{told}");
    assert_eq!(slow.submissions(), 2);
    // That was all that was out: with little left there is one more.
    let out =
        "SELECT count(*) FROM leadlex.check() WHERE problem LIKE '%: no request that it concerns is sent%'";
    assert_eq!(world.number(out), 0);
    enrich(&mut world.caller(), 3).unwrap();
}

/// What comes after the polls is no hand-in: it needs no room for polls of its own.
#[test]
fn a_step_after_the_polls_is_paid_from_what_is_left_for_them() {
    let beginning = Beginning { contacts: 3, credits: None, ..Beginning::default() };
    let (world, slow) = world_with(Ready::AfterPolls(0), json!({}), &beginning);
    let mut config = config(&world.provider, json!({"poll_for_s": 8}));
    config["steps"][1]["take"] = json!({"id": "/id"});
    config["steps"][1]["response"].as_object_mut().expect("an object").remove("fields");
    let request = json!({"url": world.provider.url("/detail"), "query": {"id": "{id}"}});
    let detail = json!({"request": request, "response": {"fields": {"phone": "/phone"}}});
    config["steps"].as_array_mut().expect("a list").push(detail);
    let price = json!({"currency": "USD", "per_request": 0.01, "per_match": 0.1});
    let changes = json!({"steps": config["steps"], "poll_for_s": 8, "price": price});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&changes]).unwrap();
    world.provider.on(POLL, |_| Behaviour::json(200, json!({"status": "done", "id": "d1"})));
    world.provider.on("/detail", |_| Behaviour::json(200, json!({"phone": "+15550100001"})));
    // A request, the most that the answer costs, and ten polls.
    world.run("SELECT leadlex.set_budget(NULL, 'total', 0.21)");
    let told = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(
        (&told["fields_updated"], &told["cost"]),
        (&json!(["phone"]), &json!({"USD": 0.13})),
        "{told}"
    );
    assert_eq!(reason(&try_enrich(&mut world.caller(), 2)), "budget");
    assert_eq!(slow.submissions(), 1);
}

/// A step that hands in may supply something already, which is billed then: only the rest is kept free.
#[test]
fn what_is_supplied_with_the_id_is_paid_and_the_rest_is_kept_free() {
    let per_field = json!({"job_title": 0.05, "phone": 0.08});
    let price = json!({"currency": "USD", "per_match": 0.2, "per_field": per_field});
    let beginning = Beginning { contacts: 10, credits: None, ..Beginning::default() };
    let (world, _slow) = world_with(Ready::AfterPolls(0), json!({}), &beginning);
    let mut config = config(&world.provider, json!({}));
    config["steps"][0]["response"] = json!({"fields": {"job_title": "/title"}});
    let steps = json!({"steps": config["steps"], "price": price});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&steps]).unwrap();
    world.cluster.set("leadlex.total_timeout", "700ms");
    world.run("SELECT leadlex.set_budget(NULL, 'total', 0.33)");
    world.provider.on(SUBMIT, |_| Behaviour::json(202, json!({"id": "t1", "title": "Engineer"})));
    world.provider.on(POLL, |_| Behaviour::json(410, json!({})));
    let told = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!((&told["pending"], &told["cost"]), (&json!(true), &json!({"USD": 0.25})), "{told}");
    assert_eq!(budget(&world), "0.33 0");
    wait_for_tickets(&world, 1);
    assert_eq!(held(&world), "0.08");
    world.cluster.set("leadlex.total_timeout", "15s");
    let _ = try_enrich(&mut world.caller(), 1);
    spent_is(&world, "0.25 0.08");
    assert_eq!(budget(&world), "0.33 0");
}

/// What was kept free in another currency is free once the answer is there, and what it costs is booked in the new one.
#[test]
fn a_price_in_another_currency_counts_nothing_twice() {
    for price in [json!({"currency": "EUR", "per_match": 0.4}), json!(null)] {
        let (world, slow) = world(10, Ready::AfterPolls(0), "1.00");
        for n in [1, 2] {
            assert_eq!(reason(&try_enrich(&mut world.caller(), n)), "pending");
        }
        wait_for_tickets(&world, 2);
        assert_eq!((budget(&world), held(&world)), ("0.56 0.44".to_owned(), "0.56".to_owned()));
        // A budget in the old currency would keep it from being asked.
        world.run("SELECT leadlex.set_budget(NULL, 'total', NULL)");
        let config = json!({ "price": price });
        world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
        world.cluster.set("leadlex.total_timeout", "15s");
        for n in [1, 2] {
            let cost = enrich(&mut world.caller(), n).unwrap()["cost"].clone();
            assert_eq!(cost, if price.is_null() { json!({}) } else { json!({"EUR": 0.4}) });
        }
        wait_for_tickets(&world, 0);
        eventually("nothing is held", SOON, || held(&world) == "0");
        let used = "SELECT coalesce(string_agg(currency || ' ' || cost, ', '), '') FROM leadlex.spend WHERE cost > 0";
        eventually("in the new currency alone", SOON, || {
            text(&world, used) == if price.is_null() { "" } else { "EUR 0.8" }
        });
        world.run("SELECT leadlex.set_budget(NULL, 'total', 1.00, currency => 'USD')");
        assert_eq!(budget(&world), "0 1");
        assert_eq!(slow.submissions(), 2);
    }
}

#[test]
fn a_restart_and_a_crash_forget_nothing_that_is_held() {
    let (world, slow) = world(10, Ready::AfterPolls(0), "0.60");
    let mut caller = world.caller();
    for n in 1..=2 {
        assert_eq!(reason(&try_enrich(&mut caller, n)), "pending");
    }
    wait_for_tickets(&world, 2);
    let leases = "SELECT count(*) FROM leadlex.spend_lease WHERE amount > 0";
    eventually("no lease is open", SOON, || world.number(leases) == 0);
    let mut other = world.owner();
    world.cluster.kill9(pid(&mut caller));
    eventually("the server has noticed", SOON, || other.batch_execute("SELECT 1").is_err());
    world.cluster.wait_until_ready();
    assert_eq!(budget(&world), "0.56 0.04");
    assert_eq!(reason(&try_enrich(&mut world.caller(), 3)), "budget");
    world.cluster.restart(Stop::Fast);
    assert_eq!(budget(&world), "0.56 0.04");
    world.cluster.set("leadlex.total_timeout", "15s");
    let mut caller = world.caller();
    assert!(enrich(&mut caller, 1).is_ok());
    assert_eq!(budget(&world), "0.56 0.04");
    assert_eq!(fails(enrich(&mut caller, 3)).json()["reason"], "budget");
    // Across another restart one is spent, and one is held.
    spent_is(&world, "0.28 0");
    world.cluster.restart(Stop::Fast);
    assert_eq!((budget(&world), held(&world)), ("0.56 0.04".into(), "0.28".into()));
    assert!(enrich(&mut world.caller(), 2).is_ok());
    spent_is(&world, "0.56 0");
    assert_eq!(slow.submissions(), 2);
}

#[test]
fn a_crash_before_the_ticket_is_written_counts_it_as_used() {
    let (world, slow) = world(40, Ready::AfterPolls(0), "5.00");
    let mut caller = world.caller();
    thread::scope(|scope| {
        for session in 0..8 {
            let mut caller = world.caller();
            scope.spawn(move || {
                // The session ends with the server.
                for n in 1..=4 {
                    let sql =
                        format!("SELECT try_enrich_contact('{}')", crate::world::contact(session * 4 + n));
                    if caller.batch_execute(&sql).is_err() {
                        break;
                    }
                }
            });
        }
        eventually("some are handed in", SOON, || slow.submissions() >= 6);
        world.cluster.kill9(pid(&mut caller));
    });
    world.cluster.wait_until_ready();
    let handed_in = slow.submissions();
    let covers = format!("SELECT (used BETWEEN 0.28 * {handed_in} AND 5)::text FROM leadlex.budget");
    eventually("the worker has booked it", SOON, || text(&world, &covers) == "true");
}

#[test]
fn what_is_given_up_counts_as_spent() {
    let (world, slow) = world(10, Ready::AfterPolls(0), "1.00");
    let mut caller = world.caller();
    assert_eq!(reason(&try_enrich(&mut caller, 1)), "pending");
    // The vendor does not know it any more: it may have billed it.
    slow.lose_all();
    thread::sleep(Duration::from_millis(1_100));
    let _ = try_enrich(&mut caller, 1);
    spent_is(&world, "0 0.28");
    eventually("nothing is held any more", SOON, || held(&world) == "0");
    assert_eq!(budget(&world), "0.28 0.72");
}

#[test]
fn what_nobody_asks_for_any_more_counts_as_spent_after_a_while() {
    let (world, _) = world(10, Ready::AfterPolls(0), "1.00");
    let mut caller = world.caller();
    for n in 1..=3 {
        assert_eq!(reason(&try_enrich(&mut caller, n)), "pending");
    }
    wait_for_tickets(&world, 3);
    // Of one the time is over, one is forgotten, one is still asked for. Nobody calls from here on.
    world.run("UPDATE leadlex.ticket SET expires_at = now() - interval '1 s' WHERE question = (SELECT min(question::text)::uuid FROM leadlex.ticket WHERE person <> (SELECT person FROM leadlex.ticket ORDER BY kept_at LIMIT 1))");
    assert_eq!((held(&world), budget(&world)), ("0.84".into(), "0.84 0.16".into()));
    world.run(&format!("SELECT leadlex.forget_row('crm', '{}')", crate::world::contact(1)));
    assert_eq!(tickets(&world), 1);
    let over = "SELECT count(*) FROM leadlex.spend_hold WHERE over_at IS NOT NULL";
    eventually("the worker has seen it", SOON, || world.number(over) == 2);
    world.run("UPDATE leadlex.spend_hold SET over_at = over_at - interval '1 hour'");
    // It looks again.
    world.cluster.restart(Stop::Fast);
    eventually("they are given up", SOON, || held(&world) == "0.28");
    assert_eq!((spent(&world), budget(&world)), ("0 0.56".into(), "0.84 0.16".into()));
    world.cluster.restart(Stop::Fast);
    assert_eq!((spent(&world), budget(&world)), ("0 0.56".into(), "0.84 0.16".into()));
}

#[test]
fn what_goes_with_its_provider_is_booked_in_a_quiet_database() {
    let (world, _) = world(10, Ready::AfterPolls(0), "1.00");
    world.run("SELECT leadlex.add_provider('spare', 'people_data_labs', priority => 900)");
    let mut caller = world.caller();
    for n in 1..=2 {
        assert_eq!(reason(&try_enrich(&mut caller, n)), "pending");
    }
    wait_for_tickets(&world, 2);
    world.run("SELECT leadlex.drop_provider('main')");
    let over = "SELECT count(*) FROM leadlex.spend_hold WHERE over_at IS NOT NULL";
    eventually("the worker has seen it", SOON, || world.number(over) == 2);
    assert_eq!(held(&world), "0.56", "a request may still be on its way");
    world.run("UPDATE leadlex.spend_hold SET over_at = over_at - interval '1 hour'");
    world.run("SELECT leadlex.drop_provider('spare')");
    eventually("they are given up", SOON, || held(&world) == "0");
    assert_eq!((spent(&world), budget(&world)), ("0 0.56".into(), "0.56 0.44".into()));
}

#[test]
fn many_sessions_hand_in_no_more_than_the_budget_pays() {
    let (world, slow) = world(160, Ready::AfterPolls(1), "5.00");
    world.cluster.set("leadlex.total_timeout", "5s");
    thread::scope(|scope| {
        for session in 0..16 {
            let mut caller = world.caller();
            scope.spawn(move || {
                for n in 1..=10 {
                    let _ = try_enrich(&mut caller, session * 10 + n);
                }
            });
        }
    });
    // 17 × 0.28 = 4.76.
    assert_eq!(slow.submissions(), 17);
    eventually("all are answered", SOON, || spent(&world) == "4.76 0" && held(&world) == "0");
    assert_eq!(budget(&world), "4.76 0.24");
}

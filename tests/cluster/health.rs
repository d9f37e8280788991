//! Providers that are not asked for a while: what they say of themselves, the circuit breaker, and what is told of it.

use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use crate::provider_faults::reason;
use crate::support::{Behaviour, Response, Stop, eventually, fails, person};
use crate::world::{Beginning, PATH, World, enrich, try_enrich};

/// The breaker's first pause: long enough for a slow machine not to wake up after it by accident.
const CONF: &[&str] = &["leadlex.provider_timeout = '500ms'", "leadlex.breaker_pause = '2s'"];

fn world() -> World {
    World::with(&Beginning { conf: CONF, contacts: 40, ..Beginning::default() })
}

fn status(code: u16) -> impl Fn(&crate::support::http::Request) -> Behaviour + Send + Sync + 'static {
    move |_| Behaviour::json(code, json!({}))
}

fn stats(client: &mut Client, name: &str) -> Value {
    let sql = "SELECT to_jsonb(s) FROM leadlex.provider_stats AS s WHERE s.name = $1";
    client.query_one(sql, &[&name]).unwrap().get(0)
}

/// The one provider's entry in an LX503.
fn told(client: &mut Client, n: i32) -> Value {
    let failure = fails(enrich(client, n));
    assert_eq!(failure.sqlstate, "LX503", "{failure:?}");
    assert!(failure.message.contains("main"), "{failure:?}");
    failure.json()["providers"][0].clone()
}

#[test]
fn the_breaker_opens_for_all_sessions_after_failures_in_a_row_and_closes_after_a_probe() {
    let world = world();
    world.provider.on(PATH, status(500));
    // Each failure in a session of its own: what is counted is the provider's.
    for n in 1..=5 {
        assert_eq!(reason(&fails(enrich(&mut world.caller(), n))).1, "server_error");
    }
    let mut caller = world.caller();
    let entry = told(&mut caller, 6);
    assert_eq!((&entry["reason"], &entry["paused"]), (&json!("breaker_open"), &json!(true)), "{entry}");
    assert!((1..=2).contains(&entry["retry_after"].as_i64().unwrap()), "{entry}");
    assert_eq!(world.provider.count(), 5, "nothing was sent");
    let open = stats(&mut world.owner(), "main");
    assert_eq!((&open["state"], &open["failures_in_a_row"]), (&json!("breaker"), &json!(5)));
    assert_eq!((&open["skipped"], &open["calls"]), (&json!(1), &json!(5)));
    assert!(open["paused_until"].is_string(), "{open}");

    // A probe that fails opens it again, for twice as long.
    eventually("the pause is over", Duration::from_secs(10), || {
        stats(&mut world.owner(), "main")["state"] == "half_open"
    });
    assert_eq!(told(&mut caller, 6)["reason"], "server_error");
    let entry = told(&mut caller, 6);
    assert_eq!(entry["reason"], "breaker_open");
    assert!((3..=4).contains(&entry["retry_after"].as_i64().unwrap()), "{entry}");
    assert_eq!(world.provider.count(), 6);

    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    eventually("a probe finds it well", Duration::from_secs(20), || enrich(&mut caller, 6).is_ok());
    enrich(&mut world.caller(), 7).unwrap();
    let closed = stats(&mut world.owner(), "main");
    assert_eq!((&closed["state"], &closed["failures_in_a_row"]), (&json!("ok"), &json!(0)));
    assert_eq!(world.ledger().charges, 2);
}

#[test]
fn one_call_at_a_time_is_the_probe() {
    let world = World::with(&Beginning {
        conf: &[
            "leadlex.provider_timeout = '3s'",
            "leadlex.breaker_pause = '200ms'",
            "leadlex.breaker_failures = 2",
        ],
        contacts: 40,
        ..Beginning::default()
    });
    world.provider.on(PATH, status(503));
    for n in [1, 2] {
        fails(enrich(&mut world.caller(), n));
    }
    world.provider.forget();
    eventually("the pause is over", Duration::from_secs(10), || {
        stats(&mut world.owner(), "main")["state"] == "half_open"
    });
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(1_500)));
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let world = &world;
        let calls: Vec<_> =
            (3..=10).map(|n| scope.spawn(move || enrich(&mut world.caller(), n).is_ok())).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 1, "{outcomes:?}");
    assert_eq!(world.provider.count(), 1, "the others were told at once");
    enrich(&mut world.caller(), 11).unwrap();
}

#[test]
fn a_hanging_provider_costs_its_time_only_until_the_breaker_opens() {
    let world = world();
    world.provider.on(PATH, |_| Behaviour::Never);
    let second = world.provider.config("/second");
    world.add_provider("second", &second);
    let mut caller = world.caller();
    for n in 1..=5 {
        assert_eq!(enrich(&mut caller, n).unwrap()["source"], "second");
    }
    let started = Instant::now();
    assert_eq!(enrich(&mut caller, 6).unwrap()["source"], "second");
    assert!(started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
    assert_eq!(world.provider.count_of(PATH), 5);
    assert_eq!(stats(&mut world.owner(), "main")["failures_by_kind"], json!({"timeout": 5}));
}

#[test]
fn what_concerns_one_request_only_never_opens_it() {
    let world = world();
    let mut caller = world.caller();
    for (code, expected) in [(400, "bad_status"), (422, "bad_status"), (302, "redirect")] {
        world.provider.on(PATH, status(code));
        for n in 1..=7 {
            assert_eq!(reason(&fails(enrich(&mut caller, n))).1, expected);
        }
    }
    // Nor does a caller's own impatience.
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(300)));
    for n in 8..=14 {
        world.abandon(&mut caller, n);
    }
    enrich(&mut caller, 15).unwrap();
    assert_eq!(stats(&mut world.owner(), "main")["state"], "ok");
}

#[test]
fn a_provider_that_asks_for_it_is_left_alone() {
    let world = world();
    let mut caller = world.caller();
    let limited = |code: u16, header: &'static str, value: String| {
        move |_: &crate::support::http::Request| {
            Behaviour::Answer(Response::json(code, &json!({})).with_header(header, &value))
        }
    };
    for (code, header, value) in [
        (429, "Retry-After", "100"),
        (503, "Retry-After", "100"),
        (403, "X-Reset", "100"),
        (429, "X-Reset", "100000"),
    ] {
        let config = json!({"response": {
            "rate_limited": {"status": [403]},
            "retry_after": [{"header": "X-Reset", "as": if value.len() > 3 { "milliseconds" } else { "seconds" }}]
        }});
        world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
        world.provider.forget();
        world.provider.on(PATH, limited(code, header, value.to_owned()));
        let first = told(&mut caller, 1);
        let expected = if code == 503 { "server_error" } else { "rate_limited" };
        assert_eq!(
            (&first["reason"], &first["retry_after"]),
            (&json!(expected), &json!(100)),
            "{code} {header}"
        );
        let second = told(&mut world.caller(), 2);
        assert_eq!((&second["reason"], &second["paused"]), (&json!(expected), &json!(true)), "{second}");
        assert_eq!(world.provider.count(), 1, "{code} {header}");
        let state = stats(&mut world.owner(), "main");
        assert_eq!(state["state"], expected);
    }
    // A changed description, or switching it on, is a fresh start.
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    told(&mut caller, 3);
    world.run("SELECT leadlex.enable_provider('main', true)");
    enrich(&mut caller, 3).unwrap();
    assert_eq!(stats(&mut world.owner(), "main")["state"], "ok");
}

#[test]
fn a_refused_secret_or_an_empty_account_pauses_until_it_is_changed() {
    let world = world();
    let mut caller = world.caller();
    for (code, expected) in [(401, "bad_credentials"), (402, "quota")] {
        world.provider.forget();
        world.provider.on(PATH, status(code));
        assert_eq!(told(&mut caller, 1)["reason"], expected);
        let entry = told(&mut caller, 2);
        assert_eq!((&entry["reason"], &entry["paused"]), (&json!(expected), &json!(true)));
        assert_eq!(world.provider.count(), 1);
        assert_eq!(stats(&mut world.owner(), "main")["state"], expected);
        world.provider.on(PATH, |_| Behaviour::json(200, person()));
        world.run("SELECT leadlex.alter_provider('main', secret => 'another')");
        let ended = stats(&mut world.owner(), "main");
        assert_eq!((&ended["state"], &ended["paused_until"]), (&json!("ok"), &Value::Null), "seen at once");
        enrich(&mut caller, 1).unwrap();
        world.run("UPDATE crm SET phone = NULL, job_title = NULL; SELECT leadlex.forget_row('crm', id::text) FROM crm");
    }
}

#[test]
fn a_rotated_secret_file_is_a_fresh_start() {
    let world = world();
    let file = world.cluster.dir().join("vendor-secret");
    std::fs::write(&file, "old\n").unwrap();
    world.run(&format!("SELECT leadlex.alter_provider('main', secret => 'file:{}')", file.display()));
    world.provider.on(PATH, |request| match request.header("X-Api-Key") {
        Some("new") => Behaviour::json(200, person()),
        _ => Behaviour::json(401, json!({})),
    });
    let mut caller = world.caller();
    assert_eq!(told(&mut caller, 1)["reason"], "bad_credentials");
    assert_eq!(told(&mut caller, 1)["paused"], true);
    std::fs::write(&file, "new\n").unwrap();
    enrich(&mut caller, 1).unwrap();
}

#[test]
fn checking_by_hand_goes_past_a_pause_and_ends_it() {
    let world = world();
    world.provider.on(PATH, status(402));
    let mut caller = world.caller();
    told(&mut caller, 1);
    assert_eq!(told(&mut caller, 1)["paused"], true);
    let check = "SELECT leadlex.check_provider('main', '{\"email\": \"a@acme.example\"}')";
    let shown: Value = world.owner().query_one(check, &[]).unwrap().get(0);
    assert_eq!((&shown["outcome"], &shown["reason"]), (&json!("failed"), &json!("quota")), "{shown}");
    assert_eq!(told(&mut caller, 1)["paused"], true);
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    let shown: Value = world.owner().query_one(check, &[]).unwrap().get(0);
    assert_eq!(shown["outcome"], "match", "{shown}");
    enrich(&mut caller, 1).unwrap();
}

#[test]
fn tallies_survive_a_restart_and_count_each_request_once() {
    let world = world();
    let config = json!({"response": {"cost": {"header": "X-Credits"}}});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    let mut caller = world.caller();
    world
        .provider
        .on(PATH, |_| Behaviour::Answer(Response::json(200, &person()).with_header("X-Credits", "0.5")));
    for n in 1..=3 {
        enrich(&mut caller, n).unwrap();
    }
    world.provider.on(PATH, status(404));
    fails(enrich(&mut caller, 4));
    world.provider.on(PATH, status(400));
    fails(enrich(&mut caller, 5));
    drop(caller);
    let seen = |world: &World| {
        let all = stats(&mut world.owner(), "main");
        let keys = ["calls", "matches", "no_matches", "failures", "failures_by_kind", "cost", "skipped"];
        keys.map(|key| all[key].clone())
    };
    let expected = [json!(5), json!(3), json!(1), json!(1), json!({"bad_status": 1}), json!(1.5), json!(0)];
    assert_eq!(seen(&world), expected);
    let before = stats(&mut world.owner(), "main");
    assert!(
        before["p50_ms"].as_f64().unwrap() > 0.0 && before["p99_ms"].as_f64() >= before["p50_ms"].as_f64()
    );
    assert!(before["last_error"].as_str().unwrap().starts_with("bad_status"), "{before}");
    for how in [Stop::Fast, Stop::Fast] {
        // A worker has been called: it writes before it leaves.
        world.cluster.restart(how);
        assert_eq!(seen(&world), expected);
        assert_eq!(stats(&mut world.owner(), "main")["p50_ms"], Value::Null, "latencies are since the start");
    }
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    enrich(&mut world.caller(), 6).unwrap();
    assert_eq!(seen(&world)[0], json!(6));
    // Once it is in the tables, a crash takes nothing away either.
    eventually("the worker records it", Duration::from_secs(20), || {
        world.number("SELECT coalesce(sum(number), 0)::int8 FROM leadlex.provider_tally WHERE what = 'calls'")
            == 6
    });
    world.cluster.restart(Stop::Immediate);
    assert_eq!(seen(&world)[0], json!(6));
    world.run("SELECT leadlex.drop_provider('main')");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.provider_tally"), 0);
}

#[test]
fn an_answer_that_comes_after_a_cancel_is_counted() {
    let world = world();
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(300)));
    let mut caller = world.caller();
    world.abandon(&mut caller, 1);
    eventually("it has come", Duration::from_secs(5), || stats(&mut world.owner(), "main")["matches"] == 1);
    assert_eq!(stats(&mut world.owner(), "main")["calls"], 1);
}

#[test]
fn weak_answers_are_named_when_there_is_no_other() {
    let world = world();
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.min_confidence = 0.95").unwrap();
    let error = try_enrich(&mut caller, 1)["error"].clone();
    assert_eq!(
        (&error["reason"], &error["below_min_confidence"]),
        (&json!("no_data"), &json!(["main"])),
        "{error}"
    );
}

#[test]
fn a_provider_is_used_for_the_fields_that_it_is_to_fill() {
    let world = world();
    let only_phone = json!({"fills": ["phone"]});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&only_phone]).unwrap();
    let mut caller = world.caller();
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!(result["fields_updated"], json!(["phone"]));
    // What it also told was kept, and is used once it is wanted, without asking again.
    let more = json!({"fills": ["phone", "job_title"]});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&more]).unwrap();
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!(result["fields_updated"], json!(["job_title"]));
    assert_eq!(world.provider.count(), 1);
    let wrong = json!({"fills": ["shoe_size"]});
    let refused = world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&wrong]);
    assert!(fails(refused).message.contains("/fills/0"));
}

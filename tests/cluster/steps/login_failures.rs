//! A login that fails: what is told of it, and that it pauses the provider like any other failure.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::SOON;
use super::login::{TOKEN, config};
use crate::support::{Behaviour, Response, eventually, person};
use crate::world::{Beginning, PATH, World, contact, pid, try_enrich};

const GIVEN: &str = "gho_TokenOfTheDay";

fn world(contacts: i32, conf: &[&str]) -> World {
    let world = World::with(&Beginning { credits: None, contacts, conf, ..Beginning::default() });
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config(&world.provider));
    world
}

fn answer(status: u16, kind: &str, body: &str) -> Behaviour {
    let mut response = Response::json(status, &json!({}));
    response.headers = vec![("Content-Type".to_owned(), kind.to_owned())];
    response.body = body.as_bytes().to_vec();
    Behaviour::Answer(response)
}

fn text(world: &World, sql: &str) -> String {
    world.owner().query_one(sql, &[]).unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

/// With the token in it, which is not where the configuration looks for it.
fn shapes() -> Vec<(u16, &'static str, String)> {
    let bodies = [
        ("application/x-www-form-urlencoded", format!("access_token={GIVEN}&token_type=bearer")),
        ("text/plain", GIVEN.to_owned()),
        ("application/xml", format!("<t>{GIVEN}</t>")),
        ("text/html", format!("<html><body>{GIVEN}</body></html>")),
        ("application/json", json!({"other": {"place": GIVEN}}).to_string()),
        ("application/json", format!("{{\"broken\": \"{GIVEN}")),
    ];
    let all = bodies.into_iter().flat_map(|(kind, body)| {
        [200, 203, 302, 400, 404, 409, 418, 500].map(|status| (status, kind, body.clone()))
    });
    all.collect()
}

#[test]
fn nothing_of_its_answer_is_told_anywhere() {
    let world = world(
        10,
        &["log_statement = 'all'", "log_min_messages = debug1", "log_min_error_statement = debug1"],
    );
    let mut caller = world.caller();
    let pid = pid(&mut caller);
    let look = |what: &str, told: &str| {
        assert!(!told.contains(GIVEN), "{what}: {told}");
        assert!(!told.is_empty(), "{what}");
    };
    for (at, (status, kind, body)) in shapes().into_iter().enumerate() {
        let what = format!("{status} {kind}");
        let location = format!("https://id.acme.example/{GIVEN}/next");
        world.provider.on(TOKEN, move |_| match answer(status, kind, &body) {
            Behaviour::Answer(response) => Behaviour::Answer(response.with_header("Location", &location)),
            other => other,
        });
        world.end_pauses();
        look(&what, &try_enrich(&mut caller, 1).to_string());
        look(&what, &text(&world, "SELECT last_error FROM leadlex.provider_stats"));
        let check = "SELECT leadlex.check_provider('main', '{\"email\": \"a@acme.example\"}')::text";
        let checked = text(&world, check);
        look(&what, &checked);
        assert!(checked.contains(&format!("status {status}")), "{checked}");
        if at % 12 == 0 {
            world.end_pauses();
            let sql = format!("SELECT leadlex.enqueue_rows('crm', '{{{}}}')", contact(2));
            caller.execute(&sql, &[]).unwrap();
            let last = || text(&world, "SELECT pg_catalog.max(last_error) FROM leadlex.job");
            eventually("the job has failed", SOON, || !last().is_empty());
            look(&what, &last());
        }
    }
    assert_eq!(world.provider.count_of(PATH), 0);
    look(&format!("log of {pid}"), &world.cluster.log());
    let dump = world.cluster.command("pg_dump", "app").output().unwrap();
    assert!(dump.status.success());
    look("dump", &String::from_utf8_lossy(&dump.stdout));
}

/// The state of the provider, and how often in a row it has failed.
fn state(world: &World) -> (String, String) {
    (
        text(world, "SELECT state FROM leadlex.provider_stats"),
        text(world, "SELECT failures_in_a_row::text FROM leadlex.provider_stats"),
    )
}

const SLOW_PAUSE: &str = "leadlex.breaker_pause = '60s'";

#[test]
fn a_set_is_over_after_a_few_logins_that_fail() {
    type Way = (&'static str, fn() -> Behaviour);
    let ways: [Way; 7] = [
        ("500", || Behaviour::json(500, json!({}))),
        ("503 page", || answer(503, "text/html", "<html>")),
        ("page", || answer(200, "text/html", "<html>")),
        ("redirect", || Behaviour::redirect(302, "https://id.acme.example/")),
        ("closed", || Behaviour::Close),
        ("reset", || Behaviour::Reset),
        ("hangs", || Behaviour::Never),
    ];
    let world = world(100, &["leadlex.provider_timeout = '400ms'", SLOW_PAUSE]);
    let ids: Vec<uuid::Uuid> = (1..=100).map(contact).collect();
    for (way, behaviour) in ways {
        world.end_pauses();
        world.provider.forget();
        world.provider.on(TOKEN, move |_| behaviour());
        let sql = "SELECT count(*) FROM enrich_contacts($1) WHERE status = 'failed'";
        let failed: i64 = world.caller().query_one(sql, &[&ids]).unwrap().get(0);
        let logins = world.provider.count_of(TOKEN);
        assert_eq!((failed, state(&world)), (100, ("breaker".to_owned(), "5".to_owned())), "{way}");
        assert_eq!((logins, world.provider.count_of(PATH)), (5, 0), "{way}");
    }
}

/// That the login goes well says nothing of the requests after it, so it closes no breaker and shortens no pause.
#[test]
fn a_login_that_goes_well_hides_no_failure_of_what_comes_after_it() {
    let world = world(100, &["leadlex.breaker_pause = '1s'"]);
    // Over at once: each request has a login of its own.
    let good = || Behaviour::json(200, json!({"access_token": "t", "expires_in": 1}));
    world.provider.on(TOKEN, move |_| good());
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})));
    let mut caller = world.caller();
    (1..=5).for_each(|n| drop(try_enrich(&mut caller, n)));
    assert_eq!(state(&world), ("breaker".to_owned(), "5".to_owned()));
    eventually("the pause is over", SOON, || state(&world).0 == "half_open");
    world.provider.forget();
    assert_eq!(try_enrich(&mut caller, 6)["error"]["providers"][0]["reason"], "server_error");
    assert_eq!((world.provider.count_of(TOKEN), world.provider.count_of(PATH)), (1, 1));
    assert_eq!(state(&world).0, "breaker", "one trial is enough");
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    eventually("it is well again", SOON, || try_enrich(&mut caller, 7)["error"].is_null());
    assert_eq!(state(&world), ("ok".to_owned(), "0".to_owned()));
}

#[test]
fn one_contact_alone_opens_no_breaker_and_several_do() {
    let world = world(20, &[SLOW_PAUSE]);
    world.provider.on(TOKEN, |_| Behaviour::json(500, json!({})));
    let mut caller = world.caller();
    (1..=8).for_each(|_| drop(try_enrich(&mut caller, 1)));
    assert_eq!((world.provider.count_of(TOKEN), state(&world).0), (8, "ok".to_owned()));
    (2..=12).for_each(|n| drop(try_enrich(&mut caller, n)));
    assert_eq!((world.provider.count_of(TOKEN), state(&world).0), (9, "breaker".to_owned()));
}

#[test]
fn who_waits_for_a_login_that_fails_gets_the_same_failure() {
    for hangs in [false, true] {
        let world = world(30, &["max_connections = 100", "leadlex.provider_timeout = '2s'", SLOW_PAUSE]);
        world.provider.on(TOKEN, move |_| match hangs {
            true => Behaviour::Never,
            false => Behaviour::json(500, json!({})).after(Duration::from_millis(1_500)),
        });
        let mut sessions: Vec<_> = (1..=30).map(|n| (n, world.caller())).collect();
        let started = Instant::now();
        let told: Vec<Value> = thread::scope(|scope| {
            let calls: Vec<_> =
                sessions.iter_mut().map(|(n, caller)| scope.spawn(move || try_enrich(caller, *n))).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        // One that was late to connect may have to log in by itself.
        let logins = world.provider.count_of(TOKEN);
        assert!((1..=2).contains(&logins), "{logins} logins in {:?}", started.elapsed());
        let reason = if hangs { "timeout" } else { "server_error" };
        for told in told {
            let one = &told["error"]["providers"][0];
            assert_eq!(one["reason"], reason, "{told}");
            assert!(one["message"].as_str().is_some_and(|message| message.starts_with("login: ")), "{told}");
        }
    }
}

//! A login is shared by all sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::SOON;
use super::vendor::{POLL, SUBMIT};
use crate::support::{Behaviour, Provider, Response, eventually, person};
use crate::world::{Beginning, PATH, PHONE, SECRET, World, contact, enrich, sqlstate, try_enrich};

pub const TOKEN: &str = "/token";

/// Gives one token after another; the last one alone is good.
struct Door {
    given: Arc<AtomicUsize>,
}

fn token(number: usize) -> String {
    format!("tok/en+of the day {number}")
}

impl Door {
    fn play(provider: &Provider, expires_in: Option<u64>) -> Door {
        let given = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&given);
        provider.on(TOKEN, move |request| {
            if request.json()["client_secret"] != SECRET {
                return Behaviour::json(401, json!({"error": "invalid_client"}));
            }
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            let body = json!({"access_token": token(number), "expires_in": expires_in});
            Behaviour::json(200, body).after(Duration::from_millis(300))
        });
        let known = Arc::clone(&given);
        provider.on(PATH, move |request| {
            let good = format!("Bearer {}", token(known.load(Ordering::SeqCst)));
            match request.header("authorization") == Some(&good) {
                true => Behaviour::json(200, person()),
                false => Behaviour::json(401, json!({"error": "token expired"})),
            }
        });
        Door { given }
    }

    /// The vendor has withdrawn the token.
    fn withdraw(&self) {
        self.given.fetch_add(1, Ordering::SeqCst);
    }
}

pub fn config(provider: &Provider) -> Value {
    let mut config = provider.config(PATH);
    config["request"]["headers"] = json!({"Authorization": "Bearer {token}"});
    config["login"] = json!({
        "request": {"method": "POST", "url": provider.url(TOKEN), "body": {"client_id": "me", "client_secret": "{secret}"}},
        "take": {"token": "/access_token"},
        "valid_for": {"pointer": "/expires_in"}
    });
    config
}

fn world_with(beginning: &Beginning, expires_in: Option<u64>) -> (World, Door) {
    let world = World::with(beginning);
    let door = Door::play(&world.provider, expires_in);
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config(&world.provider));
    (world, door)
}

fn world(expires_in: Option<u64>) -> (World, Door) {
    world_with(&Beginning::default(), expires_in)
}

#[test]
fn sixty_four_sessions_that_start_at_once_log_in_once() {
    let beginning =
        Beginning { credits: None, contacts: 64, conf: &["max_connections = 100"], ..Beginning::default() };
    let (world, _door) = world_with(&beginning, Some(3_600));
    let mut sessions: Vec<_> = (1..=64).map(|n| (n, world.caller())).collect();
    thread::scope(|scope| {
        for (n, caller) in &mut sessions {
            scope.spawn(move || assert_eq!(enrich(caller, *n).unwrap()["contact"]["phone"], PHONE));
        }
    });
    assert_eq!((world.provider.count_of(TOKEN), world.provider.count_of(PATH)), (1, 64));
    assert_eq!(enrich(&mut world.caller(), 1).unwrap()["replayed"], false);
    assert_eq!(world.provider.count_of(TOKEN), 1, "a new session uses it, too");
}

#[test]
fn a_401_of_a_request_logs_in_again_once() {
    let (world, door) = world(Some(3_600));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    door.withdraw();
    assert_eq!(enrich(&mut caller, 2).unwrap()["contact"]["phone"], PHONE);
    assert_eq!((world.provider.count_of(TOKEN), world.provider.count_of(PATH)), (2, 3));
    world.provider.on(PATH, |_| Behaviour::json(401, json!({"error": "who are you?"})));
    let error = try_enrich(&mut caller, 3)["error"].clone();
    assert_eq!(error["providers"][0]["reason"], "bad_credentials", "{error}");
    assert_eq!((world.provider.count_of(TOKEN), world.provider.count_of(PATH)), (3, 5));
}

#[test]
fn a_set_logs_in_again_too() {
    let (world, door) = world(Some(3_600));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    door.withdraw();
    let ids: Vec<uuid::Uuid> = (2..=9).map(contact).collect();
    let sql = "SELECT count(*) FROM enrich_contacts($1) WHERE status = 'enriched'";
    let enriched: i64 = caller.query_one(sql, &[&ids]).unwrap().get(0);
    assert_eq!((enriched, world.provider.count_of(TOKEN)), (8, 2));
}

#[test]
fn what_it_gave_is_over_a_little_sooner_than_the_vendor_says() {
    let (world, _door) = world(Some(32));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    assert_eq!(world.provider.count_of(TOKEN), 1);
    thread::sleep(Duration::from_millis(2_200));
    enrich(&mut caller, 3).unwrap();
    assert_eq!(world.provider.count_of(TOKEN), 2, "32 s less 30");
}

#[test]
fn another_secret_or_login_logs_in_anew() {
    let (world, _door) = world(None);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    assert_eq!(world.provider.count_of(TOKEN), 1, "it holds until a 401");
    let mut other = config(&world.provider);
    other["login"]["request"]["body"]["client_id"] = json!("you");
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&other]).unwrap();
    enrich(&mut world.caller(), 3).unwrap();
    assert_eq!(world.provider.count_of(TOKEN), 2);
    world.run("SELECT leadlex.alter_provider('main', secret => 'wrong')");
    let error = try_enrich(&mut world.caller(), 4)["error"].clone();
    let failed = &error["providers"][0];
    assert_eq!(failed["reason"], "bad_credentials", "{error}");
    assert!(failed["message"].as_str().unwrap().starts_with("login: "), "{error}");
    assert_eq!(world.provider.count_of(PATH), 3, "nothing is asked without a token");
}

#[test]
fn a_cancelled_login_is_used_and_a_session_that_ends_lets_another_one_log_in() {
    let (world, _door) = world(Some(3_600));
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '100ms'").unwrap();
    assert_eq!(sqlstate(&enrich(&mut caller, 1)), "57014");
    caller.batch_execute("SET statement_timeout = 0").unwrap();
    enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count_of(TOKEN), 1);

    let (world, _door) = self::world(Some(3_600));
    world.provider.on(TOKEN, |_| Behaviour::Never);
    let mut caller = world.caller();
    let backend = crate::world::pid(&mut caller);
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1));
        world.provider.wait_for(1, SOON);
        world.run(&format!("SELECT pg_terminate_backend({backend})"));
        call.join().unwrap().unwrap_err();
    });
    world.wait_until_gone(backend);
    Door::play(&world.provider, Some(3_600));
    let started = std::time::Instant::now();
    enrich(&mut world.caller(), 1).unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn its_values_are_shown_nowhere() {
    let beginning = Beginning {
        conf: &["log_statement = 'all'", "log_min_messages = debug1", "log_min_error_statement = debug1"],
        ..Beginning::default()
    };
    let (world, _door) = world_with(&beginning, Some(3_600));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let checked: Value = world
        .owner()
        .query_one("SELECT leadlex.check_provider('main', '{\"email\": \"jane@acme.example\"}')", &[])
        .unwrap()
        .get(0);
    assert_eq!(checked["outcome"], "match", "{checked}");
    assert_eq!(world.provider.count_of(TOKEN), 1, "it uses the same");
    let echoed = token(1);
    world.provider.on(PATH, move |request| {
        let told = request.header("authorization").unwrap_or_default().to_owned();
        Behaviour::json(418, json!({"error": told, "token": echoed}))
    });
    let failed = try_enrich(&mut caller, 2);
    let told = [checked.to_string(), failed.to_string()].concat();
    assert!(!told.contains("of the day"), "{told}");
    eventually("the receipt is written", SOON, || world.number("SELECT count(*) FROM leadlex.receipt") > 0);
    assert!(!world.cluster.log().contains("of the day"));
    let dump = world.cluster.command("pg_dump", "app").output().unwrap();
    assert!(dump.status.success() && !String::from_utf8_lossy(&dump.stdout).contains("of the day"));
}

#[test]
fn its_address_is_guarded_like_any_other() {
    let (world, _door) = world(Some(3_600));
    // Nor do addresses of made-up people count then.
    world.cluster.set("leadlex.allow_private_addresses", "off");
    world.run("UPDATE crm SET full_name = 'Jane Roe', company_name = 'Acme Corp'");
    let error = try_enrich(&mut world.caller(), 1)["error"].clone();
    assert_eq!(error["providers"][0]["reason"], "address_refused", "{error}");
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn an_estimate_knows_of_a_pause_without_logging_in() {
    let (world, door) = world(None);
    let outcome = || -> String {
        let sql = format!("SELECT outcome FROM leadlex.estimate('crm', ARRAY['{}'])", contact(2));
        world.caller().query_one(&sql, &[]).unwrap().get(0)
    };
    assert_eq!((outcome().as_str(), door.given.load(Ordering::SeqCst)), ("asked", 0));
    world.provider.on(PATH, |_| {
        let limited = Response::json(429, &json!({})).with_header("Retry-After", "600");
        Behaviour::Answer(limited)
    });
    try_enrich(&mut world.caller(), 1);
    assert_eq!((outcome().as_str(), door.given.load(Ordering::SeqCst)), ("skipped", 1));
}

/// A step that names nothing of the login is asked after one that does: a vendor may repeat what it was sent then.
#[test]
fn a_step_that_names_no_value_of_it_shows_none_either() {
    let (world, _door) = world(Some(3_600));
    let mut config = super::vendor::config(&world.provider, json!({}));
    config["login"] = self::config(&world.provider)["login"].clone();
    config["steps"][0]["request"]["headers"] = json!({"Authorization": "Bearer {token}"});
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    world.provider.on(SUBMIT, |_| Behaviour::json(202, json!({"id": "j1"})));
    let failed = format!("job j1 of token {} failed", token(1));
    let error = json!({"error": failed});
    world.provider.on(POLL, move |_| Behaviour::json(400, error.clone()));
    let told = try_enrich(&mut world.caller(), 1);
    assert!(told.to_string().contains("job j1 of token ***"), "{told}");
    // Another provider, so another login.
    let failed = format!("job j1 of token {} failed", token(2));
    let done = json!({"status": "done", "data": {"phone": null, "location": failed}});
    config["steps"][1]["response"]["fields"] = json!({"phone": "/data/phone", "location": "/data/location"});
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    world.provider.on(POLL, move |_| Behaviour::json(200, done.clone()));
    let told = try_enrich(&mut world.caller(), 2);
    assert_eq!(told["error"]["reason"], "no_data", "{told}");
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE location IS NOT NULL"), 0);
}

#[test]
fn nobody_logs_in_for_a_request_that_a_budget_does_not_have() {
    let (world, door) = world(Some(31));
    let price = json!({"currency": "USD", "per_request": 0.01, "per_match": 0.1});
    let alter = "SELECT leadlex.alter_provider('main', config => $1)";
    world.owner().execute(alter, &[&json!({"price": price})]).unwrap();
    world.run("SELECT leadlex.set_budget(NULL, 'total', 0.11)");
    for _ in 0..3 {
        let told = try_enrich(&mut world.caller(), 1);
        let error = &told["error"];
        assert_eq!((&error["reason"], &error["retryable"]), (&json!("budget"), &json!(false)), "{told}");
    }
    assert_eq!((door.given.load(Ordering::SeqCst), world.provider.count()), (0, 0));
    world.run("SELECT leadlex.set_budget(NULL, 'total', 0.12)");
    enrich(&mut world.caller(), 1).unwrap();
}

/// A token that ends before the next poll is bought anew for each.
#[test]
fn logins_do_not_use_up_what_is_kept_for_polls() {
    let (world, _door) = world(Some(31));
    let more = json!({"price": {"currency": "USD", "per_request": 0.01, "per_match": 0.1}, "poll_for_s": 8});
    let mut config = super::vendor::config(&world.provider, more);
    config["login"] = self::config(&world.provider)["login"].clone();
    for step in 0..2 {
        config["steps"][step]["request"]["headers"] = json!({"Authorization": "Bearer {token}"});
    }
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    // Enough for two questions with ten polls each, and for one where each poll takes a login, too.
    world.run("SELECT leadlex.set_budget(NULL, 'total', 0.45)");
    let slow = super::vendor::Slow::new(super::vendor::Ready::After(Duration::from_secs(6)));
    slow.play(&world.provider);
    world.cluster.set("leadlex.total_timeout", "1500ms");
    for n in [1, 2] {
        try_enrich(&mut world.caller(), n);
    }
    assert_eq!(slow.submissions(), 1);
    eventually("what was handed in is fetched", SOON, || {
        try_enrich(&mut world.caller(), 1);
        world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL") == 1
    });
}

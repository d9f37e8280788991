//! What is handed in together behind a login, and across a dump.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::steps::{
    POLL, SUBMIT, Vendor, handed_in, outcomes, polls, ready, take_in, tell, wait_for_tickets, world_of,
};
use super::{check_whose, counts, enrich_all};
use crate::support::http::Request;
use crate::support::{Behaviour, check};
use crate::world::{SECRET, World};

const TOKEN: &str = "/token";

fn with_login(world: &World) {
    let mut owner = world.owner();
    let sql = "SELECT config FROM leadlex.provider WHERE name = 'main'";
    let mut config: Value = owner.query_one(sql, &[]).unwrap().get(0);
    let bearer = json!({"Authorization": "Bearer {token}"});
    config["login"] = json!({
        "request": {"method": "POST", "url": world.provider.url(TOKEN), "body": {"client_secret": "{secret}"}},
        "take": {"token": "/access_token"}
    });
    config["request"]["headers"] = bearer.clone();
    for step in config["bulk"]["steps"].as_array_mut().unwrap() {
        step["request"]["headers"] = bearer.clone();
    }
    owner.batch_execute("SELECT leadlex.drop_provider('main')").unwrap();
    world.add_provider("main", &config);
}

/// Gives one token after another; the last alone is good.
fn guard(world: &World, vendor: &Vendor) -> Arc<AtomicUsize> {
    let given = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&given);
    world.provider.on(TOKEN, move |request| {
        assert_eq!(request.json()["client_secret"], SECRET);
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        Behaviour::json(200, json!({"access_token": format!("token{number}")}))
    });
    for (path, answer) in [(SUBMIT, take_in as fn(&Vendor, &Request) -> Behaviour), (POLL, tell)] {
        let (known, own) = (Arc::clone(&given), Arc::clone(vendor));
        world.provider.on(path, move |request| {
            let good = format!("Bearer token{}", known.load(Ordering::SeqCst));
            match request.header("authorization") == Some(&good) {
                true => answer(&own, request),
                false => Behaviour::json(401, json!({"error": "token expired"})),
            }
        });
    }
    given
}

#[test]
fn one_login_serves_all_steps_and_a_token_that_was_withdrawn_is_got_anew_once() {
    let (world, vendor) = world_of(30, 10, false);
    with_login(&world);
    let given = guard(&world, &vendor);
    ready(&vendor);
    let mut caller = world.caller();
    let logins = || world.provider.count_of(TOKEN);
    let as_told = counts([("enriched", 8), ("no_match", 1), ("provider_unavailable", 1)]);
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=10)), as_told);
    assert_eq!((logins(), handed_in(&vendor), polls(&world)), (1, vec![10], 1));
    // Before it is handed in.
    given.fetch_add(1, Ordering::SeqCst);
    world.end_pauses();
    assert_eq!(outcomes(&enrich_all(&mut caller, 11..=20)), as_told);
    assert_eq!((logins(), handed_in(&vendor), polls(&world)), (2, vec![10, 10], 2));
    // Between that and the look for the answer.
    world.end_pauses();
    world.cluster.set("leadlex.total_timeout", "500ms");
    assert_eq!(outcomes(&enrich_all(&mut caller, 21..=30)), counts([("pending", 10)]));
    given.fetch_add(1, Ordering::SeqCst);
    world.cluster.set("leadlex.total_timeout", "15s");
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(outcomes(&enrich_all(&mut caller, 21..=30)), as_told);
    assert_eq!((logins(), handed_in(&vendor), polls(&world)), (3, vec![10, 10, 10], 4));
    assert_eq!(check_whose(&world), 24);
    world.check_credits_add_up();
}

#[test]
fn a_dump_keeps_what_was_handed_in_and_no_token() {
    for by_id in [false, true] {
        let (world, vendor) = world_of(8, 100, by_id);
        with_login(&world);
        guard(&world, &vendor);
        world.cluster.set("leadlex.total_timeout", "500ms");
        assert_eq!(outcomes(&enrich_all(&mut world.caller(), 1..=8)), counts([("pending", 8)]));
        wait_for_tickets(&world, 8);
        let dump = check(&mut world.cluster.command("pg_dump", "app"), "pg_dump").stdout;
        let text = String::from_utf8_lossy(&dump).into_owned();
        assert!(text.contains("COPY leadlex.ticket ") && !text.contains("token1"));
        let file = world.cluster.dir().join("app.sql");
        std::fs::write(&file, dump).unwrap();
        world.owner().batch_execute("CREATE DATABASE restored").unwrap();
        let mut psql = world.cluster.command("psql", "restored");
        check(psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file), "psql");
        let mut restored = world.cluster.connect("restored");
        restored.execute("SELECT leadlex.alter_provider('main', secret => $1)", &[&SECRET]).unwrap();
        ready(&vendor);
        thread::sleep(Duration::from_millis(1_100));
        let mut caller = world.cluster.connect_as("restored", "caller");
        let rows = enrich_all(&mut caller, [8, 3, 1, 2, 4, 5, 6, 7]);
        assert_eq!(outcomes(&rows), counts([("enriched", 8)]), "by id: {by_id}");
        assert_eq!((handed_in(&vendor), polls(&world)), (vec![8], 1));
        let wrong = "SELECT count(*) FROM crm WHERE phone IS DISTINCT FROM '+1201555' || lpad(regexp_replace(email, '[^0-9]', '', 'g'), 4, '0')";
        assert_eq!(restored.query_one(wrong, &[]).unwrap().get::<_, i64>(0), 0);
    }
}

#[test]
fn what_a_set_would_send_is_shown_with_the_login_hidden() {
    let (world, vendor) = world_of(1, 10, false);
    with_login(&world);
    guard(&world, &vendor);
    let shown = || {
        let bulk: Value = world
            .owner()
            .query_one("SELECT leadlex.check_provider('main', '{\"email\": \"person1@acme.example\"}'::jsonb) -> 'bulk'", &[])
            .unwrap()
            .get(0);
        bulk
    };
    let bulk = shown();
    assert_eq!(bulk["request"]["url"], world.provider.url(SUBMIT), "{bulk}");
    assert_eq!(bulk["request"]["headers"]["Authorization"], "Bearer ***", "{bulk}");
    // Nothing is known of a login that failed.
    world.provider.on(TOKEN, |_| Behaviour::json(401, json!({})));
    world.run("SELECT leadlex.alter_provider('main', '{}', secret => 'another')");
    let bulk = shown();
    assert_eq!(
        (&bulk["request"], &bulk["message"]),
        (&json!(null), &json!("it names what the login gives, and that is not known"))
    );
}

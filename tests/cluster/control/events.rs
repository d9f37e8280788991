//! Events: a row, a line of the log and a notification each, told by the worker.

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::{Listener, PROMPT, count, detail};
use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, PATH, World, contact, only_phone, try_enrich};

fn answers(world: &World, status: u16) {
    world.provider.on(PATH, move |_| Behaviour::json(status, only_phone("+15550100100")));
}

/// With a worker that comes by itself only now and then: an event calls it.
fn world(credits: Option<i64>, conf: &[&str]) -> World {
    let conf: Vec<&str> = ["leadlex.worker_naptime = 30"].iter().chain(conf).copied().collect();
    World::with(&Beginning { credits, conf: &conf, ..Beginning::default() })
}

#[test]
fn a_pause_and_its_end_are_told_of() {
    let world = world(Some(10), &[]);
    let mut listener = Listener::new(&world);
    let mark = world.cluster.log_mark();
    answers(&world, 402);
    let mut caller = world.caller();
    assert_eq!(try_enrich(&mut caller, 1)["error"]["code"], "provider_unavailable");
    let told = listener.next("provider_paused", PROMPT);
    assert_eq!(told.as_object().unwrap().len(), 2, "nothing more: {told}");
    let row = world
        .owner()
        .query_one("SELECT event, workspace_id, provider, detail, id::text FROM leadlex.event", &[])
        .unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, Option<Uuid>>(1)), ("provider_paused".into(), None));
    assert_eq!(row.get::<_, Option<String>>(2).as_deref(), Some("main"));
    assert_eq!(row.get::<_, serde_json::Value>(3), json!({"cause": "quota"}));
    assert_eq!(told["id"], row.get::<_, String>(4));
    answers(&world, 200);
    eventually("it is asked again", Duration::from_secs(20), || {
        try_enrich(&mut caller, 1)["fields_updated"] == json!(["phone"])
    });
    listener.next("provider_back", PROMPT);
    let log = world.cluster.logged_since(mark, "event: provider_back");
    let line =
        |kind: &str| log.lines().filter(|l| l.contains(&format!("leadlex_enrich event: {kind}"))).count();
    assert_eq!((line("provider_paused"), line("provider_back")), (1, 1), "{log}");
    assert!(log.contains("provider=main detail={\"cause\":\"quota\"}"), "{log}");
}

/// A vendor's rate limit is part of its day.
#[test]
fn a_provider_that_asks_for_a_second_is_no_event() {
    let world = world(Some(10), &[]);
    let mut listener = Listener::new(&world);
    answers(&world, 429);
    try_enrich(&mut world.caller(), 1);
    assert_eq!(listener.within(PROMPT), Vec::<serde_json::Value>::new());
}

#[test]
fn jobs_that_are_given_up_are_told_of_once_a_minute() {
    let world = world(Some(10), &["leadlex.job_max_attempts = 1", "leadlex.breaker_failures = 0"]);
    let mut listener = Listener::new(&world);
    answers(&world, 400);
    let enqueue = |n: i32| {
        world.caller().execute("SELECT leadlex.enqueue(ARRAY[$1::uuid])", &[&contact(n)]).unwrap();
        let dead = format!("SELECT (count(*) = {n})::int::int8 FROM leadlex.job WHERE state = 'dead'");
        eventually("it is given up", Duration::from_secs(20), || world.number(&dead) == 1);
    };
    enqueue(1);
    listener.next("jobs_dead", PROMPT);
    assert_eq!(detail(&world, "jobs_dead"), json!({"jobs": 1}));
    let workspace: Option<Uuid> =
        world.owner().query_one("SELECT workspace_id FROM leadlex.event", &[]).unwrap().get(0);
    assert_eq!(workspace, Some(world.workspace));
    enqueue(2);
    enqueue(3);
    assert!(listener.within(PROMPT).is_empty());
    // What is held back is told together when a minute has passed.
    assert_eq!(count(&world, "jobs_dead"), 1);
}

#[test]
fn the_last_thousand_are_kept() {
    let world = world(Some(10), &[]);
    world.run(
        "INSERT INTO leadlex.event (id, at, event, detail)
         SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, now() - interval '1 day', 'resumed', '{}'
         FROM generate_series(1, 1500) AS n",
    );
    answers(&world, 402);
    try_enrich(&mut world.caller(), 1);
    eventually("it is told of", PROMPT, || count(&world, "provider_paused") == 1);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.event"), 1_000);
    assert_eq!(
        world.number("SELECT count(*) FROM leadlex.event WHERE id < '00000000-0000-7000-8000-000000000502'"),
        0
    );
}

#[test]
fn events_are_of_ones_own_workspaces() {
    let world = world(Some(10), &[]);
    world.run(
        "CREATE ROLE neighbour LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE stranger LOGIN;
         SELECT leadlex.grant_access('neighbour', leadlex.create_workspace('neighbours'))",
    );
    world
        .owner()
        .execute(
            "INSERT INTO leadlex.event (id, event, workspace_id, detail)
             VALUES (gen_random_uuid(), 'jobs_dead', $1, '{}'), (gen_random_uuid(), 'stopped', NULL, '{}')",
            &[&world.workspace],
        )
        .unwrap();
    let seen = |role: &str| {
        let mut client = world.cluster.connect_as("app", role);
        crate::world::number(&mut client, "SELECT count(*) FROM leadlex.event")
    };
    let counts = ["caller", "neighbour", "stranger", "monitor", "postgres"].map(seen);
    assert_eq!(counts, [1, 0, 0, 2, 2]);
    for sql in [
        "DELETE FROM leadlex.event",
        "INSERT INTO leadlex.event (id, event, detail) VALUES (gen_random_uuid(), 'stopped', '{}')",
    ] {
        let denied = world.caller().execute(sql, &[]);
        assert_eq!(crate::world::sqlstate(&denied), "42501", "{sql}");
    }
}

/// An answer comes after its call was cancelled: the event does so, too.
#[test]
fn an_event_of_a_call_that_was_cancelled_is_told() {
    let world = world(Some(10), &[]);
    let mut listener = Listener::new(&world);
    world.provider.on(PATH, |_| Behaviour::json(402, json!({})).after(Duration::from_secs(2)));
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '500ms'").unwrap();
    let began = Instant::now();
    assert!(crate::world::enrich(&mut caller, 1).is_err());
    assert!(began.elapsed() < Duration::from_secs(1));
    listener.next("provider_paused", Duration::from_secs(2) + PROMPT);
}

#[test]
fn a_vendors_balance_is_shown_and_told_of_when_it_is_low() {
    let world = world(Some(10), &[]);
    let mut config = world.provider.config(PATH);
    config["response"]["balance"] = json!({"header": "X-Credits-Left"});
    config["low_balance"] = json!(100);
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    let leaves = |left: &'static str| {
        world.provider.on(PATH, move |request| {
            let phone = only_phone(&format!("+1202555 {}", request.param("email").unwrap_or_default()));
            Behaviour::Answer(crate::support::Response::json(200, &phone).with_header("X-Credits-Left", left))
        });
    };
    let mut listener = Listener::new(&world);
    let shown = || {
        world
            .owner()
            .query_opt("SELECT balance FROM leadlex.vendor_balance WHERE provider = 'main' AND at > now() - interval '1 minute'", &[])
            .unwrap()
            .map(|row| row.get::<_, f64>(0))
    };
    let mut caller = world.caller();
    leaves("100");
    crate::world::enrich(&mut caller, 1).unwrap();
    eventually("it is shown", Duration::from_secs(10), || shown() == Some(100.0));
    assert!(listener.within(Duration::from_millis(500)).is_empty());
    leaves("99.5");
    crate::world::enrich(&mut caller, 2).unwrap();
    listener.next("vendor_balance_low", PROMPT);
    assert_eq!(detail(&world, "vendor_balance_low"), json!({"balance": 99.5}));
    eventually("it is shown", Duration::from_secs(10), || shown() == Some(99.5));
    // Not again before it was more, also after a restart.
    world.cluster.restart(crate::support::Stop::Fast);
    world.cluster.wait_until_ready();
    world.run("UPDATE leadlex.event SET at = at - interval '1 minute'");
    let mut listener = Listener::new(&world);
    crate::world::enrich(&mut world.caller(), 3).unwrap();
    assert!(listener.within(PROMPT).is_empty());
    assert_eq!(crate::world::number(&mut world.caller(), "SELECT count(*) FROM leadlex.vendor_balance"), 0);
    for wrong in [json!({"low_balance": 5}), json!({"low_balance": 0, "response": config["response"]})] {
        let mut bad = world.provider.config(PATH);
        bad.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let added = world.owner().execute("SELECT leadlex.add_provider('bad', config => $1)", &[&bad]);
        assert_eq!(crate::world::sqlstate(&added), "22023", "{bad}");
    }
}

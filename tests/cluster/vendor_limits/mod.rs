//! Limits of a vendor: requests at once, a second and a minute, for all sessions and workers together.

mod places;
mod single;
mod waiting;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::{Behaviour, Response};
use crate::world::{Beginning, PATH, World, contact, number, only_phone};

fn world(contacts: i32, conf: &[&str]) -> World {
    World::with(&Beginning { contacts, credits: None, conf, ..Beginning::default() })
}

fn configure(world: &World, config: Value) {
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
}

fn known(request: &Request) -> Behaviour {
    Behaviour::json(200, only_phone(&format!("+1202555 {}", request.param("email").unwrap_or("nobody"))))
}

fn too_many() -> Behaviour {
    Behaviour::json(429, json!({}))
}

/// The vendor takes so many at once, each for so long; others are told 429. The most that it had at once.
fn takes_at_once(world: &World, most: usize, each: Duration) -> Arc<AtomicUsize> {
    let (now, peak) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&peak);
    world.provider.on(PATH, move |request| {
        let under_way = now.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(under_way, Ordering::SeqCst);
        if under_way > most {
            now.fetch_sub(1, Ordering::SeqCst);
            return too_many();
        }
        std::thread::sleep(each);
        now.fetch_sub(1, Ordering::SeqCst);
        known(request)
    });
    peak
}

/// The vendor takes so many within any second; others are told 429.
fn takes_a_second(world: &World, most: usize) {
    let taken = Mutex::new(VecDeque::new());
    world.provider.on(PATH, move |request| {
        let mut taken = taken.lock().unwrap();
        while taken.front().is_some_and(|at: &Instant| at.elapsed() >= Duration::from_secs(1)) {
            taken.pop_front();
        }
        if taken.len() >= most {
            return too_many();
        }
        taken.push_back(Instant::now());
        known(request)
    });
}

/// How many of these contacts one set has enriched.
fn enriched(client: &mut Client, numbers: impl Iterator<Item = i32>) -> i64 {
    let ids: Vec<_> = numbers.map(contact).collect();
    let sql = "SELECT count(*) FILTER (WHERE status = 'enriched'), jsonb_agg(DISTINCT error_message) FILTER (WHERE status <> 'enriched')::text FROM enrich_contacts($1)";
    let row = client.query_one(sql, &[&ids]).unwrap();
    if let Some(others) = row.get::<_, Option<String>>(1) {
        eprintln!("not enriched: {others}");
    }
    row.get(0)
}

fn stats(world: &World) -> Value {
    let sql = "SELECT to_jsonb(s) FROM leadlex.provider_stats AS s WHERE s.name = 'main'";
    world.owner().query_one(sql, &[]).unwrap().get(0)
}

/// A second vendor, under a path of its own.
fn second(world: &World) {
    world.add_provider("second", &world.provider.config("/second"));
    world.provider.on("/second", known);
}

#[test]
fn of_a_vendor_that_takes_five_at_once_a_set_gets_all() {
    let world = world(200, &[]);
    configure(&world, json!({"max_concurrent": 5}));
    let peak = takes_at_once(&world, 5, Duration::from_millis(20));
    assert_eq!(enriched(&mut world.caller(), 1..=200), 200);
    assert_eq!((world.provider.count(), peak.load(Ordering::SeqCst)), (200, 5), "and all five are used");
    assert_eq!(stats(&world)["failures"], 0, "who waits has not failed");
}

#[test]
fn two_sessions_share_what_a_vendor_takes_at_once() {
    let world = world(120, &["leadlex.max_parallel_requests = 5"]);
    configure(&world, json!({"max_concurrent": 5}));
    let peak = takes_at_once(&world, 5, Duration::from_millis(20));
    std::thread::scope(|scope| {
        let world = &world;
        let halves = [1..=60, 61..=120];
        let sets = halves.map(|half| scope.spawn(move || enriched(&mut world.caller(), half)));
        assert_eq!(sets.map(|set| set.join().unwrap()), [60, 60]);
    });
    assert_eq!(peak.load(Ordering::SeqCst), 5);
}

#[test]
fn of_a_vendor_that_takes_ten_a_second_a_set_gets_all() {
    let world = world(100, &[]);
    configure(&world, json!({"max_requests_per_second": 10}));
    takes_a_second(&world, 10);
    let begun = Instant::now();
    assert_eq!(enriched(&mut world.caller(), 1..=100), 100);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(world.provider.count(), 100);
}

#[test]
fn a_minutes_limit_is_let_out_evenly() {
    let world = world(100, &[]);
    configure(&world, json!({"max_requests_per_minute": 600}));
    takes_a_second(&world, 10);
    assert_eq!(enriched(&mut world.caller(), 1..=100), 100);
    assert_eq!(world.provider.count(), 100, "none was told that there are too many");
}

#[test]
fn the_queue_waits_and_counts_no_attempt() {
    let world = world(80, &["leadlex.job_max_attempts = 1", "leadlex.max_job_workers = 2"]);
    configure(&world, json!({"max_concurrent": 3, "max_requests_per_second": 20}));
    let peak = takes_at_once(&world, 3, Duration::from_millis(20));
    let ids: Vec<_> = (1..=80).map(contact).collect();
    // Of two roles: two workers.
    world.run("CREATE ROLE other LOGIN; GRANT SELECT, UPDATE ON crm TO other");
    world.owner().execute("SELECT leadlex.grant_access('other', $1)", &[&world.workspace]).unwrap();
    for (role, ids) in [("caller", &ids[..40]), ("other", &ids[40..])] {
        world.cluster.connect_as("app", role).execute("SELECT leadlex.enqueue($1)", &[&ids]).unwrap();
    }
    crate::support::eventually("all are done", Duration::from_secs(60), || {
        world.number("SELECT count(*) FROM leadlex.job WHERE outcome = 'enriched'") == 80
    });
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job"), 1);
    assert_eq!(peak.load(Ordering::SeqCst), 3);
    assert_eq!(
        (world.provider.count(), &stats(&world)["failures"]),
        (80, &json!(0)),
        "it waits within a run"
    );
}

#[test]
fn a_limit_that_was_never_given_delays_nobody_and_one_that_is_changed_counts_at_once() {
    let world = world(60, &[]);
    let peak = takes_at_once(&world, 60, Duration::from_millis(300));
    assert_eq!(enriched(&mut world.caller(), 1..=30), 30);
    assert!(peak.load(Ordering::SeqCst) > 5);
    configure(&world, json!({"max_concurrent": 2}));
    peak.store(0, Ordering::SeqCst);
    assert_eq!(enriched(&mut world.caller(), 31..=40), 10);
    assert_eq!(peak.load(Ordering::SeqCst), 2);
    configure(&world, json!({"max_concurrent": null}));
    assert_eq!(enriched(&mut world.caller(), 41..=60), 20);
    assert!(peak.load(Ordering::SeqCst) > 5);
}

fn retry_after(seconds: u32) -> Behaviour {
    Behaviour::Answer(Response::json(429, &json!({})).with_header("Retry-After", &seconds.to_string()))
}

/// Requests of the vendor that are under way, as it sees them.
fn under_way(world: &World) -> usize {
    world.provider.in_flight()
}

fn waits(world: &World, pid: i32) -> bool {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active' AND wait_event_type = 'Extension'"
    );
    number(&mut world.owner(), &sql) == 1
}

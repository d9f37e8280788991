//! The queue: what is queued is done after the commit, by a worker that is the role it belongs to.

mod basics;
mod clones;
mod crashes;
mod databases;
mod failures;
mod frozen;
mod growing;
mod homes;
mod keeping;
mod limits;
mod passed_over;
mod repeats;
mod rights;

use std::time::{Duration, Instant};

use postgres::{Client, GenericClient};

use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, PATH, World, contact, number, only_phone};

/// Long enough for a slow machine.
const SOON: Duration = Duration::from_secs(30);

/// A world whose jobs are tried again quickly, and whose provider is asked however often it fails.
fn world(beginning: &Beginning) -> World {
    let mut conf = vec!["leadlex.job_retry_base = '200ms'", "leadlex.breaker_failures = 0"];
    conf.extend(beginning.conf);
    let world = World::with(&Beginning { conf: &conf, ..*beginning });
    answers(&world);
    world
}

/// The provider knows a telephone number of everybody, each another.
fn answers(world: &World) {
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or("nobody");
        Behaviour::json(200, only_phone(&format!("+1202555 {email}")))
    });
}

/// The same, but for one contact whose request is never answered.
fn hangs_for(world: &World, n: i32) {
    let hung = format!("person{n}@acme.example");
    world.provider.on(PATH, move |request| match request.param("email") {
        Some(email) if email == hung => Behaviour::Never,
        email => Behaviour::json(200, only_phone(&format!("+1202555 {}", email.unwrap_or("nobody")))),
    });
}

fn enqueue(client: &mut impl GenericClient, numbers: impl Iterator<Item = i32>) -> i64 {
    let ids: Vec<_> = numbers.map(contact).collect();
    client.query_one("SELECT leadlex.enqueue($1)", &[&ids]).unwrap().get(0)
}

fn wait_for(world: &World, state: &str, count: i64) {
    wait_in(&mut world.owner(), state, count);
}

/// Waits until so many jobs are in a state.
fn wait_in(owner: &mut Client, state: &str, count: i64) {
    let sql = format!("SELECT count(*) FROM leadlex.job WHERE state = '{state}'");
    let begun = Instant::now();
    while number(owner, &sql) != count {
        if begun.elapsed() > SOON {
            let rows = "SELECT coalesce(jsonb_agg(j), '[]')::text FROM
                (SELECT state, attempts, last_error, next_attempt_at, count(*) FROM leadlex.job GROUP BY 1, 2, 3, 4) AS j";
            let jobs: String = owner.query_one(rows, &[]).unwrap().get(0);
            let sql =
                "SELECT jsonb_agg(jsonb_strip_nulls(to_jsonb(s)))::text FROM leadlex.worker_status AS s";
            let workers: String = owner.query_one(sql, &[]).unwrap().get(0);
            panic!("not {count} jobs are {state}: {jobs}\n{workers}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a worker is in the middle of a set, and waits for the provider; its pid.
fn wait_for_worker(world: &World, requests: usize) -> i32 {
    world.provider.wait_for(requests, SOON);
    let mut client = world.cluster.connect("postgres");
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'leadlex_enrich job worker' AND query LIKE '%enriching%'";
    let mut found = None;
    eventually("a worker is at it", SOON, || {
        found = client.query_opt(sql, &[]).unwrap().map(|row| row.get(0));
        found.is_some()
    });
    found.unwrap()
}

fn filled(world: &World) -> i64 {
    world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL")
}

/// What the only group of jobs in a state says went wrong.
fn last_error(world: &World, state: &str) -> String {
    let sql =
        "SELECT string_agg(DISTINCT coalesce(last_error, 'none'), '; ') FROM leadlex.job WHERE state = $1";
    world.owner().query_one(sql, &[&state]).unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

/// Jobs are queued, and not begun before [`resume`].
fn pause(world: &World) {
    world.run("SELECT leadlex.pause_queue()");
}

fn resume(world: &World) {
    world.run("SELECT leadlex.resume_queue()");
}

/// Each in a transaction and a set of its own, and none begun before the last is there.
fn enqueue_one_by_one(world: &World, numbers: impl Iterator<Item = i32>) {
    pause(world);
    let mut caller = world.caller();
    numbers.for_each(|n| {
        enqueue(&mut caller, n..=n);
    });
    resume(world);
}

/// How often the provider was asked about the n-th contact.
fn asked_about(world: &World, n: i32) -> usize {
    let email = format!("person{n}@acme.example");
    world.provider.requests().iter().filter(|r| r.param("email") == Some(&email)).count()
}

/// Jobs that are queued in a database that is not paused, and that no worker takes before somebody wakes one.
fn enqueue_unseen(world: &World, numbers: impl Iterator<Item = i32>) {
    pause(world);
    enqueue(&mut world.caller(), numbers);
    let mut owner = world.owner();
    eventually("a worker has seen that it is paused", SOON, || {
        let sql = "SELECT count(*) FROM leadlex.worker_status WHERE process = 'job worker' AND state = 'paused' AND pid IS NULL";
        number(&mut owner, sql) == 1
    });
    owner.batch_execute("DELETE FROM leadlex.queue_pause").unwrap();
}

/// kill -9 of a process of the server, and the recovery after it.
fn crash(world: &World, pid: i32) {
    let mut witness = world.cluster.connect("postgres");
    world.cluster.kill9(pid);
    eventually("the crash is noticed", SOON, || witness.is_valid(Duration::from_secs(1)).is_err());
    world.cluster.wait_until_ready();
}

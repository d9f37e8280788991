//! A provider's refusal to tell anything about somebody ends on the list, whatever happens before it is written, and counts
//! until then.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use crate::support::{Behaviour, Stop, eventually, person};
use crate::world::{Beginning, PATH, PHONE, World, contact, number, try_enrich};

fn world(conf: &[&str]) -> World {
    let world = World::with(&Beginning { contacts: 20, conf, ..Beginning::default() });
    world.provider.always(|_| Behaviour::json(451, json!({})));
    world
}

fn suppressed(result: &Value) -> bool {
    result["error"]["code"] == "no_match" && result["error"]["reason"] == "suppressed"
}

/// Nobody can write the list until this ends; it can be read.
fn locked(world: &World, sql: &str) -> Client {
    let mut lock = world.owner();
    lock.batch_execute(&format!("BEGIN; {sql}")).unwrap();
    lock
}

/// No worker can start.
const NO_WORKER: &str = "max_worker_processes = 1";

/// So long a call waits for its refusal to be written.
const PATIENCE_OF_REFUSAL: Duration = Duration::from_secs(1);

const WHOLE_LIST: &str = "LOCK TABLE leadlex.suppression IN SHARE MODE";

fn listed(world: &World, rows: i64) {
    eventually("the refusals are on the list", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.suppression") == rows
    });
}

/// Another workspace with the same people in its own table. The first and the second contact are one person in both.
fn with_rival(world: &World) -> Client {
    world.run(
        "UPDATE crm SET email = 'PERSON1@acme.example' WHERE full_name = 'Person 2';
         CREATE ROLE rival LOGIN;
         CREATE TABLE rivals AS SELECT * FROM crm;
         ALTER TABLE rivals ADD PRIMARY KEY (id);
         GRANT SELECT, UPDATE ON rivals TO rival;
         SELECT leadlex.create_workspace('rival', NULL, 'unmetered');
         SELECT leadlex.grant_access('rival', id), leadlex.bind_contacts('rivals', workspace_id => id)
         FROM leadlex.workspace WHERE name = 'rival'",
    );
    world.cluster.connect_as("app", "rival")
}

fn add_own_provider(world: &World, workspace: &str) {
    let config = world.provider.config(&format!("/{workspace}"));
    let sql = "SELECT leadlex.add_provider(name || '_only', config => $1, secret => 'x', priority => 1, workspace_id => id)
               FROM leadlex.workspace WHERE name = $2";
    world.owner().execute(sql, &[&config, &workspace]).unwrap();
}

fn rival_asks(rival: &mut Client, n: i32) -> Value {
    rival.query_one("SELECT try_enrich_row('rivals', $1::uuid)", &[&contact(n)]).unwrap().get(0)
}

#[test]
fn refusals_of_two_workspaces_about_one_person_both_count_and_are_both_written() {
    let world = world(&[]);
    let mut rival = with_rival(&world);
    world.run("SELECT leadlex.drop_provider('main')");
    add_own_provider(&world, "acme");
    add_own_provider(&world, "rival");
    let mut caller = world.caller();
    let mut lock = locked(&world, WHOLE_LIST);
    for n in [1, 2, 1] {
        assert!(suppressed(&try_enrich(&mut caller, n)));
        assert!(suppressed(&rival_asks(&mut rival, n)));
    }
    assert_eq!(world.provider.count(), 2, "each workspace has asked once");
    lock.batch_execute("ROLLBACK").unwrap();
    listed(&world, 2);
    assert_eq!(world.number("SELECT count(DISTINCT workspace_id) FROM leadlex.suppression"), 2);
}

#[test]
fn a_refusal_for_one_workspace_does_not_replace_one_for_all() {
    let world = world(&[]);
    let mut rival = with_rival(&world);
    add_own_provider(&world, "rival");
    world.provider.on(PATH, |_| Behaviour::json(451, json!({})).after(Duration::from_millis(300)));
    world.provider.on("/rival", |_| Behaviour::json(451, json!({})).after(Duration::from_millis(1_200)));
    let mut caller = world.caller();
    let mut lock = locked(&world, WHOLE_LIST);
    thread::scope(|scope| {
        scope.spawn(|| assert!(suppressed(&rival_asks(&mut rival, 1))));
        world.provider.wait_for(1, Duration::from_secs(10));
        assert!(suppressed(&try_enrich(&mut caller, 1)));
    });
    assert_eq!(world.provider.count(), 2);
    assert!(suppressed(&try_enrich(&mut caller, 2)));
    assert_eq!(world.provider.count(), 2, "asked again although refused for everybody");
    lock.batch_execute("ROLLBACK").unwrap();
    listed(&world, 2);
}

#[test]
fn a_refusal_that_is_held_up_holds_up_no_other_and_is_the_only_one_that_a_crash_takes() {
    let world = world(&[]);
    let mut open = locked(&world, "SELECT leadlex.suppress('person1@acme.example')");
    let mut caller = world.caller();
    let ids: Vec<_> = (1..=8).map(contact).collect();
    let sql = "SELECT count(*) FROM enrich_contacts($1) WHERE status = 'no_match'";
    let count: i64 = caller.query_one(sql, &[&ids]).unwrap().get(0);
    assert_eq!(count, 8);
    listed(&world, 7);
    // What comes later does not wait either.
    assert!(suppressed(&try_enrich(&mut caller, 9)));
    listed(&world, 8);
    assert!(suppressed(&try_enrich(&mut caller, 1)), "it counts where it is");
    assert_eq!(world.provider.count(), 9);
    // The worker looks at it now and then: it does not wait for it all the time.
    let waits = (0..200).filter(|_| {
        thread::sleep(Duration::from_millis(10));
        number(&mut open, "SELECT count(*) FROM pg_locks WHERE NOT granted") > 0
    });
    let waits = waits.count();
    assert!(waits < 60, "in {waits} of 200 looks");
    world.cluster.restart(Stop::Immediate);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.suppression"), 8);
    let mut caller = world.caller();
    for n in 2..=9 {
        assert!(suppressed(&try_enrich(&mut caller, n)));
    }
    assert_eq!(world.provider.count(), 9);
}

#[test]
fn a_refusal_that_was_held_up_is_written_soon_after() {
    let world = world(&[]);
    let mut caller = world.caller();
    world.run("SELECT leadlex.suppress('person1@acme.example', until => clock_timestamp() + interval '3 s')");
    // A row that ends, and that somebody has locked: nobody can make it last, nor remove it.
    let mut lock = locked(&world, "SELECT FROM leadlex.suppression FOR UPDATE");
    world.run("UPDATE crm SET email = 'person2@acme.example' WHERE full_name = 'Person 1'");
    eventually("its time is over", Duration::from_secs(10), || {
        world.run("UPDATE crm SET email = 'person1@acme.example' WHERE full_name = 'Person 1'");
        thread::sleep(Duration::from_millis(500));
        try_enrich(&mut world.caller(), 1);
        world.provider.count() == 1
    });
    assert!(suppressed(&try_enrich(&mut caller, 3)));
    let lasting = "SELECT count(*) FROM leadlex.suppression WHERE until IS NULL";
    eventually("the other is written", Duration::from_secs(10), || world.number(lasting) == 1);
    lock.batch_execute("ROLLBACK").unwrap();
    eventually("and this one", Duration::from_secs(10), || world.number(lasting) == 2);
    assert!(suppressed(&try_enrich(&mut caller, 1)));
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn a_refusal_that_is_held_up_is_written_when_the_server_shuts_down() {
    let world = world(&[]);
    let _open = locked(&world, "SELECT leadlex.suppress('person1@acme.example')");
    assert!(suppressed(&try_enrich(&mut world.caller(), 1)));
    assert!(suppressed(&try_enrich(&mut world.caller(), 2)));
    listed(&world, 1);
    world.cluster.restart(Stop::Fast);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.suppression"), 2);
}

#[test]
fn answers_that_cannot_be_written_hold_up_no_refusal() {
    let world = world(&[]);
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person1@acme.example") => Behaviour::json(200, person()),
        _ => Behaviour::json(451, json!({})),
    });
    let mut lock = locked(&world, "LOCK TABLE leadlex.receipt IN SHARE MODE");
    let mut caller = world.caller();
    for round in 1..=3 {
        assert_eq!(try_enrich(&mut caller, 1)["contact"]["phone"], PHONE);
        assert!(suppressed(&try_enrich(&mut caller, 2)));
        listed(&world, 1);
        // What is taken off the list stays off it: nothing waits to come after.
        let sql = "SELECT leadlex.unsuppress('person2@acme.example')";
        assert!(world.owner().query_one(sql, &[]).unwrap().get::<_, bool>(0), "round {round}");
        thread::sleep(Duration::from_millis(300));
        assert_eq!(world.number("SELECT count(*) FROM leadlex.suppression"), 0);
    }
    lock.batch_execute("ROLLBACK").unwrap();
    thread::sleep(Duration::from_millis(700));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.suppression"), 0);
}

/// Statuses of a set of contacts: how many were refused, and how many were not asked about.
fn set(caller: &mut Client, from: i32, to: i32) -> (i64, i64) {
    let ids: Vec<_> = (from..=to).map(contact).collect();
    let sql = "SELECT count(*) FILTER (WHERE error_code = 'no_match'),
                      count(*) FILTER (WHERE error_code = 'provider_unavailable')
               FROM enrich_contacts($1)";
    let row = caller.query_one(sql, &[&ids]).unwrap();
    (row.get(0), row.get(1))
}

const SMALL_BUFFER: [&str; 2] = ["leadlex.receipt_buffer = '64kB'", "leadlex.max_parallel_requests = 64"];

#[test]
fn a_buffer_full_of_answers_has_room_for_refusals() {
    let world =
        World::with(&Beginning { credits: None, contacts: 500, conf: &SMALL_BUFFER, ..Beginning::default() });
    let _lock = locked(&world, "LOCK TABLE leadlex.receipt IN SHARE MODE");
    let ids: Vec<_> = (1..=490).map(contact).collect();
    let mut caller = world.caller();
    caller.query("SELECT enrich_contacts($1)", &[&ids]).unwrap();
    let dropped = "SELECT sum(receipts_dropped)::int8 FROM leadlex.worker_status";
    assert!(world.number(dropped) > 0, "the buffer is full");
    world.provider.always(|_| Behaviour::json(451, json!({})));
    let outcomes = "SELECT sum(outcomes_dropped)::int8 FROM leadlex.worker_status";
    let before = (world.provider.count(), world.number(dropped), world.number(outcomes));
    assert!(suppressed(&try_enrich(&mut caller, 491)));
    assert!(suppressed(&try_enrich(&mut world.caller(), 491)));
    let after = (world.provider.count(), world.number(dropped), world.number(outcomes));
    // That it was a refusal is not in leadlex.last_outcome: for such notes no room is kept.
    assert_eq!(after, (before.0 + 1, before.1, before.2 + 2));
    listed(&world, 1);
}

#[test]
fn where_refusals_cannot_be_written_people_are_not_asked_about_before_there_is_no_room_left() {
    let conf = [SMALL_BUFFER[0], SMALL_BUFFER[1], NO_WORKER];
    let world = World::with(&Beginning { credits: None, contacts: 900, conf: &conf, ..Beginning::default() });
    world.provider.always(|_| Behaviour::json(451, json!({})));
    let mut caller = world.caller();
    let (refused, not_asked) = set(&mut caller, 1, 900);
    assert_eq!((refused + not_asked, refused), (900, world.provider.count() as i64));
    assert!((200..=500).contains(&refused), "{refused} refusals had room");
    assert_eq!(set(&mut world.caller(), 1, 900), (refused, not_asked), "all of them count");
    assert_eq!(world.provider.count() as i64, refused);
    let error = &try_enrich(&mut caller, 900)["error"];
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!("provider_unavailable"), &json!(true)),
        "{error}"
    );
    assert!(error.to_string().contains("refusals wait to be written"), "{error}");
}

#[test]
fn refusals_without_room_come_with_the_transaction() {
    let patience = ["leadlex.provider_timeout = '60s'", "leadlex.total_timeout = '60s'"];
    let conf = [SMALL_BUFFER[0], SMALL_BUFFER[1], NO_WORKER, patience[0], patience[1]];
    let world = World::with(&Beginning { credits: None, contacts: 192, conf: &conf, ..Beginning::default() });
    // A refusal takes room for each address of a person.
    world.run(
        "UPDATE crm SET email = (SELECT string_agg(n || '.' || email, '; ') FROM generate_series(1, 9) AS n)",
    );
    // None is refused before all are asked about, however long that takes.
    let asked = Barrier::new(192);
    world.provider.always(move |_| {
        asked.wait();
        Behaviour::json(451, json!({}))
    });
    let mut callers: Vec<Client> = (0..3).map(|_| world.caller()).collect();
    thread::scope(|scope| {
        for (n, caller) in (0..3).zip(&mut callers) {
            scope.spawn(move || assert_eq!(set(caller, 64 * n + 1, 64 * n + 64), (64, 0)));
        }
    });
    assert_eq!(world.provider.peak_in_flight(), 192, "all were asked before one was refused");
    let written = world.number("SELECT count(*) FROM leadlex.suppression");
    assert!(written > 0, "there was room for all");
    assert_eq!(set(&mut world.caller(), 1, 192), (192, 0));
    assert_eq!(world.provider.count(), 192);
    world.cluster.logged_since(0, "the refusal of provider main is kept with this transaction only");
}

#[test]
fn a_refusal_that_a_call_was_told_of_outlives_a_crash_at_once() {
    let world = world(&[]);
    let (mut rows, mut n) = (0, 0);
    for sql in [
        "SELECT try_enrich_contact($1)",
        "SELECT * FROM enrich_contacts(ARRAY[$1::uuid])",
        "SELECT try_enrich_row('crm', $1::uuid)",
    ] {
        // It waits for the worker for a second at most: where that was not enough to start one, the call says nothing.
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut caller = world.caller();
            n += 1;
            let begun = Instant::now();
            caller.query_one(sql, &[&contact(n)]).unwrap();
            let in_time = begun.elapsed() < PATIENCE_OF_REFUSAL;
            world.cluster.restart(Stop::Kill);
            let now = world.number("SELECT count(*) FROM leadlex.suppression");
            assert!(!in_time || now == rows + 1, "{sql}: {now} after {rows}");
            rows = now;
            if in_time {
                break;
            }
            assert!(Instant::now() < until, "never within a second");
        }
        // The worker has nothing to do, and leaves: then it has to be started first.
        thread::sleep(Duration::from_millis(1_500));
    }
    assert_eq!(world.provider.count(), n as usize);
}

/// The worker, in the middle of its stay and stopped. It stays for half a second, so that it may just be leaving: then another
/// answer brings it again.
fn stopped_worker(world: &World, owner: &mut Client, brings: &mut Client) -> i32 {
    const PID: &str = "SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'leadlex_enrich worker' AND datname = 'app'";
    for n in 3..=20 {
        try_enrich(brings, n);
        let (mut worker, until) = (0, Instant::now() + Duration::from_secs(2));
        while worker == 0 && Instant::now() < until {
            worker = owner.query_one(PID, &[]).unwrap().get::<_, Option<i32>>(0).unwrap_or(0);
        }
        if worker == 0 || !world.cluster.try_signal(worker, "STOP") {
            continue;
        }
        let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {worker} AND state = 'idle'");
        if number(owner, &waits) == 1 {
            return worker;
        }
        world.cluster.try_signal(worker, "CONT");
    }
    panic!("the worker never waits for more");
}

#[test]
fn a_call_is_told_of_a_refusal_once_it_is_written() {
    let world = world(&[]);
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person2@acme.example") => Behaviour::json(451, json!({})),
        _ => Behaviour::json(200, person()),
    });
    let mut caller = world.caller();
    let mut owner = world.owner();
    let mut brings = world.caller();
    let worker = stopped_worker(&world, &mut owner, &mut brings);
    let asked = world.provider.count();
    let call = thread::spawn(move || {
        let begun = Instant::now();
        (try_enrich(&mut caller, 2), begun.elapsed())
    });
    world.provider.wait_for(asked + 1, Duration::from_secs(10));
    thread::sleep(Duration::from_millis(300));
    let told = call.is_finished();
    let written = number(&mut owner, "SELECT count(*) FROM leadlex.suppression");
    world.cluster.signal_process(worker, "CONT");
    let (result, took) = call.join().unwrap();
    assert!(suppressed(&result));
    assert_eq!(written, 0, "the worker is stopped");
    assert!(!told || took >= PATIENCE_OF_REFUSAL, "told before it is written, after {took:?}");
    match took < PATIENCE_OF_REFUSAL {
        true => assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.suppression"), 1),
        // It has waited as long as it does.
        false => listed(&world, 1),
    }
}

#[test]
fn a_call_does_not_wait_for_a_refusal_that_is_held_up_nor_long_for_a_worker_that_does_not_come() {
    let world = world(&[]);
    let mut caller = world.caller();
    let mut lock = locked(&world, WHOLE_LIST);
    let begun = Instant::now();
    assert!(suppressed(&try_enrich(&mut caller, 1)));
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    lock.batch_execute("ROLLBACK").unwrap();
    let without_worker = self::world(&[NO_WORKER]);
    let mut caller = without_worker.caller();
    let begun = Instant::now();
    assert!(suppressed(&try_enrich(&mut caller, 1)));
    let took = begun.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

/// Asked by name and place, as the address is many people's: what is kept of that is found by the same.
#[test]
fn a_refusal_of_somebody_with_an_address_of_many_is_kept() {
    let world = world(&["leadlex.max_people_per_value = 3"]);
    world.run("UPDATE crm SET email = 'family@gmail.com', location = 'Berlin' WHERE id <= '00000000-0000-4000-8000-000000000006'");
    world.provider.always(|_| Behaviour::json(404, json!({})));
    let mut caller = world.caller();
    for n in 1..=4 {
        try_enrich(&mut caller, n);
    }
    eventually("the address is found to be many people's", Duration::from_secs(20), || {
        world.number("SELECT count(*) FROM leadlex.shared_value") > 0
    });
    let config = json!({"request": {"query": {"email": null, "name": "{full_name}", "place": "{location}"}},
                        "identify_by": [["full_name", "location"]]});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    world.provider.always(|_| Behaviour::json(451, json!({})));
    let asked = world.provider.count();
    assert!(suppressed(&try_enrich(&mut caller, 5)));
    listed(&world, 1);
    thread::sleep(Duration::from_millis(100));
    assert!(suppressed(&try_enrich(&mut caller, 5)));
    assert_eq!(set(&mut caller, 5, 5), (1, 0));
    assert_eq!(world.provider.count(), asked + 1);
    let sql = "SELECT leadlex.unsuppress_contact($1)";
    assert_eq!(world.owner().query_one(sql, &[&contact(5)]).unwrap().get::<_, i64>(0), 1);
    assert!(suppressed(&try_enrich(&mut caller, 5)));
    assert_eq!(world.provider.count(), asked + 2);
}

//! One question under way is asked once: whoever asks the same waits for that answer, and takes it from the receipt.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use postgres::{Client, Error, NoTls};
use serde_json::{Value, json};

use crate::support::{Behaviour, Stop, eventually, fails, person};
use crate::world::{
    Beginning, PATH, PHONE, World, contact, credits, enrich, number, pid, sqlstate, try_enrich,
};

const SOON: Duration = Duration::from_secs(10);

/// A world in which all contacts are one person to the provider.
fn one_person(contacts: i32, conf: &[&str]) -> World {
    let world = World::with(&Beginning { credits: Some(100), contacts, conf, ..Beginning::default() });
    world.run("UPDATE crm SET full_name = 'Same Person', email = 'same@acme.example'");
    world
}

/// What the n-th request, counted from 0, is answered; the last one is the answer to all others.
fn answers_in_turn(world: &World, answers: Vec<fn() -> Behaviour>) {
    let asked = Arc::new(AtomicUsize::new(0));
    world.provider.on(PATH, move |_| {
        let n = asked.fetch_add(1, Ordering::SeqCst);
        answers[n.min(answers.len() - 1)]()
    });
}

fn soon() -> Behaviour {
    Behaviour::json(200, person()).after(Duration::from_millis(1_000))
}

fn at_once() -> Behaviour {
    Behaviour::json(200, person())
}

fn down() -> Behaviour {
    Behaviour::json(503, json!({})).after(Duration::from_millis(700))
}

fn closes() -> Behaviour {
    Behaviour::Close.after(Duration::from_millis(1_000))
}

fn never() -> Behaviour {
    Behaviour::Never
}

type Call<'scope> = ScopedJoinHandle<'scope, Result<Value, Error>>;

fn call<'s>(scope: &'s thread::Scope<'s, '_>, mut caller: Client, n: i32) -> Call<'s> {
    scope.spawn(move || enrich(&mut caller, n))
}

/// A call that has asked, and one about the same question that waits for it; with the sessions' pids.
fn two<'s>(scope: &'s thread::Scope<'s, '_>, world: &World) -> ([Call<'s>; 2], [i32; 2]) {
    let asked = world.provider.count();
    let (mut one, mut other) = (world.caller(), world.caller());
    let pids = [pid(&mut one), pid(&mut other)];
    let first = call(scope, one, 1);
    world.provider.wait_for(asked + 1, SOON);
    let second = call(scope, other, 2);
    wait_until_waiting(world, pids[1]);
    assert_eq!(world.provider.count(), asked + 1, "it has not asked");
    ([first, second], pids)
}

fn waits_for() -> &'static str {
    if cfg!(any(feature = "pg15", feature = "pg16")) { "Extension" } else { "LeadlexQuestion" }
}

fn wait_until_waiting(world: &World, pid: i32) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Extension' AND wait_event = '{}'",
        waits_for()
    );
    let mut owner = world.owner();
    eventually("the call waits, visibly", SOON, || number(&mut owner, &sql) > 0);
}

#[test]
fn sixty_four_sessions_with_one_question_make_one_request() {
    let world = one_person(64, &[]);
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_secs(3)));
    let callers: Vec<Client> = (0..64).map(|_| world.caller()).collect();
    thread::scope(|scope| {
        let calls: Vec<Call> = callers.into_iter().zip(1..).map(|(c, n)| call(scope, c, n)).collect();
        for (call, n) in calls.into_iter().zip(1..) {
            assert_eq!(call.join().unwrap().unwrap()["contact"]["phone"], PHONE, "row {n}");
        }
    });
    assert_eq!(world.provider.count(), 1);
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 64);
    assert_eq!(credits(&mut world.caller()), Some(36));
    let unshared = "SELECT questions_unshared FROM leadlex.worker_status WHERE process = 'launcher'";
    assert_eq!(world.number(unshared), 0);
    world.check_credits_add_up();
}

#[test]
fn who_overwrites_shares_an_answer_that_came_meanwhile_and_asks_anew_otherwise() {
    let world = one_person(8, &[]);
    let nothing = || Behaviour::json(404, json!({})).after(Duration::from_millis(1_500));
    world.provider.on(PATH, move |_| nothing());
    for round in 1..=2 {
        let callers: Vec<Client> = (0..8).map(|_| world.caller()).collect();
        thread::scope(|scope| {
            for (mut caller, n) in callers.into_iter().zip(1..) {
                scope.spawn(move || {
                    let sql = "SELECT try_enrich_contact($1, overwrite => true)";
                    let result: Value = caller.query_one(sql, &[&contact(n)]).unwrap().get(0);
                    assert_eq!(result["error"]["reason"], "no_data", "{result}");
                });
            }
        });
        assert_eq!(world.provider.count(), round, "one request for all eight");
    }
}

/// Another importer's, with the same people.
fn add_second_table(world: &World) {
    world.run(&format!(
        "CREATE TABLE lead AS SELECT id, full_name, email, phone FROM crm;
         ALTER TABLE lead ADD PRIMARY KEY (id);
         GRANT SELECT, UPDATE ON lead TO caller;
         SELECT leadlex.bind_contacts('lead', workspace_id => '{}')",
        world.workspace
    ));
}

/// The same 400 people in two tables, in opposite order, while the first importer's transaction is still open.
#[test]
fn two_importers_pay_each_person_once_and_do_not_wait_for_each_others_transaction() {
    let world = World::with(&Beginning { credits: None, contacts: 400, ..Beginning::default() });
    add_second_table(&world);
    world.provider.on(PATH, |_| at_once().after(Duration::from_millis(30)));
    let import = |mut caller: Client, table: &str, order: &str| {
        let sql = format!(
            "SELECT count(*) FROM enrich_rows('{table}', ARRAY(SELECT id::text FROM {table} ORDER BY id {order}), '{{phone}}')
             WHERE status = 'enriched'"
        );
        caller.batch_execute("BEGIN").unwrap();
        (number(&mut caller, &sql), caller)
    };
    thread::scope(|scope| {
        let (one, other) = (world.caller(), world.caller());
        let first = scope.spawn(move || import(one, "crm", "ASC"));
        let second = scope.spawn(move || import(other, "lead", "DESC"));
        // Neither commits before both are through.
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        assert_eq!((first.0, second.0), (400, 400));
        for mut caller in [first.1, second.1] {
            caller.batch_execute("COMMIT").unwrap();
        }
    });
    assert_eq!(world.provider.count(), 400, "each person once");
    let filled = "SELECT (SELECT count(*) FROM crm WHERE phone IS NOT NULL) + (SELECT count(*) FROM lead WHERE phone IS NOT NULL)";
    assert_eq!(world.number(filled), 800);
}

#[test]
fn a_wait_for_the_same_question_ends_as_any_other_does() {
    let world = one_person(3, &["leadlex.provider_timeout = '30s'", "leadlex.total_timeout = '30s'"]);
    world.provider.on(PATH, |_| Behaviour::Never);
    thread::scope(|scope| {
        let mut first = world.caller();
        let (first_pid, token) = (pid(&mut first), first.cancel_token());
        let first = call(scope, first, 1);
        world.provider.wait_for(1, SOON);
        for (setting, state) in [("statement_timeout", "57014"), ("lock_timeout", "55P03")] {
            let mut second = world.caller();
            second.batch_execute(&format!("SET {setting} = '300ms'")).unwrap();
            let started = Instant::now();
            let failure = fails(enrich(&mut second, 2));
            assert_eq!(failure.sqlstate, state, "{failure:?}");
            assert!(started.elapsed() < Duration::from_secs(2), "{setting}: {:?}", started.elapsed());
            // The session goes on.
            assert_eq!(number(&mut second, "SELECT 1::int8"), 1);
        }
        let mut second = world.caller();
        second.batch_execute("SET lock_timeout = '300ms'").unwrap();
        let sql = "SELECT error_code FROM enrich_contacts($1)";
        let row = second.query_one(sql, &[&vec![contact(2)]]).unwrap();
        assert_eq!(row.get::<_, &str>(0), "55P03", "in a set it costs that contact only");

        let mut third = world.caller();
        let (third_pid, third_token) = (pid(&mut third), third.cancel_token());
        let waiting = call(scope, third, 3);
        wait_until_waiting(&world, third_pid);
        let started = Instant::now();
        third_token.cancel_query(NoTls).unwrap();
        assert_eq!(fails(waiting.join().unwrap()).sqlstate, "57014");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());

        assert_eq!(world.provider.count(), 1, "none of them asked");
        token.cancel_query(NoTls).unwrap();
        assert_eq!(fails(first.join().unwrap()).sqlstate, "57014");
        world.run(&format!("SELECT pg_terminate_backend({first_pid})"));
    });
    assert_eq!(credits(&mut world.caller()), Some(100));
}

#[test]
fn the_time_of_a_call_holds_also_for_its_wait() {
    let world = one_person(2, &["leadlex.provider_timeout = '30s'", "leadlex.total_timeout = '30s'"]);
    world.provider.on(PATH, |_| Behaviour::Never);
    thread::scope(|scope| {
        let mut first = world.caller();
        let first_pid = pid(&mut first);
        let first = call(scope, first, 1);
        world.provider.wait_for(1, SOON);
        world.cluster.set("leadlex.total_timeout", "1s");
        let started = Instant::now();
        let result = try_enrich(&mut world.caller(), 2);
        assert_eq!(result["error"]["code"], "provider_unavailable", "{result}");
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        world.run(&format!("SELECT pg_terminate_backend({first_pid})"));
        first.join().unwrap().unwrap_err();
    });
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn when_the_asking_session_is_terminated_the_next_asks() {
    let world = one_person(3, &[]);
    answers_in_turn(&world, vec![never, at_once]);
    thread::scope(|scope| {
        let ([first, second], pids) = two(scope, &world);
        let started = Instant::now();
        world.run(&format!("SELECT pg_terminate_backend({})", pids[0]));
        first.join().unwrap().unwrap_err();
        assert_eq!(second.join().unwrap().unwrap()["contact"]["phone"], PHONE);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    });
    assert_eq!(world.provider.count(), 2);
    enrich(&mut world.caller(), 3).unwrap();
    assert_eq!(world.provider.count(), 2);
}

/// The request goes on as long as its session lives, and is billed: its answer is everybody's.
#[test]
fn an_answer_that_comes_after_the_cancel_is_what_others_wait_for() {
    let world = one_person(2, &[]);
    world.provider.on(PATH, |_| soon());
    thread::scope(|scope| {
        let (mut first, mut second) = (world.caller(), world.caller());
        let second_pid = pid(&mut second);
        let token = first.cancel_token();
        let first = scope.spawn(move || (enrich(&mut first, 1), first));
        world.provider.wait_for(1, SOON);
        let second = call(scope, second, 2);
        wait_until_waiting(&world, second_pid);
        token.cancel_query(NoTls).unwrap();
        let (cancelled, _session) = first.join().unwrap();
        assert_eq!(sqlstate(&cancelled), "57014");
        assert_eq!(second.join().unwrap().unwrap()["contact"]["phone"], PHONE);
    });
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn after_kill_9_the_next_asks() {
    let world = one_person(2, &[]);
    answers_in_turn(&world, vec![never, at_once]);
    thread::scope(|scope| {
        let ([first, second], pids) = two(scope, &world);
        world.cluster.kill9(pids[0]);
        first.join().unwrap().unwrap_err();
        second.join().unwrap().unwrap_err();
    });
    world.cluster.wait_until_ready();
    let started = Instant::now();
    for n in [1, 2] {
        assert_eq!(enrich(&mut world.caller(), n).unwrap()["contact"]["phone"], PHONE);
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(world.provider.count(), 2);
    world.cluster.restart(Stop::Fast);
    world.check_credits_add_up();
}

#[test]
fn after_a_failure_one_other_asks() {
    let world = one_person(8, &[]);
    answers_in_turn(&world, vec![down, at_once]);
    let callers: Vec<Client> = (0..8).map(|_| world.caller()).collect();
    let failed = thread::scope(|scope| {
        let calls: Vec<Call> = callers.into_iter().zip(1..).map(|(c, n)| call(scope, c, n)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).filter(Result::is_err).count()
    });
    assert_eq!((failed, world.provider.count()), (1, 2), "the first failed, the second asked for all others");
}

/// Not one after another, each for its own five seconds.
#[test]
fn a_provider_that_fails_twice_has_failed_for_all_who_waited() {
    for (fails, conf) in [
        (down as fn() -> Behaviour, "leadlex.provider_timeout = '5s'"),
        (never, "leadlex.provider_timeout = '1500ms'"),
    ] {
        let world = one_person(64, &[conf]);
        world.provider.on(PATH, move |_| fails());
        let callers: Vec<Client> = (0..64).map(|_| world.caller()).collect();
        let started = Instant::now();
        thread::scope(|scope| {
            for (mut caller, n) in callers.into_iter().zip(1..) {
                scope.spawn(move || {
                    let error = &try_enrich(&mut caller, n)["error"];
                    assert_eq!(error["code"], "provider_unavailable", "{error}");
                });
            }
        });
        assert!(started.elapsed() < Duration::from_secs(10), "{conf}: {:?}", started.elapsed());
        let asked = world.provider.count();
        // Who began when the first had failed already has waited for one only.
        assert!((2..=3).contains(&asked), "{conf}: {asked} requests");
        assert_eq!(credits(&mut world.caller()), Some(100));
    }
}

/// There is no receipt that the answer could be taken from.
#[test]
fn without_receipts_each_asks_for_itself() {
    let world = one_person(2, &["leadlex.receipt_ttl = 0"]);
    world.provider.on(PATH, |_| soon());
    thread::scope(|scope| {
        let calls = [1, 2].map(|n| call(scope, world.caller(), n));
        let started = Instant::now();
        calls.into_iter().for_each(|call| drop(call.join().unwrap().unwrap()));
        assert!(started.elapsed() < Duration::from_millis(1_900), "{:?}", started.elapsed());
    });
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn another_workspace_does_not_wait() {
    let world = one_person(1, &[]);
    world.run(
        "CREATE ROLE neighbour LOGIN;
         CREATE TABLE theirs (id int PRIMARY KEY, full_name text, email text, phone text);
         INSERT INTO theirs VALUES (1, 'Same Person', 'same@acme.example');
         GRANT SELECT, UPDATE ON theirs TO neighbour;
         DO $$ DECLARE w uuid := leadlex.create_workspace('neighbours', NULL, 'unmetered');
         BEGIN
             PERFORM leadlex.grant_access('neighbour', w);
             PERFORM leadlex.bind_contacts('theirs', workspace_id => w);
         END $$",
    );
    answers_in_turn(&world, vec![never, at_once]);
    thread::scope(|scope| {
        let mut first = world.caller();
        let first_pid = pid(&mut first);
        let first = call(scope, first, 1);
        world.provider.wait_for(1, SOON);
        let started = Instant::now();
        let mut neighbour = world.cluster.connect_as("app", "neighbour");
        let result: Value = neighbour.query_one("SELECT enrich_row('theirs', '1')", &[]).unwrap().get(0);
        assert_eq!(result["contact"]["phone"], PHONE);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        world.run(&format!("SELECT pg_terminate_backend({first_pid})"));
        first.join().unwrap().unwrap_err();
    });
    assert_eq!(world.provider.count(), 2);
}

/// A set waits for a single call, a single call for a set, and the set goes on meanwhile with everybody else.
#[test]
fn a_set_goes_on_while_others_ask_one_of_its_questions() {
    let world = World::with(&Beginning { credits: None, contacts: 40, ..Beginning::default() });
    add_second_table(&world);
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person1@acme.example") => at_once().after(Duration::from_millis(2_000)),
        _ => at_once(),
    });
    thread::scope(|scope| {
        let single = call(scope, world.caller(), 1);
        world.provider.wait_for(1, SOON);
        let mut caller = world.caller();
        let set = scope.spawn(move || {
            let sql = "SELECT count(*) FROM enrich_rows('lead', ARRAY(SELECT id::text FROM lead ORDER BY id), '{phone}')
                       WHERE status = 'enriched'";
            number(&mut caller, sql)
        });
        world.provider.wait_for(40, Duration::from_millis(1_500));
        assert_eq!(set.join().unwrap(), 40);
        single.join().unwrap().unwrap();
    });
    assert_eq!(world.provider.count(), 40);
}

#[test]
fn two_importers_that_queue_the_same_people_pay_each_once() {
    let world = World::with(&Beginning { credits: None, contacts: 100, ..Beginning::default() });
    add_second_table(&world);
    world.run(&format!(
        "CREATE ROLE importer LOGIN; GRANT SELECT, UPDATE ON lead TO importer;
         SELECT leadlex.grant_access('importer', '{}')",
        world.workspace
    ));
    world.provider.on(PATH, |_| at_once().after(Duration::from_millis(100)));
    let mut importer = world.cluster.connect_as("app", "importer");
    for (session, table) in [(&mut world.caller(), "crm"), (&mut importer, "lead")] {
        let sql = format!(
            "SELECT leadlex.enqueue_rows('{table}', ARRAY(SELECT id::text FROM {table}), '{{phone}}')"
        );
        session.execute(&sql, &[]).unwrap();
    }
    let filled = "SELECT (SELECT count(*) FROM crm WHERE phone IS NOT NULL) + (SELECT count(*) FROM lead WHERE phone IS NOT NULL)";
    eventually("all are done", 3 * SOON, || world.number(filled) == 200);
    assert_eq!(world.provider.count(), 100);
}

/// A request that ended without an answer is sent again where the provider knows repetitions. The others wait for that.
#[test]
fn a_repetition_is_the_same_request() {
    let world = one_person(8, &[]);
    world.run("SELECT leadlex.alter_provider('main', '{\"idempotency_header\": \"Idempotency-Key\"}')");
    // Its connection is used by the calls that follow.
    world.provider.on(PATH, |_| at_once());
    let mut first = world.caller();
    enrich(&mut first, 1).unwrap();
    world.run("UPDATE crm SET phone = NULL, email = 'other@acme.example'");
    answers_in_turn(&world, vec![closes, at_once]);
    let asked = world.provider.count();
    let others: Vec<Client> = (2..=8).map(|_| world.caller()).collect();
    thread::scope(|scope| {
        let first = call(scope, first, 1);
        world.provider.wait_for(asked + 1, SOON);
        let calls: Vec<Call> = others.into_iter().zip(2..).map(|(c, n)| call(scope, c, n)).collect();
        for call in calls.into_iter().chain([first]) {
            assert_eq!(call.join().unwrap().unwrap()["contact"]["phone"], PHONE);
        }
    });
    let requests = world.provider.requests().split_off(asked);
    assert_eq!(requests.len(), 2, "one, and its repetition");
    assert_eq!(requests[0].header("Idempotency-Key"), requests[1].header("Idempotency-Key"));
}

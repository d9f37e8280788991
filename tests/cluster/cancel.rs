//! A provider that never answers: cancel, timeouts, termination and shutdown work as in any wait of Postgres.
//!
//! Bounds are those of the issue, plus slack for a loaded machine with two cores where the limit itself is tight.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use postgres::{Client, Error};
use serde_json::Value;

use crate::support::{Behaviour, Failure, Stop, eventually, fails};
use crate::world::{Beginning, PATH, World, contact, enrich, number, pid};

/// A world in which the first contact's provider call hangs, and those of all others are answered.
fn hanging() -> World {
    let world = World::with(&Beginning { credits: Some(3), ..Beginning::default() });
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person1@acme.example") => Behaviour::Never,
        _ => Behaviour::json(200, crate::support::person()),
    });
    // Longer than any bound here: only what is tested ends the wait.
    world.cluster.set("leadlex.provider_timeout", "30s");
    world.cluster.set("leadlex.total_timeout", "30s");
    world
}

/// A session that is inside a call which hangs: its pid, and its end.
struct Hung {
    pid: i32,
    end: mpsc::Receiver<(Result<Value, Error>, Client)>,
    thread: JoinHandle<()>,
}

fn hang(world: &World) -> Hung {
    let asked = world.provider.count();
    let mut caller = world.caller();
    let pid = pid(&mut caller);
    let (sender, end) = mpsc::channel();
    let thread = thread::spawn(move || {
        let result = enrich(&mut caller, 1);
        let _ = sender.send((result, caller));
    });
    world.provider.wait_for(asked + 1, Duration::from_secs(10));
    Hung { pid, end, thread }
}

impl Hung {
    /// Waits for the end of the call, for so long at most.
    fn ended(self, within: Duration) -> (Result<Value, Error>, Client) {
        let end = self
            .end
            .recv_timeout(within)
            .unwrap_or_else(|_| panic!("the call did not end within {within:?}"));
        self.thread.join().unwrap();
        end
    }

    fn still_waits(&self) -> bool {
        matches!(self.end.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}

/// Nothing has been used up by the call that hung, and the next one works in the same session.
fn check_nothing_lost(world: &World, client: &mut Client) {
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(3), 0), "{ledger:?}");
    assert_eq!(world.phone(1), None);
    assert_eq!(enrich(client, 2).unwrap()["credits_remaining"], 2);
    world.check_all_credits_can_be_spent();
}

#[test]
fn statement_timeout_ends_the_wait_for_a_provider_in_time() {
    let world = hanging();
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '500ms'").unwrap();
    // The first call of a session also connects and loads: the issue speaks of the wait.
    enrich(&mut caller, 3).unwrap();
    let mut closest = Duration::MAX;
    for _ in 0..3 {
        let started = Instant::now();
        let failure = fails(enrich(&mut caller, 1));
        let late = started.elapsed().saturating_sub(Duration::from_millis(500));
        assert_eq!(failure.sqlstate, "57014", "{failure:?}");
        assert!(started.elapsed() >= Duration::from_millis(495), "too early: {:?}", started.elapsed());
        // "within 50 ms of the limit" of three tries: another test may have the processor at one of them.
        assert!(late < Duration::from_millis(500), "{late:?} late");
        closest = closest.min(late);
    }
    assert!(closest < Duration::from_millis(50), "at best {closest:?} late");
    assert_eq!(enrich(&mut caller, 2).unwrap()["credits_remaining"], 1);
    assert_eq!(world.ledger().charges, 2);
    world.check_all_credits_can_be_spent();
}

#[test]
fn try_enrich_does_not_swallow_a_timeout() {
    let world = hanging();
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '200ms'").unwrap();
    let failure = fails(caller.query_one("SELECT try_enrich_contact($1)", &[&contact(1)]));
    assert_eq!(failure.sqlstate, "57014", "{failure:?}");
    caller.batch_execute("RESET statement_timeout").unwrap();
    check_nothing_lost(&world, &mut caller);
}

#[test]
fn a_cancelled_call_ends_at_once_and_gives_the_credit_back() {
    let world = hanging();
    let hung = hang(&world);
    let started = Instant::now();
    world.run(&format!("SELECT pg_cancel_backend({})", hung.pid));
    let (result, mut caller) = hung.ended(Duration::from_secs(5));
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(Failure::of(&result.unwrap_err()).sqlstate, "57014");
    check_nothing_lost(&world, &mut caller);
}

#[test]
fn a_cancelled_call_inside_a_savepoint_leaves_the_transaction() {
    let world = hanging();
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '200ms'").unwrap();
    let mut outer = caller.transaction().unwrap();
    enrich(&mut outer, 2).unwrap();
    let mut inner = outer.transaction().unwrap();
    assert_eq!(fails(enrich(&mut inner, 1)).sqlstate, "57014");
    inner.rollback().unwrap();
    enrich(&mut outer, 3).unwrap();
    outer.commit().unwrap();
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(1), 2));
    world.check_all_credits_can_be_spent();
}

#[test]
fn a_terminated_backend_is_gone_within_a_second() {
    let world = hanging();
    let hung = hang(&world);
    let mut owner = world.owner();
    let started = Instant::now();
    owner.query_one("SELECT pg_terminate_backend($1, 5000)", &[&hung.pid]).unwrap();
    let left = number(&mut owner, &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", hung.pid));
    let took = started.elapsed();
    assert_eq!(left, 0);
    assert!(took < Duration::from_secs(1), "{took:?}");
    let (result, _) = hung.ended(Duration::from_secs(5));
    let error = result.unwrap_err();
    assert!(error.is_closed() || Failure::of(&error).sqlstate == "57P01", "{error:?}");
    check_nothing_lost(&world, &mut world.caller());
    assert!(!world.cluster.log().contains("terminated by signal"), "no crash");
}

#[test]
fn fast_shutdown_does_not_wait_for_providers() {
    for plan in ["unmetered", "org"] {
        fast_shutdown_under(plan);
    }
}

/// With a rate limit there is a background worker to be ended as well, in the middle of its tables.
fn fast_shutdown_under(plan: &str) {
    let world = hanging();
    world.run(&format!("UPDATE leadlex.workspace SET plan = '{plan}'"));
    if plan == "org" {
        world.run(&format!("SELECT leadlex.set_rate_limit('{}', 200, 10000)", world.workspace));
    }
    world.provider.on(PATH, |_| Behaviour::Never);
    let mut clients: Vec<Client> = (0..8).map(|_| world.caller()).collect();
    let took = thread::scope(|scope| {
        for (n, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || enrich(client, i32::try_from(n).unwrap() % 3 + 1).map_err(drop));
        }
        // Three contacts, three credits: the others wait for a contact or a credit.
        world.provider.wait_for(3, Duration::from_secs(10));
        world.cluster.stop(Stop::Fast)
    });
    assert!(took < Duration::from_secs(1), "{plan}: {took:?}");
    let log = world.cluster.log();
    assert!(!log.contains("terminated by signal") && !log.contains("PANIC"), "{log}");
    world.provider.on(PATH, |_| Behaviour::json(200, crate::support::person()));
    world.cluster.start_again();
    check_nothing_lost(&world, &mut world.caller());
}

#[test]
fn an_unrelated_drop_database_does_not_wait_for_a_provider() {
    let world = hanging();
    world.cluster.connect("postgres").batch_execute("CREATE DATABASE unrelated").unwrap();
    let hung = hang(&world);
    let started = Instant::now();
    world.cluster.connect("postgres").batch_execute("DROP DATABASE unrelated").unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(hung.still_waits(), "the call was still in flight");
    world.run(&format!("SELECT pg_cancel_backend({})", hung.pid));
    hung.ended(Duration::from_secs(5)).0.unwrap_err();
}

#[test]
fn lock_timeout_ends_the_wait_for_the_same_contact() {
    let world = hanging();
    let hung = hang(&world);
    let mut second = world.caller();
    second.batch_execute("SET lock_timeout = '200ms'").unwrap();
    let started = Instant::now();
    let failure = fails(enrich(&mut second, 1));
    assert_eq!(failure.sqlstate, "55P03", "{failure:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(world.provider.count(), 1, "the second call asked nobody");
    enrich(&mut second, 2).unwrap();
    assert!(hung.still_waits());
    world.run(&format!("SELECT pg_cancel_backend({})", hung.pid));
    hung.ended(Duration::from_secs(5)).0.unwrap_err();
    world.check_all_credits_can_be_spent();
}

#[test]
fn a_session_that_waits_for_a_contact_or_a_credit_can_be_cancelled() {
    let world = hanging();
    world.cluster.set("leadlex.credit_wait", "30s");
    world.run(&format!("SELECT leadlex.grant_credits('{}', -2)", world.workspace));
    let hung = hang(&world);
    for n in [1, 2] {
        let mut second = world.caller();
        second.batch_execute("SET statement_timeout = '300ms'").unwrap();
        let started = Instant::now();
        assert_eq!(fails(enrich(&mut second, n)).sqlstate, "57014", "contact {n}");
        assert!(started.elapsed() < Duration::from_secs(2), "contact {n}: {:?}", started.elapsed());
    }
    world.run(&format!("SELECT pg_cancel_backend({})", hung.pid));
    hung.ended(Duration::from_secs(5)).0.unwrap_err();
    assert_eq!(enrich(&mut world.caller(), 2).unwrap()["credits_remaining"], 0);
    world.check_all_credits_can_be_spent();
}

/// Helper threads and open connections must not keep a backend from ending, nor make its end a crash.
#[test]
fn an_idle_backend_with_open_connections_dies_cleanly() {
    let world = hanging();
    let mut owner = world.owner();
    for how in ["disconnect", "terminate"] {
        let mut caller = world.caller();
        enrich(&mut caller, if how == "disconnect" { 2 } else { 3 }).unwrap();
        caller.batch_execute("SET statement_timeout = '100ms'").unwrap();
        // A thread is left behind in a request that hangs.
        fails(enrich(&mut caller, 1));
        let backend = pid(&mut caller);
        let started = Instant::now();
        if how == "terminate" {
            owner.execute("SELECT pg_terminate_backend($1)", &[&backend]).unwrap();
        }
        drop(caller);
        world.wait_until_gone(backend);
        assert!(started.elapsed() < Duration::from_secs(1), "{how}: {:?}", started.elapsed());
    }
    eventually("the provider sees its connections closed", Duration::from_secs(5), || {
        world.provider.in_flight() == 0
    });
    let log = world.cluster.log();
    for trouble in ["terminated by signal", "PANIC", "panicked", "server process"] {
        assert!(!log.contains(trouble), "{trouble} in {log}");
    }
}

#[test]
fn many_abandoned_calls_do_not_stop_the_session() {
    let world = hanging();
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '20ms'").unwrap();
    for _ in 0..40 {
        assert_eq!(fails(enrich(&mut caller, 1)).sqlstate, "57014");
    }
    caller.batch_execute("RESET statement_timeout").unwrap();
    check_nothing_lost(&world, &mut caller);
}

/// A vendor that takes a while over what is asked before the cancel, and not over what is asked after it.
fn slow_at_first(after: Duration) -> World {
    let conf = ["leadlex.max_parallel_requests = 64"];
    let world = World::with(&Beginning { credits: None, contacts: 200, conf: &conf, ..Beginning::default() });
    let slow_until = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(64));
    world.provider.on(PATH, move |_| {
        let is_slow = slow_until.fetch_sub(usize::from(slow_until.load(Relaxed) > 0), Relaxed) > 0;
        let answer = Behaviour::json(200, crate::support::person());
        if is_slow { answer.after(after) } else { answer }
    });
    world
}

/// Sends as many requests at once as a session may have under way, and is cancelled.
fn fill_and_cancel(world: &World, caller: &mut Client) {
    let pid = pid(caller);
    thread::scope(|scope| {
        let set = scope.spawn(|| fails(caller.query(SET_OF_ALL, &[])).sqlstate);
        world.provider.wait_for(64, Duration::from_secs(10));
        world.cancel(pid);
        assert_eq!(set.join().unwrap(), "57014");
    });
}

const SET_OF_ALL: &str = "SELECT status FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id))";

/// Those of the cancelled one go on: the next set begins when there is room, and fails for no contact.
#[test]
fn a_set_after_a_cancelled_one_waits_for_its_places() {
    let world = slow_at_first(Duration::from_millis(1_500));
    let mut caller = world.caller();
    fill_and_cancel(&world, &mut caller);
    let rows = caller.query(SET_OF_ALL, &[]).unwrap();
    let enriched = rows.iter().filter(|row| row.get::<_, &str>(0) == "enriched").count();
    assert_eq!((rows.len(), enriched), (200, 200));
    assert_eq!(world.provider.count(), 200, "what was under way is not asked about again");
}

#[test]
fn a_call_after_a_cancelled_set_waits_for_its_place() {
    let world = slow_at_first(Duration::from_millis(1_500));
    let mut caller = world.caller();
    fill_and_cancel(&world, &mut caller);
    for n in [199, 200] {
        assert_eq!(enrich(&mut caller, n).unwrap()["contact"]["id"], contact(n).to_string());
    }
    assert_eq!(world.provider.count(), 66);
}

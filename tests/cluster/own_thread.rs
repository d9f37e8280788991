//! A request on a connection that is kept runs on the backend's own thread: it is cancelled, ended and kept as one in a thread.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::support::{Behaviour, eventually, fails};
use crate::world::{Beginning, PATH, World, enrich, pid};

/// Answers about the first contact after so long, about others at once.
fn slow(delay: Duration) -> World {
    let world = World::with(&Beginning { credits: Some(5), ..Beginning::default() });
    world.provider.on(PATH, move |request| {
        let answer = Behaviour::json(200, crate::support::person());
        match request.param("email") {
            Some("person1@acme.example") => Behaviour::After(delay, Box::new(answer)),
            _ => answer,
        }
    });
    world
}

/// A session with a connection to the provider, and without helper threads.
fn warm(world: &World) -> Client {
    let mut caller = world.caller();
    enrich(&mut caller, 3).unwrap();
    let backend = pid(&mut caller);
    eventually("the thread of the first call ends", Duration::from_secs(10), || threads(backend) == 1);
    caller
}

fn threads(backend: i32) -> usize {
    fs::read_dir(format!("/proc/{backend}/task")).map_or(0, Iterator::count)
}

#[test]
fn it_needs_no_thread() {
    let world = slow(Duration::from_millis(300));
    let mut caller = warm(&world);
    let backend = pid(&mut caller);
    let asked = world.provider.count();
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1).unwrap());
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        assert_eq!(threads(backend), 1);
        call.join().unwrap();
    });
    assert_eq!(threads(backend), 1);
    assert_eq!(world.provider.connections(), 1);
}

#[test]
fn a_cancel_is_prompt_and_the_answer_is_kept() {
    let world = slow(Duration::from_millis(600));
    let mut caller = warm(&world);
    caller.batch_execute("SET statement_timeout = '150ms'").unwrap();
    let asked = world.provider.count();
    let started = Instant::now();
    assert_eq!(fails(enrich(&mut caller, 1)).sqlstate, "57014");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    caller.batch_execute("RESET statement_timeout").unwrap();
    // The next call waits for what is under way, or finds it.
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 3);
    assert_eq!(world.provider.count(), asked + 1, "it was asked once");
    world.check_all_credits_can_be_spent();
}

#[test]
fn a_savepoint_and_the_session_survive_it() {
    let world = slow(Duration::from_secs(20));
    let mut caller = warm(&world);
    caller.batch_execute("SET statement_timeout = '100ms'").unwrap();
    for _ in 0..20 {
        let mut outer = caller.transaction().unwrap();
        let mut inner = outer.transaction().unwrap();
        assert_eq!(fails(enrich(&mut inner, 1)).sqlstate, "57014");
        inner.rollback().unwrap();
        outer.commit().unwrap();
    }
    assert_eq!(enrich(&mut caller, 2).unwrap()["credits_remaining"], 3);
}

#[test]
fn the_end_of_the_session_is_prompt() {
    let world = slow(Duration::from_secs(20));
    let mut caller = warm(&world);
    let (backend, asked) = (pid(&mut caller), world.provider.count());
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1).unwrap_err());
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        // Others are not held up meanwhile.
        world.cluster.connect("postgres").batch_execute("CREATE DATABASE other").unwrap();
        let started = Instant::now();
        world.cluster.connect("postgres").batch_execute("DROP DATABASE other").unwrap();
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        let started = Instant::now();
        world.run(&format!("SELECT pg_terminate_backend({backend}, 5000)"));
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        call.join().unwrap();
    });
    // Its question is nobody's any more.
    world.provider.on(PATH, |_| Behaviour::json(200, crate::support::person()));
    assert_eq!(enrich(&mut world.caller(), 1).unwrap()["credits_remaining"], 3);
    assert!(!world.cluster.log().contains("terminated by signal"), "no crash");
}

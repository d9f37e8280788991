//! Whatever ends a worker: no job is lost, nobody is charged or asked twice.

use super::*;
use crate::support::Stop;
use crate::world::credits;

/// Five contacts of a set are answered, with receipts in the tables, and the worker waits for the sixth.
fn in_the_middle(world: &World) -> i32 {
    in_the_middle_of(world, |world| {
        enqueue(&mut world.caller(), 1..=6);
    })
}

fn in_the_middle_of(world: &World, queue: impl FnOnce(&World)) -> i32 {
    hangs_for(world, 6);
    queue(world);
    let worker = wait_for_worker(world, 6);
    eventually("the receipts are written", SOON, || {
        world.number("SELECT count(*) FROM leadlex.receipt") == 5
    });
    answers(world);
    worker
}

fn check_done_once(world: &World) {
    wait_for(world, "done", 6);
    for n in 1..=5 {
        assert_eq!(asked_about(world, n), 1, "contact {n}");
    }
    assert_eq!(filled(world), 6);
    assert_eq!(credits(&mut world.caller()), Some(4));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.enrichment"), 6);
    world.check_credits_add_up();
}

#[test]
fn kill_9_of_a_worker_loses_and_doubles_nothing() {
    let world = world(&Beginning::default());
    let worker = in_the_middle(&world);
    crash(&world, worker);
    check_done_once(&world);
    // In company it is no attempt: which of them it was that the process did not survive is found in halves.
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job"), 1);
}

#[test]
fn kill_9_of_a_worker_with_sets_that_it_runs_together_loses_and_doubles_nothing() {
    let world = world(&Beginning::default());
    let worker = in_the_middle_of(&world, |world| enqueue_one_by_one(world, 1..=6));
    crash(&world, worker);
    check_done_once(&world);
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job"), 2);
}

#[test]
fn kill_9_of_the_server_loses_and_doubles_nothing() {
    let world = world(&Beginning::default());
    in_the_middle(&world);
    world.cluster.restart(Stop::Kill);
    check_done_once(&world);
}

#[test]
fn an_immediate_stop_loses_and_doubles_nothing() {
    let world = world(&Beginning::default());
    in_the_middle(&world);
    world.cluster.restart(Stop::Immediate);
    check_done_once(&world);
}

#[test]
fn a_fast_shutdown_does_not_wait_for_a_job() {
    let world = world(&Beginning::default());
    in_the_middle(&world);
    let took = world.cluster.stop(Stop::Fast);
    assert!(took < Duration::from_secs(1), "{took:?}");
    world.cluster.start_again();
    check_done_once(&world);
}

#[test]
fn a_worker_that_is_terminated_or_cancelled_is_followed_by_another() {
    let world = world(&Beginning::default());
    let worker = in_the_middle(&world);
    hangs_for(&world, 6);
    world.run(&format!("SELECT pg_cancel_backend({worker})"));
    world.provider.wait_for(7, SOON);
    let worker = wait_for_worker(&world, 7);
    answers(&world);
    world.run(&format!("SELECT pg_terminate_backend({worker})"));
    check_done_once(&world);
}

/// One that takes its process with it each time must not do so for ever.
#[test]
fn what_is_never_finished_is_given_up() {
    let world = world(&Beginning { conf: &["leadlex.job_max_attempts = 2"], ..Beginning::default() });
    hangs_for(&world, 1);
    enqueue(&mut world.caller(), 1..=1);
    for attempt in 1..=2 {
        let worker = wait_for_worker(&world, attempt);
        crash(&world, worker);
    }
    wait_for(&world, "dead", 1);
    assert_eq!(last_error(&world, "dead"), "the server process that ran it has ended");
}

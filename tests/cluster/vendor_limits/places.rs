//! A place is given back whatever becomes of its request, and those who wait get theirs in the order in which they came.

use super::*;
use crate::support::{Stop, eventually};
use crate::world::{enrich, pid, sqlstate};

/// The vendor has one place, and it can be had now.
fn is_free(world: &World, n: i32) {
    world.provider.on(PATH, known);
    let begun = Instant::now();
    enrich(&mut world.caller(), n).unwrap_or_else(|error| panic!("the place is taken: {error:?}"));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

fn hang(world: &World, each: Duration) {
    world.provider.on(PATH, move |request| known(request).after(each));
}

#[test]
fn no_end_of_a_session_or_call_keeps_a_place() {
    let world = world(40, &["leadlex.provider_timeout = '20s'", "leadlex.total_timeout = '20s'"]);
    configure(&world, json!({"max_concurrent": 1}));
    let mut n = 0;
    let mut next = || {
        n += 1;
        n
    };
    // A session that is ended in the middle of its request.
    hang(&world, Duration::from_secs(15));
    for _ in 0..3 {
        let (asked, of, mut caller) = (world.provider.count(), next(), world.caller());
        let backend = pid(&mut caller);
        std::thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut caller, of));
            world.provider.wait_for(asked + 1, Duration::from_secs(10));
            world.run(&format!("SELECT pg_terminate_backend({backend})"));
            assert!(call.join().unwrap().is_err());
        });
        world.wait_until_gone(backend);
    }
    is_free(&world, next());
    // A session that is ended while it waits.
    hang(&world, Duration::from_secs(2));
    std::thread::scope(|scope| {
        let (asked, of, world) = (world.provider.count(), [next(), next()], &world);
        let first = scope.spawn(move || enrich(&mut world.caller(), of[0]));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        let mut waiting = world.caller();
        let backend = pid(&mut waiting);
        let call = scope.spawn(move || enrich(&mut waiting, of[1]));
        eventually("it waits", Duration::from_secs(5), || waits(&world, backend));
        world.run(&format!("SELECT pg_terminate_backend({backend})"));
        assert!(call.join().unwrap().is_err());
        first.join().unwrap().unwrap();
    });
    is_free(&world, next());
    // A call that is cancelled: the vendor has its request all the same, and the place is free when that is over.
    hang(&world, Duration::from_secs(1));
    let (asked, of, mut caller) = (world.provider.count(), next(), world.caller());
    caller.batch_execute("BEGIN; SAVEPOINT a").unwrap();
    let cancelled = pid(&mut caller);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, of));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        world.cancel(cancelled);
        assert_eq!(sqlstate(&call.join().unwrap()), "57014");
    });
    let begun = Instant::now();
    enrich(&mut world.caller(), next()).unwrap();
    assert!(begun.elapsed() > Duration::from_millis(300), "it waited for that: {:?}", begun.elapsed());
    // An error behind the request, in a transaction that goes on.
    caller.batch_execute("ROLLBACK TO a").unwrap();
    world.provider.on(PATH, known);
    world.run("ALTER TABLE crm ADD CONSTRAINT short CHECK (phone NOT LIKE '%5%') NOT VALID");
    let _ = enrich(&mut caller, next());
    world.run("ALTER TABLE crm DROP CONSTRAINT short");
    is_free(&world, next());
    // Set after set is given up in the middle.
    hang(&world, Duration::from_millis(500));
    let ids: Vec<_> = (21..=30).map(contact).collect();
    for _ in 0..3 {
        let mut impatient = world.caller();
        impatient.batch_execute("SET statement_timeout = '300ms'").unwrap();
        assert!(impatient.query("SELECT count(*) FROM enrich_contacts($1)", &[&ids]).is_err());
    }
    is_free(&world, next());
    // The server crashes with a request under way.
    hang(&world, Duration::from_secs(15));
    let (asked, of, mut caller) = (world.provider.count(), next(), world.caller());
    let backend = pid(&mut caller);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, of));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        world.cluster.kill9(backend);
        assert!(call.join().unwrap().is_err());
    });
    world.cluster.wait_until_ready();
    is_free(&world, next());
    world.cluster.restart(Stop::Immediate);
    is_free(&world, next());
}

#[test]
fn a_long_set_keeps_no_call_from_its_turn() {
    let world = world(130, &[]);
    configure(&world, json!({"max_concurrent": 2}));
    takes_at_once(&world, 2, Duration::from_millis(100));
    std::thread::scope(|scope| {
        let world = &world;
        let set = scope.spawn(move || enriched(&mut world.caller(), 1..=100));
        world.provider.wait_for(4, Duration::from_secs(10));
        let mut slowest = Duration::ZERO;
        for n in 101..=110 {
            let begun = Instant::now();
            enrich(&mut world.caller(), n).unwrap();
            slowest = slowest.max(begun.elapsed());
        }
        assert!(!set.is_finished(), "the set is still under way");
        assert!(slowest < Duration::from_millis(1_000), "{slowest:?}");
        assert_eq!(set.join().unwrap(), 100);
    });
}

#[test]
fn who_waits_uses_no_processor_and_is_woken() {
    let world = world(10, &[]);
    configure(&world, json!({"max_concurrent": 1}));
    hang(&world, Duration::from_secs(3));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| enrich(&mut world.caller(), 1));
        world.provider.wait_for(1, Duration::from_secs(10));
        let mut waiting = world.caller();
        let backend = pid(&mut waiting);
        let call = scope.spawn(move || {
            let result = enrich(&mut waiting, 2);
            (result, Instant::now())
        });
        eventually("it waits", Duration::from_secs(5), || waits(&world, backend));
        let ticks = || -> u64 {
            let stat = std::fs::read_to_string(format!("/proc/{backend}/stat")).unwrap();
            let rest = stat.rsplit(") ").next().unwrap().split(' ').collect::<Vec<_>>();
            rest[11].parse::<u64>().unwrap() + rest[12].parse::<u64>().unwrap()
        };
        let before = ticks();
        std::thread::sleep(Duration::from_secs(1));
        assert!(ticks() - before <= 2, "{} ticks", ticks() - before);
        world.provider.on(PATH, known);
        first.join().unwrap().unwrap();
        let over = Instant::now();
        let (result, ended) = call.join().unwrap();
        result.unwrap();
        let late = ended.saturating_duration_since(over);
        assert!(late < Duration::from_millis(250), "woken, not by a look now and then: {late:?}");
    });
    assert_eq!(under_way(&world), 0);
}

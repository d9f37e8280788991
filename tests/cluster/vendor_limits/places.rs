//! A place is given back whatever becomes of its request, and those who wait get theirs in the order in which they came.

use std::sync::atomic::AtomicBool;

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

/// The vendor takes one at a time, and whoever waits has long.
fn one_place(contacts: i32) -> World {
    let world = world(contacts, &["leadlex.provider_timeout = '20s'", "leadlex.total_timeout = '20s'"]);
    configure(&world, json!({"max_concurrent": 1}));
    world
}

#[test]
fn a_session_that_ends_keeps_no_place() {
    let world = one_place(10);
    hang(&world, Duration::from_secs(15));
    for n in 1..=3 {
        let (asked, mut caller) = (world.provider.count(), world.caller());
        let backend = pid(&mut caller);
        std::thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut caller, n));
            world.provider.wait_for(asked + 1, Duration::from_secs(10));
            world.run(&format!("SELECT pg_terminate_backend({backend})"));
            assert!(call.join().unwrap().is_err());
        });
        world.wait_until_gone(backend);
    }
    is_free(&world, 4);
    // One that waits.
    hang(&world, Duration::from_secs(2));
    std::thread::scope(|scope| {
        let (asked, world) = (world.provider.count(), &world);
        let first = scope.spawn(move || enrich(&mut world.caller(), 5));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        let mut waiting = world.caller();
        let backend = pid(&mut waiting);
        let call = scope.spawn(move || enrich(&mut waiting, 6));
        eventually("it waits", Duration::from_secs(5), || waits(world, backend));
        world.run(&format!("SELECT pg_terminate_backend({backend})"));
        assert!(call.join().unwrap().is_err());
        first.join().unwrap().unwrap();
    });
    is_free(&world, 7);
}

#[test]
fn a_call_that_fails_keeps_no_place() {
    let world = one_place(30);
    // A call that is cancelled: the vendor has its request all the same, and the place is free when that is over.
    hang(&world, Duration::from_secs(1));
    let mut caller = world.caller();
    caller.batch_execute("BEGIN; SAVEPOINT a").unwrap();
    let cancelled = pid(&mut caller);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1));
        world.provider.wait_for(1, Duration::from_secs(10));
        world.cancel(cancelled);
        assert_eq!(sqlstate(&call.join().unwrap()), "57014");
    });
    let begun = Instant::now();
    enrich(&mut world.caller(), 2).unwrap();
    assert!(begun.elapsed() > Duration::from_millis(1_300), "it waited for that: {:?}", begun.elapsed());
    // An error behind the request, in a transaction that goes on.
    caller.batch_execute("ROLLBACK TO a").unwrap();
    world.run(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;
               CREATE TRIGGER no BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION no()",
    );
    assert_eq!(sqlstate(&enrich(&mut caller, 3)), "P0001");
    world.run("DROP TRIGGER no ON crm");
    is_free(&world, 4);
    // Set after set is given up in the middle.
    hang(&world, Duration::from_millis(500));
    let ids: Vec<_> = (11..=20).map(contact).collect();
    for _ in 0..3 {
        let mut impatient = world.caller();
        impatient.batch_execute("SET statement_timeout = '300ms'").unwrap();
        assert!(impatient.query("SELECT count(*) FROM enrich_contacts($1)", &[&ids]).is_err());
    }
    is_free(&world, 5);
    // The vendor does not answer.
    world.cluster.set("leadlex.provider_timeout", "300ms");
    world.provider.on(PATH, |_| Behaviour::Never);
    for n in 21..=23 {
        assert_eq!(sqlstate(&enrich(&mut world.caller(), n)), "LX503");
    }
    is_free(&world, 6);
}

#[test]
fn a_crash_keeps_no_place() {
    let world = one_place(10);
    hang(&world, Duration::from_secs(15));
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1));
        world.provider.wait_for(1, Duration::from_secs(10));
        world.cluster.kill9(backend);
        assert!(call.join().unwrap().is_err());
    });
    eventually("the crash is under way", Duration::from_secs(10), || {
        world.cluster.log().contains("terminated by signal 9")
    });
    world.cluster.wait_until_ready();
    is_free(&world, 2);
    world.cluster.restart(Stop::Immediate);
    is_free(&world, 3);
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
fn nobody_goes_before_who_came_first() {
    let world = world(300, &[]);
    configure(&world, json!({"max_requests_per_second": 1}));
    world.provider.on(PATH, known);
    world
        .owner()
        .execute("SELECT leadlex.grant_access(current_user::name, $1)", &[&world.workspace])
        .unwrap();
    let over = AtomicBool::new(false);
    let waited: Vec<Duration> = std::thread::scope(|scope| {
        let (world, over) = (&world, &over);
        // They have no time to wait, and try again and again.
        for hasty in 1..=3 {
            scope.spawn(move || {
                let mut caller = world.owner();
                caller.batch_execute("SET leadlex.total_timeout = '20ms'").unwrap();
                let mut contacts = (hasty * 50..).take(50).cycle();
                while !over.load(Ordering::SeqCst) {
                    let _ = enrich(&mut caller, contacts.next().unwrap());
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        world.provider.wait_for(1, Duration::from_secs(10));
        let mut patient = world.caller();
        let calls = (1..=4).map(|n| {
            let begun = Instant::now();
            enrich(&mut patient, n).unwrap();
            begun.elapsed()
        });
        let waited = calls.collect();
        over.store(true, Ordering::SeqCst);
        waited
    });
    assert!(waited.iter().all(|waited| *waited < Duration::from_millis(1_800)), "{waited:?}");
}

#[test]
fn a_set_that_cannot_take_its_turn_keeps_nobody_from_theirs() {
    let world = world(10, &["leadlex.max_parallel_requests = 2"]);
    configure(&world, json!({"max_concurrent": 1}));
    second(&world);
    // Two of the set go on to the second vendor, which is slow: the set has no hand free.
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person1@acme.example" | "person2@acme.example") => Behaviour::json(404, json!({})),
        _ => known(request),
    });
    world.provider.on("/second", |request| known(request).after(Duration::from_secs(4)));
    std::thread::scope(|scope| {
        let world = &world;
        let set = scope.spawn(move || enriched(&mut world.caller(), 1..=6));
        eventually("both are there", Duration::from_secs(10), || world.provider.count_of("/second") == 2);
        let begun = Instant::now();
        enrich(&mut world.caller(), 7).unwrap();
        assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
        assert!(!set.is_finished());
        assert_eq!(set.join().unwrap(), 6);
    });
}

#[test]
fn who_waits_uses_no_processor() {
    let world = world(10, &[]);
    configure(&world, json!({"max_concurrent": 1}));
    hang(&world, Duration::from_secs(3));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| enrich(&mut world.caller(), 1));
        world.provider.wait_for(1, Duration::from_secs(10));
        let mut waiting = world.caller();
        let backend = pid(&mut waiting);
        let call = scope.spawn(move || enrich(&mut waiting, 2));
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
        call.join().unwrap().unwrap();
    });
    eventually("all places are free", Duration::from_secs(5), || under_way(&world) == 0);
}

#[test]
fn who_waits_is_woken() {
    const CALLS: i32 = 8;
    let world = world(CALLS, &[]);
    configure(&world, json!({"max_concurrent": 1}));
    hang(&world, Duration::from_millis(50));
    let callers: Vec<_> = (1..=CALLS).map(|n| (n, world.caller())).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (n, mut caller) in callers {
            scope.spawn(move || enrich(&mut caller, n).unwrap());
        }
    });
    // By looks now and then alone it would be half a second for each.
    assert!(begun.elapsed() < Duration::from_millis(2_000), "{:?}", begun.elapsed());
}

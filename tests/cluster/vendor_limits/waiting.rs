//! Sets that wait for a vendor's minute and for its Retry-After: leadlex.batch_wait_for_rate_limit, leadlex.batch_wait_limit.

use super::*;

const WAITS: &str = "SET leadlex.batch_wait_for_rate_limit = on";

/// Every so many requests the vendor wants to be left alone for so long.
fn pauses_after(world: &World, requests: usize, seconds: u32) {
    let asked = AtomicUsize::new(0);
    world.provider.on(PATH, move |request| match (asked.fetch_add(1, Ordering::SeqCst) + 1) % requests {
        0 => retry_after(seconds),
        _ => known(request),
    });
}

#[test]
fn a_set_waits_for_retry_after_where_it_is_to() {
    let world = world(60, &["leadlex.max_parallel_requests = 4"]);
    pauses_after(&world, 10, 1);
    let mut caller = world.caller();
    assert!(enriched(&mut caller, 1..=30) < 30, "without the setting it does not");
    world.end_pauses();
    caller.batch_execute(WAITS).unwrap();
    let left = world.number("SELECT count(*) FROM crm WHERE phone IS NULL");
    assert_eq!(enriched(&mut caller, 1..=60), left, "all that were left");
}

#[test]
fn a_vendor_that_counts_otherwise_for_a_moment_costs_a_set_nothing() {
    let world = world(60, &["leadlex.max_parallel_requests = 4"]);
    configure(&world, json!({"max_concurrent": 4}));
    let asked = AtomicUsize::new(0);
    world.provider.on(PATH, move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        20 | 40 => too_many(),
        _ => known(request),
    });
    assert_eq!(enriched(&mut world.caller(), 1..=60), 60);
    assert_eq!(world.provider.count(), 62);
}

#[test]
fn two_sets_wait_for_one_vendor_and_none_of_them_in_vain() {
    let world = world(60, &["leadlex.max_parallel_requests = 2"]);
    pauses_after(&world, 12, 1);
    std::thread::scope(|scope| {
        let world = &world;
        let sets = [1..=30, 31..=60].map(|half| {
            scope.spawn(move || {
                let mut caller = world.caller();
                caller.batch_execute(WAITS).unwrap();
                enriched(&mut caller, half)
            })
        });
        assert_eq!(sets.map(|set| set.join().unwrap()), [30, 30]);
    });
}

#[test]
fn a_contact_alone_is_asked_about_again() {
    let world = world(1, &[]);
    let asked = AtomicUsize::new(0);
    world.provider.on(PATH, move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => retry_after(1),
        _ => known(request),
    });
    let mut caller = world.caller();
    caller.batch_execute(WAITS).unwrap();
    assert_eq!(enriched(&mut caller, 1..=1), 1);
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn it_waits_no_longer_than_its_limit() {
    let world = world(10, &["leadlex.batch_wait_limit = '3s'"]);
    let mut caller = world.caller();
    caller.batch_execute(WAITS).unwrap();
    // Longer at once.
    world.provider.on(PATH, |_| retry_after(30));
    let begun = Instant::now();
    assert_eq!(enriched(&mut caller, 1..=5), 0);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // Longer in all, since the vendor never takes one.
    world.end_pauses();
    world.provider.on(PATH, |_| retry_after(1));
    let begun = Instant::now();
    assert_eq!(enriched(&mut caller, 6..=10), 0);
    assert!((1..8).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let error = caller.batch_execute("SET leadlex.batch_wait_limit = '1h'").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501", "it is the superuser's");
    let error = world.owner().batch_execute("SET leadlex.batch_wait_limit = '25h'").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22023");
    let shown: String = world
        .owner()
        .query_one("SELECT boot_val || unit FROM pg_settings WHERE name = 'leadlex.batch_wait_limit'", &[])
        .unwrap()
        .get(0);
    assert_eq!(shown, "61000ms");
}

#[test]
fn a_set_waits_for_its_part_of_the_minute() {
    let world = world(10, &["leadlex.total_timeout = '2s'"]);
    configure(&world, json!({"max_requests_per_minute": 30}));
    // Five at once, and the next five ten seconds later.
    let begun = Instant::now();
    assert_eq!(enriched(&mut world.caller(), 1..=10), 10);
    assert!((10..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[test]
fn a_minute_that_is_used_up_is_told_at_once() {
    // On a busy machine two seconds can be over before a contact's turn.
    let world = world(10, &["leadlex.total_timeout = '40s'"]);
    configure(&world, json!({"max_requests_per_minute": 5}));
    let begun = Instant::now();
    assert_eq!(enriched(&mut world.caller(), 1..=10), 5);
    assert!(begun.elapsed() < Duration::from_secs(20), "it waits for nothing: {:?}", begun.elapsed());
    assert_eq!(stats(&world)["failures_by_kind"], json!({"provider_limit": 5}));
}

#[test]
fn a_set_waits_for_the_next_minute_where_it_is_to() {
    let world = world(12, &["leadlex.total_timeout = '2s'"]);
    configure(&world, json!({"max_requests_per_minute": 6}));
    assert_eq!(enriched(&mut world.caller(), 1..=5), 5);
    crate::support::eventually("the worker closes the leases", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.rate_use WHERE lease = 0 AND day_used = 5") == 1
    });
    // As though that had been most of a minute ago.
    world.run("UPDATE leadlex.rate_use SET newest = newest - 52");
    world.cluster.restart(crate::support::Stop::Immediate);
    let mut caller = world.caller();
    assert_eq!(enriched(&mut caller, 6..=10), 1, "the minute has one more");
    caller.batch_execute(WAITS).unwrap();
    let begun = Instant::now();
    assert_eq!(enriched(&mut caller, 6..=10), 4);
    assert!((2..15).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[test]
fn others_of_the_set_go_on_meanwhile() {
    let world = world(40, &[]);
    // What the first has not, the second is asked for, which takes one a second.
    let slow = {
        let mut config = world.provider.config("/second");
        config["max_requests_per_second"] = json!(4);
        config
    };
    world.add_provider("second", &slow);
    world.provider.on("/second", known);
    world.provider.on(PATH, |request| match request.param("email") {
        Some(email) if email.as_bytes()[6] % 2 == 0 => Behaviour::json(404, json!({})),
        _ => known(request),
    });
    assert_eq!(enriched(&mut world.caller(), 1..=40), 40);
    let second = world.provider.count_of("/second");
    assert_eq!(world.provider.count_of(PATH), 40);
    assert!((10..=30).contains(&second), "{second}");
}

//! Single calls: they wait for their turn within their total time, and then the provider is passed over.

use super::*;
use crate::provider_faults::reason;
use crate::support::{eventually, fails};
use crate::world::{SECRET, enrich, pid, sqlstate};

/// Calls in sessions of their own, at the same time; how each ended.
fn at_once(world: &World, numbers: std::ops::RangeInclusive<i32>) -> Vec<Result<Value, postgres::Error>> {
    std::thread::scope(|scope| {
        let calls: Vec<_> = numbers.map(|n| scope.spawn(move || enrich(&mut world.caller(), n))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

#[test]
fn calls_wait_for_their_turn() {
    let world = world(12, &[]);
    configure(&world, json!({"max_concurrent": 2}));
    let peak = takes_at_once(&world, 2, Duration::from_millis(150));
    let calls = at_once(&world, 1..=12);
    assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    assert_eq!(peak.load(Ordering::SeqCst), 2);
}

#[test]
fn calls_wait_for_the_next_second() {
    let world = world(9, &[]);
    configure(&world, json!({"max_requests_per_second": 3}));
    takes_a_second(&world, 3);
    let begun = Instant::now();
    let calls = at_once(&world, 1..=9);
    assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(world.provider.count(), 9);
}

#[test]
fn after_its_time_the_provider_is_passed_over_and_the_next_is_asked() {
    let world = world(4, &["leadlex.total_timeout = '1s'"]);
    configure(&world, json!({"max_concurrent": 1}));
    world.provider.on(PATH, |request| known(request).after(Duration::from_secs(4)));
    // The superuser may wait longer.
    world
        .owner()
        .execute("SELECT leadlex.grant_access(current_user::name, $1)", &[&world.workspace])
        .unwrap();
    let mut long = world.owner();
    long.batch_execute("SET leadlex.total_timeout = '10s'").unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut long, 1));
        world.provider.wait_for(1, Duration::from_secs(10));
        let begun = Instant::now();
        let failure = fails(enrich(&mut world.caller(), 2));
        assert_eq!(reason(&failure), ("main".to_owned(), "rate_limited".to_owned()), "{failure:?}");
        let entry = &failure.json()["providers"][0];
        assert!(entry["message"].as_str().unwrap().contains("1 at once (max_concurrent)"), "{entry}");
        assert!(entry["retry_after"].as_i64().unwrap() >= 1, "{entry}");
        assert!((400..1_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        second(&world);
        assert_eq!(enrich(&mut world.caller(), 2).unwrap()["source"], "second");
        assert_eq!(stats(&world)["failures_by_kind"], json!({"rate_limited": 2}));
        assert_eq!(stats(&world)["state"], "ok", "that is no word of the vendor's");
        call.join().unwrap().unwrap();
    });
    assert_eq!(world.provider.count_of(PATH), 1);
}

#[test]
fn a_wait_that_is_known_to_be_too_long_is_not_begun() {
    let world = world(20, &["leadlex.total_timeout = '2s'"]);
    configure(&world, json!({"max_requests_per_minute": 12}));
    let mut caller = world.caller();
    for n in 1..=5 {
        enrich(&mut caller, n).unwrap();
    }
    let begun = Instant::now();
    let failure = fails(enrich(&mut caller, 6));
    assert_eq!(reason(&failure).1, "provider_limit", "{failure:?}");
    let seconds = failure.json()["providers"][0]["retry_after"].as_i64().unwrap();
    assert!((15..=26).contains(&seconds), "five of twelve a minute: {seconds} s");
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    second(&world);
    assert_eq!(enrich(&mut caller, 6).unwrap()["source"], "second");
    assert_eq!(world.provider.count_of(PATH), 5);
}

#[test]
fn a_waiting_call_is_cancelled_at_once_and_holds_nothing_but_its_contact() {
    let world = world(4, &[]);
    configure(&world, json!({"max_concurrent": 1}));
    world.provider.on(PATH, |request| known(request).after(Duration::from_secs(3)));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| enrich(&mut world.caller(), 1));
        world.provider.wait_for(1, Duration::from_secs(10));
        let mut waiting = world.caller();
        let waits_as = pid(&mut waiting);
        let call = scope.spawn(move || enrich(&mut waiting, 2));
        eventually("the second waits", Duration::from_secs(5), || waits(&world, waits_as));
        let locks = format!(
            "SELECT coalesce(jsonb_agg(l.locktype || ' ' || l.mode), '[]') FROM pg_locks AS l WHERE pid = {waits_as} AND locktype NOT IN ('virtualxid', 'transactionid', 'relation')"
        );
        let locks: Value = world.owner().query_one(&locks, &[]).unwrap().get(0);
        assert_eq!(locks, json!(["advisory ExclusiveLock"]));
        world.run(&format!("SET lock_timeout = '1s'; UPDATE crm SET note = 'x' WHERE id = '{}'", contact(2)));
        let begun = Instant::now();
        world.cancel(waits_as);
        assert_eq!(sqlstate(&call.join().unwrap()), "57014");
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
        first.join().unwrap().unwrap();
    });
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn with_wait_no_other_vendor_is_asked() {
    let world = world(20, &["leadlex.total_timeout = '3s'"]);
    second(&world);
    configure(&world, json!({"when_limited": "wait"}));
    let mut caller = world.caller();
    // Longer than the call may take: the vendor's word, and what it is known for afterwards.
    world.provider.on(PATH, |_| retry_after(30));
    for paused in [false, true] {
        let failure = fails(enrich(&mut caller, 1));
        assert_eq!(reason(&failure), ("main".to_owned(), "rate_limited".to_owned()), "{failure:?}");
        let detail = failure.json();
        assert_eq!((&detail["reason"], &detail["retryable"]), (&json!("rate_limited"), &json!(true)));
        assert!((28..=30).contains(&detail["retry_after"].as_i64().unwrap()), "{detail}");
        assert_eq!(detail["providers"].as_array().unwrap().len(), 1, "{paused} {detail}");
    }
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of("/second")), (1, 0));
    // A pause that falls within its time is waited for.
    world.end_pauses();
    let asked = AtomicUsize::new(0);
    world.provider.on(PATH, move |request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => retry_after(1),
        _ => known(request),
    });
    assert_eq!(enrich(&mut caller, 2).unwrap()["source"], "main");
    // So is its minute, and where that is too long nobody else is asked.
    world.provider.on(PATH, known);
    configure(&world, json!({"max_requests_per_minute": 12}));
    for n in 3..=7 {
        assert_eq!(enrich(&mut caller, n).unwrap()["source"], "main");
    }
    assert_eq!(fails(enrich(&mut caller, 8)).json()["reason"], "rate_limited");
    configure(&world, json!({"when_limited": "next"}));
    assert_eq!(enrich(&mut caller, 8).unwrap()["source"], "second");
    // What is no limit is no reason to wait.
    configure(&world, json!({"when_limited": "wait", "max_requests_per_minute": null}));
    world.provider.on(PATH, |_| Behaviour::json(402, json!({})));
    assert_eq!(enrich(&mut caller, 9).unwrap()["source"], "second");
    // In a set, too.
    world.end_pauses();
    world.provider.on(PATH, |_| retry_after(30));
    let ids: Vec<_> = (10..=12).map(contact).collect();
    let sql = "SELECT count(*) FILTER (WHERE status = 'failed' AND error_code = 'provider_unavailable') FROM enrich_contacts($1)";
    assert_eq!(caller.query_one(sql, &[&ids]).unwrap().get::<_, i64>(0), 3);
}

#[test]
fn checking_by_hand_waits_and_is_told_the_limit() {
    let world = world(2, &["leadlex.total_timeout = '1s'"]);
    configure(&world, json!({"max_concurrent": 1}));
    world.provider.on(PATH, |request| known(request).after(Duration::from_millis(600)));
    let check = "SELECT leadlex.check_provider('main', '{\"email\": \"a@acme.example\"}')";
    let shown = |long: &str| -> Value {
        let mut owner = world.owner();
        owner.batch_execute(&format!("SET leadlex.total_timeout = '{long}'")).unwrap();
        owner.query_one(check, &[]).unwrap().get(0)
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| shown("10s"));
        world.provider.wait_for(1, Duration::from_secs(10));
        assert_eq!(shown("10s")["outcome"], "match");
        assert_eq!(first.join().unwrap()["outcome"], "match");
        world.provider.on(PATH, |request| known(request).after(Duration::from_secs(3)));
        let first = scope.spawn(|| shown("10s"));
        world.provider.wait_for(3, Duration::from_secs(10));
        let told = shown("1s");
        assert_eq!(
            (&told["outcome"], &told["reason"]),
            (&json!("not_asked"), &json!("rate_limited")),
            "{told}"
        );
        assert!(told["message"].as_str().unwrap().contains("max_concurrent"), "{told}");
        assert_eq!(first.join().unwrap()["outcome"], "match");
    });
}

#[test]
fn mistakes_are_refused_with_their_place() {
    let world = world(1, &[]);
    let refused = |config: Value| {
        let config = {
            let mut whole = world.provider.config(PATH);
            whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
            whole
        };
        let sql = "SELECT leadlex.add_provider('another', config => $1, secret => $2)";
        let failure = crate::support::fails(world.owner().execute(sql, &[&config, &SECRET]));
        (failure.sqlstate.clone(), failure.json()["place"].clone())
    };
    for (config, place) in [
        (json!({"max_concurrent": 0}), "/max_concurrent"),
        (json!({"max_requests_per_second": -1}), "/max_requests_per_second"),
        (json!({"max_requests_per_second": "10"}), "/max_requests_per_second"),
        (json!({"when_limited": "never"}), "/when_limited"),
    ] {
        assert_eq!(refused(config), ("22023".to_owned(), json!(place)));
    }
}

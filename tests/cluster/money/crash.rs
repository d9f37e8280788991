//! Restarts and crashes: what was spent stays, and what is not known counts as spent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{a_match, spend_is, text, world};
use crate::support::{Behaviour, Request, Stop, check, eventually};
use crate::world::{PATH, SECRET, enrich, only_phone, pid};

#[test]
fn a_restart_forgets_nothing_and_adds_nothing() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'day', 1.00)");
    let mut caller = world.caller();
    for n in [1, 2] {
        enrich(&mut caller, n).unwrap();
    }
    drop(caller);
    for how in [Stop::Fast, Stop::Fast] {
        world.cluster.restart(how);
        spend_is(&world, Duration::from_secs(3), "main 2/2/2/2 0.56");
        let used = "SELECT used::text FROM leadlex.budget";
        assert_eq!(text(&mut world.owner(), used), "0.56");
    }
    let mut caller = world.caller();
    enrich(&mut caller, 3).unwrap();
    assert!(enrich(&mut caller, 4).is_err());
    assert_eq!(world.provider.count(), 3);
}

/// A request is under way, so a part of the budget is leased: what it can have cost is all that is unknown afterwards.
#[test]
fn a_restart_during_a_request_leaves_that_request_unknown_and_nothing_else() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'total', 100)");
    for (n, warm, spent) in [(1, false, "0.28"), (2, true, "0.84")] {
        let mut caller = world.caller();
        if warm {
            world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+12025550123")));
            enrich(&mut caller, 9).unwrap();
        }
        world.provider.on(PATH, |_| Behaviour::Never);
        let asked = world.provider.count();
        thread::scope(|scope| {
            scope.spawn(|| enrich(&mut caller, n).map_err(drop));
            world.provider.wait_for(asked + 1, Duration::from_secs(10));
            world.cluster.restart(Stop::Fast);
        });
        let used = "SELECT used::text FROM leadlex.budget";
        assert_eq!(text(&mut world.owner(), used), spent, "warm: {warm}");
    }
    spend_is(&world, Duration::from_secs(3), "main 3/1/1/1 0.28, main -/-/-/- 0.56");
}

/// What is kept free for answers that come later is none of what may have been spent.
#[test]
fn a_crash_beside_answers_that_are_owed_exceeds_no_budget() {
    let world = world(40, a_match(0.5));
    world.provider.on("/jobs", |request| {
        Behaviour::json(202, json!({"id": request.param("email").unwrap_or_default()}))
    });
    world.provider.on("/job", |_| Behaviour::json(200, json!({"status": "running"})));
    let late = json!({
        "identify_by": [["email"]], "poll_every_s": 30, "poll_for_s": 3600, "price": {"currency": "USD", "per_match": 1},
        "steps": [
            {"request": {"method": "POST", "url": world.provider.url("/jobs"), "query": {"email": "{email}"}},
             "response": {"pending": {"status": []}}, "take": {"ticket": "/id"}},
            {"request": {"url": world.provider.url("/job"), "query": {"id": "{ticket}"}},
             "response": {"pending": {"body": [{"pointer": "/status", "in": ["running"]}]}, "fields": {"job_title": "/title"}}}
        ]
    });
    world.add_provider("late", &late);
    world.run("SELECT leadlex.set_budget(NULL, 'total', 14.60, currency => 'USD')");
    let mut caller = world.caller();
    let handed_in = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id LIMIT 14), '{job_title}') WHERE status = 'pending'";
    world.run("SELECT leadlex.enable_provider('main', false)");
    assert_eq!(caller.query_one(handed_in, &[]).unwrap().get::<_, i64>(0), 14);
    world.run("SELECT leadlex.enable_provider('main', true), leadlex.enable_provider('late', false)");
    let used = "SELECT used::text FROM leadlex.budget";
    eventually("it is kept free", Duration::from_secs(5), || {
        world.number("SELECT count(*) FROM leadlex.spend_hold") == 14
    });
    world.provider.on(PATH, |_| Behaviour::Never);
    let asked = world.provider.count_of(PATH);
    thread::scope(|scope| {
        scope.spawn(|| enrich(&mut caller, 20).map_err(drop));
        eventually("it is asked", Duration::from_secs(10), || world.provider.count_of(PATH) > asked);
        world.cluster.kill9(pid(&mut world.owner()));
    });
    world.cluster.wait_until_ready();
    eventually("what is unknown is booked", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.spend WHERE requests IS NULL AND cost > 0") > 0
            && world.number("SELECT count(*) FROM leadlex.spend_lease") == 0
    });
    let within = "SELECT (used > 14.5 AND used <= amount)::text FROM leadlex.budget";
    assert_eq!(text(&mut world.owner(), within), "true", "{}", text(&mut world.owner(), used));
}

/// Which of two providers has spent what the budget for all allowed is not known: the budget of one counts all that it may have.
#[test]
fn a_crash_exceeds_no_budget_beside_a_budget_for_all() {
    const SECOND: &str = "/second";
    let world = world(40, a_match(0.25));
    let mut second = world.provider.config(SECOND);
    second["price"] = json!({"currency": "USD", "per_match": 0.25});
    world.add_provider("second", &second);
    world.run("SELECT leadlex.set_budget(NULL, 'day', 1.00), leadlex.set_budget('second', 'day', 0.50)");
    let other = |asked: &str, other: &str| {
        let enabled = "leadlex.enable_provider";
        world.run(&format!("SELECT {enabled}('{asked}', true), {enabled}('{other}', false)"));
    };
    for path in [PATH, SECOND] {
        world.provider.on(path, |_| Behaviour::Never);
    }
    thread::scope(|scope| {
        for (n, (asked, path)) in
            [("main", PATH), ("main", PATH), ("second", SECOND), ("second", SECOND)].into_iter().enumerate()
        {
            other(asked, if asked == "main" { "second" } else { "main" });
            let (mut caller, before) = (world.caller(), world.provider.count_of(path));
            scope.spawn(move || enrich(&mut caller, n as i32 + 1).map_err(drop));
            eventually("it is asked", Duration::from_secs(10), || world.provider.count_of(path) > before);
        }
        world.cluster.kill9(pid(&mut world.owner()));
    });
    world.cluster.wait_until_ready();
    eventually("what is unknown is booked", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.spend WHERE requests IS NULL AND cost > 0") == 2
            && world.number("SELECT count(*) FROM leadlex.spend_lease") == 0
    });
    let told = |sql: &str| text(&mut world.owner(), sql);
    let used = "SELECT string_agg(used::text, ' ' ORDER BY provider NULLS FIRST) FROM leadlex.budget";
    assert_eq!(
        told("SELECT used::text FROM leadlex.budget WHERE provider = 'second'"),
        "0.5",
        "{}",
        told(used)
    );
    let of_all = "SELECT (used = 1 AND (SELECT sum(cost) FROM leadlex.spend) BETWEEN 0.99 AND 1)::text FROM leadlex.budget WHERE provider IS NULL";
    assert_eq!(told(of_all), "true", "{} {}", told(used), told(super::SPEND));
}

#[test]
fn what_a_crash_has_left_unknown_counts_as_spent() {
    let world = world(640, a_match(0.28));
    world.run("SELECT leadlex.set_budget(NULL, 'day', 20.00)");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    spend_is(&world, Duration::from_secs(2), "main 1/1/1/1 0.28");
    let answer = |request: &Request| {
        let email = request.param("email").unwrap_or("nobody").to_owned();
        Behaviour::json(200, only_phone(&format!("+1202555 {email}"))).after(Duration::from_millis(40))
    };
    // However late the crash comes, there is something left of the budget.
    let (arrived, known) = (AtomicUsize::new(0), answer);
    world.provider.on(PATH, move |request| match arrived.fetch_add(1, Ordering::SeqCst) {
        0..24 => known(request),
        _ => Behaviour::Never,
    });
    thread::scope(|scope| {
        for session in 0..16 {
            let mut caller = world.caller();
            scope.spawn(move || {
                (0..10).take_while(|n| enrich(&mut caller, session * 10 + n + 2).is_ok()).count()
            });
        }
        world.provider.wait_for(25, Duration::from_secs(20));
        world.cluster.kill9(pid(&mut caller));
    });
    world.cluster.wait_until_ready();
    let asked = world.provider.count();
    let mut owner = world.owner();
    let unknown =
        "SELECT (count(*) FILTER (WHERE requests IS NULL AND cost > 0) = 1)::text FROM leadlex.spend";
    eventually("the unknown has a row of its own", Duration::from_secs(5), || {
        text(&mut owner, unknown) == "true"
    });
    let covers = format!("SELECT (sum(cost) BETWEEN 0.28 * {asked} AND 20)::text FROM leadlex.spend");
    assert_eq!(text(&mut owner, &covers), "true", "{}", text(&mut owner, super::SPEND));
    let used = "SELECT (used = (SELECT sum(cost) FROM leadlex.spend))::text FROM leadlex.budget";
    assert_eq!(text(&mut owner, used), "true");
    // A crash costs a tenth of the budget at most, and what was on its way.
    let lost = "SELECT (sum(cost) <= 2.00 + 16 * 0.28)::text FROM leadlex.spend WHERE requests IS NULL";
    assert_eq!(text(&mut owner, lost), "true", "{}", text(&mut owner, super::SPEND));

    // The rest can be spent, and no more.
    world.provider.on(PATH, answer);
    thread::scope(|scope| {
        for session in 0..16 {
            let mut caller = world.caller();
            scope.spawn(move || {
                for n in 0..20 {
                    let _ = enrich(&mut caller, 200 + session * 20 + n);
                }
            });
        }
    });
    assert!(world.provider.count() > asked);
    assert!(world.provider.count() as f64 * 0.28 <= 20.0);
    eventually("it is written", Duration::from_secs(3), || {
        text(&mut owner, "SELECT (sum(cost) > 19.72 AND sum(cost) <= 20)::text FROM leadlex.spend") == "true"
    });
}

/// On the same server, and while a worker is there already.
#[test]
fn what_a_dump_did_not_see_settled_counts_as_spent_where_it_is_restored() {
    let world = world(40, a_match(0.25));
    let mut unused = world.provider.config("/unused");
    unused["price"] = json!({"currency": "USD", "per_match": 0.25});
    world.add_provider("unused", &unused);
    world.run("SELECT leadlex.enable_provider('unused', false), leadlex.set_budget('unused', 'total', 1.00)");
    world.run("SELECT leadlex.set_budget('main', 'total', 10.00)");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    spend_is(&world, Duration::from_secs(3), "main 1/1/1/1 0.25");
    world.provider.on(PATH, |_| Behaviour::Never);
    let file = world.cluster.dir().join("dump");
    thread::scope(|scope| {
        let asked = world.provider.count();
        let mut caller = world.caller();
        scope.spawn(move || enrich(&mut caller, 2).map_err(drop));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        check(world.cluster.command("pg_dump", "app").arg("-Fc").arg("-f").arg(&file), "pg_dump");
        world.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'caller'");
    });
    world.run("CREATE DATABASE restored");
    let mut restore = world.cluster.command("pg_restore", "restored");
    check(restore.args(["--exit-on-error", "-d", "restored"]).arg(&file), "pg_restore");
    let mut owner = world.cluster.connect("restored");
    // A copy that is not used is not written to.
    let lease = "SELECT count(*)::text FROM leadlex.spend_lease";
    assert_eq!(text(&mut owner, lease), "1");
    let of_other = "SELECT used::text FROM leadlex.budget WHERE provider = 'unused'";
    assert_eq!(text(&mut owner, of_other), "0", "what others have leased is none of it");
    owner.execute("SELECT leadlex.alter_provider('main', secret => $1)", &[&SECRET]).unwrap();
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+12025550123")));
    let mut caller = world.cluster.connect_as("restored", "caller");
    enrich(&mut caller, 3).unwrap();
    // What was on its way, and what was leased besides: a tenth of the budget at most.
    let used = "SELECT (used BETWEEN 0.75 AND 0.75 + 1.00)::text FROM leadlex.budget WHERE provider = 'main'";
    assert_eq!(text(&mut owner, used), "true", "{}", text(&mut owner, super::SPEND));
}

//! Restarts and crashes: what was spent stays, and what is not known counts as spent.

use std::thread;
use std::time::Duration;

use super::{a_match, spend_is, text, world};
use crate::support::{Behaviour, Stop, eventually};
use crate::world::{PATH, enrich, only_phone, pid};

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

#[test]
fn what_a_crash_has_left_unknown_counts_as_spent() {
    let world = world(640, a_match(0.28));
    world.run("SELECT leadlex.set_budget(NULL, 'day', 20.00)");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    spend_is(&world, Duration::from_secs(2), "main 1/1/1/1 0.28");
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or("nobody").to_owned();
        Behaviour::json(200, only_phone(&format!("+1202555 {email}"))).after(Duration::from_millis(40))
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

//! An answer about several contacts lets all of them go on to what comes next, which asks about each alone.

use std::time::Duration;

use serde_json::json;

use super::{ALL, asked, counts, enrich_all, outcomes, phone_of, world_of};
use crate::support::Behaviour;
use crate::world::World;

const CONTACTS: i32 = 100;
const SECOND: &str = "/second";

/// The first provider knows nobody, and the second takes a while for each.
fn world() -> World {
    let world = world_of(CONTACTS, None, 100);
    world.provider.on(ALL, |request| {
        let unknown: Vec<_> = asked(request).iter().map(|_| json!({"status": 404})).collect();
        Behaviour::json(200, json!(unknown))
    });
    world.add_provider("second", &world.provider.config(SECOND));
    world.provider.on(SECOND, |request| {
        let number = super::number_in(request.param("email").unwrap());
        Behaviour::json(200, crate::world::only_phone(&phone_of(number))).after(Duration::from_millis(50))
    });
    world
}

#[test]
fn no_more_are_asked_about_at_once_than_may_be() {
    let world = world();
    for most in [4, 32] {
        world.run(&format!("ALTER DATABASE app SET leadlex.max_parallel_requests = {most}"));
        let mut caller = world.caller();
        assert_eq!(
            outcomes(&enrich_all(&mut caller, 1..=CONTACTS)),
            counts([("enriched", CONTACTS as usize)])
        );
        let (peak, second) = (world.provider.peak_in_flight(), world.provider.count_of(SECOND));
        assert!(peak <= most && peak > most / 2, "{peak} at once");
        assert_eq!((world.provider.count_of(ALL), second), (1, CONTACTS as usize));
        world.provider.forget();
        world.run("UPDATE crm SET phone = NULL, email = 'new' || email");
    }
}

#[test]
fn a_set_that_is_stopped_leaves_those_that_had_no_room() {
    let world = world();
    world.provider.on(SECOND, |_| Behaviour::json(404, json!({})).after(Duration::from_millis(300)));
    world.run("ALTER DATABASE app SET leadlex.max_parallel_requests = 4");
    let mut caller = world.caller();
    let set = std::thread::spawn(move || outcomes(&enrich_all(&mut caller, 1..=CONTACTS)));
    crate::support::eventually("the second is asked", Duration::from_secs(10), || {
        world.provider.count_of(SECOND) >= 8
    });
    world.run("SELECT leadlex.stop('enough')");
    let ended = set.join().unwrap();
    let asked = world.provider.count_of(SECOND);
    assert!(asked < 40, "{asked} requests");
    assert_eq!(ended.values().sum::<usize>(), CONTACTS as usize, "{ended:?}");
    assert!(ended["provider_unavailable"] >= CONTACTS as usize - asked, "{ended:?}");
}

#[test]
fn whoever_is_listed_while_there_is_no_room_is_not_asked_about() {
    let world = world();
    world.run("ALTER DATABASE app SET leadlex.max_parallel_requests = 1");
    let mut caller = world.caller();
    let set = std::thread::spawn(move || outcomes(&enrich_all(&mut caller, 1..=40)));
    crate::support::eventually("the second is asked", Duration::from_secs(10), || {
        world.provider.count_of(SECOND) >= 2
    });
    world.run("SELECT leadlex.suppress('person33@acme.example')");
    assert_eq!(set.join().unwrap(), counts([("enriched", 39), ("no_match", 1)]));
    let about = |email: &str| {
        let requests = world.provider.requests();
        requests.iter().filter(|request| request.param("email") == Some(email)).count()
    };
    assert_eq!((about("person33@acme.example"), about("person34@acme.example")), (0, 1));
}

#[test]
fn a_job_that_is_ended_counts_no_attempt_of_those_that_had_no_room() {
    let world = world();
    world.provider.on(SECOND, |request| {
        let number = super::number_in(request.param("email").unwrap());
        Behaviour::json(200, crate::world::only_phone(&phone_of(number))).after(Duration::from_millis(200))
    });
    world.run("ALTER DATABASE app SET leadlex.max_parallel_requests = 4");
    let ids: Vec<_> = (1..=CONTACTS).map(crate::world::contact).collect();
    world.caller().execute("SELECT leadlex.enqueue($1, '{phone}')", &[&ids]).unwrap();
    let soon = Duration::from_secs(30);
    crate::support::eventually("the second is asked", soon, || world.provider.count_of(SECOND) >= 8);
    world.run("SELECT leadlex.pause_queue()");
    let of = |which: &str| world.number(&format!("SELECT count(*) FROM leadlex.job WHERE {which}"));
    crate::support::eventually("nothing runs", soon, || of("state = 'running'") == 0);
    assert!(of("state = 'queued'") > 0);
    assert_eq!(of("state = 'queued' AND (attempts > 0 OR last_error IS NOT NULL)"), 0);
    world.run("SELECT leadlex.resume_queue()");
    crate::support::eventually("all are done", soon, || of("outcome = 'enriched'") == i64::from(CONTACTS));
    assert_eq!(world.provider.count_of(SECOND), CONTACTS as usize);
}

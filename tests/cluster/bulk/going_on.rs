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

//! Where a provider's secret goes, and that none is asked that lacks the one that it wants.

use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};

use crate::support::{Behaviour, Failure, Provider, eventually, fails, person};
use crate::world::{Beginning, PATH, SECRET, World, contact, enrich, number, only_phone, sqlstate};

const ALTER: &str = "SELECT leadlex.alter_provider('main', config => $1)";

/// A role that may describe providers, and is no superuser.
fn clerk(world: &World) -> Client {
    world.run(
        "CREATE ROLE clerk LOGIN; GRANT USAGE ON SCHEMA leadlex TO clerk;
         GRANT EXECUTE ON FUNCTION leadlex.add_provider, leadlex.alter_provider, leadlex.drop_provider,
                                   leadlex.enable_provider, leadlex.check_provider TO clerk",
    );
    world.cluster.connect_as("app", "clerk")
}

fn url(url: &str) -> Value {
    json!({"request": {"url": url}})
}

#[test]
fn a_secret_goes_nowhere_new_unless_it_is_given_again() {
    let world = World::new();
    let thief = Provider::start();
    for provider in [&world.provider, &thief] {
        provider.on(PATH, |_| Behaviour::json(200, person()));
    }
    let mut clerk = clerk(&world);
    let own = world.provider.url(PATH);
    let port = own.split(':').nth(2).unwrap().split('/').next().unwrap().to_owned();
    let elsewhere = [
        thief.url(PATH),
        own.replace("http:", "https:"),
        own.replace("127.0.0.1", "localhost"),
        own.replace(&port, "1"),
    ];
    for place in &elsewhere {
        let refused = fails(clerk.execute(ALTER, &[&url(place)]));
        assert_eq!(refused.sqlstate, "42501", "{place}: {refused:?}");
        assert!(refused.hint.as_ref().unwrap().contains("secret"), "{refused:?}");
        assert!(!refused.message.contains(SECRET), "{refused:?}");
    }
    // The same place, written otherwise, and another path there.
    for path in [own.clone(), format!("{own}?a=1"), own.replace(PATH, "/other")] {
        clerk.execute(ALTER, &[&url(&path)]).unwrap();
    }
    clerk.execute(ALTER, &[&json!({"timeout_ms": 900})]).unwrap();
    clerk.execute("SELECT leadlex.alter_provider('main', priority => 7)", &[]).unwrap();
    enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(thief.count(), 0);
    // With a secret of the clerk's the old one is gone.
    let with_secret = "SELECT leadlex.alter_provider('main', config => $1, secret => 'mine')";
    clerk.execute(with_secret, &[&url(&thief.url(PATH))]).unwrap();
    enrich(&mut world.caller(), 2).unwrap();
    assert_eq!(thief.count(), 1);
    assert_eq!(thief.requests()[0].header("X-Api-Key"), Some("mine"));
    // A superuser says where.
    world.owner().execute(ALTER, &[&url(&own)]).unwrap();
    enrich(&mut world.caller(), 3).unwrap();
    assert_eq!(thief.count(), 1);
}

/// Neither does one that is dropped come back, nor one that is given while somebody changes the place.
#[test]
fn nor_by_a_detour() {
    let world = World::new();
    let thief = Provider::start();
    thief.on(PATH, |_| Behaviour::json(200, person()));
    let mut clerk = clerk(&world);
    let config = thief.config(PATH);
    let mut detour = clerk.transaction().unwrap();
    detour.execute("SELECT leadlex.drop_provider('main')", &[]).unwrap();
    detour.execute("SELECT leadlex.add_provider('main', config => $1)", &[&config]).unwrap();
    detour.commit().unwrap();
    let mut caller = world.caller();
    assert_eq!(sqlstate(&enrich(&mut caller, 1)), "LX503");
    assert_eq!(thief.count(), 0, "there is no secret any more, so it is not asked");

    // It has none now; the superuser who gives it knows where it goes, and the clerk's change waits for that.
    let mut owner = world.owner();
    let mut giving = owner.transaction().unwrap();
    let both = "SELECT leadlex.alter_provider('main', config => $1, secret => $2)";
    giving.execute(both, &[&url(&world.provider.url(PATH)), &SECRET]).unwrap();
    let pid = crate::world::pid(&mut clerk);
    let place = url(&thief.url(PATH));
    let change = std::thread::spawn(move || Failure::of(&clerk.execute(ALTER, &[&place]).unwrap_err()));
    world.wait_until_blocked(pid);
    giving.commit().unwrap();
    assert_eq!(change.join().unwrap().sqlstate, "42501");
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    enrich(&mut caller, 1).unwrap();
    assert_eq!(thief.count(), 0);
}

/// As after a restore.
fn lose_secret(world: &World) {
    world.run("DELETE FROM leadlex.provider_secret");
}

fn give_secret(world: &World) {
    world.owner().execute("SELECT leadlex.alter_provider('main', secret => $1)", &[&SECRET]).unwrap();
}

fn told(failure: &Value) {
    assert_eq!(failure["providers"][0]["reason"], "bad_credentials", "{failure}");
    assert_eq!(failure["providers"][0]["without_secret"], true, "{failure}");
    let message = failure["providers"][0]["message"].as_str().unwrap();
    assert!(message.contains("SELECT leadlex.alter_provider('main', secret => "), "{message}");
}

#[test]
fn who_has_no_secret_is_not_asked() {
    let world = World::with(&Beginning { contacts: 20, credits: Some(100), ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    lose_secret(&world);
    let mut caller = world.caller();
    // More often than the breaker or a pause would let it.
    for n in 1..=8 {
        let refused = Failure::of(&enrich(&mut caller, n).unwrap_err());
        assert_eq!(refused.sqlstate, "LX503");
        told(&refused.json());
        assert!(refused.hint.unwrap().contains("SELECT leadlex.alter_provider('main', secret => "));
    }
    let ids: Vec<_> = (1..=20).map(contact).collect();
    let failed = "SELECT count(*) FROM enrich_contacts($1) WHERE error_code = 'provider_unavailable' AND error_message LIKE '%alter_provider%'";
    assert_eq!(caller.query_one(failed, &[&ids]).unwrap().get::<_, i64>(0), 20);
    let estimate = "SELECT contacts FROM leadlex.estimate('crm', $1) WHERE outcome = 'skipped' AND reason = 'provider unavailable'";
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(caller.query_one(estimate, &[&texts]).unwrap().get::<_, i64>(0), 20);
    let checked: Value = world
        .owner()
        .query_one("SELECT leadlex.check_provider('main', '{\"email\": \"a@acme.example\"}')", &[])
        .unwrap()
        .get(0);
    assert_eq!((&checked["outcome"], &checked["reason"]), (&json!("not_asked"), &json!("bad_credentials")));
    assert_eq!(world.provider.count(), 0, "no address leaves for nothing");
    assert_eq!(
        world.number(
            "SELECT count(*) FROM leadlex.provider_stats WHERE state = 'ok' AND failures_in_a_row = 0"
        ),
        1
    );
    // Nothing has to be waited for.
    give_secret(&world);
    enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn another_provider_is_asked_instead() {
    let world = World::new();
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+15550100100")));
    world.add_provider("second", &world.provider.config(PATH));
    world.run("DELETE FROM leadlex.provider_secret WHERE name = 'main'");
    assert_eq!(enrich(&mut world.caller(), 1).unwrap()["source"], "second");
    assert_eq!(world.provider.count(), 1);
}

/// One that wants none.
#[test]
fn a_request_without_a_place_for_it_needs_no_secret() {
    let world = World::new();
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    world.owner().execute(ALTER, &[&json!({"request": {"headers": {"X-Api-Key": null}}})]).unwrap();
    lose_secret(&world);
    enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn jobs_wait_for_the_secret_and_use_up_no_attempt() {
    let world = World::with(&Beginning {
        conf: &["leadlex.job_max_attempts = 1", "leadlex.job_retry_base = 1"],
        ..Beginning::default()
    });
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    lose_secret(&world);
    let mut caller = world.caller();
    let ids: Vec<_> = (1..=10).map(contact).collect();
    caller.execute("SELECT leadlex.enqueue($1)", &[&ids]).unwrap();
    let waits = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND attempts = 0 AND last_error LIKE '%no secret%'";
    eventually("they have been tried", Duration::from_secs(20), || number(&mut caller, waits) == 10);
    assert_eq!(world.provider.count(), 0);
    give_secret(&world);
    let done = "SELECT count(*) FROM leadlex.job WHERE state = 'done' AND outcome = 'enriched'";
    eventually("they are enriched", Duration::from_secs(40), || number(&mut caller, done) == 10);
}

//! Open files: Postgres keeps as many open as the process may have, less those that are announced to it.

use std::thread;
use std::time::Duration;

use postgres::Client;
use serde_json::json;

use crate::support::{Behaviour, Stop, Surroundings, fails};
use crate::world::{Beginning, PATH, World, contact, enrich, number, open, pid, sqlstate};

/// What Debian gives a service.
const FILES: u32 = 1_024;

fn world(contacts: i32, conf: &[&str]) -> World {
    let world = World::with(&Beginning { credits: None, contacts, conf, ..Beginning::default() });
    world.cluster.surround(Surroundings { files: Some(FILES), ..Surroundings::default() });
    world.cluster.restart(Stop::Fast);
    // Slow enough for many to be under way at once.
    world.provider.always(|request| {
        let phone = format!("+1555{:07}", request.param("email").map_or(0, digits));
        Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": phone}}))
            .after(Duration::from_millis(20))
    });
    world
}

fn digits(text: &str) -> u32 {
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or_default()
}

/// In a session that has used so many tables.
fn session_with_tables(world: &World, tables: i32) -> Client {
    world.run(&format!(
        "DO $$ BEGIN FOR n IN 1..{tables} LOOP EXECUTE format('CREATE TABLE filler%1$s (one int PRIMARY KEY); INSERT INTO filler%1$s VALUES (1)', n); END LOOP; END $$;
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO caller;"
    ));
    let mut caller = world.caller();
    caller
        .batch_execute(&format!(
            "DO $$ DECLARE found int; BEGIN FOR n IN 1..{tables} LOOP EXECUTE format('SELECT count(*) FROM filler%s WHERE one = 1', n) INTO found; END LOOP; END $$"
        ))
        .unwrap();
    caller
}

const SET: &str = "SELECT count(*) FILTER (WHERE status = 'enriched') FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id))";

#[test]
fn a_session_with_hundreds_of_open_tables_enriches_a_set() {
    let world = world(500, &[]);
    let mut caller = session_with_tables(&world, 700);
    let pid = pid(&mut caller);
    assert!(open(pid, "fd") > 700, "{} files are open", open(pid, "fd"));
    assert_eq!(number(&mut caller, SET), 500);
    assert_eq!(world.provider.count(), 500);
    assert!(world.provider.peak_in_flight() > 16, "at most {} at once", world.provider.peak_in_flight());
}

#[test]
fn a_session_that_has_all_files_open_that_it_may_enriches_too() {
    let world = world(100, &[]);
    let mut caller = session_with_tables(&world, 1_000);
    let pid = pid(&mut caller);
    assert!(open(pid, "fd") > 960, "{} files are open", open(pid, "fd"));
    assert!(enrich(&mut caller, 1).is_ok());
    assert_eq!(number(&mut caller, SET), 99);
    // What is written goes through files, too.
    assert_eq!(
        number(&mut caller, "SELECT count(*) FROM filler1, filler1000, crm WHERE phone IS NOT NULL"),
        100
    );
    assert!(open(pid, "fd") < FILES as usize);
}

#[test]
fn a_set_goes_on_with_fewer_connections_where_few_files_may_be_open() {
    let world = world(60, &["max_files_per_process = 64"]);
    let mut caller = world.caller();
    assert_eq!(number(&mut caller, SET), 60);
    let peak = world.provider.peak_in_flight();
    assert!((2..=16).contains(&peak), "{peak} at once");
}

/// What is announced is taken back, whatever ends a call.
#[test]
fn calls_that_are_given_up_leave_no_descriptor_behind() {
    let world = world(
        40,
        &["max_files_per_process = 64", "leadlex.provider_timeout = 300", "leadlex.breaker_failures = 0"],
    );
    world.provider.on(PATH, |_| Behaviour::Never);
    let mut caller = world.caller();
    let pid = pid(&mut caller);
    let mut most = 0;
    for _ in 0..25 {
        let asked = world.provider.count();
        thread::scope(|scope| {
            let set = scope.spawn(|| sqlstate(&caller.query_one(SET, &[])));
            world.provider.wait_for(asked + 1, Duration::from_secs(10));
            // A late request of the set before this one counts, too, and then this one may not have begun.
            while !set.is_finished() {
                world.cancel(pid);
                thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(set.join().unwrap(), "57014");
        });
        most = most.max(open(pid, "fd"));
    }
    assert!(most < 64, "{most} files were open");
    world.provider.on(PATH, |_| Behaviour::json(200, crate::support::person()));
    // After those that were given up.
    thread::sleep(Duration::from_millis(400));
    world.end_pauses();
    assert_eq!(number(&mut caller, SET), 40);
}

#[test]
fn without_a_single_descriptor_nothing_is_sent_and_the_error_names_the_setting() {
    let world = world(3, &["max_files_per_process = 64"]);
    let socket = world.cluster.socket_dir().display().to_string();
    world.run("CREATE EXTENSION dblink; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO caller");
    let mut owner = world.owner();
    owner.execute("SELECT leadlex.grant_access('postgres', $1)", &[&world.workspace]).unwrap();
    let connect = format!(
        "SELECT dblink_connect('c' || $1::int, 'host={socket} port={} user=postgres dbname=app')",
        world.cluster.port()
    );
    let mut connections = 0;
    while owner.query_one(&connect, &[&(connections + 1)]).is_ok() {
        connections += 1;
        assert!(connections < 64, "dblink knows no limit");
    }
    let failure = fails(enrich(&mut owner, 1));
    assert_eq!(failure.sqlstate, "53000", "{failure:?}");
    assert!(failure.message.contains("file descriptor"), "{failure:?}");
    let hint = failure.hint.clone().unwrap_or_default();
    assert!(hint.contains("max_files_per_process") && hint.contains("ulimit"), "{failure:?}");
    let failure = fails(owner.query_one(SET, &[]));
    assert_eq!(failure.sqlstate, "53000", "{failure:?}");
    assert_eq!(world.provider.count(), 0);
    for n in 1..=connections {
        owner.query_one("SELECT dblink_disconnect('c' || $1::int)", &[&n]).unwrap();
    }
    assert_eq!(enrich(&mut owner, 1).unwrap()["contact"]["id"], contact(1).to_string());
}

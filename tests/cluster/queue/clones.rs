//! A clone spends no money; and pausing by hand.

use super::*;
use crate::support::{Cluster, Notices, check};
use std::fs;

fn paused_because(client: &mut Client) -> Option<String> {
    client.query_one("SELECT paused_because FROM leadlex.queue", &[]).unwrap().get(0)
}

#[test]
fn a_paused_queue_begins_nothing() {
    let world = world(&Beginning::default());
    pause(&world);
    pause(&world);
    enqueue(&mut world.caller(), 1..=2);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.provider.count(), 0);
    wait_for(&world, "queued", 2);
    eventually("it is shown", SOON, || {
        world.number(
            "SELECT count(*) FROM leadlex.worker_status WHERE process = 'job worker' AND state = 'paused'",
        ) == 1
    });
    world.cluster.restart(crate::support::Stop::Fast);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.provider.count(), 0, "also after a restart");
    resume(&world);
    wait_for(&world, "done", 2);
    assert_eq!(paused_because(&mut world.owner()), None);
}

/// What is under way is finished, the next set is not begun.
#[test]
fn pausing_counts_at_once() {
    let world = world(&Beginning { contacts: 520, credits: None, ..Beginning::default() });
    hangs_for(&world, 1);
    let mut caller = world.caller();
    enqueue(&mut caller, 1..=1);
    wait_for_worker(&world, 1);
    enqueue(&mut caller, 2..=2);
    pause(&world);
    wait_for(&world, "queued", 2);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(asked_about(&world, 2), 0);
    answers(&world);
    resume(&world);
    wait_for(&world, "done", 2);
}

#[test]
fn a_copy_of_the_database_spends_nothing() {
    let world = world(&Beginning::default());
    enqueue(&mut world.caller(), 1..=2);
    wait_for(&world, "done", 2);
    enqueue_unseen(&world, 3..=4);
    wait_for(&world, "queued", 2);
    world.cluster.connect("postgres").batch_execute("CREATE DATABASE copy TEMPLATE app").unwrap();
    let mut copy = world.cluster.connect("copy");
    assert_eq!(paused_because(&mut copy).as_deref(), Some("clone"));
    world.cluster.restart(crate::support::Stop::Fast);
    wait_for(&world, "done", 4);
    let mut copy = world.cluster.connect("copy");
    let mut caller = world.cluster.connect_as("copy", "caller");
    enqueue(&mut caller, 5..=5);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((world.provider.count(), asked_about(&world, 5)), (4, 0));
    assert_eq!(number(&mut copy, "SELECT queued::int8 FROM leadlex.queue"), 3);
    copy.batch_execute("SELECT leadlex.resume_queue()").unwrap();
    wait_in(&mut copy, "done", 5);
    assert_eq!(paused_because(&mut copy), None);
    assert_eq!(number(&mut copy, "SELECT count(*) FROM leadlex.home"), 1);
    // The original does not care.
    assert_eq!(paused_because(&mut world.owner()), None);
}

#[test]
fn a_restored_database_spends_nothing() {
    let world = world(&Beginning::default());
    enqueue_unseen(&world, 1..=2);
    let file = world.cluster.dir().join("dump");
    let dump = check(world.cluster.command("pg_dump", "app").arg("--format=custom"), "pg_dump");
    fs::write(&file, dump.stdout).unwrap();

    let other = Cluster::start_with(&["leadlex.worker_naptime = 1"]);
    other.connect("postgres").batch_execute("CREATE ROLE caller LOGIN").unwrap();
    other.connect("postgres").batch_execute("CREATE DATABASE app").unwrap();
    check(other.command("pg_restore", "app").args(["--exit-on-error", "-d", "app"]).arg(&file), "pg_restore");
    let mut owner = other.connect("app");
    let asked = world.provider.count();
    assert_eq!(paused_because(&mut owner).as_deref(), Some("clone"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(number(&mut owner, "SELECT queued::int8 FROM leadlex.queue"), 2);
    assert_eq!(world.provider.count(), asked);
    owner
        .batch_execute("SELECT leadlex.alter_provider('main', secret => 's'); SELECT leadlex.resume_queue()")
        .unwrap();
    wait_in(&mut owner, "done", 2);
    assert_eq!(paused_because(&mut owner), None);
}

/// What is restored may have been done, and paid for, since it was dumped.
#[test]
fn a_database_that_is_restored_in_place_pays_nothing_again_and_goes_on_when_it_is_told_to() {
    let world = world(&Beginning::default());
    enqueue_unseen(&world, 1..=2);
    let file = world.cluster.dir().join("dump");
    let dump = check(world.cluster.command("pg_dump", "app").arg("--format=custom"), "pg_dump");
    fs::write(&file, dump.stdout).unwrap();
    resume(&world);
    wait_for(&world, "done", 2);
    assert_eq!(world.provider.count(), 2);
    let mut restore = world.cluster.command("pg_restore", "app");
    check(restore.args(["--exit-on-error", "--clean", "-d", "app"]).arg(&file), "pg_restore --clean");
    world.run("SELECT leadlex.alter_provider('main', secret => 's')");
    assert_eq!(paused_because(&mut world.owner()).as_deref(), Some("clone"));
    world.cluster.restart(crate::support::Stop::Fast);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((world.number("SELECT queued::int8 FROM leadlex.queue"), world.provider.count()), (2, 2));
    // Overdue ones wait for nothing else.
    let begun = Instant::now();
    resume(&world);
    wait_for(&world, "done", 2);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(paused_because(&mut world.owner()), None);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.home"), 1);
}

/// Of another extension that comes after it nothing is paused.
#[test]
fn a_pause_ends_with_its_extension() {
    let world = world(&Beginning::default());
    pause(&world);
    enqueue(&mut world.caller(), 1..=1);
    let paused = "SELECT count(*) FROM leadlex.worker_status WHERE process = 'job worker' AND state = 'paused' AND pid IS NULL";
    eventually("a worker has seen it", SOON, || world.number(paused) == 1);
    world.run("DROP EXTENSION leadlex_enrich CASCADE; CREATE EXTENSION leadlex_enrich");
    world.run(
        "SELECT leadlex.grant_access('caller', leadlex.create_workspace('acme', NULL, 'unmetered')); SELECT leadlex.bind_contacts('crm')",
    );
    world.add_provider("main", &world.provider.config(PATH));
    enqueue(&mut world.caller(), 1..=1);
    wait_for(&world, "done", 1);
}

/// What is inserted in a copy is neither enriched nor queued: the session is told so, once.
#[test]
fn a_trigger_says_that_it_does_nothing_in_a_copy() {
    let world = world(&Beginning::default());
    world.run(
        "CREATE TRIGGER later AFTER INSERT ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert();
         CREATE TRIGGER now AFTER INSERT ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enrich_on_insert()",
    );
    world.cluster.connect("postgres").batch_execute("CREATE DATABASE copy TEMPLATE app").unwrap();
    let (mut copy, told) = Notices::connect(&mut world.cluster.config("copy"));
    for _ in 0..2 {
        copy.batch_execute("INSERT INTO crm (id, email) VALUES (gen_random_uuid(), 'new@acme.example')")
            .unwrap();
    }
    assert_eq!(
        told.messages(),
        ["leadlex_enrich: contacts are neither enriched nor queued in this database"]
    );
    assert_eq!(number(&mut copy, "SELECT count(*) FROM leadlex.job"), 0);
    assert_eq!(world.provider.count(), 0);
}

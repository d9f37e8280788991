//! default_transaction_read_only: what is set for sessions counts for the queue, too.

use super::*;
use crate::support::server;

fn unfrozen(world: &World, user: &str) -> Client {
    let mut client = world.cluster.connect_as("app", user);
    client.batch_execute("SET default_transaction_read_only = off").unwrap();
    client
}

fn paused_because(world: &World, user: &str) -> Option<String> {
    let mut client = world.cluster.connect_as("app", user);
    client.query_one("SELECT paused_because FROM leadlex.queue", &[]).unwrap().get(0)
}

/// Jobs wait as long as `freeze` is in force, and go on after `thaw`.
fn check_waits(world: &World, freeze: &dyn Fn(), thaw: &dyn Fn(), who: &str) {
    freeze();
    let asked = world.provider.count();
    let done = world.number("SELECT done::int8 FROM leadlex.queue");
    let mut caller = unfrozen(world, "caller");
    enqueue(&mut caller, 1..=3);
    eventually("it is seen", SOON, || {
        let sql =
            "SELECT count(*) FROM leadlex.worker_status WHERE process = 'job worker' AND state = 'paused'";
        world.number(sql) == 1
    });
    std::thread::sleep(Duration::from_secs(6));
    let waiting =
        "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND attempts = 0 AND last_error IS NULL";
    assert_eq!((world.number(waiting), world.provider.count()), (3, asked));
    assert_eq!(paused_because(world, who).as_deref(), Some("read_only"));
    thaw();
    wait_for(world, "done", done + 3);
    assert_eq!(paused_because(world, who), None);
    unfrozen(world, "postgres").batch_execute("UPDATE crm SET phone = NULL").unwrap();
}

#[test]
fn jobs_wait_while_nothing_is_to_be_written_by_default() {
    let world = world(&Beginning { credits: None, ..Beginning::default() });
    let run = |sql: &str| world.cluster.connect("postgres").batch_execute(sql).unwrap();
    check_waits(
        &world,
        &|| run("ALTER DATABASE app SET default_transaction_read_only = on"),
        &|| run("ALTER DATABASE app RESET default_transaction_read_only"),
        "postgres",
    );
    check_waits(
        &world,
        &|| run("ALTER ROLE caller SET default_transaction_read_only = true"),
        &|| run("ALTER ROLE caller IN DATABASE app SET default_transaction_read_only = 0"),
        "caller",
    );
    run("ALTER ROLE caller RESET ALL; ALTER ROLE caller IN DATABASE app RESET ALL");
    check_waits(
        &world,
        &|| world.cluster.set("default_transaction_read_only", "on"),
        &|| world.cluster.set("default_transaction_read_only", "off"),
        "postgres",
    );
}

/// A worker that runs was told at its start what was set then.
#[test]
fn a_database_that_is_frozen_while_jobs_run_begins_no_further_ones() {
    let world = world(&Beginning { credits: None, contacts: 20, ..Beginning::default() });
    hangs_for(&world, 1);
    let mut caller = world.caller();
    enqueue(&mut caller, 1..=1);
    wait_for_worker(&world, 1);
    let mut admin = world.cluster.connect("postgres");
    admin.batch_execute("ALTER DATABASE app SET default_transaction_read_only = on").unwrap();
    (2..=20).for_each(|n| {
        enqueue(&mut caller, n..=n);
    });
    answers(&world);
    world.provider.close_connections();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(world.provider.count(), 1);
    admin.batch_execute("ALTER DATABASE app RESET default_transaction_read_only").unwrap();
    wait_for(&world, "done", 20);
}

/// Limits that are set for sessions: workers are none, and bound themselves.
#[test]
fn limits_for_sessions_do_not_end_workers() {
    let world = world(&Beginning::default());
    let mut admin = world.cluster.connect("postgres");
    let mut limits = vec!["lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"];
    if server().major >= 17 {
        limits.push("transaction_timeout");
    }
    for limit in limits {
        admin.batch_execute(&format!("ALTER DATABASE app SET {limit} = '2ms'")).unwrap();
    }
    admin.batch_execute("ALTER ROLE postgres SET statement_timeout = '1ms'; ALTER ROLE caller SET idle_session_timeout = 0").unwrap();
    if server().major >= 17 {
        admin.batch_execute("ALTER ROLE caller SET transaction_timeout = 0").unwrap();
    }
    let mut caller = world.caller();
    enqueue(&mut caller, 1..=3);
    let mut owner = world.cluster.config("app");
    owner.options("-c idle_session_timeout=0 -c statement_timeout=0 -c transaction_timeout=0");
    if server().major < 17 {
        owner.options("-c idle_session_timeout=0 -c statement_timeout=0");
    }
    let mut owner = owner.connect(postgres::NoTls).unwrap();
    wait_in(&mut owner, "done", 3);
    eventually("the ledger is settled", SOON, || {
        number(&mut owner, "SELECT count(*) FROM leadlex.credit_pending") == 0
    });
    assert!(!world.cluster.log().contains("terminating background worker"), "{}", world.cluster.log());
}

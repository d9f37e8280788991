//! Statements about whole databases, and DROP EXTENSION, while a job waits for a provider that does not answer.

use super::*;

/// Runs it while a worker is in the middle of a job; a session would be in its way, so none is left.
fn while_a_job_runs(world: &World, sql: &str) {
    hangs_for(world, 1);
    enqueue(&mut world.caller(), 1..=2);
    wait_for_worker(world, 2);
    eventually("only the workers are there", SOON, || {
        let sessions =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND backend_type = 'client backend'";
        number(&mut world.cluster.connect("postgres"), sessions) == 0
    });
    let mut admin = world.cluster.connect("postgres");
    let begun = Instant::now();
    admin.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    // Postgres itself waits five seconds for sessions that do not leave.
    assert!(begun.elapsed() < Duration::from_secs(4), "{sql}: {:?}", begun.elapsed());
    answers(world);
}

#[test]
fn a_job_is_not_in_the_way_of_drop_database() {
    let world = world(&Beginning::default());
    while_a_job_runs(&world, "DROP DATABASE app");
    let mut admin = world.cluster.connect("postgres");
    admin.batch_execute("CREATE EXTENSION leadlex_enrich").unwrap();
    eventually("it is forgotten", SOON, || {
        let left = "SELECT count(*) FROM leadlex.worker_status WHERE process = 'job worker'";
        number(&mut admin, left) == 0
    });
    std::thread::sleep(Duration::from_secs(1));
    let log = world.cluster.log();
    assert!(!log.contains("does not exist"), "no worker was sent after it: {log}");
}

#[test]
fn a_job_is_not_in_the_way_of_rename_database_and_goes_on_after_it() {
    let world = world(&Beginning::default());
    while_a_job_runs(&world, "ALTER DATABASE app RENAME TO renamed");
    let mut owner = world.cluster.connect("renamed");
    wait_in(&mut owner, "done", 2);
    let attempts = "SELECT max(attempts)::int8 FROM leadlex.job";
    assert_eq!(number(&mut owner, attempts), 1, "an attempt that was cut short is none");
}

#[test]
fn a_job_is_not_in_the_way_of_a_copy_and_goes_on_after_it() {
    let world = world(&Beginning::default());
    while_a_job_runs(&world, "CREATE DATABASE copy TEMPLATE app");
    wait_for(&world, "done", 2);
    let mut copy = world.cluster.connect("copy");
    assert_eq!(
        number(&mut copy, "SELECT (queued + running)::int8 FROM leadlex.queue"),
        2,
        "the copy's are not begun"
    );
}

#[test]
fn a_job_is_not_in_the_way_of_drop_extension() {
    let world = world(&Beginning::default());
    hangs_for(&world, 1);
    enqueue(&mut world.caller(), 1..=2);
    wait_for_worker(&world, 2);
    let mut owner = world.owner();
    let begun = Instant::now();
    owner.batch_execute("DROP EXTENSION leadlex_enrich CASCADE").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    std::thread::sleep(Duration::from_secs(1));
    let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'leadlex_enrich job worker'";
    assert_eq!(number(&mut owner, workers), 0);
    owner.batch_execute("CREATE EXTENSION leadlex_enrich").unwrap();
    assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.job"), 0);
    let paused: bool = owner.query_one("SELECT paused FROM leadlex.queue", &[]).unwrap().get(0);
    assert!(!paused);
}

#[test]
fn a_drop_extension_that_is_rolled_back_leaves_the_job_to_be_done() {
    let world = world(&Beginning::default());
    hangs_for(&world, 1);
    enqueue(&mut world.caller(), 1..=2);
    wait_for_worker(&world, 2);
    let mut owner = world.owner();
    owner.batch_execute("BEGIN; DROP EXTENSION leadlex_enrich CASCADE; ROLLBACK").unwrap();
    answers(&world);
    wait_for(&world, "done", 2);
    assert_eq!(asked_about(&world, 2), 1);
}

#[test]
fn a_setting_is_read_again_by_a_worker_that_runs() {
    let world = world(&Beginning { conf: &["leadlex.job_retry_max = '300ms'"], ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(500, serde_json::json!({})));
    enqueue(&mut world.caller(), 1..=1);
    world.provider.wait_for(2, SOON);
    world.cluster.set("leadlex.job_max_attempts", "1");
    wait_for(&world, "dead", 1);
}

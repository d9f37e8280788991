//! What a look at the queue, and a portion of the ledger, costs does not grow with what waits, is stuck, or is done.

use super::*;

/// Rows of the queue that are like one that is there, due for so long, each of a contact that does not exist: such a job is soon done.
fn multiply(world: &World, rows: i32, home: &str, hours: i32) {
    let sql = format!(
        "INSERT INTO leadlex.job_set (workspace_id, id, first_job, contacts, contact_ids, schema_name, table_name, role, authority,
             fields, overwrite, home, marks, next_attempt_at)
         SELECT workspace_id, gen_random_uuid(), gen_random_uuid(), 1, ARRAY[gen_random_uuid()::text], schema_name, table_name, role,
                authority, fields, overwrite, {home}, ARRAY[]::bigint[], now() - interval '{hours} hours' + n * interval '1 ms'
         FROM (SELECT * FROM leadlex.job_set LIMIT 1) AS one, generate_series(1, {rows}) AS n; ANALYZE leadlex.job_set"
    );
    world.run(&sql);
}

/// Index entries that looks at the queue have read.
fn read(world: &World) -> i64 {
    // What a session has counted is told when it ends, or a second after.
    std::thread::sleep(Duration::from_millis(1500));
    world.number(
        "SELECT sum(idx_tup_read)::int8 FROM pg_stat_user_indexes
         WHERE indexrelname IN ('job_set_waiting', 'job_set_companions', 'job_set_running')",
    )
}

fn drain(world: &World) {
    resume(world);
    eventually("the queue is through", Duration::from_secs(60), || {
        number(
            &mut world.owner(),
            "SELECT count(*) FROM leadlex.job_set WHERE state <> 'done' AND home <> 'elsewhere'",
        ) == 0
    });
}

/// A transaction that sees all of what is done meanwhile as it was before.
fn old_snapshot(world: &World) -> Client {
    let mut client = world.owner();
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM leadlex.job_set")
        .unwrap();
    client
}

#[test]
fn jobs_that_were_queued_one_by_one_are_each_looked_at_a_few_times() {
    const JOBS: i32 = 20_000;
    let world = world(&Beginning { conf: &["autovacuum = off"], ..Beginning::default() });
    pause(&world);
    enqueue(&mut world.caller(), 1..=1);
    multiply(&world, JOBS, "home", 1);
    let before = read(&world);
    drain(&world);
    let looked_at = read(&world) - before;
    assert!(looked_at < i64::from(JOBS) * 8, "{looked_at} entries");
}

#[test]
fn what_an_old_snapshot_keeps_is_not_walked_over_by_each_look() {
    const JOBS: i32 = 1_500;
    let world = world(&Beginning { conf: &["autovacuum = off"], ..Beginning::default() });
    pause(&world);
    enqueue(&mut world.caller(), 1..=1);
    multiply(&world, JOBS, "home", 1);
    // Then each is tried alone.
    world.run("UPDATE leadlex.job_set SET last_error = 'XX000: something'");
    let holder = old_snapshot(&world);
    let before = read(&world);
    drain(&world);
    let looked_at = read(&world) - before;
    drop(holder);
    assert!(looked_at < i64::from(JOBS) * 100, "{looked_at} entries by {JOBS} looks");
}

#[test]
fn what_cannot_be_taken_is_not_walked_over_by_each_look() {
    const STUCK: i32 = 20_000;
    const JOBS: i32 = 500;
    let world = world(&Beginning { conf: &["autovacuum = off"], ..Beginning::default() });
    pause(&world);
    enqueue(&mut world.caller(), 1..=1);
    multiply(&world, JOBS, "home", 1);
    // Then each is tried alone.
    world.run("UPDATE leadlex.job_set SET last_error = 'XX000: something'");
    // Of another database, as a restore may bring them.
    multiply(&world, STUCK, "'elsewhere'", 2);
    let before = read(&world);
    drain(&world);
    let looked_at = read(&world) - before;
    assert!(looked_at < i64::from(STUCK) * i64::from(JOBS) / 3, "{looked_at} entries by {JOBS} looks");
}

/// So that a worker changes neighbours in the indexes, however many wait.
#[test]
fn jobs_have_ids_in_the_order_in_which_they_were_queued() {
    let world = world(&Beginning { contacts: 20, ..Beginning::default() });
    pause(&world);
    let mut caller = world.caller();
    for n in 1..=20 {
        enqueue(&mut caller, n..=n);
    }
    let placed = "SELECT count(*) FROM (SELECT id, lag(id) OVER (ORDER BY created_at) AS before FROM leadlex.job_set) AS s
                  WHERE id > before";
    assert_eq!(world.number(placed), 19);
}

/// Whoever commits late is not passed by, however long it took.
#[test]
fn a_job_that_is_committed_long_after_it_was_queued_is_found() {
    let world = world(&Beginning { contacts: 40, credits: Some(100), ..Beginning::default() });
    let mut late = world.caller();
    late.batch_execute("BEGIN").unwrap();
    enqueue(&mut late, 1..=1);
    let mut caller = world.caller();
    // A worker is at it meanwhile, and passes by what is not there yet.
    for n in 2..=40 {
        enqueue(&mut caller, n..=n);
        std::thread::sleep(Duration::from_millis(100));
        if n == 30 {
            late.batch_execute("COMMIT").unwrap();
        }
    }
    wait_for(&world, "done", 40);
    assert_eq!(filled(&world), 40);
}

#[test]
fn each_portion_of_the_ledger_is_read_once_beside_an_old_snapshot() {
    const ROWS: i64 = 60_000;
    let world = World::with(&Beginning {
        credits: Some(200_000),
        conf: &["autovacuum = off"],
        ..Beginning::default()
    });
    world.settle();
    world.run(&format!(
        "INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id)
         SELECT '{}', gen_random_uuid(), -2, gen_random_uuid() FROM generate_series(1, {ROWS})",
        world.workspace
    ));
    let mut holder = world.owner();
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM crm").unwrap();
    let entries =
        "SELECT sum(idx_tup_read)::int8 FROM pg_stat_user_indexes WHERE indexrelname = 'credit_pending_pkey'";
    let before = world.number(entries);
    // Calls for the worker.
    world.run(&format!("SELECT leadlex.grant_credits('{}', 5)", world.workspace));
    world.settle();
    std::thread::sleep(Duration::from_millis(1500));
    let looked_at = world.number(entries) - before;
    // The account is loaded by the grant, which reads all that is pending twice.
    assert!(looked_at < ROWS * 5 / 2, "{looked_at} entries");
    drop(holder);
    world.check_credits_add_up();
}

//! How long one run of jobs may take, and who gets a worker when there are few.

use super::*;

/// Whoever writes a row of the table waits for a long time.
fn slow(world: &World, table: &str) {
    world.run(&format!(
        "CREATE FUNCTION wait_in_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_sleep(60); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION wait_in_{table}();"
    ));
}

/// A role with a table of its own, of which one contact is queued.
fn queue_as(world: &World, role: &str, table: &str, is_slow: bool) {
    world.run(&format!(
        "CREATE ROLE {role} LOGIN; CREATE TABLE {table} (id int PRIMARY KEY, email text, phone text);
         INSERT INTO {table} VALUES (1, '{role}@acme.example'); GRANT SELECT, UPDATE ON {table} TO {role};
         SELECT leadlex.bind_contacts('{table}', workspace_id => '{0}'), leadlex.grant_access('{role}', '{0}');",
        world.workspace
    ));
    if is_slow {
        slow(world, table);
    }
    let mut client = world.cluster.connect_as("app", role);
    client.execute(&format!("SELECT leadlex.enqueue_rows('{table}', ARRAY['1'])"), &[]).unwrap();
}

fn state_of(client: &mut Client, role: &str) -> String {
    let sql = "SELECT coalesce(string_agg(DISTINCT state, ','), '') FROM leadlex.job WHERE role = $1";
    client.query_one(sql, &[&role]).unwrap().get(0)
}

#[test]
fn a_run_that_takes_too_long_is_an_attempt() {
    let conf = ["leadlex.job_timeout = '1s'", "leadlex.job_max_attempts = 2"];
    let world = world(&Beginning { conf: &conf, ..Beginning::default() });
    slow(&world, "crm");
    let begun = Instant::now();
    enqueue(&mut world.caller(), 1..=1);
    wait_for(&world, "dead", 1);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let told = last_error(&world, "dead");
    assert!(told.contains("57014") && told.contains("leadlex.job_timeout"), "{told}");
    assert_eq!(world.number("SELECT attempts::int8 FROM leadlex.job"), 2);
    assert_eq!(world.provider.count(), 1, "what was answered is kept");
    world.check_credits_add_up();
}

#[test]
fn a_smaller_statement_timeout_of_the_role_counts() {
    let world = world(&Beginning { conf: &["leadlex.job_max_attempts = 1"], ..Beginning::default() });
    slow(&world, "crm");
    world.run("ALTER ROLE caller SET statement_timeout = '700ms'");
    enqueue(&mut world.caller(), 1..=1);
    wait_for(&world, "dead", 1);
    let told = last_error(&world, "dead");
    assert!(told.contains("statement_timeout of its role allows (700 ms)"), "{told}");
}

/// A trigger that catches the cancel is cancelled again.
#[test]
fn a_trigger_that_catches_the_cancel_does_not_go_on_for_ever() {
    let conf = ["leadlex.job_timeout = '1s'", "leadlex.job_max_attempts = 1"];
    let world = world(&Beginning { conf: &conf, ..Beginning::default() });
    world.run(
        "CREATE FUNCTION stubborn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             FOR i IN 1 .. 2 LOOP
                 BEGIN PERFORM pg_catalog.pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END;
             END LOOP;
             PERFORM pg_catalog.pg_sleep(60);
             RETURN NEW;
         END $$;
         CREATE TRIGGER stubborn BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION stubborn();",
    );
    let begun = Instant::now();
    enqueue(&mut world.caller(), 1..=1);
    wait_for(&world, "dead", 1);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}

#[test]
fn two_roles_with_slow_tables_do_not_stop_a_third() {
    let world = world(&Beginning { conf: &["leadlex.job_timeout = '2s'"], ..Beginning::default() });
    for role in ["slow_one", "slow_two"] {
        queue_as(&world, role, &format!("{role}_table"), true);
    }
    // Jobs that come again and again, as each attempt ends.
    world.provider.wait_for(2, SOON);
    enqueue(&mut world.caller(), 1..=3);
    wait_for(&world, "done", 3);
    let mut owner = world.owner();
    assert_eq!(state_of(&mut owner, "caller"), "done");
}

/// With two workers one is kept for others, in whatever databases the role has jobs; with one they take turns.
#[test]
fn one_role_never_has_all_workers() {
    let world = world(&Beginning::default());
    slow(&world, "crm");
    let mut second = world.cluster.database("second");
    second
        .batch_execute(&format!(
            "SELECT leadlex.add_provider('main', config => '{}', secret => 'x');
             CREATE TABLE crm (id int PRIMARY KEY, email text, phone text);
             INSERT INTO crm VALUES (1, 'second@acme.example'); GRANT SELECT, UPDATE ON crm TO caller;
             CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.pg_sleep(60); RETURN NEW; END $$;
             CREATE TRIGGER slow BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION wait();
             SELECT leadlex.bind_contacts('crm'), leadlex.grant_access('caller', (SELECT id FROM leadlex.workspace))",
            world.provider.config(PATH)
        ))
        .unwrap();
    enqueue(&mut world.caller(), 1..=1);
    let mut there = world.cluster.connect_as("second", "caller");
    there.execute("SELECT leadlex.enqueue_rows('crm', ARRAY['1'])", &[]).unwrap();
    world.provider.wait_for(1, SOON);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(world.provider.count(), 1, "the role has jobs in two databases, and one of two workers");
    queue_as(&world, "other", "other_table", false);
    eventually("the other role's job is done", SOON, || state_of(&mut world.owner(), "other") == "done");
    assert!(world.provider.count() <= 2);
}

#[test]
fn with_one_worker_roles_take_turns() {
    let conf = ["leadlex.max_job_workers = 1", "leadlex.job_timeout = '1s'"];
    let world = world(&Beginning { conf: &conf, contacts: 20, ..Beginning::default() });
    slow(&world, "crm");
    // Each run of these fails, and they come again soon.
    enqueue_one_by_one(&world, 1..=20);
    world.provider.wait_for(1, SOON);
    queue_as(&world, "other", "other_table", false);
    eventually("the other role's job is done", SOON, || state_of(&mut world.owner(), "other") == "done");
}

/// Limits on sessions' transactions are not for workers.
#[test]
fn the_ledgers_worker_has_no_time_limit() {
    let world = world(&Beginning::default());
    if world.number("SELECT current_setting('server_version_num')::int8 / 10000") < 17 {
        return;
    }
    world.run("ALTER DATABASE app SET transaction_timeout = '50ms'");
    let mut owner = world.owner();
    owner.batch_execute("SET transaction_timeout = 0").unwrap();
    let mut locks = owner.transaction().unwrap();
    locks.batch_execute("LOCK TABLE leadlex.credit_balance IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut caller = world.caller();
    caller.batch_execute("SET transaction_timeout = 0").unwrap();
    crate::world::enrich(&mut caller, 1).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    locks.rollback().unwrap();
    owner.batch_execute("ALTER DATABASE app RESET transaction_timeout").unwrap();
    world.settle();
    let log = world.cluster.log();
    assert!(!log.contains("transaction timeout"), "{log}");
}

//! How long a run may take, and that roles take turns: none keeps the others from their jobs.

use super::*;

/// A role with a table of its own, whose jobs take as long as its trigger says.
fn team(world: &World, name: &str, trigger: Option<&str>) {
    world.run(&format!(
        "CREATE ROLE {name} LOGIN;
         CREATE TABLE {name}_crm (id uuid PRIMARY KEY, email text, phone text);
         GRANT SELECT, UPDATE ON {name}_crm TO {name};
         INSERT INTO {name}_crm SELECT id, email FROM crm;
         SELECT leadlex.bind_contacts('{name}_crm', workspace_id => id), leadlex.grant_access('{name}', id) FROM leadlex.workspace"
    ));
    if let Some(body) = trigger {
        world.run(&format!(
            "CREATE FUNCTION {name}_slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;
             CREATE TRIGGER slow BEFORE UPDATE ON {name}_crm FOR EACH ROW EXECUTE FUNCTION {name}_slow()"
        ));
    }
}

fn enqueue_as(world: &World, name: &str, numbers: std::ops::RangeInclusive<i32>) {
    let ids: Vec<String> = numbers.map(|n| contact(n).to_string()).collect();
    let sql = format!("SELECT leadlex.enqueue_rows('{name}_crm', $1)");
    world.cluster.connect_as("app", name).execute(&sql, &[&ids]).unwrap();
}

/// Waits until so many jobs of a role are in a state; how long that took.
fn wait_for_jobs_of(world: &World, role: &str, state: &str, count: i64, within: Duration) -> Duration {
    let mut owner = world.owner();
    let begun = Instant::now();
    let sql = format!("SELECT count(*) FROM leadlex.job WHERE role = '{role}' AND state = '{state}'");
    while number(&mut owner, &sql) != count {
        if begun.elapsed() > within {
            wait_in(&mut owner, "as shown here", -1);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

fn errors_of(world: &World, role: &str) -> String {
    let sql = "SELECT coalesce(string_agg(DISTINCT last_error, '; '), '') FROM leadlex.job WHERE role = $1";
    world.owner().query_one(sql, &[&role]).unwrap().get(0)
}

const SLEEPS: &str = "PERFORM pg_catalog.pg_sleep(600);";

#[test]
fn two_roles_with_slow_triggers_do_not_stop_a_third() {
    let conf = &["leadlex.job_timeout = '2s'", "leadlex.max_job_workers = 2"];
    let world = world(&Beginning { conf, ..Beginning::default() });
    team(&world, "slow1", Some(SLEEPS));
    team(&world, "slow2", Some(SLEEPS));
    team(&world, "quick", None);
    enqueue_as(&world, "slow1", 1..=4);
    enqueue_as(&world, "slow2", 1..=4);
    let running = "SELECT count(DISTINCT role) FROM leadlex.job WHERE state = 'running'";
    eventually("both are at it", SOON, || world.number(running) == 2);
    enqueue_as(&world, "quick", 1..=3);
    wait_for_jobs_of(&world, "quick", "done", 3, Duration::from_secs(10));
}

#[test]
fn running_into_the_limit_is_an_attempt_and_in_the_end_the_job_is_given_up() {
    let conf = &["leadlex.job_timeout = '1s'", "leadlex.job_max_attempts = 3"];
    let world = world(&Beginning { conf, ..Beginning::default() });
    team(
        &world,
        "mixed",
        Some("IF NEW.phone LIKE '%person2@%' THEN PERFORM pg_catalog.pg_sleep(600); END IF;"),
    );
    enqueue_as(&world, "mixed", 1..=4);
    eventually("it is seen", SOON, || errors_of(&world, "mixed").contains("57014: "));
    assert_eq!(errors_of(&world, "mixed"), "57014: not done within leadlex.job_timeout (1 s)");
    wait_for_jobs_of(&world, "mixed", "done", 3, SOON);
    wait_for_jobs_of(&world, "mixed", "dead", 1, SOON);
    assert_eq!(errors_of(&world, "mixed"), "57014: not done within leadlex.job_timeout (1 s)");
    let attempts = "SELECT attempts::int8 FROM leadlex.job WHERE state = 'dead'";
    assert_eq!(world.number(attempts), 3);
    assert_eq!(world.provider.count(), 4, "nothing was asked twice");
}

#[test]
fn a_smaller_statement_timeout_of_the_role_counts() {
    let world = world(&Beginning { conf: &["leadlex.job_max_attempts = 1"], ..Beginning::default() });
    team(&world, "short", Some(SLEEPS));
    world.run("ALTER ROLE short IN DATABASE app SET statement_timeout = '800ms'");
    enqueue_as(&world, "short", 1..=1);
    wait_for_jobs_of(&world, "short", "dead", 1, Duration::from_secs(10));
    assert_eq!(errors_of(&world, "short"), "57014: not done within statement_timeout (0.8 s)");
}

/// A trigger can catch a cancel, and go on.
#[test]
fn a_trigger_that_heeds_no_cancel_is_ended_with_its_process() {
    let conf = &["leadlex.job_timeout = '1s'", "leadlex.job_max_attempts = 2", "leadlex.max_job_workers = 1"];
    let world = world(&Beginning { conf, ..Beginning::default() });
    let stubborn = "LOOP BEGIN PERFORM pg_catalog.pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;";
    team(&world, "stubborn", Some(stubborn));
    team(&world, "quick", None);
    enqueue_as(&world, "stubborn", 1..=1);
    world.provider.wait_for(1, SOON);
    enqueue_as(&world, "quick", 1..=1);
    wait_for_jobs_of(&world, "quick", "done", 1, Duration::from_secs(15));
    wait_for_jobs_of(&world, "stubborn", "dead", 1, SOON);
    let error = errors_of(&world, "stubborn");
    assert!(error.starts_with("it went on after leadlex.job_timeout"), "{error}");
}

#[test]
fn with_one_worker_roles_take_turns() {
    let conf = &["leadlex.max_job_workers = 1"];
    let world = world(&Beginning { contacts: 300, credits: None, conf, ..Beginning::default() });
    team(&world, "slow", Some("PERFORM pg_catalog.pg_sleep(0.3);"));
    team(&world, "quick", None);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // There is always something of the slow role's that waits.
        scope.spawn(|| {
            let mut numbers = 1..=300;
            while let Some(n) = numbers.next().filter(|_| !over.load(std::sync::atomic::Ordering::Relaxed)) {
                enqueue_as(&world, "slow", n..=n);
                std::thread::sleep(Duration::from_millis(150));
            }
        });
        let queued = "SELECT count(*) FROM leadlex.job WHERE role = 'slow' AND state = 'queued'";
        eventually("more waits than is done", SOON, || world.number(queued) > 2);
        for n in 1..=3 {
            enqueue_as(&world, "quick", n..=n);
            wait_for_jobs_of(&world, "quick", "done", n.into(), SOON);
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Each database has a queue of the role; the workers are not all for them.
#[test]
fn a_role_that_works_in_many_databases_leaves_a_worker_to_others() {
    let conf = &["leadlex.max_job_workers = 2"];
    let world = world(&Beginning { conf, ..Beginning::default() });
    team(&world, "slow", Some("PERFORM pg_catalog.pg_sleep(20);"));
    team(&world, "quick", None);
    world.cluster.connect("postgres").batch_execute("CREATE DATABASE other TEMPLATE app").unwrap();
    world.cluster.connect("other").batch_execute("SELECT leadlex.resume_queue()").unwrap();
    enqueue_as(&world, "slow", 1..=1);
    world.provider.wait_for(1, SOON);
    let mut elsewhere = world.cluster.connect_as("other", "slow");
    elsewhere
        .execute("SELECT leadlex.enqueue_rows('slow_crm', $1)", &[&vec![contact(2).to_string()]])
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let asked = world.provider.count();
    enqueue_as(&world, "quick", 1..=1);
    wait_for_jobs_of(&world, "quick", "done", 1, Duration::from_secs(10));
    assert_eq!(asked, 1, "the other database of the same role waits");
}

/// One contact ends the process of whoever enriches it: the others of its set are done all the same.
#[test]
fn a_contact_that_ends_its_process_takes_no_other_with_it() {
    let world = world(&Beginning {
        contacts: 12,
        credits: None,
        conf: &["leadlex.job_max_attempts = 2"],
        ..Beginning::default()
    });
    world.run(&format!(
        "CREATE FUNCTION deadly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.id = '{}' THEN PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid()); PERFORM pg_catalog.pg_sleep(5); END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER deadly BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION deadly();",
        contact(7)
    ));
    enqueue(&mut world.caller(), 1..=12);
    wait_for(&world, "dead", 1);
    wait_for(&world, "done", 11);
    assert_eq!(filled(&world), 11);
    assert_eq!(world.provider.count(), 12, "what was answered is kept");
    let dead: String = world
        .owner()
        .query_one("SELECT contact_id FROM leadlex.job WHERE state = 'dead'", &[])
        .unwrap()
        .get(0);
    assert_eq!(dead, contact(7).to_string());
}

/// A worker that always has more to do is a session that began long ago.
#[test]
fn what_is_stored_for_a_role_counts_while_its_queue_is_never_empty() {
    let world = world(&Beginning { contacts: 200, credits: None, ..Beginning::default() });
    let (mut caller, mut next) = (world.caller(), 1);
    let mut enqueue = |count: i32| {
        let ids: Vec<uuid::Uuid> = (next..next + count).map(contact).collect();
        next += count;
        caller.execute("SELECT leadlex.enqueue($1)", &[&ids]).unwrap();
    };
    enqueue(1);
    wait_for_jobs_of(&world, "caller", "done", 1, SOON);
    let began = "SELECT count(*) FROM leadlex.worker_status WHERE process = 'job worker' AND pid IS NOT NULL";
    world.run("ALTER ROLE caller SET leadlex.max_contacts_per_statement = 1");
    let until = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < until {
        enqueue(1);
        std::thread::sleep(Duration::from_millis(100));
        eventually("a worker runs", SOON, || world.number(began) == 1);
    }
    enqueue(3);
    wait_for_jobs_of(&world, "caller", "dead", 3, SOON);
    assert!(errors_of(&world, "caller").contains("max_contacts_per_statement"));
}

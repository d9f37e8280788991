//! Statements about whole databases and the extension itself, while the worker runs: Postgres alone decides whether
//! they succeed, and none waits for the worker.

use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Error};

use crate::support::{Behaviour, Failure, eventually, fails, person};
use crate::world::{Beginning, PATH, World, credits, enrich, number, pid, sqlstate};

/// What the issue promises.
const PROMPT: Duration = Duration::from_secs(1);

/// A second database with the extension, a metered workspace and a few contacts, owned by `chief`, who may create
/// databases and is no superuser.
struct Second<'a> {
    world: &'a World,
    name: &'static str,
}

fn world() -> World {
    let world = World::with(&Beginning::default());
    world.run("CREATE ROLE chief LOGIN CREATEDB; CREATE ROLE stranger LOGIN CREATEDB");
    world
}

fn install(world: &World, name: &str) {
    let mut owner = world.cluster.connect(name);
    owner.batch_execute("CREATE EXTENSION leadlex_enrich").unwrap();
    furnish(world, &mut owner);
}

fn furnish(world: &World, owner: &mut Client) {
    owner
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS crm (id uuid PRIMARY KEY, email text, phone text);
             INSERT INTO crm SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'p' || n || '@acme.example'
             FROM generate_series(1, 50) AS n ON CONFLICT DO NOTHING;
             SELECT leadlex.grant_access(current_user, leadlex.create_workspace('w', 40, 'org'));
             SELECT leadlex.bind_contacts('crm', workspace_id => (SELECT id FROM leadlex.workspace));",
        )
        .unwrap();
    let config = world.provider.config(PATH);
    owner.execute("SELECT leadlex.add_provider('main', config => $1)", &[&config]).unwrap();
}

impl Second<'_> {
    fn new<'a>(world: &'a World, name: &'static str) -> Second<'a> {
        let mut admin = world.cluster.connect("postgres");
        admin.batch_execute(&format!("CREATE DATABASE {name} OWNER chief")).unwrap();
        install(world, name);
        Second { world, name }
    }

    fn connect(&self) -> Client {
        self.world.cluster.connect(self.name)
    }

    /// Makes a metered call, writes a ledger that takes the worker seconds to settle, and leaves: a worker is there.
    fn keep_busy(&self, rows: i32) {
        let mut client = self.connect();
        client
            .execute(
                "INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id)
                 SELECT w.id, gen_random_uuid(), 2 * (n % 2) - 1, gen_random_uuid()
                 FROM leadlex.workspace AS w, generate_series(1, $1) AS n",
                &[&rows],
            )
            .unwrap();
        let n = free_contact(&mut client);
        enrich(&mut client, n).unwrap();
        let own = pid(&mut client);
        drop(client);
        eventually("the client is gone and the worker is there", Duration::from_secs(10), || {
            sessions(self.world, self.name, &format!("pid = {own}")) == 0
                && worker(self.world, self.name).is_some()
        });
    }
}

/// The worker has done what waited for it.
fn check_settled(world: &World, database: &str) {
    let mut client = world.cluster.connect(database);
    eventually(&format!("the ledger of {database} is settled"), Duration::from_secs(30), || {
        number(&mut client, "SELECT count(*) FROM leadlex.credit_pending") == 0
    });
    let difference = "SELECT (SELECT sum(settled) FROM leadlex.credit_balance)::int8 - leadlex.credits()";
    assert_eq!(number(&mut client, difference), 0, "{database}");
}

fn rate_used(client: &mut Client) -> Vec<i64> {
    let rows = client.query("SELECT \"limit\" - remaining FROM leadlex.rate_limit()", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn free_contact(client: &mut Client) -> i32 {
    number(client, "SELECT right(min(id::text), 12)::int8 FROM crm WHERE phone IS NULL") as i32
}

fn sessions(world: &World, database: &str, which: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND {which}");
    number(&mut world.cluster.connect("postgres"), &sql)
}

/// The pid of the worker in a database.
fn worker(world: &World, database: &str) -> Option<i32> {
    worker_seen_by(&mut world.cluster.connect("postgres"), database)
}

fn worker_seen_by(client: &mut Client, database: &str) -> Option<i32> {
    let sql =
        "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'leadlex_enrich worker'";
    client.query_opt(sql, &[&database]).unwrap().map(|row| row.get(0))
}

/// Runs a statement as somebody, and checks that the worker was not what it waited for: how long Postgres itself
/// takes to copy a database is another matter.
fn promptly(world: &World, database: &str, role: &str, sql: &str) -> Result<(), Error> {
    let mut client = world.cluster.connect_as("postgres", role);
    let mut watcher = world.cluster.connect("postgres");
    let begun = Instant::now();
    thread::scope(|scope| {
        let statement = scope.spawn(|| client.batch_execute(sql));
        while !statement.is_finished() && worker_seen_by(&mut watcher, database).is_some() {
            assert!(begun.elapsed() < PROMPT, "{sql}: the worker is there after {:?}", begun.elapsed());
            thread::sleep(Duration::from_millis(5));
        }
        statement.join().unwrap()
    })
}

fn exists(world: &World, database: &str) -> bool {
    let sql = format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'");
    number(&mut world.cluster.connect("postgres"), &sql) == 1
}

/// Databases that shared memory knows of, those that are gone included.
fn known(world: &World) -> Vec<Option<String>> {
    let sql = "SELECT database FROM leadlex.worker_status WHERE process = 'worker' ORDER BY 1";
    world.owner().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn check_forgotten(world: &World, name: &str) {
    let known = known(world);
    assert!(known.iter().all(|d| d.as_deref().is_some_and(|d| d != name)), "{known:?}");
}

/// Nothing about the worker in the log, and nothing that only a worker can have failed with.
fn check_log_is_quiet(world: &World) {
    let log = world.cluster.log();
    let noise: Vec<&str> = log
        .lines()
        .filter(|line| {
            line.contains("leadlex_enrich worker") || line.contains("FATAL") || line.contains("PANIC")
        })
        .filter(|line| !line.contains("terminating connection due to administrator command"))
        .filter(|line| !line.contains("the database system is starting up"))
        .collect();
    assert!(noise.is_empty(), "{noise:#?}");
}

#[test]
fn drop_database_does_not_wait_for_the_worker() {
    let world = world();
    for (role, how) in
        [("postgres", ""), ("chief", ""), ("postgres", " WITH (FORCE)"), ("chief", " WITH (FORCE)")]
    {
        let second = Second::new(&world, "second");
        second.keep_busy(100_000);
        promptly(&world, "second", role, &format!("DROP DATABASE second{how}"))
            .unwrap_or_else(|error| panic!("{role}{how}: {error:?}"));
        assert!(!exists(&world, "second"));
        check_forgotten(&world, "second");
    }
    check_log_is_quiet(&world);
}

#[test]
fn a_stranger_is_refused_and_does_not_disturb_the_worker() {
    let world = world();
    let second = Second::new(&world, "second");
    second.keep_busy(400_000);
    let before = worker(&world, "second");
    for sql in [
        "DROP DATABASE second",
        "DROP DATABASE second WITH (FORCE)",
        "ALTER DATABASE second RENAME TO mine",
        "ALTER DATABASE second SET TABLESPACE pg_default",
        "CREATE DATABASE mine TEMPLATE second",
    ] {
        let failure = Failure::of(&promptly(&world, "second", "stranger", sql).unwrap_err());
        assert_eq!(failure.sqlstate, "42501", "{sql}: {failure:?}");
        assert_eq!(worker(&world, "second"), before, "{sql}");
    }
    check_settled(&world, "second");
}

#[test]
fn a_call_in_flight_keeps_its_database_and_the_worker_is_not_counted() {
    let world = world();
    let second = Second::new(&world, "second");
    for sql in ["DROP DATABASE second", "ALTER DATABASE second RENAME TO other"] {
        second.keep_busy(100_000);
        world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(1_500)));
        let mut client = second.connect();
        let asked = world.provider.count();
        let calls = thread::scope(|scope| {
            let calls = scope.spawn(|| {
                // The second needs the worker again, which has to stay out meanwhile.
                [(); 2].map(|()| {
                    let n = free_contact(&mut client);
                    sqlstate(&enrich(&mut client, n))
                })
            });
            world.provider.wait_for(asked + 1, Duration::from_secs(10));
            let failure = fails(world.cluster.connect_as("postgres", "chief").batch_execute(sql));
            assert_eq!(failure.sqlstate, "55006", "{sql}: {failure:?}");
            assert_eq!(failure.detail.as_deref(), Some("There is 1 other session using the database."));
            calls.join().unwrap()
        });
        assert_eq!(calls, ["00000", "00000"]);
        drop(client);
        check_settled(&world, "second");
    }
    check_log_is_quiet(&world);
}

#[test]
fn force_ends_calls_in_flight_of_those_whom_one_may_end() {
    let world = world();
    let second = Second::new(&world, "second");
    second.keep_busy(100_000);
    world.provider.on(PATH, |_| Behaviour::Never);
    let mut client = second.connect();
    let n = free_contact(&mut client);
    let asked = world.provider.count();
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut client, n).is_err());
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        let failure = Failure::of(
            &promptly(&world, "second", "chief", "DROP DATABASE second WITH (FORCE)").unwrap_err(),
        );
        assert_eq!(failure.sqlstate, "42501", "the session is a superuser's: {failure:?}");
        assert!(!call.is_finished());
        check_settled(&world, "second");
        promptly(&world, "second", "postgres", "DROP DATABASE second WITH (FORCE)").unwrap();
        assert!(call.join().unwrap());
    });
    check_forgotten(&world, "second");
}

#[test]
fn a_database_that_is_renamed_or_moved_goes_on() {
    let world = world();
    let second = Second::new(&world, "second");
    let mut admin = world.cluster.connect("postgres");
    admin.batch_execute("SET allow_in_place_tablespaces = on").unwrap();
    admin.batch_execute("CREATE TABLESPACE other LOCATION ''").unwrap();
    world.run("GRANT CREATE ON TABLESPACE other TO chief");
    second.keep_busy(100_000);
    promptly(&world, "second", "chief", "ALTER DATABASE second SET TABLESPACE other").unwrap();
    check_settled(&world, "second");
    second.keep_busy(100_000);
    promptly(&world, "second", "chief", "ALTER DATABASE second RENAME TO third").unwrap();
    check_settled(&world, "third");
    let mut client = world.cluster.connect("third");
    assert_eq!(rate_used(&mut client), [2, 2]);
    enrich(&mut client, 7).unwrap();
    assert_eq!(credits(&mut client), Some(37));
    check_log_is_quiet(&world);
}

#[test]
fn a_rename_that_is_taken_back_lets_the_worker_return() {
    let world = world();
    let second = Second::new(&world, "second");
    for taken_back in [
        "BEGIN; ALTER DATABASE second RENAME TO third; ROLLBACK",
        "BEGIN; SAVEPOINT s; ALTER DATABASE second RENAME TO third; ROLLBACK TO s",
        "BEGIN; SAVEPOINT s; ALTER DATABASE second RENAME TO app",
    ] {
        second.keep_busy(30_000);
        let mut chief = world.cluster.connect_as("postgres", "chief");
        let result = chief.batch_execute(taken_back);
        if sqlstate(&result) == "42P04" {
            chief.batch_execute("ROLLBACK TO s").unwrap();
        } else {
            result.unwrap();
        }
        check_settled(&world, "second");
    }
}

#[test]
fn a_statement_that_dies_lets_the_worker_return() {
    let world = world();
    let second = Second::new(&world, "second");
    second.keep_busy(200_000);
    // A session that makes the statement wait.
    let mut client = second.connect();
    let mut chief = world.cluster.connect_as("postgres", "chief");
    let dropper = pid(&mut chief);
    thread::scope(|scope| {
        let call = scope.spawn(|| chief.batch_execute("DROP DATABASE second").is_err());
        eventually("the worker is gone", Duration::from_secs(3), || worker(&world, "second").is_none());
        assert!(!call.is_finished());
        assert!(number(&mut client, "SELECT count(*) FROM leadlex.credit_pending") > 0);
        world.run(&format!("SELECT pg_terminate_backend({dropper})"));
        assert!(call.join().unwrap());
    });
    check_settled(&world, "second");
}

#[test]
fn a_copy_has_books_of_its_own() {
    let world = world();
    let second = Second::new(&world, "second");
    second.keep_busy(100_000);
    promptly(&world, "second", "chief", "CREATE DATABASE copy TEMPLATE second").unwrap();
    let mut copy = world.cluster.connect("copy");
    let mut source = second.connect();
    // Exactly: the worker has closed its leases before the copy was made.
    assert_eq!((credits(&mut copy), rate_used(&mut copy)), (Some(39), vec![1, 1]));
    enrich(&mut copy, 20).unwrap();
    enrich(&mut copy, 21).unwrap();
    assert_eq!((credits(&mut copy), rate_used(&mut copy)), (Some(37), vec![3, 3]));
    assert_eq!((credits(&mut source), rate_used(&mut source)), (Some(39), vec![1, 1]));
    enrich(&mut source, 20).unwrap();
    assert_eq!((credits(&mut source), rate_used(&mut source)), (Some(38), vec![2, 2]));
    check_settled(&world, "copy");
    check_settled(&world, "second");
}

#[test]
fn a_copy_gets_its_ledger_settled_without_a_call() {
    let world = world();
    let second = Second::new(&world, "second");
    second.keep_busy(100_000);
    promptly(&world, "second", "chief", "CREATE DATABASE copy TEMPLATE second").unwrap();
    check_settled(&world, "copy");
}

#[test]
fn the_extension_in_template1_works_and_is_copied() {
    let world = world();
    install(&world, "template1");
    let template = Second { world: &world, name: "template1" };
    for name in ["third", "fourth"] {
        template.keep_busy(100_000);
        promptly(&world, "template1", "chief", &format!("CREATE DATABASE {name}")).unwrap();
        let mut client = world.cluster.connect(name);
        enrich(&mut client, 30).unwrap();
        check_settled(&world, name);
        check_settled(&world, "template1");
    }
    assert_eq!(credits(&mut template.connect()), Some(38));
    assert_eq!(credits(&mut world.cluster.connect("third")), Some(38));
    assert_eq!(credits(&mut world.cluster.connect("fourth")), Some(37));
    check_log_is_quiet(&world);
}

#[test]
fn more_databases_than_processes_all_get_their_ledger_settled() {
    let world = World::with(&Beginning { conf: &["max_worker_processes = 4"], ..Beginning::default() });
    world.run("CREATE ROLE chief LOGIN CREATEDB");
    Second::new(&world, "second");
    let names: Vec<String> = (1..=12).map(|n| format!("many{n}")).collect();
    for name in &names {
        world.run(&format!("CREATE DATABASE {name} TEMPLATE second"));
    }
    let mut clients: Vec<Client> = names.iter().map(|name| world.cluster.connect(name)).collect();
    for n in 1..=3 {
        for client in &mut clients {
            enrich(client, n).unwrap();
        }
    }
    for name in &names {
        check_settled(&world, name);
    }
    check_log_is_quiet(&world);
}

#[test]
fn a_busy_database_leaves_the_worker_to_others_in_turn() {
    let world = World::with(&Beginning { conf: &["leadlex.max_workers = 1"], ..Beginning::default() });
    world.run("CREATE ROLE chief LOGIN CREATEDB");
    let busy = Second::new(&world, "busy");
    let quiet = Second::new(&world, "quiet");
    let mut client = busy.connect();
    // More than the worker can settle while the test runs, and more comes.
    client
        .batch_execute(
            "INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id)
             SELECT w.id, gen_random_uuid(), 2 * (n % 2) - 1, gen_random_uuid()
             FROM leadlex.workspace AS w, generate_series(1, 600000) AS n",
        )
        .unwrap();
    enrich(&mut client, 1).unwrap();
    eventually("the worker is at it", Duration::from_secs(10), || worker(&world, "busy").is_some());
    enrich(&mut quiet.connect(), 1).unwrap();
    assert!(number(&mut client, "SELECT count(*) FROM leadlex.credit_pending") > 0, "too small a load");
}

#[test]
fn where_no_connection_is_allowed_the_worker_waits_quietly() {
    let world = world();
    let second = Second::new(&world, "second");
    second.keep_busy(200_000);
    world.run("ALTER DATABASE second ALLOW_CONNECTIONS false");
    let stopped = worker(&world, "second").expect("the worker is at it");
    world.run(&format!("SELECT pg_terminate_backend({stopped})"));
    eventually("the worker is gone", Duration::from_secs(5), || worker(&world, "second").is_none());
    // Several rounds of worker_naptime.
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(worker(&world, "second"), None);
    check_log_is_quiet(&world);
    world.run("ALTER DATABASE second ALLOW_CONNECTIONS true");
    check_settled(&world, "second");
}

/// Runs a statement, and checks that it is not the worker's locks that it waits for.
fn unhindered(client: &mut Client, watcher: &mut Client, database: &str, sql: &str) {
    let own = pid(client);
    let mut held_since = None;
    thread::scope(|scope| {
        let statement = scope.spawn(|| client.batch_execute(sql).unwrap());
        let held_up = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE pid = ANY (pg_blocking_pids({own})) AND backend_type = 'leadlex_enrich worker' AND datname = '{database}'"
        );
        while !statement.is_finished() {
            if number(watcher, &held_up) == 0 {
                held_since = None;
            } else {
                let since = *held_since.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < PROMPT, "{sql} waits for the worker");
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn drop_extension_does_not_wait_for_the_worker_and_create_begins_anew() {
    let world = world();
    let second = Second::new(&world, "second");
    let mut watcher = world.cluster.connect("postgres");
    let mut client = second.connect();
    for how in ["", " CASCADE"] {
        second.keep_busy(200_000);
        unhindered(&mut client, &mut watcher, "second", &format!("DROP EXTENSION leadlex_enrich{how}"));
        eventually("the worker is gone", Duration::from_secs(10), || worker(&world, "second").is_none());
        eventually("nothing is remembered", Duration::from_secs(10), || {
            !known(&world).contains(&Some("second".to_owned()))
        });
        client.batch_execute("CREATE EXTENSION leadlex_enrich; UPDATE crm SET phone = NULL").unwrap();
        furnish(&world, &mut client);
        assert_eq!((credits(&mut client), rate_used(&mut client)), (Some(40), vec![0, 0]));
        enrich(&mut client, 1).unwrap();
        assert_eq!((credits(&mut client), rate_used(&mut client)), (Some(39), vec![1, 1]));
        check_settled(&world, "second");
    }
    check_log_is_quiet(&world);
}

#[test]
fn drop_extension_waits_for_calls_in_flight_and_for_nothing_else() {
    let world = world();
    let second = Second::new(&world, "second");
    second.keep_busy(30_000);
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_secs(2)));
    let mut client = second.connect();
    let n = free_contact(&mut client);
    let asked = world.provider.count();
    thread::scope(|scope| {
        let call = scope.spawn(|| sqlstate(&enrich(&mut client, n)));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        let mut watcher = world.cluster.connect("postgres");
        unhindered(&mut second.connect(), &mut watcher, "second", "DROP EXTENSION leadlex_enrich");
        assert_eq!(call.join().unwrap(), "00000");
    });
    check_log_is_quiet(&world);
}

#[test]
fn an_open_drop_extension_does_not_fill_the_log() {
    let world = world();
    let second = Second::new(&world, "second");
    let mut client = second.connect();
    let mut open = client.transaction().unwrap();
    open.batch_execute("DROP EXTENSION leadlex_enrich").unwrap();
    // Work waits all the time, and is tried every two seconds.
    let failed = "SELECT count(*) FROM leadlex.worker_status WHERE database = 'second' AND last_error LIKE '%lock timeout%'";
    eventually("the worker has met the lock", Duration::from_secs(10), || world.number(failed) == 1);
    thread::sleep(Duration::from_millis(5_500));
    open.rollback().unwrap();
    check_settled(&world, "second");
    let lines = world.cluster.log().lines().filter(|line| line.contains("leadlex_enrich worker")).count();
    assert_eq!(lines, 1, "one line for one trouble");
}

#[test]
fn accounts_of_dropped_extensions_do_not_pile_up() {
    let world = World::with(&Beginning { conf: &["leadlex.max_workspaces = 16"], ..Beginning::default() });
    world.run("CREATE ROLE installer LOGIN SUPERUSER");
    world.run("CREATE DATABASE second");
    let mut client = world.cluster.connect_as("second", "installer");
    for n in 1..=20 {
        client.batch_execute("CREATE EXTENSION leadlex_enrich").unwrap();
        furnish(&world, &mut client);
        enrich(&mut client, 1).unwrap_or_else(|error| panic!("extension {n}: {error:?}"));
        // With its lease still open, and by a statement that does not name it.
        client.batch_execute("DROP OWNED BY installer CASCADE").unwrap();
    }
}

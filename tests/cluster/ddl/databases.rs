//! DROP, RENAME, SET TABLESPACE and copies of databases, and whose turn it is when there are many.

use super::*;

#[test]
fn drop_database_does_not_wait_for_the_worker() {
    let world = world();
    for (role, how) in
        [("postgres", ""), ("chief", ""), ("postgres", " WITH (FORCE)"), ("chief", " WITH (FORCE)")]
    {
        let second = Second::new(&world, "second");
        second.keep_busy(30_000);
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
    second.keep_busy(30_000);
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
        second.keep_busy(30_000);
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
    second.keep_busy(30_000);
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
    second.keep_busy(30_000);
    promptly(&world, "second", "chief", "ALTER DATABASE second SET TABLESPACE other").unwrap();
    check_settled(&world, "second");
    second.keep_busy(30_000);
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
    second.keep_busy(60_000);
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
fn a_copy_has_ledger_of_its_own() {
    let world = world();
    let second = Second::new(&world, "second");
    second.keep_busy(30_000);
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
    copy.batch_execute("SELECT leadlex.resume_queue()").unwrap();
    check_settled(&world, "copy");
    check_settled(&world, "second");
}

#[test]
fn a_copy_gets_its_ledger_settled_once_it_is_a_database_of_its_own() {
    let world = world();
    let second = Second::new(&world, "second");
    second.keep_busy(30_000);
    promptly(&world, "second", "chief", "CREATE DATABASE copy TEMPLATE second").unwrap();
    let mut copy = world.cluster.connect("copy");
    eventually("the worker has seen that it is a clone", Duration::from_secs(20), || {
        number(
            &mut copy,
            "SELECT count(*) FROM leadlex.worker_status WHERE database = 'copy' AND state = 'clone'",
        ) == 1
    });
    assert!(number(&mut copy, "SELECT count(*) FROM leadlex.credit_pending") > 0);
    copy.batch_execute("SELECT leadlex.resume_queue()").unwrap();
    check_settled(&world, "copy");
}

#[test]
fn the_extension_in_template1_works_and_is_copied() {
    let world = world();
    install(&world, "template1");
    let template = Second { world: &world, name: "template1" };
    for name in ["third", "fourth"] {
        template.keep_busy(30_000);
        promptly(&world, "template1", "chief", &format!("CREATE DATABASE {name}")).unwrap();
        let mut client = world.cluster.connect(name);
        enrich(&mut client, 30).unwrap();
        client.batch_execute("SELECT leadlex.resume_queue()").unwrap();
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
    // Copies are not their own home before that.
    for client in &mut clients {
        client.batch_execute("SELECT leadlex.resume_queue()").unwrap();
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
    second.keep_busy(60_000);
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

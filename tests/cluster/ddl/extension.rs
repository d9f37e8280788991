//! DROP EXTENSION, and what comes after it.

use super::*;

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
        second.keep_busy(60_000);
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

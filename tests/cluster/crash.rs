//! Crashes in the middle of calls: afterwards balance, ledger, contacts and rate use add up.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use postgres::NoTls;
use uuid::Uuid;

use crate::support::{Behaviour, Stop, eventually, person};
use crate::world::{Beginning, PATH, World, contact, enrich, enrich_with_key, number, pid};

const PER_MINUTE: i64 = 200;
/// What a crash may count as used though it was not: a tenth of the limit.
const OVER_COUNT: i64 = PER_MINUTE / 10;

/// Under the plan org: 200 calls a minute, 10,000 a day.
fn metered(credits: i64, contacts: i32) -> World {
    World::with(&Beginning { credits: Some(credits), plan: "org", contacts, ..Beginning::default() })
}

/// `real` calls were admitted before the crash; none may be forgotten.
fn check_rate_use(world: &World, real: i64) {
    let used = world.ledger().rate_used;
    for used in &used {
        assert!(*used >= real, "{used} counted of {real}");
        assert!(*used <= real + OVER_COUNT, "{used} counted of {real}");
    }
    assert_eq!(used.len(), 2);
}

fn check_contacts(world: &World) {
    assert_eq!(
        world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"),
        world.number("SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1"),
        "a contact is filled exactly when it was charged"
    );
    assert_eq!(
        world.number(
            "SELECT count(*) FROM crm FULL JOIN leadlex.enrichment AS e ON crm.id::text = e.contact_id
             WHERE (crm.phone IS NULL) <> (e.contact_id IS NULL)"
        ),
        0
    );
}

/// Starts a call that hangs, in a session of its own; its pid.
fn hang<'scope>(scope: &'scope thread::Scope<'scope, '_>, world: &World, n: i32) -> i32 {
    let asked = world.provider.count();
    let mut caller = world.caller();
    let pid = pid(&mut caller);
    scope.spawn(move || enrich(&mut caller, n).map_err(drop));
    world.provider.wait_for(asked + 1, Duration::from_secs(10));
    pid
}

#[test]
fn kill_9_in_the_middle_of_a_call_gives_everything_back() {
    let world = metered(5, 10);
    let mut caller = world.caller();
    for n in [1, 2] {
        enrich(&mut caller, n).unwrap();
    }
    // Written, not committed, when the crash comes.
    let mut open = world.caller();
    open.batch_execute("BEGIN").unwrap();
    enrich(&mut open, 3).unwrap();
    world.provider.on(PATH, |_| Behaviour::Never);
    thread::scope(|scope| {
        let pid = hang(scope, &world, 4);
        world.cluster.kill9(pid);
    });
    eventually("the crash reaches other sessions", Duration::from_secs(10), || {
        caller.is_closed() || caller.simple_query("SELECT 1").is_err()
    });
    world.cluster.wait_until_ready();
    assert!(world.cluster.log().contains("was terminated by signal 9"));

    check_rate_use(&world, 4);
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(3), 2), "{ledger:?}");
    check_contacts(&world);
    world.check_credits_add_up();

    // All that was reserved is there again, and no contact is claimed by the dead.
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    let mut caller = world.caller();
    for n in [3, 4, 5] {
        enrich(&mut caller, n).unwrap();
    }
    assert_eq!(world.ledger().credits, Some(0));
    check_contacts(&world);
    world.check_credits_add_up();
}

/// Many sessions in all stages of a call, each keeping count of what it was told has been committed.
fn crash_under_load(world: &World, crash: impl FnOnce()) -> i32 {
    let stop = AtomicBool::new(false);
    let next = AtomicI32::new(1);
    let committed = AtomicI32::new(0);
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(5)));
    thread::scope(|scope| {
        for k in 0..6 {
            let (stop, next, committed) = (&stop, &next, &committed);
            let mut caller = world.caller();
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    let Ok(mut transaction) = caller.transaction() else { return };
                    if enrich(&mut transaction, n).is_err() {
                        return;
                    }
                    if (n + k) % 5 == 0 {
                        if transaction.rollback().is_err() {
                            return;
                        }
                    } else if transaction.commit().is_ok() {
                        committed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        world.provider.wait_for(world.provider.count() + 40, Duration::from_secs(20));
        crash();
        stop.store(true, Ordering::SeqCst);
    });
    committed.load(Ordering::SeqCst)
}

fn check_after_load(world: &World, granted: i64, committed: i32) {
    let ledger = world.ledger();
    // A commit whose answer was lost may have happened: one per session.
    let told = i64::from(committed);
    assert!(
        (told..=told + 6).contains(&ledger.charges),
        "{} charges, {told} commits confirmed",
        ledger.charges
    );
    assert_eq!(ledger.credits, Some(granted - ledger.charges));
    check_contacts(world);
    world.check_credits_add_up();
}

#[test]
fn an_immediate_shutdown_under_load_loses_and_invents_nothing() {
    let world = World::with(&Beginning { credits: Some(5_000), contacts: 3_000, ..Beginning::default() });
    let committed = crash_under_load(&world, || {
        world.cluster.stop(Stop::Immediate);
    });
    world.cluster.start_again();
    check_after_load(&world, 5_000, committed);
}

#[test]
fn a_crash_under_load_loses_and_invents_nothing() {
    let world = World::with(&Beginning { credits: Some(5_000), contacts: 3_000, ..Beginning::default() });
    let mut bystander = world.caller();
    let victim = pid(&mut bystander);
    let committed = crash_under_load(&world, || world.cluster.kill9(victim));
    world.cluster.wait_until_ready();
    check_after_load(&world, 5_000, committed);
}

#[test]
fn rate_use_is_never_forgotten_by_a_crash_and_not_inflated_either() {
    let world = metered(1_000, 300);
    let mut real = 0;
    let mut over = 0;
    for round in 0..3 {
        let mut caller = world.caller();
        for n in 1..=10 {
            enrich(&mut caller, round * 10 + n).unwrap();
        }
        real += 10;
        // As soon as the last call is over, or once the worker had time to close its tables.
        if round == 2 {
            thread::sleep(Duration::from_millis(1_500));
        }
        world.cluster.stop(Stop::Immediate);
        world.cluster.start_again();
        over += OVER_COUNT;
        for used in world.ledger().rate_used {
            assert!(used >= real, "after crash {round}: {used} counted of {real}");
            assert!(used <= real + over, "after crash {round}: {used} counted of {real}");
        }
    }
}

#[test]
fn a_clean_restart_keeps_rate_use_exactly() {
    let world = metered(100, 50);
    let mut caller = world.caller();
    for (calls, how) in [(7, Stop::Fast), (3, Stop::Smart), (1, Stop::Fast), (0, Stop::Fast)] {
        let before = world.ledger();
        for n in 1..=calls {
            enrich(&mut caller, n + before.charges as i32).unwrap();
        }
        let expected = world.ledger();
        assert_eq!(expected.rate_used[1], before.rate_used[1] + i64::from(calls));
        drop(caller);
        world.cluster.restart(how);
        assert_eq!(world.ledger(), expected, "after {how:?}");
        caller = world.caller();
    }
    assert_eq!(world.ledger().rate_used, [11, 11]);
}

#[test]
fn a_limit_that_is_used_up_stays_so_across_restart_and_crash() {
    let world = metered(100, 10);
    world.run(&format!("SELECT leadlex.set_rate_limit('{}', 3, 3)", world.workspace));
    let mut caller = world.caller();
    for n in 1..=3 {
        enrich(&mut caller, n).unwrap();
    }
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        drop(caller);
        world.cluster.stop(how);
        // After kill -9 of the postmaster, its other processes take a moment to notice.
        eventually("the server starts again", Duration::from_secs(10), || world.cluster.try_start().is_ok());
        caller = world.caller();
        assert_eq!(crate::world::sqlstate(&enrich(&mut caller, 4)), "LX429", "after {how:?}");
    }
    assert_eq!(world.provider.count(), 3);
}

/// Backends that wait for a provider must notice that the postmaster is gone, or the server cannot start again.
#[test]
fn a_killed_postmaster_leaves_no_backend_behind_in_a_call() {
    let world = metered(5, 10);
    world.provider.on(PATH, |_| Behaviour::Never);
    world.cluster.set("leadlex.provider_timeout", "59s");
    world.cluster.set("leadlex.total_timeout", "59s");
    thread::scope(|scope| {
        hang(scope, &world, 1);
        hang(scope, &world, 2);
        world.cluster.stop(Stop::Kill);
        // At once it may still find processes of the old server at their end.
        eventually("the server starts again", Duration::from_secs(10), || world.cluster.try_start().is_ok());
    });
    check_rate_use(&world, 2);
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(5), 0));
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    enrich(&mut world.caller(), 1).unwrap();
    world.check_all_credits_can_be_spent();
}

#[test]
fn an_idempotency_key_in_flight_at_the_crash_is_free_and_a_committed_one_replays() {
    let world = metered(5, 10);
    let (done, lost) = (Uuid::new_v4(), Uuid::new_v4());
    enrich_with_key(&mut world.caller(), 1, done).unwrap();
    world.provider.on(PATH, |_| Behaviour::Never);
    thread::scope(|scope| {
        let asked = world.provider.count();
        let mut caller = world.caller();
        let pid = pid(&mut caller);
        scope.spawn(move || enrich_with_key(&mut caller, 2, lost).map_err(drop));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        world.cluster.kill9(pid);
    });
    eventually("the crash is under way", Duration::from_secs(10), || {
        world.cluster.log().contains("terminated by signal 9")
    });
    world.cluster.wait_until_ready();
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    let mut caller = world.caller();
    assert_eq!(enrich_with_key(&mut caller, 1, done).unwrap()["replayed"], true);
    let second = enrich_with_key(&mut caller, 2, lost).unwrap();
    assert_eq!((&second["replayed"], &second["credits_remaining"]), (&false.into(), &3.into()));
    world.check_credits_add_up();
}

fn launcher(world: &World) -> Option<i32> {
    let mut owner = world.cluster.config("app").connect(NoTls).ok()?;
    owner.query_one("SELECT pid FROM leadlex.worker_status WHERE process = 'launcher'", &[]).ok()?.get(0)
}

#[test]
fn the_background_worker_comes_back_and_settles() {
    let world = metered(50, 50);
    enrich(&mut world.caller(), 1).unwrap();
    world.settle();
    let first = launcher(&world).expect("the launcher runs");

    world.run(&format!("SELECT pg_terminate_backend({first})"));
    eventually("the launcher is started again", Duration::from_secs(15), || {
        launcher(&world).is_some_and(|pid| pid != first)
    });
    enrich(&mut world.caller(), 2).unwrap();
    world.settle();

    let second = launcher(&world).unwrap();
    world.cluster.kill9(second);
    eventually("the launcher runs after the crash", Duration::from_secs(20), || {
        launcher(&world).is_some_and(|pid| pid != second)
    });
    enrich(&mut world.caller(), 3).unwrap();
    world.check_credits_add_up();
    let error = "SELECT count(*) FROM leadlex.worker_status WHERE last_error <> ''";
    assert_eq!(number(&mut world.owner(), error), 0);
}

#[test]
fn ledger_of_many_databases_survive_a_crash() {
    let world = metered(5, 10);
    let mut others = Vec::new();
    for n in 1..=3 {
        let name = format!("other{n}");
        let mut owner = world.cluster.database(&name);
        owner
            .batch_execute(&format!(
                "CREATE TABLE crm (id uuid PRIMARY KEY, email text, phone text);
                 INSERT INTO crm VALUES ('{}', 'a@acme.example'), ('{}', 'b@acme.example');
                 SELECT leadlex.grant_access('postgres', leadlex.create_workspace('w', {n}0, 'org'));
                 SELECT leadlex.bind_contacts('crm', workspace_id => (SELECT id FROM leadlex.workspace));",
                contact(1),
                contact(2)
            ))
            .unwrap();
        owner
            .execute(
                "SELECT leadlex.add_provider('main', config => $1, secret => 'x')",
                &[&world.provider.config(PATH)],
            )
            .unwrap();
        enrich(&mut owner, 1).unwrap();
        others.push(name);
    }
    world.cluster.restart(Stop::Immediate);
    for (n, name) in (1..).zip(&others) {
        let mut owner = world.cluster.connect(name);
        assert_eq!(crate::world::credits(&mut owner), Some(n * 10 - 1));
        enrich(&mut owner, 2).unwrap();
        eventually("its ledger is settled", Duration::from_secs(20), || {
            number(&mut owner, "SELECT count(*) FROM leadlex.credit_pending") == 0
        });
        assert_eq!(number(&mut owner, "SELECT settled FROM leadlex.credit_balance"), n * 10 - 2);
    }
}

#[test]
fn a_request_under_way_is_counted_before_a_crash_a_few_seconds_later() {
    // The launcher's rounds count it, too, and come every ten seconds unless the setting says otherwise.
    let conf =
        &["leadlex.provider_timeout = '20s'", "leadlex.total_timeout = '20s'", "leadlex.worker_naptime = 60"];
    let world = World::with(&Beginning { contacts: 5, conf, ..Beginning::default() });
    let calls = || world.number("SELECT calls FROM leadlex.provider_stats");
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    enrich(&mut world.caller(), 1).unwrap();
    // On the session's own thread, and on one of a set. By then the worker is away, as nothing happens.
    for (n, counted) in [(2, 2), (3, 3)] {
        thread::sleep(Duration::from_secs(2));
        world.provider.on(PATH, |_| Behaviour::Never);
        let mark = world.cluster.log_mark();
        thread::scope(|scope| {
            let (before, mut caller) = (world.provider.count(), world.caller());
            let backend = pid(&mut caller);
            let call = scope.spawn(move || match n {
                2 => enrich(&mut caller, n).is_err(),
                _ => caller.query("SELECT FROM enrich_contacts($1)", &[&vec![contact(n)]]).is_err(),
            });
            world.provider.wait_for(before + 1, Duration::from_secs(10));
            thread::sleep(Duration::from_secs(2));
            world.cluster.kill9(backend);
            assert!(call.join().unwrap());
        });
        world.cluster.logged_since(mark, "terminated by signal 9");
        world.cluster.wait_until_ready();
        assert_eq!(calls(), counted);
    }
}

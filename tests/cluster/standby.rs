//! A streaming standby: what was acknowledged with synchronous replication is there when the primary is lost, and until
//! it is promoted nothing is spent on it.

use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::NoTls;
use serde_json::Value;

use crate::support::{Behaviour, Cluster, Stop, eventually, person};
use crate::world::{Beginning, PATH, World, credits, enrich, number, sqlstate};

const SESSIONS: i32 = 8;
const GRANTED: i64 = 5_000;
/// So much that a lease, a tenth of it, is more than what can be under way at once.
const PER_MINUTE: i64 = 600;
/// What a crash may count as used though it was not: a tenth of the limit.
const OVER_COUNT: i64 = PER_MINUTE / 10;

const PROCESSES: &str = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'leadlex%'";

fn day_used(world: &World) -> i64 {
    number(
        &mut world.caller(),
        "SELECT \"limit\" - remaining FROM leadlex.rate_limit() WHERE \"window\" = 'day'",
    )
}

/// A call that the client was told has been committed.
struct Acknowledged {
    n: i32,
    request_id: String,
}

/// Sessions that call until their server is gone.
fn call_until_killed(world: &World, kill: impl FnOnce()) -> Vec<Acknowledged> {
    let next = AtomicI32::new(1);
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(20)));
    thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|_| {
                let mut caller = world.caller();
                let next = &next;
                scope.spawn(move || {
                    let mut told = Vec::new();
                    loop {
                        let n = next.fetch_add(1, Ordering::SeqCst);
                        // In a transaction of its own: what comes back has been committed.
                        let Ok(result) = enrich(&mut caller, n) else { return told };
                        let request_id = result["request_id"].as_str().expect("every result has one");
                        told.push(Acknowledged { n, request_id: request_id.to_owned() });
                    }
                })
            })
            .collect();
        world.provider.wait_for(world.provider.count() + 80, Duration::from_secs(30));
        kill();
        sessions.into_iter().flat_map(|session| session.join().expect("a session ends well")).collect()
    })
}

fn attach_synchronously(world: &World) -> Cluster {
    let standby = world.cluster.standby(&[]);
    world.cluster.set("synchronous_standby_names", "*");
    eventually("the standby is the synchronous one", Duration::from_secs(20), || {
        world.number("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1
    });
    standby
}

/// Readable, and nothing else.
fn check_before_promotion(standby: &Cluster, world: &World) {
    let mut caller = standby.connect_as("app", "caller");
    eventually("the standby has the balance", Duration::from_secs(20), || {
        credits(&mut caller) == Some(GRANTED)
    });
    let asked = world.provider.count();
    assert_eq!(sqlstate(&enrich(&mut caller, 1)), "25006");
    assert_eq!(world.provider.count(), asked, "no provider was asked");
    let who: Value = caller.query_one("SELECT leadlex.whoami()", &[]).unwrap().get(0);
    assert_eq!(who["workspace"], "acme");
    caller.query("SELECT * FROM leadlex.rate_limit()", &[]).unwrap();
    let mut owner = standby.connect("app");
    assert_eq!(number(&mut owner, PROCESSES), 0);
    let status = "SELECT count(*) FROM leadlex.worker_status WHERE pid IS NOT NULL";
    assert_eq!(number(&mut owner, status), 0);
    assert!(number(&mut world.owner(), PROCESSES) > 0, "they are found where they run");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_primary_dies_under_load() {
    let world = World::with(&Beginning {
        credits: Some(GRANTED),
        plan: "org",
        contacts: 1_200,
        ..Beginning::default()
    });
    world.run(&format!("SELECT leadlex.set_rate_limit('{}', {PER_MINUTE}, 10000)", world.workspace));
    let standby = attach_synchronously(&world);
    check_before_promotion(&standby, &world);
    let began = Instant::now();
    let acknowledged = call_until_killed(&world, || {
        world.cluster.stop(Stop::Immediate);
    });
    let told = acknowledged.len() as i64;
    assert!(told > 40, "{told} calls");
    assert_eq!(number(&mut standby.connect("app"), PROCESSES), 0, "still none");

    standby.connect("postgres").query_one("SELECT pg_promote()", &[]).unwrap();
    // The primary is kept until the end, so that its data can be looked at.
    let World { provider, cluster: _primary, workspace } = world;
    let world = World { provider, cluster: standby, workspace };
    for call in &acknowledged {
        let sql = format!(
            "SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1 AND request_id = '{}'",
            call.request_id
        );
        assert_eq!(world.number(&sql), 1, "the charge of call {}", call.n);
        assert!(world.phone(call.n).is_some(), "contact {}", call.n);
    }
    check_ledger(&world, told);
    check_rates(&world, told, began);
    eventually("the launcher runs now", Duration::from_secs(20), || world.number(PROCESSES) > 0);
    world.check_credits_add_up();
}

/// A commit that was not answered may have happened: one per session.
fn check_ledger(world: &World, told: i64) {
    let ledger = world.ledger();
    assert!(
        (told..=told + i64::from(SESSIONS)).contains(&ledger.charges),
        "{} charges, {told} confirmed",
        ledger.charges
    );
    assert_eq!(ledger.credits, Some(GRANTED - ledger.charges));
    assert_eq!(ledger.charges, ledger.history);
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), ledger.charges);
}

/// The limit goes on where it was: what is left is what may still be asked, and no more.
fn check_rates(world: &World, told: i64, began: Instant) {
    let used = day_used(world);
    assert!(used >= told, "{used} counted of {told}");
    // Calls under way count, too.
    let most = told + i64::from(SESSIONS) + OVER_COUNT;
    assert!(used <= most, "{used} counted of {told} acknowledged");
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    let mut caller = world.caller();
    let mut admitted = 0;
    for n in 501.. {
        match enrich(&mut caller, n) {
            Ok(_) => admitted += 1,
            Err(error) => {
                assert_eq!(sqlstate(&Err::<(), _>(error)), "LX429");
                break;
            }
        }
        assert!(admitted <= PER_MINUTE, "no limit holds");
    }
    // On a machine that is too slow for this to be one minute, nothing is shown.
    if began.elapsed() < Duration::from_secs(60) {
        assert!(told + admitted <= PER_MINUTE, "{told} and then {admitted} within a minute");
        assert!(admitted > 0, "what is not known counts as used only up to a tenth");
    }
}

#[test]
fn a_promoted_standby_has_exact_balances_and_forgets_no_rate_use() {
    let world = World::with(&Beginning { credits: Some(9), plan: "org", ..Beginning::default() });
    let standby = world.cluster.standby(&[]);
    let mut caller = world.caller();
    for n in [1, 2, 3] {
        enrich(&mut caller, n).unwrap();
    }
    let sql = "SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1";
    eventually("the standby has it all", Duration::from_secs(20), || {
        standby.config("app").connect(NoTls).is_ok_and(|mut c| number(&mut c, sql) == 3)
    });
    world.cluster.stop(Stop::Immediate);
    standby.connect("postgres").query_one("SELECT pg_promote()", &[]).unwrap();
    let mut caller = standby.connect_as("app", "caller");
    assert_eq!(credits(&mut caller), Some(6));
    let used = number(
        &mut caller,
        "SELECT \"limit\" - remaining FROM leadlex.rate_limit() WHERE \"window\" = 'day'",
    );
    assert!((3..=3 + 20).contains(&used), "{used}");
    assert_eq!(enrich(&mut caller, 4).unwrap()["credits_remaining"], 5);
    eventually("its own worker settles", Duration::from_secs(20), || {
        number(&mut standby.connect("app"), "SELECT count(*) FROM leadlex.credit_pending") == 0
    });
    world.cluster.start_again();
}

//! Some hundred transactions by a seed, over a vendor that answers late, with ROLLBACK, cancel, terminate, crash and restart:
//! nothing is handed in twice, and nothing is charged twice.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use serde_json::json;

use super::vendor::{Ready, Slow, with_title, world_with};
use crate::support::dice::{Dice, number_of};
use crate::support::{Stop, eventually};
use crate::world::{Beginning, World, contact, credits, enrich, number, pid};

const SESSIONS: usize = 6;
/// Of the test that crashes only.
const CONTACTS: i32 = 60;

/// One transaction; `killed` counts sessions that were terminated with a request under way. The server may go away at any time.
fn transaction(world: &World, caller: &mut Client, dice: &mut Dice, (contacts, killed): (u64, &AtomicUsize)) {
    let n = 1 + dice.throw(contacts) as i32;
    let Ok(backend) = caller.query_one("SELECT pg_backend_pid()", &[]).map(|row| row.get::<_, i32>(0)) else {
        *caller = session(world);
        return;
    };
    let after = Duration::from_millis(dice.throw(1_600));
    let interrupt = |how: &str, client: &mut Client| {
        thread::scope(|scope| {
            let call = scope.spawn(|| drop(enrich(client, n)));
            thread::sleep(after);
            let administrator = world.cluster.config("app").connect(NoTls);
            drop(
                administrator
                    .and_then(|mut client| client.batch_execute(&format!("SELECT {how}({backend})"))),
            );
            call.join().unwrap();
        });
    };
    match dice.throw(10) {
        0..=3 => drop(enrich(caller, n)),
        4 | 5 => {
            if let Ok(mut transaction) = caller.transaction() {
                let _ = enrich(&mut transaction, n);
                let _ = transaction.rollback();
            }
        }
        6 | 7 => interrupt("pg_cancel_backend", caller),
        8 => {
            let ids: Vec<uuid::Uuid> = (0..5).map(|_| contact(1 + dice.throw(contacts) as i32)).collect();
            let _ = caller.query("SELECT status FROM enrich_contacts($1)", &[&ids]);
        }
        _ => {
            interrupt("pg_terminate_backend", caller);
            killed.fetch_add(1, Ordering::SeqCst);
            *caller = session(world);
        }
    }
}

/// A session of the caller, once the server is there.
fn session(world: &World) -> Client {
    let mut found = None;
    eventually("the server takes a session", Duration::from_secs(60), || {
        let caller = world.cluster.config("app").user("caller").connect(NoTls);
        found = caller.ok().filter(|caller| !caller.is_closed());
        let queues = "SET leadlex.when_pending = 'queue'";
        found.as_mut().is_some_and(|caller| caller.batch_execute(queues).is_ok())
    });
    found.unwrap()
}

/// The server crashes or restarts, until the transactions are over. How often, and the most that was under way then.
fn trouble(world: &World, slow: &Slow, mut dice: Dice, over: &AtomicBool) -> (usize, usize) {
    let (mut times, mut crashes, mut under_way) = (0, 0, 0);
    loop {
        let next = Instant::now() + Duration::from_millis(4_000 + dice.throw(4_000));
        while Instant::now() < next {
            if over.load(Ordering::SeqCst) {
                return (times, under_way);
            }
            thread::sleep(Duration::from_millis(50));
        }
        let begun = Instant::now();
        match dice.throw(5) {
            0 => world.cluster.restart(Stop::Fast),
            1 => world.cluster.restart(Stop::Kill),
            _ => {
                let calling = "SELECT coalesce(max(pid), 0)::int8 FROM pg_stat_activity WHERE usename = 'caller' AND state = 'active'";
                let victim = number(&mut world.owner(), calling) as i32;
                if victim == 0 || !world.cluster.try_kill9(victim) {
                    continue;
                }
                eventually("the crash is noticed", Duration::from_secs(20), || {
                    world.cluster.log().matches("all server processes terminated").count() > crashes
                });
                crashes += 1;
            }
        }
        world.cluster.wait_until_ready();
        times += 1;
        // The worker needs a moment to write a ticket down.
        under_way += slow.submissions_since(begun - Duration::from_secs(1));
    }
}

#[test]
fn nothing_is_handed_in_or_charged_twice_whatever_happens() {
    let (seed, count) = (number_of("LEADLEX_STEPS_SEED", 20_261_128), number_of("LEADLEX_STEPS_COUNT", 240));
    println!("LEADLEX_STEPS_SEED={seed} LEADLEX_STEPS_COUNT={count}");
    // Each is met several times, so that most transactions come upon what another has left.
    let contacts = (count / 4).max(60);
    let granted = 20 * contacts as i64;
    let beginning = Beginning { credits: Some(granted), contacts: contacts as i32, ..Beginning::default() };
    let (world, slow) = world_with(Ready::After(Duration::from_millis(1_500)), json!({}), &beginning);
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &with_title(&world.provider, json!({})));
    let (killed, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let dice = |number: usize| Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number as u64 + 1));
    let (times, under_way) = thread::scope(|scope| {
        let troubled = scope.spawn(|| trouble(&world, &slow, dice(SESSIONS), &over));
        let calling: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let (world, killed, mut dice) = (&world, &killed, dice(number));
                scope.spawn(move || {
                    let mut caller = session(world);
                    for _ in 0..count / SESSIONS as u64 {
                        transaction(world, &mut caller, &mut dice, (contacts, killed));
                    }
                })
            })
            .collect();
        calling.into_iter().for_each(|session| session.join().unwrap());
        over.store(true, Ordering::SeqCst);
        troubled.join().unwrap()
    });
    assert!(times > 0, "the server was there all the time");
    eventually("the queue is empty", Duration::from_secs(60), || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state IN ('queued', 'running')") == 0
    });
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job WHERE state = 'dead'"), 0);
    let (submissions, killed) = (slow.submissions(), killed.into_inner());
    let asked: HashSet<Option<String>> = world
        .provider
        .requests()
        .iter()
        .filter_map(|request| request.param("email").map(|email| Some(email.to_owned())))
        .collect();
    println!(
        "{submissions} submissions for {} questions; {killed} sessions killed, {times} crashes and restarts with {under_way} under way",
        asked.len()
    );
    assert!(submissions <= asked.len() + killed + under_way);
    // Two fields of a contact can be filled, so two calls at most have changed it; what the queue filled in later was paid
    // with what came first.
    let contacts = "SELECT count(*) FROM (SELECT e.contact_id FROM leadlex.credit_ledger AS l JOIN leadlex.enrichment AS e USING (workspace_id, request_id)
                    WHERE l.amount = -1 GROUP BY 1 HAVING count(*) > 2) AS t";
    assert_eq!(world.number(contacts), 0);
    let spent = world.number("SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1");
    assert_eq!(credits(&mut world.caller()), Some(granted - spent));
    assert_eq!(
        world.number(
            "SELECT count(*) - count(DISTINCT request_id) FROM leadlex.credit_ledger WHERE amount = -1"
        ),
        0
    );
    let without = "SELECT count(*) FROM leadlex.credit_ledger AS l WHERE l.amount = -1
                   AND NOT EXISTS (SELECT FROM leadlex.enrichment AS e WHERE e.request_id = l.request_id)";
    assert_eq!(world.number(without), 0);
}

#[test]
fn a_crash_loses_no_more_than_what_was_under_way() {
    const ROUNDS: usize = 4;
    let beginning = Beginning { credits: Some(1_000), contacts: CONTACTS, ..Beginning::default() };
    let (world, slow) = world_with(Ready::After(Duration::from_millis(1_500)), json!({}), &beginning);
    for round in 0..ROUNDS {
        let mut sessions: Vec<Client> = (0..SESSIONS).map(|_| world.caller()).collect();
        let victim = pid(&mut sessions[round]);
        thread::scope(|scope| {
            for (number, caller) in sessions.iter_mut().enumerate() {
                scope.spawn(move || {
                    // Until the server is gone.
                    let mine = (1..=CONTACTS).filter(|n| *n as usize % SESSIONS == number);
                    for n in mine.skip(round) {
                        if enrich(caller, n).is_err() {
                            return;
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(900 + 700 * round as u64));
            world.cluster.kill9(victim);
        });
        world.cluster.wait_until_ready();
    }
    let handed_in = slow.submissions();
    assert!(handed_in > SESSIONS, "{handed_in}");
    let ids: Vec<uuid::Uuid> = (1..=CONTACTS).map(contact).collect();
    world.caller().query("SELECT FROM enrich_contacts($1)", &[&ids]).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NULL"), 0);
    // Each session has one request under way at most.
    let submissions = slow.submissions();
    assert!(submissions <= CONTACTS as usize + ROUNDS * SESSIONS, "{submissions}");
    assert!(slow.most_of_one() <= 1 + ROUNDS, "{}", slow.most_of_one());
    println!("{submissions} submissions for {CONTACTS} questions, {ROUNDS} crashes");
    assert_eq!(credits(&mut world.caller()), Some(1_000 - i64::from(CONTACTS)), "each is charged once");
    world.check_credits_add_up();
}

//! Some hundred transactions by a seed, over a vendor that answers late, with ROLLBACK, cancel and terminate: nothing is
//! handed in twice, and nothing is charged twice.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Client;
use serde_json::json;

use super::vendor::{Ready, with_title, world_with};
use crate::support::eventually;
use crate::world::{Beginning, World, contact, credits, enrich, pid};

const CONTACTS: i32 = 60;
const SESSIONS: usize = 6;

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

fn number_of(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One transaction; `killed` counts sessions that were terminated with a request under way.
fn transaction(world: &World, caller: &mut Client, dice: &mut Dice, killed: &AtomicUsize) {
    let n = 1 + dice.throw(CONTACTS as u64) as i32;
    let backend = pid(caller);
    let after = Duration::from_millis(dice.throw(1_600));
    let interrupt = |how: &str, client: &mut Client| {
        thread::scope(|scope| {
            let call = scope.spawn(|| drop(enrich(client, n)));
            thread::sleep(after);
            world.run(&format!("SELECT {how}({backend})"));
            call.join().unwrap();
        });
    };
    match dice.throw(10) {
        0..=3 => drop(enrich(caller, n)),
        4 | 5 => {
            let mut transaction = caller.transaction().unwrap();
            let _ = enrich(&mut transaction, n);
            let _ = transaction.rollback();
        }
        6 | 7 => interrupt("pg_cancel_backend", caller),
        8 => {
            let ids: Vec<uuid::Uuid> =
                (0..5).map(|_| contact(1 + dice.throw(CONTACTS as u64) as i32)).collect();
            let _ = caller.query("SELECT status FROM enrich_contacts($1)", &[&ids]);
        }
        _ => {
            interrupt("pg_terminate_backend", caller);
            killed.fetch_add(1, Ordering::SeqCst);
            *caller = session(world);
        }
    }
}

fn session(world: &World) -> Client {
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    caller
}

#[test]
fn nothing_is_handed_in_or_charged_twice_whatever_happens() {
    let (seed, count) = (number_of("LEADLEX_STEPS_SEED", 20_261_128), number_of("LEADLEX_STEPS_COUNT", 240));
    println!("LEADLEX_STEPS_SEED={seed} LEADLEX_STEPS_COUNT={count}");
    let beginning = Beginning { credits: Some(1_000), contacts: CONTACTS, ..Beginning::default() };
    let (world, slow) = world_with(Ready::After(Duration::from_millis(1_500)), json!({}), &beginning);
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &with_title(&world.provider, json!({})));
    let killed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..SESSIONS {
            let (world, killed) = (&world, &killed);
            scope.spawn(move || {
                let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number as u64 + 1));
                let mut caller = session(world);
                for _ in 0..count / SESSIONS as u64 {
                    transaction(world, &mut caller, &mut dice, killed);
                }
            });
        }
    });
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
    assert!(
        submissions <= asked.len() + killed,
        "{submissions} for {} questions, {killed} kills",
        asked.len()
    );
    // Two fields of a contact can be filled, so two calls at most have changed it; what the queue filled in later was paid
    // with what came first.
    let contacts = "SELECT count(*) FROM (SELECT e.contact_id FROM leadlex.credit_ledger AS l JOIN leadlex.enrichment AS e USING (workspace_id, request_id)
                    WHERE l.amount = -1 GROUP BY 1 HAVING count(*) > 2) AS t";
    assert_eq!(world.number(contacts), 0);
    let spent = world.number("SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1");
    assert_eq!(credits(&mut world.caller()), Some(1_000 - spent));
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

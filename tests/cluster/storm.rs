//! Everything at once, at random: calls, rollbacks, savepoints, keys, cancels, terminations, grants, misbehaving
//! providers. Whatever happened, the books add up at every instant and at the end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, IsolationLevel};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, Failure, Stop, person};
use crate::world::{Beginning, PATH, World, contact, enrich, enrich_with_key, number};

const CONTACTS: u64 = 30;
const SESSIONS: u64 = 10;
const FOR: Duration = Duration::from_secs(4);

/// Small numbers that look random; printed seeds would not help, as the sessions race anyway.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn the_books_add_up_whatever_happens() {
    let world = World::with(&Beginning {
        credits: Some(20),
        contacts: CONTACTS as i32,
        conf: &[
            "leadlex.credit_wait = '20ms'",
            "deadlock_timeout = '50ms'",
            "leadlex.receipt_ttl = 0",
            "leadlex.recheck_after = 0",
        ],
        ..Beginning::default()
    });
    misbehave(&world);
    let stop = AtomicBool::new(false);
    let succeeded = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 1..=SESSIONS {
            let (world, stop, succeeded) = (&world, &stop, &succeeded);
            scope.spawn(move || session(world, Dice(seed * 7_919), stop, succeeded));
        }
        scope.spawn(|| trouble(&world, &stop));
        scope.spawn(|| watch(&world, &stop));
        thread::sleep(FOR);
        stop.store(true, Ordering::SeqCst);
    });

    let succeeded = succeeded.load(Ordering::SeqCst);
    println!("{succeeded} transactions, {:?}", world.books());
    assert!(succeeded > 50, "too little happened to mean anything: {succeeded}");
    assert!(!world.cluster.log().contains("terminated by signal"), "no crash");
    assert!(!world.cluster.log().contains("panicked"), "no panic");
    world.check_credits_add_up();
    let books = world.books();
    assert!(world.provider.count() as i64 >= books.charges, "every charge was asked for");
    let keys = "SELECT count(*) - count(DISTINCT (result->>'request_id')) FROM leadlex.idempotency";
    assert_eq!(world.number(keys), 0, "a key stands for one request");
    world.run(&format!("SELECT leadlex.grant_credits('{}'::uuid, 3)", world.workspace));
    world.check_all_credits_can_be_spent();
    world.cluster.restart(Stop::Fast);
    assert_eq!(world.books().credits, Some(0), "after a restart");
}

fn misbehave(world: &World) {
    let asked = AtomicUsize::new(0);
    world.provider.on(PATH, move |_| {
        let mut dice = Dice(asked.fetch_add(1, Ordering::SeqCst) as u64 * 104_729 + 1);
        match dice.roll(20) {
            0 => Behaviour::Reset,
            1 => Behaviour::json(500, json!({})),
            2 => Behaviour::json(404, json!({})),
            3 => Behaviour::json(200, person()).after(Duration::from_millis(60)),
            delay => Behaviour::json(200, person()).after(Duration::from_millis(delay / 3)),
        }
    });
}

fn session(world: &World, mut dice: Dice, stop: &AtomicBool, succeeded: &AtomicUsize) {
    let mut client = world.caller();
    while !stop.load(Ordering::SeqCst) {
        if client.is_closed() || dice.roll(40) == 0 {
            client = world.caller();
        }
        let timeout = if dice.roll(6) == 0 { 1 + dice.roll(40) } else { 3_000 };
        let done = client
            .batch_execute(&format!("SET statement_timeout = {timeout}"))
            .and_then(|()| transaction(&mut client, &mut dice));
        match done {
            Ok(()) => {
                succeeded.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => check_error(&error),
        }
    }
}

/// Only what can happen here may happen.
fn check_error(error: &postgres::Error) {
    if error.is_closed() || error.as_db_error().is_none() {
        return;
    }
    let failure = Failure::of(error);
    let expected = ["LX402", "LX409", "LX503", "57014", "57P01", "40001", "40P01", "ZZ001", "55P03", "25P02"];
    assert!(expected.contains(&failure.sqlstate.as_str()), "{failure:?}");
}

fn transaction(client: &mut Client, dice: &mut Dice) -> Result<(), postgres::Error> {
    let level = match dice.roll(8) {
        0 => IsolationLevel::RepeatableRead,
        1 => IsolationLevel::Serializable,
        _ => IsolationLevel::ReadCommitted,
    };
    let mut transaction = client.build_transaction().isolation_level(level).start()?;
    for _ in 0..=dice.roll(3) {
        let n = 1 + dice.roll(CONTACTS);
        match dice.roll(6) {
            0 => {
                let mut inner = transaction.transaction()?;
                let _ = enrich(&mut inner, n as i32).map_err(|error| check_error(&error));
                if dice.roll(2) == 0 { inner.rollback()? } else { inner.commit()? }
            }
            1 => {
                // Each key belongs to one contact.
                enrich_with_key(&mut transaction, n as i32, Uuid::from_u128(u128::from(n)))?;
            }
            2 => {
                let sql = "SELECT try_enrich_contact($1, overwrite => true)";
                let result: Value = transaction.query_one(sql, &[&contact(n as i32)])?.get(0);
                assert!(result["error"].is_object() || result["contact"].is_object(), "{result}");
            }
            3 => {
                let sql = format!(
                    "DO $$ BEGIN PERFORM enrich_contact('{}'); RAISE SQLSTATE 'ZZ001'; EXCEPTION WHEN SQLSTATE 'ZZ001' THEN END $$",
                    contact(n as i32)
                );
                transaction.batch_execute(&sql)?;
            }
            _ => {
                enrich(&mut transaction, n as i32)?;
            }
        }
    }
    if dice.roll(5) == 0 { transaction.rollback() } else { transaction.commit() }
}

/// Grants, corrections, emptied contacts, cancels and terminations.
fn trouble(world: &World, stop: &AtomicBool) {
    let mut owner = world.owner();
    let mut dice = Dice(42);
    let victims = |function: &str| {
        format!(
            "SELECT {function}(pid) FROM (SELECT pid FROM pg_stat_activity WHERE usename = 'caller' ORDER BY random() LIMIT 1) AS v"
        )
    };
    while !stop.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
        let sql = match dice.roll(8) {
            0 | 1 => format!("SELECT leadlex.grant_credits('{}'::uuid, 6)", world.workspace),
            2 => format!("SELECT leadlex.grant_credits('{}'::uuid, -2, 'correction')", world.workspace),
            3 => victims("pg_cancel_backend"),
            4 => victims("pg_terminate_backend"),
            5 => format!("BEGIN; SELECT leadlex.grant_credits('{}'::uuid, 50); ROLLBACK", world.workspace),
            _ => "SET lock_timeout = '200ms'; UPDATE crm SET phone = NULL, location = NULL WHERE id IN (SELECT id FROM crm ORDER BY random() LIMIT 5)".to_owned(),
        };
        // A correction below zero is refused, an update may meet a lock.
        if owner.batch_execute(&sql).is_err() {
            let _ = owner.batch_execute("ROLLBACK");
        }
    }
}

/// At every instant, in one snapshot: no committed balance below zero, every charge with its history.
fn watch(world: &World, stop: &AtomicBool) {
    let mut owner = world.owner();
    let started = Instant::now();
    let mut looks = 0;
    while !stop.load(Ordering::SeqCst) {
        assert!(number(&mut owner, "SELECT sum(amount)::int8 FROM leadlex.credit_ledger") >= 0);
        let sql = "SELECT count(*) FROM leadlex.credit_ledger LEFT JOIN leadlex.enrichment AS e USING (workspace_id, request_id)
                   WHERE amount = -1 AND e.request_id IS NULL";
        assert_eq!(number(&mut owner, sql), 0, "a charge without its history");
        looks += 1;
        thread::sleep(Duration::from_millis(5));
    }
    assert!(looks > 10, "{looks} looks in {:?}", started.elapsed());
}

//! What a session holds does not grow with the calls it has made: neither memory nor descriptors nor threads.

use std::time::Instant;

use postgres::Client;

use crate::support::fails;
use crate::support::quick::{KINDS, Kind, QuickProvider};
use crate::world::{Beginning, World, contact, memory, number, open, pid};

const SESSIONS: i32 = 2;
/// Calls in one round of a session, half of which fail.
const ROUND: i64 = 400;
/// Without LEADLEX_ENDURANCE_CALLS. With fewer, caches are still filling when the measurement begins.
const CALLS: i64 = 50_000;

/// Measured after the first third of the calls. Until then caches fill, and the allocator finds its size; after it, 0 to
/// 216 kB more were seen, on a machine with a load of ten, too. 1,536 kB are 90 bytes for each
/// of the 17,000 calls of a session that follow.
const MAX_GROWTH_KB: u64 = 1_536;
/// Requests of cancelled calls go on for two seconds. Each has a thread, its pipe, and a connection; the other
/// descriptors are Postgres's own files. One that is left behind by every hundredth failure would be 85.
const MAX_MORE_THREADS: usize = 8;
const MAX_MORE_DESCRIPTORS: usize = 3 * MAX_MORE_THREADS + 8;

/// Many to a statement, each in a transaction of its own. Of 10 calls 5 succeed, one of them with a key, and 5 fail:
/// as results, and as errors that are caught.
fn many(n: i32) -> String {
    let of = |kind: Kind| contact(kind.person(n));
    format!(
        "DO $$
         DECLARE failing uuid[] := ARRAY['{}', '{}', '{}', '{}', '{}', '{}', '{}']; enriched int := 0; failed int := 0;
         BEGIN
             FOR i IN 1 .. 38 LOOP
                 FOR j IN 1 .. 4 LOOP
                     IF enrich_contact('{good}', NULL, true)->'fields_updated' = '[\"phone\"]' THEN enriched := enriched + 1; END IF;
                     COMMIT;
                 END LOOP;
                 PERFORM enrich_contact('{good}', NULL, true, gen_random_uuid());
                 enriched := enriched + 1;
                 COMMIT;
                 FOR j IN 1 .. 4 LOOP
                     IF try_enrich_contact(failing[1 + (5 * i + j) % 7])->'error' IS NOT NULL THEN failed := failed + 1; END IF;
                     COMMIT;
                 END LOOP;
                 BEGIN
                     PERFORM enrich_contact(failing[1 + i % 7]);
                 EXCEPTION WHEN OTHERS THEN
                     IF SQLSTATE IN ('LX409', 'LX503') THEN failed := failed + 1; ELSE RAISE; END IF;
                 END;
                 COMMIT;
             END LOOP;
             IF (enriched, failed) IS DISTINCT FROM (190, 190) THEN RAISE 'enriched %, failed %', enriched, failed; END IF;
         END $$",
        of(Kind::NoMatch),
        of(Kind::ServerError),
        of(Kind::Moved),
        of(Kind::BadJson),
        of(Kind::TooLarge),
        of(Kind::HalfBody),
        of(Kind::Reset),
        good = of(Kind::Match),
    )
}

/// 380 calls from within the server, 19 from outside, and one that is cancelled while the provider says nothing.
fn round(session: &mut Client, n: i32) {
    session.batch_execute(&many(n)).unwrap();
    let call = |kind: Kind| format!("SELECT enrich_contact('{}', NULL, true)", contact(kind.person(n)));
    let errors = [Kind::NoMatch, Kind::ServerError, Kind::BadJson, Kind::Reset];
    for i in 0..10 {
        session.batch_execute(&call(Kind::Match)).unwrap();
        if i > 0 {
            let state = fails(session.batch_execute(&call(errors[i % 4]))).sqlstate;
            assert!(state == "LX409" || state == "LX503", "{state}");
        }
    }
    abandon(session, n);
}

/// A call that is cancelled while its request is on its way.
fn abandon(session: &mut Client, n: i32) {
    session.batch_execute("SET statement_timeout = '20ms'").unwrap();
    let call = format!("SELECT enrich_contact('{}', NULL, true)", contact(Kind::Silence.person(n)));
    assert_eq!(fails(session.batch_execute(&call)).sqlstate, "57014");
    session.batch_execute("RESET statement_timeout").unwrap();
}

/// As many helper threads at once as the slowest machine will have: each brings an arena of the allocator's, which stays
/// when the thread ends and is used by the next one.
const CREW: usize = 16;
const ENRICHED_IN_ROUND: i64 = 190 + 10;

#[derive(Clone, Copy, Debug)]
struct Held {
    memory_kb: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn by(backend: i32) -> Held {
        Held { memory_kb: memory(backend), descriptors: open(backend, "fd"), threads: open(backend, "task") }
    }
}

/// What a session holds after a third of so many rounds, and after all of them.
fn endure(world: &World, n: i32, rounds: i64) -> (Held, Held) {
    let mut session = world.caller();
    let backend = pid(&mut session);
    (0..CREW).for_each(|_| abandon(&mut session, n));
    (0..rounds / 3).for_each(|_| round(&mut session, n));
    let before = Held::by(backend);
    (rounds / 3..rounds).for_each(|_| round(&mut session, n));
    assert_eq!(pid(&mut session), backend);
    (before, Held::by(backend))
}

#[test]
fn nothing_grows_over_many_calls_of_which_half_fail() {
    let wanted = std::env::var("LEADLEX_ENDURANCE_CALLS").ok().and_then(|text| text.parse().ok());
    let calls: i64 = wanted.unwrap_or(CALLS);
    let rounds = calls / ROUND / i64::from(SESSIONS);
    let quick = QuickProvider::start();
    let granted = calls;
    let world = World::with(&Beginning {
        credits: Some(granted),
        contacts: (SESSIONS + 1) * KINDS,
        // Every call is to ask, however many have failed.
        conf: &["leadlex.breaker_failures = 0"],
        ..Beginning::default()
    });
    let config = serde_json::json!({"request": {"url": quick.url("/person")}});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    // Every call asks; what was missing is filed as a receipt all the same.
    world.run("ALTER ROLE caller SET leadlex.receipt_ttl = 0");
    let started = Instant::now();
    let held: Vec<(Held, Held)> = std::thread::scope(|scope| {
        let world = &world;
        let sessions: Vec<_> =
            (1..=SESSIONS).map(|n| scope.spawn(move || endure(world, n, rounds))).collect();
        sessions.into_iter().map(|session| session.join().unwrap()).collect()
    });
    println!("{} calls in {:?}:", i64::from(SESSIONS) * ROUND * rounds, started.elapsed());
    for (before, after) in &held {
        println!("{before:?} -> {after:?}");
    }
    for (before, after) in held {
        assert!(after.memory_kb <= before.memory_kb + MAX_GROWTH_KB, "{before:?} -> {after:?}");
        assert!(after.descriptors <= before.descriptors + MAX_MORE_DESCRIPTORS, "{before:?} -> {after:?}");
        assert!(after.threads <= before.threads + MAX_MORE_THREADS, "{before:?} -> {after:?}");
    }
    let enriched = i64::from(SESSIONS) * rounds * ENRICHED_IN_ROUND;
    let charged = "SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1";
    assert_eq!(number(&mut world.owner(), charged), enriched);
    assert_eq!(world.ledger().credits, Some(granted - enriched), "no credit is left reserved");
    // One that is reset on a used connection is sent once more. That there was no match, of seven ways to fail, is
    // remembered after the first time.
    assert!(quick.requests() >= 13 * enriched as u64 / 7, "{}", quick.requests());
    world.check_credits_add_up();
}

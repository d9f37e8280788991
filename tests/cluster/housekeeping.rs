//! What the worker removes: it reads no more than that, and no call waits for it.

use std::time::Duration;

use crate::support::eventually;
use crate::world::{Beginning, World, enrich, number};

#[test]
fn the_look_for_what_has_expired_does_not_read_all_that_is_there() {
    let conf = [
        "leadlex.receipt_ttl = '100s'",
        "leadlex.recheck_after = '100s'",
        "track_counts = on",
        "autovacuum = off",
    ];
    let world = World::with(&Beginning { conf: &conf, ..Beginning::default() });
    let mut owner = world.owner();
    let workspace = world.workspace;
    owner
        .batch_execute(&format!(
            "INSERT INTO leadlex.receipt (workspace_id, question, answered_at, provider_id, known, matched, lacking, answer, person)
                 SELECT '{workspace}', gen_random_uuid(), clock_timestamp() + interval '1 hour', gen_random_uuid(), gen_random_uuid(), true, '{{}}', '{{}}', gen_random_uuid()
                 FROM generate_series(1, 20000);
             INSERT INTO leadlex.receipt (workspace_id, question, answered_at, provider_id, known, matched, lacking)
                 SELECT '{workspace}', gen_random_uuid(), clock_timestamp() - interval '1 hour', gen_random_uuid(), gen_random_uuid(), true, '{{}}' FROM generate_series(1, 50);
             INSERT INTO leadlex.idempotency (workspace_id, key, request_hash, result, created_at)
                 SELECT '{workspace}', gen_random_uuid(), '', '{{}}', clock_timestamp() - CASE WHEN n <= 50 THEN interval '2 days' ELSE interval '0' END
                 FROM generate_series(1, 20000) AS n;
             ANALYZE leadlex.receipt, leadlex.idempotency; SELECT pg_stat_reset();"
        ))
        .unwrap();
    // Each look is by a worker that a call wakes.
    eventually("what has expired is gone", Duration::from_secs(60), || {
        let n = (number(&mut owner, "SELECT count(*) FROM leadlex.enrichment") % 10) as i32 + 1;
        world.run(&format!("UPDATE crm SET phone = NULL WHERE id = '{}'", crate::world::contact(n)));
        let _ = enrich(&mut world.caller(), n);
        std::thread::sleep(Duration::from_millis(300));
        let left = "SELECT (SELECT count(*) FROM leadlex.receipt WHERE answered_at < now() - interval '30 minutes')
                         + (SELECT count(*) FROM leadlex.idempotency WHERE created_at < now() - interval '25 hours')";
        number(&mut owner, left) == 0
    });
    // The counts above have read the tables in this session; the worker's session is what counts.
    owner.batch_execute("SELECT pg_stat_reset()").unwrap();
    drop(owner);
    std::thread::sleep(Duration::from_secs(2));
    for n in 1..=10 {
        world.run(&format!("UPDATE crm SET phone = NULL WHERE id = '{}'", crate::world::contact(n)));
        let _ = enrich(&mut world.caller(), n);
        std::thread::sleep(Duration::from_millis(1_500));
    }
    let read = "SELECT (sum(seq_tup_read) + sum(idx_tup_fetch))::int8 FROM pg_stat_user_tables WHERE relname IN ('receipt', 'idempotency')";
    let looked_at = "SELECT sum(idx_tup_read)::int8 FROM pg_stat_user_indexes WHERE relname IN ('receipt', 'idempotency')";
    let (read, looked_at) = (world.number(read), world.number(looked_at));
    assert!(read + looked_at < 5_000, "{read} rows and {looked_at} index entries were read to find nothing");
}

/// What is to be removed is locked: a call that waits for its rate limit to be recorded does not wait for that.
#[test]
fn a_rate_limited_call_does_not_wait_for_what_is_removed() {
    let world = World::with(&Beginning { plan: "starter", ..Beginning::default() });
    let mut owner = world.owner();
    let mut locks = owner.transaction().unwrap();
    locks.batch_execute("LOCK TABLE leadlex.receipt, leadlex.idempotency IN EXCLUSIVE MODE").unwrap();
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
    enrich(&mut caller, 1).unwrap();
    locks.rollback().unwrap();
}

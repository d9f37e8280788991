//! leadlex.history_retention.

use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use super::rows;
use crate::support::{Behaviour, Stop, eventually, fails};
use crate::world::{Beginning, PATH, World, contact, enrich, number};

const LONG: Duration = Duration::from_secs(120);
const USAGE: &str = "SELECT * FROM leadlex.usage_daily ORDER BY day, workspace_id, source";
const HISTORY: &str = "SELECT count(*) FROM leadlex.enrichment";

fn world(contacts: i32) -> World {
    // A short life of receipts, so that the worker looks every second what is over its time.
    let conf = ["leadlex.receipt_ttl = '10s'", "leadlex.overwrite_scope = 'own'"];
    World::with(&Beginning { credits: Some(1_000), contacts, conf: &conf, ..Beginning::default() })
}

/// The history and the ledger are so many days older, ids included: they tell the time.
fn age(client: &mut Client, condition: &str, days: i32) {
    client
        .batch_execute(&format!(
            "CREATE FUNCTION pg_temp.older(id uuid) RETURNS uuid LANGUAGE sql AS $$
                 SELECT (lpad(to_hex(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint - {days}::bigint * 86400000), 12, '0')
                         || substr(replace(id::text, '-', ''), 13))::uuid $$;
             UPDATE leadlex.credit_settled SET id = pg_temp.older(id), request_id = pg_temp.older(request_id), created_at = created_at - interval '{days} days'
             WHERE request_id IN (SELECT request_id FROM leadlex.enrichment WHERE {condition});
             UPDATE leadlex.enrichment SET request_id = pg_temp.older(request_id), created_at = created_at - interval '{days} days' WHERE {condition};
             DROP FUNCTION pg_temp.older(uuid)"
        ))
        .unwrap();
}

/// As after a reload; a worker is called, which looks.
fn keep(world: &World, days: i32, left: i64) {
    world.cluster.append_conf(&[format!("leadlex.history_retention = {days}")]);
    world.cluster.restart(Stop::Fast);
    eventually("what is over its time is gone", LONG, || world.number(HISTORY) == left);
}

#[test]
fn what_was_pruned_cannot_be_taken_back_nor_refilled_and_is_a_persons() {
    let world = world(6);
    let mut caller = world.caller();
    let requests: Vec<uuid::Uuid> = (1..=4)
        .map(|n| enrich(&mut caller, n).unwrap()["request_id"].as_str().unwrap().parse().unwrap())
        .collect();
    // The third is asked about again.
    caller.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    caller.query_one("SELECT try_enrich_contact($1, '{phone}', overwrite => true)", &[&contact(3)]).unwrap();
    world.settle();
    let mut owner = world.owner();
    age(&mut owner, &format!("contact_id <> '{}'", contact(4)), 40);
    let usage = rows(&mut owner, USAGE);
    let ledger = rows(&mut owner, "SELECT * FROM leadlex.credit_ledger ORDER BY id");
    assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.checked"), 1);
    drop((caller, owner));
    keep(&world, 30, 1);
    let (mut caller, mut owner) = (world.caller(), world.owner());
    assert_eq!(rows(&mut owner, USAGE), usage, "what was used is what it was");
    assert_eq!(rows(&mut caller, USAGE), usage);
    assert_eq!(rows(&mut owner, "SELECT * FROM leadlex.credit_ledger ORDER BY id"), ledger);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.checked"), 0);
    let reverts = |client: &mut Client, request| {
        let failure = fails(client.query("SELECT leadlex.revert_enrichment($1)", &[&request]));
        assert!(failure.hint.unwrap_or_default().contains("leadlex.history_retention"));
        failure.sqlstate
    };
    let id: uuid::Uuid = owner.query_one("SELECT request_id FROM leadlex.enrichment", &[]).unwrap().get(0);
    assert_eq!((reverts(&mut caller, requests[0]), id), ("LX404".to_owned(), requests[3]));
    // Own values only: these are nobody's own any more, the fourth's are.
    world
        .provider
        .on(PATH, |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+12025550198"}})));
    caller.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    for (n, changed) in [(1, false), (4, true)] {
        let sql = "SELECT try_enrich_contact($1, '{phone}', overwrite => true)";
        let told: Value = caller.query_one(sql, &[&contact(n)]).unwrap().get(0);
        assert_eq!(told["fields_updated"] == json!(["phone"]), changed, "{n}: {told}");
    }
    world.run("UPDATE crm SET phone = NULL, job_title = NULL");
    assert_eq!(number(&mut caller, "SELECT leadlex.refill('crm')"), 1, "the fourth");
    assert_eq!(number(&mut owner, "SELECT count(DISTINCT contact_id) FROM leadlex.enriched"), 1);
}

/// Rows of 3 days, of 700 contacts and two providers, some without a charge, reverted and twice a day.
fn many(world: &World, rows: i32) {
    world.run(&format!(
        "INSERT INTO leadlex.enrichment (workspace_id, request_id, created_at, requested_by, schema_name, table_name, contact_id, overwrite, source,
             fields_updated, field_sources, old_values, new_values, reverted_at)
         SELECT '{0}', (lpad(to_hex((extract(epoch FROM d.at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid,
                d.at, 'caller', 'public', 'crm', 'c' || n % 700, false, CASE WHEN n % 3 = 0 THEN 'other' ELSE 'main' END, '{{phone,job_title}}',
                jsonb_build_object('phone', jsonb_build_object('source', CASE WHEN n % 3 = 0 THEN 'other' ELSE 'main' END), 'job_title', jsonb_build_object('source', 'other')),
                '{{}}', '{{\"phone\": \"+12025550100\", \"job_title\": \"Editor\"}}', CASE WHEN n % 11 = 0 THEN now() END
         FROM generate_series(1, {rows}) AS n,
              LATERAL (SELECT date_trunc('day', now()) - interval '43 days' + (n % 3) * interval '1 day' + n * interval '1 millisecond' AS at) AS d;
         INSERT INTO leadlex.credit_settled (workspace_id, id, amount, request_id, created_at)
             SELECT workspace_id, request_id, -1, request_id, created_at FROM leadlex.enrichment WHERE right(contact_id, 1) <> '5';
         UPDATE leadlex.credit_balance SET settled = (SELECT sum(amount) FROM leadlex.credit_settled);
         ANALYZE leadlex.enrichment, leadlex.credit_settled, leadlex.checked",
        world.workspace
    ));
}

/// What the worker holds locked that a session may want, in milliseconds: looked at all the while. Ends with the pruning.
fn longest_lock(world: &World, left: i64) -> (Duration, Duration) {
    let mut owner = world.owner();
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    let held = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start) * 1000), 0)::int8
                FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                WHERE l.relation = 'leadlex.enrichment'::regclass AND l.mode = 'RowExclusiveLock' AND a.backend_type LIKE 'leadlex%'";
    loop {
        longest = longest.max(Duration::from_millis(number(&mut owner, held) as u64));
        // Reads no more than is left: a count of all would be in the way of what is measured.
        let first = format!("SELECT count(*) FROM (SELECT FROM leadlex.enrichment LIMIT {}) AS e", left + 1);
        if number(&mut owner, &first) <= left {
            return (began.elapsed(), longest);
        }
        assert!(began.elapsed() < LONG * 10, "the worker does not prune");
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn prunes_in_small_portions(size: i32) {
    let world = world(1);
    enrich(&mut world.caller(), 1).unwrap();
    world.settle();
    world.run("UPDATE leadlex.credit_settled SET note = 'of no row' WHERE amount = -1; DELETE FROM leadlex.enrichment");
    many(&world, size);
    let usage = rows(&mut world.owner(), USAGE);
    assert!(usage.len() == 5, "{usage:?}");
    world.cluster.append_conf(&["leadlex.history_retention = 30"]);
    world.cluster.restart(Stop::Fast);
    let (took, longest) = longest_lock(&world, 0);
    println!("{size} rows pruned in {took:?}, the longest lock seen {longest:?}");
    assert!(longest < Duration::from_secs(1), "a lock of {longest:?}");
    assert_eq!(rows(&mut world.owner(), USAGE), usage);
    // The balance is the ledger's.
    let sum = "SELECT coalesce(sum(amount), 0)::int8 FROM leadlex.credit_ledger";
    assert_eq!(world.number("SELECT sum(settled)::int8 FROM leadlex.credit_balance"), world.number(sum));
}

/// As many rows as LEADLEX_PRUNED_ROWS says: a million takes minutes.
#[test]
fn much_history_is_pruned_in_small_portions_and_the_summary_stays() {
    let wanted = std::env::var("LEADLEX_PRUNED_ROWS").ok().and_then(|text| text.parse().ok());
    prunes_in_small_portions(wanted.unwrap_or(30_000));
}

/// In between, what is left and what was pruned are the whole; a row that a session has locked is left and pruned later.
#[test]
fn the_summary_is_right_while_some_of_a_day_is_left() {
    let world = world(1);
    many(&world, 5_000);
    let usage = rows(&mut world.owner(), USAGE);
    let mut owner = world.owner();
    let mut open = owner.transaction().unwrap();
    open.batch_execute("SELECT FROM leadlex.enrichment WHERE contact_id IN ('c7', 'c8') FOR UPDATE").unwrap();
    let locked =
        number(&mut open, "SELECT count(*) FROM leadlex.enrichment WHERE contact_id IN ('c7', 'c8')");
    world.cluster.set("leadlex.history_retention", "30");
    // The worker comes, and looks.
    let call = || world.run(&format!("SELECT leadlex.grant_credits('{}', 1)", world.workspace));
    eventually("the others are gone", LONG, || {
        call();
        world.number(HISTORY) == locked
    });
    assert_eq!(rows(&mut world.owner(), USAGE), usage);
    open.rollback().unwrap();
    eventually("they go, too", LONG, || {
        call();
        world.number(HISTORY) == 0
    });
    assert_eq!(rows(&mut world.owner(), USAGE), usage);
}

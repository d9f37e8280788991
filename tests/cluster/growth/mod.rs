//! What does not grow with a customer: counted in pages that are read and in statements, not in seconds.

use std::time::Duration;

use postgres::Client;
use serde_json::Value;
use uuid::Uuid;

use crate::support::eventually;
use crate::world::{Beginning, World, contact, enrich, number};

mod changes;
mod exact;
mod forgetting;
mod partitions;
mod replicated;
mod scans;
mod sizes;

const SOON: Duration = Duration::from_secs(120);

/// So many that an index is worth it.
const ROWS: i64 = 40_000;

/// So many rows of the last 28 days in two workspaces, each with its charge: that of the caller, and one with a hundredth of
/// them.
fn with_history(rows: i64) -> World {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    enrich(&mut world.caller(), 1).unwrap();
    world.settle();
    world.run("SELECT leadlex.create_workspace('tiny'); CREATE ROLE little LOGIN");
    world.run("SELECT leadlex.grant_access('little', id) FROM leadlex.workspace WHERE name = 'tiny'");
    world.run(&format!(
        "INSERT INTO leadlex.enrichment (workspace_id, request_id, created_at, requested_by, schema_name, table_name, contact_id, overwrite,
             source, fields_updated, field_sources, old_values, new_values)
         SELECT CASE WHEN n % 100 = 0 THEN w.id ELSE e.workspace_id END, gen_random_uuid(), now() - n * interval '28 days' / {rows},
                e.requested_by, e.schema_name, e.table_name, (n % ({rows} / 2))::text, false, e.source, e.fields_updated, e.field_sources,
                e.old_values, e.new_values
         FROM leadlex.workspace AS w, leadlex.enrichment AS e, generate_series(1, {rows}) AS n WHERE w.name = 'tiny';
         INSERT INTO leadlex.credit_settled (workspace_id, id, amount, request_id, created_at)
         SELECT workspace_id, request_id, -1, request_id, created_at FROM leadlex.enrichment
         WHERE request_id NOT IN (SELECT request_id FROM leadlex.credit_ledger);
         ANALYZE"
    ));
    world
}

/// Pages that the statement reads, in memory or not.
fn pages(client: &mut Client, sql: &str) -> i64 {
    // What a session looks up once is not the statement's.
    client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}");
    let plan: Value = client.query_one(&explain, &[]).unwrap().get(0);
    let plan = &plan[0]["Plan"];
    ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|kind| plan[kind].as_i64().unwrap()).sum()
}

const LAST_HOUR: &str = "created_at > now() - interval '1 hour'";

#[test]
fn a_view_over_long_history_reads_what_it_shows() {
    let world = with_history(ROWS);
    let request: String = world
        .owner()
        .query_one("SELECT request_id::text FROM leadlex.enrichment WHERE contact_id = '4711' LIMIT 1", &[])
        .unwrap()
        .get(0);
    let whole = number(
        &mut world.owner(),
        "SELECT relpages::int8 FROM pg_class WHERE oid = 'leadlex.enrichment'::regclass",
    );
    assert!(whole > 1_500, "the history has {whole} pages");
    let reads = [
        "SELECT * FROM leadlex.enriched WHERE contact_id = '4711'".to_owned(),
        "SELECT * FROM leadlex.enriched WHERE enriched_at > now() - interval '1 hour'".to_owned(),
        "SELECT * FROM leadlex.enriched ORDER BY enriched_at DESC LIMIT 50".to_owned(),
        "SELECT * FROM leadlex.enriched LIMIT 50".to_owned(),
        "SELECT * FROM leadlex.enriched WHERE field = 'phone' AND source = 'main' ORDER BY enriched_at DESC LIMIT 20".to_owned(),
        format!("SELECT * FROM leadlex.enrichment WHERE {LAST_HOUR}"),
        "SELECT * FROM leadlex.enrichment ORDER BY created_at DESC LIMIT 50".to_owned(),
        format!("SELECT * FROM leadlex.credit_ledger WHERE {LAST_HOUR}"),
        "SELECT * FROM leadlex.credit_ledger ORDER BY created_at DESC LIMIT 50".to_owned(),
        format!("SELECT * FROM leadlex.credit_ledger WHERE request_id = '{request}'"),
    ];
    for sql in &reads {
        for mut client in [world.owner(), world.caller()] {
            let read = pages(&mut client, sql);
            assert!(read < whole / 3, "{read} pages of {whole}: {sql}");
        }
    }
    // What a small workspace sees of it costs what that workspace has.
    let mut little = world.cluster.connect_as("app", "little");
    for sql in ["SELECT count(value) FROM leadlex.enriched", "SELECT count(*) FROM leadlex.enrichment"] {
        let read = pages(&mut little, sql);
        assert!(read < ROWS / 100 * 6 * 8, "{read} pages: {sql}");
        assert!(number(&mut little, sql) >= ROWS / 100);
    }
}

#[test]
fn the_policy_asks_whose_rows_they_are_once_a_statement() {
    let world = with_history(ROWS);
    let mut caller = world.caller();
    for sql in [
        "SELECT count(*) FROM leadlex.enrichment",
        "SELECT count(*) FROM leadlex.credit_ledger",
        "SELECT count(*) FROM leadlex.enriched",
    ] {
        let explain = format!("EXPLAIN (VERBOSE) {sql}");
        let plan: Vec<String> =
            caller.query(&explain, &[]).unwrap().iter().map(|row| row.get::<_, String>(0)).collect();
        let outside = |line: &&String| line.contains("my_workspaces") || line.contains("has_access");
        for line in plan.iter().filter(outside) {
            assert!(line.trim_start().starts_with("Output:"), "{line} in {plan:#?}");
        }
        assert!(plan.iter().any(|line| line.contains("InitPlan")), "{plan:#?}");
    }
}

/// Rows of leadlex.usage_daily, and what they have to be by history and ledger alone.
fn usage(client: &mut Client) -> (Vec<String>, Vec<String>) {
    let rows = |client: &mut Client, from: &str| -> Vec<String> {
        let sql = format!("SELECT u::text FROM ({from}) AS u ORDER BY 1");
        client.query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    let columns =
        "day, workspace_id, source, contacts_enriched, fields_filled, credits_spent, credits_reverted";
    let told = rows(client, &format!("SELECT {columns} FROM leadlex.usage_daily"));
    let by_rows = "
        SELECT (c.created_at AT TIME ZONE 'UTC')::date, c.workspace_id, p.source,
               count(DISTINCT (e.schema_name, e.table_name, e.contact_id)) FILTER (WHERE p.fields > 0), sum(p.fields), sum(p.credits),
               count(*) FILTER (WHERE p.credits > 0 AND e.reverted_at IS NOT NULL)
        FROM (SELECT workspace_id, request_id, created_at, 1 AS credits FROM leadlex.credit_ledger WHERE amount = -1 AND note IS NULL
              UNION ALL
              SELECT r.workspace_id, r.request_id, r.created_at, 0 FROM leadlex.enrichment AS r
              WHERE NOT EXISTS (SELECT FROM leadlex.credit_ledger AS l
                                WHERE l.workspace_id = r.workspace_id AND l.request_id = r.request_id AND l.amount = -1)) AS c
        LEFT JOIN leadlex.enrichment AS e USING (workspace_id, request_id)
        CROSS JOIN LATERAL (SELECT e.source, c.credits, 0 AS fields
                            UNION ALL SELECT f.value ->> 'source', 0, 1 FROM jsonb_each(e.field_sources) AS f) AS p
        GROUP BY 1, 2, 3";
    (told, rows(client, by_rows))
}

fn is_exact(world: &World, when: &str) {
    for mut client in [world.owner(), world.caller()] {
        let (told, by_rows) = usage(&mut client);
        assert_eq!(told, by_rows, "{when}");
    }
}

fn until_summed(world: &World) {
    eventually("all days are summed", SOON, || {
        world.number("SELECT count(*) FROM leadlex.usage_change") == 0
            && world.number("SELECT count(*) FROM leadlex.credit_pending") == 0
            && world.number(
                "SELECT count(*) FROM leadlex.enrichment
                 WHERE created_at < date_trunc('day', now(), 'UTC') AND created_at >= (SELECT before::timestamp AT TIME ZONE 'UTC'
                     FROM leadlex.usage_mark WHERE mark = 'summed')",
            ) == 0
    });
}

#[test]
fn usage_of_days_that_are_over_is_summed_once_and_stays_exact() {
    let world = with_history(ROWS / 4);
    is_exact(&world, "before the worker has summed anything, or while it does");
    until_summed(&world);
    is_exact(&world, "summed");
    let (whole, read) = (
        number(
            &mut world.owner(),
            "SELECT relpages::int8 FROM pg_class WHERE oid = 'leadlex.enrichment'::regclass",
        ),
        pages(&mut world.caller(), "SELECT count(*) FROM leadlex.usage_daily"),
    );
    assert!(read < whole / 2, "{read} pages of {whole}");
    // Something of such a day is taken back, erased, or comes late; seen at once, and summed later.
    let old =
        "(SELECT request_id FROM leadlex.enrichment WHERE contact_id = '4711' ORDER BY request_id LIMIT 1)";
    for (n, change) in (2..).zip([
        format!("UPDATE leadlex.enrichment SET reverted_at = now() WHERE request_id = {old}"),
        format!("DELETE FROM leadlex.enrichment WHERE request_id = {old}"),
        format!(
            "SET session_replication_role = replica; DELETE FROM leadlex.enrichment WHERE request_id = {old}; RESET session_replication_role"
        ),
        "UPDATE leadlex.credit_settled SET created_at = created_at - interval '400 days' WHERE created_at < now() - interval '27 days'"
            .to_owned(),
        "INSERT INTO leadlex.credit_pending (workspace_id, id, amount, request_id, created_at)
         SELECT id, gen_random_uuid(), -1, gen_random_uuid(), now() - interval '20 days' FROM leadlex.workspace WHERE name = 'acme'"
            .to_owned(),
    ]) {
        world.run(&change);
        is_exact(&world, &change);
        // What the worker waits for in a test: a call.
        enrich(&mut world.caller(), n).unwrap();
        until_summed(&world);
        is_exact(&world, &format!("{change}, summed"));
    }
}

/// As pg_monitor has it: it may look, and no workspace is granted to it.
#[test]
fn who_may_read_no_workspace_reads_little_for_that() {
    let world = with_history(ROWS);
    world.run("CREATE ROLE watcher LOGIN IN ROLE pg_monitor");
    until_summed(&world);
    let mut watcher = world.cluster.connect_as("app", "watcher");
    // Rows that scans have handed over, whatever conditions made of them.
    let rows = "SELECT pg_stat_get_tuples_returned('leadlex.enrichment'::regclass) + pg_stat_get_tuples_fetched('leadlex.enrichment'::regclass)";
    let before = world.number(rows);
    assert_eq!(number(&mut watcher, "SELECT count(*) FROM leadlex.usage_daily"), 0);
    watcher.batch_execute("SELECT pg_stat_force_next_flush()").unwrap();
    watcher.batch_execute("SELECT 1").unwrap();
    let read = world.number(rows) - before;
    assert!(read < ROWS / 10, "{read} of {ROWS} rows");
}

/// After a load or a restore there are no statistics, and each row's charge is looked up all the same.
#[test]
fn a_day_is_added_up_by_keys_where_there_are_no_statistics() {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    world.cluster.set("autovacuum", "off");
    world.run(
        "INSERT INTO leadlex.enrichment (workspace_id, request_id, created_at, requested_by, schema_name, table_name, contact_id, overwrite,
             source, fields_updated, field_sources, old_values, new_values)
         SELECT w.id, gen_random_uuid(), date_trunc('day', now(), 'UTC') - interval '28 days' + n * interval '1 minute', 'caller', 'public', 'crm',
                n::text, false, 'main', '{phone}', '{\"phone\": {\"source\": \"main\"}}', '{}', '{\"phone\": \"+12025550100\"}'
         FROM leadlex.workspace AS w, generate_series(1, 40000) AS n;
         INSERT INTO leadlex.credit_settled (workspace_id, id, amount, request_id, created_at)
         SELECT workspace_id, request_id, -1, request_id, created_at - interval '1 day' FROM leadlex.enrichment",
    );
    // Charges of the day before, each of another row.
    let read = pages(
        &mut world.owner(),
        "SELECT count(*) FROM leadlex.usage_between(date_trunc('day', now(), 'UTC') - interval '20 days', date_trunc('day', now(), 'UTC') - interval '19 days')",
    );
    assert!(read < 60_000, "{read} pages for 1,440 rows");
}

/// A trigger that a call's rows fire would take longer than writing them.
/// The history and the ledger as they are read, without what is another's each time.
fn told(world: &World) -> Value {
    let sql = "SELECT jsonb_agg(to_jsonb(e) - '{request_id, workspace_id, created_at, answered_at, identity}'::text[]
                          || jsonb_build_object('charged', l.amount, 'of one time', l.created_at = e.created_at,
                                                'known', e.identity IS NOT NULL) ORDER BY e.contact_id)
               FROM leadlex.enrichment AS e JOIN leadlex.credit_ledger AS l ON l.id = e.request_id";
    world.owner().query_one(sql, &[]).unwrap().get(0)
}

#[test]
fn calls_and_sets_write_their_history_without_firing_anything() {
    let world = World::with(&Beginning { credits: Some(1_000), contacts: 300, ..Beginning::default() });
    world.run(
        "CREATE FUNCTION leadlex.usage_fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
         DROP TRIGGER usage_inserted ON leadlex.enrichment;
         CREATE TRIGGER usage_inserted AFTER INSERT ON leadlex.enrichment FOR EACH STATEMENT EXECUTE FUNCTION leadlex.usage_fired()",
    );
    enrich(&mut world.caller(), 1).unwrap();
    let ids: Vec<Uuid> = (2..=300).map(contact).collect();
    world.caller().execute("SELECT count(*) FROM enrich_contacts($1)", &[&ids]).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM leadlex.enrichment"), 300);
    assert_eq!(crate::world::credits(&mut world.caller()), Some(700));
    world.check_credits_add_up();
}

#[test]
fn a_trigger_of_the_owners_on_the_history_fires_and_changes_nothing_of_what_a_set_writes() {
    let histories = [false, true].map(|with_trigger| {
        let world = World::with(&Beginning { credits: Some(1_000), contacts: 300, ..Beginning::default() });
        world.run("UPDATE crm SET job_title = 'old \"title\"' WHERE right(email, 14) <> '7@acme.example'");
        if with_trigger {
            world.run(
                "CREATE TABLE seen (contact text);
                 CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS
                     $$ BEGIN INSERT INTO seen VALUES (NEW.contact_id); RETURN NULL; END $$;
                 CREATE TRIGGER see AFTER INSERT ON leadlex.enrichment FOR EACH ROW EXECUTE FUNCTION see()",
            );
        }
        let ids: Vec<Uuid> = (1..=300).map(contact).collect();
        let set = "SELECT count(*) FROM enrich_contacts($1, overwrite => true)";
        world.caller().execute(set, &[&ids]).unwrap();
        if with_trigger {
            assert_eq!(world.number("SELECT count(DISTINCT contact) FROM seen"), 300);
        }
        assert_eq!(world.number("SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1"), 300);
        world.check_credits_add_up();
        told(&world)
    });
    assert_eq!(histories[0], histories[1]);
    assert_eq!(histories[0].as_array().map(Vec::len), Some(300));
}

/// How often tables of the configuration were looked into.
fn looks(world: &World, session: &mut Client) -> Vec<(String, i64)> {
    session.batch_execute("SELECT pg_stat_force_next_flush()").unwrap();
    session.batch_execute("SELECT 1").unwrap();
    let sql = "SELECT relname::text, coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_all_tables
               WHERE schemaname = 'leadlex' AND relname IN ('access', 'bound_table', 'provider_config', 'workspace') ORDER BY 1";
    let rows = world.owner().query(sql, &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn a_session_reads_again_what_has_changed_and_nothing_else() {
    // The worker, which looks for itself, is not to come in between.
    let conf = ["leadlex.worker_naptime = 3600"];
    let world = World::with(&Beginning { credits: None, conf: &conf, ..Beginning::default() });
    world.run(
        "CREATE TABLE other (LIKE crm INCLUDING ALL);
         SELECT leadlex.bind_contacts('other', workspace_id => (SELECT id FROM leadlex.workspace))",
    );
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    for (n, (change, read_again)) in (2..).zip([
        ("VACUUM other", Some("bound_table")),
        ("TRUNCATE other", Some("bound_table")),
        ("CREATE INDEX ON crm (email)", Some("bound_table")),
        ("VACUUM leadlex.receipt", None),
        ("SELECT leadlex.create_workspace('second')", Some("workspace")),
        ("SELECT leadlex.alter_provider('main', priority => 7)", Some("provider_config")),
    ]) {
        world.run(change);
        std::thread::sleep(Duration::from_millis(1_500));
        let before = looks(&world, &mut caller);
        enrich(&mut caller, n).unwrap();
        let after = looks(&world, &mut caller);
        let is_other = |(after, before): &(&(String, i64), &(String, i64))| after != before;
        let changed = after.iter().zip(&before).filter(is_other).map(|(after, _)| after.0.as_str());
        assert_eq!(changed.collect::<Vec<_>>(), read_again.into_iter().collect::<Vec<_>>(), "{change}");
    }
}

//! Views that a dashboard reads: what they look at does not grow with the history.

use serde_json::Value;

use super::{a_match, world};

/// A year of spend of 20 teams, history and ledger.
const FILL: &str = "
    INSERT INTO leadlex.spend_day (day, workspace_id, provider, currency, role, requests, matches, fields_supplied, fields_used, cost)
    SELECT (now() AT TIME ZONE 'UTC')::date - d, md5(w::text)::uuid, 'main', 'USD', 'role' || r, 10, 8, 8, 8, 2.24
    FROM generate_series(0, 364) AS d, generate_series(1, 20) AS w, generate_series(1, 5) AS r;
    INSERT INTO leadlex.enrichment (workspace_id, request_id, created_at, requested_by, contact_id, schema_name, table_name, overwrite, fields_updated, source,
        field_sources, old_values, new_values)
    SELECT id, gen_random_uuid(), now() - n * interval '1 minute', 'caller', n::text, 'public', 'crm', false, '{phone}', 'main', '{}', '{}', '{}'
    FROM leadlex.workspace, generate_series(1, 60000) AS n;
    INSERT INTO leadlex.credit_settled SELECT id, gen_random_uuid(), -1, gen_random_uuid(), NULL, now() FROM leadlex.workspace, generate_series(1, 60000);
    ANALYZE";

#[test]
fn a_dashboards_views_read_no_history() {
    let world = world(3, a_match(0.28));
    world.run("SELECT leadlex.set_budget(NULL, 'month', 100)");
    world.run(FILL);
    let history = "SELECT (sum(pg_relation_size(c.oid)) / 8192)::int8 FROM pg_class AS c
                   WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relname IN ('spend_day', 'enrichment', 'credit_settled')";
    let pages = world.number(history);
    assert!(pages > 2_000, "{pages}");
    // EXPLAIN ANALYZE is refused to others than administrators.
    let mut owner = world.owner();
    for what in [
        "leadlex.budget",
        "leadlex.status",
        "leadlex.check()",
        "leadlex.provider_quality",
        "leadlex.provider_stats",
        "leadlex.vendor_balance",
        "leadlex.event",
        "leadlex.queue",
        "leadlex.progress",
        "leadlex.memory_report()",
        "leadlex.spend WHERE day = (now() AT TIME ZONE 'UTC')::date",
        "leadlex.spend_by_role WHERE day > (now() AT TIME ZONE 'UTC')::date - 7",
    ] {
        // The second time: what a session looks up once in the catalogs is known by then.
        let read = |client: &mut postgres::Client| -> i64 {
            let sql = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {what}");
            let told: Value = client.query_one(&sql, &[]).unwrap().get(0);
            let plan = &told[0]["Plan"];
            ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|key| plan[*key].as_i64().unwrap()).sum()
        };
        read(&mut owner);
        let blocks = read(&mut owner);
        assert!(blocks < 700, "{what}: {blocks} blocks of {pages}");
    }
}

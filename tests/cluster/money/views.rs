//! Views that a dashboard reads: what they look at does not grow with the history.

use super::{a_match, world};
use crate::world::World;

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

/// Pages of the history, the ledger and the spending that were looked at by now, in memory or not, and of their indexes.
fn looked_at(world: &World, session: &mut postgres::Client) -> i64 {
    session.batch_execute("SELECT pg_stat_force_next_flush()").unwrap();
    session.batch_execute("SELECT 1").unwrap();
    world.number(
        "SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0))::int8 FROM pg_statio_all_tables
         WHERE schemaname = 'leadlex' AND relname IN ('spend_day', 'enrichment', 'credit_settled')",
    )
}

#[test]
fn a_dashboards_views_read_no_history() {
    let world = world(3, a_match(0.28));
    world.run("SELECT leadlex.set_budget(NULL, 'month', 100)");
    world.run(FILL);
    let history = "SELECT (sum(pg_relation_size(c.oid)) / 8192)::int8 FROM pg_class AS c
                   WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relname IN ('spend_day', 'enrichment', 'credit_settled')";
    let pages = world.number(history);
    assert!(pages > 2_000, "{pages}");
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
        // The second time: what a session looks up once in the catalogs is known by then. Those are counted apart: how many
        // pages of them a plan takes is another number in each version of Postgres.
        let all = format!("SELECT * FROM {what}");
        owner.simple_query(&all).unwrap();
        let before = looked_at(&world, &mut owner);
        owner.simple_query(&all).unwrap();
        let blocks = looked_at(&world, &mut owner) - before;
        assert!(blocks < 200, "{what}: {blocks} blocks of {pages}");
    }
}

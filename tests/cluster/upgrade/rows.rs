//! What stands in the tables of the older schema, and that it stays.

use std::collections::BTreeMap;

use postgres::Client;
use serde_json::Value;

use crate::support::Provider;
use crate::world::PATH;

/// Rows in every table of 0.2.9, put there as its own functions would have done: those of today refuse.
pub fn fill(client: &mut Client, provider: &Provider) {
    client
        .batch_execute(
            "CREATE ROLE caller LOGIN;
             CREATE TABLE crm (id uuid PRIMARY KEY, full_name text, email text, phone text, note text);
             GRANT SELECT, UPDATE ON crm TO caller;
             INSERT INTO crm SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Person ' || n,
                                    'person' || n || '@acme.example' FROM generate_series(1, 5) AS n;
             INSERT INTO leadlex.workspace VALUES
                 ('10000000-0000-4000-8000-000000000000', 'acme', 'org', 200, 10000, true),
                 ('20000000-0000-4000-8000-000000000000', 'globex', 'unmetered', NULL, NULL, false);
             INSERT INTO leadlex.credit_balance VALUES ('10000000-0000-4000-8000-000000000000', 9);
             INSERT INTO leadlex.credit_settled SELECT '10000000-0000-4000-8000-000000000000', gen_random_uuid(),
                 amount, gen_random_uuid(), 'old', now() FROM unnest(ARRAY[10, -1]) AS amount;
             INSERT INTO leadlex.credit_pending SELECT '10000000-0000-4000-8000-000000000000', gen_random_uuid(),
                 -1, gen_random_uuid(), NULL, now() FROM generate_series(1, 3);
             INSERT INTO leadlex.api_key VALUES ('\\x01', 'wbk_0000000000000', '10000000-0000-4000-8000-000000000000', '{write:enrich}', 'app');
             INSERT INTO leadlex.access VALUES ('10000000-0000-4000-8000-000000000000', 'caller', '{write:enrich}');
             INSERT INTO leadlex.bound_table VALUES ('public', 'crm',
                 '{\"id\": \"id\", \"full_name\": \"full_name\", \"email\": \"email\", \"phone\": \"phone\"}', '10000000-0000-4000-8000-000000000000');
             INSERT INTO leadlex.idempotency VALUES ('10000000-0000-4000-8000-000000000000', gen_random_uuid(), '\\x02', '{}', now());
             INSERT INTO leadlex.receipt VALUES ('10000000-0000-4000-8000-000000000000', gen_random_uuid(), now(), gen_random_uuid(), gen_random_uuid(),
                 false, '{phone}', NULL);
             INSERT INTO leadlex.ticket VALUES ('10000000-0000-4000-8000-000000000000', gen_random_uuid(), gen_random_uuid(), now(), now(), now(),
                 gen_random_uuid(), '{}', gen_random_uuid());
             INSERT INTO leadlex.suppression VALUES ('00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'asked', 'dba');
             INSERT INTO leadlex.provider_tally VALUES (gen_random_uuid(), 'calls', 3);
             INSERT INTO leadlex.job_set (workspace_id, id, first_job, contacts, contact_ids, schema_name, table_name, role, authority,
                 fields, overwrite, state, outcome, next_attempt_at, finished_at, home) VALUES ('10000000-0000-4000-8000-000000000000',
                 gen_random_uuid(), gen_random_uuid(), 1, '{1}', 'public', 'crm', 'caller', 'role', '{phone}', false, 'done', 'enriched', NULL, now(), '');
             INSERT INTO leadlex.queue_pause (paused_by) VALUES ('dba');
             INSERT INTO leadlex.value_name SELECT '10000000-0000-4000-8000-000000000000', gen_random_uuid(), gen_random_uuid(), gen_random_uuid();
             INSERT INTO leadlex.spend_day VALUES ('2026-01-01', '10000000-0000-4000-8000-000000000000', 'main', 'USD', 'caller', 1, 1, 1, 1, 0, 0.28);
             INSERT INTO leadlex.spend_sum VALUES ('USD', 'main', '10000000-0000-4000-8000-000000000000', 'day', '2026-01-01', 0.28);
             INSERT INTO leadlex.spend_lease VALUES ('USD', 'main', '10000000-0000-4000-8000-000000000000', '2026-01-01', 0, 4711);
             INSERT INTO leadlex.spend_hold VALUES (gen_random_uuid(), '10000000-0000-4000-8000-000000000000', 'main', 'USD', 0.28, '2026-01-01');
             INSERT INTO leadlex.spend_reported VALUES ('USD', 'main', 30);
             INSERT INTO leadlex.provider_field_tally VALUES (gen_random_uuid(), '10000000-0000-4000-8000-000000000000', 'phone', 'USD', 5, 4, 3, 1, 2, 0.28);
             INSERT INTO leadlex.provider_rate VALUES (gen_random_uuid(), 50, 40, 5, '{}');
             INSERT INTO leadlex.budget_limit VALUES ('other', 'day', '10000000-0000-4000-8000-000000000000', 'USD', 20.00);
             INSERT INTO leadlex.allotment VALUES ('10000000-0000-4000-8000-000000000000', 5, 'day', now());
             INSERT INTO leadlex.stopped (stopped_by, reason) VALUES ('dba', 'while it is updated');
             INSERT INTO leadlex.event VALUES (gen_random_uuid(), now(), 'resumed', NULL, NULL, '{}');
             INSERT INTO leadlex.undone SELECT '10000000-0000-4000-8000-000000000000', gen_random_uuid(), gen_random_uuid(), 'phone', gen_random_uuid();
             INSERT INTO leadlex.checked VALUES ('10000000-0000-4000-8000-000000000000', '1', 'public', 'crm', 'phone', now(), now());
             INSERT INTO leadlex.outcome VALUES ('10000000-0000-4000-8000-000000000000', gen_random_uuid(), 'public', 'crm', '1', now(), 'no_match');
             INSERT INTO leadlex.erasure VALUES (gen_random_uuid(), now(), 'caller', '10000000-0000-4000-8000-000000000000', 'public.crm', '{\"history\": 1}');
             INSERT INTO leadlex.usage_pruned VALUES ('10000000-0000-4000-8000-000000000000', '2026-01-01', 'main', 1, 2, 1, 0);
             INSERT INTO leadlex.usage_day VALUES ('10000000-0000-4000-8000-000000000000', '2020-01-01', 'main', 1, 2, 1, 0);
             INSERT INTO leadlex.usage_change (day, workspace_id) VALUES ('2999-01-01', '10000000-0000-4000-8000-000000000000');
             INSERT INTO leadlex.rate_use VALUES ('10000000-0000-4000-8000-000000000000', extract(epoch FROM now()), '{1,2}', 1, 3, 0, now());
             INSERT INTO leadlex.enrichment VALUES ('10000000-0000-4000-8000-000000000000', gen_random_uuid(), now(), 'caller', NULL,
                 'public', 'crm', '1', false, 'main', 0.9, '{phone}', '{}', '{\"phone\": null}', '{\"phone\": \"1\"}', NULL);",
        )
        .unwrap();
    client
        .execute(
            "INSERT INTO leadlex.provider_config VALUES ('main', gen_random_uuid(), NULL, NULL, $1, 100)",
            &[&provider.config(PATH)],
        )
        .unwrap();
    client.batch_execute("INSERT INTO leadlex.provider_secret VALUES ('main', 'kept')").unwrap();
    client
        .batch_execute(
            "INSERT INTO leadlex.provider_balance SELECT id, 5, now() FROM leadlex.provider_config",
        )
        .unwrap();
}

/// Every row of every table of ours, each as an object.
pub fn rows(client: &mut Client) -> BTreeMap<String, Vec<Value>> {
    let tables =
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'leadlex'::regnamespace AND relkind = 'r'";
    let tables: Vec<String> = client.query(tables, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let mut all = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT to_jsonb(t) FROM leadlex.{table} AS t ORDER BY t::text");
        let rows = client.query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        all.insert(table, rows);
    }
    all
}

/// New tables and new columns may have come.
pub fn check_kept(before: &BTreeMap<String, Vec<Value>>, mut after: BTreeMap<String, Vec<Value>>) {
    for (table, old) in before {
        let mut new = after.remove(table).unwrap_or_else(|| panic!("{table} is gone"));
        let Some(Value::Object(first)) = old.first() else { panic!("no row in {table} to be kept") };
        for row in &mut new {
            row.as_object_mut().unwrap().retain(|column, _| first.contains_key(column));
        }
        assert_eq!(&new, old, "{table}");
    }
}

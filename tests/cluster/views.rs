//! What a BI tool reads: every column explained, the rows of one's own workspace, and numbers that stay right.

use std::collections::BTreeSet;

use postgres::{Client, SimpleQueryMessage};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, fails, person};
use crate::world::{Beginning, PATH, World, contact, enrich, number};

/// Relations of schema leadlex, whoever made them, that one of these roles may read.
const READABLE: &str = "
    SELECT c.oid, c.relname::text AS name
    FROM pg_class AS c
    WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
      AND EXISTS (SELECT FROM unnest($1::text[]) AS role WHERE has_any_column_privilege(role::name, c.oid, 'SELECT'))
    ORDER BY 1";

fn readable(client: &mut Client, roles: &[&str]) -> Vec<(u32, String)> {
    let rows = client.query(READABLE, &[&roles]).unwrap();
    rows.iter().map(|row| (row.get("oid"), row.get("name"))).collect()
}

/// A second team with a contact of its own, and numbers to see; `stranger` has nothing but a login.
fn two_teams() -> (World, Uuid, String) {
    let world = World::with(&Beginning { plan: "org", ..Beginning::default() });
    let globex: Uuid =
        world.owner().query_one("SELECT leadlex.create_workspace('globex', 5, 'org')", &[]).unwrap().get(0);
    world.run(
        "CREATE ROLE team; CREATE ROLE member LOGIN IN ROLE team; CREATE ROLE stranger LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
         SELECT leadlex.create_contact_table()",
    );
    let mut owner = world.owner();
    owner.execute("SELECT leadlex.grant_access('team', $1)", &[&globex]).unwrap();
    owner
        .execute(
            "SELECT leadlex.add_provider('theirs', config => $1, secret => 'x', workspace_id => $2, priority => 300)",
            &[&world.provider.config("/theirs"), &globex],
        )
        .unwrap();
    let key: String = owner.query_one("SELECT leadlex.create_api_key($1)", &[&globex]).unwrap().get(0);
    let mut member = world.cluster.connect_as("app", "member");
    member
        .batch_execute("INSERT INTO leadlex.contact (id, email) VALUES ('00000000-0000-4000-8000-000000000077', 'p@globex.example')")
        .unwrap();
    member
        .query("SELECT enrich_row('leadlex.contact', '00000000-0000-4000-8000-000000000077')", &[])
        .unwrap();
    enrich(&mut world.caller(), 1).unwrap();
    (world, globex, key)
}

/// Written over the catalogs, so that a relation that somebody adds is looked at, too.
#[test]
fn every_column_that_somebody_may_read_is_explained() {
    let (world, ..) = two_teams();
    let mut owner = world.owner();
    let roles = ["stranger", "caller", "member", "monitor"];
    let names: BTreeSet<String> = readable(&mut owner, &roles).into_iter().map(|(_, name)| name).collect();
    for name in
        ["enrichment", "enriched", "usage_daily", "credit_ledger", "workspace", "provider", "provider_stats"]
    {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    let sql = format!(
        "WITH readable AS ({READABLE})
         SELECT r.name || coalesce('.' || a.attname, '')
         FROM readable AS r
         JOIN (SELECT attrelid, attnum, attname::text FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped
               UNION ALL SELECT oid, 0, NULL FROM pg_class) AS a ON a.attrelid = r.oid
         LEFT JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = r.oid AND d.objsubid = a.attnum
         WHERE coalesce(btrim(d.description), '') = '' ORDER BY 1"
    );
    let silent: Vec<String> =
        owner.query(&sql, &[&&roles[..]]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(silent.is_empty(), "without COMMENT ON: {silent:?}");
}

fn columns(client: &mut Client, relation: &str) -> Vec<(String, String)> {
    let sql = "SELECT column_name::text, data_type::text FROM information_schema.columns
               WHERE table_schema = 'leadlex' AND table_name = $1 ORDER BY ordinal_position";
    client.query(sql, &[&relation]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn count(client: &mut Client, sql: &str) -> usize {
    let messages = client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count()
}

/// The workspaces of which a session finds rows, over every relation that has them; each is looked at as BI tools do.
fn workspaces_seen(client: &mut Client, role: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (_, relation) in readable(client, &[role]) {
        let columns = columns(client, &relation);
        assert!(!columns.is_empty(), "information_schema shows {relation}");
        let has = |name: &str| columns.iter().any(|(column, _)| column == name);
        count(client, &format!("SELECT * FROM leadlex.{relation} LIMIT 2000"));
        assert_eq!(count(client, &format!("SELECT count(*) FROM leadlex.{relation}")), 1);
        for (column, kind) in &columns {
            if kind == "date" || kind.starts_with("timestamp") {
                let by_day = format!(
                    "SELECT date_trunc('day', \"{column}\"), count(*) FROM leadlex.{relation} GROUP BY 1 ORDER BY 1"
                );
                count(client, &by_day);
            }
        }
        let whose = match relation.as_str() {
            "workspace" => "id",
            _ if has("workspace_id") => "workspace_id",
            _ => continue,
        };
        // The sums of all workspaces together are no workspace's.
        let sql = format!(
            "SELECT DISTINCT {whose}::text FROM leadlex.{relation}
             WHERE {whose} <> 'ffffffff-ffff-ffff-ffff-ffffffffffff'"
        );
        let rows = client.query(&sql, &[]).unwrap();
        assert!(rows.len() <= 1 || role == "postgres", "{role} sees several workspaces in {relation}");
        seen.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    seen
}

#[test]
fn a_granted_role_reads_everything_of_its_own_workspace_and_nothing_else() {
    let (world, globex, key) = two_teams();
    let (acme, globex) = (world.workspace.to_string(), globex.to_string());
    let only = |id: &String| BTreeSet::from([id.clone()]);
    let mut caller = world.caller();
    let mut member = world.cluster.connect_as("app", "member");
    // There is something to be hidden.
    let both = BTreeSet::from([acme.clone(), globex.clone()]);
    assert_eq!(workspaces_seen(&mut world.owner(), "postgres"), both);
    assert_eq!(workspaces_seen(&mut caller, "caller"), only(&acme));
    assert_eq!(workspaces_seen(&mut member, "member"), only(&globex));
    for name in [
        "enriched",
        "usage_daily",
        "enrichment",
        "credit_ledger",
        "worker_status",
        "provider_stats",
        "provider",
        "presets",
    ] {
        let rows = number(&mut member, &format!("SELECT count(*) FROM leadlex.{name}"));
        assert!(rows > 0, "{name} shows something");
    }
    // What a key stands for, whatever is granted.
    caller.query("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    assert_eq!(workspaces_seen(&mut caller, "caller"), only(&globex));
    caller.batch_execute("SET leadlex.api_key = 'wbk_wrong'").unwrap();
    assert_eq!(workspaces_seen(&mut caller, "caller"), BTreeSet::new());
    // Nobody else gets to see a row, and nobody writes.
    let mut stranger = world.cluster.connect_as("app", "stranger");
    for view in ["enriched", "usage_daily"] {
        assert_eq!(number(&mut stranger, &format!("SELECT count(*) FROM leadlex.{view}")), 0, "{view}");
    }
    assert_eq!(number(&mut stranger, "SELECT count(*) FROM leadlex.worker_status"), 0);
    let writable = "SELECT c.relname::text FROM pg_class AS c, unnest(ARRAY['caller', 'member', 'stranger']::name[]) AS role
                    WHERE c.relnamespace = 'leadlex'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p') AND c.relname <> 'contact'
                      AND (has_any_column_privilege(role, c.oid, 'INSERT, UPDATE, REFERENCES')
                           OR has_table_privilege(role, c.oid, 'DELETE, TRUNCATE, TRIGGER'))";
    assert_eq!(count(&mut world.owner(), writable), 0);
    for view in ["enriched", "usage_daily"] {
        let refused = fails(caller.batch_execute(&format!("DELETE FROM leadlex.{view}")));
        assert!(["42501", "55000"].contains(&refused.sqlstate.as_str()), "{refused:?}");
    }
    // A predicate of the reader's own does not run on rows that it may not see.
    member
        .batch_execute("CREATE FUNCTION pg_temp.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
                        AS $$ BEGIN IF $1 LIKE '00000000-0000-4000-8000-000000000001' THEN RAISE 'saw %', $1; END IF; RETURN true; END $$")
        .unwrap();
    assert_eq!(
        number(&mut member, "SELECT count(*) FROM leadlex.enriched WHERE pg_temp.peek(contact_id)"),
        6
    );
}

#[test]
fn worker_status_tells_a_team_of_its_own_database_and_no_errors() {
    let (world, ..) = two_teams();
    let mut other = world.cluster.database("another");
    other.batch_execute("SELECT leadlex.create_workspace('w', credits => 1)").unwrap();
    let databases =
        "SELECT count(*) FROM leadlex.worker_status WHERE process = 'worker' AND database <> 'app'";
    crate::support::eventually("there is another", std::time::Duration::from_secs(20), || {
        world.number(databases) > 0
    });
    let mut caller = world.caller();
    assert_eq!(number(&mut caller, databases), 0);
    assert_eq!(number(&mut caller, "SELECT count(*) FROM leadlex.worker_status WHERE database = 'app'"), 1);
    let mut monitor = world.cluster.connect_as("app", "monitor");
    assert!(number(&mut monitor, databases) > 0);
}

/// All rows of leadlex.enriched of the first table.
fn enriched(client: &mut Client) -> Vec<(String, String, String, String)> {
    let sql = "SELECT contact_id, field, value, source FROM leadlex.enriched WHERE table_name = 'crm' ORDER BY 1, 2";
    client
        .query(sql, &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect()
}

fn value(client: &mut Client, n: i32, field: &str) -> Option<String> {
    let sql = "SELECT value FROM leadlex.enriched WHERE schema_name = 'public' AND table_name = 'crm' AND contact_id = $1 AND field = $2";
    let rows = client.query(sql, &[&contact(n).to_string(), &field]).unwrap();
    assert!(rows.len() <= 1, "one row per contact and field");
    rows.first().map(|row| row.get(0))
}

fn answer(world: &World, phone: &'static str, title: &'static str) {
    world.provider.on(PATH, move |_| {
        Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": phone, "job_title": title}}))
    });
}

/// `overwrite` with a question that has not been put before.
fn anew(client: &mut Client, n: i32) -> Value {
    client.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    client.query_one("SELECT enrich_contact($1, overwrite => true)", &[&contact(n)]).unwrap().get(0)
}

fn revert(client: &mut Client, request: &Value) {
    let request: Uuid = request["request_id"].as_str().unwrap().parse().unwrap();
    client.query_one("SELECT leadlex.revert_enrichment($1)", &[&request]).unwrap();
}

#[test]
fn enriched_has_the_latest_value_that_nobody_took_back() {
    let world = World::new();
    let mut caller = world.caller();
    answer(&world, "+12025550101", "CEO");
    anew(&mut caller, 1);
    anew(&mut caller, 2);
    answer(&world, "+12025550102", "CEO");
    let second = anew(&mut caller, 1);
    assert_eq!(second["fields_updated"], json!(["phone"]));
    assert_eq!(value(&mut caller, 1, "phone").as_deref(), Some("+12025550102"));
    assert_eq!(value(&mut caller, 1, "job_title").as_deref(), Some("CEO"), "of an earlier call");
    let sql = "SELECT source, confidence, request_id, enriched_at > now() - interval '1 hour', workspace_id FROM leadlex.enriched
               WHERE contact_id = $1 AND field = 'phone'";
    let row = caller.query_one(sql, &[&contact(1).to_string()]).unwrap();
    let request: Uuid = row.get(2);
    assert_eq!((row.get::<_, &str>(0), row.get::<_, f64>(1)), ("main", 0.9));
    assert_eq!(second["request_id"], request.to_string());
    assert!(row.get::<_, bool>(3));
    assert_eq!(row.get::<_, Uuid>(4), world.workspace);
    // What is taken back does not count, and what was there before does again.
    revert(&mut caller, &second);
    assert_eq!(value(&mut caller, 1, "phone").as_deref(), Some("+12025550101"));
    let third = anew(&mut caller, 1);
    assert_eq!(value(&mut caller, 1, "phone").as_deref(), Some("+12025550102"));
    revert(&mut caller, &third);
    assert_eq!(enriched(&mut caller).len(), 4);
    // Erased is erased.
    caller.query_one("SELECT leadlex.forget_contact($1)", &[&contact(1)]).unwrap();
    assert_eq!(value(&mut caller, 1, "phone"), None);
    assert_eq!(enriched(&mut caller).len(), 2);
}

/// The table of docs/getting-started.md, and the statement as it stands in docs/views.md.
#[test]
fn a_reload_that_wiped_the_table_is_made_good_by_one_update() {
    let world = World::new();
    let empty = "CREATE TABLE customer (id uuid PRIMARY KEY, name text, email text, title text, company text, linkedin_url text, phone text, city text);
                 INSERT INTO customer SELECT id, full_name, email FROM crm; GRANT SELECT, UPDATE ON customer TO caller;";
    world.run(empty);
    world.run(
        r#"SELECT leadlex.bind_contacts('customer', workspace_id => (SELECT id FROM leadlex.workspace),
               columns => '{"full_name": "name", "job_title": "title", "company_name": "company", "location": "city"}')"#,
    );
    let mut caller = world.caller();
    for n in 1..=3 {
        caller.query_one("SELECT enrich_row('customer', $1)", &[&contact(n).to_string()]).unwrap();
    }
    // Of another table, with the same keys.
    answer(&world, "+12025550109", "Other");
    anew(&mut caller, 1);
    assert_eq!(value(&mut caller, 1, "phone").as_deref(), Some("+12025550109"));
    let rows = "SELECT jsonb_agg(c ORDER BY id) FROM customer AS c";
    let before: Value = caller.query_one(rows, &[]).unwrap().get(0);
    world.run(&format!("DROP TABLE customer; {empty}"));
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/views.md")).unwrap();
    let mut blocks = page.split("```sql\n").filter_map(|block| block.split("```").next());
    let example =
        blocks.find(|block| block.contains("FROM leadlex.enriched")).expect("docs/views.md has one");
    caller.batch_execute(example).unwrap_or_else(|error| panic!("{example}: {error:?}"));
    let after: Value = caller.query_one(rows, &[]).unwrap().get(0);
    assert_eq!(after, before);
}

#[test]
fn a_condition_on_the_contact_reaches_the_index() {
    let world = World::new();
    enrich(&mut world.caller(), 1).unwrap();
    world.run(
        "INSERT INTO leadlex.enrichment (workspace_id, request_id, requested_by, schema_name, table_name, contact_id, overwrite, source,
             fields_updated, field_sources, old_values, new_values)
         SELECT e.workspace_id, gen_random_uuid(), e.requested_by, e.schema_name, e.table_name, n::text, false, e.source, e.fields_updated,
                e.field_sources, e.old_values, e.new_values FROM leadlex.enrichment AS e, generate_series(1, 20000) AS n;
         ANALYZE leadlex.enrichment",
    );
    for mut client in [world.owner(), world.caller()] {
        for condition in
            ["contact_id = '4711'", "contact_id IN ('1', '2') AND field = 'phone' AND table_name = 'crm'"]
        {
            let sql = format!("EXPLAIN SELECT * FROM leadlex.enriched WHERE {condition}");
            let plan: Vec<String> =
                client.query(&sql, &[]).unwrap().iter().map(|row| row.get::<_, String>(0)).collect();
            let plan = plan.join("\n");
            assert!(
                plan.contains("enrichment_contact") && !plan.contains("Seq Scan on enrichment"),
                "{plan}"
            );
        }
        assert_eq!(number(&mut client, "SELECT count(*) FROM leadlex.enriched WHERE contact_id = '4711'"), 6);
    }
}

/// Rows of leadlex.usage_daily as source, contacts, fields, credits, reverted.
fn usage(client: &mut Client) -> Vec<(Option<String>, i64, i64, i64, i64)> {
    let sql = "SELECT source, contacts_enriched, fields_filled, credits_spent, credits_reverted FROM leadlex.usage_daily
               ORDER BY day, source NULLS LAST";
    let rows = client.query(sql, &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))).collect()
}

fn spent(client: &mut Client) -> i64 {
    number(client, "SELECT coalesce(sum(credits_spent), 0)::int8 FROM leadlex.usage_daily")
}

#[test]
fn usage_counts_what_the_ledger_says_whatever_is_taken_back_erased_or_settled() {
    let world = World::with(&Beginning { credits: Some(20), ..Beginning::default() });
    world.provider.on("/second", |_| Behaviour::json(200, person()));
    answer(&world, "+12025550101", "CEO");
    world.add_provider("second", &world.provider.config("/second"));
    let mut caller = world.caller();
    assert_eq!(usage(&mut caller), []);
    let first = enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    caller.batch_execute("SET leadlex.waterfall = 'fill'").unwrap();
    enrich(&mut caller, 3).unwrap();
    // Grants and corrections are no usage, not even one of a single credit.
    for amount in [5, -1, -2] {
        world
            .owner()
            .execute("SELECT leadlex.grant_credits($1, $2::int8)", &[&world.workspace, &i64::from(amount)])
            .unwrap();
    }
    let main = |reverted| (Some("main".to_owned()), 3, 6, 3, reverted);
    // The second has helped with one contact, which the first is charged for: profile and location. Company and seniority
    // could be of another position than the first's title.
    let second = (Some("second".to_owned()), 1, 2, 0, 0);
    assert_eq!(usage(&mut caller), [main(0), second.clone()]);
    world.settle();
    assert_eq!(usage(&mut caller), [main(0), second.clone()]);
    revert(&mut caller, &first);
    assert_eq!(usage(&mut caller), [main(1), second]);
    caller.query_one("SELECT leadlex.forget_contact($1)", &[&contact(3)]).unwrap();
    assert_eq!(usage(&mut caller), [(Some("main".to_owned()), 2, 4, 2, 1), (None, 0, 0, 1, 0)]);
    let ledger = "SELECT -sum(amount)::int8 FROM leadlex.credit_ledger WHERE amount = -1 AND note IS NULL";
    assert_eq!((spent(&mut caller), number(&mut caller, ledger)), (3, 3));
    // A rolled-back call has spent nothing.
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 4).unwrap();
    assert_eq!(number(&mut transaction, "SELECT sum(credits_spent)::int8 FROM leadlex.usage_daily"), 4);
    transaction.rollback().unwrap();
    assert_eq!(spent(&mut caller), 3);
}

#[test]
fn a_day_is_one_of_utc_wherever_the_reader_is() {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    let mut caller = world.caller();
    for n in 1..=3 {
        enrich(&mut caller, n).unwrap();
    }
    world.settle();
    world.run(
        "UPDATE leadlex.credit_settled AS s SET created_at = n.at
         FROM (SELECT id, ('{2026-03-01 23:59:59+00, 2026-03-02 00:00:00+00, 2026-03-02 23:59:59.9+00}'::timestamptz[])[row_number() OVER (ORDER BY id)] AS at
               FROM leadlex.credit_settled WHERE amount = -1) AS n WHERE n.id = s.id",
    );
    for zone in ["UTC", "Asia/Tokyo", "America/Los_Angeles"] {
        caller.batch_execute(&format!("SET timezone = '{zone}'")).unwrap();
        let sql =
            "SELECT string_agg(day || ': ' || credits_spent, ', ' ORDER BY day) FROM leadlex.usage_daily";
        let told: String = caller.query_one(sql, &[]).unwrap().get(0);
        assert_eq!(told, "2026-03-01: 1, 2026-03-02: 2", "{zone}");
    }
}

/// As the vendors' pages say: a preset that maps a field need not be asked for it.
#[test]
fn a_preset_s_fields_are_those_that_it_is_asked_for() {
    let world = World::new();
    let sql = "SELECT p.name FROM leadlex.presets AS p
               WHERE p.config ? 'fills' AND (SELECT jsonb_agg(f ORDER BY f) FROM unnest(p.fields) AS f)
                     IS DISTINCT FROM (SELECT jsonb_agg(f ORDER BY f) FROM jsonb_array_elements_text(p.config->'fills') AS f)";
    let wrong: Vec<String> = world.owner().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(wrong, Vec::<String>::new());
    let fields: Vec<String> = world
        .owner()
        .query_one("SELECT fields FROM leadlex.presets WHERE name = 'surfe'", &[])
        .unwrap()
        .get(0);
    assert_eq!(fields, ["phone"]);
}

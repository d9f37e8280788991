//! pg_dump and restore: every row of ours and of the user's, but for secrets, and calls that go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::Client;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Behaviour, Cluster, Failure, Server, Stop, check, eventually, server};
use crate::world::{Beginning, PATH, SECRET, World, contact, credits, enrich, enrich_with_key, number};

const IDEMPOTENCY_KEY: Uuid = Uuid::from_u128(0x4711);
/// A worker that has had its look at every database, and will not look again by itself during a test.
pub const QUIET: &str = "leadlex.worker_naptime = 3600";

/// What a [`World`] has after some use, and what a dump must bring along.
pub struct Used {
    pub world: World,
    /// Of the second workspace.
    api_key: String,
    pub rows: BTreeMap<String, Vec<Value>>,
    day_used: i64,
    crm: Value,
}

const CRM: &str = "SELECT jsonb_agg(c ORDER BY id) FROM crm AS c";

/// Every row that a dump is to bring along, of every table of ours, so also of those that are new.
pub fn rows(client: &mut Client) -> BTreeMap<String, Vec<Value>> {
    let tables = "SELECT t.oid::regclass::text, t.condition FROM pg_extension, unnest(extconfig, extcondition) AS t(oid, condition)
                  WHERE extname = 'leadlex_enrich'";
    let mut all = BTreeMap::new();
    for row in client.query(tables, &[]).unwrap() {
        let (table, condition): (String, String) = (row.get(0), row.get(1));
        let sql =
            format!("SELECT to_jsonb(t) FROM (SELECT * FROM {table} {condition}) AS t ORDER BY t::text");
        let rows = client.query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        all.insert(table, rows);
    }
    all
}

/// What the dump brought: a database knows its own identity as well.
fn rows_brought(client: &mut Client) -> BTreeMap<String, Vec<Value>> {
    let mut all = rows(client);
    let own = "SELECT to_jsonb(h) FROM leadlex.home AS h, pg_control_system() AS s, pg_database AS d
               WHERE h.system_identifier = s.system_identifier AND h.database_oid = d.oid AND d.datname = current_database()
                 AND h.extension_oid = (SELECT oid FROM pg_extension WHERE extname = 'leadlex_enrich')";
    let own: Value = client.query_one(own, &[]).unwrap().get(0);
    all.get_mut("leadlex.home").unwrap().retain(|row| *row != own);
    all
}

fn day_used(client: &mut Client) -> i64 {
    number(client, "SELECT \"limit\" - remaining FROM leadlex.rate_limit() WHERE \"window\" = 'day'")
}

fn as_globex(client: &mut Client, key: &str) {
    client.query("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
}

/// A provider that answers only whom it knows.
fn wants_its_secret(world: &World) {
    world.provider.on(PATH, |request| match request.header("X-Api-Key") {
        Some(SECRET) => Behaviour::json(200, crate::support::person()),
        _ => Behaviour::json(401, serde_json::json!({"error": "who are you?"})),
    });
}

/// Two workspaces, with and without rate limits, credits granted and spent, settled and not.
fn used() -> Used {
    used_on(server())
}

pub fn used_on(server: &'static Server) -> Used {
    let world = World::with(&Beginning { by_initdb: Some(server), ..Beginning::default() });
    wants_its_secret(&world);
    world.run(
        "CREATE ROLE team; CREATE ROLE member LOGIN IN ROLE team;
         CREATE TABLE seen (id uuid, at timestamptz DEFAULT clock_timestamp());
         GRANT INSERT ON seen TO caller;
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES (NEW.id); RETURN NEW; END';
         ALTER TABLE crm ADD COLUMN score int NOT NULL DEFAULT 7, ADD COLUMN shout text GENERATED ALWAYS AS (upper(full_name)) STORED;
         CREATE INDEX crm_shout ON crm (lower(shout)) WHERE score > 3;
         CREATE TRIGGER crm_note AFTER UPDATE OF phone ON crm FOR EACH ROW EXECUTE FUNCTION note();
         SELECT leadlex.create_contact_table();
         ALTER TABLE leadlex.contact ADD COLUMN own text DEFAULT 'mine';
         CREATE INDEX contact_own ON leadlex.contact (own);
         SELECT leadlex.grant_access('team', leadlex.create_workspace('globex', 5, 'org'));
         INSERT INTO leadlex.contact (id, workspace_id, email) SELECT '00000000-0000-4000-8000-000000000001', id, 'person1@acme.example'
             FROM leadlex.workspace WHERE name = 'globex';
         SELECT leadlex.suppress('gone@acme.example', 'asked to be left alone');
         SELECT leadlex.allow_shared_value('family@acme.example', id) FROM leadlex.workspace WHERE name = 'acme';
         INSERT INTO leadlex.value_name SELECT workspace_id, value, gen_random_uuid(), gen_random_uuid() FROM leadlex.shared_value;
         INSERT INTO leadlex.ticket SELECT v.workspace_id, v.value, p.id, now(), now(), now() + interval '1 day', v.value, '{\"inquiry\": {}}', v.value
             FROM leadlex.shared_value AS v, leadlex.provider_config AS p;
         INSERT INTO leadlex.spend_sum VALUES ('USD', 'other', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'day', '2026-01-01', 0.28);
         INSERT INTO leadlex.spend_lease VALUES ('USD', 'other', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '2026-01-01', 0, 4711);
         INSERT INTO leadlex.spend_hold VALUES (gen_random_uuid(), 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'other', 'USD', 0.28, '2026-01-01');
         INSERT INTO leadlex.spend_reported VALUES ('USD', 'other', 30);
         INSERT INTO leadlex.budget_limit VALUES ('other', 'day', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'USD', 20.00);
         INSERT INTO leadlex.provider_field_tally SELECT p.id, v.workspace_id, 'phone', 'USD', 5, 4, 3, 1, 2, 0.28
             FROM leadlex.shared_value AS v, leadlex.provider_config AS p ON CONFLICT DO NOTHING;
         INSERT INTO leadlex.allotment SELECT id, 5, 'day', now() + interval '1 day' FROM leadlex.workspace;
         INSERT INTO leadlex.undone SELECT v.workspace_id, v.value, p.id, 'phone', v.value FROM leadlex.shared_value AS v, leadlex.provider_config AS p;
         INSERT INTO leadlex.checked SELECT workspace_id, '1', 'public', 'crm', 'phone', now(), now() FROM leadlex.shared_value;
         INSERT INTO leadlex.outcome SELECT workspace_id, value, 'public', 'crm', '1', now(), 'no_match', 'no_match', 'no_data' FROM leadlex.shared_value;
         INSERT INTO leadlex.erasure (id, by, workspace_id, relation, counts) SELECT value, 'caller', workspace_id, 'public.crm', '{\"history\": 1}' FROM leadlex.shared_value;
         INSERT INTO leadlex.usage_pruned SELECT workspace_id, '2026-01-01', 'main', 1, 2, 1, 0 FROM leadlex.shared_value;
         UPDATE crm SET note = 'a \\\\ \"quoted\" ''note''';",
    );
    let sql = "SELECT leadlex.create_api_key(id, name => 'app') FROM leadlex.workspace WHERE name = 'globex'";
    let api_key: String = world.owner().query_one(sql, &[]).unwrap().get(0);
    let globex = "SELECT enrich_row('leadlex.contact', '00000000-0000-4000-8000-000000000001')";
    let mut member = world.cluster.connect_as("app", "member");
    as_globex(&mut member, &api_key);
    member.query_one(globex, &[]).unwrap();
    enrich(&mut world.caller(), 1).unwrap();
    enrich_with_key(&mut world.caller(), 2, IDEMPOTENCY_KEY).unwrap();
    world.settle();
    drop(member);
    world.cluster.append_conf(&[QUIET]);
    world.cluster.restart(Stop::Fast);
    wait_for_sweep(&world.cluster);
    world.run(
        "SELECT leadlex.grant_credits(id, 3, 'after settling') FROM leadlex.workspace WHERE name = 'acme'",
    );
    let mut caller = world.caller();
    // A receipt would bring the worker, which would settle what is to stay unsettled.
    caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
    enrich(&mut caller, 3).unwrap();
    world.run("SELECT leadlex.pause_queue()");
    let sql = "SELECT leadlex.enqueue($1, '{phone, location}')";
    caller.execute(sql, &[&vec![contact(7), contact(8)]]).unwrap();

    let mut owner = world.owner();
    let rows = rows(&mut owner);
    for (table, rows) in &rows {
        assert!(!rows.is_empty(), "{table} has a row that can get lost");
    }
    let mut member = world.cluster.connect_as("app", "member");
    let day_used = day_used(&mut member);
    assert_eq!(day_used, 1);
    let crm = owner.query_one(CRM, &[]).unwrap().get(0);
    Used { world, api_key, rows, day_used, crm }
}

/// At its start the launcher sends a worker into every database: waits until the one in app has come and gone.
fn wait_for_sweep(cluster: &Cluster) {
    let mut owner = cluster.connect("app");
    eventually("the worker has had its look", Duration::from_secs(20), || {
        let sql =
            "SELECT count(*) FROM leadlex.worker_status WHERE database = 'app' AND runs > 0 AND pid IS NULL";
        number(&mut owner, sql) > 0
    });
}

/// A new cluster with the same roles, made in another order and among others, and an empty database.
fn target(conf: &[&str]) -> Cluster {
    let cluster = Cluster::start_with(conf);
    let mut owner = cluster.connect("postgres");
    owner
        .batch_execute(
            "CREATE ROLE stranger; CREATE ROLE member LOGIN; CREATE ROLE other; CREATE ROLE team; CREATE ROLE caller LOGIN;
             GRANT team TO member",
        )
        .unwrap();
    owner.batch_execute("CREATE DATABASE app").unwrap();
    cluster
}

fn dump(used: &Used, format: &str) -> PathBuf {
    let file = used.world.cluster.dir().join("dump");
    let output = check(used.world.cluster.command("pg_dump", "app").arg(format), "pg_dump");
    fs::write(&file, output.stdout).unwrap();
    file
}

fn restore_plain(cluster: &Cluster, file: &Path) {
    let mut psql = cluster.command("psql", "app");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file);
    check(&mut psql, "psql");
}

fn role_oids(cluster: &Cluster) -> Vec<u32> {
    let sql = "SELECT oid FROM pg_roles WHERE rolname IN ('caller', 'team') ORDER BY rolname";
    cluster.connect("app").query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// Everything but oids: what pg_dump says of the user's objects, of privileges, of policies.
fn dumped_again(cluster: &Cluster) -> String {
    let dump = check(cluster.command("pg_dump", "app").arg("--schema-only"), "pg_dump");
    // Newer versions put a random word into each dump.
    String::from_utf8(dump.stdout)
        .unwrap()
        .lines()
        .filter(|l| !l.starts_with("\\restrict") && !l.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// As it was, except for the secret; calls then go on where they ended.
fn check_restored(used: &Used, cluster: &Cluster) {
    let mut owner = cluster.connect("app");
    assert_eq!(rows_brought(&mut owner), used.rows);
    assert_eq!(dumped_again(cluster), dumped_again(&used.world.cluster));
    check_use(used, cluster, false);
}

pub fn check_use(used: &Used, cluster: &Cluster, has_secret: bool) {
    let mut owner = cluster.connect("app");
    let there: Value = owner.query_one(CRM, &[]).unwrap().get(0);
    assert_eq!(there, used.crm);

    let mut caller = cluster.connect_as("app", "caller");
    let mut member = cluster.connect_as("app", "member");
    assert_eq!((credits(&mut caller), credits(&mut member)), (Some(10), Some(4)));
    assert_eq!(day_used(&mut member), used.day_used, "rate use goes on");
    as_globex(&mut member, &used.api_key);
    let who: Value = member.query_one("SELECT leadlex.whoami()", &[]).unwrap().get(0);
    assert_eq!((&who["workspace"], &who["via"]), (&"globex".into(), &"api_key".into()));
    let replayed = enrich_with_key(&mut caller, 2, IDEMPOTENCY_KEY).unwrap();
    assert_eq!(replayed["replayed"], true);

    let known: bool = owner.query_one("SELECT has_secret FROM leadlex.provider", &[]).unwrap().get(0);
    assert_eq!(known, has_secret);
    if !has_secret {
        let refused = Failure::of(&enrich(&mut caller, 4).unwrap_err());
        assert_eq!(refused.sqlstate, "LX503");
        assert!(refused.message.contains("SELECT leadlex.alter_provider('main', secret => "), "{refused:?}");
        assert_eq!(refused.json()["providers"][0]["reason"], "bad_credentials");
        owner.execute("SELECT leadlex.alter_provider('main', secret => $1)", &[&SECRET]).unwrap();
    }
    let seen = number(&mut owner, "SELECT count(*) FROM seen");
    let asked = used.world.provider.count();
    let result = enrich(&mut caller, 5).unwrap();
    assert_eq!((&result["credits_remaining"], &result["replayed"]), (&9.into(), &false.into()));
    assert_eq!(used.world.provider.count(), asked + 1);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM seen"), seen + 1, "the user's trigger fired");
    // What was paid for before is not asked again.
    owner.execute("UPDATE crm SET phone = NULL WHERE id = $1", &[&contact(1)]).unwrap();
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!(result["fields_updated"], serde_json::json!(["phone"]));
    assert_eq!(used.world.provider.count(), asked + 1, "its receipt answered");
    check_ledger(cluster);
}

/// Whatever the worker has folded: a balance is the sum of its ledger, before and after.
fn check_ledger(cluster: &Cluster) {
    let mut owner = cluster.connect("app");
    let mut caller = cluster.connect_as("app", "caller");
    let ledger = "SELECT sum(amount)::int8 FROM leadlex.credit_ledger WHERE workspace_id = (SELECT id FROM leadlex.workspace WHERE name = 'acme')";
    let balance = credits(&mut caller);
    assert_eq!(Some(number(&mut owner, ledger)), balance);
    drop(caller);
    // At its start the launcher has every database looked into. This one is not its own home: there it writes nothing.
    let pending = "SELECT count(*) FROM leadlex.credit_pending";
    let left = number(&mut owner, pending);
    cluster.restart(Stop::Fast);
    wait_for_sweep(cluster);
    let mut owner = cluster.connect("app");
    assert_eq!(number(&mut owner, pending), left);
    owner.batch_execute("DELETE FROM leadlex.job_set; SELECT leadlex.resume_queue()").unwrap();
    eventually("the worker settles", Duration::from_secs(20), || number(&mut owner, pending) == 0);
    assert_eq!(Some(number(&mut owner, ledger)), balance);
    assert_eq!(credits(&mut cluster.connect_as("app", "caller")), balance);
    let settled = "SELECT sum(settled)::int8 FROM leadlex.credit_balance";
    assert_eq!(
        number(&mut owner, settled),
        number(&mut owner, "SELECT sum(amount)::int8 FROM leadlex.credit_ledger")
    );
}

#[test]
fn a_plain_dump_brings_everything_but_secrets() {
    let used = used();
    let file = dump(&used, "--format=plain");
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(SECRET), "a dump holds no secret");
    let cluster = target(&[QUIET]);
    assert_ne!(role_oids(&cluster), role_oids(&used.world.cluster), "roles that are the same only by name");
    restore_plain(&cluster, &file);
    check_restored(&used, &cluster);
}

#[test]
fn a_custom_dump_brings_everything_but_secrets() {
    let used = used();
    let file = dump(&used, "--format=custom");
    let cluster = target(&[QUIET]);
    let mut restore = cluster.command("pg_restore", "app");
    check(restore.args(["--exit-on-error", "-d", "app"]).arg(&file), "pg_restore");
    check_restored(&used, &cluster);
}

/// The entries of a custom dump, one a line.
fn entries(cluster: &Cluster, file: &Path) -> Vec<String> {
    let list = check(cluster.command("pg_restore", "app").arg("-l").arg(file), "pg_restore -l");
    String::from_utf8(list.stdout)
        .unwrap()
        .lines()
        .filter(|l| !l.starts_with(';'))
        .map(str::to_owned)
        .collect()
}

/// In a parallel restore, tables come in any order. The worst: charges are there, and the balances that they belong to
/// are not, when the worker comes by.
#[test]
fn a_worker_that_runs_during_a_restore_spoils_nothing() {
    let used = used();
    let file = dump(&used, "--format=custom");
    let cluster = target(&["leadlex.worker_naptime = 1"]);
    let restore = |what: &str, entries: &[&String]| {
        let list = cluster.dir().join("list");
        fs::write(&list, entries.iter().map(|e| format!("{e}\n")).collect::<String>()).unwrap();
        let mut restore = cluster.command("pg_restore", "app");
        check(restore.args(["--exit-on-error", "-d", "app", "-L"]).arg(&list).arg(&file), what);
    };
    let entries = entries(&cluster, &file);
    let is_data = |e: &&String| e.contains(" TABLE DATA ");
    let is = |e: &&String, table: &str| e.contains(&format!(" TABLE DATA leadlex {table} "));
    let split = entries.iter().position(|e| is_data(&e)).expect("tables with rows");
    let end = entries.iter().rposition(|e| is_data(&e)).expect("tables with rows") + 1;
    restore("before the data", &entries[..split].iter().collect::<Vec<_>>());
    // Also what was once held back by foreign keys.
    let early = [
        "credit_pending",
        "job_set",
        "api_key",
        "access",
        "bound_table",
        "provider_config",
        "provider_tally",
    ];
    let is_early = |e: &&String| early.iter().any(|table| is(e, table));
    let first: Vec<&String> = entries.iter().filter(is_early).collect();
    assert_eq!(first.len(), early.len());
    restore("charges, jobs and what speaks of workspaces", &first);
    cluster.restart(Stop::Fast);
    wait_for_sweep(&cluster);
    let untouched = "SELECT count(*) FROM leadlex.job_set WHERE attempts = 0 AND state = 'queued'";
    assert_eq!(number(&mut cluster.connect("app"), untouched), 1, "also before it is known to be a clone");
    let late: Vec<&String> = entries[split..end].iter().filter(|e| !is_early(e)).collect();
    restore("the other data", &late);
    restore("after the data", &entries[end..].iter().collect::<Vec<_>>());
    check_use(&used, &cluster, false);
}

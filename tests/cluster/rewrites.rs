//! Tables of ours that are rewritten while calls are under way (ALTER TABLE, REPACK): all rows are then of a later
//! transaction, and a snapshot that is older than the lock would show the table empty.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{Failure, fails};
use crate::world::{World, contact, enrich, enrich_with_key, number, pid};

/// A column of each table, its type, and an expression that leaves it as it was.
fn column_of(table: &str) -> (&'static str, &'static str, &'static str) {
    match table {
        "workspace" => ("name", "text", "name || ''"),
        "access" => ("permissions", "text[]", "permissions || '{}'::text[]"),
        "api_key" => ("permissions", "text[]", "permissions || '{}'::text[]"),
        "bound_table" => ("columns", "jsonb", ""),
        "provider_config" => ("config", "jsonb", "config || '{}'"),
        "provider_secret" => ("secret", "text", "secret || ''"),
        "idempotency" => ("result", "jsonb", "result || '{}'"),
        "suppression" => ("reason", "text", "reason || ''"),
        "enrichment" => ("contact_id", "text", "contact_id || ''"),
        "job_set" => ("last_error", "text", "last_error || ''"),
        "home" => ("since", "timestamptz", "since + interval '0'"),
        other => panic!("no rewrite of {other} is written"),
    }
}

/// A rewrite of each table that leaves it as it was.
fn rewrite(table: &str) -> String {
    let (column, kind, same) = column_of(table);
    match table {
        // Views depend on these columns.
        "bound_table" | "provider_config" | "enrichment" | "job_set" | "workspace" | "suppression" => {
            format!(
                "ALTER TABLE leadlex.{table} ADD COLUMN rewritten float8 DEFAULT random(); ALTER TABLE leadlex.{table} DROP COLUMN rewritten"
            )
        }
        _ => format!("ALTER TABLE leadlex.{table} ALTER COLUMN {column} TYPE {kind} USING {same}"),
    }
}

/// Runs `call` in a session that waits for `table` behind a statement that rewrites it.
fn during_rewrite<R: Send>(
    world: &World,
    table: &str,
    session: &mut Client,
    call: impl FnOnce(&mut Client) -> R + Send,
) -> R {
    let backend = pid(session);
    // What the session remembers of this table is out of date, its plan for it is not.
    let (column, ..) = column_of(table);
    world.run(&format!("UPDATE leadlex.{table} SET {column} = {column}"));
    let mut holder = world.owner();
    let mut holds = holder.transaction().unwrap();
    holds.batch_execute(&format!("LOCK TABLE leadlex.{table} IN ACCESS SHARE MODE")).unwrap();
    let mut rewriter = world.owner();
    let rewriting = pid(&mut rewriter);
    thread::scope(|scope| {
        let rewritten = scope.spawn(|| rewriter.batch_execute(&rewrite(table)));
        world.wait_until_blocked(rewriting);
        let result = scope.spawn(|| call(session));
        world.wait_until_blocked(backend);
        holds.commit().unwrap();
        rewritten.join().unwrap().unwrap_or_else(|error| panic!("{table}: {error:?}"));
        result.join().unwrap()
    })
}

#[test]
fn a_call_that_waits_for_a_rewrite_finds_what_is_there() {
    let world = World::new();
    for (n, table) in (1..).zip(["bound_table", "access", "workspace", "provider_config", "provider_secret"])
    {
        let mut caller = world.caller();
        // Two calls: from the second on all plans are kept.
        enrich(&mut caller, 10).unwrap();
        enrich(&mut caller, 10).unwrap();
        let result = during_rewrite(&world, table, &mut caller, |caller| enrich(caller, n));
        let result = result.unwrap_or_else(|error| panic!("{table}: {:?}", Failure::of(&error)));
        assert_eq!(result["source"], "main", "{table}: {result}");
    }
    // Each request had the secret with it.
    let secret = crate::world::SECRET;
    assert!(world.provider.requests().iter().all(|r| r.header("x-api-key") == Some(secret)));
}

#[test]
fn an_api_key_is_found_and_a_stored_result_is_replayed_after_a_rewrite() {
    let world = World::new();
    let key: String =
        world.owner().query_one("SELECT leadlex.create_api_key($1)", &[&world.workspace]).unwrap().get(0);
    let mut caller = world.caller();
    caller.execute("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    caller.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    let repeated = Uuid::new_v4();
    for key in [repeated, Uuid::new_v4(), Uuid::new_v4()] {
        enrich_with_key(&mut caller, 1, key).unwrap();
    }
    let asked = world.provider.count();
    let result = during_rewrite(&world, "api_key", &mut caller, |caller| enrich(caller, 2));
    result.unwrap_or_else(|error| panic!("{:?}", Failure::of(&error)));
    let again =
        during_rewrite(&world, "idempotency", &mut caller, |caller| enrich_with_key(caller, 1, repeated));
    assert_eq!(again.unwrap()["replayed"], true);
    assert_eq!(world.provider.count(), asked + 1, "no request is sent for the replay");
}

#[test]
fn a_trigger_queues_its_rows_after_a_rewrite() {
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE lead (id int PRIMARY KEY, email text, phone text);
         SELECT leadlex.bind_contacts('lead', workspace_id => '{}');
         CREATE TRIGGER q AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert();
         SELECT leadlex.pause_queue(); GRANT INSERT ON lead TO caller;",
        world.workspace
    ));
    let mut caller = world.caller();
    let insert = |caller: &mut Client, id: i32| {
        caller.execute("INSERT INTO lead VALUES ($1, 'x@acme.example')", &[&id]).unwrap();
    };
    insert(&mut caller, 1);
    insert(&mut caller, 2);
    during_rewrite(&world, "bound_table", &mut caller, |caller| insert(caller, 3));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 3);
}

/// What an administrator's statement finds under a snapshot that is older than a rewrite.
#[test]
fn under_an_older_snapshot_an_administrator_is_told_to_try_again() {
    let world = World::new();
    world.run("SELECT leadlex.suppress('jane@acme.example'); SELECT leadlex.create_contact_table()");
    world.run(&format!("SELECT leadlex.create_api_key('{}')", world.workspace));
    let prefix = "(SELECT key_prefix FROM leadlex.api_key LIMIT 1)";
    let prefix: String = world.owner().query_one(&format!("SELECT {prefix}"), &[]).unwrap().get(0);
    let workspace = world.workspace;
    let statements = [
        ("suppression", "SELECT leadlex.unsuppress('jane@acme.example')".to_owned()),
        ("access", format!("SELECT leadlex.revoke_access('caller', '{workspace}')")),
        ("provider_config", "SELECT leadlex.enable_provider('main', false)".to_owned()),
        ("provider_config", "SELECT leadlex.alter_provider('main', priority => 7)".to_owned()),
        ("provider_config", "SELECT leadlex.drop_provider('main')".to_owned()),
        ("bound_table", "SELECT leadlex.unbind_contacts('crm')".to_owned()),
        ("workspace", format!("SELECT leadlex.set_rate_limit('{workspace}', 1, 1)")),
        ("api_key", format!("SELECT leadlex.revoke_api_key('{prefix}')")),
    ];
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for (table, statement) in &statements {
            let mut owner = world.owner();
            let mut older = owner.build_transaction().start().unwrap();
            older
                .batch_execute(&format!("SET TRANSACTION ISOLATION LEVEL {level}; SELECT count(*) FROM crm"))
                .unwrap();
            world.run(&rewrite(table));
            let failure = fails(older.batch_execute(statement));
            assert_eq!(failure.sqlstate, "40001", "{level}: {statement}: {failure:?}");
            older.rollback().unwrap();
        }
    }
    // Without a rewrite in between all of them do their work.
    for (table, statement) in &statements {
        let mut owner = world.owner();
        let mut own = owner.transaction().unwrap();
        own.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").unwrap();
        own.batch_execute(statement).unwrap_or_else(|error| panic!("{table}: {statement}: {error:?}"));
        own.rollback().unwrap();
    }
    let left: Value = world
        .owner()
        .query_one("SELECT jsonb_build_array((SELECT count(*) FROM leadlex.suppression), (SELECT count(*) FROM leadlex.access), (SELECT count(*) FROM leadlex.provider WHERE enabled))", &[])
        .unwrap()
        .get(0);
    assert_eq!(left, serde_json::json!([1, 1, 1]));
}

/// From 19 on. Tables are repacked one after the other while calls go on.
#[test]
fn calls_go_on_beside_repack() {
    let world = World::with(&crate::world::Beginning {
        credits: Some(1_000_000),
        conf: &["wal_level = logical", "max_replication_slots = 10"],
        ..Default::default()
    });
    let mut owner = world.owner();
    if number(&mut owner, "SELECT current_setting('server_version_num')::int8 / 10000") < 19 {
        return;
    }
    world.run(&format!(
        "SELECT leadlex.add_provider('other', config => (SELECT config FROM leadlex.provider), secret => '{}')",
        crate::world::SECRET
    ));
    let tables = ["bound_table", "access", "workspace", "provider_config", "provider_secret", "idempotency"];
    let until = Instant::now() + Duration::from_secs(5);
    thread::scope(|scope| {
        let callers: Vec<_> = (1..=3)
            .map(|n| {
                let world = &world;
                scope.spawn(move || {
                    let mut caller = world.caller();
                    let mut calls = 0;
                    while Instant::now() < until {
                        caller.execute("UPDATE crm SET phone = NULL WHERE id = $1", &[&contact(n)]).unwrap();
                        let result = enrich_with_key(&mut caller, n, Uuid::new_v4());
                        result.unwrap_or_else(|error| panic!("{:?}", Failure::of(&error)));
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        let mut rounds = 0;
        while Instant::now() < until {
            for table in tables {
                owner.batch_execute(&format!("REPACK (CONCURRENTLY) leadlex.{table}")).unwrap();
                rounds += 1;
                // What sessions remember is out of date.
                owner.batch_execute("SELECT leadlex.set_rate_limit(NULL, NULL)").unwrap();
            }
        }
        let calls: i32 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
        assert!(rounds > 5 && calls > 20, "{rounds} rounds beside {calls} calls");
    });
    assert!(world.provider.requests().iter().all(|r| r.header("x-api-key") == Some(crate::world::SECRET)));
}

//! What reaches the tables by replication, or in a session that fires no triggers, is seen by others, too.

use std::time::Duration;

use postgres::Client;

use super::{is_exact, until_summed};
use crate::support::eventually;
use crate::world::{Beginning, World, contact, enrich, sqlstate};

const SOON: Duration = Duration::from_secs(60);

fn world(conf: &[&str]) -> World {
    World::with(&Beginning { credits: None, conf, ..Beginning::default() })
}

/// Its call about that contact fails so, and no provider is asked.
fn is_refused(world: &World, caller: &mut Client, n: i32, error: &str, after: &str) {
    let before = world.provider.count();
    let result = enrich(caller, n);
    assert!(result.is_err(), "after {after}: {result:?}");
    assert_eq!((sqlstate(&result).as_str(), world.provider.count()), (error, before), "after {after}");
}

fn suppress(n: i32) -> String {
    format!("SELECT leadlex.suppress(email) FROM crm WHERE id = '{}'", contact(n))
}

#[test]
fn what_changes_where_no_triggers_fire_is_seen_by_sessions_that_remember() {
    let world = world(&[]);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let change = |sql: &str| {
        world.run(&format!("SET session_replication_role = replica; {sql}; RESET session_replication_role"));
    };
    for n in 2..=4 {
        change(&suppress(n));
        is_refused(&world, &mut caller, n, "LX409", "suppress");
    }
    change("SELECT leadlex.enable_provider('main', false)");
    is_refused(&world, &mut caller, 5, "55000", "enable_provider");
    change("SELECT leadlex.enable_provider('main', true)");
    enrich(&mut caller, 5).unwrap();
    change("SELECT leadlex.stop('why')");
    is_refused(&world, &mut caller, 6, "LX503", "stop");
    change("SELECT leadlex.resume()");
    enrich(&mut caller, 6).unwrap();
    change("SELECT leadlex.revoke_access('caller', id) FROM leadlex.workspace");
    is_refused(&world, &mut caller, 7, "LX401", "revoke_access");
}

#[test]
fn a_secret_goes_with_its_provider_where_no_foreign_keys_are_kept() {
    let world = world(&[]);
    world.run(
        "SET session_replication_role = replica; SELECT leadlex.drop_provider('main'); RESET session_replication_role",
    );
    assert_eq!(world.number("SELECT count(*) FROM leadlex.provider_secret"), 0);
}

/// Another database of the same beginning, and what publishes its tables to that of the world.
fn publisher(world: &World, tables: &str) -> Client {
    world.cluster.connect("postgres").batch_execute("CREATE DATABASE source TEMPLATE app").unwrap();
    let mut source = world.cluster.connect("source");
    // It is no copy that leaves its books to another.
    source.batch_execute("SELECT leadlex.resume_queue()").unwrap();
    source.batch_execute(&format!("CREATE PUBLICATION changes FOR {tables}")).unwrap();
    source.batch_execute("SELECT pg_create_logical_replication_slot('changes', 'pgoutput')").unwrap();
    world.run(&format!(
        "CREATE SUBSCRIPTION changes CONNECTION '{}' PUBLICATION changes WITH (create_slot = false, copy_data = false)",
        world.cluster.conninfo("source")
    ));
    source
}

fn end(world: &World) {
    world.run(
        "ALTER SUBSCRIPTION changes DISABLE; ALTER SUBSCRIPTION changes SET (slot_name = NONE); DROP SUBSCRIPTION changes",
    );
}

#[test]
fn a_subscriber_obeys_what_its_publisher_refuses() {
    let world = world(&["wal_level = logical"]);
    let mut source = publisher(&world, "ALL TABLES");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let mut arrives = |sql: &str, there: &str| {
        source.batch_execute(sql).unwrap();
        eventually("the change arrives", SOON, || world.number(there) == 1);
    };
    for n in 2..=3 {
        arrives(&suppress(n), &format!("SELECT (count(*) = {n} - 1)::int::int8 FROM leadlex.suppression"));
        is_refused(&world, &mut caller, n, "LX409", "suppress");
    }
    arrives(
        "SELECT leadlex.revoke_access('caller', id) FROM leadlex.workspace",
        "SELECT (count(*) = 0)::int::int8 FROM leadlex.access",
    );
    is_refused(&world, &mut caller, 4, "LX401", "revoke_access");
    end(&world);
}

#[test]
fn a_subscriber_to_all_tables_leaves_books_and_sums_to_its_publisher() {
    let world = world(&["wal_level = logical"]);
    let mut source = publisher(&world, "ALL TABLES");
    let mut granted = world.cluster.connect_as("source", "caller");
    enrich(&mut granted, 9).unwrap();
    eventually("its charge is settled", SOON, || {
        let settled = "SELECT count(*) FROM leadlex.credit_settled";
        source.query_one(settled, &[]).unwrap().get::<_, i64>(0) > 0
    });
    // What the publisher sums arrives, and is not summed here as well: that would end the subscription.
    source
        .batch_execute(
            "UPDATE leadlex.enrichment SET created_at = created_at - interval '3 days';
             UPDATE leadlex.credit_settled SET created_at = created_at - interval '3 days'",
        )
        .unwrap();
    eventually("the sums arrive", SOON, || {
        let summed = "SELECT count(*) FROM leadlex.usage_day";
        let there: i64 = source.query_one(summed, &[]).unwrap().get(0);
        there > 0
            && world.number(summed) == there
            && world.number("SELECT count(*) FROM leadlex.usage_change") == 0
    });
    // More of such a day is summed anew.
    source.batch_execute("DELETE FROM leadlex.enrichment").unwrap();
    eventually("the new sums arrive", SOON, || {
        let fields = "SELECT coalesce(sum(fields), 0)::int8 FROM leadlex.usage_day";
        world.number(fields) == 0 && world.number("SELECT count(*) FROM leadlex.usage_change") == 0
    });
    assert!(!world.cluster.log().contains("duplicate key"), "{}", world.cluster.log());
    end(&world);
}

#[test]
fn usage_of_a_subscriber_has_what_is_streamed_of_days_that_are_summed() {
    let world = world(&["wal_level = logical"]);
    enrich(&mut world.caller(), 1).unwrap();
    world.settle();
    let aged = |n: i32, days: i32| {
        format!(
            "INSERT INTO leadlex.enrichment (workspace_id, request_id, created_at, requested_by, schema_name, table_name, contact_id,
                 overwrite, source, fields_updated, field_sources, old_values, new_values)
             SELECT e.workspace_id, ('00000000-0000-4000-8000-' || lpad('{n}', 12, '0'))::uuid, now() - interval '{days} days', e.requested_by,
                    e.schema_name, e.table_name, e.contact_id, false, e.source, e.fields_updated, e.field_sources, e.old_values, e.new_values
             FROM leadlex.enrichment AS e WHERE e.created_at > now() - interval '1 day';
             INSERT INTO leadlex.credit_settled (workspace_id, id, amount, request_id, created_at)
             SELECT workspace_id, request_id, -1, request_id, created_at FROM leadlex.enrichment
             WHERE request_id NOT IN (SELECT request_id FROM leadlex.credit_ledger)"
        )
    };
    let mut source = publisher(&world, "TABLE leadlex.enrichment, leadlex.credit_settled");
    world.run(&aged(1, 5));
    enrich(&mut world.caller(), 2).unwrap();
    until_summed(&world);
    is_exact(&world, "summed");
    for (n, change) in (2..).zip([
        aged(2, 10),
        aged(3, 5),
        "UPDATE leadlex.enrichment SET reverted_at = now() WHERE created_at < now() - interval '7 days'"
            .to_owned(),
        "DELETE FROM leadlex.enrichment WHERE created_at < now() - interval '7 days'".to_owned(),
    ]) {
        source.batch_execute(&change).unwrap();
        let arrived = "SELECT count(*) FROM pg_stat_subscription WHERE subname = 'changes' AND latest_end_lsn >= $1::pg_lsn";
        let sent: String = source.query_one("SELECT pg_current_wal_lsn()::text", &[]).unwrap().get(0);
        eventually("the change arrives", SOON, || {
            world.number(&arrived.replace("$1", &format!("'{sent}'"))) == 1
        });
        is_exact(&world, &change);
        enrich(&mut world.caller(), n + 1).unwrap();
        until_summed(&world);
        is_exact(&world, &format!("{change}, summed"));
    }
    end(&world);
}

//! Keys as drivers bind them: integers and uuids, not only text.

use std::time::Duration;

use postgres::types::{ToSql, Type};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{check, eventually, fails};
use crate::world::{World, contact, number};

/// A table with an integer key beside the World's, which has a uuid.
fn world() -> World {
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE customer (id int PRIMARY KEY, email text, phone text);
         INSERT INTO customer SELECT n, 'customer' || n || '@acme.example' FROM generate_series(1, 60) AS n;
         GRANT SELECT, UPDATE ON customer TO caller;
         SELECT leadlex.bind_contacts('customer', workspace_id => '{}')",
        world.workspace
    ));
    world.run(&format!("SELECT leadlex.grant_credits('{}', 100)", world.workspace));
    world
}

#[test]
fn a_key_is_taken_as_drivers_bind_it() {
    let world = world();
    let mut caller = world.caller();
    let mut given = |function: &str, types: Type, value: &(dyn ToSql + Sync)| -> Value {
        let sql = format!("SELECT {function}('customer', $1)");
        let statement = caller.prepare_typed(&sql, &[types]).unwrap();
        caller.query_one(&statement, &[value]).unwrap().get(0)
    };
    for function in ["enrich_row", "try_enrich_row"] {
        let base = if function == "enrich_row" { 0 } else { 10 };
        let id = |n: i16| base + n;
        for (value, types) in [
            (&id(1) as &(dyn ToSql + Sync), Type::INT2),
            (&i32::from(id(2)), Type::INT4),
            (&i64::from(id(3)), Type::INT8),
            (&id(4).to_string(), Type::TEXT),
            (&id(5).to_string(), Type::VARCHAR),
            // The server is to choose: text, as before.
            (&id(6).to_string(), Type::UNKNOWN),
        ] {
            let result = given(function, types.clone(), value);
            assert_eq!(
                result["fields_updated"],
                serde_json::json!(["phone"]),
                "{function} {types}: {result}"
            );
        }
    }
    for (value, types) in [(&1_i32 as &(dyn ToSql + Sync), Type::INT4), (&"1".to_owned(), Type::TEXT)] {
        assert_eq!(given("leadlex.forget_row", types, value)["contact_id"], "1");
    }
}

#[test]
fn a_uuid_is_a_key_of_its_own_type() {
    let world = world();
    let mut caller = world.caller();
    let id: Uuid = contact(1);
    let result: Value = caller.query_one("SELECT enrich_row('crm', $1::uuid)", &[&id]).unwrap().get(0);
    assert_eq!(result["contact"]["id"], id.to_string());
    let sql = "SELECT try_enrich_row('crm', $1::uuid, fields => '{phone}', overwrite => true, idempotency_key => $2)";
    let result: Value = caller.query_one(sql, &[&contact(2), &Uuid::new_v4()]).unwrap().get(0);
    assert_eq!(result["fields_updated"], serde_json::json!(["phone"]));
    let result: Value =
        caller.query_one("SELECT leadlex.forget_row('crm', $1::uuid)", &[&id]).unwrap().get(0);
    assert_eq!((&result["contact_id"], &result["history"]), (&id.to_string().into(), &1.into()));
    // What cannot be a key of the table is said as it is of text.
    for sql in ["SELECT enrich_row('crm', 42)", "SELECT enrich_row('customer', gen_random_uuid())"] {
        let failure = fails(caller.query(sql, &[]));
        assert_eq!(failure.sqlstate, "LX400", "{sql}: {failure:?}");
        assert!(failure.message.contains("cannot be a key of"), "{failure:?}");
    }
    let failure = fails(caller.query("SELECT enrich_row('customer', NULL::bigint)", &[]));
    assert_eq!((failure.sqlstate.as_str(), failure.message.contains("id must not be NULL")), ("LX400", true));
    let failure = fails(caller.query("SELECT enrich_row('customer', 5000000000)", &[]));
    assert_eq!(failure.sqlstate, "LX400", "too large for the column: {failure:?}");
}

/// The simple protocol, literals, no types at all.
#[test]
fn literals_are_not_ambiguous() {
    let world = world();
    let psql = |sql: &str| {
        let mut command = world.cluster.command("psql", "app");
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "caller", "-c", sql]);
        check(&mut command, sql)
    };
    for (n, key) in
        ["21", "'22'", "'23'::text", "'24'::varchar", "25::smallint", "26::bigint", "'27'::char(2)"]
            .iter()
            .enumerate()
    {
        let enrich = if n % 2 == 0 { "enrich_row" } else { "try_enrich_row" };
        psql(&format!("SELECT {enrich}('customer', {key})"));
        psql(&format!("SELECT {enrich}('customer'::regclass, id => {key}, fields => ARRAY['phone'])"));
    }
    psql(&format!("SELECT enrich_row('crm', '{}')", contact(3)));
    psql(&format!("SELECT enrich_row('crm', '{}'::uuid)", contact(4)));
    psql(&format!("SELECT leadlex.forget_row('crm', '{}')", contact(3)));
    psql("PREPARE one AS SELECT enrich_row('customer', $1); EXECUTE one('30')");
    psql("PREPARE one AS SELECT enrich_row($1, $2); EXECUTE one('customer', '31')");
    assert_eq!(number(&mut world.owner(), "SELECT count(*) FROM customer WHERE phone IS NOT NULL"), 9);
    assert_eq!(number(&mut world.owner(), "SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 2);
}

/// The table's own index takes more than ours do: such a contact alone is refused, before a vendor is asked, and stops no queue.
#[test]
fn a_key_that_is_too_long_is_refused_and_fails_no_other() {
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE wordy (id text PRIMARY KEY, full_name text, email text, phone text);
         INSERT INTO wordy SELECT k.id, 'Name ' || n, 'wordy' || n || '@acme.example'
             FROM (VALUES (1, 'short'), (2, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 80) AS i)), (3, repeat('ä', 1000))) AS k(n, id);
         GRANT SELECT, INSERT, UPDATE ON wordy TO caller;
         SELECT leadlex.bind_contacts('wordy', workspace_id => '{}');
         CREATE TRIGGER enqueue AFTER UPDATE ON wordy REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
             EXECUTE FUNCTION leadlex.enqueue_on_insert()",
        world.workspace
    ));
    let mut caller = world.caller();
    let long = "(SELECT id FROM wordy WHERE email LIKE 'wordy2%')";
    for call in
        [format!("enrich_row('wordy', {long})"), format!("leadlex.enqueue_rows('wordy', ARRAY[{long}])")]
    {
        let failure = fails(caller.query(&format!("SELECT {call}"), &[]));
        assert_eq!(failure.sqlstate, "LX400", "{failure:?}");
        assert!(failure.message.contains("has 2560 bytes, at most 2000"), "{failure:?}");
    }
    let set = "SELECT coalesce(error_code, status) FROM enrich_rows('wordy', ARRAY(SELECT id FROM wordy ORDER BY email), ARRAY['phone'])";
    let told: Vec<String> = caller.query(set, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(told, ["enriched", "validation_error", "enriched"]);
    assert_eq!(world.provider.count(), 2, "nobody was asked about the long one");
    world.run("UPDATE wordy SET phone = NULL, email = replace(email, 'wordy', 'other')");
    let done = "SELECT count(*) FROM leadlex.job WHERE state = 'done'";
    eventually("the others are done", Duration::from_secs(20), || world.number(done) == 2);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 2);
}

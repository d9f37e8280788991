//! A set says of each contact what a single call says of it.

use postgres::{Client, Row};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, fails};
use crate::world::{Beginning, PATH, World, contact, only_phone};

fn in_a_set(caller: &mut Client, n: i32) -> Row {
    caller.query_one("SELECT * FROM enrich_contacts($1)", &[&vec![contact(n)]]).unwrap()
}

fn alone(caller: &mut Client, n: i32) -> Value {
    caller.query_one("SELECT try_enrich_contact($1)", &[&contact(n)]).unwrap().get(0)
}

#[test]
fn where_nothing_is_asked_no_provider_is_needed() {
    let world = World::new();
    world.run(&format!(
        "SELECT leadlex.drop_provider('main');
         UPDATE crm SET job_title = 'a', company_name = 'b', linkedin_url = 'in/cc', phone = '+15550100', location = 'd',
                        seniority = 'e' WHERE id = '{}';
         GRANT INSERT, DELETE ON crm TO caller",
        contact(1)
    ));
    let mut caller = world.caller();
    assert_eq!(alone(&mut caller, 1)["fields_updated"], json!([]));
    let row = in_a_set(&mut caller, 1);
    assert_eq!((row.get("status"), row.get::<_, Option<&str>>("error_code")), ("unchanged", None));
    assert_eq!(alone(&mut caller, 77)["error"]["code"], "not_found");
    assert_eq!(in_a_set(&mut caller, 77).get::<_, &str>("error_code"), "not_found");
    // Both, where somebody is to be asked.
    for sql in [
        "SELECT to_jsonb(enrich_contact($1))",
        "SELECT to_jsonb(r) FROM enrich_contacts(ARRAY[$1]::uuid[]) AS r",
    ] {
        let failure = fails(caller.query(sql, &[&contact(2)]));
        assert_eq!(failure.sqlstate, "55000", "{failure:?}");
        assert_eq!(failure.message, "no data provider is configured");
    }
    // A whole batch of what needs nobody, chunk by chunk.
    let ids = vec![contact(1).to_string(), contact(77).to_string()];
    caller.execute("CALL leadlex.enrich_batch('crm', $1)", &[&ids]).unwrap();
    let estimate = "SELECT count(*) FROM leadlex.estimate('crm', $1)";
    assert_eq!(caller.query_one(estimate, &[&ids]).unwrap().get::<_, i64>(0), 2);
    let ids = vec![contact(1).to_string(), contact(2).to_string()];
    assert_eq!(fails(caller.query(estimate, &[&ids])).sqlstate, "55000");
}

/// A person on the list, too: without any provider nothing can be said of anybody.
#[test]
fn a_disabled_provider_is_said_in_both() {
    let world = World::new();
    world.run(
        "SELECT leadlex.suppress('person3@acme.example'); SELECT leadlex.enable_provider('main', false)",
    );
    let mut caller = world.caller();
    for n in [2, 3] {
        for sql in [
            "SELECT to_jsonb(enrich_contact($1))",
            "SELECT to_jsonb(r) FROM enrich_contacts(ARRAY[$1]::uuid[]) AS r",
        ] {
            let failure = fails(caller.query(sql, &[&contact(n)]));
            assert_eq!(
                (failure.sqlstate.as_str(), failure.message.as_str()),
                ("55000", "every data provider is disabled")
            );
        }
    }
}

#[test]
fn an_answer_below_the_wanted_confidence_is_named() {
    let world = World::with(&Beginning { conf: &["leadlex.min_confidence = 0.95"], ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+15550100100")));
    let mut caller = world.caller();
    let error = &alone(&mut caller, 1)["error"];
    assert_eq!((&error["reason"], &error["below_min_confidence"]), (&json!("no_data"), &json!(["main"])));
    let told = error["message"].as_str().unwrap().to_owned();
    let row = in_a_set(&mut caller, 2);
    assert_eq!((row.get::<_, &str>("status"), row.get::<_, &str>("error_code")), ("no_match", "no_match"));
    let message: String = row.get("error_message");
    assert_eq!(message, told + " (below leadlex.min_confidence: main) (no_data)");
}

#[test]
fn one_key_of_the_table_is_one_request_however_it_is_written() {
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE customer (id int PRIMARY KEY, email text, phone text);
         INSERT INTO customer VALUES (3705, 'customer@acme.example');
         GRANT SELECT, UPDATE ON customer TO caller;
         SELECT leadlex.bind_contacts('customer', workspace_id => '{}')",
        world.workspace
    ));
    let mut caller = world.caller();
    let key = Uuid::new_v4();
    let sql = "SELECT enrich_row('customer', $1::text, idempotency_key => $2)";
    let first: Value = caller.query_one(sql, &[&"3705", &key]).unwrap().get(0);
    assert_eq!(first["replayed"], false);
    for spelling in ["03705", " 3705", "3705"] {
        let again: Value = caller.query_one(sql, &[&spelling, &key]).unwrap().get(0);
        assert_eq!(again["replayed"], true, "{spelling}");
    }
    let other = "SELECT enrich_row('customer', '3705', overwrite => true, idempotency_key => $1)";
    assert_eq!(fails(caller.query(other, &[&key])).sqlstate, "LX422");

    // As a result was kept before: under the spelling that was given.
    let legacy = Uuid::new_v4();
    let hash = "sha256(decode(lpad(to_hex(length(t)), 16, '0'), 'hex') || convert_to(t, 'UTF8') ||
                decode(lpad(to_hex(5), 16, '0'), 'hex') || '03705'::bytea ||
                decode(lpad(to_hex(length(f)), 16, '0'), 'hex') || f::bytea || '\\x00'::bytea)";
    world
        .owner()
        .execute(
            &format!(
                "INSERT INTO leadlex.idempotency (workspace_id, key, request_hash, result)
                 SELECT $1, $2, {hash}, $3
                 FROM (VALUES ('\"public\".\"customer\"' || E'\\n3705', 'job_title,company_name,linkedin_url,phone,location,seniority')) AS v(t, f)"
            ),
            &[&world.workspace, &legacy, &first],
        )
        .unwrap();
    let again: Value = caller.query_one(sql, &[&"03705", &legacy]).unwrap().get(0);
    assert_eq!(again["replayed"], true);
}

/// What docs/batches.md does every night: rows without a match do not keep the others from their turn.
#[test]
fn rows_that_were_tried_come_last() {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    world.run("ALTER TABLE crm ADD COLUMN tried_at timestamptz; GRANT UPDATE ON crm TO caller");
    let mut caller = world.caller();
    for night in 1..=5 {
        caller
            .batch_execute(
                "CREATE TEMP TABLE tried AS SELECT contact_id FROM enrich_contacts(
                     ARRAY(SELECT id FROM crm WHERE phone IS NULL ORDER BY tried_at NULLS FIRST LIMIT 2));
                 UPDATE crm SET tried_at = now() FROM tried WHERE id = contact_id; DROP TABLE tried",
            )
            .unwrap();
        assert_eq!(world.provider.count(), 2 * night);
    }
}

//! Whom to ask, and who was asked.

use serde_json::{Value, json};

use super::{keys, texts, world};
use crate::support::{Behaviour, fails};
use crate::world::{PATH, contact, enrich, enrich_with_key, number};

fn missing(client: &mut postgres::Client, arguments: &str) -> Vec<String> {
    let sql = format!("SELECT leadlex.missing('crm'{arguments}) AS id ORDER BY 1");
    texts(client, &sql)
}

/// One of each kind: 1 nothing known, 2 filled, 3 a stand-in, 4 nobody identifies, 5 suppressed, 6 "nothing" is remembered,
/// 7 taken back, 8 rolled back.
#[test]
fn only_whom_it_is_worth_to_ask_about_is_missing() {
    let world = world(8, &["leadlex.waterfall = 'first_match'"]);
    world.run("SELECT leadlex.enable_provider('other', false)");
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person6@acme.example") => Behaviour::json(404, json!({})),
        _ => Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+12025550123"}})),
    });
    let mut caller = world.caller();
    for n in [2, 7] {
        enrich(&mut caller, n).unwrap();
    }
    fails(enrich(&mut caller, 6));
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 8).unwrap();
    transaction.rollback().unwrap();
    world.run(&format!(
        "UPDATE crm SET phone = 'n/a' WHERE id = '{}'; UPDATE crm SET email = NULL, full_name = NULL WHERE id = '{}';
         SELECT leadlex.suppress('person5@acme.example');
         SELECT leadlex.revert_enrichment(request_id) FROM leadlex.enrichment WHERE contact_id = '{}'",
        contact(3),
        contact(4),
        contact(7)
    ));
    let (ledger, asked) = (world.ledger(), world.provider.count());
    let fields = ", '{phone}'";
    assert_eq!(missing(&mut caller, fields), keys(&[1, 3, 8]));
    // The others of the six are not known of anybody but those of whom the provider said that it lacks them.
    assert_eq!(missing(&mut caller, ", '{location}'"), keys(&[1, 3]));
    assert_eq!(missing(&mut caller, ", '{phone}', 2").len(), 2);
    assert_eq!(missing(&mut caller, ", most => 0"), keys(&[]));
    caller.batch_execute("SET default_transaction_read_only = on").unwrap();
    assert_eq!(missing(&mut caller, fields).len(), 3, "also where nothing can be written");
    caller.batch_execute("RESET default_transaction_read_only").unwrap();
    assert_eq!(
        (world.ledger(), world.provider.count()),
        (ledger, asked),
        "nobody was asked, nothing written"
    );
    // A night's job: once, and then there is nobody left.
    let job = "SELECT count(*) FROM enrich_rows('crm', ARRAY(SELECT leadlex.missing('crm', '{phone}')), '{phone}') WHERE status = 'enriched'";
    assert_eq!(number(&mut caller, job), 3);
    assert_eq!((world.provider.count(), missing(&mut caller, fields)), (asked + 2, keys(&[])));
    let mut stranger = {
        world.run("CREATE ROLE stranger LOGIN; GRANT SELECT, UPDATE ON crm TO stranger; SELECT leadlex.grant_access('stranger', leadlex.create_workspace('others', 5))");
        world.cluster.connect_as("app", "stranger")
    };
    assert_eq!(missing(&mut stranger, ""), keys(&[]), "of one's own workspace");
    for (call, sqlstate) in [
        ("NULL", "LX400"),
        ("'crm', '{fax}'", "LX400"),
        ("'crm', most => -1", "22023"),
        ("'pg_class'", "55000"),
    ] {
        let failure = fails(caller.query(&format!("SELECT leadlex.missing({call})"), &[]));
        assert_eq!(failure.sqlstate, sqlstate, "{call}: {failure:?}");
    }
}

#[test]
fn a_table_larger_than_a_portion_is_read_to_its_end() {
    let world = world(2_500, &["leadlex.max_people_per_value = -1"]);
    world.run("UPDATE crm SET phone = '+12025550123' WHERE id < '00000000-0000-4000-8000-000000002400'");
    let found = missing(&mut world.caller(), ", '{phone}'");
    assert_eq!((found.len(), found[0].as_str()), (101, "00000000-0000-4000-8000-000000002400"));
}

#[test]
fn a_result_names_who_was_sent_a_request_in_this_call() {
    let world = world(2, &[]);
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    assert_eq!(enrich(&mut transaction, 1).unwrap()["asked"], json!(["main", "other"]));
    transaction.rollback().unwrap();
    assert_eq!(enrich(&mut caller, 1).unwrap()["asked"], json!([]), "from receipts");
    assert_eq!(enrich(&mut caller, 1).unwrap()["asked"], json!([]), "nothing to fill");
    let key = uuid::Uuid::new_v4();
    assert_eq!(enrich_with_key(&mut caller, 2, key).unwrap()["asked"], json!(["main", "other"]));
    let replay: Value = enrich_with_key(&mut caller, 2, key).unwrap();
    assert_eq!((&replay["replayed"], &replay["asked"]), (&json!(true), &json!([])));
    // Who failed was asked; who is paused was not.
    world.provider.on(PATH, |_| Behaviour::json(429, json!({})));
    world.run("UPDATE crm SET phone = NULL, job_title = NULL");
    caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
    let sql = "SELECT enrich_contact($1, '{phone,job_title}', overwrite => true)";
    let result: Value = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!(result["asked"], json!(["main", "other"]), "{result}");
    let paused: Value = caller.query_one(sql, &[&contact(2)]).unwrap().get(0);
    assert_eq!(paused["asked"], json!(["other"]), "{paused}");
}

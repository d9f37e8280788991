//! Checked again.

use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};

use super::{keys, main_supplies, phone_of, rows, texts, world};
use crate::support::{Behaviour, fails};
use crate::world::{PATH, World, contact, enrich};

/// The job of a night.
fn night(client: &mut Client) {
    let keys = due(client, "'6 months', '{phone}'").join(",");
    let sql = format!("CALL leadlex.enrich_batch('crm', '{{{keys}}}', '{{phone}}', overwrite => true)");
    client.batch_execute(&sql).unwrap();
}

fn due(client: &mut Client, arguments: &str) -> Vec<String> {
    let sql = format!("SELECT leadlex.due('crm', {arguments})");
    texts(client, &sql)
}

/// Bought 200 days ago, the first before the others.
fn old(contacts: i32, conf: &[&str]) -> World {
    let world = world(contacts, conf);
    world.run("SELECT leadlex.enable_provider('other', false)");
    let mut caller = world.caller();
    (1..=contacts).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    world.run("UPDATE leadlex.enrichment SET created_at = created_at - interval '200 days'");
    world.provider.forget();
    world
}

#[test]
fn what_is_old_is_asked_about_once_and_is_due_no_longer() {
    let world = old(6, &["leadlex.receipt_ttl = 0"]);
    let mut caller = world.caller();
    assert_eq!(due(&mut caller, "'6 months'"), keys(&[1, 2, 3, 4, 5, 6]), "the oldest first");
    assert_eq!(due(&mut caller, "'1 year'"), keys(&[]));
    assert_eq!(due(&mut caller, "'6 months', '{job_title}'"), keys(&[]));
    // 2 is typed over, 3 has another number by now, of 4 the vendor knows nothing, of 5 it cannot say, 6 is gone.
    world.run(&format!(
        "UPDATE crm SET phone = '+12025550102' WHERE id = '{}'; DELETE FROM crm WHERE id = '{}'",
        contact(2),
        contact(6)
    ));
    world.provider.on(PATH, |request| match request.param("email").unwrap_or_default() {
        "person3@acme.example" => {
            Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+15560199999"}}))
        }
        "person4@acme.example" => Behaviour::json(404, json!({})),
        "person5@acme.example" => Behaviour::json(500, json!({})),
        _ => Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+1 555 01 00001"}})),
    });
    assert_eq!(due(&mut caller, "'6 months'"), keys(&[1, 3, 4, 5]));
    caller.batch_execute("SET leadlex.overwrite_scope = 'own'").unwrap();
    night(&mut caller);
    assert_eq!(due(&mut caller, "'6 months'"), keys(&[5]), "the vendor could not say");
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    world.end_pauses();
    night(&mut caller);
    assert_eq!(due(&mut caller, "'6 months'"), keys(&[]));
    let asked = world.provider.count();
    night(&mut caller);
    assert_eq!(world.provider.count(), asked, "a second run the same night asks nobody");
    assert_eq!(world.phone(2).as_deref(), Some("+12025550102"));
    assert_eq!(world.phone(3).as_deref(), Some("+15560199999"));
    assert_eq!(world.phone(4), Some(phone_of("555", 4)), "that it knows nothing takes nothing away");
    let times = rows(
        &mut caller,
        "SELECT right(contact_id, 1) AS n, enriched_at > now() - interval '1 day' AS written, verified_at > now() - interval '1 day' AS verified,
                checked_at > now() - interval '1 day' AS checked FROM leadlex.enriched ORDER BY 1",
    );
    let line = |n: &str, written, verified, checked| json!({"n": n, "written": written, "verified": verified, "checked": checked});
    assert_eq!(
        times,
        [
            line("1", false, true, true),
            line("2", false, false, false),
            line("3", true, true, true),
            line("4", false, false, true),
            line("5", false, false, true),
            line("6", false, false, false)
        ]
    );
}

#[test]
fn the_time_is_that_of_the_vendors_answer_and_goes_with_the_transaction() {
    let world = old(2, &[]);
    let mut caller = world.caller();
    world.run("UPDATE crm SET phone = NULL");
    // From the receipt: the answer is older than the call.
    std::thread::sleep(Duration::from_millis(300));
    enrich(&mut caller, 1).unwrap();
    let sql = "SELECT verified_at < enriched_at - interval '250 ms' AND verified_at > enriched_at - interval '1 hour' AND verified_at = checked_at AS earlier
               FROM leadlex.enriched WHERE contact_id = '00000000-0000-4000-8000-000000000001'";
    assert_eq!(rows(&mut caller, sql), [json!({"earlier": true})]);
    world.run(
        "UPDATE leadlex.enrichment SET created_at = created_at - interval '200 days', answered_at = NULL",
    );
    // Confirmed by a single call, and rolled back.
    caller.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    main_supplies(&world, "555");
    let confirm = "SELECT enrich_contact($1, '{phone}', overwrite => true) -> 'fields_updated'";
    let mut transaction = caller.transaction().unwrap();
    assert_eq!(transaction.query_one(confirm, &[&contact(1)]).unwrap().get::<_, Value>(0), json!([]));
    transaction.rollback().unwrap();
    assert_eq!(due(&mut caller, "'6 months'"), keys(&[1]));
    caller.execute(confirm, &[&contact(1)]).unwrap();
    assert_eq!(due(&mut caller, "'6 months'"), keys(&[]));
    // What is not an enrichment's is not kept; a person who is forgotten is forgotten here, too.
    world.run(&format!("UPDATE crm SET job_title = 'Editor' WHERE id = '{}'", contact(1)));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.checked"), 1);
    let sql = "SELECT leadlex.forget_contact($1)";
    assert_eq!(caller.query_one(sql, &[&contact(1)]).unwrap().get::<_, Value>(0)["checked"], 1);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.checked"), 0);
    world.run("CREATE ROLE stranger LOGIN; GRANT SELECT, UPDATE ON crm TO stranger; SELECT leadlex.grant_access('stranger', leadlex.create_workspace('others', 5))");
    assert_eq!(due(&mut world.cluster.connect_as("app", "stranger"), "'0 days'"), keys(&[]));
    for (call, sqlstate) in
        [("NULL, '1 day'", "LX400"), ("'crm', NULL", "22023"), ("'crm', '1 day', '{fax}'", "LX400")]
    {
        assert_eq!(
            fails(caller.query(&format!("SELECT leadlex.due({call})"), &[])).sqlstate,
            sqlstate,
            "{call}"
        );
    }
}

/// The value before it was never confirmed.
#[test]
fn what_is_taken_back_takes_its_confirmation_with_it() {
    let world = old(1, &["leadlex.receipt_ttl = 0"]);
    let mut caller = world.caller();
    let sql = "SELECT enrich_contact($1, '{phone}', overwrite => true)";
    main_supplies(&world, "556");
    caller.execute(sql, &[&contact(1)]).unwrap();
    caller.execute(sql, &[&contact(1)]).unwrap();
    assert_eq!(due(&mut caller, "'6 months'"), keys(&[]));
    let undo = "SELECT restored FROM leadlex.revert_provider('main', now() - interval '1 day')";
    assert_eq!(rows(&mut caller, undo), [json!({"restored": phone_of("555", 1)})]);
    assert_eq!(due(&mut caller, "'6 months'"), keys(&[1]));
}

/// What comes of a call that overwrites, by `sql`, and is told what stands there, while `change` is committed.
fn confirmed_beside(world: &World, change: &str, sql: &str) -> Result<Option<String>, postgres::Error> {
    world.run("SELECT leadlex.enable_provider('other', false)");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    caller.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    let answer = json!({"likelihood": 9, "data": {"phone": world.phone(1)}});
    let late = move |_: &_| Behaviour::json(200, answer.clone()).after(Duration::from_millis(700));
    world.provider.on(PATH, late);
    let asked = world.provider.count_of(PATH);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| caller.query_one(sql, &[&contact(1)]));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        world.run(change);
        call.join().unwrap().map(|row| row.get(0))
    })
}

const CHANGED_ALONE: &str = "SELECT enrich_contact($1, '{phone}', true) #>> '{contact,phone}'";

/// What a call says of the row is so of the row as it is, also where the vendor says what stood there before.
#[test]
fn a_value_that_is_confirmed_while_its_row_changes_is_written() {
    let in_a_set = "SELECT contact ->> 'phone' FROM enrich_contacts(ARRAY[$1::uuid], '{phone}', true)";
    for sql in [CHANGED_ALONE, in_a_set] {
        let world = world(2, &[]);
        let told = confirmed_beside(&world, "UPDATE crm SET phone = NULL", sql).unwrap();
        assert!(told.is_some(), "{sql}");
        assert_eq!(world.phone(1), told, "{sql}");
    }
}

/// Nor is it somebody else's: the vendor was asked about whom the row was about before.
#[test]
fn a_value_that_is_confirmed_while_its_row_becomes_somebody_elses_is_not_confirmed() {
    let change = "UPDATE crm SET email = 'somebody.else@acme.example', full_name = 'Zoe Quill'";
    let in_a_set = "SELECT error_code FROM enrich_contacts(ARRAY[$1::uuid], '{phone}', true)";
    for sql in [CHANGED_ALONE, in_a_set] {
        let world = world(2, &[]);
        let told = confirmed_beside(&world, change, sql);
        let code = told.unwrap_or_else(|error| error.code().map(|code| code.code().to_owned()));
        assert_eq!(code.as_deref(), Some("40001"), "{sql}");
        let verified =
            "SELECT count(*) FROM leadlex.enriched WHERE field = 'phone' AND verified_at > enriched_at";
        assert_eq!(world.number(verified), 0, "{sql}");
    }
}

//! Undone stays undone.

use std::time::Duration;

use serde_json::{Value, json};

use super::{main_supplies, phone_of, rows, world};
use crate::support::{Behaviour, eventually, fails};
use crate::world::{PATH, World, contact, credits, enrich, number, try_enrich};

const UNDO: &str = "SELECT status FROM leadlex.revert_provider('main', now() - interval '7 days')";
const PHONE: &str = "SELECT enrich_contact($1, '{phone}')";

/// Two contacts whose telephone numbers were bought from `main`, and taken back.
fn taken_back(conf: &[&str]) -> World {
    let world = world(2, conf);
    let mut caller = world.caller();
    (1..=2).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    assert_eq!(rows(&mut caller, UNDO).len(), 2);
    world.provider.forget();
    world
}

/// In each of the ways in which contacts are enriched.
#[test]
fn what_was_taken_back_is_neither_asked_for_nor_charged_again() {
    for conf in [&[] as &[&str], &["leadlex.receipt_ttl = 0"]] {
        let world = taken_back(conf);
        let mut caller = world.caller();
        let before = credits(&mut caller);
        let failure = fails(caller.query(PHONE, &[&contact(1)]));
        assert_eq!((failure.sqlstate.as_str(), &failure.json()["reason"]), ("LX409", &json!("refused")));
        assert_eq!(failure.json()["refused"], json!(["phone"]));
        let set = rows(
            &mut caller,
            "SELECT status, error_message FROM enrich_contacts(ARRAY(SELECT id FROM crm), '{phone}')",
        );
        assert!(
            set.iter().all(|row| row["status"] == "no_match"
                && row["error_message"].as_str().unwrap().contains("(refused)")),
            "{set:?}"
        );
        let estimate = rows(
            &mut caller,
            "SELECT outcome, reason FROM leadlex.estimate('crm', ARRAY(SELECT id::text FROM crm), '{phone}')",
        );
        assert_eq!(estimate, [json!({"outcome": "skipped", "reason": "taken back"})]);
        caller.batch_execute("SELECT leadlex.enqueue(ARRAY(SELECT id FROM crm), '{phone}')").unwrap();
        eventually("the queue is through", Duration::from_secs(20), || {
            number(&mut world.owner(), "SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 2
        });
        assert_eq!(
            rows(&mut world.owner(), "SELECT DISTINCT outcome, last_error FROM leadlex.job")[0]["outcome"],
            "no_match"
        );
        assert_eq!((world.provider.count_of(PATH), credits(&mut caller)), (0, before), "{conf:?}");
    }
}

#[test]
fn overwrite_asks_all_the_same_and_somebody_else_is_asked_about() {
    let world = taken_back(&[]);
    let mut caller = world.caller();
    // Another address: another question, and the same junk is not written.
    world.run(&format!("UPDATE crm SET email = 'person1@bluepeak.example' WHERE id = '{}'", contact(1)));
    let failure = fails(caller.query(PHONE, &[&contact(1)]));
    assert_eq!((failure.json()["reason"].clone(), world.provider.count_of(PATH)), (json!("refused"), 1));
    assert_eq!(world.phone(1), None);
    // The vendor has something else for a third one.
    main_supplies(&world, "556");
    world.run(&format!("UPDATE crm SET email = 'person1@harborline.example' WHERE id = '{}'", contact(1)));
    caller.execute(PHONE, &[&contact(1)]).unwrap();
    assert_eq!(world.phone(1), Some(phone_of("556", 1)));
    // By hand, the second contact gets even the old number, and from the vendor, not from the receipt.
    main_supplies(&world, "555");
    world.provider.forget();
    let sql = "SELECT enrich_contact($1, '{phone}', overwrite => true)";
    let result: Value = caller.query_one(sql, &[&contact(2)]).unwrap().get(0);
    assert_eq!((result["fields_updated"].clone(), world.provider.count_of(PATH)), (json!(["phone"]), 1));
    assert_eq!(world.phone(2), Some(phone_of("555", 2)));
}

/// The receipt says "nothing" to everybody who asks the same.
#[test]
fn another_row_of_the_same_person_is_not_filled_from_the_receipt() {
    let world = taken_back(&[]);
    world.run("INSERT INTO crm (id, full_name, email) SELECT '00000000-0000-4000-8000-000000000099', full_name, email FROM crm ORDER BY id LIMIT 1");
    let mut caller = world.caller();
    let result: Value = caller.query_one(PHONE, &[&contact(99)]).unwrap().get(0);
    assert_eq!((result["fields_updated"].clone(), world.provider.count_of(PATH)), (json!([]), 0));
}

#[test]
fn another_vendor_is_asked_in_its_place() {
    let world = taken_back(&[]);
    let mut config = world.provider.config("/third");
    config["response"]["fields"] = json!({"phone": "/data/phone"});
    world.add_provider("third", &config);
    world.run("SELECT leadlex.alter_provider('third', priority => 300)");
    world
        .provider
        .on("/third", |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+12025550123"}})));
    let mut caller = world.caller();
    let result: Value = caller.query_one(PHONE, &[&contact(1)]).unwrap().get(0);
    assert_eq!((&result["source"], world.provider.count_of(PATH)), (&json!("third"), 0));
    assert_eq!(world.phone(1).as_deref(), Some("+12025550123"));
}

#[test]
fn a_single_enrichment_that_was_taken_back_is_not_bought_again_either() {
    let world = world(1, &["leadlex.receipt_ttl = 0"]);
    let mut caller = world.caller();
    let result = enrich(&mut caller, 1).unwrap();
    let sql = format!("SELECT leadlex.revert_enrichment('{}')", result["request_id"].as_str().unwrap());
    // What is rolled back was not taken back.
    let mut transaction = caller.transaction().unwrap();
    transaction.execute(&sql, &[]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(world.number("SELECT count(*) FROM leadlex.undone"), 0);
    caller.execute(&sql, &[]).unwrap();
    world.provider.forget();
    let failure = fails(enrich(&mut caller, 1));
    assert_eq!((failure.json()["reason"].clone(), world.provider.count()), (json!("refused"), 0));
    assert_eq!(failure.json()["refused"], json!(["job_title", "phone"]));
    // It is remembered for leadlex.recheck_after, as hashes, and forgotten with the person.
    caller.batch_execute("SET leadlex.recheck_after = '1ms'").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    enrich(&mut caller, 1).unwrap();
    let forgotten: Value =
        caller.query_one("SELECT leadlex.forget_contact($1)", &[&contact(1)]).unwrap().get(0);
    assert_eq!(forgotten["undone"], 2, "{forgotten}");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.undone"), 0);
}

/// Of a provider that is told what is wanted, the rest is asked for alone.
#[test]
fn what_was_taken_back_is_not_among_what_is_wanted() {
    let world = world(1, &["leadlex.receipt_ttl = 0"]);
    let mut config = world.provider.config("/wanted");
    config["request"]["query"]["want"] = json!({"wanted": {"phone": "phones", "location": "place"}});
    config["response"]["fields"] = json!({"phone": "/data/phone", "location": "/data/location"});
    world.add_provider("teller", &config);
    world.run("SELECT leadlex.enable_provider('main', false), leadlex.enable_provider('other', false)");
    world
        .provider
        .on("/wanted", |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+12025550123"}})));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let undo = "SELECT status FROM leadlex.revert_provider('teller', now() - interval '1 hour')";
    assert_eq!(rows(&mut caller, undo), [json!({"status": "reverted"})]);
    world.provider.forget();
    world.run("DELETE FROM leadlex.receipt");
    let failure = fails(enrich(&mut caller, 1));
    assert_eq!(failure.json()["reason"], "refused", "{failure:?}");
    let wants: Vec<String> =
        world.provider.requests().iter().filter_map(|r| r.param("want").map(str::to_owned)).collect();
    assert_eq!(wants, ["place"]);
}

/// Takes back what this call wrote.
fn revert(result: &Value) -> String {
    format!("SELECT leadlex.revert_enrichment('{}')", result["request_id"].as_str().unwrap())
}

/// Each session remembers that nothing was taken back, no longer than that.
#[test]
fn what_is_taken_back_counts_in_sessions_that_knew_of_nothing_taken_back() {
    let world = world(6, &["leadlex.receipt_ttl = 0"]);
    let refused = |client: &mut postgres::Client, n| try_enrich(client, n)["error"]["reason"] == "refused";
    let (mut one, mut other, mut open) = (world.caller(), world.caller(), world.caller());
    let result = enrich(&mut one, 1).unwrap();
    enrich(&mut other, 2).unwrap();
    open.batch_execute("BEGIN").unwrap();
    enrich(&mut open, 3).unwrap();
    one.execute(&revert(&result), &[]).unwrap();
    world.provider.forget();
    assert!(refused(&mut other, 1) && refused(&mut open, 1) && refused(&mut one, 1));
    assert_eq!(world.provider.count(), 0);
}

/// What a transaction removes, its rollback brings back.
#[test]
fn what_was_taken_back_and_is_forgotten_in_vain_counts() {
    let world = world(2, &["leadlex.receipt_ttl = 0"]);
    let result = enrich(&mut world.caller(), 1).unwrap();
    world.caller().execute(&revert(&result), &[]).unwrap();
    let mut caller = world.caller();
    caller.batch_execute("BEGIN").unwrap();
    caller.execute("SELECT leadlex.forget_contact($1)", &[&contact(1)]).unwrap();
    enrich(&mut caller, 2).unwrap();
    caller.batch_execute("ROLLBACK").unwrap();
    assert_eq!(try_enrich(&mut caller, 1)["error"]["reason"], "refused");
}

/// Also within one transaction, and as far as that is not rolled back.
#[test]
fn what_this_transaction_takes_back_counts_until_that_is_rolled_back() {
    let world = world(3, &["leadlex.receipt_ttl = 0"]);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let result = enrich(&mut caller, 2).unwrap();
    caller.batch_execute("BEGIN; SAVEPOINT before").unwrap();
    caller.execute(&revert(&result), &[]).unwrap();
    assert_eq!(try_enrich(&mut caller, 2)["error"]["reason"], "refused");
    caller.batch_execute("ROLLBACK TO SAVEPOINT before; UPDATE crm SET phone = NULL").unwrap();
    let again = try_enrich(&mut caller, 2);
    assert_eq!(again["fields_updated"], json!(["phone"]), "{again}");
    caller.execute(&revert(&result), &[]).unwrap();
    assert_eq!(try_enrich(&mut caller, 2)["error"]["reason"], "refused");
    caller.batch_execute("ROLLBACK; UPDATE crm SET phone = NULL").unwrap();
    let again = enrich(&mut caller, 2).unwrap();
    assert_eq!(again["fields_updated"], json!(["phone"]), "{again}");
}

/// The number identifies: that an enrichment has put another one there before makes the contact nobody else.
#[test]
fn what_an_enrichment_replaced_itself_does_not_bring_back_what_was_taken_back() {
    let world = world(1, &[]);
    world.run(&format!("UPDATE crm SET phone = '+12025550199' WHERE id = '{}'", contact(1)));
    let mut caller = world.caller();
    caller.execute("SELECT enrich_contact($1, overwrite => true)", &[&contact(1)]).unwrap();
    assert_eq!(world.phone(1), Some(phone_of("555", 1)));
    let undo = "SELECT status FROM leadlex.revert_provider('other', now() - interval '7 days')";
    assert_eq!(rows(&mut caller, undo), [json!({"status": "reverted"})]);
    let failure = fails(caller.query("SELECT enrich_contact($1, '{job_title}')", &[&contact(1)]));
    assert_eq!((failure.sqlstate.as_str(), &failure.json()["reason"]), ("LX409", &json!("refused")));
}

/// What the table has refused of the same answer does not stand in the way.
#[test]
fn another_vendor_is_asked_beside_what_the_table_refuses() {
    let world = super::world(1, &["leadlex.waterfall = 'first_match'"]);
    world.run("ALTER TABLE crm ADD CHECK (job_title <> 'Chief')");
    let mut main = world.provider.config(PATH);
    main["response"]["fields"] = json!({"job_title": "/data/job_title", "phone": "/data/phone"});
    let other = main.clone();
    world.run("SELECT leadlex.drop_provider('main'), leadlex.drop_provider('other')");
    world.add_provider("main", &main);
    let mut other = other;
    other["request"]["url"] = json!(world.provider.url(super::OTHER));
    world.add_provider("other", &other);
    let answer = |title, phone| json!({"likelihood": 9, "data": {"job_title": title, "phone": phone}});
    let junk = answer("Chief", "+12025550111");
    world.provider.on(PATH, move |_| Behaviour::json(200, junk.clone()));
    let good = answer("Editor", "+12025550122");
    world.provider.on(super::OTHER, move |_| Behaviour::json(200, good.clone()));
    let mut caller = world.caller();
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], "+12025550111");
    let undo = "SELECT count(*) FROM leadlex.revert_provider('main', now() - interval '1 day')";
    assert_eq!(number(&mut caller, undo), 1);
    assert_eq!(world.provider.count_of(super::OTHER), 0);
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!(
        (&result["contact"]["phone"], &result["contact"]["job_title"]),
        (&json!("+12025550122"), &json!("Editor")),
        "{result}"
    );
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of(super::OTHER)), (1, 1));
}

//! After a reload.

use std::time::Duration;

use serde_json::json;

use crate::support::{Behaviour, eventually, fails};
use crate::world::{World, contact, enrich, number};

use super::world;

const REFILL: &str = "SELECT leadlex.refill('crm')";

/// Six contacts, enriched; then the table was loaded anew. The fifth has another address by now.
fn reloaded() -> World {
    let world = world(6, &[]);
    let mut caller = world.caller();
    (1..=6).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    world.run(&format!(
        "SELECT leadlex.revert_enrichment(request_id) FROM leadlex.enrichment WHERE contact_id = '{}';
         SELECT leadlex.forget_contact('{}');
         TRUNCATE crm;
         INSERT INTO crm (id, full_name, email) SELECT pg_catalog.uuid_in(pg_catalog.textout('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))),
             'PERSON ' || n, CASE WHEN n = 5 THEN 'somebody@bluepeak.example' ELSE 'Person' || n || '@acme.example' END FROM generate_series(1, 6) AS n;
         UPDATE crm SET phone = '+12025550102' WHERE id = '{}'",
        contact(3),
        contact(4),
        contact(2)
    ));
    world.provider.forget();
    world
}

/// A number identifies: that an enrichment has replaced it makes the contact nobody else.
#[test]
fn what_an_enrichment_replaced_itself_does_not_keep_the_rest_from_coming_back() {
    let world = world(3, &["leadlex.receipt_ttl = 0"]);
    let mut caller = world.caller();
    (1..=3).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    super::main_supplies(&world, "556");
    let chief = json!({"likelihood": 8, "data": {"job_title": "Chief Editor"}});
    world.provider.on(super::OTHER, move |_| Behaviour::json(200, chief.clone()));
    for n in 1..=3 {
        let sql = "SELECT enrich_contact($1, overwrite => true)";
        caller.execute(sql, &[&contact(n)]).unwrap();
        assert_eq!(world.phone(n), Some(super::phone_of("556", n)));
    }
    // Of the third somebody has changed it since; of the second it is spelled otherwise.
    let spelled = super::phone_of("556", 2).replace("+1556", "+1 (556) ");
    world.run(&format!(
        "UPDATE crm SET job_title = NULL; UPDATE crm SET phone = '+12025550199' WHERE id = '{}';
         UPDATE crm SET phone = '{spelled}' WHERE id = '{}'",
        contact(3),
        contact(2)
    ));
    assert_eq!(number(&mut caller, REFILL), 2);
    let titles = "SELECT string_agg(coalesce(job_title, '-'), ' ' ORDER BY id) FROM crm";
    let titles: String = world.owner().query_one(titles, &[]).unwrap().get(0);
    assert_eq!(titles, "Chief Editor Chief Editor -");
}

#[test]
fn a_reloaded_table_is_refilled_without_a_request() {
    let world = reloaded();
    let mut caller = world.caller();
    let (charges, requests) = (world.ledger().charges, world.provider.count());
    assert_eq!(
        number(
            &mut caller,
            "SELECT leadlex.refill('crm', ARRAY['00000000-0000-4000-8000-000000000006', NULL, 'no key'])"
        ),
        1
    );
    assert_eq!(number(&mut caller, REFILL), 2);
    assert_eq!(number(&mut caller, REFILL), 0, "once");
    for n in [1, 6] {
        assert_eq!(world.phone(n), Some(super::phone_of("555", n)));
    }
    assert_eq!(world.phone(2).as_deref(), Some("+12025550102"), "what is there stays");
    assert_eq!(
        number(&mut caller, "SELECT count(*) FROM crm WHERE job_title = 'Editor'"),
        3,
        "and what is not comes"
    );
    for (n, why) in [(3, "taken back"), (4, "forgotten"), (5, "somebody else by now")] {
        assert_eq!(world.phone(n), None, "{why}");
    }
    assert_eq!((world.ledger().charges, world.provider.count()), (charges, requests));
    // A row of before there was a hash of whom it was about.
    world.run("UPDATE leadlex.enrichment SET identity = NULL");
    assert_eq!(number(&mut caller, REFILL), 1);
    assert_eq!(world.phone(5), Some(super::phone_of("555", 5)));
    // As the caller.
    world.run("UPDATE crm SET phone = NULL; REVOKE UPDATE ON crm FROM caller; CREATE ROLE stranger LOGIN; GRANT SELECT, UPDATE ON crm TO stranger;
               SELECT leadlex.grant_access('stranger', leadlex.create_workspace('others', 5))");
    assert_eq!(fails(caller.query(REFILL, &[])).sqlstate, "42501");
    assert_eq!(number(&mut world.cluster.connect_as("app", "stranger"), REFILL), 0);
    for (sql, sqlstate) in
        [("SELECT leadlex.refill(NULL)", "LX400"), ("BEGIN READ ONLY; SELECT leadlex.refill('crm')", "25006")]
    {
        assert_eq!(fails(world.caller().batch_execute(sql)).sqlstate, sqlstate);
    }
}

#[test]
fn a_table_swapped_under_its_name_is_refilled_and_a_constraint_costs_its_field() {
    let world = reloaded();
    world.run(
        "CREATE TABLE crm_new (LIKE crm INCLUDING ALL); INSERT INTO crm_new SELECT * FROM crm;
         ALTER TABLE crm_new ADD CHECK (id <> '00000000-0000-4000-8000-000000000001' OR job_title IS DISTINCT FROM 'Editor');
         BEGIN; ALTER TABLE crm RENAME TO crm_old; ALTER TABLE crm_new RENAME TO crm; COMMIT;
         GRANT SELECT, UPDATE ON crm TO caller",
    );
    let mut caller = world.caller();
    assert_eq!(number(&mut caller, REFILL), 3);
    assert_eq!(world.phone(1), Some(super::phone_of("555", 1)));
    assert_eq!(number(&mut caller, "SELECT count(*) FROM crm WHERE job_title = 'Editor'"), 2);
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn a_title_is_refilled_beside_its_own_company_where_a_position_is_to_be_one() {
    let world = world(3, &[]);
    world.provider.on(crate::world::PATH, |_| Behaviour::json(200, crate::support::person()));
    let mut caller = world.caller();
    (1..=3).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    let history = "SELECT job_title || ' ' || company_name FROM crm WHERE id = $1";
    let before: Option<String> = caller.query_one(history, &[&contact(1)]).unwrap().get(0);
    assert!(before.is_some(), "both are written");
    // The load has the title of none, the company of two, and of one of these it is another.
    world.run(&format!(
        "UPDATE crm SET job_title = NULL;
         UPDATE crm SET company_name = 'Other Inc' WHERE id = '{}';
         UPDATE crm SET company_name = NULL WHERE id = '{}'",
        contact(2),
        contact(3)
    ));
    let titles = |caller: &mut postgres::Client| -> Vec<bool> {
        let rows = caller.query("SELECT job_title IS NOT NULL FROM crm ORDER BY id", &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    caller.batch_execute("SET leadlex.position = 'together'").unwrap();
    assert_eq!(number(&mut caller, REFILL), 2);
    assert_eq!(titles(&mut caller), [true, false, true]);
    caller.batch_execute("SET leadlex.position = 'any'").unwrap();
    assert_eq!(number(&mut caller, REFILL), 1);
    assert_eq!(titles(&mut caller), [true, true, true]);
}

#[test]
fn triggers_and_queue_refill_first_where_they_are_told_to() {
    for on in [false, true] {
        let world = reloaded();
        world.run(&format!(
            "ALTER DATABASE app SET leadlex.refill_from_history = {on}; ALTER DATABASE app SET leadlex.receipt_ttl = 0;
             CREATE TABLE source AS SELECT * FROM crm WHERE phone IS NULL AND email NOT LIKE 'somebody%' AND id NOT IN ('{}', '{}'); TRUNCATE crm;
             CREATE TRIGGER enriches AFTER INSERT ON crm REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enrich_on_insert()",
            contact(3),
            contact(4)
        ));
        const CHARGES: &str = "SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1";
        let charges = world.number(CHARGES);
        world.run("INSERT INTO crm SELECT * FROM source");
        assert_eq!(number(&mut world.owner(), "SELECT count(phone) FROM crm"), 2, "on: {on}");
        assert_eq!(world.provider.count_of(crate::world::PATH), if on { 0 } else { 2 }, "on: {on}");
        assert_eq!(world.number(CHARGES), charges + if on { 0 } else { 2 });
        world.run("DROP TRIGGER enriches ON crm; UPDATE crm SET phone = NULL, job_title = NULL");
        world.provider.forget();
        world.caller().batch_execute("SELECT leadlex.enqueue(ARRAY(SELECT id FROM crm))").unwrap();
        eventually("the queue is through", Duration::from_secs(20), || {
            number(&mut world.owner(), "SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 2
        });
        assert_eq!(number(&mut world.owner(), "SELECT count(phone) FROM crm"), 2, "on: {on}");
        assert_eq!(world.provider.count_of(crate::world::PATH), if on { 0 } else { 2 }, "on: {on}");
    }
}

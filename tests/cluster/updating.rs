//! Enriching contacts from a statement that updates or deletes: refused where it writes to the contact's own table, since
//! one row would be written twice.

use crate::support::fails;
use crate::world::{World, enrich};

#[test]
fn an_update_of_the_rows_own_table_is_refused_before_anybody_is_asked() {
    let world = World::new();
    world.run("GRANT DELETE ON crm TO caller");
    let before = world.ledger();
    let mut caller = world.caller();
    for sql in [
        "UPDATE crm SET note = enrich_contact(id)->>'source'",
        "UPDATE crm SET note = 'x' WHERE enrich_contact(id) IS NOT NULL",
        "UPDATE crm AS c SET note = try_enrich_contact(c.id)->>'source' FROM (SELECT 1) AS one",
        "DELETE FROM crm WHERE enrich_contact(id) IS NOT NULL",
    ] {
        let failure = fails(caller.query(sql, &[]));
        assert_eq!(failure.sqlstate, "27000", "{sql}: {failure:?}");
    }
    assert_eq!((world.ledger(), world.provider.count()), (before, 0));
    // In two steps it works.
    caller.batch_execute("UPDATE crm SET note = 'x'").unwrap();
    enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn an_update_inside_a_with_clause_is_refused_before_anybody_is_asked() {
    let world = World::new();
    let sql = "WITH changed AS (UPDATE crm SET note = enrich_contact(id)->>'source' RETURNING id) SELECT * FROM changed";
    assert_eq!(fails(world.caller().query(sql, &[])).sqlstate, "27000");
    assert_eq!(world.provider.count(), 0);
    // Changing one table while enriching contacts of the other is nobody's conflict.
    world.run("CREATE TABLE log (id uuid); GRANT ALL ON log TO caller");
    let sql = "WITH logged AS (INSERT INTO log SELECT id FROM crm LIMIT 2 RETURNING id) SELECT enrich_contact(id) FROM logged";
    assert_eq!(world.caller().query(sql, &[]).unwrap().len(), 2);
}

#[test]
fn an_update_of_a_partitioned_table_is_refused_before_anybody_is_asked() {
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE parts (LIKE crm INCLUDING ALL) PARTITION BY HASH (id);
         CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO parts SELECT * FROM crm; GRANT SELECT, UPDATE ON parts TO caller;
         SELECT leadlex.bind_contacts('parts', workspace_id => '{}');",
        world.workspace
    ));
    let mut caller = world.caller();
    let sql = "UPDATE parts SET note = enrich_row('parts', id::text)->>'source'";
    assert_eq!(fails(caller.execute(sql, &[])).sqlstate, "27000");
    assert_eq!(world.provider.count(), 0);
    caller.query("SELECT enrich_row('parts', id::text) FROM parts", &[]).unwrap();
    assert_eq!(world.ledger().charges, 10);
}

#[test]
fn an_update_of_another_table_may_enrich() {
    let world = World::new();
    world.run("CREATE TABLE todo (id uuid, result jsonb); INSERT INTO todo SELECT id FROM crm LIMIT 3; GRANT ALL ON todo TO caller");
    let mut caller = world.caller();
    assert_eq!(caller.execute("UPDATE todo SET result = enrich_contact(id)", &[]).unwrap(), 3);
    assert_eq!(world.ledger().charges, 3);
    world.check_credits_add_up();
}

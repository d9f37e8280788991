//! Enriching contacts from the statement that inserts them: it writes rows that were not there, so that nothing is
//! written twice. A call sees what its own statement has inserted so far, as any VOLATILE function does.

use postgres::Client;

use crate::support::fails;
use crate::world::{PHONE, World, contact};

/// The caller may insert, and contacts have unique addresses.
fn world() -> World {
    let world = World::new();
    world.run(
        "GRANT INSERT, DELETE ON crm TO caller; ALTER TABLE crm ALTER id SET DEFAULT gen_random_uuid(), ADD UNIQUE (email)",
    );
    world
}

/// The number of rows that the statement enriched: it answers with the source of each.
fn enriched(caller: &mut Client, sql: &str) -> usize {
    let rows = caller.query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    assert!(rows.iter().all(|row| row.get::<_, Option<&str>>(0) == Some("main")), "{sql}: {rows:?}");
    rows.len()
}

/// Statements that insert or return contacts, at any isolation level, and how many they enrich.
fn statements() -> Vec<(String, usize)> {
    let new = |n: i32| format!("INSERT INTO crm (email) VALUES ('new{n}@acme.example')");
    let row = "SELECT enrich_row('crm', id::text)->>'source' FROM g";
    let mut statements = vec![
        (format!("WITH g AS ({} RETURNING id) {row}", new(1)), 1),
        (format!("WITH g AS ({} RETURNING id) SELECT enrich_contact(id)->>'source' FROM g", new(2)), 1),
        (format!("WITH g AS ({} RETURNING id) SELECT try_enrich_contact(id)->>'source' FROM g", new(3)), 1),
        (
            format!(
                "WITH g AS ({}, ('b@acme.example') RETURNING id) SELECT source FROM enrich_contacts((SELECT array_agg(id) FROM g))",
                new(4)
            ),
            2,
        ),
        (format!("WITH g AS ({} ON CONFLICT DO NOTHING RETURNING id) {row}", new(5)), 1),
        (format!("{} RETURNING enrich_contact(id)->>'source'", new(6)), 1),
        // Both parts insert.
        (
            format!(
                "WITH g AS ({} RETURNING id) {} RETURNING enrich_contact((SELECT id FROM g))->>'source'",
                new(7),
                new(8)
            ),
            1,
        ),
    ];
    if !cfg!(any(feature = "pg15", feature = "pg16")) {
        statements.push((
            format!("WITH g AS (MERGE INTO crm USING (SELECT 'new9@acme.example') AS new (email) ON crm.email = new.email
                 WHEN NOT MATCHED THEN INSERT (email) VALUES (new.email) WHEN MATCHED THEN DO NOTHING RETURNING id) {row}"),
            1,
        ));
    }
    if cfg!(feature = "pg19") {
        // One that is there, and one that is not; then locked as well.
        let returned = "INSERT INTO crm (email) VALUES ('person3@acme.example'), ('new10@acme.example') ON CONFLICT (email) DO SELECT";
        statements.push((format!("WITH g AS ({returned} RETURNING id) {row}"), 2));
        let locked = returned.replace("person3", "person4").replace("new10", "new11") + " FOR UPDATE";
        statements.push((format!("WITH g AS ({locked} RETURNING id) {row}"), 2));
    }
    statements
}

#[test]
fn a_statement_that_inserts_contacts_enriches_them() {
    let world = world();
    world.run(&format!("SELECT leadlex.grant_credits('{}', 100)", world.workspace));
    let mut caller = world.caller();
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let mut expected = 0;
        let before = world.ledger();
        caller.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).unwrap();
        for (sql, count) in statements() {
            assert_eq!(enriched(&mut caller, &sql), count, "{level}: {sql}");
            expected += count as i64;
        }
        caller.batch_execute("COMMIT").unwrap();
        let count = format!("SELECT count(*) FROM crm WHERE phone = '{PHONE}'");
        assert_eq!(world.number(&count), expected, "{level}");
        assert_eq!(world.ledger().charges, before.charges + expected, "{level}");
        world.run("DELETE FROM crm WHERE email !~ '^person'; UPDATE crm SET phone = NULL, job_title = NULL");
    }
    world.check_credits_add_up();
}

/// Not so what may write a row that was there: the provider would be paid for nothing.
#[test]
fn a_statement_that_may_update_contacts_is_refused_wherever_the_call_stands() {
    let world = world();
    let before = world.ledger();
    let mut caller = world.caller();
    let call = format!("SELECT enrich_contact('{}')", contact(1));
    let upsert = "INSERT INTO crm (email) VALUES ('person1@acme.example') ON CONFLICT (email) DO UPDATE SET note = 'x'";
    let merge = |action: &str| {
        format!("MERGE INTO crm USING ({call}) AS called (r) ON crm.email = 'new@acme.example' WHEN MATCHED THEN {action}
             WHEN NOT MATCHED THEN INSERT (email, note) VALUES ('new@acme.example', r->>'source')")
    };
    for sql in [
        format!("WITH g AS ({upsert} RETURNING id) {call}"),
        format!(
            "WITH g AS (INSERT INTO crm (email) VALUES ('new@acme.example') RETURNING id) {upsert} RETURNING enrich_contact(id)"
        ),
        format!(
            "WITH g AS (INSERT INTO crm (email) VALUES ('new@acme.example') RETURNING id), h AS (UPDATE crm SET note = 'x') {call}"
        ),
        format!("WITH g AS (DELETE FROM crm WHERE note = 'none') {call}"),
        merge("UPDATE SET note = 'x'"),
        merge("DELETE"),
    ] {
        let failure = fails(caller.query(&sql, &[]));
        assert_eq!(failure.sqlstate, "27000", "{sql}: {failure:?}");
    }
    assert_eq!((world.ledger(), world.provider.count()), (before, 0));
    // A MERGE that only inserts is an INSERT.
    caller.execute(&merge("DO NOTHING"), &[]).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE note = 'main'"), 1);
}

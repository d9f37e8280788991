//! Constraints that Postgres looks at when the transaction commits: by then a value cannot be left out any more, so they are
//! looked at when it is written, and stay deferred for everything else.

use super::*;

const ONE_PROFILE: &str =
    "ALTER TABLE crm ADD CONSTRAINT one_profile UNIQUE (linkedin_url) DEFERRABLE INITIALLY DEFERRED;";

/// The second contact has the profile that the first one is given.
fn taken(contacts: i32) -> World {
    let world = world(contacts, &[]);
    world
        .run(&format!("{ONE_PROFILE} UPDATE crm SET linkedin_url = '{PROFILE}' WHERE id = '{}'", contact(2)));
    world
}

#[test]
fn four_nights_buy_what_is_refused_at_the_commit_once() {
    let world = taken(8);
    let mut caller = Session::new(&world, "caller");
    for _ in 0..4 {
        let _ = caller.call(1, &[]);
        caller.client.query("SELECT FROM enrich_contacts($1)", &[&ids(3..=4)]).unwrap();
        let batch = ids(5..=6).iter().map(ToString::to_string).collect::<Vec<_>>();
        caller.client.execute("CALL leadlex.enrich_batch('crm', $1)", &[&batch]).unwrap();
        caller.client.query("SELECT leadlex.enqueue($1)", &[&ids(7..=8)]).unwrap();
        wait_for_queue(&world);
    }
    assert_eq!(world.provider.count(), 7, "one request a row");
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 7, "the rest is written");
    assert_eq!(world.number("SELECT count(linkedin_url) FROM crm"), 1);
    assert_eq!(outcomes(&world), "done enriched, done no_match");
    world.check_credits_add_up();
}

#[test]
fn an_insert_with_a_trigger_commits() {
    let world = taken(0);
    world.run(&format!(
        "CREATE TABLE lead (id int PRIMARY KEY, email text, phone text, linkedin_url text UNIQUE DEFERRABLE INITIALLY DEFERRED);
         SELECT leadlex.bind_contacts('lead', workspace_id => '{}'); GRANT SELECT, INSERT, UPDATE ON lead TO caller;
         ALTER TABLE lead OWNER TO caller;
         CREATE TRIGGER enrich AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enrich_on_insert()",
        world.workspace
    ));
    let mut caller = Session::new(&world, "caller");
    let insert = "INSERT INTO lead SELECT n, 'lead' || n || '@acme.example' FROM generate_series(1, 5) AS n";
    caller.client.batch_execute(insert).unwrap();
    assert_eq!(world.number("SELECT count(phone) * 10 + count(linkedin_url) FROM lead"), 51);
    let told = caller.warnings();
    assert_eq!((told.len(), told[0].constraint.as_deref()), (1, Some("lead_linkedin_url_key")), "{told:?}");
    caller.check("an INSERT");
}

/// What the transaction has broken itself is its own to mend until it commits.
#[test]
fn what_the_transaction_has_broken_before_stays_deferred() {
    let world = taken(5);
    let mut caller = Session::new(&world, "caller");
    let taken_twice = format!("UPDATE crm SET linkedin_url = '{PROFILE}' WHERE id = '{}'", contact(3));
    let mended = format!(
        "UPDATE crm SET linkedin_url = 'other' || id WHERE linkedin_url = '{PROFILE}' AND id <> '{}'",
        contact(2)
    );
    for (n, sql) in [
        (1, "SELECT enrich_contact($1) IS NOT NULL"),
        (4, "SELECT status = 'enriched' FROM enrich_contacts(ARRAY[$1]::uuid[])"),
    ] {
        world.run("UPDATE crm SET linkedin_url = NULL WHERE linkedin_url LIKE 'other%'");
        caller.warnings();
        let mut transaction = caller.client.transaction().unwrap();
        transaction.batch_execute(&taken_twice).unwrap();
        assert!(transaction.query_one(sql, &[&contact(n)]).unwrap().get::<_, bool>(0));
        transaction.batch_execute(&mended).unwrap();
        transaction.commit().unwrap();
        assert_eq!(caller.warnings().len(), 0, "{sql}");
        let filled = format!("SELECT count(linkedin_url) FROM crm WHERE id = '{}'", contact(n));
        assert_eq!(world.number(&filled), 1, "{sql}");
    }
    // Not mended: it is the commit that says so.
    let mut transaction = caller.client.transaction().unwrap();
    transaction.batch_execute(&taken_twice).unwrap();
    transaction.query_one("SELECT enrich_contact($1)", &[&contact(5)]).unwrap();
    assert_eq!(fails(transaction.commit()).sqlstate, "23505");
    caller.check("a commit that failed");
}

#[test]
fn what_is_deferred_is_so_afterwards_and_what_is_not_is_not() {
    let world = taken(6);
    let mut caller = Session::new(&world, "caller");
    let break_it = format!("UPDATE crm SET linkedin_url = '{PROFILE}' WHERE id = '{}'", contact(6));
    for (n, set, breaks_at_once) in [
        (1, "", false),
        (3, "SET CONSTRAINTS one_profile IMMEDIATE", true),
        (4, "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS one_profile DEFERRED", false),
    ] {
        let mut transaction = caller.client.transaction().unwrap();
        transaction.batch_execute(set).unwrap();
        transaction.query_one("SELECT enrich_contact($1)", &[&contact(n)]).unwrap();
        assert_eq!(transaction.batch_execute(&break_it).is_err(), breaks_at_once, "{set}");
        assert!(
            fails(transaction.commit().and_then(|()| caller.client.batch_execute("SELECT 1/0"))).sqlstate
                != "00000"
        );
        world.run("UPDATE crm SET phone = NULL");
    }
}

/// Also where a partition has it of its own, or another table refers to what is overwritten.
#[test]
fn of_partitions_and_of_tables_that_refer_to_it() {
    let world = world(1, &["leadlex.recheck_after = 0"]);
    world.run(&format!(
        "CREATE TABLE part (id int, email text, phone text, location text, job_title text, PRIMARY KEY (id),
                            UNIQUE (id, location) DEFERRABLE INITIALLY DEFERRED) PARTITION BY RANGE (id);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
         ALTER TABLE part_1 ADD CONSTRAINT own UNIQUE (location) DEFERRABLE INITIALLY DEFERRED;
         INSERT INTO part VALUES (1, 'a@acme.example', NULL, NULL), (2, NULL, NULL, 'New York, NY, US');
         CREATE TABLE lead (id int PRIMARY KEY, email text, phone text, job_title text UNIQUE);
         INSERT INTO lead VALUES (1, 'b@acme.example', NULL, 'Clerk');
         CREATE TABLE task (job text REFERENCES lead (job_title) DEFERRABLE INITIALLY DEFERRED); INSERT INTO task VALUES ('Clerk');
         GRANT SELECT, UPDATE ON part, lead TO caller;
         SELECT leadlex.bind_contacts(t, workspace_id => '{}') FROM unnest('{{part,lead}}'::regclass[]) AS t",
        world.workspace
    ));
    let mut caller = Session::new(&world, "caller");
    for (table, rest) in [("part", json!(["job_title", "phone"])), ("lead", json!(["phone"]))] {
        for way in [
            "SELECT enrich_row($1::text::regclass, '1', overwrite => true)->'fields_updated'",
            "SELECT to_jsonb(fields_updated) FROM enrich_rows($1::text::regclass, '{1}', overwrite => true)",
        ] {
            let updated: Value = caller.client.query_one(way, &[&table]).unwrap().get(0);
            assert_eq!(updated, rest, "{table} {way}");
            assert_eq!(caller.warnings().len(), 1, "{table} {way}");
            world.run(&format!("UPDATE {table} SET phone = NULL WHERE id = 1"));
            world.run("UPDATE part SET job_title = NULL");
        }
    }
    caller.check("partitions");
}

//! Rows of row triggers are queued together when their statement ends.

use super::*;
use crate::world::number;

const ROWS: &str = "ALTER ROLE keeper LOGIN; GRANT DELETE ON lead TO loader;
     CREATE TRIGGER enqueue AFTER INSERT OR UPDATE OF email ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert('phone');";

/// A world whose queue is paused: what is queued stays there.
fn paused(triggers: &str) -> World {
    let world = world(triggers);
    world.run("SELECT leadlex.pause_queue()");
    world
}

/// Rows of the queue, and contacts in them, as this session sees them.
fn queued(client: &mut Client) -> (i64, i64) {
    let sets = number(client, "SELECT count(*) FROM leadlex.job_set");
    (sets, number(client, "SELECT coalesce(sum(contacts), 0)::int8 FROM leadlex.job_set"))
}

#[test]
fn a_statement_with_a_row_trigger_writes_few_rows_of_the_queue() {
    let world = paused(ROWS);
    let mut loader = loader(&world);
    let mut owner = world.owner();
    loader.run(&insert(1, 1_200));
    assert_eq!(queued(&mut owner), (3, 1_200));
    let mut copy = loader.client.copy_in("COPY lead (email) FROM STDIN").unwrap();
    for n in 2_001..=2_700 {
        writeln!(copy, "lead{n}@acme.example").unwrap();
    }
    copy.finish().unwrap();
    assert_eq!(queued(&mut owner), (5, 1_900));
    // Those wait already.
    loader.run("UPDATE lead SET email = 'x' || email WHERE id <= 100");
    assert_eq!(queued(&mut owner), (5, 1_900));
    // Nothing else can be asked with.
    loader.run("DELETE FROM lead");
    world.run("DELETE FROM leadlex.job_set");
    loader.run(&insert(1, 3));
    world.run("DELETE FROM leadlex.job_set");
    loader.run("UPDATE lead SET email = email");
    assert_eq!(queued(&mut owner), (0, 0));
    assert_eq!(loader.warnings(), Vec::<String>::new());
    world.run("SELECT leadlex.resume_queue()");
    loader.run("UPDATE lead SET email = 'lead' || id || '@acme.example'");
    jobs(&world, "done", 3);
    assert_eq!(world.number("SELECT count(phone) FROM lead"), 3);
}

#[test]
fn what_a_savepoint_takes_back_is_not_queued_and_all_else_is() {
    let world = paused(ROWS);
    // As the owner of all, who sees the queue as the transaction does.
    let mut owner = world.owner();
    owner.batch_execute(&format!("BEGIN; {}; SAVEPOINT a; {}", insert(1, 10), insert(11, 30))).unwrap();
    assert_eq!(queued(&mut owner), (2, 30), "seen at once");
    owner.batch_execute(&format!("ROLLBACK TO a; {}; RELEASE a; COMMIT", insert(31, 33))).unwrap();
    assert_eq!(queued(&mut owner), (2, 13));
    owner.batch_execute(&format!("BEGIN; {}; ROLLBACK", insert(41, 50))).unwrap();
    assert_eq!(queued(&mut owner), (2, 13));
    // A statement of a function that catches its error: the rows of the failed one are gone.
    let function = "DO $$ BEGIN
            INSERT INTO lead (email) VALUES ('lead60@acme.example');
            BEGIN INSERT INTO lead (email) VALUES ('lead61@acme.example'), ('lead62@acme.example'), ('lead60@acme.example');
            EXCEPTION WHEN unique_violation THEN NULL; END;
            BEGIN INSERT INTO lead (email) VALUES ('lead63@acme.example'); RAISE division_by_zero;
            EXCEPTION WHEN division_by_zero THEN NULL; END;
            INSERT INTO lead (email) VALUES ('lead64@acme.example');
        END $$";
    owner.batch_execute(function).unwrap();
    assert_eq!(queued(&mut owner), (4, 15));
    let same = "SELECT count(*) FROM leadlex.job AS j FULL JOIN lead AS l ON j.contact_id = l.id::text WHERE j.contact_id IS NULL OR l.id IS NULL";
    assert_eq!(number(&mut owner, same), 0, "the rows that are there, and no others");
}

#[test]
fn rows_of_deferred_triggers_are_queued_before_the_commit() {
    let world = paused(
        "ALTER ROLE keeper LOGIN; CREATE CONSTRAINT TRIGGER late AFTER INSERT ON lead DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert('phone');",
    );
    let mut owner = world.owner();
    owner
        .batch_execute(&format!(
            "BEGIN; {}; SAVEPOINT a; {}; ROLLBACK TO a",
            insert(1, 600),
            insert(601, 700)
        ))
        .unwrap();
    assert_eq!(queued(&mut owner), (0, 0));
    owner.batch_execute("COMMIT").unwrap();
    assert_eq!(queued(&mut owner), (2, 600));
    owner
        .batch_execute(&format!(
            "BEGIN; SAVEPOINT a; {0}; SET CONSTRAINTS late IMMEDIATE; ROLLBACK TO a; {0}; COMMIT",
            insert(701, 710)
        ))
        .unwrap();
    assert_eq!(queued(&mut owner), (3, 610));
    world.run("SELECT leadlex.resume_queue()");
    jobs(&world, "done", 610);
    // What cannot be queued is a warning, and fails nothing.
    let (mut client, told) = world.listening("postgres");
    world.run("SELECT leadlex.unbind_contacts('lead')");
    client.batch_execute(&insert(801, 805)).unwrap();
    let warnings = told.take();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].detail.contains("is not bound"), "{:?}", warnings[0].detail);
}

#[test]
fn a_function_of_another_trigger_does_not_divide_the_rows_of_a_statement() {
    let world = paused(ROWS);
    world.run(
        "CREATE TABLE audit (n bigint);
         CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
             BEGIN
                 BEGIN INSERT INTO audit VALUES (NEW.id); PERFORM 1 / (NEW.id % 2); EXCEPTION WHEN division_by_zero THEN NULL; END;
                 RETURN NULL;
             END $$;
         CREATE TRIGGER zz AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION audited()",
    );
    let mut loader = loader(&world);
    loader.run(&insert(1, 50));
    assert_eq!(queued(&mut world.owner()), (1, 50));
    assert_eq!(loader.warnings(), Vec::<String>::new());
}

/// Columns of types that are shown in a way of their own: each row is queued by itself.
#[test]
fn rows_of_a_type_that_may_refuse_to_be_shown_fail_nothing() {
    let world = paused(ROWS);
    world.run(&format!(
        "CREATE TABLE daily (id date PRIMARY KEY, phone text, email text); ALTER TABLE daily OWNER TO keeper;
         GRANT INSERT ON daily TO loader; SELECT leadlex.bind_contacts('daily', workspace_id => '{}');
         CREATE TRIGGER q AFTER INSERT ON daily FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert()",
        world.workspace
    ));
    let mut loader = loader(&world);
    loader.run("INSERT INTO daily (id, email) SELECT date '2026-01-01' + n, 'lead' || n || '@acme.example' FROM generate_series(1, 5) AS n");
    assert_eq!(queued(&mut world.owner()), (5, 5));
    assert_eq!(loader.warnings(), Vec::<String>::new());
}

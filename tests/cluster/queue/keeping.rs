//! How long jobs are kept, and what is erased of them.

use super::*;
use serde_json::Value;

#[test]
fn done_jobs_go_after_their_time_and_dead_ones_stay() {
    let world = world(&Beginning { conf: &["leadlex.job_retention = 2"], ..Beginning::default() });
    world.run(
        "CREATE FUNCTION no_third() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.phone LIKE '%person3@%' THEN RAISE EXCEPTION 'not him'; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER no_third BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION no_third()",
    );
    enqueue(&mut world.caller(), 1..=3);
    wait_for(&world, "dead", 1);
    let done = "SELECT count(*) FROM leadlex.job WHERE state = 'done'";
    assert_eq!(world.number(done), 2);
    eventually("the done ones are gone", SOON, || world.number(done) == 0);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 1);
}

#[test]
fn forgetting_a_contact_takes_it_out_of_the_queue() {
    let world = world(&Beginning::default());
    enqueue(&mut world.caller(), 1..=2);
    wait_for(&world, "done", 2);
    pause(&world);
    enqueue(&mut world.caller(), 1..=4);
    // For more than before: that is another job.
    world.caller().execute("SELECT leadlex.enqueue($1, overwrite => true)", &[&vec![contact(2)]]).unwrap();
    let names = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM leadlex.job WHERE state = 'queued' AND contact_id <> $1";
    let two = contact(2).to_string();
    let before: String = world.owner().query_one(names, &[&two]).unwrap().get(0);
    let sql = "SELECT leadlex.forget_contact($1)";
    let erased: Value = world.caller().query_one(sql, &[&contact(2)]).unwrap().get(0);
    assert_eq!(erased["jobs"], 3, "{erased}");
    let left = "SELECT count(*) FROM leadlex.job_set WHERE $1 = ANY (contact_ids) OR contacts <> cardinality(contact_ids) OR contacts = 0";
    let left: i64 = world.owner().query_one(left, &[&two]).unwrap().get(0);
    assert_eq!(left, 0);
    let after: String = world.owner().query_one(names, &[&two]).unwrap().get(0);
    assert_eq!(after, before, "the others keep their names");
    resume(&world);
    wait_for(&world, "done", 4);
    assert_eq!(asked_about(&world, 2), 1);
}

#[test]
fn a_key_is_queued_once_however_it_is_spelled_and_forgotten_so() {
    let world = world(&Beginning::default());
    world.run(
        "CREATE TABLE account (id numeric PRIMARY KEY, email text, phone text);
         INSERT INTO account VALUES (1.0, 'one@acme.example'), (2, 'two@acme.example');
         SELECT leadlex.bind_contacts('account'); GRANT SELECT, UPDATE ON account TO caller",
    );
    pause(&world);
    let mut caller = world.caller();
    let sql = "SELECT leadlex.enqueue_rows('account', '{1, 1.00, 1.0, 2.000}')";
    assert_eq!(number(&mut caller, sql), 2);
    let ids = "SELECT string_agg(contact_id, ' ' ORDER BY contact_id) FROM leadlex.job";
    let queued: String = world.owner().query_one(ids, &[]).unwrap().get(0);
    assert_eq!(queued, "1.0 2", "as the table has them");
    let sql = "SELECT leadlex.forget_row('account', '1.000')";
    let erased: Value = caller.query_one(sql, &[]).unwrap().get(0);
    assert_eq!((&erased["contact_id"], &erased["jobs"]), (&"1.0".into(), &1.into()));
}

//! What fails is tried again, or given up visibly.

use super::*;
use crate::support::Response;
use crate::world::credits;
use serde_json::json;

fn fails_with(world: &World, status: u16) {
    world.provider.on(PATH, move |_| Behaviour::json(status, json!({})));
}

#[test]
fn a_provider_that_is_down_is_asked_again_and_again() {
    let world = world(&Beginning::default());
    fails_with(&world, 503);
    enqueue(&mut world.caller(), 1..=2);
    world.provider.wait_for(6, SOON);
    answers(&world);
    wait_for(&world, "done", 2);
    assert!(world.number("SELECT min(attempts)::int8 FROM leadlex.job") >= 3);
    assert_eq!(credits(&mut world.caller()), Some(8));
    world.check_credits_add_up();
}

#[test]
fn after_so_many_attempts_a_job_is_given_up_until_somebody_says_otherwise() {
    let world = world(&Beginning { conf: &["leadlex.job_max_attempts = 3"], ..Beginning::default() });
    fails_with(&world, 503);
    enqueue(&mut world.caller(), 1..=2);
    wait_for(&world, "dead", 2);
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job"), 3);
    assert_eq!((asked_about(&world, 1), asked_about(&world, 2)), (3, 3));
    let error = last_error(&world, "dead");
    assert!(error.starts_with("provider_unavailable: ") && error.contains("503"), "{error}");
    assert_eq!(
        world.number(
            "SELECT count(*) FROM leadlex.job WHERE finished_at IS NULL OR next_attempt_at IS NOT NULL"
        ),
        0
    );
    answers(&world);
    assert_eq!(number(&mut world.caller(), "SELECT leadlex.retry_jobs(relation => 'crm')"), 2);
    wait_for(&world, "done", 2);
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job"), 1);
}

#[test]
fn a_provider_that_asks_for_patience_gets_it() {
    let world = world(&Beginning::default());
    world.provider.on(PATH, |_| {
        let mut response = Response::json(429, &json!({}));
        response.headers.push(("Retry-After".to_owned(), "3".to_owned()));
        Behaviour::Answer(response)
    });
    enqueue(&mut world.caller(), 1..=1);
    world.provider.wait_for(1, SOON);
    let asked = Instant::now();
    answers(&world);
    wait_for(&world, "queued", 1);
    let wait = "SELECT EXTRACT(epoch FROM next_attempt_at - started_at)::int8 FROM leadlex.job";
    assert!(world.number(wait) >= 3, "{}", world.number(wait));
    wait_for(&world, "done", 1);
    assert!(asked.elapsed() >= Duration::from_millis(2_800), "{:?}", asked.elapsed());
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn jobs_wait_for_credits() {
    let world = world(&Beginning {
        credits: Some(2),
        conf: &["leadlex.job_max_attempts = 1", "leadlex.credit_wait = 0"],
        ..Beginning::default()
    });
    enqueue(&mut world.caller(), 1..=4);
    wait_for(&world, "done", 2);
    wait_for(&world, "queued", 2);
    assert!(last_error(&world, "queued").starts_with("insufficient_credits: "));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        world.number("SELECT count(*) FROM leadlex.job WHERE state <> 'dead'"),
        4,
        "waiting is no attempt"
    );
    assert_eq!(world.provider.count(), 2);
    world.run("SELECT leadlex.grant_credits(id, 5) FROM leadlex.workspace");
    wait_for(&world, "done", 4);
    assert_eq!(credits(&mut world.caller()), Some(3));
    world.check_credits_add_up();
}

#[test]
fn jobs_wait_for_the_rate_limit() {
    let world = world(&Beginning {
        contacts: 600,
        credits: None,
        conf: &["leadlex.job_max_attempts = 1"],
        ..Beginning::default()
    });
    world.run("SELECT leadlex.set_rate_limit(2, NULL)");
    enqueue(&mut world.caller(), 1..=600);
    wait_for(&world, "done", 2);
    wait_for(&world, "queued", 598);
    let limited = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND attempts = 0
                   AND last_error LIKE 'rate_limited: %' AND next_attempt_at BETWEEN now() + '20 s' AND now() + '65 s'";
    assert_eq!(world.number(limited), 498, "the second set was not even begun");
    world.run("SELECT leadlex.set_rate_limit(NULL, NULL)");
    assert_eq!(world.number("SELECT leadlex.retry_jobs('queued')"), 598);
    wait_for(&world, "done", 600);
}

#[test]
fn a_row_that_cannot_be_written_spoils_no_other() {
    let world = world(&Beginning::default());
    world.run(
        "ALTER TABLE crm ADD CONSTRAINT no_third CHECK (note <> 'third');
         CREATE FUNCTION third() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.phone LIKE '%person3@%' THEN NEW.note := 'third'; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER third BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION third();",
    );
    enqueue(&mut world.caller(), 1..=5);
    wait_for(&world, "done", 4);
    wait_for(&world, "dead", 1);
    assert!(last_error(&world, "dead").starts_with("23514: "), "{}", last_error(&world, "dead"));
    world.check_credits_add_up();
}

/// What is found wrong only at the commit speaks of no row: the set is tried in halves, from what was paid for.
#[test]
fn a_row_that_is_refused_at_the_commit_spoils_no_other() {
    let world = world(&Beginning::default());
    world.run(
        "CREATE FUNCTION no_third() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.phone LIKE '%person3@%' THEN RAISE EXCEPTION 'not him' USING ERRCODE = 'ZZ001'; END IF;
             RETURN NEW;
         END $$;
         CREATE CONSTRAINT TRIGGER no_third AFTER UPDATE ON crm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no_third();",
    );
    enqueue(&mut world.caller(), 1..=7);
    wait_for(&world, "done", 6);
    wait_for(&world, "dead", 1);
    assert_eq!(last_error(&world, "dead"), "ZZ001: not him");
    assert_eq!((filled(&world), world.provider.count()), (6, 7), "nobody was asked about twice");
    assert_eq!(credits(&mut world.caller()), Some(4));
    world.check_credits_add_up();

    // The same, had they been queued one by one.
    world.run("UPDATE crm SET phone = NULL WHERE phone IS NOT NULL; DELETE FROM leadlex.job_set");
    world.owner().execute("SELECT leadlex.grant_credits($1, 10)", &[&world.workspace]).unwrap();
    enqueue_one_by_one(&world, 1..=7);
    wait_for(&world, "done", 6);
    wait_for(&world, "dead", 1);
    assert_eq!(last_error(&world, "dead"), "ZZ001: not him");
    assert_eq!((filled(&world), world.provider.count()), (6, 7), "nobody was asked about twice");
    assert_eq!(credits(&mut world.caller()), Some(8));
    world.check_credits_add_up();
}

/// Whatever SQLSTATE a trigger of the table chooses, it speaks of one row.
#[test]
fn an_error_of_one_row_is_that_of_one_row_whatever_its_code() {
    let conf = &["leadlex.job_max_attempts = 2", "leadlex.job_retry_base = '50ms'"];
    let world = world(&Beginning { conf, ..Beginning::default() });
    world.run(
        "CREATE TABLE raising (code text); GRANT SELECT ON raising TO caller;
         CREATE FUNCTION no_third() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.phone LIKE '%person3@%' THEN
                 RAISE EXCEPTION 'not him' USING ERRCODE = (SELECT code FROM public.raising);
             END IF;
             RETURN NEW;
         END $$;
         CREATE CONSTRAINT TRIGGER no_third AFTER UPDATE ON crm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no_third();",
    );
    for (round, code) in ["42501", "0A000", "XX000", "57014"].into_iter().enumerate() {
        world.run(&format!(
            "DELETE FROM raising; INSERT INTO raising VALUES ('{code}'); DELETE FROM leadlex.job_set;
             UPDATE crm SET phone = NULL"
        ));
        world.owner().execute("SELECT leadlex.grant_credits($1, 10)", &[&world.workspace]).unwrap();
        match round % 2 {
            0 => drop(enqueue(&mut world.caller(), 1..=5)),
            _ => enqueue_one_by_one(&world, 1..=5),
        }
        wait_for(&world, "done", 4);
        wait_for(&world, "dead", 1);
        assert_eq!(last_error(&world, "dead"), format!("{code}: not him"));
    }
    assert_eq!(world.provider.count(), 5);
    world.check_credits_add_up();
}

#[test]
fn a_conflict_with_somebody_else_is_tried_again() {
    let world = world(&Beginning { conf: &["leadlex.job_retry_max = '500ms'"], ..Beginning::default() });
    let mut person = world.owner();
    let mut editing = person.transaction().unwrap();
    editing.execute("UPDATE crm SET note = 'being edited' WHERE id = $1", &[&contact(1)]).unwrap();
    enqueue(&mut world.caller(), 1..=2);
    eventually("the worker has waited in vain", 2 * SOON, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE last_error LIKE '55P03: %'") > 0
    });
    editing.commit().unwrap();
    wait_for(&world, "done", 2);
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn a_table_that_is_gone_for_a_while_is_waited_for() {
    let world = world(&Beginning::default());
    pause(&world);
    enqueue(&mut world.caller(), 1..=2);
    world.run("ALTER TABLE crm RENAME TO crm_old");
    resume(&world);
    eventually("it was tried", SOON, || {
        world.number("SELECT coalesce(min(attempts), 0)::int8 FROM leadlex.job WHERE state = 'queued'") >= 1
    });
    assert!(last_error(&world, "queued").contains("the table \"public\".\"crm\" does not exist"));
    world.run("ALTER TABLE crm_old RENAME TO crm");
    wait_for(&world, "done", 2);
}

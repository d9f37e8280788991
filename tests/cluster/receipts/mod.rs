//! What a provider answered is kept, whatever becomes of the transaction that asked.

mod forgetting;
mod held_up;

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use crate::support::{Behaviour, Stop, eventually, person};
use crate::world::{
    Beginning, PATH, PHONE, World, contact, credits, enrich, number, only_phone, pid, sqlstate, try_enrich,
};

const SOON: Duration = Duration::from_secs(10);

fn world(conf: &[&str]) -> World {
    World::with(&Beginning { conf, ..Beginning::default() })
}

fn run(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

fn receipts(world: &World) -> i64 {
    world.number("SELECT count(*) FROM leadlex.receipt")
}

fn status(world: &World, column: &str) -> i64 {
    let sql = format!("SELECT sum({column})::int8 FROM leadlex.worker_status WHERE database = 'app'");
    let row = world.owner().query_one(&sql, &[]).unwrap();
    row.get::<_, Option<i64>>(0).unwrap_or(0)
}

fn wait_for_receipts(world: &World, count: i64) {
    eventually("the worker has written the receipts", SOON, || receipts(world) == count);
}

/// No worker can start: what is found is found in shared memory.
const NO_WORKER: &str = "max_worker_processes = 1";

#[test]
fn an_answer_survives_the_rollback_and_is_not_asked_for_again() {
    for conf in [&["leadlex.worker_naptime = 1"], &[NO_WORKER]] {
        let world = world(conf);
        let mut caller = world.caller();
        let mut transaction = caller.transaction().unwrap();
        assert_eq!(enrich(&mut transaction, 1).unwrap()["contact"]["phone"], PHONE);
        transaction.rollback().unwrap();
        assert_eq!((world.phone(1), credits(&mut caller), world.provider.count()), (None, Some(10), 1));
        // At once, from another session.
        let result = enrich(&mut world.caller(), 1).unwrap();
        assert_eq!((&result["contact"]["phone"], &result["source"]), (&json!(PHONE), &json!("main")));
        assert_eq!((&result["confidence"], &result["credits_remaining"]), (&json!(0.9), &json!(9)));
        assert_eq!(world.provider.count(), 1, "the answer was paid for");
        if conf == &["leadlex.worker_naptime = 1"] {
            wait_for_receipts(&world, 1);
        }
    }
}

#[test]
fn an_exception_block_and_a_savepoint_do_not_lose_it_either() {
    let world = world(&[]);
    let mut caller = world.caller();
    let sql = "DO $$ BEGIN
                 BEGIN PERFORM enrich_contact($id$ID$id$); RAISE division_by_zero;
                 EXCEPTION WHEN division_by_zero THEN NULL; END;
                 PERFORM enrich_contact($id$ID$id$);
               END $$";
    run(&mut caller, &sql.replace("ID", &contact(1).to_string()));
    let call = format!("SELECT enrich_contact('{}')", contact(2));
    run(&mut caller, &format!("BEGIN; SAVEPOINT a; {call}; ROLLBACK TO a; {call}; COMMIT"));
    assert_eq!(world.provider.count(), 2);
    assert_eq!((world.phone(1).as_deref(), world.phone(2).as_deref()), (Some(PHONE), Some(PHONE)));
    world.check_credits_add_up();
    assert_eq!(credits(&mut caller), Some(8));
}

#[test]
fn written_receipts_answer_after_a_restart() {
    let world = world(&[]);
    let mut caller = world.caller();
    run(&mut caller, &format!("BEGIN; SELECT enrich_contact('{}'); ROLLBACK", contact(1)));
    wait_for_receipts(&world, 1);
    for how in [Stop::Fast, Stop::Immediate] {
        world.cluster.restart(how);
        run(&mut world.caller(), &format!("BEGIN; SELECT enrich_contact('{}'); ROLLBACK", contact(1)));
    }
    assert_eq!(enrich(&mut world.caller(), 1).unwrap()["credits_remaining"], 9);
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn an_answer_that_comes_after_the_cancel_is_kept() {
    let world = world(&[NO_WORKER]);
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(900)));
    let mut caller = world.caller();
    world.abandon(&mut caller, 1);
    assert_eq!(status(&world, "receipts_waiting"), 0);
    eventually("it comes while the session does nothing", SOON, || status(&world, "receipts_waiting") == 1);
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], PHONE, "and is used");
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn a_session_that_is_terminated_loses_its_answer_and_nothing_else() {
    let world = world(&[]);
    world.provider.on(PATH, |_| Behaviour::Never);
    let mut caller = world.caller();
    let pid = pid(&mut caller);
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1));
        world.provider.wait_for(1, SOON);
        world.run(&format!("SELECT pg_terminate_backend({pid})"));
        // The client library may see the end of the connection first.
        let error = call.join().unwrap().unwrap_err();
        assert!(error.is_closed() || sqlstate::<()>(&Err(error)) == "57P01");
    });
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    assert_eq!(enrich(&mut world.caller(), 1).unwrap()["credits_remaining"], 9);
    assert_eq!(world.provider.count(), 2);
    assert!(world.cluster.is_running() && !world.cluster.log().contains("terminated by signal"));
}

#[test]
fn no_match_is_remembered_without_personal_data() {
    let world = world(&[]);
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let mut caller = world.caller();
    for _ in 0..2 {
        assert_eq!(try_enrich(&mut caller, 1)["error"]["reason"], "no_data");
    }
    assert_eq!(world.provider.count(), 1);
    wait_for_receipts(&world, 1);
    assert_eq!(try_enrich(&mut caller, 1)["error"]["reason"], "no_data");
    assert_eq!(world.provider.count(), 1);
    let row: Value =
        world.owner().query_one("SELECT to_jsonb(r) FROM leadlex.receipt AS r", &[]).unwrap().get(0);
    assert_eq!(
        (&row["matched"], &row["answer"], &row["person"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    assert!(!row.to_string().contains("acme.example") && !row.to_string().contains("Person"), "{row}");
    // To overwrite is to ask anew; so is to ask when more is known.
    let again = "SELECT try_enrich_contact($1, overwrite => true)";
    let result: Value = caller.query_one(again, &[&contact(1)]).unwrap().get(0);
    assert_eq!((&result["error"]["reason"], world.provider.count()), (&json!("no_data"), 2));
    world.run("UPDATE crm SET company_name = 'Acme'");
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], PHONE);
    assert_eq!(world.provider.count(), 3);
}

#[test]
fn what_a_provider_did_not_have_is_not_asked_for_again() {
    let world = world(&[]);
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+15550100999")));
    let mut caller = world.caller();
    assert_eq!(enrich(&mut caller, 1).unwrap()["fields_updated"], json!(["phone"]));
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["fields_updated"], &result["source"]), (&json!([]), &json!("main")));
    // Also long after the answer itself is gone.
    wait_for_receipts(&world, 1);
    run(&mut caller, "SET leadlex.receipt_ttl = '1us'; SET leadlex.receipt_ttl = 0");
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["fields_updated"], &result["source"]), (&json!([]), &json!("main")));
    assert_eq!((world.provider.count(), credits(&mut caller)), (1, Some(9)));
    run(&mut caller, "SET leadlex.recheck_after = 0");
    enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn another_question_is_asked() {
    let world = world(&[]);
    let mut caller = world.caller();
    let mut asked = |change: &str| {
        world.run(change);
        let before = world.provider.count();
        run(&mut caller, &format!("BEGIN; SELECT enrich_contact('{}'); ROLLBACK", contact(1)));
        world.provider.count() - before
    };
    assert_eq!(asked(""), 1);
    assert_eq!(asked(""), 0);
    assert_eq!(asked("UPDATE crm SET email = 'other@acme.example'"), 1);
    assert_eq!(
        asked("SELECT leadlex.alter_provider('main', secret => 'another')"),
        0,
        "the secret is no part of it"
    );
    assert_eq!(asked("SELECT leadlex.alter_provider('main', config => '{\"timeout_ms\": 4000}')"), 0);
    let config = r#"{"response": {"fields": {"phone": "/data/mobile"}}}"#;
    assert_eq!(asked(&format!("SELECT leadlex.alter_provider('main', config => '{config}')")), 1);
}

/// The provider is asked by what stands first of these, and knows a title of everybody by it.
fn identified_by(world: &World, sets: &Value) {
    let mut config = world.provider.config(PATH);
    config["identify_by"] = sets.clone();
    config["request"]["query"] = json!({"email": "{email}", "phone": "{phone}", "profile": "{linkedin_url}"});
    let sql = "SELECT leadlex.alter_provider('main', config => $1)";
    world.owner().execute(sql, &[&config]).unwrap();
}

#[test]
fn people_who_share_a_weaker_identifier_are_not_the_same() {
    let world = world(&[]);
    identified_by(&world, &json!([["email"], ["phone"]]));
    world.provider.on(PATH, |request| {
        let who = request.param("email").unwrap_or("the reception");
        Behaviour::json(200, json!({"data": {"job_title": who}}))
    });
    world.run(&format!(
        "UPDATE crm SET phone = '+1 202 555 0123', full_name = 'The Reception'; UPDATE crm SET email = NULL WHERE id IN ('{}', '{}')",
        contact(1),
        contact(2)
    ));
    let mut caller = world.caller();
    let title = |result: Value| result["contact"]["job_title"].clone();
    assert_eq!(title(enrich(&mut caller, 1).unwrap()), "the reception");
    assert_eq!(title(enrich(&mut caller, 3).unwrap()), "person3@acme.example");
    assert_eq!(world.provider.count(), 2);
    // In a set they do not wait for each other, and those that are the same are still asked about once.
    let ids: Vec<_> = (1..=6).map(contact).collect();
    let sql =
        "SELECT sum(contacts)::int8 FROM leadlex.estimate('crm', $1::uuid[]::text[]) WHERE outcome = 'asked'";
    let asked: i64 = caller.query_one(sql, &[&ids]).unwrap().get(0);
    let sql = "SELECT count(*) FILTER (WHERE status = 'enriched') FROM enrich_contacts($1, '{job_title}')";
    let enriched: i64 = caller.query_one(sql, &[&ids]).unwrap().get(0);
    assert_eq!((asked, enriched, world.provider.count()), (3, 4, 5));
    let wrong = "SELECT count(*) FROM crm WHERE job_title <> coalesce(email, 'the reception')";
    assert_eq!(world.number(wrong), 0);
}

#[test]
fn what_an_answer_filled_in_does_not_make_it_another_question() {
    let world = world(&["leadlex.receipt_ttl = '2s'"]);
    identified_by(&world, &json!([["linkedin_url"], ["email"]]));
    let profile = "https://www.linkedin.com/in/ada";
    world.provider.on(PATH, move |_| Behaviour::json(200, json!({"data": {"linkedin_url": profile}})));
    let mut caller = world.caller();
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["linkedin_url"], profile);
    assert_eq!(enrich(&mut caller, 1).unwrap()["fields_updated"], json!([]));
    assert_eq!(world.provider.count(), 1, "the answer is known");
    // With somebody else's profile it is somebody else.
    world.run(&format!(
        "UPDATE crm SET email = 'person1@acme.example', linkedin_url = 'https://www.linkedin.com/in/bob' WHERE id = '{}'",
        contact(2)
    ));
    enrich(&mut caller, 2).unwrap();
    assert_eq!(world.provider.count(), 2);
    // When only is known what it lacked.
    eventually("the answers are over", SOON, || {
        world.number("SELECT count(*) FROM leadlex.receipt WHERE answer IS NULL") == 2
    });
    let _ = try_enrich(&mut caller, 1);
    assert_eq!(world.provider.count(), 2, "what it did not have is known");
}

#[test]
fn workspaces_do_not_share_receipts() {
    let world = world(&[]);
    let mut owner = world.owner();
    run(
        &mut owner,
        "CREATE ROLE rival LOGIN; CREATE TABLE theirs (LIKE crm INCLUDING ALL); INSERT INTO theirs SELECT * FROM crm; GRANT SELECT, UPDATE ON theirs TO rival",
    );
    run(
        &mut owner,
        "SELECT leadlex.grant_access('rival', leadlex.create_workspace('rival', 5, 'unmetered'))",
    );
    run(
        &mut owner,
        "SELECT leadlex.bind_contacts('theirs', workspace_id => (SELECT id FROM leadlex.workspace WHERE name = 'rival'))",
    );
    enrich(&mut world.caller(), 1).unwrap();
    let mut rival = world.cluster.connect_as("app", "rival");
    rival.query_one("SELECT enrich_row('theirs', $1)", &[&contact(1).to_string()]).unwrap();
    assert_eq!(world.provider.count(), 2);
    for table in ["leadlex.receipt", "leadlex.idempotency"] {
        let refused = rival.query(&format!("SELECT * FROM {table}"), &[]);
        assert_eq!(sqlstate(&refused), "42501", "{table} is the owner's only");
    }
}

#[test]
fn nothing_is_kept_when_receipts_are_off() {
    let world = world(&["leadlex.receipt_ttl = 0", "leadlex.recheck_after = 0"]);
    let mut caller = world.caller();
    for count in 1..=3 {
        run(&mut caller, &format!("BEGIN; SELECT enrich_contact('{}'); ROLLBACK", contact(1)));
        assert_eq!(world.provider.count(), count);
    }
    world.settle();
    assert_eq!((receipts(&world), status(&world, "receipts_waiting")), (0, 0));
}

#[test]
fn expired_receipts_lose_their_personal_data_and_then_go() {
    let world = world(&[]);
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+15550100999")));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    enrich(&mut caller, 2).unwrap();
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    try_enrich(&mut caller, 3);
    wait_for_receipts(&world, 3);
    let personal = "SELECT count(*) FROM leadlex.receipt WHERE answer IS NOT NULL OR person IS NOT NULL";
    assert_eq!(world.number(personal), 2);
    // A short life is looked after more often, also where nothing else happens.
    world.cluster.set("leadlex.receipt_ttl", "1s");
    eventually("the answers are gone", SOON, || world.number(personal) == 0);
    // The second had everything: it has nothing left to say.
    wait_for_receipts(&world, 2);
    world.cluster.set("leadlex.recheck_after", "1s");
    wait_for_receipts(&world, 0);
}

#[test]
fn a_full_buffer_warns_and_goes_on() {
    let world = world(&[NO_WORKER, "leadlex.receipt_buffer = '64kB'"]);
    let mut owner = world.owner();
    run(
        &mut owner,
        "INSERT INTO crm (id, email) SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'p' || n || '@acme.example' FROM generate_series(11, 400) AS n",
    );
    run(&mut owner, &format!("SELECT leadlex.grant_credits('{}'::uuid, 1000)", world.workspace));
    let (mut caller, told) = world.listening("caller");
    let mut n = 0;
    while told.messages().is_empty() && n < 400 {
        n += 1;
        assert_eq!(enrich(&mut caller, n).unwrap()["contact"]["phone"], PHONE);
    }
    let warning = told.messages().first().cloned().expect("a warning before 400 answers");
    assert!(
        warning.contains("provider main") && warning.contains("leadlex.receipt_buffer is full"),
        "{warning}"
    );
    assert!(n > 20, "64 kB hold more than {n} answers");
    assert_eq!(status(&world, "receipts_dropped"), 1);
    assert_eq!(status(&world, "receipts_waiting"), i64::from(n) - 1);
    assert_eq!(world.ledger().charges, i64::from(n), "every call was answered and charged");

    // A set loses many, and says so once.
    let before = told.messages().len();
    let ids = "SELECT array_agg(id ORDER BY id) FROM crm WHERE phone IS NULL AND email LIKE 'p%'";
    let sql = format!("SELECT count(*) FROM enrich_contacts(({ids})) WHERE status = 'enriched'");
    let enriched = number(&mut caller, &sql);
    assert!(enriched > 20, "{enriched}");
    assert_eq!(status(&world, "receipts_dropped"), 1 + enriched);
    let warnings = told.messages().split_off(before);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("leadlex.receipt_buffer is full"), "{warnings:?}");
}

#[test]
fn a_request_key_marks_repetitions_of_one_request() {
    let world = world(&[]);
    let mut config = world.provider.config(PATH);
    config["idempotency_header"] = json!("Idempotency-Key");
    world.run(&format!("SELECT leadlex.alter_provider('main', config => '{config}')"));
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})));
    let mut caller = world.caller();
    let mut ask = |sql: &str| {
        let result: Value = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
        let key =
            world.provider.requests().last().unwrap().header("idempotency-key").expect("sent").to_owned();
        (result, key)
    };
    let (_, first) = ask("SELECT try_enrich_contact($1)");
    let (_, second) = ask("SELECT try_enrich_contact($1)");
    assert_eq!(first, second, "a request that failed is the same one when it is repeated");
    let (_, other) = ask("SELECT try_enrich_contact($1, '{phone}')");
    assert_ne!(first, other);
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let (_, third) = ask("SELECT try_enrich_contact($1)");
    assert_eq!(first, third);
    wait_for_receipts(&world, 1);
    let (_, anew) = ask("SELECT try_enrich_contact($1, overwrite => true)");
    assert_ne!(first, anew, "a question that was answered and is put again on purpose is another request");
    assert_eq!(world.provider.count(), 5);
    let refused = world.owner().batch_execute(
        "SELECT leadlex.alter_provider('main', config => '{\"idempotency_header\": \"X-Api-Key\"}')",
    );
    assert_eq!(sqlstate(&refused), "22023");
}

#[test]
fn what_calls_leave_is_of_the_present_form_and_nothing_of_the_former_is_looked_for() {
    let world = World::new();
    enrich(&mut world.caller(), 1).unwrap();
    eventually("the receipt is in the tables", Duration::from_secs(30), || {
        world.number("SELECT count(*) FROM leadlex.receipt") == 1
    });
    assert_eq!(world.number("SELECT count(*) FROM leadlex.receipt WHERE former"), 0);
    let page = world.number("SELECT current_setting('block_size')::int8");
    assert_eq!(world.number("SELECT pg_relation_size('leadlex.receipt_former')"), page);
    // One that a dump of an earlier version brings makes all sessions look for such.
    world.run(
        "INSERT INTO leadlex.receipt (workspace_id, question, answered_at, provider_id, known, matched, lacking)
         VALUES (gen_random_uuid(), gen_random_uuid(), now(), gen_random_uuid(), gen_random_uuid(), false, '{}')",
    );
    assert!(world.number("SELECT pg_relation_size('leadlex.receipt_former')") > page);
}

#[test]
fn calls_that_follow_each_other_share_the_workers_transactions() {
    let calls = 300;
    // A disk on which each commit takes 5 ms, so that an answer comes while the worker writes the one before.
    let conf = ["fsync = on", "commit_delay = 5000", "commit_siblings = 0"];
    let credits = Some(i64::from(calls));
    let world = World::with(&Beginning { contacts: calls, credits, conf: &conf, ..Beginning::default() });
    let mut caller = world.caller();
    let begun = Instant::now();
    for n in 1..=calls {
        enrich(&mut caller, n).unwrap();
    }
    let took = begun.elapsed();
    wait_for_receipts(&world, i64::from(calls));
    let transactions = world.number("SELECT count(DISTINCT xmin::text) FROM leadlex.receipt");
    // It looks every 20 ms, and now and then because it is called for.
    let looks = took.as_millis() as i64 / 20 + 10;
    assert!(transactions <= looks, "{transactions} for {calls} calls in {took:?}");
}

//! leadlex.stop() and leadlex.resume(): from the commit on no request, whoever would send it.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Listener, PROMPT, detail};
use crate::support::{Behaviour, Failure, Stop, eventually};
use crate::world::{
    Beginning, PATH, World, contact, enrich, enrich_with_key, number, only_phone, sqlstate, try_enrich,
};

const SOON: Duration = Duration::from_secs(30);

/// Everybody has a phone, after a while; when requests came.
fn answers(world: &World, after: Duration) -> Arc<Mutex<Vec<Instant>>> {
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = Arc::clone(&times);
    world.provider.on(PATH, move |request| {
        seen.lock().unwrap().push(Instant::now());
        let email = request.param("email").unwrap_or("nobody");
        Behaviour::json(200, only_phone(&format!("+1202555 {email}"))).after(after)
    });
    times
}

fn stop(world: &World) -> Instant {
    world.run("SELECT leadlex.stop('the vendor bills us twice')");
    Instant::now()
}

fn resume(world: &World) {
    world.run("SELECT leadlex.resume()");
}

/// Status and message of each contact of a set.
fn set(client: &mut Client, numbers: impl IntoIterator<Item = i32>) -> Vec<(String, Option<String>)> {
    let ids: Vec<Uuid> = numbers.into_iter().map(contact).collect();
    let rows = client.query("SELECT status, error_message FROM enrich_contacts($1)", &[&ids]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn is_stopped(line: &(String, Option<String>)) -> bool {
    line.0 == "failed"
        && line.1.as_deref() == Some("provider_unavailable: stopped: the vendor bills us twice")
}

#[test]
fn with_480_contacts_running_no_request_is_later_than_a_second() {
    let beginning = Beginning { contacts: 600, credits: Some(10_000), ..Beginning::default() };
    let world = World::with(&beginning);
    let times = answers(&world, Duration::from_millis(300));
    // Four sets of 60, and 240 contacts in the queue.
    let ids: Vec<Uuid> = (241..=480).map(contact).collect();
    world.caller().query_one("SELECT leadlex.enqueue($1)", &[&ids]).unwrap();
    let sets: Vec<_> = (0..4)
        .map(|n| {
            let mut caller = world.caller();
            thread::spawn(move || set(&mut caller, n * 60 + 1..=n * 60 + 60))
        })
        .collect();
    world.provider.wait_for(60, SOON);
    let stopped = stop(&world);
    let lines: Vec<_> = sets.into_iter().flat_map(|set| set.join().unwrap()).collect();
    assert!(stopped.elapsed() < Duration::from_secs(5), "sets ended after {:?}", stopped.elapsed());
    thread::sleep(Duration::from_secs(2));
    let asked = times.lock().unwrap().len();
    let late = times.lock().unwrap().iter().filter(|at| **at > stopped + Duration::from_secs(1)).count();
    assert_eq!((late, asked < 480), (0, true), "{asked} requests");
    let (done, rest): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(status, _)| status == "enriched");
    assert!(!done.is_empty() && !rest.is_empty() && rest.iter().all(is_stopped), "{rest:?}");
    let state =
        |state: &str| world.number(&format!("SELECT count(*) FROM leadlex.job WHERE state = '{state}'"));
    eventually("the job has ended", SOON, || state("running") == 0);
    assert!(state("queued") > 0 && state("queued") + state("done") == 240);
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job WHERE state = 'queued'"), 0);
    // Who was asked about was charged, and nobody else.
    let charged = done.len() as i64 + state("done");
    assert_eq!((asked as i64, world.ledger().charges), (charged, charged));
    resume(&world);
    eventually("the queue goes on", SOON, || state("done") == 240);
    world.check_credits_add_up();
}

#[test]
fn what_needs_no_request_still_answers() {
    let world = World::new();
    answers(&world, Duration::ZERO);
    let (mut caller, key) = (world.caller(), Uuid::from_u128(7));
    let first = enrich_with_key(&mut caller, 1, key).unwrap();
    // A receipt: the answer is known, and the row lacks it.
    enrich(&mut caller, 2).unwrap();
    world.run("UPDATE crm SET phone = NULL WHERE phone LIKE '%person2@%'");
    world.run("UPDATE crm SET job_title = 'Chemist', company_name = 'Acme', linkedin_url = 'https://www.linkedin.com/in/p3', phone = '+15550100103', location = 'Ghent', seniority = 'senior' WHERE email LIKE 'person3@%'");
    stop(&world);
    let asked = world.provider.count();
    assert_eq!(enrich_with_key(&mut caller, 1, key).unwrap()["contact"], first["contact"]);
    assert_eq!(enrich(&mut caller, 2).unwrap()["fields_updated"], json!(["phone"]));
    assert_eq!(enrich(&mut caller, 3).unwrap()["fields_updated"], json!([]));
    let error = Failure::of(&enrich(&mut caller, 4).unwrap_err());
    assert_eq!(
        (error.sqlstate.as_str(), error.message.as_str()),
        ("LX503", "provider_unavailable: stopped: the vendor bills us twice")
    );
    let told: Value = serde_json::from_str(error.detail.as_deref().unwrap()).unwrap();
    assert_eq!((&told["reason"], &told["retryable"]), (&json!("stopped"), &json!(false)), "{told}");
    assert_eq!(
        told["providers"],
        json!([{"provider": "main", "reason": "stopped", "message": "the vendor bills us twice"}])
    );
    assert!(error.hint.is_some_and(|hint| hint.contains("leadlex.resume()")));
    // The same of a set that begins now.
    let lines = set(&mut caller, [3, 4, 5]);
    assert_eq!(lines[0].0, "unchanged");
    assert!(lines[1..].iter().all(is_stopped), "{lines:?}");
    let checked: Value = world
        .owner()
        .query_one("SELECT leadlex.check_provider('main', '{\"email\": \"a@acme.example\"}')", &[])
        .unwrap()
        .get(0);
    assert_eq!(
        (&checked["outcome"], &checked["reason"]),
        (&json!("not_asked"), &json!("stopped")),
        "{checked}"
    );
    assert_eq!(world.provider.count(), asked);
    world.check_credits_add_up();
    resume(&world);
    enrich(&mut caller, 4).unwrap();
}

#[test]
fn what_is_rolled_back_stops_nothing() {
    let world = World::new();
    answers(&world, Duration::ZERO);
    let mut caller = world.caller();
    let mut owner = world.owner();
    let mut transaction = owner.transaction().unwrap();
    transaction.batch_execute("SELECT leadlex.stop('one')").unwrap();
    enrich(&mut caller, 1).unwrap();
    transaction.rollback().unwrap();
    enrich(&mut caller, 2).unwrap();
    // Nor does a part that is, though the session itself has asked in between.
    let mut transaction = owner.transaction().unwrap();
    let mut part = transaction.transaction().unwrap();
    part.batch_execute("SELECT leadlex.stop('two')").unwrap();
    part.rollback().unwrap();
    transaction.commit().unwrap();
    enrich(&mut caller, 3).unwrap();
    // Where nothing is known yet, who has stopped and not committed does not tell others.
    world.cluster.restart(Stop::Fast);
    world.run("SELECT leadlex.grant_access('postgres', id) FROM leadlex.workspace");
    let mut owner = world.owner();
    let mut transaction = owner.transaction().unwrap();
    transaction.batch_execute("SELECT leadlex.stop('three')").unwrap();
    assert_eq!(try_enrich(&mut transaction, 4)["error"]["reason"], "stopped");
    let mut caller = world.caller();
    enrich(&mut caller, 5).unwrap();
    transaction.rollback().unwrap();
    enrich(&mut caller, 4).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM leadlex.event WHERE event = 'stopped'"), 0);
}

#[test]
fn it_outlasts_restart_and_crash() {
    let world = World::new();
    answers(&world, Duration::ZERO);
    stop(&world);
    for how in [Stop::Fast, Stop::Immediate] {
        world.cluster.restart(how);
        let mut caller = world.caller();
        assert_eq!(try_enrich(&mut caller, 1)["error"]["reason"], "stopped");
        let because: String =
            caller.query_one("SELECT paused_because FROM leadlex.queue", &[]).unwrap().get(0);
        assert_eq!(because, "stopped");
    }
    // A second reason replaces the first.
    world.run("SELECT leadlex.stop('not before Monday')");
    let error = try_enrich(&mut world.caller(), 1)["error"]["message"].to_string();
    assert!(error.contains("not before Monday"), "{error}");
    resume(&world);
    resume(&world);
    enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn both_are_told_of() {
    let world = World::new();
    let mut listener = Listener::new(&world);
    stop(&world);
    listener.next("stopped", PROMPT);
    assert_eq!(detail(&world, "stopped"), json!({"reason": "the vendor bills us twice", "by": "postgres"}));
    resume(&world);
    listener.next("resumed", PROMPT);
    assert_eq!(detail(&world, "resumed")["by"], "postgres");
}

#[test]
fn only_an_administrator_stops_and_with_a_reason() {
    let world = World::new();
    let mut caller = world.caller();
    for sql in ["SELECT leadlex.stop('x')", "SELECT leadlex.resume()", "SELECT * FROM leadlex.stopped"] {
        assert_eq!(sqlstate(&caller.execute(sql, &[])), "42501", "{sql}");
    }
    let mut owner = world.owner();
    for reason in ["NULL", "''", "'  '", "repeat('x', 201)"] {
        assert_eq!(sqlstate(&owner.execute(&format!("SELECT leadlex.stop({reason})"), &[])), "22023");
    }
    owner.execute("SELECT leadlex.stop(repeat('x', 200))", &[]).unwrap();
    assert_eq!(sqlstate(&owner.batch_execute("BEGIN READ ONLY; SELECT leadlex.resume()")), "25006");
}

/// Two who stop and resume at once come one after the other; who waits can give up.
#[test]
fn one_at_a_time_stops_or_resumes() {
    let world = World::new();
    let mut first = world.owner();
    let mut open = first.transaction().unwrap();
    open.batch_execute("SELECT leadlex.stop('first')").unwrap();
    let mut second = world.owner();
    second.batch_execute("SET lock_timeout = '200ms'").unwrap();
    assert_eq!(sqlstate(&second.execute("SELECT leadlex.resume()", &[])), "55P03");
    open.commit().unwrap();
    second.execute("SELECT leadlex.resume()", &[]).unwrap();
    answers(&world, Duration::ZERO);
    enrich(&mut world.caller(), 1).unwrap();
}

/// A job that runs leaves the rest of its contacts in the queue.
#[test]
fn a_pause_of_the_queue_ends_the_job_that_runs() {
    let world = World::with(&Beginning { contacts: 200, credits: Some(1_000), ..Beginning::default() });
    let times = answers(&world, Duration::from_millis(400));
    let ids: Vec<Uuid> = (1..=200).map(contact).collect();
    world.caller().query_one("SELECT leadlex.enqueue($1)", &[&ids]).unwrap();
    world.provider.wait_for(5, SOON);
    world.run("SELECT leadlex.pause_queue()");
    let paused = Instant::now();
    let state =
        |state: &str| world.number(&format!("SELECT count(*) FROM leadlex.job WHERE state = '{state}'"));
    eventually("the job has ended", SOON, || state("running") == 0);
    assert!(paused.elapsed() < Duration::from_secs(3), "{:?}", paused.elapsed());
    thread::sleep(Duration::from_millis(500));
    let asked = times.lock().unwrap().len() as i64;
    assert_eq!((state("done"), state("queued")), (asked, 200 - asked));
    assert!(asked < 200);
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job WHERE state = 'queued'"), 0);
    // Calls by hand go on.
    enrich(&mut world.caller(), 200).unwrap();
    world.run("SELECT leadlex.resume_queue()");
    eventually("the queue goes on", SOON, || state("done") == 200);
    assert_eq!(times.lock().unwrap().len(), 200);
}

/// Contacts of a trigger wait in the queue.
#[test]
fn rows_that_are_inserted_meanwhile_are_queued() {
    let world = World::new();
    answers(&world, Duration::ZERO);
    world.run(
        "CREATE TRIGGER enrich AFTER INSERT ON crm REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enrich_on_insert()",
    );
    stop(&world);
    world.run(
        "INSERT INTO crm (id, full_name, email) VALUES (gen_random_uuid(), 'New Person', 'new@acme.example')",
    );
    assert_eq!(world.number("SELECT queued::int8 FROM leadlex.queue"), 1);
    assert_eq!(world.provider.count(), 0);
    resume(&world);
    eventually("it is enriched", SOON, || {
        world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL") == 1
    });
}

/// What was set by hand, or came from a dump, is seen by sessions that have asked before.
#[test]
fn a_row_that_is_restored_stops_as_well() {
    let world = World::new();
    answers(&world, Duration::ZERO);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    world.run("INSERT INTO leadlex.stopped (stopped_by, reason) VALUES ('postgres', 'from a dump')");
    assert_eq!(try_enrich(&mut caller, 2)["error"]["message"], "provider_unavailable: stopped: from a dump");
    world.run("DELETE FROM leadlex.stopped");
    enrich(&mut caller, 2).unwrap();
    assert_eq!(number(&mut caller, "SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 2);
}

//! Jobs of which a visit has written something, while more comes later: what the next visits ask, and what the job ends as.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::vendor::{POLL, Ready, Slow, config, world};
use crate::support::{Behaviour, eventually};
use crate::world::{PATH, World, contact, credits, only_phone};

const LONG: Duration = Duration::from_secs(20);
const OTHER: &str = "/other";
const THIRD: &str = "/third";
const PHONE: &str = "+12025550123";

fn title() -> Value {
    json!({"likelihood": 9, "data": {"job_title": "Counsel", "phone": null}})
}

/// The first vendor has no steps, and answers 202 so often before it has the number; the second one has a title.
fn answering_later(times: usize) -> World {
    let world = World::new();
    world.cluster.set("leadlex.job_retry_base", "10ms");
    world.run(r#"SELECT leadlex.alter_provider('main', '{"when_pending": "next", "poll_every_s": 1}')"#);
    let asked = AtomicUsize::new(0);
    world.provider.on(PATH, move |_| match asked.fetch_add(1, Ordering::SeqCst) < times {
        true => Behaviour::json(202, json!({})),
        false => Behaviour::json(200, only_phone(PHONE)),
    });
    add_other(&world);
    world
}

fn add_other(world: &World) {
    world.provider.on(OTHER, |_| Behaviour::json(200, title()));
    let mut config = world.provider.config(OTHER);
    config["fills"] = json!(["job_title"]);
    world.add_provider("other", &config);
    world.run("SELECT leadlex.alter_provider('other', priority => 500)");
}

/// Beside both a vendor that owes the phone for so many polls; `main`, which is `PATH`, is the one without steps.
fn beside_one_that_owes(polls: usize) -> (World, Slow) {
    let world = answering_later(0);
    let slow = Slow::new(Ready::AfterPolls(polls));
    slow.play(&world.provider);
    world.add_provider("slow", &config(&world.provider, json!({"when_pending": "next"})));
    world.run("SELECT leadlex.alter_provider('slow', priority => 200)");
    (world, slow)
}

/// State, outcome and error of the only job.
fn job(world: &World) -> (String, Option<String>, Option<String>) {
    let row = world.owner().query_one("SELECT state, outcome, last_error FROM leadlex.job", &[]).unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// What was said of the contact by now is in the tables with what is said of another one, or taken back.
fn is_no_trouble(world: &World) {
    world.run(&format!("UPDATE crm SET email = NULL, full_name = NULL WHERE id = '{}'", contact(2)));
    world.caller().execute("SELECT try_enrich_contact($1, '{seniority}')", &[&contact(2)]).unwrap();
    let told = |n: i32| {
        let sql = format!("SELECT count(*) FROM leadlex.last_outcome WHERE contact_id = '{}'", contact(n));
        world.number(&sql)
    };
    eventually("the other one is told of", LONG, || told(2) == 1);
    assert_eq!(told(1), 0);
}

fn wait_until_done(world: &World) {
    eventually("the job is done", LONG, || job(world).0 == "done");
}

fn enqueue(world: &World) {
    let sql = "SELECT leadlex.enqueue(ARRAY[$1]::uuid[], '{phone,job_title}')";
    world.caller().execute(sql, &[&contact(1)]).unwrap();
}

fn is_complete(world: &World) {
    wait_until_done(world);
    assert_eq!(job(world), ("done".into(), Some("enriched".into()), None));
    let filled = "SELECT count(*) FROM crm WHERE job_title = 'Counsel' AND phone IS NOT NULL";
    assert_eq!((world.number(filled), credits(&mut world.caller())), (1, Some(9)));
    is_no_trouble(world);
}

/// With `first_match` the title ends the waterfall, and who said that it answers later is asked all the same.
#[test]
fn who_answers_later_without_steps_is_asked_for_the_rest_of_a_call() {
    let world = answering_later(2);
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    let sql = "SELECT enrich_contact($1, '{phone,job_title}')";
    let result: Value = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!((&result["pending"], &result["fields_updated"]), (&json!(true), &json!(["job_title"])));
    is_complete(&world);
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of(OTHER)), (3, 1));
}

#[test]
fn who_answers_later_without_steps_is_asked_for_the_rest_of_a_job() {
    let world = answering_later(1);
    enqueue(&world);
    is_complete(&world);
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of(OTHER)), (2, 1));
}

/// To describe another provider, or this one anew, lets it be asked at once: it does not make it forget.
#[test]
fn who_answers_later_is_not_forgotten_where_a_provider_is_changed() {
    for change in [
        "alter_provider('other', priority => 600)",
        "alter_provider('main', secret => 'another')",
        "enable_provider('main', true)",
    ] {
        let world = answering_later(1);
        world.cluster.set("leadlex.job_retry_base", "1h");
        enqueue(&world);
        let waits = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND outcome = 'enriched'";
        eventually("the title is there", LONG, || world.number(waits) == 1);
        world.run(&format!("SELECT leadlex.{change}"));
        world.run("SELECT leadlex.retry_jobs('queued')");
        is_complete(&world);
        assert_eq!((world.provider.count_of(PATH), world.provider.count_of(OTHER)), (2, 1), "{change}");
    }
}

/// The answer that comes later has nothing: the job has written something all the same.
#[test]
fn a_job_that_has_written_something_ends_enriched() {
    let (world, slow) = world(Ready::AfterPolls(9), json!({}));
    let mut config = config(&world.provider, json!({"when_pending": "next"}));
    config["steps"][1]["response"]["no_match"] = json!({"body": [{"pointer": "/status", "in": ["none"]}]});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    let polls = AtomicUsize::new(0);
    world.provider.on(POLL, move |_| match polls.fetch_add(1, Ordering::SeqCst) {
        0 => Behaviour::json(200, json!({"status": "running"})),
        _ => Behaviour::json(200, json!({"status": "none"})),
    });
    add_other(&world);
    enqueue(&world);
    wait_until_done(&world);
    assert_eq!(job(&world), ("done".into(), Some("enriched".into()), None));
    is_no_trouble(&world);
    assert_eq!(slow.submissions(), 1);
    assert_eq!(credits(&mut world.caller()), Some(9));
}

/// It was on its way to an answer, and fails once: that is no reason to do without what it has.
#[test]
fn who_answers_later_is_asked_again_after_a_failure() {
    for (failure, mended) in [(500, None), (401, Some("alter_provider('main', secret => 'another')"))] {
        let (world, slow) = beside_one_that_owes(6);
        let answers = [202, failure, 200];
        let asked = AtomicUsize::new(0);
        world.provider.on(PATH, move |_| match answers.get(asked.fetch_add(1, Ordering::SeqCst)) {
            Some(200) | None => Behaviour::json(200, only_phone(PHONE)),
            Some(status) => Behaviour::json(*status, json!({"error": "no"})),
        });
        enqueue(&world);
        eventually("it has failed", LONG, || world.provider.count_of(PATH) == 2);
        if let Some(mended) = mended {
            world.run(&format!("SELECT leadlex.{mended}"));
        }
        wait_until_done(&world);
        let filled = "SELECT count(*) FROM crm WHERE job_title = 'Counsel' AND phone IS NOT NULL";
        assert_eq!(world.number(filled), 1, "{failure}");
        assert_eq!((world.provider.count_of(PATH), slow.submissions()), (3, 1), "{failure}");
    }
}

/// Both are waited for: the first that has something does not end the rest of a charged call.
#[test]
fn what_is_owed_is_fetched_after_another_one_had_something() {
    let (world, slow) = beside_one_that_owes(3);
    let asked = AtomicUsize::new(0);
    world.provider.on(PATH, move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Behaviour::json(202, json!({})),
        _ => Behaviour::json(200, json!({"likelihood": 9, "data": {"location": "Berlin"}})),
    });
    let sql = "SELECT leadlex.enqueue(ARRAY[$1]::uuid[], '{phone,job_title,location}')";
    world.caller().execute(sql, &[&contact(1)]).unwrap();
    wait_until_done(&world);
    let filled =
        "SELECT count(*) FROM crm WHERE (job_title, location) = ('Counsel', 'Berlin') AND phone IS NOT NULL";
    assert_eq!((world.number(filled), slow.submissions()), (1, 1));
    assert_eq!((world.provider.count_of(PATH), credits(&mut world.caller())), (2, Some(9)));
}

/// It is the vendor that is waited for: no other is asked in its place.
#[test]
fn the_rest_of_a_call_waits_for_who_is_to_be_waited_for() {
    let world = answering_later(2);
    world.run(r#"SELECT leadlex.alter_provider('main', '{"when_pending": "wait"}')"#);
    let (answered, early) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, seen, noted) = (Arc::clone(&answered), Arc::clone(&answered), Arc::clone(&early));
    world.provider.on(PATH, move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Behaviour::json(202, json!({})),
        _ => Behaviour::json(200, only_phone(PHONE)),
    });
    world.provider.on(OTHER, move |_| {
        noted.fetch_add(usize::from(seen.load(Ordering::SeqCst) < 3), Ordering::SeqCst);
        Behaviour::json(200, title())
    });
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'; SET leadlex.waterfall = 'fill'").unwrap();
    caller.execute("SELECT try_enrich_contact($1, '{phone,job_title}')", &[&contact(1)]).unwrap();
    assert_eq!(world.provider.count_of(OTHER), 0);
    is_complete(&world);
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of(OTHER)), (3, 1));
    assert_eq!(early.load(Ordering::SeqCst), 0, "the other one was asked before");
}

/// A job that was given up and is tried again has written what it wrote.
#[test]
fn a_job_that_was_dead_ends_enriched_too() {
    let world = answering_later(usize::MAX);
    world.cluster.set("leadlex.job_max_attempts", "2");
    enqueue(&world);
    eventually("the job is dead", LONG, || job(&world).0 == "dead");
    assert_eq!(job(&world).1.as_deref(), Some("enriched"));
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    world.run("SELECT leadlex.retry_jobs()");
    wait_until_done(&world);
    assert_eq!(job(&world).1.as_deref(), Some("enriched"));
    is_no_trouble(&world);
}

fn enqueue_all_three(world: &World) {
    let sql = "SELECT leadlex.enqueue(ARRAY[$1]::uuid[], '{phone,job_title,location}')";
    world.caller().execute(sql, &[&contact(1)]).unwrap();
}

/// The answers of a vendor in turn, the last one again and again.
fn in_turn(world: &World, path: &'static str, answers: Vec<(u16, Value)>) {
    let asked = AtomicUsize::new(0);
    world.provider.on(path, move |_| {
        let (status, body) = &answers[asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
        Behaviour::json(*status, body.clone())
    });
}

/// Nothing was written and nothing is owed by the tables: it has said all the same that it answers later.
#[test]
fn who_answers_later_alone_is_remembered_too() {
    let world = answering_later(0);
    world.cluster.set("leadlex.job_retry_base", "1s");
    in_turn(&world, PATH, vec![(202, json!({})), (500, json!({"error": "no"})), (200, only_phone(PHONE))]);
    in_turn(&world, OTHER, vec![(500, json!({"error": "no"})), (200, title())]);
    enqueue(&world);
    wait_until_done(&world);
    let filled = "SELECT count(*) FROM crm WHERE job_title = 'Counsel' AND phone IS NOT NULL";
    assert_eq!((world.number(filled), world.provider.count_of(PATH)), (1, 3));
}

/// As [`answering_later`], without receipts, and with a third vendor between the two that has no steps either.
fn remembering_nothing(times: usize) -> World {
    let world = answering_later(times);
    for (name, value) in
        [("leadlex.job_retry_base", "1s"), ("leadlex.receipt_ttl", "0"), ("leadlex.recheck_after", "0")]
    {
        world.cluster.set(name, value);
    }
    add_third(&world);
    world
}

fn add_third(world: &World) {
    let mut config = world.provider.config(THIRD);
    (config["when_pending"], config["poll_every_s"]) = (json!("next"), json!(1));
    world.add_provider("third", &config);
    world.run("SELECT leadlex.alter_provider('third', priority => 200)");
}

/// Its answer could not be written at that moment: with nothing remembered it is asked again.
#[test]
fn whose_answer_could_not_be_written_is_asked_again() {
    let world = remembering_nothing(1);
    world.run(
        r#"CREATE SEQUENCE times; GRANT USAGE ON times TO caller;
           CREATE FUNCTION once() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN IF nextval('public.times') = 2 THEN RAISE 'not now' USING ERRCODE = '55P03'; END IF; RETURN NEW; END $$;
           CREATE TRIGGER once BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION once()"#,
    );
    let location = json!({"likelihood": 9, "data": {"location": "Berlin"}});
    in_turn(&world, THIRD, vec![(202, json!({})), (202, json!({})), (202, json!({})), (200, location)]);
    enqueue_all_three(&world);
    wait_until_done(&world);
    let filled =
        "SELECT count(*) FROM crm WHERE (job_title, location) = ('Counsel', 'Berlin') AND phone IS NOT NULL";
    assert_eq!((world.number(filled), credits(&mut world.caller())), (1, Some(9)));
}

/// Nor is one awaited that has answered at a visit that brought nothing.
#[test]
fn who_has_answered_is_not_asked_again_once_there_is_a_value() {
    let world = remembering_nothing(0);
    in_turn(&world, PATH, vec![(202, json!({})), (500, json!({"error": "no"})), (200, only_phone(PHONE))]);
    in_turn(&world, THIRD, vec![(202, json!({})), (404, json!({}))]);
    in_turn(&world, OTHER, vec![(404, json!({}))]);
    enqueue(&world);
    wait_until_done(&world);
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of(THIRD)), (3, 2));
    assert_eq!(job(&world).1.as_deref(), Some("enriched"));
}

/// It has had its turn, and has nothing: it is not asked with each poll of another one, also where nothing is remembered.
#[test]
fn who_has_answered_at_last_is_not_awaited_any_more() {
    let (world, slow) = beside_one_that_owes(5);
    world.cluster.set("leadlex.receipt_ttl", "0");
    world.cluster.set("leadlex.recheck_after", "0");
    in_turn(&world, PATH, vec![(202, json!({})), (404, json!({}))]);
    enqueue(&world);
    wait_until_done(&world);
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of(POLL), slow.submissions()), (2, 6, 1));
}

/// At that visit another one has something: it does not end the wait for who fails just then.
#[test]
fn who_answers_later_and_fails_beside_a_value_is_asked_again() {
    let world = World::new();
    world.cluster.set("leadlex.job_retry_base", "1s");
    world.run(r#"SELECT leadlex.alter_provider('main', '{"when_pending": "next", "poll_every_s": 1}')"#);
    add_third(&world);
    add_other(&world);
    in_turn(&world, PATH, vec![(202, json!({})), (500, json!({"error": "no"})), (200, only_phone(PHONE))]);
    in_turn(
        &world,
        THIRD,
        vec![(202, json!({})), (200, json!({"likelihood": 9, "data": {"location": "Berlin"}}))],
    );
    enqueue_all_three(&world);
    wait_until_done(&world);
    let filled =
        "SELECT count(*) FROM crm WHERE (job_title, location) = ('Counsel', 'Berlin') AND phone IS NOT NULL";
    assert_eq!(world.number(filled), 1);
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of(THIRD)), (3, 2));
}

/// Two that owe answers: the one that comes first leaves the other one to be fetched. It was handed in, and is billed.
#[test]
fn a_job_fetches_all_that_is_owed() {
    let (world, slow) = beside_one_that_owes(1);
    let second = Slow::new(Ready::AfterPolls(4));
    let (jobs, job_of) = ("/second/jobs", "/second/job");
    let (submitting, polled) = (second.clone(), second.clone());
    world.provider.on(jobs, move |request| Behaviour::json(202, submitting.submit(request.param("email"))));
    world.provider.on(job_of, move |request| polled.poll(request.param("id").unwrap_or_default()));
    let mut config = config(&world.provider, json!({"when_pending": "next"}));
    config["steps"][0]["request"]["url"] = json!(world.provider.url(jobs));
    config["steps"][1]["request"]["url"] = json!(world.provider.url(job_of));
    config["steps"][1]["response"]["fields"] = json!({"location": "/data/phone"});
    world.run("SELECT leadlex.enable_provider('main', false), leadlex.enable_provider('other', false)");
    world.add_provider("second", &config);
    world.run("SELECT leadlex.alter_provider('second', priority => 300)");
    enqueue_all_three(&world);
    wait_until_done(&world);
    let filled = "SELECT count(*) FROM crm WHERE location IS NOT NULL AND phone IS NOT NULL";
    assert_eq!((world.number(filled), slow.submissions(), second.submissions()), (1, 1, 1));
    assert_eq!(credits(&mut world.caller()), Some(9));
}

/// What comes first does not fit the table: what is owed may.
#[test]
fn a_value_that_the_table_refuses_does_not_end_what_is_owed() {
    let (world, slow) = beside_one_that_owes(3);
    world.run("ALTER TABLE crm ADD CHECK (location <> 'Berlin')");
    let mut config = world.provider.config(OTHER);
    config["fills"] = json!(["location"]);
    world.run("SELECT leadlex.enable_provider('main', false)");
    world.owner().execute("SELECT leadlex.alter_provider('other', config => $1)", &[&config]).unwrap();
    world
        .provider
        .on(OTHER, |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"location": "Berlin"}})));
    enqueue_all_three(&world);
    wait_until_done(&world);
    let filled = "SELECT count(*) FROM crm WHERE location IS NULL AND phone IS NOT NULL";
    assert_eq!((world.number(filled), slow.submissions()), (1, 1));
}

/// Nothing of it is another try: neither of a provider that was changed beside it, nor of another one under its name.
#[test]
fn others_that_are_changed_let_nobody_be_asked() {
    let world = answering_later(usize::MAX);
    world.cluster.set("leadlex.job_retry_base", "1h");
    enqueue(&world);
    let waits = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND outcome = 'enriched' AND next_attempt_at > now() + interval '10 minutes'";
    eventually("it waits", LONG, || world.number(waits) == 1);
    for n in 1..=3 {
        world.run(&format!(r#"SELECT leadlex.alter_provider('other', '{{"timeout_ms": {}}}')"#, 4_000 + n));
    }
    world.run("SELECT leadlex.retry_jobs('queued')");
    eventually("it was looked at", LONG, || world.number(waits) == 1 && world.provider.count_of(PATH) == 2);
    assert_eq!(world.number("SELECT attempts::int8 FROM leadlex.job"), 1, "the one that was asked for");
    world.run("SELECT leadlex.pause_queue(); SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &world.provider.config(PATH));
    world.run("SELECT leadlex.resume_queue(); SELECT leadlex.retry_jobs('queued')");
    wait_until_done(&world);
    assert_eq!(world.provider.count_of(PATH), 2, "another one, of which nothing is owed");
}

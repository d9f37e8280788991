//! Bytes a row of what calls leave, for docs/operations/sizing.md.

use std::fmt::Write as _;

use postgres::Client;
use serde_json::json;
use uuid::Uuid;

use super::SOON;
use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, PATH, World, contact};

const SUBMIT: &str = "/jobs";

/// What is measured, and the table that it is in.
type Line = (&'static str, &'static str);

/// LEADLEX_SIZES names the file to write; then there are 100,000 of each.
#[test]
fn every_kind_of_row_is_measured() {
    let file = std::env::var_os("LEADLEX_SIZES");
    let most = if file.is_some() { 100_000 } else { 300 };
    let conf = &[
        "leadlex.max_people_per_value = 3",
        "leadlex.max_parallel_requests = 64",
        "leadlex.receipt_buffer = '256MB'",
        "leadlex.breaker_failures = 0",
    ];
    let world = World::with(&Beginning { contacts: 4 * most, credits: None, conf, ..Beginning::default() });
    // Names that differ in letters, as people's do.
    let name = "initcap('an' || translate(right(email, -6), '0123456789@acme.example', 'bcdfghjklm') || ' fontaine')";
    world.run(&format!("UPDATE crm SET full_name = {name}"));
    let mut measured = String::new();
    let mut note = |(what, table): Line, before: i64, each: &str, count: &str| {
        let bytes = size(&world, table) - before;
        let (each, rows) = (world.number(each), world.number(count));
        assert!(bytes > 0 && each > 0 && rows > 0, "{what}: {bytes} bytes, {each} of them, {rows} rows");
        let _ = writeln!(
            measured,
            "{what}: {} bytes each, {each} of them, {rows} rows of leadlex.{table}",
            bytes / each
        );
    };

    plays_matches(&world);
    ask(&world, 1..=most);
    let receipts = "SELECT count(*) FROM leadlex.receipt";
    let names = "SELECT count(*) FROM leadlex.value_name";
    note(("an answer with six fields", "receipt"), 0, receipts, receipts);
    note(("a name of a value", "value_name"), 0, names, names);
    note(("names of a contact with address, profile and number", "value_name"), 0, receipts, names);
    let history = "SELECT count(*) FROM leadlex.enrichment";
    let ledger = "SELECT count(*) FROM leadlex.credit_settled";
    note(("history of a call with six fields", "enrichment"), 0, history, history);
    note(("a charge", "credit_settled"), 0, ledger, ledger);
    let results = "SELECT count(*) FROM leadlex.idempotency";
    with_keys(&world, most / 20);
    note(("the result under an idempotency key", "idempotency"), 0, results, results);

    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let before = size(&world, "receipt");
    ask(&world, most + 1..=2 * most);
    let nothings = "SELECT count(*) FROM leadlex.receipt WHERE NOT matched";
    let outcomes = "SELECT count(*) FROM leadlex.outcome";
    note(("a remembered nothing", "receipt"), before, nothings, receipts);
    note(("an outcome", "outcome"), 0, outcomes, outcomes);

    world.run("SELECT leadlex.pause_queue()");
    let jobs = "SELECT count(*) FROM leadlex.job";
    let sets = "SELECT count(*) FROM leadlex.job_set";
    enqueue(&mut world.caller(), 2 * most + 1..=3 * most, most);
    note(("a job of a large leadlex.enqueue", "job_set"), 0, jobs, sets);
    world.run("TRUNCATE leadlex.job_set");
    enqueue(&mut world.caller(), 2 * most + 1..=3 * most, 1);
    note(("a job queued alone", "job_set"), 0, jobs, sets);
    world.run("TRUNCATE leadlex.job_set");

    answers_later(&world);
    ask(&world, 3 * most + 1..=4 * most);
    let tickets = "SELECT count(*) FROM leadlex.ticket";
    note(("an answer that is to come", "ticket"), 0, tickets, tickets);

    let dropped = "SELECT sum(receipts_dropped + outcomes_dropped)::int8 FROM leadlex.worker_status WHERE process = 'worker'";
    assert_eq!(world.number(dropped), 0);
    if let Some(file) = file {
        std::fs::write(file, measured).unwrap();
    }
}

/// Its indexes and long values included.
fn size(world: &World, table: &str) -> i64 {
    world.run(&format!("VACUUM leadlex.{table}"));
    world.number(&format!("SELECT pg_total_relation_size('leadlex.{table}')"))
}

fn ask(world: &World, contacts: std::ops::RangeInclusive<i32>) {
    let mut caller = world.caller();
    let ids: Vec<Uuid> = contacts.map(contact).collect();
    for part in ids.chunks(2_000) {
        caller.execute("SELECT count(*) FROM enrich_contacts($1)", &[&part]).unwrap();
        eventually("answers are written", SOON, || {
            world.number("SELECT coalesce(sum(receipts_waiting), 0)::int8 FROM leadlex.worker_status") == 0
        });
    }
    world.settle();
}

/// Calls with a key each.
fn with_keys(world: &World, calls: i32) {
    let sql = "SELECT enrich_contact($1, overwrite => true, idempotency_key => gen_random_uuid())";
    let mut caller = world.caller();
    let one = caller.prepare(sql).unwrap();
    for n in 1..=calls {
        caller.execute(&one, &[&contact(n)]).unwrap();
    }
    world.settle();
}

/// So many in each statement.
fn enqueue(caller: &mut Client, contacts: std::ops::RangeInclusive<i32>, most: i32) {
    let ids: Vec<Uuid> = contacts.map(contact).collect();
    let one = caller.prepare("SELECT leadlex.enqueue($1)").unwrap();
    let mut transaction = caller.transaction().unwrap();
    for part in ids.chunks(most as usize) {
        transaction.execute(&one, &[&part]).unwrap();
    }
    transaction.commit().unwrap();
}

pub fn plays_matches(world: &World) {
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or_default();
        let digits: String = email.chars().filter(char::is_ascii_digit).collect();
        let data = json!({
            "job_title": "General Counsel", "company_name": "Acme Corp", "location": "New York, NY, US", "seniority": "c_suite",
            "linkedin_url": format!("https://www.linkedin.com/in/person-{digits}"), "phone": format!("+1555{digits:0>7}"),
        });
        Behaviour::json(200, json!({"likelihood": 9, "data": data}))
    });
}

fn answers_later(world: &World) {
    let submit = json!({"request": {"method": "POST", "url": world.provider.url(SUBMIT), "query": {"email": "{email}"},
                                    "headers": {"X-Api-Key": "{secret}"}},
                        "response": {"pending": {"status": []}}, "take": {"ticket": "/id"}});
    let poll = json!({"request": {"url": world.provider.url("/job"), "query": {"id": "{ticket}"}, "headers": {"X-Api-Key": "{secret}"}},
                      "response": {"pending": {"status": [202]}, "fields": {"phone": "/data/phone"}}});
    let config = json!({"identify_by": [["email"]], "poll_every_s": 300, "poll_for_s": 86_400, "steps": [submit, poll]});
    world.provider.on(SUBMIT, |_| Behaviour::json(200, json!({"id": Uuid::new_v4()})));
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
}

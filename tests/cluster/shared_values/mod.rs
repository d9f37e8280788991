//! E-mail addresses and profiles that many people have in common: an import's filler, and a vendor's sandbox key, which
//! answers with one person whoever is asked about. Found by the worker, and in a set at once.

mod lasting;

use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, Notices, Request, Stop, eventually, fails};
use crate::world::{Beginning, PATH, World, contact, enrich, number, try_enrich};

const NOBODYS: &str = "nobody@import.example";
const ON: &[&str] = &["leadlex.max_people_per_value = 3"];

/// People with a name each; the vendor has a profile and a title for each name.
fn world_with(contacts: i32, conf: &[&str]) -> World {
    let world = World::with(&Beginning { contacts, credits: Some(10_000), conf, ..Beginning::default() });
    world.provider.on(PATH, |request| Behaviour::json(200, own(request)));
    world
}

fn world(contacts: i32) -> World {
    world_with(contacts, ON)
}

/// Somebody of whom the name tells who it is.
fn own(request: &Request) -> Value {
    let name = request.param("name").unwrap_or("nobody").to_owned();
    let profile = format!("https://www.linkedin.com/in/{}-example", name.to_lowercase().replace(' ', "-"));
    json!({"likelihood": 9, "data": {"job_title": format!("Title of {name}"), "linkedin_url": profile}})
}

/// The same person, whoever is asked about.
fn sandbox(_: &Request) -> Value {
    json!({"likelihood": 9, "data": {"job_title": "Tester", "company_name": "Sandbox Inc",
           "linkedin_url": "https://www.linkedin.com/in/sandbox-person", "location": "Nowhere"}})
}

fn share_the_address(world: &World) {
    world.run(&format!("UPDATE crm SET email = '{NOBODYS}'"));
}

fn listed(world: &World, kind: &str) -> i64 {
    let sql = "SELECT count(*) FROM leadlex.shared_value WHERE kind = $1 AND NOT allowed";
    world.owner().query_one(sql, &[&kind]).unwrap().get(0)
}

/// Until the worker has found it; no longer than promised.
fn found(world: &World, kind: &str) {
    let since = Instant::now();
    eventually("the worker finds it", Duration::from_secs(20), || listed(world, kind) > 0);
    assert!(since.elapsed() <= Duration::from_secs(2), "found after {:?}", since.elapsed());
}

/// `n` calls, each about another contact, without waiting for the worker. Results, errors as JSON.
fn one_by_one(client: &mut Client, numbers: impl IntoIterator<Item = i32>) -> Vec<Value> {
    numbers.into_iter().map(|n| try_enrich(client, n)).collect()
}

fn not_identifiable(result: &Value) -> bool {
    let error = &result["error"];
    error["reason"] == "not_identifiable"
        && error["shared_values"] == json!(["email"])
        && error["hint"].as_str().is_some_and(|hint| hint.contains("max_people_per_value"))
}

/// Status and error of each contact of a set.
fn in_a_set(client: &mut Client, numbers: impl IntoIterator<Item = i32>) -> Vec<(String, Option<String>)> {
    let ids: Vec<Uuid> = numbers.into_iter().map(contact).collect();
    let rows = client.query("SELECT status, error_message FROM enrich_contacts($1)", &[&ids]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn count_told(told: &Notices) -> usize {
    told.messages().iter().filter(|message| message.contains("shared by many people")).count()
}

fn restart(world: &World, how: Stop) {
    world.cluster.restart(how);
    eventually("the server answers", Duration::from_secs(30), || {
        world.cluster.config("app").connect(NoTls).is_ok()
    });
}

#[test]
fn names_are_looked_up_by_the_value_where_the_table_was_empty_when_it_was_analyzed() {
    let world = world_with(40, &[ON[0], "autovacuum = off"]);
    world.run("VACUUM ANALYZE");
    let mut caller = world.caller();
    let names = "SELECT count(*) FROM leadlex.value_name";
    for n in 1..=40 {
        let before = world.number(names);
        enrich(&mut caller, n).unwrap();
        eventually("the worker notes the names", Duration::from_secs(10), || world.number(names) > before);
    }
    let scans = |index: &str| {
        world.number(&format!("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '{index}'"))
    };
    // The worker tells when it is idle.
    eventually("the worker tells", Duration::from_secs(10), || {
        scans("value_name_pkey") + scans("value_name_person") >= 40
    });
    assert_eq!(scans("value_name_person"), 0);
}

#[test]
fn a_hundred_people_with_one_address_are_a_few_requests_one_by_one() {
    let world = world(100);
    share_the_address(&world);
    let mark = world.cluster.log_mark();
    let (mut caller, told) = world.listening("caller");
    for result in one_by_one(&mut caller, 1..=3) {
        assert_eq!(result["fields_updated"], json!(["job_title", "linkedin_url"]), "{result}");
    }
    // Three names may share it, however long that is known.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((listed(&world, "email"), count_told(&told)), (0, 0));
    enrich(&mut caller, 4).unwrap();
    found(&world, "email");
    for result in one_by_one(&mut caller, 5..=100) {
        assert!(not_identifiable(&result), "{result}");
    }
    assert_eq!(world.provider.count(), 4);
    assert_eq!(number(&mut caller, "SELECT leadlex.credits()"), 10_000 - 4);
    assert_eq!(count_told(&told), 1, "once a session: {told:?}");
    let log = world.cluster.logged_since(mark, "an e-mail address came up");
    assert_eq!(log.matches("an e-mail address came up with more than 3 different names").count(), 1, "{log}");
    assert!(!world.cluster.log().contains(NOBODYS), "no address in the log");
    // Nor anywhere in our tables.
    for table in ["value_name", "shared_value"] {
        let all = format!("SELECT coalesce(string_agg(t::text, ''), '') FROM leadlex.{table} AS t");
        let all: String = world.owner().query_one(&all, &[]).unwrap().get(0);
        assert!(!all.is_empty() && !all.to_lowercase().contains("person") && !all.contains('@'), "{all}");
    }
    // The names of a shared value are not counted for ever.
    assert!(world.number("SELECT count(*) FROM leadlex.value_name AS n JOIN leadlex.shared_value USING (workspace_id, value)") <= 4);
    let failure = fails(enrich(&mut caller, 5));
    assert_eq!(failure.sqlstate, "LX409", "{failure:?}");
    world.check_credits_add_up();
}

#[test]
fn without_a_pause_no_more_are_asked_than_two_seconds_allow() {
    let world = world(60);
    share_the_address(&world);
    world.provider.on(PATH, |request| Behaviour::json(200, own(request)).after(Duration::from_millis(100)));
    let results = one_by_one(&mut world.caller(), 1..=60);
    assert!(world.provider.count() <= 24, "{} requests", world.provider.count());
    assert!(results.iter().filter(|result| not_identifiable(result)).count() >= 36);
}

#[test]
fn in_one_set_nobody_is_asked_about_who_shares_an_address_with_a_hundred() {
    let world = world(110);
    world.run(&format!("UPDATE crm SET email = '{NOBODYS}' WHERE id <= '{}'", contact(100)));
    let mut caller = world.caller();
    let estimate = "SELECT outcome || ': ' || reason, contacts FROM leadlex.estimate('crm', (SELECT array_agg(id::text) FROM crm)) ORDER BY 1";
    let told: Vec<(String, i64)> =
        caller.query(estimate, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(told, [("asked: no receipt".into(), 10), ("skipped: shared value".into(), 100)]);
    let lines = in_a_set(&mut caller, 1..=110);
    let refused = |line: &&(String, Option<String>)| {
        line.0 == "no_match"
            && line.1.as_ref().is_some_and(|text| text.contains("its email is a shared value"))
    };
    assert_eq!(lines.iter().filter(refused).count(), 100, "{lines:?}");
    assert_eq!(world.provider.count(), 10);
    assert_eq!(number(&mut caller, "SELECT leadlex.credits()"), 10_000 - 10);
    // What a set finds counts for everybody.
    found(&world, "email");
    assert!(not_identifiable(&try_enrich(&mut world.caller(), 1)));
    assert_eq!(world.provider.count(), 10);
}

#[test]
fn those_read_first_are_not_asked_about_when_later_ones_share_their_address() {
    let world = world_with(260, &["leadlex.max_people_per_value = 3", "leadlex.max_parallel_requests = 8"]);
    world.run(&format!(
        "UPDATE crm SET email = '{NOBODYS}' WHERE id BETWEEN '{}' AND '{}'",
        contact(254),
        contact(257)
    ));
    let lines = in_a_set(&mut world.caller(), 1..=260);
    assert_eq!(lines.iter().filter(|line| line.0 == "no_match").count(), 4, "{lines:?}");
    assert_eq!(world.provider.count(), 256);
}

#[test]
fn the_queue_asks_about_none_of_them_either() {
    let world = world(50);
    share_the_address(&world);
    let ids: Vec<Uuid> = (1..=50).map(contact).collect();
    world.caller().execute("SELECT leadlex.enqueue($1)", &[&ids]).unwrap();
    eventually("the jobs are done", Duration::from_secs(30), || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done' AND outcome = 'no_match'") == 50
    });
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn a_sandbox_key_fills_a_few_rows_of_a_set_and_no_more() {
    let world = world(200);
    world.provider.on(PATH, |request| Behaviour::json(200, sandbox(request)));
    let (mut caller, told) = world.listening("caller");
    let lines = in_a_set(&mut caller, 1..=200);
    let enriched = lines.iter().filter(|line| line.0 == "enriched").count();
    assert!(enriched <= 3, "{enriched} rows");
    let others = lines.iter().filter(|line| line.0 == "no_match");
    assert_eq!(others.count(), 200 - enriched);
    assert_eq!(
        world.number(
            "SELECT count(*) FROM crm WHERE num_nonnulls(job_title, company_name, linkedin_url, location) > 0"
        ),
        enriched as i64
    );
    assert_eq!(number(&mut caller, "SELECT leadlex.credits()"), 10_000 - enriched as i64);
    assert_eq!(count_told(&told), 1);
    found(&world, "supplied profile");
    // Later calls: not one more, be it from receipts or by another request.
    let asked = world.provider.count();
    let result = try_enrich(&mut caller, 150);
    assert_eq!(result["error"]["reason"], "shared_value", "{result}");
    assert_eq!(result["error"]["shared_by"], json!(["main"]), "{result}");
    world.run("INSERT INTO crm (id, full_name, email) VALUES (gen_random_uuid(), 'Somebody New', 'new@acme.example')");
    let new = "SELECT try_enrich_contact(id)->'error'->>'reason' FROM crm WHERE full_name = 'Somebody New'";
    assert_eq!(caller.query_one(new, &[]).unwrap().get::<_, String>(0), "shared_value");
    assert_eq!(world.provider.count(), asked + 1);
    let shown: Value = world
        .owner()
        .query_one("SELECT leadlex.check_provider('main', '{\"email\": \"other@acme.example\"}')", &[])
        .unwrap()
        .get(0);
    assert_eq!(
        (&shown["outcome"], &shown["reason"]),
        (&json!("no_match"), &json!("shared_value")),
        "{shown}"
    );
    world.check_credits_add_up();
}

#[test]
fn a_sandbox_key_is_found_by_single_calls_and_another_provider_goes_on() {
    let world = world(10);
    world.provider.on(PATH, |request| Behaviour::json(200, sandbox(request)));
    let mark = world.cluster.log_mark();
    let mut caller = world.caller();
    for n in 1..=3 {
        enrich(&mut caller, n).unwrap();
    }
    // The fourth name is the one too many: the worker may know it before this call writes.
    try_enrich(&mut caller, 4);
    found(&world, "supplied profile");
    world.cluster.logged_since(mark, "provider main supplied one LinkedIn profile");
    let result = try_enrich(&mut caller, 5);
    assert_eq!(
        (&result["error"]["code"], &result["error"]["reason"]),
        (&json!("no_match"), &json!("shared_value"))
    );
    assert_eq!(
        world.number(&format!(
            "SELECT count(*) FROM crm WHERE job_title IS NOT NULL AND id >= '{}'",
            contact(5)
        )),
        0
    );
    // The next in the waterfall is asked, as after any that had nothing.
    world.provider.on("/second", |request| Behaviour::json(200, own(request)));
    world.add_provider("second", &world.provider.config("/second"));
    let result = enrich(&mut caller, 5).unwrap();
    assert_eq!(
        (&result["source"], &result["contact"]["job_title"]),
        (&json!("second"), &json!("Title of Person 5"))
    );
}

#[test]
fn a_telephone_number_of_many_is_told_of_and_written() {
    let world = world(8);
    world.provider.on(PATH, |request| {
        let mut body = own(request);
        body["data"]["phone"] = json!("+12025550123");
        Behaviour::json(200, body)
    });
    let mark = world.cluster.log_mark();
    let mut caller = world.caller();
    for n in 1..=4 {
        enrich(&mut caller, n).unwrap();
    }
    found(&world, "supplied phone");
    checked(&world, "supplied phone", 1);
    for n in 5..=8 {
        assert_eq!(enrich(&mut caller, n).unwrap()["contact"]["phone"], "+12025550123");
    }
    assert_eq!((listed(&world, "supplied profile"), listed(&world, "email")), (0, 0));
    said_by_the_check_alone(&world, mark);
    world.run("SELECT leadlex.allow_shared_value('+1 (202) 555-0123')");
    checked(&world, "supplied phone", 0);
}

/// Ten people of one switchboard: alone and with a name, one by one and in a set.
#[test]
fn a_telephone_number_that_many_are_asked_with_is_told_of() {
    for (query, sets) in [
        (json!({"phone": "{phone}"}), json!([["phone"]])),
        (json!({"phone": "{phone}", "name": "{full_name}"}), json!([["phone", "full_name"]])),
    ] {
        for in_a_set in [false, true] {
            let world = world(10);
            world.run("UPDATE crm SET email = NULL, phone = '+1 202 555 0123'");
            let mut config = world.provider.config(PATH);
            config["request"]["query"] = query.clone();
            config["identify_by"] = sets.clone();
            world.run("SELECT leadlex.drop_provider('main')");
            world.add_provider("by_phone", &config);
            let mark = world.cluster.log_mark();
            let mut caller = world.caller();
            match in_a_set {
                true => drop(
                    caller
                        .query(
                            "SELECT FROM enrich_contacts($1)",
                            &[&(1..=10).map(contact).collect::<Vec<_>>()],
                        )
                        .unwrap(),
                ),
                false => (1..=10).for_each(|n| drop(enrich(&mut caller, n))),
            }
            found(&world, "phone");
            checked(&world, "phone", 1);
            said_by_the_check_alone(&world, mark);
            // It still identifies.
            assert!(world.number("SELECT count(job_title) FROM crm") >= 3);
            world.run("SELECT leadlex.allow_shared_value('tel:+12025550123')");
            checked(&world, "phone", 0);
        }
    }
}

/// Lines of leadlex.check() about values of this kind.
fn checked(world: &World, kind: &str, lines: i64) {
    let sql = format!(
        "SELECT count(*) FROM leadlex.check() AS c WHERE c::text LIKE '%of the kind {kind} came up%'"
    );
    assert_eq!(world.number(&sql), lines, "{kind}");
}

fn said_by_the_check_alone(world: &World, mark: usize) {
    let events =
        "SELECT count(*) FROM leadlex.event WHERE event = 'shared_value' AND detail->>'kind' LIKE '%phone'";
    assert_eq!(world.number(events), 0);
    assert!(!world.cluster.log_since(mark).contains("telephone"));
}

#[test]
fn answers_from_receipts_are_counted_and_so_are_those_of_which_nothing_is_kept() {
    for receipts in [true, false] {
        let world = world(40);
        share_the_address(&world);
        // It is not told the name: to this provider all are one question.
        let mut config = world.provider.config(PATH);
        config["request"]["query"] = json!({"email": "{email}"});
        config["identify_by"] = json!([["email"]]);
        world.run("SELECT leadlex.drop_provider('main')");
        world.add_provider("blind", &config);
        let mut caller = world.caller();
        if !receipts {
            caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
        }
        let first = one_by_one(&mut caller, 1..=4);
        // The fourth name is the one too many: the worker may know of the profile in the answer before that call writes.
        let written = first.iter().filter(|result| result["error"].is_null()).count();
        assert!(written >= 3, "{first:?}");
        found(&world, "email");
        assert_eq!(world.provider.count(), if receipts { 1 } else { 4 });
        for result in one_by_one(&mut caller, 5..=40) {
            assert!(not_identifiable(&result), "{result}");
        }
        assert_eq!(world.number("SELECT count(*) FROM crm WHERE job_title IS NOT NULL"), written as i64);
    }
}

#[test]
fn it_is_off_with_minus_one_and_with_zero() {
    for value in ["-1", "0"] {
        let world = world_with(12, &[&format!("leadlex.max_people_per_value = {value}")]);
        share_the_address(&world);
        world.provider.on(PATH, |request| Behaviour::json(200, sandbox(request)));
        let mut caller = world.caller();
        for result in one_by_one(&mut caller, 1..=6) {
            assert_eq!(result["contact"]["job_title"], "Tester", "{result}");
        }
        assert!(in_a_set(&mut caller, 7..=12).iter().all(|line| line.0 == "enriched"));
        std::thread::sleep(Duration::from_secs(1));
        let held =
            "SELECT (SELECT count(*) FROM leadlex.value_name) + (SELECT count(*) FROM leadlex.shared_value)";
        assert_eq!(world.number(held), 0);
    }
}

#[test]
fn a_superuser_sets_how_many() {
    let world = world(6);
    share_the_address(&world);
    let mut caller = world.caller();
    let failure = fails(caller.batch_execute("SET leadlex.max_people_per_value = 100"));
    assert_eq!(failure.sqlstate, "42501", "{failure:?}");
    one_by_one(&mut caller, 1..=4);
    found(&world, "email");
    assert!(not_identifiable(&try_enrich(&mut caller, 5)));
    // With more allowed, what was found with fewer counts again.
    world.run("ALTER SYSTEM SET leadlex.max_people_per_value = 5");
    world.run("SELECT pg_reload_conf()");
    eventually("the setting counts", Duration::from_secs(10), || {
        try_enrich(&mut caller, 5)["error"].is_null()
    });
}

/// Each session remembers that nothing is shared, no longer than that: whatever its snapshot shows, and whatever it has written.
#[test]
fn what_is_found_counts_in_sessions_that_knew_of_nothing_shared() {
    let world = world(40);
    world.run(&format!("UPDATE crm SET email = '{NOBODYS}' WHERE full_name = ANY (SELECT full_name FROM crm ORDER BY id LIMIT 20)"));
    let mut sessions: Vec<Client> = (0..3).map(|_| world.caller()).collect();
    sessions[1].batch_execute("BEGIN").unwrap();
    sessions[2].batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    for (client, n) in sessions.iter_mut().zip(31..) {
        enrich(client, n).unwrap();
    }
    for result in one_by_one(&mut world.caller(), 1..=4) {
        assert_eq!(result["fields_updated"], json!(["job_title", "linkedin_url"]), "{result}");
    }
    found(&world, "email");
    world.provider.forget();
    for (client, n) in sessions.iter_mut().zip(5..) {
        let result = try_enrich(client, n);
        assert!(not_identifiable(&result), "{n}: {result}");
    }
    assert_eq!(world.provider.count(), 0);
}

/// The same of a profile that its provider supplies for many.
#[test]
fn a_supplied_profile_counts_in_sessions_that_knew_of_nothing_shared() {
    let world = world(20);
    let mut other = world.caller();
    enrich(&mut other, 11).unwrap();
    world.provider.on(PATH, |request| Behaviour::json(200, sandbox(request)));
    one_by_one(&mut world.caller(), 1..=4);
    found(&world, "supplied profile");
    let result = try_enrich(&mut other, 12);
    assert_eq!(result["error"]["reason"], "shared_value", "{result}");
}

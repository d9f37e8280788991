//! A contact that becomes somebody else while providers are asked about it, and they have nothing: of the one who stands there now
//! that was not found out.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{rows, texts, world};
use crate::support::{Behaviour, eventually};
use crate::world::{PATH, World, contact, number};

const SOON: Duration = Duration::from_secs(20);
const SOMEBODY_ELSE: &str = "UPDATE crm SET email = 'somebody.else@acme.example', full_name = 'Zoe Quill'";

/// One provider, which answers so after a moment; the row has a place for what came of it.
fn slow(status: u16, body: serde_json::Value) -> World {
    let world = world(1, &[]);
    world.run("SELECT leadlex.enable_provider('other', false)");
    world.run("ALTER TABLE crm ADD enrichment_status text");
    world.run(&format!("SELECT leadlex.bind_contacts('crm', workspace_id => '{}')", world.workspace));
    let late = move |_: &_| Behaviour::json(status, body.clone()).after(Duration::from_millis(700));
    world.provider.on(PATH, late);
    world
}

/// What the call comes to while `change` is committed: its text, or the SQLSTATE of its error.
fn beside(world: &World, change: &str, sql: &str) -> Option<String> {
    let mut caller = world.caller();
    let asked = world.provider.count_of(PATH);
    thread::scope(|scope| {
        let call = scope.spawn(move || caller.query_one(sql, &[&contact(1)]));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        world.run(change);
        match call.join().unwrap() {
            Ok(row) => row.get(0),
            Err(error) => error.code().map(|code| code.code().to_owned()),
        }
    })
}

fn word(world: &World) -> Vec<String> {
    texts(&mut world.owner(), "SELECT coalesce(enrichment_status, '') FROM crm")
}

/// No data, a failure, and a match with nothing of what is wanted.
fn each_answer() -> [(u16, serde_json::Value); 3] {
    let nothing_wanted = json!({"likelihood": 9, "data": {"job_title": "Editor", "phone": null}});
    [(404, json!({})), (500, json!({})), (200, nothing_wanted)]
}

const ALONE: &str = "SELECT enrich_contact($1, '{phone}') ->> 'source'";
const IN_A_SET: &str = "SELECT coalesce(error_code, status) FROM enrich_contacts(ARRAY[$1::uuid], '{phone}')";

#[test]
fn what_was_not_found_of_somebody_is_not_told_of_somebody_else() {
    for (status, body) in each_answer() {
        for sql in [ALONE, IN_A_SET] {
            let world = slow(status, body.clone());
            assert_eq!(beside(&world, SOMEBODY_ELSE, sql).as_deref(), Some("40001"), "{status} {sql}");
            assert_eq!(word(&world), [""], "{status} {sql}");
        }
    }
}

/// Two rows of one person are asked about by one request, and what is remembered is told without one.
#[test]
fn so_it_is_where_the_request_was_about_another_row_or_none_was_needed() {
    let set = "SELECT coalesce(error_code, status) FROM enrich_contacts($1::uuid[], '{phone}') OFFSET 1";
    let second = format!("{SOMEBODY_ELSE} WHERE id = '{}'", contact(2));
    for remembered in [false, true] {
        let world = slow(404, json!({}));
        let email = if remembered { "second@acme.example" } else { "person1@acme.example" };
        world.run(&format!(
            "INSERT INTO crm (id, full_name, email) VALUES ('{}', 'Person 1', '{email}')",
            contact(2)
        ));
        let mut caller = world.caller();
        if remembered {
            caller.execute("SELECT try_enrich_contact($1, '{phone}')", &[&contact(2)]).unwrap();
            world.provider.forget();
            world.run("UPDATE crm SET enrichment_status = NULL");
            // The first is under way while the second waits for its turn.
            world.cluster.set("leadlex.max_parallel_requests", "1");
        }
        let told: String = thread::scope(|scope| {
            let call = scope.spawn(|| caller.query_one(set, &[&vec![contact(1), contact(2)]]));
            world.provider.wait_for(1, Duration::from_secs(10));
            world.run(&second);
            call.join().unwrap().unwrap().get(0)
        });
        assert_eq!(told, "40001", "remembered: {remembered}");
        let words = texts(&mut world.owner(), "SELECT coalesce(enrichment_status, '') FROM crm ORDER BY id");
        assert_eq!(words, ["no_match", ""], "remembered: {remembered}");
    }
}

/// Who waits for another call about the contact reads the row afterwards.
#[test]
fn who_waits_for_another_call_about_the_contact_asks_about_the_one_who_stands_there_then() {
    for sql in [ALONE, IN_A_SET] {
        let world = slow(404, json!({}));
        let (mut first, mut second) = (world.caller(), world.caller());
        let told = thread::scope(|scope| {
            let before = scope.spawn(|| first.query_one(IN_A_SET, &[&contact(1)]));
            world.provider.wait_for(1, Duration::from_secs(10));
            let call = scope.spawn(|| second.query_one(sql, &[&contact(1)]));
            thread::sleep(Duration::from_millis(100));
            assert!(!call.is_finished(), "it waits");
            world.run(SOMEBODY_ELSE);
            let _ = call.join().unwrap();
            before.join().unwrap().unwrap().get::<_, String>(0)
        });
        let asked = world.provider.requests();
        let emails: Vec<_> = asked.iter().map(|request| request.param("email").unwrap_or_default()).collect();
        assert_eq!(emails, ["person1@acme.example", "somebody.else@acme.example"], "{sql}");
        assert_eq!(told, "40001");
    }
}

#[test]
fn a_row_that_is_gone_is_not_found_whatever_was_answered() {
    for (sql, expected) in [(ALONE, "LX404"), (IN_A_SET, "not_found")] {
        let world = slow(404, json!({}));
        assert_eq!(beside(&world, "DELETE FROM crm", sql).as_deref(), Some(expected));
        thread::sleep(Duration::from_secs(3));
        assert_eq!(world.number("SELECT count(*) FROM leadlex.last_outcome"), 0, "{sql}");
    }
}

/// Of a provider that was not asked, nothing is said.
#[test]
fn what_identifies_the_contact_to_others_alone_may_change() {
    let world = slow(404, json!({}));
    let mut other = world.provider.config("/by-name");
    other["identify_by"] = json!([["full_name", "company_name"]]);
    other["request"]["query"] = json!({"name": "{full_name}", "company": "{company_name}"});
    other["response"]["fields"] = json!({"location": "/data/location"});
    world.add_provider("by_name", &other);
    world.run("UPDATE crm SET company_name = 'Acme', location = 'Boston'");
    for (sql, expected) in [(IN_A_SET, "no_match"), (ALONE, "LX409")] {
        world.run("SELECT leadlex.recheck('main', '-infinity')");
        let change = format!("UPDATE crm SET company_name = '{expected}'");
        assert_eq!(beside(&world, &change, sql).as_deref(), Some(expected));
    }
}

/// A change of what identifies nobody is none.
#[test]
fn another_change_of_the_row_is_no_other_person() {
    let world = slow(404, json!({}));
    let told = beside(&world, "UPDATE crm SET job_title = 'Editor'", IN_A_SET);
    assert_eq!((told.as_deref(), word(&world)), (Some("no_match"), vec!["no_match".to_owned()]));
    let world = slow(404, json!({}));
    let told = beside(&world, "UPDATE crm SET job_title = 'Editor'", ALONE);
    assert_eq!((told.as_deref(), word(&world)), (Some("LX409"), vec![String::new()]));
}

#[test]
fn a_check_that_found_nothing_is_not_noted_of_somebody_else() {
    for sql in [ALONE, IN_A_SET] {
        let world = slow(404, json!({}));
        world.run("UPDATE crm SET phone = '+12025550101'");
        let over = sql.replace("'{phone}'", "'{phone}', true");
        assert_eq!(beside(&world, SOMEBODY_ELSE, &over).as_deref(), Some("40001"), "{sql}");
        assert_eq!(world.number("SELECT count(*) FROM leadlex.checked"), 0, "{sql}");
    }
}

#[test]
fn the_queue_asks_about_the_one_who_stands_there_now() {
    for (status, body) in each_answer() {
        let world = slow(status, body);
        world.cluster.set("leadlex.job_retry_base", "100ms");
        let mut caller = world.caller();
        caller.execute("SELECT leadlex.enqueue(ARRAY[$1::uuid], '{phone}')", &[&contact(1)]).unwrap();
        world.provider.wait_for(1, Duration::from_secs(10));
        world.run(SOMEBODY_ELSE);
        world.provider.on(PATH, |request| match request.param("email") {
            Some("somebody.else@acme.example") => {
                Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+12025550142"}}))
            }
            _ => Behaviour::json(404, json!({})),
        });
        let mut owner = world.owner();
        eventually("the job is over", SOON, || {
            number(&mut owner, "SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 1
        });
        let told = rows(&mut owner, "SELECT j.outcome, c.phone FROM leadlex.job AS j, crm AS c");
        assert_eq!(told, [json!({"outcome": "enriched", "phone": "+12025550142"})], "{status}");
    }
}

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

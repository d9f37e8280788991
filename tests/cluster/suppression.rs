//! People whom nobody is to be asked about: by leadlex.suppress, and since a provider refused.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Behaviour, Stop, eventually, fails, person};
use crate::world::{Beginning, PATH, World, contact, credits, enrich, try_enrich};

fn world() -> World {
    World::with(&Beginning { contacts: 10, ..Beginning::default() })
}

fn suppressed(error: &Value) -> bool {
    error["code"] == "no_match" && error["reason"] == "suppressed" && error["status"] == 409
}

fn refuse(world: &World) {
    let config = json!({"response": {"suppressed": {"status": [451]}}});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    world.provider.on(PATH, |_| Behaviour::json(451, json!({"message": "GDPR"})));
}

fn listed(world: &World, rows: i64) {
    eventually("the refusal is on the list", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.suppression") == rows
    });
}

#[test]
fn a_suppressed_person_is_not_asked_about_and_costs_nothing() {
    let world = world();
    let before = world.ledger();
    let mut owner = world.owner();
    let suppress = |owner: &mut postgres::Client, email: &str| -> bool {
        owner.query_one("SELECT leadlex.suppress($1, 'asked us to')", &[&email]).unwrap().get(0)
    };
    assert!(suppress(&mut owner, " Person1@ACME.example"));
    assert!(!suppress(&mut owner, "person1@acme.example"), "already there");
    let mut caller = world.caller();
    let failure = fails(enrich(&mut caller, 1));
    assert_eq!(failure.sqlstate, "LX409", "{failure:?}");
    assert!(suppressed(&failure.json()), "{failure:?}");
    assert_eq!((world.provider.count(), world.ledger()), (0, before));
    // Whatever else is asked for or set.
    for setting in ["leadlex.receipt_ttl = 0", "leadlex.recheck_after = 0"] {
        caller.batch_execute(&format!("SET {setting}")).unwrap();
        assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    }
    let overwriting = "SELECT try_enrich_contact($1, NULL, true)";
    let result: Value = caller.query_one(overwriting, &[&contact(1)]).unwrap().get(0);
    assert!(suppressed(&result["error"]), "{result}");
    let check = "SELECT leadlex.check_provider('main', '{\"email\": \"person1@acme.example\"}')";
    let shown: Value = owner.query_one(check, &[]).unwrap().get(0);
    assert_eq!((&shown["outcome"], &shown["reason"]), (&json!("not_asked"), &json!("suppressed")));
    assert_eq!(world.provider.count(), 0);
    // Nor by a provider that serves every workspace, while there is only the one that has listed the person.
    world.run("SELECT leadlex.suppress('person3@acme.example', 'asked us to', id) FROM leadlex.workspace");
    let check = check.replace("person1@", "person3@");
    let shown: Value = owner.query_one(&check, &[]).unwrap().get(0);
    assert_eq!((&shown["outcome"], &shown["reason"]), (&json!("not_asked"), &json!("suppressed")));
    assert_eq!(world.provider.count(), 0);
    enrich(&mut caller, 2).unwrap();
    // The list holds no address.
    let list: String =
        owner.query_one("SELECT jsonb_agg(s)::text FROM leadlex.suppression AS s", &[]).unwrap().get(0);
    assert!(!list.to_lowercase().contains("person1") && list.contains("asked us to"), "{list}");
    let taken_back: bool =
        owner.query_one("SELECT leadlex.unsuppress('person1@acme.example')", &[]).unwrap().get(0);
    assert!(taken_back);
    enrich(&mut caller, 1).unwrap();
}

#[test]
fn suppression_is_of_one_workspace_or_of_all_and_follows_transactions() {
    let world = world();
    let mut owner = world.owner();
    let other: uuid::Uuid =
        owner.query_one("SELECT leadlex.create_workspace('other', NULL, 'unmetered')", &[]).unwrap().get(0);
    owner.execute("SELECT leadlex.suppress('person1@acme.example', workspace_id => $1)", &[&other]).unwrap();
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    owner
        .execute("SELECT leadlex.suppress('person2@acme.example', workspace_id => $1)", &[&world.workspace])
        .unwrap();
    assert!(suppressed(&try_enrich(&mut caller, 2)["error"]));
    // A role that may read the list sees the rows of its own workspaces only.
    assert_eq!(fails(caller.query("SELECT FROM leadlex.suppression", &[])).sqlstate, "42501");
    owner.batch_execute("GRANT SELECT ON leadlex.suppression TO caller").unwrap();
    let seen: i64 = caller.query_one("SELECT count(*) FROM leadlex.suppression", &[]).unwrap().get(0);
    assert_eq!(seen, 1);
    let mut transaction = owner.transaction().unwrap();
    transaction.execute("SELECT leadlex.suppress('person3@acme.example')", &[]).unwrap();
    enrich(&mut caller, 3).unwrap();
    transaction.commit().unwrap();
    world.run("UPDATE crm SET phone = NULL");
    assert!(suppressed(&try_enrich(&mut caller, 3)["error"]));
    for wrong in ["NULL", "''", "'no address'", "'@x'"] {
        let failure = fails(world.owner().batch_execute(&format!("SELECT leadlex.suppress({wrong})")));
        assert_eq!(failure.sqlstate, "22023", "{wrong}");
    }
    let refused = fails(caller.batch_execute("SELECT leadlex.suppress('person4@acme.example')"));
    assert_eq!(refused.sqlstate, "42501");
}

/// That the list is empty is remembered no longer than nothing is written.
#[test]
fn who_is_put_on_an_empty_list_within_a_transaction_is_found_on_it() {
    let world = world();
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let mut owner = world.owner();
    let nobody = |result: Value| assert_eq!(result["error"]["reason"], "no_data", "{result}");
    // By this transaction, which has written nothing before.
    owner.batch_execute("BEGIN; SET LOCAL ROLE caller").unwrap();
    nobody(try_enrich(&mut owner, 1));
    owner
        .batch_execute("RESET ROLE; SELECT leadlex.suppress('person2@acme.example'); SET LOCAL ROLE caller")
        .unwrap();
    assert!(suppressed(&try_enrich(&mut owner, 2)["error"]));
    owner.batch_execute("ROLLBACK").unwrap();
    // By another one, while this goes on.
    world.run("TRUNCATE leadlex.suppression");
    let mut caller = world.caller();
    caller.batch_execute("BEGIN").unwrap();
    nobody(try_enrich(&mut caller, 3));
    world.run("SELECT leadlex.suppress('person4@acme.example')");
    assert!(suppressed(&try_enrich(&mut caller, 4)["error"]));
}

#[test]
fn a_providers_refusal_survives_the_rollback_that_it_causes_and_stops_every_other_call() {
    let world = world();
    refuse(&world);
    world.add_provider("second", &world.provider.config("/second"));
    let mut caller = world.caller();
    let failure = fails(enrich(&mut caller, 1));
    assert!(suppressed(&failure.json()), "{failure:?}");
    assert_eq!(world.provider.count_of("/second"), 0, "it ends there, whoever would be next");
    assert_eq!(credits(&mut caller), Some(10));
    // At once; and then by whatever identifies the person.
    assert!(suppressed(&try_enrich(&mut world.caller(), 1)["error"]));
    listed(&world, 1);
    world.run("UPDATE crm SET email = 'PERSON1@acme.example', full_name = 'J. Other' WHERE id = '00000000-0000-4000-8000-000000000002'");
    assert!(suppressed(&try_enrich(&mut caller, 2)["error"]), "the same person in another row");
    assert_eq!(world.provider.count(), 1);
    // It is no receipt: forgetting the contact does not bring them back, nor does a restart.
    world.run("SELECT leadlex.forget_contact('00000000-0000-4000-8000-000000000001')");
    world.cluster.restart(Stop::Immediate);
    assert!(suppressed(&try_enrich(&mut world.caller(), 1)["error"]));
    assert_eq!(world.provider.count(), 1);
    let source: String =
        world.owner().query_one("SELECT source FROM leadlex.suppression", &[]).unwrap().get(0);
    assert_eq!(source, "main");
}

#[test]
fn a_refusal_is_kept_with_receipts_off_and_after_a_cancel() {
    let world = world();
    refuse(&world);
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    listed(&world, 1);
    world.provider.on(PATH, |_| Behaviour::json(451, json!({})).after(Duration::from_millis(300)));
    world.abandon(&mut caller, 2);
    listed(&world, 2);
    assert!(suppressed(&try_enrich(&mut caller, 2)["error"]));
    assert_eq!(world.provider.count(), 2);
}

/// A refusal is hashes alone: to be forgotten does not mean to be asked about again.
#[test]
fn a_refusal_is_kept_although_the_contact_was_forgotten_before_it_came() {
    let world = world();
    refuse(&world);
    world.provider.on(PATH, |_| Behaviour::json(451, json!({})).after(Duration::from_millis(700)));
    let mut caller = world.caller();
    world.abandon(&mut caller, 1);
    world.run(&format!("SELECT leadlex.forget_contact('{}')", contact(1)));
    listed(&world, 1);
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn what_cannot_be_taken_off_in_time_is_told() {
    let world = world();
    refuse(&world);
    let mut lock = world.owner();
    // Where only the receipts cannot be written, refusals are.
    lock.batch_execute("BEGIN; LOCK TABLE leadlex.suppression IN SHARE MODE").unwrap();
    let mut caller = world.caller();
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    for sql in [
        "SELECT leadlex.unsuppress('person1@acme.example')".to_owned(),
        format!("SELECT leadlex.unsuppress_contact('{}')", contact(1)),
    ] {
        let mut owner = world.owner();
        // Where nothing were known of the refusal, it would wait for the lock for ever.
        owner.batch_execute("SET lock_timeout = '30s'").unwrap();
        let failure = fails(owner.query(&sql, &[]));
        assert_eq!(failure.sqlstate, "55000", "{sql}: {failure:?}");
        assert!(
            failure.hint.as_deref().is_some_and(|hint| hint.contains("Nothing was taken off the list.")),
            "{failure:?}"
        );
    }
    lock.batch_execute("ROLLBACK").unwrap();
    listed(&world, 1);
    world.run("SELECT leadlex.unsuppress('person1@acme.example')");
    listed(&world, 0);
}

#[test]
fn what_another_provider_told_before_a_refusal_is_not_written() {
    let world = world();
    refuse(&world);
    let first = json!({"response": {"fields": {
        "job_title": "/data/job_title", "phone": null, "company_name": null, "linkedin_url": null, "location": null, "seniority": null
    }}});
    let mut config = world.provider.config("/first");
    config["response"]["fields"] = first["response"]["fields"].clone();
    world
        .owner()
        .execute(
            "SELECT leadlex.add_provider('first', config => $1, secret => 'x', priority => 1)",
            &[&config],
        )
        .unwrap();
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.waterfall = 'fill'").unwrap();
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    assert_eq!(world.provider.count_of("/first"), 1);
    let title: Option<String> =
        world.owner().query_one("SELECT job_title FROM crm WHERE id = $1", &[&contact(1)]).unwrap().get(0);
    assert_eq!(title, None);
    assert_eq!(world.ledger().charges, 0);
}

#[test]
fn a_refusal_counts_before_it_is_in_the_ledger_and_can_be_taken_back_by_then() {
    let world = world();
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person1@acme.example") => Behaviour::json(451, json!({})),
        _ => Behaviour::json(200, person()),
    });
    world.run(
        "UPDATE crm SET email = 'PERSON1@acme.example' WHERE id = '00000000-0000-4000-8000-000000000002'",
    );
    let mut caller = world.caller();
    for round in 1..=3 {
        // In one statement, whose snapshot is older than what the worker writes.
        let both = "SELECT try_enrich_contact($1), try_enrich_contact($2)";
        let row = caller.query_one(both, &[&contact(1), &contact(2)]).unwrap();
        assert!(suppressed(&row.get::<_, Value>(0)["error"]));
        assert!(suppressed(&row.get::<_, Value>(1)["error"]), "the same person in another row");
        assert_eq!(world.provider.count(), round);
        let sql =
            "SELECT leadlex.check_provider('main', '{\"email\": \"Person1@acme.example\"}') ->> 'reason'";
        let reason: Option<String> = world.owner().query_one(sql, &[]).unwrap().get(0);
        assert_eq!(reason.as_deref(), Some("suppressed"));
        let taken_back: bool =
            world.owner().query_one("SELECT leadlex.unsuppress('person1@acme.example')", &[]).unwrap().get(0);
        assert!(taken_back);
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(world.number("SELECT count(*) FROM leadlex.suppression"), 0, "it does not come back");
    }
}

#[test]
fn who_is_put_on_the_list_while_a_call_waits_is_not_asked_about_any_more() {
    let world = world();
    let mut first = world.provider.config("/first");
    first["response"]["fields"] = json!({"job_title": "/data/job_title"});
    world
        .owner()
        .execute(
            "SELECT leadlex.add_provider('first', config => $1, secret => 'x', priority => 1)",
            &[&first],
        )
        .unwrap();
    world.provider.on("/first", |_| Behaviour::json(200, person()));
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.waterfall = 'fill'").unwrap();
    let held = world.provider.hold();
    let call = std::thread::spawn(move || try_enrich(&mut caller, 1));
    world.provider.wait_for(1, Duration::from_secs(10));
    world.run("SELECT leadlex.suppress('Person One <PERSON1@acme.example>')");
    drop(held);
    assert!(suppressed(&call.join().unwrap()["error"]));
    assert_eq!(world.provider.count(), 1, "the second provider was not asked");
    assert_eq!(world.ledger().charges, 0);
}

#[test]
fn a_refusal_that_cannot_be_written_yet_holds_up_nothing_else() {
    let world = world();
    refuse(&world);
    let mut open = world.owner();
    open.batch_execute("BEGIN; SELECT leadlex.suppress('person1@acme.example')").unwrap();
    let mut caller = world.caller();
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    enrich(&mut caller, 2).unwrap();
    eventually("the answer is in the tables", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.receipt WHERE matched") == 1
    });
    assert!(suppressed(&try_enrich(&mut caller, 1)["error"]));
    open.batch_execute("ROLLBACK").unwrap();
    listed(&world, 1);
}

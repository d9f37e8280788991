//! One contact, one question; and whose word counts when several write to the same contact.

use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, IsolationLevel};
use serde_json::{Value, json};

use crate::support::{Behaviour, eventually, fails, person};
use crate::world::{Beginning, PATH, PHONE, World, contact, enrich, only_phone, pid, sqlstate, try_enrich};

fn slow(world: &World, milliseconds: u64) {
    world
        .provider
        .on(PATH, move |_| Behaviour::json(200, person()).after(Duration::from_millis(milliseconds)));
}

fn overwrite(client: &mut impl postgres::GenericClient, n: i32) -> Result<Value, postgres::Error> {
    let row = client.query_one("SELECT enrich_contact($1, overwrite => true)", &[&contact(n)]);
    row.map(|row| row.get(0))
}

#[test]
fn two_calls_for_one_contact_ask_and_charge_once() {
    let world = World::new();
    slow(&world, 300);
    let mut clients: Vec<Client> = (0..8).map(|_| world.caller()).collect();
    let results: Vec<Value> = thread::scope(|scope| {
        let calls: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(move || enrich(client, 1).unwrap())).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(world.provider.count(), 1);
    assert_eq!(results.iter().filter(|r| r["fields_updated"] == json!([])).count(), 7);
    assert!(results.iter().all(|r| r["contact"]["phone"] == PHONE), "all see the filled fields");
    assert_eq!(world.ledger().charges, 1);
    world.check_credits_add_up();
}

#[test]
fn a_second_call_waits_for_the_first_ones_transaction() {
    let world = World::new();
    for (n, end) in [(1, "COMMIT"), (2, "ROLLBACK")] {
        world.provider.forget();
        let mut first = world.caller();
        first.batch_execute("BEGIN").unwrap();
        enrich(&mut first, n).unwrap();
        let mut second = world.caller();
        let backend = pid(&mut second);
        let result = thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut second, n));
            world.wait_until_blocked(backend);
            assert_eq!(world.provider.count(), 1, "nothing asked while it waits");
            first.batch_execute(end).unwrap();
            call.join().unwrap().unwrap()
        });
        assert_eq!(result["contact"]["phone"], PHONE);
        let updated = if end == "COMMIT" { 0 } else { 6 };
        assert_eq!(result["fields_updated"].as_array().unwrap().len(), updated, "{end}");
        assert_eq!(world.provider.count(), 1, "{end}: what was paid for before a rollback is used");
    }
    assert_eq!(world.ledger().charges, 2);
    world.check_credits_add_up();
}

#[test]
fn a_rolled_back_savepoint_lets_the_contact_go() {
    let world = World::new();
    let mut first = world.caller();
    first.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    enrich(&mut first, 1).unwrap();
    first.batch_execute("ROLLBACK TO s").unwrap();
    let mut second = world.caller();
    second.batch_execute("SET lock_timeout = '2s'; SET statement_timeout = '5s'").unwrap();
    assert_eq!(enrich(&mut second, 1).unwrap()["contact"]["phone"], PHONE);
    first.batch_execute("COMMIT").unwrap();
    assert_eq!(world.ledger().charges, 1);
    world.check_credits_add_up();
}

/// A call that ends in an error has written nothing, so nobody need wait for its transaction.
#[test]
fn a_failed_call_lets_the_contact_go() {
    let world = World::new();
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})));
    let mut first = world.caller();
    first.batch_execute("BEGIN").unwrap();
    assert_eq!(try_enrich(&mut first, 1)["error"]["code"], "provider_unavailable");
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    let mut second = world.caller();
    second.batch_execute("SET lock_timeout = '2s'").unwrap();
    enrich(&mut second, 1).unwrap();
    first.batch_execute("COMMIT").unwrap();
}

#[test]
fn two_transactions_that_cross_over_two_contacts_are_a_deadlock_that_is_found() {
    let world = World::new();
    world.cluster.set("deadlock_timeout", "200ms");
    let (mut one, mut two) = (world.caller(), world.caller());
    for client in [&mut one, &mut two] {
        client.batch_execute("BEGIN").unwrap();
    }
    enrich(&mut one, 1).unwrap();
    enrich(&mut two, 2).unwrap();
    let backend = pid(&mut one);
    let started = Instant::now();
    let finish = |mut client: Client, result: &Result<Value, postgres::Error>| {
        client.batch_execute(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }).unwrap();
    };
    let states = thread::scope(|scope| {
        let crossing = scope.spawn(|| {
            let result = enrich(&mut one, 2);
            let state = sqlstate(&result);
            one.batch_execute(if result.is_ok() { "COMMIT" } else { "ROLLBACK" }).unwrap();
            state
        });
        world.wait_until_blocked(backend);
        let result = enrich(&mut two, 1);
        let state = sqlstate(&result);
        finish(two, &result);
        [crossing.join().unwrap(), state]
    });
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(states.iter().filter(|s| *s == "40P01").count(), 1, "{states:?}");
    assert_eq!(states.iter().filter(|s| *s == "00000").count(), 1, "{states:?}");
    assert_eq!(world.ledger().charges, 2);
    world.check_credits_add_up();
}

#[test]
fn a_person_who_edits_the_contact_meanwhile_is_not_blocked_and_wins() {
    let world = World::new();
    slow(&world, 600);
    let mut caller = world.caller();
    let mut person = world.owner();
    let result = thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1));
        world.provider.wait_for(1, Duration::from_secs(5));
        let started = Instant::now();
        person
            .execute(
                "UPDATE crm SET phone = '+12025550142', note = 'edited', location = '' WHERE id = $1",
                &[&contact(1)],
            )
            .unwrap();
        assert!(started.elapsed() < Duration::from_millis(400), "the edit waited {:?}", started.elapsed());
        assert!(!call.is_finished(), "the call was still waiting for the provider");
        call.join().unwrap().unwrap()
    });
    assert_eq!(world.phone(1).as_deref(), Some("+12025550142"));
    assert_eq!(result["contact"]["phone"], "+12025550142");
    let updated = result["fields_updated"].as_array().unwrap();
    assert!(!updated.contains(&json!("phone")) && updated.len() == 5, "{updated:?}");
    let note: String = person.query_one("SELECT note FROM crm WHERE id = $1", &[&contact(1)]).unwrap().get(0);
    assert_eq!(note, "edited");
}

/// The provider's phone number was there already when the call looked, so only the others have to be written.
#[test]
fn a_field_that_needed_no_change_is_looked_at_again_after_an_edit_meanwhile() {
    for (edit, updated) in [("NULL", 6), ("'+12025550142'", 6), ("phone", 5)] {
        let world = World::new();
        world.run(&format!("UPDATE crm SET phone = '{PHONE}'"));
        slow(&world, 300);
        let mut caller = world.caller();
        let result: Value = thread::scope(|scope| {
            let sql = "SELECT enrich_contact($1, overwrite => true)";
            let call = scope.spawn(|| caller.query_one(sql, &[&contact(1)]).unwrap().get(0));
            world.provider.wait_for(1, Duration::from_secs(5));
            world.run(&format!("UPDATE crm SET phone = {edit}, note = 'edited'"));
            call.join().unwrap()
        });
        assert_eq!(world.phone(1).as_deref(), Some(PHONE), "{edit}");
        assert_eq!(result["fields_updated"].as_array().unwrap().len(), updated, "{edit}");
        let changed = "SELECT count(*) FROM leadlex.enrichment, jsonb_each_text(new_values) AS n
                       WHERE value IS NOT NULL AND value IS DISTINCT FROM old_values->>key";
        assert_eq!(world.number(changed), updated as i64, "{edit}");
    }
}

#[test]
fn what_was_answered_about_another_person_is_not_written() {
    let world = World::new();
    slow(&world, 400);
    let change = |n: i32, change: &str| {
        world.provider.wait_for(1, Duration::from_secs(10));
        world.run(&format!("UPDATE crm SET {change} WHERE id = '{}'", contact(n)));
    };
    let mut caller = world.caller();
    for overwrites in [false, true] {
        world.provider.forget();
        let refused = thread::scope(|scope| {
            let call = scope.spawn(|| match overwrites {
                true => overwrite(&mut caller, 2),
                false => enrich(&mut caller, 1),
            });
            change(if overwrites { 2 } else { 1 }, "email = 'successor@acme.example'");
            fails(call.join().unwrap())
        });
        assert_eq!(refused.sqlstate, "40001");
        assert!(refused.message.ends_with("became another person while providers were asked about it"));
    }
    assert_eq!((world.phone(1), world.phone(2), world.ledger().charges), (None, None, 0));
    // The next call asks about who it is now.
    world.provider.forget();
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], PHONE);
    assert_eq!(world.provider.requests()[0].param("email"), Some("successor@acme.example"));

    // In a set it fails alone.
    world.provider.forget();
    let sql = "SELECT status, coalesce(error_code, ''), phone FROM enrich_contacts($1) AS e, crm WHERE crm.id = e.contact_id ORDER BY crm.id";
    let ids = vec![contact(3), contact(4)];
    let rows = thread::scope(|scope| {
        let call = scope.spawn(|| caller.query(sql, &[&ids]).unwrap());
        change(3, "email = 'another@acme.example'");
        call.join().unwrap()
    });
    let told: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(told, [("failed".into(), "40001".into()), ("enriched".into(), String::new())]);
    assert_eq!((world.phone(3), world.phone(4).as_deref()), (None, Some(PHONE)));

    // What they were not asked with may change.
    world.provider.forget();
    let result = thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 5).unwrap());
        change(5, "full_name = 'PERSON  5', linkedin_url = 'https://www.linkedin.com/in/ada'");
        call.join().unwrap()
    });
    assert_eq!(result["contact"]["full_name"], "PERSON  5", "the same name in another spelling");
    assert_eq!(result["contact"]["linkedin_url"], "https://www.linkedin.com/in/ada");
    assert_eq!(result["contact"]["phone"], PHONE);

    // A name that was sent is a part of who it is, whatever identified.
    world.provider.forget();
    let refused = thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 7));
        change(7, "full_name = 'Ada King'");
        fails(call.join().unwrap())
    });
    assert_eq!((refused.sqlstate.as_str(), world.phone(7)), ("40001", None));

    // A field that nobody wants to fill is a part of who it is, too.
    world.run(&format!("UPDATE crm SET email = NULL, company_name = 'Acme' WHERE id = '{}'", contact(6)));
    world.provider.forget();
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone(PHONE)).after(Duration::from_millis(400)));
    let refused = thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 6));
        change(6, "company_name = 'Globex'");
        fails(call.join().unwrap())
    });
    assert_eq!((refused.sqlstate.as_str(), world.phone(6)), ("40001", None));
    world.check_credits_add_up();
}

#[test]
fn with_overwrite_the_provider_wins_over_an_edit_meanwhile() {
    let world = World::new();
    slow(&world, 300);
    let mut caller = world.caller();
    thread::scope(|scope| {
        let call = scope.spawn(|| overwrite(&mut caller, 1));
        world.provider.wait_for(1, Duration::from_secs(5));
        world.run(&format!("UPDATE crm SET phone = '+12025550142' WHERE id = '{}'", contact(1)));
        call.join().unwrap().unwrap()
    });
    assert_eq!(world.phone(1).as_deref(), Some(PHONE));
}

#[test]
fn all_fields_filled_by_a_person_meanwhile_cost_nothing() {
    let world = World::new();
    slow(&world, 300);
    let mut caller = world.caller();
    let result = thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1));
        world.provider.wait_for(1, Duration::from_secs(5));
        world.run("UPDATE crm SET job_title = 'a', company_name = 'b', linkedin_url = 'in/cc', phone = '+12025550104', location = 'e', seniority = 'f'");
        call.join().unwrap().unwrap()
    });
    assert_eq!((&result["fields_updated"], &result["credits_remaining"]), (&json!([]), &json!(10)));
    assert_eq!(result["contact"]["phone"], "+12025550104");
    assert_eq!(world.ledger().charges, 0);
    world.check_credits_add_up();
}

#[test]
fn an_edit_that_is_not_committed_yet_is_waited_for_when_writing() {
    let world = World::new();
    let mut person = world.owner();
    for (n, end, phone) in [(1, "COMMIT", "+12025550142"), (2, "ROLLBACK", PHONE)] {
        person.batch_execute("BEGIN").unwrap();
        person.execute("UPDATE crm SET phone = '+12025550142' WHERE id = $1", &[&contact(n)]).unwrap();
        let mut caller = world.caller();
        let backend = pid(&mut caller);
        let result = thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut caller, n));
            world.wait_until_blocked(backend);
            person.batch_execute(end).unwrap();
            call.join().unwrap().unwrap()
        });
        assert_eq!(result["contact"]["phone"], phone, "{end}");
        assert_eq!(world.phone(n).as_deref(), Some(phone), "{end}");
    }
}

#[test]
fn a_contact_deleted_meanwhile_is_not_found_and_not_charged() {
    let world = World::new();
    slow(&world, 300);
    let mut caller = world.caller();
    let failure = thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1));
        world.provider.wait_for(1, Duration::from_secs(5));
        world.run(&format!("DELETE FROM crm WHERE id = '{}'", contact(1)));
        fails(call.join().unwrap())
    });
    assert_eq!(failure.sqlstate, "LX404", "{failure:?}");
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(10), 0));
    enrich(&mut caller, 2).unwrap();
    world.check_credits_add_up();
}

#[test]
fn under_stricter_isolation_an_edit_meanwhile_is_40001_and_the_retry_works() {
    let world = World::new();
    slow(&world, 300);
    let mut caller = world.caller();
    for (n, level) in [(1, IsolationLevel::RepeatableRead), (2, IsolationLevel::Serializable)] {
        world.provider.forget();
        let mut transaction = caller.build_transaction().isolation_level(level).start().unwrap();
        let result = thread::scope(|scope| {
            let call = scope.spawn(|| enrich(&mut transaction, n));
            world.provider.wait_for(1, Duration::from_secs(5));
            world.run(&format!("UPDATE crm SET phone = '+12025550142' WHERE id = '{}'", contact(n)));
            call.join().unwrap()
        });
        assert_eq!(sqlstate(&result), "40001", "{result:?}");
        transaction.rollback().unwrap();
        let mut retry = caller.build_transaction().isolation_level(level).start().unwrap();
        assert_eq!(enrich(&mut retry, n).unwrap()["contact"]["phone"], "+12025550142");
        retry.commit().unwrap();
    }
    world.check_credits_add_up();
}

/// An old snapshot does not show that the contact has been enriched since: asking again would pay twice.
#[test]
fn an_old_snapshot_does_not_make_a_call_pay_again() {
    let world = World::new();
    let mut caller = world.caller();
    let mut old = caller.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().unwrap();
    old.query("SELECT FROM crm", &[]).unwrap();
    enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(sqlstate(&enrich(&mut old, 1)), "40001");
    drop(old);
    assert_eq!(world.provider.count(), 1);
    assert_eq!(enrich(&mut caller, 1).unwrap()["fields_updated"], json!([]));
}

// --- what is written ---------------------------------------------------------------------------------------------

#[test]
fn only_empty_fields_are_filled() {
    let world = World::new();
    world.run(&format!(
        "UPDATE crm SET job_title = 'Boss', company_name = '', location = E' \\t\\n', seniority = NULL WHERE id = '{}'",
        contact(1)
    ));
    let result = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(
        result["fields_updated"],
        json!(["company_name", "linkedin_url", "phone", "location", "seniority"]),
        "in the order of the six"
    );
    assert_eq!(result["contact"]["job_title"], "Boss");
    assert_eq!(result["contact"]["location"], "New York, NY, US");
    assert_eq!(result["source"], "main");
    assert_eq!(result["confidence"], 0.9);
    assert_eq!(result["field_sources"]["phone"], json!({"source": "main", "confidence": 0.9}));
    assert!(result["field_sources"].get("job_title").is_none());
}

#[test]
fn overwrite_replaces_but_never_with_nothing() {
    let world = World::new();
    world.provider.on(PATH, |_| {
        Behaviour::json(200, json!({"likelihood": 5, "data": {"phone": "+12025550122", "job_title": "", "location": "  ", "seniority": null, "company_name": "Same"}}))
    });
    world.run("UPDATE crm SET phone = '+12025550111', job_title = 'Boss', location = 'Here', seniority = 'vp', company_name = 'Same', linkedin_url = 'in/xx'");
    let result = overwrite(&mut world.caller(), 1).unwrap();
    assert_eq!(result["fields_updated"], json!(["phone"]), "what comes back unchanged is not updated");
    let expected = json!({"phone": "+12025550122", "job_title": "Boss", "location": "Here", "seniority": "vp", "company_name": "Same", "linkedin_url": "in/xx"});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&result["contact"][field], value, "{field}");
    }
    // Only the fields asked for.
    world.run("UPDATE crm SET phone = '+12025550111', company_name = 'Other'");
    let sql = "SELECT enrich_contact($1, ARRAY['company_name'], true)";
    let result: Value = world.caller().query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!(result["fields_updated"], json!(["company_name"]));
    assert_eq!(world.phone(1).as_deref(), Some("+12025550111"));
}

/// The table's own triggers, defaults and generated columns apply, and the result tells what is stored.
#[test]
fn the_result_is_what_the_tables_own_triggers_made_of_it() {
    let world = World::new();
    world.run(
        "CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN NEW.phone := replace(NEW.phone, '+1555', '(555) '); NEW.note := 'by ' || current_user; RETURN NEW; END $$;
         CREATE TRIGGER tidy BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION tidy();",
    );
    let result = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(result["contact"]["phone"], "(555) 0100100");
    assert_eq!(world.phone(1).as_deref(), Some("(555) 0100100"));
    let note: String =
        world.owner().query_one("SELECT note FROM crm WHERE id = $1", &[&contact(1)]).unwrap().get(0);
    assert_eq!(note, "by caller", "written as the invoker");
}

#[test]
fn a_revert_puts_back_what_nobody_has_changed_since() {
    let world = World::with(&Beginning { credits: Some(5), ..Beginning::default() });
    let mut caller = world.caller();
    let result = enrich(&mut caller, 1).unwrap();
    let request: uuid::Uuid = result["request_id"].as_str().unwrap().parse().unwrap();
    world.run("UPDATE crm SET phone = '+12025550142'");
    caller.query_one("SELECT leadlex.revert_enrichment($1)", &[&request]).unwrap();
    let row =
        world.owner().query_one("SELECT phone, job_title FROM crm WHERE id = $1", &[&contact(1)]).unwrap();
    assert_eq!(
        (row.get::<_, Option<String>>(0).as_deref(), row.get::<_, Option<String>>(1)),
        (Some("+12025550142"), None)
    );
    assert_eq!(world.ledger().credits, Some(4), "the credit stays spent");
}

/// A backend that waits for a provider holds no lock that an ALTER TABLE of another table or a VACUUM would meet.
#[test]
fn waiting_for_a_provider_holds_no_row_lock() {
    let world = World::new();
    slow(&world, 400);
    let mut caller = world.caller();
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut caller, 1));
        world.provider.wait_for(1, Duration::from_secs(5));
        let mut other = world.owner();
        let sql = "SELECT id FROM crm WHERE id = $1 FOR UPDATE NOWAIT";
        other.query_one(sql, &[&contact(1)]).expect("nobody holds the row");
        call.join().unwrap().unwrap();
    });
    eventually("the ledger is in order", Duration::from_secs(1), || world.ledger().charges == 1);
}

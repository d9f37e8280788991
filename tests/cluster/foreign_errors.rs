//! Errors that are not ours: Postgres's own SQLSTATEs where something is not set up or not allowed, and those of a
//! user's own triggers and constraints, which reach the client unchanged.

use serde_json::{Value, json};

use crate::support::{Behaviour, Stop, fails};
use crate::world::{Beginning, PATH, World, contact, enrich, pid, try_enrich};

/// With rate limits, to see that none of them is used.
fn starter() -> World {
    World::with(&Beginning { plan: "starter", credits: Some(5), ..Beginning::default() })
}

fn call(n: i32) -> String {
    format!("enrich_contact('{}')", contact(n))
}

#[test]
fn a_malformed_uuid_is_postgres_own_error() {
    let world = starter();
    let failure = fails(world.caller().simple_query("SELECT enrich_contact('not-a-uuid')"));
    assert_eq!(failure.sqlstate, "22P02", "{failure:?}");
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn without_provider_or_binding_the_hint_is_the_statement_to_run() {
    let world = starter();
    world.run("SELECT leadlex.drop_provider('main')");
    let before = world.ledger();
    let none = fails(enrich(&mut world.caller(), 1));
    assert_eq!(none.sqlstate, "55000");
    assert!(none.hint.as_ref().unwrap().contains("SELECT leadlex.add_provider("), "{none:?}");
    assert_eq!(world.ledger(), before, "nothing is used where nothing is set up");

    world.add_provider("main", &world.provider.config(PATH));
    world.run("SELECT leadlex.enable_provider('main', false)");
    let disabled = fails(enrich(&mut world.caller(), 1));
    assert_eq!(disabled.sqlstate, "55000");
    assert!(
        disabled.hint.as_ref().unwrap().contains("leadlex.enable_provider('main', true)"),
        "{disabled:?}"
    );

    world.run("SELECT leadlex.enable_provider('main', true)");
    world.run(
        "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.loose (LIKE crm INCLUDING ALL);
         GRANT USAGE ON SCHEMA elsewhere TO caller; GRANT SELECT, UPDATE ON elsewhere.loose TO caller;",
    );
    let sql = format!("SELECT enrich_row('elsewhere.loose', '{}')", contact(1));
    let loose = fails(world.caller().query_one(&sql, &[]));
    assert_eq!(loose.sqlstate, "55000");
    // What the hint says to run can be run.
    let hint = loose.hint.as_deref().unwrap();
    let (from, to) = (hint.find("SELECT").expect("a statement"), hint.rfind(')').expect("a statement"));
    world.run(&hint[from..=to]);
    assert_eq!(fails(world.caller().query_one(&sql, &[])).sqlstate, "LX404");

    world.run("SELECT leadlex.unbind_contacts('elsewhere.loose'), leadlex.unbind_contacts('crm')");
    let unbound = fails(enrich(&mut world.caller(), 1));
    assert_eq!(unbound.sqlstate, "55000");
    assert!(unbound.hint.as_ref().unwrap().contains("leadlex.bind_contacts("), "{unbound:?}");
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn without_preloading_the_hint_is_the_line_to_add() {
    let world = starter();
    world.cluster.append_conf(&["shared_preload_libraries = ''"]);
    world.cluster.restart(Stop::Fast);
    for call in [call(1), format!("try_{}", call(1))] {
        let failure = fails(world.caller().query_one(&format!("SELECT {call}"), &[]));
        assert_eq!(failure.sqlstate, "55000", "{failure:?}");
        let hint = failure.hint.expect("a hint");
        assert!(hint.contains("shared_preload_libraries = 'leadlex_enrich'"), "{hint}");
    }
    assert_eq!(world.provider.count(), 0);
    world.cluster.append_conf(&["shared_preload_libraries = 'leadlex_enrich'"]);
    world.cluster.restart(Stop::Fast);
    enrich(&mut world.caller(), 1).unwrap();
}

#[test]
fn errors_of_the_users_own_table_arrive_unchanged() {
    let world = starter();
    world.run(&format!(
        "ALTER TABLE crm ADD CONSTRAINT no_such_note CHECK (note <> 'refused');
         CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.id = '{}' THEN
                 NEW.note := 'refused';
             END IF;
             IF NEW.id = '{}' THEN
                 RAISE EXCEPTION 'not this one' USING ERRCODE = 'ZZ123', DETAIL = 'my detail', HINT = 'my hint',
                     CONSTRAINT = 'my_rule', TABLE = 'my_table', SCHEMA = 'my_schema', COLUMN = 'my_column';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER guard BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION guard();
         CREATE TABLE phone_book (phone text PRIMARY KEY);
         GRANT SELECT ON phone_book TO caller;
         CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.phone IS NOT NULL AND NOT EXISTS (SELECT FROM phone_book AS b WHERE b.phone = NEW.phone) THEN
                 RAISE EXCEPTION 'not in the book' USING ERRCODE = '23503', TABLE = 'crm';
             END IF;
             RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON crm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later();",
        contact(1),
        contact(2)
    ));
    let mut before = world.ledger();
    for enrich in ["enrich_contact", "try_enrich_contact"] {
        let mut caller = world.caller();
        let mut fail = |n| fails(caller.query_one(&format!("SELECT {enrich}($1)"), &[&contact(n)]));
        let check = fail(1);
        assert_eq!(check.sqlstate, "23514", "{check:?}");
        assert_eq!(check.constraint.as_deref(), Some("no_such_note"));
        assert_eq!(check.table.as_deref(), Some("crm"));
        assert!(check.detail.as_ref().unwrap().starts_with("Failing row contains ("), "{check:?}");

        let own = fail(2);
        assert_eq!(own.sqlstate, "ZZ123", "{own:?}");
        assert_eq!(own.message, "not this one");
        assert_eq!(own.detail.as_deref(), Some("my detail"));
        assert_eq!(own.hint.as_deref(), Some("my hint"));
        assert_eq!((own.constraint.as_deref(), own.table.as_deref()), (Some("my_rule"), Some("my_table")));

        // A deferred trigger of the user's: only the commit fails, and the credit comes back with it.
        let deferred = fail(3);
        assert_eq!(deferred.sqlstate, "23503", "{deferred:?}");
        assert_eq!(deferred.table.as_deref(), Some("crm"));
        before.rate_used.iter_mut().for_each(|used| *used += 3);
        assert_eq!(world.ledger(), before, "nothing but the rate was used");
    }
    world.run("INSERT INTO phone_book VALUES ('+15550100100')");
    assert_eq!(enrich(&mut world.caller(), 3).unwrap()["credits_remaining"], 4);
    world.check_credits_add_up();
}

#[test]
fn missing_privileges_on_the_contact_table_are_noticed_before_the_provider_is_asked() {
    let world = starter();
    world.run("REVOKE UPDATE ON crm FROM caller; GRANT UPDATE (phone) ON crm TO caller");
    let before = world.ledger();
    let failure = fails(enrich(&mut world.caller(), 1));
    assert_eq!(failure.sqlstate, "42501", "{failure:?}");
    assert_eq!((world.ledger(), world.provider.count()), (before, 0));
    let sql = "SELECT enrich_contact($1, ARRAY['phone'])";
    let result: Value = world.caller().query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!(result["fields_updated"], json!(["phone"]));
    world.run("REVOKE SELECT ON crm FROM caller");
    assert_eq!(fails(enrich(&mut world.caller(), 2)).sqlstate, "42501");
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn after_any_error_the_same_session_makes_the_next_call() {
    let world = World::new();
    let mut caller = world.caller();
    let session = pid(&mut caller);
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})));
    let mut savepoints = caller.transaction().unwrap();
    for (n, sqlstate) in [(999, "LX404"), (1, "LX503"), (1, "LX503")] {
        let mut inner = savepoints.transaction().unwrap();
        assert_eq!(fails(enrich(&mut inner, n)).sqlstate, sqlstate);
        inner.rollback().unwrap();
    }
    assert_eq!(try_enrich(&mut savepoints, 1)["error"]["code"], "provider_unavailable");
    world.provider.on(PATH, |_| Behaviour::json(200, crate::support::person()));
    enrich(&mut savepoints, 1).unwrap();
    savepoints.commit().unwrap();
    assert_eq!(pid(&mut caller), session);
    assert_eq!(world.ledger().credits, Some(9));
}

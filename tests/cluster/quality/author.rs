//! Who wrote this.

use std::time::Duration;

use serde_json::{Value, json};

use super::{rows, world};
use crate::support::{eventually, fails};
use crate::world::{World, contact, enrich, number};

/// An audit trigger that notes what it is told, at once and at the end of the transaction.
fn audited() -> World {
    let world = world(8, &[]);
    world.run(
        "CREATE TABLE audit (id uuid, deferred boolean, request_id text, source text, requested_by text, written jsonb);
         GRANT INSERT ON audit TO PUBLIC;
         CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.audit SELECT NEW.id, TG_NAME = 'later', current_setting('leadlex.request_id', true), current_setting('leadlex.source', true),
                 current_setting('leadlex.requested_by', true), (SELECT jsonb_agg(w ORDER BY w.field) FROM leadlex.written('public.crm', NEW.id::text) AS w);
             RETURN NULL; END $$;
         CREATE TRIGGER at_once AFTER UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION audit();
         CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON crm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit()",
    );
    world
}

fn told(world: &World, n: i32) -> Vec<Value> {
    let sql = format!(
        "SELECT deferred, request_id, source, requested_by, written FROM audit WHERE id = '{}' ORDER BY deferred",
        contact(n)
    );
    rows(&mut world.owner(), &sql)
}

fn written(request: &Value) -> Value {
    let line = |field, source| json!({"request_id": request, "field": field, "source": source, "requested_by": "caller"});
    json!([line("job_title", "other"), line("phone", "main")])
}

fn request_of(world: &World, n: i32) -> Value {
    let sql = format!("SELECT request_id FROM leadlex.enrichment WHERE contact_id = '{}'", contact(n));
    rows(&mut world.owner(), &sql)[0]["request_id"].clone()
}

#[test]
fn an_audit_trigger_knows_request_source_and_role() {
    let world = audited();
    let mut caller = world.caller();
    let result = enrich(&mut caller, 1).unwrap();
    let request = &result["request_id"];
    let line = |deferred, set: bool, request: &Value| {
        let shown = |text: &Value| if set { text.clone() } else { json!("") };
        json!({"deferred": deferred, "request_id": shown(request), "source": shown(&json!("main")),
               "requested_by": shown(&json!("caller")), "written": written(request)})
    };
    assert_eq!(told(&world, 1), [line(false, true, request), line(true, false, request)]);
    let settings = "SELECT current_setting('leadlex.request_id') || current_setting('leadlex.source') || current_setting('leadlex.requested_by')";
    let empty: String = caller.query_one(settings, &[]).unwrap().get(0);
    assert_eq!(empty, "", "afterwards");
    caller.query("SELECT * FROM enrich_contacts($1)", &[&vec![contact(2), contact(3)]]).unwrap();
    caller.batch_execute(&format!("SELECT leadlex.enqueue(ARRAY['{}'::uuid])", contact(4))).unwrap();
    eventually("the queue is through", Duration::from_secs(20), || {
        number(&mut world.owner(), "SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 1
    });
    for n in [2, 3, 4] {
        let request = request_of(&world, n);
        assert_eq!(told(&world, n), [line(false, false, &request), line(true, false, &request)], "{n}");
    }
    // What a person writes has no author of ours, also where an enrichment came before it.
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 5).unwrap();
    let of = |transaction: &mut postgres::Transaction<'_>, n: i32| {
        let sql = format!("SELECT field, source FROM leadlex.written('crm', '{}')", contact(n));
        transaction.query(&sql, &[]).unwrap().len()
    };
    assert_eq!((of(&mut transaction, 5), of(&mut transaction, 1)), (2, 0), "of this transaction alone");
    transaction.batch_execute("SAVEPOINT s").unwrap();
    enrich(&mut transaction, 6).unwrap();
    assert_eq!(of(&mut transaction, 6), 2);
    transaction.batch_execute("ROLLBACK TO s").unwrap();
    assert_eq!(of(&mut transaction, 6), 0);
    transaction.execute("UPDATE crm SET note = 'typed' WHERE id = $1", &[&contact(7)]).unwrap();
    transaction.commit().unwrap();
    let own = json!({"deferred": false, "request_id": "", "source": "", "requested_by": "", "written": null});
    assert_eq!(told(&world, 7)[0], own);
}

#[test]
fn nobody_else_sets_them() {
    let world = world(2, &[]);
    for name in ["request_id", "source", "requested_by"] {
        for sql in [
            format!("SET leadlex.{name} = 'x'"),
            format!("SELECT set_config('leadlex.{name}', 'x', true)"),
            format!("ALTER ROLE caller SET leadlex.{name} = 'x'"),
        ] {
            assert_eq!(fails(world.owner().batch_execute(&sql)).sqlstate, "55P02", "{sql}");
        }
    }
    // An error inside of the write leaves nothing behind.
    world.run("CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = 'UX001'; END $$;
               CREATE TRIGGER refuses BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION refuses()");
    let mut caller = world.caller();
    assert_eq!(fails(enrich(&mut caller, 1)).sqlstate, "UX001");
    let left: String = caller.query_one("SELECT current_setting('leadlex.request_id')", &[]).unwrap().get(0);
    assert_eq!(left, "");
    for (call, sqlstate) in [("NULL, '1'", "LX400"), ("'crm', NULL", "22023")] {
        assert_eq!(
            fails(caller.query(&format!("SELECT * FROM leadlex.written({call})"), &[])).sqlstate,
            sqlstate
        );
    }
    assert_eq!(caller.query("SELECT * FROM leadlex.written('pg_class', '1')", &[]).unwrap().len(), 0);
}

/// To take something back writes the history's row of a call, and is no call.
#[test]
fn who_takes_something_back_is_not_told_as_its_author() {
    let world = audited();
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    world.run("TRUNCATE audit");
    let mut transaction = caller.transaction().unwrap();
    let undo = "SELECT leadlex.revert_provider('main', now() - interval '7 days', fields => '{phone}')";
    transaction.query(undo, &[]).unwrap();
    transaction.execute("UPDATE crm SET job_title = 'Typed' WHERE id = $1", &[&contact(1)]).unwrap();
    transaction.commit().unwrap();
    let told = told(&world, 1);
    assert_eq!(told.len(), 4, "each of two updates, at once and later");
    assert!(told.iter().all(|line| line["written"].is_null()), "{told:?}");
    // What the same transaction has bought, and keeps, is.
    world.run("TRUNCATE audit");
    let mut transaction = caller.transaction().unwrap();
    let result: Value = transaction.query_one("SELECT enrich_contact($1)", &[&contact(2)]).unwrap().get(0);
    transaction.query(undo, &[]).unwrap();
    let left = "SELECT coalesce(string_agg(field, ','), '') FROM leadlex.written('crm', $1)";
    let left: String = transaction.query_one(left, &[&contact(2).to_string()]).unwrap().get(0);
    assert_eq!(left, "job_title", "{result}");
    transaction.commit().unwrap();
    // What another one has bought since this one began is not.
    let mut transaction = caller.transaction().unwrap();
    transaction.query("SELECT now()", &[]).unwrap();
    enrich(&mut world.caller(), 3).unwrap();
    transaction.query(undo, &[]).unwrap();
    let others = "SELECT count(*) FROM leadlex.written('crm', $1)";
    let others: i64 = transaction.query_one(others, &[&contact(3).to_string()]).unwrap().get(0);
    assert_eq!(others, 0);
    transaction.commit().unwrap();
}

/// What a vendor confirms is not written.
#[test]
fn a_trigger_is_told_of_the_fields_that_change() {
    let world = audited();
    let mut caller = world.caller();
    for n in [1, 2] {
        enrich(&mut caller, n).unwrap();
    }
    world.run("TRUNCATE audit");
    world.provider.on(super::OTHER, |_| {
        crate::support::Behaviour::json(200, json!({"likelihood": 8, "data": {"job_title": "Publisher"}}))
    });
    caller.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    caller.execute("SELECT enrich_contact($1, overwrite => true)", &[&contact(1)]).unwrap();
    caller
        .query("SELECT * FROM enrich_contacts(ARRAY[$1::uuid], overwrite => true)", &[&contact(2)])
        .unwrap();
    for n in [1, 2] {
        let fields = format!(
            "SELECT deferred, jsonb_path_query_array(written, '$[*].field') AS fields FROM audit WHERE id = '{}' ORDER BY deferred",
            contact(n)
        );
        let line = |deferred| json!({"deferred": deferred, "fields": ["job_title"]});
        assert_eq!(rows(&mut world.owner(), &fields), [line(false), line(true)], "{n}");
    }
}

/// The row as it is written counts, not as it was read before the request; and what the table refuses is not written.
#[test]
fn a_trigger_is_told_of_what_is_written_beside_a_person_who_types() {
    let fields = |world: &World| -> Vec<Value> {
        let sql = "SELECT jsonb_path_query_array(written, '$[*].field') AS fields FROM audit WHERE NOT deferred AND written IS NOT NULL";
        rows(&mut world.owner(), sql).iter().map(|row| row["fields"].clone()).collect()
    };
    let beside = |world: &World, typed: &str, sql: &str| {
        world.provider.on(crate::world::PATH, |_| {
            let answer = json!({"likelihood": 9, "data": {"phone": "+12025550142"}});
            crate::support::Behaviour::json(200, answer).after(Duration::from_millis(700))
        });
        let mut caller = world.caller();
        caller.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
        std::thread::scope(|scope| {
            let call = scope.spawn(move || caller.execute(sql, &[&contact(1)]).unwrap());
            world.provider.wait_for(1, Duration::from_secs(10));
            world.run(typed);
            call.join().unwrap();
        });
    };
    let over = [
        "SELECT enrich_contact($1, '{phone}', true)",
        "SELECT enrich_contacts(ARRAY[$1::uuid], '{phone}', true)",
    ];
    for sql in over {
        let world = audited();
        world.run("UPDATE crm SET phone = '+12025550142'; TRUNCATE audit");
        beside(&world, "UPDATE crm SET phone = '+12025559999'", sql);
        assert_eq!(world.phone(1).as_deref(), Some("+12025550142"), "{sql}");
        assert_eq!(fields(&world), [json!(["phone"])], "{sql}");
    }
    let fill = ["SELECT enrich_contact($1)", "SELECT enrich_contacts(ARRAY[$1::uuid])"];
    for sql in fill {
        let world = audited();
        beside(&world, "UPDATE crm SET phone = '+12025559999'", sql);
        assert_eq!(fields(&world), [json!(["job_title"])], "{sql}");
        let world = audited();
        world.run("ALTER TABLE crm ADD CHECK (job_title <> 'Editor')");
        world.caller().execute(sql, &[&contact(1)]).unwrap();
        assert_eq!(fields(&world), [json!(["phone"])], "{sql}");
    }
}

/// A row trigger of a partitioned table has the partition as TG_RELID, one of an inheriting table that table.
#[test]
fn a_row_trigger_of_a_partition_is_told_too() {
    for children in [
        "CREATE TABLE part (LIKE crm INCLUDING ALL) PARTITION BY HASH (id); CREATE TABLE part_of PARTITION OF part FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        "CREATE TABLE part (LIKE crm INCLUDING ALL); CREATE TABLE part_of (PRIMARY KEY (id)) INHERITS (part)",
    ] {
        let world = audited();
        world.run(children);
        world.run(
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO public.audit SELECT NEW.id, false, w.request_id::text, w.source, w.requested_by, pg_catalog.to_jsonb(w.field)
                 FROM leadlex.written(TG_RELID::regclass, NEW.id::text) AS w;
                 RETURN NULL; END $$;
             CREATE TRIGGER noted AFTER UPDATE ON part_of FOR EACH ROW EXECUTE FUNCTION noted();
             GRANT SELECT, UPDATE ON part, part_of TO caller;
             INSERT INTO part_of SELECT * FROM crm WHERE id::text LIKE '%1' OR id::text LIKE '%2'",
        );
        world.run(&format!("SELECT leadlex.bind_contacts('part', workspace_id => '{}')", world.workspace));
        let mut caller = world.caller();
        caller.execute("SELECT enrich_row('part', $1::uuid)", &[&contact(1)]).unwrap();
        caller.execute("SELECT enrich_rows('part', ARRAY[$1::uuid]::text[])", &[&contact(2)]).unwrap();
        for n in [1, 2] {
            let sql = format!("SELECT written FROM audit WHERE id = '{}' ORDER BY written::text", contact(n));
            let fields: Vec<Value> =
                rows(&mut world.owner(), &sql).iter().map(|row| row["written"].clone()).collect();
            assert_eq!(fields, [json!("job_title"), json!("phone")], "{n} {children}");
        }
    }
}

//! Nobody holds, delays or learns of what he does not see: another workspace's rows, and those that policies hide.

use std::thread;
use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};

use crate::support::{Behaviour, Failure, person};
use crate::world::{Beginning, PATH, World, contact, number, sqlstate};

/// One table for two workspaces: rows 101 to 103 are the caller's, 104 to 106 another's.
fn shared() -> World {
    let world = World::with(&Beginning { credits: Some(100), ..Beginning::default() });
    world.run(&format!(
        "CREATE ROLE rival LOGIN; SELECT leadlex.grant_access('rival', leadlex.create_workspace('rival', 50, 'unmetered'));
         CREATE TABLE shared (id int PRIMARY KEY, workspace_id uuid, email text, phone text);
         GRANT SELECT, UPDATE ON shared TO caller, rival;
         INSERT INTO shared SELECT n, CASE WHEN n <= 103 THEN '{}' ELSE (SELECT id FROM leadlex.workspace WHERE name = 'rival') END,
                                   'p' || n || '@acme.example' FROM generate_series(101, 106) AS n;
         SELECT leadlex.bind_contacts('shared')",
        world.workspace
    ));
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    world
}

fn rival(world: &World) -> Client {
    world.cluster.connect_as("app", "rival")
}

/// What a session is told of a row by everything that takes its id; nothing of it may take long.
fn told(client: &mut Client, table: &str, id: &str) -> Vec<String> {
    client.batch_execute("SET statement_timeout = '4s'").unwrap();
    let mut told = Vec::new();
    let mut note = |answer: Result<Value, String>| {
        let text = match answer {
            Ok(value) => value.to_string(),
            Err(state) => state,
        };
        told.push(text.replace(id, "ID"));
    };
    for sql in [
        "SELECT to_jsonb(leadlex.enqueue_rows($1::text::regclass, ARRAY[$2]))",
        "SELECT leadlex.forget_row($1::text::regclass, $2)",
        "SELECT jsonb_agg(to_jsonb(e) - 'request_id') FROM enrich_rows($1::text::regclass, ARRAY[$2]) AS e",
        "SELECT jsonb_agg(e) FROM leadlex.estimate($1::text::regclass, ARRAY[$2]) AS e",
        "SELECT enrich_row($1::text::regclass, $2)",
        "SELECT enrich_row($1::text::regclass, $2, idempotency_key => gen_random_uuid())",
    ] {
        let row = client.query_one(sql, &[&table, &id]);
        note(row.map(|row| row.get(0)).map_err(|error| Failure::of(&error).sqlstate));
    }
    told
}

/// While `call` is under way, a row that is hidden is as one that is not there, at once.
fn is_as_if_it_were_not_there(
    world: &World,
    call: impl FnOnce() + Send,
    other: &mut Client,
    table: &str,
    ids: [&str; 2],
) {
    let asked = world.provider.count();
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_secs(3)));
    thread::scope(|scope| {
        let call = scope.spawn(call);
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        let [hidden, absent] = ids.map(|id| told(other, table, id));
        assert!(!call.is_finished(), "nothing waited for it");
        assert_eq!(hidden, absent);
        assert!(hidden.iter().filter(|answer| *answer == "LX404").count() == 2, "{hidden:?}");
        call.join().unwrap();
    });
}

#[test]
fn another_workspaces_row_is_neither_waited_for_nor_queued() {
    let world = shared();
    let call = || {
        let result = world.caller().query_one("SELECT enrich_row('shared', '101')", &[]).unwrap();
        assert_eq!(result.get::<_, Value>(0)["fields_updated"], json!(["phone"]));
    };
    is_as_if_it_were_not_there(&world, call, &mut rival(&world), "shared", ["101", "999"]);
    let queued = "SELECT leadlex.enqueue_rows('shared', '{101,104,999,104}')";
    assert_eq!(number(&mut rival(&world), queued), 1, "its own");
}

#[test]
fn nor_does_another_workspace_hold_it() {
    let world = shared();
    let mut rival = rival(&world);
    world.run("SELECT leadlex.pause_queue()");
    // It was the other's once, who holds something on it.
    assert_eq!(number(&mut rival, "SELECT leadlex.enqueue_rows('shared', '{104}')"), 1);
    world.run(&format!("UPDATE shared SET workspace_id = '{}' WHERE id = 104", world.workspace));
    let mut forgetting = rival.transaction().unwrap();
    let erased: Value =
        forgetting.query_one("SELECT leadlex.forget_row('shared', '104')", &[]).unwrap().get(0);
    assert_eq!(erased["jobs"], 1, "what is held on an id can be forgotten, whoever has the row now");
    for sql in [
        "SELECT leadlex.forget_row('shared', '101')",
        "SELECT try_enrich_row('shared', '101')",
        "SELECT count(*) FROM enrich_rows('shared', '{101,102,104}')",
    ] {
        forgetting.query(sql, &[]).unwrap();
    }
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '5s'").unwrap();
    let result: Value = caller.query_one("SELECT enrich_row('shared', '104')", &[]).unwrap().get(0);
    assert_eq!(result["fields_updated"], json!(["phone"]));
    let set = "SELECT count(*) FROM enrich_rows('shared', '{101,102,103,104}') WHERE status IN ('enriched', 'unchanged')";
    assert_eq!(number(&mut caller, set), 4);
    forgetting.commit().unwrap();
}

#[test]
fn a_row_that_policies_hide_is_as_one_that_is_not_there() {
    let world = World::new();
    world.run(&format!(
        "CREATE ROLE colleague LOGIN; SELECT leadlex.grant_access('colleague', '{}'); GRANT SELECT, UPDATE ON crm TO colleague;
         ALTER TABLE crm ENABLE ROW LEVEL SECURITY; CREATE POLICY all_of_it ON crm TO caller USING (true);
         CREATE POLICY part_of_it ON crm TO colleague USING (id <> '{}')",
        world.workspace,
        contact(1)
    ));
    let mut colleague = world.cluster.connect_as("app", "colleague");
    let (one, none) = (contact(1).to_string(), contact(999).to_string());
    let call = || drop(crate::world::enrich(&mut world.caller(), 1).unwrap());
    is_as_if_it_were_not_there(&world, call, &mut colleague, "crm", [&one, &none]);
    let ids = vec![contact(1), contact(2), contact(999)];
    let queued: i64 = colleague.query_one("SELECT leadlex.enqueue($1)", &[&ids]).unwrap().get(0);
    assert_eq!(queued, 1);
}

/// What is held on somebody whose row is gone can still be forgotten.
#[test]
fn a_row_that_is_gone_is_forgotten() {
    let world = shared();
    world.caller().query_one("SELECT enrich_row('shared', '101')", &[]).unwrap();
    rival(&world).query_one("SELECT enrich_row('shared', '104')", &[]).unwrap();
    world.run("DELETE FROM shared");
    let forget = |client: &mut Client, id: &str| -> Value {
        client.query_one("SELECT leadlex.forget_row('shared', $1)", &[&id]).unwrap().get(0)
    };
    assert_eq!(forget(&mut rival(&world), "101")["history"], 0, "another's");
    assert_eq!(forget(&mut world.caller(), "101")["history"], 1);
    assert_eq!(forget(&mut world.owner(), "104")["history"], 1, "the owner forgets in every workspace");
}

/// As the extension's owner forgets: in every workspace, unless one is named.
#[test]
fn the_owner_reverts_in_every_workspace() {
    let world = shared();
    let mut rivals = rival(&world);
    let enriched = |client: &mut Client, id: &str| -> uuid::Uuid {
        let result: Value = client.query_one("SELECT enrich_row('shared', $1)", &[&id]).unwrap().get(0);
        result["request_id"].as_str().unwrap().parse().unwrap()
    };
    let (one, four) = (enriched(&mut world.caller(), "101"), enriched(&mut rivals, "104"));
    let sql = "SELECT leadlex.revert_enrichment($1)";
    let mut owner = world.owner();
    let reverts = |client: &mut Client, request: uuid::Uuid| {
        client.query_one(sql, &[&request]).map(|row| row.get::<_, Value>(0))
    };
    assert_eq!(sqlstate(&reverts(&mut rivals, one)), "LX404", "others in their own");
    owner.batch_execute("SET leadlex.workspace = 'acme'; SELECT leadlex.grant_access('postgres', id) FROM leadlex.workspace WHERE name = 'acme'").unwrap();
    assert_eq!(sqlstate(&reverts(&mut owner, four)), "LX404", "the one that is named");
    owner.batch_execute("RESET leadlex.workspace; SELECT leadlex.revoke_access('postgres', id) FROM leadlex.workspace WHERE name = 'acme'").unwrap();
    for (request, id) in [(one, "101"), (four, "104")] {
        let result = reverts(&mut owner, request).unwrap();
        assert_eq!((&result["contact_id"], &result["fields_reverted"]), (&json!(id), &json!(["phone"])));
    }
    assert_eq!(number(&mut owner, "SELECT count(phone) FROM shared"), 0);
    assert_eq!(
        number(&mut owner, "SELECT count(*) FROM leadlex.enrichment WHERE reverted_at IS NOT NULL"),
        2
    );
    assert_eq!(sqlstate(&reverts(&mut owner, uuid::Uuid::new_v4())), "LX404");

    // One who administers by membership writes rows with rights of his own.
    let (two, five) = (enriched(&mut world.caller(), "102"), enriched(&mut rivals, "105"));
    world.run("CREATE ROLE deputy LOGIN IN ROLE postgres; GRANT SELECT ON shared TO deputy");
    let mut deputy = world.cluster.connect_as("app", "deputy");
    assert_eq!(reverts(&mut deputy, two).unwrap()["fields_reverted"], json!(["phone"]));
    world.run("CREATE ROLE stranger LOGIN");
    let mut stranger = world.cluster.connect_as("app", "stranger");
    assert_eq!(sqlstate(&reverts(&mut stranger, five)), "LX401");
}

/// Two texts can be one key: the row tells how it is called, also to the owner, who names no workspace.
#[test]
fn the_owner_forgets_whatever_the_spelling_of_the_key() {
    let world = World::new();
    world.run(&format!(
        "CREATE EXTENSION citext;
         CREATE TABLE tag (id citext PRIMARY KEY, workspace_id uuid, full_name text, email text, phone text);
         INSERT INTO tag VALUES ('Abc', '{}', 'Person', 'abc@acme.example');
         GRANT SELECT, UPDATE ON tag TO caller;
         SELECT leadlex.bind_contacts('tag')",
        world.workspace
    ));
    world.caller().execute("SELECT enrich_row('tag', 'Abc')", &[]).unwrap();
    let erased: Value =
        world.owner().query_one("SELECT leadlex.forget_row('tag', 'ABC')", &[]).unwrap().get(0);
    assert_eq!((&erased["history"], &erased["contact_id"]), (&json!(1), &json!("Abc")), "{erased}");
}

#[test]
fn a_table_that_was_given_to_another_workspace_is_not_reverted_for_the_first() {
    let world = World::new();
    let mut caller = world.caller();
    let result = crate::world::enrich(&mut caller, 1).unwrap();
    let request: uuid::Uuid = result["request_id"].as_str().unwrap().parse().unwrap();
    world.run("SELECT leadlex.bind_contacts('crm', workspace_id => leadlex.create_workspace('rival'))");
    let failure =
        crate::support::fails(caller.query_one("SELECT leadlex.revert_enrichment($1)", &[&request]));
    assert_eq!(failure.sqlstate, "LX404", "{failure:?}");
    assert!(world.phone(1).is_some());
}

//! Rows of one key in several workspaces: of a table whose key is unique in each workspace alone, and a row that was another's.

use std::thread;
use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{rival, rows};
use crate::support::{Behaviour, eventually, fails, person};
use crate::world::{Beginning, PATH, World, number};

const SOON: Duration = Duration::from_secs(20);

/// Each workspace has a row 1; of the caller's there is a row 2, too. No two have an address or number in common.
fn with_rows(conf: &[&str]) -> (World, Client, Uuid) {
    let world = World::with(&Beginning { conf, credits: Some(100), ..Beginning::default() });
    let (rivals, other) = rival(&world);
    let own = world.workspace;
    world.run(&format!(
        "CREATE TABLE own_key (workspace_id uuid, id int, full_name text, email text, phone text, job_title text,
                               PRIMARY KEY (workspace_id, id));
         GRANT SELECT, INSERT, UPDATE, DELETE ON own_key TO caller, rival;
         INSERT INTO own_key VALUES ('{own}', 1, 'Ann Roe', 'ann@acme.example'), ('{other}', 1, 'Bob Poe', 'bob@rival.example'),
                                    ('{own}', 2, 'Cyd Coe', 'cyd@acme.example');
         SELECT leadlex.bind_contacts('own_key')"
    ));
    (world, rivals, other)
}

fn told(client: &mut Client, call: &str) -> Value {
    let sql = format!("SELECT {call}");
    client.query_one(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

fn written(world: &World, receipts: i64) {
    eventually("the worker has written the receipts", SOON, || {
        world.number("SELECT count(*) FROM leadlex.receipt") == receipts
    });
}

const ONE: &str = "enrich_row('own_key', 1, idempotency_key => gen_random_uuid())";
/// Names of values are noted.
const NAMES: &str = "leadlex.max_people_per_value = 3";
const EXPORT: &str = "leadlex.export_row('own_key', 1)";
const FORGET: &str = "leadlex.forget_row('own_key', 1)";

#[test]
fn each_is_told_of_and_forgets_its_own_and_the_owner_all() {
    let (world, mut rivals, other) = with_rows(&[NAMES]);
    let (mut caller, mut owner) = (world.caller(), world.owner());
    told(&mut caller, ONE);
    told(&mut rivals, ONE);
    written(&world, 2);
    assert_eq!(
        world.number("SELECT count(DISTINCT person) FROM leadlex.receipt"),
        1,
        "one hash, of two workspaces"
    );
    for (client, workspace, strange) in
        [(&mut caller, world.workspace, "bob@rival"), (&mut rivals, other, "ann@acme")]
    {
        let held = told(client, EXPORT);
        for kind in ["history", "receipts", "stored_results", "value_names"] {
            let found = held[kind].as_array().unwrap();
            assert!(!found.is_empty(), "{kind}: {held}");
            assert!(found.iter().all(|row| row["workspace_id"] == json!(workspace)), "{kind}: {held}");
        }
        assert!(!held.to_string().contains(strange), "{held}");
    }
    let both = told(&mut owner, EXPORT);
    assert_eq!(
        (both["history"].as_array().unwrap().len(), both["receipts"].as_array().unwrap().len()),
        (2, 2)
    );
    let mut transaction = owner.transaction().unwrap();
    let all: Value = transaction.query_one(&format!("SELECT {FORGET}"), &[]).unwrap().get(0);
    assert_eq!(
        (&all["history"], &all["receipts"], &all["stored_results"]),
        (&json!(2), &json!(2), &json!(2))
    );
    transaction.rollback().unwrap();
    let erased = told(&mut rivals, FORGET);
    assert_eq!(
        (&erased["history"], &erased["receipts"], &erased["stored_results"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let left = "SELECT DISTINCT workspace_id FROM leadlex.receipt";
    assert_eq!(rows(&mut owner, left), [json!({"workspace_id": world.workspace})], "the other's stays");
    assert_eq!(told(&mut owner, FORGET)["history"], 1);
}

/// One's answer is on its way while the other forgets.
#[test]
fn an_answer_on_its_way_is_thrown_away_for_the_one_that_forgot() {
    let (world, mut rivals, other) = with_rows(&[]);
    let mut caller = world.caller();
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_secs(3)));
    for client in [&mut caller, &mut rivals] {
        let asked = world.provider.count();
        let backend = crate::world::pid(client);
        thread::scope(|scope| {
            let call = scope.spawn(|| client.query_one(&format!("SELECT {ONE}"), &[]).map(drop));
            world.provider.wait_for(asked + 1, SOON);
            world.cancel(backend);
            assert!(call.join().unwrap().is_err());
        });
    }
    told(&mut caller, FORGET);
    assert_eq!(world.provider.in_flight(), 2, "forgotten while both answers are under way");
    written(&world, 1);
    eventually("both have come", SOON, || world.provider.in_flight() == 0);
    thread::sleep(Duration::from_millis(500));
    let left = rows(&mut world.owner(), "SELECT workspace_id FROM leadlex.receipt");
    assert_eq!(left, [json!({"workspace_id": other})]);
}

/// Nothing but a telephone number: a refusal is kept for the row, in every workspace where its provider is everybody's.
#[test]
fn a_refusal_about_one_is_not_about_the_other() {
    let (world, mut rivals, _) = with_rows(&[]);
    let config = json!({"response": {"suppressed": {"status": [451]}}});
    world.owner().execute("SELECT leadlex.alter_provider('main', $1)", &[&config]).unwrap();
    let by_phone = json!({"request": {"query": {"phone": "{phone}"}}, "identify_by": [["phone"]]});
    world.owner().execute("SELECT leadlex.alter_provider('main', $1)", &[&by_phone]).unwrap();
    world.run("UPDATE own_key SET full_name = NULL, email = NULL, phone = '+1202555010' || CASE WHEN id = 2 THEN '7' ELSE '8' END");
    world.provider.on(PATH, |_| Behaviour::json(451, json!({})));
    let refused = fails(world.caller().query_one("SELECT enrich_row('own_key', 1, '{job_title}')", &[]));
    assert_eq!(refused.json()["reason"], "suppressed", "{refused:?}");
    eventually("the refusal is on the list", SOON, || {
        world.number("SELECT count(*) FROM leadlex.suppression") == 1
    });
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    let again = fails(world.caller().query_one("SELECT enrich_row('own_key', 1, '{job_title}')", &[]));
    assert_eq!(again.json()["reason"], "suppressed", "{again:?}");
    let answer = told(&mut rivals, "enrich_row('own_key', 1, '{job_title}')");
    assert_eq!(answer["fields_updated"], json!(["job_title"]), "another's contact");
    let lifted = "SELECT leadlex.unsuppress_row('own_key', 1)";
    assert_eq!(number(&mut world.owner(), lifted), 1);
}

/// What became of both is told, although it waits for the worker at the same time.
#[test]
fn what_became_of_each_is_told() {
    let (world, mut rivals, other) = with_rows(&[]);
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let mut owner = world.owner();
    let mut lock = owner.transaction().unwrap();
    lock.batch_execute("LOCK TABLE leadlex.outcome IN SHARE MODE").unwrap();
    // The worker is at a third one's, so that both are kept until it comes again.
    assert_eq!(told(&mut world.caller(), "try_enrich_row('own_key', 2)")["error"]["reason"], "no_data");
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'leadlex.outcome'::regclass";
    eventually("the worker waits", SOON, || world.number(waits) == 1);
    for client in [&mut world.caller(), &mut rivals] {
        assert_eq!(told(client, "try_enrich_row('own_key', 1)")["error"]["reason"], "no_data");
    }
    lock.commit().unwrap();
    let outcomes = "SELECT o.workspace_id FROM leadlex.outcome AS o JOIN leadlex.workspace AS w ON w.id = o.workspace_id WHERE o.contact_id = '1' ORDER BY w.name";
    eventually("both are in the tables", SOON, || {
        rows(&mut world.owner(), outcomes)
            == [json!({"workspace_id": world.workspace}), json!({"workspace_id": other})]
    });
    assert_eq!(told(&mut world.caller(), FORGET)["outcomes"], 1);
    assert_eq!(rows(&mut world.owner(), outcomes), [json!({"workspace_id": other})]);
}

/// Whatever it is that is held in the workspace that had the row before: each kind is found by itself.
#[test]
fn what_is_held_where_a_row_was_before_is_found_by_the_owner() {
    let (world, mut rivals, other) = with_rows(&[NAMES]);
    let mut caller = world.caller();
    let request = told(&mut caller, ONE)["request_id"].as_str().unwrap().to_owned();
    told(&mut caller, &format!("leadlex.revert_enrichment('{request}')"));
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    told(&mut caller, "try_enrich_row('own_key', 1, overwrite => true)");
    caller.execute("SELECT leadlex.enqueue_rows('own_key', '{1}')", &[]).unwrap();
    eventually("all is written", SOON, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 1
            && world.number("SELECT count(*) FROM leadlex.outcome") == 1
            && world.number("SELECT count(*) FROM leadlex.value_name") > 0
    });
    world.run(&format!(
        "SELECT leadlex.pause_queue();
         INSERT INTO leadlex.ticket (workspace_id, question, provider_id, kept_at, submitted_at, expires_at, known, ticket, person)
         SELECT o.workspace_id, gen_random_uuid(), p.id, now(), now(), now() + interval '1 day', gen_random_uuid(), '{{}}', o.contact
         FROM leadlex.outcome AS o, leadlex.provider_config AS p;
         -- With a value, and of which the table refused one.
         INSERT INTO leadlex.receipt (workspace_id, question, answered_at, provider_id, known, matched, lacking, answer, person, contact, former)
         SELECT t.workspace_id, gen_random_uuid(), now(), t.provider_id, t.known, true, '{{phone}}', a.answer::jsonb,
                CASE WHEN a.answer IS NOT NULL THEN t.person END, CASE WHEN a.answer IS NULL THEN t.person END, false
         FROM leadlex.ticket AS t, (VALUES ('{{\"values\": {{\"job_title\": \"Counsel\"}}}}'), (NULL)) AS a(answer);
         DELETE FROM own_key WHERE workspace_id = '{other}';
         UPDATE own_key SET workspace_id = '{other}' WHERE id = 1"
    ));
    let tables = [
        ("history", "enrichment", "true"),
        ("receipts", "receipt", "person IS NOT NULL"),
        ("receipts", "receipt", "contact IS NOT NULL"),
        ("tickets", "ticket", "true"),
        ("stored_results", "idempotency", "true"),
        ("jobs", "job_set", "true"),
        ("undone", "undone", "true"),
        ("outcomes", "outcome", "true"),
        ("value_names", "value_name", "true"),
    ];
    let mut owner = world.owner();
    for (kind, table, which) in tables {
        let mut alone = owner.transaction().unwrap();
        for (_, other, _) in tables.iter().filter(|(_, other, _)| *other != table) {
            alone.batch_execute(&format!("DELETE FROM leadlex.{other}")).unwrap();
        }
        alone.batch_execute(&format!("DELETE FROM leadlex.{table} WHERE NOT ({which})")).unwrap();
        let held: i64 =
            alone.query_one(&format!("SELECT count(*) FROM leadlex.{table}"), &[]).unwrap().get(0);
        assert!(held > 0, "{kind} {which}");
        let told: Value = alone.query_one(&format!("SELECT {EXPORT}"), &[]).unwrap().get(0);
        assert_eq!(told[kind].as_array().unwrap().len() as i64, held, "{kind} {which}: {told}");
        let erased: Value = alone.query_one(&format!("SELECT {FORGET}"), &[]).unwrap().get(0);
        assert_eq!(erased[kind], held, "{kind} {which}: {erased}");
        alone.rollback().unwrap();
    }
    // The one that has the row now has nothing on it, and learns of nothing.
    let erased = told(&mut rivals, FORGET);
    for (kind, ..) in tables {
        assert_eq!(erased[kind], 0, "{kind}: {erased}");
    }
    assert_eq!(told(&mut caller, FORGET)["undone"], 2, "whoever has the row now");
}

/// Nothing is in the tables yet, and the row is another's by now.
#[test]
fn an_answer_that_waits_for_the_worker_is_found_where_the_row_was_before() {
    let (world, _, other) = with_rows(&[]);
    let mut owner = world.owner();
    let mut lock = owner.transaction().unwrap();
    lock.batch_execute("LOCK TABLE leadlex.receipt IN SHARE MODE").unwrap();
    told(&mut world.caller(), "enrich_row('own_key', 1)");
    world.run(&format!(
        "DELETE FROM leadlex.enrichment; DELETE FROM own_key WHERE workspace_id = '{other}';
         UPDATE own_key SET workspace_id = '{other}' WHERE id = 1"
    ));
    thread::scope(|scope| {
        let forgetting = scope.spawn(|| told(&mut world.owner(), FORGET));
        // It looks for what is on its way meanwhile.
        thread::sleep(Duration::from_secs(1));
        lock.commit().unwrap();
        let erased = forgetting.join().unwrap();
        assert_eq!(erased["receipts"], 1, "{erased}");
    });
    assert_eq!(world.number("SELECT count(*) FROM leadlex.receipt"), 0);
}

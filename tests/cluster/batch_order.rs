//! In which order the contacts of a set use credits and rate, and what counts as one contact and one set.

use std::time::Duration;

use serde_json::json;

use crate::support::{Behaviour, eventually, person};
use crate::world::{Beginning, PATH, World};

/// Rows 1 and 2 are one person, the others others.
fn world(contacts: i32, credits: i64, conf: &[&str]) -> World {
    let world = World::with(&Beginning { contacts, credits: Some(credits), conf, ..Beginning::default() });
    world.run("UPDATE crm SET full_name = 'Same Person', email = 'same@acme.example' WHERE email IN ('person1@acme.example', 'person2@acme.example')");
    world
}

/// Status or error code of each contact, in the order of the table.
fn enrich_all(world: &World) -> Vec<String> {
    world.provider.forget();
    let sql =
        "SELECT coalesce(error_code, status) FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id))";
    world.caller().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn credits_go_in_the_order_of_the_input_also_where_two_are_one_question() {
    let world = world(3, 2, &[]);
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(300)));
    assert_eq!(enrich_all(&world), ["enriched", "enriched", "insufficient_credits"]);
    assert_eq!(world.provider.count(), 1);
    world.check_credits_add_up();
}

#[test]
fn a_refusal_to_this_set_uses_the_rate_once() {
    let world = world(3, 10, &["leadlex.max_parallel_requests = 1"]);
    world.run(&format!("SELECT leadlex.set_rate_limit('{}', 2, NULL)", world.workspace));
    world.provider.on(PATH, |request| match request.param("email") {
        Some("same@acme.example") => Behaviour::json(451, json!({"error": "refused"})),
        _ => Behaviour::json(200, person()),
    });
    world.run(
        r#"SELECT leadlex.alter_provider('main', config => '{"response": {"suppressed": {"status": [451]}}}')"#,
    );
    assert_eq!(enrich_all(&world), ["no_match", "no_match", "enriched"]);
}

#[test]
fn what_the_members_share_is_counted_over_all_chunks() {
    let world = world(8, 100, &["leadlex.max_people_per_value = 3", "leadlex.worker_naptime = 3600"]);
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    world.run("UPDATE crm SET full_name = 'Name' || chr(64 + right(id::text, 2)::int) || ' Family', email = 'shared@acme.example'");
    call_batch(&world, "", 2);
    let written = world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL");
    assert!(written <= 3, "{written} of 8 people with one address have an answer");
    assert!(world.provider.count() <= 3);
}

#[test]
fn spellings_of_one_key_are_one_contact_in_all_chunks() {
    let world = world(2, 10, &["leadlex.receipt_ttl = 0", "leadlex.recheck_after = 0"]);
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    call_batch(
        &world,
        "UNION ALL SELECT upper(id::text) FROM crm UNION ALL SELECT '{' || id || '}' FROM crm",
        1,
    );
    assert_eq!(world.provider.count(), 2);
}

fn call_batch(world: &World, more: &str, chunk: usize) {
    world.provider.forget();
    let rows = world.caller().query(&format!("SELECT id::text FROM crm {more}"), &[]).unwrap();
    let ids: Vec<String> = rows.iter().map(|row| format!("\"{}\"", row.get::<_, String>(0))).collect();
    let sql = format!("CALL leadlex.enrich_batch('crm', '{{{}}}', chunk => {chunk})", ids.join(","));
    world.caller().batch_execute(&sql).unwrap();
}

#[test]
fn who_calls_is_asked_before_which_table() {
    let world = world(1, 1, &[]);
    world.run("CREATE ROLE stranger LOGIN; CREATE TABLE unbound (id bigint PRIMARY KEY, email text)");
    let mut stranger = world.cluster.config("app").user("stranger").connect(postgres::NoTls).unwrap();
    let error = stranger.batch_execute("CALL leadlex.enrich_batch('unbound', '{1}')").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "LX401");
}

/// Also of an array with NULLs, of two dimensions, or counted from elsewhere.
#[test]
fn each_element_has_its_line_in_the_order_of_the_array() {
    let world = World::with(&Beginning { contacts: 3, credits: None, ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    let mut caller = world.caller();
    let known = "SELECT array_agg(id ORDER BY id) AS i FROM crm";
    let functions = [("enrich_contacts(", "uuid", "contact_id"), ("enrich_rows('crm', ", "text", "id")];
    for (relation, cast, id) in functions {
        let arrays = [
            "ARRAY[i[2], NULL, i[1], i[2], NULL, i[3]]",
            "ARRAY[[i[1], NULL], [i[3], i[1]]]",
            "('[5:7]=' || ARRAY[i[3], i[3], i[2]]::text)",
            "ARRAY[NULL]",
            "ARRAY[]",
        ];
        for array in arrays {
            let sql = format!(
                "WITH known AS ({known}), given AS (SELECT {array}::{cast}[] AS ids FROM known),
                      lines AS (SELECT row_number() OVER () AS n, l.{id}::text AS id, l.status FROM given, {relation}given.ids) AS l)
                 SELECT count(*) FILTER (WHERE l.id IS DISTINCT FROM e.id) AS wrong, count(l.n) AS lines, count(e.n) AS elements,
                        count(*) FILTER (WHERE (l.id IS NULL) <> (l.status = 'failed')) AS other
                 FROM lines AS l FULL JOIN (SELECT u.n, u.id::text AS id FROM given, unnest(given.ids) WITH ORDINALITY AS u(id, n)) AS e USING (n)"
            );
            let row = caller.query_one(&sql, &[]).unwrap();
            let count = |column: &str| row.get::<_, i64>(column);
            assert_eq!((count("wrong"), count("other")), (0, 0), "{relation} {array}");
            assert_eq!(count("lines"), count("elements"), "{relation} {array}");
        }
    }
}

/// What a set returns goes to a file early, where the server says nothing against files; an error at the end would take back the set.
/// Statements of ours need no file for a few rows, whatever the planner takes their tables for: those of setting up, of sets, of the queue.
#[test]
fn all_of_it_works_where_temporary_files_are_forbidden() {
    let conf = &["temp_file_limit = 0", "work_mem = 4MB"];
    let world = World::with(&Beginning { contacts: 1_500, credits: None, conf, ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(200, person()));
    let told = enrich_all(&world);
    assert_eq!((told.len(), told.iter().filter(|status| *status == "enriched").count()), (1_500, 1_500));
    world.run("UPDATE crm SET phone = NULL");
    let queue = "SELECT leadlex.enqueue_rows('crm', ARRAY(SELECT id::text FROM crm))";
    assert_eq!(world.caller().query_one(queue, &[]).unwrap().get::<_, i64>(0), 1_500);
    let done = "SELECT count(*) FROM leadlex.job WHERE state = 'done'";
    eventually("the queue is done", Duration::from_secs(60), || world.number(done) == 1_500);
    world.run("SELECT leadlex.forget_row('crm', (SELECT id::text FROM crm LIMIT 1)); SELECT count(*) FROM leadlex.check()");
}

//! Why not.

use std::time::Duration;

use serde_json::{Value, json};

use super::{rows, world};
use crate::support::{Behaviour, eventually, fails};
use crate::world::{PATH, World, contact, enrich, number, try_enrich};

const SOON: Duration = Duration::from_secs(10);

/// Of the contacts `10 * way + kind`: 1 nobody can be asked about, 2 is suppressed, of 3 there is nothing, 4 the vendor cannot
/// say, 5 is well.
pub fn kinds() -> World {
    let world = world(0, &["leadlex.job_retry_base = '1h'"]);
    world.run("SELECT leadlex.enable_provider('other', false)");
    world.provider.on(PATH, |request| match request.param("email").unwrap_or_default() {
        email if email.ends_with("3@acme.example") => Behaviour::json(404, json!({})),
        email if email.ends_with("4@acme.example") => Behaviour::json(500, json!({})),
        _ => Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+12025550123"}})),
    });
    world
}

pub fn insert(world: &World, way: i32) {
    world.run(&format!(
        "SELECT leadlex.suppress('person{way}2@acme.example');
         INSERT INTO crm (id, full_name, email) SELECT pg_catalog.uuid_in(pg_catalog.textout('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))),
             CASE WHEN n % 10 > 1 THEN 'Person ' || n END, CASE WHEN n % 10 > 1 THEN 'person' || n || '@acme.example' END
         FROM generate_series({way} * 10 + 1, {way} * 10 + 5) AS n"
    ));
}

fn outcomes(world: &World, way: i32) -> Vec<Value> {
    let sql = format!(
        "SELECT right(contact_id, 1)::int AS kind, relation, status, error_code, reason, jsonb_path_query_array(providers, '$[*].reason') AS providers
         FROM leadlex.last_outcome WHERE contact_id LIKE '%{way}_' AND at > now() - interval '1 minute' ORDER BY 1"
    );
    rows(&mut world.caller(), &sql)
}

#[test]
fn the_reason_is_the_same_alone_in_a_set_by_trigger_and_by_queue() {
    let world = kinds();
    let line = |kind, status, code, reason: Option<&str>, providers: Option<Value>| json!({"kind": kind, "relation": "public.crm", "status": status, "error_code": code, "reason": reason, "providers": providers});
    let expected = [
        line(1, "no_match", "no_match", Some("not_identifiable"), None),
        line(2, "no_match", "no_match", Some("suppressed"), None),
        line(3, "no_match", "no_match", Some("no_data"), None),
        line(4, "failed", "provider_unavailable", None, Some(json!(["server_error"]))),
    ];
    let check = |way: i32, what: &str| {
        eventually(what, SOON, || outcomes(&world, way).len() == 4);
        assert_eq!(outcomes(&world, way), expected, "{what}");
        world.end_pauses();
    };
    let mut caller = world.caller();
    insert(&world, 1);
    for kind in 1..=4 {
        // What an error takes back, it does not take back.
        fails(enrich(&mut caller, 10 + kind));
    }
    enrich(&mut caller, 15).unwrap();
    check(1, "one by one");
    insert(&world, 2);
    let lines = rows(
        &mut caller,
        "SELECT right(contact_id::text, 1)::int AS kind, reason, error_message LIKE '%(' || reason || ')' AS named FROM enrich_contacts(ARRAY(SELECT id FROM crm WHERE id::text LIKE '%2_'))",
    );
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["kind"].as_i64().unwrap(), line["reason"].as_str(), line["named"].as_bool()))
        .collect();
    assert_eq!(
        told,
        [
            (1, Some("not_identifiable"), Some(true)),
            (2, Some("suppressed"), Some(true)),
            (3, Some("no_data"), Some(true)),
            (4, None, None),
            (5, None, None)
        ]
    );
    check(2, "in a set");
    world.run("CREATE TRIGGER enriches AFTER INSERT ON crm REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enrich_on_insert()");
    insert(&world, 3);
    check(3, "by a trigger");
    world.run("DROP TRIGGER enriches ON crm");
    insert(&world, 4);
    caller
        .batch_execute("SELECT leadlex.enqueue(ARRAY(SELECT id FROM crm WHERE id::text LIKE '%4_'))")
        .unwrap();
    check(4, "by the queue");
}

#[test]
fn a_success_removes_it_and_so_does_forgetting() {
    let world = kinds();
    insert(&world, 1);
    let mut caller = world.caller();
    let count = |world: &World| world.number("SELECT count(*) FROM leadlex.last_outcome");
    for set in [false, true] {
        for kind in [3, 4] {
            try_enrich(&mut caller, 10 + kind);
        }
        world.end_pauses();
        eventually("both are told of", SOON, || count(&world) == 2);
        world.run("DELETE FROM leadlex.receipt; UPDATE crm SET email = replace(email, 'acme', 'bluepeak')");
        let sql = match set {
            true => "SELECT * FROM enrich_contacts(ARRAY[$1::uuid, $2])",
            false => "SELECT enrich_contact(id) FROM unnest(ARRAY[$1::uuid, $2]) AS id",
        };
        caller.query(sql, &[&contact(13), &contact(14)]).unwrap();
        eventually("nothing is left to tell", SOON, || count(&world) == 0);
        world.run("UPDATE crm SET email = replace(email, 'bluepeak', 'acme'), phone = NULL; DELETE FROM leadlex.receipt");
        caller = world.caller();
    }
    // Before it is written, too.
    try_enrich(&mut caller, 13);
    world.run(&format!("UPDATE crm SET email = 'person@harborline.example' WHERE id = '{}'", contact(13)));
    enrich(&mut caller, 13).unwrap();
    try_enrich(&mut caller, 11);
    // Each is written in its turn: for a moment the first may be there.
    let told = || rows(&mut world.owner(), "SELECT contact_id, reason FROM leadlex.last_outcome");
    let that_one = [json!({"contact_id": contact(11), "reason": "not_identifiable"})];
    eventually("that one alone is told of", SOON, || told() == that_one);
    world.run("CREATE ROLE stranger LOGIN; GRANT SELECT, UPDATE ON crm TO stranger; SELECT leadlex.grant_access('stranger', leadlex.create_workspace('others', 5))");
    let mut stranger = world.cluster.connect_as("app", "stranger");
    assert_eq!(number(&mut stranger, "SELECT count(*) FROM leadlex.last_outcome"), 0);
    let forgotten: Value =
        caller.query_one("SELECT leadlex.forget_contact($1)", &[&contact(11)]).unwrap().get(0);
    assert_eq!((&forgotten["outcomes"], count(&world)), (&json!(1), 0));
}

#[test]
fn it_is_kept_for_a_time() {
    let world = kinds();
    insert(&world, 1);
    try_enrich(&mut world.caller(), 11);
    eventually("it is told of", SOON, || world.number("SELECT count(*) FROM leadlex.last_outcome") == 1);
    world.run("UPDATE leadlex.outcome SET at = now() - interval '29 days'; INSERT INTO leadlex.outcome SELECT workspace_id, gen_random_uuid(), 'public', 'crm', 'old', now() - interval '31 days', status FROM leadlex.outcome");
    world.cluster.append_conf(&["leadlex.receipt_ttl = '10s'"]);
    world.cluster.restart(crate::support::Stop::Fast);
    eventually("the older one is gone", Duration::from_secs(30), || {
        world.number("SELECT count(*) FROM leadlex.outcome") == 1
    });
    assert_eq!(world.number("SELECT count(*) FROM leadlex.outcome WHERE contact_id <> 'old'"), 1);
}

/// Each session remembers that nothing is told of any contact, no longer than that.
#[test]
fn a_success_removes_the_reason_in_a_session_that_knew_of_none() {
    let world = kinds();
    insert(&world, 1);
    let (mut one, mut other) = (world.caller(), world.caller());
    enrich(&mut other, 15).unwrap();
    fails(enrich(&mut one, 14));
    eventually("it is told", SOON, || outcomes(&world, 1).len() == 1);
    world
        .provider
        .on(PATH, |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+12025550123"}})));
    world.end_pauses();
    enrich(&mut other, 14).unwrap();
    eventually("it is told no more", SOON, || outcomes(&world, 1).is_empty());
}

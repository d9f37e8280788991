//! Every column of every table of ours, before and after a person is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::told;
use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, PATH, World, contact, enrich, enrich_with_key, number, try_enrich};

const SOON: Duration = Duration::from_secs(20);
const NAME: &str = "Zorblatt Quixley";
const EMAIL: &str = "zorblatt.quixley@quixley.example";
const PHONE: &str = "+12025550147";
const TITLE: &str = "Chief Zymurgist";

/// Tables that hold something on a person; all of them are filled below.
const HOLD: [&str; 11] = [
    "checked",
    "enrichment",
    "idempotency",
    "job_set",
    "outcome",
    "receipt",
    "shared_value",
    "suppression",
    "ticket",
    "undone",
    "value_name",
];
/// Tables that hold nothing on persons. A table that is new belongs here, or above and among what is forgotten and told.
const HOLD_NOTHING: [&str; 30] = [
    "access",
    "allotment",
    "api_key",
    "bound_table",
    "budget_limit",
    "credit_balance",
    "credit_pending",
    "credit_settled",
    "erasure",
    "event",
    "home",
    "provider_balance",
    "provider_config",
    "provider_field_tally",
    "provider_rate",
    "provider_secret",
    "provider_tally",
    "queue_pause",
    "rate_use",
    "spend_day",
    "spend_hold",
    "spend_lease",
    "spend_reported",
    "spend_sum",
    "stopped",
    "usage_change",
    "usage_day",
    "usage_mark",
    "usage_pruned",
    "workspace",
];
/// Of a set of jobs, what is about all of its contacts, or about who queued them.
const OF_JOB_SETS: [&str; 6] = ["contacts", "first_job", "home", "key_hash", "marks", "places"];

type Tables = BTreeMap<String, Vec<Value>>;

/// Every row of every table that belongs to the extension.
fn tables(world: &World) -> Tables {
    let mut owner = world.owner();
    let sql = "SELECT c.relname::text FROM pg_class AS c
               JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
               JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'leadlex_enrich'
               WHERE c.relkind IN ('r', 'p', 'm')";
    let names: Vec<String> = owner.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let mut all = Tables::new();
    for name in names {
        let sql = format!("SELECT to_jsonb(t) FROM leadlex.{name} AS t");
        let rows = owner.query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        all.insert(name, rows);
    }
    all
}

/// Every text and number of a value.
fn leaves(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| leaves(one, found)),
        Value::Object(all) => all.values().for_each(|one| leaves(one, found)),
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Number(number) => drop(found.insert(number.to_string())),
        Value::Null | Value::Bool(_) => {}
    }
}

/// One person, of whom every table holds something.
fn known() -> World {
    let conf = ["leadlex.waterfall = 'fill'", "leadlex.max_people_per_value = 1"];
    let world = World::with(&Beginning { credits: Some(100), conf: &conf, ..Beginning::default() });
    let person = contact(1);
    world.run(&format!("UPDATE crm SET full_name = '{NAME}', email = '{EMAIL}' WHERE id = '{person}'"));
    let mut other = world.provider.config("/other");
    other["response"]["fields"] = json!({"job_title": "/data/job_title"});
    world.add_provider("other", &other);
    world.run("SELECT leadlex.alter_provider('other', priority => 200)");
    let answer = |of: Value| move |_: &_| Behaviour::json(200, json!({"likelihood": 9, "data": of}));
    world.provider.on(PATH, answer(json!({"phone": PHONE})));
    world.provider.on("/other", answer(json!({"job_title": TITLE})));
    let mut caller = world.caller();
    enrich_with_key(&mut caller, 1, uuid::Uuid::new_v4()).unwrap();
    // Asked about again, and confirmed; asked for what there is not; taken back.
    caller.batch_execute("SET leadlex.receipt_ttl = 0").unwrap();
    let again = "SELECT try_enrich_contact($1, '{phone}', overwrite => true)";
    caller.query_one(again, &[&person]).unwrap();
    caller.batch_execute("RESET leadlex.receipt_ttl").unwrap();
    world.run("UPDATE crm SET phone = NULL; DELETE FROM leadlex.receipt");
    enrich(&mut caller, 1).unwrap();
    for path in [PATH, "/other"] {
        world.provider.on(path, |_| Behaviour::json(404, json!({})));
    }
    caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
    let told = caller.query_one("SELECT try_enrich_contact($1, '{location}')", &[&person]).unwrap();
    let told: Value = told.get(0);
    assert_eq!(told["error"]["reason"], "no_data", "{told}");
    caller.batch_execute("RESET leadlex.receipt_ttl; RESET leadlex.recheck_after").unwrap();
    caller.query("SELECT leadlex.revert_provider('other', now() - interval '1 hour')", &[]).unwrap();
    // Another person with the same address: it is shared from then on.
    world.run(&format!("UPDATE crm SET email = '{EMAIL}' WHERE id = '{}'", contact(2)));
    let _ = try_enrich(&mut caller, 2);
    world.provider.on(PATH, answer(json!({"phone": PHONE})));
    world.run("SELECT leadlex.pause_queue()");
    // With another, and alone.
    let queue = "SELECT leadlex.enqueue($1, $2)";
    caller.execute(queue, &[&vec![person, contact(3)], &Some(vec!["seniority"])]).unwrap();
    caller.execute(queue, &[&vec![person], &None::<Vec<&str>>]).unwrap();
    eventually("the worker has written all of it", SOON, || {
        world.number("SELECT count(*) FROM leadlex.outcome") > 0
            && world.number("SELECT count(*) FROM leadlex.shared_value") > 0
    });
    // As they would be of a vendor that answers later, and of a table that refuses: with what the person is known by.
    world.run(&format!(
        "INSERT INTO leadlex.ticket SELECT workspace_id, gen_random_uuid(), provider_id, now(), now(), now() + interval '1 day', known,
             jsonb_build_object('inquiry', jsonb_build_object('email', '{EMAIL}')), person FROM leadlex.receipt WHERE person IS NOT NULL LIMIT 1;
         INSERT INTO leadlex.receipt (workspace_id, question, answered_at, provider_id, known, matched, lacking, contact, former)
             SELECT workspace_id, gen_random_uuid(), now(), provider_id, known, true, '{{phone}}', person, false
             FROM leadlex.receipt WHERE person IS NOT NULL LIMIT 1;
         UPDATE leadlex.job_set SET last_error = 'the vendor said: {PHONE}', paid_for = ARRAY['hash of values'] WHERE contacts = 1;
         SELECT leadlex.suppress('{EMAIL}', 'by request')"
    ));
    world
}

/// The person's values, and what stands for the person and for what was asked about it: hashes that no other row has to have.
fn values_of(export: &Value) -> BTreeSet<String> {
    let mut values: BTreeSet<String> =
        [NAME, EMAIL, PHONE, TITLE, &contact(1).to_string()].map(str::to_owned).into();
    for (kind, columns) in [
        ("history", &["identity"] as &[&str]),
        ("receipts", &["question", "person", "contact"]),
        ("tickets", &["question", "person"]),
        ("stored_results", &["key", "person", "request_hash"]),
        ("undone", &["contact", "value"]),
        ("outcomes", &["contact"]),
        ("value_names", &["name", "person"]),
        ("jobs", &["paid_for"]),
    ] {
        let rows = export[kind].as_array().unwrap();
        for column in columns {
            let found: BTreeSet<String> =
                rows.iter().filter_map(|row| row[column].as_str()).map(str::to_owned).collect();
            assert!(!found.is_empty(), "no {column} in {kind}: {export}");
            values.extend(found);
        }
    }
    values
}

/// The columns in which one of these stands, as `table.column: value`.
fn found(tables: &Tables, values: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (table, rows) in tables {
        for (column, value) in rows.iter().filter_map(Value::as_object).flatten() {
            let text = value.to_string();
            let met = values.iter().filter(|one| text.contains(one.as_str()));
            found.extend(met.map(|one| format!("{table}.{column}: {one}")));
        }
    }
    found
}

#[test]
fn what_is_told_of_a_person_is_all_that_is_then_erased() {
    let world = known();
    let before = tables(&world);
    let expected: BTreeSet<&str> = HOLD.into_iter().chain(HOLD_NOTHING).collect();
    assert_eq!(
        before.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        expected,
        "a new table: does it hold something on persons? Then leadlex.forget_contact, leadlex.export_contact and this test have to know it"
    );
    for table in HOLD {
        assert!(!before[table].is_empty(), "{table} is empty");
    }
    let mut caller = world.caller();
    let export = told(&mut caller, "export_contact($1)", 1);
    for (kind, rows) in export.as_object().unwrap() {
        let is_told = rows.as_array().is_none_or(|rows| !rows.is_empty());
        assert!(is_told, "nothing is told of {kind}: {export}");
    }
    let values = values_of(&export);
    let hold: BTreeSet<String> =
        found(&before, &values).iter().filter_map(|at| Some(at.split_once('.')?.0.to_owned())).collect();
    assert!(hold.iter().all(|table| HOLD.contains(&table.as_str())), "{hold:?}");
    let erased = told(&mut caller, "forget_contact($1)", 1);
    let after = tables(&world);
    assert_eq!(found(&after, &values), BTreeSet::new(), "of {erased}");
    // Whatever is gone or changed was told.
    let mut known = BTreeSet::new();
    leaves(&export, &mut known);
    for table in HOLD {
        for row in before[table].iter().filter(|row| !after[table].contains(row)) {
            let mut row = row.clone();
            let columns = row.as_object_mut().unwrap();
            if table == "job_set" {
                columns.retain(|column, _| !OF_JOB_SETS.contains(&column.as_str()));
                columns["contact_ids"].as_array_mut().unwrap().retain(|id| *id == json!(contact(1)));
            }
            let mut held = BTreeSet::new();
            leaves(&row, &mut held);
            let untold: Vec<&String> = held.difference(&known).collect();
            assert!(
                untold.is_empty(),
                "{table} had {untold:?} in {row}, of which nothing was told: {export}"
            );
        }
    }
    for kind in [
        "history",
        "receipts",
        "tickets",
        "stored_results",
        "jobs",
        "undone",
        "outcomes",
        "checked",
        "value_names",
    ] {
        let told = export[kind].as_array().unwrap().len();
        assert_eq!(erased[kind], told, "as many {kind} as were told of");
    }
    assert_eq!(erased["suppressed"], true);
    let again = told(&mut caller, "export_contact($1)", 1);
    for (kind, rows) in again.as_object().unwrap() {
        let stays = ["contact_id", "relation", "suppression", "shared_values"].contains(&kind.as_str());
        assert!(stays || rows == &json!([]), "{kind} was erased: {again}");
    }
    assert_eq!(again["suppression"], export["suppression"], "who is listed stays listed");
}

#[test]
fn what_is_told_is_the_callers_and_changes_nothing() {
    let world = known();
    let (mut rival, _) = super::rival(&world);
    let nothing = told(&mut rival, "export_contact($1)", 1);
    for (kind, rows) in nothing.as_object().unwrap() {
        assert!(rows == &json!([]) || rows.is_string(), "{kind} is another's: {nothing}");
    }
    let before = tables(&world);
    let mut owner = world.owner();
    owner.batch_execute("SET default_transaction_read_only = on").unwrap();
    let all = told(&mut owner, "export_contact($1)", 1);
    assert_eq!(all, told(&mut world.caller(), "export_contact($1)", 1), "the only workspace that knows it");
    for call in ["export_row('crm', $1::uuid)", "export_row('crm', ($1::uuid)::text)"] {
        assert_eq!(told(&mut owner, call, 1), all, "{call}");
    }
    let history = &all["history"][0];
    assert_eq!(
        (&history["old_values"], &history["requested_by"]),
        (&json!({"phone": null, "job_title": null}), &json!("caller"))
    );
    assert!(
        all["receipts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["answer"]["values"]["phone"] == PHONE && r["provider"] == "main"),
        "{all}"
    );
    let after = tables(&world);
    for table in HOLD {
        assert_eq!(before[table], after[table], "{table}");
    }
    // What is on its way into the tables, too.
    world.run("SELECT leadlex.unsuppress('zorblatt.quixley@quixley.example'); UPDATE crm SET email = 'zq@quixley.example', phone = NULL; DELETE FROM leadlex.receipt");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    let export = told(&mut caller, "export_contact($1)", 1);
    assert!(
        export["receipts"].as_array().unwrap().iter().any(|r| r["answer"]["values"]["phone"] == PHONE),
        "{export}"
    );
    for (call, sqlstate) in [
        ("export_contact(NULL)", "LX400"),
        ("export_row(NULL, '1')", "LX400"),
        ("export_row('crm', 'no key')", "LX400"),
        ("export_row('pg_class', '1')", "55000"),
    ] {
        let result = caller.batch_execute(&format!("SELECT leadlex.{call}"));
        assert_eq!(crate::world::sqlstate(&result), sqlstate, "{call}");
    }
    world.run(&format!(
        "CREATE ROLE stranger LOGIN; CREATE ROLE reader LOGIN; SELECT leadlex.grant_access('reader', '{}', '{{}}')",
        world.workspace
    ));
    for (role, sqlstate) in [("stranger", "LX401"), ("reader", "LX403")] {
        let mut client = world.cluster.connect_as("app", role);
        let result = client.query_one("SELECT leadlex.export_contact($1)", &[&contact(1)]);
        assert_eq!(crate::world::sqlstate(&result), sqlstate, "{role}");
    }
    assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.erasure"), 0);
}

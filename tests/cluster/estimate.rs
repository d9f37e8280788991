//! leadlex.estimate: what it says beforehand is what a batch then does, and saying it costs and changes nothing.

use std::collections::{BTreeMap, HashSet};

use postgres::{Client, GenericClient};
use serde_json::json;

use crate::support::{Behaviour, eventually, fails, person};
use crate::world::{Beginning, PATH, World, contact, enrich, only_phone, sqlstate, try_enrich};

const ALL: &str = "SELECT array_agg(id::text ORDER BY id) FROM crm";

/// Contacts by outcome and reason.
type Told = BTreeMap<(String, String), i64>;

fn told(expected: &[(&str, &str, i64)]) -> Told {
    expected.iter().map(|(outcome, reason, n)| (((*outcome).to_owned(), (*reason).to_owned()), *n)).collect()
}

fn ids(client: &mut Client) -> Vec<Option<String>> {
    client.query_one(ALL, &[]).unwrap().get(0)
}

fn estimate(client: &mut impl GenericClient, ids: &[Option<String>], overwrite: bool) -> Told {
    let sql = "SELECT outcome, reason, contacts FROM leadlex.estimate('crm', $1, NULL, $2)";
    let rows = client.query(sql, &[&ids, &overwrite]).unwrap();
    let told: Told = rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    assert_eq!(told.len(), rows.len(), "each reason once");
    assert_eq!(told.values().sum::<i64>(), ids.len() as i64, "every position is counted once");
    told
}

/// One line of a batch: id, status, error code and message.
type Line = (Option<String>, String, Option<String>, String);

fn batch(client: &mut Client, ids: &[Option<String>], overwrite: bool) -> Vec<Line> {
    let sql =
        "SELECT id, status, error_code, coalesce(error_message, '') FROM enrich_rows('crm', $1, NULL, $2)";
    let rows = client.query(sql, &[&ids, &overwrite]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

fn world(beginning: &Beginning) -> World {
    let world = World::with(beginning);
    world.run(
        "DO $$ BEGIN
             IF to_regprocedure('enrich_rows(regclass, text[], text[], boolean)') IS NULL THEN
                 CREATE FUNCTION enrich_rows(relation regclass, ids text[], fields text[] DEFAULT NULL, overwrite boolean DEFAULT false)
                     RETURNS TABLE (id text, status text, fields_updated text[], source text, confidence double precision, request_id uuid,
                                    error_code text, error_message text, contact jsonb)
                     LANGUAGE c AS '$libdir/leadlex_enrich', 'enrich_rows_set';
             END IF;
         END $$",
    );
    world
}

/// Asked, and taken back: what is left is the receipt.
fn remember(world: &World, n: i32) {
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    let _ = try_enrich(&mut transaction, n);
    transaction.rollback().unwrap();
}

fn is_full(world: &World, id: Option<&str>) -> bool {
    let sql = "SELECT num_nulls(job_title, company_name, linkedin_url, phone, location, seniority) = 0 FROM crm WHERE id::text = $1";
    world.owner().query_one(sql, &[&id]).unwrap().get(0)
}

/// What a batch did, in the words of an estimate. Nobody was asked about a person whose address is in no request.
fn happened(world: &World, ids: &[Option<String>], lines: &[Line]) -> Told {
    let asked: HashSet<String> =
        world.provider.requests().iter().filter_map(|r| r.param("email").map(str::to_owned)).collect();
    let mut seen = HashSet::new();
    let mut told = Told::new();
    for (id, (_, status, code, message)) in ids.iter().zip(lines) {
        let number = id.as_deref().and_then(|id| id.get(24..)?.parse::<i32>().ok());
        let was_asked = number.is_some_and(|n| asked.contains(&format!("person{n}@acme.example")));
        let (outcome, reason) = match (status.as_str(), code.as_deref().unwrap_or_default()) {
            (_, "validation_error") => ("skipped", "bad key"),
            _ if !seen.insert(id) => ("skipped", "duplicate"),
            (_, "insufficient_credits") => ("skipped", "credits run out"),
            (_, "rate_limited") => ("skipped", "rate limit"),
            _ if was_asked => ("asked", "no receipt"),
            ("enriched", _) => ("answered", "receipt"),
            ("unchanged", _) if is_full(world, id.as_deref()) => ("skipped", "nothing to fill"),
            ("unchanged", _) => ("skipped", "no data"),
            (_, "not_found") => ("skipped", "not found"),
            (_, "provider_unavailable") => ("skipped", "provider unavailable"),
            (_, "no_match") if message.contains("is to be asked") => ("skipped", "suppressed"),
            (_, "no_match") if message.contains("too little") => ("skipped", "not identifiable"),
            (_, "no_match") => ("skipped", "no data"),
            (status, code) => panic!("{id:?}: {status} {code} {message}"),
        };
        *told.entry((outcome.to_owned(), reason.to_owned())).or_default() += 1;
    }
    told
}

/// Whatever there can be, in one set.
fn mixed(world: &World) -> Vec<Option<String>> {
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person5@acme.example" | "person6@acme.example") => Behaviour::json(404, json!({})),
        Some("person4@acme.example") => Behaviour::json(200, only_phone("+12025550144")),
        _ => Behaviour::json(200, person()),
    });
    world.provider.on("/second", |request| match request.param("email") {
        Some("person5@acme.example") => Behaviour::json(404, json!({})),
        _ => Behaviour::json(200, json!({"likelihood": 8, "data": {"location": "Oslo", "job_title": "CEO"}})),
    });
    world.run(
        "UPDATE crm SET (job_title, company_name, linkedin_url, phone, location, seniority) = ('a', 'b', 'in/cc', '+12025550104', 'e', 'f')
             WHERE email = 'person1@acme.example';
         UPDATE crm SET email = NULL, full_name = ' ' WHERE email = 'person7@acme.example';
         SELECT leadlex.suppress('person8@acme.example')",
    );
    // Of 6 only the first has been asked.
    remember(world, 6);
    world.add_provider("second", &world.provider.config("/second"));
    for n in [3, 4, 5] {
        remember(world, n);
    }
    world.provider.forget();
    let mut ids = ids(&mut world.owner());
    let twice = [2, 3].map(|n| Some(contact(n).to_string().to_uppercase()));
    ids.extend(twice);
    ids.extend([Some("no key".to_owned()), None, Some(contact(999).to_string())]);
    ids
}

const MIXED: [(&str, &str, i64); 9] = [
    ("asked", "no receipt", 6),
    ("answered", "receipt", 2),
    ("skipped", "nothing to fill", 1),
    ("skipped", "no data", 1),
    ("skipped", "not identifiable", 1),
    ("skipped", "suppressed", 1),
    ("skipped", "not found", 1),
    ("skipped", "bad key", 2),
    ("skipped", "duplicate", 2),
];

#[test]
fn what_it_says_is_what_a_batch_then_does() {
    let world = world(&Beginning { contacts: 12, credits: Some(100), ..Beginning::default() });
    let ids = mixed(&world);
    let mut caller = world.caller();
    assert_eq!(estimate(&mut caller, &ids, false), told(&MIXED));
    assert_eq!(world.provider.count(), 0);
    let lines = batch(&mut caller, &ids, false);
    assert_eq!(happened(&world, &ids, &lines), told(&MIXED));
    assert_eq!(world.provider.count_of(PATH), 5);
    assert_eq!(world.provider.count_of("/second"), 1, "about 6, of whom the first has nothing");
    // Most is filled now; what nobody had is remembered.
    let again = estimate(&mut caller, &ids, false);
    world.provider.forget();
    let lines = batch(&mut caller, &ids, false);
    assert_eq!(happened(&world, &ids, &lines), again);
}

#[test]
fn a_waterfall_that_fills_needs_more_than_a_first_match() {
    let world = world(&Beginning { contacts: 12, credits: Some(100), ..Beginning::default() });
    let ids = mixed(&world);
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.waterfall = 'fill'").unwrap();
    // 4 has only a phone from the first.
    let mut expected = told(&MIXED);
    *expected.get_mut(&("asked".to_owned(), "no receipt".to_owned())).unwrap() += 1;
    *expected.get_mut(&("answered".to_owned(), "receipt".to_owned())).unwrap() -= 1;
    assert_eq!(estimate(&mut caller, &ids, false), expected);
    let lines = batch(&mut caller, &ids, false);
    assert_eq!(happened(&world, &ids, &lines), expected);
}

#[test]
fn confidence_overwrite_and_settings_of_receipts_count() {
    let world = world(&Beginning { contacts: 3, ..Beginning::default() });
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person1@acme.example") => {
            Behaviour::json(200, json!({"likelihood": 3, "data": {"phone": "+12025550101"}}))
        }
        Some("person2@acme.example") => Behaviour::json(404, json!({})),
        _ => Behaviour::json(200, person()),
    });
    (1..=2).for_each(|n| remember(&world, n));
    enrich(&mut world.caller(), 3).unwrap();
    let mut caller = world.caller();
    let ids = ids(&mut caller);
    let mut check = |setting: &str, overwrite: bool, expected: &[(&str, &str, i64)]| {
        let mut transaction = caller.transaction().unwrap();
        transaction.batch_execute(setting).unwrap();
        assert_eq!(estimate(&mut transaction, &ids, overwrite), told(expected), "{setting}");
    };
    let full = ("skipped", "nothing to fill", 1);
    check("", false, &[("answered", "receipt", 1), ("skipped", "no data", 1), full]);
    check(
        "SET LOCAL leadlex.min_confidence = 0.5",
        false,
        &[("skipped", "below min_confidence", 1), ("skipped", "no data", 1), full],
    );
    check(
        "SET LOCAL leadlex.receipt_ttl = 0",
        false,
        &[("asked", "no receipt", 1), ("skipped", "no data", 1), full],
    );
    check(
        "SET LOCAL leadlex.receipt_ttl = 0; SET LOCAL leadlex.recheck_after = 0",
        false,
        &[("asked", "no receipt", 2), full],
    );
    // The receipt of 3 says what it has already; where there was nothing, it is asked anew.
    check(
        "",
        true,
        &[("asked", "no receipt", 1), ("answered", "receipt", 1), ("answered", "nothing new", 1)],
    );
    world.provider.forget();
    let lines = batch(&mut caller, &ids, true);
    let statuses: Vec<&str> = lines.iter().map(|(_, status, ..)| status.as_str()).collect();
    assert_eq!(statuses, ["enriched", "no_match", "unchanged"]);
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn credits_and_the_rate_limit_run_out_where_they_will() {
    for (credits, plan, expected) in [
        (Some(3), "unmetered", [("asked", "no receipt", 3), ("skipped", "credits run out", 9)]),
        (None, "starter", [("asked", "no receipt", 10), ("skipped", "rate limit", 2)]),
    ] {
        let world = world(&Beginning { contacts: 12, credits, plan, ..Beginning::default() });
        let mut caller = world.caller();
        caller.batch_execute("SET leadlex.batch_wait_for_rate_limit = off").unwrap();
        let ids = ids(&mut caller);
        assert_eq!(estimate(&mut caller, &ids, false), told(&expected));
        let lines = batch(&mut caller, &ids, false);
        assert_eq!(happened(&world, &ids, &lines), told(&expected));
        if plan == "starter" {
            // Who waits for the next minute has all of the day.
            world.run("UPDATE crm SET phone = NULL");
            caller.batch_execute("SET leadlex.batch_wait_for_rate_limit = on").unwrap();
            let waiting = estimate(&mut caller, &ids, false);
            assert_eq!(waiting, told(&[("asked", "no receipt", 2), ("answered", "receipt", 10)]));
        }
    }
}

#[test]
fn a_provider_that_cannot_be_asked_now_is_not_counted_on() {
    let world = world(&Beginning { contacts: 6, credits: Some(100), ..Beginning::default() });
    let limit = json!({"max_requests_per_minute": 4});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&limit]).unwrap();
    let mut caller = world.caller();
    let ids = ids(&mut caller);
    let expected = told(&[("asked", "no receipt", 4), ("skipped", "provider unavailable", 2)]);
    assert_eq!(estimate(&mut caller, &ids, false), expected);
    let lines = batch(&mut caller, &ids, false);
    assert_eq!(happened(&world, &ids, &lines), expected);
    // Paused, until it is given another secret.
    let no_limit = json!({"max_requests_per_minute": null});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&no_limit]).unwrap();
    world.provider.on(PATH, |_| {
        Behaviour::Answer(crate::support::Response::json(429, &json!({})).with_header("Retry-After", "600"))
    });
    try_enrich(&mut caller, 5);
    let left: Vec<Option<String>> = ids[4..].to_vec();
    assert_eq!(estimate(&mut caller, &left, false), told(&[("skipped", "provider unavailable", 2)]));
    world.run("SELECT leadlex.alter_provider('main', secret => 'another')");
    assert_eq!(estimate(&mut caller, &left, false), told(&[("asked", "no receipt", 2)]));
}

#[test]
fn it_writes_claims_uses_and_locks_nothing() {
    let world = world(&Beginning { contacts: 12, credits: Some(100), plan: "org", ..Beginning::default() });
    let ids = mixed(&world);
    world.settle();
    eventually("the receipts are written", std::time::Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.receipt") >= 5
    });
    let receipts = "SELECT sum(hashtext(r::text))::int8 FROM leadlex.receipt AS r";
    let stats = "SELECT sum(calls + skipped + failures)::int8 FROM leadlex.provider_stats";
    let before = (world.ledger(), world.number(receipts), world.number(stats));
    // Everybody else's locks are no matter.
    let mut holder = world.owner();
    let mut locked = holder.transaction().unwrap();
    locked.batch_execute("SELECT FROM crm FOR UPDATE").unwrap();
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '30s'").unwrap();
    let mut transaction = caller.build_transaction().read_only(true).start().unwrap();
    assert_eq!(estimate(&mut transaction, &ids, false), told(&MIXED));
    let sql = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode <> 'AccessShareLock' AND locktype <> 'virtualxid'";
    let locks: i64 = transaction.query_one(sql, &[]).unwrap().get(0);
    assert_eq!(locks, 0, "no claim, no row lock, no transaction id");
    transaction.commit().unwrap();
    locked.rollback().unwrap();
    assert_eq!((world.ledger(), world.number(receipts), world.number(stats)), before);
    assert_eq!(world.provider.count(), 0);
    let standby = world.cluster.standby(&[]);
    eventually("the standby has caught up", std::time::Duration::from_secs(20), || {
        let mut there = standby.connect_as("app", "caller");
        there.query("SELECT FROM leadlex.estimate('crm', '{}')", &[]).is_ok()
            && estimate(&mut there, &ids, false) == told(&MIXED)
    });
}

#[test]
fn it_is_refused_like_a_batch() {
    let world = world(&Beginning::default());
    let mut caller = world.caller();
    let refused = |client: &mut Client, sql: &str| fails(client.query(sql, &[])).sqlstate;
    for sql in ["estimate(NULL, '{}')", "estimate('crm', '{}', '{}')", "estimate('crm', '{}', '{shoe_size}')"]
    {
        assert_eq!(refused(&mut caller, &format!("SELECT * FROM leadlex.{sql}")), "LX400", "{sql}");
    }
    let ask = "SELECT * FROM leadlex.estimate('crm', ARRAY['00000000-0000-4000-8000-000000000001'])";
    assert_eq!(caller.query("SELECT * FROM leadlex.estimate('crm', NULL)", &[]).unwrap().len(), 0);
    world.run(
        "CREATE ROLE stranger LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE looker LOGIN; CREATE TABLE unbound (id int);
         GRANT SELECT ON crm TO stranger, reader; GRANT SELECT, UPDATE ON crm TO looker;
         SELECT leadlex.grant_access('reader'), leadlex.grant_access('looker', permissions => '{read}')",
    );
    assert_eq!(refused(&mut caller, "SELECT * FROM leadlex.estimate('unbound', '{1}')"), "55000");
    for (role, state) in [("stranger", "LX401"), ("looker", "LX403"), ("reader", "42501")] {
        assert_eq!(refused(&mut world.cluster.connect_as("app", role), ask), state, "{role}");
    }
    // Told by name, also where row-level security would need the lacking privilege to be looked at.
    world.run(
        "CREATE ROLE blind LOGIN; SELECT leadlex.grant_access('blind'); ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
         CREATE POLICY seen ON crm FOR SELECT USING (true); CREATE POLICY changed ON crm FOR UPDATE USING (true)",
    );
    for (role, what) in [("blind", "permission denied to read"), ("reader", "permission denied to update")] {
        let refusal = fails(world.cluster.connect_as("app", role).query(ask, &[]));
        assert!(refusal.sqlstate == "42501" && refusal.message.starts_with(what), "{role}: {refusal:?}");
    }
    world.run("ALTER TABLE crm DISABLE ROW LEVEL SECURITY");
    world.run("SELECT leadlex.enable_provider('main', false)");
    assert_eq!(refused(&mut caller, ask), "55000");
    // Rows of another workspace are not there.
    world.run("SELECT leadlex.enable_provider('main', true)");
    let other = "SELECT leadlex.create_api_key(leadlex.create_workspace('other', NULL, 'unmetered'))";
    let key: String = world.owner().query_one(other, &[]).unwrap().get(0);
    caller.query("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    let ids = ids(&mut caller);
    assert_eq!(estimate(&mut caller, &ids, false), told(&[("skipped", "not found", 10)]));
    assert_eq!(sqlstate(&enrich(&mut caller, 1)), "LX404");
}

#[test]
fn contacts_that_are_one_person_are_asked_about_once() {
    let world = world(&Beginning { contacts: 6, credits: Some(100), ..Beginning::default() });
    world.run(
        "UPDATE crm SET email = 'person1@acme.example', full_name = 'PERSON  1' WHERE email IN ('person2@acme.example', 'person3@acme.example')",
    );
    let mut caller = world.caller();
    let ids = ids(&mut caller);
    let expected = told(&[("asked", "no receipt", 4), ("answered", "same question", 2)]);
    assert_eq!(estimate(&mut caller, &ids, false), expected);
    // Without receipts each is asked about.
    caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
    assert_eq!(estimate(&mut caller, &ids, false), told(&[("asked", "no receipt", 6)]));
    caller.batch_execute("RESET leadlex.receipt_ttl; RESET leadlex.recheck_after").unwrap();
    batch(&mut caller, &ids, false);
    assert_eq!(world.provider.count(), 4);
    // To have in common what only a later provider would be asked with is something else.
    world.run("UPDATE crm SET email = 'again' || email, phone = '+1 555' WHERE email NOT LIKE 'person1@%'");
    let mut config = world.provider.config("/second");
    config["identify_by"] = json!([["phone"]]);
    config["request"]["query"] = json!({"phone": "{phone}"});
    world.add_provider("second", &config);
    let fields = "SELECT outcome, contacts FROM leadlex.estimate('crm', $1, '{location}') ORDER BY 1";
    world.run("UPDATE crm SET location = NULL");
    let told: Vec<(String, i64)> =
        caller.query(fields, &[&ids]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(told, [("answered".to_owned(), 3), ("asked".to_owned(), 3)]);
}

#[test]
fn a_row_that_policies_do_not_let_one_update_is_not_counted_on() {
    let world = world(&Beginning { contacts: 6, ..Beginning::default() });
    world.run(&format!(
        "ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
         CREATE POLICY seen ON crm FOR SELECT TO caller USING (true);
         CREATE POLICY mine ON crm FOR UPDATE TO caller USING (id <> '{}')",
        contact(2)
    ));
    let mut caller = world.caller();
    let ids = ids(&mut caller);
    let expected = told(&[("asked", "no receipt", 5), ("skipped", "row-level security", 1)]);
    assert_eq!(estimate(&mut caller, &ids, false), expected);
    // Where nothing can be written, whether it may be cannot be asked.
    let mut transaction = caller.build_transaction().read_only(true).start().unwrap();
    assert_eq!(estimate(&mut transaction, &ids, false), told(&[("asked", "no receipt", 6)]));
    transaction.commit().unwrap();
    let lines = batch(&mut caller, &ids, false);
    assert_eq!(lines.iter().filter(|(_, _, code, _)| code.as_deref() == Some("42501")).count(), 1);
    assert_eq!(world.provider.count(), 5);
}

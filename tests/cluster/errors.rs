//! Every row of the contract's error table: what the client sees, and that nothing has changed that must not.

use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, Failure, fails};
use crate::world::{Beginning, PATH, SECRET, World, contact, enrich, enrich_with_key};

/// One row of the error table.
struct Row {
    sqlstate: &'static str,
    code: &'static str,
    status: u64,
    retryable: bool,
    /// Who is calling has been found out before this is noticed.
    identity_known: bool,
}

const fn row(
    sqlstate: &'static str,
    code: &'static str,
    status: u64,
    retryable: bool,
    identity_known: bool,
) -> Row {
    Row { sqlstate, code, status, retryable, identity_known }
}

const VALIDATION: Row = row("LX400", "validation_error", 400, false, false);
const VALIDATION_OF_KEY: Row = row("LX400", "validation_error", 400, false, true);
const INVALID_KEY: Row = row("LX401", "invalid_key", 401, false, false);
const NO_CREDITS: Row = row("LX402", "insufficient_credits", 402, false, true);
const NO_PERMISSION: Row = row("LX403", "insufficient_permissions", 403, false, true);
const NOT_FOUND: Row = row("LX404", "not_found", 404, false, true);
const NO_MATCH: Row = row("LX409", "no_match", 409, false, true);
const MISMATCH: Row = row("LX422", "idempotency_mismatch", 422, false, true);
const RATE_LIMITED: Row = row("LX429", "rate_limited", 429, true, true);
const UNAVAILABLE: Row = row("LX503", "provider_unavailable", 503, true, true);

/// What one call may use although it fails.
#[derive(Clone, Copy)]
struct Uses {
    rate: i64,
    requests: usize,
}

const NOTHING: Uses = Uses { rate: 0, requests: 0 };
const RATE: Uses = Uses { rate: 1, requests: 0 };
const RATE_AND_REQUEST: Uses = Uses { rate: 1, requests: 1 };

fn check_detail(detail: &Value, row: &Row) {
    assert_eq!(detail["code"], row.code, "{detail}");
    assert_eq!(detail["status"], row.status, "{detail}");
    assert_eq!(detail["retryable"], row.retryable, "{detail}");
    let request_id: Uuid = detail["request_id"].as_str().expect("request_id").parse().expect("a uuid");
    assert_eq!(request_id.get_version_num(), 7, "{detail}");
    if row.identity_known {
        let rate = detail["rate_limit"].as_object().unwrap_or_else(|| panic!("no rate_limit: {detail}"));
        for key in ["limit", "remaining", "reset"] {
            assert!(rate[key].is_i64() || rate[key].is_u64(), "{key}: {detail}");
        }
    }
}

/// The failure itself, of one statement `SELECT {call}`.
fn check_failure(failure: &Failure, row: &Row) {
    assert_eq!(failure.sqlstate, row.sqlstate, "{failure:?}");
    assert!(failure.message.starts_with(&format!("{}: ", row.code)), "{failure:?}");
    assert!(failure.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "no hint: {failure:?}");
    check_detail(&failure.json(), row);
    assert!(!failure.everything().contains(SECRET), "{failure:?}");
}

/// Runs the call, raised and in its try_ form; checks that both tell the same, and that both leave contacts, credits,
/// ledger and history alone, and use no more of rate and provider than they may.
fn refused(world: &World, client: &mut Client, call: &str, row: &Row, uses: Uses) -> Failure {
    let mut expected = world.ledger();
    let requests = world.provider.count();

    let failure = fails(client.query_one(&format!("SELECT {call}"), &[]));
    check_failure(&failure, row);
    expected.rate_used.iter_mut().for_each(|used| *used += uses.rate);
    assert_eq!(world.ledger(), expected, "{call} changed something");
    assert_eq!(world.provider.count(), requests + uses.requests, "{call} asked the provider");

    // What one call has learnt of a provider is not to spare the next one its question.
    world.end_pauses();
    let mut transaction = client.transaction().unwrap();
    let returned: Value = transaction.query_one(&format!("SELECT try_{call}"), &[]).unwrap().get(0);
    let still: i32 = transaction.query_one("SELECT 7", &[]).unwrap().get(0);
    assert_eq!(still, 7, "the transaction is usable after try_{call}");
    transaction.commit().unwrap();
    let error = &returned["error"];
    check_detail(error, row);
    assert_eq!(error["message"], failure.message, "the try_ form says the same");
    for (key, value) in failure.json().as_object().unwrap() {
        // These differ from call to call.
        if !["request_id", "rate_limit", "remaining", "reset", "retry_after"].contains(&key.as_str()) {
            assert_eq!(&error[key], value, "{key} in the try_ form of {call}");
        }
        assert!(!error[key].is_null(), "{key} is missing from the try_ form of {call}");
    }
    expected.rate_used.iter_mut().for_each(|used| *used += uses.rate);
    assert_eq!(world.ledger(), expected, "try_{call} changed something");
    assert_eq!(world.provider.count(), requests + 2 * uses.requests, "try_{call} asked the provider");
    failure
}

/// With rate limits, so that DETAIL has something to say about them.
fn starter() -> World {
    // Every call asks: nothing is remembered.
    let conf = &["leadlex.receipt_ttl = 0", "leadlex.recheck_after = 0"];
    World::with(&Beginning { plan: "starter", credits: Some(5), conf, ..Beginning::default() })
}

fn call(n: i32) -> String {
    format!("enrich_contact('{}')", contact(n))
}

#[test]
fn lx400_names_the_argument_that_is_wrong() {
    let world = starter();
    let mut caller = world.caller();
    let id = contact(1);
    let mut refuse = |call: &str, row: &Row| refused(&world, &mut caller, call, row, NOTHING);

    let null = refuse("enrich_contact(NULL)", &VALIDATION);
    assert!(null.message.contains("contact_id"), "{null:?}");
    refuse(&format!("enrich_contact('{id}', '{{}}')"), &VALIDATION);
    refuse(&format!("enrich_contact('{id}', ARRAY['phone', NULL])"), &VALIDATION);
    let unknown = refuse(&format!("enrich_contact('{id}', ARRAY['phone', 'shoe_size'])"), &VALIDATION);
    assert!(unknown.message.contains("shoe_size"), "{unknown:?}");
    for field in ["job_title", "company_name", "linkedin_url", "phone", "location", "seniority"] {
        assert!(unknown.everything().contains(field), "{field} is not listed: {unknown:?}");
    }
    refuse("enrich_row('crm', NULL)", &VALIDATION);
    refuse("enrich_row(NULL, 'x')", &VALIDATION);
    let key = refuse("enrich_row('crm', 'not a uuid')", &VALIDATION_OF_KEY);
    assert!(key.message.contains("not a uuid"), "{key:?}");
}

#[test]
fn lx401_whoever_has_no_identity_gets_nothing() {
    let world = starter();
    world.run("CREATE ROLE stranger LOGIN; GRANT SELECT, UPDATE ON crm TO stranger;");
    let make_key = |sql: &str| -> String { world.owner().query_one(sql, &[]).unwrap().get(0) };
    let workspace = world.workspace;
    let revoked = make_key(&format!("SELECT leadlex.create_api_key('{workspace}')"));
    world.run(&format!("SELECT leadlex.revoke_api_key('{}')", &revoked[..12]));
    let expired =
        make_key(&format!("SELECT leadlex.create_api_key('{workspace}', expires_at => now() + '0.3 s')"));

    let mut stranger = world.cluster.connect_as("app", "stranger");
    refused(&world, &mut stranger, &call(1), &INVALID_KEY, NOTHING);
    // A superuser without a grant is no member of all workspaces.
    refused(&world, &mut world.owner(), &call(1), &INVALID_KEY, NOTHING);

    std::thread::sleep(std::time::Duration::from_millis(350));
    for (key, why) in [(revoked.as_str(), "revoked"), (&expired, "expired"), ("wbk_unknown", "unknown")] {
        // A key that is set decides, also for a role with a grant.
        let mut caller = world.caller();
        caller.execute("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
        let failure = refused(&world, &mut caller, &call(1), &INVALID_KEY, NOTHING);
        assert!(failure.message.contains(why), "{failure:?}");
        assert!(!failure.everything().contains(key), "the key is shown: {failure:?}");
    }

    world.run("SELECT leadlex.grant_access('caller', leadlex.create_workspace('other'))");
    let several = refused_without_ledger(&world, &call(1), &INVALID_KEY);
    assert!(several.everything().contains("leadlex.workspace"), "{several:?}");
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.workspace = 'acme'").unwrap();
    enrich(&mut caller, 1).unwrap();
}

/// Where the caller itself cannot ask for its tables.
fn refused_without_ledger(world: &World, call: &str, row: &Row) -> Failure {
    let requests = world.provider.count();
    let failure = fails(world.caller().query_one(&format!("SELECT {call}"), &[]));
    check_failure(&failure, row);
    assert_eq!(world.provider.count(), requests);
    failure
}

#[test]
fn lx402_without_a_credit_nobody_is_asked() {
    let world = World::with(&Beginning { plan: "starter", credits: Some(0), ..Beginning::default() });
    // The rate limit comes before the credit in the order of checks.
    refused(&world, &mut world.caller(), &call(1), &NO_CREDITS, RATE);
    world.run(&format!("SELECT leadlex.grant_credits('{}', 1)", world.workspace));
    let mut caller = world.caller();
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 0);
    refused(&world, &mut caller, &call(2), &NO_CREDITS, RATE);
}

#[test]
fn lx403_names_the_permission() {
    let world = starter();
    let key: String = world
        .owner()
        .query_one("SELECT leadlex.create_api_key($1, '{}')", &[&world.workspace])
        .unwrap()
        .get(0);
    let mut caller = world.caller();
    caller.execute("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    let failure = refused(&world, &mut caller, &call(1), &NO_PERMISSION, NOTHING);
    assert!(failure.message.contains("write:enrich"), "{failure:?}");
    assert!(!failure.everything().contains(&key), "{failure:?}");
}

#[test]
fn lx404_tells_no_difference_between_absent_foreign_and_hidden() {
    let world = starter();
    let mut caller = world.caller();
    let absent = refused(&world, &mut caller, &call(999), &NOT_FOUND, NOTHING);
    assert!(absent.message.contains(&contact(999).to_string()), "{absent:?}");

    world.run(
        "ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
         CREATE POLICY most ON crm TO caller USING (full_name <> 'Person 2');",
    );
    let hidden = refused(&world, &mut caller, &call(2), &NOT_FOUND, NOTHING);
    assert_eq!(
        hidden.message.replace(&contact(2).to_string(), ""),
        absent.message.replace(&contact(999).to_string(), ""),
    );
    enrich(&mut caller, 1).unwrap();

    // Rows of another workspace in the same table.
    let other: Uuid =
        world.owner().query_one("SELECT leadlex.create_workspace('other', 5)", &[]).unwrap().get(0);
    world.run(&format!(
        "CREATE TABLE shared (LIKE crm INCLUDING ALL, workspace_id uuid);
         INSERT INTO shared (id, email, workspace_id) VALUES
             ('{}', 'a@acme.example', '{}'), ('{}', 'b@acme.example', '{other}'), ('{}', 'c@acme.example', NULL);
         GRANT SELECT, UPDATE ON shared TO caller;
         SELECT leadlex.bind_contacts('shared');",
        contact(21),
        world.workspace,
        contact(22),
        contact(23),
    ));
    for n in [22, 23] {
        let call = format!("enrich_row('shared', '{}')", contact(n));
        refused(&world, &mut caller, &call, &NOT_FOUND, NOTHING);
    }
    caller.query_one("SELECT enrich_row('shared', $1)", &[&contact(21).to_string()]).unwrap();
}

#[test]
fn lx409_says_whether_nobody_knew_or_nobody_could_be_asked() {
    let world = starter();
    let mut caller = world.caller();
    world.provider.on(PATH, |_| Behaviour::json(404, json!({"error": "none"})));
    let no_data = refused(&world, &mut caller, &call(1), &NO_MATCH, RATE_AND_REQUEST);
    assert_eq!(no_data.json()["reason"], "no_data");
    // Withheld values are no data.
    world.provider.on(PATH, |_| Behaviour::json(200, json!({"data": {"phone": true, "job_title": ""}})));
    let withheld = refused(&world, &mut caller, &call(2), &NO_MATCH, RATE_AND_REQUEST);
    assert_eq!(withheld.json()["reason"], "no_data");

    world.run(&format!("UPDATE crm SET email = ' ', full_name = NULL WHERE id = '{}'", contact(3)));
    let unknown = refused(&world, &mut caller, &call(3), &NO_MATCH, RATE);
    assert_eq!(unknown.json()["reason"], "not_identifiable");
}

#[test]
fn lx422_a_key_stands_for_one_request() {
    let world = starter();
    let mut caller = world.caller();
    let key = Uuid::new_v4();
    enrich_with_key(&mut caller, 1, key).unwrap();
    for arguments in [
        format!("'{}', NULL, false, '{key}'", contact(2)),
        format!("'{}', ARRAY['phone'], false, '{key}'", contact(1)),
        format!("'{}', NULL, true, '{key}'", contact(1)),
    ] {
        refused(&world, &mut caller, &format!("enrich_contact({arguments})"), &MISMATCH, NOTHING);
    }
}

#[test]
fn lx429_tells_when_to_come_back() {
    let world = starter();
    world.run(&format!("SELECT leadlex.set_rate_limit('{}', 2, 100)", world.workspace));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    let now = || world.number("SELECT extract(epoch FROM clock_timestamp())::int8");
    let before = now();
    let failure = refused(&world, &mut caller, &call(3), &RATE_LIMITED, NOTHING);
    let after = now();
    let detail = failure.json();
    assert_eq!((&detail["limit"], &detail["remaining"]), (&json!(2), &json!(0)), "{detail}");
    let retry_after = detail["retry_after"].as_i64().expect("whole seconds");
    assert!((1..=61).contains(&retry_after), "{detail}");
    let told = detail["reset"].as_i64().expect("epoch seconds") - retry_after;
    assert!((before - 2..=after + 2).contains(&told), "told at {before} to {after}: {detail}");
}

#[test]
fn lx503_lists_each_provider_and_why() {
    let world = starter();
    let mut caller = world.caller();
    world.add_provider("second", &world.provider.config("/second"));
    world.add_provider("third", &world.provider.config("/third"));
    world.provider.on(PATH, |_| Behaviour::json(500, json!({"error": "database on fire"})));
    world.provider.on("/second", |_| Behaviour::json(404, json!({})));
    world.provider.on("/third", |_| Behaviour::json(403, json!({"error": "bad key"})));
    let uses = Uses { rate: 1, requests: 3 };
    let failure = refused(&world, &mut caller, &call(1), &UNAVAILABLE, uses);
    let providers = failure.json()["providers"].clone();
    let listed: Vec<(&str, &str)> = providers
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| (p["provider"].as_str().unwrap(), p["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(listed, [("main", "server_error"), ("second", "no_match"), ("third", "bad_credentials")]);
    // What the vendor said could hold anything.
    assert!(!failure.everything().contains("on fire"), "{failure:?}");
}

#[test]
fn without_a_limit_the_detail_of_an_error_still_has_a_rate_limit() {
    let world = World::new();
    let failure = fails(enrich(&mut world.caller(), 999));
    let detail = failure.json();
    assert!(detail.as_object().unwrap().contains_key("rate_limit"), "{detail}");
    assert!(detail["rate_limit"].is_null(), "{detail}");
}

// --- the order of checks -----------------------------------------------------------------------------------------

#[test]
fn checks_come_in_the_order_of_the_contract() {
    let world = World::with(&Beginning { plan: "starter", credits: Some(1), ..Beginning::default() });
    world.run("CREATE ROLE stranger LOGIN; GRANT SELECT, UPDATE ON crm TO stranger;");
    let key_without: String = world
        .owner()
        .query_one("SELECT leadlex.create_api_key($1, '{}')", &[&world.workspace])
        .unwrap()
        .get(0);
    let mut caller = world.caller();
    let state = |client: &mut Client, setup: &str, call: &str| -> String {
        let _ = client.simple_query("ROLLBACK");
        client.batch_execute(setup).unwrap();
        let found = crate::world::sqlstate(&client.query_one(&format!("SELECT {call}"), &[]));
        client.batch_execute("ROLLBACK").unwrap();
        found
    };
    let mut stranger = world.cluster.connect_as("app", "stranger");
    let with_key = format!("BEGIN; SELECT set_config('leadlex.api_key', '{key_without}', true)");
    let used = Uuid::new_v4();
    let full = call(1);
    let replayed = format!("enrich_contact('{}', idempotency_key => '{used}')", contact(1));
    let missing_with_key = format!("enrich_contact('{}', idempotency_key => '{used}')", contact(999));

    // 1 before 2 before 3
    assert_eq!(state(&mut stranger, "BEGIN READ ONLY", "enrich_contact(NULL)"), "LX400");
    assert_eq!(state(&mut stranger, "BEGIN READ ONLY", &full), "25006");
    // 3 before 4 before 5
    assert_eq!(state(&mut stranger, "BEGIN", &call(999)), "LX401");
    assert_eq!(state(&mut caller, &with_key, &call(999)), "LX403");
    // 5 before 6
    caller.query_one(&format!("SELECT {replayed}"), &[]).unwrap();
    assert_eq!(state(&mut caller, "BEGIN", &missing_with_key), "LX404");
    // The credit is gone now, and soon the rate: 6 and 7 come before both.
    world.run(&format!("SELECT leadlex.set_rate_limit('{}', 1, NULL)", world.workspace));
    assert_eq!(state(&mut caller, "BEGIN", &replayed), "00000");
    assert_eq!(state(&mut caller, "BEGIN", &full), "00000");
    // 8 before 9
    assert_eq!(state(&mut caller, "BEGIN", &call(2)), "LX429");
    // 9 before 10: nobody could be asked about this one, but the credit comes first
    world.run(&format!(
        "SELECT leadlex.set_rate_limit('{}', NULL, NULL); UPDATE crm SET email = NULL, full_name = NULL WHERE id = '{}'",
        world.workspace,
        contact(3)
    ));
    assert_eq!(state(&mut caller, "BEGIN", &call(3)), "LX402");
    assert_eq!(world.provider.count(), 1, "only the one call that succeeded asked the provider");
}

/// The statement that a hint tells to run, up to the end of its call.
fn statement(hint: &str) -> String {
    let begins = &hint[hint.find("SELECT ").unwrap_or_else(|| panic!("no statement: {hint}"))..];
    let mut depth = 0;
    for (at, c) in begins.char_indices() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if c == ')' && depth == 0 {
            return begins[..=at].to_owned();
        }
    }
    panic!("no whole statement: {hint}")
}

#[test]
fn hints_are_statements_to_type_with_one_workspace_and_with_several() {
    let world = World::with(&Beginning {
        credits: Some(0),
        conf: &["leadlex.credit_wait = 0"],
        ..Beginning::default()
    });
    world.run(
        "CREATE ROLE first LOGIN; GRANT SELECT, UPDATE ON crm TO first;
         CREATE ROLE second LOGIN; GRANT SELECT, UPDATE ON crm TO second",
    );
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    for (role, several) in [("first", false), ("second", true)] {
        if several {
            world.run(
                "SELECT leadlex.grant_credits(id, -1000) FROM leadlex.workspace; SELECT leadlex.create_workspace('other')",
            );
        }
        let mut client = world.cluster.connect_as("app", role);
        let mut hint =
            |n: i32| fails(client.query_one("SELECT enrich_contact($1)", &[&contact(n)])).hint.unwrap();
        let denied = statement(&hint(1));
        assert_eq!(denied.contains("WORKSPACE"), several, "{denied}");
        world.run(&denied.replace("WORKSPACE", "acme"));
        let poor = statement(&hint(1));
        assert_eq!(poor == "SELECT leadlex.grant_credits(1000)", !several, "{poor}");
        world.run(&poor);
        assert!(hint(4_711).contains("leadlex.binding"));
        let nothing = hint(if several { 2 } else { 1 });
        assert!(
            nothing.contains("leadlex.recheck_after") && nothing.contains("overwrite => true"),
            "{nothing}"
        );
    }
}

#[test]
fn a_table_that_is_gone_is_named_by_its_oid() {
    let world = World::new();
    world.run("CREATE TABLE gone (id uuid PRIMARY KEY)");
    let oid = world.number("SELECT 'gone'::regclass::oid::int8");
    world.run("DROP TABLE gone");
    for call in [
        "enrich_row({oid}::regclass, '1')",
        "leadlex.enqueue_rows({oid}::regclass, '{1}')",
        "leadlex.estimate({oid}::regclass, '{1}')",
    ] {
        let call = format!("SELECT {}", call.replace("{oid}", &format!("{oid}::oid")));
        let refused = fails(world.caller().query(&call, &[]));
        assert_eq!(refused.sqlstate, "42P01", "{call}: {}", refused.message);
    }
}

//! Every row of the contract's error table, and the errors that are Postgres's own: what the client sees, and that
//! nothing has changed that must not.

use postgres::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, Failure, Stop, fails};
use crate::world::{Beginning, PATH, SECRET, World, contact, enrich, enrich_with_key, pid, try_enrich};

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
    let mut expected = world.books();
    let requests = world.provider.count();

    let failure = fails(client.query_one(&format!("SELECT {call}"), &[]));
    check_failure(&failure, row);
    expected.rate_used.iter_mut().for_each(|used| *used += uses.rate);
    assert_eq!(world.books(), expected, "{call} changed something");
    assert_eq!(world.provider.count(), requests + uses.requests, "{call} asked the provider");

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
    assert_eq!(world.books(), expected, "try_{call} changed something");
    assert_eq!(world.provider.count(), requests + 2 * uses.requests, "try_{call} asked the provider");
    failure
}

/// With rate limits, so that DETAIL has something to say about them.
fn starter() -> World {
    World::with(&Beginning { plan: "starter", credits: Some(5), ..Beginning::default() })
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
fn a_malformed_uuid_is_postgres_own_error() {
    let world = starter();
    let failure = fails(world.caller().simple_query("SELECT enrich_contact('not-a-uuid')"));
    assert_eq!(failure.sqlstate, "22P02", "{failure:?}");
    assert_eq!(world.provider.count(), 0);
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
    let several = refused_without_books(&world, &call(1), &INVALID_KEY);
    assert!(several.everything().contains("leadlex.workspace"), "{several:?}");
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.workspace = 'acme'").unwrap();
    enrich(&mut caller, 1).unwrap();
}

/// Where the caller itself cannot ask for its books.
fn refused_without_books(world: &World, call: &str, row: &Row) -> Failure {
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
    let failure = refused(&world, &mut caller, &call(3), &RATE_LIMITED, NOTHING);
    let detail = failure.json();
    assert_eq!((&detail["limit"], &detail["remaining"]), (&json!(2), &json!(0)), "{detail}");
    let retry_after = detail["retry_after"].as_i64().expect("whole seconds");
    assert!((1..=61).contains(&retry_after), "{detail}");
    let now = world.number("SELECT extract(epoch FROM clock_timestamp())::int8");
    let reset = detail["reset"].as_i64().expect("epoch seconds");
    assert!((reset - now - retry_after).abs() <= 2, "now {now}, {detail}");
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

// --- Postgres's own ----------------------------------------------------------------------------------------------

#[test]
fn without_provider_or_binding_the_hint_is_the_statement_to_run() {
    let world = starter();
    world.run("SELECT leadlex.drop_provider('main')");
    let before = world.books();
    let none = fails(enrich(&mut world.caller(), 1));
    assert_eq!(none.sqlstate, "55000");
    assert!(none.hint.as_ref().unwrap().contains("SELECT leadlex.add_provider("), "{none:?}");
    assert_eq!(world.books(), before, "nothing is used where nothing is set up");

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
fn a_read_only_transaction_or_server_asks_nobody() {
    let world = starter();
    let before = world.books();
    for call in [call(1), format!("try_{}", call(1))] {
        let mut caller = world.caller();
        let mut read_only = caller.build_transaction().read_only(true).start().unwrap();
        let failure = fails(read_only.query_one(&format!("SELECT {call}"), &[]));
        assert_eq!(failure.sqlstate, "25006", "{failure:?}");
    }
    assert_eq!(world.books(), before);
    let standby = world.cluster.standby(&[]);
    crate::support::eventually("the standby catches up", std::time::Duration::from_secs(20), || {
        standby
            .config("app")
            .connect(postgres::NoTls)
            .is_ok_and(|mut c| c.query("SELECT FROM crm", &[]).is_ok())
    });
    let failure = fails(enrich(&mut standby.connect_as("app", "caller"), 1));
    assert_eq!(failure.sqlstate, "25006", "{failure:?}");
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn prepare_transaction_is_refused_and_the_session_goes_on() {
    let world = World::with(&Beginning { conf: &["max_prepared_transactions = 5"], ..Beginning::default() });
    let mut caller = world.caller();
    let before = world.books();
    caller.batch_execute("BEGIN").unwrap();
    enrich(&mut caller, 1).unwrap();
    let failure = fails(caller.batch_execute("PREPARE TRANSACTION 'mine'"));
    assert_eq!(failure.sqlstate, "0A000", "{failure:?}");
    assert_eq!(world.books(), before, "it was rolled back");
    assert_eq!(world.number("SELECT count(*) FROM pg_prepared_xacts"), 0);
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 9);
    // Without a call it is nobody's business.
    for plain in ["BEGIN", "UPDATE crm SET note = 'x'", "PREPARE TRANSACTION 'p'", "ROLLBACK PREPARED 'p'"] {
        caller.batch_execute(plain).unwrap();
    }
    enrich(&mut caller, 2).unwrap();
    world.check_credits_add_up();
}

#[test]
fn errors_of_the_users_own_table_arrive_unchanged() {
    let world = starter();
    world.run(&format!(
        "ALTER TABLE crm ADD CONSTRAINT no_such_phone CHECK (phone IS NULL OR id <> '{}');
         CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.id = '{}' THEN
                 RAISE EXCEPTION 'not this one' USING ERRCODE = 'ZZ123', DETAIL = 'my detail', HINT = 'my hint',
                     CONSTRAINT = 'my_rule', TABLE = 'my_table', SCHEMA = 'my_schema', COLUMN = 'my_column';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER guard BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION guard();
         CREATE TABLE phone_book (phone text PRIMARY KEY);
         ALTER TABLE crm ADD FOREIGN KEY (phone) REFERENCES phone_book DEFERRABLE INITIALLY DEFERRED;",
        contact(1),
        contact(2)
    ));
    let mut before = world.books();
    for enrich in ["enrich_contact", "try_enrich_contact"] {
        let mut caller = world.caller();
        let mut fail = |n| fails(caller.query_one(&format!("SELECT {enrich}($1)"), &[&contact(n)]));
        let check = fail(1);
        assert_eq!(check.sqlstate, "23514", "{check:?}");
        assert_eq!(check.constraint.as_deref(), Some("no_such_phone"));
        assert_eq!(check.table.as_deref(), Some("crm"));
        assert!(check.detail.as_ref().unwrap().starts_with("Failing row contains ("), "{check:?}");

        let own = fail(2);
        assert_eq!(own.sqlstate, "ZZ123", "{own:?}");
        assert_eq!(own.message, "not this one");
        assert_eq!(own.detail.as_deref(), Some("my detail"));
        assert_eq!(own.hint.as_deref(), Some("my hint"));
        assert_eq!((own.constraint.as_deref(), own.table.as_deref()), (Some("my_rule"), Some("my_table")));

        // Deferred: only the commit fails, and the credit comes back with it.
        let deferred = fail(3);
        assert_eq!(deferred.sqlstate, "23503", "{deferred:?}");
        assert_eq!(deferred.table.as_deref(), Some("crm"));
        before.rate_used.iter_mut().for_each(|used| *used += 3);
        assert_eq!(world.books(), before, "nothing but the rate was used");
    }
    world.run("INSERT INTO phone_book VALUES ('+15550100100')");
    assert_eq!(enrich(&mut world.caller(), 3).unwrap()["credits_remaining"], 4);
    world.check_credits_add_up();
}

#[test]
fn missing_privileges_on_the_contact_table_are_noticed_before_the_provider_is_asked() {
    let world = starter();
    world.run("REVOKE UPDATE ON crm FROM caller; GRANT UPDATE (phone) ON crm TO caller");
    let before = world.books();
    let failure = fails(enrich(&mut world.caller(), 1));
    assert_eq!(failure.sqlstate, "42501", "{failure:?}");
    assert_eq!((world.books(), world.provider.count()), (before, 0));
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
    assert_eq!(world.books().credits, Some(9));
}

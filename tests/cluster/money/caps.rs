//! leadlex.max_contacts_per_statement and leadlex.max_cost_per_statement: what one statement may ask and cost.

use std::time::Duration;

use postgres::Client;
use serde_json::json;

use super::{a_match, configure, text, world};
use crate::support::{Failure, eventually, fails};
use crate::world::{World, enrich, number};

const ALL: &str = "(SELECT array_agg(id ORDER BY id) FROM crm)";
const KEYS: &str = "(SELECT array_agg(id::text ORDER BY id) FROM crm)";

fn refused(client: &mut Client, sql: &str) -> Failure {
    let failure = fails(client.batch_execute(sql));
    assert_eq!(failure.sqlstate, "53400", "{sql}: {failure:?}");
    failure
}

fn set(client: &mut Client, sql: &str) -> Option<String> {
    client.batch_execute(sql).err().map(|error| Failure::of(&error).sqlstate)
}

fn requests(world: &World) -> usize {
    world.provider.count()
}

#[test]
fn a_set_a_call_and_a_job_that_could_ask_too_many_are_refused_before_a_request() {
    let world = world(20, a_match(0.28));
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.max_contacts_per_statement = 15").unwrap();
    let keys = text(&mut caller, "SELECT string_agg(id::text, ',') FROM crm");
    for sql in [
        format!("SELECT FROM enrich_contacts({ALL}, '{{phone}}')"),
        format!("SELECT FROM enrich_rows('crm', {KEYS}, '{{phone}}')"),
        format!("CALL leadlex.enrich_batch('crm', '{{{keys}}}', '{{phone}}', 5)"),
        format!("SELECT leadlex.enqueue({ALL}, '{{phone}}')"),
        format!("SELECT leadlex.enqueue_rows('crm', {KEYS}, '{{phone}}')"),
        // The sets of one statement are one.
        "SELECT (SELECT count(*) FROM enrich_contacts(ARRAY[id], '{phone}')) FROM crm".to_owned(),
    ] {
        let sent = requests(&world);
        let failure = refused(&mut caller, &sql);
        assert!(failure.message.contains("leadlex.max_contacts_per_statement allows 15"), "{failure:?}");
        let last = sql.starts_with("SELECT (SELECT");
        let contacts = if last {
            "16 contacts, which can cost up to 4.48 USD"
        } else {
            "20 contacts, which can cost up to 5.6 USD"
        };
        assert!(failure.message.contains(contacts), "{failure:?}");
        assert_eq!(requests(&world), sent + if last { 15 } else { 0 });
    }
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 0);
    // What receipts answer is not asked: 15 of 20 are.
    caller.batch_execute("SET leadlex.max_contacts_per_statement = 5").unwrap();
    caller.batch_execute(&format!("SELECT FROM enrich_contacts({ALL}, '{{phone}}')")).unwrap();
    assert_eq!(requests(&world), 20);
    // Nothing is left to fill, however many there are.
    caller.batch_execute("SET leadlex.max_contacts_per_statement = 0").unwrap();
    caller.batch_execute(&format!("SELECT FROM enrich_contacts({ALL}, '{{phone}}')")).unwrap();
    caller.batch_execute(&format!("SELECT leadlex.enqueue({ALL}, '{{phone}}')")).unwrap();
    // A call about one contact is no set.
    world.run("UPDATE crm SET phone = NULL, email = 'other@acme.example' WHERE id::text LIKE '%1'");
    enrich(&mut caller, 1).unwrap();
}

#[test]
fn what_could_cost_too_much_is_refused() {
    let world = world(10, a_match(0.28));
    world.add_provider("second", &world.provider.config("/second"));
    configure(&world, "second", json!({"price": {"currency": "EUR", "per_request": 0.5}}));
    let mut caller = world.caller();
    let set_of = |count: i32| format!("SELECT FROM enrich_contacts({ALL}[1:{count}], '{{phone}}')");
    // 5 × 0.28 USD, and 5 × 0.50 EUR if the first knows nothing.
    caller.batch_execute("SET leadlex.max_cost_per_statement = 2.49").unwrap();
    let failure = refused(&mut caller, &set_of(5));
    assert!(failure.message.contains("5 contacts, which can cost up to 2.5 EUR and 1.4 USD"), "{failure:?}");
    assert!(failure.message.ends_with("leadlex.max_cost_per_statement allows 2.49"), "{failure:?}");
    assert!(failure.detail.unwrap().contains("No request was sent"));
    assert_eq!(requests(&world), 0);
    caller.batch_execute(&set_of(4)).unwrap();
    assert_eq!(requests(&world), 4);
    // A provider that is paused may be asked before the set is over.
    configure(&world, "main", json!({"max_requests_per_day": 4}));
    refused(&mut caller, &format!("SELECT FROM enrich_contacts({ALL}[5:10], '{{phone}}')"));
}

#[test]
fn a_role_lowers_them_for_itself_and_only_a_superuser_raises_them() {
    let world = world(1, a_match(0.28));
    let mut caller = world.caller();
    for (name, low, lower) in
        [("leadlex.max_contacts_per_statement", "50", "20"), ("leadlex.max_cost_per_statement", "5", "2.5")]
    {
        let mut caller_is = |sql: &str, expected: Option<&str>| {
            assert_eq!(set(&mut caller, sql).as_deref(), expected, "{sql}");
        };
        caller_is(&format!("SET {name} = {low}"), None);
        caller_is(&format!("SET {name} = {lower}"), None);
        caller_is(&format!("SET {name} = {low}"), Some("42501"));
        caller_is(&format!("SET {name} = -1"), Some("42501"));
        caller_is(&format!("SET {name} TO DEFAULT"), None);
        caller_is(&format!("SELECT set_config('{name}', '{lower}', false)"), None);
        caller_is(&format!("SELECT set_config('{name}', '-1', true)"), Some("42501"));
        // A function of an ordinary role cannot either; one of a superuser can.
        caller_is(
            &format!(
                "CREATE FUNCTION pg_temp.raise() RETURNS int LANGUAGE sql SECURITY DEFINER SET {name} = -1 AS 'SELECT 1'"
            ),
            Some("42501"),
        );
        caller_is(
            &format!(
                "CREATE FUNCTION pg_temp.lower() RETURNS int LANGUAGE sql SET {name} = {lower} AS 'SELECT 1'"
            ),
            None,
        );
        world.run(&format!("CREATE OR REPLACE FUNCTION raise() RETURNS text LANGUAGE sql SECURITY DEFINER SET {name} = -1 AS $$SELECT current_setting('{name}')$$"));
        caller_is("SELECT public.raise()", None);
        caller_is("DROP FUNCTION pg_temp.lower(); RESET ALL", None);
        // What is stored is a superuser's, for whichever role or database.
        world.run(&format!("ALTER ROLE caller SET {name} = {low}; ALTER DATABASE app SET {name} = {low}"));
        for sql in [
            format!("ALTER ROLE caller SET {name} = {lower}"),
            format!("ALTER ROLE caller RESET {name}"),
            format!("ALTER ROLE caller IN DATABASE app SET {name} = -1"),
            "ALTER ROLE caller RESET ALL".to_owned(),
        ] {
            caller_is(&sql, Some("42501"));
        }
        world.run("ALTER DATABASE app OWNER TO caller");
        caller_is("ALTER DATABASE app RESET ALL", Some("42501"));
        caller_is(&format!("ALTER DATABASE app SET {name} = -1"), Some("42501"));
        world.run("ALTER DATABASE app OWNER TO CURRENT_USER");
        caller_is("ALTER ROLE caller SET work_mem = '5MB'; ALTER ROLE caller RESET work_mem", None);
        let mut next = world.caller();
        assert_eq!(text(&mut next, &format!("SELECT current_setting('{name}')")), low);
        assert_eq!(set(&mut next, &format!("SET {name} = -1")).as_deref(), Some("42501"));
        let connects = |value: &str| {
            let mut config = world.cluster.config("app");
            config.user("caller").options(&format!("-c {name}={value}"));
            config.connect(postgres::NoTls).map(drop).is_ok()
        };
        assert!(!connects("-1") && !connects(lower), "who connects does not say what is allowed");
        world.run(&format!("ALTER ROLE caller RESET {name}; ALTER DATABASE app RESET {name}"));
        let mut superuser = world.owner();
        assert_eq!(set(&mut superuser, &format!("SET {name} = {low}; SET {name} = -1")), None);
    }
}

#[test]
fn a_parallel_worker_takes_over_what_its_leader_has() {
    let world = world(1, a_match(0.28));
    let mut caller = world.caller();
    let parallel = crate::world::FORCE_PARALLEL;
    caller
        .batch_execute(&format!(
            "SET leadlex.max_contacts_per_statement = 7; SET {parallel} = on; SELECT count(*) FROM crm"
        ))
        .unwrap();
    let seen = "SELECT current_setting('leadlex.max_contacts_per_statement') FROM crm";
    assert_eq!(text(&mut caller, seen), "7");
}

#[test]
fn triggers_warn_and_jobs_are_given_up() {
    let world = world(0, a_match(0.28));
    world.run(
        "ALTER TABLE crm OWNER TO caller; SET ROLE caller;
         CREATE TRIGGER now AFTER INSERT ON crm FOR EACH ROW WHEN (NEW.note = 'now') EXECUTE FUNCTION leadlex.enrich_on_insert('phone');
         CREATE TRIGGER later AFTER INSERT ON crm REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enqueue_on_insert('phone');
         ALTER TABLE crm DISABLE TRIGGER later",
    );
    let insert = |note: &str, from: i32, to: i32| {
        format!(
            "INSERT INTO crm (id, full_name, email, note)
             SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Person ' || n, 'person' || n || '@acme.example', '{note}'
             FROM generate_series({from}, {to}) AS n"
        )
    };
    let (mut caller, notices) = world.listening("caller");
    caller.batch_execute("SET leadlex.max_contacts_per_statement = 3").unwrap();
    // Each row by itself, but they are one statement's: three are enriched, and the others are nowhere.
    caller.batch_execute(&insert("now", 1, 5)).unwrap();
    assert_eq!(requests(&world), 3);
    assert_eq!(number(&mut caller, "SELECT count(*) FROM leadlex.job"), 0);
    let told = notices.take();
    assert!(
        told.iter()
            .any(|notice| format!("{notice:?}").contains("leadlex.max_contacts_per_statement allows 3")),
        "{told:?}"
    );
    world.run("ALTER TABLE crm ENABLE TRIGGER later");
    caller.batch_execute(&insert("later", 11, 14)).unwrap();
    assert_eq!(number(&mut caller, "SELECT count(*) FROM leadlex.job"), 0);
    caller.batch_execute(&insert("later", 21, 23)).unwrap();
    let mut owner = world.owner();
    eventually("three are enriched by the queue", Duration::from_secs(20), || {
        number(&mut owner, "SELECT count(*) FROM leadlex.job WHERE outcome = 'enriched'") == 3
    });
    assert_eq!(requests(&world), 6);
    // Jobs are run with what their role may.
    world.run("ALTER ROLE caller SET leadlex.max_contacts_per_statement = 2; SELECT leadlex.pause_queue()");
    let mut first = world.caller();
    first.batch_execute("SELECT leadlex.enqueue(ARRAY['00000000-0000-4000-8000-000000000011'::uuid, '00000000-0000-4000-8000-000000000012'], '{phone}')").unwrap();
    world.run("ALTER ROLE caller SET leadlex.max_contacts_per_statement = 1");
    first = world.caller();
    first
        .batch_execute(
            "SELECT leadlex.enqueue(ARRAY['00000000-0000-4000-8000-000000000013'::uuid], '{phone}')",
        )
        .unwrap();
    first
        .batch_execute(
            "SELECT leadlex.enqueue(ARRAY['00000000-0000-4000-8000-000000000014'::uuid], '{phone}')",
        )
        .unwrap();
    drop((first, caller));
    world.run("SELECT leadlex.resume_queue()");
    eventually("two are given up, and two alone are not", Duration::from_secs(20), || {
        let dead =
            "SELECT count(*) FROM leadlex.job WHERE state = 'dead' AND last_error LIKE '53400: %2 contacts%'";
        number(&mut owner, dead) == 2
            && number(&mut owner, "SELECT count(*) FROM leadlex.job WHERE outcome = 'enriched'") == 5
    });
    assert_eq!(requests(&world), 8);
}

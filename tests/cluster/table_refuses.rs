//! What the contact's table refuses costs that field: the others are written, a WARNING names the constraint, and it is not
//! bought again.

mod deferred;
mod kinds;
mod meets;
mod taken_back;

use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};

use crate::support::{Behaviour, Failure, Notice, Notices, Stop, eventually, fails, person};
use crate::world::{Beginning, PATH, World, contact, credits, number, sqlstate};

const SOON: Duration = Duration::from_secs(20);
/// What [`person`] has.
const PROFILE: &str = "https://www.linkedin.com/in/jane-example";
/// What [`Session::check`] looks at.
const STATE: &str = "CREATE FUNCTION public.session_state() RETURNS jsonb LANGUAGE c AS 'leadlex_enrich', 'session_state_wrapper'";
const SIX: [&str; 6] = ["job_title", "company_name", "linkedin_url", "phone", "location", "seniority"];

/// A session of a role that keeps what it is warned of.
struct Session {
    client: Client,
    told: Notices,
}

impl Session {
    fn new(world: &World, role: &str) -> Session {
        let (client, told) = world.listening(role);
        Session { client, told }
    }

    /// Those since the last time.
    fn warnings(&self) -> Vec<Notice> {
        self.told.take().into_iter().filter(|notice| notice.severity == "WARNING").collect()
    }

    /// Of the first contact; `fields` empty: all.
    fn call(&mut self, n: i32, fields: &[&str]) -> Result<Value, postgres::Error> {
        let fields = (!fields.is_empty()).then_some(fields);
        self.client.query_one("SELECT enrich_contact($1, $2)", &[&contact(n), &fields]).map(|row| row.get(0))
    }

    /// Obeys, and holds nothing.
    fn check(&mut self, what: &str) {
        let state = "SELECT public.session_state() || jsonb_build_object('locks',
            (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'))";
        let now: Value = self.client.query_one(state, &[]).unwrap().get(0);
        for held in
            ["interrupts_held_off", "cancels_held_off", "critical_sections", "lightweight_locks", "locks"]
        {
            assert_eq!(now[held], 0, "{held} after {what}: {now}");
        }
        assert_eq!(now["transaction_nesting"], 1, "after {what}: {now}");
        let late = fails(self.client.batch_execute("SET statement_timeout = '20ms'; SELECT pg_sleep(5)"));
        assert_eq!(late.sqlstate, "57014", "after {what}: {late:?}");
        self.client.batch_execute("RESET statement_timeout").unwrap();
    }
}

/// `conf`: beyond what every world has. Nothing is answered from receipts, so that whoever has to ask does.
fn world(contacts: i32, conf: &[&str]) -> World {
    let mut all = vec!["leadlex.receipt_ttl = 0", "leadlex.job_retry_base = '200ms'"];
    all.extend(conf);
    let world =
        World::with(&Beginning { credits: Some(10_000), contacts, conf: &all, ..Beginning::default() });
    world.run(STATE);
    world
}

/// Everybody has the same profile, and a telephone number of their own.
fn own_phones(world: &World) {
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or_default();
        let digits: String = email.chars().filter(char::is_ascii_digit).collect();
        let mut person = person();
        person["data"]["phone"] = json!(format!("+1555{digits:0>7}"));
        Behaviour::json(200, person)
    });
}

fn ids(numbers: impl Iterator<Item = i32>) -> Vec<uuid::Uuid> {
    numbers.map(contact).collect()
}

fn outcomes(world: &World) -> String {
    let sql = "SELECT string_agg(DISTINCT state || ' ' || coalesce(outcome, 'none'), ', ') FROM leadlex.job";
    world.owner().query_one(sql, &[]).unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

fn wait_for_queue(world: &World) {
    let mut owner = world.owner();
    eventually("the queue is empty", SOON, || {
        number(&mut owner, "SELECT count(*) FROM leadlex.job WHERE state NOT IN ('done', 'dead')") == 0
    });
}

/// Of the issue: 4 nights, and in each way 2 rows that want a profile which a third row has.
#[test]
fn four_nights_buy_what_the_table_refuses_once() {
    let world = world(9, &[]);
    world.run(&format!(
        "CREATE UNIQUE INDEX one_profile ON crm (linkedin_url); UPDATE crm SET linkedin_url = '{PROFILE}' WHERE id = '{}';
         UPDATE crm SET job_title = 'a', company_name = 'b', phone = '+12025550100', location = 'c', seniority = 'd' WHERE id <> '{0}';
         INSERT INTO crm SELECT '00000000-0000-4000-8000-000000000099', full_name, email FROM crm WHERE id = '{}'",
        contact(9),
        contact(1)
    ));
    let mut caller = Session::new(&world, "caller");
    let nights = |caller: &mut Session, world: &World| {
        for _ in 0..4 {
            for n in [1, 2] {
                let failure = fails(caller.call(n, &[]));
                assert_eq!(failure.sqlstate, "LX409", "{failure:?}");
                assert_eq!(failure.json()["reason"], "table_refuses", "{failure:?}");
                assert_eq!(failure.json()["refused"], json!(["linkedin_url"]), "{failure:?}");
            }
            let sql = "SELECT status, error_message FROM enrich_contacts($1)";
            for row in caller.client.query(sql, &[&ids(3..=4)]).unwrap() {
                assert_eq!(row.get::<_, &str>(0), "no_match", "{row:?}");
                assert!(row.get::<_, &str>(1).contains("the table refuses"), "{row:?}");
            }
            let batch = ids(5..=6).iter().map(ToString::to_string).collect::<Vec<_>>();
            caller.client.execute("CALL leadlex.enrich_batch('crm', $1)", &[&batch]).unwrap();
            caller.client.query("SELECT leadlex.enqueue($1)", &[&ids(7..=8)]).unwrap();
            wait_for_queue(world);
        }
        assert_eq!(outcomes(world), "done no_match");
    };
    nights(&mut caller, &world);
    assert_eq!(world.provider.count(), 8, "one request a row");
    assert_eq!(credits(&mut caller.client), Some(10_000));
    // What is remembered is in the tables, and says of nobody who that is.
    eventually("the worker has written it down", SOON, || {
        world.number("SELECT count(*) FROM leadlex.receipt WHERE contact IS NOT NULL") == 8
    });
    let rows: Value =
        world.owner().query_one("SELECT jsonb_agg(r) FROM leadlex.receipt AS r", &[]).unwrap().get(0);
    for personal in ["jane", "acme.example", "Person", &contact(1).to_string()] {
        assert!(!rows.to_string().contains(personal), "{rows}");
    }
    for how in [Stop::Fast, Stop::Immediate] {
        world.cluster.restart(how);
        caller = Session::new(&world, "caller");
        nights(&mut caller, &world);
        assert_eq!(world.provider.count(), 8, "after a restart");
    }
    let sql = "SELECT outcome, reason, contacts FROM leadlex.estimate('crm', $1)";
    let estimate = caller.client.query_one(sql, &[&vec![contact(1).to_string()]]).unwrap();
    assert_eq!((estimate.get::<_, &str>(0), estimate.get::<_, &str>(1)), ("skipped", "refused by the table"));
    // The same question, asked about another row, is another matter.
    caller.warnings();
    assert_eq!(fails(caller.call(99, &["linkedin_url"])).json()["reason"], "table_refuses");
    assert_eq!((world.provider.count(), caller.warnings().len()), (9, 1));
    // To overwrite is to ask anew, and so is it after leadlex.recheck.
    let again = "SELECT try_enrich_contact($1, '{linkedin_url}', overwrite => true)";
    let result: Value = caller.client.query_one(again, &[&contact(1)]).unwrap().get(0);
    assert_eq!((&result["error"]["reason"], world.provider.count()), (&json!("table_refuses"), 10));
    world.run("DROP INDEX one_profile");
    assert!(world.number("SELECT leadlex.recheck('main', now() - interval '1 hour')") >= 9);
    assert_eq!(caller.call(1, &[]).unwrap()["fields_updated"], json!(["linkedin_url"]));
    assert_eq!(world.provider.count(), 11);
    world.check_credits_add_up();
}

#[test]
fn what_a_trigger_mends_is_written() {
    let world = world(2, &[]);
    world.run(
        "ALTER TABLE crm ADD CONSTRAINT digits CHECK (phone ~ '^[0-9]+$');
         CREATE FUNCTION mend() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.phone := substr(NEW.phone, 2); RETURN NEW; END $$;
         CREATE TRIGGER mend BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION mend();",
    );
    let mut caller = Session::new(&world, "caller");
    assert_eq!(caller.call(1, &[]).unwrap()["contact"]["phone"], "15550100100");
    let sql = "SELECT status FROM enrich_contacts(ARRAY[$1]::uuid[])";
    assert_eq!(caller.client.query_one(sql, &[&contact(2)]).unwrap().get::<_, &str>(0), "enriched");
    assert_eq!((world.phone(2).as_deref(), caller.warnings().len()), (Some("15550100100"), 0));
}

/// One row of a hundred, every third, and all of them.
#[test]
fn in_a_set_each_row_loses_only_its_own_and_writes_stay_few() {
    let world = world(100, &["leadlex.recheck_after = 0"]);
    own_phones(&world);
    world.run(
        "CREATE TABLE writes (at timestamptz); GRANT ALL ON writes TO caller;
         CREATE FUNCTION count_writes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO writes VALUES (now()); RETURN NULL; END $$;
         CREATE TRIGGER count AFTER UPDATE ON crm FOR EACH STATEMENT EXECUTE FUNCTION count_writes();",
    );
    let mut caller = Session::new(&world, "caller");
    for (check, refused, most) in [
        ("phone <> '+15550000042'", 1, 10),
        ("right(phone, 1) NOT IN ('1', '4', '8')", 30, 80),
        ("phone IS NULL", 100, 1),
    ] {
        world.run(&format!(
            "UPDATE crm SET job_title = NULL, company_name = NULL, linkedin_url = NULL, phone = NULL, location = NULL, seniority = NULL;
             ALTER TABLE crm ADD CONSTRAINT plain CHECK ({check}); TRUNCATE writes"
        ));
        let sql = "SELECT status, cardinality(fields_updated) FROM enrich_contacts($1)";
        let rows = caller.client.query(sql, &[&ids(1..=100)]).unwrap();
        assert!(rows.iter().all(|row| row.get::<_, &str>(0) == "enriched"), "{check}");
        let without = rows.iter().filter(|row| row.get::<_, i32>(1) == 5).count();
        let with = rows.iter().filter(|row| row.get::<_, i32>(1) == 6).count();
        assert_eq!((without, with), (refused, 100 - refused), "{check}");
        assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NULL"), refused as i64, "{check}");
        assert_eq!(world.number("SELECT count(*) FROM crm WHERE seniority IS NULL"), 0, "{check}");
        let writes = world.number("SELECT count(*) FROM writes");
        assert!(writes <= most, "{check}: {writes} statements that wrote");
        let told = caller.warnings();
        assert_eq!((told.len(), told[0].constraint.as_deref()), (1, Some("plain")), "{told:?}");
        let whose =
            if refused == 1 { format!("contact {}", contact(42)) } else { format!("{refused} contacts (") };
        assert!(told[0].message.contains(&whose), "{told:?}");
        caller.check(check);
        world.run("ALTER TABLE crm DROP CONSTRAINT plain");
    }
    assert_eq!(credits(&mut caller.client), Some(9_700), "a credit for each that was changed");
    world.check_credits_add_up();
}

/// Of rows that are to have the same value one gets it.
#[test]
fn of_a_set_that_shares_a_value_one_row_gets_it() {
    let world = world(20, &[]);
    own_phones(&world);
    world.run("CREATE UNIQUE INDEX one_profile ON crm (linkedin_url)");
    let mut caller = Session::new(&world, "caller");
    let sql = "SELECT count(*) FILTER (WHERE 'linkedin_url' = ANY (fields_updated)), count(*) FROM enrich_contacts($1) WHERE status = 'enriched'";
    let row = caller.client.query_one(sql, &[&ids(1..=20)]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 20));
    // Nothing is left to be asked for.
    assert_eq!(caller.client.query_one(sql, &[&ids(1..=20)]).unwrap().get::<_, i64>(1), 0);
    assert_eq!(world.provider.count(), 20);
    world.check_credits_add_up();
}

#[test]
fn another_value_of_the_same_provider_is_written() {
    let world = world(1, &[]);
    world.run("ALTER TABLE crm ADD CONSTRAINT home CHECK (phone LIKE '+49%')");
    let mut caller = Session::new(&world, "caller");
    assert_eq!(fails(caller.call(1, &["phone"])).json()["reason"], "table_refuses");
    world.provider.on(PATH, |_| {
        Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+4930123456", "location": "Ulm"}}))
    });
    assert_eq!(fails(caller.call(1, &["phone"])).json()["reason"], "table_refuses", "it is not asked for it");
    assert_eq!(world.provider.count(), 1);
    // Asked for something else, it tells all that it has.
    assert_eq!(caller.call(1, &[]).unwrap()["fields_updated"], json!(["phone", "location"]));
    assert_eq!(world.provider.count(), 2);
    // And what was taken then is not refused for ever.
    world.run("UPDATE crm SET phone = NULL");
    assert_eq!(caller.call(1, &["phone"]).unwrap()["fields_updated"], json!(["phone"]));
}

/// The same when something else identifies the contact by now: it is another question.
#[test]
fn it_is_remembered_of_one_question_and_outside_the_transaction() {
    let world = world(2, &[]);
    world.run("ALTER TABLE crm ADD CONSTRAINT home CHECK (phone LIKE '+49%')");
    let mut caller = Session::new(&world, "caller");
    let call = format!("SELECT try_enrich_contact('{}', '{{phone}}')", contact(1));
    caller.client.batch_execute(&format!("BEGIN; {call}; ROLLBACK")).unwrap();
    let block = format!(
        "DO $do$ BEGIN PERFORM enrich_contact('{}', '{{phone}}'); EXCEPTION WHEN SQLSTATE 'LX409' THEN NULL; END $do$",
        contact(2)
    );
    caller.client.batch_execute(&block).unwrap();
    for n in [1, 2] {
        assert_eq!(fails(caller.call(n, &["phone"])).json()["reason"], "table_refuses");
    }
    assert_eq!(world.provider.count(), 2);
    world.run("UPDATE crm SET email = 'new@acme.example'");
    assert_eq!(fails(caller.call(1, &["phone"])).json()["reason"], "table_refuses");
    assert_eq!(world.provider.count(), 3);
    // From an answer that is still good it is tried each time: that costs nothing.
    let mut keeps = Session::new(&world, "caller");
    keeps.client.batch_execute("SET leadlex.receipt_ttl = '1h'").unwrap();
    world.run("UPDATE crm SET email = 'newer@acme.example'");
    assert_eq!(fails(keeps.call(1, &["phone"])).json()["reason"], "table_refuses");
    world.run("ALTER TABLE crm DROP CONSTRAINT home");
    assert_eq!(keeps.call(1, &["phone"]).unwrap()["fields_updated"], json!(["phone"]));
    assert_eq!(world.provider.count(), 4);
}

/// Each session remembers that nothing was refused, no longer than that.
#[test]
fn what_the_table_refuses_counts_in_a_session_that_knew_of_nothing_refused() {
    let world = world(2, &[]);
    let (mut one, mut other) = (Session::new(&world, "caller"), Session::new(&world, "caller"));
    other.call(2, &["phone"]).unwrap();
    world.run("ALTER TABLE crm ADD CONSTRAINT home CHECK (phone LIKE '+49%') NOT VALID");
    assert_eq!(sqlstate(&one.call(1, &["phone"])), "LX409");
    let written = "SELECT count(*) FROM leadlex.receipt WHERE contact IS NOT NULL";
    eventually("it is written down", SOON, || world.number(written) == 1);
    assert_eq!(fails(other.call(1, &["phone"])).json()["reason"], "table_refuses");
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn forgetting_a_person_forgets_it_too() {
    let world = world(3, &[]);
    world.run("ALTER TABLE crm ADD CONSTRAINT home CHECK (phone LIKE '+49%')");
    let mut caller = Session::new(&world, "caller");
    let of_tables = "SELECT count(*) FROM leadlex.receipt WHERE contact IS NOT NULL";
    for n in 1..=3 {
        assert_eq!(sqlstate(&caller.call(n, &["phone"])), "LX409");
    }
    // On its way into the tables, and in them.
    let mut forget = |n: i32| -> Value {
        caller.client.query_one("SELECT leadlex.forget_contact($1)", &[&contact(n)]).unwrap().get(0)
    };
    assert_eq!(forget(1)["receipts"], 1);
    eventually("the others are written down", SOON, || world.number(of_tables) == 2);
    // Also of a row that is gone.
    world.run(&format!("DELETE FROM crm WHERE id = '{}'", contact(2)));
    assert_eq!(forget(2)["receipts"], 1);
    assert_eq!(world.number(of_tables), 1);
    assert_eq!(sqlstate(&caller.call(1, &["phone"])), "LX409");
    assert_eq!(world.provider.count(), 4, "it is asked anew");
}

#[test]
fn triggers_and_queue_write_the_rest() {
    let world = world(4, &[]);
    world.run(&format!(
        "CREATE TABLE lead (id int PRIMARY KEY, email text, linkedin_url text UNIQUE, phone text);
         SELECT leadlex.bind_contacts('lead', workspace_id => '{}'); GRANT SELECT, INSERT, UPDATE ON lead TO caller;
         ALTER TABLE lead OWNER TO caller;
         CREATE TRIGGER enrich AFTER INSERT ON lead REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enrich_on_insert();
         CREATE UNIQUE INDEX one_profile ON crm (linkedin_url)",
        world.workspace
    ));
    let mut caller = Session::new(&world, "caller");
    let insert = "INSERT INTO lead SELECT n, 'lead' || n || '@acme.example' FROM generate_series(1, 5) AS n";
    caller.client.batch_execute(insert).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM lead WHERE phone IS NOT NULL"), 5);
    assert_eq!(world.number("SELECT count(*) FROM lead WHERE linkedin_url IS NOT NULL"), 1);
    let told = caller.warnings();
    assert_eq!((told.len(), told[0].constraint.as_deref()), (1, Some("lead_linkedin_url_key")), "{told:?}");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 0, "nothing to try again");
    caller.check("an INSERT");
    // Row by row it is one WARNING for the statement, too; and so with a batch of many chunks.
    world.run("DROP TRIGGER enrich ON lead; CREATE TRIGGER enrich AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enrich_on_insert()");
    for from in [11, 21] {
        let insert = format!(
            "INSERT INTO lead SELECT n, 'lead' || n || '@acme.example' FROM generate_series({from}, {from} + 4) AS n"
        );
        caller.client.batch_execute(&insert).unwrap();
        assert_eq!(caller.warnings().len(), 1);
    }
    let batch = "INSERT INTO lead SELECT n FROM generate_series(31, 36) AS n; UPDATE lead SET email = 'x' || id || '@acme.example' WHERE id > 30;
                 CALL leadlex.enrich_batch('lead', '{31,32,33,34,35,36}', chunk => 2)";
    batch.split(';').for_each(|sql| caller.client.batch_execute(sql).unwrap());
    assert_eq!(
        (caller.warnings().len(), world.number("SELECT count(*) FROM lead WHERE phone IS NULL")),
        (1, 0)
    );

    let asked = world.provider.count();
    caller.client.query("SELECT leadlex.enqueue($1)", &[&ids(1..=4)]).unwrap();
    wait_for_queue(&world);
    assert_eq!(outcomes(&world), "done enriched");
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 4);
    assert_eq!(world.number("SELECT count(linkedin_url) FROM crm"), 1);
    caller.client.query("SELECT leadlex.enqueue($1)", &[&ids(1..=4)]).unwrap();
    wait_for_queue(&world);
    assert_eq!(outcomes(&world), "done enriched, done no_match, done unchanged");
    assert_eq!(world.provider.count(), asked + 4, "nobody is asked again");
    world.check_credits_add_up();
}

/// What is not about a field of ours, or not Postgres's own word, is as it ever was.
#[test]
fn other_errors_arrive_unchanged() {
    let world = world(1, &["leadlex.recheck_after = 0"]);
    let trigger = |body: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$;
             DROP TRIGGER IF EXISTS own ON crm; CREATE TRIGGER own BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION own();"
        )
    };
    let raise = |sqlstate: &str| {
        trigger(&format!(
            "IF NEW.linkedin_url IS NOT NULL THEN RAISE EXCEPTION 'mine' USING ERRCODE = '{sqlstate}', CONSTRAINT = 'taken', TABLE = 'crm', SCHEMA = 'public'; END IF"
        ))
    };
    world.run("CREATE UNIQUE INDEX taken ON crm (linkedin_url); CREATE TABLE audit (phone text CONSTRAINT short CHECK (phone = ''));
               GRANT ALL ON audit TO caller");
    let mut caller = Session::new(&world, "caller");
    let cases: [(&str, String, &str, Option<&str>); 11] = [
        ("a forged name", raise("23505"), "23505", Some("taken")),
        ("a forged check", raise("23514"), "23514", Some("taken")),
        ("a conflict", raise("40001"), "40001", Some("taken")),
        ("a deadlock", raise("40P01"), "40P01", Some("taken")),
        ("a cancel", raise("57014"), "57014", Some("taken")),
        ("its own", raise("ZZ001"), "ZZ001", Some("taken")),
        ("another table's", trigger("INSERT INTO audit VALUES (NEW.phone)"), "23514", Some("short")),
        ("too long in a trigger", trigger("NEW.note := 'abc'::text; PERFORM NEW.phone::varchar(2); NEW.note := repeat('x', 9)"), "23514", Some("note_is_short")),
        (
            "not a field's",
            trigger("NEW.note := 'too long by far'"),
            "23514",
            Some("note_is_short"),
        ),
        (
            "a deferred trigger's",
            "DROP TRIGGER own ON crm;
             CREATE OR REPLACE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'mine' USING ERRCODE = '23505', CONSTRAINT = 'taken', TABLE = 'crm', SCHEMA = 'public'; END $$;
             CREATE CONSTRAINT TRIGGER taken AFTER UPDATE ON crm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own()".to_owned(),
            "23505",
            Some("taken"),
        ),
        (
            "a policy",
            "DROP TRIGGER taken ON crm; ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
             CREATE POLICY sees ON crm USING (true) WITH CHECK (phone IS NULL)".to_owned(),
            "42501",
            None,
        ),
    ];
    world.run("ALTER TABLE crm ADD CONSTRAINT note_is_short CHECK (length(note) < 5)");
    for (what, sql, state, constraint) in cases {
        world.run(&sql);
        let before = world.ledger();
        let failure: Failure = fails(caller.call(1, &[]));
        assert_eq!(
            (failure.sqlstate.as_str(), failure.constraint.as_deref()),
            (state, constraint),
            "{what}: {failure:?}"
        );
        assert_eq!(world.ledger(), before, "{what}");
        assert!(caller.warnings().is_empty(), "{what}");
        caller.check(what);
    }
}

/// Another provider may have something else.
#[test]
fn the_next_provider_is_asked_for_what_is_refused_of_the_first() {
    let world = world(1, &[]);
    world.run("ALTER TABLE crm ADD CONSTRAINT home CHECK (phone LIKE '+49%')");
    let mut caller = Session::new(&world, "caller");
    assert_eq!(fails(caller.call(1, &["phone"])).json()["reason"], "table_refuses");
    world.provider.on("/second", |_| Behaviour::json(500, json!({})));
    world.add_provider("second", &world.provider.config("/second"));
    assert_eq!(sqlstate(&caller.call(1, &["phone"])), "LX503", "it may still come");
    world
        .provider
        .on("/second", |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+4930123456"}})));
    assert_eq!(caller.call(1, &["phone"]).unwrap()["source"], "second");
    assert_eq!((world.provider.count_of(PATH), world.provider.count_of("/second")), (1, 2));
}

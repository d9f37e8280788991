//! Many contacts in one statement, and chunk by chunk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postgres::{Client, GenericClient, Row};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Behaviour, eventually, fails};
use crate::world::{Beginning, PATH, World, contact, credits, only_phone, pid, try_enrich};

/// A contact's own phone number, so that every answer is a change that can be told apart.
fn own_phone(world: &World) {
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or_default();
        let digits: String = email.chars().filter(char::is_ascii_digit).collect();
        Behaviour::json(200, only_phone(&format!("+1555{:0>7}", digits)))
    });
}

fn world_of(contacts: i32, credits: Option<i64>) -> World {
    let world = World::with(&Beginning { contacts, credits, ..Beginning::default() });
    own_phone(&world);
    world
}

fn ids(numbers: impl IntoIterator<Item = i32>) -> Vec<Option<Uuid>> {
    numbers.into_iter().map(|n| Some(contact(n))).collect()
}

fn enrich_all(client: &mut impl GenericClient, ids: &[Option<Uuid>]) -> Vec<Row> {
    client.query("SELECT * FROM enrich_contacts($1)", &[&ids]).unwrap()
}

fn count(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        let error: Option<String> = row.get("error_code");
        let what = error.unwrap_or_else(|| row.get("status"));
        *counts.entry(what).or_default() += 1;
    }
    counts
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(what, count)| (what.to_owned(), count)).collect()
}

#[test]
fn each_position_has_its_row_and_a_contact_is_asked_about_once() {
    let world = world_of(600, Some(1_000));
    let mut caller = world.caller();
    let mut given = ids((1..=600).chain([5, 5, 7]));
    given.push(None);
    given.push(Some(Uuid::nil()));
    let rows = enrich_all(&mut caller, &given);
    assert_eq!(rows.len(), given.len());
    for (row, given) in rows.iter().zip(&given) {
        assert_eq!(&row.get::<_, Option<Uuid>>("contact_id"), given);
    }
    assert_eq!(count(&rows), counts([("enriched", 603), ("not_found", 1), ("validation_error", 1)]));
    let first = &rows[4];
    assert_eq!(first.get::<_, Vec<String>>("fields_updated"), ["phone"]);
    assert_eq!(first.get::<_, String>("source"), "main");
    assert_eq!(first.get::<_, f64>("confidence"), 0.9);
    assert_eq!(first.get::<_, Value>("contact")["phone"], "+15550000005");
    assert_eq!(first.get::<_, Uuid>("request_id"), rows[600].get::<_, Uuid>("request_id"));
    assert_eq!(world.provider.count(), 600);
    assert_eq!(credits(&mut caller), Some(400));
    world.check_credits_add_up();
    // A second time there is nothing new: the fields that the provider lacks are remembered.
    let again = enrich_all(&mut caller, &ids(1..=600));
    assert_eq!(again.len(), 600);
    assert_eq!((world.provider.count(), credits(&mut caller)), (600, Some(400)));
    assert_eq!(enrich_all(&mut caller, &[]).len(), 0);
    let none = caller.query("SELECT * FROM enrich_contacts(NULL)", &[]).unwrap();
    assert_eq!(none.len(), 0);
}

#[test]
fn so_many_requests_are_in_flight_at_once_and_not_one_more() {
    let world = world_of(60, None);
    world
        .provider
        .on(PATH, |_| Behaviour::json(200, only_phone("+15550100100")).after(Duration::from_millis(80)));
    world.run("ALTER SYSTEM SET leadlex.max_parallel_requests = 10");
    world.run("SELECT pg_reload_conf()");
    let mut caller = world.caller();
    eventually("the setting is there", Duration::from_secs(5), || {
        let shown: String = caller.query_one("SHOW leadlex.max_parallel_requests", &[]).unwrap().get(0);
        shown == "10"
    });
    let rows = enrich_all(&mut caller, &ids(1..=60));
    assert_eq!(count(&rows), counts([("enriched", 60)]));
    assert_eq!(world.provider.peak_in_flight(), 10);
}

#[test]
fn what_fails_is_a_row_and_harms_no_other() {
    let world = world_of(20, Some(100));
    world.provider.on(PATH, |request| match request.param("email").unwrap_or_default() {
        "person1@acme.example" => Behaviour::json(404, json!({})),
        "person2@acme.example" => Behaviour::json(500, json!({})),
        "person3@acme.example" => Behaviour::Close,
        email => {
            let digits: String = email.chars().filter(char::is_ascii_digit).collect();
            Behaviour::json(200, only_phone(&format!("+1555{digits:0>7}")))
        }
    });
    world.run(
        "UPDATE crm SET email = NULL, full_name = NULL WHERE note IS NULL AND id::text LIKE '%04';
         ALTER TABLE crm ADD CONSTRAINT not_five CHECK (phone <> '+15550000005');
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.phone = '+15550000006' THEN RAISE EXCEPTION 'six is refused' USING ERRCODE = 'ZZ666'; END IF;
            IF NEW.phone = '+15550000008' THEN RAISE EXCEPTION 'as one in C does' USING ERRCODE = 'XX000'; END IF;
            IF NEW.phone = '+15550000007' THEN RETURN NULL; END IF;
            RETURN NEW; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION refuse();",
    );
    let mut caller = world.caller();
    let rows = enrich_all(&mut caller, &ids(1..=20));
    let code = |n: usize| rows[n - 1].get::<_, Option<String>>("error_code").unwrap_or_default();
    let status = |n: usize| rows[n - 1].get::<_, String>("status");
    assert_eq!((status(1).as_str(), code(1).as_str()), ("no_match", "no_match"));
    assert_eq!(code(2), "provider_unavailable");
    assert_eq!(code(3), "provider_unavailable");
    assert_eq!((status(4).as_str(), code(4).as_str()), ("no_match", "no_match"));
    assert_eq!(
        (status(5).as_str(), code(5).as_str()),
        ("no_match", "no_match"),
        "the table refuses all that there is"
    );
    assert_eq!((status(6).as_str(), code(6).as_str()), ("failed", "ZZ666"));
    let message: String = rows[5].get("error_message");
    assert_eq!(message, "six is refused");
    assert_eq!(status(7), "unchanged");
    assert_eq!((status(8).as_str(), code(8).as_str()), ("failed", "XX000"));
    assert_eq!(count(&rows[8..]), counts([("enriched", 12)]));
    assert_eq!(credits(&mut caller), Some(88));
    world.check_credits_add_up();
}

/// Its row is somewhere else by the time that it is to be locked.
#[test]
fn a_row_that_moves_to_another_partition_meanwhile_fails_no_other() {
    let world = world_of(1, Some(100));
    own_phone(&world);
    world.run(&format!(
        "CREATE TABLE lead (id int NOT NULL, stage int NOT NULL, email text, phone text) PARTITION BY LIST (stage);
         CREATE TABLE lead_1 PARTITION OF lead FOR VALUES IN (1); CREATE TABLE lead_2 PARTITION OF lead FOR VALUES IN (2);
         INSERT INTO lead SELECT n, 1, 'lead' || n || '@acme.example' FROM generate_series(1, 8) AS n;
         GRANT SELECT, UPDATE ON lead TO caller; SELECT leadlex.bind_contacts('lead', workspace_id => '{}')",
        world.workspace
    ));
    let mut editor = world.owner();
    let mut moving = editor.transaction().unwrap();
    moving.batch_execute("UPDATE lead SET stage = 2 WHERE id = 3").unwrap();
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    let sql =
        "SELECT * FROM enrich_rows('lead', ARRAY(SELECT n::text FROM generate_series(1, 8) AS n), '{phone}')";
    let rows = std::thread::scope(|scope| {
        let call = scope.spawn(|| caller.query(sql, &[]).unwrap());
        world.wait_until_blocked(backend);
        moving.commit().unwrap();
        call.join().unwrap()
    });
    let enriched = count(&rows)["enriched"];
    assert!(enriched >= 7, "{:?}", count(&rows));
    assert_eq!(world.number("SELECT count(phone) FROM lead"), enriched as i64);
    assert_eq!(credits(&mut caller), Some(100 - enriched as i64));
}

#[test]
fn credits_that_run_out_fail_the_rest_and_none_stays_reserved() {
    let world = world_of(50, Some(30));
    let mut caller = world.caller();
    let rows = enrich_all(&mut caller, &ids(1..=50));
    assert_eq!(count(&rows), counts([("enriched", 30), ("insufficient_credits", 20)]));
    assert_eq!(world.provider.count(), 30);
    assert_eq!(credits(&mut caller), Some(0));
    world.check_credits_add_up();
    world.run(&format!("SELECT leadlex.grant_credits('{}', 25)", world.workspace));
    let rest = enrich_all(&mut caller, &ids(31..=50));
    assert_eq!(count(&rest), counts([("enriched", 20)]));
    world.check_all_credits_can_be_spent();
}

#[test]
fn a_rollback_gives_all_credits_back_and_pays_nobody_twice() {
    let world = world_of(50, Some(60));
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    let rows = enrich_all(&mut transaction, &ids(1..=25));
    assert_eq!(count(&rows), counts([("enriched", 25)]));
    let mut part = transaction.savepoint("part").unwrap();
    assert_eq!(count(&enrich_all(&mut part, &ids(26..=50))), counts([("enriched", 25)]));
    part.rollback().unwrap();
    assert_eq!(credits(&mut transaction), Some(35));
    transaction.rollback().unwrap();
    assert_eq!(credits(&mut caller), Some(60));
    let rows = enrich_all(&mut caller, &ids(1..=50));
    assert_eq!(count(&rows), counts([("enriched", 50)]));
    assert_eq!(world.provider.count(), 50, "answers were kept");
    world.check_credits_add_up();
}

#[test]
fn a_batch_obeys_cancel_at_once() {
    let world = world_of(200, Some(500));
    world.provider.on(PATH, |_| Behaviour::Never);
    let mut caller = world.caller();
    caller.batch_execute("SET statement_timeout = '500ms'").unwrap();
    let started = Instant::now();
    let failure = fails(caller.query("SELECT * FROM enrich_contacts($1)", &[&ids(1..=200)]));
    assert_eq!(failure.sqlstate, "57014");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    caller.batch_execute("SET statement_timeout = 0").unwrap();
    assert_eq!(credits(&mut caller), Some(500));
    world.check_credits_add_up();
}

#[test]
fn a_rate_limit_makes_rows_of_what_it_does_not_admit() {
    let world =
        World::with(&Beginning { contacts: 30, plan: "starter", credits: None, ..Beginning::default() });
    own_phone(&world);
    let mut caller = world.caller();
    let rows = enrich_all(&mut caller, &ids(1..=30));
    assert_eq!(count(&rows), counts([("enriched", 10), ("rate_limited", 20)]));
    assert_eq!(world.provider.count(), 10);
}

#[test]
fn progress_is_seen_from_another_session_and_only_in_ones_own_workspace() {
    let world = world_of(400, None);
    world.provider.on(PATH, |request| {
        let nobody = request.param("email").is_some_and(|email| email.ends_with("0@acme.example"));
        let status = if nobody { 404 } else { 200 };
        Behaviour::json(status, only_phone("+15550100100")).after(Duration::from_millis(200))
    });
    let mut caller = world.caller();
    let own = pid(&mut caller);
    world.run("CREATE ROLE stranger LOGIN");
    let working = std::thread::spawn(move || count(&enrich_all(&mut caller, &ids(1..=400))));
    let sql = "SELECT pid, relation, total, done, failed, rate, eta IS NULL FROM leadlex.progress";
    eventually("what was answered is written, in part", Duration::from_secs(20), || {
        let mut other = world.caller();
        let Some(row) = other.query_opt(sql, &[]).unwrap() else { return false };
        assert_eq!((row.get::<_, i32>(0), row.get::<_, i64>(2)), (own, 400));
        assert_eq!(row.get::<_, String>(1), "public.crm");
        assert_eq!(row.get::<_, i64>(4), 0, "a contact without a match is no failure");
        let done: i64 = row.get(3);
        assert!(done <= 400);
        done >= 300
    });
    let mut stranger = world.cluster.connect_as("app", "stranger");
    assert_eq!(stranger.query(sql, &[]).unwrap().len(), 0);
    assert_eq!(working.join().unwrap(), counts([("enriched", 360), ("no_match", 40)]));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.progress"), 0);
}

fn batch(
    client: &mut Client,
    numbers: impl IntoIterator<Item = i32>,
    chunk: i32,
) -> Result<(), postgres::Error> {
    let ids: Vec<String> = numbers.into_iter().map(|n| contact(n).to_string()).collect();
    let call = format!("CALL leadlex.enrich_batch('crm', '{{{}}}', chunk => {chunk})", ids.join(","));
    client.batch_execute(&call)
}

#[test]
fn a_batch_call_tells_at_its_end_what_became_of_them() {
    let world = world_of(6, None);
    world.run(
        "UPDATE crm SET email = NULL WHERE email = 'person2@acme.example'; ALTER TABLE crm ADD CHECK (note <> '3');
         CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := right(NEW.phone, 1); RETURN NEW; END $$;
         CREATE TRIGGER mark BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION mark();",
    );
    world.provider.on(PATH, |request| match request.param("email").unwrap_or_default() {
        "person1@acme.example" => Behaviour::json(404, serde_json::json!({})),
        "person3@acme.example" => Behaviour::json(200, only_phone("+12025550103")),
        "person4@acme.example" => Behaviour::json(500, serde_json::json!({})),
        _ => Behaviour::json(200, only_phone("+15550100100")),
    });
    let (mut caller, told) = world.listening("caller");
    batch(&mut caller, 1..=6, 2).unwrap();
    assert_eq!(
        told.messages().last().unwrap(),
        "6 contacts done: 2 enriched, 0 unchanged, 2 without a match (1 not_identifiable), 2 failed (1 23514, 1 provider_unavailable: server_error)"
    );
}

#[test]
fn a_batch_call_commits_chunk_by_chunk_and_can_be_run_again() {
    let world = world_of(100, Some(500));
    let mut caller = world.caller();
    // The 61st is never answered: the fourth chunk is where the call is cancelled.
    world.provider.on(PATH, |request| match request.param("email").unwrap_or_default() {
        "person61@acme.example" => Behaviour::Never,
        email => {
            let digits: String = email.chars().filter(char::is_ascii_digit).collect();
            Behaviour::json(200, only_phone(&format!("+1555{digits:0>7}")))
        }
    });
    caller.batch_execute("SET statement_timeout = '3s'").unwrap();
    let failure = fails(batch(&mut caller, 1..=100, 20));
    assert_eq!(failure.sqlstate, "57014");
    assert_eq!(world.number("SELECT count(phone) FROM crm"), 60);
    world.check_credits_add_up();
    own_phone(&world);
    let asked = world.provider.count();
    caller.batch_execute("SET statement_timeout = 0").unwrap();
    batch(&mut caller, 1..=100, 20).unwrap();
    assert_eq!(world.number("SELECT count(phone) FROM crm"), 100);
    assert_eq!(credits(&mut caller), Some(400));
    assert!(world.provider.count() - asked <= 40, "what was filled in is not asked about again");
    world.check_credits_add_up();
}

#[test]
fn a_batch_call_in_a_transaction_says_where_it_can_run() {
    let world = world_of(3, None);
    let mut caller = world.caller();
    caller.batch_execute("BEGIN").unwrap();
    let failure = fails(batch(&mut caller, 1..=3, 10));
    assert_eq!(failure.sqlstate, "2D000");
    assert!(failure.hint.is_some(), "{failure:?}");
    caller.batch_execute("ROLLBACK").unwrap();
    let failure = fails(batch(&mut caller, 1..=3, 0));
    assert_eq!(failure.sqlstate, "LX400");
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn two_batches_of_the_same_contacts_pay_once() {
    let world = world_of(300, Some(1_000));
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or_default();
        let digits: String = email.chars().filter(char::is_ascii_digit).collect();
        Behaviour::json(200, only_phone(&format!("+1555{digits:0>7}"))).after(Duration::from_millis(20))
    });
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let mut caller = world.caller();
            std::thread::spawn(move || count(&enrich_all(&mut caller, &ids(1..=300))))
        })
        .collect();
    let mut enriched = 0;
    for thread in threads {
        enriched += thread.join().unwrap().get("enriched").copied().unwrap_or_default();
    }
    assert_eq!(enriched, 300);
    assert_eq!(world.provider.count(), 300);
    world.check_credits_add_up();
}

#[test]
fn credits_go_back_to_a_batch_for_those_that_cost_none() {
    let world = world_of(40, Some(10));
    world.provider.on(PATH, |request| match request.param("email") {
        Some(email) if email.len() == "person1@acme.example".len() => Behaviour::json(404, json!({})),
        _ => Behaviour::json(200, only_phone("+15550100100")),
    });
    let mut caller = world.caller();
    // 1 to 9 cost nothing; ten of the others can be paid.
    let expected = counts([("no_match", 9), ("enriched", 10), ("insufficient_credits", 21)]);
    assert_eq!(count(&enrich_all(&mut caller, &ids(1..=40))), expected);
    assert_eq!((credits(&mut caller), world.provider.count()), (Some(0), 19));
    world.run(&format!("SELECT leadlex.grant_credits('{}', 5)", world.workspace));
    let expected =
        counts([("no_match", 9), ("unchanged", 10), ("enriched", 5), ("insufficient_credits", 16)]);
    assert_eq!(count(&enrich_all(&mut caller, &ids(1..=40))), expected);
    world.check_credits_add_up();
}

#[test]
fn several_contacts_with_one_address_are_one_question() {
    let world = world_of(40, Some(100));
    world.run(
        "UPDATE crm SET email = 'shared@acme.example', full_name = 'Jane Doe' WHERE full_name ~ '[1-5]$'",
    );
    world.run("UPDATE crm SET email = 'nobody@acme.example', full_name = 'Nobody' WHERE full_name ~ '[67]$'");
    world.provider.on(PATH, |request| match request.param("email") {
        Some("nobody@acme.example") => Behaviour::json(404, json!({})),
        _ => Behaviour::json(200, only_phone("+15550100100")).after(Duration::from_millis(20)),
    });
    let mut caller = world.caller();
    let rows = enrich_all(&mut caller, &ids(1..=40));
    assert_eq!(count(&rows), counts([("enriched", 32), ("no_match", 8)]));
    assert_eq!(world.provider.count(), 12 + 2);
    // Whoever keeps no answers wants them anew.
    world.run("UPDATE crm SET phone = NULL");
    caller.batch_execute("SET leadlex.receipt_ttl = 0; SET leadlex.recheck_after = 0").unwrap();
    enrich_all(&mut caller, &ids(1..=40));
    assert_eq!(world.provider.count(), 14 + 40);
    world.check_credits_add_up();
}

#[test]
fn what_an_index_cannot_hold_costs_the_longest_value_of_one_row() {
    let world = world_of(5, Some(10));
    world.run("CREATE INDEX ON crm (phone, location)");
    // Too large for the index, and not to be compressed.
    let long: String = (0..990).map(|n| char::from_u32(0x4e00 + n * 7).unwrap()).collect();
    world.provider.on(PATH, move |request| {
        let mut body = only_phone("+15550100100");
        if request.param("email") == Some("person3@acme.example") {
            body["data"]["location"] = json!(long);
        }
        Behaviour::json(200, body)
    });
    let rows = enrich_all(&mut world.caller(), &ids(1..=5));
    assert_eq!(count(&rows), counts([("enriched", 5)]));
    assert_eq!(rows[2].get::<_, Vec<String>>("fields_updated"), ["phone"]);
}

#[test]
fn a_terminated_batch_is_not_shown_as_running() {
    let world = world_of(200, Some(500));
    world.provider.on(PATH, |_| Behaviour::Never);
    let mut caller = world.caller();
    let pid = pid(&mut caller);
    let batch =
        std::thread::spawn(move || caller.query("SELECT * FROM enrich_contacts($1)", &[&ids(1..=200)]));
    eventually("it is shown", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.progress") == 1
    });
    world.run(&format!("SELECT pg_terminate_backend({pid})"));
    assert!(batch.join().unwrap().is_err());
    world.wait_until_gone(pid);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.progress"), 0);
}

#[test]
fn a_contact_that_was_not_changed_is_free_before_the_commit() {
    let world = world_of(3, Some(10));
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let mut caller = world.caller();
    let mut open = caller.transaction().unwrap();
    assert_eq!(count(&enrich_all(&mut open, &ids(1..=3))), counts([("no_match", 3)]));
    let mut other = world.caller();
    other.batch_execute("SET statement_timeout = '5s'").unwrap();
    assert_eq!(try_enrich(&mut other, 2)["error"]["code"], "no_match");
    open.rollback().unwrap();
}

#[test]
fn a_block_can_collect_the_ids_and_call_it() {
    let world = world_of(50, Some(500));
    let mut caller = world.caller();
    let block = "DO $$
        DECLARE ids text[] := ARRAY(SELECT id::text FROM crm ORDER BY id);
        BEGIN
            CALL leadlex.enrich_batch('crm', ids, chunk => 10);
        END $$";
    caller.batch_execute(block).unwrap();
    assert_eq!(world.number("SELECT count(phone) FROM crm"), 50);
    assert_eq!(world.number("SELECT count(DISTINCT xmin::text) FROM crm"), 5, "a transaction for each chunk");
    // In a transaction of somebody else's it cannot commit.
    assert_eq!(fails(caller.batch_execute(&format!("BEGIN; {block}"))).sqlstate, "2D000");
}

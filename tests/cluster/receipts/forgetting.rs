//! Erasing what is held on a person.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::*;

#[test]
fn forgetting_a_person_erases_all_that_is_held() {
    let world = world(&[]);
    let mut caller = world.caller();
    let key = uuid::Uuid::new_v4();
    for n in [1, 2] {
        crate::world::enrich_with_key(&mut caller, n, if n == 1 { key } else { uuid::Uuid::new_v4() })
            .unwrap();
    }
    let mut transaction = caller.transaction().unwrap();
    // The other one's answer is still on its way to the tables.
    let sql = "SELECT leadlex.forget_contact($1)";
    let erased: Value = transaction.query_one(sql, &[&contact(1)]).unwrap().get(0);
    transaction.rollback().unwrap();
    assert_eq!(world.number("SELECT count(*) FROM leadlex.enrichment"), 2, "rolled back");
    let erased_again: Value = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!(erased, erased_again);
    for kind in ["history", "receipts", "stored_results"] {
        assert_eq!(erased[kind], 1, "{erased}");
    }
    let left: Value = world
        .owner()
        .query_one(
            "SELECT jsonb_agg(t) FROM (SELECT to_jsonb(e) AS t FROM leadlex.enrichment AS e
             UNION ALL SELECT to_jsonb(i) FROM leadlex.idempotency AS i
             UNION ALL SELECT to_jsonb(r) FROM leadlex.receipt AS r) AS everything",
            &[],
        )
        .unwrap()
        .get(0);
    assert!(!left.to_string().contains(&contact(1).to_string()), "{left}");
    assert!(left.to_string().contains(&contact(2).to_string()), "others are not touched");
    assert_eq!(
        world.number("SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1"),
        2,
        "charges stay"
    );
    assert_eq!(world.phone(1).as_deref(), Some(PHONE), "the contact is the user's");
    // What is asked afterwards is a new question.
    world.run("UPDATE crm SET phone = NULL");
    enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count(), 3);
}

#[test]
fn a_result_stored_before_results_named_the_person_is_erased_too() {
    let world = world(&["leadlex.receipt_ttl = 0", "leadlex.recheck_after = 0"]);
    let mut caller = world.caller();
    crate::world::enrich_with_key(&mut caller, 1, uuid::Uuid::new_v4()).unwrap();
    crate::world::enrich_with_key(&mut caller, 2, uuid::Uuid::new_v4()).unwrap();
    // Nothing else tells of the contact any more.
    world
        .run("UPDATE leadlex.idempotency SET person = NULL; DELETE FROM leadlex.enrichment; DELETE FROM crm");
    let sql = "SELECT leadlex.forget_contact($1)";
    let erased: Value = caller.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!(erased["stored_results"], 1, "{erased}");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.idempotency"), 1, "the other's stays");
}

#[test]
fn what_a_workspace_forgets_is_not_anothers() {
    let world = world(&[]);
    let mut owner = world.owner();
    run(
        &mut owner,
        "CREATE ROLE rival LOGIN; SELECT leadlex.grant_access('rival', leadlex.create_workspace('rival', 5, 'unmetered')); GRANT SELECT ON crm TO rival",
    );
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(700)));
    let mut caller = world.caller();
    world.abandon(&mut caller, 1);
    // The other workspace's contact is neither held nor are answers about it thrown away.
    let mut rival = world.cluster.connect_as("app", "rival");
    let mut transaction = rival.transaction().unwrap();
    let sql = "SELECT leadlex.forget_contact($1)";
    let erased: Value = transaction.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!((&erased["history"], &erased["receipts"]), (&json!(0), &json!(0)));
    wait_for_receipts(&world, 1);
    assert_eq!(
        enrich(&mut caller, 1).unwrap()["contact"]["phone"],
        PHONE,
        "nobody waits for the other's transaction"
    );
    assert_eq!(world.provider.count(), 1);
    transaction.commit().unwrap();
    // A call that keeps nothing but what was missing does not take away what there is.
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+15550100999")));
    run(&mut caller, "SET leadlex.receipt_ttl = 0");
    world.run("UPDATE crm SET phone = NULL");
    enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count(), 2);
    eventually("it is in the tables", SOON, || status(&world, "receipts_written") == 2);
    run(&mut caller, "SET leadlex.receipt_ttl = '1d'");
    world.run("UPDATE crm SET phone = NULL");
    enrich(&mut caller, 1).unwrap();
    assert_eq!(world.provider.count(), 2);
}

#[test]
fn forgetting_is_for_those_who_may_and_waits_for_a_running_call() {
    let world = world(&[]);
    let mut owner = world.owner();
    run(&mut owner, "CREATE ROLE stranger LOGIN");
    let sql = format!("SELECT leadlex.forget_contact('{}')", contact(1));
    let refused = world.cluster.connect_as("app", "stranger").batch_execute(&sql);
    assert_eq!(sqlstate(&refused), "LX401");
    run(
        &mut owner,
        &format!(
            "SELECT leadlex.revoke_access('caller', '{0}'); SELECT leadlex.grant_access('caller', '{0}', '{{read}}')",
            world.workspace
        ),
    );
    assert_eq!(sqlstate(&world.caller().batch_execute(&sql)), "LX403");
    run(&mut owner, &format!("SELECT leadlex.grant_access('caller', '{}')", world.workspace));
    assert_eq!(sqlstate(&world.caller().batch_execute("SELECT leadlex.forget_contact(NULL)")), "LX400");

    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(500)));
    thread::scope(|scope| {
        let call = scope.spawn(|| enrich(&mut world.caller(), 1).unwrap());
        world.provider.wait_for(1, SOON);
        let erased: Value = owner.query_one(&sql, &[]).unwrap().get(0);
        call.join().unwrap();
        assert_eq!(
            (&erased["history"], &erased["receipts"]),
            (&json!(1), &json!(1)),
            "also what came meanwhile"
        );
    });
    assert_eq!((receipts(&world), number(&mut owner, "SELECT count(*) FROM leadlex.enrichment")), (0, 0));
    // An answer that nobody waits for any more comes after the person was forgotten.
    let mut caller = world.caller();
    world.run("UPDATE crm SET phone = NULL, job_title = NULL");
    world.abandon(&mut caller, 1);
    run(&mut owner, &sql);
    thread::sleep(Duration::from_millis(700));
    assert_eq!((receipts(&world), status(&world, "receipts_waiting")), (0, 0));
}

#[test]
fn forgetting_many_throws_away_no_answer_about_others() {
    let world = World::with(&Beginning {
        contacts: 1_000,
        conf: &["leadlex.provider_timeout = '30s'", "leadlex.total_timeout = '60s'"],
        ..Beginning::default()
    });
    // It answers when it is told to: how long the forgetting takes goes by the machine.
    let (answer, told) = channel::<()>();
    let told = Mutex::new(told);
    world.provider.on(PATH, move |_| {
        let _ = told.lock().map(|told| told.recv());
        Behaviour::json(200, person())
    });
    let mut caller = world.caller();
    world.abandon(&mut caller, 1);
    world.abandon(&mut caller, 2);
    // Two that are forgotten while their answers are under way, among many that are.
    let forget = |which: &str| {
        world.number(&format!("SELECT count(leadlex.forget_contact(id)) FROM crm WHERE full_name {which}"))
    };
    let begun = std::time::Instant::now();
    assert_eq!(forget("= 'Person 2'"), 1);
    assert_eq!(forget("NOT IN ('Person 1', 'Person 2')"), 998);
    let took = begun.elapsed();
    assert_eq!(world.provider.in_flight(), 2, "forgotten while the answers are under way, in {took:?}");
    drop(answer);
    wait_for_receipts(&world, 1);
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], PHONE);
    assert_eq!(world.provider.count(), 2, "the answer about the first is kept");
    assert_eq!(try_enrich(&mut caller, 2)["error"]["reason"], "no_data");
    assert_eq!(world.provider.count(), 3, "that about the second is not");
}

/// Rows that are read are few, however many the workspace has, and however many jobs.
#[test]
fn what_forgetting_reads_does_not_grow_with_the_workspace() {
    const ROWS: i32 = 20_000;
    let world = world(&["autovacuum = off"]);
    let mut caller = world.caller();
    crate::world::enrich_with_key(&mut caller, 1, uuid::Uuid::new_v4()).unwrap();
    wait_for_receipts(&world, 1);
    run(&mut caller, &format!("SELECT leadlex.enqueue('{{{}}}')", contact(1)));
    eventually("the job is done", SOON, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 1
    });
    let (receipt, job) = (
        "workspace_id, gen_random_uuid(), answered_at, provider_id, known, matched, lacking, answer, gen_random_uuid(), gen_random_uuid()",
        "gen_random_uuid(), first_job, 1, ARRAY[gen_random_uuid()::text], schema_name, table_name, role, authority, fields, overwrite, home",
    );
    world.run(&format!(
        "INSERT INTO leadlex.receipt (workspace_id, question, answered_at, provider_id, known, matched, lacking, answer, person, contact)
         SELECT {receipt} FROM leadlex.receipt, generate_series(1, {ROWS});
         INSERT INTO leadlex.idempotency (workspace_id, key, request_hash, result, person)
         SELECT workspace_id, gen_random_uuid(), request_hash, result, gen_random_uuid() FROM leadlex.idempotency, generate_series(1, {ROWS});
         INSERT INTO leadlex.value_name (workspace_id, value, name, person)
         SELECT '{workspace}', gen_random_uuid(), gen_random_uuid(), gen_random_uuid() FROM generate_series(1, {ROWS});
         INSERT INTO leadlex.ticket (workspace_id, question, provider_id, kept_at, submitted_at, expires_at, known, ticket, person)
         SELECT workspace_id, gen_random_uuid(), provider_id, now(), now(), now() + interval '1 day', known, '{{}}', gen_random_uuid()
         FROM leadlex.receipt LIMIT {ROWS};
         INSERT INTO leadlex.job_set (workspace_id, id, first_job, contacts, contact_ids, schema_name, table_name, role, authority, fields,
             overwrite, home, state, next_attempt_at, finished_at)
         SELECT workspace_id, {job}, 'done', NULL, now() FROM leadlex.job_set, generate_series(1, {ROWS});
         ANALYZE",
        workspace = world.workspace
    ));
    world.run("VACUUM leadlex.job_set");
    let read = |world: &World| {
        // What a session has counted is told when it ends.
        thread::sleep(Duration::from_millis(1500));
        world.number(
            "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int8 FROM pg_stat_user_tables
             WHERE relname IN ('receipt', 'idempotency', 'value_name', 'ticket', 'job_set')",
        )
    };
    let before = read(&world);
    let sql = "SELECT leadlex.forget_contact($1)";
    let erased: Value = world.caller().query_one(sql, &[&contact(1)]).unwrap().get(0);
    for kind in ["history", "receipts", "stored_results", "jobs"] {
        assert_eq!(erased[kind], 1, "{erased}");
    }
    let rows = read(&world) - before;
    assert!(rows < 500, "{rows} rows read");
}

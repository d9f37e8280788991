//! What becomes of a shared value: whose it is, how long it lasts, and how it counts again.

use super::*;

#[test]
fn another_workspace_is_not_affected() {
    let world = world(10);
    share_the_address(&world);
    world.run(
        "CREATE TABLE others (LIKE crm INCLUDING ALL); INSERT INTO others SELECT * FROM crm; CREATE ROLE other LOGIN; GRANT SELECT, UPDATE ON others TO other",
    );
    let team: Uuid = world
        .owner()
        .query_one("SELECT leadlex.create_workspace('other', NULL, 'unmetered')", &[])
        .unwrap()
        .get(0);
    world.owner().execute("SELECT leadlex.grant_access('other', $1)", &[&team]).unwrap();
    world.owner().execute("SELECT leadlex.bind_contacts('others', workspace_id => $1)", &[&team]).unwrap();
    one_by_one(&mut world.caller(), 1..=4);
    found(&world, "email");
    assert!(not_identifiable(&try_enrich(&mut world.caller(), 5)));
    let mut other = world.cluster.connect_as("app", "other");
    let sql = "SELECT enrich_row('others', id::text)->'contact'->>'job_title' FROM others WHERE id = $1";
    for n in 1..=3 {
        let title: String = other.query_one(sql, &[&contact(n)]).unwrap().get(0);
        assert_eq!(title, format!("Title of Person {n}"));
    }
    // Each sees its own.
    let seen = "SELECT count(*) FROM leadlex.shared_value";
    assert_eq!((number(&mut world.caller(), seen), number(&mut other, seen)), (1, 0));
    world.run("CREATE ROLE stranger LOGIN");
    let mut stranger = world.cluster.connect_as("app", "stranger");
    assert_eq!(number(&mut stranger, seen), 0);
    for client in [&mut other, &mut stranger] {
        let failure = fails(client.query("SELECT FROM leadlex.value_name", &[]));
        assert_eq!(failure.sqlstate, "42501");
        let allow = "SELECT leadlex.allow_shared_value('nobody@import.example')";
        assert_eq!(fails(client.query(allow, &[])).sqlstate, "42501");
    }
}

#[test]
fn a_restart_and_a_crash_keep_it() {
    let world = world(12);
    share_the_address(&world);
    one_by_one(&mut world.caller(), 1..=2);
    eventually("two names are counted", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.value_name AS n WHERE (SELECT count(*) FROM leadlex.value_name AS o WHERE o.value = n.value) = 2") == 2
    });
    restart(&world, Stop::Fast);
    one_by_one(&mut world.caller(), 3..=4);
    found(&world, "email");
    restart(&world, Stop::Immediate);
    for result in one_by_one(&mut world.caller(), 5..=8) {
        assert!(not_identifiable(&result), "{result}");
    }
    assert_eq!(world.provider.count(), 4);
}

#[test]
fn a_name_that_is_forgotten_is_not_counted_any_more() {
    let world = world(12);
    share_the_address(&world);
    one_by_one(&mut world.caller(), 1..=4);
    found(&world, "email");
    assert!(not_identifiable(&try_enrich(&mut world.caller(), 5)));
    let mut owner = world.owner();
    owner.execute("SELECT leadlex.forget_contact($1)", &[&contact(1)]).unwrap();
    assert_eq!(listed(&world, "email"), 0);
    assert_eq!(world.number("SELECT count(DISTINCT name) FROM leadlex.value_name"), 3);
    // Three names are left: the next one is asked about, and is one too many.
    enrich(&mut world.caller(), 5).unwrap();
    found(&world, "email");
    assert!(not_identifiable(&try_enrich(&mut world.caller(), 6)));
    // What is in the row by now says nothing of what was asked with.
    world.run("UPDATE crm SET email = 'new@acme.example', full_name = 'Another Name'");
    for n in 2..=5 {
        owner.execute("SELECT leadlex.forget_contact($1)", &[&contact(n)]).unwrap();
    }
    assert_eq!(world.number("SELECT count(*) FROM leadlex.value_name"), 0);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.shared_value"), 0);
}

#[test]
fn an_administrator_lets_a_value_count_again() {
    let world = world(20);
    share_the_address(&world);
    let mut caller = world.caller();
    one_by_one(&mut caller, 1..=4);
    found(&world, "email");
    assert!(not_identifiable(&try_enrich(&mut caller, 5)));
    let mut owner = world.owner();
    let mut allow = |rest: &str| -> bool {
        owner.query_one(&format!("SELECT leadlex.allow_shared_value({rest})"), &[]).unwrap().get(0)
    };
    assert!(allow("' NoBody@IMPORT.example;'"));
    assert!(!allow("'nobody@import.example'"), "that changes nothing");
    for n in 5..=10 {
        assert_eq!(enrich(&mut caller, n).unwrap()["contact"]["job_title"], format!("Title of Person {n}"));
    }
    assert!(in_a_set(&mut caller, [11, 12]).iter().all(|line| line.0 == "enriched"));
    // Back again: its names are counted from the beginning.
    assert!(allow("'nobody@import.example', allowed => false"));
    assert!(!allow("'nobody@import.example', allowed => false"));
    one_by_one(&mut caller, 13..=16);
    found(&world, "email");
    assert!(not_identifiable(&try_enrich(&mut caller, 17)));
    for (bad, state) in [
        ("'jane'", "22023"),
        ("'a@acme.example, b@acme.example'", "22023"),
        ("NULL", "22023"),
        ("'a@acme.example', workspace_id => gen_random_uuid()", "22023"),
        ("'12345'", "22023"),
    ] {
        let failure = fails(world.owner().query(&format!("SELECT leadlex.allow_shared_value({bad})"), &[]));
        assert_eq!(failure.sqlstate, state, "{bad}: {failure:?}");
    }
}

#[test]
fn a_profile_that_is_allowed_is_believed_and_identifies() {
    let world = world(12);
    world.provider.on(PATH, |request| Behaviour::json(200, sandbox(request)));
    let mut caller = world.caller();
    one_by_one(&mut caller, 1..=4);
    found(&world, "supplied profile");
    assert_eq!(try_enrich(&mut caller, 5)["error"]["reason"], "shared_value");
    world.run("SELECT leadlex.allow_shared_value('linkedin.com/in/Sandbox-Person/')");
    assert_eq!(enrich(&mut caller, 5).unwrap()["contact"]["job_title"], "Tester");
    assert!(in_a_set(&mut caller, 6..=8).iter().all(|line| line.0 == "enriched"));
}

#[test]
fn what_is_allowed_is_allowed_in_sets_and_in_the_queue_too() {
    let world = world(24);
    share_the_address(&world);
    world.provider.on(PATH, |request| Behaviour::json(200, sandbox(request)));
    world.run(&format!(
        "SELECT leadlex.allow_shared_value('{NOBODYS}'), leadlex.allow_shared_value('linkedin.com/in/Sandbox-Person/')"
    ));
    let mut caller = world.caller();
    let estimate = "SELECT string_agg(outcome || ' ' || contacts, ', ') FROM leadlex.estimate('crm', $1)";
    let ids: Vec<String> = (1..=8).map(|n| contact(n).to_string()).collect();
    let estimated: String = caller.query_one(estimate, &[&ids]).unwrap().get(0);
    assert_eq!(estimated, "asked 8");
    let lines = in_a_set(&mut caller, 1..=8);
    assert!(lines.iter().all(|line| line.0 == "enriched"), "{lines:?}");
    let queued: Vec<Uuid> = (9..=16).map(contact).collect();
    caller.query("SELECT leadlex.enqueue($1)", &[&queued]).unwrap();
    eventually("the queue is done", Duration::from_secs(20), || {
        world.number("SELECT count(*) FROM crm WHERE job_title IS NOT NULL") == 16
    });
    // What is allowed no longer counts as before.
    world.run(&format!("SELECT leadlex.allow_shared_value('{NOBODYS}', allowed => false)"));
    let lines = in_a_set(&mut caller, 17..=24);
    assert!(lines.iter().all(|line| line.0 != "enriched"), "{lines:?}");
    assert_eq!(world.provider.count(), 16);
}

#[test]
fn an_open_decision_about_a_value_holds_up_no_answer() {
    let world = world(12);
    share_the_address(&world);
    let mut owner = world.owner();
    let mut deciding = owner.transaction().unwrap();
    deciding.execute("SELECT leadlex.allow_shared_value($1)", &[&NOBODYS]).unwrap();
    let mut caller = world.caller();
    one_by_one(&mut caller, 1..=5);
    eventually("the receipts are in the tables", Duration::from_secs(5), || {
        world.number("SELECT count(*) FROM leadlex.receipt") == 5
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(listed(&world, "email"), 0);
    deciding.rollback().unwrap();
    // It comes up once more, and is found.
    enrich(&mut caller, 6).unwrap();
    found(&world, "email");
}

#[test]
fn whoever_has_more_than_a_shared_value_is_asked_about_without_it() {
    let world = world(8);
    share_the_address(&world);
    one_by_one(&mut world.caller(), 1..=4);
    found(&world, "email");
    world.run("UPDATE crm SET company_name = 'Acme Ltd'");
    world.provider.forget();
    let result = enrich(&mut world.caller(), 5).unwrap();
    assert_eq!(result["contact"]["job_title"], "Title of Person 5");
    let asked = &world.provider.requests()[0];
    assert_eq!((asked.param("email"), asked.param("company")), (None, Some("Acme Ltd")));
    let shown: Value = world
        .owner()
        .query_one(
            "SELECT leadlex.check_provider('main', jsonb_build_object('email', $1::text))",
            &[&NOBODYS],
        )
        .unwrap()
        .get(0);
    assert_eq!(
        (&shown["outcome"], &shown["reason"]),
        (&json!("not_asked"), &json!("not_identifiable")),
        "{shown}"
    );
    assert_eq!(shown["shared_values"], json!(["email"]), "{shown}");
}

#[test]
fn a_role_mailbox_and_one_person_in_many_rows_are_no_crowd() {
    let world = world(16);
    world.run(&format!(
        "UPDATE crm SET email = 'info@acme.example' WHERE id <= '{}';
         UPDATE crm SET email = 'jane@acme.example', full_name = CASE WHEN id < '{}' THEN 'Jane  Doe' ELSE 'JANE DOE' END WHERE id > '{}'",
        contact(8),
        contact(12),
        contact(8)
    ));
    let mut caller = world.caller();
    for result in one_by_one(&mut caller, 1..=16) {
        assert!(result["error"].is_null(), "{result}");
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.shared_value WHERE kind <> 'supplied profile'"), 0);
}

#[test]
fn names_are_forgotten_after_a_time_and_a_dump_brings_both_tables() {
    let world = world_with(
        8,
        &["leadlex.max_people_per_value = 3", "leadlex.receipt_ttl = 1", "leadlex.recheck_after = 1"],
    );
    share_the_address(&world);
    world.run(&format!("UPDATE crm SET email = 'own@acme.example' WHERE id = '{}'", contact(8)));
    one_by_one(&mut world.caller(), (1..=4).chain([8]));
    found(&world, "email");
    let own = "SELECT count(*) FROM leadlex.value_name AS n WHERE NOT EXISTS (SELECT FROM leadlex.shared_value AS s WHERE s.value = n.value)";
    eventually("all are counted", Duration::from_secs(10), || world.number(own) > 0);
    std::thread::sleep(Duration::from_secs(3));
    assert!(world.number(own) > 0, "a nightly job brings the next: a day at least");
    let dumped = "SELECT count(*) FROM pg_extension, unnest(extconfig) AS t WHERE extname = 'leadlex_enrich' AND t::regclass::text IN ('leadlex.value_name', 'leadlex.shared_value')";
    assert_eq!(world.number(dumped), 2);
    world.run("UPDATE leadlex.value_name SET seen_at = now() - interval '2 days'");
    eventually("they are gone", Duration::from_secs(30), || {
        try_enrich(&mut world.caller(), 8);
        world.run("UPDATE crm SET job_title = NULL, linkedin_url = NULL; UPDATE leadlex.value_name SET seen_at = now() - interval '2 days'");
        std::thread::sleep(Duration::from_millis(500));
        world.number(own) == 0
    });
    // Those of a shared value stay with it.
    assert_eq!(world.number("SELECT count(*) FROM leadlex.value_name"), 4);
    assert!(not_identifiable(&try_enrich(&mut world.caller(), 5)));
}

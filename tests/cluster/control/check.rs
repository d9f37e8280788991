//! leadlex.check(): empty where all is well, and one line for each problem; leadlex.status.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::support::{Behaviour, Stop, eventually};
use crate::world::{Beginning, PATH, World, contact, enrich, only_phone, sqlstate};

const SOON: Duration = Duration::from_secs(20);

/// Severity, subject and problem of each line.
fn problems(world: &World) -> Vec<(String, String, String)> {
    let sql = "SELECT severity, subject, problem, remedy FROM leadlex.check() ORDER BY 1, 2, 3";
    let rows = world.owner().query(sql, &[]).unwrap();
    assert!(rows.iter().all(|row| !row.get::<_, String>(3).is_empty()));
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn has(world: &World, severity: &str, subject: &str, problem: &str) -> bool {
    problems(world).iter().any(|(s, sub, p)| s == severity && sub == subject && p.contains(problem))
}

/// There is this problem after the first statement, and none after the second.
fn comes_and_goes(world: &World, begin: &str, (severity, subject, problem): (&str, &str, &str), end: &str) {
    world.run(begin);
    assert!(has(world, severity, subject, problem), "{begin}: {:?}", problems(world));
    world.run(end);
    assert_eq!(problems(world), [], "{end}");
}

#[test]
fn no_line_where_all_is_well_and_one_for_each_problem() {
    let world = World::with(&Beginning { credits: Some(10), ..Beginning::default() });
    assert_eq!(problems(&world), []);
    let check = |begin: &str, what: (&str, &str, &str), end: &str| comes_and_goes(&world, begin, what, end);
    check("SELECT leadlex.stop('too dear')", ("error", "requests", "too dear"), "SELECT leadlex.resume()");
    check(
        "SELECT leadlex.pause_queue()",
        ("warning", "queue", "pause_queue"),
        "SELECT leadlex.resume_queue()",
    );
    check(
        "UPDATE leadlex.home SET database_oid = 1",
        ("warning", "database", "a copy"),
        "SELECT leadlex.resume_queue()",
    );
    check(
        "ALTER DATABASE app SET default_transaction_read_only = on",
        ("warning", "queue", "default_transaction_read_only"),
        "BEGIN READ WRITE; ALTER DATABASE app RESET default_transaction_read_only; COMMIT",
    );
    check(
        "DELETE FROM leadlex.provider_secret",
        ("error", "provider main", "no secret"),
        "SELECT leadlex.alter_provider('main', secret => 'new')",
    );
    check(
        "SELECT leadlex.enable_provider('main', false)",
        ("error", "providers", "none is enabled"),
        "SELECT leadlex.enable_provider('main', true)",
    );
    check(
        "SELECT leadlex.set_budget(NULL, 'day', 20, currency => 'USD')",
        ("error", "provider main", "no price in that currency"),
        "SELECT leadlex.set_budget(NULL, 'day', NULL, currency => 'USD')",
    );
    const PRICE: &str = "SELECT leadlex.alter_provider('main', config => '{\"price\": {\"currency\": \"USD\", \"per_match\": 0.28}}')";
    world.run(&format!("{PRICE}; SELECT leadlex.set_budget('main', 'day', 1.00)"));
    assert_eq!(problems(&world), []);
    const SPENT: &str = "INSERT INTO leadlex.spend_sum SELECT 'USD', 'main', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'day', (now() AT TIME ZONE 'UTC')::date";
    const TAKEN: &str = "DELETE FROM leadlex.spend_sum";
    let all = "budget of provider main";
    world.run("SELECT leadlex.set_budget('main', 'day', 1.50)");
    check(&format!("{SPENT}, 1.20"), ("warning", all, "1.2 of 1.5 USD of this day are used: soon"), TAKEN);
    check(
        &format!("{SPENT}, 1.23"),
        ("error", all, "1.23 of 1.5 USD of this day are used: no request"),
        TAKEN,
    );
    world.run("SELECT leadlex.set_budget('main', 'day', NULL); SELECT leadlex.alter_provider('main', config => '{\"price\": null}')");
    check(
        "SELECT leadlex.limit_credits(id, 0) FROM leadlex.workspace",
        ("error", "workspace acme", "no credit is left"),
        "SELECT leadlex.limit_credits(id, 10) FROM leadlex.workspace",
    );
    check(
        "INSERT INTO leadlex.shared_value (workspace_id, value, kind, names) SELECT id, gen_random_uuid(), 'email', 4 FROM leadlex.workspace",
        ("warning", "workspace acme", "1 values of the kind email"),
        "UPDATE leadlex.shared_value SET allowed = true",
    );
    const TRIGGER: &str =
        "CREATE TRIGGER enrich AFTER INSERT ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert()";
    world.run(TRIGGER);
    assert_eq!(problems(&world), []);
    check(
        "ALTER TABLE crm RENAME TO crm_old; CREATE TABLE crm (LIKE crm_old INCLUDING ALL); INSERT INTO crm SELECT * FROM crm_old;
         GRANT SELECT, UPDATE ON crm TO caller",
        ("warning", "table public.crm", "replaced by a table without its trigger"),
        TRIGGER,
    );
    check(
        "GRANT UPDATE, DELETE ON leadlex.credit_pending TO caller",
        ("error", "role caller", "UPDATE, DELETE on leadlex.credit_pending"),
        "REVOKE UPDATE, DELETE ON leadlex.credit_pending FROM caller",
    );
    check(
        "GRANT SELECT ON leadlex.provider_secret TO PUBLIC",
        ("error", "role PUBLIC", "SELECT on leadlex.provider_secret"),
        "REVOKE SELECT ON leadlex.provider_secret FROM PUBLIC",
    );
    check(
        "GRANT CREATE ON SCHEMA leadlex TO caller",
        ("error", "role caller", "may create objects"),
        "REVOKE CREATE ON SCHEMA leadlex FROM caller",
    );
    check(
        "GRANT EXECUTE ON FUNCTION leadlex.resume(), leadlex.stop(text) TO PUBLIC",
        ("error", "role PUBLIC", "PUBLIC may call what is for administrators: leadlex.resume, leadlex.stop"),
        "REVOKE EXECUTE ON FUNCTION leadlex.resume() FROM PUBLIC; REVOKE EXECUTE ON FUNCTION leadlex.stop(text) FROM PUBLIC",
    );
    check(
        "GRANT pg_read_all_data TO caller",
        ("warning", "role caller", "secrets"),
        "REVOKE pg_read_all_data FROM caller",
    );
    let mut monitor = {
        world.run("CREATE ROLE monitor LOGIN IN ROLE pg_monitor; SELECT leadlex.stop('x')");
        world.cluster.connect_as("app", "monitor")
    };
    let seen = monitor.query("SELECT subject FROM leadlex.check()", &[]).unwrap();
    assert_eq!(seen.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["requests"]);
    assert_eq!(sqlstate(&world.caller().query("SELECT * FROM leadlex.check()", &[])), "42501");
}

#[test]
fn dead_jobs_pauses_workers_and_full_memory_are_told() {
    let conf = ["leadlex.job_max_attempts = 1", "leadlex.max_contacts_in_flight = 1024"];
    let world = World::with(&Beginning { contacts: 900, credits: None, conf: &conf, ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(400, json!({})));
    world.caller().execute("SELECT leadlex.enqueue(ARRAY[$1::uuid])", &[&contact(1)]).unwrap();
    eventually("the job is dead", SOON, || {
        has(&world, "warning", "workspace acme", "1 queued jobs were given up")
    });
    world.run("DELETE FROM leadlex.job_set");
    world.provider.on(PATH, |_| Behaviour::json(402, json!({})));
    assert!(enrich(&mut world.caller(), 1).is_err());
    assert!(has(&world, "error", "provider main", "it is paused: quota"), "{:?}", problems(&world));
    world.end_pauses();
    world.provider.on(PATH, |request| {
        Behaviour::json(200, only_phone(&format!("+1202555 {}", request.param("email").unwrap())))
    });
    let (mut caller, ids) = (world.caller(), (1..=900).map(contact).collect::<Vec<Uuid>>());
    let mut open = caller.transaction().unwrap();
    open.execute("SELECT count(*) FROM enrich_contacts($1)", &[&ids]).unwrap();
    let full = "900 of 1024 places";
    assert!(has(&world, "warning", "leadlex.max_contacts_in_flight", full), "{:?}", problems(&world));
    eventually("the log says so", SOON, || world.cluster.log().contains(&format!("{full} in shared memory")));
    open.rollback().unwrap();
    assert_eq!(problems(&world), []);
    world.cluster.set("leadlex.max_job_workers", "0");
    world.caller().execute("SELECT leadlex.enqueue(ARRAY[$1::uuid])", &[&contact(1)]).unwrap();
    assert!(has(&world, "warning", "leadlex.max_job_workers", "jobs wait"), "{:?}", problems(&world));
}

#[test]
fn without_a_background_worker_check_and_status_say_so() {
    let conf = ["max_worker_processes = 1"];
    let world = World::with(&Beginning { conf: &conf, ..Beginning::default() });
    assert!(has(&world, "error", "launcher", "no background worker runs"), "{:?}", problems(&world));
    let sql = "SELECT state FROM leadlex.status WHERE area = 'queue'";
    assert_eq!(world.owner().query_one(sql, &[]).unwrap().get::<_, String>(0), "no background worker");
}

#[test]
fn triggers_of_ours_that_were_switched_are_told_of_with_what_mends_them() {
    let world = World::with(&Beginning::default());
    world.run("ALTER TABLE leadlex.enrichment ENABLE TRIGGER ALL; ALTER TABLE leadlex.suppression DISABLE TRIGGER ALL");
    let mut owner = world.owner();
    let sql = "SELECT remedy FROM leadlex.check() WHERE problem LIKE 'its triggers were switched%' ORDER BY subject";
    let remedies: Vec<String> = owner.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(remedies.len(), 2, "{remedies:?}");
    remedies.iter().for_each(|remedy| owner.batch_execute(remedy).unwrap());
    assert_eq!(problems(&world), []);
}

#[test]
fn a_worker_that_finds_no_process_is_told_of() {
    // The launcher has the only one.
    let conf = ["max_worker_processes = 1", "max_logical_replication_workers = 0"];
    let world = World::with(&Beginning { conf: &conf, ..Beginning::default() });
    enrich(&mut world.caller(), 1).unwrap();
    eventually("check says so", Duration::from_secs(60), || {
        has(&world, "error", "worker", "max_worker_processes is used up")
    });
    world.run("ALTER SYSTEM SET max_worker_processes = 8");
    world.cluster.restart(Stop::Fast);
    enrich(&mut world.caller(), 2).unwrap();
    eventually("all is well", SOON, || problems(&world).is_empty());
}

#[test]
fn too_many_providers_are_told_of_before_their_places_are_used_up() {
    let world = World::with(&Beginning { conf: &["leadlex.max_providers = 16"], ..Beginning::default() });
    let (mut owner, notices) = world.listening("postgres");
    let mut add = |n: i32| {
        let sql = "SELECT leadlex.add_provider($1, config => $2, secret => 'x', priority => $3)";
        owner.execute(sql, &[&format!("p{n}"), &world.provider.config(PATH), &n]).unwrap();
        notices.take().iter().filter(|notice| notice.message.contains("leadlex.max_providers is 16")).count()
    };
    for n in 2..=12 {
        assert_eq!(add(n), 0, "{n} of 16");
    }
    assert_eq!(problems(&world), []);
    assert_eq!(add(13), 1);
    let line = "13 providers are enabled in this database, and shared memory has 16 places";
    assert!(has(&world, "warning", "leadlex.max_providers", line), "{:?}", problems(&world));
    world.run("SELECT leadlex.enable_provider('p13', false)");
    assert_eq!(problems(&world), []);
    // Each that is asked takes a place; one that finds none takes that of another, which is counted.
    for n in 14..=20 {
        add(n);
    }
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    assert!(enrich(&mut world.caller(), 1).is_err());
    let lost =
        problems(&world).into_iter().find(|(_, _, problem)| problem.contains("found no place, or lost it"));
    assert!(lost.is_some(), "{:?}", problems(&world));
}

/// One line for each thing that a person on call asks for.
fn lines(world: &World, area: &str) -> Vec<(String, String, String)> {
    let sql = "SELECT subject, state, coalesce(detail, '') FROM leadlex.status WHERE area = $1";
    let rows = world.owner().query(sql, &[&area]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[test]
fn a_workspace_without_a_provider_is_a_line() {
    let world = World::with(&Beginning { credits: Some(10), ..Beginning::default() });
    let other = "SELECT leadlex.create_workspace('other', 5, 'unmetered')";
    let other: uuid::Uuid = world.owner().query_one(other, &[]).unwrap().get(0);
    assert_eq!(problems(&world), [], "main is everybody's");
    let config = world.provider.config(crate::world::PATH);
    world.run("SELECT leadlex.drop_provider('main')");
    assert!(has(&world, "error", "providers", "there is none"), "{:?}", problems(&world));
    let own = format!(
        "SELECT leadlex.add_provider('own', config => '{config}', secret => 's', workspace_id => '{other}')"
    );
    comes_and_goes(
        &world,
        &own,
        ("error", "workspace acme", "no provider is enabled for it"),
        &format!("SELECT leadlex.add_provider('main', config => '{config}', secret => 's')"),
    );
}

/// What a request costs beside its answer counts, too: the login that it wants first, and polls of what it hands in.
#[test]
fn a_budget_that_lets_nothing_new_through_is_out_or_kept() {
    let world = World::with(&Beginning { credits: Some(10), ..Beginning::default() });
    let state = || lines(&world, "budget")[0].1.clone();
    let price = json!({"currency": "USD", "per_request": 1, "per_match": 1});
    let steps = json!([
        {"request": {"method": "POST", "url": world.provider.url("/jobs"), "query": {"email": "{email}"}},
         "response": {"pending": {"status": []}}, "take": {"ticket": "/id"}},
        {"request": {"url": world.provider.url("/job"), "query": {"id": "{ticket}"}},
         "response": {"pending": {"body": [{"pointer": "/status", "in": ["running"]}]}, "fields": {"phone": "/data/phone"}}}
    ]);
    let later = json!({"identify_by": [["email"]], "poll_every_s": 1, "poll_for_s": 10, "steps": steps, "price": price});
    world.provider.on("/jobs", |_| Behaviour::json(202, json!({"id": "job-1"})));
    world.provider.on("/job", |_| Behaviour::json(200, json!({"status": "running"})));
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("later", &later);
    world.cluster.set("leadlex.total_timeout", "300ms");
    let asks = |n: i32| {
        assert!(
            crate::world::enrich(&mut world.caller(), n).is_err(),
            "it is still to come, or there is no money"
        );
        world.provider.count_of("/jobs")
    };
    world.run("SELECT leadlex.set_budget('later', 'total', 1.5)");
    assert_eq!((state().as_str(), asks(1)), ("out", 0), "too little for any");
    // One request, one answer and ten polls; with less there is one at a time.
    world.run("SELECT leadlex.set_budget('later', 'total', 11)");
    assert_eq!((state().as_str(), asks(1)), ("ok", 1));
    for amount in [11, 20] {
        world.run(&format!("SELECT leadlex.set_budget('later', 'total', {amount})"));
        assert_eq!((state().as_str(), asks(2)), ("kept", 1));
    }
    world.run("SELECT leadlex.drop_provider('later')");
    let login = json!({"request": {"method": "POST", "url": world.provider.url("/login")}, "take": {"token": "/token"}});
    let mut config = world.provider.config(crate::world::PATH);
    config["login"] = login;
    config["request"]["headers"] = json!({"X-Api-Key": "{token}"});
    config["price"] = price;
    world.add_provider("main", &config);
    world.run("SELECT leadlex.set_budget('main', 'day', 2.5)");
    assert_eq!(state(), "out", "a request, its answer and a login");
    world.run("SELECT leadlex.set_budget('main', 'day', 3)");
    assert_eq!(state(), "ok");
}

#[test]
fn a_budget_that_is_kept_for_what_is_under_way_says_so() {
    let world = World::with(&Beginning { credits: Some(10), ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    world.run("SELECT leadlex.alter_provider('main', config => '{\"price\": {\"currency\": \"USD\", \"per_match\": 0.28}}'), leadlex.set_budget('main', 'day', 0.40)");
    let mut caller = world.caller();
    std::thread::scope(|scope| {
        let held = world.provider.hold();
        let call = scope.spawn(|| crate::world::enrich(&mut caller, 1).map(drop));
        world.provider.wait_for(1, SOON);
        let until = "0.28 of 0.4 USD of this day are used: no request that it concerns and that asks something new is sent until requests under way";
        assert!(has(&world, "warning", "budget of provider main", until), "{:?}", problems(&world));
        assert_eq!(lines(&world, "budget")[0].1, "kept");
        drop(held);
        assert!(call.join().unwrap().is_err(), "nothing was found");
    });
    assert_eq!(problems(&world), []);
}

#[test]
fn one_query_tells_how_things_stand() {
    let world = World::with(&Beginning { contacts: 40, credits: Some(100), ..Beginning::default() });
    world.provider.on(PATH, |request| {
        let phone = only_phone(&format!("+1202555 {}", request.param("email").unwrap()));
        Behaviour::json(200, phone).after(Duration::from_millis(300))
    });
    let text = |parts: (&str, &str, &str)| (parts.0.to_owned(), parts.1.to_owned(), parts.2.to_owned());
    assert_eq!(lines(&world, "requests"), [text(("app", "sent", ""))]);
    assert_eq!(lines(&world, "queue"), [text(("app", "works", "0 queued, 0 running, 0 dead"))]);
    assert_eq!(lines(&world, "credits"), [text(("acme", "left", "100"))]);
    assert_eq!(lines(&world, "launcher"), [text(("", "running", ""))]);
    world.run("SELECT leadlex.alter_provider('main', '{\"price\": {\"currency\": \"USD\", \"per_match\": 0.1}}'), leadlex.set_budget('main', 'month', 50)");
    let budget = lines(&world, "budget");
    assert_eq!((budget[0].0.as_str(), budget[0].1.as_str()), ("main, month", "ok"), "{budget:?}");
    assert!(budget[0].2.starts_with("0 of 50 USD used, begins anew at 2"), "{budget:?}");
    world.run("SELECT leadlex.set_budget('main', 'total', 5)");
    assert!(lines(&world, "budget").iter().any(|line| line.2 == "0 of 5 USD used"), "{budget:?}");
    world.run("SELECT leadlex.set_budget('main', 'total', NULL)");
    assert!(!lines(&world, "provider")[0].2.contains("last failure"), "there was none");
    assert_eq!(lines(&world, "spend"), []);
    assert_eq!(lines(&world, "provider")[0].1, "ok");
    let mut caller = world.caller();
    let ids: Vec<Uuid> = (1..=40).map(contact).collect();
    let set = std::thread::spawn(move || {
        caller.execute("SELECT count(*) FROM enrich_contacts($1)", &[&ids]).unwrap()
    });
    world.provider.wait_for(33, SOON);
    let runs = lines(&world, "runs");
    assert!(runs.len() == 1 && runs[0].2.contains("of 40 contacts done"), "{runs:?}");
    set.join().unwrap();
    world.run("SELECT leadlex.stop('the budget is gone')");
    world.caller().execute("SELECT leadlex.enqueue(ARRAY[$1::uuid])", &[&contact(1)]).unwrap();
    assert_eq!(lines(&world, "requests"), [text(("app", "stopped", "by postgres: the budget is gone"))]);
    assert_eq!(lines(&world, "queue"), [text(("app", "stopped", "1 queued, 0 running, 0 dead"))]);
    assert_eq!(
        lines(&world, "waits"),
        [text(("public.crm", "next", "1 contact: requests are stopped: the budget is gone"))]
    );
    let spent = [text(("main", "today", "40 requests, 40 matches, 4 USD"))];
    eventually("spend is written", Duration::from_secs(2), || lines(&world, "spend") == spent);
    // Until when, and why.
    world.run("UPDATE crm SET phone = NULL; TRUNCATE leadlex.receipt; SELECT leadlex.set_budget('main', 'month', 4)");
    world.run("SELECT leadlex.resume()");
    eventually("it waits for money", SOON, || {
        let waits = lines(&world, "waits");
        waits.iter().any(|(_, state, detail)| {
            state.starts_with("until 2") && detail.contains(": main: not asked: the budget of this month")
        })
    });
    assert_eq!(lines(&world, "budget")[0].1, "out");
    world.provider.on(PATH, |_| Behaviour::json(402, json!({"error": "pay"})));
    world.run("SELECT leadlex.set_budget('main', 'month', NULL)");
    eventually("the vendor wants money", SOON, || {
        let provider = lines(&world, "provider");
        let (state, detail) = (&provider[0].1, &provider[0].2);
        state == "quota"
            && detail.starts_with("until 2")
            && detail.contains("; last failure: ")
            && detail.contains("402")
    });
    // As after a restore.
    world.run("DELETE FROM leadlex.provider_secret");
    let without = lines(&world, "provider");
    assert!(!without.is_empty() && without.iter().all(|(_, state, _)| state == "no secret"), "{without:?}");
    world.run("CREATE ROLE monitor LOGIN IN ROLE pg_monitor");
    let count = |role: &str| {
        let mut client = world.cluster.connect_as("app", role);
        client.query("SELECT * FROM leadlex.status", &[]).map(|rows| rows.len())
    };
    assert!(count("monitor").unwrap() >= 6);
    assert_eq!(sqlstate(&count("caller")), "42501");
}

use super::*;
use crate::support::fails;
use crate::world::{credits, pid};
use uuid::Uuid;

/// A worker that waited for the launcher's naptime (an hour here) would miss every deadline by far.
const NO_POLLING: &[&str] = &["leadlex.worker_naptime = 3600"];

#[test]
fn what_is_queued_is_done_after_the_commit_and_at_once() {
    let world = world(&Beginning { conf: NO_POLLING, ..Beginning::default() });
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    assert_eq!(enqueue(&mut transaction, 1..=3), 3);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.provider.count(), 0, "not before the commit");
    transaction.commit().unwrap();
    wait_for(&world, "done", 3);
    assert_eq!((filled(&world), world.provider.count()), (3, 3));
    // The worker settles them in the moment after its commit, which others can see before that.
    eventually("they are charged", SOON, || credits(&mut caller) == Some(7));
    let by = "SELECT count(*) FROM leadlex.enrichment WHERE requested_by = 'caller'";
    assert_eq!(world.number(by), 3, "as the role that queued it");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job WHERE outcome = 'enriched'"), 3);
    // Also when no worker lingers any more, and when one does.
    eventually("the worker has left", SOON, || {
        world.number("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'leadlex_enrich job worker'")
            == 0
    });
    enqueue(&mut caller, 4..=4);
    wait_for(&world, "done", 4);
    enqueue(&mut caller, 5..=5);
    wait_for(&world, "done", 5);
}

#[test]
fn a_second_attempt_is_woken_by_its_time() {
    // Later than its worker stays.
    let conf = &["leadlex.worker_naptime = 3600", "leadlex.job_retry_base = '2s'"];
    let world = world(&Beginning { conf, ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(500, serde_json::json!({})));
    enqueue(&mut world.caller(), 1..=1);
    world.provider.wait_for(1, SOON);
    answers(&world);
    wait_for(&world, "done", 1);
}

#[test]
fn what_is_rolled_back_was_never_queued() {
    let world = world(&Beginning::default());
    let mut caller = world.caller();
    let mut transaction = caller.transaction().unwrap();
    enqueue(&mut transaction, 1..=3);
    transaction.rollback().unwrap();
    let mut transaction = caller.transaction().unwrap();
    let mut savepoint = transaction.savepoint("s").unwrap();
    enqueue(&mut savepoint, 4..=5);
    savepoint.rollback().unwrap();
    enqueue(&mut transaction, 6..=6);
    transaction.commit().unwrap();
    wait_for(&world, "done", 1);
    assert_eq!((filled(&world), world.number("SELECT count(*) FROM leadlex.job")), (1, 1));
    world.check_credits_add_up();
}

#[test]
fn arguments_are_checked_when_it_is_queued() {
    let world = world(&Beginning { conf: &["max_prepared_transactions = 5"], ..Beginning::default() });
    world.run("CREATE TABLE other (id uuid); CREATE ROLE stranger LOGIN");
    let mut caller = world.caller();
    let one = contact(1);
    let mut refused = |sql: &str| fails(caller.batch_execute(sql)).sqlstate;
    for (sql, sqlstate) in [
        (format!("leadlex.enqueue(ARRAY['{one}', NULL]::uuid[])"), "LX400"),
        (format!("leadlex.enqueue('{{{one}}}', '{{shoe_size}}')"), "LX400"),
        (format!("leadlex.enqueue('{{{one}}}', '{{}}')"), "LX400"),
        ("leadlex.enqueue_rows('crm', '{none}')".to_owned(), "LX400"),
        ("leadlex.enqueue_rows(NULL, '{none}')".to_owned(), "LX400"),
        (format!("leadlex.enqueue_rows('other', '{{{one}}}')"), "55000"),
    ] {
        assert_eq!(refused(&format!("SELECT {sql}")), sqlstate, "{sql}");
    }
    assert_eq!(
        refused(&format!(
            "SELECT set_config('leadlex.api_key', 'wbk_0', false), leadlex.enqueue('{{{one}}}')"
        )),
        "LX401"
    );
    assert_eq!(
        refused(&format!("BEGIN READ ONLY; RESET leadlex.api_key; SELECT leadlex.enqueue('{{{one}}}')")),
        "25006"
    );
    caller.batch_execute("ROLLBACK; RESET leadlex.api_key").unwrap();
    let sql = format!("BEGIN; SELECT leadlex.enqueue('{{{one}}}'); PREPARE TRANSACTION 'p'");
    assert_eq!(fails(caller.batch_execute(&sql)).sqlstate, "0A000");
    caller.batch_execute("ROLLBACK").unwrap();
    let mut stranger = world.cluster.connect_as("app", "stranger");
    assert_eq!(fails(stranger.query_one("SELECT leadlex.enqueue($1)", &[&vec![one]])).sqlstate, "LX401");
    world.run("SELECT leadlex.revoke_access('caller', id), leadlex.grant_access('caller', id, '{read}') FROM leadlex.workspace");
    assert_eq!(fails(caller.query_one("SELECT leadlex.enqueue($1)", &[&vec![one]])).sqlstate, "LX403");
    world.run("SELECT leadlex.grant_access('caller', id) FROM leadlex.workspace");

    pause(&world);
    let none: i64 = caller.query_one("SELECT leadlex.enqueue(NULL)", &[]).unwrap().get(0);
    assert_eq!(none, 0);
    assert_eq!(enqueue(&mut caller, 1..1), 0);
    assert_eq!(enqueue(&mut caller, [1, 2, 1].into_iter()), 2, "each once");
    let of = |n: i32| {
        let id = contact(n).to_string().replace('4', "a");
        format!("SELECT leadlex.enqueue_rows('crm', '{{{id}, {}}}', NULL, NULL)", id.to_uppercase())
    };
    world.run("UPDATE crm SET id = replace(id::text, '4', 'a')::uuid");
    assert_eq!(number(&mut caller, &of(3)), 1, "also in two spellings");
    assert_eq!(number(&mut caller, &of(3)), 0, "and no more");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job WHERE contact_id LIKE '%-a000-%'"), 1);
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn ten_thousand_contacts_drain() {
    let count = 10_000;
    let world = world(&Beginning { credits: None, contacts: count, ..Beginning::default() });
    let mut caller = world.caller();
    assert_eq!(enqueue(&mut caller, 1..=count), i64::from(count));
    let sets = "SELECT count(*) FROM leadlex.job_set";
    assert!(world.number(sets) >= 20);
    let begun = Instant::now();
    let mut owner = world.owner();
    eventually("all are done", 8 * SOON, || {
        number(&mut owner, "SELECT done::int8 FROM leadlex.queue") == i64::from(count)
    });
    println!("10,000 contacts in {:?}", begun.elapsed());
    assert_eq!((filled(&world), world.provider.count()), (i64::from(count), count as usize));
    assert_eq!(world.number("SELECT count(DISTINCT (id, contact_id)) FROM leadlex.job"), i64::from(count));
    assert_eq!(world.number("SELECT count(DISTINCT id) FROM leadlex.job"), i64::from(count));
}

#[test]
fn a_job_keeps_its_name_when_its_neighbours_go_their_own_way() {
    let world = world(&Beginning::default());
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person2@acme.example") => Behaviour::json(404, serde_json::json!({})),
        Some("person3@acme.example") => Behaviour::json(500, serde_json::json!({})),
        email => Behaviour::json(200, only_phone(&format!("+1202555 {}", email.unwrap_or("?")))),
    });
    pause(&world);
    let mut caller = world.caller();
    enqueue(&mut caller, 1..=4);
    let sql = "SELECT contact_id, id FROM leadlex.job ORDER BY 1";
    let names = |client: &mut Client| -> Vec<(String, Uuid)> {
        client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let before = names(&mut caller);
    assert_eq!(before.len(), 4);
    resume(&world);
    world.provider.wait_for(6, SOON);
    answers(&world);
    wait_for(&world, "done", 4);
    assert_eq!(names(&mut caller), before);
    let outcomes = "SELECT string_agg(outcome, ' ' ORDER BY contact_id) FROM leadlex.job";
    let outcomes: String = caller.query_one(outcomes, &[]).unwrap().get(0);
    assert_eq!(outcomes, "enriched no_match enriched enriched");
}

#[test]
fn everybody_sees_the_jobs_of_his_own_workspaces() {
    let world = world(&Beginning::default());
    world.run(
        "CREATE ROLE other LOGIN; CREATE ROLE stranger LOGIN;
         SELECT leadlex.grant_access('other', leadlex.create_workspace('globex', 5))",
    );
    pause(&world);
    enqueue(&mut world.caller(), 1..=2);
    let mut other = world.cluster.connect_as("app", "other");
    let seen = |client: &mut Client| {
        let view = number(client, "SELECT count(*) FROM leadlex.job");
        assert_eq!(view, number(client, "SELECT queued::int8 FROM leadlex.queue"));
        view
    };
    assert_eq!((seen(&mut world.caller()), seen(&mut other), seen(&mut world.owner())), (2, 0, 2));
    assert_eq!(seen(&mut world.cluster.connect_as("app", "stranger")), 0);
    let sql = "SELECT paused_because FROM leadlex.queue";
    let why: Option<String> = other.query_one(sql, &[]).unwrap().get(0);
    assert_eq!(why.as_deref(), Some("pause_queue"));
    for sql in
        ["SELECT FROM leadlex.job_set", "SELECT leadlex.pause_queue()", "SELECT leadlex.resume_queue()"]
    {
        assert_eq!(fails(other.batch_execute(sql)).sqlstate, "42501", "{sql}");
    }
    let retried: i64 = other.query_one("SELECT leadlex.retry_jobs('queued')", &[]).unwrap().get(0);
    assert_eq!(retried, 0, "nor touches those of others");
}

#[test]
fn a_worker_shows_what_it_does() {
    let world = world(&Beginning::default());
    hangs_for(&world, 1);
    enqueue(&mut world.caller(), 1..=1);
    let worker = wait_for_worker(&world, 1);
    let mut owner = world.owner();
    assert_ne!(worker, pid(&mut owner));
    let sql = "SELECT usename::text, application_name FROM pg_stat_activity WHERE pid = $1";
    let row = owner.query_one(sql, &[&worker]).unwrap();
    assert_eq!((row.get(0), row.get(1)), ("caller", "leadlex_enrich jobs"));
    let sql =
        "SELECT role, state, database FROM leadlex.worker_status WHERE process = 'job worker' AND pid = $1";
    let row = owner.query_one(sql, &[&worker]).unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("caller", "running", "app"));
    let progress = "SELECT count(*) FROM leadlex.job WHERE state = 'running' AND attempts = 1 AND started_at IS NOT NULL";
    assert_eq!(number(&mut owner, progress), 1);
}

#[test]
fn what_is_queued_one_by_one_is_asked_about_in_parallel_too() {
    let world = world(&Beginning { contacts: 30, credits: None, ..Beginning::default() });
    // Nobody is answered before twenty have asked.
    let asking = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    world.provider.on(PATH, move |request| {
        use std::sync::atomic::Ordering;
        asking.fetch_add(1, Ordering::SeqCst);
        let until = Instant::now() + Duration::from_secs(4);
        while asking.load(Ordering::SeqCst) < 20 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        match asking.load(Ordering::SeqCst) {
            20.. if request.param("email") == Some("person5@acme.example") => {
                Behaviour::json(404, serde_json::json!({}))
            }
            20.. => Behaviour::json(
                200,
                only_phone(&format!("+1202555 {}", request.param("email").unwrap_or("nobody"))),
            ),
            _ => Behaviour::json(500, serde_json::json!({})),
        }
    });
    enqueue_one_by_one(&world, 1..=20);
    wait_for(&world, "done", 20);
    assert_eq!((filled(&world), world.provider.count()), (19, 20));
    let jobs = "SELECT count(DISTINCT j.id) FROM leadlex.job AS j, crm AS c WHERE attempts = 1 AND c.id::text = contact_id
                  AND outcome = CASE WHEN phone IS NULL THEN 'no_match' ELSE 'enriched' END";
    assert_eq!(world.number(jobs), 20, "each is a job of its own");
    // Those that ask for something else are another run.
    world.run("UPDATE crm SET phone = NULL");
    pause(&world);
    let mut caller = world.caller();
    for (n, field) in [(21, "phone"), (22, "location"), (23, "phone")] {
        caller.query("SELECT leadlex.enqueue($1, $2)", &[&vec![contact(n)], &vec![field]]).unwrap();
    }
    resume(&world);
    wait_for(&world, "done", 23);
    let sql = "SELECT string_agg(outcome, ' ' ORDER BY contact_id) FROM leadlex.job WHERE contact_id >= $1";
    let outcomes: String = world.owner().query_one(sql, &[&contact(21).to_string()]).unwrap().get(0);
    assert_eq!(outcomes, "enriched unchanged enriched");
    assert_eq!((world.phone(21).is_some(), world.phone(22).is_some()), (true, false));
}

//! What is queued again while it waits is one job, and what is gone is no failure.

use serde_json::json;

use super::*;

fn jobs(world: &World) -> i64 {
    world.number("SELECT count(*) FROM leadlex.job")
}

/// The last NOTICE of a statement.
fn notice(world: &World, sql: &str) -> String {
    let (mut caller, told) = world.listening("caller");
    caller.batch_execute(sql).unwrap();
    told.messages().pop().unwrap_or_default()
}

#[test]
fn what_waits_is_not_queued_again() {
    let world = world(&Beginning { contacts: 700, credits: None, ..Beginning::default() });
    pause(&world);
    let mut caller = world.caller();
    assert_eq!(enqueue(&mut caller, 1..=50), 50);
    for _ in 0..9 {
        assert_eq!(enqueue(&mut caller, 1..=50), 0);
    }
    assert_eq!((enqueue(&mut caller, 41..=60), jobs(&world)), (10, 60));
    // In one transaction, one by one, and very many.
    let mut transaction = caller.transaction().unwrap();
    assert_eq!([61, 61, 60, 62].map(|n| enqueue(&mut transaction, n..=n)), [1, 0, 0, 1]);
    transaction.commit().unwrap();
    assert_eq!(enqueue(&mut caller, 1..=700), 638);
    assert_eq!((enqueue(&mut caller, 1..=700), jobs(&world)), (0, 700));
    eventually("the worker has entered all of them", SOON, || {
        world.number("SELECT count(*) FROM leadlex.job_set WHERE marks IS NULL") == 0
    });
    assert_eq!([enqueue(&mut caller, 1..=700), enqueue(&mut caller, 123..=321)], [0, 0]);
    resume(&world);
    wait_for(&world, "done", 700);
    assert_eq!(world.provider.count(), 700);
    assert_eq!(enqueue(&mut caller, 1..=2), 2, "what is done does not wait");
}

#[test]
fn only_the_same_or_less_of_the_same_caller_waits_already() {
    let world = world(&Beginning { credits: None, ..Beginning::default() });
    world.run(
        "CREATE ROLE other LOGIN; GRANT SELECT, UPDATE ON crm TO other;
         SELECT leadlex.grant_access('other', id) FROM leadlex.workspace",
    );
    pause(&world);
    let ask = |client: &mut Client, fields: &str, overwrite: bool| -> i64 {
        let fields: Option<Vec<&str>> = (!fields.is_empty()).then(|| fields.split(' ').collect());
        let ids = vec![contact(1), contact(2)];
        client.query_one("SELECT leadlex.enqueue($1, $2, $3)", &[&ids, &fields, &overwrite]).unwrap().get(0)
    };
    let mut caller = world.caller();
    for (fields, overwrite, expected) in [
        ("phone", false, 2),
        ("phone", false, 0),
        ("phone location", false, 2),
        ("location", false, 0),
        ("phone", true, 2),
        ("phone", true, 0),
        ("phone", false, 0),
        ("", true, 2),
        ("seniority phone", true, 0),
        ("", false, 0),
    ] {
        assert_eq!(ask(&mut caller, fields, overwrite), expected, "{fields} {overwrite}");
    }
    let mut other = world.cluster.connect_as("app", "other");
    assert_eq!([ask(&mut other, "phone", false), ask(&mut other, "phone", false)], [2, 0]);
    let key: String = {
        let sql = "SELECT leadlex.create_api_key(id) FROM leadlex.workspace";
        world.owner().query_one(sql, &[]).unwrap().get(0)
    };
    other.execute("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    assert_eq!([ask(&mut other, "phone", false), ask(&mut other, "phone", false)], [2, 0]);
}

#[test]
fn triggers_queue_nothing_again_either_and_what_they_skip_sees_what_was_written() {
    let world = world(&Beginning { credits: None, ..Beginning::default() });
    world.run(
        "CREATE TRIGGER again AFTER UPDATE OF email ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert()",
    );
    pause(&world);
    // Each by a statement of its own: rows of one statement wait together.
    let touch = "UPDATE crm SET email = 'x' || email WHERE id = $1";
    let mut owner = world.owner();
    for n in (1..=4).cycle().take(12) {
        owner.execute(touch, &[&contact(n)]).unwrap();
    }
    assert_eq!(jobs(&world), 4);
    // The job that waits is not run with the address as it was before.
    let mut editing = owner.transaction().unwrap();
    editing.execute("UPDATE crm SET email = 'late@acme.example' WHERE id = $1", &[&contact(1)]).unwrap();
    resume(&world);
    wait_for(&world, "done", 3);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job WHERE state = 'queued'"), 1);
    editing.commit().unwrap();
    wait_for(&world, "done", 4);
    assert_eq!((world.phone(1).as_deref(), jobs(&world)), (Some("+1202555 late@acme.example"), 4));
}

#[test]
fn a_failing_vendor_is_not_asked_once_for_each_repetition() {
    let conf = &["leadlex.job_max_attempts = 3"];
    let world = world(&Beginning { contacts: 50, credits: None, conf, ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})));
    pause(&world);
    let mut caller = world.caller();
    for _ in 0..10 {
        enqueue(&mut caller, 1..=50);
    }
    resume(&world);
    wait_for(&world, "dead", 50);
    assert_eq!((jobs(&world), world.provider.count()), (50, 150));
}

/// What runs does not wait: it may have read the contact as it was before. When it waits again, it is one job.
#[test]
fn what_is_queued_again_while_it_runs_is_one_job_when_it_waits() {
    let conf = &["leadlex.job_max_attempts = 3", "leadlex.job_retry_base = '2s'"];
    let world = world(&Beginning { contacts: 60, credits: None, conf, ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})).after(Duration::from_secs(1)));
    let mut caller = world.caller();
    let queued: i64 = (0..10).map(|_| enqueue(&mut caller, 1..=20)).sum();
    assert!(queued == 20 || queued == 40, "{queued}");
    wait_for_worker(&world, 1);
    let queued = queued + enqueue(&mut caller, 11..=40);
    let more = "SELECT leadlex.enqueue($1, overwrite => true)";
    assert_eq!(caller.query_one(more, &[&vec![contact(5)]]).unwrap().get::<_, i64>(0), 1);
    assert!(queued > 40 && jobs(&world) == queued + 1, "{queued}");
    wait_for(&world, "dead", 41);
    assert_eq!(jobs(&world), 41, "each once, but for the one that was wanted for more");
    let of = "SELECT count(*) FROM leadlex.job AS j WHERE attempts <> 3 OR NOT EXISTS (SELECT FROM crm WHERE id::text = contact_id)";
    assert_eq!(world.number(of), 0);
    assert_eq!(world.number("SELECT count(*) - count(DISTINCT id) FROM leadlex.job"), 0);
}

/// Each sees only its own; what both queue is run once.
#[test]
fn two_sessions_that_queue_the_same_at_once_make_it_run_once() {
    let world = world(&Beginning { credits: None, ..Beginning::default() });
    pause(&world);
    let (mut one, mut two) = (world.caller(), world.caller());
    let mut first = one.transaction().unwrap();
    let mut second = two.transaction().unwrap();
    assert_eq!((enqueue(&mut first, 1..=3), enqueue(&mut second, 1..=3)), (3, 3));
    first.commit().unwrap();
    second.commit().unwrap();
    // While it waits several may look at it at once, and nobody waits for anybody.
    let mut third = one.transaction().unwrap();
    let mut fourth = two.transaction().unwrap();
    assert_eq!((enqueue(&mut third, 1..=3), enqueue(&mut fourth, 1..=3)), (0, 0));
    third.commit().unwrap();
    fourth.commit().unwrap();
    resume(&world);
    wait_for(&world, "done", 6);
    assert_eq!(world.provider.count(), 3);
    let enriched = "SELECT count(*) FROM leadlex.job WHERE outcome = 'enriched'";
    assert_eq!(world.number(enriched), 3, "contacts are counted, not repetitions");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job WHERE outcome = 'unchanged'"), 3);
}

#[test]
fn a_batch_counts_contacts_not_repetitions() {
    let world = world(&Beginning { credits: None, ..Beginning::default() });
    let batch = |chunk: i32, from: i32| {
        let ids: Vec<String> = (0..25).map(|n| contact(from + n % 5).to_string()).collect();
        let sql = format!("CALL leadlex.enrich_batch('crm', '{{{}}}', chunk => {chunk})", ids.join(","));
        notice(&world, &sql)
    };
    for (chunk, from) in [(100, 1), (4, 6)] {
        let said = batch(chunk, from);
        assert!(said.starts_with("5 contacts done: 5 enriched, 0 unchanged"), "{said}");
    }
}

#[test]
fn a_contact_that_is_gone_is_done_with() {
    let world = world(&Beginning { credits: None, ..Beginning::default() });
    pause(&world);
    enqueue(&mut world.caller(), 1..=4);
    world.owner().execute("DELETE FROM crm WHERE id = $1", &[&contact(2)]).unwrap();
    resume(&world);
    wait_for(&world, "done", 4);
    let outcomes = "SELECT string_agg(outcome, ' ' ORDER BY contact_id) FROM leadlex.job";
    let outcomes: String = world.owner().query_one(outcomes, &[]).unwrap().get(0);
    assert_eq!(outcomes, "enriched gone enriched enriched");
    assert_eq!(world.number("SELECT dead::int8 FROM leadlex.queue"), 0);
}

/// Contacts that begin with this digit; nothing else is known of them.
fn many_contacts(world: &World, of: i32, count: i32) {
    world.run(&format!(
        "INSERT INTO crm (id) SELECT ('{of}0000000-0000-4000-8000-' || lpad(g::text, 12, '0'))::uuid FROM generate_series(1, {count}) AS g;
         ANALYZE crm"
    ));
}

/// While the worker enters what was queued, it is found all the same.
#[test]
fn what_the_worker_is_about_to_enter_is_not_queued_again() {
    let world = world(&Beginning { credits: None, contacts: 1, ..Beginning::default() });
    pause(&world);
    let mut caller = world.caller();
    let many = |of: i32| {
        format!(
            "SELECT leadlex.enqueue(array_agg(('{of}0000000-0000-4000-8000-' || lpad(g::text, 12, '0'))::uuid)) FROM generate_series(1, 20000) AS g"
        )
    };
    for of in 1..=4 {
        many_contacts(&world, of, 20_000);
        assert_eq!(number(&mut caller, &many(of)), 20_000);
        for round in 0..5 {
            assert_eq!(number(&mut caller, &many(of)), 0, "{of} {round}");
        }
    }
    assert_eq!(jobs(&world), 80_000);
}

/// Half a million contacts that wait: one more is looked up among them, not compared with all. The bounds are those of a
/// machine that does other things, too; `make bench` measures.
#[test]
fn a_long_queue_is_looked_through_quickly() {
    let world = world(&Beginning { credits: None, contacts: 1, ..Beginning::default() });
    pause(&world);
    many_contacts(&world, 1, 600_020);
    let many = "SELECT leadlex.enqueue(array_agg(('10000000-0000-4000-8000-' || lpad(g::text, 12, '0'))::uuid)) FROM generate_series(1, 500000) AS g";
    let mut caller = world.caller();
    assert_eq!(number(&mut caller, many), 500_000);
    eventually("the worker has entered all of them", 4 * SOON, || {
        world.number("SELECT count(*) FROM leadlex.job_set WHERE marks IS NULL") == 0
    });
    let one = |caller: &mut Client, n: i32| {
        let sql = format!("SELECT leadlex.enqueue(ARRAY['10000000-0000-4000-8000-{n:012}'::uuid])");
        let begun = Instant::now();
        assert_eq!(number(caller, &sql), i64::from(n > 500_000), "{n}");
        begun.elapsed()
    };
    one(&mut caller, 4_711);
    let slowest =
        (0..20).map(|n| one(&mut caller, if n % 2 == 0 { 1 + n * 20_000 } else { 600_000 + n })).max();
    println!("among 500,000: {slowest:?}");
    assert!(slowest.unwrap() < Duration::from_secs(1), "{slowest:?}");
    let begun = Instant::now();
    assert_eq!(number(&mut caller, many), 0);
    println!("all of them again: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
}

//! What is queued with a lower priority is begun first.

use std::time::Duration;

use postgres::Client;

use super::{rows, world};
use crate::support::eventually;
use crate::world::{World, contact, number};

const SOON: Duration = Duration::from_secs(30);

fn queue(client: &mut Client, from: i32, to: i32, more: &str) -> i64 {
    let ids: Vec<uuid::Uuid> = (from..=to).map(contact).collect();
    client.query_one(&format!("SELECT leadlex.enqueue($1, '{{phone}}'{more})"), &[&ids]).unwrap().get(0)
}

fn wait(world: &World) {
    eventually("the queue is through", SOON, || {
        number(&mut world.owner(), "SELECT count(*) FROM leadlex.job WHERE state NOT IN ('done', 'dead')")
            == 0
    });
}

#[test]
fn the_best_are_begun_before_those_that_were_queued_before_them() {
    // One worker: two begin at the same moment, each with what is first then.
    let world = world(140, &["leadlex.max_people_per_value = -1", "leadlex.max_job_workers = 1"]);
    world.run("SELECT leadlex.pause_queue()");
    let mut caller = world.caller();
    assert_eq!(queue(&mut caller, 1, 90, ""), 90);
    assert_eq!(queue(&mut caller, 91, 140, ", priority => -5"), 50);
    let sql = "SELECT leadlex.enqueue_rows('crm', ARRAY[$1::text], '{job_title}', priority => 7)";
    assert_eq!(caller.query_one(sql, &[&contact(1).to_string()]).unwrap().get::<_, i64>(0), 1);
    assert_eq!(
        rows(&mut caller, "SELECT priority, count(*) AS n FROM leadlex.job GROUP BY 1 ORDER BY 1"),
        [(-5, 50), (0, 90), (7, 1)].map(|(priority, n)| serde_json::json!({"priority": priority, "n": n}))
    );
    world.run("SELECT leadlex.resume_queue()");
    wait(&world);
    let order = "SELECT count(*) FROM leadlex.job AS a JOIN leadlex.job AS b ON a.priority < b.priority AND a.started_at >= b.started_at";
    let told = rows(
        &mut world.owner(),
        "SELECT priority, attempts, started_at, finished_at, outcome, last_error, count(*) FROM leadlex.job GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 3",
    );
    assert_eq!(world.number(order), 0, "{told:?}");
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 140);
}

/// The worker's look at the queue begins while that is paused, and finds it resumed: what was queued in between counts.
#[test]
fn what_is_queued_while_a_worker_begins_comes_by_its_priority_too() {
    let world = world(41, &["leadlex.max_people_per_value = -1", "leadlex.max_job_workers = 1"]);
    let mut caller = world.caller();
    assert_eq!(queue(&mut caller, 41, 41, ""), 1);
    wait(&world);
    world.run("SELECT leadlex.pause_queue()");
    // What it knows by then it need not look up again.
    caller.batch_execute("SELECT leadlex.queue_paused(); SET statement_timeout = '20s'").unwrap();
    let mut holder = world.owner();
    let mut held = holder.transaction().unwrap();
    held.batch_execute("LOCK TABLE leadlex.stopped IN ACCESS EXCLUSIVE MODE").unwrap();
    assert_eq!(queue(&mut caller, 1, 20, ""), 20);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'leadlex%' AND wait_event_type = 'Lock'";
    eventually("a worker has begun to look", SOON, || world.number(waits) > 0);
    assert_eq!(queue(&mut caller, 21, 40, ", priority => -5"), 20);
    world.run("SELECT leadlex.resume_queue()");
    held.rollback().unwrap();
    wait(&world);
    let early = "SELECT count(*) FROM leadlex.job AS best, leadlex.job AS other
                 WHERE best.priority = -5 AND other.priority = 0 AND other.id <> (SELECT id FROM leadlex.job ORDER BY created_at LIMIT 1)
                   AND other.started_at < best.started_at";
    assert_eq!(world.number(early), 0);
}

/// Who waits with a priority that is no worse is not queued again; who waits with a worse one is, and is asked about once.
#[test]
fn a_contact_that_waits_is_queued_again_only_for_a_better_place() {
    let world = world(4, &[]);
    world.run("SELECT leadlex.pause_queue()");
    let mut caller = world.caller();
    assert_eq!(queue(&mut caller, 1, 4, ", priority => 3"), 4);
    for (more, queued) in [
        (", priority => 3", 0),
        (", priority => 9", 0),
        (", priority => 1", 4),
        (", priority => NULL", 4),
        ("", 0),
    ] {
        assert_eq!(queue(&mut caller, 1, 4, more), queued, "{more}");
    }
    world.run("SELECT leadlex.resume_queue()");
    wait(&world);
    assert_eq!((world.provider.count(), world.number("SELECT count(*) FROM leadlex.enrichment")), (4, 4));
}

//! For whom the credit of a queued rest was charged: the rest of another question costs one, of the same none.

use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};

use super::vendor::{Ready, Slow, phone, with_title, world};
use crate::support::eventually;
use crate::world::{World, credits, enrich};

const LONG: Duration = Duration::from_secs(40);

/// The vendor gives a title at once, and the phone later.
fn world_of_two(ready: Ready, more: Value) -> (World, Slow, Client) {
    let (world, slow) = world(ready, json!({}));
    world.run("SELECT leadlex.drop_provider('main')");
    world.cluster.set("leadlex.total_timeout", "1500ms");
    world.add_provider("main", &with_title(&world.provider, more));
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    (world, slow, caller)
}

fn wait_for_no_job(world: &World) {
    eventually("no job waits", LONG, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state IN ('queued', 'running')") == 0
    });
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job WHERE state = 'dead'"), 0);
}

fn charges(world: &World) -> i64 {
    world.number("SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1")
}

#[test]
fn the_rest_of_another_person_costs_a_credit_like_any_call() {
    let (world, slow, mut caller) =
        world_of_two(Ready::After(Duration::from_secs(2)), json!({"poll_every_s": 3}));
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["pending"], &result["credits_remaining"]), (&json!(true), &json!(9)));
    world.run("UPDATE crm SET email = 'person99@acme.example' WHERE email = 'person1@acme.example'");
    wait_for_no_job(&world);
    assert_eq!(world.phone(1), Some(phone("person99@acme.example")), "of who it is by now");
    assert_eq!((slow.submissions(), slow.most_of_one()), (2, 1));
    assert_eq!((credits(&mut caller), charges(&world)), (Some(8), 2));
    world.check_credits_add_up();
}

#[test]
fn what_the_provider_is_not_asked_with_makes_no_other_question() {
    let (world, slow, mut caller) =
        world_of_two(Ready::After(Duration::from_secs(2)), json!({"poll_every_s": 3}));
    enrich(&mut caller, 1).unwrap();
    world.run(
        "UPDATE crm SET full_name = 'Another Name', email = ' PERSON1@acme.example ', location = 'Kiel'",
    );
    wait_for_no_job(&world);
    assert_eq!(world.phone(1), Some(phone("person1@acme.example")));
    assert_eq!((slow.submissions(), credits(&mut caller), charges(&world)), (1, Some(9), 1));
}

#[test]
fn without_a_credit_the_rest_of_another_person_is_not_asked_about() {
    let (world, slow, mut caller) =
        world_of_two(Ready::After(Duration::from_secs(2)), json!({"poll_every_s": 3}));
    world.run("SELECT leadlex.grant_credits(id, -9) FROM leadlex.workspace");
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 0);
    world.run("UPDATE crm SET email = 'person99@acme.example' WHERE email = 'person1@acme.example'");
    let waits = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND last_error ~ 'credit'";
    eventually("the job waits for a credit", LONG, || world.number(waits) == 1);
    assert_eq!((slow.submissions(), world.phone(1)), (1, None));
    world.check_credits_add_up();
}

#[test]
fn a_rest_that_was_charged_takes_the_place_of_one_that_was_not() {
    // Nothing comes at first, so the first rest would be charged by its job; the second call is charged by itself.
    let (world, slow, mut caller) =
        world_of_two(Ready::After(Duration::from_secs(4)), json!({"poll_every_s": 3}));
    let sql = "SELECT enrich_contact($1, '{phone}')";
    let id = crate::world::contact(1);
    let first: Value = caller.query_one(sql, &[&id]).unwrap().get(0);
    assert_eq!((&first["fields_updated"], &first["pending"]), (&json!([]), &json!(true)));
    let visited = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND started_at IS NOT NULL";
    eventually("it was looked at once", LONG, || world.number(visited) == 1);
    let mut transaction = caller.transaction().unwrap();
    let second = enrich(&mut transaction, 1).unwrap();
    assert_eq!((&second["fields_updated"], &second["credits_remaining"]), (&json!(["job_title"]), &json!(9)));
    assert_eq!(
        crate::world::number(&mut transaction, "SELECT count(*) FROM leadlex.job"),
        1,
        "the other is gone"
    );
    transaction.commit().unwrap();
    wait_for_no_job(&world);
    assert_eq!(world.phone(1), Some(phone("person1@acme.example")));
    assert_eq!((slow.submissions(), credits(&mut caller), charges(&world)), (1, Some(9), 1));
}

#[test]
fn who_calls_again_about_another_person_pays_once_for_both_rests() {
    let (world, slow, mut caller) =
        world_of_two(Ready::After(Duration::from_secs(4)), json!({"poll_every_s": 4}));
    enrich(&mut caller, 1).unwrap();
    world.run("UPDATE crm SET job_title = NULL, email = 'person99@acme.example' WHERE email = 'person1@acme.example'");
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 8);
    wait_for_no_job(&world);
    assert_eq!(world.phone(1), Some(phone("person99@acme.example")));
    assert_eq!((slow.submissions(), credits(&mut caller), charges(&world)), (2, Some(8), 2));
}

#[test]
fn a_rest_of_another_person_does_not_begin_anew_while_that_of_a_later_call_runs() {
    let (world, slow, mut caller) =
        world_of_two(Ready::After(Duration::from_secs(2)), json!({"poll_every_s": 2}));
    world.run("SELECT leadlex.pause_queue()");
    enrich(&mut caller, 1).unwrap();
    // It has failed once: the later call does not take its place.
    world.run("UPDATE leadlex.job_set SET attempts = 1, next_attempt_at = now()");
    world.run("UPDATE crm SET job_title = NULL, email = 'person99@acme.example' WHERE email = 'person1@acme.example'");
    assert_eq!(enrich(&mut caller, 1).unwrap()["credits_remaining"], 8);
    // The later one as a worker has begun it; that worker is away, so that it counts as interrupted.
    let begun = "UPDATE leadlex.job_set SET state = 'running', attempts = 1, started_at = now(), next_attempt_at = now() + interval '3 s'
                 WHERE attempts = 0";
    assert_eq!(world.owner().execute(begun, &[]).unwrap(), 1);
    world.run("SELECT leadlex.resume_queue()");
    wait_for_no_job(&world);
    assert_eq!(world.phone(1), Some(phone("person99@acme.example")));
    assert_eq!((slow.submissions(), credits(&mut caller), charges(&world)), (2, Some(8), 2));
}

#[test]
fn what_a_job_has_charged_for_is_known_too() {
    // The job hands it in, writes the title for a credit, and waits for the phone.
    let (world, slow, mut caller) =
        world_of_two(Ready::After(Duration::from_secs(2)), json!({"poll_every_s": 3}));
    caller.execute("SELECT leadlex.enqueue(ARRAY[$1::uuid])", &[&crate::world::contact(1)]).unwrap();
    eventually("the title is there", LONG, || charges(&world) == 1);
    world.run("UPDATE crm SET email = 'person99@acme.example' WHERE email = 'person1@acme.example'");
    wait_for_no_job(&world);
    assert_eq!(world.phone(1), Some(phone("person99@acme.example")));
    assert_eq!((slow.submissions(), credits(&mut caller), charges(&world)), (2, Some(8), 2));
}

#[test]
fn each_contact_of_a_set_is_paid_for_by_itself_also_when_one_is_forgotten() {
    let (world, slow, mut caller) =
        world_of_two(Ready::After(Duration::from_secs(2)), json!({"poll_every_s": 4}));
    let ids: Vec<uuid::Uuid> = (1..=4).map(crate::world::contact).collect();
    caller.query("SELECT FROM enrich_contacts($1)", &[&ids]).unwrap();
    assert_eq!((credits(&mut caller), charges(&world)), (Some(6), 4));
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job_set"), 1, "all in one row");
    caller.query("SELECT leadlex.forget_contact($1)", &[&ids[0]]).unwrap();
    let apart = "SELECT count(*) FROM leadlex.job_set WHERE cardinality(paid_for) = 3 AND contacts = 3";
    assert_eq!(world.number(apart), 1);
    world.run("UPDATE crm SET email = 'person99@acme.example' WHERE email = 'person3@acme.example'");
    wait_for_no_job(&world);
    let phones = [world.phone(2), world.phone(3), world.phone(4)];
    let expected = ["person2", "person99", "person4"].map(|who| Some(phone(&format!("{who}@acme.example"))));
    assert_eq!(phones, expected);
    assert_eq!((slow.submissions(), credits(&mut caller)), (5, Some(5)));
}

//! What an open transaction holds keeps the worker from nothing else.

use std::thread;
use std::time::Duration;

use postgres::Client;

use crate::support::{eventually, fails};
use crate::world::{Beginning, World, contact, credits, enrich, number};

/// `caller` may ask again about the person of the first contact, in the row of the second one, while the first is held.
fn world() -> World {
    let world = World::with(&Beginning { contacts: 30, credits: Some(1_000), ..Beginning::default() });
    world.run(&format!(
        "UPDATE crm SET (email, full_name) = (SELECT f.email, f.full_name FROM crm AS f WHERE f.id = '{}') WHERE id = '{}'",
        contact(1),
        contact(2)
    ));
    world
}

/// For whom all answers until now are too old.
fn asks_anew(world: &World) -> Client {
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.receipt_ttl = '1s'").unwrap();
    thread::sleep(Duration::from_millis(1_100));
    caller
}

fn put_off(world: &World) -> i64 {
    world.number("SELECT sum(put_off)::int8 FROM leadlex.worker_status")
}

#[test]
fn an_answer_whose_receipt_an_open_transaction_holds_waits_alone() {
    for change in [
        "SELECT status FROM leadlex.revert_provider('main', now() - interval '1 hour')",
        "SELECT leadlex.forget_contact('00000000-0000-4000-8000-000000000001')",
    ] {
        let world = world();
        let mut open = world.caller();
        enrich(&mut open, 1).unwrap();
        open.batch_execute(&format!("BEGIN; {change}")).unwrap();
        let mut caller = asks_anew(&world);
        caller.execute("SELECT enrich_contact($1, overwrite => true)", &[&contact(2)]).unwrap();
        assert_eq!(world.provider.count(), 2, "asked again");
        eventually("the worker has met the lock", Duration::from_secs(10), || put_off(&world) == 1);
        caller.batch_execute("RESET leadlex.receipt_ttl").unwrap();
        let ids: Vec<_> = (3..=30).map(contact).collect();
        caller.execute("SELECT * FROM enrich_contacts($1)", &[&ids]).unwrap();
        let receipts = "SELECT count(*) FROM leadlex.receipt WHERE person IS NOT NULL";
        eventually("all others are in the tables", Duration::from_secs(10), || world.number(receipts) >= 28);
        let mut owner = world.owner();
        let told = "SELECT count(*) FROM leadlex.check() WHERE problem LIKE '1 answers%'";
        assert_eq!((put_off(&world), number(&mut owner, told)), (1, 1));
        let errors = "SELECT count(*) FROM leadlex.worker_status WHERE last_error IS NOT NULL";
        assert_eq!(world.number(errors), 0);
        // What is about another provider or workspace does not wait for it.
        owner
            .batch_execute(
                "SELECT leadlex.add_provider('spare', config => config, secret => 's') FROM leadlex.provider WHERE name = 'main';
                 SELECT leadlex.recheck('spare', now()), leadlex.drop_provider('spare');
                 SELECT leadlex.drop_workspace(leadlex.create_workspace('empty', NULL, 'unmetered'))",
            )
            .unwrap();
        let failure = fails(owner.query("SELECT leadlex.recheck('main', now())", &[]));
        assert_eq!(failure.sqlstate, "55000", "{failure:?}");
        // What needs no other answer is undone; what needs that one says why it is not.
        let undo = "SELECT leadlex.revert_enrichment(e.request_id) FROM leadlex.enrichment AS e WHERE e.contact_id = $1";
        assert_eq!(caller.query(undo, &[&contact(3).to_string()]).unwrap().len(), 1);
        let failure = fails(caller.query("SELECT leadlex.forget_contact($1)", &[&contact(2)]));
        assert_eq!(failure.sqlstate, "55000", "{failure:?}");
        assert!(
            failure.detail.as_deref().is_some_and(|detail| detail.contains("holds the rows")),
            "{failure:?}"
        );
        open.batch_execute("COMMIT").unwrap();
        eventually("it is in the tables", Duration::from_secs(10), || put_off(&world) == 0);
        caller.execute("SELECT leadlex.forget_contact($1)", &[&contact(2)]).unwrap();
        assert!(credits(&mut caller).is_some());
    }
}

/// Of many that are held up, in turn with as many that are not.
#[test]
fn a_set_of_which_half_is_held_up_is_written_by_half() {
    let world = World::with(&Beginning { contacts: 900, credits: None, ..Beginning::default() });
    // Each second one of the last 600 is somebody of the first 300.
    world.run(
        "UPDATE crm AS c SET (email, full_name) = (SELECT f.email, f.full_name FROM crm AS f
             WHERE right(f.id::text, 12)::int = (right(c.id::text, 12)::int - 300) / 2)
         WHERE right(c.id::text, 12)::int > 300 AND right(c.id::text, 12)::int % 2 = 0",
    );
    let mut open = world.caller();
    let set = "SELECT count(*) FROM enrich_contacts($1, overwrite => true)";
    let ids = |from: i32, to: i32| (from..=to).map(contact).collect::<Vec<_>>();
    open.execute(set, &[&ids(1, 300)]).unwrap();
    open.batch_execute(
        "BEGIN; SELECT status FROM leadlex.revert_provider('main', now() - interval '1 hour')",
    )
    .unwrap();
    let mut caller = asks_anew(&world);
    caller.execute(set, &[&ids(301, 900)]).unwrap();
    assert_eq!(world.provider.count(), 900, "asked again");
    let receipts = "SELECT count(*) FROM leadlex.receipt";
    eventually("what is not held up is written", Duration::from_secs(10), || {
        put_off(&world) == 300 && world.number(receipts) == 600
    });
    open.batch_execute("ROLLBACK").unwrap();
    eventually("the rest is written", Duration::from_secs(10), || put_off(&world) == 0);
}

//! Own values only.

use std::time::Duration;

use serde_json::{Value, json};

use super::{main_supplies, phone_of, rows, world};
use crate::support::{Behaviour, eventually};
use crate::world::{PATH, World, contact, enrich, number};

const OWN: &str = "SET leadlex.overwrite_scope = 'own'";

/// Numbers: 1 and 4 bought, 2 bought and typed over, 3 typed. The vendor has new ones.
fn mixed() -> World {
    let world = world(4, &["leadlex.receipt_ttl = 0", "leadlex.recheck_after = 0"]);
    world.run("SELECT leadlex.enable_provider('other', false)");
    world.run(&format!("UPDATE crm SET phone = '+12025550103' WHERE id = '{}'", contact(3)));
    let mut caller = world.caller();
    for n in [1, 2, 4] {
        enrich(&mut caller, n).unwrap();
    }
    world.run(&format!("UPDATE crm SET phone = '+12025550102' WHERE id = '{}'", contact(2)));
    main_supplies(&world, "556");
    world.provider.forget();
    world
}

fn check(world: &World, what: &str) {
    assert_eq!(world.phone(1), Some(phone_of("556", 1)), "{what}");
    assert_eq!(world.phone(2).as_deref(), Some("+12025550102"), "{what}: typed over");
    assert_eq!(world.phone(3).as_deref(), Some("+12025550103"), "{what}: typed");
    assert_eq!(world.provider.count(), 2, "{what}: a person's value is not asked for");
}

#[test]
fn overwrite_leaves_what_a_person_typed() {
    let sql = "SELECT enrich_contact($1, '{phone}', overwrite => true)";
    let single = mixed();
    let mut caller = single.caller();
    caller.batch_execute(OWN).unwrap();
    for n in 1..=4 {
        let result: Value = caller.query_one(sql, &[&contact(n)]).unwrap().get(0);
        let expected = if n == 1 || n == 4 { json!(["phone"]) } else { json!([]) };
        assert_eq!(result["fields_updated"], expected, "{n}");
    }
    check(&single, "one by one");
    // By default it replaces whatever stands there.
    caller.batch_execute("RESET leadlex.overwrite_scope").unwrap();
    caller.execute(sql, &[&contact(3)]).unwrap();
    assert_eq!(single.phone(3), Some(phone_of("556", 3)));

    let set = mixed();
    let mut caller = set.caller();
    caller.batch_execute(OWN).unwrap();
    let all = "ARRAY(SELECT id FROM crm ORDER BY id), '{phone}', overwrite => true";
    let estimate = rows(
        &mut caller,
        "SELECT outcome, contacts FROM leadlex.estimate('crm', ARRAY(SELECT id::text FROM crm), '{phone}', true)",
    );
    assert_eq!(
        estimate,
        [json!({"outcome": "asked", "contacts": 2}), json!({"outcome": "skipped", "contacts": 2})]
    );
    let lines = rows(&mut caller, &format!("SELECT status FROM enrich_contacts({all})"));
    let status = |status: &str| json!({"status": status});
    assert_eq!(lines, [status("enriched"), status("unchanged"), status("unchanged"), status("enriched")]);
    check(&set, "in a set");

    let queue = mixed();
    queue.run("ALTER ROLE caller SET leadlex.overwrite_scope = 'own'");
    queue.caller().batch_execute(&format!("SELECT leadlex.enqueue({all})")).unwrap();
    eventually("the queue is through", Duration::from_secs(20), || {
        number(&mut queue.owner(), "SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 4
    });
    check(&queue, "by the queue");
}

#[test]
fn what_is_typed_while_the_provider_is_asked_stays() {
    let world = mixed();
    world
        .provider
        .on(PATH, |_| Behaviour::json(200, json!({"likelihood": 9, "data": {"phone": "+15560199999"}})));
    for set in [false, true] {
        let n = if set { 4 } else { 1 };
        let mut caller = world.caller();
        caller.batch_execute(OWN).unwrap();
        let asked = world.provider.count();
        std::thread::scope(|scope| {
            let held = world.provider.hold();
            let call = scope.spawn(|| {
                let sql = match set {
                    true => "SELECT * FROM enrich_contacts(ARRAY[$1::uuid], '{phone}', overwrite => true)",
                    false => "SELECT enrich_contact($1, '{phone}', overwrite => true)",
                };
                caller.query(sql, &[&contact(n)]).map(drop)
            });
            world.provider.wait_for(asked + 1, Duration::from_secs(10));
            world.run(&format!("UPDATE crm SET phone = '+12025550177' WHERE id = '{}'", contact(n)));
            drop(held);
            call.join().unwrap().unwrap();
        });
        assert_eq!(world.phone(n).as_deref(), Some("+12025550177"), "set: {set}");
    }
}

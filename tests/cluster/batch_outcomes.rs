//! One question of a set is asked once, also where no receipt tells what came of it.

use std::time::Duration;

use serde_json::json;

use crate::support::{Behaviour, person};
use crate::world::{Beginning, PATH, World, only_phone};

/// Forty rows that are one person, and two others.
fn world(answer: fn() -> Behaviour) -> World {
    let world = World::with(&Beginning { contacts: 42, credits: Some(100), ..Beginning::default() });
    world.run("UPDATE crm SET full_name = 'Same Person', email = 'same@acme.example' WHERE email NOT IN ('person1@acme.example', 'person2@acme.example')");
    world.provider.on(PATH, move |request| match request.param("email") {
        Some("same@acme.example") => answer(),
        _ => Behaviour::json(200, person()),
    });
    world
}

/// How many rows ended in each way, and how many requests the forty took.
fn enrich_all(world: &World, overwrite: bool) -> (Vec<(String, i64)>, usize) {
    world.provider.forget();
    let sql = "SELECT coalesce(error_code, status), count(*)
               FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id), ARRAY['phone'], $1) GROUP BY 1 ORDER BY 1";
    let rows = world.caller().query(sql, &[&overwrite]).unwrap();
    let ends = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let asked = world.provider.requests();
    (ends, asked.iter().filter(|request| request.param("email") == Some("same@acme.example")).count())
}

fn ends<const N: usize>(expected: [(&str, i64); N]) -> Vec<(String, i64)> {
    expected.into_iter().map(|(what, count)| (what.to_owned(), count)).collect()
}

#[test]
fn a_question_that_fails_is_asked_once() {
    for answer in [
        || Behaviour::json(500, json!({})),
        || Behaviour::Close,
        || Behaviour::Reset,
        || {
            Behaviour::Raw(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n{\"a\"".to_vec(),
            )
        },
    ] {
        let world = world(answer);
        let (rows, asked) = enrich_all(&world, false);
        assert_eq!((rows, asked), (ends([("enriched", 2), ("provider_unavailable", 40)]), 1));
        world.check_credits_add_up();
        // The next set asks again.
        world.provider.on(PATH, |_| Behaviour::json(200, person()));
        assert_eq!(enrich_all(&world, false).1, 1);
    }
}

#[test]
fn with_overwrite_nothing_is_found_once() {
    for answer in [|| Behaviour::json(404, json!({})), || Behaviour::json(200, only_phone("N/A"))] {
        let world = world(answer);
        for _ in 0..2 {
            let (rows, asked) = enrich_all(&world, true);
            assert_eq!(asked, 1, "{rows:?}");
            assert!(rows.contains(&("no_match".to_owned(), 40)), "{rows:?}");
        }
    }
}

#[test]
fn with_overwrite_what_is_found_is_for_all_of_them() {
    let world = world(|| Behaviour::json(200, only_phone("+15550001111")));
    assert_eq!(enrich_all(&world, true), (ends([("enriched", 42)]), 1));
}

#[test]
fn the_chunks_of_a_batch_are_one_set() {
    let world = world(|| Behaviour::json(500, json!({})));
    world.provider.forget();
    let rows = world.caller().query("SELECT id::text FROM crm ORDER BY id", &[]).unwrap();
    let ids: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let sql = format!("CALL leadlex.enrich_batch('crm', '{{{}}}', '{{phone}}', 5)", ids.join(","));
    world.caller().batch_execute(&sql).unwrap();
    let asked = world.provider.requests();
    let same = asked.iter().filter(|request| request.param("email") == Some("same@acme.example"));
    assert_eq!((same.count(), asked.len()), (1, 3));
    world.check_credits_add_up();
}

#[test]
fn the_notice_counts_each_contact_once() {
    let world = World::with(&Beginning {
        contacts: 3,
        conf: &["leadlex.provider_timeout = '10s'", "leadlex.total_timeout = '20s'"],
        ..Beginning::default()
    });
    // Two end without a match, and the last is there when it is time for a NOTICE.
    world.provider.on(PATH, |request| match request.param("email") {
        Some("person3@acme.example") => Behaviour::json(200, person()).after(Duration::from_millis(5_500)),
        _ => Behaviour::json(404, json!({})),
    });
    let (mut caller, told) = world.listening("caller");
    caller.execute("SELECT FROM enrich_contacts(ARRAY(SELECT id FROM crm))", &[]).unwrap();
    let told = told.messages().join("\n");
    assert!(told.starts_with("3 of 3 contacts done, 0 failed"), "{told}");
}

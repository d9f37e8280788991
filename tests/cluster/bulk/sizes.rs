//! How large an answer about several contacts may be.

use serde_json::json;

use super::{ALL, answers_but, asked, check_whose, counts, enrich_all, hit, outcomes, requests, world_of};
use crate::support::Behaviour;
use crate::support::dice::number_of;
use crate::world::{World, contact, memory, pid};

/// What a vendor tells of a person's past where it tells all, as text: it is large, and the same for all.
fn past() -> String {
    let of = |at: usize| json!({"company": {"name": format!("Company {at}"), "location": "x".repeat(900)}, "title": {"name": "Tester"}, "summary": "y".repeat(900)});
    json!((0..60).map(of).collect::<Vec<_>>()).to_string()
}

#[test]
fn an_answer_with_a_hundred_full_records_fits() {
    let world = world_of(300, Some(1_000), 100);
    let past = past();
    world.provider.on(ALL, move |request| {
        let full = |number| {
            let record = hit(number).to_string();
            format!("{},\"experience\":{past}}}", &record[..record.len() - 1])
        };
        let body = format!("[{}]", asked(request).into_iter().map(full).collect::<Vec<_>>().join(","));
        assert!(body.len() > 10_000_000);
        let response = crate::support::Response::json(200, &json!(null));
        Behaviour::Answer(crate::support::Response { body: body.into_bytes(), ..response })
    });
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=300)), counts([("enriched", 300)]));
    assert_eq!((requests(&world), check_whose(&world)), (vec![100; 3], 300));
    let kept = memory(backend);
    assert!(kept < 100_000, "{kept} kB");
}

#[test]
fn the_cap_is_that_of_one_answer_for_each_contact() {
    let world = world_of(4, Some(100), 4);
    set(&world, "leadlex.max_response_size", "4kB");
    let long = |request: &crate::support::http::Request, bytes: usize| {
        answers_but(request, |number| {
            let mut answer = hit(number);
            answer["more"] = json!("x".repeat(bytes));
            Some(answer)
        })
    };
    // Each is below 4 kB, all are more than that.
    world.provider.on(ALL, move |request| Behaviour::json(200, long(request, 3_500)));
    assert_eq!(outcomes(&enrich_all(&mut world.caller(), 1..=4)), counts([("enriched", 4)]));
    // All that a session reads together has a limit of its own.
    world.run("UPDATE crm SET phone = NULL");
    set(&world, "leadlex.max_bulk_response_size", "8kB");
    set(&world, "leadlex.receipt_ttl", "0");
    let rows = enrich_all(&mut world.caller(), 1..=4);
    assert_eq!(outcomes(&rows), counts([("provider_unavailable", 4)]));
    let message: String = rows[0].get("error_message");
    assert!(message.contains("larger than 8192 bytes"), "{message}");
}

#[test]
fn many_elements_leave_memory_and_descriptors_as_they_were() {
    let count = number_of("LEADLEX_BULK_ELEMENTS", 6_000) as i32;
    let world = world_of(count, None, 100);
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    let mut set = |from: i32, to: i32| {
        let sql = "SELECT count(*) FILTER (WHERE status = 'enriched')
                   FROM enrich_contacts((SELECT array_agg(id) FROM crm WHERE id BETWEEN $1 AND $2), '{phone}')";
        let enriched: i64 = caller.query_one(sql, &[&contact(from), &contact(to)]).unwrap().get(0);
        assert_eq!(enriched, i64::from(to - from + 1));
        (memory(backend), connections(backend))
    };
    // Sets of one size, which ask as much at once. How many threads come to hold memory of their own depends on what else runs: in the
    // end one set adds nothing to what the one before had. What each of them left behind would be added by each.
    const SETS: i32 = 8;
    let size = count / SETS;
    let used: Vec<(u64, usize)> = (0..SETS).map(|n| set(n * size + 1, (n + 1) * size)).collect();
    println!("sets of {size}, kB and files: {used:?}");
    let mut grown: Vec<i64> = used.windows(2).map(|pair| pair[1].0 as i64 - pair[0].0 as i64).collect();
    grown.sort_unstable();
    assert!(grown[2] < 900, "{used:?}");
    assert!(used[7].1 <= used[4].1 + 2, "{used:?}");
}

/// Sockets, pipes and the like. Which files of tables are open is up to Postgres.
fn connections(backend: i32) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{backend}/fd")).unwrap();
    entries
        .filter(|entry| entry.as_ref().unwrap().path().read_link().is_ok_and(|at| at.is_relative()))
        .count()
}

/// For sessions that begin after this.
fn set(world: &World, name: &str, value: &str) {
    world.run(&format!("ALTER DATABASE app SET {name} = '{value}'"));
}

//! `leadlex.spend`: all that a vendor can bill, whatever became of the transaction.

use std::time::Duration;

use serde_json::{Value, json};

use super::{a_match, configure, spend_adds_up, spend_is, text, world};
use crate::support::{Behaviour, Response, fails};
use crate::world::{PATH, World, contact, enrich, only_phone, pid, try_enrich};

/// The contract's, and a slow machine's.
const SOON: Duration = Duration::from_millis(1_500);

#[test]
fn a_request_shows_within_a_second_whatever_became_of_its_transaction() {
    let world = world(10, a_match(0.28));
    let mut caller = world.caller();
    let told = enrich(&mut caller, 1).unwrap();
    assert_eq!(told["cost"], json!({"USD": 0.28}));
    spend_is(&world, SOON, "main 1/1/1/1 0.28");
    let mut transaction = caller.transaction().unwrap();
    enrich(&mut transaction, 2).unwrap();
    transaction.rollback().unwrap();
    spend_is(&world, SOON, "main 2/2/2/1 0.56");
    // From the receipt: nothing is sent.
    let told = enrich(&mut caller, 2).unwrap();
    assert_eq!(told["cost"], json!({}));
    spend_is(&world, SOON, "main 2/2/2/2 0.56");
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let _ = enrich(&mut caller, 3);
    world.provider.on(PATH, |_| Behaviour::json(500, json!({})));
    let _ = enrich(&mut caller, 4);
    spend_is(&world, SOON, "main 4/2/2/2 0.56");
    let day = text(
        &mut world.owner(),
        "SELECT ((now() AT TIME ZONE 'UTC')::date = min(day))::text FROM leadlex.spend",
    );
    assert_eq!(day, "true");
    let roles = text(
        &mut world.owner(),
        "SELECT string_agg(role || ' ' || requests, ', ') FROM leadlex.spend_by_role",
    );
    assert_eq!(roles, "caller 4");
}

#[test]
fn sets_jobs_and_trials_count_like_calls() {
    let world = world(10, json!({"currency": "EUR", "per_request": 0.01, "per_field": {"phone": 0.1}}));
    let ids = "SELECT array_agg(id) FROM crm WHERE email < 'person5'";
    let mut caller = world.caller();
    // person1, person10, person2, person3, person4.
    caller.batch_execute(&format!("SELECT count(*) FROM enrich_contacts(({ids}))")).unwrap();
    spend_is(&world, SOON, "main 5/5/5/5 0.55");
    caller.batch_execute("SELECT leadlex.enqueue(array_agg(id)) FROM crm WHERE email > 'person5'").unwrap();
    spend_is(&world, Duration::from_secs(10), "main 10/10/10/10 1.1");
    world.run("SELECT leadlex.check_provider('main', '{\"email\": \"somebody@acme.example\"}')");
    spend_is(&world, SOON, "main 1/1/1/0 0.11, main 10/10/10/10 1.1");
    let nobody = "SELECT requests::text FROM leadlex.spend WHERE workspace_id = '00000000-0000-0000-0000-000000000000'";
    assert_eq!(text(&mut world.owner(), nobody), "1");
    let roles = "SELECT string_agg(role || ' ' || requests, ', ' ORDER BY role) FROM leadlex.spend_by_role WHERE role <> session_user";
    assert_eq!(text(&mut world.owner(), roles), "caller 10");
}

#[test]
fn an_answer_that_comes_after_a_cancel_is_paid_for() {
    let world = world(10, a_match(0.28));
    world.provider.on(PATH, |_| {
        Behaviour::json(200, crate::world::only_phone("+12025550123")).after(Duration::from_millis(700))
    });
    let mut caller = world.caller();
    world.abandon(&mut caller, 1);
    spend_is(&world, Duration::from_secs(3), "main 1/1/1/0 0.28");
}

/// Its connection was used before, so the session goes on with the request itself.
#[test]
fn what_is_under_way_when_its_session_ends_may_have_been_billed() {
    for how in ["SET statement_timeout = '300ms'", "SELECT 1"] {
        let world = world(10, a_match(0.28));
        world.run("SELECT leadlex.set_budget('main', 'total', 10)");
        let mut caller = world.caller();
        enrich(&mut caller, 1).unwrap();
        world.provider.on(PATH, |_| Behaviour::Never);
        caller.batch_execute(how).unwrap();
        let (asked, backend) = (world.provider.count(), pid(&mut caller));
        std::thread::scope(|scope| {
            // The client goes as soon as its call has failed, or is terminated.
            let call = scope.spawn(move || enrich(&mut caller, 2).map_err(drop));
            world.provider.wait_for(asked + 1, Duration::from_secs(10));
            if how == "SELECT 1" {
                world.run(&format!("SELECT pg_terminate_backend({backend}, 5000)"));
            }
            let _ = call.join();
        });
        spend_is(&world, Duration::from_secs(3), "main 2/1/1/1 0.28, main -/-/-/- 0.28");
        assert_eq!(text(&mut world.owner(), "SELECT used::text FROM leadlex.budget"), "0.56", "{how}");
    }
}

/// Only the login went out; the request after it, of which the money is kept free, did not.
#[test]
fn a_session_that_ends_while_it_logs_in_has_sent_the_login_alone() {
    let world = world(10, json!({"currency": "USD", "per_request": 0.01, "per_match": 0.28}));
    let login = json!({
        "login": {"request": {"method": "POST", "url": world.provider.url("/login")}, "take": {"token": "/token"}},
        "request": {"headers": {"X-Api-Key": "{token}"}},
    });
    configure(&world, "main", login);
    world.provider.on("/login", |_| Behaviour::Never);
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    std::thread::scope(|scope| {
        scope.spawn(|| enrich(&mut caller, 1).map_err(drop));
        world.provider.wait_for(1, Duration::from_secs(10));
        world.run(&format!("SELECT pg_terminate_backend({backend}, 5000)"));
    });
    spend_is(&world, Duration::from_secs(3), "main 1/0/0/0 0.01");
}

/// What stands in front of the vendor says that it has no answer: the vendor may have one, and bill it.
#[test]
fn what_a_gateway_says_has_failed_may_have_been_billed() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'day', 10)");
    let page = |status: u16| {
        let headers = vec![("Content-Type".to_owned(), "text/html".to_owned())];
        Response { status, headers, body: b"<html><h1>upstream</h1></html>".to_vec() }
    };
    let mut n = 0;
    let mut unknown = |answer: Response| {
        world.provider.on(PATH, move |_| Behaviour::Answer(answer.clone()));
        n += 1;
        fails(enrich(&mut world.caller(), n));
        world.end_pauses();
        let used = "SELECT (used / 0.28)::int8 FROM leadlex.budget";
        world.number(used)
    };
    assert_eq!(unknown(page(504)), 1);
    assert_eq!(unknown(Response { body: Vec::new(), ..page(502) }), 2);
    // The vendor's own word, one that says that the vendor was not asked, and one that does not hand on so much.
    assert_eq!(unknown(Response::json(500, &json!({"error": "internal"}))), 2);
    assert_eq!(unknown(page(503)), 2);
    assert_eq!(unknown(page(413)), 2);
    spend_is(&world, SOON, "main 5/0/0/0 0, main -/-/-/- 0.56");
}

#[test]
fn what_is_never_answered_may_have_been_billed() {
    let world = world(10, json!({"currency": "USD", "per_request": 0.01, "per_match": 0.28}));
    configure(&world, "main", json!({"timeout_ms": 200}));
    world.run("SELECT leadlex.set_budget('main', 'day', 10)");
    world.provider.on(PATH, |_| Behaviour::Never);
    let mut caller = world.caller();
    let _ = enrich(&mut caller, 1);
    spend_is(&world, SOON, "main 1/0/0/0 0.01, main -/-/-/- 0.28");
    // A session that ends takes its requests with it.
    configure(&world, "main", json!({"timeout_ms": 60_000}));
    let backend = pid(&mut caller);
    std::thread::scope(|scope| {
        let asked = world.provider.count();
        scope.spawn(|| enrich(&mut caller, 2).map_err(drop));
        world.provider.wait_for(asked + 1, Duration::from_secs(10));
        world.run(&format!("SELECT pg_terminate_backend({backend}, 5000)"));
    });
    spend_is(&world, Duration::from_secs(3), "main 2/0/0/0 0.02, main -/-/-/- 0.56");
    assert_eq!(text(&mut world.owner(), "SELECT used::text FROM leadlex.budget"), "0.58");
    // What did not go out is not counted.
    world.provider.close_connections();
    configure(&world, "main", json!({"request": {"url": "http://127.0.0.1:1/person"}}));
    let _ = enrich(&mut world.caller(), 3);
    spend_is(&world, SOON, "main 2/0/0/0 0.02, main -/-/-/- 0.56");
}

#[test]
fn a_workspace_sees_its_own_and_monitoring_sees_all() {
    let world = world(10, a_match(0.28));
    enrich(&mut world.caller(), 1).unwrap();
    spend_is(&world, SOON, "main 1/1/1/1 0.28");
    world.run("SELECT leadlex.set_budget(NULL, 'day', 10)");
    world.run(&format!("SELECT leadlex.set_budget('main', 'month', 10, '{}')", world.workspace));
    world.run("CREATE ROLE watcher LOGIN IN ROLE pg_monitor; CREATE ROLE stranger LOGIN");
    let count = |role: &str, of: &str| {
        text(&mut world.cluster.connect_as("app", role), &format!("SELECT count(*)::text FROM leadlex.{of}"))
    };
    for (role, spend, budgets) in [("caller", "1", "1"), ("watcher", "1", "2"), ("stranger", "0", "0")] {
        assert_eq!(count(role, "spend"), spend, "{role}");
        assert_eq!(count(role, "spend_by_role"), spend, "{role}");
        assert_eq!(count(role, "budget"), budgets, "{role}");
    }
    let mut caller = world.caller();
    assert!(caller.batch_execute("SELECT leadlex.set_budget('main', 'day', 1000)").is_err());
    assert!(caller.batch_execute("SELECT FROM leadlex.spend_day").is_err());
}

/// The vendor has supplied what it says, and bills it, though it is not used.
#[test]
fn an_answer_about_another_person_is_paid_for() {
    let world = world(30, json!({"currency": "USD", "per_match": 0.2, "per_field": {"phone": 0.08}}));
    configure(&world, "main", json!({"response": {"same_person": {"email": "/email"}}}));
    world.provider.on(PATH, |_| {
        let mut answer = only_phone("+12025550142");
        answer["email"] = json!("somebody@else.example");
        Behaviour::json(200, answer)
    });
    world.run("SELECT leadlex.set_budget('main', 'day', 1.00)");
    let mut caller = world.caller();
    let error = try_enrich(&mut caller, 1)["error"].clone();
    assert_eq!((&error["code"], &error["reason"]), (&json!("no_match"), &json!("other_person")));
    spend_is(&world, SOON, "main 1/1/1/0 0.28");
    // No more than the budget is spent on them, by a set or by jobs.
    let ids = "SELECT array_agg(id) FROM crm";
    caller.batch_execute(&format!("SELECT count(*) FROM enrich_contacts(({ids}))")).unwrap();
    caller.batch_execute(&format!("SELECT leadlex.enqueue(({ids}))")).unwrap();
    spend_is(&world, Duration::from_secs(10), "main 3/3/3/0 0.84");
    assert_eq!(
        (world.provider.count(), world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL")),
        (3, 0)
    );
    let quality = "SELECT asked || '/' || supplied FROM leadlex.provider_quality WHERE field = 'phone'";
    assert_eq!(text(&mut world.owner(), quality), "3/0", "nothing of it could be used");
}

/// Two steps: a title, then a number and the name of whom it is of.
fn with_steps() -> World {
    let world = world(3, a_match(0.28));
    let per_field = json!({"job_title": 0.05, "phone": 0.08});
    let steps = json!([
        {"request": {"url": world.provider.url("/first"), "query": {"email": "{email}"}}, "take": {"id": "/id"},
         "response": {"fields": {"job_title": "/title"}}},
        {"request": {"url": world.provider.url("/second"), "query": {"id": "{id}"}},
         "response": {"fields": {"job_title": "/title", "phone": "/phone"}, "same_person": {"email": "/email"}}},
    ]);
    let price = json!({"currency": "USD", "per_request": 0.01, "per_match": 0.2, "per_field": per_field});
    world.add_provider("steps", &json!({"identify_by": [["email"]], "price": price, "steps": steps}));
    world.run("SELECT leadlex.enable_provider('main', false)");
    world.provider.on("/first", |_| Behaviour::json(200, json!({"title": "Engineer", "id": "p1"})));
    world.run("SELECT leadlex.set_budget(NULL, 'day', 20)");
    world
}

fn title_and_phone(world: &World) -> Value {
    let call = format!("SELECT enrich_contact('{}', '{{job_title,phone}}')", contact(1));
    world.caller().query_one(&call, &[]).unwrap().get(0)
}

/// What the first step has supplied stays, and what the second has of somebody else is on the bill, too.
#[test]
fn a_later_answer_about_another_person_is_paid_for() {
    let world = with_steps();
    world.provider.on("/second", |_| {
        let other = json!({"email": "somebody@else.example", "title": "Cook", "phone": "+12025550142"});
        Behaviour::json(200, other)
    });
    let result = title_and_phone(&world);
    assert_eq!(result["fields_updated"], json!(["job_title"]), "{result}");
    // Two requests, a match, the title and somebody else's number.
    assert_eq!(result["cost"], json!({"USD": 0.35}), "{result}");
    spend_is(&world, SOON, "steps 2/1/2/1 0.35");
    spend_adds_up(&world);
}

/// Each answer is booked when it comes: a later step may fail, or never come.
#[test]
fn what_a_step_supplies_is_paid_for_before_the_last_one_is_answered() {
    let world = with_steps();
    world.provider.on("/second", |_| Behaviour::json(500, json!({})));
    let result = title_and_phone(&world);
    assert_eq!(result["fields_updated"], json!(["job_title"]), "{result}");
    assert_eq!(result["cost"], json!({"USD": 0.27}), "{result}");
    spend_is(&world, SOON, "steps 2/1/1/1 0.27");
    // It goes on with the second step, and the match is not billed twice.
    world.provider.on("/second", |_| {
        Behaviour::json(200, json!({"email": "person1@acme.example", "phone": "+12025550142"}))
    });
    let result = title_and_phone(&world);
    assert_eq!(result["fields_updated"], json!(["phone"]), "{result}");
    assert_eq!(result["cost"], json!({"USD": 0.09}), "{result}");
    spend_is(&world, SOON, "steps 3/1/2/2 0.36");
    spend_adds_up(&world);
}

//! The events budget_low and budget_out, and jobs that wait for money.

use std::time::Duration;

use serde_json::{Value, json};

use super::{a_match, configure, text, world};
use crate::control::{Listener, PROMPT, count, detail};
use crate::support::{Behaviour, Stop, eventually, fails};
use crate::world::{PATH, enrich, number, only_phone};

/// The numbers of a detail.
fn told(detail: &Value) -> (Value, Value, Value) {
    (detail["period"].clone(), detail["amount"].clone(), detail["used"].clone())
}

#[test]
fn a_budget_is_told_of_at_80_percent_and_when_it_is_used_up() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'day', 1.00)");
    let mut listener = Listener::new(&world);
    let mut caller = world.caller();
    for n in [1, 2] {
        enrich(&mut caller, n).unwrap();
    }
    assert!(listener.within(Duration::from_millis(600)).is_empty(), "0.56 of 1.00");
    enrich(&mut caller, 3).unwrap();
    listener.next("budget_low", PROMPT);
    assert_eq!(told(&detail(&world, "budget_low")), (json!("day"), json!(1.0), json!(0.84)));
    let about = "SELECT (workspace_id IS NULL)::text || ' ' || provider FROM leadlex.event WHERE event = 'budget_low'";
    assert_eq!(text(&mut world.owner(), about), "true main");
    // 0.16 are left, and a match costs 0.28.
    fails(enrich(&mut caller, 4));
    listener.next("budget_out", PROMPT);
    assert_eq!(told(&detail(&world, "budget_out")), (json!("day"), json!(1.0), json!(0.84)));
    // Each once, whoever calls, and after a restart, too.
    fails(enrich(&mut world.caller(), 5));
    world.cluster.restart(Stop::Fast);
    let mut caller = world.caller();
    fails(enrich(&mut caller, 6));
    let mut listener = Listener::new(&world);
    assert!(listener.within(PROMPT).is_empty());
    assert_eq!((count(&world, "budget_low"), count(&world, "budget_out")), (1, 1));
    // Another amount is another budget; at most one a minute is told of this provider.
    world.run("SELECT leadlex.set_budget('main', 'day', 1.13)");
    enrich(&mut caller, 7).unwrap();
    assert!(listener.within(PROMPT).is_empty());
    world.run("UPDATE leadlex.event SET at = at - interval '2 minutes'");
    fails(enrich(&mut caller, 8));
    eventually("it is told of", Duration::from_secs(10), || count(&world, "budget_out") == 2);
}

/// Where it has to wait for its minute, it is told no more once the budget was raised.
#[test]
fn a_budget_that_was_raised_meanwhile_is_not_told_of() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'day', 0.40)");
    let mut listener = Listener::new(&world);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    fails(enrich(&mut caller, 2));
    listener.next("budget_out", PROMPT);
    world.run("UPDATE leadlex.event SET at = at - interval '52 seconds'");
    let put_off_and = |amount: &str, then: &str| {
        world.run(&format!("SELECT leadlex.set_budget('main', 'day', {amount})"));
        fails(enrich(&mut world.caller(), 2));
        std::thread::sleep(PROMPT);
        assert_eq!(count(&world, "budget_out"), 1);
        world.run(then);
    };
    put_off_and("0.50", "SELECT leadlex.set_budget('main', 'day', 9)");
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(count(&world, "budget_out"), 1);
    // What still is so is told then.
    world.run("UPDATE leadlex.event SET at = now() - interval '52 seconds'");
    put_off_and("0.51", "");
    eventually("it is told of", Duration::from_secs(20), || count(&world, "budget_out") == 2);
}

/// Each budget that leaves too little for a request is out.
#[test]
fn all_budgets_that_keep_a_request_from_being_sent_are_told_of() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'day', 0.40), leadlex.set_budget('main', 'month', 0.40)");
    let mut listener = Listener::new(&world);
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    fails(enrich(&mut caller, 2));
    listener.next("budget_out", PROMPT);
    let told = "SELECT (count(DISTINCT period) = 2)::text FROM leadlex.event AS e,
                       LATERAL (SELECT e.detail ->> 'period' UNION SELECT a ->> 'period' FROM jsonb_array_elements(coalesce(e.detail -> 'also', '[]')) AS a) AS p(period)
                WHERE e.event = 'budget_out'";
    world.run("UPDATE leadlex.event SET at = at - interval '2 minutes'");
    let mut owner = world.owner();
    eventually("both are told of", Duration::from_secs(90), || text(&mut owner, told) == "true");
}

/// Both are told, by one event: at most one a minute is of this provider.
#[test]
fn two_budgets_that_are_low_at_once_are_both_told_of() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'day', 1.00), leadlex.set_budget('main', 'month', 1.02)");
    let mut listener = Listener::new(&world);
    let mut caller = world.caller();
    for n in [1, 2, 3] {
        enrich(&mut caller, n).unwrap();
    }
    listener.next("budget_low", PROMPT);
    let detail = detail(&world, "budget_low");
    let mut periods = [&detail["period"], &detail["also"][0]["period"]];
    periods.sort_by_key(|period| period.to_string());
    assert_eq!(periods, [&json!("day"), &json!("month")], "{detail}");
    assert!(listener.within(PROMPT).is_empty());
    // Nor is one of them told again later.
    world.run("UPDATE leadlex.event SET at = at - interval '2 minutes'");
    world.cluster.restart(Stop::Fast);
    enrich(&mut world.caller(), 1).unwrap();
    let mut listener = Listener::new(&world);
    assert!(listener.within(PROMPT).is_empty());
    assert_eq!(count(&world, "budget_low"), 1);
}

#[test]
fn a_budget_that_is_not_committed_is_not_told_of() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'day', 0.50)");
    let mut listener = Listener::new(&world);
    let mut owner = world.owner();
    owner
        .batch_execute(&format!("SELECT leadlex.grant_access(current_user, '{}')", world.workspace))
        .unwrap();
    let mut open = owner.transaction().unwrap();
    open.batch_execute("SELECT leadlex.set_budget('main', 'day', 0.10)").unwrap();
    let sql = "SELECT try_enrich_contact(id) #>> '{error,providers,0,reason}' FROM crm ORDER BY id LIMIT 1";
    assert_eq!(open.query_one(sql, &[]).unwrap().get::<_, String>(0), "budget");
    open.rollback().unwrap();
    assert!(listener.within(PROMPT).is_empty());
    let mut caller = world.caller();
    enrich(&mut caller, 2).unwrap();
    fails(enrich(&mut caller, 3));
    listener.next("budget_out", PROMPT);
    assert_eq!(told(&detail(&world, "budget_out")), (json!("day"), json!(0.5), json!(0.28)));
}

#[test]
fn a_workspaces_budget_is_its_own_event() {
    let world = world(10, a_match(0.5));
    world.run(&format!("SELECT leadlex.set_budget(NULL, 'total', 1.00, '{}')", world.workspace));
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    enrich(&mut caller, 2).unwrap();
    eventually("it is used up to the cent", PROMPT, || count(&world, "budget_out") == 1);
    let about = "SELECT format('%s %s %s', workspace_id, provider IS NULL, detail ->> 'period') FROM leadlex.event WHERE event = 'budget_out'";
    assert_eq!(text(&mut caller, about), format!("{} t total", world.workspace));
}

#[test]
fn a_vendor_that_reports_too_much_is_told_of() {
    let world = world(10, a_match(0.28));
    configure(
        &world,
        "main",
        json!({"response": {"cost": {"pointer": "/credits"}}, "price": {"currency": "USD", "per_match": null, "per_credit": 0.01, "most_credits": 8}}),
    );
    world.provider.on(PATH, |_| {
        let mut body = only_phone("+15550100100");
        body["credits"] = json!(30);
        Behaviour::json(200, body)
    });
    world.run("SELECT leadlex.set_budget('main', 'day', 10)");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    eventually("it is told of", PROMPT, || count(&world, "budget_out") == 1);
    assert_eq!(detail(&world, "budget_out"), json!({"reported": 30.0, "most_credits": 8.0}));
    fails(enrich(&mut caller, 2));
    world.settle();
    assert_eq!(count(&world, "budget_out"), 1, "told once");
}

/// Nothing changes until somebody raises it: not even a look is worth it.
#[test]
fn jobs_that_wait_for_a_budget_of_all_time_are_left_alone() {
    let world = world(4, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'total', 0.60)");
    world.caller().batch_execute("SELECT leadlex.enqueue(array_agg(id)) FROM crm").unwrap();
    let waiting = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND last_error LIKE '%budget%' AND next_attempt_at > now() + interval '50 minutes'";
    eventually("two wait", Duration::from_secs(20), || world.number(waiting) == 2);
    world.run("SELECT leadlex.set_budget('main', 'total', 2.00)");
    let done = "SELECT count(*) FROM leadlex.job WHERE state = 'done'";
    eventually("they are done", Duration::from_secs(8), || world.number(done) == 4);
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job"), 1);
}

/// One that said too little of what its answers cost is described anew: what waits for it goes on.
#[test]
fn jobs_that_wait_for_more_credits_of_an_answer_go_on() {
    let world = world(2, a_match(0.28));
    let price = |most: u32| json!({"response": {"cost": {"pointer": "/credits"}}, "price": {"currency": "USD", "per_match": null, "per_credit": 0.01, "most_credits": most}});
    configure(&world, "main", price(8));
    world.provider.on(PATH, |request| {
        let mut body = only_phone(&format!("+1202555{:0>4}", request.param("email").map_or(0, str::len)));
        body["credits"] = json!(30);
        Behaviour::json(200, body)
    });
    world.run("SELECT leadlex.set_budget('main', 'day', 10)");
    enrich(&mut world.caller(), 1).unwrap();
    world
        .caller()
        .batch_execute("SELECT leadlex.enqueue(array_agg(id)) FROM crm WHERE phone IS NULL")
        .unwrap();
    let waits = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND last_error LIKE '%most_credits%' AND next_attempt_at > now() + interval '50 minutes'";
    eventually("it waits", Duration::from_secs(20), || world.number(waits) == 1);
    configure(&world, "main", price(40));
    let done = "SELECT count(*) FROM leadlex.job WHERE outcome = 'enriched'";
    eventually("it is done", Duration::from_secs(8), || world.number(done) == 1);
}

#[test]
fn jobs_that_wait_for_money_go_on_when_there_is_some() {
    let world = world(10, a_match(0.28));
    world.run("SELECT leadlex.set_budget('main', 'month', 1.00)");
    world.caller().batch_execute("SELECT leadlex.enqueue(array_agg(id)) FROM crm").unwrap();
    let mut owner = world.owner();
    let waiting = "SELECT count(*) FROM leadlex.job WHERE state = 'queued' AND last_error LIKE '%budget%' AND next_attempt_at > now() + interval '30 seconds'";
    eventually("seven wait for the next month", Duration::from_secs(20), || number(&mut owner, waiting) == 7);
    for (budget, left) in [("'main', 'month', 1.40", 5), ("'main', 'month', NULL", 0)] {
        world.run(&format!("SELECT leadlex.set_budget({budget})"));
        let done = 10 - left;
        eventually("the others are done", Duration::from_secs(8), || {
            number(&mut owner, "SELECT count(*) FROM leadlex.job WHERE state = 'done'") == done
        });
        // Those that met what requests kept free look once more.
        eventually("the rest waits again", Duration::from_secs(8), || number(&mut owner, waiting) == left);
    }
    // The budget goes with its provider.
    world.run("UPDATE crm SET phone = NULL, email = 'new' || email");
    world.run("SELECT leadlex.set_budget('main', 'month', 0.01)");
    world.caller().batch_execute("SELECT leadlex.enqueue(array_agg(id)) FROM crm").unwrap();
    eventually("all wait for the next month", Duration::from_secs(20), || number(&mut owner, waiting) == 10);
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("next", &world.provider.config(crate::world::PATH));
    eventually("they are done", Duration::from_secs(8), || number(&mut owner, waiting) == 0);
}

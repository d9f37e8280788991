//! An answer that was asked for in vain is still owed: it is asked for again, by the call while it has time, and by the queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};

use super::vendor::{POLL, Ready, Slow, phone, world};
use crate::support::{Behaviour, Response, eventually};
use crate::world::{World, contact, credits, enrich};

const LONG: Duration = Duration::from_secs(40);
const FAST: &str = "/fast";

fn limited(seconds: u32) -> Behaviour {
    Behaviour::Answer(Response::json(429, &json!({})).with_header("Retry-After", &seconds.to_string()))
}

fn in_trouble() -> Behaviour {
    Behaviour::json(500, json!({"error": "try again"}))
}

/// The slow vendor answers so to the first poll, and has the answer at the second; the fast one has a title.
fn failing_once(more: Value, fails: impl Fn() -> Behaviour + Send + Sync + 'static) -> (World, Slow, Client) {
    let (world, slow) = world(Ready::AfterPolls(0), more);
    let (polls, vendor) = (AtomicUsize::new(0), slow.clone());
    world.provider.on(POLL, move |request| match polls.fetch_add(1, Ordering::SeqCst) {
        0 => fails(),
        _ => vendor.poll(request.param("id").unwrap_or_default()),
    });
    world.provider.on(FAST, |_| Behaviour::json(200, json!({"data": {"job_title": "Counsel"}})));
    let mut fast = world.provider.config(FAST);
    fast["response"]["fields"] = json!({"job_title": "/data/job_title"});
    world.add_provider("fast", &fast);
    world.run("SELECT leadlex.alter_provider('fast', priority => 500)");
    world.run("ALTER ROLE caller SET leadlex.waterfall = 'fill'");
    let caller = world.caller();
    (world, slow, caller)
}

fn wait_for_the_phone(world: &World, n: i32) {
    let expected = Some(phone(&format!("person{n}@acme.example")));
    eventually("the answer has come", LONG, || world.phone(n) == expected);
}

const BOTH: &str = "SELECT enrich_contact($1, '{phone,job_title}')";

/// What a call for the phone alone says.
fn told_of_the_phone(caller: &mut Client) -> Value {
    let call = "SELECT try_enrich_contact($1, '{phone}')";
    caller.query_one(call, &[&contact(1)]).unwrap().get(0)
}

fn both(caller: &mut Client) -> Value {
    caller.query_one(BOTH, &[&contact(1)]).unwrap().get(0)
}

#[test]
fn a_call_waits_for_the_next_poll_where_the_vendor_says_when() {
    let (world, slow, mut caller) = failing_once(json!({}), || limited(2));
    let result = both(&mut caller);
    assert_eq!(result["contact"]["phone"], phone("person1@acme.example"), "{result}");
    assert_eq!((&result["contact"]["job_title"], &result["pending"]), (&json!("Counsel"), &json!(null)));
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (1, 2));
    // Of a set, too.
    let (world, slow, mut caller) = failing_once(json!({}), || limited(2));
    let set =
        "SELECT status || coalesce(contact ->> 'phone', '') FROM enrich_contacts(ARRAY[$1::uuid], '{phone}')";
    let told: String = caller.query_one(set, &[&contact(1)]).unwrap().get(0);
    assert_eq!(told, format!("enriched{}", phone("person1@acme.example")));
    assert_eq!((slow.submissions(), world.provider.count_of(POLL)), (1, 2));
}

#[test]
fn what_another_vendor_supplies_does_not_end_the_wait_for_what_is_owed() {
    let (world, slow, mut caller) = failing_once(json!({}), in_trouble);
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    let result = both(&mut caller);
    assert_eq!((&result["contact"]["job_title"], &result["pending"]), (&json!("Counsel"), &json!(true)));
    assert_eq!(result["contact"]["phone"], json!(null));
    assert_eq!((world.number("SELECT count(*) FROM leadlex.job"), credits(&mut caller)), (1, Some(9)));
    wait_for_the_phone(&world, 1);
    assert_eq!((slow.submissions(), credits(&mut caller)), (1, Some(9)));
}

#[test]
fn a_call_that_has_nothing_says_that_the_answer_is_owed() {
    let (world, slow, mut caller) = failing_once(json!({}), in_trouble);
    let told = told_of_the_phone(&mut caller);
    let error = &told["error"];
    assert_eq!(
        (&error["code"], &error["reason"]),
        (&json!("provider_unavailable"), &json!("pending")),
        "{told}"
    );
    assert_eq!((&error["retryable"], &error["retry_after"]), (&json!(true), &json!(1)));
    assert_eq!(error["providers"][0]["reason"], "server_error");
    assert!(error["message"].as_str().unwrap().contains("its answer is owed"), "{told}");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 0);
    assert_eq!(enrich(&mut caller, 1).unwrap()["contact"]["phone"], phone("person1@acme.example"));
    assert_eq!(slow.submissions(), 1);
}

#[test]
fn the_queue_fetches_it_for_a_call_or_set_that_has_nothing() {
    let single = "SELECT enrich_contact($1, '{phone}') ->> 'pending'";
    let set = "SELECT replace(status, 'pending', 'true') FROM enrich_contacts(ARRAY[$1::uuid], '{phone}')";
    for call in [single, set] {
        let (world, slow, mut caller) = failing_once(json!({}), in_trouble);
        caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
        let told: Option<String> = caller.query_one(call, &[&contact(1)]).unwrap().get(0);
        assert_eq!(told.as_deref(), Some("true"), "{call}");
        wait_for_the_phone(&world, 1);
        let done =
            "SELECT count(*) FROM leadlex.job WHERE state = 'done' AND outcome = 'enriched' AND attempts = 1";
        eventually("the job is done", LONG, || world.number(done) == 1);
        assert_eq!((slow.submissions(), credits(&mut caller)), (1, Some(9)), "{call}");
    }
}

/// It is at work on the answer, so no other vendor is paid for the same.
#[test]
fn no_other_vendor_is_asked_while_one_that_is_to_be_waited_for_is_asked_too_often() {
    let (world, slow, mut caller) = failing_once(json!({}), || limited(100));
    let told = told_of_the_phone(&mut caller);
    assert_eq!(told["error"]["reason"], "pending", "{told}");
    assert!(told["error"]["retry_after"].as_u64().unwrap() > 90, "{told}");
    assert_eq!((slow.submissions(), world.provider.count_of(FAST)), (1, 0));
}

/// What the vendor's trouble was is not hidden.
#[test]
fn a_secret_that_is_no_longer_good_is_told_as_such() {
    let (_world, slow, mut caller) = failing_once(json!({}), || Behaviour::json(403, json!({})));
    let told = told_of_the_phone(&mut caller);
    assert_eq!(told["error"]["providers"][0]["reason"], "bad_credentials", "{told}");
    assert_ne!(told["error"]["reason"], "pending");
    assert_eq!(slow.submissions(), 1);
}

/// Other requests ask another question: what was handed in by then can no longer be asked for.
#[test]
fn who_changes_the_requests_is_told_of_what_is_owed() {
    let (world, _slow, mut caller) = failing_once(json!({"poll_every_s": 20}), in_trouble);
    world.cluster.set("leadlex.total_timeout", "500ms");
    assert_eq!(told_of_the_phone(&mut caller)["error"]["reason"], "pending");
    super::wait_for_tickets(&world, 1);
    let (mut owner, told) = world.listening("postgres");
    owner
        .batch_execute(
            "SELECT leadlex.alter_provider('main', config => '{\"poll_for_s\": 90}', priority => 7)",
        )
        .unwrap();
    owner.batch_execute("SELECT leadlex.alter_provider('main', secret => 'another')").unwrap();
    assert_eq!(told.messages(), Vec::<String>::new());
    let mut changed = super::vendor::config(&world.provider, json!({}));
    changed["steps"][0]["request"]["headers"]["X-Client"] = json!("crm");
    let steps = json!({"steps": changed["steps"]});
    owner.execute("SELECT leadlex.alter_provider('main', config => $1)", &[&steps]).unwrap();
    assert_eq!(told.messages(), ["provider main owes answers: 1"]);
}

/// A shorter time, too, ends what is older by then.
#[test]
fn who_shortens_the_time_of_asking_is_told_of_what_is_given_up() {
    let (world, _slow, mut caller) = failing_once(json!({"poll_every_s": 20}), in_trouble);
    world.cluster.set("leadlex.total_timeout", "500ms");
    assert_eq!(told_of_the_phone(&mut caller)["error"]["reason"], "pending");
    super::wait_for_tickets(&world, 1);
    std::thread::sleep(Duration::from_millis(1_200));
    let (mut owner, told) = world.listening("postgres");
    let mut alter = |every: u32, longest: u32| {
        let change = json!({"poll_every_s": every, "poll_for_s": longest});
        owner.execute("SELECT leadlex.alter_provider('main', config => $1)", &[&change]).unwrap();
    };
    alter(20, 300);
    alter(1, 600);
    assert_eq!(told.messages(), Vec::<String>::new());
    alter(1, 1);
    let given_up = "provider main owes answers whose time is over with a poll_for_s of 1 s: 1";
    assert_eq!(told.messages(), [given_up]);
}

/// Nor is it asked for again at once: not by the next call, nor by the job that is left.
#[test]
fn an_answer_that_was_asked_for_in_vain_has_its_next_poll() {
    let (world, _, mut caller) = failing_once(json!({"poll_every_s": 3}), in_trouble);
    world.cluster.set("leadlex.total_timeout", "4s");
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    let told = told_of_the_phone(&mut caller);
    assert_eq!((&told["pending"], world.provider.count_of(POLL)), (&json!(true), 1));
    caller.batch_execute("SET leadlex.when_pending = 'error'; SET statement_timeout = '300ms'").unwrap();
    for _ in 0..3 {
        let _ = caller.query_one("SELECT try_enrich_contact($1, '{phone}')", &[&contact(1)]);
    }
    assert_eq!(world.provider.count_of(POLL), 1);
    wait_for_the_phone(&world, 1);
    assert_eq!(world.provider.count_of(POLL), 2);
}

/// After the vendor's own pause, and not as long again as polls lie apart.
#[test]
fn a_call_with_time_left_asks_again_after_the_pause() {
    let (world, _, mut caller) = failing_once(json!({"poll_every_s": 5}), || limited(1));
    let result = told_of_the_phone(&mut caller);
    assert_eq!(result["contact"]["phone"], phone("person1@acme.example"), "{result}");
    assert_eq!(world.provider.count_of(POLL), 2);
}

/// A gateway's page is no answer of the vendor.
#[test]
fn a_page_in_place_of_an_answer_leaves_it_owed() {
    let page = || {
        let headers = vec![("Content-Type".to_owned(), "text/html".to_owned())];
        Behaviour::Answer(Response { status: 200, headers, body: b"<html>busy</html>".to_vec() })
    };
    let (world, slow, mut caller) = failing_once(json!({}), page);
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    let result = both(&mut caller);
    assert_eq!((&result["contact"]["job_title"], &result["pending"]), (&json!("Counsel"), &json!(true)));
    wait_for_the_phone(&world, 1);
    assert_eq!((slow.submissions(), credits(&mut caller)), (1, Some(9)));
}

/// A call that stops at the first vendor with data leaves what is owed, and no reason to buy from the vendors after that.
#[test]
fn what_is_left_under_first_match_is_bought_from_nobody_else() {
    let (world, slow, mut caller) = failing_once(json!({"when_pending": "next"}), in_trouble);
    let mut third = world.provider.config("/third");
    third["response"]["fields"] = json!({"phone": "/data/phone"});
    world.add_provider("third", &third);
    world.run("SELECT leadlex.alter_provider('third', priority => 900)");
    world.provider.on("/third", |_| Behaviour::json(200, json!({"data": {"phone": "+12025550177"}})));
    caller
        .batch_execute("SET leadlex.waterfall = 'first_match'; SET leadlex.when_pending = 'queue'")
        .unwrap();
    let result = both(&mut caller);
    assert_eq!((&result["source"], &result["pending"]), (&json!("fast"), &json!(true)), "{result}");
    wait_for_the_phone(&world, 1);
    assert_eq!((world.provider.count_of("/third"), slow.submissions()), (0, 1));
    assert_eq!(credits(&mut caller), Some(9));
}

/// A login that fails keeps nobody waiting for longer than `poll_for_s`.
#[test]
fn a_login_that_fails_for_a_poll_ends_with_the_time_of_the_answer() {
    let login = json!({"request": {"method": "POST", "url": "", "body": {"key": "{secret}"}}, "take": {"token": "/token"}});
    let (world, slow, mut caller) =
        failing_once(json!({"poll_for_s": 4}), || Behaviour::json(401, json!({})));
    let mut login = login;
    login["request"]["url"] = json!(world.provider.url("/login"));
    let mut config = super::vendor::config(&world.provider, json!({"poll_for_s": 4, "login": login}));
    for step in 0..2 {
        config["steps"][step]["request"]["headers"] = json!({"Authorization": "Bearer {token}"});
    }
    world.run("SELECT leadlex.drop_provider('main')");
    world.add_provider("main", &config);
    let logins = AtomicUsize::new(0);
    world.provider.on("/login", move |_| match logins.fetch_add(1, Ordering::SeqCst) {
        0 => Behaviour::json(200, json!({"token": "t1"})),
        _ => in_trouble(),
    });
    world.provider.on(POLL, |_| Behaviour::json(401, json!({})));
    world.cluster.set("leadlex.total_timeout", "2s");
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    assert_eq!(told_of_the_phone(&mut caller)["pending"], true);
    let dead =
        "SELECT count(*) FROM leadlex.job WHERE state = 'dead' AND last_error LIKE '%poll_for_s%(pending)'";
    eventually("it is given up", LONG, || world.number(dead) == 1);
    assert_eq!(slow.submissions(), 1);
}

/// Where something was written, the job does not say why it waits; it is woken all the same.
#[test]
fn a_charged_rest_goes_on_once_the_account_is_in_order() {
    let refused = || Behaviour::Answer(Response::json(401, &json!({})).with_header("Retry-After", "120"));
    let (world, slow, mut caller) = failing_once(json!({}), refused);
    world.cluster.set("leadlex.total_timeout", "700ms");
    caller.batch_execute("SET leadlex.when_pending = 'queue'").unwrap();
    let call = "SELECT (try_enrich_contact($1, '{phone,job_title}') ->> 'pending')::boolean";
    let pending: Option<bool> = caller.query_one(call, &[&contact(1)]).unwrap().get(0);
    assert_eq!(pending, Some(true));
    eventually("the title is written", LONG, || world.number("SELECT count(job_title) FROM crm") == 1);
    eventually("the job waits", LONG, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE next_attempt_at > now() + interval '60 s'") == 1
    });
    world.run("SELECT leadlex.alter_provider('main', secret => 'another')");
    wait_for_the_phone(&world, 1);
    assert_eq!((slow.submissions(), credits(&mut caller)), (1, Some(9)));
}

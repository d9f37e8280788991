//! Contacts that are handed in together and answered later: one ticket for all, kept for each.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use postgres::Row;
use serde_json::{Value, json};

use super::{alter, check_whose, counts, enrich_all, number_in, phone_of};
use crate::support::http::Request;
use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, World, contact, credits, enrich, only_phone, pid, sqlstate};

pub const SUBMIT: &str = "/batch";
pub const POLL: &str = "/result";
pub const LONG: Duration = Duration::from_secs(60);

/// By id: who was handed in, in their order, with their own ids.
#[derive(Default)]
pub struct Jobs {
    jobs: HashMap<String, Vec<(usize, Value)>>,
    ready: bool,
}

pub type Vendor = Arc<Mutex<Jobs>>;

/// A vendor that takes so many at once, and a provider that asks it every second.
pub fn world_of(contacts: i32, most: usize, by_id: bool) -> (World, Vendor) {
    let world = World::with(&Beginning { contacts, credits: Some(1_000), ..Beginning::default() });
    let submit = json!({
        "request": {"method": "POST", "url": world.provider.url(SUBMIT), "headers": {"X-Api-Key": "{secret}"},
                    "body": {"people": {"each": {"email": "{email}"}}}},
        "response": {"pending": {"status": []}}, "take": {"batch": "/id"}
    });
    let poll = json!({
        "request": {"url": world.provider.url(POLL), "query": {"id": "{batch}"}, "headers": {"X-Api-Key": "{secret}"}},
        "response": {"pending": {"body": [{"pointer": "/state", "in": ["running"]}]}, "ticket_unknown": {"status": [404]}}
    });
    let matching = if by_id { json!({"send": "/ref", "answer": "/ref"}) } else { json!("position") };
    alter(
        &world,
        &json!({
            "poll_every_s": 1, "poll_for_s": 60,
            "bulk": {"steps": [submit, poll], "most": most, "answers": "/people", "match": matching, "status": "/status", "timeout_ms": 10000}
        }),
    );
    let vendor = Vendor::default();
    let own = Arc::clone(&vendor);
    world.provider.on(SUBMIT, move |request| take_in(&own, request));
    let own = Arc::clone(&vendor);
    world.provider.on(POLL, move |request| tell(&own, request));
    (world, vendor)
}

pub fn take_in(vendor: &Vendor, request: &Request) -> Behaviour {
    let mut vendor = vendor.lock().unwrap();
    let id = format!("b{}", vendor.jobs.len());
    let body = request.json();
    let people = body["people"].as_array().unwrap().iter();
    let people = people.map(|one| (number_in(one["email"].as_str().unwrap()), one["ref"].clone()));
    vendor.jobs.insert(id.clone(), people.collect());
    Behaviour::json(202, json!({"id": id}))
}

pub fn tell(vendor: &Vendor, request: &Request) -> Behaviour {
    let vendor = vendor.lock().unwrap();
    let Some(people) = vendor.jobs.get(request.param("id").unwrap_or_default()) else {
        return Behaviour::json(404, json!({"error": "no such batch"}));
    };
    if !vendor.ready {
        return Behaviour::json(200, json!({"state": "running", "people": []}));
    }
    let one = |(number, own): &(usize, Value)| {
        let mut answer = match number % 10 {
            0 => json!({"status": 404}),
            9 => json!({"status": 500}),
            _ => only_phone(&phone_of(*number)),
        };
        answer["ref"] = own.clone();
        answer
    };
    let mut all: Vec<Value> = people.iter().map(one).collect();
    if people.iter().any(|(_, own)| own.is_string()) {
        all.reverse();
    }
    Behaviour::json(200, json!({"state": "done", "people": all}))
}

pub fn ready(vendor: &Vendor) {
    vendor.lock().unwrap().ready = true;
}

/// The numbers of the contacts of each that was handed in.
pub fn handed_in(vendor: &Vendor) -> Vec<usize> {
    let mut sizes: Vec<usize> = vendor.lock().unwrap().jobs.values().map(Vec::len).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    sizes
}

/// As [`super::outcomes`], but what is pending is that, and no failure.
pub fn outcomes(rows: &[Row]) -> BTreeMap<String, usize> {
    let (pending, over): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.get::<_, String>("status") == "pending");
    let mut counts = BTreeMap::new();
    for row in over {
        let error: Option<String> = row.get("error_code");
        *counts.entry(error.unwrap_or_else(|| row.get("status"))).or_default() += 1;
    }
    if !pending.is_empty() {
        counts.insert("pending".to_owned(), pending.len());
    }
    counts
}

pub fn polls(world: &World) -> usize {
    world.provider.count_of(POLL)
}

pub fn wait_for_tickets(world: &World, count: i64) {
    eventually("the tickets are written", LONG, || tickets(world) == count);
}

fn tickets(world: &World) -> i64 {
    world.number("SELECT count(*) FROM leadlex.ticket WHERE expires_at > now()")
}

#[test]
fn a_set_hands_in_once_and_asks_once_for_all() {
    for by_id in [false, true] {
        let (world, vendor) = world_of(25, 10, by_id);
        ready(&vendor);
        let mut caller = world.caller();
        let rows = enrich_all(&mut caller, 1..=25);
        assert_eq!(outcomes(&rows), counts([("enriched", 21), ("no_match", 2), ("provider_unavailable", 2)]));
        assert_eq!((handed_in(&vendor), polls(&world)), (vec![10, 10, 5], 3), "by id: {by_id}");
        assert_eq!((check_whose(&world), credits(&mut caller)), (21, Some(979)));
        world.check_credits_add_up();
        // Only the two whose element was bad have anything left to ask for.
        wait_for_tickets(&world, 2);
        eventually("each request counts once", LONG, || {
            let row =
                world.owner().query_one("SELECT calls, matches FROM leadlex.provider_stats", &[]).unwrap();
            (row.get::<_, i64>(0), row.get::<_, i64>(1)) == (6, 21)
        });
    }
}

#[test]
fn some_of_them_are_asked_for_later_in_any_order_and_never_handed_in_again() {
    for by_id in [false, true] {
        let (world, vendor) = world_of(8, 100, by_id);
        world.cluster.set("leadlex.total_timeout", "500ms");
        let mut caller = world.caller();
        let mut transaction = caller.transaction().unwrap();
        assert_eq!(outcomes(&enrich_all(&mut transaction, 1..=8)), counts([("pending", 8)]));
        transaction.rollback().unwrap();
        wait_for_tickets(&world, 8);
        assert_eq!((handed_in(&vendor), polls(&world)), (vec![8], 0));
        ready(&vendor);
        thread::sleep(Duration::from_millis(1_100));
        assert_eq!(outcomes(&enrich_all(&mut caller, [7, 2, 5])), counts([("enriched", 3)]));
        assert_eq!((handed_in(&vendor), polls(&world)), (vec![8], 1));
        // One of them alone, by a single call.
        assert_eq!(enrich(&mut caller, 4).unwrap()["contact"]["phone"], json!(phone_of(4)));
        let rest = enrich_all(&mut caller, [8, 6, 1, 3]);
        assert_eq!(outcomes(&rest), counts([("enriched", 4)]));
        assert_eq!((handed_in(&vendor), polls(&world), check_whose(&world)), (vec![8], 3, 8));
        assert_eq!(credits(&mut caller), Some(992));
        wait_for_tickets(&world, 0);
    }
}

#[test]
fn the_queue_asks_once_a_visit_for_all_of_a_ticket_and_counts_no_attempt() {
    let (world, vendor) = world_of(8, 100, false);
    let ids: Vec<_> = (1..=8).map(contact).collect();
    world.caller().execute("SELECT leadlex.enqueue($1, '{phone}')", &[&ids]).unwrap();
    eventually("it was asked for twice", LONG, || polls(&world) >= 2);
    ready(&vendor);
    eventually("all are written", LONG, || check_whose(&world) == 8);
    assert_eq!(handed_in(&vendor), [8]);
    assert!(polls(&world) < 8, "{} polls for one ticket", polls(&world));
    eventually("all are done", LONG, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 8
    });
    assert_eq!(world.number("SELECT max(attempts)::int8 FROM leadlex.job"), 1);
    world.check_credits_add_up();
}

#[test]
fn a_cancel_and_kill_9_lose_no_ticket() {
    let (world, vendor) = world_of(6, 100, false);
    let own = Arc::clone(&vendor);
    world.provider.on(SUBMIT, move |request| take_in(&own, request).after(Duration::from_millis(500)));
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    let result = thread::scope(|scope| {
        let ids: Vec<_> = (1..=6).map(contact).collect();
        let caller = &mut caller;
        let call = scope.spawn(move || caller.query("SELECT * FROM enrich_contacts($1, '{phone}')", &[&ids]));
        world.provider.wait_for(1, LONG);
        world.cancel(backend);
        call.join().unwrap()
    });
    assert_eq!(sqlstate(&result), "57014");
    wait_for_tickets(&world, 6);
    let killed = pid(&mut caller);
    world.cluster.kill9(killed);
    eventually("the server has started again", LONG, || {
        let session = world.cluster.config("app").connect(postgres::NoTls);
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
        session
            .and_then(|mut session| session.query_one(sql, &[&killed]))
            .is_ok_and(|row| row.get::<_, i64>(0) == 0)
    });
    ready(&vendor);
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(outcomes(&enrich_all(&mut world.caller(), 1..=6)), counts([("enriched", 6)]));
    assert_eq!((handed_in(&vendor), polls(&world), check_whose(&world)), (vec![6], 1, 6));
}

#[test]
fn who_is_forgotten_is_handed_in_anew_and_the_others_are_not() {
    let (world, vendor) = world_of(4, 100, false);
    world.cluster.set("leadlex.total_timeout", "500ms");
    let mut caller = world.caller();
    enrich_all(&mut caller, 1..=4);
    wait_for_tickets(&world, 4);
    world.owner().execute("SELECT leadlex.forget_contact($1)", &[&contact(2)]).unwrap();
    assert_eq!(tickets(&world), 3);
    ready(&vendor);
    thread::sleep(Duration::from_millis(1_100));
    let rows = enrich_all(&mut caller, 1..=4);
    assert_eq!(outcomes(&rows), counts([("enriched", 3), ("pending", 1)]));
    assert_eq!((handed_in(&vendor), polls(&world)), (vec![4, 1], 1));
}

#[test]
fn what_the_vendor_knows_no_longer_is_handed_in_anew() {
    let (world, vendor) = world_of(4, 100, false);
    world.cluster.set("leadlex.total_timeout", "500ms");
    let mut caller = world.caller();
    enrich_all(&mut caller, 1..=4);
    wait_for_tickets(&world, 4);
    let lost = std::mem::take(&mut vendor.lock().unwrap().jobs);
    assert_eq!(lost.len(), 1);
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=4)), counts([("provider_unavailable", 4)]));
    assert_eq!(polls(&world), 1);
    wait_for_tickets(&world, 0);
    world.end_pauses();
    assert_eq!(outcomes(&enrich_all(&mut caller, 1..=4)), counts([("pending", 4)]));
    assert_eq!(handed_in(&vendor), [4]);
}

#[test]
fn what_is_not_taken_at_once_is_handed_in_by_halves_and_what_is_asked_for_is_not() {
    let (world, vendor) = world_of(8, 100, false);
    let own = Arc::clone(&vendor);
    world.provider.on(SUBMIT, move |request| match request.json()["people"].as_array().unwrap().len() {
        1..=4 => take_in(&own, request),
        _ => Behaviour::json(413, json!({"error": "too many"})),
    });
    ready(&vendor);
    assert_eq!(outcomes(&enrich_all(&mut world.caller(), 1..=8)), counts([("enriched", 8)]));
    assert_eq!((handed_in(&vendor), polls(&world), check_whose(&world)), (vec![4, 4], 2, 8));
}

#[test]
fn of_two_that_are_handed_in_under_one_id_only_one_is_asked_for() {
    for by_id in [false, true] {
        let (world, vendor) = world_of(8, 4, by_id);
        ready(&vendor);
        let (own, begun) = (Arc::clone(&vendor), AtomicBool::new(false));
        world.provider.on(SUBMIT, move |request| {
            // The first is what the vendor goes on telling. Both come at once, and its answer is to come first.
            if !begun.swap(true, Ordering::SeqCst) {
                return take_in(&own, request);
            }
            std::thread::sleep(Duration::from_millis(300));
            Behaviour::json(202, json!({"id": "b0"}))
        });
        let mut caller = world.caller();
        let rows = enrich_all(&mut caller, 1..=8);
        let told = outcomes(&rows);
        assert_eq!((told["enriched"], told["provider_unavailable"]), (4, 4), "by id: {by_id}");
        assert_eq!((world.provider.count_of(SUBMIT), polls(&world), check_whose(&world)), (2, 1, 4));
        assert_eq!(credits(&mut caller), Some(996));
        // Alone, too.
        let rest = "SELECT id FROM crm WHERE phone IS NULL LIMIT 1";
        let one: uuid::Uuid = world.owner().query_one(rest, &[]).unwrap().get(0);
        let failed = caller.query_one("SELECT try_enrich_contact($1)", &[&one]).unwrap().get::<_, Value>(0);
        assert_eq!(failed["error"]["providers"][0]["reason"], "unrecognised", "{failed}");
        assert_eq!((world.provider.count_of(SUBMIT), polls(&world)), (2, 1));
    }
}

/// What was handed in together is kept free for each contact, until its own answer is there.
#[test]
fn a_budget_holds_for_those_that_are_handed_in_together() {
    for by_id in [false, true] {
        let (world, vendor) = world_of(30, 10, by_id);
        alter(&world, &json!({"price": {"currency": "USD", "per_match": 0.10}}));
        world.run("SELECT leadlex.set_budget('main', 'total', 2.05)");
        world.cluster.set("leadlex.total_timeout", "700ms");
        let mut caller = world.caller();
        let rows = enrich_all(&mut caller, 1..=30);
        assert_eq!(outcomes(&rows), counts([("pending", 20), ("provider_unavailable", 10)]));
        assert_eq!(handed_in(&vendor), [10, 10], "the third cannot be paid");
        let budget = |world: &World| -> String {
            let sql = "SELECT format('%s %s', used, remaining) FROM leadlex.budget";
            world.owner().query_one(sql, &[]).unwrap().get(0)
        };
        assert_eq!(budget(&world), "2 0.05");
        wait_for_tickets(&world, 20);
        // As the queue does: across a crash, and by whoever asks next.
        let leases = "SELECT count(*) FROM leadlex.spend_lease WHERE amount > 0";
        eventually("no lease is open", LONG, || world.number(leases) == 0);
        let mut other = world.owner();
        world.cluster.kill9(pid(&mut caller));
        eventually("the server has noticed", LONG, || other.batch_execute("SELECT 1").is_err());
        world.cluster.wait_until_ready();
        assert_eq!(budget(&world), "2 0.05");
        ready(&vendor);
        world.cluster.set("leadlex.total_timeout", "15s");
        let rows = enrich_all(&mut world.caller(), 1..=20);
        assert_eq!(outcomes(&rows), counts([("enriched", 16), ("no_match", 2), ("provider_unavailable", 2)]));
        assert_eq!((handed_in(&vendor), check_whose(&world)), (vec![10, 10], 16));
        // 16 matches, and two whose element was bad: these can still be asked for.
        assert_eq!(budget(&world), "1.8 0.25");
        wait_for_tickets(&world, 2);
        let spent = "SELECT (sum(cost) * 10)::int8 FROM leadlex.spend";
        eventually("it is written", LONG, || world.number(spent) == 16);
        assert_eq!(world.number("SELECT (sum(amount) * 10)::int8 FROM leadlex.spend_hold"), 2);
        // The rest pays for two more, which are handed in together.
        let rows = enrich_all(&mut world.caller(), [21, 22, 23, 24]);
        assert_eq!(outcomes(&rows), counts([("enriched", 2), ("provider_unavailable", 2)]));
        assert_eq!((handed_in(&vendor), budget(&world)), (vec![10, 10, 2], "2 0.05".into()));
    }
}

/// Whom the list names is not handed in, and what a trigger queues is: one row of the queue for each statement.
#[test]
fn triggers_and_the_suppression_list_meet_what_is_handed_in_together() {
    let (world, vendor) = world_of(12, 10, false);
    ready(&vendor);
    world.run("DELETE FROM crm WHERE id > '00000000-0000-4000-8000-000000000006'");
    world.run("SELECT leadlex.suppress('person3@acme.example'), leadlex.suppress('person8@acme.example')");
    world.run(
        "CREATE TRIGGER enrich AFTER INSERT ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert('phone');
         GRANT INSERT ON crm TO caller",
    );
    let rows = enrich_all(&mut world.caller(), 1..=6);
    assert_eq!(outcomes(&rows), counts([("enriched", 5), ("no_match", 1)]));
    let mut caller = world.caller();
    let insert = "INSERT INTO crm (id, full_name, email)
                  SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Person', format('person%s@acme.example', n)
                  FROM generate_series(7, 8) AS n";
    caller.batch_execute(insert).unwrap();
    eventually("the queue has asked", LONG, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 2
    });
    assert_eq!(handed_in(&vendor), [5, 1], "neither of the two on the list");
    assert_eq!(check_whose(&world), 6);
}

/// The request about one contact has no steps: what is handed in together is to be asked for all the same.
#[test]
fn what_is_handed_in_together_leaves_something_for_polls() {
    let (world, vendor) = world_of(60, 5, false);
    let price = json!({"currency": "USD", "per_request": 0.01, "per_match": 0.1});
    alter(&world, &json!({"price": price, "poll_for_s": 30}));
    world.run("SELECT leadlex.set_budget(NULL, 'total', 3.00)");
    world.cluster.set("leadlex.total_timeout", "1500ms");
    let set = "SELECT count(*) FROM enrich_contacts(ARRAY(SELECT id FROM crm))";
    world.caller().batch_execute(set).unwrap();
    ready(&vendor);
    let paid = || {
        let vendor = vendor.lock().unwrap();
        let all = vendor.jobs.values().flatten();
        all.filter(|(number, _)| !matches!(number % 10, 0 | 9)).count() as i64
    };
    assert!(paid() > 0, "some are affordable");
    eventually("each that was paid is fetched", LONG, || {
        world.caller().batch_execute(set).unwrap();
        world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL") == paid()
    });
}

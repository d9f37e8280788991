//! leadlex.provider_quality: what answers were worth; and leadlex.waterfall = 'cheapest', which goes by that.

use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};

use super::{a_match, configure, text, world};
use crate::support::{Behaviour, eventually};
use crate::world::{PATH, World, contact, number, only_phone};

/// Each row of one field: `asked/supplied/used/kept/reverted hit_rate cost_per_used currency`.
fn quality(client: &mut Client, provider: &str, field: &str) -> String {
    let sql = "SELECT coalesce(string_agg(format('%s/%s/%s/%s/%s %s %s %s', asked, supplied, used, kept, reverted, coalesce(hit_rate::text, '-'),
                   coalesce(cost_per_used::text, '-'), coalesce(currency, '-')), ', ' ORDER BY currency), '')
               FROM leadlex.provider_quality WHERE provider = $1 AND field = $2";
    client.query_one(sql, &[&provider, &field]).unwrap().get(0)
}

fn quality_is(world: &World, provider: &str, field: &str, expected: &str) {
    let mut owner = world.owner();
    let mut last = String::new();
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while std::time::Instant::now() < until {
        last = quality(&mut owner, provider, field);
        if last == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{provider}, {field}: not {expected} but {last}");
}

fn call(client: &mut Client, n: i32, fields: &str, overwrite: bool) -> Value {
    let sql = format!("SELECT enrich_contact($1::uuid, '{fields}', {overwrite})");
    client.query_one(&sql, &[&contact(n)]).unwrap().get(0)
}

/// The first is paid for each request and knows nothing; the second knows everybody.
fn vain_and_good(contacts: i32) -> World {
    let world = world(contacts, json!({"currency": "USD", "per_request": 0.10}));
    world.add_provider("second", &world.provider.config("/second"));
    configure(&world, "second", json!({"price": a_match(0.28)}));
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    world.provider.on("/second", |request| {
        Behaviour::json(200, only_phone(&format!("+1202555 {}", request.param("email").unwrap_or("nobody"))))
    });
    world
}

fn set(client: &mut Client, from: i32, to: i32) {
    let sql = format!(
        "SELECT count(*) FROM enrich_contacts((SELECT array_agg(id ORDER BY id) FROM crm
         WHERE right(id::text, 12)::int BETWEEN {from} AND {to}), '{{phone}}')"
    );
    client.batch_execute(&sql).unwrap();
}

#[test]
fn it_finds_the_vendor_that_is_paid_and_never_used_and_cheapest_stops_asking_it_first() {
    let world = vain_and_good(120);
    let mut caller = world.caller();
    let order = "SELECT string_agg(provider, ' ') FROM leadlex.estimate_cost('crm', ARRAY['00000000-0000-4000-8000-000000000099'], '{phone}')";
    // A session that knew of no answers learns of them.
    let mut early = world.caller();
    early.batch_execute("SET leadlex.waterfall = 'cheapest'").unwrap();
    assert_eq!(text(&mut early, order), "main second");
    set(&mut caller, 1, 60);
    quality_is(&world, "main", "phone", "60/0/0/0/0 0.0000 - USD");
    eventually("it is known", Duration::from_secs(3), || text(&mut early, order) == "second main");
    quality_is(&world, "second", "phone", "60/60/60/60/0 1.0000 0.28 USD");
    let paid_for_nothing = "SELECT string_agg(DISTINCT format('%s %s', q.provider, s.cost), ', ')
        FROM leadlex.provider_quality AS q
        JOIN (SELECT workspace_id, provider, sum(cost) AS cost FROM leadlex.spend GROUP BY 1, 2) AS s USING (workspace_id, provider)
        WHERE s.cost > 0 AND NOT EXISTS (SELECT FROM leadlex.provider_quality AS u
            WHERE u.workspace_id = q.workspace_id AND u.provider = q.provider AND u.used > 0)";
    eventually("it is found", Duration::from_secs(3), || {
        text(&mut world.caller(), paid_for_nothing) == "main 6"
    });
    // By priority it still comes first, also where all are asked.
    set(&mut caller, 61, 61);
    assert_eq!(world.provider.count_of(PATH), 61);
    assert_eq!(text(&mut caller, order), "main second");
    caller.batch_execute("SET leadlex.waterfall = 'cheapest'").unwrap();
    assert_eq!(text(&mut caller, order), "second main");
    let asked = call(&mut caller, 62, "{phone}", false);
    assert_eq!(asked["asked"], json!(["second"]), "{asked}");
    set(&mut caller, 63, 80);
    assert_eq!(world.provider.count_of(PATH), 61, "a set");
    // The queue and triggers go by what their role has.
    world.run("ALTER ROLE caller SET leadlex.waterfall = 'cheapest'; ALTER TABLE crm OWNER TO caller");
    let mut caller = world.caller();
    caller.batch_execute("SELECT leadlex.enqueue(array_agg(id), '{phone}') FROM crm WHERE right(id::text, 12)::int BETWEEN 81 AND 90").unwrap();
    eventually("the queue has asked", Duration::from_secs(20), || {
        number(&mut world.owner(), "SELECT count(*) FROM leadlex.job WHERE outcome = 'enriched'") == 10
    });
    caller
        .batch_execute(
            "CREATE TRIGGER now AFTER INSERT ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enrich_on_insert('phone');
             INSERT INTO crm (id, full_name, email) VALUES ('00000000-0000-4000-8000-000000000999', 'Person 999', 'person999@acme.example')",
        )
        .unwrap();
    assert_eq!(number(&mut caller, "SELECT count(phone) FROM crm WHERE id::text LIKE '%999'"), 1);
    assert_eq!(world.provider.count_of(PATH), 61, "the queue and triggers");
    // After a restart, too.
    world.cluster.restart(crate::support::Stop::Immediate);
    let asked = call(&mut world.caller(), 91, "{phone}", false);
    assert_eq!(asked["asked"], json!(["second"]), "{asked}");
}

#[test]
fn those_with_few_answers_are_tried_and_those_without_a_price_come_last() {
    let world = world(60, json!(null));
    for (name, price) in [("dear", a_match(0.5)), ("new", a_match(9.0))] {
        world.add_provider(name, &world.provider.config(&format!("/{name}")));
        configure(&world, name, json!({"price": price}));
        world.provider.on(&format!("/{name}"), |_| Behaviour::json(404, json!({})));
    }
    world.provider.on("/dear", |request| {
        Behaviour::json(200, only_phone(&format!("+1202555 {}", request.param("email").unwrap_or("nobody"))))
    });
    world.run("SELECT leadlex.alter_provider('dear', priority => 50); SELECT leadlex.enable_provider('new', false); SELECT leadlex.enable_provider('main', false)");
    set(&mut world.caller(), 1, 50);
    quality_is(&world, "dear", "phone", "50/50/50/50/0 1.0000 0.5 USD");
    world.run("SELECT leadlex.enable_provider('new', true); SELECT leadlex.enable_provider('main', true)");
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.waterfall = 'cheapest'").unwrap();
    let order = "SELECT string_agg(provider, ' ') FROM leadlex.estimate_cost('crm', NULL, '{phone}')";
    eventually("it is known", Duration::from_secs(3), || text(&mut caller, order) == "new dear main");
    let asked = call(&mut caller, 51, "{phone}", false);
    assert_eq!(asked["asked"], json!(["new", "dear"]), "{asked}");
    // As fill: it goes on for what is left.
    let asked = call(&mut caller, 52, "{phone,job_title}", false);
    assert_eq!(asked["asked"], json!(["new", "dear", "main"]), "{asked}");
}

#[test]
fn what_is_taken_back_or_replaced_is_not_kept() {
    let world = vain_and_good(4);
    let mut caller = world.caller();
    for n in 1..=4 {
        call(&mut caller, n, "{phone}", false);
    }
    quality_is(&world, "second", "phone", "4/4/4/4/0 1.0000 0.28 USD");
    // Replaced by another provider.
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+12025550999")));
    assert_eq!(call(&mut caller, 1, "{phone}", true)["source"], "main");
    quality_is(&world, "second", "phone", "4/4/4/3/0 1.0000 0.28 USD");
    quality_is(&world, "main", "phone", "5/1/1/1/0 0.2000 0.5 USD");
    // Rolled back: paid, and not used.
    caller.batch_execute("BEGIN").unwrap();
    call(&mut caller, 2, "{phone}", true);
    caller.batch_execute("ROLLBACK").unwrap();
    quality_is(&world, "main", "phone", "6/2/1/1/0 0.3333 0.6 USD");
    // Taken back: once, though an earlier value of the same contact goes with it.
    let revert = "SELECT count(*) FROM leadlex.revert_provider('second', '-infinity')";
    world.run(revert);
    quality_is(&world, "second", "phone", "4/4/4/0/3 1.0000 0.28 USD");
    world.run(revert);
    // Typed by hand since: nothing is replaced.
    world.run("UPDATE crm SET phone = '+12025550000'");
    call(&mut caller, 3, "{phone}", true);
    quality_is(&world, "second", "phone", "4/4/4/0/3 1.0000 0.28 USD");
    quality_is(&world, "main", "phone", "7/3/2/2/0 0.4286 0.35 USD");
    // Neither depends on the history.
    world.run("DELETE FROM leadlex.enrichment");
    assert_eq!(quality(&mut caller, "second", "phone"), "4/4/4/0/3 1.0000 0.28 USD");
    // Added again, it begins anew.
    world.run("SELECT leadlex.drop_provider('second')");
    world.add_provider("second", &world.provider.config("/second"));
    assert_eq!(quality(&mut caller, "second", "phone"), "");
}

#[test]
fn each_sees_its_own_workspaces() {
    let world = vain_and_good(1);
    world.run(
        "CREATE ROLE neighbour LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
         SELECT leadlex.grant_access('neighbour', leadlex.create_workspace('neighbours'))",
    );
    call(&mut world.caller(), 1, "{phone}", false);
    quality_is(&world, "main", "phone", "1/0/0/0/0 0.0000 - USD");
    let rows = "SELECT count(*) FROM leadlex.provider_quality";
    // The worker writes one vendor's after the other's.
    eventually("both vendors' are written", Duration::from_secs(5), || number(&mut world.owner(), rows) == 2);
    for (role, sees) in [("caller", 2), ("monitor", 2), ("neighbour", 0)] {
        assert_eq!(number(&mut world.cluster.connect_as("app", role), rows), sees, "{role}");
    }
    let explained: Vec<String> = world
        .owner()
        .query("EXPLAIN SELECT * FROM leadlex.provider_quality", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(!explained.concat().contains("enrichment"), "no look at the history: {explained:?}");
    // What is tried out is of no workspace.
    world.run("SELECT leadlex.check_provider('main', '{\"email\": \"somebody@acme.example\"}')");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(number(&mut world.owner(), rows), 2);
}

/// A vendor that often answers about somebody else is paid for that, and so it is neither cheap nor estimated to be.
#[test]
fn answers_about_others_count_for_estimates_and_for_the_order() {
    let world = world(120, a_match(0.1));
    configure(&world, "main", json!({"response": {"same_person": {"email": "/email"}}}));
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or("nobody").to_owned();
        let of = if email.contains("0@") { email.clone() } else { "somebody@else.example".to_owned() };
        let mut answer = only_phone(&format!("+1202555 {email}"));
        answer["email"] = json!(of);
        Behaviour::json(200, answer)
    });
    set(&mut world.caller(), 1, 60);
    let expected = "SELECT round(cost_expected, 2)::text FROM leadlex.estimate_cost('crm',
        ARRAY(SELECT id::text FROM crm WHERE phone IS NULL AND id::text > '00000000-0000-4000-8000-000000000060'), '{phone}')
        WHERE provider = 'main'";
    assert_eq!(text(&mut world.caller(), expected), "6.00", "each of sixty is billed");
    world.add_provider("dear", &world.provider.config("/dear"));
    configure(&world, "dear", json!({"price": a_match(0.5)}));
    world.provider.on("/dear", |request| {
        Behaviour::json(200, only_phone(&format!("+1202555 {}", request.param("email").unwrap_or("nobody"))))
    });
    world.run("SELECT leadlex.enable_provider('main', false)");
    set(&mut world.caller(), 61, 111);
    world.run("SELECT leadlex.enable_provider('main', true)");
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.waterfall = 'cheapest'").unwrap();
    let order = "SELECT string_agg(provider, ' ') FROM leadlex.estimate_cost('crm', NULL, '{phone}')";
    eventually("1.00 a number against 0.50", Duration::from_secs(5), || {
        text(&mut caller, order) == "dear main"
    });
}

/// Nothing is asked then, so it is written though no request has called the worker.
#[test]
fn what_is_taken_back_in_a_quiet_database_counts() {
    let world = world(3, a_match(0.28));
    crate::world::enrich(&mut world.caller(), 1).unwrap();
    let idle = "SELECT count(*) FROM leadlex.worker_status WHERE process = 'worker' AND state = 'idle'";
    eventually("the worker has nothing to do", Duration::from_secs(30), || world.number(idle) >= 1);
    world.run("SELECT leadlex.revert_enrichment(request_id) FROM leadlex.enrichment");
    let reverted = "SELECT max(reverted)::int8 FROM leadlex.provider_quality";
    eventually("it is counted", Duration::from_secs(5), || world.number(reverted) == 1);
}

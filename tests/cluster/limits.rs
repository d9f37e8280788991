//! The server's own limits: more workspaces and contacts than there is room for in shared memory.

use postgres::Client;
use uuid::Uuid;

use serde_json::json;

use crate::support::{Behaviour, Stop, eventually, fails};
use crate::world::{Beginning, PATH, World, credits, enrich, number};
use std::time::Duration;

/// 24 workspaces in turn, where there is room for 16 at a time: balances and rate use survive being put away.
#[test]
fn more_workspaces_than_places_keep_their_ledger() {
    const WORKSPACES: i64 = 24;
    let world = World::with(&Beginning { conf: &["leadlex.max_workspaces = 16"], ..Beginning::default() });
    world.run(
        "CREATE TABLE shared (LIKE crm INCLUDING ALL, workspace_id uuid); GRANT SELECT, UPDATE ON shared TO PUBLIC;
         SELECT leadlex.bind_contacts('shared');",
    );
    make_workspaces(&world, WORKSPACES);
    world.run(
        "INSERT INTO shared (id, email, workspace_id)
             SELECT gen_random_uuid(), name || '.' || n || '@acme.example', id FROM leadlex.workspace, generate_series(1, 2) AS n
             WHERE name <> 'acme';",
    );
    let mut sessions: Vec<Client> =
        (1..=WORKSPACES).map(|w| world.cluster.connect_as("app", &format!("role{w}"))).collect();
    for round in 1..=2 {
        for session in &mut sessions {
            let sql = "SELECT enrich_row('shared', (SELECT id::text FROM shared WHERE phone IS NULL
                           AND workspace_id = ANY (leadlex.my_workspaces()) LIMIT 1))";
            session.query_one(sql, &[]).unwrap();
            assert_eq!(credits(session), Some(5 - round));
            assert_eq!(day_used(session), round);
        }
    }
    world.cluster.restart(Stop::Fast);
    for w in 1..=WORKSPACES {
        let mut session = world.cluster.connect_as("app", &format!("role{w}"));
        assert_eq!((credits(&mut session), day_used(&mut session)), (Some(3), 2), "role{w}");
    }
}

/// With 5 credits and the plan starter, each granted to a role of its own: role1, role2 …
fn make_workspaces(world: &World, count: i64) {
    world.run(&format!(
        "DO $$ BEGIN FOR w IN 1..{count} LOOP
             EXECUTE format('CREATE ROLE role%s LOGIN', w);
             PERFORM leadlex.grant_access(('role' || w)::name, leadlex.create_workspace('w' || w, 5, 'starter'));
             COMMIT;
         END LOOP; END $$;"
    ));
}

/// More contacts than open transactions may hold, and credits enough.
fn with_1024_places(contacts: i32) -> World {
    let conf = &["leadlex.max_contacts_in_flight = 1024"];
    World::with(&Beginning { credits: Some(5_000), contacts, conf, ..Beginning::default() })
}

/// What found no place, as leadlex.memory_report() counts it.
fn without_place(world: &World, setting: &str) -> i64 {
    world.number(&format!("SELECT lost FROM leadlex.memory_report() WHERE setting = '{setting}'"))
}

fn day_used(session: &mut Client) -> i64 {
    number(session, "SELECT \"limit\" - remaining FROM leadlex.rate_limit() WHERE \"window\" = 'day'")
}

#[test]
fn more_open_transactions_than_places_are_told_so_and_lose_nothing() {
    let world = World::with(&Beginning { conf: &["leadlex.max_workspaces = 16"], ..Beginning::default() });
    make_workspaces(&world, 20);
    let mut sessions = Vec::new();
    let mut refused = 0;
    for w in 1..=20 {
        let mut session = world.cluster.connect_as("app", &format!("role{w}"));
        session.batch_execute("BEGIN").unwrap();
        if let Err(error) = session.query_one("SELECT leadlex.credits()", &[]) {
            let failure = crate::support::Failure::of(&error);
            assert_eq!(failure.sqlstate, "53400", "{failure:?}");
            assert!(failure.hint.as_ref().unwrap().contains("leadlex.max_workspaces"), "{failure:?}");
            refused += 1;
        }
        sessions.push(session);
    }
    assert!((4..=6).contains(&refused), "{refused}");
    assert_eq!(without_place(&world, "leadlex.max_workspaces"), refused);
    drop(sessions);
    eventually("the places are free again", Duration::from_secs(10), || {
        world.cluster.connect_as("app", "role20").query_one("SELECT leadlex.credits()", &[]).is_ok()
    });
    assert_eq!(enrich(&mut world.caller(), 1).unwrap()["credits_remaining"], 9);
}

#[test]
fn a_transaction_over_more_contacts_than_there_is_room_for_is_told_so_and_costs_nothing() {
    let world = with_1024_places(1_500);
    let mut caller = world.caller();
    let failure = fails(caller.query("SELECT enrich_contact(id) FROM crm", &[]));
    assert_eq!(failure.sqlstate, "53200", "{failure:?}");
    assert!(failure.hint.as_ref().unwrap().contains("leadlex.max_contacts_in_flight"), "{failure:?}");
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(5_000), 0));
    assert_eq!(without_place(&world, "leadlex.max_contacts_in_flight"), 1);
    let told = "SELECT count(*) FROM leadlex.check() WHERE problem = '1 found no place, or lost it, since the server started: contacts in transactions'";
    assert_eq!(world.number(told), 1);
    // All of it is free again.
    let sql = "SELECT enrich_contact(id) FROM (SELECT id FROM crm LIMIT 900) AS c";
    assert_eq!(caller.query(sql, &[]).unwrap().len(), 900);
    assert_eq!(world.ledger().credits, Some(4_100));
    world.check_credits_add_up();
}

#[test]
fn a_set_larger_than_that_that_writes_nothing_holds_no_more_than_it_looks_at() {
    let world = with_1024_places(3_000);
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    let mut caller = world.caller();
    let set = |contacts: &str| {
        format!(
            "SELECT count(*) FILTER (WHERE status = 'no_match'), count(*) FILTER (WHERE error_code = '53200') FROM enrich_contacts(ARRAY({contacts}))"
        )
    };
    let all = "SELECT id FROM crm ORDER BY id";
    for portion in 0..6 {
        caller.query_one(&set(&format!("{all} LIMIT 500 OFFSET 500 * {portion}")), &[]).unwrap();
    }
    let asked = world.provider.count();
    let row = caller.query_one(&set(all), &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (3_000, 0));
    assert_eq!((asked, world.provider.count()), (3_000, 3_000), "it is remembered that there is nothing");
}

#[test]
fn what_found_no_place_is_the_outcome_of_its_contact() {
    let world = with_1024_places(1_200);
    let mut caller = world.caller();
    let sql = "SELECT count(*), min(error_message) FROM enrich_contacts(ARRAY(SELECT id FROM crm ORDER BY id)) WHERE error_code = '53200'";
    let row = caller.query_one(sql, &[]).unwrap();
    let (refused, message) = (row.get::<_, i64>(0), row.get::<_, String>(1));
    assert_eq!(refused, 176, "{message}");
    assert!(message.contains("leadlex.max_contacts_in_flight is 1024"), "{message}");
    let told = "SELECT count(*) FROM leadlex.last_outcome WHERE status = 'failed' AND error_code = '53200'";
    eventually("their outcomes are told", Duration::from_secs(20), || world.number(told) == 176);
}

/// Old tables of a dropped extension must not be taken for those of a new one.
#[test]
fn an_extension_made_again_begins_with_empty_ledger() {
    let world = World::with(&Beginning { credits: Some(9), plan: "starter", ..Beginning::default() });
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    world.run("DROP EXTENSION leadlex_enrich CASCADE");
    assert_eq!(crate::world::sqlstate(&enrich(&mut caller, 2)), "42883", "there is no such function now");
    world.run("CREATE EXTENSION leadlex_enrich");
    let workspace: Uuid = world
        .owner()
        .query_one("SELECT leadlex.create_workspace('again', 2, 'unmetered')", &[])
        .unwrap()
        .get(0);
    world.run(&format!(
        "SELECT leadlex.grant_access('caller', '{workspace}'); SELECT leadlex.bind_contacts('crm', workspace_id => '{workspace}')"
    ));
    world.add_provider("main", &world.provider.config(PATH));
    // In the old session, too.
    assert_eq!(enrich(&mut caller, 2).unwrap()["credits_remaining"], 1);
    assert_eq!(credits(&mut world.caller()), Some(1));
}

#[test]
fn databases_can_be_dropped_renamed_and_copied_while_their_ledger_are_kept() {
    let world = World::with(&Beginning { plan: "org", ..Beginning::default() });
    let mut admin = world.cluster.connect("postgres");
    for round in 1..=3 {
        // The worker has been called for the rate limit, and lingers.
        let mut caller = world.caller();
        enrich(&mut caller, round).unwrap();
        drop(caller);
        let started = std::time::Instant::now();
        let copy = format!("copy{round}");
        admin.batch_execute(&format!("CREATE DATABASE {copy} TEMPLATE app")).unwrap();
        let drop = format!("DROP DATABASE {copy}");
        for sql in ["ALTER DATABASE app RENAME TO other", "ALTER DATABASE other RENAME TO app", &drop] {
            admin.batch_execute(sql).unwrap();
        }
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
    assert_eq!(world.ledger().charges, 3);
}

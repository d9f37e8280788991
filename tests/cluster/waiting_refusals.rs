//! A provider's refusal to tell anything about somebody ends on the list, whatever happens before it is written, and counts
//! until then.

use std::thread;
use std::time::Duration;

use postgres::Client;
use serde_json::{Value, json};

use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, PATH, World, contact, try_enrich};

fn world(conf: &[&str]) -> World {
    let world = World::with(&Beginning { contacts: 20, conf, ..Beginning::default() });
    world.provider.always(|_| Behaviour::json(451, json!({})));
    world
}

fn suppressed(result: &Value) -> bool {
    result["error"]["code"] == "no_match" && result["error"]["reason"] == "suppressed"
}

/// Nobody can write the list until this ends; it can be read.
fn locked(world: &World, sql: &str) -> Client {
    let mut lock = world.owner();
    lock.batch_execute(&format!("BEGIN; {sql}")).unwrap();
    lock
}

const WHOLE_LIST: &str = "LOCK TABLE leadlex.suppression IN SHARE MODE";

fn listed(world: &World, rows: i64) {
    eventually("the refusals are on the list", Duration::from_secs(10), || {
        world.number("SELECT count(*) FROM leadlex.suppression") == rows
    });
}

/// Another workspace with the same people in its own table. The first and the second contact are one person in both.
fn with_rival(world: &World) -> Client {
    world.run(
        "UPDATE crm SET email = 'PERSON1@acme.example' WHERE full_name = 'Person 2';
         CREATE ROLE rival LOGIN;
         CREATE TABLE rivals AS SELECT * FROM crm;
         ALTER TABLE rivals ADD PRIMARY KEY (id);
         GRANT SELECT, UPDATE ON rivals TO rival;
         SELECT leadlex.create_workspace('rival', NULL, 'unmetered');
         SELECT leadlex.grant_access('rival', id), leadlex.bind_contacts('rivals', workspace_id => id)
         FROM leadlex.workspace WHERE name = 'rival'",
    );
    world.cluster.connect_as("app", "rival")
}

fn add_own_provider(world: &World, workspace: &str) {
    let config = world.provider.config(&format!("/{workspace}"));
    let sql = "SELECT leadlex.add_provider(name || '_only', config => $1, secret => 'x', priority => 1, workspace_id => id)
               FROM leadlex.workspace WHERE name = $2";
    world.owner().execute(sql, &[&config, &workspace]).unwrap();
}

fn rival_asks(rival: &mut Client, n: i32) -> Value {
    rival.query_one("SELECT try_enrich_row('rivals', $1::uuid)", &[&contact(n)]).unwrap().get(0)
}

#[test]
fn refusals_of_two_workspaces_about_one_person_both_count_and_are_both_written() {
    let world = world(&[]);
    let mut rival = with_rival(&world);
    world.run("SELECT leadlex.drop_provider('main')");
    add_own_provider(&world, "acme");
    add_own_provider(&world, "rival");
    let mut caller = world.caller();
    let mut lock = locked(&world, WHOLE_LIST);
    for n in [1, 2, 1] {
        assert!(suppressed(&try_enrich(&mut caller, n)));
        assert!(suppressed(&rival_asks(&mut rival, n)));
    }
    assert_eq!(world.provider.count(), 2, "each workspace has asked once");
    lock.batch_execute("ROLLBACK").unwrap();
    listed(&world, 2);
    assert_eq!(world.number("SELECT count(DISTINCT workspace_id) FROM leadlex.suppression"), 2);
}

#[test]
fn a_refusal_for_one_workspace_does_not_replace_one_for_all() {
    let world = world(&[]);
    let mut rival = with_rival(&world);
    add_own_provider(&world, "rival");
    world.provider.on(PATH, |_| Behaviour::json(451, json!({})).after(Duration::from_millis(300)));
    world.provider.on("/rival", |_| Behaviour::json(451, json!({})).after(Duration::from_millis(1_200)));
    let mut caller = world.caller();
    let mut lock = locked(&world, WHOLE_LIST);
    thread::scope(|scope| {
        scope.spawn(|| assert!(suppressed(&rival_asks(&mut rival, 1))));
        world.provider.wait_for(1, Duration::from_secs(10));
        assert!(suppressed(&try_enrich(&mut caller, 1)));
    });
    assert_eq!(world.provider.count(), 2);
    assert!(suppressed(&try_enrich(&mut caller, 2)));
    assert_eq!(world.provider.count(), 2, "asked again although refused for everybody");
    lock.batch_execute("ROLLBACK").unwrap();
    listed(&world, 2);
}

//! leadlex.drop_workspace.

use std::thread;
use std::time::Duration;

use postgres::Client;
use serde_json::json;
use uuid::Uuid;

use super::rows;
use crate::support::{Behaviour, eventually, fails, person};
use crate::world::{
    Beginning, PATH, World, contact, enrich, enrich_with_key, number, pid, sqlstate, try_enrich,
};

const SOON: Duration = Duration::from_secs(20);

fn drops(client: &mut Client, workspace: Uuid) -> Result<u64, postgres::Error> {
    client.execute("SELECT leadlex.drop_workspace($1)", &[&workspace])
}

/// Tables with rows of this workspace, by their own column for it.
fn held(world: &World, workspace: Uuid) -> Vec<String> {
    let mut owner = world.owner();
    let sql = "SELECT a.attrelid::regclass::text, a.attname::text FROM pg_attribute AS a
               JOIN pg_class AS c ON c.oid = a.attrelid
               JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
               WHERE c.relkind = 'r' AND (a.attname = 'workspace_id' OR c.relname IN ('workspace', 'rate_use') AND a.attname = 'id')
               ORDER BY 1";
    let columns: Vec<(String, String)> =
        owner.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut held = Vec::new();
    for (table, column) in columns {
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} = '{workspace}'");
        if number(&mut owner, &sql) > 0 {
            held.push(table);
        }
    }
    held
}

#[test]
fn a_workspace_goes_with_what_is_its_own_and_its_records_stay() {
    let world = World::with(&Beginning { plan: "org", ..Beginning::default() });
    let mut caller = world.caller();
    let workspace = world.workspace;
    let mut own = world.provider.config("/own");
    own["price"] = json!({"currency": "USD", "per_match": 0.28});
    world
        .owner()
        .execute(
            "SELECT leadlex.add_provider('own', config => $1, secret => 'secret', priority => 50, workspace_id => $2)",
            &[&own, &workspace],
        )
        .unwrap();
    world.provider.on("/own", |_| Behaviour::json(200, person()));
    let key: String =
        world.owner().query_one("SELECT leadlex.create_api_key($1)", &[&workspace]).unwrap().get(0);
    world.run(&format!(
        "SELECT leadlex.alter_provider('main', '{{\"price\": {{\"currency\": \"USD\", \"per_match\": 0.1}}}}');
         SELECT leadlex.set_budget('own', 'day', 100, currency => 'USD'); SELECT leadlex.set_budget(NULL, 'month', 100, '{workspace}', 'USD');
         SELECT leadlex.allot_credits('{workspace}', 10, 'month'); SELECT leadlex.suppress('gone@acme.example', workspace_id => '{workspace}');
         SELECT leadlex.allow_shared_value('family@acme.example', '{workspace}')"
    ));
    enrich_with_key(&mut caller, 1, Uuid::new_v4()).unwrap();
    caller.query("SELECT leadlex.revert_enrichment(request_id) FROM leadlex.enrichment", &[]).unwrap();
    enrich(&mut caller, 2).unwrap();
    world.provider.on("/own", |_| Behaviour::json(404, json!({})));
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    try_enrich(&mut caller, 3);
    caller.execute("SELECT leadlex.enqueue(ARRAY[$1::uuid])", &[&contact(3)]).unwrap();
    eventually("the job is over, and all is written", SOON, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done'") == 1
            && world.number("SELECT count(*) FROM leadlex.outcome") == 1
            && world.number("SELECT count(*) FROM leadlex.rate_use") > 0
    });
    let mut owner = world.owner();
    // Not while a table is bound to it.
    let refused = fails(drops(&mut owner, workspace));
    assert_eq!(refused.sqlstate, "2BP01", "{refused:?}");
    assert!(format!("{refused:?}").contains("public.crm"), "{refused:?}");
    world.run("SELECT leadlex.unbind_contacts('crm')");
    let usage = rows(&mut owner, "SELECT * FROM leadlex.usage_daily ORDER BY source");
    let history = rows(&mut owner, "SELECT * FROM leadlex.enrichment ORDER BY request_id");
    assert_eq!(history.len(), 2);
    drops(&mut owner, workspace).unwrap();
    drop(caller);
    world.settle();
    let stays =
        ["leadlex.credit_balance", "leadlex.credit_settled", "leadlex.enrichment", "leadlex.spend_day"];
    let left = held(&world, workspace);
    let more = ["leadlex.spend_sum", "leadlex.spend_lease", "leadlex.provider_field_tally"];
    let left: Vec<&String> = left.iter().filter(|table| !more.contains(&table.as_str())).collect();
    assert_eq!(left, stays);
    assert_eq!(rows(&mut owner, "SELECT name FROM leadlex.provider"), [json!({"name": "main"})]);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.provider_secret"), 1);
    assert_eq!(number(&mut owner, "SELECT count(*) FROM leadlex.budget_limit"), 0);
    // The owner reads on; those who had it do not any more.
    assert_eq!(rows(&mut owner, "SELECT * FROM leadlex.enrichment ORDER BY request_id"), history);
    assert_eq!(rows(&mut owner, "SELECT * FROM leadlex.usage_daily ORDER BY source"), usage);
    let mut caller = world.caller();
    assert_eq!(number(&mut caller, "SELECT count(*) FROM leadlex.enrichment"), 0);
    caller.query("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    assert_eq!(sqlstate(&caller.batch_execute("SELECT leadlex.whoami()")), "LX401");
    assert_eq!(sqlstate(&drops(&mut owner, workspace)), "22023");
    assert_eq!(sqlstate(&owner.batch_execute("SELECT leadlex.drop_workspace(NULL)")), "22023");
    assert_eq!(sqlstate(&world.caller().batch_execute("SELECT leadlex.drop_workspace(NULL)")), "42501");
    // What is held there on a person is told of and erased all the same.
    world.run("SELECT leadlex.bind_contacts('crm', workspace_id => leadlex.create_workspace('next'))");
    let told = super::told(&mut owner, "export_contact($1)", 2);
    assert_eq!(told["history"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(super::told(&mut owner, "forget_contact($1)", 2)["history"], 1);
    let left = "SELECT count(*) FROM leadlex.erasure WHERE workspace_id = $1";
    assert_eq!(owner.query_one(left, &[&workspace]).unwrap().get::<_, i64>(0), 1);
}

#[test]
fn it_does_not_go_while_jobs_wait() {
    let world = World::new();
    world.run("SELECT leadlex.pause_queue()");
    world
        .caller()
        .execute("SELECT leadlex.enqueue(ARRAY[$1::uuid, $2])", &[&contact(1), &contact(2)])
        .unwrap();
    world.run("SELECT leadlex.unbind_contacts('crm')");
    let mut owner = world.owner();
    let refused = fails(drops(&mut owner, world.workspace));
    assert_eq!(refused.sqlstate, "2BP01");
    assert!(format!("{refused:?}").contains("2 contacts are queued or running"), "{refused:?}");
    world.run("DELETE FROM leadlex.job_set");
    let mut open = owner.transaction().unwrap();
    open.execute("SELECT leadlex.drop_workspace($1)", &[&world.workspace]).unwrap();
    open.rollback().unwrap();
    assert_eq!(crate::world::credits(&mut world.caller()), Some(10), "rolled back");
    drops(&mut owner, world.workspace).unwrap();
}

#[test]
fn it_waits_for_calls_under_way_and_calls_wait_for_it() {
    let world = World::new();
    world.run("CREATE TABLE own (id int PRIMARY KEY, workspace_id uuid, email text, phone text); GRANT SELECT, UPDATE ON own TO caller; SELECT leadlex.bind_contacts('own'); SELECT leadlex.unbind_contacts('crm'); SELECT leadlex.create_workspace('other')");
    world.run(&format!(
        "INSERT INTO own SELECT n, '{}', 'p' || n || '@acme.example' FROM generate_series(1, 3) AS n",
        world.workspace
    ));
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_secs(1)));
    let call = |mut client: Client, id: i32| {
        thread::spawn(move || client.query_one("SELECT enrich_row('own', $1::int)", &[&id]).map(|_| ()))
    };
    let busy = call(world.caller(), 1);
    world.provider.wait_for(1, SOON);
    let mut owner = world.owner();
    owner.batch_execute("SET lock_timeout = '100ms'").unwrap();
    assert_eq!(sqlstate(&drops(&mut owner, world.workspace)), "55P03");
    owner.batch_execute("SET lock_timeout = 0; SET statement_timeout = '100ms'").unwrap();
    assert_eq!(sqlstate(&drops(&mut owner, world.workspace)), "57014");
    owner.batch_execute("SET statement_timeout = 0").unwrap();
    let mut open = owner.transaction().unwrap();
    open.execute("SELECT leadlex.drop_workspace($1)", &[&world.workspace]).unwrap();
    busy.join().unwrap().unwrap();
    assert_eq!(number(&mut open, "SELECT count(*) FROM leadlex.enrichment"), 1, "it has waited");
    // Who comes meanwhile finds out that it is gone.
    let mut caller = world.caller();
    let waiting = pid(&mut caller);
    let late = call(caller, 2);
    world.wait_until_blocked(waiting);
    open.commit().unwrap();
    assert_eq!(sqlstate(&late.join().unwrap()), "LX401");
    assert_eq!(world.provider.count(), 1);
    assert_eq!(world.provider.count(), 1);
}

/// A batch that commits as it goes: what is between two chunks is not under way.
#[test]
fn a_batch_ends_when_its_workspace_is_dropped_between_two_chunks() {
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE own (id int PRIMARY KEY, workspace_id uuid, email text, phone text); GRANT SELECT, UPDATE ON own TO caller;
         INSERT INTO own SELECT n, '{}', 'p' || n || '@acme.example' FROM generate_series(1, 6) AS n;
         SELECT leadlex.bind_contacts('own'); SELECT leadlex.unbind_contacts('crm')",
        world.workspace
    ));
    world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_millis(500)));
    let mut caller = world.caller();
    let batch = thread::spawn(move || {
        caller.batch_execute("CALL leadlex.enrich_batch('own', '{1,2,3,4,5,6}', chunk => 1)")
    });
    world.provider.wait_for(2, SOON);
    let mut owner = world.owner();
    drops(&mut owner, world.workspace).unwrap();
    assert_eq!(sqlstate(&batch.join().unwrap()), "LX401");
    let (history, asked) =
        (number(&mut owner, "SELECT count(*) FROM leadlex.enrichment"), world.provider.count());
    assert!((2..6).contains(&history), "{history} of {asked}");
    let ledger = "SELECT count(*) FROM leadlex.credit_ledger WHERE amount = -1";
    assert_eq!(number(&mut owner, ledger), history);
}

/// In a database without workspaces: the sessions' own "default" is one.
#[test]
fn several_sessions_can_add_the_first_provider_at_once() {
    let world = World::new();
    let add = |name: &str| {
        let config = world.provider.config(PATH);
        format!("SELECT leadlex.add_provider('{name}', config => '{config}', secret => 'x')")
    };
    let ends = [("committed", "COMMIT", vec!["one", "two"]), ("undone", "ROLLBACK", vec!["two"])];
    for (database, end, names) in ends {
        let mut first = world.cluster.database(database);
        first.batch_execute(&format!("BEGIN; {}", add("one"))).unwrap();
        let mut second = world.cluster.connect(database);
        let waiting = pid(&mut second);
        let sql = add("two");
        let adding = thread::spawn(move || second.batch_execute(&sql));
        world.wait_until_blocked(waiting);
        first.batch_execute(end).unwrap();
        adding.join().unwrap().unwrap_or_else(|error| panic!("{end}: {error:?}"));
        let made = rows(
            &mut first,
            "SELECT (SELECT array_agg(name ORDER BY name) FROM leadlex.provider) AS providers,
                    array_agg(name) AS workspaces, count(workspace_id) AS balances
             FROM leadlex.workspace FULL JOIN leadlex.credit_balance ON id = workspace_id",
        );
        assert_eq!(made, [json!({"providers": names, "workspaces": ["default"], "balances": 1})], "{end}");
        // Of the same name there is one, and who comes second is told so as ever.
        first.batch_execute(&format!("BEGIN; {}", add("same"))).unwrap();
        let mut second = world.cluster.connect(database);
        let waiting = pid(&mut second);
        let sql = add("same");
        let adding = thread::spawn(move || fails(second.batch_execute(&sql)));
        world.wait_until_blocked(waiting);
        first.batch_execute("COMMIT").unwrap();
        let failure = adding.join().unwrap();
        assert_eq!(
            (failure.sqlstate.as_str(), failure.message.as_str()),
            ("23505", "there is a provider \"same\" already")
        );
    }
}

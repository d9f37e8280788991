//! After a change of a configuration a session reads what has changed, and keeps the rest.

use postgres::Client;
use serde_json::json;

use crate::support::{Behaviour, person};
use crate::world::{Beginning, World, contact};

/// Providers beside the one that answers.
const OTHERS: i32 = 30;

fn world() -> World {
    let world = World::with(&Beginning {
        credits: None,
        conf: &["leadlex.receipt_ttl = 0", "leadlex.recheck_after = 0"],
        ..Beginning::default()
    });
    for path in ["/a", "/b"] {
        world.provider.on(path, |_| Behaviour::json(200, person()));
    }
    for n in 0..OTHERS {
        world.add_provider(&format!("other_{n}"), &world.provider.config("/other"));
    }
    world.run("SELECT leadlex.enable_provider(name, false) FROM leadlex.provider WHERE name LIKE 'other%'");
    world
}

/// The path that was asked, and the secret.
fn asked(world: &World, client: &mut Client) -> (String, String) {
    world.provider.forget();
    client.execute(&format!("SELECT enrich_contact('{}', overwrite => true)", contact(1)), &[]).unwrap();
    let request = world.provider.requests().pop().expect("a request");
    (request.path.clone(), request.header("x-api-key").unwrap_or_default().to_owned())
}

fn set_path(client: &mut Client, name: &str, url: &str) {
    let config = json!({"request": {"url": url}});
    client.execute("SELECT leadlex.alter_provider($1, config => $2)", &[&name, &config]).unwrap();
}

#[test]
fn a_session_sees_each_change_of_a_provider_among_many() {
    let world = world();
    let mut caller = world.caller();
    let mut owner = world.owner();
    set_path(&mut owner, "main", &world.provider.url("/a"));
    let (path, secret) = asked(&world, &mut caller);
    assert_eq!(path, "/a");
    set_path(&mut owner, "main", &world.provider.url("/b"));
    assert_eq!(asked(&world, &mut caller), ("/b".to_owned(), secret.clone()));
    owner.execute("SELECT leadlex.alter_provider('main', secret => 'another')", &[]).unwrap();
    let (path, another) = asked(&world, &mut caller);
    assert_eq!(path, "/b");
    assert!(another.contains("another") && another != secret, "{another}");
    // Another comes first, and is enabled.
    set_path(&mut owner, "other_7", &world.provider.url("/a"));
    owner.batch_execute("SELECT leadlex.alter_provider('other_7', priority => 1)").unwrap();
    assert_eq!(asked(&world, &mut caller).0, "/b");
    owner.batch_execute("SELECT leadlex.enable_provider('other_7', true)").unwrap();
    assert_eq!(asked(&world, &mut caller).0, "/a");
    // Rows are where others were.
    world.run("SELECT leadlex.enable_provider('other_7', false)");
    world.run("VACUUM FULL leadlex.provider_config");
    assert_eq!(asked(&world, &mut caller).0, "/b");
    owner.batch_execute("SELECT leadlex.drop_provider('main')").unwrap();
    world.add_provider("main", &world.provider.config("/a"));
    assert_eq!(asked(&world, &mut caller).0, "/a");
}

#[test]
fn a_change_that_is_rolled_back_is_forgotten() {
    let world = world();
    let mut owner = world.owner();
    owner.batch_execute(&format!("SET leadlex.workspace = '{}'", world.workspace)).unwrap();
    set_path(&mut owner, "main", &world.provider.url("/a"));
    let role = "SELECT leadlex.grant_access(current_user, id) FROM leadlex.workspace";
    owner.batch_execute(role).unwrap();
    assert_eq!(asked(&world, &mut owner).0, "/a");
    owner.batch_execute("BEGIN; SAVEPOINT s").unwrap();
    set_path(&mut owner, "main", &world.provider.url("/b"));
    assert_eq!(asked(&world, &mut owner).0, "/b");
    owner.batch_execute("ROLLBACK TO s").unwrap();
    assert_eq!(asked(&world, &mut owner).0, "/a");
    set_path(&mut owner, "main", &world.provider.url("/b"));
    assert_eq!(asked(&world, &mut owner).0, "/b");
    owner.batch_execute("ROLLBACK").unwrap();
    assert_eq!(asked(&world, &mut owner).0, "/a");
}

#[test]
fn a_session_sees_each_change_of_a_binding_among_many() {
    let world = world();
    let mut caller = world.caller();
    for n in 1..=20 {
        world.run(&format!(
            "CREATE TABLE bound_{n} (LIKE crm INCLUDING ALL); ALTER TABLE bound_{n} ADD title text;
             INSERT INTO bound_{n} (id, full_name, email) SELECT id, full_name, email FROM crm LIMIT 1;
             GRANT SELECT, UPDATE ON bound_{n} TO caller; SELECT leadlex.bind_contacts('bound_{n}')"
        ));
    }
    let mut filled = |table: &str, column: &str| -> i64 {
        let call = format!("SELECT enrich_row('{table}', id) FROM {table}");
        caller.execute(&call, &[]).unwrap();
        world.number(&format!("SELECT count({column}) FROM {table}"))
    };
    assert_eq!(filled("bound_3", "job_title"), 1);
    world.run(r#"SELECT leadlex.bind_contacts('bound_4', columns => '{"job_title": "title"}')"#);
    assert_eq!((filled("bound_4", "title"), filled("bound_4", "job_title")), (1, 0));
    assert_eq!(filled("bound_5", "job_title"), 1);
    // A table takes another's name, and a binding is taken away.
    world.run(
        "ALTER TABLE bound_6 RENAME TO former; ALTER TABLE bound_7 RENAME TO bound_6; SELECT leadlex.unbind_contacts('bound_8')",
    );
    assert_eq!((filled("bound_6", "job_title"), world.number("SELECT count(job_title) FROM former")), (1, 0));
    assert!(caller.execute("SELECT enrich_row('bound_8', id) FROM bound_8", &[]).is_err());
}

/// Plans that the session has, without that of this statement.
fn plans(client: &mut Client) -> Vec<String> {
    let sql = "SELECT ident FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident NOT LIKE '%CachedPlanSource%'";
    client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_session_keeps_the_plans_of_what_each_call_runs_and_no_others() {
    let world = World::new();
    world.run("GRANT pg_read_all_stats TO caller");
    let mut caller = world.caller();
    let call = |client: &mut Client, n| {
        client.batch_execute(&format!("SELECT enrich_contact('{}')", contact(n))).unwrap()
    };
    call(&mut caller, 1);
    let kept = plans(&mut caller);
    let of_the_table = |sql: &&String| sql.contains("crm");
    assert_eq!(kept.iter().filter(of_the_table).count(), 2, "one reads, one writes: {kept:#?}");
    assert_eq!(kept.len(), 2, "{kept:#?}");
    // What has changed is planned again, and kept: it is likely to change again.
    world.run("SELECT leadlex.set_rate_limit(id, 1000, NULL) FROM leadlex.workspace");
    call(&mut caller, 2);
    world.run("SELECT leadlex.set_rate_limit(id, 2000, NULL) FROM leadlex.workspace");
    call(&mut caller, 3);
    let kept = plans(&mut caller);
    assert_eq!(kept.len(), 3, "{kept:#?}");
    assert!(kept.iter().any(|sql| sql.contains("FROM leadlex.workspace")), "{kept:#?}");
}

#[test]
fn indexes_that_are_built_anew_concurrently_are_found_again() {
    let world = World::new();
    let mut caller = world.caller();
    let mut enrich = |n| {
        caller.batch_execute(&format!("SELECT enrich_contact('{}')", contact(n))).unwrap();
    };
    enrich(1);
    for index in ["receipt_contact", "receipt_former", "receipt_pkey"] {
        world.run(&format!("REINDEX INDEX CONCURRENTLY leadlex.{index}"));
        // From then on the session looks into the tables again.
        world.run("SELECT leadlex.suppress('stranger@example.org')");
        enrich(2);
    }
    world.run("REINDEX TABLE CONCURRENTLY leadlex.budget_limit");
    world.run("VACUUM FULL leadlex.receipt");
    enrich(3);
    assert_eq!(world.provider.count(), 3);
}

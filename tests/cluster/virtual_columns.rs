//! Virtual generated columns, and installations apart from the server's: both from PostgreSQL 18 on. Before, there is
//! nothing of either to look at.

use std::fs;
use std::time::Duration;

use postgres::Client;

use crate::support::{Cluster, check, eventually, fails, server};
use crate::world::{World, number};

const SOON: Duration = Duration::from_secs(15);

fn since_18() -> bool {
    server().major >= 18
}

fn bind(world: &World, table: &str, rest: &str) -> String {
    format!("SELECT leadlex.bind_contacts('{table}'{rest}, workspace_id => '{}')", world.workspace)
}

#[test]
fn a_key_that_no_row_holds_is_refused() {
    if !since_18() {
        return;
    }
    let world = World::new();
    world.run(
        "CREATE TABLE lead (number int PRIMARY KEY, id text GENERATED ALWAYS AS ('L' || number::text), email text, phone text);
         CREATE TABLE owned (id int PRIMARY KEY, team text, workspace_id text GENERATED ALWAYS AS (team) VIRTUAL, email text, phone text);
         CREATE TABLE kept (number int, id int GENERATED ALWAYS AS (number + 1) STORED PRIMARY KEY, email text, phone text);
         CREATE TABLE shown (id int PRIMARY KEY, email text, mobile text, phone text GENERATED ALWAYS AS (mobile))",
    );
    let mut owner = world.owner();
    for (table, column) in [("lead", "id"), ("owned", "workspace_id")] {
        let sql = format!("SELECT leadlex.bind_contacts('{table}')");
        let failure = fails(owner.batch_execute(&sql));
        assert_eq!(failure.sqlstate, "42804", "{failure:?}");
        assert!(
            failure.message.contains(&format!("cannot be {column}: it is a virtual generated column")),
            "{failure:?}"
        );
        assert!(failure.hint.unwrap().contains("STORED"));
    }
    let failure = fails(owner.batch_execute(&bind(&world, "shown", "")));
    assert!(failure.sqlstate == "42804" && failure.message.contains("generated"), "{failure:?}");
    world.run(&bind(&world, "kept", ""));
    world.run(&bind(&world, "lead", ", columns => '{\"id\": \"number\"}'"));
}

#[test]
fn a_virtual_address_is_read_and_its_changes_are_seen() {
    if !since_18() {
        return;
    }
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE lead (id int PRIMARY KEY, login text, host text, note text, email text GENERATED ALWAYS AS (login || '@' || host), phone text);
         {};
         CREATE TRIGGER enqueue AFTER INSERT OR UPDATE ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert('phone');
         SELECT leadlex.grant_access(current_user, '{}')",
        bind(&world, "lead", ""),
        world.workspace
    ));
    let mut owner = world.owner();
    let jobs = |owner: &mut Client| number(owner, "SELECT count(*) FROM leadlex.job");
    let phone = |owner: &mut Client| -> Option<String> {
        owner.query_one("SELECT phone FROM lead", &[]).unwrap().get(0)
    };
    owner.batch_execute("INSERT INTO lead (id, login) VALUES (1, 'ada')").unwrap();
    eventually("without an address nobody is asked", SOON, || {
        number(&mut world.owner(), "SELECT count(*) FROM leadlex.job WHERE outcome = 'no_match'") == 1
    });
    assert_eq!((jobs(&mut owner), world.provider.count()), (1, 0));
    owner.batch_execute("UPDATE lead SET note = 'called'").unwrap();
    assert_eq!(jobs(&mut owner), 1, "what it is not computed from");
    owner.batch_execute("UPDATE lead SET host = 'acme.example'").unwrap();
    assert_eq!(jobs(&mut owner), 2);
    eventually("it is enriched", SOON, || phone(&mut world.owner()).is_some());
    assert_eq!(world.provider.requests()[0].param("email"), Some("ada@acme.example"));
    // For a statement, with both tables, and by the column's own name.
    owner
        .batch_execute(
            "DROP TRIGGER enqueue ON lead; UPDATE lead SET phone = NULL;
             CREATE TRIGGER enqueue AFTER UPDATE ON lead REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT
                 EXECUTE FUNCTION leadlex.enqueue_on_insert('phone');
             UPDATE lead SET note = 'again'",
        )
        .unwrap();
    assert_eq!(jobs(&mut owner), 2);
    owner.batch_execute("UPDATE lead SET login = 'grace'").unwrap();
    assert_eq!(jobs(&mut owner), 3);
    eventually("she is asked about", SOON, || world.provider.count() == 2);
    owner
        .batch_execute(
            "DROP TRIGGER enqueue ON lead; UPDATE lead SET phone = NULL;
             CREATE TRIGGER enqueue AFTER UPDATE OF email ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert('phone');
             UPDATE lead SET note = 'once more'; UPDATE lead SET login = 'edsger'",
        )
        .unwrap();
    assert_eq!(jobs(&mut owner), 4);
}

#[test]
fn a_key_that_became_virtual_is_told_of() {
    if !since_18() {
        return;
    }
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE lead (number int PRIMARY KEY, id int, email text, phone text); {};
         CREATE TRIGGER enqueue AFTER INSERT ON lead REFERENCING NEW TABLE AS n FOR EACH STATEMENT
             EXECUTE FUNCTION leadlex.enqueue_on_insert()",
        bind(&world, "lead", "")
    ));
    let (mut client, told) = world.listening("postgres");
    client.batch_execute("INSERT INTO lead VALUES (1, 1, 'one@acme.example')").unwrap();
    assert_eq!(told.warnings(), [""; 0]);
    client.batch_execute("ALTER TABLE lead DROP COLUMN id; ALTER TABLE lead ADD COLUMN id int GENERATED ALWAYS AS (number)").unwrap();
    client.batch_execute("INSERT INTO lead VALUES (2, 'two@acme.example')").unwrap();
    let told = told.all();
    let why = "cannot be id any more: it is a virtual generated column";
    assert!(
        told.iter().any(|warning| format!("{} {}", warning.message, warning.detail).contains(why)),
        "{told:?}"
    );
    world.run("GRANT SELECT, UPDATE ON lead TO caller");
    let failure = fails(world.caller().query("SELECT enrich_row('lead', 2)", &[]));
    assert_eq!(failure.sqlstate, "42804", "{failure:?}");
}

#[test]
fn an_extension_apart_from_the_server_is_found() {
    if !since_18() {
        return;
    }
    // A server without the extension, which stands in a folder of its own.
    let tree = server().bin.ancestors().find(|dir| dir.join("usr").is_dir()).unwrap().to_owned();
    // Programs can be run there; where clusters are, perhaps not.
    let apart = tree.with_file_name("run").join(format!("apart-{}", std::process::id()));
    let _ = fs::remove_dir_all(&apart);
    fs::create_dir_all(apart.join("own/extension")).unwrap();
    check(std::process::Command::new("cp").arg("-a").arg(&tree).arg(apart.join("tree")), "cp");
    let files = "find tree -name 'leadlex_enrich*.so' -exec mv {} own/ ';' && find tree -path '*/extension/leadlex_enrich*' -exec mv {} own/extension/ ';'";
    check(std::process::Command::new("sh").current_dir(&apart).args(["-c", files]), "mv");
    check(std::process::Command::new("chmod").args(["-R", "a+rX"]).arg(&apart), "chmod");
    let bin = apart.join("tree").join(server().bin.strip_prefix(&tree).unwrap());
    let own = apart.join("own").to_str().unwrap().to_owned();
    let cluster = Cluster::create_of(
        Box::leak(Box::new(server().elsewhere(bin))),
        &[
            &format!("extension_control_path = '{own}:$system'"),
            &format!("dynamic_library_path = '{own}:$libdir'"),
        ],
    );
    cluster.start_again();
    let mut client = cluster.database("app");
    client
        .batch_execute("SELECT leadlex.create_workspace('acme'); SELECT leadlex.create_contact_table()")
        .unwrap();
    drop(client);
    drop(cluster);
    fs::remove_dir_all(&apart).unwrap();
}

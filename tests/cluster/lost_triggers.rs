//! A table that is replaced under its name stays bound, and may lose its trigger by that.

use std::time::Duration;

use postgres::Client;

use crate::support::{check, eventually};
use crate::world::{Beginning, World, contact};

const TRIGGER: &str = "CREATE TRIGGER enrich AFTER INSERT ON crm REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enqueue_on_insert()";
const REPLACE: &str =
    "BEGIN; CREATE TABLE crm_new (LIKE crm INCLUDING ALL); INSERT INTO crm_new SELECT * FROM crm;
    ALTER TABLE crm RENAME TO crm_old; ALTER TABLE crm_new RENAME TO crm; DROP TABLE crm_old;
    GRANT SELECT, UPDATE ON crm TO caller; COMMIT";

fn call(client: &mut Client, n: i32) {
    client.query_one("SELECT enrich_contact($1)", &[&contact(n)]).unwrap();
}

/// Of a session of its own.
fn warnings(world: &World) -> Vec<String> {
    let (mut client, told) = world.listening("caller");
    for n in 1..=2 {
        call(&mut client, n);
    }
    client.query("SELECT * FROM enrich_contacts($1)", &[&vec![contact(3)]]).unwrap();
    drop(client);
    told.warnings()
}

fn triggers(world: &World) -> Vec<String> {
    world.owner().query_one("SELECT triggers FROM leadlex.binding", &[]).unwrap().get(0)
}

#[test]
fn a_binding_shows_the_triggers_of_the_table_that_has_the_name_now() {
    let world = World::new();
    assert_eq!(triggers(&world), [""; 0]);
    world.run(TRIGGER);
    world.run("CREATE TRIGGER \"Another\" AFTER UPDATE OF email ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enrich_on_insert()");
    world.run(
        "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
               CREATE TRIGGER own AFTER INSERT ON crm FOR EACH ROW EXECUTE FUNCTION own()",
    );
    assert_eq!(triggers(&world), ["Another", "enrich"]);
    world.run("ALTER TABLE crm DISABLE TRIGGER enrich");
    assert_eq!(triggers(&world), ["Another"]);
    world.run("ALTER TABLE crm ENABLE ALWAYS TRIGGER enrich; DROP TRIGGER \"Another\" ON crm");
    assert_eq!(triggers(&world), ["enrich"]);
    world.run(REPLACE);
    assert_eq!(triggers(&world), [""; 0]);
    world.run("DROP TABLE crm");
    assert_eq!(triggers(&world), [""; 0]);
    // As the hint says, where the table is not to come back.
    world.run("DELETE FROM leadlex.binding WHERE (schema_name, table_name) = ('public', 'crm')");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.binding"), 0);
}

#[test]
fn a_lost_trigger_is_told_once_a_session() {
    let world = World::new();
    assert_eq!(warnings(&world), [""; 0]);
    world.run(TRIGGER);
    // Goes on through the replacement, as an application's does.
    let (mut lasting, told) = world.listening("caller");
    call(&mut lasting, 4);
    world.run(REPLACE);
    let expected = ["\"public\".\"crm\" was replaced by a table without its trigger"];
    call(&mut lasting, 4);
    call(&mut lasting, 5);
    assert_eq!(told.warnings(), expected);
    assert_eq!(warnings(&world), expected);
    // Another replacement without one is no other matter.
    world.run(REPLACE);
    assert_eq!(warnings(&world), expected);
    world.run(TRIGGER);
    assert_eq!(warnings(&world), [""; 0]);
    // Replaced by one that has it.
    world.run(&format!("{}; {}", REPLACE.replace("COMMIT", ""), TRIGGER.to_owned() + "; COMMIT"));
    assert_eq!(warnings(&world), [""; 0]);
    world.run(REPLACE);
    assert_eq!(warnings(&world), expected);
    // So it is meant.
    world.run(&format!("SELECT leadlex.bind_contacts('crm', workspace_id => '{}')", world.workspace));
    assert_eq!(warnings(&world), [""; 0]);
}

#[test]
fn who_drops_a_trigger_does_not_lose_it() {
    let world = World::new();
    world.run(TRIGGER);
    world.run("DROP TRIGGER enrich ON crm");
    assert_eq!(warnings(&world), [""; 0]);
    world.run(REPLACE);
    assert_eq!(warnings(&world), [""; 0]);
    // What is rolled back has not been.
    world.run(&format!("BEGIN; {TRIGGER}; ROLLBACK"));
    world.run(REPLACE);
    assert_eq!(warnings(&world), [""; 0]);
    // A table brings its trigger with its name, and is bound after it has it.
    world.run("ALTER TABLE crm RENAME TO crm_old; CREATE TABLE crm_new (LIKE crm_old INCLUDING ALL); INSERT INTO crm_new SELECT * FROM crm_old;
               GRANT SELECT, UPDATE ON crm_new TO caller");
    world.run(&TRIGGER.replace("ON crm", "ON crm_new"));
    world.run("ALTER TABLE crm_new RENAME TO crm");
    assert_eq!(warnings(&world), [""; 0]);
    world.run(&REPLACE.replace("crm_old", "crm_older"));
    assert_eq!(warnings(&world).len(), 1);
    world.run(&format!("SELECT leadlex.unbind_contacts('crm'); {TRIGGER}; SELECT leadlex.bind_contacts('crm', workspace_id => '{}')", world.workspace));
    world.run(&REPLACE.replace("crm_old", "crm_oldest"));
    assert_eq!(warnings(&world).len(), 1);
}

/// A dump holds another oid for every table, and one of an earlier version has rows for leadlex.binding itself.
#[test]
fn what_is_known_of_triggers_survives_a_restore() {
    let world = World::new();
    world.run(TRIGGER);
    let dump = check(world.cluster.command("pg_dump", "app").arg("-Fp"), "pg_dump").stdout;
    let dump = String::from_utf8(dump).unwrap();
    let restore = |database: &str, dump: &str| {
        world.run(&format!("CREATE DATABASE {database}"));
        let file = world.cluster.dir().join(format!("{database}.sql"));
        std::fs::write(&file, dump).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let mut psql = world.cluster.command("psql", database);
        check(psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file), "restore");
        world.cluster.connect(database)
    };
    let mut client = restore("restored", &dump);
    let known = "SELECT triggers_on = 'crm'::regclass::oid FROM leadlex.bound_table";
    assert!(client.query_one(known, &[]).unwrap().get::<_, bool>(0));
    let old = dump.replace(
        "COPY leadlex.bound_table (schema_name, table_name, columns, workspace_id, bound_at, triggers_on)",
        "COPY leadlex.binding (schema_name, table_name, columns, workspace_id, bound_at)",
    );
    assert_ne!(old, dump);
    let old: String = old
        .lines()
        .map(|line| match line.starts_with("public\tcrm\t") {
            true => line.rsplit_once('\t').unwrap().0.to_owned() + "\n",
            false => line.to_owned() + "\n",
        })
        .collect();
    let mut client = restore("older", &old);
    let row = client.query_one("SELECT triggers, bound_at IS NOT NULL FROM leadlex.binding", &[]).unwrap();
    assert_eq!((row.get::<_, Vec<String>>(0), row.get::<_, bool>(1)), (vec!["enrich".to_owned()], true));
}

/// As docs/triggers.md says of a subscriber: row triggers only, and only those that are enabled for it.
#[test]
fn streamed_rows_fire_a_row_trigger_that_is_always_enabled() {
    let world =
        World::with(&Beginning { contacts: 0, conf: &["wal_level = logical"], ..Beginning::default() });
    world.run("CREATE DATABASE source");
    let mut source = world.cluster.connect("source");
    let lead = "CREATE TABLE lead (id int PRIMARY KEY, email text, phone text)";
    source.batch_execute(&format!("{lead}; CREATE PUBLICATION leads FOR TABLE lead")).unwrap();
    source.batch_execute("SELECT pg_create_logical_replication_slot('leads', 'pgoutput')").unwrap();
    world.run(&format!(
        "{lead}; SELECT leadlex.bind_contacts('lead', workspace_id => '{}'); SELECT leadlex.pause_queue()",
        world.workspace
    ));
    world.run(
        "CREATE TRIGGER for_statement AFTER INSERT ON lead REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enqueue_on_insert();
         ALTER TABLE lead ENABLE ALWAYS TRIGGER for_statement",
    );
    world.run(&format!(
        "CREATE SUBSCRIPTION leads CONNECTION '{}' PUBLICATION leads WITH (create_slot = false, copy_data = false)",
        world.cluster.conninfo("source")
    ));
    let mut streamed = |n: i32| {
        source.execute("INSERT INTO lead VALUES ($1, 'lead@acme.example')", &[&n]).unwrap();
        eventually("the row is there", Duration::from_secs(30), || {
            world.number(&format!("SELECT count(*) FROM lead WHERE id = {n}")) == 1
        });
        world.number("SELECT count(*) FROM leadlex.job")
    };
    assert_eq!(streamed(1), 0, "a statement trigger");
    world.run("CREATE TRIGGER enrich AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert()");
    assert_eq!(streamed(2), 0, "a row trigger that is enabled for sessions of the origin");
    world.run("ALTER TABLE lead ENABLE ALWAYS TRIGGER enrich");
    assert_eq!(streamed(3), 1);
    world.run("SELECT leadlex.resume_queue()");
    eventually("it is enriched", Duration::from_secs(20), || {
        world.number("SELECT count(*) FROM lead WHERE phone IS NOT NULL") == 1
    });
    world.run("ALTER SUBSCRIPTION leads DISABLE; ALTER SUBSCRIPTION leads SET (slot_name = NONE); DROP SUBSCRIPTION leads");
}

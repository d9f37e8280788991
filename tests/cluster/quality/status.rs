//! What a row says of its last enrichment: the columns bound as `enriched_at` and `enrichment_status`.

use std::time::Duration;

use postgres::Client;

use super::why::{insert, kinds};
use super::{texts, world};
use crate::support::{Behaviour, eventually, fails};
use crate::world::{PATH, World, contact, enrich, number, try_enrich};

const SOON: Duration = Duration::from_secs(20);
const COLUMNS: &str = "ALTER TABLE crm ADD enriched_at timestamptz, ADD enrichment_status text";

fn bind(world: &World) {
    world.run(&format!("SELECT leadlex.bind_contacts('crm', workspace_id => '{}')", world.workspace));
}

fn with_status(world: World) -> World {
    world.run(COLUMNS);
    bind(&world);
    world
}

/// Of the contacts whose id ends like this, in their order: the status, with a star where a time stands beside it.
fn statuses(world: &World, like: &str) -> Vec<String> {
    let sql = format!(
        "SELECT coalesce(enrichment_status, '') || CASE WHEN enriched_at > now() - interval '1 minute' THEN '*' ELSE '' END
         FROM crm WHERE id::text LIKE '%{like}' ORDER BY id"
    );
    texts(&mut world.owner(), &sql)
}

fn set(client: &mut Client, like: &str) -> Vec<String> {
    let sql = format!(
        "SELECT status FROM enrich_contacts(ARRAY(SELECT id FROM crm WHERE id::text LIKE '%{like}' ORDER BY id))"
    );
    texts(client, &sql)
}

const EXPECTED: [&str; 5] =
    ["not_identifiable", "suppressed", "no_match", "provider_unavailable", "enriched*"];

#[test]
fn a_row_says_what_came_of_it_in_sets_by_trigger_and_by_queue() {
    let world = with_status(kinds());
    let mut caller = world.caller();
    insert(&world, 1);
    for kind in 1..=5 {
        try_enrich(&mut caller, 10 + kind);
    }
    assert_eq!(
        statuses(&world, "1_"),
        ["", "", "", "", "enriched*"],
        "alone: only where something is written"
    );
    world.end_pauses();
    insert(&world, 2);
    let charges = world.ledger().charges;
    assert_eq!(set(&mut caller, "2_"), ["no_match", "no_match", "no_match", "failed", "enriched"]);
    assert_eq!(statuses(&world, "2_"), EXPECTED);
    assert_eq!(world.ledger().charges, charges + 1, "a status costs nothing");
    world.end_pauses();
    // A row that says so already is left alone.
    let versions = "SELECT xmin::text || ctid::text FROM crm WHERE id::text LIKE '%2_' ORDER BY id";
    let before = texts(&mut world.owner(), versions);
    set(&mut caller, "2_");
    assert_eq!(texts(&mut world.owner(), versions), before);
    world.end_pauses();
    // Nor is a person queued because of it.
    world.run(
        "CREATE TRIGGER enriches AFTER INSERT ON crm REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION leadlex.enrich_on_insert();
         CREATE TRIGGER changed AFTER UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert();
         CREATE TRIGGER identified AFTER UPDATE OF full_name, email ON crm FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert()",
    );
    insert(&world, 3);
    assert_eq!(statuses(&world, "3_"), EXPECTED);
    // What failed is queued by the trigger itself.
    assert_eq!(texts(&mut caller, "SELECT right(contact_id, 2) FROM leadlex.job"), ["34"]);
    world.run("DROP TRIGGER enriches ON crm; DROP TRIGGER changed ON crm");
    world.end_pauses();
    insert(&world, 4);
    caller
        .batch_execute("SELECT leadlex.enqueue(ARRAY(SELECT id FROM crm WHERE id::text LIKE '%4_'))")
        .unwrap();
    eventually("the queue has tried all", SOON, || statuses(&world, "4_") == EXPECTED);
    let jobs = "SELECT count(*) FROM leadlex.job WHERE contact_id LIKE '%4_'";
    assert_eq!(world.number(jobs), 5, "none came from a status");
}

/// One statement for a portion of 256, whatever they are to say.
#[test]
fn the_statuses_of_a_set_are_written_together() {
    let world = with_status(world(300, &["leadlex.max_people_per_value = -1"]));
    world.run(
        "SELECT leadlex.enable_provider('other', false);
         CREATE TABLE told (rows bigint); GRANT INSERT ON told TO PUBLIC;
         CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.told SELECT count(*) FROM n; RETURN NULL; END $$;
         CREATE TRIGGER tell AFTER UPDATE ON crm REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION tell();
         SELECT leadlex.suppress('person' || n || '@acme.example') FROM generate_series(1, 100) AS n",
    );
    world.provider.on(PATH, |_| Behaviour::json(404, serde_json::json!({})));
    let mut caller = world.caller();
    assert_eq!(set(&mut caller, ""), vec!["no_match"; 300]);
    let count = |word: &str| statuses(&world, "").into_iter().filter(|status| status == word).count();
    assert_eq!((count("suppressed"), count("no_match")), (100, 200));
    let told = "SELECT rows::text FROM told WHERE rows > 0";
    assert_eq!(texts(&mut world.owner(), told), ["256", "44"]);
    set(&mut caller, "");
    assert_eq!(texts(&mut world.owner(), told).len(), 2, "nothing new, nothing written");
    // A row that somebody holds is not waited for.
    world.run("SELECT leadlex.unsuppress('person7@acme.example')");
    let mut other = world.owner();
    let mut open = other.transaction().unwrap();
    open.execute("SELECT 1 FROM crm WHERE id = $1 FOR UPDATE", &[&contact(7)]).unwrap();
    caller.batch_execute("SET lock_timeout = '2s'").unwrap();
    assert_eq!(set(&mut caller, "7").len(), 30);
    open.rollback().unwrap();
    assert_eq!(statuses(&world, "000000007"), ["suppressed"]);
    set(&mut caller, "000000007");
    assert_eq!(statuses(&world, "000000007"), ["no_match"]);
}

#[test]
fn columns_are_found_by_name_and_must_fit() {
    let world = world(1, &[]);
    let bound = |world: &World| {
        let sql = "SELECT key FROM leadlex.binding, jsonb_object_keys(columns) AS key WHERE key LIKE 'enrich%' ORDER BY 1";
        texts(&mut world.owner(), sql)
    };
    world.run("ALTER TABLE crm ADD enriched_at timestamp, ADD enrichment_status varchar(10)");
    bind(&world);
    assert_eq!(bound(&world), [""; 0], "merely of the name");
    world.run("ALTER TABLE crm DROP enriched_at, DROP enrichment_status");
    world.run(COLUMNS);
    let (mut owner, told) = world.listening("postgres");
    owner.execute("SELECT leadlex.bind_contacts('crm', workspace_id => $1)", &[&world.workspace]).unwrap();
    let notice = told.messages().join("\n");
    assert!(
        notice.contains("enriched_at = \"enriched_at\", enrichment_status = \"enrichment_status\""),
        "{notice}"
    );
    assert_eq!(bound(&world), ["enriched_at", "enrichment_status"]);
    world.run("CREATE TYPE word AS ENUM ('enriched');
               ALTER TABLE crm ADD at timestamp, ADD day date, ADD made timestamptz GENERATED ALWAYS AS (NULL) STORED,
                   ADD word word, ADD short varchar(19), ADD flag boolean, ADD computed text GENERATED ALWAYS AS ('x') STORED");
    for (ours, theirs, why) in [
        ("enriched_at", "at", "its type timestamp without time zone is not timestamptz"),
        ("enriched_at", "day", "its type date is not timestamptz"),
        ("enriched_at", "made", "it is generated"),
        ("enrichment_status", "word", "is an enum"),
        ("enrichment_status", "short", "its type character varying(19) is too short"),
        ("enrichment_status", "flag", "cannot hold any text"),
        ("enrichment_status", "computed", "it is generated"),
    ] {
        let sql = format!(
            "SELECT leadlex.bind_contacts('crm', '{{\"{ours}\": \"{theirs}\"}}', '{}')",
            world.workspace
        );
        let failure = fails(owner.batch_execute(&sql));
        assert_eq!(failure.sqlstate, "42804", "{sql}");
        assert!(failure.message.contains(why), "{failure:?}");
        assert!(failure.hint.is_some_and(|hint| hint.contains(ours)));
    }
    for theirs in ["phone", "full_name", "id", "enriched_at"] {
        let sql = format!(
            "SELECT leadlex.bind_contacts('crm', '{{\"enrichment_status\": \"{theirs}\"}}', '{}')",
            world.workspace
        );
        let failure = fails(owner.batch_execute(&sql));
        assert!(["22023", "42804"].contains(&failure.sqlstate.as_str()), "{theirs}: {failure:?}");
    }
    // Changed since.
    world.run("ALTER TABLE crm ALTER enrichment_status TYPE varchar(5)");
    assert_eq!(fails(enrich(&mut world.caller(), 1)).sqlstate, "42804");
    world.run("ALTER TABLE crm DROP enrichment_status");
    let failure = fails(enrich(&mut world.caller(), 1));
    assert_eq!((failure.sqlstate.as_str(), world.provider.count()), ("42703", 0));
    assert!(failure.hint.is_some_and(|hint| hint.contains(r#""enrichment_status":null"#)));
}

/// What a table does not take of it never costs what was paid for.
#[test]
fn a_table_that_refuses_a_status_gets_the_fields() {
    let refusing = [
        "ALTER TABLE crm ADD CONSTRAINT words CHECK (enrichment_status <> 'enriched')",
        "ALTER TABLE crm ADD CONSTRAINT words CHECK (enrichment_status <> 'enriched' OR phone IS NULL)",
        "CREATE DOMAIN word AS text CHECK (VALUE <> 'enriched'); ALTER TABLE crm ALTER enrichment_status TYPE word",
        "CREATE DOMAIN word AS varchar(7); ALTER TABLE crm ALTER enrichment_status TYPE word",
        "CREATE TABLE word (word text PRIMARY KEY); ALTER TABLE crm ADD CONSTRAINT words FOREIGN KEY (enrichment_status) REFERENCES word; GRANT SELECT ON word TO PUBLIC",
        "ALTER TABLE crm ENABLE ROW LEVEL SECURITY; CREATE POLICY all_rows ON crm USING (true) WITH CHECK (enrichment_status IS NULL)",
    ];
    for sql in refusing {
        let world = with_status(world(40, &["leadlex.max_people_per_value = -1"]));
        world.run(sql);
        let (mut caller, told) = world.listening("caller");
        enrich(&mut caller, 1).unwrap();
        assert_eq!(set(&mut caller, ""), [vec!["unchanged"], vec!["enriched"; 39]].concat(), "{sql}");
        assert!(statuses(&world, "").iter().all(|status| status.is_empty()), "{sql}");
        assert_eq!(world.number("SELECT count(*) FROM crm WHERE phone IS NOT NULL"), 40, "{sql}");
        assert_eq!(world.ledger().charges, 40, "{sql}");
        let warnings = told.warnings();
        assert_eq!(warnings.len(), 2, "{sql}: {warnings:?}");
        assert!(
            warnings.iter().all(|told| told.contains("enrichment_status of \"public\".\"crm\" was left out"))
        );
    }
    // Of one of them alone.
    let world = with_status(world(40, &["leadlex.max_people_per_value = -1"]));
    world.run(&format!("ALTER TABLE crm ADD CHECK (id <> '{}' OR enrichment_status IS NULL)", contact(17)));
    world.run("UPDATE crm SET email = NULL WHERE right(id::text, 1) = '7'");
    set(&mut world.caller(), "");
    let all = statuses(&world, "");
    assert_eq!(all.iter().filter(|status| *status == "enriched*").count(), 36);
    assert_eq!((all[6].as_str(), all[16].as_str()), ("not_identifiable", ""));
}

#[test]
fn who_may_not_write_it_is_told_once_and_gets_the_fields() {
    let world = with_status(world(6, &[]));
    world.run("REVOKE ALL ON crm FROM caller; GRANT SELECT (id, full_name, email, job_title, company_name, linkedin_url, phone, location, seniority),
               UPDATE (job_title, company_name, linkedin_url, phone, location, seniority, enriched_at) ON crm TO caller;
               UPDATE crm SET email = NULL WHERE right(id::text, 1) = '6'");
    let (mut caller, told) = world.listening("caller");
    enrich(&mut caller, 1).unwrap();
    assert_eq!(set(&mut caller, "2"), ["enriched"]);
    assert_eq!(set(&mut caller, "6"), ["no_match"]);
    assert_eq!(
        told.warnings(),
        [
            "enrichment_status of \"public\".\"crm\" is not written: permission denied to update \"enrichment_status\""
        ]
    );
    assert_eq!(statuses(&world, ""), ["*", "*", "", "", "", ""]);
    // May be written, not read: so it is not known where it says so already.
    world.run("GRANT UPDATE (enrichment_status) ON crm TO caller");
    let mut caller = world.caller();
    assert_eq!(set(&mut caller, "3"), ["enriched"]);
    assert_eq!(set(&mut caller, "6"), ["no_match"]);
    assert_eq!(statuses(&world, ""), ["*", "*", "enriched*", "", "", ""]);
}

#[test]
fn taking_back_and_refilling_say_so() {
    let world = with_status(world(3, &[]));
    let mut caller = world.caller();
    (1..=3).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
    world.run("UPDATE crm SET enriched_at = '2026-01-01'");
    let reverted =
        "SELECT count(*) FROM leadlex.revert_provider('main', '-infinity') WHERE status = 'reverted'";
    assert_eq!(number(&mut caller, reverted), 3);
    assert_eq!(statuses(&world, ""), ["reverted"; 3]);
    assert_eq!(
        world.number("SELECT count(*) FROM crm WHERE enriched_at = '2026-01-01' AND job_title IS NOT NULL"),
        3
    );
    world.run("UPDATE crm SET job_title = NULL, enriched_at = NULL, enrichment_status = NULL");
    assert_eq!(number(&mut caller, "SELECT leadlex.refill('crm')"), 3);
    assert_eq!(statuses(&world, ""), ["enriched*"; 3]);
    // Of a table that does not take the words all the same.
    world.run("UPDATE crm SET job_title = NULL, enrichment_status = NULL; ALTER TABLE crm ADD CHECK (enrichment_status IS NULL)");
    assert_eq!(number(&mut caller, "SELECT leadlex.refill('crm')"), 3);
    let reverted = reverted.replace("main", "other");
    assert_eq!(number(&mut caller, &reverted), 3);
    assert_eq!(statuses(&world, ""), ["*"; 3]);
}

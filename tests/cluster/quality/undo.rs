//! Undo by vendor.

use serde_json::{Value, json};

use super::{phone_of, rows, world};
use crate::support::fails;
use crate::world::{World, contact, enrich, number};

const WEEK: &str = "SELECT relation, contact_id, field, value, restored, status FROM leadlex.revert_provider('main', now() - interval '7 days'";

fn enrich_all(world: &World, contacts: i32) {
    let mut caller = world.caller();
    (1..=contacts).for_each(|n| drop(enrich(&mut caller, n).unwrap()));
}

fn found(n: i32, restored: Option<&str>, status: &str) -> Value {
    json!({"relation": "public.crm", "contact_id": contact(n), "field": "phone",
           "value": phone_of("555", n), "restored": restored, "status": status})
}

#[test]
fn one_vendors_week_is_taken_back_after_a_dry_run() {
    let world = world(4, &[]);
    world.run(&format!("UPDATE crm SET phone = 'n/a' WHERE id = '{}'", contact(4)));
    enrich_all(&world, 4);
    world.run(&format!(
        "UPDATE crm SET phone = '+12025550199' WHERE id = '{}'; DELETE FROM crm WHERE id = '{}'",
        contact(2),
        contact(3)
    ));
    let (before, mut caller) = (world.ledger(), world.caller());
    let expected = [
        found(1, None, "reverted"),
        found(2, None, "changed_since"),
        found(3, None, "gone"),
        found(4, Some("n/a"), "reverted"),
    ];
    let dry = rows(&mut caller, &format!("{WEEK}, dry_run => true)"));
    assert_eq!(dry, expected);
    assert_eq!(world.ledger(), before, "a dry run changes nothing");
    assert_eq!(world.number("SELECT count(*) FROM leadlex.enrichment WHERE reverted_at IS NOT NULL"), 0);
    assert_eq!(rows(&mut caller, &format!("{WEEK})")), expected);
    assert_eq!(world.phone(1), None);
    assert_eq!(world.phone(2).as_deref(), Some("+12025550199"), "a person typed it");
    assert_eq!(world.phone(4).as_deref(), Some("n/a"));
    assert_eq!(world.number("SELECT count(*) FROM crm WHERE job_title = 'Editor'"), 3, "of the other vendor");
    let known = rows(&mut caller, "SELECT field, count(*) AS n FROM leadlex.enriched GROUP BY 1");
    assert_eq!(known, [json!({"field": "job_title", "n": 4})]);
    assert_eq!(rows(&mut caller, &format!("{WEEK})")), Vec::<Value>::new(), "once");
    // The rest of the same call can still be taken back.
    let sql = "SELECT leadlex.revert_enrichment(request_id) AS result FROM leadlex.enrichment WHERE contact_id = $1";
    let rest: Value = caller.query_one(sql, &[&contact(1).to_string()]).unwrap().get(0);
    assert_eq!((&rest["fields_reverted"], &rest["fields_kept"]), (&json!(["job_title"]), &json!(["phone"])));
}

#[test]
fn only_what_is_meant_is_taken_back() {
    let world = world(2, &[]);
    enrich_all(&world, 2);
    world.run(&format!(
        "UPDATE leadlex.enrichment SET created_at = now() - interval '8 days' WHERE contact_id = '{}'",
        contact(1)
    ));
    let mut caller = world.caller();
    for (more, count) in [
        (", dry_run => true", 1),
        (", now() - interval '1 day', dry_run => true", 0),
        (", fields => '{job_title}', dry_run => true", 0),
        (", fields => '{phone,job_title}', dry_run => true", 1),
        (", relation => 'crm', dry_run => true", 1),
        // Only administrators see this, and it is no limit.
        (", NULL, NULL, NULL, NULL", 1),
    ] {
        assert_eq!(rows(&mut caller, &format!("{WEEK}{more})")).len(), count, "{more}");
    }
    assert_eq!(world.phone(1), Some(phone_of("555", 1)), "before that week");
    for (call, sqlstate) in [
        ("leadlex.revert_provider(NULL, now())", "22023"),
        ("leadlex.revert_provider('main', NULL)", "22023"),
        ("leadlex.revert_provider('mian', now())", "22023"),
        ("leadlex.revert_provider('main', now(), fields => '{fax}')", "LX400"),
        ("leadlex.revert_provider('main', now(), relation => 'pg_class')", "55000"),
    ] {
        assert_eq!(fails(caller.query(&format!("SELECT * FROM {call}"), &[])).sqlstate, sqlstate, "{call}");
    }
    caller.batch_execute("SET default_transaction_read_only = on").unwrap();
    assert_eq!(rows(&mut caller, &format!("{WEEK}, dry_run => true)")).len(), 0);
    assert_eq!(fails(caller.query(&format!("{WEEK})"), &[])).sqlstate, "25006");
}

/// The vendor was right after all: somebody types what was taken back, and a later answer replaces it.
#[test]
fn what_was_taken_back_and_typed_in_again_stands_before_a_later_write() {
    let world = world(3, &["leadlex.receipt_ttl = 0"]);
    enrich_all(&world, 3);
    let mut caller = world.caller();
    assert_eq!(rows(&mut caller, &format!("{WEEK}, fields => '{{phone}}')")).len(), 3);
    let typed =
        |n: i32| format!("UPDATE crm SET phone = '{}' WHERE id = '{}'", phone_of("555", n), contact(n));
    world.run(&format!("{}; {}", typed(1), typed(2)));
    super::main_supplies(&world, "556");
    for n in 1..=3 {
        let sql = "SELECT enrich_contact($1, '{phone}', overwrite => true)";
        caller.execute(sql, &[&contact(n)]).unwrap();
        assert_eq!(world.phone(n), Some(phone_of("556", n)));
    }
    // Of the first contact something else is taken back, later than that.
    let first = format!(
        "SELECT leadlex.revert_enrichment(request_id) FROM leadlex.enrichment WHERE contact_id = '{}' ORDER BY created_at LIMIT 1",
        contact(1)
    );
    caller.query(&first, &[]).unwrap();
    for dry_run in [true, false] {
        let taken = rows(&mut caller, &format!("{WEEK}, dry_run => {dry_run})"));
        let restored: Vec<Value> = taken.iter().map(|row| row["restored"].clone()).collect();
        assert_eq!(
            restored,
            [json!(phone_of("555", 1)), json!(phone_of("555", 2)), json!(null)],
            "{dry_run}"
        );
    }
    let stands = [1, 2, 3].map(|n| world.phone(n));
    assert_eq!(stands, [Some(phone_of("555", 1)), Some(phone_of("555", 2)), None]);
}

/// A person's value, another one of the vendor, and the person's again by the vendor: there is nothing to change.
#[test]
fn what_leads_back_to_what_stands_there_is_reverted() {
    let world = world(1, &["leadlex.receipt_ttl = 0"]);
    world.run(&format!("UPDATE crm SET phone = '{}' WHERE id = '{}'", phone_of("557", 1), contact(1)));
    let mut caller = world.caller();
    for area in ["556", "557"] {
        super::main_supplies(&world, area);
        let sql = "SELECT enrich_contact($1, '{phone}', overwrite => true)";
        caller.execute(sql, &[&contact(1)]).unwrap();
    }
    for dry_run in [true, false] {
        let taken = rows(&mut caller, &format!("{WEEK}, dry_run => {dry_run})"));
        assert_eq!((taken.len(), &taken[0]["status"]), (1, &json!("reverted")), "{taken:?}");
        assert_eq!(taken[0]["restored"], json!(phone_of("557", 1)));
    }
    assert_eq!(world.phone(1), Some(phone_of("557", 1)));
}

/// What a trigger of the table made of a value is what stood there after the write.
#[test]
fn what_stood_in_the_table_counts_and_what_was_taken_back_before_does_not_come_again() {
    let world = world(1, &["leadlex.receipt_ttl = 0"]);
    world.run(
        "CREATE FUNCTION spaced() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.phone := replace(NEW.phone, '+1555', '+1 555 '); RETURN NEW; END $$;
         CREATE TRIGGER spaced BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION spaced()",
    );
    enrich_all(&world, 1);
    assert_eq!(world.phone(1).as_deref(), Some("+1 555 0100001"));
    let mut caller = world.caller();
    // Another value of the same vendor on top, and the first one taken back by hand: the week leads to what stood before it.
    super::main_supplies(&world, "556");
    let sql = "SELECT enrich_contact($1, '{phone}', overwrite => true)";
    caller.execute(sql, &[&contact(1)]).unwrap();
    let taken = rows(&mut caller, &format!("{WEEK})"));
    assert_eq!(taken[0]["value"], json!(phone_of("556", 1)));
    assert_eq!((&taken[0]["restored"], &taken[0]["status"]), (&json!(null), &json!("reverted")));
    assert_eq!((taken.len(), world.phone(1)), (1, None));
}

#[test]
fn rows_are_written_as_the_caller_and_owners_reach_every_workspace() {
    let world = world(3, &[]);
    enrich_all(&world, 3);
    world.run(
        "CREATE ROLE stranger LOGIN; CREATE ROLE reader LOGIN; GRANT SELECT, UPDATE ON crm TO stranger; GRANT SELECT ON crm TO reader;
         GRANT UPDATE (job_title) ON crm TO reader;
         SELECT leadlex.grant_access('stranger', leadlex.create_workspace('others', 5)), leadlex.grant_access('reader', id) FROM leadlex.workspace WHERE name = 'acme'",
    );
    let [mut stranger, mut reader] = ["stranger", "reader"].map(|role| world.cluster.connect_as("app", role));
    assert_eq!(rows(&mut stranger, &format!("{WEEK})")), Vec::<Value>::new());
    let status = |rows: Vec<Value>| {
        rows.iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for dry_run in [true, false] {
        let rows = rows(&mut reader, &format!("{WEEK}, dry_run => {dry_run})"));
        assert_eq!(status(rows), ["not_allowed"; 3]);
    }
    assert_eq!(world.phone(1), Some(phone_of("555", 1)));
    // Policies hide the second row, and let the third be seen only.
    world.run(&format!(
        "GRANT UPDATE ON crm TO reader; ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
         CREATE POLICY sees ON crm FOR SELECT TO reader USING (id <> '{}');
         CREATE POLICY writes ON crm FOR UPDATE TO reader USING (id <> '{}')",
        contact(2),
        contact(3)
    ));
    for dry_run in [true, false] {
        let rows = rows(&mut reader, &format!("{WEEK}, dry_run => {dry_run})"));
        assert_eq!(status(rows), ["reverted", "gone", "not_allowed"], "dry_run {dry_run}");
    }
    let mut owner = world.owner();
    // One of them alone, without a grant.
    owner.batch_execute("SET leadlex.workspace = 'others'").unwrap();
    assert_eq!(rows(&mut owner, &format!("{WEEK})")), Vec::<Value>::new());
    owner.batch_execute("SET leadlex.workspace = 'nowhere'").unwrap();
    assert_eq!(fails(owner.query(&format!("{WEEK})"), &[])).sqlstate, "LX401");
    owner.batch_execute("RESET leadlex.workspace").unwrap();
    let of_owner = rows(&mut owner, &format!("{WEEK})"));
    assert_eq!(
        status(of_owner),
        ["reverted"; 2],
        "what was hidden and what was barred, in another workspace"
    );
    assert_eq!(number(&mut owner, "SELECT count(phone) FROM crm"), 0);
}

#[test]
fn a_table_that_is_swapped_keeps_its_undo() {
    let world = world(1, &[]);
    enrich_all(&world, 1);
    let mut caller = world.caller();
    world.run("ALTER TABLE crm RENAME TO crm_old");
    for dry_run in [true, false] {
        let taken = rows(&mut caller, &format!("{WEEK}, dry_run => {dry_run})"));
        assert_eq!(taken, [found(1, None, "gone")]);
    }
    world.run("ALTER TABLE crm_old RENAME TO crm");
    assert_eq!(rows(&mut caller, &format!("{WEEK})")), [found(1, None, "reverted")]);
    assert_eq!(world.phone(1), None);
}

#[test]
fn what_a_policy_refuses_of_a_value_before_is_not_allowed_and_the_other_rows_are_reverted() {
    let world = world(3, &[]);
    enrich_all(&world, 3);
    world.run(&format!(
        "CREATE ROLE editor LOGIN; GRANT SELECT, UPDATE ON crm TO editor; ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
         SELECT leadlex.grant_access('editor', id) FROM leadlex.workspace WHERE name = 'acme';
         CREATE POLICY checked ON crm TO editor USING (true) WITH CHECK (phone IS NOT NULL OR id <> '{}')",
        contact(2)
    ));
    // A column that is to say so is not to blame.
    world.run("ALTER TABLE crm ADD COLUMN enrichment_status text; SELECT leadlex.bind_contacts('crm')");
    let (mut editor, notices) = crate::support::Notices::connect(world.cluster.config("app").user("editor"));
    for dry_run in [true, true, false] {
        let taken = rows(&mut editor, &format!("{WEEK}, dry_run => {dry_run})"));
        let expected =
            [found(1, None, "reverted"), found(2, None, "not_allowed"), found(3, None, "reverted")];
        assert_eq!(taken, expected, "dry_run {dry_run}");
    }
    assert_eq!((world.phone(1), world.phone(2), world.phone(3)), (None, Some(phone_of("555", 2)), None));
    assert_eq!(notices.warnings(), [] as [&str; 0]);
    // An error of a trigger is no policy's.
    world.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE insufficient_privilege; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    assert_eq!(fails(editor.query(&format!("{WEEK})"), &[])).sqlstate, "42501");
    // Nor is what a trigger's statement meets, of a table with the same name.
    world.run(
        "DROP TRIGGER refuse ON crm; CREATE SCHEMA other; CREATE TABLE other.crm (id uuid); GRANT USAGE ON SCHEMA other TO editor;
         GRANT INSERT ON other.crm TO editor; ALTER TABLE other.crm ENABLE ROW LEVEL SECURITY;
         CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO other.crm VALUES (NEW.id); RETURN NEW; END $$;
         CREATE TRIGGER refuse AFTER UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION log();
         DROP POLICY checked ON crm; CREATE POLICY seen ON crm TO editor USING (true)",
    );
    let failure = fails(editor.query(&format!("{WEEK})"), &[]));
    assert_eq!(failure.sqlstate, "42501", "{failure:?}");
    world.run("DROP TRIGGER refuse ON crm");
    assert_eq!(rows(&mut editor, &format!("{WEEK})")), [found(2, None, "reverted")]);
}

/// What the row is to say of it is left out then, and the fields are reverted.
#[test]
fn a_policy_that_refuses_only_the_word_keeps_no_field_from_being_reverted() {
    let world = world(2, &[]);
    enrich_all(&world, 2);
    world.run(&format!(
        "ALTER TABLE crm ADD COLUMN enrichment_status text; SELECT leadlex.bind_contacts('crm');
         CREATE ROLE editor LOGIN; GRANT SELECT, UPDATE ON crm TO editor; ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
         SELECT leadlex.grant_access('editor', id) FROM leadlex.workspace WHERE name = 'acme';
         CREATE POLICY checked ON crm TO editor USING (true) WITH CHECK (enrichment_status IS NULL OR id <> '{}')",
        contact(2)
    ));
    let mut editor = world.cluster.connect_as("app", "editor");
    for dry_run in [true, false] {
        let taken = rows(&mut editor, &format!("{WEEK}, dry_run => {dry_run})"));
        assert_eq!(taken, [found(1, None, "reverted"), found(2, None, "reverted")], "dry_run {dry_run}");
    }
    assert_eq!((world.phone(1), world.phone(2)), (None, None));
    let said = "SELECT string_agg(enrichment_status, ' ' ORDER BY id) FROM crm";
    let said: String = world.owner().query_one(said, &[]).unwrap().get(0);
    assert_eq!(said, "reverted", "of the other row alone");
}

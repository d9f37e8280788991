//! Each kind of constraint, alone and with other fields.

use super::*;

/// What the table says, what takes it back, and the fields that it costs.
struct Kind {
    refuses: &'static str,
    back: &'static str,
    costs: &'static [&'static str],
    /// As Postgres has it.
    sqlstate: &'static str,
    names: Option<&'static str>,
}

const fn kind(
    refuses: &'static str,
    back: &'static str,
    costs: &'static [&'static str],
    sqlstate: &'static str,
    names: Option<&'static str>,
) -> Kind {
    Kind { refuses, back, costs, sqlstate, names }
}

const KINDS: [Kind; 22] = [
    kind("ALTER TABLE crm ADD CONSTRAINT c CHECK (phone LIKE '0%')", "ALTER TABLE crm DROP CONSTRAINT c", &["phone"], "23514", Some("c")),
    kind("ALTER TABLE crm ADD CONSTRAINT c CHECK (phone IS NULL OR note = 'x')", "ALTER TABLE crm DROP CONSTRAINT c", &["phone"], "23514", Some("c")),
    kind("ALTER TABLE crm ADD CONSTRAINT c CHECK (length(location || seniority) < 9)", "ALTER TABLE crm DROP CONSTRAINT c",
        &["location", "seniority"],
        "23514",
        Some("c"),
    ),
    kind("ALTER TABLE crm ADD CONSTRAINT c UNIQUE (linkedin_url)", "ALTER TABLE crm DROP CONSTRAINT c", &["linkedin_url"], "23505", Some("c")),
    kind("ALTER TABLE crm ADD CONSTRAINT c UNIQUE (note, location)", "ALTER TABLE crm DROP CONSTRAINT c", &["location"], "23505", Some("c")),
    kind("ALTER TABLE crm ADD CONSTRAINT c UNIQUE (linkedin_url) DEFERRABLE INITIALLY IMMEDIATE", "ALTER TABLE crm DROP CONSTRAINT c",
        &["linkedin_url"],
        "23505",
        Some("c"),
    ),
    kind("ALTER TABLE crm ADD CONSTRAINT c UNIQUE (linkedin_url) DEFERRABLE INITIALLY DEFERRED", "ALTER TABLE crm DROP CONSTRAINT c",
        &["linkedin_url"],
        "23505",
        Some("c"),
    ),
    kind("ALTER TABLE crm ADD CONSTRAINT c UNIQUE (note, location) DEFERRABLE INITIALLY DEFERRED", "ALTER TABLE crm DROP CONSTRAINT c",
        &["location"],
        "23505",
        Some("c"),
    ),
    kind("ALTER TABLE crm ADD CONSTRAINT c EXCLUDE (lower(company_name) WITH =) WHERE (note <> '') DEFERRABLE INITIALLY DEFERRED", "ALTER TABLE crm DROP CONSTRAINT c",
        &["company_name"],
        "23P01",
        Some("c"),
    ),
    kind("ALTER TABLE crm ADD COLUMN key text GENERATED ALWAYS AS (lower(linkedin_url)) STORED CONSTRAINT c UNIQUE DEFERRABLE INITIALLY DEFERRED", "ALTER TABLE crm DROP COLUMN key",
        &["linkedin_url"],
        "23505",
        Some("c"),
    ),
    kind("CREATE TABLE level (name text PRIMARY KEY); ALTER TABLE crm ADD CONSTRAINT c FOREIGN KEY (seniority) REFERENCES level DEFERRABLE INITIALLY DEFERRED", "ALTER TABLE crm DROP CONSTRAINT c; DROP TABLE level",
        &["seniority"],
        "23503",
        Some("c"),
    ),
    kind("CREATE UNIQUE INDEX c ON crm (lower(job_title) DESC)", "DROP INDEX c", &["job_title"], "23505", Some("c")),
    kind("CREATE UNIQUE INDEX c ON crm (location) WHERE phone IS DISTINCT FROM 'x'", "DROP INDEX c",
        &["location"],
        "23505",
        Some("c"),
    ),
    kind("CREATE UNIQUE INDEX c ON crm (note) WHERE phone IS NOT NULL", "DROP INDEX c",
        &["phone"],
        "23505",
        Some("c"),
    ),
    kind("ALTER TABLE crm ADD CONSTRAINT c EXCLUDE (company_name WITH =)", "ALTER TABLE crm DROP CONSTRAINT c", &["company_name"], "23P01", Some("c")),
    kind("ALTER TABLE crm ADD COLUMN key text GENERATED ALWAYS AS (lower(linkedin_url)) STORED CONSTRAINT c UNIQUE", "ALTER TABLE crm DROP COLUMN key",
        &["linkedin_url"],
        "23505",
        Some("c"),
    ),
    kind("CREATE TABLE level (name text PRIMARY KEY); ALTER TABLE crm ADD CONSTRAINT c FOREIGN KEY (seniority) REFERENCES level", "ALTER TABLE crm DROP CONSTRAINT c; DROP TABLE level",
        &["seniority"],
        "23503",
        Some("c"),
    ),
    kind("ALTER TABLE crm ALTER location SET DEFAULT '', ALTER location SET NOT NULL;
         CREATE FUNCTION no_cities() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.location := nullif(NEW.location, 'New York, NY, US'); RETURN NEW; END $$;
         CREATE TRIGGER c BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION no_cities()", "ALTER TABLE crm ALTER location DROP NOT NULL, ALTER location DROP DEFAULT; DROP TRIGGER c ON crm; DROP FUNCTION no_cities",
        &["location"],
        "23502",
        None,
    ),
    kind("ALTER TABLE crm ALTER phone TYPE varchar(5)", "ALTER TABLE crm ALTER phone TYPE text", &["phone"], "22001", None),
    kind("ALTER TABLE crm ALTER seniority TYPE char(3)", "ALTER TABLE crm ALTER seniority TYPE text", &["seniority"], "22001", None),
    kind("CREATE DOMAIN town AS text CONSTRAINT c CHECK (VALUE NOT LIKE '%,%'); ALTER TABLE crm ALTER location TYPE town", "ALTER TABLE crm ALTER location TYPE text; DROP DOMAIN town",
        &["location"],
        "23514",
        Some("c"),
    ),
    kind("CREATE DOMAIN short AS varchar(4); ALTER TABLE crm ALTER location TYPE short", "ALTER TABLE crm ALTER location TYPE text; DROP DOMAIN short",
        &["location"],
        "22001",
        None,
    ),
];

#[test]
fn each_kind_of_constraint_costs_its_fields_and_nothing_else() {
    let world = world(3, &["leadlex.recheck_after = 0"]);
    let mut caller = Session::new(&world, "caller");
    world.run("ALTER TABLE crm ADD CONSTRAINT unrelated CHECK (note <> 'y')");
    for kind in &KINDS {
        let what = kind.refuses;
        let empty = if kind.sqlstate == "23502" { "''" } else { "NULL" };
        world.run(&format!(
            "UPDATE crm SET job_title = NULL, company_name = NULL, linkedin_url = NULL, phone = NULL, location = {empty}, seniority = NULL,
                            note = 'n';
             {what}"
        ));
        if ["23505", "23P01"].contains(&kind.sqlstate) {
            world.run(&format!(
                "UPDATE crm SET job_title = 'General Counsel', company_name = 'Acme Corp', linkedin_url = '{PROFILE}',
                                phone = '+15550100100', location = 'New York, NY, US' WHERE id = '{}'",
                contact(2)
            ));
        }
        for way in ["alone", "in a set"] {
            let others: Vec<&str> = SIX.into_iter().filter(|field| !kind.costs.contains(field)).collect();
            // With others: first by itself, so that nothing is there yet.
            let mut transaction = caller.client.transaction().unwrap();
            let sql = match way {
                "alone" => "SELECT try_enrich_contact($1, $2)->'error'->>'reason'",
                _ => {
                    "SELECT substring(error_message from 'the table refuses') FROM enrich_contacts(ARRAY[$1]::uuid[], $2)"
                }
            };
            let reason: Option<String> =
                transaction.query_one(sql, &[&contact(1), &kind.costs]).unwrap().get(0);
            assert!(
                ["table_refuses", "the table refuses"].contains(&reason.as_deref().unwrap_or("none")),
                "{what}: {reason:?}"
            );
            // Nothing was written, so nobody has to wait for this transaction.
            let sql = format!("SELECT FROM crm WHERE id = '{}' FOR UPDATE NOWAIT", contact(1));
            world.run(&sql);
            transaction.commit().unwrap();
            let told = caller.warnings();
            assert_eq!(told.len(), 1, "{what}: {told:?}");
            let Notice { sqlstate, message, detail, hint, constraint, column, .. } = told[0].clone();
            let hint = hint.unwrap_or_default();
            assert_eq!(sqlstate, "01000", "{what}");
            assert!(
                message.starts_with(&format!("{} of contact {}", kind.costs.join(" and "), contact(1))),
                "{what}: {message}"
            );
            assert!(
                detail.starts_with(&format!("{}: \"public\".\"crm\" does not take", kind.sqlstate)),
                "{what}: {detail}"
            );
            assert!(hint.contains("leadlex.recheck"), "{what}: {hint}");
            assert_eq!(constraint.as_deref(), kind.names, "{what}");
            assert!(
                kind.names.is_none_or(|name| message.contains(&format!("\"{name}\""))),
                "{what}: {message}"
            );
            assert_eq!(
                column.as_deref(),
                kind.costs.first().copied().filter(|_| kind.costs.len() == 1),
                "{what}"
            );
            assert!(!format!("{told:?}").contains("+1555"), "a value in a log: {told:?}");
            caller.check(&format!("{what} {way}, and nothing else"));

            let sql = match way {
                "alone" => "SELECT enrich_contact($1)->'fields_updated'",
                _ => "SELECT to_jsonb(fields_updated) FROM enrich_contacts(ARRAY[$1]::uuid[])",
            };
            let updated: Value = caller.client.query_one(sql, &[&contact(1)]).unwrap().get(0);
            assert_eq!(updated, json!(others), "{what} {way}");
            assert_eq!(caller.warnings().len(), 1, "{what} {way}");
            caller.check(&format!("{what} {way}"));
            world.run(&format!(
                "UPDATE crm SET job_title = NULL, company_name = NULL, linkedin_url = NULL, phone = NULL, location = {empty}, seniority = NULL WHERE id = '{}'",
                contact(1)
            ));
        }
        world.run(kind.back);
    }
    world.check_credits_add_up();
}

/// Partitions have indexes and checks of their own, and refuse rows themselves.
#[test]
fn partitions_and_children_refuse_too() {
    let world = world(1, &["leadlex.recheck_after = 0"]);
    let columns = "email text, job_title text, linkedin_url text, phone text, location text, seniority text";
    world.run(&format!(
        "CREATE TABLE part (id int, {columns}, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
         ALTER TABLE part_1 ADD CONSTRAINT own CHECK (phone LIKE '0%'); CREATE UNIQUE INDEX deep ON part_1 (lower(location));
         INSERT INTO part (id, location) VALUES (2, 'new york, ny, us');
         CREATE TABLE parent (id int PRIMARY KEY, {columns}); CREATE TABLE child (CHECK (job_title <> 'General Counsel')) INHERITS (parent);
         CREATE TABLE spread (id int, {columns}) PARTITION BY LIST (seniority);
         CREATE TABLE spread_null PARTITION OF spread FOR VALUES IN (NULL, '');
         INSERT INTO part (id, email) VALUES (1, 'a@acme.example'); INSERT INTO child (id, email) VALUES (1, 'b@acme.example');
         INSERT INTO spread (id, email) VALUES (1, 'c@acme.example');
         GRANT SELECT, UPDATE ON part, parent, spread TO caller;
         SELECT leadlex.bind_contacts(t, workspace_id => '{}') FROM unnest('{{part,parent,spread}}'::regclass[]) AS t",
        world.workspace
    ));
    let mut caller = Session::new(&world, "caller");
    for (table, costs, warnings) in [
        ("part", &["phone", "location"][..], 2),
        ("parent", &["job_title"], 1),
        ("spread", &["seniority"], 1),
    ] {
        for way in [
            "SELECT enrich_row($1::text::regclass, '1')->'fields_updated'",
            "SELECT to_jsonb(fields_updated) FROM enrich_rows($1::text::regclass, '{1}')",
        ] {
            let updated: Value = caller.client.query_one(way, &[&table]).unwrap().get(0);
            let rest = SIX.iter().filter(|field| **field != "company_name" && !costs.contains(field));
            assert_eq!(updated, json!(rest.collect::<Vec<_>>()), "{table}");
            assert_eq!(caller.warnings().len(), warnings, "{table}");
            world.run(&format!(
                "UPDATE {table} SET job_title = NULL, linkedin_url = NULL, phone = NULL, location = NULL, seniority = NULL WHERE id = 1"
            ));
        }
    }
    caller.check("partitions");
}

/// No index holds 3,000 bytes that cannot be compressed.
#[test]
fn an_index_that_cannot_hold_a_value_costs_that_field() {
    let world = world(1, &[]);
    world.run("CREATE INDEX towns ON crm (location)");
    let letter = |n: u32| char::from_u32(0x4e00 + n.wrapping_mul(2_654_435_761) % 20_000).unwrap();
    let long: String = (0..1_000).map(letter).collect();
    world.provider.on(PATH, move |_| {
        let mut person = person();
        person["data"]["location"] = json!(long);
        Behaviour::json(200, person)
    });
    let mut caller = Session::new(&world, "caller");
    let updated = caller.call(1, &[]).unwrap()["fields_updated"].clone();
    assert_eq!(updated, json!(["job_title", "company_name", "linkedin_url", "phone", "seniority"]));
    let told = caller.warnings();
    assert_eq!((told.len(), told[0].constraint.as_deref()), (1, Some("towns")), "{told:?}");
    assert!(told[0].detail.starts_with("54000: "), "{told:?}");
}

/// What refers to a value keeps it.
#[test]
fn a_value_that_another_table_refers_to_stays() {
    let world = world(1, &[]);
    world.run(
        "ALTER TABLE crm ADD UNIQUE (linkedin_url); UPDATE crm SET linkedin_url = 'https://www.linkedin.com/in/joe-example';
         CREATE TABLE visit (url text CONSTRAINT visited REFERENCES crm (linkedin_url));
         INSERT INTO visit SELECT linkedin_url FROM crm",
    );
    let mut caller = Session::new(&world, "caller");
    let sql = "SELECT enrich_contact($1, overwrite => true)->'fields_updated'";
    let updated: Value = caller.client.query_one(sql, &[&contact(1)]).unwrap().get(0);
    assert_eq!(updated, json!(["job_title", "company_name", "phone", "location", "seniority"]));
    let told = caller.warnings();
    assert_eq!((told.len(), told[0].constraint.as_deref()), (1, Some("visited")), "{told:?}");
    caller.check("a reference");
}

/// Of a domain Postgres names neither table nor column: it is the columns of that type.
#[test]
fn a_domain_that_a_trigger_runs_into_costs_its_columns() {
    let world = world(1, &[]);
    world.run(
        "CREATE DOMAIN \"Town\" AS text CONSTRAINT plain CHECK (VALUE NOT LIKE '%!%'); ALTER TABLE crm ALTER location TYPE \"Town\";
         CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE loud \"Town\"; BEGIN loud := NEW.location || '!'; RETURN NEW; END $$;
         CREATE TRIGGER shout BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION shout();
         ALTER TABLE crm ADD CHECK (length(location) < 999)",
    );
    let mut caller = Session::new(&world, "caller");
    let updated = caller.call(1, &[]).unwrap()["fields_updated"].clone();
    assert_eq!(updated, json!(["job_title", "company_name", "linkedin_url", "phone", "seniority"]));
    let told = caller.warnings();
    assert_eq!((told.len(), told[0].constraint.as_deref()), (1, Some("plain")), "{told:?}");
}

/// A cancel while the row is written, and a value that another transaction is about to have.
#[test]
fn a_write_that_waits_can_be_cancelled_and_goes_on_when_it_may() {
    let world = world(3, &[]);
    world.run(
        "CREATE UNIQUE INDEX one_profile ON crm (linkedin_url);
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_sleep(coalesce(current_setting('test.sleep', true), '0')::float8); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let mut caller = Session::new(&world, "caller");
    let in_a_set =
        format!("SELECT * FROM enrich_contacts(ARRAY['{}', '{}']::uuid[])", contact(1), contact(2));
    let calls = [format!("SELECT enrich_contact('{}')", contact(1)), in_a_set];
    for call in &calls {
        caller.client.batch_execute("SET test.sleep = '9'; SET statement_timeout = '300ms'").unwrap();
        assert_eq!(fails(caller.client.batch_execute(call)).sqlstate, "57014", "{call}");
        caller.client.batch_execute("SET test.sleep = '0'; RESET statement_timeout").unwrap();
        caller.check(call);
    }
    let mut other = world.owner();
    let mut holds = other.transaction().unwrap();
    let taken = format!("UPDATE crm SET linkedin_url = '{PROFILE}' WHERE id = '{}'", contact(3));
    holds.batch_execute(&taken).unwrap();
    caller.client.batch_execute("SET lock_timeout = '50ms'").unwrap();
    assert_eq!(fails(caller.client.batch_execute(&calls[0])).sqlstate, "55P03");
    caller.client.batch_execute("RESET lock_timeout").unwrap();
    caller.check("55P03");
    let blocked = crate::world::pid(&mut caller.client);
    let updated = std::thread::scope(|scope| {
        let call = scope.spawn(|| caller.call(1, &[]).unwrap()["fields_updated"].clone());
        world.wait_until_blocked(blocked);
        holds.commit().unwrap();
        call.join().unwrap()
    });
    assert_eq!(updated, json!(["job_title", "company_name", "phone", "location", "seniority"]));
    caller.check("a wait");
    world.check_credits_add_up();
}

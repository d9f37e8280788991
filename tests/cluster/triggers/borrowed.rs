//! Where an enrichment at once would let the session's own objects act with the rights of the table's owner, it is queued.

use super::*;

/// The owner's trigger for UPDATE names things without their schema, as most triggers do.
const NAMES_NO_SCHEMA: &str = "CREATE TABLE audit (id bigint); CREATE DOMAIN label AS text; CREATE VIEW now_is AS SELECT 'public' AS place;
     CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC; GRANT CREATE ON SCHEMA public TO loader;
     GRANT ALL ON audit TO keeper; GRANT SELECT ON now_is TO keeper;
     CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
     BEGIN
         INSERT INTO audit VALUES (NEW.id);
         NEW.note := (SELECT place FROM now_is)::label;
         RETURN NEW;
     END $$;
     ALTER FUNCTION public.keep() OWNER TO keeper;
     CREATE TRIGGER keep BEFORE UPDATE ON lead FOR EACH ROW EXECUTE FUNCTION public.keep();
     ALTER ROLE keeper LOGIN;";

/// What the role that inserts has for each of these names.
const OF_THE_SAME_NAME: [&str; 3] = [
    "CREATE TEMP TABLE audit (id bigint);
     CREATE TRIGGER spy BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION public.spy(); GRANT ALL ON audit TO PUBLIC",
    "CREATE DOMAIN pg_temp.label AS text CHECK (public.peek(VALUE))",
    "CREATE TEMP VIEW now_is AS SELECT CASE WHEN public.peek('') THEN 'temp' END AS place; GRANT ALL ON now_is TO PUBLIC",
];

const SPIES: &str = "CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NEW; END $$;
     CREATE FUNCTION public.peek(t text) RETURNS boolean LANGUAGE plpgsql AS
     $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN true; END $$;";

fn enriched(world: &World, count: i64) {
    eventually("they are enriched", Duration::from_secs(20), || filled(world) == count);
}

#[test]
fn temporary_objects_of_the_inserting_role_are_not_found_by_the_owners_trigger() {
    for ours in [STATEMENT, ROW] {
        let world = world(&format!("{NAMES_NO_SCHEMA} {ours}"));
        loader(&world).run(SPIES);
        let mut last = 0;
        for own in OF_THE_SAME_NAME {
            let mut loader = loader(&world);
            loader.run(&insert(last + 1, last + 2));
            assert_eq!(
                filled(&world),
                i64::from(last) + 2,
                "a session without temporary objects does not wait"
            );
            assert_eq!(loader.warnings(), Vec::<String>::new());
            loader.run(own);
            loader.run(&insert(last + 3, last + 5));
            loader.run(&insert(last + 6, last + 6));
            last += 6;
            enriched(&world, last.into());
            assert_eq!(world.number("SELECT count(*) FROM seen"), 0, "{own}");
            let warnings = loader.warnings();
            assert_eq!(warnings.len(), 1, "one for each session: {warnings:?}");
            assert!(warnings[0].contains("queued") && warnings[0].contains("temporary"), "{warnings:?}");
        }
        assert_eq!(world.number("SELECT count(*) FROM audit"), i64::from(last));
        assert_eq!(world.number("SELECT count(*) FROM lead WHERE note = 'public'"), i64::from(last));
    }
}

/// A trigger of the role that inserts, which it may have for INSERT, makes the temporary schema between two rows.
#[test]
fn a_temporary_schema_that_comes_in_the_middle_of_the_statement_counts() {
    let world = world(&format!("{NAMES_NO_SCHEMA} {ROW} GRANT TRIGGER ON lead TO loader"));
    let mut loader = loader(&world);
    loader.run(SPIES);
    loader.run(&format!(
        "CREATE FUNCTION public.between() RETURNS trigger LANGUAGE plpgsql AS $between$
         BEGIN IF NEW.email = 'lead3@acme.example' THEN {}; END IF; RETURN NULL; END $between$;
         CREATE TRIGGER between AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION public.between()",
        OF_THE_SAME_NAME[0]
    ));
    loader.run(&insert(1, 4));
    enriched(&world, 4);
    assert_eq!(world.number("SELECT count(*) FROM seen"), 0);
    // The two that came before were enriched in the statement, the others by a job.
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 2);
    assert_eq!(loader.warnings().len(), 1);
}

#[test]
fn a_role_with_the_owners_rights_may_use_temporary_tables() {
    let world = world(&format!("{NAMES_NO_SCHEMA} {STATEMENT} GRANT keeper TO loader"));
    let mut loader = loader(&world);
    loader.run(&format!("CREATE TEMP TABLE scratch (n int); {}", insert(1, 3)));
    assert_eq!(filled(&world), 3);
    assert_eq!(loader.warnings(), Vec::<String>::new());
    world.run(&format!("CREATE TEMP TABLE scratch (n int); {}", insert(4, 6)));
    assert_eq!((filled(&world), world.number("SELECT count(*) FROM leadlex.job")), (6, 0));
}

/// At the commit the inserting role is the current one again, with a search_path of its own.
#[test]
fn a_deferrable_trigger_does_not_run_as_the_inserting_role() {
    let late = "CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;
         CREATE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NULL; END $$;
         ALTER FUNCTION public.late() OWNER TO keeper; ALTER ROLE keeper LOGIN;";
    for how in ["DEFERRABLE INITIALLY DEFERRED", "DEFERRABLE"] {
        let world = world(&format!(
            "{late} {STATEMENT} CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON lead {how}
                 FOR EACH ROW EXECUTE FUNCTION public.late()"
        ));
        let mut loader = loader(&world);
        loader.run(&format!("BEGIN; SET CONSTRAINTS ALL DEFERRED; {}; COMMIT", insert(1, 3)));
        enriched(&world, 3);
        eventually("they have run as the owner", Duration::from_secs(10), || {
            world.number("SELECT count(*) FROM seen WHERE who = 'keeper'") == 3
        });
        assert_eq!(world.number("SELECT count(*) FROM seen"), 3);
        loader.run(&insert(4, 4));
        let warnings = loader.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("trigger late of") && warnings[0].contains("deferrable"),
            "{warnings:?}"
        );
        // One that fires for nothing that an enrichment does is not in its way, nor is one that is off.
        enriched(&world, 4);
        world.run(
            "ALTER TABLE lead DISABLE TRIGGER late;
             CREATE CONSTRAINT TRIGGER gone AFTER DELETE ON lead DEFERRABLE FOR EACH ROW EXECUTE FUNCTION public.late()",
        );
        loader.run(&insert(5, 6));
        assert_eq!(filled(&world), 6);
    }
}

#[test]
fn a_deferrable_trigger_of_a_partition_counts_and_keys_do_not() {
    let world = world(&format!(
        "{STATEMENT} ALTER ROLE keeper LOGIN;
         CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;
         CREATE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NULL; END $$;
         ALTER FUNCTION public.late() OWNER TO keeper;
         CREATE TABLE kind (name text PRIMARY KEY); GRANT SELECT, REFERENCES ON kind TO keeper; GRANT USAGE ON SCHEMA public TO keeper;
         ALTER TABLE lead ADD FOREIGN KEY (note) REFERENCES kind DEFERRABLE INITIALLY DEFERRED, ADD UNIQUE (phone) DEFERRABLE;
         CREATE TABLE parts (id bigint, phone text, email text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
         ALTER TABLE parts OWNER TO keeper; ALTER TABLE parts_1 OWNER TO keeper;
         GRANT SELECT, INSERT ON parts, parts_1 TO loader;
         CREATE TRIGGER e AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION leadlex.enrich_on_insert();"
    ));
    world.run(&format!("SELECT leadlex.bind_contacts('parts', workspace_id => '{}')", world.workspace));
    let mut loader = loader(&world);
    loader.run(&insert(1, 3));
    assert_eq!(filled(&world), 3);
    loader.run("INSERT INTO parts (id, email) VALUES (1, 'lead1@acme.example')");
    assert_eq!(world.number("SELECT count(*) FROM parts WHERE phone IS NOT NULL"), 1);
    world.run(
        "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON parts_1 DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION public.late()",
    );
    loader.run("INSERT INTO parts (id, email) VALUES (2, 'lead2@acme.example')");
    eventually("it is enriched", Duration::from_secs(20), || {
        world.number("SELECT count(*) FROM parts WHERE phone IS NOT NULL") == 2
    });
    assert_eq!(world.number("SELECT count(*) FROM seen WHERE who = 'loader'"), 0);
    assert_eq!(loader.warnings().len(), 1);
    // Its expressions are the owner's, and are looked at at the commit.
    world.run(
        "ALTER TABLE lead ADD CONSTRAINT one EXCLUDE (lower(note) WITH =) DEFERRABLE INITIALLY DEFERRED",
    );
    let mut loader = super::loader(&world);
    loader.run(&insert(4, 4));
    let warnings = loader.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("constraint one of"), "{warnings:?}");
    enriched(&world, 4);
}

/// Before PostgreSQL 17 no worker can be its session.
#[test]
fn the_session_is_told_once_that_the_owner_may_not_log_in() {
    let queued =
        "CREATE TRIGGER q AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert();";
    for ours in [queued, STATEMENT] {
        let world = world(ours);
        let has_to = world.cluster.server().major < 17;
        let mut loader = loader(&world);
        loader.run("CREATE TEMP TABLE scratch (n int)");
        loader.run(&insert(1, 2));
        loader.run(&insert(3, 3));
        let warnings = loader.warnings();
        let about_login = warnings.iter().filter(|text| text.contains("ALTER ROLE keeper LOGIN")).count();
        assert_eq!(about_login, usize::from(has_to), "{warnings:?}");
        let others = usize::from(ours == STATEMENT && !has_to);
        assert_eq!(warnings.len(), about_login + others, "{warnings:?}");
        world.run(
            "ALTER ROLE keeper LOGIN; SELECT leadlex.retry_jobs('queued'); SELECT leadlex.retry_jobs('dead')",
        );
        enriched(&world, 3);
        let mut loader = super::loader(&world);
        loader.run(&insert(4, 4));
        assert_eq!(loader.warnings(), Vec::<String>::new());
    }
}

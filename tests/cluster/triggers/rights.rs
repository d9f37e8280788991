//! Whoever inserts gains no rights of the table's owner by that.

use super::*;

/// The role may put triggers on the table, as GRANT ALL lets it, and is to gain nothing by that.
#[test]
fn a_trigger_of_somebody_else_does_not_run_as_the_tables_owner() {
    for ours in [STATEMENT, QUEUED] {
        let world = world(&format!(
            "{ours} ALTER ROLE keeper LOGIN; GRANT ALL ON lead TO loader; GRANT CREATE ON SCHEMA public TO loader"
        ));
        let mut loader = loader(&world);
        let own =
            "CREATE TRIGGER q AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert()";
        let refused = fails(loader.client.batch_execute(own));
        assert!(refused.sqlstate == "42501" && refused.message.contains("must be owner"), "{refused:?}");
        loader.run(
            "CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;
             CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NEW; END $$;
             CREATE TRIGGER spy BEFORE UPDATE ON lead FOR EACH ROW EXECUTE FUNCTION public.spy()",
        );
        loader.run(&insert(1, 3));
        jobs(&world, "dead", 3);
        assert_eq!(world.number("SELECT count(*) FROM seen"), 0);
        assert_eq!(world.provider.count(), 0);
        let said = world.number("SELECT count(*) FROM leadlex.job WHERE last_error LIKE '%trigger spy of%'");
        assert_eq!(said, 3);
        // The owner takes it for his own.
        world.run("ALTER FUNCTION public.spy() OWNER TO keeper");
        loader.run(&insert(4, 6));
        eventually("they are enriched", Duration::from_secs(20), || filled(&world) == 3);
        assert_eq!(world.number("SELECT count(*) FROM seen WHERE who = 'keeper'"), 3);
    }
}

#[test]
fn nor_does_what_somebody_else_puts_into_a_condition_or_onto_a_partition() {
    let world = world(QUEUED);
    world.run(&format!(
        "GRANT ALL ON lead TO loader; GRANT CREATE ON SCHEMA public TO loader;
         CREATE TABLE parts (id bigint, phone text, email text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
         ALTER TABLE parts OWNER TO keeper; ALTER TABLE parts_1 OWNER TO keeper;
         SELECT leadlex.bind_contacts('parts', workspace_id => '{}');
         CREATE TRIGGER q AFTER INSERT ON parts FOR EACH ROW EXECUTE FUNCTION leadlex.enqueue_on_insert();
         GRANT ALL ON parts, parts_1 TO loader",
        world.workspace
    ));
    let mut loader = loader(&world);
    loader.run(
        "CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;
         CREATE FUNCTION public.peek(t text) RETURNS boolean LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN false; END $$;
         CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NEW; END $$;
         CREATE DOMAIN public.peeked AS text CHECK (public.peek(VALUE) OR true);
         CREATE OPERATOR public.=~= (FUNCTION = public.peek, RIGHTARG = text)",
    );
    let on_lead = |when: &str| {
        format!(
            "CREATE TRIGGER spy BEFORE UPDATE ON lead FOR EACH ROW WHEN ({when})
             EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        )
    };
    let on_parts = |event: &str| {
        format!("CREATE TRIGGER spy BEFORE {event} ON parts_1 FOR EACH ROW EXECUTE FUNCTION public.spy()")
    };
    let spies = [
        on_lead("public.peek(NEW.phone)"),
        on_lead("OPERATOR(public.=~=) NEW.phone"),
        on_lead("NEW.phone::public.peeked IS NULL"),
        on_parts("INSERT"),
        on_parts("DELETE"),
    ];
    let mut count = 0;
    for (n, spy) in spies.iter().enumerate() {
        let table = if spy.contains("parts_1") { "parts" } else { "lead" };
        loader.run(spy);
        count += 1;
        match table {
            "lead" => loader.run(&insert(n as i32 + 1, n as i32 + 1)),
            _ => loader.run(&format!("INSERT INTO parts (id, email) VALUES ({n}, 'lead{n}@acme.example')")),
        }
        jobs(&world, "dead", count);
        assert_eq!(world.number("SELECT count(*) FROM seen WHERE who = 'keeper'"), 0, "{spy}");
        world.run(&format!("DROP TRIGGER spy ON {}", if table == "lead" { "lead" } else { "parts_1" }));
    }
    assert_eq!(world.provider.count(), 0);
    // Conditions of Postgres's own are nobody's.
    world.run(&on_lead("NEW.phone IS DISTINCT FROM lower(OLD.phone)"));
    loader.run(&insert(9, 9));
    jobs(&world, "done", 1);
}

#[test]
fn the_search_path_of_whoever_inserts_is_not_the_owners() {
    let world = world(STATEMENT);
    world.run(
        "CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;
         CREATE FUNCTION public.helper() RETURNS text LANGUAGE sql AS $$ SELECT 'fine' $$;
         CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN NEW.note := helper(); RETURN NEW; END $$;
         ALTER FUNCTION public.note() OWNER TO keeper;
         CREATE TRIGGER note BEFORE UPDATE ON lead FOR EACH ROW EXECUTE FUNCTION public.note();
         CREATE SCHEMA loader AUTHORIZATION loader",
    );
    let mut loader = loader(&world);
    loader.run(
        "CREATE FUNCTION loader.helper() RETURNS text LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN 'mine'; END $$;
         GRANT USAGE ON SCHEMA loader TO PUBLIC;
         SET search_path = loader, public",
    );
    loader.run(&insert(1, 3));
    assert_eq!(world.number("SELECT count(*) FROM seen"), 0);
    assert_eq!(loader.warnings().len(), 1);
    // Whoever has the owner's rights anyway keeps his own.
    world.run(&insert(4, 6));
    assert_eq!(world.number("SELECT count(*) FROM lead WHERE note = 'fine' AND phone IS NOT NULL"), 3);
}

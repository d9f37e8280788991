//! Whose rights a job has: those that its role has when it runs.

use super::*;
use crate::support::fails;
use crate::world::credits;

#[test]
fn access_that_was_revoked_meanwhile_counts() {
    let world = world(&Beginning::default());
    pause(&world);
    enqueue(&mut world.caller(), 1..=2);
    world.run("SELECT leadlex.revoke_access('caller', id) FROM leadlex.workspace");
    resume(&world);
    wait_for(&world, "dead", 2);
    assert!(last_error(&world, "dead").starts_with("invalid_key: "), "{}", last_error(&world, "dead"));
    assert_eq!(world.provider.count(), 0);
    world.run("SELECT leadlex.grant_access('caller', id) FROM leadlex.workspace");
    assert_eq!(number(&mut world.caller(), "SELECT leadlex.retry_jobs()"), 2);
    wait_for(&world, "done", 2);
}

#[test]
fn privileges_on_the_table_that_were_revoked_meanwhile_count() {
    let world = world(&Beginning::default());
    pause(&world);
    enqueue(&mut world.caller(), 1..=2);
    world.run("REVOKE UPDATE ON crm FROM caller");
    resume(&world);
    wait_for(&world, "dead", 2);
    assert!(last_error(&world, "dead").starts_with("42501: "), "{}", last_error(&world, "dead"));
    assert_eq!(world.provider.count(), 0);
}

#[test]
fn what_the_role_may_not_do_now_is_not_queued() {
    let world = world(&Beginning::default());
    let ask = "SELECT leadlex.enqueue_rows('crm', ARRAY['00000000-0000-4000-8000-000000000001'], $1)";
    let refused = |fields: Option<Vec<&str>>| fails(world.caller().query_one(ask, &[&fields]));
    world.run("REVOKE UPDATE ON crm FROM caller; GRANT UPDATE (phone) ON crm TO caller");
    let refusal = refused(Some(vec!["job_title", "location"]));
    assert_eq!(refusal.sqlstate, "42501");
    assert_eq!(
        refusal.message,
        "permission denied to update \"job_title\", \"location\" of \"public\".\"crm\""
    );
    // One of them is enough: the others may be filled already.
    world.caller().query_one(ask, &[&None::<Vec<&str>>]).unwrap();
    world.run("REVOKE SELECT ON crm FROM caller");
    let refusal = refused(None);
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.message.starts_with("permission denied to read"), "{refusal:?}");
}

#[test]
fn a_role_that_becomes_another_when_it_connects_has_its_jobs_run_all_the_same() {
    let world = world(&Beginning::default());
    pause(&world);
    enqueue(&mut world.caller(), 1..=2);
    world.run("CREATE ROLE other; GRANT other TO caller; ALTER ROLE caller SET role = 'other'");
    resume(&world);
    wait_for(&world, "done", 2);
    let by = "SELECT count(*) FROM leadlex.enrichment WHERE requested_by = 'caller'";
    assert_eq!(world.number(by), 2);
}

#[test]
fn row_level_security_holds() {
    let world = world(&Beginning::default());
    pause(&world);
    enqueue(&mut world.caller(), 1..=3);
    world.run(&format!(
        "ALTER TABLE crm ENABLE ROW LEVEL SECURITY;
         CREATE POLICY mine ON crm TO caller USING (id <> '{}')",
        contact(2)
    ));
    assert_eq!(enqueue(&mut world.caller(), 2..=2), 0, "it is not seen any more");
    resume(&world);
    wait_for(&world, "done", 3);
    let gone = "SELECT count(*) FROM leadlex.job WHERE outcome = 'gone'";
    assert_eq!(world.number(gone), 1, "to the role there is none");
    assert_eq!((asked_about(&world, 2), world.phone(2)), (0, None));
}

#[test]
fn an_api_key_acts_as_long_as_it_is_valid() {
    let world = world(&Beginning::default());
    world.run(
        "CREATE ROLE app LOGIN; SELECT leadlex.create_contact_table();
               GRANT SELECT, INSERT, UPDATE ON leadlex.contact TO app",
    );
    let sql = "SELECT leadlex.create_api_key(leadlex.create_workspace('globex', 5), name => 'app')";
    let key: String = world.owner().query_one(sql, &[]).unwrap().get(0);
    let mut app = world.cluster.connect_as("app", "app");
    app.execute("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    app.batch_execute(
        "INSERT INTO leadlex.contact (email) SELECT 'person' || n || '@acme.example' FROM generate_series(1, 4) AS n",
    )
    .unwrap();
    let queue = "SELECT leadlex.enqueue_rows('leadlex.contact', (SELECT array_agg(id::text) FROM leadlex.contact WHERE phone IS NULL))";
    assert_eq!(number(&mut app, queue), 4);
    wait_for(&world, "done", 4);
    assert_eq!(credits(&mut app), Some(1), "of the key's workspace");
    assert_eq!(number(&mut app, "SELECT count(*) FROM leadlex.contact WHERE phone IS NOT NULL"), 4);
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job_set WHERE key_hash IS NULL"), 0);
    assert!(!world.cluster.log().contains(&key));

    pause(&world);
    app.batch_execute("UPDATE leadlex.contact SET phone = NULL").unwrap();
    assert_eq!(number(&mut app, queue), 4);
    world.owner().execute("SELECT leadlex.revoke_api_key($1)", &[&&key[..16]]).unwrap();
    resume(&world);
    wait_for(&world, "dead", 4);
    assert_eq!(last_error(&world, "dead"), "invalid_key: the API key is revoked");
}

#[test]
fn jobs_of_a_role_that_is_gone_say_so() {
    let world = world(&Beginning::default());
    world.run(
        "CREATE ROLE leaver LOGIN; GRANT SELECT, UPDATE ON crm TO leaver; CREATE ROLE heir;
         SELECT leadlex.grant_access('leaver', id) FROM leadlex.workspace",
    );
    pause(&world);
    enqueue(&mut world.cluster.connect_as("app", "leaver"), 1..=2);
    eventually("no worker is there", SOON, || {
        world.number("SELECT count(*) FROM pg_stat_activity WHERE usename = 'leaver'") == 0
    });
    world.run(
        "SELECT leadlex.revoke_access('leaver', id) FROM leadlex.workspace;
         REASSIGN OWNED BY leaver TO heir; DROP OWNED BY leaver; DROP ROLE leaver",
    );
    resume(&world);
    wait_for(&world, "dead", 2);
    assert!(last_error(&world, "dead").contains("the role leaver does not exist"));
    assert_eq!(number(&mut world.owner(), "SELECT leadlex.retry_jobs()"), 2);
    wait_for(&world, "queued", 2);
    world.cluster.restart(crate::support::Stop::Fast);
    wait_for(&world, "dead", 2);
    assert_eq!(world.provider.count(), 0);
}

/// Before PostgreSQL 17 no worker can be a role that may not log in; in no version one that may not connect.
#[test]
fn jobs_of_a_role_that_may_not_connect_are_given_up_visibly() {
    let world = world(&Beginning { conf: &["leadlex.job_max_attempts = 2"], ..Beginning::default() });
    let login = world.cluster.server().major < 17;
    let (take, give, hint) = match login {
        true => ("ALTER ROLE caller NOLOGIN", "ALTER ROLE caller LOGIN", "ALTER ROLE caller LOGIN"),
        false => (
            "REVOKE CONNECT ON DATABASE app FROM PUBLIC",
            "GRANT CONNECT ON DATABASE app TO caller",
            "GRANT CONNECT ON DATABASE app TO caller",
        ),
    };
    // One that is there already does not have to connect: no worker is called for before the role may not.
    let mut caller = world.caller();
    let mut queueing = caller.transaction().unwrap();
    enqueue(&mut queueing, 1..=2);
    world.run(take);
    queueing.commit().unwrap();
    wait_for(&world, "dead", 2);
    assert!(last_error(&world, "dead").ends_with(hint), "{}", last_error(&world, "dead"));
    let refusals = world.cluster.log().matches("leadlex_enrich job worker").count();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        world.cluster.log().matches("leadlex_enrich job worker").count(),
        refusals,
        "no more is tried"
    );
    if login {
        world.run("GRANT caller TO postgres");
        let mut owner = world.owner();
        owner.batch_execute("SET ROLE caller").unwrap();
        let refused = fails(owner.query_one("SELECT leadlex.enqueue($1)", &[&vec![contact(3)]]));
        assert_eq!(refused.sqlstate, "55000");
        assert!(refused.message.contains("may not log in"), "{refused:?}");
    }
    world.run(give);
    assert_eq!(world.number("SELECT leadlex.retry_jobs()"), 2);
    wait_for(&world, "done", 2);
}

#[test]
fn a_trigger_finds_no_more_rights_than_its_role_has() {
    let world = world(&Beginning::default());
    world.run(
        "CREATE TABLE tried (how text, outcome text);
         GRANT INSERT ON tried TO PUBLIC;
         CREATE FUNCTION try_it() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE how text;
         BEGIN
             FOREACH how IN ARRAY ARRAY['SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres', 'RESET ROLE',
                                        'SET SESSION AUTHORIZATION DEFAULT', 'ALTER ROLE caller SUPERUSER'] LOOP
                 BEGIN
                     EXECUTE how;
                     INSERT INTO public.tried VALUES (TG_NAME || ': ' || how, current_user || ' ' || session_user || ' ' || current_setting('is_superuser'));
                 EXCEPTION WHEN insufficient_privilege THEN
                     INSERT INTO public.tried VALUES (TG_NAME || ': ' || how, 'refused');
                 END;
             END LOOP;
             RETURN NEW;
         END $$;
         CREATE TRIGGER before BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION try_it();
         CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON crm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION try_it();",
    );
    enqueue(&mut world.caller(), 1..=1);
    wait_for(&world, "done", 1);
    let sql = "SELECT count(*), count(*) FILTER (WHERE outcome = 'refused'),
                      count(*) FILTER (WHERE outcome = 'caller caller off') FROM tried";
    let row = world.owner().query_one(sql, &[]).unwrap();
    let counts: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(counts, (10, 6, 4));
}

#[test]
fn a_role_that_a_trigger_left_behind_is_not_the_next_set_s() {
    let world = world(&Beginning::default());
    world.run(
        "CREATE ROLE team; GRANT team TO caller; GRANT SELECT, UPDATE ON crm TO team;
         CREATE FUNCTION become() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET ROLE team; RETURN NEW; END $$;
         CREATE TRIGGER become BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION become();",
    );
    pause(&world);
    let mut caller = world.caller();
    for n in 1..=3 {
        enqueue(&mut caller, n..=n);
    }
    resume(&world);
    wait_for(&world, "done", 3);
    let by = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'leadlex_enrich job worker' AND usename <> 'caller'";
    assert_eq!(world.number(by), 0);
}

#[test]
fn two_roles_and_two_workspaces_are_kept_apart() {
    let world = world(&Beginning { contacts: 20, ..Beginning::default() });
    world.run(
        "CREATE ROLE other LOGIN; CREATE TABLE second (LIKE crm INCLUDING ALL);
         INSERT INTO second SELECT * FROM crm; GRANT SELECT, UPDATE ON second TO other;
         SELECT leadlex.grant_access('other', leadlex.create_workspace('globex', 5));
         SELECT leadlex.bind_contacts('second', workspace_id => (SELECT id FROM leadlex.workspace WHERE name = 'globex'));
         SELECT leadlex.grant_access('caller', id) FROM leadlex.workspace",
    );
    pause(&world);
    let mut caller = world.caller();
    caller.batch_execute("SET leadlex.workspace = 'acme'").unwrap();
    let mut other = world.cluster.connect_as("app", "other");
    let second = "SELECT leadlex.enqueue_rows('second', (SELECT array_agg(id::text) FROM second WHERE id::text LIKE '%1'))";
    enqueue(&mut caller, 1..=3);
    assert_eq!(number(&mut other, second), 2);
    resume(&world);
    wait_for(&world, "done", 5);
    assert_eq!((credits(&mut caller), credits(&mut other)), (Some(7), Some(3)));
    let by = "SELECT string_agg(DISTINCT requested_by || ' ' || table_name, ', ' ORDER BY requested_by || ' ' || table_name) FROM leadlex.enrichment";
    let by: String = world.owner().query_one(by, &[]).unwrap().get(0);
    assert_eq!(by, "caller crm, other second");
}

/// Jobs of a table's trigger: on its owner's authority, as long as it is the owner's.
#[test]
fn the_owner_of_a_table_answers_for_its_triggers() {
    let world = world(&Beginning::default());
    world.run(
        "CREATE ROLE chief LOGIN; CREATE ROLE heir LOGIN; ALTER TABLE crm OWNER TO chief;
         CREATE TABLE paths (path text); GRANT INSERT ON paths TO PUBLIC;
         CREATE FUNCTION note_path() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.paths VALUES (current_setting('search_path')); RETURN NEW; END $$;
         CREATE TRIGGER note_path BEFORE UPDATE ON crm FOR EACH ROW EXECUTE FUNCTION note_path();
         SELECT leadlex.grant_access('chief', id) FROM leadlex.workspace",
    );
    // As a trigger would queue them.
    let as_trigger = |role: &str, n: i32| {
        pause(&world);
        enqueue(&mut world.cluster.connect_as("app", role), n..=n);
        world.run("UPDATE leadlex.job_set SET authority = 'table_owner' WHERE state = 'queued'");
    };
    as_trigger("chief", 1);
    resume(&world);
    wait_for(&world, "done", 1);
    as_trigger("chief", 2);
    world.run("SELECT leadlex.revoke_access('chief', id) FROM leadlex.workspace");
    resume(&world);
    wait_for(&world, "dead", 1);
    assert!(last_error(&world, "dead").contains("not granted"), "{}", last_error(&world, "dead"));
    world.run("SELECT leadlex.grant_access('chief', id) FROM leadlex.workspace");
    as_trigger("chief", 3);
    world.run("ALTER TABLE crm OWNER TO heir; GRANT SELECT, UPDATE ON crm TO chief");
    resume(&world);
    wait_for(&world, "dead", 2);
    assert!(last_error(&world, "dead").contains("does not own the table any more"));
    // A superuser needs no grant.
    world.run("SELECT leadlex.grant_access('postgres', id) FROM leadlex.workspace; ALTER TABLE crm OWNER TO postgres");
    as_trigger("postgres", 4);
    world.run("SELECT leadlex.revoke_access('postgres', id) FROM leadlex.workspace");
    resume(&world);
    wait_for(&world, "done", 2);
    let paths = "SELECT count(*) FROM paths WHERE path = 'pg_catalog, pg_temp'";
    assert_eq!((world.number(paths), world.number("SELECT count(*) FROM paths")), (2, 2));
    assert_eq!(world.provider.count(), 2);
}

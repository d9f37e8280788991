//! Which memberships are one: those that give the role's rights, or SET ROLE.

use std::time::Duration;

use postgres::Client;

use crate::support::{Behaviour, eventually};
use crate::world::{Beginning, PATH, World, only_phone, sqlstate};

/// From this version on a membership can be made to give nothing.
const BY_GRANT: u32 = 16;

fn teams(world: &World) {
    world.run(
        "CREATE ROLE red; CREATE ROLE blue;
         SELECT leadlex.grant_access('red', id) FROM leadlex.workspace;
         SELECT leadlex.grant_access('blue', leadlex.create_workspace('blue', 5))",
    );
}

/// The workspaces that a role acts for and reads.
fn acts_for(world: &World, role: &str) -> i64 {
    let mut session: Client = world.owner();
    session.batch_execute(&format!("SET ROLE {role}")).unwrap();
    let count: i32 = session.query_one("SELECT cardinality(leadlex.my_workspaces())", &[]).unwrap().get(0);
    let who = sqlstate(&session.query("SELECT leadlex.whoami()", &[]));
    assert_eq!(who, if count == 1 { "00000" } else { "LX401" }, "{role}");
    count.into()
}

#[test]
fn a_membership_that_gives_nothing_is_none() {
    let world = World::new();
    teams(&world);
    world.run(
        "CREATE ROLE plain IN ROLE red; CREATE ROLE careful NOINHERIT IN ROLE red; CREATE ROLE boss SUPERUSER; CREATE ROLE stranger",
    );
    for (role, count) in [("red", 1), ("plain", 1), ("careful", 1), ("boss", 0), ("stranger", 0)] {
        assert_eq!(acts_for(&world, role), count, "{role}");
    }
    world.run("GRANT red TO boss; GRANT blue TO plain");
    assert_eq!((acts_for(&world, "boss"), acts_for(&world, "plain")), (1, 2));
    if world.cluster.server().major < BY_GRANT {
        return;
    }
    world.run(
        "REVOKE red FROM boss; GRANT red TO boss WITH INHERIT FALSE, SET FALSE;
         CREATE ROLE nothing; GRANT red TO nothing WITH INHERIT FALSE, SET FALSE;
         CREATE ROLE administers; GRANT red TO administers WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
         CREATE ROLE inherits; GRANT red TO inherits WITH INHERIT TRUE, SET FALSE;
         CREATE ROLE becomes; GRANT red TO becomes WITH INHERIT FALSE, SET TRUE;
         CREATE ROLE far; GRANT nothing TO far; CREATE ROLE near; GRANT inherits TO near;
         CREATE ROLE mixed; GRANT becomes TO mixed WITH INHERIT TRUE, SET FALSE;
         CREATE ROLE mixed_boss SUPERUSER; GRANT becomes TO mixed_boss WITH INHERIT TRUE, SET FALSE;
         CREATE ROLE near_boss SUPERUSER; GRANT inherits TO near_boss;",
    );
    for (role, count) in [
        ("boss", 0),
        ("nothing", 0),
        ("administers", 0),
        ("inherits", 1),
        ("becomes", 1),
        ("far", 0),
        ("near", 1),
        // It has the rights of a role that may become red, but may not become that one.
        ("mixed", 0),
        ("mixed_boss", 0),
        ("near_boss", 1),
    ] {
        assert_eq!(acts_for(&world, role), count, "{role}");
    }
    // Rows of the owner's tables are kept apart by the same.
    world.run("GRANT SELECT ON leadlex.credit_ledger, leadlex.credit_pending, leadlex.credit_settled TO nothing, inherits");
    let rows = |role: &str| {
        let mut session = world.owner();
        session.batch_execute(&format!("SET ROLE {role}")).unwrap();
        crate::world::number(&mut session, "SELECT count(*) FROM leadlex.credit_ledger")
    };
    assert_eq!((rows("nothing"), rows("inherits")), (0, 1));
}

/// From 16 on a role that makes others is a member of each of them, without their rights.
#[test]
fn the_role_that_makes_teams_acts_for_none_of_them() {
    let world = World::new();
    world.run("CREATE ROLE maker CREATEROLE");
    let mut maker = world.owner();
    maker.batch_execute("SET ROLE maker; CREATE ROLE red; CREATE ROLE blue").unwrap();
    world.run(
        "SELECT leadlex.grant_access('red', id) FROM leadlex.workspace;
         SELECT leadlex.grant_access('blue', leadlex.create_workspace('blue', 5))",
    );
    assert_eq!(acts_for(&world, "maker"), 0);
    if world.cluster.server().major >= BY_GRANT {
        let member = "SELECT count(*) FROM pg_auth_members WHERE member = 'maker'::regrole";
        assert_eq!(world.number(member), 2);
        maker.batch_execute("GRANT red TO maker WITH INHERIT TRUE").unwrap();
        assert_eq!(acts_for(&world, "maker"), 1);
    }
}

/// A function of a role that can act as the table's owner gains nothing by running as the owner; of others it does.
#[test]
fn a_function_of_a_member_without_rights_is_not_trusted() {
    let world = World::with(&Beginning { credits: Some(100), ..Beginning::default() });
    world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+15550100100")));
    world.run(&format!(
        "CREATE ROLE keeper LOGIN; CREATE ROLE spy; CREATE TABLE seen (who text); GRANT ALL ON seen TO PUBLIC;
         CREATE TABLE lead (id bigint PRIMARY KEY, email text, phone text);
         SELECT leadlex.bind_contacts('lead', workspace_id => '{0}'); SELECT leadlex.grant_access('keeper', '{0}');
         CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NEW; END $$;
         ALTER FUNCTION spy() OWNER TO spy;
         CREATE TRIGGER spy BEFORE UPDATE ON lead FOR EACH ROW EXECUTE FUNCTION spy();
         CREATE TRIGGER e AFTER INSERT ON lead FOR EACH ROW EXECUTE FUNCTION leadlex.enrich_on_insert();
         ALTER TABLE lead OWNER TO keeper; SELECT leadlex.pause_queue()",
        world.workspace
    ));
    let seen = || world.number("SELECT count(*) FROM seen");
    let insert = |n: i32| world.run(&format!("INSERT INTO lead VALUES ({n}, 'lead{n}@acme.example')"));
    let mut grants = vec!["SELECT", "GRANT keeper TO spy"];
    if world.cluster.server().major >= BY_GRANT {
        grants[0] = "GRANT keeper TO spy WITH INHERIT FALSE, SET FALSE";
        // What is granted again without options keeps those that it has.
        grants[1] = "REVOKE keeper FROM spy; GRANT keeper TO spy";
        grants.push("REVOKE keeper FROM spy; GRANT keeper TO spy WITH INHERIT FALSE, SET TRUE");
        grants.push("REVOKE keeper FROM spy; GRANT keeper TO spy WITH INHERIT TRUE, SET FALSE");
    }
    for (n, grant) in grants.iter().enumerate() {
        world.run(grant);
        insert(n as i32);
        assert_eq!(seen(), n as i64, "{grant}");
    }
    assert_eq!(world.number("SELECT count(*) FROM leadlex.job"), 1);
    world.run("SELECT leadlex.resume_queue()");
    eventually("the first comes, too, now that its trigger is trusted", Duration::from_secs(20), || {
        seen() == grants.len() as i64
    });
}

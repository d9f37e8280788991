//! Thousands of granted roles: no list of privileges grows with them, and strangers see as little as ever.

use std::time::{Duration, Instant};

use postgres::Client;

use crate::support::{check, fails};
use crate::world::{Beginning, PHONE, World, contact, enrich, number, sqlstate};

const ROLES: i32 = 3_000;

fn create_roles(world: &World, roles: i32) {
    world.run(&format!(
        "DO $$ BEGIN FOR n IN 1..{roles} LOOP EXECUTE format('CREATE ROLE bi%s LOGIN', n); END LOOP; END $$"
    ));
}

fn grant(world: &World, from: i32, to: i32) {
    let workspace = world.workspace;
    world.run(&format!(
        "DO $$ BEGIN FOR n IN {from}..{to} LOOP PERFORM leadlex.grant_access(('bi' || n)::name, '{workspace}'); END LOOP; END $$"
    ));
}

/// What a thousand looks at one's identity take, without the times in which other tests had the processor.
fn time_of_calls(client: &mut Client) -> Duration {
    let sql = "DO $$ BEGIN FOR n IN 1..1000 LOOP PERFORM leadlex.whoami(); END LOOP; END $$";
    client.batch_execute(sql).unwrap();
    let times = (0..20).map(|_| {
        let started = Instant::now();
        client.batch_execute(sql).unwrap();
        started.elapsed()
    });
    times.min().unwrap()
}

/// A policy is asked row by row: a role that may see nothing would read the whole history for that.
#[test]
fn who_may_see_nothing_of_the_history_reads_nothing_of_it() {
    let world = World::new();
    enrich(&mut world.caller(), 1).unwrap();
    world.run("CREATE ROLE watcher LOGIN IN ROLE pg_monitor");
    let mut watcher = world.cluster.connect_as("app", "watcher");
    for view in ["enriched", "credit_ledger"] {
        let plan = |client: &mut Client| {
            let rows =
                client.query(&format!("EXPLAIN (COSTS OFF) SELECT * FROM leadlex.{view}"), &[]).unwrap();
            rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
        };
        let told = plan(&mut watcher);
        assert!(told.contains("One-Time Filter"), "{told}");
        let count = format!("SELECT count(*) FROM leadlex.{view}");
        assert_eq!(number(&mut watcher, &count), 0);
        assert!(number(&mut world.caller(), &count) > 0, "{view}");
        assert!(world.number(&count) > 0, "{view}");
    }
}

#[test]
fn three_thousand_roles_are_granted_access_and_a_call_costs_no_more() {
    let world = World::with(&Beginning { credits: None, ..Beginning::default() });
    world.run("SELECT leadlex.create_contact_table(); GRANT SELECT, UPDATE ON crm TO PUBLIC");
    create_roles(&world, ROLES);
    grant(&world, 1, 1);
    let before = time_of_calls(&mut world.cluster.connect_as("app", "bi1"));
    grant(&world, 2, ROLES);
    let mut last = world.cluster.connect_as("app", &format!("bi{ROLES}"));
    let after = time_of_calls(&mut last);
    assert!(after < before * 3, "1,000 calls took {before:?} with one role, {after:?} with {ROLES}");
    let longest =
        "SELECT max(cardinality(relacl))::int8 FROM pg_class WHERE relnamespace = 'leadlex'::regnamespace";
    assert!(world.number(longest) < 10);

    assert_eq!(enrich(&mut last, 1).unwrap()["contact"]["phone"], PHONE);
    last.batch_execute("INSERT INTO leadlex.contact (full_name) VALUES ('one'); UPDATE leadlex.contact SET full_name = 'two'")
        .unwrap();
    for table in ["contact", "enrichment", "workspace", "provider", "enriched", "usage_daily"] {
        assert!(number(&mut last, &format!("SELECT count(*) FROM leadlex.{table}")) > 0, "{table}");
    }
    world.run(&format!("SELECT leadlex.revoke_access('bi{ROLES}', '{}')", world.workspace));
    for table in ["contact", "enrichment", "workspace", "provider", "enriched", "usage_daily"] {
        assert_eq!(number(&mut last, &format!("SELECT count(*) FROM leadlex.{table}")), 0, "{table}");
    }
    assert_eq!(sqlstate(&enrich(&mut last, 2)), "LX401");
}

/// Everything of ours that a session may read, and in how much of it there is a row.
fn with_rows(client: &mut Client) -> Vec<String> {
    // One row of sums whoever looks: which are over one's own.
    let queued = "SELECT (queued + running + done + dead)::int8 FROM leadlex.queue";
    assert_eq!(number(client, queued), 0);
    let sql = "SELECT relname::text, has_table_privilege(oid, 'SELECT') FROM pg_class
               WHERE relnamespace = 'leadlex'::regnamespace AND relkind IN ('r', 'v', 'm', 'p') AND relname <> 'queue' ORDER BY 1";
    let mut found = Vec::new();
    for row in client.query(sql, &[]).unwrap() {
        let (name, readable): (String, bool) = (row.get(0), row.get(1));
        let rows = client.query(&format!("SELECT * FROM leadlex.{name}"), &[]);
        match rows {
            Ok(rows) if rows.is_empty() => assert!(readable, "{name}"),
            Ok(_) => found.push(name),
            Err(error) => {
                assert_eq!((readable, sqlstate::<()>(&Err(error)).as_str()), (false, "42501"), "{name}")
            }
        }
    }
    found
}

/// A workspace with rows in every table, one of leadlex.contact included, and a stranger.
fn used() -> World {
    let world = World::new();
    world.run(
        "SELECT leadlex.create_contact_table(); CREATE ROLE stranger LOGIN; GRANT SELECT, UPDATE ON crm TO stranger;
         CREATE ROLE reader LOGIN; CREATE ROLE support LOGIN; CREATE ROLE team; CREATE ROLE member LOGIN IN ROLE team;",
    );
    enrich(&mut world.caller(), 1).unwrap();
    world
        .caller()
        .execute("INSERT INTO leadlex.contact (id, full_name) VALUES ($1, 'Ada Abbott')", &[&contact(1)])
        .unwrap();
    world
}

#[test]
fn a_stranger_finds_no_row_in_anything_that_public_may_read() {
    let world = used();
    let mut stranger = world.cluster.connect_as("app", "stranger");
    // The descriptions that come with the extension are no secret.
    assert_eq!(with_rows(&mut stranger), ["presets"]);
    let found = with_rows(&mut world.caller());
    for table in
        ["contact", "credit_ledger", "enriched", "enrichment", "provider", "usage_daily", "workspace"]
    {
        assert!(found.iter().any(|name| name == table), "{table} has no row to hide: {found:?}");
    }
    // Nor by functions of their own.
    stranger
        .batch_execute(
            "CREATE FUNCTION pg_temp.peek(v anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE EXCEPTION 'seen %', v; END $$;
             SELECT * FROM leadlex.enrichment WHERE pg_temp.peek(contact_id); SELECT * FROM leadlex.provider WHERE pg_temp.peek(name);
             SELECT * FROM leadlex.contact WHERE pg_temp.peek(id);",
        )
        .unwrap();
}

#[test]
fn a_stranger_can_neither_write_nor_lock_contacts() {
    let world = used();
    let mut stranger = world.cluster.connect_as("app", "stranger");
    for (sql, state) in [
        ("INSERT INTO leadlex.contact (id, workspace_id) VALUES ('{id}', '{w}')", "42501"),
        ("INSERT INTO leadlex.contact (id, workspace_id) VALUES ('{other}', '{w}')", "42501"),
        (
            "INSERT INTO leadlex.contact (id, workspace_id) VALUES ('{id}', '{w}') ON CONFLICT (id) DO NOTHING",
            "42501",
        ),
        (
            "INSERT INTO leadlex.contact (id, workspace_id) VALUES ('{id}', '{w}') ON CONFLICT (id) DO UPDATE SET phone = '1'",
            "42501",
        ),
        ("INSERT INTO leadlex.contact (id) VALUES ('{other}')", "LX401"),
        ("LOCK TABLE leadlex.contact", "42501"),
        ("LOCK TABLE crm, leadlex.contact IN ROW EXCLUSIVE MODE", "42501"),
        ("TRUNCATE leadlex.contact", "42501"),
    ] {
        let sql = sql
            .replace("{id}", &contact(1).to_string())
            .replace("{other}", &contact(9).to_string())
            .replace("{w}", &world.workspace.to_string());
        let outcome = stranger.batch_execute(&format!("BEGIN; {sql}; COMMIT"));
        assert_eq!(sqlstate(&outcome), state, "{sql}: {outcome:?}");
        stranger.batch_execute("ROLLBACK").unwrap();
    }
    // Whether there is such a contact is not told.
    for condition in ["true", "id = '{id}'", "id = '{other}'"] {
        let condition =
            condition.replace("{id}", &contact(1).to_string()).replace("{other}", &contact(9).to_string());
        for sql in [
            "UPDATE leadlex.contact SET phone = '1' WHERE {c}",
            "DELETE FROM leadlex.contact WHERE {c}",
            "SELECT FROM leadlex.contact WHERE {c} FOR UPDATE",
        ] {
            assert_eq!(
                stranger.execute(&sql.replace("{c}", &condition), &[]).unwrap(),
                0,
                "{sql} {condition}"
            );
        }
    }
    assert_eq!(world.number("SELECT count(*) FROM leadlex.contact WHERE phone IS NULL"), 1);
    let mut caller = world.caller();
    caller.batch_execute("BEGIN; LOCK TABLE leadlex.contact IN SHARE ROW EXCLUSIVE MODE; COMMIT").unwrap();
}

/// A key says for which workspace one calls; privileges are the role's.
#[test]
fn a_key_alone_gives_no_privileges() {
    let world = used();
    let sql = "SELECT leadlex.create_api_key($1)";
    let key: String = world.owner().query_one(sql, &[&world.workspace]).unwrap().get(0);
    let mut stranger = world.cluster.connect_as("app", "stranger");
    stranger.execute("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    let found = with_rows(&mut stranger);
    for table in
        ["contact", "credit_ledger", "enriched", "enrichment", "provider", "usage_daily", "workspace"]
    {
        assert!(!found.iter().any(|name| name == table), "{table} is read with a key alone");
    }
    let insert = "INSERT INTO leadlex.contact (full_name) VALUES ('x')";
    assert_eq!(sqlstate(&stranger.execute(insert, &[])), "42501");
    assert!(enrich(&mut stranger, 2).is_ok(), "their own privileges are enough for a table of one's own");
    // What the owner gives to a role by hand is good, as with any table.
    world.run("GRANT SELECT ON leadlex.enrichment, leadlex.contact TO stranger; GRANT INSERT ON leadlex.contact TO stranger");
    let mut stranger = world.cluster.connect_as("app", "stranger");
    assert_eq!(
        number(&mut stranger, "SELECT count(*) FROM leadlex.enrichment"),
        0,
        "but not without the key"
    );
    stranger.execute("SELECT set_config('leadlex.api_key', $1, false)", &[&key]).unwrap();
    assert_eq!(number(&mut stranger, "SELECT count(*) FROM leadlex.enrichment"), 2);
    assert_eq!(stranger.execute(insert, &[]).unwrap(), 1);
    assert_eq!(number(&mut stranger, "SELECT count(*) FROM leadlex.contact"), 2);
    assert_eq!(stranger.execute("DELETE FROM leadlex.contact", &[]).unwrap(), 0);
}

#[test]
fn who_may_only_read_is_told_so_when_writing() {
    let world = used();
    world.run(&format!("SELECT leadlex.grant_access('reader', '{}', '{{}}')", world.workspace));
    let mut reader = world.cluster.connect_as("app", "reader");
    assert_eq!(number(&mut reader, "SELECT count(*) FROM leadlex.contact"), 1);
    for sql in [
        "UPDATE leadlex.contact SET phone = '1'",
        "DELETE FROM leadlex.contact",
        "INSERT INTO leadlex.contact (full_name) VALUES ('x')",
        "LOCK TABLE leadlex.contact",
    ] {
        let failure = fails(reader.batch_execute(sql));
        assert_eq!(
            (failure.sqlstate.as_str(), failure.message.as_str()),
            ("42501", "permission denied for table contact"),
            "{sql}"
        );
    }
}

/// Policies that the owner of the table adds are for granted roles, as they were when each had its own privileges.
#[test]
fn a_policy_of_ones_own_opens_the_contacts_to_no_stranger() {
    let world = used();
    world.run("CREATE POLICY everything ON leadlex.contact USING (true)");
    let mut stranger = world.cluster.connect_as("app", "stranger");
    assert_eq!(number(&mut stranger, "SELECT count(*) FROM leadlex.contact"), 0);
    assert_eq!(number(&mut world.caller(), "SELECT count(*) FROM leadlex.contact"), 1);
}

/// A plan tells how many rows a policy has kept from its query; with an index, for which values there are any.
#[test]
fn a_stranger_learns_nothing_from_explain_analyze() {
    let world = used();
    world.run(
        "CREATE INDEX ON leadlex.contact (full_name); CREATE TABLE own (id int); GRANT SELECT ON own TO PUBLIC;
         CREATE VIEW over AS SELECT full_name FROM leadlex.contact; GRANT SELECT ON over TO PUBLIC;
         CREATE ROLE auditor LOGIN BYPASSRLS",
    );
    let explain =
        |client: &mut Client, sql: &str| sqlstate(&client.batch_execute(&format!("EXPLAIN (ANALYZE) {sql}")));
    let mut stranger = world.cluster.connect_as("app", "stranger");
    stranger.batch_execute("PREPARE p AS SELECT FROM leadlex.enrichment").unwrap();
    for sql in [
        "SELECT FROM leadlex.contact",
        "SELECT FROM leadlex.contact WHERE full_name = 'Ada Abbott'",
        "SELECT FROM leadlex.contact WHERE full_name = 'Nobody'",
        "SELECT FROM own WHERE id IN (SELECT 1 FROM leadlex.enriched)",
        "WITH c AS (SELECT FROM leadlex.workspace) SELECT FROM c",
        "UPDATE leadlex.contact SET phone = '1'",
        "EXECUTE p",
        "SELECT FROM over",
    ] {
        assert_eq!(explain(&mut stranger, sql), "42501", "{sql}");
    }
    for view in ["provider", "job", "queue", "usage_daily", "credit_ledger"] {
        assert_eq!(explain(&mut stranger, &format!("TABLE leadlex.{view}")), "42501", "{view}");
    }
    let nested = "DO $$ BEGIN EXECUTE 'EXPLAIN ANALYZE SELECT FROM leadlex.contact'; END $$";
    assert_eq!(sqlstate(&stranger.batch_execute(nested)), "42501");
    // Without ANALYZE, and afterwards, also in the same transaction, all is as before.
    stranger
        .batch_execute(
            "BEGIN; EXPLAIN SELECT FROM leadlex.contact; EXPLAIN (ANALYZE off) SELECT FROM leadlex.contact; EXPLAIN ANALYZE SELECT FROM own;
             TABLE leadlex.contact;
             DO $$ BEGIN EXECUTE 'EXPLAIN ANALYZE SELECT FROM leadlex.contact'; EXCEPTION WHEN insufficient_privilege THEN END $$;
             SAVEPOINT s; TABLE leadlex.contact; COMMIT; TABLE leadlex.enriched",
        )
        .unwrap();
    for role in ["caller", "postgres", "auditor"] {
        let mut client = world.cluster.connect_as("app", role);
        assert_eq!(explain(&mut client, "SELECT FROM leadlex.contact"), "00000", "{role}");
    }
    // What our own functions look up is theirs.
    let call = "SELECT enrich_contact('00000000-0000-4000-8000-000000000002')";
    assert_eq!(explain(&mut world.caller(), call), "00000");
    assert_eq!(explain(&mut stranger, call), "LX401");
}

/// PUBLIC has privileges only as long as policies keep strangers from the rows.
#[test]
fn who_does_away_with_what_keeps_strangers_out_opens_the_contacts_to_nobody() {
    const PUBLIC: &str = "SELECT count(*) FROM pg_class AS c, aclexplode(c.relacl) AS a
        WHERE c.oid = 'leadlex.contact'::regclass AND a.grantee = 0";
    let world = used();
    let count = "SELECT count(*) FROM leadlex.contact";
    for sql in [
        "ALTER TABLE leadlex.contact DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE leadlex.contact ADD COLUMN more text, DISABLE ROW LEVEL SECURITY",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE leadlex.contact DISABLE ROW LEVEL SECURITY'; END $$",
        "DROP POLICY granted_select ON leadlex.contact",
        "DROP POLICY own_workspace ON leadlex.contact",
        "ALTER POLICY granted_delete ON leadlex.contact USING (true)",
        "ALTER POLICY granted_insert ON leadlex.contact RENAME TO mine",
    ] {
        let mut owner = world.owner();
        owner.batch_execute(&format!("BEGIN; {sql}")).unwrap();
        assert_eq!(number(&mut owner, PUBLIC), 0, "{sql}");
        owner.batch_execute("ROLLBACK").unwrap();
        assert_eq!(number(&mut owner, PUBLIC), 4, "{sql}");
    }
    // What leaves the policies as they are closes nothing, nor does what concerns another table.
    world.run(
        "ALTER POLICY own_workspace ON leadlex.contact TO PUBLIC; ALTER TABLE crm DISABLE ROW LEVEL SECURITY;
         CREATE POLICY one ON leadlex.contact USING (true); DROP POLICY one ON leadlex.contact",
    );
    assert_eq!(world.number(PUBLIC), 4);

    world.run("ALTER TABLE leadlex.contact DISABLE ROW LEVEL SECURITY");
    for role in ["stranger", "caller"] {
        let outcome = world.cluster.connect_as("app", role).query(count, &[]);
        assert_eq!(sqlstate(&outcome), "42501", "{role}");
    }
    let grant = format!("SELECT leadlex.grant_access('caller', '{}')", world.workspace);
    world.run(&grant);
    assert_eq!(number(&mut world.caller(), count), 1);
    assert_eq!(sqlstate(&world.cluster.connect_as("app", "stranger").query(count, &[])), "42501");
    // And the way back.
    world.run(&format!("ALTER TABLE leadlex.contact ENABLE ROW LEVEL SECURITY; {grant}"));
    assert_eq!(world.number(PUBLIC), 4);
    assert_eq!(number(&mut world.caller(), count), 1);
    assert_eq!(number(&mut world.cluster.connect_as("app", "stranger"), count), 0);
}

#[test]
fn memberships_that_come_and_go_are_seen_by_open_sessions() {
    let world = used();
    let mut support = world.cluster.connect_as("app", "support");
    let count = "SELECT count(*) FROM leadlex.enrichment";
    assert_eq!(number(&mut support, count), 0);
    world.run(&format!("SELECT leadlex.grant_access('team', '{}')", world.workspace));
    assert_eq!(number(&mut support, count), 0);
    world.run("GRANT team TO support");
    assert_eq!(number(&mut support, count), 1);
    world.run("REVOKE team FROM support");
    assert_eq!(number(&mut support, count), 0);
    world.run("CREATE ROLE middle IN ROLE team; GRANT middle TO support");
    assert_eq!(number(&mut support, count), 1);
    world.run("DROP ROLE middle");
    assert_eq!(number(&mut support, count), 0);
    // The database's owner is a member of this one without an entry.
    world.run(&format!("SELECT leadlex.grant_access('pg_database_owner', '{}')", world.workspace));
    assert_eq!(number(&mut support, count), 0);
    world.run("ALTER DATABASE app OWNER TO support");
    assert_eq!(number(&mut support, count), 1);
}

/// As versions before this one gave them.
#[test]
fn privileges_that_a_role_got_for_itself_are_taken_back() {
    const GRANTS: &str = "
        GRANT SELECT ON leadlex.workspace, leadlex.credit_pending, leadlex.credit_settled, leadlex.credit_ledger, leadlex.enrichment,
            leadlex.provider TO caller;
        DROP POLICY granted_select ON leadlex.contact; DROP POLICY granted_insert ON leadlex.contact;
        DROP POLICY granted_update ON leadlex.contact; DROP POLICY granted_delete ON leadlex.contact;
        REVOKE ALL ON leadlex.contact FROM PUBLIC;
        GRANT SELECT, INSERT, UPDATE, DELETE ON leadlex.contact TO caller;";
    const NAMED: &str = "SELECT count(*) FROM pg_class AS c, aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'leadlex'::regnamespace AND a.grantee = 'caller'::regrole";
    let world = used();
    let revoke = format!("SELECT leadlex.revoke_access('caller', '{}')", world.workspace);
    world.run(GRANTS);
    assert!(world.number(NAMED) > 6);
    world.run(&revoke);
    assert_eq!(world.number(NAMED), 0);
    assert_eq!(with_rows(&mut world.caller()), ["presets"]);

    // The table is opened for all granted roles when the next one comes, and the list is emptied.
    world.run("GRANT SELECT ON leadlex.contact TO caller");
    world.run(&format!(
        "SELECT leadlex.grant_access(role::name, '{}') FROM unnest('{{caller, support}}'::text[]) AS role",
        world.workspace
    ));
    assert_eq!(world.number(NAMED), 0);
    for role in ["caller", "support"] {
        let mut session = world.cluster.connect_as("app", role);
        assert_eq!(number(&mut session, "SELECT count(*) FROM leadlex.contact"), 1, "{role}");
    }
    assert_eq!(with_rows(&mut world.cluster.connect_as("app", "stranger")), ["presets"]);
    // Where the owner has done away with row-level security, nobody else is let in.
    world.run(
        "REVOKE ALL ON leadlex.contact FROM PUBLIC; ALTER TABLE leadlex.contact DISABLE ROW LEVEL SECURITY",
    );
    world.run(&format!("SELECT leadlex.grant_access('reader', '{}', '{{}}')", world.workspace));
    assert_eq!(
        number(&mut world.cluster.connect_as("app", "reader"), "SELECT count(*) FROM leadlex.contact"),
        1
    );
    assert_eq!(
        sqlstate(&world.cluster.connect_as("app", "stranger").query("SELECT FROM leadlex.contact", &[])),
        "42501"
    );
}

#[test]
fn a_dump_leaves_out_the_access_of_roles_that_are_gone() {
    let world = used();
    world.run(&format!(
        "SELECT leadlex.grant_access('support', '{0}'); SELECT leadlex.grant_access('team', '{0}'); DROP ROLE support",
        world.workspace
    ));
    let output = check(&mut world.cluster.command("pg_dump", "app"), "pg_dump").stdout;
    let dump = String::from_utf8(output).unwrap();
    let rows: Vec<&str> = dump
        .lines()
        .skip_while(|line| !line.starts_with("COPY leadlex.access "))
        .skip(1)
        .take_while(|line| *line != "\\.")
        .collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(!dump.lines().any(|line| line.starts_with("GRANT") && line.contains("team")), "{dump}");
}
